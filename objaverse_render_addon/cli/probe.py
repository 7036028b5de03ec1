"""``objaverse-render probe``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..words import how_many
from .terminal import show, show_json

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render probe scenes
  objaverse-render probe scenes --card         write scenes/README.md
  objaverse-render probe scenes --json > probes.json

Each probe chooses an object in every picture without the sentence: the largest, the most central …
What is much better than chance says that the set can be solved without language. Two read words,
but not sentences: the noun alone, and all words in any order. Where scenes have a grid, what its
cells alone would say is held against the picture.
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "probe",
        help="measure what of composed scenes can be solved without the sentence",
        description="Blind probes of a set that compose made, beside chance.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, metavar="DIR", help="folder of scenes")
    parser.add_argument("--card", action="store_true",
                        help="write it, and what the set holds, into DIR/README.md")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=_probe)


def _probe(options: argparse.Namespace) -> int:
    from ..compose.card import measured, table, write_card

    path = None
    if options.card:
        path, found = write_card(options.path)
    else:
        found = measured(options.path)
    if options.json:
        show_json(found, indent=1)
        return 0
    show(f"{how_many(found['questions'], 'sentence')} that mean one of several objects, in "
         f"{how_many(found['scenes'], 'scene')}")  # fmt: skip
    for _, about, right, chance, bad in table(found):
        gap = f"{100 * (right - chance):+5.1f}"
        show(f"  {about:<42} {right:6.1%}  chance {chance:6.1%}  {gap}"
             f"{'  too good' if bad else ''}")  # fmt: skip
    grid = found["refgrasp"]
    if grid:
        words = ("true", "false", "doubtful")
        claims = sum(grid.get(word, 0) for word in words)
        shares = ", ".join(f"{grid.get(word, 0) / max(claims, 1):.1%} {word}" for word in words)
        show(f"  of {claims} claims by the cells of {how_many(grid['scenes'], 'grid')}: {shares} "
             "in the picture")  # fmt: skip
    if path is not None:
        show(str(path))
    return 0
