"""What a tar archive holds and where: of one asset, or of many in a WebDataset shard.

A shard's members are named ``<id>.<file>``; beside it an index may lie, ``shard-000000.index.json``
with ``{"version": 1, "assets": {id: {file: [offset, size]}}}``, so that no header has to be read.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from ..errors import TruncatedFile, UnsafeData
from .filesystems import INDEX, FileSystem, file_system
from .guards import LARGEST, RENDER_AGAIN, inside, parse_json, plain, within
from .layout import METADATA

__all__ = ["BLOCK", "shard_members", "tar_members"]

BLOCK: Final = 512
"""Bytes of a tar header; contents are padded to a multiple of it."""


def scan(store: FileSystem, location: str) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of each file of a tar archive, from its headers."""
    with store.open(location) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                while (member := archive.next()) is not None:
                    inside(member.name, location)
                    if not member.isreg() and not member.isdir():
                        raise UnsafeData(f"{location}: {member.name!r} is a link or a device.")
                    if member.isreg():
                        yield member.name, member.offset_data, member.size
                    archive.members = []  # type: ignore[attr-defined]
                file.seek(archive.offset)
                if file.read(BLOCK) != bytes(BLOCK):
                    raise TruncatedFile(f"{location} breaks off.", hint=RENDER_AGAIN)
        except (tarfile.TarError, OSError, EOFError, ValueError, RecursionError) as error:
            raise TruncatedFile(f"{location} is not a whole tar archive: {error}.") from error


def tar_members(store: FileSystem, location: str) -> dict[str, tuple[int, int]]:
    """Files of the one asset that a tar archive holds: offset and size."""
    folders: dict[str, dict[str, tuple[int, int]]] = {}
    for name, offset, size in scan(store, location):
        folder, _, file = name.removeprefix("./").rpartition("/")
        folders.setdefault(folder, {})[file] = offset, size
    for folder, members in folders.items():
        if METADATA in members and folder and "/" not in folder:
            return members
    if any(name.endswith(f".{METADATA}") for name in folders.get("", ())):
        raise TruncatedFile(
            f"{location} is a shard of several assets without an index.",
            hint="Give its own path, or name it shard-000000.tar.",
        )
    raise TruncatedFile(f"{location} has no readable {METADATA}.", hint=RENDER_AGAIN)


Shard = dict[str, dict[str, tuple[int, int]]]


def shard_members(store: FileSystem, location: str) -> Shard:
    """Offset and size of each file of each asset of a shard."""
    return _cached_members(location, _Frozen(store.options), store.stamp(location))


class _Frozen(dict[str, Any]):
    """Options that a cache can have for a key; two that look alike are alike."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(repr(sorted(self.items())))


@lru_cache(maxsize=64)
def _cached_members(location: str, options: _Frozen, stamp: object) -> Shard:  # noqa: ARG001
    store = file_system(location, options)
    index = location.removesuffix(".tar") + INDEX
    if not store.is_file(index):
        return _scanned(store, location)
    data = within(store.read(index, LARGEST + 1), LARGEST, index)
    record = parse_json(data, index)
    end = store.size(location)
    try:
        return {
            plain(asset): {plain(name): _span(place, end) for name, place in files.items()}
            for asset, files in record["assets"].items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TruncatedFile(
            f"{index} is not the index of a shard: {error!r}.",
            hint="Delete it: the shard can be read without.",
        ) from error


def _span(place: Any, end: int) -> tuple[int, int]:
    offset, size = place
    if type(offset) is not int or type(size) is not int:
        raise TypeError(f"{place} is no offset and size")
    if not (offset >= BLOCK and size >= 0 and offset + size <= end):
        raise ValueError(f"{place} lies outside the archive")
    return offset, size


def _scanned(store: FileSystem, location: str) -> Shard:
    found: Shard = {}
    for name, offset, size in scan(store, location):
        asset, _, file = name.rpartition("/")[2].partition(".")
        if asset and file:
            found.setdefault(plain(asset), {})[plain(file)] = offset, size
    return {asset: files for asset, files in found.items() if METADATA in files}
