"""Ends a render of Cycles in the midst of it.

Cycles asks Blender again and again whether to go on, and Blender looks at one flag. Escape sets it
where there is a window, and Ctrl-C once, in a program that ends at the second; Python has no name
for it. Yet whatever render finds that its scene has no camera gives up, and sets the flag for all.
So another thread, which runs since Cycles lets go of Python's lock, has an empty scene rendered.

The main thread is in Cycles meanwhile, or waits: Blender's data are never used by two at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import bpy

__all__ = ["Watch", "unless"]

_NAME: Final = "Objaverse Break"
_ASK: Final = 0.004
"""Seconds between two questions whether what renders is still wanted."""
_canceled: Callable[[], bool] | None = None


@contextmanager
def unless(canceled: Callable[[], bool] | None) -> Iterator[None]:
    """Within it what :func:`.capture.take` renders ends as soon as it is cancelled.

    Args:
        canceled: Asked from another thread; ``None`` where nothing must end early.
    """
    global _canceled
    before, _canceled = _canceled, canceled
    try:
        yield
    finally:
        _canceled = before


class Watch:
    """One render, which may be ended.

    Attributes:
        broken: Whether it was: there is nothing of it then.
    """

    def __init__(self) -> None:
        self.broken = False
        self._canceled = _canceled
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._scene: Any = None
        if self._canceled is not None:
            self._scene = bpy.data.scenes.get(_NAME) or _empty()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around what lets go of Python's lock as it renders, and of Blender's data."""
        if self._canceled is None:
            yield
            return
        thread = threading.Thread(target=self._run, args=(self._canceled,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._ended.set()
            thread.join()

    def _run(self, canceled: Callable[[], bool]) -> None:
        while not self._ended.wait(_ASK):
            if canceled():
                with self._lock:
                    if not self._ended.is_set():
                        self.broken = True
                        self._break()
                return

    def _break(self) -> None:
        # Of the scene that renders nothing is looked at.
        with bpy.context.temp_override(scene=self._scene):
            try:
                bpy.ops.render.render(scene=self._scene.name)
            except RuntimeError:
                return  # It has no camera.


def _empty() -> Any:
    scene = bpy.data.scenes.new(_NAME)
    render = scene.render
    render.resolution_x = render.resolution_y = 8
    render.use_compositing = render.use_sequencer = False
    return scene
