"""The run that is going on, and what panel and viewport show of it."""

from __future__ import annotations

import time
from typing import Any

import bpy

from ..batch.background import BackgroundRun, Ended
from ..batch.results import Notice
from ..batch.run import AssetResult
from ..worker.protocol import Done, FrameDone, Stage
from .operators.common import in_panel_words
from .viewport import overlay

__all__ = ["cancel", "current", "discard_last", "end", "load_image", "show", "start"]

VIEW_IMAGE = "Objaverse View"

_run: BackgroundRun | None = None
_last: BackgroundRun | None = None


def current() -> BackgroundRun | None:
    """The run that is going on."""
    return _run


def start(context: bpy.types.Context, run: BackgroundRun, kind: str) -> None:
    """Begin a run; kind is what ``state.running`` will say."""
    global _run
    discard_last()
    _run = run
    state = context.window_manager.objaverse
    state.running, state.progress, state.status = kind, 0.0, "Starting Blender"
    state.notes = state.failure = ""
    run.start()


def cancel(context: bpy.types.Context) -> None:
    """Ask the run to stop."""
    if _run is not None:
        context.window_manager.objaverse.status = "Cancelling"
        _run.cancel()


def end(context: bpy.types.Context) -> None:
    """The run is over; its pictures stay until the next one."""
    global _run, _last
    if _run is None:
        return
    _run.stop()
    _run, _last = None, _run
    state = context.window_manager.objaverse
    state.running = ""
    for item in state.items:
        if item.state in ("waiting", "rendering"):
            item.state, item.detail = "waiting", "not rendered"
    overlay.show_picture(None)
    image = bpy.data.images.get(VIEW_IMAGE)
    if image is not None and not image.users:
        bpy.data.images.remove(image)


def discard_last() -> None:
    """Remove the pictures of the run before."""
    global _last
    if _last is not None:
        _last.close()
        _last = None


def show(context: bpy.types.Context, event: Any) -> None:
    """Put an event where people see it."""
    state = context.window_manager.objaverse
    item = _item(state, getattr(event, "asset_id", ""))
    if isinstance(event, Stage):
        names = {
            "download": "Fetching", "import": "Importing", "prepare": "Preparing",
            "render": "Rendering",
        }  # fmt: skip
        state.status = f"{names.get(event.name, event.name)} {event.asset_id}"
        if item:
            item.state, item.detail, item.factor = "rendering", names.get(event.name, ""), 0.0
    elif isinstance(event, FrameDone):
        _show_view(event)
        share = (event.index + 1) / event.total
        if item:
            item.factor, item.detail = share, f"{event.index + 1} of {event.total} views"
        if state.running == "batch":
            # Several are worked on at a time.
            share = sum(entry.factor for entry in state.items) / max(1, len(state.items))
        state.progress = share
        state.status = _time_left(state.progress, event)
    elif isinstance(event, AssetResult):
        _show_result(state, item, event)
    elif isinstance(event, Done):
        if state.running == "asset":
            state.notes = "\n".join(event.warnings)
    elif isinstance(event, Notice):
        state.notes = "\n".join([*state.notes.splitlines(), event.text])
    elif isinstance(event, Ended):
        state.progress = 1.0 if event.outcome == "finished" else 0.0
        if event.error:
            state.failure = in_panel_words(event.error)
        if event.outcome != "finished":
            state.status = event.outcome.capitalize()
        elif state.running == "batch":
            states = [item.state for item in state.items]
            counts = [(states.count(name), name) for name in ("done", "skipped", "failed")]
            state.status = "Batch: " + ", ".join(f"{n} {name}" for n, name in counts if n)


def _show_result(state: Any, item: Any, result: AssetResult) -> None:
    if result.status == "skipped":
        said = "there already"
    elif result.error:
        said = in_panel_words(result.error)
    else:
        seconds = result.seconds.get("total", 0.0)
        said = f"{result.views} views in {seconds:.0f} s" if seconds else f"{result.views} views"
    if item:
        item.state, item.factor, item.detail = result.status, 1.0, said
        item.result = str(result.path or "") if not result.error else ""
        item.sheet = result.sheet
    elif result.error:
        state.failure = said
    else:
        state.status = f"{result.path.name if result.path else result.asset_id}: {said}"


def _item(state: Any, asset_id: str) -> Any:
    if state.running != "batch":
        return None
    return next((item for item in state.items if item.asset_id == asset_id), None)


def _time_left(progress: float, event: FrameDone) -> str:
    assert _run is not None
    left = (time.monotonic() - _run.started) * (1 - progress) / max(progress, 1e-6)
    clock = f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s"
    return f"{event.asset_id}: {event.index + 1} of {event.total} views, {clock} left"


def _show_view(event: FrameDone) -> None:
    """The newest view, in an image editor and in the viewport's corner."""
    if not event.preview or bpy.app.background:
        return
    image = load_image(VIEW_IMAGE, event.preview)
    overlay.show_picture(image)
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            # An editor that shows something of the user's keeps it.
            if area.type == "IMAGE_EDITOR" and area.spaces.active.image is None:
                area.spaces.active.image = image
            if area.type in ("IMAGE_EDITOR", "VIEW_3D"):
                area.tag_redraw()


def load_image(name: str, path: str) -> Any:
    """The image of that name, read afresh."""
    image = bpy.data.images.get(name)
    if image is None:
        image = bpy.data.images.load(path)
        image.name = name
    else:
        image.filepath = path
        image.reload()
    return image
