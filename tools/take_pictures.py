"""Take the pictures of docs/images that show Blender's window, in a real one.

    OBJAVERSE_TEST_BLENDER_ROOTS=FOLDER python tools/take_pictures.py

FOLDER is one that ``tools/debian_folder.sh blender sid FOLDER`` made. Look at the pictures before
they are committed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
sys.path.insert(0, str(ROOT / "tests"))

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from window.conftest import INSTALL, ROOTS, Debian, free_display  # noqa: E402
from window.desk import Desk  # noqa: E402

SETTINGS = "bpy.context.scene.objaverse"
STATE = "bpy.context.window_manager.objaverse"
RESULT = "bpy.context.window_manager.objaverse_result"
# How many pictures of the result are there.
READ = (
    "sum(int((sizes[:, 0] > 0).sum()) for n, m in __import__('sys').modules.items()"
    " if n.endswith('.viewport.results') for _, sizes in m.shown().reading.small.values())"
)
SIZE = (1440, 1060)
# The viewport over the whole window, seen from where the rig looks well, nothing in the way.
PREPARE = """
import math
from mathutils import Euler
for obj in list(bpy.data.objects):
    if obj.name in ('Cube', 'Light', 'Camera'):
        bpy.data.objects.remove(obj)
window, area, region = next(regions('WINDOW'))
view = area.spaces.active.region_3d
view.view_rotation = Euler((math.radians(63), 0, math.radians({turn}))).to_quaternion()
view.view_perspective = 'PERSP'
area.spaces.active.show_region_toolbar = False
area.spaces.active.show_region_hud = False
area.spaces.active.overlay.show_cursor = False
area.spaces.active.overlay.show_text = False
area.spaces.active.shading.color_type = 'TEXTURE'
"""
NAMES = {
    "armchair": 1, "bookshelf": 1, "camera": 1, "desk_lamp": 0, "guitar": 1, "rocket": 1,
    "teapot": 1, "violin": 1,
}  # fmt: skip


def sources(debian: Debian) -> None:
    """A folder of assets, one of them damaged."""
    folder = debian.folder / "models"
    rocket = folder / "rocket.glb"
    subprocess.run(
        [sys.executable, str(ROOT / "examples/make_sample.py"), str(rocket)], check=True
    )
    for name, whole in NAMES.items():
        content = rocket.read_bytes()
        (folder / f"{name}.glb").write_bytes(content if whole else content[:5000])


@contextmanager
def window(root: Path) -> Iterator[tuple[Debian, Desk]]:
    """Blender with the extension, as this tree has it."""
    debian = Debian(root)
    desk = None
    try:
        shutil.copytree(
            ROOT / "objaverse_render_addon", debian.folder / "source/objaverse_render_addon"
        )
        tool = ROOT / "tools/build_extension.py"
        subprocess.run(
            [sys.executable, str(tool), "--output", str(debian.folder)],
            check=True,
        )
        next(debian.folder.glob("*.zip")).rename(debian.folder / "extension.zip")
        (debian.folder / "models").mkdir()
        sources(debian)
        done = debian.run(INSTALL)
        assert done.returncode == 0, done.stdout
        # A short folder, for it is read in the pictures.
        (root / "home/me").mkdir(parents=True, exist_ok=True)
        for name in ("models", "data"):
            (root / "home/me" / name).unlink(missing_ok=True)
            (debian.folder / name).mkdir(exist_ok=True)
            (root / "home/me" / name).symlink_to(f"{debian.home}/{name}")
        desk = Desk(
            debian.root, debian.folder / "desk", debian.environment, SIZE, free_display()
        )
        desk.ask("1", timeout=60)
        yield debian, desk
    finally:
        if desk is not None:
            desk.close()
        shutil.rmtree(debian.folder, ignore_errors=True)


def set_values(desk: Desk, **values: object) -> None:
    """Settings of the panel."""
    desk.ask("\n".join(f"{SETTINGS}.{name} = {value!r}" for name, value in values.items()))


def prepare(desk: Desk, turn: float) -> None:
    """Only the viewport, the asset in it, and the rig around."""
    x, y, width, height = desk.viewport()
    desk.move(x + width // 2, y + height // 2)
    desk.key("ctrl+space")
    desk.until("len(bpy.context.screen.areas) < 4", 20, "the whole window")
    desk.open_sidebar()
    widen(desk, 90)
    desk.ask(PREPARE.format(turn=turn))
    desk.enter("source", "/home/me/models/rocket.glb")
    desk.press("objaverse.import_asset()")
    desk.until(f"{SETTINGS}.asset is not None", 40, "the import")
    set_values(
        desk, pattern="ring", views=12, elevation=(25, 25), output_dir="/home/me/data",
        resolution_x=256, resolution_y=256, samples=48, denoise=False,
    )  # fmt: skip
    desk.press("objaverse.preview_cameras()")
    desk.until(f"{STATE}.preview", 20, "the preview")
    time.sleep(1)
    desk.drawn()


def widen(desk: Desk, by: int) -> None:
    """Drag the sidebar's edge, so that nothing in it is cut off."""
    x, y, _, height = desk.ask("place('UI')")
    middle = str(desk.size[1] - y - height // 2)
    steps = [("mousemove", str(x + 1), middle), ("sleep", "0.4"), ("mousedown", "1")]
    for share in (0.2, 0.5, 0.8, 1.0):
        steps += [("sleep", "0.3"), ("mousemove", str(round(x + 1 - share * by)), middle)]
    steps += [("sleep", "0.3"), ("mouseup", "1")]
    desk.run("xdotool", *[word for step in steps for word in step])
    desk.drawn()


def take(desk: Desk, name: str) -> None:
    """Photograph the window, the mouse out of the way."""
    desk.move(desk.size[0] // 3, desk.size[1] - 60)
    time.sleep(0.5)
    desk.drawn()
    time.sleep(0.3)
    seen = Image.fromarray(np.ascontiguousarray(desk.photo()))
    # A quarter of the size. Others of Pillow's ways change the colours of what is small and bright.
    few = seen.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(IMAGES / f"{name}.png", optimize=True)
    print(IMAGES / f"{name}.png")


def scroll(desk: Desk, clicks: int) -> None:
    """Scroll the sidebar: down, or up where negative."""
    x, y, width, height = desk.ask("place('UI')")
    desk.click(x + width // 3, desk.size[1] - y - height // 2, 5 if clicks > 0 else 4, abs(clicks))
    time.sleep(0.3)


def main() -> None:
    """Take all."""
    if not ROOTS:
        sys.exit(__doc__)
    with window(ROOTS[0]) as (_, desk):
        prepare(desk, 35)
        take(desk, "panel-preview")
        scroll(desk, 60)
        desk.press("objaverse.render_asset()")
        desk.until(f"{STATE}.progress > 0.4", 120, "some views", period=0.05)
        take(desk, "rendering")
        desk.until(f"not {STATE}.running", 120, "the end")
        desk.until(f"{RESULT}.name == 'rocket'", 60, "the result")
        desk.until(f"{READ} == 48", 120, "all of its pictures")
        desk.ask(f"{RESULT}.view = 2")
        scroll(desk, 60)
        take(desk, "result")
        set_values(desk, samples=64, views=6, sources="/home/me/models", overwrite=True)
        desk.ask("bpy.ops.objaverse.close_result()")
        desk.press("objaverse.preview_cameras()")
        scroll(desk, 60)
        desk.press("objaverse.render_batch()")
        states = f"[i.state for i in {STATE}.items]"
        desk.until(f"'failed' in {states}", 300, "the damaged one")
        desk.ask(f"{STATE}.active = {states}.index('failed')")
        scroll(desk, 60)
        desk.until(f"{states}.count('done') >= 3", 300, "some of them")
        desk.until(
            f"any(i.state == 'rendering' and i.factor > 0.1 for i in {STATE}.items)", 60, "one",
            period=0.05,
        )  # fmt: skip
        take(desk, "batch-list")


if __name__ == "__main__":
    main()
