"""What several operators need: where their output goes, and that there is an asset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

__all__ = ["NeedsAsset", "output_folder"]


def output_folder(settings: Any) -> Path:
    """The panel's output folder, absolute."""
    folder: str = settings.output_dir
    if folder.startswith("//") and not bpy.data.filepath:
        # Relative to a file that was never saved: beside the user's other things.
        return Path.home() / folder.removeprefix("//")
    return Path(bpy.path.abspath(folder))


class NeedsAsset:
    """Greyed out until there is an asset."""

    if TYPE_CHECKING:

        @classmethod
        def poll_message_set(cls, text: str) -> None:
            """Blender's."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is an asset."""
        if context.scene.objaverse.asset is None:
            cls.poll_message_set("Import an asset first, or choose its collection")
            return False
        return True
