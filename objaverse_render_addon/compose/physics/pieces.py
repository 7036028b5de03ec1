"""Convex pieces of an object, by Rapier's decomposition; kept by the mesh's content."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import MissingDependency, RenderError
from ...files import write_whole
from ..objects import Mesh

__all__ = ["Pieces", "engine", "pieces_of"]

Floats = npt.NDArray[np.float64]

_ROUND: Final = 0.002
"""Spread of the distances from the middle, as a share, below which a mesh is a ball."""
_SOLID: Final = 1.015
"""Volume of the hull over the mesh's, below which the hull is what collides."""


@dataclass(frozen=True)
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


def _made(digest: str, mesh: Mesh) -> Pieces:
    rapier = engine("rapier3d")
    points = mesh.vertices
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    away = np.linalg.norm(points - middle, axis=1)
    solid = rapier.SharedShape.convex_hull(points.astype(np.float32))
    hull = np.asarray(solid.as_convex_polyhedron().points, dtype=np.float64)
    if away.min() > (1 - _ROUND) * away.max():
        x, y, z = middle.tolist()
        return Pieces((hull,), ((x, y, z), float(away.max())), hull)
    if float(solid.mass_properties(1.0).mass) < _SOLID * mesh.volume:
        return Pieces((hull,), None, hull)
    path = _folder() / f"{digest[:32]}-{version('rapier3d')}.npz"
    hulls = _read(path)
    if hulls is None:
        shape = rapier.SharedShape.convex_decomposition(
            points.astype(np.float32), mesh.triangles.astype(np.uint32)
        )
        hulls = []
        for _, piece in shape.as_compound().shapes():
            corners = np.asarray(piece.as_convex_polyhedron().points, dtype=np.float64)
            # A piece in one plane is none, and MuJoCo refuses it.
            if len(corners) >= 4 and np.linalg.svd(corners - corners[0])[1][2] > 1e-5:
                hulls.append(corners)
        _write(path, hulls)
    return Pieces(tuple(hulls), None, hull)


def _read(path: Path) -> list[Floats] | None:
    try:
        with np.load(path, allow_pickle=False) as data:
            return [np.asarray(data[name], dtype=np.float64) for name in sorted(data)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        # Whatever is wrong with it, it is made anew.
        return None


def _write(path: Path, hulls: list[Floats]) -> None:
    data = io.BytesIO()
    np.savez(data, **{f"{number:04d}": one for number, one in enumerate(hulls)})
    # Without a place to keep it, it is made again next time.
    with contextlib.suppress(RenderError):
        write_whole(path, data.getvalue())
