"""Operators about the asset: import, normalise, passes of the scene's own renders."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import bpy
from bpy.props import StringProperty
from bpy_extras.io_utils import ImportHelper

from ...assets.formats import EXTENSIONS
from ...assets.sources import classify
from ...assets.stated import license_line
from ...batch.background import Fetch
from ...blender import user_scene
from ...blender.passes import is_set_up, restore_passes, setup_passes
from ...errors import Interrupted, RenderError
from .. import preferences
from ..viewport import overlay, preview
from .common import TIMER_PERIOD, NeedsAsset, fail, in_panel_words, output_folder

__all__ = ["CLASSES", "end_fetch"]


class OBJAVERSE_OT_import_asset(bpy.types.Operator, ImportHelper):
    """Import a 3D file as the asset to look at and to render"""

    bl_idname = "objaverse.import_asset"
    bl_label = "Import Asset"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    filter_glob: StringProperty(
        default=";".join(f"*.{name}" for name in EXTENSIONS), options={"HIDDEN"}
    )

    _timer: Any = None

    @classmethod
    def poll(cls, _: bpy.types.Context) -> bool:
        """Whether none is being fetched."""
        if _fetch is not None:
            cls.poll_message_set("An asset is being fetched; wait for it or cancel it")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Import what the panel names, or ask; an identifier is fetched beside the window."""
        source = context.scene.objaverse.source
        if not source and not self.filepath:
            return ImportHelper.invoke(self, context, event)
        self.filepath = self.filepath or source
        if classify(self.filepath) == "path":
            return self.execute(context)
        _start_fetch(context, self.filepath)
        manager = context.window_manager
        self._timer = manager.event_timer_add(TIMER_PERIOD, window=context.window)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Wait for the file."""
        fetch = _fetch
        if fetch is None:
            self.cancel(context)
            return {"CANCELLED"}
        if event.type == "ESC" and event.value == "PRESS":
            fetch.cancel.set()
            return {"RUNNING_MODAL"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        if fetch.is_alive():
            state = context.window_manager.objaverse
            state.fetching, state.fetched = fetch.status, fetch.share
            return {"PASS_THROUGH"}
        self.cancel(context)
        if isinstance(fetch.error, Interrupted):
            self.report({"INFO"}, "Cancelled")
            return {"CANCELLED"}
        if fetch.error is not None:
            return fail(self, fetch.error)
        return self._import(context, fetch.path)

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender closes the file or itself."""
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None
        end_fetch(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Import, and wait for it."""
        source = self.filepath or context.scene.objaverse.source
        if classify(source) == "path":
            return self._import(context, Path(bpy.path.abspath(source)))
        fetch = Fetch(source, preferences.options(context))
        fetch.run()
        if fetch.error is not None:
            return fail(self, fetch.error)
        return self._import(context, fetch.path)

    def _import(self, context: bpy.types.Context, path: Path) -> set[str]:
        settings, state = context.scene.objaverse, context.window_manager.objaverse
        try:
            keep = settings.lighting == "keep"
            imported = user_scene.import_into_scene(context.scene, path, keep_lights=keep)
        except RenderError as error:
            # The pop-up goes away with the next move of the mouse.
            state.summary, state.license, state.warnings = "", "", in_panel_words(error)
            return fail(self, error)
        settings.source, settings.asset = str(self.filepath or path), imported.collection
        settings.current_view = 0
        overlay.bring_into_view(context, user_scene.corners(imported.collection))
        state.summary, state.warnings = imported.summary, "\n".join(imported.warnings)
        state.license = license_line(path, preferences.options(context).get("download_dir"))
        preview.invalidate()
        for warning in imported.warnings:
            self.report({"WARNING"}, warning)
        self.report({"INFO"}, f"{path.name}: {imported.summary}")
        return {"FINISHED"}


_fetch: Fetch | None = None


def _start_fetch(context: bpy.types.Context, source: str) -> None:
    global _fetch
    _fetch = Fetch(source, preferences.options(context))
    _fetch.start()
    state = context.window_manager.objaverse
    state.fetching, state.fetched = _fetch.status, 0.0


def end_fetch(context: bpy.types.Context) -> None:
    """Stop fetching, where something is being fetched."""
    global _fetch
    if _fetch is not None:
        _fetch.cancel.set()
        _fetch = None
        context.window_manager.objaverse.fetching = ""


class OBJAVERSE_OT_cancel_import(bpy.types.Operator):
    """Stop fetching the asset; what has arrived is kept for the next time"""

    bl_idname = "objaverse.cancel_import"
    bl_label = "Cancel Import"
    bl_options: ClassVar = {"INTERNAL"}

    @classmethod
    def poll(cls, _: bpy.types.Context) -> bool:
        """Whether something is being fetched."""
        if _fetch is None:
            cls.poll_message_set("No asset is being fetched")
        return _fetch is not None

    def execute(self, _: bpy.types.Context) -> set[str]:
        """Cancel; the import ends by itself."""
        assert _fetch is not None
        _fetch.cancel.set()
        return {"FINISHED"}


class OBJAVERSE_OT_normalize(NeedsAsset, bpy.types.Operator):
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
            user_scene.undo_normalization(settings.asset)
        else:
            try:
                user_scene.normalize_asset(settings.asset, settings.normalize)
            except RenderError as error:
                return fail(self, error)
        preview.invalidate()
        return {"FINISHED"}


class OBJAVERSE_OT_setup_passes(bpy.types.Operator):
    """Let this scene's own renders write depth and normals into one multilayer EXR"""

    bl_idname = "objaverse.setup_passes"
    bl_label = "Set Up Passes"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Add the compositor nodes."""
        scene, settings = context.scene, context.scene.objaverse
        folder = output_folder(settings) / "passes"
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


CLASSES = (
    OBJAVERSE_OT_import_asset,
    OBJAVERSE_OT_cancel_import,
    OBJAVERSE_OT_normalize,
    OBJAVERSE_OT_setup_passes,
    OBJAVERSE_OT_restore_compositor,
)
