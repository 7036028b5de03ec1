"""What several operators need: how they report, and where their output goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import bpy

from ...errors import RenderError

__all__ = ["TIMER_PERIOD", "NeedsAsset", "fail", "in_panel_words", "output_folder"]

TIMER_PERIOD = 0.1

# Ways out as the command line has them, and where they are in Blender's window.
WAYS_OUT: Final = {
    "Allow overwriting (--overwrite) to replace it":
        "Tick Overwrite under Output to replace it",
    "Use --framing fit, a larger --radius or a wider --fov.":
        "Choose Framing: Fit, a larger Radius or a wider FOV under Cameras.",
    "use --missing-textures neutral":
        "choose No Texture: Neutral Grey under Normalize",
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


def output_folder(settings: Any) -> Path:
    """The panel's output folder, absolute."""
    if settings.output_dir.startswith("//") and not bpy.data.filepath:
        # Relative to a file that was never saved: beside the user's other things.
        return Path.home() / settings.output_dir.removeprefix("//")
    return Path(bpy.path.abspath(settings.output_dir))


class NeedsAsset:
    """Greyed out until there is an asset."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is an asset."""
        if context.scene.objaverse.asset is None:
            cls.poll_message_set("Import an asset first, or choose its collection")
            return False
        return True
