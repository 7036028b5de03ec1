"""Files of every format, dragged from another program onto the viewport and dropped there."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from objaverse_render_addon.assets.formats import EXTENSIONS

from .conftest import Debian
from .desk import Desk
from .dropping import Drag
from .hands import over_viewport
from .test_window import SETTINGS, STATE, dismiss

# One shape in every format that pip's Blender writes.
MAKE = """
import bpy, sys
bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
bpy.ops.mesh.primitive_monkey_add()
ops, wm = bpy.ops, bpy.ops.wm
writers = {
    "glb": (ops.export_scene.gltf, {"export_format": "GLB"}),
    "gltf": (ops.export_scene.gltf, {"export_format": "GLTF_SEPARATE"}),
    "fbx": (ops.export_scene.fbx, {}), "obj": (wm.obj_export, {}),
    "stl": (wm.stl_export, {}), "ply": (wm.ply_export, {}),
    "abc": (wm.alembic_export, {"as_background_job": False}),
    **{name: (wm.usd_export, {}) for name in ("usd", "usda", "usdc", "usdz")},
    "blend": (wm.save_as_mainfile, {}),
}
for name, (writer, options) in writers.items():
    writer(filepath=f"{sys.argv[-1]}/{name}_file.{name}", **options)
"""
# No Blender here writes it.
COLLADA = """<?xml version="1.0"?>
<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1"><asset>
<up_axis>Z_UP</up_axis></asset><library_geometries><geometry id="g"><mesh><source id="p">
<float_array id="a" count="12">0 0 0 1 0 0 0 1 0 0 0 1</float_array><technique_common>
<accessor source="#a" count="4" stride="3"><param name="X" type="float"/><param name="Y"
type="float"/><param name="Z" type="float"/></accessor></technique_common></source>
<vertices id="v"><input semantic="POSITION" source="#p"/></vertices><triangles count="4">
<input semantic="VERTEX" source="#v" offset="0"/><p>0 2 1 0 1 3 1 2 3 0 3 2</p></triangles>
</mesh></geometry></library_geometries><library_visual_scenes><visual_scene id="s">
<node id="n"><instance_geometry url="#g"/></node></visual_scene></library_visual_scenes>
<scene><instance_visual_scene url="#s"/></scene></COLLADA>
"""


# Not in every Debian's Blender.
READERS = {"abc": "alembic_import", **dict.fromkeys(("usd", "usda", "usdc", "usdz"), "usd_import")}


@pytest.fixture(scope="module")
def newest(every: Debian) -> Debian:
    return every


@pytest.fixture(scope="module")
def drops(newest: Debian) -> Debian:
    folder = newest.folder / "drops"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", MAKE, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder / "dae_file.dae").write_text(COLLADA)
    return newest


def drop(desk: Desk, path: str) -> tuple[int, int]:
    drag = Drag(int(desk.environment["DISPLAY"][1:]), path)
    x, y = over_viewport(desk)
    drag.over((x - 40, y), (x - 20, y), (x, y))
    drag.drop()
    drag.close()
    time.sleep(0.5)
    return x, y


@pytest.mark.parametrize("kind", [kind for kind in EXTENSIONS if kind != "blend"])
def test_what_is_dropped_becomes_the_asset(desk: Desk, drops: Debian, kind: str) -> None:
    desk.ask("bpy.data.objects['Cube'].hide_set(True)")
    path = f"{drops.home}/drops/{kind}_file.{kind}"
    desk.ask(f"setattr({STATE}, 'warnings', '')")
    drop(desk, path)
    done = f"{SETTINGS}.source == {path!r} or {STATE}.warnings != ''"
    for _ in range(20):
        # Blender asks whether its own importer is meant, and underlines a letter of each.
        desk.picture(desk.folder / f"dropped-{kind}.png")
        desk.key("a")
        time.sleep(0.5)
        if desk.ask(done):
            break
    desk.until(done, 10, kind)
    if kind in READERS and not desk.ask(f"{READERS[kind]!r} in dir(bpy.ops.wm)"):
        # The drop has come here, and what can be done is said.
        said = desk.ask(f"{STATE}.warnings")
        assert "was built without" in said and "wm." not in said
        dismiss(desk)
        return
    assert desk.ask(f"{STATE}.warnings") == ""
    assert desk.ask(f"{SETTINGS}.asset.name").startswith(f"{kind}_file")


def test_a_blend_file_is_opened_as_ever(desk: Desk, drops: Debian) -> None:
    before = desk.ask(f"{SETTINGS}.source")
    drop(desk, f"{drops.home}/drops/blend_file.blend")
    time.sleep(1)
    desk.picture(desk.folder / "dropped-blend.png")
    dismiss(desk)
    assert desk.ask(f"{SETTINGS}.source") == before
    assert desk.ask(f"{STATE}.warnings") == ""
