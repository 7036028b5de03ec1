from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import LOPSIDED, Sphere, camera_at

from objaverse_render_addon.cameras import (
    FRAME_MARGIN,
    Camera,
    Rig,
    View,
    blender_lens,
    draw,
    fitting_radius,
    intrinsics_of,
    look_at_pose,
    sample_views,
)
from objaverse_render_addon.errors import CameraFileError, InvalidJob
from objaverse_render_addon.job import PATTERNS, CameraRules, Pixels, RenderJob

DRAWN = [name for name, item in PATTERNS.items() if item.drawn]
PLACED = [name for name, item in PATTERNS.items() if not item.drawn and not item.given]
RIGS = [name for name, item in PATTERNS.items() if item.numbered]
"""Whose views are known by their numbers, at set places."""
POINTS = LOPSIDED.points


def job_of(
    pattern: str, seed: int = 0, resolution: tuple[int, int] = (64, 64), **rules: Any
) -> RenderJob:
    cameras = CameraRules(pattern=pattern, **rules)
    return RenderJob(seed=seed, cameras=cameras, pixels=Pixels(resolution=resolution))


def views_of(
    pattern: str, asset_id: str = "asset", rig: Rig | None = None, **rules: Any
) -> list[View]:
    return sample_views(job_of(pattern, **rules), asset_id, POINTS, rig)


def matrices(views: list[View]) -> np.ndarray:
    return np.array([view.camera.camera_to_world for view in views])


def poses(views: list[View], name: str) -> np.ndarray:
    return np.array([view.pose[name] for view in views])


# --- Random numbers -------------------------------------------------------------------------


def test_drawn_numbers_never_change():
    # Every published dataset rests on them.
    assert draw(0, "chair", "camera", 0, 4).tolist() == [
        0.7341122800849973, 0.3816409485304064, 0.8854369646543713, 0.22157853036093422
    ]  # fmt: skip
    assert draw(0, "chair", "camera", 5, 2).tolist() == [0.2686829106747256, 0.24081115783961504]
    assert draw(5, "chair", "camera", 0, 1).tolist() == [0.5840592028569452]
    assert draw(0, "chair", "camera", 0, 1, attempt=1).tolist() == [0.08768585826796815]
    assert draw(2**62, "ä", "noise", 3, 1).tolist() == [0.6472995509454607]


def test_each_argument_changes_what_is_drawn():
    start = {"seed": 3, "asset_id": "a", "stream": "camera", "index": 2, "attempt": 1}
    changes = {"seed": 4, "asset_id": "b", "stream": "noise", "index": 3, "attempt": 2}
    numbers = [draw(**start, count=4)]
    numbers += [draw(**{**start, name: value}, count=4) for name, value in changes.items()]
    # What a counter could mix up: seed with index, index with attempt.
    numbers += [
        draw(**{**start, "seed": 0, "index": 5}, count=4),
        draw(**{**start, "seed": 5, "index": 0}, count=4),
        draw(**{**start, "index": 1, "attempt": 2}, count=4),
    ]
    flat = np.concatenate(numbers)
    assert len(np.unique(flat)) == len(flat)


def test_asking_for_more_numbers_keeps_the_first_ones():
    assert draw(0, "a", "camera", 1, 9)[:4].tolist() == draw(0, "a", "camera", 1, 4).tolist()


def test_drawn_numbers_are_uniform_and_below_one():
    numbers = np.array([draw(1, "a", "camera", index, 4) for index in range(2000)])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert np.abs(numbers.mean(axis=0) - 1 / 2).max() < 0.03
    assert np.abs((numbers**2).mean(axis=0) - 1 / 3).max() < 0.03
    assert np.abs(np.corrcoef(numbers.T) - np.eye(4)).max() < 0.08


# --- Every pattern --------------------------------------------------------------------------

each_pattern = pytest.mark.parametrize("pattern", DRAWN + PLACED)


@each_pattern
@pytest.mark.parametrize("rig", [Rig(), Rig((3.0, -2.0, 0.5), 2.5)])
def test_cameras_are_right_handed_and_look_at_the_centre_of_the_rig(pattern: str, rig: Rig):
    for view in views_of(pattern, rig=rig, framing="allow"):
        matrix = view.camera.camera_to_world
        rotation, position = matrix[:3, :3], matrix[:3, 3]
        assert np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
        assert math.isclose(np.linalg.det(rotation), 1.0, abs_tol=1e-12)
        assert matrix[3].tolist() == [0, 0, 0, 1]
        uv, depth = view.camera.project(np.array([rig.center]))
        assert np.allclose(uv, 32.0, atol=1e-9)
        assert math.isclose(depth[0], view.pose["radius"], rel_tol=1e-12)
        assert math.isclose(np.linalg.norm(position - rig.center), depth[0], rel_tol=1e-12)
        # Upright: the camera's right is horizontal, its up is not downwards.
        assert abs(rotation[2, 0]) < 1e-12
        assert rotation[2, 1] > -1e-12


@each_pattern
def test_poses_say_where_the_cameras_are(pattern: str):
    for view in views_of(pattern, framing="allow"):
        azimuth, elevation = (
            math.radians(view.pose[name]) for name in ("azimuth_degrees", "elevation_degrees")
        )
        away = view.camera.camera_to_world[:3, 3] / view.pose["radius"]
        assert math.isclose(away[2], math.sin(elevation), abs_tol=1e-12)
        assert np.allclose(
            away[:2], np.cos(elevation) * np.array([math.cos(azimuth), math.sin(azimuth)])
        )


@each_pattern
def test_views_are_numbered_and_as_many_as_asked_for(pattern: str):
    count = 6 if pattern == "cube-faces" else min(17, PATTERNS[pattern].views)
    assert [view.index for view in views_of(pattern, views=count)] == list(range(count))
    assert len(views_of(pattern)) == PATTERNS[pattern].views
    if pattern != "cube-faces":
        assert len(views_of(pattern, views=1)) == 1


@pytest.mark.parametrize("pattern", [name for name in DRAWN + PLACED if name not in RIGS])
def test_angles_distances_and_lenses_stay_in_their_ranges(pattern: str):
    defaults = PATTERNS[pattern]
    # The samples' own distance; "fit" may move a camera back from there.
    views = views_of(pattern, framing="allow")
    for name, bounds in (
        ("radius", defaults.radius),
        ("elevation_degrees", defaults.elevation),
        ("fov_degrees", defaults.fov),
    ):
        values = poses(views, name)
        assert values.min() >= bounds[0] - 1e-9, name
        assert values.max() <= bounds[1] + 1e-9, name
    azimuths = poses(views, "azimuth_degrees")
    assert azimuths.min() >= 0
    assert azimuths.max() < 360


@each_pattern
def test_no_two_views_are_the_same(pattern: str):
    counts = {
        "cube-faces": (6,), "zero123plus": (2, 7), "g-objaverse": (2, 24), "six-around": (2, 6),
    }  # fmt: skip
    for count in counts.get(pattern, (2, 12, 48)):
        found = matrices(views_of(pattern, views=count, framing="allow")).reshape(count, 16)
        distance = np.linalg.norm(found[:, None] - found[None], axis=2)
        assert distance[~np.eye(count, dtype=bool)].min() > 1e-3


@pytest.mark.parametrize(
    "pattern", [name for name in DRAWN + PLACED if name not in ("cube-faces", *RIGS)]
)
def test_the_northern_hemisphere_has_no_view_from_below(pattern: str):
    views = views_of(pattern, views=40, only_northern_hemisphere=True)
    assert matrices(views)[:, 2, 3].min() >= 0
    if pattern in DRAWN:
        assert matrices(views)[:, 2, 3].min() < 0.5


@pytest.mark.parametrize("elevation", [-90.0, 90.0])
def test_the_poles_are_finite(elevation: float):
    for azimuth in (0.0, 123.0, 270.0):
        pose = look_at_pose(azimuth, elevation, 2.0, Rig())
        assert np.isfinite(pose).all()
        assert np.allclose(pose[:3, 3], [0, 0, math.copysign(2, elevation)])
        assert np.allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3))
        # Just beside the pole it is almost the same.
        near = look_at_pose(azimuth, elevation * 0.999999, 2.0, Rig())
        assert np.allclose(pose, near, atol=1e-4)


# --- Drawn patterns -------------------------------------------------------------------------

each_drawn = pytest.mark.parametrize("pattern", DRAWN)


@each_drawn
def test_directions_are_spread_by_area(pattern: str):
    rules = {"views": 3000, "framing": "allow"}
    views = views_of(pattern, **rules)
    low, high = (math.sin(math.radians(angle)) for angle in PATTERNS[pattern].elevation)
    # Archimedes: equal areas of a sphere are equal shares of height.
    height = np.sin(np.radians(poses(views, "elevation_degrees")))
    share = (height - low) / (high - low)
    turn = poses(views, "azimuth_degrees") / 360
    for values in (share, turn):
        counts = np.histogram(values, bins=20, range=(0, 1))[0]
        chi_square = ((counts - 150) ** 2 / 150).sum()
        assert chi_square < 43.8  # 19 degrees of freedom, p = 0.001
    assert abs(np.corrcoef(share, turn)[0, 1]) < 0.06


@each_drawn
def test_a_view_is_independent_of_the_number_of_views(pattern: str):
    for framing in ("allow", "fit", "resample"):
        few = views_of(pattern, views=3, framing=framing)
        many = views_of(pattern, views=40, framing=framing)
        assert np.array_equal(matrices(few), matrices(many)[:3])
        assert [view.pose for view in few] == [view.pose for view in many[:3]]


@each_drawn
def test_seeds_assets_and_views_give_different_cameras(pattern: str):
    found = [
        *views_of(pattern, views=8),
        *views_of(pattern, views=8, seed=1),
        *views_of(pattern, views=8, seed=5),
        *views_of(pattern, "other", views=8),
    ]
    azimuths = poses(found, "azimuth_degrees")
    assert len(np.unique(azimuths)) == len(azimuths)


@each_drawn
def test_the_same_job_gives_the_same_cameras(pattern: str):
    assert np.array_equal(matrices(views_of(pattern)), matrices(views_of(pattern)))


def test_the_first_cameras_of_the_default_job_are_pinned():
    pose = views_of("gs-lrm", "chair", framing="allow", views=1)[0].pose
    assert pose == pytest.approx(
        {
            "azimuth_degrees": 264.280420830599,
            "elevation_degrees": -9.635811,
            "radius": 2.651068,
            "fov_degrees": 42.755246,
        },
        abs=1e-5,
    )


# --- Framing --------------------------------------------------------------------------------


def slack(view: View, points: np.ndarray = POINTS) -> float:
    """Smallest share of the half image between a point and the edge; negative is outside."""
    camera = view.camera
    uv, depth = camera.project(points)
    if (depth <= 0).any():
        return -math.inf
    (_, _, cx), (_, _, cy), _ = camera.intrinsics.tolist()
    u, v = uv.T
    return float(
        np.min([
            u / cx, (camera.width - u) / (camera.width - cx),
            v / cy, (camera.height - v) / (camera.height - cy),
        ])
    )  # fmt: skip


@each_pattern
@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"resolution": (96, 40)},
        {"resolution": (40, 96), "pixel_aspect": 1.7},
        {"shift": (0.3, -0.2)},
        {"fov": (80, 80)},
    ],
    ids=str,
)
def test_fit_brings_every_point_into_frame_with_a_margin(pattern: str, rules: dict):
    views = views_of(pattern, framing="fit", **rules)
    assert min(slack(view) for view in views) > FRAME_MARGIN - 1e-9


@each_drawn
def test_fit_moves_no_camera_further_than_needed_and_none_forward(pattern: str):
    free = views_of(pattern, framing="allow")
    fitted = views_of(pattern, framing="fit")
    moved = 0
    for before, after in zip(free, fitted, strict=True):
        if "moved_from_radius" in after.pose:
            moved += 1
            assert after.pose["moved_from_radius"] == before.pose["radius"]
            assert after.pose["radius"] > before.pose["radius"]
            assert slack(before) < FRAME_MARGIN
            assert math.isclose(slack(after), FRAME_MARGIN, abs_tol=1e-9)
        else:
            assert np.array_equal(before.camera.camera_to_world, after.camera.camera_to_world)
    assert moved > 0


def test_the_fitting_distance_of_a_sphere_is_the_known_one():
    k = intrinsics_of("perspective", 40, (100, 100))
    points = Sphere(radius=0.5).points
    radius = fitting_radius(points, 33.0, 12.0, k, (100, 100), Rig())
    half = math.atan((1 - FRAME_MARGIN) * math.tan(math.radians(20)))
    assert math.isclose(radius, 0.5 / math.sin(half), rel_tol=1e-3)


def test_fit_works_in_the_units_and_at_the_centre_of_the_rig():
    rig = Rig((100.0, 5.0, -3.0), 50.0)
    moved = POINTS * rig.unit + np.array(rig.center)
    views = sample_views(job_of("gs-lrm"), "asset", moved, rig)
    reference = views_of("gs-lrm")
    for view, small in zip(views, reference, strict=True):
        assert math.isclose(view.pose["radius"], 50 * small.pose["radius"], rel_tol=1e-9)
        assert slack(view, moved) > FRAME_MARGIN - 1e-9


@each_drawn
def test_resample_stays_in_the_ranges_and_prefers_whole_objects(pattern: str):
    rules = {"views": 60, "radius": (2.4, 5.0)}
    views = views_of(pattern, framing="resample", **rules)
    radius, fov = poses(views, "radius"), poses(views, "fov_degrees")
    assert 2.4 <= radius.min() < radius.max() <= 5.0
    assert PATTERNS[pattern].fov[0] <= fov.min() <= fov.max() <= PATTERNS[pattern].fov[1]
    free = views_of(pattern, framing="allow", **rules)
    assert {slack(view) >= FRAME_MARGIN for view in free} == {True, False}
    for before, after in zip(free, views, strict=True):
        whole = slack(before) >= FRAME_MARGIN
        assert whole == ("attempt" not in after.pose)
        assert slack(after) >= FRAME_MARGIN - 1e-9
        assert whole == np.array_equal(before.camera.camera_to_world, after.camera.camera_to_world)


def test_resample_takes_the_best_attempt_where_none_fits():
    views = views_of("gs-lrm", framing="resample", views=5, radius=1.6, fov=(35, 36))
    free = views_of("gs-lrm", framing="allow", views=5, radius=1.6, fov=(35, 36))
    for before, after in zip(free, views, strict=True):
        assert slack(after) < FRAME_MARGIN
        assert slack(after) >= slack(before) - 0.05


def test_framing_without_points_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="needs the object's points"):
        sample_views(job_of("gs-lrm"), "asset")
    assert sample_views(job_of("gs-lrm", framing="allow"), "asset")


# --- Placed patterns ------------------------------------------------------------------------


def test_a_ring_starts_in_front_and_goes_round_evenly():
    views = views_of("ring", views=8, elevation=0, framing="allow")
    assert poses(views, "azimuth_degrees").tolist() == [270, 315, 0, 45, 90, 135, 180, 225]
    front = views[0].camera.camera_to_world
    assert np.allclose(front[:3, 3], [0, -PATTERNS["ring"].radius[0], 0])
    assert np.allclose(front[:3, 0], [1, 0, 0])


def test_fibonacci_covers_the_sphere_evenly():
    views = views_of("fibonacci", views=200, framing="allow")
    away = matrices(views)[:, :3, 2]
    assert np.abs(away.mean(axis=0)).max() < 0.01
    angle = np.degrees(np.arccos(np.clip(away @ away.T, -1, 1)))
    nearest = np.sort(angle, axis=1)[:, 1]
    # 200 points at best keep some 15 degrees between neighbours.
    assert nearest.min() > 10
    assert nearest.max() < 17


def trellis(index: int, count: int, offset: tuple[float, float]) -> tuple[float, float]:
    """Yaw and pitch of TRELLIS, by its formulas (base-2 Hammersley points, remapped)."""
    v, digit, rest = 0.0, 0.5, index
    while rest > 0:
        v += rest % 2 * digit
        rest //= 2
        digit /= 2
    u = index / count + offset[0] / count
    v += offset[1]
    u = 2 * u if u < 0.25 else 2 / 3 * u + 1 / 3
    return v * 2 * math.pi, math.acos(1 - 2 * u) - math.pi / 2


def test_hammersley_is_that_of_trellis():
    views = views_of("hammersley", "chair")
    assert len(views) == 150
    offset = tuple(draw(0, "chair", "hammersley", 0, 2).tolist())
    for view in views:
        yaw, pitch = trellis(view.index, 150, offset)
        expected = 2 * np.array(
            [math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), math.sin(pitch)]
        )
        assert np.allclose(view.camera.camera_to_world[:3, 3], expected, atol=1e-12)
    below = (poses(views, "elevation_degrees") < 0).mean()
    assert abs(below - 0.25) < 0.01


def test_hammersley_differs_between_assets_by_its_offset_alone():
    one, other = (poses(views_of("hammersley", name), "azimuth_degrees") for name in "ab")
    turn = (other - one) % 360
    assert np.allclose(turn, turn[0])
    assert turn[0] > 1e-3


def test_cube_faces_look_along_the_six_axes_in_order():
    away = matrices(views_of("cube-faces"))[:, :3, 2]
    assert np.allclose(away, [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    # From above the front (-Y) is at the bottom of the image, as in Blender's own top view.
    assert np.allclose(matrices(views_of("cube-faces"))[4, :3, 1], [0, 1, 0])


def test_syncdreamers_input_stands_over_the_ring_at_elevations_of_its_own():
    ring = views_of("ring", views=16, elevation=(30, 30), framing="allow")
    views = views_of("syncdreamer-input")
    name = "azimuth_degrees"
    assert np.allclose(poses(views, name), poses(ring, name))
    # In degrees, not by area, as its script draws them.
    elevations = np.concatenate(
        [poses(views_of("syncdreamer-input", f"{n}"), "elevation_degrees") for n in range(60)]
    )
    assert len(set(elevations)) == 960
    quarters = np.histogram(elevations, bins=4, range=(-10, 40))[0]
    assert quarters.sum() == 960
    assert np.abs(quarters - 240).max() < 60
    assert (poses(views, "radius") == 1.5).all()
    assert abs(views[0].camera.intrinsics[0, 0] / 64 * 256 - 280) < 1e-3


def test_zero123plus_has_six_set_views_around_a_drawn_one():
    drawn = []
    for asset in "abcdefgh":
        views = views_of("zero123plus", asset)
        azimuth, elevation = (poses(views, f"{name}_degrees") for name in ("azimuth", "elevation"))
        assert azimuth.tolist() == [0, 30, 90, 150, 210, 270, 330]
        assert elevation[1:].tolist() == [20, -10] * 3
        drawn.append(elevation[0])
        assert (poses(views, "radius") == 4).all()
        assert {round(view.camera.fov[0], 9) for view in views} == {30}
    assert len(set(drawn)) == 8
    assert -20 <= min(drawn) < max(drawn) <= 45
    with pytest.raises(InvalidJob, match="more than the 7"):
        views_of("zero123plus", views=8)


def test_g_objaverse_has_two_turns_the_top_and_the_bottom():
    heights = set()
    for asset in "abcdefgh":
        views = views_of("g-objaverse", asset)
        azimuth, elevation = (poses(views, f"{name}_degrees") for name in ("azimuth", "elevation"))
        assert np.allclose(azimuth[:25], (270 + 15 * np.arange(25)) % 360)
        assert np.allclose(azimuth[27:], (270 + 30 * np.arange(13)) % 360)
        assert (np.ptp(elevation[:25]), np.ptp(elevation[27:])) == (0, 0)
        assert 5 <= elevation[0] <= 30
        assert -5 <= elevation[27] <= 5
        assert elevation[25:27].tolist() == [90, -90]
        assert np.allclose(matrices(views)[24], matrices(views)[0])
        assert np.allclose(matrices(views)[39], matrices(views)[27])
        heights |= {elevation[0], elevation[27]}
        # The whole unit cube, whichever way it stands.
        side = (-0.5, 0.5)
        corners = np.array([[x, y, z] for x in side for y in side for z in side])
        for view in views:
            uv, _ = view.camera.project(corners)
            assert uv.min() > 0
            assert uv.max() < 64
    assert len(heights) == 16


def test_an_orbit_climbs_while_it_turns():
    views = views_of("orbit", views=10, turns=2, elevation=(-20, 70), framing="allow")
    assert np.allclose(poses(views, "elevation_degrees"), np.linspace(-20, 70, 10))
    assert np.allclose(poses(views, "azimuth_degrees"), (270 + 72 * np.arange(10)) % 360)
    back = views_of("orbit", views=10, turns=-2, framing="allow")
    assert np.allclose(poses(back, "azimuth_degrees"), (270 - 72 * np.arange(10)) % 360)


# --- Intrinsics -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "aspect"),
    [((64, 64), 1.0), ((96, 64), 1.0), ((64, 96), 1.0), ((96, 64), 2.0), ((64, 96), 0.5)],
)
def test_the_field_of_view_spans_the_shorter_side(size: tuple[int, int], aspect: float):
    camera = camera_at(fov=50.0, size=size, pixel_aspect=aspect)
    assert math.isclose(min(camera.fov), 50.0)
    assert (camera.fov[0] <= camera.fov[1]) == (size[0] <= size[1] * aspect)
    fx, fy = camera.intrinsics[0, 0], camera.intrinsics[1, 1]
    assert math.isclose(fx / fy, aspect)


def test_a_shift_moves_the_object_right_and_down():
    still, moved = camera_at(), camera_at(shift=(0.25, 0.125))
    points = np.array([[0.0, 0, 0], [0.3, 0.2, -0.4]])
    difference = moved.project(points)[0] - still.project(points)[0]
    assert np.allclose(difference, [0.25 * 96, 0.125 * 96])
    assert moved.fov[0] < still.fov[0]


def test_more_pixels_show_the_same_picture():
    small, large = camera_at(size=(32, 48)), camera_at(size=(96, 144))
    assert np.allclose(large.intrinsics[:2], 3 * small.intrinsics[:2])


LENSES = [
    {"size": (64, 64)},
    {"size": (96, 40), "fov": 70.0},
    {"size": (40, 96), "shift": (0.2, -0.1)},
    {"size": (64, 48), "pixel_aspect": 2.0, "shift": (-0.4, 0.3)},
    {"size": (64, 48), "pixel_aspect": 0.5, "shift": (0.1, 0.6)},
]
each_lens = pytest.mark.parametrize("lens", LENSES, ids=str)


@each_lens
def test_projecting_and_unprojecting_are_each_others_inverse(lens: dict):
    camera = camera_at(azimuth=77, elevation=-35, **lens)
    depth = 1 + np.random.default_rng(0).random((camera.height, camera.width))
    points = camera.unproject(depth)
    uv, z = camera.project(points.reshape(-1, 3))
    rows, columns = np.indices(depth.shape)
    assert np.allclose(uv[:, 0], columns.ravel() + 0.5)
    assert np.allclose(uv[:, 1], rows.ravel() + 0.5)
    assert np.allclose(z, depth.ravel())


@each_lens
def test_rays_go_through_the_pixel_centres_at_depth_one(lens: dict):
    camera = camera_at(**lens)
    rays = camera.rays()
    assert (rays[..., 2] == -1).all()
    world = (rays @ camera.camera_to_world[:3, :3].T)[3, 5] * 2.5 + camera.camera_to_world[:3, 3]
    uv, depth = camera.project(world[None])
    assert np.allclose(uv, [[5.5, 3.5]])
    assert math.isclose(depth[0], 2.5)


def test_a_point_behind_the_camera_has_no_positive_depth():
    camera = camera_at(radius=2.0)
    behind = camera.camera_to_world[:3, 3] * 2
    assert camera.project(np.array([behind, camera.camera_to_world[:3, 3]]))[1].tolist() == (
        pytest.approx([-2, 0])
    )


def test_world_to_camera_is_the_inverse():
    camera = camera_at(azimuth=12, elevation=34)
    assert np.allclose(camera.world_to_camera @ camera.camera_to_world, np.eye(4))


@each_lens
def test_blenders_lens_settings_mean_the_same_camera(lens: dict):
    camera = camera_at(**lens)
    lens_settings, pixels = blender_lens(camera)
    settings = lens_settings | pixels
    # BKE_camera_params_compute_viewplane with the sensor fitted horizontally.
    width, height = camera.width, camera.height
    aspect = settings["pixel_aspect_y"] / settings["pixel_aspect_x"]
    pixel = 2 * math.tan(settings["angle"] / 2) / width
    left = (-0.5 * width + settings["shift_x"] * width) * pixel
    bottom = (-0.5 * height * aspect + settings["shift_y"] * width) * pixel
    right, top = left + width * pixel, bottom + height * aspect * pixel
    rays = camera.rays()
    assert math.isclose(rays[0, 0, 0], left + 0.5 * pixel, abs_tol=1e-12)
    assert math.isclose(rays[0, -1, 0], right - 0.5 * pixel, abs_tol=1e-12)
    assert math.isclose(rays[0, 0, 1], top - 0.5 * pixel * aspect, abs_tol=1e-12)
    assert math.isclose(rays[-1, 0, 1], bottom + 0.5 * pixel * aspect, abs_tol=1e-12)
    # Blender takes no pixel aspect below 1.
    assert min(settings["pixel_aspect_x"], settings["pixel_aspect_y"]) == 1.0


def test_blender_has_no_skew():
    camera = camera_at()
    camera.intrinsics[0, 1] = 0.1
    with pytest.raises(CameraFileError, match="skew"):
        blender_lens(camera)


# --- Poses from a file ----------------------------------------------------------------------

POSE = camera_at(azimuth=30, elevation=40, radius=3).camera_to_world.tolist()
OTHER = camera_at(azimuth=200, elevation=-10, radius=2).camera_to_world.tolist()
PIXELS = {"fl_x": 80.0, "fl_y": 90.0, "cx": 33.0, "cy": 20.0, "w": 64, "h": 48}


def file_views(path: Path, resolution: tuple[int, int] = (64, 48), views: int | None = None):
    return sample_views(job_of("file", file=str(path), resolution=resolution, views=views), "a")


def put(folder: Path, data: Any, name: str = "transforms.json") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def test_a_nerf_synthetic_file_is_read(tmp_path: Path):
    path = put(
        tmp_path,
        {
            "camera_angle_x": 0.7,
            "frames": [
                {"file_path": "./train/r_0", "rotation": 0.01, "transform_matrix": POSE},
                {"file_path": "./train/r_1", "transform_matrix": OTHER},
            ],
        },
    )
    views = file_views(path, (80, 60))
    assert np.array_equal(matrices(views), [POSE, OTHER])
    f = 40 / math.tan(0.35)
    assert np.allclose(views[1].camera.intrinsics, [[f, 0, 40], [0, f, 30], [0, 0, 1]])
    assert views[0].pose == {}
    assert math.isclose(views[0].camera.fov[0], math.degrees(0.7))


def test_a_nerfstudio_file_is_read_with_intrinsics_per_frame(tmp_path: Path):
    path = put(
        tmp_path,
        {
            **PIXELS,
            "camera_model": "OPENCV",
            "k1": 0.0,
            "frames": [{"transform_matrix": POSE}, {"transform_matrix": OTHER[:3], "fl_x": 70.0}],
        },
    )
    views = file_views(path)
    assert views[0].camera.intrinsics.tolist() == [[80, 0, 33], [0, 90, 20], [0, 0, 1]]
    assert views[1].camera.intrinsics.tolist() == [[70, 0, 33], [0, 90, 20], [0, 0, 1]]
    assert np.array_equal(matrices(views), [POSE, OTHER])


def test_intrinsics_are_scaled_to_the_resolution(tmp_path: Path):
    path = put(tmp_path, {**PIXELS, "frames": [{"transform_matrix": POSE}]})
    camera = file_views(path, (128, 96))[0].camera
    assert camera.intrinsics.tolist() == [[160, 0, 66], [0, 180, 40], [0, 0, 1]]
    assert (camera.width, camera.height) == (128, 96)
    assert camera.fov == pytest.approx(file_views(path)[0].camera.fov)


def test_a_resolution_of_another_shape_is_refused_with_the_right_one(tmp_path: Path):
    path = put(tmp_path, {**PIXELS, "frames": [{"transform_matrix": POSE}]})
    with pytest.raises(CameraFileError, match="64x48, which 64x64 would squash") as caught:
        file_views(path, (64, 64))
    assert "--resolution 64x48" in caught.value.hint


def test_a_toml_file_is_read(tmp_path: Path):
    rows = ", ".join(str(row) for row in POSE)
    text = f"camera_angle_x = 0.7\n[[frames]]\ntransform_matrix = [{rows}]\n"
    views = file_views(put(tmp_path, text, "poses.TOML"))
    assert np.array_equal(matrices(views), [POSE])


def test_the_principal_point_and_fl_y_may_be_left_away(tmp_path: Path):
    path = put(tmp_path, {"fl_x": 80, "frames": [{"transform_matrix": POSE}]})
    k = file_views(path)[0].camera.intrinsics
    assert k.tolist() == [[80, 0, 32], [0, 80, 24], [0, 0, 1]]


def test_fewer_views_than_the_file_has_are_the_first(tmp_path: Path):
    path = put(tmp_path, {**PIXELS, "frames": [{"transform_matrix": p} for p in (POSE, OTHER)]})
    assert np.array_equal(matrices(file_views(path, views=1)), [POSE])
    with pytest.raises(CameraFileError, match="2 frames; views asked for: 3"):
        file_views(path, views=3)


def changed(**values: Any) -> dict[str, Any]:
    frame = {"transform_matrix": POSE, **PIXELS}
    return {"frames": [{name: v for name, v in {**frame, **values}.items() if v is not None}]}


def with_entry(row: int, column: int, value: Any) -> list[list[Any]]:
    matrix = [list(line) for line in POSE]
    matrix[row][column] = value
    return matrix


BROKEN = {
    "distortion k1": (changed(k1=0.1), "distortion"),
    "distortion p2": (changed(p2=-0.001), "distortion"),
    "fisheye": (changed(camera_model="FISHEYE624"), "FISHEYE624"),
    "instant-ngp fisheye": (changed(is_fisheye=True, k1=0.1), "distortion"),
    "scaled": (changed(transform_matrix=(np.diag([2, 2, 2, 1]) @ POSE).tolist()), "rotation"),
    "mirrored": (changed(transform_matrix=(np.diag([-1, 1, 1, 1]) @ POSE).tolist()), "rotation"),
    "transposed": (changed(transform_matrix=np.transpose(POSE).tolist()), "transposed"),
    "nan": (changed(transform_matrix=with_entry(0, 3, math.nan)), "finite"),
    "inf": (changed(transform_matrix=with_entry(1, 1, math.inf)), "finite"),
    "text": (changed(transform_matrix=with_entry(1, 1, "x")), "frame 0"),
    "ragged": (changed(transform_matrix=[[1, 0], [0]]), "frame 0"),
    "3x3": (changed(transform_matrix=np.eye(3).tolist()), "4x4"),
    "no matrix": (changed(transform_matrix=None), "has no 'transform_matrix'"),
    "no lens": (changed(fl_x=None), "what the lens is"),
    "focal 0": (changed(fl_x=0), "focal length"),
    "focal negative": (changed(fl_y=-80), "focal length"),
    "focal nan": (changed(fl_x=math.nan), "focal length"),
    "focal text": (changed(fl_x="wide"), "frame 0"),
    "principal point nan": (changed(cx=math.nan), "principal point"),
    "width 0": (changed(w=0), "frame 0"),
    "angle 0": (changed(fl_x=None, camera_angle_x=0), "radians"),
    "angle in degrees": (changed(fl_x=None, camera_angle_x=39.6), "radians"),
    "frame no table": ({**PIXELS, "frames": [3]}, "frame 0"),
    "no frames": ({**PIXELS, "frames": []}, "no frames"),
    "frames missing": (PIXELS, "no frames"),
    "a list": ([1, 2], "no frames"),
    "not JSON": ("{", "cannot be read"),
}


@pytest.mark.parametrize(("data", "said"), BROKEN.values(), ids=BROKEN)
def test_a_camera_file_that_cannot_be_rendered_is_refused_with_the_cause(
    tmp_path: Path, data: Any, said: str
):
    path = put(tmp_path, data)
    with pytest.raises(CameraFileError) as caught:
        file_views(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message


def test_a_camera_file_that_is_not_there_is_named(tmp_path: Path):
    for path in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(CameraFileError, match=str(path)):
            file_views(path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\0")
    with pytest.raises(CameraFileError, match="cannot be read"):
        file_views(tmp_path / "binary.toml")


def test_the_frame_that_is_wrong_is_counted(tmp_path: Path):
    data = {**PIXELS, "frames": [{"transform_matrix": POSE}, {"transform_matrix": None}]}
    with pytest.raises(CameraFileError, match="frame 1"):
        file_views(put(tmp_path, data))


def test_a_camera_cannot_be_swapped_out():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Camera(8, 8, np.eye(3), np.eye(4)).width = 9


def test_some_pixels_have_the_rays_and_points_of_all():
    lens = np.array([[53.0, 0, 20.3], [0, 47.0, 11.9], [0, 0, 1]])
    camera = Camera(40, 24, lens, look_at_pose(30.0, 20.0, 3.0, Rig((0.1, 0.2, 0.3))))
    depth = np.random.default_rng(0).uniform(1, 4, (24, 40)).astype(np.float32)
    at = np.nonzero(depth > 2)
    assert np.allclose(camera.rays(at), camera.rays()[at], atol=1e-14)
    assert np.allclose(camera.unproject(depth, at), camera.unproject(depth)[at], atol=1e-13)
    uv, z = camera.project(camera.unproject(depth, at))
    assert np.allclose(uv, np.stack(at[::-1], axis=1) + 0.5)
    assert np.allclose(z, depth[at])
