from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import camera_at, write_asset
from hypothesis import given, settings
from hypothesis import strategies as st

from objaverse_render_addon.cameras import PROJECTIONS, Camera, intrinsics_of
from objaverse_render_addon.cameras.files import pose_files, transforms_json, views_from_file
from objaverse_render_addon.dataset.export import export
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.errors import CameraFileError
from objaverse_render_addon.job import CameraRules, Pixels, RenderJob

SIZE = (64, 48)
CAMERAS = [
    camera_at(azimuth, elevation, radius, fov, SIZE, aspect, shift)
    for azimuth, elevation, radius, fov, aspect, shift in [
        (30, 20, 3, 45, 1.0, (0, 0)),
        (200, -50, 2, 60, 1.1, (0.1, -0.2)),
        (0, 90, 4, 30, 0.9, (0, 0.05)),
    ]
]
NAMES = ["a.png", "b.png", "images/c_d.png"]
# Shuffled: a model's order is that of its images' names, not of their numbers.
NUMBERS = [3, 1, 2]


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """(w, x, y, z) by the eigenvector of the largest eigenvalue (Bar-Itzhack 2000)."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    k = np.array([
        [a - e - i, d + b, g + c, h - f], [d + b, e - a - i, h + f, c - g],
        [g + c, h + f, i - a - e, d - b], [h - f, c - g, d - b, a + e + i],
    ]) / 3  # fmt: skip
    x, y, z, w = np.linalg.eigh(k)[1][:, -1]
    return np.array([w, x, y, z])


def pose_of(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    matrix = np.diag([1, -1, -1, 1]) @ np.linalg.inv(camera.camera_to_world)
    return quaternion(matrix[:3, :3]), matrix[:3, 3]


def lens_of(camera: Camera) -> list[float]:
    k = camera.intrinsics
    return [k[0, 0], k[1, 1], k[0, 2], k[1, 2]]


def write_text(folder: Path, model: str = "PINHOLE", more: tuple[float, ...] = ()) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines, images = ["# a comment"], ["# another", ""]
    for number, name, camera in zip(NUMBERS, NAMES, CAMERAS, strict=True):
        numbers = " ".join(repr(float(x)) for x in [*lens_of(camera), *more])
        lines.append(f"{number} {model} {SIZE[0]} {SIZE[1]} {numbers}")
        pose = " ".join(repr(float(x)) for part in pose_of(camera) for x in part)
        images += [f"{number} {pose} {number} {name}", "" if number == 1 else "1.0 2.0 -1"]
    (folder / "cameras.txt").write_text("\n".join(lines) + "\n")
    (folder / "images.txt").write_text("\n".join(images) + "\n")
    return folder


def write_binary(folder: Path, model: int = 1, more: tuple[float, ...] = ()) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    cameras, images = struct.pack("<Q", 3), struct.pack("<Q", 3)
    for number, name, camera in zip(NUMBERS, NAMES, CAMERAS, strict=True):
        values = [*lens_of(camera), *more]
        cameras += struct.pack(f"<iiQQ{len(values)}d", number, model, *SIZE, *values)
        rotation, translation = pose_of(camera)
        images += struct.pack("<i7di", number, *rotation, *translation, number)
        images += name.encode() + b"\0" + struct.pack("<Q", number)
        images += struct.pack("<ddq", 1.0, 2.0, -1) * number
    (folder / "cameras.bin").write_bytes(cameras)
    (folder / "images.bin").write_bytes(images)
    return folder


WRITERS = {"text": write_text, "binary": write_binary}
each_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


def assert_same(found: list[Any], wanted: list[Camera], tolerance: float = 1e-9) -> None:
    assert [view.index for view in found] == list(range(len(wanted)))
    for view, camera in zip(found, wanted, strict=True):
        assert (view.camera.width, view.camera.height) == (camera.width, camera.height)
        for name in ("intrinsics", "camera_to_world"):
            error = np.abs(getattr(view.camera, name) - getattr(camera, name)).max()
            assert error < tolerance, name


# --- COLMAP ---------------------------------------------------------------------------------


@each_writer
@pytest.mark.parametrize("inner", [".", "sparse/0", "sparse"])
def test_a_colmap_model_is_read_as_it_was_posed(tmp_path: Path, write: Any, inner: str):
    write(tmp_path / inner)
    assert_same(views_from_file(str(tmp_path), SIZE), CAMERAS)
    assert_same(views_from_file(str(tmp_path), SIZE, 2), CAMERAS[:2])


@each_writer
def test_a_colmap_model_projects_points_where_it_says(tmp_path: Path, write: Any):
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 3))
    for view, camera in zip(
        views_from_file(str(write(tmp_path)), SIZE), CAMERAS, strict=True
    ):
        # COLMAP's own words: x = K (R X + t).
        rotation = np.linalg.inv(camera.camera_to_world)[:3] * [[1], [-1], [-1]]
        local = points @ rotation[:, :3].T + rotation[:, 3]
        uv = (local @ camera.intrinsics.T)[:, :2] / local[:, 2:]
        ours, depth = view.camera.project(points)
        assert np.allclose(ours, uv, atol=1e-9)
        assert np.allclose(depth, local[:, 2])


def test_what_pycolmap_writes_is_read(tmp_path: Path):
    pycolmap = pytest.importorskip("pycolmap", reason="pycolmap is not here")
    write_text(tmp_path / "from")
    (tmp_path / "from" / "points3D.txt").write_text("")
    model = pycolmap.Reconstruction(str(tmp_path / "from"))
    for ending in ("text", "binary"):
        folder = tmp_path / ending
        folder.mkdir()
        getattr(model, f"write_{ending}")(str(folder))
        assert_same(views_from_file(str(folder), SIZE), CAMERAS, 1e-6)
    # And pycolmap sees the cameras where we do.
    points = np.random.default_rng(1).uniform(-0.5, 0.5, (20, 3))
    for view, name in zip(views_from_file(str(tmp_path / "binary"), SIZE), NAMES, strict=True):
        image = next(image for image in model.images.values() if image.name == name)
        theirs = [image.project_point(point) for point in points]
        assert np.allclose(view.camera.project(points)[0], np.array(theirs), atol=1e-6)


@each_writer
def test_a_simple_pinhole_has_one_focal_length(tmp_path: Path, write: Any, monkeypatch: Any):
    monkeypatch.setitem(globals(), "lens_of", lambda camera: [70.0, 30.0, 20.0])
    write(tmp_path, "SIMPLE_PINHOLE" if write is write_text else 0)
    view = views_from_file(str(tmp_path), SIZE)[0]
    assert view.camera.intrinsics.tolist() == [[70, 0, 30], [0, 70, 20], [0, 0, 1]]


@each_writer
def test_distortion_of_zero_is_none(tmp_path: Path, write: Any):
    write(tmp_path, "OPENCV" if write is write_text else 4, (0.0, 0.0, 0.0, 0.0))
    assert_same(views_from_file(str(tmp_path), SIZE), CAMERAS)


@each_writer
@pytest.mark.parametrize("place", range(4))
def test_distortion_is_refused_by_its_name(tmp_path: Path, write: Any, place: int):
    more = tuple(1e-3 * (i == place) for i in range(4))
    write(tmp_path, "OPENCV" if write is write_text else 4, more)
    name = ("k1", "k2", "p1", "p2")[place]
    with pytest.raises(CameraFileError, match=rf"distortion \({name}\)"):
        views_from_file(str(tmp_path), SIZE)


@each_writer
def test_a_fisheye_without_distortion_is_the_equidistant_one(tmp_path: Path, write: Any):
    write(tmp_path, "OPENCV_FISHEYE" if write is write_text else 5, (0.0,) * 4)
    views = views_from_file(str(tmp_path), SIZE)
    assert {view.camera.projection for view in views} == {"fisheye"}
    assert np.allclose(views[0].camera.intrinsics, CAMERAS[0].intrinsics)
    write(tmp_path, "OPENCV_FISHEYE" if write is write_text else 5, (0.0, 0.1, 0.0, 0.0))
    with pytest.raises(CameraFileError, match=r"distortion \(k2\)"):
        views_from_file(str(tmp_path), SIZE)


@each_writer
def test_another_model_is_refused_by_its_name(tmp_path: Path, write: Any):
    write(tmp_path, "FOV" if write is write_text else 7, (0.0,))
    with pytest.raises(CameraFileError, match="FOV"):
        views_from_file(str(tmp_path), SIZE)


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_every_lens_goes_through_a_file_and_back(tmp_path: Path, projection: str):
    opening = 2.5 if projection == "orthographic" else 120.0
    off = (0.0, 0.0) if projection == "panorama" else (0.1, -0.2)
    k = intrinsics_of(projection, opening, SIZE, 1.0, off)
    camera = Camera(*SIZE, k, CAMERAS[0].camera_to_world, projection)
    path = tmp_path / "poses.json"
    path.write_bytes(transforms_json([camera, CAMERAS[0]], ["a", "b"]))
    one, other = (view.camera for view in views_from_file(str(path), SIZE))
    assert (one.projection, other.projection) == (projection, "perspective")
    assert np.allclose(one.intrinsics, k)
    assert np.allclose(one.camera_to_world, camera.camera_to_world)


@each_writer
def test_a_model_of_another_shape_is_refused_with_the_right_one(tmp_path: Path, write: Any):
    with pytest.raises(CameraFileError, match="64x48") as caught:
        views_from_file(str(write(tmp_path)), (512, 512))
    assert "--resolution 64x48" in caught.value.hint
    views = views_from_file(str(tmp_path), (640, 480))
    assert np.allclose(views[1].camera.intrinsics[:2] / 10, CAMERAS[1].intrinsics[:2])


@pytest.mark.parametrize("name", ["cameras", "images"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
def test_a_binary_model_that_breaks_off_is_named(tmp_path: Path, name: str, share: float):
    path = write_binary(tmp_path) / f"{name}.bin"
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CameraFileError, match=str(tmp_path)):
        views_from_file(str(tmp_path), SIZE)


@pytest.mark.parametrize("name", ["cameras", "images"])
def test_a_binary_model_that_says_huge_numbers_is_named(tmp_path: Path, name: str):
    path = write_binary(tmp_path) / f"{name}.bin"
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])
    with pytest.raises(CameraFileError):
        views_from_file(str(tmp_path), SIZE)
    path.write_bytes(b"\xff" * 500)
    with pytest.raises(CameraFileError):
        views_from_file(str(tmp_path), SIZE)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("cameras", "1 PINHOLE 64"),
        ("cameras", "one PINHOLE 64 48 1 1 1 1"),
        ("cameras", "1 PINHOLE 64 48 1 1 1"),
        ("cameras", "7 PINHOLE 64 48 1 1 1 1"),
        ("cameras", "1 PINHOLE 0 48 1 1 1 1"),
        ("cameras", "1 PINHOLE 64 48 nan 1 1 1"),
        ("images", "1 1 0 0"),
        ("images", "1 0 0 0 0 0 0 0 1 a.png"),
        ("images", "1 nan 0 0 0 0 0 0 1 a.png"),
        ("images", "1 1 0 0 0 inf 0 0 1 a.png"),
        ("images", "1 5 0 0 0 0 0 0 1 a.png"),
        ("images", "# none"),
    ],
)
def test_a_text_model_that_is_wrong_is_named(tmp_path: Path, name: str, line: str):
    (write_text(tmp_path) / f"{name}.txt").write_text(line + "\n\n")
    with pytest.raises(CameraFileError, match=str(tmp_path)):
        views_from_file(str(tmp_path), SIZE)


@each_writer
def test_random_damage_to_a_model_is_a_named_error_or_gives_cameras(tmp_path: Path, write: Any):
    named = 0
    rng = np.random.default_rng(0)
    files = list(write(tmp_path).iterdir())
    whole = {path: path.read_bytes() for path in files}
    for round_ in range(400):
        path = files[round_ % 2]
        damaged = bytearray(whole[path])
        for at in rng.integers(0, len(damaged), 4):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            for view in views_from_file(str(tmp_path), SIZE):
                pose = view.camera.camera_to_world
                assert np.isfinite(pose).all() and np.isfinite(view.camera.intrinsics).all()
                assert np.abs(pose[:3, :3].T @ pose[:3, :3] - np.eye(3)).max() < 1e-6
                assert (np.diag(view.camera.intrinsics) > 0).all()
        except CameraFileError:
            named += 1
        path.write_bytes(whole[path])
    assert named > 40


# --- Folders, angles ------------------------------------------------------------------------


def frames_of(cameras: list[Camera]) -> dict[str, Any]:
    return {
        "camera_angle_x": 0.7,
        "frames": [{"transform_matrix": camera.camera_to_world.tolist()} for camera in cameras],
    }


def test_a_nerf_synthetic_folder_is_train_then_val_then_test(tmp_path: Path):
    for split, part in (("test", CAMERAS[2:]), ("train", CAMERAS[:1]), ("val", CAMERAS[1:2])):
        (tmp_path / f"transforms_{split}.json").write_text(json.dumps(frames_of(part)))
    found = views_from_file(str(tmp_path), SIZE)
    for view, camera in zip(found, CAMERAS, strict=True):
        assert np.array_equal(view.camera.camera_to_world, camera.camera_to_world)
    one = views_from_file(str(tmp_path / "transforms_val.json"), SIZE)
    assert len(one) == 1


def test_a_folder_with_transforms_is_that_file(tmp_path: Path):
    (tmp_path / "transforms.json").write_text(json.dumps(frames_of(CAMERAS)))
    (tmp_path / "transforms_train.json").write_text("{")
    assert len(views_from_file(str(tmp_path), SIZE)) == 3


def test_a_folder_without_poses_is_named(tmp_path: Path):
    with pytest.raises(CameraFileError, match="holds no poses"):
        pose_files(tmp_path)


def test_both_angles_make_pixels_that_are_not_square(tmp_path: Path):
    data = frames_of(CAMERAS[:1]) | {"camera_angle_y": 0.4, "w": 128, "h": 96}
    (tmp_path / "a.json").write_text(json.dumps(data))
    camera = views_from_file(str(tmp_path / "a.json"), SIZE)[0].camera
    assert camera.fov == pytest.approx((math.degrees(0.7), math.degrees(0.4)))


@pytest.mark.parametrize("name", ["k5", "s1", "distortion_params"])
def test_rarer_distortion_is_refused_too(tmp_path: Path, name: str):
    value = [0.0, 0.1] if name == "distortion_params" else 0.1
    (tmp_path / "a.json").write_text(json.dumps(frames_of(CAMERAS[:1]) | {name: value}))
    with pytest.raises(CameraFileError, match=name):
        views_from_file(str(tmp_path / "a.json"), SIZE)


def test_poses_nested_too_deeply_are_named(tmp_path: Path):
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(CameraFileError, match="cannot be read"):
        views_from_file(str(tmp_path / "a.json"), SIZE)


def test_a_job_knows_when_the_poses_in_a_folder_change(tmp_path: Path):
    job = RenderJob(cameras=CameraRules(pattern="file", file=str(write_text(tmp_path))))
    before = job.fingerprint()
    assert before == job.fingerprint()
    path = tmp_path / "images.txt"
    path.write_text(path.read_text().replace("b.png", "e.png"))
    assert job.fingerprint() != before


# --- Round trips ----------------------------------------------------------------------------

angles = st.floats(-360, 360)
numbers = st.floats(0.1, 10)


@settings(max_examples=60, deadline=None)
@given(
    azimuth=angles,
    elevation=st.floats(-90, 90),
    radius=numbers,
    fov=st.floats(5, 120),
    aspect=st.floats(0.5, 2),
    shift=st.tuples(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4)),
)
def test_every_convention_names_the_same_camera(
    tmp_path_factory: pytest.TempPathFactory,
    azimuth: float, elevation: float, radius: float, fov: float, aspect: float,
    shift: tuple[float, float],
):  # fmt: skip
    camera = camera_at(azimuth, elevation, radius, fov, SIZE, aspect, shift)
    identity = camera.camera_to_world_opencv @ camera.world_to_camera_opencv
    assert np.allclose(identity, np.eye(4), atol=1e-9)
    # OpenCV: u = fx x / z + cx with z along the view; the same pixel as ours, and the same ray.
    points = np.array([[0.0, 0.0, 0.0], [0.1, -0.05, 0.08]]) * radius
    local = points @ camera.world_to_camera_opencv[:3, :3].T + camera.world_to_camera_opencv[:3, 3]
    uv = (local @ camera.intrinsics.T)[:, :2] / local[:, 2:]
    ours, depth = camera.project(points)
    assert np.allclose(uv, ours, atol=1e-6) and np.allclose(depth, local[:, 2])
    origins, directions = camera.world_rays()
    assert np.allclose(np.linalg.norm(directions, axis=-1), 1)
    back, far = camera.project(origins[5, 7:8] + 3 * directions[5, 7:8])
    assert np.allclose(back, [[7.5, 5.5]], atol=1e-6) and (far > 0).all()
    # And through a COLMAP model of it.
    folder = tmp_path_factory.mktemp("model")
    rotation, translation = pose_of(camera)
    lens = " ".join(map(repr, map(float, lens_of(camera))))
    pose = " ".join(map(repr, map(float, [*rotation, *translation])))
    (folder / "cameras.txt").write_text(f"1 PINHOLE 64 48 {lens}\n")
    (folder / "images.txt").write_text(f"1 {pose} 1 a.png\n\n")
    assert_same(views_from_file(str(folder), SIZE), [camera], 1e-6 * max(1, radius))


@pytest.mark.parametrize("to", ["nerfstudio", "nerf-synthetic", "colmap"])
def test_what_we_export_is_rendered_again_from_the_same_cameras(tmp_path: Path, to: str):
    # NeRF-synthetic has one lens for all views.
    pattern = "fibonacci" if to == "nerf-synthetic" else "gs-lrm"
    rules = CameraRules(pattern=pattern, views=5)
    job = RenderJob(cameras=rules, pixels=Pixels(resolution=(48, 48)))
    asset = write_asset(tmp_path / "data", job)
    report = export(tmp_path / "data", tmp_path / "out", to)
    assert [outcome.status for outcome in report.outcomes] == ["done"], report.outcomes
    with AssetReader(asset) as reader:
        cameras = [reader.view(index).camera for index in range(5)]
    found = [view.camera for view in views_from_file(str(tmp_path / "out" / "asset"), (48, 48))]
    # A split may have put the views in another order, or one of them into two files.
    for camera in cameras:
        gaps = [np.abs(other.camera_to_world - camera.camera_to_world).max() for other in found]
        assert min(gaps) < 1e-6
        other = found[int(np.argmin(gaps))]
        assert np.allclose(other.intrinsics, camera.intrinsics, atol=1e-5)
    if to != "nerf-synthetic":
        assert_same(views_from_file(str(tmp_path / "out" / "asset"), (48, 48)), cameras, 1e-6)
