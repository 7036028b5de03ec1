"""Where a finished asset's files lie, and how they are fetched: folder, zip, tar or shard.

Everything that is read here came from somewhere else: names that lead
out of an archive, sizes beyond reason and broken headers are refused by name, and nothing is ever
unpacked to disk.
"""

from __future__ import annotations

import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, Protocol

from ..errors import RenderError, SourceNotFound, TruncatedFile, UnsafeData
from .filesystems import INDEX, FileSystem, file_system, last_part
from .guards import RENDER_AGAIN, inside, plain, too_large, within
from .layout import METADATA, folder_in
from .shards import BLOCK, shard_members, tar_members

if TYPE_CHECKING:
    from .reader import AssetReader

__all__ = ["AssetRef", "Files", "find_assets", "open_files"]

# Names that writers of shards give them. Any other archive without an index holds one asset.
_NUMBERED: Final = re.compile(r"(^|[-_])\d{3,}\.tar$")

# Also what zipfile says of another version, another method or a password.
_BROKEN_ZIP: Final = (zipfile.BadZipFile, NotImplementedError, RuntimeError)

StorageKind = Literal["folder", "zip", "tar", "shard"]


@dataclass(frozen=True, slots=True)
class AssetRef:
    """Where a finished asset is. Small, and fit to be pickled: nothing in it is open.

    Attributes:
        id: Name of the asset: its archive's or folder's, or its key in a shard.
        kind: ``folder``, ``zip``, ``tar``, or ``shard`` for a part of a WebDataset shard.
        location: Path or URL of the folder, archive or shard.
        options: What fsspec's file system was opened with.
    """

    id: str
    kind: StorageKind
    location: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.location}/{self.id}" if self.kind == "shard" else self.location

    def open(self) -> AssetReader:
        """A reader of it; close it, or use it as a context manager."""
        from .reader import AssetReader

        return AssetReader(self)


class Files(Protocol):
    """The open files of one asset."""

    def names(self) -> list[str]:
        """All of them, without the asset's name."""

    def read(self, name: str, limit: int) -> bytes:
        """The content of one.

        Raises:
            KeyError: There is none of this name.
            UnsafeData: It is larger than ``limit``.
            OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error: It is damaged.
        """

    def close(self) -> None:
        """Let go of what is open."""


# --- Finding --------------------------------------------------------------------------------


def find_assets(
    where: str | os.PathLike[str],
    options: Mapping[str, Any] | None = None,
    *,
    on_broken: Callable[[str, RenderError], None] | None = None,
) -> list[AssetRef]:
    """Finished assets in a folder, or the one that a path names, sorted by id.

    Only names are listed, and the indices of shards read; no asset is opened. A folder counts
    where ``metadata.json`` is in it; what begins with a dot does not.

    Args:
        where: Path or URL of a folder of assets, a folder, zip or tar of one, a shard, or
            ``shard.tar/ID`` for one asset of a shard.
        options: For fsspec's file system.
        on_broken: Called with shards in a folder that cannot be read, instead of raising.

    Raises:
        SourceNotFound: There is none.
        TruncatedFile, UnsafeData: A shard or its index is broken.
    """
    store = file_system(where, options)
    base = store.base
    found: list[AssetRef] = []
    broken = False
    kind: StorageKind

    def add(kind: StorageKind, location: str, *ids: str) -> None:
        found.extend(AssetRef(asset, kind, location, store.options) for asset in ids)

    if base.endswith((".tar", ".zip")) and store.is_file(base):
        kind = "zip" if base.endswith(".zip") else _kind_of_tar(store, base)
        if kind == "shard":
            add(kind, base, *shard_members(store, base))
        else:
            add(kind, base, last_part(base).rpartition(".")[0])
    elif store.is_folder(base):
        if store.is_file(store.join(base, METADATA)):
            add("folder", base, last_part(base))
        else:
            for kind, name in _listed(store, base):
                location = store.join(base, name)
                if kind == "shard":
                    try:
                        add(kind, location, *shard_members(store, location))
                    except (TruncatedFile, UnsafeData) as error:
                        if on_broken is None:
                            raise
                        on_broken(location, error)
                        broken = True
                else:
                    add(kind, location, name if kind == "folder" else name.rpartition(".")[0])
    else:
        shard, _, asset = base.replace(os.sep, "/").rpartition("/")
        if shard.endswith(".tar") and store.is_file(shard) and asset in shard_members(store, shard):
            add("shard", shard, asset)
    if not found and not broken:
        if not store.is_folder(base):
            raise SourceNotFound(
                f"{base} does not exist.",
                hint="Give the folder or URL that --out named, or an asset.",
            )
        raise SourceNotFound(
            f"There is no finished asset in {base}.", hint="Give the folder that --out named."
        )
    return sorted(found, key=lambda ref: (ref.id, ref.location))


def _listed(store: FileSystem, folder: str) -> Iterator[tuple[StorageKind, str]]:
    entries = [entry for entry in store.entries(folder) if not entry[0].startswith(".")]
    names = {name for name, _ in entries}
    for name, is_folder in entries:
        if is_folder:
            if store.is_file(store.join(folder, name, METADATA)):
                yield "folder", name
        elif name.endswith(".zip"):
            yield "zip", name
        elif name.endswith(".tar"):
            if name.removesuffix(".tar") + INDEX in names:
                yield "shard", name
            elif _NUMBERED.search(name):
                try:
                    kind = _kind_of_tar(store, store.join(folder, name))
                except (TruncatedFile, UnsafeData):
                    kind = "shard"  # It is told what is wrong when its members are listed.
                yield kind, name
            else:
                yield "tar", name


def _kind_of_tar(store: FileSystem, location: str) -> StorageKind:
    """A shard's members have no folder: ``chair.000.png``, not ``chair/000.png``."""
    if store.is_file(location.removesuffix(".tar") + INDEX):
        return "shard"
    with store.open(location) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                first = archive.next()
        except (tarfile.TarError, OSError, EOFError, ValueError, RecursionError) as error:
            raise TruncatedFile(f"{location} is not a whole tar archive: {error}.") from error
    return "shard" if first is not None and "/" not in first.name else "tar"


# --- Opening --------------------------------------------------------------------------------


def open_files(ref: AssetRef) -> Files:
    """The files of an asset, in the process that calls.

    Raises:
        SourceNotFound: It is not there.
        TruncatedFile: Its archive is broken.
        UnsafeData: Its archive has a name in it that leads elsewhere.
    """
    store = file_system(ref.location, ref.options)
    base = store.base
    if ref.kind == "folder":
        return _FolderFiles(store, base)
    if ref.kind == "zip":
        return _ZipFiles(base, store.open(base))
    if ref.kind == "tar":
        members = tar_members(store, base)
        return _TarFiles(base, store.open(base), members)
    try:
        members = shard_members(store, base)[ref.id]
    except KeyError as error:
        raise SourceNotFound(f"{base} holds no asset {ref.id}.") from error
    return _TarFiles(base, store.open(base), members, f"{ref.id}.")


class _FolderFiles:
    def __init__(self, store: FileSystem, folder: str) -> None:
        self._store, self._folder = store, folder

    def names(self) -> list[str]:
        entries = self._store.entries(self._folder)
        return sorted(name for name, is_folder in entries if not is_folder)

    def read(self, name: str, limit: int) -> bytes:
        path = self._store.join(self._folder, plain(name))
        if self._store.leads_out(path, self._folder):
            raise UnsafeData(f"{path} is a link that leads out of its folder.")
        data = self._store.read(path, limit + 1)
        return within(data, limit, path)

    def close(self) -> None:
        pass


class _ZipFiles:
    def __init__(self, location: str, file: BinaryIO) -> None:
        self._location, self._file = location, file
        try:
            self._zip = zipfile.ZipFile(file)
            for name in self._zip.namelist():
                inside(name, location)
            self._folder = folder_in(self._zip)
        except (OSError, EOFError, KeyError, ValueError, *_BROKEN_ZIP) as error:
            file.close()
            raise TruncatedFile(
                f"{location} has no readable {METADATA}: {error}.", hint=RENDER_AGAIN
            ) from error
        except BaseException:
            file.close()
            raise

    def names(self) -> list[str]:
        prefix = f"{self._folder}/"
        names = (name.removeprefix(prefix) for name in self._zip.namelist())
        return sorted(name for name in names if name and "/" not in name)

    def read(self, name: str, limit: int) -> bytes:
        info = self._zip.getinfo(f"{self._folder}/{plain(name)}")
        if info.file_size > limit:
            raise too_large(f"{self._location}: {name}", info.file_size, limit)
        try:
            # What the header says is also where reading ends, however much would come out.
            return self._zip.read(info)
        except _BROKEN_ZIP as error:
            raise ValueError(str(error)) from error

    def close(self) -> None:
        self._zip.close()
        self._file.close()


class _TarFiles:
    def __init__(
        self,
        location: str,
        file: BinaryIO,
        members: Mapping[str, tuple[int, int]],
        prefix: str = "",
    ) -> None:
        self._location, self._file, self._members = location, file, members
        self._prefix = prefix

    def names(self) -> list[str]:
        return sorted(self._members)

    def read(self, name: str, limit: int) -> bytes:
        offset, size = self._members[name]
        if size > limit:
            raise too_large(f"{self._location}: {name}", size, limit)
        self._file.seek(offset - BLOCK)
        data = self._file.read(BLOCK + size)
        if len(data) != BLOCK + size:
            raise EOFError("the archive breaks off")
        # An index can be another archive's; the header before the content knows whose it is.
        try:
            header = tarfile.TarInfo.frombuf(data[:BLOCK], "utf-8", "surrogateescape")
        except tarfile.TarError as error:
            raise ValueError(f"the index does not fit the archive: {error}") from error
        wanted = f"{self._prefix}{name}"
        known = not self._prefix or len(wanted.encode()) > 99 or header.name == wanted
        if header.size != size or not header.isreg() or not known:
            raise ValueError("the index does not fit the archive: another file is there")
        return data[BLOCK:]

    def close(self) -> None:
        self._file.close()
