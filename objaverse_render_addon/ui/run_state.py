"""The run that is going on, and what panel and viewport show of it."""

from __future__ import annotations

import time
from typing import Any, Final

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ..batch.background import BackgroundRun
from ..batch.results import Notice
from ..batch.run import AssetResult
from ..errors import Interrupted
from ..worker.protocol import Done, FrameDone, Stage
from .reports import in_panel_words
from .viewport import overlay
from .widgets import areas, redraw

__all__ = [
    "discard_last", "ended", "load_image", "register", "show", "start", "tell", "unregister",
]  # fmt: skip

VIEW_IMAGE: Final = "Objaverse View"
_STAGES: Final = {
    "download": "Fetching",
    "import": "Importing",
    "prepare": "Preparing",
    "render": "Rendering",
}

# Of the state, what is about a run and not about the file that is open.
_OF_RUN: Final = ("running", "about", "progress", "status", "notes", "failure", "active")
_ITEM: Final = ("name", "source", "asset_id", "state", "detail", "result", "sheet", "factor")

_last: BackgroundRun | None = None
_kept: tuple[dict[str, Any], list[dict[str, Any]]] | None = None


def _changed(_: Any, __: bpy.types.Context) -> None:
    redraw()


class OBJAVERSE_PG_batch_item(bpy.types.PropertyGroup):
    """One asset of the batch list."""

    source: StringProperty()
    asset_id: StringProperty()
    state: StringProperty(default="waiting")
    detail: StringProperty()
    result: StringProperty()
    sheet: StringProperty()
    factor: FloatProperty(min=0.0, max=1.0)


class OBJAVERSE_PG_state(bpy.types.PropertyGroup):
    """What is going on; on the window manager, never saved."""

    running: StringProperty(description="What is running: asset, batch, or nothing")
    about: StringProperty(
        default="asset", description="What status, notes and failure are about: asset or batch"
    )
    progress: FloatProperty(
        min=0.0, max=1.0, update=_changed, description="Share of the run that is done"
    )
    status: StringProperty(update=_changed, description="What is going on")
    warnings: StringProperty(description="Why the last import failed")
    notes: StringProperty(description="Warnings of the last render")
    failure: StringProperty(description="Why the last render failed")
    preview: BoolProperty(
        update=_changed, description="Whether the viewport shows the cameras of all views"
    )
    items: CollectionProperty(type=OBJAVERSE_PG_batch_item)
    active: IntProperty(
        name="Asset", description="The selected asset; why it failed stands below the list"
    )


def start(context: bpy.types.Context, run: BackgroundRun, kind: str) -> None:
    """Begin a run; kind is what ``state.running`` will say."""
    discard_last()
    state = context.window_manager.objaverse
    state.running = state.about = kind
    state.progress, state.status = 0.0, run.status
    state.notes = state.failure = ""
    run.start()


def ended(context: bpy.types.Context, run: BackgroundRun) -> None:
    """The run is over; its pictures stay until the next one."""
    global _last
    run.close()
    _last = run
    state = context.window_manager.objaverse
    state.progress = 0.0 if run.error else 1.0
    if isinstance(run.error, Interrupted):
        state.status = "Cancelled"
    elif run.error is not None:
        state.status, state.failure = "Failed", in_panel_words(run.error)
    elif state.running == "batch":
        states = [item.state for item in state.items]
        counts = [(states.count(name), name) for name in ("done", "skipped", "failed")]
        state.status = "Batch: " + ", ".join(f"{n} {name}" for n, name in counts if n)
    state.running = ""
    for item in state.items:
        if item.state in ("waiting", "rendering"):
            item.state, item.detail = "waiting", "not rendered"
    overlay.show_picture(None)
    image = bpy.data.images.get(VIEW_IMAGE)
    if image is not None and not image.users:
        bpy.data.images.remove(image)


def tell(operator: Any, context: bpy.types.Context, run: BackgroundRun) -> set[str]:
    """How it ended, for whoever called the operator: each failure, from a script an exception."""
    errors = [result.error for result in run.report.failed if result.error is not None]
    if not run.report.ok:
        operator.report({"ERROR"}, "\n".join(in_panel_words(error) for error in errors))
        return {"CANCELLED"}
    operator.report({"INFO"}, context.window_manager.objaverse.status)
    return {"FINISHED"}


def discard_last() -> None:
    """Remove the pictures of the run before."""
    global _last
    if _last is not None:
        _last.discard()
        _last = None


def show(context: bpy.types.Context, run: BackgroundRun, event: Any) -> None:
    """Put an event where people see it."""
    state = context.window_manager.objaverse
    item = _item(state, getattr(event, "asset_id", ""))
    if isinstance(event, Stage):
        state.status = f"{_STAGES.get(event.name, event.name)} {event.asset_id}"
        if item:
            item.state, item.detail, item.factor = "rendering", _STAGES.get(event.name, ""), 0.0
    elif isinstance(event, FrameDone):
        _show_view(event)
        share = (event.index + 1) / event.total
        if item:
            item.factor, item.detail = share, f"{event.index + 1} of {event.total} views"
        if state.running == "batch":
            # Several are worked on at a time.
            its = {*run.sources}
            factors = [entry.factor for entry in state.items if entry.source in its]
            share = sum(factors) / max(1, len(factors))
        state.progress = share
        state.status = _time_left(run, share, event)
    elif isinstance(event, AssetResult):
        _show_result(state, item, event)
    elif isinstance(event, Done):
        if state.running == "asset":
            state.notes = "\n".join(event.warnings)
    elif isinstance(event, Notice):
        state.notes = "\n".join([*state.notes.splitlines(), event.text])
    if not run.cancelled.is_set():
        run.status, run.share = state.status, state.progress


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
        name = str(result.path or result.asset_id).replace("\\", "/").rpartition("/")[2]
        state.status = f"{name}: {said}"


def _item(state: Any, asset_id: str) -> Any:
    if state.running != "batch":
        return None
    return next((item for item in state.items if item.asset_id == asset_id), None)


def _time_left(run: BackgroundRun, share: float, event: FrameDone) -> str:
    left = (time.monotonic() - run.began) * (1 - share) / max(share, 1e-6)
    clock = f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s"
    return f"{event.asset_id}: {event.index + 1} of {event.total} views, {clock} left"


def _show_view(event: FrameDone) -> None:
    """The newest view, in an image editor and in the viewport's corner."""
    if not event.preview or bpy.app.background:
        return
    image = load_image(VIEW_IMAGE, event.preview)
    overlay.show_picture(image)
    for area in areas("IMAGE_EDITOR"):
        # An editor that shows something of the user's keeps it.
        if area.spaces.active.image is None:
            area.spaces.active.image = image


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


@bpy.app.handlers.persistent
def _before_load(*_: Any) -> None:
    """A window manager may go with its file; what is told of a run must not."""
    global _kept
    state = bpy.context.window_manager.objaverse
    _kept = (
        {name: getattr(state, name) for name in _OF_RUN},
        [{name: getattr(item, name) for name in _ITEM} for item in state.items],
    )


@bpy.app.handlers.persistent
def _after_load(*_: Any) -> None:
    global _kept
    if _kept is None:
        return
    (values, lines), _kept = _kept, None
    state = bpy.context.window_manager.objaverse
    state.items.clear()
    for line in lines:
        item = state.items.add()
        for name, value in line.items():
            setattr(item, name, value)
    for name, value in values.items():
        setattr(state, name, value)


_CLASSES: Final = (OBJAVERSE_PG_batch_item, OBJAVERSE_PG_state)


def register() -> None:
    """Register the classes and hang the state on the window manager."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.WindowManager.objaverse = PointerProperty(type=OBJAVERSE_PG_state)
    bpy.app.handlers.load_pre.append(_before_load)
    bpy.app.handlers.load_post.append(_after_load)


def unregister() -> None:
    """Leave nothing behind."""
    global _kept
    _kept = None
    bpy.app.handlers.load_post.remove(_after_load)
    bpy.app.handlers.load_pre.remove(_before_load)
    discard_last()
    del bpy.types.WindowManager.objaverse
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
