"""Patience with storage: a full disk, or a server that is away for a while, loses nothing."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Final

from ...errors import DiskFull, OutputNotWritable, RenderError, UnexpectedError
from .store import Store

__all__ = ["STORAGE_ERRORS", "StorageWatch"]

STORAGE_ERRORS: Final = (DiskFull, OutputNotWritable)
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 30.0
_MOST_NEEDED: Final = 1 << 30
"""Bytes of room that are waited for where nobody knows how much an asset takes."""
_SAID_AGAIN: Final = 60.0
_LAST_LOOK: Final = 2.0
"""Seconds that a look may still take when all else has ended."""


class StorageWatch:
    """Knows whether there is room, and how long there has been none.

    Args:
        patience: Seconds to wait for storage that fails or is full.
        min_free: Bytes that have to stay free; a hundredth of the disk, at most 1 GiB, otherwise.
        say: Tells people.

    Attributes:
        patience: As given.
        given_up: Set it to end all waiting.
    """

    def __init__(
        self, store: Store, patience: float, min_free: int | None, say: Callable[[str], None]
    ) -> None:
        self._store, self.patience, self._min_free, self._say = store, patience, min_free, say
        self._trouble: tuple[RenderError, float] | None = None
        self._said = ("", 0.0)
        self._needed = 0
        self._check: tuple[threading.Thread, list[RenderError | None], bool] | None = None
        self.given_up = threading.Event()

    @property
    def trouble(self) -> RenderError | None:
        """Why nothing new may begin, if so."""
        return self._trouble[0] if self._trouble else None

    def report(self, error: RenderError) -> None:
        """Something could not be written."""
        if self._trouble is not None:
            return
        now = time.monotonic()
        self._trouble = error, now
        if self._said[0] != error.reason or now - self._said[1] > _SAID_AGAIN:
            self._said = error.reason, now
            self._say(f"{error.message} Waiting up to {self.patience:g} s. {error.hint}".strip())

    def look(self) -> RenderError | None:
        """See how things are; returns why the run has to end, if it has waited long enough.

        Asking may take long where a server does not answer, so that a thread does it.
        """
        if self._check is None:
            found: list[RenderError | None] = []
            thread = threading.Thread(
                target=lambda: found.append(self._problem()), name="storage", daemon=True
            )
            thread.start()
            self._check = thread, found, self._trouble is not None
        thread, found, thorough = self._check
        thread.join(0.02)
        if thread.is_alive():
            if self._trouble and time.monotonic() - self._trouble[1] > self.patience:
                return self._trouble[0]
            return None
        self._check = None
        (error,) = found
        if self._trouble is None:
            if isinstance(error, DiskFull):
                self.report(error)
            return None
        since = time.monotonic() - self._trouble[1]
        if error is None:
            if not thorough:
                return None  # It was asked before the trouble began.
            self._trouble, self._needed = None, 0
            if since > 2:
                self._said = ("", 0.0)
                self._say("Storage is there again; going on.")
            return None
        return error if since > self.patience else None

    def close(self) -> None:
        """Wait a moment for a look that is on its way: what it writes, it also removes."""
        if self._check is not None:
            self._check[0].join(_LAST_LOOK)

    def is_well(self, error: RenderError, needed: int = 0) -> bool:
        """Whether something could not be written though the storage is as it should be.

        Args:
            needed: Bytes that what comes next takes, where that is known. A disk that was full
                has room again as soon as the part that filled it is gone.
        """
        if isinstance(error, DiskFull):
            self._needed = max(self._needed, needed or self._more_than_now())
        if self._trouble is None and (problem := self._problem(always=True)):
            self.report(problem if isinstance(error, DiskFull) else error)
        return self._trouble is None

    def _more_than_now(self) -> int:
        with contextlib.suppress(RenderError, OSError):
            return min(self._store.free()[0] + (1 << 20), _MOST_NEEDED)
        return 0

    def _problem(self, always: bool = False) -> RenderError | None:
        try:
            # A folder that vanished is made again by this.
            if self._trouble is not None or always:
                self._store.check()
            free, total = self._store.free()
            least = min(1 << 30, total // 100) if self._min_free is None else self._min_free
            if free < least:
                return DiskFull(
                    f"{self._store.address}: {free / 2**20:,.1f} MiB are free; "
                    f"{least / 2**20:,.1f} have to stay.",
                    hint="Make room, or allow less with --min-free.",
                )
            if free < self._needed:
                return DiskFull(
                    f"{self._store.address}: {free / 2**20:,.1f} MiB are free; the next assets "
                    f"need {self._needed / 2**20:,.1f}.",
                    hint="Make room.",
                )
        except RenderError as error:
            return error
        except Exception as error:
            return OutputNotWritable(f"{self._store.address}: {error}.")
        return None

    def insist(
        self, action: Callable[[], None], failing: Callable[[RenderError], None]
    ) -> RenderError | None:
        """In a thread: try until the storage takes it; returns why it did not in the end.

        Args:
            failing: Called with every failure.
        """
        wait, since = _FIRST_WAIT, time.monotonic()
        while True:
            try:
                action()
            except STORAGE_ERRORS as error:
                failing(error)
                if time.monotonic() - since > self.patience or self.given_up.wait(wait):
                    return error
                wait = min(2 * wait, _LONGEST_WAIT)
            except RenderError as error:
                return error
            except Exception as error:
                return UnexpectedError(f"Packing failed: {type(error).__name__}: {error}")
            else:
                return None
