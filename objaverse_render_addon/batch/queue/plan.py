"""What a run would do: :func:`plan`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...assets.formats import inspect_file
from ...assets.sources import Source, classify, path_of
from ...errors import DuplicateAsset, RenderError
from ...job import RenderJob
from ..inputs import check_files
from ..output import packing
from ..output.store import open_store, state_folder
from ..prepare import Item, ensure_same_source, undecodable
from .intake import IdSource, entries_of
from .ledger import Ledger
from .rows import UNDECODABLE, Row

__all__ = ["Plan", "plan"]


@dataclass(slots=True)
class Plan:
    """What a run would do with one source.

    Attributes:
        action: ``render``, ``skip`` (whole already) or ``fail``.
        path: Path or URL of the finished asset.
    """

    source: str
    asset_id: str
    action: Literal["render", "skip", "fail"]
    path: str
    error: RenderError | None = None


def plan(
    sources: Iterable[str | os.PathLike[str] | Source],
    job: RenderJob,
    out: str | Path,
    *,
    ids: IdSource = "name",
    overwrite: bool = False,
    state: str | Path | None = None,
) -> list[Plan]:
    """Look at every source and at what stands in ``out``, without starting Blender.

    Args:
        state: Folder of the ledger, where that is not in ``out``.

    Raises:
        InvalidJob: Also where a file that the job names cannot be used.
        LedgerDamaged
    """
    check_files(job)
    store = open_store(out, job.files.layout)
    sharded: dict[str, str] = {}
    if job.files.layout == "webdataset":
        for shard in packing.indexed_shards(store):
            sharded.update(dict.fromkeys(packing.assets_in(store, shard), shard))
    plans = []
    folder = Path(state).expanduser() if state else state_folder(out)
    for source, asset_id, refused in _named(list(sources), ids, folder):
        where = store.where(store.name_of(asset_id))
        try:
            if refused is not None:
                raise refused
            item = Item(Row(0, source.text, asset_id, "waiting"), job, "")
            file = path_of(source.text) if source.kind == "path" else None
            if file is not None:
                inspect_file(file)
                item.source_bytes = file.stat().st_size
            item.job = job.with_values(dict(source.job)) if source.job else job
            item.fingerprint = item.job.fingerprint()
            metadata = None
            if asset_id in sharded:
                where = store.where(sharded[asset_id])
            elif store.exists(store.name_of(asset_id)):
                metadata = store.metadata(store.name_of(asset_id))
            whole = asset_id in sharded or metadata is not None
            if metadata is not None and not overwrite:
                ensure_same_source(where, metadata, item, file)
            action: Literal["render", "skip"] = "skip" if whole and not overwrite else "render"
            plans.append(Plan(source.text, asset_id, action, where))
        except RenderError as error:
            plans.append(Plan(source.text, asset_id, "fail", where, error))
    return plans


def _named(
    sources: list[str | os.PathLike[str] | Source], ids: IdSource, folder: Path
) -> Iterator[tuple[Source, str, RenderError | None]]:
    """Every source and the name that it would get from the ledger in ``folder``, or why not."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "ledger.sqlite"
        if (folder / "ledger.sqlite").exists():
            with Ledger(folder / "ledger.sqlite", read_only=True) as ledger:
                ledger.copy(copy)
        with Ledger(copy) as ledger:
            for row in ledger.assets(request=ledger.add("", entries_of(sources, ids))):
                text, options = row["source"], row["options"]
                source = Source(
                    text, classify(text), job=options.get("job", {}), known=options.get("known", {})
                )
                if options.get(UNDECODABLE):
                    yield source, row["asset_id"] or source.name, undecodable(text)
                elif row["asset_id"]:
                    yield source, row["asset_id"], None
                else:
                    yield source, source.name, DuplicateAsset(row["message"], hint=row["hint"])
