"""What is refused of files that came from somewhere else, by name and before it does harm."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any, Final

from ..errors import TruncatedFile, UnsafeData

__all__ = [
    "BROKEN",
    "LARGEST",
    "RENDER_AGAIN",
    "believing",
    "inside",
    "parse_json",
    "plain",
    "too_large",
    "within",
]

LARGEST: Final = 1 << 31
"""Bytes that a file of an asset, or the index of a shard, may have at most."""

RENDER_AGAIN: Final = "Delete it and render again; what is there counts as finished."
"""The way out where a file of a dataset cannot be read."""

BROKEN: Final = (
    KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, MemoryError,
    RecursionError, EOFError,
)  # fmt: skip
"""What comes of believing metadata that are not true."""


@contextlib.contextmanager
def believing(what: object) -> Iterator[None]:
    """Use what an asset says of itself; where that cannot be, the asset is to blame, by name.

    Raises:
        TruncatedFile
    """
    try:
        yield
    except BROKEN as error:
        raise TruncatedFile(
            f"{what} is not what its metadata say: {type(error).__name__}: {error}.",
            hint=RENDER_AGAIN,
        ) from error


def parse_json(data: bytes, what: str) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        TruncatedFile: It holds none, or is nested too deeply.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise TruncatedFile(f"{what} cannot be read: {error}.", hint=RENDER_AGAIN) from error
    if not isinstance(found, dict):
        raise TruncatedFile(f"{what} holds no object.", hint=RENDER_AGAIN)
    return found


def plain(name: str) -> str:
    """A file's name that leads nowhere else."""
    if not name or len(name) > 255 or name in (".", "..") or re.search(r"[/\\\0]", name):
        raise UnsafeData(f"{name!r} is no file name.")
    return name


def inside(name: str, location: str) -> None:
    """Refuse a name that leads out of its archive, though nothing is unpacked by it.

    Raises:
        UnsafeData
    """
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or re.match(r"[A-Za-z]:", name):
        raise UnsafeData(f"{location} holds {name!r}, which leads out of the archive.")


def within(data: bytes, limit: int, what: str) -> bytes:
    """The data, unless there are more than ``limit`` bytes.

    Raises:
        UnsafeData
    """
    if len(data) > limit:
        raise too_large(what, len(data), limit)
    return data


def too_large(what: str, size: int, limit: int) -> UnsafeData:
    """The error for a file that is larger than it can be."""
    return UnsafeData(f"{what} has {size} bytes, where at most {limit} make sense.")
