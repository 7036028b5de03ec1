"""``objaverse-render view``."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

from .common import add_blender, whole_from
from .terminal import say

__all__ = ["add"]

_SHOWN = ("rgb", "depth", "normal", "mask")

_EXAMPLES = """\
examples:
  objaverse-render view field.ply
  objaverse-render view chair.glb --samples 64
  objaverse-render view data/rocket.zip
  objaverse-render view data --asset rocket
  objaverse-render view data/rocket.zip field.ply      side by side, from one camera
  objaverse-render view field.ply --levels levels.json

A page opens in the browser: drag to turn, wheel to come nearer, F to fly with W A S D Q E, 1 to 9
for other passes, [ and ] for the dataset's cameras, C copies the pose, P saves the picture. From a
dataset's own cameras it shows what is stored, to the last bit; from elsewhere the points that the
views saw. A 3D file is drawn by Blender at once and path traced at rest.

On another machine: ssh -L 8123:127.0.0.1:8123 and --port 8123 there. The server listens on its own
machine alone, and the address has a token.
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "view",
        help="look at a trained field, a finished asset or a 3D file, live in the browser",
        description="Look at fields of 3D Gaussians, finished assets and 3D files, live, side by "
        "side.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE",
        help="a field (.ply), a dataset or one of its assets, or a 3D file",
    )  # fmt: skip
    parser.add_argument("--asset", metavar="ID", help="which of a dataset (default: its first)")
    parser.add_argument("--job", metavar="FILE", help="how a 3D file is rendered (TOML, JSON)")
    parser.add_argument(
        "--samples", type=whole_from(1), metavar="N", help="of a 3D file (default: the job's)"
    )
    add_blender(parser)
    parser.add_argument(
        "--rate", type=whole_from(1), default=30, metavar="N",
        help="pictures a second while moving that sizes are chosen for (default: 30)",
    )  # fmt: skip
    parser.add_argument(
        "--levels", metavar="FILE",
        help="sizes and fields of view of the levels, as JSON, instead of measured ones",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=whole_from(0), default=0, metavar="N", help="default: one that is free"
    )
    parser.add_argument("--no-open", action="store_true", help="print the address alone")
    parser.set_defaults(run=_view)


def _view(options: argparse.Namespace) -> int:
    import webbrowser

    from ..job import RenderJob
    from ..live.levels import Adaptive, Given, read_levels
    from ..live.page import Viewer
    from ..live.panes import open_panes

    def levels() -> Adaptive | Given:
        return read_levels(options.levels) if options.levels else Adaptive(options.rate)

    levels()
    job = RenderJob.load(options.job) if options.job else RenderJob()
    values: dict[str, Any] = {"pixels.passes": [*dict.fromkeys([*_SHOWN, *job.pixels.passes])]}
    if options.samples:
        values["engine.samples"] = options.samples
    panes = open_panes(
        options.sources, asset=options.asset, levels=levels, job=job.with_values(values),
        blender=options.blender,
    )  # fmt: skip
    with Viewer(panes, options.port) as viewer:
        say(viewer.address)
        say("Ctrl+C ends it.")
        if not options.no_open:
            webbrowser.open(viewer.address)
        with contextlib.suppress(KeyboardInterrupt):
            viewer.wait()
    return 0
