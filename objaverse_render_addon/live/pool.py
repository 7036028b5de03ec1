"""Workers on this machine that have scenes open."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from ..batch.lanes import capacity
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
from ..worker.channel import Received
from ..worker.protocol import Change, Done, Opened, RenderAsset
from ..worker.wall import Sandbox
from .frames import LiveFrame
from .host import Changes, OpenedScene, RenderOptions
from .mapping import Maps
from .scene import Scene, Snapshot
from .spread import GRACE, OPENING, Run, own_views
from .vram import VramLimit
from .worker_lane import WorkerLane

__all__ = ["Pool", "start"]

_T = TypeVar("_T")
_R = TypeVar("_R")

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
        with self._lane(None, until) as lane:
            begun(lambda: lane.cancel(GRACE))
            made = replace(request, threads=lane.place.threads)
            try:
                message = lane.ask(made, until - time.monotonic(), on_answer).message
            finally:
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
