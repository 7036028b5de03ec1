"""How much memory a process takes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["available_bytes", "resident_bytes"]


def resident_bytes(pid: int | None = None) -> int:
    """Memory of a process, of this one by default; 0 where the system does not say."""
    try:
        statm = Path(f"/proc/{pid or 'self'}/statm").read_text(encoding="ascii")
        return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def available_bytes() -> int:
    """Memory that may still be taken here, in this machine and this control group; -1 where the
    system does not say.

    Asked before much is reserved: what is beyond it, a kernel may answer by ending processes.
    """
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) << 10)
    for folder in _groups():
        with contextlib.suppress(OSError, ValueError):
            most = int((folder / "memory.max").read_text())
            used = int((folder / "memory.current").read_text())
            # Files that are kept in memory make room.
            for line in (folder / "memory.stat").read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "inactive_file":
                    used -= int(value)
            found.append(max(0, most - used))
    return min(found, default=-1)


def _groups() -> list[Path]:
    base = Path("/sys/fs/cgroup")
    folders = [base]
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::/"):
                own = base / line.removeprefix("0::/")
                folders += [own, *(one for one in own.parents if one.is_relative_to(base))]
    return list(dict.fromkeys(folders))


def processor_seconds(pid: int) -> float | None:
    """Time that a process has computed, all its threads together; ``None`` where the system does
    not say.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
