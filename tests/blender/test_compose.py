"""Composed scenes through the whole engine: files that agree, and agree with a second run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("rapier3d")

from objaverse_render_addon.batch.compose import classes_table, compose
from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.cameras import Camera
from objaverse_render_addon.compose import expressions
from objaverse_render_addon.compose.drawing import nearest
from objaverse_render_addon.compose.proving import problems_of
from objaverse_render_addon.compose.record import Scene
from objaverse_render_addon.compose.rules import Rules
from objaverse_render_addon.compose.seen import coverage
from objaverse_render_addon.compose.things import thing_of
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.dataset.verify import verify_asset
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


def test_hardly_anything_is_burnt_out_or_dark(scenes):
    """What shines at the camera may be, and is a doubt then."""
    burnt = count = 0
    for folder in sorted(scenes.glob("scene-*")):
        views = json.loads((folder / "metadata.json").read_text())["views"]
        for view in Scene.read(folder / "scene.json").views:
            worst = max(seen.clipped_fraction for seen in view.objects)
            status, value = views[view.view]["checks"]["objects_not_burnt_out"]
            assert (status, value) == ("doubt" if worst > 0.25 else "ok", pytest.approx(worst))
            for seen in view.objects:
                burnt, count = burnt + (seen.clipped_fraction > 0.05), count + 1
                assert not seen.visible_pixels or seen.shaded_colors.get("black", 0) < 1 or (
                    seen.albedo_colors.get("black", 0) > 0.5
                )
    assert burnt <= 0.1 * count


def same_bytes(scenes, other):
    """Two sets have the same files, but for what metadata say of time and place."""
    names = sorted(path.relative_to(scenes) for path in scenes.glob("scene-*/*"))
    assert names == sorted(path.relative_to(other) for path in other.glob("scene-*/*"))
    assert {"scene.json", "expressions.json"} <= {name.name for name in names}
    for name in names:
        if name.name != "metadata.json":
            assert (scenes / name).read_bytes() == (other / name).read_bytes(), name
            continue
        one, two = (json.loads((root / name).read_text()) for root in (scenes, other))
        assert one["views"] == two["views"]
        assert one["sha256"] == two["sha256"]


def test_two_workers_write_the_same(scenes, tmp_path):
    assert [result.status for result in made(tmp_path, 2).results] == ["done", "done"]
    same_bytes(scenes, tmp_path)


@pytest.mark.long
def test_four_workers_write_the_same(tmp_path):
    for workers in (1, 4):
        options = RunOptions.of(workers=workers, timeout=300)
        report = compose(RULES, 8, tmp_path / str(workers), SMALL, options)
        assert [result.status for result in report.results] == ["done"] * 8
    same_bytes(tmp_path / "1", tmp_path / "4")


def test_shards_write_the_same(scenes, tmp_path):
    # By the hash of their names the two scenes are in these parts of four.
    for part in (0, 2):
        options = RunOptions.of(workers=1, timeout=300, shard=(part, 4))
        report = compose(RULES, 2, tmp_path, SMALL, options)
        assert [result.status for result in report.results] == ["done"]
    same_bytes(scenes, tmp_path)


_CALL = """
import sys
sys.path[:0] = {folders}
from test_compose import made
made({out!r}, 1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_run_goes_on_to_the_same(scenes, tmp_path):
    out = tmp_path / "set"
    here = Path(__file__).parent
    call = _CALL.format(folders=[str(here), str(here.parents[1])], out=str(out))
    process = subprocess.Popen([sys.executable, "-c", call], start_new_session=True)
    try:
        end = time.monotonic() + 120
        while not list(out.glob("scene-*")) and time.monotonic() < end:
            assert process.poll() is None
            time.sleep(0.005)
        done = [path.name for path in out.glob("scene-*")]
        assert len(done) == 1, "it ended before it was killed"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    # Half a file of sentences is made again, too.
    (out / done[0] / "expressions.json").write_text('{"version": 1, ')
    report = made(out, 1)
    assert sorted(result.status for result in report.results) == ["done", "skipped"]
    same_bytes(scenes, out)


def changed(scenes, folder, edit):
    """A copy of a scene with another ``scene.json``; what verification says of it."""
    shutil.copytree(scenes / "scene-000000", folder)
    path = folder / "scene.json"
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))
    return " ".join(verify_asset(folder).failed)


def test_verification_proves_a_scene(scenes):
    for folder in sorted(scenes.glob("scene-*")):
        assert not verify_asset(folder).failed


def lifted(data):
    for row in data["objects"][0]["pose"][2:3]:
        row[3] += 0.004


def aside(data):
    data["objects"][0]["pose"][0][3] += 0.003


def away(data):
    # Along the line of sight of no camera: all of it is elsewhere.
    data["objects"][0]["pose"][1][3] += 0.05


def swapped(data):
    first, second = data["objects"][:2]
    first["pose"], second["pose"] = second["pose"], first["pose"]


def larger(data):
    data["objects"][0]["size_m"][2] *= 1.01


def renamed(data):
    data["objects"][0]["name"] = "thing"


def counted(data):
    data["views"][1]["objects"][0]["amodal_pixels"] += 1


def mirrored(data):
    for row in data["objects"][0]["pose"][:3]:
        row[0] = -row[0]


def unheld(data):
    data["objects"][0]["contacts"] = []


@pytest.mark.parametrize(("edit", "said"), [
    (lifted, "not at rest"), (aside, "of object 1 are not the picture's"),
    (away, "is seen where its pose has nothing of it"),
    (swapped, "is not seen where it is the nearest"),
    (larger, "stated is"), (renamed, "is made as"),
    (counted, "view 1: amodal_pixels of object 1"), (mirrored, "bent or mirrored"),
    (unheld, "an object is held by nothing"),
])  # fmt: skip
def test_verification_sees_what_is_wrong_with_a_scene(scenes, tmp_path, edit, said):
    assert said in changed(scenes, tmp_path / "scene-000000", edit)


@pytest.mark.parametrize(("other", "said"), [
    (2, "object 1 ({}) is seen where its pose has nothing of it"),
    (None, "object 1 ({}) is not seen where it is the nearest"),
])  # fmt: skip
def test_verification_sees_ids_that_are_exchanged(scenes, tmp_path, other, said):
    folder = tmp_path / "scene-000000"
    shutil.copytree(scenes / folder.name, folder)
    scene = Scene.read(folder / "scene.json")
    other = other or scene.stage[0].id
    path = folder / "000_instance_index.npy"
    ids = np.load(path)
    np.save(path, np.where(ids == 1, other, np.where(ids == other, 1, ids)).astype(ids.dtype))
    with AssetReader(folder) as reader:
        found = " ".join(problems_of(reader))
    assert said.format(scene.objects[0].name) in found


def test_a_surface_is_drawn_at_its_depth():
    corners = np.array([[-1.0, -1, -2], [1, -1, -2], [1, 1, -4], [-1, 1, -4]])
    intrinsics = np.array([[40.0, 0, 20], [0, 40, 20], [0, 0, 1]])
    camera = Camera(40, 40, intrinsics, np.eye(4))
    depth = nearest(camera, corners, np.array([[0, 1, 2], [0, 2, 3]]))
    rows, columns = np.nonzero(np.isfinite(depth))
    # The plane z = -3 - y, along each pixel's ray.
    y = -(rows + 0.5 - 20) / 40
    assert len(rows) > 300
    assert depth[rows, columns] == pytest.approx(3 / (1 - y), rel=1e-9)


def test_a_set_has_one_kind_of_rules(scenes):
    assert {result.status for result in made(scenes, 1).results} == {"skipped"}
    with pytest.raises(OutputExists, match="other rules"):
        compose(Rules(seed=12), 2, scenes, SMALL)


def test_a_scene_without_sentences_fails_alone(scenes, tmp_path, monkeypatch):
    shutil.copytree(scenes, tmp_path / "set")
    for name in ("scene-000000", "scene-000001"):
        (tmp_path / "set" / name / "expressions.json").unlink()
    real = expressions.write

    def write(folder, **how):
        if folder.name == "scene-000000":
            raise ZeroDivisionError("of a margin")
        return real(folder, **how)

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
