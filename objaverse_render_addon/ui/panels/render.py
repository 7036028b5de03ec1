"""Where the asset's dataset goes, how good it is, and the button that makes it."""

from __future__ import annotations

from typing import Final

import bpy

from .. import background
from ..widgets import Panel, columns, progress, text, warnings

__all__ = ["CLASSES", "draw_run"]


class OBJAVERSE_PT_output(Panel, bpy.types.Panel):
    """Where it goes, and how good it is."""

    bl_label = "Output"
    bl_order = 5

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        split = columns(self.layout)
        settings = context.scene.objaverse
        split.prop(settings, "output_dir")
        split.prop(settings, "layout")
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
        column.operator("objaverse.render_asset", icon="RENDER_STILL")
        draw_run(context, layout, "asset")
        row = layout.row(align=True)
        row.operator("objaverse.open_output", text="Open Folder", icon="FILE_FOLDER")
        row.operator("objaverse.open_gallery", text="Gallery", icon="IMAGE_REFERENCE")
        gallery = background.current("gallery")
        if gallery is not None:
            progress(layout, gallery.share, gallery.status, "objaverse.cancel_gallery")


def draw_run(context: bpy.types.Context, layout: bpy.types.UILayout, kind: str) -> None:
    """How a run of this kind is going, or how the last one went."""
    state = context.window_manager.objaverse
    if (state.running or state.about) != kind:
        return
    if state.running:
        progress(layout, state.progress, state.status, "objaverse.cancel")
    elif state.failure:
        text(context, layout.box(), state.failure, "ERROR", alert=True)
    elif state.status:
        text(context, layout, state.status, "INFO")
    warnings(context, layout, state.notes)


CLASSES: Final = (OBJAVERSE_PT_output, OBJAVERSE_PT_render)
