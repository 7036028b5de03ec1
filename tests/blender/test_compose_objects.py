"""Scenes of assets of others: from a list and from Objaverse's UIDs to proved pictures."""

import json
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("mujoco")
pytest.importorskip("rapier3d")

sys.path.insert(0, str(Path(__file__).parents[1] / "compose"))
import foreign
import made_up_annotations as made_up
from objaverse_server import serving

from objaverse_render_addon.assets.annotations import LVIS
from objaverse_render_addon.batch.compose import compose
from objaverse_render_addon.batch.objects import prepare
from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.compose.objects.library import Library
from objaverse_render_addon.compose.record import Scene
from objaverse_render_addon.compose.rules import Rules
from objaverse_render_addon.dataset.verify import verify_asset
from objaverse_render_addon.errors import OutputExists

from .test_compose import SMALL, same_bytes

RULES = Rules(seed=3, objects=(4, 5), layouts=("scatter", "stack"), supports=("table",), images=1,
              kinds=("can",))  # fmt: skip
REASONS = {
    "model-1": "no-name", "pear": "not-one-object", "bottle": "not-closed",
    "glass": "empty-pictures", "candle": "not-standing", "broken_vase": "truncated-file",
}  # fmt: skip


def run(out, objects, workers=2, scenes=2, **options):
    return compose(
        RULES, scenes, out, SMALL, RunOptions.of(workers=workers, timeout=300, **options),
        objects=objects,
    )  # fmt: skip


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    return foreign.collection(tmp_path_factory.mktemp("assets") / "in")


@pytest.fixture(scope="module")
def scenes(listed, tmp_path_factory):
    out = tmp_path_factory.mktemp("composed")
    report = run(out, [listed])
    assert [result.status for result in report.results] == ["done", "done"]
    return out


def test_what_is_used_and_what_is_left_out(scenes, listed):
    library = Library.read(scenes)
    rows = {one.asset: one for one in library.objects}
    assert {one.asset: one.reason for one in library.left_out} == REASONS
    assert {asset: (one.name, one.size_from) for asset, one in rows.items()} == {
        "mug": ("mug", "file"), "soup_bowl_02": ("soup bowl", "category:soup bowl"),
        "banana": ("banana", "file"), "thing-a": ("gift box", "csv"),
        "bookend": ("bookend", "csv"),
    }  # fmt: skip
    assert rows["mug"].rim == pytest.approx(1, abs=0.1) and rows["thing-a"].rim is None
    assert [rows[name].color[0] for name in ("mug", "soup_bowl_02", "banana", "thing-a")] == [
        "red", "blue", "yellow", "green"]  # fmt: skip
    assert rows["thing-a"].longest_m == (0.14, 0.14) and rows["thing-a"].category == "box"
    assert (rows["thing-a"].license, rows["mug"].license) == ("by", "unknown")
    said = (scenes / "objects.csv").read_text() + (scenes / "CREDITS.md").read_text()
    assert "Attribution 4.0" in said and str(listed.parent) not in said


def test_scenes_of_them_are_proved(scenes):
    sources = set()
    for folder in sorted(scenes.glob("scene-*")):
        verdict = verify_asset(folder)
        assert verdict.ok, verdict.failed
        assert sum(verdict.sentences.values()) > 5
        for obj in Scene.read(folder / "scene.json").objects:
            sources.add(obj.source)
            if obj.name == "gift box":
                assert max(obj.size_m) == pytest.approx(0.14, abs=1e-6)
        classes = json.loads((scenes / "classes.json").read_text())
        assert "object-???-gift box" in classes
    assert len(sources) >= 2 and any(one.endswith(".glb") for one in sources)


@pytest.mark.long
def test_one_worker_writes_the_same(scenes, listed, tmp_path):
    # What was prepared is taken as it is.
    for name in ("objects.json", "objects"):
        (shutil.copytree if name == "objects" else shutil.copy)(scenes / name, tmp_path / name)
    assert [one.status for one in run(tmp_path, [listed], 1).results] == ["done", "done"]
    same_bytes(scenes, tmp_path)
    with pytest.raises(OutputExists, match="other rules"):
        run(tmp_path, [listed.parent / "mug.glb"])


def test_another_surface_is_found_out(scenes, tmp_path):
    shutil.copytree(scenes, tmp_path / "set")
    folder = next(iter(sorted((tmp_path / "set").glob("scene-*"))))
    data = json.loads((folder / "scene.json").read_text())
    place = next(i for i, one in enumerate(data["recipe"]["objects"]) if "asset" in one)
    asset = data["recipe"]["objects"][place]["asset"]
    data["objects"][place]["license"] = "cc0-but-not"
    rim = data["objects"][place]["rim_m"]
    data["objects"][place]["rim_m"] = None if rim else 0.05
    (folder / "scene.json").write_text(json.dumps(data))
    failed = verify_asset(folder).failed
    assert any("is made as" in one for one in failed)
    assert any("another opening" in one for one in failed)
    mesh = tmp_path / "set" / "objects" / asset / "mesh.ply"
    mesh.write_bytes(mesh.read_bytes()[:-1] + b"\7")
    assert any("not the surface" in one for one in verify_asset(folder).failed)


def test_uids_have_their_names_and_licences_from_the_catalogue(tmp_path, listed):
    licenses = ("by", "by-nc")
    records = [{**made_up.annotation(number), "license": license}
               for number, license in enumerate(licenses)]  # fmt: skip
    uids = [record["uid"] for record in records]
    with serving() as server:
        for name, content in made_up.shards(records).items():
            server.files[name] = made_up.packed(content)
            for uid in content:
                server.add(uid, (listed.parent / "mug.glb").read_bytes(), Path(name).name[:7])
        server.files[LVIS] = made_up.packed({"teacup": uids})
        options = RunOptions.of(
            workers=1, download_dir=tmp_path / "cache", endpoint=server.endpoint
        )
        library = prepare([*uids, tmp_path / "gone_mug.glb"], tmp_path / "two", options)
    assert Library.read(tmp_path / "two") == library
    (one,) = library.objects
    reasons = {left.source: left.reason for left in library.left_out}
    assert reasons == {uids[1]: "license", "gone_mug.glb": "source-not-found"}
    assert (one.name, one.license, one.source) == ("teacup", "by", uids[0])
    assert one.size_from == "file"
    assert records[0]["user"]["displayName"] in (tmp_path / "two" / "CREDITS.md").read_text()
