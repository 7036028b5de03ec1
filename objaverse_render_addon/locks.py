"""Locks between processes, which the system lets go of when a process ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .errors import Interrupted, from_os_error

__all__ = ["hold", "is_at", "locked", "try_lock"]

_PAUSE: Final = 0.1
_TAKEN: Final = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextlib.contextmanager
def locked(path: Path, cancel: threading.Event | None = None) -> Iterator[None]:
    """Hold the lock ``path``, waiting for whoever has it; the file is gone afterwards.

    A file that was left behind locks nothing. On storage that has no locks, there is none.

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
    """The lock's descriptor, or nothing where somebody else has it; closing it lets go.

    Raises:
        OutputNotWritable, DiskFull
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    except OSError as error:
        if sys.platform == "win32" and isinstance(error, PermissionError) and path.exists():
            # Being deleted by whoever had it.
            return None
        raise from_os_error(error, str(path)) from error
    try:
        if _hold_if_possible(descriptor) and (sys.platform == "win32" or is_at(descriptor, path)):
            # … whoever waited for such a file sees it here.
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def is_at(descriptor: int, path: Path) -> bool:
    """Whether a file still has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _hold_if_possible(descriptor: int) -> bool:
    try:
        return hold(descriptor)
    except OSError:
        # Network storage without locks.
        return True


if sys.platform == "win32":
    import msvcrt

    def hold(descriptor: int, *, alone: bool = True) -> bool:
        """Lock an open file without waiting; ``False`` where another process has it."""
        if not alone:
            return True  # There is no lock here that several may hold.
        # The byte lies far behind what is in the file, so that others can read that.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def hold(descriptor: int, *, alone: bool = True) -> bool:
        """Lock an open file without waiting; ``False`` where another process has it.

        Args:
            alone: Not together with others who lock it so.

        Raises:
            OSError: The storage has no locks.
        """
        kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
        return True
