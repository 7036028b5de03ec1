"""What a frame's passes need beside its own picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..cameras import Camera
from ..sensing import Sensing
from .things import Things

__all__ = ["Elsewhen", "Moment"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Elsewhen:
    """The same view at another time.

    Attributes:
        camera: As Blender sees it.
        things: What renders then.
        depth: Gives (H, W) float32, planar, 0 where nothing is; where it is needed.
    """

    camera: Camera
    things: Things
    depth: Callable[[], Array] | None = None


@dataclass(frozen=True)
class Moment:
    """What was known of the scene when a frame was rendered.

    Attributes:
        classes: Object index to the class's id; 0 where it has none.
        things: What rendered; where it is needed.
        previous: The same view at the rendered time before; none at the first.
        next: At the rendered time after; none at the last.
        sensing: The measurement of depth that is simulated, where one is.
    """

    classes: npt.NDArray[np.uint16]
    things: Things | None = None
    previous: Elsewhen | None = None
    next: Elsewhen | None = None
    sensing: Sensing | None = None

    def other(self, which: str) -> Elsewhen | None:
        """``previous`` or ``next``."""
        return self.next if which == "next" else self.previous
