"""Each page's own commands, and then the trainer's loader: how many samples it yields, whether they
are the views it takes them for, from where it takes them to be, and whether its pixels are ours.

The loaders are rebuilt from what they are known to do, and share nothing with the exporters.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import Box
from export_pages import DOCS, commands, names_of, ours, points_of, render, run, theirs
from export_readers import FLIP, Strict, from_gl_pose, picture_at
from PIL import Image

from objaverse_render_addon.cli import main
from objaverse_render_addon.dataset.export import FORMATS
from objaverse_render_addon.job import RECIPES

PAGES = sorted(path.stem for path in DOCS.glob("*.md") if path.stem != "index")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def report(folder: str) -> dict[str, Any]:
    return json.loads(Path(folder, "export.json").read_text())


def told(folder: str, kind: str = "differs") -> str:
    return "\n".join(note["text"] for note in report(folder)["notes"] if note["kind"] == kind)


def pixels(points: np.ndarray, c2w_cv: np.ndarray, lens: Any) -> np.ndarray:
    """World to pixels through a camera-to-world matrix with OpenCV axes."""
    fx, fy, cx, cy = lens
    x, y, z = c2w_cv[:3, :3].T @ (points - c2w_cv[:3, 3]).T
    return np.stack([fx * x / z + cx, fy * y / z + cy], axis=1)


def on_sphere(azimuth: float, elevation: float, distance: float) -> np.ndarray:
    """Camera to world, OpenCV axes, upright and looking at the origin; degrees."""
    a, e = np.radians([azimuth, elevation])
    away = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    right = np.array([-np.sin(a), np.cos(a), 0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, -np.cross(away, right), -away], axis=1)
    pose[:3, 3] = distance * away
    return pose


# --- Of every page --------------------------------------------------------------------------

WITH_RECIPE = [page for page in PAGES if ours(page, "render")]
ALWAYS_TOLD = {"pointodyssey": "pictures are PNG, where PointOdyssey's own are JPEG",
               "spring": "flow has the pictures' size",
               "tum": "cx and cy of calibration.txt count pixels"}  # fmt: skip
"""What is different from a benchmark's own files however one renders."""


@pytest.mark.parametrize("page", [page for page in WITH_RECIPE if page not in (
    # These have tests of their own, with more scenes or the whole number of views.
    "depthsplat", "lgm", "zero123plus", "instantmesh", "trellis", "dust3r", "vggt",
)])  # fmt: skip
def test_a_pages_own_recipe_is_what_its_trainer_takes_for_granted(page: str) -> None:
    run(page, names_of(page), side=24)
    for arguments in ours(page, "export"):
        folder = arguments[arguments.index("--out") + 1]
        always = ALWAYS_TOLD.get(page)
        lines = told(folder).splitlines()
        assert [line for line in lines if not always or not line.startswith(always)] == []


@pytest.mark.parametrize(("name", "side"), [
    # Their trainers know the size of pictures.
    ("mvsplat", None), ("pixelsplat", None),
    # Any size will do for this one, which has a hundred views.
    ("instant-ngp", 48),
])  # fmt: skip
def test_a_recipe_without_a_page_is_what_its_trainer_takes_for_granted(
    name: str, side: int | None
) -> None:
    if RECIPES[name].export == "depthsplat":
        pytest.importorskip("torch")
    names = ["asset0", "asset1"]
    render(["render", "x", "--out", "data", "--recipe", name], names, side)
    assert main(["export", "data", "--to", RECIPES[name].export, "--out", "o"]) == 0
    # A few assets do not fill three lists.
    said = [line for line in told("o").splitlines() if not line.startswith("no scene is in the")]
    assert said == []
    assert report("o")["scenes"] == 2


@pytest.mark.parametrize("page", PAGES)
def test_what_is_printed_is_what_the_page_says(page: str) -> None:
    printed = FORMATS[page].trains if page in FORMATS else ""
    for line in printed.splitlines():
        command = re.escape(line.partition("  #")[0])
        for place, meant in (("target", _out(page)), ("key", r"\w+"), ("views", r"\d+")):
            command = command.replace(rf"\{{{place}\}}", meant)
        assert any(re.match(command, there) for there in _said(page)), command


def _out(page: str) -> str:
    arguments = ours(page, "export")[-1]
    return arguments[arguments.index("--out") + 1]


def _said(page: str) -> list[str]:
    """Every command of the trainers on a page, whichever block it is in."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line.split("  #")[0] for block in blocks for line in block.splitlines()]
    return [" ".join(line.split()) for line in lines if line.strip()]


# --- TAP-Vid, Sintel -----------------------------------------------------------------------


def test_points_that_tapvid_says_are_seen_are_on_the_object() -> None:
    run("tapvid", ["asset0"], side=48)
    files = sorted(Path("tapvid").rglob("*.npz"))
    assert files
    for file in files:
        found = np.load(file)
        frames, height, width, _ = found["video"].shape
        assert (frames, found["points"].shape) == (3, (256, 3, 2))
        assert 0 < found["occluded"].mean() < 1
        for frame in range(frames):
            seen = found["points"][~found["occluded"][:, frame], frame] * (width, height)
            columns, rows = seen.astype(int).T
            shown = np.pad((found["video"][frame] != 255).any(axis=2), 1)
            # The middle of a pixel at an outline may be beside it.
            near = [shown[rows + y, columns + x] for y in range(3) for x in range(3)]
            assert np.any(near, axis=0).all()


def test_sintels_flow_is_known_on_the_object_alone() -> None:
    run("sintel", ["asset0"], side=24)
    for way in ("forward", "backward"):
        files = sorted(Path("sintel").rglob(f"flow_{way}/*.flo"))
        assert files
        for file in files:
            picture = picture_at(file.parents[1] / "frames" / f"{file.stem}.png")
            flow = np.frombuffer(file.read_bytes(), "<f4", offset=12)
            flow = flow.reshape(*picture.shape[:2], 2)
            object_ = (picture != 255).any(axis=2)
            assert (flow[object_] == 0).all()
            assert (flow[~object_] > 1e9).all()


# --- SyncDreamer ----------------------------------------------------------------------------


def syncdreamer_pairs(target: str, given: str) -> list[tuple[float, float, float, float, str]]:
    """Azimuths of the first target and of its input, the elevations, and the uid; all pairs.

    The loader begins at any of the sixteen targets, follows them round, and takes the input of
    that number.
    """

    def meta(folder: str, uid: str) -> Any:
        return Strict(io.BytesIO(Path(folder, uid, "meta.pkl").read_bytes())).load()

    pairs = []
    for uid in Strict(io.BytesIO(Path(target, "uid_set.pkl").read_bytes())).load():
        (_, azimuths, elevations, _, _), (_, of_input, heights, _, _) = (
            meta(folder, uid) for folder in (target, given)
        )
        for start in range(16):
            for view in range(16):
                assert picture_at(Path(target, uid, f"{view:03d}.png")).shape[2] == 4
            assert picture_at(Path(given, uid, f"{start:03d}.png")).shape[2] == 4
            turn = np.degrees(azimuths[(np.arange(16) + start) % 16] - azimuths[start]) % 360
            assert np.abs((turn - 22.5 * np.arange(16) + 180) % 360 - 180).max() < 1e-3
            values = np.degrees([azimuths[start], of_input[start], elevations[start],
                                 heights[start]])  # fmt: skip
            pairs.append((*values.tolist(), uid))
    return pairs


def test_syncdreamers_input_looks_from_where_its_target_does() -> None:
    names = names_of("syncdreamer")
    run("syncdreamer", names, side=64)
    pairs = syncdreamer_pairs("sync/target", "sync/input")
    assert len(pairs) == 2 * 16
    for azimuth, of_input, elevation, height, _ in pairs:
        assert abs((azimuth - of_input + 180) % 360 - 180) < 1e-3
        assert elevation == pytest.approx(30, abs=1e-4)
        assert -10 <= height <= 40
    assert np.std([pair[3] for pair in pairs]) > 10
    uid = pairs[0][4]
    # The trainer's volume knows no camera but its own: 16 at 30 degrees, 1.5 away, f 280 at 256.
    for view in range(16):
        shown, centres = points_of("target", uid, view, 0.5)
        pose = on_sphere(270 + 22.5 * view, 30, 1.5)
        lens = np.array([280, 280, 128, 128]) * 64 / 256
        assert np.abs(pixels(shown, pose, lens) - centres).max() < 5e-3
    (command,) = theirs("syncdreamer")
    assert "configs/syncdreamer-train.yaml" in command


def test_syncdreamers_input_from_elsewhere_is_told_with_the_way_out() -> None:
    names = names_of("syncdreamer")
    render(["render", "x", "--out", "input", "--cameras", "zero123", "--views", "16"], names)
    assert main(["export", "input", "--to", "syncdreamer", "--out", "given"]) == 0
    said = told("given")
    assert "input i and target i have to share their azimuth" in said
    assert "from -10 to 40°" in said
    assert "1.5 for the distance" in said
    assert said.count("input with --cameras syncdreamer-input") == 2


# --- DepthSplat, MVSplat, pixelSplat --------------------------------------------------------

# Least and most distance of context views after and before the warm-up, and its steps.
RE10K = {"depthsplat": (45, 135, 25, 45, 30_000), "mvsplat": (45, 192, 25, 45, 150_000),
         "pixelsplat": (45, 45, 25, 25, 150_000)}  # fmt: skip


def re10k_scenes(folder: str) -> list[dict[str, Any]]:
    torch = pytest.importorskip("torch")
    chunks = sorted(Path(folder, "train").glob("*.torch"))
    return [scene for chunk in chunks for scene in torch.load(chunk)]


def re10k_samples(
    scenes: list[dict[str, Any]], trainer: str, step: int, flags: dict[str, str]
) -> list[dict[str, Any]]:
    """What the loader yields of the stage train at a step, with the keys of a command."""
    least, most, first_least, first_most, warm_up = RE10K[trainer]
    sampler = "dataset.view_sampler."
    least = int(flags.get(f"{sampler}min_distance_between_context_views", least))
    first = f"{sampler}initial_min_distance_between_context_views"
    first_least = int(flags.get(first, first_least))
    if trainer == "pixelsplat":
        assert not {"dataset.skip_bad_shape"} & set(flags), "pixelSplat has no such key"
    skip = flags.get("dataset.skip_bad_shape", "true") == "true"
    shape = json.loads(flags.get("dataset.image_shape", "[256,256]"))
    share = step / warm_up
    low = min(first_least + int((least - first_least) * share), least)
    high = min(first_most + int((most - first_most) * share), most)
    found = []
    for scene in scenes:
        views = len(scene["cameras"])
        reach = min(views - 1, high)
        if reach < low:
            continue  # ValueError, caught: not enough frames.
        left = random.randrange(views - reach)
        chosen = [left, left + reach, random.randint(left, left + reach)]
        images = [io.BytesIO(scene["images"][view].numpy().tobytes()) for view in chosen]
        pictures = [picture_at(image) for image in images]
        lens = scene["cameras"][:, :4].double().numpy()
        if np.degrees(2 * np.arctan(0.5 / lens[:, :2])).max() > 100:
            continue
        if skip and any(picture.shape != (360, 640, 3) for picture in pictures):
            continue
        assert shape[0] <= pictures[0].shape[0], "AssertionError of the crop"
        assert shape[1] <= pictures[0].shape[1], "AssertionError of the crop"
        found.append({"key": scene["key"], "views": chosen, "pictures": pictures,
                      "cameras": scene["cameras"][chosen].double().numpy()})  # fmt: skip
    return found


def keys_of(command: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in command.split() if word.startswith("dataset."))


def test_the_re10k_loaders_yield_every_scene_of_the_pages_recipe() -> None:
    pytest.importorskip("torch")
    names = names_of("depthsplat", train=1, others=0)
    run("depthsplat", names, side=None)
    assert told("chunks").count("\n") == 0
    (command,) = theirs("depthsplat")
    assert report("chunks")["trains"] == command.replace("chunks", str(Path("chunks").absolute()))
    scenes = re10k_scenes("chunks")
    for trainer in RE10K:
        for step in (0, 10_000, 20_000, 30_000, 150_000):
            (sample,) = re10k_samples(scenes, trainer, step, keys_of(command))
            assert sample["key"] == names[0]
    each = zip(sample["views"], sample["cameras"], sample["pictures"], strict=True)
    for view, row, picture in each:
        shown, centres = points_of("data", names[0], view, 1.0)
        w2c = np.vstack([row[6:].reshape(3, 4), [0, 0, 0, 1]])
        lens = row[:4] * [640, 360, 640, 360]
        assert np.abs(pixels(shown, np.linalg.inv(w2c), lens) - centres).max() < 2e-3
        # The decoder paints black where nothing is.
        assert not picture[0, 0].any()
    assert math.dist(*(row[6:].reshape(3, 4)[:, 3] for row in sample["cameras"][:2])) > 0


def test_what_the_re10k_loaders_would_skip_is_told_and_the_printed_keys_change_it() -> None:
    pytest.importorskip("torch")
    flags = ["render", "x", "--out", "data", "--cameras", "orbit", "--views", "32",
             "--resolution", "128"]  # fmt: skip
    names = names_of("depthsplat", train=2, others=1)
    render(flags, names, side=None)
    assert main(["export", "data", "--to", "depthsplat", "--out", "chunks"]) == 0
    said, command = told("chunks"), report("chunks")["trains"]
    assert "skip pictures that are not 640x360" in said
    assert "fewer views" in said
    assert said.count("--cameras orbit --views 50 --resolution 640x360") == 2
    train = report("chunks")["splits"]["train"]
    assert train >= 1
    scenes = re10k_scenes("chunks")
    for trainer in RE10K:
        assert re10k_samples(scenes, trainer, 0, {}) == []
    keys = keys_of(command)
    assert keys["dataset.image_shape"] == "[128,128]"
    for trainer in ("depthsplat", "mvsplat"):
        for step in (0, 10_000, 20_000, 30_000, 150_000):
            assert len(re10k_samples(scenes, trainer, step, keys)) == train


# --- TRELLIS --------------------------------------------------------------------------------

BOX = Box((-1.0, -0.6, -0.4), (1.0, 0.6, 0.4))


def with_source(folder: Path) -> Any:
    """A glb of the box beside the data, Y up and in units of its own, as each asset's source."""
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")

    def change(name: str, _frames: Any, record: dict[str, Any]) -> None:
        half = max(record["normalization"]["bbox_max"])
        made = trimesh.creation.box(bounds=[np.array(BOX.low) * half, np.array(BOX.high) * half])
        made.metadata["name"] = name
        made.apply_translation([0.5, 0, 0])
        made.apply_scale(4)
        made.apply_transform([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
        path = folder / f"{name}.glb"
        made.export(path)
        record["file_identifier"], record["file_type"] = str(path), "glb"
        record["sha256"] = hashlib.sha256(path.read_bytes() + name.encode()).hexdigest()
        path.write_bytes(path.read_bytes())
        record["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        record["normalization"] |= {"scale": 0.25, "translation": [-0.5, 0.0, 0.0]}

    return change


def trellis_rows(folder: str) -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.read_csv(Path(folder, "metadata.csv"))


def for_each(rows: Any, folder: str, step: Any) -> list[dict[str, Any]]:
    """``foreach_instance`` of the toolkit's data sets: what fails is printed and left out."""
    found = []
    for row in rows.to_dict("records"):
        try:
            if row["local_path"].startswith("raw/github/repos/"):
                raise ValueError
            found.append(step(str(Path(folder, row["local_path"])), row["sha256"]))
        except Exception as error:
            print(row["sha256"], error)
    return found


def voxelized(folder: str) -> Any:
    """``voxelize.py``: the cells of 64 that the mesh in ``mesh.ply`` reaches."""
    trimesh = pytest.importorskip("trimesh")

    def step(_file: str, digest: str) -> dict[str, Any]:
        mesh = trimesh.load(Path(folder, "renders", digest, "mesh.ply"), process=False)
        assert np.abs(mesh.vertices).max() <= 0.5 + 1e-6
        on, _ = trimesh.sample.sample_surface(mesh, 20_000, seed=0)
        cells = np.unique(np.floor((np.clip(on, -0.499999, 0.499999) + 0.5) * 64), axis=0)
        Path(folder, "voxels").mkdir(exist_ok=True)
        np.save(Path(folder, "voxels", f"{digest}.npy"), (cells + 0.5) / 64 - 0.5)
        return {"sha256": digest, "voxelized": True, "num_voxels": len(cells)}

    return step


def gathered(rows: Any, records: list[dict[str, Any]]) -> Any:
    """``build_metadata.py``: the records of a step come into the table."""
    pandas = pytest.importorskip("pandas")
    rows = rows.set_index("sha256")
    if records:
        rows.update(pandas.DataFrame.from_records(records).set_index("sha256"), overwrite=True)
    return rows.reset_index()


def test_trellis_goes_through_all_its_steps_with_every_asset(tmp_path: Path) -> None:
    names = names_of("trellis")
    made = tmp_path / "assets"
    made.mkdir()
    arguments = ours("trellis", "render")[0]
    render([*arguments, "--views", "24"], names, shape=BOX, change=with_source(made))
    (exporting,) = ours("trellis", "export")
    assert main(exporting) == 0
    assert "mesh.ply" not in told("trellis", "dropped")
    assert told("trellis") == ""
    steps = theirs("trellis")
    assert [step.split("/")[-1].split(" ")[0].split(".")[0] for step in steps[:4]] == [
        "voxelize", "build_metadata", "extract_feature", "build_metadata",
    ]  # fmt: skip
    printed = report("trellis")["trains"].replace(str(Path("trellis").absolute()), "trellis")
    assert printed.splitlines() == steps
    rows = trellis_rows("trellis")
    assert len(rows) == 2
    # Its own step finds all done, and would have done the same.
    assert len(rows[(rows["rendered"] == True) & (rows["voxelized"] == False)]) == 0  # noqa: E712
    records = for_each(rows, "trellis", voxelized("trellis"))
    assert len(records) == 2
    for digest, count in zip(rows["sha256"], rows["num_voxels"], strict=True):
        ours_, theirs_ = cells_of("trellis", digest), np.load(f"trellis/voxels/{digest}.npy")
        assert len(ours_) == count
        cells = [{tuple(row) for row in np.round((some + 0.5) * 64 - 0.5)}
                 for some in (ours_, theirs_)]  # fmt: skip
        # Those that it found by chance are some of all.
        assert cells[1] <= cells[0]
        assert len(cells[1]) > 0.8 * len(cells[0])
    rows = rows[(rows["voxelized"] == True) & (rows["rendered"] == True)]  # noqa: E712
    assert len(rows) == 2
    for digest in rows["sha256"]:
        trellis_features("trellis", digest)
    rows["feature_dinov2_vitl14_reg"] = True
    config = 4.5  # min_aesthetic_score of the configuration that the page names.
    kept = rows[rows["feature_dinov2_vitl14_reg"]]
    kept = kept[(kept["aesthetic_score"] >= config) & (kept["num_voxels"] <= 32768)]
    assert len(kept) == 2
    for path in kept["local_path"]:
        assert Path(path).is_file()


def cells_of(folder: str, digest: str) -> Any:
    """``utils3d.io.read_ply`` of the centres of voxels."""
    plyfile = pytest.importorskip("plyfile")
    vertices = plyfile.PlyData.read(Path(folder, "voxels", f"{digest}.ply"))["vertex"]
    return np.stack([vertices[axis] for axis in "xyz"], axis=1).astype(np.float64)


def trellis_features(folder: str, digest: str) -> None:
    """``extract_feature.py``: cells project into the object's picture, with the frame's lens."""
    cells = cells_of(folder, digest)
    said = json.loads(Path(folder, "renders", digest, "transforms.json").read_text())
    assert len(said["frames"]) == 24
    for frame in said["frames"][:8]:
        picture = picture_at(Path(folder, "renders", digest, frame["file_path"]))
        pose = np.array(frame["transform_matrix"])
        pose[:3, 1:3] *= -1
        assert np.linalg.norm(pose[:3, 3]) == pytest.approx(2)
        side = picture.shape[0]
        focal = 0.5 * side / math.tan(frame["camera_angle_x"] / 2)
        uv = pixels(cells, pose, (focal, focal, side / 2, side / 2))
        inside = ((uv >= 0) & (uv < side)).all(axis=1)
        columns, rows = uv[inside].astype(int).T
        grown = np.pad(picture[..., 3] > 0, 1)
        beside = np.any([grown[r : r + side, c : c + side] for r in range(3) for c in range(3)], 0)
        assert beside[rows, columns].mean() > 0.999
        assert inside.mean() > 0.9


def test_trellis_without_its_sources_says_what_is_missing() -> None:
    names = names_of("trellis")
    arguments = ours("trellis", "render")[0]
    render([*arguments, "--views", "8", "--geometry-files", "none"], names)
    assert main(["export", "data", "--to", "trellis", "--out", "bare"]) == 0
    assert "voxelize.py needs it" in told("bare", "dropped")
    assert "--aesthetic-score 6" in told("bare")
    rows = trellis_rows("bare")
    # The steps still take every asset, once somebody puts a mesh where they look for one.
    assert len(for_each(rows, "bare", lambda file, _: {"file": file})) == 2
    assert [Path(path).name for path in rows["local_path"]] == ["mesh.ply"] * 2
    assert (rows["aesthetic_score"] >= 0).sum() == 0


def test_trellis_is_conditioned_on_views_from_all_around() -> None:
    names = names_of("trellis-cond")
    run("trellis-cond", names, side=64)
    with Path("trellis-cond/metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    elevations, lenses = [], []
    for row in rows:
        folder = Path("trellis-cond/renders_cond", row["sha256"])
        frames = json.loads((folder / "transforms.json").read_text())["frames"]
        assert len(frames) == 24
        for frame in frames:
            alpha = picture_at(folder / frame["file_path"])[..., 3]
            rows_, columns = np.nonzero(alpha)
            side = alpha.shape[0]
            # The whole object, as close as its lens allows.
            ends = np.array([rows_.min(), columns.min(), rows_.max(), columns.max()])
            free = np.minimum(ends, side - 1 - ends).min()
            assert 0 < free <= 0.1 * side
            center = np.array(frame["transform_matrix"])[:3, 3]
            elevations.append(np.degrees(np.arcsin(center[2] / np.linalg.norm(center))))
            lenses.append(np.degrees(frame["camera_angle_x"]))
    assert 0.2 < np.mean(np.array(elevations) < 0) < 0.3
    assert min(elevations) < -60
    assert max(elevations) > 60
    assert 10 <= min(lenses) < 20
    assert 60 < max(lenses) <= 70
    render(["render", "x", "--out", "level", "--views", "24", "--fov", "10:70"], names[:1])
    assert main(["export", "level", "--to", "trellis-cond", "--out", "o"]) == 0
    assert "render with --cameras hammersley --views 24" in told("o")


# --- InstantMesh and Zero123++ --------------------------------------------------------------


def test_instantmesh_is_set_up_with_both_folders_and_its_validation_cameras_fit() -> None:
    names = names_of("instantmesh")
    run("instantmesh", names, side=64)
    assert told("mesh") == ""
    train = json.loads(Path("mesh/filtered_obj_name.json").read_text())["good_objs"]
    assert len(train) == 2
    for name in train:
        folder = Path("mesh/rendering_random_32views", name)
        poses = np.load(folder / "cameras.npz")["cam_poses"]
        assert poses.shape == (32, 3, 4)
        for view in range(32):
            assert picture_at(folder / f"{view:03d}.png").shape[2] == 4
            shown, centres = points_of("data", name, view, 1.0)
            c2w = np.linalg.inv(np.vstack([FLIP @ poses[view], [0, 0, 0, 1]]))
            focal = 32 / math.tan(math.radians(25))
            assert np.abs(pixels(shown, c2w, (focal, focal, 32, 32)) - centres).max() < 2e-3
    held = sorted(path.name for path in Path("first/valid_samples").iterdir())
    assert len(held) == 2
    assert not set(held) & set(train)
    for name in held:
        cameras = zip((30, 90, 150, 210, 270, 330), (20, -10) * 3, strict=True)
        for index, (azimuth, elevation) in enumerate(cameras):
            picture = picture_at(Path("first/valid_samples", name, f"{index:03d}.png"))
            assert picture.shape == (64, 64, 4)
            shown, centres = points_of("seven", name, index + 1, 1.0)
            focal = 32 / math.tan(math.radians(15))
            uv = pixels(shown, on_sphere(azimuth, elevation, 4.0), (focal, focal, 32, 32))
            assert np.abs(uv - centres).max() < 2e-3
            columns, rows = (centres - 0.5).astype(int).T
            assert (picture[rows, columns, 3] > 0).all()


def test_zero123plus_trains_on_all_but_the_last_sixteen() -> None:
    names = names_of("zero123plus", train=18, others=2)
    run("zero123plus", names, side=16)
    assert told("first") == ""
    listed = json.loads(Path("first/zero123plus.json").read_text())
    paths = [name for key in listed for name in listed[key]]
    assert len(paths) == len(set(paths)) == 20
    assert len(paths[:-16]) == 4
    for name in paths:
        shapes = [picture_at(Path("first/rendering_zero123plus", name, f"{view:03d}.png")).shape
                  for view in range(7)]  # fmt: skip
        assert shapes == [(16, 16, 4)] * 7
    assert set(paths[-2:]) == set(listed["val"])
    assert len(list(Path("first/valid_samples").iterdir())) == 4


def test_zero123plus_of_few_scenes_and_of_other_views_is_told() -> None:
    render(["render", "x", "--out", "few", "--cameras", "ring", "--views", "6"], ["asset0"])
    assert main(["export", "few", "--to", "zero123plus", "--out", "o", "--split", "1,0,0"]) == 0
    said = told("o")
    assert "keeps the last 16 names" in said
    assert "render with --cameras zero123plus --resolution 320" in said
    assert "azimuths 30 to 330°" in said
    assert "no scene is held back" in said
    # Better trained on than a trainer that ends while it is set up.
    assert [path.name for path in Path("o/valid_samples").iterdir()] == ["asset0"]
    # What is validated on follows the splits.
    render(["render", "x", "--out", "more", "--cameras", "zero123plus"], ["asset0", "asset1"])
    for split in ("0.5,0.5,0", "1,0,0"):
        flags = ["--to", "zero123plus", "--out", split, "--split", split]
        assert main(["export", "more", *flags]) == 0
        assert len(list(Path(split, "valid_samples").iterdir())) >= 1


# --- LGM ------------------------------------------------------------------------------------


def lgm_poses(folder: str, names: list[str], radius: float = 1.5) -> list[dict[int, np.ndarray]]:
    """Camera to world of the provider, OpenGL, after the first one is put at its place."""
    found = []
    for name in names:
        poses = {}
        for view in [*range(36, 73, 4), *range(100)]:
            assert picture_at(Path(folder, name, "rgb", f"{view:03d}.png")).shape[2] == 4
            numbers = Path(folder, name, "pose", f"{view:03d}.txt").read_text().strip().split(" ")
            pose = np.array(numbers, float).reshape(4, 4)
            pose[1] *= -1
            pose[[1, 2]] = pose[[2, 1]]
            pose[:3, 1:3] *= -1
            pose[:3, 3] *= radius / 1.5
            poses.setdefault(view, pose)
        place = np.eye(4)
        place[2, 3] = radius
        turn = place @ np.linalg.inv(poses[36])
        found.append({view: turn @ pose for view, pose in poses.items()} | {-1: turn})
    return found


def test_lgms_object_stays_in_the_middle() -> None:
    run("lgm", names_of("lgm", others=0), side=24)
    # Notes are left of the provider's own split, which two scenes do not survive, and of ours.
    assert "last 8 names" in told("lgm")
    assert [line for line in told("lgm").splitlines() if "split" not in line] == []
    items = Path("lgm/train.txt").read_text().split()
    assert len(items[:-1]) == 1  # With batch_size 1.
    for name, poses in zip(items, lgm_poses("lgm", items), strict=True):
        turn = poses.pop(-1)
        assert np.abs(turn[:3, 3]).max() < 1e-6
        assert np.allclose([np.linalg.norm(pose[:3, 3]) for pose in poses.values()], 1.5)
        for view in (36, 50, 72, 99):
            shown, centres = points_of("data", name, view, 0.5)
            world = shown * [1, -1, 1]
            world = world[:, [0, 2, 1]] @ turn[:3, :3].T + turn[:3, 3]
            pose = poses[view].copy()
            pose[:3, 1:3] *= -1
            focal = 12 / math.tan(math.radians(49.1 / 2))
            assert np.abs(pixels(world, pose, (focal, focal, 12, 12)) - centres).max() < 2e-3


def test_lgms_other_distances_are_told_with_the_way_out() -> None:
    flags = ["render", "x", "--out", "data", "--normalize", "unit-cube", "--cameras", "fibonacci",
             "--views", "10", "--fov", "49.1", "--radius", "1.5"]  # fmt: skip
    cube = Box((-1, -1, -1), (1, 1, 1))
    render(flags, ["asset0"], shape=cube)
    assert main(["export", "data", "--to", "lgm", "--out", "o"]) == 0
    (note,) = [n for n in report("o")["notes"] if "distance of every camera" in n["text"]]
    assert note["amount"] == 10
    assert 0.15 < note["worst"] < 0.8
    assert "--framing allow" in note["text"]


# --- G-Objaverse ----------------------------------------------------------------------------


def g_objaverse_cameras(folder: str, path: str) -> list[np.ndarray]:
    poses = []
    for view in range(40):
        stem = Path(folder, path, "campos_512_v4", f"{view:05d}", f"{view:05d}")
        said = json.loads(stem.with_suffix(".json").read_text())
        pose = np.eye(4)
        for column, name in enumerate(("x", "y", "z", "origin")):
            pose[:3, column] = said[name]
        assert picture_at(stem.with_suffix(".png")).shape[2] == 4
        poses.append(pose)
    return poses


def test_g_objaverses_numbers_are_its_views() -> None:
    names = names_of("g-objaverse")
    run("g-objaverse", names, side=32)
    listed = json.loads(Path("gobjaverse/gobjaverse_train.json").read_text())
    assert len(listed) == 2
    for path in listed:
        poses = g_objaverse_cameras("gobjaverse", path)
        centers = np.array([pose[:3, 3] for pose in poses])
        azimuth = np.degrees(np.arctan2(centers[:, 1], centers[:, 0])) % 360
        height = np.degrees(np.arcsin(centers[:, 2] / np.linalg.norm(centers, axis=1)))
        assert np.ptp(np.linalg.norm(centers, axis=1)) < 1e-9
        # VideoMV's turn: 24 frames of one height.
        steps = np.diff(azimuth[:25]) % 360
        assert np.allclose(steps, 15)
        assert np.ptp(height[:24]) < 1e-9
        # DiffSplat's even views: four of the first ring, or four of the second.
        for first, count in ((0, 24), (27, 12)):
            for start in (0, 5):
                even = [first + (start + count // 4 * i) % count for i in range(4)]
                assert np.allclose(np.diff(azimuth[even]) % 360, 90)
        assert np.allclose(height[[25, 26]], [90, -90])
        name = path.split("/")[1]
        for view in (0, 7, 25, 26, 33):
            shown, centres = points_of("data", name, view, 0.5)
            focal = 1422.222 * 32 / 1024
            uv = pixels(shown, poses[view], (focal, focal, 16, 16))
            assert np.abs(uv - centres).max() < 2e-3


def test_g_objaverses_other_rigs_are_told_with_the_way_out() -> None:
    flags = ["render", "x", "--out", "data", "--cameras", "ring", "--views", "40",
             "--fov", "39.5978"]  # fmt: skip
    render(flags, ["asset0"], side=24)
    assert main(["export", "data", "--to", "g-objaverse", "--out", "o"]) == 0
    (note,) = [n for n in report("o")["notes"] if "by their numbers" in n["text"]]
    assert note["amount"] > 20
    assert note["worst"] > 100
    assert "render with --cameras g-objaverse" in note["text"]


# --- LVSM, Long-LRM -------------------------------------------------------------------------


def lvsm_frames(frames: list[Any], views: int = 8, least: int = 25, most: int = 192) -> Any:
    """The view selector: two outer frames and others between them, or nothing."""
    most = min(len(frames) - 1, most)
    if len(frames) < views or most <= least:
        return None
    apart = random.randint(least, most)
    first = random.randint(0, len(frames) - apart - 1)
    between = random.sample(range(first + 1, first + apart), views - 2)
    return [first, first + apart, *between]


def test_lvsm_draws_its_views_from_every_scene() -> None:
    names = names_of("lvsm")
    run("lvsm", names, side=40)
    lines = Path("lvsm/train/full_list.txt").read_text().split()
    assert len(lines) == 2
    for line in lines:
        said = json.loads(Path(line).read_text())
        for _ in range(20):
            chosen = lvsm_frames(said["frames"])
            assert chosen is not None
            assert len(set(chosen)) == 8
        for view in chosen:
            frame = said["frames"][view]
            assert picture_at(Path(frame["image_path"])).shape == (40, 40, 3)
            shown, centres = points_of("data", said["scene_name"], view, 1.0)
            uv = pixels(shown, np.linalg.inv(frame["w2c"]), frame["fxfycxcy"])
            assert np.abs(uv - centres).max() < 2e-3


def test_too_few_views_for_lvsm_and_long_lrm_are_told() -> None:
    render(["render", "x", "--out", "data", "--views", "26"], ["asset0"], side=24)
    for name in ("lvsm", "long-lrm"):
        assert main(["export", "data", "--to", name, "--out", name]) == 0
    (path,) = Path("lvsm").glob("*/metadata/asset0.json")
    assert lvsm_frames(json.loads(path.read_text())["frames"]) is None
    assert "fewer than 27 views" in told("lvsm")
    assert "--cameras orbit --views 48" in told("lvsm")
    assert "fewer than 32 views" in told("long-lrm")
    assert "--cameras orbit --views 40" in told("long-lrm")


def test_long_lrm_reads_its_own_layout() -> None:
    names = names_of("long-lrm")
    run("long-lrm", names, side=32)
    # The list's own folder is what its paths are seen from.
    lines = Path("long/train.txt").read_text().split()
    assert len(lines) == 2
    least = 39  # As the page says.
    for line in lines:
        said = json.loads(Path("long", line).read_text())
        frames = said["frames"]
        for held, inputs, targets in ((True, 32, 8), (False, 32, 8)):
            apart = min(least, len(frames) - 1)
            assert apart >= (max(inputs, targets) if held else inputs + targets) - 1
        first = random.randrange(len(frames) - apart)
        for view in np.linspace(first, first + apart, 8, dtype=int):
            frame = frames[view]
            picture = picture_at(Path("long", line).parent / frame["file_path"])
            assert picture.shape == (32, 32, 3)
            # It paints white where nothing is.
            assert (picture[0, 0] == 255).all()
            shown, centres = points_of("data", said["scene_name"], int(view), 1.0)
            lens = [frame[name] for name in ("fx", "fy", "cx", "cy")]
            uv = pixels(shown, np.linalg.inv(frame["w2c"]), lens)
            assert np.abs(uv - centres).max() < 2e-3


# --- OpenLRM --------------------------------------------------------------------------------


def test_openlrm_reads_the_lens_and_the_distances_of_its_models() -> None:
    names = names_of("openlrm")
    run("openlrm", names, side=32)
    uids = json.loads(Path("lrm/train_uids.json").read_text())
    assert len(uids) == 2
    assert len(json.loads(Path("lrm/val_uids.json").read_text())) == 1
    for uid in uids:
        (fx, fy), (cx, cy), (width, height) = np.load(Path("lrm", uid, "intrinsics.npy"))
        assert fx / width == pytest.approx(24 / 32, abs=1e-4)
        assert (width, height) == (32, 32)
        distances = []
        for view in random.sample(range(32), 4):
            rotation, translation = from_gl_pose(np.vstack(
                [np.load(Path("lrm", uid, "pose", f"{view:03d}.npy")), [0, 0, 0, 1]]
            ))  # fmt: skip
            pose = np.linalg.inv(np.vstack([np.c_[rotation, translation], [0, 0, 0, 1]]))
            distances.append(np.linalg.norm(pose[:3, 3]))
            shown, centres = points_of("data", uid, view, 1.0)
            assert np.abs(pixels(shown, pose, (fx, fy, cx, cy)) - centres).max() < 2e-3
            assert picture_at(Path("lrm", uid, "rgba", f"{view:03d}.png")).shape == (32, 32, 4)
        assert min(distances) >= 1.9
        assert max(distances) <= 2.6
    flags = ["render", "x", "--out", "other", "--views", "32", "--fov", "50", "--radius", "2.0:2.6"]
    render(flags, names[:1], side=24)
    assert main(["export", "other", "--to", "openlrm", "--out", "o"]) == 0
    assert "render with --fov 67.38" in told("o")
    assert "--radius 1.9:2.6 --framing allow" in told("o")


def test_an_empty_list_is_told() -> None:
    flags = ["render", "x", "--out", "data", "--views", "4", "--fov", "67.38"]
    render(flags, ["asset0"], side=24)
    assert main(["export", "data", "--to", "openlrm", "--out", "o"]) == 0
    empty = [name for name in ("train", "val", "test")
             if not json.loads(Path(f"o/{name}_uids.json").read_text())]  # fmt: skip
    assert len(empty) == 2
    for split in empty:
        assert f"no scene is in the split {split}" in told("o")


# --- Zero123 --------------------------------------------------------------------------------


def test_zero123_reads_twelve_views_from_where_it_takes_them_to_be() -> None:
    names = names_of("zero123")
    run("zero123", names, side=32)
    (command,) = theirs("zero123")
    total = int(re.search(r"total_view=(\d+)", command)[1])
    paths = json.loads(Path("views/valid_paths.json").read_text())
    assert len(paths) == 3
    for name in paths:
        for view in range(total):
            w2c = np.load(Path("views", name, f"{view:03d}.npy"))
            center = -w2c[:, :3].T @ w2c[:, 3]
            assert 1.5 - 1e-9 <= np.linalg.norm(center) <= 2.2 + 1e-9
            pose = np.linalg.inv(np.vstack([FLIP @ w2c, [0, 0, 0, 1]]))
            shown, centres = points_of("data", name, view, 0.5)
            focal = 16 / math.tan(math.radians(49.1343 / 2))
            assert np.abs(pixels(shown, pose, (focal, focal, 16, 16)) - centres).max() < 2e-3
            with Image.open(Path("views", name, f"{view:03d}.png")) as image:
                assert image.mode == "RGBA"


def test_every_command_on_the_pages_that_is_not_ours_is_one_of_a_trainer() -> None:
    for page in PAGES:
        for words in commands(page):
            assert words[0] in ("objaverse-render", "python", "torchrun", "accelerate", "ns-train",
                                "mv", "blenderproc", "rerun", "yolo"), words  # fmt: skip
