"""STL: lengths that do not fit, capitals, and colours that Blender does not read."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Final

import numpy as np

from .model import Floats, Mesh, Model, Part

__all__ = ["FACETS", "prepare", "triangle_count"]

FACETS: Final = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("color", "<u2")])
_HEAD: Final = 84
_CAPITALS: Final = re.compile(
    rb"\b(?:SOLID|FACET|NORMAL|OUTER|LOOP|VERTEX|ENDLOOP|ENDFACET|ENDSOLID)\b", re.IGNORECASE
)


def triangle_count(head: bytes, size: int) -> int | None:
    """Triangles of a binary STL file whose length is not what its header says, or is.

    ``None`` where the file is none, or is cut off.

    Args:
        head: Its first bytes; a few triangles are enough.
    """
    if len(head) < _HEAD + FACETS.itemsize:
        return None
    count = int(struct.unpack_from("<I", head, 80)[0])
    whole, left = divmod(size - _HEAD, FACETS.itemsize)
    if count == 0 and left == 0:
        count = whole
    elif not 0 < count <= whole:
        return None
    seen = min(count, (len(head) - _HEAD) // FACETS.itemsize)
    facets = np.frombuffer(head, FACETS, seen, _HEAD)
    values = np.concatenate([facets["normal"].ravel(), facets["corners"].ravel()])
    # Whatever else has a small number there does not go on with numbers of a sane size.
    with np.errstate(invalid="ignore"):
        sane = (np.abs(values) < 1e20) & ((values == 0) | (np.abs(values) > 1e-30))
    return count if sane.all() or size == _HEAD + FACETS.itemsize * count else None


def prepare(path: Path, folder: Path, warnings: list[str]) -> Path | Model:
    """A file that Blender reads, or what is in it."""
    data = path.read_bytes()
    count = triangle_count(data, len(data))
    if count is None:
        return _text(path, data, folder)
    colors = _colors(data, count)
    if colors is not None:
        return _colored(path, data, count, colors)
    if len(data) == _HEAD + FACETS.itemsize * count == _HEAD + 50 * int(
        struct.unpack_from("<I", data, 80)[0]
    ):
        return path
    tail = len(data) - _HEAD - FACETS.itemsize * count
    warnings.append(
        f"repaired: {tail} bytes after the last triangle were left out."
        if tail
        else f"repaired: the header counts 0 triangles, the file has {count:,}."
    )
    fixed = folder / path.name
    body = data[_HEAD : _HEAD + FACETS.itemsize * count]
    fixed.write_bytes(data[:80] + struct.pack("<I", count) + body)
    return fixed


def _text(path: Path, data: bytes, folder: Path) -> Path:
    if data.lstrip()[:5].lower() != b"solid":
        return path
    lines = data.split(b"\n", 2)
    keyword = next((line.split()[0] for line in lines[1:2] if line.split()), b"facet")
    if data.lstrip()[:5] == b"solid" and keyword.islower() and (b"\r" not in data or b"\n" in data):
        return path
    fixed = folder / path.name
    text = data if b"\n" in data else data.replace(b"\r", b"\n")
    fixed.write_bytes(_CAPITALS.sub(lambda match: match[0].lower(), text).lstrip())
    return fixed


def _colors(data: bytes, count: int) -> Floats | None:
    """(count, 4) of each triangle, by the header's word for it or by what is in the triangles.

    Materialise Magics writes ``COLOR=`` and RGBA into the header; a triangle has its own colour,
    blue in the upper bits, where bit 15 is 0. VisCAM says with bit 15 that a triangle has one,
    with red in the upper bits.
    """
    words = np.frombuffer(data, FACETS, count, _HEAD)["color"].astype(np.int32)
    at = data.find(b"COLOR=", 0, 80)
    magics = 0 <= at <= 70
    own = (words & 0x8000) == 0 if magics else (words & 0x8000) != 0
    if not magics and not own.any():
        return None
    fifths = np.stack([words & 31, (words >> 5) & 31, (words >> 10) & 31], axis=1)
    if not magics:
        fifths = fifths[:, ::-1]
    rest = np.frombuffer(data, "u1", 3, at + 6) / 255 if magics else np.array([0.735] * 3)
    colors = np.where(own[:, None], fifths / 31, rest)
    return np.concatenate([colors, np.ones((count, 1))], axis=1).astype(np.float32)


def _colored(path: Path, data: bytes, count: int, colors: Floats) -> Model:
    corners = np.frombuffer(data, FACETS, count, _HEAD)["corners"].reshape(-1, 3)
    # The same numbers are the same vertex, also where a zero has a sign.
    vertices, index = np.unique(corners + np.float32(0), axis=0, return_inverse=True)
    triangles = index.reshape(-1, 3)
    a, b, c = triangles.T
    whole = (a != b) & (b != c) & (c != a)
    mesh = Mesh(
        path.stem,
        vertices.astype(np.float32),
        triangles[whole].reshape(-1).astype(np.int32),
        np.full(int(whole.sum()), 3, np.int32),
        colors=np.repeat(colors[whole], 3, axis=0),
    )
    return Model("STL colors", [Part(path.stem, mesh)])
