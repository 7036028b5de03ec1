"""What a file says its surface is, as its own reader found it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["NotRead", "Part", "Surface", "triangulated", "y_up"]

Array = npt.NDArray[Any]

_CORNERS: Final = 6
_MOST: Final = 1 << 22
"""Triangles beyond which a file takes longer to hold against its pictures than that is worth."""


class NotRead(Exception):
    """The file is of a kind that is not read here; the text says which."""


@dataclass(frozen=True, slots=True)
class Part:
    """Triangles that share what is known of their material.

    Attributes:
        triangles: (T, 3, 3) corners, in order.
        may_vanish: Whether the material can make it transparent.
        one_sided: Whether it may be left out when seen from behind.
    """

    triangles: Array
    may_vanish: bool = False
    one_sided: bool = False


@dataclass(frozen=True, slots=True)
class Surface:
    """All triangles of a file that it says are shown, in Blender's axes and the file's units.

    Attributes:
        corners: (T, 3, 3) float64.
        may_vanish: (T,) bool.
        one_sided: (T,) bool.
        faces: Polygons that the file has, each counted once however often it is shown.
    """

    corners: Array
    may_vanish: Array
    one_sided: Array
    faces: int

    @classmethod
    def of(cls, parts: list[Part], faces: int | None = None) -> Surface:
        """The parts together.

        Args:
            faces: Polygons; as many as triangles otherwise.

        Raises:
            NotRead: There is no triangle, or there are too many.
        """
        counts = [len(part.triangles) for part in parts]
        if not sum(counts):
            raise NotRead("no faces")
        if sum(counts) > _MOST:
            raise NotRead("too many faces")
        corners = np.concatenate([part.triangles for part in parts]).astype(np.float64)
        if not np.isfinite(corners).all():
            raise NotRead("not finite")
        return cls(
            corners,
            np.repeat([part.may_vanish for part in parts], counts),
            np.repeat([part.one_sided for part in parts], counts),
            sum(counts) if faces is None else faces,
        )


def y_up(points: Array) -> Array:
    """Points (..., 3) of a file whose Y is up, in Blender's axes."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def triangulated(vertices: Array, polygons: list[Array]) -> tuple[Array, Array]:
    """Corners of polygons: (T, 3, 3) that are theirs, and (U, 3, 3) that hold the rest of them.

    A fan leaves a polygon that is not convex, and one that is not flat is cut up in many ways; such
    ones have slivers along their edges, which are theirs anyway, and all the triangles
    that the rest of them can be (of many corners, a fan).

    Args:
        vertices: (N, 3)
        polygons: Arrays of indices (M, n), one for each n.

    Faces with vertices that are not there are left out.
    """
    found, rest = [np.empty((0, 3, 3))], [np.empty((0, 3, 3))]
    for every in polygons:
        indices = every[((every >= 0) & (every < len(vertices))).all(axis=1)]
        corners, sides = vertices[indices], indices.shape[1]
        if sides < 3:
            continue
        if sides == 3:
            found.append(corners)
            continue
        edges = np.roll(corners, -1, axis=1) - corners
        turns = np.cross(edges, np.roll(edges, -1, axis=1))
        normal = turns.sum(axis=1)
        size = np.einsum("ij,ij->i", normal, normal)[:, None]
        convex = (np.einsum("ijk,ik->ij", turns, normal) >= -1e-4 * size).all(axis=1)
        offset = corners - corners.mean(axis=1, keepdims=True)
        height = np.abs(np.einsum("ijk,ik->ij", offset, normal)) / np.sqrt(np.maximum(size, 1e-300))
        convex &= (height <= 0.05 * np.abs(offset).max(axis=(1, 2))[:, None]).all(axis=1)
        fan = [corners[convex][:, [0, i, i + 1]] for i in range(1, sides - 1)]
        found += fan
        cuts = [(0, i, i + 1) for i in range(1, sides - 1)]
        if sides <= _CORNERS:
            cuts = list(itertools.combinations(range(sides), 3))
        rest += [corners[~convex][:, cut] for cut in cuts]
        outline, along = corners[~convex], edges[~convex]
        middle = outline.mean(axis=1, keepdims=True)
        # Thin, so that nothing of it is outside by much; not without area, so that it counts.
        inwards = outline + 0.5 * along + 0.02 * (middle - outline - 0.5 * along)
        found.append(
            np.stack([outline, outline + along, inwards], axis=2).reshape(-1, 3, 3)
        )
    return np.concatenate(found), np.concatenate(rest)
