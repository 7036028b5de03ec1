"""Simulations under --frames: what is at a frame is what is there after all the frames before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from . import scenes

pytestmark = pytest.mark.core


def names_of(session: Any) -> set[str]:
    return {text.partition(":")[0] for text in session.warnings}


def shot(path: Path, folder: Path, frames: str, **values: Any) -> tuple[Any, dict[int, Any]]:
    pose = scenes.look_at((0.3, -9, 2.5), (0, 0, 1.5))
    file = scenes.camera_file(folder / "c.json", [pose], scenes.lens(50, (64, 64)))
    session = scenes.open_scene(
        path,
        scenes.make_job({**file, "asset.normalize": "none", "time.frames": frames,
                         "pixels.passes": ["depth", "mask", "position", "object_index",
                                           "flow_forward", "scene_flow"], **values}),
    )  # fmt: skip
    return session, {frame.time: frame for frame in scenes.frames_of(session)}


@pytest.fixture(scope="module")
def falling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A box that falls freely from 4, without a bake."""
    import bpy

    path = tmp_path_factory.mktemp("falling") / "fall.blend"
    with scenes.new_blend(path) as source:
        source.frame_start, source.frame_end = 1, 12
        bpy.ops.rigidbody.world_add()
        box = scenes.add_cube(name="Falling", matrix=scenes.moved(0, 0, 4))
        bpy.context.view_layer.objects.active = box
        bpy.ops.rigidbody.object_add(type="ACTIVE")
        box.rigid_body.linear_damping = 0.0
    return path


def heights(frames: dict[int, Any]) -> dict[int, float]:
    return {time: frame.bounds.box_max[2] for time, frame in frames.items()}


def test_rigid_bodies_fall(falling: Path, tmp_path: Path) -> None:
    session, frames = shot(falling, tmp_path, "all")
    assert sorted(frames) == list(range(1, 13))
    assert "simulated-here" in names_of(session) and "still-bodies" not in names_of(session)
    high = heights(frames)
    assert high[1] == pytest.approx(4.5, abs=1e-3)
    # Free fall from frame 1, at 24 frames a second, but for the solver's steps.
    seconds = 10 / 24
    assert high[1] - high[11] == pytest.approx(9.81 / 2 * seconds**2, rel=0.15)
    for time in range(2, 11):
        seen = frames[time].passes["mask"] == 1
        moved = frames[time].passes["scene_flow"][seen]
        assert np.ptp(moved, axis=0).max() < 1e-4
        assert moved[0, 2] == pytest.approx(high[time + 1] - high[time], abs=1e-4)
        assert moved[0, 2] < 0
    # A frame is what it is, whichever are rendered.
    _, few = shot(falling, tmp_path, "7:11:4")
    for time, frame in few.items():
        np.testing.assert_array_equal(frame.passes["depth"], frames[time].passes["depth"])
        # What is seen is what was measured.
        seen = frame.passes["position"][frame.passes["mask"] == 1][:, 2]
        assert high[time] - 1 <= seen.min() and seen.max() <= high[time] + 1e-3


def test_cloth_falls_whichever_frames_are_rendered(tmp_path: Path) -> None:
    path = tmp_path / "cloth.blend"
    with scenes.new_blend(path) as source:
        source.frame_start, source.frame_end = 1, 8
        side = range(6)
        points = [(x / 2.5 - 1, y / 2.5 - 1, 2) for y in side for x in side]
        faces = [(6 * y + x, 6 * y + x + 1, 6 * y + x + 7, 6 * y + x + 6)
                 for y in range(5) for x in range(5)]  # fmt: skip
        scenes.add_mesh(points, faces, name="Cloth").modifiers.new("Cloth", "CLOTH")
    session, frames = shot(path, tmp_path, "all")
    assert {"simulated-here"} <= names_of(session) and "unbaked-simulation" not in names_of(session)
    high = heights(frames)
    assert high[1] - high[8] > 0.1 and all(high[t] > high[t + 1] for t in range(1, 8))
    _, few = shot(path, tmp_path, "8")
    np.testing.assert_array_equal(few[8].passes["depth"], frames[8].passes["depth"])
    assert sorted(item.name for item in tmp_path.iterdir()) == ["c.json", "cloth.blend"]
