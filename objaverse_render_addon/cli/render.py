"""``objaverse-render render``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import InvalidJob
from ..job import CameraRules, RenderJob
from .common import add_blender, complain
from .flags import add_job_flags, job_of
from .progress import JsonProgress, Progress

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render render chair.glb --out data
  objaverse-render render *.glb --out data --cameras ring --views 24 --elevation 20
  objaverse-render render a.obj --out data --resolution 256 --samples 16 --layout folder
  objaverse-render render a.glb --out data --radius 1.8:2.4 --fov 40 --framing allow --seed 7
  objaverse-render render a.glb --print-job > job.toml
  objaverse-render render *.glb --out data --job job.toml

Every asset ends as DATA/<id>.zip: images, depth, normals and masks of all views, and
metadata.json with exact cameras. Run the same command again to go on where it stopped.
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "render",
        help="render assets into a dataset",
        description="Render 3D files into posed RGB, depth, normal and mask images.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="3D files, folders, Objaverse UIDs, or lists of them (.txt)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the finished assets")
    parser.add_argument("--print-job", action="store_true", help="print the job as TOML and stop")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done and stop")
    add_job_flags(parser)
    group = parser.add_argument_group("running")
    add_blender(group)
    group.add_argument(
        "--timeout", type=float, default=300.0, help="seconds per asset (default: 300)"
    )
    group.add_argument(
        "--max-memory", type=float, metavar="GIB",
        help="the worker may take so much (default: 90%% of the machine's, 0: no limit)",
    )  # fmt: skip
    group.add_argument(
        "--ids", choices=["name", "sha256"], default="name",
        help="name assets by their file's name or content (default: name)",
    )  # fmt: skip
    group.add_argument("--overwrite", action="store_true", help="render what is there already too")
    group.add_argument(
        "--scratch", type=Path, metavar="DIR", help="temporary images (default: in memory)"
    )
    group.add_argument(
        "--download-dir", type=Path, metavar="DIR",
        help="cache of fetched objects (default: ~/.objaverse)",
    )  # fmt: skip
    group.add_argument(
        "--offline", action="store_true", help="use fetched objects only, never the network"
    )
    group.add_argument("--json", action="store_true", help="one JSON object per event")
    group.add_argument("--quiet", action="store_true", help="only failures")
    parser.set_defaults(run=_render)


def _render(options: argparse.Namespace) -> int:
    from ..assets.sources import expand
    from ..batch.run import plan, render

    job = job_of(options)
    if options.print_job:
        print(job.resolved().to_toml(), end="")
        return 0
    if not options.sources:
        raise InvalidJob("No source is given.", hint="objaverse-render render FILE… --out DIR")
    if options.out is None:
        raise InvalidJob("No output folder is given.", hint="Add --out DIR.")
    if options.dry_run:
        plans = plan(
            options.sources, job, options.out, ids=options.ids, overwrite=options.overwrite
        )
        return _show_plan(plans, job)
    count = sum(1 for _ in expand(options.sources))
    progress = JsonProgress() if options.json else Progress(count, options.quiet)
    with progress:
        report = render(
            options.sources,
            job,
            options.out,
            on_event=progress.event,
            on_result=progress.result,
            blender=options.blender,
            timeout=options.timeout,
            max_memory=None if options.max_memory is None else int(options.max_memory * 2**30),
            overwrite=options.overwrite,
            ids=options.ids,
            scratch=options.scratch,
            download_dir=options.download_dir,
            online=not options.offline,
        )
    progress.summary(report)
    return report.exit_code


def _show_plan(plans: list[Any], job: RenderJob) -> int:
    resolved = job.resolved()
    cameras: CameraRules = resolved.cameras
    width, height = resolved.output.resolution
    for item in plans:
        print(f"{item.action:7s}{item.source} -> {item.path}")
        if item.error:
            complain(item.error, "       ")
    count = sum(item.action == "render" for item in plans)
    views = cameras.views if cameras.views is not None else "all"
    print(
        f"{count} of {len(plans)} assets to render: {views} views each ({cameras.pattern}), "
        f"{width}x{height}, {', '.join(resolved.output.passes)}"
    )
    codes = {item.error.exit_code for item in plans if item.error}
    return 0 if not codes else codes.pop() if len(codes) == 1 else 3
