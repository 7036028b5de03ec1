"""Take assets into a format: one by one, resumable, with a report of what changed."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...errors import (
    CheckFailed,
    DuplicateAsset,
    InvalidJob,
    MissingDependency,
    RenderError,
)
from ..guards import BROKEN, believing
from ..reader import AssetReader, AssetRef, find_assets
from .base import SPLITS, Format, Note, Options, Record
from .scene import Scene
from .target import Target

__all__ = ["ExportOutcome", "Report", "export", "export_asset", "finish_export"]

REPORT = "export.json"
MOST_NAMED = 5
"""Assets that the report names per note."""


@dataclass(slots=True)
class ExportOutcome:
    """What became of one asset."""

    asset: str
    status: Literal["done", "skipped", "failed"]
    key: str = ""
    views: int = 0
    error: RenderError | None = None
    notes: list[Note] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What an export holds, and what is not exactly as it was stored.

    Attributes:
        outcomes: Of the assets of this run.
        scenes: In the whole target, those of earlier runs too.
        views: In the whole target.
        splits: Scenes per split, where the format has lists of scenes; else empty.
        notes: Of the whole target: ``kind``, ``text``, ``amount``, ``worst``, ``scenes`` and some
            ``examples`` each.
        trains: The command that trains on it.
    """

    format: str
    target: Path
    outcomes: list[ExportOutcome] = field(default_factory=list)
    scenes: int = 0
    views: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    notes: list[dict[str, Any]] = field(default_factory=list)
    trains: str = ""

    @property
    def failed(self) -> list[ExportOutcome]:
        """Of this run."""
        return [outcome for outcome in self.outcomes if outcome.status == "failed"]


def format_named(name: str) -> Format:
    """The format of this name, with what it needs installed.

    Raises:
        InvalidJob: There is none.
        MissingDependency: A package is missing.
    """
    from . import FORMATS

    if name not in FORMATS:
        raise InvalidJob(
            f"There is no format {name!r}.", hint=f"Formats: {', '.join(sorted(FORMATS))}."
        )
    form = FORMATS[name]
    missing = [module for module in form.modules if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingDependency(
            f"Exporting to {name} needs {', '.join(missing)}.",
            hint=f'Run: python -m pip install "objaverse-render-addon[{form.extra}]"',
        )
    return form


def export(
    dataset: str | os.PathLike[str],
    target: str | Path,
    to: str,
    options: Options | None = None,
    *,
    jobs: int = 1,
    overwrite: bool = False,
    on_outcome: Callable[[ExportOutcome, int, int], None] | None = None,
) -> Report:
    """Export every finished asset of a dataset. Nothing is rendered, no Blender is needed.

    What is in the target already and whole is skipped; a run that was stopped can be repeated.

    Args:
        dataset: Folder, archive, shard or URL, as for ``dataset.open``.
        target: Local folder; made where it is missing.
        to: Name of the format, see ``FORMATS``.
        jobs: Assets at once, in threads (compression and numpy let go of Python's lock).
        overwrite: Write also what is whole.
        on_outcome: Called with each outcome, how many are done and how many there are.

    Raises:
        InvalidJob, MissingDependency, SourceNotFound, OutputExists, OutputNotWritable: The whole
            run is impossible. What concerns one asset is in the report.
    """
    form = format_named(to)
    options = (options or Options()).resolved(form)
    place = Target(Path(target), form, options)
    outcomes: list[ExportOutcome] = []

    def broken(where: str, error: RenderError) -> None:
        outcomes.append(ExportOutcome(where, "failed", error=error))

    assets = find_assets(dataset, on_broken=broken)
    total = len(assets) + len(outcomes)
    for number, outcome in enumerate(outcomes, 1):
        if on_outcome:
            on_outcome(outcome, number, total)
    seen: dict[str, str] = {}

    def one(asset: AssetRef) -> ExportOutcome:
        try:
            _refuse_twins(asset, seen)
            with believing(asset), AssetReader(asset) as reader:
                return _export(reader, place, options, overwrite)
        except RenderError as error:
            return ExportOutcome(asset.id, "failed", error=error)

    for outcome in _mapped(one, assets, max(1, jobs)):
        outcomes.append(outcome)
        if on_outcome:
            on_outcome(outcome, len(outcomes), total)
    report = _finish(place, options)
    report.outcomes = outcomes
    return report


def export_asset(
    reader: AssetReader,
    target: str | Path,
    to: str,
    options: Options | None = None,
    *,
    overwrite: bool = False,
) -> ExportOutcome:
    """Export one finished asset, skipping it where it is whole already.

    May be called from several threads or processes for different assets of one target. Lists
    over all scenes are written by :func:`finish_export`, once or from time to time.

    Raises:
        RenderError: By what kept it from being exported.
    """
    form = format_named(to)
    options = (options or Options()).resolved(form)
    place = Target(Path(target), form, options)
    return _export(reader, place, options, overwrite)


def finish_export(target: str | Path, to: str, options: Options | None = None) -> Report:
    """Write the lists over all scenes of a target, and ``export.json``."""
    form = format_named(to)
    options = (options or Options()).resolved(form)
    return _finish(Target(Path(target), form, options), options)


def _refuse_twins(asset: AssetRef, seen: dict[str, str]) -> None:
    first = seen.setdefault(asset.id, str(asset))
    if first != str(asset):
        raise DuplicateAsset(
            f"{first} and {asset} are both named {asset.id}.", hint="Rename one of them."
        )


def _mapped(
    one: Callable[[AssetRef], ExportOutcome], assets: list[AssetRef], jobs: int
) -> Iterator[ExportOutcome]:
    if jobs == 1:
        yield from map(one, assets)
        return
    waiting = iter(assets)
    running: set[Future[ExportOutcome]] = set()
    with ThreadPoolExecutor(jobs, "export") as pool:
        try:
            while True:
                # Few ahead of those that run, so that an interrupt has little to wait for.
                while len(running) < jobs + 1 and (asset := next(waiting, None)) is not None:
                    running.add(pool.submit(one, asset))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            pool.shutdown(cancel_futures=True)


def _export(
    reader: AssetReader, target: Target, options: Options, overwrite: bool
) -> ExportOutcome:
    try:
        scene = Scene(reader, target.form, options)
        there = target.record(scene.key)
        digest = str(reader.metadata.get("sha256"))
        if there is not None:
            if (there.asset_id, there.asset_sha256) != (scene.asset_id, digest):
                raise DuplicateAsset(
                    f"{target.folder} holds another asset named {scene.asset_id}.",
                    hint="Export it into another folder.",
                )
            same = there.source == scene.source_digest
            if same and not overwrite and target.form.is_whole(target, there):
                return ExportOutcome(
                    reader.id, "skipped", there.key, there.views, notes=there.notes
                )
        return _write(scene, target, digest)
    except BROKEN as error:
        raise CheckFailed(
            f"{reader.id}: the metadata are not as they should be: {error!r}.",
            hint="objaverse-render verify says what is wrong with it.",
        ) from error


def _write(scene: Scene, target: Target, digest: str) -> ExportOutcome:
    files = target.scene_files(scene.key, target.form.places(scene.key, scene.split))
    try:
        data = target.form.write(scene, files)
        target.forget(scene.key)
        files.commit()
    finally:
        files.discard()
    record = Record(
        key=scene.key,
        asset_id=scene.asset_id,
        source=scene.source_digest,
        asset_sha256=digest,
        split=scene.split,
        views=len(scene),
        files=files.files,
        data=data,
        notes=scene.notes,
    )
    target.keep(record)
    return ExportOutcome(scene.asset_id, "done", scene.key, len(scene), notes=scene.notes)


def _finish(target: Target, options: Options) -> Report:
    records = target.records()
    target.form.finish(target, records, options)
    report = Report(
        format=target.form.name,
        target=target.folder,
        scenes=len(records),
        views=sum(record.views for record in records),
        splits=_per_split(records) if target.form.has_lists else {},
        notes=_gathered(records)
        + [
            {**asdict(note), "scenes": len(records), "examples": []}
            for note in target.form.tells(target, records, options)
        ],
        trains=target.form.command(target.folder, records),
    )
    target.write_json(
        REPORT,
        {
            "version": 1,
            "format": report.format,
            "options": options.to_dict(),
            "scenes": report.scenes,
            "views": report.views,
            "splits": report.splits,
            "trains": report.trains,
            "notes": report.notes,
            "assets": {
                record.asset_id: {"key": record.key, "views": record.views}
                | ({"split": record.split} if target.form.has_lists else {})
                for record in records
            },
        },
    )
    return report


def _per_split(records: list[Record]) -> dict[str, int]:
    return {name: sum(record.split == name for record in records) for name in SPLITS}


def _gathered(records: list[Record]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], tuple[Note, list[str]]] = {}
    for record in records:
        for note in record.notes:
            key = note.kind, note.text
            if key in found:
                found[key][0].add(note.amount, note.worst)
            else:
                found[key] = Note(note.kind, note.text, note.amount, note.worst), []
            found[key][1].append(record.asset_id)
    return [
        {**asdict(note), "scenes": len(names), "examples": names[:MOST_NAMED]}
        for note, names in found.values()
    ]
