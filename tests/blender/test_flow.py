"""Flow, occlusion and scene flow against closed formulas: bodies that move, scale and deform."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.frame import Frame

from . import scenes
from .bodies import (
    BODIES,
    LAST,
    PASSES,
    opened,
    orbiting,
    plate_at,
    standing,
    where,
    write_bodies,
)

pytestmark = pytest.mark.core


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bodies(tmp_path_factory.mktemp("flow") / "bodies.blend")


CASES = {
    "still-camera": (scenes.lens(48, (128, 128)), f"1:{LAST}:4", standing),
    "landscape": (scenes.lens(60, (160, 90)), "3:6", orbiting),
    "portrait": (scenes.lens(34, (90, 160), cx=40.5, cy=90.25), f"1:{LAST}:3", orbiting),
    "wide-pixels": ({**scenes.lens(50, (96, 128)), "fl_y": 150.0}, "2:10:4", orbiting),
}


@pytest.mark.parametrize("case", CASES)
def test_flow_scene_flow_and_occlusion_are_those_of_closed_formulas(
    bodies: Path, case: str
) -> None:
    lens, wanted, pose = CASES[case]
    with opened(bodies, lens, wanted, pose) as (session, frames):
        names = session.asset.object_names
        cameras = {frame.time: frame.camera for frame in frames}
        wrong = compared = hidden = 0
        for frame in frames:
            assert scenes.failed_checks(frame) == []
            seen = frame.passes["mask"] == 1
            for which, key in (("forward", frame.next), ("backward", frame.previous)):
                flow = frame.passes[f"flow_{which}"][seen].astype(np.float64)
                codes = frame.passes[f"occlusion_{which}"][seen]
                assert not frame.passes[f"flow_{which}"][~seen].any()
                if key is None:
                    assert np.isnan(flow).all() and (codes == 3).all()
                    continue
                points, then = where(BODIES, frame, names, key.time)
                camera = cameras[key.time]
                target, _ = camera.project(then)
                expected = target - frame.camera.project(points)[0]
                assert np.abs(flow - expected).max() < 1e-3
                # The flow that the eye sees, of the pixel's very centre.
                rows, columns = np.nonzero(seen)
                from_center = target - np.stack([columns, rows], axis=1) - 0.5
                assert np.abs(flow - from_center).max() < 2e-3
                if which == "forward":
                    assert np.abs(frame.passes["scene_flow"][seen] - (then - points)).max() < 2e-5
                inside = ((target >= 0) & (target < (camera.width, camera.height))).all(axis=1)
                eye = camera.camera_to_world[:3, 3]
                blocked = np.any([body.blocks(eye, then, key.time) for body in BODIES], axis=0)
                truth = np.where(~inside, 2, np.where(blocked, 1, 0))
                wrong += int((codes != truth).sum())
                hidden += int(blocked.sum())
                compared += len(truth)
        assert hidden > 100
        assert wrong <= 1e-3 * compared, (wrong, compared)


def test_what_stands_still_has_zero_flow_to_the_bit(bodies: Path) -> None:
    with opened(bodies, scenes.lens(48, (96, 80)), "1:9:4", standing) as (session, frames):
        (ground,) = (n for n, name in session.asset.object_names.items() if name == "Ground")
        for frame in frames[:-1]:
            still = frame.passes["object_index"] == ground
            assert still.sum() > 1000
            assert not frame.passes["flow_forward"][still].any()
            assert not frame.passes["scene_flow"][still].any()
            assert frame.passes["flow_forward"][~still & (frame.passes["mask"] == 1)].any()


def test_warping_a_frame_with_flow_gives_the_next_frames_positions(bodies: Path) -> None:
    with opened(bodies, scenes.lens(48, (160, 160)), "1:13:3", orbiting) as (_, frames):
        for now, then in itertools.pairwise(frames):
            visible = (now.passes["occlusion_forward"] == 0) & (now.passes["mask"] == 1)
            rows, columns = np.nonzero(visible)
            flow = now.passes["flow_forward"][visible]
            moved = now.passes["position"][visible] + now.passes["scene_flow"][visible]
            u, v = columns + 0.5 + flow[:, 0], rows + 0.5 + flow[:, 1]
            column, row = np.floor(u - 0.5).astype(int), np.floor(v - 0.5).astype(int)
            whole = (column >= 0) & (row >= 0) & (column < 159) & (row < 159)
            column, row, u, v = column[whole], row[whole], u[whole], v[whole]
            corners = [(row + y, column + x) for y in (0, 1) for x in (0, 1)]
            mine = now.passes["instance_index"][visible][whole]
            flat = np.all([then.passes["instance_index"][at] == mine for at in corners], axis=0)
            x, y = (u - 0.5 - column)[:, None], (v - 0.5 - row)[:, None]
            found = [then.passes["position"][at] for at in corners]
            mixed = (found[0] * (1 - x) + found[1] * x) * (1 - y) + (
                found[2] * (1 - x) + found[3] * x
            ) * y
            error = np.linalg.norm(mixed - moved[whole], axis=1)[flat]
            assert flat.mean() > 0.8
            # Positions are not quite linear between pixels, least of all across a cube's edge.
            assert np.quantile(error, 0.95) < 5e-3


def test_flow_is_blenders_own_where_that_is_right(bodies: Path) -> None:
    """Step 1, a camera that stands, no blur: the Vector pass, of which no code here knows."""
    with opened(bodies, scenes.lens(48, (96, 80)), "4:6", standing) as (session, frames):
        vector = vectors_of(session, frames[1])
        seen = frames[1].passes["mask"] == 1
        forward = np.stack([-vector["Z"], vector["W"]], axis=-1)
        backward = np.stack([vector["X"], -vector["Y"]], axis=-1)
        for name, theirs in (("flow_forward", forward), ("flow_backward", backward)):
            error = np.abs(frames[1].passes[name] - theirs)[seen]
            assert np.abs(frames[1].passes[name][seen]).max() > 2
            assert error.max() < 2e-3


def vectors_of(session: Any, frame: Frame) -> dict[str, Any]:
    """Blender's Vector pass of a frame: X, Y to the one before, Z, W to the next; y is up."""
    import bpy

    from objaverse_render_addon.blender import compat
    from objaverse_render_addon.dataset.images import read_exr

    stage = session.stage
    stage.set_time(frame.time)
    stage.look(frame.view)
    stage.set_up_geometry()
    stage.layer.use_pass_vector = True
    # Not through the compositor, which loses the fourth number on 4.5 and 5.0.
    compat.set_compositing(stage.scene, False)
    compat.set_image_format(stage.scene.render.image_settings, multilayer=True)
    path = session.renderer.scratch / "vector.exr"
    stage.scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    channels = read_exr(path)
    path.unlink()
    return {letter: next(data for name, data in channels.items()
                         if name.endswith(f"Vector.{letter}")) for letter in "XYZW"}  # fmt: skip


# --- As a data set --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset(bodies: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two views through five frames, as the worker writes them, with motion blur in RGB."""
    out = tmp_path_factory.mktemp("flow-set")
    poses = [standing(1), orbiting(6)]
    cameras = scenes.camera_file(out / "cameras.json", poses, scenes.lens(48, (96, 80)))
    values = {
        **cameras, "asset.normalize": "none", "time.frames": "1:13:3", "files.layout": "folder",
        "time.motion_blur": True, "pixels.passes": ["rgb", *PASSES],
    }  # fmt: skip
    return scenes.write_asset(bodies, out / "data", values)


def test_a_dataset_with_motion_reads_back_and_is_right(dataset: Path) -> None:
    import json

    from objaverse_render_addon.dataset.reader import AssetReader
    from objaverse_render_addon.dataset.verify import verify_asset
    from tests.test_schema import problems

    said = json.loads((dataset / "metadata.json").read_text())
    assert problems(said) == []
    first, last = said["views"][0], said["views"][-1]
    assert (first["previous"], first["next"]) == (None, {"view": 0, "time": 4})
    assert (last["previous"], last["next"]) == ({"view": 1, "time": 10}, None)
    assert {what["name"] for what in said["ids"]["instance_index"].values()} == {
        body.name for body in BODIES
    }
    assert said["ids"]["instance_index"]["1"]["asset"] == "bodies"
    verdict = verify_asset(dataset)
    assert verdict.failed == []
    assert not [name for name in verdict.doubts if "flow" in name or "occlusion" in name]
    with AssetReader(dataset) as reader:
        frame = reader.read(2, ["flow_forward"])["flow_forward"]
        assert np.nanmax(np.abs(frame)) > 2 and frame.dtype == np.float32
        assert reader.places_beside(2) == (0, 4)


def _sign(flow: Any, _: Any) -> Any:
    return -flow


def _lost(flow: Any, _: Any) -> Any:
    return flow * np.array([1, 0], np.float32)


def _turned(flow: Any, _: Any) -> Any:
    return flow * np.array([1, -1], np.float32)


def _exchanged(flow: Any, _: Any) -> Any:
    return flow[..., ::-1]


def _stale(_: Any, earlier: Any) -> Any:
    return earlier


SPOILT = {"sign": _sign, "lost": _lost, "turned": _turned, "exchanged": _exchanged, "stale": _stale}
KEPT = {
    "all": set(PASSES),
    "flow-alone": {"mask", "flow_forward", "flow_backward", "occlusion_forward",
                   "occlusion_backward", "instance_index"},
    "one-way": {"mask", "position", "instance_index", "flow_forward", "scene_flow"},
}  # fmt: skip


def spoilt(dataset: Path, folder: Path, keep: set[str]) -> Path:
    """A copy with fewer passes."""
    import json
    import shutil

    path = folder / "asset"
    shutil.copytree(dataset, path)
    said = json.loads((path / "metadata.json").read_text())
    said["passes"] = {name: what for name, what in said["passes"].items() if name in keep}
    said["render_settings"]["modalities"] = [name for name in PASSES if name in keep]
    for view in said["views"]:
        for name in ["image", *PASSES]:
            if name not in keep:
                view.pop(name, None)
    (path / "metadata.json").write_text(json.dumps(said))
    return path


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("how", SPOILT)
def test_verify_finds_flow_that_is_wrong(
    dataset: Path, tmp_path: Path, how: str, kept: str
) -> None:
    from objaverse_render_addon.dataset.verify import verify_asset

    path = spoilt(dataset, tmp_path, KEPT[kept])
    assert verify_asset(path).failed == []
    file, earlier = path / "000_0007_flow_forward.npy", path / "000_0004_flow_forward.npy"
    seen = np.load(path / "000_0007_mask.npy") == 1
    flow = SPOILT[how](np.load(file), np.load(earlier))
    flow = np.where(seen[..., None], np.nan_to_num(flow), 0).astype(np.float32)
    np.save(file, flow)
    failed = verify_asset(path).failed
    assert any("flow_" in line and "view 0 at frame 7" in line for line in failed), failed


@pytest.mark.parametrize("kept", ["all", "flow-alone"])
def test_verify_finds_directions_that_are_exchanged(
    dataset: Path, tmp_path: Path, kept: str
) -> None:
    from objaverse_render_addon.dataset.verify import verify_asset

    path = spoilt(dataset, tmp_path, KEPT[kept])
    one, two = sorted(path.glob("000_0007_flow_*.npy"))
    swap = np.load(one), np.load(two)
    np.save(one, swap[1])
    np.save(two, swap[0])
    assert any("flow_" in line for line in verify_asset(path).failed)


# --- As benchmarks keep it ------------------------------------------------------------------


def _read_flo(path: Path) -> Any:
    data = path.read_bytes()
    assert np.frombuffer(data[:4], "<f4")[0] == np.float32(202021.25)
    width, height = np.frombuffer(data[4:12], "<i4")
    flow = np.frombuffer(data[12:], "<f4").reshape(height, width, 2)
    return np.where(np.abs(flow) > 1e9, np.nan, flow)


def _read_kitti(path: Path) -> Any:
    import struct
    import zlib

    data, at, packed = path.read_bytes(), 8, b""
    width, height, depth, kind = struct.unpack_from(">IIBB", data, 16)
    assert (depth, kind) == (16, 2)
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += length + 12
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, -1)
    rows = np.zeros((height, width * 6), np.uint8)
    for row, line in enumerate(lines):
        # Filters: none, or the difference to the line above.
        assert line[0] in (0, 2)
        rows[row] = line[1:] + (rows[row - 1] if line[0] and row else 0)
    data = rows.view(">u2").reshape(height, width, 3).astype(np.float64)
    flow = (data[..., :2] - 2**15) / 64
    return np.where(data[..., 2:] > 0, flow, np.nan)


def _read_flo5(path: Path) -> Any:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path) as file:
        return file["flow"][()]


@pytest.mark.parametrize(
    ("name", "ending", "read", "step"),
    [("sintel", "flo", _read_flo, 0.0), ("kitti-flow", "png", _read_kitti, 0.51 / 64),
     ("spring", "flo5", _read_flo5, 0.0)],
)  # fmt: skip
def test_flow_files_hold_the_flow_of_their_picture(
    dataset: Path, tmp_path: Path, name: str, ending: str, read: Any, step: float
) -> None:
    from objaverse_render_addon.dataset.export import Options, export

    if name == "spring":
        pytest.importorskip("h5py")
    export(dataset.parent, tmp_path, name, Options())
    for view in (0, 1):
        home = tmp_path / f"bodies/{view:03d}"
        assert len(list((home / "frames").iterdir())) == 5
        for way, numbers in (("forward", [0, 1, 2, 3]), ("backward", [1, 2, 3, 4])):
            files = sorted((home / f"flow_{way}").iterdir())
            assert [file.name for file in files] == [f"{n:05d}.{ending}" for n in numbers]
            hidden = sorted((home / f"occlusion_{way}").iterdir())
            assert [file.name for file in hidden] == [f"{n:05d}.png" for n in numbers]
            for number, file in zip(numbers, files, strict=True):
                stem = f"{view:03d}_{1 + 3 * number:04d}"
                seen = np.load(dataset / f"{stem}_mask.npy") == 1
                stored = np.load(dataset / f"{stem}_flow_{way}.npy")
                found = read(file)
                assert np.array_equal(np.isfinite(found).all(axis=-1), seen)
                assert np.abs(found - stored)[seen].max() <= step


# --- Tracked points -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tracked(bodies: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tracks")
    cameras = scenes.camera_file(
        out / "cameras.json", [standing(1), orbiting(6)], scenes.lens(48, (96, 80))
    )
    values = {
        **cameras, "asset.normalize": "none", "time.frames": "1:13:3", "files.layout": "folder",
        "pixels.passes": ["rgb", "mask"], "pixels.tracks": 500,
    }  # fmt: skip
    return scenes.write_asset(bodies, out / "data", values)


def test_tracked_points_are_where_closed_formulas_have_them(tracked: Path) -> None:
    import json

    from objaverse_render_addon.dataset.reader import AssetReader
    from objaverse_render_addon.dataset.verify import verify_asset
    from tests.test_schema import problems

    said = json.loads((tracked / "metadata.json").read_text())
    assert problems(said) == []
    assert verify_asset(tracked).failed == []
    names = np.array(said["tracks"]["objects"])
    assert set(names) == {body.name for body in BODIES} and len(names) == 500
    wrong = hidden = 0
    with AssetReader(tracked) as reader:
        first = reader.tracks(0)
        for place in range(len(reader.views)):
            time, camera = reader.key(place).time, reader.view(place).camera
            tracks = reader.tracks(place)
            expected = np.full((500, 3), np.nan)
            for body in BODIES:
                mine = names == body.name
                step = body.at(time) @ np.linalg.inv(body.at(1))
                expected[mine] = first[mine, 2:5] @ step[:3, :3].T + step[:3, 3]
                # On the surface, not only where the first frame says.
                local = np.linalg.inv(body.at(time))
                rest = expected[mine] @ local[:3, :3].T + local[:3, 3]
                outside = np.maximum(body.low - rest, rest - body.high).max(axis=1)
                assert np.abs(outside).max() < 1e-5
            assert np.abs(tracks[:, 2:5] - expected).max() < 1e-5
            uv, _ = camera.project(expected)
            assert np.abs(tracks[:, :2] - uv).max() < 0.01
            inside = ((uv >= 0) & (uv < (camera.width, camera.height))).all(axis=1)
            eye = camera.camera_to_world[:3, 3]
            blocked = np.any([body.blocks(eye, expected, time) for body in BODIES], axis=0)
            wrong += int(((tracks[:, 5] == 1) != (inside & ~blocked)).sum())
            hidden += int(blocked.sum())
    assert hidden > 100
    assert wrong <= 0.001 * 500 * len(reader.views)


def test_tracks_in_the_shapes_of_tapvid_and_pointodyssey(tracked: Path, tmp_path: Path) -> None:
    from objaverse_render_addon.dataset.export import Options, export
    from objaverse_render_addon.dataset.reader import AssetReader

    export(tracked.parent, tmp_path / "tapvid", "tapvid", Options())
    export(tracked.parent, tmp_path / "odyssey", "pointodyssey", Options())
    with AssetReader(tracked) as reader:
        for view in (0, 1):
            stored = np.stack([reader.tracks(reader.place(view, t)) for t in (1, 4, 7, 10, 13)])
            found = np.load(tmp_path / f"tapvid/bodies/{view:03d}.npz")
            assert found["video"].shape == (5, 80, 96, 3) and found["video"].dtype == np.uint8
            assert found["points"].shape == (500, 5, 2) and found["occluded"].shape == (500, 5)
            pixels = found["points"].transpose(1, 0, 2) * (96, 80)
            assert np.allclose(pixels, stored[..., :2], atol=1e-3)
            assert np.array_equal(found["occluded"].T, stored[..., 5] == 0)
            home = tmp_path / f"odyssey/bodies/{view:03d}"
            other = np.load(home / "anno.npz")
            assert len(list((home / "rgbs").iterdir())) == 5
            # What its loaders do: world to camera to pixels.
            for frame in range(5):
                world = np.column_stack([other["trajs_3d"][frame], np.ones(500)])
                local = world @ other["extrinsics"][frame].T
                uv = local[:, :3] @ other["intrinsics"][frame].T
                uv = uv[:, :2] / uv[:, 2:]
                assert np.abs(uv - other["trajs_2d"][frame]).max() < 0.01
            assert other["valids"].all() and np.array_equal(other["visibs"], stored[..., 5] == 1)


# --- Skeletons ------------------------------------------------------------------------------


def test_a_rig_moves_its_skin_as_blender_does(bodies: Path, tmp_path: Path) -> None:
    cameras = scenes.camera_file(tmp_path / "c.json", [standing(1)], scenes.lens(48, (32, 32)))
    for normalize in ("none", "cube"):
        asset = scenes.write_asset(
            bodies, tmp_path / normalize,
            {**cameras, "asset.normalize": normalize, "time.frames": "1:13:6", "files.rig": True,
             "files.layout": "folder", "pixels.passes": ["mask", "position", "object_index"]},
        )  # fmt: skip
        rig = np.load(asset / "rig.npz")
        assert rig["names"].tolist() == ["Rig", "Rig/Stays", "Rig/Turns"]
        assert rig["parents"].tolist() == [-1, 0, 0]
        assert rig["frames"].tolist() == [1, 7, 13]
        assert rig["rest"].shape == (3, 4, 4) and rig["pose"].shape == (3, 3, 4, 4)
        assert str(rig["mesh_00_name"]) == "Plate"
        weights, joints = rig["mesh_00_weights"], rig["mesh_00_joints"]
        assert np.allclose(weights.sum(axis=1), 1) and np.isin(joints, (1, 2)).all()
        vertices = np.column_stack([rig["mesh_00_vertices"], np.ones(8)])
        moved_as_said = []
        for place in range(3):
            step = rig["pose"][place] @ np.linalg.inv(rig["rest"])
            each = np.einsum("vkij,vj->vki", step[joints], vertices)
            moved_as_said.append((weights[..., None] * each).sum(axis=1)[:, :3])
        if normalize == "none":
            rest = scenes.CUBE_VERTICES * (BODIES[2].high - BODIES[2].low)
            rest = rest + (BODIES[2].high + BODIES[2].low) / 2
            for place, frame in enumerate((1, 7, 13)):
                at = plate_at(frame)
                expected = rest @ at[:3, :3].T + at[:3, 3]
                assert np.abs(moved_as_said[place] - expected).max() < 1e-5
        else:
            import json

            said = json.loads((asset / "metadata.json").read_text())
            scale, shift = said["normalization"]["scale"], said["normalization"]["translation"]
            at = plate_at(13)
            rest = scenes.CUBE_VERTICES * (BODIES[2].high - BODIES[2].low)
            rest = rest + (BODIES[2].high + BODIES[2].low) / 2
            expected = (rest @ at[:3, :3].T + at[:3, 3]) * scale + shift
            assert np.abs(moved_as_said[2] - expected).max() < 1e-5
