"""Single files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import from_os_error

__all__ = ["write_whole"]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside it, then rename; folders are made.

    Raises:
        OutputNotWritable, DiskFull: Naming the file.
    """
    part = path.with_name(f".{path.name}.part{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    finally:
        part.unlink(missing_ok=True)
