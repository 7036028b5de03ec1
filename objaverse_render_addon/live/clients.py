"""Clients of a server: who they are, what each may take, and what of theirs is in hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ..errors import ConnectionLost, Interrupted
from ..worker.protocol import Message
from .served_environments import ServedEnvironments
from .uploads import Uploads

__all__ = ["Client", "Limits", "Misbehaved", "Send", "Turn"]

Send: TypeAlias = Callable[[Message, int, Sequence[memoryview]], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take of a server.

    Attributes:
        message: Bytes of what it says at once.
        pixels: Of one frame.
        array: Bytes of one frame's arrays.
        shots: Of one request.
        scenes: Open at a time.
        environments: Of one connection.
        requests: In hand at a time.
        credit: Frames on their way to it.
        upload: Bytes of the files that it brings along.
        session: Seconds that it may stay.
        idle: Seconds in which it has to be heard of.
        answer: Seconds that one request may take.
    """

    message: int = 8 << 20
    pixels: int = 4096 * 4096
    array: int = 1 << 30
    shots: int = 100_000
    scenes: int = 8
    environments: int = 256
    requests: int = 8
    credit: int = 16
    upload: int = 1 << 30
    session: float = 7 * 24 * 3600.0
    idle: float = 60.0
    answer: float = 3600.0


class Misbehaved(Exception):
    """A client does not keep to the rules, and is to be dropped."""


@dataclass(eq=False)
class Client:
    """One connection.

    Attributes:
        name: Whose key it has; ``owner`` on the private socket.
        is_owner: Whether it may stop the server.
        uploads: Files that it brought along.
        send: Sends it an answer, of a request, with arrays; from any thread.
    """

    name: str
    send: Send
    is_owner: bool = False
    since: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    gone: bool = False
    scenes: set[int] = field(default_factory=set)
    views: set[int] = field(default_factory=set)
    running: dict[int, Turn] = field(default_factory=dict)
    uploads: Uploads = field(default_factory=lambda: Uploads(0))
    environments: ServedEnvironments | None = None


class Turn:
    """A request in hand: whether it is wanted still, and how many frames may go out."""

    def __init__(self, credit: int) -> None:
        self._changed = threading.Condition()
        self._credit, self.canceled = credit, False
        self._ends: Callable[[], None] | None = None

    def ended_by(self, cancel: Callable[[], None]) -> None:
        """What ends the work in hand when it is not wanted any more."""
        with self._changed:
            self._ends = cancel
            canceled = self.canceled
        if canceled:
            cancel()

    def more(self, frames: int) -> None:
        """So many frames more may go out."""
        with self._changed:
            self._credit += frames
            self._changed.notify_all()

    def cancel(self) -> None:
        """It is not wanted any more."""
        with self._changed:
            self.canceled = True
            ends = self._ends
            self._changed.notify_all()
        if ends is not None:
            ends()

    def spend(self, until: float) -> None:
        """Wait until a frame may go out."""
        with self._changed:
            while self._credit <= 0 and not self.canceled:
                if time.monotonic() > until:
                    raise ConnectionLost("The client did not take its frames in time.")
                self._changed.wait(0.5)
            if self.canceled:
                raise Interrupted("Cancelled.")
            self._credit -= 1
