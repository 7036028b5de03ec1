"""Bring a stream of bytes into a file so that it is whole, or not there at all.

What comes goes to a ``.part`` beside the target and is renamed when it is complete and checked.
What broke off is continued where the other side can prove that it still has the same file.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypedDict

from ..errors import ChecksumMismatch, DiskFull, DownloadFailed, Interrupted, from_os_error
from ..files import file_sha256
from ..locks import locked

__all__ = ["ByteProgress", "Opener", "Stream", "TransferBroken", "TransferOptions", "transfer"]

RETRIES: Final = 4
"""Attempts after the first one that bring nothing new."""
BACKOFF: Final = 0.5
"""Seconds before the second attempt; twice as long before each one after it."""
LONGEST_WAIT: Final = 60.0
"""Seconds that a server may ask to wait."""
STALLED: Final = 60.0
"""Seconds in which something has to come, and more than :data:`SLOWEST` allows."""
SLOWEST: Final = 4096
"""Bytes a second below which a file is not waited for."""
MAX_BYTES: Final = 8 << 30
MAX_UNSAID: Final = 1 << 30
"""Bytes of a file whose size nobody says."""
CHUNK: Final = 1 << 15
RESERVE: Final = 64 << 20
"""Bytes of a disk that stay free."""
_LOOKED_AFTER: Final = 16 << 20
"""Bytes that are written between two looks at the room."""

ByteProgress = Callable[[int, int], None]


class TransferBroken(Exception):
    """It may go better the next time; what came can be kept.

    Attributes:
        wait: Seconds that the server asks for.
        hint: For when it does not go better.
        stalled: Whether the other side kept us waiting for nothing.
    """

    def __init__(
        self, message: str, wait: float = 0.0, hint: str = "", *, stalled: bool = False
    ) -> None:
        super().__init__(message)
        self.wait = wait
        self.hint = hint
        self.stalled = stalled


@dataclass(slots=True)
class Stream:
    """What the other side is about to send.

    Attributes:
        start: Position of the first byte in the file.
        total: Bytes of the whole file; 0 where nobody says.
        validator: Proves, when it is shown later, that the file is still the same; may be empty.
        sha256: Of the whole file, where the other side publishes it.
    """

    start: int
    total: int
    validator: str
    sha256: str
    chunks: Iterator[bytes]


Opener = Callable[[int, str, Callable[[Callable[[], None]], None]], AbstractContextManager[Stream]]
"""Opens the file at a position, given the validator of what is there already.

What the third argument is given lets whoever waits for the other side, in another thread, go at
once.
"""


class TransferOptions(TypedDict, total=False):
    """What every way of fetching takes beside an address and a target; see :func:`transfer`."""

    on_progress: ByteProgress | None
    cancel: threading.Event | None
    max_bytes: int
    sha256: str
    found: Callable[[], Path | None] | None
    finish: Callable[[Path], Path] | None


def transfer(
    opener: Opener,
    what: str,
    target: Path,
    *,
    on_progress: ByteProgress | None = None,
    cancel: threading.Event | None = None,
    max_bytes: int = MAX_BYTES,
    sha256: str = "",
    found: Callable[[], Path | None] | None = None,
    finish: Callable[[Path], Path] | None = None,
    turn: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    retries: Callable[[TransferBroken], int] = lambda _: RETRIES,
) -> Path:
    """Fetch a file; the path where it lies in the end.

    Whoever else wants the same target, in this process or another one, waits and gets the same
    file.

    Args:
        what: Its name, for messages.
        on_progress: Called with bytes so far and bytes expected (0 where nobody says).
        cancel: Set it, from any thread, to stop within a second.
        sha256: Its content has to have this one.
        found: Asked, once nobody else works on the target, whether it is there now; otherwise a
            target that changed in the meantime is.
        finish: Given the complete ``.part``, says where it goes; what it raises removes the part.
        turn: Held for each attempt.
        retries: Attempts that the other side is worth after one that broke off.

    Raises:
        DownloadFailed: With the server's or the network's reason; a ``.part`` may stay, and the
            next call goes on from it.
        ChecksumMismatch: What came is not what is published, twice.
        OutputNotWritable, DiskFull
        Interrupted: By ``cancel``.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise from_os_error(error, str(target.parent)) from error
    before = _state(target)
    with locked(target.with_name(f".{target.name}.lock"), cancel):
        there = found() if found else target if _state(target) not in (None, before) else None
        if there is not None:
            return there
        try:
            part = _Part(target)
            _fill(part, opener, what, sha256, on_progress, cancel, max_bytes, turn, retries)
            try:
                final = finish(part.path) if finish else target
            except BaseException:
                part.remove()
                raise
            part.path.replace(final)
            part.remove()
        except OSError as error:
            raise from_os_error(error, str(target)) from error
    return final


def _state(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_mtime_ns
    return None


class _Part:
    """The unfinished file, and what is known of it, from this or from an earlier process."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f".{target.name}.part")
        self._note = target.with_name(f".{target.name}.part.json")
        self.validator, self.sha256, self.total = "", "", 0
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            note = json.loads(self._note.read_bytes())
            self.validator = str(note["validator"])
            self.sha256, self.total = str(note["sha256"]), int(note["total"])
        if not self.validator or (self.total and self.size > self.total):
            self.remove()

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def whole(self) -> bool:
        return bool(self.total) and self.size == self.total

    def begin(self, stream: Stream) -> None:
        self.validator, self.sha256, self.total = stream.validator, stream.sha256, stream.total
        note = {"validator": self.validator, "sha256": self.sha256, "total": self.total}
        self._note.write_text(json.dumps(note), encoding="utf-8")

    def remove(self) -> None:
        self.validator, self.sha256, self.total = "", "", 0
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


def _fill(
    part: _Part,
    opener: Opener,
    what: str,
    sha256: str,
    on_progress: ByteProgress | None,
    cancel: threading.Event | None,
    max_bytes: int,
    turn: Callable[[], AbstractContextManager[None]],
    retries: Callable[[TransferBroken], int],
) -> None:
    attempt, furthest, mismatches = 0, part.size, 0
    while True:
        try:
            if not part.whole:
                with turn():
                    _attempt(part, opener, what, on_progress, cancel, max_bytes)
            expected = sha256 or part.sha256
            if not expected or file_sha256(part.path) == expected:
                return
            part.remove()
            mismatches += 1
            if mismatches > 1:
                raise ChecksumMismatch(
                    f"{what}: what comes does not have the SHA-256 {expected}.",
                    hint="Try again later, or another mirror.",
                )
        except TransferBroken as error:
            size = part.size
            attempt = 0 if size >= furthest + (1 << 20) else attempt + 1
            furthest = max(furthest, size)
            if attempt > retries(error):
                hint = error.hint or "Try again; it goes on from there."
                raise DownloadFailed(f"{what}: {error}.", hint=hint) from error
            pause(min(max(error.wait, BACKOFF * 2**attempt), LONGEST_WAIT), cancel, what)


def pause(seconds: float, cancel: threading.Event | None, what: str) -> None:
    """Wait.

    Raises:
        Interrupted: By ``cancel``.
    """
    if cancel is None:
        time.sleep(seconds)
    elif cancel.wait(seconds):
        raise _stopped(what)


def _stopped(what: str) -> Interrupted:
    return Interrupted(f"The download of {what} was stopped.")


def _attempt(
    part: _Part,
    opener: Opener,
    what: str,
    on_progress: ByteProgress | None,
    cancel: threading.Event | None,
    max_bytes: int,
) -> None:
    try:
        _receive(part, opener, what, on_progress, cancel, max_bytes)
    except BaseException:
        # What nobody can go on with only takes room.
        if not (part.validator and part.total):
            part.remove()
        raise


def _receive(
    part: _Part,
    opener: Opener,
    what: str,
    on_progress: ByteProgress | None,
    cancel: threading.Event | None,
    max_bytes: int,
) -> None:
    have = part.size if part.validator else 0
    with contextlib.closing(_pumped(opener, have, part.validator, what, cancel)) as items:
        stream: Stream = next(items)
        if stream.start and (
            stream.start != have
            or stream.validator != part.validator
            or stream.total != part.total
        ):
            part.remove()
            raise TransferBroken("the server sent a part of another file than what is here")
        have, total = stream.start, stream.total
        if total > max_bytes:
            raise DownloadFailed(f"{what} has {total} bytes; {max_bytes} are allowed.")
        limit = max_bytes if total else min(max_bytes, MAX_UNSAID)
        _check_room(part.path.parent, total - have, what)
        with part.path.open("ab" if have else "wb") as file:
            # Not before the old content is gone: what is noted has to fit what is there.
            part.begin(stream)
            looked, pace = have, _Pace(have)
            for chunk in items:
                have += len(chunk)
                if have > limit:
                    part.validator = ""
                    raise DownloadFailed(f"{what} has more than {limit} bytes.")
                if have - looked > _LOOKED_AFTER:
                    looked = have
                    _check_room(part.path.parent, max(total - have, 1), what)
                file.write(chunk)
                pace.check(have)
                if on_progress:
                    on_progress(have, total)
            file.flush()
            os.fsync(file.fileno())
    if total and have != total:
        if have > total:
            part.remove()
        raise TransferBroken(f"it broke off after {have} of {total} bytes")


class _Pace:
    """Whether a file comes fast enough to be waited for."""

    def __init__(self, have: int) -> None:
        self._have, self._since = have, time.monotonic()

    def check(self, have: int) -> None:
        seconds = time.monotonic() - self._since
        if seconds < STALLED:
            return
        if have - self._have < SLOWEST * seconds:
            raise TransferBroken(
                f"only {have - self._have} bytes came in {seconds:.0f} seconds", stalled=True
            )
        self._have, self._since = have, time.monotonic()


def _check_room(folder: Path, needed: int, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed > 0 and free < needed + RESERVE:
        needs, there = f"{needed / 2**20:.0f} MiB", f"{free / 2**20:.0f} MiB"
        raise DiskFull(
            f"{what} needs {needs} in {folder}, where {there} are free.",
            hint="Free some space or choose another --download-dir.",
        )


class _Left(Exception):
    """Nobody waits for this any more."""


def _pumped(
    opener: Opener, have: int, validator: str, what: str, cancel: threading.Event | None
) -> Generator[Any, None, None]:
    """The stream, then its chunks.

    A thread of their own reads them, for no blocking call to a network can be relied on to
    return: the caller leaves when it is told to or when nothing comes, and lets the thread go.
    """
    items: queue.Queue[Any] = queue.Queue(8)
    exits: list[Callable[[], None]] = []
    left = threading.Event()
    end = object()

    def put(item: Any) -> None:
        while not left.is_set():
            with contextlib.suppress(queue.Full):
                items.put(item, timeout=0.5)
                return
        raise _Left

    def leave_by(way: Callable[[], None]) -> None:
        exits.append(way)
        if left.is_set():
            way()

    def pump() -> None:
        with contextlib.suppress(_Left):
            try:
                with opener(have, validator, leave_by) as stream:
                    put(stream)
                    for chunk in stream.chunks:
                        put(chunk)
            except _Left:
                raise
            except BaseException as error:
                put(error)
            else:
                put(end)

    if cancel is not None and cancel.is_set():
        raise _stopped(what)
    threading.Thread(target=pump, name="download", daemon=True).start()
    try:
        deadline = time.monotonic() + STALLED
        while True:
            try:
                item = items.get(timeout=0.1)
            except queue.Empty:
                item = None
            if cancel is not None and cancel.is_set():
                raise _stopped(what)
            if item is end or isinstance(item, BaseException):
                # The connection may be somebody else's by now.
                exits.clear()
            if item is end:
                return
            if isinstance(item, BaseException):
                raise item
            if item is not None:
                yield item
                deadline = time.monotonic() + STALLED
            elif time.monotonic() > deadline:
                raise TransferBroken(f"next to nothing came for {STALLED:g} seconds", stalled=True)
    finally:
        left.set()
        for way in list(exits):
            way()
