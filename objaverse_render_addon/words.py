"""How numbers of things are said."""

from __future__ import annotations

__all__ = ["how_many"]


def how_many(count: int, noun: str, plural: str = "") -> str:
    """``1 asset``, ``2 assets``; ``plural`` where it is more than an s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
