"""Sockets of shader nodes: what feeds one, and feeding one."""

from __future__ import annotations

from typing import Any

import bpy

__all__ = ["Value", "clamped", "feed", "source_of"]

Value = Any
"""A float, a colour (r, g, b), the output socket that computes either, or None: there is none."""


def source_of(socket: Any) -> Any:
    """The output socket that feeds an input, past reroutes and muted nodes; None if none does."""
    while socket.is_linked:
        link = next((link for link in socket.links if not link.is_muted), None)
        if link is None:
            return None
        node = link.from_node
        if node.type == "REROUTE":
            socket = node.inputs[0]
        elif node.mute:
            through = [item for item in node.internal_links if item.to_socket == link.from_socket]
            if not through:
                return None
            socket = through[0].from_socket
        else:
            return link.from_socket
    return None


def feed(tree: Any, value: Value, socket: Any) -> None:
    """Set a socket to a value, or link it."""
    if isinstance(value, bpy.types.NodeSocket):
        tree.links.new(value, socket)
    elif isinstance(value, float):
        socket.default_value = value if socket.type == "VALUE" else (value, value, value, 1.0)
    else:
        socket.default_value = (*value, 1.0)


def clamped(value: Value) -> Value:
    """A constant, a number or a colour, cut to 0..1."""
    if isinstance(value, tuple):
        return tuple(min(1.0, max(0.0, item)) for item in value)
    return min(1.0, max(0.0, value))
