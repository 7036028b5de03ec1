"""Cameras, and things, by how one thinks of where they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import InvalidEdit
from .camera import Camera, Floats
from .projection import intrinsics_of
from .rotations import quaternion_matrix

__all__ = ["box_corners", "look_at", "perspective", "random_directions", "random_rotations"]


def perspective(
    pose: npt.ArrayLike, *, fov: float = 50.0, size: tuple[int, int] = (512, 512)
) -> Camera:
    """A camera with square pixels whose axis goes through the picture's centre.

    Args:
        pose: ``camera_to_world``, (4, 4), OpenGL axes: +X right, +Y up, looking along -Z.
        fov: Full angle across the picture's shorter side, in degrees.
        size: Width and height in pixels.
    """
    matrix = np.array(pose, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise InvalidEdit("A camera's pose is (4, 4) numbers.")
    if not 0 < fov < 180:
        raise InvalidEdit(f"A field of view of {fov} degrees is none.")
    return Camera(*size, intrinsics_of("perspective", fov, size), matrix)


def look_at(
    eye: Sequence[float],
    target: Sequence[float] = (0.0, 0.0, 0.0),
    up: Sequence[float] = (0.0, 0.0, 1.0),
    *,
    fov: float = 50.0,
    size: tuple[int, int] = (512, 512),
) -> Camera:
    """A camera at a point that looks at another.

    Args:
        eye: (3,) world, scene units.
        up: What is up in the picture; where it is along the line of sight, +Y is instead.

    Raises:
        InvalidEdit: Eye and target are one point.
    """
    position, back = np.array(eye, dtype=np.float64), np.subtract(eye, target).astype(np.float64)
    length = float(np.linalg.norm(back))
    if not length > 0:
        raise InvalidEdit("A camera cannot look at the point where it is.")
    back /= length
    right = np.cross(up, back)
    if np.linalg.norm(right) < 1e-6 * np.linalg.norm(up):
        right = np.cross((0.0, 1.0, 0.0) if abs(back[1]) < 0.9 else (1.0, 0.0, 0.0), back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :4] = np.stack([right, np.cross(back, right), back, position], axis=1)
    return perspective(pose, fov=fov, size=size)


def box_corners(
    low: npt.ArrayLike, high: npt.ArrayLike, matrix: npt.ArrayLike | None = None
) -> Floats:
    """The corners of a box, for :meth:`.camera.Camera.box_of`, or of many.

    Args:
        low, high: (…, 3) its least and greatest coordinates, local ones where there is a matrix.
        matrix: (…, 4, 4) from local to world coordinates.

    Returns:
        (…, 8, 3) float64; bit 0 of a corner's number is X, bit 1 Y, bit 2 Z.
    """
    bits = np.arange(8)[:, None] >> np.arange(3) & 1
    least, most = np.asarray(low, np.float64), np.asarray(high, np.float64)
    corners = np.where(bits, most[..., None, :], least[..., None, :])
    if matrix is None:
        return corners
    turned = np.asarray(matrix, np.float64)
    return np.asarray(
        corners @ turned[..., :3, :3].swapaxes(-1, -2) + turned[..., None, :3, 3]
    )


def random_directions(
    rng: np.random.Generator,
    count: int,
    *,
    azimuth: tuple[float, float] = (0.0, 360.0),
    elevation: tuple[float, float] = (-90.0, 90.0),
) -> Floats:
    """Unit vectors, uniform over the sphere, or over the part of it between some angles.

    Uniform is by area (Archimedes: a zone's area is as its height), so that poles are no denser
    than the equator.

    Args:
        azimuth: Degrees from +X towards +Y, from and to.
        elevation: Degrees above the XY plane, from and to.

    Returns:
        (count, 3) float64.
    """
    low, high = np.sin(np.radians(elevation))
    if not (-90 <= elevation[0] <= elevation[1] <= 90 and azimuth[0] <= azimuth[1]):
        raise InvalidEdit("Azimuth and elevation are from … to …, elevation within -90 and 90.")
    height = rng.uniform(low, high, count)
    around = np.radians(rng.uniform(*azimuth, count))
    flat = np.sqrt(np.maximum(1 - height**2, 0))
    return np.stack([flat * np.cos(around), flat * np.sin(around), height], axis=-1)


def random_rotations(rng: np.random.Generator, count: int) -> Floats:
    """Rotations, uniform over all there are (Haar), as matrices.

    A quaternion of four normal numbers points everywhere alike (Muller, 1959).

    Returns:
        (count, 3, 3) float64, proper.
    """
    quaternion = rng.normal(size=(count, 4))
    w, x, y, z = (quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)).T
    return quaternion_matrix(x, y, z, w)
