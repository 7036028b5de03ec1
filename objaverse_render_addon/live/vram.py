"""How much of a GPU's memory processes take, measured while they work."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from typing import Final

from ..errors import OutOfMemory

__all__ = ["VramLimit", "parse_used", "used_by_process"]

_EVERY: Final = 2.0


def used_by_process() -> dict[int, int]:
    """Process id to bytes of GPU memory, as NVIDIA's driver counts; empty where it does not say."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    query = ["--query-compute-apps=pid,used_gpu_memory", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            [program, *query], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse_used(done.stdout)


def parse_used(text: str) -> dict[int, int]:
    """What ``nvidia-smi`` printed: a process per line and GPU, and its MiB."""
    found: dict[int, int] = {}
    for line in text.splitlines():
        pid, _, used = (part.strip() for part in line.partition(","))
        if pid.isdecimal() and used.isdecimal():
            found[int(pid)] = found.get(int(pid), 0) + (int(used) << 20)
    return found


class VramLimit:
    """Ends requests of workers that take more of a GPU's memory than they may.

    Args:
        most: Bytes that one may take.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._guard = threading.Lock()
        self._measured = 0.0
        self._used: dict[int, int] = {}

    def __call__(self, pid: int) -> None:
        """Look at a worker, every two seconds at most.

        Raises:
            OutOfMemory: It takes more.
        """
        if self._guard.acquire(blocking=False):
            try:
                if time.monotonic() - self._measured > _EVERY:
                    self._used = used_by_process()
                    self._measured = time.monotonic()
            finally:
                self._guard.release()
        used = self._used.get(pid, 0)
        if used > self.most:
            raise OutOfMemory(
                f"the worker took {used / 2**20:,.0f} MiB of its GPU's memory; "
                f"{self.most / 2**20:,.0f} are allowed.",
                hint="Allow more with --max-vram, or render at a lower resolution.",
            )
