"""Objects of others to draw from: the table beside a set's scenes, and their surfaces.

``objects.json`` has a row for each that can be used and the reasons of those that cannot;
``objects/ASSET`` is the asset as :func:`..batch.run.render` left it, with ``mesh.ply``, the
triangles that are settled and held against the pictures, and ``mesh.glb``, what is rendered.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...errors import InvalidJob, SourceNotFound, TruncatedFile
from ...shape import Mesh as Triangles
from ..skies import part_of
from .mesh import Mesh, Part
from .usable import closed

__all__ = [
    "FOLDER", "GLB", "LIBRARY_FILE", "PLY", "Foreign", "LeftOut", "Library", "base_of", "solid_of",
    "stamp_of", "surface_of",
]  # fmt: skip

LIBRARY_FILE: Final = "objects.json"
FOLDER: Final = "objects"
PLY: Final = "mesh.ply"
GLB: Final = "mesh.glb"
_VERSION: Final = 1


@dataclass(frozen=True)
class Foreign:
    """An object that can be used.

    Attributes:
        asset: Its folder's name.
        sha256: Of ``mesh.ply``.
        name: What it is called in sentences.
        source: UID, address or file name.
        longest_m: Least and most that its longest edge is drawn to be; equal where it is known.
        size_from: What says so: ``csv``, ``file`` or ``category:mug``.
        foot: (3,) the foot's middle in the mesh's own axes.
        longest: Its longest edge in them.
        color: Its colour term, where it has one, and the middle of what is of it.
        color_from: ``list`` or ``albedo``; empty where there is none.
        rim: Height of its opening over its height.
    """

    asset: str
    sha256: str
    name: str
    category: str
    source: str
    license: str
    longest_m: tuple[float, float]
    size_from: str
    foot: tuple[float, float, float]
    longest: float
    color: tuple[str, tuple[float, float, float]] | None = None
    color_from: str = ""
    rim: float | None = None
    rolls: bool = False
    flat_top: bool = False

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Foreign:
        """From a row of the table."""
        color = row["color"]
        return cls(**{
            **row, "longest_m": tuple(row["longest_m"]), "foot": tuple(row["foot"]),
            "color": (color[0], tuple(color[1])) if color else None,
        })  # fmt: skip


@dataclass(frozen=True)
class LeftOut:
    """An asset that cannot be used, and why.

    Attributes:
        reason: As ``not-closed``.
        said: A sentence about it.
    """

    source: str
    asset: str
    reason: str
    said: str


@dataclass(frozen=True)
class Library:
    """What was made of the assets that were asked for.

    Attributes:
        asked: Digest of the list.
        folder: Where :data:`FOLDER` is.
    """

    asked: str
    objects: tuple[Foreign, ...]
    left_out: tuple[LeftOut, ...]
    folder: Path

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Of the objects, each once, in order."""
        return tuple(sorted({one.name for one in self.objects}))

    def called(self, name: str) -> list[Foreign]:
        """The objects of a name."""
        return [one for one in self.objects if one.name == name]

    def part(self, split: str) -> Library:
        """The objects of a split, which the content of each decides; all where it is empty."""
        some = tuple(one for one in self.objects if split in ("", part_of(one.sha256)))
        return replace(self, objects=some)

    def digest(self) -> str:
        """What is drawn from goes by it."""
        rows = [asdict(one) for one in self.objects]
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """The table's text."""
        return json.dumps({
            "version": _VERSION, "asked": self.asked,
            "objects": [asdict(one) for one in self.objects],
            "left_out": [asdict(one) for one in self.left_out],
        }, indent=1, sort_keys=True) + "\n"  # fmt: skip

    @classmethod
    def read(cls, folder: Path) -> Library:
        """The table of a set.

        Raises:
            InvalidJob: There is none, or it cannot be understood.
        """
        path = folder / LIBRARY_FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["version"] != _VERSION:
                raise ValueError(f"it is of version {data['version']}")
            return cls(
                str(data["asked"]), tuple(Foreign.of(one) for one in data["objects"]),
                tuple(LeftOut(**one) for one in data["left_out"]), folder,
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidJob(
                f"{path} cannot be read as a table of objects: {error}.",
                hint="Run compose with the same --objects again.",
            ) from error


def surface_of(path: Path, sha256: str) -> Triangles:
    """The triangles of a stored surface.

    Args:
        path: In a folder of its own in one that lies beside the scenes.
        sha256: Of the file, as the scenes say it.

    Raises:
        SourceNotFound, TruncatedFile: It is not there, or another one.
    """
    return _surface(path, sha256, stamp_of(path))


def stamp_of(path: Path) -> tuple[int, int]:
    """Size and time of a surface's file: where they are the same, so is the content.

    Raises:
        SourceNotFound: It is not there.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise _gone(path, error) from error
    return found.st_size, found.st_mtime_ns


def _gone(path: Path, error: OSError) -> SourceNotFound:
    return SourceNotFound(
        f"{path}, a surface of the scenes, cannot be read: {error.strerror or error}.",
        hint=f"The folder {path.parent.parent.name} belongs beside the scenes.",
    )


@functools.lru_cache(256)
def _surface(path: Path, sha256: str, _: tuple[int, int]) -> Triangles:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _gone(path, error) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise TruncatedFile(f"{path} is not the surface that the scenes were made with.")
    return Triangles.from_ply(data)


@functools.lru_cache(256)
def _read(path: Path, sha256: str, stamp: tuple[int, int]) -> Mesh:
    found = _surface(path, sha256, stamp)
    return Mesh((Part(found.vertices.astype(np.float64), found.faces.astype(np.int64)),))


@functools.lru_cache(256)
def _closed(path: Path, sha256: str, stamp: tuple[int, int]) -> Mesh:
    return closed(_read(path, sha256, stamp))


def _moved(mesh: Mesh, foot: tuple[float, float, float]) -> Mesh:
    return Mesh(tuple(
        Part(part.vertices - np.array(foot), part.triangles, part.slot) for part in mesh.parts
    ))  # fmt: skip


def base_of(folder: Path, asset: str, sha256: str, foot: tuple[float, float, float]) -> Mesh:
    """An object's surface, its foot's middle at the origin, in the size of its file.

    Raises:
        SourceNotFound, TruncatedFile: It is not there, or another one.
    """
    path = folder / FOLDER / asset / PLY
    return _moved(_read(path, sha256, stamp_of(path)), foot)


def solid_of(folder: Path, asset: str, sha256: str, foot: tuple[float, float, float]) -> Mesh:
    """The same, closed (:func:`.usable.closed`).

    Raises:
        SourceNotFound, TruncatedFile: It is not there, or another one.
        Unusable: It cannot be closed.
    """
    path = folder / FOLDER / asset / PLY
    return _moved(_closed(path, sha256, stamp_of(path)), foot)
