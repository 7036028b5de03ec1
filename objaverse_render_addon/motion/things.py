"""What renders at one time: one row for every object, and for every instance of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["Things", "ThingsMesh"]

Array = npt.NDArray[Any]
_MIX: Final = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93,
     0xFF51AFD7ED558CCD], np.uint64,
)  # fmt: skip
"""Odd numbers whose products spread bits; any do."""


@dataclass(frozen=True)
class ThingsMesh:
    """A surface that can change its shape, evaluated, in its own coordinates.

    Attributes:
        points: (V, 3) float32.
        triangles: (T, 3) int32, vertices, those of a face side by side and the faces in order.
        corners: (C,) int32, vertices of the faces, one after the other.
        first: (F + 1,) int32, the first triangle of each face, and the number of triangles.
        find: Gives the triangle (M,) that is nearest to each of some points (M, 3); slow.
        blocks: Says of the ways from some points (M, 3) to as many others (M, 3) whether the mesh
            is between them, (M,) bool; slow.
        solid: Whether all of its surface is there from everywhere: no cut-outs, no culled back.
        numbered: Whether its pixels say which face they show.
    """

    points: Array
    triangles: Array
    corners: Array
    first: Array
    find: Callable[[Array], Array]
    blocks: Callable[[Array, Array], Array]
    numbered: bool = True
    solid: bool = True

    @cached_property
    def ball(self) -> tuple[npt.NDArray[np.float64], float]:
        """Centre (3,) and radius of a ball around it."""
        center = (self.points.min(axis=0) + self.points.max(axis=0)).astype(np.float64) / 2
        return center, float(np.linalg.norm(self.points - center, axis=1).max())

    def is_still(self, other: ThingsMesh) -> bool:
        """Whether it is the other, to the bit."""
        return self.has_topology_of(other) and np.array_equal(self.points, other.points)

    def has_topology_of(self, other: ThingsMesh) -> bool:
        """Whether a face of the one is the same piece of surface as that of the other.

        Triangles need not be: Blender splits a face that is bent by where its corners are.
        """
        return (
            len(self.points) == len(other.points)
            and np.array_equal(self.corners, other.corners)
            and np.array_equal(self.first, other.first)
        )


@dataclass(frozen=True)
class Things:
    """What renders at one time.

    Attributes:
        ids: (N,) uint32, of the pass ``instance_index``; the same at every time.
        objects: (N,) int64, Blender's object index.
        places: (N, 3) float32, where its origin stands.
        randoms: (N,) float32, Cycles' random number of an instance; nan where it is none.
        matrices: (N, 4, 4) float64, to world coordinates.
        shapes: (N,) int64, which mesh it has; -1 where it is not known and its shape cannot change.
        meshes: Of those whose shape can, and where what hides what is asked for of all; one that
            cannot is the same object at all times.
    """

    ids: Array
    objects: Array
    places: Array
    randoms: Array
    matrices: Array
    shapes: Array
    meshes: Sequence[ThingsMesh] = field(default=())

    @cached_property
    def row_of_id(self) -> dict[int, int]:
        """Id to row."""
        return {number: row for row, number in enumerate(self.ids.tolist())}

    def rows(self, objects: Array, places: Array, randoms: Array) -> npt.NDArray[np.int64]:
        """Which of the things some pixels show, by what Cycles wrote of them.

        Args:
            objects: (M,) the pass of object indices.
            places: (M, 3) float32, Object Info's location.
            randoms: (M,) float32, Object Info's random number.

        Returns:
            (M,) rows; -1 where there is no such thing.
        """
        whose = objects.astype(np.int64)
        if not len(whose) or not len(self.objects):
            return np.full(len(whose), -1, np.int64)
        size = int(max(np.max(whose), np.max(self.objects))) + 1
        count = np.bincount(self.objects, minlength=size)
        only = np.full(size, -1, np.int64)
        only[self.objects] = np.arange(len(self.objects))
        found = np.where(count[whose] == 1, only[whose], -1)
        many = np.flatnonzero(count[whose] > 1)
        if len(many):
            found[many] = self._by_place(whose[many], places[many], randoms[many])
        return found

    def _by_place(
        self, objects: Array, places: Array, randoms: Array
    ) -> npt.NDArray[np.int64]:
        found = np.full(len(objects), -1, np.int64)
        single = np.isnan(self.randoms)
        for rows, mine, theirs in (
            (np.flatnonzero(~single), self.randoms, randoms),
            # Cycles' random number of an object that is no instance comes from its name.
            (np.flatnonzero(single), np.zeros_like(self.randoms), np.zeros_like(randoms)),
        ):
            left = np.flatnonzero(found < 0)
            if not len(rows) or not len(left):
                continue
            keys = _mixed(self.objects[rows], self.places[rows], mine[rows])
            order = np.argsort(keys, kind="stable")
            keys, rows = keys[order], rows[order]
            wanted = _mixed(objects[left], places[left], theirs[left])
            at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            found[left] = np.where(keys[at] == wanted, rows[at], -1)
        return found


def _mixed(objects: Array, places: Array, randoms: Array) -> npt.NDArray[np.uint64]:
    """(M,) one number for each of those that are equal to the bit."""
    parts = np.empty((len(objects), 5), np.uint64)
    parts[:, 0] = objects
    # -0 becomes 0.
    parts[:, 1:4] = (places.astype(np.float32) + np.float32(0)).view(np.uint32).reshape(-1, 3)
    parts[:, 4] = (randoms.astype(np.float32) + np.float32(0)).view(np.uint32)
    spread = (parts + np.uint64(1)) * _MIX * (parts ^ _MIX)
    mixed = spread[:, 0].copy()
    for column in range(1, spread.shape[1]):
        mixed ^= spread[:, column]
    return mixed
