"""A 3D file in Blender: drawn first, then path traced sample by sample."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...cameras import Camera
from ...errors import InvalidJob, RenderError, WorkerCrashed, WorkerTimeout, from_reason
from ...job import RenderJob
from ...worker.channel import Received, arrays_of
from ...worker.protocol import Failed, FrameReady, Open, Opened, Refine, Render, Set
from ...worker.shots import encode_shot
from ...worker.supervisor import Place, Supervisor
from ..levels import Level
from . import Backend, Drawn, samples_of
from .pieces import Pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SceneBackend"]

_OPENING: Final = 300.0
_PIECE: Final = 120.0
_ENDLESS: Final = 10**9
"""Pieces are many, small, and of one scene: whoever moves must not wait for another worker."""


class SceneBackend(Backend):
    """Shows a 3D file as its job renders it; see :class:`.Backend`.

    A draft is drawn by Workbench, where the scene is of surfaces that it can draw; then come one
    sample, two, four …; the last level is what a data set would have of this camera, to the bit,
    denoised and checked. Blender cannot be stopped within a render. So it renders pieces of some
    30 ms, a few samples of the picture or a tile of one; the last level, too, is made of tiles.
    Only where a job denoises, or has several lights, that one is one render, during which another
    picture begins in the other worker, where there are two.

    ``scene`` may have ``values``, dotted paths of the job to other values; ``time``, an animation
    frame; and ``view``, the number of the job's view that the camera is, whose noise it has then,
    and which the last level shows as the job itself has it.

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
        self.exact = exact
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
                Supervisor(Place(str(n)), blender=blender, recycle=_ENDLESS), request, on_stage
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
            cycles, last = engine.engine == "cycles", level.samples >= self.samples(scene)
            exact = last and self.exact
            if not cycles or (exact and not worker.splits):
                return None if should_stop() else worker.whole(shot, view, level.samples)
            samples = engine.samples if exact else max(level.samples, 1)
            return worker.refined(shot, samples, should_stop, exact=exact)

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


class _Worker:
    """One process, with the scene open as soon as it is needed; opened again after a crash."""

    def __init__(
        self, supervisor: Supervisor, request: Open, on_stage: Callable[[str], None]
    ) -> None:
        self._supervisor, self._request, self._on_stage = supervisor, request, on_stage
        self._lock = threading.Lock()
        self._session = 0
        self._process: Any = None
        self._values: Mapping[str, Any] = {}
        self._key: tuple[dict[str, Any], bool] | None = None
        self._drawn: Drawn | None = None
        self._samples = 0
        self._part = 0
        self._round = (1, (1, 1))
        self._pieces = Pieces()
        self._drafts = True
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
            self._values = {}
            self._forget()
            self.facts = answer.message.facts
        return self._session

    def set(self, values: Mapping[str, Any]) -> None:
        """Make the scene's job what it began with, and these values."""
        session = self.opened()
        if values == self._values:
            return
        base = self._request.job
        wanted = {path: _at(base, path) for path in self._values} | dict(values)
        self._forget()
        try:
            answer = self._ask(Set(session, wanted), _PIECE)
        except RenderError:
            self._session = 0  # In no known state: it is opened again.
            raise
        assert isinstance(answer.message, Opened)
        self._values, self.facts = dict(values), answer.message.facts

    @property
    def splits(self) -> bool:
        """Whether tiles of a picture are what the whole one is; see ``Refining.splits``."""
        light = self.facts["scene"]["lighting"]
        return not self.facts["engine"]["denoised"] and "of_views" not in light

    def draft(self, shot: dict[str, Any]) -> Drawn | None:
        """Drawn; ``None`` where the scene is none that a rasterizer can draw."""
        if not self._drafts:
            return None
        try:
            arrays = self._frame(Refine(self.opened(), shot, 0, 0))
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
        self._forget()
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
            exact: All of them as a data set has them, tile by tile.
        """
        session, size = self.opened(), (shot["width"], shot["height"])
        key = (shot, exact)
        if key != self._key or self._samples > samples:
            self._forget()
            self._key = key
        while self._drawn is None or self._samples < samples:
            if should_stop():
                return None
            if not self._part:
                left = samples - self._samples
                if exact:
                    self._round = samples, self._pieces.tiles(*size, samples)
                else:
                    self._round = self._pieces.next(*size, left)
            count, grid = self._round
            parts = grid[0] * grid[1]
            give = self._part + 1 == parts and self._samples + count >= samples
            request = Refine(
                session, shot, self._samples, count, give, self._part, *grid, exact
            )
            first = self._samples == self._part == 0
            since = time.perf_counter()
            try:
                if give:
                    self._drawn = Drawn(self._frame(request), samples)
                else:
                    self._drawn = None
                    self._ask(request, _PIECE)
            except RenderError:
                self._forget()
                raise
            if not first:  # That one had the geometry to render, too.
                work = size[0] * size[1] * count / parts
                self._pieces.took(work, time.perf_counter() - since)
            self._part += 1
            if self._part == parts:
                self._part, self._samples = 0, self._samples + count
        return self._drawn

    def _forget(self) -> None:
        self._key, self._drawn, self._samples, self._part = None, None, 0, 0

    def _frame(self, request: Refine | Render) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def took(answer: Received) -> None:
            if isinstance(answer.message, FrameReady):
                found.append({
                    name: np.array(array) for name, array in arrays_of(answer).items()
                })  # fmt: skip

        self._ask(request, 10 * _PIECE, took)
        return found[0]

    def _ask(
        self, request: Any, timeout: float, on_answer: Callable[[Received], None] = lambda _: None
    ) -> Received:
        with self._lock:
            try:
                answer = self._supervisor.ask(request, timeout, on_answer)
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
