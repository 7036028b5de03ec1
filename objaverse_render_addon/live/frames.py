"""A frame that came from an open scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..cameras import Camera, View
from ..frame import Check, Frame, FrameKey, mask_of
from ..job import RenderJob
from ..passspec import PASSES

__all__ = ["LiveFrame", "frame_of"]


@dataclass(slots=True, eq=False, repr=False)
class LiveFrame(Frame):
    """A complete, checked frame, and what it shows.

    Its arrays may lie in memory that a worker fills again as soon as no array shows it any more:
    keep them for as long as you like; slots that are held are not written to, and where few are
    left the next frames come as copies.

    Attributes:
        state: Number of the state of its scene that it shows.
        lane: How it came about: ``name`` (``exact`` or ``raster``), ``engine``, and ``derived``,
            the passes that were computed from others.
        object_names: Number in the pass ``object_index`` to name.
        position: Which of the shots that were asked for it is.
    """

    state: int = 0
    lane: dict[str, Any] = field(default_factory=dict)
    object_names: dict[int, str] = field(default_factory=dict)
    position: int = 0

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """A pass, see :data:`.passspec.PASSES`."""
        if name not in self.passes:
            raise KeyError(f"{name}; there are {', '.join(self.passes)}: set(passes=…)")
        return self.passes[name]

    def copy(self) -> LiveFrame:
        """The same in memory of its own."""
        import dataclasses

        passes = {name: array.copy() for name, array in self.passes.items()}
        relit = [{name: array.copy() for name, array in one.items()} for one in self.relit]
        tracks = None if self.tracks is None else self.tracks.copy()
        return dataclasses.replace(self, passes=passes, relit=relit, tracks=tracks)

    @property
    def doubts(self) -> list[str]:
        """Checks that it is in doubt of, see docs/checks.md."""
        return [check.name for check in self.checks if check.status == "doubt"]

    def picture(self, name: str | None = None) -> npt.NDArray[np.uint8]:
        """A pass as people look at it, (H, W, 4) uint8 sRGB, straight alpha.

        Args:
            name: Of the pass; colour, or the first that there is, otherwise.
        """
        from ..dataset.coloring import colored

        if name is None:
            name = next((one for one in ("rgb", *self.passes) if one in self.passes), None)
            if name is None:
                return np.zeros((self.camera.height, self.camera.width, 4), np.uint8)
        data = self.passes[name]
        mask = mask_of(self.passes)
        if mask is None:
            mask = np.ones(data.shape[:2], dtype=np.bool_)
        return colored(name, data, mask)

    def png(self, name: str | None = None) -> bytes:
        """The same, as the contents of a PNG file."""
        from ..dataset.images import encode_png

        return encode_png(np.ascontiguousarray(self.picture(name)))

    def _repr_png_(self) -> bytes:
        return self.png()

    def __repr__(self) -> str:
        camera, passes = self.camera, ", ".join(self.passes)
        return (
            f"<LiveFrame {self.position}: {camera.width}x{camera.height}, state {self.state}, "
            f"{self.lane.get('name', '')}: {passes}>"
        )


def frame_of(
    view: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[Any]],
    job: RenderJob,
    *,
    state: int,
    lane: Mapping[str, Any],
    object_names: Mapping[int, str],
    time: int | None,
) -> LiveFrame:
    """A frame from its record in a message.

    Args:
        view: As :func:`.dataset.metadata.view_record` writes it.
        time: That was asked for.
    """
    camera = Camera(
        view["width"], view["height"],
        np.array(view["intrinsics"], dtype=np.float64),
        np.array(view["camera_to_world"], dtype=np.float64),
        view.get("projection", "perspective"),
    )  # fmt: skip
    box = view["object_box_px"]
    time = view.get("time", time)
    passes = {name: arrays[name] for name in PASSES if name in arrays}
    grouped = job.lighting.groups
    lights, relit = _relit(view, passes, arrays, grouped=grouped)
    return LiveFrame(
        View(
            view["index"], camera, dict(view["pose"]), view.get("split", ""), view.get("eye", "")
        ),
        time=time or 0,
        timed=time is not None,
        previous=_key(view.get("previous")),
        next=_key(view.get("next")),
        passes=passes,
        object_box=None if box is None else (box[0], box[1], box[2], box[3]),
        normal_space=job.pixels.normal_space,
        opaque=job.lighting.background is not None,
        noise_seed=view["noise_seed"],
        lights=lights,
        relit=relit,
        grouped=grouped,
        tracks=arrays.get("tracks"),
        checks=[Check(name, status, value) for name, (status, value) in view["checks"].items()],
        state=state,
        lane=dict(lane),
        object_names=dict(object_names),
        position=view["index"],
    )


def _relit(
    view: Mapping[str, Any],
    passes: Mapping[str, npt.NDArray[Any]],
    arrays: Mapping[str, npt.NDArray[Any]],
    *,
    grouped: bool,
) -> tuple[list[dict[str, Any]], list[dict[str, npt.NDArray[Any]]]]:
    """What is said of several lights, and the pictures under each (:attr:`.frame.Frame.relit`).

    Nothing where their pictures did not come, as of a frame that is refined.
    """
    own = {name: data for name, data in passes.items() if PASSES[name].is_picture}
    files = {PASSES[name].record_key for name in own}
    lights, relit = [], []
    for place, light in enumerate(view.get("lights", ())):
        lights.append({key: value for key, value in light.items() if key not in files})
        if place == 0 and not grouped:
            relit.append(own)
        elif all(f"{name}@{place}" in arrays for name in own):
            relit.append({name: arrays[f"{name}@{place}"] for name in own})
        else:
            return [], []
    return lights, relit


def _key(place: Mapping[str, Any] | None) -> FrameKey | None:
    return None if place is None else FrameKey(place["view"], place["time"])
