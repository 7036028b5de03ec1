"""Materials: missing textures, colours for what has none, material passes, alpha at a threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import InitVar, dataclass, field
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
    "AlphaClip",
    "add_material_passes",
    "color_uncolored",
    "fill_unread",
    "missing_textures",
    "replace_missing_textures",
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


def color_uncolored(
    edits: Edits, objects: Iterable[Any], rules: AssetRules, seed: int, asset_id: str, kind: str
) -> list[float] | None:
    """Give every object without a material one: its vertex colours, else the neutral grey.

    Returns:
        The random colour ``[r, g, b, 1]`` of an STL or PLY file where the rules ask for one.
    """
    neutral: Any = None
    random_color: list[float] | None = None
    color = NEUTRAL
    if rules.uncolored == "random" and kind in ("stl", "ply"):
        color = tuple(draw(seed, asset_id, "random-color", 0, 3).tolist())
    for obj in objects:
        data = obj.data
        if not hasattr(data, "materials") or any(slot.material for slot in obj.material_slots):
            continue
        attributes: Any = getattr(data, "color_attributes", ())
        if len(attributes):
            # Point clouds have colours too, but none that is chosen.
            name = attributes[max(0, getattr(attributes, "render_color_index", 0))].name
            material = _new_material(edits, "Objaverse Vertex Colors", NEUTRAL)
            node = material.node_tree.nodes.new("ShaderNodeVertexColor")
            node.layer_name = name
            shader = next(n for n in material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
            material.node_tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
        else:
            if neutral is None:
                neutral = _new_material(edits, "Objaverse Neutral", color)
            material = neutral
            if color is not NEUTRAL:
                random_color = [*color, 1.0]
        if len(obj.material_slots):
            for slot in obj.material_slots:
                edits.set(slot, "material", material)
        else:
            data.materials.append(material)
            edits.then(data.materials.pop)
    return random_color


def _new_material(edits: Edits, name: str, color: tuple[float, ...]) -> Any:
    material = bpy.data.materials.new(name)
    edits.then(lambda: bpy.data.materials.remove(material))
    if material.node_tree is None:
        material.use_nodes = True
    shader = next(n for n in material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value = (*color, 1.0)
    shader.inputs["Roughness"].default_value = 0.8
    return material


# --- Material passes ------------------------------------------------------------------------

_COLOR_SOCKETS: Final = ("Base Color", "Color")
_GLOSSY: Final = ("BSDF_GLOSSY", "BSDF_METALLIC", "BSDF_ANISOTROPIC")


def add_material_passes(
    edits: Edits, materials: Iterable[Any], wanted: Iterable[str]
) -> list[str]:
    """Let the materials write its own base colour, roughness and metallic into AOVs.

    The Diffuse Color pass of Cycles is not the albedo: it is black for metals and scaled for
    dielectrics. The values here are read where the shader reads them; where shaders are mixed,
    the values are mixed by the same factor. Transparent parts count for nothing.

    Returns:
        Names of materials whose shader could not be followed; they write their viewport colour.
    """
    wanted = [name for name in ("albedo", "roughness_metallic") if name in set(wanted)]
    unclear = []
    for material in materials if wanted else ():
        tree = material.node_tree
        if tree is None:
            continue
        output = tree.get_output_node("CYCLES")
        shader = _input_node(output.inputs["Surface"]) if output else None
        for name in wanted:
            follow = _albedo if name == "albedo" else _roughness_metallic
            value = _follow(edits, tree, shader, follow) if shader else None
            if value is None:
                unclear.append(material.name)
                color = tuple(material.diffuse_color)[:3]
                value = color if name == "albedo" else (material.roughness, material.metallic, 0.0)
            aov = edits.added(tree, compat.new_aov_output(tree, name))
            _feed(tree, value, aov.inputs["Color"])
    return sorted(set(unclear))


def _input_node(socket: Any) -> Any:
    """The node that feeds a socket, past reroutes."""
    while socket.is_linked:
        node = socket.links[0].from_node
        if node.type != "REROUTE":
            return node
        socket = node.inputs[0]
    return None


# A value is a constant colour or the output socket that computes it.
_Value = Any


def _follow(
    edits: Edits, tree: Any, node: Any, leaf: Callable[[Edits, Any, Any], _Value]
) -> _Value:
    """The value of a shader tree: leaves by ``leaf``, mixes mixed. None where it is unclear."""
    if node is None or node.type in ("BSDF_TRANSPARENT", "HOLDOUT"):
        return None
    if node.type == "MIX_SHADER":
        first, second = (
            _follow(edits, tree, _input_node(socket), leaf) for socket in node.inputs[1:3]
        )
        if first is None or second is None:
            return first if second is None else second
        mix = edits.new_node(tree, "ShaderNodeMix")
        mix.data_type = "RGBA"
        factor, a, b = mix.inputs[0], mix.inputs[6], mix.inputs[7]
        source = node.inputs[0]
        share = source.links[0].from_socket if source.is_linked else source.default_value
        _feed(tree, share, factor)
        _feed(tree, first, a)
        _feed(tree, second, b)
        return mix.outputs[2]
    if node.type == "ADD_SHADER":
        found = [_follow(edits, tree, _input_node(socket), leaf) for socket in node.inputs[:2]]
        # A sum is usually a surface plus emission or gloss; its first surface names the colour.
        return next((value for value in found if value is not None), None)
    return leaf(edits, tree, node)


def _albedo(_: Edits, __: Any, node: Any) -> _Value:
    for name in _COLOR_SOCKETS:
        socket = node.inputs.get(name)
        if socket is not None:
            return _read(socket)
    return None


def _roughness_metallic(edits: Edits, tree: Any, node: Any) -> _Value:
    roughness, metallic = node.inputs.get("Roughness"), node.inputs.get("Metallic")
    if node.type != "BSDF_PRINCIPLED":
        if node.type not in (*_GLOSSY, "BSDF_DIFFUSE", "BSDF_GLASS", "EMISSION"):
            return None
        rough = 1.0 if roughness is None or node.type == "BSDF_DIFFUSE" else _read(roughness)
        parts = [rough, 1.0 if node.type in _GLOSSY else 0.0]
    else:
        parts = [_read(roughness), _read(metallic)]
    combine = edits.new_node(tree, "ShaderNodeCombineColor")
    for value, socket in zip(parts, combine.inputs, strict=False):
        _feed(tree, value, socket)
    return combine.outputs[0]


def _read(socket: Any) -> _Value:
    if socket.is_linked:
        return socket.links[0].from_socket
    value = socket.default_value
    return float(value) if socket.type == "VALUE" else tuple(value)[:3]


def _feed(tree: Any, value: _Value, socket: Any) -> None:
    if isinstance(value, bpy.types.NodeSocket):
        tree.links.new(value, socket)
    elif isinstance(value, float):
        socket.default_value = value if socket.type == "VALUE" else (value, value, value, 1.0)
    else:
        socket.default_value = (*value, 1.0)


# --- Alpha ----------------------------------------------------------------------------------


@dataclass
class AlphaClip:
    """Makes transparency yes or no while geometry is rendered, and undoes it for colour.

    With one sample a half-transparent surface is hit or missed by chance, which would sprinkle
    mask, depth and normal with noise. Clipped at the job's threshold, a surface is object where
    it is at least that opaque, and the next surface shows where it is not.

    Args:
        threshold: Opacity from which a surface is object, 0..1.
        materials: Those of everything that renders.

    Attributes:
        unclear: Materials with transparency that could not be clipped.
    """

    threshold: float
    materials: InitVar[Iterable[Any]]
    unclear: list[str] = field(default_factory=list)
    _sockets: list[tuple[Any, Any, Any]] = field(default_factory=list)
    _edits: Edits = field(default_factory=Edits)

    def __post_init__(self, materials: Iterable[Any]) -> None:
        for material in materials:
            tree = material.node_tree
            output = tree.get_output_node("CYCLES") if tree else None
            shader = _input_node(output.inputs["Surface"]) if output else None
            if shader is not None and not self._find(tree, shader):
                self.unclear.append(material.name)

    @property
    def needed(self) -> bool:
        """Whether any material is transparent somewhere."""
        return bool(self._sockets)

    def _find(self, tree: Any, node: Any) -> bool:
        """Collect the sockets that control transparency; False where there is another way."""
        if node.type == "BSDF_PRINCIPLED":
            alpha = node.inputs["Alpha"]
            if alpha.is_linked or alpha.default_value < 1.0:
                self._sockets.append((tree, alpha, False))
            return True
        if node.type == "MIX_SHADER":
            sides = [_input_node(socket) for socket in node.inputs[1:3]]
            clear = [side is not None and side.type == "BSDF_TRANSPARENT" for side in sides]
            if any(clear):
                # The factor is the share of the second shader: of the opaque one, if the first
                # is the transparent one.
                self._sockets.append((tree, node.inputs[0], clear[1]))
            results = [self._find(tree, side) for side in sides if side is not None]
            return all(results) or any(clear)
        if node.type == "ADD_SHADER":
            sides = [_input_node(socket) for socket in node.inputs[:2]]
            return all(side is None or self._find(tree, side) for side in sides)
        return node.type not in ("BSDF_TRANSPARENT", "GROUP")

    def __enter__(self) -> AlphaClip:
        edits = self._edits
        for tree, socket, inverted in self._sockets:
            threshold = 1.0 - self.threshold if inverted else self.threshold
            if not socket.is_linked:
                value = socket.default_value
                clipped = float(value > threshold if inverted else value >= threshold)
                edits.set(socket, "default_value", clipped)
                continue
            source = socket.links[0].from_socket
            clip = edits.new_node(tree, "ShaderNodeMath")
            # alpha >= t is not (alpha < t); Math nodes know only < and >.
            clip.operation = "GREATER_THAN" if inverted else "LESS_THAN"
            clip.inputs[1].default_value = threshold
            tree.links.new(source, clip.inputs[0])
            result = clip.outputs[0]
            if not inverted:
                flip = edits.new_node(tree, "ShaderNodeMath")
                flip.operation = "SUBTRACT"
                flip.inputs[0].default_value = 1.0
                tree.links.new(result, flip.inputs[1])
                result = flip.outputs[0]
            edits.link(tree, result, socket)
        return self

    def __exit__(self, *_: object) -> None:
        self._edits.undo()
