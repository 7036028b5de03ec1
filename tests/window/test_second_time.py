"""Every button pressed twice: the second time it does what is asked for then."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from objaverse_render_addon.dataset.reader import AssetReader

from .conftest import Debian
from .desk import Desk
from .dropping import Drag
from .test_window import (
    IDLE,
    RENDER,
    SETTINGS,
    STATE,
    dismiss,
    put,
    wait_until_idle,
)  # fmt: skip

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


BROWSER = (
    "next(([a.x + a.width // 2, a.y + a.height // 2] for w in bpy.context.window_manager.windows"
    " for a in w.screen.areas if a.type == 'FILE_BROWSER'), None)"
)
CHOOSE = """
for window in bpy.context.window_manager.windows:
    for area in window.screen.areas:
        if area.type == 'FILE_BROWSER':
            space = area.spaces.active
            space.params.directory = {folder!r}.encode()
            space.params.filename = {name!r}
"""


@pytest.fixture(scope="module")
def folders(newest: Debian) -> Debian:
    for folder, names in {
        "first": ("chair/scene", "lamp/scene", "violin/scene"), "second": ("drum",),
        "third": ("harp", "horn"),
    }.items():  # fmt: skip
        for name in names:
            target = newest.folder / folder / f"{name}.glb"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(newest.folder / "models/rocket.glb", target)
    for views in (3, 5):
        job = f"[cameras]\npattern = \"ring\"\nviews = {views}\n"
        (newest.folder / f"job{views}.toml").write_text(job)
    return newest


def over_viewport(desk: Desk) -> tuple[int, int]:
    x, y, width, height = desk.viewport()
    desk.move(x + width // 2 - 3, y + height // 2)
    time.sleep(0.1)
    desk.move(x + width // 2, y + height // 2)
    time.sleep(0.1)
    return x + width // 2, y + height // 2


def browser(desk: Desk, folder: str = "", name: str = "") -> None:
    """Choose a file in the browser that has opened, or none."""
    x, y = desk.until(BROWSER, 20, "the file browser")
    time.sleep(0.3)
    if folder:
        desk.ask(CHOOSE.format(folder=folder, name=name))
    time.sleep(0.2)
    desk.move(x, desk.size[1] - y)
    time.sleep(0.2)
    desk.key("Return" if folder else "Escape")
    desk.until(f"{BROWSER} is None", 20, "the end of the file browser")


def imported(desk: Desk, name: str) -> None:
    desk.until(f"{SETTINGS}.asset and {SETTINGS}.asset.name == {name!r}", 60, name)


def test_each_import_is_of_what_is_asked_for_then(desk: Desk, folders: Debian) -> None:
    desk.ask("bpy.data.objects['Cube'].hide_set(True)")
    for path in ("third/harp.glb", "second/drum.glb"):
        desk.enter("source", f"{folders.home}/{path}")
        desk.press("objaverse.import_asset()")
        imported(desk, path.partition("/")[2].removesuffix(".glb"))
        assert desk.ask(f"{SETTINGS}.source") == f"{folders.home}/{path}"
    layer = "bpy.context.view_layer.layer_collection.children"
    assert desk.ask(f"[[each.name, each.hide_viewport] for each in {layer}][-2:]") == [
        ["harp", True], ["drum", False],
    ]  # fmt: skip
    # Without a network, what is not a file is said, and the asset stays.
    desk.enter("source", "0" * 32)
    desk.press("objaverse.import_asset()")
    desk.until(f"'Allow Online Access' in {STATE}.warnings", 30, "the reason")
    dismiss(desk)
    assert desk.ask(f"{SETTINGS}.asset.name") == "drum"
    # Nothing is named: a file is asked for.
    put(desk, source="")
    for _ in range(2):
        desk.press("objaverse.import_asset()")
        browser(desk)
    assert desk.ask(f"{SETTINGS}.asset.name") == "drum"


def test_files_that_are_dropped_become_the_asset(desk: Desk, folders: Debian) -> None:
    for name in ("harp", "horn"):
        drag = Drag(int(desk.environment["DISPLAY"][1:]), f"{folders.home}/third/{name}.glb")
        x, y = over_viewport(desk)
        drag.over((x - 40, y), (x - 20, y), (x, y))
        drag.drop()
        drag.close()
        # Blender asks whether its own importer is meant, and underlines a letter of each.
        time.sleep(0.4)
        desk.picture(desk.folder / "dropped.png")
        desk.key("a")
        desk.until(f"{SETTINGS}.source.endswith('/{name}.glb')", 60, name)
    assert desk.ask(f"{SETTINGS}.asset.name").startswith("horn")


def test_each_job_that_is_loaded_is_the_one_chosen_then(desk: Desk, folders: Debian) -> None:
    for views in (3, 5):
        desk.press("objaverse.load_job()", 0.3)
        browser(desk, folders.home, f"job{views}.toml")
        desk.until(f"{SETTINGS}.views == {views}", 20, "the job")


def test_each_batch_is_of_the_folder_named_then(desk: Desk, folders: Debian) -> None:
    put(
        desk, views=2, samples=1, resolution_x=32, resolution_y=32, denoise=False,
        output_dir=f"{folders.home}/out",
    )  # fmt: skip
    desk.enter("sources", f"{folders.home}/first")
    desk.press("objaverse.render_batch()")
    desk.until(f"len({STATE}.items) == 3", 60, "the list")
    # Files of one name are told apart.
    assert desk.ask(f"[i.name for i in {STATE}.items]") == [
        "chair/scene.glb", "lamp/scene.glb", "violin/scene.glb",
    ]  # fmt: skip
    assert not desk.ask("bpy.ops.objaverse.render_batch.poll()")
    # Blender saves automatically only while no operator waits for events.
    assert desk.ask("len(bpy.context.window_manager.windows[0].modal_operators)") == 0
    wait_until_idle(desk, folders, 240)
    assert desk.ask(f"{STATE}.failure") == ""
    assert desk.ask(f"[i.state for i in {STATE}.items]") == ["done"] * 3
    assert desk.ask(f"{STATE}.status") == "Batch: 3 done"
    names = sorted(path.name for path in (folders.folder / "out").glob("*.zip"))
    assert names == ["chair-scene.zip", "lamp-scene.zip", "violin-scene.zip"]
    # One of it again, which sets the button's argument.
    desk.press("objaverse.render_batch(only='ACTIVE')", 0.9, "objaverse.render_batch()")
    desk.until(f"not {IDLE}", 60, "the retry", period=0.02)
    wait_until_idle(desk, folders, 240)
    assert desk.ask(f"[i.state for i in {STATE}.items]") == ["done"] * 3
    desk.enter("sources", f"{folders.home}/second")
    desk.press("objaverse.render_batch()")
    desk.until(f"[i.asset_id for i in {STATE}.items] == ['drum']", 60, "the second list")
    wait_until_idle(desk, folders, 240)
    assert desk.ask(f"[i.state for i in {STATE}.items]") == ["done"]


SELECT = f"""
for obj in {SETTINGS}.asset.all_objects:
    if obj.type == 'MESH':
        obj.select_set(True)
        bpy.context.view_layer.objects.active = obj
"""


def mask(archive: Path) -> int:
    """How many pixels of all views are the object's."""
    with AssetReader(archive) as reader:
        return sum(int((reader.read(index)["mask"] > 0).sum()) for index in range(len(reader)))


def test_what_is_seen_in_edit_mode_is_what_is_rendered(desk: Desk, folders: Debian) -> None:
    put(desk, source=f"{folders.home}/second/drum.glb")
    desk.press("objaverse.import_asset()")
    desk.until(f"{SETTINGS}.source.endswith('/drum.glb')", 60, "the import")
    put(
        desk, overwrite=True, pattern="ring", elevation=(0.0, 0.0), views=4,
        output_dir=f"{folders.home}/edited", resolution_x=32, resolution_y=32, samples=1,
        denoise=False,
    )  # fmt: skip
    out = folders.folder / "edited"
    areas = []
    for step in range(2):
        if step:
            desk.ask(SELECT)
            over_viewport(desk)
            desk.key("Tab")
            desk.until("bpy.context.mode == 'EDIT_MESH'", 20, "edit mode")
            desk.key("a", "s", "z", "period", "2", "Return")
        desk.press(RENDER)
        desk.until(f"not {IDLE}", 60, "the run", period=0.02)
        wait_until_idle(desk, folders, 170)
        assert desk.ask(f"{STATE}.failure") == ""
        (archive,) = out.glob("*.zip")
        areas.append(mask(archive))
        desk.ask("bpy.ops.objaverse.close_result()")
    assert desk.ask("bpy.context.mode") == "EDIT_MESH"
    over_viewport(desk)
    desk.key("Tab")
    desk.until("bpy.context.mode == 'OBJECT'", 20, "object mode")
    # A fifth as high, it has another shape.
    assert abs(areas[1] / areas[0] - 1) > 0.2, areas


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
