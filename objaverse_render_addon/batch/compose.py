"""A set of scenes from end to end: its rules beside it, each scene one unit of the batch engine."""

from __future__ import annotations

import json
import os
import threading
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ..assets.sources import Source
from ..compose import expressions
from ..compose.drawn import key_of
from ..compose.expressions import EXPRESSIONS
from ..compose.make import PARTS
from ..compose.objects import KINDS
from ..compose.objects.categories import SIZES
from ..compose.objects.library import Library
from ..compose.rules import RULES_FILE, Rules
from ..compose.stages import PARTS as STAGE_PARTS
from ..compose.stages import digest_of
from ..errors import InvalidJob, OutputExists, RenderError, UnexpectedError
from ..files import write_whole
from ..job import RenderJob
from ..words import how_many
from .lanes.local import Lane
from .objects import REPORT_FILE, prepare
from .options import RunOptions
from .physics import check_engines
from .results import AssetResult, Event, Notice, Report
from .run import render
from .stages import prepare_stage, told_apart

__all__ = ["CLASSES_FILE", "compose", "job_for"]

CLASSES_FILE: Final = "classes.json"
_TABLED: Final = 1_000
_HASHED: Final = 10_000
_STAGED: Final = {"surface": 900, "surroundings": 901}
"""Of a user's stage."""


def job_for(values: Mapping[str, Any], classes: Path | None = None) -> RenderJob:
    """The job of composed scenes' pictures.

    Args:
        values: Dotted fields of it that are the caller's.
        classes: The table of classes.
    """
    ours = {
        "asset.normalize": "none", "asset.witness": "off", "cameras.pattern": "scene",
        "lighting.mode": "keep",
    }  # fmt: skip
    if classes is not None:
        ours |= {"pixels.classes": "table", "pixels.class_table": str(classes)}
    job = RenderJob().with_values({"files.layout": "folder", **ours, **values})
    if job.files.layout != "folder":
        raise InvalidJob(
            "Composed scenes are folders: their sentences are written when the pictures are there.",
            hint="Leave files.layout away.",
        )
    return job


def classes_table(more: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Of :data:`CLASSES_FILE`: every name's number in ``semantic_index``, in all sets the same.

    Args:
        more: Names of others' objects. Those that the table of sizes has are numbered by it, others
            by the CRC-32 of their name; of two that meet there the later one goes on to the next.
    """
    numbers = {name: number for number, name in enumerate([*PARTS, *sorted(KINDS)], 1)}
    known = {name: number for number, name in enumerate(sorted(SIZES), _TABLED)}
    for name in sorted({*more} - {*numbers}):
        number = known.get(name, _HASHED + zlib.crc32(name.encode()) % (65_536 - _HASHED))
        while number in numbers.values():
            number = number + 1 if number < 65_535 else _HASHED
        numbers[name] = number
    found: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(PARTS, 1):
        found[f"stage-{place}-{name}"] = {"class": name, "id": numbers[name]}
    for name in STAGE_PARTS:
        found[f"stage-?-{name}"] = {"class": name, "id": numbers.get(name, _STAGED.get(name))}
    for name in sorted({*KINDS, *more}):
        found[f"object-???-{name}"] = {"class": name, "id": numbers[name]}
    return found


def compose(
    rules: Rules,
    scenes: int,
    out: str | Path,
    values: Mapping[str, Any] | None = None,
    options: RunOptions | None = None,
    *,
    first: int = 0,
    objects: Sequence[str | os.PathLike[str] | Source] = (),
    license: str | None = None,
    stage: str | os.PathLike[str] | None = None,
    surfaces: Sequence[str] = (),
    on_event: Callable[[Event], None] | None = None,
    on_result: Callable[[AssetResult], None] | None = None,
    on_start: Callable[[dict[str, int]], None] | None = None,
    cancel: threading.Event | None = None,
    lanes: Callable[[int], Sequence[tuple[str, Lane]]] | None = None,
) -> Report:
    """Make scenes ``first`` … of a set, each into ``out`` under its own name.

    A scene whose sentences cannot be made is that scene's failure, and the others go on; the next
    call tries its sentences again.

    Args:
        values: Dotted fields of the pictures' job.
        options: How, as of :func:`.run.render`.
        objects: Assets of others to draw from beside the rules' kinds; as :func:`.objects.prepare`.
        license: Only those under one of these licences, as ``by,cc0``; those that allow
            commercial use and changes, or state nothing, otherwise.
        stage, surfaces: A 3D file to stand on, and on what in it, each as often as any other; as
            :func:`.stages.prepare_stage`.
        cancel, lanes: As there.

    Raises:
        SourceNotFound: Of the assets none can be used.
        InvalidGeometry: The stage cannot be.
        OutputExists: The folder has scenes of other rules.
        MissingDependency: An engine is not installed.
        RenderError: As :func:`.run.render`.
    """
    options = options or RunOptions()
    if not (rules.kinds or rules.library or objects):
        raise InvalidJob("There is no object to draw from.", hint="Name kinds, or objects.")
    check_engines(options.fetching.physics)
    folder = Path(out).expanduser().absolute()
    path, classes = folder / RULES_FILE, folder / CLASSES_FILE
    names: tuple[str, ...] = ()
    library: Library | None = None
    if objects:
        library = prepare(
            objects, folder, options, license=license, on_event=on_event, cancel=cancel
        )
        if on_event is not None:
            used, left = len(library.objects), len(library.left_out)
            on_event(Notice(
                f"{how_many(used, 'object')} to draw from, {left} left out: see "
                f"{folder / REPORT_FILE}"
            ))  # fmt: skip
        rules, names = replace(rules, library=library.digest()), library.names
    elif rules.library:
        library = Library.read(folder)
        names = library.names
    if library is not None and not (rules.kinds or library.part(rules.split).objects):
        raise InvalidJob(
            f"None of the {len(library.objects)} objects is of the split {rules.split}; which one "
            "is of which, its content decides.",
            hint="Give more objects, or own ones beside them with --kinds.",
        )
    if stage is not None:
        found = prepare_stage(stage, folder, options, surfaces=surfaces, on_event=on_event)
        kinds = told_apart(found, rules.kinds, names)
        if on_event is not None:
            away = sorted({*rules.kinds} - {*kinds})
            free = " or ".join(
                f"{one.surface or 'what is level'} of {one.source}, of which "
                f"{one.size_m[0]:.2f} × {one.size_m[1]:.2f} m are free" for one in found
            )  # fmt: skip
            on_event(Notice(
                f"Objects stand on {free}."
                + (f" Not drawn, since it has such itself: {', '.join(away)}." if away else "")
            ))  # fmt: skip
        rules = replace(rules, stage=digest_of(found), kinds=kinds)
    if path.exists() and Rules.read(path) != rules and not options.selection.overwrite:
        raise OutputExists(
            f"{path} has other rules than these; scenes of two do not mix.",
            hint="Choose another folder, or replace all with --overwrite.",
        )
    write_whole(path, (json.dumps(rules.to_dict(), indent=1, sort_keys=True) + "\n").encode())
    write_whole(classes, (json.dumps(classes_table(names), indent=1) + "\n").encode())

    def sources() -> Iterator[Source]:
        for index in range(first, first + scenes):
            yield Source(f"compose://{path}#{index}", "compose", key_of(index))

    speechless: list[tuple[str, RenderError]] = []

    def ended(result: AssetResult) -> None:
        was, error = result.status, _described(result, rules.languages)
        if error is not None:
            speechless.append((was, error))
            result.status, result.error = "failed", error
        if on_result is not None:
            on_result(result)

    report = render(
        sources(), job_for(values or {}, classes), folder, options,
        on_event=on_event, on_result=ended, on_start=on_start, cancel=cancel, lanes=lanes,
    )  # fmt: skip
    # It was counted as its pictures ended.
    for was, error in speechless:
        report.counts[was] -= 1
        report.counts["failed"] += 1
        report.exit_codes.add(error.exit_code)
    return report


def _described(result: AssetResult, languages: tuple[str, ...]) -> RenderError | None:
    """Write a finished scene's sentences, where its folder is here and has none.

    Returns:
        Why they could not be.
    """
    if result.status == "failed" or result.path is None or not Path(result.path).is_dir():
        return None
    folder = Path(result.path)
    if result.status == "skipped" and _whole(folder / EXPRESSIONS):
        return None
    try:
        expressions.write(folder, languages=languages)
    except RenderError as error:
        return error
    except Exception as error:
        return UnexpectedError(
            f"{result.asset_id}: its sentences could not be made: {type(error).__name__}: {error}",
            log=traceback.format_exc(),
        )
    return None


def _whole(path: Path) -> bool:
    """Whether a file is there, and was not cut off as it was written."""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
