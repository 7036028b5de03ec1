"""Binary masks as COCO writes them: boxes, polygons and run lengths.

Format: https://cocodataset.org/#format-data. A pixel covers the square from its column and row to
the next, so that outlines run along whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["box_of", "mask_of", "one_outline", "polygons", "run_lengths"]

Mask = npt.NDArray[np.bool_]
Edge = tuple[int, int, int, int]


def box_of(mask: Mask) -> list[int] | None:
    """``[x, y, width, height]`` of the pixels that are set; ``None`` where there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]


def run_lengths(mask: Mask) -> dict[str, Any]:
    """Uncompressed RLE: ``counts`` down the columns, unset pixels first, and ``size`` (h, w)."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(starts).tolist()
    if flat.size and flat[0]:
        counts.insert(0, 0)
    return {"counts": counts, "size": [int(side) for side in mask.shape]}


def mask_of(runs: Mapping[str, Any]) -> Mask:
    """The inverse of :func:`run_lengths`."""
    values = np.arange(len(runs["counts"])) % 2 == 1
    height, width = runs["size"]
    return np.repeat(values, runs["counts"]).reshape(width, height).T


def polygons(mask: Mask) -> list[list[int]] | None:
    """Outlines ``[x, y, x, y, …]`` that fill to exactly this mask, one per connected part.

    Pixels that touch at a corner alone are two parts.

    Returns:
        ``None`` where the mask has a hole, which polygons cannot say.
    """
    loops = _outlines(mask)
    if any(_area(loop) < 0 for loop in loops):
        return None
    return [[number for corner in loop for number in corner] for loop in loops]


def one_outline(mask: Mask) -> tuple[list[tuple[int, int]], bool]:
    """One outline (x, y) for all of the mask, which fills to exactly it by the even-odd rule.

    Parts and holes hang together by bridges without width, each between the two corners that are
    nearest to each other.

    Returns:
        The outline, empty where the mask is, and whether it has bridges.
    """
    loops = [np.array(loop) for loop in _outlines(mask)]
    if not loops:
        return [], False
    whole, bridged = loops.pop(0), bool(loops)
    while loops:
        gaps = [np.abs(whole[:, None] - loop[None]).sum(axis=2) for loop in loops]
        nearest = min(range(len(loops)), key=lambda index: gaps[index].min())
        here, there = np.unravel_index(gaps[nearest].argmin(), gaps[nearest].shape)
        turned = np.roll(loops.pop(nearest), -int(there), axis=0)
        whole = np.concatenate([whole[: here + 1], turned, turned[:1], whole[here:]])
    return [(int(x), int(y)) for x, y in whole], bridged


def _outlines(mask: Mask) -> list[list[tuple[int, int]]]:
    """Closed outlines as corners (x, y), without the collinear ones.

    The set pixels are to the right of an outline's direction, so that outer ones run clockwise in
    the picture, and those of holes do not.
    """
    edges = dict.fromkeys(_edges(mask))
    left = dict(edges)
    loops = []
    while left:
        start = edge = next(iter(left))
        loop = []
        while True:
            del left[edge]
            x, y, dx, dy = edge
            x, y = x + dx, y + dy
            # Where two parts touch at a corner, turning right stays with the same one.
            turns = (-dy, dx), (dx, dy), (dy, -dx)
            edge = next((x, y, *turn) for turn in turns if (x, y, *turn) in edges)
            if edge[2:] != (dx, dy):
                loop.append((x, y))
            if edge == start:
                break
        loops.append(loop)
    return loops


def _edges(mask: Mask) -> list[Edge]:
    """Sides of set pixels towards unset ones: a corner and a direction."""
    padded = np.pad(mask, 1)
    inner = padded[1:-1, 1:-1]
    sides = (
        (padded[:-2, 1:-1], 0, 0, 1, 0),
        (padded[1:-1, 2:], 1, 0, 0, 1),
        (padded[2:, 1:-1], 1, 1, -1, 0),
        (padded[1:-1, :-2], 0, 1, 0, -1),
    )
    found: list[Edge] = []
    for beside, x, y, dx, dy in sides:
        rows, columns = np.nonzero(inner & ~beside)
        corners = zip((columns + x).tolist(), (rows + y).tolist(), strict=True)
        found += [(column, row, dx, dy) for column, row in corners]
    return found


def _area(loop: list[tuple[int, int]]) -> int:
    """Twice the area (shoelace formula), positive where the loop runs clockwise."""
    following = [*loop[1:], loop[0]]
    return sum(
        x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(loop, following, strict=True)
    )
