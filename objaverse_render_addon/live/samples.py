"""One sample of a stream: arrays, and what is known of them, ready to be kept or sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..cameras import Camera
from .frames import LiveFrame

__all__ = ["Sample", "sample_of"]


@dataclass(slots=True, eq=False, repr=False)
class Sample:
    """A picture with its truth.

    Attributes:
        arrays: Passes by name (:data:`..passspec.PASSES` has dtype, unit and space), pictures under
            other lights and followed points (:meth:`..frame.Frame.arrays`), and what was computed
            of them (:mod:`.truths`). They may lie in memory that a worker wrote.
        record: JSON. ``index`` and ``view`` say which sample of its stream it is, ``views`` of how
            many of its unit, ``epoch`` and ``seed`` what it was drawn by, ``state`` what
            :meth:`.sources.Source.update` had said, ``values`` what the source noted;
            ``camera`` has ``width``, ``height``, ``intrinsics``
            (3, 3) pixels, ``camera_to_world`` (4, 4) OpenGL axes, ``projection``; ``time``,
            ``object_names``, ``noise_seed``, ``doubts``; ``lights``, what is said of each of
            several; ``dropped``, samples that were given up before it. Of a job's assets also
            ``pose``, ``split``, ``eye``, ``previous`` and ``next`` as metadata's views have them,
            where they are any; ``made_of``, the same for what one program made of one file for one
            job; and, of a unit's last sample, ``asset``: what metadata say beside the views.
    """

    arrays: dict[str, npt.NDArray[Any]]
    record: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.arrays[name]

    def __repr__(self) -> str:
        index, view = self.record.get("index"), self.record.get("view")
        return f"<Sample {index}.{view}, state {self.state}: {', '.join(self.arrays)}>"

    @property
    def key(self) -> tuple[int, int, int]:
        """Epoch, index and view: no other sample of the stream has them."""
        return self.record["epoch"], self.record["index"], self.record["view"]

    @property
    def state(self) -> int:
        """Number of what the source had been told."""
        return int(self.record.get("state", 0))

    @property
    def values(self) -> dict[str, Any]:
        """What the source noted."""
        return dict(self.record.get("values", {}))

    @property
    def camera(self) -> Camera:
        """As Blender had it."""
        return camera_of(self.record["camera"])

    def copy(self) -> Sample:
        """The same in memory of its own."""
        return Sample(
            {name: array.copy() for name, array in self.arrays.items()}, dict(self.record)
        )


def camera_of(data: Mapping[str, Any]) -> Camera:
    """A camera from a sample's record."""
    return Camera(
        data["width"], data["height"], np.array(data["intrinsics"], dtype=np.float64),
        np.array(data["camera_to_world"], dtype=np.float64),
        data.get("projection", "perspective"),
    )  # fmt: skip


def camera_record(camera: Camera) -> dict[str, Any]:
    """A camera, ready for JSON."""
    return {
        "width": camera.width, "height": camera.height,
        "intrinsics": np.asarray(camera.intrinsics).tolist(),
        "camera_to_world": np.asarray(camera.camera_to_world).tolist(),
        "projection": camera.projection,
    }  # fmt: skip


def sample_of(frame: LiveFrame, known: Mapping[str, Any]) -> Sample:
    """A frame as a sample.

    Args:
        known: What its stream knows of it.
    """
    return Sample(
        frame.arrays(frame.passes),
        {
            **known,
            "camera": camera_record(frame.camera),
            "time": frame.time if frame.timed else None,
            "normal_space": frame.normal_space,
            "opaque": frame.opaque,
            **_beside(frame),
            "noise_seed": frame.noise_seed,
            "object_box_px": None if frame.object_box is None else list(frame.object_box),
            "object_names": {str(number): name for number, name in frame.object_names.items()},
            "lane": frame.lane,
            "checks": {check.name: [check.status, check.value] for check in frame.checks},
            "doubts": frame.doubts,
            **({"lights": frame.lights} if frame.lights else {}),
        },
    )


def _beside(frame: LiveFrame) -> dict[str, Any]:
    """What only some views have to say."""
    view = frame.view
    said: dict[str, Any] = {"pose": dict(view.pose), "split": view.split, "eye": view.eye}
    for which, key in (("previous", frame.previous), ("next", frame.next)):
        said[which] = None if key is None else {"view": key.view, "time": key.time}
    return {name: what for name, what in said.items() if what}
