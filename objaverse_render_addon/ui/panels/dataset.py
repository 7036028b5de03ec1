"""The output folder as a dataset: prove, export, count, credit, show."""

from __future__ import annotations

from typing import ClassVar, Final

import bpy

from .. import background
from ..operators.dataset import about_format
from ..widgets import Panel, columns, progress, text, warnings

__all__ = ["CLASSES"]


class OBJAVERSE_PT_dataset(Panel, bpy.types.Panel):
    """What is done with everything that is finished in the output folder."""

    bl_label = "Dataset"
    bl_order = 9
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw; the buttons first, for what comes and goes stands below them."""
        layout, state = self.layout, context.window_manager.objaverse_dataset
        grid = layout.grid_flow(columns=2, even_columns=True, align=True)
        background.button(grid, "objaverse.verify_output", "dataset", icon="CHECKMARK")
        background.button(grid, "objaverse.statistics", "dataset", icon="GRAPH")
        background.button(grid, "objaverse.write_credits", "dataset", icon="TEXT")
        background.button(
            grid, "objaverse.open_gallery", "gallery", text="Gallery", icon="IMAGE_REFERENCE"
        )
        split = columns(layout)
        split.prop(state, "to", text="Export to")
        split.prop(state, "target", text="Folder")
        background.button(layout, "objaverse.export_output", "dataset", icon="EXPORT")
        first, *rest = about_format(state.to, set(context.scene.objaverse.passes))
        text(context, layout, first, "INFO")
        for line in rest:
            text(context, layout, line, "DOT")
        job = background.current("dataset")
        if job is not None:
            progress(layout, job.share, job.status, "objaverse.cancel_dataset")
        for number, line in enumerate(state.said.splitlines()[:12]):
            text(context, layout, line, "DOT" if number else "CHECKMARK")
        warnings(context, layout, state.trouble)


CLASSES: Final = (OBJAVERSE_PT_dataset,)
