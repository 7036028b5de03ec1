"""Work in a thread, for a program that has to stay responsive: Blender's window.

Whoever owns the window looks at a job's attributes, calls :meth:`BackgroundJob.poll` from a timer
and gets what happened since. Nothing here touches ``bpy``.
"""

from __future__ import annotations

import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..assets.resolve import Resolver
from ..errors import Interrupted, RenderError, UnexpectedError
from ..job import RenderJob
from .lanes.local import Lane
from .options import RunOptions
from .run import Report, render

__all__ = ["BackgroundJob", "BackgroundRun", "Fetch"]


class BackgroundJob(threading.Thread):
    """Something that takes a while; subclasses say what, in :meth:`work`.

    Attributes:
        status: What is going on, for people.
        share: Of it, 0 to 1.
        error: Why it failed; :class:`~objaverse_render_addon.errors.Interrupted` where it was
            cancelled. Not final while :attr:`busy`.
        cancelled: Set by :meth:`cancel`; the work looks at it.
    """

    def __init__(self, name: str, status: str = "") -> None:
        super().__init__(name=f"objaverse-{name}", daemon=True)
        self.status, self.share = status, 0.0
        self.error: RenderError | None = None
        self.cancelled = threading.Event()
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def work(self) -> None:
        """Do it, in the thread; any error ends it."""
        raise NotImplementedError

    def run(self) -> None:
        """Work, and keep the error."""
        try:
            self.work()
        except RenderError as error:
            self.error = error
        except Exception as error:
            self.error = UnexpectedError(f"{type(error).__name__}: {error}")

    @property
    def busy(self) -> bool:
        """Whether :meth:`poll` may have more to say."""
        return self.is_alive() or not self._events.empty()

    def poll(self) -> Iterator[Any]:
        """What happened since the last call, without waiting."""
        while True:
            try:
                yield self._events.get_nowait()
            except queue.Empty:
                return

    def cancel(self) -> None:
        """Ask it to stop; ``error`` then says that it did."""
        self.cancelled.set()

    def close(self) -> None:
        """Stop, and wait for the thread."""
        self.cancel()
        if self.is_alive():
            self.join(15)


class BackgroundRun(BackgroundJob):
    """One run of :func:`objaverse_render_addon.batch.run.render` beside the caller.

    :meth:`poll` gives the run's events and each asset's result, as :func:`render` tells them.

    Attributes:
        options: For :meth:`.RunOptions.of`; may be changed until it starts.
        sources: What is rendered; may be changed until it starts.
        lanes: Where, for :func:`render`; this machine otherwise.
        previews: Folder of the views' PNGs; :meth:`discard` removes it.
        began: When it was made, by :func:`time.monotonic`.
        report: What became of each asset, once it has ended without an error.
    """

    def __init__(
        self, sources: list[str], job: RenderJob, out: Path, options: dict[str, Any] | None = None
    ) -> None:
        super().__init__("render", "Starting Blender")
        self.sources, self.job, self.out = sources, job, out
        self.options = options or {}
        self.lanes: Callable[[int], Sequence[tuple[str, Lane]]] | None = None
        self.began = time.monotonic()
        self.report = Report()
        self._folder = tempfile.TemporaryDirectory(
            prefix="objaverse-previews-", ignore_cleanup_errors=True
        )
        self.previews = Path(self._folder.name)

    def work(self) -> None:
        """Render."""
        self.report = render(
            self.sources,
            self.job,
            self.out,
            RunOptions.of(**self.options, previews=self.previews),
            on_event=self._events.put,
            on_result=self._events.put,
            cancel=self.cancelled,
            lanes=self.lanes,
        )

    def discard(self) -> None:
        """Stop, and remove the previews."""
        self.close()
        self._folder.cleanup()


class Fetch(BackgroundJob):
    """Fetches one asset beside the caller.

    Args:
        source: Anything but a path: an identifier or an address.
        options: Those of :func:`render` that are about downloads: ``download_dir``,
            ``endpoint``, ``online``.

    Attributes:
        path: The file, once it has ended without an error.
        share: Of the bytes, 0 to 1.
    """

    def __init__(self, source: str, options: dict[str, Any]) -> None:
        super().__init__("fetch", "Looking for the object")
        self._source = source
        # Never closed, and repositories are kept: what Blender imports has to stay.
        self._resolver = Resolver(
            options.get("download_dir"),
            options.get("endpoint"),
            online=bool(options.get("online", True)),
            save_repo_format="files",
        )
        self.path = Path()

    def work(self) -> None:
        """Fetch."""
        self.path = self._resolver.fetch(self._source, self._progress, self.cancelled).path
        if self.cancelled.is_set():
            raise Interrupted("Cancelled.")

    def _progress(self, have: int, total: int) -> None:
        self.share = have / total if total else 0.0
        of = f" of {total / 2**20:.1f}" if total else ""
        self.status = f"Fetching: {have / 2**20:.1f}{of} MiB"
