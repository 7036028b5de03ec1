"""What the panel's buttons do: read settings, call a function, report.

``invoke`` is modal and never blocks the window, ``execute`` blocks and raises; both drive the
same run. In background Blender always executes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty
from bpy_extras.io_utils import ExportHelper, ImportHelper

from . import overlay, preferences, preview, properties
from .assets.formats import EXTENSIONS
from .assets.objaverse import as_uid
from .batch.background import BackgroundRun, Ended, Fetch
from .batch.run import AssetResult, plan
from .blender import asset
from .errors import OutputNotWritable, RenderError
from .job import RenderJob
from .messages import Done, FrameDone, Stage
from .passes import is_set_up, restore_passes, setup_passes

__all__ = ["register", "unregister"]

TIMER_PERIOD = 0.1
VIEW_IMAGE = "Objaverse View"
LOOK_CAMERA = "Objaverse Look"
_LOOK_RECORD = "objaverse_look"

_run: BackgroundRun | None = None
# Where each viewport stood before it looked through a view.
_eyes: dict[int, tuple[str, Any]] = {}


def _fail(operator: bpy.types.Operator, error: RenderError) -> set[str]:
    """Report a failure with its way out; from a script this raises."""
    operator.report({"ERROR"}, str(error))
    return {"CANCELLED"}


def _output_folder(settings: Any) -> Path:
    if settings.output_dir.startswith("//") and not bpy.data.filepath:
        # Relative to a file that was never saved: beside the user's other things.
        return Path.home() / settings.output_dir.removeprefix("//")
    return Path(bpy.path.abspath(settings.output_dir))


class OBJAVERSE_OT_import_asset(bpy.types.Operator, ImportHelper):
    """Import a 3D file as the asset to look at and to render"""

    bl_idname = "objaverse.import_asset"
    bl_label = "Import Asset"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    filter_glob: StringProperty(
        default=";".join(f"*.{name}" for name in EXTENSIONS), options={"HIDDEN"}
    )

    _fetching: Any = None
    _timer: Any = None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Import what the panel names, or ask; an identifier is fetched beside the window."""
        source = context.scene.objaverse.source
        if not source and not self.filepath:
            return ImportHelper.invoke(self, context, event)
        self.filepath = self.filepath or source
        if as_uid(self.filepath) is None:
            return self.execute(context)
        self._fetching = Fetch(self.filepath, preferences.options(context))
        self._fetching.start()
        context.window_manager.objaverse.status = "Fetching the asset"
        manager = context.window_manager
        self._timer = manager.event_timer_add(TIMER_PERIOD, window=context.window)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Wait for the file."""
        fetching, state = self._fetching, context.window_manager.objaverse
        if event.type == "ESC" and event.value == "PRESS":
            fetching.cancel.set()
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        state.status, state.progress = fetching.status, fetching.share
        if fetching.is_alive():
            return {"PASS_THROUGH"}
        self.cancel(context)
        state.status = ""
        if fetching.error is not None:
            return _fail(self, fetching.error)
        return self._import(context, fetching.path)

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender closes the file or itself."""
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None
        if self._fetching is not None:
            self._fetching.cancel.set()

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Import, and wait for it."""
        source = self.filepath or context.scene.objaverse.source
        if as_uid(source) is None:
            return self._import(context, Path(bpy.path.abspath(source)))
        fetching = Fetch(source, preferences.options(context))
        fetching.run()
        if fetching.error is not None:
            return _fail(self, fetching.error)
        return self._import(context, fetching.path)

    def _import(self, context: bpy.types.Context, path: Path) -> set[str]:
        settings, state = context.scene.objaverse, context.window_manager.objaverse
        try:
            keep = settings.lighting == "keep"
            imported = asset.import_into_scene(context.scene, path, keep_lights=keep)
        except RenderError as error:
            # The pop-up goes away with the next move of the mouse.
            state.summary, state.warnings = "", str(error)
            return _fail(self, error)
        settings.source, settings.asset = str(self.filepath or path), imported.collection
        settings.current_view = 0
        overlay.bring_into_view(context, asset.corners(imported.collection))
        state.summary, state.warnings = imported.summary, "\n".join(imported.warnings)
        preview.invalidate()
        for warning in imported.warnings:
            self.report({"WARNING"}, warning)
        self.report({"INFO"}, f"{path.name}: {imported.summary}")
        return {"FINISHED"}


class _NeedsAsset:
    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is an asset."""
        if context.scene.objaverse.asset is None:
            cls.poll_message_set("Import an asset first, or choose its collection")
            return False
        return True


class OBJAVERSE_OT_normalize(_NeedsAsset, bpy.types.Operator):
    """Scale and centre the asset in the scene, as it is done for every render"""

    bl_idname = "objaverse.normalize"
    bl_label = "Normalize"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    undo: bpy.props.BoolProperty(
        name="Undo",
        description="Put the asset back to its own size and place",
        options={"HIDDEN", "SKIP_SAVE"},
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Normalise, or put back."""
        settings = context.scene.objaverse
        if self.undo:
            asset.undo_normalization(settings.asset)
        else:
            try:
                asset.normalize_asset(context.scene, settings.asset, settings.normalize)
            except RenderError as error:
                return _fail(self, error)
        preview.invalidate()
        return {"FINISHED"}


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
            return _fail(self, error)
        home = asset.add_camera_objects(context.scene, state.views, state.to_world)
        self.report({"INFO"}, f"{len(state.views)} cameras in the collection {home.name}")
        return {"FINISHED"}


class OBJAVERSE_OT_preview_cameras(bpy.types.Operator):
    """Show the cameras of all views around the asset; click one to select it"""

    bl_idname = "objaverse.preview_cameras"
    bl_label = "Preview Cameras"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Show or hide."""
        shown = context.window_manager.objaverse.preview
        if not shown:
            try:
                state = preview.rig_or_error(context)
            except RenderError as error:
                return _fail(self, error)
            overlay.bring_into_view(context, preview.reach(state))
        overlay.set_visible(context, not shown)
        return {"FINISHED"}


class OBJAVERSE_OT_look_through_camera(bpy.types.Operator):
    """See what a view will show, in the shape of its picture"""

    bl_idname = "objaverse.look_through_camera"
    bl_label = "Look Through View"
    # Not REGISTER: its box in the corner would lie over the picture.
    bl_options: ClassVar = {"UNDO"}

    action: EnumProperty(
        items=[
            ("INDEX", "Look", "Look through the selected view"),
            ("NEXT", "Next", "Look through the next view"),
            ("PREVIOUS", "Previous", "Look through the view before"),
            ("STOP", "Stop", "Leave the view and put the scene's camera back"),
        ],
        options={"HIDDEN"},
    )
    index: IntProperty(name="View", default=-1, min=-1, description="View to look through")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Move the camera."""
        scene = context.scene
        if self.action == "STOP":
            _stop_looking(context)
            return {"FINISHED"}
        try:
            state = preview.rig_or_error(context)
        except RenderError as error:
            return _fail(self, error)
        settings = scene.objaverse
        wanted = settings.current_view if self.index < 0 else self.index
        step = {"NEXT": 1, "PREVIOUS": -1}.get(self.action, 0)
        settings.current_view = (wanted + step) % len(state.views)
        _look(context, state)
        return {"FINISHED"}


def _look(context: bpy.types.Context, state: preview.RigState) -> None:
    scene, render = context.scene, context.scene.render
    if _LOOK_RECORD not in scene:
        scene[_LOOK_RECORD] = {
            # The camera itself, for it may get another name.
            **({"camera": scene.camera} if scene.camera else {}),
            "size": [render.resolution_x, render.resolution_y, render.resolution_percentage],
            "aspect": [render.pixel_aspect_x, render.pixel_aspect_y],
        }
    camera = bpy.data.objects.get(LOOK_CAMERA)
    if camera is None:
        lens_data = bpy.data.cameras.get(LOOK_CAMERA) or bpy.data.cameras.new(LOOK_CAMERA)
        camera = bpy.data.objects.new(LOOK_CAMERA, lens_data)
    if camera.name not in scene.collection.objects:
        scene.collection.objects.link(camera)
    view = state.views[scene.objaverse.current_view]
    asset.place_camera(camera, view.camera, state.to_world)
    lens = asset.blender_lens(view.camera)
    render.resolution_x, render.resolution_y = view.camera.width, view.camera.height
    render.resolution_percentage = 100
    render.pixel_aspect_x, render.pixel_aspect_y = lens["pixel_aspect_x"], lens["pixel_aspect_y"]
    scene.camera = camera
    for area in _viewports(context):
        eye = area.spaces.active.region_3d
        if eye.view_perspective != "CAMERA":
            # Blender turns the viewport's own rotation with the camera.
            where = eye.view_location.copy(), eye.view_rotation.copy(), eye.view_distance
            _eyes[area.as_pointer()] = eye.view_perspective, where
            eye.view_perspective = "CAMERA"


def _stop_looking(context: bpy.types.Context) -> None:
    scene, render = context.scene, context.scene.render
    if _LOOK_RECORD not in scene:
        return
    record = scene[_LOOK_RECORD].to_dict()
    del scene[_LOOK_RECORD]
    render.resolution_x, render.resolution_y, render.resolution_percentage = record["size"]
    render.pixel_aspect_x, render.pixel_aspect_y = record["aspect"]
    scene.camera = record.get("camera")
    for blocks in (bpy.data.objects, bpy.data.cameras):
        if LOOK_CAMERA in blocks:
            blocks.remove(blocks[LOOK_CAMERA])
    for area in _viewports(context):
        eye = area.spaces.active.region_3d
        if eye.view_perspective == "CAMERA":
            eye.view_perspective, where = _eyes.get(area.as_pointer(), ("PERSP", None))
            if where is not None:
                eye.view_location, eye.view_rotation, eye.view_distance = where
    _eyes.clear()


def _viewports(context: bpy.types.Context) -> list[Any]:
    """The viewport that was clicked in, else all of them."""
    if context.area is not None and context.area.type == "VIEW_3D":
        return [context.area]
    return [a for a in context.screen.areas if a.type == "VIEW_3D"] if context.screen else []


class OBJAVERSE_OT_setup_passes(bpy.types.Operator):
    """Let this scene's own renders write depth and normals into one multilayer EXR"""

    bl_idname = "objaverse.setup_passes"
    bl_label = "Set Up Passes"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Add the compositor nodes."""
        scene, settings = context.scene, context.scene.objaverse
        folder = _output_folder(settings) / "passes"
        setup_passes(scene, context.view_layer, settings.passes, folder)
        self.report({"INFO"}, f"Renders of this scene write their passes to {folder}")
        return {"FINISHED"}


class OBJAVERSE_OT_restore_compositor(bpy.types.Operator):
    """Put the scene's compositor back as it was before Set Up Passes"""

    bl_idname = "objaverse.restore_compositor"
    bl_label = "Restore Compositor"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether passes are set up."""
        if not is_set_up(context.scene):
            cls.poll_message_set("Passes are not set up in this scene")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Remove the compositor nodes."""
        restore_passes(context.scene)
        return {"FINISHED"}


# --- Rendering ------------------------------------------------------------------------------


class _RunOperator:
    """A run that is modal when a person starts it and blocks when a script does."""

    kind: ClassVar[str]
    _timer: Any = None

    @classmethod
    def poll(cls, _: bpy.types.Context) -> bool:
        """Whether nothing else is running."""
        if _run is not None:
            cls.poll_message_set("A render is running; wait for it or cancel it")
            return False
        return True

    def begin(self, context: bpy.types.Context) -> BackgroundRun:
        """Make the run; raises RenderError."""
        raise NotImplementedError

    def _start(self, context: bpy.types.Context) -> None:
        global _run
        run = self.begin(context)
        _discard_last()
        _run = run
        state = context.window_manager.objaverse
        state.running, state.progress, state.status = self.kind, 0.0, "Starting Blender"
        state.notes = state.failure = ""
        run.start()

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Render and wait."""
        try:
            self._start(context)
        except RenderError as error:
            return _fail(self, error)
        run = _run
        assert run is not None
        failures: list[str] = []
        ended: Ended | None = None
        try:
            while ended is None:
                time.sleep(0.02)
                for event in run.poll():
                    _show(context, event)
                    if isinstance(event, AssetResult):
                        print(f"{event.status}: {event.path or event.source}", flush=True)
                        if event.error:
                            failures.append(str(event.error))
                    if isinstance(event, Ended):
                        ended = event
        except KeyboardInterrupt:
            run.cancel()
            raise
        finally:
            _end(context)
        if ended.error:
            failures.append(str(ended.error))
        if failures or ended.outcome != "finished":
            self.report({"ERROR"}, "\n".join(failures) or "Cancelled")
            return {"CANCELLED"}
        return {"FINISHED"}

    def invoke(self, context: bpy.types.Context, _: bpy.types.Event) -> set[str]:
        """Render beside the window."""
        try:
            self._start(context)
        except RenderError as error:
            return _fail(self, error)
        manager = context.window_manager
        self._timer = manager.event_timer_add(TIMER_PERIOD, window=context.window)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Take what happened since; everything else is the user's."""
        run = _run
        if run is None:
            return self._leave(context, {"CANCELLED"})
        if event.type == "ESC" and event.value == "PRESS" and self.kind == "asset":
            context.window_manager.objaverse.status = "Cancelling"
            run.cancel()
            return {"RUNNING_MODAL"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        deadline = time.monotonic() + 0.9 * TIMER_PERIOD
        for message in run.poll():
            _show(context, message)
            if isinstance(message, AssetResult) and message.error:
                level = {"ERROR"} if self.kind == "asset" else {"WARNING"}
                self.report(level, str(message.error))
            if isinstance(message, Ended):
                state = context.window_manager.objaverse
                if message.error:
                    self.report({"ERROR"}, str(message.error))
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
        _end(context)
        return result


_last: BackgroundRun | None = None


def _end(context: bpy.types.Context) -> None:
    """The run is over; its pictures stay until the next one."""
    global _run, _last
    if _run is None:
        return
    _run.stop()
    _run, _last = None, _run
    state = context.window_manager.objaverse
    state.running = ""
    for item in state.items:
        if item.state in ("waiting", "rendering"):
            item.state, item.detail = "waiting", "not rendered"
    overlay.show_picture(None)
    image = bpy.data.images.get(VIEW_IMAGE)
    if image is not None and not image.users:
        bpy.data.images.remove(image)


def _discard_last() -> None:
    global _last
    if _last is not None:
        _last.close()
        _last = None


def _show(context: bpy.types.Context, event: Any) -> None:
    """Put an event where people see it."""
    state = context.window_manager.objaverse
    item = _item(state, getattr(event, "asset_id", ""))
    if isinstance(event, Stage):
        names = {
            "download": "Fetching", "import": "Importing", "prepare": "Preparing",
            "render": "Rendering",
        }  # fmt: skip
        state.status = f"{names.get(event.name, event.name)} {event.asset_id}"
        if item:
            item.state, item.detail, item.factor = "rendering", names.get(event.name, ""), 0.0
    elif isinstance(event, FrameDone):
        _show_view(event)
        share = (event.index + 1) / event.total
        if item:
            item.factor, item.detail = share, f"{event.index + 1} of {event.total} views"
        done = sum(entry.state in ("done", "failed", "skipped") for entry in state.items)
        total = len(state.items) if state.running == "batch" else 1
        state.progress = (share + (done if state.running == "batch" else 0)) / max(1, total)
        state.status = _time_left(state.progress, event)
    elif isinstance(event, AssetResult):
        _show_result(state, item, event)
    elif isinstance(event, Done):
        if state.running == "asset":
            state.notes = "\n".join(event.warnings)
    elif isinstance(event, Ended):
        state.progress = 1.0 if event.outcome == "finished" else 0.0
        if event.error:
            state.failure = str(event.error)
        if event.outcome != "finished":
            state.status = event.outcome.capitalize()
        elif state.running == "batch":
            states = [item.state for item in state.items]
            counts = [(states.count(name), name) for name in ("done", "skipped", "failed")]
            state.status = "Batch: " + ", ".join(f"{n} {name}" for n, name in counts if n)


def _show_result(state: Any, item: Any, result: AssetResult) -> None:
    if result.status == "skipped":
        said = "there already"
    elif result.error:
        said = str(result.error)
    else:
        seconds = result.seconds.get("total", 0.0)
        said = f"{result.views} views in {seconds:.0f} s" if seconds else f"{result.views} views"
    if item:
        item.state, item.factor, item.detail = result.status, 1.0, said
        item.result = str(result.path or "") if not result.error else ""
        item.sheet = result.sheet
    elif result.error:
        state.failure = said
    else:
        state.status = f"{result.path.name if result.path else result.asset_id}: {said}"


def _item(state: Any, asset_id: str) -> Any:
    if state.running != "batch":
        return None
    return next((item for item in state.items if item.asset_id == asset_id), None)


def _time_left(progress: float, event: FrameDone) -> str:
    assert _run is not None
    left = (time.monotonic() - _run.started) * (1 - progress) / max(progress, 1e-6)
    clock = f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s"
    return f"{event.asset_id}: {event.index + 1} of {event.total} views, {clock} left"


def _show_view(event: FrameDone) -> None:
    """The newest view, in an image editor and in the viewport's corner."""
    if not event.preview or bpy.app.background:
        return
    image = _load_image(VIEW_IMAGE, event.preview)
    overlay.show_picture(image)
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            # An editor that shows something of the user's keeps it.
            if area.type == "IMAGE_EDITOR" and area.spaces.active.image is None:
                area.spaces.active.image = image
            if area.type in ("IMAGE_EDITOR", "VIEW_3D"):
                area.tag_redraw()


def _load_image(name: str, path: str) -> Any:
    image = bpy.data.images.get(name)
    if image is None:
        image = bpy.data.images.load(path)
        image.name = name
    else:
        image.filepath = path
        image.reload()
    return image


class OBJAVERSE_OT_render_asset(_RunOperator, bpy.types.Operator):
    """Render all views of the asset into a verified dataset, beside your work"""

    bl_idname = "objaverse.render_asset"
    bl_label = "Render Asset"
    kind = "asset"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is an asset and nothing else is running."""
        if context.scene.objaverse.asset is None:
            cls.poll_message_set("Import an asset first, or choose its collection")
            return False
        return super().poll(context)

    def begin(self, context: bpy.types.Context) -> BackgroundRun:
        """A worker renders a copy, so that the scene cannot change."""
        scene = context.scene
        settings = scene.objaverse
        job = properties.to_job(settings, preferences.get(context))
        run = BackgroundRun([], job, _output_folder(settings))
        path = run.previews / f"{preview.asset_id(scene)}.blend"
        try:
            asset.save_asset(settings.asset, path, scene.frame_current)
        except (OSError, RuntimeError) as error:
            run.close()
            raise OutputNotWritable(
                f"The asset cannot be written to {path}: {error}",
                hint="Free some space in the temporary folder.",
            ) from error
        run.sources = [str(path)]
        run.options = {
            **preferences.options(context),
            "overwrite": settings.overwrite,
            "provenance": {str(path): asset.provenance(settings.asset)},
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
        out = out or _output_folder(settings)
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
        run.options = {**preferences.options(context), "overwrite": settings.overwrite}
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
        """Whether something is running."""
        return _run is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Cancel."""
        assert _run is not None
        context.window_manager.objaverse.status = "Cancelling"
        _run.cancel()
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
        image = _load_image(f"{item.asset_id} sheet", item.sheet)
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
        folder = _output_folder(context.scene.objaverse)
        if not folder.is_dir():
            self.report({"ERROR"}, f"{folder} is not there yet; render something first")
            return {"CANCELLED"}
        bpy.ops.wm.path_open(filepath=str(folder))
        return {"FINISHED"}


# --- Job files ------------------------------------------------------------------------------


class OBJAVERSE_OT_load_job(bpy.types.Operator, ImportHelper):
    """Take all settings from a job file (TOML or JSON)"""

    bl_idname = "objaverse.load_job"
    bl_label = "Load Job"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    filter_glob: StringProperty(default="*.toml;*.json", options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Load it."""
        try:
            properties.from_job(context.scene.objaverse, RenderJob.load(self.filepath))
        except RenderError as error:
            return _fail(self, error)
        return {"FINISHED"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Load a file that was dropped, or ask."""
        if self.filepath:
            return self.execute(context)
        return ImportHelper.invoke(self, context, event)


class OBJAVERSE_OT_save_job(bpy.types.Operator, ExportHelper):
    """Write all settings into a job file that the command line reads too"""

    bl_idname = "objaverse.save_job"
    bl_label = "Save Job"

    filename_ext = ".toml"
    filter_glob: StringProperty(default="*.toml", options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Write it."""
        try:
            job = properties.to_job(context.scene.objaverse, preferences.get(context))
            Path(self.filepath).write_text(job.resolved().to_toml(), encoding="utf-8")
        except RenderError as error:
            return _fail(self, error)
        except OSError as error:
            self.report({"ERROR"}, f"{self.filepath}: {error.strerror}")
            return {"CANCELLED"}
        return {"FINISHED"}


class OBJAVERSE_FH_job(bpy.types.FileHandler):
    """A job file dropped on the viewport loads."""

    bl_idname = "OBJAVERSE_FH_job"
    bl_label = "Objaverse Render Job"
    bl_import_operator = "objaverse.load_job"
    bl_file_extensions = ".toml"

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        """Only over a 3D viewport."""
        return context.area is not None and context.area.type == "VIEW_3D"


_CLASSES = (
    OBJAVERSE_OT_import_asset,
    OBJAVERSE_OT_normalize,
    OBJAVERSE_OT_sample_cameras,
    OBJAVERSE_OT_preview_cameras,
    OBJAVERSE_OT_look_through_camera,
    OBJAVERSE_OT_setup_passes,
    OBJAVERSE_OT_restore_compositor,
    OBJAVERSE_OT_render_asset,
    OBJAVERSE_OT_render_batch,
    OBJAVERSE_OT_cancel,
    OBJAVERSE_OT_show_sheet,
    OBJAVERSE_OT_open_output,
    OBJAVERSE_OT_load_job,
    OBJAVERSE_OT_save_job,
    OBJAVERSE_FH_job,
)


@bpy.app.handlers.persistent
def _on_load(*_: Any) -> None:
    """Another file is being opened: the run belongs to the old one."""
    if _run is not None:
        _end(bpy.context)


def register() -> None:
    """Register the classes."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.app.handlers.load_pre.append(_on_load)


def unregister() -> None:
    """Stop what runs and leave nothing behind."""
    if _run is not None:
        _end(bpy.context)
    _discard_last()
    bpy.app.handlers.load_pre.remove(_on_load)
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
