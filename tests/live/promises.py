"""What every backend promises."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.live.backends import Backend
from objaverse_render_addon.live.levels import Given, Level, at_level
from objaverse_render_addon.live.queue import Picture, RenderQueue
from objaverse_render_addon.passspec import PASSES

from .fake import camera_of

SMALL = Level(32, 24, 1)


def never() -> bool:
    return False


class Lent:
    """A backend that a queue may close, and that goes on all the same."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.samples, self.passes, self.workers = backend.samples, backend.passes, backend.workers
        self.render, self.drafts, self.anew = backend.render, backend.drafts, backend.anew

    def close(self) -> None:
        pass


class Promises:
    """Inherited by a class with a fixture ``backend``."""

    def draw(self, backend: Backend, number: float, level: Level = SMALL) -> Any:
        drawn = backend.render(at_level(camera_of(number), level), level, never, {})
        assert drawn is not None
        return drawn

    def test_a_picture_has_the_camera_s_size_and_its_passes(self, backend: Backend) -> None:
        for level in (Level(32, 24, 0), Level(33, 17, 1), Level(64, 48, backend.samples({}))):
            drawn = self.draw(backend, 1, level)
            shape = (level.height, level.width)
            assert {"rgb", "depth"} <= set(drawn.passes) <= set(backend.passes)
            assert drawn.image.shape == (*shape, 3) and drawn.image.dtype == np.uint8
            assert drawn.alpha.shape == shape and drawn.alpha.dtype == np.float32
            assert drawn.depth.shape == shape and drawn.depth.dtype == np.float32
            assert np.isfinite(drawn.depth).all() and (drawn.depth >= 0).all()
            assert drawn.alpha.max() > 0.5
            for name, array in drawn.passes.items():
                assert array.dtype == PASSES[name].dtype, name

    def test_the_same_call_gives_the_same_picture(self, backend: Backend) -> None:
        first, other = self.draw(backend, 1), self.draw(backend, 20)
        again = self.draw(backend, 1)
        for name in first.passes:
            assert np.array_equal(first.passes[name], again.passes[name]), name
        assert not np.array_equal(first.depth, other.depth)

    def test_it_asks_and_stops_and_is_none_the_worse(self, backend: Backend) -> None:
        before = self.draw(backend, 3)
        asked = []
        level = Level(320, 240, backend.samples({}))

        def stop() -> bool:
            asked.append(time.perf_counter())
            return len(asked) > 1

        assert backend.render(at_level(camera_of(4), level), level, stop, {}) is None
        assert 2 <= len(asked) <= 4
        assert np.array_equal(self.draw(backend, 3).depth, before.depth)

    def test_several_threads_draw_as_many_as_it_says(self, backend: Backend) -> None:
        truth = [self.draw(backend, number).depth for number in range(4)]
        wrong: list[int] = []

        def draws(number: int) -> None:
            for _ in range(3):
                if not np.array_equal(self.draw(backend, number).depth, truth[number]):
                    wrong.append(number)

        threads = [threading.Thread(target=draws, args=(n,)) for n in range(backend.workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    @pytest.mark.parametrize("rate", [125, 1000])
    def test_a_queue_over_it_keeps_its_promises(self, backend: Backend, rate: int) -> None:
        levels = Given([Level(16, 12, 0), Level(32, 24, 0), Level(32, 24, backend.samples({}))])
        seen: list[Picture] = []
        with RenderQueue(Lent(backend), levels, workers=2) as queue:
            queue.watch(callback=seen.append)  # type: ignore[arg-type]
            end, number = time.perf_counter() + 0.5, 0
            while time.perf_counter() < end or not seen:
                number += 1
                queue.update_camera(camera_of(number % 40 + 1))
                time.sleep(1 / rate)
            flooded = len(seen)
            last = queue.wait(60, at_least=number, last=True)
        places = [(picture.update, picture.index) for picture in seen]
        assert places == sorted(set(places)) and flooded >= 1
        assert last.update == number and last.samples == backend.samples({})
        truth = self.draw(backend, number % 40 + 1, Level(32, 24, backend.samples({})))
        assert np.array_equal(last.drawn.image, truth.image)
        assert np.array_equal(last.drawn.depth, truth.depth)
