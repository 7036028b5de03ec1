"""What a material's shaders say of its surface: opacity, base colour, roughness and metallic.

The values are read where the shader reads them, so that they are those of each point of a surface;
nodes are added only where shaders are mixed. Node groups are looked into.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import bpy

from .edits import Edits
from .shader_sockets import Value, clamped, feed, source_of
from .specular_glossiness import conversion_group

__all__ = ["Kind", "ShaderValues", "surface_input"]

Kind = Literal["opacity", "albedo", "roughness_metallic"]

_COLOR_SOCKETS: Final = ("Base Color", "Color")
_GLOSSY: Final = ("BSDF_GLOSSY", "BSDF_METALLIC", "BSDF_ANISOTROPIC")
_ROUGH: Final = (
    "BSDF_DIFFUSE", "BSDF_GLASS", "BSDF_REFRACTION", "BSDF_TRANSLUCENT", "SUBSURFACE_SCATTERING",
    "BSDF_SHEEN", "BSDF_VELVET", "BSDF_TOON", "BSDF_HAIR", "BSDF_HAIR_PRINCIPLED", "EMISSION",
)  # fmt: skip
# Nodes whose value for a point of a surface is another from another side; all outputs, or some.
_OF_THE_VIEW: Final[dict[str, tuple[str, ...]]] = {
    "FRESNEL": (),
    "LAYER_WEIGHT": (),
    "CAMERA": (),
    "LIGHT_PATH": (),
    "NEW_GEOMETRY": ("Incoming", "Backfacing"),
    "TEX_COORD": ("Camera", "Window", "Reflection"),
}
_MIRROR_IOR: Final = 100.0
"""From here on a dielectric reflects more than 96 % of what its specular tint lets it."""


def surface_input(material: Any) -> Any:
    """The input of a material's output node that takes its surface in Cycles; None without one."""
    tree = material.node_tree
    output = tree.get_output_node("CYCLES") if tree else None
    return output.inputs["Surface"] if output else None


def _read(socket: Any) -> Value:
    if (source := source_of(socket)) is not None:
        return source
    value = socket.default_value
    return float(value) if socket.type == "VALUE" else tuple(value)[:3]


@dataclass
class ShaderValues:
    """Reads the shaders of some materials, which may share node groups.

    Args:
        edits: What takes back the nodes that are added.

    Attributes:
        clear: Trees and what makes their shaders transparent: Transparent nodes, Alpha sockets.
        of_the_view: Whether an opacity that was read depends on where it is looked at from.
        unclear: Whether an opacity could not be read; it counts as 1.
        converted: Whether a base colour was made from diffuse and specular colour.
    """

    edits: Edits
    clear: list[tuple[Any, Any]] = field(default_factory=list)
    of_the_view: bool = False
    unclear: bool = False
    converted: bool = False
    _groups: dict[tuple[int, str, str], Value] = field(default_factory=dict)
    _wanted: dict[tuple[int, str, str], str] = field(default_factory=dict)
    _facts: dict[tuple[int, str, str], tuple[bool, bool, bool]] = field(default_factory=dict)

    def of(self, tree: Any, socket: Any, kind: Kind) -> Value:
        """The value of the shader that feeds a socket."""
        source = source_of(socket)
        if source is None:
            return 1.0 if kind == "opacity" else None
        node = source.node
        if node.type == "GROUP":
            return self._through_group(tree, node, source, kind)
        if node.type == "GROUP_INPUT":
            return self._from_outside(tree, node, source, kind)
        if source.type != "SHADER":
            return self._light(tree, source, kind)
        if kind == "opacity":
            return self._opacity(tree, node)
        if node.type == "MIX_SHADER":
            first, second = (self.of(tree, item, kind) for item in node.inputs[1:3])
            if first is None or second is None:
                # What is transparent has no colour.
                return first if second is None else second
            return self._mixed(tree, node.inputs[0], first, second, "RGBA")
        if node.type == "ADD_SHADER":
            found = [self.of(tree, item, kind) for item in node.inputs[:2]]
            # Usually a surface plus emission or gloss; its first surface names the colour.
            return next((value for value in found if value is not None), None)
        if node.type in ("BSDF_TRANSPARENT", "HOLDOUT"):
            return None
        follow = self._albedo if kind == "albedo" else self._roughness_metallic
        return follow(tree, node)

    # --- Opacity --------------------------------------------------------------------------------

    def _opacity(self, tree: Any, node: Any) -> Value:
        if node.type == "BSDF_PRINCIPLED":
            alpha = node.inputs["Alpha"]
            value = self._number(alpha)
            if value != 1.0:
                self.clear.append((tree, alpha))
            return value
        if node.type == "BSDF_TRANSPARENT":
            self.clear.append((tree, node))
            color = _read(node.inputs["Color"])
            if isinstance(color, tuple):
                return 1.0 - sum(color) / 3
            self._look(color)
            mean = self.edits.new_node(tree, "ShaderNodeVectorMath")
            mean.operation = "DOT_PRODUCT"
            mean.inputs[1].default_value = (1 / 3,) * 3
            tree.links.new(color, mean.inputs[0])
            return self._math(tree, "SUBTRACT", 1.0, mean.outputs["Value"])
        if node.type == "MIX_SHADER":
            first, second = (self.of(tree, item, "opacity") for item in node.inputs[1:3])
            if first == 1.0 and second == 1.0:
                return 1.0
            return self._mixed(tree, node.inputs[0], first, second, "FLOAT")
        if node.type == "ADD_SHADER":
            first, second = (self.of(tree, item, "opacity") for item in node.inputs[:2])
            if isinstance(first, float) and isinstance(second, float):
                return max(0.0, first + second - 1.0)
            added = self._math(tree, "ADD", first, second)
            return self._math(tree, "SUBTRACT", added, 1.0)
        self.unclear |= node.type == "BSDF_RAY_PORTAL"
        return 1.0

    def _number(self, socket: Any) -> Value:
        """What a socket reads while the camera's rays are traced."""
        value = _read(socket)
        if not isinstance(value, bpy.types.NodeSocket):
            return value
        if value.node.type == "LIGHT_PATH" and value.name.startswith("Is "):
            return 1.0 if value.name == "Is Camera Ray" else 0.0
        self._look(value)
        return value

    def _look(self, output: Any) -> None:
        self.of_the_view |= any(_of_the_view(output, set()))

    # --- Colour ---------------------------------------------------------------------------------

    def _light(self, tree: Any, source: Any, kind: Kind) -> Value:
        """A colour in a shader's place is emitted. EEVEE's own colours are nothing in Cycles."""
        if kind == "opacity":
            return 1.0
        if source.node.type == "SHADERTORGB":
            return None
        return source if kind == "albedo" else self._pair(tree, 1.0, 0.0)

    def _albedo(self, tree: Any, node: Any) -> Value:
        if (both := self._metal_of(tree, node)) is not None:
            return both.outputs["Base Color"]
        for name in _COLOR_SOCKETS:
            socket = node.inputs.get(name)
            if socket is not None:
                return _read(socket)
        return None

    def _roughness_metallic(self, tree: Any, node: Any) -> Value:
        roughness, metallic = node.inputs.get("Roughness"), node.inputs.get("Metallic")
        if node.type == "BSDF_PRINCIPLED":
            both = self._metal_of(tree, node)
            metal = _read(metallic) if both is None else both.outputs["Metallic"]
            return self._pair(tree, _read(roughness), metal)
        if node.type not in (*_GLOSSY, *_ROUGH):
            return None
        rough = 1.0 if roughness is None or node.type == "BSDF_DIFFUSE" else _read(roughness)
        return self._pair(tree, rough, 1.0 if node.type in _GLOSSY else 0.0)

    def _pair(self, tree: Any, roughness: Value, metallic: Value) -> Value:
        if isinstance(roughness, float) and isinstance(metallic, float):
            return (roughness, metallic, 0.0)
        combine = self.edits.new_node(tree, "ShaderNodeCombineColor")
        feed(tree, roughness, combine.inputs[0])
        feed(tree, metallic, combine.inputs[1])
        combine.inputs[2].default_value = 0.0
        return combine.outputs[0]

    def _metal_of(self, tree: Any, node: Any) -> Any:
        """The node that turns a Principled of diffuse and specular colour into base and metal.

        glTF's specular-glossiness comes as one: its index of refraction is so high that the tint
        alone is its reflectance (KHR_materials_pbrSpecularGlossiness).
        """
        if node.type != "BSDF_PRINCIPLED":
            return None
        index, metallic = node.inputs["IOR"], node.inputs["Metallic"]
        if index.is_linked or index.default_value < _MIRROR_IOR:
            return None
        if metallic.is_linked or metallic.default_value > 0:
            return None
        self.converted = True
        group = self.edits.new_node(tree, "ShaderNodeGroup")
        group.node_tree = self._conversion()
        feed(tree, _read(node.inputs["Base Color"]), group.inputs["Diffuse"])
        feed(tree, _read(node.inputs["Specular Tint"]), group.inputs["Specular"])
        return group

    def _conversion(self) -> Any:
        key = (0, "", "conversion")
        if key not in self._groups:
            group = conversion_group()
            self.edits.then(lambda: bpy.data.node_groups.remove(group))
            self._groups[key] = group
        return self._groups[key]

    # --- Mixes ----------------------------------------------------------------------------------

    def _mixed(
        self, tree: Any, factor: Any, first: Value, second: Value, kind: Literal["RGBA", "FLOAT"]
    ) -> Value:
        share = self._number(factor) if kind == "FLOAT" else _read(factor)
        if isinstance(share, float):
            share = clamped(share)
            constant = (float, tuple)
            if isinstance(first, constant) and isinstance(second, constant):
                return _between(first, second, share)
        mix = self.edits.new_node(tree, "ShaderNodeMix")
        mix.data_type = kind
        at = {"FLOAT": (2, 3, 0), "RGBA": (6, 7, 2)}[kind]
        feed(tree, share, mix.inputs[0])
        feed(tree, first, mix.inputs[at[0]])
        feed(tree, second, mix.inputs[at[1]])
        return mix.outputs[at[2]]

    def _math(self, tree: Any, operation: str, first: Value, second: Value) -> Any:
        node = self.edits.new_node(tree, "ShaderNodeMath")
        node.operation = operation
        feed(tree, first, node.inputs[0])
        feed(tree, second, node.inputs[1])
        return node.outputs[0]

    # --- Groups ---------------------------------------------------------------------------------

    def _through_group(self, tree: Any, node: Any, source: Any, kind: Kind) -> Value:
        """A value inside a group comes out of it by a socket of its own."""
        inner = node.node_tree
        ends = [item for item in inner.nodes if item.type == "GROUP_OUTPUT"] if inner else []
        end = next((item for item in ends if item.is_active_output), None)
        if end is None:
            self.unclear |= kind == "opacity"
            return 1.0 if kind == "opacity" else None
        key = (inner.as_pointer(), source.identifier, kind)
        if key not in self._groups:
            before = self.of_the_view, self.unclear, self.converted
            self.of_the_view = self.unclear = self.converted = False
            value = self.of(inner, _by_identifier(end.inputs, source.identifier), kind)
            self._facts[key] = self.of_the_view, self.unclear, self.converted
            self.of_the_view, self.unclear, self.converted = before
            if isinstance(value, bpy.types.NodeSocket):
                name = self._new_socket(inner, "OUTPUT", kind)
                feed(inner, value, _by_identifier(end.inputs, name))
                value = name
            self._groups[key] = value
        facts = self._facts[key]
        self.of_the_view |= facts[0]
        self.unclear |= facts[1]
        self.converted |= facts[2]
        value = self._groups[key]
        if not isinstance(value, str):
            return value
        for (group, shader, wanted), name in list(self._wanted.items()):
            if group == inner.as_pointer() and wanted == kind:
                outer = self.of(tree, _by_identifier(node.inputs, shader), kind)
                if outer is None:
                    return None
                feed(tree, outer, _by_identifier(node.inputs, name))
        if kind == "opacity":
            for socket in node.inputs:
                if socket.is_linked and socket.type != "SHADER":
                    self._look(socket.links[0].from_socket)
        return _by_identifier(node.outputs, value)

    def _from_outside(self, tree: Any, node: Any, source: Any, kind: Kind) -> Value:
        """A shader that is given to a group brings its value by a socket of its own."""
        key = (tree.as_pointer(), source.identifier, kind)
        if source.type != "SHADER":
            return self._light(tree, source, kind)
        if key not in self._wanted:
            self._wanted[key] = self._new_socket(tree, "INPUT", kind)
        return _by_identifier(node.outputs, self._wanted[key])

    def _new_socket(self, group: Any, way: str, kind: Kind) -> str:
        number = "NodeSocketFloat" if kind == "opacity" else "NodeSocketColor"
        item = group.interface.new_socket(f"Objaverse {kind}", in_out=way, socket_type=number)
        name = str(item.identifier)
        self.edits.then(lambda: _remove_socket(group, name))
        return name


def _remove_socket(group: Any, identifier: str) -> None:
    # Python's hold on an item of an interface does not outlast changes of the others.
    for item in group.interface.items_tree:
        if getattr(item, "identifier", None) == identifier:
            group.interface.remove(item)
            return


def _by_identifier(sockets: Iterable[Any], identifier: str) -> Any:
    return next(socket for socket in sockets if socket.identifier == identifier)


def _between(first: Value, second: Value, share: float) -> Value:
    if isinstance(first, float) and isinstance(second, float):
        return first * (1.0 - share) + second * share
    first = (first,) * 3 if isinstance(first, float) else first
    second = (second,) * 3 if isinstance(second, float) else second
    return tuple(a * (1.0 - share) + b * share for a, b in zip(first, second, strict=True))


def _of_the_view(output: Any, seen: set[int]) -> Iterator[bool]:
    """Whether what an output says depends on the view, for the nodes that it is made from."""
    node = output.node
    if node.type in _OF_THE_VIEW:
        some = _OF_THE_VIEW[node.type]
        yield not some or output.name in some
    if node.as_pointer() in seen:
        return
    seen.add(node.as_pointer())
    if node.type == "GROUP" and node.node_tree is not None:
        for item in node.node_tree.nodes:
            if item.type == "GROUP_OUTPUT":
                yield from _of_the_inputs(item, seen)
    yield from _of_the_inputs(node, seen)


def _of_the_inputs(node: Any, seen: set[int]) -> Iterator[bool]:
    for socket in node.inputs:
        if (source := source_of(socket)) is not None:
            yield from _of_the_view(source, seen)
