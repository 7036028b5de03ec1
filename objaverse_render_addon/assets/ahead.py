"""Fetch many assets before somebody needs them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Literal

from ..errors import Interrupted, RenderError, UnexpectedError
from .formats import inspect_file
from .resolve import Fetched, Resolver
from .sources import Source
from .transfer import CHUNK

__all__ = ["FetchResult", "fetch_all"]

_AHEAD = 4
"""Sources per thread that are taken from the list before their turn."""


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What became of one source.

    Attributes:
        status: ``fetched``, ``here`` (it was there already) or ``failed``.
        received: Bytes that came over the network for it, a list of objects or a catalogue that
            had to come first included.
    """

    source: Source
    status: Literal["fetched", "here", "failed"]
    received: int = 0
    fetched: Fetched | None = None
    error: RenderError | None = None


def fetch_all(
    resolver: Resolver,
    sources: Iterable[Source],
    *,
    jobs: int = 8,
    on_bytes: Callable[[int, int], None] | None = None,
    cancel: threading.Event | None = None,
) -> Iterator[FetchResult]:
    """Fetch every source; a failure is that source's alone.

    Args:
        jobs: Fetches at a time.
        on_bytes: Told, from any thread, by how many bytes what has come and what is expected
            grew.
        cancel: Set it, from any thread, to stop.

    Yields:
        One result per source, as they end.

    Raises:
        Interrupted: By ``cancel``, once all threads have stopped.
    """
    stop = cancel or threading.Event()
    pending: set[Future[FetchResult]] = set()
    waiting = iter(sources)
    with ThreadPoolExecutor(jobs, "fetch") as pool:
        try:
            more = True
            while more or pending:
                while more and len(pending) < jobs * _AHEAD:
                    source = next(waiting, None)
                    if source is None:
                        more = False
                    else:
                        pending.add(pool.submit(_one, resolver, source, on_bytes, stop))
                ended, pending = wait(pending, 0.2, FIRST_COMPLETED)
                if stop.is_set():
                    raise Interrupted("Stopped.", hint="Run the same command again to go on.")
                for future in ended:
                    yield future.result()
        finally:
            if pending:
                stop.set()


def _one(
    resolver: Resolver,
    source: Source,
    on_bytes: Callable[[int, int], None] | None,
    cancel: threading.Event,
) -> FetchResult:
    received, had, expected = 0, -1, 0

    def progress(have: int, total: int) -> None:
        nonlocal received, had, expected
        if have < had or (expected and total != expected):
            # Another file, as a catalogue comes before its object, or the same one anew.
            had, expected = 0, (expected if total == expected else 0)
        # What an earlier run left does not come now.
        came = min(have, CHUNK) if had < 0 else have - had
        had = have
        received += came
        if on_bytes:
            on_bytes(came, total - expected)
        expected = total

    try:
        fetched = resolver.fetch(source, progress, cancel)
        try:
            inspect_file(fetched.path)
        finally:
            resolver.release(fetched)
    except RenderError as error:
        return FetchResult(source, "failed", received, None, error)
    except Exception as error:
        unexpected = UnexpectedError(f"{source.text}: {type(error).__name__}: {error}")
        return FetchResult(source, "failed", received, None, unexpected)
    return FetchResult(source, "fetched" if received else "here", received, fetched)
