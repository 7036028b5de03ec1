"""Cameras as they go into messages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..cameras import PROJECTIONS, Camera, View
from ..errors import InvalidEdit
from ..frame import Shot

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["decode_shot", "encode_shot"]

_SMALLEST, _LARGEST = 4, 16384
_CLOSE: Final = 1e-4


def encode_shot(
    index: int,
    camera: Camera,
    time: int | None = None,
    beside: Mapping[str, tuple[int, Camera, int | None]] = MappingProxyType({}),
) -> dict[str, Any]:
    """As :class:`.protocol.Render` has it.

    Args:
        beside: Shots of the same view before and after it: ``previous`` and ``next``.
    """
    return {
        "index": index, "width": camera.width, "height": camera.height, "time": time,
        "intrinsics": np.asarray(camera.intrinsics).tolist(),
        "camera_to_world": np.asarray(camera.camera_to_world).tolist(),
        "projection": camera.projection,
        **{which: encode_shot(*shot) for which, shot in beside.items()},
    }  # fmt: skip


def decode_shot(data: Mapping[str, Any], *, alone: bool = False) -> Shot:
    """What somebody sent.

    Args:
        alone: Whether what is before and after it is left out.

    Raises:
        InvalidEdit: It is no camera.
    """
    index, time = data.get("index"), data.get("time")
    width: Any = data.get("width")
    height: Any = data.get("height")
    if type(index) is not int or not 0 <= index < 2**53:
        raise InvalidEdit(f"A shot cannot have the index {index!r}.")
    if time is not None and (type(time) is not int or abs(time) > 1_048_574):
        raise InvalidEdit(f"Shot {index} cannot have the time {time!r}: it is an animation frame.")
    for length in (width, height):
        if type(length) is not int or not _SMALLEST <= length <= _LARGEST:
            raise InvalidEdit(
                f"Shot {index} cannot be {width!r} x {height!r} pixels.",
                hint=f"Sides have {_SMALLEST} to {_LARGEST} of them.",
            )
    intrinsics = _matrix(data.get("intrinsics"), (3, 3), f"intrinsics of shot {index}")
    pose = _matrix(data.get("camera_to_world"), (4, 4), f"camera_to_world of shot {index}")
    if intrinsics[0, 0] <= 0 or intrinsics[1, 1] <= 0:
        raise InvalidEdit(f"The intrinsics of shot {index} have no focal length.")
    projection = data.get("projection", "perspective")
    if not isinstance(projection, str) or projection not in PROJECTIONS:
        raise InvalidEdit(
            f"Shot {index} cannot have the projection {projection!r}.",
            hint=f"There are {', '.join(PROJECTIONS)}.",
        )
    rotation = pose[:3, :3]
    if (
        np.abs(rotation @ rotation.T - np.eye(3)).max() > _CLOSE
        or np.linalg.det(rotation) < 0
        or np.abs(pose[3] - (0, 0, 0, 1)).max() > 0
    ):
        raise InvalidEdit(
            f"camera_to_world of shot {index} is no rigid motion.",
            hint="It is rotation and translation alone, right-handed, row-major.",
        )
    camera = Camera(int(width), int(height), intrinsics, pose, projection)
    beside = {
        which: decode_shot(data[which], alone=True)
        for which in ("previous", "next")
        if not alone and isinstance(data.get(which), Mapping)
    }
    return Shot(View(index, camera), time, **beside)


def _matrix(data: Any, shape: tuple[int, int], what: str) -> npt.NDArray[np.float64]:
    try:
        rows = [list(row) for row in data]
        # Text that reads as a number is none.
        plain = all(isinstance(number, (int, float)) for row in rows for number in row)
        found = np.array(rows, dtype=np.float64) if plain else np.empty(0)
    except (TypeError, ValueError, OverflowError):
        found = np.empty(0)
    if found.shape != shape:
        raise InvalidEdit(f"The {what} are not {shape[0]} x {shape[1]} numbers.")
    if not all(math.isfinite(number) and abs(number) < 1e15 for number in found.ravel()):
        raise InvalidEdit(f"The {what} have numbers that are none.")
    return found
