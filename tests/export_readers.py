"""The formats of trainers, read as their descriptions say, by code that no exporter shares."""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SPLITS = ("train", "val", "test")


@dataclass
class Read:
    """One view as an independent reader understands it.

    Attributes:
        rotation: World to camera, OpenCV axes (x right, y down, z forward).
        lens: fx, fy, cx, cy in pixels; ``None`` where the format has no lens.
        depth: Planar, in exported units, NaN where nothing is.
        picture: (H, W, 3 or 4) uint8.
    """

    rotation: np.ndarray
    translation: np.ndarray
    lens: tuple[float, float, float, float] | None
    picture: np.ndarray
    depth: np.ndarray | None = None
    normal: np.ndarray | None = None

    def project(self, points: np.ndarray, lens: tuple[float, float, float, float]) -> np.ndarray:
        fx, fy, cx, cy = self.lens or lens
        x, y, z = self.rotation @ points.T + self.translation[:, None]
        return np.stack([fx * x / z + cx, fy * y / z + cy], axis=1)


FLIP = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])


def from_gl_pose(pose: Any) -> tuple[np.ndarray, np.ndarray]:
    """World to camera, OpenCV, of a camera-to-world matrix with OpenGL axes."""
    pose = np.asarray(pose, float)
    rotation = FLIP @ pose[:3, :3].T
    return rotation, -rotation @ pose[:3, 3]


def angle_lens(angle: float, picture: np.ndarray) -> tuple[float, float, float, float]:
    """fx = fy from the horizontal angle, the principal point in the middle."""
    height, width = picture.shape[:2]
    focal = 0.5 * width / math.tan(0.5 * angle)
    return focal, focal, width / 2, height / 2


def picture_at(path: Path | io.BytesIO) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def read_nerfstudio(out: Path, key: str) -> dict[int, Read]:
    data = json.loads((out / key / "transforms.json").read_text())
    views = {}
    for frame in data["frames"]:
        depth = None
        if "depth_file_path" in frame:
            depth = np.load(out / key / frame["depth_file_path"]).astype(float) * 0.001
            depth[depth == 0] = np.nan
        picture = picture_at(out / key / frame["file_path"])
        assert (frame["h"], frame["w"]) == picture.shape[:2]
        lens = frame["fl_x"], frame["fl_y"], frame["cx"], frame["cy"]
        pose = from_gl_pose(frame["transform_matrix"])
        views[int(Path(frame["file_path"]).stem)] = Read(*pose, lens, picture, depth)
    return views


def read_nerf_synthetic(out: Path, key: str) -> dict[int, Read]:
    views = {}
    for split in SPLITS:
        data = json.loads((out / key / f"transforms_{split}.json").read_text())
        for frame in data["frames"]:
            assert not frame["file_path"].endswith(".png")
            picture = picture_at(out / key / (frame["file_path"] + ".png"))
            lens = angle_lens(data["camera_angle_x"], picture)
            number = int(frame["file_path"].rpartition("_")[2])
            views[number] = Read(*from_gl_pose(frame["transform_matrix"]), lens, picture)
    return views


def read_gs_lrm(out: Path, key: str) -> dict[int, Read]:
    lists = [(out / f"{split}.txt").read_text().split("\n") for split in SPLITS]
    (folder,) = [Path(line) for lines in lists for line in lines if Path(line).name == key]
    frames = json.loads((folder / "opencv_cameras.json").read_text())["frames"]
    views = {}
    for index, frame in enumerate(frames):
        w2c = np.array(frame["w2c"])
        lens = frame["fx"], frame["fy"], frame["cx"], frame["cy"]
        picture = picture_at(folder / "images" / f"cam_{index:03d}.png")
        assert (frame["h"], frame["w"]) == picture.shape[:2]
        assert frame["file_path"] == f"images/cam_{index:03d}.png"
        views[index] = Read(w2c[:3, :3], w2c[:3, 3], lens, picture)
    return views


def read_long_lrm(out: Path, key: str) -> dict[int, Read]:
    lists = [(out / f"{split}.txt").read_text().split() for split in SPLITS]
    (path,) = [out / line for lines in lists for line in lines if line.split("/")[0] == key]
    data = json.loads(path.read_text())
    assert data["scene_name"] == key
    views = {}
    for index, frame in enumerate(data["frames"]):
        w2c = np.array(frame["w2c"])
        lens = frame["fx"], frame["fy"], frame["cx"], frame["cy"]
        picture = picture_at(path.parent / frame["file_path"])
        assert (frame["h"], frame["w"], 3) == picture.shape
        views[index] = Read(w2c[:3, :3], w2c[:3, 3], lens, picture)
    return views


def read_lvsm(out: Path, key: str) -> dict[int, Read]:
    lists = [out / split / "full_list.txt" for split in SPLITS]
    (path,) = [line for file in lists for line in file.read_text().split() if key in line]
    data = json.loads(Path(path).read_text())
    assert data["scene_name"] == key
    views = {}
    for frame in data["frames"]:
        w2c = np.array(frame["w2c"])
        picture = picture_at(Path(frame["image_path"]))
        lens = tuple(frame["fxfycxcy"])
        views[int(Path(frame["image_path"]).stem)] = Read(w2c[:3, :3], w2c[:3, 3], lens, picture)
    return views


def read_depthsplat(out: Path, key: str) -> dict[int, Read]:
    torch = pytest.importorskip("torch")
    for stage in ("train", "test"):
        index = json.loads((out / stage / "index.json").read_text())
        if key in index:
            chunk = torch.load(out / stage / index[key], weights_only=True)
    (scene,) = [scene for scene in chunk if scene["key"] == key]
    views = {}
    for number, row in enumerate(scene["cameras"].double().numpy()):
        picture = picture_at(io.BytesIO(scene["images"][number].numpy().tobytes()))
        height, width = picture.shape[:2]
        w2c = row[6:].reshape(3, 4)
        lens = tuple(row[:4] * [width, height, width, height])
        depth = scene["depths"][number].double().numpy()
        depth[depth == -1] = np.nan
        assert ((scene["masks"][number] == 1).numpy() == np.isfinite(depth)).all()
        views[number] = Read(w2c[:, :3], w2c[:, 3], lens, picture, depth)
    return views


def read_openlrm(out: Path, key: str) -> dict[int, Read]:
    uids = [json.loads((out / f"{split}_uids.json").read_text()) for split in SPLITS]
    assert sum(key in part for part in uids) == 1
    (fx, fy), (cx, cy), (width, height) = np.load(out / key / "intrinsics.npy")
    views = {}
    for path in sorted((out / key / "pose").iterdir()):
        pose = np.load(path)
        assert pose.shape == (3, 4)
        picture = picture_at(out / key / "rgba" / f"{path.stem}.png")
        assert picture.shape == (height, width, 4)
        views[int(path.stem)] = Read(*from_gl_pose(pose), (fx, fy, cx, cy), picture)
    return views


def read_instantmesh(out: Path, key: str) -> dict[int, Read]:
    names = ("filtered_obj_name", "filtered_obj_name_val", "filtered_obj_name_test")
    lists = [json.loads((out / f"{name}.json").read_text())["good_objs"] for name in names]
    assert sum(key in part for part in lists) == 1
    folder = out / "rendering_random_32views" / key
    views = {}
    for number, w2c in enumerate(np.load(folder / "cameras.npz")["cam_poses"]):
        pose = np.linalg.inv(np.vstack([w2c, [0, 0, 0, 1]]))
        picture = picture_at(folder / f"{number:03d}.png")
        levels = picture_at(folder / f"{number:03d}_depth.png")
        assert levels.dtype == np.uint8
        depth = levels / 255.0 * 6.0
        depth[levels == 0] = np.nan
        coded = picture_at(folder / f"{number:03d}_normal.png") / 255.0
        normal = (coded[..., :3] * coded[..., 3:]) * 2 - 1
        normal[coded[..., 3] == 0] = np.nan
        lens = angle_lens(math.radians(50.0), picture)
        views[number] = Read(*from_gl_pose(pose), lens, picture, depth, normal)
    return views


def read_lgm(out: Path, key: str) -> dict[int, Read]:
    assert any(key in (out / f"{s}.txt").read_text().split() for s in SPLITS)
    views = {}
    for path in sorted((out / key / "pose").iterdir()):
        numbers = [float(text) for text in path.read_text().strip().split(" ")]
        c2w = np.array(numbers).reshape(4, 4)  # OpenCV camera axes
        picture = picture_at(out / key / "rgb" / f"{path.stem}.png")
        lens = angle_lens(math.radians(50.0), picture)
        w2c = np.linalg.inv(c2w)
        views[int(path.stem)] = Read(w2c[:3, :3], w2c[:3, 3], lens, picture)
    return views


def read_trellis(out: Path, _: str, folder: str = "renders", flag: str = "rendered") -> Any:
    rows = []
    for name in ("metadata.csv", "metadata_val.csv", "metadata_test.csv"):
        with (out / name).open(newline="") as file:
            rows += list(csv.DictReader(file))
    (row,) = rows
    assert row[flag] == "True"
    place = out / folder / row["sha256"]
    data = json.loads((place / "transforms.json").read_text())
    assert data["aabb"] == [[-0.5] * 3, [0.5] * 3]
    views = {}
    for frame in data["frames"]:
        picture = picture_at(place / frame["file_path"])
        depth = None
        if "depth" in frame:
            levels = picture_at(place / frame["file_path"].replace(".png", "_depth.png"))
            near, far = frame["depth"]["min"], frame["depth"]["max"]
            depth = near + levels.astype(float) / 65535 * (far - near)
            depth[levels == 65535] = np.nan
        lens = angle_lens(frame["camera_angle_x"], picture)
        pose = from_gl_pose(frame["transform_matrix"])
        views[int(Path(frame["file_path"]).stem)] = Read(*pose, lens, picture, depth)
    return views


def read_trellis_cond(out: Path, key: str) -> dict[int, Read]:
    views: dict[int, Read] = read_trellis(out, key, "renders_cond", "cond_rendered")
    return views


class Strict(pickle.Unpickler):
    """Nothing but numpy.array, which every numpy has."""

    def find_class(self, module: str, name: str) -> Any:
        assert (module, name) == ("numpy", "array")
        return np.array


def read_syncdreamer(out: Path, key: str) -> dict[int, Read]:
    uids = []
    for name in ("uid_set", "uid_set_val", "uid_set_test"):
        uids += Strict(io.BytesIO((out / f"{name}.pkl").read_bytes())).load()
    assert key in uids
    meta = Strict(io.BytesIO((out / key / "meta.pkl").read_bytes())).load()
    intrinsics, azimuths, elevations, distances, poses = meta
    assert intrinsics.dtype == np.float32
    lens = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    views = {}
    for number, pose in enumerate(poses):
        center = -pose[:, :3].T @ pose[:, 3]
        level = math.cos(elevations[number])
        said = distances[number] * np.array(
            [
                level * math.cos(azimuths[number]),
                level * math.sin(azimuths[number]),
                math.sin(elevations[number]),
            ]
        )
        assert np.abs(said - center).max() < 1e-5
        picture = picture_at(out / key / f"{number:03d}.png")
        views[number] = Read(pose[:, :3], pose[:, 3], lens, picture)
    return views


def read_zero123(out: Path, key: str) -> dict[int, Read]:
    lists = [json.loads((out / f"{name}_paths.json").read_text()) for name in ("valid", "test")]
    assert sum(key in part for part in lists) == 1
    views = {}
    for path in sorted((out / key).glob("*.npy")):
        w2c = np.load(path)
        assert w2c.shape == (3, 4)
        picture = picture_at(path.with_suffix(".png"))
        views[int(path.stem)] = Read(FLIP @ w2c[:, :3], FLIP @ w2c[:, 3], None, picture)
    return views


def read_objaverse_xl(out: Path, _: str) -> dict[int, Read]:
    (path,) = (out / "renders").iterdir()
    views = {}
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert {name.split("/")[0] for name in names} == {path.stem}
        assert json.loads(archive.read(f"{path.stem}/metadata.json"))["sha256"] == "0" * 64
        for name in names:
            if name.endswith(".npy"):
                w2c = np.load(io.BytesIO(archive.read(name)))
                picture = picture_at(io.BytesIO(archive.read(name.replace(".npy", ".png"))))
                pose = FLIP @ w2c[:, :3], FLIP @ w2c[:, 3]
                views[int(Path(name).stem)] = Read(*pose, None, picture)
    return views
