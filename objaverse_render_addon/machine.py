"""What this machine, or the container that this process is in, has."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["cores", "memory"]

_CGROUP: Final = Path("/sys/fs/cgroup")
_OWN_CGROUP: Final = Path("/proc/self/cgroup")


def cores() -> int:
    """CPU cores that this process may use."""
    limits = [float(_machine_cores())]
    for text in _limits("cpu.max"):
        with contextlib.suppress(ValueError):
            quota, period = text.split()
            limits.append(float(quota) / float(period))
    return max(1, int(min(limits)))


def _machine_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> int:
    """Bytes of memory that this machine, or its container, has; 0 if it does not say."""
    limits = [_machine_memory()]
    for text in _limits("memory.max"):
        with contextlib.suppress(ValueError):
            limits.append(int(text))
    return min(filter(None, limits), default=0)


def _machine_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def _limits(name: str) -> Iterator[str]:
    """What a file of this process's control group says, and of those that it is in."""
    folders = [_CGROUP]
    with contextlib.suppress(OSError):
        for line in _OWN_CGROUP.read_text().splitlines():
            if line.startswith("0::/"):
                own = _CGROUP / line.removeprefix("0::/")
                folders += [own, *own.parents]
    for folder in dict.fromkeys(folders):
        if folder.is_relative_to(_CGROUP):
            with contextlib.suppress(OSError):
                yield (folder / name).read_text()
