"""``objaverse-render splats``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..words import how_many
from .common import Bar, whole_from
from .flags import resolution
from .terminal import say

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render splats field.ply --cameras transforms.json --resolution 512 -o pictures
  objaverse-render splats field.ply --cameras data --asset rocket -o pictures
  objaverse-render splats field.ply --against data --asset rocket

FIELD is a trained field of 3D Gaussians, a PLY file in the layout of the authors' program, as
gsplat, nerfstudio and others write it. It is drawn on the processor, or by gsplat where CUDA is.
Poses are those of the field's own world: train with what `export nerfstudio` wrote, and it is ours.

The folder has transforms.json, images/NNN.png with alpha, and depths/NNN.npy in thousandths of a
scene unit. --against holds the field against a finished asset instead: PSNR over a white
background, the median error of depth, and how far the silhouettes overlap.
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "splats",
        help="render a trained field of 3D Gaussians, or hold it against the truth",
        description="Render a field of 3D Gaussians (.ply) from any cameras, without a GPU, or "
        "compare it with the dataset that it was trained on.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("field", metavar="FIELD", type=Path, help="PLY file of a field")
    parser.add_argument(
        "--cameras", metavar="WHERE",
        help="file or folder of poses (transforms.json, COLMAP, TOML), or a finished dataset",
    )  # fmt: skip
    parser.add_argument("--asset", metavar="ID", help="which of the dataset (default: its first)")
    parser.add_argument(
        "--resolution", type=resolution, default=[512, 512], metavar="W[xH]",
        help="pixels, for a file of poses (default: 512)",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder for the pictures")
    parser.add_argument("--against", metavar="WHERE", help="dataset that has the truth")
    parser.add_argument(
        "--views", type=whole_from(0), nargs="+", metavar="N",
        help="views of --against to compare, as those held out (default: all)",
    )  # fmt: skip
    parser.set_defaults(run=_splats)


def _splats(options: argparse.Namespace) -> int:
    from ..errors import InvalidJob
    from ..splats.field import read_field

    if (options.against is None) == (options.cameras is None):
        raise InvalidJob(
            "Either --cameras says from where to render, or --against what to compare with."
        )
    if options.cameras is not None and options.output is None:
        raise InvalidJob("--output is missing.", hint="Give -o DIR, a folder for the pictures.")
    field = read_field(options.field)
    return _compare(options, field) if options.against else _render(options, field)


def _render(options: argparse.Namespace, field: Any) -> int:
    from ..splats.pictures import render_views

    cameras = _cameras(options)
    with Bar(unit="view") as bar:
        target = render_views(field, cameras, options.output, bar.show)
    say(f"{target}: {how_many(len(cameras), 'view')} of {len(field):,} Gaussians")
    return 0


def _cameras(options: argparse.Namespace) -> list[Any]:
    from ..cameras.files import views_from_file
    from ..errors import SourceNotFound

    try:
        with _asset(options.cameras, options.asset) as asset:
            return [asset.view(index).camera for index in range(len(asset))]
    except SourceNotFound:
        wide, high = options.resolution
        return [view.camera for view in views_from_file(options.cameras, (wide, high))]


def _asset(where: str, name: str | None) -> Any:
    from ..dataset.reader import Dataset
    from ..errors import SourceNotFound

    data = Dataset.open(where)
    if name is not None and name not in data.ids:
        raise SourceNotFound(f"{where} has no asset {name}.")
    return (data[name] if name is not None else data[0]).open()


def _compare(options: argparse.Namespace, field: Any) -> int:
    from ..splats.pictures import compare

    total = []
    with _asset(options.against, options.asset) as asset:
        say("view   PSNR dB   depth error   overlap")
        for found in compare(field, asset, options.views):
            depth = "-" if found.depth is None else f"{found.depth:.4f}"
            say(f"{found.view:4d}   {found.psnr:7.2f}   {depth:>11}   {found.overlap:7.3f}")
            total.append(found.psnr)
    say(f"mean   {sum(total) / len(total):7.2f}   of {how_many(len(total), 'view')}")
    return 0
