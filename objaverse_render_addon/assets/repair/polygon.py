"""Polygons with holes, as triangles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["triangulate"]

_Point = tuple[float, float]


def triangulate(
    points: npt.NDArray[np.floating], outline: Sequence[int], holes: Sequence[Sequence[int]]
) -> list[tuple[int, int, int]]:
    """Triangles of a flat polygon, turned as its outline is.

    Each hole is joined to the outline by a cut, and ears are clipped (Eberly, *Triangulation by
    Ear Clipping*).

    Args:
        points: (N, 3) or more than N, as far as they are used.
        outline: Indices into the points.
        holes: Of each hole, in whichever direction.
    """
    corners = np.asarray(points, np.float64)[list(outline)]
    following = np.roll(corners, -1, axis=0)
    # Newell's normal, of polygons that are only nearly flat too.
    normal = np.cross(corners, following).sum(axis=0)
    if not np.linalg.norm(normal) > 0:
        return []
    drop = int(np.argmax(np.abs(normal)))
    kept = [axis for axis in range(3) if axis != drop]
    flat = {
        index: (float(points[index][kept[0]]), float(points[index][kept[1]]))
        for index in [*outline, *[index for hole in holes for index in hole]]
    }
    ring = list(outline)
    turned = _area(flat, ring) < 0
    if turned:
        ring.reverse()
    inner = [list(hole) for hole in holes if len(hole) > 2]
    for hole in inner:
        if _area(flat, hole) > 0:
            hole.reverse()
    inner.sort(key=lambda item: -max(flat[index][0] for index in item))
    for number, hole in enumerate(inner):
        ring = _joined(flat, ring, hole, inner[number + 1 :])
    found = _clip(flat, ring)
    return [(c, b, a) for a, b, c in found] if turned else found


def _area(flat: dict[int, _Point], ring: Sequence[int]) -> float:
    total = 0.0
    for a, b in zip(ring, [*ring[1:], ring[0]], strict=True):
        (ax, ay), (bx, by) = flat[a], flat[b]
        total += ax * by - bx * ay
    return total


def _turn(a: _Point, b: _Point, c: _Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _joined(
    flat: dict[int, _Point], ring: list[int], hole: list[int], others: list[list[int]]
) -> list[int]:
    """The ring with a cut to the hole and back, along the shortest way that crosses nothing."""
    edges = [
        pair
        for points in (ring, hole, *others)
        for pair in zip(points, [*points[1:], points[0]], strict=True)
    ]
    ways = sorted(
        ((flat[a][0] - flat[b][0]) ** 2 + (flat[a][1] - flat[b][1]) ** 2, i, j)
        for i, a in enumerate(ring)
        for j, b in enumerate(hole)
    )
    for _, i, j in ways:
        a, b = ring[i], hole[j]
        # A corner that an earlier cut has doubled sees only its own side.
        if not _opens(flat[ring[i - 1]], flat[a], flat[ring[(i + 1) % len(ring)]], flat[b]):
            continue
        if not any(
            len({a, b, c, d}) == 4 and _cross(flat[a], flat[b], flat[c], flat[d])
            for c, d in edges
        ):
            return ring[: i + 1] + hole[j:] + hole[: j + 1] + ring[i:]
    return ring


def _opens(before: _Point, at: _Point, after: _Point, towards: _Point) -> bool:
    """Whether a corner of a ring that turns left has a point on its inner side."""
    if _turn(before, at, after) > 0:
        return _turn(at, after, towards) > 0 and _turn(at, towards, before) > 0
    return not (_turn(at, before, towards) >= 0 and _turn(at, towards, after) >= 0)


def _cross(a: _Point, b: _Point, c: _Point, d: _Point) -> bool:
    return _turn(a, b, c) * _turn(a, b, d) <= 0 and _turn(c, d, a) * _turn(c, d, b) <= 0


def _clip(flat: dict[int, _Point], ring: list[int]) -> list[tuple[int, int, int]]:
    ring = list(ring)
    found = []
    while len(ring) > 3:
        for at in range(len(ring)):
            a, b, c = ring[at - 1], ring[at], ring[(at + 1) % len(ring)]
            pa, pb, pc = flat[a], flat[b], flat[c]
            if _turn(pa, pb, pc) <= 0:
                continue
            # Where a corner turns left, the outline is on its way out of the ear.
            inside = any(
                flat[other] not in (pa, pb, pc)
                and _turn(pa, pb, flat[other]) >= 0
                and _turn(pb, pc, flat[other]) >= 0
                and _turn(pc, pa, flat[other]) >= 0
                and _turn(flat[before], flat[other], flat[after]) <= 0
                for before, other, after in zip(
                    [ring[-1], *ring[:-1]], ring, [*ring[1:], ring[0]], strict=True
                )
            )
            if not inside:
                found.append((a, b, c))
                del ring[at]
                break
        else:
            # Nothing that turns left is left: what there is has no area, or crosses itself.
            flat_ones = [
                at
                for at in range(len(ring))
                if _turn(flat[ring[at - 1]], flat[ring[at]], flat[ring[(at + 1) % len(ring)]]) == 0
            ]
            del ring[flat_ones[0] if flat_ones else 0]
    if len(ring) == 3 and _turn(*(flat[index] for index in ring)) > 0:
        found.append((ring[0], ring[1], ring[2]))
    return found
