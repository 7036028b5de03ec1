"""3D files of things that nobody here makes for scenes: GLBs with parts, colours, holes."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from objaverse_render_addon.compose.objects import KINDS, Mesh, Part


def linear(rgb: tuple[float, float, float]) -> list[float]:
    return [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in rgb]


def write_glb(
    path: Path, parts: list[tuple[Mesh | Part, tuple[float, float, float]]], *, alpha: float = 1.0,
    scale: float = 1.0, split: bool = True, upright: bool = True,
) -> Path:  # fmt: skip
    """One node per part, each of one colour (sRGB); +Z of the meshes is glTF's +Y.

    Args:
        split: Each triangle has vertices of its own, as files with seams have.
        upright: Otherwise +Z of the meshes is glTF's +Z, and the thing lies.
    """
    document: dict[str, Any] = {
        "asset": {"version": "2.0"}, "scene": 0,
        "scenes": [{"nodes": list(range(len(parts)))}], "nodes": [], "meshes": [], "materials": [],
        "bufferViews": [], "accessors": [],
    }  # fmt: skip
    buffer = b""

    def accessor(data: np.ndarray, kind: str, component: int) -> int:
        nonlocal buffer
        document["bufferViews"].append(
            {"buffer": 0, "byteOffset": len(buffer), "byteLength": data.nbytes}
        )
        buffer += data.tobytes() + bytes(-data.nbytes % 4)
        row = {"bufferView": len(document["bufferViews"]) - 1, "componentType": component,
               "count": len(data), "type": kind}  # fmt: skip
        if kind == "VEC3":
            row |= {"min": data.min(axis=0).tolist(), "max": data.max(axis=0).tolist()}
        document["accessors"].append(row)
        return len(document["accessors"]) - 1

    for number, (mesh, rgb) in enumerate(parts):
        points, faces = mesh.vertices * scale, mesh.triangles
        if split:
            points, faces = points[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3)
        if upright:
            points = np.column_stack([points[:, 0], points[:, 2], -points[:, 1]])
        points = points.astype("<f4")
        document["materials"].append({
            "pbrMetallicRoughness": {"baseColorFactor": [*linear(rgb), alpha],
                                     "metallicFactor": 0.0, "roughnessFactor": 0.6},
            **({"alphaMode": "BLEND"} if alpha < 1 else {}),
        })  # fmt: skip
        document["meshes"].append({"primitives": [{
            "attributes": {"POSITION": accessor(points, "VEC3", 5126)},
            "indices": accessor(faces.astype("<u4").ravel(), "SCALAR", 5125), "material": number,
        }]})  # fmt: skip
        document["nodes"].append({"mesh": number, "name": f"part-{number}"})
    document["buffers"] = [{"byteLength": len(buffer)}]
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + len(buffer)
    path.write_bytes(
        b"glTF" + struct.pack("<II", 2, total) + struct.pack("<I", len(text)) + b"JSON" + text
        + struct.pack("<I", len(buffer)) + b"BIN\0" + buffer
    )  # fmt: skip
    return path


def kind(name: str, variant: int = 0, scale: float = 1.0) -> Mesh:
    return KINDS[name].mesh(variant).scaled(scale)


def moved(mesh: Mesh, *by: float) -> Mesh:
    return Mesh(tuple(Part(one.vertices + by, one.triangles, one.slot) for one in mesh.parts))


def without(mesh: Mesh, wanted: Any) -> Mesh:
    """A mesh without the triangles whose middles a function says."""
    return Mesh(tuple(
        Part(one.vertices, one.triangles[~wanted(one.vertices[one.triangles].mean(axis=1))])
        for one in mesh.parts
    ))  # fmt: skip


RED, GREEN, BLUE, WHITE = (0.75, 0.06, 0.05), (0.1, 0.5, 0.15), (0.07, 0.2, 0.7), (0.86,) * 3


def collection(folder: Path) -> Path:
    """Files that can be used, and one of each that cannot; the list of them."""
    folder.mkdir()
    write_glb(folder / "mug.glb", [(kind("mug"), RED)])
    # Of other units, so that its own size is none that a bowl has.
    write_glb(folder / "soup_bowl_02.glb", [(kind("bowl"), BLUE)], scale=100)
    # The underside is missing.
    box = kind("box")
    write_glb(folder / "thing-a.glb",
              [(without(box, lambda at: at[:, 2] < 1e-6), GREEN)])  # fmt: skip
    both = kind("carton"), kind("apple", scale=0.6)
    top = both[0].vertices[:, 2].max()
    write_glb(folder / "bookend.glb", [(both[0], WHITE), (moved(both[1], 0, 0, top - 0.004), RED)])
    write_glb(folder / "banana.glb", [(kind("banana"), (0.9, 0.74, 0.06))])
    # A lamp that lies until the list says which axis is up: glTF's +Z is Blender's -Y.
    write_glb(folder / "thing-b.glb", [(kind("lamp"), WHITE)], scale=3, upright=False)
    # What cannot be used.
    write_glb(folder / "model-1.glb", [(kind("mug"), RED)])
    write_glb(folder / "pear.glb", [(kind("apple"), RED), (moved(kind("apple"), 0.3, 0, 0), RED)])
    write_glb(folder / "bottle.glb",
              [(without(kind("bottle"), lambda at: at[:, 2] > 0.1), BLUE)])  # fmt: skip
    write_glb(folder / "glass.glb", [(kind("can"), BLUE)], alpha=0.4)
    pencil = kind("candle")
    leaning = Mesh(tuple(
        Part(one.vertices @ [[0.5, 0, 0.87], [0, 1, 0], [-0.87, 0, 0.5]], one.triangles)
        for one in pencil.parts
    ))  # fmt: skip
    write_glb(folder / "candle.glb", [(leaning, WHITE)])
    (folder / "broken_vase.glb").write_bytes(b"glTF\x02\0\0\0")
    listed = folder / "list.csv"
    rows = ["path,name,size,height,colour,license,category,up,front"]
    unsaid = ("mug", "soup_bowl_02", "banana", "model-1", "pear", "bottle", "glass", "candle",
              "broken_vase")  # fmt: skip
    rows += [f"{one}.glb,,,,,,,," for one in unsaid]
    rows += ["thing-a.glb,gift box,0.14,,green,CC-BY-4.0,box,,", "bookend.glb,bookend,,0.2,,cc0,,,",
             "thing-b.glb,desk lamp,,0.3,white,CC-BY-4.0,,-Y,X"]  # fmt: skip
    listed.write_text("\n".join(rows) + "\n")
    return listed
