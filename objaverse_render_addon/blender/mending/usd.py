"""USD: opacity, as UsdPreviewSurface and its stand-ins without a material mean it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .. import compat
from .before import Before, principled

__all__ = ["mend"]

_NEUTRAL = (0.5, 0.5, 0.5, 1.0)


def mend(path: Path, before: Before) -> list[str]:
    """See :func:`objaverse_render_addon.blender.mending.mend`."""
    materials = before.new("materials")
    for material in materials:
        _undo_glass(material)
    _use_display_opacity(before.new("objects"))
    return _cut_off(path, materials)


def _undo_glass(material: Any) -> None:
    """Since 5.1 the importer makes glass of opacity; it has no other use for transmission."""
    shader = principled(material)
    glass = shader.inputs.get("Transmission Weight") if shader is not None else None
    if glass is None:
        return
    tree, alpha = material.node_tree, shader.inputs["Alpha"]
    if glass.is_linked:
        # 1 - opacity.
        source = glass.links[0].from_socket
        flip = source.node
        tree.links.remove(glass.links[0])
        if flip.type == "MATH" and flip.operation == "SUBTRACT" and flip.inputs[1].is_linked:
            source = flip.inputs[1].links[0].from_socket
        else:
            flip = tree.nodes.new("ShaderNodeMath")
            flip.operation = "SUBTRACT"
            flip.inputs[0].default_value = 1.0
            tree.links.new(source, flip.inputs[1])
            source = flip.outputs[0]
        tree.links.new(source, alpha)
    elif glass.default_value > 0 and not alpha.is_linked:
        alpha.default_value = 1 - glass.default_value
    glass.default_value = 0.0


def _cut_off(path: Path, materials: list[Any]) -> list[str]:
    """Less opaque than its threshold is not there, the rest is opaque (UsdPreviewSurface)."""
    partly = {}
    for material in materials:
        shader = principled(material)
        alpha = shader.inputs["Alpha"] if shader is not None else None
        if alpha is not None and (alpha.is_linked or 0 < alpha.default_value < 1):
            partly[material.name] = material, alpha
    if not partly:
        return []
    thresholds = compat.usd_opacity_thresholds(path)
    if thresholds is None:
        names = ", ".join(repr(name) for name in sorted(partly)[:5])
        return [f"not-imported: the opacity threshold of {names}, if there is one."]
    for name, (material, alpha) in partly.items():
        threshold = thresholds.get(name, thresholds.get(name.rpartition(".")[0], 0.0))
        if threshold <= 0:
            continue
        if not alpha.is_linked:
            alpha.default_value = float(alpha.default_value >= threshold)
        elif not _is_cut(alpha.links[0].from_node):
            below = material.node_tree.nodes.new("ShaderNodeMath")
            below.operation = "LESS_THAN"
            below.inputs[1].default_value = threshold
            flip = material.node_tree.nodes.new("ShaderNodeMath")
            flip.operation = "SUBTRACT"
            flip.inputs[0].default_value = 1.0
            links = material.node_tree.links
            links.new(alpha.links[0].from_socket, below.inputs[0])
            links.new(below.outputs[0], flip.inputs[1])
            links.new(flip.outputs[0], alpha)
    return []


def _is_cut(node: Any) -> bool:
    """Whether the importer made it of a threshold itself: 1 - (x < threshold), or such."""
    if node.type != "MATH":
        return False
    compares = {"LESS_THAN", "GREATER_THAN", "ROUND"}
    before = [link.from_node for socket in node.inputs for link in socket.links]
    return node.operation in compares or any(
        one.type == "MATH" and one.operation in compares for one in before
    )


def _use_display_opacity(objects: list[Any]) -> None:
    """``primvars:displayOpacity`` of what has no material."""
    made: dict[bool, Any] = {}
    for obj in objects:
        if obj.type != "MESH" or any(slot.material for slot in obj.material_slots):
            continue
        opacity = obj.data.attributes.get("displayOpacity")
        if opacity is None or opacity.data_type != "FLOAT" or not len(opacity.data):
            continue
        values = np.empty(len(opacity.data), np.float32)
        opacity.data.foreach_get("value", values)
        if (values >= 1).all():
            continue
        colored = obj.data.attributes.get("displayColor") is not None
        if colored not in made:
            made[colored] = _display_material(colored)
        obj.data.materials.clear()
        obj.data.materials.append(made[colored])


def _display_material(colored: bool) -> Any:
    material = bpy.data.materials.new("Display Opacity")
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    shader = principled(material)
    shader.inputs["Roughness"].default_value = 0.8
    shader.inputs["Base Color"].default_value = _NEUTRAL
    if colored:
        color = tree.nodes.new("ShaderNodeVertexColor")
        color.layer_name = "displayColor"
        tree.links.new(color.outputs["Color"], shader.inputs["Base Color"])
    opacity = tree.nodes.new("ShaderNodeAttribute")
    opacity.attribute_name = "displayOpacity"
    tree.links.new(opacity.outputs["Fac"], shader.inputs["Alpha"])
    return material
