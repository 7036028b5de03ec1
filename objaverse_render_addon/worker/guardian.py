"""Sees to it that no worker and no folder outlives the process that made it, however it ended.

A worker leaves when its input ends. One that hangs or is stopped never hears of that, and a process
that is killed leaves its folders behind, which may be in memory. A small process that does nothing
but wait (:mod:`.reaper`) looks after both. Where all are killed at once, the folder's lock tells
the next process that nobody needs it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

from ..locks import try_lock

__all__ = ["ScratchFolder", "sweep", "watch"]

_GRACE: Final = 5.0
"""Seconds in which workers may leave by themselves."""
_PREFIX: Final = "objaverse-render-"

_guard = threading.Lock()
_process: subprocess.Popen[str] | None = None
_held: dict[str, int] = {}


class ScratchFolder:
    """A folder of this process's own below ``base``; a lock beside it says that the process lives.

    What processes left there that are dead now is removed first.

    Attributes:
        path: Where it is; nobody else may look into it.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, base: Path) -> None:
        base.mkdir(parents=True, exist_ok=True)
        sweep(base)
        lock = None
        while lock is None:
            # Locked before it is there, so that nobody takes it for a dead one's.
            self.path = base / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
            self._lock_file = base / f"{self.path.name}.lock"
            lock = try_lock(self._lock_file)
        self._lock: int | None = lock
        self.path.mkdir(mode=0o700)
        watch(self.path)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.remove()

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
            _tell(self.path, None)
        return True


def sweep(base: Path) -> None:
    """Remove what processes of this user left below a folder that are dead now."""
    for path in base.glob(f"{_PREFIX}*.lock"):
        with contextlib.suppress(Exception):
            # On storage without locks everybody gets one: the number tells there.
            if not _is_ours(path) or _is_alive(path):
                continue
            lock = try_lock(path)
            if lock is not None:
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                path.unlink(missing_ok=True)
                os.close(lock)


def _is_ours(lock: Path) -> bool:
    """Whether it is a file of this user's; another's is no business of ours, not even root's."""
    if sys.platform == "win32":
        return True
    found = lock.lstat()
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid()


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


def watch(folder: Path, pid: int = 0) -> None:
    """A folder was made, or a worker was started that has it, in a process group of its own."""
    _tell(folder, pid)


def _tell(folder: Path, pid: int | None) -> None:
    """Say who has a folder; ``None`` where it is gone."""
    global _process
    if sys.platform == "win32":
        return
    with _guard, contextlib.suppress(OSError, ValueError):
        news: dict[str, int | None] = {str(folder): pid}
        if pid is None:
            _held.pop(str(folder), None)
        else:
            _held[str(folder)] = pid
        if _process is None or _process.poll() is not None:
            # The first, or one that was killed: then the new one has to know everything.
            news = {**_held}
            if not news:
                return
            reaper = Path(__file__).with_name("reaper.py")
            _process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(reaper), str(_GRACE)],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                text=True, start_new_session=True,
            )  # fmt: skip
        assert _process.stdin is not None
        for where, one in news.items():
            _process.stdin.write(json.dumps([where, one]) + "\n")
        _process.stdin.flush()
