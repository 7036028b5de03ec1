"""COCO instances, with the reference implementation of the masks as oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exporting import Change, emptied, exported, notes, stored
from PIL import Image

from objaverse_render_addon.dataset.export.masks import box_of, polygons, run_lengths
from objaverse_render_addon.frame import Frame

ALL = (1.0, 0.0, 0.0)

# The reference's arrays do not know numpy 2's newer keyword yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def instances(out: Path, split: str = "train") -> dict[str, Any]:
    return json.loads((out / f"annotations/instances_{split}2017.json").read_text())


def masked(*masks: np.ndarray) -> Change:
    """These masks for the first views."""

    def change(frames: list[Frame], _record: dict[str, Any]) -> None:
        for frame, mask in zip(frames, masks, strict=False):
            frame.passes["mask"][...] = mask

    return change


def shapes() -> dict[str, np.ndarray]:
    ring = np.zeros((64, 64), bool)
    ring[10:40, 12:50] = True
    ring[20:30, 20:30] = False
    dot = np.zeros((64, 64), bool)
    dot[63, 0] = True
    parts = np.zeros((64, 64), bool)
    parts[:5, :7] = parts[5:9, 7:11] = parts[40:, 60:] = True
    inlet = np.ones((64, 64), bool)
    inlet[3, 3] = inlet[4, 4] = False
    return {
        "one pixel": dot,
        "ring": ring,
        "parts that touch at a corner": parts,
        "everything": np.ones((64, 64), bool),
        "holes that touch at a corner": inlet,
    }


def noise(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 24, 2))
    return rng.random(size) < rng.choice([0.05, 0.4, 0.6, 0.95])


def filled(loops: list[list[int]], size: tuple[int, ...]) -> np.ndarray:
    """Even-odd filling at the pixels' centres, by counting the upright edges to the left."""
    columns, rows = np.meshgrid(np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5)
    inside = np.zeros(size, bool)
    for loop in loops:
        corners = list(zip(loop[::2], loop[1::2], strict=True))
        for (x, y), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
            assert (x == x2) != (y == y2)
            inside ^= (x < columns) & (min(y, y2) < rows) & (rows < max(y, y2))
    return inside


@pytest.mark.parametrize("seed", range(40))
def test_polygons_fill_to_the_mask_and_holes_are_refused(seed: int):
    mask = noise(seed)
    loops = polygons(mask)
    if loops is None:
        # Unset pixels that no path of unset neighbours, diagonal ones too, leads out from.
        assert enclosed(mask).any()
        return
    assert not enclosed(mask).any()
    assert (filled(loops, mask.shape) == mask).all()


def enclosed(mask: np.ndarray) -> np.ndarray:
    outside = np.zeros(np.add(mask.shape, 2), bool)
    outside[0, 0] = True
    free = ~np.pad(mask, 1)
    while True:
        grown = outside.copy()
        for down in (-1, 0, 1):
            for along in (-1, 0, 1):
                grown |= np.roll(outside, (down, along), (0, 1))
        grown &= free
        if (grown == outside).all():
            return (free & ~outside)[1:-1, 1:-1]
        outside = grown


@pytest.mark.parametrize("seed", range(40))
def test_the_reference_decodes_polygons_and_run_lengths_to_the_mask(seed: int):
    coco_mask = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    mask = noise(seed)
    height, width = mask.shape
    rle = coco_mask.frPyObjects(run_lengths(mask), height, width)
    assert (coco_mask.decode(rle) == mask).all()
    assert coco_mask.area(rle) == mask.sum()
    if mask.any():
        assert coco_mask.toBbox(rle).tolist() == box_of(mask)
    loops = polygons(mask)
    if loops:
        merged = coco_mask.merge(coco_mask.frPyObjects(loops, height, width))
        assert (coco_mask.decode(merged) == mask).all()


def test_an_empty_mask_has_no_box_and_one_run():
    mask = np.zeros((3, 4), bool)
    assert box_of(mask) is None
    assert polygons(mask) == []
    assert run_lengths(mask) == {"counts": [12], "size": [3, 4]}
    assert run_lengths(~mask)["counts"] == [0, 12]


def test_the_reference_reads_every_instance(tmp_path: Path):
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    for name in ("lamp", "chair"):
        stored(tmp_path / "data", name, views=8, change=masked(*shapes().values()))
    out, report = exported(tmp_path, "coco", split=ALL)
    found = coco.COCO(out / "annotations/instances_train2017.json")
    assert len(found.imgs) == len(found.anns) == 16
    assert [found.cats[n]["name"] for n in sorted(found.cats)] == ["chair", "lamp"]
    for number, image in found.imgs.items():
        key, _, file = image["file_name"].partition("/")
        with Image.open(out / "train2017" / image["file_name"]) as picture:
            assert (picture.mode, picture.size) == ("RGB", (image["width"], image["height"]))
        (annotation,) = found.loadAnns(found.getAnnIds(number))
        assert found.cats[annotation["category_id"]]["name"] == key
        mask = np.load(tmp_path / "data" / key / file.replace(".png", "_mask.npy"))
        assert (found.annToMask(annotation) == mask).all()
        assert annotation["area"] == mask.sum()
        assert annotation["bbox"] == box_of(mask == 1)
        assert annotation["iscrowd"] == 0
        is_polygon = isinstance(annotation["segmentation"], list)
        assert is_polygon == (int(file[:3]) not in (1, 4))
    holes = next(note for note in report.notes if "holes" in note["text"])
    assert holes["amount"] == 4


def test_a_picture_without_the_object_has_no_annotation(tmp_path: Path):
    stored(tmp_path / "data", change=emptied(0, 2))
    out, report = exported(tmp_path, "coco", split=ALL)
    found = instances(out)
    assert [image["id"] for image in found["images"]] == [1, 2, 3, 4]
    assert [a["image_id"] for a in found["annotations"]] == [2, 4]
    assert [a["id"] for a in found["annotations"]] == [1, 2]
    (note,) = [note for note in report.notes if "no annotation" in note["text"]]
    assert note["amount"] == 2


def test_the_splits_share_their_categories_and_hold_each_asset_once(tmp_path: Path):
    names = [f"thing-{number}" for number in range(20)]
    for name in names:
        stored(tmp_path / "data", name, views=1, resolution=(16, 16))
    out, report = exported(tmp_path, "coco", split=(0.4, 0.3, 0.3))
    parts = {split: instances(out, split) for split in ("train", "val", "test")}
    assert all(part["categories"] == parts["train"]["categories"] for part in parts.values())
    listed = [i["file_name"].split("/")[0] for part in parts.values() for i in part["images"]]
    assert sorted(listed) == sorted(names)
    for split, part in parts.items():
        assert len(part["images"]) == report.splits[split] > 0
        assert all((out / f"{split}2017" / i["file_name"]).is_file() for i in part["images"])


def test_category_and_license_come_from_the_catalogue(tmp_path: Path):
    def known(_frames: list[Frame], record: dict[str, Any]) -> None:
        record["metadata"] = {"lvis": ["teapot", "pot"]}
        record["license"] = "by"

    stored(tmp_path / "data", "a", change=known)
    stored(tmp_path / "data", "b")
    out, report = exported(tmp_path, "coco", split=ALL)
    found = instances(out)
    names = {c["id"]: c["name"] for c in found["categories"]}
    licenses = {c["id"]: c["name"] for c in found["licenses"]}
    assert [names[a["category_id"]] for a in found["annotations"]] == ["teapot"] * 4 + ["b"] * 4
    assert [licenses[i["license"]] for i in found["images"]] == ["by"] * 4 + ["unknown"] * 4
    assert "names no category" in notes(report, "differs")


def test_assets_that_come_later_join_the_lists(tmp_path: Path):
    stored(tmp_path / "data", "b")
    exported(tmp_path, "coco", split=ALL)
    stored(tmp_path / "data", "a")
    out, report = exported(tmp_path, "coco", split=ALL)
    assert [outcome.status for outcome in report.outcomes] == ["done", "skipped"]
    assert len(instances(out)["annotations"]) == 8


def test_a_strange_id_is_a_safe_folder_and_stays_the_category(tmp_path: Path):
    stored(tmp_path / "data", "Häuschen (alt), v1.2")
    out, report = exported(tmp_path, "coco", split=ALL)
    found = instances(out)
    folder = found["images"][0]["file_name"].split("/")[0]
    assert not set(folder) & set(" (),.")
    assert (out / "train2017" / folder / "000.png").is_file()
    assert found["categories"][0]["name"] == "Häuschen (alt), v1.2"
    assert "another name" in notes(report, "renamed")
