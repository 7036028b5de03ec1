"""Composed scenes through the whole engine: files that agree, and agree with a second run."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("rapier3d")

from objaverse_render_addon.batch.compose import classes_table, compose
from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.cameras import Camera
from objaverse_render_addon.compose import expressions
from objaverse_render_addon.compose.record import Scene
from objaverse_render_addon.compose.rules import Rules
from objaverse_render_addon.compose.seen import coverage
from objaverse_render_addon.compose.things import thing_of
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.errors import OutputExists

RULES = Rules(seed=11, objects=(3, 4), layouts=("scatter", "grid"), supports=("table",), images=2)
SMALL = {
    "pixels.resolution": (64, 64), "engine.samples": 4, "files.layout": "folder",
    "pixels.passes": (
        "rgb", "depth", "normal", "mask", "instance_index", "semantic_index", "albedo",
    ),
}  # fmt: skip


def made(out, workers):
    return compose(RULES, 2, out, SMALL, RunOptions.of(workers=workers, timeout=300))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    out = tmp_path_factory.mktemp("composed")
    report = made(out, 1)
    assert [result.status for result in report.results] == ["done", "done"]
    return out


def test_ids_are_the_objects(scenes):
    for folder in sorted(scenes.glob("scene-*")):
        scene = Scene.read(folder / "scene.json")
        assert len(scene.views) == 2
        classes = {name: row["id"] for name, row in
                   ((row["class"], row) for row in classes_table().values())}  # fmt: skip
        with AssetReader(folder) as reader:
            metadata = reader.metadata
            for place, view in enumerate(metadata["views"]):
                camera = Camera(
                    64, 64, np.array(view["intrinsics"]), np.array(view["camera_to_world"])
                )
                ids = np.load(folder / f"{place:03d}_instance_index.npy").squeeze()
                kinds = np.load(folder / f"{place:03d}_semantic_index.npy").squeeze()
                known = {part.id for part in scene.stage}
                assert set(np.unique(ids)) <= {obj.id for obj in scene.objects} | known
                for obj, seen in zip(scene.objects, scene.views[place].objects, strict=True):
                    visible = ids == obj.id
                    assert visible.sum() == seen.visible_pixels
                    assert set(np.unique(kinds[visible])) <= {classes[obj.name]}
                    # Mesh and pose of the file, projected, are where the picture has it.
                    mesh = thing_of(scene.recipe["objects"][obj.id - 1])
                    pose = np.array(obj.pose)
                    points = mesh.vertices @ pose[:3, :3].T + pose[:3, 3]
                    covered, _ = coverage(camera, points, mesh.triangles)
                    assert (visible & ~covered).sum() <= 1
                    if seen.visible_fraction == 1:
                        assert (visible ^ covered).sum() <= 1
                assert sum(seen.visible_pixels > 0 for seen in scene.views[place].objects) >= 2


def test_nothing_is_burnt_out_or_dark(scenes):
    for folder in sorted(scenes.glob("scene-*")):
        for view in Scene.read(folder / "scene.json").views:
            for seen in view.objects:
                assert seen.clipped_fraction < 0.25
                assert not seen.visible_pixels or seen.shaded_colors.get("black", 0) < 1 or (
                    seen.albedo_colors.get("black", 0) > 0.5
                )


def test_two_workers_write_the_same(scenes, tmp_path):
    assert [result.status for result in made(tmp_path, 2).results] == ["done", "done"]
    names = sorted(path.relative_to(scenes) for path in scenes.glob("scene-*/*"))
    assert names == sorted(path.relative_to(tmp_path) for path in tmp_path.glob("scene-*/*"))
    for name in names:
        if name.name != "metadata.json":
            assert (scenes / name).read_bytes() == (tmp_path / name).read_bytes(), name
    one, two = (
        json.loads((root / "scene-000001" / "metadata.json").read_text())
        for root in (scenes, tmp_path)
    )
    assert one["views"] == two["views"]
    assert one["sha256"] == two["sha256"]


def test_a_set_has_one_kind_of_rules(scenes):
    assert {result.status for result in made(scenes, 1).results} == {"skipped"}
    with pytest.raises(OutputExists, match="other rules"):
        compose(Rules(seed=12), 2, scenes, SMALL)


def test_a_scene_without_sentences_fails_alone(scenes, tmp_path, monkeypatch):
    shutil.copytree(scenes, tmp_path / "set")
    for name in ("scene-000000", "scene-000001"):
        (tmp_path / "set" / name / "expressions.json").unlink()
    real = expressions.write

    def write(folder):
        if folder.name == "scene-000000":
            raise ZeroDivisionError("of a margin")
        return real(folder)

    monkeypatch.setattr(expressions, "write", write)
    report = made(tmp_path / "set", 1)
    first, second = report.results
    assert (first.status, second.status) == ("failed", "skipped")
    assert "scene-000000: its sentences could not be made: ZeroDivisionError" in str(first.error)
    assert (report.counts["failed"], report.counts["skipped"]) == (1, 1)
    assert report.exit_code == 1
    assert (tmp_path / "set" / "scene-000001" / "expressions.json").exists()
    # Once they can be made, the next run makes them.
    monkeypatch.setattr(expressions, "write", real)
    assert made(tmp_path / "set", 1).ok
    assert (tmp_path / "set" / "scene-000000" / "expressions.json").exists()
