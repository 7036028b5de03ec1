"""A search beside the caller, for a window that has to stay responsive.

Threads open the catalogue (and make its index the first time), search, and fetch thumbnails;
whoever owns the window reads the attributes, which is quick, and calls :meth:`Browser.poll` from
a timer. Nothing here touches ``bpy``.
"""

from __future__ import annotations

import queue
import threading
from pathlib import Path
from typing import Any, Final

from ..errors import Interrupted, RenderError, UnexpectedError
from .catalogue import Catalogue, Query, SearchResult
from .entry import CatalogueEntry
from .thumbnails import Thumbnails

__all__ = ["Browser"]

_FETCHERS: Final = 4
_STAGES: Final = {"annotations": "Reading annotations", "index": "Writing the index"}


class Browser:
    """Searches one cache's catalogue; a new search takes the place of the one before.

    Args:
        options: Those of :func:`~objaverse_render_addon.batch.run.render` that are about
            downloads: ``download_dir``, ``endpoint``, ``online``.

    Attributes:
        status: What is going on, for people; empty when nothing is.
        share: Of it, 0 to 1; 0 where that cannot be said.
        entries: What the last search found.
        total: How many there are of it; ``None`` before the first search.
        error: Why the last search failed.
        notice: What is not in the index, for people.
        categories: Names of the LVIS categories, once the catalogue is open.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        folder = options.get("download_dir")
        self._folder = Path(folder).expanduser() if folder else None
        self._endpoint = options.get("endpoint")
        self._online = bool(options.get("online", True))
        self._thumbnails = Thumbnails(self._folder, online=self._online)
        self._catalogue: Catalogue | None = None
        self._guard = threading.Lock()
        self._wanted: Query | None = None
        self._thread: threading.Thread | None = None
        self._cancel = threading.Event()
        self._round = 0
        self._pending: queue.SimpleQueue[tuple[int, CatalogueEntry]] = queue.SimpleQueue()
        self._pictures: queue.SimpleQueue[tuple[str, Path]] = queue.SimpleQueue()
        self._fetchers: list[threading.Thread] = []
        self._fetching = 0
        self.status, self.share = "", 0.0
        self.entries: list[CatalogueEntry] = []
        self.total: int | None = None
        self.error: RenderError | None = None
        self.notice = ""
        self.categories: list[str] = []

    @property
    def is_open(self) -> bool:
        """Whether the catalogue is open, so that a search is a matter of milliseconds."""
        return self._catalogue is not None

    @property
    def busy(self) -> bool:
        """Whether anything is going on that :meth:`poll` will have something of."""
        return self.searching or self._fetching > 0 or not self._pictures.empty()

    @property
    def searching(self) -> bool:
        """Whether a search, or the making of the index, is going on."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def search(self, query: Query) -> None:
        """Search; results appear in the attributes."""
        with self._guard:
            self._wanted = query
            self._cancel.clear()
            if self._thread is None or not self._thread.is_alive():
                self.status, self.share = "Searching", 0.0
                self._thread = threading.Thread(
                    target=self._work, name="objaverse-search", daemon=True
                )
                self._thread.start()

    def wait(self) -> None:
        """Wait for the search, though not for thumbnails."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def cancel(self) -> None:
        """Stop what is going on; annotation files that were fetched stay."""
        with self._guard:
            self._wanted = None
            self._round += 1
        self._cancel.set()

    def close(self) -> None:
        """Stop, and end the threads."""
        self.cancel()
        thread = self._thread
        if thread is not None:
            thread.join(5)
        for fetcher in self._fetchers:
            fetcher.join(1)
        if self._catalogue is not None:
            self._catalogue.close()
            self._catalogue = None

    def poll(self) -> list[tuple[str, Path]]:
        """UIDs and files of the thumbnails that came since the last call, without waiting."""
        found = []
        while True:
            try:
                found.append(self._pictures.get_nowait())
            except queue.Empty:
                return found

    # --- The threads

    def _work(self) -> None:
        while True:
            with self._guard:
                query, self._wanted = self._wanted, None
                if query is None:
                    # Under the guard: whoever searches now starts another thread.
                    self.status, self.share = "", 0.0
                    self._thread = None
                    return
                self._round += 1
                number = self._round
            try:
                found = self._searched(query)
            except Interrupted:
                continue
            except RenderError as error:
                self.error, self.entries, self.total = error, [], None
                continue
            except Exception as error:
                self.error = UnexpectedError(f"{type(error).__name__}: {error}")
                continue
            if number != self._round:
                continue
            self.error, self.entries, self.total = None, found.entries, found.total
            self._fetch_pictures(number)

    def _searched(self, query: Query) -> SearchResult:
        if self._catalogue is None:
            catalogue = Catalogue.ready(
                self._folder, self._endpoint, online=self._online,
                on_progress=self._progress, cancel=self._cancel,
            )  # fmt: skip
            self.categories = list(catalogue.lvis_categories())
            missing = sum(name.startswith("metadata/") for name in catalogue.problems)
            self.notice = (
                f"{missing} of 160 annotation files are not here: {catalogue.objects} objects"
                if missing
                else ""
            )
            self._catalogue = catalogue
        self.status, self.share = "Searching", 0.0
        return self._catalogue.search(query, count=True)

    def _progress(self, stage: str, done: int, total: int) -> None:
        self.status = f"{_STAGES[stage]}: {done} of {total}"
        # Reading takes about two thirds of the time.
        share = done / max(total, 1)
        self.share = 0.7 * share if stage == "annotations" else 0.7 + 0.3 * share

    def _fetch_pictures(self, number: int) -> None:
        missing = []
        for entry in self.entries:
            path = self._thumbnails.cached(entry.uid)
            if path is not None:
                self._pictures.put((entry.uid, path))
            elif self._online and entry.thumbnail:
                missing.append(entry)
        with self._guard:
            self._fetching += len(missing)
            for entry in missing:
                self._pending.put((number, entry))
            self._fetchers = [thread for thread in self._fetchers if thread.is_alive()]
            for _ in range(min(len(missing), _FETCHERS) - len(self._fetchers)):
                thread = threading.Thread(
                    target=self._fetch, name="objaverse-thumbnails", daemon=True
                )
                self._fetchers.append(thread)
                thread.start()

    def _fetch(self) -> None:
        while True:
            with self._guard:
                try:
                    number, entry = self._pending.get_nowait()
                except queue.Empty:
                    self._fetchers.remove(threading.current_thread())
                    return
            try:
                if number == self._round:
                    path = self._thumbnails.fetch(entry, self._cancel)
                    self._pictures.put((entry.uid, path))
            except RenderError:
                # A picture that is missing is seen to be missing.
                pass
            finally:
                with self._guard:
                    self._fetching -= 1
