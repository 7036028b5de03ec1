"""Cameras by how one thinks of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from ..cameras import Camera, Rig, look_at, look_at_pose, perspective
from ..errors import InvalidEdit
from ..frame import Shot

__all__ = ["ShotLike", "look_at", "orbit", "perspective"]

ShotLike: TypeAlias = Camera | tuple[Camera, int] | Shot | int
"""A camera; a camera and an animation frame; or a frame, seen by the session's camera."""


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
