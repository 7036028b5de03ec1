"""A file's own cameras against closed forms, and poses over time."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.errors import CameraFileError
from objaverse_render_addon.frame import Frame

from . import moving, scenes

VALUES = {"cameras.pattern": "scene", "pixels.passes": ["depth", "mask"], "lighting.mode": "keep"}


def add_camera(name: str, **values: Any) -> Any:
    import bpy

    data = bpy.data.cameras.new(name)
    for key, value in values.items():
        setattr(data, key, value)
    camera = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(camera)
    return camera


def cameras(_: Any) -> None:
    """One that rides on a turning arm, one that looks after the box, one that stands and shifts."""
    import bpy
    from mathutils import Matrix

    scene = bpy.context.scene
    arm = bpy.data.objects.new("Arm", None)
    scene.collection.objects.link(arm)
    moving._keys(arm, "rotation_euler", (0, 0, 0), (0, 0, math.radians(90)))
    rider = add_camera("A rider", angle=math.radians(50), clip_start=0.5, clip_end=40.0)
    rider.parent = arm
    rider.matrix_local = Matrix(scenes.look_at((0, -5, 2)).tolist())
    tracker = add_camera("B tracker", angle=math.radians(60))
    tracker.location = (1, -4, 3)
    follow = tracker.constraints.new("TRACK_TO")
    follow.target = bpy.data.objects["Box"]
    shifted = add_camera(
        "C shifted", sensor_fit="VERTICAL", sensor_height=24.0, lens=30.0, shift_x=0.1,
        shift_y=-0.05,
    )  # fmt: skip
    shifted.data.dof.use_dof = True
    shifted.matrix_world = Matrix(scenes.look_at((2, -6, 1), (1, 0, 0)).tolist())
    bpy.data.objects["Box"].hide_render = False


def assert_right(frame: Frame, scale: float = 1.0, translation: Any = (0, 0, 0)) -> None:
    to_world = np.eye(4)
    to_world[:3, :3] *= scale
    to_world[:3, 3] = translation
    placed = to_world @ moving.placed("translating", frame.time)
    truth, _ = scenes.cast_box(frame.camera, *moving.BOX, placed)
    depth = frame.passes["depth"]
    inside = scenes.interior(np.isfinite(truth)) & scenes.interior(depth > 0)
    assert inside.sum() > 30
    assert (np.isfinite(truth) != (depth > 0)).mean() < 0.02
    assert np.abs(depth - truth)[inside].max() < 2e-3
    assert scenes.failed_checks(frame) == []


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    return moving.write(folder / "scene.blend", "translating", cameras)


@pytest.mark.parametrize("size", [(96, 80), (64, 96)])
def test_cameras_stand_where_the_file_has_them_at_every_frame(scene: Path, size: tuple[int, int]):
    values = {**VALUES, "time.frames": "1:9:4", "pixels.resolution": list(size)}
    session = scenes.open_scene(scene, scenes.make_job(values))
    assert session.stage.cameras.names == ("A rider", "B tracker", "C shifted")
    frames = scenes.frames_of(session)
    assert [(frame.key.view, frame.key.time) for frame in frames] == [
        (view, time) for time in (1, 5, 9) for view in range(3)
    ]
    for frame in frames:
        share = moving.share(frame.time)
        pose, k = frame.camera.camera_to_world, frame.camera.intrinsics
        if frame.view.index == 0:
            expected = scenes.rotation(z=90 * share) @ scenes.look_at((0, -5, 2))
            longer = max(size)
            focal = 0.5 * longer / math.tan(math.radians(25))
            np.testing.assert_allclose(k[0], (focal, 0, size[0] / 2), rtol=1e-5)
            assert frame.view.clip == pytest.approx((0.5, 40.0))
        elif frame.view.index == 1:
            expected = scenes.look_at((1, -4, 3), (2 * share, 0.5 * share, 0))
        else:
            expected = scenes.look_at((2, -6, 1), (1, 0, 0))
            # Fitted to the height; the shift counts in heights too.
            focal = size[1] * 30.0 / 24.0
            center = size[0] / 2 - 0.1 * size[1], size[1] / 2 - 0.05 * size[1]
            np.testing.assert_allclose((k[0, 0], k[1, 1]), (focal, focal), rtol=1e-5)
            np.testing.assert_allclose((k[0, 2], k[1, 2]), center, rtol=1e-4)
        np.testing.assert_allclose(pose, expected, atol=2e-5)
        if frame.view.index:
            assert_right(frame)
    assert any(text.startswith("no-depth-of-field: C shifted") for text in session.warnings)


def test_cameras_are_chosen_by_name_and_go_along_with_the_scene(scene: Path):
    values = {**VALUES, "cameras.scene_cameras": "B tracker", "asset.normalize": "cube",
              "time.frames": "1:9:4"}  # fmt: skip
    session = scenes.open_scene(scene, scenes.make_job(values))
    normal = session.asset.normalization
    frames = scenes.frames_of(session)
    assert len(frames) == 3
    assert normal.scale == pytest.approx(2 / 3)
    for frame in frames:
        assert_right(frame, normal.scale, normal.translation)
    with pytest.raises(CameraFileError, match="no camera 'D'; it has A rider, B tracker"):
        scenes.shoot(scene, {**VALUES, "cameras.scene_cameras": "D"})


def test_a_still_has_the_cameras_of_its_frame(scene: Path):
    (frame,) = scenes.shoot(
        scene, {**VALUES, "cameras.scene_cameras": "B tracker", "asset.frame": 9}
    )
    assert frame.key.time is None
    np.testing.assert_allclose(
        frame.camera.camera_to_world, scenes.look_at((1, -4, 3), (2, 0.5, 0)), atol=2e-5
    )


def test_a_file_without_cameras_says_so(tmp_path: Path):
    path = moving.write(tmp_path / "none.blend", "translating")
    with pytest.raises(CameraFileError, match="has no camera"):
        scenes.shoot(path, VALUES)


def test_a_room_is_seen_from_within(tmp_path: Path):
    import bpy
    from mathutils import Matrix

    def room(_: Any) -> None:
        walls = scenes.add_mesh(10 * scenes.CUBE_VERTICES, scenes.CUBE_FACES, name="Walls")
        walls.location = (0, 0, 2)
        inside = add_camera("Inside", angle=math.radians(80))
        inside.matrix_world = Matrix(scenes.look_at((-4, -4, 3), (4, 4, 1)).tolist())
        light = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "POINT"))
        light.data.energy = 500
        light.location = (0, 0, 5)
        bpy.context.scene.collection.objects.link(light)

    path = moving.write(tmp_path / "room.blend", "translating", room)
    asset = scenes.write_asset(
        path, tmp_path / "out",
        {**VALUES, "pixels.passes": ["rgb", "depth", "mask"], "time.frames": "1:9:8",
         "files.layout": "folder", "engine.samples": 4},
    )  # fmt: skip
    metadata = json.loads((asset / "metadata.json").read_text())
    assert metadata["cameras"] == ["Inside"]
    assert "object_in_frame" not in metadata["checks"]
    from objaverse_render_addon.dataset.reader import AssetReader
    from tests.test_schema import problems

    assert problems(metadata) == []
    with AssetReader(asset) as reader:
        for index in range(2):
            passes, camera = reader.read(index), reader.view(index).camera
            assert passes["mask"].all()
            assert passes["rgb"][..., :3].max() > 40
            low, high = np.array([-5, -5, -3]), np.array([5, 5, 7])
            origin, rays = scenes.world_rays(camera)
            with np.errstate(divide="ignore"):
                far = np.maximum((low - origin) / rays, (high - origin) / rays).min(axis=-1)
            box, _ = scenes.cast_box(
                camera, *moving.BOX, moving.placed("translating", reader.key(index).time)
            )
            truth = np.fmin(box, far)
            close = np.abs(passes["depth"] - truth) < 5e-3
            assert close.mean() > 0.97


@pytest.mark.parametrize("ending", [".glb", ".usdc", ".fbx"])
def test_other_formats_bring_their_cameras(ending: str, tmp_path: Path):
    def one(_: Any) -> None:
        from mathutils import Matrix

        camera = add_camera("Eye", angle=math.radians(50), clip_end=200.0)
        camera.matrix_world = Matrix(scenes.look_at((1, -5, 3), (1, 0, 0)).tolist())

    path = moving.write(tmp_path / f"scene{ending}", "translating", one)
    if ending == ".glb":
        moving.write(tmp_path / "x.blend", "translating", one)
        import bpy

        bpy.ops.export_scene.gltf(
            filepath=str(path), export_format="GLB", export_cameras=True,
            export_negative_frame="CROP",
        )  # fmt: skip
    values = {**VALUES, "time.frames": "all", "lighting.mode": "white"}
    session = scenes.open_scene(path, scenes.make_job(values))
    frames = scenes.frames_of(session)
    assert len(frames) >= 8
    expected = scenes.look_at((1, -5, 3), (1, 0, 0))
    for frame in frames[::4]:
        np.testing.assert_allclose(frame.camera.camera_to_world, expected, atol=1e-4)
        # glTF keeps the angle of the height, of the scene's own pictures of 1920x1080.
        tall = math.degrees(2 * math.atan(math.tan(math.radians(25)) * 9 / 16))
        assert frame.camera.fov[1] == pytest.approx(tall if ending == ".glb" else 50, abs=0.1)


def test_poses_with_frames_move_between_them(tmp_path: Path):
    path = moving.write(tmp_path / "box.blend", "translating")
    first, last = scenes.look_at((0, -5, 2), (1, 0, 0)), scenes.look_at((2, -6, 3), (1, 0, 0))
    lens = scenes.lens(50, (96, 80))
    data = {**lens, "frames": [
        {"frame": 1, "transform_matrix": first.tolist()},
        {"frame": 9, "transform_matrix": last.tolist()},
    ]}  # fmt: skip
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(data))
    frames = scenes.shoot(path, {
        "cameras.pattern": "file", "cameras.file": str(file), "asset.normalize": "none",
        "pixels.passes": ["depth", "mask"], "pixels.resolution": [96, 80], "time.frames": "1:9:4",
    })  # fmt: skip
    assert [frame.key.view for frame in frames] == [0, 0, 0]
    for frame in frames:
        assert_right(frame)
    np.testing.assert_allclose(frames[0].camera.camera_to_world, first, atol=1e-5)
    np.testing.assert_allclose(frames[2].camera.camera_to_world, last, atol=1e-5)
    np.testing.assert_allclose(
        frames[1].camera.camera_to_world[:3, 3], (first[:3, 3] + last[:3, 3]) / 2, atol=1e-5
    )


def test_a_moving_camera_blurs_what_stands(tmp_path: Path):
    def slide(_: Any) -> None:
        import bpy
        from mathutils import Matrix

        camera = add_camera("Eye", angle=math.radians(40))
        camera.matrix_world = Matrix(scenes.look_at((0, -6, 0), (0, 0, 0)).tolist())
        moving._keys(camera, "location", (-1, -6, 0), (1, -6, 0))
        bpy.data.objects["Box"].data.materials.append(scenes.emission((1, 1, 1)))

    path = moving.write(tmp_path / "slide.blend", "still", slide)
    values = {**VALUES, "pixels.passes": ["rgb", "mask"], "time.frames": "5", "engine.samples": 64}
    (sharp,) = scenes.shoot(path, values)
    (blurred,) = scenes.shoot(
        path, {**values, "time.motion_blur": True, "time.shutter": 2.0}
    )
    np.testing.assert_array_equal(sharp.passes["mask"], blurred.passes["mask"])
    wide = [np.count_nonzero((frame.passes["rgb"][..., 3] > 5).any(axis=0))
            for frame in (sharp, blurred)]  # fmt: skip
    k = sharp.camera.intrinsics[0, 0]
    assert wide[1] - wide[0] == pytest.approx(0.5 * k / 5.6, abs=2.5)
