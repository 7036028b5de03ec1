"""The proof of a view, against shapes whose every pixel is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from analytic import LOPSIDED, Box, Shape, Sphere, box_of, camera_at, frame_of, outcome

from objaverse_render_addon.cameras import Camera, View
from objaverse_render_addon.checks import check_frame
from objaverse_render_addon.frame import Bounds, Frame
from objaverse_render_addon.job import STILL_PASSES

# --- Checking what is right -----------------------------------------------------------------

CAMERAS = {
    "plain": camera_at(),
    "wide": camera_at(fov=90, radius=2.4),
    "landscape": camera_at(azimuth=80, elevation=-30, size=(144, 80)),
    "portrait, shifted": camera_at(azimuth=190, size=(80, 120), fov=60, shift=(0.1, -0.05)),
    "long pixels": camera_at(azimuth=10, elevation=60, size=(96, 64), pixel_aspect=1.5),
    "from above": camera_at(elevation=90),
    "from below": camera_at(elevation=-90),
}
SHAPES = {"sphere": Sphere(), "box": Box(), "lopsided": LOPSIDED, "plate": Box(high=(1, 0.6, -0.4))}
ALL_CHECKS = {
    "finite", "mask_not_empty", "object_in_frame", "mask_equals_depth", "unit_normals",
    "mask_in_projected_box", "mask_fills_projected_box", "depth_in_bounding_sphere",
    "depth_in_bounding_box", "reprojection", "normals_face_camera", "normals_agree_with_depth",
    "alpha_agrees_with_mask", "rgb_not_uniform", "values_in_limits", "position_agrees_with_depth",
    "distance_agrees_with_depth", "geometry_is_new", "color_is_new",
}  # fmt: skip


def others_of(shape: Shape) -> list[Frame]:
    return [
        frame_of(shape, camera_at(azimuth=200, elevation=10, radius=4.2)),
        frame_of(shape, camera_at(azimuth=75, elevation=-40, radius=4.4)),
    ]


@pytest.mark.parametrize("space", ["camera", "world"])
@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_correct_view_raises_no_doubt(shape: Shape, camera: Camera, space: str):
    frame = frame_of(shape, camera, normal_space=space)
    checks = check_frame(frame, shape.bounds, others_of(shape))
    assert outcome(checks) == {}


def test_every_check_is_made_where_there_is_something_to_check():
    checks = check_frame(frame_of(Sphere(), camera_at()), Sphere().bounds, others_of(Sphere()))
    assert {check.name for check in checks} == ALL_CHECKS
    assert len(checks) == len(ALL_CHECKS)


@pytest.mark.parametrize("missing", STILL_PASSES)
def test_a_view_without_one_of_the_passes_is_checked_by_the_others(missing: str):
    frame = frame_of(LOPSIDED, camera_at())
    del frame.passes[missing]
    others = others_of(LOPSIDED)
    for other in others:
        other.passes.pop(missing)
    checks = check_frame(frame, LOPSIDED.bounds, others)
    assert outcome(checks) == {}
    assert {check.name for check in checks} >= {"finite", "mask_not_empty"}


def test_a_view_of_colour_alone_is_only_checked_for_numbers():
    frame = frame_of(Sphere(), camera_at(), wanted=("rgb",))
    frame.passes = {"rgb": frame.passes["rgb"]}
    assert [check.name for check in check_frame(frame, Sphere().bounds)] == ["finite"]


@pytest.mark.parametrize("size", [0.02, 1.0, 50.0])
def test_what_is_allowed_beyond_the_box_grows_with_the_object(size: float):
    shape = Box((-size, -size, -size), (size, size, size))
    frame = frame_of(shape, camera_at(azimuth=30, elevation=35, radius=6 * size))
    for share, verdict in ((1.5e-3, None), (2.5e-3, "failed")):
        inset = share * shape.bounds.radius
        bounds = dataclasses.replace(
            shape.bounds, box_min=(inset - size,) * 3, box_max=(size - inset,) * 3
        )
        assert outcome(check_frame(frame, bounds)).get("depth_in_bounding_box") == verdict


# --- Checking what is wrong -----------------------------------------------------------------


def with_camera(frame: Frame, change: Callable[[np.ndarray, np.ndarray], None]) -> Frame:
    """The same pictures under another camera, with the box as that camera projects it."""
    camera = frame.camera
    k, pose = camera.intrinsics.copy(), camera.camera_to_world.copy()
    change(k, pose)
    camera = Camera(camera.width, camera.height, k, pose)
    return dataclasses.replace(frame, view=View(0, camera), object_box=box_of(LOPSIDED, camera))


def verdict(frame: Frame, with_others: bool = True) -> dict[str, str]:
    others = others_of(LOPSIDED) if with_others else []
    return outcome(check_frame(frame, LOPSIDED.bounds, others))


@pytest.fixture
def frame() -> Frame:
    return frame_of(LOPSIDED, camera_at())


def test_a_shifted_principal_point_is_found(frame: Frame):
    for row in (0, 1):
        spoilt = with_camera(frame, lambda k, _, row=row: k.__setitem__((row, 2), k[row, 2] + 3))
        found = verdict(spoilt, with_others=False)
        assert found["mask_in_projected_box"] == "failed"
        assert found["depth_in_bounding_box"] == "failed"


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_wrong_field_of_view_is_found(frame: Frame, factor: float):
    def zoom(k: np.ndarray, _: np.ndarray) -> None:
        k[0, 0] *= factor
        k[1, 1] *= factor

    found = verdict(with_camera(frame, zoom))
    if factor < 1:
        assert found["mask_in_projected_box"] == "failed"
        assert found["depth_in_bounding_box"] == "failed"
    else:
        # Everything shrinks into the object, where only another view can tell.
        assert found["reprojection"] == "doubt"


def test_a_wrong_field_of_view_of_an_earlier_view_is_found(frame: Frame):
    def zoom(k: np.ndarray, _: np.ndarray) -> None:
        k[0, 0] *= 1.1
        k[1, 1] *= 1.1

    checks = check_frame(frame, LOPSIDED.bounds, [with_camera(others_of(LOPSIDED)[0], zoom)])
    assert outcome(checks) == {"reprojection": "doubt"}


def test_distance_along_the_ray_in_place_of_planar_depth_is_found():
    wide = frame_of(LOPSIDED, camera_at(fov=90, radius=2.4))
    wide.passes["depth"] = wide.passes["distance"]
    assert verdict(wide, with_others=False)["depth_in_bounding_box"] == "failed"
    assert verdict(wide)["reprojection"] == "doubt"


@pytest.mark.parametrize("factor", [0.93, 1.07])
def test_depth_in_another_unit_is_found(frame: Frame, factor: float):
    frame.passes["depth"] = frame.passes["depth"] * np.float32(factor)
    assert verdict(frame, with_others=False)["depth_in_bounding_box"] == "failed"


def test_world_normals_that_are_said_to_be_camera_normals_are_found():
    frame = frame_of(LOPSIDED, camera_at(), normal_space="world")
    frame.normal_space = "camera"
    found = verdict(frame)
    assert found == {"normals_face_camera": "doubt", "normals_agree_with_depth": "doubt"}


def test_camera_normals_that_are_said_to_be_world_normals_are_found(frame: Frame):
    frame.normal_space = "world"
    assert verdict(frame)["normals_agree_with_depth"] == "doubt"


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [Sphere(), LOPSIDED], ids=["sphere", "lopsided"])
def test_a_flipped_axis_of_the_normals_is_found(shape: Shape, axis: int):
    frame = frame_of(shape, camera_at())
    frame.passes["normal"][..., axis] *= -1
    found = outcome(check_frame(frame, shape.bounds))
    assert found.pop("normals_agree_with_depth") == "doubt"
    assert found == ({"normals_face_camera": "doubt"} if axis == 2 else {})


@pytest.mark.parametrize("noise", [0.2, 0.5])
def test_bumpy_normals_raise_no_doubt(frame: Frame, noise: float):
    mask = frame.passes["mask"] == 1
    normal = frame.passes["normal"] + np.random.default_rng(0).normal(
        scale=noise, size=frame.passes["normal"].shape
    )
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    frame.passes["normal"] = np.where(mask[..., None], normal, 0).astype(np.float32)
    assert "normals_agree_with_depth" not in verdict(frame)


@pytest.mark.parametrize("axis", [0, 1])
def test_mirrored_pictures_are_found(frame: Frame, axis: int):
    frame.passes = {name: np.flip(data, axis) for name, data in frame.passes.items()}
    found = verdict(frame)
    assert found["depth_in_bounding_box"] == "failed"
    assert found["reprojection"] == "doubt"
    assert found["normals_agree_with_depth"] == "doubt"


def test_a_camera_with_the_axes_of_opencv_is_found(frame: Frame):
    def flip(_: np.ndarray, pose: np.ndarray) -> None:
        pose[:3, 1:3] *= -1

    found = verdict(with_camera(frame, flip))
    assert found["depth_in_bounding_sphere"] == "failed"
    assert found["reprojection"] == "failed"


def test_a_pose_of_another_view_is_found(frame: Frame):
    other = camera_at(azimuth=330, elevation=25).camera_to_world
    found = verdict(with_camera(frame, lambda _, pose: pose.__setitem__(slice(None), other)))
    assert found["depth_in_bounding_box"] == "failed"
    assert found["reprojection"] == "doubt"


def test_pictures_of_another_object_are_found():
    frame = frame_of(Box(), camera_at())
    found = verdict(dataclasses.replace(frame, object_box=box_of(LOPSIDED, frame.camera)))
    assert found["depth_in_bounding_box"] == "failed"
    assert found["mask_in_projected_box"] == "failed"


def test_a_picture_where_half_of_the_object_is_missing_is_found():
    shape = Sphere()
    frame = frame_of(shape, camera_at())
    for data in frame.passes.values():
        data[:, :48] = 0
    found = outcome(check_frame(frame, shape.bounds, others_of(shape)))
    assert found["mask_fills_projected_box"] == "doubt"
    assert found["reprojection"] == "failed"


def test_normals_of_another_length_are_found(frame: Frame):
    frame.passes["normal"] = frame.passes["normal"] * np.float32(0.999)
    assert verdict(frame) == {"unit_normals": "failed"}


def test_normals_outside_the_mask_are_found(frame: Frame):
    frame.passes["normal"][0, 0] = [0, 0, 1]
    assert verdict(frame) == {"unit_normals": "failed"}


def test_a_mask_that_differs_from_depth_in_one_pixel_is_found(frame: Frame):
    rows, columns = np.nonzero(frame.passes["mask"])
    frame.passes["mask"][rows[40], columns[40]] = 0
    found = verdict(frame)
    assert found.pop("mask_equals_depth") == "failed"
    assert found.pop("unit_normals") == "failed"
    assert found == {}


@pytest.mark.parametrize("name", ["depth", "normal", "albedo", "position", "distance"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_found_in_any_pass(frame: Frame, name: str, bad: float):
    frame.passes[name][3, 3] = bad
    checks = check_frame(frame, LOPSIDED.bounds)
    assert [(check.name, check.status) for check in checks] == [("finite", "failed")]


def test_a_cropped_object_is_doubted():
    camera = camera_at(shift=(0.35, 0))
    frame = frame_of(LOPSIDED, camera)
    assert verdict(frame)["object_in_frame"] == "doubt"


def test_an_empty_view_is_doubted_and_nothing_more():
    away = camera_at(shift=(1.5, 0))
    frame = frame_of(LOPSIDED, away)
    assert not frame.passes["mask"].any()
    assert verdict(frame) == {"mask_not_empty": "doubt"}


def test_alpha_that_does_not_agree_with_the_mask_is_doubted(frame: Frame):
    frame.passes["rgb"][..., 3] = np.roll(frame.passes["rgb"][..., 3], 5, axis=1)
    assert verdict(frame) == {"alpha_agrees_with_mask": "doubt"}


def test_alpha_may_be_soft_along_the_edge(frame: Frame):
    alpha = frame.passes["rgb"][..., 3].astype(np.float64)
    frame.passes["rgb"][..., 3] = (
        alpha + np.roll(alpha, 1, 0) + np.roll(alpha, 1, 1) + np.roll(alpha, -1, 0)
    ) / 4
    assert verdict(frame) == {}


def test_colour_of_one_value_is_doubted(frame: Frame):
    frame.passes["rgb"][..., :3] = 128
    assert verdict(frame) == {"rgb_not_uniform": "doubt"}


def test_what_bounds_do_not_hold_is_no_contradiction_where_they_are_not_exact(frame: Frame):
    bounds = LOPSIDED.bounds
    small = Bounds(
        tuple(0.8 * x for x in bounds.box_min), tuple(0.8 * x for x in bounds.box_max),
        bounds.center, 0.8 * bounds.radius,
    )  # fmt: skip
    u, v = (frame.object_box[0] + frame.object_box[2]) / 2, frame.object_box[1]
    frame.object_box = (u - 3, v, u + 3, frame.object_box[3])
    names = ("depth_in_bounding_sphere", "depth_in_bounding_box", "mask_in_projected_box")
    for exact, status in ((True, "failed"), (False, "doubt")):
        checks = check_frame(frame, dataclasses.replace(small, exact=exact))
        found = outcome(checks)
        assert {name: found[name] for name in names} == dict.fromkeys(names, status)


def test_a_check_says_the_number_it_rests_on(frame: Frame):
    rows, columns = np.nonzero(frame.passes["mask"])
    frame.passes["mask"][rows[:3], columns[:3]] = 0
    values = {check.name: check.value for check in check_frame(frame, LOPSIDED.bounds)}
    assert values["mask_equals_depth"] == 3
    assert values["mask_not_empty"] == len(rows) - 3
    assert values["unit_normals"] == pytest.approx(1)


def test_what_moves_between_times_is_no_contradiction():
    frame, later = frame_of(LOPSIDED, camera_at(30)), frame_of(LOPSIDED, camera_at(60))
    # Somewhere else altogether.
    for name, data in later.passes.items():
        later.passes[name] = np.roll(data, 60, axis=1)
    found = {check.name: check.status for check in check_frame(frame, LOPSIDED.bounds, [later])}
    assert found["reprojection"] == "failed"
    later.time = 2
    names = [check.name for check in check_frame(frame, LOPSIDED.bounds, [later])]
    assert "reprojection" not in names


# --- Materials ------------------------------------------------------------------------------


def test_material_passes_are_shares_that_the_materials_say():
    frame = frame_of(Sphere(), camera_at())
    values = np.unique(frame.passes["albedo"][frame.passes["mask"] == 1], axis=0)
    frame.constants, frame.unwritten = {"albedo": values}, 0.0
    assert outcome(check_frame(frame, Sphere().bounds)) == {}
    frame.unwritten = 0.25
    assert outcome(check_frame(frame, Sphere().bounds)) == {"materials_written": "doubt"}
    frame.unwritten, rows = None, np.nonzero(frame.passes["mask"])[0]
    frame.passes["albedo"][: rows[len(rows) // 20]] *= 0.5
    assert outcome(check_frame(frame, Sphere().bounds)) == {"materials_as_said": "doubt"}
    frame.passes["albedo"] *= 0.5
    assert outcome(check_frame(frame, Sphere().bounds)) == {"materials_as_said": "failed"}
    frame.constants = {}
    frame.passes["roughness_metallic"][frame.passes["mask"] == 1] += 1.0
    assert outcome(check_frame(frame, Sphere().bounds)) == {"values_in_limits": "failed"}


def test_what_is_there_from_one_side_only_is_no_contradiction_between_views():
    frame = frame_of(Sphere(), camera_at())
    speck = frame_of(Sphere((0.9, 0.0, 0.0), 0.1), camera_at(azimuth=75))
    assert outcome(check_frame(frame, Sphere().bounds, [speck])) == {"reprojection": "failed"}
    frame.view_dependent = True
    assert outcome(check_frame(frame, Sphere().bounds, [speck])) == {"reprojection": "doubt"}
