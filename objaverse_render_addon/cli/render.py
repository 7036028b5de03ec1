"""``objaverse-render render``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import InvalidJob, exit_code_of
from ..job import RECIPES, CameraRules, RenderJob, recipe_named
from ..words import how_many, redacted
from .common import (
    add_blender,
    add_sandbox,
    complain,
    gpu_list,
    number_from,
    reason_or_all,
    whole_from,
)
from .flags import add_job_flags, flags_of, job_of
from .progress import JsonProgress, TerminalProgress
from .terminal import say, show, show_text, warn

__all__ = ["add", "exports_of"]

_EXAMPLES = """\
examples:
  objaverse-render render chair.glb --out data
  objaverse-render render *.glb --out data --cameras ring --views 24 --elevation 20
  objaverse-render render a.obj --out data --resolution 256 --samples 16 --layout folder
  objaverse-render render a.glb --out data --radius 1.8:2.4 --fov 40 --framing allow --seed 7
  objaverse-render render *.glb --out data --recipe zero123
  objaverse-render render --recipe list
  objaverse-render render a.glb --print-job > job.toml
  objaverse-render render *.glb --out data --job job.toml
  objaverse-render render uids.txt --out data --workers 8 --layout webdataset
  objaverse-render render uids.txt --out s3://bucket/data --shard 3/16

Every asset ends as DATA/<id>.zip: images, depth, normals and masks of all views, and
metadata.json with exact cameras. Run the same command again to go on where it stopped;
objaverse-render status DATA says how far it is and what failed.
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "render",
        help="render assets into a dataset",
        # Of so many flags, a typing error would be lost below them.
        usage="%(prog)s SOURCE ... --out DIR_OR_URL [flags]; --help explains all of them",
        description="Render 3D files into posed RGB, depth, normal and mask images.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="3D files, folders, URLs, Objaverse UIDs and Objaverse-XL identifiers, or lists of "
        "them (.txt, .csv, .json, .jsonl, .parquet)",
    )
    parser.add_argument(
        "--out", metavar="DIR_OR_URL", help="folder, or URL of one, for the finished assets"
    )
    parser.add_argument("--print-job", action="store_true", help="print the job as TOML and stop")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done and stop")
    add_job_flags(parser)
    _add_running(parser.add_argument_group("running"))
    _add_sources(parser.add_argument_group("sources and names"))
    _add_long(parser.add_argument_group("long lists"))
    parser.set_defaults(run=_render)


def _add_running(group: argparse._ArgumentGroup) -> None:
    add_blender(group)
    add_sandbox(group)
    group.add_argument(
        "--workers", type=_workers, metavar="N",
        help="processes that render (default: auto, by cores, memory and GPUs)",
    )  # fmt: skip
    group.add_argument(
        "--gpus", type=gpu_list, metavar="LIST",
        help="numbers of the GPUs to render on, as 0,1 (default: all, if --device allows)",
    )  # fmt: skip
    group.add_argument(
        "--timeout", type=number_from(0, above=True), default=300.0, metavar="S",
        help="per asset, of animations per 32 frames (default: 300)",
    )
    group.add_argument(
        "--max-memory", type=number_from(0), metavar="GIB",
        help="a worker may take so much (default: its share of 90%% of the machine's, 0: no limit)",
    )  # fmt: skip
    group.add_argument(
        "--scratch", type=Path, metavar="DIR", help="temporary images (default: in memory)"
    )
    group.add_argument(
        "--export", action="append", default=[], metavar="FORMAT[=DIR]",
        help="also write each asset as a trainer reads it (default: OUT-FORMAT); may be repeated; "
        "objaverse-render export --to help lists the formats; none is for a recipe's own",
    )  # fmt: skip
    group.add_argument("--json", action="store_true", help="one JSON object per event")
    group.add_argument("--quiet", action="store_true", help="only failures")


def _add_sources(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--ids", choices=["name", "sha256"], default="name",
        help="name assets by their file's name or content (default: name)",
    )  # fmt: skip
    group.add_argument(
        "--allow-outside", action="append", type=Path, default=[], metavar="DIR",
        help="a folder of your own that assets may read from beside theirs; may be repeated",
    )  # fmt: skip
    group.add_argument(
        "--license", metavar="NAMES",
        help="only what is under one of these licences, as by,cc0 (see search)",
    )  # fmt: skip
    group.add_argument(
        "--download-dir", type=Path, metavar="DIR",
        help="cache of fetched objects (default: ~/.objaverse)",
    )  # fmt: skip
    group.add_argument(
        "--keep-downloads", action=argparse.BooleanOptionalAction, default=True,
        help="keep what was fetched after rendering (default: yes)",
    )  # fmt: skip
    group.add_argument(
        "--remove-downloads", action="store_false", dest="keep_downloads",
        help="the same as --no-keep-downloads",
    )  # fmt: skip
    group.add_argument(
        "--save-repo-format", choices=["none", "zip", "tar", "tar.gz", "files"], default="none",
        help="how repositories of Objaverse-XL's GitHub objects are kept (default: none)",
    )  # fmt: skip
    group.add_argument(
        "--offline", action="store_true", help="use fetched objects only, never the network"
    )


def _add_long(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--overwrite", action="store_true", help="render what is finished too")
    group.add_argument(
        "--retry", action="append", type=reason_or_all, default=[], metavar="REASON",
        help="try earlier failures of this kind again, or all; may be repeated",
    )  # fmt: skip
    group.add_argument(
        "--attempts", type=whole_from(1), default=2, metavar="N",
        help="times that an asset may take its worker down (default: 2)",
    )  # fmt: skip
    group.add_argument(
        "--recycle", type=whole_from(1), default=1000, metavar="N",
        help="assets after which a worker is replaced (default: 1000)",
    )  # fmt: skip
    group.add_argument(
        "--shard", type=_shard, metavar="I/N",
        help="only part I of N of the list, counted from 0, for arrays of machines; see merge",
    )  # fmt: skip
    group.add_argument(
        "--engine-cluster", choices=["ray"],
        help="render on the machines of a Ray cluster, which all see the output",
    )  # fmt: skip
    group.add_argument(
        "--address", help="of the cluster's head, or auto (default: a cluster on this machine)"
    )
    group.add_argument(
        "--state", type=Path, metavar="DIR",
        help="the ledger's folder (default: OUT/.state; of URLs, among your files)",
    )  # fmt: skip
    group.add_argument(
        "--min-free", type=number_from(0), metavar="GIB",
        help="wait while less disk is free (default: a hundredth of it, at most 1)",
    )  # fmt: skip
    group.add_argument(
        "--patience", type=number_from(0), default=600.0, metavar="S",
        help="wait so long for a full disk or failing storage (default: 600)",
    )  # fmt: skip
    group.add_argument(
        "--shard-assets", type=whole_from(1), default=64, metavar="N",
        help="assets in a WebDataset shard (default: 64)",
    )  # fmt: skip
    group.add_argument(
        "--shard-size", type=number_from(0, above=True), default=1.0, metavar="GIB",
        help="a WebDataset shard is split from this size on (default: 1)",
    )  # fmt: skip


def _workers(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a number from 1")
    return int(text)


def _shard(text: str) -> tuple[int, int]:
    index, slash, total = text.partition("/")
    if not (slash and index.isdecimal() and total.isdecimal() and int(index) < int(total)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not I/N with I from 0 to N-1, as in --shard $SLURM_ARRAY_TASK_ID/100"
        )
    return int(index), int(total)


def exports_of(options: argparse.Namespace) -> dict[str, str]:
    """Formats to their folders, or to nothing where none is given: ``--export``, or the recipe's.

    Raises:
        InvalidJob: ``none`` beside others.
    """
    if options.export == ["none"]:
        return {}
    if "none" in options.export:
        raise InvalidJob("--export none is given beside others.", hint="Leave it or them away.")
    if not options.export and options.recipe:
        return {recipe_named(options.recipe).export: ""}
    return {name: folder for name, _, folder in (text.partition("=") for text in options.export)}


def _render(options: argparse.Namespace) -> int:
    from ..batch.exports import Exports
    from ..batch.options import Fetching, RunOptions, Selection, Storage, Workers
    from ..batch.queue.plan import plan
    from ..batch.run import render

    if options.recipe in ("help", "list"):
        width = max(map(len, RECIPES))
        show_text("\n".join(f"{name:{width}}  {each.about}" for name, each in RECIPES.items()))
        return 0
    job = job_of(options)
    formats = exports_of(options)
    if options.recipe and not options.json and not options.quiet:
        recipe = recipe_named(options.recipe)
        said = f"recipe {options.recipe}: {flags_of(recipe.own)} --export {recipe.export}"
        # What is printed besides may be a job.
        warn(said)
    if options.print_job:
        show_text(job.resolved().to_toml())
        return 0
    if not options.sources:
        raise InvalidJob("No source is given.", hint="objaverse-render render FILE… --out DIR")
    if options.out is None:
        raise InvalidJob("No output folder is given.", hint="Add --out DIR.")
    if options.dry_run:
        plans = plan(
            options.sources, job, options.out,
            ids=options.ids, overwrite=options.overwrite, state=options.state,
        )  # fmt: skip
        return _show_plan(plans, job)
    progress = JsonProgress() if options.json else TerminalProgress(options.quiet)
    targets = {
        name: Path(folder or f"{str(options.out).rstrip('/')}-{name}")
        for name, folder in formats.items()
    }
    exports = Exports(targets)

    def result(ended: Any) -> None:
        progress.result(ended)
        exports.take(ended)

    with exports, progress:
        report = render(
            options.sources,
            job,
            options.out,
            RunOptions(
                selection=Selection(
                    ids=options.ids,
                    shard=options.shard,
                    retry="all" if "all" in options.retry else options.retry,
                    overwrite=options.overwrite,
                    licenses=options.license,
                ),
                workers=Workers(
                    blender=options.blender,
                    workers=options.workers,
                    gpus=options.gpus,
                    timeout=options.timeout,
                    max_memory=_bytes(options.max_memory),
                    recycle=options.recycle,
                    attempts=options.attempts,
                    scratch=options.scratch,
                    cluster=options.engine_cluster,
                    address=options.address,
                    allow_outside=[one.expanduser().absolute() for one in options.allow_outside],
                    sandbox=options.sandbox,
                ),
                fetching=Fetching(
                    download_dir=options.download_dir,
                    keep_downloads=options.keep_downloads,
                    save_repo_format=options.save_repo_format,
                    online=not options.offline,
                ),
                storage=Storage(
                    state=options.state,
                    min_free=_bytes(options.min_free),
                    patience=options.patience,
                    shard_assets=options.shard_assets,
                    shard_bytes=int(options.shard_size * 2**30),
                ),
            ),
            on_event=progress.event,
            on_result=result,
            on_start=progress.start,
        )
    progress.summary(report)
    for error in exports.errors:
        complain(error, f"not exported [{error.reason}]")
    if not options.quiet and not options.json:
        for made in exports.reports:
            scenes = how_many(made.scenes, "scene")
            say(f"{made.target}: {scenes} for {made.format}; see export.json")
    return report.exit_code or (exports.errors[0].exit_code if exports.errors else 0)


def _bytes(gibibytes: float | None) -> int | None:
    return None if gibibytes is None else int(gibibytes * 2**30)


def _show_plan(plans: list[Any], job: RenderJob) -> int:
    resolved = job.resolved()
    cameras: CameraRules = resolved.cameras
    width, height = resolved.pixels.resolution
    for item in plans:
        if item.error:
            complain(item.error, f"failed [{item.error.reason}]")
        else:
            show(f"{item.action:7s}{redacted(item.source)} -> {item.path}")
    count = sum(item.action == "render" for item in plans)
    views = "all views"
    if cameras.views is not None:
        eyes = 1 if cameras.stereo is None else 2
        views = how_many(eyes * (cameras.views + cameras.test_views), "view")
    show(
        f"{count} of {how_many(len(plans), 'asset')} to render: {views} each ({cameras.pattern}), "
        f"{width}x{height}, {', '.join(resolved.pixels.passes)}"
    )
    return exit_code_of(item.error.exit_code for item in plans if item.error)
