"""What a batch renders: files and folders, chosen one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final

import bpy
from bpy.props import CollectionProperty, IntProperty, StringProperty
from bpy_extras.io_utils import ImportHelper

from ...assets.formats import EXTENSIONS

__all__ = ["CLASSES", "chosen"]


def chosen(settings: Any) -> list[str]:
    """Files, folders and identifiers of the batch, as they are written."""
    return [name.strip() for name in settings.sources.split(";") if name.strip()]


def _add(context: bpy.types.Context, paths: list[str]) -> set[str]:
    settings = context.scene.objaverse
    there = chosen(settings)
    settings.sources = "; ".join([*there, *(path for path in paths if path not in there)])
    return {"FINISHED"}


class OBJAVERSE_OT_add_files(bpy.types.Operator, ImportHelper):
    """Add 3D files, or text files with a path or identifier per line, to the batch"""

    bl_idname = "objaverse.add_files"
    bl_label = "Add Files"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    filepath: StringProperty(subtype="FILE_PATH", options={"HIDDEN", "SKIP_SAVE"})
    directory: StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    files: CollectionProperty(
        type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"}
    )
    filter_glob: StringProperty(
        default=";".join(f"*.{name}" for name in (*EXTENSIONS, "txt", "csv", "json", "jsonl")),
        options={"HIDDEN", "SKIP_SAVE"},
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Add them."""
        names = [item.name for item in self.files if item.name]
        paths = [str(Path(self.directory) / name) for name in names]
        if not paths and self.filepath:
            paths = [self.filepath]
        if not paths:
            self.report({"ERROR"}, "No file is chosen")
            return {"CANCELLED"}
        return _add(context, paths)


class OBJAVERSE_OT_add_folder(bpy.types.Operator):
    """Add a folder of 3D files to the batch"""

    bl_idname = "objaverse.add_folder"
    bl_label = "Add Folder"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    directory: StringProperty(
        name="Folder", description="A folder of 3D files", subtype="DIR_PATH", options={"SKIP_SAVE"}
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Add it."""
        if not Path(self.directory).is_dir():
            self.report({"ERROR"}, f"{self.directory} is no folder")
            return {"CANCELLED"}
        return _add(context, [self.directory])

    def invoke(self, context: bpy.types.Context, _: bpy.types.Event) -> set[str]:
        """Ask for it."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}


class OBJAVERSE_OT_remove_source(bpy.types.Operator):
    """Take this one out of the batch; the file stays"""

    bl_idname = "objaverse.remove_source"
    bl_label = "Remove File"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    index: IntProperty(
        name="Place", description="Which of the batch's files", min=0,
        options={"HIDDEN", "SKIP_SAVE"},
    )  # fmt: skip

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Take it out."""
        there = chosen(context.scene.objaverse)
        if self.index >= len(there):
            self.report({"ERROR"}, "The batch has no such file")
            return {"CANCELLED"}
        del there[self.index]
        context.scene.objaverse.sources = "; ".join(there)
        return {"FINISHED"}


class OBJAVERSE_OT_clear_sources(bpy.types.Operator):
    """Take all files and folders out of the batch; the files stay"""

    bl_idname = "objaverse.clear_sources"
    bl_label = "Clear Files"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there are some."""
        return bool(context.scene.objaverse.sources)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Clear."""
        context.scene.objaverse.sources = ""
        return {"FINISHED"}


CLASSES: Final[tuple[Any, ...]] = (
    OBJAVERSE_OT_add_files,
    OBJAVERSE_OT_add_folder,
    OBJAVERSE_OT_remove_source,
    OBJAVERSE_OT_clear_sources,
)
