"""glTF: what a Blender cannot decode is decoded, and what no viewer shows is taken out.

Specifications: https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html and the extensions in
https://github.com/KhronosGroup/glTF/tree/main/extensions.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

import numpy as np

from ...errors import ImportFailed, UnsupportedExtension, UnsupportedFormat
from ..text import clean
from . import basisu, meshopt

__all__ = ["DRACO", "MESHOPT", "prepare"]

DRACO: Final = "KHR_draco_mesh_compression"
MESHOPT: Final = ("EXT_meshopt_compression", "KHR_meshopt_compression")
BASISU: Final = "KHR_texture_basisu"
VISIBILITY: Final = "KHR_node_visibility"
INSTANCING: Final = "EXT_mesh_gpu_instancing"

# What some Blender of those supported imports.
_IMPORTED: Final = {
    DRACO, *MESHOPT, BASISU, VISIBILITY, INSTANCING, "EXT_texture_webp",
    "KHR_lights_punctual", "KHR_mesh_quantization", "KHR_texture_transform",
    "KHR_materials_pbrSpecularGlossiness", "KHR_materials_unlit", "KHR_materials_clearcoat",
    "KHR_materials_emissive_strength", "KHR_materials_transmission", "KHR_materials_specular",
    "KHR_materials_sheen", "KHR_materials_ior", "KHR_materials_volume",
    "KHR_materials_anisotropy", "KHR_materials_dispersion", "KHR_materials_iridescence",
    "KHR_materials_variants", "KHR_animation_pointer",
}  # fmt: skip
# What changes nothing in a picture of the asset.
_UNSEEN: Final = {
    "KHR_xmp", "KHR_xmp_json_ld", "KHR_audio", "KHR_audio_emitter", "KHR_physics_rigid_bodies",
    "KHR_implicit_shapes", "KHR_node_selectability", "KHR_node_hoverability", "KHR_interactivity",
    "EXT_mesh_manifold", "EXT_mesh_features", "EXT_structural_metadata", "EXT_instance_features",
    "EXT_lights_image_based", "FB_ngon_encoding", "CESIUM_RTC", "AGI_articulations",
    "AGI_stk_metadata", "MSFT_lod", "MSFT_audio_emitter", "MSFT_packing_normalRoughnessMetallic",
    "MSFT_packing_occlusionRoughnessMetallic", "OMI_physics_body", "OMI_physics_shape", "VRM",
    "VRMC_vrm", "VRMC_springBone", "VRMC_node_constraint", "VRMC_materials_mtoon",
    "EXT_meshopt_fallback", "OMI_link", "OMI_spawn_point", "MOZ_hubs_components",
}  # fmt: skip
_TYPES: Final = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS: Final = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


def prepare(
    path: Path, folder: Path, warnings: list[str], native: Collection[str] = ()
) -> Path:
    """The file, or a copy that the importer reads as the specification says.

    Args:
        native: Extensions that this Blender decodes itself.

    Raises:
        UnsupportedFormat: It is of a version that nothing here reads.
        UnsupportedExtension: Without an extension that is not known here, or whose decoder is
            not installed, nothing of it can be shown.
        ImportFailed: Its compressed data are damaged.
    """
    data = path.read_bytes()
    document = _Document(path, data)
    if not isinstance(document.json, dict):
        return path
    version = str((_get(document.json, "asset", {})).get("version", ""))
    if version.startswith("1.") or (data[:4] == b"glTF" and document.container == 1):
        raise UnsupportedFormat(
            f"{path} is glTF 1.0, which is no longer read.",
            hint="Convert it to glTF 2.0, for example with gltf-pipeline.",
        )
    try:
        changed = _name_unknown(path, document.json, warnings)
        changed |= _one_scene(document.json)
        changed |= _hide(document.json)
        changed |= _decode_meshopt(document, native)
        changed |= _decode_draco(document, native)
        changed |= _replace_basisu(document)
        if changed:
            return document.written(folder / path.name)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError):
        # Malformed beyond what is looked at here: the importer says how.
        return path
    if document.trailing:
        warnings.append(f"repaired: {document.trailing} bytes after the GLB were left out.")
        fixed = folder / path.name
        fixed.write_bytes(data[: len(data) - document.trailing])
        return fixed
    return path


def _get(owner: Any, key: str, default: Any) -> Any:
    """A value of the kind of the default, or the default."""
    value = owner.get(key, default) if isinstance(owner, dict) else default
    return value if isinstance(value, type(default)) else default


class _Document:
    """A glTF file, its buffers as they are asked for.

    Attributes:
        container: Version of the GLB around it.
        trailing: Bytes after a GLB's end.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self.container = 0
        self.trailing = 0
        self._chunk: bytes | None = None
        self._buffers: dict[int, bytes] = {}
        text = data
        if data[:4] == b"glTF" and len(data) >= 20:
            self.container, length = struct.unpack_from("<II", data, 4)
            self.trailing = max(0, len(data) - length)
            size = struct.unpack_from("<I", data, 12)[0]
            text = data[20 : 20 + size]
            at = 20 + size
            if self.container == 2 and at + 8 <= min(length, len(data)):
                size, kind = struct.unpack_from("<I4s", data, at)
                if kind == b"BIN\0":
                    self._chunk = data[at + 8 : at + 8 + size]
        try:
            self.json: Any = json.loads(text.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            self.json = None

    def buffer(self, index: int) -> bytes:
        """The bytes of a buffer."""
        if index not in self._buffers:
            uri = self.json["buffers"][index].get("uri")
            if uri is None:
                if index or self._chunk is None:
                    raise ImportFailed(f"{self.path}: buffer {index} has no data.")
                self._buffers[index] = self._chunk
            elif uri.startswith("data:"):
                self._buffers[index] = base64.b64decode(uri.partition(",")[2])
            else:
                try:
                    self._buffers[index] = (self.path.parent / unquote(uri)).read_bytes()
                except OSError as error:
                    raise ImportFailed(f"{self.path}: {unquote(uri)}: {error.strerror}.") from error
        return self._buffers[index]

    def view(self, index: int) -> bytes:
        """The bytes of a buffer view."""
        view = self.json["bufferViews"][index]
        start = view.get("byteOffset", 0)
        return self.buffer(view["buffer"])[start : start + view["byteLength"]]

    def picture(self, image: dict[str, Any]) -> bytes:
        """The bytes of an image; none where its file is not there."""
        if "bufferView" in image:
            return self.view(image["bufferView"])
        uri = image["uri"]
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition(",")[2])
        path = self.path.parent / unquote(uri)
        return path.read_bytes() if path.is_file() else b""

    def add(self, data: bytes) -> int:
        """Index of a new buffer view on some bytes."""
        index = len(self.json.setdefault("buffers", []))
        self.json["buffers"].append({"byteLength": len(data)})
        self._buffers[index] = data
        views = self.json.setdefault("bufferViews", [])
        views.append({"buffer": index, "byteLength": len(data)})
        return len(views) - 1

    def written(self, target: Path) -> Path:
        """Write it as one GLB, textures beside it excepted."""
        target = target.with_suffix(".glb")
        document = self.json
        chunk = bytearray()
        starts = []
        for index, buffer in enumerate(document.get("buffers", ())):
            chunk += b"\0" * (-len(chunk) % 16)
            starts.append(len(chunk))
            fallback = any(_get(_get(buffer, "extensions", {}), name, {}) for name in MESHOPT)
            if not (fallback and "uri" not in buffer and index not in self._buffers):
                chunk += self.buffer(index)
        for view in document.get("bufferViews", ()):
            view["byteOffset"] = view.get("byteOffset", 0) + starts[view["buffer"]]
            view["buffer"] = 0
        if starts:
            document["buffers"] = [{"byteLength": len(chunk)}]
        for image in document.get("images", ()):
            uri = image.get("uri")
            if isinstance(uri, str) and not uri.startswith("data:"):
                image["uri"] = quote((self.path.parent / unquote(uri)).as_posix())
        text = json.dumps(document).encode()
        text += b" " * (-len(text) % 4)
        chunk += b"\0" * (-len(chunk) % 4)
        body = struct.pack("<I4s", len(text), b"JSON") + text
        body += struct.pack("<I4s", len(chunk), b"BIN\0") + chunk if starts else b""
        target.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body)
        return target


def _name_unknown(path: Path, document: dict[str, Any], warnings: list[str]) -> bool:
    """Tell of unknown extensions; whether the importer has to be told less."""
    known = _IMPORTED | _UNSEEN
    required = [str(name) for name in _get(document, "extensionsRequired", [])]
    unknown = [clean(name, 60) for name in required if name not in known]
    if unknown:
        raise UnsupportedExtension(
            f"{path} needs the glTF extension {', '.join(unknown[:3])}, which is not known here.",
            hint="Export it without.",
        )
    used = [clean(str(name), 60) for name in _get(document, "extensionsUsed", [])]
    unknown = [name for name in used if name not in known]
    if unknown:
        warnings.append(f"not-imported: the glTF extensions {', '.join(sorted(set(unknown))[:5])}.")
    # The importer refuses what it does not know, also where nothing is to be seen of it.
    kept = [name for name in required if name not in _UNSEEN | {VISIBILITY}]
    if kept == required:
        return False
    document["extensionsRequired"] = kept
    return True


def _one_scene(document: dict[str, Any]) -> bool:
    """Leave the default scene alone, or the first where none is."""
    scenes = _get(document, "scenes", [])
    if len(scenes) < 2:
        return False
    wanted = document.get("scene", 0)
    if not isinstance(wanted, int) or not 0 <= wanted < len(scenes):
        wanted = 0
    document["scenes"] = [scenes[wanted]]
    document["scene"] = 0
    reached: set[int] = set()
    nodes = document.get("nodes", [])
    _descend(nodes, scenes[wanted].get("nodes", []), reached)
    for index, node in enumerate(nodes):
        if index not in reached:
            _empty(node)
    _drop_channels(document)
    return True


def _hide(document: dict[str, Any]) -> bool:
    """Take meshes and lights from nodes that are invisible, and from all below them."""
    nodes = _get(document, "nodes", [])
    hidden: set[int] = set()
    for index, node in enumerate(nodes):
        state = _get(_get(node, "extensions", {}), VISIBILITY, {})
        if state.get("visible") is False:
            _descend(nodes, [index], hidden)
    for index in hidden:
        _empty(nodes[index])
    if hidden:
        _drop_channels(document)
    return bool(hidden)


def _descend(nodes: list[Any], roots: list[int], found: set[int]) -> None:
    pending = list(roots)
    while pending:
        index = pending.pop()
        if index not in found:
            found.add(index)
            pending += nodes[index].get("children", [])


def _empty(node: dict[str, Any]) -> None:
    """Leave of a node what others may need: its place."""
    for key in ("mesh", "skin", "camera", "weights"):
        node.pop(key, None)
    for name in ("KHR_lights_punctual", INSTANCING):
        _get(node, "extensions", {}).pop(name, None)


def _drop_channels(document: dict[str, Any]) -> None:
    """Take away animations of shapes that are no more."""
    nodes = document.get("nodes", [])
    for animation in document.get("animations", ()):
        animation["channels"] = [
            channel
            for channel in animation["channels"]
            if channel["target"].get("path") != "weights"
            or "mesh" in nodes[channel["target"].get("node", 0)]
        ]
    kept = [item for item in document.get("animations", ()) if item["channels"]]
    if "animations" in document:
        document["animations"] = kept


# --- Compressed data --------------------------------------------------------------------------


def _drop_extension(document: dict[str, Any], *names: str) -> None:
    for key in ("extensionsUsed", "extensionsRequired"):
        if key in document:
            document[key] = [name for name in document[key] if name not in names]


def _decode_meshopt(document: _Document, native: Collection[str]) -> bool:
    views = _get(document.json, "bufferViews", [])
    found = [
        (view, name, view["extensions"][name])
        for view in views
        for name in MESHOPT
        if name in _get(view, "extensions", {})
    ]
    if not found or all(name in native for _, name, _ in found):
        return False
    for view, name, packed in found:
        start = packed.get("byteOffset", 0)
        data = document.buffer(packed["buffer"])[start : start + packed["byteLength"]]
        try:
            values = meshopt.decode(
                data, packed["count"], packed["byteStride"], packed["mode"],
                packed.get("filter", "NONE"),
            )  # fmt: skip
        except ValueError as error:
            raise ImportFailed(f"{document.path}: {error}.", hint="Export it again.") from error
        added = document.json["bufferViews"].pop(document.add(values))
        view.update(byteOffset=0, **added)
        del view["extensions"][name]
    _drop_extension(document.json, *MESHOPT)
    return True


def _primitives(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for mesh in _get(document, "meshes", []):
        yield from mesh.get("primitives", ())


def _decode_draco(document: _Document, native: Collection[str]) -> bool:
    found = [item for item in _primitives(document.json) if DRACO in item.get("extensions", {})]
    if not found or DRACO in native:
        return False
    accessors = document.json["accessors"]
    for primitive in found:
        packed = primitive["extensions"].pop(DRACO)
        used = [*primitive["attributes"].values(), *[primitive.get("indices")]]
        if all("bufferView" in accessors[index] for index in used if index is not None):
            # The same, uncompressed, is there for those who cannot decode it.
            continue
        try:
            import DracoPy
        except ImportError as error:
            raise UnsupportedExtension(
                f"{document.path} needs the glTF extension {DRACO}, which this Blender cannot "
                "decode.",
                hint="python -m pip install DracoPy, or export it without.",
            ) from error
        try:
            mesh = DracoPy.decode(document.view(packed["bufferView"]))
        except Exception as error:
            raise ImportFailed(
                f"{document.path}: damaged Draco data: {clean(str(error))}.",
                hint="Export it again.",
            ) from error
        values = {item["unique_id"]: item["data"] for item in mesh.attributes}
        for name, number in packed["attributes"].items():
            _fill(document, accessors[primitive["attributes"][name]], values[number])
        faces = getattr(mesh, "faces", None)
        if faces is not None and "indices" in primitive:
            _fill(document, accessors[primitive["indices"]], faces.reshape(-1, 1))
            # Draco keeps triangles, whatever they were.
            primitive.pop("mode", None)
    _drop_extension(document.json, DRACO)
    return True


def _fill(document: _Document, accessor: dict[str, Any], values: Any) -> None:
    """Give an accessor its numbers."""
    kind = np.dtype(_TYPES[accessor["componentType"]])
    width = _WIDTHS[accessor["type"]]
    values = np.asarray(values).reshape(len(values), -1)
    if values.shape[1] != width:
        raise ImportFailed(f"{document.path}: Draco data have {values.shape[1]} columns.")
    if kind.kind in "iu" and values.size and int(values.max()) > np.iinfo(kind).max:
        accessor["componentType"], kind = 5125, np.dtype("<u4")
    data = values.astype(kind)
    # Rows begin at multiples of four bytes.
    stride = -(-data.dtype.itemsize * width // 4) * 4
    packed = width * data.dtype.itemsize == stride or width == 1
    if not packed:
        rows = np.zeros((len(data), stride), np.uint8)
        rows[:, : width * data.dtype.itemsize] = np.ascontiguousarray(data).view(np.uint8)
        accessor["bufferView"] = document.add(rows.tobytes())
        document.json["bufferViews"][-1]["byteStride"] = stride
    else:
        accessor["bufferView"] = document.add(data.tobytes())
    accessor["byteOffset"] = 0
    accessor["count"] = len(data)


def _replace_basisu(document: _Document) -> bool:
    """KTX2 textures, which the importer does not read: the other picture of the same, or as PNG.

    What cannot be decoded is a missing texture.
    """
    textures = [
        item
        for item in _get(document.json, "textures", [])
        if BASISU in _get(item, "extensions", {})
    ]
    if not textures:
        return False
    alone = [item for item in textures if "source" not in item]
    able = basisu.can_decode()
    if alone and not able and BASISU in _get(document.json, "extensionsRequired", []):
        raise UnsupportedExtension(
            f"{document.path} needs the glTF extension {BASISU}, which this Blender cannot decode.",
            hint=f"{basisu.INSTALL}, or convert its KTX2 textures to PNG, for example with "
            "gltf-transform.",
        )
    pictures: set[int] = set()
    for texture in textures:
        source = texture["extensions"].pop(BASISU).get("source")
        if texture in alone:
            texture["source"] = source
            pictures.add(source)
    for source in pictures:
        image = document.json["images"][source]
        name = quote(f"{clean(image.get('name', '')) or f'image {source}'}.ktx2")
        inside = "uri" not in image or image["uri"].startswith("data:")
        png = basisu.decoded(document.picture(image)) if able else None
        if png is not None:
            image.pop("uri", None)
            image["bufferView"], image["mimeType"] = document.add(png), "image/png"
        elif inside:
            # A file that is not there is counted among the missing textures by its name.
            image.pop("bufferView", None)
            image["uri"] = name
    _drop_extension(document.json, BASISU)
    return True
