"""Tables of numbers as binary little-endian PLY, which trimesh, Open3D and Blender read.

Only what this package writes is read: one element ``vertex`` of numbers, and maybe one element
``face`` of triangles and numbers. The format: http://paulbourke.net/dataformats/ply/
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["read", "write"]

Array = npt.NDArray[Any]

_NAMES: Final = {"f4": "float", "f8": "double", "u1": "uchar", "i4": "int", "u2": "ushort"}
_KINDS: Final = {name: "<" + kind for kind, name in _NAMES.items()}
_TRIANGLE: Final = [("corners", "u1"), ("vertex_indices", "<i4", (3,))]
_OWN: Final = ("corners", "vertex_indices")
_LONGEST_HEADER: Final = 1 << 16


def write(
    vertices: Mapping[str, Array],
    comments: Sequence[str] = (),
    faces: Array | None = None,
    of_faces: Mapping[str, Array] | None = None,
) -> bytes:
    """A PLY file.

    Args:
        vertices: Name of a property to its numbers (N,), float32, float64, uint8, uint16 or int32.
        comments: Lines for its header.
        faces: (M, 3) int32, indices of vertices.
        of_faces: Name of a property to its numbers (M,).
    """
    lines = ["ply", "format binary_little_endian 1.0"]
    lines += [f"comment {_printable(line)}" for line in comments]
    table = _table(vertices)
    lines += [f"element vertex {len(table)}", *_properties(table.dtype)]
    data = [table.tobytes()]
    if faces is not None:
        rest = _table(of_faces or {}, len(faces))
        rows = np.zeros(len(faces), np.dtype(_TRIANGLE + rest.dtype.descr))
        rows["corners"], rows["vertex_indices"] = 3, faces
        for name in rest.dtype.names or ():
            rows[name] = rest[name]
        lines += [f"element face {len(rows)}", "property list uchar int vertex_indices"]
        lines += _properties(rest.dtype)
        data.append(rows.tobytes())
    header = "\n".join([*lines, "end_header", ""])
    return b"".join([header.encode("ascii"), *data])


def read(data: bytes) -> tuple[dict[str, Array], Array, dict[str, Array], list[str]]:
    """The inverse of :func:`write`.

    Returns:
        Vertices, faces (M, 3) int32, what faces have besides, comments.

    Raises:
        ValueError: It is no such file, or not whole.
    """
    end = data.find(b"end_header\n", 0, _LONGEST_HEADER)
    if not data.startswith(b"ply\nformat binary_little_endian 1.0\n") or end < 0:
        raise ValueError("it has no header of a binary PLY file")
    comments: list[str] = []
    counts: dict[str, int] = {}
    fields: dict[str, list[Any]] = {"vertex": [], "face": []}
    element = ""
    for line in data[:end].decode("ascii").split("\n")[2:]:
        if line.startswith("comment "):
            comments.append(line[8:])
        elif found := re.fullmatch(r"element (vertex|face) (\d{1,12})", line):
            element = found[1]
            counts[element] = int(found[2])
        elif line == "property list uchar int vertex_indices" and element == "face":
            fields["face"] += _TRIANGLE
        elif (found := re.fullmatch(r"property (\w+) (\w+)", line)) and found[1] in _KINDS:
            fields[element].append((found[2], _KINDS[found[1]]))
        elif line:
            raise ValueError(f"its header says {line[:40]!r}")
    place = end + len(b"end_header\n")
    tables = {}
    for name, listed in fields.items():
        dtype, count = np.dtype(listed), counts.get(name, 0)
        if place + count * dtype.itemsize > len(data):
            raise ValueError(f"it is cut off among its {count} of {name}")
        tables[name] = np.frombuffer(data, dtype, count, place)
        place += count * dtype.itemsize
    if place != len(data):
        raise ValueError(f"{len(data) - place} bytes are too many")
    vertices, faces = tables["vertex"], tables["face"]
    corners: Array = np.zeros((0, 3), np.int32)
    if counts.get("face"):
        if (faces["corners"] != 3).any():
            raise ValueError("a face is no triangle")
        corners = faces["vertex_indices"].astype(np.int32)
        if (corners < 0).any() or (corners >= len(vertices)).any():
            raise ValueError("a face has vertices that are not there")
    besides = [name for name in faces.dtype.names or () if name not in _OWN]
    return (
        {name: vertices[name].copy() for name in vertices.dtype.names or ()},
        corners,
        {name: faces[name].copy() for name in besides},
        comments,
    )


def _table(columns: Mapping[str, Array], count: int = 0) -> Array:
    dtype = [(name, data.dtype.newbyteorder("<")) for name, data in columns.items()]
    table = np.zeros(len(next(iter(columns.values()))) if columns else count, np.dtype(dtype))
    for name, data in columns.items():
        table[name] = data
    return table


def _properties(dtype: np.dtype[Any]) -> list[str]:
    return [f"property {_NAMES[dtype[name].str[1:]]} {name}" for name in dtype.names or ()]


def _printable(line: str) -> str:
    return re.sub(r"[^ -~]", "?", line)
