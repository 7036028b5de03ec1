"""Exports of composed scenes, read back as their users' loaders do."""

from __future__ import annotations

import ast
import base64
import io
import json
import shutil

import made
import numpy as np
import pytest
import raster
from PIL import Image

from objaverse_render_addon.compose import expressions
from objaverse_render_addon.compose.covering import covered
from objaverse_render_addon.compose.rules import Rules
from objaverse_render_addon.dataset.export import Options, export
from objaverse_render_addon.dataset.reader import AssetReader

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SPLIT = Options(split=(1.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("export")
    for seed in range(3):
        made.write(root / "data" / f"s{seed}", made.scattered(seed),
                   [made.camera_at(50 * seed, 25), made.camera_at(50 * seed + 120, 35)],
                   seed=seed, index=seed)  # fmt: skip
        expressions.write(root / "data" / f"s{seed}")
    return root


def exported(scenes, to):
    report = export(scenes / "data", scenes / to, to, SPLIT)
    assert report.failed == [] and report.scenes == 3
    return scenes / to


def truth(scenes, file):
    """Ids of a picture, by its name in an export."""
    key, number = file.split("/")[-2], int(file.split("/")[-1][:3])
    with AssetReader(scenes / "data" / key) as asset:
        return asset.read(number, ("instance_index",))["instance_index"]


def decoded(polygons, height, width):
    mask = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")

    flat = [[float(number) for number in one] for one in polygons]
    return mask.decode(mask.merge(mask.frPyObjects(flat, height, width))).astype(bool)


def test_grefcoco(scenes):
    folder = exported(scenes, "grefcoco") / "grefcoco"
    refs = json.loads((folder / "grefs(unc).json").read_text())
    instances = json.loads((folder / "instances.json").read_text())
    images = {one["id"]: one for one in instances["images"]}
    annotations = {one["id"]: one for one in instances["annotations"]}
    wrong = holes = 0
    for one in annotations.values():
        # Its loader tells polygons from run lengths by what [0] is.
        assert isinstance(one["segmentation"][0], list)
        image = images[one["image_id"]]
        ids = truth(scenes, image["file_name"])
        found = decoded(one["segmentation"], image["height"], image["width"])
        values = np.unique(ids[found])
        assert len(values) == 1
        wrong += int((found != (ids == values[0])).sum())
        holes += one["area"] != found.sum()
        x, y, w, h = one["bbox"]
        rows, columns = np.nonzero(found)
        assert (columns.min(), rows.min()) == (x, y)
        assert (columns.max() - x + 1, rows.max() - y + 1) == (w, h)
    assert wrong == holes == 0
    kinds = {len(ref["ann_id"]) if not ref["no_target"] else 0 for ref in refs}
    assert {0, 1} <= kinds and max(kinds) > 1
    for ref in refs:
        assert ref["no_target"] == (ref["ann_id"] == [-1]) == (ref["category_id"] == [-1])
        assert all(annotations[i]["image_id"] == ref["image_id"] for i in ref["ann_id"] if i > 0)
        assert ref["sent_ids"] == [one["sent_id"] for one in ref["sentences"]]


def test_mdetr(scenes):
    data = json.loads((exported(scenes, "mdetr") / "finetune_refcoco_train.json").read_text())
    captions = {one["id"]: one["caption"] for one in data["images"]}
    assert len(captions) > 50
    for one in data["annotations"]:
        for begin, end in one["tokens_positive"]:
            assert captions[one["image_id"]][begin:end].split()[0].lower() in ("the", "all")
    several = [one["image_id"] for one in data["annotations"]]
    assert len(several) > len(set(several)) and len(set(several)) < len(captions)


def test_ms_swift(scenes):
    folder = exported(scenes, "ms-swift")
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    assert len(lines) > 30
    for line in lines:
        words = " ".join(one["content"] for one in line["messages"])
        assert words.count("<ref-object>") == len(line["objects"]["ref"])
        assert words.count("<bbox>") == len(line["objects"]["bbox"])
        ids = truth(scenes, line["images"][0])
        for x0, y0, x1, y1 in line["objects"]["bbox"]:
            assert 0 <= x0 < x1 <= ids.shape[1] and 0 <= y0 < y1 <= ids.shape[0]


def test_refcoco(scenes):
    datasets = pytest.importorskip("datasets")
    folder = exported(scenes, "refcoco")
    files = {"train": str(folder / "data/train-00000-of-00001.parquet")}
    rows = datasets.load_dataset("parquet", data_files=files, cache_dir=str(folder / "cache"))
    assert len(rows["train"]) > 10
    for row in rows["train"]:
        assert row["answer"] and all(isinstance(one, str) for one in row["answer"])
        width, height = row["image"].size
        x, y, w, h = row["bbox"]
        assert w > 0 and h > 0 and x + w <= width and y + h <= height
        ids = truth(scenes, row["file_name"])
        found = decoded([row["segmentation"]], height, width)
        assert len(np.unique(ids[found])) == 1


def test_refgrasp(scenes):
    folder = exported(scenes, "refgrasp")
    rec = [line.split("\t") for line in (folder / "rec.tsv").read_text().splitlines()]
    res = [line.split("\t") for line in (folder / "res.tsv").read_text().splitlines()]
    assert [int(row[0]) for row in rec] == list(range(len(rec))) and len(rec) > 30
    for (_, sentence, box, path), other in zip(rec, res, strict=True):
        assert (path, box, sentence) == tuple(other[1:4])
        ids = np.array(Image.open(folder / path.replace("rgb/", "mask/")))
        points = [float(n) for n in other[4].split(" ")[0].split(",")]
        # Its reader drops what is behind the last space.
        assert other[4].endswith(" ")
        found = decoded([points], *ids.shape)
        value = np.unique(ids[found])
        assert len(value) == 1 and np.array_equal(found, ids == value[0])
        x0, y0, x1, y1 = map(int, box.split(","))
        rows, columns = np.nonzero(found)
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x0, y0, x1, y1)
        first = np.hypot(points[0], points[1])
        assert first == min(np.hypot(points[::2], points[1::2]))
        assert other[5].count(",") < 800
    said = json.loads((folder / "expressions.json").read_text())
    assert sum(len(one["expressions"]) for one in said) == len(rec)
    depth = np.array(Image.open(folder / rec[0][3].replace("rgb/", "depth/")))
    with AssetReader(scenes / "data" / "s0") as asset:
        stored = asset.read(0, ("depth",))["depth"]
    assert np.abs(depth / 1000 - stored).max() <= 0.0005 + 1e-6


def test_polygon_transformer(scenes):
    folder = exported(scenes, "polygon-transformer")
    rows = [line.split("\t") for line in (folder / "train.tsv").read_text().splitlines()]
    assert len(rows) > 30 and {len(row) for row in rows} == {8}
    for row in rows[:20]:
        picture, mask = (np.array(Image.open(io.BytesIO(base64.b64decode(row[i])))) for i in (5, 6))
        assert picture.shape[:2] == mask.shape
        points = [float(n) for n in row[4].split(" ")[0].split(",")]
        assert np.array_equal(decoded([points], *mask.shape), mask > 0)


def test_panoptic(scenes):
    folder = exported(scenes, "coco-panoptic")
    said = json.loads((folder / "annotations/panoptic_train.json").read_text())
    for one in said["annotations"]:
        picture = np.array(Image.open(folder / "panoptic" / one["file_name"])).astype(int)
        ids = picture[..., 0] + 256 * picture[..., 1] + 65536 * picture[..., 2]
        values, counts = np.unique(ids[ids > 0], return_counts=True)
        segments = {segment["id"]: segment for segment in one["segments_info"]}
        assert {int(v): int(n) for v, n in zip(values, counts, strict=True)} == {
            number: segment["area"] for number, segment in segments.items()}  # fmt: skip
        truth_ids = truth(scenes, one["file_name"])
        for number in segments:
            if number < 900:
                assert np.array_equal(ids == number, truth_ids == number)


def test_instances_by_run_lengths_are_the_masks(scenes):
    mask = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    folder = exported(scenes, "coco-panoptic") / "annotations"
    said = json.loads((folder / "instances_rle_train.json").read_text())
    images = {one["id"]: one for one in said["images"]}
    outlines = json.loads((folder / "instances_train.json").read_text())["annotations"]
    assert len(said["annotations"]) == len(outlines) > 20
    left = {}
    for one, outline in zip(said["annotations"], outlines, strict=True):
        assert {**one, "segmentation": 0} == {**outline, "segmentation": 0}
        image = images[one["image_id"]]
        run = mask.frPyObjects(one["segmentation"], image["height"], image["width"])
        found = mask.decode(run).astype(bool)
        ids = truth(scenes, image["file_name"])
        (number,) = np.unique(ids[found])
        assert np.array_equal(found, ids == number) and one["area"] == found.sum()
        left.setdefault(image["file_name"], set()).add(int(number))
    for file, numbers in left.items():
        assert numbers == set(np.unique(truth(scenes, file)).tolist()) - {0, made.TABLE}


def test_rings_and_single_pixels_are_exact():
    from objaverse_render_addon.dataset.export.masks import one_outline

    rng = np.random.Generator(np.random.Philox(3))
    for turn in range(60):
        height, width = map(int, rng.integers(3, 40, 2))
        mask = rng.random((height, width)) < 0.2 + 0.2 * (turn % 4)
        mask[1, 1] = True
        outline, _ = one_outline(mask)
        found = decoded([[n for corner in outline for n in corner]], *mask.shape)
        assert np.array_equal(found, mask)


def test_sentences_of_another_language(scenes, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(scenes / "data" / "s0", data / "s0")
    told = expressions.write(data / "s0", languages=("en", "de", "zh"))["expressions"]
    chosen = {name: Options(split=(1.0, 0.0, 0.0), language=name) for name in ("de", "zh")}
    assert export(data, tmp_path / "zh", "grefcoco", chosen["zh"]).failed == []
    refs = json.loads((tmp_path / "zh/grefcoco/grefs(unc).json").read_text())
    said = [text["text"] for one in told for text in one["texts"] if text["language"] == "zh"]
    assert [one["raw"] for ref in refs for one in ref["sentences"]] == said
    for ref in refs:
        for one in ref["sentences"]:
            assert one["tokens"] and all(len(token) == 1 for token in one["tokens"])
            assert "".join(one["tokens"]) == one["sent"].replace("，", "").replace(" ", "")
    assert export(data, tmp_path / "de", "ms-swift", chosen["de"]).failed == []
    lines = [json.loads(line) for line in (tmp_path / "de/train.jsonl").read_text().splitlines()]
    assert {line["messages"][0]["content"] for line in lines} == {
        "<image>Zeige dies: <ref-object>."}  # fmt: skip
    phrases = {text["text"] for one in told for text in one["texts"]
               if text["language"] == "de" and text["style"] == "phrase"}  # fmt: skip
    assert lines and {line["objects"]["ref"][0] for line in lines} <= phrases
    (failed,) = export(scenes / "data", tmp_path / "no", "grefcoco", chosen["de"]).failed[:1]
    assert "none in de" in str(failed.error)


def test_a_scene_of_a_split_stays_in_it(scenes, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(scenes / "data" / "s0", data / "s0")
    shutil.copytree(scenes / "data" / "s1", data / "s1")
    path = data / "s0" / "scene.json"
    scene = json.loads(path.read_text())
    scene["recipe"]["split"] = "test"
    path.write_text(json.dumps(scene))
    assert export(data, tmp_path / "out", "grefcoco", SPLIT).failed == []
    refs = json.loads((tmp_path / "out/grefcoco/grefs(unc).json").read_text())
    assert {(ref["file_name"].split("/")[0], ref["split"]) for ref in refs} == {
        ("s0", "test"), ("s1", "train")}  # fmt: skip


@pytest.mark.long
def test_a_thousand_masks_are_exact(tmp_path):
    """Every mask of a set, in every form that formats have: 0 wrong pixels."""
    coder = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    from objaverse_render_addon.dataset.export.masks import (
        box_of,
        mask_of,
        one_outline,
        run_lengths,
    )

    count = wrong = 0
    for seed in range(100):
        if count >= 1000:
            break
        folder = tmp_path / f"s{seed}"
        cameras = [made.camera_at(37 * seed + turn, 20 + turn / 8) for turn in range(0, 360, 60)]
        made.write(folder, made.scattered(seed, 12), cameras, seed=seed, index=seed)
        with AssetReader(folder) as asset:
            for view in range(len(cameras)):
                ids = asset.read(view, ("instance_index",))["instance_index"]
                for one in set(np.unique(ids).tolist()) - {0, made.TABLE}:
                    mask = ids == one
                    outline, _ = one_outline(mask)
                    runs = run_lengths(mask)
                    found = [
                        decoded([[n for corner in outline for n in corner]], *mask.shape),
                        mask_of(runs), coder.decode(coder.frPyObjects(runs, *mask.shape)) > 0,
                    ]  # fmt: skip
                    x, y, width, height = box_of(mask)
                    inside = np.zeros_like(mask)
                    inside[y : y + height, x : x + width] = mask[y : y + height, x : x + width]
                    wrong += sum(int((other != mask).sum()) for other in [*found, inside])
                    edges = inside[[y, y + height - 1]].any(axis=1), inside[:, [x, x + width - 1]]
                    wrong += int(not edges[0].all()) + int(not edges[1].any(axis=0).all())
                    count += 1
    assert count >= 1000 and wrong == 0


def test_an_asset_without_sentences_is_refused_by_name(tmp_path):
    made.write(tmp_path / "data" / "a", made.scattered(1), [made.camera_at()])
    report = export(tmp_path / "data", tmp_path / "out", "mdetr", SPLIT)
    (outcome,) = report.failed
    assert "no composed scene" in outcome.error.message and "compose" in outcome.error.hint


def test_refspatial_points_lie_in_what_is_meant(scenes):
    folder = exported(scenes, "refspatial")
    lines = json.loads((folder / "train.json").read_text())
    free = several = 0
    for line in lines:
        human, answer = line["conversations"]
        assert human["value"].startswith(("<image>\nPoint to the ", "<image>\nPoint to all "))
        points = np.array(ast.literal_eval(answer["value"]))
        assert points.shape[1] == 2 and (points > 0).all() and (points < 1).all()
        ids = truth(scenes, line["image"])
        columns, rows = (points * [ids.shape[1], ids.shape[0]]).astype(int).T
        names = set(ids[rows, columns].tolist())
        if "space" in human["value"] or "area" in human["value"]:
            assert names == {made.TABLE}
            free += 1
        else:
            assert made.TABLE not in names and len(names) == len(points)
            several += len(points) > 1
    assert free > 5 and several > 2


def test_refspatial_tests_are_rows_as_the_benchmark_has_them(scenes):
    datasets = pytest.importorskip("datasets")
    report = export(scenes / "data", scenes / "bench", "refspatial", Options(split=(0.0, 0.0, 1.0)))
    assert report.failed == []
    folder = scenes / "bench"
    rows = datasets.load_dataset(str(folder), cache_dir=str(folder / "cache"))
    assert set(rows) == {"location", "placement"}
    for task in rows:
        assert len(rows[task]) > 5
        for row in rows[task]:
            assert row["prompt"] == f"Point to {row['object']}." and row["step"] >= 1
            mask = np.array(row["mask"])
            assert row["mask"].size == row["image"].size and set(np.unique(mask)) == {0, 255}
            assert np.isin(["space", "area"], row["object"].split()).any() == (task == "placement")


@pytest.fixture(scope="module")
def physical(tmp_path_factory):
    """One real scene, settled by physics."""
    pytest.importorskip("mujoco")
    pytest.importorskip("rapier3d")
    root = tmp_path_factory.mktemp("bop")
    rules = Rules(images=2, layouts=("scatter",), supports=("table",), objects=(5, 6), seed=3)
    raster.unit(root / "data" / "scene-000000", rules, 0, 96)
    return root


def test_bop_of_several_objects_is_what_the_toolkit_counts(physical):
    """Poses and models give the masks; the visible share by the definition of calc_gt_info.py."""
    report = export(physical / "data", physical / "out", "bop-scenes", SPLIT)
    assert report.failed == []
    folder = physical / "out" / "train_pbr" / "000000"
    gt, info, camera = (json.loads((folder / f"scene_{name}.json").read_text())
                        for name in ("gt", "gt_info", "camera"))  # fmt: skip
    models = json.loads((physical / "out" / "models" / "models_info.json").read_text())
    numbers = {one["obj_id"] for image in gt.values() for one in image}
    assert numbers == set(map(int, models)) and len(gt) == 2
    with AssetReader(physical / "data" / "scene-000000") as asset:
        for image, poses in gt.items():
            ids = asset.read(int(image), ("instance_index",))["instance_index"]
            lens = camera[image]
            k = np.array(lens["cam_K"]).reshape(3, 3)
            depth = np.array(Image.open(folder / f"depth/{int(image):06d}.png"))
            depth = depth * lens["depth_scale"]
            for place, pose in enumerate(poses):
                name = f"{int(image):06d}_{place:06d}.png"
                whole, seen = (np.array(Image.open(folder / kind / name)) > 0
                               for kind in ("mask", "mask_visib"))  # fmt: skip
                assert np.array_equal(seen, ids == place + 1) and not (seen & ~whole).any()
                path = physical / "out" / "models" / f"obj_{pose['obj_id']:06d}.ply"
                points, faces = ply(path)
                moved = points @ np.array(pose["cam_R_m2c"]).reshape(3, 3).T + pose["cam_t_m2c"]
                uv = (moved @ k.T)[:, :2] / moved[:, 2:]
                height, width = ids.shape
                canvas = np.zeros((3 * height, 3 * width), bool)
                corners = uv[faces] + 0.5 + [width, height]
                for _, x, y, _ in covered(corners, 3 * width, 3 * height):
                    canvas[y, x] = True
                said = info[image][place]
                # Whose centre is on an edge is decided by rounding.
                frame = canvas[height : 2 * height, width : 2 * width]
                assert (frame ^ whole).sum() <= max(2, 0.004 * whole.sum())
                assert abs(said["px_count_all"] - canvas.sum()) <= max(2, 0.004 * canvas.sum())
                share = seen.sum() / said["px_count_all"]
                assert said["px_count_visib"] == seen.sum()
                assert abs(said["visib_fract"] - share) < 1e-9
                rows, columns = np.nonzero(canvas)
                box = np.array([columns.min() - width, rows.min() - height, np.ptp(columns),
                                np.ptp(rows)])  # fmt: skip
                assert np.abs(box - said["bbox_obj"]).max() <= 1
                # Its own surface lies where its depth is.
                far = depth[seen]
                assert far.min() > moved[:, 2].min() - 1 and far.max() < moved[:, 2].max() + 1
                size = np.ptp(points, axis=0)
                found = models[str(pose["obj_id"])]
                assert np.allclose(size, [found[f"size_{axis}"] for axis in "xyz"], atol=1e-3)
                assert size.max() <= found["diameter"] + 1e-3


def test_bop_scenes_keep_their_numbers(physical):
    out = physical / "kept"
    export(physical / "data", out, "bop-scenes", SPLIT)
    before = json.loads((out / "objects.json").read_text())
    again = export(physical / "data", out, "bop-scenes", SPLIT)
    assert again.failed == [] and json.loads((out / "objects.json").read_text()) == before
    raster.unit(physical / "more" / "scene-000001", Rules(
        images=1, layouts=("scatter",), supports=("table",), objects=(4, 4), seed=3), 1, 64)
    export(physical / "more", out, "bop-scenes", SPLIT)
    after = json.loads((out / "objects.json").read_text())
    assert after["scenes"] == {**before["scenes"], "scene-000001": 1}
    assert all(after["models"][name] == one for name, one in before["models"].items())
    assert (out / "train_pbr/000000/scene_gt.json").is_file()
    assert (out / "train_pbr/000001/scene_gt.json").is_file()


def ply(path):
    """Points and faces of an ASCII PLY."""
    lines = path.read_text().splitlines()
    count = int(next(one for one in lines if one.startswith("element vertex")).split()[-1])
    first = lines.index("end_header") + 1
    rows = [list(map(float, one.split())) for one in lines[first : first + count]]
    faces = [list(map(int, one.split()))[1:] for one in lines[first + count :]]
    return np.array(rows)[:, :3], np.array(faces)
