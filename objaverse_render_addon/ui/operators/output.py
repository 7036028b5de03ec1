"""The output folder: what is in it, and the contact sheets of what is finished."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any, ClassVar, Final

import bpy
from bpy.props import IntProperty

from ...assets.sources import safe_name
from ...batch.listing import lines_of
from ...dataset.sheet import contact_sheet
from ...errors import RenderError
from ...words import how_many
from .. import run_state
from ..background import current
from ..reports import fail, in_panel_words
from .common import asset_of_line, has_output, labels, output_folder

__all__ = ["CLASSES"]

MOST_LINES: Final = 2000


class OBJAVERSE_OT_list_output(bpy.types.Operator):
    """List the assets that were rendered into the output folder, in this session or another"""

    bl_idname = "objaverse.list_output"
    bl_label = "List Output Folder"

    @classmethod
    def poll(cls, _: bpy.types.Context) -> bool:
        """Whether the list is free."""
        if current("render") is not None:
            cls.poll_message_set("A render is running, and the list is its")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Read the folder's ledger."""
        try:
            lines, total = lines_of(output_folder(context.scene.objaverse), MOST_LINES)
        except RenderError as error:
            return fail(self, error)
        state = context.window_manager.objaverse
        state.items.clear()
        names = labels((line.source for line in lines), context)
        for line, name in zip(lines, names, strict=True):
            item = state.items.add()
            item.name, item.source, item.asset_id = name, line.source, line.asset_id
            item.state, item.result = line.state, str(line.path or "")
            item.factor = float(line.state != "waiting")
            if line.error is not None:
                item.detail = in_panel_words(line.error)
            elif line.state == "done":
                item.detail = how_many(line.views, "view") if line.path else "no longer there"
        state.active = 0
        state.about, state.failure, state.notes = "batch", "", ""
        more = f"the first {len(lines)} of " if len(lines) < total else ""
        state.status = f"In the output folder: {more}{how_many(total, 'asset')}"
        self.report({"INFO"}, state.status)
        return {"FINISHED"}


def _sheet(item: Any, asset: Path) -> Path:
    """A line's contact sheet: the run's, while it lasts, else made from the finished asset."""
    if item.sheet and Path(item.sheet).is_file():
        return Path(item.sheet)
    target = Path(bpy.app.tempdir) / f"{safe_name(item.asset_id)}.sheet.png"
    contact_sheet(asset, target)
    return target


class OBJAVERSE_OT_show_sheet(bpy.types.Operator):
    """Show the contact sheet of the selected asset"""

    bl_idname = "objaverse.show_sheet"
    bl_label = "Show Contact Sheet"
    bl_options: ClassVar = {"INTERNAL"}

    index: IntProperty(
        name="Index", default=-1, description="Line of the batch list", options={"SKIP_SAVE"}
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: Any) -> str:
        """What this button does."""
        items = context.window_manager.objaverse.items
        if not 0 <= properties.index < len(items):
            return ""
        return f"Show the contact sheet of {items[properties.index].asset_id}"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Open it in an image editor."""
        state = context.window_manager.objaverse
        try:
            asset = asset_of_line(context, self.index)
            item = state.items[state.active if self.index < 0 else self.index]
            image = run_state.load_image(f"{item.asset_id} sheet", str(_sheet(item, asset)))
        except RenderError as error:
            return fail(self, error)
        window, area = _image_editor(context)
        area.spaces.active.image = image
        region = next(region for region in area.regions if region.type == "WINDOW")
        with context.temp_override(window=window, area=area, region=region):
            bpy.ops.image.view_all(fit_view=True)
        return {"FINISHED"}


def _image_editor(context: bpy.types.Context) -> tuple[Any, Any]:
    """Window and area of this window's last image editor, of another's, else of a new one's."""
    windows = context.window_manager.windows
    places = [
        (window, area)
        for window in [context.window, *(each for each in windows if each != context.window)]
        for area in reversed(window.screen.areas)
        if area.type == "IMAGE_EDITOR"
    ]
    if places:
        return places[0]
    bpy.ops.wm.window_new()
    window = windows[-1]
    area = window.screen.areas[0]
    area.ui_type = "IMAGE_EDITOR"
    return window, area


class OBJAVERSE_OT_open_output(bpy.types.Operator):
    """Open the output folder in the file browser"""

    bl_idname = "objaverse.open_output"
    bl_label = "Open Output Folder"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether it is there."""
        return has_output(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Open it, or say where it is."""
        folder = str(output_folder(context.scene.objaverse))
        if sys.platform.startswith("linux") and shutil.which("xdg-open") is None:
            # Blender would say so in its console alone.
            self.report({"WARNING"}, f"This system has no xdg-open; the folder is {folder}")
            return {"CANCELLED"}
        bpy.ops.wm.path_open(filepath=folder)
        return {"FINISHED"}


CLASSES: Final = (
    OBJAVERSE_OT_list_output,
    OBJAVERSE_OT_show_sheet,
    OBJAVERSE_OT_open_output,
)
