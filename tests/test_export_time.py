"""Animations in other formats: read back by code that shares nothing with the exporters."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import LOPSIDED, write_asset
from jobs import written

from objaverse_render_addon.dataset.export import FORMATS, Options, export
from objaverse_render_addon.dataset.images import read_exr, read_png
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.frame import Frame
from objaverse_render_addon.job import CameraRules, RenderJob

TIMES = (1, 5, 9)
PASSES = ("rgb", "depth", "normal", "mask", "object_index", "distance")


def moving(folder: Path, views: int = 2, **cameras: Any) -> AssetReader:
    job = RenderJob(
        cameras=CameraRules(pattern="ring", views=views, **cameras),
        **written(resolution=(64, 48), layout="folder", passes=PASSES),
    )

    def darker(frames: list[Frame], _: dict[str, Any]) -> None:
        # With time, so that pictures are told apart.
        for frame in frames:
            frame.passes["rgb"][..., :3] //= 1 + TIMES.index(frame.time)

    return AssetReader(write_asset(folder / "data", job, "asset", LOPSIDED, darker, times=TIMES))


def exported(folder: Path, to: str, **options: Any) -> Path:
    report = export(folder / "data", folder / "out", to, Options(**options))
    assert [outcome.error for outcome in report.outcomes if outcome.error] == []
    return folder / "out" / "asset"


def colors_of_16_bits(data: bytes) -> Any:
    """(H, W, 3) of a PNG whose rows are filtered by "up", as the format's specification has it."""
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    assert (depth, kind) == (16, 2)
    at = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[at - 4 : at])
    rows = np.frombuffer(zlib.decompress(data[at + 4 : at + 4 + length]), np.uint8)
    rows = rows.reshape(height, 1 + 6 * width)
    assert (rows[:, 0] == 2).all()
    whole = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8)
    return whole.view(">u2").reshape(height, width, 3).astype(np.float64)


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if not form.has_time])
def test_formats_without_time_refuse_what_moves_by_name(name: str, tmp_path: Path):
    moving(tmp_path)
    if any(module == "torch" for module in FORMATS[name].modules):
        pytest.importorskip("torch")
    report = export(tmp_path / "data", tmp_path / "out", name)
    (outcome,) = report.outcomes
    assert outcome.error is not None
    if outcome.error.reason == "missing-pass":
        return
    assert outcome.error.reason == "format-cannot-hold"
    assert f"{name} has no place for time" in outcome.error.message
    assert "--frame 1" in outcome.error.hint


def test_one_frame_goes_where_none_can(tmp_path: Path):
    moving(tmp_path)
    report = export(tmp_path / "data", tmp_path / "out", "gs-lrm", Options(frame=5))
    assert report.outcomes[0].error is None
    assert report.views == 2
    (outcome,) = export(tmp_path / "data", tmp_path / "x", "gs-lrm", Options(frame=6)).outcomes
    assert "has the frames 1 to 9, frame 6 is asked for" in str(outcome.error)


def test_nerfstudio_and_dnerf_have_time_from_0_to_1(tmp_path: Path):
    reader = moving(tmp_path)
    home = exported(tmp_path, "nerfstudio")
    frames = json.loads((home / "transforms.json").read_text())["frames"]
    assert [frame["time"] for frame in frames] == [0, 0.5, 1, 0, 0.5, 1]
    assert len({frame["file_path"] for frame in frames}) == 6
    assert read_png((home / frames[3]["file_path"]).read_bytes()).shape == (48, 64, 4)
    np.testing.assert_allclose(
        frames[3]["transform_matrix"], reader.view(3).camera.camera_to_world
    )
    report = export(tmp_path / "data", tmp_path / "dnerf", "nerf-synthetic")
    assert report.outcomes[0].error is None
    times = [
        frame["time"]
        for part in ("train", "val", "test")
        for frame in json.loads(
            (tmp_path / f"dnerf/asset/transforms_{part}.json").read_text()
        )["frames"]
    ]
    assert sorted(times) == [0, 0, 0.5, 0.5, 1, 1]


@pytest.mark.parametrize("views", [1, 2])
def test_visionsim_has_its_layout_and_right_intrinsics(views: int, tmp_path: Path):
    # Each camera may have a lens of its own.
    reader = moving(tmp_path, views, shift=(0.05, -0.02), fov=(40, 60))
    home = exported(tmp_path, "visionsim")
    folders = [home] if views == 1 else [home / "000", home / "001"]
    for number, folder in enumerate(folders):
        data = json.loads((folder / "transforms.json").read_text())
        assert [frame["frame"] for frame in data["frames"]] == [1, 5, 9]
        place = reader.place(number, 5)
        camera, arrays = reader.view(place).camera, reader.read(place)
        frame = data["frames"][1]
        assert frame["file_path"] == "frames/frame_000001.png"
        k = np.array([[data["fl_x"], 0, data["cx"]], [0, data["fl_y"], data["cy"]], [0, 0, 1]])
        np.testing.assert_allclose(k, camera.intrinsics)
        np.testing.assert_allclose(data["intrinsics"], camera.intrinsics)
        np.testing.assert_allclose(frame["transform_matrix"], camera.camera_to_world)
        depth = read_exr(folder / frame["depth_file_path"])["V"]
        np.testing.assert_array_equal(
            depth, np.where(arrays["mask"] > 0, arrays["depth"], np.float32(1e10))
        )
        ids = read_exr(folder / frame["segmentation_file_path"])["V"]
        np.testing.assert_array_equal(ids, arrays["object_index"])
        assert data["segmentation_ids"] == {"7": "thing"}
        normal = read_exr(folder / frame["normal_file_path"])
        np.testing.assert_allclose(normal["B"], arrays["normal"][..., 2], atol=1e-6)
        info = json.loads((folder / "info.json").read_text())
        assert info["frame_rate"] == 24
        assert info["elapsed_time"] == pytest.approx(8 / 24)


def test_tum_has_a_trajectory_in_seconds(tmp_path: Path):
    reader = moving(tmp_path, 1)
    home = exported(tmp_path, "tum")
    rows = [line.split() for line in (home / "groundtruth.txt").read_text().splitlines()
            if not line.startswith("#")]  # fmt: skip
    assert [float(row[0]) for row in rows] == pytest.approx([1 / 24, 5 / 24, 9 / 24], abs=1e-6)
    pose = reader.view(0).camera.camera_to_world_opencv
    np.testing.assert_allclose([float(x) for x in rows[0][1:4]], pose[:3, 3], rtol=1e-6)
    x, y, z, w = (float(value) for value in rows[0][4:])
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    np.testing.assert_allclose(turn, pose[:3, :3], atol=1e-6)
    (_, name) = (home / "depth.txt").read_text().splitlines()[2].split()
    depth = read_png((home / name).read_bytes()).astype(np.float64) / 5000
    truth = reader.read(1)["depth"]
    assert np.abs(depth - truth).max() <= 0.5 / 5000 + 1e-9


def test_kubric_has_distance_along_the_ray(tmp_path: Path):
    image = pytest.importorskip("PIL.Image")
    reader = moving(tmp_path, 2)
    home = exported(tmp_path, "kubric") / "001"
    data = json.loads((home / "metadata.json").read_text())
    assert data["metadata"]["num_frames"] == 3
    assert data["metadata"]["frames"] == [1, 5, 9]
    place = reader.place(1, 9)
    arrays, camera = reader.read(place), reader.view(place).camera
    depth = np.asarray(image.open(io.BytesIO((home / "depth_00002.tiff").read_bytes())))
    there = arrays["mask"] > 0
    np.testing.assert_array_equal(depth[there], arrays["distance"][there])
    assert (depth[~there] == np.float32(1e10)).all()
    normal = colors_of_16_bits((home / "normal_00002.png").read_bytes()) / 65535 * 2 - 1
    np.testing.assert_allclose(normal, arrays["normal"], atol=2e-5)
    np.testing.assert_allclose(
        data["camera"]["positions"][2], camera.camera_to_world[:3, 3]
    )
    focal = data["camera"]["focal_length"] / data["camera"]["sensor_width"] * camera.width
    assert focal == pytest.approx(camera.intrinsics[0, 0])
    assert data["instances"] == [{"segmentation_id": 7, "asset_id": "asset", "name": "thing"}]


def test_an_animation_plays_as_one_view_sees_it(tmp_path: Path):
    image = pytest.importorskip("PIL.Image")
    from objaverse_render_addon.dataset.turntable import play_order, turntable
    from objaverse_render_addon.errors import InvalidJob

    reader = moving(tmp_path, 2)
    order = play_order(reader, 1)
    assert [(reader.key(place).view, reader.key(place).time) for place in order] == [
        (1, 1), (1, 5), (1, 9),
    ]  # fmt: skip
    target = tmp_path / "walk.webp"
    assert turntable(tmp_path / "data/asset", target, view=1) == (3, 64, 48)
    with image.open(target) as movie:
        assert movie.n_frames == 3
        movie.seek(1)
        movie.load()
        # Four frames of the file lie between two of its pictures.
        assert movie.info["duration"] == pytest.approx(1000 * 4 / 24, abs=1)
    with pytest.raises(InvalidJob, match="no view 7; it has 0 to 1"):
        turntable(tmp_path / "data/asset", target, view=7)
