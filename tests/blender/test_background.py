"""Jobs beside the window: started, watched, cancelled and ended in one way."""

from __future__ import annotations

import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gallery_data import add_asset

from objaverse_render_addon.batch.background import BackgroundJob
from objaverse_render_addon.errors import Interrupted, OutputNotWritable

from .test_addon import bpy, enabled  # noqa: F401  (fixtures)

pytestmark = pytest.mark.core


class Counting(BackgroundJob):
    """Tells three numbers, then waits until it may end, or is cancelled."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__("counting", "Counting")
        self.go_on, self._error = threading.Event(), error

    def work(self) -> None:
        for number in range(3):
            self._events.put(number)
        while not self.go_on.wait(0.01):
            if self.cancelled.is_set():
                raise Interrupted("Stopped.")
        if self._error is not None:
            raise self._error


@pytest.fixture
def count(bpy: Any) -> Iterator[Any]:  # noqa: F811
    """An operator that counts; not registered, for its events are made here."""
    from objaverse_render_addon.ui import background

    class Count(background.BackgroundOperator):
        kind, in_the_way, cancelled_by = "count", "Counting; wait", "objaverse.cancel"
        error: Exception | None = None

        def __init__(self) -> None:
            self.said: list[tuple[set[str], str]] = []
            type(self).shown, type(self).over, type(self).messages = [], 0, []

        def begin(self, _: Any) -> Counting:
            self.job = Counting(self.error)
            self.job.start()
            return self.job

        @classmethod
        def show(cls, _: Any, job: Any, event: Any) -> None:
            assert job is background.current("count")
            cls.shown.append(event)

        @classmethod
        def ended(cls, context: Any, job: Any) -> None:
            super().ended(context, job)
            cls.over += 1

        def report(self, level: set[str], text: str) -> None:
            self.said.append((level, text))

        @classmethod
        def poll_message_set(cls, text: str) -> None:
            cls.messages.append(text)

    yield Count
    background.end_all(bpy.context)


def window(*, playing: bool = False) -> Any:
    """As much of a context as an operator asks of a window; in background there is none."""
    timers: list[object] = []

    def add(*_: Any, **__: Any) -> object:
        timers.append(object())
        return timers[-1]

    manager = types.SimpleNamespace(
        event_timer_add=add, event_timer_remove=timers.remove, modal_handler_add=lambda _: None,
        timers=timers,
    )  # fmt: skip
    areas = [
        types.SimpleNamespace(type=kind, x=x, y=0, width=100, height=100)
        for x, kind in ((0, "VIEW_3D"), (100, "TEXT_EDITOR"))
    ]
    screen = types.SimpleNamespace(is_animation_playing=playing, areas=areas)
    return types.SimpleNamespace(window_manager=manager, window=None, screen=screen)


TIMER, ESC, KEY = (
    types.SimpleNamespace(type=kind, value="PRESS", mouse_x=50, mouse_y=50)
    for kind in ("TIMER", "ESC", "G")
)
ELSEWHERE = types.SimpleNamespace(type="ESC", value="PRESS", mouse_x=150, mouse_y=50)


def tick(operator: Any, context: Any) -> set[str]:
    deadline = time.monotonic() + 10
    while (result := operator.modal(context, TIMER)) == {"PASS_THROUGH"}:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return result


def test_a_click_is_watched_to_its_end_and_a_second_one_waits(count: Any) -> None:
    operator, context = count(), window()
    assert count.poll(context)
    assert operator.invoke(context, None) == {"RUNNING_MODAL"}
    assert not count.poll(context) and count.messages == ["Counting; wait"]
    while count.shown != [0, 1, 2]:
        assert operator.modal(context, TIMER) == {"PASS_THROUGH"}
    assert operator.modal(context, KEY) == {"PASS_THROUGH"}, "the user's"
    operator.job.go_on.set()
    assert tick(operator, context) == {"FINISHED"}
    assert (count.over, operator.said, context.window_manager.timers) == (1, [], [])
    assert count.poll(context)


@pytest.mark.parametrize("how", ["escape", "button"])
def test_it_is_cancelled_by_escape_and_by_the_cross(count: Any, how: str) -> None:
    from objaverse_render_addon.ui import background

    operator, context = count(), window()
    operator.invoke(context, None)
    if how == "escape":
        # That one stops the animation.
        assert operator.modal(window(playing=True), ESC) == {"PASS_THROUGH"}
        # That one is the text editor's.
        assert operator.modal(context, ELSEWHERE) == {"PASS_THROUGH"}
        assert not operator.job.cancelled.is_set()
        assert operator.modal(context, ESC) == {"RUNNING_MODAL"}
    else:
        cross = type("Cross", (background.CancelOperator,), {"kind": "count", "nothing": "None"})
        assert cross.poll(context)
        assert cross().execute(context) == {"FINISHED"}
    assert operator.job.status == "Cancelling"
    assert tick(operator, context) == {"CANCELLED"}
    assert operator.said == [({"INFO"}, "Cancelled")]
    assert (count.over, context.window_manager.timers) == (1, [])


@pytest.mark.parametrize("waiting", [True, False])
def test_a_failure_is_told_in_the_panels_words(bpy: Any, count: Any, waiting: bool) -> None:  # noqa: F811
    count.error = OutputNotWritable(
        "No.", hint="Allow overwriting (--overwrite) to replace it."
    )
    operator, context = count(), window()
    if waiting:
        threading.Timer(0.1, lambda: operator.job.go_on.set()).start()
        assert operator.execute(bpy.context) == {"CANCELLED"}
        assert count.shown == [0, 1, 2]
    else:
        operator.invoke(context, None)
        operator.job.go_on.set()
        assert tick(operator, context) == {"CANCELLED"}
    assert operator.said == [({"ERROR"}, "No. Tick Overwrite under Output to replace it.")]
    assert count.over == 1


def test_a_defect_has_a_name_too(count: Any) -> None:
    count.error = ZeroDivisionError("by nothing")
    operator, context = count(), window()
    operator.invoke(context, None)
    operator.job.go_on.set()
    tick(operator, context)
    assert operator.said == [({"ERROR"}, "ZeroDivisionError: by nothing")]


@pytest.mark.parametrize("outlives", [False, True])
def test_another_file_ends_what_is_about_the_file(bpy: Any, count: Any, outlives: bool) -> None:  # noqa: F811
    from objaverse_render_addon.ui import background

    count.outlives_file = outlives
    operator, context = count(), window()
    operator.invoke(context, None)
    bpy.ops.wm.read_homefile(use_empty=True)
    assert operator.job.is_alive() is outlives
    assert operator.modal(context, TIMER) == {"CANCELLED"}
    assert context.window_manager.timers == []
    if outlives:
        # The operator is gone with its file; a timer takes its place.
        operator.job.go_on.set()
        deadline = time.monotonic() + 10
        while background._tick_all() is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert count.shown == [0, 1, 2] and operator.job.error is None
    else:
        assert isinstance(operator.job.error, Interrupted)
    assert count.over == 1


def test_another_file_keeps_what_is_told_of_a_run(bpy: Any) -> None:  # noqa: F811
    manager = bpy.context.window_manager
    line = {"name": "a/scene.glb", "source": "a/scene.glb", "asset_id": "a-scene",
            "state": "failed", "detail": "broken", "factor": 1.0}  # fmt: skip
    item = manager.objaverse.items.add()
    for name, value in line.items():
        setattr(item, name, value)
    manager.objaverse.status, manager.objaverse.about = "Batch: 1 failed", "batch"
    from objaverse_render_addon.ui import run_state

    def lose(*_: Any) -> None:
        """Versions of Blender differ in what they keep of a window manager."""
        manager.objaverse.items.clear()
        manager.objaverse.status = manager.objaverse.about = ""

    bpy.app.handlers.load_pre.append(lose)
    bpy.ops.wm.read_homefile(use_empty=True)
    state = bpy.context.window_manager.objaverse
    assert (state.status, state.about) == ("Batch: 1 failed", "batch")
    assert [{name: getattr(item, name) for name in line} for item in state.items] == [line]
    own = {prop.identifier for prop in state.items[0].bl_rna.properties} - {"rna_type"}
    assert own == {*run_state._ITEM}, "what a line says is kept whole"


def test_a_batch_needs_no_modal_operator(bpy: Any, count: Any) -> None:  # noqa: F811
    """While there is one Blender does not save automatically."""
    from objaverse_render_addon.ui import background
    from objaverse_render_addon.ui.operators.render import OBJAVERSE_OT_render_batch

    assert not OBJAVERSE_OT_render_batch.is_modal
    count.is_modal = False
    operator, context = count(), window()
    assert operator.invoke(context, None) == {"FINISHED"}
    assert context.window_manager.timers == []
    assert bpy.app.timers.is_registered(background._tick_all)
    operator.job.go_on.set()
    deadline = time.monotonic() + 10
    while background._tick_all() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (count.shown, count.over) == ([0, 1, 2], 1)
    assert background.current("count") is None


def test_a_gallery_is_cancelled_and_goes_on(bpy: Any, tmp_path: Path) -> None:  # noqa: F811
    from objaverse_render_addon.ui.operators.gallery import _MakeGallery

    for name in ("one", "two", "three"):
        add_asset(tmp_path, name, views=2, size=(32, 32))
    job = _MakeGallery(tmp_path, show=False)
    job.cancel()
    job.run()
    assert isinstance(job.error, Interrupted)
    assert not (tmp_path / "gallery" / "catalogue.js").exists()
    bpy.context.scene.objaverse.output_dir = str(tmp_path)
    assert bpy.ops.objaverse.open_gallery() == {"FINISHED"}
    assert len(list((tmp_path / "gallery" / "assets").glob("*/*/detail.js"))) == 3
    with pytest.raises(RuntimeError, match="No gallery is being made"):
        bpy.ops.objaverse.cancel_gallery()


def test_what_a_job_offers_is_what_the_window_names(monkeypatch: pytest.MonkeyPatch) -> None:
    from objaverse_render_addon.ui import choices

    for path in choices._TEXTS:
        assert {name for name, *_ in choices.items(path)} == set(choices._allowed(path))
    monkeypatch.delitem(choices._TEXTS["pixels.passes"], "uv")
    with pytest.raises(TypeError, match="uv"):
        choices.flags("pixels.passes")
    monkeypatch.delitem(choices._TEXTS["lighting.mode"], "keep")
    with pytest.raises(TypeError, match="keep"):
        choices.items("lighting.mode")
