"""What physics and its tests ask of a mesh: mass, distances, what is inside."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from ..objects import Mesh

__all__ = ["depth_inside", "distances", "inside_of", "mass_of", "near", "samples"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SPACING: Final = 0.004
"""Metres between points on edges that are held against other surfaces."""
_DENSE: Final = 30_000
"""Points, beyond which one is enough for each cell of …"""
_CELL: Final = 0.0015
"""… so many metres."""
_MANY: Final = 400_000
"""Pairs of points and triangles at a time."""
_BUNCH: Final = 64
"""Points that are asked together whether they are inside."""


def mass_of(mesh: Mesh, density: float) -> tuple[float, Floats, Floats]:
    """Mass, centre of mass and inertia about it, of closed parts, from their tetrahedra.

    Returns:
        Kilograms, (3,) metres, (3, 3) kg m².
    """
    a, b, c = (mesh.vertices[mesh.triangles[:, corner]] for corner in range(3))
    six = np.einsum("ij,ij->i", a, np.cross(b, c))
    volume = six.sum() / 6
    total = a + b + c
    center = (six[:, None] * total).sum(axis=0) / 24 / volume
    second = np.zeros((3, 3))
    for one in (a, b, c, total):
        second += np.einsum("i,ij,ik->jk", six, one, one)
    second *= density / 120
    mass = density * volume
    second -= mass * np.outer(center, center)
    return float(mass), center, np.trace(second) * np.eye(3) - second


def samples(mesh: Mesh) -> Floats:
    """(N, 3) vertices, and points along long edges; of dense meshes not all that are close."""
    points, triangles = mesh.vertices, mesh.triangles
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    low, high = np.divmod(np.unique(edges.min(axis=1) * len(points) + edges.max(axis=1)),
                          len(points))  # fmt: skip
    start, along = points[low], points[high] - points[low]
    lengths = np.linalg.norm(along, axis=1)
    counts = np.clip(np.ceil(lengths / SPACING) - 1, 0, 63).astype(np.int64)
    which = np.repeat(np.arange(len(counts)), counts)
    step = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    share = step / (counts[which] + 1)
    every = np.concatenate([points, start[which] + share[:, None] * along[which]])
    if len(every) > _DENSE:
        cells = np.floor(every / _CELL).astype(np.int64)
        every = every[np.unique(cells, axis=0, return_index=True)[1]]
    return every


_SLANTED: Final = np.array([
    [0.8571, 0.0, 0.5151], [0.1642, 0.9478, -0.2732], [-0.4882, 0.3188, 0.8124],
])  # fmt: skip
"""Axes along which no edge of a made object lies."""


def inside_of(points: Floats, corners: Floats) -> npt.NDArray[np.bool_]:
    """Whether points are inside closed surfaces: how often a ray from them leaves more than enters.

    Args:
        corners: (M, 3, 3) triangles.
    """
    points, corners = points @ _SLANTED.T, corners @ _SLANTED.T
    low, high = points.min(axis=0), points.max(axis=0)
    flat = corners[..., :2]
    beside = (flat.max(axis=1) < low[:2]) | (flat.min(axis=1) > high[:2])
    corners = corners[~(beside.any(axis=1) | (corners[..., 2].max(axis=1) < low[2]))]
    low, high = corners.min(axis=1), corners.max(axis=1)
    a, b, c = np.moveaxis(corners, 1, 0)
    normal = np.cross(b - a, c - a)
    inside = np.zeros(len(points), dtype=bool)
    for some in _bunches(points):
        x, y, z = points[some].T[:, :, None]
        # Of a few that are close to each other few triangles are above.
        above = (low[:, 0] <= x.max()) & (high[:, 0] >= x.min())
        above &= (low[:, 1] <= y.max()) & (high[:, 1] >= y.min()) & (high[:, 2] >= z.min())
        these, upright = [one[above] for one in (a, b, c)], normal[above, 2]
        left = []
        for start, end in itertools.pairwise((*these, these[0])):
            left.append(
                (end[:, 0] - start[:, 0]) * (y - start[:, 1])
                - (end[:, 1] - start[:, 1]) * (x - start[:, 0])
            )
        over = (left[0] >= 0) & (left[1] >= 0) & (left[2] >= 0)
        under = (left[0] <= 0) & (left[1] <= 0) & (left[2] <= 0)
        steep = np.where(np.abs(upright) > 1e-18, upright, np.inf)
        height = these[0][:, 2] - (
            normal[above, 0] * (x - these[0][:, 0]) + normal[above, 1] * (y - these[0][:, 1])
        ) / steep
        crossed = (over | under) & (height > z) & np.isfinite(steep)
        inside[some] = (crossed * np.sign(upright)).sum(axis=1) > 0.5
    return inside


def _bunches(points: Floats) -> Iterator[Ints]:
    """Numbers of points, in bunches of those that are close to each other along X and Y."""
    stripes = max(1, round(math.sqrt(len(points) / _BUNCH)))
    order = np.argsort(points[:, 0], kind="stable")
    stripe = np.empty(len(points), dtype=np.int64)
    stripe[order] = np.arange(len(points)) * stripes // max(len(points), 1)
    order = np.lexsort((points[:, 1], stripe))
    for first in range(0, len(points), _BUNCH):
        yield order[first : first + _BUNCH]


def distances(points: Floats, corners: Floats) -> Floats:
    """(N,) metres from points to the nearest of some triangles (Ericson 2004, 5.1.5)."""
    nearest = np.full(len(points), np.inf)
    if not len(corners):
        return nearest
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    step = max(1, _MANY // len(corners))
    for first in range(0, len(points), step):
        some = points[first : first + step, None]
        best = np.full((some.shape[0], len(corners)), np.inf)
        for start, end in ((a, b), (b, c), (c, a)):
            along = end - start
            share = np.einsum("ijk,jk->ij", some - start, along)
            share = np.clip(share / np.maximum((along**2).sum(axis=1), 1e-30), 0, 1)
            away = some - start - share[..., None] * along
            best = np.minimum(best, (away**2).sum(axis=2))
        normal = np.cross(b - a, c - a)
        area = (normal**2).sum(axis=1)
        height = np.einsum("ijk,jk->ij", some - a, normal)
        onto = some - height[..., None] * (normal / np.maximum(area, 1e-30)[:, None])
        within = area > 1e-24
        for start, end in ((a, b), (b, c), (c, a)):
            side = np.einsum("ijk,jk->ij", np.cross(end - start, onto - start), normal)
            within = within & (side >= 0)
        flat = height**2 / np.maximum(area, 1e-30)
        best = np.where(within, np.minimum(best, flat), best)
        nearest[first : first + step] = np.sqrt(best.min(axis=1))
    return nearest


def near(corners: Floats, points: Floats, reach: float) -> Floats:
    """Triangles (M, 3, 3) that may be within a distance of some points, of (N, 3, 3)."""
    low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
    beside = (corners.max(axis=1) < low) | (corners.min(axis=1) > high)
    return corners[~beside.any(axis=1)]


def depth_inside(points: Floats, corners: Floats, most: float = np.inf) -> float:
    """How deep the deepest of some points is inside closed surfaces, metres; 0 where none is.

    Args:
        most: Beyond that nobody asks: what is deeper is said to be so deep.
    """
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    some = points[((points > low) & (points < high)).all(axis=1)]
    if not len(some):
        return 0.0
    some = some[inside_of(some, corners)]
    if not len(some):
        return 0.0
    return min(float(np.max(distances(some, near(corners, some, most)))), most)
