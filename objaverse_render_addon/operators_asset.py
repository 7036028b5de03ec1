"""Operators about the asset: import, normalise, passes of the scene's own renders."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import bpy
from bpy.props import StringProperty
from bpy_extras.io_utils import ImportHelper

from . import overlay, preferences, preview
from .assets.formats import EXTENSIONS
from .assets.objaverse import as_uid
from .batch.background import Fetch
from .blender import asset
from .errors import RenderError
from .operators_common import TIMER_PERIOD, NeedsAsset, fail, output_folder
from .passes import is_set_up, restore_passes, setup_passes

__all__ = ["CLASSES"]


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
            return fail(self, fetching.error)
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
            return fail(self, fetching.error)
        return self._import(context, fetching.path)

    def _import(self, context: bpy.types.Context, path: Path) -> set[str]:
        settings, state = context.scene.objaverse, context.window_manager.objaverse
        try:
            keep = settings.lighting == "keep"
            imported = asset.import_into_scene(context.scene, path, keep_lights=keep)
        except RenderError as error:
            # The pop-up goes away with the next move of the mouse.
            state.summary, state.warnings = "", str(error)
            return fail(self, error)
        settings.source, settings.asset = str(self.filepath or path), imported.collection
        settings.current_view = 0
        overlay.bring_into_view(context, asset.corners(imported.collection))
        state.summary, state.warnings = imported.summary, "\n".join(imported.warnings)
        preview.invalidate()
        for warning in imported.warnings:
            self.report({"WARNING"}, warning)
        self.report({"INFO"}, f"{path.name}: {imported.summary}")
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
            asset.undo_normalization(settings.asset)
        else:
            try:
                asset.normalize_asset(context.scene, settings.asset, settings.normalize)
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
    OBJAVERSE_OT_normalize,
    OBJAVERSE_OT_setup_passes,
    OBJAVERSE_OT_restore_compositor,
)
