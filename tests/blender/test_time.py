"""Frames of animations against closed forms: motion, its ends, actions, formats."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.errors import (
    InvalidJob,
    LeavesPicture,
    StillAnimation,
    UnsupportedFormat,
)
from objaverse_render_addon.frame import Frame

from . import moving, scenes

GEOMETRY = {"pixels.passes": ["depth"], "asset.normalize": "none", "pixels.resolution": [96, 80]}
KINDS = ["translating", "rotating", "skinned", "morphed", "driven"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("time")


def cameras(folder: Path, count: int = 2) -> dict[str, Any]:
    poses = [scenes.look_at((1 + 4 * (1 - 2 * i), -5.0, 3.0), (1, 0, 0)) for i in range(count)]
    name = folder / f"cameras-{count}.json"
    return scenes.camera_file(name, poses, scenes.lens(50, (96, 80)))


def shoot(path: Path, folder: Path, count: int = 2, **values: Any) -> list[Frame]:
    given = {name.replace("__", "."): value for name, value in values.items()}
    return scenes.shoot(path, {**cameras(folder, count), **GEOMETRY, **given})


def assert_shows(frame: Frame, kind: str, moment: float) -> None:
    truth, _ = scenes.cast_box(frame.camera, *moving.BOX, moving.placed(kind, moment))
    depth = frame.passes["depth"]
    inside = scenes.interior(np.isfinite(truth)) & scenes.interior(depth > 0)
    assert inside.sum() > 50
    assert (np.isfinite(truth) != (depth > 0)).mean() < 0.01
    assert np.abs(depth - truth)[inside].max() < 2e-3
    assert scenes.failed_checks(frame) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_shows_its_moment_from_every_view(kind: str, folder: Path):
    path = moving.write(folder / f"{kind}.blend", kind)
    frames = shoot(path, folder, time__frames="1:9:4")
    # All views of a time before the next time.
    keys = [(frame.key.view, frame.key.time) for frame in frames]
    assert keys == [(0, 1), (1, 1), (0, 5), (1, 5), (0, 9), (1, 9)]
    for frame in frames:
        assert_shows(frame, kind, frame.time)


@pytest.mark.parametrize("kind", ["translating", "skinned"])
def test_slow_motion_shows_moments_between_the_files_frames(kind: str, folder: Path):
    path = moving.write(folder / f"{kind}-slow.blend", kind)
    frames = shoot(path, folder, 1, time__frames="all", time__scale=2.5)
    assert [frame.time for frame in frames] == list(range(3, 23))
    for frame in frames[::4]:
        assert_shows(frame, kind, frame.time / 2.5)


@pytest.mark.parametrize("ending", [".glb", ".fbx", ".usdc", ".abc", ".dae"])
@pytest.mark.parametrize("kind", ["translating", "skinned"])
def test_formats_move_as_the_blend_file_does(ending: str, kind: str, folder: Path):
    from objaverse_render_addon.blender import compat

    if ending == ".dae":
        try:
            compat.find_operator("wm.collada_export")
        except UnsupportedFormat:
            pytest.skip("this Blender writes no Collada")
    path = moving.write(folder / f"{kind}{ending}", kind)
    session = scenes.open_scene(
        path, scenes.make_job({**cameras(folder, 1), **GEOMETRY, "time.frames": "all"})
    )
    line, frames = session.stage.timeline, scenes.frames_of(session)
    assert len(frames) in (moving.LENGTH, moving.LENGTH - 1)
    for frame in frames[::3]:
        at = frame.time
        if ending == ".fbx":
            # Its importers let every animation begin at frame 1.
            at = frame.time - line.frames[0] + 1
        assert_shows(frame, kind, at)


def test_a_frame_alone_is_the_frame_in_the_row(folder: Path):
    path = moving.write(folder / "order.blend", "skinned")
    row = shoot(path, folder, 1, time__frames="1:9")
    for wanted in (9, 4):
        (alone,) = shoot(path, folder, 1, time__frames=str(wanted))
        assert alone.key == row[wanted - 1].key
        np.testing.assert_array_equal(alone.passes["depth"], row[wanted - 1].passes["depth"])


def test_the_box_of_all_frames_is_normalised(folder: Path):
    path = moving.write(folder / "box.blend", "translating")
    values = {"time.frames": "all", "pixels.passes": ["depth", "mask"], "cameras.pattern": "ring",
              "cameras.views": 3, "cameras.radius": [1.0, 1.0]}  # fmt: skip
    session = scenes.open_scene(path, scenes.make_job(values))
    normal = session.asset.normalization
    # It reaches from -0.5 to 2.5.
    assert normal.scale == pytest.approx(2 / 3, abs=1e-6)
    np.testing.assert_allclose(normal.bounds.box_min, (-1, -13 / 30, -0.2), atol=1e-6)
    np.testing.assert_allclose(normal.bounds.box_max, (1, 13 / 30, 0.2), atol=1e-6)
    frames = scenes.frames_of(session)
    assert len(frames) == 27
    for frame in frames:
        mask = frame.passes["mask"]
        assert mask.any()
        # The framing "fit" looks at all frames.
        assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
        # The bounds of a frame are its own.
        assert frame.bounds.box_max[0] - frame.bounds.box_min[0] == pytest.approx(2 / 3, abs=1e-5)
    assert session.asset.record["time"]["motion"] == pytest.approx(2 / 3, abs=1e-6)


def test_a_camera_moves_along(folder: Path):
    path = moving.write(folder / "along.blend", "rotating")
    values = {**GEOMETRY, "time.frames": "all", "time.views_per_frame": "one",
              "cameras.pattern": "orbit"}  # fmt: skip
    frames = scenes.shoot(path, values)
    assert [(frame.key.view, frame.key.time) for frame in frames] == [
        (index, index + 1) for index in range(9)
    ]
    for frame in frames[::4]:
        assert_shows(frame, "rotating", frame.time)
    places = [frame.camera.camera_to_world[:3, 3] for frame in frames]
    assert min(np.linalg.norm(a - b) for a, b in itertools.pairwise(places)) > 0.1
    turned = scenes.shoot(path, {**values, "cameras.views": 2})
    assert [frame.key.view for frame in turned] == [0, 1, 0, 1, 0, 1, 0, 1, 0]


def test_what_stands_still_is_the_same_at_all_times_and_said(folder: Path):
    path = moving.write(folder / "still.blend", "still")
    values = {**cameras(folder, 1), **GEOMETRY, "pixels.passes": ["depth", "normal", "position"],
              "time.frames": "1:3"}  # fmt: skip
    session = scenes.open_scene(path, scenes.make_job(values))
    first, *others = scenes.frames_of(session)
    for frame in others:
        for name, data in first.passes.items():
            np.testing.assert_array_equal(frame.passes[name], data)
    assert any(text.startswith("still-animation: ") for text in session.warnings)
    with pytest.raises(StillAnimation, match="stand still in all 3 frames"):
        scenes.shoot(path, {**values, "time.still": "fail"})
    # A file without any animation has one frame.
    assert len(scenes.shoot(path, {**values, "time.frames": "all"})) == 1


def test_what_leaves_the_picture_is_said(folder: Path):
    path = moving.write(folder / "leaves.blend", "translating")
    pose = scenes.look_at((0, -3.0, 1.0), (0, 0, 0))
    file = scenes.camera_file(folder / "narrow.json", [pose], scenes.lens(30, (96, 80)))
    values = {**file, **GEOMETRY, "time.frames": "all"}
    session = scenes.open_scene(path, scenes.make_job(values))
    frames = scenes.frames_of(session)
    gone = [frame.time for frame in frames if not frame.passes["depth"].any()]
    assert 0 < len(gone) < 9
    (said,) = (text for text in session.warnings if text.startswith("leaves-picture: "))
    assert f"at {len(gone)} frames of 9, the first {gone[0]}" in said
    with pytest.raises(LeavesPicture, match="leaves the picture"):
        scenes.shoot(path, {**values, "time.leaving": "fail"})


def two_moves(_: Any) -> None:
    """A second action of the rig: three frames, the other way."""
    import bpy

    from objaverse_render_addon.blender import compat

    rig = bpy.data.objects["Rig"]
    first = rig.animation_data.action
    first.name, first.use_fake_user = "Walk", True
    second = first.copy()
    second.name, second.use_fake_user = "Back", True
    for curve in compat._curves(second):
        for point in curve.keyframe_points:
            point.co = (11 if point.co[0] < 5 else 13, -point.co[1])
            point.handle_left, point.handle_right = point.co, point.co
        curve.update()


def test_an_action_is_chosen_by_name(folder: Path):
    path = moving.write(folder / "moves.blend", "skinned", two_moves)
    frames = shoot(path, folder, 1, time__frames="all", time__action="Back")
    assert [frame.time for frame in frames] == [11, 12, 13]
    for frame in frames:
        truth = scenes.moved(-(frame.time - 11), -0.25 * (frame.time - 11), 0)
        depth, _ = scenes.cast_box(frame.camera, *moving.BOX, truth)
        found = frame.passes["depth"]
        inside = scenes.interior(np.isfinite(depth)) & scenes.interior(found > 0)
        assert np.abs(found - depth)[inside].max() < 2e-3
    with pytest.raises(InvalidJob, match="'Jump': the file has Back, Walk"):
        shoot(path, folder, 1, time__frames="all", time__action="Jump")


@pytest.mark.parametrize("ending", [".blend", ".glb"])
def test_all_actions_play_one_after_the_other(ending: str, folder: Path):
    path = moving.write(folder / f"all{ending}", "skinned", two_moves)
    values = {**cameras(folder, 1), **GEOMETRY, "time.frames": "all", "time.action": "all"}
    session = scenes.open_scene(path, scenes.make_job(values))
    line = session.stage.timeline
    assert line.actions == ("Back", "Walk")
    assert [clip.action for clip in line.clips] == ["Back", "Walk"]
    assert line.after(line.clips[0].last) is None
    frames = scenes.frames_of(session)
    walk = [frame for frame in frames if frame.time >= line.clips[1].first]
    for frame in walk[::4]:
        assert_shows(frame, "skinned", line.moment(frame.time))


def test_it_is_there_at_some_frames_only(folder: Path):
    def hidden(_: Any) -> None:
        import bpy

        box = bpy.data.objects["Box"]
        for frame, off in ((1, True), (4, False)):
            box.hide_render = off
            box.keyframe_insert("hide_render", frame=frame)

    path = moving.write(folder / "appears.blend", "translating", hidden)
    session = scenes.open_scene(
        path, scenes.make_job({**cameras(folder, 1), **GEOMETRY, "time.frames": "1:6"})
    )
    frames = scenes.frames_of(session)
    assert [bool(frame.passes["depth"].any()) for frame in frames] == [False] * 3 + [True] * 3
    names = {text.partition(":")[0] for text in session.warnings}
    assert {"not-always-there", "leaves-picture"} <= names
    assert_shows(frames[4], "translating", 5)


def test_a_dataset_has_times_and_reads_back(folder: Path, tmp_path: Path):
    from objaverse_render_addon.dataset.reader import AssetReader
    from objaverse_render_addon.dataset.verify import verify_asset
    from tests.test_schema import problems

    path = moving.write(folder / "set.blend", "translating")
    asset = scenes.write_asset(
        path, tmp_path, {**cameras(folder), **GEOMETRY, "pixels.passes": ["rgb", "depth", "mask"],
                         "time.frames": "1:9:4", "files.layout": "folder"},
    )  # fmt: skip
    names = sorted(file.name for file in asset.iterdir())
    assert names[:3] == ["000_0001.png", "000_0001_depth.npy", "000_0001_mask.npy"]
    assert problems(json.loads((asset / "metadata.json").read_text())) == []
    with AssetReader(asset) as reader:
        assert [(reader.key(i).view, reader.key(i).time) for i in range(6)] == [
            (0, 1), (1, 1), (0, 5), (1, 5), (0, 9), (1, 9),
        ]  # fmt: skip
        assert [view["index"] for view in reader.views] == list(range(6))
        assert reader.times == [1, 5, 9]
        assert reader.place(1, 5) == 3
        assert reader.seconds(3) == pytest.approx(5 / 24)
        depth = reader.read(3, ["depth"])["depth"]
        truth, _ = scenes.cast_box(
            reader.view(3).camera, *moving.BOX, moving.placed("translating", 5)
        )
        inside = scenes.interior(np.isfinite(truth))
        assert np.abs(depth - truth)[inside].max() < 2e-3
    assert verify_asset(asset).failed == []


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_motion_blur_is_in_the_picture_and_nowhere_else(scale: float, folder: Path):
    def glow(_: Any) -> None:
        import bpy

        bpy.data.objects["Box"].data.materials.append(scenes.emission((1, 1, 1)))

    path = moving.write(folder / "blur.blend", "translating", glow)
    # From above, what moves along X is smeared along the rows.
    pose = scenes.look_at((1, 0.25, 8), (1, 0.25, 0), roll=-90)
    file = scenes.camera_file(folder / "above.json", [pose], scenes.lens(40, (96, 80)))
    values = {**file, **GEOMETRY, "pixels.passes": ["rgb", "depth", "mask"], "engine.samples": 64,
              "time.frames": str(round(5 * scale)), "time.scale": scale,
              "lighting.background": None}  # fmt: skip
    (sharp,) = scenes.shoot(path, values)
    (blurred,) = scenes.shoot(
        path, {**values, "time.motion_blur": True, "time.shutter": 2.0 * scale}
    )
    for name in ("depth", "mask"):
        np.testing.assert_array_equal(sharp.passes[name], blurred.passes[name])
    alpha = [frame.passes["rgb"][..., 3].astype(float) / 255 for frame in (sharp, blurred)]
    # It goes a quarter of a unit a frame; open for two frames, that is half a unit.
    k = sharp.camera.intrinsics[0, 0]
    along = 0 if np.ptp(np.nonzero(alpha[1].sum(0) > 0.5)[0]) == np.ptp(
        np.nonzero(alpha[0].sum(0) > 0.5)[0]
    ) else 1
    wide = [np.count_nonzero((one > 0.02).any(axis=1 - along)) for one in alpha]
    # The top of the box is 7.7 from the camera.
    assert wide[1] - wide[0] == pytest.approx(0.5 * k / 7.7, abs=2.5)
    assert alpha[1].sum() == pytest.approx(alpha[0].sum(), rel=0.03)
    assert scenes.failed_checks(blurred) == []
    assert not any(check.name == "alpha_agrees_with_mask" for check in blurred.checks)
