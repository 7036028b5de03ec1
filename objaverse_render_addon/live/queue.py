"""Pictures of whatever was asked for last, better and better, and never back.

::

    with RenderQueue(backend) as queue:
        number = queue.update_camera(camera)      # at any rate
        picture = queue.get_image()               # at any rate: a new picture, or None
        picture = queue.wait(at_least=number)     # or wait for one
        async for picture in queue.watch(): ...   # or be given them
        queue.watch(callback=show)

What is promised, to each watcher for itself:

* each picture comes once, and is of a newer update than the one before, or of the same update and
  of a better level;
* once a picture of an update was ready, none of an earlier one comes;
* the first level of what was taken up is drawn to its end, so that there are pictures however fast
  updates come: one in the time that a first level takes;
* what is superseded otherwise ends within a piece of work (:class:`.backends.Backend`);
* the last level of the last update arrives;
* an exception of the backend is the answer to its update, is raised once to each watcher, and
  ends nothing else.

Order goes by counters. :class:`Order` is all of it, without threads or time; :class:`RenderQueue`
puts one lock around each of its steps. Threads, locks and clock can be given
(:class:`Threads`), which is how the promises are tested.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Self

import numpy as np

from ..cameras import Camera
from ..errors import Interrupted, InvalidJob, RenderFailed, WorkerTimeout
from .backends import Backend, Drawn
from .levels import Adaptive, Level, Plan, at_level

__all__ = ["Answer", "Job", "Order", "Picture", "Progress", "RenderQueue", "Threads", "Watcher"]

_log = logging.getLogger(__name__)
_NEVER: Final = (0, -1)


# --- The order of things: no threads, no time -----------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """What was asked for.

    Attributes:
        number: 1 for the first, and one more each time.
        levels: On the way to it, at least one.
        at: When, by the queue's clock.
    """

    number: int
    camera: Camera
    scene: Mapping[str, Any]
    levels: tuple[Level, ...]
    at: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One level of an update, to be drawn."""

    update: Update
    index: int

    @property
    def level(self) -> Level:
        """The level."""
        return self.update.levels[self.index]

    @property
    def place(self) -> tuple[int, int]:
        """What pictures are ordered by."""
        return self.update.number, self.index

    @property
    def last(self) -> bool:
        """Whether there is nothing better."""
        return self.index == len(self.update.levels) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What a watcher is given.

    Attributes:
        update: Number of the update that it shows.
        camera: Of the update, in the picture's size.
        scene: Of the update.
        index: Of the level, from 0.
        levels: How many there are of this update.
        last: Whether there is nothing better.
        asked: When the update came, by the queue's clock.
        ready: When the picture was.
    """

    update: int
    drawn: Drawn
    camera: Camera
    scene: Mapping[str, Any]
    index: int
    levels: int
    last: bool
    asked: float
    ready: float

    @property
    def samples(self) -> int:
        """Behind each pixel."""
        return self.drawn.samples


Answer = Picture | Exception


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a queue is.

    Attributes:
        update: The newest update's number; 0 before the first.
        shown: The newest picture's update; 0 before the first.
        index: The newest picture's level; -1 before the first.
        levels: How many there are of it.
        samples: Behind each of its pixels.
        age: Seconds since it was ready; ``None`` before the first.
        busy: Whether something is being drawn.
    """

    update: int = 0
    shown: int = 0
    index: int = -1
    levels: int = 0
    samples: int = 0
    age: float | None = None
    busy: bool = False


class Order:
    """Which job comes next, and which picture may be shown.

    Knows no lock: each call is one step, and whoever has threads puts one lock around each.
    """

    def __init__(self) -> None:
        self.newest: Update | None = None
        self.answer: Answer | None = None
        self.place = _NEVER
        """Of the answer: (update, level)."""
        self.running = 0
        self._count = 0
        self._taken = False
        self._next = 0

    def update(
        self, camera: Camera, scene: Mapping[str, Any], levels: tuple[Level, ...], now: float
    ) -> int:
        """Something else is wanted; its number."""
        self._count += 1
        self.newest = Update(self._count, camera, scene, levels, now)
        self._taken, self._next = False, 0
        return self._count

    def take(self) -> Job | None:
        """The next job: the next level of the newest update, unless another worker has it."""
        if self.newest is None or self._taken or self._next == len(self.newest.levels):
            return None
        self._taken = True
        self.running += 1
        return Job(self.newest, self._next)

    def superseded(self, job: Job) -> bool:
        """Whether nobody wants it any more. A first level is always wanted."""
        return job.index > 0 and job.update is not self.newest

    def finish(self, job: Job, answer: Answer | None) -> bool:
        """A job ended, with ``None`` because it was superseded; whether there is news."""
        self.running -= 1
        if self.newest is job.update:
            self._taken = False
            # After a failure, better levels would fail as well.
            failed = isinstance(answer, Exception)
            self._next = len(self.newest.levels) if failed else job.index + 1
        if answer is None or job.place <= self.place:
            return False
        self.answer, self.place = answer, job.place
        return True

    @property
    def settled(self) -> bool:
        """Whether all was done that the newest update asks for."""
        return self.newest is None or self._next == len(self.newest.levels)


# --- With threads ---------------------------------------------------------------------------------


class Threads:
    """Where threads, the lock and the time come from."""

    def condition(self) -> Any:
        """As :class:`threading.Condition`."""
        return threading.Condition(threading.Lock())

    def start(self, name: str, target: Callable[[], None]) -> Any:
        """A thread that has begun; as :class:`threading.Thread`."""
        thread = threading.Thread(name=name, target=target, daemon=True)
        thread.start()
        return thread

    def clock(self) -> float:
        """Seconds that never go back."""
        return time.perf_counter()


@dataclass(slots=True)
class _Shared:
    """What the threads hold; not the queue itself, so that one that is forgotten ends."""

    backend: Backend
    plan: Plan
    threads: Threads
    changed: Any
    workers: int
    order: Order = field(default_factory=Order)
    closed: bool = False
    fault: Exception | None = None
    watchers: list[weakref.ref[Watcher]] = field(default_factory=list)
    callbacks: list[Watcher] = field(default_factory=list)

    def work(self) -> None:
        """A worker's life."""
        try:
            while (job := self._next_job()) is not None:
                answer = self._draw(job)
                with self.changed:
                    news = self.order.finish(job, answer)
                    self.changed.notify_all()
                if news:
                    self.tell()
        finally:
            self._end()

    def _end(self) -> None:
        with self.changed:
            self.workers -= 1
            if self.workers:
                return
        try:
            self.backend.close()
        except Exception as error:
            self.fault = error

    def _next_job(self) -> Job | None:
        with self.changed:
            while not self.closed:
                if (job := self.order.take()) is not None:
                    return job
                self.changed.wait()
        return None

    def _draw(self, job: Job) -> Answer | None:
        def should_stop() -> bool:
            return self.closed or self.order.superseded(job)

        update, since = job.update, self.threads.clock()
        try:
            camera = at_level(update.camera, job.level)
            drawn = self.backend.render(camera, job.level, should_stop, update.scene)
        except Exception as error:
            return error
        ready = self.threads.clock()
        if drawn is None:
            if should_stop():
                return None
            return RenderFailed("The backend gave no picture, though it was not stopped.")
        self.plan.took(job.level, ready - since)
        return Picture(
            update.number, drawn, camera, update.scene, job.index, len(update.levels), job.last,
            update.at, ready,
        )  # fmt: skip

    def tell(self) -> None:
        """There is news for those who wait in other ways than on the condition."""
        for one in tuple(self.watchers):
            watcher = one()
            if watcher is not None:
                watcher._wake()
        for watcher in tuple(self.callbacks):
            watcher._call()

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        self.tell()


class Watcher:
    """One who looks at a queue's pictures; each sees them for itself. Made by a queue.

    Attributes:
        error: What the callback raised; it is not called again.
    """

    def __init__(self, shared: _Shared, callback: Callable[[Answer], None] | None = None) -> None:
        self._shared, self._callback = shared, callback
        self._seen = _NEVER
        self._calling = shared.threads.condition()
        self._loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self.error: Exception | None = None

    def get_image(self) -> Picture | None:
        """The newest picture; ``None`` where it was given already.

        Raises:
            Exception: What the backend raised; once.
        """
        with self._shared.changed:
            answer = self._take()
        return _picture(answer)

    def wait(
        self, timeout: float | None = None, *, at_least: int = 0, last: bool = False
    ) -> Picture:
        """The next picture that was not given yet.

        Args:
            timeout: Seconds.
            at_least: Number of the update that it must show, or a later one.
            last: Whether only one will do that there is nothing better than.

        Raises:
            WorkerTimeout: There was none.
            Interrupted: The queue was closed.
            Exception: What the backend raised.
        """
        shared, end = self._shared, None
        if timeout is not None:
            end = shared.threads.clock() + timeout
        with shared.changed:
            while True:
                if (place := shared.order.place) > self._seen and place[0] >= at_least:
                    answer = shared.order.answer
                    if isinstance(answer, Exception) or not last or (answer and answer.last):
                        return _wanted(self._take())
                if shared.closed:
                    raise Interrupted("The queue is closed.")
                rest = None if end is None else end - shared.threads.clock()
                if rest is not None and rest <= 0:
                    raise WorkerTimeout(f"There was no such picture in {timeout:g} s.")
                shared.changed.wait(rest)

    def __aiter__(self) -> AsyncIterator[Picture]:
        return self._pictures()

    async def _pictures(self) -> AsyncIterator[Picture]:
        """New pictures until the queue is closed; a slow loop gets fewer."""
        news = asyncio.Event()
        entry = (asyncio.get_running_loop(), news)
        self._loops.append(entry)
        try:
            while True:
                news.clear()
                picture = self.get_image()
                if picture is not None:
                    yield picture
                elif self._shared.closed:
                    return
                else:
                    await news.wait()
        finally:
            self._loops.remove(entry)

    def close(self) -> None:
        """Look no more; raises what the callback raised."""
        if self in self._shared.callbacks:
            self._shared.callbacks.remove(self)
        if self.error is not None:
            raise self.error

    def _take(self) -> Answer | None:
        order = self._shared.order
        if order.place <= self._seen:
            return None
        self._seen = order.place
        return order.answer

    def _wake(self) -> None:
        for loop, event in tuple(self._loops):
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    def _call(self) -> None:
        """Give the callback what is new, one thread at a time, so that nothing goes back."""
        assert self._callback is not None
        with self._calling:
            with self._shared.changed:
                answer = self._take()
            if answer is None or self.error is not None:
                return
            try:
                self._callback(answer)
            except Exception as error:
                # It is the callback's own; the queue and whoever else looks go on.
                self.error = error
                _log.exception("A watcher's callback failed; it is not called again.")


def _picture(answer: Answer | None) -> Picture | None:
    if isinstance(answer, Exception):
        raise answer
    return answer


def _wanted(answer: Answer | None) -> Picture:
    picture = _picture(answer)
    assert picture is not None
    return picture


class RenderQueue:
    """Draws what was asked for last, better and better; see the module.

    Args:
        backend: What draws; closed with the queue, or when that is forgotten.
        levels: Which levels; by measured time for 30 pictures a second where it is not said.
            :func:`.levels.read_levels` reads a file of them.
        workers: Threads that draw; never more than the backend bears.
        threads: Where threads, lock and clock come from.
    """

    def __init__(
        self,
        backend: Backend,
        levels: Plan | None = None,
        *,
        workers: int = 1,
        threads: Threads | None = None,
    ) -> None:
        if workers < 1:
            raise InvalidJob(f"A queue of {workers} workers draws nothing.")
        threads = threads or Threads()
        count = min(workers, backend.workers)
        shared = _Shared(backend, levels or Adaptive(), threads, threads.condition(), count)
        self._shared = shared
        self._own = self.watch()
        self._workers = [threads.start(f"draw-{n}", shared.work) for n in range(count)]
        self._forgotten = weakref.finalize(self, shared.close)

    def update_camera(self, camera: Camera, scene: Mapping[str, Any] | None = None) -> int:
        """Ask for another picture, from any thread; the update's number.

        Args:
            scene: What else changes, by the backend's own names: all that differs from how it
                began.

        Raises:
            InvalidJob: The camera is none.
            Interrupted: The queue is closed.
        """
        _check(camera)
        kept = MappingProxyType(dict(scene or {}))
        shared = self._shared
        with shared.changed:
            if shared.closed:
                raise Interrupted("The queue is closed.")
            newest = shared.order.newest
            if newest is not None and newest.scene == kept and _same(newest.camera, camera):
                failed = isinstance(shared.order.answer, Exception)
                if not (failed and shared.order.settled):
                    return newest.number
            backend = shared.backend
            levels = tuple(
                shared.plan.levels(camera, backend.samples(kept), backend.drafts, backend.anew)
            )
            number = shared.order.update(camera, kept, levels, shared.threads.clock())
            shared.changed.notify_all()
        return number

    def watch(self, callback: Callable[[Answer], None] | None = None) -> Watcher:
        """Look at the pictures for oneself, beside whoever else does.

        Args:
            callback: Called from the queue's threads with each new picture, or what was raised.
        """
        watcher = Watcher(self._shared, callback)
        with self._shared.changed:
            if callback is not None:
                self._shared.callbacks.append(watcher)
            alive = [one for one in self._shared.watchers if one() is not None]
            self._shared.watchers[:] = [*alive, weakref.ref(watcher)]
        if callback is not None:
            watcher._call()
        return watcher

    def get_image(self) -> Picture | None:
        """See :meth:`Watcher.get_image`."""
        return self._own.get_image()

    def wait(
        self, timeout: float | None = None, *, at_least: int = 0, last: bool = False
    ) -> Picture:
        """See :meth:`Watcher.wait`."""
        return self._own.wait(timeout, at_least=at_least, last=last)

    @property
    def progress(self) -> Progress:
        """How far it is."""
        shared = self._shared
        with shared.changed:
            order, now = shared.order, shared.threads.clock()
            newest = order.newest.number if order.newest is not None else 0
            picture, busy = order.answer, not order.settled
            if not isinstance(picture, Picture):
                return Progress(newest, busy=busy)
            return Progress(
                newest, picture.update, picture.index, picture.levels, picture.samples,
                now - picture.ready, busy,
            )  # fmt: skip

    def close(self) -> None:
        """End the threads within a piece of work, and the backend; raises what that raised."""
        self._forgotten()
        for worker in self._workers:
            if worker is not threading.current_thread():
                worker.join()
        fault, self._shared.fault = self._shared.fault, None
        if fault is not None:
            raise fault

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check(camera: Camera) -> None:
    matrix, lens = camera.camera_to_world, camera.intrinsics
    finite = np.isfinite(matrix).all() and np.isfinite(lens).all()
    sees = camera.width > 0 and camera.height > 0 and min(lens[0, 0], lens[1, 1]) > 0
    if not (finite and sees and matrix.shape == (4, 4)):
        raise InvalidJob("The camera is none: its pose is not finite, or it sees nothing.")


def _same(one: Camera, other: Camera) -> bool:
    return (
        (one.width, one.height, one.projection) == (other.width, other.height, other.projection)
        and np.array_equal(one.camera_to_world, other.camera_to_world)
        and np.array_equal(one.intrinsics, other.intrinsics)
    )
