"""What a run would do: :func:`plan`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...assets.formats import inspect_file
from ...assets.sources import Source, expand, path_of
from ...errors import DuplicateAsset, RenderError
from ...job import RenderJob
from ..inputs import check_files
from ..output import packing
from ..output.store import open_store
from ..prepare import Item, check_same
from .intake import IdSource, name_of
from .rows import Row

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
) -> list[Plan]:
    """Look at every source and at what stands in ``out``, without starting Blender.

    Raises:
        InvalidJob: Also where a file that the job names cannot be used.
    """
    check_files(job)
    store = open_store(out, job.files.layout)
    sharded: dict[str, str] = {}
    if job.files.layout == "webdataset":
        for shard in packing.indexed_shards(store):
            sharded.update(dict.fromkeys(packing.assets_in(store, shard), shard))
    seen: dict[str, str] = {}
    plans = []
    for source in expand(sources):
        asset_id = source.name
        where = store.where(store.name_of(asset_id))
        try:
            item = Item(Row(0, source.text, asset_id, "waiting"), job, "")
            file = path_of(source.text) if source.kind == "path" else None
            if file is not None:
                inspect_file(file)
                asset_id = name_of(source, ids)
                where = store.where(store.name_of(asset_id))
                item.source_bytes = file.stat().st_size
            if seen.setdefault(asset_id.lower(), source.text) != source.text:
                raise DuplicateAsset(
                    f"{source.text} and {seen[asset_id.lower()]} would both be named {asset_id}.",
                    hint="They have the same content."
                    if ids == "sha256"
                    else "Use --ids sha256, or render them into different folders.",
                )
            item.job = job.with_values(dict(source.job)) if source.job else job
            item.fingerprint = item.job.fingerprint()
            metadata = None
            if asset_id in sharded:
                where = store.where(sharded[asset_id])
            elif store.exists(store.name_of(asset_id)):
                metadata = store.metadata(store.name_of(asset_id))
            whole = asset_id in sharded or metadata is not None
            if metadata is not None and not overwrite:
                check_same(where, metadata, item, file)
            action: Literal["render", "skip"] = "skip" if whole and not overwrite else "render"
            plans.append(Plan(source.text, asset_id, action, where))
        except RenderError as error:
            plans.append(Plan(source.text, asset_id, "fail", where, error))
    return plans
