"""Operators about the views: show them, make camera objects of them, look through them."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import bpy
from bpy.props import EnumProperty, IntProperty

from ...blender import user_scene
from ...cameras.files import transforms_json
from ...errors import OutputNotWritable, RenderError
from ...files import write_whole
from ...timeline import frame_range
from ...words import how_many
from ..job_mapping import to_job
from ..reports import fail
from ..viewport import live_view, look_through, overlay, preview, results
from .common import output_folder

__all__ = ["CLASSES"]


class OBJAVERSE_OT_sample_cameras(bpy.types.Operator):
    """Make a camera object for every view, in a collection of their own"""

    bl_idname = "objaverse.sample_cameras"
    bl_label = "Make Camera Objects"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Make them."""
        try:
            state = preview.rig_or_error(context)
        except RenderError as error:
            return fail(self, error)
        home = user_scene.add_camera_objects(context.scene, state.views, state.to_world)
        self.report({"INFO"}, f"{len(state.views)} cameras in the collection {home.name}")
        return {"FINISHED"}


def _times(scene: bpy.types.Scene) -> list[int]:
    """The frames that are rendered, of the scene's own time; none of a still."""
    job = to_job(scene.objaverse)
    if job.time.frames is None or job.time.scale != 1:
        return []
    wanted = frame_range(job.time.frames)
    return list(range(scene.frame_start, scene.frame_end + 1) if wanted is None else wanted)


class OBJAVERSE_OT_use_scene_cameras(bpy.types.Operator):
    """Render from the scene's own cameras, selected ones or all, as they move if frames are set"""

    bl_idname = "objaverse.use_scene_cameras"
    bl_label = "Use Scene Cameras"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Write them into a file of poses beside the dataset, and choose it."""
        scene = context.scene
        settings, render = scene.objaverse, scene.render
        objects = [
            obj for obj in scene.objects
            if obj.type == "CAMERA" and obj.name != look_through.LOOK_CAMERA
        ]  # fmt: skip
        chosen = [obj for obj in objects if obj.select_get()] or objects
        chosen.sort(key=lambda obj: obj.name)
        if not chosen:
            self.report({"ERROR"}, "The scene has no camera. Add one with Add, Camera")
            return {"CANCELLED"}
        target, now = output_folder(settings) / "scene-cameras.json", scene.frame_current
        try:
            to_world = preview.around_asset(context)
            times = _times(scene)
            cameras, names, keys = [], [], []
            for time in times or [now]:
                if times:
                    scene.frame_set(time)
                depsgraph = context.evaluated_depsgraph_get()
                for view, obj in enumerate(chosen):
                    cameras.append(user_scene.camera_of_object(obj, render, depsgraph, to_world))
                    names.append(obj.name)
                    keys.append((view, time))
            target.parent.mkdir(parents=True, exist_ok=True)
            data = transforms_json(cameras, names, keys if times else ())
            write_whole(target, data)
        except OSError as error:
            return fail(self, OutputNotWritable(f"{target}: {error.strerror}."))
        except RenderError as error:
            return fail(self, error)
        finally:
            if scene.frame_current != now:
                scene.frame_set(now)
        settings.pattern, settings.camera_file, settings.file_views = "file", str(target), 0
        settings.resolution_x, settings.resolution_y = cameras[0].width, cameras[0].height
        settings.current_view = 0
        size = f"{cameras[0].width} × {cameras[0].height}"
        self.report({"INFO"}, f"{how_many(len(chosen), 'camera')}, {size} as the scene renders")
        return {"FINISHED"}


class OBJAVERSE_OT_preview_cameras(bpy.types.Operator):
    """Show the cameras of all views around the asset; click one to select it"""

    bl_idname = "objaverse.preview_cameras"
    bl_label = "Preview Cameras"
    bl_description = (
        "Show the cameras of all views around the asset; click one to select it. Yellow is the "
        "current one, with planes at the asset's nearest and farthest point; red ones crop it"
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Show or hide."""
        # A result stands in the preview's place.
        shown = context.window_manager.objaverse.preview and results.shown() is None
        results.close(context)
        if not shown:
            try:
                state = preview.rig_or_error(context)
            except RenderError as error:
                return fail(self, error)
            overlay.bring_into_view(context, preview.reach(state))
        overlay.set_visible(context, not shown)
        return {"FINISHED"}


class OBJAVERSE_OT_frame_rig(bpy.types.Operator):
    """Move the viewport so that it shows all cameras and the asset"""

    bl_idname = "objaverse.frame_rig"
    bl_label = "Frame Rig"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Move it."""
        shown = results.shown()
        try:
            rig = preview.rig_or_error(context) if shown is None else shown.rig
        except RenderError as error:
            return fail(self, error)
        overlay.bring_into_view(context, preview.reach(rig))
        return {"FINISHED"}


_ACTIONS: Final = [
    ("INDEX", "Look", "Look through the current view, in the shape of its picture"),
    ("NEXT", "Next", "Go to the next view"),
    ("PREVIOUS", "Previous", "Go to the view before"),
    ("STOP", "Stop", "Leave the view and put the scene's camera back"),
]


class OBJAVERSE_OT_look_through_camera(bpy.types.Operator):
    """See what a view will show, in the shape of its picture"""

    bl_idname = "objaverse.look_through_camera"
    bl_label = "Look Through View"
    # Not REGISTER: its box in the corner would lie over the picture. Not UNDO: walking through the
    # views would push the user's own steps out.
    bl_options: ClassVar[set[str]] = set()

    action: EnumProperty(
        items=_ACTIONS,
        options={"HIDDEN", "SKIP_SAVE"},
    )
    index: IntProperty(
        name="View",
        default=-1,
        min=-1,
        description="View to look through",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def description(cls, __: bpy.types.Context, properties: Any) -> str:
        """What this button does."""
        return next(said for name, _, said in _ACTIONS if name == properties.action)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Move the camera, or choose another view, which a look follows."""
        scene = context.scene
        looking = look_through.is_looking(scene)
        if self.action == "STOP":
            look_through.stop(context)
            self._remember(looking)
            return {"FINISHED"}
        try:
            state = preview.rig_or_error(context)
        except RenderError as error:
            return fail(self, error)
        settings = scene.objaverse
        wanted = settings.current_view if self.index < 0 else self.index
        step = {"NEXT": 1, "PREVIOUS": -1}.get(self.action, 0)
        settings.current_view = (wanted + step) % len(state.views)
        if self.action == "INDEX":
            look_through.look(context, state)
            self._remember(not looking)
        return {"FINISHED"}

    def _remember(self, changed: bool) -> None:
        if changed and not bpy.app.background:
            bpy.ops.ed.undo_push(message=self.bl_label)


class OBJAVERSE_OT_live_view(bpy.types.Operator):
    """Render the chosen view beside your work, better and better, and follow every setting"""

    bl_idname = "objaverse.live_view"
    bl_label = "Live View"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is an asset."""
        if context.scene.objaverse.asset is None:
            cls.poll_message_set("Import an asset first, or choose its collection")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Begin or end."""
        if live_view.shown() is not None:
            live_view.stop()
            return {"FINISHED"}
        try:
            live_view.start(context)
        except RenderError as error:
            return fail(self, error)
        return {"FINISHED"}


CLASSES: Final = (
    OBJAVERSE_OT_sample_cameras,
    OBJAVERSE_OT_use_scene_cameras,
    OBJAVERSE_OT_preview_cameras,
    OBJAVERSE_OT_frame_rig,
    OBJAVERSE_OT_look_through_camera,
    OBJAVERSE_OT_live_view,
)
