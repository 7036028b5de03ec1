"""A 3D file in Blender: drawn first, then path traced sample by sample."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...cameras import Camera
from ...errors import (
    Interrupted,
    InvalidJob,
    RenderError,
    WorkerCrashed,
    WorkerTimeout,
    from_reason,
)
from ...job import RenderJob
from ...worker.channel import Received, arrays_of
from ...worker.protocol import Failed, FrameReady, Open, Opened, Refine, Render, Set
from ...worker.shots import encode_shot
from ...worker.supervisor import Place, Supervisor
from ..levels import Level
from . import Backend, Drawn, of_the_start, samples_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SceneBackend"]

_OPENING: Final = 300.0
_PIECE: Final = 120.0
_ASK: Final = 0.005
"""Seconds between two questions whether it is still wanted."""
_ENDLESS: Final = 10**9
"""Pieces are many, small, and of one scene: whoever moves must not wait for another worker."""


class SceneBackend(Backend):
    """Shows a 3D file as its job renders it; see :class:`.Backend`.

    A draft is drawn by Workbench, where the scene is of surfaces that it can draw; then come one
    sample, four, sixteen …; the last level is what a data set would have of this camera, to the
    bit, denoised and checked. Blender cannot be stopped within a render. So it renders pieces of
    some 30 ms, tiles of the geometry or rows of a level's samples, as many as take so long just
    there. Noise is taken in a step of its own that can be stopped. Only where Blender denoises in a
    way of its own (by GPU, by a library that it keeps to itself) that one is one render, during
    which another picture begins in the other worker, where there are two.

    ``scene`` may have ``values``, dotted paths of the job to other values, of which light,
    normalisation and the like have the file opened again; ``time``, an animation frame; and
    ``view``, the number of the job's view that the camera is, whose noise it has then, and which
    the last level shows as the job itself has it.

    Args:
        path: A 3D file.
        job: As for a data set.
        blender: Program of an installed Blender; pip's ``bpy`` otherwise.
        workers: Processes with Blender in them.
        exact: Whether the last level is rendered at once. Else it is the mean of all samples:
            equal to 1e-5, undenoised, in little more time than at once.

    Attributes:
        facts: What the metadata would say of the scene.

    Raises:
        RenderError: Anything that is wrong with file, job or Blender.
    """

    def __init__(
        self,
        path: Path,
        job: RenderJob,
        *,
        blender: Path | None = None,
        workers: int = 1,
        exact: bool = True,
        folders: Sequence[str] = (),
        asset_id: str | None = None,
        on_stage: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.job = job.resolved()
        self.exact = self.anew = exact
        self.workers = workers
        self.passes = tuple(sorted(self.job.pixels.passes, key=lambda name: name != "rgb"))
        if not {"rgb", "depth"} <= set(self.passes):
            raise InvalidJob("What is looked at needs the passes rgb and depth.")
        request = Open(
            str(path), str(path.resolve()), asset_id or path.stem, self.job.to_dict(), 0,
            [*folders],
        )  # fmt: skip
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        self._all = [
            _Worker(
                Supervisor(Place(str(n)), blender=blender, recycle=_ENDLESS), request, self.job,
                on_stage,
            )
            for n in range(workers)
        ]
        try:
            self._all[0].opened()
        except BaseException:
            self.close()
            raise
        for worker in self._all:
            self._free.put(worker)
        self.facts = self._all[0].facts

    def samples(self, scene: Mapping[str, Any]) -> int:
        """See :class:`.Backend`."""
        return samples_of(self.job, scene)

    def render(
        self,
        camera: Camera,
        level: Level,
        should_stop: Callable[[], bool],
        scene: Mapping[str, Any],
    ) -> Drawn | None:
        """See :class:`.Backend`."""
        with self._lent() as worker:
            if should_stop():
                return None
            values = dict(scene.get("values", {}))
            engine = self.job.with_values(values).engine
            worker.set(values)
            view = scene.get("view")
            shot = encode_shot(0 if view is None else int(view), camera, scene.get("time"))
            if level.samples == 0 and (drawn := worker.draft(shot)) is not None:
                return None if should_stop() else drawn
            exact = self.exact and level.samples >= self.samples(scene)
            if engine.engine == "cycles" and (worker.tiles or not exact):
                samples = engine.samples if exact else max(level.samples, 1)
                try:
                    return worker.refined(shot, samples, should_stop, exact=exact)
                except _Whole:
                    worker.tiles = False
            return None if should_stop() else worker.whole(shot, view, level.samples)

    @contextmanager
    def _lent(self) -> Iterator[_Worker]:
        worker = self._free.get()
        try:
            yield worker
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """See :class:`.Backend`."""
        for worker in self._all:
            worker.close()


class _Whole(Exception):
    """Tiles would not be exact here."""


class _Worker:
    """One process, with the scene open as soon as it is needed; opened again after a crash."""

    def __init__(
        self, supervisor: Supervisor, request: Open, job: RenderJob,
        on_stage: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._supervisor, self._request, self._on_stage = supervisor, request, on_stage
        self._job = job
        self._lock = threading.Lock()
        self._session = 0
        self._process: Any = None
        self._values: Mapping[str, Any] = {}
        self._start: dict[str, Any] = {}
        self._drawn: tuple[Any, Drawn] | None = None
        self._drafts = True
        self.tiles = True
        self.facts: dict[str, Any] = {}

    def opened(self) -> int:
        """The session's name; the scene is opened where it is not."""
        process = self._supervisor.start(self._request)
        if not self._session or process is not self._process:
            def told(answer: Received) -> None:
                name = getattr(answer.message, "name", "")
                if name:
                    self._on_stage(name)

            answer = self._ask(self._request, _OPENING, told)
            assert isinstance(answer.message, Opened)
            self._process, self._session = self._supervisor.start(), answer.message.session
            self._values, self.tiles, self._drafts = self._start, True, True
            self._drawn = None
            self.facts = answer.message.facts
        return self._session

    def set(self, values: Mapping[str, Any]) -> None:
        """Make the scene's job what it began with, and these values."""
        start = of_the_start(self._job, values)
        if start != self._start:
            job = self._job.with_values(start).to_dict()
            self._request, self._start, self._session = replace(self._request, job=job), start, 0
        session = self.opened()
        if values == self._values:
            return
        base = self._job.to_dict()
        wanted = {path: _at(base, path) for path in self._values if path not in start}
        wanted |= {path: value for path, value in values.items() if path not in start}
        self._drawn = None
        try:
            answer = self._ask(Set(session, wanted), _PIECE)
        except RenderError:
            self._session = 0  # In no known state: it is opened again.
            raise
        assert isinstance(answer.message, Opened)
        self._values, self.facts, self.tiles = dict(values), answer.message.facts, True

    def draft(self, shot: dict[str, Any]) -> Drawn | None:
        """Drawn; ``None`` where the scene is none that a rasterizer can draw."""
        if not self._drafts:
            return None
        try:
            arrays = self._frame(Refine(self.opened(), shot))
        except (WorkerCrashed, WorkerTimeout):
            raise
        except RenderError:
            self._drafts = False
            return None
        if not {"rgb", "depth"} <= set(arrays):
            self._drafts = False
            return None
        return Drawn(arrays, 0)

    def whole(self, shot: dict[str, Any], view: int | None, samples: int) -> Drawn:
        """As a data set has it."""
        session = self.opened()
        if view is not None and shot["time"] is None:
            request = Render(session, views=[view])
        else:
            request = Render(session, shots=[shot])
        return Drawn(self._frame(request), samples)

    def refined(
        self, shot: dict[str, Any], samples: int, should_stop: Callable[[], bool],
        *, exact: bool = False,
    ) -> Drawn | None:  # fmt: skip
        """The mean of so many samples, going on where the last call stopped.

        Args:
            exact: All of them as a data set has them, and denoised.

        Raises:
            _Whole: That cannot be done in pieces.
        """
        session, wanted = self.opened(), (shot, samples, exact)
        if self._drawn is None or self._drawn[0] != wanted:
            arrays = self._unless(Refine(session, shot, samples, exact), should_stop)
            if arrays is None:
                return None
            self._drawn = wanted, Drawn(arrays, samples)
        return self._drawn[1]

    def _unless(
        self, request: Refine, should_stop: Callable[[], bool]
    ) -> dict[str, Any] | None:
        """The frame; ``None`` where it was stopped meanwhile."""
        ended = threading.Event()
        stopped: list[bool] = []

        def watch() -> None:
            while not ended.wait(_ASK):
                # Or it is not there yet.
                if should_stop() and self._supervisor.cancel(_PIECE):
                    stopped.append(True)
                    return

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        try:
            return self._frame(request)
        except Interrupted:
            # Its answer may be here before the call that asked for it has returned.
            ended.set()
            watching.join()
            if not stopped:
                raise
            return None
        finally:
            ended.set()
            watching.join()

    def _frame(self, request: Refine | Render) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def took(answer: Received) -> None:
            if isinstance(answer.message, FrameReady):
                found.append({
                    name: np.array(array) for name, array in arrays_of(answer).items()
                })  # fmt: skip

        self._ask(request, 10 * _PIECE, took, renew=1)
        if not found:
            raise _Whole
        return found[0]

    def _ask(
        self, request: Any, timeout: float,
        on_answer: Callable[[Received], None] = lambda _: None, renew: int = 0,
    ) -> Received:  # fmt: skip
        with self._lock:
            try:
                answer = self._supervisor.ask(request, timeout, on_answer, renew)
            except RenderError:
                self._session = 0
                raise
        if isinstance(answer.message, Failed):
            failed = answer.message
            raise from_reason(failed.reason, failed.message, failed.hint, failed.log)
        return answer

    def close(self) -> None:
        self._supervisor.stop()
        with self._lock:
            self._supervisor.abandon()


def _at(job: Mapping[str, Any], path: str) -> Any:
    value: Any = job
    for name in path.split("."):
        value = value[name]
    return value
