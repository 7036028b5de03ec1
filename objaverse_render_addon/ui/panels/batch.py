"""Many assets: which, and what became of each."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any, ClassVar, Final

import bpy

from .. import background
from ..operators.sources import chosen
from ..widgets import Panel, columns, text
from .render import draw_progress, draw_trouble

__all__ = ["CLASSES"]

_LISTED: Final = 8
"""Files that are listed; a batch may have thousands."""


class OBJAVERSE_UL_batch(bpy.types.UIList):
    """The batch: an asset, its state, and why it failed."""

    bl_idname = "OBJAVERSE_UL_batch"
    _ICONS: ClassVar = {
        "waiting": "SORTTIME",
        "rendering": "RENDER_STILL",
        "done": "CHECKMARK",
        "skipped": "CHECKMARK",
        "failed": "ERROR",
    }

    def draw_item(
        self,
        _context: bpy.types.Context,
        layout: bpy.types.UILayout,
        _data: Any,
        item: Any,
        _icon: int,
        active_data: Any,
        active_property: str,
        index: int,
    ) -> None:
        """Draw a line."""
        row = layout.row(align=True)
        # Red could not be read on the selected line's blue.
        row.alert = item.state == "failed" and index != getattr(active_data, active_property)
        row.label(text=item.name or item.asset_id, icon=self._ICONS.get(item.state, "DOT"))
        if item.state == "rendering":
            row.progress(factor=item.factor, text=item.detail.removesuffix(" views"))
        else:
            # A reason is longer than the line; it stands below the list.
            done = item.state == "done"
            end = row.row()
            # Names are longer.
            end.alignment = "RIGHT"
            end.label(text=item.detail.partition(" in ")[0] if done else item.state)
        if item.result:
            seen = row.operator("objaverse.show_result", text="", icon="HIDE_OFF", emboss=False)
            seen.index = index
            sheet = row.operator("objaverse.show_sheet", text="", icon="IMAGE_DATA", emboss=False)
            sheet.index = index


class OBJAVERSE_PT_batch(Panel, bpy.types.Panel):
    """Render a list of files."""

    bl_label = "Batch"
    bl_order = 7

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        layout = self.layout
        state = context.window_manager.objaverse
        split, settings = columns(layout), context.scene.objaverse
        row = split.row(align=True)
        row.prop(settings, "sources", text="Files")
        row.operator("objaverse.add_files", text="", icon="FILE_NEW")
        row.operator("objaverse.add_folder", text="", icon="NEWFOLDER")
        row.operator("objaverse.clear_sources", text="", icon="X")
        self._sources(layout, chosen(settings))
        split.prop(settings, "ids", text="Names")
        row = layout.row()
        row.enabled = bool(settings.sources.strip())
        background.button(row, "objaverse.render_batch", "render", icon="RENDER_ANIMATION")
        layout.operator("objaverse.list_output", icon="PRESET")
        counts: dict[str, int] = {}
        for item in state.items:
            counts[item.state] = counts.get(item.state, 0) + 1
        said = ", ".join(f"{count} {name}" for name, count in counts.items())
        # One line, whatever happens: nobody misses the line of the list that they mean.
        draw_progress(context, layout, "batch", said or "The list is empty")
        if len(state.items):
            self._list(context, layout, state, said, counts.get("failed", 0))
        draw_trouble(context, layout, "batch")

    def _sources(self, layout: bpy.types.UILayout, there: list[str]) -> None:
        """Several are listed, each with a button that takes it out."""
        if len(there) < 2:
            return
        lines = layout.box().column(align=True)
        for index, source in enumerate(there[:_LISTED]):
            line = lines.row(align=True)
            # A folder's name stands before its last slash.
            name = PurePath(source).name or source
            line.label(text=name, translate=False)
            line.operator("objaverse.remove_source", text="", icon="REMOVE").index = index
        if len(there) > _LISTED:
            lines.label(text=f"… and {len(there) - _LISTED} more")

    def _list(
        self,
        context: bpy.types.Context,
        layout: bpy.types.UILayout,
        state: Any,
        said: str,
        failed: int,
    ) -> None:
        row = layout.row()
        row.template_list("OBJAVERSE_UL_batch", "", state, "items", state, "active", rows=5)
        side = row.column(align=True)
        retry = background.button(
            side, "objaverse.render_batch", "render", text="", icon="FILE_REFRESH"
        )
        retry.only = "ACTIVE"
        if state.running == "batch":
            layout.label(text=said)
        if failed:
            background.button(
                layout, "objaverse.render_batch", "render", text="Retry Failed", icon="FILE_REFRESH"
            ).only = "FAILED"
        chosen = state.items[state.active] if state.active < len(state.items) else None
        if chosen is not None and chosen.state == "failed":
            text(context, layout.box(), chosen.detail, "ERROR", alert=True)


CLASSES: Final = (OBJAVERSE_UL_batch, OBJAVERSE_PT_batch)
