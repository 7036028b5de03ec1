"""Diffuse and specular colour to base colour and metallic."""

from __future__ import annotations

from typing import Any, Final

import bpy

from .shader_sockets import Value, feed

__all__ = ["conversion_group"]

_DIELECTRIC: Final = 0.04


def conversion_group() -> Any:
    """Khronos' conversion of specular-glossiness to metallic-roughness, as a node group.

    The metal is what explains both brightnesses, with a dielectric that reflects 4 %: the root of
    a square equation. https://github.com/KhronosGroup/glTF/tree/main/extensions/2.0/Archived/
    KHR_materials_pbrSpecularGlossiness (examples/convert-between-workflows).
    """
    group = bpy.data.node_groups.new("Objaverse Specular to Metallic", "ShaderNodeTree")
    for way, kind, name in (
        ("INPUT", "NodeSocketColor", "Diffuse"),
        ("INPUT", "NodeSocketColor", "Specular"),
        ("OUTPUT", "NodeSocketColor", "Base Color"),
        ("OUTPUT", "NodeSocketFloat", "Metallic"),
    ):
        group.interface.new_socket(name, in_out=way, socket_type=kind)
    start = group.nodes.new("NodeGroupInput")
    end = group.nodes.new("NodeGroupOutput")

    def math(operation: str, *values: Value, clamp: bool = False) -> Any:
        node = group.nodes.new("ShaderNodeMath")
        node.operation, node.use_clamp = operation, clamp
        for value, socket in zip(values, node.inputs, strict=False):
            feed(group, value, socket)
        return node.outputs[0]

    def channels(color: Any) -> list[Any]:
        node = group.nodes.new("ShaderNodeSeparateColor")
        group.links.new(color, node.inputs[0])
        return list(node.outputs)

    def brightness(parts: list[Any]) -> Any:
        total: Value = 0.0
        for part, weight in zip(parts, (0.299, 0.587, 0.114), strict=True):
            total = math("ADD", math("MULTIPLY", math("MULTIPLY", part, part), weight), total)
        return math("SQRT", total)

    diffuse, specular = (channels(start.outputs[name]) for name in ("Diffuse", "Specular"))
    strongest = math("MAXIMUM", math("MAXIMUM", specular[0], specular[1]), specular[2])
    rest = math("SUBTRACT", 1.0, strongest)
    lit, shine = brightness(diffuse), brightness(specular)
    scaled = math("DIVIDE", math("MULTIPLY", lit, rest), 1 - _DIELECTRIC)
    b = math("SUBTRACT", math("ADD", scaled, shine), 2 * _DIELECTRIC)
    c = math("SUBTRACT", _DIELECTRIC, shine)
    root = math("SUBTRACT", math("MULTIPLY", b, b), math("MULTIPLY", c, 4 * _DIELECTRIC))
    root = math("SQRT", math("MAXIMUM", root, 0.0))
    solved = math("DIVIDE", math("SUBTRACT", root, b), 2 * _DIELECTRIC, clamp=True)
    above = math("SUBTRACT", 1.0, math("LESS_THAN", shine, _DIELECTRIC))
    metal = math("MULTIPLY", solved, above)
    matte = math("SUBTRACT", 1.0, metal)
    square = math("MULTIPLY", metal, metal)
    combine = group.nodes.new("ShaderNodeCombineColor")
    for part, shining, socket in zip(diffuse, specular, combine.inputs, strict=True):
        share = math("DIVIDE", rest, math("MULTIPLY", math("MAXIMUM", matte, 1e-6), 0.96))
        from_diffuse = math("MULTIPLY", part, share)
        over = math("SUBTRACT", shining, math("MULTIPLY", matte, _DIELECTRIC))
        from_specular = math("DIVIDE", over, math("MAXIMUM", metal, 1e-6))
        steps = math("MULTIPLY", math("SUBTRACT", from_specular, from_diffuse), square)
        feed(group, math("ADD", from_diffuse, steps, clamp=True), socket)
    group.links.new(combine.outputs[0], end.inputs["Base Color"])
    group.links.new(metal, end.inputs["Metallic"])
    return group
