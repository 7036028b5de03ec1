"""OBJ: opacity maps, and vertex colours beside materials."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import bpy
import numpy as np

from .before import Before, principled

__all__ = ["mend"]


def mend(before: Before) -> list[str]:
    """See :func:`objaverse_render_addon.blender.mending.mend`."""
    for image in before.new("images"):
        # A repaired copy refers to its original's files by a way around.
        if ".." in image.filepath and not image.filepath.startswith("//"):
            image.filepath = os.path.normpath(image.filepath)
    for material in before.new("materials"):
        _use_opacity_map(material)
    return _use_vertex_colors(before.new("objects"))


def _use_opacity_map(material: Any) -> None:
    """``map_d`` is a picture of opacity; only where it has an alpha channel is that its alpha."""
    tree = material.node_tree
    shader = principled(material)
    if shader is None or not shader.inputs["Alpha"].is_linked:
        return
    node = shader.inputs["Alpha"].links[0].from_node
    if node.type != "TEX_IMAGE" or node.image is None:
        return
    color = shader.inputs["Base Color"]
    picture = color.links[0].from_node if color.is_linked else None
    same = getattr(picture, "image", None) == node.image
    if same and node.image.channels == 4:
        return
    if not any(node.image.size) or _is_transparent(node.image):
        return
    if same or node.image.users > 1:
        copy = tree.nodes.new("ShaderNodeTexImage")
        copy.image = node.image.copy()
        if node.inputs["Vector"].is_linked:
            tree.links.new(node.inputs["Vector"].links[0].from_socket, copy.inputs["Vector"])
        node = copy
    node.image.colorspace_settings.name = "Non-Color"
    tree.links.new(node.outputs["Color"], shader.inputs["Alpha"])


def _is_transparent(image: Any) -> bool:
    """Whether it has an alpha channel with something in it."""
    if image.channels < 4 or image.depth in (8, 16, 24):
        return False
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    return bool((pixels[3::4] < 1).any())


def _use_vertex_colors(objects: Iterable[Any]) -> list[str]:
    """Vertex colours are the base colour of materials that have none of their own."""
    colored: dict[Any, Any] = {}
    lost = set()
    for obj in objects:
        if obj.type != "MESH" or not len(obj.data.color_attributes) or not obj.data.materials:
            continue
        attributes = obj.data.color_attributes
        attribute = attributes[max(0, attributes.render_color_index)]
        values = np.empty(len(attribute.data) * 4, np.float32)
        attribute.data.foreach_get("color", values)
        if (values.reshape(-1, 4)[:, :3] >= 1).all():
            continue
        for slot, material in enumerate(obj.data.materials):
            if material is None:
                continue
            if not _is_neutral(material):
                lost.add(material.name)
                continue
            if material not in colored:
                colored[material] = _colored(material, attribute.name)
            obj.data.materials[slot] = colored[material]
    for material in colored:
        if not material.users:
            bpy.data.materials.remove(material)
    if not lost:
        return []
    names = ", ".join(repr(name) for name in sorted(lost)[:5])
    return [f"not-imported: vertex colors beside materials with a color of their own: {names}."]


def _is_neutral(material: Any) -> bool:
    shader = principled(material)
    if shader is None or shader.inputs["Base Color"].is_linked:
        return False
    color = tuple(shader.inputs["Base Color"].default_value)[:3]
    return bool(max(color) - min(color) < 1e-3)


def _colored(material: Any, attribute: str) -> Any:
    # The one that comes in has to keep its name; others may use it without colors.
    copy = material.copy()
    tree = copy.node_tree
    node = tree.nodes.new("ShaderNodeVertexColor")
    node.layer_name = attribute
    tree.links.new(node.outputs["Color"], principled(copy).inputs["Base Color"])
    return copy
