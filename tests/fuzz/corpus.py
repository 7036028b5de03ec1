"""Good files of every format to start from, small, each in a folder of its own."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from blender import hostile, scenes


def make(root: Path) -> None:
    """Write the corpus; needs Blender in this process."""
    import bpy

    from objaverse_render_addon.blender.compat import call_operator

    def place(name: str) -> Path:
        folder = root / name.replace(".", "-")
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    vertices, faces = scenes.CUBE_VERTICES, scenes.CUBE_FACES
    scenes.write_glb(place("plain.glb"))
    hostile.picture(place("textured.glb").with_name("tex.png"))
    scenes.write_glb(place("textured.glb"), change=hostile.textured("tex.png"))
    scenes.write_glb(place("rich.glb"), change=_rich)
    hostile.picture(place("buffers.gltf").with_name("tex.png"))
    hostile.write_gltf(place("buffers.gltf"), image="tex.png")
    hostile.picture(place("textured.obj").with_name("tex.png"))
    hostile.write_obj(place("textured.obj"), "textured.mtl", "map_Kd -s 1 1 1 tex.png")
    scenes.write_ply(place("plain.ply"), vertices, scenes.triangles(faces))
    scenes.write_stl(place("plain.stl"), vertices, scenes.triangles(faces))
    place("text.stl").write_text(
        "solid a\n" + "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 .5\n"
        "endloop\nendfacet\n" * 2 + "endsolid a\n"
    )
    hostile.picture(place("textured.dae").with_name("tex.png"))
    hostile.write_dae(place("textured.dae"), "tex.png")
    hostile.picture(place("layers.usda").with_name("tex.png"))
    place("layers.usda").write_text(
        hostile.usd_text("tex.png", prim='def Xform "R" (references = @./part.usda@) {}')
    )
    place("layers.usda").with_name("part.usda").write_text(hostile.usd_text())
    picture = place("layers.usda").with_name("tex.png").read_bytes()
    hostile.write_usdz(
        place("package.usdz"), hostile.usd_text("tex.png"), **{"tex.png": picture}
    )
    hostile.write_fbx(place("textured.fbx"), "tex.png", "/home/somebody/tex.png")
    with scenes.new_export(place("export.glb")):
        scenes.add_cube(material=scenes.principled())
    # What the last scene has.
    call_operator(bpy.ops.wm.usd_export, filepath=str(place("mesh.usdc")))
    call_operator(bpy.ops.wm.alembic_export, filepath=str(place("mesh.abc")))
    with scenes.new_blend(place("nodes.blend")):
        obj = scenes.add_cube(material=scenes.principled())
        obj.modifiers.new("Subdivision", "SUBSURF").levels = 1
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    place("packed.blend").write_bytes(gzip.compress(place("nodes.blend").read_bytes(), 1))


def _rich(document: dict[str, Any]) -> None:
    """Nodes, a skin, morphs, an animation, extensions: what importers are long for."""
    document["nodes"] = [
        {"mesh": 0, "children": [1], "translation": [0, 0, 0.5]},
        {"rotation": [0, 0, 0, 1], "scale": [1, 1, 1], "children": [2]},
        {"camera": 0},
    ]
    document["cameras"] = [
        {"type": "perspective", "perspective": {"yfov": 0.6, "znear": 0.1, "zfar": 10}}
    ]
    primitive = document["meshes"][0]["primitives"][0]
    primitive["targets"] = [{"POSITION": primitive["attributes"]["POSITION"]}]
    document["meshes"][0]["weights"] = [0.0]
    document["extensionsUsed"] = ["KHR_materials_emissive_strength", "KHR_lights_punctual"]
    document["extensions"] = {
        "KHR_lights_punctual": {"lights": [{"type": "point", "color": [1, 1, 1], "intensity": 3}]}
    }
    document["materials"] = [
        {
            "name": "m", "alphaMode": "MASK", "alphaCutoff": 0.5, "doubleSided": True,
            "emissiveFactor": [1, 0, 0], "pbrMetallicRoughness": {"metallicFactor": 0.3},
            "extensions": {"KHR_materials_emissive_strength": {"emissiveStrength": 2.0}},
        }
    ]  # fmt: skip
    primitive["material"] = 0
    json.dumps(document)
