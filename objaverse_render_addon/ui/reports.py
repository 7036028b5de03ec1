"""Failures in the words of Blender's window."""

from __future__ import annotations

from typing import Final

import bpy

from ..errors import RenderError

__all__ = ["WAYS_OUT", "fail", "in_panel_words"]

# Ways out as the command line has them, and where they are in Blender's window.
WAYS_OUT: Final = {
    "Allow overwriting (--overwrite) to replace it":
        "Tick Overwrite under Output to replace it",
    "Use --framing fit, a larger --radius or a wider --fov.":
        "Choose Framing: Fit, a larger Radius or a wider FOV under Cameras.",
    "use --missing-textures neutral":
        "choose No Texture: Neutral Grey under Normalize",
    "of your own files, --allow-outside DIR widens it":
        "of your own files, open them in Blender, where they may lie anywhere",
    "Allow more with --max-memory":
        "Raise the Memory Limit in the extension's preferences",
    "Use --device auto or one of these":
        "Choose Device: Automatic in the extension's preferences, or one of these",
    "choose another --download-dir":
        "choose another Download Folder in the extension's preferences",
}  # fmt: skip


def fail(operator: bpy.types.Operator, error: RenderError) -> set[str]:
    """Report a failure with its way out; from a script this raises."""
    operator.report({"ERROR"}, in_panel_words(error))
    return {"CANCELLED"}


def in_panel_words(error: RenderError) -> str:
    """What went wrong, and the way out by the names that the panel has."""
    text = str(error)
    for flag, words in WAYS_OUT.items():
        text = text.replace(flag, words)
    return text
