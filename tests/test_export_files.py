"""CO3D, YOLO, MDS, glTF, USD and Rerun, each by the loader that reads it, or by what that does."""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import json
import struct
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_pages import names_of, points_of, run
from exporting import exported, seen_points, stored
from PIL import Image

from objaverse_render_addon.dataset.export.masks import one_outline
from objaverse_render_addon.dataset.export.run import export
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.errors import FormatCannotHold

TRAIN = (1.0, 0.0, 0.0)


def flat(points: np.ndarray, lens: np.ndarray, pose_cv: np.ndarray) -> tuple[Any, Any]:
    """Pixels and depth through a lens and a camera-to-world matrix with OpenCV axes."""
    x, y, z = pose_cv[:3, :3].T @ (points - pose_cv[:3, 3]).T
    return np.stack([lens[0, 0] * x / z + lens[0, 2], lens[1, 1] * y / z + lens[1, 2]], 1), z


# --- CO3D -----------------------------------------------------------------------------------


def dust3r_views(root: Path, split: str, index: int, rng: Any) -> list[dict[str, Any]]:
    """Two views, as ``Co3d._get_views`` of DUSt3R picks and reads them."""
    listed = json.loads((root / f"selected_seqs_{split}.json").read_text())
    scenes = {(c, k): v for c, some in listed.items() for k, v in some.items()}
    pairs = [
        (i, j) for i, j in itertools.combinations(range(100), 2)
        if 0 < abs(i - j) <= 30 and abs(i - j) % 5 == 0
    ]  # fmt: skip
    (category, instance), pool = list(scenes.items())[index // len(pairs)]
    first, second = pairs[index % len(pairs)]
    views = []
    for near in (second, first):
        number = max(0, min(near + rng.integers(-4, 5), len(pool) - 1))
        name = f"frame{pool[number]:06d}"
        folder = root / category / instance
        said = np.load(folder / "images" / f"{name}.npz")
        depth = np.array(Image.open(folder / "depths" / f"{name}.jpg.geometric.png"))
        assert depth.dtype in (np.uint16, np.int32)
        depth = depth.astype(np.float32) / 65535 * np.nan_to_num(said["maximum_depth"])
        mask = np.array(Image.open(folder / "masks" / f"{name}.png")) / 255 > 0.1
        views.append({
            "number": pool[number], "near": near, "depth": depth * mask,
            "image": np.array(Image.open(folder / "images" / f"{name}.jpg")),
            "pose": said["camera_pose"], "lens": said["camera_intrinsics"],
        })  # fmt: skip
    return views


def by_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """What a page's own commands make of one asset, and its name; nothing differs from the rig."""
    monkeypatch.chdir(tmp_path)
    (name,) = names_of(page, train=1, others=0)
    run(page, [name], side=32)
    told = json.loads(Path(page, "export.json").read_text())["notes"]
    assert not [note for note in told if note["kind"] == "differs" and "split" not in note["text"]]
    return tmp_path / page, name


def test_dust3r_yields_pairs_whose_depth_is_where_the_other_view_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, name = by_page("dust3r", tmp_path, monkeypatch)
    rng = np.random.default_rng(0)
    (stored_asset,) = (tmp_path / "data").glob(f"{name}.*")
    for index in (0, 300, 494):
        for view in dust3r_views(out, "train", index, rng):
            assert abs(view["number"] - view["near"]) <= 4
            points, centers = points_of("data", name, view["number"], 1.0)
            uv, z = flat(points, view["lens"], view["pose"])
            assert np.abs(uv - (centers - 0.5)).max() < 1e-3
            columns, rows = (centers - 0.5).astype(int).T
            assert np.abs(view["depth"][rows, columns] - z).max() < 1e-4
            assert (view["depth"] > 0).sum() == len(points)
            with AssetReader(stored_asset) as reader:
                picture = reader.read(view["number"], ["rgb"])["rgb"].astype(int)
            solid = picture[..., 3] == 255
            assert np.abs(view["image"].astype(int) - picture[..., :3])[solid].mean() < 8


def notes_of(report: Any) -> str:
    return "\n".join(note["text"] for note in report.notes)


def test_what_co3ds_loaders_would_not_take_is_told(tmp_path: Path) -> None:
    stored(tmp_path / "data", views=3)
    _, report = exported(tmp_path, "dust3r", split=TRAIN)
    assert "--cameras ring --views 100" in notes_of(report)
    report = export(tmp_path / "data", tmp_path / "vggt", "vggt")
    assert "fewer than 24" in notes_of(report)


def test_vggt_reads_half_floats_and_annotations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, name = by_page("vggt", tmp_path, monkeypatch)
    with gzip.open(out / "annotations/toyplane_train.jgz") as file:
        sequences = json.loads(file.read())
    ((_, frames),) = sequences.items()
    # The loader leaves out sequences of fewer.
    assert len(frames) == 100 >= 24
    for number in (0, 7, 99):
        frame = frames[number]
        path = str(out / frame["filepath"])
        with Image.open(path.replace("/images", "/depths") + ".geometric.png") as picture:
            bits = np.array(picture, dtype=np.uint16)
        depth = np.frombuffer(bits, np.float16).astype(np.float32).reshape(bits.shape)
        mask = np.array(
            Image.open(path.replace("/images", "/depth_masks").replace(".jpg", ".png"))
        )
        depth[~(mask > 128)] = 0
        pose = np.linalg.inv(np.vstack([frame["extri"], [0, 0, 0, 1]]))
        points, centers = points_of("data", name, number, 1.0)
        uv, z = flat(points, np.array(frame["intri"]), pose)
        assert np.abs(uv - (centers - 0.5)).max() < 1e-3
        columns, rows = (centers - 0.5).astype(int).T
        assert np.abs(depth[rows, columns] / z - 1).max() < 5e-4


# --- YOLO -----------------------------------------------------------------------------------


def filled(outline: list[tuple[float, float]], shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centres are inside by the even-odd rule."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    inside = np.zeros(shape, bool)
    for (ax, ay), (bx, by) in zip(outline, [*outline[1:], *outline[:1]], strict=True):
        crosses = (ay > rows) != (by > rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = ax + (rows - ay) * (bx - ax) / (by - ay)
        inside ^= crosses & (columns < at)
    return inside


@pytest.mark.parametrize("seed", range(12))
def test_one_outline_fills_to_the_mask_with_its_parts_and_holes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random(tuple(rng.integers(2, 16, 2))) < 0.5
    outline, _ = one_outline(mask)
    assert np.array_equal(filled(outline, mask.shape), mask)


def test_yolo_has_a_label_beside_each_picture(tmp_path: Path) -> None:
    reader = stored(tmp_path / "data", views=3)
    out, _ = exported(tmp_path, "yolo", split=TRAIN)
    said = dict(
        line.split(": ", 1) for line in (out / "data.yaml").read_text().splitlines() if ": " in line
    )
    assert Path(json.loads(said["path"])) == out
    pictures = sorted((out / said["train"]).rglob("*.png"))
    assert len(pictures) == 3
    assert (out / said["val"]).is_dir()
    for number, picture in enumerate(pictures):
        # As the loader finds a label: the last /images/ becomes /labels/.
        label = Path("/labels/".join(str(picture).rsplit("/images/", 1))).with_suffix(".txt")
        (line,) = label.read_text().splitlines()
        kind, *numbers = line.split()
        assert kind == "0"
        height, width = np.array(Image.open(picture)).shape[:2]
        corners = np.array(numbers, float).reshape(-1, 2) * (width, height)
        assert np.array_equal(
            filled([tuple(corner) for corner in corners], (height, width)),
            reader.read(number, ["mask"])["mask"] > 0,
        )


# --- glTF -----------------------------------------------------------------------------------


def with_mesh(folder: Path, **chosen: Any) -> Any:
    from analytic import Box

    shape = Box((-1.0, -0.4, -0.6), (1.0, 0.4, 0.6))
    return stored(folder, shape=shape, views=4, geometry_files=("mesh", "points"),
                  geometry_points=500, **chosen)  # fmt: skip


def test_gltf_cameras_see_the_pixels(tmp_path: Path) -> None:
    pygltflib = pytest.importorskip("pygltflib")
    reader = stored(tmp_path / "data", views=4)
    out, report = exported(tmp_path, "gltf")
    assert "cameras alone" in notes_of(report)
    document = pygltflib.GLTF2().load(str(out / "asset/scene.glb"))
    assert len(document.cameras) == 4
    for number, node in enumerate(document.scenes[0].nodes):
        node = document.nodes[node]
        camera = document.cameras[node.camera]
        matrix = np.array(node.matrix).reshape(4, 4).T
        points, centers = seen_points(reader, number)
        y_up = points[:, [0, 2, 1]] * (1, 1, -1)
        local = (y_up - matrix[:3, 3]) @ matrix[:3, :3]
        width, height = camera.extras["width"], camera.extras["height"]
        # The specification's projection matrix, section 3.10.3.
        tangent = np.tan(camera.perspective.yfov / 2)
        ndc = local[:, :2] / -local[:, 2:] / (camera.perspective.aspectRatio * tangent, tangent)
        uv = np.stack([(ndc[:, 0] + 1) / 2 * width, (1 - ndc[:, 1]) / 2 * height], axis=1)
        assert np.abs(uv - centers).max() < 1e-3
        assert (out / "asset" / camera.extras["image"]).is_file()


def test_gltf_keeps_the_mesh_that_is_stored(tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    box = trimesh.creation.box(extents=(2.0, 1.2, 0.8)).export(file_type="glb")
    reader = with_mesh(tmp_path / "data")
    folder = Path(str(reader.ref))
    (folder / "mesh.glb").write_bytes(box)
    import hashlib

    record = json.loads((folder / "metadata.json").read_text())
    record["geometry"]["files"]["mesh.glb"] = {
        "sha256": hashlib.sha256(box).hexdigest(), "bytes": len(box),
    }  # fmt: skip
    (folder / "metadata.json").write_text(json.dumps(record))
    out, report = exported(tmp_path, "gltf")
    assert "cameras alone" not in notes_of(report)
    loaded = trimesh.load_scene(str(out / "asset/scene.glb"))
    assert np.allclose(np.ptp(loaded.bounds, axis=0), (2.0, 1.2, 0.8))
    data = (out / "asset/scene.glb").read_bytes()
    assert struct.unpack_from("<4sII", data) == (b"glTF", 2, len(data))


def test_gltf_refuses_a_shift(tmp_path: Path) -> None:
    stored(tmp_path / "data", views=2, cameras={"shift": (0.1, 0.0)})
    report = export(tmp_path / "data", tmp_path / "out", "gltf")
    assert isinstance(report.outcomes[0].error, FormatCannotHold)


# --- USD ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cameras", [{}, {"shift": (0.1, -0.05), "pixel_aspect": 1.5}])
def test_usd_cameras_see_the_pixels(tmp_path: Path, cameras: dict[str, Any]) -> None:
    pytest.importorskip("pxr")
    from pxr import Usd, UsdGeom

    reader = with_mesh(tmp_path / "data", cameras=cameras)
    out, _ = exported(tmp_path, "usd")
    stage = Usd.Stage.Open(str(out / "asset/scene.usdc"))
    assert UsdGeom.GetStageUpAxis(stage) == "Z"
    prims = [prim for prim in stage.Traverse() if prim.IsA(UsdGeom.Camera)]
    assert len(prims) == 4
    for number, prim in enumerate(prims):
        frustum = UsdGeom.Camera(prim).GetCamera(0).frustum
        both = np.array(frustum.ComputeViewMatrix()) @ np.array(frustum.ComputeProjectionMatrix())
        points, centers = seen_points(reader, number)
        clip = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ both
        ndc = clip[:, :2] / clip[:, 3:]
        width, height = prim.GetAttribute("imageSize").Get()
        uv = np.stack([(ndc[:, 0] + 1) / 2 * width, (1 - ndc[:, 1]) / 2 * height], axis=1)
        assert np.abs(uv - centers).max() < 1e-3
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/World/Mesh"))
    corners = np.array(mesh.GetPointsAttr().Get())
    assert np.allclose(np.abs(corners), (1.0, 0.4, 0.6))
    assert len(mesh.GetFaceVertexCountsAttr().Get()) == 12


# --- Rerun ----------------------------------------------------------------------------------


def test_rerun_reads_its_recording(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    reader = with_mesh(tmp_path / "data")
    out, _ = exported(tmp_path, "rerun")
    path = out / "asset.rrd"
    assert path.read_bytes()[:3] == b"RRF"
    try:
        from rerun.chunk import RrdReader
    except ImportError:
        pytest.skip("this rerun-sdk has no reader of recordings")
    found = RrdReader(path)
    (recording,) = found.recordings()
    assert recording.recording_id == "asset"
    chunks = {str(chunk.entity_path): chunk for chunk in found.stream()}
    views = [f"/world/views/00{number}" for number in range(4)]
    kinds = ("rgb", "depth", "mask")
    assert {"/world/points", *views, *(f"{v}/{k}" for v in views for k in kinds)} <= set(chunks)
    for number, view in enumerate(views):
        columns: dict[str, Any] = {}
        for chunk in found.stream():
            if str(chunk.entity_path) == view:
                columns |= chunk.to_record_batch().to_pydict()
        pose = np.eye(4)

        def of(name: str, columns: dict[str, Any] = columns) -> np.ndarray:
            (value,) = [some for key, some in columns.items() if key.endswith(name)]
            return np.array(value, float).ravel()

        pose[:3, 3] = of("translation")
        pose[:3, :3] = of("mat3x3").reshape(3, 3).T
        lens = of("image_from_camera").reshape(3, 3).T
        points, centers = seen_points(reader, number)
        uv, _ = flat(points, lens, pose)
        assert np.abs(uv - centers).max() < 1e-2


# --- MDS ------------------------------------------------------------------------------------


@pytest.fixture
def streaming(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library itself; where torchvision is missing, without its own wrappers around that."""
    if importlib.util.find_spec("streaming") is None:
        pytest.skip('needs streaming: pip install "objaverse-render-addon[mds]"')
    if importlib.util.find_spec("torchvision") is None:
        pytest.importorskip("transformers")  # It looks for torchvision by itself, and does without.
        for name in ("", ".datasets", ".transforms", ".transforms.functional"):
            monkeypatch.setitem(sys.modules, f"torchvision{name}", types.ModuleType("absent"))
        sys.modules["torchvision.datasets"].VisionDataset = object  # type: ignore[attr-defined]
        sys.modules["torchvision.transforms.functional"].to_tensor = None  # type: ignore[attr-defined]
    return pytest.importorskip("streaming")


# It leaves its index open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_mds_streams_every_view(streaming: Any, tmp_path: Path) -> None:
    readers = {
        name: stored(
            tmp_path / "data", name, views=3,
            passes=("rgb", "depth", "mask", "normal", "position"),
        )
        for name in ("one", "two")
    }
    out, _ = exported(tmp_path, "mds", split=TRAIN)
    found = streaming.StreamingDataset(local=str(out), split="train", shuffle=False, batch_size=1)
    assert len(found) == 6
    seen = set()
    for index in range(6):
        sample = found[index]
        seen.add((sample["asset"], sample["view"]))
        reader = readers[sample["asset"]]
        arrays = reader.read(sample["view"])
        assert np.array_equal(sample["depth"], arrays["depth"])
        assert np.array_equal(np.array(sample["image"]), arrays["rgb"])
        points, centers = seen_points(reader, sample["view"])
        pose = sample["camera_to_world"] @ np.diag([1, -1, -1, 1])
        uv, _ = flat(points, sample["intrinsics"], pose)
        assert np.abs(uv - centers).max() < 1e-3
    assert len(seen) == 6
