"""Where in a user's stage things can stand: the largest level rectangle with nothing above it.

A surface is what of one object is level and at one height. It is looked at from above in cells:
those that it covers whole and above which nothing of the stage is, up to :data:`ABOVE`, are free;
of all rectangles of free cells, along the directions of the surface's own edges, the largest is
taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from .covering import covered

__all__ = ["ABOVE", "Clearing", "blocked", "clearings", "front_of"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

ABOVE: Final = 0.5
"""Metres above a surface that have to be free."""
LEVEL: Final = 0.9998
"""Of a unit normal's vertical part, from which a face is level: within 1.1°."""
_AT: Final = 0.001
"""Metres that faces of one height may differ."""
_LEAST: Final = 0.04
"""Square metres from which a surface is looked at."""
_SURFACES: Final = 12
"""The largest, that are looked at."""
_WIDEST: Final = 1.5
"""Metres of an edge that count when rectangles are compared: more is of no use."""
_CELLS: Final = 160
_CELL: Final = 0.006
_TABLES: Final = (0.25, 1.35)
"""Metres above the stage's lowest point, where a surface is preferred: a room's floor is larger."""
_LONGEST: Final = 2_000
"""Samples along the longest edge of a triangle."""


@dataclass(frozen=True)
class Clearing:
    """A free rectangle.

    Attributes:
        part: Number of the object that it is on.
        middle: (3,) metres, stage axes.
        turn: Degrees from the stage's +X to the rectangle's.
        size: Along its X and Y, metres.
    """

    part: int
    middle: tuple[float, float, float]
    turn: float
    size: tuple[float, float]

    def pose(self, more: int = 0) -> Floats:
        """(4, 4) scene from stage, of the rectangle turned by ``more`` quarters."""
        angle = math.radians(-self.turn - 90 * more)
        found = np.eye(4)
        found[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        found[:3, 3] = -found[:3, :3] @ self.middle
        return found


def clearings(corners: Floats, parts: npt.NDArray[np.int32], only: int | None = None) -> Iterator[
    Clearing
]:  # fmt: skip
    """The free rectangle of every surface, those at a table's height first, then the larger ones.

    Args:
        corners: (M, 3, 3) triangles, metres, +Z up.
        parts: (M,) the object of each.
        only: That object's alone.
    """
    crosses = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    twice = np.linalg.norm(crosses, axis=1)
    level = np.abs(crosses[:, 2]) > LEVEL * np.maximum(twice, 1e-12)
    if only is not None:
        level &= parts == only
    lowest = float(np.min(corners[..., 2]))
    found: list[tuple[bool, float, int, float, npt.NDArray[np.intp]]] = []
    for part in np.unique(parts[level]).tolist():
        faces = np.flatnonzero(level & (parts == part))
        heights = corners[faces, :, 2].mean(axis=1)
        order = np.argsort(heights, kind="stable")
        for some in np.split(order, np.flatnonzero(np.diff(heights[order]) > _AT) + 1):
            area = float(twice[faces[some]].sum()) / 2
            height = float(np.median(heights[some]))
            if area >= _LEAST:
                usual = _TABLES[0] <= height - lowest <= _TABLES[1]
                found.append((not usual, -area, part, height, faces[some]))
    found.sort(key=lambda one: one[:4])
    for wanted in (False, True):
        best = []
        for unusual, _, part, height, faces in found[:_SURFACES]:
            one = _rectangle(corners, faces, height) if unusual is wanted else None
            if one is not None:
                best.append(Clearing(part, *one))
        yield from sorted(best, key=lambda one: -_worth(*one.size))


def _worth(wide: float, deep: float) -> float:
    return min(wide, _WIDEST) * min(deep, _WIDEST) + 0.01 * wide * deep


def _rectangle(
    corners: Floats, faces: npt.NDArray[np.intp], height: float
) -> tuple[tuple[float, float, float], float, tuple[float, float]] | None:
    """Middle, turn and size of a surface's free rectangle."""
    flat = corners[faces][..., :2]
    turn = _turn(flat)
    angle = math.radians(-turn)
    axes = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    flat = flat @ axes.T
    low, high = flat.min(axis=(0, 1)), flat.max(axis=(0, 1))
    cell = max(_CELL, float((high - low).max()) / _CELLS)
    wide, deep = (max(1, math.ceil(extent / cell)) for extent in (high - low).tolist())
    free = np.zeros((deep, wide), bool)
    for _, x, y, _ in covered((flat - low) / cell, wide, deep):
        free[y, x] = True
    taken = np.zeros_like(free)
    above = (corners[..., 2].max(axis=1) > height + 2 * _AT) & (
        corners[..., 2].min(axis=1) < height + ABOVE
    )
    around = corners[above].copy()
    around[..., :2] = around[..., :2] @ axes.T
    beside = (around[..., :2].max(axis=1) < low - cell) | (
        around[..., :2].min(axis=1) > high + cell
    )
    for points in _samples(around[~beside.any(axis=1)], cell / 2):
        points = points[(points[:, 2] > height + 2 * _AT) & (points[:, 2] < height + ABOVE)]
        column, row = np.floor((points[:, :2] - low) / cell).astype(np.int64).T
        inside = (column >= 0) & (row >= 0) & (column < wide) & (row < deep)
        taken[row[inside], column[inside]] = True
    # A cell's middle says nothing of its corners.
    free = ~_grown(~free, beyond=True) & ~_grown(taken)
    found = _largest(free, cell)
    if found is None:
        return None
    top, left, bottom, right = found
    size = (right - left) * cell, (bottom - top) * cell
    middle = low + cell * np.array([left + right, top + bottom]) / 2
    x, y = (axes.T @ middle).tolist()
    return (x, y, height), turn, size


def _turn(flat: Floats) -> float:
    """Degrees, 0 to 90, of the direction that most of the outline has.

    Args:
        flat: (M, 3, 2) triangles; edges that two of them have in common are within.
    """
    ends = np.round(flat, 5)
    count: dict[tuple[float, ...], float] = {}
    for start, end in ((0, 1), (1, 2), (2, 0)):
        for a, b in zip(ends[:, start].tolist(), ends[:, end].tolist(), strict=True):
            key = (*a, *b) if a < b else (*b, *a)
            if key in count:
                count[key] = 0.0
            else:
                count[key] = math.dist(a, b)
    lines = np.array([(*key, length) for key, length in count.items() if length > 0])
    if not len(lines):
        return 0.0
    angles = np.degrees(np.arctan2(lines[:, 3] - lines[:, 1], lines[:, 2] - lines[:, 0])) % 90
    bins = np.bincount(np.round(angles).astype(np.int64) % 90, weights=lines[:, 4], minlength=90)
    chosen = int(np.argmax(bins))
    away = (angles - chosen + 45) % 90 - 45
    near = np.abs(away) <= 1
    return float(chosen + np.average(away[near], weights=lines[near, 4])) % 90


def _samples(corners: Floats, step: float) -> Iterator[Floats]:
    """Points on triangles, no farther apart than a step."""
    longest = np.max([
        np.linalg.norm(corners[:, b] - corners[:, a], axis=1) for a, b in ((0, 1), (1, 2), (2, 0))
    ], axis=0) if len(corners) else np.zeros(0)  # fmt: skip
    counts = np.clip(np.ceil(longest / step), 1, _LONGEST).astype(np.int64)
    for count in np.unique(counts).tolist():
        i, j = np.nonzero(np.add.outer(np.arange(count + 1), np.arange(count + 1)) <= count)
        shares = np.stack([i, j, count - i - j], axis=1) / count
        some = corners[counts == count]
        many = max(1, 1_000_000 // len(shares))
        for first in range(0, len(some), many):
            yield np.einsum("sk,mkd->msd", shares, some[first : first + many]).reshape(-1, 3)


def _grown(mask: Mask, *, beyond: bool = False) -> Mask:
    """A mask and its eight neighbours.

    Args:
        beyond: What is there beyond the border.
    """
    wide = np.pad(mask, 1, constant_values=beyond)
    rows, columns = mask.shape
    found = np.zeros_like(mask)
    for down in range(3):
        for right in range(3):
            found |= wide[down : down + rows, right : right + columns]
    return found


def _largest(free: Mask, cell: float) -> tuple[int, int, int, int] | None:
    """First row and column and those after the last, of the largest rectangle of free cells."""
    best, found = 0.0, None
    heights = np.zeros(free.shape[1] + 1, np.int64)
    for bottom, line in enumerate(free):
        heights[:-1] = np.where(line, heights[:-1] + 1, 0)
        stack: list[int] = []
        # Of each height the widest rectangle that ends in this row; a last one of none closes all.
        for right, height in enumerate(heights.tolist()):
            while stack and heights[stack[-1]] >= height:
                tall = int(heights[stack.pop()])
                left = stack[-1] + 1 if stack else 0
                worth = _worth((right - left) * cell, tall * cell)
                if worth > best * (1 + 1e-9):
                    best = worth
                    found = (bottom + 1 - tall, left, bottom + 1, right)
            stack.append(right)
    return found


def blocked(starts: Floats, ends: Floats, corners: Floats) -> Mask:
    """Whether anything is between points, by Möller and Trumbore.

    Args:
        starts, ends: (S, 3).
        corners: (M, 3, 3) triangles.

    Returns:
        (S,)
    """
    both = np.concatenate([starts, ends])
    beside = (corners.max(axis=1) < both.min(axis=0)) | (corners.min(axis=1) > both.max(axis=0))
    a, b, c = np.moveaxis(corners[~beside.any(axis=1)], 1, 0)
    first, second = b - a, c - a
    found = np.zeros(len(starts), bool)
    for place, (start, way) in enumerate(zip(starts, ends - starts, strict=True)):
        across = np.cross(way, second)
        across_first = np.einsum("ij,ij->i", first, across)
        flat = np.abs(across_first) < 1e-14
        scale = 1 / np.where(flat, 1.0, across_first)
        from_a = start - a
        u = np.einsum("ij,ij->i", from_a, across) * scale
        other = np.cross(from_a, first)
        v = other @ way * scale
        at = np.einsum("ij,ij->i", second, other) * scale
        hit = ~flat & (u >= 0) & (v >= 0) & (u + v <= 1) & (at > 1e-4) & (at < 1 - 1e-4)
        found[place] = hit.any()
    return found


_LOOKS: Final = tuple((azimuth, up) for azimuth in (-120, -90, -60) for up in (28, 50))
"""Azimuths and elevations, degrees, …"""
_AWAY: Final = 1.5
"""… and metres, from which a clearing is looked at."""


def front_of(clearing: Clearing, corners: Floats) -> tuple[int, float]:
    """From which side a clearing is seen best: quarters that it is turned by, and share of looks.

    Of sides that are as good as each other a longer one is taken.
    """
    sides = (0, 2, 1, 3) if clearing.size[0] >= clearing.size[1] else (1, 3, 2, 0)
    best, chosen = -1.0, 0
    for quarters in sides:
        pose = np.linalg.inv(clearing.pose(quarters))
        directions = np.array([
            [math.cos(math.radians(e)) * math.cos(math.radians(a)),
             math.cos(math.radians(e)) * math.sin(math.radians(a)), math.sin(math.radians(e))]
            for a, e in _LOOKS
        ])  # fmt: skip
        starts = np.tile([0.0, 0.0, 0.05], (len(directions), 1))
        ends = starts + _AWAY * directions
        there = [points @ pose[:3, :3].T + pose[:3, 3] for points in (starts, ends)]
        share = 1 - float(blocked(there[0], there[1], corners).mean())
        if share > best + 1e-9:
            best, chosen = share, quarters
    return chosen, best
