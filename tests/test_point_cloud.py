from __future__ import annotations

import io

import numpy as np
import pytest
from analytic import LOPSIDED, Box, Sphere, camera_at, frame_of

from objaverse_render_addon.dataset.point_cloud import PointCloud, Sighting, sample, write_ply
from objaverse_render_addon.errors import InvalidJob, MissingPass
from objaverse_render_addon.frame import Frame

BALL = Sphere(center=(0.2, -0.1, 0.3), radius=0.7)


def frames(shape=LOPSIDED, views: int = 6, **lens) -> list[Frame]:
    return [
        frame_of(shape, camera_at(azimuth=360 * i / views, elevation=25 - 10 * i, **lens))
        for i in range(views)
    ]


def sightings(found: list[Frame], *keep: str) -> list[Sighting]:
    return [
        Sighting(
            index,
            frame.camera,
            {name: data for name, data in frame.passes.items() if not keep or name in keep},
            frame.normal_space,
        )
        for index, frame in enumerate(found)
    ]


def off_sphere(points: np.ndarray) -> np.ndarray:
    away = np.linalg.norm(points.astype(np.float64) - np.array(BALL.center), axis=1)
    return np.abs(away - BALL.radius)


@pytest.mark.parametrize("source", ["depth", "distance", "position"])
def test_points_lie_on_the_surface_and_normals_stand_on_it(source: str):
    cloud = sample(sightings(frames(BALL), source, "mask", "normal"), count=2000)
    assert len(cloud) == 2000
    assert off_sphere(cloud.points).max() < 2e-6
    outward = (cloud.points - np.array(BALL.center)) / BALL.radius
    assert np.abs(cloud.normals - outward).max() < 1e-5
    assert (cloud.colors == 128).all()


def test_a_shifted_lens_with_oblong_pixels_changes_nothing():
    views = frames(BALL, shift=(0.1, -0.05), pixel_aspect=1.5, size=(90, 70))
    cloud = sample(sightings(views, "depth"), count=500)
    assert off_sphere(cloud.points).max() < 2e-6


def test_a_point_has_the_colour_of_the_pixel_that_saw_it_and_projects_to_its_centre():
    views = frames()
    cloud = sample(sightings(views), count=1500)
    for index, frame in enumerate(views):
        mine = cloud.take(np.flatnonzero(cloud.views == index))
        columns, rows = mine.pixels.T
        assert len(mine) > 50
        assert (frame.passes["mask"][rows, columns] == 1).all()
        assert (frame.passes["rgb"][rows, columns, :3] == mine.colors).all()
        uv, _ = frame.camera.project(mine.points)
        assert np.abs(uv - (mine.pixels + 0.5)).max() < 1e-4


def test_the_seed_decides_and_the_order_of_views_does_not_matter():
    views = sightings(frames())
    first, again = sample(views, count=300, seed=3), sample(views, count=300, seed=3)
    turned, other = sample(views[::-1], count=300, seed=3), sample(views, count=300, seed=4)
    assert (first.points == again.points).all()
    assert (first.points == turned.points).all()
    assert not (first.points == other.points).all()


def test_fewer_points_are_the_first_of_more():
    views = sightings(frames())
    assert (sample(views, count=1000).points[:100] == sample(views, count=100).points).all()


def test_without_a_bound_every_pixel_of_the_object_is_a_point():
    views = frames()
    cloud = sample(sightings(views, "depth", "mask"), count=None)
    assert len(cloud) == sum(int(frame.passes["mask"].sum()) for frame in views)


def test_a_voxel_holds_one_point_at_most():
    cloud = sample(sightings(frames()), count=None, voxel=0.1)
    cells = np.floor(cloud.points.astype(np.float64) / 0.1)
    assert len(np.unique(cells, axis=0)) == len(cloud) > 300
    bounded = sample(sightings(frames()), count=50, voxel=0.1)
    assert (bounded.points == cloud.points[:50]).all()


def turned(frame: Frame) -> np.ndarray:
    """What brings a frame's normals to the world, from the right."""
    if frame.normal_space == "world":
        return np.eye(3)
    return frame.camera.camera_to_world[:3, :3].T


def test_density_follows_the_surface_and_not_the_distance():
    # The same box from near and from far: as many points from either.
    shape = Box((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5))
    views = [frame_of(shape, camera_at(40, 30, radius)) for radius in (3.0, 6.0)]
    near, far = (int(frame.passes["mask"].sum()) for frame in views)
    assert near > 3.5 * far
    drawn = np.bincount(sample(sightings(views), count=100).views)
    assert drawn.min() > 30
    # And of its faces, each its own share: of the pixels, one has a tenth and one three quarters.
    oblique = frame_of(shape, camera_at(75, 20, size=(300, 300)))
    rows, columns = np.nonzero(oblique.passes["mask"])
    seen = np.abs(oblique.passes["normal"][rows, columns] @ turned(oblique)).round().mean(axis=0)
    assert seen.min() < 0.1 and seen.max() > 0.7
    cloud = sample(sightings([oblique]), count=900)
    shares = np.abs(cloud.normals).round().mean(axis=0)
    assert np.abs(shares - 1 / 3).max() < 0.04


def test_a_background_is_not_taken_for_the_object():
    frame = frames(BALL, 1)[0]
    rgb = frame.passes["rgb"].copy()
    edge = rgb[..., 3] == 255
    edge[1:-1, 1:-1] &= ~(edge[:-2, 1:-1] & edge[2:, 1:-1] & edge[1:-1, :-2] & edge[1:-1, 2:])
    rgb[edge] = 255
    frame.passes["rgb"] = np.ascontiguousarray(rgb[..., :3])
    assert not (sample(sightings([frame]), count=None).colors == 255).all(axis=1).any()
    frame.passes["rgb"] = np.concatenate([rgb[..., :3], np.zeros_like(rgb[..., 3:])], axis=2)
    assert len(sample(sightings([frame]), count=None)) == 0


def test_views_that_show_nothing_add_nothing():
    views = frames(BALL, 2)
    away = frame_of(BALL, camera_at(radius=-4.0))
    assert not away.passes["mask"].any()
    some = sample(sightings([*views, away]), count=200)
    assert set(some.views.tolist()) == {0, 1}
    assert len(sample(sightings([away]))) == 0


def test_one_pixel_is_enough():
    frame = frames(BALL, 1)[0]
    rows, columns = np.nonzero(frame.passes["mask"])
    only = np.zeros_like(frame.passes["mask"])
    only[rows[9], columns[9]] = 1
    frame.passes["mask"] = only
    frame.passes["rgb"] = np.ascontiguousarray(frame.passes["rgb"][..., :3])
    cloud = sample(sightings([frame]))
    assert cloud.pixels.tolist() == [[columns[9], rows[9]]]


def test_what_cannot_be_sampled_is_named():
    views = sightings(frames(BALL, 1))
    with pytest.raises(MissingPass, match="no depth"):
        sample(sightings(frames(BALL, 1), "mask", "rgb"))
    for count in (0, -5):
        with pytest.raises(InvalidJob, match="points"):
            sample(views, count=count)
    for voxel in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidJob, match="voxel"):
            sample(views, voxel=voxel)
    with pytest.raises(InvalidJob, match="too small"):
        sample(views, voxel=1e-12)


def test_the_file_has_the_columns_that_gaussian_splatting_reads():
    plyfile = pytest.importorskip("plyfile", reason="plyfile is not installed")
    cloud = sample(sightings(frames()), count=321)
    vertices = plyfile.PlyData.read(io.BytesIO(write_ply(cloud)))["vertex"]
    assert len(vertices) == 321
    for index, name in enumerate("xyz"):
        assert (vertices[name] == cloud.points[:, index]).all()
        assert (vertices[f"n{name}"] == cloud.normals[:, index]).all()
    for index, name in enumerate(("red", "green", "blue")):
        assert vertices[name].dtype == np.uint8
        assert (vertices[name] == cloud.colors[:, index]).all()


def test_an_empty_cloud_is_a_file_too():
    assert b"element vertex 0" in write_ply(PointCloud.joined([]))
