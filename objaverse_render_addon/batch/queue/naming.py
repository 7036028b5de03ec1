"""Names of the assets of a list: every one its own, also where files are named alike.

A file lends its asset its name. ``sofa/scene.gltf`` and ``lamp/scene.gltf``, or ``chair.glb`` and
``chair.obj``, would both have the same one: then neither gets it, and each gets the first of
:func:`.sources.other_names` that no other has. That is decided from the whole list, so that the
names do not hang on its order, and in SQL, for it may be long. An asset that has a name keeps it,
whatever comes to the list later, and a name that was ambiguous once is no asset's name ever after.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, Final, NamedTuple

from ...assets.sources import NAMED_BY_FILE, Source, classify, other_names, path_of, place_of
from .rows import QueueEntry, file_type

__all__ = ["ANEW", "NameOf", "Naming", "find_name"]

NameOf = Callable[[str, str, str | None], str | None]
"""The name of an asset, by the one of its file, its source and its options, as JSON."""
ANEW: Final = "state = 'waiting', attempts = 0, lost = 0, reason = NULL"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PAGE: Final = 10_000
_LEVELS: Final = len(list(other_names("name")))
# Places and names are those of files that have the same, and short-lived: there may be millions.
_TABLES: Final = """
CREATE TEMP TABLE IF NOT EXISTS unnamed (
    id INTEGER PRIMARY KEY, base TEXT COLLATE NOCASE, place TEXT, derived INTEGER,
    name TEXT COLLATE NOCASE
);
CREATE INDEX IF NOT EXISTS temp.by_base ON unnamed (base, place);
CREATE TEMP TABLE IF NOT EXISTS given (
    name TEXT COLLATE NOCASE, source TEXT, PRIMARY KEY (name, source)
) WITHOUT ROWID;
"""


class Waiting(NamedTuple):
    """An asset without a name: its file's, where that is, and the one that is tried."""

    id: int
    source: str
    options: str | None
    base: str
    place: str
    name: str


class Naming:
    """Takes a request's entries into a ledger, in a transaction of its caller's.

    Args:
        replace: The assets shall be rendered again.
    """

    def __init__(self, db: sqlite3.Connection, request: int, *, replace: bool) -> None:
        self._db, self._request, self._replace = db, request, replace
        self._now = time.time()
        for statement in _TABLES.split(";"):
            db.execute(statement)
        db.execute("DELETE FROM unnamed")
        db.execute("DELETE FROM given")
        db.create_function("other_name", 2, _other_name, deterministic=True)
        (self._first,) = db.execute("SELECT coalesce(max(id), 0) + 1 FROM assets").fetchone()
        (self._ambiguous,) = db.execute("SELECT EXISTS (SELECT 1 FROM ambiguous)").fetchone()

    def add(self, batch: list[QueueEntry]) -> None:
        """Take entries in, in their order; whose name is another's too waits without one."""
        self._db.executemany(
            "INSERT OR IGNORE INTO given VALUES (?, ?)",
            [(entry.asset_id, entry.source) for entry in batch if entry.naming == "given"],
        )
        if not self._ambiguous:
            self._db.execute("SAVEPOINT batch")
            changes = self._db.total_changes
            self._insert(batch)
            if self._db.total_changes - changes == len(batch):
                self._db.execute("RELEASE batch")
                return
            self._db.execute("ROLLBACK TO batch")
        for entry in batch:
            self._add_one(entry)

    def _insert(self, batch: list[QueueEntry], *, named: bool = True) -> None:
        self._db.executemany(
            "INSERT INTO assets (source, asset_id, request, options, replace, updated, state)"
            " VALUES (?, ?, ?, ?, ?, ?, 'waiting') ON CONFLICT (asset_id) DO NOTHING",
            [
                (
                    entry.source, entry.asset_id if named else None, self._request,
                    _json(entry.options), self._replace, self._now,
                )
                for entry in batch
            ],
        )  # fmt: skip

    def _add_one(self, entry: QueueEntry) -> None:
        found = self._holder(entry.asset_id)
        if found is None:
            if entry.naming == "derived" and self._is_ambiguous(entry.asset_id):
                self._postpone(entry)
            else:
                self._insert([entry])
            return
        row, source, held_by, before = found
        options = _json(entry.options)
        if source == entry.source and (before == options or held_by != self._request):
            self._take(row, source, options, anew=before != options)
        elif held_by == self._request or entry.naming == "derived":
            self._postpone(entry)
        else:
            # The name is free again for this run; its file tells whether it is what is wanted.
            self._take(row, entry.source, options, anew=True)

    def _postpone(self, entry: QueueEntry) -> None:
        # In its place of the list.
        self._insert([entry], named=False)
        (row,) = self._db.execute("SELECT last_insert_rowid()").fetchone()
        self._unname(row, entry.asset_id, entry.source, derived=entry.naming == "derived")

    def _unname(self, row: int, base: str, source: str, *, derived: bool) -> None:
        self._db.execute(
            "INSERT INTO unnamed (id, base, place, derived) VALUES (?, ?, ?, ?)",
            (row, base, place_of(source), derived),
        )

    def _holder(self, name: str) -> tuple[int, str, int, str | None] | None:
        """Row, source, request and options of the asset that has a name."""
        found: tuple[int, str, int, str | None] | None = self._db.execute(
            "SELECT id, source, request, options FROM assets WHERE asset_id = ?", (name,)
        ).fetchone()
        return found

    def _is_ambiguous(self, name: str) -> bool:
        found = self._db.execute("SELECT 1 FROM ambiguous WHERE name = ?", (name,))
        return found.fetchone() is not None

    def _take(self, row: int, source: str, options: str | None, *, anew: bool) -> None:
        """An asset that was in already becomes one of this request."""
        self._db.execute(
            "UPDATE assets SET request = ?, source = ?, options = ? WHERE id = ?",
            (self._request, source, options, row),
        )
        if self._replace:
            self._db.execute(f"UPDATE assets SET {ANEW}, replace = 1 WHERE id = ?", (row,))
        elif anew:
            self._db.execute(f"UPDATE assets SET {ANEW} WHERE id = ?", (row,))

    # --- When all are known -----------------------------------------------------------------

    def settle(
        self, names_in_whole: Callable[[], AbstractContextManager[NameOf]] | None = None
    ) -> None:
        """Name what waits for it; what cannot have a name fails.

        Args:
            names_in_whole: Tells which names the assets get in the whole list, where these are
                a part of it: those of other parts are not here.
        """
        if self._db.execute("SELECT 1 FROM unnamed").fetchone() is None:
            return
        # What is told of them again, if so.
        self._db.execute(
            "DELETE FROM assets WHERE asset_id IS NULL AND id < ? AND source IN"
            " (SELECT source FROM assets JOIN unnamed USING (id))",
            (self._first,),
        )
        self._fail_the_same()
        self._keep_names()
        self._give()
        self._clear_bases()
        if names_in_whole is not None and self._db.execute("SELECT 1 FROM unnamed").fetchone():
            with names_in_whole() as name_of:
                for row in self._rows():
                    name = name_of(row.base, row.source, row.options)
                    if name is not None:
                        self._name(row.id, name)
        for level in range(_LEVELS):
            self._try_level(level)
        for row in self._rows():
            self._fail(row)

    def _rows(self, where: str = "TRUE") -> Iterator[Waiting]:
        """Those without a name, in their order; they may be named meanwhile."""
        last = 0
        while page := self._db.execute(
            "SELECT id, source, options, base, place, name FROM unnamed JOIN assets USING (id)"
            f" WHERE id > ? AND {where} ORDER BY id LIMIT {_PAGE}",
            (last,),
        ).fetchall():
            yield from map(Waiting._make, page)
            last = page[-1][0]

    def _fail_the_same(self) -> None:
        """One file twice, with different wishes or in different words, stays one asset."""
        for row in self._rows(
            "derived AND EXISTS (SELECT 1 FROM unnamed AS other WHERE other.base = unnamed.base"
            " AND other.place = unnamed.place AND other.derived AND other.id < unnamed.id)"
        ):
            self._fail(row)
        for row in self._rows("derived"):
            found = self._holder(row.base)
            if found and found[2] == self._request and place_of(found[1]) == row.place:
                self._fail(row)

    def _keep_names(self) -> None:
        """Who had one of its names before this request keeps it."""
        if self._first == 1:
            return
        for row in self._rows("derived"):
            for name in (row.base, *other_names(row.place)):
                found = self._holder(name)
                if found is None or found[0] >= self._first or found[1] != row.source:
                    continue
                if found[2] != self._request:
                    self._take(found[0], row.source, row.options, anew=found[3] != row.options)
                    self._drop(row.id)
                    break

    def _give(self) -> None:
        """A name that the user gave, or a content's, is that of the first who has it."""
        for row in self._rows("NOT derived"):
            found = self._holder(row.base)
            if found is not None and found[2] == self._request:
                if not self._may_lose(found, row.base):
                    self._fail(row)
                    continue
                self._lose(found, row.base)
            self._name(row.id, row.base)

    def _may_lose(self, holder: tuple[int, str, int, str | None], name: str) -> bool:
        """Whether a name is only its file's, since this request."""
        row, source, _, _ = holder
        kind = classify(source)
        return (
            row >= self._first
            and kind in NAMED_BY_FILE
            and Source(source, kind).name.lower() == name.lower()
            and not self._db.execute(
                "SELECT 1 FROM given WHERE name = ? AND source = ?", (name, source)
            ).fetchone()
        )

    def _lose(self, holder: tuple[int, str, int, str | None], name: str) -> None:
        self._db.execute("UPDATE assets SET asset_id = NULL WHERE id = ?", (holder[0],))
        self._unname(holder[0], name, holder[1], derived=True)

    def _clear_bases(self) -> None:
        """Nobody gets a name that several would have; one alone gets it."""
        for base, count, row in self._bases():
            found = self._holder(base)
            here = found is not None and found[2] == self._request
            if count == 1 and not here and not self._is_ambiguous(base):
                self._name(row, base)
                continue
            self._db.execute("INSERT OR IGNORE INTO ambiguous VALUES (?)", (base,))
            if found is not None and here and self._may_lose(found, base):
                self._lose(found, base)

    def _bases(self) -> Iterator[tuple[str, int, int]]:
        """Names that are waited for, by how many, and the first of these."""
        last = ""
        while page := self._db.execute(
            "SELECT base, count(*), min(id) FROM unnamed WHERE base > ? GROUP BY base"
            f" ORDER BY base LIMIT {_PAGE}",
            (last,),
        ).fetchall():
            yield from page
            last = page[-1][0]

    def _try_level(self, level: int) -> None:
        self._db.execute("UPDATE unnamed SET name = other_name(place, ?)", (level,))
        self._db.execute(
            "UPDATE unnamed SET name = NULL WHERE name IN"
            " (SELECT name FROM unnamed GROUP BY name HAVING count(*) > 1)"
        )
        for row in self._rows("name IS NOT NULL"):
            if not self._is_ambiguous(row.name) and self._is_free(row):
                self._name(row.id, row.name)

    def _is_free(self, row: Waiting) -> bool:
        """Whether no finished asset of another file has the name that is tried."""
        found = self._db.execute(
            "SELECT source_bytes FROM assets WHERE asset_id = ? AND state = 'done'", (row.name,)
        ).fetchone()
        if found is None or not found[0]:
            return True
        try:
            return bool(path_of(row.source).stat().st_size == found[0])
        except (OSError, ValueError):
            return False

    def _name(self, row: int, name: str) -> None:
        """Give a name, if it is no other's of this request."""
        found = self._holder(name)
        if found is None:
            self._db.execute("UPDATE assets SET asset_id = ? WHERE id = ?", (name, row))
            self._db.execute("DELETE FROM unnamed WHERE id = ?", (row,))
        elif found[2] != self._request:
            source, options = self._db.execute(
                "SELECT source, options FROM assets WHERE id = ?", (row,)
            ).fetchone()
            self._take(found[0], source, options, anew=True)
            self._drop(row)

    def _drop(self, row: int) -> None:
        self._db.execute("DELETE FROM assets WHERE id = ?", (row,))
        self._db.execute("DELETE FROM unnamed WHERE id = ?", (row,))

    def _fail(self, row: Waiting) -> None:
        held = self._db.execute(
            "SELECT source FROM assets JOIN unnamed USING (id) WHERE base = ? AND place = ? AND"
            " id < ?",
            (row.base, row.place, row.id),
        ).fetchone()
        found = self._holder(row.base)
        other = held[0] if held else found[1] if found else "another"
        if _SHA256.fullmatch(row.base):
            hint = "They have the same content."
        elif place_of(other) == row.place:
            hint = "They are one file; in a list, --id gives each way to render it its own name."
        else:
            hint = "Give one of them another --id in the list."
        self._db.execute(
            "UPDATE assets SET state = 'failed', reason = 'duplicate-asset', message = ?, hint = ?,"
            " file_type = ? WHERE id = ?",
            (
                f"{row.source} and {other} would both be named {row.base}.",
                hint,
                file_type(row.source),
                row.id,
            ),
        )
        self._db.execute("DELETE FROM unnamed WHERE id = ?", (row.id,))


def find_name(
    db: sqlite3.Connection, request: int, base: str, source: str, options: str | None
) -> str | None:
    """The name that a request gave an asset whose own would be ``base``, if any."""
    for name in (base, *other_names(place_of(source))):
        found = db.execute(
            "SELECT asset_id FROM assets WHERE asset_id = ? AND source = ? AND request = ?"
            " AND options IS ?",
            (name, source, request, options),
        ).fetchone()
        if found is not None:
            return str(found[0])
    return None


def _other_name(place: str, level: int) -> str:
    return next(islice(other_names(place), level, None))


def _json(options: dict[str, Any] | None) -> str | None:
    return json.dumps(options, sort_keys=True) if options else None
