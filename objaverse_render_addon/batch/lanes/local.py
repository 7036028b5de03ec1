"""Where assets are rendered: lanes, each with one worker at a time.

The run gives a lane one task after the other and hears of it through a queue.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from ...assets.reach import MOST_BYTES
from ...dataset.blocks import FRAMES
from ...dataset.layout import remove_parts
from ...errors import (
    DeviceUnavailable,
    Interrupted,
    RenderError,
    UnexpectedError,
    WorkerCrashed,
    WorkerTimeout,
    from_reason,
)
from ...files import file_sha256
from ...worker.channel import Received
from ...worker.protocol import NICE, Done, Failed, FrameDone, RenderAsset, Stage
from ...worker.supervisor import Place, Supervisor
from ..options import Workers

__all__ = [
    "Lane",
    "LaneBroken",
    "LaneThread",
    "LocalLane",
    "Told",
    "sha256_of",
]

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

    def render(self, task: RenderAsset, tell: Progress) -> Done:
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
    """A lane of this machine: a supervised worker, asked for one asset after the other.

    Args:
        options: Of them, what concerns one worker; no ``max_memory`` is no limit here.
        folders: Where assets will lie, as far as that is known.
    """

    def __init__(
        self, place: Place, options: Workers | None = None, folders: Iterable[Path] = ()
    ) -> None:
        options = options or Workers()
        self._timeout, self._previews = options.timeout, str(options.previews or "")
        self._allowed = [str(Path(one).expanduser().absolute()) for one in options.allow_outside]
        if options.nice:
            environment = {**place.environment, NICE: str(options.nice)}
            place = replace(place, environment=environment)
        self._supervisor = Supervisor(
            place,
            blender=Path(options.blender) if options.blender else None,
            scratch=Path(options.scratch) if options.scratch else None,
            max_memory=options.max_memory or 0,
            recycle=options.recycle,
            sandbox=options.sandbox,
            folders=folders,
        )

    def render(self, task: RenderAsset, tell: Progress) -> Done:
        """See :class:`Lane`."""
        supervisor = self._supervisor
        request = replace(
            task,
            previews=self._previews,
            threads=supervisor.place.threads,
            folders=[*task.folders, *self._allowed],
        )
        try:
            scratch = supervisor.start(request).scratch
        except Interrupted:
            raise
        except RenderError as error:
            raise LaneBroken(error) from error

        def on_answer(received: Received) -> None:
            if isinstance(received.message, Stage | FrameDone):
                tell(received.message)

        try:
            # However long an animation is: each block of its frames may take that long.
            renew = FRAMES if request.job.get("time", {}).get("frames") else 0
            answer = supervisor.ask(request, self._timeout, on_answer, renew).message
        except RenderError as error:
            remove_parts(Path(request.out), request.asset_id)
            if isinstance(error, Interrupted):
                raise
            sentence, hint = error.message, error.hint
            if isinstance(error, WorkerTimeout):
                sentence = f"not done after {self._timeout:g} seconds."
                hint = "Allow more with --timeout, or render fewer or smaller views."
            raise type(error)(f"{request.source}: {sentence}", hint=hint, log=error.log) from error
        if isinstance(answer, Done):
            return answer
        assert isinstance(answer, Failed)
        if not scratch.is_dir():
            # Whatever it says, that is why.
            raise WorkerCrashed(
                f"{request.source}: the worker's folder {scratch} was removed.",
                hint="Keep what tidies up temporary files away from it, or use --scratch.",
            )
        failure = from_reason(answer.reason, answer.message, answer.hint, answer.log)
        if isinstance(failure, DeviceUnavailable):
            # It would fail every asset that comes.
            raise LaneBroken(failure)
        raise failure

    def stop(self) -> None:
        """See :class:`Lane`."""
        self._supervisor.stop()

    def close(self) -> None:
        """See :class:`Lane`."""
        self._supervisor.close()


def sha256_of(path: Path) -> str | None:
    """Of a file, for those who look for what became of it; ``None`` where it cannot be read."""
    # A pipe or a device may never end, nor may a file with nothing but a size, and no error of a
    # name may get in an asset's way.
    with contextlib.suppress(OSError, ValueError):
        if path.is_file() and path.stat().st_size <= MOST_BYTES:
            return file_sha256(path)
    return None


@dataclass(frozen=True, slots=True)
class Told:
    """What a lane says to the run: progress, or how a task ended.

    Attributes:
        row: The asset's number in the ledger.
        sha256: Of the file that could not be rendered, if it is on this machine.
    """

    lane: int
    row: int
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
        self._tasks: queue.SimpleQueue[tuple[int, RenderAsset] | None] = queue.SimpleQueue()
        self.start()

    def give(self, row: int, task: RenderAsset) -> None:
        """Render it next.

        Args:
            row: The asset's number in the ledger.
        """
        self.busy = True
        self._tasks.put((row, task))

    def run(self) -> None:
        """Work until :meth:`finish`."""
        while (given := self._tasks.get()) is not None:
            row, task = given
            ended = self._work(row, task)
            failed = isinstance(ended, RenderError) and not isinstance(ended, Interrupted)
            digest = sha256_of(Path(task.path)) if failed else None
            self._inbox.put(Told(self.number, row, ended, digest))
        self._lane.close()

    def _work(self, row: int, task: RenderAsset) -> Done | RenderError | LaneBroken:
        try:
            return self._lane.render(
                task, lambda message: self._inbox.put(Told(self.number, row, message))
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
