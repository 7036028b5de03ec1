"""Exports of composed scenes, read back as their users' loaders do."""

from __future__ import annotations

import base64
import io
import json

import made
import numpy as np
import pytest
from PIL import Image

from objaverse_render_addon.compose import expressions
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
    for turn in range(120):
        height, width = map(int, rng.integers(3, 40, 2))
        mask = rng.random((height, width)) < 0.2 + 0.2 * (turn % 4)
        mask[1, 1] = True
        outline, _ = one_outline(mask)
        found = decoded([[n for corner in outline for n in corner]], *mask.shape)
        assert np.array_equal(found, mask)


def test_an_asset_without_sentences_is_refused_by_name(tmp_path):
    made.write(tmp_path / "data" / "a", made.scattered(1), [made.camera_at()])
    report = export(tmp_path / "data", tmp_path / "out", "mdetr", SPLIT)
    (outcome,) = report.failed
    assert "no composed scene" in outcome.error.message and "compose" in outcome.error.hint
