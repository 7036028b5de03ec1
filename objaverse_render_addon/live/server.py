"""A server: a pool, the service in front of it, and the doors that clients come in by."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import RenderError
from ..worker.guardian import sweep
from .clients import Limits
from .keys import KeyRing, runtime_folder
from .listen import Address, Listener, listen, parse_address
from .pool import Pool
from .service import Service

__all__ = ["Server", "keys_folder"]


def keys_folder() -> Path:
    """Where a server's keys lie unless it is told otherwise."""
    return Path.home() / ".config" / "objaverse-render" / "serve"


class Server:
    """Lets clients use a pool until it is stopped.

    Args:
        addresses: As :func:`.listen.parse_address` reads them; a private socket is always there
            where the system has them, for its owner's ``serve status`` and ``serve stop``.
        clients: Names of those who get a key; ``me`` alone otherwise.
        roots: Folders that files are opened from.
        modules, environments: See :class:`.service.Service`.

    Attributes:
        keys: (client, address, key) of each that may come in; the key is empty on a private socket.
    """

    def __init__(
        self,
        pool: Pool,
        addresses: Sequence[str] = (),
        *,
        clients: Sequence[str] = (),
        roots: Sequence[Path] = (),
        keys: Path | None = None,
        limits: Limits | None = None,
        private: Path | None = None,
        modules: Sequence[str] = (),
        environments: Mapping[str, Any] | None = None,
    ) -> None:
        # What clients of one that was killed had brought along.
        sweep(Path(tempfile.gettempdir()))
        self._stopped = threading.Event()
        self.pool = pool
        self.service = Service(
            pool, list(roots) or [Path.cwd()], limits or Limits(), self._stopped.set,
            modules=modules, environments=environments,
        )  # fmt: skip
        self._doors: list[Listener] = []
        self.keys: list[tuple[str, str, str]] = []
        wanted = [parse_address(text) for text in addresses]
        if not any(one.path is not None for one in wanted) and _has_private():
            own = Address(private or runtime_folder() / "serve.sock")
            wanted.insert(0, own)
        try:
            for address in wanted:
                self._open(address, list(clients) or ["me"], keys)
        except BaseException:
            self.close()
            raise

    def _open(self, wanted: Address, clients: list[str], folder: Path | None) -> None:
        ring = KeyRing(folder or keys_folder())
        # Before anybody can come in, so that the folder is whole.
        names = [] if wanted.path is not None else clients
        words = {}
        if not wanted.encrypted:
            words = {name: ring.key(name) for name in names}
        door = listen(self.service, wanted, ring)
        self._doors.append(door)
        if wanted.encrypted:
            words = {name: ring.curve_key(name) for name in names}
        where = str(door.address)
        if wanted.path is not None:
            self.keys.append(("you", where, ""))
        self.keys += [(name, where, word) for name, word in words.items()]

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return [str(door.address) for door in self._doors]

    def wait(self, timeout: float | None = None) -> bool:
        """Until its owner stops it; whether that was so."""
        return self._stopped.wait(timeout)

    def stop(self) -> None:
        """Let :meth:`wait` return."""
        self._stopped.set()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let everybody go."""
        self._stopped.set()
        for door in self._doors:
            with contextlib.suppress(RenderError, OSError):
                door.close()
        self._doors = []

    def facts(self) -> dict[str, Any]:
        """Plain data, for a machine that started it."""
        return {
            "addresses": self.addresses,
            "keys": [
                {"client": name, "address": where, "key": word} for name, where, word in self.keys
            ],
        }


def _has_private() -> bool:
    import socket

    return hasattr(socket, "AF_UNIX")
