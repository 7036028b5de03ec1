"""Messages out of a pipe, read by whoever waits for them.

A thread that reads and hands over costs more than the message does. Where a system cannot wait for
a pipe with a time limit (Windows), there is one all the same.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import IO, Final, Protocol

from .channel import LARGEST, LENGTH, Received, begun, read_messages

__all__ = ["Inlet", "inlet_of"]

_CHUNK: Final = 1 << 16
_CLOSING: Final = 1.0
"""Seconds in which whoever waits still is to have seen that the other end is gone."""


class Inlet(Protocol):
    """Where messages come in; used by one thread at a time."""

    def next(self, timeout: float | None) -> Received | None:
        """The next message; ``None`` at the end, and ever after.

        Args:
            timeout: Seconds that it may take; ``None`` for as long as it takes.

        Raises:
            TimeoutError: It did not come; what came of it so far is kept.
        """

    def close(self) -> None:
        """Nothing more is wanted."""


def inlet_of(stream: IO[bytes]) -> Inlet:
    """Messages that come out of a pipe, of which nothing was read yet."""
    return _Pumped(stream) if sys.platform == "win32" else _Polled(stream)


class _Polled:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._descriptor = stream, stream.fileno()
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        self._guard = threading.Lock()
        self._ended = self._reading = False
        self._bytes = bytearray()
        self._searched = 0
        self._message: Received | None = None
        self._missing: list[str] = []
        self._array: bytearray | None = None
        self._filled = 0

    def next(self, timeout: float | None) -> Received | None:
        """See :class:`Inlet`."""
        until = None if timeout is None else time.monotonic() + timeout
        with self._guard:
            # An exception out of nowhere, as Ctrl-C, may have come between reading and keeping.
            self._ended = self._ended or self._reading
            while not self._ended:
                found = self._whole()
                if found is not None:
                    return found
                left = None if until is None else 1e3 * max(0.0, until - time.monotonic())
                if not self._poll.poll(left):
                    raise TimeoutError
                self._read()
        return None

    def _read(self) -> None:
        self._reading = True
        try:
            if self._array is not None and not self._bytes:
                room = memoryview(self._array)[self._filled :]
                count = os.readv(self._descriptor, [room])
                self._filled += count
            else:
                chunk = os.read(self._descriptor, _CHUNK)
                self._bytes += chunk
                count = len(chunk)
        except OSError:
            count = 0
        self._ended = self._ended or not count
        self._reading = False

    def _whole(self) -> Received | None:
        """A message that is there with all that belongs to it."""
        while True:
            if self._message is None:
                end = self._bytes.find(b"\n", self._searched)
                if end < 0:
                    self._searched = len(self._bytes)
                    return None
                line = bytes(self._bytes[:end])
                del self._bytes[: end + 1]
                self._searched = 0
                found = begun(line)
                if found is not None:
                    self._message, self._missing = found
            elif not self._missing:
                message, self._message = self._message, None
                return message
            elif not self._take_array():
                return None

    def _take_array(self) -> bool:
        """Whether the next array is there as a whole."""
        assert self._message is not None
        if self._array is None:
            if len(self._bytes) < LENGTH.size:
                return False
            (length,) = LENGTH.unpack_from(self._bytes)
            del self._bytes[: LENGTH.size]
            try:
                if length > LARGEST:
                    raise MemoryError
                self._array, self._filled = bytearray(length), 0
            except MemoryError:
                # Nobody sends as much; what follows is none of a message.
                self._ended = True
                return False
        some = min(len(self._bytes), len(self._array) - self._filled)
        self._array[self._filled : self._filled + some] = self._bytes[:some]
        del self._bytes[:some]
        self._filled += some
        if self._filled < len(self._array):
            return False
        self._message.payloads[self._missing.pop(0)] = self._array
        self._array = None
        return True

    def close(self) -> None:
        """See :class:`Inlet`."""
        self._ended = True
        held = self._guard.acquire(timeout=_CLOSING)
        try:
            with contextlib.suppress(OSError, ValueError):
                self._stream.close()
        finally:
            if held:
                self._guard.release()


class _Pumped:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._messages: SimpleQueue[Received | None] = SimpleQueue()
        threading.Thread(target=self._pump, name="inlet", daemon=True).start()

    def _pump(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # It is closed meanwhile.
            for received in read_messages(self._stream):
                self._messages.put(received)
        self._messages.put(None)

    def next(self, timeout: float | None) -> Received | None:
        """See :class:`Inlet`."""
        try:
            found = self._messages.get(timeout=timeout)
        except Empty:
            raise TimeoutError from None
        if found is None:
            self._messages.put(None)
        return found

    def close(self) -> None:
        """See :class:`Inlet`."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.close()
