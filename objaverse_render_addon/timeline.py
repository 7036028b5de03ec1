"""When: the frames that a job asks for, and the moments of a file's animation that they show.

A frame is a whole number, as the user counts; it is what :class:`.frame.FrameKey` calls ``time``,
and what files and metadata say. Which moment of the file it shows is said here alone: frame ``n``
of a job that slows down ``scale`` times shows the file's time ``n / scale``, which need not be a
whole number. Where all actions of a file are played one after the other, their frames follow each
other, and each action begins anew with its own first moment.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from .errors import InvalidJob

__all__ = ["LAST_FRAME", "MOST_FRAMES", "Clip", "Timeline", "frame_range"]

MOST_FRAMES: Final = 100_000
LAST_FRAME: Final = 1_048_574
"""Blender's frames end there, in both directions."""
_RANGE: Final = re.compile(r"(-?\d+)(?::(-?\d+)(?::(\d+))?)?")


def frame_range(text: str) -> range | None:
    """The frames that ``N``, ``A:B`` or ``A:B:STEP`` names, both ends included.

    Returns:
        ``None`` for ``all``, which the file decides.

    Raises:
        ValueError: It is none of these, in words.
    """
    if text == "all":
        return None
    found = _RANGE.fullmatch(text)
    if found is None:
        raise ValueError("is neither all, nor N, A:B or A:B:STEP")
    first, last, step = (int(part) if part is not None else None for part in found.groups())
    assert first is not None
    last, step = first if last is None else last, 1 if step is None else step
    if max(abs(first), abs(last)) > LAST_FRAME:
        raise ValueError(f"has frames beyond {LAST_FRAME:,}, where Blender's end")
    if last < first or step < 1:
        raise ValueError("is empty: the first frame comes first, and a step is 1 or more")
    if len(range(first, last + 1, step)) > MOST_FRAMES:
        raise ValueError(f"has more than {MOST_FRAMES:,} frames")
    return range(first, last + 1, step)


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames that follow each other and show one action.

    Attributes:
        action: Its name; ``None`` where the file plays as it was saved.
        first: Its first frame, as the user counts.
        last: Its last frame, included.
        start: Moment of the file's animation that ``first`` shows, in the file's frames.
    """

    action: str | None
    first: int
    last: int
    start: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """The frames of an asset, and what moments they show.

    Attributes:
        clips: One, or one for each action where all are played; their frames do not overlap.
        rate: Frames per second of the file.
        scale: How many times slower it plays than the file: ``n`` frames show ``n / scale`` of the
            file's.
        frames: Those that are wanted, ascending; empty where the asset stands still.
        actions: Names of all that the file has.
    """

    clips: tuple[Clip, ...]
    rate: float = 24.0
    scale: float = 1.0
    frames: tuple[int, ...] = ()
    actions: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        spans: Iterable[tuple[str | None, float, float]],
        frames: str | None,
        *,
        rate: float = 24.0,
        scale: float = 1.0,
        actions: Iterable[str] = (),
    ) -> Timeline:
        """Lay actions one after the other, and choose among their frames.

        Args:
            spans: Action, its first and its last moment, in the file's frames.
            frames: As :func:`frame_range` reads it.

        Raises:
            InvalidJob: There is no such frame.
        """
        clips: list[Clip] = []
        for action, low, high in spans:
            # A hair outside a whole number is that number.
            first = math.ceil(low * scale - 1e-4)
            count = max(0, math.floor(high * scale + 1e-4) - first)
            start = first / scale
            if clips:
                first = clips[-1].last + 1
            clips.append(Clip(action, first, first + count, start))
        whole = range(clips[0].first, clips[-1].last + 1)
        wanted = range(0)
        if frames is not None:
            wanted = frame_range(frames) or whole
            if len(wanted) > MOST_FRAMES:
                raise InvalidJob(
                    f"The animation has {len(wanted):,} frames, more than {MOST_FRAMES:,}.",
                    hint="Choose with --frames A:B or A:B:STEP.",
                )
            # One clip goes on as it began; between several there is nothing to go on with.
            if len(clips) > 1 and not (wanted[0] in whole and wanted[-1] in whole):
                raise InvalidJob(
                    f"time.frames {frames}: its {len(clips)} actions have the frames "
                    f"{whole[0]}:{whole[-1]}.",
                )
        return cls(tuple(clips), rate, scale, tuple(wanted), tuple(actions))

    def clip_of(self, frame: int) -> Clip:
        """The clip that a frame belongs to."""
        for clip in self.clips:
            if frame <= clip.last:
                return clip
        return self.clips[-1]

    def moment(self, frame: int) -> float:
        """What a frame shows, in the file's frames; seconds are that over :attr:`rate`."""
        clip = self.clip_of(frame)
        return clip.start + (frame - clip.first) / self.scale

    def after(self, frame: int) -> int | None:
        """The wanted frame that comes next within the same clip: what motion leads to."""
        return self._beside(frame, 1)

    def before(self, frame: int) -> int | None:
        """The wanted frame that came before within the same clip: where motion comes from."""
        return self._beside(frame, -1)

    def _beside(self, frame: int, step: int) -> int | None:
        place = self.frames.index(frame) + step
        if not 0 <= place < len(self.frames):
            return None
        other = self.frames[place]
        return other if self.clip_of(other) == self.clip_of(frame) else None

    def record(self) -> dict[str, Any]:
        """What the metadata say of it."""
        return {
            "frame_rate": self.rate,
            "scale": self.scale,
            "frames": [self.clips[0].first, self.clips[-1].last],
            "actions": list(self.actions),
            "clips": [
                {
                    "action": clip.action, "first": clip.first, "last": clip.last,
                    "start": clip.start,
                }
                for clip in self.clips
            ],
        }  # fmt: skip
