"""Every button pressed twice: the second time it does what is asked for then."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from .conftest import Debian
from .desk import Desk
from .test_window import IDLE, SETTINGS, STATE, put, wait_until_idle

FRAME = """
def frame():
    from bpy_extras.view3d_utils import location_3d_to_region_2d
    window, area, region = next(regions('WINDOW'))
    camera, eye = bpy.context.scene.camera, area.spaces.active.region_3d
    corners = camera.data.view_frame(scene=bpy.context.scene)
    return [[region.x + at.x, region.y + at.y] for at in
            (location_3d_to_region_2d(region, eye, camera.matrix_world @ corner)
             for corner in corners)]
"""
LOOK = "[list(row) for row in bpy.context.scene.camera.matrix_world]"


@pytest.fixture(scope="module")
def folders(newest: Debian) -> Debian:
    for folder, names in {"first": ("chair", "lamp"), "second": ("violin",)}.items():
        (newest.folder / folder).mkdir()
        for name in names:
            target = newest.folder / folder / f"{name}.glb"
            shutil.copy(newest.folder / "models/rocket.glb", target)
    return newest


def test_the_second_import_is_of_the_second_file(desk: Desk, folders: Debian) -> None:
    desk.ask("bpy.data.objects['Cube'].hide_set(True)")
    for path in ("first/chair.glb", "second/violin.glb"):
        desk.enter("source", f"{folders.home}/{path}")
        desk.press("objaverse.import_asset()")
        name = path.partition("/")[2].removesuffix(".glb")
        desk.until(f"{SETTINGS}.asset and {SETTINGS}.asset.name == {name!r}", 60, name)
        assert desk.ask(f"{SETTINGS}.source") == f"{folders.home}/{path}"
    layer = "bpy.context.view_layer.layer_collection.children"
    assert desk.ask(f"[[each.name, each.hide_viewport] for each in {layer}][-2:]") == [
        ["chair", True], ["violin", False],
    ]  # fmt: skip


def test_a_second_batch_is_of_the_second_folder(desk: Desk, folders: Debian) -> None:
    put(
        desk, views=2, samples=1, resolution_x=32, resolution_y=32, denoise=False,
        output_dir=f"{folders.home}/out",
    )  # fmt: skip
    desk.enter("sources", f"{folders.home}/first")
    desk.press("objaverse.render_batch()")
    desk.until(f"len({STATE}.items) == 2", 60, "the list")
    assert not desk.ask("bpy.ops.objaverse.render_batch.poll()")
    # Blender saves automatically only while no operator waits for events.
    assert desk.ask("len(bpy.context.window_manager.windows[0].modal_operators)") == 0
    wait_until_idle(desk, folders, 240)
    assert desk.ask(f"{STATE}.failure") == ""
    assert desk.ask(f"[i.state for i in {STATE}.items]") == ["done", "done"]
    assert desk.ask(f"{STATE}.status") == "Batch: 2 done"
    # One of it again, which sets the button's argument.
    desk.press("objaverse.render_batch(only='ACTIVE')", 0.9, "objaverse.render_batch()")
    desk.until(f"not {IDLE}", 60, "the retry", period=0.02)
    wait_until_idle(desk, folders, 240)
    assert desk.ask(f"[i.state for i in {STATE}.items]") == ["done", "done"]
    desk.enter("sources", f"{folders.home}/second")
    desk.press("objaverse.render_batch()")
    desk.until(f"[i.asset_id for i in {STATE}.items] == ['violin']", 60, "the second list")
    wait_until_idle(desk, folders, 240)
    assert desk.ask(f"[i.state for i in {STATE}.items]") == ["done"]


def test_a_look_follows_what_is_typed_and_floods_no_history(desk: Desk) -> None:
    put(desk, pattern="ring", views=12, current_view=0)
    rig = "objaverse.preview_cameras()"
    desk.press("objaverse.look_through_camera(action='INDEX')", 0.81, rig)
    desk.until("bpy.context.scene.camera.name == 'Objaverse Look'", 60, "the camera")
    # All of the picture is seen, and not behind the sidebar.
    desk.ask(FRAME)
    desk.drawn()
    x, y, width, height = desk.viewport()
    at = np.array(desk.ask("frame()"))
    assert at[:, 0].min() >= x and at[:, 0].max() <= x + width
    assert desk.size[1] - y - height <= at[:, 1].min() and at[:, 1].max() <= desk.size[1] - y
    assert np.ptp(at, axis=0).max() > 0.7 * min(width, height)
    before = desk.ask(LOOK)
    desk.enter("current_view", "7")
    desk.until(lambda: desk.ask(LOOK) != before, 20, "the other view")
    lens = desk.ask("bpy.context.scene.camera.data.angle")
    put(desk, fov=(20.0, 20.0))
    desk.until(lambda: desk.ask("bpy.context.scene.camera.data.angle") < lens, 20, "the lens")
    desk.press("objaverse.look_through_camera(action='STOP')", 0.9, rig)
    desk.until("bpy.context.scene.camera.name == 'Camera'", 60, "the old camera")
    # Turned away by a key of Blender's own, it is left as well.
    size = "[bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y]"
    own = desk.ask(size)
    desk.press("objaverse.look_through_camera(action='INDEX')", 0.81, rig)
    desk.until("bpy.context.scene.camera.name == 'Objaverse Look'", 60, "the camera")
    x, y, width, height = desk.viewport()
    desk.move(x + width // 2, y + height // 2)
    desk.key("KP_0")
    desk.until("bpy.context.scene.camera.name == 'Camera'", 60, "the old camera")
    assert desk.ask(size) == own
