"""What earlier runs left: the job they had, finished files, shards, failures."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ...assets.sources import path_of
from ...dataset.storage import AssetRef
from ...errors import LedgerDamaged, OutputExists, OutputNotWritable, from_reason
from ...job import RenderJob
from ..output import packing
from ..output.store import Store
from ..prepare import Item, changed_content, changed_job, ensure_same_source, mismatch_error
from ..results import KEPT_RESULTS, AssetResult, Report
from .ledger import Ledger
from .ledger_file import damaged
from .rows import FAILED, AssetOutcome

__all__ = ["check_job", "reconcile_shards", "reconcile_with_output", "replay_results"]

_LOOKED_AT: Final = 200_000
"""Finished assets whose files are looked for at the start; of more, the ledger is believed."""


def check_job(ledger: Ledger, job: RenderJob, store: Store, overwrite: bool) -> None:
    """Whether the folder was begun with this job.

    Raises:
        OutputExists: With the difference.
    """
    new, old = job.fingerprint(), ledger.get("fingerprint")
    ledger.add_job(new, job.resolved().to_dict())
    if old == new:
        return
    if not overwrite:
        _refuse_another_job(ledger, job, store)
        if old is None:
            _refuse_another_job_of_other_parts(ledger, job, store)
    if old is not None:
        # What failed by other rules may not fail by these.
        ledger.retry()
    ledger.put("fingerprint", new)


def _refuse_another_job(ledger: Ledger, job: RenderJob, store: Store) -> bool:
    """Whether anything is done, and by this job."""
    old = ledger.get("fingerprint")
    if old is None or not ledger.counts()["done"]:
        return False
    if old != job.fingerprint():
        known = ledger.job(old)
        if known is None:
            raise damaged(ledger.path, f"it has no job of the fingerprint {old:.12}")
        raise mismatch_error(store.address, changed_job(known, job))
    return True


def _refuse_another_job_of_other_parts(ledger: Ledger, job: RenderJob, store: Store) -> None:
    for path in sorted(ledger.path.parent.glob("ledger*.sqlite")):
        if path == ledger.path:
            continue
        # One that cannot be read now, for it just begins, has no say.
        unreadable = contextlib.suppress(sqlite3.Error, LedgerDamaged, OutputNotWritable)
        with unreadable, Ledger(path, read_only=True) as part:
            if _refuse_another_job(part, job, store):
                return


def reconcile_with_output(ledger: Ledger, store: Store, request: int) -> None:
    """Assets that the ledger calls done and that are not there, or not whole, wait again."""
    if ledger.counts(request)["done"] > _LOOKED_AT:
        return
    there = set(store.names())
    missing, other = [], []
    for row in ledger.assets(("done",), request=request):
        where = Path(store.where(row["path"]))
        made = row["bytes"]
        if row["path"] not in there or (
            made and where.is_file() and _size(str(where)) != made
        ):
            missing.append(row["id"])
        elif changes := _changes(row):
            error = mismatch_error(str(store.where(row["path"])), changes)
            other.append(
                AssetOutcome(row["id"], "failed", 1, error.reason, error.message, error.hint)
            )
    ledger.finish(*other)
    ledger.reset(missing)
    changed = [
        row["id"]
        for row in ledger.assets(FAILED, request=request, limit=_LOOKED_AT)
        if row["source_bytes"] and row["reason"] != "output-exists"
        and _size(row["source"]) not in (None, row["source_bytes"])
    ]  # fmt: skip
    ledger.reset(changed)
    ledger.flush()


def _changes(row: dict[str, Any]) -> list[str]:
    """How the file that a finished asset was made of has changed since."""
    before, now = row["source_bytes"], _size(row["source"])
    if not before or now is None:
        return []
    if now != before:
        return [f"file_size: {before} -> {now}"]
    with contextlib.suppress(OSError):
        began = row["updated"] - (row["seconds"] or 0)
        return changed_content(path_of(row["source"]), row["sha256"], began)
    return []


def _size(source: str) -> int | None:
    try:
        return path_of(source).stat().st_size
    except (OSError, ValueError):
        return None


def reconcile_shards(ledger: Ledger, store: Store, job: RenderJob, overwrite: bool) -> None:
    """What lies in a shard is done; what lay in one that is gone is not.

    Raises:
        OutputExists: A shard was made by another job, or is to be replaced.
        TruncatedFile, DownloadFailed: An index cannot be read.
    """
    there = packing.indexed_shards(store)
    if overwrite and there:
        raise OutputExists(
            f"{store.address} holds shards, and an asset in a shard cannot be replaced.",
            hint="Choose another folder.",
        )
    known = ledger.shards()
    for shard in known - there:
        ledger.forget_shard(shard)
    fingerprint = job.fingerprint()
    for shard in sorted(there - known):
        inside = packing.assets_in(store, shard)
        rows = (ledger.find(asset_id) for asset_id in inside)
        common = next((row for row in rows if row is not None and not row.options), None)
        if common is not None:
            item = Item(common, job, fingerprint)
            with AssetRef(common.asset_id, "shard", store.where(shard)).open() as reader:
                ensure_same_source(store.where(shard), reader.metadata, item, None)
        ledger.adopt(shard, inside)
        for asset_id in inside:
            # A run that was killed may have packed it and not have come to this.
            (store.staging / f"{asset_id}.tar").unlink(missing_ok=True)
    ledger.flush()


def replay_results(
    ledger: Ledger,
    request: int,
    store: Store,
    collect: Callable[[int, AssetResult], None],
    report: Report,
) -> None:
    """Results of what needs no work any more."""
    told = 0
    # Of a list that is too long to tell, the failures.
    for states in (FAILED, ("done",)):
        for row in ledger.assets(states, request=request, limit=KEPT_RESULTS - told):
            told += 1
            collect(row["id"], _earlier(row, store))
    counts = ledger.counts(request)
    report.counts["skipped"] = counts["done"]
    report.counts["failed"] = sum(counts[name] for name in FAILED)


def _earlier(row: dict[str, Any], store: Store) -> AssetResult:
    result = AssetResult(row["source"], row["asset_id"] or "", "skipped")
    if row["state"] == "done":
        where = store.where(row["path"] or store.name_of(row["asset_id"]))
        result.path = where if "://" in where else Path(where)
        result.views = row["views"] or 0
        return result
    result.status = "failed"
    hint = row["hint"] or ""
    if row["asset_id"]:
        hint = f"It failed before; --retry {row['reason']} tries again. {hint}".strip()
    result.error = from_reason(row["reason"] or "", row["message"] or "", hint, row["log"] or "")
    return result
