"""A scheduler that wants a program to fail: one thread runs at a time, and after any line of the
watched files another may go on. Its choices follow a seed; its time is its own.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from typing import Any

_SLICE = 0.03
"""Seconds at most for which a thread loses the processor, whatever lock it has."""


class Over(BaseException):
    """The steps are used up."""


class Adversary:
    """Runs threads as it likes.

    Args:
        files: Names that the files' paths end with, between whose lines it pre-empts.
        steps: After which it stops.
        wild: Share of the steps after which another thread goes on.
        tick: Seconds that a step takes, by its clock.
        stalls: Share of the steps after which a thread loses the processor for a while.
    """

    def __init__(
        self, seed: int, files: tuple[str, ...], steps: int, wild: float = 0.2, tick: float = 1e-5,
        stalls: float = 0.003,
    ) -> None:
        self._random = random.Random(seed)
        self._files, self._limit, self._wild, self._tick = files, steps, wild, tick
        self._stalls = stalls
        self.steps = 0
        self.now = 0.0
        self._batons: dict[int, threading.Semaphore] = {}
        self._waits: dict[int, Callable[[], bool]] = {}
        self._names: dict[int, str] = {}
        self._threads: list[threading.Thread] = []
        self._over = False
        self._done = threading.Semaphore(0)
        self.failures: list[BaseException] = []

    # --- What the program is given --------------------------------------------------------------

    def condition(self) -> Any:
        return Condition(self)

    def clock(self) -> float:
        self.step()
        return self.now

    def start(self, name: str, target: Callable[[], None]) -> Any:
        number = len(self._threads)
        self._batons[number] = threading.Semaphore(0)
        self._names[number] = name
        thread = threading.Thread(target=self._life, args=(number, target), daemon=True)
        self._threads.append(thread)
        thread.number = number  # type: ignore[attr-defined]
        thread.start()
        return thread

    # --- Running -------------------------------------------------------------------------------

    def run(self) -> None:
        """Until the steps are used up, or every thread has ended."""
        if self._batons:
            self._pass_on()
            self._done.acquire()
        for thread in self._threads:
            thread.join(10)
        if self.failures:
            raise self.failures[0]

    def step(self, more: float = 0.0) -> None:
        """A place where another thread may go on; the main thread is none of them."""
        if not hasattr(threading.current_thread(), "number"):
            return
        if self._over:
            raise Over
        self.steps += 1
        self.now += self._tick
        if self.steps >= self._limit:
            self._finish()
            raise Over
        chance = self._random.random()
        if chance < self._stalls * (1 + more):
            self.sleep(self._random.random() * _SLICE)
        elif chance < self._wild:
            self._switch()

    def sleep(self, seconds: float) -> None:
        end = self.now + seconds
        self.wait_until(lambda: self.now >= end)

    def wait_until(self, ready: Callable[[], bool]) -> None:
        number = threading.current_thread().number  # type: ignore[attr-defined]
        self._waits[number] = ready
        self._switch()

    def _switch(self) -> None:
        number = threading.current_thread().number  # type: ignore[attr-defined]
        self._pass_on()
        self._batons[number].acquire()
        if self._over:
            raise Over
        self._waits.pop(number, None)

    def _pass_on(self) -> None:
        """Let some thread go on that can."""
        while True:
            able = [
                number for number in self._batons
                if number not in self._waits or self._waits[number]()
            ]
            if able:
                self._batons[self._random.choice(able)].release()
                return
            # All wait: time passes.
            self.now += self._tick * 10
            self.steps += 1
            if self.steps >= self._limit:
                self._finish()
                return

    def _finish(self) -> None:
        if not self._over:
            self._over = True
            self._done.release()
            for baton in self._batons.values():
                baton.release()

    def _life(self, number: int, target: Callable[[], None]) -> None:
        self._batons[number].acquire()
        try:
            if not self._over:
                sys.settrace(self._trace)
                target()
        except Over:
            pass
        except BaseException as error:
            self.failures.append(error)
            self._finish()
        finally:
            sys.settrace(None)
            del self._batons[number]
            if not self._over:
                if self._batons:
                    self._pass_on()
                else:
                    self._finish()

    def _trace(self, frame: Any, _: str, __: Any) -> Any:
        if not frame.f_code.co_filename.endswith(self._files):
            return None
        return self._line

    def _line(self, _: Any, event: str, __: Any) -> Any:
        if event == "line":
            self.step()
        return self._line


class Condition:
    """A condition with its lock, of the adversary's."""

    def __init__(self, adversary: Adversary) -> None:
        self._adversary = adversary
        self._held = False
        self._calls = 0

    def __enter__(self) -> None:
        self._adversary.step()
        while self._held and not self._adversary._over:
            self._adversary.wait_until(lambda: not self._held)
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False
        if not self._adversary._over:
            self._adversary.step(30.0)  # Where programs go wrong that have two locks.

    def wait(self, timeout: float | None = None) -> None:
        calls, end = self._calls, None
        if timeout is not None:
            end = self._adversary.now + timeout
        self._held = False
        self._adversary.wait_until(
            lambda: (self._calls > calls or (end is not None and self._adversary.now >= end))
            and not self._held
        )
        self._held = True

    def notify_all(self) -> None:
        self._calls += 1
