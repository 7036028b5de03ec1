"""The search in the sidebar: filters, and pictures of what was found."""

from __future__ import annotations

from typing import ClassVar, Final

import bpy

from ...assets.browser import Browser
from ...assets.text import clean
from ..reports import in_panel_words
from ..widgets import Panel, allow_online, columns, progress, text
from . import state

__all__ = ["CLASSES"]

CELL: Final = 100
"""Width of a result in the sidebar, in units of the interface's scale."""


class OBJAVERSE_PT_search(Panel, bpy.types.Panel):
    """Search Objaverse, and import what is found."""

    bl_label = "Search Objaverse"
    bl_parent_id = "OBJAVERSE_PT_main"
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        layout = self.layout
        settings = context.window_manager.objaverse_search
        row = layout.row(align=True)
        row.prop(settings, "text", text="", icon="VIEWZOOM")
        row.operator("objaverse.search", text="", icon="FILE_REFRESH")
        split = columns(layout)
        split.prop(settings, "license")
        split.prop(settings, "lvis")
        row = split.row(heading="Max Faces", align=True)
        row.prop(settings, "use_max_faces", text="")
        sub = row.row()
        sub.active = settings.use_max_faces
        sub.prop(settings, "max_faces", text="")
        split.prop(settings, "animated")
        split.prop(settings, "sort")
        browser = state.browser()
        if browser is None:
            self._first_time(context)
            return
        if browser.searching:
            progress(layout, browser.share, browser.status, "objaverse.cancel_search")
        if browser.error is not None:
            text(context, layout, in_panel_words(browser.error), "ERROR", alert=True)
            if not bpy.app.online_access:
                allow_online(layout)
        elif browser.total is not None:
            self._results(context, browser)
        if browser.notice:
            text(context, layout, browser.notice, "INFO")

    def _first_time(self, context: bpy.types.Context) -> None:
        text(
            context, self.layout,
            "The first search reads the annotations of 800,000 objects and makes an index; that "
            "takes minutes, once.",
            "INFO",
        )  # fmt: skip
        if not bpy.app.online_access:
            allow_online(self.layout)

    def _results(self, context: bpy.types.Context, browser: Browser) -> None:
        layout = self.layout
        entries, total = browser.entries, browser.total
        if not entries:
            layout.label(text="Nothing found", icon="INFO")
            return
        layout.label(text=f"{len(entries):,} of {total:,}")
        width = context.region.width / context.preferences.system.ui_scale
        count = max(1, int((width - 30) / CELL))
        letters = max(8, int(width / count / 7) - 3)
        grid = layout.grid_flow(row_major=True, columns=count, even_columns=True, align=False)
        for entry in entries:
            cell = grid.box().column(align=True)
            icon = state.picture(entry.uid)
            if icon is not None:
                cell.template_icon(icon_value=icon.icon_id, scale=5.0)
            else:
                empty = cell.row()
                empty.alignment = "CENTER"
                empty.scale_y = 5.0
                empty.label(text="", icon="MESH_DATA")
            title = clean(entry.title, letters)
            cell.operator("objaverse.import_found", text=title).uid = entry.uid
            facts = cell.row()
            facts.alignment = "CENTER"
            facts.scale_y = 0.8
            facts.active = False
            facts.label(text=f"{entry.license_text or 'unknown'} · {_brief(entry.faces)}")
        if total is not None and len(entries) < total:
            layout.operator("objaverse.search", text="More", icon="TRIA_DOWN").more = True


def _brief(faces: int | None) -> str:
    """A number of faces in the width of a cell: 86, 1.5k, 349k, 1.5M."""
    if faces is None:
        return "?"
    for unit, letter in ((1_000_000, "M"), (1000, "k")):
        if faces >= unit:
            return f"{faces / unit:.1f}".removesuffix(".0") + letter
    return str(faces)


CLASSES: Final = (OBJAVERSE_PT_search,)
