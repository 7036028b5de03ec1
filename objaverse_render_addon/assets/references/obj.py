"""OBJ and its materials: ``mtllib``, and in there every map."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..reach import base_name
from .look import Look

__all__ = ["scan"]

# Blender takes all of these for blanks, a backslash among them.
_BLANK: Final = rb"[\x00-\x09\x0b-\x20\\]"
_CONTINUED: Final = re.compile(rb"\\\r?\n")
_MAP: Final = re.compile(
    rb"^(" + _BLANK + rb"*(?:map_|bump|disp|decal|refl|norm)[^\s\\]*" + _BLANK + rb"+)([^\n]*)$",
    re.IGNORECASE | re.MULTILINE,
)
_KEY: Final = b"mtllib"


def scan(path: Path, found: Look) -> None:
    """Ask for the material libraries, and look into those that are the asset's own."""
    changes: list[tuple[int, int]] = []
    libraries = []
    if path.stat().st_size:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for start, end, name in _libraries(data):
                if found.ask(name, path.parent):
                    libraries.append(name)
                else:
                    changes.append((start, end))
            if changes:
                text = bytearray(data[:])
                for start, end in changes:
                    text[start:end] = b"#" * (end - start)
                found.copies[path] = bytes(text)
    # Blender reads the library of the file's own name without being told to.
    default = path.with_suffix(".mtl").name
    if os.path.lexists(path.with_name(default)):
        found.ask(default, path.parent)
        libraries.append(default)
    for name in dict.fromkeys(libraries):
        part = found.reach.resolve(name, path.parent)
        if part.path is not None:
            _materials(Path(os.path.normpath(path.parent / name)), part.path, found)
        elif part.refused and path not in found.copies:
            # Only in a copy of the folder is the library not there.
            found.copies[path] = path.read_bytes()


def _libraries(data: mmap.mmap) -> Iterator[tuple[int, int, str]]:
    """Where each ``mtllib`` line begins and ends, and the name on it."""
    at = data.find(_KEY)
    while at >= 0:
        start = at
        while start and data[start - 1] != 10 and (data[start - 1] <= 32 or data[start - 1] == 92):
            start -= 1
        end = data.find(b"\n", at)
        while end > 0 and data[at:end].rstrip(b"\r").endswith(b"\\"):
            end = data.find(b"\n", end + 1)
        end = len(data) if end < 0 else end
        if start == 0 or data[start - 1] == 10:
            line = _CONTINUED.sub(b"  ", data[at + len(_KEY) : end])
            # The line goes as a whole, or its continuation would stay.
            name = os.fsdecode(line.strip(bytes(range(33)) + b"\\").strip(b'"'))
            if name:
                yield at, end, name
        at = data.find(_KEY, end)


def _materials(place: Path, real: Path, found: Look) -> None:
    if place in found.seen:
        return
    found.seen.add(place)
    data = real.read_bytes()
    refused = False

    def one(match: re.Match[bytes]) -> bytes:
        rest = os.fsdecode(match[2].strip(bytes(range(33))))
        words = rest.split()
        # Options come before the name; where they end is for each reader to say.
        names = [rest]
        if rest.startswith("-"):
            names = [rest.split(None, index)[-1] for index in range(1, len(words))] or [rest]
        names = [name.strip('"') for name in names]
        answers = [_may_stay(name, place.parent, found) for name in names]
        if all(answers):
            return match[0]
        nonlocal refused
        refused = True
        name = base_name(names[-1]) or "missing"
        options = words[: len(words) - len(names[-1].split())] if rest.startswith("-") else []
        return match[1] + os.fsencode(" ".join([*options, name]))

    changed = _MAP.sub(one, data)
    if refused:
        # Even where the name is the same: only in a copy of the folder is it not there.
        found.copies[place] = changed


def _may_stay(name: str, base: Path, found: Look) -> bool:
    # Where there is no such file, Blender looks for one with spaces for underscores.
    spaced = name if os.path.isabs(name) else name.replace("_", " ")  # noqa: PTH117
    return found.ask(name, base, texture=True, by_name=True) and (
        spaced == name or found.ask(spaced, base, texture=True, by_name=True)
    )
