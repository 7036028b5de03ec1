"""The live view of the panel: what it shows, what it follows, how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.dataset.reader import AssetReader

from . import scenes
from .test_addon import bpy, draw_panels, enabled, panel  # noqa: F401  (fixtures)

pytestmark = pytest.mark.core


@pytest.fixture
def live(bpy: Any, panel: Any, tmp_path: Path) -> Iterator[Any]:  # noqa: F811
    """The module, with an asset in the panel."""
    from objaverse_render_addon.ui.viewport import live_view

    panel.samples, panel.denoise, panel.views = 8, True, 3
    panel.resolution_x, panel.resolution_y = 64, 48
    bpy.ops.objaverse.import_asset(filepath=str(scenes.write_glb(tmp_path / "thing.glb")))
    yield live_view
    live_view.stop()


def at_rest(live: Any, view: int, seconds: float = 90.0, samples: int = 8) -> Any:
    """Tick until the last picture of a view is there; the longest tick is returned, too."""
    end, longest = time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        since = time.perf_counter()
        live.tick()
        longest = max(longest, time.perf_counter() - since)
        picture = live.shown().picture
        assert not live.shown().trouble, live.shown().trouble
        done = picture is not None and picture.last and picture.samples == samples
        if done and picture.scene["view"] == view:
            return picture, longest
        time.sleep(0.01)
    raise AssertionError(f"view {view} was not shown in {seconds} s: {live.shown().said}")


def until(what: Callable[[], Any], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_at_rest_it_is_what_is_rendered_to_the_bit(
    bpy: Any, panel: Any, live: Any, tmp_path: Path  # noqa: F811
) -> None:
    panel.output_dir = str(tmp_path / "out")
    assert bpy.ops.objaverse.live_view() == {"FINISHED"}
    shown, _ = at_rest(live, 0)
    assert "As rendered: 64 × 48, 8 samples" in live.shown().said
    # It follows the view and a setting, each tick in a moment, without another worker.
    panel.current_view = 2
    other, longest = at_rest(live, 2)
    assert longest < 0.5
    assert not np.array_equal(shown.drawn.image, other.drawn.image)
    panel.samples = 4
    assert at_rest(live, 2, samples=4)[0].scene["values"] == {"engine.samples": 4}
    assert "As rendered" in draw_panels().said
    panel.samples = 8
    again = at_rest(live, 2)[0]
    bpy.ops.objaverse.render_asset()
    with AssetReader(tmp_path / "out" / "thing.zip") as asset:
        for index, picture in ((0, shown), (2, again)):
            truth = asset.read(index, ["rgb", "depth"])
            assert np.array_equal(picture.drawn.passes["rgb"], truth["rgb"])
            assert np.array_equal(picture.drawn.depth, truth["depth"])


def test_other_light_is_another_scene_and_still_shown(bpy: Any, panel: Any, live: Any) -> None:  # noqa: F811
    bpy.ops.objaverse.live_view()
    first, _ = at_rest(live, 0)
    panel.lighting = "xl"
    live.tick()
    until(lambda: (live.tick(), live.shown().picture is not first)[1], 60)
    second, _ = at_rest(live, 0)
    assert not np.array_equal(first.drawn.image, second.drawn.image)


def test_passes_are_chosen(bpy: Any, live: Any) -> None:  # noqa: F811
    bpy.ops.objaverse.live_view()
    at_rest(live, 0)
    color, version = live.shown().pixels.copy(), live.shown().version
    state = bpy.context.window_manager.objaverse_live
    seen = [color]
    for name in ("depth", "normal", "mask"):
        state.shown_pass = name
        assert live.shown().version > version
        assert not any(np.array_equal(live.shown().pixels, other) for other in seen)
        seen.append(live.shown().pixels.copy())
    state.shown_pass = "rgb"
    assert np.array_equal(live.shown().pixels, color)


def test_it_ends_with_the_button_with_the_file_and_by_itself(
    bpy: Any, live: Any, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    def idle() -> bool:
        return not any(thread.name.startswith("draw-") for thread in threading.enumerate())

    bpy.ops.objaverse.live_view()
    picture, _ = at_rest(live, 0)
    assert not idle()
    # After a rest the worker goes; the picture stays, and the next change brings it back.
    monkeypatch.setattr(live, "_REST", 0.0)
    until(lambda: (live.tick(), idle())[1])
    assert live.shown().picture is picture
    monkeypatch.undo()
    bpy.context.scene.objaverse.current_view = 1
    at_rest(live, 1)
    bpy.ops.objaverse.live_view()
    assert live.shown() is None
    until(idle)
    bpy.ops.objaverse.live_view()
    live.tick()
    bpy.ops.wm.read_homefile(use_empty=True)
    assert live.shown() is None
    until(idle)


def test_what_cannot_be_rendered_is_said(bpy: Any, panel: Any, live: Any) -> None:  # noqa: F811
    bpy.ops.objaverse.live_view()
    at_rest(live, 0)
    # Every later picture fails: the worker's file is gone, and so is the worker.
    from objaverse_render_addon.errors import RenderFailed

    backend = live.shown()._queue._shared.backend

    def fails(*_: Any) -> Any:
        raise RenderFailed("The light went out.")

    backend.render, working = fails, backend.render
    panel.current_view = 1
    until(lambda: (live.tick(), "light went out" in live.shown().said)[1])
    backend.render = working
    panel.current_view = 2
    until(lambda: (live.tick(), not live.shown().trouble)[1])
    at_rest(live, 2)
