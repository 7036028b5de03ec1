"""Where the asset's dataset goes, how good it is, and the button that makes it."""

from __future__ import annotations

from typing import Final

import bpy

from .. import background
from ..operators.common import output_folder
from ..viewport import results
from ..widgets import Panel, columns, progress, text, warnings

__all__ = ["CLASSES", "draw_progress", "draw_run", "draw_trouble"]


class OBJAVERSE_PT_output(Panel, bpy.types.Panel):
    """Where it goes, and how good it is."""

    bl_label = "Output"
    bl_order = 5

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        split = columns(self.layout)
        settings = context.scene.objaverse
        split.prop(settings, "output_dir")
        if settings.output_dir.startswith("//") and not bpy.data.filepath:
            where = f"This file was never saved; it goes to {output_folder(settings)}"
            text(context, self.layout, where, "INFO")
            split = columns(self.layout)
        split.prop(settings, "layout")
        split.prop(settings, "rig")
        split.prop(settings, "overwrite")
        column = split.column(align=True)
        column.prop(settings, "resolution_x")
        column.prop(settings, "resolution_y", text="Y")
        split.prop(settings, "engine")
        split.prop(settings, "samples")
        if settings.engine == "cycles":
            split.prop(settings, "denoise")
        row = self.layout.row(align=True)
        row.operator("objaverse.load_job", icon="FILE_FOLDER")
        row.operator("objaverse.save_job", icon="FILE_TICK")


class OBJAVERSE_PT_render(Panel, bpy.types.Panel):
    """Render this asset, and see what became of it."""

    bl_label = "Render"
    bl_order = 6

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        layout = self.layout
        column = layout.column()
        column.scale_y = 1.4
        background.button(column, "objaverse.render_asset", "render", icon="RENDER_STILL")
        layout.operator("objaverse.show_result", icon="HIDE_OFF")
        row = layout.row(align=True)
        row.operator("objaverse.open_output", text="Open Folder", icon="FILE_FOLDER")
        background.button(
            row, "objaverse.open_gallery", "gallery", text="Gallery", icon="IMAGE_REFERENCE"
        )
        # Below the buttons, which stay where they are.
        draw_run(context, layout, "asset", "This asset is not being rendered")
        # Of the gallery, whose button is here and under Dataset.
        gallery = background.current("gallery")
        if gallery is not None:
            progress(layout, gallery.share, gallery.status, "objaverse.cancel_gallery")


class OBJAVERSE_PT_result(Panel, bpy.types.Panel):
    """The finished asset that the viewport shows."""

    bl_label = "Result"
    # Below the list that it may have been chosen from, which stays where it is.
    bl_order = 8

    @classmethod
    def poll(cls, _: bpy.types.Context) -> bool:
        """While there is one."""
        return results.shown() is not None

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        layout, state = self.layout, context.window_manager.objaverse_result
        shown = results.shown()
        if shown is None:
            return
        row = layout.row()
        row.label(text=state.name, icon="IMAGE_DATA")
        row.operator("objaverse.close_result", text="", icon="X")
        text(context, layout, results.summary(), "INFO")
        grid = layout.grid_flow(columns=3, even_columns=True, align=True)
        for name in shown.album.passes:
            grid.prop_enum(state, "shown_pass", name)
        row = layout.row(align=True)
        row.operator("objaverse.walk_result", text="", icon="TRIA_LEFT").by = -1
        row.prop(state, "view")
        row.operator("objaverse.walk_result", text="", icon="TRIA_RIGHT").by = 1
        reading = background.current("result")
        if reading is not None:
            progress(layout, reading.share, reading.status, "objaverse.cancel_result")


def draw_progress(
    context: bpy.types.Context, layout: bpy.types.UILayout, kind: str, otherwise: str = ""
) -> None:
    """How a run of this kind is going, how the last one went, or what is said otherwise: a line."""
    state = context.window_manager.objaverse
    mine = (state.running or state.about) == kind
    if mine and state.running:
        progress(layout, state.progress, state.status, "objaverse.cancel")
    elif mine and state.status:
        text(context, layout, state.status, "INFO")
    elif otherwise:
        text(context, layout, otherwise, "INFO")


def draw_trouble(context: bpy.types.Context, layout: bpy.types.UILayout, kind: str) -> None:
    """Why a run of this kind failed, and what was noticed."""
    state = context.window_manager.objaverse
    if (state.running or state.about) != kind:
        return
    if state.failure and not state.running:
        text(context, layout.box(), state.failure, "ERROR", alert=True)
    warnings(context, layout, state.notes)


def draw_run(
    context: bpy.types.Context, layout: bpy.types.UILayout, kind: str, otherwise: str = ""
) -> None:
    """Both."""
    draw_progress(context, layout, kind, otherwise)
    draw_trouble(context, layout, kind)


CLASSES: Final = (OBJAVERSE_PT_output, OBJAVERSE_PT_render, OBJAVERSE_PT_result)
