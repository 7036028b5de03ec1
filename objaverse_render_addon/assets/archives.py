"""Archives from strangers: nothing leaves the folder, nothing links, nothing swells."""

from __future__ import annotations

import functools
import re
import shutil
import stat
import sys
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from ..errors import Interrupted, TruncatedFile, UnsafeData, from_os_error

__all__ = ["check_zip", "pack", "safe_member", "unpack"]

MAX_BYTES: Final = 32 << 30
MAX_MEMBERS: Final = 1_000_000
_RATIO: Final = 200
"""Text compresses to a fiftieth; more than this, beyond a few megabytes, is a bomb."""
_SMALL: Final = 64 << 20
_DEVICES: Final = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def safe_member(name: str, where: str) -> str:
    """A member's path below its archive, with forward slashes.

    Raises:
        UnsafeData: It leads elsewhere, on some system or other.
    """
    kept = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    bad = not kept or name.startswith(("/", "\\")) or ".." in kept or "\0" in name
    bad = bad or re.match(r"[A-Za-z]:", kept[0]) is not None
    if sys.platform == "win32":
        bad = bad or any(":" in part or _DEVICES.match(part) for part in kept)
    if bad:
        raise UnsafeData(
            f"{where} has a member {name[:200]!r}, which leads out of it.",
            hint="Do not use it; fetch it from where it is made.",
        )
    return "/".join(kept)


def check_zip(path: Path, name: str = "") -> None:
    """Look at a zip's directory without unpacking it, as a .usdz is read.

    Raises:
        UnsafeData, TruncatedFile
    """
    where = name or str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _check(where, path, ((i.filename, i.file_size) for i in archive.infolist()))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
        raise TruncatedFile(f"{where} is damaged: {error}.", hint="Fetch it again.") from error


def unpack(path: Path, folder: Path, cancel: threading.Event | None = None) -> None:
    """Unpack a ``.zip``, ``.tar`` or ``.tar.gz`` into a folder; links and devices are left out.

    Raises:
        UnsafeData: A member leads out of the folder, or there is too much of them.
        TruncatedFile: The archive is damaged.
        OutputNotWritable, DiskFull
        Interrupted: By ``cancel``.
    """
    kind = _unpack_zip if zipfile.is_zipfile(path) else _unpack_tar
    try:
        kind(path, folder, cancel)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, RuntimeError) as error:
        raise TruncatedFile(f"{path} is damaged: {error}.", hint="Fetch it again.") from error
    except OSError as error:
        raise from_os_error(error, str(folder)) from error


def _unpack_zip(path: Path, folder: Path, cancel: threading.Event | None) -> None:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        _check(str(path), path, ((info.filename, info.file_size) for info in infos))
        count = _Counter(path, cancel)
        for info in infos:
            kind = stat.S_IFMT(info.external_attr >> 16)
            if not info.is_dir() and kind in (0, stat.S_IFREG):
                count.copy(functools.partial(archive.open, info), info.filename, folder)


def _unpack_tar(path: Path, folder: Path, cancel: threading.Event | None) -> None:
    with tarfile.open(path, "r:*") as archive:
        count = _Counter(path, cancel)
        for info in archive:
            name = safe_member(info.name, str(path)) if info.name not in (".", "./") else ""
            if info.isreg() and name:
                count.copy(functools.partial(archive.extractfile, info), name, folder)
            else:
                count.one_more()


class _Counter:
    """How much came out, for what an archive says of itself need not be true."""

    def __init__(self, path: Path, cancel: threading.Event | None) -> None:
        self._path, self._cancel = path, cancel
        self._bytes, self._members = 0, 0
        self._limit = _limit(path)

    def one_more(self) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise UnsafeData(f"{self._path} has more than {MAX_MEMBERS} members.")
        if self._cancel is not None and self._cancel.is_set():
            raise Interrupted(f"Unpacking {self._path} was stopped.")

    def copy(self, source: Callable[[], IO[bytes] | None], name: str, folder: Path) -> None:
        self.one_more()
        target = folder / safe_member(name, str(self._path))
        target.parent.mkdir(parents=True, exist_ok=True)
        stream = source()
        assert stream is not None
        with stream, target.open("wb") as file:
            while chunk := stream.read(1 << 20):
                self._bytes += len(chunk)
                if self._bytes > self._limit:
                    raise _bomb(str(self._path), self._limit)
                file.write(chunk)


def _limit(path: Path) -> int:
    return min(MAX_BYTES, max(_SMALL, _RATIO * path.stat().st_size))


def _bomb(where: str, limit: int) -> UnsafeData:
    return UnsafeData(
        f"{where} unpacks to more than {limit} bytes.",
        hint="Do not use it; fetch it from where it is made.",
    )


def _check(where: str, path: Path, members: Iterator[tuple[str, int]]) -> None:
    total, limit = 0, _limit(path)
    for number, (name, size) in enumerate(members, 1):
        safe_member(name, where)
        total += size
        if number > MAX_MEMBERS:
            raise UnsafeData(f"{where} has more than {MAX_MEMBERS} members.")
        if total > limit:
            raise _bomb(where, limit)


def pack(folder: Path, target: Path, kind: str) -> None:
    """Write a folder as the ``objaverse`` package writes a repository.

    Args:
        kind: ``zip`` (members from the folder's inside), ``tar`` or ``tar.gz`` (below its name).
    """
    if kind == "zip":
        made: Any = shutil.make_archive(str(target.with_suffix("")), "zip", folder)
        Path(made).replace(target)
        return
    with tarfile.open(target, "w:gz" if kind == "tar.gz" else "w") as archive:
        archive.add(folder, arcname=folder.name)
