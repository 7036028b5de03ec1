"""How clients reach a server: a private socket, loopback with a key, or encrypted from anywhere."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import stat
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from ..errors import AccessRefused, InvalidJob, MissingDependency
from ..worker.channel import Received, Sender, read_messages
from ..worker.protocol import Message, decode, encode
from .clients import Client, Misbehaved
from .keys import KeyRing, challenge, runtime_folder
from .service import Service
from .socket_thread import SocketThread, endpoint

__all__ = ["Address", "Listener", "listen", "parse_address"]

_HANDSHAKE: Final = 10.0
_MOST: Final = 64
"""Connections at a time."""
_EXTRA: Final = 'pip install "objaverse-render-addon[remote-live]"'


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens.

    Attributes:
        path: Of a socket in the file system; ``None`` where it is TCP.
        encrypted: Whether it is TCP that ZeroMQ encrypts.
    """

    path: Path | None = None
    host: str = ""
    port: int = 0
    encrypted: bool = False

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'curve' if self.encrypted else 'tcp'}://{host}:{self.port}"


def parse_address(text: str) -> Address:
    """``unix``, ``unix:PATH``, ``tcp://HOST:PORT`` or ``curve://HOST:PORT``.

    Raises:
        InvalidJob: It is none of these.
    """
    if text == "unix" or text.startswith("unix:"):
        path = text.removeprefix("unix").removeprefix(":")
        return Address(Path(path) if path else runtime_folder() / "serve.sock")
    scheme, _, rest = text.partition("://")
    host, _, port = rest.rpartition(":")
    host = host.strip("[]")
    if scheme not in ("tcp", "curve") or not host or not port.isdecimal() or int(port) > 65535:
        raise InvalidJob(
            f"{text!r} is no address.",
            hint="Say unix, unix:PATH, tcp://127.0.0.1:PORT or curve://HOST:PORT.",
        )
    return Address(None, host, int(port), scheme == "curve")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Listener(Protocol):
    """Lets clients in.

    Attributes:
        address: Where, with the port that it got.
    """

    address: Address

    def close(self) -> None:
        """Let nobody in any more, and those who are go."""


def listen(service: Service, address: Address, keys: KeyRing) -> Listener:
    """Listen for clients.

    Raises:
        AccessRefused: It is no loopback address, and not encrypted.
        MissingDependency: ZeroMQ is not there.
        InvalidJob: The address is taken, or none of this machine.
    """
    if address.path is None and not address.encrypted and not _is_loopback(address.host):
        raise AccessRefused(
            f"{address} is open to others, and what goes over it would be too.",
            hint=f"Listen at curve://{address.host}:{address.port}, which is encrypted and lets in "
            f"nobody without a key ({_EXTRA}); or at loopback, behind an SSH tunnel.",
        )
    try:
        if address.encrypted:
            return _Encrypted(service, address, keys)
        return _Streams(service, address, keys)
    except OSError as error:
        raise InvalidJob(
            f"Cannot listen at {address}: {error.strerror or error}.",
            hint="Take another port; 0 takes any." if address.path is None else
            "Stop that one with objaverse-render serve stop, or give this one a socket of its own: "
            "--listen unix:PATH.",
        ) from error  # fmt: skip


class _Streams:
    """Sockets of the system, a thread for each client."""

    def __init__(self, service: Service, address: Address, keys: KeyRing) -> None:
        self._service, self._keys = service, keys
        self._private = address.path is not None
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._closed = False
        if address.path is not None:
            self._socket = _private_socket(address.path)
            self.address = address
        else:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            self._socket = socket.socket(family, socket.SOCK_STREAM)
            try:
                if os.name == "posix":
                    self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self._socket.bind((address.host, address.port))
            except OSError:
                self._socket.close()
                raise
            self.address = Address(None, address.host, self._socket.getsockname()[1])
        self._socket.listen(_MOST)
        threading.Thread(target=self._accept, name="serve-accept", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # It is closed.
            with self._guard:
                full = self._closed or len(self._open) >= _MOST
                if not full:
                    self._open.add(connection)
            if full:
                connection.close()
                continue
            threading.Thread(
                target=self._serve, args=(connection,), name="serve-client", daemon=True
            ).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(_HANDSHAKE)
            if self._private:
                if not _is_own(connection):
                    return
                name = "owner"
            else:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                name = challenge(connection, self._keys)
            self._converse(connection, name)
        except (OSError, AccessRefused, ValueError):
            pass  # It went away, or was not let in.
        finally:
            with self._guard:
                self._open.discard(connection)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _converse(self, connection: socket.socket, name: str) -> None:
        service = self._service
        connection.settimeout(service.limits.idle)
        reader, writer = connection.makefile("rb"), connection.makefile("wb")
        sender = Sender(writer)

        def send(message: Message, number: int, payloads: Sequence[memoryview]) -> None:
            try:
                sender.send(message, number, payloads)
            except (OSError, ValueError):
                # It is gone, or takes nothing; its own thread hears of that too.
                client.gone = True
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

        client = Client(name, send, is_owner=self._private)
        service.join(client)
        misbehaved = False
        try:
            send(service.hello(), 0, ())
            for received in read_messages(reader, service.limits.message):
                service.take(client, received)
                if service.overdue(client):
                    break
        except (Misbehaved, ValueError):
            misbehaved = True
        finally:
            service.leave(client, misbehaved=misbehaved)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            for file in (reader, writer):
                with contextlib.suppress(OSError, ValueError):
                    file.close()

    def close(self) -> None:
        """See :class:`Listener`."""
        with self._guard:
            self._closed = True
            there = list(self._open)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in there:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        if self.address.path is not None:
            with contextlib.suppress(OSError):
                self.address.path.unlink()


def _private_socket(path: Path) -> socket.socket:
    """A socket in the file system that its owner alone connects to; a dead one's is taken over."""
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("this system has no private sockets; listen at tcp://127.0.0.1:0")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists():
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise OSError("there is a file of this name")
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            probe.settimeout(1)
            probe.connect(str(path))
        except OSError:
            path.unlink()
        else:
            raise OSError("a server listens there already")
        finally:
            probe.close()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        made.bind(str(path))
    except OSError:
        made.close()
        raise
    finally:
        os.umask(before)
    return made


def _is_own(connection: socket.socket) -> bool:
    """Whether the other side is this user's, where the system says it."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    import struct

    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return bool(struct.unpack("3i", data)[1] in (os.getuid(), 0))


class _Encrypted:
    """ZeroMQ with CURVE: one socket, one thread; who has no key does not get as far as a message.

    http://rfc.zeromq.org/spec:26, and spec:27 for who is let in.
    """

    def __init__(self, service: Service, address: Address, keys: KeyRing) -> None:
        try:
            import zmq
            import zmq.auth
            from zmq.auth.thread import ThreadAuthenticator
        except ImportError as error:
            raise MissingDependency(
                "An encrypted address needs ZeroMQ.", hint=f"{_EXTRA}; or listen at loopback."
            ) from error
        if not zmq.has("curve"):
            raise MissingDependency("This ZeroMQ was built without CURVE.", hint=_EXTRA)
        self._service, self._keys = service, keys
        self._context = zmq.Context()
        # Each message names whose key it was sent with.
        self._authenticator = ThreadAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback("*", credentials_provider=_LetIn(keys))
        self._socket = self._context.socket(zmq.ROUTER)
        public, secret = keys.server_pair()
        self._socket.curve_publickey = public.encode()
        self._socket.curve_secretkey = secret.encode()
        self._socket.curve_server = True
        self._socket.setsockopt(zmq.MAXMSGSIZE, service.limits.message)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.LINGER, 2000)
        self._socket.setsockopt(zmq.HANDSHAKE_IVL, int(_HANDSHAKE * 1000))
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, 5000)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 20000)
        self._socket.setsockopt(zmq.IPV6, int(":" in address.host))
        try:
            self._socket.bind(endpoint(address.host, address.port or "*"))
        except zmq.ZMQError as error:
            self._end()
            raise OSError(error.errno, str(error)) from error
        bound = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        port = int(bound.rpartition(":")[2])
        self.address = Address(None, address.host, port, encrypted=True)
        self._clients: dict[bytes, Client] = {}
        self._banned: deque[bytes] = deque(maxlen=4096)
        self._thread = SocketThread(
            "serve-zmq", self._socket, self._receive, sweep=self._sweep, ended=self._ended,
            lost=lambda parts: self._drop(parts[0], misbehaved=False),
        )  # fmt: skip
        self._thread.start()

    def _receive(self, parts: list[Any]) -> None:
        identity = parts[0].bytes
        if identity in self._banned:
            return
        try:
            self._take(identity, parts[1:])
        except Misbehaved:
            self._drop(identity, misbehaved=True)

    def _sweep(self) -> None:
        for identity, client in list(self._clients.items()):
            if self._service.overdue(client):
                self._drop(identity, misbehaved=False)

    def _ended(self) -> None:
        for identity in list(self._clients):
            self._drop(identity, misbehaved=False)
        self._end()

    def _take(self, identity: bytes, parts: list[Any]) -> None:
        if len(parts) != 1:
            raise Misbehaved("it sends what is not asked for")
        client = self._clients.get(identity)
        if client is None:
            if len(self._clients) >= _MOST:
                raise Misbehaved("there are too many")
            key = parts[0].get("User-Id")
            name = self._keys.curve_names().get(key.encode() if isinstance(key, str) else key)
            if name is None:
                raise Misbehaved("it has no key")

            def send(message: Message, number: int, payloads: Sequence[memoryview]) -> None:
                with contextlib.suppress(OSError):
                    self._thread.send([identity, encode(message, number).encode(), *payloads])

            client = self._clients[identity] = Client(name, send)
            self._service.join(client)
            send(self._service.hello(), 0, ())
        found = decode(parts[0].bytes.decode(errors="replace"))
        if found is None or hasattr(found[1], "buffers"):
            raise Misbehaved("that is no message")
        self._service.take(client, Received(*found))

    def _drop(self, identity: bytes, *, misbehaved: bool) -> None:
        if misbehaved:
            self._banned.append(identity)
        client = self._clients.pop(identity, None)
        if client is not None:
            self._service.leave(client, misbehaved=misbehaved)
        elif misbehaved:
            self._service.dropped += 1

    def _end(self) -> None:
        self._socket.close()
        self._authenticator.stop()
        self._context.term()

    def close(self) -> None:
        """See :class:`Listener`."""
        self._thread.close()


class _LetIn:
    """Whose key is known."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether this public key (Z85) is a client's."""
        del domain
        return key in self._keys.curve_names()
