"""``objaverse-render attribution``."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidJob, RenderError
from ..words import how_many
from .common import complain
from .terminal import say, show_text, warn

if TYPE_CHECKING:
    from ..dataset.credits import Credit

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render attribution data
  objaverse-render attribution data -o data/CREDITS.md
  objaverse-render attribution data/train data/test -o credits.csv

Title, author, source and licence of every asset, and that it was rendered: what Creative Commons
licences ask for. Licences come from metadata.json; for Objaverse objects that were rendered
without them, from the catalogue, where its index has been made (`objaverse-render search`).
"""
_NAMED = 20


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "attribution",
        help="write the credits that the assets' licences ask for",
        description="Credits of a finished dataset: title, author, source, licence, changes.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", metavar="DIR", help="folder, archive, shard or URL")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE",
        help="file to write: .txt, .md, .csv or .json (default: text on standard output)",
    )  # fmt: skip
    parser.add_argument(
        "--download-dir", type=Path, metavar="DIR",
        help="cache that has the catalogue's index (default: ~/.objaverse)",
    )  # fmt: skip
    parser.set_defaults(run=_attribution)


def _attribution(options: argparse.Namespace) -> int:
    from ..assets.catalogue import Catalogue
    from ..dataset.credits import FORMATS, credits_of, render_credits
    from ..dataset.storage import find_assets
    from ..files import write_whole

    extension = ".txt" if options.output is None else options.output.suffix.lower()
    if extension not in FORMATS:
        raise InvalidJob(
            f"{options.output}: credits are {', '.join(FORMATS)}.", hint="Choose one of these."
        )
    unread: list[tuple[str, RenderError]] = []

    def note(where: str, error: RenderError) -> None:
        unread.append((where, error))

    assets = [asset for path in options.paths for asset in find_assets(path, on_broken=note)]
    catalogue = Catalogue.existing(options.download_dir and options.download_dir.expanduser())
    with catalogue or contextlib.nullcontext():
        found, broken = credits_of(assets, catalogue.known if catalogue else None)
    broken = [*unread, *broken]
    text = render_credits(found, extension)
    if options.output is None:
        show_text(text)
    else:
        write_whole(options.output, text.encode())
        say(f"{options.output}: credits of {how_many(len(found), 'asset')}")
    _warn(found)
    for where, error in broken:
        complain(error, f"failed {where}")
    return broken[0][1].exit_code if broken else 0


def _warn(found: list[Credit]) -> None:
    cautions: dict[str, list[str]] = {}
    for credit in found:
        for caution in credit.license.cautions:
            cautions.setdefault(caution, []).append(credit.asset_id)
    for caution, names in sorted(cautions.items()):
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        warn(
            f"warning: {caution}: {len(names)} of {how_many(len(found), 'asset')}: "
            f"{', '.join(names[:_NAMED])}{more}"
        )
