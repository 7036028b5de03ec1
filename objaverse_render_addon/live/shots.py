"""Cameras by how one thinks of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..cameras import Camera, Rig, intrinsics_of, look_at_pose
from ..errors import InvalidEdit
from ..frame import Shot

__all__ = ["ShotLike", "look_at", "orbit", "perspective"]

ShotLike: TypeAlias = Camera | tuple[Camera, int] | Shot | int
"""A camera; a camera and an animation frame; or a frame, seen by the session's camera."""


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


def orbit(
    count: int,
    *,
    radius: float = 3.0,
    elevation: float = 20.0,
    center: tuple[float, float, float] = (0.0, 0.0, 0.0),
    fov: float = 50.0,
    size: tuple[int, int] = (512, 512),
) -> list[Camera]:
    """Cameras evenly around a point, counter-clockwise seen from above, the first on +X.

    Args:
        elevation: Degrees above the horizon.
    """
    rig = Rig(center)
    return [
        perspective(
            look_at_pose(360.0 * index / count, elevation, radius, rig), fov=fov, size=size
        )
        for index in range(count)
    ]


def shots_of(wanted: Iterable[ShotLike], camera: Camera) -> Iterable[tuple[Camera, int | None]]:
    """Camera and animation frame of each."""
    for one in wanted:
        if isinstance(one, Camera):
            yield one, None
        elif isinstance(one, Shot):
            yield one.view.camera, one.time
        elif isinstance(one, int):
            yield camera, one
        else:
            yield _pair(one)


def _pair(one: Any) -> tuple[Camera, int]:
    if isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], Camera):
        return one[0], one[1]
    raise InvalidEdit(
        f"{one!r} is no shot.", hint="Give cameras, (camera, frame) pairs, or animation frames."
    )
