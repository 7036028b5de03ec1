"""How a lens maps directions to pixels, both ways: one closed form for each projection.

In camera axes x is right, y up, and the camera looks along -z; ``fx``, ``fy``, ``cx``, ``cy`` are
the intrinsics' numbers. :data:`PROJECTIONS` says of each what its focal length and its depth are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["PROJECTIONS", "Projection", "intrinsics_of"]

Floats = npt.NDArray[np.float64]
Lens = tuple[float, float, float, float]
"""fx, fy, cx, cy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """A kind of lens.

    Attributes:
        name: In jobs and metadata.
        focal: What the intrinsics' fx and fy are.
        depth: What the pass depth is; planar, or along the ray.
        radial: Whether depth is the distance along the ray: the lens sees what is beside and
            behind it, where there is no planar depth.
        parallel: Whether all rays are parallel: they begin on the camera's plane, not in a point.
        wraps: Whether the picture's left edge is its right one.
        to_pixels: u, v and depth (N,) each, of x, y, z (N,) in camera axes.
        ray: Directions (..., 3) scaled to depth 1, through image positions u and v.
        share: By how much less than at the principal point a pixel covers of a sphere (of a plane,
            where depth is planar) there, of u and v.
    """

    name: str
    focal: str
    depth: str
    radial: bool = False
    parallel: bool = False
    wraps: bool = False
    to_pixels: Callable[[Lens, Floats, Floats, Floats], tuple[Floats, Floats, Floats]]
    ray: Callable[[Lens, Floats, Floats], Floats]
    share: Callable[[Lens, Floats, Floats], Floats]


def _stacked(x: Any, y: Any, z: Any) -> Floats:
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1)


def _even(_lens: Lens, u: Floats, _v: Floats) -> Floats:
    return np.ones_like(u)


def _perspective(lens: Lens, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    fx, fy, cx, cy = lens
    depth = -z
    with np.errstate(divide="ignore", invalid="ignore"):
        return fx * x / depth + cx, -fy * y / depth + cy, depth


def _perspective_ray(lens: Lens, u: Floats, v: Floats) -> Floats:
    fx, fy, cx, cy = lens
    return _stacked((u - cx) / fx, (cy - v) / fy, -1.0)


def _orthographic(lens: Lens, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    fx, fy, cx, cy = lens
    return fx * x + cx, cy - fy * y, -z


def _orthographic_ray(_lens: Lens, u: Floats, v: Floats) -> Floats:
    u, v = np.broadcast_arrays(u, v)
    return _stacked(np.zeros_like(u), np.zeros_like(v), -1.0)


def _panorama(lens: Lens, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    fx, fy, cx, cy = lens
    distance = np.sqrt(x * x + y * y + z * z)
    with np.errstate(divide="ignore", invalid="ignore"):
        elevation = np.arcsin(np.clip(y / distance, -1, 1))
    return fx * np.arctan2(x, -z) + cx, cy - fy * elevation, distance


def _panorama_ray(lens: Lens, u: Floats, v: Floats) -> Floats:
    fx, fy, cx, cy = lens
    along, up = (u - cx) / fx, (cy - v) / fy
    flat = np.cos(up)
    return _stacked(flat * np.sin(along), np.sin(up), -flat * np.cos(along))


def _panorama_share(lens: Lens, u: Floats, v: Floats) -> Floats:
    return np.asarray(np.cos((lens[3] - v) / lens[1]) + 0 * u)


def _fisheye(lens: Lens, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    fx, fy, cx, cy = lens
    aside = np.hypot(x, y)
    angle = np.arctan2(aside, -z)
    # On the axis the angle is as its sine.
    with np.errstate(divide="ignore", invalid="ignore"):
        stretch = np.where(aside > 0, angle / aside, 0.0)
    return fx * stretch * x + cx, cy - fy * stretch * y, np.hypot(aside, z)


def _fisheye_ray(lens: Lens, u: Floats, v: Floats) -> Floats:
    fx, fy, cx, cy = lens
    x, y = (u - cx) / fx, (cy - v) / fy
    angle = np.hypot(x, y)
    stretch = np.sinc(angle / math.pi)
    return _stacked(stretch * x, stretch * y, -np.cos(angle))


def _fisheye_share(lens: Lens, u: Floats, v: Floats) -> Floats:
    fx, fy, cx, cy = lens
    return np.asarray(np.abs(np.sinc(np.hypot((u - cx) / fx, (cy - v) / fy) / math.pi)))


PROJECTIONS: Final[dict[str, Projection]] = {
    item.name: item
    for item in (
        Projection(
            name="perspective",
            focal="pixels at depth 1",
            depth="planar Z: distance along the viewing axis, not along the ray",
            to_pixels=_perspective,
            ray=_perspective_ray,
            share=_even,
        ),
        Projection(
            name="orthographic",
            focal="pixels per scene unit",
            depth="planar Z: distance from the camera's plane, which is along the ray too",
            parallel=True,
            to_pixels=_orthographic,
            ray=_orthographic_ray,
            share=_even,
        ),
        Projection(
            name="panorama",
            focal="pixels per radian of azimuth (fx) and elevation (fy)",
            depth="distance along the ray, as the pass distance: no plane is all around",
            radial=True,
            wraps=True,
            to_pixels=_panorama,
            ray=_panorama_ray,
            share=_panorama_share,
        ),
        Projection(
            name="fisheye",
            focal="pixels per radian from the viewing axis",
            depth="distance along the ray, as the pass distance: no plane is all around",
            radial=True,
            to_pixels=_fisheye,
            ray=_fisheye_ray,
            share=_fisheye_share,
        ),
    )
}
"""Pinhole; parallel rays; equirectangular, all around; equidistant (r = f θ), as far as the picture
reaches."""


def intrinsics_of(
    projection: str,
    opening: float,
    size: tuple[int, int],
    pixel_aspect: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Floats:
    """K from what a lens takes in across the shorter side of the image.

    Args:
        opening: Degrees of perspective and fisheye, scene units of orthographic; a panorama has
            it all.
        size: Width and height, pixels.
        pixel_aspect: Height of a pixel over its width.
        shift: Of the principal point, as a share of width and height.

    Returns:
        3x3, float64; the origin is the upper left corner of the upper left pixel. What fx and fy
        are, :attr:`Projection.focal` says.
    """
    width, height = size
    shorter = min(width, height * pixel_aspect)
    if projection == "panorama":
        fx, fy = width / (2 * math.pi), height / math.pi
    else:
        if projection == "orthographic":
            fx = shorter / opening
        elif projection == "fisheye":
            fx = shorter / math.radians(opening)
        else:
            fx = 0.5 * shorter / math.tan(math.radians(opening) / 2)
        fy = fx / pixel_aspect
    return np.array(
        [
            [fx, 0.0, width * (0.5 + shift[0])],
            [0.0, fy, height * (0.5 + shift[1])],
            [0.0, 0.0, 1.0],
        ]
    )
