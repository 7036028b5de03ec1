"""The rig that the viewport draws is the rig that will be rendered, and clicks find it."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest

from objaverse_render_addon.cameras import Camera, View, sample_views
from objaverse_render_addon.job import RenderJob
from objaverse_render_addon.ui.viewport.overlay_geometry import (
    ALARM,
    BOX,
    CALM,
    CURRENT,
    DEPTH,
    DOUBT,
    RigLines,
    frustum_corners,
    is_cropped,
    number_places,
    pick,
    picture_planes,
    plane_names,
    rig_lines,
)

CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
# Of one frustum: four sides, the picture, the roof that says which way is up.
FRUSTUM_SEGMENTS = 4 + 4 + 2


def views_of(count: int = 4, **values: object) -> list[View]:
    fields = {
        "cameras.pattern": "fibonacci",
        "cameras.views": count,
        "cameras.framing": "allow",
        "pixels.resolution": [320, 200],
        **{f"cameras.{name}": value for name, value in values.items()},
    }
    return sample_views(RenderJob().with_values(fields), "asset")


def segments(lines: RigLines, color: tuple[float, ...]) -> np.ndarray:
    """(M, 2, 3): the segments of one colour."""
    chosen = (lines.colors == np.array(color, dtype=np.float32)).all(axis=1)
    return lines.positions[chosen].reshape(-1, 2, 3).astype(np.float64)


def viewer(camera: Camera) -> np.ndarray:
    """(4, 4) world to clip space of a viewport that looks as ``camera`` does."""
    (fx, _, _), (_, fy, _), _ = camera.intrinsics
    near, far = 0.01, 100.0
    projection = np.array(
        [
            [2 * fx / camera.width, 0, 0, 0],
            [0, 2 * fy / camera.height, 0, 0],
            [0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)],
            [0, 0, -1, 0],
        ]
    )
    return projection @ camera.world_to_camera


def flat_viewer(camera: Camera, half_width: float) -> np.ndarray:
    """The same without perspective."""
    half_height = half_width * camera.height / camera.width
    return np.diag([1 / half_width, 1 / half_height, -0.01, 1.0]) @ camera.world_to_camera


def look_at(eye: tuple[float, float, float], size: tuple[int, int] = (800, 600)) -> Camera:
    back = np.array(eye) / np.linalg.norm(eye)
    right = np.cross((0.0, 0.0, 1.0), back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
    pose[:3, 3] = eye
    k = np.array([[600.0, 0, size[0] / 2], [0, 600.0, size[1] / 2], [0, 0, 1]])
    return Camera(*size, k, pose)


def on_screen(camera: Camera, point: np.ndarray) -> tuple[float, float]:
    """Where the viewport shows a point: pixels from its lower left corner."""
    (u, v), = camera.project(point[None])[0]
    return float(u), camera.height - float(v)


# --- Frusta ---------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [0.25, 3.0])
@pytest.mark.parametrize("values", [{}, {"pixel_aspect": 1.6, "shift": [0.2, -0.1]}])
def test_a_frustums_corners_are_the_pictures_corners(values: dict, depth: float):
    for view in views_of(5, **values):
        camera = view.camera
        pixels, depths = camera.project(frustum_corners(camera, depth))
        wanted = [[0, 0], [camera.width, 0], [camera.width, camera.height], [0, camera.height]]
        np.testing.assert_allclose(pixels, wanted, atol=1e-9)
        np.testing.assert_allclose(depths, depth)


def test_a_frustum_has_its_cameras_field_of_view_and_aspect():
    view = views_of(1, fov=[40, 40])[0]
    corners = frustum_corners(view.camera, 1.0)
    width, height = np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[3] - corners[0])
    assert math.degrees(2 * math.atan(height / 2)) == pytest.approx(40)
    assert width / height == pytest.approx(320 / 200)


def test_every_drawn_line_lies_where_its_camera_says():
    views = views_of(3)
    lines = rig_lines(views, half_extent=0, current=-1, size=0.5)
    drawn = segments(lines, CALM)
    for index, view in enumerate(views):
        mine = drawn[index * FRUSTUM_SEGMENTS :][:FRUSTUM_SEGMENTS]
        eye = view.camera.camera_to_world[:3, 3]
        assert np.abs(mine[:4, 0] - eye).max() < 1e-5
        corners = frustum_corners(view.camera, 0.5)
        assert np.abs(mine[:4, 1] - corners).max() < 1e-5
        assert np.abs(mine[4:8, 0] - corners).max() < 1e-5
        # The roof is above the picture.
        above, _ = view.camera.project(mine[8:].reshape(-1, 3))
        assert (above[:, 1] < 0).all()


def test_numbers_stand_on_the_pictures_upper_edges_where_there_is_room():
    views, window, region = views_of(113), look_at((12, 1, 3)), (800, 600)
    room = (30.0, 16.0)
    found = number_places(views, viewer(window), region, first=[5], room=room, size=0.2)
    assert 20 < len(found) < 113
    assert found[0][0] == 5, "in any case, and before the others"
    for index, x, y in found:
        corners = frustum_corners(views[index].camera, 0.2)
        assert (x, y) == pytest.approx(on_screen(window, corners[:2].mean(axis=0)))
    for (_, x, y), (_, other_x, other_y) in itertools.combinations(found, 2):
        assert abs(x - other_x) > room[0] / 2 or abs(y - other_y) > room[1] / 2
    assert number_places([], viewer(window), region, room=room) == []
    behind = [View(0, look_at((20.0, 0.0, 0.0), (64, 64)))]
    assert number_places(behind, viewer(window), region, first=[0], room=room, size=0.2) == []


def test_a_picture_lies_on_its_frustum_the_right_way_round():
    to_world = np.diag([2.0, 2.0, 2.0, 1.0])
    views = views_of(4)
    planes = picture_planes(views, [1, 3], to_world=to_world, size=0.5)
    assert planes.shape == (2, 6, 3) and planes.dtype == np.float32
    for plane, view in zip(planes / 2, (views[1], views[3]), strict=True):
        corners = frustum_corners(view.camera, 0.5)
        np.testing.assert_allclose(plane[[0, 1, 2, 5]], corners, atol=1e-6)
        np.testing.assert_array_equal(plane[[0, 2]], plane[[3, 4]])


# --- Colours, box, planes -------------------------------------------------------------------


def test_colors_say_which_view_is_current_and_which_crop():
    views = views_of(5)
    lines = rig_lines(views, half_extent=1, cropped=[1, 3], doubtful=[1, 4], current=3)
    first = lines.colors[:: 2 * FRUSTUM_SEGMENTS][:5]
    # The current one is found even where it crops, and its picture's edges say that it does.
    wanted = np.array([CALM, ALARM, CALM, CURRENT, DOUBT], dtype=np.float32)
    np.testing.assert_array_equal(first, wanted)
    assert len(segments(lines, CURRENT)) == FRUSTUM_SEGMENTS - 4
    assert len(segments(lines, ALARM)) == FRUSTUM_SEGMENTS + 4
    calm = rig_lines(views, half_extent=1, current=3)
    assert len(segments(calm, CURRENT)) == FRUSTUM_SEGMENTS


def test_the_box_is_drawn_once_with_twelve_edges():
    box = segments(rig_lines(views_of(2), half_extent=0.5), BOX)
    assert len({tuple(sorted(map(tuple, edge))) for edge in box.tolist()}) == 12
    np.testing.assert_allclose(np.linalg.norm(box[:, 0] - box[:, 1], axis=1), 1.0)
    assert np.abs(box).max() == np.abs(box).min() == 0.5
    assert len(segments(rig_lines(views_of(2), half_extent=0), BOX)) == 0


def test_the_current_view_shows_its_nearest_and_farthest_depth():
    views = views_of(3, radius=[5, 5])
    planes = segments(rig_lines(views, half_extent=1, points=CUBE, current=2), DEPTH)
    assert len(planes) == 8
    camera = views[2].camera
    _, depth = camera.project(CUBE)
    _, drawn = camera.project(planes.reshape(-1, 3))
    np.testing.assert_allclose(drawn[:8], depth.min(), rtol=1e-5)
    np.testing.assert_allclose(drawn[8:], depth.max(), rtol=1e-5)


def test_the_planes_are_named_at_their_upper_left_corners():
    camera, seat = look_at((5, 0, 0)), look_at((9, 4, 3))
    to_world = np.diag([2.0, 2.0, 2.0, 1.0])
    to_world[:3, 3] = 0.5, 0, 0
    names = plane_names(camera, CUBE, viewer(seat), (800, 600), to_world=to_world)
    assert [name for name, _, _ in names] == ["nearest 4", "farthest 6"]
    for (_, x, y), depth in zip(names, (4.0, 6.0), strict=True):
        corner = 2 * frustum_corners(camera, depth)[0] + (0.5, 0, 0)
        np.testing.assert_allclose((x, 600 - y), seat.project(corner[None])[0][0], atol=1e-6)
    # From within the object there is one.
    names = plane_names(look_at((0.5, 0, 0)), CUBE, viewer(seat), (800, 600), to_world=np.eye(4))
    assert [name.split()[0] for name, _, _ in names] == ["farthest"]


def test_no_plane_is_drawn_behind_a_camera():
    inside = views_of(1, radius=[0.5, 0.5])
    planes = segments(rig_lines(inside, half_extent=1, points=CUBE), DEPTH)
    assert len(planes) == 4


def test_a_cropped_view_is_known_from_its_points():
    near, far = views_of(1, radius=[2, 2])[0].camera, views_of(1, radius=[9, 9])[0].camera
    assert is_cropped(near, CUBE)
    assert not is_cropped(far, CUBE)
    assert is_cropped(far, np.array([[0, 0, 0], 2 * far.camera_to_world[:3, 3]])), "behind it"


def test_everything_goes_to_where_the_asset_stands():
    to_world = np.diag([3.0, 3.0, 3.0, 1.0])
    to_world[:3, 3] = (10, 0, -4)
    views = views_of(6)
    here = rig_lines(views, half_extent=1, points=CUBE, cropped=[1])
    there = rig_lines(views, half_extent=1, points=CUBE, cropped=[1], to_world=to_world)
    np.testing.assert_allclose(there.positions, here.positions * 3 + to_world[:3, 3], atol=1e-4)
    np.testing.assert_array_equal(there.colors, here.colors)


# --- Size -----------------------------------------------------------------------------------


def test_it_is_two_arrays_however_many_views_there_are():
    for count in (0, 1, 30):
        lines = rig_lines(views_of(count) if count else [], half_extent=1)
        assert lines.positions.dtype == lines.colors.dtype == np.float32
        assert lines.positions.shape == (len(lines.colors), 3)
        assert lines.colors.shape[1] == 4
        assert len(lines.positions) % 2 == 0
        assert np.isfinite(lines.positions).all()
    assert len(rig_lines([], half_extent=0).positions) == 0


def fastest(work: object) -> float:
    times = []
    for _ in range(7):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def test_a_thousand_views_are_drawn_and_picked_while_a_slider_is_dragged():
    views = views_of(1000)
    placed = fastest(lambda: views_of(1000))
    assert fastest(lambda: rig_lines(views, half_extent=1, points=CUBE)) < 3 * placed
    # Asked at every move of the mouse.
    matrix = viewer(look_at((20, 0, 3)))
    assert fastest(lambda: pick(views, matrix, (800, 600), (400.0, 300.0))) < placed / 2


# --- Picking --------------------------------------------------------------------------------


@pytest.mark.parametrize("eye", [(30, 4, 8), (-3, 25, -6)])
def test_a_click_on_a_view_finds_it(eye: tuple[float, float, float]):
    window = look_at(eye)
    matrix, region = viewer(window), (window.width, window.height)
    views = views_of(12)
    for view in views:
        middle = frustum_corners(view.camera, 0.8).mean(axis=0)
        for part in (middle, view.camera.camera_to_world[:3, 3]):
            found = pick(views, matrix, region, on_screen(window, part), size=0.8, reach=4)
            if found != view.index:
                # Then another one is before it.
                there = views[found].camera.camera_to_world[:3, 3]
                mine = view.camera.camera_to_world[:3, 3]
                assert np.linalg.norm(there - eye) < np.linalg.norm(mine - eye)


def test_a_click_on_a_frustums_side_finds_it():
    window = look_at((30, 0.01, 0))
    view = next(v for v in views_of(12) if abs(v.camera.camera_to_world[0, 3]) < 1.5)
    side = (view.camera.camera_to_world[:3, 3] + frustum_corners(view.camera, 2.0).mean(axis=0)) / 2
    region = (window.width, window.height)
    assert pick([view], viewer(window), region, on_screen(window, side), size=2.0) == view.index


@pytest.mark.parametrize("eye", [(9, 2, 1), (-4, 7, -3), (1, -2, 9)])
def test_a_click_finds_a_frustum_where_it_is_drawn_and_nowhere_else(eye):
    window = look_at(eye)
    view = View(3, look_at((1.0, 0.4, 0.2), (640, 480)))
    tip = view.camera.camera_to_world[None, :3, 3]
    corners = np.concatenate([frustum_corners(view.camera, 1.5), tip])
    outline = np.array([on_screen(window, corner) for corner in corners])
    inside = []
    for mouse in itertools.product(np.arange(3.0, 800, 23), np.arange(5.0, 600, 23)):
        # In their convex hull is what has corners on every side.
        angles = np.sort(np.arctan2(*(outline - np.array(mouse)).T))
        gaps = np.diff([*angles, angles[0] + 2 * np.pi])
        inside.append(bool(gaps.max() < np.pi))
        found = pick([view], viewer(window), (800, 600), mouse, size=1.5, reach=0.0)
        assert (found == 3) == inside[-1], mouse
    assert 5 < sum(inside) < len(inside) / 2


def test_a_click_beside_all_views_finds_none():
    window = look_at((30, 0, 5))
    assert pick(views_of(12), viewer(window), (800, 600), (2.0, 2.0)) is None
    assert pick([], viewer(window), (800, 600), (400.0, 300.0)) is None


@pytest.mark.parametrize("perspective", [True, False])
def test_of_two_views_in_line_the_nearer_one_is_found(perspective: bool):
    window = look_at((30, 0, 0))
    matrix = viewer(window) if perspective else flat_viewer(window, 10.0)
    cameras = [look_at((x, 0.0, 0.0), (64, 64)) for x in (4.0, 9.0, 6.0)]
    views = [View(index + 5, camera) for index, camera in enumerate(cameras)]
    center = (400.0, 300.0)
    assert pick(views, matrix, (800, 600), center, size=1.0) == 6
    assert pick(views[:1] + views[2:], matrix, (800, 600), center, size=1.0) == 7


def test_nothing_is_found_behind_the_viewer():
    window = look_at((5, 0, 0))
    behind = [View(0, look_at((9.0, 0.0, 0.0), (64, 64)))]
    # Through the viewer's own place, too: half of this frustum is behind it.
    around = [View(0, look_at((5.5, 0.0, 0.0), (64, 64)))]
    for views in (behind, around):
        assert pick(views, viewer(window), (800, 600), (400.0, 300.0), size=1.0) is None


def test_a_click_finds_views_where_the_asset_stands():
    to_world = np.diag([0.5, 0.5, 0.5, 1.0])
    to_world[:3, 3] = (0, 3, 1)
    window = look_at((30, 0.1, 2))
    view = views_of(12)[5]
    place = to_world[:3, :3] @ view.camera.camera_to_world[:3, 3] + to_world[:3, 3]
    mouse, region = on_screen(window, place), (800, 600)
    assert pick([view], viewer(window), region, mouse, to_world=to_world) == 5
    assert pick([view], viewer(window), region, mouse) is None


def test_one_of_a_thousand_views_is_found():
    window = look_at((60, 1, 9))
    views = views_of(1000)
    nearest = min(
        views, key=lambda v: float(window.project(v.camera.camera_to_world[None, :3, 3])[1][0])
    )
    mouse = on_screen(window, nearest.camera.camera_to_world[:3, 3])
    assert pick(views, viewer(window), (800, 600), mouse, reach=2) == nearest.index
