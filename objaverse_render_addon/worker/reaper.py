"""Waits until its input ends, then ends and removes what is left of what it was told of.

A program of its own, run with the standard library alone: see :mod:`.guardian`, which starts it.
"""

import contextlib
import json
import os
import shutil
import signal
import sys
import time


def _birth(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123  (starts in no time)
            return file.read().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def _alive(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _remove(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.unlink(folder + ".lock")  # noqa: PTH108


def main() -> None:
    """Read ``[folder, pid]`` lines, then clean up.

    The number is that of the worker that has the folder, 0 where none has it; null where the folder
    is gone.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    held: dict[str, tuple[int, str]] = {}
    for line in sys.stdin:
        folder, pid = json.loads(line)
        if pid is None:
            held.pop(folder, None)
        else:
            held[folder] = pid, _birth(pid) if pid else ""
    workers = {pid: born for pid, born in held.values() if pid}
    deadline = time.monotonic() + float(sys.argv[1])
    while time.monotonic() < deadline and any(map(_alive, workers)):
        time.sleep(0.1)
    for pid, born in workers.items():
        # A number that somebody else has by now is left alone.
        if _birth(pid) in ("", born) and _alive(pid):
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
    for folder, (pid, born) in held.items():
        for _ in range(50 if pid else 0):
            if not _alive(pid) or _birth(pid) not in ("", born):
                break
            time.sleep(0.1)
        _remove(folder)


if __name__ == "__main__":
    main()
