"""Every button pressed twice, in every Blender: the second time it does what is asked for then."""

from __future__ import annotations

from pathlib import Path

import pytest

from objaverse_render_addon.dataset.reader import AssetReader

from .conftest import Debian
from .desk import Desk
from .hands import browse, copies, import_file, over_viewport, render, sheets
from .test_window import IDLE, SETTINGS, STATE, dismiss, put, wait_until_idle


@pytest.fixture(scope="module")
def newest(every: Debian) -> Debian:
    return every


@pytest.fixture(scope="module")
def folders(newest: Debian) -> Debian:
    copies(newest, "first", "chair/scene", "lamp/scene", "violin/scene")
    copies(newest, "second", "drum")
    copies(newest, "third", "harp", "horn")
    for views in (3, 5):
        job = f"[cameras]\npattern = \"ring\"\nviews = {views}\n"
        (newest.folder / f"job{views}.toml").write_text(job)
    return newest


def test_each_import_is_of_what_is_asked_for_then(desk: Desk, folders: Debian) -> None:
    desk.ask("bpy.data.objects['Cube'].hide_set(True)")
    for path in ("third/harp.glb", "second/drum.glb"):
        name = path.partition("/")[2].removesuffix(".glb")
        import_file(desk, f"{folders.home}/{path}", name)
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
        browse(desk)
    assert desk.ask(f"{SETTINGS}.asset.name") == "drum"


def test_each_job_that_is_loaded_is_the_one_chosen_then(desk: Desk, folders: Debian) -> None:
    for views in (3, 5):
        desk.press("objaverse.load_job()", 0.3)
        browse(desk, folders.home, f"job{views}.toml")
        desk.until(f"{SETTINGS}.views == {views}", 20, "the job")


def test_each_batch_is_of_the_folder_named_then(desk: Desk, folders: Debian) -> None:
    put(
        desk, views=2, samples=1, resolution_x=32, resolution_y=32, denoise=False,
        output_dir=f"{folders.home}/out",
    )  # fmt: skip
    broken = [folders.folder / f"first/{name}/scene.glb" for name in ("lamp", "violin")]
    whole = broken[0].read_bytes()
    for path in broken:
        path.write_bytes(whole[:5000])
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
    assert desk.ask(f"[i.state for i in {STATE}.items]") == ["done", "failed", "failed"]
    # What failed, twice: it is what failed the last time.
    for left, path in ((1, broken[0]), (0, broken[1])):
        path.write_bytes(whole)
        run_again(desk, folders, "objaverse.render_batch(only='FAILED')", 0.62)
        assert desk.ask(f"[i.state for i in {STATE}.items].count('failed')") == left
    names = ["chair-scene", "lamp-scene", "violin-scene"]
    assert sorted(path.stem for path in (folders.folder / "out").glob("*.zip")) == names
    sheets(desk, names)
    # One of it again, which sets the button's argument.
    for _ in range(2):
        before = (folders.folder / "out/chair-scene.zip").stat().st_mtime_ns
        run_again(desk, folders, "objaverse.render_batch(only='ACTIVE')", 0.9)
        assert desk.ask(f"[i.state for i in {STATE}.items]") == ["done"] * 3
        assert (folders.folder / "out/chair-scene.zip").stat().st_mtime_ns > before
    sheets(desk, names)
    desk.enter("sources", f"{folders.home}/second")
    desk.press("objaverse.render_batch()")
    desk.until(f"[i.asset_id for i in {STATE}.items] == ['drum']", 60, "the second list")
    wait_until_idle(desk, folders, 240)
    assert desk.ask(f"[i.state for i in {STATE}.items]") == ["done"]
    assert desk.ask(f"{STATE}.status") == "Batch: 1 done"
    sheets(desk, ["drum"])


def run_again(desk: Desk, debian: Debian, button: str, share: float) -> None:
    """Press a button that renders again, and wait."""
    desk.press(button, share, "objaverse.render_batch()")
    desk.until(f"not {IDLE}", 60, "the run", period=0.02)
    wait_until_idle(desk, debian, 240)


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
        render(desk, folders)
        (archive,) = out.glob("*.zip")
        areas.append(mask(archive))
    assert desk.ask("bpy.context.mode") == "EDIT_MESH"
    over_viewport(desk)
    desk.key("Tab")
    desk.until("bpy.context.mode == 'OBJECT'", 20, "object mode")
    # A fifth as high, it has another shape.
    assert abs(areas[1] / areas[0] - 1) > 0.2, areas
