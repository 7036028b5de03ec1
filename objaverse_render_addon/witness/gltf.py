"""Triangles of a glTF file, by the specification (glTF 2.0, sections 3.5 to 3.7)."""

from __future__ import annotations

import base64
import json
import struct
import urllib.parse
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras.rotations import quaternion_matrix
from .surface import NotRead, Part, Surface, y_up

__all__ = ["read"]

Array = npt.NDArray[Any]

_COMPONENTS: Final = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS: Final = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_HARMLESS: Final = (
    "KHR_materials_", "KHR_texture_", "KHR_lights_", "KHR_xmp", "EXT_texture_", "EXT_lights_",
    "MSFT_texture_", "KHR_mesh_quantization", "KHR_node_visibility", "ADOBE_materials_",
)  # fmt: skip
"""What their names begin with: extensions that leave geometry where it is, or are read here."""


def read(path: Path) -> Surface:
    """All triangles of the file's scene.

    Raises:
        NotRead: It is compressed, skinned, animated, instanced, or otherwise more than triangles.
    """
    file = _File(path)
    parts = file.parts()
    return Surface.of(parts, file.faces)


class _File:
    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        self._folder, self._chunk = path.parent.resolve(), b""
        if data.startswith(b"glTF"):
            length = struct.unpack_from("<I", data, 12)[0]
            self.document = json.loads(data[20 : 20 + length])
            self._chunk = data[28 + length :]
        else:
            self.document = json.loads(data.decode("utf-8-sig"))
        self._buffers: dict[int, bytes] = {}
        self._counted: set[int] = set()
        self.faces = 0
        self._refuse()

    def _refuse(self) -> None:
        document = self.document
        if document.get("animations"):
            raise NotRead("animated")
        for name in document.get("extensionsRequired", ()):
            if not name.startswith(_HARMLESS):
                raise NotRead(f"extension {name}")
        for node in document.get("nodes", ()):
            if "skin" in node:
                raise NotRead("skinned")
            if "EXT_mesh_gpu_instancing" in node.get("extensions", {}):
                raise NotRead("extension EXT_mesh_gpu_instancing")
        for mesh in document.get("meshes", ()):
            if any(primitive.get("targets") for primitive in mesh["primitives"]):
                raise NotRead("morphed")

    def parts(self) -> list[Part]:
        """One for each primitive of each node that is shown."""
        document = self.document
        nodes = document.get("nodes", [])
        scenes = document.get("scenes")
        if scenes:
            # The first where none is the default: a file says with several that they are
            # alternatives.
            roots = scenes[document.get("scene", 0)].get("nodes", [])
        else:
            children = {child for node in nodes for child in node.get("children", ())}
            roots = [index for index in range(len(nodes)) if index not in children]
        found: list[Part] = []
        waiting = [(root, np.eye(4)) for root in roots]
        visited = 0
        while waiting:
            index, above = waiting.pop()
            visited += 1
            if visited > len(nodes):
                raise NotRead("nodes in a circle")
            node = nodes[index]
            visibility = node.get("extensions", {}).get("KHR_node_visibility", {})
            if not visibility.get("visible", True):
                continue
            matrix = above @ _matrix(node)
            waiting += [(child, matrix) for child in node.get("children", ())]
            if "mesh" in node:
                shown: list[Part] = []
                for primitive in document["meshes"][node["mesh"]]["primitives"]:
                    shown += self._part(primitive, matrix)
                if node["mesh"] not in self._counted:
                    self._counted.add(node["mesh"])
                    self.faces += sum(len(part.triangles) for part in shown)
                found += shown
        return found

    def _part(self, primitive: dict[str, Any], matrix: Array) -> list[Part]:
        if "KHR_draco_mesh_compression" in primitive.get("extensions", {}):
            raise NotRead("compressed")
        mode = primitive.get("mode", 4)
        if mode < 4:
            return []
        positions = self._accessor(primitive["attributes"]["POSITION"]).astype(np.float64)
        if "indices" in primitive:
            order = self._accessor(primitive["indices"]).reshape(-1).astype(np.int64)
        else:
            order = np.arange(len(positions))
        if mode == 4:
            faces = order[: len(order) // 3 * 3].reshape(-1, 3)
        elif mode == 5:
            faces = np.stack([order[:-2], order[1:-1], order[2:]], axis=1)
            faces[1::2] = faces[1::2, ::-1]
        else:
            first = np.broadcast_to(order[:1], (max(len(order) - 2, 0),))
            faces = np.stack([first, order[1:-1], order[2:]], axis=1)
        moved = positions @ matrix[:3, :3].T + matrix[:3, 3]
        triangles = y_up(moved[faces])
        if np.linalg.det(matrix[:3, :3]) < 0:
            triangles = triangles[:, ::-1]
        material: dict[str, Any] = {}
        if "material" in primitive:
            material = self.document["materials"][primitive["material"]]
        clear = material.get("alphaMode", "OPAQUE") == "OPAQUE"
        clear &= "KHR_materials_transmission" not in material.get("extensions", {})
        one_sided = bool(material) and not material.get("doubleSided", False)
        return [Part(triangles, not clear, one_sided)]

    def _accessor(self, index: int) -> Array:
        """(count, width), in the accessor's own type, or float32 where it is normalized."""
        accessor = self.document["accessors"][index]
        kind, width = _COMPONENTS[accessor["componentType"]], _WIDTHS[accessor["type"]]
        count = accessor["count"]
        if "bufferView" in accessor:
            offset = accessor.get("byteOffset", 0)
            data = self._view(accessor["bufferView"], kind, count, width, offset)
        else:
            data = np.zeros((count, width), kind)
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            where, what, few = sparse["indices"], sparse["values"], sparse["count"]
            at = self._view(
                where["bufferView"], _COMPONENTS[where["componentType"]], few, 1,
                where.get("byteOffset", 0),
            )[:, 0]  # fmt: skip
            data = data.copy()
            data[at] = self._view(what["bufferView"], kind, few, width, what.get("byteOffset", 0))
        if accessor.get("normalized") and kind != "<f4":
            most = np.iinfo(kind).max
            data = np.maximum(data.astype(np.float32) / most, -1)
        return data

    def _view(self, index: int, kind: str, count: int, width: int, offset: int) -> Array:
        view = self.document["bufferViews"][index]
        if any(name.endswith("meshopt_compression") for name in view.get("extensions", {})):
            raise NotRead("compressed")
        size = np.dtype(kind).itemsize
        step = view.get("byteStride", width * size)
        data = self._buffer(view["buffer"])
        return np.ndarray(
            (count, width), kind, data, view.get("byteOffset", 0) + offset, (step, size)
        )

    def _buffer(self, index: int) -> bytes:
        if index not in self._buffers:
            uri = self.document["buffers"][index].get("uri")
            if uri is None:
                self._buffers[index] = self._chunk
            elif uri.startswith("data:"):
                self._buffers[index] = base64.b64decode(uri.split(",", 1)[1])
            else:
                file = (self._folder / urllib.parse.unquote(uri)).resolve()
                if self._folder not in file.parents or not file.is_file():
                    raise NotRead("a buffer that is not beside it")
                self._buffers[index] = file.read_bytes()
        return self._buffers[index]


def _matrix(node: dict[str, Any]) -> Array:
    """(4, 4) of a node, to its parent."""
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), dtype=np.float64).tolist()
    matrix = np.eye(4)
    scale = np.array(node.get("scale", (1, 1, 1)), dtype=np.float64)
    matrix[:3, :3] = quaternion_matrix(x, y, z, w) * scale
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix
