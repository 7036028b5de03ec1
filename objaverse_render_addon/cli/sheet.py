"""``objaverse-render sheet``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .common import beside, whole_from
from .terminal import say

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render sheet data/rocket.zip                  data/rocket.sheet.png
  objaverse-render sheet data/rocket.zip --views 4 --size 256 -o rocket.png
  objaverse-render sheet data/shard-000000.tar/rocket
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "sheet",
        help="make a contact sheet of a finished asset",
        description="One PNG with a row per view and a column per pass.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("asset", help="archive, folder or URL of one asset, or SHARD.tar/ID")
    parser.add_argument("-o", "--output", type=Path, help="default: <id>.sheet.png beside it")
    parser.add_argument(
        "--views", type=whole_from(1), default=8, help="at most so many (default: 8)"
    )
    parser.add_argument(
        "--size", type=whole_from(16), default=160, help="pixels per cell (default: 160)"
    )
    parser.set_defaults(run=_sheet)


def _sheet(options: argparse.Namespace) -> int:
    from ..dataset.sheet import contact_sheet

    asset: str = options.asset
    target = options.output or beside(asset, ".sheet.png")
    width, height = contact_sheet(asset, target, views=options.views, size=options.size)
    say(f"{target} ({width}x{height})")
    return 0
