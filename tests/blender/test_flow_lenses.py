"""Flow, occlusion and tracks through lenses that are no pinhole, and of pairs of eyes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.dataset.agreement import agreement
from objaverse_render_addon.frame import Frame

from . import scenes
from .bodies import BODIES, PASSES, where, write_bodies

pytestmark = pytest.mark.core

SOME: dict[str, Any] = {
    "asset.normalize": "none", "pixels.passes": PASSES, "time.frames": "2:12:5",
    "cameras.framing": "allow", "cameras.views": 2, "cameras.radius": 1.4,
    "cameras.elevation": 35.0, "cameras.pattern": "ring", "pixels.resolution": [96, 80],
}  # fmt: skip
ALONG = {"cameras.pattern": "orbit", "cameras.views": 12, "time.views_per_frame": "one"}
CASES: dict[str, dict[str, Any]] = {
    "orthographic": {"cameras.projection": "orthographic", "cameras.ortho": 1.1,
                     "pixels.tracks": 300},
    "orthographic, along, wide pixels": {
        "cameras.projection": "orthographic", "cameras.ortho": 1.1, "cameras.shift": [0.1, -0.07],
        "cameras.pixel_aspect": 0.8, **ALONG,
    },
    "panorama": {"cameras.projection": "panorama", "pixels.resolution": [192, 96],
                 "cameras.radius": 0.6, **ALONG},
    "fisheye": {"cameras.projection": "fisheye", "cameras.fov": 150, "cameras.radius": 0.6,
                **ALONG},
    "stereo": {"cameras.stereo": 0.1, "cameras.radius": 3.0},
}  # fmt: skip


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bodies(tmp_path_factory.mktemp("lenses") / "bodies.blend")


def starts(frame: Frame, points: Any) -> Any:
    """Where the rays to some points begin."""
    pose = frame.camera.camera_to_world
    if frame.camera.projection != "orthographic":
        return pose[:3, 3]
    along = pose[:3, 2]
    return points + ((pose[:3, 3] - points) @ along)[:, None] * along


def truth_of(frame: Frame, then: Any, time: int) -> Any:
    """(M,) whether a frame's camera sees points of the bodies, as occlusion says it."""
    target, depth = frame.camera.project(then)
    size = frame.camera.width, frame.camera.height
    inside = (depth > 0) & ((target >= 0) & (target < size)).all(axis=1)
    blocked = np.any([body.blocks(starts(frame, then), then, time) for body in BODIES], axis=0)
    return np.where(~inside, 2, np.where(blocked, 1, 0))


@pytest.mark.parametrize("case", CASES)
def test_motion_is_that_of_closed_formulas(bodies: Path, case: str) -> None:
    session = scenes.open_scene(bodies, scenes.make_job({**SOME, **CASES[case]}))
    frames = {frame.key: frame for frame in scenes.frames_of(session)}
    names = session.asset.object_names
    wrong = compared = hidden = across = 0
    for frame in frames.values():
        assert scenes.failed_checks(frame) == []
        seen = frame.passes["mask"] == 1
        for which, key in (("forward", frame.next), ("backward", frame.previous)):
            if key is None:
                continue
            other = frames[key]
            # Each eye is followed by itself.
            assert other.view.eye == frame.view.eye
            found = agreement(frame, which, other)
            assert [check for check in found if check.status == "failed"] == []
            points, then = where(BODIES, frame, names, key.time)
            expected = other.camera.project(then)[0] - frame.camera.project(points)[0]
            if frame.camera.projection == "panorama":
                width = frame.camera.width
                far = np.abs(expected[:, 0]) > width / 2
                across += int(far.sum())
                expected[:, 0] -= np.where(far, np.sign(expected[:, 0]) * width, 0)
            flow = frame.passes[f"flow_{which}"][seen].astype(np.float64)
            # At a panorama's poles a hair in space is far in the picture.
            assert np.quantile(np.abs(flow - expected).max(axis=1), 0.999) < 1e-3
            codes = frame.passes[f"occlusion_{which}"][seen]
            truth = truth_of(other, then, key.time)
            wrong += int((codes != truth).sum())
            hidden += int((truth == 1).sum())
            compared += len(truth)
    assert hidden > 100
    assert (across > 50) == (case == "panorama")
    assert wrong <= 1e-3 * compared, (wrong, compared)


def test_points_are_tracked_where_rays_are_parallel(bodies: Path) -> None:
    values = {**SOME, **CASES["orthographic"], "pixels.passes": ["mask"]}
    session = scenes.open_scene(bodies, scenes.make_job(values))
    frames = scenes.frames_of(session)
    objects = np.array(session.stage.record["tracks"]["objects"])
    wrong = 0
    for frame in frames:
        expected = np.full((300, 3), np.nan)
        for body in BODIES:
            mine = objects == body.name
            step = body.at(frame.time) @ np.linalg.inv(body.at(frames[0].time))
            expected[mine] = frames[0].tracks[mine, 2:5] @ step[:3, :3].T + step[:3, 3]
        assert np.abs(frame.tracks[:, 2:5] - expected).max() < 1e-5
        assert np.abs(frame.tracks[:, :2] - frame.camera.project(expected)[0]).max() < 0.01
        truth = truth_of(frame, expected, frame.time)
        assert np.isin(frame.tracks[:, 5], (0, 1)).all()
        wrong += int(((frame.tracks[:, 5] == 1) != (truth == 0)).sum())
    assert wrong <= 0.002 * 300 * len(frames)
