"""Cameras and things by how one thinks of them, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from objaverse_render_addon.cameras import (
    box_corners,
    look_at,
    perspective,
    random_directions,
    random_rotations,
)
from objaverse_render_addon.errors import InvalidEdit


def test_a_box_projects_to_the_box_around_its_corners():
    camera = look_at((0, 0, 5), size=(200, 100), fov=90)
    # Across the shorter side 90 degrees: the focal length is half of it, 50 pixels.
    corners = box_corners((-1, -0.5, -1), (1, 0.5, 1))
    assert corners.shape == (8, 3) and corners[0].tolist() == [-1, -0.5, -1]
    assert corners[1].tolist() == [1, -0.5, -1] and corners[6].tolist() == [-1, 0.5, 1]
    # The nearer face is 4 away: 50 / 4 pixels for a unit.
    assert camera.box_of(corners) == pytest.approx((100 - 12.5, 50 - 6.25, 100 + 12.5, 50 + 6.25))
    turned = np.eye(4)
    turned[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    turned[:3, 3] = [1, 0, 0]
    moved = box_corners((-1, -0.5, -1), (1, 0.5, 1), turned)
    assert camera.box_of(moved) == pytest.approx(
        (100 + 0.5 * 50 / 6, 50 - 12.5, 100 + 1.5 * 12.5, 50 + 12.5)
    )
    assert camera.box_of(corners + [0, 0, 4.5]) is None  # Some of it is behind.
    assert camera.box_of(corners[:0]) is None


def test_which_points_are_in_the_picture():
    camera = look_at((0, 0, 5), size=(200, 100), fov=90)
    points = np.array([[0, 0, 0], [9.9, 0, 0], [10.1, 0, 0], [0, 4.9, 0], [0, 5.1, 0], [0, 0, 6]])
    assert camera.frames(points).tolist() == [True, True, False, True, False, False]


def test_directions_are_uniform_over_the_sphere():
    found = random_directions(np.random.default_rng(0), 40_000)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    # Each coordinate alone is uniform in -1 to 1 then (Archimedes): mean 0, variance 1/3.
    assert np.abs(found.mean(axis=0)).max() < 0.01
    np.testing.assert_allclose(found.var(axis=0), 1 / 3, atol=0.01)
    for axis in range(3):
        counts, _ = np.histogram(found[:, axis], 20, (-1, 1))
        # Chi-squared of 19 degrees of freedom is beyond 43.8 once in a thousand.
        assert ((counts - 2000) ** 2 / 2000).sum() < 43.8
    part = random_directions(
        np.random.default_rng(1), 4000, azimuth=(0, 90), elevation=(30, 60)
    )
    assert (part[:, :2] > 0).all()
    height = part[:, 2]
    assert height.min() >= 0.5 and height.max() <= np.sqrt(0.75)
    assert abs(height.mean() - (0.5 + np.sqrt(0.75)) / 2) < 0.005
    for wrong in ({"elevation": (60, 30)}, {"elevation": (0, 91)}, {"azimuth": (1, 0)}):
        with pytest.raises(InvalidEdit):
            random_directions(np.random.default_rng(1), 3, **wrong)


def test_rotations_are_uniform():
    found = random_rotations(np.random.default_rng(0), 20_000)
    squares = found @ found.transpose(0, 2, 1)
    np.testing.assert_allclose(squares, np.broadcast_to(np.eye(3), squares.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(found), 1)
    # Each axis goes everywhere alike, and the trace of Haar's has mean 0 and variance 1.
    assert np.abs(found.mean(axis=0)).max() < 0.02
    trace = np.trace(found, axis1=1, axis2=2)
    assert abs(trace.mean()) < 0.03 and abs(trace.var() - 1) < 0.03


def test_looking_at_something_puts_it_in_the_middle():
    rng = np.random.default_rng(0)
    for eye, target in rng.normal(size=(50, 2, 3)):
        camera = look_at(eye, target, size=(64, 48))
        uv, depth = camera.project(np.array([target]))
        np.testing.assert_allclose(uv[0], [32, 24], atol=1e-9)
        np.testing.assert_allclose(depth[0], np.linalg.norm(eye - target))
        # Z is up in the picture, and v grows downwards.
        above, _ = camera.project(np.array([target + [0, 0, 1e-3]]))
        assert above[0, 1] < 24 and abs(above[0, 0] - 32) < 1e-6
        same = perspective(camera.camera_to_world, size=(64, 48))
        np.testing.assert_array_equal(same.intrinsics, camera.intrinsics)
