"""Geometry and materials as a reader found them, before there is a Blender to hold them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["IDENTITY", "Cloud", "Material", "Mesh", "Model", "Part", "beside", "linear"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

IDENTITY: Final = np.eye(4)


@dataclass
class Material:
    """A surface, as simple formats know them.

    Attributes:
        color: Linear RGB, multiplied with nothing: a texture stands in its place.
        texture: File of the base colour; ``None`` where there is none.
        alpha: Opacity, 0..1.
        clear: What of a texture is opacity: ``""`` nothing, ``alpha`` or ``luminance`` of
            :attr:`clear_texture`, or the reverse of it.
        emission: Linear RGB.
        vertex_colors: Whether the mesh's colors are its base color.
    """

    name: str
    color: tuple[float, float, float] = (0.8, 0.8, 0.8)
    texture: Path | None = None
    alpha: float = 1.0
    clear: str = ""
    clear_inverted: bool = False
    clear_texture: Path | None = None
    emission: tuple[float, float, float] = (0.0, 0.0, 0.0)
    emission_texture: Path | None = None
    vertex_colors: bool = False
    roughness: float = 0.8


@dataclass
class Mesh:
    """Polygons.

    Attributes:
        vertices: (V, 3).
        corners: (L,) vertex of each polygon's corners, polygon after polygon.
        sizes: (F,) corners of each polygon.
        slots: (F,) index into :attr:`materials`; ``None`` where all are the first.
        uvs: (L, 2), v upwards.
        colors: (L, 4) as displays show them (sRGB), 0..1.
        normals: (L, 3).
        holes: Polygons with parts cut out: vertices of the outline and of each hole.
        materials: Empty where the mesh has none.
    """

    name: str
    vertices: Floats
    corners: Ints
    sizes: Ints
    slots: Ints | None = None
    uvs: Floats | None = None
    colors: Floats | None = None
    normals: Floats | None = None
    materials: list[Material] = field(default_factory=list)


@dataclass
class Cloud:
    """Points.

    Attributes:
        positions: (N, 3).
        colors: (N, 4) as displays show them (sRGB), 0..1.
        what: In words, for the warning that they are not what the file has.
    """

    name: str
    positions: Floats
    colors: Floats | None = None
    what: str = "points"


@dataclass
class Part:
    """A mesh somewhere.

    Attributes:
        matrix: (4, 4), to Blender's axes.
    """

    name: str
    mesh: Mesh
    matrix: npt.NDArray[np.float64] = field(default_factory=IDENTITY.copy)


@dataclass
class Model:
    """What a file holds, and what read it."""

    reader: str
    parts: list[Part] = field(default_factory=list)
    clouds: list[Cloud] = field(default_factory=list)


def linear(color: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Display values (sRGB, IEC 61966-2-1), 0..1, as linear ones."""
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def beside(folder: Path, reference: str) -> Path:
    """The file that a reference means: below the folder, or of its name in it.

    Exporters write the paths of their own machine; the file usually lies beside all the same.

    Returns:
        A path below the folder; where nothing is there, the one that should be.
    """
    names = reference.replace("\\", "/")
    name = names.rpartition("/")[2]
    parts = [part for part in names.split("/") if part not in ("", ".")]
    outside = names.startswith("/") or ".." in parts or names[1:2] == ":"
    if not outside and parts and folder.joinpath(*parts).is_file():
        return folder.joinpath(*parts)
    return folder / (name or "missing")
