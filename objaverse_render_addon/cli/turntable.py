"""``objaverse-render turntable``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..words import how_many
from .common import beside, number_from, whole_from
from .terminal import say

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render turntable data/chair.zip
  objaverse-render turntable data/chair.zip -o chair.mp4 --background white
  objaverse-render turntable data/chair.zip -o chair.gif --pass depth --size 320 --seconds 2
  objaverse-render turntable data/walk.zip -o walk.mp4 --view 3
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "turntable",
        help="make an animation of a finished asset",
        description="The views of an asset one after the other, by azimuth where the cameras "
        "stand around it, as WebP, GIF or MP4. Of an asset whose frames were rendered: its "
        "animation, as one view sees it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("asset", help="archive, folder or URL of one asset, or SHARD.tar/ID")
    parser.add_argument(
        "-o", "--output", type=Path, help="ends in .webp, .gif or .mp4 (default: <id>.webp)"
    )
    parser.add_argument(
        "--pass", dest="name", default="rgb", metavar="PASS", help="which pass (default: rgb)"
    )
    parser.add_argument(
        "--size", type=whole_from(1), help="longer side in pixels (default: as rendered)"
    )
    parser.add_argument(
        "--views", type=whole_from(1), help="at most so many pictures (default: all)"
    )
    parser.add_argument(
        "--view", type=whole_from(0), default=0, metavar="N",
        help="whose animation is played (default: 0)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=number_from(0, above=True),
        help="of one turn (default: 3), or of the animation (default: as it plays)",
    )  # fmt: skip
    parser.add_argument(
        "--background", default="none",
        help="white, black, grey, dark, #rrggbb, or none for transparent (default: none)",
    )  # fmt: skip
    parser.set_defaults(run=_turntable)


def _turntable(options: argparse.Namespace) -> int:
    from ..dataset.turntable import parse_background, turntable

    asset: str = options.asset
    target = options.output or beside(asset, ".webp")
    frames, width, height = turntable(
        asset,
        target,
        name=options.name,
        size=options.size,
        views=options.views,
        seconds=options.seconds,
        background=parse_background(options.background),
        view=options.view,
    )
    say(f"{target} ({how_many(frames, 'frame')}, {width}x{height})")
    return 0
