"""What several of these tests do with mouse and keys, and ask for again."""

from __future__ import annotations

import shutil
import time
from typing import Any

import numpy as np

from .conftest import Debian
from .desk import Desk
from .test_window import IDLE, RENDER, SETTINGS, STATE, wait_until_idle

RIG = "objaverse.preview_cameras()"
LOOK = "objaverse.look_through_camera(action={!r})"
LOOKING = "bpy.context.scene.camera.name == 'Objaverse Look'"

_BROWSER = (
    "next(([a.x + a.width // 2, a.y + a.height // 2] for w in bpy.context.window_manager.windows"
    " for a in w.screen.areas if a.type == 'FILE_BROWSER'), None)"
)
_CHOOSE = """
for window in bpy.context.window_manager.windows:
    for area in window.screen.areas:
        if area.type == 'FILE_BROWSER':
            space = area.spaces.active
            space.params.directory = {folder!r}.encode()
            if {name!r}:
                space.params.filename = {name!r}
"""
_BELOW = (
    "next(a for a in bpy.context.window_manager.windows[0].screen.areas"
    " if a.ui_type in ('TIMELINE', 'DOPESHEET', 'IMAGE_EDITOR'))"
)

SMALL = {"resolution_x": 32, "resolution_y": 32, "samples": 1, "denoise": False}
# The user's camera moves past the asset.
MOVING_CAMERA = """
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
bpy.context.scene.frame_set(1)
"""


def copies(debian: Debian, folder: str, *names: str) -> None:
    """The sample as other assets."""
    for name in names:
        target = debian.folder / folder / f"{name}.glb"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(debian.folder / "models/rocket.glb", target)


def over_viewport(desk: Desk) -> tuple[int, int]:
    """Bring the mouse to the middle of the viewport's free part."""
    x, y, width, height = desk.viewport()
    desk.move(x + width // 2 - 3, y + height // 2)
    time.sleep(0.1)
    desk.move(x + width // 2, y + height // 2)
    time.sleep(0.1)
    return x + width // 2, y + height // 2


def browse(desk: Desk, folder: str = "", name: str = "") -> None:
    """Choose a file in the browser that has opened, or none."""
    x, y = desk.until(_BROWSER, 20, "the file browser")
    time.sleep(0.3)
    if folder:
        desk.ask(_CHOOSE.format(folder=folder, name=name))
    time.sleep(0.2)
    desk.move(x, desk.size[1] - y)
    time.sleep(0.2)
    desk.key("Return" if folder else "Escape")
    desk.until(f"{_BROWSER} is None", 20, "the end of the file browser")


def import_file(desk: Desk, path: str, name: str) -> None:
    """Type a path, and press the button."""
    desk.enter("source", path)
    desk.press("objaverse.import_asset()")
    desk.until(f"{SETTINGS}.asset and {SETTINGS}.asset.name == {name!r}", 60, name)


def render(desk: Desk, debian: Debian) -> None:
    """Render the panel's asset to the end, and close its result."""
    desk.press(RENDER)
    desk.until(f"not {IDLE}", 60, "the run", period=0.02)
    wait_until_idle(desk, debian, 240)
    assert (failure := desk.ask(f"{STATE}.failure")) == "", failure
    desk.ask("bpy.ops.objaverse.close_result()")


def sheets(desk: Desk, names: list[str]) -> None:
    """The picture of every line of the list opens, here where the timeline was."""
    former: Any = desk.ask(f"{_BELOW}.ui_type")
    desk.ask(f"setattr({_BELOW}, 'ui_type', 'IMAGE_EDITOR')")
    shown = f"{_BELOW}.spaces.active.image"
    for index, name in enumerate(names):
        desk.press(f"objaverse.show_sheet(index={index})", 0.78, "objaverse.list_output()")
        desk.until(f"{shown} is not None and {shown}.name == '{name} sheet'", 20, "the sheet")
        assert desk.ask(f"min({shown}.size)") >= 32
    desk.ask(f"setattr({_BELOW}, 'ui_type', {former!r})")


def changed(desk: Desk, before: np.ndarray) -> int:
    """How many pixels of the screen are clearly others than before."""
    return int((np.abs(desk.photo().astype(int) - before).max(axis=2) > 40).sum())


def unfold(desk: Desk, button: str, lines: float) -> None:
    """Open or close the panel whose heading is the first so many lines below a button, or more."""
    x, y = desk.find(button)
    for further in range(8):
        heading = x - 60, y + (lines + further * 0.6) * 20 * desk.scale
        desk.move(*heading)
        time.sleep(0.3)  # Until a tooltip is gone.
        before = desk.photo()
        desk.click(*heading)
        for _ in range(15):
            time.sleep(0.2)
            # All that is below it moves.
            if changed(desk, before) > 1500:
                time.sleep(0.3)
                return
    raise AssertionError(f"there is no heading below {button}")


def leave(desk: Desk, debian: Debian) -> None:
    """Save, so that nothing is asked, and close Blender by its key."""
    desk.ask(f"bpy.ops.wm.save_as_mainfile(filepath='{debian.home}/left.blend')")
    over_viewport(desk)
    desk.key("ctrl+q")
    desk.until(lambda: desk.blender.poll() is not None, 60, "Blender's end")
    assert desk.blender.poll() == 0, desk.output()
