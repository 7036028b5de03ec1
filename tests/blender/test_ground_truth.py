"""Rendered geometry against ray casts and closed formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.frame import Frame

from . import scenes

GEOMETRY = ["depth", "normal", "mask", "position", "distance"]
BOX = (np.array([-0.7, -0.4, -0.5]), np.array([0.5, 0.6, 0.3]))
PLACED = scenes.moved(0.4, -0.3, 0.2) @ scenes.rotation(25, -35, 50)
QUAD = (np.array([-2.0, -1.5, 0.8]), np.array([3.6, 0.5, -0.7]), np.array([-0.3, 3.1, -0.9]))
BALL = (np.array([0.3, -0.2, 0.15]), 0.9)

POSES = [
    scenes.look_at((4.0, 2.5, 2.2), (0.1, 0.0, 0.1)),
    scenes.look_at((-3.1, 3.6, -3.4), (0.0, 0.1, 0.0), roll=33),
    scenes.look_at((0.2, -0.1, 5.0), (0.3, 0.0, 0.0), roll=-120),
]
LENSES = {
    "square": scenes.lens(48, (256, 256)),
    "landscape": scenes.lens(62, (256, 144)),
    "portrait": scenes.lens(40, (144, 256)),
    "shifted": scenes.lens(50, (240, 200), cx=90.5, cy=131.25),
    "wide-pixels": {**scenes.lens(50, (160, 240)), "fl_y": 257.0},
    "tall-pixels": {**scenes.lens(50, (240, 160)), "fl_y": 170.0, "cx": 130.0, "cy": 61.0},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ground-truth")


@pytest.fixture(scope="module")
def box(folder: Path) -> Path:
    path = folder / "box.blend"
    with scenes.new_blend(path):
        corners = np.array([[BOX[i][0], BOX[j][1], BOX[k][2]]
                            for i in (0, 1) for j in (0, 1) for k in (0, 1)])  # fmt: skip
        scenes.add_mesh(corners, scenes.CUBE_FACES, matrix=PLACED)
    return path


@pytest.fixture(scope="module")
def ball(folder: Path) -> Path:
    path = folder / "ball.blend"
    with scenes.new_blend(path):
        scenes.add_sphere(BALL[1], BALL[0], segments=512)
    return path


@pytest.fixture(scope="module")
def quad(folder: Path) -> Path:
    path = folder / "quad.blend"
    corner, u, v = QUAD
    with scenes.new_blend(path):
        scenes.add_mesh([corner, corner + u, corner + u + v, corner + v], [(0, 1, 2, 3)])
    return path


def shoot(path: Path, folder: Path, name: str, **values: Any) -> list[Frame]:
    suffix = ".toml" if name in ("shifted", "portrait") else ".json"
    cameras = scenes.camera_file(folder / f"{name}{suffix}", POSES, LENSES[name])
    fixed = {"asset.normalize": "none", "pixels.passes": GEOMETRY}
    frames = scenes.shoot(path, {**cameras, **fixed, **values})
    assert len(frames) == len(POSES)
    return frames


def expected(kind: str, frame: Frame) -> tuple[Any, Any]:
    if kind == "box":
        return scenes.cast_box(frame.camera, *BOX, PLACED)
    if kind == "ball":
        return scenes.cast_sphere(frame.camera, *BALL)
    return scenes.cast_quad(frame.camera, *QUAD)


@pytest.mark.core
@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize("kind", ["box", "ball", "quad"])
def test_depth_normals_and_mask_equal_a_ray_cast_at_the_pixel_centres(
    kind: str, name: str, folder: Path, request: pytest.FixtureRequest
) -> None:
    for frame in shoot(request.getfixturevalue(kind), folder, name):
        depth, normal = expected(kind, frame)
        hit = np.isfinite(depth)
        mask = frame.passes["mask"] == 1
        assert hit.sum() > 1000
        edge = ~scenes.interior(hit) & ~scenes.interior(~hit)
        assert not (mask != hit)[~edge].any()
        # The one sample is at the very centre, so that even on the edge only rounding decides;
        # the ball's own outline lies inside the perfect sphere's by 2e-5 of its radius.
        assert (mask != hit).sum() <= 3
        assert np.array_equal(mask, frame.passes["depth"] > 0)

        rays = frame.camera.rays() @ frame.camera.camera_to_world[:3, :3].T
        facing = -(rays * normal).sum(axis=-1) / np.linalg.norm(rays, axis=-1)
        smooth = scenes.interior(mask & hit, 2) & (facing > 0.35)
        if kind == "box":
            # Away from the edges between two faces too.
            for axis in range(3):
                smooth &= np.abs(np.gradient(normal[..., axis], axis=0)) < 1e-9
                smooth &= np.abs(np.gradient(normal[..., axis], axis=1)) < 1e-9
        assert smooth.sum() > 500
        error = np.abs(frame.passes["depth"] - depth)[smooth] / depth[smooth]
        # Flat faces are exact but for 32-bit rounding; the ball is a polyhedron of 512 segments.
        assert np.quantile(error, 0.999) < (1e-4 if kind == "ball" else 2e-6)

        seen = frame.passes["normal"].astype(np.float64) @ frame.camera.camera_to_world[:3, :3].T
        off = scenes.angles(seen, normal)[smooth]
        assert np.quantile(off, 0.999) < (0.1 if kind == "ball" else 1e-3)
        assert scenes.failed_checks(frame) == []


@pytest.mark.core
@pytest.mark.parametrize("kind", ["box", "ball"])
def test_positions_project_back_onto_their_own_pixel(
    kind: str, folder: Path, request: pytest.FixtureRequest
) -> None:
    for frame in shoot(request.getfixturevalue(kind), folder, "square"):
        mask = frame.passes["mask"] == 1
        uv, depth = frame.camera.project(frame.passes["position"][mask])
        rows, columns = np.nonzero(mask)
        offset = uv - np.stack([columns + 0.5, rows + 0.5], axis=1)
        distance = np.linalg.norm(offset, axis=1)
        # Measured: 2e-5 on average, 5e-4 at worst; Cycles puts a lone sample at the centre.
        assert distance.mean() < 1e-4
        assert distance.max() < 2e-3
        assert np.abs(depth - frame.passes["depth"][mask]).max() < 1e-5 * depth.max()


@pytest.mark.core
def test_small_things_are_seen_where_the_written_camera_projects_them(folder: Path) -> None:
    centers = np.array(
        [(0.9, 0.1, 0.2), (-0.8, 0.3, -0.4), (0.1, -0.9, 0.7), (-0.3, 0.8, 0.6), (0.2, 0.1, -0.9)]
    )
    path = folder / "points.blend"
    with scenes.new_blend(path):
        for index, center in enumerate(centers):
            scenes.add_sphere(0.06, center, segments=48, name=f"Point {index}")
    cameras = scenes.camera_file(folder / "points.json", POSES, LENSES["shifted"])
    job = scenes.make_job(
        {**cameras, "asset.normalize": "none", "pixels.passes": ["object_index", "mask"]}
    )
    scene = scenes.open_scene(path, job)
    number = {name: index for index, name in scene.asset.object_names.items()}
    for frame in scenes.frames_of(scene):
        depths = np.stack([scenes.cast_sphere(frame.camera, center, 0.06)[0] for center in centers])
        nearest = np.where(np.isnan(depths), np.inf, depths).argmin(axis=0)
        uv, _ = frame.camera.project(centers)
        compared = 0
        for index, (u, v) in enumerate(uv):
            whole = np.isfinite(depths[index])
            seen = frame.passes["object_index"] == number[f"Point {index}"]
            visible = whole & (nearest == index)
            assert (seen != visible).sum() <= 0.06 * visible.sum()
            if visible.sum() < whole.sum() or not (8 < u < 232 and 8 < v < 192):
                continue
            # The outline of a sphere is an ellipse whose centre is a little farther out.
            rows, columns = np.nonzero(seen)
            assert abs(columns.mean() + 0.5 - u) < 0.25
            assert abs(rows.mean() + 0.5 - v) < 0.25
            compared += 1
        assert compared >= 3


@pytest.mark.core
def test_depth_is_planar_and_distance_runs_along_the_ray(folder: Path) -> None:
    path = folder / "wall.blend"
    with scenes.new_blend(path):
        wall = [(-30, -30, 0), (30, -30, 0), (30, 30, 0), (-30, 30, 0)]
        scenes.add_mesh(wall, [(0, 1, 2, 3)])
    # The second view is there because pictures that all cut the object off are refused.
    poses = [scenes.look_at((0, 0, 2)), scenes.look_at((0, 0, 80))]
    cameras = scenes.camera_file(folder / "wall.json", poses, scenes.lens(120, (128, 96)))
    frame, _ = scenes.shoot(
        path, {**cameras, "asset.normalize": "none", "pixels.passes": GEOMETRY}
    )
    assert frame.passes["mask"].all()
    depth, distance = frame.passes["depth"], frame.passes["distance"]
    assert np.abs(depth - 2).max() < 2e-5
    length = np.linalg.norm(frame.camera.rays(), axis=-1)
    assert length.max() > 2.1
    assert np.abs(distance - 2 * length).max() < 5e-5
    # By the position pass, which Blender computed without knowing of our rays.
    offset = frame.passes["position"] - frame.camera.camera_to_world[:3, 3]
    assert np.abs(np.linalg.norm(offset, axis=-1) / distance - 1).max() < 1e-4
    assert np.allclose(frame.passes["normal"], (0, 0, 1), atol=1e-6)


@pytest.mark.core
def test_camera_and_world_normals_are_the_same_vectors_in_other_axes(
    box: Path, folder: Path
) -> None:
    in_camera = shoot(box, folder, "square")
    in_world = shoot(box, folder, "square", **{"pixels.normal_space": "world"})
    for first, second in zip(in_camera, in_world, strict=True):
        rotation = first.camera.camera_to_world[:3, :3]
        assert np.allclose(
            first.passes["normal"] @ rotation.T, second.passes["normal"], atol=2e-6
        )
        assert first.spec("normal").space == "camera"
        assert second.spec("normal").space == "world"
        depth, normal = scenes.cast_box(second.camera, *BOX, PLACED)
        inside = scenes.interior(np.isfinite(depth)) & (second.passes["mask"] == 1)
        assert np.median(scenes.angles(second.passes["normal"], normal)[inside]) < 0.01
        facing = first.passes["normal"][first.passes["mask"] == 1]
        # +Z is towards the camera; a plane seen from the front has +Z to within the field of view.
        assert (facing[:, 2] > -0.5).all()
        assert facing[:, 2].mean() > 0.3


@pytest.mark.core
def test_cameras_come_back_from_blender_as_they_were_asked_for(box: Path, folder: Path) -> None:
    for name, intrinsics in LENSES.items():
        for frame, pose in zip(shoot(box, folder, name), POSES, strict=True):
            wanted = np.array(
                [
                    [intrinsics["fl_x"], 0, intrinsics["cx"]],
                    [0, intrinsics["fl_y"], intrinsics["cy"]],
                    [0, 0, 1],
                ]
            )
            assert np.abs(frame.camera.intrinsics - wanted).max() < 1e-3
            assert np.abs(frame.camera.camera_to_world - pose).max() < 1e-5


def test_a_camera_close_to_a_huge_wall_and_one_far_away_keep_their_precision(
    folder: Path,
) -> None:
    path = folder / "cube.blend"
    with scenes.new_blend(path):
        scenes.add_cube(2.0)
    for distance in (1.05, 60.0):
        fov = 90 if distance < 2 else 2.5
        cameras = scenes.camera_file(
            folder / "near.json",
            [scenes.look_at((0.1, -distance, 0.05), (0.1, 0, 0.05)), scenes.look_at((0, -99, 0))],
            scenes.lens(fov, (96, 96)),
        )
        frame, _ = scenes.shoot(
            path, {**cameras, "asset.normalize": "none", "pixels.passes": GEOMETRY}
        )
        depth, _ = scenes.cast_box(frame.camera, [-1] * 3, [1] * 3)
        inside = scenes.interior(np.isfinite(depth))
        assert np.abs(frame.passes["depth"] / depth - 1)[inside].max() < 1e-5
