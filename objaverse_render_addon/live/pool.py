"""Workers on this machine that have scenes open."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from ..cameras import Camera
from ..errors import (
    Interrupted,
    InvalidJob,
    StaleFrame,
    UnknownRequest,
    WorkerCrashed,
    WorkerTimeout,
)
from ..job import RenderJob
from ..stage_edits import Edit, encode_edit
from ..words import how_many
from ..worker.channel import Received
from ..worker.protocol import Change, Done, Opened, RenderAsset
from .frames import LiveFrame
from .host import Changes, OpenedScene, RenderOptions
from .mapping import Maps
from .scene import Scene, Snapshot
from .spread import GRACE, Run, own_views
from .standby import Standby
from .worker_lane import WorkerLane

__all__ = ["Pool"]

_T = TypeVar("_T")
_R = TypeVar("_R")

_CHANGE: Final = 60.0
_OPENING: Final = 300.0
"""Seconds that a scene may take to be opened, or opened again."""


class Pool(Maps):
    """Workers, and the scenes that are open in them.

    A scene is held by whichever worker it is needed in: several render one animation, and where one
    dies, the next opens the scene and brings it to its state. End it with :meth:`close`, or use it
    in ``with``.

    Attributes:
        workers: Their number.
    """

    def __init__(
        self, lanes: list[WorkerLane], *, standby: Sequence[WorkerLane] = (), owned: bool = True
    ) -> None:
        super().__init__(self)
        self._lanes, self._owned = lanes, owned
        self._standby = Standby(standby)
        self._changed = threading.Condition()
        self._scenes: dict[int, Scene] = {}
        self._numbers = itertools.count(1)
        self._clock = itertools.count(1)
        self._here = threading.local()
        self._closed = False

    @property
    def workers(self) -> int:
        """Their number."""
        return len(self._lanes)

    @property
    def pids(self) -> list[int]:
        """Of the workers that are there."""
        return [lane.supervisor.pid for lane in self._lanes if lane.supervisor.holds]

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        closed = ", closed" if self._closed else ""
        return f"<Pool: {how_many(self.workers, 'worker')}{closed}>"

    def close(self) -> None:
        """End all workers; what is in hand fails as Interrupted. Frames stay."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        if not self._owned:
            return
        for lane in self._lanes:
            lane.stop()
        self._standby.close()
        deadline = time.monotonic() + 10
        for lane in self._lanes:
            with self._changed:
                while lane.busy and time.monotonic() < deadline:
                    self._changed.wait(0.1)
            lane.close()

    # --- Workers, lent ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def _lane(
        self,
        scene: Scene | None,
        until: float | None = None,
        stopped: Callable[[], bool] = lambda: False,
        state: int | None = None,
    ) -> Iterator[WorkerLane]:
        """A worker for one request: best one that has the scene, else one that has none.

        Args:
            state: That the scene is wanted in; its newest where it is ``None``.
        """
        with self._changed:
            while True:
                if self._closed:
                    raise Interrupted("The pool is closed.")
                if stopped():
                    raise Interrupted("Cancelled.")
                idle = [lane for lane in self._fitting(scene, state) if not lane.busy]
                if idle:
                    break
                left = 1.0 if until is None else until - time.monotonic()
                if left <= 0:
                    raise WorkerTimeout("No worker came free in time.")
                self._changed.wait(min(left, 1.0))

            def merit(lane: WorkerLane) -> tuple[bool, bool, bool, int]:
                has = scene is not None and lane.scene is scene
                # To start one takes longer than to open most scenes.
                return not has, lane.scene is not None, not lane.supervisor.holds, lane.used

            lane = min(idle, key=merit)
            lane.busy, lane.used, lane.canceled = True, next(self._clock), None
        try:
            yield lane
        finally:
            with self._changed:
                lane.busy = False
                if not lane.supervisor.pid and lane in self._lanes:
                    self._lanes[self._lanes.index(lane)] = self._standby.swap(lane)
                self._changed.notify_all()

    def _fitting(self, scene: Scene | None, state: int | None) -> list[WorkerLane]:
        """Workers that may have a scene in a state: where a function was called in it, few can."""
        if scene is None or not scene.called:
            return self._lanes
        keeping = [lane for lane in self._lanes if lane.keeps(scene)]
        if state is None or scene.is_cut(0, state):
            return keeping or self._lanes
        # What is older is another's: what was called would be lost.
        return [lane for lane in self._lanes if lane not in keeping] or self._lanes

    def _need_worker(self) -> None:
        """Look whether one may come free.

        Raises:
            InvalidJob: All are lent out, one of them to who asks.
        """
        with self._changed:
            lent = getattr(self._here, "lent", 0) and all(lane.lent for lane in self._lanes)
        if lent:
            raise InvalidJob(
                "A function that has a worker lent waits for another, and all of them are lent.",
                hint="Open the scene by what the function gets first, or leave workers to the "
                "pool: map(…, workers=N).",
            )

    def _idle(self) -> int:
        with self._changed:
            return sum(not lane.busy for lane in self._lanes)

    # --- Host ------------------------------------------------------------------------------------

    def where(self, path: str) -> str:
        """See :class:`.host.Host`."""
        return str(Path(path).absolute())

    def open_scene(
        self,
        path: str,
        job: RenderJob,
        *,
        name: str = "",
        folders: Sequence[str] = (),
        timeout: float = _OPENING,
        on_stage: Callable[[str], None] = lambda _: None,
        owner: str = "",
    ) -> OpenedScene:
        """See :class:`.host.Host`."""
        self._need_worker()
        scene = Scene(
            next(self._numbers), path, path, name or Path(path).stem or "stage", job,
            tuple(folders), owner=owner,
        )
        until = time.monotonic() + timeout
        with self._lane(scene, until) as lane:
            scene.threads = lane.place.threads
            message = self._again(
                lambda: lane.bring(scene.snapshot(), until - time.monotonic(), on_stage)
            )
        assert isinstance(message, Opened)
        self._standby.tend(scene.snapshot().opening())
        scene.views = message.views
        scene.learned(message.facts, message.warnings)
        with self._changed:
            self._scenes[scene.id] = scene
        return self.opened(scene.id)

    def opened(self, scene: int) -> OpenedScene:
        """What an open scene is now."""
        found = self._scene(scene)
        snapshot = found.snapshot()
        return OpenedScene(
            found.id, snapshot.state, snapshot.job, found.views, list(found.warnings), found.facts
        )

    def _scene(self, number: int) -> Scene:
        with self._changed:
            if number not in self._scenes:
                raise UnknownRequest(
                    f"The scene {number} is not open.", hint="It was closed; open it again."
                )
            return self._scenes[number]

    def change_scene(
        self,
        scene: int,
        edits: Sequence[Edit],
        values: Mapping[str, Any] | None = None,
        timeout: float = _CHANGE,
    ) -> Changes:
        """See :class:`.host.Host`."""
        self._need_worker()
        found, values = self._scene(scene), dict(values or {})
        until = time.monotonic() + timeout
        with found.writing:
            if values:
                found.snapshot().job.with_values(values)  # What is wrong with them is said here.
            encoded = [encode_edit(edit) for edit in edits]
            request = Change(0, encoded, found.state + 1, values)
            with self._lane(found, until) as lane:
                answer = self._again(lambda: lane.change(found, request, until - time.monotonic()))
            found.changed(answer.state, zip(edits, encoded, strict=True), values)
            if answer.facts:
                found.learned(answer.facts, answer.warnings)
            return Changes(answer.state, answer.found, answer.warnings, answer.facts)

    def _again(self, task: Callable[[], _T]) -> _T:
        """What a task gives, tried once more where its worker died under it."""
        with contextlib.suppress(WorkerCrashed):
            return task()
        try:
            return task()
        except WorkerCrashed as error:
            raise WorkerCrashed(
                f"{error.message} It was tried twice.", hint=error.hint, log=error.log
            ) from error

    def _bring(self, lane: WorkerLane, snapshot: Snapshot, timeout: float) -> None:
        """Have a scene open in a worker before it is rendered, tried once more where that died.

        Args:
            timeout: Seconds that changes may take.

        Raises:
            WorkerStartFailed, WorkerCrashed: Both died.
            RenderError: As :meth:`.worker_lane.WorkerLane.bring`.
        """

        def bring() -> None:
            lane.bring(snapshot, timeout if lane.has(snapshot.scene) else _OPENING)

        try:
            self._again(bring)
        except WorkerCrashed as error:
            name = snapshot.scene.source or "The scene"
            raise WorkerCrashed(
                f"{name} could not be opened again: {error.message}",
                hint=error.hint or "The log has the worker's last lines; open the scene anew, or "
                "in the state that it was in before its last change.",
                log=error.log,
            ) from error

    def call_in_scene(
        self,
        scene: int,
        function: str,
        arguments: Mapping[str, Any],
        timeout: float = _CHANGE,
    ) -> Any:
        """See :class:`.host.Host`."""
        self._need_worker()
        found = self._scene(scene)
        until = time.monotonic() + timeout
        with found.writing, self._lane(found, until) as lane:
            # To open it again leaves nothing behind where it fails; to call again might.
            self._again(lambda: lane.bring(found.snapshot(), until - time.monotonic()))
            result = lane.call(
                found.snapshot(), function, dict(arguments), until - time.monotonic()
            )
            found.lost = f"{function} was called in it, which is not called again."
            found.called += (found.state + 1,)
            found.changed(found.state + 1, [], {})
            return result

    def inspect_scene(
        self,
        scene: int,
        timeout: float = _CHANGE,
        points: Sequence[str] | None = None,
        at: int | None = None,
        called: str | None = None,
    ) -> dict[str, Any]:
        """See :class:`.host.Host`."""
        self._need_worker()
        found = self._scene(scene)
        with self._lane(found, time.monotonic() + timeout) as lane:
            return self._again(lambda: lane.inspect(found.snapshot(), timeout, points, at, called))

    def close_scene(self, scene: int) -> None:
        """See :class:`.host.Host`."""
        with self._changed:
            found = self._scenes.pop(scene, None)
            idle = [lane for lane in self._lanes if lane.scene is found and not lane.busy]
            for lane in idle:
                lane.busy, lane.canceled = True, None
        for lane in idle if found is not None else ():
            try:
                lane.close_scene(found)  # type: ignore[arg-type]
            finally:
                with self._changed:
                    lane.busy = False
                    self._changed.notify_all()

    def render_scene(
        self,
        scene: int,
        shots: Sequence[tuple[Camera, int | None]] | None,
        options: RenderOptions = RenderOptions(),  # noqa: B008  (it is frozen)
    ) -> Iterator[LiveFrame]:
        """See :class:`.host.Host`."""
        self._need_worker()
        found = self._scene(scene)
        snapshot = found.snapshot()
        if options.at_least is not None and snapshot.state < options.at_least:
            snapshot = self._await_state(found, options)
        if shots is None:
            return own_views(self, snapshot, options)
        numbered = [(index, *shot) for index, shot in enumerate(shots)]
        return Run(self, snapshot, numbered, options).frames()

    def render_asset(
        self,
        request: RenderAsset,
        timeout: float,
        on_answer: Callable[[Received], None],
        begun: Callable[[Callable[[], None]], None] = lambda _: None,
    ) -> Done:
        """Have an asset rendered into a data set, as a batch has it, by a worker of this pool.

        Args:
            request: Its paths are this machine's.
            timeout: Seconds that it may take, the wait for a worker included.
            on_answer: Gets Stage and FrameDone, in the calling thread.
            begun: Given, when a worker has it, what cancels it from any thread.
        """
        until = time.monotonic() + timeout
        guard, own = threading.Lock(), list[WorkerLane]()

        def cancel() -> None:
            with guard:
                for lane in own:
                    lane.cancel(GRACE)

        with self._lane(None, until) as lane:
            own.append(lane)
            begun(cancel)
            made = replace(request, threads=lane.place.threads)
            try:
                message = lane.ask(made, until - time.monotonic(), on_answer).message
            finally:
                with guard:
                    own.clear()  # It is another's soon.
                lane.scene = None  # What was open there is closed.
        if not isinstance(message, Done):
            raise WorkerCrashed("The worker answered something else than what it was asked.")
        return message

    def _await_state(self, scene: Scene, options: RenderOptions) -> Snapshot:
        """For a reader: until whoever writes has come so far."""
        limit = options.timeout if options.deadline is None else options.deadline
        until = time.monotonic() + limit
        assert options.at_least is not None
        while True:
            snapshot = scene.snapshot()
            if snapshot.state >= options.at_least:
                return snapshot
            if time.monotonic() > until:
                raise StaleFrame(
                    f"The scene is in state {snapshot.state}; {options.at_least} did not come."
                )
            time.sleep(0.002)

    # --- Functions over workers ------------------------------------------------------------------

    @contextlib.contextmanager
    def lend(self) -> Iterator[Pool]:
        """See :class:`.mapping.Maps`."""
        self._need_worker()
        with self._lane(None) as lane:
            lane.lent, before = True, getattr(self._here, "lent", 0)
            self._here.lent = before + 1
            try:
                yield _Lent(lane)
            finally:
                lane.lent, self._here.lent = False, before

    # --- What is going on ------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Plain data: workers with their scenes and memory, and open scenes."""
        with self._changed:
            scenes = list(self._scenes.values())
            lanes = list(self._lanes)
        return {
            "workers": [
                {
                    "place": lane.place.name, "pid": lane.supervisor.pid, "busy": lane.busy,
                    "started": lane.supervisor.started, "memory": lane.supervisor.memory,
                    "scene": getattr(lane.scene, "id", None), "copied": lane.copied,
                }
                for lane in lanes
            ],
            "standby": self._standby.pids,
            "scenes": [
                {"id": one.id, "source": one.source, "state": one.state, "owner": one.owner}
                for one in scenes
            ],
        }  # fmt: skip


class _Lent(Pool):
    """One worker of a pool, for whoever has it lent."""

    def __init__(self, lane: WorkerLane) -> None:
        super().__init__([], owned=False)
        self._lent = lane
        self._inner = threading.RLock()

    @property
    def workers(self) -> int:
        """One."""
        return 1

    @contextlib.contextmanager
    def _lane(
        self,
        _scene: Scene | None,
        _until: float | None = None,
        stopped: Callable[[], bool] = lambda: False,
        _state: int | None = None,
    ) -> Iterator[WorkerLane]:
        with self._inner:
            if stopped():
                raise Interrupted("Cancelled.")
            self._lent.canceled = None
            yield self._lent

    def _idle(self) -> int:
        return 1
