"""Cameras by how one thinks of them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..cameras import Camera, Rig, intrinsics_of, look_at, look_at_pose, perspective
from ..errors import InvalidEdit
from ..frame import Shot

__all__ = [
    "Numbered", "ShotLike", "beside", "look_at", "moved", "orbit", "overlooking", "perspective",
    "resized", "shots_of", "with_lens",
]  # fmt: skip

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
    """Camera and animation frame of each.

    Raises:
        InvalidEdit: It is none, or what was given is no several.
    """
    if isinstance(wanted, Camera | Shot | int):
        raise InvalidEdit(f"{wanted!r} is one shot.", hint="Give a list of it, or use frame().")
    for one in wanted:
        if isinstance(one, Camera):
            yield one, None
        elif isinstance(one, Shot):
            yield one.view.camera, one.time
        elif isinstance(one, Integral):
            yield camera, int(one)
        else:
            yield _pair(one)


Numbered: TypeAlias = tuple[int, Camera, int | None]
"""A shot: its place in its request, its camera, its animation frame."""


def beside(shots: Iterable[Numbered]) -> dict[int, dict[str, Numbered]]:
    """Of each shot, by its place, that of the same view before and after it in time.

    Of several at one time, the first goes with the first at the other, and so on; where there is
    but one, all go with it, as :func:`..frame.linked` has it.
    """
    at: dict[int, list[Numbered]] = {}
    for shot in shots:
        if shot[2] is not None:
            at.setdefault(shot[2], []).append(shot)
    found: dict[int, dict[str, Numbered]] = {}
    times = sorted(at)
    ahead = list(itertools.pairwise(times))
    for which, pairs in (("next", ahead), ("previous", [(two, one) for one, two in ahead])):
        for here, there in pairs:
            others = at[there]
            for rank, shot in enumerate(at[here]):
                if rank < len(others) or len(others) == 1:
                    near = others[rank] if rank < len(others) else others[0]
                    found.setdefault(shot[0], {})[which] = near
    return found


def _pair(one: Any) -> tuple[Camera, int]:
    if isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], Camera):
        camera, time = one
        return camera, int(time) if isinstance(time, Integral) else time
    raise InvalidEdit(
        f"{one!r} is no shot.", hint="Give cameras, (camera, frame) pairs, or animation frames."
    )


def overlooking(bounds: Mapping[str, Any], size: tuple[int, int]) -> Camera:
    """A camera that sees all of something from aside and above; ``center`` and ``radius`` of it."""
    center = np.array(bounds.get("center", (0.0, 0.0, 0.0)), dtype=np.float64)
    radius = float(bounds.get("radius", 1.0)) or 1.0
    away = np.array((0.6, -0.7, 0.45)) / np.linalg.norm((0.6, -0.7, 0.45))
    eye = center + 2.6 * radius * away
    return look_at(eye.tolist(), center.tolist(), size=size)


def moved(camera: Camera, camera_to_world: npt.ArrayLike, fov: float | None = None) -> Camera:
    """A camera elsewhere, and with another field of view where that is said.

    Args:
        camera_to_world: (4, 4), OpenGL axes.
        fov: Full angle across the picture's shorter side, in degrees; of a perspective lens.
    """
    if fov is not None and not 0 < fov < 180:
        raise InvalidEdit(f"A field of view of {fov} degrees is none.", hint="0 to 180, without.")
    made = perspective(camera_to_world, size=(camera.width, camera.height), fov=fov or 50.0)
    if fov is not None:
        return made
    return dataclasses.replace(camera, camera_to_world=made.camera_to_world)


def with_lens(
    camera: Camera,
    *,
    fov: float | None = None,
    focal_px: float | None = None,
    intrinsics: npt.ArrayLike | None = None,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Camera:
    """A camera with another perspective lens; arguments as of :meth:`.session.Session.lens`.

    Raises:
        InvalidEdit: Not exactly one of the three is given, or it is no lens.
    """
    width, height = camera.width, camera.height
    if (fov is None) + (focal_px is None) + (intrinsics is None) != 2:
        raise InvalidEdit("A lens is a field of view, a focal length, or intrinsics.")
    if fov is not None and not 0 < fov < 180:
        raise InvalidEdit(f"A field of view of {fov} degrees is none.", hint="0 to 180, without.")
    if focal_px is not None and not 0 < focal_px < math.inf:
        raise InvalidEdit(f"A focal length of {focal_px} pixels is none.")
    if intrinsics is not None:
        matrix = np.array(intrinsics, dtype=np.float64)
    elif fov is not None:
        matrix = intrinsics_of("perspective", fov, (width, height), 1.0, shift)
    else:
        matrix = np.array([
            [focal_px, 0, width * (0.5 + shift[0])],
            [0, focal_px, height * (0.5 + shift[1])],
            [0, 0, 1],
        ], dtype=np.float64)  # fmt: skip
    return Camera(width, height, matrix, camera.camera_to_world)


def resized(camera: Camera, width: int, height: int) -> Camera:
    """The same field of view across the shorter side, the principal point at the same share."""
    scale = min(width, height) / min(camera.width, camera.height)
    matrix = camera.intrinsics.copy()
    matrix[0, 0] *= scale
    matrix[1, 1] *= scale
    matrix[0, 2] *= width / camera.width
    matrix[1, 2] *= height / camera.height
    return dataclasses.replace(camera, width=width, height=height, intrinsics=matrix)
