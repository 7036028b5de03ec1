"""Composed scenes in images of light, seen by cameras of a file, with measured depth."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("rapier3d")

from objaverse_render_addon.batch.compose import job_for
from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.run import render
from objaverse_render_addon.compose.make import scene_file
from objaverse_render_addon.compose.record import Scene
from objaverse_render_addon.compose.rules import Rules
from objaverse_render_addon.compose.skies import environments_of
from objaverse_render_addon.compose.viewing import poses_of
from objaverse_render_addon.dataset.images import write_exr
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.dataset.verify import verify_asset
from objaverse_render_addon.errors import InvalidJob
from objaverse_render_addon.sensing import SENSORS

SIZE = 64
VALUES = {
    "pixels.resolution": (SIZE, SIZE), "engine.samples": 4, "pixels.sensor": "stereo",
    "pixels.passes": (
        "rgb", "depth", "normal", "mask", "instance_index", "semantic_index", "sensor_depth",
    ),
}  # fmt: skip


def cameras(path: Path) -> str:
    frames = []
    for azimuth in (-120, -90, -60):
        back = np.array([0.6 * math.cos(math.radians(azimuth)),
                         0.6 * math.sin(math.radians(azimuth)), 0.8])  # fmt: skip
        right = np.cross((0, 0, 1.0), back)
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3, :3] = np.column_stack([right, np.cross(back, right), back])
        pose[:3, 3] = 1.3 * back
        frames.append({"transform_matrix": pose.tolist()})
    lens = {"fl_x": 80.0, "fl_y": 80.0, "cx": 26.0, "cy": 38.0, "w": SIZE, "h": SIZE}
    path.write_text(json.dumps({**lens, "frames": frames}))
    return str(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two units: ``lit`` by an image and ``burnt`` by lamps a hundred times too strong."""
    root = tmp_path_factory.mktemp("light")
    sky = np.full((16, 32), 0.3, np.float32)
    sky[12:14, 3:5] = 40.0
    write_exr(root / "sky.exr", dict.fromkeys("RGB", sky[::-1]), {})
    rules = Rules(
        seed=12, objects=(3, 4), layouts=("scatter",), supports=("table",), images=2,
        cameras="file", poses=poses_of(cameras(root / "cameras.json"), (SIZE, SIZE)),
        environments=environments_of([root / "sky.exr"]),
    )  # fmt: skip
    work = root / "work"
    work.mkdir()
    lit = scene_file(rules, 0, work).rename(work / "lit.scene")
    alone = root / "alone.scene"
    shutil.copy(lit, alone)
    data = json.loads(lit.read_text())
    del data["recipe"]["light"]["environment"]
    for lamp in data["recipe"]["light"]["lamps"]:
        lamp["power"] *= 100
    burnt = work / "burnt.scene"
    burnt.write_text(json.dumps(data))
    report = render(
        [lit, burnt, alone], job_for(VALUES), root / "out", RunOptions.of(workers=1, timeout=300)
    )
    *fine, without = report.results
    assert [result.status for result in fine] == ["done", "done"]
    # An image that is not there is said by name.
    assert isinstance(without.error, InvalidJob) and "HDRI" in str(without.error)
    return root / "out"


def test_cameras_are_those_of_the_file(made, tmp_path):
    wanted = poses_of(cameras(tmp_path / "cameras.json"), (SIZE, SIZE))
    known = [np.array(one["pose"]) for one in wanted]
    scene = Scene.read(made / "lit" / "scene.json")
    with AssetReader(made / "lit") as asset:
        for place, said in enumerate(scene.recipe["cameras"]):
            camera = asset.view(place).camera
            assert np.abs(camera.intrinsics - [[80, 0, 26], [0, 80, 38], [0, 0, 1]]).max() < 1e-3
            assert np.abs(camera.camera_to_world - said["pose"]).max() < 1e-5
            assert min(np.abs(pose - said["pose"]).max() for pose in known) == 0


def test_an_image_lights_the_scene_as_bright_as_is_said(made):
    scene = Scene.read(made / "lit" / "scene.json")
    light = scene.recipe["light"]
    assert light["environment"]["name"] == "sky.exr"
    assert not verify_asset(made / "lit").failed
    assert not {"objects_not_burnt_out", "objects_not_dark"} & set(
        verify_asset(made / "lit").doubts
    )
    # Walls are a backdrop: every pixel still shows something.
    assert np.load(made / "lit" / "000_mask.npy").all()


def test_lamps_that_are_a_hundred_times_too_strong_are_a_doubt(made):
    verdict = verify_asset(made / "burnt")
    assert not verdict.failed
    assert verdict.doubts["objects_not_burnt_out"] == [0, 1]
    metadata = json.loads((made / "burnt" / "metadata.json").read_text())
    for view in metadata["views"]:
        status, share = view["checks"]["objects_not_burnt_out"]
        assert status == "doubt" and share > 0.5
    scene = Scene.read(made / "burnt" / "scene.json")
    assert max(one.clipped_fraction for view in scene.views for one in view.objects) > 0.5


def test_measured_depth_lies_beside_the_clean_one(made):
    unit = made / "lit"
    metadata = json.loads((unit / "metadata.json").read_text())
    assert metadata["sensor"] == {"model": "stereo", "stream": "sensor-depth", **SENSORS["stereo"]}
    for view in range(2):
        clean = np.load(unit / f"{view:03d}_depth.npy")
        found = np.load(unit / f"{view:03d}_sensor_depth.npy")
        # The truth is the geometry's own, to the bit no measurement.
        assert clean.all() and not np.array_equal(clean, found)
        some = found > 0
        assert 0.5 < some.mean() < 1
        assert np.median(np.abs(found - clean)[some] / clean[some] ** 2) < 0.03


@pytest.mark.parametrize("change", ["other", "clean", "unsaid"])
def test_verification_sees_a_depth_that_was_not_measured(made, tmp_path, change):
    unit = tmp_path / "lit"
    shutil.copytree(made / "lit", unit)
    path = unit / "001_sensor_depth.npy"
    if change == "other":
        np.save(path, np.load(path) * np.float32(1.001))
    elif change == "clean":
        np.save(path, np.load(unit / "001_depth.npy"))
    else:
        metadata = json.loads((unit / "metadata.json").read_text())
        metadata["sensor"]["baseline_m"] = 0.06
        (unit / "metadata.json").write_text(json.dumps(metadata))
    assert "sensor_depth_is_of_depth" in " ".join(verify_asset(unit).failed)


@pytest.mark.core
def test_the_brightest_way_to_face_an_image():
    bpy = pytest.importorskip("bpy")
    from objaverse_render_addon.blender.lighting import brightest

    image = bpy.data.images.new("sky", 64, 32, float_buffer=True)
    pixels = np.ones((32, 64, 4), np.float32)
    image.pixels.foreach_set(0.5 * pixels.ravel())
    # An even sky of radiance 0.5.
    assert brightest(image) == pytest.approx(0.5, rel=2e-3)
    pixels[..., :3] = 0
    # Nearly 45 degrees up, to the left of the middle: it faces a surface that is tilted there.
    pixels[23, 16, :3] = 100.0
    image.pixels.foreach_set(pixels.ravel())
    elevation = (23.5 / 32 - 0.5) * math.pi
    solid = math.cos(elevation) * (math.pi / 32) * (2 * math.pi / 64)
    assert brightest(image) == pytest.approx(100 * solid / math.pi, rel=3e-3)
    bpy.data.images.remove(image)
