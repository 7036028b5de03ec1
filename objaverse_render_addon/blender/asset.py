"""An asset on a stage: what its file brought in, moved and coloured, and taken off again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import bpy
from mathutils import Matrix

from ..errors import FormatCannotHold
from . import compat, importers
from .edits import Edits
from .evaluated import Look
from .normalization import Normalization

__all__ = ["Asset", "Contents", "bring_in", "link_rendered", "shown_objects"]

_NOT_ASSET: Final = {"CAMERA", "SPEAKER", "LIGHT_PROBE", "GREASEPENCIL", "GPENCIL"}
_LAST_INDEX: Final = 32_767
_HELPERS: Final = {"EMPTY", "ARMATURE", "LIGHT", "CAMERA"}
# What a file can bring in, users before what they use.
_KINDS: Final = (
    "objects", "collections", "meshes", "curves", "hair_curves", "pointclouds", "volumes",
    "metaballs", "armatures", "lattices", "lights", "lightprobes", "cameras", "speakers",
    "particles", "materials", "worlds", "node_groups", "textures", "images", "movieclips",
    "sounds", "fonts", "texts", "cache_files", "actions", "libraries",
)  # fmt: skip


class Contents:
    """Datablocks, by their kind's name in ``bpy.data``.

    Args:
        before: What was there before; the rest is meant. All of ``bpy.data`` otherwise.
    """

    def __init__(self, before: Contents | None = None) -> None:
        self._blocks: dict[str, list[Any]] = {}
        for kind in _KINDS:
            there = getattr(bpy.data, kind, ())
            old = set(before[kind]) if before is not None else ()
            self._blocks[kind] = [block for block in there if block not in old]
        known = set(before.scenes) if before is not None else ()
        self.scenes: list[Any] = [scene for scene in bpy.data.scenes if scene not in known]

    def __getitem__(self, kind: str) -> list[Any]:
        return self._blocks[kind]

    def counts(self) -> dict[str, int]:
        """What there is, counted as the Objaverse scripts do: data, not instances."""
        objects = self["objects"]
        meshes = [obj for obj in objects if obj.type == "MESH"]
        keys = [obj.data.shape_keys for obj in meshes if obj.data.shape_keys]
        return {
            "poly_count": sum(len(obj.data.polygons) for obj in meshes),
            "vert_count": sum(len(obj.data.vertices) for obj in meshes),
            "edge_count": sum(len(obj.data.edges) for obj in meshes),
            "material_count": len(self["materials"]),
            "object_count": len(objects),
            "lamp_count": sum(obj.type == "LIGHT" for obj in objects),
            "mesh_count": len(meshes),
            "animation_count": len(self["actions"]),
            "shape_key_count": sum(len(key.key_blocks) - 1 for key in keys),
            "armature_count": sum(obj.type == "ARMATURE" for obj in objects),
        }

    def linked_files(self) -> list[str]:
        """Files that they refer to: images, libraries."""
        images = [image for image in self["images"] if not image.packed_file]
        files = {image.filepath for image in images if image.filepath}
        files |= {library.filepath for library in self["libraries"]}
        return sorted(bpy.path.abspath(name) for name in files)

    def remove(self) -> None:
        """Take them out of ``bpy.data``."""
        for scene in self.scenes:
            bpy.data.scenes.remove(scene)
        self.scenes = []
        for blocks in self._blocks.values():
            if blocks:
                bpy.data.batch_remove(blocks)
        self._blocks = {kind: [] for kind in _KINDS}


@dataclass
class Asset:
    """What one file brought in, on a stage.

    Attributes:
        kind: Format of the file.
        collection: Its own; holds what renders of it, and the empty that normalises it.
        materials: Its own, and those that were given to what had none.
        rendered: The objects in it, without the normalising empty.
        record: What the metadata say of it, ready for JSON.
        warnings: ``name: sentence`` each.
        object_names: Object index to name, where the stage numbers objects.
        edits: Changes of its materials for good.
        pass_edits: Changes of its materials for the passes that are wanted now.
        frame: Animation frame at which it was normalised.
        placed: Whether it was moved after it was normalised.
        stands: (4, 4) where it was placed as a whole; ``None`` where it was not.
        whole: Whether none of its parts was moved or hidden.
    """

    id: str
    kind: str
    collection: Any
    contents: Contents
    rendered: list[Any]
    normalization: Normalization
    materials: list[Any] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    object_names: dict[int, str] = field(default_factory=dict)
    edits: Edits = field(default_factory=Edits)
    pass_edits: Edits = field(default_factory=Edits)
    frame: int = 0
    placed: bool = False
    stands: Any = None
    whole: bool = True

    @property
    def lights(self) -> list[Any]:
        """Its own, those too that only instances show."""
        return [obj for obj in self.contents["objects"] if obj.type == "LIGHT"]

    def place(self, matrix: Sequence[Sequence[float]]) -> None:
        """Move the normalised asset.

        Args:
            matrix: (4, 4) from its normalised coordinates to the stage's.

        Raises:
            ValueError: It was not normalised, so that there is nothing to move it by.
        """
        handle = self.normalization.handle
        if handle is None:
            raise ValueError(f"{self.id} stands where its file has it (normalize none)")
        handle.matrix_world = self.handle_at(matrix)
        self.placed, self.stands = True, matrix

    def handle_at(self, matrix: Sequence[Sequence[float]]) -> Any:
        """Matrix of what moves the normalised asset, where that stands at ``matrix``."""
        method = Matrix.LocRotScale(
            self.normalization.translation,
            Matrix(self.normalization.rotation.tolist()).to_quaternion(),
            (self.normalization.scale,) * 3,
        )
        return Matrix(matrix) @ method

    def number_objects(self, first: int) -> int:
        """Give its objects their indices for the pass.

        Args:
            first: Index of the first.

        Returns:
            Index of the next asset's first.

        Raises:
            FormatCannotHold: There are more objects than Blender has indices for.
        """
        self.object_names = {}
        numbers = self.object_numbers(first)
        if first + len(numbers) - 1 > _LAST_INDEX:
            raise FormatCannotHold(
                f"{self.id} brings the objects to {first + len(numbers) - 1:,}; Blender numbers "
                f"{_LAST_INDEX:,}.",
                hint="Leave object_index out of the passes, or join objects.",
            )
        for obj, index in numbers.items():
            obj.pass_index = index
            self.object_names[index] = obj.name
        return first + len(numbers)

    def object_numbers(self, first: int = 1) -> dict[Any, int]:
        """Its objects that can be seen, and the number of each: in the order of their names."""
        seen = [obj for obj in self.contents["objects"] if obj.type not in _HELPERS]
        ordered = sorted(seen, key=lambda item: item.name_full)
        return {obj: index for index, obj in enumerate(ordered, first)}

    def number_materials(self, first: int) -> tuple[int, dict[int, str]]:
        """Give its materials their indices for the pass.

        Args:
            first: Index of the first.

        Returns:
            Index of the next asset's first, and index to name.

        Raises:
            FormatCannotHold: There are more materials than Blender has indices for.
        """
        unique = {material.name_full: material for material in self.materials}
        if first + len(unique) - 1 > _LAST_INDEX:
            raise FormatCannotHold(
                f"{self.id} brings the materials to {first + len(unique) - 1:,}; Blender numbers "
                f"{_LAST_INDEX:,}.",
                hint="Leave material_index out of the passes, or join materials.",
            )
        names = {}
        for index, name in enumerate(sorted(unique), first):
            unique[name].pass_index = index
            names[index] = unique[name].name
        return first + len(unique), names

    def remove(self) -> None:
        """Take it off its stage, with all that came with it."""
        self.pass_edits.undo()
        self.edits.undo()
        if self.normalization.handle is not None:
            bpy.data.objects.remove(self.normalization.handle)
        if self.normalization.parts is not None:
            bpy.data.collections.remove(self.normalization.parts)
        self.contents.remove()
        bpy.data.collections.remove(self.collection)


def bring_in(
    path: Path, kind: str, *, alone: bool, keep_lights: bool, keep_cameras: bool = False
) -> tuple[Any, Contents, importers.Import]:
    """Import a file.

    Args:
        kind: Its format, as :func:`objaverse_render_addon.assets.formats.inspect_file` found it.
        alone: Whether Blender is empty; a .blend file is opened then, else appended.
        keep_cameras: Whether cameras are wanted, where leaving them out is possible.

    Returns:
        The scene that it came into, all that came, and how.
    """
    if alone:
        importer = importers.import_file(
            path, kind, keep_lights=keep_lights, keep_cameras=keep_cameras
        )
        return bpy.context.scene, Contents(), importer
    before = Contents()
    if kind == "blend":
        scene, importer = importers.append_scene(path), importers.Import("libraries.load", [])
    else:
        scene = bpy.data.scenes.new("Objaverse Import")
        bpy.context.window.scene = scene
        importer = importers.import_file(path, kind, keep_lights=keep_lights)
    return scene, Contents(before), importer


def link_rendered(
    source: Any, contents: Contents, target: Any, keep_lights: bool
) -> list[Any]:
    """Put what a scene and its background scenes render, at any time, into a collection.

    Cameras, probes, speakers and strokes stay behind, lights too unless they are kept; so does
    whatever is hidden in renders for good.

    Args:
        source: The scene that ``contents`` came into.
        target: A collection of the stage's scene.

    Returns:
        The objects, by name.
    """
    for obj in contents["objects"]:
        if obj.type == "LIGHT" and not keep_lights:
            # Instances would shine all the same.
            obj.hide_render = True
        # They catch shadows or cut holes for a picture that others are put behind.
        if obj.type not in _HELPERS and (obj.is_shadow_catcher or obj.is_holdout):
            obj.hide_render = True
    rendered: set[Any] = set()
    scenes: list[Any] = []
    while source is not None and source not in scenes:
        # Of a background scene Blender renders one view layer.
        layers = [layer for layer in source.view_layers if layer.use]
        for layer in layers[:1] if scenes else layers:
            rendered.update(_rendered(layer.layer_collection))
        scenes.append(source)
        source = source.background_set
    linked = [
        obj
        for obj in sorted(rendered, key=lambda item: item.name_full)
        if obj.type not in _NOT_ASSET and (keep_lights or obj.type != "LIGHT")
    ]
    for obj in linked:
        target.objects.link(obj)
    return linked


def shown_objects(contents: Contents, rendered: list[Any], look: Look) -> list[Any]:
    """What renders, and what only its instances show."""
    known = set(rendered)
    others = {
        obj
        for obj in contents["objects"]
        if obj not in known and not obj.hide_render and hasattr(obj.data, "materials")
    }
    if not others:
        return rendered
    shown = look(
        lambda graph: {i.object.original for i in graph.object_instances if i.is_instance}
    )
    return rendered + sorted(others & shown, key=lambda item: item.name_full)


def _rendered(layer: Any) -> Iterator[Any]:
    if layer.exclude or layer.collection.hide_render or layer.holdout or layer.indirect_only:
        return
    for obj in layer.collection.objects:
        if not obj.hide_render or "hide_render" in compat.animated_paths(obj):
            yield obj
    for child in layer.children:
        yield from _rendered(child)
