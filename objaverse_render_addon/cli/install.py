"""``objaverse-render install``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import InvalidJob
from .common import add_blender
from .terminal import say

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render install --blender /opt/blender/blender
  objaverse-render install --blender blender --extension dist/objaverse_render_addon-0.1.0.zip
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "install",
        help="put the extension into an installed Blender",
        description="Install and enable the extension in Blender, and make its command line "
        "know it as objaverse_render_addon.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_blender(parser)
    parser.add_argument(
        "--extension", type=Path, metavar="ZIP", help="a built zip (default: built on the spot)"
    )
    parser.set_defaults(run=_install)


def _install(options: argparse.Namespace) -> int:
    from ..install import install

    if options.blender is None:
        raise InvalidJob("Which Blender?", hint="objaverse-render install --blender PATH")
    for name, value in install(options.blender, options.extension).items():
        say(f"{name:10s} {value}")
    return 0
