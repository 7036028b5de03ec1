"""Text that strangers wrote, made fit for one line of a terminal, a file or a panel."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

from ..words import one_line

__all__ = ["NAME_BYTES", "clean", "short_name", "shortened", "without_markup"]

NAME_BYTES: Final = 200
"""Bytes that an asset's name may have: file systems allow 255, and names of files end in more."""

_TAG: Final = re.compile(r"</?[a-zA-Z][^<>]*>")


def clean(text: object, limit: int = 200) -> str:
    """One line without anything that a terminal acts upon, of at most ``limit`` characters.

    What is no text becomes an empty one.
    """
    if not isinstance(text, str) or not text:
        return ""
    # Looking at a few times more than wanted is enough, however long it is.
    text = " ".join(one_line(text[: 8 * limit]).split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def short_name(name: str, limit: int = NAME_BYTES) -> str:
    """A name of at most so many bytes of UTF-8; what is cut off is told apart by its hash."""
    encoded = name.encode()
    if len(encoded) <= limit:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:12]
    return f"{encoded[: limit - len(digest) - 1].decode(errors='ignore')}-{digest}"


def without_markup(text: object) -> str:
    """Without HTML tags; what only looks like one, as in ``a < b``, stays."""
    return _TAG.sub(" ", text) if isinstance(text, str) else ""


def shortened(text: str, columns: int) -> str:
    """Cut or filled to so many columns of a terminal, where Chinese letters take two."""
    width = sum(map(_columns, text))
    cut = width > columns
    while width > columns - cut:
        width -= _columns(text[-1])
        text = text[:-1]
    return text + "…" * cut + " " * (columns - width - cut)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
