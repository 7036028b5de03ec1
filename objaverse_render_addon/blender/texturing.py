"""Images that changes of an open scene put onto materials."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from ..errors import InvalidEdit

__all__ = ["feed", "is_color", "leave_plain", "starve", "unfold"]

_OURS: Final = "Objaverse texture"
_PLAIN: Final = "Objaverse plain"
_UNFOLDED: Final = ("CURVE", "SURFACE", "FONT")
"""Kinds of objects that Blender gives UVs of their own."""


def is_color(socket: Any) -> bool:
    """Whether what feeds an input is seen as a colour."""
    return bool(socket.type == "RGBA")


def feed(tree: Any, socket: Any, image: Any, repeat: float) -> None:
    """Let an image be what an input gets, instead of what fed it."""
    node = _own(socket)
    if node is None:
        starve(tree, socket)
        node = _new_texture(tree, socket)
    node.image = image
    mapping = node.inputs["Vector"].links[0].from_node
    mapping.inputs["Scale"].default_value = (repeat, repeat, repeat)
    if socket.name == "Base Color":
        # What the raster lane draws is the active one.
        tree.nodes.active = node


def leave_plain(tree: Any) -> None:
    """Let the raster lane draw a material in its own colour, whatever images it has besides.

    That lane draws the active texture, or the first that there is: an active one that is no image
    is none.
    """
    node = next((node for node in tree.nodes if node.label == _PLAIN), None)
    if node is None:
        node = tree.nodes.new("ShaderNodeTexWhiteNoise")
        node.label = _PLAIN
    tree.nodes.active = node


def starve(tree: Any, socket: Any) -> None:
    """Take away what feeds an input."""
    ours = _own(socket)
    for link in list(socket.links):
        tree.links.remove(link)
    if ours is not None:
        for node in [node for node in tree.nodes if node.label == f"{_OURS} {socket.identifier}"]:
            tree.nodes.remove(node)


def _own(socket: Any) -> Any:
    """The image node of an earlier change that feeds an input, if one does."""
    wanted = f"{_OURS} {socket.identifier}"
    node = socket.links[0].from_node if socket.is_linked else None
    if node is not None and node.type == "NORMAL_MAP" and node.label == wanted:
        node = node.inputs["Color"].links[0].from_node
    return node if node is not None and node.type == "TEX_IMAGE" and node.label == wanted else None


def _new_texture(tree: Any, socket: Any) -> Any:
    def new(kind: str) -> Any:
        node = tree.nodes.new(kind)
        node.label = f"{_OURS} {socket.identifier}"
        return node

    place, mapping = new("ShaderNodeTexCoord"), new("ShaderNodeMapping")
    node = new("ShaderNodeTexImage")
    tree.links.new(place.outputs["UV"], mapping.inputs["Vector"])
    tree.links.new(mapping.outputs["Vector"], node.inputs["Vector"])
    output = node.outputs["Color"]
    if socket.type == "VECTOR" and "Normal" in socket.name:
        bent = new("ShaderNodeNormalMap")
        tree.links.new(output, bent.inputs["Color"])
        output = bent.outputs["Normal"]
    tree.links.new(output, socket)
    return node


def unfold(objects: Iterable[Any]) -> None:
    """Give meshes UVs that have none: each face as it is seen along the axis that it faces most.

    Raises:
        InvalidEdit: There are none to be had; nothing was done then.
    """
    found = [obj for obj in objects if obj.type not in _UNFOLDED]
    for obj in found:
        if obj.type != "MESH":
            raise InvalidEdit(f"{obj.name} is no mesh, and has no UVs for an image to lie by.")
    for mesh in {obj.data for obj in found}:
        if mesh.loops and not mesh.uv_layers:
            _unfold(mesh)


def _unfold(mesh: Any) -> None:
    count = len(mesh.loops)
    points = np.empty((len(mesh.vertices), 3), np.float32)
    corners = np.empty(count, np.int32)
    normals = np.empty((len(mesh.polygons), 3), np.float32)
    sizes = np.empty(len(mesh.polygons), np.int32)
    mesh.vertices.foreach_get("co", points.reshape(-1))
    mesh.loops.foreach_get("vertex_index", corners)
    mesh.polygons.foreach_get("normal", normals.reshape(-1))
    mesh.polygons.foreach_get("loop_total", sizes)
    along = np.repeat(np.argmax(np.abs(normals), axis=1), sizes)
    facing = np.repeat(normals, sizes, axis=0)[np.arange(count), along]
    # Upright on the sides, and not mirrored, whichever side is looked at.
    across, up = np.array([1, 0, 0])[along], np.array([2, 2, 1])[along]
    mirrored = np.where(along == 1, facing > 0, facing < 0)
    at, rows = points[corners], np.arange(count)
    u = at[rows, across] * np.where(mirrored, -1, 1)
    layer = mesh.uv_layers.new(name="UVMap")
    layer.data.foreach_set("uv", np.stack([u, at[rows, up]], axis=1).astype(np.float32).ravel())
