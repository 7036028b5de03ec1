"""Where samples of a stream come from: a scene that is set up once and drawn anew for each sample.

A source is a class of one's own, which processes find by its module's name, or :class:`JobSource`:
assets as a data set would have them. What a sample shows depends on the stream's seed, the epoch
and the sample's number alone, whichever worker renders it.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..cameras import draw
from ..errors import InvalidJob
from ..job import RenderJob
from ..timeline import frame_range
from .frames import LiveFrame
from .host import Lane
from .opening import Opens
from .session import Session
from .shots import ShotLike
from .steering import Steering
from .truths import Truths

__all__ = ["Item", "JobSource", "Source"]


class Item:
    """What one unit of a stream is to show: its number, and numbers that are drawn for it.

    All draws depend on seed, epoch, index and the stream's name; no draw on how often or in which
    order others were made, except those of the same name.

    Attributes:
        index: Which unit of the stream it is.
        epoch: Which time round.
        seed: Of the stream.
        values: What :meth:`Source.update` said last.
        state: The number of that.
        views: Samples of the unit. A source whose units differ in that (:attr:`Source.views` 0)
            says it before the first.
        notes: What the source said of what it drew (:meth:`note`); goes into the samples.
        made_of: Of a job's asset: the same for what one program made of one file for one job.
        asset: What a data set's metadata say of that beside its views; goes into the last sample.
    """

    def __init__(
        self,
        index: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        values: Mapping[str, Any] | None = None,
        state: int = 0,
    ) -> None:
        self.index, self.seed, self.epoch = index, seed, epoch
        self.values, self.state, self.views = dict(values or {}), state, 0
        self.notes: dict[str, Any] = {}
        self.made_of = ""
        self.asset: dict[str, Any] = {}
        self._drawn: dict[str, int] = {}

    def random(self, stream: str, count: int) -> npt.NDArray[np.float64]:
        """(count,) numbers in [0, 1); see :func:`..cameras.draw`."""
        attempt = self._drawn.get(stream, 0)
        self._drawn[stream] = attempt + 1
        return draw(self.seed, f"epoch {self.epoch}", stream, self.index, count, attempt)

    def uniform(self, stream: str, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high)."""
        return low + (high - low) * float(self.random(stream, 1)[0])

    def normal(self, stream: str, count: int = 1) -> npt.NDArray[np.float64]:
        """(count,) standard normal numbers, by Box and Muller's transform."""
        pairs = self.random(stream, 2 * count)
        radius = np.sqrt(-2 * np.log1p(-pairs[:count]))
        return np.asarray(radius * np.cos(2 * np.pi * pairs[count:]))

    def choice(self, stream: str, among: Sequence[Any]) -> Any:
        """One of several."""
        if not among:
            raise InvalidJob(f"There is nothing to draw {stream} from.")
        return among[int(self.random(stream, 1)[0] * len(among))]

    def note(self, **values: Any) -> None:
        """Say something of what comes next: it is in ``values`` of all samples from here on.

        Args:
            values: JSON; arrays as lists.
        """
        self.notes = {**self.notes, **values}


class Source:
    """Sets a scene up and yields shots of it. Inherit, and write :meth:`shots`.

    An instance is copied for every Blender that renders it, and pickled for processes: it holds
    plain data, and no session.

    Attributes:
        path: The file that is opened, on the workers' machine; ``None`` is an empty stage.
        settings: Arguments of :meth:`.opening.Opens.open`: ``resolution``, ``passes``, ``samples``
            …
        lane: ``exact`` or ``raster``, see docs/live.md.
        views: Shots of each unit: as many samples. 0 where units differ in that: then each says
            it by its list of shots, or by :attr:`Item.views`, and an epoch's samples cannot be
            counted before.
        truths: Boxes and keypoints that are told of each picture; ``None`` for none.
        modules: Names of modules whose functions the source calls beside the scene.
        folders: Where files lie that it adds.
    """

    path: ClassVar[str | Path | None] = None
    settings: ClassVar[Mapping[str, Any]] = {}
    lane: Lane = "exact"
    views: int = 1
    truths: Truths | None = None
    modules: Sequence[str] = ()
    folders: Sequence[str | Path] = ()

    def __new__(cls, *_: Any, **__: Any) -> Source:
        """Whoever inherits need not call an ``__init__``."""
        made = super().__new__(cls)
        made._steering = Steering()
        return made

    _steering: Steering

    def __len__(self) -> int:
        """Units of an epoch, where the source knows it; 0 where whoever streams says."""
        return 0

    def update(self, **values: Any) -> int:
        """Tell all who render this source something; their next shots are drawn with it.

        Returns:
            Number of the state that samples name which were drawn with it.
        """
        return self._steering.update(values)

    def steered(self) -> tuple[int, dict[str, Any]]:
        """Number of the newest state and what was said until then."""
        return self._steering.read()

    def open(self, workers: Opens) -> Session:
        """Open the scene, once for every Blender."""
        return workers.open(self.path, **self.settings)

    def setup(self, session: Session) -> None:
        """Put on the stage what stays, once for every Blender."""

    def shots(self, session: Session, item: Item) -> Iterable[ShotLike]:
        """Change the scene for a unit, and yield where to look from, :attr:`views` times.

        What is changed has to be said in full for each unit: which one was there before depends on
        the worker. A list is rendered in one request; what a generator yields, one at a time, so
        that the scene can be changed in between.
        """
        raise NotImplementedError

    def frames(
        self, workers: Opens, session: Session | None, item: Item, timeout: float
    ) -> Iterator[tuple[Session, LiveFrame]]:
        """The frames of a unit, each with the session that it is of; opens it where there is none.

        Only sources that open other scenes for each unit need to know of it.
        """
        if session is None:
            session = self.open(workers)
            try:
                self.setup(session)
            except BaseException:
                session.close()
                raise
        found = self.shots(session, item)
        if isinstance(found, list | tuple):
            item.views = item.views or len(found)
            yield from self._together(session, found, timeout)
            return
        for shot in found:
            yield from self._together(session, [shot], timeout)

    def _together(
        self, session: Session, shots: Sequence[ShotLike], timeout: float
    ) -> Iterator[tuple[Session, LiveFrame]]:
        for frame in session.render(shots, lane=self.lane, timeout=timeout):
            yield session, frame


class JobSource(Source):
    """Assets as a data set would have them: the same pixels for the same job, never on a disk.

    A unit is an asset; its samples are the views of the job, at all its times, in a data set's
    order: one frame after the other, with all views of each. A sample's ``values`` say which
    ``asset`` and ``view`` it is, its ``record["time"]`` at which frame. Of several lights the first
    one's picture is ``rgb``, the second one's ``rgb@1`` (:meth:`..frame.Frame.arrays`). Epochs show
    the same, unless ``reseed`` is given.

    How many samples an asset has is known from the job; but for all frames of animations
    (``time.frames`` ``all``) and for patterns that an asset, or a file, decides, where ``views`` is
    0.

    Args:
        assets: Paths of 3D files, on the workers' machine; or ids to paths.
        job: As ``objaverse-render render`` has it.
        reseed: Draw cameras and lights anew in every epoch, by a seed that the epoch is counted
            onto.

    Raises:
        InvalidJob: There are no assets, two have one id, or the job has files for each asset that
            a stream has no place for.
    """

    def __init__(
        self,
        assets: Sequence[str | Path] | Mapping[str, str | Path],
        job: RenderJob | None = None,
        *,
        reseed: bool = False,
    ) -> None:
        pairs = (
            list(assets.items())
            if isinstance(assets, Mapping)
            else [(Path(path).stem, path) for path in assets]
        )
        if not pairs:
            raise InvalidJob("A stream of no assets is none.")
        if len({name for name, _ in pairs}) < len(pairs):
            raise InvalidJob(
                "Two assets have the same id.", hint="Give a dictionary of ids to paths."
            )
        self.assets = [(name, str(path)) for name, path in pairs]
        self.job, self.reseed = (job or RenderJob()).resolved(), reseed
        self.folders = sorted({str(Path(path).absolute().parent) for _, path in self.assets})
        if self.job.files.geometry_files or self.job.files.rig:
            raise InvalidJob(
                "A stream has no place for files of an asset's surface or rig.",
                hint="Leave out files.geometry_files and files.rig, or render a data set.",
            )
        self.views = _samples_of(self.job)

    def __len__(self) -> int:
        return len(self.assets)

    def frames(
        self, workers: Opens, session: Session | None, item: Item, timeout: float
    ) -> Iterator[tuple[Session, LiveFrame]]:
        """See :meth:`Source.frames`."""
        if session is not None:
            session.close()
        name, path = self.assets[item.index % len(self.assets)]
        job = self.job
        if self.reseed and item.epoch:
            job = job.with_values({"seed": job.seed + item.epoch})
        item.note(asset=name)
        session = workers.open(path, job=job, name=name)
        item.views = self.views or session.count
        item.made_of = _made_of(session.told(path, timeout))
        frames = session.render_views(timeout=timeout)
        for number, frame in enumerate(frames, 1):
            item.note(view=frame.view.index)
            if number == item.views:
                # Some of what metadata say is known once all views are rendered.
                more = next(frames, None)
                told = session.told(path, timeout)
                if more is None and _made_of(told) == item.made_of:
                    item.asset = {**told, "job": job.to_dict()}
                yield session, frame
                if more is not None:
                    yield session, more
                return
            yield session, frame


def _samples_of(job: RenderJob) -> int:
    """Frames of each asset; 0 where only the open asset tells."""
    times = 1
    if job.time.frames is not None:
        times = len(frame_range(job.time.frames) or ())
        if job.time.views_per_frame == "one":
            return times
    cameras = job.cameras
    eyes = 1 if cameras.stereo is None else 2
    return times * eyes * (cameras.views + cameras.test_views) if cameras.views else 0


def _made_of(told: Mapping[str, Any]) -> str:
    made = repr((told["made_of"], told["fingerprint"], told["source"]["sha256"]))
    return hashlib.sha256(made.encode()).hexdigest()[:32]


def for_one_worker(source: Source) -> Source:
    """A copy that one Blender's thread may change as it likes; steered with the others."""
    return copy.deepcopy(source)
