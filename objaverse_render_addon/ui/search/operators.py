"""Search, stop searching, import what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final

import bpy
from bpy.props import BoolProperty, StringProperty

from ...assets.browser import Browser
from ...assets.entry import CatalogueEntry
from ..background import BackgroundOperator, CancelOperator, start_clock
from ..reports import fail
from . import state

__all__ = ["CLASSES"]


class OBJAVERSE_OT_search(BackgroundOperator, bpy.types.Operator):
    """Search Objaverse; the first time its index is made, which takes minutes"""

    bl_idname = "objaverse.search"
    bl_label = "Search"
    bl_options: ClassVar = {"INTERNAL"}
    kind = "search"
    cancelled_by = "objaverse.cancel_search"
    is_modal = False

    more: BoolProperty(
        name="More", description="Show more of what was found", options={"HIDDEN", "SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, _: bpy.types.Context) -> bool:
        """Always: a new search takes the place of the one before."""
        return True

    def begin(self, context: bpy.types.Context) -> Browser:
        """Search for what the panel says."""
        settings = context.window_manager.objaverse_search
        settings.limit = settings.limit + state.PAGE if self.more else state.PAGE
        return state.search(context)

    @classmethod
    def show(cls, _: bpy.types.Context, __: Any, event: tuple[str, Path]) -> None:
        """Another thumbnail is there."""
        uid, path = event
        state.add_picture(uid, str(path))

    @classmethod
    def ended(cls, _: bpy.types.Context, job: Browser) -> None:
        """The catalogue stays open for the next one."""
        if job.busy:
            job.cancel()

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Search, and wait for it, though not for thumbnails."""
        self._start(context)
        browser = state.browser()
        assert browser is not None
        browser.wait()
        start_clock(self.kind)
        if browser.error is not None:
            return fail(self, browser.error)
        self.report({"INFO"}, f"{len(browser.entries)} of {browser.total} objects")
        return {"FINISHED"}


class OBJAVERSE_OT_cancel_search(CancelOperator, bpy.types.Operator):
    """Stop searching; annotations that were fetched are kept"""

    bl_idname = "objaverse.cancel_search"
    bl_label = "Cancel Search"
    kind = "search"
    nothing = "Nothing is being searched for"


class OBJAVERSE_OT_import_found(bpy.types.Operator):
    """Import an object that the search found"""

    bl_idname = "objaverse.import_found"
    bl_label = "Import Object"
    bl_options: ClassVar = {"INTERNAL"}

    uid: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def description(cls, _: bpy.types.Context, properties: Any) -> str:
        """Title, author, licence and counts of this object."""
        entry = state.entry_of(properties.uid)
        return "Import this object" if entry is None else _about(entry)

    def invoke(self, _: bpy.types.Context, __: bpy.types.Event) -> set[str]:
        """Import beside the window."""
        return self._import("INVOKE_DEFAULT")

    def execute(self, _: bpy.types.Context) -> set[str]:
        """Import, and wait for it."""
        return self._import("EXEC_DEFAULT")

    def _import(self, how: str) -> set[str]:
        try:
            done: set[str] = bpy.ops.objaverse.import_asset(how, filepath=self.uid)
        except RuntimeError as error:
            # That operator's own report, or its poll message.
            self.report({"ERROR"}, str(error).removeprefix("Error: ").strip())
            return {"CANCELLED"}
        return {"CANCELLED"} if done == {"CANCELLED"} else {"FINISHED"}


def _about(entry: CatalogueEntry) -> str:
    faces = "unknown" if entry.faces is None else f"{entry.faces:,}"
    size = "unknown" if entry.size is None else f"{entry.size / 2**20:.1f} MiB"
    cautions = f" ({', '.join(entry.license.cautions)})" if entry.license.cautions else ""
    lines = [
        f"Import {entry.title} by {entry.author or 'an unknown author'}",
        f"{entry.license.name}{cautions}",
        f"{faces} faces, {entry.animations or 0} animations, {size}",
        *([f"LVIS: {', '.join(entry.lvis)}"] if entry.lvis else []),
        entry.uid,
    ]
    return ".\n".join(lines)


CLASSES: Final = (
    OBJAVERSE_OT_search,
    OBJAVERSE_OT_cancel_search,
    OBJAVERSE_OT_import_found,
)
