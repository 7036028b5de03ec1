"""Keys of a server and its clients, as files that their owner alone reads."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import socket
from pathlib import Path
from typing import Final

from ..errors import AccessRefused, ConnectionLost, InvalidJob

__all__ = ["KeyRing", "prove", "runtime_folder"]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NONCE: Final = 32
_MARK: Final = b"objaverse-render 1\n"


def runtime_folder() -> Path:
    """The user's own folder for sockets, that nobody else may look into."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(base) / "objaverse-render" if base and Path(base).is_dir() else (
        Path.home() / ".cache" / "objaverse-render" / "run"
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.name == "posix":
        folder.chmod(0o700)
    return folder


class KeyRing:
    """A folder with a key per client.

    Args:
        folder: Made where it is not there, readable for its owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.name == "posix":
            folder.chmod(0o700)

    def key(self, name: str) -> str:
        """A client's key, made at first: ``name:secret``."""
        if not _NAME.fullmatch(name):
            raise InvalidJob(f"{name!r} is no name of a client.", hint="Letters, digits, - and _.")
        path = self.folder / f"{name}.key"
        if not path.exists():
            _write(path, secrets.token_hex(32))
        return f"{name}:{path.read_text().strip()}"

    def secret(self, name: str) -> bytes | None:
        """What a client of this name has to know; ``None`` where there is none of it."""
        path = self.folder / f"{name}.key"
        if not _NAME.fullmatch(name) or not path.is_file():
            return None
        return path.read_text().strip().encode()

    # --- For CURVE (http://curvezmq.org) ---------------------------------------------------------

    def server_pair(self) -> tuple[str, str]:
        """Public and secret key of the server, Z85, made at first."""
        import zmq

        path = self.folder / "server.curve"
        if not path.exists():
            public, secret = zmq.curve_keypair()
            _write(path, f"{public.decode()} {secret.decode()}")
        public_text, secret_text = path.read_text().split()
        return public_text, secret_text

    def curve_key(self, name: str) -> str:
        """All that a client needs, in one word: ``curve:name:server:public:secret`` in hex."""
        import zmq

        if not _NAME.fullmatch(name):
            raise InvalidJob(f"{name!r} is no name of a client.", hint="Letters, digits, - and _.")
        path = self.folder / f"{name}.curve.key"
        if not path.exists():
            public, secret = zmq.curve_keypair()
            _write(self.folder / f"{name}.curve.pub", public.decode())
            parts = (self.server_pair()[0].encode(), public, secret)
            _write(path, ":".join(["curve", name, *(part.hex() for part in parts)]))
        return path.read_text().strip()

    def curve_names(self) -> dict[bytes, str]:
        """Public keys that are let in, and whose they are."""
        return {
            path.read_text().strip().encode(): path.name.removesuffix(".curve.pub")
            for path in self.folder.glob("*.curve.pub")
        }


def curve_parts(key: str) -> tuple[str, bytes, bytes, bytes]:
    """Name, the server's public key, the client's own two.

    Raises:
        AccessRefused: It is no such key.
    """
    try:
        mark, name, *parts = key.strip().split(":")
        server, public, secret = (bytes.fromhex(part) for part in parts)
        if mark != "curve" or any(len(part) != 40 for part in (server, public, secret)):
            raise ValueError
    except ValueError:
        raise AccessRefused(
            "That is no key for an encrypted connection.", hint="objaverse-render serve prints it."
        ) from None
    return name, server, public, secret


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")


# --- Both sides prove that they know a secret, without saying it --------------------------------


def challenge(connection: socket.socket, keys: KeyRing) -> str:
    """The server's part, within the connection's timeout; the client's name.

    Raises:
        AccessRefused: It does not know its secret.
        OSError: It went away.
    """
    ours = secrets.token_bytes(_NONCE)
    connection.sendall(_MARK + ours)
    (length,) = _exactly(connection, 1)
    name = _exactly(connection, length).decode(errors="replace")
    theirs, proof = _exactly(connection, _NONCE), _exactly(connection, 32)
    # The same work whether there is such a client or not.
    secret = keys.secret(name)
    right = hmac.compare_digest(_proof(secret or ours, b"client", ours, theirs, name), proof)
    if secret is None or not right:
        raise AccessRefused("A client came with a key that is none.")
    connection.sendall(_proof(secret, b"server", ours, theirs, name))
    return name


def prove(connection: socket.socket, key: str) -> None:
    """The client's part.

    Raises:
        AccessRefused: The server does not take the key, or does not know it itself.
        ConnectionLost: It is no server of ours.
    """
    name, _, secret = key.strip().partition(":")
    if not secret:
        raise AccessRefused("This server wants a key.", hint="objaverse-render serve prints it.")
    head = _exactly(connection, len(_MARK) + _NONCE)
    if not head.startswith(_MARK):
        raise ConnectionLost("What answers there is no server of objaverse-render.")
    theirs, ours = head[len(_MARK) :], secrets.token_bytes(_NONCE)
    word = name.encode()[:255]
    proof = _proof(secret.encode(), b"client", theirs, ours, name)
    connection.sendall(bytes([len(word)]) + word + ours + proof)
    try:
        answer = _exactly(connection, 32)
    except OSError:
        raise AccessRefused(
            "The server does not take this key.",
            hint="objaverse-render serve prints one for each --client.",
        ) from None
    if not hmac.compare_digest(answer, _proof(secret.encode(), b"server", theirs, ours, name)):
        raise AccessRefused("The server does not know the key itself: it is another.")


def _proof(secret: bytes, who: bytes, server: bytes, client: bytes, name: str) -> bytes:
    return hmac.new(secret, who + server + client + name.encode(), hashlib.sha256).digest()


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionResetError("the other side closed the connection")
        data += part
    return data
