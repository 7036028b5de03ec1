"""``objaverse-render doctor``."""

from __future__ import annotations

import argparse
from typing import Any

from .common import add_blender, add_sandbox
from .terminal import show, show_json

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render doctor                             pip's Blender, its devices and formats
  objaverse-render doctor --blender /opt/blender/blender
  objaverse-render doctor --json                      for programs

It exits with 1 where something is wrong.
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "doctor",
        help="say what Blender, devices and libraries are here",
        description="Start Blender and tell what it is, what it can read and render on.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_blender(parser)
    add_sandbox(parser)
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from ..batch.doctor import examine

    facts = examine(options.blender, options.sandbox)
    if options.json:
        show_json(facts, indent=1)
    else:
        for section, values in facts.items():
            show(f"{section}:")
            for name, value in values.items():
                show(f"  {name:12s} {value}")
    problems = facts.get("problems", {})
    return 1 if problems else 0
