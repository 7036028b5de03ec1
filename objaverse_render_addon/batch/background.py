"""A run in a thread, for a program that has to stay responsive: Blender's window.

The thread talks to the worker process; whoever owns the window calls :meth:`BackgroundRun.poll`
from a timer and gets what happened since. Nothing here touches ``bpy``.
"""

from __future__ import annotations

import queue
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..assets.resolve import Resolver
from ..errors import Interrupted, RenderError, UnexpectedError
from ..job import RenderJob
from .options import RunOptions
from .run import AssetResult, Event, Report, render

__all__ = ["BackgroundRun", "Ended", "Fetch"]

Outcome = Literal["finished", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class Ended:
    """The last thing that a run says.

    Attributes:
        error: Why nothing could be rendered at all, where that is so.
    """

    outcome: Outcome
    error: RenderError | None = None


@dataclass(slots=True)
class BackgroundRun:
    """One run of :func:`objaverse_render_addon.batch.run.render` beside the caller."""

    sources: list[str]
    job: RenderJob
    out: Path
    options: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    _folder: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(
            prefix="objaverse-previews-", ignore_cleanup_errors=True
        )
    )
    _cancel: threading.Event = field(default_factory=threading.Event)
    _events: queue.SimpleQueue[Event | AssetResult | Ended] = field(
        default_factory=queue.SimpleQueue
    )
    _thread: threading.Thread | None = None

    @property
    def previews(self) -> Path:
        """Folder of the views' PNGs; :meth:`close` removes it."""
        return Path(self._folder.name)

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="objaverse-render", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            report: Report = render(
                self.sources,
                self.job,
                self.out,
                RunOptions.of(**self.options, previews=self.previews),
                on_event=self._events.put,
                on_result=self._events.put,
                cancel=self._cancel,
            )
            del report
            self._events.put(Ended("finished"))
        except Interrupted:
            self._events.put(Ended("cancelled"))
        except RenderError as error:
            self._events.put(Ended("failed", error))
        except Exception as error:
            self._events.put(Ended("failed", UnexpectedError(f"{type(error).__name__}: {error}")))

    def poll(self) -> Iterable[Event | AssetResult | Ended]:
        """What happened since the last call, without waiting."""
        while True:
            try:
                yield self._events.get_nowait()
            except queue.Empty:
                return

    def cancel(self) -> None:
        """Ask it to stop; it ends with :class:`Ended`."""
        self._cancel.set()

    def stop(self) -> None:
        """Stop, and wait for the thread; the previews stay."""
        self.cancel()
        if self._thread is not None:
            self._thread.join(15)

    def close(self) -> None:
        """Stop, and remove the previews."""
        self.stop()
        self._folder.cleanup()


class Fetch(threading.Thread):
    """Fetches one asset beside the caller.

    Args:
        source: Anything but a path: an identifier or an address.
        options: Those of :func:`render` that are about downloads: ``download_dir``,
            ``endpoint``, ``online``.

    Attributes:
        path: The file, once the thread has ended without an error.
        status: What is going on, for people.
        share: Of the bytes, 0 to 1.
        cancel: Set it to stop.
    """

    def __init__(self, source: str, options: dict[str, Any]) -> None:
        super().__init__(name="objaverse-fetch", daemon=True)
        self._source = source
        # Never closed, and repositories are kept: what Blender imports has to stay.
        self._resolver = Resolver(
            options.get("download_dir"),
            options.get("endpoint"),
            online=bool(options.get("online", True)),
            save_repo_format="files",
        )
        self.cancel = threading.Event()
        self.path = Path()
        self.error: RenderError | None = None
        self.status, self.share = "Looking for the object", 0.0

    def run(self) -> None:
        """Fetch."""
        try:
            self.path = self._resolver.fetch(self._source, self._progress, self.cancel).path
        except RenderError as error:
            self.error = error
        except Exception as error:
            self.error = UnexpectedError(f"{type(error).__name__}: {error}")

    def _progress(self, have: int, total: int) -> None:
        self.share = have / total if total else 0.0
        of = f" of {total / 2**20:.1f}" if total else ""
        self.status = f"Fetching: {have / 2**20:.1f}{of} MiB"
