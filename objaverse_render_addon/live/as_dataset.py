"""Samples of a job's assets as the data set that rendering the job would have written."""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..assets.formats import SCENE
from ..assets.sources import safe_name
from ..dataset.guards import BROKEN
from ..dataset.layout import asset_path, tidy_parts
from ..dataset.writer import DatasetWriter
from ..errors import DiskFull, InvalidJob, OutputNotWritable, RenderError
from ..frame import Bounds, Frame
from ..job import RenderJob
from ..usefulness import Usefulness
from ..words import how_many
from .frames import frame_of
from .recording import Recording
from .samples import Sample

__all__ = ["Stored", "to_dataset"]

_FACTS: Final = (
    "scene", "normalization", "engine", "object_names", "ids", "warnings", "seconds",
)  # fmt: skip
_FOREIGN: Final = (
    "they do not say what a data set says of an asset: samples of a job's assets do "
    "(live.JobSource), which nobody changed on their way"
)


@dataclass(slots=True)
class Stored:
    """What became of samples.

    Attributes:
        written: Where each asset stands, by its id.
        left_out: Why, by the asset's id, or ``unit 3`` where it has none that can be had.
    """

    written: dict[str, Path] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


class _LeftOut(Exception):
    """An asset that is not written, and why."""


def to_dataset(
    samples: Iterable[Sample],
    out: str | os.PathLike[str],
    *,
    epoch: int | None = None,
    layout: str | None = None,
) -> Stored:
    """Write assets of a stream as ``objaverse-render render`` has them: files, names, metadata.

    The assets are those of a :class:`.sources.JobSource`. Pictures and metadata are those of the
    same job, but for ``seconds``, which are those of the stream, with the time that writing took
    here. What was computed of passes, as boxes, has no place in a data set. There is no ledger.

    An asset is written whole or not at all: one whose views are not all there, as the last of a
    recording that broke off, is left out, with a warning and by name.

    Args:
        samples: A recording, in whichever order its samples are; a stream, or shards
            (:func:`.convert.from_webdataset`), of which assets that are not whole yet are held in
            memory.
        out: Folder; is made where it is not there.
        epoch: Which time round, where there are several.
        layout: How files of an asset are kept together, instead of as the job says: ``zip``,
            ``tar``, ``folder``.

    Raises:
        InvalidJob: There are several epochs, or no sample is of a job's asset.
        OutputNotWritable, DiskFull: As the system says.
    """
    if layout not in (None, "zip", "tar", "folder"):
        raise InvalidJob(f"There is no layout {layout!r} here.", hint="zip, tar or folder.")
    folder, made, foreign, units = Path(out), Stored(), 0, 0
    with tempfile.TemporaryDirectory(prefix="objaverse-stored-") as scratch:
        for number, unit in _units(samples, epoch):
            units += 1
            name = f"unit {number}"
            try:
                asset = _asset(unit)
                if asset in made.written or asset in made.left_out:
                    raise _LeftOut(f"it is of {asset}, as a unit before it")
                name = asset
                made.written[name] = _write(unit, name, folder, layout, Path(scratch))
                continue
            except _LeftOut as error:
                why = str(error)
                foreign += why == _FOREIGN
            except (DiskFull, OutputNotWritable):
                raise
            except RenderError as error:
                why = error.message
            except BROKEN as error:
                why = f"what it says of itself is not as it should be: {error!r}"
            made.left_out[name] = why
            if foreign < units:
                warnings.warn(f"left out {name}: {why}", RuntimeWarning, stacklevel=2)
    if units and foreign == units:
        raise InvalidJob(
            f"No data set can be made of these samples: {_FOREIGN}.",
            hint="Keep them as a recording, or as WebDataset (to_webdataset).",
        )
    if folder.is_dir():
        tidy_parts(folder)
    return made


def _units(
    samples: Iterable[Sample], epoch: int | None
) -> Iterator[tuple[int, list[Sample]]]:
    """Samples of each unit, with its number; those that are not whole at last."""
    wanted = epoch
    found: dict[int, list[Any]] = {}

    def taken(known: dict[str, Any], what: Any) -> int | None:
        nonlocal wanted
        this, number = known.get("epoch", 0), known.get("index")
        if type(this) is not int or type(number) is not int:
            raise InvalidJob(
                f"A sample does not say which of its stream it is: {what!r}.",
                hint="Samples of a stream, its recording, or shards of that are taken.",
            )
        if wanted is None:
            wanted = this
        if this != wanted:
            if epoch is None:
                raise InvalidJob(
                    f"There are samples of the epochs {wanted} and {this}.",
                    hint=f"Say which becomes the data set: epoch={wanted}.",
                )
            return None
        found.setdefault(number, []).append(what)
        return number

    if isinstance(samples, Recording):
        for at in range(len(samples)):
            taken(samples.about(at), at)
        for number in sorted(found):
            yield number, [samples[at] for at in found[number]]
        return
    for sample in samples:
        unit = taken(sample.record, sample)
        if unit is not None and len(found[unit]) == sample.record.get("views"):
            yield unit, found.pop(unit)
    for number in sorted(found):
        yield number, found[number]


def _asset(unit: Sequence[Sample]) -> str:
    """Id of a unit's asset.

    Raises:
        _LeftOut: It is of none.
    """
    if not all("made_of" in sample.record for sample in unit):
        raise _LeftOut(_FOREIGN)
    asset = unit[0].record["values"]["asset"]
    if not isinstance(asset, str) or safe_name(asset) != asset:
        raise _LeftOut(
            f"{asset!r} is no file's name everywhere; call it otherwise (JobSource takes a "
            f"dictionary of ids to paths), as {safe_name(str(asset))!r}"
        )
    return asset


def _whole(unit: Sequence[Sample]) -> dict[int, Sample]:
    """Samples of a unit by their place, all of them and of one making.

    Raises:
        _LeftOut: They are not.
    """
    there: dict[int, Sample] = {}
    views = int(unit[0].record["views"])
    for sample in unit:
        place = int(sample.record["view"])
        if place in there:
            raise _LeftOut(f"sample {place} is there more than once")
        there[place] = sample
    if len(there) != views or min(there) != 0 or max(there) != views - 1:
        raise _LeftOut(f"{len(there)} of its {how_many(views, 'sample')} are there")
    if len({sample.record["made_of"] for sample in unit}) > 1:
        raise _LeftOut("its samples are of different files, jobs or versions of Blender")
    if len({sample.record["values"]["asset"] for sample in unit}) > 1:
        raise _LeftOut("its samples are of different assets")
    if "asset" not in there[views - 1].record:
        raise _LeftOut("its file was another when the last view was rendered")
    return there


def _write(
    unit: Sequence[Sample], name: str, out: Path, layout: str | None, scratch: Path
) -> Path:
    since = time.perf_counter()
    there = _whole(unit)
    told = there[len(there) - 1].record["asset"]
    if told["kind"] == SCENE:
        raise _LeftOut("a composed scene has files beside its pictures: render it")
    job = RenderJob.from_dict(told["job"]).resolved()
    if layout is not None:
        job = job.with_values({"files.layout": layout})
    elif job.files.layout == "webdataset":
        raise _LeftOut("its job asks for shards, which are not made here: say layout='tar'")
    if job.fingerprint() != told["fingerprint"]:
        raise _LeftOut("files that its job names are not what they were when it was rendered")
    standing = asset_path(out, name, job.files.layout)
    if standing.exists():
        raise _LeftOut(f"{standing} is there already")
    frames = [_frame(there[place], job) for place in range(len(there))]
    facts = told["facts"]
    bounds = Bounds(**facts["bounds"])
    usable = Usefulness(name, job, own_cameras=job.cameras.pattern == "scene")
    for place in range(len(there)):
        usable.add_record({**there[place].record["camera"], **there[place].record})
    known = {key: facts[key] for key in _FACTS}
    known["warnings"] = [*known["warnings"], *usable.verdict()]
    known["seconds"] = dict(known["seconds"])
    writer = DatasetWriter(
        out, name, job, path=Path(told["source"]["file_name"]), source="", known={},
        described=dict(told["source"]), scratch=scratch,
        facts=lambda: {**known, "bounds": bounds, "files": {}},
        started=since - sum(known["seconds"].values()),
    )  # fmt: skip
    try:
        for frame in frames:
            writer.geometry(frame)
            writer.frame(frame)
        writer.close()
    except BaseException:
        writer.abort()
        raise
    assert writer.final is not None
    return writer.final


def _frame(sample: Sample, job: RenderJob) -> Frame:
    """The frame that a sample was.

    Raises:
        _LeftOut: A pass is not there.
    """
    record = sample.record
    missing = [name for name in job.pixels.passes if name not in sample.arrays]
    if missing:
        raise _LeftOut(f"sample {record['view']} has no {', '.join(missing)}")
    view = {
        "pose": {}, **record, **record["camera"], "index": record["values"]["view"],
    }  # fmt: skip
    if view["time"] is None:
        del view["time"]
    frame = frame_of(
        view, sample.arrays, job, state=0, lane={}, object_names={}, time=None
    )
    if len(frame.lights) != len(record.get("lights", ())):
        raise _LeftOut(f"sample {record['view']} has not all pictures under its lights")
    return frame
