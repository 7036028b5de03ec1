"""Pixels say which instance they show, and which face of it: what ids and flow are made of."""

from __future__ import annotations

from typing import Any, Final

import bpy

from . import compat
from .edits import Edits
from .shader_sockets import Value, feed

__all__ = ["FACE", "LAYERS", "can_deform", "number_faces", "write"]

LAYERS: Final = ("instance_place", "surface_number")
"""Of the view layer's AOVs: where the instance's origin stands (x, y, z); its random number, and
the face's number from 1, 0 where faces have none."""
FACE: Final = "objaverse_face"
"""Attribute of faces."""
_GROUP: Final = "Objaverse Face Numbers"


def write(edits: Edits, tree: Any, solid: Value) -> None:
    """Let a material write both.

    Args:
        solid: 1 where the surface is there, else 0.
    """
    info = edits.new_node(tree, "ShaderNodeObjectInfo")
    face = edits.new_node(tree, "ShaderNodeAttribute")
    face.attribute_name = FACE
    both = edits.new_node(tree, "ShaderNodeCombineXYZ")
    tree.links.new(info.outputs["Random"], both.inputs[0])
    tree.links.new(face.outputs["Fac"], both.inputs[1])
    for name, value in zip(LAYERS, (info.outputs["Location"], both.outputs[0]), strict=True):
        scale = edits.new_node(tree, "ShaderNodeVectorMath")
        scale.operation = "SCALE"
        tree.links.new(value, scale.inputs[0])
        feed(tree, solid, scale.inputs["Scale"])
        aov = edits.added(tree, compat.new_aov_output(tree, name))
        tree.links.new(scale.outputs[0], aov.inputs["Color"])


def can_deform(obj: Any) -> bool:
    """Whether an object's shape may be another at another time."""
    data = obj.data
    return bool(
        obj.modifiers
        or obj.type == "META"
        or obj.parent_type in {"ARMATURE", "LATTICE"}
        or (data is not None and data.animation_data)
        or getattr(data, "shape_keys", None)
        or getattr(data, "bevel_object", None)
        or getattr(data, "taper_object", None)
    )


def number_faces(edits: Edits, obj: Any) -> None:
    """Let the faces of what an object's modifiers make have their numbers, as floats from 1.

    They come last, so that each face has one of its own. What is linked from a library cannot be
    changed; of its pixels the nearest face is looked for instead.
    """
    if obj.type != "MESH" or obj.library is not None:
        return
    modifier = obj.modifiers.new(_GROUP, "NODES")
    if modifier is None:
        return
    modifier.node_group = bpy.data.node_groups.get(_GROUP) or _new_group()
    edits.then(lambda: obj.modifiers.remove(modifier))


def _new_group() -> Any:
    group = bpy.data.node_groups.new(_GROUP, "GeometryNodeTree")
    for way in ("INPUT", "OUTPUT"):
        group.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    before, after = group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")
    index, one = group.nodes.new("GeometryNodeInputIndex"), group.nodes.new("ShaderNodeMath")
    one.operation, one.inputs[1].default_value = "ADD", 1.0
    store = group.nodes.new("GeometryNodeStoreNamedAttribute")
    store.domain, store.data_type = "FACE", "FLOAT"
    store.inputs["Name"].default_value = FACE
    value = next(item for item in store.inputs if item.name == "Value" and item.enabled)
    for output, socket in (
        (index.outputs[0], one.inputs[0]),
        (one.outputs[0], value),
        (before.outputs[0], store.inputs["Geometry"]),
        (store.outputs[0], after.inputs[0]),
    ):
        group.links.new(output, socket)
    return group
