"""What several commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from ..errors import RenderError

__all__ = ["add_blender", "add_jobs", "beside", "complain", "counted"]

_T = TypeVar("_T")


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


def add_jobs(parser: argparse._ActionsContainer) -> None:
    """Add ``--jobs``."""
    parser.add_argument(
        "--jobs", type=_positive, default=1, metavar="N", help="processes (default: 1)"
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def counted(items: Iterable[_T], total: int, unit: str = "asset") -> Iterator[_T]:
    """The same items; a terminal sees how many are done and how long the rest will take."""
    try:
        from tqdm import tqdm
    except ImportError:  # Inside an installed Blender.
        yield from items
        return
    # ``None``: only where somebody looks.
    with tqdm(
        total=total, unit=unit, leave=False, file=sys.stderr, disable=None if total > 1 else True
    ) as bar:
        for item in items:
            bar.clear()  # Whoever takes the item may print a line.
            yield item
            bar.update()


def beside(asset: str, suffix: str) -> Path:
    """Where a file about an asset goes by default: beside it, or here where that is no folder."""
    name = asset.rstrip("/").rpartition("/")[2] if "://" in asset else Path(asset).name
    name = name.removesuffix(".zip").removesuffix(".tar") + suffix
    parent = Path(asset).parent
    return parent / name if "://" not in asset and parent.is_dir() else Path(name)
