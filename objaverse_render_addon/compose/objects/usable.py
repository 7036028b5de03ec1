"""Whether a mesh that somebody else made can lie among others, and what it is like.

What touches and rests has to be one closed thing. Meshes of catalogues seldom are closed to the
last edge: an underside is missing, or a seam. So each is closed by caps over its open edges, as far
as that makes little of it, and what is inside is asked of that; what is seen stays as it is.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ..covering import covered
from ..physics.body import inside_of
from .mesh import Mesh, Part, volume_of

__all__ = ["MOST_FACES", "Unusable", "closed", "flat_topped", "one_piece", "rim_of"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_FACES: Final = 150_000
"""Triangles of one object; drawing, deciding what covers what, and proving it go with them."""
_SAME: Final = 1e-6
"""Of the extent, within which two vertices are one."""
_OPEN: Final = 0.05
"""Of the surface, that caps elsewhere than in the foot may add."""
_FOOT: Final = 0.02
"""Of the height, within which a hole is in the foot, where nobody sees it."""
_ASKED: Final = 240
"""Places on the surface that are asked whether it is solid behind them …"""
_BEHIND: Final = 1e-4
"""… so far behind, of the extent, …"""
_SOLID: Final = 0.95
"""… and how many of them have to be."""
_CELLS: Final = 32
_PIECE: Final = 0.995
_MAP: Final = 48
_FINE: Final = 4
"""Samples of a height along each side of a cell of its map: walls are thin."""
_DEEP: Final = 0.3
"""Of the height, from which a hollow holds things, …"""
_WIDE: Final = 0.25
"""… where it is as large a share of the box around what is seen from above."""
_STEEP: Final = 0.2
"""Of how wide it is, that a hollow has to be deep: a plate holds nothing in it."""
_LEVEL: Final = 0.97
_TOP: Final = 0.01
_FLAT: Final = 0.35


class Unusable(Exception):
    """Why an object cannot be among others.

    Attributes:
        reason: As ``not-closed``.
        said: A sentence about it.
    """

    def __init__(self, reason: str, said: str) -> None:
        super().__init__(said)
        self.reason, self.said = reason, said


@dataclass(frozen=True, eq=False)
class _Welded:
    places: Floats
    faces: Ints


def _welded(mesh: Mesh) -> _Welded:
    """Vertices at one place are one, and triangles without an area none."""
    points, triangles = mesh.vertices, mesh.triangles
    low = points.min(axis=0)
    keys = np.rint((points - low) / (_SAME * float(np.max(mesh.size)))).astype(np.int64)
    _, first, number = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    faces = number.reshape(-1)[triangles]
    whole = (faces != np.roll(faces, 1, axis=1)).all(axis=1)
    return _Welded(points[first], faces[whole])


def closed(mesh: Mesh) -> Mesh:
    """The same with its open edges capped, outside out.

    Raises:
        Unusable: That would make too much of it, or it has no inside.
    """
    welded = _welded(mesh)
    places, faces = welded.places, welded.faces
    if not len(faces):
        raise Unusable("not-closed", "its triangles have no area")
    caps, middles, groups = _caps(places, faces)
    points = np.concatenate([places, middles])
    whole = _areas(points, faces).sum()
    if len(caps):
        low, high = np.min(places[:, 2]), np.max(places[:, 2])
        rims = caps[:, 0]
        least = np.full(len(middles), -np.inf)
        np.maximum.at(least, groups, places[rims, 2])
        elsewhere = (least > low + _FOOT * (high - low))[groups]
        missing = float(_areas(points, caps[elsewhere]).sum() / whole)
        if missing > _OPEN:
            raise Unusable("not-closed", f"its surface is open: a cap would add {missing:.0%}")
    solid = np.concatenate([faces, caps])
    if volume_of(points, solid) < 0:
        solid = solid[:, ::-1].copy()
    share = _solid_behind(points, solid, len(faces))
    if share < _SOLID:
        raise Unusable("not-closed", f"behind {1 - share:.0%} of its surface it is not solid")
    return Mesh((Part(points, solid),))


def _areas(points: Floats, faces: Ints) -> Floats:
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    return np.asarray(np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2)


def _caps(places: Floats, faces: Ints) -> tuple[Ints, Floats, Ints]:
    """A fan over each rim of open edges.

    With it every edge is run through as often one way as the other, so that a surface has an
    inside whatever was missing.

    Returns:
        (K, 3) triangles, the third corner of each a middle, whose numbers follow those of the
        places; (G, 3) the middles; (K,) which middle.
    """
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    way = np.where(ends[:, 0] < ends[:, 1], 1, -1)
    edges, back = np.unique(np.sort(ends, axis=1), axis=0, return_inverse=True)
    net = np.bincount(back.reshape(-1), weights=way, minlength=len(edges)).astype(np.int64)
    open_ = np.flatnonzero(net)
    if not len(open_):
        return np.empty((0, 3), np.int64), np.empty((0, 3)), np.empty(0, np.int64)
    rim = np.repeat(edges[open_], np.abs(net[open_]), axis=0)
    forward = np.repeat(net[open_] > 0, np.abs(net[open_]))
    rim[forward] = rim[forward][:, ::-1]
    group = _grouped(rim)
    count = int(np.max(group)) + 1
    sums = np.zeros((count, 3))
    np.add.at(sums, group, places[rim].mean(axis=1))
    middles = sums / np.bincount(group, minlength=count)[:, None]
    return np.column_stack([rim, len(places) + group]), middles, group


def _grouped(edges: Ints) -> Ints:
    """(K,) number of the connected part that each edge is in, from 0."""
    names, ends = np.unique(edges, return_inverse=True)
    ends = ends.reshape(-1, 2)
    label = np.arange(len(names))
    while True:
        before = label.copy()
        least = np.minimum(label[ends[:, 0]], label[ends[:, 1]])
        np.minimum.at(label, ends[:, 0], least)
        np.minimum.at(label, ends[:, 1], least)
        label = label[label]
        if np.array_equal(label, before):
            return np.unique(label[ends[:, 0]], return_inverse=True)[1].reshape(-1)


def _spread(points: Floats, faces: Ints, count: int) -> tuple[Floats, Ints]:
    """(count, 3) places on a surface, evenly by area, and (count,) their triangles.

    Within a triangle they follow the additive recurrence of the plastic number (Roberts 2018).
    """
    areas = np.cumsum(_areas(points, faces))
    which = np.searchsorted(areas, (np.arange(count) + 0.5) / count * areas[-1])
    which = np.minimum(which, len(faces) - 1)
    steps = np.arange(count)[:, None] * np.array([0.7548776662466927, 0.5698402909980532]) % 1
    over = steps.sum(axis=1) > 1
    steps[over] = 1 - steps[over]
    a, b, c = (points[faces[which, corner]] for corner in range(3))
    return a + steps[:, :1] * (b - a) + steps[:, 1:] * (c - a), which


def _solid_behind(points: Floats, solid: Ints, own: int) -> float:
    """Share of its own surface, the first triangles, that has an inside behind it."""
    places, which = _spread(points, solid[:own], _ASKED)
    a, b, c = (points[solid[which, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1), 1e-30)[:, None]
    extent = float(np.max(points.max(axis=0) - points.min(axis=0)))
    return float(inside_of(places - _BEHIND * extent * normals, points[solid]).mean())


def one_piece(mesh: Mesh) -> None:
    """See that it is one thing and no scene.

    Raises:
        Unusable: Parts of it stand apart from the rest.
    """
    points, faces = mesh.vertices, mesh.triangles
    low, extent = points.min(axis=0), float(np.max(mesh.size))
    places, _ = _spread(points, faces, 8 * _CELLS**2 * 4)
    cells = np.clip((places - low) / extent * _CELLS, 0, _CELLS - 1).astype(np.int64)
    there = np.zeros((_CELLS + 2,) * 3, dtype=bool)
    there[tuple(cells.T + 1)] = True
    left = there.copy()
    counts = np.zeros(there.shape)
    np.add.at(counts, tuple(cells.T + 1), 1 / len(cells))
    # Share, and the least and most cells, of each part; a lampshade hangs around its foot's stem.
    parts: list[tuple[float, Ints, Ints]] = []
    while left.any():
        part = np.zeros_like(there)
        part[tuple(np.argwhere(left)[0])] = True
        while True:
            grown = part
            for axis in range(3):
                grown = grown | np.roll(grown, 1, axis) | np.roll(grown, -1, axis)
            grown = grown & left
            if grown.sum() == part.sum():
                break
            part = grown
        left &= ~part
        share, spots = float(counts[part].sum()), np.argwhere(part)
        first, last = spots.min(axis=0), spots.max(axis=0)
        for other in [one for one in parts if _meet(first, last, *one[1:])]:
            parts.remove(other)
            share += other[0]
            first, last = np.minimum(first, other[1]), np.maximum(last, other[2])
        parts.append((share, first, last))
    most = max(share for share, _, _ in parts)
    if most < _PIECE:
        raise Unusable("not-one-object", f"parts of it stand apart: {1 - most:.1%} of its surface")


def _meet(low: Ints, high: Ints, other_low: Ints, other_high: Ints) -> bool:
    """Whether two boxes of cells have some in common."""
    return bool(((low <= other_high) & (other_low <= high)).all())


def rim_of(mesh: Mesh) -> float | None:
    """Height of the opening of what would hold water, over its height; none where nothing would.

    The heights of its surface from above are flooded from outside (Barnes, Lehman and Mulla 2014):
    what stays under water is a hollow, and its rim where the water would run over.
    """
    points = mesh.vertices
    low, size = points.min(axis=0), mesh.size
    fine = _MAP * _FINE
    spots = (points[:, :2] - low[:2]) / max(float(np.max(size[:2])), 1e-12) * fine
    heights = np.full((fine, fine), -np.inf)
    flat = heights.reshape(-1)
    corners = points[mesh.triangles]
    for which, x, y, areas in covered(spots[mesh.triangles], fine, fine):
        total = areas.sum(axis=0)
        sound = np.abs(total) > 1e-12
        share = areas[:, sound] / total[sound]
        z = (share * corners[which[sound], :, 2].T).sum(axis=0)
        np.maximum.at(flat, y[sound] * fine + x[sound], z)
    heights = heights.reshape(_MAP, _FINE, _MAP, _FINE).max(axis=(1, 3))
    level = _flooded(heights)
    seen = np.isfinite(heights)
    hollow = np.where(seen, level, 0.0) - np.where(seen, heights, 0.0)
    deep = hollow >= _DEEP * size[2]
    across = math.sqrt(float(deep.sum())) * float(np.max(size[:2])) / _MAP
    box = _MAP**2 * float(np.min(size[:2]) / np.max(size[:2]))
    if deep.sum() < _WIDE * box or np.max(hollow) < _STEEP * across:
        return None
    deepest = np.unravel_index(int(np.argmax(hollow)), hollow.shape)
    return float((level[deepest] - low[2]) / size[2])


def _flooded(heights: Floats) -> Floats:
    """How high water stands that came over the lowest way in from the border."""
    rows, columns = heights.shape
    level = np.full(heights.shape, np.inf)
    queue: list[tuple[float, int, int]] = []
    for row in range(rows):
        for column in range(columns):
            edge = row in (0, rows - 1) or column in (0, columns - 1)
            if edge or not np.isfinite(heights[row, column]):
                level[row, column] = heights[row, column]
                queue.append((float(heights[row, column]), row, column))
    heapq.heapify(queue)
    while queue:
        height, row, column = heapq.heappop(queue)
        for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            y, x = row + down, column + right
            if 0 <= y < rows and 0 <= x < columns and level[y, x] == np.inf:
                level[y, x] = max(height, float(heights[y, x]))
                heapq.heappush(queue, (float(level[y, x]), y, x))
    return level


def flat_topped(mesh: Mesh) -> bool:
    """Whether things can stand on it: enough of its top is level."""
    points, faces = mesh.vertices, mesh.triangles
    high = float(np.max(points[:, 2])) - _TOP * mesh.size[2]
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    areas = np.linalg.norm(normals, axis=1)
    level = normals[:, 2] > _LEVEL * areas
    up = level & (points[faces][:, :, 2].min(axis=1) >= high)
    return bool(areas[up].sum() / 2 >= _FLAT * float(np.prod(mesh.size[:2])))
