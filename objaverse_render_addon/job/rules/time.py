"""Which moments are rendered."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import InvalidJob
from ...timeline import frame_range
from ..choices import LeavingPolicy, StillPolicy, ViewsPerFrame
from ..convert import check, check_fields
from ..settings import setting

__all__ = ["TimeRules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRules:
    """Which moments of an animation are rendered. Without ``frames`` the asset stands still, at
    ``asset.frame``.

    Frames are whole numbers as the user counts; :mod:`objaverse_render_addon.timeline` says which
    moment of the file each shows.
    """

    frames: str | None = setting(
        None,
        "animation frames that are rendered: all of the file's, one N, or A:B or A:B:STEP with "
        "both ends",
        unset="the asset stands still",
        form="frames",
        younger=True,
        label="Frames",
        name="frames",
    )
    action: str | None = setting(
        None,
        "name of the action that is played, or all: each of the file's, one after the other",
        unset="as saved",
        form="action",
        younger=True,
    )
    scale: float = setting(
        1.0,
        "how many times slower it plays: at 4 there are four frames for each of the file's",
        flag="--time-scale",
        low=1e-3,
        high=1e3,
        usual=10.0,
        younger=True,
        label="Slow Motion",
        name="time_scale",
    )
    views_per_frame: ViewsPerFrame = setting(
        "all",
        "whether every frame is seen from all views at the same time, or from one each in turn, so "
        "that the camera moves along",
        younger=True,
    )
    motion_blur: bool = setting(
        False, "blur what moves in RGB, never in other passes", younger=True
    )
    shutter: float = setting(
        0.5,
        "how long the shutter is open for motion blur, in frames, around the frame",
        low=0,
        open_low=True,
        high=100,
        usual=2.0,
        younger=True,
    )
    still: StillPolicy = setting(
        "doubt",
        "what becomes of an asset whose frames all show the same: it is rendered and says so, or "
        "it fails",
        flag="--still",
        younger=True,
        label="Nothing Moves",
    )
    leaving: LeavingPolicy = setting(
        "doubt",
        "what becomes of an asset that is out of every view at some frame: it is rendered and says "
        "so, or it fails",
        younger=True,
        label="Leaves the Picture",
    )

    def __post_init__(self) -> None:
        check_fields(self, "time.")
        if self.frames is not None:
            text = "".join(self.frames.split())
            try:
                frame_range(text)
            except ValueError as error:
                raise InvalidJob(
                    f"time.frames {self.frames!r} {error}.",
                    hint="--frames all, --frames 12, --frames 1:48 or --frames 1:48:4.",
                ) from error
            object.__setattr__(self, "frames", text)
            return
        check(self.action != "all", "time.action all plays actions, but no frames are asked for.",
              "Add --frames all.")  # fmt: skip
        for name, default in (("scale", 1.0), ("views_per_frame", "all"), ("motion_blur", False)):
            check(
                getattr(self, name) == default,
                f"time.{name} is given, but no frames are asked for.",
                "Add --frames all.",
            )
