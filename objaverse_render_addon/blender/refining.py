"""A picture in pieces: drawn first, then Cycles' samples a few at a time, tile by tile.

The mean of the pieces is the picture that all samples give at once, to rounding.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..dataset.images import encode_srgb8, half_floats
from ..errors import InvalidJob
from ..frame import Frame, Shot
from ..passspec import PICTURES
from . import capture, compat
from .devices import render_failure

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Refining"]


class Refining:
    """The picture of one shot, as it becomes better.

    Attributes:
        samples: In the sum so far, of all tiles.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._key: Any = None
        self._frame: Frame | None = None
        self._sum: npt.NDArray[np.float64] | None = None
        self._part = 0
        self._round = (0, (1, 1))
        self.samples = 0

    def draft(self, shot: Shot) -> Frame:
        """Drawn by the raster lane, with those of the job's passes that it has."""
        return self._session.raster.frame(shot)

    def add(
        self, shot: Shot, first: int, count: int, part: int = 0, grid: tuple[int, int] = (1, 1),
        *, exact: bool = False,
    ) -> None:  # fmt: skip
        """Render samples ``first`` to ``first + count`` of a shot, or of a tile of it.

        Sample 0 begins the shot. A pixel does not depend on the tile that it is rendered in.

        Args:
            part: Which tile, row by row; they come in order, and the samples are there when the
                last is.
            grid: How many tiles there are across, and how many down.
            exact: All samples in one go, tile by tile, with the very settings of a data set: the
                picture is then what it would have, to the bit, and checked as that.

        Raises:
            InvalidJob: Its engine has no samples, they are none of the job's, the shot is not
                at that sample and tile, or the picture needs to be whole to be exact.
        """
        session, total = self._session, self._session.job.engine.samples
        if session.job.engine.engine != "cycles":
            raise InvalidJob(f"{session.job.engine.engine} has no samples that can be added.")
        parts = grid[0] * grid[1]
        there = min(grid) > 0 and 0 <= part < parts
        if not (first >= 0 and count > 0 and first + count <= total and there):
            raise InvalidJob(
                f"There are no samples {first} to {first + count} of {total}, tile {part} of "
                f"{grid[0]} by {grid[1]}."
            )
        if exact and not (self.splits and count == total):
            raise InvalidJob(
                "Of what is denoised, or has several lights, there are no tiles that are exact.",
                hint="Render it whole.",
            )
        key = (
            shot.key, shot.view.camera.width, shot.view.camera.height,
            shot.view.camera.intrinsics.tobytes(), shot.view.camera.camera_to_world.tobytes(),
            session.job, session.geometry, session.state, exact,
        )  # fmt: skip
        if first == part == 0:
            self._begin(shot, key)
        elif (key, first, part) != (self._key, self.samples, self._part) or (
            part and (count, grid) != self._round
        ):
            raise InvalidJob(f"The shot is not at sample {first}, tile {part}.")
        self._round, self._part = (count, grid), part
        assert self._frame is not None
        if not PICTURES.isdisjoint(session.job.pixels.passes):
            self._render(self._frame, first, count, part, grid, exact)
        self._part = part + 1
        if self._part == parts:
            self.samples, self._part = first + count, 0
            if exact:
                self._check(self._frame)

    @property
    def splits(self) -> bool:
        """Whether tiles are exact: whether a pixel stands for itself, and light is one."""
        stage, engine = self._session.stage, self._session.job.engine
        return engine.engine == "cycles" and not stage.denoised and stage.rig is None

    def linear(self) -> npt.NDArray[np.float32]:
        """(H, W, 4) float32, linear, premultiplied: the mean of the samples so far."""
        assert self._sum is not None
        return (self._sum / self.samples).astype(np.float32)

    def frame(self) -> Frame:
        """What there is of it: geometry, and the mean of the samples so far.

        Raises:
            InvalidJob: The tiles of its samples are not all there.
        """
        if self._frame is None or self._part or not self.samples:
            raise InvalidJob("Its samples are not all there yet.")
        frame, wanted = self._frame, self._session.job.pixels.passes
        if self._sum is not None:
            linear = self.linear()
            made: Mapping[str, Any] = {"rgb": encode_srgb8, "rgb_linear": half_floats}
            for name in PICTURES.intersection(wanted):
                frame.passes[name] = made[name](linear)
        return frame

    def _begin(self, shot: Shot, key: Any) -> None:
        self._key, self._sum, self.samples, self._part = None, None, 0, 0
        renderer = self._session.renderer
        ((frame, raw),) = renderer.geometry([shot])
        renderer.read_geometry(frame, raw)
        frame.checks = renderer.check_geometry(frame, [])
        self._frame, self._key = frame, key

    def _check(self, frame: Frame) -> None:
        """As the renderer checks what it rendered whole."""
        whole: list[capture.Taken] = []
        if self._sum is not None:
            whole = [capture.Taken(zip("RGBA", np.moveaxis(self.linear(), -1, 0), strict=True))]
        self._session.renderer.read_color(frame, [*whole], frame.checks)

    def _render(
        self, frame: Frame, first: int, count: int, part: int, grid: tuple[int, int], exact: bool
    ) -> None:
        session = self._session
        stage, job = session.stage, session.job
        since = time.perf_counter()
        stage.set_up_color()
        rows, columns = session.renderer.aim(frame, part, grid)
        if self._sum is None:
            self._sum = np.zeros((frame.camera.height, frame.camera.width, 4))
        if rows.start == rows.stop or columns.start == columns.stop:
            return
        session.renderer.light_up(frame)
        cycles, total = stage.scene.cycles, job.engine.samples
        some = nullcontext() if exact else compat.sample_range(cycles, first, count, total)
        with compat.in_memory(cycles), some:
            try:
                taken = capture.take(stage.scene, [capture.COMBINED])
            except RuntimeError as error:
                raise render_failure(error) from error
        # What lies outside the tile is 0, and Blender may round its rims by a pixel.
        tile = np.s_[
            max(0, rows.start - 1) : rows.stop + 1, max(0, columns.start - 1) : columns.stop + 1
        ]
        for place, letter in enumerate("RGBA"):
            self._sum[..., place][tile] += taken[letter][tile].astype(np.float64) * count
        stage.watch.add("color", since)
