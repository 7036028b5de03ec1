"""Single files: what is in them, and how they appear whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import from_os_error

__all__ = ["file_sha256", "replacing", "write_whole"]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in 64 hexadecimal digits.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``: what is written there is renamed at the end.

    Folders are made. Where the caller raises, nothing stays, and what stood at ``path`` does.

    Raises:
        OutputNotWritable, DiskFull: Naming the file, also for the caller's ``OSError``.
    """
    part = path.with_name(f".{path.name}.part{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside it, then rename; folders are made.

    Raises:
        OutputNotWritable, DiskFull: Naming the file.
    """
    with replacing(path) as part:
        part.write_bytes(data)
