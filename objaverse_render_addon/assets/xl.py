"""Objaverse-XL: what its catalogue says of an object, and where the ``objaverse`` package puts it.

The catalogue is one Parquet file per site, in the ``objaverse`` package's place
(``~/.objaverse/<site>/<site>.parquet``). It has millions of rows; a look-up goes through a small
database beside it, made once.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..errors import (
    DownloadFailed,
    Interrupted,
    MissingDependency,
    OnlineAccessDenied,
    from_os_error,
)
from ..locks import locked
from .download import ByteProgress, Session, download, hub_endpoint
from .sources import GITHUB, THING

__all__ = ["GitHubObject", "Record", "XLCatalogue", "github_object", "site_target"]

THINGIVERSE: Final = "https://www.thingiverse.com"
_REPOSITORY: Final = "datasets/allenai/objaverse-xl/resolve/main"
_VERSION: Final = 1


class Record(NamedTuple):
    """What the catalogue says of an object; empty where it says nothing."""

    sha256: str
    license: str
    metadata: str


class GitHubObject(NamedTuple):
    """A file of one commit of a repository."""

    owner: str
    repository: str
    commit: str
    path: str


def github_object(identifier: str) -> GitHubObject | None:
    """The parts of ``https://github.com/<owner>/<repository>/blob/<commit>/<path>``."""
    match = GITHUB.fullmatch(identifier)
    if match is None or any(set(name) <= {"."} for name in match.groups()[:2]):
        return None
    return GitHubObject(*match.groups())


def site_target(identifier: str, folder: Path) -> tuple[str, Path]:
    """Address and cached file of an object of Thingiverse or the Smithsonian.

    The names are the ``objaverse`` package's.
    """
    thing = THING.fullmatch(identifier)
    if thing:
        name = f"thing-{thing[1]}-file-{thing[2]}.stl"
        return f"{THINGIVERSE}/download:{thing[2]}", folder / "thingiverse" / name
    name = f"{uuid.uuid5(uuid.NAMESPACE_DNS, identifier)}.glb"
    return identifier, folder / "smithsonian" / "objects" / name


class XLCatalogue:
    """The catalogue of Objaverse-XL, from any number of threads.

    Args:
        folder: The ``objaverse`` package's folder.
        session: What to fetch it through, where the network may be used.
    """

    def __init__(
        self, folder: Path, session: Session | None, endpoint: str | None = None
    ) -> None:
        self._folder, self._session = folder, session
        self._base = f"{hub_endpoint(endpoint)}/{_REPOSITORY}"
        self._ready: dict[str, Path] = {}

    def find(
        self,
        site: str,
        identifier: str,
        on_progress: ByteProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> Record | None:
        """What is known of an object; nothing where the catalogue does not have it.

        Raises:
            MissingDependency: No pyarrow.
            OnlineAccessDenied: The catalogue is not here, and the network may not be used.
            DownloadFailed, OutputNotWritable, DiskFull, Interrupted
        """
        index = self._ready.get(site)
        if index is None:
            index = self._ready[site] = self._prepare(site, on_progress, cancel)
        with contextlib.closing(_connect(index)) as base:
            row = base.execute(
                "SELECT sha256, license, metadata FROM objects WHERE key = ?", (_key(identifier),)
            ).fetchone()
        return Record((row[0] or b"").hex(), row[1] or "", row[2] or "") if row else None

    def is_here(self, site: str) -> bool:
        """Whether a site's catalogue has been fetched."""
        return (self._folder / site / f"{site}.parquet").is_file()

    def _prepare(
        self, site: str, on_progress: ByteProgress | None, cancel: threading.Event | None
    ) -> Path:
        table = self._folder / site / f"{site}.parquet"
        index = table.with_name(f".{site}-index-{_VERSION}.sqlite")
        if _fits(index, table):
            return index
        if _rows(table) is None:
            self._fetch(site, table, on_progress, cancel)
        try:
            with locked(index.with_suffix(".lock"), cancel):
                if not _fits(index, table):
                    _build(table, index, cancel)
        except OSError as error:
            raise from_os_error(error, str(index)) from error
        return index

    def _fetch(
        self,
        site: str,
        table: Path,
        on_progress: ByteProgress | None,
        cancel: threading.Event | None,
    ) -> None:
        if self._session is None:
            raise OnlineAccessDenied(
                f"Objaverse-XL's catalogue {table} is not here, or damaged, and online access is "
                "switched off.",
                hint="Fetch it online first.",
            )
        url = f"{self._base}/{site}/{site}.parquet"

        def finish(part: Path) -> Path:
            if _rows(part) is None:
                raise DownloadFailed(f"{url} is no Parquet file.", hint="Try again.")
            return table

        download(
            self._session, url, table, on_progress=on_progress, cancel=cancel,
            found=lambda: table if _rows(table) is not None else None, finish=finish,
        )  # fmt: skip


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependency(
            "Objaverse-XL's catalogue needs pyarrow.",
            hint='Install it with: pip install "objaverse-render-addon[xl]"',
        ) from error
    return pyarrow


def _rows(table: Path) -> int | None:
    """Of a whole Parquet file; older tools write it in place and may leave half of it."""
    pyarrow = _pyarrow()
    try:
        with pyarrow.parquet.ParquetFile(table) as file:
            return int(file.metadata.num_rows)
    except (OSError, pyarrow.ArrowException):
        return None


def _key(identifier: str) -> bytes:
    return hashlib.blake2b(identifier.encode(), digest_size=12).digest()


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)


def _fits(index: Path, table: Path) -> bool:
    try:
        state = table.stat()
        with contextlib.closing(_connect(index)) as base:
            found = base.execute("SELECT size, mtime FROM made_from").fetchone()
    except (OSError, sqlite3.Error):
        return False
    return bool(found == (state.st_size, state.st_mtime_ns))


def _build(table: Path, index: Path, cancel: threading.Event | None) -> None:
    state = table.stat()
    part = index.with_suffix(".part")
    part.unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(part)) as base:
            base.executescript(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
                "CREATE TABLE made_from (size INTEGER, mtime INTEGER);"
                "CREATE TABLE objects (key BLOB, sha256 BLOB, license TEXT, metadata TEXT);"
            )
            base.execute(
                "INSERT INTO made_from VALUES (?, ?)", (state.st_size, state.st_mtime_ns)
            )
            base.executemany("INSERT INTO objects VALUES (?, ?, ?, ?)", _read(table, cancel))
            base.execute("CREATE INDEX by_key ON objects (key)")
            base.commit()
        part.replace(index)
    except sqlite3.Error as error:
        raise DownloadFailed(f"{table} cannot be indexed: {error}.") from error
    finally:
        part.unlink(missing_ok=True)


def _read(
    table: Path, cancel: threading.Event | None
) -> Iterator[tuple[bytes, bytes | None, str | None, str | None]]:
    pyarrow = _pyarrow()
    try:
        with pyarrow.parquet.ParquetFile(table) as file:
            names = file.schema_arrow.names
            wanted = [n for n in ("fileIdentifier", "sha256", "license", "metadata") if n in names]
            if "fileIdentifier" not in wanted:
                raise DownloadFailed(f"{table} has no column fileIdentifier.")
            for batch in file.iter_batches(1 << 15, columns=wanted):
                if cancel is not None and cancel.is_set():
                    raise Interrupted(f"Reading {table} was stopped.")
                columns = {n: batch.column(n).to_pylist() for n in wanted}
                nothing = [None] * batch.num_rows
                for identifier, digest, license, metadata in zip(
                    *(columns.get(n, nothing) for n in
                      ("fileIdentifier", "sha256", "license", "metadata")),
                    strict=True,
                ):  # fmt: skip
                    if isinstance(identifier, str):
                        yield (
                            _key(identifier),
                            _digest(digest),
                            license if isinstance(license, str) else None,
                            metadata if isinstance(metadata, str) and metadata != "{}" else None,
                        )
    except pyarrow.ArrowException as error:
        raise DownloadFailed(f"{table} is damaged: {error}.", hint="Remove it.") from error


def _digest(text: Any) -> bytes | None:
    with contextlib.suppress(TypeError, ValueError):
        return bytes.fromhex(text)
    return None
