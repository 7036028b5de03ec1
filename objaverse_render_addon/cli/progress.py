"""How a run is shown: to people, or to machines."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from ..batch.results import KEPT_RESULTS
from ..words import how_many, one_line, redacted
from .common import complain, new_bar
from .terminal import clear_line, say, say_json, warn

__all__ = ["JsonProgress", "TerminalProgress"]

_SILENCE: Final = 10.0
"""Seconds of silence after which a log, or a pipe, is told how things stand."""


class JsonProgress:
    """Every event as one JSON object a line, for machines."""

    def __enter__(self) -> JsonProgress:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, counts: dict[str, int]) -> None:
        """The list was read."""
        say_json({"kind": "start", **counts})

    def event(self, event: Any) -> None:
        """Of a worker, as it comes."""
        from ..batch.results import as_json

        if event.kind not in ("done", "failed"):
            say_json(as_json(event))

    def result(self, result: Any) -> None:
        """An asset ended."""
        error = result.error
        say_json(
            {
                "kind": "result",
                "source": redacted(result.source),
                "asset_id": result.asset_id,
                "status": result.status,
                "path": str(result.path) if result.path and result.status != "failed" else None,
                "views": result.views,
                "warnings": result.warnings,
                "doubts": result.doubts,
                "seconds": result.seconds,
                "reason": error.reason if error else None,
                "error": error.message if error else None,
                "hint": error.hint if error else None,
                "log": error.log if error else None,
            }
        )

    def summary(self, report: Any) -> None:
        """The run ended."""
        counts = {name: report.counts[name] for name in ("done", "skipped", "failed")}
        say_json({"kind": "summary", **counts})


class TerminalProgress:
    """A bar with speed and time left, and a line per asset, for people.

    Where no terminal shows the bar, a line now and then tells the same.
    """

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._shown = not quiet and sys.stderr.isatty()
        self._to_do = self._earlier = self._failed = self._views = 0
        self._bar: Any = None
        self._ended = 0
        self._doing = ""
        self._since = self._spoke = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="progress", daemon=True)

    def __enter__(self) -> TerminalProgress:
        if not self._quiet and not self._shown:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._close()

    def _tell(self) -> None:
        while not self._over.wait(max(0.0, self._spoke + _SILENCE - time.monotonic())):
            if time.monotonic() - self._spoke < _SILENCE:
                continue
            self._spoke = time.monotonic()
            if self._doing:
                seconds = self._spoke - self._since
                warn(f"{seconds:.0f} s: {self._state(seconds)}")

    def _state(self, seconds: float) -> str:
        if self._to_do <= 1:
            return self._doing
        done = f"{self._ended} of {how_many(self._to_do, 'asset')}, {self._failed} failed"
        return f"{done}, {self._views / max(1e-3, seconds):.1f} views/s; {self._doing}"

    def start(self, counts: dict[str, int]) -> None:
        """The list was read: from here on it is rendered."""
        self._to_do = counts["waiting"]
        self._earlier = min(sum(counts.values()) - self._to_do, KEPT_RESULTS)
        self._since = time.monotonic()
        self._doing = "starting Blender" if self._to_do else ""

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def event(self, event: Any) -> None:
        """Of a worker, as it comes."""
        if event.kind == "notice":
            self._line(warn, event.text)
            return
        if event.kind == "frame-done":
            self._views += 1
            done = f"{event.index + 1} of {how_many(event.total, 'view')}"
            self._doing = f"{event.asset_id}: {done}"
        elif event.kind == "stage":
            self._doing = f"{event.asset_id}: {event.name}"
        if not self._shown:
            return
        alone = self._to_do == 1
        if alone and event.kind == "stage" and event.name != "render":
            clear_line()
            warn(f"{event.asset_id}: {event.name} …", end="")
        elif event.kind == "frame-done" or (event.kind == "stage" and not alone):
            if self._bar is None:
                total = event.total if alone else self._to_do
                clear_line()
                title = one_line(event.asset_id[:40]) if alone else None
                self._bar = new_bar(total, desc=title, unit=" views" if alone else " assets")
            if self._bar is not None and alone:
                self._bar.update()
            elif self._bar is not None:
                rate = self._views / max(1e-3, time.monotonic() - self._since)
                self._bar.set_postfix_str(f"{rate:.1f} views/s, {self._failed} failed")

    def result(self, result: Any) -> None:
        """An asset ended."""
        self._spoke = time.monotonic()
        if self._earlier and self._to_do and result.status != "done":
            self._earlier -= 1
            self._ended -= 1
        elif self._bar is not None and self._to_do > 1:
            self._bar.update()
        self._ended += 1
        if self._to_do <= 1:
            self._close()
        if result.status == "failed":
            self._failed += 1
            self._clear()
            complain(result.error, f"failed [{result.error.reason}]")
        if self._quiet or result.status == "failed":
            return
        if result.status == "skipped":
            if self._to_do + self._earlier < 100:
                self._line(say, f"skipped {_where(result)} (whole already)")
            return
        seconds = result.seconds.get("total", 0.0)
        rate = result.views / seconds if seconds else 0.0
        views = how_many(result.views, "view")
        lines = [f"done    {_where(result)}: {views}, {seconds:.1f} s ({rate:.1f} views/s)"]
        lines += [f"        warning: {warning}" for warning in result.warnings]
        lines += [
            f"        doubt: {name} in {count} of {views}"
            for name, count in sorted(result.doubts.items())
        ]
        self._line(say, *lines)

    def _clear(self) -> None:
        if self._bar is not None:
            self._bar.clear()
        elif sys.stderr.isatty():
            clear_line()

    def _line(self, tell: Callable[[str], None], *lines: str) -> None:
        self._clear()
        for line in lines:
            tell(line)
        if self._bar is not None:
            self._bar.refresh()

    def summary(self, report: Any) -> None:
        """The run ended."""
        counts = report.counts
        if not sum(counts.values()) and not self._quiet:
            say("no assets: the sources name none, or none that this run was asked for")
        if self._quiet or sum(counts.values()) < 2:
            return
        names = [name for name in ("done", "skipped", "failed") if counts[name]]
        say(", ".join(f"{counts[name]} {name}" for name in names))


def _where(result: Any) -> str:
    """Path of a finished asset; of one in a shard, with its name."""
    where = str(result.path)
    name = where.replace("\\", "/").rpartition("/")[2]
    packed = name.endswith(".tar") and name != f"{result.asset_id}.tar"
    return f"{where}/{result.asset_id}" if packed else where
