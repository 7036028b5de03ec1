"""The same work on many assets in several processes, in order and with bounded memory."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from ..errors import WorkerCrashed

__all__ = ["mapped"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def mapped(work: Callable[[_In], _Out], items: Iterable[_In], jobs: int) -> Iterator[_Out]:
    """``work`` of each item, in the items' order.

    Args:
        work: A function of a module, since it is sent to other processes.
        jobs: Processes; 1 works in this one.

    Raises:
        WorkerCrashed: One of the processes died.
    """
    if jobs <= 1:
        yield from map(work, items)
        return
    # Started anew rather than forked: whoever calls may have threads.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    waiting: deque[Future[_Out]] = deque()
    rest = iter(items)
    try:
        # A few more than there are processes, so that none waits for the oldest to be taken.
        for item in itertools.islice(rest, 4 * jobs):
            waiting.append(pool.submit(work, item))
        while waiting:
            result: Any = waiting.popleft().result()
            for item in itertools.islice(rest, 1):
                waiting.append(pool.submit(work, item))
            yield result
    except BrokenProcessPool as error:
        raise WorkerCrashed(
            "A process that read the dataset died.", hint="Use fewer --jobs: it may be memory."
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
