"""Read finished assets back: metadata, cameras, arrays, from wherever they are stored.

::

    data = dataset.open("data")                 # a folder of assets, a shard, s3://bucket/data …
    print(len(data), data.ids[:3])
    with data["rocket"].open() as asset:        # or data[0], or a loop over data
        arrays = asset.read(0)                  # pass name -> array
        camera = asset.view(0).camera           # intrinsics, camera_to_world, world_rays() …
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt

from ..cameras import PROJECTIONS, Camera, View
from ..errors import (
    DownloadFailed,
    DuplicateAsset,
    MissingPass,
    RenderError,
    RenderFailed,
    SourceNotFound,
    TruncatedFile,
    UnsafeData,
    UnsupportedFormat,
)
from ..frame import Bounds, FrameKey
from ..passspec import PASSES
from ..words import how_many
from . import exr
from .guards import RENDER_AGAIN, parse_json, too_large
from .images import read_exr, read_foreign_exr, read_png
from .layout import METADATA, arrays_from_channels
from .shape_files import StoredShape
from .storage import AssetRef, find_assets, open_files

__all__ = ["AssetReader", "AssetRef", "Dataset", "find_assets", "read_metadata"]

# JSON takes up to 24 times as much in memory; a view's record has some 3 KB.
_LARGEST_METADATA: Final = 16 << 20
_LARGEST_PER_FILE: Final = 8 << 10
_LARGEST_SIDE: Final = 1 << 15
_LARGEST_PICTURE: Final = 1 << 28  # Pixels; what the renderer offers at most.
_MOST_CHANNELS: Final = 64
_DAMAGE: Final = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error)


class Dataset(Sequence[AssetRef]):
    """Finished assets, sorted by id. Nothing of them is open or read.

    ``data[3]`` and ``data["rocket"]`` are an :class:`AssetRef`, ``data[10:20]`` is a dataset.
    Fit to be pickled and sent to other processes.
    """

    def __init__(self, assets: Iterable[AssetRef]) -> None:
        self._assets = tuple(assets)
        self._places: dict[str, int] | None = None

    @classmethod
    def open(
        cls, where: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
    ) -> Dataset:
        """The assets in a folder, or the one that a path names.

        Args:
            where: Path or URL of a folder of zips, tars, folders and WebDataset shards; of one of
                these; or ``shard.tar/ID``.
            storage_options: For fsspec's file system, where ``where`` is a URL.

        Raises:
            SourceNotFound: There is none.
            TruncatedFile, UnsafeData: A shard or its index is broken.
            DownloadFailed: The server did not answer.
            MissingDependency: It is a URL, and the extra ``remote`` is not installed.
        """
        return cls(find_assets(where, storage_options))

    @property
    def ids(self) -> list[str]:
        """Of all assets, in order."""
        return [asset.id for asset in self._assets]

    def __len__(self) -> int:
        return len(self._assets)

    def __iter__(self) -> Iterator[AssetRef]:
        return iter(self._assets)

    def __contains__(self, key: object) -> bool:
        return key in self._assets if isinstance(key, AssetRef) else key in self._lookup()

    def __repr__(self) -> str:
        return f"<Dataset of {how_many(len(self), 'asset')}>"

    @overload
    def __getitem__(self, key: int | str) -> AssetRef: ...
    @overload
    def __getitem__(self, key: slice) -> Dataset: ...
    def __getitem__(self, key: int | str | slice) -> AssetRef | Dataset:
        if isinstance(key, slice):
            return Dataset(self._assets[key])
        if isinstance(key, int):
            return self._assets[key]
        place = self._lookup()[key]
        if place < 0:
            found = ", ".join(str(asset) for asset in self._assets if asset.id == key)
            raise DuplicateAsset(f"Several assets are named {key}: {found}.")
        return self._assets[place]

    def select(self, ids: Iterable[str]) -> Dataset:
        """The assets of these ids, in this order.

        Raises:
            KeyError: There is none of that name.
        """
        return Dataset([self[asset] for asset in ids])

    def filter(self, keep: Callable[[AssetReader], bool]) -> Dataset:
        """The assets that ``keep`` says yes to; each is opened for it.

        ``data.filter(lambda asset: asset.metadata["license"] == "by")``
        """
        kept = []
        for asset in self._assets:
            with asset.open() as reader:
                if keep(reader):
                    kept.append(asset)
        return Dataset(kept)

    def _lookup(self) -> dict[str, int]:
        if self._places is None:
            self._places = {}
            for place, asset in enumerate(self._assets):
                self._places[asset.id] = -1 if asset.id in self._places else place
        return self._places


class AssetReader:
    """A finished asset, open.

    Args:
        asset: What a :class:`Dataset` holds, or the path or URL of one asset.
        storage_options: For fsspec's file system, where ``asset`` is a URL.

    Attributes:
        ref: Where it is.
        metadata: The whole of ``metadata.json``.

    Raises:
        SourceNotFound: There is none.
        TruncatedFile: It is not whole.
        UnsafeData: It says what no honest asset says.
    """

    def __init__(
        self,
        asset: AssetRef | str | os.PathLike[str],
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.ref = asset if isinstance(asset, AssetRef) else _only(asset, storage_options)
        self._files = open_files(self.ref)
        self._places: dict[FrameKey, int] | None = None
        try:
            data = self._metadata_bytes()
            self.metadata = parse_json(data, f"{self.ref}: {METADATA}")
        except TruncatedFile as error:
            self._files.close()
            raise TruncatedFile(
                f"{self.ref} has no readable {METADATA}: {error.message}", hint=RENDER_AGAIN
            ) from error
        except BaseException:
            self._files.close()
            raise

    def _metadata_bytes(self) -> bytes:
        try:
            return self._bytes_of(METADATA, _LARGEST_METADATA)
        except UnsafeData:
            # Of thousands of views there is more to say; each has its files.
            more = len(self._files.names()) * _LARGEST_PER_FILE
            if more <= _LARGEST_METADATA:
                raise
            return self._bytes_of(METADATA, min(more, _LARGEST_PICTURE))

    def __enter__(self) -> AssetReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the asset's files."""
        self._files.close()

    @property
    def id(self) -> str:
        """Name of the asset."""
        return self.ref.id

    @property
    def views(self) -> list[dict[str, Any]]:
        """The metadata's ``views``."""
        with self._believing():
            views: list[dict[str, Any]] = self.metadata["views"]
            if not isinstance(views, list) or not all(isinstance(view, dict) for view in views):
                raise TypeError("views is no list of objects")
            return views

    def __len__(self) -> int:
        return len(self.views)

    @property
    def passes(self) -> list[str]:
        """Names of the stored passes.

        Raises:
            UnsafeData: One is named twice, or is none.
        """
        with self._believing():
            names = self.metadata["render_settings"]["modalities"]
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise TypeError("modalities is no list of names")
        if strange := set(names) - set(PASSES):
            raise UnsafeData(
                f"{self.ref} says that it has a pass {min(strange)[:40]!r}; there is none.",
                hint="A newer version of this program may know it.",
            )
        if len(set(names)) < len(names):
            raise UnsafeData(f"{self.ref} says that it has a pass twice.")
        return list(names)

    @property
    def bounds(self) -> Bounds:
        """Of the normalised object."""
        with self._believing():
            record = self.metadata["normalization"]
            return Bounds(
                _point(record["bbox_min"]),
                _point(record["bbox_max"]),
                _point(record["bounding_sphere_center"]),
                _number(record["bounding_sphere_radius"]),
                bool(record["bounds_exact"]),
            )

    @property
    def geometry(self) -> StoredShape | None:
        """Files of the object's surface; ``None`` where none were asked for."""
        if "geometry" not in self.metadata:
            return None
        with self._believing():
            return StoredShape(self)

    def view(self, index: int) -> View:
        """Camera and pose of a view.

        The camera has every convention: ``camera_to_world`` (OpenGL axes) and
        ``camera_to_world_opencv``, their inverses ``world_to_camera`` and
        ``world_to_camera_opencv``, ``intrinsics`` (K, pixels), ``world_rays()``.

        Args:
            index: Place in :attr:`views`, from 0.
        """
        record = self.views[index]
        width, height = self._size(record)
        with self._believing():
            intrinsics = _matrix(record["intrinsics"], (3, 3))
            camera_to_world = _matrix(record["camera_to_world"], (4, 4))
            turned = abs(float(np.linalg.det(camera_to_world[:3, :3])))
            if not (min(intrinsics[0, 0], intrinsics[1, 1]) > 0 and turned > 1e-9):
                raise ValueError(f"view {index} has a camera that sees nothing")
            projection = record.get("projection", "perspective")
            if projection not in PROJECTIONS:
                raise ValueError(f"view {index} has a projection {projection!r:.40}")
            camera = Camera(width, height, intrinsics, camera_to_world, projection)
            split, eye = record.get("split", ""), record.get("eye", "")
            return View(self.key(index).view, camera, record["pose"], split, eye)

    def key(self, index: int) -> FrameKey:
        """View and time that an entry of :attr:`views` shows.

        Args:
            index: Place in :attr:`views`, from 0.
        """
        record = self.views[index]
        with self._believing():
            # Before there were times, an entry's place was its view's number.
            view, time = record.get("view", record["index"]), record.get("time")
            if type(view) is not int or not (time is None or type(time) is int):
                raise TypeError(f"view {view!r} at the time {time!r} is none")
            return FrameKey(view, time)

    @property
    def times(self) -> list[int]:
        """Animation frames that there are entries of, ascending; none where the asset is still."""
        return sorted(
            {key.time for key in map(self.key, range(len(self))) if key.time is not None}
        )

    def place(self, view: int, time: int | None = None) -> int:
        """Place in :attr:`views` of a view at a time.

        Raises:
            KeyError: There is none.
        """
        if self._places is None:
            self._places = {self.key(index): index for index in range(len(self))}
        return self._places[FrameKey(view, time)]

    def tracks(self, index: int) -> npt.NDArray[Any] | None:
        """Where an entry's tracked points are: (N, 6) float32, see :attr:`.Frame.tracks`.

        Returns:
            ``None`` where no points are followed.

        Raises:
            TruncatedFile: The file is not there, or something else.
        """
        record = self.views[index]
        if "tracks" not in record:
            return None
        with self._believing():
            count = int(self.metadata["tracks"]["count"])
            data = array_from_npy(self._bytes_of(str(record["tracks"]), 24 * count + 1024))
            if data.shape != (count, 6) or data.dtype != np.float32:
                raise ValueError(f"tracks of shape {data.shape} are none")
            return data

    def places_beside(self, index: int) -> tuple[int | None, int | None]:
        """Places of the entries that backward and forward motion of an entry lead to.

        Raises:
            TruncatedFile: The metadata name one that is not there.
        """
        record = self.views[index]
        found = [record.get("previous"), record.get("next")]
        with self._believing():
            before, after = (
                None if one is None else self.place(int(one["view"]), int(one["time"]))
                for one in found
            )
        return before, after

    def seconds(self, index: int) -> float:
        """When an entry of :attr:`views` is, in seconds of how it plays; 0 where it is still.

        Frame n is n frames after frame 0, at the file's frames per second: slow motion takes
        longer.

        Args:
            index: Place in :attr:`views`, from 0.
        """
        time = self.key(index).time
        if time is None:
            return 0.0
        with self._believing():
            return time / _number(self.metadata["time"]["frame_rate"])

    def names(self) -> list[str]:
        """The asset's files."""
        return self._files.names()

    def bytes_of(self, name: str) -> bytes:
        """Content of one of the asset's files.

        Raises:
            TruncatedFile: It is missing or damaged.
            UnsafeData: It is no file's name, or larger than any file of an asset.
        """
        return self._bytes_of(name, _LARGEST_PICTURE * 8)

    def lights(self, index: int) -> list[dict[str, Any]]:
        """What the metadata say of a view's lights, where it has several; else nothing."""
        with self._believing():
            found = self.views[index].get("lights", [])
            if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
                raise TypeError("lights is no list of objects")
            return found

    def read(
        self, index: int, passes: Iterable[str] | None = None, light: int | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """The passes of a view, with dtypes and meaning of the metadata's ``passes``.

        Args:
            index: Place in :attr:`views`, from 0.
            passes: Names; all by default.
            light: Place among :meth:`lights` whose pictures are read, instead of the view's own.

        Returns:
            Name to array: (H, W) or (H, W, channels), rows from top to bottom.

        Raises:
            TruncatedFile: A file is missing or damaged.
            UnsafeData: A file claims a size that the view cannot have.
            UnsupportedFormat: An EXR file that another program wrote has pixels of another kind.
            MissingPass: It is not stored, or there is no such light.
            MissingDependency: A file that another program wrote cannot be read in this Python.
        """
        record = self.views[index]
        if light is not None:
            lights = self.lights(index)
            if not 0 <= light < len(lights):
                raise MissingPass(
                    f"{self.ref}, view {index} has no light {light}.",
                    hint=f"It has {how_many(len(lights), 'light')} of its own.",
                )
            keys = {spec.record_key for spec in PASSES.values() if spec.is_picture}
            record = record | {key: lights[light].get(key) for key in keys}
        size = self._size(record)
        found: dict[str, npt.NDArray[Any]] = {}
        layered: dict[str, dict[str, npt.NDArray[Any]]] = {}
        for name in self.passes if passes is None else passes:
            # What a later version calls a pass is read by its name.
            file = record.get(PASSES[name].record_key if name in PASSES else name)
            if not isinstance(file, str):
                raise MissingPass(
                    f"{self.ref}, view {index} has no {name}.",
                    hint=f"There are {', '.join(self.passes)}.",
                )
            try:
                if file.endswith(".png"):
                    found[name] = self._png(file, size)
                elif file.endswith(".npy"):
                    found[name] = self._npy(file, size)
                elif file.endswith(".npz"):
                    found[name] = self._npz(file, size)
                else:
                    if file not in layered:
                        layered[file] = self._exr(file, size)
                    found[name] = layered[file][name]
            except (*_DAMAGE, SyntaxError, MemoryError) as error:
                raise TruncatedFile(f"{self.ref}: {file} is damaged: {error}.") from error
        return found

    @contextlib.contextmanager
    def _believing(self) -> Iterator[None]:
        """Metadata that are not as they should be are a damaged file, and say where."""
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise TruncatedFile(
                f"{self.ref}: the metadata are not as they should be: {error!r}.",
                hint=RENDER_AGAIN,
            ) from error

    def _size(self, record: Mapping[str, Any]) -> tuple[int, int]:
        with self._believing():
            width, height = record["width"], record["height"]
            if type(width) is not int or type(height) is not int:
                raise TypeError(f"{width!r}x{height!r} is no size of a picture")
        if not (
            0 < width <= _LARGEST_SIDE
            and 0 < height <= _LARGEST_SIDE
            and width * height <= _LARGEST_PICTURE
        ):
            raise UnsafeData(f"{self.ref}: a picture of {width}x{height} pixels.")
        return width, height

    def _bytes_of(self, name: str, limit: int) -> bytes:
        try:
            return self._files.read(name, limit)
        except SourceNotFound as error:
            raise TruncatedFile(
                f"{self.ref}: {name} cannot be read: {error.message}"
            ) from error
        except _DAMAGE as error:
            raise TruncatedFile(f"{self.ref}: {name} cannot be read: {error}.") from error

    def _png(self, name: str, size: tuple[int, int]) -> npt.NDArray[Any]:
        data = self._bytes_of(name, _bytes_for(size, 4, 2))
        said = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
        if data[12:16] == b"IHDR" and said != size:
            # Before anything is unpacked: a few bytes can say a billion pixels.
            raise UnsafeData(f"{self.ref}: {name} is {said[0]}x{said[1]}, not {size[0]}x{size[1]}.")
        return read_png(data)

    def _npy(self, name: str, size: tuple[int, int]) -> npt.NDArray[Any]:
        return array_from_npy(self._bytes_of(name, _bytes_for(size, 4, 8)))

    def _npz(self, name: str, size: tuple[int, int]) -> npt.NDArray[Any]:
        limit = _bytes_for(size, 4, 8)
        with zipfile.ZipFile(io.BytesIO(self._bytes_of(name, limit))) as archive:
            (member,) = archive.infolist()
            if member.file_size > limit:
                raise too_large(f"{self.ref}: {name}", member.file_size, limit)
            return array_from_npy(archive.read(member))

    def _exr(self, name: str, size: tuple[int, int]) -> dict[str, npt.NDArray[Any]]:
        data = self._bytes_of(name, _bytes_for(size, _MOST_CHANNELS, 4))
        with tempfile.TemporaryDirectory(prefix="objaverse-exr-") as folder:
            path = Path(folder) / name
            path.write_bytes(data)
            try:
                parts = exr.read_headers(path)
                self._check_parts(name, parts, size)
                foreign = any(part.foreign for part in parts)
                return arrays_from_channels(
                    read_foreign_exr(path, parts) if foreign else read_exr(path)
                )
            except (exr.BrokenExr, exr.Unsupported, RenderFailed) as error:
                raise TruncatedFile(f"{self.ref}: {name} is not a whole EXR: {error}.") from error

    def _check_parts(self, name: str, parts: list[exr.Part], size: tuple[int, int]) -> None:
        """Refuse an EXR file by its headers, before anybody unpacks its pixels."""
        channels = sum(len(part.channels) for part in parts)
        for part in parts:
            if part.size != size[::-1] or channels > _MOST_CHANNELS:
                raise UnsafeData(
                    f"{self.ref}: {name} has {channels} channels of "
                    f"{part.size[1]}x{part.size[0]} pixels, not {size[0]}x{size[1]}."
                )
            if max(part.tile) > _LARGEST_SIDE:
                raise UnsafeData(
                    f"{self.ref}: {name} has tiles of {part.tile[0]}x{part.tile[1]} pixels."
                )
            if part.deep or part.sampled:
                kind = "deep pixels" if part.deep else "channels of lower resolution"
                raise UnsupportedFormat(
                    f"{self.ref}: {name} has {kind}, which are no arrays of a view.",
                    hint="Flatten or resample it with the program that wrote it.",
                )


def read_metadata(where: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The metadata of a finished asset; ``None`` where there is none, or not a whole one.

    Raises:
        DownloadFailed: It cannot be told.
    """
    try:
        with AssetReader(where) as reader:
            return reader.metadata
    except DownloadFailed:
        raise
    except RenderError:
        return None


def array_from_npy(data: bytes) -> npt.NDArray[Any]:
    """The array of a ``.npy`` file's bytes, whose header is believed only where it fits them.

    The format is numpy's: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

    Returns:
        Of the shape, the dtype and the order that the header says.

    Raises:
        ValueError: It is no whole array of numbers.
    """
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    headers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in headers:
        raise ValueError(f"version {version} of the format")
    try:
        shape, by_column, dtype = headers[version](file)
    except Exception as error:  # What the header is parsed with has errors of its own.
        raise ValueError(f"its header is none: {error}") from error
    if dtype.kind not in "biuf" or len(shape) > 4:
        raise ValueError(f"{len(shape)} dimensions of {dtype}")
    start = file.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data) - start:
        raise ValueError(f"{len(data) - start} bytes are no {dtype} of shape {shape}")
    flat = np.frombuffer(data, dtype, offset=start)
    return flat.reshape(shape, order="F" if by_column else "C").copy()


def _bytes_for(size: tuple[int, int], channels: int, itemsize: int) -> int:
    """More than a file of such a picture can have."""
    return size[0] * size[1] * channels * itemsize + (1 << 16)


def _matrix(value: Any, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    matrix = np.array(value, dtype=np.float64)
    if matrix.shape != shape:
        raise ValueError(f"a matrix of shape {matrix.shape} instead of {shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("a matrix of numbers that are not finite")
    return matrix


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r:.40} is no number")
    return float(value)


def _point(value: Any) -> tuple[float, float, float]:
    x, y, z = map(_number, value)
    return x, y, z


def _only(
    where: str | os.PathLike[str], storage_options: Mapping[str, Any] | None
) -> AssetRef:
    found = find_assets(where, storage_options)
    if len(found) != 1:
        raise SourceNotFound(
            f"{where} holds {how_many(len(found), 'asset')}.",
            hint=f"Name one: {found[0]}, for example.",
        )
    return found[0]
