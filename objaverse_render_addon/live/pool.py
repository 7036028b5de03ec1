"""Workers on this machine that have scenes open."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from ..batch.lanes import capacity
from ..cameras import Camera
from ..errors import (
    Interrupted,
    InvalidJob,
    RenderError,
    StaleFrame,
    UnknownRequest,
    WorkerCrashed,
    WorkerTimeout,
)
from ..job import RenderJob
from ..stage_edits import Edit, encode_edit
from ..worker.protocol import Change, Opened
from ..worker.wall import Sandbox
from .frames import LiveFrame
from .host import Changes, OpenedScene, RenderOptions
from .mapping import Maps
from .scene import Scene, Snapshot
from .vram import VramLimit
from .worker_lane import WorkerLane

__all__ = ["Pool", "start"]

_T = TypeVar("_T")
_R = TypeVar("_R")

OPENING: Final = 300.0
"""Seconds that a scene may take to be opened again."""
_GRACE: Final = 2.0
"""Seconds in which a cancelled render may end before its worker is ended."""
_CHUNK: Final = 8
_AT_ONCE: Final = 0.05
_EXCUSED: Final = 4
_FIRST: Final = 120.0
"""More seconds for the first frame of EEVEE, which compiles shaders."""
_CHANGE: Final = 60.0


def start(
    workers: int | Literal["auto"] = "auto",
    *,
    gpus: Sequence[int] | None = None,
    device: str = "auto",
    blender: str | Path | None = None,
    scratch: str | Path | None = None,
    max_memory: int = 0,
    max_vram: int = 0,
    sandbox: Sandbox = "auto",
    modules: Sequence[str] = (),
    folders: Sequence[str | Path] = (),
) -> Pool:
    """Workers on this machine; they start when they are needed.

    Args:
        workers: Their number, or ``auto``: by cores, memory and what GPUs have free.
        gpus: NVIDIA GPUs to use, as ``nvidia-smi`` counts; all otherwise.
        device: What renders: ``auto``, ``cpu``, or a kind of GPU.
        blender: Program of an installed Blender; pip's ``bpy`` otherwise.
        scratch: Where workers have their folders.
        max_memory: Bytes that a worker may take; 0 for no limit.
        max_vram: Bytes of a GPU's memory that a worker may take; 0 for no limit.
        sandbox: Whether workers are shut in (docs/security.md).
        modules: Names of modules whose functions may be called beside a scene
            (:meth:`.session.Session.call`).
        folders: Where files will lie that are opened or added, as far as that is known: a worker
            that is shut in is replaced when one lies elsewhere.

    Raises:
        DeviceUnavailable: A GPU was asked for that is not there.
        InvalidJob: Some number is none of workers.
    """
    job = RenderJob().with_values({"engine.device": device})
    places = capacity.places(
        job, workers=None if workers == "auto" else workers, wanted_gpus=gpus
    )
    if max_vram:
        # Only so many fit into what the GPUs have free.
        free = {gpu.bus_id: gpu.free for gpu in capacity.gpus()}
        fitting: list[Any] = []
        for place in places:
            beside = sum(one.bus_id == place.bus_id for one in fitting)
            if not place.bus_id or free.get(place.bus_id, 0) >= (beside + 1) * max_vram:
                fitting.append(place)
        if not fitting:
            raise InvalidJob(
                f"No GPU has {max_vram / 2**20:,.0f} MiB free.", hint="Lower --max-vram."
            )
        places = fitting
    look = VramLimit(max_vram) if max_vram else lambda _: None
    lanes = [
        WorkerLane(
            place, blender=None if blender is None else Path(blender),
            scratch=None if scratch is None else Path(scratch), max_memory=max_memory,
            sandbox=sandbox, modules=modules, folders=[Path(one).absolute() for one in folders],
            look=look,
        )
        for place in places
    ]  # fmt: skip
    return Pool(lanes)


class Pool(Maps):
    """Workers, and the scenes that are open in them.

    A scene is held by whichever worker it is needed in: several render one animation, and where one
    dies, the next opens the scene and brings it to its state. End it with :meth:`close`, or use it
    in ``with``.

    Attributes:
        workers: Their number.
    """

    def __init__(self, lanes: list[WorkerLane], *, owned: bool = True) -> None:
        super().__init__(self)
        self._lanes, self._owned = lanes, owned
        self._changed = threading.Condition()
        self._scenes: dict[int, Scene] = {}
        self._numbers = itertools.count(1)
        self._clock = itertools.count(1)
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
    ) -> Iterator[WorkerLane]:
        """A worker for one request: best one that has the scene, else one that has none."""
        with self._changed:
            while True:
                if self._closed:
                    raise Interrupted("The pool is closed.")
                if stopped():
                    raise Interrupted("Cancelled.")
                idle = [lane for lane in self._lanes if not lane.busy]
                if idle:
                    break
                left = 1.0 if until is None else until - time.monotonic()
                if left <= 0:
                    raise WorkerTimeout("No worker came free in time.")
                self._changed.wait(min(left, 1.0))

            def merit(lane: WorkerLane) -> tuple[bool, bool, int]:
                has = scene is not None and lane.scene is scene
                return not has, lane.scene is not None, lane.used

            lane = min(idle, key=merit)
            lane.busy, lane.used = True, next(self._clock)
        try:
            yield lane
        finally:
            with self._changed:
                lane.busy = False
                self._changed.notify_all()

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
        timeout: float = OPENING,
        on_stage: Callable[[str], None] = lambda _: None,
        owner: str = "",
    ) -> OpenedScene:
        """See :class:`.host.Host`."""
        scene = Scene(
            next(self._numbers), path, path, name or Path(path).stem or "stage", job,
            tuple(folders), owner=owner,
        )
        with self._lane(scene, time.monotonic() + timeout) as lane:
            scene.threads = lane.place.threads
            message = lane.bring(scene.snapshot(), timeout, on_stage)
        assert isinstance(message, Opened)
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
        found, values = self._scene(scene), dict(values or {})
        until = time.monotonic() + timeout
        with found.writing:
            snapshot = found.snapshot()
            if values:
                snapshot.job.with_values(values)  # What is wrong with them is said here.
            request = Change(0, [encode_edit(edit) for edit in edits], snapshot.state + 1, values)
            with self._lane(found, until) as lane:
                answer = self._again(
                    lambda: lane.change(snapshot, request, until - time.monotonic())
                )
            found.changed(answer.state, edits, values)
            if answer.facts:
                found.learned(answer.facts, answer.warnings)
            return Changes(answer.state, answer.found, answer.warnings, answer.facts)

    def _again(self, task: Callable[[], _T]) -> _T:
        """What a task gives, tried once more where its worker died under it."""
        try:
            return task()
        except WorkerCrashed:
            return task()

    def call_in_scene(
        self,
        scene: int,
        function: str,
        arguments: Mapping[str, Any],
        timeout: float = _CHANGE,
    ) -> Any:
        """See :class:`.host.Host`."""
        found = self._scene(scene)
        with found.writing, self._lane(found, time.monotonic() + timeout) as lane:
            result = lane.call(found.snapshot(), function, dict(arguments), timeout)
            found.lost = f"{function} was called in it, which is not called again."
            found.lost_since = found.state + 1
            found.changed(found.state + 1, [], {})
            return result

    def inspect_scene(
        self, scene: int, timeout: float = _CHANGE, points: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """See :class:`.host.Host`."""
        found = self._scene(scene)
        with self._lane(found, time.monotonic() + timeout) as lane:
            return self._again(lambda: lane.inspect(found.snapshot(), timeout, points))

    def close_scene(self, scene: int) -> None:
        """See :class:`.host.Host`."""
        with self._changed:
            found = self._scenes.pop(scene, None)
            idle = [lane for lane in self._lanes if lane.scene is found and not lane.busy]
            for lane in idle:
                lane.busy = True
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
        found = self._scene(scene)
        snapshot = found.snapshot()
        if options.at_least is not None and snapshot.state < options.at_least:
            snapshot = self._await_state(found, options)
        if shots is None:
            return _own_views(self, snapshot, options)
        numbered = [(index, *shot) for index, shot in enumerate(shots)]
        return _Run(self, snapshot, numbered, options).frames()

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
        with self._lane(None) as lane:
            yield _Lent(lane)

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
            "scenes": [
                {"id": one.id, "source": one.source, "state": one.state, "owner": one.owner}
                for one in scenes
            ],
        }  # fmt: skip


class _Run:
    """Shots of one scene in one state, spread over workers, and put into their order again."""

    def __init__(
        self,
        pool: Pool,
        snapshot: Snapshot,
        shots: list[tuple[int, Camera, int | None]],
        options: RenderOptions,
    ) -> None:
        self._pool, self._snapshot, self._options = pool, snapshot, options
        self._shots = shots
        self._waiting = deque(shots)
        self._until = None if options.deadline is None else time.monotonic() + options.deadline
        self._changed = threading.Condition()
        self._done: dict[int, LiveFrame | Exception] = {}
        self._crashes: dict[int, int] = {}
        self._excused = 0
        self._lanes: set[WorkerLane] = set()
        self._given = 0
        self._stopped = False
        self._working = 0
        wanted = options.workers or max(1, min(pool._idle(), (len(shots) + 3) // 4))
        self._workers = min(wanted, pool.workers, max(1, len(shots)))
        self._chunk = max(1, min(_CHUNK, len(shots) // (4 * self._workers)))

    def frames(self) -> Iterator[LiveFrame]:
        """In the order of the shots."""
        if not self._shots:
            return
        if len(self._shots) == 1:
            self._work()
            yield self._next(0)
            return
        threads = [
            threading.Thread(target=self._work, name="live-render", daemon=True)
            for _ in range(self._workers)
        ]
        try:
            for thread in threads:
                thread.start()
            for position in range(len(self._shots)):
                yield self._next(position)
        finally:
            self._stop()
            for thread in threads:
                thread.join()

    def _next(self, position: int) -> LiveFrame:
        with self._changed:
            while position not in self._done:
                left = 1.0 if self._until is None else self._until - time.monotonic()
                if left <= 0:
                    raise WorkerTimeout(
                        f"Shot {position}: it was not there by the deadline.",
                        hint="Allow more, or render less.",
                    )
                self._changed.wait(min(left, 1.0))
            found = self._done.pop(position)
            self._given = position + 1
            self._changed.notify_all()
        if isinstance(found, Exception):
            raise found
        return found

    def _stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify_all()
            for lane in self._lanes:
                lane.cancel(_GRACE)

    def _take(self) -> list[tuple[int, Camera, int | None]]:
        """The next few shots, once whoever looks at the frames has come near; none at the end."""
        ahead = 2 * self._chunk * self._workers
        with self._changed:
            while True:
                if self._stopped or (not self._waiting and not self._working):
                    return []
                if self._waiting and self._waiting[0][0] < self._given + ahead:
                    chunk = [self._waiting.popleft()]
                    # What a worker died of is tried alone.
                    while (
                        self._waiting and len(chunk) < self._chunk
                        and not self._crashes.get(chunk[0][0])
                        and not self._crashes.get(self._waiting[0][0])
                    ):  # fmt: skip
                        chunk.append(self._waiting.popleft())
                    self._working += 1
                    return chunk
                self._changed.wait(1.0)

    def _work(self) -> None:
        while chunk := self._take():
            left = {index: (index, *rest) for index, *rest in chunk}
            since = time.monotonic()
            try:
                self._render(chunk, left)
            except WorkerCrashed as error:
                # One that went at once was dead before it was asked.
                dead = time.monotonic() - since < _AT_ONCE and self._excused < _EXCUSED
                self._excused += dead
                self._crashed(error, left, charged=not dead)
            except Exception as error:
                self._failed(error, left)
            finally:
                with self._changed:
                    self._working -= 1
                    self._changed.notify_all()

    def _render(self, chunk: list[Any], left: dict[int, Any]) -> None:
        def came(frame: LiveFrame) -> None:
            if frame.state != self._snapshot.state:
                raise StaleFrame(
                    f"A frame of state {frame.state} came; {self._snapshot.state} was asked for."
                )
            with self._changed:
                left.pop(frame.position)
                self._done[frame.position] = frame
                self._changed.notify_all()

        options = self._options
        with self._pool._lane(self._snapshot.scene, self._until, lambda: self._stopped) as lane:
            with self._changed:
                if self._stopped:
                    return
                self._lanes.add(lane)
            try:
                timeout = options.timeout * len(chunk)
                if self._snapshot.job.engine.engine == "eevee":
                    timeout += _FIRST
                if self._until is not None:
                    # What is late is cancelled; its worker has to end it soon, or ends with it.
                    late = _GRACE if len(self._shots) > 1 else 0.0
                    timeout = min(timeout, self._until - time.monotonic() + late)
                if not lane.has(self._snapshot.scene):
                    lane.bring(self._snapshot, OPENING)
                lane.render(self._snapshot, chunk, options.lane, timeout, came)
            finally:
                with self._changed:
                    self._lanes.discard(lane)

    def _crashed(self, error: WorkerCrashed, left: dict[int, Any], *, charged: bool) -> None:
        """Try each shot once more that was not there yet; what it died of twice has failed."""
        with self._changed:
            if not left:
                return
            first = min(left)
            self._crashes[first] = self._crashes.get(first, 0) + charged
            if self._crashes[first] > 1:
                left.pop(first)
                self._done[first] = WorkerCrashed(
                    f"Shot {first}: {error.message} It was tried twice.",
                    hint=error.hint, log=error.log,
                )  # fmt: skip
            if not self._stopped:
                self._waiting = deque(
                    sorted([*self._waiting, *left.values()], key=lambda shot: shot[0])
                )
            self._changed.notify_all()

    def _failed(self, error: Exception, left: dict[int, Any]) -> None:
        with self._changed:
            if isinstance(error, RenderError) and left and not isinstance(error, Interrupted):
                error.message = f"Shot {min(left)}: {error.message}"
            for index in left:
                self._done[index] = error
            self._changed.notify_all()


def _own_views(pool: Pool, snapshot: Snapshot, options: RenderOptions) -> Iterator[LiveFrame]:
    """All views of a scene's job, rendered by one worker, as into a data set."""
    came: queue.SimpleQueue[LiveFrame | Exception | None] = queue.SimpleQueue()
    until = None if options.deadline is None else time.monotonic() + options.deadline
    stopped = threading.Event()
    lanes: list[WorkerLane] = []

    def work() -> None:
        try:
            with pool._lane(snapshot.scene, until, stopped.is_set) as lane:
                lanes.append(lane)
                if not lane.has(snapshot.scene):
                    lane.bring(snapshot, OPENING)
                timeout = options.timeout * max(1, snapshot.scene.views)
                if snapshot.job.engine.engine == "eevee":
                    timeout += _FIRST
                if until is not None:
                    timeout = min(timeout, until - time.monotonic())
                lane.render(snapshot, None, options.lane, timeout, came.put)
                lanes.clear()
            came.put(None)
        except Exception as error:
            lanes.clear()
            came.put(error)

    thread = threading.Thread(target=work, name="live-views", daemon=True)
    thread.start()
    try:
        while (found := came.get()) is not None:
            if isinstance(found, Exception):
                raise found
            yield found
    finally:
        stopped.set()
        for lane in list(lanes):
            lane.cancel(_GRACE)
        thread.join()


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
    ) -> Iterator[WorkerLane]:
        with self._inner:
            if stopped():
                raise Interrupted("Cancelled.")
            yield self._lent

    def _idle(self) -> int:
        return 1
