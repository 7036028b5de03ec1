"""The assets of an output folder, one by one, as its ledgers tell them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import RenderError
from .queue.ledger import Ledger
from .queue.ledger_file import named
from .queue.rows import FAILED
from .status import ledgers

__all__ = ["Line", "has_ledger", "lines_of"]

_STATES: Final = {"done": "done", **dict.fromkeys(FAILED, "failed")}


@dataclass(frozen=True, slots=True)
class Line:
    """What became of an asset.

    Attributes:
        state: ``done``, ``failed`` or ``waiting``.
        path: The finished archive or folder, or the shard that holds it; ``None`` where there is
            none any more.
        error: Why it failed, with the way out.
    """

    source: str
    asset_id: str
    state: str
    path: Path | None = None
    views: int = 0
    error: RenderError | None = None


def has_ledger(out: Path) -> bool:
    """Whether something was ever rendered into a folder."""
    return (out / ".state" / "ledger.sqlite").is_file()


def lines_of(out: Path, limit: int) -> tuple[list[Line], int]:
    """The first assets of a folder's ledgers, and how many there are in all.

    Raises:
        SourceNotFound: There is no ledger.
        LedgerDamaged, OutputNotWritable: It cannot be read.
    """
    found: list[Line] = []
    total = 0
    for path in ledgers(out):
        with named(path), Ledger(path, read_only=True) as ledger:
            total += sum(ledger.counts().values())
            rows = ledger.assets(limit=limit - len(found)) if len(found) < limit else ()
            found += [_line(out, row) for row in rows]
    return found, total


def _line(out: Path, row: dict[str, Any]) -> Line:
    state = _STATES.get(row["state"], "waiting")
    error = None
    if state == "failed":
        error = RenderError(row["message"] or row["reason"] or "", hint=row["hint"] or "")
    where = None
    if state == "done" and row["path"]:
        # A folder that was moved takes its assets along.
        recorded = Path(row["path"])
        here = out / recorded.name
        where = next((path for path in (here, recorded) if path.exists()), None)
    return Line(row["source"], row["asset_id"] or "", state, where, row["views"] or 0, error)
