"""One rule says where the object is: who shows or exports a view without mask finds the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import LOPSIDED, camera_at, frame_of, write_asset
from jobs import written
from test_gallery import data_in

from objaverse_render_addon.checks import check_geometry
from objaverse_render_addon.dataset.export import FORMATS, Options
from objaverse_render_addon.dataset.export.scene import Scene
from objaverse_render_addon.dataset.gallery.build import build_gallery
from objaverse_render_addon.dataset.point_cloud import Sighting, sample
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.dataset.sheet import picture_of
from objaverse_render_addon.dataset.turntable import turntable
from objaverse_render_addon.errors import MissingPass
from objaverse_render_addon.frame import mask_of
from objaverse_render_addon.job import CameraRules, RenderJob
from objaverse_render_addon.passspec import MARKERS

WITNESSES = [name for name in MARKERS if name != "mask"]
each_witness = pytest.mark.parametrize("witness", WITNESSES)


@pytest.fixture(scope="module")
def passes() -> dict[str, Any]:
    return frame_of(LOPSIDED, camera_at()).passes


def asset(folder: Path, *passes: str) -> Path:
    output = written(resolution=(48, 40), layout="folder", passes=passes)
    job = RenderJob(cameras=CameraRules(pattern="ring", views=4), **output)
    return write_asset(folder, job)


@pytest.mark.parametrize("witness", MARKERS)
def test_every_pass_that_is_said_to_tell_the_mask_does(passes: dict[str, Any], witness: str):
    mask = passes["mask"] == 1
    for exact in (True, False):
        assert np.array_equal(mask_of({witness: passes[witness]}, exact=exact), mask)


def test_the_mask_itself_comes_first_and_alpha_last(passes: dict[str, Any]):
    nothing = {name: np.zeros_like(data) for name, data in passes.items()}
    for before, name in enumerate(MARKERS):
        both = {**{later: nothing[later] for later in MARKERS[before:]}, name: passes[name]}
        both["rgb"] = nothing["rgb"]
        assert np.array_equal(mask_of(both), passes["mask"] == 1)
    soft = np.zeros((1, 4, 4), np.uint8)
    soft[0, :, 3] = 0, 127, 128, 255
    found = mask_of({"rgb": soft})
    assert found is not None and found.tolist() == [[False, False, True, True]]
    assert mask_of({"rgb": soft}, exact=True) is None
    assert mask_of({"rgb": soft[..., :3]}) is None
    assert mask_of({"albedo": passes["albedo"], "of a later version": soft}) is None


@each_witness
def test_the_checks_find_the_object(passes: dict[str, Any], witness: str):
    whole = frame_of(LOPSIDED, camera_at())
    part = frame_of(LOPSIDED, camera_at())
    part.passes = {witness: passes[witness], "rgb": passes["rgb"]}
    expected = {check.name: check for check in check_geometry(whole, LOPSIDED.bounds)}
    found = {check.name: check for check in check_geometry(part, LOPSIDED.bounds)}
    assert {"mask_not_empty", "mask_in_projected_box"} <= set(found)
    assert all(expected[name] == check for name, check in found.items())


def test_the_checks_believe_no_antialiased_mask(passes: dict[str, Any]):
    frame = frame_of(LOPSIDED, camera_at())
    frame.passes = {"rgb": passes["rgb"]}
    assert [check.name for check in check_geometry(frame, LOPSIDED.bounds)] == ["finite"]


@each_witness
def test_pictures_show_the_object_alone(passes: dict[str, Any], witness: str):
    for name in ("depth", "distance", "position", "object_index"):
        whole = picture_of(name, {"mask": passes["mask"], name: passes[name]})
        part = picture_of(name, {witness: passes[witness], name: passes[name]})
        assert np.array_equal(part, whole)
        assert (part[passes["mask"] == 0] == 40).all()


def test_a_sheet_spends_its_colours_on_the_object(passes: dict[str, Any]):
    seen = passes["mask"] == 1
    picture = picture_of("depth", {"rgb": passes["rgb"], "depth": passes["depth"]})
    near = np.unravel_index(np.where(seen, passes["depth"], np.inf).argmin(), seen.shape)
    far = np.unravel_index(passes["depth"].argmax(), seen.shape)
    # Both ends of the ramp: viridis' yellow, and its violet.
    assert picture[near].tolist() == [253, 231, 37]
    assert picture[far].tolist() == [68, 1, 84]


@pytest.mark.parametrize("name", ["depth", "position"])
@pytest.mark.parametrize("witness", ["depth", "normal"])
def test_a_turntable_without_mask_is_the_one_with_it(tmp_path: Path, name: str, witness: str):
    with_mask = asset(tmp_path / "with", *{name: 0, witness: 0, "mask": 0})
    without = asset(tmp_path / "without", *{name: 0, witness: 0})
    pictures = []
    for path, target in ((with_mask, tmp_path / "a.gif"), (without, tmp_path / "b.gif")):
        turntable(path, target, name=name, background=(0, 0, 0))
        pictures.append(target.read_bytes())
    assert pictures[0] == pictures[1]


def test_the_gallery_finds_the_object_without_mask(tmp_path: Path):
    seen = []
    for number, passes in enumerate((("rgb", "depth", "mask"), ("rgb", "depth"))):
        path = asset(tmp_path / str(number), *passes)
        page = build_gallery(path.parent).page.parent
        (detail,) = page.glob("*/**/detail.js")
        found = data_in(detail)
        depth = next(item for item in found["passes"] if item["name"] == "depth")
        (sheet,) = [detail.with_name(file).read_bytes() for file in depth["files"]]
        cloud, coverage = found["cloud"], [view["coverage"] for view in found["views"]]
        seen.append((depth["span"], coverage, sheet, cloud))
    assert seen[0] == seen[1]


@each_witness
def test_an_export_finds_the_object(tmp_path: Path, witness: str):
    path = asset(tmp_path, "rgb", "mask", witness)
    with AssetReader(path) as reader:
        expected = reader.read(1, ["mask"])["mask"] == 1
        reader.metadata["render_settings"]["modalities"].remove("mask")
        scene = Scene(reader, FORMATS["webdataset"], Options())
        assert scene.has_mask
        assert np.array_equal(scene.mask(1), expected)
        reader.metadata["render_settings"]["modalities"] = ["rgb"]
        scene = Scene(reader, FORMATS["webdataset"], Options())
        assert not scene.has_mask
        with pytest.raises(MissingPass, match="needs mask or depth"):
            scene.mask(1)


def test_a_point_cloud_is_of_the_object_alone(passes: dict[str, Any]):
    camera = camera_at()
    clouds = [
        sample([Sighting(0, camera, {name: passes[name] for name in names})], count=200)
        for names in (("depth", "mask"), ("depth",), ("depth", "normal", "object_index"))
    ]
    assert np.array_equal(clouds[0].points, clouds[1].points)
    assert all((passes["mask"][c.pixels[:, 1], c.pixels[:, 0]] == 1).all() for c in clouds)
