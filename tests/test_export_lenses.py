"""Lenses and held-out views in every export: as the trainers read them, or refused by name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exporting import exported, notes, seen_points, stored
from PIL import Image

from objaverse_render_addon.dataset.export import FORMATS, Options, export
from objaverse_render_addon.errors import FormatCannotHold, MissingPass

LENSES: dict[str, dict[str, Any]] = {
    "orthographic": {"projection": "orthographic", "ortho": 2.6, "shift": (0.05, -0.1)},
    "panorama": {"projection": "panorama"},
    "fisheye": {"projection": "fisheye", "fov": 130.0, "shift": (0.1, 0.0)},
}
ANY = {"nerfstudio", "webdataset", "coco"}


def _skip_what_needs_more(outcome: Any) -> None:
    if isinstance(outcome.error, MissingPass):
        pytest.skip("a format of motion, which these assets do not have")
    if "no composed scene" in str(outcome.error):
        pytest.skip("a format of scenes with sentences")


@pytest.mark.parametrize("projection", LENSES)
@pytest.mark.parametrize("to", FORMATS)
def test_a_format_holds_a_lens_or_names_it(projection: str, to: str, tmp_path: Path) -> None:
    for module in FORMATS[to].modules:
        pytest.importorskip(module)
    stored(tmp_path / "data", cameras=LENSES[projection], pattern="ring")
    report = export(tmp_path / "data", tmp_path / "out", to)
    (outcome,) = report.outcomes
    _skip_what_needs_more(outcome)
    if projection in FORMATS[to].projections:
        if to != "wonder3d":  # Which wants no shift.
            assert outcome.status == "done", outcome.error
        return
    assert isinstance(outcome.error, FormatCannotHold)
    assert projection in outcome.error.message
    assert to in outcome.error.message
    assert to not in ANY


def test_the_formats_of_any_lens_are_these() -> None:
    held = {name for name, form in FORMATS.items() if len(form.projections) > 1}
    assert held == ANY


def nerfstudio_rays(data: dict[str, Any], frame: dict[str, Any]) -> tuple[Any, Any]:
    """As ``Cameras._generate_rays_from_coords`` describes them; directions are of unit length."""
    rows, columns = np.indices((frame["h"], frame["w"])) + 0.5
    x, y = (columns - frame["cx"]) / frame["fl_x"], -(rows - frame["cy"]) / frame["fl_y"]
    zero = np.zeros_like(x)
    pose = np.array(frame["transform_matrix"])
    start = np.stack([zero, zero, zero], -1)
    if data["camera_model"] == "OPENCV_FISHEYE":
        theta = np.clip(np.hypot(x, y), 1e-12, math.pi)
        local = np.stack([x * np.sin(theta) / theta, y * np.sin(theta) / theta, -np.cos(theta)], -1)
    elif data["camera_model"] == "EQUIRECTANGULAR":
        theta, phi = -math.pi * x, math.pi * (0.5 - y)
        local = np.stack(
            [-np.sin(theta) * np.sin(phi), np.cos(phi), -np.cos(theta) * np.sin(phi)], -1
        )
    else:
        assert data["camera_model"] == "ORTHOPHOTO"
        local, start = np.stack([zero, zero, zero - 1], -1), np.stack([x, y, zero], -1)
    return start @ pose[:3, :3].T + pose[:3, 3], local @ pose[:3, :3].T


@pytest.mark.parametrize("projection", LENSES)
def test_nerfstudios_own_rays_reach_the_surface(projection: str, tmp_path: Path) -> None:
    size = (128, 64) if projection == "panorama" else (64, 64)
    reader = stored(
        tmp_path / "data", cameras=LENSES[projection], pattern="ring", resolution=size
    )
    target, _ = exported(tmp_path, "nerfstudio")
    data = json.loads((target / "asset/transforms.json").read_text())
    for view, frame in enumerate(data["frames"]):
        origins, directions = nerfstudio_rays(data, frame)
        depth = np.load(target / "asset" / frame["depth_file_path"]) / 1000
        points, centers = seen_points(reader, view)
        columns, rows = (centers - 0.5).astype(int).T
        # Neither lens scales its rays, so that depth is the distance along them.
        seen = origins[rows, columns] + depth[rows, columns, None] * directions[rows, columns]
        assert len(points) > 20
        assert np.abs(seen - points).max() < 2e-4


# --- Wonder3D -------------------------------------------------------------------------------

SIDES = ("front", "front_right", "right", "back", "left", "front_left")
WONDER: dict[str, Any] = {"projection": "orthographic", "ortho": 3.0}


def test_wonder3ds_loader_reads_every_side_in_its_own_axes(tmp_path: Path) -> None:
    reader = stored(
        tmp_path / "data", pattern="six-around", views=6, cameras=WONDER, resolution=(48, 48)
    )
    target, report = exported(tmp_path, "wonder3d", split=(1.0, 0.0, 0.0))
    assert json.loads((target / "train.json").read_text()) == ["asset"]
    first = None
    for index, side in enumerate(SIDES):
        # ObjaverseDataset: root_dir, the first three letters, the name, suffix png.
        folder = target / "asset"[:3] / "asset"
        rgb = np.array(Image.open(folder / f"rgb_000_{side}.png"))
        normal = np.array(Image.open(folder / f"normals_000_{side}.png"))
        mask = np.array(Image.open(folder / f"mask_000_{side}.png"))
        assert rgb.shape == normal.shape == (48, 48, 4)
        assert mask.shape == (48, 48)
        arrays = reader.read(index)
        assert np.array_equal(mask > 0, arrays["mask"] == 1)
        assert np.array_equal(rgb, arrays["rgb"])
        camera = reader.view(index).camera
        turned = np.array([0, -1, 0])
        if first is None:
            first = camera.camera_to_world[:3, :3]
            assert np.allclose(first[:, 2], turned)
        # trans_normal: from this camera to that of the front.
        relative = first.T @ camera.camera_to_world[:3, :3]
        there = mask > 0
        local = normal[there][:, :3] / 255 * 2 - 1
        world = local @ relative.T @ first.T
        expected = arrays["normal"][there] @ camera.camera_to_world[:3, :3].T
        assert np.abs(world - expected).max() < 0.01
        angle = math.radians((0, 45, 90, 180, 270, 315)[index])
        right = first[:, 0] * math.sin(angle) + first[:, 2] * math.cos(angle)
        assert np.allclose(camera.camera_to_world[:3, 2], right, atol=1e-9)
    # This object's box is not the one that the recipe makes.
    assert "diagonal" in notes(report, "differs")


def test_wonder3d_tells_other_sides(tmp_path: Path) -> None:
    stored(tmp_path / "data", pattern="ring", views=6, cameras=WONDER)
    assert "render with --recipe wonder3d" in notes(exported(tmp_path, "wonder3d")[1], "differs")


# --- Held-out views -------------------------------------------------------------------------

HELD_OUT: dict[str, Any] = {"test_views": 3}


def test_nerf_synthetics_test_is_what_was_held_out(tmp_path: Path) -> None:
    stored(tmp_path / "data", pattern="ring", views=8, cameras=HELD_OUT)
    target, _ = exported(tmp_path, "nerf-synthetic")
    listed = {}
    for part in ("train", "val", "test"):
        data = json.loads((target / f"asset/transforms_{part}.json").read_text())
        listed[part] = [frame["file_path"] for frame in data["frames"]]
        assert all((target / "asset" / f"{path}.png").is_file() for path in listed[part])
    assert len(listed["train"]) == 8
    assert listed["val"] == listed["test"]
    assert [path.rpartition("_")[2] for path in listed["test"]] == ["8", "9", "10"]


def test_nerfstudio_and_colmap_list_what_was_held_out(tmp_path: Path) -> None:
    stored(tmp_path / "data", pattern="ring", views=8, cameras=HELD_OUT)
    target, _ = exported(tmp_path, "nerfstudio")
    data = json.loads((target / "asset/transforms.json").read_text())
    assert [len(data[f"{part}_filenames"]) for part in ("train", "val", "test")] == [8, 3, 3]
    assert data["test_filenames"] == [f"images/{number:03d}.png" for number in (8, 9, 10)]
    report = export(tmp_path / "data", tmp_path / "colmap", "colmap")
    lines = (tmp_path / "colmap/asset/sparse/0/test.txt").read_text().split()
    assert lines == ["008.png", "009.png", "010.png"]
    assert "held out" in notes(report, "differs")


def test_depthsplat_tests_on_what_was_held_out(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    stored(tmp_path / "data", pattern="ring", views=8, cameras=HELD_OUT)
    target, _ = exported(tmp_path, "depthsplat", split=(0.0, 0.0, 1.0))
    index = json.loads((target / "evaluation_index.json").read_text())
    assert index == {"asset": {"context": [2, 6], "target": [8, 9, 10]}}


@pytest.mark.parametrize(
    "to", [name for name, form in FORMATS.items() if not form.holds_out("train")]
)
def test_elsewhere_no_trainer_learns_from_them(to: str, tmp_path: Path) -> None:
    for module in FORMATS[to].modules:
        pytest.importorskip(module)
    cameras = HELD_OUT | (WONDER if to == "wonder3d" else {"fov": 40.0})
    stored(tmp_path / "data", pattern="ring", views=8, cameras=cameras)
    report = export(tmp_path / "data", tmp_path / "out", to)
    (outcome,) = report.outcomes
    _skip_what_needs_more(outcome)
    assert outcome.error is None
    assert outcome.views == 8
    assert "held out" in notes(report, "dropped")
    chosen = export(tmp_path / "data", tmp_path / "chosen", to, Options(views=(0, 9)))
    assert chosen.outcomes[0].views == 2

