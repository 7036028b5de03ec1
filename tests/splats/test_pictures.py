"""What a field shows, in folders and beside the truth."""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from analytic import write_asset
from gallery_data import job_of

from objaverse_render_addon.cameras.files import views_from_file
from objaverse_render_addon.cli import main
from objaverse_render_addon.dataset.images import read_png
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.splats.field import Field, write_field
from objaverse_render_addon.splats.gpu import on_gpu
from objaverse_render_addon.splats.pictures import Painter, compare, passes_of, psnr, render_views

from .made import camera_at, drawn_plainly, field_of


def wall(distance: float) -> Field:
    """A grid of flat, opaque, red Gaussians facing +X at x = distance."""
    y, z = (axis.ravel() for axis in np.meshgrid(*[np.linspace(-0.4, 0.4, 41)] * 2))
    count = len(y)
    harmonics = np.zeros((count, 1, 3), np.float32)
    harmonics[:, 0] = (np.array([0.8, 0.25, 0.1]) - 0.5) / 0.28209479177387814
    return Field(
        np.stack([np.full(count, distance), y, z], axis=1).astype(np.float32),
        np.tile(np.float32([1e-4, 0.02, 0.02]), (count, 1)),
        np.tile(np.float32([1, 0, 0, 0]), (count, 1)),
        np.full(count, 0.99, np.float32),
        harmonics,
    )


def test_a_wall_has_its_colour_and_its_depth() -> None:
    camera = camera_at(0, (64, 48), 2.0)
    # It looks along -X, down by 25 degrees.
    passes = passes_of(Painter(wall(0.0))(camera))  # type: ignore[arg-type]
    middle = np.s_[20:28, 28:36]
    assert np.abs(passes["rgb"][middle].astype(int) - [204, 64, 26, 255]).max() <= 2
    origin, rays = camera.world_rays()
    truth = -origin[..., 0] / rays[..., 0] / camera.stretch()
    # A Gaussian has one depth, its centre's.
    assert np.abs(passes["depth"] - truth)[middle].max() < 0.03
    assert passes["mask"][0, 0] == 0 and passes["depth"][0, 0] == 0
    assert passes["rgb"][0, 0, 3] == 0


def test_passes_are_straight_and_their_depth_is_where_the_mask_is() -> None:
    field, camera = field_of(200), camera_at(70)
    passes = passes_of(Painter(field)(camera))  # type: ignore[arg-type]
    color, alpha, _ = drawn_plainly(field, camera)
    there = alpha > 0.1
    straight = np.clip(color / np.maximum(alpha, 1e-6)[..., None], 0, 1) * 255
    off = np.abs(passes["rgb"][..., :3] - straight)[there]
    assert np.quantile(off, 0.99) < 1.01
    assert np.array_equal(passes["depth"] > 0, passes["mask"] == 1)


def test_a_folder_is_read_by_cameras_and_by_its_paths(tmp_path: Path) -> None:
    field = field_of(100)
    cameras = [camera_at(azimuth) for azimuth in (0, 90)]
    target = render_views(field, cameras, tmp_path / "out")
    again = views_from_file(str(target), (83, 61))
    np.testing.assert_allclose(again[1].camera.intrinsics, cameras[1].intrinsics)
    np.testing.assert_allclose(again[1].camera.camera_to_world, cameras[1].camera_to_world)
    record = json.loads(target.read_text())["frames"][1]
    image = read_png((tmp_path / "out" / record["file_path"]).read_bytes())
    passes = passes_of(Painter(field)(cameras[1]))  # type: ignore[arg-type]
    assert np.array_equal(image, passes["rgb"])
    depth = np.load(tmp_path / "out" / record["depth_file_path"])
    np.testing.assert_allclose(depth * 0.001, passes["depth"], rtol=1e-6)


def test_the_command_renders_from_any_camera_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_field(tmp_path / "field.ply", field_of(50))
    poses = render_views(field_of(5), [camera_at(0), camera_at(45)], tmp_path / "poses")
    out = tmp_path / "out"
    arguments = ["splats", str(tmp_path / "field.ply"), "--cameras", str(poses), "-o", str(out)]
    assert main([*arguments, "--resolution", "83x61"]) == 0
    assert "2 views" in capsys.readouterr().out
    assert len(list((out / "images").iterdir())) == 2
    assert main([*arguments, "--resolution", "80x80"]) != 0
    assert "squash" in capsys.readouterr().err
    assert main(["splats", str(poses), "--cameras", str(poses), "-o", str(out)]) != 0
    assert "no PLY" in capsys.readouterr().err


def test_the_command_holds_a_field_against_the_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A field whose pictures are the data set is told from one that is not."""
    field, other = field_of(400, size=0.06), field_of(400, seed=2, size=0.06)
    data = write_asset(tmp_path, job_of(views=4, size=(48, 40)), "thing")
    with AssetReader(data) as asset:
        cameras = [asset.view(view).camera for view in range(4)]
        drawn = [passes_of(Painter(field)(camera)) for camera in cameras]  # type: ignore[arg-type]

        class Truth:
            """The asset, with the field's own pictures."""

            passes, ref = ("rgb", "depth", "mask"), asset.ref

            def __len__(self) -> int:
                return 4

            def view(self, view: int) -> object:
                return asset.view(view)

            def read(self, view: int, names: list[str]) -> dict[str, np.ndarray]:
                return {name: drawn[view][name] for name in names}

        same = list(compare(field, Truth(), [0, 3]))  # type: ignore[arg-type]
        off = list(compare(other, Truth()))  # type: ignore[arg-type]
    assert [one.view for one in same] == [0, 3]
    assert all(one.psnr == np.inf and one.depth == 0 and one.overlap == 1 for one in same)
    assert all(one.psnr < 25 and one.overlap < 1 for one in off)
    # The command prints the same numbers, of a data set on disk.
    write_field(tmp_path / "field.ply", field)
    with AssetReader(data) as asset:
        found = list(compare(field, asset, [1, 2]))
    arguments = ["splats", str(tmp_path / "field.ply"), "--against", str(data)]
    assert main([*arguments, "--views", "1", "2"]) == 0
    said = capsys.readouterr().out
    rows = re.findall(r"^ +(\d+) +([\d.]+) +([\d.]+) +([\d.]+)$", said, re.M)
    assert [(int(row[0]), float(row[1])) for row in rows] == [
        (one.view, pytest.approx(one.psnr, abs=0.005)) for one in found
    ]
    assert "of 2 views" in said
    assert main([*arguments, "--views", "9"]) != 0
    assert "view 9" in capsys.readouterr().err


def test_likeness_is_a_number_of_decibels() -> None:
    one = np.zeros((4, 4, 3), np.uint8)
    other = one.copy()
    other[..., 0] = 51
    assert psnr(one, one) == np.inf
    assert psnr(one, other) == pytest.approx(-10 * np.log10(0.2**2 / 3))


def test_without_cuda_the_processor_draws() -> None:
    torch = pytest.importorskip("torch", reason="NOT TESTED: torch is not installed")
    if torch.cuda.is_available():
        pytest.skip("there is CUDA")
    assert on_gpu(field_of(3)) is None


def test_with_cuda_and_without_gsplat_it_is_said_and_the_processor_draws(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    torch = types.ModuleType("torch")
    torch.cuda = types.SimpleNamespace(is_available=lambda: True)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "gsplat", None)
    assert on_gpu(field_of(3)) is None
    assert "pip install gsplat" in caplog.text
