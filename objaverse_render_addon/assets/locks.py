"""One process or thread at a time, for as long as it lives."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..errors import Interrupted, from_os_error

__all__ = ["locked", "try_lock"]

_PAUSE: Final = 0.1


@contextlib.contextmanager
def locked(path: Path, cancel: threading.Event | None = None) -> Iterator[None]:
    """Hold the lock ``path``, waiting for whoever has it; the file is gone afterwards.

    The system lets go of the lock when its process ends, however it ends: a file that was left
    behind locks nothing. On storage that has no locks, there is none.

    Raises:
        OutputNotWritable, DiskFull
        Interrupted: By ``cancel``, while waiting.
    """
    while (lock := try_lock(path)) is None:
        if cancel is not None and cancel.is_set():
            raise Interrupted(f"Stopped while another process works on {path.parent}.")
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        # While it is held, so that nobody locks a file that has no name any more and …
        if sys.platform != "win32":
            with contextlib.suppress(OSError):
                path.unlink()
        os.close(lock)
        if sys.platform == "win32":
            with contextlib.suppress(OSError):
                path.unlink()


def try_lock(path: Path) -> int | None:
    """The lock's descriptor, or nothing where somebody else has it; closing it lets go."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    except OSError as error:
        if sys.platform == "win32" and isinstance(error, PermissionError) and path.exists():
            # Being deleted by whoever had it.
            return None
        raise from_os_error(error, str(path)) from error
    try:
        if _lock(descriptor):
            if sys.platform == "win32":
                return descriptor
            # … whoever waited for such a file sees it here.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # Network storage without locks.
            return True
        return True
