"""Where bytes come from: the local file system, or one of fsspec's, behind the same few methods.

Local paths need nothing but Python; URLs (``s3://…``, ``https://…``) go through fsspec, which the
extra ``remote`` installs.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from ..assets.protocols import url_to_fs
from ..errors import DownloadFailed, SourceNotFound, TruncatedFile, UnsafeData

__all__ = ["INDEX", "FileSystem", "file_system", "is_url", "last_part"]

INDEX: Final = ".index.json"
"""What a shard's index is called, instead of ``.tar``."""

_CHUNK: Final = 1 << 18


def is_url(where: str | os.PathLike[str]) -> bool:
    r"""Whether fsspec is to open this: ``s3://…``, but not ``C:\\…``."""
    return "://" in os.fspath(where)


def last_part(path: str) -> str:
    """Name of the file or folder that a path or URL ends with."""
    return path.replace(os.sep, "/").rstrip("/").rpartition("/")[2]



class FileSystem(Protocol):
    """A file system: the local one, or one of fsspec's."""

    base: str
    options: Mapping[str, Any]

    def join(self, *parts: str) -> str:
        """One path of several parts."""

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder."""

    def is_file(self, path: str) -> bool:
        """Whether there is a file."""

    def entries(self, folder: str) -> list[tuple[str, bool]]:
        """Names in a folder, and whether each is a folder itself."""

    def size(self, path: str) -> int:
        """Bytes of a file."""

    def stamp(self, path: str) -> object:
        """Changes when a shard or its index does; ``None`` where that cannot be told cheaply."""

    def open(self, path: str) -> BinaryIO:
        """A file to read and seek in."""

    def read(self, path: str, most: int) -> bytes:
        """The first bytes of a file."""

    def leads_out(self, path: str, folder: str) -> bool:
        """Whether a file of a folder is a link to somewhere else."""


def file_system(where: str | os.PathLike[str], options: Mapping[str, Any] | None) -> FileSystem:
    """The file system of a path or URL, which it has as ``base``."""
    where = os.fspath(where)
    return _Remote(where, options or {}) if is_url(where) else _Local(where)


class _Local:
    options: Mapping[str, Any] = {}

    def __init__(self, base: str) -> None:
        self.base = str(Path(base).expanduser())

    def join(self, *parts: str) -> str:
        return str(Path(*parts))

    def is_folder(self, path: str) -> bool:
        return Path(path).is_dir()

    def is_file(self, path: str) -> bool:
        return Path(path).is_file()

    def entries(self, folder: str) -> list[tuple[str, bool]]:
        try:
            with os.scandir(folder) as found:
                return [(entry.name, entry.is_dir()) for entry in found]
        except OSError as error:
            raise SourceNotFound(f"{folder} cannot be listed: {error.strerror}.") from error

    def size(self, path: str) -> int:
        return Path(path).stat().st_size

    def stamp(self, path: str) -> object:
        stamps: list[tuple[int, int] | None] = []
        for name in (path, path.removesuffix(".tar") + INDEX):
            try:
                found = Path(name).stat()
            except OSError:
                stamps.append(None)
            else:
                stamps.append((found.st_mtime_ns, found.st_size))
        return tuple(stamps)

    def open(self, path: str) -> BinaryIO:
        try:
            return _regular(path)
        except FileNotFoundError as error:
            raise SourceNotFound(f"{path} does not exist.") from error
        except OSError as error:
            raise TruncatedFile(f"{path} cannot be read: {error.strerror}.") from error

    def read(self, path: str, most: int) -> bytes:
        with _regular(path) as file:
            return file.read(most)

    def leads_out(self, path: str, folder: str) -> bool:
        file = Path(path)
        return file.is_symlink() and not file.resolve().is_relative_to(Path(folder).resolve())


def _regular(path: str) -> BinaryIO:
    """A file, open; a pipe or a device, which might never end or begin, is refused.

    Raises:
        UnsafeData, OSError
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    number = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise UnsafeData(f"{path} is no file, but a pipe, a device or a folder.")
    return os.fdopen(number, "rb")


class _Remote:
    def __init__(self, base: str, options: Mapping[str, Any]) -> None:
        self.base, self.options = base.rstrip("/"), options
        try:
            self._fs, _ = url_to_fs(self.base, f"Reading {base}", options)
        except ValueError as error:
            raise SourceNotFound(f"{base} cannot be opened: {error}.") from error

    def join(self, *parts: str) -> str:
        return "/".join(parts)

    def is_folder(self, path: str) -> bool:
        return bool(self._ask("isdir", path))

    def is_file(self, path: str) -> bool:
        return bool(self._ask("isfile", path))

    def entries(self, folder: str) -> list[tuple[str, bool]]:
        found = self._ask("ls", folder, detail=True)
        pairs = [(last_part(entry["name"]), entry["type"] == "directory") for entry in found]
        return [(name, is_folder) for name, is_folder in pairs if name]

    def size(self, path: str) -> int:
        size = self._ask("size", path)
        if size is None:
            raise DownloadFailed(f"{path}: the server does not say how large it is.")
        return int(size)

    def stamp(self, path: str) -> object:  # noqa: ARG002
        # Asking would cost as much as reading; what is remote is taken to stay as it is.
        return None

    def leads_out(self, path: str, folder: str) -> bool:  # noqa: ARG002
        return False

    def open(self, path: str) -> BinaryIO:
        return io.BufferedReader(_RemoteFile(self, path, self.size(path)), _CHUNK)

    def read(self, path: str, most: int) -> bytes:
        return self.range(path, 0, min(most, self.size(path)))

    def range(self, path: str, start: int, end: int) -> bytes:
        """Bytes from ``start`` up to ``end``; both within the file."""
        if start >= end:
            return b""
        data = bytes(self._ask("cat_file", path, start=start, end=end))
        # Some servers know no ranges and send everything.
        return data if len(data) <= end - start else data[start:end]

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            return getattr(self._fs, method)(path, **arguments)
        except FileNotFoundError as error:
            raise SourceNotFound(f"{path} does not exist.") from error
        except Exception as error:  # Each file system has its own.
            words = str(error) or type(error).__name__
            raise DownloadFailed(f"{path} cannot be read: {words}.") from error


class _RemoteFile(io.RawIOBase):
    """A remote file to seek in, fetched in ranges."""

    def __init__(self, store: _Remote, path: str, size: int) -> None:
        self._store, self._path, self._size, self._at = store, path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError("before the beginning")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        data = self._store.range(self._path, self._at, end)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
