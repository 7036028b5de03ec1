"""NerfStudioRenderQueue's algorithm, from the description of what it does: the counter-example.

Updates carry a stamp of wall-clock time and go to a short deque. Each thread pops the newest; for
each level it looks whether a newer request has come, draws, looks under one lock whether a newer
response was published, and writes the buffer under another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from objaverse_render_addon.live.levels import Level, at_level


class EarlierQueue:
    """As it was.

    Args:
        idle: Seconds that a thread sleeps, with the lock, where there is nothing to do.
    """

    def __init__(
        self, backend: Any, levels: list[Level], threads: Any, sleep: Callable[[float], None],
        workers: int = 3, idle: float = 0.05,
    ) -> None:  # fmt: skip
        self._backend, self._levels, self._threads = backend, levels, threads
        self._sleep, self._idle = sleep, idle
        self._requests: deque[tuple[Any, float]] = deque(maxlen=workers)
        self._newest_request = 0.0
        self._newest_response = 0.0
        self._buffer: Any = None
        self._pop = threads.condition()
        self._stamps = threads.condition()
        self._pictures = threads.condition()
        self.closed = False
        for number in range(workers):
            threads.start(f"draw-{number}", self._work)

    def update_camera(self, camera: Any) -> None:
        stamp = self._threads.clock()
        self._newest_request = stamp
        self._requests.append((camera, stamp))

    def get_rgb_image(self) -> Any:
        with self._pictures:
            picture, self._buffer = self._buffer, None
        return picture

    def _work(self) -> None:
        while not self.closed:
            with self._pop:
                if not self._requests:
                    self._sleep(self._idle)
                    continue
                camera, stamp = self._requests.pop()
            for index, level in enumerate(self._levels):
                if stamp < self._newest_request:
                    break

                def invalidated(stamp: float = stamp) -> bool:
                    return stamp < self._newest_request

                drawn = self._backend.render(at_level(camera, level), level, invalidated, {})
                if drawn is None:
                    break
                with self._stamps:
                    if stamp < self._newest_response:
                        break
                    self._newest_response = stamp
                with self._pictures:
                    self._buffer = (stamp, index, drawn)
