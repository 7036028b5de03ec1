"""Taking a list in: what is asked for becomes rows of the ledger."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...assets import lists
from ...assets.licenses import LicenseFilter
from ...assets.sources import NAMED_BY_FILE, Source, expand, path_of
from ...errors import InvalidList
from ...files import file_sha256
from .ledger import Ledger
from .rows import UNDECODABLE, QueueEntry

__all__ = ["EntryFilter", "IdSource", "enqueue", "entries_of", "name_of"]

IdSource = Literal["name", "sha256"]


def name_of(source: Source, ids: IdSource) -> str:
    """The asset's id: its source's name, or its file's SHA-256."""
    if ids == "sha256" and source.kind == "path":
        try:
            return file_sha256(path_of(source.text))
        except OSError:
            pass  # It fails by this name.
    return source.name


@dataclass(slots=True)
class EntryFilter:
    """What of a list is taken, and how much is left out.

    Attributes:
        filter: By licence; all where there is none.
        lookup: Gives what a catalogue knows of a source.
        unlicensed: Number of assets that the filter left out.
        junk: Number of files that systems leave beside assets.
    """

    filter: LicenseFilter | None = None
    lookup: Callable[[str], dict[str, Any]] = lambda _: {}
    unlicensed: int = 0
    junk: int = 0

    def takes(self, source: Source) -> bool:
        """Whether a source is wanted; counts it if not."""
        if self.filter is None:
            return True
        license = source.known.get("license") or self.lookup(source.text).get("license")
        allowed = self.filter.allows(license)
        self.unlicensed += not allowed
        return allowed

    def leave(self, _: str) -> None:
        """Count a file that is no asset."""
        self.junk += 1


def _readable(source: Source) -> tuple[Source, bool]:
    """A source whose name can be written down, and whether its own, no UTF-8, could not."""
    try:
        source.text.encode()
    except UnicodeEncodeError:
        text = source.text.encode(errors="surrogateescape").decode(errors="backslashreplace")
        return source._replace(text=text), True
    return source, False


def entries_of(
    sources: Sequence[str | os.PathLike[str] | Source],
    ids: IdSource,
    shard: tuple[int, int] | None = None,
    wanted: EntryFilter | None = None,
) -> Iterator[QueueEntry]:
    """What the sources stand for, or a part of it, as the ledger takes it."""
    wanted = wanted or EntryFilter()
    for given in expand(sources, wanted.leave):
        source, undecodable = _readable(given)
        if not wanted.takes(source):
            continue
        asset_id = name_of(source, ids)
        if Path(asset_id).name != asset_id or asset_id.startswith(".") or "\\" in asset_id:
            raise InvalidList(f"{asset_id!r:.80} is no name for an asset.")
        # By name, so that two sources of one name meet in the same part.
        if shard and zlib.crc32(asset_id.lower().encode()) % shard[1] != shard[0]:
            continue
        options: dict[str, Any] = {}
        if source.job:
            options["job"] = dict(source.job)
        if source.known:
            options["known"] = dict(source.known)
        if undecodable:
            options[UNDECODABLE] = True
        naming: Literal["derived", "given", "own"] = "own"
        if source.kind in NAMED_BY_FILE and (source.asset_id or ids == "name"):
            naming = "given" if source.asset_id else "derived"
        yield QueueEntry(source.text, asset_id, options or None, naming)


def enqueue(
    ledger: Ledger,
    sources: Sequence[str | os.PathLike[str] | Source],
    ids: IdSource,
    shard: tuple[int, int] | None,
    wanted: EntryFilter,
    overwrite: bool,
) -> int:
    """The ledger's number of this request; a long list is read once only.

    A part of a list is read in the whole once more where its files' names are not all different.
    """
    filtered = sorted(wanted.filter.keys) if wanted.filter else None
    digest = hashlib.sha256(repr((ids, shard, filtered)).encode())
    for source in sources:
        digest.update(f"\0{source!r}".encode())
        path = Path(os.fspath(source)) if not isinstance(source, Source) else None
        if path is not None and path.suffix.lower() in lists.EXTENSIONS and path.is_file():
            digest.update(file_sha256(path).encode())
            if ids == "name":
                continue
        for entry in expand([source]):
            digest.update(f"\n{entry!r}".encode())
            if ids == "sha256" and entry.kind == "path":
                # Another content is another name.
                digest.update(_stamp(entry.text).encode())
    key = digest.hexdigest()
    known = None if overwrite else ledger.request(key)
    if known is not None:
        return known

    def whole() -> Iterator[QueueEntry]:
        return entries_of(sources, ids, wanted=copy(wanted))

    return ledger.add(
        key,
        entries_of(sources, ids, shard, wanted),
        replace=overwrite,
        whole=whole if shard else None,
    )


def _stamp(path: str) -> str:
    try:
        found = path_of(path).stat()
    except (OSError, ValueError):
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"
