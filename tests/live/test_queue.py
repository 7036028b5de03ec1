"""The queue's promises: its order alone, under a scheduler that wants them broken, with threads."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from objaverse_render_addon.errors import Interrupted, InvalidJob, RenderFailed, WorkerTimeout
from objaverse_render_addon.live.backends import Drawn
from objaverse_render_addon.live.levels import Adaptive, Given, Level, at_level, read_levels
from objaverse_render_addon.live.queue import Job, Order, Picture, RenderQueue, Watcher, _Shared

from .adversary import Adversary
from .earlier_queue import EarlierQueue
from .fake import FakeBackend, camera_of

LEVELS = [Level(16, 12), Level(32, 24), Level(64, 48), Level(64, 48, 4)]


# --- The order alone ------------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Any number of workers and watchers, in any order."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.order = Order()
        self.shared = _Shared(FakeBackend(), Given(LEVELS), _NoThreads(), None, 1, self.order)
        self.watchers = [Watcher(self.shared), Watcher(self.shared)]
        self.seen: list[list[tuple[int, int]]] = [[], []]
        self.taken: list[tuple[int, int]] = []
        self.ready = (0, -1)
        self.failed: set[int] = set()
        self.ended: set[tuple[int, int]] = set()

    @rule()
    def update(self) -> None:
        number = self.order.update(camera_of(1), {}, tuple(LEVELS), 0.0)
        assert self.order.newest is not None and number == self.order.newest.number

    @rule(target=jobs)
    def take(self) -> Any:
        job = self.order.take()
        if job is None:
            return None
        assert self.order.newest is job.update
        assert job.place not in self.taken, "a level was drawn twice"
        self.taken.append(job.place)
        return job

    @rule(job=jobs, how=st.sampled_from(["drawn", "failed", "stopped"]))
    def finish(self, job: Job | None, how: str) -> None:
        if job is None or job.place not in self.taken or job.place in self.ended:
            return
        if how == "stopped" and not self.order.superseded(job):
            return
        self.ended.add(job.place)
        answer: Any = picture_of(job)
        if how == "failed":
            answer = ValueError(str(job.place))
            self.failed.add(job.update.number)
        if how == "stopped":
            answer = None
        news = self.order.finish(job, answer)
        if answer is not None:
            # A first level is told whenever nothing better was.
            assert news == (job.place > self.ready)
            self.ready = max(self.ready, job.place)

    @rule(who=st.integers(0, 1))
    def look(self, who: int) -> None:
        answer = self.watchers[who]._take()
        if answer is not None:
            self.seen[who].append(self.order.place)
            assert self.order.place == self.ready, "not the newest that was ready"

    @invariant()
    def never_back_and_never_twice(self) -> None:
        for seen in self.seen:
            assert all(a < b for a, b in pairwise(seen))

    @precondition(lambda self: self.order.newest is not None)
    @rule()
    def settle(self) -> None:
        """Left alone, it comes to the last level of the last update."""
        for place in [p for p in self.taken if p not in self.ended]:
            self.ended.add(place)
            job = Job(self.order.newest, place[1])  # type: ignore[arg-type]
            if place[0] != job.update.number:
                self.order.running -= 1
                continue
            self.order.finish(job, picture_of(job))
            self.ready = max(self.ready, place)
        while (job := self.order.take()) is not None:
            self.taken.append(job.place)
            self.ended.add(job.place)
            self.order.finish(job, picture_of(job))
            self.ready = max(self.ready, job.place)
        newest = self.order.newest
        assert newest is not None and self.order.settled and self.order.running == 0
        if newest.number not in self.failed:
            assert self.order.place == (newest.number, len(LEVELS) - 1)


def picture_of(job: Job) -> Picture:
    return Picture(
        job.update.number, Drawn(), job.update.camera, {}, job.index, len(LEVELS), job.last, 0, 0
    )


class _NoThreads:
    def condition(self) -> Any:
        return threading.Condition()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


# --- Under a scheduler that wants it broken -------------------------------------------------------


def flood(adversary: Adversary, update: Callable[[int], Any], every: float) -> None:
    def life() -> None:
        number = 0
        while True:
            number += 1
            update(number)
            adversary.sleep(every)

    adversary.start("update", life)


def attacked(
    seed: int, steps: int, workers: int, every: float, wild: float = 0.2, stalls: float = 0.01
) -> list[Any]:
    """What two watchers and a callback of our queue saw: (update, level, position) each."""
    adversary = Adversary(seed, ("live/queue.py",), steps, wild, stalls=stalls)
    backend = FakeBackend(lambda: adversary.sleep(1e-3))
    seen: list[list[tuple[int, int, float]]] = [[], [], []]
    queue = RenderQueue(backend, Given(LEVELS), workers=workers, threads=adversary)

    def told(picture: Picture) -> tuple[int, int, float]:
        return picture.update, picture.index, float(picture.drawn.depth[0, 0])

    def polls() -> None:
        watcher = queue.watch()
        while True:
            adversary.step()
            if (picture := watcher.get_image()) is not None:
                seen[0].append(told(picture))

    def waits() -> None:
        watcher = queue.watch()
        while True:
            seen[1].append(told(watcher.wait()))

    queue.watch(callback=lambda answer: seen[2].append(told(answer)))  # type: ignore[arg-type]
    flood(adversary, lambda number: queue.update_camera(camera_of(number)), every)
    adversary.start("polls", polls)
    adversary.start("waits", waits)
    adversary.run()
    return seen


def reversals(seen: list[tuple[Any, ...]]) -> int:
    return sum(b[:2] <= a[:2] for a, b in pairwise(seen))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("every", [0.05, 0.008, 0.001])
def test_nothing_goes_back_under_an_adversary(workers: int, every: float) -> None:
    hold(attacked(17 + workers, 20_000, workers, every), 4)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_nothing_goes_back_in_a_million_steps(seed: int) -> None:
    for rate in (125, 500, 1000):
        hold(attacked(seed, 1_000_000, 1 + seed, 1 / rate), 500)


def hold(seen_by_each: list[list[tuple[int, int, float]]], least: int) -> None:
    for seen in seen_by_each:
        assert len(seen) > least
        assert reversals(seen) == 0
        assert len({place[:2] for place in seen}) == len(seen)
        for number, _, distance in seen:
            position = camera_of(number).camera_to_world[:3, 3].astype(np.float32)
            assert distance == np.linalg.norm(position), "a picture of another camera"


def test_the_earlier_algorithm_goes_back_under_the_same_adversary() -> None:
    wrong = 0
    for seed in range(4):
        adversary = Adversary(seed, ("earlier_queue.py",), 60_000, 0.3, stalls=0.01)
        backend = FakeBackend(lambda adversary=adversary: adversary.sleep(1e-3))
        queue = EarlierQueue(backend, LEVELS, adversary, adversary.sleep)
        seen: list[tuple[float, int]] = []

        def polls(
            adversary: Adversary = adversary, queue: EarlierQueue = queue,
            seen: list[tuple[float, int]] = seen,
        ) -> None:  # fmt: skip
            while True:
                adversary.step()
                if (picture := queue.get_rgb_image()) is not None:
                    seen.append(picture[:2])

        flood(adversary, lambda number, q=queue: q.update_camera(camera_of(number)), 0.014)
        adversary.start("polls", polls)
        adversary.run()
        wrong += reversals(seen)
    assert wrong > 0


def test_the_earlier_algorithm_starves_where_ours_does_not() -> None:
    every = 0.001  # A first level takes 4.
    ours = attacked(5, 30_000, 1, every, stalls=0.0)[0]
    adversary = Adversary(5, ("earlier_queue.py",), 30_000, stalls=0.0)
    backend = FakeBackend(lambda: adversary.sleep(1e-3))
    earlier = EarlierQueue(backend, LEVELS, adversary, adversary.sleep)
    flood(adversary, lambda number: earlier.update_camera(camera_of(number)), every)
    adversary.run()
    assert earlier._buffer is None and backend.stopped > 10
    assert len(ours) > 20


# --- With threads ---------------------------------------------------------------------------------


@pytest.fixture
def queue() -> Iterator[RenderQueue]:
    with RenderQueue(FakeBackend(), Given(LEVELS)) as queue:
        yield queue


@pytest.mark.parametrize("rate", [125, 500, 1000])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_flood_of_updates_gets_a_picture_in_the_time_of_a_first_level(
    rate: int, workers: int
) -> None:
    took: list[float] = []

    class Timed(FakeBackend):
        def render(self, camera: Any, level: Level, should_stop: Any, scene: Any) -> Any:
            since = time.perf_counter()
            drawn = super().render(camera, level, should_stop, scene)
            if level == LEVELS[0]:
                took.append(time.perf_counter() - since)
            return drawn

    seen: list[Picture] = []
    with RenderQueue(Timed(), Given(LEVELS), workers=workers) as queue:
        queue.watch(callback=seen.append)  # type: ignore[arg-type]
        start, number = time.perf_counter(), 0
        while (now := time.perf_counter()) < start + 0.6:
            if now - start >= number / rate:
                number += 1
                queue.update_camera(camera_of(number))
            else:
                time.sleep(1e-4)
        flooded = len(seen)
        last = queue.wait(10, at_least=number, last=True)
    places = [(picture.update, picture.index) for picture in seen]
    assert places == sorted(set(places))
    assert last.update == number and last.last
    assert flooded >= 0.8 * 0.6 / (max(np.mean(took), 1 / rate) + 0.002)


def test_each_picture_comes_once_and_gets_better(queue: RenderQueue) -> None:
    assert queue.get_image() is None
    number = queue.update_camera(camera_of(1))
    seen = []
    while not (seen and seen[-1].last):
        if (picture := queue.get_image()) is not None:
            seen.append(picture)
    assert queue.get_image() is None
    assert {picture.update for picture in seen} == {number}
    assert seen[-1].drawn.image.shape == (48, 64, 3) and seen[-1].samples == 4
    progress = queue.progress
    assert (progress.update, progress.shown, progress.index) == (number, number, 3)
    assert not progress.busy and progress.age is not None and progress.age >= 0


def test_the_same_camera_is_no_update_unless_it_failed(queue: RenderQueue) -> None:
    assert queue.update_camera(camera_of(1)) == queue.update_camera(camera_of(1)) == 1
    assert queue.update_camera(camera_of(1), {"pass": "depth"}) == 2
    assert queue.update_camera(camera_of(1), {"fault": "no"}) == 3
    with pytest.raises(ValueError, match="no"):
        queue.wait(10, at_least=3)
    assert queue.update_camera(camera_of(1), {"fault": "no"}) == 4


def test_an_exception_is_an_answer_and_ends_nothing(queue: RenderQueue) -> None:
    other = queue.watch()
    number = queue.update_camera(camera_of(1), {"fault": "broken glass"})
    for watcher in (queue, other):
        with pytest.raises(ValueError, match="broken glass"):
            watcher.wait(10, at_least=number)
        assert watcher.get_image() is None
    number = queue.update_camera(camera_of(2))
    assert queue.wait(10, at_least=number, last=True).update == number


def test_no_picture_without_a_reason_is_an_error() -> None:
    class Silent(FakeBackend):
        def render(self, *_: Any) -> Any:
            return None

    with RenderQueue(Silent(), Given(LEVELS)) as queue:
        queue.update_camera(camera_of(1))
        with pytest.raises(RenderFailed, match="not stopped"):
            queue.wait(10)


def test_superseded_work_ends_within_a_piece() -> None:
    backend = FakeBackend(lambda: time.sleep(0.01), lambda level: 500 if level.width > 16 else 1)
    with RenderQueue(backend, Given(LEVELS)) as queue:
        queue.update_camera(camera_of(1))
        queue.wait(10)
        while len(backend.began) < 2:
            time.sleep(0.001)
        since = time.perf_counter()
        number = queue.update_camera(camera_of(2))
        queue.wait(10, at_least=number)
        assert time.perf_counter() - since < 0.5 and backend.stopped == 1


def test_loops_and_callbacks_see_the_same(queue: RenderQueue) -> None:
    called: list[Picture] = []

    async def look() -> list[Picture]:
        seen = []
        async for picture in queue.watch():
            seen.append(picture)
            if picture.last and picture.update == 1:
                queue.update_camera(camera_of(2))
            if picture.last and picture.update == 2:
                break
        return seen

    watcher = queue.watch(callback=called.append)  # type: ignore[arg-type]
    queue.update_camera(camera_of(1))
    seen = asyncio.run(asyncio.wait_for(look(), 20))
    assert seen[-1].update == called[-1].update == 2
    places = [(picture.update, picture.index) for picture in called]
    assert places == sorted(set(places))
    watcher.close()


def test_a_callback_that_fails_reaches_its_owner_alone(queue: RenderQueue) -> None:
    watcher = queue.watch(callback=lambda _: 1 / 0)
    number = queue.update_camera(camera_of(1))
    assert queue.wait(10, at_least=number, last=True).last
    with pytest.raises(ZeroDivisionError):
        watcher.close()


def test_waiting_ends_by_time_and_by_closing() -> None:
    queue = RenderQueue(FakeBackend(lambda: time.sleep(10), lambda _: 10**6), Given(LEVELS))
    with pytest.raises(WorkerTimeout):
        queue.wait(0.01)
    ended: list[BaseException] = []

    def waits() -> None:
        try:
            queue.wait()
        except Interrupted as error:
            ended.append(error)

    thread = threading.Thread(target=waits)
    thread.start()
    queue.close()
    thread.join(5)
    assert len(ended) == 1
    with pytest.raises(Interrupted):
        queue.update_camera(camera_of(1))


def test_a_queue_that_is_forgotten_frees_thread_and_backend() -> None:
    backend = FakeBackend()
    queue = RenderQueue(backend, Given(LEVELS), workers=2)
    queue.update_camera(camera_of(1))
    queue.wait(10, last=True)
    gone, before = weakref.ref(queue), threading.active_count()
    del queue
    gc.collect()
    assert gone() is None
    end = time.monotonic() + 5
    while not backend.closed:
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.05)
    assert backend.closed == 1 and threading.active_count() == before - 2


def test_a_camera_that_is_none_is_refused(queue: RenderQueue) -> None:
    camera = camera_of(1)
    camera.camera_to_world[0, 3] = np.nan
    with pytest.raises(InvalidJob, match="finite"):
        queue.update_camera(camera)


# --- Levels ---------------------------------------------------------------------------------------


def test_levels_of_the_earlier_queue_are_read(tmp_path: Any) -> None:
    path = tmp_path / "levels.json"
    path.write_text(json.dumps([{"width": 64, "height": 36, "fov": 35.98339777}]))
    (level,) = read_levels(path).levels(camera_of(1), 1)
    assert level == Level(64, 36, 1, 35.98339777)
    camera = at_level(camera_of(1), level)
    assert camera.fov[1] == pytest.approx(35.98339777)
    assert camera.fov[0] > camera.fov[1]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '[{"width": 3}]', '[{"width": 0, "height": 2}]', "[1]",
             '[{"width": 9, "height": 9, "fov": 180}]'],
)  # fmt: skip
def test_files_that_are_no_levels_are_named(tmp_path: Any, text: str) -> None:
    path = tmp_path / "levels.json"
    path.write_text(text)
    with pytest.raises(InvalidJob, match=r"levels\.json"):
        read_levels(path)


def test_the_first_size_follows_the_time_that_was_measured() -> None:
    plan, camera = Adaptive(rate=30), camera_of(1, 640, 480)
    before = plan.levels(camera, 1)
    assert (before[-1].width, before[-1].height) == (640, 480)
    for _ in range(20):
        plan.took(before[0], 10.0)
    slow = plan.levels(camera, 1)
    assert slow[0].width == 40 and slow[0].width < before[0].width
    for _ in range(60):
        plan.took(slow[0], 0.0)  # A clock that stands still divides nothing.
    fast = plan.levels(camera, 1)
    assert [(level.width, level.samples) for level in fast] == [(640, 1)]
    many = plan.levels(camera, 48)
    assert [level.samples for level in many][-5:] == [0, 1, 4, 16, 48]
    assert many[0].samples == 0
    # What is rendered again costs little of it.
    anew = plan.levels(camera, 48, anew=True)
    assert [level.samples for level in anew][-3:] == [0, 1, 48]
    assert [level.samples for level in plan.levels(camera, 256, anew=True)][-4:] == [1, 4, 16, 256]
    assert [level.samples for level in plan.levels(camera, 2, anew=True)][-2:] == [1, 2]
