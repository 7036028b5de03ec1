"""What several commands share."""

from __future__ import annotations

import argparse
import difflib
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from ..errors import RenderError, reasons
from .terminal import warn

__all__ = [
    "Bar",
    "add_blender",
    "add_jobs",
    "add_sandbox",
    "beside",
    "complain",
    "counted",
    "gpu_list",
    "new_bar",
    "number_from",
    "readable_size",
    "reason",
    "reason_or_all",
    "whole_from",
]

_T = TypeVar("_T")


def complain(error: RenderError, prefix: str = "error") -> None:
    """Tell a failure: what, the way out, and what the worker last said."""
    warn(f"{prefix}: {error.message}")
    if error.hint:
        warn(f"  → {error.hint}")
    if error.log:
        warn("  the worker's last words:")
        for line in error.log.splitlines()[-8:]:
            warn(f"    {line}")


def add_blender(parser: argparse._ActionsContainer) -> None:
    """Add ``--blender``."""
    parser.add_argument(
        "--blender", type=Path, metavar="PATH", help="an installed Blender instead of pip's bpy"
    )


def add_sandbox(parser: argparse._ActionsContainer) -> None:
    """Add ``--sandbox``."""
    parser.add_argument(
        "--sandbox", choices=["auto", "on", "off"], default="auto",
        help="shut workers in: they touch nothing but Blender, the assets' folders and the output, "
        "and no network (default: auto, where the system can)",
    )  # fmt: skip


def add_jobs(parser: argparse._ActionsContainer) -> None:
    """Add ``--jobs``."""
    parser.add_argument(
        "--jobs", type=whole_from(1), default=1, metavar="N", help="processes (default: 1)"
    )


def whole_from(low: int) -> Callable[[str], int]:
    """Whole numbers from ``low`` on, as an argument; digits may be grouped, as in 10,000."""

    def read(text: str) -> int:
        try:
            number = int(text.replace(",", ""))
        except ValueError:
            number = low - 1
        if not low <= number < 1 << 53:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {low} on")
        return number

    return read


def number_from(low: float, *, above: bool = False) -> Callable[[str], float]:
    """Finite numbers from ``low`` on, or ``above`` it, as an argument."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and (number > low if above else number >= low)):
            limit = f"above {low:g}" if above else f"from {low:g} on"
            raise argparse.ArgumentTypeError(f"{text!r} is no number {limit}")
        return number

    return read


def reason(text: str) -> str:
    """The name of a kind of failure, as an argument."""
    if text in reasons():
        return text
    close = difflib.get_close_matches(text, reasons(), 3)
    similar = f"; similar ones are {', '.join(close)}" if close else ""
    raise argparse.ArgumentTypeError(
        f"there is no reason {text!r}{similar}; all are {', '.join(reasons())}"
    )


def reason_or_all(text: str) -> str:
    """The same, or all of them."""
    return text if text == "all" else reason(text)


def readable_size(count: float) -> str:
    """A number of bytes, for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def counted(items: Iterable[_T], total: int, unit: str = "asset") -> Iterator[_T]:
    """The same items; a terminal sees how many are done and how long the rest will take."""
    with Bar(unit=unit, hidden=total < 2) as bar:
        for done, item in enumerate(items):
            bar.show(done, total)
            bar.clear()  # Whoever takes the item may print a line.
            yield item


def new_bar(total: int, **looks: Any) -> Any:
    """A bar of tqdm on standard error; ``None`` where nobody looks, or there is no tqdm."""
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:  # Inside an installed Blender.
        return None
    return tqdm(total=total, leave=False, file=sys.stderr, **looks)


class Bar:
    """A bar for people that begins when it is known how much there is to do.

    Args:
        hidden: Nobody wants to see it.
        looks: tqdm's own arguments.
    """

    def __init__(self, *, hidden: bool = False, **looks: Any) -> None:
        self._hidden, self._looks = hidden, looks
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, done: int, total: int) -> None:
        """So much is done, of so much."""
        if self._bar is None and not self._hidden:
            self._bar = new_bar(total, **self._looks)
            self._hidden = self._bar is None
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def grow(self, came: int, expected: int) -> None:
        """So much more came, and so much more is expected; from any thread."""
        if self._bar is not None:
            with self._bar.get_lock():
                self._bar.total = max(0, self._bar.total + expected)
                self._bar.update(came)

    def clear(self) -> None:
        """Make room for a line."""
        if self._bar is not None:
            self._bar.clear()


def beside(asset: str, suffix: str) -> Path:
    """Where a file about an asset goes by default: beside it, or here where that is no folder."""
    name = asset.rstrip("/").rpartition("/")[2] if "://" in asset else Path(asset).name
    name = name.removesuffix(".zip").removesuffix(".tar") + suffix
    parent = Path(asset).parent
    return parent / name if "://" not in asset and parent.is_dir() else Path(name)


def gpu_list(text: str) -> list[int] | None:
    """Numbers of GPUs, as an argument; ``None`` for all."""
    if text == "all":
        return None
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is neither all nor a list as 0,1")
    return [int(part) for part in parts]
