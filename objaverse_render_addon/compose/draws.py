"""Random numbers that a seed, a scene and what they are for decide, whoever draws first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ..cameras import draw

__all__ = ["Draws", "dealt"]

T = TypeVar("T")


class Draws:
    """Numbers for one purpose.

    Args:
        key: A scene.
        purpose: Others of other purposes are independent of it.
    """

    def __init__(self, seed: int, key: str, purpose: str) -> None:
        self._seed, self._key, self._purpose = seed, key, purpose
        self._drawn = 0

    def unit(self) -> float:
        """Uniform in [0, 1)."""
        (number,) = draw(self._seed, self._key, self._purpose, self._drawn, 1)
        self._drawn += 1
        return float(number)

    def uniform(self, low: float, high: float) -> float:
        """Uniform between two bounds."""
        return low + (high - low) * self.unit()

    def whole(self, low: int, high: int) -> int:
        """One of ``low`` … ``high``."""
        return low + int(self.unit() * (high - low + 1))

    def choice(self, items: Sequence[T]) -> T:
        """One of some."""
        return items[int(self.unit() * len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All of them in another order."""
        left = list(items)
        return [left.pop(int(self.unit() * len(left))) for _ in items]


def dealt(seed: int, purpose: str, items: Sequence[T], first: int, count: int) -> list[T]:
    """Cards ``first`` … of an endless row of shuffled decks: each item as often as any other.

    The row is the same for all who deal from it, so that shares are right however the work is
    split.
    """
    found = []
    decks: dict[int, list[T]] = {}
    for place in range(first, first + count):
        deck, card = divmod(place, len(items))
        if deck not in decks:
            decks[deck] = Draws(seed, f"deck-{deck}", purpose).shuffled(items)
        found.append(decks[deck][card])
    return found
