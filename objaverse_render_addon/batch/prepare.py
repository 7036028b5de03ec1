"""Before an asset is rendered: is it there already, and where is its file?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ..assets.formats import inspect_file
from ..assets.resolve import Fetched, Resolver
from ..assets.sources import Source, classify, path_of
from ..dataset.layout import size_of
from ..dataset.reader import AssetReader
from ..errors import OutputExists, RenderError, SourceNotFound
from ..files import file_sha256
from ..job import RenderJob
from ..worker.protocol import Done, Stage
from .output.store import Store
from .queue.rows import UNDECODABLE, Row

__all__ = [
    "AlreadyFinished",
    "Item",
    "Preparer",
    "changed_content",
    "changed_job",
    "ensure_same_source",
    "mismatch_error",
    "undecodable",
]

_KEPT: Final = {"license": str, "sha256": str, "file_type": str, "file_size": int}
"""Of the metadata, what the ledger has of the source, too."""


@dataclass(slots=True)
class Item:
    """An asset on its way through the run.

    Attributes:
        done: What the worker answered, of this run or an earlier one.
        lane: Name of the lane that renders it, or did.
        size: Bytes of the finished asset.
        sha256: Of the file, where it could not be rendered.
    """

    row: Row
    job: RenderJob
    fingerprint: str
    source: Source | None = None
    fetched: Fetched | None = None
    done: Done | None = None
    lane: str = ""
    size: int = 0
    source_bytes: int = 0
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class AlreadyFinished:
    """The asset is finished already, though the ledger did not say so.

    Attributes:
        staged: Where it waits in the staging folder to be brought away, if it does.
    """

    item: Item
    staged: Path | None = None


class Preparer:
    """Looks and fetches, from any number of threads.

    Args:
        resolver: Fetches; ``None`` where that is done elsewhere.
        shards: Whether finished assets are packed into shards.
        patiently: Does something with the output, again and again where that fails.
        provenance: Source to what the caller knows of it.
        lookup: Gives what a catalogue knows of a source.
    """

    def __init__(
        self,
        job: RenderJob,
        store: Store,
        resolver: Resolver | None,
        *,
        shards: bool,
        patiently: Callable[[Callable[[], AlreadyFinished | None]], AlreadyFinished | None],
        provenance: Mapping[str, dict[str, Any]],
        lookup: Callable[[str], dict[str, Any]],
        tell: Callable[[Stage], None],
        cancel: threading.Event,
    ) -> None:
        self._job, self._fingerprint = job, job.fingerprint()
        self._store, self._resolver, self._shards = store, resolver, shards
        self._patiently = patiently
        self._provenance, self._lookup = provenance, lookup
        self._tell, self._cancel = tell, cancel

    def prepare(self, row: Row) -> Item | AlreadyFinished:
        """Find the asset finished, or its file.

        Raises:
            OutputExists: It is finished, but made by another job or of another file.
            RenderError: Why there is no file.
        """
        options = row.options or {}
        if options.get(UNDECODABLE):
            raise undecodable(row.source)
        source = Source(
            row.source, classify(row.source), row.asset_id,
            options.get("job", {}), options.get("known", {}),
        )  # fmt: skip
        item = Item(row, self._job, self._fingerprint, source)
        if source.job:
            item.job = self._job.with_values(dict(source.job))
            item.fingerprint = item.job.fingerprint()
        file = path_of(source.text) if source.kind == "path" else None
        if file is not None:
            inspect_file(file)
            item.source_bytes = file.stat().st_size
        if not row.replace:
            found = self._patiently(lambda: self._find(item, file))
            if found is not None:
                return found
        known = {**self._lookup(row.source), **self._provenance.get(row.source, {})}
        if self._resolver is None:
            item.fetched = Fetched(file or Path(source.text), known)
            return item
        if file is None:
            self._tell(Stage(row.asset_id, "download"))
        fetched = self._resolver.fetch(source, cancel=self._cancel)
        item.fetched = replace(fetched, provenance={**fetched.provenance, **known})
        return item

    def _find(self, item: Item, file: Path | None) -> AlreadyFinished | None:
        name = self._store.name_of(item.row.asset_id)
        staged = self._store.staging / name
        if self._shards or str(staged) != self._store.where(name):
            # Another run rendered it, and died before it was where it belongs.
            with suppress(RenderError, OSError):
                if staged.exists():
                    with AssetReader(staged) as reader:
                        ensure_same_source(str(staged), reader.metadata, item, file)
                        item.done = _as_done(reader.metadata, item, staged)
                    return AlreadyFinished(item, staged)
        if self._shards:
            return None
        metadata = self._store.metadata(name) if self._store.exists(name) else None
        if metadata is None:
            return None
        where = self._store.where(name)
        ensure_same_source(where, metadata, item, file)
        item.done = _as_done(metadata, item, where)
        if "://" not in where:
            with suppress(OSError):
                item.size = size_of(Path(where))
        return AlreadyFinished(item)

    def release(self, item: Item) -> None:
        """The asset's file is not needed any more."""
        if item.fetched is not None and self._resolver is not None:
            self._resolver.release(item.fetched)
        item.fetched = None


def _as_done(metadata: dict[str, Any], item: Item, path: Path | str) -> Done:
    """What the worker answered when it made this, as far as the metadata tell."""

    def mapping(name: str) -> dict[str, Any]:
        value = metadata.get(name)
        return value if isinstance(value, dict) else {}

    warnings, settings = metadata.get("warnings"), mapping("render_settings")
    views, names = settings.get("num_views"), settings.get("device_names")
    doubts = {
        name: counts["doubt"]
        for name, counts in mapping("checks").items()
        if isinstance(counts, dict) and isinstance(counts.get("doubt"), int)
    }
    seconds = {
        name: float(value)
        for name, value in mapping("seconds").items()
        if isinstance(value, int | float)
    }
    return Done(
        item.row.asset_id,
        str(path),
        views=views if isinstance(views, int) else 0,
        warnings=[str(text) for text in warnings] if isinstance(warnings, list) else [],
        doubts=doubts,
        seconds=seconds,
        source={
            name: metadata[name]
            for name, kind in _KEPT.items()
            if isinstance(metadata.get(name), kind)
        },
        device=", ".join(map(str, names if isinstance(names, list) else []))
        or str(settings.get("device") or ""),
    )


def changed_content(file: Path, sha256: object, began: float) -> list[str]:
    """How a file differs from the one that something was made of; nothing if it does not.

    Args:
        sha256: Of the file then, where that is known.
        began: Unix time at which the making began; only a file that was written after that is
            read again.
    """
    # Clocks of file systems are coarse.
    if not isinstance(sha256, str) or file.stat().st_mtime < began - 2:
        return []
    digest = file_sha256(file)
    return [] if digest == sha256 else [f"sha256: {sha256[:12]}… -> {digest[:12]}…"]


def changed_job(old: dict[str, Any], job: RenderJob) -> list[str]:
    """How a job differs from one of another fingerprint."""
    return job.changes_since(old) or ["the content of cameras.file or lighting.hdri"]


def undecodable(source: str) -> SourceNotFound:
    """What is said of a file that cannot be written of."""
    return SourceNotFound(
        f"{source} cannot be read: its name is not UTF-8 text.",
        hint="Rename it; convmv does that for whole folders.",
    )


def mismatch_error(where: str, changes: list[str]) -> OutputExists:
    """What is said where something stands that this run would make differently."""
    return OutputExists(
        f"{where} was made differently ({'; '.join(changes[:6])}).",
        hint="Allow overwriting (--overwrite) to replace it, or choose another folder.",
    )


def ensure_same_source(where: str, found: dict[str, Any], item: Item, file: Path | None) -> None:
    """Whether a finished asset is what this job would make of this file.

    Raises:
        OutputExists: It is whole, but of something else.
    """
    changes = []
    if found.get("job_fingerprint") != item.fingerprint:
        changes = changed_job(found.get("job", {}), item.job)
    if file is not None and found.get("file_size") != item.source_bytes:
        changes.append(f"file_size: {found.get('file_size')} -> {item.source_bytes}")
    elif file is not None and "://" not in where:
        took = found.get("seconds", {}).get("total")
        began = Path(where).stat().st_mtime - (took if isinstance(took, int | float) else 0)
        changes += changed_content(file, found.get("sha256"), began)
    if changes:
        raise mismatch_error(where, changes)
