"""How large a piece of a path-traced picture may be, by what earlier pieces took."""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import Any, Final, NamedTuple

import numpy as np

__all__ = ["Pieces"]

_LEAST: Final = 8
"""Pixels of a tile's side that is not split any more."""
_THIN: Final = 24
"""Rows of a strip that is split across instead of down."""
_FINE: Final = 8
"""Strips of a piece: it can be as much larger or smaller than what was thought at first."""
_BANDS: Final = 64
"""From top to bottom, for each of which is known how much longer it takes than others."""
_EDGES: Final = np.linspace(0, 1, _BANDS + 1)
_KEPT: Final = 24
"""Pieces that tell how slow it is just now."""
_SLOWEST: Final = 1.3
"""Times as long as at its quickest, from which on pieces do not become smaller."""
_BUSY: Final = 0.8
"""Of all threads, at least, where no other program keeps them from it."""
_WAITING: Final = 1.2
"""Times as long as if all threads always worked; what is longer is another program's."""
_UNKNOWN: Final = 16
"""Tiles of a sample while nothing was measured."""
_OLD: Final = 300
"""Pieces after which the quickest of a size is that no more."""


class _Quickest(NamedTuple):
    work: float
    seconds: float
    at: int


class Pieces:
    """Cuts pictures, so that a piece takes about as long as it should.

    A piece takes a fixed time and one that grows with its work: pixels times samples, times how
    much longer its part of the picture takes than others, which is like it was in the picture
    before. Other programs only ever make it slower, so that both times follow from the quickest of
    the small and of the large pieces lately; how much slower it is just now, from the usual one. No
    piece is so small that most of its time is the fixed one.

    Args:
        goal: Seconds.
        threads: That may be at work at once.
    """

    def __init__(self, goal: float = 0.028, threads: int = 1) -> None:
        self._goal, self._least = goal, max(1.0, _BUSY * threads)
        self._took: deque[tuple[float, float]] = deque(maxlen=_KEPT)
        self._quickest: dict[int, _Quickest] = {}
        self._count = 0
        self._work = 0.0
        """Of a piece; 0 while nothing was measured."""
        self._weights = np.ones(_BANDS)
        self._threads = self._least
        """At work at once, at best."""
        self._round = 0.0, 1, 1
        """Work of all, tiles across and down."""
        self._guess = self._trend = 1.0

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
        self._work = max(self._goal / self._slower() - fixed, fixed) / slope
        if len(self._quickest) == 1:
            # Only another size tells what of it is fixed.
            self._work = max(self._work, 2 * work)

    def _slower(self) -> float:
        fixed, slope = self._line()
        # Where much else runs, all wait, and to cut small makes it worse.
        return min(_SLOWEST, median(took / (fixed + slope * work) for work, took in self._took))

    def _line(self) -> tuple[float, float]:
        """Seconds that any piece takes, and those for each unit of work."""
        least, most = min(self._quickest.values()), max(self._quickest.values())
        if most.work < 1.5 * least.work:
            return 0.0, most.seconds / most.work
        slope = (most.seconds - least.seconds) / (most.work - least.work)
        slope = max(slope, 0.01 * most.seconds / most.work)
        return max(0.0, least.seconds - slope * least.work), slope

    def tiles(self, width: int, height: int, samples: int) -> tuple[int, int]:
        """Into how many like tiles so many samples are cut: across, and down."""
        work = self._work or width * height / _UNKNOWN
        count = max(1, math.ceil(width * height * samples / work))
        # Strips, while they are not too thin.
        down = min(count, max(1, height // _THIN))
        across = min(-(-count // down), max(1, width // _LEAST))
        down = min(-(-count // across), max(1, height // _LEAST))
        return across, down

    def cut(self, width: int, height: int, samples: int) -> tuple[int, int]:
        """As :meth:`tiles`, but so fine that a piece is several: a picture begins.

        Then :meth:`next` says of how many tiles the next piece is, and :meth:`rendered` is told.
        """
        work, self._guess = float(width * height * samples), width * height / _UNKNOWN
        count = math.ceil(work / (self._work or self._guess))
        # Strips go by what their part of the picture takes, tiles do not.
        if count <= max(1, height // 2) or not self._work:
            across, down = 1, min(height, count * _FINE if count > 1 else 1)
        else:
            across, down = self.tiles(width, height, samples)
        self._round = work, across, down
        return across, down

    def next(self, part: int) -> int:
        """How many tiles the next piece is of, the first of which is this one."""
        work, across, down = self._round
        if part == 0:
            self._trend = 1.0
        # With the first comes what all of them need.
        if across > 1 or down == 1 or part == 0:
            return 1
        # What lies beside what took longer than was thought does so as well; and those that are
        # left are alike.
        goal = (self._work or self._guess) / max(1.0, self._trend)
        left = self._share(part / down, 1.0) * work
        target = left / max(1, math.ceil(left / goal)) / work
        ends = self._ends()
        end = np.interp(np.interp(part / down, _EDGES, ends) + target, ends, _EDGES)
        return int(min(max(1, round(float(end) * down) - part), down - part))

    def rendered(
        self, part: int, count: int, seconds: float, processors: float = 0.0
    ) -> None:
        """What :meth:`next` said was rendered, and took so long.

        Args:
            processors: Seconds that processors worked for it, 0 where that tells nothing: a machine
                that has much else to do would make pieces small, and they would cost more of it.
        """
        if processors:
            self._threads = max(self._least, 0.999 * self._threads, processors / seconds)
            seconds = min(seconds, _WAITING * processors / self._threads)
        whole, across, down = self._round
        row, rows = part // across, -(-count // across)
        begin, end = row / down, (row + rows) / down
        whole *= min(1.0, count / across)
        work = max(1.0, self._share(begin, end) * whole)
        if end - begin < 1 and len(self._quickest) > 1:
            fixed, slope = self._line()
            usual = slope * work
            ratio = max(seconds / self._slower() - fixed, 0.1 * usual) / usual
            inside = np.minimum(_EDGES[1:], end) - np.maximum(_EDGES[:-1], begin)
            inside = np.clip(inside * _BANDS, 0, None)
            self._weights *= np.clip(ratio, 0.25, 4.0) ** (0.7 * inside)
            self._weights = np.clip(self._weights / self._weights.mean(), 0.02, None)
            self._trend = ratio
            work = max(1.0, self._share(begin, end) * whole)
        self.took(work, seconds)

    def _ends(self) -> Any:
        """Of the work of all, until the end of each band, from 0 on."""
        return np.concatenate([[0.0], np.cumsum(self._weights)]) / self._weights.sum()

    def _share(self, begin: float, end: float) -> float:
        """Of the work of all, from one share of the height to another."""
        low, high = np.interp([begin, end], _EDGES, self._ends())
        return float(high - low)
