"""Boxes and keypoints beside a picture: from its passes, and from where things are in the scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras import Camera
from ..errors import InvalidJob
from ..frame import mask_of
from .frames import LiveFrame

__all__ = ["Truths", "corners_of", "visibility"]

_NEAR: Final = 2e-3
"""Share of its distance by which a point may lie behind the surface that hides it not."""


@dataclass(frozen=True, slots=True)
class Truths:
    """What is told of each picture's objects.

    Arrays of a sample, N objects of which some pixel is seen, in the order of their numbers:

    * ``object_ids``: (N,) int64, numbers in the pass ``object_index``; ``record["objects"]`` has
      their names.
    * ``classes``: (N,) int64, by ``classes``; -1 where no pattern fits.
    * ``boxes``: (N, 4) float32, pixels: u_min, v_min, u_max, v_max around the pixels that are
      seen, to their outer edges.
    * ``pixels``: (N,) int64, number of them.
    * ``boxes_3d``: (N, 8, 3) float32, world, scene units: the corners of the object's box along
      its own axes, in the order of :func:`corners_of`; nan for an object that stands there more
      than once.
    * ``keypoints``: (K, 3) float32, in the order that they are asked for: u and v in pixels, and
      0 outside the picture, 1 where something hides it, 2 where it is seen.
    * ``keypoints_3d``: (K, 3) float32, world, scene units.

    Attributes:
        classes: Patterns of objects' names, as ``"chair*"``, to numbers of classes; the first that
            fits counts.
        keypoints: Names of objects (an empty's origin) and ``object:group``, the middle of a
            vertex group.
    """

    classes: Mapping[str, int] = field(default_factory=dict)
    keypoints: Sequence[str] = ()

    def of(self, frame: LiveFrame, places: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
        """Arrays of one picture.

        Args:
            places: Of the state that it shows, see :meth:`.session.Session.placed`.

        Raises:
            InvalidJob: It has no pass ``object_index``, or no depth for keypoints.
        """
        ids = frame.passes.get("object_index")
        if ids is None:
            raise InvalidJob("Boxes are made of the pass object_index, which is not among passes.")
        numbers, boxes, counts = boxes_of(ids)
        names = [frame.object_names.get(int(number), "") for number in numbers]
        found: dict[str, npt.NDArray[Any]] = {
            "object_ids": numbers,
            "classes": np.array([self._class_of(name) for name in names], dtype=np.int64),
            "boxes": boxes,
            "pixels": counts,
            "boxes_3d": np.stack([_box(int(number), places) for number in numbers])
            if len(numbers) else np.zeros((0, 8, 3), np.float32),
        }  # fmt: skip
        if self.keypoints:
            points = np.array([places["points"][name] for name in self.keypoints], np.float64)
            uv, _ = frame.camera.project(points)
            seen = visibility(frame.camera, points, frame.passes)
            found["keypoints"] = np.column_stack([uv, seen]).astype(np.float32)
            found["keypoints_3d"] = points.astype(np.float32)
        return found

    def _class_of(self, name: str) -> int:
        return next(
            (number for pattern, number in self.classes.items() if fnmatchcase(name, pattern)), -1
        )


def boxes_of(
    ids: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Numbers (N,) that are seen in (H, W), their boxes (N, 4) in pixels, and pixels (N,)."""
    rows, columns = np.nonzero(ids)
    values = ids[rows, columns].astype(np.int64)
    numbers, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    place = place.reshape(-1)
    low = np.full((len(numbers), 2), np.iinfo(np.int64).max, np.int64)
    high = np.full((len(numbers), 2), -1, np.int64)
    for axis, along in enumerate((columns, rows)):
        np.minimum.at(low[:, axis], place, along)
        np.maximum.at(high[:, axis], place, along)
    boxes = np.concatenate([low, high + 1], axis=1).astype(np.float32)
    return numbers, boxes, counts.astype(np.int64)


def corners_of(low: npt.ArrayLike, high: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(8, 3) corners of a box: z changes first, then y, then x, from low to high."""
    pair = np.stack([np.asarray(low, np.float64), np.asarray(high, np.float64)])
    grid = np.meshgrid(*(pair[:, axis] for axis in range(3)), indexing="ij")
    return np.stack(grid, axis=-1).reshape(8, 3)


def _box(number: int, places: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    there = [one for one in places["objects"] if one["index"] == number]
    if len(there) != 1:
        return np.full((8, 3), np.nan, np.float32)
    matrix = np.array(there[0]["matrix"], dtype=np.float64)
    corners = corners_of(there[0]["low"], there[0]["high"])
    return (corners @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32)


def visibility(
    camera: Camera, points: npt.NDArray[Any], passes: Mapping[str, npt.NDArray[Any]]
) -> npt.NDArray[np.int64]:
    """Whether points (N, 3) of the world are seen: 0 outside the picture, 1 hidden, 2 seen.

    A point is hidden where all of the pixels around it (three by three) show something nearer, so
    that what lies on a surface is seen up to its silhouette, and a point behind an edge within one
    pixel of it.

    Raises:
        InvalidJob: There is no depth.
    """
    depth = passes.get("depth")
    if depth is None:
        raise InvalidJob("Whether a keypoint is seen, the pass depth says, which is not there.")
    mask = mask_of(passes)
    surface = depth.astype(np.float64)
    if mask is not None:
        surface = np.where(mask > 0, surface, np.inf)
    uv, away = camera.project(points)
    height, width = depth.shape[:2]
    found = np.zeros(len(points), np.int64)
    for place, ((u, v), distance) in enumerate(zip(uv, away, strict=True)):
        if not (distance > 0 and 0 <= u < width and 0 <= v < height):
            continue
        row, column = int(v), int(u)
        around = surface[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        found[place] = 2 if distance <= float(np.max(around)) * (1 + _NEAR) else 1
    return found
