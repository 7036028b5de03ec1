"""Buttons that other tests do not press, each twice; search, and keys over settings."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from .conftest import Debian
from .desk import Desk
from .hands import RIG, browse, changed, copies, import_file, over_viewport, render, unfold
from .test_window import SETTINGS, STATE, dismiss, put

DATASET = "bpy.context.window_manager.objaverse_dataset"
# What Blender opens with other programs is written down.
OPENER = '#!/bin/sh\necho "$@" >> {home}/opened.txt\n'


@pytest.fixture(scope="module")
def newest(every: Debian) -> Iterator[Debian]:
    folder = every.folder / "bin"
    folder.mkdir()
    opener = folder / "xdg-open"
    opener.write_text(OPENER.format(home=every.home))
    opener.chmod(0o755)
    before = dict(every.environment)
    every.environment["PATH"] = f"{every.home}/bin:{before['PATH']}"
    every.environment["BROWSER"] = f"{every.home}/bin/xdg-open %s"
    yield every
    every.environment.clear()
    every.environment.update(before)


@pytest.fixture(scope="module")
def asset(desk: Desk, newest: Debian) -> Debian:
    desk.ask("bpy.data.objects['Cube'].hide_set(True)")
    import_file(desk, f"{newest.home}/models/rocket.glb", "rocket")
    put(
        desk, pattern="ring", views=3, resolution_x=32, resolution_y=32, samples=1, denoise=False,
        output_dir=f"{newest.home}/out", overwrite=True,
    )  # fmt: skip
    return newest


def opened(debian: Debian) -> list[str]:
    """What other programs were asked to open."""
    file = debian.folder / "opened.txt"
    return file.read_text().splitlines() if file.exists() else []


def test_normalize_and_back(desk: Desk, asset: Debian) -> None:
    matrix = f"[list(r) for o in {SETTINGS}.asset.all_objects for r in o.matrix_world]"
    there = f"[o.name for o in {SETTINGS}.asset.all_objects]"
    before, names = desk.ask(matrix), desk.ask(there)
    for _ in range(2):
        desk.press("objaverse.normalize()")
        desk.until(f"len({there}) > {len(names)}", 20, "the normalised asset")
        desk.press("objaverse.normalize(undo=True)", 0.93, "objaverse.normalize()")
        desk.until(f"{there} == {names!r}", 20, "the asset as it was")
        assert desk.ask(matrix) == before


def test_the_rig_is_shown_framed_and_hidden(desk: Desk, asset: Debian) -> None:
    eye = "[round(v, 3) for r in next(regions('WINDOW'))[1].spaces.active.region_3d" \
        ".view_matrix for v in r]"
    for _ in range(2):
        desk.press(RIG)
        desk.until(f"{STATE}.preview", 20, "the rig")
        over_viewport(desk)
        framed = desk.ask(eye)
        # A wheel's turns bring the viewport elsewhere.
        for _ in range(4):
            desk.button(4)
        desk.until(lambda framed=framed: desk.ask(eye) != framed, 20, "another place")
        desk.press("objaverse.frame_rig()", 0.93, RIG)
        time.sleep(0.3)
        desk.press(RIG)
        desk.until(f"not {STATE}.preview", 20, "no rig")


def test_views_become_cameras(desk: Desk, asset: Debian) -> None:
    cameras = "len([o for o in bpy.data.collections.get('Objaverse Cameras', bpy.context" \
        ".scene.collection).objects if o.type == 'CAMERA' and o.name != 'Camera'])"
    for views in (3, 5):
        put(desk, views=views)
        desk.press("objaverse.sample_cameras()")
        desk.until(f"{cameras} == {views}", 20, "the cameras")
    desk.ask("bpy.data.batch_remove(list(bpy.data.collections['Objaverse Cameras'].objects))")


def test_files_are_added_and_cleared(desk: Desk, asset: Debian) -> None:
    copies(asset, "more", "harp", "horn")
    for name in ("harp.glb", "horn.glb"):
        desk.press("objaverse.add_files()", 0.725, "objaverse.render_batch()")
        browse(desk, f"{asset.home}/more", name)
        desk.until(f"{SETTINGS}.sources.endswith({name!r})", 20, "the file")
    assert desk.ask(f"{SETTINGS}.sources.count(';')") == 1
    desk.press("objaverse.clear_sources()", 0.895, "objaverse.render_batch()")
    desk.until(f"{SETTINGS}.sources == ''", 20, "nothing")
    for count, name in ((0, "more"), (1, "models")):
        desk.press("objaverse.add_folder()", 0.805, "objaverse.render_batch()")
        browse(desk, f"{asset.home}/{name}", "")
        desk.until(f"{SETTINGS}.sources.rstrip('/').endswith({name!r})", 20, "the folder")
        assert desk.ask(f"{SETTINGS}.sources.count(';')") == count
    desk.press("objaverse.clear_sources()", 0.895, "objaverse.render_batch()")
    desk.until(f"{SETTINGS}.sources == ''", 20, "nothing")


def test_a_job_is_saved_as_it_is_then(desk: Desk, asset: Debian) -> None:
    for views in (4, 6):
        put(desk, views=views)
        desk.press("objaverse.save_job()", 0.75)
        browse(desk, asset.home, f"job{views}.toml")
        file = asset.folder / f"job{views}.toml"
        desk.until(file.exists, 20, "the job")
        assert f"views = {views}\n" in file.read_text()
    put(desk, views=3)


def test_folder_and_gallery_are_opened(desk: Desk, asset: Debian) -> None:
    render(desk, asset)
    for count in (1, 2):
        desk.press("objaverse.open_output()", 0.3)
        desk.until(lambda: len(opened(asset)) == count, 20, "the folder")  # noqa: B023
    assert set(opened(asset)) == {f"{asset.home}/out"}
    for count in (3, 4):
        desk.press("objaverse.open_gallery()", 0.75, "objaverse.open_output()")
        desk.until(lambda: len(opened(asset)) == count, 60, "the page")  # noqa: B023
        assert opened(asset)[-1].startswith("file://")
        time.sleep(0.4)


def test_the_dataset_is_worked_on_again(desk: Desk, asset: Debian) -> None:
    desk.ask("bpy.ops.objaverse.close_result.poll() and bpy.ops.objaverse.close_result()")
    unfold(desk, "objaverse.list_output()", 1.5)
    free = "not [m for n, m in __import__('sys').modules.items() " \
        "if n.endswith('ui.background') and m.current('dataset')]"
    for name, share, said in (
        ("verify_output", 0.3, "1 of 1 asset"), ("statistics", 0.3, "stats.html"),
        ("write_credits", 0.75, "CREDITS.md"), ("export_output", 0.62, "1 scene"),
    ):  # fmt: skip
        for _ in range(2):
            desk.ask(f"setattr({DATASET}, 'said', '')")
            desk.press(f"objaverse.{name}()", share)
            desk.until(f"{DATASET}.said != '' or {DATASET}.trouble != ''", 60, name)
            desk.until(free, 20, f"the end of {name}")
            assert desk.ask(f"{DATASET}.trouble") == "", name
            assert said in desk.ask(f"{DATASET}.said"), name
    desk.picture(desk.folder / "dataset.png")
    assert opened(asset)[-1].endswith("stats.html")
    unfold(desk, "objaverse.list_output()", 1.5)


def test_search_and_the_manual_lead_here(desk: Desk, asset: Debian) -> None:
    for shown in (True, False):
        over_viewport(desk)
        time.sleep(0.5)
        for act, what in (
            (lambda: desk.key("F3"), "the search"),
            (lambda: desk.type("objaverse preview"), "what is found"),
        ):  # fmt: skip
            before = desk.photo()
            act()
            desk.until(lambda: changed(desk, before) > 1500, 20, what)  # noqa: B023
            time.sleep(1)
        desk.picture(desk.folder / "search.png")
        desk.key("Return")
        desk.until(f"{STATE}.preview == {shown}", 20, "what the search found")
    # F1 over a button: its place in the manual that came with the extension.
    before = len(opened(asset))
    for button in ("objaverse.render_asset()", "objaverse.render_batch()"):
        desk.move(*desk.find(button))
        time.sleep(0.3)
        desk.key("F1")
        desk.until(lambda: len(opened(asset)) > before, 20, "the manual")  # noqa: B023
        assert "manual.html" in opened(asset)[-1]
        before = len(opened(asset))


def test_nothing_is_keyframed_by_accident(desk: Desk, asset: Debian) -> None:
    for name in ("pattern", "views", "seed"):
        spot = desk.find(name)
        desk.move(*spot)
        time.sleep(0.2)
        desk.key("i")
        time.sleep(0.2)
        dismiss(desk)
    assert desk.ask("bpy.context.scene.animation_data is None")
