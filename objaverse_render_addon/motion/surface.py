"""Points of a surface, followed to another time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .things import Things, ThingsMesh

__all__ = ["SurfacePoints", "displacements", "on_triangles"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
_FEW_CORNERS: Final = 64
"""Of a face; which triangle of one with more shows a point is looked for slowly."""


@dataclass(frozen=True)
class SurfacePoints:
    """Points that are on the surface at a time.

    Attributes:
        points: (M, 3) float64, world.
        rows: (M,) int64, of the :class:`.Things` of that time; -1 where it is not known.
        faces: (M,) int64, from 1, of a mesh that changes its shape; 0 where it is not known.
    """

    points: Floats
    rows: npt.NDArray[np.int64]
    faces: npt.NDArray[np.int64]


def displacements(seen: SurfacePoints, now: Things, then: Things) -> Floats:
    """How far the same points of the surface are from where they were.

    Things that keep their shape move as their matrices do. On those that do not, a point keeps its
    triangle and its place in it. What did not move at all gets zeros to the bit.

    Args:
        now: What rendered when the points were seen.
        then: At the other time.

    Returns:
        (M, 3) float64, scene units, world axes; nan where the thing is not there, or has another
        topology.
    """
    found = np.full(seen.points.shape, np.nan)
    partner = np.array([then.row_of_id.get(number, -1) for number in now.ids.tolist()] + [-1])
    # -1 takes the last.
    others = partner[seen.rows]
    known = np.flatnonzero((seen.rows >= 0) & (others >= 0))
    rows, others = seen.rows[known], others[known]
    shapes, shapes_then = now.shapes[rows], then.shapes[others]
    rigid = (shapes < 0) & (shapes_then < 0)
    for one, other in _pairs(shapes, shapes_then):
        mine = (shapes == one) & (shapes_then == other)
        first, second = now.meshes[one], then.meshes[other]
        if first is second or (
            first.has_topology_of(second) and np.array_equal(first.points, second.points)
        ):
            rigid |= mine
            continue
        if not first.has_topology_of(second):
            continue
        at = known[mine]
        found[at] = _deformed(seen, at, first, second, now, then, others[mine])
    moved = known[rigid]
    found[moved] = _carried(seen.points[moved], rows[rigid], others[rigid], now, then)
    return found


def _pairs(one: Array, other: Array) -> list[tuple[int, int]]:
    both = (one >= 0) & (other >= 0)
    pairs = np.unique(np.stack([one[both], other[both]], axis=1), axis=0)
    return [(int(first), int(second)) for first, second in pairs]


def _carried(points: Floats, rows: Array, others: Array, now: Things, then: Things) -> Floats:
    """Displacements of points that go along with matrices."""
    used, place = np.unique(rows, return_inverse=True)
    partner = np.zeros(len(used), np.int64)
    partner[place] = others
    before, after = now.matrices[used], then.matrices[partner]
    still = (before == after).all(axis=(1, 2))
    step = after @ _inverses(before) - np.eye(4)
    step[still] = 0.0
    if len(used) == 1:
        return points @ step[0, :3, :3].T + step[0, :3, 3]
    turned: Floats = np.einsum("nij,nj->ni", step[place, :3, :3], points)
    return turned + step[place, :3, 3]


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
    seen: SurfacePoints, at: Array, first: ThingsMesh, second: ThingsMesh, now: Things,
    then: Things, others: Array,
) -> Floats:  # fmt: skip
    rows = seen.rows[at]
    before, after = now.matrices[rows], then.matrices[others]
    used, place = np.unique(rows, return_inverse=True)
    inverse = _inverses(now.matrices[used])[place]
    local = _apply(inverse, seen.points[at])
    triangles, weights = on_triangles(first, local, seen.faces[at])
    corners = first.triangles[triangles]
    was = _apply(before, _mixed(first.points[corners], weights))
    return _apply(after, _mixed(second.points[corners], weights)) - was


def _apply(matrices: Floats, points: Floats) -> Floats:
    turned: Floats = np.einsum("nij,nj->ni", matrices[:, :3, :3], points)
    return turned + matrices[:, :3, 3]


def _mixed(corners: Array, weights: Floats) -> Floats:
    found: Floats = np.einsum("nk,nki->ni", weights, corners.astype(np.float64))
    return found


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
    most = int(count.max(initial=0))
    fits = count <= _FEW_CORNERS
    index, start, count = index[fits], start[fits], count[fits]
    best = np.full(len(index), -np.inf)
    for step in range(min(most, _FEW_CORNERS)):
        has = np.flatnonzero(count > step)
        candidate = start[has] + step
        tried = _barycentric(mesh, candidate, points[index[has]])
        inside = tried.min(axis=1)
        better = inside > best[has]
        chosen = has[better]
        best[chosen] = inside[better]
        triangles[index[chosen]] = candidate[better]
        weights[index[chosen]] = tried[better]
    left = np.flatnonzero(triangles < 0)
    if len(left):
        triangles[left] = mesh.find(points[left])
        weights[left] = _barycentric(mesh, triangles[left], points[left])
    return triangles, weights


def _barycentric(mesh: ThingsMesh, triangles: Array, points: Floats) -> Floats:
    """(M, 3) of the points' feet on the planes of triangles; the first corner of a flat one."""
    corners = mesh.points[mesh.triangles[triangles]].astype(np.float64)
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    to = points - corners[:, 0]
    normal = np.cross(one, two)
    square = np.einsum("ni,ni->n", normal, normal)
    with np.errstate(divide="ignore", invalid="ignore"):
        second = np.einsum("ni,ni->n", np.cross(to, two), normal) / square
        third = np.einsum("ni,ni->n", np.cross(one, to), normal) / square
    weights = np.stack([1 - second - third, second, third], axis=1)
    weights[square == 0] = (1.0, 0.0, 0.0)
    return weights
