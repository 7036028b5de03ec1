"""How large a piece of a path-traced picture may be, by what earlier pieces took."""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import Final, NamedTuple

__all__ = ["Pieces"]

_LEAST: Final = 8
"""Pixels of a tile's side that is not split any more."""
_THIN: Final = 24
"""Rows of a strip that is split across instead of down."""
_KEPT: Final = 24
"""Pieces that tell how slow it is just now."""
_UNKNOWN: Final = 16
"""Tiles of a sample while nothing was measured."""
_OLD: Final = 300
"""Pieces after which the quickest of a size is that no more."""


class _Quickest(NamedTuple):
    work: float
    seconds: float
    at: int


class Pieces:
    """Chooses samples and tiles, so that a piece takes about as long as it should.

    A piece takes a fixed time and one that grows with pixels times samples. Other programs only
    ever make it slower, so that both follow from the quickest of the small and of the large pieces
    lately; how much slower it is just now, from the usual one. No piece is so small that most of
    its time is the fixed one.

    Args:
        goal: Seconds.
        breakable: Seconds of one that can be ended in its midst: fewer pieces cost less.
    """

    def __init__(self, goal: float = 0.03, breakable: float = 0.5) -> None:
        self._goal, self._breakable = goal, max(goal, breakable)
        self._took: deque[tuple[float, float]] = deque(maxlen=_KEPT)
        self._quickest: dict[int, _Quickest] = {}
        self._count = 0
        self._work = self._breakable_work = 0.0
        """Pixels times samples of a piece; 0 while nothing was measured."""

    def took(self, work: float, seconds: float) -> None:
        """A piece of so much work was rendered."""
        seconds = max(seconds, 1e-4)
        self._took.append((work, seconds))
        self._count += 1
        # One of each size is kept: those of late are all alike, and tell nothing of others.
        size = int(math.log2(work))
        known = self._quickest.get(size)
        if known is None or seconds <= known.seconds or self._count - known.at > _OLD:
            self._quickest[size] = _Quickest(work, seconds, self._count)
        fixed, slope = self._line()
        slower = median(took / (fixed + slope * work) for work, took in self._took)
        self._work, self._breakable_work = (
            max(goal / slower - fixed, fixed) / slope for goal in (self._goal, self._breakable)
        )
        if len(self._quickest) == 1 and seconds < 2 * self._goal:
            # Only another size tells what of it is fixed.
            self._work = max(self._work, 2 * work)
            self._breakable_work = max(self._breakable_work, self._work)

    def _line(self) -> tuple[float, float]:
        """Seconds that any piece takes, and those for each unit of work."""
        least, most = min(self._quickest.values()), max(self._quickest.values())
        if most.work < 2 * least.work:
            return 0.0, most.seconds / most.work
        slope = (most.seconds - least.seconds) / (most.work - least.work)
        slope = max(slope, 0.01 * most.seconds / most.work)
        return max(0.0, least.seconds - slope * least.work), slope

    def next(
        self, width: int, height: int, left: int, *, breakable: bool = False
    ) -> tuple[int, tuple[int, int]]:
        """Samples of the next piece, at most those that are left, and of which tiles."""
        work = self._breakable_work if breakable else self._work
        count = min(left, int(work / (width * height)))
        if count >= 1:
            return count, (1, 1)
        return 1, self.tiles(width, height, 1, breakable=breakable)

    def tiles(
        self, width: int, height: int, samples: int, *, breakable: bool = False
    ) -> tuple[int, int]:
        """Into how many tiles so many samples are cut: across, and down."""
        work = self._breakable_work if breakable else self._work
        count = max(1, math.ceil(width * height * samples / (work or width * height / _UNKNOWN)))
        # Strips, while they are not too thin.
        down = min(count, max(1, height // _THIN))
        across = min(-(-count // down), max(1, width // _LEAST))
        down = min(-(-count // across), max(1, height // _LEAST))
        return across, down
