"""``objaverse-render verify``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..words import how_many
from .common import add_jobs, complain, counted
from .terminal import say, say_json, warn

if TYPE_CHECKING:
    from ..dataset.verify import AssetVerdict
    from ..errors import RenderError

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render verify data                     every asset of a folder: zips, tars, shards …
  objaverse-render verify data/rocket.zip          one asset
  objaverse-render verify data/shard-000000.tar/rocket
  objaverse-render verify data --jobs 8 --json     in eight processes, for programs
  objaverse-render verify s3://bucket/data         needs the extra 'remote' and s3fs
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "verify",
        help="prove a finished dataset right, from its files alone",
        description="Repeat every check of the renderer on finished assets.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", metavar="DIR", help="folder, archive, shard or URL")
    parser.add_argument("--json", action="store_true", help="one JSON object per asset")
    add_jobs(parser)
    parser.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> int:
    from ..dataset.guards import RENDER_AGAIN
    from ..dataset.storage import find_assets
    from ..dataset.verify import verify_all
    from ..errors import CheckFailed

    bad = 0

    def broken(where: str, error: RenderError) -> None:
        nonlocal bad
        bad += 1
        if options.json:
            facts = {"asset": where, "ok": False, "views": 0, "failed": [error.message]}
            say_json({**facts, "doubts": {}})
        else:
            complain(error, f"FAILED {where}")

    assets = [asset for path in options.paths for asset in find_assets(path, on_broken=broken)]
    unread, bad = bad, 0
    for verdict in counted(verify_all(assets, options.jobs), len(assets)):
        bad += not verdict.ok
        if options.json:
            say_json(
                {
                    "asset": verdict.asset,
                    "ok": verdict.ok,
                    "views": verdict.views,
                    "failed": verdict.failed,
                    "doubts": verdict.doubts,
                    **({"sentences": verdict.sentences} if verdict.sentences else {}),
                }
            )
        else:
            _tell(verdict)
    if not options.json and len(assets) > 1:
        say(f"{len(assets) - bad} of {len(assets)} assets are right")
    bad += unread
    if bad and not options.json:
        warn(f"  → {RENDER_AGAIN}")
    return CheckFailed.exit_code if bad else 0


def _tell(verdict: AssetVerdict) -> None:
    word = "ok    " if verdict.ok else "FAILED"
    proved = sum(verdict.sentences.values())
    also = f", {how_many(proved, 'sentence')} proved" if verdict.sentences else ""
    say(f"{word} {verdict.asset} ({how_many(verdict.views, 'view')}{also})")
    for sentence in verdict.failed[:10]:
        say(f"       {sentence}")
    if len(verdict.failed) > 10:
        say(f"       … and {len(verdict.failed) - 10} more")
    for name, views in sorted(verdict.doubts.items()):
        shown = ", ".join(map(str, views[:8])) + (" …" if len(views) > 8 else "")
        say(f"       doubt: {name} in views {shown}")
