"""The triangles that render, as arrays and as a GLB file, with poses and instances applied."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import bpy
import numpy as np
import numpy.typing as npt
from mathutils import Matrix

from ..errors import FormatCannotHold, RenderFailed
from ..shape import Mesh
from .asset import Asset
from .evaluated import Look
from .shader_values import surface_input

__all__ = ["SURFACE", "Realized", "realized"]

Array = npt.NDArray[Any]

SURFACE: Final = "objaverse_surface"
_SURFACES: Final = {"MESH", "CURVE", "SURFACE", "FONT", "META"}
_MOST: Final = 1 << 25
"""Triangles, with every instance counted."""
_OTHERS: Final = {"CURVES": "hair", "POINTCLOUD": "points", "VOLUME": "volumes"}


@dataclass(frozen=True)
class _Place:
    """A mesh where it stands."""

    mesh: Any
    matrix: Array
    part: int


class Realized:
    """What renders of an asset, as meshes of its own in ``bpy.data``.

    Attributes:
        mesh: All of its triangles.
        surfaces: Numbers of the objects that say they are what things stand on: they have a true
            custom property :data:`SURFACE`.
    """

    def __init__(self, asset: Asset, places: list[_Place], unmeshed: set[str]) -> None:
        self._places = places
        numbers = asset.object_numbers()
        self.surfaces = tuple(sorted(number for obj, number in numbers.items() if obj.get(SURFACE)))
        self.mesh = _joined(asset, places, numbers, tuple(sorted(unmeshed)))

    def write_glb(self, path: Path) -> None:
        """Write it with materials and textures, by Blender's own exporter; Y up as glTF has it.

        Nodes are called ``part-NUMBER-OBJECT``, by the numbers of :attr:`mesh`.

        Raises:
            RenderFailed: The exporter failed.
        """
        scene = bpy.data.scenes.new("Objaverse Geometry")
        before = bpy.context.window.scene
        objects, copies = [], []
        try:
            for place in self._places:
                mesh, matrix = place.mesh, Matrix(place.matrix.tolist())
                if not _is_placement(place.matrix):
                    # glTF's nodes cannot be sheared as instances can.
                    mesh = mesh.copy()
                    copies.append(mesh)
                    mesh.transform(matrix)
                    if np.linalg.det(place.matrix[:3, :3]) < 0:
                        mesh.flip_normals()
                    matrix = Matrix.Identity(4)
                name = self.mesh.parts.get(place.part, place.mesh.name)
                obj = bpy.data.objects.new(f"part-{place.part}-{name}", mesh)
                objects.append(obj)
                obj.matrix_world = matrix
                scene.collection.objects.link(obj)
            bpy.context.window.scene = scene
            bpy.ops.export_scene.gltf(
                filepath=str(path), export_format="GLB", use_active_scene=True,
                export_apply=False, export_animations=False, export_skins=False,
                export_morph=False, export_yup=True, export_cameras=False, export_lights=False,
            )  # fmt: skip
        except RuntimeError as error:
            raise RenderFailed(
                f"Blender could not write the asset as glTF: {str(error).strip()}.",
                hint="Leave mesh out of --geometry-files.",
            ) from error
        finally:
            bpy.context.window.scene = before
            bpy.data.scenes.remove(scene)
            bpy.data.batch_remove([*objects, *copies])


@contextmanager
def realized(asset: Asset, look: Look) -> Iterator[Realized]:
    """What renders of the one asset on a stage, for as long as this holds.

    Args:
        look: The stage's.

    Raises:
        FormatCannotHold: Nothing of it is a face, or there are too many.
    """
    numbers = asset.object_numbers()
    made: dict[tuple[int, int], Any] = {}
    unmeshed = set[str]()
    places: list[_Place] = []

    def gather(graph: Any) -> None:
        for instance in graph.object_instances:
            obj = instance.object
            shown = instance.show_self
            if not (shown or instance.show_particles):
                continue
            if not obj.visible_camera or obj.is_holdout:
                continue
            if instance.show_particles and any(
                system.settings.type == "HAIR" and system.settings.render_type == "PATH"
                for system in obj.particle_systems
            ):
                unmeshed.add("hair")
            if not shown:
                continue
            if obj.type not in _SURFACES:
                if obj.type in _OTHERS:
                    unmeshed.add(_OTHERS[obj.type])
                continue
            key = obj.original.as_pointer(), obj.data.as_pointer() if obj.data else 0
            if key not in made:
                made[key] = _copied(obj, graph)
            if made[key] is not None:
                matrix = np.array(instance.matrix_world, dtype=np.float64)
                places.append(_Place(made[key], matrix, numbers.get(obj.original, 0)))

    try:
        look(gather)
        if not places:
            raise FormatCannotHold(
                f"{asset.id} has no faces to write: it is of {', '.join(sorted(unmeshed))}.",
                hint="Leave --geometry-files away.",
            )
        if not asset.normalization.before.exact:
            # Hair and the like are named; what is left is displacement by a material.
            unmeshed |= set() if unmeshed else {"displacement"}
        yield Realized(asset, places, unmeshed)
    finally:
        meshes = [mesh for mesh in made.values() if mesh is not None]
        if meshes:
            bpy.data.batch_remove(meshes)


def _copied(obj: Any, graph: Any) -> Any:
    """The evaluated mesh as a datablock with the object's own materials; None without faces."""
    mesh = bpy.data.meshes.new_from_object(obj, preserve_all_data_layers=True, depsgraph=graph)
    if mesh is None or not mesh.polygons:
        if mesh is not None:
            bpy.data.meshes.remove(mesh)
        return None
    for index, slot in enumerate(obj.material_slots):
        material = slot.material.original if slot.material else None
        if index < len(mesh.materials):
            mesh.materials[index] = material
        else:
            mesh.materials.append(material)
    return mesh


def _joined(
    asset: Asset, places: list[_Place], numbers: dict[Any, int], unmeshed: tuple[str, ...]
) -> Mesh:
    known: dict[Any, tuple[Array, Array, Array]] = {}
    materials: dict[Any, int] = {}
    culled = set(asset.record["materials"]["single_sided"])
    columns: list[tuple[Array, Array, Array, Array]] = []
    first = total = 0
    for place in places:
        if place.mesh not in known:
            known[place.mesh] = _arrays(place.mesh, materials)
        points, faces, material = known[place.mesh]
        total += len(faces)
        if total > _MOST:
            raise FormatCannotHold(
                f"{asset.id} has more than {_MOST:,} triangles with its instances.",
                hint="Leave --geometry-files away, or simplify it.",
            )
        matrix = place.matrix
        world = (matrix[:3, :3] @ points.T.astype(np.float64) + matrix[:3, 3:]).T
        if np.linalg.det(matrix[:3, :3]) < 0:
            faces = faces[:, ::-1]
        part = np.full(len(faces), place.part, np.int32)
        columns.append((world.astype(np.float32), faces + first, part, material))
        first += len(world)
    vertices, faces, part, material = map(np.concatenate, zip(*columns, strict=True))
    vanishing = [_may_vanish(item, item is not None and item.name in culled) for item in materials]
    one_sided = [item is not None and item.name in culled for item in materials]
    return Mesh(
        np.ascontiguousarray(vertices), np.ascontiguousarray(faces, np.int32),
        part, material.astype(np.int32),
        np.array(vanishing)[material], np.array(one_sided)[material],
        {number: obj.name for obj, number in numbers.items()},
        tuple(item.name if item is not None else "" for item in materials), unmeshed,
    )  # fmt: skip


def _arrays(mesh: Any, materials: dict[Any, int]) -> tuple[Array, Array, Array]:
    """Vertices (N, 3) float32, triangles (M, 3) and the number of each one's material.

    Args:
        materials: Takes in those that are new, with their numbers.
    """
    points = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    mesh.attributes["position"].data.foreach_get("vector", points)
    mesh.calc_loop_triangles()
    count = len(mesh.loop_triangles)
    faces, polygons = np.empty(count * 3, dtype=np.int32), np.empty(count, dtype=np.int32)
    mesh.loop_triangles.foreach_get("vertices", faces)
    mesh.loop_triangles.foreach_get("polygon_index", polygons)
    slots = np.empty(len(mesh.polygons), dtype=np.int32)
    mesh.polygons.foreach_get("material_index", slots)
    numbers = [materials.setdefault(item, len(materials)) for item in mesh.materials or [None]]
    # A face beyond the slots has the last one's material.
    of_slot = np.array(numbers)[np.clip(slots, 0, len(numbers) - 1)]
    return points.reshape(-1, 3), faces.reshape(-1, 3), of_slot[polygons]


def _may_vanish(material: Any, culled: bool) -> bool:
    """Whether a material can be transparent from its front; yes where that is not plain."""
    tree = material.node_tree if material is not None else None
    if tree is None or surface_input(material) is None:
        return False
    # Culling has one of its own, which lets the back alone vanish.
    spare = 1 if culled else 0
    for node in tree.nodes:
        if node.type == "BSDF_TRANSPARENT":
            spare -= 1
        elif node.type == "GROUP" or spare < 0:
            return True
        elif node.type == "BSDF_PRINCIPLED":
            alpha = node.inputs["Alpha"]
            if alpha.is_linked or alpha.default_value < 1:
                return True
    return spare < 0


def _is_placement(matrix: Array) -> bool:
    """Whether a matrix is translation, rotation and scale, as glTF's nodes have them."""
    axes = matrix[:3, :3]
    lengths: Array = np.linalg.norm(axes, axis=0)
    if not lengths.min() > 0:
        return False
    unit = axes / lengths
    stray = float(np.abs(unit.T @ unit - np.eye(3)).max())
    return stray < 1e-6 and math.isfinite(stray)
