"""What renders at a time, out of Blender: instances, where they stand, and shapes that change."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from typing import Any, Final

import numpy as np
from mathutils.bvhtree import BVHTree

from ..motion import Things, ThingsMesh
from .surface_numbers import FACE, can_deform

__all__ = ["SURFACES", "Key", "Still", "keys", "shown", "things"]

Key = tuple[str, str, str, tuple[int, ...]]
"""Of an instance at every time: the instancer's name or none, the object's, what kind it is, and
the numbers of the instance within each of its instancers."""
_NO_NUMBER: Final = 2**31 - 1
_NOTHING: Final = {"EMPTY", "ARMATURE", "LATTICE", "LIGHT", "CAMERA", "SPEAKER", "LIGHT_PROBE"}
SURFACES: Final = {"MESH", "CURVE", "SURFACE", "FONT", "META"}


def keys(graph: Any) -> dict[Key, str]:
    """The key of everything that renders, and the name of its object.

    Args:
        graph: Evaluated dependency graph, as :data:`.evaluated.Look` gives it.
    """
    return {key: instance.object.original.name for key, instance in shown(graph)}


Still = dict[tuple[int, int], ThingsMesh | None]
"""Meshes whose shape cannot change, by what they are."""


def things(
    graph: Any,
    ids: dict[Key, int],
    *,
    shapes: bool,
    still: Still | None = None,
    see_through: Collection[str] = (),
) -> Things:
    """What renders.

    Args:
        graph: As :func:`keys`.
        ids: Of every key.
        shapes: Whether meshes whose shape can change are wanted.
        see_through: Materials that are not there everywhere, or not from everywhere.
        still: Where the others are wanted too, those that are known; takes in the rest.
    """
    found: dict[str, list[Any]] = {
        name: [] for name in ("ids", "objects", "places", "randoms", "matrices", "shapes")
    }
    meshes: list[ThingsMesh] = []
    known: dict[tuple[int, int], int] = {}
    for key, instance in shown(graph):
        obj = instance.object
        matrix = np.array(instance.matrix_world, dtype=np.float64)
        found["ids"].append(ids.get(key, 0))
        found["objects"].append(obj.pass_index)
        found["places"].append(matrix[:3, 3])
        found["randoms"].append(_random(instance) if instance.is_instance else np.nan)
        found["matrices"].append(matrix)
        shape = -1
        if shapes and instance.show_self and obj.type in SURFACES:
            whose = (obj.original.as_pointer(), obj.data.as_pointer())
            if whose not in known:
                mesh = _mesh(obj, still)
                if mesh is not None and see_through:
                    solid = all(
                        slot.material is None or slot.material.original.name not in see_through
                        for slot in obj.material_slots
                    )
                    if not solid and mesh.solid:
                        mesh = dataclasses.replace(mesh, solid=False)
                        if still is not None and still.get(_original(obj)) is not None:
                            still[_original(obj)] = mesh
                known[whose] = -1 if mesh is None else len(meshes)
                meshes += [mesh] if mesh is not None else []
            shape = known[whose]
        found["shapes"].append(shape)
    return Things(
        np.array(found["ids"], np.uint32),
        np.array(found["objects"], np.int64),
        np.array(found["places"], np.float32).reshape(-1, 3),
        np.array(found["randoms"], np.float32),
        np.array(found["matrices"], np.float64).reshape(-1, 4, 4),
        np.array(found["shapes"], np.int64),
        meshes,
    )


def shown(graph: Any) -> Iterator[tuple[Key, Any]]:
    """Everything that renders: its key, and Blender's instance, which is good for one step alone.

    Args:
        graph: As :func:`keys`.
    """
    seen: dict[Key, int] = {}
    for instance in graph.object_instances:
        if not (instance.show_self or instance.show_particles):
            continue
        obj = instance.object
        if obj.type in _NOTHING:
            continue
        parent = instance.parent.original.name_full if instance.parent is not None else ""
        path = tuple(int(number) for number in instance.persistent_id)
        numbers = tuple(number for number in path if number != _NO_NUMBER)
        key = (parent, obj.original.name_full, obj.type, numbers if instance.is_instance else ())
        seen[key] = seen.get(key, -1) + 1
        if seen[key]:
            key = (*key[:3], (*key[3], -seen[key]))
        yield key, instance


def _random(instance: Any) -> np.float32:
    """As Cycles makes it of the instance's number, which Python gets as a signed one."""
    number = np.float32(int(instance.random_id) % 2**32)
    return np.float32(number * (np.float32(1.0) / np.float32(0xFFFFFFFF)))


def _mesh(obj: Any, still: Still | None) -> ThingsMesh | None:
    """An evaluated object's mesh, where its shape can change or all are wanted."""
    numbered = obj.type == "MESH" and obj.data.attributes.get(FACE) is not None
    if numbered:
        return _arrays(obj.data, numbered=True)
    if can_deform(obj.original):
        return _made(obj)
    if still is None:
        return None
    key = _original(obj)
    if key not in still:
        still[key] = _made(obj)
    return still[key]


def _original(obj: Any) -> tuple[int, int]:
    return obj.original.as_pointer(), obj.original.data.as_pointer()


def _made(obj: Any) -> ThingsMesh | None:
    mesh = obj.to_mesh()
    if mesh is None:
        return None
    try:
        return _arrays(mesh, numbered=False)
    finally:
        obj.to_mesh_clear()


class _Tree:
    """Finds triangles of a mesh; made when it is first asked, from any thread."""

    def __init__(self, points: Any, triangles: Any) -> None:
        self._arrays = points, triangles
        self._tree: Any = None

    def _made(self) -> Any:
        if self._tree is None:
            points, triangles = self._arrays
            self._tree = BVHTree.FromPolygons(points.tolist(), triangles.tolist(), epsilon=0.0)
        return self._tree

    def find(self, wanted: Any) -> Any:
        """See :class:`.motion.ThingsMesh`."""
        nearest = self._made().find_nearest
        return np.array([nearest(point)[2] for point in wanted.tolist()], np.int64)

    def blocks(self, starts: Any, ends: Any) -> Any:
        """See :class:`.motion.ThingsMesh`."""
        cast = self._made().ray_cast
        ways = ends - starts
        rays = starts.tolist(), ways.tolist(), np.linalg.norm(ways, axis=1).tolist()
        return np.array([cast(*ray)[2] is not None for ray in zip(*rays, strict=True)], bool)


def _arrays(mesh: Any, *, numbered: bool) -> ThingsMesh | None:
    count = len(mesh.loop_triangles)
    if not count:
        return None
    points = np.empty(len(mesh.vertices) * 3, np.float32)
    # The attribute is copied as it lies in memory, fifty times as fast as by the elements.
    mesh.attributes["position"].data.foreach_get("vector", points)
    triangles = np.empty(count * 3, np.int32)
    mesh.loop_triangles.foreach_get("vertices", triangles)
    corners = np.empty(len(mesh.loops), np.int32)
    mesh.attributes[".corner_vert"].data.foreach_get("value", corners)
    # A face of n corners has n - 2 triangles.
    totals = np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("loop_total", totals)
    first = np.concatenate([[0], np.cumsum(totals - 2)]).astype(np.int32)
    vertices, three = points.reshape(-1, 3), triangles.reshape(-1, 3)
    tree = _Tree(vertices, three)
    return ThingsMesh(vertices, three, corners, first, tree.find, tree.blocks, numbered)
