"""How good a picture is, and in which steps it becomes so."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from ..cameras import Camera, intrinsics_of
from ..errors import InvalidJob

__all__ = ["Adaptive", "Given", "Level", "Plan", "at_level", "read_levels"]

_LARGEST: Final = 16384
_SMALLEST: Final = 16
"""Pixels of the shorter side that a picture is not made smaller than."""


@dataclass(frozen=True, slots=True)
class Level:
    """One step on a picture's way.

    Attributes:
        width: Pixels.
        height: Pixels.
        samples: A pixel, in all; 0 for a draft, where a backend has a faster way of drawing.
        fov: Vertical, in degrees, where it is the level's to say; else the camera's holds.
    """

    width: int
    height: int
    samples: int = 1
    fov: float | None = None


def at_level(camera: Camera, level: Level) -> Camera:
    """The same camera with a level's size, and its field of view where it has one."""
    if level.fov is not None:
        focal = 0.5 * level.height / math.tan(math.radians(level.fov) / 2)
        fov = 2 * math.degrees(math.atan(0.5 * min(level.width, level.height) / focal))
        lens = intrinsics_of("perspective", fov, (level.width, level.height))
        return Camera(level.width, level.height, lens, camera.camera_to_world)
    if (level.width, level.height) == (camera.width, camera.height):
        return camera
    lens = camera.intrinsics.copy()
    lens[0] *= level.width / camera.width
    lens[1] *= level.height / camera.height
    return replace(camera, width=level.width, height=level.height, intrinsics=lens)


class Plan(Protocol):
    """Which levels a camera's picture takes."""

    def levels(
        self, camera: Camera, samples: int, drafts: bool = False, anew: bool = False
    ) -> Sequence[Level]:
        """In their order, at least one; the last is what remains.

        Args:
            samples: The most that a pixel gets from the backend.
            drafts: Whether it draws 0 samples faster even where the most is 1.
            anew: Whether earlier levels' samples are no part of the last one's.
        """

    def took(self, level: Level, seconds: float) -> None:
        """A level was drawn."""


class Given:
    """The same levels for every camera.

    Args:
        levels: At least one.
    """

    def __init__(self, levels: Sequence[Level]) -> None:
        if not levels:
            raise InvalidJob("There is no level.", hint="Give at least one.")
        for level in levels:
            sides = 1 <= level.width <= _LARGEST and 1 <= level.height <= _LARGEST
            angle = level.fov is None or 0 < level.fov < 180
            if not (sides and angle and level.samples >= 0):
                raise InvalidJob(
                    f"{level.width}x{level.height}, {level.samples} samples, field of view "
                    f"{level.fov} is no level."
                )
        self._levels = tuple(levels)

    def levels(
        self, camera: Camera, samples: int, drafts: bool = False, anew: bool = False
    ) -> Sequence[Level]:
        """See :class:`Plan`."""
        del camera, samples, drafts, anew
        return self._levels

    def took(self, level: Level, seconds: float) -> None:
        """See :class:`Plan`."""


class Adaptive:
    """First small enough for a rate, then of the camera's size, then with more samples.

    The size of the first follows what a pixel was measured to take. Sides double from level to
    level; then samples are four times as many, since each picture costs time for itself; up to a
    sixteenth of all, where they have to be rendered again for the last level.

    Args:
        rate: Pictures a second while the camera moves.
        smallest: The least share of a side, whatever the measurement says.
    """

    def __init__(self, rate: float = 30.0, smallest: float = 1 / 16) -> None:
        if not (math.isfinite(rate) and rate > 0 and 0 < smallest <= 1):
            raise InvalidJob(f"{rate:g} pictures a second, at least {smallest:g} of a side.")
        self._target, self._smallest = 1 / rate, smallest
        self._cost: float | None = None
        """Seconds for a pixel of a draft."""
        self._draft = 1

    def levels(
        self, camera: Camera, samples: int, drafts: bool = False, anew: bool = False
    ) -> Sequence[Level]:
        """See :class:`Plan`."""
        whole = camera.width * camera.height
        draft = self._draft = 0 if samples > 1 or drafts else 1
        share = 0.25
        if self._cost is not None:
            share = math.sqrt(self._target / (self._cost * whole))
        least = max(self._smallest, _SMALLEST / min(camera.width, camera.height))
        share = min(1.0, max(share, least))
        # Few sizes, so that the picture does not breathe with every measurement.
        halvings = math.ceil(-math.log2(share) * 2 - 1e-9)
        steps: list[Level] = []
        while halvings > 0:
            scale = max(least, 2 ** (-halvings / 2))
            width, height = round(camera.width * scale), round(camera.height * scale)
            steps.append(Level(max(1, width), max(1, height), draft))
            halvings -= 2
        if not draft:
            steps.append(Level(camera.width, camera.height, draft))
        # What is not counted for the last level may cost a sixteenth of it.
        reached, most = 1, max(1, samples // 16) if anew else samples // 2
        while reached <= min(most, samples - 1):
            steps.append(Level(camera.width, camera.height, reached))
            reached *= 4
        return [*steps, Level(camera.width, camera.height, samples)]

    def took(self, level: Level, seconds: float) -> None:
        """See :class:`Plan`."""
        if level.samples != self._draft or not math.isfinite(seconds):
            return
        cost = max(seconds, 1e-6) / (level.width * level.height)
        # Slower at once, faster by and by: one lucky picture makes no stutter.
        kept = self._cost if self._cost is not None else cost
        self._cost = cost if cost > kept else kept + 0.25 * (cost - kept)


def read_levels(where: str | Path) -> Given:
    """Levels from a file of JSON: a list of ``{"width", "height", "fov"}``, ``fov`` in vertical
    degrees and, as ``samples``, left out where it does not matter.

    That is the file of ``camera_config_path`` of the NeRFStudio render queue.

    Raises:
        InvalidJob: It is not there, or none.
    """
    path = Path(where)
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, list) or not data:
            raise TypeError("it is no list of levels")
        return Given([_level(entry) for entry in data])
    except KeyError as error:
        raise InvalidJob(f"File of levels {path}: a level has no {error}.") from error
    except (OSError, TypeError, ValueError, RecursionError) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        raise InvalidJob(f"File of levels {path}: {cause}.") from error
    except InvalidJob as error:
        raise InvalidJob(f"File of levels {path}: {error.message}") from error


def _level(entry: dict[str, Any]) -> Level:
    level = Level(int(entry["width"]), int(entry["height"]))
    if entry.get("fov") is not None:
        level = replace(level, fov=float(entry["fov"]))
    return replace(level, samples=int(entry.get("samples", 1)))
