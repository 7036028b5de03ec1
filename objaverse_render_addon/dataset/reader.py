"""Read a finished asset back: metadata, cameras, arrays, from a zip or a folder."""

from __future__ import annotations

import io
import tempfile
import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..cameras import Camera, View
from ..errors import SourceNotFound, TruncatedFile
from ..frame import Bounds
from .images import read_exr, read_png
from .layout import METADATA, arrays_from_channels, folder_in, read_metadata

__all__ = ["AssetReader", "find_assets"]


def find_assets(folder: Path) -> list[Path]:
    """Finished assets in a folder: its archives and the folders with metadata in them.

    Raises:
        SourceNotFound: There is none.
    """
    if folder.suffix == ".zip" or (folder / METADATA).is_file():
        return [folder]
    found = [path for path in sorted(folder.glob("*.zip")) if not path.name.startswith(".")]
    found += [path.parent for path in sorted(folder.glob(f"*/{METADATA}"))]
    found = [path for path in found if not path.name.startswith(".")]
    if not found:
        raise SourceNotFound(
            f"There is no finished asset in {folder}.", hint="Give the folder that --out named."
        )
    return found


class AssetReader:
    """A finished asset.

    Attributes:
        metadata: The whole of ``metadata.json``.

    Raises:
        SourceNotFound: There is none at ``path``.
        TruncatedFile: It is not whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise SourceNotFound(f"{path} does not exist.")
        metadata = read_metadata(path)
        if metadata is None:
            raise TruncatedFile(f"{path} has no readable {METADATA}.", hint="Render it again.")
        self.metadata = metadata
        self._zip = None if path.is_dir() else zipfile.ZipFile(path)
        self._folder = folder_in(self._zip) if self._zip else ""

    def __enter__(self) -> AssetReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._zip is not None:
            self._zip.close()

    @property
    def views(self) -> list[dict[str, Any]]:
        """The metadata's ``views``."""
        views: list[dict[str, Any]] = self.metadata["views"]
        return views

    @property
    def passes(self) -> list[str]:
        """Names of the stored passes."""
        return list(self.metadata["render_settings"]["modalities"])

    @property
    def bounds(self) -> Bounds:
        """Of the normalised object."""
        record = self.metadata["normalization"]
        return Bounds(
            tuple(record["bbox_min"]),
            tuple(record["bbox_max"]),
            tuple(record["bounding_sphere_center"]),
            record["bounding_sphere_radius"],
            record["bounds_exact"],
        )

    def view(self, index: int) -> View:
        """Camera and pose of a view."""
        record = self.views[index]
        camera = Camera(
            record["width"],
            record["height"],
            np.array(record["intrinsics"], dtype=np.float64),
            np.array(record["camera_to_world"], dtype=np.float64),
        )
        return View(record["index"], camera, record["pose"])

    def bytes_of(self, name: str) -> bytes:
        """Content of one of the asset's files.

        Raises:
            TruncatedFile: It is missing or damaged.
        """
        try:
            if self._zip is None:
                return (self.path / name).read_bytes()
            return self._zip.read(f"{self._folder}/{name}")
        except (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise TruncatedFile(f"{self.path}: {name} cannot be read: {error}.") from error

    def read(self, index: int) -> dict[str, npt.NDArray[Any]]:
        """All passes of a view, with dtypes and meaning of the metadata's ``passes``.

        Raises:
            TruncatedFile: A file is missing or damaged.
        """
        record = self.views[index]
        passes: dict[str, npt.NDArray[Any]] = {}
        exr: dict[str, npt.NDArray[Any]] | None = None
        for name in self.passes:
            file = record["image" if name == "rgb" else name]
            try:
                if file.endswith(".png"):
                    passes[name] = read_png(self.bytes_of(file))
                elif file.endswith(".npy"):
                    data = io.BytesIO(self.bytes_of(file))
                    passes[name] = np.load(data, allow_pickle=False)
                else:
                    if exr is None:
                        exr = self._read_exr(file)
                    passes[name] = exr[name]
            except (ValueError, KeyError, OSError, EOFError) as error:
                raise TruncatedFile(f"{self.path}: {file} is damaged: {error}.") from error
        return passes

    def _read_exr(self, name: str) -> dict[str, npt.NDArray[Any]]:
        if self._zip is None:
            return arrays_from_channels(read_exr(self.path / name))
        with tempfile.TemporaryDirectory(prefix="objaverse-exr-") as folder:
            path = Path(folder) / "view.exr"
            path.write_bytes(self.bytes_of(name))
            return arrays_from_channels(read_exr(path))
