"""Functions over workers: each gets one of its own, and what it makes comes back in order."""

from __future__ import annotations

import contextlib
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ..errors import Interrupted
from .later import Begun, later
from .opening import Opens

__all__ = ["Maps"]

_T = TypeVar("_T")
_R = TypeVar("_R")


class Maps(Opens):
    """Workers that functions are shared out over.

    A function gets something that opens scenes (:class:`.opening.Opens`), and an item.
    """

    @property
    @abstractmethod
    def workers(self) -> int:
        """Their number."""

    @contextlib.contextmanager
    def lend(self) -> Iterator[Opens]:
        """One worker, which nobody else uses meanwhile; a server shares its own out itself."""
        yield self

    def imap(
        self, function: Callable[[Any, _T], _R], items: Iterable[_T], *, workers: int = 0
    ) -> Iterator[_R]:
        """What a function makes of each item, in their order, several at a time.

        Args:
            function: Gets one worker, as something that opens scenes, and an item. What it
                raises is raised here, in the item's turn; the rest goes on until then.
            items: Taken as they are needed.
            workers: The most that work at it; all otherwise.
        """
        count = min(workers or self.workers, self.workers)

        def one(item: _T) -> _R:
            with self.lend() as client:
                return function(client, item)

        pending: deque[Future[_R]] = deque()
        with ThreadPoolExecutor(count, "live-map") as threads:
            try:
                for item in items:
                    pending.append(threads.submit(one, item))
                    if len(pending) >= 2 * count:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()

    def map(
        self, function: Callable[[Any, _T], _R], items: Iterable[_T], *, workers: int = 0
    ) -> list[_R]:
        """The same, all at once."""
        return list(self.imap(function, items, workers=workers))

    def starmap(
        self, function: Callable[..., _R], items: Iterable[Sequence[Any]], *, workers: int = 0
    ) -> list[_R]:
        """The same, each item being the arguments behind the first."""
        return self.map(lambda client, item: function(client, *item), items, workers=workers)

    def apply(self, function: Callable[..., _R], *arguments: Any) -> _R:
        """What a function makes of one worker's pool and some arguments."""
        with self.lend() as client:
            return function(client, *arguments)

    def apply_async(self, function: Callable[..., _R], *arguments: Any) -> Future[_R]:
        """The same, later; in a coroutine, ``await asyncio.wrap_future(…)`` it."""
        return later(lambda _: self.apply(function, *arguments))

    def map_async(
        self, function: Callable[[Any, _T], _R], items: Iterable[_T], *, workers: int = 0
    ) -> Future[list[_R]]:
        """As :meth:`map`, later; in a coroutine, ``await asyncio.wrap_future(…)`` it.

        Where the future is cancelled, no other item is begun.
        """
        canceled = threading.Event()

        def one(client: Any, item: _T) -> _R:
            if canceled.is_set():
                raise Interrupted("Cancelled.")
            return function(client, item)

        def work(begun: Begun) -> list[_R]:
            begun(canceled.set)
            return self.map(one, items, workers=workers)

        return later(work)
