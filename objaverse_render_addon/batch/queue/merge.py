"""One ledger of many: what machines that rendered parts of a list (``--shard i/n``) wrote."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from ...errors import LedgerDamaged, OutputExists, SourceNotFound
from ..lock import Lock
from .ledger import Ledger
from .ledger_file import COLUMNS, make_private, named
from .rows import MERGED

__all__ = ["merge"]


def merge(paths: Sequence[Path], target: Path, what: str) -> tuple[int, list[int]]:
    """Put ledgers of parts together; what the target knows already stays.

    A part knows its assets best, but what is done stays done. No clock decides: machines' clocks
    disagree.

    Args:
        paths: Ledgers named ``ledger-IIII-of-NNNN.sqlite``.
        target: The ledger to make, or to add to.
        what: The output that it is about, for people.

    Returns:
        Number of assets in the target, and the parts that were merged neither now nor before.

    Raises:
        SourceNotFound: No part is given.
        OutputExists: The parts were made by different jobs, or of different numbers of parts.
        OutputBusy: A run works on one of them.
        LedgerDamaged
    """
    if not paths:
        raise SourceNotFound(
            f"There is no ledger of a part of {what} in {target.parent}.",
            hint="Give what --out named, and --state if that was given; render --shard I/N makes "
            "such ledgers.",
        )
    splits: dict[int, list[tuple[int, Path]]] = {}
    for path in paths:
        match = re.fullmatch(r"ledger-(\d+)-of-(\d+)\.sqlite", path.name)
        if match is None:
            raise LedgerDamaged(
                f"{path} is not named like the ledger of a part.",
                hint="Those of 16 parts are ledger-0000-of-0016.sqlite and so on.",
            )
        splits.setdefault(int(match[2]), []).append((int(match[1]), path))
    if len(splits) > 1:
        raise OutputExists(
            f"{what} was split in different ways: {', '.join(map(str, sorted(splits)))} parts.",
            hint="Merge the ledgers of one way first, or move the others away.",
        )
    ((total, parts),) = splits.items()
    with contextlib.ExitStack() as stack:
        for folder in dict.fromkeys(path.resolve().parent for path in (target, *paths)):
            stack.callback(Lock(folder, what).release)
        jobs: dict[str, str] = {}
        for path in (*paths, *([target] if target.exists() else [])):
            with Ledger(path, read_only=True) as part, named(path):
                job = part.get("fingerprint")
                # A part that was never begun, and a ledger without an asset, have no say.
                if job is not None and (path != target or any(part.counts().values())):
                    jobs.setdefault(job, path.name)
        if len(jobs) > 1:
            raise OutputExists(
                f"{', '.join(jobs.values())} were made by different jobs.",
                hint="objaverse-render render … --print-job shows a job.",
            )
        ledger = stack.enter_context(Ledger(target))
        with named(target):
            before, known = ledger.merged()
            # A ledger of the whole list lacks nothing, whatever is added to it.
            whole = not before and any(ledger.counts().values())
        merged = known if before == total else set[int]()

        def remember() -> None:
            if not whole:
                ledger.put(MERGED, json.dumps({"of": total, "parts": sorted(merged)}))

        # Before anything is in it that a merge which breaks off would leave behind.
        with named(target):
            remember()
        for number, path in parts:
            if not path.stat().st_mode & 0o077:
                make_private(target)
            with named(path):
                _add(target, path)
            merged.add(number)
            with named(target):
                remember()
        with named(target):
            count = sum(ledger.counts().values())
    return count, sorted(set(range(total)) - merged)


def _add(target: Path, part: Path) -> None:
    names = [name for name in COLUMNS if name not in ("id", "request")]
    columns, kept = ", ".join(names), ", ".join(f"{name} = excluded.{name}" for name in names)
    with contextlib.closing(sqlite3.connect(target, timeout=30, isolation_level=None)) as db:
        db.execute("ATTACH ? AS part", (str(part),))
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT OR IGNORE INTO jobs SELECT * FROM part.jobs")
        db.execute("INSERT OR IGNORE INTO meta SELECT * FROM part.meta")
        db.execute(
            f"INSERT INTO assets (request, {columns}) SELECT 0, {columns} FROM part.assets"
            " WHERE asset_id IS NOT NULL ORDER BY id"
            f" ON CONFLICT (asset_id) DO UPDATE SET {kept}"
            " WHERE assets.state != 'done' OR excluded.state = 'done'"
        )
        db.execute(
            f"INSERT INTO assets (request, {columns}) SELECT 0, {columns} FROM part.assets"
            " WHERE asset_id IS NULL"
            " AND source NOT IN (SELECT source FROM assets WHERE asset_id IS NULL)"
        )
        db.execute("INSERT OR IGNORE INTO ambiguous SELECT * FROM part.ambiguous")
        db.execute("INSERT OR IGNORE INTO shards SELECT * FROM part.shards")
        db.execute(
            "DELETE FROM runs WHERE EXISTS (SELECT 1 FROM part.runs AS r WHERE r.host = runs.host"
            " AND r.pid = runs.pid AND r.started = runs.started)"
        )
        db.execute(
            "INSERT INTO runs (host, pid, started, seen, elapsed, done, failed, workers, ended,"
            " note) SELECT host, pid, started, seen, elapsed, done, failed, workers, ended, note"
            " FROM part.runs"
        )
        db.execute("COMMIT")
