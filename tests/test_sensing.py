"""Simulated depth cameras: noise as the model says, holes where it says, nothing else touched."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from analytic import Sphere, camera_at, frame_of

import objaverse_render_addon
from objaverse_render_addon.cameras import Camera, intrinsics_of
from objaverse_render_addon.errors import InvalidJob
from objaverse_render_addon.frame import FrameKey
from objaverse_render_addon.job import Pixels, RenderJob
from objaverse_render_addon.job.choices import SensorName
from objaverse_render_addon.sensing import SENSORS, Sensing, sensing_of, sensor_record

SIZE = 200
FOCAL = 300.0
CAMERA = Camera(
    SIZE, SIZE, np.array([[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1.0]]), np.eye(4)
)


def plane(z, tilt=0.0):
    """Depth of a plane at z on the axis, turned about the vertical by so many degrees."""
    x = (np.arange(SIZE) + 0.5 - SIZE / 2) / FOCAL
    depth = z / (1 - math.tan(math.radians(tilt)) * x)
    return np.broadcast_to(depth, (SIZE, SIZE)).astype(np.float32)


def measured(sensor, depth, seed=1, view=0):
    return Sensing(sensor, seed, "asset", "sensor-depth", view).measured(depth, CAMERA)


def sigma_of(sensor, z):
    """As docs/formats.md says it, in numbers of its own."""
    if sensor == "stereo":
        step = z**2 / (FOCAL * 0.05)
        return math.hypot(step * 0.08, step / 32 / math.sqrt(12))
    if sensor == "kinect-azure":
        return 0.0005 + 0.001 * max(z - 0.5, 0)
    return 0.0012 + 0.0019 * (z - 0.4) ** 2


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("z", [0.6, 1.0, 2.0])
def test_noise_on_a_plane_is_the_models(sensor, z):
    found = measured(sensor, plane(z))
    some = found[found > 0].astype(np.float64)
    # One eye alone sees the left edge; of the rest nothing is missing.
    blind = math.ceil(FOCAL * 0.05 / z) / SIZE if sensor == "stereo" else 0
    assert len(some) / found.size == pytest.approx(1 - blind, abs=0.006)
    wanted = sigma_of(sensor, z)
    if sensor == "structured-light":
        # In steps of the sensor's own disparity.
        steps = 585 * 0.075 * 8 / some
        assert np.abs(steps - np.rint(steps)).max() < 1e-3
    assert some.std() == pytest.approx(wanted, rel=0.05)
    assert some.mean() == pytest.approx(z, abs=wanted / 4)


def test_stereo_misses_what_its_second_eye_does_not_see():
    depth = plane(1.5).copy()
    depth[60:140, 80:120] = 0.75
    found = measured("stereo", depth)
    # The box hides from the right eye what is left of it: by the difference of disparities.
    wide = FOCAL * 0.05 * (1 / 0.75 - 1 / 1.5)
    holes = (found == 0).mean(axis=0) - (found[:50] == 0).mean(axis=0)
    rows = found[70:130]
    for column in range(80 - int(wide) + 2, 78):
        assert (rows[:, column] == 0).all(), column
    assert (rows[:, 123:] > 0).all()
    assert (rows[:, 20 : 80 - int(wide) - 3] > 0).all()
    assert holes[:60].max() == 0
    # Beside a box that is no nearer than a pixel's disparity nothing is missing.
    flat = plane(1.5).copy()
    flat[60:140, 80:120] = 1.45
    assert (measured("stereo", flat)[:, 12:] > 0).all()


def test_a_thin_thing_before_a_wall_leaves_two_pieces_of_it():
    depth = plane(2.0).copy()
    depth[:, 100:103] = 0.5
    found = measured("structured-light", depth)
    shift = FOCAL * 0.075 * (1 / 0.5 - 1 / 2.0)
    # The wall beside it is seen; its shadow lies as far away as disparities differ.
    shadow = np.flatnonzero((found == 0).mean(axis=0) > 0.9)
    assert abs(shadow.mean() - (101 - shift)) < 2
    assert (found[:, 85:98] > 0).mean() > 0.95


def test_time_of_flight_loses_what_is_steep_and_mixes_edges():
    # The echo of what is steep is as weak as from the end of its range.
    angle = math.degrees(math.acos((2.0 / 3.86) ** 2))
    for tilt, seen in ((angle - 8, 1.0), (angle + 8, 0.0)):
        middle = measured("kinect-azure", plane(2.0, tilt))[:, SIZE // 2 - 2 : SIZE // 2 + 2]
        assert (middle > 0).mean() == seen
    depth = plane(1.5).copy()
    depth[:, 100:] = 1.0
    found = measured("kinect-azure", depth)
    # Between both, where nothing is.
    assert ((found[:, 98:102] > 1.1) & (found[:, 98:102] < 1.4)).any()
    assert not ((found[:, :95] > 0) & (found[:, :95] < 1.4)).any()
    # A jump of more is no measurement.
    depth[:, :100] = 2.5
    assert (measured("kinect-azure", depth)[:, 99:101] == 0).all()


@pytest.mark.parametrize("sensor", SENSORS)
def test_it_is_seeded_and_leaves_the_truth_alone(sensor):
    depth = plane(1.0, 20).copy()
    depth[:20] = 0
    kept = depth.copy()
    first = measured(sensor, depth)
    assert np.array_equal(depth, kept)
    assert first.dtype == np.float32
    assert (first[:20] == 0).all()
    assert np.array_equal(measured(sensor, depth), first)
    for other in (measured(sensor, depth, seed=2), measured(sensor, depth, view=1)):
        assert not np.array_equal(other, first)
    limits = SENSORS[sensor]
    assert ((first == 0) | ((first >= limits["near_m"]) & (first <= limits["far_m"]))).all()
    assert not measured(sensor, plane(limits["far_m"] * 2)).any()
    assert not measured(sensor, plane(limits["near_m"] * 0.8)).any()


def test_what_is_not_there_is_not_measured():
    frame = frame_of(Sphere(), camera_at())
    clean = frame.passes["depth"]
    for sensor in SENSORS:
        found = Sensing(sensor, 0, "a", "s", 0).measured(clean, frame.camera)
        assert not found[clean == 0].any()
        assert (found > 0).any()


def test_names_and_settings_are_the_same_everywhere():
    assert tuple(SENSORS) == get_args(SensorName)
    job = RenderJob(pixels=Pixels(passes=("depth", "sensor_depth"), sensor="kinect-azure"))
    assert sensing_of(job, "a", FrameKey(2, 5)) == Sensing(
        "kinect-azure", 0, "a", "sensor-depth@5", 2
    )
    assert sensor_record(job)["far_m"] == 3.86
    assert sensor_record(RenderJob()) is sensing_of(RenderJob(), "a", FrameKey(0)) is None
    with pytest.raises(InvalidJob, match="clean depth"):
        Pixels(passes=("rgb", "sensor_depth"))
    with pytest.raises(InvalidJob, match="orthographic lens"):
        job.with_values({"cameras.projection": "orthographic"})
    fisheye = Camera(8, 8, intrinsics_of("fisheye", 90, (8, 8)), np.eye(4), "fisheye")
    with pytest.raises(InvalidJob, match="fisheye"):
        Sensing("stereo", 0, "a", "s", 0).measured(np.ones((8, 8), np.float32), fisheye)


_OF_EVERYBODY = {
    "random", "seed", "randint", "randrange", "choice", "choices", "shuffle", "sample", "uniform",
    "gauss", "SystemRandom",
}  # fmt: skip


def test_nothing_draws_from_a_generator_of_everybody():
    """Whatever is random has a seed of its own: no global state of numpy or of random."""
    allowed = {"Philox", "Generator", "default_rng", "PCG64", "SeedSequence"}
    found = []
    for path in sorted(Path(objaverse_render_addon.__file__).parent.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if not re.search(r"\brandom\.|default_rng", text):
            continue
        nodes = list(ast.walk(ast.parse(text)))
        imports = [node for node in nodes if isinstance(node, ast.Import)]
        takes_random = any(one.name == "random" for node in imports for one in node.names)
        for node in nodes:
            if (
                isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
                and node.value.id == "random" and node.attr in _OF_EVERYBODY and takes_random
            ):  # fmt: skip
                found.append(f"{path.name}:{node.lineno} {node.attr}")
            if (
                isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute)
                and node.value.attr == "random" and isinstance(node.value.value, ast.Name)
                and node.value.value.id in ("np", "numpy") and node.attr not in allowed
            ):  # fmt: skip
                found.append(f"{path.name}:{node.lineno} {node.attr}")
            if (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                and node.func.attr == "default_rng" and not node.args
            ):  # fmt: skip
                found.append(f"{path.name}:{node.lineno} without a seed")
    assert found == []
