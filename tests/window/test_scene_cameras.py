"""Rendering from the user's own cameras."""

from __future__ import annotations

import pytest

from objaverse_render_addon.dataset.reader import AssetReader

from .conftest import Debian
from .desk import Desk
from .hands import MOVING_CAMERA, SMALL, import_file, render
from .test_window import SETTINGS, put

# Another one stands.
CAMERAS = f"""{MOVING_CAMERA}
other = bpy.data.objects.new('Other', bpy.data.cameras.new('Other'))
bpy.context.scene.collection.objects.link(other)
other.matrix_world = camera.matrix_world
other.location = middle + Vector((0, 0, 0.5))
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


def count_views(debian: Debian, folder: str) -> int:
    (archive,) = (debian.folder / folder).glob("*.zip")
    with AssetReader(archive) as reader:
        return len(reader)


def test_the_scenes_own_cameras_render_the_chosen_ones(desk: Desk, asset: Debian) -> None:
    put(desk, output_dir=f"{asset.home}/own", overwrite=True, **SMALL)
    desk.ask(CAMERAS)
    for chosen, count in ((("Other",), 1), (("Camera", "Other"), 2), ((), 2)):
        desk.ask(SELECT.format(chosen))
        desk.press("objaverse.use_scene_cameras()")
        desk.until(f"{SETTINGS}.pattern == 'file'", 20, "the poses")
        assert desk.ask(f"[{SETTINGS}.resolution_x, {SETTINGS}.resolution_y]") == [64, 48]
        render(desk, asset)
        assert count_views(asset, "own") == count
