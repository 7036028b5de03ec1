"""The flags that fill a :class:`RenderJob`."""

from __future__ import annotations

import argparse
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..errors import InvalidJob
from ..job import (
    PATTERNS,
    RECIPES,
    JobField,
    Lighting,
    RenderJob,
    job_fields,
    recipe_named,
)
from ..passspec import MOVING, PASSES, STILL_PASSES

__all__ = [
    "JOB_FLAGS", "add_job_flags", "flags_of", "job_of", "joined", "resolution", "with_sensor",
]  # fmt: skip


def _range(text: str) -> list[float]:
    parts = text.replace("..", ":").split(":")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) not in (1, 2):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor LOW:HIGH")
    return [values[0], values[-1]]


def resolution(text: str) -> list[int]:
    """A size, ``W`` or ``WxH``, as an argument."""
    parts = text.lower().split("x")
    if len(parts) not in (1, 2) or not all(part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not W or WxH")
    return [int(parts[0]), int(parts[-1])]


def _names(among: tuple[str, ...], text: str) -> list[str]:
    known = [name for name in among if name not in PASSES or name in STILL_PASSES]
    groups = {"none": [], "all": known}
    if set(MOVING) <= set(among):
        groups["motion"] = [*MOVING]
    found: list[str] = []
    for part in text.split(","):
        name = part.strip().replace("-", "_")
        found += groups.get(name, [name] if name else [])
    return found


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


# How a form is typed: what reads it, and the word for it in the help.
_FORMS: Final[dict[str, tuple[Callable[[str], Any], str]]] = {
    "range": (_range, "LOW:HIGH"),
    "pair": (_pair, "X,Y"),
    "size": (resolution, "W[xH]"),
    "color": (_background, "COLOR"),
    "names": (str, "LIST"),
    "path": (str, "PATH"),
    "frames": (str, "all|N|A:B[:STEP]"),
    "action": (str, "NAME"),
}
# What the help says besides, where the words at the field cannot know it.
_BESIDES: Final[dict[str, str]] = {
    "cameras.pattern": "; ".join(f"{name}, {item.about}" for name, item in PATTERNS.items()),
    "pixels.passes": "all are those that need no frames and no depth camera, motion those that "
    "need frames",
    "lighting.background": "transparent, white, black, grey or #RRGGBB",
    "pixels.resolution": "one number for both",
}
# What a path alone gives a meaning to, and its value without.
_WITH: Final[dict[str, tuple[str, Any]]] = {
    "lighting.hdri": ("lighting.per_view", None), "lighting.lights": ("lighting.groups", False),
}  # fmt: skip
# Longer than this, choices are no word for a value.
_MANY_CHOICES: Final = 8


def _default(field: JobField) -> str:
    value = field.default
    if value is None:
        return field.setting.unset
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field.setting.form == "size":
        return "x".join(map(str, value))
    if value == ():
        return "none"
    if isinstance(value, tuple):
        return ",".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _arguments(field: JobField) -> dict[str, Any]:
    """What argparse is told of a setting. Values that are not given leave the job as it is."""
    said, besides = field.setting, _BESIDES.get(field.path)
    if said.among:
        besides = f"of {', '.join(said.among)}, or all"
    about = f"{said.about}: {besides}" if besides else said.about
    arguments: dict[str, Any] = {
        "default": argparse.SUPPRESS,
        # A percent sign would be argparse's.
        "help": f"{about} (default: {_default(field)})".replace("%", "%%"),
    }
    if field.kind is bool:
        action = argparse.BooleanOptionalAction if field.default else "store_true"
        return arguments | {"action": action}
    if field.choices:
        many = {"metavar": said.name.upper()} if len(field.choices) > _MANY_CHOICES else {}
        return arguments | {"choices": list(field.choices)} | many
    read, word = _FORMS.get(said.form, (field.kind, "N"))
    if said.form == "names":
        read = functools.partial(_names, said.among)
    return arguments | {"type": read, "metavar": word}


def _flags() -> dict[str, list[tuple[str, str, dict[str, Any]]]]:
    groups: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, field in job_fields().items():
        flag = (field.setting.flag, path, _arguments(field))
        groups.setdefault(field.title, []).append(flag)
    return groups


JOB_FLAGS: Final = _flags()
"""Flag, job field and arguments for argparse, by the title of their group."""


def joined(arguments: Sequence[str]) -> list[str]:
    """``--elevation -30:60`` as ``--elevation=-30:60``: argparse takes that for a flag."""
    pairs = {
        flag
        for flags in JOB_FLAGS.values()
        for flag, path, settings in flags
        if settings.get("type") in (_range, _pair)
        or path == "time.frames"
        or any(choice.startswith("-") for choice in settings.get("choices", ()))
    }
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in pairs and re.match(r"-[\d.XYZ]", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def add_job_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--job``, ``--recipe`` and a flag for each of the job's fields."""
    parser.add_argument("--job", type=Path, metavar="FILE", help="TOML or JSON; flags override it")
    parser.add_argument(
        "--recipe", metavar="NAME",
        help="cameras, light, passes, size and export of a trainer; flags override it; list says "
        f"what each is: {', '.join(RECIPES)}",
    )  # fmt: skip
    for title, flags in JOB_FLAGS.items():
        group = parser.add_argument_group(title)
        for flag, path, arguments in flags:
            group.add_argument(flag, dest=f"job:{path}", **arguments)


def job_of(options: argparse.Namespace) -> RenderJob:
    """The job that ``--job``, over it ``--recipe``, and over both the flags describe.

    Raises:
        InvalidJob: In the words of the flags.
    """
    job = RenderJob.load(options.job) if options.job else RenderJob()
    if options.recipe:
        job = job.with_values(recipe_named(options.recipe).values)
    values = {
        name.removeprefix("job:"): value
        for name, value in vars(options).items()
        if name.startswith("job:")
    }
    for path, mode, meaning in (
        ("lighting.hdri", "lighting.mode", "hdri"),
        ("lighting.lights", "lighting.mode", "file"),
        ("cameras.file", "cameras.pattern", "file"),
        ("cameras.ortho", "cameras.projection", "orthographic"),
        ("pixels.class_table", "pixels.classes", "table"),
        ("cameras.scene_cameras", "cameras.pattern", "scene"),
    ):
        if values.get(path):
            values.setdefault(mode, meaning)
        elif values.get(mode, meaning) != meaning:
            # What is of the job file's mode goes with it, when the flag overrides that.
            values[path] = None
            if path in _WITH:
                values.setdefault(*_WITH[path])
    if values.get("cameras.pattern", job.cameras.pattern) != job.cameras.pattern:
        # A job file's or a recipe's ranges belong to the pattern that the flag overrides.
        for name in ("views", "radius", "elevation", "fov", "framing"):
            values.setdefault(f"cameras.{name}", None)
    if values.get("cameras.pattern") == "scene" and job.lighting == Lighting():
        # Its cameras see the scene in its own light.
        values.setdefault("lighting.mode", "keep")
    if "pixels.sensor" in values:
        values["pixels.passes"] = with_sensor(values.get("pixels.passes", job.pixels.passes))
    _choose_time(job, values)
    try:
        return job.with_values(values)
    except InvalidJob as error:
        flags = {path: flag for group in JOB_FLAGS.values() for flag, path, _ in group}
        message = error.message
        for path, flag in flags.items():
            message = message.replace(f"{path} ", f"{flag} ")
        raise type(error)(message, hint=error.hint) from error


def with_sensor(passes: Iterable[str]) -> list[str]:
    """Some passes, and those that a depth camera implies."""
    return list(dict.fromkeys((*passes, "depth", "sensor_depth")))


def _choose_time(job: RenderJob, values: dict[str, Any]) -> None:
    """Slow motion, motion blur and the like mean all frames; a still overrides frames."""
    if values.get("time.frames"):
        values.setdefault("asset.frame", None)
    elif values.get("asset.frame") is not None:
        for path in ("frames", *_OF_FRAMES):
            values.setdefault(f"time.{path}", job_fields()[f"time.{path}"].default)
    elif job.time.frames is None and (
        values.get("time.action") == "all"
        or any(values.get(f"time.{path}") for path in _OF_FRAMES)
    ):
        values["time.frames"] = "all"


_OF_FRAMES: Final = ("scale", "views_per_frame", "motion_blur")


def flags_of(values: Mapping[str, Any]) -> str:
    """Settings of a job by dotted path, as they are typed; what is not set is left out."""
    said = []
    for path, value in values.items():
        field = job_fields()[path]
        form, flag = field.setting.form, field.setting.flag
        if value is None:
            continue
        if isinstance(value, bool):
            if value == field.default:
                continue  # Of such there is a flag for the other one only.
            said.append(flag if value else f"--no-{flag.removeprefix('--')}")
            continue
        if form == "color":
            typed = "#" + "".join(f"{round(255 * channel):02x}" for channel in value)
        elif form == "range":
            typed = ":".join(f"{number:.7g}" for number in dict.fromkeys(value))
        elif form == "size":
            typed = "x".join(str(number) for number in dict.fromkeys(value))
        elif isinstance(value, Sequence) and not isinstance(value, str):
            typed = ",".join(str(item) for item in value)
        else:
            typed = str(value)
        said.append(f"{flag} {typed}")
    return " ".join(said)
