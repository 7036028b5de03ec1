"""OBJ: what text editors, locales and old programs make of it, repaired before it is read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import numpy as np

from ...errors import WrongFormat

__all__ = ["prepare"]

_COMMA: Final = re.compile(rb"^[ \t]*v[tn]?[ \t]+[-+]?\d+,\d", re.MULTILINE)
_SAMPLE: Final = 1 << 14
_STEP: Final = 1 << 22
_NUMBERS: Final = re.compile(rb"(?<=\d),(?=\d)")
_DATA: Final = re.compile(rb"^[ \t]*(?:v|vt|vn)[ \t][^\n]*$", re.MULTILINE)
_MTL_DATA: Final = re.compile(
    rb"^[ \t]*(?:Ka|Kd|Ks|Ke|Tf|Ns|Ni|d|Tr|P\w+)[ \t][^\n]*$", re.MULTILINE | re.IGNORECASE
)
_COLORED: Final = re.compile(
    rb"^[ \t]*v((?:[ \t]+[-+.\deE]+){3})((?:[ \t]+[-+.\deE]+){3})[ \t\r]*$", re.MULTILINE
)
_LIBRARY: Final = re.compile(rb"^([ \t]*mtllib[ \t]+)([^\r\n]*?)([ \t]*\r?)$", re.MULTILINE)
_MAP: Final = re.compile(
    rb"^([ \t]*(?:map_\w+|bump|disp|decal|norm|refl)[ \t]+(?:-.*[ \t])?)"
    rb"([^ \t\r\n][^\r\n]*?)([ \t]*\r?)$",
    re.MULTILINE | re.IGNORECASE,
)


def prepare(path: Path, folder: Path, warnings: list[str]) -> Path:
    """The file, or a copy that Blender reads as its author meant it.

    Raises:
        WrongFormat: A comma stands in the numbers, and for what cannot be told.
    """
    data = text = path.read_bytes()
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = text.decode("utf-16", errors="replace").encode()
    text = text.removeprefix(b"\xef\xbb\xbf")
    if b"\n" not in text:
        text = text.replace(b"\r", b"\n")
    comma = b"," in text and _COMMA.search(text) is not None
    if comma:
        text = _DATA.sub(lambda match: _point(path, match[0]), text)
        warnings.append("repaired: its numbers have a decimal comma.")
    text = _in_range(text, warnings)
    if text is data or text == data:
        return path
    own = path.with_suffix(".mtl").name.encode()
    named = {match[2].strip(b'"') for match in _LIBRARY.finditer(text)}
    if own not in named and path.with_suffix(".mtl").is_file():
        # Blender reads the library of the file's own name without being told to.
        text = b"mtllib " + own + b"\n" + text
    target = folder / path.name
    target.write_bytes(
        _LIBRARY.sub(lambda match: match[1] + _library(path, match[2], folder, comma), text)
    )
    return target


def _point(path: Path, line: bytes) -> bytes:
    head, sign, comment = line.partition(b"#")
    words = head.split()
    # "1,2,3" is three numbers or one and a half.
    if any(word.count(b",") > 1 for word in words) or (b"." in head and b"," in head):
        raise WrongFormat(
            f"{path} has commas in its numbers that can be read in two ways: "
            f"{line.strip()[:60].decode(errors='replace')!r}.",
            hint="Export it with decimal points.",
        )
    return _NUMBERS.sub(b".", head) + sign + comment


def _in_range(text: bytes, warnings: list[str]) -> bytes:
    """Vertex colours of 0..255, as some programs write them, in 0..1."""
    # A file has colors or has none; looking at every line would take as long as the import.
    samples = (text[at : at + _SAMPLE] for at in range(0, len(text), _STEP))
    if not any(_COLORED.search(sample) for sample in samples):
        return text
    found = [match[2].split() for match in _COLORED.finditer(text)]
    try:
        most = float(np.max(np.array(found, dtype=np.float64)))
    except ValueError:
        return text
    if not 1.0 < most <= 255.0:
        return text
    warnings.append("repaired: its vertex colors are numbers up to 255.")

    def scaled(match: re.Match[bytes]) -> bytes:
        values = (float(word) / 255 for word in match[2].split())
        return b"v" + match[1] + b"".join(b" %.6f" % value for value in values)

    return _COLORED.sub(scaled, text)


def _library(path: Path, name: bytes, folder: Path, comma: bool) -> bytes:
    """The name by which the copy finds the file's materials."""
    where = path.parent / os.fsdecode(name.strip(b'"'))
    if comma and where.is_file():
        text = where.read_bytes()
        fixed = _MTL_DATA.sub(lambda match: _NUMBERS.sub(b".", match[0]), text)
        fixed = _MAP.sub(lambda match: match[1] + _absolute(where, match[2]) + match[3], fixed)
        (folder / "materials.mtl").write_bytes(fixed)
        return b"materials.mtl"
    try:
        return os.fsencode(os.path.relpath(where, folder))
    except ValueError:
        # On another drive of Windows'.
        return name


def _absolute(library: Path, name: bytes) -> bytes:
    where = library.parent / os.fsdecode(name).replace("\\", "/")
    return os.fsencode(where) if where.is_file() else name
