"""The flags that fill a :class:`RenderJob`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InvalidJob
from ..job import PASS_NAMES, PATTERNS, EngineSettings, Output, RenderJob

__all__ = ["JOB_FLAGS", "add_job_flags", "job_of", "joined"]


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


def joined(arguments: Sequence[str]) -> list[str]:
    """``--elevation -30:60`` as ``--elevation=-30:60``: argparse takes -30:60 for a flag."""
    pairs = {
        flag
        for flags in JOB_FLAGS.values()
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
JOB_FLAGS: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
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
        ("--missing-parts", "asset.missing_parts", {
            "choices": ["doubt", "fail"],
            "help": "an asset that needs files which are not its own, or not there, is rendered "
            "without them and says so, or fails (default: doubt)"}),
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
            "help": "poses: transforms.json, a NeRF-synthetic or COLMAP folder, TOML; implies "
            "--cameras file"}),
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
            "choices": ["npy", "npz", "exr"],
            "help": "an array per pass, plain or compressed, or a multilayer EXR per view "
            "(default: npz for tar and webdataset, otherwise npy)"}),
        ("--layout", "output.layout", {
            "choices": ["zip", "tar", "folder", "webdataset"],
            "help": "zip, tar or folder per asset, or WebDataset shards (default: zip)"}),
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


def add_job_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--job`` and a flag for each of its fields."""
    parser.add_argument("--job", type=Path, metavar="FILE", help="TOML or JSON; flags override it")
    for title, flags in JOB_FLAGS.items():
        group = parser.add_argument_group(title)
        for flag, path, arguments in flags:
            arguments = {"default": argparse.SUPPRESS, **arguments}
            if arguments["default"] is None:
                arguments["default"] = argparse.SUPPRESS
            if not {"choices", "action", "metavar"} & set(arguments):
                arguments["metavar"] = "N"
            group.add_argument(flag, dest=f"job:{path}", **arguments)


def job_of(options: argparse.Namespace) -> RenderJob:
    """The job that ``--job`` and the flags describe.

    Raises:
        InvalidJob: In the words of the flags.
    """
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
        flags = {path: flag for group in JOB_FLAGS.values() for flag, path, _ in group}
        message = error.message
        for path, flag in flags.items():
            message = message.replace(f"{path} ", f"{flag} ")
        raise type(error)(message, hint=error.hint) from error
