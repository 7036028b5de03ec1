"""Sees to it that no worker outlives the process that started it, however that one ended.

A worker leaves when its input ends. One that hangs or is stopped never hears of that, and one that
is killed together with its parent leaves its folder behind, which may be in memory. A small process
that does nothing but wait looks after both.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

__all__ = ["forget", "watch"]

_GRACE: Final = 5.0
"""Seconds in which workers may leave by themselves."""
_CODE: Final = r"""
import json, os, shutil, signal, sys, time

def birth(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""

def alive(pid):
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
held = {}
for line in sys.stdin:
    pid, folder = json.loads(line)
    if folder is None:
        held.pop(pid, None)
    else:
        held[pid] = birth(pid), folder
deadline = time.monotonic() + float(sys.argv[1])
while time.monotonic() < deadline and any(map(alive, held)):
    time.sleep(0.1)
for pid, (born, folder) in held.items():
    # A number that somebody else has by now is left alone.
    if birth(pid) in ("", born) and alive(pid):
        try:
            os.killpg(pid, signal.SIGKILL)
        except OSError:
            pass
for pid, (born, folder) in held.items():
    for _ in range(50):
        if not alive(pid) or birth(pid) not in ("", born):
            break
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)
"""

_guard = threading.Lock()
_process: subprocess.Popen[str] | None = None


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
        if _process is None:
            if folder is None:
                return
            _process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _CODE, str(_GRACE)],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                text=True, start_new_session=True,
            )  # fmt: skip
        assert _process.stdin is not None
        _process.stdin.write(json.dumps([pid, folder]) + "\n")
        _process.stdin.flush()
