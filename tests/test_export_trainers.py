"""Exports read back as their descriptions say, by code that shares nothing with the exporters."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import LOPSIDED, Shape, Sphere, write_asset
from export_readers import (
    Read,
    picture_at,
    read_depthsplat,
    read_gs_lrm,
    read_instantmesh,
    read_lgm,
    read_long_lrm,
    read_lvsm,
    read_nerf_synthetic,
    read_nerfstudio,
    read_objaverse_xl,
    read_openlrm,
    read_syncdreamer,
    read_trellis,
    read_trellis_cond,
    read_zero123,
)

from objaverse_render_addon.dataset.export import FORMATS, Options, Report, Scene, export
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.errors import FormatCannotHold, MissingPass
from objaverse_render_addon.job import STILL_PASSES, CameraRules, Files, Lighting, Pixels, RenderJob

VIEWS = 6


@dataclass
class Case:
    """What a format is read with, and what it holds.

    Attributes:
        half: Half edge of the box that the object is scaled to; ``None`` leaves it.
        alpha: Pictures are RGBA.
        depth: Largest error that the precision of its depth allows, in scene units (relative
            where the object is not rescaled); ``None`` where it has no depth.
        shifted: It holds principal points and focal lengths of their own.
        per_view: Every view may have its own lens.
        lens: It says what the lens is.
    """

    read: Callable[[Path, str], dict[int, Read]]
    half: float | None = None
    alpha: bool = True
    depth: float | None = None
    shifted: bool = False
    per_view: bool = False
    lens: bool = True


CASES = {
    "nerfstudio": Case(read_nerfstudio, depth=2e-7, shifted=True, per_view=True),
    "nerf-synthetic": Case(read_nerf_synthetic),
    "gs-lrm": Case(read_gs_lrm, shifted=True, per_view=True),
    "long-lrm": Case(read_long_lrm, alpha=False, shifted=True, per_view=True),
    "lvsm": Case(read_lvsm, alpha=False, shifted=True, per_view=True),
    "depthsplat": Case(read_depthsplat, alpha=False, depth=0.0, shifted=True, per_view=True),
    "openlrm": Case(read_openlrm, half=1.0, shifted=True),
    "instantmesh": Case(read_instantmesh, half=1.0, depth=0.5 * 6.0 / 255 + 1e-9),
    "lgm": Case(read_lgm, half=0.5),
    "trellis": Case(read_trellis, half=0.5, depth=1.4e-5, per_view=True),
    "trellis-cond": Case(read_trellis_cond, half=0.5, per_view=True),
    "syncdreamer": Case(read_syncdreamer, half=0.5, shifted=True),
    "zero123": Case(read_zero123, half=0.5, per_view=True, lens=False),
    "objaverse-xl": Case(read_objaverse_xl, half=0.5, per_view=True, lens=False),
}
SQUARE_ONLY = {"instantmesh", "lgm", "trellis", "trellis-cond", "syncdreamer", "zero123"}
OFF_CENTER = Sphere((0.3, 0.2, -0.1), 0.7)


def skip_without_torch(name: str) -> None:
    for module in FORMATS[name].modules:
        pytest.importorskip(module)


def job_of(
    resolution: tuple[int, int] = (64, 64),
    background: Any = None,
    passes: Any = STILL_PASSES,
    **cameras: Any,
) -> RenderJob:
    rules = {"pattern": "ring", "views": VIEWS, "fov": 50.0, "radius": 3.5} | cameras
    return RenderJob(
        cameras=CameraRules(**rules),
        lighting=Lighting(background=background),
        pixels=Pixels(resolution=resolution, passes=passes), files=Files(layout="zip"),
    )  # fmt: skip


def failures(report: Report) -> list[type]:
    return [type(outcome.error) for outcome in report.failed]


def agree(name: str, out: Path, asset: Path, shape: Shape, key: str = "chair") -> dict[int, Read]:
    """Every stored surface point falls on its own pixel, depth and colour come back."""
    case = CASES[name]
    views = case.read(out, key)
    low, high = np.array(shape.bounds.box_min), np.array(shape.bounds.box_max)
    center = np.zeros(3) if case.half is None else (low + high) / 2
    scale = 1.0 if case.half is None else 2 * case.half / (high - low).max()
    with AssetReader(asset) as reader:
        assert sorted(views) == list(range(len(reader.views)))
        for index, view in views.items():
            stored = reader.read(index)
            mask = stored["mask"] == 1
            rows, columns = np.nonzero(mask)
            assert len(rows) > 100
            k = np.array(reader.views[index]["intrinsics"])
            points = scale * (stored["position"][mask].astype(float) - center)
            uv = view.project(points, (k[0, 0], k[1, 1], k[0, 2], k[1, 2]))
            error = np.abs(uv - np.stack([columns + 0.5, rows + 0.5], axis=1)).max()
            assert error < 1e-3, f"view {index}: {error} px"
            if case.alpha:
                assert (view.picture == stored["rgb"]).all()
            else:
                alpha = stored["rgb"][..., 3:] / 255.0
                behind = 255.0 * np.array(FORMATS[name].background)
                over = stored["rgb"][..., :3] * alpha + behind * (1 - alpha)
                assert view.picture.shape[2] == 3
                assert np.abs(view.picture - over).max() <= 0.5001
            assert (view.depth is not None) == (case.depth is not None)
            if view.depth is not None:
                expected = stored["depth"].astype(float) * scale
                assert (np.isfinite(view.depth) == mask).all()
                stray = np.abs(view.depth - expected)[mask] / (1 if scale != 1 else expected[mask])
                assert stray.max() <= max(case.depth or 0.0, 1e-7)
            if view.normal is not None:
                assert (np.isfinite(view.normal).all(axis=2) == mask).all()
                pose = np.array(reader.views[index]["camera_to_world"])[:3, :3]
                world = stored["normal"].astype(float) @ pose.T
                assert np.abs(view.normal - world)[mask].max() <= 1 / 255 + 1e-6
    return views


@pytest.mark.parametrize("name", CASES)
def test_every_surface_point_falls_on_its_own_pixel(tmp_path: Path, name: str):
    skip_without_torch(name)
    asset = write_asset(tmp_path / "data", job_of(), "chair")
    report = export(asset, tmp_path / "out", name)
    assert [str(outcome.error) for outcome in report.failed] == []
    agree(name, tmp_path / "out", asset, LOPSIDED)


@pytest.mark.parametrize("name", CASES)
def test_an_object_that_is_not_normalised_is_brought_to_the_formats_box(tmp_path: Path, name: str):
    skip_without_torch(name)
    asset = write_asset(tmp_path / "data", job_of(), "chair", OFF_CENTER)
    report = export(asset, tmp_path / "out", name)
    told = [note["kind"] for note in report.notes]
    agree(name, tmp_path / "out", asset, OFF_CENTER)
    if CASES[name].half is not None:
        (factor,) = [n["worst"] for n in report.notes if "longest edge" in n["text"]]
        assert factor == pytest.approx(2 * CASES[name].half / 1.4)
    else:
        assert not any("longest edge" in note["text"] for note in report.notes), told


@pytest.mark.parametrize("name", CASES)
def test_shifts_and_pixels_that_are_not_square_are_held_or_refused(tmp_path: Path, name: str):
    skip_without_torch(name)
    job = job_of(shift=(0.06, -0.04), pixel_aspect=1.25)
    asset = write_asset(tmp_path / "data", job, "chair")
    report = export(asset, tmp_path / "out", name)
    if CASES[name].shifted:
        assert report.failed == []
        agree(name, tmp_path / "out", asset, LOPSIDED)
    else:
        assert failures(report) == [FormatCannotHold]
        assert not (tmp_path / "out/chair").exists()


@pytest.mark.parametrize("shift", [(0.06, 0.0), (0.0, 0.06)])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.shifted])
def test_a_shift_alone_is_refused(tmp_path: Path, name: str, shift: tuple[float, float]):
    asset = write_asset(tmp_path / "data", job_of(shift=shift), "chair")
    report = export(asset, tmp_path / "out", name)
    assert failures(report) == [FormatCannotHold]
    assert "principal point" in str(report.failed[0].error)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.shifted])
def test_pixels_that_are_not_square_are_refused(tmp_path: Path, name: str):
    asset = write_asset(tmp_path / "data", job_of(pixel_aspect=1.25), "chair")
    report = export(asset, tmp_path / "out", name)
    assert failures(report) == [FormatCannotHold]
    assert "1.25 times as high" in str(report.failed[0].error)


@pytest.mark.parametrize("name", CASES)
def test_pictures_that_are_not_square_are_held_or_refused(tmp_path: Path, name: str):
    skip_without_torch(name)
    asset = write_asset(tmp_path / "data", job_of(resolution=(56, 80)), "chair")
    report = export(asset, tmp_path / "out", name)
    if name in SQUARE_ONLY:
        assert failures(report) == [FormatCannotHold]
        assert "56x80" in str(report.failed[0].error)
    else:
        assert report.failed == []
        agree(name, tmp_path / "out", asset, LOPSIDED)


@pytest.mark.parametrize("name", CASES)
def test_a_lens_of_its_own_per_view_is_held_or_refused(tmp_path: Path, name: str):
    skip_without_torch(name)
    asset = write_asset(tmp_path / "data", job_of(fov=(40.0, 60.0)), "chair")
    report = export(asset, tmp_path / "out", name)
    if CASES[name].per_view:
        assert report.failed == []
        agree(name, tmp_path / "out", asset, LOPSIDED)
        lost = [note for note in report.notes if "lens is not stored" in note["text"]]
        assert bool(lost) == (not CASES[name].lens)
    else:
        assert failures(report) == [FormatCannotHold]


@pytest.mark.parametrize("name", CASES)
def test_pictures_over_a_background_are_taken_or_refused(tmp_path: Path, name: str):
    skip_without_torch(name)
    asset = write_asset(tmp_path / "data", job_of(background=(1.0, 0.5, 0.0)), "chair")
    report = export(asset, tmp_path / "out", name)
    if name in ("nerfstudio", "long-lrm", "lvsm", "depthsplat"):
        assert report.failed == []
        picture = CASES[name].read(tmp_path / "out", "chair")[0].picture
        assert picture[0, 0].tolist() == [255, 128, 0]
    else:
        assert failures(report) == [MissingPass]
        assert "--background" in str(report.failed[0].error)


@pytest.mark.parametrize("name", CASES)
def test_colour_alone_is_enough_where_the_format_has_no_more(tmp_path: Path, name: str):
    skip_without_torch(name)
    asset = write_asset(tmp_path / "data", job_of(passes=("rgb",)), "chair")
    report = export(asset, tmp_path / "out", name)
    if name == "instantmesh":
        assert failures(report) == [MissingPass]
        assert "depth, normal" in str(report.failed[0].error)
        assert "--passes rgb,depth,normal" in str(report.failed[0].error)
    elif name == "depthsplat":
        assert report.failed == []
    else:
        assert report.failed == []
        assert CASES[name].read(tmp_path / "out", "chair")[0].depth is None
        assert not list((tmp_path / "out").rglob("*.ply"))


def test_a_format_without_colour_in_the_data_is_refused(tmp_path: Path):
    asset = write_asset(tmp_path / "data", job_of(passes=("depth", "mask")), "chair")
    assert failures(export(asset, tmp_path / "out", "nerfstudio")) == [MissingPass]


def test_the_background_is_the_one_that_was_asked_for(tmp_path: Path):
    asset = write_asset(tmp_path / "data", job_of(), "chair")
    export(asset, tmp_path / "out", "lvsm", Options(background=(0.0, 0.0, 1.0)))
    assert read_lvsm(tmp_path / "out", "chair")[0].picture[0, 0].tolist() == [0, 0, 255]


def test_what_instantmesh_clips_and_rounds_is_told_in_numbers(tmp_path: Path):
    # From 6.4 away some of the object is behind 6 scene units, and some before.
    asset = write_asset(tmp_path / "data", job_of(radius=6.4, fov=50.0), "chair")
    report = export(asset, tmp_path / "out", "instantmesh")
    notes = {(note["kind"], note["text"].split()[0]): note for note in report.notes}
    clipped, rounded = notes["clipped", "depth"], notes["quantised", "depth"]
    with AssetReader(asset) as reader:
        depth = np.concatenate([reader.read(view)["depth"].ravel() for view in range(VIEWS)])
    assert clipped["amount"] == (depth > 6).sum() > 0
    assert clipped["worst"] == pytest.approx(depth.max() - 6)
    assert rounded["amount"] == ((depth > 0) & (depth <= 6)).sum() > 0
    assert 0.005 < rounded["worst"] <= 0.5 * 6 / 255
    assert 0 < notes["quantised", "normals"]["worst"] < 0.5
    read = read_instantmesh(tmp_path / "out", "chair")
    assert max(np.nanmax(view.depth) for view in read.values()) == 6.0


def test_positions_move_with_the_cameras(tmp_path: Path):
    asset = write_asset(tmp_path / "data", job_of(), "chair", OFF_CENTER)
    with AssetReader(asset) as reader:
        scene = Scene(reader, FORMATS["trellis"], Options())
        mask = reader.read(1)["mask"] == 1
        points = scene.position(1)
        assert not points[~mask].any()
        assert np.abs(np.linalg.norm(points[mask], axis=1) - 0.5).max() < 1e-6
        uv, depth = scene.camera(1).project(points[mask])
        rows, columns = np.nonzero(mask)
        assert np.abs(uv - np.stack([columns, rows], axis=1) - 0.5).max() < 1e-3
        assert np.abs(depth - scene.depth(1)[mask]).max() < 1e-6


def test_trellis_says_how_the_original_became_the_exported(tmp_path: Path):
    def change(_: Any, record: dict[str, Any]) -> None:
        record["normalization"] |= {"scale": 0.25, "translation": [1.0, 2.0, 3.0]}

    asset = write_asset(tmp_path / "data", job_of(), "chair", OFF_CENTER, change)
    export(asset, tmp_path / "out", "trellis")
    (path,) = (tmp_path / "out/renders").glob("*/transforms.json")
    data = json.loads(path.read_text())
    original = np.array([7.0, -3.0, 0.5])
    normalised = 0.25 * original + [1.0, 2.0, 3.0]
    exported = (normalised - [0.3, 0.2, -0.1]) / 1.4
    assert np.allclose(data["scale"] * original + data["offset"], exported, atol=1e-12)


def test_nerfstudio_gets_masks_only_when_asked(tmp_path: Path):
    asset = write_asset(tmp_path / "data", job_of(), "chair")
    export(asset, tmp_path / "without", "nerfstudio")
    frames = json.loads((tmp_path / "without/chair/transforms.json").read_text())["frames"]
    assert all("mask_path" not in frame for frame in frames)
    export(asset, tmp_path / "with", "nerfstudio", Options(masks=True))
    data = json.loads((tmp_path / "with/chair/transforms.json").read_text())
    with AssetReader(asset) as reader:
        for index, frame in enumerate(data["frames"]):
            mask = picture_at(tmp_path / "with/chair" / frame["mask_path"])
            assert (mask == reader.read(index)["mask"] * 255).all()
    names = {frame["file_path"] for frame in data["frames"]}
    parts = [set(data[f"{part}_filenames"]) for part in ("train", "val", "test")]
    assert set.union(*parts) == names
    assert sum(map(len, parts)) == len(names)


@pytest.mark.parametrize("name", ["nerf-synthetic", "nerfstudio"])
def test_splats_start_from_points_of_the_surface(tmp_path: Path, name: str):
    asset = write_asset(tmp_path / "data", job_of(), "chair", OFF_CENTER)
    export(asset, tmp_path / "out", name)
    path = tmp_path / "out/chair/points3d.ply"
    if name == "nerfstudio":
        said = json.loads((tmp_path / "out/chair/transforms.json").read_text())
        path = tmp_path / "out/chair" / said["ply_file_path"]
        # The parser turns them as it turns the poses, which is not at all.
        assert not {"applied_transform", "applied_scale"} & set(said)
    data = path.read_bytes()
    head, _, body = data.partition(b"end_header\n")
    fields = [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")]
    fields += [(name, "u1") for name in ("red", "green", "blue")]
    points = np.frombuffer(body, fields)
    assert f"element vertex {len(points)}\n".encode() in head
    assert b"binary_little_endian" in head
    xyz = np.stack([points[name] for name in "xyz"], axis=1)
    assert np.abs(np.linalg.norm(xyz - [0.3, 0.2, -0.1], axis=1) - 0.7).max() < 1e-4
