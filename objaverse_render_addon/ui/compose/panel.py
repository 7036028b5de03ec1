"""Composed scenes in the sidebar: what they are of, this one's sentences, and many of them."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import bpy

from ...compose.objects import KINDS
from .. import background, preferences
from ..panels.render import draw_run
from ..widgets import Panel, columns, progress, text
from . import sentences
from .operators import lacks_physics
from .settings import kind_property, output_of
from .shown import Composed, composed, facts, moved

__all__ = ["CLASSES"]

_SURE: Final = 1.5
"""Margin below which a sentence is only just sure."""


class OBJAVERSE_UL_sentences(bpy.types.UIList):
    """Sentences of the view that is looked at, with their margins."""

    bl_idname = "OBJAVERSE_UL_sentences"
    _ICONS: ClassVar = {"single": "DOT", "multi": "LAYER_ACTIVE", "none": "X"}

    def draw_item(
        self,
        _context: bpy.types.Context,
        layout: bpy.types.UILayout,
        _data: Any,
        item: Any,
        _icon: int,
        _active_data: Any,
        _active_property: str,
    ) -> None:
        """Draw a line."""
        row = layout.row(align=True)
        row.label(text=item.name, icon=self._ICONS.get(item.sort, "DOT"), translate=False)
        end = row.row()
        end.alignment = "RIGHT"
        # Thin where it is just sure.
        end.active = item.margin >= _SURE
        end.label(text=f"{item.margin:.2f}", translate=False)

    def filter_items(
        self, context: bpy.types.Context, data: Any, name: str
    ) -> tuple[list[int], list[int]]:
        """Those of this view, and of the words that are typed below."""
        found, words = composed(context), self.filter_name.lower()
        view = sentences.view_of(context, found) if found is not None else 0
        return [
            self.bitflag_filter_item * (item.view == view and words in item.name.lower())
            for item in getattr(data, name)
        ], []


class OBJAVERSE_PT_compose(Panel, bpy.types.Panel):
    """Make a scene of many objects."""

    bl_label = "Compose"
    bl_order = 10
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        layout, settings = self.layout, context.scene.objaverse_compose
        split = columns(layout)
        split.prop(settings, "seed")
        split.prop(settings, "index")
        column = split.column(align=True)
        column.prop(settings, "objects", index=0, text="Objects Min")
        column.prop(settings, "objects", index=1, text="Max")
        layout.label(text="Layouts")
        grid = layout.grid_flow(columns=3, row_major=True, even_columns=True, align=True)
        grid.prop(settings, "layouts")
        if "grid" in settings.layouts:
            column = columns(layout).column(align=True)
            column.prop(settings, "rows")
            column.prop(settings, "columns")
        layout.label(text="Supports")
        layout.row(align=True).prop(settings, "supports")
        column = layout.column()
        column.scale_y = 1.4
        row = column.row(align=True)
        background.button(row, "objaverse.compose_scene", "compose", icon="PHYSICS")
        background.button(
            row, "objaverse.compose_scene", "compose", text="Next Scene", icon="FRAME_NEXT"
        ).go_on = True
        state, job = context.window_manager.objaverse_composed, background.current("compose")
        if job is not None:
            progress(layout, job.share, job.status, "objaverse.cancel_compose")
        elif state.trouble:
            text(context, layout.box(), state.trouble, "ERROR", alert=True)
        if lacks_physics(context):
            self._physics(context)
        found = composed(context)
        if found is not None:
            self._found(context, found)

    def _physics(self, context: bpy.types.Context) -> None:
        """What is missing, and how it comes here: an extension may not install it."""
        box = self.layout.box()
        text(
            context, box,
            "Scenes are settled by MuJoCo and Rapier, which Blender's Python does not have. They "
            "go into a Python of their own, 3.11 or later: copy the line, paste it into a "
            "terminal, and press Compose.",
            "INFO",
        )  # fmt: skip
        row = box.row(align=True)
        row.operator("objaverse.copy_physics_setup", text="Copy Line", icon="COPYDOWN")
        shown = row.operator("preferences.addon_show", text="Preferences", icon="PREFERENCES")
        shown.module = preferences.ADDON

    def _found(self, context: bpy.types.Context, found: Composed) -> None:
        layout, state = self.layout, context.window_manager.objaverse_composed
        row = layout.row()
        row.label(text=found.name, icon="SCENE_DATA", translate=False)
        row.prop(state, "labels", text="", icon="SORTALPHA")
        row.operator("objaverse.look_composed", text="", icon="OUTLINER_OB_CAMERA")
        row.operator("objaverse.close_composed", text="", icon="X")
        text(context, layout, facts(found), "INFO")
        elsewhere = moved(context, found)
        if elsewhere:
            text(
                context, layout,
                f"Not where it came to rest: {', '.join(elsewhere[:4])}. Sentences and written "
                "scenes are of what came to rest.",
                "ERROR", alert=True,
            )  # fmt: skip


class OBJAVERSE_PT_compose_kinds(Panel, bpy.types.Panel):
    """Which kinds of objects are drawn from."""

    bl_label = "Kinds"
    bl_parent_id = "OBJAVERSE_PT_compose"
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        layout, kinds = self.layout, context.scene.objaverse_compose.kinds
        row = layout.row(align=True)
        row.operator("objaverse.choose_kinds", text="All").every = True
        row.operator("objaverse.choose_kinds", text="None").every = False
        settings = context.scene.objaverse_compose
        columns(layout).prop(settings, "own")
        said = context.window_manager.objaverse_composed.own_said
        if settings.own and said:
            text(context, layout, said, "INFO")
        grid = layout.grid_flow(columns=3, even_columns=True, align=True)
        for kind in KINDS:
            grid.prop(kinds, kind_property(kind), toggle=True)


class OBJAVERSE_PT_compose_views(Panel, bpy.types.Panel):
    """From where scenes are seen, and how large."""

    bl_label = "Views of Scenes"
    bl_parent_id = "OBJAVERSE_PT_compose"
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        split, settings = columns(self.layout), context.scene.objaverse_compose
        split.prop(settings, "images")
        split.prop(settings, "cameras")
        if settings.cameras == "box":
            split.prop(settings, "azimuth")
        for name, title in (("elevation", "Elevation"), ("fov", "FOV")):
            column = split.column(align=True)
            column.prop(settings, name, index=0, text=f"{title} Min °")
            column.prop(settings, name, index=1, text="Max °")
        split.prop(settings, "roll")
        column = split.column(align=True)
        column.prop(settings, "resolution_x")
        column.prop(settings, "resolution_y", text="Y")
        split.prop(settings, "samples")


class OBJAVERSE_PT_compose_sentences(Panel, bpy.types.Panel):
    """What is true and unique in each view of the composed scene."""

    bl_label = "Sentences"
    bl_parent_id = "OBJAVERSE_PT_compose"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """While there is a scene to talk about."""
        return composed(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        layout, found = self.layout, composed(context)
        if found is None:
            return
        state = context.window_manager.objaverse_composed
        layout.row(align=True).prop(context.scene.objaverse_compose, "languages")
        background.button(
            layout, "objaverse.compose_sentences", "render", icon="OUTLINER_DATA_FONT"
        )
        draw_run(context, layout, "sentences")
        reading = background.current("result")
        if reading is not None:
            progress(layout, reading.share, reading.status, "objaverse.cancel_result")
        row = layout.row(align=True)
        row.operator("objaverse.walk_composed", text="", icon="TRIA_LEFT").by = -1
        view, count = sentences.view_of(context, found), len(found.rig.views)
        row.label(text=f"View {view} ({view + 1} of {count})", translate=False)
        row.operator("objaverse.walk_composed", text="", icon="TRIA_RIGHT").by = 1
        if not sentences.listed(state, found):
            return
        layout.template_list(
            "OBJAVERSE_UL_sentences", "", state, "sentences", state, "active", rows=6
        )
        item = sentences.chosen(context, found)
        if item is not None:
            self._chosen(context, found, item)

    def _chosen(self, context: bpy.types.Context, found: Composed, item: Any) -> None:
        box = self.layout.box()
        text(context, box, item.request or item.name, "OUTLINER_DATA_FONT")
        targets = self._named(found, item.targets)
        text(context, box, f"Means {targets or 'nothing that is there'}", "RESTRICT_SELECT_OFF")
        if item.references:
            text(context, box, f"Mentions {self._named(found, item.references)}", "LINKED")
        kind = item.type.replace("_", " ")
        text(context, box, f"{item.sort}, {kind}, margin {item.margin:.2f}", "DOT")

    def _named(self, found: Composed, ids: str) -> str:
        return ", ".join(f"{found.object(one).name} {one}" for one in sentences.ids_of(ids))


class OBJAVERSE_PT_compose_write(Panel, bpy.types.Panel):
    """Many scenes into a folder."""

    bl_label = "Write"
    bl_parent_id = "OBJAVERSE_PT_compose"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        layout, settings = self.layout, context.scene.objaverse_compose
        split = columns(layout)
        split.prop(settings, "scenes")
        split.prop(settings, "output_dir", text="Folder")
        folder = output_of(settings)
        if settings.output_dir.startswith("//") and not bpy.data.filepath:
            text(context, layout, f"This file was never saved; they go to {folder}", "INFO")
            split = columns(layout)
        split.prop(settings, "overwrite")
        background.button(layout, "objaverse.write_scenes", "render", icon="RENDER_ANIMATION")
        draw_run(context, layout, "scenes")
        row = layout.row(align=True)
        there = row.row(align=True)
        there.enabled = folder.is_dir()
        opened = there.operator("wm.path_open", text="Open Folder", icon="FILE_FOLDER")
        opened.filepath = str(folder)
        background.button(
            row, "objaverse.open_scenes_gallery", "gallery", text="Gallery", icon="IMAGE_REFERENCE"
        )
        gallery = background.current("gallery")
        if gallery is not None:
            progress(layout, gallery.share, gallery.status, "objaverse.cancel_gallery")


CLASSES: Final = (
    OBJAVERSE_UL_sentences,
    OBJAVERSE_PT_compose,
    OBJAVERSE_PT_compose_kinds,
    OBJAVERSE_PT_compose_views,
    OBJAVERSE_PT_compose_sentences,
    OBJAVERSE_PT_compose_write,
)
