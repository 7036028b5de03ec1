"""``objaverse-render merge``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..words import how_many, short_list
from .terminal import say

__all__ = ["add"]

_EXAMPLES = """\
examples:
  # on each machine, or as an array of jobs, I from 0 to 15:
  objaverse-render render uids.txt --out data --shard I/16
  # when they are done:
  objaverse-render merge data
  objaverse-render status data

  # ledgers that were collected from machines without a common folder:
  objaverse-render merge data --ledgers collected/*.sqlite
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "merge",
        help="make one ledger of those of many machines",
        description="Put the ledgers of render --shard I/N together into one.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", metavar="DIR_OR_URL", help="what --out named")
    parser.add_argument("--state", type=Path, metavar="DIR", help="where the ledgers lie instead")
    parser.add_argument(
        "--ledgers", type=Path, nargs="+", metavar="FILE", help="these, instead of those there"
    )
    parser.set_defaults(run=_merge)


def _merge(options: argparse.Namespace) -> int:
    from ..batch.output.store import state_folder
    from ..batch.queue.merge import merge
    from ..batch.status import read_status

    folder = options.state or state_folder(options.out)
    paths = options.ledgers or sorted(folder.glob("ledger-*-of-*.sqlite"))
    count, missing = merge(paths, folder / "ledger.sqlite", options.out)
    say(f"{folder / 'ledger.sqlite'}: {how_many(count, 'asset')} of "
        f"{how_many(len(paths), 'part')}")
    counts = read_status([folder / "ledger.sqlite"]).counts
    ended = ("done", "failed", "given up")
    if rest := sum(number for name, number in counts.items() if name not in ended):
        say(f"not rendered yet: {how_many(rest, 'asset')}; run their parts again")
    if missing:
        say(f"parts that are missing: {short_list(missing)}")
    return 0
