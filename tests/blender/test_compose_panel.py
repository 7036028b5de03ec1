"""The panel Compose: what it makes is what the command line makes, beside a scene that stays."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("rapier3d")

sys.path.insert(0, str(Path(__file__).parents[1] / "compose"))
import foreign

from objaverse_render_addon.batch import physics
from objaverse_render_addon.compose.make import make
from objaverse_render_addon.compose.record import LAYOUTS, Scene
from objaverse_render_addon.compose.rules import RULES_FILE, SUPPORT_CHOICES, Rules
from objaverse_render_addon.compose.words import LANGUAGES
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.errors import Interrupted, MissingDependency, SourceNotFound

from .test_addon import NAME, Layout, assert_text, bpy, enabled  # noqa: F401  (fixtures)

STATE = "objaverse_composed"


@pytest.fixture
def asked(bpy: Any, tmp_path: Path) -> Any:  # noqa: F811
    """Settings of small scenes."""
    settings = bpy.context.scene.objaverse_compose
    settings.seed, settings.objects = 11, (3, 4)
    settings.layouts, settings.supports = {"scatter", "grid"}, {"table"}
    settings.images, settings.samples = 2, 4
    settings.resolution_x = settings.resolution_y = 96
    settings.output_dir = str(tmp_path / "written")
    bpy.context.preferences.addons[NAME].preferences.device = "cpu"
    return settings


@pytest.fixture
def shown(bpy: Any, asked: Any) -> Iterator[Any]:  # noqa: F811, ARG001
    """A composed scene in the window."""
    from objaverse_render_addon.ui.compose.shown import composed

    assert bpy.ops.objaverse.compose_scene() == {"FINISHED"}
    found = composed(bpy.context)
    assert found is not None
    yield found
    if bpy.ops.objaverse.close_composed.poll():
        bpy.ops.objaverse.close_composed()


def everything(bpy: Any) -> dict[str, list[str]]:  # noqa: F811
    kinds = ("scenes", "objects", "meshes", "materials", "cameras", "lights", "worlds",
             "collections", "node_groups")  # fmt: skip
    return {kind: sorted(one.name for one in getattr(bpy.data, kind)) for kind in kinds}


def test_the_panel_begins_with_the_rules_of_the_command_line(bpy: Any) -> None:  # noqa: F811
    from objaverse_render_addon.cli.compose import _PASSES
    from objaverse_render_addon.ui.compose import settings

    own = bpy.context.scene.objaverse_compose
    assert settings.rules_of(own) == Rules()
    assert settings.PASSES == _PASSES
    assert set(LAYOUTS) <= set(settings._LAYOUT_TEXTS)
    assert set(SUPPORT_CHOICES) <= set(settings._SUPPORT_TEXTS)
    assert set(LANGUAGES) <= set(settings._LANGUAGE_TEXTS)
    for prop in own.bl_rna.properties:
        if prop.identifier in ("rna_type", "name", "kinds"):
            continue
        assert_text(prop.identifier, prop.description)
        assert not prop.is_animatable, prop.identifier
        if prop.type == "ENUM":
            assert all(item.description for item in prop.enum_items_static)


def test_what_is_composed_is_what_the_rules_say_and_the_own_scene_stays(
    bpy: Any, asked: Any  # noqa: F811
) -> None:
    from objaverse_render_addon.ui.compose.settings import rules_of
    from objaverse_render_addon.ui.compose.shown import composed, moved, objects_of

    cube = bpy.data.objects.new("Mine", bpy.data.meshes.new("Mine"))
    bpy.context.scene.collection.objects.link(cube)
    home, before = bpy.context.scene.name, everything(bpy)
    rules = rules_of(asked)
    for index in (0, 1):
        bpy.ops.objaverse.compose_scene(go_on=bool(index))
        found = composed(bpy.context)
        assert found is not None
        expected = make(rules, index)
        # As its file is read again, in single precision nowhere.
        assert found.record == Scene.from_dict(json.loads(expected.to_json()))
        bodies = objects_of(bpy.context, found)
        assert sorted(bodies) == [obj.id for obj in expected.objects]
        bpy.context.view_layer.update()
        for obj in expected.objects:
            body = bodies[obj.id]
            assert np.allclose(body.matrix_world, obj.pose, atol=1e-5)
            low, high = np.array(obj.vertices_hull).min(0), np.array(obj.vertices_hull).max(0)
            assert np.allclose(np.array(body.bound_box)[[0, 6]], [low, high], atol=2e-5)
            # Solid shading shows its colour, too.
            slot = expected.recipe["objects"][obj.id - 1]["slots"][0]
            diffuse = np.array(body.data.materials[0].diffuse_color[:3])
            assert np.allclose(diffuse ** (1 / 2.2), slot["rgb"], atol=1e-3)
        assert len([obj for obj in bpy.context.scene.objects if obj.type == "CAMERA"]) == 2
        assert found.rig.views[1].camera.fov[0] == pytest.approx(
            expected.recipe["cameras"][1]["fov_deg"]
        )
        assert bpy.context.scene.objaverse_compose.index == index
    assert not moved(bpy.context, found)
    first = next(iter(bodies.values()))
    first.location.x += 0.01
    bpy.context.view_layer.update()
    assert moved(bpy.context, found) == [found.object(1).name]
    assert len(bpy.data.scenes) == 2
    bpy.ops.objaverse.close_composed()
    assert bpy.context.scene.name == home
    assert bpy.context.scene.objaverse_compose.index == 1
    assert everything(bpy) == before
    assert not bpy.ops.objaverse.close_composed.poll()


def test_sentences_are_the_files_and_light_whom_they_mean(
    bpy: Any, shown: Any  # noqa: F811
) -> None:
    from objaverse_render_addon.compose.expressions import EXPRESSIONS
    from objaverse_render_addon.compose.reader import read_unit
    from objaverse_render_addon.ui.compose import sentences

    settings = bpy.context.scene.objaverse_compose
    settings.languages = {"en", "de"}
    assert bpy.ops.objaverse.compose_sentences() == {"FINISHED"}
    state = bpy.context.window_manager.objaverse_composed
    folder = Path(state.folder)
    record = json.loads((folder / EXPRESSIONS).read_text(encoding="utf-8"))["expressions"]
    assert len(state.sentences) > 4
    for language in ("en", "de"):
        listed = [item for item in state.sentences if item.language == language]
        told = [
            (text["text"], one["view"], one["kind"], one["targets"], one["references"])
            for one in record for text in one["texts"]
            if text["style"] == "phrase" and text["language"] == language
        ]  # fmt: skip
        assert told == [
            (item.name, item.view, item.sort, sentences.ids_of(item.targets),
             sentences.ids_of(item.references)) for item in listed
        ]  # fmt: skip
    assert [item.margin for item in state.sentences] == pytest.approx(
        [one["margin"] for one in record for _ in ("en", "de")]
    )
    # The second reader finds them true, too.
    with AssetReader(folder) as asset:
        assert not read_unit(asset).problems
    # Each view has its own; the first of it is chosen.
    for view in (1, 0):
        bpy.ops.objaverse.walk_composed(by=1)
        assert sentences.view_of(bpy.context, shown) == view
        item = sentences.chosen(bpy.context, shown)
        assert item.view == view
    looks = Scene.read(folder / "scene.json").views[0].objects
    for look in looks:
        said = sentences.doubts(bpy.context, shown, look.id)
        assert any("hidden" in text for text in said) == (look.visible_fraction < 0.4)
    # Another scene has none of these.
    bpy.ops.objaverse.compose_scene(go_on=True)
    assert not len(state.sentences)
    draw()


def test_own_objects_are_drawn_judged_where_the_engines_are(
    bpy: Any, asked: Any, tmp_path: Path  # noqa: F811
) -> None:
    from objaverse_render_addon.compose.reader import read_unit
    from objaverse_render_addon.ui.compose.shown import composed, objects_of

    own = tmp_path / "own"
    own.mkdir()
    foreign.write_glb(own / "mug.glb", [(foreign.kind("mug"), foreign.RED)])
    foreign.write_glb(own / "soup_bowl_02.glb", [(foreign.kind("bowl"), foreign.BLUE)], scale=100)
    foreign.write_glb(own / "model-1.glb", [(foreign.kind("mug"), foreign.RED)])
    state = bpy.context.window_manager.objaverse_composed
    bpy.ops.objaverse.choose_kinds(every=False)
    try:
        asked.own = str(own / "nothing.csv")
        with pytest.raises(RuntimeError, match=r"nothing\.csv"):
            bpy.ops.objaverse.compose_scene()
        assert "nothing.csv" in state.trouble
        asked.own, asked.layouts, asked.images = str(own), {"scatter"}, 1
        assert bpy.ops.objaverse.compose_scene() == {"FINISHED"}
        assert state.trouble == ""
        assert state.own_said.startswith("2 objects of yours to draw from; left out: model-1.glb (")
        found = composed(bpy.context)
        assert found is not None
        assert {obj.source for obj in found.record.objects} <= {"mug.glb", "soup_bowl_02.glb"}
        bodies = objects_of(bpy.context, found)
        bpy.context.view_layer.update()
        for obj in found.record.objects:
            assert np.allclose(bodies[obj.id].matrix_world, obj.pose, atol=1e-5)
            assert max(bodies[obj.id].dimensions) == pytest.approx(max(obj.size_m), abs=1e-4)
        assert "2 objects of yours" in " ".join(draw().said.split())
        # What was prepared is taken as it is.
        assert found.objects is not None
        before = (found.objects / "objects.json").stat().st_mtime_ns
        assert bpy.ops.objaverse.compose_scene(go_on=True) == {"FINISHED"}
        assert (found.objects / "objects.json").stat().st_mtime_ns == before
        assert bpy.ops.objaverse.compose_sentences() == {"FINISHED"}
        with AssetReader(Path(state.folder)) as asset:
            assert not read_unit(asset).problems
        shutil.rmtree(found.objects)
        with pytest.raises(RuntimeError, match="Compose the scene again"):
            bpy.ops.objaverse.compose_sentences()
    finally:
        asked.own = ""
        bpy.ops.objaverse.choose_kinds()
        bpy.ops.objaverse.close_composed()


@pytest.mark.long
def test_written_scenes_are_those_of_the_window_and_stay(
    bpy: Any, shown: Any, tmp_path: Path  # noqa: F811
) -> None:
    settings = bpy.context.scene.objaverse_compose
    settings.scenes, settings.images = 1, 1
    settings.resolution_x = settings.resolution_y = 48
    assert bpy.ops.objaverse.write_scenes() == {"FINISHED"}
    folder = tmp_path / "written"
    written = Scene.read(folder / "scene-000000/scene.json")
    assert written.objects == shown.record.objects
    assert (folder / "scene-000000/expressions.json").is_file() and (folder / "README.md").is_file()
    status = bpy.context.window_manager.objaverse.status
    assert status == "Scenes: 1 done"
    assert bpy.ops.objaverse.write_scenes() == {"FINISHED"}
    assert bpy.context.window_manager.objaverse.status == "Scenes: 1 skipped"
    settings.objects = (2, 3)
    with pytest.raises(RuntimeError, match="other rules") as caught:
        bpy.ops.objaverse.write_scenes()
    assert "--" not in str(caught.value)
    assert bpy.ops.objaverse.open_scenes_gallery() == {"FINISHED"}
    assert (folder / "gallery/index.html").is_file()
    draw()


def draw() -> Layout:
    """All of the panel, as it is now."""
    import bpy  # noqa: F811

    from objaverse_render_addon.ui.compose import panel

    layout = Layout()
    context = types.SimpleNamespace(
        scene=bpy.context.scene, window_manager=bpy.context.window_manager,
        region=types.SimpleNamespace(width=300),
        preferences=types.SimpleNamespace(
            system=types.SimpleNamespace(ui_scale=1.0), addons=bpy.context.preferences.addons
        ),
    )  # fmt: skip
    for cls in panel.CLASSES:
        if "_PT_" not in cls.__name__ or ("poll" in cls.__dict__ and not cls.poll(context)):
            continue
        owner = types.SimpleNamespace(layout=layout, bl_rna=cls.bl_rna)
        for name, member in cls.__dict__.items():
            if isinstance(member, types.FunctionType):
                setattr(owner, name, types.MethodType(member, owner))
        owner.draw(context)
    return layout


@pytest.mark.usefixtures("asked")
def test_the_panel_says_what_is_missing_and_how_it_comes(
    bpy: Any, monkeypatch: Any, tmp_path: Path  # noqa: F811
) -> None:
    from objaverse_render_addon.ui import preferences
    from objaverse_render_addon.ui.compose import operators

    own = bpy.context.preferences.addons[NAME].preferences
    assert "objaverse.copy_physics_setup" not in draw().operators
    monkeypatch.setattr(operators, "_has_engines", lambda: False)
    assert {"objaverse.copy_physics_setup", "preferences.addon_show"} <= set(draw().operators)
    monkeypatch.setenv("HOME", str(tmp_path))
    try:
        bpy.ops.objaverse.copy_physics_setup()
        python = preferences.physics(bpy.context)
        assert Path(python).is_relative_to(tmp_path)
        # Still missing, until the line has run.
        assert "objaverse.copy_physics_setup" in draw().operators
        with pytest.raises(RuntimeError, match="no program"):
            bpy.ops.objaverse.compose_scene()
        Path(python).parent.mkdir(parents=True)
        Path(python).symlink_to(sys.executable)
        assert "objaverse.copy_physics_setup" not in draw().operators
    finally:
        own.physics = ""
    settings = bpy.context.scene.objaverse_compose
    bpy.ops.objaverse.choose_kinds(every=False)
    with pytest.raises(RuntimeError, match=r"No kind of object is chosen\. Choose some"):
        bpy.ops.objaverse.compose_scene()
    bpy.ops.objaverse.choose_kinds()
    assert settings.kinds.mug
    for cls in (operators.OBJAVERSE_OT_compose_scene, operators.OBJAVERSE_OT_choose_kinds,
                operators.OBJAVERSE_OT_walk_composed):  # fmt: skip
        texts = {
            cls.description(bpy.context, types.SimpleNamespace(go_on=which, every=which, by=by))
            for which, by in ((True, 1), (False, -1))
        }
        assert len(texts) == 2


def test_another_python_settles_the_same_scene_or_says_why_not(tmp_path: Path) -> None:
    rules = Rules(seed=11, objects=(3, 3), layouts=("scatter",), supports=("table",), images=1)
    rules.write(tmp_path / RULES_FILE)
    path = physics.scene_file(sys.executable, str(tmp_path / RULES_FILE), 2, tmp_path)
    assert path.read_text() == make(rules, 2).to_json()

    without = tmp_path / "python"
    without.write_text(f"#!/bin/sh\nexec {sys.executable} -S \"$@\"\n")
    without.chmod(0o755)
    with pytest.raises(MissingDependency, match="No module named 'numpy'"):
        physics.check_engines(without)
    with pytest.raises(SourceNotFound, match="no program"):
        physics.check_engines(tmp_path / "nothing")

    # Nothing fits; it is told with every draw, and ends at once.
    hopeless = Rules(seed=1, objects=(40, 40), layouts=("stack",), supports=("box",), tries=10_000)
    hopeless.write(tmp_path / RULES_FILE)
    cancel, refused = threading.Event(), []

    def tell(draw_: int, why: str) -> None:
        refused.append((draw_, why))
        cancel.set()

    with pytest.raises(Interrupted):
        physics.scene_file(
            sys.executable, str(tmp_path / RULES_FILE), 0, tmp_path, tell, cancel
        )
    assert refused and refused[0][0] == 0 and refused[0][1]
