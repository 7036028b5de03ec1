"""What to render: the asset, its size, cameras, passes, light."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import bpy

from ...assets.sources import classify
from ...blender.passes import is_set_up
from ...blender.user_scene import facts, is_normalized
from ...errors import RenderError
from ...job import PATTERNS
from .. import background, preferences
from ..job_mapping import to_job
from ..reports import in_panel_words
from ..viewport import live_view, preview
from ..viewport.look_through import is_looking
from ..widgets import Panel, allow_online, columns, progress, text, warnings
from .presets import OBJAVERSE_PT_presets, active_protocols

__all__ = ["CLASSES"]

class OBJAVERSE_PT_main(Panel, bpy.types.Panel):
    """What to render: the asset."""

    bl_label = "Asset"
    bl_order = 0

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        layout = self.layout
        settings, state = context.scene.objaverse, context.window_manager.objaverse
        row = layout.row(align=True)
        row.prop(settings, "source", text="", placeholder="File, or Objaverse identifier")
        fetch = background.current("fetch")
        if fetch is not None:
            progress(layout, fetch.share, fetch.status, "objaverse.cancel_import")
        else:
            layout.operator("objaverse.import_asset", icon="IMPORT")
        split = columns(layout)
        split.prop(settings, "asset", text="Collection")
        chosen = active_protocols(settings)
        row = split.row(heading="Protocol")
        OBJAVERSE_PT_presets.draw_menu(row, text=chosen[0] if chosen else "Choose")
        if classify(settings.source) != "path" and not bpy.app.online_access:
            allow_online(layout)
        warnings(context, layout, state.warnings)
        known = facts(settings.asset) if settings.asset is not None else {}
        if known:
            text(context, layout, known["summary"], "INFO")
            text(context, layout, known["license"], "TEXT")
            warnings(context, layout, known["warnings"])


class OBJAVERSE_PT_normalize(Panel, bpy.types.Panel):
    """How large it becomes."""

    bl_label = "Normalize"
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        split = columns(self.layout)
        settings = context.scene.objaverse
        split.prop(settings, "normalize", text="Into")
        row = split.row(align=True)
        row.operator("objaverse.normalize", icon="FULLSCREEN_EXIT")
        if settings.asset is not None and is_normalized(settings.asset):
            row.operator("objaverse.normalize", text="", icon="LOOP_BACK").undo = True
        split.prop(settings, "up")
        row = split.row(heading="Front", align=True)
        row.prop(settings, "use_front", text="")
        sub = row.row()
        sub.active = settings.use_front
        sub.prop(settings, "front", text="")
        row = split.row(heading="Frame", align=True)
        row.prop(settings, "use_frame", text="")
        sub = row.row()
        sub.active = settings.use_frame
        sub.prop(settings, "frame", text="")
        sub.enabled = not settings.frames
        split.prop(settings, "missing_textures", text="No Texture")
        split.prop(settings, "missing_parts", text="No Part")
        split.prop(settings, "uncolored", text="No Color")
        split.prop(settings, "witness", text="Witness")


class OBJAVERSE_PT_time(Panel, bpy.types.Panel):
    """When it is seen: frames of its animation."""

    bl_label = "Time"
    bl_order = 1
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        split = columns(self.layout)
        settings = context.scene.objaverse
        split.prop(settings, "frames", placeholder="Still; all, 12 or 1:48:2")
        split.prop(settings, "action", placeholder="As saved; a name, or all")
        column = split.column()
        column.active = bool(settings.frames)
        column.prop(settings, "views_per_frame", text="Cameras")
        column.prop(settings, "time_scale")
        row = column.row(heading="Motion Blur", align=True)
        row.prop(settings, "motion_blur", text="")
        sub = row.row()
        sub.active = settings.motion_blur
        sub.prop(settings, "shutter", text="")
        column.prop(settings, "still")
        column.prop(settings, "leaving", text="Leaves View")


class OBJAVERSE_PT_cameras(Panel, bpy.types.Panel):
    """From where it is seen."""

    bl_label = "Cameras"
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        """Draw; only what the pattern has."""
        split = columns(self.layout)
        settings, state = context.scene.objaverse, context.window_manager.objaverse
        split.prop(settings, "pattern")
        if settings.pattern == "file":
            split.prop(settings, "camera_file")
            split.prop(settings, "file_views")
        elif settings.pattern == "scene":
            split.prop(settings, "scene_cameras", text="Named", placeholder="All of the file's")
            split.prop(settings, "file_views")
        else:
            numbered = PATTERNS[settings.pattern].numbered
            if settings.pattern != "cube-faces" and not numbered:
                split.prop(settings, "views")
            self._ranges(split, settings)
            split.prop(settings, "framing")
            if settings.pattern not in ("cube-faces", "ring") and not numbered:
                split.prop(settings, "only_northern_hemisphere", text="Upper Half Only")
            if settings.pattern == "orbit" or (
                settings.test_views and settings.test_cameras == "orbit"
            ):
                split.prop(settings, "turns")
            split.prop(settings, "test_views")
            if settings.test_views:
                split.prop(settings, "test_cameras", text="Test From")
        # Ranges, suns and stand-in colours are drawn with any pattern.
        split.prop(settings, "seed")
        error = _job_error(context)
        if error:
            text(context, self.layout.box(), error, "ERROR", alert=True)
        row = self.layout.row(align=True)
        row.operator(
            "objaverse.preview_cameras",
            text="Hide Preview" if state.preview else "Preview Cameras",
            icon="HIDE_OFF" if state.preview else "HIDE_ON",
            depress=state.preview,
        )
        row.operator("objaverse.frame_rig", text="", icon="ZOOM_ALL")
        row = self.layout.row(align=True)
        row.use_property_split = False
        look = "objaverse.look_through_camera"
        row.operator(look, text="", icon="TRIA_LEFT").action = "PREVIOUS"
        row.prop(settings, "current_view", text="View")
        row.operator(look, text="", icon="TRIA_RIGHT").action = "NEXT"
        looking = is_looking(context.scene)
        row.operator(look, text="", icon="VIEW_CAMERA", depress=looking).action = "INDEX"
        end = row.row(align=True)
        end.enabled = looking
        end.operator(look, text="", icon="X").action = "STOP"
        live = live_view.shown()
        row = self.layout.row(align=True)
        row.use_property_split = False
        row.operator(
            "objaverse.live_view", icon="PAUSE" if live else "PLAY", depress=live is not None
        )
        if live is not None:
            row.prop(context.window_manager.objaverse_live, "shown_pass", text="")
            text(context, self.layout, live.said, "ERROR" if live.trouble else "INFO",
                 alert=bool(live.trouble))  # fmt: skip
        column = self.layout.column(align=True)
        column.operator("objaverse.sample_cameras", icon="OUTLINER_OB_CAMERA")
        column.operator("objaverse.use_scene_cameras", icon="CAMERA_DATA")
        if state.preview:
            for line in preview.facts(context):
                text(context, self.layout, line, "DOT")

    def _ranges(self, layout: bpy.types.UILayout, settings: Any) -> None:
        if settings.pattern == "cube-faces":
            names: tuple[str, ...] = ("radius", "fov")
        else:
            names = ("radius", "elevation", "fov")
        if settings.projection in ("orthographic", "panorama"):
            names = names[:-1]
        for name in names:
            column = layout.column(align=True)
            title = "FOV" if name == "fov" else settings.bl_rna.properties[name].name
            unit = "" if name == "radius" else " °"
            column.prop(settings, name, index=0, text=f"{title} Min{unit}")
            column.prop(settings, name, index=1, text=f"Max{unit}")


class OBJAVERSE_PT_lens(Panel, bpy.types.Panel):
    """Lenses of another kind, not centred, in pairs; pixels that are not square."""

    bl_label = "Lens"
    bl_parent_id = "OBJAVERSE_PT_cameras"
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        split = columns(self.layout)
        settings = context.scene.objaverse
        if not PATTERNS[settings.pattern].given:
            split.prop(settings, "projection")
            if settings.projection == "orthographic":
                split.prop(settings, "ortho", text="Scale")
            row = split.row(heading="Stereo", align=True)
            row.prop(settings, "use_stereo", text="")
            sub = row.row()
            sub.active = settings.use_stereo
            sub.prop(settings, "stereo", text="")
        column = split.column(align=True)
        column.prop(settings, "shift", index=0, text="Shift X")
        column.prop(settings, "shift", index=1, text="Y")
        split.prop(settings, "pixel_aspect")


class OBJAVERSE_PT_passes(Panel, bpy.types.Panel):
    """What is written for each view."""

    bl_label = "Passes"
    bl_order = 3
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        split = columns(self.layout)
        settings = context.scene.objaverse
        # Over the whole width: beside a heading, long names are cut off.
        column = split.column(align=True)
        column.use_property_split = False
        for item in settings.bl_rna.properties["passes"].enum_items_static:
            column.prop_enum(settings, "passes", item.identifier)
        split.prop(settings, "normal_space")
        split.prop(settings, "tracks")
        if "sensor_depth" in settings.passes:
            split.prop(settings, "sensor")
        if "semantic_index" in settings.passes:
            split.prop(settings, "classes")
            if settings.classes == "property":
                split.prop(settings, "class_property", text="Property")
            elif settings.classes == "table":
                split.prop(settings, "class_table", text="Table")
        split.prop(settings, "geometry")
        split.prop(settings, "alpha_threshold", slider=True)
        split.label(text="Geometry Files")
        column = split.column(align=True)
        column.use_property_split = False
        for item in settings.bl_rna.properties["geometry_files"].enum_items_static:
            column.prop_enum(settings, "geometry_files", item.identifier)
        if settings.geometry_files:
            split.prop(settings, "geometry_points")


class OBJAVERSE_PT_compositor(Panel, bpy.types.Panel):
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


class OBJAVERSE_PT_lighting(Panel, bpy.types.Panel):
    """What lights it."""

    bl_label = "Lighting"
    bl_order = 4
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        split = columns(self.layout)
        settings = context.scene.objaverse
        split.prop(settings, "lighting", text="Light")
        if settings.lighting == "hdri":
            split.prop(settings, "hdri")
            split.prop(settings, "hdri_per_view", text="Per View")
        if settings.lighting == "file":
            split.prop(settings, "lights", text="File")
            split.prop(settings, "light_groups")
        if settings.lighting in ("white", "hdri"):
            split.prop(settings, "light_strength")
        row = split.row(heading="Background", align=True)
        row.prop(settings, "use_background", text="")
        sub = row.row()
        sub.active = settings.use_background
        sub.prop(settings, "background", text="")


def _job_error(context: bpy.types.Context) -> str:
    try:
        to_job(context.scene.objaverse, preferences.get(context))
    except RenderError as error:
        return in_panel_words(error)
    return ""


CLASSES: Final = (
    OBJAVERSE_PT_main,
    OBJAVERSE_PT_normalize,
    OBJAVERSE_PT_time,
    OBJAVERSE_PT_cameras,
    OBJAVERSE_PT_lens,
    OBJAVERSE_PT_passes,
    OBJAVERSE_PT_compositor,
    OBJAVERSE_PT_lighting,
)
