"""A watertight mesh around the surface, and signed distances to it.

The library is ``point-cloud-utils`` (extra ``geometry``): Huang, Su and Guibas, "Robust watertight
manifold surface generation method for ShapeNet models", 2018, and signs by the winding number of
Barill et al., "Fast winding numbers for soups and clouds", 2018.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras import draw
from ..errors import FormatCannotHold, MissingDependency
from . import ply
from .mesh import Mesh
from .points import SurfacePoints

__all__ = ["SKIN", "DistanceField", "measure", "need_library"]

Array = npt.NDArray[Any]

_RESOLUTION: Final = 20_000
"""Leaves of the octree from which the library builds its surface; more change nothing."""
SKIN: Final = 5e-4
"""Distance of the watertight mesh from the surface, as a share of the object's longest edge: a
sheet without thickness becomes twice as thick."""
_NEAR: Final = (0.005, 0.025)
"""Standard deviations of the samples near the surface, as shares of the longest edge."""
_CORNERS: Final = 100_000
_MARGIN: Final = 1.1
"""How much larger than the object's box the box of the even samples is."""


@dataclass(frozen=True, slots=True)
class DistanceField:
    """Signed distances at points of space.

    Attributes:
        vertices: (N, 3) float32 of the watertight mesh, normalised world.
        faces: (M, 3) int32 of it, counter-clockwise from outside.
        points: (K, 3) float32, half of them around the surface, half all over the box.
        distances: (K,) float32, to the watertight mesh; negative inside.
        near: (K,) bool, whether a sample is one of those around the surface.
        mean_error: Mean distance of the rendered surface from the watertight mesh.
        largest_error: The largest.
    """

    vertices: Array
    faces: Array
    points: Array
    distances: Array
    near: Array
    mean_error: float
    largest_error: float

    def samples_ply(self, comments: list[str]) -> bytes:
        """``x y z sdf near``."""
        table = dict(zip("xyz", self.points.T, strict=True))
        more = {"sdf": self.distances, "near": self.near.astype(np.uint8)}
        return ply.write(table | more, comments)

    def mesh_ply(self, comments: list[str]) -> bytes:
        """``x y z`` and triangles."""
        return ply.write(dict(zip("xyz", self.vertices.T, strict=True)), comments, self.faces)


def need_library() -> None:
    """See that the library is there.

    Raises:
        MissingDependency: It is not.
    """
    if importlib.util.find_spec("point_cloud_utils") is None:
        raise MissingDependency(
            "Signed distances (--geometry-files sdf) need point-cloud-utils in the Python that "
            "renders.",
            hint='Run: python -m pip install "objaverse-render-addon[bpy,geometry]", and render '
            "with that Python's Blender; or leave sdf away.",
        )


def measure(
    mesh: Mesh, surface: SurfacePoints, longest: float, count: int, seed: int, asset_id: str
) -> DistanceField:
    """Make the mesh watertight and take ``count`` samples around it.

    Args:
        surface: Points on the mesh.
        longest: Edge of the object's box.

    Raises:
        MissingDependency: The library is not installed.
        FormatCannotHold: It made no watertight mesh of it.
    """
    need_library()
    import point_cloud_utils as pcu

    around = _rows(mesh.vertices)
    triangles = np.ascontiguousarray(mesh.faces[mesh.areas > 0], dtype=np.int32)
    vertices, faces = pcu.make_mesh_watertight(around, triangles, _RESOLUTION)
    if not len(faces):
        raise FormatCannotHold(
            f"{asset_id}: no watertight mesh could be made of its surface.",
            hint="Leave sdf out of --geometry-files.",
        )
    # The library stays half a cell of its octree away from the surface; the skin is thinner.
    _, face, weights = pcu.closest_points_on_mesh(_rows(vertices), around, triangles)
    closest = np.einsum("ij,ijk->ik", weights, around[triangles[face]])
    away = vertices - closest
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-12)
    shell = (closest + away * SKIN * longest).astype(np.float32)
    faces = np.ascontiguousarray(faces, dtype=np.int32)
    even = count - count // 2
    picked = np.arange(count // 2) % len(surface)
    spread = _NEAR[0], _NEAR[1]
    sigma = np.where(np.arange(len(picked)) % 2 == 0, spread[0], spread[1])[:, None] * longest
    noise = _gaussian(draw(seed, asset_id, "sdf-near", 0, 6 * len(picked)).reshape(2, -1, 3))
    low, high = around.min(axis=0), around.max(axis=0)
    box = _MARGIN * max(longest, float((high - low).max()))
    cube = (draw(seed, asset_id, "sdf-even", 0, 3 * even).reshape(-1, 3) - 0.5) * box
    points = np.concatenate(
        [surface.points[picked] + noise * sigma, cube + (low + high) / 2]
    ).astype(np.float32)
    exact = _rows(shell)
    # Its signed distances are up to 0.5 % off; those to the closest points are exact.
    distances, _, _ = pcu.closest_points_on_mesh(_rows(points), exact, faces)
    winding = pcu.triangle_soup_fast_winding_number(exact, faces, _rows(points))
    distances = np.where(winding > 0.5, -distances, distances)
    errors, _, _ = pcu.closest_points_on_mesh(_rows(surface.points), exact, faces)
    # At corners it is the largest.
    corners = mesh.vertices[np.unique(triangles)]
    corners = corners[:: len(corners) // _CORNERS + 1]
    worst, _, _ = pcu.closest_points_on_mesh(_rows(corners), exact, faces)
    near = np.arange(count) < len(picked)
    return DistanceField(
        shell, faces, points, distances.astype(np.float32), near,
        float(np.mean(errors)), float(max(np.max(errors), np.max(worst))),
    )  # fmt: skip


def _rows(points: Array) -> Array:
    """Row by row in memory, as the library takes them all or none."""
    return np.ascontiguousarray(points, dtype=np.float64)


def _gaussian(uniform: Array) -> Array:
    """(N, 3) of the normal distribution, from (2, N, 3) uniform numbers (Box and Muller)."""
    radius = np.sqrt(-2 * np.log1p(-uniform[0]))
    return np.asarray(radius * np.cos(2 * np.pi * uniform[1]))
