"""Scenes on a user's stage: from a .blend to proved pictures."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("rapier3d")

from objaverse_render_addon.batch.compose import compose
from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.stages import prepare_stage
from objaverse_render_addon.compose.make import make
from objaverse_render_addon.compose.record import Scene
from objaverse_render_addon.compose.rules import Rules
from objaverse_render_addon.compose.staged import staged as stage_of
from objaverse_render_addon.compose.stages import digest_of, stages_in, support_of
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.dataset.verify import verify_asset
from objaverse_render_addon.errors import InvalidGeometry, OutputExists

from . import scenes as blends
from .test_compose import SMALL

RULES = Rules(seed=5, objects=(3, 4), layouts=("scatter",), images=2,
              kinds=("mug", "box", "can", "lamp"))  # fmt: skip


def room(path):
    import bpy

    def block(name, size, at, color):
        bpy.ops.mesh.primitive_cube_add(size=1, location=at)
        obj = bpy.context.object
        obj.name, obj.scale = name, size
        material = bpy.data.materials.new(name)
        material.diffuse_color = (*color, 1)
        obj.data.materials.append(material)
        return obj

    with blends.new_blend(path):
        block("Floor", (5, 5, 0.1), (1, 0, -0.05), (0.3, 0.2, 0.1))
        block("Wall", (5, 0.1, 2.5), (1, 2.0, 1.25), (0.8, 0.8, 0.7))
        block("Ceiling", (5, 5, 0.1), (1, 0, 2.6), (0.9, 0.9, 0.9))
        top = block("Desk", (1.4, 0.8, 0.05), (1, 1.0, 0.725), (0.5, 0.3, 0.1))
        top["objaverse_surface"] = True
        block("Desk Lamp", (0.15, 0.15, 0.4), (1.55, 1.25, 0.95), (0.1, 0.1, 0.6))
    return path


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    root = tmp_path_factory.mktemp("staged")
    blend = room(root / "room.blend")
    said = []
    report = compose(
        RULES, 1, root / "out", SMALL, RunOptions.of(workers=1, timeout=300), stage=blend,
        on_event=lambda event: said.append(getattr(event, "text", "")),
    )  # fmt: skip
    assert [result.status for result in report.results] == ["done"], report.results[0].error
    return root, said


def test_it_is_found_and_written(staged):
    root, said = staged
    (stage,) = stages_in(root / "out")
    assert (stage.surface, stage.found_by, stage.source) == ("Desk", "property", "room.blend")
    assert stage.around == ("Ceiling", "Desk Lamp", "Floor", "Wall")
    assert stage.size_m[0] == pytest.approx(1.17, abs=0.05)
    scene = Scene.read(root / "out" / "scene-000000" / "scene.json")
    assert [part.name for part in scene.stage] == ["surface", "surroundings", "floor", "walls"]
    assert scene.recipe["stage"]["file_sha256"] == stage.file_sha256
    assert scene.support.kind == "stage"
    # It has a lamp itself, of which no sentence knows.
    assert all(obj.name != "lamp" for obj in scene.objects)
    assert any("Not drawn" in text and "lamp" in text for text in said)


def test_it_is_proved_and_nobody_speaks_of_things(staged):
    folder = staged[0] / "out" / "scene-000000"
    verdict = verify_asset(folder)
    assert verdict.ok, verdict.failed
    assert sum(verdict.sentences.values()) > 5
    said = json.loads((folder / "expressions.json").read_text())["expressions"]
    assert said and all(one["form"][1] not in ("thing", "toy", "tool") for one in said)
    scene = Scene.read(folder / "scene.json")
    with AssetReader(folder) as asset:
        for place in range(2):
            ids = asset.read(place, ("instance_index",))["instance_index"]
            seen = set(np.unique(ids).tolist())
            assert {scene.stage[0].id, scene.stage[1].id} <= seen
            # Light is let through the ceiling, and no view is as good as black.
            assert asset.read(place, ("rgb",))["rgb"][..., :3].mean() > 40


def test_another_stage_is_told_from_it(staged, tmp_path):
    root, _ = staged
    out = tmp_path / "out"
    shutil.copytree(root / "out", out)
    folder = out / "scene-000000"
    path = folder / "scene.json"
    data = json.loads(path.read_text())
    data["recipe"]["stage"]["pose"][2][3] += 0.01
    path.write_text(json.dumps(data))
    verdict = verify_asset(folder)
    assert not verdict.ok and any("its stage is another" in one for one in verdict.failed)
    # All of it a little elsewhere: the pictures say so.
    row = json.loads((out / "stage.json").read_text())
    row["stages"][0]["pose"][2][3] += 0.01
    (out / "stage.json").write_text(json.dumps(row))
    verdict = verify_asset(folder)
    assert not verdict.ok
    assert any("is seen where the stage has none" in one for one in verdict.failed)
    assert any("is elsewhere" in one for one in verdict.failed)
    # Another surface in the file that was read a moment ago.
    (surface,) = out.glob("*/*/mesh.ply")
    surface.write_bytes(surface.read_bytes() + b" ")
    verdict = verify_asset(folder)
    assert any("not the surface that the scenes were made with" in one for one in verdict.failed)


def test_what_is_none_is_refused_and_others_do_not_mix(staged, tmp_path):
    root, _ = staged
    options = RunOptions.of(workers=1, timeout=300)
    with pytest.raises(InvalidGeometry, match=r"called 'Sofa'.*Ceiling, Desk"):
        compose(RULES, 1, tmp_path / "out", SMALL, options, stage=root / "room.blend",
                surfaces=["Sofa"])  # fmt: skip
    with pytest.raises(OutputExists):
        compose(RULES, 1, root / "out", SMALL, options)


def test_each_scene_stands_on_one_of_several_surfaces(staged, tmp_path):
    root, _ = staged
    options = RunOptions.of(workers=1, timeout=300)
    stages = prepare_stage(root / "room.blend", tmp_path, options, surfaces=["Desk", "Floor"])
    assert stages_in(tmp_path) == stages
    assert [(one.surface, one.found_by) for one in stages] == [("Desk", "name"), ("Floor", "name")]
    assert all({"Desk", "Floor"} - {one.surface} <= {*one.around} for one in stages)
    rules = replace(RULES, stage=digest_of(stages), kinds=("mug", "can"))
    on = [make(rules, index, stages=(stages, tmp_path)) for index in range(2)]
    assert {scene.recipe["stage"]["surface"] for scene in on} == {"Desk", "Floor"}
    for scene in on:
        mine = next(one for one in stages if one.surface == scene.recipe["stage"]["surface"])
        assert scene.support == support_of(mine)
        # The floor is a metre lower than the desk, and at Z = 0 all the same.
        assert mine.floor_m == pytest.approx(-0.85 if mine.surface == "Desk" else -0.1, abs=1e-5)
        assert stage_of(scene, tmp_path)[1] == []
    # Other surfaces are refused before anything of a set is another.
    before = (root / "out" / "stage.json").read_bytes()
    with pytest.raises(OutputExists, match="other rules"):
        prepare_stage(root / "room.blend", root / "out", options, surfaces=["Floor"])
    assert (root / "out" / "stage.json").read_bytes() == before

