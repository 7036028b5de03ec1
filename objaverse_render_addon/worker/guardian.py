"""Sees to it that no worker outlives the process that started it, however that one ended.

A worker leaves when its input ends. One that hangs or is stopped never hears of that, and one that
is killed together with its parent leaves its folder behind, which may be in memory. A small process
that does nothing but wait (:mod:`.reaper`) looks after both. Where all are killed at once, the
folder's lock tells the next process that nobody needs it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

from ..locks import try_lock

__all__ = ["WorkerFolder", "forget", "watch"]

_GRACE: Final = 5.0
"""Seconds in which workers may leave by themselves."""
_PREFIX: Final = "objaverse-render-"

_guard = threading.Lock()
_process: subprocess.Popen[str] | None = None
_held: dict[int, str] = {}


class WorkerFolder:
    """A worker's folder below ``base``; a lock beside it says that its parent lives.

    What processes left there that are dead now is removed first.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, base: Path) -> None:
        base.mkdir(parents=True, exist_ok=True)
        _sweep(base)
        lock = None
        while lock is None:
            # Locked before it is there, so that nobody takes it for a dead one's.
            self.path = base / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
            self._lock_file = base / f"{self.path.name}.lock"
            lock = try_lock(self._lock_file)
        self._lock: int | None = lock
        self.path.mkdir(mode=0o700)

    def remove(self) -> bool:
        """Remove it, and let the lock go; whether it is gone."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self.path.exists():
            return False
        if self._lock is not None:
            with contextlib.suppress(OSError):
                self._lock_file.unlink()
            os.close(self._lock)
            self._lock = None
        return True


def _sweep(base: Path) -> None:
    for path in base.glob(f"{_PREFIX}*.lock"):
        # Another user's is no business of ours.
        with contextlib.suppress(Exception):
            # On storage without locks everybody gets one: the number tells there.
            lock = None if _is_alive(path) else try_lock(path)
            if lock is not None:
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                path.unlink(missing_ok=True)
                os.close(lock)


def _is_alive(lock: Path) -> bool:
    """Whether the process that made it may be there; its number is in the name."""
    if sys.platform == "win32":
        return False
    try:
        os.kill(int(lock.stem.removeprefix(_PREFIX).partition("-")[0]), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:
        return True
    return True


def watch(pid: int, folder: Path) -> None:
    """A worker was started, in a process group of its own, with a folder of its own."""
    _tell(pid, str(folder))


def forget(pid: int) -> None:
    """It is gone, and so is its folder."""
    _tell(pid, None)


def _tell(pid: int, folder: str | None) -> None:
    global _process
    if sys.platform == "win32":
        return
    with _guard, contextlib.suppress(OSError, ValueError):
        news = {pid: folder}
        if folder is None:
            _held.pop(pid, None)
        else:
            _held[pid] = folder
        if _process is None or _process.poll() is not None:
            # The first, or one that was killed: then the new one has to know everything.
            news = dict(_held)
            if not news:
                return
            reaper = Path(__file__).with_name("reaper.py")
            _process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(reaper), str(_GRACE)],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                text=True, start_new_session=True,
            )  # fmt: skip
        assert _process.stdin is not None
        for one, where in news.items():
            _process.stdin.write(json.dumps([one, where]) + "\n")
        _process.stdin.flush()
