"""Operators that render: the asset, or a list of files, modal or blocking; cancel, results."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from ...assets.catalogue import known_of_file
from ...batch.background import BackgroundRun, Ended
from ...batch.queue.plan import plan
from ...batch.run import AssetResult
from ...blender import user_scene
from ...errors import OutputNotWritable, RenderError
from .. import preferences, properties, run_state
from ..viewport import preview
from .common import TIMER_PERIOD, fail, in_panel_words, output_folder

__all__ = ["CLASSES"]


class _RunOperator:
    """A run that is modal when a person starts it and blocks when a script does."""

    kind: ClassVar[str]
    _timer: Any = None

    @classmethod
    def poll(cls, _: bpy.types.Context) -> bool:
        """Whether nothing else is run_state."""
        if run_state.current() is not None:
            cls.poll_message_set("A render is running; wait for it or cancel it")
            return False
        return True

    def begin(self, context: bpy.types.Context) -> BackgroundRun:
        """Make the run; raises RenderError."""
        raise NotImplementedError

    def _start(self, context: bpy.types.Context) -> None:
        run_state.start(context, self.begin(context), self.kind)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Render and wait."""
        try:
            self._start(context)
        except RenderError as error:
            return fail(self, error)
        run = run_state.current()
        assert run is not None
        failures: list[str] = []
        ended: Ended | None = None
        try:
            while ended is None:
                time.sleep(0.02)
                for event in run.poll():
                    run_state.show(context, event)
                    if isinstance(event, AssetResult):
                        print(f"{event.status}: {event.path or event.source}", flush=True)
                        if event.error:
                            failures.append(in_panel_words(event.error))
                    if isinstance(event, Ended):
                        ended = event
        except KeyboardInterrupt:
            run.cancel()
            raise
        finally:
            run_state.end(context)
        if ended.error:
            failures.append(in_panel_words(ended.error))
        if failures or ended.outcome != "finished":
            self.report({"ERROR"}, "\n".join(failures) or "Cancelled")
            return {"CANCELLED"}
        return {"FINISHED"}

    def invoke(self, context: bpy.types.Context, _: bpy.types.Event) -> set[str]:
        """Render beside the window."""
        try:
            self._start(context)
        except RenderError as error:
            return fail(self, error)
        manager = context.window_manager
        self._timer = manager.event_timer_add(TIMER_PERIOD, window=context.window)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Take what happened since; everything else is the user's."""
        run = run_state.current()
        if run is None:
            return self._leave(context, {"CANCELLED"})
        if event.type == "ESC" and event.value == "PRESS" and self.kind == "asset":
            run_state.cancel(context)
            return {"RUNNING_MODAL"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        deadline = time.monotonic() + 0.9 * TIMER_PERIOD
        for message in run.poll():
            run_state.show(context, message)
            if isinstance(message, AssetResult) and message.error:
                level = {"ERROR"} if self.kind == "asset" else {"WARNING"}
                self.report(level, in_panel_words(message.error))
            if isinstance(message, Ended):
                state = context.window_manager.objaverse
                if message.error:
                    self.report({"ERROR"}, in_panel_words(message.error))
                elif not state.failure:
                    self.report({"INFO"}, state.status)
                return self._leave(context, {"FINISHED"})
            if time.monotonic() > deadline:
                break
        return {"PASS_THROUGH"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender closes the file or itself."""
        self._leave(context, {"CANCELLED"})

    def _leave(self, context: bpy.types.Context, result: set[str]) -> set[str]:
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None
        run_state.end(context)
        return result


class OBJAVERSE_OT_render_asset(_RunOperator, bpy.types.Operator):
    """Render all views of the asset into a verified dataset, beside your work"""

    bl_idname = "objaverse.render_asset"
    bl_label = "Render Asset"
    kind = "asset"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is an asset and nothing else is run_state."""
        if context.scene.objaverse.asset is None:
            cls.poll_message_set("Import an asset first, or choose its collection")
            return False
        return super().poll(context)

    def begin(self, context: bpy.types.Context) -> BackgroundRun:
        """A worker renders a copy, so that the scene cannot change."""
        scene = context.scene
        settings = scene.objaverse
        job = properties.to_job(settings, preferences.get(context))
        run = BackgroundRun([], job, output_folder(settings))
        path = run.previews / f"{preview.asset_id(scene)}.blend"
        try:
            user_scene.save_asset(settings.asset, path, scene.frame_current)
        except (OSError, RuntimeError) as error:
            run.close()
            raise OutputNotWritable(
                f"The asset cannot be written to {path}: {error}",
                hint="Free some space in the temporary folder.",
            ) from error
        run.sources = [str(path)]
        options, source = preferences.options(context), user_scene.provenance(settings.asset)
        known = known_of_file(str(source.get("file_name", "")), options.get("download_dir"))
        run.options = {
            **options,
            "overwrite": settings.overwrite,
            # What is in the user's own scene is the user's, wherever it lies.
            "allow_outside": sorted(
                {path.anchor, *(Path(name).anchor for name in bpy.utils.blend_paths(absolute=True))}
            ),
            # Who presses the button again wants it tried again.
            "retry": "all",
            "provenance": {
                str(path): {**source, **{name: value for name, value in known.items() if value}}
            },
        }
        return run


class OBJAVERSE_OT_render_batch(_RunOperator, bpy.types.Operator):
    """Render a list of 3D files in the background, each into its own dataset"""

    bl_idname = "objaverse.render_batch"
    bl_label = "Render Batch"
    kind = "batch"

    sources: StringProperty(
        name="Sources",
        description="Files, folders or lists, separated by semicolons; empty takes the panel's",
    )
    output_dir: StringProperty(
        name="Output Folder", description="Empty takes the panel's", subtype="DIR_PATH"
    )
    only: EnumProperty(
        name="Only",
        items=[
            ("ALL", "All", "The whole list"),
            ("FAILED", "Failed", "What failed before"),
            ("ACTIVE", "Selected", "The selected asset"),
        ],
        options={"HIDDEN"},
    )

    def begin(self, context: bpy.types.Context) -> BackgroundRun:
        """Look at the list and hand it to a worker."""
        settings, state = context.scene.objaverse, context.window_manager.objaverse
        job = properties.to_job(settings, preferences.get(context))
        out = Path(bpy.path.abspath(self.output_dir)) if self.output_dir else None
        out = out or output_folder(settings)
        sources = self._sources(settings, state)
        plans = plan(sources, job, out, overwrite=settings.overwrite)
        if self.only == "ALL":
            state.items.clear()
            for item in plans:
                entry = state.items.add()
                entry.name, entry.source, entry.asset_id = item.asset_id, item.source, item.asset_id
        for entry in state.items:
            if entry.source in {item.source for item in plans}:
                entry.state, entry.detail, entry.factor = "waiting", "", 0.0
        run = BackgroundRun([item.source for item in plans], job, out)
        run.options = {
            **preferences.options(context),
            "overwrite": settings.overwrite,
            "retry": () if self.only == "ALL" else "all",
        }
        return run

    def _sources(self, settings: Any, state: Any) -> list[str]:
        if self.only == "FAILED":
            return [item.source for item in state.items if item.state == "failed"]
        if self.only == "ACTIVE":
            return [state.items[state.active].source]
        text = self.sources or settings.sources
        names = [bpy.path.abspath(name.strip()) for name in text.split(";") if name.strip()]
        if not names:
            raise RenderError("There is nothing to render.", hint="Name a file, folder or list.")
        return names


class OBJAVERSE_OT_cancel(bpy.types.Operator):
    """Stop rendering; finished assets stay, the one in hand leaves nothing"""

    bl_idname = "objaverse.cancel"
    bl_label = "Cancel Rendering"
    bl_options: ClassVar = {"INTERNAL"}

    @classmethod
    def poll(cls, _: bpy.types.Context) -> bool:
        """Whether something is run_state."""
        if run_state.current() is None:
            cls.poll_message_set("Nothing is being rendered")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Cancel."""
        run_state.cancel(context)
        return {"FINISHED"}


class OBJAVERSE_OT_show_sheet(bpy.types.Operator):
    """Show the contact sheet of the selected asset"""

    bl_idname = "objaverse.show_sheet"
    bl_label = "Show Contact Sheet"
    bl_options: ClassVar = {"INTERNAL"}

    index: IntProperty(name="Index", default=-1, description="Line of the batch list")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Open it in an image editor."""
        state = context.window_manager.objaverse
        index = state.active if self.index < 0 else self.index
        item = state.items[index] if index < len(state.items) else None
        if item is None or not Path(item.sheet).is_file():
            self.report({"WARNING"}, "There is no contact sheet of this asset yet")
            return {"CANCELLED"}
        image = run_state.load_image(f"{item.asset_id} sheet", item.sheet)
        areas = [area for area in context.screen.areas if area.type == "IMAGE_EDITOR"]
        if not areas:
            bpy.ops.render.view_show("INVOKE_DEFAULT")
            windows = context.window_manager.windows
            areas = [a for w in windows for a in w.screen.areas if a.type == "IMAGE_EDITOR"]
        for area in areas[-1:]:
            area.spaces.active.image = image
        return {"FINISHED"}


class OBJAVERSE_OT_open_output(bpy.types.Operator):
    """Open the output folder in the file browser"""

    bl_idname = "objaverse.open_output"
    bl_label = "Open Output Folder"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Open it."""
        folder = output_folder(context.scene.objaverse)
        if not folder.is_dir():
            self.report({"ERROR"}, f"{folder} is not there yet; render something first")
            return {"CANCELLED"}
        bpy.ops.wm.path_open(filepath=str(folder))
        return {"FINISHED"}


CLASSES = (
    OBJAVERSE_OT_render_asset,
    OBJAVERSE_OT_render_batch,
    OBJAVERSE_OT_cancel,
    OBJAVERSE_OT_show_sheet,
    OBJAVERSE_OT_open_output,
)
