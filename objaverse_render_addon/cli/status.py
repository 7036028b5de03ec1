"""``objaverse-render status``."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import DuplicateAsset
from ..words import how_many, redacted, short_list
from .common import reason, reason_or_all
from .terminal import clear_screen, say, show, show_json, warn

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render status data                      how far it is, and what failed
  objaverse-render status data --watch              the same, every few seconds
  objaverse-render status data --failed             each failed asset, with cause and way out
  objaverse-render status data --failed --reason worker-crashed --log
  objaverse-render status data --retry timeout      try these again in the next run
  objaverse-render status data --csv logs           the logs of the Objaverse-XL scripts
  objaverse-render status s3://bucket/data          of an output that is a URL
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "status",
        help="say how far a run is, and what failed",
        description="Read the ledger of an output: live, while it is rendered, and afterwards.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", metavar="DIR_OR_URL", help="what --out named")
    parser.add_argument("--state", type=Path, metavar="DIR", help="where the ledger lies instead")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--watch", action="store_true", help="show it again and again")
    parser.add_argument("--failed", action="store_true", help="list the failed assets")
    parser.add_argument(
        "--reason", action="append", type=reason, default=[], metavar="REASON",
        help="only failures of this kind; may be repeated",
    )  # fmt: skip
    parser.add_argument("--log", action="store_true", help="with the workers' last words")
    parser.add_argument(
        "--retry", action="append", type=reason_or_all, default=[], metavar="REASON",
        help="let the next run try failures of this kind again, or all; may be repeated",
    )  # fmt: skip
    parser.add_argument("--csv", type=Path, metavar="DIR", help="write the lists as CSV files")
    parser.set_defaults(run=_status)


def _status(options: argparse.Namespace) -> int:
    from ..batch.status import export_csv, failures, ledgers, read_status

    paths = ledgers(options.out, options.state)
    if options.retry:
        return _retry(paths, options)
    if options.csv:
        for path, count in export_csv(paths, options.csv):
            say(f"{path}: {how_many(count, 'row')}")
        return 0
    if options.failed:
        for row in failures(paths, options.reason):
            _show_failure(row, options)
        return 0
    while True:
        status = read_status(paths)
        if options.json:
            facts = asdict(status)
            facts |= {
                "total": status.total,
                "ended": status.ended,
                "yield": status.yielded,
                "seconds_left": status.seconds_left,
            }
            show_json(facts)
        else:
            if options.watch:
                clear_screen()
            for line in _describe(status):
                show(line)
        if not options.watch or status.ended == status.total:
            return 0
        time.sleep(3)


def _retry(paths: list[Path], options: argparse.Namespace) -> int:
    from ..batch.lock import Lock
    from ..batch.queue.ledger import Ledger
    from ..batch.queue.ledger_file import named

    count, failed = 0, Counter[str]()
    for path in paths:
        lock = Lock(path.parent, options.out)
        try:
            with named(path), Ledger(path) as ledger:
                count += ledger.retry(None if "all" in options.retry else options.retry)
                failed.update(ledger.failures_by("reason"))
        finally:
            lock.release()
    say(f"waiting for the next run: {how_many(count, 'asset')}")
    twice = failed[DuplicateAsset.reason]
    if twice and {"all", DuplicateAsset.reason} & {*options.retry}:
        warn(
            f"  {how_many(twice, 'duplicate')} cannot be tried again: another asset of the list "
            "has the name, or is the same."
        )
        warn("  → In the list, give each another --id."
        )
    elif not count:
        others = ", ".join(f"{name} {number}" for name, number in failed.most_common())
        warn(f"  no asset failed so; what failed: {others or 'none'}")
    return 0


def _show_failure(row: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        show_json({**row, "source": redacted(row["source"])})
        return
    show(f"{redacted(row['source'])} [{row['reason']}] {row['message']}")
    if row["hint"]:
        show(f"  → {row['hint']}")
    if options.log and row["log"]:
        for line in row["log"].splitlines():
            show(f"    {line}")


def _describe(status: Any) -> list[str]:
    from ..batch.status import is_alive

    counts = status.counts
    lines = [
        f"{how_many(status.total, 'asset')}: "
        + ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    ]
    if status.ended:
        lines.append(
            f"{status.ended / status.total:.1%} ended, {status.yielded:.1%} of these are done"
        )
    there, parts = status.parts
    if len(status.splits) > 1:
        splits = ", ".join(map(str, status.splits))
        lines.append(
            f"the list was split in different ways ({splits} parts), and an asset counts once for "
            "each: move the ledgers of one away"
        )
    elif status.missing:
        lines.append(
            f"merged from the ledgers of {there} of {parts} parts, still without "
            f"{short_list(status.missing)}"
        )
    elif parts > 1:
        lines.append(f"ledgers of {there} of {parts} parts are here, not merged yet")
    alive = [run for run in status.runs if is_alive(run)]
    for run in alive:
        lines.append(
            f"process {run.pid} on {run.host}: {how_many(run.workers, 'worker')}, "
            f"{run.done} done and {run.failed} failed in {_duration(run.elapsed)}"
        )
        if run.note:
            lines.append(f"  waiting: {run.note}")
    if status.seconds_left is not None:
        lines.append(
            f"{status.rate * 3600:.0f} assets an hour, {_duration(status.seconds_left)} left"
        )
    if status.staged and not alive:
        lines.append(
            f"{how_many(status.staged, 'asset')} rendered, but not yet where they belong: the next "
            "run sees to that"
        )
    over = Counter(
        {"": "was killed", "interrupted": "was interrupted"}.get(run.ended or "", run.ended)
        for run in status.runs
        if run not in alive
    )
    if not alive and len(status.runs) == 1:
        lines.append(f"nobody is at work; the last run {next(iter(over))}")
    elif over:
        how = ", ".join(f"{count} {how}" for how, count in over.most_common())
        lines.append(f"{'of the others' if alive else 'nobody is at work; of the parts'} {how}")
    for title, found in (("reason", status.reasons), ("kind of file", status.file_types)):
        if found:
            lines.append(f"failures by {title}:")
            lines += [f"  {count:8d}  {name}" for name, count in found.items()]
    return lines


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
