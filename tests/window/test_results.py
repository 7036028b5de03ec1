"""What was rendered is seen in the viewport, walked through, and found again after a restart."""

from __future__ import annotations

import time

import numpy as np

from .conftest import Debian
from .desk import Desk
from .test_window import IDLE, SETTINGS, STATE, look, put, wait_until_idle

RESULT = "bpy.context.window_manager.objaverse_result"
HOME = """
def spots():
    import sys
    from bpy_extras.view3d_utils import location_3d_to_region_2d
    mine = {'.'.join(name.split('.')[-2:]): module for name, module in sys.modules.items()
            if 'objaverse_render_addon.' in name}
    rig = mine['viewport.results'].shown().rig
    geometry = mine['viewport.overlay_geometry']
    window, area, region = next(regions('WINDOW'))
    depth = geometry._picture_depth(rig.views)
    found = []
    for view in rig.views:
        middle = geometry.frustum_corners(view.camera, depth).mean(axis=0)
        world = rig.to_world[:3, :3] @ middle + rig.to_world[:3, 3]
        at = location_3d_to_region_2d(region, area.spaces.active.region_3d, world)
        found.append([region.x + at.x, region.y + at.y])
    return found
"""


def loaded(desk: Desk) -> None:
    desk.until(
        "not [m for n, m in __import__('sys').modules.items() "
        "if n.endswith('ui.background') and m.current('result')]", 60, "the pictures",
    )  # fmt: skip


def red(pixels: np.ndarray) -> int:
    """Pixels of the rocket's nose."""
    return int(((pixels[..., 0] > 150) & (pixels[..., 1:].max(axis=2) < 90)).sum())


def test_a_finished_render_is_there_and_walked_through(desk: Desk, newest: Debian) -> None:
    desk.ask("bpy.data.objects['Cube'].hide_set(True)")
    desk.enter("source", f"{newest.home}/models/rocket.glb")
    desk.press("objaverse.import_asset()")
    desk.until(f"{SETTINGS}.asset is not None", 60, "the import")
    put(
        desk, pattern="ring", views=8, elevation=(20, 20), resolution_x=128, resolution_y=128,
        samples=32, denoise=False, output_dir=f"{newest.home}/out",
    )  # fmt: skip
    before = red(look(desk, "before")[-450:, :360])
    desk.press("objaverse.render_asset()")
    desk.until(f"not {IDLE}", 60, "the run", period=0.05)
    wait_until_idle(desk, newest, 170)
    desk.until(f"{RESULT}.name == 'rocket'", 20, "the result")
    loaded(desk)
    seen = look(desk, "result")
    desk.picture(desk.folder / "result.png")
    # In large, lower left; in small on the frusta.
    assert red(seen[-450:, :360]) > before + 300
    desk.press("objaverse.frame_rig()", 0.9)
    time.sleep(0.3)
    desk.ask(HOME)
    spots = [(x, desk.size[1] - y) for x, y in desk.ask("spots()")]
    desk.click(*spots[3])
    desk.until(f"{RESULT}.view == 3", 20, "the view that was clicked")
    for key, view in (("Right", 4), ("Right", 5), ("Left", 4)):
        desk.key(key)
        desk.until(f"{RESULT}.view == {view}", 20, f"view {view}")
    assert desk.ask("bpy.context.scene.frame_current") == 1
    rgb = look(desk, "rgb")[-450:, :360]
    desk.press("objaverse.walk_result(by=1)", 0.9)
    desk.until(f"{RESULT}.view == 5", 20, "the next view")
    desk.ask(f"setattr({RESULT}, 'shown_pass', 'normal')")
    normal = look(desk, "normal")[-450:, :360]
    desk.picture(desk.folder / "normal.png")
    assert np.abs(rgb - normal).max(axis=2).mean() > 5
    desk.press("objaverse.close_result()", 0.9)
    desk.until(f"{RESULT}.name == ''", 20, "no result")
    # The arrow keys are the timeline's again.
    desk.move(*desk.viewport()[:2])
    x, y, width, height = desk.viewport()
    desk.move(x + width // 2, y + height // 2)
    desk.key("Right")
    desk.until("bpy.context.scene.frame_current == 2", 20, "the next frame")
    for _ in range(2):
        desk.press("objaverse.show_result()")
        desk.until(f"{RESULT}.name == 'rocket'", 20, "the result again")
    loaded(desk)
    assert red(look(desk, "again")[-450:, :360]) > before + 300
    desk.press("objaverse.close_result()", 0.9)


def test_an_output_folder_has_its_list_again(desk: Desk, newest: Debian) -> None:
    assert desk.ask(f"len({STATE}.items)") == 0
    for _ in range(2):
        desk.press("objaverse.list_output()")
        desk.until(f"[i.asset_id for i in {STATE}.items] == ['rocket']", 20, "the list")
    assert desk.ask(f"{STATE}.items[0].state") == "done"
    below = "next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.ui_type in" \
        " ('TIMELINE', 'IMAGE_EDITOR'))"
    desk.ask(f"setattr({below}, 'ui_type', 'IMAGE_EDITOR')")
    desk.press("objaverse.show_sheet(index=0)", 0.78, "objaverse.list_output()")
    shown = f"{below}.spaces.active.image"
    desk.until(f"{shown} is not None and {shown}.name == 'rocket sheet'", 20, "the sheet")
    desk.ask(f"setattr({below}, 'ui_type', 'TIMELINE')")
    desk.press("objaverse.show_result(index=0)", 0.7, "objaverse.list_output()")
    desk.until(f"{RESULT}.name == 'rocket'", 20, "the result")
    loaded(desk)
    time.sleep(0.3)
    desk.picture(desk.folder / "from-list.png")
