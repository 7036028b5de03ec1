"""What the ledgers of an output say: how far it is, what failed, and the lists of both."""

from __future__ import annotations

import csv
import os
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..errors import SourceNotFound
from ..files import replacing
from ..words import one_line, redacted
from .output.store import state_folder
from .queue.ledger import Ledger
from .queue.ledger_file import named
from .queue.rows import FAILED, STATES, Run

__all__ = ["Status", "export_csv", "failure_counts", "failures", "ledgers", "read_status"]

_MOST_PARTS: Final = 1_000_000
_QUIET: Final = 30.0
"""Seconds without a sign of life after which a run is taken for dead."""


def ledgers(out: str | Path, state: Path | None = None) -> list[Path]:
    """Ledgers of an output: its own, or those of its parts that were not merged yet.

    Raises:
        SourceNotFound: There is none.
    """
    folder = state or state_folder(out)
    whole = folder / "ledger.sqlite"
    parts = sorted(folder.glob("ledger-*-of-*.sqlite"))
    if whole.exists():
        return [whole] if _has_all(whole, parts) else parts
    if not parts:
        raise SourceNotFound(
            f"There is no ledger of {out} in {folder}.",
            hint="Give the folder or URL that --out named, and --state if that was given.",
        )
    return parts


def _has_all(whole: Path, parts: Sequence[Path]) -> bool:
    """Whether nothing happened to any part since it was merged."""
    with named(whole), Ledger(whole, read_only=True) as ledger:
        known = {(run.host, run.pid, run.started): run for run in ledger.runs()}
    for part in parts:
        with named(part), Ledger(part, read_only=True) as ledger:
            last = ledger.last_run()
        if last is not None:
            merged = known.get((last.host, last.pid, last.started))
            if merged is None or (merged.elapsed, merged.ended) != (last.elapsed, last.ended):
                return False
    return True


@dataclass(slots=True)
class Status:
    """How far an output is.

    Attributes:
        counts: State to number of assets.
        reasons: Kind of failure to number of assets, most frequent first.
        file_types: The same by kind of file.
        runs: The newest run of each ledger.
        rate: Assets a second that the runs at work end; 0 if none is at work.
        parts: Number of ledgers read or merged, and of how many parts the list has.
        missing: Parts of the list that a merged ledger knows nothing of.
        splits: Numbers of parts that the list was split into; more than one is a mistake, and then
            an asset counts once for each.
        staged: Assets that are rendered, and that a run has still to bring where they belong.
    """

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    reasons: dict[str, int] = field(default_factory=dict)
    file_types: dict[str, int] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    rate: float = 0.0
    parts: tuple[int, int] = (1, 1)
    missing: list[int] = field(default_factory=list)
    splits: list[int] = field(default_factory=list)
    staged: int = 0

    @property
    def total(self) -> int:
        """Assets in all."""
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        """Assets that need no work any more."""
        return self.counts["done"] + sum(self.counts[name] for name in FAILED)

    @property
    def yielded(self) -> float:
        """Share of the ended assets that are done."""
        return self.counts["done"] / self.ended if self.ended else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; ``None`` while nothing is at work."""
        return (self.total - self.ended) / self.rate if self.rate else None


def is_alive(run: Run) -> bool:
    """Whether a run is at work, as far as can be seen from here."""
    if run.host == socket.gethostname() and hasattr(os, "getuid"):
        # On this machine there is no need to guess.
        try:
            os.kill(run.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # It is somebody else's.
    return not run.ended and abs(time.time() - run.seen) < _QUIET


def read_status(paths: Sequence[Path]) -> Status:
    """Add up what ledgers say, also while runs write them."""
    status = Status()
    reasons, file_types = Counter[str](), Counter[str]()
    splits = set[int]()
    merged = 0, set[int]()
    for path in paths:
        with named(path), Ledger(path, read_only=True) as ledger:
            for name, count in ledger.counts().items():
                status.counts[name] += count
            reasons.update(ledger.failures_by("reason"))
            file_types.update(ledger.failures_by("file_type"))
            run = ledger.last_run()
            merged = ledger.merged()
        if match := re.search(r"-of-(\d+)\.sqlite$", path.name):
            splits.add(int(match.group(1)))
        if run is not None:
            status.runs.append(run)
            if is_alive(run) and run.elapsed:
                status.rate += (run.done + run.failed) / run.elapsed
    status.reasons, status.file_types = dict(reasons.most_common()), dict(file_types.most_common())
    status.parts = len(paths), max(1, len(paths), *splits)
    of, known = merged
    if len(paths) == 1 and 0 < of <= _MOST_PARTS:
        status.missing = sorted(set(range(of)) - known)
        if status.missing:
            status.parts = len(known), of
    status.splits = sorted(splits)
    for folder in {path.parent for path in paths}:
        for pattern in ("staging/[!.]*", "part-*/staging/[!.]*"):
            status.staged += sum(1 for _ in folder.glob(pattern))
    return status


def failure_counts(out: Path) -> Counter[str]:
    """Reason to number of assets that a local folder has not, for they failed."""
    path = out / ".state" / "ledger.sqlite"
    if not path.is_file():
        return Counter()
    with named(path), Ledger(path, read_only=True) as ledger:
        return Counter(ledger.failures_by("reason"))


def failures(
    paths: Sequence[Path], reasons: Sequence[str] = (), limit: int = -1
) -> Iterator[dict[str, Any]]:
    """The failed assets, with reason, message, hint and log."""
    for path in paths:
        with named(path), Ledger(path, read_only=True) as ledger:
            yield from ledger.assets(FAILED, reasons=reasons, limit=limit)


def export_csv(paths: Sequence[Path], folder: Path) -> list[tuple[Path, int]]:
    """Write the logs of the Objaverse-XL scripts: what was rendered, and what failed.

    ``handle-found-object-successful.csv`` and ``handle-found-object-failed.csv`` have no header
    and the columns time (Unix), file identifier, SHA-256; the second has the reason and the
    message as well.

    Returns:
        The files, and their numbers of rows.
    """
    written = []
    for name, states in (("successful", ("done",)), ("failed", FAILED)):
        target = folder / f"handle-found-object-{name}.csv"
        count = 0
        with (
            replacing(target) as part,
            part.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            for path in paths:
                with named(path), Ledger(path, read_only=True) as ledger:
                    for row in ledger.assets(states):
                        values = [row["updated"], redacted(row["source"]), row["sha256"] or ""]
                        if name == "failed":
                            values += [row["reason"], _cell(row["message"] or "")]
                        writer.writerow([one_line(str(value)) for value in values])
                        count += 1
        written.append((target, count))
    return written


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
