"""``objaverse-render view``."""

from __future__ import annotations

import argparse
from typing import Any

from .common import whole_from
from .terminal import say

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render view field.ply
  objaverse-render view data/rocket.zip
  objaverse-render view data --asset rocket
  objaverse-render view data/rocket.zip field.ply      side by side, from one camera
  objaverse-render view field.ply --levels levels.json

A page opens in the browser: drag to turn, wheel to come nearer, F to fly with W A S D Q E, 1 to 9
for other passes, [ and ] for the dataset's cameras, C copies the pose, P saves the picture. From a
dataset's own cameras it shows what is stored, to the last bit; from elsewhere the points that the
views saw. On another machine: ssh -L 8123:127.0.0.1:8123 and --port 8123 there; the server listens
on this machine alone, and the address has a token.
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "view",
        help="look at a trained field or a finished asset, live in the browser",
        description="Look at fields of 3D Gaussians and finished assets, live, side by side.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE",
        help="a field (.ply), or a dataset or one of its assets",
    )  # fmt: skip
    parser.add_argument("--asset", metavar="ID", help="which of a dataset (default: its first)")
    parser.add_argument(
        "--rate", type=whole_from(1), default=30, metavar="N",
        help="pictures a second while moving that sizes are chosen for (default: 30)",
    )  # fmt: skip
    parser.add_argument(
        "--levels", metavar="FILE",
        help="sizes and fields of view of the levels, as JSON, instead of measured ones",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=whole_from(0), default=0, metavar="N", help="default: one that is free"
    )
    parser.add_argument("--no-open", action="store_true", help="print the address alone")
    parser.set_defaults(run=_view)


def _view(options: argparse.Namespace) -> int:
    import webbrowser

    from ..live.levels import Adaptive, Given, read_levels
    from ..live.page import Viewer
    from ..live.panes import open_panes

    levels: Adaptive | Given = Adaptive(options.rate)
    if options.levels:
        levels = read_levels(options.levels)
    panes = open_panes(options.sources, asset=options.asset, levels=levels)
    with Viewer(panes, options.port) as viewer:
        say(f"{viewer.address}\nCtrl+C ends it.")
        if not options.no_open:
            webbrowser.open(viewer.address)
        viewer.wait()
    return 0
