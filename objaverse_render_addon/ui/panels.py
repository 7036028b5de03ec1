"""The sidebar: tab "Objaverse" of the 3D viewport, from the asset to the finished dataset."""

from __future__ import annotations

import textwrap
from typing import Any, ClassVar

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel

from ..assets.sources import classify
from ..blender.passes import is_set_up
from ..blender.user_scene import is_normalized
from ..errors import RenderError
from ..job import PATTERNS
from . import preferences, properties

__all__ = ["register", "unregister"]

PRESETS = "objaverse/render"


class _Panel:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Objaverse"

    def columns(self) -> bpy.types.UILayout:
        """The layout, with labels left and values right."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        return layout


class OBJAVERSE_PT_presets(PresetPanel, bpy.types.Panel):
    """Protocols of well-known datasets, and the user's own."""

    bl_label = "Render Protocols"
    preset_subdir = PRESETS
    preset_operator = "script.execute_preset"
    preset_add_operator = "objaverse.add_preset"


class OBJAVERSE_OT_add_preset(AddPresetBase, bpy.types.Operator):
    """Keep these settings as a protocol of your own"""

    bl_idname = "objaverse.add_preset"
    bl_label = "Add Render Protocol"
    preset_menu = "OBJAVERSE_PT_presets"
    preset_subdir = PRESETS
    preset_defines: ClassVar = ["settings = bpy.context.scene.objaverse"]
    # The pattern first: choosing it fills in its own ranges.
    preset_values: ClassVar = [
        f"settings.{name}"
        for name in (
            "pattern",
            *(name for name in properties.FIELDS if name != "pattern"),
            "radius",
            "elevation",
            "fov",
            "shift",
            "camera_file",
            "file_views",
            "hdri",
            "resolution_x",
            "resolution_y",
            "passes",
            "use_background",
            "background",
        )
    ]


class OBJAVERSE_PT_main(_Panel, bpy.types.Panel):
    """What to render: the asset."""

    bl_label = "Asset"
    bl_order = 0

    def draw_header_preset(self, _: bpy.types.Context) -> None:
        """Protocols, in the header."""
        OBJAVERSE_PT_presets.draw_panel_header(self.layout)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        layout = self.layout
        settings, state = context.scene.objaverse, context.window_manager.objaverse
        row = layout.row(align=True)
        row.prop(settings, "source", text="")
        if state.fetching:
            _progress(layout, state.fetched, state.fetching, "objaverse.cancel_import")
        else:
            layout.operator("objaverse.import_asset", icon="IMPORT")
        columns = self.columns()
        columns.prop(settings, "asset", text="Collection")
        if classify(settings.source) != "path" and not bpy.app.online_access:
            box = layout.box()
            box.label(text="Online access is off: only fetched objects", icon="INTERNET_OFFLINE")
            allow = box.operator("screen.userpref_show", text="Allow It in Preferences, System")
            allow.section = "SYSTEM"
        if state.summary:
            _text(context, layout, state.summary, "INFO")
        if state.license:
            _text(context, layout, state.license, "TEXT")
        _warnings(context, layout, state.warnings)


class OBJAVERSE_PT_normalize(_Panel, bpy.types.Panel):
    """How large it becomes."""

    bl_label = "Normalize"
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        columns = self.columns()
        settings = context.scene.objaverse
        columns.prop(settings, "normalize", text="Into")
        row = columns.row(align=True)
        row.operator("objaverse.normalize", icon="FULLSCREEN_EXIT")
        if settings.asset is not None and is_normalized(settings.asset):
            row.operator("objaverse.normalize", text="", icon="LOOP_BACK").undo = True
        row = columns.row(heading="Frame", align=True)
        row.prop(settings, "use_frame", text="")
        sub = row.row()
        sub.active = settings.use_frame
        sub.prop(settings, "frame", text="")
        columns.prop(settings, "missing_textures", text="No Texture")
        columns.prop(settings, "missing_parts", text="No Part")
        columns.prop(settings, "uncolored", text="No Color")


class OBJAVERSE_PT_cameras(_Panel, bpy.types.Panel):
    """From where it is seen."""

    bl_label = "Cameras"
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        """Draw; only what the pattern has."""
        columns = self.columns()
        settings, state = context.scene.objaverse, context.window_manager.objaverse
        columns.prop(settings, "pattern")
        if settings.pattern == "file":
            columns.prop(settings, "camera_file")
            columns.prop(settings, "file_views")
        else:
            numbered = PATTERNS[settings.pattern].numbered
            if settings.pattern != "cube-faces" and not numbered:
                columns.prop(settings, "views")
            self._ranges(columns, settings)
            columns.prop(settings, "framing")
            if settings.pattern not in ("cube-faces", "ring") and not numbered:
                columns.prop(settings, "only_northern_hemisphere", text="Upper Half Only")
            if settings.pattern == "orbit":
                columns.prop(settings, "turns")
        # Ranges, suns and stand-in colours are drawn with any pattern.
        columns.prop(settings, "seed")
        error = _job_error(context)
        if error:
            _text(context, self.layout.box(), error, "ERROR", alert=True)
        row = self.layout.row(align=True)
        row.operator(
            "objaverse.preview_cameras",
            text="Hide Preview" if state.preview else "Preview Cameras",
            icon="HIDE_OFF" if state.preview else "HIDE_ON",
            depress=state.preview,
        )
        row = self.layout.row(align=True)
        row.use_property_split = False
        look = "objaverse.look_through_camera"
        row.operator(look, text="", icon="TRIA_LEFT").action = "PREVIOUS"
        row.prop(settings, "current_view", text="View")
        row.operator(look, text="", icon="TRIA_RIGHT").action = "NEXT"
        row.operator(look, text="", icon="VIEW_CAMERA").action = "INDEX"
        row.operator(look, text="", icon="X").action = "STOP"
        self.layout.operator("objaverse.sample_cameras", icon="OUTLINER_OB_CAMERA")

    def _ranges(self, layout: bpy.types.UILayout, settings: Any) -> None:
        if settings.pattern == "cube-faces":
            names: tuple[str, ...] = ("radius", "fov")
        elif settings.pattern == "ring":
            names = ("radius", "fov")
            layout.prop(settings, "elevation", index=0, text="Elevation")
        else:
            names = ("radius", "elevation", "fov")
        for name in names:
            column = layout.column(align=True)
            title = "FOV" if name == "fov" else settings.bl_rna.properties[name].name
            column.prop(settings, name, index=0, text=f"{title} Min")
            column.prop(settings, name, index=1, text="Max")


class OBJAVERSE_PT_lens(_Panel, bpy.types.Panel):
    """Lenses that are not centred or pixels that are not square."""

    bl_label = "Lens"
    bl_parent_id = "OBJAVERSE_PT_cameras"
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        columns = self.columns()
        settings = context.scene.objaverse
        column = columns.column(align=True)
        column.prop(settings, "shift", index=0, text="Shift X")
        column.prop(settings, "shift", index=1, text="Y")
        columns.prop(settings, "pixel_aspect")


class OBJAVERSE_PT_passes(_Panel, bpy.types.Panel):
    """What is written for each view."""

    bl_label = "Passes"
    bl_order = 3
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        columns = self.columns()
        settings = context.scene.objaverse
        column = columns.column(heading="Write", align=True)
        for item in settings.bl_rna.properties["passes"].enum_items_static:
            column.prop_enum(settings, "passes", item.identifier)
        columns.prop(settings, "normal_space")
        columns.prop(settings, "geometry")
        columns.prop(settings, "alpha_threshold", slider=True)


class OBJAVERSE_PT_compositor(_Panel, bpy.types.Panel):
    """The same passes for this scene's own renders."""

    bl_label = "This Scene's Compositor"
    bl_parent_id = "OBJAVERSE_PT_passes"
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        row = self.layout.row(align=True)
        row.operator("objaverse.setup_passes", icon="NODETREE")
        if is_set_up(context.scene):
            row.operator("objaverse.restore_compositor", text="", icon="LOOP_BACK")


class OBJAVERSE_PT_lighting(_Panel, bpy.types.Panel):
    """What lights it."""

    bl_label = "Lighting"
    bl_order = 4
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        columns = self.columns()
        settings = context.scene.objaverse
        columns.prop(settings, "lighting", text="Light")
        if settings.lighting == "hdri":
            columns.prop(settings, "hdri")
        if settings.lighting in ("white", "hdri"):
            columns.prop(settings, "light_strength")
        row = columns.row(heading="Background", align=True)
        row.prop(settings, "use_background", text="")
        sub = row.row()
        sub.active = settings.use_background
        sub.prop(settings, "background", text="")


class OBJAVERSE_PT_output(_Panel, bpy.types.Panel):
    """Where it goes, and how good it is."""

    bl_label = "Output"
    bl_order = 5

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        columns = self.columns()
        settings = context.scene.objaverse
        columns.prop(settings, "output_dir")
        columns.prop(settings, "layout")
        columns.prop(settings, "overwrite")
        column = columns.column(align=True)
        column.prop(settings, "resolution_x")
        column.prop(settings, "resolution_y", text="Y")
        columns.prop(settings, "engine")
        columns.prop(settings, "samples")
        if settings.engine == "cycles":
            columns.prop(settings, "denoise")
        row = self.layout.row(align=True)
        row.operator("objaverse.load_job", icon="FILE_FOLDER")
        row.operator("objaverse.save_job", icon="FILE_TICK")


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
        _active_data: Any,
        _active_property: str,
        index: int,
    ) -> None:
        """Draw a line."""
        row = layout.row(align=True)
        row.alert = item.state == "failed"
        row.label(text=item.asset_id, icon=self._ICONS.get(item.state, "DOT"))
        if item.state == "rendering":
            row.progress(factor=item.factor, text=item.detail)
        else:
            # A reason is longer than the line; it stands below the list.
            done = item.state == "done"
            row.label(text=item.detail.partition(" in ")[0] if done else item.state)
        if item.sheet:
            sheet = row.operator("objaverse.show_sheet", text="", icon="IMAGE_DATA", emboss=False)
            sheet.index = index


class OBJAVERSE_PT_render(_Panel, bpy.types.Panel):
    """Render this asset, or a list."""

    bl_label = "Render"
    bl_order = 6

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        layout = self.layout
        settings, state = context.scene.objaverse, context.window_manager.objaverse
        column = layout.column()
        column.scale_y = 1.4
        column.operator("objaverse.render_asset", icon="RENDER_STILL")
        if state.running:
            _progress(layout, state.progress, state.status, "objaverse.cancel")
        elif state.failure:
            _text(context, layout.box(), state.failure, "ERROR", alert=True)
        elif state.status:
            _text(context, layout, state.status, "INFO")
        _warnings(context, layout, state.notes)
        row = layout.row(align=True)
        row.operator("objaverse.open_output", text="Open Folder", icon="FILE_FOLDER")
        row.operator("objaverse.open_gallery", text="Gallery", icon="IMAGE_REFERENCE")
        layout.separator()
        self.columns().prop(settings, "sources", text="Batch")
        layout.operator("objaverse.render_batch", icon="RENDER_ANIMATION")
        if len(state.items):
            self._list(context, layout, state)

    def _list(self, context: bpy.types.Context, layout: bpy.types.UILayout, state: Any) -> None:
        counts: dict[str, int] = {}
        for item in state.items:
            counts[item.state] = counts.get(item.state, 0) + 1
        layout.label(text=", ".join(f"{count} {name}" for name, count in counts.items()))
        row = layout.row()
        row.template_list("OBJAVERSE_UL_batch", "", state, "items", state, "active", rows=5)
        side = row.column(align=True)
        retry = side.operator("objaverse.render_batch", text="", icon="FILE_REFRESH")
        retry.only = "ACTIVE"
        if counts.get("failed"):
            layout.operator(
                "objaverse.render_batch", text="Retry Failed", icon="FILE_REFRESH"
            ).only = "FAILED"
        chosen = state.items[state.active] if state.active < len(state.items) else None
        if chosen is not None and chosen.state == "failed":
            _text(context, layout.box(), chosen.detail, "ERROR", alert=True)


def _progress(layout: bpy.types.UILayout, share: float, text: str, cancel: str) -> None:
    row = layout.row(align=True)
    row.progress(factor=share, text=text)
    row.operator(cancel, text="", icon="X")


def _job_error(context: bpy.types.Context) -> str:
    try:
        properties.to_job(context.scene.objaverse, preferences.get(context))
    except RenderError as error:
        return str(error)
    return ""


def _warnings(context: bpy.types.Context, layout: bpy.types.UILayout, text: str) -> None:
    lines = text.splitlines()
    if len(lines) > 4:
        lines[3:] = [f"and {len(lines) - 3} more"]
    for line in lines:
        _text(context, layout, line, "ERROR", alert=True)


def _text(
    context: bpy.types.Context,
    layout: bpy.types.UILayout,
    text: str,
    icon: str,
    *,
    alert: bool = False,
) -> None:
    """Text over as many lines as the sidebar's width asks for."""
    letters = int(context.region.width / context.preferences.system.ui_scale / 7.0) - 7
    column = layout.column(align=True)
    column.alert = alert
    column.scale_y = 0.8
    for number, line in enumerate(textwrap.wrap(text, max(16, letters))[:10]):
        column.label(text=line, icon="BLANK1" if number else icon)


_CLASSES = (
    OBJAVERSE_PT_presets,
    OBJAVERSE_OT_add_preset,
    OBJAVERSE_UL_batch,
    OBJAVERSE_PT_main,
    OBJAVERSE_PT_normalize,
    OBJAVERSE_PT_cameras,
    OBJAVERSE_PT_lens,
    OBJAVERSE_PT_passes,
    OBJAVERSE_PT_compositor,
    OBJAVERSE_PT_lighting,
    OBJAVERSE_PT_output,
    OBJAVERSE_PT_render,
)

register, unregister = bpy.utils.register_classes_factory(_CLASSES)
