"""Triangles as they are rendered, and what each of them belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from . import ply

__all__ = ["Mesh"]

Array = npt.NDArray[Any]

_MAY_VANISH: Final = 1
_ONE_SIDED: Final = 2


@dataclass(frozen=True)
class Mesh:
    """Triangles in normalised units and the normalised world (Z up).

    Faces run counter-clockwise as seen from where they look to, mirrored instances too.

    Attributes:
        vertices: (N, 3) float32.
        faces: (M, 3) int32.
        part: (M,) int32, the object that a face belongs to, by the numbers of ``object_index``;
            instances have the number of what they show.
        material: (M,) int32, index in :attr:`materials`; -1 is none.
        may_vanish: (M,) bool, whether the material may make it transparent somewhere.
        one_sided: (M,) bool, whether its back is not drawn.
        parts: Number to name.
        materials: Names.
        unmeshed: What renders besides, and is no triangle: hair, points, volumes, displacement.
    """

    vertices: Array
    faces: Array
    part: Array
    material: Array
    may_vanish: Array
    one_sided: Array
    parts: dict[int, str]
    materials: tuple[str, ...]
    unmeshed: tuple[str, ...] = ()

    @cached_property
    def corners(self) -> Array:
        """(M, 3, 3) float64."""
        return self.vertices.astype(np.float64)[self.faces]

    @cached_property
    def _crosses(self) -> Array:
        sides = self.corners
        return np.cross(sides[:, 1] - sides[:, 0], sides[:, 2] - sides[:, 0])

    @cached_property
    def areas(self) -> Array:
        """(M,) float64."""
        return np.asarray(np.linalg.norm(self._crosses, axis=1) / 2)

    @cached_property
    def normals(self) -> Array:
        """(M, 3) float64, unit normals of the faces; 0 of those without an area."""
        twice = 2 * self.areas[:, None]
        return np.asarray(self._crosses / np.where(twice > 0, twice, 1.0))

    @cached_property
    def welded(self) -> Array:
        """(M, 3) int64, corners by place: the same number where the same part is at one place."""
        rows = np.empty((*self.faces.shape, 4), np.float32)
        # Zero has two signs, which are one place.
        rows[..., :3] = self.vertices[self.faces] + np.float32(0)
        rows[..., 3] = self.part[:, None]
        keys = np.ascontiguousarray(rows.reshape(-1, 4)).view(np.dtype((np.void, 16))).ravel()
        return np.unique(keys, return_inverse=True)[1].reshape(-1, 3)

    def to_ply(self, comments: list[str]) -> bytes:
        """Vertices ``x y z`` and faces with ``part``, ``material`` and ``flags``.

        Of the flags 1 means that the face may be transparent somewhere, 2 that it has no back.
        """
        flags = self.may_vanish * np.uint8(_MAY_VANISH) + self.one_sided * np.uint8(_ONE_SIDED)
        vertices = dict(zip("xyz", self.vertices.astype(np.float32).T, strict=True))
        besides: dict[str, Array] = {
            "part": self.part.astype(np.int32),
            "material": self.material.astype(np.int32),
            "flags": flags.astype(np.uint8),
        }
        return ply.write(vertices, comments, self.faces, besides)

    @classmethod
    def from_ply(
        cls, data: bytes, parts: dict[int, str] | None = None, materials: tuple[str, ...] = ()
    ) -> Mesh:
        """The inverse of :meth:`to_ply`.

        Raises:
            ValueError: It is no such file.
            KeyError: It lacks a property.
        """
        vertices, faces, besides, _ = ply.read(data)
        places = np.stack([vertices[axis] for axis in "xyz"], axis=1)
        if not len(faces) or not np.isfinite(places).all():
            raise ValueError("it has no faces, or vertices that are not finite")
        flags = besides["flags"]
        return cls(
            places, faces, besides["part"], besides["material"],
            (flags & _MAY_VANISH) > 0, (flags & _ONE_SIDED) > 0, parts or {}, materials,
        )  # fmt: skip
