"""``objaverse-render export``."""

from __future__ import annotations

import argparse
import re
from typing import Any

from ..words import how_many
from .common import Bar, complain, number_from, whole_from
from .terminal import say, say_json, show

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render export --to help
  objaverse-render export data --to nerfstudio --out ns
  objaverse-render export data --to depthsplat --out chunks --split 0.9,0,0.1 --jobs 8
  objaverse-render export data --to lvsm --out lvsm --background black --views 0-15

A run that was stopped can be repeated: what is whole is skipped, lists are kept. What a format
clips, quantises, rescales or drops is printed, and written to export.json in the target.
"""
_COLORS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0), "grey": (0.5, 0.5, 0.5)}


def _frame(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no frame, as 12 or -3") from error


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "export",
        help="write a finished dataset as trainers read it",
        description="Write finished assets in the format of a trainer. Nothing is rendered.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", nargs="?", metavar="DIR", help="folder, archive or URL")
    parser.add_argument("--to", required=True, metavar="FORMAT", help="'help' lists them")
    parser.add_argument("--out", metavar="TARGET", help="folder for the result")
    parser.add_argument(
        "--views", type=_views, help="N: the first N; 0,4,7 or 2-5: those (default: all)"
    )
    parser.add_argument(
        "--background", type=_color, metavar="COLOR",
        help="behind the object where a format holds no alpha: white, black, grey, #RRGGBB "
        "(default: what its trainers paint there)",
    )  # fmt: skip
    parser.add_argument(
        "--alpha", action="store_true",
        help="keep alpha where trainers read pictures with and without (colmap)",
    )  # fmt: skip
    parser.add_argument(
        "--split", type=_shares, default=(0.9, 0.05, 0.05), metavar="TRAIN,VAL,TEST",
        help="shares that sum to 1 (default: 0.9,0.05,0.05)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: 0)")
    parser.add_argument(
        "--masks", action="store_true", help="also masks, where trainers ignore what is outside"
    )
    parser.add_argument(
        "--aesthetic-score", type=number_from(0), metavar="N",
        help="of every asset, for trainers that leave out what has none (trellis)",
    )
    parser.add_argument(
        "--frame", type=_frame, metavar="N",
        help="of animations, this frame alone (default: all, where a format has a place for time)",
    )
    parser.add_argument(
        "--language", choices=("en", "de", "zh"), default="en",
        help="of the sentences of composed scenes (default: en)",
    )  # fmt: skip
    parser.add_argument("--jobs", type=whole_from(1), default=1, metavar="N", help="assets at once")
    parser.add_argument("--overwrite", action="store_true", help="write again what is whole")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("-q", "--quiet", action="store_true", help="say only what failed")
    parser.set_defaults(run=_export)


def _views(text: str) -> tuple[int, ...]:
    parts = [f"0-{int(text) - 1}"] if text.isdecimal() else text.split(",")
    views: list[int] = []
    for part in parts:
        match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part.strip(), re.ASCII)
        found = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
        if not found or len(views) + len(found) > 1_000_000:
            raise argparse.ArgumentTypeError(f"{text!r} is not N, a list 0,4,7 or a range 2-5")
        views += found
    return tuple(views)


def _color(text: str) -> tuple[float, float, float]:
    digits = text.removeprefix("#")
    if text in _COLORS:
        return _COLORS[text]
    try:
        if len(digits) == 6:
            red, green, blue = bytes.fromhex(digits)
            return red / 255, green / 255, blue / 255
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not white, black, grey or #RRGGBB")


def _shares(text: str) -> tuple[float, float, float]:
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not TRAIN,VAL,TEST") from None
    return train, val, test


def _export(options: argparse.Namespace) -> int:
    from ..dataset.export import FORMATS, Options, export
    from ..errors import InvalidJob, exit_code_of

    if options.to in ("help", "list"):
        width = max(map(len, FORMATS))
        for name, form in FORMATS.items():
            show(f"{name:{width}}  {form.about}")
        return 0
    if not options.dataset or not options.out:
        raise InvalidJob("An export needs DIR and --out.", hint="objaverse-render export --help")
    chosen = Options(
        views=options.views,
        background=options.background,
        alpha=options.alpha,
        split=options.split,
        seed=options.seed,
        masks=options.masks,
        aesthetic_score=options.aesthetic_score,
        frame=options.frame,
        language=options.language,
    )
    with _Progress(options.quiet, options.json) as progress:
        report = export(
            options.dataset,
            options.out,
            options.to,
            chosen,
            jobs=options.jobs,
            overwrite=options.overwrite,
            on_outcome=progress.outcome,
        )
    _tell(report, options)
    return exit_code_of(outcome.error.exit_code for outcome in report.failed if outcome.error)


class _Progress(Bar):
    """A bar for people, a line per asset for machines."""

    def __init__(self, quiet: bool, as_json: bool) -> None:
        super().__init__(hidden=quiet or as_json, unit="asset")
        self._json = as_json

    def outcome(self, outcome: Any, done: int, total: int) -> None:
        """An asset ended."""
        if self._json:
            error = outcome.error
            line = {
                "kind": "result", "asset": outcome.asset, "status": outcome.status,
                "key": outcome.key, "views": outcome.views,
                "reason": error.reason if error else None,
                "error": error.message if error else None,
                "hint": error.hint if error else None,
            }  # fmt: skip
            say_json(line)
        elif outcome.error is not None:
            complain(outcome.error, f"failed [{outcome.error.reason}]")
        self.show(done, total)


def _tell(report: Any, options: argparse.Namespace) -> None:
    counts = {
        status: sum(outcome.status == status for outcome in report.outcomes)
        for status in ("done", "skipped", "failed")
    }
    if options.json:
        summary = {"scenes": report.scenes, "views": report.views, "notes": report.notes}
        say_json({"kind": "summary", **counts, **summary})
        return
    if options.quiet:
        return
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    say(f"{report.target}: {how_many(report.scenes, 'scene')}, "
        f"{how_many(report.views, 'view')} ({said})")
    if report.splits:
        say("  " + ", ".join(f"{split} {count}" for split, count in report.splits.items()))
    for note in report.notes:
        worst = "" if note["worst"] is None else f" (worst: {note['worst']:.6g})"
        say(f"  {note['kind']}: {note['text']}{worst} [{how_many(note['scenes'], 'scene')}]")
    if report.trains and report.scenes:
        say("Train with:")
        for line in report.trains.splitlines():
            say(f"  {line}")
