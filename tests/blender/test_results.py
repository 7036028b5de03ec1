"""Finished assets, from the window: looked at, listed, proved, exported, counted, credited."""

from __future__ import annotations

import shutil
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gallery_data import add_asset, doubtful

from objaverse_render_addon.batch.listing import lines_of
from objaverse_render_addon.dataset.export import FORMATS
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.dataset.sheet import picture_of

from . import scenes
from .test_addon import Layout, bpy, draw_panels, enabled, panel  # noqa: F401  (fixtures)

pytestmark = pytest.mark.core


@pytest.fixture
def result(bpy: Any) -> Any:  # noqa: F811
    """What the viewport shows; closed again."""
    from objaverse_render_addon.ui.viewport import results

    results.close(bpy.context)
    yield results
    results.close(bpy.context)


def test_a_finished_asset_is_shown_as_it_is_stored(bpy: Any, result: Any, tmp_path: Path) -> None:  # noqa: F811
    add_asset(tmp_path, "thing", change=doubtful)
    assert bpy.ops.objaverse.show_result(path=str(tmp_path / "thing")) == {"FINISHED"}
    shown, state = result.shown(), bpy.context.window_manager.objaverse_result
    assert (state.name, state.view, state.shown_pass) == ("thing", 0, "rgb")
    with AssetReader(tmp_path / "thing") as reader:
        # Of every view and pass: where it stood, and what it shows.
        assert set(shown.reading.small) == set(reader.passes)
        for place, view in enumerate(shown.rig.views):
            truth = reader.view(place).camera
            np.testing.assert_array_equal(view.camera.camera_to_world, truth.camera_to_world)
            assert view.index == place
        for name in reader.passes:
            cells, sizes = shown.reading.small[name]
            assert sizes.tolist() == [[114, 128]] * 6
            state.shown_pass, state.view = name, 4
            whole = picture_of(name, reader.read(4))
            np.testing.assert_array_equal(shown.large, whole)
            height, width = sizes[4]
            small = cells[4, :height, :width]
            assert abs(float(small.mean()) - float(whole.mean())) < 8, name
    assert shown.rig.cropped == {0, 1} and shown.rig.doubtful == frozenset()
    state.view = 0
    assert result.caption(bpy.context)[1] == "Doubt: object in frame"
    assert "2 crop" in draw_panels().said
    # Round at the ends; a view that is not there is the last.
    bpy.ops.objaverse.walk_result(by=-1)
    assert state.view == 5 and len(result.caption(bpy.context)) == 1
    bpy.ops.objaverse.walk_result()
    assert state.view == 0
    state.view = 99
    assert state.view == 5
    assert bpy.ops.objaverse.close_result() == {"FINISHED"}
    assert result.shown() is None and not bpy.ops.objaverse.walk_result.poll()
    # A second one is the second one; what cannot be read says why, and leaves no half of it.
    add_asset(tmp_path, "other", views=3)
    bpy.ops.objaverse.show_result(path=str(tmp_path / "other"))
    assert len(result.shown().rig.views) == 3
    with pytest.raises(RuntimeError, match="missing"):
        bpy.ops.objaverse.show_result(path=str(tmp_path / "missing.zip"))
    # Another file takes it away: it is about no file, but it stands around the asset of one.
    bpy.ops.wm.read_homefile(use_empty=True)
    assert result.shown() is None


def test_what_the_panels_asset_became_stands_around_it(
    bpy: Any, panel: Any, result: Any, tmp_path: Path  # noqa: F811
) -> None:
    from objaverse_render_addon.ui.viewport import preview

    vertices = scenes.CUBE_VERTICES * (2, 6, 3) + (5, 0, 1)
    bpy.ops.objaverse.import_asset(filepath=str(scenes.write_glb(tmp_path / "box.glb", vertices)))
    panel.output_dir = str(tmp_path / "out")
    with pytest.raises(RuntimeError, match="box is not in"):
        bpy.ops.objaverse.show_result()
    bpy.ops.objaverse.render_asset()
    bpy.ops.objaverse.show_result()
    now = preview.rig_or_error(bpy.context)
    np.testing.assert_allclose(result.shown().rig.to_world, now.to_world)
    for there, here in zip(result.shown().rig.views, now.views, strict=True):
        close = np.abs(there.camera.camera_to_world - here.camera.camera_to_world).max()
        assert close < 1e-6


@pytest.mark.usefixtures("result")
def test_the_list_comes_back_from_the_folder(bpy: Any, panel: Any, tmp_path: Path) -> None:  # noqa: F811
    good = scenes.write_glb(tmp_path / "good.glb")
    (tmp_path / "bad.glb").write_bytes(b"glTF and no more")
    panel.views, panel.resolution_x, panel.resolution_y = 1, 32, 32
    out, state = tmp_path / "out", bpy.context.window_manager.objaverse
    panel.output_dir = str(out)
    with pytest.raises(RuntimeError, match="no ledger"):
        bpy.ops.objaverse.list_output()
    with pytest.raises(RuntimeError, match=r"bad\.glb"):
        bpy.ops.objaverse.render_batch(sources=f"{good}; {tmp_path / 'bad.glb'}")
    told = [(item.source, item.asset_id, item.state, item.detail) for item in state.items]
    # A folder that was moved takes its assets along.
    moved = tmp_path / "moved"
    shutil.move(out, moved)
    panel.output_dir = str(moved)
    state.items.clear()
    assert bpy.ops.objaverse.list_output() == {"FINISHED"}
    assert [(i.source, i.asset_id, i.state) for i in state.items] == [t[:3] for t in told]
    assert state.items[1].detail == told[1][3], "the reason, with the way out"
    assert "objaverse-render" not in state.items[1].detail
    assert state.items[0].result == str(moved / "good.zip")
    assert state.status == "In the output folder: 2 assets"
    bpy.ops.objaverse.show_result(index=0)
    assert bpy.context.window_manager.objaverse_result.name == "good"
    with pytest.raises(RuntimeError, match="not finished"):
        bpy.ops.objaverse.show_result(index=1)
    # What failed before a restart is tried again after it.
    scenes.write_glb(tmp_path / "bad.glb")
    assert bpy.ops.objaverse.render_batch(only="FAILED") == {"FINISHED"}
    assert [item.state for item in state.items] == ["done", "done"]
    (moved / "good.zip").unlink()
    bpy.ops.objaverse.list_output()
    assert (state.items[0].result, state.items[0].detail) == ("", "no longer there")
    lines, total = lines_of(moved, 1)
    assert (len(lines), total) == (1, 2)


def test_a_dataset_is_proved_exported_counted_and_credited(
    bpy: Any, panel: Any, tmp_path: Path  # noqa: F811
) -> None:
    out = tmp_path / "out"
    panel.output_dir, state = str(out), bpy.context.window_manager.objaverse_dataset
    operators = [
        bpy.ops.objaverse.verify_output, bpy.ops.objaverse.export_output,
        bpy.ops.objaverse.statistics, bpy.ops.objaverse.write_credits,
    ]  # fmt: skip
    for operator in operators:
        with pytest.raises(RuntimeError, match="out"):
            operator()
        assert "out" in state.trouble and not out.exists()
    for name in ("one", "two"):
        add_asset(out, name, change=doubtful if name == "one" else None)
    state.to = "nerfstudio"
    for operator in operators:
        assert operator() == {"FINISHED"}
        assert state.trouble == ""
    assert "doubtful thing" in (out / "CREDITS.md").read_text().lower()
    assert "<svg" in (out / "stats.html").read_text()
    target = tmp_path / "out-nerfstudio"
    assert (target / "one" / "transforms.json").is_file()
    assert state.said.startswith("Credits of 2 assets")
    assert "Credits of 2 assets" in draw_panels().said
    assert bpy.ops.objaverse.export_output() == {"FINISHED"}
    assert f"{target}: 2 scenes, 12 views" in state.said and "Dropped: " in state.said
    assert "masks are not written: training" in state.said and " --" not in state.said
    damaged = sorted((out / "two").glob("*.png"))[3]
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(RuntimeError, match="1 of 2 assets are right"):
        bpy.ops.objaverse.verify_output()
    assert damaged.name in state.trouble and "1 of 2" in state.said


def test_every_format_says_what_it_cannot_hold(bpy: Any, panel: Any) -> None:  # noqa: F811
    from objaverse_render_addon.ui.operators.dataset import about_format

    state = bpy.context.window_manager.objaverse_dataset
    panel.passes = {"rgb", "depth", "normal", "mask"}
    for name, form in FORMATS.items():
        state.to = name
        said = draw_panels().said
        assert form.about.split()[0] in said
        lost = [label for key, label in (("depth", "Depth"), ("normal", "Normal"))
                if key not in form.holds]  # fmt: skip
        line = next((line for line in about_format(name, set(panel.passes)) if "hold" in line), "")
        assert all(label in line for label in lost), name


def test_a_dataset_job_is_cancelled(tmp_path: Path) -> None:
    from objaverse_render_addon.batch.over_folder import Verify
    from objaverse_render_addon.errors import Interrupted

    for number in range(3):
        add_asset(tmp_path, f"asset{number}", views=1)
    job = Verify(tmp_path)
    job.cancel()
    job.start()
    deadline = time.monotonic() + 20
    while job.busy and time.monotonic() < deadline:
        time.sleep(0.01)
    assert isinstance(job.error, Interrupted) and job.said == []


def test_files_and_folders_are_added_to_a_batch(bpy: Any, panel: Any, tmp_path: Path) -> None:  # noqa: F811
    for name in ("a.glb", "b.glb"):
        scenes.write_glb(tmp_path / name)
    (tmp_path / "more").mkdir()
    files = [{"name": "a.glb"}, {"name": "b.glb"}]
    for _ in range(2):
        # The second time they are there.
        bpy.ops.objaverse.add_files(directory=f"{tmp_path}/", files=files)
        bpy.ops.objaverse.add_folder(directory=str(tmp_path / "more"))
    wanted = [str(tmp_path / name) for name in ("a.glb", "b.glb", "more")]
    assert panel.sources == "; ".join(wanted)
    with pytest.raises(RuntimeError, match="no folder"):
        bpy.ops.objaverse.add_folder(directory=str(tmp_path / "none"))
    # One after the other can be taken out again.
    bpy.ops.objaverse.remove_source(index=1)
    assert panel.sources == "; ".join([wanted[0], wanted[2]])
    bpy.ops.objaverse.remove_source(index=1)
    assert panel.sources == wanted[0]
    with pytest.raises(RuntimeError, match="no such file"):
        bpy.ops.objaverse.remove_source(index=1)
    bpy.ops.objaverse.clear_sources()
    assert panel.sources == "" and not bpy.ops.objaverse.clear_sources.poll()


def test_the_ends_of_a_range_take_each_other_along(panel: Any) -> None:  # noqa: F811
    for name, low, high in (("radius", 3.0, 5.0), ("elevation", -10.0, 30.0), ("fov", 30.0, 60.0)):
        setattr(panel, name, (low, high))
        getattr(panel, name)[0] = high + 4
        assert tuple(getattr(panel, name)) == pytest.approx((high + 4, high + 4))
        getattr(panel, name)[1] = low
        assert tuple(getattr(panel, name)) == pytest.approx((low, low))
        getattr(panel, name)[1] = high
        assert tuple(getattr(panel, name)) == pytest.approx((low, high))


def test_a_pattern_leaves_alone_what_was_set_by_hand(bpy: Any) -> None:  # noqa: F811
    settings = bpy.context.scene.objaverse
    settings.pattern = "ring"
    ring = tuple(settings.radius)
    settings.views, settings.elevation = 1000, (12.0, 12.0)
    settings.pattern = "fibonacci"
    assert settings.views == 1000 and tuple(settings.elevation) == (12.0, 12.0)
    settings.pattern = "ring"
    assert tuple(settings.radius) == ring


def test_no_two_buttons_have_one_tooltip(bpy: Any, panel: Any) -> None:  # noqa: F811
    layout, state = Layout(), bpy.context.window_manager.objaverse
    panel.asset = bpy.data.collections.new("Asset")
    for index, name in enumerate(("done", "failed")):
        item = state.items.add()
        item.asset_id, item.state, item.result = name, name, "x"
        for cls in ("show_result", "show_sheet"):
            layout.operator(f"objaverse.{cls}").index = index
    state.running = "batch"
    draw_panels(layout)
    for name in dir(bpy.ops.objaverse):
        layout.operator(f"objaverse.{name}")
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, given in layout.buttons:
        group, _, short = name.partition(".")
        if group != "objaverse":
            continue
        operator = getattr(bpy.ops.objaverse, short).get_rna_type()
        values = {
            prop.identifier: getattr(given, prop.identifier, getattr(prop, "default", None))
            for prop in operator.properties
        }
        cls = getattr(bpy.types, f"OBJAVERSE_OT_{short}")
        said = getattr(cls, "description", lambda *_: "")(
            bpy.context, types.SimpleNamespace(**values)
        )
        said = said or operator.description
        assert said, name
        assert found.setdefault(said, (name, values)) == (name, values), said
    assert len(found) > 40
    state.running = ""
    state.items.clear()


def test_menus_and_drops_lead_to_the_asset(bpy: Any, panel: Any) -> None:  # noqa: F811
    from objaverse_render_addon.assets.formats import EXTENSIONS
    from objaverse_render_addon.ui import places

    entries = [entry[0] for entry in places.OBJAVERSE_MT_render._ENTRIES if entry]
    for name in entries:
        assert getattr(bpy.ops.objaverse, name.partition(".")[2]).get_rna_type()
    for name in places._MENUS:
        funcs = [f.__module__ for f in getattr(bpy.types, name).draw._draw_funcs]
        assert places.__name__ in funcs
    dropped = places.OBJAVERSE_FH_asset.bl_file_extensions.replace(".", "").split(";")
    assert {*dropped, "blend"} == {*EXTENSIONS}
    # A collection of the user's own, by a click on one of its objects.
    mesh = bpy.data.objects.new("Mine", bpy.data.meshes.new("Mine"))
    bpy.context.scene.collection.objects.link(mesh)
    bpy.context.view_layer.objects.active = mesh
    assert not bpy.ops.objaverse.use_collection.poll()
    home = bpy.data.collections.new("Mine")
    bpy.context.scene.collection.children.link(home)
    home.objects.link(mesh)
    bpy.ops.objaverse.use_collection()
    assert panel.asset == home


def test_the_scenes_own_cameras_are_rendered_as_it_shows_them(
    bpy: Any, panel: Any, tmp_path: Path  # noqa: F811
) -> None:
    from bpy_extras.object_utils import world_to_camera_view
    from mathutils import Vector

    from objaverse_render_addon.ui.viewport import preview

    vertices = scenes.CUBE_VERTICES * (2, 6, 3) + (5, 0, 1)
    bpy.ops.objaverse.import_asset(filepath=str(scenes.write_glb(tmp_path / "box.glb", vertices)))
    scene, panel.output_dir = bpy.context.scene, str(tmp_path / "out")
    with pytest.raises(RuntimeError, match="no camera"):
        bpy.ops.objaverse.use_scene_cameras()
    scene.render.resolution_x, scene.render.resolution_y = 160, 96
    scene.render.resolution_percentage, scene.render.pixel_aspect_y = 50, 1.25
    for number, fit in enumerate(("AUTO", "VERTICAL", "HORIZONTAL")):
        lens = bpy.data.cameras.new(f"Mine {number}")
        lens.sensor_fit, lens.lens, lens.shift_x, lens.shift_y = fit, 20 + number, 0.1, -0.05
        obj = bpy.data.objects.new(lens.name, lens)
        scene.collection.objects.link(obj)
        obj.location, obj.rotation_euler = (30 + number, -20, 12), (1.2, 0.1, 0.9)
        obj.scale, obj.parent = (3, 3, 3), bpy.data.objects.new("Rig", None)
        scene.collection.objects.link(obj.parent)
        obj.parent.location = (1, 2, 3)
        obj.select_set(number != 1)
    assert bpy.ops.objaverse.use_scene_cameras() == {"FINISHED"}
    assert (panel.pattern, panel.resolution_x, panel.resolution_y) == ("file", 80, 48)
    state = preview.rig_or_error(bpy.context)
    assert len(state.views) == 2, "the selected ones"
    for view, name in zip(state.views, ("Mine 0", "Mine 2"), strict=True):
        pixels, _ = view.camera.project(state.points)
        world = state.points @ state.to_world[:3, :3].T + state.to_world[:3, 3]
        camera = scene.objects[name]
        for point, pixel in zip(world, pixels, strict=True):
            x, y, _ = world_to_camera_view(scene, camera, Vector(point))
            assert pixel == pytest.approx((x * 80, (1 - y) * 48), abs=2e-3)
    for obj in scene.objects:
        obj.select_set(False)
    bpy.ops.objaverse.use_scene_cameras()
    assert len(preview.rig_or_error(bpy.context).views) == 3, "all, where none is selected"
    assert bpy.ops.objaverse.render_asset() == {"FINISHED"}
    with AssetReader(tmp_path / "out" / "box.zip") as reader:
        assert len(reader) == 3
        found = reader.view(2).camera
        wanted = preview.rig_or_error(bpy.context).views[2].camera
        np.testing.assert_allclose(found.camera_to_world, wanted.camera_to_world, atol=1e-6)
        np.testing.assert_allclose(found.intrinsics, wanted.intrinsics, rtol=1e-6)
    scene.objects["Mine 1"].data.type = "ORTHO"
    assert bpy.ops.objaverse.use_scene_cameras() == {"FINISHED"}
    lenses = [view.camera.projection for view in preview.rig_or_error(bpy.context).views]
    assert lenses == ["perspective", "orthographic", "perspective"]
