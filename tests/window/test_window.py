"""The panel in a real window, with a real mouse: one after the other, as a person would.

Every test leaves the window as it found it, with the sample imported and nothing running.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from .conftest import Debian
from .desk import Desk

STATE = "bpy.context.window_manager.objaverse"
SETTINGS = "bpy.context.scene.objaverse"
IDLE = f"not {STATE}.running"
RENDER = "objaverse.render_asset()"
CANCEL = "objaverse.cancel()"


def look(desk: Desk, name: str) -> np.ndarray:
    """The viewport, the sidebar left away, as (H, W, 3)."""
    x, y, width, height = desk.viewport()
    desk.drawn()
    with Image.open(desk.picture(desk.folder / f"{name}.ppm")) as image:
        return np.asarray(image)[y : y + height, x : x + width].astype(int)


def count(pixels: np.ndarray, color: tuple[int, int, int], reach: int = 45) -> int:
    """How many pixels have a colour, more or less."""
    return int((np.abs(pixels - color).max(axis=2) <= reach).sum())


BLUE, YELLOW, RED = (88, 160, 240), (240, 198, 55), (235, 80, 62)


SPOTS = """
def spots():
    import sys
    from bpy_extras.view3d_utils import location_3d_to_region_2d
    mine = {name.rpartition('.')[2]: module for name, module in sys.modules.items()
            if 'objaverse_render_addon.' in name}
    window, area, region = next(regions('WINDOW'))
    with bpy.context.temp_override(window=window, area=area, region=region):
        state = mine['preview'].rig(bpy.context)
    geometry = mine['overlay_geometry']
    depth = geometry._picture_depth(state.views)
    found = []
    for view in state.views:
        middle = geometry.frustum_corners(view.camera, depth).mean(axis=0)
        world = state.to_world[:3, :3] @ middle + state.to_world[:3, 3]
        at = location_3d_to_region_2d(region, area.spaces.active.region_3d, world)
        found.append([region.x + at.x, region.y + at.y])
    return found
"""


def frusta(desk: Desk) -> list[tuple[float, float]]:
    """Where every view's frustum is drawn, on the screen."""
    desk.ask(SPOTS)
    return [(x, desk.size[1] - y) for x, y in desk.ask("spots()")]


def put(desk: Desk, **values: object) -> None:
    """Settings as a job file would bring them, where the test is about something else."""
    desk.ask("\n".join(f"{SETTINGS}.{name} = {value!r}" for name, value in values.items()))


def wait_for_views(desk: Desk, newest: Debian) -> None:
    desk.until(f"{STATE}.progress > 0", 60, "the first view", period=0.05)
    assert newest.workers()


def wait_until_idle(desk: Desk, newest: Debian, timeout: float = 60) -> None:
    desk.until(IDLE, timeout, "the end of the run")
    desk.until(lambda: not newest.workers(), 40, "the end of the worker")


def dismiss(desk: Desk) -> None:
    """Close the pop-up with an error, which takes every click until then."""
    time.sleep(0.2)
    desk.key("Escape")
    desk.ask("None")


def test_a_broken_file_is_refused(desk: Desk, newest: Debian) -> None:
    broken = newest.folder / "broken.glb"
    broken.write_bytes((newest.folder / "models/rocket.glb").read_bytes()[:5000])
    before = desk.ask("scene_state()")
    desk.enter("source", f"{newest.home}/broken.glb")
    desk.press("objaverse.import_asset()")
    desk.until(f"'broken.glb' in {STATE}.warnings", 40, "the reason")
    dismiss(desk)
    assert desk.ask("scene_state()") == before
    assert desk.ask(f"{SETTINGS}.asset is None")


def test_an_asset_is_imported_and_seen(desk: Desk, newest: Debian) -> None:
    # The startup file's cube stands where assets do.
    desk.ask("bpy.data.objects['Cube'].hide_set(True)")
    desk.enter("source", f"{newest.home}/models/rocket.glb")
    desk.press("objaverse.import_asset()")
    desk.until(f"{SETTINGS}.asset is not None", 40, "the import")
    assert desk.ask(f"{SETTINGS}.asset.name") == "rocket"
    assert "mesh" in desk.ask(f"{SETTINGS}.asset['objaverse_facts']['summary']")
    assert desk.ask(f"{STATE}.warnings") == ""
    assert desk.ask("[obj.name for obj in bpy.context.selected_objects]") == []


def test_the_ring_is_shown(desk: Desk) -> None:
    desk.choose("pattern", "r", "ring")
    desk.enter("views", "12")
    desk.enter("elevation[0]", "25")
    before = look(desk, "without")
    assert count(before, YELLOW, 25) < 50
    desk.press("objaverse.preview_cameras()")
    desk.until(lambda: count(look(desk, "ring"), BLUE) > 2000, 40, "the ring")
    assert count(look(desk, "ring"), YELLOW, 25) > 100
    all_in_sight(desk)


def all_in_sight(desk: Desk) -> None:
    x, y, width, height = desk.viewport()
    assert all(x < px < x + width and y < py < y + height for px, py in frusta(desk))


def test_cameras_that_crop_are_red(desk: Desk) -> None:
    calm = count(look(desk, "calm"), RED, 20)
    desk.choose("framing", "a", "allow")
    radius = desk.ask(f"list({SETTINGS}.radius)")
    desk.enter("radius[0]", "1.2")
    desk.enter("radius[1]", "1.2")
    desk.until(lambda: count(look(desk, "cropped"), RED, 20) > calm + 300, 40, "red frusta")
    put(desk, radius=radius)
    desk.choose("framing", "f", "fit")


COUNT = """
import sys
class Counted:
    def __init__(self, batch):
        self.batch = batch
        COUNTS['made'] += 1
    def draw(self, *arguments):
        COUNTS['drawn'] += 1
        self.batch.draw(*arguments)
COUNTS = {'made': 0, 'drawn': 0, 'start': 0.0}
import gpu_extras.batch
make = gpu_extras.batch.batch_for_shader
gpu_extras.batch.batch_for_shader = lambda *a, **k: Counted(make(*a, **k))
"""


def test_a_thousand_views_are_one_draw_call_and_are_made_once(desk: Desk) -> None:
    desk.ask(COUNT)
    before = desk.ask(f"[{SETTINGS}.views, {SETTINGS}.current_view]")
    for views in (1, 1000):
        put(desk, views=views)
        desk.drawn()
        desk.ask("COUNTS.update(made=0, drawn=0)")
        redraws = desk.ask("DRAWN['count']")
        for _ in range(3):
            desk.drawn()
        redraws = desk.ask("DRAWN['count']") - redraws
        made, drawn = desk.ask("[COUNTS['made'], COUNTS['drawn']]")
        assert redraws >= 3 and made == 0, views
        assert abs(drawn - redraws) <= 1, (views, drawn, redraws)
    put(desk, views=before[0], current_view=before[1])
    desk.ask("gpu_extras.batch.batch_for_shader = make")
    desk.drawn()


def test_a_click_selects_a_view_and_looking_through_it_is_undone(desk: Desk, whole: None) -> None:
    desk.click(*frusta(desk)[4])
    desk.until(f"{SETTINGS}.current_view == 4", 40, "the view")
    eye = "[round(v, 4) for r in next(regions('WINDOW'))[1].spaces.active.region_3d" \
        ".view_matrix for v in r]"
    before = desk.ask(eye)
    rig = "objaverse.preview_cameras()"
    desk.press("objaverse.look_through_camera(action='INDEX')", 0.81, rig)
    desk.until("bpy.context.scene.camera.name == 'Objaverse Look'", 40, "the camera")
    assert count(look(desk, "look"), BLUE) < 300
    desk.press("objaverse.look_through_camera(action='NEXT')", 0.74, rig)
    desk.until(f"{SETTINGS}.current_view == 5", 40, "the next view")
    desk.press("objaverse.look_through_camera(action='STOP')", 0.9, rig)
    desk.until("bpy.context.scene.camera.name == 'Camera'", 40, "the old camera")
    desk.until(lambda: desk.ask(eye) == before, 40, "the old view")


def test_the_asset_is_rendered(desk: Desk, newest: Debian, whole: None) -> None:
    desk.enter("output_dir", f"{newest.home}/out")
    desk.enter("resolution_x", "160")
    put(desk, resolution_y=160, samples=200)
    button = desk.find(RENDER)
    desk.click(*button)
    desk.until(f"'left' in {STATE}.status", 60, "the time left", period=0.05)
    pixels = look(desk, "rendering")
    desk.click(*button)  # Greyed out: nothing happens.
    # The newest view stands in the lower left corner: the rocket's nose, red, is its upper end.
    corner = pixels[-380:, :360]
    red = (corner[..., 0] > 180) & (corner[..., 1:].max(axis=2) < 70)
    white = corner.min(axis=2) > 205
    assert red.sum() > 300 and white.sum() > 300
    assert np.nonzero(red.any(axis=1))[0][0] < np.nonzero(white.any(axis=1))[0][0]
    wait_until_idle(desk, newest)
    assert desk.ask(f"{STATE}.failure") == ""
    assert desk.ask(f"{STATE}.status").startswith("rocket.zip: 12 views")
    assert not desk.ask("'Objaverse View' in bpy.data.images")
    with zipfile.ZipFile(newest.folder / "out/rocket.zip") as archive:
        assert len([name for name in archive.namelist() if name.endswith(".png")]) == 12
        (name,) = (name for name in archive.namelist() if name.endswith("metadata.json"))
        cameras = json.loads(archive.read(name))["job"]["cameras"]
    assert (cameras["pattern"], cameras["views"]) == ("ring", 12)


def test_what_was_made_differently_is_not_replaced(desk: Desk, newest: Debian) -> None:
    put(desk, samples=300)
    desk.press(RENDER)
    desk.until(f"'Tick Overwrite' in {STATE}.failure", 60, "the reason")
    wait_until_idle(desk, newest)
    desk.picture(desk.folder / "refused.png")
    dismiss(desk)
    desk.press("overwrite")
    assert desk.ask(f"{SETTINGS}.overwrite")


@pytest.mark.parametrize("how", ["escape", "button"])
def test_a_run_is_cancelled(desk: Desk, newest: Debian, whole: None, how: str) -> None:
    out = newest.folder / "out/rocket.zip"
    before = out.stat().st_mtime_ns
    # So many that a fast machine has not rendered them all before the cross is found.
    put(desk, views=600)
    desk.press(RENDER)
    wait_for_views(desk, newest)
    if how == "escape":
        x, y, width, height = desk.viewport()
        desk.move(x + width // 2, y + height // 2)
        desk.key("Escape")
    else:
        desk.press(CANCEL, 0.9, RENDER)
    wait_until_idle(desk, newest)
    assert desk.ask(f"{STATE}.status") == "Cancelled"
    # What was there stays; nothing of the new one does.
    assert out.stat().st_mtime_ns == before
    assert sorted(path.name for path in out.parent.iterdir()) == [".state", "rocket.zip"]
    put(desk, views=12)


def test_a_worker_that_is_killed_is_told(desk: Desk, newest: Debian, whole: None) -> None:
    desk.press(RENDER)
    # An asset that takes its worker down is tried once more.
    for _ in range(2):
        desk.until(f"'left' in {STATE}.status", 60, "the first view", period=0.05)
        for worker in newest.workers():
            os.kill(worker, signal.SIGKILL)
        again = f"'left' not in {STATE}.status or not {STATE}.running"
        desk.until(again, 40, "the loss to be seen", period=0.05)
    wait_until_idle(desk, newest)
    assert "SIGKILL" in desk.ask(f"{STATE}.failure")
    dismiss(desk)


def test_a_folder_that_cannot_be_written_is_told(
    desk: Desk, newest: Debian, whole: None
) -> None:
    (newest.folder / "file").write_text("not a folder")
    desk.enter("output_dir", f"{newest.home}/file/out")
    desk.press(RENDER)
    desk.until(f"'file/out' in {STATE}.failure", 30, "the reason")
    wait_until_idle(desk, newest)
    dismiss(desk)
    put(desk, output_dir=f"{newest.home}/out")


def test_a_batch_shows_what_became_of_each(desk: Desk, newest: Debian, whole: None) -> None:
    shutil.copy(newest.folder / "broken.glb", newest.folder / "models/cut_off.glb")
    # The folder so far is another job's.
    put(desk, samples=600, views=6, output_dir=f"{newest.home}/batch")
    # The result's panel would push the list out of sight.
    desk.ask("bpy.ops.objaverse.close_result.poll() and bpy.ops.objaverse.close_result()")
    desk.enter("sources", f"{newest.home}/models")
    button = desk.find("objaverse.render_batch()")
    desk.click(*button)
    desk.until(f"len({STATE}.items) == 2", 40, "the list")
    desk.until(f"any(i.state == 'rendering' for i in {STATE}.items)", 30, "work", period=0.05)
    # A second one is refused.
    desk.click(*button)
    assert desk.ask(f"{STATE}.running") == "batch"
    assert desk.ask(f"len({STATE}.items)") == 2
    assert not desk.ask("bpy.ops.objaverse.render_batch.poll()")
    wait_until_idle(desk, newest)
    states = desk.ask(f"{{i.asset_id: [i.state, i.detail] for i in {STATE}.items}}")
    assert states["rocket"][0] == "done" and states["rocket"][1].startswith("6 views")
    assert states["cut_off"][0] == "failed" and "cut_off.glb" in states["cut_off"][1]
    # A click on the failed line shows its reason below the list.
    failed = desk.ask(f"[i.asset_id for i in {STATE}.items].index('cut_off')")
    retry = desk.find("objaverse.render_batch(only='FAILED')")
    for above in range(30, 220, 12):
        desk.click(retry[0] - 60, retry[1] - above)
        if desk.ask(f"{STATE}.active") == failed:
            break
    assert desk.ask(f"{STATE}.active") == failed
    desk.picture(desk.folder / "batch.png")
    # The button at the other's end opens its pictures, here where the timeline was.
    below = "next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.ui_type in" \
        " ('TIMELINE', 'IMAGE_EDITOR'))"
    desk.ask(f"setattr({below}, 'ui_type', 'IMAGE_EDITOR')")
    show = f"objaverse.show_sheet(index={1 - failed})"
    desk.press(show, 0.75, "objaverse.render_batch(only='FAILED')")
    shown = f"{below}.spaces.active.image"
    desk.until(f"{shown} is not None and {shown}.name", 20, "the contact sheet")
    assert desk.ask(f"{shown}.name") == "rocket sheet"
    assert desk.ask(f"min({shown}.size) > 100")
    desk.picture(desk.folder / "sheet.png")
    desk.ask(f"setattr({below}, 'ui_type', 'TIMELINE')")
    desk.press("objaverse.render_batch(only='FAILED')")
    wait_until_idle(desk, newest)
    assert desk.ask(f"[i.state for i in {STATE}.items].count('failed')") == 1


def test_a_run_goes_on_in_another_file(desk: Desk, newest: Debian) -> None:
    put(desk, views=12, samples=300)
    desk.ask(f"bpy.ops.wm.save_as_mainfile(filepath='{newest.home}/scene.blend')")
    desk.press(RENDER)
    wait_for_views(desk, newest)
    x, y, width, height = desk.viewport()
    desk.move(x + width // 2, y + height // 2)
    desk.key("ctrl+n")
    time.sleep(0.4)
    desk.key("Return")
    desk.until("bpy.data.filepath == ''", 40, "the new file")
    assert desk.ask(f"{SETTINGS}.asset is None and {STATE}.running == 'asset'")
    desk.ask(f"bpy.ops.wm.open_mainfile(filepath='{newest.home}/scene.blend')")
    desk.until("bpy.data.filepath != ''", 40, "the file")
    assert desk.ask(f"{STATE}.running == 'asset'")
    wait_until_idle(desk, newest, 170)
    assert desk.ask(f"{STATE}.status").startswith("rocket.zip: 12 views")
    time.sleep(0.5)
    desk.open_sidebar()


def test_closing_blender_ends_the_worker(desk: Desk, newest: Debian) -> None:
    # Opening a file, as the test before did, leaves what is there alone.
    put(desk, overwrite=True)
    desk.press(RENDER)
    wait_for_views(desk, newest)
    x, y, width, height = desk.viewport()
    desk.move(x + width // 2, y + height // 2)
    desk.key("ctrl+q")
    deadline = time.monotonic() + 20
    while desk.blender.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert desk.blender.poll() == 0, desk.output()
    time.sleep(1)
    assert newest.workers() == []
    scratch = [*(newest.root / "tmp").glob("objaverse-render-*")]
    scratch += newest.folder.glob("objaverse-p*")
    assert [path for path in scratch if path.stat().st_mtime > time.time() - 60] == []
