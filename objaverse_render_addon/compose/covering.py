"""Which pixels the triangles of a mesh cover, at their centres."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["covered"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_CHUNK: Final = 1_000_000
"""Pixels that are looked at together, at least one triangle's."""


def covered(corners: Floats, width: int, height: int) -> Iterator[tuple[Ints, Ints, Ints, Floats]]:
    """Pixels of a picture that have their centre in a triangle, edges included.

    Args:
        corners: (T, 3, 2) in pixels; pixel i has its centre at i + 0.5.

    Yields:
        For some triangles at a time: (K,) which of them, (K,) columns, (K,) rows, and (3, K) areas
        opposite to its corners, twice and signed, whose shares are its barycentrics.
    """
    limit = np.array([width, height])
    first = np.clip(np.ceil(corners.min(axis=1) - 0.5), 0, limit).astype(np.int64)
    last = np.clip(np.floor(corners.max(axis=1) - 0.5) + 1, 0, limit).astype(np.int64)
    sides = np.maximum(last - first, 0)
    counts = sides.prod(axis=1)
    some = np.flatnonzero(counts)
    parts = np.split(some, np.searchsorted(np.cumsum(counts[some]), np.arange(
        _CHUNK, int(counts.sum()) + 1, _CHUNK)))  # fmt: skip
    for part in parts:
        which = np.repeat(part, counts[part])
        place = np.arange(len(which)) - np.repeat(
            np.cumsum(counts[part]) - counts[part], counts[part]
        )
        row, column = np.divmod(place, sides[which, 0])
        x, y = first[which, 0] + column, first[which, 1] + row
        a, b, c = np.moveaxis(corners[which], 1, 0)
        areas = np.stack([
            (end[:, 0] - start[:, 0]) * (y + 0.5 - start[:, 1])
            - (end[:, 1] - start[:, 1]) * (x + 0.5 - start[:, 0])
            for start, end in ((b, c), (c, a), (a, b))
        ])  # fmt: skip
        inside = (areas >= 0).all(axis=0) | (areas <= 0).all(axis=0)
        yield which[inside], x[inside], y[inside], areas[:, inside]
