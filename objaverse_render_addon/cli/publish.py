"""``objaverse-render publish``."""

from __future__ import annotations

import argparse
from typing import Any

from ..words import how_many
from .common import Bar
from .terminal import say

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render export data --to huggingface --out hf
  objaverse-render publish hf hf://datasets/me/chairs --private

A run that broke off can be repeated: what is there with the same content is not sent again, and
nothing there is deleted. Licences are the assets' own; see `objaverse-render attribution`.
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "publish",
        help="send a folder to the Hugging Face Hub",
        description="Send a folder's files to a data set on the Hugging Face Hub.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="DIR", help="an export's folder, or any other")
    parser.add_argument("address", metavar="ADDRESS", help="hf://datasets/OWNER/NAME")
    parser.add_argument("--private", action="store_true", help="where the repository is new")
    parser.add_argument("--revision", metavar="BRANCH", help="(default: the main one)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no bar")
    parser.set_defaults(run=_publish)


def _publish(options: argparse.Namespace) -> int:
    from ..dataset.publish import publish

    with Bar(hidden=options.quiet, unit="file") as bar:
        found = publish(
            options.folder, options.address, private=options.private, revision=options.revision,
            on_commit=bar.show,
        )  # fmt: skip
    say(f"{found.url}: {how_many(found.sent, 'file')} sent, {found.there} there already")
    return 0
