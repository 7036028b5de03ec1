"""A ZeroMQ socket and the one thread that has it; everybody else hands messages over.

A socket of ZeroMQ belongs to one thread (http://zguide.zeromq.org). Whoever has something to send
puts it into a queue and wakes the thread by a byte on a pair of sockets.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

__all__ = ["SocketThread", "endpoint"]

_TICK: Final = 1.0
_AT_ONCE: Final = 64
"""Messages that are taken before others get to send theirs."""


def endpoint(host: str, port: int | str) -> str:
    """An address as ZeroMQ writes it."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


class SocketThread:
    """Receives and sends until it is closed; all callbacks are called from its thread.

    Args:
        name: Of the thread.
        zmq_socket: Connected or bound; the thread's from now on.
        receive: Gets the parts of each message, as frames of ZeroMQ.
        lost: Gets the parts of a message that could not be sent.
        sweep: Called every second.
        ended: Called once, at the end; it closes the socket and what belongs to it.

    Attributes:
        closed: Whether it ends or has ended.
    """

    def __init__(
        self,
        name: str,
        zmq_socket: Any,
        receive: Callable[[list[Any]], None],
        *,
        lost: Callable[[Sequence[Any]], None] = lambda _: None,
        sweep: Callable[[], None] = lambda: None,
        ended: Callable[[], None],
    ) -> None:
        self._socket, self._receive = zmq_socket, receive
        self._lost, self._sweep, self._ended = lost, sweep, ended
        self._waiting: deque[Sequence[Any]] = deque()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        self.closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        import zmq

        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._woken.fileno(), zmq.POLLIN)
        swept = time.monotonic()
        try:
            while not self.closed:
                for ready, _ in poller.poll(int(_TICK * 1000)):
                    if ready is self._socket:
                        self._take(zmq)
                    else:
                        with contextlib.suppress(BlockingIOError):
                            self._woken.recv(4096)
                self._flush(zmq)
                if time.monotonic() - swept > _TICK:
                    swept = time.monotonic()
                    self._sweep()
            # What was said before the end is sent.
            self._flush(zmq)
        finally:
            self.closed = True
            self._ended()

    def _take(self, zmq: Any) -> None:
        for _ in range(_AT_ONCE):
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._receive(parts)

    def _flush(self, zmq: Any) -> None:
        while self._waiting:
            parts = self._waiting.popleft()
            try:
                self._socket.send_multipart(parts, copy=False)
            except zmq.ZMQError:
                self._lost(parts)

    def send(self, parts: Sequence[Any]) -> None:
        """Have a message sent, from any thread.

        Raises:
            OSError: It is closed.
        """
        if self.closed:
            raise OSError("the connection is closed")
        self._waiting.append(parts)
        self._signal()

    def _signal(self) -> None:
        # A full pair of sockets wakes it as well.
        with contextlib.suppress(BlockingIOError):
            self._wake.send(b"x")

    def close(self, timeout: float = 10.0) -> None:
        """End the thread, and wait for it unless this is it."""
        self.closed = True
        with contextlib.suppress(OSError):
            self._signal()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)
        self._wake.close()
        self._woken.close()
