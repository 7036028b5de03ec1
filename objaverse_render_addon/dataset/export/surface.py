"""Points on a scene's surface, for formats that start from a point cloud."""

from __future__ import annotations

from collections.abc import Iterator

from ..point_cloud import DEFAULT_COUNT, PointCloud, Sighting, sample
from .scene import Scene

__all__ = ["GEOMETRY", "shows_surface", "surface_of"]

GEOMETRY = ("depth", "position", "distance")
"""Passes that a point cloud is made of, whichever are stored."""


def shows_surface(scene: Scene) -> bool:
    """Whether what is stored says where the surface is."""
    return scene.has("depth") or scene.has("distance") or (
        scene.has("position") and scene.has("mask")
    )


def surface_of(scene: Scene, count: int = DEFAULT_COUNT) -> PointCloud:
    """Surface points in exported units, drawn with the options' seed.

    A view's number in the cloud is its place in the scene. The cloud is empty where nothing is
    stored that says where the surface is, or where no view shows it; both are told.

    Args:
        count: At most so many.
    """
    if not shows_surface(scene):
        scene.note("dropped", "no depth is stored, so the point cloud is empty")
        return PointCloud.joined([])
    if len(scene.times) > 1:
        scene.note("differs", "the point cloud is the surface at the first frame")
    cloud = sample(_sightings(scene), count=count, seed=scene.options.seed)
    if not len(cloud):
        scene.note("dropped", "no view shows the object, so the point cloud is empty")
    return cloud


def _sightings(scene: Scene) -> Iterator[Sighting]:
    for view in range(len(scene)):
        if scene.times and scene.keys[view].time != scene.times[0]:
            continue
        passes = {"mask": scene.mask(view).astype("u1")}
        if scene.has("depth"):
            passes["depth"] = scene.depth(view)
        if scene.has("position"):
            passes["position"] = scene.position(view)
        elif scene.has("distance"):
            passes["distance"] = scene.array(view, "distance") * scene.scale
        if scene.has("normal"):
            passes["normal"] = scene.world_normal(view)
        if scene.has("rgb"):
            passes["rgb"] = scene.picture(view)
        yield Sighting(view, scene.camera(view), passes, "world")
