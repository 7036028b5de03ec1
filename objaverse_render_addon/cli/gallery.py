"""``objaverse-render gallery``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..words import how_many
from .common import Bar, whole_from
from .terminal import say

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render gallery data --open
  objaverse-render gallery data -o ~/public/data --size 512
  objaverse-render gallery data --limit 100

The page is a folder with index.html in it. It needs no server and no network: open it from disk,
copy it anywhere, or serve it as it is. Run the same command again after more was rendered; what
did not change is not made again.
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "gallery",
        help="make a web page of a dataset that opens from disk",
        description="Search and filter assets, look at every view and pass, turn the camera rig, "
        "see checks, warnings and failures.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", metavar="DIR", help="folder or URL of a dataset")
    parser.add_argument("-o", "--output", type=Path, help="folder for it (default: DIR/gallery)")
    parser.add_argument(
        "--size", type=whole_from(16), default=256,
        help="longer side of the pictures (default: 256)",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", type=whole_from(1), metavar="N", help="threads (default: one a processor)"
    )
    parser.add_argument(
        "--limit", type=whole_from(1), metavar="N", help="the first N assets only"
    )
    parser.add_argument("--open", action="store_true", help="show it in the browser")
    parser.set_defaults(run=_gallery)


def _gallery(options: argparse.Namespace) -> int:
    import webbrowser

    from ..dataset.gallery import build_gallery
    from ..errors import InvalidJob

    for flag in ("jobs", "limit"):
        value = getattr(options, flag)
        if value is not None and value < 1:
            raise InvalidJob(f"--{flag} is {value}.", hint="Give a number above 0.")
    with Bar(unit="asset") as bar:
        made = build_gallery(
            options.dataset,
            options.output,
            size=options.size,
            jobs=options.jobs,
            limit=options.limit,
            on_asset=lambda done, total, *_: bar.show(done, total),
        )
    failed = f", {made.failed} failed" if made.failed else ""
    say(
        f"{made.page}: {how_many(made.assets, 'asset')} ({made.made} made, "
        f"{made.assets - made.made} unchanged, {made.removed} removed{failed})"
    )
    if options.open:
        webbrowser.open(made.page.resolve().as_uri())
    return 0
