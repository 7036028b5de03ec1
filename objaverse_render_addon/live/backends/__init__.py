"""What a queue draws with.

A backend gives one picture of one camera at one level, in pieces between which it asks whether
it is still wanted. Five are here: :mod:`.scene` (Blender), :mod:`.served` (a server's Blender),
:mod:`.field` (Gaussian splats), :mod:`.stored` (finished assets) and :mod:`.program` (a program of
its own). One suite of tests holds those that need no server to :class:`Backend`'s promises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from ...cameras import Camera
from ...job import RenderJob
from ..levels import Level

__all__ = ["Backend", "Drawn", "of_the_start", "samples_of"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a camera sees.

    Attributes:
        passes: Name to array, each as :data:`.passspec.PASSES` has it: ``rgb`` (H, W, 4) uint8
            with straight alpha, ``depth`` (H, W) float32, planar, scene units, 0 where nothing
            is; others that the backend has.
        samples: Behind each pixel of it.
    """

    passes: Mapping[str, Array] = field(default_factory=dict)
    samples: int = 1

    @property
    def image(self) -> Array:
        """(H, W, 3) uint8, sRGB, not multiplied with alpha."""
        return self.passes["rgb"][..., :3]

    @property
    def depth(self) -> Array:
        """(H, W) float32, planar, scene units, 0 where nothing is."""
        return self.passes["depth"]

    @property
    def alpha(self) -> npt.NDArray[np.float32]:
        """(H, W) float32 in [0, 1]."""
        return np.asarray(self.passes["rgb"][..., 3] / np.float32(255), dtype=np.float32)


class Backend(Protocol):
    """Draws what a camera sees; to be inherited, for what most have in common.

    Promises: the picture has the camera's size and is of that camera and scene alone; the same
    call gives the same picture; between two pieces of work of at most some 30 ms it asks
    ``should_stop``, and where that is true returns ``None`` soon; what goes wrong is raised, and
    the next call is none the worse for it. A queue with several workers calls it from several
    threads at once; ``workers`` says how many it bears.

    Attributes:
        passes: Names of what it can draw.
        workers: Threads that may call :meth:`render` at once.
        drafts: Whether a level of 0 samples is drawn faster, though samples mean nothing.
        anew: Whether the last level begins with its first sample, whatever others rendered.
    """

    passes: tuple[str, ...]
    workers: int = 1
    drafts: bool = False
    anew: bool = False

    def samples(self, scene: Mapping[str, Any]) -> int:
        """The most that a pixel gets; 1, the default, where samples mean nothing."""
        del scene
        return 1

    def render(
        self,
        camera: Camera,
        level: Level,
        should_stop: Callable[[], bool],
        scene: Mapping[str, Any],
    ) -> Drawn | None:
        """A picture, or ``None`` where it was stopped.

        Args:
            camera: Of the level's size.
            level: How good; what an earlier level of the same camera and scene left may be
                continued.
            scene: What else the picture shows, by the backend's own names; empty for what it
                began with.
        """

    def close(self) -> None:
        """Let go of everything; nothing is asked after it."""


_OF_THE_START: Final = ("asset.", "lighting.", "time.", "engine.device", "engine.threads")
_OF_ITS_CAMERAS: Final = ("cameras.", "pixels.resolution")


def of_the_start(job: RenderJob, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a job's changed fields that belong to a scene from its start.

    Args:
        values: Dotted paths of the job, to what they become.
    """
    cameras = {job.cameras.pattern, values.get("cameras.pattern")}
    fixed = (*_OF_THE_START, *(_OF_ITS_CAMERAS if "scene" in cameras else ()))
    return {path: value for path, value in values.items() if path.startswith(fixed)}


def samples_of(job: RenderJob, scene: Mapping[str, Any]) -> int:
    """Samples of a job's picture; 2 of engines without, which have a draft and a picture.

    Args:
        scene: Its ``values`` are the job's fields that were changed.
    """
    engine = job.with_values(dict(scene.get("values", {}))).engine
    return engine.samples if engine.engine == "cycles" else 2
