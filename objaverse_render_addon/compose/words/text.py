"""A sentence as it grows: words, and where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = ["Luck", "Text"]

T = TypeVar("T")


class Luck:
    """Choices by numbers that were drawn beforehand, one after the other.

    Args:
        numbers: Uniform in [0, 1); begins anew when all are used.
    """

    def __init__(self, numbers: Sequence[float]) -> None:
        self._numbers, self._next = list(numbers), 0

    def pick(self, options: Sequence[T]) -> T:
        """One of them."""
        number = self._numbers[self._next % len(self._numbers)]
        self._next += 1
        return options[int(number * len(options))]


@dataclass
class Text:
    """A sentence, and the spans (begin, end) of characters in it, half-open.

    Attributes:
        spans: ``target``: the whole phrase; ``head``: it without its clause; ``references``: what
            it mentions, each whole.
    """

    text: str = ""
    spans: dict[str, list[tuple[int, int]]] = field(
        default_factory=lambda: {"target": [], "head": [], "references": []}
    )
    space: str = " "

    def add(self, *words: str) -> None:
        """Words; a space before each but the first, none before punctuation."""
        for word in words:
            if word:
                glue = "" if not self.text or word[0] in ".?!,。？！" else self.space
                self.text += glue + word

    def mark(self) -> int:
        """Where the next word will begin."""
        return len(self.text) + (len(self.space) if self.text else 0)

    def close(self, kind: str, begin: int) -> None:
        """What began at a mark ends here."""
        self.spans[kind].append((begin, len(self.text)))

    def capital(self) -> Text:
        """The same with a capital letter; no span moves."""
        self.text = self.text[:1].upper() + self.text[1:]
        return self

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        spans = {name: [list(one) for one in some] for name, some in self.spans.items()}
        return {"text": self.text, "spans": spans}
