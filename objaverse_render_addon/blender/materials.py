"""What materials need first: textures that are missing, colours for what has none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import bpy
import numpy as np

from ..cameras import draw
from ..errors import MissingTextures
from ..job import AssetRules
from . import compat
from .edits import Edits

__all__ = [
    "Colored",
    "color_uncolored",
    "missing_textures",
    "replace_missing_textures",
    "use_nodes",
]

NEUTRAL: Final = (0.5, 0.5, 0.5)
"""Linear grey that stands in for a missing texture or a missing material."""
_REPLACED: Final = "objaverse_replaced"


# --- Missing textures -----------------------------------------------------------------------


def _is_missing(image: Any) -> bool:
    if image.packed_file is not None or image.source in ("GENERATED", "VIEWER"):
        return False
    if image.source == "TILED":
        return not any(image.size)
    if not image.filepath:
        return not image.has_data
    path = Path(bpy.path.abspath(image.filepath_from_user(), library=image.library))
    # A file that is there and that Blender cannot decode is as good as missing.
    return not path.is_file() or not any(image.size)


def _image_nodes(materials: Iterable[Any], groups: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    trees = [material.node_tree for material in materials]
    trees += [group for group in groups if group.bl_idname == "ShaderNodeTree"]
    for tree in trees:
        for node in list(tree.nodes) if tree else ():
            if node.type == "TEX_IMAGE" and _REPLACED not in node:
                yield tree, node


def missing_textures(
    materials: Iterable[Any], groups: Iterable[Any]
) -> dict[str, list[tuple[Any, Any]]]:
    """Name of each texture that is not there, to the trees and nodes that want it.

    Args:
        groups: Node groups that the materials use.
    """
    missing: dict[str, list[tuple[Any, Any]]] = {}
    for tree, node in _image_nodes(materials, groups):
        # Importers leave an image node without an image where the file was not found.
        if node.image is None:
            name = node.label or node.name
        elif _is_missing(node.image):
            name = node.image.filepath or node.image.name
        else:
            continue
        missing.setdefault(name.replace("\\", "/"), []).append((tree, node))
    return missing


def replace_missing_textures(
    edits: Edits,
    materials: Iterable[Any],
    groups: Iterable[Any],
    rules: AssetRules,
    seed: int,
    asset_id: str,
) -> dict[str, Any]:
    """Find textures that are not there and put what the rules say in their place.

    Returns:
        ``count``, ``files`` (sorted paths), ``file_path_to_color`` (linear RGB that stands in
        for each), the shape that the Objaverse-XL scripts record.

    Raises:
        MissingTextures: The policy is ``fail``.
    """
    missing = missing_textures(materials, groups)
    names = sorted(missing)
    if names and rules.missing_textures == "fail":
        raise MissingTextures(
            f"{len(names)} textures are missing: {', '.join(names[:5])}"
            + (" …" if len(names) > 5 else ""),
            hint="Put them where the file expects them, or use --missing-textures neutral.",
        )
    colors = {}
    for index, name in enumerate(names):
        color = NEUTRAL
        if rules.missing_textures == "random":
            color = tuple(draw(seed, asset_id, "missing-texture", index, 3).tolist())
        colors[name] = list(color)
        for tree, node in missing[name]:
            _replace_node(edits, tree, node, color)
    return {"count": len(names), "files": names, "file_path_to_color": colors}


def _replace_node(edits: Edits, tree: Any, node: Any, color: tuple[float, ...]) -> None:
    """Cut the node off; it stays, so that it can be put back."""
    data = node.image is not None and node.image.colorspace_settings.name == "Non-Color"
    for link in [link for output in node.outputs for link in output.links]:
        target, socket = link.to_socket, link.from_socket.name
        edits.unlink(tree, link)
        if socket == "Alpha":
            if target.type == "VALUE":
                edits.set(target, "default_value", 1.0)
        elif target.node.type == "NORMAL_MAP":
            edits.set(target, "default_value", (0.5, 0.5, 1.0, 1.0))
        elif target.type == "RGBA":
            edits.set(target, "default_value", (*(NEUTRAL if data else color), 1.0))
        # Numbers (roughness, metallic …) keep the socket's own default.
    edits.mark(node, _REPLACED)


# --- Colour for what has none ---------------------------------------------------------------


@dataclass
class Colored:
    """What was given to objects, or to parts of them, that had no material.

    Attributes:
        neutral: Names of objects that got the neutral colour, or the drawn one.
        vertex_colors: Names of objects that got their vertex colours.
        materials: The new materials.
        random_color: The drawn colour ``[r, g, b, 1]`` of an STL or PLY file.
    """

    neutral: list[str] = field(default_factory=list)
    vertex_colors: list[str] = field(default_factory=list)
    materials: list[Any] = field(default_factory=list)
    random_color: list[float] | None = None


class _Paint:
    """Makes the materials for what has none, each once."""

    def __init__(self, edits: Edits, color: tuple[float, ...], single_sided: bool) -> None:
        self.edits, self.color, self.single_sided = edits, color, single_sided
        self.made: dict[str | None, Any] = {}
        self.done = Colored()

    def material(self, owner: Any, data: Any) -> Any:
        """The vertex colours of some data, else the neutral colour; ``owner`` is noted."""
        attributes: Any = getattr(data, "color_attributes", ())
        # Only meshes choose one of them for renders.
        chosen = max(0, getattr(attributes, "render_color_index", 0))
        name = attributes[chosen].name if len(attributes) else None
        noted = self.done.neutral if name is None else self.done.vertex_colors
        if owner.name not in noted:
            noted.append(owner.name)
        if name is None and self.color is not NEUTRAL:
            self.done.random_color = [*self.color, 1.0]
        if name not in self.made:
            self.made[name] = self._new(name)
            self.done.materials.append(self.made[name])
        return self.made[name]

    def _new(self, attribute: str | None) -> Any:
        if attribute is None:
            material = _new_material(self.edits, "Objaverse Neutral", self.color)
        else:
            material = _new_material(self.edits, "Objaverse Vertex Colors", NEUTRAL)
            tree = material.node_tree
            node = tree.nodes.new("ShaderNodeVertexColor")
            node.layer_name = attribute
            shader = next(n for n in tree.nodes if n.type == "BSDF_PRINCIPLED")
            tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
        material.use_backface_culling = self.single_sided
        return material


def color_uncolored(
    edits: Edits, objects: Iterable[Any], rules: AssetRules, seed: int, asset_id: str, kind: str
) -> Colored:
    """Give every face without a material one: its vertex colours, else the neutral grey.

    Args:
        objects: Those that render, themselves or as instances.
        kind: Format of the file. A glTF face without material is single-sided, as glTF says.
    """
    color: tuple[float, ...] = NEUTRAL
    if rules.uncolored == "random" and kind in ("stl", "ply"):
        color = tuple(draw(seed, asset_id, "random-color", 0, 3).tolist())
    paint = _Paint(edits, color, kind in ("glb", "gltf"))
    makers = []
    for obj in objects:
        if any(modifier.type == "NODES" for modifier in obj.modifiers):
            makers.append(obj)
        data = obj.data
        if not hasattr(data, "materials"):
            continue
        if not len(obj.material_slots):
            data.materials.append(paint.material(obj, data))
            edits.then(data.materials.pop)
            continue
        used = None
        for index, slot in enumerate(obj.material_slots):
            if slot.material is None:
                used = _used_slots(obj) if used is None else used
                if index in used:
                    edits.set(slot, "material", paint.material(obj, data))
    if makers:
        _color_generated(edits, makers, paint)
    return paint.done


def _used_slots(obj: Any) -> set[int]:
    """Slots that have faces; all of what is no mesh or changes its faces."""
    slots = set(range(len(obj.material_slots)))
    if obj.type != "MESH" or obj.modifiers or not len(obj.data.polygons):
        return slots
    index = np.empty(len(obj.data.polygons), dtype=np.int32)
    obj.data.polygons.foreach_get("material_index", index)
    # Cycles takes the last slot for what is beyond.
    return set(np.unique(np.clip(index, 0, len(slots) - 1)).tolist())


def _color_generated(edits: Edits, makers: list[Any], paint: _Paint) -> None:
    """The same for faces that geometry nodes make: a modifier of its own gives the material."""
    bare: dict[Any, Any] = {}
    known: dict[Any, list[Any]] = {}
    for instance in bpy.context.evaluated_depsgraph_get().object_instances:
        maker = (instance.parent or instance.object).original
        data = instance.object.data
        if maker not in makers or not hasattr(data, "materials"):
            continue
        found = known.setdefault(maker, [])
        found += [item.original for item in data.materials if item and item.original not in found]
        if not len(data.materials) or any(item is None for item in data.materials):
            bare.setdefault(maker, paint.material(maker, data))
    for maker, material in bare.items():
        group = _set_where_none(material, known[maker])
        edits.then(partial(bpy.data.node_groups.remove, group))
        modifier = maker.modifiers.new("Objaverse Neutral", "NODES")
        edits.then(partial(maker.modifiers.remove, modifier))
        modifier.node_group = group


def _set_where_none(material: Any, others: Iterable[Any]) -> Any:
    """Geometry nodes that give a material to the faces that have none of some others."""
    group = bpy.data.node_groups.new("Objaverse Neutral", "GeometryNodeTree")
    for way in ("INPUT", "OUTPUT"):
        group.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    start, end = group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")
    given = group.nodes.new("GeometryNodeSetMaterial")
    given.inputs["Material"].default_value = material
    group.links.new(start.outputs[0], given.inputs["Geometry"])
    group.links.new(given.outputs[0], end.inputs[0])
    free: Any = None
    for other in others:
        has = group.nodes.new("GeometryNodeMaterialSelection")
        has.inputs["Material"].default_value = other
        nor = group.nodes.new("FunctionNodeBooleanMath")
        nor.operation = "NOT" if free is None else "NIMPLY"
        group.links.new(has.outputs[0], nor.inputs[0 if free is None else 1])
        if free is not None:
            group.links.new(free, nor.inputs[0])
        free = nor.outputs[0]
    if free is not None:
        group.links.new(free, given.inputs["Selection"])
    return group


def use_nodes(edits: Edits, materials: Iterable[Any]) -> None:
    """Give materials without nodes the ones that show the same: a diffuse viewport colour.

    Blender before 5.0 has such materials, and nothing can be read from them.
    """
    for material in materials:
        if compat.has_nodes(material) or material.is_grease_pencil:
            continue
        edits.set(material, "use_nodes", True)
        tree = material.node_tree
        output = edits.new_node(tree, "ShaderNodeOutputMaterial")
        for other in tree.nodes:
            if other.type == "OUTPUT_MATERIAL" and other.is_active_output:
                edits.set(other, "is_active_output", False)
        output.is_active_output = True
        shader = edits.new_node(tree, "ShaderNodeBsdfDiffuse")
        shader.inputs["Color"].default_value = (*tuple(material.diffuse_color)[:3], 1.0)
        tree.links.new(shader.outputs[0], output.inputs["Surface"])


def _new_material(edits: Edits, name: str, color: tuple[float, ...]) -> Any:
    material = bpy.data.materials.new(name)
    edits.then(lambda: bpy.data.materials.remove(material))
    if material.node_tree is None:
        material.use_nodes = True
    shader = next(n for n in material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value = (*color, 1.0)
    shader.inputs["Roughness"].default_value = 0.8
    return material
