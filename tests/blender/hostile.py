"""Files that try to reach what is not theirs, and eyes that see whether they did."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import sys
import threading
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from objaverse_render_addon.dataset.images import encode_png

from . import scenes

MAGENTA = (255, 0, 255)


class Seen(list[str]):
    """Names of what somebody opened, read, made or changed."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def now(self) -> list[str]:
        """All until now."""
        try:
            data = os.read(self._descriptor, 1 << 20)
        except BlockingIOError:
            return self
        while data:
            _, flags, _, length = struct.unpack_from("iIII", data)
            # Whoever lists a folder opens it; that is no file.
            if not flags & 0x40000000:
                self.append(data[16 : 16 + length].rstrip(b"\0").decode())
            data = data[16 + length :]
        return self.now()


@contextmanager
def watched(*folders: Path) -> Iterator[Seen]:
    """What anybody does with the files in the folders (inotify)."""
    if sys.platform != "linux":
        descriptor, writer = os.pipe()
        os.close(writer)
    else:
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = libc.inotify_init1(os.O_NONBLOCK)
        # IN_ACCESS, IN_MODIFY, IN_OPEN, IN_CREATE
        mask = 0x1 | 0x2 | 0x20 | 0x100
        for folder in folders:
            assert libc.inotify_add_watch(descriptor, os.fsencode(folder), mask) >= 0
    seen = Seen(descriptor)
    try:
        yield seen
        if sys.platform == "linux":
            seen.now()
    finally:
        os.close(descriptor)


@contextmanager
def listening() -> Iterator[tuple[str, list[bytes]]]:
    """A server that hears whether anybody asks it for something."""
    heard: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                client, _ = server.accept()
            except TimeoutError:
                continue
            with client:
                heard.append(client.recv(200))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}", heard
    finally:
        stop.set()
        thread.join()
        server.close()


def picture(path: Path, color: tuple[int, int, int] = MAGENTA) -> Path:
    path.write_bytes(encode_png(np.full((8, 8, 3), color, np.uint8)))
    return path


def textured(uri: str) -> Any:
    """For :func:`scenes.write_glb`: the mesh shows an image."""

    def change(document: dict[str, Any]) -> None:
        document["images"] = [{"uri": uri}]
        document["textures"] = [{"source": 0}]
        document["materials"] = [
            {
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": 0}, "metallicFactor": 0, "roughnessFactor": 1
                }
            }
        ]  # fmt: skip
        document["meshes"][0]["primitives"][0]["material"] = 0

    return change


def write_gltf(path: Path, uri: str = "", image: str = "") -> Path:
    """A glTF whose buffer is at ``uri``, and whose image at ``image``; inside it otherwise."""
    document, buffer = scenes.glb_document(scenes.CUBE_VERTICES, scenes.CUBE_FACES)
    if image:
        textured(image)(document)
    name = f"{path.stem}.bin"
    path.with_name(name).write_bytes(buffer)
    document["buffers"][0]["uri"] = uri or name
    path.write_text(json.dumps(document))
    return path


def environment_glb(path: Path, uri: str) -> Path:
    """Vertices that are the bytes of any file, as KHR_mesh_quantization allows."""

    def change(document: dict[str, Any]) -> None:
        document["extensionsUsed"] = document["extensionsRequired"] = ["KHR_mesh_quantization"]
        document["buffers"].append({"byteLength": 96, "uri": uri})
        document["bufferViews"].append(
            {"buffer": 1, "byteOffset": 0, "byteLength": 96, "byteStride": 4}
        )
        document["accessors"].append(
            {
                "bufferView": 3, "componentType": 5121, "count": 8, "type": "VEC3",
                "min": [0, 0, 0], "max": [255, 255, 255],
            }
        )  # fmt: skip
        primitive = document["meshes"][0]["primitives"][0]
        primitive["attributes"] = {"POSITION": 3}

    return scenes.write_glb(path, change=change)


def write_obj(path: Path, library: str, texture: str = "") -> Path:
    if texture:
        path.with_suffix(".mtl").write_text(f"newmtl m\nKd 1 1 1\n{texture}\n")
    return scenes.write_obj(
        path, scenes.CUBE_VERTICES, scenes.CUBE_FACES, f"mtllib {library}\nusemtl m"
    )


_USD_CUBE = """
    def Mesh "Cube" {{
        int[] faceVertexCounts = [4, 4, 4, 4, 4, 4]
        int[] faceVertexIndices = [{indices}]
        point3f[] points = [{points}]
        texCoord2f[] primvars:st = [{st}] (interpolation = "vertex")
        {binding}
    }}
    {material}
"""


def usd_text(texture: str = "", head: str = "", prim: str = "") -> str:
    """A layer with a cube, and what else it is given."""
    points = ", ".join(str(tuple(point)) for point in np.asarray(scenes.CUBE_VERTICES).tolist())
    cube = _USD_CUBE.format(
        indices=", ".join(str(i) for face in scenes.CUBE_FACES for i in face),
        points=points,
        st=", ".join("(0.5, 0.5)" for _ in range(8)),
        binding="rel material:binding = </World/M>" if texture else "",
        material=_USD_MATERIAL.format(texture=texture) if texture else "",
    )
    return (
        f'#usda 1.0\n(\n    defaultPrim = "World"\n    upAxis = "Z"\n    {head}\n)\n'
        f'def Xform "World" {{\n{cube}\n{prim}\n}}\n'
    )


_USD_MATERIAL = """
    def Material "M" {{
        token outputs:surface.connect = </World/M/P.outputs:surface>
        def Shader "P" {{
            uniform token info:id = "UsdPreviewSurface"
            color3f inputs:diffuseColor.connect = </World/M/T.outputs:rgb>
            token outputs:surface
        }}
        def Shader "T" {{
            uniform token info:id = "UsdUVTexture"
            asset inputs:file = @{texture}@
            float2 inputs:st.connect = </World/M/R.outputs:result>
            float3 outputs:rgb
        }}
        def Shader "R" {{
            uniform token info:id = "UsdPrimvarReader_float2"
            string inputs:varname = "st"
            float2 outputs:result
        }}
    }}
"""


def write_usdz(path: Path, text: str, **others: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {"root.usda": text.encode(), **others}.items():
            info = zipfile.ZipInfo(name)
            padding = -(archive.fp.tell() + 30 + len(name) + 4) % 64  # type: ignore[union-attr]
            info.extra = struct.pack("<HH", 0x1986, padding) + bytes(padding)
            archive.writestr(info, data)
    return path


def write_dae(path: Path, image: str, head: str = "") -> Path:
    points = " ".join(str(v) for point in np.asarray(scenes.CUBE_VERTICES).tolist() for v in point)
    faces = " ".join(str(i) for face in scenes.triangles(scenes.CUBE_FACES) for i in face)
    path.write_text(f"""<?xml version="1.0"?>{head}
<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset><up_axis>Z_UP</up_axis></asset>
<library_images><image id="i"><init_from>{image}</init_from></image></library_images>
<library_effects><effect id="e"><profile_COMMON>
<newparam sid="s"><surface type="2D"><init_from>i</init_from></surface></newparam>
<newparam sid="t"><sampler2D><source>s</source></sampler2D></newparam>
<technique sid="c"><lambert><diffuse><texture texture="t" texcoord="UV"/></diffuse></lambert>
</technique></profile_COMMON></effect></library_effects>
<library_materials><material id="m"><instance_effect url="#e"/></material></library_materials>
<library_geometries><geometry id="g"><mesh>
<source id="p"><float_array id="pa" count="24">{points}</float_array><technique_common>
<accessor source="#pa" count="8" stride="3"><param name="X" type="float"/>
<param name="Y" type="float"/><param name="Z" type="float"/></accessor></technique_common></source>
<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
<triangles count="12" material="m"><input semantic="VERTEX" source="#v" offset="0"/>
<p>{faces}</p></triangles></mesh></geometry></library_geometries>
<library_visual_scenes><visual_scene id="vs"><node id="n"><instance_geometry url="#g">
<bind_material><technique_common><instance_material symbol="m" target="#m"/></technique_common>
</bind_material></instance_geometry></node></visual_scene></library_visual_scenes>
<scene><instance_visual_scene url="#vs"/></scene>
</COLLADA>
""")
    return path


# --- FBX --------------------------------------------------------------------------------------


def write_fbx(path: Path, relative: str, absolute: str) -> Path:
    """An export of Blender's, whose texture's names are these."""
    import bpy

    image = picture(path.with_name("placeholder-placeholder-placeholder.png"))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    material, tree, shader = scenes.new_material()
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = bpy.data.images.load(str(image))
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    output = next(item for item in tree.nodes if item.type == "OUTPUT_MATERIAL")
    tree.links.new(shader.outputs[0], output.inputs[0])
    scenes.add_cube(material=material)
    with warnings.catch_warnings():
        # The exporter's own, of NumPy.
        warnings.simplefilter("ignore", DeprecationWarning)
        bpy.ops.export_scene.fbx(filepath=str(path), path_mode="ABSOLUTE")
    image.unlink()
    data = bytearray(path.read_bytes())
    changed = 0
    for key, name in (
        (b"RelativeFilename", relative), (b"FileName", absolute), (b"Filename", absolute)
    ):  # fmt: skip
        at = data.find(key + b"S")
        while at >= 0:
            start = at + len(key) + 1
            (length,) = struct.unpack_from("<I", data, start)
            # Of the same length: separators may be repeated. What is shorter is another property.
            if len(name) <= length:
                head, _, tail = name.rpartition("/")
                filled = head + "/" * (length - len(head) - len(tail)) + tail
                data[start + 4 : start + 4 + length] = filled.encode()
                changed += 1
            at = data.find(key + b"S", start)
    assert changed >= 3
    path.write_bytes(bytes(data))
    return path
