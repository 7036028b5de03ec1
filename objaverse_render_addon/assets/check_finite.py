"""Whether a file's vertices are numbers, before an importer sees them.

Blender's importers of glTF, OBJ, PLY and STL put a vertex that is NaN or infinite at the origin
without a word: the mesh renders, with a spike in it that the file does not have.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import urllib.parse
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import InvalidGeometry, WrongFormat
from .repair.ply import TYPES

__all__ = ["check_finite"]


def check_finite(path: Path, kind: str, name: Path | None = None) -> None:
    """Look at the vertices of a file whose importer would repair them silently.

    What is malformed in another way is left to the importer.

    Args:
        name: What the file is called where it is a copy of another.

    Raises:
        InvalidGeometry: A vertex is not a finite number.
        WrongFormat: The JSON of a glTF is none that anybody reads.
    """
    reader = {"glb": _gltf, "gltf": _gltf, "obj": _obj, "ply": _ply, "stl": _stl}.get(kind)
    try:
        finite = reader is None or reader(path)
    except (
        OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError,
        struct.error,
    ):  # fmt: skip
        return
    except RecursionError as error:
        raise WrongFormat(f"{path} is JSON that is nested too deeply.") from error
    if not finite:
        raise InvalidGeometry(
            f"{name or path} has vertices that are not finite numbers.",
            hint="Repair the mesh; there is nothing to render at such places.",
        )


_BAD: Final = rb"[-+]?(?:nan|inf)"
# A comment may begin with "info".
_OBJ: Final = re.compile(rb"^[ \t]*v[ \t][^\n#]*(?<=[ \t])" + _BAD, re.IGNORECASE | re.MULTILINE)
_STL: Final = re.compile(
    rb"^[ \t]*vertex[ \t][^\n]*(?<=[ \t])" + _BAD, re.IGNORECASE | re.MULTILINE
)


def _obj(path: Path) -> bool:
    data = path.read_bytes()
    # Ten times as fast as the expression, which few files need.
    lower = data.lower()
    return not (b"nan" in lower or b"inf" in lower) or _OBJ.search(data) is None


def _stl(path: Path) -> bool:
    data = path.read_bytes()
    count = struct.unpack_from("<I", data, 80)[0] if len(data) >= 84 else 0
    if len(data) != 84 + 50 * count:
        return _STL.search(data) is None
    facets = np.frombuffer(data, np.dtype([("f", "<f4", (4, 3)), ("rest", "<u2")]), count, 84)
    return bool(np.isfinite(facets["f"][:, 1:]).all())




def _ply(path: Path) -> bool:
    data = path.read_bytes()
    end = re.search(rb"end_header[^\n]*\n", data)
    if end is None:
        return True
    header = data[: end.start()].decode("ascii", errors="replace").split("\n")
    lines = [line.split() for line in header]
    order = next((line[1] for line in lines if line[:1] == ["format"]), "ascii")
    element = next((i for i, line in enumerate(lines) if line[:1] == ["element"]), None)
    # The vertices come first in every file that anybody writes.
    if element is None or lines[element][1] != "vertex":
        return True
    count = int(lines[element][2])
    fields = []
    for line in lines[element + 1 :]:
        if line[:1] == ["element"]:
            break
        if line[:1] == ["property"]:
            fields.append((line[-1], TYPES[line[1]]))
    if order == "ascii":
        body = data[end.end() :].split(b"\n", count)[:count]
        columns = [index for index, (name, _) in enumerate(fields) if name in ("x", "y", "z")]
        rows = [row.split() for row in body]
        values = [[float(row[index]) for index in columns] for row in rows]
        return bool(np.isfinite(values).all())
    mark = ">" if order == "binary_big_endian" else "<"
    dtype = np.dtype([(name, mark + kind) for name, kind in fields])
    vertices = np.frombuffer(data, dtype, count, end.end())
    return all(bool(np.isfinite(vertices[axis]).all()) for axis in ("x", "y", "z"))


def _gltf(path: Path) -> bool:
    data = path.read_bytes()
    chunk = b""
    if data.startswith(b"glTF"):
        length = struct.unpack_from("<I", data, 12)[0]
        document = json.loads(data[20 : 20 + length])
        chunk = data[28 + length :]
    else:
        document = json.loads(data)
    if not isinstance(document, dict):
        raise WrongFormat(f"{path} is JSON, but not that of a glTF: it is no object.")
    buffers: dict[int, bytes] = {}
    accessors = {
        primitive["attributes"]["POSITION"]
        for mesh in document.get("meshes", ())
        for primitive in mesh["primitives"]
        if "POSITION" in primitive.get("attributes", {})
        # Compressed by Draco, the numbers are not in the accessor.
        and "KHR_draco_mesh_compression" not in primitive.get("extensions", {})
    }
    return all(
        _accessor(document, index, buffers, chunk, path.parent) for index in sorted(accessors)
    )


def _accessor(
    document: dict[str, Any], index: int, buffers: dict[int, bytes], chunk: bytes, folder: Path
) -> bool:
    accessor = document["accessors"][index]
    if accessor["componentType"] != 5126 or "bufferView" not in accessor:
        return True
    view = document["bufferViews"][accessor["bufferView"]]
    if any(name.endswith("meshopt_compression") for name in view.get("extensions", ())):
        return True
    number = view["buffer"]
    if number not in buffers:
        uri = document["buffers"][number].get("uri")
        if uri is None:
            buffers[number] = chunk
        elif uri.startswith("data:"):
            buffers[number] = base64.b64decode(uri.split(",", 1)[1])
        else:
            buffers[number] = (folder / urllib.parse.unquote(uri)).read_bytes()
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    positions = np.ndarray(
        (accessor["count"], 3), "<f4", buffers[number], start, (view.get("byteStride", 12), 4)
    )
    return bool(np.isfinite(positions).all())
