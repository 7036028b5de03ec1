"""Keeps a worker going: starts it when it is needed, and replaces it when it died, hung, grew too
large or has done its share. What it is asked is the asker's business.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..errors import (
    DeviceUnavailable,
    OutOfMemory,
    RenderError,
    WorkerCrashed,
    WorkerTimeout,
)
from .channel import Received
from .process import START_TIMEOUT, WorkerProcess
from .protocol import Cancel, Describe, Described, Failed, Request, Unknown, ends
from .wall import Grounds, Sandbox, gathered, grounds_of, is_wanted

__all__ = ["Place", "Supervisor"]

RECYCLE: Final = 1000
"""Requests after which a worker is replaced: Blender's own memory only grows."""
_EXACT: Final = 3
"""Times that a worker is replaced for an asset that lies elsewhere, before that is made wide."""
_LOST: Final = 3
"""Failures in a row that nobody can explain, after which the worker may be why."""
_SPENT: Final = (WorkerCrashed.reason, OutOfMemory.reason)
"""What a worker says of itself after which it is replaced: its GPU is lost, or it is full."""
_GROWN: Final = 0.6
"""Share of the memory limit from which a worker that has ended a request is replaced."""
_WATCH: Final = 0.1
"""Seconds between two looks at a worker's memory and time."""
_GRACE: Final = 30.0
"""Seconds in which a request that is cancelled may end by itself."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker renders.

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


class Supervisor:
    """One worker at a time, for as long as it is needed.

    Args:
        blender: Program of an installed Blender; pip's ``bpy`` otherwise.
        scratch: Where workers have their folders.
        max_memory: Bytes that a worker may take; 0 for no limit.
        recycle: Requests after which a worker is replaced.
        sandbox: Whether workers are shut in (:mod:`.wall`).
        folders: Where assets will lie, as far as that is known: a worker that is shut in is
            replaced when one lies elsewhere.
        ring: Descriptor of a :class:`.ring.Ring` that workers put frames into.
        look: Called ten times a second with the worker's process id while it has a request; what
            it raises ends both.

    Attributes:
        started: Workers that there were: what one of them held open, the next does not.
    """

    def __init__(
        self,
        place: Place,
        *,
        blender: Path | None = None,
        scratch: Path | None = None,
        max_memory: int = 0,
        recycle: int = RECYCLE,
        sandbox: Sandbox = "auto",
        folders: Iterable[Path] = (),
        ring: int | None = None,
        look: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.place = place
        self._look = look
        self.started = 0
        self._ring = ring
        self._blender, self._scratch = blender, scratch
        self._max_memory, self._recycle = max_memory, recycle
        self._sandbox = sandbox
        self._grounds = Grounds(gathered(folders))
        self._stamp: dict[Path, tuple[int, int] | None] = {}
        self._widened = 0
        self._worker: WorkerProcess | None = None
        self._answered = self._lost = 0
        self._request = 0
        self._stopped = threading.Event()
        self._canceled: float | None = None
        self._watched = 0.0

    def start(self, request: Request | None = None) -> WorkerProcess:
        """The worker; a new one where there is none that is well, or may touch what is asked for.

        Raises:
            Interrupted: By :meth:`stop`.
            MissingDependency, WorkerStartFailed, SandboxUnavailable, DeviceUnavailable: There is
                none to be had.
        """
        worker = self._worker
        if worker is not None and not (worker.lives and worker.is_ready()):
            # It died meanwhile; or a session's end or a tidy-up took its folder: all would fail.
            self.abandon()
        if request is not None and is_wanted(self._sandbox):
            needed = grounds_of(request)
            if needed.reads or needed.writes:
                self._admit(needed)
        if self._worker is None:
            self._stamp = self._grounds.stamp()
            worker = WorkerProcess(
                self._blender, self._scratch, self.place.environment, self._stopped,
                sandbox=self._sandbox, grounds=self._grounds, ring=self._ring,
            )  # fmt: skip
            self.started += 1
            try:
                self._check_device(worker)
            except BaseException:
                worker.kill()
                raise
            self._worker, self._answered, self._lost = worker, 0, 0
        return self._worker

    def _admit(self, needed: Grounds) -> None:
        """Widen what workers may touch; one that is held to less is replaced."""
        if self._grounds.lacks(needed):
            self._widened += self._worker is not None
            reads = needed.reads
            if self._widened > _EXACT:
                # Every asset has a folder of its own: soon they are all below one of these.
                reads = gathered({*self._grounds.reads, *reads}, _EXACT)
            wider = self._grounds | Grounds(reads, needed.writes)
            self._grounds = Grounds(gathered(wider.reads), wider.writes)
            self.close()
        elif self._grounds.has_moved(self._stamp, needed):
            self.close()

    def ask(
        self,
        request: Request,
        timeout: float,
        on_answer: Callable[[Received], None] = lambda _: None,
        renew: int = 0,
        started: WorkerProcess | None = None,
    ) -> Received:
        """Have a request answered.

        Args:
            timeout: Seconds that it may take.
            renew: Answers before the last for which it may take as long again; never where 0.
            on_answer: Called with the answers before the last.
            started: What :meth:`start` gave for this very request, just now.

        Returns:
            The last answer: what it was asked for, or a Failed.

        Raises:
            WorkerTimeout, WorkerCrashed, OutOfMemory, Interrupted: The worker is gone by then.
            RenderError: As :meth:`start`; no fault of the request.
        """
        self.post(request, started)
        return self.collect(timeout, on_answer, renew)

    def post(self, request: Request, started: WorkerProcess | None = None) -> None:
        """Begin a request, so that several workers are at work at a time; then :meth:`collect`.

        Raises:
            RenderError: As :meth:`ask`.
        """
        worker = started or self.start(request)
        self._canceled = None
        try:
            self._request = worker.send(request)
        except RenderError:
            self.abandon()
            raise

    def collect(
        self,
        timeout: float,
        on_answer: Callable[[Received], None] = lambda _: None,
        renew: int = 0,
        *,
        keep: bool = False,
    ) -> Received:
        """The answer to what was posted; arguments and errors as of :meth:`ask`.

        Args:
            keep: Whether the worker stays however it has grown: what it has in it now is of use.
        """
        worker = self._worker
        if worker is None:
            raise WorkerCrashed("The worker was ended meanwhile.")
        try:
            answer = self._converse(worker, timeout, on_answer, renew)
        except RenderError:
            self.abandon()
            raise
        finally:
            self._request = 0
        self._answered += 1
        lost = isinstance(answer.message, Failed) and answer.message.reason == "unexpected-error"
        self._lost = self._lost + 1 if lost else 0
        grown = self._max_memory and not keep and worker.memory > _GROWN * self._max_memory
        if isinstance(answer.message, Failed) and answer.message.reason in _SPENT:
            self.abandon()
        elif self._answered >= self._recycle or grown or self._lost >= _LOST:
            self.close()
        return answer

    def _converse(
        self,
        worker: WorkerProcess,
        timeout: float,
        on_answer: Callable[[Received], None],
        renew: int,
    ) -> Received:
        deadline, progress = time.monotonic() + timeout, 0
        number, looked = self._request, time.monotonic()

        def watch() -> None:
            nonlocal looked
            since, looked = time.monotonic() - looked, time.monotonic()
            self._watched = looked
            worker.check_hung(since)
            self._look(worker.pid)
            used = worker.memory if self._max_memory else 0
            if used > self._max_memory:
                raise OutOfMemory(
                    f"the worker took {used / 2**20:,.0f} MiB of memory; "
                    f"{self._max_memory / 2**20:,.0f} are allowed.",
                    hint="Allow more with --max-memory, or render at a lower resolution.",
                )
            if self._canceled is not None and time.monotonic() > self._canceled:
                raise WorkerTimeout("The worker did not end what was cancelled.")

        while True:
            answer = worker.await_answer(deadline - time.monotonic(), self._stopped, watch)
            # What answers faster than that, one request after the other, is looked at as often.
            if time.monotonic() - self._watched > _WATCH:
                watch()
            if answer.request != number:
                continue
            if isinstance(answer.message, Unknown):
                raise WorkerCrashed(f"The worker answered nonsense: {answer.message.why}.")
            if ends(answer.message):
                return answer
            on_answer(answer)
            progress += 1
            if renew and progress % renew == 0:
                deadline = time.monotonic() + timeout

    def cancel(self, grace: float = _GRACE) -> bool:
        """End the request in hand, from any thread; the worker stays if it can.

        Args:
            grace: Seconds after which the worker is ended instead.

        Returns:
            Whether there was one.
        """
        worker, number = self._worker, self._request
        if worker is None or not number:
            return False
        self._canceled = time.monotonic() + grace
        worker.send(Cancel(number))
        return True

    @property
    def pid(self) -> int:
        """Of the worker; 0 where there is none."""
        worker = self._worker
        return 0 if worker is None else worker.pid

    @property
    def memory(self) -> int:
        """Bytes that the worker takes; 0 where there is none, or the system does not say."""
        worker = self._worker
        return 0 if worker is None else worker.memory

    @property
    def worker(self) -> WorkerProcess | None:
        """The worker as it was last seen; whether it lives still is not asked."""
        return self._worker

    @property
    def holds(self) -> bool:
        """Whether there is a worker, and its process lives."""
        worker = self._worker
        return worker is not None and worker.lives

    def stop(self) -> None:
        """End the request in hand and its worker at once, from any thread, and start no other."""
        self._stopped.set()

    def abandon(self) -> None:
        """End the worker at once."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def close(self) -> None:
        """End the worker in peace."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _check_device(self, worker: WorkerProcess) -> None:
        if not self.place.bus_id:
            return
        number = worker.send(Describe())
        answer = worker.await_answer(START_TIMEOUT, self._stopped)
        seen = []
        if answer.request == number and isinstance(answer.message, Described):
            seen = answer.message.facts["gpu_ids"]
        if not _only(self.place.bus_id, seen):
            raise DeviceUnavailable(
                f"A worker was bound to {self.place.name} ({self.place.bus_id}), but its "
                f"Blender sees {', '.join(seen) or 'no GPU'}.",
                hint="Check the driver with objaverse-render doctor; --gpus says which to use.",
            )


def _only(bus_id: str, seen: list[str]) -> bool:
    """Whether Cycles sees this GPU alone: its ids end in ``_0000:65:00`` and a suffix."""
    wanted = bus_id.lower().rpartition(".")[0][-7:]
    addresses = {
        match.group(1) for one in seen if (match := re.search(r"_\w{4,8}:(\w{2}:\w{2})", one))
    }
    return {address.lower() for address in addresses} == {wanted[-5:]}
