"""Materials write the normal of the surface itself, without normal maps and bump."""

from __future__ import annotations

from typing import Any, Final

from . import compat
from .edits import Edits
from .shader_sockets import Value, feed

__all__ = ["LAYER", "is_bumped", "write"]

LAYER: Final = "normal_geometric"
"""Of the view layer's AOV."""


def write(edits: Edits, tree: Any, solid: Value) -> None:
    """Let a material write the normal that its shaders start from, in world axes.

    Flat or smooth as the mesh is shaded, and towards the camera, as the pass ``normal`` is.

    Args:
        solid: 1 where the surface is there, else 0.
    """
    geometry = edits.new_node(tree, "ShaderNodeNewGeometry")
    scale = edits.new_node(tree, "ShaderNodeVectorMath")
    scale.operation = "SCALE"
    tree.links.new(geometry.outputs["Normal"], scale.inputs[0])
    feed(tree, solid, scale.inputs["Scale"])
    aov = edits.added(tree, compat.new_aov_output(tree, LAYER))
    tree.links.new(scale.outputs[0], aov.inputs["Color"])


def is_bumped(material: Any) -> bool:
    """Whether a material's displacement is bump.

    Cycles turns the surface's own normal by it, before any shader sees it.
    """
    output = material.node_tree.get_output_node("CYCLES")
    bump = material.displacement_method != "DISPLACEMENT"
    return bool(output and bump and output.inputs["Displacement"].is_linked)
