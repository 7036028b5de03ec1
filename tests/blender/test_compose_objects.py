"""Scenes of assets of others: from a list and from Objaverse's UIDs to proved pictures."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
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
from objaverse_render_addon.compose.skies import PARTS
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
        "bookend": ("bookend", "csv"), "thing-b": ("desk lamp", "csv"),
    }  # fmt: skip
    # Upright by the list, which says its height, too: a lamp is higher than it is wide.
    lamp = rows["thing-b"]
    assert lamp.longest_m == pytest.approx((0.3, 0.3)) and lamp.color[0] == "white"
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


def test_a_split_has_its_own_objects_and_stays_one(scenes, listed, tmp_path):
    # What was prepared is taken as it is.
    shutil.copytree(scenes / "objects", tmp_path / "set" / "objects")
    shutil.copy(scenes / "objects.json", tmp_path / "set")
    library = Library.read(scenes)
    parts = {part: library.part(part).names for part in PARTS}
    assert sorted(name for names in parts.values() for name in names) == sorted(library.names)
    part = max(parts, key=lambda one: len(parts[one]))
    rules = replace(RULES, split=part, kinds=(), layouts=("row",))
    report = compose(rules, 1, tmp_path / "set", SMALL, RunOptions.of(workers=1, timeout=300),
                     objects=[listed])  # fmt: skip
    assert report.ok, report.failed[0].error
    folder = tmp_path / "set" / "scene-000000"
    verdict = verify_asset(folder)
    assert verdict.ok, verdict.failed
    scene = Scene.read(folder / "scene.json")
    assert {obj.name for obj in scene.objects} <= {*parts[part]}
    assert scene.recipe["split"] == part
    # Another list is refused before anything of the set is another.
    before = (tmp_path / "set" / "objects.json").read_bytes()
    with pytest.raises(OutputExists, match="other rules"):
        run(tmp_path / "set", [listed.parent / "mug.glb"])
    assert (tmp_path / "set" / "objects.json").read_bytes() == before


def test_what_was_imported_once_comes_back_the_same(scenes, monkeypatch):
    import bpy

    from objaverse_render_addon.blender import composing, importers, kept

    path = scenes / "objects" / "bookend" / "mesh.glb"

    def state():
        importers.empty_blender()
        mesh = composing._imported(path)
        assert not len(bpy.data.libraries) and not len(bpy.data.objects)
        arrays = []
        for data, name, kind, width in (
            (mesh.vertices, "co", np.float32, 3), (mesh.loops, "vertex_index", np.int32, 1),
            (mesh.polygons, "material_index", np.int32, 1),
        ):  # fmt: skip
            values = np.empty(width * len(data), kind)
            data.foreach_get(name, values)
            arrays.append(values.tobytes())
        names = [(one.name, one.use_backface_culling) for one in mesh.materials]
        nodes = [
            [[node.bl_idname, *(tuple(socket.default_value) for socket in node.inputs
                                if socket.type == "RGBA")] for node in one.node_tree.nodes]
            for one in mesh.materials
        ]  # fmt: skip
        return mesh.name, names, nodes, arrays, len(bpy.data.materials), len(bpy.data.meshes)

    first = state()
    assert len(first[1]) == 2 and first[4:] == (2, 1)
    monkeypatch.setattr(composing, "_meshes", None)
    assert state() == first
    # What takes too much room goes, and is imported again.
    monkeypatch.undo()
    monkeypatch.setattr(kept, "_MOST", 0)
    assert state() == first and not kept._sizes
    assert state() == first


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
