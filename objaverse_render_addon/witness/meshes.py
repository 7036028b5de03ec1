"""Triangles of OBJ, PLY and STL files."""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..assets.reach import Reach
from .surface import NotRead, Part, Surface, triangulated, y_up

__all__ = ["read_obj", "read_ply", "read_stl"]

Array = npt.NDArray[Any]

_MOST_TEXT: Final = 16 << 20
"""Bytes of text that are read; more would hold up the render."""


def _text(path: Path) -> list[bytes]:
    if path.stat().st_size > _MOST_TEXT:
        raise NotRead("much text")
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\\\n", b" ")
    return data.split(b"\n")


def read_obj(path: Path) -> Surface:
    """All polygons of a Wavefront file, which is Y up by the importers' custom.

    Raises:
        NotRead: It has curved surfaces, or is long.
    """
    vertices: list[list[bytes]] = []
    libraries: list[str] = []
    # Material, number of corners: the polygons.
    polygons: dict[str, dict[int, list[list[int]]]] = defaultdict(lambda: defaultdict(list))
    material = ""
    for line in _text(path):
        words = line.partition(b"#")[0].split()
        if not words:
            continue
        key = words[0]
        if key == b"v":
            vertices.append(words[1:4])
        elif key == b"f":
            corners = [int(word.partition(b"/")[0]) for word in words[1:]]
            count = len(vertices)
            polygons[material][len(corners)].append(
                [index - 1 if index > 0 else count + index for index in corners]
            )
        elif key == b"usemtl":
            material = b" ".join(words[1:]).decode(errors="replace")
        elif key == b"mtllib":
            libraries.append(b" ".join(words[1:]).decode(errors="replace"))
        elif key in (b"surf", b"curv", b"cstype"):
            raise NotRead("curved surfaces")
    places = np.array(vertices, dtype="S32").reshape(-1, 3).astype(np.float64)
    clear = _transparent(path, libraries)
    parts = []
    for name, by_sides in polygons.items():
        own, rest = triangulated(places, [np.array(some) for some in by_sides.values()])
        parts += [Part(y_up(own), name in clear), Part(y_up(rest), may_vanish=True)]
    faces = sum(
        len(some) for sides in polygons.values() for count, some in sides.items() if count > 2
    )
    return Surface.of(parts, faces)


def _transparent(path: Path, libraries: list[str]) -> set[str]:
    """Names of the materials that may be.

    Raises:
        NotRead: A library is not the file's own.
    """
    found: set[str] = set()
    reach = Reach.of(path)
    for library in libraries:
        part = reach.resolve(library, path.parent.resolve())
        if part.refused:
            raise NotRead("a library that is not beside it")
        if part.path is None:
            continue
        name = ""
        for line in _text(part.path):
            words = line.split()
            if words[:1] == [b"newmtl"]:
                name = b" ".join(words[1:]).decode(errors="replace")
            elif words and words[0].lower() in (b"d", b"tr", b"map_d", b"map_tr", b"tf"):
                solid = {b"d": b"1", b"tr": b"0"}.get(words[0].lower())
                if solid is None or words[-1].rstrip(b"0").rstrip(b".") != solid.rstrip(b"0"):
                    found.add(name)
    return found


_VERTEX: Final = re.compile(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)", re.IGNORECASE)


def read_stl(path: Path) -> Surface:
    """All facets of an STL file, ASCII or binary.

    Raises:
        NotRead: It has none, or is long text.
    """
    data = path.read_bytes()
    count = struct.unpack_from("<I", data, 80)[0] if len(data) >= 84 else 0
    if count and len(data) >= 84 + 50 * count:
        facets = np.frombuffer(data, np.dtype([("f", "<f4", (4, 3)), ("rest", "<u2")]), count, 84)
        return Surface.of([Part(facets["f"][:, 1:])])
    if len(data) > _MOST_TEXT:
        raise NotRead("much text")
    corners = np.array(_VERTEX.findall(data), dtype="S32").reshape(-1, 3, 3)
    return Surface.of([Part(corners.astype(np.float64))])


_PLY_TYPES: Final = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip


def read_ply(path: Path) -> Surface:
    """All faces of a PLY file.

    Raises:
        NotRead: It has none, other elements before them, faces of many kinds, or is long text.
    """
    data = path.read_bytes()
    end = re.search(rb"end_header[^\n]*\n", data)
    if end is None:
        raise NotRead("no header")
    header = data[: end.start()].decode("ascii", errors="replace").split("\n")
    form = "ascii"
    elements: list[tuple[str, int, list[list[str]]]] = []
    for words in (line.split() for line in header):
        if words[:1] == ["format"]:
            form = words[1]
        elif words[:1] == ["element"]:
            elements.append((words[1], int(words[2]), []))
        elif words[:1] == ["property"]:
            elements[-1][2].append(words[1:])
    if [name for name, _, _ in elements[:2]] != ["vertex", "face"]:
        raise NotRead("no faces after the vertices")
    (_, count, fields), (_, faces, lists) = elements[:2]
    names = [field[-1] for field in fields]
    if form == "ascii":
        if len(data) > _MOST_TEXT:
            raise NotRead("much text")
        lines = [line.split() for line in data[end.end() :].split(b"\n")]
        columns = [names.index(axis) for axis in "xyz"]
        rows = [[words[column] for column in columns] for words in lines[:count]]
        places = np.array(rows, dtype="S32").reshape(-1, 3).astype(np.float64)
        if lists[0][-1] not in ("vertex_indices", "vertex_index"):
            raise NotRead("faces that begin with other numbers")
        by_sides: dict[int, list[list[int]]] = defaultdict(list)
        for row in lines[count : count + faces]:
            sides = int(row[0])
            by_sides[sides].append([int(word) for word in row[1 : 1 + sides]])
        polygons = [np.array(some) for some in by_sides.values()]
    else:
        mark = ">" if form == "binary_big_endian" else "<"
        dtype = np.dtype([(field[-1], mark + _PLY_TYPES[field[0]]) for field in fields])
        rows_ = np.frombuffer(data, dtype, count, end.end())
        places = np.stack([rows_[axis] for axis in "xyz"], axis=1).astype(np.float64)
        polygons = _binary_faces(data, end.end() + count * dtype.itemsize, faces, lists, mark)
    own, rest = triangulated(places, polygons)
    return Surface.of([Part(own, "alpha" in names), Part(rest, may_vanish=True)], faces)


def _binary_faces(
    data: bytes, start: int, faces: int, lists: list[list[str]], mark: str
) -> list[Array]:
    """Indices (M, n) of faces that all have as many corners as the first."""
    fields: list[Any] = []
    place, name = start, ""
    for number, field in enumerate(lists):
        if field[0] == "list":
            if len([one for one in lists if one[0] == "list"]) > 1:
                raise NotRead("several lists in a face")
            count = np.dtype(mark + _PLY_TYPES[field[1]])
            sides = int(np.frombuffer(data, count, 1, place)[0]) if faces else 3
            name = field[-1]
            fields += [("sides", count), (name, mark + _PLY_TYPES[field[2]], (sides,))]
        else:
            fields.append((f"{field[-1]} {number}", mark + _PLY_TYPES[field[0]]))
            place += np.dtype(fields[-1][1]).itemsize
    if name not in ("vertex_indices", "vertex_index"):
        raise NotRead("no lists of vertices")
    rows = np.frombuffer(data, np.dtype(fields), faces, start)
    if faces and not (rows["sides"] == rows["sides"][0]).all():
        raise NotRead("faces of different numbers of corners")
    return [rows[name].astype(np.int64)]
