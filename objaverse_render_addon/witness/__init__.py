"""A second reading of a file, by nobody whose reading made the pictures, held against them.

A view can agree with itself and with all others while half of the asset is not there: the importer
lost it, and bounds, depth and mask are all of what was left. So the triangles of formats that are
simple enough are read here too, by NumPy alone and never by Blender, moved by the normalisation
that the metadata have, projected through each view's camera, and looked for in its arrays.
"""

from __future__ import annotations

import struct
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..frame import Bounds, Check, Frame
from . import gltf, meshes
from .held import HeldSurface
from .surface import NotRead

__all__ = ["HeldSurface", "Witness"]

_READERS: Final = {
    "glb": gltf.read, "gltf": gltf.read, "obj": meshes.read_obj, "ply": meshes.read_ply,
    "stl": meshes.read_stl,
}  # fmt: skip
_MOST: Final = 256 << 20
"""Bytes of a file that is read."""


class Witness:
    """One file's own geometry.

    Args:
        kind: Format of the file.
        scale: Of the normalisation.
        translation: (3,) of the normalisation.
        seed: Of the choice of points.
        rotation: (3, 3) of the normalisation.
    """

    def __init__(
        self, path: Path, kind: str, scale: float, translation: tuple[float, ...], seed: int,
        rotation: npt.NDArray[np.float64] | None = None,
    ) -> None:
        self._path, self._kind, self._seed = path, kind, seed
        self._linear = scale * (np.eye(3) if rotation is None else rotation)
        self._translation = np.array(translation)
        self.not_read = ""

    @property
    def record(self) -> dict[str, Any]:
        """What the metadata say of it."""
        geometry = self._geometry
        if geometry is None:
            return {"read": False, "reason": self.not_read}
        return {"read": True, "faces": geometry.faces, "triangles": geometry.triangles}

    def dropped(self, imported: int) -> int:
        """Faces of the file that are not in Blender's meshes: degenerate, doubled, invalid ones.

        Args:
            imported: Faces in Blender's meshes.
        """
        return max(0, self._geometry.faces - imported) if self._geometry is not None else 0

    def checks(self, frame: Frame, bounds: Bounds) -> list[Check]:
        """Hold a view against the file; see :meth:`.HeldSurface.checks`.

        None of the checks where it was not read.
        """
        geometry = self._geometry
        return [] if geometry is None else geometry.checks(frame, bounds, "witness")

    @cached_property
    def _geometry(self) -> HeldSurface | None:
        try:
            reader = _READERS.get(self._kind)
            if reader is None:
                raise NotRead(f"format {self._kind}")
            if self._path.stat().st_size > _MOST:
                raise NotRead("large")
            surface = reader(self._path)
            return HeldSurface(surface, self._linear, self._translation, self._seed)
        except NotRead as why:
            self.not_read = str(why)
        except (
            OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
            RecursionError, struct.error,
        ) as error:  # fmt: skip
            # What is wrong with the file is the importer's to say.
            self.not_read = f"not understood: {type(error).__name__}"
        return None
