"""What a run tells: events while it works, and what became of every asset."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeAlias

from ..errors import RenderError, exit_code_of
from ..worker.protocol import Done, Failed, FrameDone, Stage

__all__ = ["KEPT_RESULTS", "AssetResult", "Event", "Notice", "Report", "as_json"]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people should know of a run."""

    kind: ClassVar[str] = "notice"
    text: str


Event: TypeAlias = Stage | FrameDone | Done | Failed | Notice
KEPT_RESULTS: Final = 100_000
"""Results that a report keeps one by one."""


def as_json(event: Event) -> dict[str, Any]:
    """An event as ``--json`` prints it: its fields, and its ``kind``."""
    return {"kind": event.kind, **asdict(event)}


@dataclass(slots=True)
class AssetResult:
    """What became of one asset.

    Attributes:
        status: ``done``, ``skipped`` (it was there already) or ``failed``.
        path: The finished archive or folder, or the shard that holds it; a string where the
            output is a URL.
        doubts: Check name to number of views that it raised a doubt about.
        seconds: Per stage, and ``total``.
        sheet: Path of a contact sheet, where previews were asked for.
    """

    source: str
    asset_id: str
    status: Literal["done", "skipped", "failed"]
    path: Path | str | None = None
    error: RenderError | None = None
    views: int = 0
    warnings: list[str] = field(default_factory=list)
    doubts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    sheet: str = ""


@dataclass(slots=True)
class Report:
    """What became of a run.

    Attributes:
        results: One per source, in their order; of very long lists the first of them that ended.
            The ledger has them all.
        counts: Number of assets by ``status``.
    """

    results: list[AssetResult] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    exit_codes: set[int] = field(default_factory=set)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.counts["failed"]

    @property
    def failed(self) -> list[AssetResult]:
        """The results that failed."""
        return [result for result in self.results if result.status == "failed"]

    @property
    def exit_code(self) -> int:
        """0, the code of the one kind of failure there was, or 3 for several kinds."""
        return exit_code_of(self.exit_codes)

    def add(self, result: AssetResult, count: int = 1) -> None:
        """Take a result in."""
        self.counts[result.status] += count
        if result.error is not None:
            self.exit_codes.add(result.error.exit_code)
        if len(self.results) < KEPT_RESULTS:
            self.results.append(result)
