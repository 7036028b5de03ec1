"""Finished assets, looked at in the viewport: show, walk through, close."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final

import bpy
from bpy.props import IntProperty, StringProperty

from ...errors import SourceNotFound
from .. import background
from ..background import BackgroundOperator, CancelOperator
from ..viewport import look_through, overlay, preview, results
from .common import asset_of_line, output_folder

__all__ = ["CLASSES", "show_finished"]


class OBJAVERSE_OT_show_result(BackgroundOperator, bpy.types.Operator):
    """Show a finished asset in the viewport: each view's picture where its camera stood"""

    bl_idname = "objaverse.show_result"
    bl_label = "Show Result"
    kind = "result"
    cancelled_by = "objaverse.cancel_result"
    is_modal = False

    path: StringProperty(
        name="Asset",
        description="A finished asset; empty takes what the panel's asset becomes when rendered",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )
    index: IntProperty(
        name="Index", default=-1, description="Line of the batch list", options={"SKIP_SAVE"}
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: Any) -> str:
        """What this button does."""
        items = context.window_manager.objaverse.items
        if not 0 <= properties.index < len(items):
            return ""
        name = items[properties.index].asset_id
        return f"Show {name} in the viewport: each view's picture where its camera stood"

    @classmethod
    def poll(cls, _: bpy.types.Context) -> bool:
        """Always: another result takes the place of the one before."""
        return True

    def begin(self, context: bpy.types.Context) -> results.Reading:
        """Show it, and read its pictures."""
        where = self.path and bpy.path.abspath(self.path)
        if self.index >= 0:
            where = str(asset_of_line(context, self.index))
        reading = results.read(context, where or _of_panel(context))
        shown = results.shown()
        if shown is not None:
            overlay.bring_into_view(context, preview.reach(shown.rig))
        return reading

    @classmethod
    def show(cls, _: bpy.types.Context, __: Any, ___: Any) -> None:
        """Another picture is there."""
        results.came()


class OBJAVERSE_OT_cancel_result(CancelOperator, bpy.types.Operator):
    """Stop reading pictures; those that are read stay"""

    bl_idname = "objaverse.cancel_result"
    bl_label = "Cancel Reading"
    kind = "result"
    nothing = "No pictures are being read"


def _of_panel(context: bpy.types.Context) -> Path:
    """The finished asset that the panel's becomes."""
    folder, name = output_folder(context.scene.objaverse), preview.asset_id(context.scene)
    for path in (folder / f"{name}.zip", folder / f"{name}.tar", folder / name):
        if path.exists():
            return path
    raise SourceNotFound(
        f"{name} is not in {folder} yet.", hint="Render it first, or choose another Output Folder."
    )


def show_finished(context: bpy.types.Context, path: str | Path) -> None:
    """Show what a run has just finished, without a click."""
    background.watch(OBJAVERSE_OT_show_result, results.read(context, path))


class OBJAVERSE_OT_walk_result(bpy.types.Operator):
    """Go to another picture of the result, or to another view while one is looked through"""

    bl_idname = "objaverse.walk_result"
    bl_label = "Walk Through Views"
    bl_options: ClassVar = {"INTERNAL"}

    by: IntProperty(name="By", default=1, description="Views to go on", options={"SKIP_SAVE"})

    @classmethod
    def description(cls, _: bpy.types.Context, properties: Any) -> str:
        """What this button does."""
        key, which = ("right", "next") if properties.by > 0 else ("left", "previous")
        return f"Go to the {which} picture; the {key} arrow key over the viewport does too"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """While there is something to walk through; a key is somebody else's otherwise."""
        return _over_viewport(context) and (
            results.shown() is not None or look_through.looks(context)
        )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Go."""
        if results.shown() is not None:
            results.step(context, self.by)
        else:
            look_through.step(context, self.by)
        return {"FINISHED"}


class OBJAVERSE_OT_close_result(bpy.types.Operator):
    """Take the result's pictures out of the viewport; the files stay"""

    bl_idname = "objaverse.close_result"
    bl_label = "Close Result"
    bl_options: ClassVar = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """While a result is shown."""
        return _over_viewport(context) and results.shown() is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Close it."""
        results.close(context)
        return {"FINISHED"}


def _over_viewport(context: bpy.types.Context) -> bool:
    return context.area is None or context.area.type == "VIEW_3D"


CLASSES: Final = (
    OBJAVERSE_OT_show_result,
    OBJAVERSE_OT_cancel_result,
    OBJAVERSE_OT_walk_result,
    OBJAVERSE_OT_close_result,
)
