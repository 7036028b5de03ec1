"""The dataset's web page, from the panel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import bpy

from ...batch.background import BackgroundJob
from ...dataset.gallery import build_gallery, open_gallery
from ...errors import Interrupted
from ..background import BackgroundOperator, CancelOperator
from .common import has_output, output_folder

__all__ = ["CLASSES", "GalleryOperator"]


class _MakeGallery(BackgroundJob):
    """Makes the page, and shows it in the browser where there is somebody to see it."""

    def __init__(self, folder: Path, *, show: bool) -> None:
        super().__init__("gallery", "Gallery")
        self._folder, self._show = folder, show
        self.page = Path()

    def work(self) -> None:
        """Make it; what is made when it is cancelled is used the next time."""
        if self._show:
            self.page = open_gallery(self._folder, on_asset=self._progress)
        else:
            self.page = build_gallery(self._folder, on_asset=self._progress).page

    def _progress(self, done: int, total: int, *_: Any) -> None:
        if self.cancelled.is_set():
            raise Interrupted("The making of the gallery was stopped.")
        self.status, self.share = f"Gallery: {done} of {total} assets", done / max(1, total)


class GalleryOperator(BackgroundOperator):
    """Makes a folder's page and opens it."""

    kind = "gallery"
    in_the_way = "The gallery is being made; wait for it or cancel it"
    cancelled_by = "objaverse.cancel_gallery"
    outlives_file = True

    if TYPE_CHECKING:
        options: Any

    @classmethod
    def folder(cls, context: bpy.types.Context) -> Path:
        """Whose page it is."""
        raise NotImplementedError

    def begin(self, context: bpy.types.Context) -> _MakeGallery:
        """Make the folder's page; a script has no use for a browser."""
        job = _MakeGallery(self.folder(context), show=self.options.is_invoke)
        job.start()
        return job

    def finish(self, _: bpy.types.Context, job: _MakeGallery) -> set[str]:
        """Say where it is."""
        self.report({"INFO"}, f"The gallery is {job.page}")
        return {"FINISHED"}


class OBJAVERSE_OT_open_gallery(GalleryOperator, bpy.types.Operator):
    """Make the web page of all finished assets, or bring it up to date, and open it"""

    bl_idname = "objaverse.open_gallery"
    bl_label = "Open Gallery"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is a folder, and none is being made."""
        return has_output(cls, context) and super().poll(context)

    @classmethod
    def folder(cls, context: bpy.types.Context) -> Path:
        """The output folder."""
        return output_folder(context.scene.objaverse)


class OBJAVERSE_OT_cancel_gallery(CancelOperator, bpy.types.Operator):
    """Stop making the gallery; what is made is used the next time"""

    bl_idname = "objaverse.cancel_gallery"
    bl_label = "Cancel Gallery"
    kind = "gallery"
    nothing = "No gallery is being made"


CLASSES: Final = (OBJAVERSE_OT_open_gallery, OBJAVERSE_OT_cancel_gallery)
