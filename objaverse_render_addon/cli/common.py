"""What several commands share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import RenderError

__all__ = ["add_blender", "complain"]


def complain(error: RenderError, prefix: str = "error") -> None:
    """Tell a failure: what, the way out, and what the worker last said."""
    print(f"{prefix}: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  → {error.hint}", file=sys.stderr)
    if error.log:
        print("  the worker's last words:", file=sys.stderr)
        for line in error.log.splitlines()[-8:]:
            print(f"    {line}", file=sys.stderr)


def add_blender(parser: argparse._ActionsContainer) -> None:
    """Add ``--blender``."""
    parser.add_argument(
        "--blender", type=Path, metavar="PATH", help="an installed Blender instead of pip's bpy"
    )
