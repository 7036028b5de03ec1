"""How numbers of things, and lists of them, are said."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["how_many", "short_list"]


def how_many(count: int, noun: str, plural: str = "") -> str:
    """``1 asset``, ``2 assets``; ``plural`` where it is more than an s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def short_list(items: Sequence[object], most: int = 20) -> str:
    """``1, 2, 5``, and that there are more where there are too many to read."""
    return ", ".join(map(str, items[:most])) + (" …" if len(items) > most else "")
