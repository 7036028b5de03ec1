"""Operators that render: the asset, or a list of files, modal or blocking; cancel."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import bpy
from bpy.props import EnumProperty, StringProperty

from ...assets.catalogue import known_of_file
from ...batch.background import BackgroundRun
from ...batch.queue.plan import plan
from ...batch.run import AssetResult
from ...blender import user_scene
from ...blender.reach import places_in_use
from ...errors import DuplicateAsset, OutputNotWritable, RenderError
from ...words import one_line, redacted
from .. import preferences, run_state, server
from ..background import BackgroundOperator, CancelOperator
from ..job_mapping import to_job
from ..reports import in_panel_words
from ..viewport import preview
from .common import labels, output_folder
from .results import show_finished

__all__ = ["CLASSES"]


class _RunOperator(BackgroundOperator):
    """A run of a worker; the panel shows how it goes."""

    kind = "render"
    in_the_way = "A render is running; wait for it or cancel it"
    cancelled_by = "objaverse.cancel"
    # A worker has a copy of what it renders.
    outlives_file = True

    @classmethod
    def show(cls, context: bpy.types.Context, job: BackgroundRun, event: Any) -> None:
        """In panel and viewport; without a window, in the terminal."""
        run_state.show(context, job, event)
        if isinstance(event, AssetResult) and bpy.app.background:
            where = redacted(str(event.path or event.source))
            print(one_line(f"{event.status}: {where}"), flush=True)

    @classmethod
    def ended(cls, context: bpy.types.Context, job: BackgroundRun) -> None:
        """Its pictures are shown."""
        alone = context.window_manager.objaverse.running == "asset"
        run_state.ended(context, job)
        finished = [result.path for result in job.report.results if result.path and job.report.ok]
        if alone and finished and not bpy.app.background:
            try:
                show_finished(context, finished[0])
            except RenderError as error:
                context.window_manager.objaverse.notes = in_panel_words(error)

    def finish(self, context: bpy.types.Context, job: BackgroundRun) -> set[str]:
        """Name what failed."""
        return run_state.tell(self, context, job)


class OBJAVERSE_OT_render_asset(_RunOperator, bpy.types.Operator):
    """Render all views of the asset into a verified dataset, beside your work"""

    bl_idname = "objaverse.render_asset"
    bl_label = "Render Asset"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is an asset and nothing else is rendered."""
        if context.scene.objaverse.asset is None:
            cls.poll_message_set("Import an asset first, or choose its collection")
            return False
        return super().poll(context)

    def begin(self, context: bpy.types.Context) -> BackgroundRun:
        """A worker renders a copy, so that the scene cannot change."""
        scene = context.scene
        settings = scene.objaverse
        job = to_job(settings, preferences.get(context))
        run = BackgroundRun([], job, output_folder(settings))
        path = run.previews / f"{preview.asset_id(scene)}.blend"
        try:
            with server.packed(context):
                user_scene.save_asset(settings.asset, path, scene)
        except (OSError, RuntimeError) as error:
            run.discard()
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
            "allow_outside": places_in_use(),
            # Who presses the button again wants it tried again.
            "retry": "all",
            "provenance": {
                str(path): {**source, **{name: value for name, value in known.items() if value}}
            },
        }
        server.use(context, run)
        run_state.start(context, run, "asset")
        return run


class OBJAVERSE_OT_render_batch(_RunOperator, bpy.types.Operator):
    """Render a list of 3D files in the background, each into its own dataset"""

    bl_idname = "objaverse.render_batch"
    bl_label = "Render Batch"
    is_modal = False

    sources: StringProperty(
        name="Sources",
        description="Files, folders or lists, separated by semicolons; empty takes the panel's",
        options={"SKIP_SAVE"},
    )
    output_dir: StringProperty(
        name="Output Folder",
        description="Empty takes the panel's",
        subtype="DIR_PATH",
        options={"SKIP_SAVE"},
    )
    only: EnumProperty(
        name="Only",
        items=[
            ("ALL", "All", "The whole list"),
            ("FAILED", "Failed", "What failed before"),
            ("ACTIVE", "Selected", "The selected asset"),
        ],
        options={"HIDDEN", "SKIP_SAVE"},
    )

    @classmethod
    def description(cls, _: bpy.types.Context, properties: Any) -> str:
        """What this button does."""
        return {
            "FAILED": "Render what failed again",
            "ACTIVE": "Render the selected asset again",
        }.get(properties.only, "")

    def begin(self, context: bpy.types.Context) -> BackgroundRun:
        """Look at the list and hand it to a worker."""
        settings, state = context.scene.objaverse, context.window_manager.objaverse
        job = to_job(settings, preferences.get(context))
        out = Path(bpy.path.abspath(self.output_dir)) if self.output_dir else None
        out = out or output_folder(settings)
        sources = self._sources(settings, state)
        plans = plan(sources, job, out, ids=settings.ids, overwrite=settings.overwrite)
        for item in plans:
            if isinstance(item.error, DuplicateAsset):
                # It would end the run, after some of it was rendered.
                raise item.error
        if self.only == "ALL":
            state.items.clear()
            names = labels((item.source for item in plans), context)
            for item, label in zip(plans, names, strict=True):
                entry = state.items.add()
                entry.name, entry.source, entry.asset_id = label, item.source, item.asset_id
        for entry in state.items:
            if entry.source in {item.source for item in plans}:
                entry.state, entry.detail, entry.factor = "waiting", "", 0.0
        run = BackgroundRun([item.source for item in plans], job, out)
        run.options = {
            **preferences.options(context),
            # Who presses the button of a line that is done wants it done again.
            "overwrite": settings.overwrite
            or (self.only == "ACTIVE" and all(item.action == "skip" for item in plans)),
            "ids": settings.ids,
            "retry": () if self.only == "ALL" else "all",
        }
        server.use(context, run)
        run_state.start(context, run, "batch")
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


class OBJAVERSE_OT_cancel(CancelOperator, bpy.types.Operator):
    """Stop rendering; finished assets stay, the one in hand leaves nothing"""

    bl_idname = "objaverse.cancel"
    bl_label = "Cancel Rendering"
    kind = "render"
    nothing = "Nothing is being rendered"


CLASSES: Final = (
    OBJAVERSE_OT_render_asset,
    OBJAVERSE_OT_render_batch,
    OBJAVERSE_OT_cancel,
)
