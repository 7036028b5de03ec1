"""Who may write into an output: one run, or runs over parts of one list."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path
from typing import IO, Final

from .. import locks
from ..errors import OutputBusy, OutputNotWritable, from_os_error

__all__ = ["Lock"]

_SHARED: Final = "runs over parts of a list"
_TRIES: Final = 10
_PAUSE: Final = 0.02


class Lock:
    """Holds a folder's ledger for this process; the system frees it however the process ends.

    A run over a whole list holds the folder alone. Runs over parts of one (``shard``) hold it
    together, as long as they all split the list alike.

    Args:
        folder: Of the ledger.
        what: The output that it is about, for people.
        shard: Part and number of parts, if it is a part's ledger.

    Raises:
        OutputBusy: Another process has it.
        OutputNotWritable, DiskFull
    """

    def __init__(self, folder: Path, what: str, shard: tuple[int, int] | None = None) -> None:
        self._held: list[IO[bytes]] = []
        try:
            self._hold(folder / "lock", what, alone=shard is None)
            if shard is not None:
                own = f"lock-{shard[0]:04d}-of-{shard[1]:04d}"
                self._hold(folder / own, what)
                for other in sorted(folder.glob("lock-*-of-*")):
                    if not other.name.endswith(f"-of-{shard[1]:04d}"):
                        # Held by nobody, or the list is split in two ways at once.
                        self._hold(other, what).close()
        except BaseException:
            self.release(remove=True)
            raise

    def _hold(self, path: Path, what: str, *, alone: bool = True) -> IO[bytes]:
        try:
            file = _open(path)
        except OSError as error:
            raise from_os_error(error, str(path)) from error
        self._held.append(file)
        try:
            free = _hold_soon(file.fileno(), alone)
        except OSError as error:
            raise OutputNotWritable(
                f"{path} cannot be locked: {error.strerror or error}.",
                hint="--state DIR puts it, and the ledger, on another disk.",
            ) from error
        if not free:
            file.seek(0)
            owner = file.read(200).decode(errors="replace").strip() or "another process"
            raise OutputBusy(
                f"{what} is being rendered into by {owner}.",
                hint="Wait for it, stop it, or choose another folder; objaverse-render status says "
                "who is at work. With --shard i/n several machines may share a folder.",
            )
        if not locks.is_at(file.fileno(), path):
            # Who held it took it away.
            self._held.remove(file)
            file.close()
            return self._hold(path, what, alone=alone)
        file.truncate(0)
        # What several hold has no owner: whoever came last may be gone, or have been refused.
        name = f"process {os.getpid()} on {socket.gethostname()}" if alone else _SHARED
        try:
            file.write(name.encode())
            file.flush()
        except OSError as error:
            raise from_os_error(error, str(path)) from error
        return file

    def release(self, *, remove: bool = False) -> None:
        """Let others in.

        Args:
            remove: Leave no file of a lock that nobody else holds.
        """
        windows = os.name == "nt"
        for file in (one for one in self._held if not one.closed):
            with contextlib.suppress(OSError), file:
                if remove and not windows and locks.hold(file.fileno()):
                    Path(file.name).unlink()
            if remove and windows:
                # What somebody has open cannot be removed there.
                with contextlib.suppress(OSError):
                    Path(file.name).unlink()


def _open(path: Path) -> IO[bytes]:
    for _ in range(_TRIES):
        # Another run may end just now, and take its empty folders with it.
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("a+b")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+b")


def _hold_soon(descriptor: int, alone: bool) -> bool:
    # What several may hold, one of them has alone for a moment as it takes the file away.
    for _ in range(0 if alone else _TRIES):
        if locks.hold(descriptor, alone=alone):
            return True
        time.sleep(_PAUSE)
    return locks.hold(descriptor, alone=alone)
