"""What a client's messages go over: a socket of the system, or ZeroMQ with CURVE."""

from __future__ import annotations

import contextlib
import queue
import secrets
import socket
from collections.abc import Iterator
from typing import Any, Protocol

from ..errors import AccessRefused, ConnectionLost, MissingDependency
from ..worker.channel import Received, Sender, read_messages
from ..worker.protocol import Message, decode, encode
from .keys import curve_parts, prove
from .listen import Address
from .socket_thread import SocketThread, endpoint

__all__ = ["EncryptedWire", "StreamWire", "Wire"]


class Wire(Protocol):
    """Carries messages to a server and back; whoever uses it reads in one thread."""

    def send(self, message: Message, request: int) -> None:
        """Send a message, from any thread; OSError or ValueError where nobody is there."""

    def received(self) -> Iterator[Received]:
        """Everything that comes, until either side closes."""

    def close(self) -> None:
        """End it, from any thread."""


class StreamWire:
    """A socket of the system."""

    def __init__(self, address: Address, key: str, timeout: float) -> None:
        self._socket = _reached(address, timeout)
        try:
            self._socket.settimeout(timeout)
            if address.path is None:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                prove(self._socket, key)
            self._socket.settimeout(None)
        except OSError as error:
            self._socket.close()
            raise ConnectionLost(f"{address}: {error}.") from error
        except BaseException:
            self._socket.close()
            raise
        self._reader, self._writer = self._socket.makefile("rb"), self._socket.makefile("wb")
        self._sender = Sender(self._writer)

    def send(self, message: Message, request: int) -> None:
        """See :class:`Wire`."""
        self._sender.send(message, request)

    def received(self) -> Iterator[Received]:
        """See :class:`Wire`."""
        try:
            yield from read_messages(self._reader)
        finally:
            with contextlib.suppress(OSError, ValueError):
                self._reader.close()

    def close(self) -> None:
        """See :class:`Wire`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError, ValueError):
            self._writer.close()
        # Its reader is closed by whoever reads, who hears of it now.
        self._socket.close()


def _reached(address: Address, timeout: float) -> socket.socket:
    try:
        if address.path is None:
            return socket.create_connection((address.host, address.port), timeout)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(timeout)
        try:
            made.connect(str(address.path))
        except OSError:
            made.close()
            raise
        return made
    except OSError as error:
        raise ConnectionLost(
            f"Nobody answers at {address}: {error.strerror or error}.",
            hint="Start one with: objaverse-render serve",
        ) from error


class EncryptedWire:
    """ZeroMQ with CURVE: one thread has the socket."""

    def __init__(self, address: Address, key: str) -> None:
        try:
            import zmq
        except ImportError as error:
            raise MissingDependency(
                f"{address} needs ZeroMQ.",
                hint='Install it with: pip install "objaverse-render-addon[remote-live]"',
            ) from error
        _, server, public, secret = curve_parts(key)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        try:
            self._socket.curve_serverkey = server
            self._socket.curve_publickey, self._socket.curve_secretkey = public, secret
        except zmq.ZMQError as error:
            self._socket.close()
            self._context.term()
            raise AccessRefused(
                "That is no key for an encrypted connection.",
                hint="objaverse-render serve prints it.",
            ) from error
        self._socket.setsockopt(zmq.LINGER, 500)
        self._socket.setsockopt(zmq.IDENTITY, b"c" + secrets.token_bytes(8))
        self._socket.setsockopt(zmq.IPV6, int(":" in address.host))
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, 5000)
        self._socket.connect(endpoint(address.host, address.port))
        self._found: queue.SimpleQueue[Received | None] = queue.SimpleQueue()
        self._thread = SocketThread("live-zmq", self._socket, self._took, ended=self._ended)
        self._thread.start()

    def _took(self, parts: list[Any]) -> None:
        line, *rest = parts
        found = decode(line.bytes.decode(errors="replace"))
        if found is None:
            return
        request, message = found
        buffers = getattr(message, "buffers", ())
        # A frame of ZeroMQ keeps its memory for as long as arrays show it.
        payloads: dict[str, Any] = {
            buffer.name: part.buffer for buffer, part in zip(buffers, rest, strict=False)
        }
        if len(payloads) == len(buffers):
            self._found.put(Received(request, message, payloads))

    def _ended(self) -> None:
        self._socket.close()
        self._context.term()
        self._found.put(None)

    def send(self, message: Message, request: int) -> None:
        """See :class:`Wire`."""
        self._thread.send([encode(message, request).encode()])

    def received(self) -> Iterator[Received]:
        """See :class:`Wire`."""
        while (found := self._found.get()) is not None:
            yield found

    def close(self) -> None:
        """See :class:`Wire`."""
        if not self._thread.closed:
            self._thread.close(5)
