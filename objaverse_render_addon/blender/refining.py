"""A picture in pieces: drawn first, then Cycles' samples a few at a time.

The mean of the pieces is the picture that all samples give at once, to rounding.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..cameras import draw
from ..dataset.images import encode_srgb8, half_floats
from ..errors import InvalidJob, RenderFailed
from ..frame import Frame, Shot
from ..passspec import PICTURES
from . import capture, compat
from .renderer import BOX_MARGIN

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Refining"]


class Refining:
    """The picture of one shot, as it becomes better.

    Attributes:
        samples: In the sum so far.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._key: Any = None
        self._frame: Frame | None = None
        self._sum: npt.NDArray[np.float64] | None = None
        self.samples = 0

    def draft(self, shot: Shot) -> Frame:
        """Drawn by the raster lane, with those of the job's passes that it has."""
        return self._session.raster.frame(shot)

    def add(self, shot: Shot, first: int, count: int) -> None:
        """Render samples ``first`` to ``first + count`` of a shot; 0 begins it.

        Raises:
            InvalidJob: Its engine has no samples, they are none of the job's, or the shot is not
                at that sample.
        """
        session, total = self._session, self._session.job.engine.samples
        if session.job.engine.engine != "cycles":
            raise InvalidJob(f"{session.job.engine.engine} has no samples that can be added.")
        if not (first >= 0 and count > 0 and first + count <= total):
            raise InvalidJob(f"There are no samples {first} to {first + count} of {total}.")
        key = (
            shot.key, shot.view.camera.width, shot.view.camera.height,
            shot.view.camera.intrinsics.tobytes(), shot.view.camera.camera_to_world.tobytes(),
            session.job, session.geometry, session.state,
        )  # fmt: skip
        if first == 0:
            self._begin(shot, key)
        elif key != self._key or first != self.samples:
            raise InvalidJob(f"The shot is not at sample {first}.")
        assert self._frame is not None
        if PICTURES.isdisjoint(session.job.pixels.passes):
            self.samples = first + count
            return
        linear = self._render(self._frame, first, count, total)
        part = linear.astype(np.float64) * count
        self._sum = part if self._sum is None else self._sum + part
        self.samples = first + count

    def linear(self) -> npt.NDArray[np.float32]:
        """(H, W, 4) float32, linear, premultiplied: the mean of the samples so far."""
        assert self._sum is not None
        return (self._sum / self.samples).astype(np.float32)

    def frame(self) -> Frame:
        """What there is of it: geometry, and the mean of the samples so far."""
        assert self._frame is not None
        frame, wanted = self._frame, self._session.job.pixels.passes
        if self._sum is not None:
            linear = self.linear()
            made: Mapping[str, Any] = {"rgb": encode_srgb8, "rgb_linear": half_floats}
            for name in PICTURES.intersection(wanted):
                frame.passes[name] = made[name](linear)
        return frame

    def _begin(self, shot: Shot, key: Any) -> None:
        self._key, self._sum, self.samples = None, None, 0
        renderer = self._session.renderer
        ((frame, raw),) = renderer.geometry([shot])
        renderer.read_geometry(frame, raw)
        frame.checks = renderer.check_geometry(frame, [])
        self._frame, self._key = frame, key

    def _render(self, frame: Frame, first: int, count: int, total: int) -> Any:
        session = self._session
        stage, renderer, job = session.stage, session.renderer, session.job
        since = time.perf_counter()
        stage.set_up_color()
        stage.look(frame.view)
        renderer.set_border(frame.camera, frame.object_box, BOX_MARGIN)
        seed = draw(job.seed, renderer.key, frame.key.stream("noise"), frame.view.index, 1)
        frame.noise_seed = int(seed[0] * 2**31)
        compat.set_checked(stage.scene.cycles, seed=frame.noise_seed)
        if not capture.usable(stage.scene):
            raise InvalidJob(
                f"{frame.camera.width}x{frame.camera.height} is too large to be shown in pieces."
            )
        with compat.sample_range(stage.scene.cycles, first, count, total):
            try:
                taken = capture.take(stage.scene, [capture.COMBINED])
            except RuntimeError as error:
                raise RenderFailed(f"Blender could not render: {str(error).strip()}.") from error
        stage.watch.add("color", since)
        return np.stack([taken[letter] for letter in "RGBA"], axis=-1)
