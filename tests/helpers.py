"""What several test files need."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A job's fields by dotted path."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    """Whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def glb_shell(size: int = 100_000, kind: int = 7) -> bytes:
    """The shell of a GLB, with a content that shows when it was put together wrongly."""
    cycle = bytes(i * kind % 251 for i in range(251))
    body = (cycle * (size // 251 + 1))[: size - 12]
    return b"glTF\2\0\0\0" + size.to_bytes(4, "little") + body
