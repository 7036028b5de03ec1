"""Points on the surface: evenly by area, and along sharp edges; their colour from the pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras import Camera, draw
from . import ply
from .mesh import Mesh

__all__ = ["SHARP_DEGREES", "SurfacePoints", "sample", "seen_at"]

Array = npt.NDArray[Any]

SHARP_DEGREES: Final = 30.0
"""Angle between the normals of two faces from which their edge is sharp, as in Chen et al., "Dora:
Sampling and Benchmarking for 3D Shape Variational Auto-Encoders", 2024."""
_COLUMNS: Final = ("x", "y", "z", "nx", "ny", "nz")
_GRAZING: Final = 0.1
_MOST_SEEN: Final = 255


@dataclass(slots=True)
class SurfacePoints:
    """Points on the surface; the order is fixed by the seed.

    Attributes:
        points: (N, 3) float32, normalised world.
        normals: (N, 3) float32, unit: the face's, or the mean of both at an edge.
        part: (N,) int32, as :attr:`.Mesh.part`.
        edge: (N,) bool, whether it was drawn along a sharp edge rather than by area.
        colors: (N, 3) uint8, sRGB, of the view that shows it largest; 0 where none does.
        seen: (N,) int64, how many views show it.
        size: (N,) float64, how large the best view so far shows it; pixels per unit of area.
    """

    points: Array
    normals: Array
    part: Array
    edge: Array
    colors: Array
    seen: Array
    size: Array = field(repr=False)

    @classmethod
    def of(cls, points: Array, normals: Array, part: Array, edge: Array) -> SurfacePoints:
        """Points that no view has shown yet."""
        count = len(points)
        return cls(
            points.astype(np.float32), normals.astype(np.float32), part.astype(np.int32),
            edge.astype(bool), np.zeros((count, 3), np.uint8), np.zeros(count, np.int64),
            np.zeros(count),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.points)

    def look(self, camera: Camera, depth: Array, colors: Array) -> None:
        """Take the colours of what a view shows.

        Args:
            depth: (H, W) planar, 0 where nothing is.
            colors: (H, W, 3 or 4) uint8, sRGB, straight alpha.
        """
        shown, rows, columns, size = seen_at(self, camera, depth)
        if colors.shape[2] == 4:
            # What is mixed with nothing is the outline.
            solid = colors[rows, columns, 3] > 250
            shown, rows, columns, size = shown[solid], rows[solid], columns[solid], size[solid]
        self.seen[shown] += 1
        better = size > self.size[shown]
        shown, rows, columns = shown[better], rows[better], columns[better]
        self.colors[shown] = colors[rows, columns, :3]
        self.size[shown] = size[better]

    def to_ply(self, comments: list[str]) -> bytes:
        """``x y z nx ny nz red green blue seen edge part``."""
        table: dict[str, Array] = {}
        both = np.concatenate([self.points, self.normals], axis=1).astype(np.float32)
        for index, name in enumerate(_COLUMNS):
            table[name] = both[:, index]
        for index, name in enumerate(("red", "green", "blue")):
            table[name] = self.colors[:, index]
        table["seen"] = np.minimum(self.seen, _MOST_SEEN).astype(np.uint8)
        table["edge"] = self.edge.astype(np.uint8)
        table["part"] = self.part
        return ply.write(table, comments)

    @classmethod
    def from_ply(cls, data: bytes) -> SurfacePoints:
        """The inverse of :meth:`to_ply`.

        Raises:
            ValueError: It is no such file.
            KeyError: It lacks a property.
        """
        table = ply.read(data)[0]
        both = np.stack([table[name] for name in _COLUMNS], axis=1)
        if not np.isfinite(both).all():
            raise ValueError("it has numbers that are not finite")
        found = cls.of(both[:, :3], both[:, 3:], table["part"], table["edge"] > 0)
        found.colors = np.stack([table[name] for name in ("red", "green", "blue")], axis=1)
        found.seen = table["seen"].astype(np.int64)
        return found


def seen_at(
    found: SurfacePoints, camera: Camera, depth: Array
) -> tuple[Array, Array, Array, Array]:
    """Which points a view shows, and where.

    A point counts where it is as deep as what its pixel shows, but for what the surface may rise
    or fall within the pixel.

    Returns:
        Indices of points, rows and columns of their pixels, and how large the view shows them.
    """
    uv, z = camera.project(found.points.astype(np.float64))
    with np.errstate(invalid="ignore"):
        inside = (z > 1e-9) & (uv >= 0).all(axis=1) & (uv < [camera.width, camera.height]).all(1)
    index = np.nonzero(inside)[0]
    columns, rows = uv[index].astype(np.int64).T
    there = depth[rows, columns].astype(np.float64)
    away = camera.camera_to_world[:3, 3] - found.points[index]
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    cosine = np.abs(np.einsum("ij,ij->i", away, found.normals[index]))
    focal = float(np.sqrt(camera.intrinsics[0, 0] * camera.intrinsics[1, 1]))
    pixel = z[index] / focal
    slack = pixel / np.maximum(cosine, _GRAZING) + 1e-5 * z[index]
    shown = (there > 0) & (np.abs(there - z[index]) < slack) & (cosine > _GRAZING)
    return index[shown], rows[shown], columns[shown], (cosine / pixel**2)[shown]


def sample(mesh: Mesh, count: int, seed: int, asset_id: str) -> SurfacePoints:
    """Draw ``count`` points by area, and as many along sharp edges if there are any."""
    even = _by_area(mesh, count, seed, asset_id)
    sharp = _along_edges(mesh, count, seed, asset_id)
    joined = [np.concatenate(pair) for pair in zip(even, sharp, strict=True)]
    return SurfacePoints.of(joined[0], joined[1], joined[2], joined[3])


def _by_area(
    mesh: Mesh, count: int, seed: int, asset_id: str
) -> tuple[Array, Array, Array, Array]:
    which, first, second = draw(seed, asset_id, "surface-points", 0, 3 * count).reshape(3, count)
    total = np.cumsum(mesh.areas)
    face = np.minimum(np.searchsorted(total, which * total[-1], side="right"), len(total) - 1)
    root = np.sqrt(first)
    weights = np.stack([1 - root, root * (1 - second), root * second], axis=1)
    points = np.einsum("ij,ijk->ik", weights, mesh.corners[face])
    return points, mesh.normals[face], mesh.part[face], np.zeros(count, bool)


def _along_edges(
    mesh: Mesh, count: int, seed: int, asset_id: str
) -> tuple[Array, Array, Array, Array]:
    """By length, on edges that exactly two faces share under a sharp angle."""
    ends = mesh.welded
    pairs = np.stack([ends, np.roll(ends, -1, axis=1)], axis=2).reshape(-1, 2)
    face = np.repeat(np.arange(len(ends)), 3)
    pairs.sort(axis=1)
    keys = pairs[:, 0] * (int(ends.max()) + 1) + pairs[:, 1]
    order = np.argsort(keys, kind="stable")
    keys, face = keys[order], face[order]
    starts = np.nonzero(np.r_[True, keys[1:] != keys[:-1]])[0]
    twice = np.diff(np.r_[starts, len(keys)]) == 2
    starts = starts[twice]
    left, right = face[starts], face[starts + 1]
    cosine = np.einsum("ij,ij->i", mesh.normals[left], mesh.normals[right])
    whole = (mesh.areas[left] > 0) & (mesh.areas[right] > 0)
    sharp = whole & (cosine < np.cos(np.radians(SHARP_DEGREES)))
    starts, left, right = starts[sharp], left[sharp], right[sharp]
    corner = order[starts]
    begin = mesh.corners.reshape(-1, 3)[corner]
    finish = mesh.corners[corner // 3, (corner + 1) % 3]
    length = np.linalg.norm(finish - begin, axis=1)
    if not length.sum() > 0:
        nothing = np.zeros((0, 3))
        return nothing, nothing, np.zeros(0, np.int32), np.zeros(0, bool)
    which, along = draw(seed, asset_id, "edge-points", 0, 2 * count).reshape(2, count)
    total = np.cumsum(length)
    edge = np.minimum(np.searchsorted(total, which * total[-1], side="right"), len(total) - 1)
    points = begin[edge] + along[:, None] * (finish - begin)[edge]
    normals = mesh.normals[left[edge]] + mesh.normals[right[edge]]
    size = np.linalg.norm(normals, axis=1, keepdims=True)
    # Of a fold both sides cancel out.
    normals = np.where(size > 1e-6, normals / np.maximum(size, 1e-6), mesh.normals[left[edge]])
    return points, normals, mesh.part[left[edge]], np.ones(count, bool)
