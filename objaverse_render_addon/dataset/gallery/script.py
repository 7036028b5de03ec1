"""Data as scripts, which is what a page that was opened from disk may load.

``fetch`` is closed to such a page, a script element is not. Each file is one call whose arguments
are two plain words and one string of JSON; the page parses that string. Every character of the
data that means something to HTML or JavaScript is written as an escape, so that the file is
inert wherever it ends up.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

__all__ = ["plain", "script"]

_TEXT: Final = 20_000
_ITEMS: Final = 2_000
_DEPTH: Final = 12
# Larger integers are no longer exact in JavaScript.
_EXACT: Final = 2**53


def script(kind: str, key: str, data: Any) -> bytes:
    """A script that hands ``data`` to the page: ASCII, without ``<``, ``>`` and ``&``.

    Args:
        kind: What it is; a word of ours.
        key: Which one; letters, digits and ``-`` only.
    """
    if not all(c.isascii() and (c.isalnum() or c == "-") for c in kind + key):
        raise ValueError(f"{kind} {key} is no plain word")
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    literal = json.dumps(text, ensure_ascii=True)
    for letter in "<>&'":
        literal = literal.replace(letter, f"\\u{ord(letter):04x}")
    return f'gallery.receive("{kind}","{key}",{literal});\n'.encode("ascii")


def plain(value: Any, depth: int = _DEPTH) -> Any:
    """JSON of bounded size out of anything that a metadata file may hold.

    Numbers that JSON or JavaScript cannot hold become text; what is too long or too deep is cut,
    and says so.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _EXACT else _cut(hex(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _cut(value)
    if depth == 0:
        return "…"
    if isinstance(value, dict):
        items = list(value.items())
        small = {_cut(str(key)): plain(item, depth - 1) for key, item in items[:_ITEMS]}
        if len(items) > _ITEMS:
            small["…"] = f"{len(items) - _ITEMS} more"
        return small
    if isinstance(value, list | tuple):
        short = [plain(item, depth - 1) for item in value[:_ITEMS]]
        return [*short, f"… {len(value) - _ITEMS} more"] if len(value) > _ITEMS else short
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else text[:_TEXT] + "…"
