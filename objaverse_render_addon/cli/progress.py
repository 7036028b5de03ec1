"""How a run is shown: to people, or to machines."""

from __future__ import annotations

import json
import sys
from typing import Any

from .common import complain

__all__ = ["JsonProgress", "Progress"]


class JsonProgress:
    """Every event as one JSON object a line, for machines."""

    def __enter__(self) -> JsonProgress:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def event(self, event: Any) -> None:
        """Of a worker, as it comes."""
        from ..messages import encode

        if event.kind not in ("done", "failed"):
            print(encode(event), flush=True)

    def result(self, result: Any) -> None:
        """An asset ended."""
        error = result.error
        print(
            json.dumps(
                {
                    "kind": "result",
                    "source": result.source,
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
            ),
            flush=True,
        )

    def summary(self, report: Any) -> None:
        """The run ended."""
        counts = dict.fromkeys(("done", "skipped", "failed"), 0)
        for result in report.results:
            counts[result.status] += 1
        print(json.dumps({"kind": "summary", **counts}), flush=True)


class Progress:
    """A bar with views per second and time left, and a line per asset, for people."""

    def __init__(self, assets: int, quiet: bool) -> None:
        self._assets, self._quiet = assets, quiet
        self._ended = 0
        self._bar: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def event(self, event: Any) -> None:
        """Of a worker, as it comes."""
        if self._quiet or not sys.stderr.isatty():
            return
        if event.kind == "stage" and event.name != "render":
            print(f"\r\033[K{event.asset_id}: {event.name} …", end="", file=sys.stderr, flush=True)
        elif event.kind == "frame-done":
            if self._bar is None:
                self._bar = self._new_bar(event.asset_id, event.total)
            if self._bar is not None:
                self._bar.update()

    def _new_bar(self, asset_id: str, total: int) -> Any:
        try:
            from tqdm import tqdm
        except ImportError:  # Inside an installed Blender.
            return None
        print("\r\033[K", end="", file=sys.stderr)
        title = f"[{self._ended + 1}/{self._assets}] {asset_id[:32]}"
        return tqdm(total=total, desc=title, unit="view", leave=False, file=sys.stderr)

    def result(self, result: Any) -> None:
        """An asset ended."""
        self._close()
        self._ended += 1
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        if result.error is not None:
            complain(result.error, f"failed [{result.error.reason}]")
        if self._quiet or result.status == "failed":
            return
        if result.status == "skipped":
            print(f"skipped {result.path} (whole already)")
            return
        seconds = result.seconds.get("total", 0.0)
        rate = result.views / seconds if seconds else 0.0
        print(f"done    {result.path}: {result.views} views, {seconds:.1f} s ({rate:.1f} views/s)")
        for warning in result.warnings:
            print(f"        warning: {warning}")
        for name, count in sorted(result.doubts.items()):
            print(f"        doubt: {name} in {count} of {result.views} views")

    def summary(self, report: Any) -> None:
        """The run ended."""
        if self._quiet or len(report.results) < 2:
            return
        counts: dict[str, int] = {}
        for result in report.results:
            counts[result.status] = counts.get(result.status, 0) + 1
        print(", ".join(f"{count} {status}" for status, count in counts.items()))
