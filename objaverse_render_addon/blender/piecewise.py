"""How far the picture of a shot is brought, in pieces short enough to be stopped between."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..errors import Interrupted
from ..machine import cores
from .devices import used_device
from .pieces import Pieces

if TYPE_CHECKING:
    from ..frame import Shot
    from .session import Session

__all__ = ["Piecewise"]

_TILE: Final = 0.016
"""Seconds of a piece of geometry: its first brings along what all of them need."""
_NOTHING: Final = 0.001
"""Seconds that no render takes: where the object's box has no row, nothing is rendered."""
_SIGN: Final = 10.0
"""Seconds between two signs of life."""


class Piecewise:
    """Renders a session's picture up to some samples, and goes on where it was stopped.

    Blender cannot be stopped within a render: pieces take some 30 ms, by what earlier ones took.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        scene = session.stage.scene
        # Blender counts those that a container may not use.
        threads = min(int(scene.render.threads), cores())
        self._counts = used_device(scene).kind == "CPU"
        """Whether the time of processors tells how long a piece took."""
        self._looks, self._pieces = Pieces(_TILE, threads), Pieces(threads=threads)

    def reach(
        self, shot: Shot, samples: int, canceled: Callable[[], bool],
        lives: Callable[[], None] = lambda: None, *, exact: bool = False,
    ) -> bool:  # fmt: skip
        """Render a shot up to so many samples.

        Args:
            canceled: Asked between two pieces.
            lives: Called now and then meanwhile.
            exact: All of the job's samples as a data set has them, denoised and checked as there.

        Returns:
            Whether it is there; not where it can be exact only as a whole.

        Raises:
            Interrupted: It was cancelled; the same shot goes on from there.
        """
        refining = self._session.refining
        said = time.monotonic()

        def pause() -> None:
            nonlocal said
            if canceled():
                raise Interrupted("Cancelled.")
            if time.monotonic() > said + _SIGN:
                said = time.monotonic()
                lives()

        try:
            self._look(shot, pause)
            self._settle(pause)
            if exact and not refining.splits:
                return False
            # Or the round that it is in goes beyond.
            goal = refining.samples + refining.round[0] * bool(refining.part)
            if exact != refining.exact or goal > samples:
                refining.restart(exact=exact)
            while refining.samples < samples:
                pause()
                self._add(shot, samples)
            pause()
            refining.denoise(canceled)
            self._settle(pause)
        except Interrupted:
            raise
        except BaseException:
            refining.forget()
            raise
        return True

    def _settle(self, pause: Callable[[], None]) -> None:
        while self._session.refining.settle(0):
            pause()
            self._session.refining.settle(1)

    def _look(self, shot: Shot, pause: Callable[[], None]) -> None:
        refining, camera = self._session.refining, shot.view.camera
        size = camera.width, camera.height
        part, grid = refining.looked if refining.is_at(shot) else (0, (0, 0))
        while part == 0 or part < grid[0] * grid[1]:
            pause()
            if part == 0:
                grid = self._looks.tiles(*size, 1)
            since = time.perf_counter()
            refining.look(shot, part, grid)
            took = time.perf_counter() - since
            if part and took > _NOTHING:  # With the first come other settings.
                self._looks.took(size[0] * size[1] / (grid[0] * grid[1]), took)
            part += 1

    def _add(self, shot: Shot, samples: int) -> None:
        """Render a piece on the way to so many samples."""
        refining, camera = self._session.refining, shot.view.camera
        part, (count, grid) = refining.part, refining.round
        if not part:
            count = samples - refining.samples
            grid = self._pieces.cut(camera.width, camera.height, count)
        some = self._pieces.next(part)
        since, worked = time.perf_counter(), time.process_time()
        refining.add(
            shot, refining.samples, count, part, grid, some, exact=refining.exact
        )
        seconds, worked = time.perf_counter() - since, time.process_time() - worked
        # With the first come other settings, unless it is all.
        if (part or not refining.part) and seconds > _NOTHING:
            self._pieces.rendered(part, some, seconds, worked if self._counts else 0.0)
