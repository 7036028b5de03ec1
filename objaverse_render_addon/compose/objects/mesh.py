"""Closed surfaces in NumPy, made of rings that are joined one to the next."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

__all__ = ["Mesh", "Part", "circle", "fillet", "loft", "moved", "rectangle", "tube"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Part:
    """A closed surface of one material.

    Attributes:
        vertices: (N, 3) float64, metres.
        triangles: (M, 3) int64, counter-clockwise from outside.
        slot: Which of its object's materials.
        ring: Points of each of the rings that it is made of, where it is an open vessel: from the
            middle of its underside up to the rim and down to the middle of its floor.
    """

    vertices: Floats
    triangles: Ints
    slot: int = 0
    ring: int = 0


@dataclass(frozen=True, eq=False)
class Mesh:
    """Closed parts that overlap no more than where they are joined."""

    parts: tuple[Part, ...]

    @property
    def vertices(self) -> Floats:
        """(N, 3) of all parts, one after the other."""
        return np.concatenate([part.vertices for part in self.parts])

    @property
    def triangles(self) -> Ints:
        """(M, 3) of all parts."""
        starts = np.cumsum([0, *(len(part.vertices) for part in self.parts[:-1])])
        return np.concatenate(
            [part.triangles + start for part, start in zip(self.parts, starts, strict=True)]
        )

    @property
    def slots(self) -> Ints:
        """(M,) material of each triangle."""
        return np.concatenate([np.full(len(part.triangles), part.slot) for part in self.parts])

    @property
    def volume(self) -> float:
        """Of the parts together, cubic metres, by the divergence theorem."""
        # Pythons differ in what they make of sum.
        return math.fsum(volume_of(part.vertices, part.triangles) for part in self.parts)

    @property
    def size(self) -> Floats:
        """(3,) of its box."""
        points = self.vertices
        return points.max(axis=0) - points.min(axis=0)

    def scaled(self, factor: float) -> Mesh:
        """Larger or smaller, about its origin."""
        return Mesh(
            tuple(replace(part, vertices=part.vertices * factor) for part in self.parts)
        )

    def digest(self) -> str:
        """SHA-256 of vertices and triangles."""
        data = hashlib.sha256()
        for part in self.parts:
            data.update(np.ascontiguousarray(part.vertices, "<f8").tobytes())
            data.update(np.ascontiguousarray(part.triangles, "<i8").tobytes())
            data.update(bytes([part.ring]))
        return data.hexdigest()


def volume_of(vertices: Floats, triangles: Ints) -> float:
    """Of a closed surface."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    # In whatever order, by whichever processor: the same number.
    return math.fsum((a * np.cross(b, c)).ravel().tolist()) / 6


def circle(radius: float, z: float = 0.0, count: int = 48) -> Floats:
    """(count, 3) ring around +Z."""
    angles = np.arange(count) * (2 * math.pi / count)
    return np.column_stack(
        [radius * np.cos(angles), radius * np.sin(angles), np.full(count, float(z))]
    )


def rectangle(x: float, y: float, corner: float, z: float = 0.0, steps: int = 4) -> Floats:
    """Ring around +Z with rounded corners.

    Args:
        x, y: Its whole width and depth.
        corner: Radius.
        steps: Points along a corner, one less.
    """
    corner = max(min(corner, 0.499 * x, 0.499 * y), 1e-6)
    points = []
    for quarter, (right, up) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        angles = (quarter + np.linspace(0, 1, steps + 1)) * (math.pi / 2)
        points.append(np.column_stack([
            right * (x / 2 - corner) + corner * np.cos(angles),
            up * (y / 2 - corner) + corner * np.sin(angles),
            np.full(steps + 1, float(z)),
        ]))  # fmt: skip
    return np.concatenate(points)


def fillet(points: Sequence[tuple[float, float]], radius: float, steps: int = 3) -> list[
    tuple[float, float]
]:  # fmt: skip
    """A polyline with its inner corners rounded, as far as the edges beside them let it."""
    line = np.array(points, dtype=np.float64)
    found = [line[0]]
    for before, here, after in zip(line, line[1:], line[2:], strict=False):
        into, out = before - here, after - here
        first, second = np.linalg.norm(into), np.linalg.norm(out)
        into, out = into / first, out / second
        half = math.acos(float(np.clip(into @ out, -1, 1))) / 2
        if half > 1.5:
            found.append(here)
            continue
        reach = min(radius / math.tan(half), 0.45 * first, 0.45 * second)
        start, end = here + into * reach, here + out * reach
        for step in range(steps + 1):
            share = step / steps
            # A parabola: tangent to both edges, without a thought of angles.
            found.append(
                (1 - share) ** 2 * start + 2 * share * (1 - share) * here + share**2 * end
            )
    found.append(line[-1])
    return [(float(x), float(z)) for x, z in found]


def loft(
    rings: Sequence[Floats], *, slot: int = 0, closed: bool = False, vessel: bool = False
) -> Part:
    """Join rings of equally many points, each to the next.

    Args:
        closed: Join the last to the first; otherwise both get a lid.
        vessel: Whether it is one (:attr:`Part.ring`).
    """
    count, length = len(rings), len(rings[0])
    vertices = np.concatenate(rings)
    faces = []
    around = np.arange(length)
    beside = (around + 1) % length
    for place in range(count if closed else count - 1):
        low, high = place * length, (place + 1) % count * length
        faces.append(np.column_stack([low + around, low + beside, high + beside]))
        faces.append(np.column_stack([low + around, high + beside, high + around]))
    if not closed:
        lids = np.array([rings[0].mean(axis=0), rings[-1].mean(axis=0)])
        first, last = len(vertices), len(vertices) + 1
        vertices = np.concatenate([vertices, lids])
        end = (count - 1) * length
        faces.append(np.column_stack([np.full(length, first), beside, around]))
        faces.append(np.column_stack([np.full(length, last), end + around, end + beside]))
    triangles = np.concatenate(faces)
    if volume_of(vertices, triangles) < 0:
        triangles = triangles[:, ::-1].copy()
    return Part(vertices, triangles, slot, length if vessel else 0)


def tube(
    path: Sequence[Sequence[float]] | Floats, radius: float | Sequence[float] | Floats, *,
    slot: int = 0,
    count: int = 16, flat: float = 1.0, closed: bool = False,
) -> Part:
    """A tube along a path.

    Args:
        radius: One, or one for each point.
        flat: Its height over its width.
        closed: The path's end joins its start.
    """
    points = np.array(path, dtype=np.float64)
    radii = np.broadcast_to(np.asarray(radius, dtype=np.float64), len(points))
    if closed:
        tangents = np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)
    else:
        tangents = np.gradient(points, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1)[:, None]
    aside = np.cross(tangents[0], (0.0, 0.0, 1.0))
    if np.linalg.norm(aside) < 1e-6:
        aside = np.array([0.0, 1.0, 0.0])
    angles = np.arange(count) * (2 * math.pi / count)
    rings = []
    for point, tangent, size in zip(points, tangents, radii, strict=True):
        # The same side as before, as far as the path's turn lets it.
        aside = aside - tangent * (aside @ tangent)
        aside /= np.linalg.norm(aside)
        up = np.cross(aside, tangent)
        rings.append(
            point + size * (np.cos(angles)[:, None] * aside + flat * np.sin(angles)[:, None] * up)
        )
    return loft(rings, slot=slot, closed=closed)


def moved(
    part: Part, by: Sequence[float] | Floats = (0.0, 0.0, 0.0), *, turn: Floats | None = None,
    slot: int | None = None,
) -> Part:
    """A part elsewhere; turned about its origin first, by a (3, 3) rotation."""
    vertices = part.vertices if turn is None else part.vertices @ turn.T
    return replace(
        part, vertices=vertices + np.array(by), slot=part.slot if slot is None else slot
    )
