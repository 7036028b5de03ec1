"""What several operators need: where their output goes, that there is an asset, a list's lines."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import bpy

from ...assets.catalogue import titles
from ...errors import SourceNotFound
from .. import preferences

__all__ = ["NeedsAsset", "asset_of_line", "has_output", "labels", "output_folder"]


def output_folder(settings: Any) -> Path:
    """The panel's output folder, absolute."""
    folder: str = settings.output_dir
    if folder.startswith("//") and not bpy.data.filepath:
        # Relative to a file that was never saved: beside the user's other things.
        return Path.home() / folder.removeprefix("//")
    return Path(bpy.path.abspath(folder))


def labels(sources: Iterable[str], context: bpy.types.Context) -> list[str]:
    """Names for the list's lines: what Objaverse calls its own, and of other paths as much of the
    end as it takes to tell them apart.
    """
    named = [*sources]
    called = titles(named, preferences.options(context).get("download_dir"))
    parts = [PurePath(source).parts for source in named]
    longest, count = max(map(len, parts), default=1), 1
    while count < longest and len({each[-count:] for each in parts}) < len({*parts}):
        count += 1
    return [
        called.get(source) or "/".join(each[-count:])
        for source, each in zip(named, parts, strict=True)
    ]


def has_output(operator: Any, context: bpy.types.Context) -> bool:
    """For an operator's poll: whether the output folder is there, or why it cannot be used."""
    if output_folder(context.scene.objaverse).is_dir():
        return True
    operator.poll_message_set("The output folder is not there yet: render something first")
    return False


def asset_of_line(context: bpy.types.Context, index: int = -1) -> Path:
    """The finished asset of a line of the batch list; of the selected one where negative.

    Raises:
        SourceNotFound: There is none.
    """
    state = context.window_manager.objaverse
    index = state.active if index < 0 else index
    item = state.items[index] if index < len(state.items) else None
    if item is None or not item.result:
        raise SourceNotFound("This asset is not finished.", hint="Render it first.")
    asset = Path(item.result)
    if asset.suffix == ".tar" and asset.stem != item.asset_id:
        # A shard, which holds others too.
        asset /= item.asset_id
    return asset


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
