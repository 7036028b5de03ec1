"""glTF with cameras: an asset's views in any viewer of 3D files, and its mesh where it is stored.

Format: https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html#cameras
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any, ClassVar, Final

import numpy as np

from ...errors import TruncatedFile
from .base import Format
from .lens import demand_unshifted, pinhole
from .scene import Scene
from .target import SceneFiles

__all__ = ["Gltf"]

_Y_UP: Final = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
_NEAR: Final = 1e-3


class Gltf(Format):
    """``<key>/scene.glb`` with a camera per view, Y up, and the pictures ``<key>/NNN.png``."""

    name: ClassVar[str] = "gltf"
    about: ClassVar[str] = "glTF with a camera per view, and the mesh where it is stored"

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        demand_unshifted(scene)
        shape = scene.reader.geometry
        document: dict[str, Any] = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{}]}
        binary = b""
        if shape is not None and "mesh.glb" in shape.names:
            document, binary = _parts(shape.glb(), scene.asset_id)
        else:
            scene.note("dropped", "no mesh is stored (--geometry-files mesh), so the file has "
                       "cameras alone")  # fmt: skip
        document["asset"]["generator"] = "objaverse-render-addon"
        nodes = document.setdefault("nodes", [])
        cameras = document.setdefault("cameras", [])
        roots = document["scenes"][document.get("scene", 0)].setdefault("nodes", [])
        for view, number in enumerate(scene.numbers):
            camera = scene.camera(view)
            fx, fy, _, _ = pinhole(camera)
            name = f"{number:03d}"
            out.add(f"{scene.key}/{name}.png", scene.png(view))
            size = {"image": f"{name}.png", "width": camera.width, "height": camera.height}
            perspective = {
                "yfov": 2 * math.atan(camera.height / (2 * fy)),
                "aspectRatio": (camera.width / fx) / (camera.height / fy),
                "znear": _NEAR,
            }
            cameras.append(
                {"type": "perspective", "name": name, "perspective": perspective, "extras": size}
            )
            # glTF's matrices go down the columns.
            matrix = (_Y_UP @ camera.camera_to_world).T.ravel().tolist()
            roots.append(len(nodes))
            nodes.append({"name": f"view {name}", "camera": len(cameras) - 1, "matrix": matrix})
        out.add(f"{scene.key}/scene.glb", _joined(document, binary))
        return {}


def _parts(data: bytes, asset_id: str) -> tuple[dict[str, Any], bytes]:
    """JSON and binary chunk of a GLB file."""
    try:
        length = struct.unpack_from("<I", data, 12)[0]
        document = json.loads(data[20 : 20 + length])
        if not isinstance(document["scenes"], list):
            raise TypeError("no scenes")
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise TruncatedFile(f"{asset_id}: mesh.glb is damaged: {error}.") from error
    return document, data[28 + length :]


def _joined(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    if binary:
        chunks += struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
