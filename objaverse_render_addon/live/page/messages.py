"""What page and server say to each other.

From the page, as text, one JSON object each:

* ``camera``: ``number`` (counted by the page), ``width``, ``height``, ``intrinsics`` (nine numbers)
  and ``camera_to_world`` (sixteen), both row by row, OpenGL axes; ``panes`` that it is for, all
  where left out.
* ``show``: ``pane`` and the name of a ``pass``.
* ``seen``: ``pane``: one picture arrived and is on the screen.

To the page: ``hello`` once and ``problem`` as text; pictures as bytes: the length of a JSON object
(32 bits, little-endian), the object, and an image file. All pages look through one camera: a
picture that another page asked for says from where it is (``intrinsics``, ``camera_to_world``), and
``hello`` says whether there is one already (``shown``).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ...cameras import Camera

__all__ = ["LARGEST", "Malformed", "Moved", "Seen", "Show", "packed", "read"]

LARGEST: Final = 1 << 14
"""Bytes of a message from the page."""
_LARGEST_SIDE: Final = 4096
_LARGEST_PICTURE: Final = 1 << 22


class Malformed(ValueError):
    """It is none of these messages."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Another camera."""

    number: int
    camera: Camera
    panes: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Show:
    """Another pass."""

    pane: int
    name: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture is on the screen."""

    pane: int


def read(text: str | bytes) -> Moved | Show | Seen:
    """A message of the page.

    Raises:
        Malformed: It is none.
    """
    try:
        data = json.loads(text)
        kind = data["kind"]
        if kind == "camera":
            return _moved(data)
        if kind == "show":
            return Show(_whole(data["pane"]), str(data["pass"]))
        if kind == "seen":
            return Seen(_whole(data["pane"]))
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise Malformed(str(error)) from error
    raise Malformed(f"there is no message {kind!r}")


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise Malformed(f"{value!r} is no number of anything")
    return value


def _moved(data: dict[str, Any]) -> Moved:
    width, height = _whole(data["width"]), _whole(data["height"])
    if not (
        0 < width <= _LARGEST_SIDE
        and 0 < height <= _LARGEST_SIDE
        and width * height <= _LARGEST_PICTURE
    ):
        raise Malformed(f"{width}x{height} is no size of a picture")
    lens = np.array(data["intrinsics"], dtype=np.float64).reshape(3, 3)
    pose = np.array(data["camera_to_world"], dtype=np.float64).reshape(4, 4)
    rotation = pose[:3, :3]
    if not (np.isfinite(lens).all() and np.isfinite(pose).all()):
        raise Malformed("a camera that is not finite")
    if not (lens[0, 0] > 0 and lens[1, 1] > 0 and np.array_equal(lens[2], [0, 0, 1])):
        raise Malformed("intrinsics that are none")
    if np.abs(rotation.T @ rotation - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise Malformed("a pose that is no rotation and translation")
    panes = data.get("panes")
    chosen = None if panes is None else tuple(_whole(pane) for pane in panes)
    return Moved(_whole(data["number"]), Camera(width, height, lens, pose), chosen)


def packed(header: dict[str, Any], image: bytes) -> bytes:
    """A picture as it is sent."""
    text = json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + image
