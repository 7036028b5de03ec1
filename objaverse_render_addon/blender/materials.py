"""Materials: missing textures, colours for what has none, material passes, alpha at a threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any, Final

import bpy

from ..cameras import draw
from ..errors import MissingTextures
from ..job import AssetRules
from . import compat
from .edits import Edits

__all__ = [
    "AlphaClip",
    "add_material_passes",
    "color_uncolored",
    "missing_textures",
    "replace_missing_textures",
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
            name = attributes[max(0, attributes.render_color_index)].name
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
