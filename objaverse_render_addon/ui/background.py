"""Jobs beside the window: one way to start, watch, cancel and end them, for every operator.

A job is a thread of its own that knows nothing of Blender. A script's call waits for it. After a
person's click a clock looks at it ten times a second: a modal operator where ESC cancels and the
operator has something left to do, else an application timer, because Blender does not save
automatically while any modal operator runs, and a batch may run for hours. Opening another file
ends every modal operator; a job that is not about the file then goes on under the timer.
"""

from __future__ import annotations

import time
import types
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

import bpy

from ..errors import Interrupted, RenderError
from .reports import fail
from .widgets import progress, redraw, redraw_status_bar

__all__ = [
    "BackgroundOperator",
    "CancelOperator",
    "Job",
    "button",
    "cancel",
    "current",
    "end",
    "end_all",
    "register",
    "start_clock",
    "unregister",
    "watch",
]

TIMER_PERIOD: Final = 0.1  # seconds


class Job(Protocol):
    """As :class:`~objaverse_render_addon.batch.background.BackgroundJob`, and the search."""

    status: str
    share: float
    error: RenderError | None

    @property
    def busy(self) -> bool:
        """Whether :meth:`poll` may have more to say."""

    def poll(self) -> Iterable[Any]:
        """What happened since the last call, without waiting."""

    def cancel(self) -> None:
        """Ask it to stop."""

    def close(self) -> None:
        """Stop, and wait for the thread."""


_running: dict[str, tuple[type[BackgroundOperator], Any]] = {}
_by_timer: set[str] = set()


def current(kind: str) -> Any:
    """The job of this kind that is going on, or ``None``."""
    return _running.get(kind, (None, None))[1]


def button(
    layout: bpy.types.UILayout, operator: str, kind: str, *, text: str | None = None, icon: str
) -> Any:
    """The button that starts a job of this kind; its name alone while one is going on.

    Of the button under the mouse Blender keeps all but the place from one drawing to the next: one
    that is greyed during its job would stay so afterwards, until the mouse has left it.

    Returns:
        The operator's properties.
    """
    row = layout.row(align=True)
    if kind not in _running:
        return row.operator(operator, icon=icon, **({} if text is None else {"text": text}))
    if text is None:
        group, _, name = operator.partition(".")
        text = getattr(getattr(bpy.ops, group), name).get_rna_type().name
    row.enabled, row.alignment = False, "CENTER"
    said = bpy.app.translations.pgettext_iface(text, "Operator")
    row.label(text=said, icon=icon, translate=False)
    return types.SimpleNamespace()


def cancel(kind: str) -> None:
    """Ask a job to stop, where there is one; it ends by itself."""
    job = current(kind)
    if job is not None:
        job.status = "Cancelling"
        job.cancel()


def end(context: bpy.types.Context, kind: str) -> None:
    """Forget a job, and stop it where it is still going on."""
    _by_timer.discard(kind)
    if kind in _running:
        operator, job = _running.pop(kind)
        operator.ended(context, job)
        redraw()
        redraw_status_bar()


def end_all(context: bpy.types.Context) -> None:
    """Stop everything: the add-on goes."""
    for kind in list(_running):
        end(context, kind)
    if bpy.app.timers.is_registered(_tick_all):
        bpy.app.timers.unregister(_tick_all)


def _tick(context: bpy.types.Context, kind: str) -> bool:
    """Show what happened since; whether the job is over."""
    operator, job = _running[kind]
    # Before what came is taken: what comes after that is for the next time.
    over = not job.busy
    deadline = time.monotonic() + 0.9 * TIMER_PERIOD
    try:
        for event in job.poll():
            operator.show(context, job, event)
            if time.monotonic() > deadline:
                over = False
                break
    except Exception:
        # A defect here ends the clock; the job must not go on without one.
        end(context, kind)
        raise
    redraw()
    redraw_status_bar()
    return over


def _tick_all() -> float | None:
    """The clock of jobs without a modal operator."""
    for kind in [*_by_timer]:
        if _tick(bpy.context, kind):
            end(bpy.context, kind)
    return TIMER_PERIOD if _by_timer else None


def start_clock(kind: str) -> None:
    """Watch a job without a modal operator."""
    _by_timer.add(kind)
    if not bpy.app.timers.is_registered(_tick_all):
        bpy.app.timers.register(_tick_all, persistent=True)


def watch(operator: type[BackgroundOperator], job: Any) -> None:
    """Watch a job that was begun without anybody's click, as if its operator had been."""
    _running[operator.kind] = operator, job
    start_clock(operator.kind)
    redraw()


class BackgroundOperator:
    """An operator that starts a job: beside the window from a click, waiting from a script.

    Attributes:
        kind: What it does; there is one job of a kind at a time.
        in_the_way: Why a second one has to wait.
        cancelled_by: ``bl_idname`` of its :class:`CancelOperator`.
        is_modal: ESC over a 3D viewport cancels it, and :meth:`finish` is called after a click too.
        outlives_file: Another file does not end it; what it does is not about the one that is open.
    """

    kind: ClassVar[str]
    in_the_way: ClassVar[str]
    cancelled_by: ClassVar[str]
    is_modal: ClassVar[bool] = True
    outlives_file: ClassVar[bool] = False
    _timer: Any = None

    if TYPE_CHECKING:

        def report(self, level: set[str], text: str) -> None:
            """Blender's."""

        @classmethod
        def poll_message_set(cls, text: str) -> None:
            """Blender's."""

    @classmethod
    def poll(cls, _: bpy.types.Context) -> bool:
        """Whether no job of this kind is going on."""
        if cls.kind in _running:
            cls.poll_message_set(cls.in_the_way)
            return False
        return True

    def begin(self, context: bpy.types.Context) -> Job:
        """Make the job and start it; raises RenderError."""
        raise NotImplementedError

    @classmethod
    def show(cls, context: bpy.types.Context, job: Any, event: Any) -> None:
        """Show one of the job's events."""

    def finish(self, context: bpy.types.Context, job: Any) -> set[str]:  # noqa: ARG002
        """It went well: what is left to do, and to report."""
        return {"FINISHED"}

    def failed(self, context: bpy.types.Context, error: RenderError) -> set[str]:  # noqa: ARG002
        """It did not: say why."""
        return fail(self, error)

    @classmethod
    def ended(cls, context: bpy.types.Context, job: Any) -> None:  # noqa: ARG003
        """It is over, however it went; called once, on the way out."""
        job.close()

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Do it, and wait for it."""
        try:
            self._start(context)
        except RenderError as error:
            return fail(self, error)
        try:
            while not _tick(context, self.kind):
                time.sleep(0.02)
        except KeyboardInterrupt:
            end(context, self.kind)
            raise
        return self._leave(context)

    def invoke(self, context: bpy.types.Context, _: bpy.types.Event) -> set[str]:
        """Do it beside the window."""
        try:
            self._start(context)
        except RenderError as error:
            return fail(self, error)
        if not self.is_modal:
            start_clock(self.kind)
            return {"FINISHED"}
        manager = context.window_manager
        self._timer = manager.event_timer_add(TIMER_PERIOD, window=context.window)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Take over what came since; everything but ESC is the user's."""
        if self.kind not in _running or self.kind in _by_timer:
            self._stop_clock(context)
            return {"CANCELLED"}
        if event.type == "ESC" and event.value == "PRESS" and _is_meant(context, event):
            cancel(self.kind)
            return {"RUNNING_MODAL"}
        if event.type == "TIMER" and _tick(context, self.kind):
            return self._leave(context)
        return {"PASS_THROUGH"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender closes the file or itself."""
        self._stop_clock(context)
        if self.kind not in _running:
            return
        if self.outlives_file:
            start_clock(self.kind)
        else:
            end(context, self.kind)

    def _start(self, context: bpy.types.Context) -> None:
        _running[self.kind] = type(self), self.begin(context)
        redraw()

    def _leave(self, context: bpy.types.Context) -> set[str]:
        job = current(self.kind)
        self._stop_clock(context)
        end(context, self.kind)
        if isinstance(job.error, Interrupted):
            self.report({"INFO"}, "Cancelled")
            return {"CANCELLED"}
        if job.error is not None:
            return self.failed(context, job.error)
        return self.finish(context, job)

    def _stop_clock(self, context: bpy.types.Context) -> None:
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None


def _is_meant(context: bpy.types.Context, event: bpy.types.Event) -> bool:
    """Whether ESC is for us: not while an animation plays, and not over another editor."""
    if context.screen is None or context.screen.is_animation_playing:
        return False
    return any(
        area.type == "VIEW_3D"
        and area.x <= event.mouse_x < area.x + area.width
        and area.y <= event.mouse_y < area.y + area.height
        for area in context.screen.areas
    )


class CancelOperator:
    """The cross beside a job's progress."""

    bl_options: ClassVar = {"INTERNAL"}
    kind: ClassVar[str]
    nothing: ClassVar[str]

    if TYPE_CHECKING:

        @classmethod
        def poll_message_set(cls, text: str) -> None:
            """Blender's."""

    @classmethod
    def poll(cls, _: bpy.types.Context) -> bool:
        """Whether there is something to cancel."""
        if cls.kind not in _running:
            cls.poll_message_set(cls.nothing)
            return False
        return True

    def execute(self, _: bpy.types.Context) -> set[str]:
        """Ask it to stop."""
        cancel(self.kind)
        return {"FINISHED"}


def _draw_status(self: Any, _: bpy.types.Context) -> None:
    """In the status bar: the sidebar may be closed."""
    for operator, job in _running.values():
        if job.status:
            row = self.layout.row()
            row.ui_units_x = 16
            progress(row, job.share, job.status, operator.cancelled_by)


@bpy.app.handlers.persistent
def _on_load(*_: Any) -> None:
    """Another file is being opened: what is about the old one ends."""
    for kind, (operator, _job) in [*_running.items()]:
        if operator.outlives_file:
            start_clock(kind)
        else:
            end(bpy.context, kind)


def register() -> None:
    """Show progress in the status bar, and watch for another file."""
    bpy.types.STATUSBAR_HT_header.append(_draw_status)
    bpy.app.handlers.load_pre.append(_on_load)


def unregister() -> None:
    """Stop what is going on."""
    end_all(bpy.context)
    bpy.app.handlers.load_pre.remove(_on_load)
    bpy.types.STATUSBAR_HT_header.remove(_draw_status)
