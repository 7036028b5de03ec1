"""Materials write the normal of the surface itself, without normal maps and bump."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from . import compat
from .edits import Edits

__all__ = ["LAYER", "add_surface_normals", "write_surface_normal"]

LAYER: Final = "normal_geometric"
"""Of the view layer's AOV."""

# A number, or the output socket that computes it.
_Value = Any


def add_surface_normals(edits: Edits, materials: Iterable[Any], threshold: float) -> list[str]:
    """Let materials write the normal that their shaders start from, where they are solid.

    Cycles adds up what all surfaces along a ray write, so that those which are clipped away
    (:class:`.materials.AlphaClip`) have to write nothing.

    Args:
        threshold: Opacity from which a surface is object, 0..1.

    Returns:
        Names of materials whose displacement is bump: Cycles turns the surface's own normal by
        it, before any shader sees it.
    """
    bumped = []
    for material in materials:
        tree = material.node_tree
        output = tree.get_output_node("CYCLES") if tree else None
        if output is None:
            continue
        surface = _source(output.inputs["Surface"])
        write_surface_normal(edits, tree, _solid(edits, tree, surface, threshold))
        bump = material.displacement_method != "DISPLACEMENT"
        if bump and output.inputs["Displacement"].is_linked:
            bumped.append(material.name)
    return sorted(set(bumped))


def write_surface_normal(edits: Edits, tree: Any, solid: _Value) -> None:
    """Write the normal in world axes, times a share.

    Flat or smooth as the mesh is shaded, and towards the camera, as the pass ``normal`` is.
    """
    geometry = edits.new_node(tree, "ShaderNodeNewGeometry")
    scale = edits.new_node(tree, "ShaderNodeVectorMath")
    scale.operation = "SCALE"
    tree.links.new(geometry.outputs["Normal"], scale.inputs[0])
    _feed(tree, solid, scale.inputs["Scale"])
    aov = edits.added(tree, compat.new_aov_output(tree, LAYER))
    tree.links.new(scale.outputs[0], aov.inputs["Color"])


def _solid(edits: Edits, tree: Any, node: Any, threshold: float) -> _Value:
    """1 where a shader is there once transparency is clipped, else 0."""
    if node is None:
        return 1.0
    if node.type == "BSDF_TRANSPARENT":
        return 0.0
    if node.type == "BSDF_PRINCIPLED":
        return _at_least(edits, tree, _read(node.inputs["Alpha"]), threshold)
    if node.type == "MIX_SHADER":
        sides = [_source(socket) for socket in node.inputs[1:3]]
        first, second = (_solid(edits, tree, side, threshold) for side in sides)
        share = _read(node.inputs[0])
        clear = [side is not None and side.type == "BSDF_TRANSPARENT" for side in sides]
        if clear[0]:
            share = _at_least(edits, tree, share, threshold)
        elif clear[1]:
            opacity = _math(edits, tree, "SUBTRACT", 1.0, share)
            share = _math(
                edits, tree, "SUBTRACT", 1.0, _at_least(edits, tree, opacity, threshold)
            )
        if first == second == 1.0:
            return 1.0
        rest = _math(edits, tree, "SUBTRACT", 1.0, share)
        return _math(
            edits, tree, "ADD",
            _math(edits, tree, "MULTIPLY", rest, first),
            _math(edits, tree, "MULTIPLY", share, second),
        )  # fmt: skip
    return 1.0


def _at_least(edits: Edits, tree: Any, value: _Value, threshold: float) -> _Value:
    if isinstance(value, float):
        return float(value >= threshold)
    # Math nodes know only < and >.
    below = _math(edits, tree, "LESS_THAN", value, threshold)
    return _math(edits, tree, "SUBTRACT", 1.0, below)


def _math(edits: Edits, tree: Any, operation: str, first: _Value, second: _Value) -> _Value:
    if isinstance(first, float) and isinstance(second, float):
        return {
            "ADD": first + second, "SUBTRACT": first - second, "MULTIPLY": first * second,
        }[operation]  # fmt: skip
    node = edits.new_node(tree, "ShaderNodeMath")
    node.operation = operation
    _feed(tree, first, node.inputs[0])
    _feed(tree, second, node.inputs[1])
    return node.outputs[0]


def _feed(tree: Any, value: _Value, socket: Any) -> None:
    if isinstance(value, float):
        socket.default_value = value
    else:
        tree.links.new(value, socket)


def _read(socket: Any) -> _Value:
    return socket.links[0].from_socket if socket.is_linked else float(socket.default_value)


def _source(socket: Any) -> Any:
    """The node that feeds a socket, past reroutes."""
    while socket.is_linked:
        node = socket.links[0].from_node
        if node.type != "REROUTE":
            return node
        socket = node.inputs[0]
    return None
