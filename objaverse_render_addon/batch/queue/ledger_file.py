"""The ledger's file: its tables, how it is made and opened, and what goes wrong with it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ...errors import DiskFull, LedgerDamaged, OutputNotWritable, RenderError, from_os_error
from .rows import STATES

__all__ = ["COLUMNS", "believed", "damaged", "error_of", "make_private", "named", "open_ledger"]

_VERSION: Final = 1
_SMALL: Final = 16 << 20
"""Bytes up to which a ledger is read as a whole before a run believes it: tenths of a second."""
_WRONG: Final = (
    sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_FORMAT,
)  # fmt: skip
"""What SQLite says of a file that is not as it was written."""
_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE jobs (fingerprint TEXT PRIMARY KEY, job TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE requests (id INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT UNIQUE NOT NULL);
CREATE TABLE ambiguous (name TEXT PRIMARY KEY COLLATE NOCASE) WITHOUT ROWID;
CREATE TABLE shards (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, host TEXT, pid INTEGER, started REAL, seen REAL, elapsed REAL,
    done INTEGER, failed INTEGER, workers INTEGER, ended TEXT, note TEXT
);
CREATE TABLE assets (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    asset_id TEXT COLLATE NOCASE,
    request INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    replace INTEGER NOT NULL DEFAULT 0,
    options TEXT,
    fingerprint TEXT,
    path TEXT,
    reason TEXT,
    message TEXT,
    hint TEXT,
    log TEXT,
    file_type TEXT,
    license TEXT,
    sha256 TEXT,
    worker TEXT,
    device TEXT,
    views INTEGER,
    bytes INTEGER,
    source_bytes INTEGER,
    seconds REAL,
    stages TEXT,
    warnings TEXT,
    doubts TEXT,
    updated REAL
);
CREATE UNIQUE INDEX by_asset_id ON assets (asset_id);
CREATE INDEX by_state ON assets (request, state, (lost > 1));
CREATE INDEX duplicates ON assets (source) WHERE asset_id IS NULL;
"""
COLUMNS: Final = tuple(
    line.split()[0]
    for line in _SCHEMA[_SCHEMA.index("assets (") : _SCHEMA.index("CREATE UNIQUE")].splitlines()
    if line.startswith("    ")
)
"""Of the table ``assets``."""


def open_ledger(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection to the ledger at ``path``; made if it is not there and may be written.

    Raises:
        LedgerDamaged: The file is none, or of a newer version.
        OutputNotWritable, DiskFull
    """
    db = None
    if path.is_dir():
        raise damaged(path, "it is a folder")
    try:
        if read_only:
            db = _connect_to_read(path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            # An empty file is what a process leaves that dies at the first moment.
            if not path.exists() or not path.stat().st_size:
                _make(path)
            db = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA cache_size = -131072")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == _VERSION and not read_only and path.stat().st_size <= _SMALL:
            _look_through(db, path)
    except LedgerDamaged:
        if db is not None:
            db.close()
        raise
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if db is not None:
            db.close()
        raise error_of(error, path) from error
    if version != _VERSION:
        db.close()
        raise LedgerDamaged(
            f"{path} is a ledger of version {version}; this program knows {_VERSION}.",
            hint="Use the program's newest version.",
        )
    return db


def _look_through(db: sqlite3.Connection, path: Path) -> None:
    """Whether a ledger is what was written: a run that believes another one loses assets.

    Raises:
        LedgerDamaged
    """
    (said,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    if said != "ok":
        raise damaged(path, said.splitlines()[-1])
    states = ", ".join(f"'{state}'" for state in STATES)
    strange = db.execute(
        "SELECT id FROM assets WHERE typeof(request) != 'integer' OR typeof(source) != 'text'"
        " OR typeof(attempts) != 'integer' OR typeof(asset_id) NOT IN ('text', 'null')"
        f" OR state NOT IN ({states}) LIMIT 1"
    ).fetchone()
    if strange is not None:
        raise damaged(path, f"row {strange[0]} is none that was written")


def _make(path: Path) -> None:
    """An empty ledger, whole from its first moment, for those who read."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    db = sqlite3.connect(part, isolation_level=None)
    try:
        db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        db.close()
    except BaseException:
        db.close()
        part.unlink(missing_ok=True)
        raise
    # What lies beside belongs to one that is gone.
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    part.replace(path)


def make_private(path: Path) -> None:
    """Let nobody else read a ledger: an address in it has a password or a signature."""
    for ending in ("", "-wal", "-shm"):
        # Where others own it, or the file system knows no rights, it stays as it is.
        with contextlib.suppress(OSError):
            path.with_name(path.name + ending).chmod(0o600)


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing and leaves no file behind.

    To read a ledger SQLite makes files beside it (https://sqlite.org/wal.html), and who closes it
    last removes them, which takes the right to write. Where nobody may write, those of a run that
    is at work are used, and where there are none, nobody is at work.
    """
    for access in ("mode=rw", "mode=ro", "mode=ro&immutable=1"):
        uri = f"{path.resolve().as_uri()}?{access}"
        db = None
        try:
            db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)
            db.execute("PRAGMA query_only = ON")
            db.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            if db is not None:
                db.close()
            denied = error.sqlite_errorcode & 0xFF in (
                sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY,
            )  # fmt: skip
            if not denied or "immutable" in access:
                raise
        else:
            return db
    raise AssertionError


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Gives what SQLite raises a name of ours.

    Raises:
        DiskFull, LedgerDamaged, OutputNotWritable
    """
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise error_of(error, path) from error


@contextlib.contextmanager
def believed(path: Path) -> Iterator[None]:
    """What is read from a ledger is used; where that cannot be, it is not what was written.

    Raises:
        LedgerDamaged
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from error


def damaged(path: Path, why: str) -> LedgerDamaged:
    """The error for a ledger that says what none says."""
    return LedgerDamaged(
        f"{path} cannot be read as a ledger: {why}.",
        hint="Move it away; finished assets are found again by their files.",
    )


def error_of(error: sqlite3.Error | UnicodeDecodeError, path: Path) -> RenderError:
    """The name of ours for what SQLite raised."""
    if isinstance(error, UnicodeDecodeError) or "decode to UTF-8" in str(error):
        # Python's own word, which has no code.
        return damaged(path, str(error))
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return DiskFull(
            f"The ledger {path} cannot be written: {error}.",
            hint="Make room and run the same command again; --state puts it elsewhere.",
        )
    if code in _WRONG:
        return damaged(path, str(error))
    return OutputNotWritable(
        f"The ledger {path} cannot be used: {error}.",
        hint="Run the same command again when it can; --state puts it elsewhere.",
    )
