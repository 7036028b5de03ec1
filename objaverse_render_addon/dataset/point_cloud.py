"""Points on an asset's surface, sampled from what its views saw.

A pixel of the mask is a measurement: its centre and its depth are one point of the surface, its
colour and its normal belong to that point. Drawing among the pixels of all views makes a point
cloud that is exact (no reconstruction is involved) and holds only what some camera saw.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras import Camera, draw
from ..errors import InvalidJob, MissingPass
from ..frame import mask_of

__all__ = ["DEFAULT_COUNT", "PointCloud", "Sighting", "sample", "write_ply"]

Array = npt.NDArray[Any]

DEFAULT_COUNT: Final = 100_000
"""As many as 3D Gaussian Splatting draws at random where it is given no points."""

_STEEPEST: Final = 0.1
"""Cosine below which a pixel's share of the surface is no longer believed."""

_PLY_TYPE: Final = np.dtype(
    [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")]
    + [(name, "u1") for name in ("red", "green", "blue")]
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one view contributes.

    Attributes:
        view: Its index.
        camera: Where it was taken from.
        passes: Of the view, as :data:`objaverse_render_addon.passspec.PASSES` describes them.
            One of ``position``, ``depth`` and ``distance`` is needed; ``mask``, ``rgb`` and
            ``normal`` are used where they are there.
        normal_space: ``camera`` or ``world``: the axes that ``normal`` is in.
    """

    view: int
    camera: Camera
    passes: dict[str, Array]
    normal_space: str = "camera"


@dataclass(frozen=True, slots=True)
class PointCloud:
    """Points on the surface; the order is fixed by the seed.

    Attributes:
        points: (N, 3) float32, world, scene units.
        normals: (N, 3) float32, world, unit length; 0 where the views have no normals.
        colors: (N, 3) uint8, sRGB, without any background in them; grey (128) where the views
            have no colour.
        views: (N,) int32, index of the view that saw the point.
        pixels: (N, 2) int32, column and row of the pixel there.
    """

    points: npt.NDArray[np.float32]
    normals: npt.NDArray[np.float32]
    colors: npt.NDArray[np.uint8]
    views: npt.NDArray[np.int32]
    pixels: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.points)

    def _columns(self) -> list[Array]:
        return [getattr(self, field.name) for field in fields(self)]

    def take(self, rows: Array) -> PointCloud:
        """Some of the points: those of ``rows``, whole numbers or booleans, (N,)."""
        return PointCloud(*(column[rows] for column in self._columns()))

    @staticmethod
    def joined(clouds: list[PointCloud]) -> PointCloud:
        """All points of several clouds, one cloud after the other."""
        if not clouds:
            return PointCloud(
                np.zeros((0, 3), np.float32),
                np.zeros((0, 3), np.float32),
                np.zeros((0, 3), np.uint8),
                np.zeros(0, np.int32),
                np.zeros((0, 2), np.int32),
            )
        columns = zip(*(cloud._columns() for cloud in clouds), strict=True)
        return PointCloud(*(np.concatenate(column) for column in columns))


def sample(
    sightings: Iterable[Sighting],
    *,
    count: int | None = DEFAULT_COUNT,
    voxel: float | None = None,
    seed: int = 0,
) -> PointCloud:
    """Draw points among the object's pixels, without replacement.

    A pixel's chance is proportional to the area of surface that it covers (its footprint at that
    depth, over the cosine of the angle to the normal), so that the density on the surface follows
    how many views see a place and not how close they are. The draw keeps the smallest of
    exponential variates (Efraimidis and Spirakis, "Weighted random sampling with a reservoir",
    2006); memory is bounded by ``count`` and one view.

    Where colour has no alpha, what was behind the object is mixed into its outline; pixels there
    are left out unless the view has no others.

    Args:
        sightings: One per view.
        count: At most so many points; ``None`` for all.
        voxel: Edge of a cube in scene units, of which there is at most one point each.
        seed: Of the draw.

    Raises:
        InvalidJob: ``count`` or ``voxel`` is not positive, or there are too many voxels.
        MissingPass: A view has no geometry.
    """
    if count is not None and count < 1:
        raise InvalidJob(f"A point cloud of {count} points was asked for.")
    if voxel is not None and not (np.isfinite(voxel) and voxel > 0):
        raise InvalidJob(f"A voxel's edge has to be positive, not {voxel}.")
    clouds, keys = [PointCloud.joined([])], [np.zeros(0)]
    for sighting in sightings:
        seen, weights = _points_of(sighting)
        # A stream of its own per view: views can be left out without changing the others' draw.
        uniform = draw(seed, "", "point-cloud", sighting.view, len(seen))
        clouds.append(seen)
        keys.append(-np.log1p(-uniform) / weights)
        if count is not None or voxel is not None:
            kept, key = _thinned(clouds, keys, count, voxel)
            clouds, keys = [kept], [key]
    return _thinned(clouds, keys, count, voxel)[0]


def _thinned(
    clouds: list[PointCloud], keys: list[Array], count: int | None, voxel: float | None
) -> tuple[PointCloud, Array]:
    """The points of the smallest keys, in their order."""
    cloud, key = PointCloud.joined(clouds), np.concatenate(keys)
    order = np.argsort(key, kind="stable")
    if voxel is not None:
        cells = np.floor(cloud.points[order].astype(np.float64) / voxel)
        _, first = np.unique(_numbered(cells), return_index=True)
        order = order[np.sort(first)]
    order = order[:count]
    return cloud.take(order), key[order]


def _numbered(cells: Array) -> Array:
    """One number per different row of whole numbers (N, 3)."""
    low, high = cells.min(axis=0, initial=0.0), cells.max(axis=0, initial=0.0)
    spans = high - low + 1
    if not spans.prod() < 2**62:
        raise InvalidJob("The voxels are too small for the object: they cannot be counted.")
    x, y, z = (cells - low).astype(np.int64).T
    return np.asarray((x * int(spans[1]) + y) * int(spans[2]) + z)


def _points_of(sighting: Sighting) -> tuple[PointCloud, Array]:
    """A view's surface points, and how much surface each of them stands for."""
    camera, passes = sighting.camera, sighting.passes
    depth = _depth_of(sighting)
    marked = mask_of(passes)
    mask = depth > 0 if marked is None else marked & (depth > 0)
    rgb = passes.get("rgb")
    if rgb is not None and rgb.shape[-1] == 4:
        mask &= rgb[..., 3] > 0
    elif rgb is not None:
        inner = _eroded(mask)
        mask = inner if inner.any() else mask
    rows, columns = np.nonzero(mask)
    pose = camera.camera_to_world
    if "position" in passes:
        points = passes["position"][rows, columns].astype(np.float64)
    else:
        points = camera.unproject(depth, (rows, columns))
    normals = np.zeros((len(rows), 3))
    if "normal" in passes:
        normals = passes["normal"][rows, columns].astype(np.float64)
        if sighting.normal_space == "camera":
            normals = normals @ pose[:3, :3].T
    colors = np.full((len(rows), 3), 128, np.uint8)
    if rgb is not None:
        colors = rgb[rows, columns, :3]
    cloud = PointCloud(
        points.astype(np.float32),
        normals.astype(np.float32),
        colors.astype(np.uint8),
        np.full(len(rows), sighting.view, np.int32),
        np.stack([columns, rows], axis=1).astype(np.int32),
    )
    area = camera.pixel_area(depth[rows, columns], (rows, columns))
    if "normal" in passes:
        slope = np.einsum("ij,ij->i", normals, camera.towards(points))
        area /= np.maximum(slope, _STEEPEST)
    return cloud, area


def _depth_of(sighting: Sighting) -> Array:
    """Planar depth (H, W), from whichever pass has it; 0 where nothing is."""
    camera, passes = sighting.camera, sighting.passes
    if "depth" in passes:
        return passes["depth"]
    if "distance" in passes:
        return np.asarray(passes["distance"] / camera.stretch())
    if "position" in passes and "mask" in passes:
        away = passes["position"].astype(np.float64) - camera.camera_to_world[:3, 3]
        return np.where(passes["mask"] == 1, -away @ camera.camera_to_world[:3, 2], 0.0)
    raise MissingPass(
        f"View {sighting.view} has no depth, so no points of the surface are known.",
        hint="Render with depth in --passes.",
    )


def _eroded(mask: Array) -> Array:
    """Pixels whose eight neighbours are set too."""
    inner = np.zeros_like(mask)
    inner[1:-1, 1:-1] = mask[1:-1, 1:-1]
    for down in (0, 1, 2):
        for along in (0, 1, 2):
            height, width = mask.shape
            inner[1:-1, 1:-1] &= mask[down : height - 2 + down, along : width - 2 + along]
    return inner


def write_ply(cloud: PointCloud) -> bytes:
    """Binary little-endian PLY with the vertex columns that 3D Gaussian Splatting reads.

    ``x y z nx ny nz`` are float32, ``red green blue`` uint8.
    """
    table = np.zeros(len(cloud), _PLY_TYPE)
    columns = np.concatenate([cloud.points, cloud.normals], axis=1)
    for index, name in enumerate(("x", "y", "z", "nx", "ny", "nz")):
        table[name] = columns[:, index]
    for index, name in enumerate(("red", "green", "blue")):
        table[name] = cloud.colors[:, index]
    kinds = {"f": "float", "u": "uchar"}
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(cloud)}",
        *(f"property {kinds[_PLY_TYPE[name].kind]} {name}" for name in _PLY_TYPE.names or ()),
        "end_header",
    ]
    return "\n".join(lines).encode("ascii") + b"\n" + table.tobytes()
