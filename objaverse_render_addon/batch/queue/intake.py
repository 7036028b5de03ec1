"""Taking a list in: what is asked for becomes rows of the ledger."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...assets import lists
from ...assets.licences import LicenceFilter
from ...assets.sources import Source, expand, path_of
from .ledger import Ledger
from .rows import Entry

__all__ = ["IdSource", "Wanted", "name_of", "take_in"]

IdSource = Literal["name", "sha256"]


def name_of(source: Source, ids: IdSource) -> str:
    """The asset's id: its source's name, or its file's SHA-256."""
    if ids == "sha256" and source.kind == "path":
        try:
            with path_of(source.text).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            pass  # It fails by this name.
    return source.name


@dataclass(slots=True)
class Wanted:
    """A filter by licence, and how many assets it left out."""

    filter: LicenceFilter
    lookup: Callable[[str], dict[str, Any]]
    left_out: int = 0

    def __call__(self, source: Source) -> bool:
        """Whether a source is wanted; counts it if not."""
        licence = source.known.get("license") or self.lookup(source.text).get("license")
        allowed = self.filter.allows(licence)
        self.left_out += not allowed
        return allowed


def _entries(
    sources: Sequence[str | os.PathLike[str] | Source],
    ids: IdSource,
    shard: tuple[int, int] | None,
    wanted: Wanted | None,
) -> Iterator[Entry]:
    for source in expand(sources):
        if wanted is not None and not wanted(source):
            continue
        asset_id = name_of(source, ids)
        # By name, so that two sources of one name meet in the same part.
        if shard and zlib.crc32(asset_id.lower().encode()) % shard[1] != shard[0]:
            continue
        options: dict[str, Any] = {}
        if source.job:
            options["job"] = dict(source.job)
        if source.known:
            options["known"] = dict(source.known)
        yield Entry(source.text, asset_id, options or None)


def take_in(
    ledger: Ledger,
    sources: Sequence[str | os.PathLike[str] | Source],
    ids: IdSource,
    shard: tuple[int, int] | None,
    wanted: Wanted | None,
    overwrite: bool,
) -> int:
    """The ledger's number of this request; a long list is read once only."""
    filtered = sorted(wanted.filter.keys) if wanted else None
    digest = hashlib.sha256(repr((ids, shard, filtered)).encode())
    for source in sources:
        digest.update(f"\0{source!r}".encode())
        path = Path(os.fspath(source)) if not isinstance(source, Source) else None
        if path is not None and path.suffix.lower() in lists.EXTENSIONS and path.is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
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
    return ledger.add(key, _entries(sources, ids, shard, wanted), replace=overwrite)


def _stamp(path: str) -> str:
    try:
        found = path_of(path).stat()
    except (OSError, ValueError):
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"
