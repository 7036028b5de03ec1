"""Lenses against closed formulas that are written down here anew, and what frames with them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from analytic import LOPSIDED, camera_at

from objaverse_render_addon.cameras import (
    FRAME_MARGIN,
    PROJECTIONS,
    Camera,
    Rig,
    blender_lens,
    intrinsics_of,
    look_at_pose,
    sample_views,
)
from objaverse_render_addon.errors import CameraFileError, InvalidJob
from objaverse_render_addon.job import CameraRules, EngineSettings, Pixels, RenderJob

POINTS = LOPSIDED.points
OPENINGS = {"perspective": 60.0, "orthographic": 2.4, "panorama": 0.0, "fisheye": 190.0}
SIZE = (96, 64)
PATTERNS = ["gs-lrm", "ring", "fibonacci"]


def camera_of(projection: str, **values: Any) -> Camera:
    values = {"opening": OPENINGS[projection], "size": SIZE, **values}
    return Camera(*SIZE, intrinsics_of(projection, **values), look_at_pose(30, 20, 3, Rig()),
                  projection)  # fmt: skip


each = pytest.mark.parametrize("projection", PROJECTIONS)


def views_of(pattern: str = "gs-lrm", points: np.ndarray = POINTS, **rules: Any):
    job = RenderJob(cameras=CameraRules(pattern=pattern, **rules), pixels=Pixels(resolution=SIZE))
    return sample_views(job, "asset", points)


def by_hand(camera: Camera, point: np.ndarray) -> tuple[float, float, float]:
    """u, v and depth of a point in camera axes, from angles."""
    (fx, _, cx), (_, fy, cy), _ = camera.intrinsics.tolist()
    x, y, z = point.tolist()
    ahead, distance = -z, math.dist((0, 0, 0), (x, y, z))
    if camera.projection == "perspective":
        return cx + fx * x / ahead, cy - fy * y / ahead, ahead
    if camera.projection == "orthographic":
        return cx + fx * x, cy - fy * y, ahead
    if camera.projection == "panorama":
        return cx + fx * math.atan2(x, ahead), cy - fy * math.asin(y / distance), distance
    angle = math.acos(ahead / distance)
    turn = math.atan2(y, x)
    return cx + fx * angle * math.cos(turn), cy - fy * angle * math.sin(turn), distance


@each
def test_points_are_where_the_closed_form_puts_them(projection: str):
    camera = camera_of(projection)
    local = np.random.default_rng(0).normal(size=(200, 3)) - [0, 0, 1.5]
    if projection == "perspective":
        local = local[local[:, 2] < -0.1]
    world = local @ camera.camera_to_world[:3, :3].T + camera.camera_to_world[:3, 3]
    uv, depth = camera.project(world)
    expected = np.array([by_hand(camera, point) for point in local])
    assert np.abs(np.column_stack([uv, depth]) - expected).max() < 1e-9


@each
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.2, -0.1)])
def test_what_a_pixel_shows_projects_back_onto_its_centre(projection: str, shift: Any):
    if projection == "panorama":
        shift = (0.0, 0.0)
    camera = camera_of(projection, shift=shift)
    depth = np.random.default_rng(1).uniform(0.5, 4, SIZE[::-1])
    rows, columns = np.indices(depth.shape)
    centers = np.stack([columns + 0.5, rows + 0.5], axis=-1)
    (fx, _, cx), (_, fy, cy), _ = camera.intrinsics
    # Further from a fisheye's axis than what is behind there is nothing.
    angle = np.hypot(*((centers - [cx, cy]) / [fx, fy]).T).T
    seen = angle < math.pi
    if projection != "fisheye":
        seen[:] = True
    uv, again = camera.project(camera.unproject(depth)[seen])
    assert np.abs(uv - centers[seen]).max() < 1e-9
    assert np.abs(again - depth[seen]).max() < 1e-9
    some = np.array([3, 40, 63]), np.array([20, 50, 75])
    assert np.allclose(camera.unproject(depth, some), camera.unproject(depth)[some])


@each
def test_rays_reach_what_pixels_show_at_their_distance(projection: str):
    camera = camera_of(projection)
    depth = np.full(SIZE[::-1], 1.7)
    origins, directions = camera.world_rays()
    points = origins + (depth * camera.stretch())[..., None] * directions
    assert np.allclose(points, camera.unproject(depth), atol=1e-12)
    assert np.allclose(np.linalg.norm(directions, axis=-1), 1)
    towards = camera.towards(points.reshape(-1, 3))
    assert np.allclose(towards, -directions.reshape(-1, 3), atol=1e-9)


@each
def test_pixels_cover_what_their_corners_span(projection: str):
    camera = camera_of(projection)
    at = np.array([31, 20, 50]), np.array([47, 70, 12])
    depth = np.full(SIZE[::-1], 2.0)
    step = 1e-3
    spans = []
    for du, dv in ((step, 0), (0, step)):
        k = camera.intrinsics.copy()
        k[0, 2], k[1, 2] = k[0, 2] - du, k[1, 2] - dv
        moved = dataclasses.replace(camera, intrinsics=k)
        spans.append((moved.unproject(depth, at) - camera.unproject(depth, at)) / step)
    area = np.linalg.norm(np.cross(*spans), axis=1)
    assert np.allclose(camera.pixel_area(depth[at], at), area, rtol=1e-4)


def test_fields_of_view_are_what_was_asked_for():
    assert camera_of("perspective").fov[1] == pytest.approx(60)
    assert camera_of("orthographic").fov == (0.0, 0.0)
    assert camera_of("panorama").fov == pytest.approx((360, 180))
    assert camera_of("fisheye").fov == pytest.approx((190 * 96 / 64, 190))


def test_an_orthographic_scale_is_what_the_shorter_side_shows():
    for view in views_of("ring", projection="orthographic", ortho=2.5, framing="allow"):
        corners = view.camera.unproject(np.ones(SIZE[::-1]))
        height = np.linalg.norm(corners[0, 0] - corners[-1, 0]) * 64 / 63
        assert height == pytest.approx(2.5)
        assert view.pose["ortho_scale"] == 2.5
        assert "fov_degrees" not in view.pose


@each
@pytest.mark.parametrize("pattern", PATTERNS)
def test_fit_brings_the_whole_object_into_frame(projection: str, pattern: str):
    rules: dict[str, Any] = {"projection": projection, "framing": "fit", "radius": 0.2, "views": 9}
    rules |= {"fov": (60, 150)} if projection == "fisheye" else {}
    rules |= {"ortho": 0.4} if projection == "orthographic" else {}
    for view in views_of(pattern, shift=(0, 0), **rules):
        uv, depth = view.camera.project(POINTS)
        assert (depth > 0).all()
        free = np.minimum(uv, np.array(SIZE) - uv) / (np.array(SIZE) / 2)
        if projection == "panorama":
            assert free.min() >= 0
            continue
        # Not only is it in frame, it could not be nearer.
        assert free.min() == pytest.approx(FRAME_MARGIN, abs=1e-6)
        if projection == "orthographic":
            assert view.pose["widened_from_scale"] == 0.4


def test_an_off_centre_orthographic_view_still_frames_all():
    for view in views_of(projection="orthographic", framing="fit", ortho=0.1, shift=(0.2, -0.1)):
        uv, _ = view.camera.project(POINTS)
        assert ((uv >= 0) & (uv <= SIZE)).all()


def test_a_scale_belongs_to_the_rigs_unit():
    rig = Rig((10.0, 0, 0), 50.0)
    job = RenderJob(
        cameras=CameraRules(pattern="ring", projection="orthographic", ortho=3.0,
                            framing="allow"),
    )  # fmt: skip
    (first, *_) = sample_views(job, "asset", POINTS, rig)
    assert first.pose["ortho_scale"] == 150.0
    assert first.camera.intrinsics[0, 0] == pytest.approx(512 / 150)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"ortho": 2.0}, "ortho is given"),
        ({"fov": (20, 171)}, "170"),
        ({"projection": "panorama", "shift": (0.1, 0)}, "all around"),
        ({"projection": "fisheye", "stereo": 0.1}, "rectified"),
        ({"pattern": "file", "file": "a.json", "projection": "fisheye"}, "the cameras file decide"),
    ],
)
def test_lenses_that_cannot_be_are_refused(rules: dict[str, Any], said: str):
    with pytest.raises(InvalidJob, match=said):
        CameraRules(**rules)


@pytest.mark.parametrize("projection", ["panorama", "fisheye"])
def test_only_cycles_sees_all_around(projection: str):
    with pytest.raises(InvalidJob, match="eevee"):
        RenderJob(
            cameras=CameraRules(projection=projection), engine=EngineSettings(engine="eevee")
        )


def test_blender_has_no_part_of_a_panorama():
    camera = camera_of("panorama")
    camera.intrinsics[0, 2] += 1
    with pytest.raises(CameraFileError, match="all around"):
        blender_lens(camera)


# --- Stereo pairs ---------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["allow", "fit"])
def test_a_pair_differs_by_its_disparity_alone(framing: str):
    views = views_of("gs-lrm", views=5, stereo=0.25, framing=framing)
    alone = views_of("gs-lrm", views=5, framing="allow")
    assert [view.eye for view in views] == ["left", "right"] * 5
    assert [view.index for view in views] == list(range(10))
    for left, right, middle in zip(views[::2], views[1::2], alone, strict=True):
        uv, depth = left.camera.project(POINTS)
        other, same = right.camera.project(POINTS)
        assert np.allclose(depth, same, atol=1e-12)
        assert np.allclose(uv[:, 1], other[:, 1], atol=1e-9)
        disparity = left.camera.intrinsics[0, 0] * 0.25 / depth
        assert np.allclose(uv[:, 0] - other[:, 0], disparity, atol=1e-9)
        if framing == "fit":
            for camera in (left.camera, right.camera):
                seen, _ = camera.project(POINTS)
                assert ((seen >= 0) & (seen <= SIZE)).all()
        else:
            places = [view.camera.camera_to_world[:3, 3] for view in (left, right)]
            assert np.allclose(np.mean(places, axis=0), middle.camera.camera_to_world[:3, 3])


# --- Views that are held out ----------------------------------------------------------------


@pytest.mark.parametrize("where", ["orbit", "ring", "fibonacci", "random"])
@pytest.mark.parametrize("pattern", ["gs-lrm", "ring", "orbit", "fibonacci"])
def test_held_out_views_come_last_and_stand_nowhere_else(pattern: str, where: str):
    rules: dict[str, Any] = {"views": 24, "framing": "allow"}
    plain = views_of(pattern, **rules)
    views = views_of(pattern, **rules, test_views=12, test_cameras=where)
    assert [view.split for view in views] == ["train"] * 24 + ["test"] * 12
    assert [view.index for view in views] == list(range(36))
    for view, before in zip(views, plain, strict=False):
        assert np.array_equal(view.camera.camera_to_world, before.camera.camera_to_world)
        assert before.split == ""
    away = np.array([view.camera.camera_to_world[:3, 2] for view in views])
    near = (away[:24] @ away[24:].T).max()
    assert math.degrees(math.acos(min(1.0, near))) > 1e-3


def test_views_say_no_split_where_none_is_held_out():
    assert {view.split for view in views_of("ring")} == {""}


def test_a_range_of_elevations_draws_one_for_each_view_of_a_ring():
    elevations = [view.pose["elevation_degrees"] for view in views_of("ring", elevation=(-10, 40))]
    assert len(set(elevations)) == 12
    assert min(elevations) >= -10
    assert max(elevations) <= 40


def test_six_around_has_the_known_azimuths():
    azimuths = [view.pose["azimuth_degrees"] for view in views_of("six-around")]
    assert azimuths == [270, 315, 0, 90, 180, 225]
    front = views_of("six-around")[0].camera.camera_to_world
    assert np.allclose(front[:3, 2], [0, -1, 0])


def test_the_default_camera_is_a_pinhole():
    assert camera_at().projection == "perspective"
