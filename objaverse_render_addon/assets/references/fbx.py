"""FBX, binary and text: the file names of textures and videos.

The names are found by what stands before them, and changed without a change of length: a
separator less, and what was a path is a name that nothing has. The last separator stays, for
importers look for a texture by its name beside the file, too.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import Final

from .look import Look

__all__ = ["scan"]

# What stands before a name: the end of RelativeFilename, Filename, FileName and CacheFileName; and
# of a property, the type of a path, after which come its flags.
_KEYS: Final = (b"ilenameS", b"ileNameS", b"XRefUrlS")
_CONTENT: Final = re.compile(rb"Content[RS](....)", re.DOTALL)
_QUOTED: Final = re.compile(rb'"([^"]*)"')
_KEYED: Final = re.compile(rb"(?:file_?name|xrefurl)[^\n]*$", re.IGNORECASE)
_LONGEST: Final = 4096


def scan(path: Path, found: Look) -> None:
    """Ask for each name."""
    data = path.read_bytes()
    spans = _binary(data, found) if data.startswith(b"Kaydara") else _text(data)
    changed: bytearray | None = None
    for start, end, told in spans:
        raw = data[start:end]
        name = os.fsdecode(raw.partition(b"\0")[0])
        if not name:
            continue
        names = [name, name.lstrip("/\\")] if name.startswith(("/", "\\")) else [name]
        if told:
            answers = [found.ask(one, path.parent, texture=True, by_name=True) for one in names]
            allowed = all(answers)
        else:
            allowed = not any(found.reach.resolve(one, path.parent).refused for one in names)
        if not allowed:
            changed = changed or bytearray(data)
            changed[start:end] = _harmless(raw)
    if changed is not None:
        found.copies[path] = bytes(changed)


def _binary(data: bytes, found: Look) -> list[tuple[int, int, bool]]:
    spans = []
    for key in _KEYS:
        at = data.find(key)
        while at >= 0:
            start = at + len(key)
            if key == b"XRefUrlS":
                # The flags are a string of their own.
                flags = int.from_bytes(data[start : start + 4], "little")
                start += 5 + flags
            at = data.find(key, at + 1)
            if start + 4 > len(data):
                continue
            (length,) = struct.unpack_from("<I", data, start)
            start, end = start + 4, start + 4 + length
            if not 0 < length <= _LONGEST or end > len(data):
                continue
            spans.append((start, end, True))
            content = _CONTENT.search(data, end, end + 64)
            if content and struct.unpack("<I", content[1])[0]:
                found.embedded(os.fsdecode(data[start:end]))
    return spans


def _text(data: bytes) -> list[tuple[int, int, bool]]:
    """Every quoted string, and whether what stands before it says that it is a path."""
    spans = []
    for match in _QUOTED.finditer(data):
        before = data[max(0, match.start() - 200) : match.start()]
        spans.append((match.start(1), match.end(1), _KEYED.search(before) is not None))
    return spans


def _harmless(raw: bytes) -> bytes:
    last = max(raw.rfind(b"/"), raw.rfind(b"\\"))
    head, tail = raw[: max(last, 0)], raw[max(last, 0) :]
    if tail[1:] in (b"", b".", b".."):
        head, tail = raw, b""
    # No separator, no drive, no address, no step upwards is left in front.
    return re.sub(rb"[/\\:.\0]", b"_", head) + (tail if head else b"_" + tail[1:])
