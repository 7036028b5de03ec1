"""Where assets are rendered: lanes, each with one worker at a time.

The run gives a lane one task after the other and hears of it through a queue. A lane keeps its
worker from asset to asset and replaces it when it died, hung, grew or has done its share.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from ...assets.sources import Source
from ...dataset.layout import remove_parts
from ...errors import (
    DeviceUnavailable,
    Interrupted,
    OutOfMemory,
    RenderError,
    UnexpectedError,
    WorkerTimeout,
    from_reason,
)
from ...worker.process import START_TIMEOUT, WorkerProcess
from ...worker.protocol import Describe, Described, Done, Failed, FrameDone, RenderAsset, Stage

__all__ = [
    "Lane",
    "LaneBroken",
    "LaneThread",
    "LocalLane",
    "Place",
    "Task",
    "Told",
    "sha256_of",
]

RECYCLE: Final = 1000
"""Assets after which a worker is replaced: Blender's own memory only grows."""
_GROWN: Final = 0.6
"""Share of the memory limit from which a worker that has finished an asset is replaced."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a lane renders.

    Attributes:
        name: For people: ``cpu 1``, ``gpu 0``.
        environment: Variables that bind the worker to it.
        threads: CPU threads where the job leaves that open; 0 for all.
        bus_id: PCI address of the GPU that the worker must see, and no other.
    """

    name: str = "1"
    environment: Mapping[str, str] = field(default_factory=dict)
    threads: int = 0
    bus_id: str = ""


@dataclass(slots=True)
class Task:
    """One attempt at one asset.

    Attributes:
        id: The asset's number in the ledger.
        out: Folder on this machine that the worker writes the asset to.
        path: The asset's file on this machine.
        entry: Where the file comes from, for a lane that fetches it itself.
        folder: All of it is the asset's own: the repository that the file is in.
    """

    id: int
    source: str
    asset_id: str
    job: dict[str, Any]
    out: Path
    path: Path
    provenance: dict[str, Any] = field(default_factory=dict)
    entry: Source | None = None
    folder: Path | None = None


Progress: TypeAlias = Callable[[Stage | FrameDone], None]


class LaneBroken(Exception):
    """There is nothing to render with here; no asset's fault.

    Attributes:
        error: Why.
        waits: Whether it may be better later: a cluster that has no room just now.
    """

    def __init__(self, error: RenderError, *, waits: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.waits = waits


class Lane(Protocol):
    """Renders one asset at a time."""

    def render(self, task: Task, tell: Progress) -> Done:
        """Render.

        Raises:
            RenderError: The asset's failure, or the worker's.
            LaneBroken: No worker starts.
        """

    def stop(self) -> None:
        """End the render in hand at once; from any thread."""

    def close(self) -> None:
        """Give everything back."""


class LocalLane:
    """A lane of this machine: a :class:`WorkerProcess` and its deadline.

    Args:
        timeout: Seconds that one asset may take.
        max_memory: Bytes that the worker may take; 0 for no limit.
        allow_outside: Folders that assets may read from beside their own.
    """

    def __init__(
        self,
        place: Place,
        *,
        blender: Path | None = None,
        scratch: Path | None = None,
        timeout: float = 300.0,
        max_memory: int = 0,
        previews: str = "",
        recycle: int = RECYCLE,
        allow_outside: Sequence[str] = (),
    ) -> None:
        self._place, self._blender, self._scratch = place, blender, scratch
        self._timeout, self._max_memory, self._previews = timeout, max_memory, previews
        self._recycle = recycle
        self._allow_outside = list(allow_outside)
        self._worker: WorkerProcess | None = None
        self._rendered = 0
        self._stopped = threading.Event()

    def render(self, task: Task, tell: Progress) -> Done:
        """See :class:`Lane`."""
        if self._worker is None:
            try:
                self._worker = self._start()
            except Interrupted:
                raise
            except RenderError as error:
                raise LaneBroken(error) from error
        worker = self._worker
        try:
            worker.send(
                RenderAsset(
                    source=task.source,
                    asset_id=task.asset_id,
                    job=task.job,
                    out=str(task.out),
                    scratch=str(worker.scratch),
                    provenance={**task.provenance, "path": str(task.path)},
                    max_memory=self._max_memory,
                    previews=self._previews,
                    threads=self._place.threads,
                    folders=[*([str(task.folder)] if task.folder else []), *self._allow_outside],
                )
            )
            answer = self._converse(worker, tell)
        except RenderError as error:
            self._abandon(task)
            if isinstance(error, Interrupted):
                raise
            sentence, hint = error.message, error.hint
            if isinstance(error, WorkerTimeout):
                sentence = f"not done after {self._timeout:g} seconds."
                hint = "Allow more with --timeout, or render fewer or smaller views."
            raise type(error)(f"{task.source}: {sentence}", hint=hint, log=error.log) from error
        if isinstance(answer, Failed):
            if answer.reason == OutOfMemory.reason:
                # The worker ended itself with this message.
                self._abandon(task)
            if answer.reason == DeviceUnavailable.reason:
                # It would fail every asset that comes.
                raise LaneBroken(from_reason(answer.reason, answer.message, answer.hint))
            raise from_reason(answer.reason, answer.message, answer.hint, answer.log)
        self._rendered += 1
        grown = self._max_memory and answer.memory > _GROWN * self._max_memory
        if self._rendered >= self._recycle or grown:
            self.close()
        return answer

    def _start(self) -> WorkerProcess:
        worker = WorkerProcess(
            self._blender, self._scratch, self._place.environment, self._stopped
        )
        self._rendered = 0
        if self._place.bus_id:
            try:
                worker.send(Describe())
                answer = worker.await_answer(START_TIMEOUT, self._stopped)
            except RenderError:
                worker.kill()
                raise
            seen = answer.facts["gpu_ids"] if isinstance(answer, Described) else []
            if not _only(self._place.bus_id, seen):
                worker.kill()
                raise DeviceUnavailable(
                    f"A worker was bound to {self._place.name} ({self._place.bus_id}), but its "
                    f"Blender sees {', '.join(seen) or 'no GPU'}.",
                    hint="Check the driver with objaverse-render doctor; --gpus says which to use.",
                )
        return worker

    def _converse(self, worker: WorkerProcess, tell: Progress) -> Done | Failed:
        deadline = time.monotonic() + self._timeout
        while True:
            message = worker.await_answer(deadline - time.monotonic(), self._stopped)
            if isinstance(message, Done | Failed):
                return message
            if isinstance(message, Stage | FrameDone):
                tell(message)

    def _abandon(self, task: Task) -> None:
        """End the worker at once and remove what it left of the asset in hand."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None
            remove_parts(task.out, task.asset_id)

    def stop(self) -> None:
        """See :class:`Lane`."""
        self._stopped.set()

    def close(self) -> None:
        """See :class:`Lane`."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def sha256_of(path: Path) -> str | None:
    """Of a file, for those who look for what became of it; ``None`` where it cannot be read."""
    # A pipe or a device may never end, and no error of a name may get in an asset's way.
    with contextlib.suppress(OSError, ValueError):
        if path.is_file():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    return None


def _only(bus_id: str, seen: list[str]) -> bool:
    """Whether Cycles sees this GPU alone: its ids end in ``_0000:65:00`` and a suffix."""
    wanted = bus_id.lower().rpartition(".")[0][-7:]
    addresses = {
        match.group(1) for one in seen if (match := re.search(r"_\w{4,8}:(\w{2}:\w{2})", one))
    }
    return {address.lower() for address in addresses} == {wanted[-5:]}


@dataclass(frozen=True, slots=True)
class Told:
    """What a lane says to the run: progress, or how a task ended.

    Attributes:
        sha256: Of the file that could not be rendered, if it is on this machine.
    """

    lane: int
    task: Task
    message: Stage | FrameDone | Done | RenderError | LaneBroken
    sha256: str | None = None


class LaneThread(threading.Thread):
    """Drives a lane, so that the run never waits for it.

    Attributes:
        busy: Whether it has a task.
    """

    def __init__(self, number: int, lane: Lane, inbox: queue.SimpleQueue[Any]) -> None:
        super().__init__(name=f"lane-{number}", daemon=True)
        self.number = number
        self.busy = False
        self._lane, self._inbox = lane, inbox
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self.start()

    def give(self, task: Task) -> None:
        """Render it next."""
        self.busy = True
        self._tasks.put(task)

    def run(self) -> None:
        """Work until :meth:`finish`."""
        while (task := self._tasks.get()) is not None:
            ended = self._work(task)
            failed = isinstance(ended, RenderError) and not isinstance(ended, Interrupted)
            digest = sha256_of(task.path) if failed else None
            self._inbox.put(Told(self.number, task, ended, digest))
        self._lane.close()

    def _work(self, task: Task) -> Done | RenderError | LaneBroken:
        try:
            return self._lane.render(
                task, lambda message: self._inbox.put(Told(self.number, task, message))
            )
        except (RenderError, LaneBroken) as error:
            return error
        except Exception as error:
            return UnexpectedError(f"{task.source}: {type(error).__name__}: {error}")

    def interrupt(self) -> None:
        """End the render in hand, if there is one, in the middle."""
        self._lane.stop()

    def finish(self) -> None:
        """End the worker and this thread when the task in hand is done."""
        self._tasks.put(None)
