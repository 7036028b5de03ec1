"""COLMAP's sparse model, read by its own library and by the description of its files."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import LOPSIDED
from exporting import camera_of, emptied, exported, notes, seen_points, stored
from PIL import Image

from objaverse_render_addon.cameras import look_at_pose
from objaverse_render_addon.dataset.export import Options, export
from objaverse_render_addon.dataset.export.colmap import quaternion
from objaverse_render_addon.errors import InvalidJob, OutputExists

Model = dict[str, Any]


def rotation_of(w: float, x: float, y: float, z: float) -> np.ndarray:
    """Of a quaternion, by Hamilton's product."""
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def read_text(folder: Path) -> Model:
    """By https://colmap.github.io/format.html#text-file-format."""

    def lines(name: str) -> list[list[str]]:
        text = (folder / name).read_text().splitlines()
        return [line.split() for line in text if not line.startswith("#")]

    cameras = {
        int(row[0]): (row[1], int(row[2]), int(row[3]), [float(x) for x in row[4:]])
        for row in lines("cameras.txt")
    }
    rows = lines("images.txt")
    images = {}
    for head, seen in zip(rows[::2], rows[1::2], strict=True):
        flat = [float(x) for x in seen]
        images[int(head[0])] = {
            "q": [float(x) for x in head[1:5]], "t": [float(x) for x in head[5:8]],
            "camera": int(head[8]), "name": head[9],
            "xy": np.array(flat).reshape(-1, 3)[:, :2],
            "points": np.array(flat).reshape(-1, 3)[:, 2].astype(int),
        }  # fmt: skip
    points = {
        int(row[0]): {
            "xyz": [float(x) for x in row[1:4]], "rgb": [int(x) for x in row[4:7]],
            "error": float(row[7]), "track": [int(x) for x in row[8:]],
        }
        for row in lines("points3D.txt")
    }  # fmt: skip
    return {"cameras": cameras, "images": images, "points": points}


def read_binary(folder: Path) -> Model:
    """By https://colmap.github.io/format.html#binary-file-format: packed, little endian."""

    def take(file: io.BytesIO, form: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))

    cameras = {}
    file = io.BytesIO((folder / "cameras.bin").read_bytes())
    for _ in range(take(file, "Q")[0]):
        number, model, width, height = take(file, "iiQQ")
        assert model == 1
        cameras[number] = ("PINHOLE", width, height, list(take(file, "4d")))
    assert not file.read()
    images = {}
    file = io.BytesIO((folder / "images.bin").read_bytes())
    for _ in range(take(file, "Q")[0]):
        number, *numbers, camera = take(file, "i7di")
        name = b""
        while (byte := file.read(1)) != b"\0":
            name += byte
        seen = [take(file, "ddq") for _ in range(take(file, "Q")[0])]
        images[number] = {
            "q": numbers[:4], "t": numbers[4:], "camera": camera, "name": name.decode(),
            "xy": np.array([row[:2] for row in seen]).reshape(-1, 2),
            "points": np.array([row[2] for row in seen]),
        }  # fmt: skip
    assert not file.read()
    points = {}
    file = io.BytesIO((folder / "points3D.bin").read_bytes())
    for _ in range(take(file, "Q")[0]):
        number, x, y, z, red, green, blue, error, length = take(file, "QdddBBBdQ")
        points[number] = {
            "xyz": [x, y, z], "rgb": [red, green, blue], "error": error,
            "track": list(take(file, f"{2 * length}i")),
        }  # fmt: skip
    assert not file.read()
    return {"cameras": cameras, "images": images, "points": points}


def projected(model: Model, image: dict[str, Any], points: np.ndarray) -> np.ndarray:
    """World to pixels, the first pixel's centre being (0.5, 0.5)."""
    _, _, _, (fx, fy, cx, cy) = model["cameras"][image["camera"]]
    local = points @ rotation_of(*image["q"]).T + np.array(image["t"])
    assert (local[:, 2] > 0).all()
    return local[:, :2] / local[:, 2:] * [fx, fy] + [cx, cy]


@pytest.mark.parametrize("lens", [{}, {"shift": (0.08, -0.1), "pixel_aspect": 1.3}])
def test_surface_points_project_to_the_pixels_that_show_them(tmp_path: Path, lens: Any):
    reader = stored(tmp_path / "data", cameras=lens, resolution=(72, 60))
    out, report = exported(tmp_path, "colmap")
    told = [note["amount"] for note in report.notes if "principal point" in note["text"]]
    assert told == ([4] if lens else [])
    for read in (read_text, read_binary):
        model = read(out / "asset/sparse/0")
        assert [model["cameras"][n][1:3] for n in model["cameras"]] == [(72, 60)] * 4
        for view, image in enumerate(model["images"].values()):
            points, centres = seen_points(reader, view)
            assert np.abs(projected(model, image, points) - centres).max() < 2e-3
            assert image["name"] == f"{view:03d}.png"


def test_both_encodings_say_the_same(tmp_path: Path):
    stored(tmp_path / "data")
    out, _ = exported(tmp_path, "colmap")
    text, binary = (read(out / "asset/sparse/0") for read in (read_text, read_binary))
    assert text["cameras"] == binary["cameras"]
    assert text["points"] == binary["points"]
    for number, image in text["images"].items():
        for name, value in image.items():
            assert np.array_equal(value, binary["images"][number][name]), name


def test_points_have_tracks_through_the_views_that_show_them(tmp_path: Path):
    reader = stored(tmp_path / "data", views=6, resolution=(160, 160))
    out, _ = exported(tmp_path, "colmap")
    model = read_binary(out / "asset/sparse/0")
    masks = {n + 1: reader.read(n)["mask"] for n in range(6)}
    assert len(model["points"]) > 2000
    truth = wrong = found = 0
    for number, point in list(model["points"].items())[::31]:
        images, indices = point["track"][::2], point["track"][1::2]
        assert len(images) == len(set(images)) >= 1
        assert point["error"] == 0
        for image, index in zip(images, indices, strict=True):
            entry = model["images"][image]
            assert entry["points"][index] == number
            u, v = entry["xy"][index]
            assert masks[image][int(v), int(u)] == 1
            at = projected(model, entry, np.array([point["xyz"]]))[0]
            assert np.abs(at - [u, v]).max() < 1e-6
        for image in range(1, 7):
            visible = really_visible(reader, image - 1, np.array(point["xyz"]))
            truth += visible
            found += visible and image in images
            wrong += not visible and image in images
    # What is wrong or missing lies on an outline, within a pixel.
    assert found / truth > 0.95
    assert wrong / truth < 0.005


def really_visible(reader: Any, view: int, point: np.ndarray) -> bool:
    camera = camera_of(reader, view)
    origin = camera.camera_to_world[:3, 3]
    uv, _ = camera.project(point[None])
    if not (0 <= uv[0, 0] < camera.width and 0 <= uv[0, 1] < camera.height):
        return False
    t, _ = LOPSIDED.hit(origin, (point - origin)[None])
    return bool(t[0] > 1 - 1e-4)


def test_pictures_are_laid_over_the_background_and_masks_stand_beside(tmp_path: Path):
    reader = stored(tmp_path / "data")
    out, report = exported(tmp_path, "colmap", background=(1.0, 0.0, 0.0))
    with Image.open(out / "asset/images/002.png") as image:
        pixels = np.asarray(image)
    arrays = reader.read(2)
    object_, background = arrays["mask"] == 1, arrays["mask"] == 0
    assert (pixels[object_] == arrays["rgb"][object_][:, :3]).all()
    assert (pixels[background] == [255, 0, 0]).all()
    with Image.open(out / "asset/masks/002.png") as image:
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), arrays["mask"] * 255)
    assert "background 1,0,0" in notes(report, "composited")


def test_the_views_are_split_once_each(tmp_path: Path):
    stored(tmp_path / "data", "many", views=9)
    stored(tmp_path / "data", "two", views=2)
    out, report = exported(tmp_path, "colmap", split=(0.6, 0.2, 0.2))
    lists = [(out / f"many/{part}_list.txt").read_text().split() for part in
             ("train", "val", "test")]  # fmt: skip
    assert [len(names) for names in lists] == [5, 2, 2]
    assert sorted(lists[0] + lists[1] + lists[2]) == [f"{n:03d}.png" for n in range(9)]
    assert not list((out / "two").glob("*_list.txt"))
    assert "too few views" in notes(report, "differs")


def test_a_view_without_the_object_is_an_image_without_points(tmp_path: Path):
    stored(tmp_path / "data", change=emptied(1))
    out, _ = exported(tmp_path, "colmap")
    for read in (read_text, read_binary):
        model = read(out / "asset/sparse/0")
        assert len(model["images"][2]["points"]) == 0
        assert len(model["images"][1]["points"]) > 0
        tracked = {number for p in model["points"].values() for number in p["track"][::2]}
        assert tracked == {1, 3, 4}


@pytest.mark.parametrize("passes", [("rgb",), ("rgb", "mask"), ("rgb", "position")])
def test_without_depth_the_model_has_cameras_and_no_points(tmp_path: Path, passes: Any):
    stored(tmp_path / "data", passes=passes)
    out, report = exported(tmp_path, "colmap")
    for read in (read_text, read_binary):
        model = read(out / "asset/sparse/0")
        assert (len(model["images"]), len(model["points"])) == (4, 0)
    assert (out / "asset/masks").exists() == ("mask" in passes)
    assert "point cloud is empty" in notes(report, "dropped")


@pytest.mark.parametrize("passes", [("rgb", "distance"), ("rgb", "mask", "position")])
def test_any_geometry_will_do(tmp_path: Path, passes: Any):
    stored(tmp_path / "data", passes=passes)
    out, _ = exported(tmp_path, "colmap")
    model = read_binary(out / "asset/sparse/0")
    lengths = [len(point["track"]) for point in model["points"].values()]
    assert len(lengths) > 1000
    assert max(lengths) > 2


def test_views_with_one_lens_share_a_camera(tmp_path: Path):
    stored(tmp_path / "data", pattern="ring", views=5)
    out, _ = exported(tmp_path, "colmap")
    model = read_binary(out / "asset/sparse/0")
    assert list(model["cameras"]) == [1]
    assert [image["camera"] for image in model["images"].values()] == [1] * 5


def test_lenses_that_differ_by_noise_are_one_camera_and_others_are_not(tmp_path: Path):
    def change(_frames: Any, record: dict[str, Any]) -> None:
        for view in record["views"]:
            # What float32 leaves of a number that was read back.
            view["intrinsics"][0][0] *= 1 + 1e-7 * (view["index"] % 3 - 1)
        record["views"][3]["intrinsics"][0][0] *= 1.001

    stored(tmp_path / "data", pattern="ring", views=5, change=change)
    out, _ = exported(tmp_path, "colmap")
    for read in (read_text, read_binary):
        model = read(out / "asset/sparse/0")
        assert list(model["cameras"]) == [1, 2]
        assert [image["camera"] for image in model["images"].values()] == [1, 1, 1, 2, 1]


def test_pictures_lie_over_what_splatting_paints_behind_them_or_keep_alpha(tmp_path: Path):
    reader = stored(tmp_path / "data", resolution=(48, 48))
    out, _ = exported(tmp_path, "colmap")
    # simple_trainer and train.py render over black, unless they are told otherwise.
    rendered_behind = np.zeros(3)
    nothing = reader.read(0)["rgb"][..., 3] == 0
    assert nothing.any()
    with Image.open(out / "asset/images/000.png") as image:
        assert image.mode == "RGB"
        assert (np.asarray(image)[nothing] == rendered_behind).all()
    (tmp_path / "out").rename(tmp_path / "black")
    out, report = exported(tmp_path, "colmap", alpha=True)
    assert (out / "asset/images/000.png").read_bytes() == reader.bytes_of("000.png")
    assert "gsplat drops it" in notes(report, "differs")
    with pytest.raises(OutputExists, match="alpha"):
        export(tmp_path / "data", tmp_path / "black", "colmap", Options(alpha=True))
    for options, said in (
        (("lvsm", Options(alpha=True)), "no choice of pictures with alpha"),
        (("colmap", Options(alpha=True, background=(1, 1, 1))), "no background"),
    ):
        with pytest.raises(InvalidJob, match=said):
            export(tmp_path / "data", tmp_path / "other", *options)


def test_colmaps_own_library_reads_both(tmp_path: Path):
    pycolmap = pytest.importorskip("pycolmap", reason="pycolmap is not installed")
    reader = stored(tmp_path / "data", cameras={"shift": (0.05, 0.1)}, change=emptied(3))
    out, _ = exported(tmp_path, "colmap")
    folder = out / "asset/sparse/0"
    text = tmp_path / "text"
    text.mkdir()
    for path in folder.glob("*.txt"):
        (text / path.name).write_bytes(path.read_bytes())
    for path in (folder, text):
        model = pycolmap.Reconstruction(str(path))
        assert (model.num_reg_images(), model.num_points3D()) > (3, 1000)
        assert model.compute_mean_reprojection_error() == 0
        for number, image in model.images.items():
            points, centres = seen_points(reader, number - 1)
            camera = model.cameras[image.camera_id]
            assert camera.model.name == "PINHOLE"
            local = (image.cam_from_world() * point for point in points[::9])
            uv = np.array([camera.img_from_cam(point) for point in local]).reshape(-1, 2)
            assert np.abs(uv - centres[::9]).max(initial=0) < 2e-3
            for seen in image.points2D[::50]:
                at = camera.img_from_cam(
                    image.cam_from_world() * model.points3D[seen.point3D_id].xyz
                )
                assert np.abs(at - seen.xy).max() < 1e-6


def test_a_quaternion_is_its_rotation_everywhere():
    rng = np.random.default_rng(0)
    matrices = [look_at_pose(a, e, 2.0, _rig())[:3, :3] for a in range(0, 360, 30)
                for e in (-90, -45, 0, 60, 90)]  # fmt: skip
    matrices += [np.diag(signs) for signs in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))]
    matrices += [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(50)]
    for matrix in matrices:
        matrix = matrix * np.sign(np.linalg.det(matrix))
        found = quaternion(matrix)
        assert found[0] >= 0
        assert np.abs(rotation_of(*found) - matrix).max() < 1e-12


def _rig() -> Any:
    from objaverse_render_addon.cameras import Rig

    return Rig()
