"""Runs beside other work, over time, with more passes; what is left of them after a restart."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest

from objaverse_render_addon.dataset.reader import AssetReader

from .conftest import Debian, open_window
from .desk import Desk
from .hands import (
    MOVING_CAMERA,
    SMALL,
    copies,
    import_file,
    leave,
    over_viewport,
    render,
    sheets,
    unfold,
)  # fmt: skip
from .test_results import RESULT, loaded
from .test_window import CANCEL, IDLE, RENDER, SETTINGS, STATE, put, wait_for_views, wait_until_idle

# It is chosen.
CAMERA = f"""{MOVING_CAMERA}
[o.select_set(o == camera) for o in bpy.context.view_layer.objects]
"""


@pytest.fixture(scope="module")
def newest(every: Debian) -> Debian:
    return every


@pytest.fixture(scope="module")
def asset(desk: Desk, newest: Debian) -> Debian:
    desk.ask("bpy.data.objects['Cube'].hide_set(True)")
    import_file(desk, f"{newest.home}/models/rocket.glb", "rocket")
    put(desk, pattern="ring", views=3, **SMALL)
    desk.ask(f"bpy.ops.wm.save_as_mainfile(filepath='{newest.home}/scene.blend')")
    return newest


def finished(debian: Debian, folder: str) -> AssetReader:
    (archive,) = (debian.folder / folder).glob("*.zip")
    return AssetReader(archive)


def test_a_pass_that_is_ticked_is_written_and_those_that_a_scene_cannot_write_are_named(
    desk: Desk, asset: Debian
) -> None:
    put(desk, output_dir=f"{asset.home}/passes", overwrite=True)
    unfold(desk, "objaverse.use_scene_cameras()", 3.05)
    # Each of them says that it is "passes": the first is the uppermost.
    x, y = desk.find("passes")
    names = desk.ask(f"[i.identifier for i in {SETTINGS}.bl_rna.properties['passes'].enum_items]")
    line = y + names.index("albedo") * 20 * desk.scale
    for ticked in (True, False, True):
        desk.click(x, line)
        desk.until(f"('albedo' in {SETTINGS}.passes) == {ticked}", 20, "the tick")
    desk.picture(desk.folder / "passes.png")
    for _ in range(2):
        render(desk, asset)
        with finished(asset, "passes") as reader:
            view = reader.read(0)
            inside = view["albedo"][view["mask"] > 0]
        assert inside.max() > 0.3
    desk.click(x, line)
    unfold(desk, "objaverse.use_scene_cameras()", 3.05)


def test_the_scenes_active_camera_renders_as_it_moves(desk: Desk, asset: Debian) -> None:
    put(desk, output_dir=f"{asset.home}/moving", overwrite=True)
    unfold(desk, "pattern", -2.95)
    desk.ask(CAMERA)
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
        with finished(asset, "moving") as reader:
            places = [reader.view(at).camera.camera_to_world[:3, 3] for at in range(len(reader))]
            assert reader.times == times
        steps = [float(np.linalg.norm(b - a)) for a, b in pairwise(places)]
        assert min(steps) > 0.05, steps
        assert first is None or np.linalg.norm(places[0] - first) > 0.05
        first = places[0]
    put(desk, frames="", pattern="ring", overwrite=False)
    unfold(desk, "pattern", -2.95)


def test_escape_ends_the_animation_and_not_the_render(desk: Desk, asset: Debian) -> None:
    # It cannot be over before its button is found.
    put(
        desk, pattern="ring", views=900, samples=64, resolution_x=256, resolution_y=256,
        output_dir=f"{asset.home}/long",
    )  # fmt: skip
    desk.press(RENDER)
    wait_for_views(desk, asset)
    over_viewport(desk)
    playing = "bpy.context.window_manager.windows[0].screen.is_animation_playing"
    for _ in range(2):
        desk.key("space")
        desk.until(playing, 20, "the animation")
        time.sleep(0.3)
        desk.key("Escape")
        desk.until(f"not {playing}", 20, "its end")
    time.sleep(0.3)
    assert desk.ask(f"{STATE}.running") == "asset"
    there = desk.ask(f"{STATE}.progress")
    desk.until(f"{STATE}.progress > {there}", 60, "another view")
    desk.press(CANCEL, 0.9, RENDER)
    wait_until_idle(desk, asset)
    assert desk.ask(f"{STATE}.status") == "Cancelled"


def test_a_batch_goes_on_in_another_file(desk: Desk, asset: Debian) -> None:
    desk.ask("bpy.ops.objaverse.close_result.poll() and bpy.ops.objaverse.close_result()")
    factor = f"max([i.factor for i in {STATE}.items], default=0)"
    for turn in range(2):
        put(
            desk, pattern="ring", views=900, samples=16, resolution_x=64, resolution_y=64,
            output_dir=f"{asset.home}/batch{turn}", sources=f"{asset.home}/models",
        )  # fmt: skip
        desk.press("objaverse.render_batch()")
        desk.until(f"{factor} > 0", 90, "a view", period=0.05)
        over_viewport(desk)
        # ESC is not for it, either.
        desk.key("Escape")
        desk.ask(f"bpy.ops.wm.open_mainfile(filepath='{asset.home}/scene.blend')")
        desk.until(f"{SETTINGS}.sources == ''", 20, "the file as it was saved")
        assert desk.ask(f"[{STATE}.running, len({STATE}.items)]") == ["batch", 1]
        there = desk.ask(factor)
        desk.until(f"{factor} > {there}", 60, "another view")
        desk.ask("bpy.ops.objaverse.cancel()")
        wait_until_idle(desk, asset)
        desk.open_sidebar()


def test_after_a_restart_every_finished_asset_is_there_again(desk: Desk, asset: Debian) -> None:
    copies(asset, "two", "harp", "horn")
    put(
        desk, output_dir=f"{asset.home}/restart", overwrite=False, sources=f"{asset.home}/two",
        pattern="ring", views=3, **SMALL,
    )  # fmt: skip
    desk.press("objaverse.render_batch()")
    desk.until(f"not {IDLE}", 60, "the run", period=0.02)
    wait_until_idle(desk, asset, 240)
    leave(desk, asset)
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
