"""BOP scenes, read by the format's description and by the toolkit's definitions."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import Box, Sphere, Union
from exporting import emptied, exported, notes, seen_points, stored
from PIL import Image

from objaverse_render_addon.dataset.export import Options, export
from objaverse_render_addon.dataset.export import bop as bop_module
from objaverse_render_addon.dataset.export.bop import depth_scale
from objaverse_render_addon.errors import (
    CheckFailed,
    FormatCannotHold,
    MissingPass,
    OutputNotWritable,
)
from objaverse_render_addon.frame import Frame

ALL = (1.0, 0.0, 0.0)


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def scene_of(out: Path, number: int = 0, split: str = "train") -> dict[str, Any]:
    folder = out / f"{split}_pbr/{number:06d}"
    names = ("scene_camera", "scene_gt", "scene_gt_info", "scene_gt_coco")
    return {"folder": folder, **{name: load(folder / f"{name}.json") for name in names}}


def decoded(rle: dict[str, Any]) -> np.ndarray:
    """Run lengths by their definition: unset first, down the columns."""
    values = np.arange(len(rle["counts"])) % 2
    return np.repeat(values, rle["counts"]).reshape(rle["size"], order="F")


def test_surface_points_project_to_the_pixels_that_show_them(tmp_path: Path):
    reader = stored(tmp_path / "data", cameras={"shift": (0.1, -0.05), "pixel_aspect": 1.2})
    out, report = exported(tmp_path, "bop", split=ALL)
    scene = scene_of(out)
    for view in range(4):
        camera, (truth,) = scene["scene_camera"][str(view)], scene["scene_gt"][str(view)]
        k = np.array(camera["cam_K"]).reshape(3, 3)
        points, centres = seen_points(reader, view, scale=1000)
        poses = ((camera["cam_R_w2c"], camera["cam_t_w2c"]),
                 (truth["cam_R_m2c"], truth["cam_t_m2c"]))  # fmt: skip
        for rotation, translation in poses:
            local = points @ np.array(rotation).reshape(3, 3).T + translation
            uv = (local @ k.T)[:, :2] / local[:, 2:]
            # The toolkit's misc.depth_im_to_dist_im counts from the first pixel's centre.
            assert np.abs(uv - (centres - 0.5)).max() < 2e-3
        depth = pixels(scene["folder"] / f"depth/{view:06d}.png")
        columns, rows = (centres - 0.5).astype(int).T
        assert depth.dtype == np.uint16
        error = np.abs(depth[rows, columns] * camera["depth_scale"] - local[:, 2])
        assert error.max() <= camera["depth_scale"] / 2 + 1e-3
        assert (depth > 0).sum() == len(points)
    assert "1000 mm" in notes(report, "differs")
    assert "half a pixel" in notes(report, "differs")


def test_masks_boxes_and_counts_follow_the_toolkit(tmp_path: Path):
    reader = stored(tmp_path / "data", change=emptied(2))
    out, report = exported(tmp_path, "bop", split=ALL)
    scene = scene_of(out)
    coco = scene["scene_gt_coco"]
    found = {a["image_id"]: a for a in coco["annotations"]}
    assert sorted(found) == [0, 1, 3]
    assert [image["file_name"] for image in coco["images"]][2] == "rgb/000002.png"
    for view in range(4):
        mask = reader.read(view)["mask"] == 1
        for name in ("mask", "mask_visib"):
            stored_mask = pixels(scene["folder"] / f"{name}/{view:06d}_000000.png")
            assert np.array_equal(stored_mask, mask * np.uint8(255))
        (info,) = scene["scene_gt_info"][str(view)]
        count = int(mask.sum())
        assert [info[f"px_count_{name}"] for name in ("all", "valid", "visib")] == [count] * 3
        if view == 2:
            assert info["bbox_obj"] == info["bbox_visib"] == [-1, -1, -1, -1]
            assert info["visib_fract"] == 0
            continue
        rows, columns = np.nonzero(mask)
        # misc.calc_2d_bbox: last minus first, without one more.
        box = [columns.min(), rows.min(), np.ptp(columns), np.ptp(rows)]
        assert info["bbox_obj"] == info["bbox_visib"] == [int(number) for number in box]
        assert info["visib_fract"] == 1
        left, top, width, height = info["bbox_obj"]
        assert found[view]["bbox"] == [left, top, width + 1, height + 1]
        assert found[view]["area"] == count
        assert (decoded(found[view]["segmentation"]) == mask).all()
    (note,) = [note for note in report.notes if "no visible part" in note["text"]]
    assert note["amount"] == 1


def test_one_pixel_has_a_box_of_no_width(tmp_path: Path):
    def dot(frames: list[Frame], _record: dict[str, Any]) -> None:
        rows, columns = np.nonzero(frames[0].passes["mask"])
        frames[0].passes["mask"][...] = 0
        frames[0].passes["mask"][rows[5], columns[5]] = 1

    stored(tmp_path / "data", change=dot)
    out, _ = exported(tmp_path, "bop", split=ALL)
    scene = scene_of(out)
    assert scene["scene_gt_info"]["0"][0]["bbox_obj"][2:] == [0, 0]
    assert scene["scene_gt_coco"]["annotations"][0]["bbox"][2:] == [1, 1]
    assert (pixels(scene["folder"] / "depth/000000.png") > 0).sum() == 1


def test_an_object_that_leaves_the_picture_has_its_whole_box_and_is_told(tmp_path: Path):
    near = {"radius": (1.6, 1.6), "fov": (50.0, 50.0), "framing": "allow"}
    reader = stored(tmp_path / "data", pattern="ring", cameras=near)
    out, report = exported(tmp_path, "bop", split=ALL)
    info = scene_of(out)["scene_gt_info"]
    for view in range(4):
        left, top, right, bottom = reader.views[view]["object_box_px"]
        x, y, width, height = info[str(view)][0]["bbox_obj"]
        assert abs(x - left) <= 1
        assert abs(y - top) <= 1
        assert abs(x + width - right) <= 2
        assert abs(y + height - bottom) <= 2
    assert any(info[str(view)][0]["bbox_obj"][0] < 0 for view in range(4))
    assert "leaves the picture" in notes(report, "dropped")


@pytest.mark.parametrize(
    ("deepest", "scale"),
    [(65535, 1), (65536, 2), (65.535, 0.001), (3000, 0.05), (6553.5, 0.1), (6553.6, 0.2),
     (131070.5, 5), (0.0, 1e-6), (1e9, 20000)],
)  # fmt: skip
def test_the_finest_step_that_holds_the_depth_is_taken(deepest: float, scale: float):
    assert depth_scale(deepest) == scale
    assert deepest <= 65535 * scale


@pytest.mark.parametrize("factor", [0.01, 1.0, 300.0])
def test_depth_of_any_reach_is_held_and_its_step_told(tmp_path: Path, factor: float):
    def scaled(frames: list[Frame], _record: dict[str, Any]) -> None:
        for frame in frames:
            frame.passes["depth"] *= np.float32(factor)

    reader = stored(tmp_path / "data", change=scaled)
    out, report = exported(tmp_path, "bop", split=ALL)
    scene = scene_of(out)
    step = scene["scene_camera"]["0"]["depth_scale"]
    for view in range(4):
        depth = pixels(scene["folder"] / f"depth/{view:06d}.png") * step
        truth = 1000 * reader.read(view)["depth"].astype(np.float64)
        assert np.abs(depth - truth).max() <= step * 0.5001
    (note,) = [note for note in report.notes if note["kind"] == "quantised"]
    assert note["worst"] == step / 2
    assert load(out / "camera.json")["depth_scale"] == step


def test_more_views_than_a_scene_holds_become_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bop_module, "MOST_IMAGES", 3)
    reader = stored(tmp_path / "data", "a", views=7)
    stored(tmp_path / "data", "b", views=2)
    out, _ = exported(tmp_path, "bop", split=ALL)
    counts = [len(scene_of(out, number)["scene_gt"]) for number in range(4)]
    assert counts == [3, 3, 1, 2]
    last = scene_of(out, 2)
    assert [gt["obj_id"] for gt in last["scene_gt"]["0"]] == [1]
    assert [gt["obj_id"] for gt in scene_of(out, 3)["scene_gt"]["1"]] == [2]
    mask = reader.read(6)["mask"] == 1
    assert ((pixels(last["folder"] / "depth/000000.png") > 0) == mask).all()
    again = export(tmp_path / "data", out, "bop", Options(split=ALL))
    assert [outcome.status for outcome in again.outcomes] == ["skipped"] * 2


def test_scenes_that_an_asset_no_longer_has_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bop_module, "MOST_IMAGES", 2)
    stored(tmp_path / "data", "a", views=5)
    stored(tmp_path / "data", "b", views=1)
    out, _ = exported(tmp_path, "bop", split=ALL)
    (out / "models/obj_000001.ply").write_text("of another render")
    shutil.rmtree(tmp_path / "data/a")
    stored(tmp_path / "data", "a", views=2)
    exported(tmp_path, "bop", split=ALL)
    assert sorted(path.name for path in (out / "train_pbr").iterdir()) == ["000000", "000003"]
    assert not (out / "models/obj_000001.ply").exists()


def test_negative_depth_is_refused(tmp_path: Path):
    def spoiled(frames: list[Frame], _record: dict[str, Any]) -> None:
        frames[2].passes["depth"][5, 5] = -1

    stored(tmp_path / "data", change=spoiled)
    report = export(tmp_path / "data", tmp_path / "out", "bop", Options())
    assert [type(outcome.error) for outcome in report.outcomes] == [CheckFailed]


def test_a_thousand_images_is_what_a_scene_holds():
    assert bop_module.MOST_IMAGES == 1000


def test_numbers_stay_when_assets_are_added_or_rendered_again(tmp_path: Path):
    stored(tmp_path / "data", "m")
    out, _ = exported(tmp_path, "bop", split=ALL)
    stored(tmp_path / "data", "a")
    exported(tmp_path, "bop", split=ALL)
    numbers = load(out / "objects.json")
    assert {name: (n["obj_id"], n["scenes"]) for name, n in numbers.items()} == {
        "m": (1, [0]), "a": (2, [1]),
    }  # fmt: skip
    before = (out / "train_pbr/000001/rgb/000000.png").stat().st_mtime_ns
    shutil.rmtree(tmp_path / "data/m")
    stored(tmp_path / "data", "m", views=3)
    _, report = exported(tmp_path, "bop", split=ALL)
    assert [outcome.status for outcome in report.outcomes] == ["skipped", "done"]
    assert load(out / "objects.json") == numbers
    assert len(scene_of(out, 0)["scene_gt"]) == 3
    pictures = (out / "train_pbr/000000/rgb").iterdir()
    assert sorted(path.name for path in pictures) == [f"00000{n}.png" for n in range(3)]
    assert (out / "train_pbr/000001/rgb/000000.png").stat().st_mtime_ns == before
    assert sorted(load(out / "models/models_info.json")) == ["1", "2"]


def test_a_run_that_stopped_before_its_end_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("a", "b"):
        stored(tmp_path / "data", name)
    real = bop_module.replace_place
    moved: list[Path] = []

    def stop(part: Path, final: Path) -> None:
        if moved:
            raise KeyboardInterrupt
        moved.append(final)
        real(part, final)

    monkeypatch.setattr(bop_module, "replace_place", stop)
    with pytest.raises(KeyboardInterrupt):
        exported(tmp_path, "bop", split=ALL)
    monkeypatch.undo()
    out, report = exported(tmp_path, "bop", split=ALL)
    assert [outcome.status for outcome in report.outcomes] == ["skipped"] * 2
    assert [len(scene_of(out, number)["scene_gt"]) for number in (0, 1)] == [4, 4]


def test_a_lost_picture_is_written_again(tmp_path: Path):
    stored(tmp_path / "data")
    out, _ = exported(tmp_path, "bop", split=ALL)
    lost = out / "train_pbr/000000/depth/000001.png"
    lost.unlink()
    _, report = exported(tmp_path, "bop", split=ALL)
    assert [outcome.status for outcome in report.outcomes] == ["done"]
    assert lost.is_file()


def test_lost_numbers_are_no_reason_to_guess(tmp_path: Path):
    stored(tmp_path / "data")
    out, _ = exported(tmp_path, "bop", split=ALL)
    (out / "objects.json").write_text("{")
    for _ in range(2):
        with pytest.raises(OutputNotWritable, match=r"objects\.json"):
            export(tmp_path / "data", out, "bop", Options(split=ALL))
        assert len(scene_of(out)["scene_gt"]) == 4
        (out / "objects.json").unlink(missing_ok=True)


def samples(shard: Path) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(shard, "r:") as archive:
        for member in archive:
            key, _, extension = member.name.partition(".")
            found.setdefault(key, {})[extension] = archive.extractfile(member).read()
    return found


def test_shards_hold_what_the_scenes_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bop_module, "MOST_IMAGES", 3)
    stored(tmp_path / "data", "a", views=5, change=emptied(1))
    stored(tmp_path / "data", "b", views=1)
    plain, _ = exported(tmp_path, "bop", split=ALL)
    plain = plain.rename(tmp_path / "plain")
    out, _ = exported(tmp_path, "bop-webdataset", split=ALL)
    folder = out / "train_pbr_web"
    keys = load(folder / "key_to_shard.json")
    assert keys == {"000000_000000": 0, "000000_000001": 0, "000000_000002": 0,
                    "000001_000000": 1, "000001_000001": 1, "000002_000000": 2}  # fmt: skip
    for shard in (0, 1, 2):
        found = samples(folder / f"shard-{shard:06d}.tar")
        assert sorted(found) == [key for key, number in keys.items() if number == shard]
        scene = scene_of(plain, shard)
        for key, files in found.items():
            image = int(key.split("_")[1])
            for name, said in (("camera", "scene_camera"), ("gt", "scene_gt"),
                               ("gt_info", "scene_gt_info")):  # fmt: skip
                assert json.loads(files[f"{name}.json"]) == scene[said][str(image)]
            for name in ("rgb", "depth"):
                there = scene["folder"] / f"{name}/{image:06d}.png"
                assert files[f"{name}.png"] == there.read_bytes()
            for name in ("mask", "mask_visib"):
                shown = pixels(scene["folder"] / f"{name}/{image:06d}_000000.png")
                rles = json.loads(files[f"{name}.json"])
                assert list(rles) == ["0"]
                assert (decoded(rles["0"]) * 255 == shown).all()
    # The toolkit reads "rgb" and a suffix, which is .jpg unless it is told otherwise.
    page = (Path(__file__).parent.parent / "docs/export/bop.md").read_text(encoding="utf-8")
    suffix = re.search(r'rgb_suffix="([^"]+)"', page)[1]
    assert f"rgb{suffix}" in found["000002_000000"]
    assert load(out / "models/models_info.json") == load(plain / "models/models_info.json")
    again = export(tmp_path / "data", out, "bop-webdataset", Options(split=ALL))
    assert [outcome.status for outcome in again.outcomes] == ["skipped"] * 2
    last = folder / "shard-000002.tar"
    last.write_bytes(last.read_bytes()[:-100])
    again = export(tmp_path / "data", out, "bop-webdataset", Options(split=ALL))
    assert [outcome.status for outcome in again.outcomes] == ["skipped", "done"]
    assert sorted(samples(last)) == ["000002_000000"]
    shutil.rmtree(tmp_path / "data/a")
    stored(tmp_path / "data", "a", views=2)
    export(tmp_path / "data", out, "bop-webdataset", Options(split=ALL))
    assert not (folder / "shard-000001.tar").exists()
    assert sorted(load(folder / "key_to_shard.json")) == [
        "000000_000000", "000000_000001", "000002_000000",
    ]  # fmt: skip


def test_splits_are_folders_and_scenes_are_numbered_through(tmp_path: Path):
    for number in range(12):
        stored(tmp_path / "data", f"t{number}", views=1, resolution=(16, 16))
    out, report = exported(tmp_path, "bop", split=(0.4, 0.3, 0.3))
    found = {path.parent.name.split("_")[0]: 0 for path in out.glob("*_pbr/*")}
    numbers = []
    for path in out.glob("*_pbr/*"):
        found[path.parent.name.split("_")[0]] += 1
        numbers.append(int(path.name))
    assert found == {name: count for name, count in report.splits.items() if count}
    assert sorted(numbers) == list(range(12))


def test_the_model_has_its_size_and_its_mesh_is_told_to_be_missing(tmp_path: Path):
    stored(tmp_path / "data", views=12, pattern="fibonacci", resolution=(128, 128))
    out, report = exported(tmp_path, "bop", split=ALL)
    model = load(out / "models/models_info.json")["1"]
    assert [model[f"min_{axis}"] for axis in "xyz"] == [-1000, -500, -600]
    assert [model[f"size_{axis}"] for axis in "xyz"] == [2000, 1000, 1200]
    # From the box's far corners to the ball, which reaches 0.4 further than its centre.
    far = np.linalg.norm(np.array([-1.0, -0.5, -0.6]) - [0.6, 0.1, 0.2]) + 0.4
    assert 0.985 * far < model["diameter"] / 1000 <= far
    assert not list((out / "models").glob("*.ply"))
    assert "no .ply: meshes are read from" in notes(report, "dropped")
    camera = load(out / "camera.json")
    assert sorted(camera) == ["cx", "cy", "depth_scale", "fx", "fy", "height", "width"]
    assert (camera["cx"], camera["width"]) == (63.5, 128)


BOX = Box((-1.0, -0.6, -0.4), (1.0, 0.6, 0.4))
# Blender's importers turn these formats' Y up into its Z up.
TO_Y_UP = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def sourced(path: Path, made: Any, turn: bool, scale: float = 1.0, **said: Any) -> Any:
    """Make the asset's source file of a mesh that is given as Blender has it, normalised."""
    made = made.copy()
    made.apply_translation([-0.5, 0.25, 3.0])
    made.apply_scale(1 / scale)
    if turn:
        made.apply_transform(TO_Y_UP)
    made.export(path)
    translation = (np.array([0.5, -0.25, -3.0])).tolist()

    def change(_frames: list[Frame], record: dict[str, Any]) -> None:
        record["file_identifier"] = str(path)
        record["file_type"] = path.suffix[1:]
        record["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        record["normalization"] |= {"scale": scale, "translation": translation}
        record |= said

    return change


@pytest.mark.parametrize(
    ("kind", "turn"), [("glb", True), ("obj", True), ("ply", False), ("stl", False)]
)
def test_the_mesh_that_was_rendered_is_written_in_millimetres(
    tmp_path: Path, kind: str, turn: bool
):
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
    box = trimesh.creation.box(bounds=[BOX.low, BOX.high])
    change = sourced(tmp_path / f"source.{kind}", box, turn, scale=2.5)
    stored(tmp_path / "data", shape=BOX, change=change)
    out, report = exported(tmp_path, "bop", split=ALL)
    assert ".ply" not in notes(report, "dropped")
    found = trimesh.load(out / "models/obj_000001.ply", process=False)
    assert np.abs(found.bounds - 1000 * np.array([BOX.low, BOX.high])).max() < 1e-3
    assert found.volume == pytest.approx(2 * 1.2 * 0.8 * 1e9, rel=1e-5)
    header, _, body = (out / "models/obj_000001.ply").read_text().partition("end_header\n")
    assert "format ascii 1.0" in header
    assert "property float nz" in header
    rows = np.array([line.split() for line in body.splitlines()[: len(found.vertices)]], float)
    assert np.abs(np.linalg.norm(rows[:, 3:], axis=1) - 1).max() < 1e-5
    # Outwards, whether or not the corners are split between faces.
    assert (np.einsum("ij,ij->i", rows[:, :3], rows[:, 3:]) > 0).all()
    model = load(out / "models/models_info.json")["1"]
    assert model["diameter"] == pytest.approx(1000 * np.linalg.norm([2, 1.2, 0.8]), abs=1e-3)
    again = export(tmp_path / "data", out, "bop", Options(split=ALL))
    assert [outcome.status for outcome in again.outcomes] == ["skipped"]
    (out / "models/obj_000001.ply").unlink()
    again = export(tmp_path / "data", out, "bop", Options(split=ALL))
    assert [outcome.status for outcome in again.outcomes] == ["done"]
    assert (out / "models/obj_000001.ply").is_file()


def test_a_mesh_that_was_not_rendered_is_not_written(tmp_path: Path):
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
    box = trimesh.creation.box(bounds=[BOX.low, BOX.high])
    wide = trimesh.creation.box(bounds=[BOX.low, np.array(BOX.high) + [0, 0.01, 0]])
    ends = [trimesh.creation.box(bounds=[low, np.array(low) + 0.01]) for low in
            (BOX.low, np.array(BOX.high) - 0.01)]  # fmt: skip
    ball = trimesh.creation.icosphere(radius=0.3).apply_translation([0, 0, 0.1])
    parts = trimesh.util.concatenate([*ends, ball])
    broken = tmp_path / "broken.ply"
    broken.write_bytes(b"ply, but not really")
    cases = {
        "does not fill the box": sourced(tmp_path / "wide.ply", wide, False),
        "another file now": sourced(tmp_path / "a.ply", box, False, sha256="0" * 64),
        "files only": sourced(tmp_path / "b.ply", box, False, file_type="fbx"),
        "not at hand": sourced(tmp_path / "c.ply", box, False, file_identifier="gone.ply"),
        "cannot read": sourced(
            tmp_path / "d.ply", box, False, file_identifier=str(broken),
            sha256=hashlib.sha256(broken.read_bytes()).hexdigest(),
        ),
        # The same box, and a ball that stands out of the lower half of what is seen.
        "not where the views show": sourced(tmp_path / "e.ply", parts, False),
    }  # fmt: skip
    small = Union((Box((-1.0, -0.6, -0.4), (-0.99, -0.59, -0.39)),
                   Box((0.99, 0.59, 0.39), (1.0, 0.6, 0.4)),
                   Sphere((0.0, 0.0, -0.1), 0.1)))  # fmt: skip
    for number, (words, change) in enumerate(cases.items()):
        folder = tmp_path / str(number)
        shape = small if words == "not where the views show" else BOX
        stored(folder / "data", shape=shape, change=change)
        out, report = exported(folder, "bop", split=ALL)
        assert words in notes(report, "dropped")
        assert not list((out / "models").glob("*.ply"))


def test_what_it_cannot_hold_is_refused(tmp_path: Path):
    stored(tmp_path / "data", "flat", passes=("rgb", "mask"))
    report = export(tmp_path / "data", tmp_path / "out", "bop", Options())
    assert [type(outcome.error) for outcome in report.outcomes] == [MissingPass]

    def widened(_frames: list[Frame], record: dict[str, Any]) -> None:
        record["views"][1]["width"] = 65

    stored(tmp_path / "more", "uneven", change=widened)
    report = export(tmp_path / "more", tmp_path / "out2", "bop", Options())
    assert [type(outcome.error) for outcome in report.outcomes] == [FormatCannotHold]
    assert list(tmp_path.glob("out*/*_pbr")) == []
