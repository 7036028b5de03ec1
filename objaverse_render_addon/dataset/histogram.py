"""Histograms of numbers whose range nobody knows beforehand, in bounded memory."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["Histogram"]

_DECADES: Final = 30
_WIDEST: Final = 10_000  # Bins to either side of zero.


@dataclass(slots=True)
class Histogram:
    """Counts in bins of equal width, of the numbers or of their logarithms.

    Attributes:
        step: Width of a bin; where ``log``, in decades.
        log: Whether bins are of the numbers' logarithms. Zero and less are then counted apart.
        counts: Bin to how many; bin ``i`` begins at ``i * step``.
        count: Of all finite numbers.
        low: The smallest.
        high: The largest.
        odd: How many were no finite numbers, or none that a logarithm can have.
    """

    step: float
    log: bool = False
    counts: Counter[int] = field(default_factory=Counter)
    count: int = 0
    total: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    odd: int = 0

    def add(self, values: npt.ArrayLike) -> None:
        """Count numbers in; what is no finite number is counted as odd."""
        numbers = np.asarray(values, dtype=np.float64).ravel()
        good = np.isfinite(numbers)
        if self.log:
            good &= (numbers > 10.0**-_DECADES) & (numbers < 10.0**_DECADES)
        else:
            good &= np.abs(numbers) < _WIDEST * self.step
        self.odd += int((~good).sum())
        numbers = np.sort(numbers[good])
        if not len(numbers):
            return
        places = np.floor((np.log10(numbers) if self.log else numbers) / self.step + 1e-9)
        bins, counts = np.unique(places.astype(np.int64), return_counts=True)
        for place, count in zip(bins.tolist(), counts.tolist(), strict=True):
            self.counts[place] += count
        self.count += len(numbers)
        self.total += float(numbers.sum())
        self.low = min(self.low, float(numbers[0]))
        self.high = max(self.high, float(numbers[-1]))

    def merge(self, other: Histogram) -> None:
        """Count in what another counted with the same bins."""
        self.counts += other.counts
        self.count += other.count
        self.total += other.total
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.odd += other.odd

    def edge(self, place: int) -> float:
        """Where a bin begins."""
        return 10.0 ** (place * self.step) if self.log else place * self.step

    def quantile(self, share: float) -> float:
        """The number below which this share lies, to the width of a bin."""
        wanted, seen = share * self.count, 0
        for place in sorted(self.counts):
            seen += self.counts[place]
            if seen >= wanted:
                inside = 1 - (seen - wanted) / self.counts[place]
                value = self.edge(place) + inside * (self.edge(place + 1) - self.edge(place))
                return min(max(value, self.low), self.high)
        return math.nan

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``edges`` has one more entry than ``counts``; empty where nothing was counted.

        ``median``, ``p5`` and ``p95`` are exact to the width of a bin.
        """
        if not self.count:
            return {"count": 0, "odd": self.odd, "edges": [], "counts": []}
        first, last = min(self.counts), max(self.counts)
        return {
            "count": self.count,
            "odd": self.odd,
            "min": self.low,
            "max": self.high,
            "mean": self.total / self.count,
            "p5": self.quantile(0.05),
            "median": self.quantile(0.5),
            "p95": self.quantile(0.95),
            "log": self.log,
            "edges": [float(f"{self.edge(place):.6g}") for place in range(first, last + 2)],
            "counts": [self.counts[place] for place in range(first, last + 1)],
        }
