"""What several operators need: how they report, and where their output goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from .errors import RenderError

__all__ = ["TIMER_PERIOD", "NeedsAsset", "fail", "output_folder"]

TIMER_PERIOD = 0.1


def fail(operator: bpy.types.Operator, error: RenderError) -> set[str]:
    """Report a failure with its way out; from a script this raises."""
    operator.report({"ERROR"}, str(error))
    return {"CANCELLED"}


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
