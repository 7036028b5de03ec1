"""Assets turned upright: what the axes mean, in pictures, boxes, records and the second reading."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.blender.normalization import turn_of
from objaverse_render_addon.job import AssetRules

from . import scenes

AXES = ["X", "Y", "Z", "-X", "-Y", "-Z"]
LOW, HIGH = np.array([-0.5, -0.2, -0.3]), np.array([0.7, 0.4, 1.5])


def axis(name: str) -> np.ndarray:
    return np.eye(3)["XYZ".index(name[-1])] * (-1 if name[0] == "-" else 1)


@pytest.mark.parametrize(
    ("up", "front"),
    [(up, front) for up, front in itertools.product(AXES, AXES) if up[-1] != front[-1]],
)
def test_the_named_axes_go_where_they_belong(up: str, front: str) -> None:
    turn = turn_of(up, front)
    assert np.allclose(turn @ axis(up), [0, 0, 1])
    assert np.allclose(turn @ axis(front), [0, -1, 0])
    assert np.linalg.det(turn) == pytest.approx(1)


@pytest.mark.parametrize("up", AXES)
def test_a_front_that_is_not_given_goes_the_short_way(up: str) -> None:
    named, front = AssetRules(up=up).axes
    turn = turn_of(named, front)
    wanted = axis(up)
    if up in ("Z", "-Z"):
        # Over the side: X stays where it is.
        assert np.allclose(turn @ [1, 0, 0], [1, 0, 0])
        return
    # The plain turn about the axis that both stand upright on.
    about = np.cross(wanted, [0, 0, 1])
    assert np.allclose(turn @ about, about)


def test_nothing_is_turned_by_default() -> None:
    assert np.array_equal(turn_of(*AssetRules().axes), np.eye(3))


def box_file(path: Path, kind: str) -> Path:
    corners = np.array([[(LOW, HIGH)[i][0], (LOW, HIGH)[j][1], (LOW, HIGH)[k][2]]
                        for i in (0, 1) for j in (0, 1) for k in (0, 1)])  # fmt: skip
    if kind == "blend":
        with scenes.new_blend(path):
            scenes.add_mesh(corners, scenes.CUBE_FACES, matrix=scenes.moved(1, 2, 3))
        return path
    return scenes.write_ply(path, corners, scenes.CUBE_FACES)


@pytest.mark.core
@pytest.mark.parametrize("kind", ["blend", "ply"])
@pytest.mark.parametrize("normalize", ["cube", "sphere", "diagonal", "none"])
def test_what_was_on_top_of_a_lying_box_is_on_top(
    kind: str, normalize: str, tmp_path: Path
) -> None:
    path = box_file(tmp_path / f"box.{kind}", kind)
    values: dict[str, Any] = {
        "asset.up": "X", "asset.front": "Z", "asset.normalize": normalize,
        "cameras.pattern": "ring", "cameras.views": 2, "cameras.elevation": 0,
        "pixels.passes": ["position", "depth", "normal", "mask"], "pixels.resolution": [48, 48],
    }  # fmt: skip
    session = scenes.open_scene(path, scenes.make_job(values))
    facts = session.facts()
    said = facts["normalization"]
    turn = np.array(said["rotation"])
    assert np.allclose(turn @ [1, 0, 0], [0, 0, 1])
    assert np.allclose(turn @ [0, 0, 1], [0, -1, 0])
    moved = 0 if kind == "ply" else np.array([1, 2, 3])
    ends = [said["scale"] * turn @ (corner + moved) + said["translation"] for corner in (LOW, HIGH)]
    low, high = np.min(ends, axis=0), np.max(ends, axis=0)
    assert np.allclose(facts["bounds"].box_min, low, atol=1e-5)
    assert np.allclose(facts["bounds"].box_max, high, atol=1e-5)
    edges = (HIGH - LOW)[[1, 2, 0]] * said["scale"]
    assert np.allclose(high - low, edges, atol=1e-5)
    if normalize == "diagonal":
        assert np.linalg.norm(edges) == pytest.approx(1, abs=1e-5)
    front, _ = frames = scenes.frames_of(session)
    # The first camera of a ring looks from the front at what was the top, Z.
    seen = front.passes["position"][front.passes["mask"] == 1]
    assert seen[:, 1] == pytest.approx(low[1], abs=1e-4)
    for frame in frames:
        assert scenes.failed_checks(frame) == []
        found = [check.status for check in frame.checks if check.name.startswith("witness_")]
        assert set(found) <= {"ok"}
        assert bool(found) == (kind == "ply")
