"""Points of a surface, followed to another time."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .things import Things, ThingsMesh

__all__ = ["SurfacePoints", "displacements", "on_triangles"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
_FEW_THINGS: Final = 16
"""That move: their points are picked out thing by thing."""
_FEW_CORNERS: Final = 64
"""Of a face; which triangle of one with more shows a point is looked for slowly."""
_MOST_TRIED: Final = 1 << 20
"""Pairs of a point and a triangle at once."""
_APART: Final = 1e-4
"""Of the mesh's radius: where a face is split otherwise at the other time, a point is that much
elsewhere at most, by the one split or by the other."""


@dataclass(frozen=True)
class SurfacePoints:
    """Points that are on the surface at a time.

    Attributes:
        points: (M, 3) float64, world.
        rows: (M,) int64, of the :class:`.Things` of that time; -1 where it is not known.
        faces: (M,) int64, from 1, of a mesh that changes its shape; 0 where it is not known.
        places: Of a shape's points, what was found out already: the triangles (m,) that they are
            on, barycentric coordinates (m, 3) there, and where that is, (m, 3).
    """

    points: Floats
    rows: npt.NDArray[np.int64]
    faces: npt.NDArray[np.int64]
    places: dict[int, tuple[Array, Floats, Floats]] = field(default_factory=dict)


def displacements(seen: SurfacePoints, now: Things, then: Things) -> Floats:
    """How far the same points of the surface are from where they were.

    Things that keep their shape move as their matrices do. On those that do not, a point keeps its
    triangle and its place in it. What did not move at all gets zeros to the bit.

    Args:
        now: What rendered when the points were seen.
        then: At the other time.

    Returns:
        (M, 3) float64, scene units, world axes; nan where the thing is not there or has another
        topology, and where a bent face is split into other triangles, which leaves open where
        its points went.
    """
    found = np.full(seen.points.shape, np.nan)
    # What holds for all of a thing is found out once, not for each of its pixels.
    count = len(now.ids)
    used = np.flatnonzero(np.bincount(seen.rows[seen.rows >= 0], minlength=count))
    partner = np.full(count + 1, -1)
    partner[used] = [then.row_of_id.get(number, -1) for number in now.ids[used].tolist()]
    carried = np.zeros(count + 1, bool)
    bent: dict[tuple[int, int], list[int]] = {}
    for row in used[partner[used] >= 0].tolist():
        one, other = int(now.shapes[row]), int(then.shapes[partner[row]])
        if one < 0 and other < 0:
            carried[row] = True
        elif one >= 0 and other >= 0:
            first, second = now.meshes[one], then.meshes[other]
            if first is second or first.is_still(second):
                carried[row] = True
            elif first.has_topology_of(second):
                bent.setdefault((one, other), []).append(row)
    at = np.flatnonzero(carried[seen.rows])
    found[at] = _carried(seen.points[at], seen.rows[at], partner, now, then)
    for (one, other), rows in bent.items():
        mine = np.zeros(count + 1, bool)
        mine[rows] = True
        at = np.flatnonzero(mine[seen.rows])
        first, second = now.meshes[one], then.meshes[other]
        found[at] = _deformed(seen, at, one, first, second, now, then, partner)
    return found


def _carried(points: Floats, rows: Array, partner: Array, now: Things, then: Things) -> Floats:
    """Displacements of points that go along with matrices."""
    count = len(now.ids)
    used = np.flatnonzero(np.bincount(rows, minlength=count))
    before, after = now.matrices[used], then.matrices[partner[used]]
    moves = np.flatnonzero(~(before == after).all(axis=(1, 2)))
    found = np.zeros(points.shape)
    if not len(moves):
        return found
    step = np.zeros((count, 4, 4))
    step[used[moves]] = after[moves] @ _inverses(before[moves]) - np.eye(4)
    at = np.flatnonzero(step.any(axis=(1, 2))[rows]) if len(moves) < len(used) else slice(None)
    found[at] = _apply(step, rows[at], points[at])
    return found


def _inverses(matrices: Floats) -> Floats:
    """(n, 4, 4); of flat ones that which leaves what is in their plane as it is."""
    flat = np.linalg.det(matrices[:, :3, :3]) == 0
    found = np.empty_like(matrices)
    found[~flat] = np.linalg.inv(matrices[~flat])
    for index in np.flatnonzero(flat):
        linear = np.linalg.pinv(matrices[index, :3, :3])
        found[index] = np.eye(4)
        found[index, :3, :3] = linear
        found[index, :3, 3] = -linear @ matrices[index, :3, 3]
    return found


def _deformed(
    seen: SurfacePoints, at: Array, shape: int, first: ThingsMesh, second: ThingsMesh,
    now: Things, then: Things, partner: Array,
) -> Floats:  # fmt: skip
    rows = seen.rows[at]
    if shape not in seen.places:
        used = np.flatnonzero(np.bincount(rows))
        inverse = np.zeros((len(now.ids), 4, 4))
        inverse[used] = _inverses(now.matrices[used])
        local = _apply(inverse, rows, seen.points[at])
        triangles, weights = on_triangles(first, local, seen.faces[at])
        was = _apply(
            now.matrices, rows, _mixed(first.points, first.triangles[triangles], weights)
        )
        seen.places[shape] = triangles, weights, was
    triangles, weights, was = seen.places[shape]
    place = _mixed(second.points, first.triangles[triangles], weights)
    place[_split_otherwise(first, second, triangles, weights, place)] = np.nan
    return _apply(then.matrices, partner[rows], place) - was


def _split_otherwise(
    first: ThingsMesh, second: ThingsMesh, triangles: Array, weights: Floats, place: Floats
) -> npt.NDArray[np.int64]:
    """Which points are elsewhere on the triangles that their faces have at the other time.

    Args:
        triangles, weights: Where they are on the first mesh.
        place: (M, 3), where that is on the second.
    """
    changed = (np.sort(first.triangles, axis=1) != np.sort(second.triangles, axis=1)).any(axis=1)
    if not changed.any():
        return np.zeros(0, np.int64)
    count = np.diff(first.first).astype(np.int64)
    face = np.repeat(np.arange(len(count)), count)
    faces = np.zeros(len(count), bool)
    faces[face[changed]] = True
    at = np.flatnonzero(faces[face[triangles]])
    where = face[triangles[at]]
    points = _mixed(first.points, first.triangles[triangles[at]], weights[at])
    before = dataclasses.replace(second, points=first.points)
    others, theirs = _best(before, first.first[where].astype(np.int64), count[where], points)
    apart = np.abs(_mixed(second.points, second.triangles[others], theirs) - place[at]).max(axis=1)
    return np.asarray(at[~(apart <= _APART * second.ball[1])])


def _apply(matrices: Floats, which: Array, points: Floats) -> Floats:
    """(M, 3) of points, each moved by one of the matrices."""
    used = np.flatnonzero(np.bincount(which))
    if len(used) == 1:
        matrix = matrices[used[0]]
        return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])
    if len(used) > _FEW_THINGS:
        each = matrices[which]
        turned: Floats = np.einsum("nij,nj->ni", each[:, :3, :3], points)
        return turned + each[:, :3, 3]
    found = np.empty(points.shape)
    for index in used.tolist():
        at, matrix = np.flatnonzero(which == index), matrices[index]
        found[at] = points[at] @ matrix[:3, :3].T + matrix[:3, 3]
    return found


def _mixed(points: Array, corners: Array, weights: Floats) -> Floats:
    """(M, 3) at barycentric coordinates of triangles."""
    found = weights[:, :1] * points[corners[:, 0]]
    for corner in (1, 2):
        found += weights[:, corner, None] * points[corners[:, corner]]
    return np.asarray(found)


def on_triangles(
    mesh: ThingsMesh, points: Floats, faces: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Triangles (M,) that points are on, and their barycentric coordinates (M, 3) there.

    Args:
        points: (M, 3), on the mesh but for rounding, in its coordinates.
        faces: (M,), from 1; 0 where it is not known.
    """
    triangles = np.full(len(points), -1, np.int64)
    weights = np.zeros((len(points), 3))
    told = (faces > 0) & (faces < len(mesh.first)) if mesh.numbered else np.zeros(len(points), bool)
    index = np.flatnonzero(told)
    start = mesh.first[faces[index] - 1].astype(np.int64)
    count = mesh.first[faces[index]] - start
    fits = (count > 0) & (count <= _FEW_CORNERS)
    index, start, count = index[fits], start[fits], count[fits]
    ends = np.cumsum(count)
    cuts = np.searchsorted(ends, np.arange(_MOST_TRIED, ends[-1] if len(ends) else 0, _MOST_TRIED))
    for some in np.split(np.arange(len(index)), cuts):
        if len(some):
            triangles[index[some]], weights[index[some]] = _best(
                mesh, start[some], count[some], points[index[some]]
            )
    left = np.flatnonzero(triangles < 0)
    if len(left):
        triangles[left] = mesh.find(points[left])
        weights[left] = _barycentric(mesh, triangles[left], points[left])
    return triangles, weights


def _best(
    mesh: ThingsMesh, start: Array, count: Array, points: Floats
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Of so many triangles from the first on, the one that each point is deepest in."""
    first = np.cumsum(count) - count
    # Each point beside each of its face's triangles.
    tried = np.arange(int(count.sum())) + np.repeat(start - first, count)
    weights = _barycentric(mesh, tried, np.repeat(points, count, axis=0))
    if len(tried) == len(points):
        return tried, weights
    depth = np.minimum(np.minimum(weights[:, 0], weights[:, 1]), weights[:, 2])
    is_best = np.flatnonzero(depth == np.repeat(np.maximum.reduceat(depth, first), count))
    # On a common edge two are as deep: the first.
    owner = np.repeat(np.arange(len(points)), count)[is_best]
    chosen = is_best[np.flatnonzero(np.diff(owner, prepend=-1))]
    return tried[chosen], weights[chosen]


def _barycentric(mesh: ThingsMesh, triangles: Array, points: Floats) -> Floats:
    """(M, 3) of the points' feet on the planes of triangles; the first corner of a flat one."""
    # A triangle fills many pixels: what is linear in a point is found out once for each.
    known = np.zeros(len(mesh.triangles), bool)
    known[triangles] = True
    used = np.flatnonzero(known)
    place = np.empty(len(known), np.int64)
    place[used] = np.arange(len(used))
    at = place[triangles]
    corners = mesh.points[mesh.triangles[used]].astype(np.float64)
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = np.cross(one, two)
    square = np.einsum("ni,ni->n", normal, normal)[:, None]
    flat = square == 0
    weights = np.empty((len(points), 3))
    to = points - corners[at, 0]
    for column, way in ((1, np.cross(two, normal)), (2, np.cross(normal, one))):
        along = np.where(flat, 0.0, way / np.where(flat, 1.0, square))
        weights[:, column] = np.einsum("ni,ni->n", to, along[at])
    weights[:, 0] = 1 - weights[:, 1] - weights[:, 2]
    return weights
