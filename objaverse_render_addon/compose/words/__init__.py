"""Sentences of a form; each says where in it what is mentioned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..forms import Phrase
from . import chinese, english, german
from .text import Luck, Text

__all__ = ["LANGUAGES", "STYLES", "Luck", "Text", "realise"]

LANGUAGES: Final[dict[str, Callable[[Phrase, str, Luck], Text | None]]] = {
    "en": english.sentence, "de": german.sentence, "zh": chinese.sentence,
}  # fmt: skip
STYLES: Final = ("phrase", "request")
"""The noun phrase alone, or in a question or request around it."""


def realise(phrase: Phrase, language: str, style: str, luck: Luck) -> Text | None:
    """A sentence.

    Args:
        luck: Draws which of several wordings.

    Returns:
        ``None`` where the language has no word for something.
    """
    return LANGUAGES[language](phrase, style, luck)
