"""Shots of one scene, spread over workers and put into their order again."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from ..errors import Interrupted, RenderError, StaleFrame, WorkerCrashed, WorkerTimeout
from ..passspec import MOVING
from .frames import LiveFrame
from .host import RenderOptions
from .scene import Snapshot
from .shots import Numbered, beside
from .worker_lane import WorkerLane

if TYPE_CHECKING:
    from .pool import Pool

__all__ = ["GRACE", "Run", "own_views"]

GRACE: Final = 2.0
"""Seconds in which a cancelled render may end before its worker is ended."""
_CHUNK: Final = 8
_AT_ONCE: Final = 0.05
_EXCUSED: Final = 4
_FIRST: Final = 120.0
"""More seconds for the first frame of EEVEE, which compiles shaders."""


class Run:
    """Shots of one scene in one state, spread over workers, and put into their order again."""

    def __init__(
        self,
        pool: Pool,
        snapshot: Snapshot,
        shots: list[Numbered],
        options: RenderOptions,
    ) -> None:
        self._pool, self._snapshot, self._options = pool, snapshot, options
        self._shots = shots
        moving = not set(MOVING).isdisjoint(snapshot.job.pixels.passes)
        self._beside = beside(shots) if moving else {}
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
        if snapshot.scene.is_cut(0, snapshot.state):
            wanted = 1  # No other has what was called in it.
        self._workers = min(wanted, pool.workers, max(1, len(shots)))
        self._chunk = max(1, min(_CHUNK, len(shots) // (4 * self._workers)))

    def frames(self) -> Iterator[LiveFrame]:
        """In the order of the shots."""
        if not self._shots:
            return
        self._options.begun(self._stop)
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
            while self._stopped or position not in self._done:
                if self._stopped:
                    raise Interrupted("Cancelled.")
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
                lane.cancel(GRACE)

    def _take(self) -> list[Numbered]:
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
        scene, state = self._snapshot.scene, self._snapshot.state
        with self._pool._lane(scene, self._until, lambda: self._stopped, state) as lane:
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
                    late = GRACE if len(self._shots) > 1 else 0.0
                    timeout = min(timeout, self._until - time.monotonic() + late)
                try:
                    self._pool._bring(lane, self._snapshot, timeout)
                except WorkerCrashed as error:
                    # It was tried twice, and is no shot's fault.
                    self._failed(error, left)
                    return
                lane.render(self._snapshot, chunk, options.lane, timeout, came, self._beside)
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
                error.message += " It was tried twice."
                self._failed(error, left)
            elif not self._stopped:
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
            if left:
                # They come in order: what is behind one that failed is nobody's.
                self._waiting = deque(shot for shot in self._waiting if shot[0] < min(left))
            self._changed.notify_all()


def own_views(pool: Pool, snapshot: Snapshot, options: RenderOptions) -> Iterator[LiveFrame]:
    """All views of a scene's job, rendered by one worker, as into a data set."""
    came: queue.SimpleQueue[LiveFrame | Exception | None] = queue.SimpleQueue()
    until = None if options.deadline is None else time.monotonic() + options.deadline
    stopped, guard = threading.Event(), threading.Lock()
    lanes: list[WorkerLane] = []

    def stop() -> None:
        stopped.set()
        with guard:
            for lane in lanes:
                lane.cancel(GRACE)

    def work() -> None:
        try:
            with pool._lane(snapshot.scene, until, stopped.is_set, snapshot.state) as lane:
                try:
                    with guard:
                        lanes.append(lane)
                    if stopped.is_set():
                        raise Interrupted("Cancelled.")
                    render(lane)
                finally:
                    with guard:
                        lanes.clear()
            came.put(None)
        except Exception as error:
            came.put(Interrupted("Cancelled.") if stopped.is_set() else error)

    def render(lane: WorkerLane) -> None:
        timeout = options.timeout * max(1, snapshot.scene.views)
        if snapshot.job.engine.engine == "eevee":
            timeout += _FIRST

        def left() -> float:
            return timeout if until is None else min(timeout, until - time.monotonic())

        pool._bring(lane, snapshot, left())
        # How many frames an animation has is not known here.
        again = int(until is None and snapshot.job.time.frames is not None)
        lane.render(snapshot, None, options.lane, left(), came.put, renew=again)

    thread = threading.Thread(target=work, name="live-views", daemon=True)
    thread.start()
    try:
        options.begun(stop)
        while (found := came.get()) is not None:
            if isinstance(found, Exception):
                raise found
            yield found
    finally:
        stop()
        thread.join()
