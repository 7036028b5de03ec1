"""Where finished assets go: a folder of this machine, or any file system that fsspec knows."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from ...assets.protocols import url_to_fs
from ...dataset.filesystems import is_url
from ...dataset.layout import asset_path
from ...dataset.reader import read_metadata
from ...errors import (
    DiskFull,
    DownloadFailed,
    InvalidJob,
    OutputNotWritable,
    RenderError,
    from_os_error,
)
from ...files import write_whole

__all__ = ["STATE", "Store", "no_empty_folders", "open_store", "state_folder"]

STATE: Final = ".state"
"""Folder beside the data that the ledger and what is not packed yet lie in."""


class Store(Protocol):
    """A place for finished assets.

    Attributes:
        address: Path or URL.
        staging: Folder of this machine that workers write to. For a local folder with an archive
            per asset it is that folder itself.
    """

    address: str
    staging: Path

    def name_of(self, asset_id: str) -> str:
        """Name of a finished asset in here."""

    def exists(self, name: str) -> bool:
        """Whether there is something of that name.

        Raises:
            OutputNotWritable: It cannot be seen now.
        """

    def metadata(self, name: str) -> dict[str, Any] | None:
        """Metadata of a finished asset; ``None`` where there is none, or not a whole one.

        Raises:
            OutputNotWritable: It cannot be read now.
        """

    def put(self, local: Path, name: str) -> None:
        """Bring a file or folder from the staging folder here, whole or not at all.

        Raises:
            OutputNotWritable, DiskFull
        """

    def write(self, name: str, data: bytes) -> None:
        """Write a small file, whole or not at all."""

    def names(self) -> list[str]:
        """What is in here, without what is hidden."""

    def where(self, name: str) -> str:
        """Path or URL of what is in here."""

    def check(self) -> None:
        """See whether it can be written to.

        Raises:
            OutputNotWritable, DiskFull
        """

    def free(self) -> tuple[int, int]:
        """Bytes that are free, and that there are at all, where finished assets wait or go."""


def open_store(out: str | Path, layout: str, state: Path | None = None) -> Store:
    """The store at a path or URL.

    Raises:
        ProtocolNotAllowed: There is no such kind of URL here.
        InvalidJob: It is no URL.
        MissingDependency: fsspec, or what it needs for this URL, is not installed.
        OutputNotWritable, DiskFull
    """
    if is_url(out):
        return _RemoteStore(str(out), layout, state or state_folder(out))
    folder = Path(out).expanduser().resolve()
    return _LocalStore(folder, layout, state or folder / STATE)


def state_folder(out: str | Path) -> Path:
    """Folder for the ledger of an output: beside it, or among the user's files if it is remote."""
    if not is_url(out):
        return Path(out).expanduser().resolve() / STATE
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    address = str(out).rstrip("/")
    digest = hashlib.sha256(address.encode()).hexdigest()[:10]
    name = re.sub(r"[^\w-]+", "_", address)[:60]
    return base / "objaverse-render" / f"{name}-{digest}"


@contextlib.contextmanager
def no_empty_folders(*folders: Path) -> Iterator[None]:
    """Of these folders, and those that they lie in, no empty one stays that was made meanwhile."""
    missing = {
        one for folder in folders for one in (folder, *folder.parents) if not one.exists()
    }
    try:
        yield
    finally:
        for folder in sorted(missing, key=lambda one: len(one.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()


class _LocalStore:
    def __init__(self, folder: Path, layout: str, state: Path) -> None:
        self._folder, self._layout = folder, layout
        self.address = str(folder)
        self.staging = state / "staging" if layout == "webdataset" else folder

    def name_of(self, asset_id: str) -> str:
        return asset_path(Path(), asset_id, self._layout).name

    def exists(self, name: str) -> bool:
        try:
            (self._folder / name).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise from_os_error(error, self.where(name)) from error
        return True

    def metadata(self, name: str) -> dict[str, Any] | None:
        return read_metadata(self.where(name))

    def put(self, local: Path, name: str) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part = self._folder / f".{name}.part"
            # The state folder may be on another disk.
            shutil.move(local, part)
            part.replace(self._folder / name)
        except OSError as error:
            raise from_os_error(error, self.where(name)) from error

    def write(self, name: str, data: bytes) -> None:
        write_whole(self._folder / name, data)

    def names(self) -> list[str]:
        try:
            with os.scandir(self._folder) as entries:
                return sorted(entry.name for entry in entries if not entry.name.startswith("."))
        except FileNotFoundError:
            # Not made yet, or another run took it away as it was empty.
            return []
        except OSError as error:
            raise from_os_error(error, self.address) from error

    def where(self, name: str) -> str:
        return str(self._folder / name)

    def check(self) -> None:
        probe = self._folder / f".objaverse-render-{os.getpid()}"
        for last in (False, False, True):
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                probe.touch()
                probe.unlink()
                return
            except OSError as error:
                # Another run may end just now, and take its empty folder with it.
                passing = isinstance(error, FileNotFoundError | FileExistsError)
                if last or not passing:
                    raise from_os_error(error, f"The output folder {self._folder}") from error

    def free(self) -> tuple[int, int]:
        folders = [self._folder]
        if self.staging != self._folder and self.staging.is_dir():
            folders.append(self.staging)  # It may be on another disk.
        usage = min(map(shutil.disk_usage, folders), key=lambda found: found.free)
        return usage.free, usage.total


class _RemoteStore:
    def __init__(self, url: str, layout: str, state: Path) -> None:
        self.address = url.rstrip("/")
        self._layout = layout
        self.staging = state / "staging"
        try:
            self._files, self._base = url_to_fs(self.address, f"Writing to {url}")
        except ValueError as error:
            raise InvalidJob(f"{url} is no place that can be written to: {error}.") from error

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}" if self._base else name

    def name_of(self, asset_id: str) -> str:
        return asset_path(Path(), asset_id, self._layout).name

    def exists(self, name: str) -> bool:
        with _named(self.where(name)):
            # A listing from before would not show what came since.
            self._files.invalidate_cache()
            try:
                self._files.info(self._path(name))  # What `exists` says when it fails is no.
            except FileNotFoundError:
                return False
            return True

    def metadata(self, name: str) -> dict[str, Any] | None:
        try:
            return read_metadata(self.where(name))
        except DownloadFailed as error:
            raise OutputNotWritable(error.message, hint=error.hint) from error

    def put(self, local: Path, name: str) -> None:
        with _named(self.where(name)):
            target = self._path(name)
            if local.is_dir():
                # A folder cannot come at once; what says that it is whole comes last.
                if self._files.exists(target):
                    self._files.rm(target, recursive=True)
                for file in sorted(local.iterdir(), key=lambda file: file.suffix == ".json"):
                    self._put_file(file, f"{target}/{file.name}")
            else:
                self._put_file(local, target)
        if local.is_dir():
            shutil.rmtree(local, ignore_errors=True)
        else:
            local.unlink(missing_ok=True)

    def _put_file(self, local: Path, target: str) -> None:
        parent = target.rpartition("/")[0]
        if parent:
            self._files.makedirs(parent, exist_ok=True)
        if self._appears_whole():
            self._files.put_file(str(local), target)
            return
        folder, _, name = target.rpartition("/")
        part = f"{folder}/.{name}.part"
        self._files.put_file(str(local), part)
        if self._files.exists(target):
            self._files.rm_file(target)
        self._files.mv(part, target)

    def _appears_whole(self) -> bool:
        """Object stores show nothing before it is whole, and renaming there means copying."""
        protocol = self._files.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        return bool(names & {"s3", "s3a", "gs", "gcs", "abfs", "az", "adl", "oss", "memory"})

    def write(self, name: str, data: bytes) -> None:
        local = self.staging / f".{name}.part"
        try:
            self.staging.mkdir(parents=True, exist_ok=True)
            local.write_bytes(data)
        except OSError as error:
            raise from_os_error(error, str(local)) from error
        try:
            with _named(self.where(name)):
                self._put_file(local, self._path(name))
        finally:
            local.unlink(missing_ok=True)

    def names(self) -> list[str]:
        with _named(self.address):
            self._files.invalidate_cache()
            if not self._files.exists(self._base):
                return []
            found = self._files.ls(self._base, detail=False)
        names = (str(path).rstrip("/").rpartition("/")[2] for path in found)
        return sorted(name for name in names if not name.startswith("."))

    def where(self, name: str) -> str:
        return f"{self.address}/{name}"

    def check(self) -> None:
        name = f".objaverse-render-{os.getpid()}"
        self.write(name, b"")
        with _named(self.address):
            self._files.rm_file(self._path(name))

    def free(self) -> tuple[int, int]:
        self.staging.mkdir(parents=True, exist_ok=True)
        usage = shutil.disk_usage(self.staging)
        return usage.free, usage.total


class _named(contextlib.AbstractContextManager[None]):  # noqa: N801 (used like a function)
    """Gives whatever a file system raises a name of ours."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            if error.errno is not None:
                raise from_os_error(error, self._where) from error
            raise OutputNotWritable(f"{self._where} cannot be written: {error}.") from error
        if isinstance(error, Exception) and not isinstance(error, RenderError):
            # Every kind of storage has its own exceptions.
            full = "quota" in str(error).lower() or "no space" in str(error).lower()
            wrong = DiskFull if full else OutputNotWritable
            raise wrong(
                f"{self._where} cannot be written: {type(error).__name__}: {error}."
            ) from error
