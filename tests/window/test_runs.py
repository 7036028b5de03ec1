"""Runs beside other work, from the user's own cameras, over time; what is left after a restart."""

from __future__ import annotations

import os
import time
from itertools import pairwise

import numpy as np
import pytest

from objaverse_render_addon.dataset.reader import AssetReader

from .conftest import Debian, open_window
from .desk import Desk
from .hands import import_file, over_viewport, render, sheets, unfold
from .test_results import RESULT, loaded
from .test_window import IDLE, RENDER, SETTINGS, STATE, put, wait_for_views, wait_until_idle

SMALL = {"resolution_x": 32, "resolution_y": 32, "samples": 1, "denoise": False}
# The user's camera moves; another one stands.
CAMERAS = """
from mathutils import Vector
render = bpy.context.scene.render
render.resolution_x, render.resolution_y = 64, 48
camera, asset = bpy.data.objects['Camera'], bpy.context.scene.objaverse.asset
points = [o.matrix_world @ Vector(c) for o in asset.all_objects if o.type == 'MESH'
          for c in o.bound_box]
# From where it looks at the asset.
middle = sum(points, Vector()) / len(points) + 7 * camera.matrix_world.col[2].xyz
for frame, aside in ((1, 0.4), (5, -0.4)):
    camera.location = middle + Vector((aside, 0, 0))
    camera.keyframe_insert('location', frame=frame)
other = bpy.data.objects.new('Other', bpy.data.cameras.new('Other'))
bpy.context.scene.collection.objects.link(other)
other.matrix_world = camera.matrix_world
other.location = middle + Vector((0, 0, 0.5))
bpy.context.scene.frame_set(1)
"""
SELECT = "[o.select_set(o.name in {!r}) for o in bpy.context.view_layer.objects]"


@pytest.fixture(scope="module")
def newest(every: Debian) -> Debian:
    return every


@pytest.fixture(scope="module")
def asset(desk: Desk, newest: Debian) -> Debian:
    desk.ask("bpy.data.objects['Cube'].hide_set(True)")
    import_file(desk, f"{newest.home}/models/rocket.glb", "rocket")
    return newest


def rendered(debian: Debian, folder: str) -> tuple[list[float] | None, list[np.ndarray]]:
    """Times and places of the cameras of what was rendered."""
    (archive,) = (debian.folder / folder).glob("*.zip")
    with AssetReader(archive) as reader:
        places = [reader.view(at).camera.camera_to_world[:3, 3] for at in range(len(reader))]
        return reader.times, places


def test_the_scenes_own_cameras_render_the_chosen_ones(desk: Desk, asset: Debian) -> None:
    put(desk, output_dir=f"{asset.home}/own", overwrite=True, **SMALL)
    desk.ask(CAMERAS)
    for chosen, count in ((("Other",), 1), (("Camera", "Other"), 2), ((), 2)):
        desk.ask(SELECT.format(chosen))
        desk.press("objaverse.use_scene_cameras()")
        desk.until(f"{SETTINGS}.pattern == 'file'", 20, "the poses")
        assert desk.ask(f"[{SETTINGS}.resolution_x, {SETTINGS}.resolution_y]") == [64, 48]
        render(desk, asset)
        assert len(rendered(asset, "own")[1]) == count


def test_the_scenes_active_camera_renders_as_it_moves(desk: Desk, asset: Debian) -> None:
    put(desk, output_dir=f"{asset.home}/moving", overwrite=True)
    unfold(desk, "pattern", -2.95)
    desk.ask(SELECT.format(("Camera",)))
    first = None
    for frames, times in (("1:5:2", [1, 3, 5]), ("2:4", [2, 3, 4])):
        desk.enter("frames", frames)
        aside = len(frames) / 10
        desk.ask(f"setattr(bpy.data.objects['Camera'], 'delta_location', ({aside}, 0, 0))")
        desk.press("objaverse.use_scene_cameras()")
        desk.until(f"{SETTINGS}.camera_file.endswith('scene-cameras.json')", 20, "the poses")
        assert desk.ask("bpy.context.scene.frame_current") == 1
        desk.picture(desk.folder / "time.png")
        render(desk, asset)
        found, places = rendered(asset, "moving")
        assert found == times
        steps = [float(np.linalg.norm(b - a)) for a, b in pairwise(places)]
        assert min(steps) > 0.05, steps
        assert first is None or np.linalg.norm(places[0] - first) > 0.05
        first = places[0]
    put(desk, frames="", pattern="ring", overwrite=False)
    unfold(desk, "pattern", -2.95)


def test_escape_ends_the_animation_and_another_file_no_run(desk: Desk, asset: Debian) -> None:
    put(
        desk, views=12, samples=300, resolution_x=128, resolution_y=128, pattern="ring",
        output_dir=f"{asset.home}/long",
    )  # fmt: skip
    desk.ask(f"bpy.ops.wm.save_as_mainfile(filepath='{asset.home}/scene.blend')")
    desk.press(RENDER)
    wait_for_views(desk, asset)
    over_viewport(desk)
    playing = "bpy.context.window_manager.windows[0].screen.is_animation_playing"
    for _ in range(2):
        desk.key("space")
        desk.until(playing, 20, "the animation")
        desk.key("Escape")
        desk.until(f"not {playing}", 20, "its end")
    time.sleep(0.3)
    assert desk.ask(f"{STATE}.running") == "asset"
    assert "Cancel" not in desk.ask(f"{STATE}.status")
    desk.picture(desk.folder / "status-during.png")
    desk.key("ctrl+n")
    time.sleep(0.4)
    desk.key("Return")
    desk.until("bpy.data.filepath == ''", 40, "the new file")
    assert desk.ask(f"{SETTINGS}.asset is None and {STATE}.running == 'asset'")
    desk.picture(desk.folder / "status-other-file.png")
    desk.ask(f"bpy.ops.wm.open_mainfile(filepath='{asset.home}/scene.blend')")
    desk.until("bpy.data.filepath != ''", 40, "the file")
    assert desk.ask(f"{STATE}.running == 'asset'")
    wait_until_idle(desk, asset, 170)
    assert "12 views" in desk.ask(f"{STATE}.status")
    time.sleep(0.5)
    desk.picture(desk.folder / "status-after.png")
    desk.open_sidebar()


def test_a_batch_goes_on_in_another_file(desk: Desk, asset: Debian) -> None:
    put(
        desk, views=12, samples=300, resolution_x=128, resolution_y=128, pattern="ring",
        output_dir=f"{asset.home}/batch", sources=f"{asset.home}/models",
    )  # fmt: skip
    desk.ask("bpy.ops.objaverse.close_result.poll() and bpy.ops.objaverse.close_result()")
    for turn in range(2):
        put(desk, overwrite=turn > 0)
        desk.press("objaverse.render_batch()")
        desk.until(f"any(i.factor > 0 for i in {STATE}.items)", 90, "a view", period=0.05)
        over_viewport(desk)
        # ESC is not for it, either.
        desk.key("Escape")
        desk.ask(f"bpy.ops.wm.open_mainfile(filepath='{asset.home}/scene.blend')")
        time.sleep(0.5)
        assert desk.ask(f"[{STATE}.running, len({STATE}.items)]") == ["batch", 1]
        desk.until(IDLE, 240, "the end of the batch")
        assert desk.ask(f"[i.state for i in {STATE}.items]") == ["done"]
        desk.open_sidebar()
        put(
            desk, views=12, samples=300, resolution_x=128, resolution_y=128, pattern="ring",
            output_dir=f"{asset.home}/batch", sources=f"{asset.home}/models",
        )  # fmt: skip


def test_after_a_restart_every_finished_asset_is_there_again(desk: Desk, asset: Debian) -> None:
    put(desk, output_dir=f"{asset.home}/restart", overwrite=False, **SMALL)
    for name in ("harp", "horn"):
        os.link(asset.folder / "models/rocket.glb", asset.folder / f"{name}.glb")
    put(desk, sources=f"{asset.home}/harp.glb; {asset.home}/horn.glb")
    desk.press("objaverse.render_batch()")
    desk.until(f"not {IDLE}", 60, "the run", period=0.02)
    wait_until_idle(desk, asset, 240)
    again = open_window(asset)
    try:
        again.open_sidebar()
        put(again, output_dir=f"{asset.home}/restart")
        for _ in range(2):
            again.press("objaverse.list_output()")
            again.until(f"len({STATE}.items) == 2", 20, "the list")
        names = again.ask(f"[i.asset_id for i in {STATE}.items]")
        assert sorted(names) == ["harp", "horn"]
        sheets(again, names)
        for index in (1, 0):
            again.press(f"objaverse.show_result(index={index})", 0.7, "objaverse.list_output()")
            again.until(f"{RESULT}.name == {names[index]!r}", 20, "the result")
            loaded(again)
        again.picture(again.folder / "restarted.png")
        assert "Traceback" not in again.output()
    finally:
        again.close()
