"""Work that is done later, and can be cancelled while it is."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import TypeAlias, TypeVar

__all__ = ["Begun", "later"]

_T = TypeVar("_T")

Begun: TypeAlias = Callable[[Callable[[], None]], None]
"""Called as soon as something has begun, with what ends it from any thread."""


def later(task: Callable[[Begun], _T]) -> Future[_T]:
    """What a task gives, in a thread of its own.

    ``cancel()`` of the future ends the task by what that said with its :data:`Begun`, also in its
    midst; so does the end of a coroutine that awaits ``asyncio.wrap_future`` of it.
    """
    # It is never said to run: what runs cannot be cancelled.
    future: Future[_T] = Future()
    guard = threading.Lock()
    ends: list[Callable[[], None]] = []

    def begun(end: Callable[[], None]) -> None:
        with guard:
            ends.append(end)
            canceled = future.cancelled()
        if canceled:
            end()

    def settled(_: Future[_T]) -> None:
        with guard:
            wanted = list(ends) if future.cancelled() else []
        for end in wanted:
            end()

    def work() -> None:
        with contextlib.suppress(InvalidStateError):
            try:
                result = task(begun)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
        if future.cancelled():
            future.set_running_or_notify_cancel()

    future.add_done_callback(settled)
    threading.Thread(target=work, name="live-later", daemon=True).start()
    return future
