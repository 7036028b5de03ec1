"""Depth, normals, masks and the other passes, as Blender's compositor writes them."""

from __future__ import annotations

from .blender.passes import set_output, setup_passes

__all__ = ["set_output", "setup_passes"]
