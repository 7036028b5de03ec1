"""``objaverse-render verify``."""

from __future__ import annotations

import argparse
import json
from typing import Any

__all__ = ["add"]


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "verify",
        help="prove a finished dataset right, from its files alone",
        description="Repeat every check of the renderer on finished assets.",
    )
    parser.add_argument("paths", nargs="+", metavar="DIR", help="folder or archive")
    parser.add_argument("--json", action="store_true", help="one JSON object per asset")
    parser.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> int:
    from ..dataset.storage import find_assets
    from ..dataset.verify import verify_asset
    from ..errors import CheckFailed

    bad = 0
    assets = [asset for path in options.paths for asset in find_assets(path)]
    for asset in assets:
        verdict = verify_asset(asset)
        bad += not verdict.ok
        if options.json:
            print(
                json.dumps(
                    {
                        "asset": str(asset),
                        "ok": verdict.ok,
                        "views": verdict.views,
                        "failed": verdict.failed,
                        "doubts": verdict.doubts,
                    }
                )
            )
            continue
        print(f"{'ok    ' if verdict.ok else 'FAILED'} {asset} ({verdict.views} views)")
        for sentence in verdict.failed[:10]:
            print(f"       {sentence}")
        if len(verdict.failed) > 10:
            print(f"       … and {len(verdict.failed) - 10} more")
        for name, views in sorted(verdict.doubts.items()):
            shown = ", ".join(map(str, views[:8])) + (" …" if len(views) > 8 else "")
            print(f"       doubt: {name} in views {shown}")
    if not options.json and len(assets) > 1:
        print(f"{len(assets) - bad} of {len(assets)} assets are right")
    return CheckFailed.exit_code if bad else 0
