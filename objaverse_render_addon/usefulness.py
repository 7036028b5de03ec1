"""Whether an asset's views show enough of it to be of use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .cameras import PROJECTIONS
from .errors import ClippedPictures, EmptyPictures, LeavesPicture
from .frame import Frame
from .job import RenderJob
from .words import how_many

__all__ = ["Usefulness"]


class Usefulness:
    """Counts an asset's views; then says whether they are of use.

    Args:
        name: Of the asset.
        own_cameras: Whether the file's author chose from where it is seen.
    """

    def __init__(self, name: str, job: RenderJob, *, own_cameras: bool) -> None:
        self._name, self._job, self._own_cameras = name, job, own_cameras
        self._views = self._empty = self._clipped = 0
        self._seen: dict[int, bool] = {}

    def add(self, frame: Frame) -> None:
        """Count a frame that has its geometry."""
        size = frame.camera.width, frame.camera.height
        seen, radial = bool(frame.passes["mask"].any()), frame.camera.lens.radial
        self._count(frame.key.time, seen, frame.object_box, size, radial=radial)

    def add_record(self, record: Mapping[str, Any]) -> None:
        """Count a frame by its entry of a metadata's ``views``."""
        seen = record["checks"]["mask_not_empty"][0] == "ok"
        size = record["width"], record["height"]
        lens = PROJECTIONS[record.get("projection", "perspective")]
        box = record["object_box_px"]
        self._count(record.get("time"), seen, box, size, radial=lens.radial)

    def _count(
        self,
        time: int | None,
        seen: bool,
        box: Sequence[float] | None,
        size: tuple[int, int],
        *,
        radial: bool,
    ) -> None:
        self._views += 1
        self._empty += not seen
        if time is not None:
            self._seen[time] = self._seen.get(time, False) or seen
        if self._own_cameras:
            # In a room each sees a part.
            return
        if box is None:
            # Of a lens that sees all around there is none.
            self._clipped += not radial
            return
        width, height = size
        inside_x = min(box[2], width) - max(box[0], 0)
        inside_y = min(box[3], height) - max(box[1], 0)
        area = (box[2] - box[0]) * (box[3] - box[1])
        self._clipped += area > 0 and max(inside_x, 0) * max(inside_y, 0) < 0.25 * area

    def verdict(self) -> list[str]:
        """Warnings, where there is nothing to see at some frames.

        Raises:
            EmptyPictures, ClippedPictures, LeavesPicture: The views are of no use.
        """
        warnings = []
        if self._empty == self._views:
            raise EmptyPictures(
                f"{self._name}: none of the {self._views} views shows anything of the object.",
                hint="Its faces may be fully transparent, or the cameras look elsewhere.",
            )
        away = [time for time, seen in self._seen.items() if not seen]
        if away:
            text = f"at {how_many(len(away), 'frame')} of {len(self._seen)}, the first {away[0]}, "
            text += f"no view shows anything of {self._name}."
            if self._job.time.leaving == "fail":
                raise LeavesPicture(
                    f"It leaves the picture: {text}", hint="Use other cameras, or --leaving doubt."
                )
            warnings.append(f"leaves-picture: {text}")
        if self._clipped == self._views:
            raise ClippedPictures(
                f"{self._name}: all {self._views} views cut off more than three quarters of the "
                "object.",
                hint="Use --framing fit, a larger --radius or a wider --fov.",
            )
        return warnings
