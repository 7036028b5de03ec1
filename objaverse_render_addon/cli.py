"""``objaverse-render``: the command line, a thin skin over the Python API."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .errors import Interrupted, InvalidJob, RenderError
from .job import PASS_NAMES, PATTERNS, CameraRules, EngineSettings, Output, RenderJob

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None, blender: Path | None = None) -> int:
    """Run a command; returns the process's exit code.

    Args:
        blender: The program to render with where ``--blender`` does not say; Blender itself
            gives its own.
    """
    parser = _parser()
    options = parser.parse_args(_joined(sys.argv[1:] if arguments is None else arguments))
    if getattr(options, "blender", "") is None:
        options.blender = blender
    try:
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except KeyboardInterrupt:
        error: RenderError = Interrupted("Stopped.")
    except RenderError as caught:
        error = caught
    except BrokenPipeError:
        # The reader of our output went away (… | head); that is no failure of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    _complain(error)
    return error.exit_code


def _complain(error: RenderError, prefix: str = "error") -> None:
    print(f"{prefix}: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  → {error.hint}", file=sys.stderr)
    if error.log:
        print("  the worker's last words:", file=sys.stderr)
        for line in error.log.splitlines()[-8:]:
            print(f"    {line}", file=sys.stderr)


# --- Arguments ------------------------------------------------------------------------------

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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="objaverse-render",
        description="Render 3D assets into verified multi-view datasets.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_render(commands)

    verify = commands.add_parser(
        "verify",
        help="prove a finished dataset right, from its files alone",
        description="Repeat every check of the renderer on finished assets.",
    )
    verify.add_argument("paths", nargs="+", type=Path, metavar="DIR", help="folder or archive")
    verify.add_argument("--json", action="store_true", help="one JSON object per asset")
    verify.set_defaults(run=_verify)

    sheet = commands.add_parser(
        "sheet",
        help="make a contact sheet of a finished asset",
        description="One PNG with a row per view and a column per pass.",
    )
    sheet.add_argument("asset", type=Path, help="archive or folder of one asset")
    sheet.add_argument("-o", "--output", type=Path, help="default: <id>.sheet.png beside it")
    sheet.add_argument("--views", type=int, default=8, help="at most so many (default: 8)")
    sheet.add_argument("--size", type=int, default=160, help="pixels per cell (default: 160)")
    sheet.set_defaults(run=_sheet)

    install = commands.add_parser(
        "install",
        help="put the extension into an installed Blender",
        description="Install and enable the extension in Blender, and make its command line "
        "know it as objaverse_render_addon.",
    )
    _add_blender(install)
    install.add_argument(
        "--extension", type=Path, metavar="ZIP", help="a built zip (default: built on the spot)"
    )
    install.set_defaults(run=_install)

    doctor = commands.add_parser(
        "doctor",
        help="say what Blender, devices and libraries are here",
        description="Start Blender and tell what it is, what it can read and render on.",
    )
    _add_blender(doctor)
    doctor.add_argument("--json", action="store_true", help="for machines")
    doctor.set_defaults(run=_doctor)
    return parser


def _add_blender(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--blender", type=Path, metavar="PATH", help="an installed Blender instead of pip's bpy"
    )


def _range(text: str) -> list[float]:
    parts = text.replace("..", ":").split(":")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) not in (1, 2):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor LOW:HIGH")
    return [values[0], values[-1]]


def _resolution(text: str) -> list[int]:
    parts = text.lower().split("x")
    if len(parts) not in (1, 2) or not all(part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not W or WxH")
    return [int(parts[0]), int(parts[-1])]


def _passes(text: str) -> list[str]:
    if text == "all":
        return list(PASS_NAMES)
    return [name.strip().replace("-", "_") for name in text.split(",") if name.strip()]


def _background(text: str) -> list[float] | None:
    named = {"white": [1.0, 1.0, 1.0], "black": [0.0, 0.0, 0.0], "grey": [0.5, 0.5, 0.5]}
    if text == "transparent":
        return None
    if text in named:
        return named[text]
    digits = text.removeprefix("#")
    try:
        if len(digits) == 6:
            return [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not transparent, white, black, grey or #RRGGBB")


def _pair(text: str) -> list[float]:
    parts = text.split(",")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) != 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not X,Y")
    return values


def _joined(arguments: Sequence[str]) -> list[str]:
    """``--elevation -30:60`` as ``--elevation=-30:60``: argparse takes -30:60 for a flag."""
    pairs = {
        flag
        for flags in _JOB_FLAGS.values()
        for flag, _, settings in flags
        if settings.get("type") in (_range, _pair)
    }
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in pairs and re.match(r"-[\d.]", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


# Flag, job field, arguments for argparse. Values that are not given leave the job as it is.
_JOB_FLAGS: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "what goes in": [
        ("--normalize", "asset.normalize", {
            "choices": ["cube", "unit-cube", "sphere", "none"],
            "help": "box or sphere that the asset fills (default: the camera pattern's own; cube "
            "is [-1, 1]³)"}),
        ("--frame", "asset.frame", {
            "type": int, "help": "animation frame that all views show (default: as saved)"}),
        ("--missing-textures", "asset.missing_textures", {
            "choices": ["neutral", "random", "fail"],
            "help": "what stands in for a texture that is not there (default: neutral)"}),
        ("--uncolored", "asset.uncolored", {
            "choices": ["neutral", "random"],
            "help": "material of STL and PLY files without colours (default: neutral)"}),
    ],
    "light": [
        ("--lighting", "lighting.mode", {
            "choices": ["white", "xl", "hdri", "keep"],
            "help": "uniform white, the seeded suns of Objaverse-XL, an image, or the file's own "
            "(default: white)"}),
        ("--hdri", "lighting.hdri", {
            "metavar": "PATH", "help": "equirectangular image; implies --lighting hdri"}),
        ("--light-strength", "lighting.strength", {
            "type": float, "help": "factor on the world's light (default: 1)"}),
        ("--background", "lighting.background", {
            "type": _background, "metavar": "COLOR",
            "help": "transparent (default), white, black, grey or #RRGGBB"}),
    ],
    "cameras": [
        ("--cameras", "cameras.pattern", {
            "choices": list(PATTERNS), "metavar": "PATTERN",
            "help": "; ".join(f"{name}: {item.about}" for name, item in PATTERNS.items())
            + " (default: gs-lrm)"}),
        ("--views", "cameras.views", {
            "type": int, "help": "number of views (default: the pattern's own)"}),
        ("--radius", "cameras.radius", {
            "type": _range, "metavar": "LOW:HIGH", "help": "distance from the origin"}),
        ("--elevation", "cameras.elevation", {
            "type": _range, "metavar": "LOW:HIGH", "help": "degrees above the horizon"}),
        ("--fov", "cameras.fov", {
            "type": _range, "metavar": "LOW:HIGH",
            "help": "field of view across the shorter side, degrees"}),
        ("--framing", "cameras.framing", {
            "choices": ["allow", "fit", "resample"],
            "help": "when the object would leave the frame: allow it, move the camera back, or "
            "draw the view again (default: the pattern's own)"}),
        ("--only-northern-hemisphere", "cameras.only_northern_hemisphere", {
            "action": "store_true", "default": None, "help": "no view from below"}),
        ("--turns", "cameras.turns", {
            "type": float, "help": "rounds of the orbit (default: 3)"}),
        ("--camera-file", "cameras.file", {
            "metavar": "PATH",
            "help": "transforms.json or TOML of poses; implies --cameras file"}),
        ("--pixel-aspect", "cameras.pixel_aspect", {
            "type": float, "help": "height of a pixel over its width (default: 1)"}),
        ("--shift", "cameras.shift", {
            "type": _pair, "metavar": "X,Y",
            "help": "principal point's shift as a share of the image (default: 0,0)"}),
    ],
    "pictures": [
        ("--resolution", "output.resolution", {
            "type": _resolution, "metavar": "W[xH]", "help": "pixels (default: 512)"}),
        ("--passes", "output.passes", {
            "type": _passes, "metavar": "LIST",
            "help": f"of {', '.join(PASS_NAMES)}, or all (default: {','.join(Output().passes)})"}),
        ("--normal-space", "output.normal_space", {
            "choices": ["camera", "world"], "help": "axes of the normals (default: camera)"}),
        ("--geometry", "output.geometry", {
            "choices": ["npy", "exr"],
            "help": "one array per pass, or one multilayer EXR per view (default: npy)"}),
        ("--layout", "output.layout", {
            "choices": ["zip", "folder"], "help": "one of these per asset (default: zip)"}),
    ],
    "engine": [
        ("--engine", "engine.engine", {
            "choices": ["cycles", "eevee", "workbench"],
            "help": "for RGB; geometry always comes from Cycles (default: cycles)"}),
        ("--samples", "engine.samples", {
            "type": int,
            "help": f"per pixel of RGB (default: {EngineSettings().samples})"}),
        ("--denoise", "engine.denoise", {
            "action": argparse.BooleanOptionalAction, "default": None,
            "help": "denoise RGB (default: yes)"}),
        ("--device", "engine.device", {
            "choices": ["auto", "cpu", "cuda", "optix", "hip", "oneapi", "metal"],
            "help": "what is asked for and missing is an error (default: auto)"}),
        ("--threads", "engine.threads", {
            "type": int, "help": "CPU threads (default: all)"}),
        ("--alpha-threshold", "engine.alpha_threshold", {
            "type": float, "help": "opacity from which a surface is object (default: 0.5)"}),
        ("--seed", "seed", {"type": int, "help": "of every random draw (default: 0)"}),
    ],
}  # fmt: skip


def _add_render(commands: Any) -> None:
    parser = commands.add_parser(
        "render",
        help="render assets into a dataset",
        description="Render 3D files into posed RGB, depth, normal and mask images.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sources", nargs="*", metavar="SOURCE",
        help="3D files, folders, Objaverse UIDs, or lists of them (.txt)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the finished assets")
    parser.add_argument("--job", type=Path, metavar="FILE", help="TOML or JSON; flags override it")
    parser.add_argument("--print-job", action="store_true", help="print the job as TOML and stop")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done and stop"
    )
    for title, flags in _JOB_FLAGS.items():
        group = parser.add_argument_group(title)
        for flag, path, arguments in flags:
            arguments = {"default": argparse.SUPPRESS, **arguments}
            if arguments["default"] is None:
                arguments["default"] = argparse.SUPPRESS
            if not {"choices", "action", "metavar"} & set(arguments):
                arguments["metavar"] = "N"
            group.add_argument(flag, dest=f"job:{path}", **arguments)
    group = parser.add_argument_group("running")
    _add_blender(group)
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


def _job(options: argparse.Namespace) -> RenderJob:
    job = RenderJob.load(options.job) if options.job else RenderJob()
    values = {
        name.removeprefix("job:"): value
        for name, value in vars(options).items()
        if name.startswith("job:")
    }
    for path, mode, meaning in (
        ("lighting.hdri", "lighting.mode", "hdri"),
        ("cameras.file", "cameras.pattern", "file"),
    ):
        if values.get(path):
            values.setdefault(mode, meaning)
        elif values.get(mode, meaning) != meaning:
            # The job file's path belongs to the mode that the flag overrides.
            values[path] = None
    if values.get("cameras.pattern", job.cameras.pattern) != job.cameras.pattern:
        # A job file's ranges belong to the pattern that the flag overrides.
        for name in ("views", "radius", "elevation", "fov", "framing"):
            values.setdefault(f"cameras.{name}", None)
    try:
        return job.with_values(values)
    except InvalidJob as error:
        flags = {path: flag for group in _JOB_FLAGS.values() for flag, path, _ in group}
        message = error.message
        for path, flag in flags.items():
            message = message.replace(f"{path} ", f"{flag} ")
        raise type(error)(message, hint=error.hint) from error


# --- Commands -------------------------------------------------------------------------------


def _render(options: argparse.Namespace) -> int:
    from .assets.sources import expand
    from .batch.run import plan, render

    job = _job(options)
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
    count = len(expand(options.sources))
    progress = _JsonProgress() if options.json else _Progress(count, options.quiet)
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
            _complain(item.error, "       ")
    count = sum(item.action == "render" for item in plans)
    views = cameras.views if cameras.views is not None else "all"
    print(
        f"{count} of {len(plans)} assets to render: {views} views each ({cameras.pattern}), "
        f"{width}x{height}, {', '.join(resolved.output.passes)}"
    )
    codes = {item.error.exit_code for item in plans if item.error}
    return 0 if not codes else codes.pop() if len(codes) == 1 else 3


class _JsonProgress:
    """Every event as one JSON object a line, for machines."""

    def __enter__(self) -> _JsonProgress:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def event(self, event: Any) -> None:
        from .messages import encode

        if event.kind not in ("done", "failed"):
            print(encode(event), flush=True)

    def result(self, result: Any) -> None:
        error = result.error
        print(
            json.dumps(
                {
                    "kind": "result",
                    "source": result.source,
                    "asset_id": result.asset_id,
                    "status": result.status,
                    "path": str(result.path) if result.path and result.status != "failed" else None,
                    "views": result.views,
                    "warnings": result.warnings,
                    "doubts": result.doubts,
                    "seconds": result.seconds,
                    "reason": error.reason if error else None,
                    "error": error.message if error else None,
                    "hint": error.hint if error else None,
                    "log": error.log if error else None,
                }
            ),
            flush=True,
        )

    def summary(self, report: Any) -> None:
        counts = dict.fromkeys(("done", "skipped", "failed"), 0)
        for result in report.results:
            counts[result.status] += 1
        print(json.dumps({"kind": "summary", **counts}), flush=True)


class _Progress:
    """A bar with views per second and time left, and a line per asset, for people."""

    def __init__(self, assets: int, quiet: bool) -> None:
        self._assets, self._quiet = assets, quiet
        self._ended = 0
        self._bar: Any = None

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def event(self, event: Any) -> None:
        if self._quiet or not sys.stderr.isatty():
            return
        if event.kind == "stage" and event.name != "render":
            print(f"\r\033[K{event.asset_id}: {event.name} …", end="", file=sys.stderr, flush=True)
        elif event.kind == "frame-done":
            if self._bar is None:
                self._bar = self._new_bar(event.asset_id, event.total)
            if self._bar is not None:
                self._bar.update()

    def _new_bar(self, asset_id: str, total: int) -> Any:
        try:
            from tqdm import tqdm
        except ImportError:  # Inside an installed Blender.
            return None
        print("\r\033[K", end="", file=sys.stderr)
        title = f"[{self._ended + 1}/{self._assets}] {asset_id[:32]}"
        return tqdm(total=total, desc=title, unit="view", leave=False, file=sys.stderr)

    def result(self, result: Any) -> None:
        self._close()
        self._ended += 1
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        if result.error is not None:
            _complain(result.error, f"failed [{result.error.reason}]")
        if self._quiet or result.status == "failed":
            return
        if result.status == "skipped":
            print(f"skipped {result.path} (whole already)")
            return
        seconds = result.seconds.get("total", 0.0)
        rate = result.views / seconds if seconds else 0.0
        print(f"done    {result.path}: {result.views} views, {seconds:.1f} s ({rate:.1f} views/s)")
        for warning in result.warnings:
            print(f"        warning: {warning}")
        for name, count in sorted(result.doubts.items()):
            print(f"        doubt: {name} in {count} of {result.views} views")

    def summary(self, report: Any) -> None:
        if self._quiet or len(report.results) < 2:
            return
        counts: dict[str, int] = {}
        for result in report.results:
            counts[result.status] = counts.get(result.status, 0) + 1
        print(", ".join(f"{count} {status}" for status, count in counts.items()))


def _verify(options: argparse.Namespace) -> int:
    from .dataset.reader import find_assets
    from .dataset.verify import verify_asset
    from .errors import CheckFailed

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


def _sheet(options: argparse.Namespace) -> int:
    from .dataset.sheet import contact_sheet

    asset: Path = options.asset
    target = options.output or asset.parent / f"{asset.stem}.sheet.png"
    width, height = contact_sheet(asset, target, views=options.views, size=options.size)
    print(f"{target} ({width}x{height})")
    return 0


def _install(options: argparse.Namespace) -> int:
    from .install import install

    if options.blender is None:
        raise InvalidJob("Which Blender?", hint="objaverse-render install --blender PATH")
    for name, value in install(options.blender, options.extension).items():
        print(f"{name:10s} {value}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from .batch.doctor import examine

    facts = examine(options.blender)
    if options.json:
        print(json.dumps(facts, indent=1))
    else:
        for section, values in facts.items():
            print(f"{section}:")
            for name, value in values.items():
                print(f"  {name:12s} {value}")
    problems = facts.get("problems", {})
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
