"""The dataset's web page, from the panel: made in a thread, so that the window stays alive."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import bpy

from ...dataset.gallery import build_gallery, open_gallery
from ...errors import RenderError
from .common import output_folder

__all__ = ["CLASSES"]

_TICK = 0.2  # seconds


class OBJAVERSE_OT_open_gallery(bpy.types.Operator):
    """Make the web page of all finished assets, or bring it up to date, and open it"""

    bl_idname = "objaverse.open_gallery"
    bl_label = "Open Gallery"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Make the page and wait for it; a script has no use for a browser."""
        try:
            page = build_gallery(output_folder(context.scene.objaverse)).page
        except RenderError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, str(page))
        return {"FINISHED"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:  # noqa: ARG002
        """Make the page while the window goes on, then show it."""
        self._work = _Work(output_folder(context.scene.objaverse))
        window = context.window_manager
        self._timer = window.event_timer_add(_TICK, window=context.window)
        window.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Look whether it is done."""
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        if self._work.is_alive():
            context.workspace.status_text_set(self._work.status)
            return {"PASS_THROUGH"}
        self.cancel(context)
        if self._work.error is not None:
            self.report({"ERROR"}, str(self._work.error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"The gallery is {self._work.page}")
        return {"FINISHED"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Leave no timer behind; Blender calls this when it closes, too."""
        context.workspace.status_text_set(None)
        context.window_manager.event_timer_remove(self._timer)


class _Work(threading.Thread):
    """Makes the page; knows nothing of Blender, which threads must not touch."""

    def __init__(self, folder: Path) -> None:
        super().__init__(name="gallery", daemon=True)
        self.folder = folder
        self.page: Path | None = None
        self.error: RenderError | None = None
        self.status = "Gallery …"
        self.start()

    def run(self) -> None:
        """Make and open it."""
        try:
            self.page = open_gallery(self.folder, on_asset=self._tell)
        except RenderError as error:
            self.error = error

    def _tell(self, done: int, total: int, *_: Any) -> None:
        self.status = f"Gallery: {done} of {total} assets"


CLASSES = (OBJAVERSE_OT_open_gallery,)
