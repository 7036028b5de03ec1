"""What became of every asset: a SQLite file beside the data, and its only door.

One process writes it (:mod:`.lock` sees to that), any number may read it meanwhile. It can be
looked at with any SQLite tool: the table ``assets`` has a row per asset, ``jobs`` what they were
rendered by, ``runs`` who worked on it (:mod:`.ledger_file` has the tables).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from ...errors import RenderError
from ...words import redacted
from ..lock import Lock
from .ledger_file import believed, damaged, error_of, make_private, named, open_ledger
from .naming import ANEW, NameOf, Naming, find_name
from .rows import MERGED, STATES, AssetOutcome, QueueEntry, Row, Run

__all__ = ["Ledger", "ledger_of_run"]

_IN_HAND: Final = ("downloading", "rendering", "packing")
_DEADLY_RUNS: Final = 5
"""Runs that may die over an asset before it is given up; from the second on it comes last.

While it is fetched and looked at they count half, for that is more often somebody else's doing.
"""
_BATCH: Final = 20_000
_TAKEN_IN: Final = "taken in"
"""Remark: the newest request, the number of its assets, and a sum over them."""
_SUMMED: Final = 100_000
"""Assets up to which there is a sum: a tenth of a second."""
# An asset that was rendered by one run and packed by the next keeps what the first knew.
_KEPT: Final = ", ".join(
    f"{name} = coalesce(?, {name})"
    for name in (
        "fingerprint", "path", "file_type", "license", "sha256", "worker", "device", "views",
        "bytes", "source_bytes", "seconds", "stages", "warnings", "doubts",
    )
)  # fmt: skip
_ROW: Final = "id, source, asset_id, state, attempts, replace, options"


@contextlib.contextmanager
def ledger_of_run(
    folder: Path, what: str, shard: tuple[int, int] | None = None
) -> Iterator[Ledger]:
    """The ledger of an output, or of a part of it, for the one run that may write it.

    One that it makes, and in which there is no asset in the end, leaves no files. That of a part
    that has no assets stays: whoever merges the parts counts them.

    Args:
        folder: Of the ledger.
        what: The output that it is about, for people.
        shard: Part and number of parts.

    Raises:
        OutputBusy, LedgerDamaged, OutputNotWritable, DiskFull
    """
    part = "" if shard is None else f"-{shard[0]:04d}-of-{shard[1]:04d}"
    path = folder / f"ledger{part}.sqlite"
    lock, vain = Lock(folder, what, shard), False
    try:
        new = not path.exists()
        with named(path), Ledger(path) as ledger:
            try:
                yield ledger
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    vain = new and not any(ledger.counts().values()) and ledger.let_go()
                raise
            vain = new and shard is None and not any(ledger.counts().values())
            vain = vain and ledger.let_go()
    finally:
        if vain:
            path.unlink(missing_ok=True)
        lock.release(remove=vain)


class Ledger:
    """The ledger at ``path``; made if it is not there.

    Changes are collected and written together; :meth:`flush` writes them now. A process that is
    killed loses the last moment of them, and finds the finished files again when it looks.

    Args:
        read_only: Look, while another process may be writing.

    Attributes:
        patience: Asked, with the error and the seconds waited so far, whether to try again where
            the disk is full; nothing is lost meanwhile.

    Raises:
        LedgerDamaged: The file is none, or of a newer version.
        OutputNotWritable, DiskFull
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._flushed = time.monotonic()
        self._unwritten: list[tuple[str, list[tuple[Any, ...]]]] = []
        self.patience: Callable[[RenderError, float], bool] | None = None
        self._identity: tuple[int, int] | None = None
        self._db = open_ledger(path, read_only=read_only)
        self._identity = self._identity_now()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is not written yet, and let the file go."""
        with contextlib.suppress(sqlite3.Error):
            self.flush()
        self._db.close()

    def is_in_place(self) -> bool:
        """Whether what is written still goes to where it belongs, as far as can be told."""
        now = self._identity_now()
        return now is not None and self._identity in (None, now)

    def _identity_now(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            return self._identity  # Storage that does not answer is another matter.
        return found.st_dev, found.st_ino

    def let_go(self) -> bool:
        """Whether nobody else reads it now; then there is no file beside it, and it may go.

        Readers remove files beside a ledger by their names, also those of the next of its name.
        """
        self.flush()
        self._db.execute("PRAGMA busy_timeout = 0")
        try:
            (mode,) = self._db.execute("PRAGMA journal_mode = DELETE").fetchone()
        except sqlite3.OperationalError:
            return False
        return bool(mode == "delete")

    def copy(self, path: Path) -> None:
        """Write all that is in it into a new file."""
        with contextlib.closing(sqlite3.connect(path)) as target:
            self._db.backup(target)

    # --- Writing ----------------------------------------------------------------------------

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")

    def _write(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        self._unwritten.append((sql, list(rows)))
        self._insist(lambda: self._execute(*self._unwritten[-1]))
        if len(self._unwritten) >= 500 or time.monotonic() - self._flushed > 0.5:
            self.flush()

    def _execute(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        self._begin()
        self._db.executemany(sql, rows)

    def flush(self) -> None:
        """Write all changes."""
        if self._db.in_transaction:
            self._insist(lambda: self._db.execute("COMMIT"))
        self._unwritten.clear()
        self._flushed = time.monotonic()

    def _insist(self, action: Callable[[], object]) -> None:
        """Where the disk is full, SQLite may forget all that is not written; it is told again."""
        since = time.monotonic()
        while True:
            try:
                action()
                return
            except sqlite3.Error as error:
                if self.patience is None or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_FULL:
                    raise
                if not self.patience(error_of(error, self.path), time.monotonic() - since):
                    raise
                action = self._tell_again

    def _tell_again(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        for sql, rows in self._unwritten:
            self._execute(sql, rows)
        self._db.execute("COMMIT")
        self._unwritten.clear()

    def request(self, digest: str) -> int | None:
        """Make these the assets that a run works on, if they were all taken in before.

        Args:
            digest: Of what the run was asked for.

        Returns:
            Number of the request; ``None`` if it is not the ledger's newest, and the assets have
            to be given again (:meth:`add`).
        """
        found = self._db.execute("SELECT id, digest FROM requests ORDER BY id DESC LIMIT 1")
        newest = found.fetchone()
        if not newest or newest[1] != digest:
            return None
        # Where some are not what they were, the list is taken in again.
        return newest[0] if self.get(_TAKEN_IN) in (None, self._taken_in(newest[0])) else None

    def add(
        self,
        digest: str,
        entries: Iterable[QueueEntry],
        *,
        replace: bool = False,
        whole: Callable[[], Iterable[QueueEntry]] | None = None,
    ) -> int:
        """Take assets in, in their order, as what a run works on; returns the request's number.

        Those that are in already keep their state. Files that would have one name get several
        (:mod:`.naming`).

        Args:
            replace: They shall be rendered again.
            whole: Gives all of the list that these are a part of.
        """
        self._begin()
        self._db.execute("DELETE FROM requests WHERE digest = ?", (digest,))
        cursor = self._db.execute("INSERT INTO requests (digest) VALUES (?)", (digest,))
        request = int(cursor.lastrowid or 0)
        try:
            naming = Naming(self._db, request, replace=replace)
            entries = iter(entries)
            while batch := list(islice(entries, _BATCH)):
                if any(redacted(one.source) != one.source for one in batch if "://" in one.source):
                    make_private(self.path)
                naming.add(batch)
            naming.settle(None if whole is None else partial(self._names_in, whole))
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self.put(_TAKEN_IN, self._taken_in(request))
        return request

    def _taken_in(self, request: int) -> str:
        """What tells later whether the assets of a request are still those that it came with."""
        count, total = sum(self.counts(request).values()), 0
        if count <= _SUMMED:
            for row in self._db.execute(
                "SELECT source, asset_id, options FROM assets WHERE request = ?", (request,)
            ):
                digest = hashlib.blake2b(repr(row).encode(), digest_size=8).digest()
                total += int.from_bytes(digest, "big")
        return f"{request} {count} {total % (1 << 64):016x}"

    @contextlib.contextmanager
    def _names_in(self, whole: Callable[[], Iterable[QueueEntry]]) -> Iterator[NameOf]:
        """The name that each asset gets where nobody has a part only."""
        folder = self.path.with_name(f".{self.path.stem}.names")
        # One is left by a run that was killed over it.
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with Ledger(folder / "ledger.sqlite") as ledger:
                yield partial(ledger.name_of, ledger.add("", whole()))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def name_of(
        self, request: int, base: str, source: str, options: str | None
    ) -> str | None:
        """The name that a request gave an asset, which has that of its file or another one.

        Args:
            base: The file's name.
            options: As JSON, its keys sorted.
        """
        return find_name(self._db, request, base, source, options)

    def claim(self, request: int, count: int) -> list[Row]:
        """Take a request's next waiting assets in hand, in their order.

        Those that runs died over come last.
        """
        found = self._db.execute(
            f"SELECT {_ROW} FROM assets WHERE request = ? AND state = 'waiting'"
            " ORDER BY lost > 1, id LIMIT ?",
            (request, count),
        ).fetchall()
        self.mark([row[0] for row in found], "downloading")
        return [self._row(row) for row in found]

    def mark(self, ids: Sequence[int], state: str) -> None:
        """Set the state of assets that are in hand, or put them back."""
        now = time.time()
        self._write(
            "UPDATE assets SET state = ?, updated = ? WHERE id = ?",
            ((state, now, one) for one in ids),
        )

    def defer(self, row: Row) -> None:
        """Another attempt is due, by who has it in hand: nobody else may claim it."""
        self._put(row, "downloading")

    def requeue(self, row: Row) -> None:
        """Another attempt is due, by whoever claims it."""
        self._put(row, "waiting")

    def _put(self, row: Row, state: str) -> None:
        self._write(
            "UPDATE assets SET state = ?, attempts = ?, updated = ? WHERE id = ?",
            [(state, row.attempts, time.time(), row.id)],
        )

    def reset(self, ids: Sequence[int]) -> None:
        """Assets that had ended are to be looked at as if nothing had been tried yet."""
        self._write(f"UPDATE assets SET {ANEW} WHERE id = ?", [(one,) for one in ids])

    def finish(self, *outcomes: AssetOutcome) -> None:
        """Write how assets ended; several at once, all or none."""
        now = time.time()
        self._write(
            "UPDATE assets SET state = ?, attempts = ?, reason = ?, message = ?, hint = ?, log = ?,"
            f" {_KEPT}, lost = 0, replace = 0, updated = ? WHERE id = ?",
            (
                (
                    one.state, one.attempts, one.reason, one.message, one.hint, one.log,
                    one.fingerprint, one.path, one.file_type, one.license, one.sha256, one.worker,
                    one.device, one.views, one.bytes, one.source_bytes, one.seconds,
                    _json(one.stages), _json(one.warnings), _json(one.doubts), now, one.id,
                )
                for one in outcomes
            ),
        )  # fmt: skip

    def reset_in_hand(self, *, died: bool = True) -> int:
        """What a run had in hand is waiting again; returns how many.

        Args:
            died: The run was killed: what was being rendered or fetched may have done it. If that
                happens again it waits until the end of the list, and in the end it is given up.
        """
        self._begin()
        if died:
            self._db.execute(
                "UPDATE assets SET lost = lost + CASE state WHEN 'rendering' THEN 1 ELSE 0.5 END"
                " WHERE state IN ('rendering', 'downloading')"
            )
            self._db.execute(
                "UPDATE assets SET state = 'given up', reason = 'worker-crashed', message ="
                " asset_id || ': whole runs ended while it was in hand.', hint ="
                " 'Try it alone, with --max-memory.'"
                " WHERE state IN ('rendering', 'downloading') AND lost >= ?",
                (_DEADLY_RUNS,),
            )
        marks = ", ".join("?" * len(_IN_HAND))
        cursor = self._db.execute(
            f"UPDATE assets SET state = 'waiting', reason = NULL WHERE state IN ({marks})",
            _IN_HAND,
        )
        self.flush()
        return cursor.rowcount

    def shards(self) -> set[str]:
        """Names of the shards that :meth:`adopt` was told of."""
        return {path for (path,) in self._db.execute("SELECT path FROM shards")}

    def adopt(self, shard: str, asset_ids: Iterable[str] = ()) -> None:
        """What lies in a shard is done, whatever the ledger thought."""
        self._write("INSERT OR IGNORE INTO shards VALUES (?)", [(shard,)])
        self._write(
            "UPDATE assets SET state = 'done', reason = NULL, path = ?"
            " WHERE asset_id = ? AND (state != 'done' OR path != ?)",
            ((shard, asset_id, shard) for asset_id in asset_ids),
        )

    def forget_shard(self, shard: str) -> None:
        """A shard is not there any more: what was in it waits."""
        self._write("DELETE FROM shards WHERE path = ?", [(shard,)])
        self._write(f"UPDATE assets SET {ANEW} WHERE state = 'done' AND path = ?", [(shard,)])

    def retry(self, reasons: Iterable[str] | None = None, request: int | None = None) -> int:
        """Failed assets wait for another try; returns how many.

        Args:
            reasons: Of which kinds; all where ``None``.
            request: Of which request; all where ``None``.
        """
        kinds = None if reasons is None else sorted(set(reasons))
        where = "state IN ('failed', 'given up') AND asset_id IS NOT NULL"
        if kinds is not None:
            where += f" AND reason IN ({', '.join('?' * len(kinds))})"
        values: list[Any] = list(kinds or ())
        if request is not None:
            where += " AND request = ?"
            values.append(request)
        self._begin()
        cursor = self._db.execute(
            f"UPDATE assets SET {ANEW} WHERE {where}",
            values,
        )
        self.flush()
        return cursor.rowcount

    # --- What it was done by ----------------------------------------------------------------

    def get(self, key: str) -> str | None:
        """A remark on the whole folder."""
        found = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return found[0] if found else None

    def put(self, key: str, value: str) -> None:
        """Remember a remark on the whole folder."""
        self._begin()
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
        self.flush()

    def add_job(self, fingerprint: str, job: dict[str, Any]) -> None:
        """Remember what a fingerprint stands for."""
        self._write("INSERT OR IGNORE INTO jobs VALUES (?, ?)", [(fingerprint, json.dumps(job))])

    def job(self, fingerprint: str) -> dict[str, Any] | None:
        """The job that a fingerprint stands for."""
        found = self._db.execute(
            "SELECT job FROM jobs WHERE fingerprint = ?", (fingerprint,)
        ).fetchone()
        with believed(self.path):
            return dict(json.loads(found[0])) if found else None

    def merged(self) -> tuple[int, set[int]]:
        """Of how many parts it was merged, and which; 0 and none where it was not."""
        with believed(self.path):
            record = json.loads(self.get(MERGED) or '{"of": 0, "parts": []}')
            return int(record["of"]), {int(part) for part in record["parts"]}

    def start_run(self, workers: int) -> int:
        """A run begins; returns its number."""
        now = time.time()
        self._write(
            "INSERT INTO runs (host, pid, started, seen, elapsed, done, failed, workers, ended,"
            " note) VALUES (?, ?, ?, ?, 0, 0, 0, ?, '', '')",
            [(socket.gethostname(), os.getpid(), now, now, workers)],
        )
        self.flush()
        (run,) = self._db.execute("SELECT max(id) FROM runs").fetchone()
        with believed(self.path):
            return int(run)

    def beat(
        self, run: int, elapsed: float, done: int, failed: int, *, ended: str = "", note: str = ""
    ) -> None:
        """A run is alive, or over."""
        self._write(
            "UPDATE runs SET seen = ?, elapsed = ?, done = ?, failed = ?, ended = ?, note = ?"
            " WHERE id = ?",
            [(time.time(), elapsed, done, failed, ended, note, run)],
        )
        self.flush()

    # --- Reading ----------------------------------------------------------------------------

    def last_run(self) -> Run | None:
        """The newest run."""
        return next(self.runs(), None)

    def runs(self) -> Iterator[Run]:
        """All runs, the newest first."""
        for found in self._db.execute(
            "SELECT id, host, pid, started, seen, elapsed, done, failed, workers, ended, note"
            " FROM runs ORDER BY id DESC"
        ):
            with believed(self.path):
                yield _run(found)

    def counts(self, request: int | None = None) -> dict[str, int]:
        """State to number of assets, every state, of one request or of all."""
        where, values = ("WHERE request = ?", [request]) if request is not None else ("", [])
        counts = dict.fromkeys(STATES, 0)
        for state, count in self._db.execute(
            f"SELECT state, count(*) FROM assets {where} GROUP BY request, state", values
        ):
            with believed(self.path):
                counts[state] += count
        return counts

    def failures_by(self, column: str) -> dict[str, int]:
        """Number of failed assets by ``reason`` or ``file_type``, most frequent first."""
        assert column in ("reason", "file_type")
        return dict(
            self._db.execute(
                f"SELECT coalesce({column}, '?'), count(*) AS n FROM assets"
                f" WHERE state IN ('failed', 'given up') GROUP BY {column} ORDER BY n DESC, 1"
            )
        )

    def assets(
        self,
        states: Sequence[str] = STATES,
        *,
        reasons: Sequence[str] = (),
        request: int | None = None,
        limit: int = -1,
    ) -> Iterator[dict[str, Any]]:
        """Rows of ``assets`` as dictionaries, in their order; JSON columns decoded."""
        where = f"state IN ({', '.join('?' * len(states))})"
        values: list[Any] = list(states)
        if request is not None:
            where += " AND request = ?"
            values.append(request)
        if reasons:
            where += f" AND reason IN ({', '.join('?' * len(reasons))})"
            values += reasons
        cursor = self._db.execute(
            f"SELECT * FROM assets WHERE {where} ORDER BY id LIMIT ?", (*values, limit)
        )
        names = [column[0] for column in cursor.description]
        for values_ in cursor:
            with believed(self.path):
                row = _told(dict(zip(names, values_, strict=True)))
            yield row

    def waiting_sources(self, request: int) -> Iterator[str]:
        """What of a request is not rendered yet."""
        cursor = self._db.execute(
            "SELECT source FROM assets WHERE request = ? AND state = 'waiting'", (request,)
        )
        for (source,) in cursor:
            yield source

    def find(self, asset_id: str) -> Row | None:
        """The asset of a name."""
        found = self._db.execute(
            f"SELECT {_ROW} FROM assets WHERE asset_id = ?", (asset_id,)
        ).fetchone()
        return self._row(found) if found else None

    def _row(self, values: tuple[Any, ...]) -> Row:
        with believed(self.path):
            row = Row(*values)
            row.replace = bool(row.replace)
            row.options = dict(json.loads(values[6])) if values[6] else None
            leads = Path(row.asset_id).name != row.asset_id or row.asset_id.startswith(".")
        if leads or "\\" in row.asset_id:
            # A folder that somebody else made may bring its ledger along.
            raise damaged(self.path, f"{row.asset_id!r:.80} is no name of an asset")
        return row

    def block(self, request: int, first: int, last: int) -> dict[int, str]:
        """Id to state of a request's assets with ids from ``first`` to ``last``."""
        return dict(
            self._db.execute(
                "SELECT id, state FROM assets WHERE id BETWEEN ? AND ? AND request = ?",
                (first, last, request),
            )
        )


def _json(value: object) -> str | None:
    return json.dumps(value) if value else None


_TEXTS: Final = ("source", "asset_id", "state", "path", "reason", "message", "hint", "log")
_NUMBERS: Final = ("updated", "seconds", "bytes", "source_bytes", "views")
_DECODED: Final = {"stages": dict, "warnings": list, "doubts": dict, "options": dict}


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its JSON decoded.

    Raises:
        ValueError, TypeError: It is not what was written.
    """
    for names, kinds in ((_TEXTS, (str,)), (_NUMBERS, (int, float))):
        for name in names:
            if row[name] is not None and not isinstance(row[name], kinds):
                raise TypeError(f"{name} of row {row['id']}")
    for name, kind in _DECODED.items():
        row[name] = json.loads(row[name]) if row[name] else kind()
        if not isinstance(row[name], kind):
            raise TypeError(f"{name} of row {row['id']}")
    return row


def _run(values: tuple[Any, ...]) -> Run:
    run = Run(*values)
    numbers = (run.pid, run.started, run.seen, run.elapsed, run.done, run.failed, run.workers)
    texts = (run.host, run.ended, run.note)
    if not all(isinstance(number, int | float) for number in numbers) or not all(
        isinstance(text, str) for text in texts
    ):
        raise TypeError(f"run {run.id}")
    return run
