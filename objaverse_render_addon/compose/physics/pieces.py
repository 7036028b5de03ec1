"""Convex pieces of an object, by Rapier's decomposition; kept by the mesh's content."""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import os
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import MissingDependency, RenderError
from ...files import write_whole
from ..objects import Mesh, Part

__all__ = ["Pieces", "engine", "pieces_of", "shell"]

Floats = npt.NDArray[np.float64]

_ROUND: Final = 0.002
"""Spread of the distances from the middle, as a share, below which a mesh is a ball."""
_SOLID: Final = 1.015
"""Volume of the hull over the mesh's, below which the hull is what collides."""


_RULE: Final = 3
"""Another as soon as the same mesh is cut otherwise."""
_SECTORS: Final = 24
_STRAIGHT: Final = 0.0007
"""Metres that a wall may differ from its pieces."""


@dataclass(frozen=True, eq=False)
class Pieces:
    """What collides for an object.

    Attributes:
        hulls: Corners of each convex piece, object axes, metres.
        ball: Middle and radius, where it is one.
        hull: (N, 3) corners of the hull of all.
    """

    hulls: tuple[Floats, ...]
    ball: tuple[tuple[float, float, float], float] | None
    hull: Floats

    def scaled(self, factor: float) -> Pieces:
        """Of the object, larger or smaller."""
        ball = self.ball
        if ball is not None:
            x, y, z = (factor * value for value in ball[0])
            ball = (x, y, z), factor * ball[1]
        return Pieces(tuple(one * factor for one in self.hulls), ball, self.hull * factor)


def engine(name: str) -> Any:
    """One of the two engines.

    Raises:
        MissingDependency: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependency(
            f"Scenes are settled by {name}, which is not installed.",
            hint="pip install 'objaverse-render-addon[compose]'",
        ) from error


def pieces_of(mesh: Mesh) -> Pieces:
    """Decompose a mesh, or find what was made of it before.

    Args:
        mesh: Whatever its size, it is decomposed at that.
    """
    digest = mesh.digest()
    if digest not in _known:
        if len(_known) >= _MOST:
            _known.pop(next(iter(_known)))
        _known[digest] = _made(digest, mesh)
    return _known[digest]


_known: dict[str, Pieces] = {}
_MOST: Final = 2000


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "objaverse-render" / "pieces"


@cache
def _rapier() -> str:
    # To look a version up takes longer than to read pieces from their file.
    return version("rapier3d")


def _made(digest: str, mesh: Mesh) -> Pieces:
    rapier = engine("rapier3d")
    points = mesh.vertices
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    away = np.linalg.norm(points - middle, axis=1)
    solid = rapier.SharedShape.convex_hull(points.astype(np.float32))
    hull = np.asarray(solid.as_convex_polyhedron().points, dtype=np.float64)
    if np.min(away) > (1 - _ROUND) * np.max(away):
        x, y, z = middle.tolist()
        return Pieces((hull,), ((x, y, z), float(np.max(away))), hull)
    if float(solid.mass_properties(1.0).mass) < _SOLID * mesh.volume:
        return Pieces((hull,), None, hull)
    path = _folder() / f"{digest[:32]}-{_rapier()}-{_RULE}.npz"
    hulls = _read(path)
    if hulls is None:
        hulls = [one for part in mesh.parts if part.ring for one in shell(part)]
        rest = [part for part in mesh.parts if not part.ring]
        # What an open vessel has besides is decomposed by itself, not to fill what is open.
        for some in [[part] for part in rest] if hulls else [rest]:
            hulls += _decomposed(rapier, Mesh(tuple(some)))
        _write(path, hulls)
    return Pieces(tuple(hulls), None, hull)


def _decomposed(rapier: Any, mesh: Mesh) -> list[Floats]:
    shape = rapier.SharedShape.convex_decomposition(
        mesh.vertices.astype(np.float32), mesh.triangles.astype(np.uint32)
    )
    hulls = []
    for _, piece in shape.as_compound().shapes():
        corners = np.asarray(piece.as_convex_polyhedron().points, dtype=np.float64)
        # A piece in one plane is none, and MuJoCo refuses it.
        if len(corners) >= 4 and np.linalg.svd(corners - corners[0])[1][2] > 1e-5:
            hulls.append(corners)
    return hulls


def shell(part: Part) -> list[Floats]:
    """Convex pieces of an open vessel: its floor, and its wall in bands of sectors.

    Args:
        part: Made of rings, each of one height.
    """
    rings = part.vertices[: len(part.vertices) // part.ring * part.ring].reshape(-1, part.ring, 3)
    rim = int(np.argmax(rings[:, 0, 2]))
    outer, inner = rings[: rim + 1], rings[rim:][::-1]
    bottom = float(inner[0, 0, 2])
    # The floor is level from the middle to where the wall begins.
    level = np.flatnonzero(inner[:, 0, 2] <= bottom + 1e-6)
    floor = [ring for ring in outer if ring[0, 2] <= bottom] + [_at(outer, bottom)]
    pieces = [np.concatenate([*floor, inner[level[-1]]])]
    heights = np.unique(np.concatenate([outer[:, 0, 2], inner[:, 0, 2]]))
    heights = heights[heights > bottom + 1e-6]
    slopes = _bends(outer, inner, bottom, heights)
    wide = max(1, part.ring // _SECTORS)
    for low, high in itertools.pairwise(slopes):
        sides = np.stack([_at(outer, low), _at(outer, high), _at(inner, low), _at(inner, high)])
        for first in range(0, part.ring, wide):
            columns = np.arange(first, first + wide + 1) % part.ring
            pieces.append(np.unique(sides[:, columns].reshape(-1, 3), axis=0))
    return pieces


def _at(rings: Floats, height: float) -> Floats:
    """(ring, 3) of a wall at a height."""
    heights = rings[:, 0, 2]
    above = int(np.clip(np.searchsorted(heights, height), 1, len(rings) - 1))
    low, high = heights[above - 1], heights[above]
    share = float(np.clip((height - low) / max(high - low, 1e-12), 0, 1))
    return np.asarray((1 - share) * rings[above - 1] + share * rings[above])


def _bends(outer: Floats, inner: Floats, bottom: float, heights: Floats) -> list[float]:
    """Heights between which both sides of a wall are straight, to :data:`_STRAIGHT`."""
    top = float(heights[-1])
    chosen, low = [bottom], bottom
    for number, high in enumerate(heights):
        if high >= top:
            break
        following = float(heights[number + 1])
        between = heights[(heights > low) & (heights < following)]
        off = 0.0
        for rings in (outer, inner):
            start, end = _at(rings, low), _at(rings, following)
            for height in between:
                share = (height - low) / (following - low)
                here = _at(rings, float(height))
                off = max(off, float(np.abs((1 - share) * start + share * end - here).max()))
        if off > _STRAIGHT:
            low = float(high)
            chosen.append(low)
    return [*chosen, top]


def _read(path: Path) -> list[Floats] | None:
    try:
        with np.load(path, allow_pickle=False) as data:
            return [np.asarray(data[name], dtype=np.float64) for name in sorted(data)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        # Whatever is wrong with it, it is made anew.
        return None


def _write(path: Path, hulls: list[Floats]) -> None:
    data = io.BytesIO()
    named: dict[str, Any] = {f"{number:04d}": one for number, one in enumerate(hulls)}
    np.savez(data, **named)
    # Without a place to keep it, it is made again next time.
    with contextlib.suppress(RenderError):
        write_whole(path, data.getvalue())
