"""Points that stay where they are on a surface, followed through all frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .things import Things, ThingsMesh

__all__ = ["Tracks"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tracks:
    """Points, each bound to a triangle and its place in it.

    Attributes:
        ids: (N,) of instances, the same at all times.
        triangles: (N,) of their meshes, as they were when they were chosen.
        weights: (N, 3) barycentric coordinates.
        meshes: Id to the mesh of that time.
    """

    ids: npt.NDArray[np.int64]
    triangles: npt.NDArray[np.int64]
    weights: Floats
    meshes: dict[int, ThingsMesh]

    @classmethod
    def chosen(cls, things: Things, random: Floats) -> Tracks:
        """As many points as there are triples of random numbers, evenly over all surfaces.

        Args:
            things: With the meshes of all that renders.
            random: (N, 3) in 0..1.
        """
        rows = np.flatnonzero(things.shapes >= 0)
        areas, owners, numbers = [], [], []
        meshes: dict[int, ThingsMesh] = {}
        for row in rows.tolist():
            mesh, number = things.meshes[things.shapes[row]], int(things.ids[row])
            meshes[number] = mesh
            corners = mesh.points[mesh.triangles].astype(np.float64)
            corners = corners @ things.matrices[row, :3, :3].T
            sides = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
            areas.append(np.linalg.norm(np.cross(*sides), axis=1))
            owners.append(np.full(len(corners), number))
            numbers.append(np.arange(len(corners)))
        whole = np.cumsum(np.concatenate(areas)) if areas else np.zeros(0)
        if not len(whole) or whole[-1] <= 0:
            none = np.zeros(0, np.int64)
            return cls(none, none, np.zeros((0, 3)), {})
        picked = np.searchsorted(whole, random[:, 0] * whole[-1], side="right")
        picked = np.minimum(picked, len(whole) - 1)
        # Uniform in a triangle (Turk, 1990).
        root = np.sqrt(random[:, 1])
        weights = np.stack([1 - root, root * (1 - random[:, 2]), root * random[:, 2]], axis=1)
        return cls(
            np.concatenate(owners)[picked], np.concatenate(numbers)[picked], weights, meshes
        )

    def at(self, things: Things) -> Floats:
        """(N, 3) where they are in the world; nan where a thing is not there, or another one."""
        found = np.full((len(self.ids), 3), np.nan)
        for number, mesh in self.meshes.items():
            mine = np.flatnonzero(self.ids == number)
            row = things.row_of_id.get(number, -1)
            if not len(mine) or row < 0 or things.shapes[row] < 0:
                continue
            now = things.meshes[things.shapes[row]]
            if now is not mesh and not now.has_topology_of(mesh):
                continue
            corners = now.points[mesh.triangles[self.triangles[mine]]].astype(np.float64)
            local = np.einsum("nk,nki->ni", self.weights[mine], corners)
            matrix = things.matrices[row]
            found[mine] = local @ matrix[:3, :3].T + matrix[:3, 3]
        return found
