"""Operators about job files: load, save, drop one on the viewport."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

import bpy
from bpy.props import StringProperty
from bpy_extras.io_utils import ExportHelper, ImportHelper

from ...errors import RenderError
from ...job import RenderJob
from .. import preferences
from ..job_mapping import from_job, to_job
from ..reports import fail
from .common import output_folder

__all__ = ["CLASSES"]


class OBJAVERSE_OT_load_job(bpy.types.Operator, ImportHelper):
    """Take all settings from a job file (TOML or JSON)"""

    bl_idname = "objaverse.load_job"
    bl_label = "Load Job"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    filepath: StringProperty(
        name="File", description="The job file", subtype="FILE_PATH", options={"SKIP_SAVE"}
    )
    filter_glob: StringProperty(default="*.toml;*.json", options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Load it."""
        try:
            from_job(context.scene.objaverse, RenderJob.load(self.filepath))
        except RenderError as error:
            # By the names that stand in the file.
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"All settings are those of {self.filepath}")
        return {"FINISHED"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Load what was dropped on the viewport, or ask."""
        if self.filepath:
            return self.execute(context)
        asked: set[str] = ImportHelper.invoke(self, context, event)
        return asked


class OBJAVERSE_OT_save_job(bpy.types.Operator, ExportHelper):
    """Write all settings into a job file that the command line reads too"""

    bl_idname = "objaverse.save_job"
    bl_label = "Save Job"

    filename_ext = ".toml"
    filepath: StringProperty(name="File", description="The job file", subtype="FILE_PATH")
    filter_glob: StringProperty(default="*.toml", options={"HIDDEN", "SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for the file, at first beside the dataset."""
        if not self.filepath:
            folder = output_folder(context.scene.objaverse)
            self.filepath = str(folder.with_name(f"{folder.name}-job.toml"))
        asked: set[str] = ExportHelper.invoke(self, context, event)
        return asked

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Write it."""
        try:
            job = to_job(context.scene.objaverse, preferences.get(context))
            Path(self.filepath).write_text(job.resolved().to_toml(), encoding="utf-8")
        except RenderError as error:
            return fail(self, error)
        except OSError as error:
            self.report({"ERROR"}, f"{self.filepath}: {error.strerror}")
            return {"CANCELLED"}
        self.report({"INFO"}, f"All settings are in {self.filepath}")
        return {"FINISHED"}


class OBJAVERSE_FH_job(bpy.types.FileHandler):
    """A job file dropped on the viewport loads."""

    bl_idname = "OBJAVERSE_FH_job"
    bl_label = "Objaverse Render Job"
    bl_import_operator = "objaverse.load_job"
    bl_file_extensions = ".toml;.json"

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        """Only over a 3D viewport."""
        return context.area is not None and context.area.type == "VIEW_3D"


CLASSES: Final = (OBJAVERSE_OT_load_job, OBJAVERSE_OT_save_job, OBJAVERSE_FH_job)
