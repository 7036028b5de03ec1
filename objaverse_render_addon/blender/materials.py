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
from .evaluated import Look

__all__ = [
    "Colored",
    "color_uncolored",
    "fill_unread",
    "missing_textures",
    "replace_missing_textures",
    "use_nodes",
]

NEUTRAL: Final = (0.5, 0.5, 0.5)
"""Linear grey that stands in for a missing texture or a missing material."""
_UNTOUCHED: Final = 0.8
_REPLACED: Final = "objaverse_replaced"


# --- Missing textures -----------------------------------------------------------------------


_PICTURES: Final = ("TEX_IMAGE", "TEX_ENVIRONMENT")
_FIRST_TILE: Final = 1001


@dataclass
class _Gap:
    """A node whose picture is not there, all of it or some of its UDIM tiles."""

    tree: Any
    node: Any
    tiles: list[int] = field(default_factory=list)


def _is_missing(image: Any) -> bool:
    if image.source in ("GENERATED", "VIEWER"):
        return False
    if image.packed_file is None:
        if not image.filepath:
            return not image.has_data
        path = Path(bpy.path.abspath(image.filepath_from_user(), library=image.library))
        if not path.is_file():
            return True
    # What is there and Blender cannot decode is as good as missing.
    return not any(image.size)


def _missing_tiles(image: Any, used: set[int]) -> dict[int, str]:
    """UDIM tiles that are not there, and their files.

    Args:
        used: Tiles that surfaces lie in; importers know of those alone that they found.
    """
    packed = {getattr(file, "tile_number", 0) for file in image.packed_files}
    listed = {tile.number for tile in image.tiles}
    missing = {}
    for number in sorted(listed | used):
        name = image.filepath
        for mark, text in _tile_marks(number):
            name = name.replace(mark, text)
        path = Path(bpy.path.abspath(name, library=image.library))
        there = number in packed if packed else _is_readable(path)
        if number not in listed or not there:
            missing[number] = name
    return missing


def _used_tiles(material: Any) -> set[int]:
    """UDIM tiles that the middles of a material's faces lie in."""
    found = set[int]()
    for mesh in bpy.data.meshes:
        layer = mesh.uv_layers.active
        slots = [index for index, slot in enumerate(mesh.materials) if slot == material]
        if not slots or layer is None or not mesh.polygons:
            continue
        uv = np.empty(len(mesh.loops) * 2, np.float32)
        layer.data.foreach_get("uv", uv)
        starts, counts, materials = (
            np.empty(len(mesh.polygons), np.int32) for _ in range(3)
        )
        mesh.polygons.foreach_get("loop_start", starts)
        mesh.polygons.foreach_get("loop_total", counts)
        mesh.polygons.foreach_get("material_index", materials)
        middles = np.add.reduceat(uv.reshape(-1, 2), starts) / counts[:, None]
        column, row = np.floor(middles[np.isin(materials, slots)]).astype(np.int64).T
        inside = (column >= 0) & (column < 10) & (row >= 0) & (row < 100)
        found |= set((_FIRST_TILE + column + 10 * row)[inside].tolist())
    return found


def _tile_marks(number: int) -> list[tuple[str, str]]:
    column, row = (number - _FIRST_TILE) % 10, (number - _FIRST_TILE) // 10
    return [("<UDIM>", str(number)), ("<UVTILE>", f"u{column + 1}_v{row + 1}")]


def _is_readable(path: Path) -> bool:
    if not path.is_file():
        return False
    image = bpy.data.images.load(str(path))
    try:
        return any(image.size)
    finally:
        bpy.data.images.remove(image)


def _image_nodes(
    owners: Iterable[Any], groups: Iterable[Any]
) -> Iterator[tuple[Any, Any, Any]]:
    """Owner, or none in a group, tree and node of each."""
    trees = [(owner, owner.node_tree) for owner in owners]
    trees += [(None, group) for group in groups if group.bl_idname == "ShaderNodeTree"]
    for owner, tree in trees:
        for node in list(tree.nodes) if tree else ():
            if node.type in _PICTURES and _REPLACED not in node:
                yield owner, tree, node


def missing_textures(owners: Iterable[Any], groups: Iterable[Any]) -> dict[str, list[_Gap]]:
    """Name of each texture that is not there, to the nodes that want it.

    Args:
        owners: Materials, and worlds that render.
        groups: Node groups that they use.
    """
    missing: dict[str, list[_Gap]] = {}
    for owner, tree, node in _image_nodes(owners, groups):
        gap, image = _Gap(tree, node), node.image
        # Importers leave an image node without an image where the file was not found.
        if image is None:
            names = [node.label or node.name]
        elif image.source == "TILED":
            used = set() if owner is None else _used_tiles(owner)
            tiles = _missing_tiles(image, used)
            names = list(tiles.values())
            if {tile.number for tile in image.tiles} - {*tiles}:
                gap.tiles = list(tiles)
        else:
            names = [image.filepath or image.name] if _is_missing(image) else []
        for name in names:
            missing.setdefault(name.replace("\\", "/"), []).append(gap)
            # The node is mended once, whatever the number of its tiles.
            gap = _Gap(tree, None)
    return missing


def replace_missing_textures(
    edits: Edits,
    owners: Iterable[Any],
    groups: Iterable[Any],
    rules: AssetRules,
    seed: int,
    asset_id: str,
) -> dict[str, Any]:
    """Find textures that are not there and put what the rules say in their place.

    Args:
        owners: Materials, and worlds that render.
        groups: Node groups that they use.

    Returns:
        ``count``, ``files`` (sorted paths), ``file_path_to_color`` (linear RGB that stands in
        for each), the shape that the Objaverse-XL scripts record.

    Raises:
        MissingTextures: The policy is ``fail``.
    """
    missing = missing_textures(owners, groups)
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
        for gap in missing[name]:
            if gap.node is not None:
                _fill(edits, gap, color)
    return {"count": len(names), "files": names, "file_path_to_color": colors}


def _fill(edits: Edits, gap: _Gap, color: tuple[float, ...]) -> None:
    """Cut the node off, or what it gives for the tiles that are gone; it stays, to be put back."""
    tree, node = gap.tree, gap.node
    data = node.image is not None and node.image.colorspace_settings.name == "Non-Color"
    gone = _in_tiles(edits, tree, node, gap.tiles) if gap.tiles else None
    for link in [link for output in node.outputs for link in output.links]:
        target, source = link.to_socket, link.from_socket
        value: Any = None
        if source.name == "Alpha":
            value = 1.0 if target.type == "VALUE" else None
        elif target.node.type == "NORMAL_MAP":
            value = (0.5, 0.5, 1.0, 1.0)
        elif target.type == "RGBA":
            value = (*(NEUTRAL if data else color), 1.0)
        # Numbers (roughness, metallic …) keep the socket's own default.
        if gone is None:
            edits.unlink(tree, link)
            if value is not None:
                edits.set(target, "default_value", value)
            continue
        mix = edits.new_node(tree, "ShaderNodeMix")
        mix.data_type = "RGBA"
        rest = target.default_value if value is None else value
        tree.links.new(gone, mix.inputs[0])
        tree.links.new(source, mix.inputs[6])
        mix.inputs[7].default_value = (rest,) * 4 if isinstance(rest, float) else rest
        edits.link(tree, mix.outputs[2], target)
    edits.mark(node, _REPLACED)


def _in_tiles(edits: Edits, tree: Any, node: Any, tiles: list[int]) -> Any:
    """A socket that is 1 where the node's coordinates lie in one of these UDIM tiles, else 0."""

    def math(operation: str, *inputs: Any) -> Any:
        made = edits.new_node(tree, "ShaderNodeMath")
        made.operation = operation
        for value, socket in zip(inputs, made.inputs, strict=False):
            if isinstance(value, float):
                socket.default_value = value
            else:
                tree.links.new(value, socket)
        return made.outputs[0]

    vector = node.inputs["Vector"]
    split = edits.new_node(tree, "ShaderNodeSeparateXYZ")
    uv = edits.new_node(tree, "ShaderNodeTexCoord").outputs["UV"]
    tree.links.new(vector.links[0].from_socket if vector.is_linked else uv, split.inputs[0])
    column, row = math("FLOOR", split.outputs["X"]), math("FLOOR", split.outputs["Y"])
    found: Any = 0.0
    for tile in tiles:
        x, y = (tile - _FIRST_TILE) % 10, (tile - _FIRST_TILE) // 10
        here = math(
            "MULTIPLY",
            math("COMPARE", column, float(x), 0.25), math("COMPARE", row, float(y), 0.25),
        )  # fmt: skip
        found = math("ADD", here, found)
    return found


# --- Colour for what has none ---------------------------------------------------------------


def fill_unread(edits: Edits, materials: Iterable[Any]) -> list[str]:
    """Give materials whose surface the importer did not read the neutral grey.

    Returns:
        Their names.
    """
    names = []
    for material in materials:
        tree: Any = material.node_tree
        if tree is None:
            # Until 4.5 a colour without nodes is one that was read, but for the usual one.
            if not np.allclose(material.diffuse_color[:3], _UNTOUCHED, atol=1e-5):
                continue
            edits.set(material, "use_nodes", True)
            tree = material.node_tree
            tree.nodes.clear()
        output = tree.get_output_node("ALL")
        if output is not None and output.inputs["Surface"].is_linked:
            continue
        if output is None:
            output = edits.new_node(tree, "ShaderNodeOutputMaterial")
        shader = edits.new_node(tree, "ShaderNodeBsdfPrincipled")
        shader.inputs["Base Color"].default_value = (*NEUTRAL, 1.0)
        shader.inputs["Roughness"].default_value = 0.8
        edits.link(tree, shader.outputs[0], output.inputs["Surface"])
        names.append(material.name)
    return sorted(names)


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
        self._noted: set[tuple[str, bool]] = set()
        self.done = Colored()

    def material(self, owner: Any, name: str | None) -> Any:
        """That of vertex colours by their name, else of the neutral colour; the owner is noted."""
        note = owner.name, name is None
        if note not in self._noted:
            self._noted.add(note)
            (self.done.neutral if name is None else self.done.vertex_colors).append(owner.name)
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
    edits: Edits,
    objects: Iterable[Any],
    rules: AssetRules,
    seed: int,
    asset_id: str,
    kind: str,
    look: Look,
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
            data.materials.append(paint.material(obj, _vertex_colors(data)))
            edits.then(data.materials.pop)
            continue
        used = None
        for index, slot in enumerate(obj.material_slots):
            if slot.material is None:
                used = _used_slots(obj) if used is None else used
                if index in used:
                    edits.set(slot, "material", paint.material(obj, _vertex_colors(data)))
    if makers:
        _color_generated(edits, set(makers), paint, look)
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


def _color_generated(edits: Edits, makers: set[Any], paint: _Paint, look: Look) -> None:
    """The same for faces that geometry nodes make: a modifier of its own gives the material."""
    bare: dict[Any, str | None] = {}
    known: dict[Any, list[Any]] = {}

    def find(graph: Any) -> None:
        for instance in graph.object_instances:
            maker = (instance.parent or instance.object).original
            data = instance.object.data
            if maker not in makers or not hasattr(data, "materials"):
                continue
            found = known.setdefault(maker, [])
            used = [item.original for item in data.materials if item]
            found += [item for item in used if item not in found]
            if len(used) < max(1, len(data.materials)):
                bare.setdefault(maker, _vertex_colors(data))

    look(find)
    for maker, colors in bare.items():
        group = _set_where_none(paint.material(maker, colors), known[maker])
        edits.then(partial(bpy.data.node_groups.remove, group))
        modifier = maker.modifiers.new("Objaverse Neutral", "NODES")
        edits.then(partial(maker.modifiers.remove, modifier))
        modifier.node_group = group


def _vertex_colors(data: Any) -> str | None:
    """Name of the colours that show."""
    attributes: Any = getattr(data, "color_attributes", ())
    if not len(attributes):
        return None
    # Only meshes choose one of them for renders.
    return str(attributes[max(0, getattr(attributes, "render_color_index", 0))].name)


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
