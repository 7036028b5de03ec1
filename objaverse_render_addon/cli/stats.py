"""``objaverse-render stats``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RenderError, from_reason
from ..words import how_many
from .common import add_jobs, counted, readable_size, whole_from
from .terminal import say, show_json

if TYPE_CHECKING:
    from ..dataset.stats import Statistics

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render stats data                      write data/stats.html, print the essentials
  objaverse-render stats data -o poses.html --views 0     metadata alone: fast
  objaverse-render stats data --json > stats.json  everything, for programs
  objaverse-render stats s3://bucket/data --jobs 8 needs the extra 'remote' and s3fs
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "stats",
        help="show what a dataset looks like as a whole",
        description="Poses on the sphere, fields of view, coverage, depth, sizes, doubts and "
        "failures of a dataset: a page with plots, and JSON.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="DIR", help="folder, archive, shard or URL")
    parser.add_argument(
        "-o", "--output", type=Path, help="the page (default: stats.html in DIR, if it is a folder)"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--views", type=whole_from(0), default=4, metavar="N",
        help="read the depth of so many views of each asset (default: 4; 0: metadata alone)",
    )  # fmt: skip
    add_jobs(parser)
    parser.set_defaults(run=_stats)


def _stats(options: argparse.Namespace) -> int:
    from ..batch.status import failure_counts
    from ..dataset.stats import Statistics, gather, unreadable
    from ..dataset.stats_page import page
    from ..dataset.storage import find_assets
    from ..files import write_whole

    total = Statistics()

    def broken(where: str, error: RenderError) -> None:
        total.merge(unreadable(where, error))

    assets = find_assets(options.path, on_broken=broken)
    for found in counted(gather(assets, options.views, options.jobs), len(assets)):
        total.merge(found)
    folder = Path(options.path)
    total.failed = failure_counts(folder)
    record = {"dataset": options.path, **total.to_dict()}
    output = options.output or (folder if folder.is_dir() else Path()) / "stats.html"
    write_whole(output, page(options.path, record).encode())
    if options.json:
        show_json(record)
    else:
        _tell(total, output)
    codes = {from_reason(reason, "").exit_code for reason in total.unreadable}
    return 0 if not codes else codes.pop() if len(codes) == 1 else 3


def _quantity(name: str, value: float) -> str:
    """A histogram's value, for people."""
    if name.endswith("_degrees"):
        return f"{value:.1f}°"
    if name in ("coverage", "box_share", "moving", "occluded"):
        return f"{value:.1%}"
    if name == "flow":
        return f"{value:.3g} px"
    if name == "file_size":
        return readable_size(value)
    return f"{value:.3g} s" if name == "seconds" else f"{value:.4g}"


def _tell(total: Statistics, output: Path) -> None:
    from ..dataset.stats import ABOUT

    say(f"{how_many(total.assets, 'asset')}, {how_many(total.views, 'view')}")
    if total.animated:
        still = f", nothing moves in {total.still}" if total.still else ""
        say(f"  {how_many(total.animated, 'animation')}, {how_many(total.frames, 'frame')}{still}")
    for name, histogram in total.histograms.items():
        if histogram.count:
            low, middle, high = (histogram.quantile(share) for share in (0.05, 0.5, 0.95))
            told = [_quantity(name, value) for value in (middle, low, high)]
            say(f"  {ABOUT[name][0]:<20} median {told[0]:<11} 90 % in {told[1]} … {told[2]}")
    doubts = {name: counts["doubt"] for name, counts in total.checks.items() if counts["doubt"]}
    for title, counts in (
        ("doubt", doubts),
        ("warning", total.warnings),
        ("never rendered", total.failed),
        ("cannot be read", total.unreadable),
    ):
        for name, count in sorted(counts.items()):
            say(f"  {title}: {name} {count}")
    say(str(output))
