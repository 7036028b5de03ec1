"""How the catalogue's index is made: SQLite, from the annotation files, once.

Rows stand in the order of likes, so that the best matches of a search are the first ones that a
scan meets and no search has to look at all of them. What narrows a search down by equality
(licence, category, animated …) is a word of the full-text index too: SQLite then intersects
lists instead of reading rows.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from ..errors import DownloadFailed, Interrupted, MissingDependency, RenderError, from_os_error
from .annotations import LVIS, SHARDS, AnnotationFiles, Damaged
from .entry import CatalogueEntry, description_of
from .licenses import license_of
from .text import clean

__all__ = ["APPLICATION", "VERSION", "build", "searchable", "spaced", "thumbnail_url"]

VERSION: Final = 1
APPLICATION: Final = 0x4F424A56
"""SQLite's ``user_version`` and ``application_id`` of an index that this code made."""

_DOWNLOADS: Final = 4
_BATCH: Final = 2000

IndexProgress = Callable[[str, int, int], None]
"""Called with what is done (``annotations``, ``index``), so far, of how many."""

_SCHEMA: Final = """
CREATE TABLE shards (
    name TEXT PRIMARY KEY, stamp TEXT, identity TEXT, rows INTEGER, problem TEXT
);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE licences (id INTEGER PRIMARY KEY, text TEXT, key TEXT);
CREATE TABLE authors (id INTEGER PRIMARY KEY, name TEXT, username TEXT, url TEXT);
CREATE TABLE categories (id INTEGER PRIMARY KEY, name TEXT, count INTEGER);
CREATE TABLE assets (
    id INTEGER PRIMARY KEY, uid BLOB, lot INTEGER, shard INTEGER, name TEXT, licence INTEGER,
    author INTEGER, faces INTEGER, vertices INTEGER, animations INTEGER, textures INTEGER,
    size INTEGER, likes INTEGER, views INTEGER, published TEXT, restricted INTEGER,
    thumbnail TEXT, tags TEXT, categories TEXT, lvis TEXT
);
CREATE VIRTUAL TABLE words USING fts5(
    name, tags, description, author, facets,
    content='', columnsize=0, tokenize='porter unicode61 remove_diacritics 2'
);
"""
_COLUMNS: Final = (
    "uid, lot, shard, name, licence, author, faces, vertices, animations, textures, size, likes, "
    "views, published, restricted, thumbnail, tags, categories, lvis"
)
_STAGED: Final = f"{_COLUMNS}, words_tags, words_description, words_author, facets"
_INSERT: Final = f"INSERT INTO staging.rows VALUES ({', '.join('?' * len(_STAGED.split(',')))})"
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# Scripts without spaces between words: kana, Han, Hangul.
_UNSPACED: Final = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af])")


def searchable(text: str) -> str:
    """Text as the index sees it: ``OfficeChair`` as one word and as two, 椅子 letter by letter."""
    split = _CAMEL.sub(" ", text)
    if split != text:
        text = f"{text} {split}"
    return spaced(text)


def spaced(text: str) -> str:
    """Letters of scripts without spaces between words, one by one."""
    return text if text.isascii() else _UNSPACED.sub(r" \1 ", text)


def build(
    files: AnnotationFiles,
    target: Path,
    *,
    on_progress: IndexProgress | None = None,
    cancel: threading.Event | None = None,
) -> None:
    """Make the index at ``target`` from the annotation files; fetch those that are missing.

    Without the network it takes those that are here; the index then knows that it is not all.
    It appears whole under its name, or not at all.

    Raises:
        OnlineAccessDenied: There is no annotation file here, and the network may not be used.
        DownloadFailed: A file cannot be fetched; what was fetched stays.
        MissingDependency: This Python's SQLite has no full-text search.
        OutputNotWritable, DiskFull
        Interrupted: By ``cancel``.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
    except OSError as error:
        raise from_os_error(error, str(target.parent)) from error
    part = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.part")
    staging = part.with_suffix(".staging")
    try:
        _Builder(files, part, staging, on_progress or _ignore, cancel or threading.Event()).run()
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise from_os_error(error, str(target)) from error
    except sqlite3.Error as error:
        raise _named(error, target) from error
    finally:
        for path in (part, staging):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _named(error: sqlite3.Error, target: Path) -> RenderError:
    if "fts5" in str(error):
        return MissingDependency(
            f"This Python's SQLite has no full-text search: {error}.",
            hint="Use another build of Python; those of python.org and of Blender have it.",
        )
    full = getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
    return from_os_error(OSError(28 if full else 5, str(error)), str(target))


def _remove_leftovers(target: Path) -> None:
    """What killed builds left a day ago or longer."""
    for path in target.parent.glob(f".{target.name}.*"):
        if time.time() - path.stat().st_mtime > 86400:
            path.unlink(missing_ok=True)


def _ignore(_: str, __: int, ___: int) -> None:
    pass


class _Builder:
    def __init__(
        self, files: AnnotationFiles, part: Path, staging: Path, on_progress: IndexProgress,
        cancel: threading.Event,
    ) -> None:  # fmt: skip
        self.files, self.on_progress, self.cancel = files, on_progress, cancel
        self.part, self.staging = part, staging
        self.licenses: dict[str, int] = {}
        self.authors: dict[tuple[str, str, str], int] = {}
        self.lvis: dict[bytes, tuple[str, ...]] = {}
        self.known: set[int] = set()
        self.categories: dict[str, int] = {}

    def run(self) -> None:
        self.part.unlink(missing_ok=True)
        self.staging.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(self.part, isolation_level=None)) as base:
            # Nobody sees the file before it is whole: no journal, no waiting for the disk.
            base.execute("PRAGMA journal_mode = OFF")
            base.execute("PRAGMA synchronous = OFF")
            base.execute("PRAGMA cache_size = -65536")
            base.execute("PRAGMA temp_store = FILE")
            base.executescript(_SCHEMA)
            base.create_function("searchable", 1, searchable, deterministic=True)
            base.execute("ATTACH ? AS staging", (str(self.staging),))
            base.execute("PRAGMA staging.journal_mode = OFF")
            base.execute("PRAGMA staging.synchronous = OFF")
            base.execute(f"CREATE TABLE staging.rows ({_STAGED})")
            base.execute("CREATE TABLE staging.ranks (id INTEGER PRIMARY KEY, source INTEGER)")
            self._read(base)
            self._write(base)
            base.execute("DETACH staging")
            base.execute(f"PRAGMA application_id = {APPLICATION}")
            base.execute(f"PRAGMA user_version = {VERSION}")
            base.execute("ANALYZE assets")

    # --- Annotation files to rows, shard by shard

    def _read(self, base: sqlite3.Connection) -> None:
        names = [LVIS, *SHARDS]
        stop = threading.Event()
        pool = ThreadPoolExecutor(_DOWNLOADS, "objaverse-annotations")
        with contextlib.ExitStack() as stack:
            if self.files.online:
                stack.enter_context(self.files.connected())
            stack.enter_context(pool)
            pending = {
                name: pool.submit(self._fetched, name, stop)
                for name in names
                if self.files.online and not self.files.path(name).is_file()
            }
            try:
                for count, name in enumerate(names):
                    self.on_progress("annotations", count, len(names))
                    self._await(pending.get(name))
                    self._take(base, name)
            finally:
                stop.set()
                for waiting in pending.values():
                    waiting.cancel()
        self.on_progress("annotations", len(names), len(names))
        if not base.execute("SELECT count(*) FROM shards WHERE rows > 0").fetchone()[0]:
            # Says why, from the place that knows.
            self.files.fetch(SHARDS[0], self.cancel)
            raise DownloadFailed("The annotation files of Objaverse have no object in them.")

    def _fetched(self, name: str, stop: threading.Event) -> None:
        if not stop.is_set():
            self.files.fetch(name, stop)

    def _await(self, download: Future[None] | None) -> None:
        while download is not None and not download.done():
            self._check()
            with contextlib.suppress(TimeoutError):
                download.exception(0.1)
        self._check()
        if download is not None:
            download.result()

    def _check(self) -> None:
        if self.cancel.is_set():
            raise Interrupted("The making of the index was stopped.")

    def _take(self, base: sqlite3.Connection, name: str) -> None:
        """One file into the staging table; one that is damaged is fetched again, once."""
        take = self._take_lvis if name == LVIS else self._take_shard
        identity, rows, problem = self.files.identity(name), 0, "not on this machine"
        if identity:
            try:
                rows, problem = take(base, name), ""
            except Damaged as error:
                if self.files.online:
                    self.files.fetch(name, self.cancel)
                    identity = self.files.identity(name)
                    try:
                        rows, problem = take(base, name), ""
                    except Damaged as again:
                        self.files.path(name).unlink(missing_ok=True)
                        raise DownloadFailed(
                            f"{again}, also after it was fetched again.",
                            hint="The mirror may have a damaged copy.",
                        ) from again
                else:
                    problem = str(error)
        base.execute(
            "INSERT INTO shards VALUES (?, ?, ?, ?, ?)",
            (name, self.files.stamp(name), identity, rows, problem),
        )

    def _take_lvis(self, _: sqlite3.Connection, __: str) -> int:
        found: dict[bytes, tuple[str, ...]] = {}
        for category, uids in self.files.lvis().items():
            name = clean(category, 100).replace(", ", " ")
            self.categories.setdefault(name, len(self.categories) + 1)
            for uid in uids:
                key = bytes.fromhex(uid)
                found[key] = (*found.get(key, ()), name)
        self.lvis = found
        return len(found)

    def _take_shard(self, base: sqlite3.Connection, name: str) -> int:
        number = SHARDS.index(name)
        last = _last_row(base)
        count = 0
        batch: list[tuple[Any, ...]] = []
        base.execute("BEGIN")
        try:
            for uid, record in self.files.records(name):
                batch.append(self._row(uid, record, number))
                count += 1
                if len(batch) >= _BATCH:
                    self._check()
                    base.executemany(_INSERT, batch)
                    batch.clear()
            base.executemany(_INSERT, batch)
        except Damaged:
            # There is no journal to roll back with.
            base.execute("DELETE FROM staging.rows WHERE rowid > ?", (last,))
            raise
        finally:
            base.execute("COMMIT")
        return count

    def _row(self, uid: str, record: dict[str, Any], shard: int) -> tuple[Any, ...]:
        key = bytes.fromhex(uid)
        entry = CatalogueEntry.from_record(uid, record, "", self.lvis.get(key, ()))
        license = self._license(entry.license_text)
        tags, categories = ", ".join(entry.tags), ", ".join(entry.categories)
        facets = ["o1", f"c{license}" if license in self.known else "c0"]
        facets += [f"l{self.categories[category]}" for category in entry.lvis]
        if entry.age_restricted:
            facets.append("r1")
        if entry.animations is not None:
            facets.append(f"a{int(entry.animations > 0)}")
        if entry.textures is not None:
            facets.append(f"t{int(entry.textures > 0)}")
        return (
            key,
            int(uid[:8], 16) & 0x7FFFFFFF,
            shard,
            entry.name,
            license,
            self._author(entry.author, entry.username, entry.author_url),
            entry.faces,
            entry.vertices,
            entry.animations,
            entry.textures,
            entry.size,
            entry.likes,
            entry.views,
            entry.published,
            int(entry.age_restricted),
            entry.thumbnail.removeprefix(_USUAL.format(uid=uid)),
            tags,
            categories,
            ", ".join(entry.lvis),
            searchable(f"{tags} {categories} {' '.join(entry.lvis)}"),
            searchable(description_of(record)),
            searchable(f"{entry.author} {entry.username}"),
            " ".join(facets),
        )

    def _license(self, text: str) -> int:
        number = self.licenses.get(text)
        if number is None:
            number = self.licenses[text] = len(self.licenses) + 1
            if license_of(text).known:
                self.known.add(number)
        return number

    def _author(self, name: str, username: str, url: str) -> int:
        return self.authors.setdefault((name, username, url), len(self.authors) + 1)

    # --- Rows in the order of likes to the index

    def _write(self, base: sqlite3.Connection) -> None:
        base.execute("BEGIN")
        base.executemany(
            "INSERT INTO licences VALUES (?, ?, ?)",
            ((number, text, license_of(text).key) for text, number in self.licenses.items()),
        )
        base.executemany(
            "INSERT INTO authors VALUES (?, ?, ?, ?)",
            ((number, *author) for author, number in self.authors.items()),
        )
        # An object that two files have counts once.
        base.execute(
            "INSERT INTO staging.ranks (source) SELECT min(rowid) FROM staging.rows GROUP BY uid "
            "ORDER BY likes DESC, views DESC, uid"
        )
        total = base.execute("SELECT count(*) FROM staging.ranks").fetchone()[0]
        # FTS5 collects this many bytes before it writes them out; its 1 MiB makes many small parts.
        base.execute("INSERT INTO words (words, rank) VALUES ('hashsize', 33554432)")
        for first in range(0, total, _BATCH):
            self.on_progress("index", first, total)
            self._check()
            source = (
                f"FROM staging.ranks CROSS JOIN staging.rows ON rows.rowid = ranks.source "
                f"WHERE ranks.id > {first} AND ranks.id <= {first + _BATCH} ORDER BY ranks.id"
            )
            base.execute(
                f"INSERT INTO assets (id, {_COLUMNS}) SELECT ranks.id, {_COLUMNS} {source}"
            )
            base.execute(
                "INSERT INTO words (rowid, name, tags, description, author, facets) "
                "SELECT ranks.id, searchable(name), words_tags, words_description, words_author, "
                f"facets {source}"
            )
        base.execute("INSERT INTO words (words) VALUES ('optimize')")
        base.execute("CREATE UNIQUE INDEX assets_uid ON assets (uid)")
        # Of the objects that are here, which may be fewer than the category's list has.
        base.executemany(
            "INSERT INTO categories SELECT ?1, ?2, count(*) FROM words WHERE words MATCH ?3",
            ((n, name, f'facets:"l{n}"') for name, n in self.categories.items()),
        )
        base.execute("INSERT INTO facts VALUES ('objects', ?)", (str(total),))
        base.execute("COMMIT")
        self.on_progress("index", total, total)


def _last_row(base: sqlite3.Connection) -> int:
    return int(base.execute("SELECT max(rowid) FROM staging.rows").fetchone()[0] or 0)


# Most addresses begin so; what they repeat is not stored.
_USUAL: Final = "https://media.sketchfab.com/models/{uid}/thumbnails/"


def thumbnail_url(stored: str, uid: str) -> str:
    """The address that :func:`build` stored; empty where there is none."""
    return stored if not stored or "://" in stored else _USUAL.format(uid=uid) + stored
