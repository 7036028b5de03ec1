"""A finished asset in the viewport: every view's picture where its camera stood.

What is shown belongs to no file: it is read from the finished asset, and goes when another file is
opened. Drawing it is :mod:`overlay`'s work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.props import EnumProperty, IntProperty, PointerProperty, StringProperty

from ...batch.background import BackgroundJob
from ...cameras import box_corners
from ...dataset.album import Album, cell_for, open_album, picture, small_pictures
from ...dataset.coloring import Pixels
from ...errors import Interrupted, RenderError, SourceNotFound
from ...job import HALF_EXTENT, RenderJob
from ...passspec import PASSES
from ...words import how_many
from .. import background
from ..choices import items
from ..reports import in_panel_words
from ..widgets import redraw
from . import preview

__all__ = [
    "Reading", "came", "caption", "close", "read", "register", "shown", "step", "summary",
    "unregister",
]  # fmt: skip


class Reading(BackgroundJob):
    """Reads a finished asset's pictures in small, the pass that is looked at first.

    ``poll`` gives the place of each view whose picture came.

    Attributes:
        small: Pass to (N, S, S, 3) uint8, views that are not read yet black, and to which of them
            are; pictures that are not square fill the upper left of theirs.
    """

    def __init__(self, album: Album, first: str) -> None:
        super().__init__("result", "Reading pictures")
        self.album, self.size = album, cell_for(len(album.views))
        self._names = [first, *(name for name in album.passes if name != first)]
        self.small: dict[str, tuple[Pixels, Any]] = {}

    def work(self) -> None:
        """Read the first pass of all views, then the others together."""
        done, total = 0, len(self.album.views) * len(self._names)
        for names in (self._names[:1], self._names[1:]):
            for place, name, pixels in small_pictures(self.album, names, self.size):
                if self.cancelled.is_set():
                    raise Interrupted("Cancelled.")
                if name not in self.small:
                    count = len(self.album.views)
                    cells = np.zeros((count, self.size, self.size, 3), np.uint8)
                    self.small[name] = cells, np.zeros((count, 2), np.int32)
                cells, sizes = self.small[name]
                height, width = pixels.shape[:2]
                cells[place, :height, :width] = pixels
                sizes[place] = height, width
                done += 1
                self.share = done / total
                self.status = f"Reading pictures: {done} of {total}"
                self._events.put(place)


class _Shown:
    """What the viewport shows: the asset, the rig that it was rendered by, one view in large."""

    def __init__(self, album: Album, reading: Reading, rig: preview.RigState) -> None:
        self.album, self.reading, self.rig = album, reading, rig
        self.large: Pixels | None = None
        self.trouble = ""
        # What textures are made of anew when it changes.
        self.version = self.large_version = 0


_shown: _Shown | None = None


def shown() -> _Shown | None:
    """What is shown, or ``None``."""
    return _shown


def read(context: bpy.types.Context, where: str | Path) -> Reading:
    """Show a finished asset, and begin to read its pictures.

    Raises:
        RenderError: It cannot be read.
    """
    global _shown
    album = open_album(where)
    if not album.views or not album.passes:
        raise SourceNotFound(f"{where} has no pictures.", hint="Render it again.")
    state = context.window_manager.objaverse_result
    close(context)
    first = "rgb" if "rgb" in album.passes else album.passes[0]
    state.name, state.path = album.asset.id, str(album.asset)
    state.view, state.shown_pass = 0, first
    reading = Reading(album, first)
    _shown = _Shown(album, reading, _rig(context, album))
    _enlarge(state, context)
    reading.start()
    return reading


def _rig(context: bpy.types.Context, album: Album) -> preview.RigState:
    """Its cameras; around the scene's asset where that is what was rendered."""
    to_world = np.eye(4)
    if album.asset.id == preview.asset_id(context.scene):
        now = preview.rig(context, may_measure=True)
        if now is not None and now.job.asset.normalize == album.normalized:
            to_world = now.to_world
    low, high = album.box
    corners = box_corners(low, high)
    half = HALF_EXTENT.get(album.normalized, 0.0)
    if album.normalized in ("none", "sphere"):
        half = 0.0
    return preview.RigState(
        RenderJob(), album.views, corners, album.cropped, to_world, half,
        frozenset(album.doubts) - album.cropped,
    )  # fmt: skip


def _enlarge(state: Any, _: bpy.types.Context) -> None:
    """Read the current view in full size."""
    if _shown is None:
        return
    last = len(_shown.album.views) - 1
    if state.view > last:
        # Which comes here again.
        state.view = last
        return
    _shown.large_version += 1
    try:
        _shown.large = picture(_shown.album, state.view, state.shown_pass)
        _shown.trouble = ""
    except RenderError as error:
        _shown.large, _shown.trouble = None, in_panel_words(error)
    redraw()


def step(context: bpy.types.Context, by: int) -> None:
    """Go to another view, round at the ends."""
    if _shown is not None:
        state = context.window_manager.objaverse_result
        state.view = (state.view + by) % len(_shown.album.views)


def caption(context: bpy.types.Context) -> list[str]:
    """What is seen in large, and what is doubted about it."""
    if _shown is None:
        return []
    state, count = context.window_manager.objaverse_result, len(_shown.album.views)
    lines = [f"{state.name}, view {state.view} ({state.view + 1} of {count}), {_title(state)}"]
    doubts = _shown.album.doubts.get(state.view, [])
    if doubts:
        lines.append("Doubt: " + ", ".join(name.replace("_", " ") for name in doubts))
    if _shown.trouble:
        lines.append(_shown.trouble)
    return lines


def _title(state: Any) -> str:
    return PASSES[state.shown_pass].label if state.shown_pass in PASSES else str(state.shown_pass)


def close(context: bpy.types.Context) -> None:
    """Show nothing."""
    global _shown
    background.end(context, "result")
    _shown = None
    state = getattr(context.window_manager, "objaverse_result", None)
    if state is not None:
        state.name = state.path = ""
    redraw()


def summary() -> str:
    """How many of its views are doubted."""
    if _shown is None:
        return ""
    said = [how_many(len(_shown.album.views), "view")]
    if _shown.album.cropped:
        said.append(f"{len(_shown.album.cropped)} crop the object")
    if len(_shown.album.doubts) > len(_shown.album.cropped):
        said.append(f"{len(_shown.album.doubts)} with doubts")
    return ", ".join(said)


class OBJAVERSE_PG_result(bpy.types.PropertyGroup):
    """The finished asset that the viewport shows; on the window manager, never saved."""

    path: StringProperty(description="The finished asset whose pictures are shown")
    view: IntProperty(
        name="View", min=0, update=_enlarge, options=set(),
        description="The view whose picture is shown in large",
    )  # fmt: skip
    shown_pass: EnumProperty(
        name="Pass", items=items("pixels.passes"), update=_enlarge, options=set(),
        description="What the pictures show",
    )  # fmt: skip


def came() -> None:
    """More pictures are there: make the textures anew."""
    if _shown is not None:
        _shown.version += 1


@bpy.app.handlers.persistent
def _on_load(*_: Any) -> None:
    close(bpy.context)


def register() -> None:
    """Hang the state on the window manager."""
    bpy.utils.register_class(OBJAVERSE_PG_result)
    bpy.types.WindowManager.objaverse_result = PointerProperty(type=OBJAVERSE_PG_result)
    bpy.app.handlers.load_post.append(_on_load)


def unregister() -> None:
    """Leave nothing behind."""
    close(bpy.context)
    bpy.app.handlers.load_post.remove(_on_load)
    del bpy.types.WindowManager.objaverse_result
    bpy.utils.unregister_class(OBJAVERSE_PG_result)
