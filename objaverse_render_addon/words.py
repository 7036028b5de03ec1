"""How things are said: numbers of things, lists of them, and what strangers had a hand in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote_plus, urlsplit, urlunsplit

__all__ = ["how_many", "one_line", "redacted", "short_list", "without_secrets"]

# Terminal sequences go as a whole, or their letters would stay: ESC [ … letter, ESC ] … BEL,
# and ESC with one letter (ECMA-48, sections 5.4 and 5.6).
_ESCAPES: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/{2}[^\s\"'<>]+")
_SECRET: Final = re.compile(
    r"(?i)x-(amz|goog|ms)-.*|.*(token|signature|secret|passw|credential|api_?key).*|sig|policy|"
    r"key-pair-id"
)


def how_many(count: int, noun: str, plural: str = "") -> str:
    """``1 asset``, ``2 assets``; ``plural`` where it is more than an s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def short_list(items: Sequence[object], most: int = 20) -> str:
    """``1, 2, 5``, and that there are more where there are too many to read."""
    return ", ".join(map(str, items[:most])) + (" …" if len(items) > most else "")


def one_line(text: str) -> str:
    """The same text as a single line without anything that a terminal acts upon.

    Spaces stay as many as they are; a line break, a tab or any other space becomes one of them.
    """
    # What Python calls unprintable is what a terminal may act upon: control, format (writing
    # direction among them), surrogate, private and unassigned characters.
    if text.isprintable():
        return text
    letters = (" " if char.isspace() else char for char in _ESCAPES.sub("", text))
    return "".join(char for char in letters if char.isprintable())


def redacted(url: str) -> str:
    """An address without the user, the password and the signatures that it may have."""
    return "::".join(map(_redacted, url.split("::")))


def _redacted(url: str) -> str:
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    said = parts.query.split("&")
    kept = [one for one in said if not _SECRET.fullmatch(unquote_plus(one.partition("=")[0]))]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "&".join(kept), ""))


def without_secrets(text: str) -> str:
    """The same text; addresses in it that have a user, a password or a signature lose them."""
    if "://" not in text:
        return text

    def shown(match: re.Match[str]) -> str:
        address = match[0]
        return redacted(address) if "@" in address or "?" in address else address

    return _ADDRESS.sub(shown, text)
