"""The chosen view as it will be rendered, beside the user's work, better and better.

A worker has a copy of the asset. A timer asks the queue for what the panel means now and takes what
has come; nothing here waits. Drawing is :mod:`overlay`'s work.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import bpy
import numpy as np
from bpy.props import EnumProperty, PointerProperty

from ...blender import user_scene
from ...dataset.coloring import Pixels, colored
from ...dataset.images import composite
from ...errors import OutputNotWritable, RenderError
from ...frame import mask_of
from ...job import RenderJob
from ...live.backends import Backend
from ...live.backends.scene import SceneBackend
from ...live.levels import Adaptive
from ...live.queue import Picture, RenderQueue
from ...passspec import PASSES
from .. import preferences, server
from ..reports import in_panel_words
from ..widgets import areas, redraw
from . import look_through, preview

__all__ = ["frame_in", "register", "shown", "start", "stop", "tick", "unregister"]

IMAGE: Final = "Objaverse Live View"
_PASSES: Final = ("rgb", "depth", "normal", "mask")
_ITEMS: Final = [(name, PASSES[name].label, PASSES[name].about) for name in _PASSES]
_INTERVAL: Final = 0.03  # seconds
_GLANCE: Final = 0.1  # seconds
_REST: Final = 120.0
"""Seconds without a change after which the worker is ended."""
_BEHIND: Final = (0.17, 0.19, 0.24)
_RATE: Final = 15.0

_live: LiveView | None = None


class LiveView:
    """What is shown, and the worker that renders it.

    Attributes:
        pixels: (H, W, 3) uint8 of the newest picture.
        picture: The newest picture.
        version: What textures are made of anew when it changes.
        trouble: What failed.
    """

    def __init__(self, context: bpy.types.Context) -> None:
        self.pixels: Pixels | None = None
        self.picture: Picture | None = None
        self.version = 0
        self.trouble = ""
        self._queue: RenderQueue | None = None
        self._opening: threading.Thread | None = None
        self._opened: list[Backend | Exception] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._closed = False
        self._asked: tuple[RenderJob, int] | None = None
        self._number = 0
        self._waits = False
        self._looked = 0.0
        self._changed = time.monotonic()
        self._base: dict[str, Any] = {}
        self._open(context)

    # --- The worker -----------------------------------------------------------------------------

    def _open(self, context: bpy.types.Context) -> None:
        """Copy the asset, and have a worker open it."""
        self._end()
        scene = context.scene
        state = preview.rig_or_error(context)
        job = _with_passes(state.job)
        # It goes with Blender too, which does not wait for what ends beside it.
        self._folder = tempfile.TemporaryDirectory(
            prefix="objaverse-live-", ignore_cleanup_errors=True
        )
        name = preview.asset_id(scene)
        path = Path(self._folder.name) / f"{name}.blend"
        try:
            with server.packed(context):
                user_scene.save_asset(scene.objaverse.asset, path, scene)
        except (OSError, RuntimeError) as error:
            self._folder.cleanup()
            raise OutputNotWritable(
                f"The asset cannot be written to {path}: {error}",
                hint="Free some space in the temporary folder.",
            ) from error
        reach = {Path(one).anchor for one in bpy.utils.blend_paths(absolute=True)}
        blender = preferences.options(context).get("blender")
        self._base, self._opened = job.to_dict(), []
        opened, elsewhere = self._opened, server.backend(context)

        def work() -> None:
            try:
                opened.append(elsewhere(path, job, name) if elsewhere else SceneBackend(
                    path, job, blender=Path(blender) if blender else None, asset_id=name,
                    folders=sorted({path.anchor, *reach}),
                ))  # fmt: skip
            except Exception as error:
                opened.append(error)
            if self._closed and not isinstance(opened[0], Exception):
                opened[0].close()

        self._closed = False
        self._opening = threading.Thread(target=work, daemon=True)
        self._opening.start()
        self._asked = None

    def _end(self) -> None:
        """End the worker, without waiting for it."""
        self._closed = True
        queue, folder, opening = self._queue, self._folder, self._opening
        backends = [one for one in self._opened if not isinstance(one, Exception)]
        self._queue, self._folder, self._opening, self._opened = None, None, None, []

        def work() -> None:
            if opening is not None:
                opening.join()
            if queue is not None:
                queue.close()
            for backend in backends:
                backend.close()
            if folder is not None:
                folder.cleanup()

        if queue is not None or folder is not None:
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        """Show nothing, and end the worker."""
        self._end()

    # --- What the panel means -------------------------------------------------------------------

    def tick(self, context: bpy.types.Context) -> None:
        """Ask for what is meant now, take what has come."""
        try:
            self._follow(context)
            self._take(context)
        except RenderError as error:
            self._say(in_panel_words(error))

    def _follow(self, context: bpy.types.Context) -> None:
        if self._opening is not None and self._opened:
            self._opening = None
            came = self._opened[0]
            if isinstance(came, Exception):
                self._opened = []
                raise came if isinstance(came, RenderError) else RuntimeError(str(came))
            self._opened = []
            self._queue = RenderQueue(came, Adaptive(_RATE))
            self._number, self._looked = 0, 0.0
        now = time.monotonic()
        if self._opening is not None or now - self._looked < _GLANCE:
            return
        self._looked = now
        if self._queue is not None and now - self._changed > _REST:
            self._end()
        state = preview.rig(context, may_measure=True)
        if state is None:
            return
        number = min(context.scene.objaverse.current_view, len(state.views) - 1)
        if self._asked == (state.job, number):
            return
        self._changed = now
        job = _with_passes(state.job)
        values = _differences(self._base, job.to_dict())
        if self._queue is None:
            self._open(context)
            return
        self._asked = state.job, number
        view = state.views[number]
        number = self._queue.update_camera(view.camera, {"view": view.index, "values": values})
        if number != self._number:
            self._number, self._waits = number, self.picture is not None
            redraw()  # What is shown is not what is meant any more.

    def _take(self, context: bpy.types.Context) -> None:
        if self._queue is None:
            return
        try:
            picture = self._queue.get_image()
        except RenderError:
            raise
        except Exception as error:
            self._say(f"{type(error).__name__}: {error}")
            return
        if picture is not None:
            self.trouble = ""
            self.picture = picture
            self._waits = picture.update < self._number
            self.show(context)

    def show(self, context: bpy.types.Context) -> None:
        """Make pixels of the newest picture, of the pass that is chosen."""
        if self.picture is None:
            return
        passes = self.picture.drawn.passes
        name = context.window_manager.objaverse_live.shown_pass
        if name not in passes:
            name = "rgb"
        data, there = passes[name], mask_of(passes)
        if name != "rgb":
            data = colored(name, data, data != 0 if there is None else there)
        self.pixels = composite(data, _BEHIND)
        self.version += 1
        self._into_editors()
        redraw()

    def _into_editors(self) -> None:
        """Into image editors that show it already, or nothing."""
        assert self.pixels is not None
        image = bpy.data.images.get(IMAGE)
        editors = [
            area for area in areas("IMAGE_EDITOR")
            if area.spaces.active.image is None or area.spaces.active.image == image
        ]  # fmt: skip
        if not editors:
            return
        height, width = self.pixels.shape[:2]
        if image is None:
            image = bpy.data.images.new(IMAGE, width, height)
        elif tuple(image.size) != (width, height):
            image.scale(width, height)
        floats = np.ones((height, width, 4), np.float32)
        floats[..., :3] = self.pixels[::-1] / np.float32(255)
        image.pixels.foreach_set(floats.ravel())
        image.update()
        for area in editors:
            area.spaces.active.image = image

    def _say(self, text: str) -> None:
        self.trouble = text
        redraw()

    @property
    def said(self) -> str:
        """How far it is, in a line."""
        if self.trouble:
            return self.trouble
        if self.picture is None or self._opening is not None:
            return "Opening the asset …"
        picture = self.picture
        if self._waits:
            return "Rendering …"
        size = f"{picture.camera.width} × {picture.camera.height}"
        if picture.last:
            return f"As rendered: {size}, {picture.samples} samples"
        drawn = f"{picture.samples} samples" if picture.samples else "drawn"
        return f"Level {picture.index + 1} of {picture.levels}: {size}, {drawn}"

    def caption(self) -> list[str]:
        """What is said over the picture."""
        view = "" if self.picture is None else f"View {self.picture.scene['view']}. "
        return [view + self.said]


def _with_passes(job: RenderJob) -> RenderJob:
    # One picture of a view: an animation stands still at the asset's frame.
    return job.with_values({"pixels.passes": list(_PASSES), "time.frames": None}).resolved()


def _differences(base: Mapping[str, Any], now: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Dotted paths that have other values now."""
    found: dict[str, Any] = {}
    for name, value in now.items():
        if isinstance(value, dict) and isinstance(base.get(name), dict):
            found |= _differences(base[name], value, f"{at}{name}.")
        elif value != base.get(name):
            found[f"{at}{name}"] = value
    return found


def shown() -> LiveView | None:
    """What is shown live, or ``None``."""
    return _live


def start(context: bpy.types.Context) -> None:
    """Begin.

    Raises:
        RenderError: The settings contradict each other, or the asset cannot be copied.
    """
    global _live
    stop()
    _live = LiveView(context)
    if not bpy.app.background and not bpy.app.timers.is_registered(tick):
        bpy.app.timers.register(tick, first_interval=_INTERVAL)
    redraw()


def stop() -> None:
    """Show nothing live; its worker ends."""
    global _live
    if _live is not None:
        _live.close()
        _live = None
    image = bpy.data.images.get(IMAGE)
    if image is not None:
        bpy.data.images.remove(image)
    redraw()


def tick() -> float | None:
    """Timer: follow, and show."""
    if _live is None:
        return None
    if bpy.context.scene is not None:
        _live.tick(bpy.context)
    return _INTERVAL


def frame_in(context: bpy.types.Context) -> tuple[float, float, float, float] | None:
    """Left, bottom, width and height of the looked-through view's frame in the region, pixels."""
    scene, view = context.scene, context.region_data
    if not look_through.is_looking(scene) or view.view_perspective != "CAMERA":
        return None
    camera = scene.camera
    corners = np.array([tuple(corner) for corner in camera.data.view_frame(scene=scene)])
    world = np.c_[corners, np.ones(4)] @ np.array(camera.matrix_world).T
    clip = world @ np.array(view.perspective_matrix).T
    size = np.array([context.region.width, context.region.height])
    pixels = (clip[:, :2] / clip[:, 3:] * 0.5 + 0.5) * size
    (left, bottom), (right, top) = pixels.min(axis=0), pixels.max(axis=0)
    return float(left), float(bottom), float(right - left), float(top - bottom)


def _other_pass(_: Any, context: bpy.types.Context) -> None:
    if _live is not None:
        _live.show(context)


class OBJAVERSE_PG_live(bpy.types.PropertyGroup):
    """What of the live view is shown; on the window manager, never saved."""

    shown_pass: EnumProperty(
        name="Pass",
        items=_ITEMS,
        update=_other_pass,
        options=set(),
        description="What the live view shows",
    )


@bpy.app.handlers.persistent
def _on_load(*_: Any) -> None:
    stop()


def register() -> None:
    """Hang the state on the window manager."""
    bpy.utils.register_class(OBJAVERSE_PG_live)
    bpy.types.WindowManager.objaverse_live = PointerProperty(type=OBJAVERSE_PG_live)
    bpy.app.handlers.load_pre.append(_on_load)


def unregister() -> None:
    """Leave nothing behind."""
    stop()
    bpy.app.handlers.load_pre.remove(_on_load)
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    del bpy.types.WindowManager.objaverse_live
    bpy.utils.unregister_class(OBJAVERSE_PG_live)
