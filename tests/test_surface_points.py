"""Points of a surface at another time, where its faces are split into other triangles there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.motion.surface import SurfacePoints, displacements
from objaverse_render_addon.motion.things import Things, ThingsMesh

ONE, OTHER = [[0, 1, 2], [0, 2, 3]], [[0, 1, 3], [1, 2, 3]]
SQUARE = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]


def things(points: Any, triangles: Any) -> Things:
    def never(*_: Any) -> Any:
        raise AssertionError("the face of each point is known")

    mesh = ThingsMesh(
        np.array(points, np.float32), np.array(triangles, np.int32), np.arange(4, dtype=np.int32),
        np.array([0, 2], np.int32), never, never,
    )  # fmt: skip
    return Things(
        np.ones(1, np.uint32), np.ones(1, np.int64), np.zeros((1, 3), np.float32),
        np.full(1, np.nan, np.float32), np.eye(4)[None], np.zeros(1, np.int64), [mesh],
    )  # fmt: skip


def moved(points: Any, now: Things, then: Things) -> Any:
    count = len(points)
    seen = SurfacePoints(np.array(points), np.zeros(count, np.int64), np.ones(count, np.int64))
    return displacements(seen, now, then)


@pytest.mark.parametrize("split", [ONE, OTHER])
def test_a_flat_face_that_is_split_otherwise_is_followed(split: Any) -> None:
    wide = (np.array(SQUARE) * [2, 1, 1] + [0, 0, 3]).tolist()
    points = [[0.5, 0.5, 0.0], [0.9, 0.2, 0.0], [0.25, 0.75, 0.0]]
    found = moved(points, things(SQUARE, ONE), things(wide, split))
    np.testing.assert_allclose(found, [[0.5, 0, 3], [0.9, 0, 3], [0.25, 0, 3]], atol=1e-6)


def test_where_the_points_of_a_bent_face_went_is_not_made_up() -> None:
    bent = np.array(SQUARE)
    bent[2, 2] = 0.5
    points = [[0.5, 0.5, 0.0], [0.25, 0.25, 0.0], [1.0, 0.5, 0.0], [0.5, 0.0, 0.0]]
    same = moved(points, things(SQUARE, ONE), things(bent, ONE))
    np.testing.assert_allclose(same[:, 2], [0.25, 0.125, 0.25, 0.0], atol=1e-6)
    # Split along the other diagonal, what lies within is flat up to it; the edges are the same.
    found = moved(points, things(SQUARE, ONE), things(bent, OTHER))
    assert np.isnan(found[:2]).all()
    np.testing.assert_allclose(found[2:, 2], [0.25, 0.0], atol=1e-6)
