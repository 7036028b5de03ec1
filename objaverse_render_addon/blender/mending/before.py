"""What an import brought in."""

from __future__ import annotations

from typing import Any

import bpy

__all__ = ["Before", "principled"]


class Before:
    """What was there before an import."""

    def __init__(self) -> None:
        self._known = {
            kind: set(getattr(bpy.data, kind)) for kind in ("objects", "materials", "images")
        }

    def new(self, kind: str) -> list[Any]:
        """What has come since, of a kind."""
        return [item for item in getattr(bpy.data, kind) if item not in self._known[kind]]


def principled(material: Any) -> Any:
    """The Principled BSDF that importers make of a material, if there is one."""
    nodes = material.node_tree.nodes if material.node_tree is not None else ()
    return next((node for node in nodes if node.type == "BSDF_PRINCIPLED"), None)
