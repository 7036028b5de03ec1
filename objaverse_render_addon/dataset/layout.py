"""File names of a finished asset, and how they get to disk: whole, or not at all.

``<id>.zip`` holds ``<id>/NNN.png``, ``NNN_depth.npy`` … and ``metadata.json``; ``NNN`` is the view,
and ``NNN_TTTT`` view and time where an asset shows several times. ``<id>.tar`` is the same without
compression, the layout ``folder`` the same without an archive. All are written under a temporary
name and renamed when everything is in them. Shards (the layout ``webdataset``) are put together
from tars, by :mod:`objaverse_render_addon.batch.output.packing`.

What is not whole yet lies in the hidden folder ``.parts`` among the finished ones, so that looking
for what a killed process left never means looking through a million of them.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import from_os_error
from ..frame import Frame, FrameKey
from ..job import RenderJob
from ..passspec import PASSES
from .images import composite, encode_png, write_exr

__all__ = [
    "PARTS",
    "AssetWriter",
    "asset_path",
    "color_file",
    "color_files",
    "folder_in",
    "geometry_files",
    "new_writer",
    "pass_file",
    "remove_parts",
    "size_of",
    "tidy_parts",
    "tracks_file",
]

METADATA = "metadata.json"
# Already compressed; deflating it again only costs time.
_STORED = (".png", ".exr", ".npz", ".glb")
PARTS = ".parts"
_Made = TypeVar("_Made")
# zlib's fastest level: on float maps level 6 gains some 7 % for two thirds more work
# (docs/formats.md has the table).
_LEVEL = 1


def asset_path(out: Path, asset_id: str, layout: str) -> Path:
    """Where a finished asset stands."""
    suffix = {"zip": ".zip", "folder": ""}.get(layout, ".tar")
    return out / f"{asset_id}{suffix}"


def pass_file(
    key: FrameKey, name: str, geometry: str | None, light: int | None = None
) -> str:
    """Name of the file that holds a pass of a frame; plain arrays where nothing else is said.

    Args:
        light: Place of the light, of a picture that is not the view's own.
    """
    if PASSES[name].is_picture:
        stem = key.stem if light is None else f"{key.stem}_light{light}"
        return f"{stem}.png" if PASSES[name].is_png else f"{stem}_{name}.exr"
    return f"{key.stem}.exr" if geometry == "exr" else f"{key.stem}_{name}.{geometry or 'npy'}"


def tracks_file(key: FrameKey) -> str:
    """Name of the file that holds where a frame's tracked points are."""
    return f"{key.stem}_tracks.npy"


def color_file(
    frame: Frame, background: tuple[float, float, float] | None, light: int | None = None
) -> tuple[str, bytes]:
    """Name and content of a view's picture, without the asset's folder."""
    pixels = frame.passes["rgb"] if light is None else frame.relit[light]["rgb"]
    if background is not None and pixels.shape[2] == 4:
        pixels = composite(pixels, background)
    return pass_file(frame.key, "rgb", None, light), encode_png(pixels)


def color_files(frame: Frame, job: RenderJob, scratch: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a view's pictures."""
    for light in (None, *frame.lit_anew()):
        arrays = frame.passes if light is None else frame.relit[light]
        for name in job.pixels.passes:
            if PASSES[name].is_png:
                yield color_file(frame, job.lighting.background, light)
            elif PASSES[name].is_picture:
                file = pass_file(frame.key, name, None, light)
                yield file, _exr_bytes(arrays, [name], scratch / f"write-{file}")


def geometry_files(frame: Frame, job: RenderJob, scratch: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a view's other files; of a frame that needs no colour yet."""
    key = frame.key
    if frame.tracks is not None:
        buffer = io.BytesIO()
        np.save(buffer, frame.tracks, allow_pickle=False)
        yield tracks_file(key), buffer.getvalue()
    geometry = [name for name in job.pixels.passes if not PASSES[name].is_picture]
    if job.files.geometry == "exr":
        if geometry:
            data = _exr_bytes(frame.passes, geometry, scratch / f"write-{key.stem}.exr")
            yield pass_file(key, geometry[0], "exr"), data
        return
    for name in geometry:
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(frame.passes[name]), allow_pickle=False)
        data = buffer.getvalue()
        if job.files.geometry == "npz":
            data = _compressed(f"{name}.npy", data)
        yield pass_file(key, name, job.files.geometry), data


def _exr_bytes(
    arrays: dict[str, npt.NDArray[Any]], names: list[str], scratch: Path
) -> bytes:
    try:
        write_exr(scratch, _channels(arrays, names), {"comments": "See metadata.json"})
        return scratch.read_bytes()
    finally:
        scratch.unlink(missing_ok=True)


def _compressed(name: str, data: bytes) -> bytes:
    """An ``.npz``; numpy's own always takes zlib's middle level."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        archive.writestr(info, data, zipfile.ZIP_DEFLATED, _LEVEL)
    return buffer.getvalue()


def _channels(
    arrays: dict[str, npt.NDArray[Any]], names: list[str]
) -> dict[str, npt.NDArray[Any]]:
    channels = {}
    for name in names:
        data = arrays[name]
        if data.dtype.kind == "u":
            data = data.astype(np.uint32)
        for position, channel in enumerate(PASSES[name].exr_channels):
            channels[channel] = data if data.ndim == 2 else data[..., position]
    return channels


def arrays_from_channels(channels: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """The passes of a view's EXR file, as they were before :func:`geometry_files` wrote it.

    Args:
        channels: Name (``depth.Z``, ``normal.X`` …) to plane, (H, W).

    Returns:
        Pass to array, (H, W) or (H, W, C), of the pass' own dtype; a pass of which a channel is
        missing is left out.

    Raises:
        ValueError: A channel has values that its pass cannot have.
    """
    passes = {}
    for name, spec in PASSES.items():
        found = spec.exr_channels
        planes = [channels[channel] for channel in found if channel in channels]
        if planes and len(planes) == len(found):
            data = planes[0] if len(planes) == 1 else np.stack(planes, axis=-1)
            with np.errstate(invalid="ignore"):
                passes[name] = data.astype(spec.dtype)
            if passes[name].dtype.kind == "u" and not np.array_equal(passes[name], data):
                raise ValueError(f"{name} has values that no {passes[name].dtype} holds")
    return passes


def size_of(path: Path) -> int:
    """Bytes of a finished asset's archive, or of the files in its folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir())
    return path.stat().st_size


class AssetWriter(Protocol):
    """Collects an asset's files and makes them appear at once."""

    def add(self, name: str, data: bytes) -> None:
        """Add a file."""

    def commit(self) -> Path:
        """Give everything its final name; what stood there before is replaced."""

    def abort(self) -> None:
        """Leave nothing behind."""


def new_writer(out: Path, asset_id: str, layout: str) -> AssetWriter:
    """The writer for a layout.

    Raises:
        OutputNotWritable, DiskFull: Naming the folder.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        remove_parts(out, asset_id)
        writers: dict[str, type[_ZipWriter | _FolderWriter | _TarWriter]]
        writers = {"zip": _ZipWriter, "folder": _FolderWriter}
        return writers.get(layout, _TarWriter)(out, asset_id)
    except OSError as error:
        raise from_os_error(error, f"The output folder {out}") from error


def remove_parts(out: Path, asset_id: str) -> None:
    """Remove what a killed process left of this asset."""
    ours = re.compile(re.escape(asset_id) + r"\.\d+(\.zip|\.tar|\.old)?")
    left = []
    with contextlib.suppress(OSError):  # The folder is not there, or taken away just now.
        left = [part for part in (out / PARTS).iterdir() if ours.fullmatch(part.name)]
    for part in left:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def tidy_parts(out: Path) -> None:
    """Take the folder of what is not whole away, if it is empty; a run does when it ends."""
    with contextlib.suppress(OSError):
        (out / PARTS).rmdir()


def _begin(out: Path, name: str, make: Callable[[Path], _Made]) -> tuple[Path, _Made]:
    """Path of a part, named after this process, and what ``make`` made there."""
    part = out / PARTS / name
    for wait in (0.01, 0.1, 0.5):
        try:
            return part, _make_in(part, make)
        except (FileNotFoundError, PermissionError):
            # Another run that ends just now may take the empty folder away; while it does,
            # Windows denies access.
            time.sleep(wait)
    return part, _make_in(part, make)


def _make_in(part: Path, make: Callable[[Path], _Made]) -> _Made:
    with contextlib.suppress(FileExistsError):
        part.parent.mkdir()
    return make(part)


class _ArchiveWriter:
    """One file per asset; subclasses say what stands in it."""

    def __init__(self, out: Path, asset_id: str, layout: str) -> None:
        self._final = asset_path(out, asset_id, layout)
        self._folder = asset_id
        self._part, self._file = _begin(
            out, f"{asset_id}.{os.getpid()}.{layout}", lambda part: part.open("wb")
        )

    def _put(self, path: str, data: bytes) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError

    def add(self, name: str, data: bytes) -> None:
        try:
            self._put(f"{self._folder}/{name}", data)
        except OSError as error:
            raise from_os_error(error, f"{self._final}") from error

    def commit(self) -> Path:
        try:
            self._end()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self._final)
        except OSError as error:
            raise from_os_error(error, f"{self._final}") from error
        return self._final

    def abort(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)


class _ZipWriter(_ArchiveWriter):
    def __init__(self, out: Path, asset_id: str) -> None:
        super().__init__(out, asset_id, "zip")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)

    def _put(self, path: str, data: bytes) -> None:
        # A fixed date: the same data make the same archive.
        info = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
        info.external_attr = 0o644 << 16
        info.compress_type = (
            zipfile.ZIP_STORED if path.endswith(_STORED) else zipfile.ZIP_DEFLATED
        )
        self._zip.writestr(info, data, compresslevel=_LEVEL)

    def _end(self) -> None:
        self._zip.close()

    def abort(self) -> None:
        # Closing an archive writes its directory, which fails again on a full disk.
        with contextlib.suppress(OSError, ValueError):
            self._zip.close()
        super().abort()


def tar_header(name: str, size: int) -> bytes:
    """What stands before a file in a tar: the same file, the same bytes."""
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def tar_padding(size: int) -> bytes:
    """What stands behind a file in a tar."""
    return bytes(-size % tarfile.BLOCKSIZE)


TAR_END: Final = bytes(2 * tarfile.BLOCKSIZE)


class _TarWriter(_ArchiveWriter):
    def __init__(self, out: Path, asset_id: str) -> None:
        super().__init__(out, asset_id, "tar")

    def _put(self, path: str, data: bytes) -> None:
        self._file.write(tar_header(path, len(data)))
        self._file.write(data)
        self._file.write(tar_padding(len(data)))

    def _end(self) -> None:
        self._file.write(TAR_END)


class _FolderWriter:
    def __init__(self, out: Path, asset_id: str) -> None:
        self._final = asset_path(out, asset_id, "folder")
        self._part, _ = _begin(out, f"{asset_id}.{os.getpid()}", Path.mkdir)

    def add(self, name: str, data: bytes) -> None:
        try:
            (self._part / name).write_bytes(data)
        except OSError as error:
            raise from_os_error(error, f"{self._final}") from error

    def commit(self) -> Path:
        try:
            if self._final.exists():
                # A folder cannot be replaced in one step; the old one steps aside first.
                old = self._part.with_name(f"{self._part.name}.old")
                self._final.rename(old)
                try:
                    self._part.rename(self._final)
                except OSError:
                    old.rename(self._final)
                    raise
                shutil.rmtree(old, ignore_errors=True)
            else:
                self._part.rename(self._final)
        except OSError as error:
            raise from_os_error(error, f"{self._final}") from error
        return self._final

    def abort(self) -> None:
        shutil.rmtree(self._part, ignore_errors=True)


def folder_in(archive: zipfile.ZipFile) -> str:
    """The folder that an asset's archive holds; the archive itself may have been renamed.

    Raises:
        KeyError: It holds no asset.
    """
    for name in archive.namelist():
        folder, _, file = name.rpartition("/")
        if file == METADATA and folder and "/" not in folder:
            return folder
    raise KeyError(METADATA)
