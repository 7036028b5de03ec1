"""What is done with the output folder's finished assets: verify, export, count, credit."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Final

import bpy
from bpy.props import BoolProperty, EnumProperty, PointerProperty, StringProperty

from ...batch.over_folder import Credits, Export, FolderJob, StatisticsPage, Verify
from ...errors import Interrupted, RenderError
from ...passspec import PASSES
from .. import preferences
from ..background import BackgroundOperator, CancelOperator
from ..derived import RELATIVE
from ..reports import in_panel_words, line_in_panel_words
from .common import output_folder

__all__ = ["CLASSES", "about_format", "register", "unregister"]


@functools.cache
def _formats() -> list[tuple[str, str, str]]:
    """Items of the list of formats; kept, for Blender does not."""
    from ...dataset.export import FORMATS

    return [(name, name, form.about) for name, form in FORMATS.items()]


def _choose(_: Any, __: bpy.types.Context) -> list[tuple[str, str, str]]:
    # Not in a table at the start: reading all formats takes a fifth of a second.
    return _formats()


def about_format(name: str, passes: set[str]) -> list[str]:
    """What a format is, and which of some passes it has no place for."""
    from ...dataset.export import FORMATS

    form = FORMATS[name]
    lost = [spec.label for key, spec in PASSES.items() if key in passes - {*form.holds}]
    needed = [PASSES[key].label for key in form.needs if key not in passes]
    said = [form.about]
    if needed:
        said.append(f"Needs {', '.join(needed)}, which Passes does not have")
    if lost:
        said.append(f"Cannot hold {', '.join(lost)}")
    if form.half_edge:
        edge = f"{2 * form.half_edge:g}"
        said.append(f"Rescales cameras and depth to an object {edge} long")
    if "rgb" in form.holds and not form.may_keep_alpha:
        said.append("Holds no choice of alpha: how it treats it is told after the export")
    return said


class OBJAVERSE_PG_dataset(bpy.types.PropertyGroup):
    """What the panel says and asks about finished datasets; on the window manager."""

    to: EnumProperty(
        name="Format", items=_choose, options=set(),
        description="Who is to read the dataset; nothing is rendered for it",
    )  # fmt: skip
    target: StringProperty(
        name="Export Folder", subtype="DIR_PATH", options=RELATIVE,
        description="Folder that the export goes to; empty takes one named after the format beside "
        "the output folder",
    )  # fmt: skip
    said: StringProperty(description="What was found out about the output folder")
    trouble: StringProperty(description="What is wrong in the output folder")


class _FolderOperator(BackgroundOperator):
    kind = "dataset"
    in_the_way = "The dataset is being read; wait for it or cancel it"
    cancelled_by = "objaverse.cancel_dataset"
    # Minutes, and Blender does not save automatically while something waits for ESC.
    is_modal = False
    outlives_file = True

    def job(self, context: bpy.types.Context, folder: Path) -> FolderJob:
        """What is to be done."""
        raise NotImplementedError

    def begin(self, context: bpy.types.Context) -> FolderJob:
        """Begin with the output folder."""
        state = context.window_manager.objaverse_dataset
        state.said = state.trouble = ""
        job = self.job(context, output_folder(context.scene.objaverse))
        job.start()
        return job

    @classmethod
    def ended(cls, context: bpy.types.Context, job: FolderJob) -> None:
        """Say in the panel what was found."""
        super().ended(context, job)
        state = context.window_manager.objaverse_dataset
        state.said = "\n".join(map(line_in_panel_words, job.said))
        state.trouble = "\n".join(map(line_in_panel_words, job.trouble))
        if isinstance(job.error, Interrupted):
            state.said = f"{job.about}: cancelled"
        elif isinstance(job.error, RenderError) and not job.trouble:
            state.trouble = in_panel_words(job.error)

    def finish(self, _: bpy.types.Context, job: FolderJob) -> set[str]:
        """Say it to scripts, too."""
        self.report({"INFO"}, job.said[0])
        return {"FINISHED"}


class OBJAVERSE_OT_verify_output(_FolderOperator, bpy.types.Operator):
    """Prove every asset of the output folder right, from its files alone"""

    bl_idname = "objaverse.verify_output"
    bl_label = "Verify"

    def job(self, _: bpy.types.Context, folder: Path) -> FolderJob:
        """Verify."""
        return Verify(folder)


class OBJAVERSE_OT_export_output(_FolderOperator, bpy.types.Operator):
    """Write the output folder's assets as trainers read them; what is there and whole is kept"""

    bl_idname = "objaverse.export_output"
    bl_label = "Export"

    overwrite: BoolProperty(
        name="Overwrite", description="Write again what is whole", options={"SKIP_SAVE"}
    )

    def job(self, context: bpy.types.Context, folder: Path) -> FolderJob:
        """Export."""
        state = context.window_manager.objaverse_dataset
        target = folder.with_name(f"{folder.name}-{state.to}")
        if state.target:
            target = Path(bpy.path.abspath(state.target))
        return Export(folder, target, state.to, overwrite=self.overwrite)


class OBJAVERSE_OT_statistics(_FolderOperator, bpy.types.Operator):
    """Make a page about the output folder as a whole: poses, coverage, depth, sizes, doubts"""

    bl_idname = "objaverse.statistics"
    bl_label = "Statistics"

    def job(self, _: bpy.types.Context, folder: Path) -> FolderJob:
        """Count; a script has no use for a browser."""
        return StatisticsPage(folder, show=self.options.is_invoke)


class OBJAVERSE_OT_write_credits(_FolderOperator, bpy.types.Operator):
    """Write the credits that the licenses of the output folder's assets ask for: CREDITS.md"""

    bl_idname = "objaverse.write_credits"
    bl_label = "Credits"

    def job(self, context: bpy.types.Context, folder: Path) -> FolderJob:
        """Credit."""
        return Credits(folder, preferences.options(context).get("download_dir"))


class OBJAVERSE_OT_cancel_dataset(CancelOperator, bpy.types.Operator):
    """Stop what is done with the dataset; the finished assets stay as they are"""

    bl_idname = "objaverse.cancel_dataset"
    bl_label = "Cancel"
    kind = "dataset"
    nothing = "Nothing is done with the dataset"


def register() -> None:
    """Hang the settings on the window manager."""
    bpy.utils.register_class(OBJAVERSE_PG_dataset)
    bpy.types.WindowManager.objaverse_dataset = PointerProperty(type=OBJAVERSE_PG_dataset)


def unregister() -> None:
    """Leave nothing behind."""
    del bpy.types.WindowManager.objaverse_dataset
    bpy.utils.unregister_class(OBJAVERSE_PG_dataset)


CLASSES: Final[tuple[Any, ...]] = (
    OBJAVERSE_OT_verify_output,
    OBJAVERSE_OT_export_output,
    OBJAVERSE_OT_statistics,
    OBJAVERSE_OT_write_credits,
    OBJAVERSE_OT_cancel_dataset,
)
