"""``objaverse-render compose``."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from ..errors import InvalidJob
from ..passspec import PASSES
from ..words import how_many
from .common import add_blender, add_sandbox, gpu_list, number_from, reason_or_all, whole_from
from .progress import JsonProgress, TerminalProgress
from .terminal import say, show_text, warn

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render compose --scenes 10 --out scenes
  objaverse-render compose --scenes 500 --out scenes --images-per-scene 5 --resolution 512 --samples 64
  objaverse-render compose --scenes 20 --out grids --layouts grid --rows 4 --columns 4 --supports table
  objaverse-render compose --scenes 50 --out mugs --kinds mug,bowl,can --objects-per-scene 8:12
  objaverse-render compose --scenes 20 --out mine --objects models.csv --kinds box,tray,basket
  objaverse-render compose --scenes 50 --out kitchen --stage kitchen.blend --surface Counter
  objaverse-render compose --scenes 100 --out rgbd --sensor-depth stereo
  objaverse-render compose --scenes 100 --out lit --environments hdris --split train
  objaverse-render compose --scenes 100 --out rig --cameras rig/transforms.json --images-per-scene 5
  objaverse-render compose --scenes 1000 --out scenes --shard 3/16

Every scene ends as OUT/scene-NNNNNN: images, depth, normals, masks, ids and albedo of all views,
metadata.json, and scene.json with every object's pose, size, colours and visibility. Run the same
command again to go on where it stopped; more scenes may be asked for.
"""  # noqa: E501


def add(commands: Any) -> None:
    """Declare the command."""
    from ..compose.objects import KINDS
    from ..compose.record import LAYOUTS
    from ..compose.rules import SUPPORT_CHOICES, Rules
    from ..compose.skies import PARTS
    from ..compose.words import LANGUAGES
    from ..job import job_fields

    ours = Rules()
    parser = commands.add_parser(
        "compose",
        help="make scenes of many objects, settled by physics, and render them",
        usage="%(prog)s --scenes N --out DIR [flags]; --help explains all of them",
        description="Draw objects, let them fall onto a table, and render the scene from several "
        "sides, with every object's mask, pose and visibility.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scenes", type=whole_from(1), default=10, metavar="N",
                        help="how many (default: 10)")  # fmt: skip
    parser.add_argument("--first", type=whole_from(0), default=0, metavar="N",
                        help="number of the first of them; scene N is the same whatever else is "
                        "made (default: 0)")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for them")
    parser.add_argument("--seed", type=whole_from(0), default=0,
                        help="scenes of the same seed are the same (default: 0)")  # fmt: skip
    parser.add_argument("--print-rules", action="store_true", help="print what decides the "
                        "scenes, and the job of their pictures, and stop")  # fmt: skip
    scene = parser.add_argument_group("scenes")
    scene.add_argument("--objects-per-scene", type=_whole_range, default=ours.objects,
                       metavar="A:B", help="least and most (default: 6:10)")  # fmt: skip
    scene.add_argument("--kinds", type=_some_of(KINDS), metavar="LIST",
                       help="own objects to draw from (default: all, or none beside --objects): "
                       f"{', '.join(KINDS)}")  # fmt: skip
    scene.add_argument("--layouts", type=_some_of(LAYOUTS), default=LAYOUTS, metavar="LIST",
                       help="each as often as any other (default: "
                       f"{','.join(LAYOUTS)})")  # fmt: skip
    scene.add_argument("--supports", type=_some_of(SUPPORT_CHOICES), default=SUPPORT_CHOICES,
                       metavar="LIST", help="what objects stand on, each as often as any other "
                       f"(default: {','.join(SUPPORT_CHOICES)})")  # fmt: skip
    scene.add_argument("--rows", type=whole_from(1), default=ours.rows,
                       help="of the layout grid (default: 4)")  # fmt: skip
    scene.add_argument("--columns", type=whole_from(1), default=ours.columns,
                       help="of the layout grid (default: 4)")  # fmt: skip
    scene.add_argument("--tries", type=whole_from(1), default=ours.tries,
                       help="draws of a scene before it fails by name (default: 40)")  # fmt: skip
    scene.add_argument("--languages", type=_some_of(LANGUAGES), default=ours.languages,
                       metavar="LIST", help=f"of the sentences, of {', '.join(LANGUAGES)} "
                       "(default: en)")  # fmt: skip
    theirs = parser.add_argument_group("objects and stages of others")
    theirs.add_argument("--objects", nargs="+", default=[], metavar="SOURCE",
                        help="assets to draw from: files, folders, UIDs, addresses, or lists of "
                        "them; a CSV may have the columns path, name, size or height (metres), "
                        "up, front, color, license, category")  # fmt: skip
    theirs.add_argument("--stage", type=Path, metavar="FILE",
                        help="a 3D file of your own, as room.blend, in metres, to stand on in "
                        "place of --supports; the rest of it is around (default: own tables and "
                        "so on)")  # fmt: skip
    theirs.add_argument("--surface", action="append", default=[], metavar="NAME",
                        help="of the stage, an object to stand on; may be repeated, each scene "
                        "stands on one of them (default: those with the custom property "
                        "objaverse_surface, or else the largest level one, tables before "
                        "floors)")  # fmt: skip
    theirs.add_argument("--license", metavar="NAMES",
                        help="only what is under one of these licences, as by,cc0 (default: what "
                        "allows commercial use and changes, or states nothing)")  # fmt: skip
    theirs.add_argument("--allow-outside", action="append", type=Path, default=[], metavar="DIR",
                        help="a folder of your own that assets may read from beside theirs; may "
                        "be repeated")  # fmt: skip
    theirs.add_argument("--download-dir", type=Path, metavar="DIR",
                        help="cache of fetched objects (default: ~/.objaverse)")  # fmt: skip
    theirs.add_argument("--offline", action="store_true",
                        help="use fetched objects only, never the network")  # fmt: skip
    views = parser.add_argument_group("views")
    views.add_argument("--images-per-scene", type=whole_from(1), default=ours.images, metavar="N",
                       help="views of each scene (default: 3)")  # fmt: skip
    views.add_argument("--cameras", default=ours.cameras, metavar="box|ring|FILE",
                       help="box: in front, within --azimuth; ring: all around; or a file or "
                       "folder of poses as render reads it, in metres, +Z up, the middle of what "
                       "objects stand on at the origin, of which each scene draws its own "
                       "(default: box)")  # fmt: skip
    views.add_argument("--azimuth", type=number_from(0), default=ours.azimuth, metavar="DEG",
                       help="to either side of the front (default: 35)")  # fmt: skip
    views.add_argument("--elevation", type=_range, default=ours.elevation, metavar="A:B",
                       help="degrees above the support (default: 24:55)")  # fmt: skip
    views.add_argument("--fov", type=_range, default=ours.fov, metavar="A:B",
                       help="degrees, of the longer side (default: 34:52)")  # fmt: skip
    views.add_argument("--roll", type=number_from(0), default=ours.roll, metavar="DEG",
                       help="most about the line of sight, either way (default: 0)")  # fmt: skip
    views.add_argument("--resolution", type=_size, default=(256, 256), metavar="N|WxH",
                       help="pixels (default: 256)")  # fmt: skip
    views.add_argument("--samples", type=whole_from(1), default=16,
                       help="of colour, denoised (default: 16)")  # fmt: skip
    views.add_argument("--environments", nargs="+", default=[], metavar="PATH",
                       help="equirectangular .hdr or .exr images, or folders of them: each scene "
                       "stands in one, in place of an even sky")  # fmt: skip
    views.add_argument("--split", choices=PARTS, default=ours.split or None,
                       help="of environments and objects of others only those of this split, "
                       "which their content decides: none is in two; exports keep the scenes in it "
                       "(default: all)")  # fmt: skip
    views.add_argument("--sensor-depth", choices=job_fields()["pixels.sensor"].choices,
                       help="depth as this camera measures it, with noise and holes, in "
                       "sensor_depth beside the clean depth (default: none)")  # fmt: skip
    views.add_argument("--passes", type=_some_of(PASSES), default=_PASSES, metavar="LIST",
                       help=f"default: {','.join(_PASSES)}")  # fmt: skip
    running = parser.add_argument_group("running")
    add_blender(running)
    add_sandbox(running)
    running.add_argument("--workers", type=whole_from(1), metavar="N",
                         help="processes that render (default: by cores, memory and "
                         "GPUs)")  # fmt: skip
    running.add_argument("--gpus", type=gpu_list, metavar="LIST",
                         help="numbers of the GPUs to render on, as 0,1")  # fmt: skip
    running.add_argument("--timeout", type=number_from(0, above=True), default=1200.0, metavar="S",
                         help="per scene (default: 1200)")  # fmt: skip
    running.add_argument("--recycle", type=whole_from(1), default=100, metavar="N",
                         help="scenes after which a worker is replaced (default: 100)")  # fmt: skip
    running.add_argument("--shard", metavar="I/N",
                         help="only part I of N, counted from 0, for arrays of "
                         "machines")  # fmt: skip
    running.add_argument("--engine-cluster", choices=["ray"],
                         help="render on the machines of a Ray cluster, which all see the "
                         "output")  # fmt: skip
    running.add_argument("--address", help="of the cluster's head, or auto (default: a cluster "
                         "on this machine)")  # fmt: skip
    running.add_argument("--retry", action="append", type=reason_or_all, default=[],
                         metavar="REASON", help="try earlier failures again, or all")  # fmt: skip
    running.add_argument("--overwrite", action="store_true", help="make finished scenes again")
    running.add_argument("--no-gallery", action="store_false", dest="gallery",
                         help="make no web page of the scenes")  # fmt: skip
    running.add_argument("--json", action="store_true", help="one JSON object per event")
    running.add_argument("--quiet", action="store_true", help="only failures")
    parser.set_defaults(run=_compose)


_PASSES = ("rgb", "depth", "normal", "mask", "instance_index", "semantic_index", "albedo")


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.strip() for one in text.split(",") if one.strip()))


def _some_of(known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """The type of a list of names, each one of these."""

    def read(text: str) -> tuple[str, ...]:
        names = _names(text)
        wrong = [one for one in names if one not in known]
        if wrong or not names:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no list of these, with commas: {', '.join(known)}"
            )
        return names

    return read


def _range(text: str) -> tuple[float, float]:
    low, colon, high = text.partition(":")
    try:
        found = float(low), float(high if colon else low)
    except ValueError:
        found = (math.nan, math.nan)
    if not all(math.isfinite(one) and one >= 0 for one in found):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number from 0 nor A:B of two")
    return found


def _whole_range(text: str) -> tuple[int, int]:
    low, high = _range(text)
    if low != int(low) or high != int(high):
        raise argparse.ArgumentTypeError(f"{text!r} has no whole numbers")
    return int(low), int(high)


def _size(text: str) -> tuple[int, int]:
    width, times, height = text.lower().partition("x")
    if not width.isdecimal() or not (height if times else width).isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither N nor WxH")
    return int(width), int(height if times else width)


def _compose(options: argparse.Namespace) -> int:
    from ..batch.compose import compose, job_for
    from ..compose.objects import KINDS
    from ..compose.rules import Rules
    from ..compose.skies import environments_of
    from ..compose.viewing import poses_of
    from .flags import with_sensor
    from .render import _shard

    width, height = options.resolution
    named = options.cameras in ("box", "ring")
    passes = options.passes if options.sensor_depth is None else with_sensor(options.passes)
    kinds = options.kinds or (() if options.objects else tuple(KINDS))
    rules = Rules(
        seed=options.seed, objects=options.objects_per_scene, layouts=options.layouts,
        supports=options.supports, rows=options.rows, columns=options.columns,
        images=options.images_per_scene, cameras=options.cameras if named else "file",
        poses=() if named else poses_of(options.cameras, (width, height)),
        environments=environments_of(options.environments), split=options.split or "",
        azimuth=options.azimuth,
        elevation=options.elevation, fov=options.fov, roll=options.roll,
        aspect=width / max(height, 1), kinds=kinds, tries=options.tries,
        languages=options.languages,
    )  # fmt: skip
    values = {
        "pixels.resolution": (width, height), "pixels.passes": passes,
        "engine.samples": options.samples, "seed": options.seed,
    }  # fmt: skip
    if options.sensor_depth is not None:
        values["pixels.sensor"] = options.sensor_depth
    if options.print_rules:
        show_text(json.dumps(rules.to_dict(), indent=1, sort_keys=True))
        show_text(job_for(values).to_toml())
        return 0
    if options.out is None:
        raise InvalidJob("No output folder is given.", hint="Add --out DIR.")
    if options.surface and options.stage is None:
        raise InvalidJob("--surface is an object of a stage.", hint="Add --stage room.blend.")
    from ..batch.options import RunOptions

    progress = JsonProgress() if options.json else TerminalProgress(options.quiet)
    with progress:
        report = compose(
            rules, options.scenes, options.out, values,
            RunOptions.of(
                workers=options.workers, gpus=options.gpus, timeout=options.timeout,
                recycle=options.recycle, overwrite=options.overwrite, blender=options.blender,
                sandbox=options.sandbox, shard=_shard(options.shard) if options.shard else None,
                retry="all" if "all" in options.retry else options.retry,
                cluster=options.engine_cluster, address=options.address,
                download_dir=options.download_dir, online=not options.offline,
                allow_outside=[one.expanduser().absolute() for one in options.allow_outside],
            ),
            first=options.first, objects=options.objects, license=options.license,
            stage=options.stage, surfaces=options.surface,
            on_event=progress.event, on_result=progress.result, on_start=progress.start,
        )  # fmt: skip
    progress.summary(report)
    if not options.shard:
        _card(options)
    if options.gallery and not options.shard:
        from ..dataset.gallery import build_gallery

        made = build_gallery(options.out, None, size=256, jobs=None, limit=None)
        if not options.quiet and not options.json:
            say(f"{made.page}: {how_many(made.assets, 'scene')} to look at")
    return report.exit_code


def _card(options: argparse.Namespace) -> None:
    """The set's card, where its scenes are folders and no other file has its name."""
    from ..compose.card import write_card
    from ..errors import OutputExists, SourceNotFound

    try:
        path, _ = write_card(options.out)
    except SourceNotFound:
        return  # Sentences are written beside folders alone.
    except OutputExists as error:
        warn(f"The set has no card: {error.message} {error.hint}")
        return
    if not options.quiet and not options.json:
        say(f"{path}: what is in it, and what can be solved without the sentence")
