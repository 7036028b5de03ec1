"""Operators about the asset: import, normalise, passes of the scene's own renders."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, ClassVar, Final

import bpy
from bpy.props import BoolProperty, StringProperty
from bpy_extras.io_utils import ImportHelper

from ...assets.catalogue import titles
from ...assets.formats import EXTENSIONS
from ...assets.sources import classify
from ...batch.background import Fetch
from ...blender import user_scene
from ...blender.passes import SCENE_PASSES, is_set_up, restore_passes, setup_passes
from ...errors import RenderError
from ...passspec import PICTURES
from .. import preferences
from ..background import BackgroundOperator, CancelOperator
from ..reports import fail, in_panel_words
from ..viewport import overlay, preview
from .common import NeedsAsset, output_folder

__all__ = ["CLASSES"]


class OBJAVERSE_OT_import_asset(BackgroundOperator, bpy.types.Operator, ImportHelper):
    """Import a 3D file as the asset to look at and to render"""

    bl_idname = "objaverse.import_asset"
    bl_label = "Import Asset"
    bl_options: ClassVar = {"REGISTER", "UNDO"}
    kind = "fetch"
    in_the_way = "An asset is being fetched; wait for it or cancel it"
    cancelled_by = "objaverse.cancel_import"

    filepath: StringProperty(
        name="File",
        description="A 3D file, or the identifier of an Objaverse asset; empty takes the panel's",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )
    ask: BoolProperty(
        name="Ask",
        description="Ask for a file, whatever the panel names",
        options={"HIDDEN", "SKIP_SAVE"},
    )
    hide_former: BoolProperty(
        name="Hide Former Asset",
        description="Hide the asset that was imported before, which would stand in the new one",
        default=True,
        options={"SKIP_SAVE"},
    )
    filter_glob: StringProperty(
        default=";".join(f"*.{name}" for name in EXTENSIONS), options={"HIDDEN", "SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Import what the panel names, or ask; an identifier is fetched beside the window."""
        source = "" if self.ask else context.scene.objaverse.source
        if not source and not self.filepath:
            asked: set[str] = ImportHelper.invoke(self, context, event)
            return asked
        self.filepath = self.filepath or source
        if classify(self.filepath) == "path":
            return self.execute(context)
        return super().invoke(context, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Import, and wait for it."""
        self.filepath = self.filepath or context.scene.objaverse.source
        if classify(self.filepath) == "path":
            return self._import(context, Path(bpy.path.abspath(self.filepath)))
        return super().execute(context)

    def begin(self, context: bpy.types.Context) -> Fetch:
        """Fetch what is not a file yet."""
        fetch = Fetch(self.filepath, preferences.options(context))
        fetch.start()
        return fetch

    def finish(self, context: bpy.types.Context, job: Fetch) -> set[str]:
        """Import what was fetched."""
        return self._import(context, job.path)

    def failed(self, context: bpy.types.Context, error: RenderError) -> set[str]:
        """In the panel too: the pop-up goes away with the next move of the mouse."""
        state = context.window_manager.objaverse
        state.warnings = in_panel_words(error)
        return fail(self, error)

    def _import(self, context: bpy.types.Context, path: Path) -> set[str]:
        settings, state = context.scene.objaverse, context.window_manager.objaverse
        catalogue = preferences.options(context).get("download_dir")
        try:
            imported = user_scene.import_into_scene(
                context.scene, path, keep_lights=settings.lighting == "keep",
                catalogue=catalogue,
            )  # fmt: skip
        except RenderError as error:
            return self.failed(context, error)
        called = titles([str(path)], catalogue)
        if called:
            (imported.collection.name,) = called.values()
        former = settings.asset
        if self.hide_former and former is not None and user_scene.is_imported(former):
            _hide(context, former)
        settings.source, settings.asset = str(self.filepath or path), imported.collection
        settings.current_view = 0
        overlay.bring_into_view(context, user_scene.corners(imported.collection))
        state.warnings = ""
        preview.invalidate()
        for warning in imported.warnings:
            self.report({"WARNING"}, warning)
        self.report({"INFO"}, f"{path.name}: {imported.summary}")
        return {"FINISHED"}


class OBJAVERSE_OT_cancel_import(CancelOperator, bpy.types.Operator):
    """Stop fetching the asset; what has arrived is kept for the next time"""

    bl_idname = "objaverse.cancel_import"
    bl_label = "Cancel Import"
    kind = "fetch"
    nothing = "No asset is being fetched"


class OBJAVERSE_OT_use_collection(bpy.types.Operator):
    """Take the collection of the active object, or the one clicked on, as the asset to render"""

    bl_idname = "objaverse.use_collection"
    bl_label = "Use As Objaverse Asset"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is a collection that can be one."""
        if _collection(context) is None:
            cls.poll_message_set("Put the objects into a collection first")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Choose it."""
        found = _collection(context)
        context.scene.objaverse.asset = found
        preview.invalidate()
        self.report({"INFO"}, f"{found.name} is the asset")
        return {"FINISHED"}


def _hide(context: bpy.types.Context, collection: Any) -> None:
    """Close a collection's eye in the outliner."""
    found = [context.view_layer.layer_collection]
    while found:
        here = found.pop()
        if here.collection == collection:
            here.hide_viewport = True
        found += here.children


def _collection(context: bpy.types.Context) -> Any:
    """The collection clicked on in the outliner, else the active object's; none is the scene's."""
    home = context.scene.collection
    if context.area is not None and context.area.type == "OUTLINER":
        clicked = context.collection
        return clicked if clicked != home else None
    active = context.active_object
    found = active.users_collection if active is not None else ()
    return next((collection for collection in found if collection != home), None)


class OBJAVERSE_OT_normalize(NeedsAsset, bpy.types.Operator):
    """Scale and centre the asset in the scene, as it is done for every render"""

    bl_idname = "objaverse.normalize"
    bl_label = "Normalize"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    undo: BoolProperty(
        name="Undo",
        description="Put the asset back to its own size and place",
        options={"HIDDEN", "SKIP_SAVE"},
    )

    @classmethod
    def description(cls, _: bpy.types.Context, properties: Any) -> str:
        """What this button does."""
        return "Put the asset back to its own size and place" if properties.undo else ""

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Normalise, or put back."""
        settings = context.scene.objaverse
        if self.undo:
            user_scene.undo_normalization(settings.asset)
        else:
            try:
                done = user_scene.normalize_asset(settings.asset, settings.normalize)
            except RenderError as error:
                return fail(self, error)
            moved = ", ".join(f"{value:.4g}" for value in done.translation)
            self.report({"INFO"}, f"Scaled by {done.scale:.4g}, then moved by {moved}")
        preview.invalidate()
        _keep_in_sight(context)
        return {"FINISHED"}


def _keep_in_sight(context: bpy.types.Context) -> None:
    """What was a hundred metres large is a dot now; what was a dot may be around the viewer."""
    points = user_scene.corners(context.scene.objaverse.asset)
    if context.window_manager.objaverse.preview:
        # Settings that contradict each other have no rig.
        with contextlib.suppress(RenderError):
            points = preview.reach(preview.rig_or_error(context))
    overlay.bring_into_view(context, points)


class OBJAVERSE_OT_setup_passes(bpy.types.Operator):
    """Let this scene's own renders write depth, normals and positions into one multilayer EXR"""

    bl_idname = "objaverse.setup_passes"
    bl_label = "Set Up Passes"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Add the compositor nodes."""
        scene, settings = context.scene, context.scene.objaverse
        folder = output_folder(settings) / "passes"
        setup_passes(scene, context.view_layer, settings.passes & SCENE_PASSES, folder)
        self.report({"INFO"}, f"Renders of this scene write their passes to {folder}")
        items = settings.bl_rna.properties["passes"].enum_items_static
        missing = settings.passes - SCENE_PASSES - PICTURES
        if missing:
            names = ", ".join(item.name for item in items if item.identifier in missing)
            text = f"Render Asset writes these, this scene's renders do not: {names}"
            self.report({"WARNING"}, text)
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


CLASSES: Final = (
    OBJAVERSE_OT_import_asset,
    OBJAVERSE_OT_cancel_import,
    OBJAVERSE_OT_use_collection,
    OBJAVERSE_OT_normalize,
    OBJAVERSE_OT_setup_passes,
    OBJAVERSE_OT_restore_compositor,
)
