"""A worker's requests: read by its main thread, and beside it by another while one takes long.

To hand a message from one thread to another costs more than most changes of a scene do. So whoever
waits for a request reads it; only while one is in hand for longer does a second thread listen,
for whether it is cancelled or the other end is gone, and say every second that this process lives.
Blender's operators let other threads run; where it hangs with Python's lock, nothing is said.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from .channel import Received
from .inlet import Inlet
from .protocol import Cancel

__all__ = ["Inbox"]

_LONG: Final = 0.02
"""Seconds after which a request takes long."""
_BEAT: Final = 1.0
_REST: Final = 1.0
"""Seconds without a request after which the second thread sleeps until there is one."""


class Inbox:
    """Requests that wait, and those that are to end.

    From the start, what comes before the first request is in hand: ``done(0)`` ends it.

    Args:
        beat: Says that this process lives.
        leave: Ends it, since the other end is gone; does not return.
    """

    def __init__(
        self, inlet: Inlet, beat: Callable[[], None], leave: Callable[[], None]
    ) -> None:
        self._inlet, self._beat, self._leave = inlet, beat, leave
        self._reading = threading.Lock()
        self._waiting: SimpleQueue[Received] = SimpleQueue()
        self._canceled: set[int] = set()
        self._since, self._ended, self._beaten = time.monotonic(), 0.0, 0.0
        self._awake = threading.Event()
        self._awake.set()
        threading.Thread(target=self._run, name="heart", daemon=True).start()

    def next(self) -> Received:
        """The next request, which is in hand then until it is :meth:`done`."""
        while True:
            received: Received | None
            if self._reading.acquire(blocking=False):
                try:
                    received = self._first()
                finally:
                    self._reading.release()
            else:
                try:
                    received = self._waiting.get(timeout=_LONG)
                except Empty:
                    continue
            if received is None:
                self._leave()
            elif isinstance(received.message, Cancel):
                self._canceled.add(received.message.request)
            else:
                self._since = time.monotonic()
                if not self._awake.is_set():
                    self._awake.set()
                return received

    def _first(self) -> Received | None:
        # Nobody else takes out of it.
        return self._inlet.next(None) if self._waiting.empty() else self._waiting.get()

    def done(self, request: int) -> None:
        """It has ended; ids only grow, so that older ones are over too."""
        self._since, self._ended = 0.0, time.monotonic()
        if self._canceled:
            self._canceled = {other for other in self._canceled if other > request}

    def is_canceled(self, request: int) -> bool:
        """Whether a request is to end; from any thread."""
        if self._reading.acquire(blocking=False):
            try:
                self._hear(0.0)
            finally:
                self._reading.release()
        return request in self._canceled

    def _hear(self, timeout: float) -> None:
        """Take in what comes while a request is in hand."""
        while True:
            try:
                received = self._inlet.next(timeout)
            except TimeoutError:
                return
            if received is None:
                self._leave()
            elif isinstance(received.message, Cancel):
                self._canceled.add(received.message.request)
            else:
                self._waiting.put(received)
            timeout = 0.0

    def _run(self) -> None:
        while True:
            self._awake.wait()
            time.sleep(_LONG)
            if self._takes_long():
                with self._reading:
                    self._listen()
            elif not self._since and time.monotonic() - self._ended > _REST:
                self._awake.clear()
                if self._since:
                    self._awake.set()

    def _takes_long(self) -> bool:
        since = self._since
        return bool(since) and time.monotonic() - since > _LONG

    def _listen(self) -> None:
        while self._takes_long():
            if time.monotonic() - self._beaten > _BEAT:
                self._beaten = time.monotonic()
                self._beat()
            self._hear(2 * _LONG)
