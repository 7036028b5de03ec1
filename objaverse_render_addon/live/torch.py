"""Samples of a source as they are rendered, for PyTorch (the extra ``torch``).

::

    data = StreamDataset(Rocket(), 10_000, blenders=4)
    for epoch in range(10):
        data.set_epoch(epoch)
        for batch in DataLoader(data, batch_size=8, num_workers=2, collate_fn=collate):
            batch["rgb"]                        # (8, 3, H, W) uint8
            data.note_seen(batch)               # where it is to go on by data.state_dict()
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ..batch.lanes import capacity
from ..dataset.torch import Uneven, _place, _share
from ..errors import InvalidJob, MissingDependency
from ..job import RenderJob
from ..passspec import PASSES
from .recorder import record
from .recording import Recording, recorded
from .samples import Sample
from .seen import Seen
from .sources import Source
from .streaming import Stream, Totals

try:
    import torch
    from torch.utils.data import Dataset as MapStyle
    from torch.utils.data import IterableDataset as Streamed
    from torch.utils.data import default_collate, get_worker_info
except ImportError:
    if not TYPE_CHECKING:
        torch, MapStyle, Streamed = None, object, object

__all__ = ["RecordedDataset", "StreamDataset", "collate", "tensors_of"]


class StreamDataset(Streamed):  # type: ignore[misc]
    """Samples of a source, rendered while they are asked for: an iterable dataset.

    Splits itself between ranks and ``DataLoader`` workers, each with Blenders of its own: every
    sample comes once an epoch, whatever their numbers and whichever Blenders die. What a sample
    shows depends on seed, epoch and number alone. After a restart it goes on behind what was seen
    (:meth:`state_dict`), also with other numbers of workers and ranks.

    A sample is a dictionary of tensors (:func:`tensors_of`), which lie in the memory that Blender's
    process wrote them into. Blenders start when the first sample is asked for; with
    ``persistent_workers=True`` they stay from epoch to epoch.

    Args:
        source: Where samples come from; :meth:`.sources.Source.update` of it reaches the Blenders
            of all workers that were started with it. Or a :class:`.recording.Recording`, whose
            samples are given again, without any Blender, shuffled where it says so.
        count: Units of an epoch, of all ranks together; by default what the source says.
        blenders: Of this rank, shared out over its workers, at least one each; ``auto`` goes by
            cores, memory and GPUs.
        rank: Of this process; by default that of ``torch.distributed``, or 0.
        world_size: Number of ranks.
        uneven: Where the units are not a multiple of the ranks: ``keep`` deals the remainder out,
            ``drop`` leaves it out, so that all ranks have as many.
        transform: Called with each sample's dictionary of tensors; what it returns is the sample.
        record: Folder that all samples are recorded in on their way, each worker in files of its
            own (:mod:`.recording`).
        resume: What that folder has already counts as seen: it is neither rendered nor given again,
            whoever recorded it.
        options: Of :class:`.streaming.Stream`.

    Raises:
        MissingDependency: PyTorch is not installed.
        InvalidJob: How many units an epoch has is not known.
    """

    def __init__(
        self,
        source: Source | Recording,
        count: int | None = None,
        *,
        seed: int = 0,
        blenders: int | Literal["auto"] = "auto",
        rank: int | None = None,
        world_size: int | None = None,
        uneven: Uneven = "keep",
        transform: Callable[[dict[str, Any]], Any] | None = None,
        record: str | os.PathLike[str] | None = None,
        resume: bool = False,
        **options: Any,
    ) -> None:
        _need_torch()
        super().__init__()
        if isinstance(source, Recording) and (count is not None or options or record):
            raise InvalidJob(
                "A recording gives what it has: it takes no count and no options of a stream.",
                hint="Slices of one are lists of samples.",
            )
        count = count if count is not None else len(source) or None
        if count is None or uneven == "repeat":
            raise InvalidJob(
                "A dataset has a number of units, none of them twice.",
                hint="Give count, and uneven as keep or drop; live.stream takes no count.",
            )
        self.source, self.count, self.blenders = source, count, blenders
        self.rank, self.world_size = _place(rank, world_size)
        self.uneven: Uneven = uneven
        self.transform, self.record, self.options = transform, record, options
        self.seed = seed
        # Shared, so that workers that live on between epochs hear of the next one.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()
        self._stream: Stream | Recording | None = None
        self._pid = 0
        self._seen: tuple[int, Seen] | None = None
        self._behind: tuple[int, Seen] | None = None
        """Epoch and what was seen of it: until now, and before it was begun here."""
        self._plan(0, 1)  # What is wrong with the options is said here.
        self._recorded: dict[int, Seen] = {}
        """By epoch, what was there before any of this one was begun."""
        if resume:
            if record is None:
                raise InvalidJob("Where there is no recording, there is none to go on with.",
                                 hint='Say where it is: record="folder".')  # fmt: skip
            self._recorded = recorded(record, self.count, self._need_source().views, seed)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stream": None}

    def set_epoch(self, epoch: int) -> None:
        """Draw other samples; to be called before each epoch, also with workers that live on."""
        self._epoch[0] = epoch

    def __len__(self) -> int:
        """Samples of this rank in an epoch, of all its workers together.

        Raises:
            TypeError: Units differ in how many they have (:attr:`.sources.Source.views` 0).
        """
        if isinstance(self.source, Recording):
            return _share(self._units(), self.rank, self.world_size, self.uneven)
        whole = self._plan(0, 1)
        assert isinstance(whole, Stream)
        whole.seen = self._seen_before(self.epoch)
        return len(whole)

    @property
    def epoch(self) -> int:
        """Which one is drawn when it is iterated."""
        return int(self._epoch.item())

    # --- What was seen ---------------------------------------------------------------------------

    def note_seen(self, batch: Mapping[str, Any]) -> None:
        """Say that samples were trained on, which a ``DataLoader``'s workers cannot know.

        Not needed without workers, where all are noted that are given.

        Args:
            batch: A sample or a batch with its ``epoch``, ``index`` and ``view``, and ``views``
                where units differ in those.

        Raises:
            InvalidJob: It has none of these, or is of another epoch than the one that goes on.
        """
        names = ["epoch", "index", "view", *([] if self._need_source().views else ["views"])]
        try:
            told = [torch.as_tensor(batch[name]).flatten().tolist() for name in names]
        except KeyError as error:
            raise InvalidJob(
                f"This batch has no {error}.",
                hint=f"A transform or collate_fn that keeps {', '.join(names)} lets it be noted.",
            ) from error
        for epoch, index, *view in zip(*told, strict=True):
            if epoch != self.epoch:
                raise InvalidJob(
                    f"A sample of epoch {epoch} came; {self.epoch} goes on.",
                    hint="Note a batch before set_epoch().",
                )
            self._noted(epoch).add(index, *view)

    def _noted(self, epoch: int) -> Seen:
        """What was seen of an epoch, which is begun where another was noted before."""
        if self._seen is None or self._seen[0] != epoch:
            before = self._seen_before(epoch)
            self._seen = epoch, before.copy() if before else self._nothing_seen()
        return self._seen[1]

    def _nothing_seen(self) -> Seen:
        return Seen(self.count, self._need_source().views)

    def _seen_before(self, epoch: int) -> Seen | None:
        """What of an epoch is not given again."""
        behind = self._behind[1] if self._behind and self._behind[0] == epoch else None
        there = self._recorded.get(epoch)
        if behind is None or there is None:
            return there if behind is None else behind
        both = behind.copy()
        both.update(there)
        return both

    def state_dict(self) -> dict[str, Any]:
        """What was seen of this epoch, as JSON; :meth:`load_state_dict` goes on behind it.

        Of one rank, and where its ``DataLoader`` has workers, of what :meth:`note_seen` was told.
        In a worker it is what that one gave, as torchdata's ``StatefulDataLoader`` wants it.
        """
        self._need_source()
        return {
            "version": 1, "epoch": self.epoch, "seed": self.seed,
            **self._noted(self.epoch).to_dict(),
        }  # fmt: skip

    def load_state_dict(self, *states: Mapping[str, Any]) -> None:
        """Go on in the epoch of a :meth:`state_dict`, without what was seen of it.

        Args:
            states: This rank's; where their number changes, those of all ranks.

        Raises:
            InvalidJob: They are of no stream like this one, or of several epochs.
        """
        self._need_source()
        about = {(state.get("version"), state.get("epoch"), state.get("seed")) for state in states}
        if len(about) != 1:
            raise InvalidJob(
                "One state is to be gone on from, or those of all ranks at one time.",
                hint="These are none, or have several epochs or seeds.",
            )
        version, epoch, seed = about.pop()
        if version != 1 or type(epoch) is not int:
            raise InvalidJob(f"A stream's state of version {version} is not known here.")
        if seed != self.seed:
            raise InvalidJob(f"What was seen was drawn by seed {seed}, not {self.seed}.")
        seen = self._nothing_seen()
        for state in states:
            seen.update(Seen.from_dict(state))
        self._behind, self._seen = (epoch, seen), None
        self._epoch[0] = epoch

    def _need_source(self) -> Source:
        if isinstance(self.source, Recording):
            raise InvalidJob(
                "A recording does not know what was seen of it.",
                hint="RecordedDataset gives its samples by number, to a sampler that knows.",
            )
        return self.source

    # --- Giving ----------------------------------------------------------------------------------

    @property
    def totals(self) -> Totals:
        """What became of samples in this process; of workers, theirs say it."""
        return self._stream.totals if isinstance(self._stream, Stream) else Totals()

    def close(self) -> None:
        """End the Blenders of this process."""
        stream, self._stream = self._stream, None
        if stream is not None and self._pid == os.getpid():
            stream.close()

    def _units(self) -> int:
        """Of all ranks."""
        left = self.count % self.world_size if self.uneven == "drop" else 0
        return self.count - left

    def _plan(self, worker: int, workers: int) -> Stream | Recording:
        part = self.rank + self.world_size * worker, self.world_size * workers
        if isinstance(self.source, Recording):
            made = copy.copy(self.source)
            made.part, made.most = part, self._units()
            return made
        return Stream(
            self.source, self._units(), seed=self.seed,
            blenders=_dealt(self.blenders, worker, workers), part=part, **self.options,
        )  # fmt: skip

    def __iter__(self) -> Iterator[Any]:
        if self._stream is None or self._pid != os.getpid():
            info = get_worker_info()
            worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
            self._stream, self._pid = self._plan(worker, workers), os.getpid()
        self._stream.epoch = epoch = self.epoch
        samples: Iterable[Sample] = self._stream
        seen: Seen | None = None
        if isinstance(self._stream, Stream):
            self._stream.seen, self._seen = self._seen_before(epoch), None
            seen = self._noted(epoch)
        if self.record is not None:
            worker = self._stream.part[0]
            samples = record(samples, self.record, f"epoch{epoch:04d}-part{worker:03d}")
        for sample in samples:
            made: Any = tensors_of(sample)
            if seen is not None:
                known = sample.record
                seen.add(known["index"], known["view"], known["views"])
            del sample
            if self.transform is not None:
                made = self.transform(made)
            yield made
            del made


class RecordedDataset(MapStyle):  # type: ignore[misc]
    """Recorded samples, to be looked up by number: a map-style dataset, for samplers.

    Args:
        where: A :class:`.recording.Recording`, or what one is made of.
        transform: As for :class:`StreamDataset`.
    """

    def __init__(
        self,
        where: Recording | str | os.PathLike[str],
        *,
        transform: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        _need_torch()
        self.recording = where if isinstance(where, Recording) else Recording(where)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.recording)

    def __getitem__(self, index: int) -> Any:
        """See :meth:`.recording.Recording.__getitem__`."""
        made = tensors_of(self.recording[index])
        return made if self.transform is None else self.transform(made)


def _need_torch() -> None:
    if torch is None:
        raise MissingDependency(
            "Samples as tensors need PyTorch.",
            hint="python -m pip install 'objaverse-render-addon[torch]'",
        )


def _dealt(blenders: int | Literal["auto"], worker: int, workers: int) -> int | Literal["auto"]:
    """How many Blenders are one worker's."""
    if workers == 1:
        return blenders
    if blenders == "auto":
        blenders = len(capacity.places(RenderJob(), workers=None, wanted_gpus=None))
    return max(1, blenders // workers + (worker < blenders % workers))


def tensors_of(sample: Sample) -> dict[str, Any]:
    """A sample as tensors.

    * every pass by its name: (C, H, W), a view of the sample's memory, of the dtype that the pass
      has: ``rgb`` is uint8, sRGB, with straight alpha as its fourth channel where it has any;
      depth, normals and the like are float32 with the units of the metadata; ids are integers.
    * ``rgb@1`` and so on: the same view under another of several lights; ``tracks``: (N, 6).
    * ``index``, ``view``, ``views``, ``epoch``, ``state``: int64, see :class:`.samples.Sample`.
    * ``intrinsics``: (3, 3) float32, pixels; the first pixel's centre is (0.5, 0.5).
    * ``camera_to_world``: (4, 4) float32, OpenGL camera axes (+Y up, looking along -Z).
    * ``values``: what the source noted, numbers and lists of numbers as float32.
    * annotations by their names (docs/streams.md).
    """
    found: dict[str, Any] = {
        name: _tensor(array, planes=name.partition("@")[0] in PASSES)
        for name, array in sample.arrays.items()
    }
    for name in ("index", "view", "views", "epoch", "state"):
        found[name] = torch.tensor(int(sample.record.get(name, 0)))
    camera = sample.record["camera"]
    for name in ("intrinsics", "camera_to_world"):
        found[name] = torch.tensor(camera[name], dtype=torch.float32)
    found["values"] = {name: _value(value) for name, value in sample.values.items()}
    return found


def _tensor(array: npt.NDArray[Any], *, planes: bool) -> torch.Tensor:
    if array.dtype == np.uint32:
        array = array.view(np.int32)  # Operators take signed ones.
    elif array.dtype == np.uint16:
        array = array.astype(np.int32)
    if not array.flags.writeable:
        array = array.copy()
    made = torch.from_numpy(array)
    if not planes:
        return made
    return made[None] if made.ndim == 2 else made.permute(2, 0, 1)


def _value(value: Any) -> Any:
    if isinstance(value, bool | str) or value is None:
        return value
    try:
        return torch.tensor(value, dtype=torch.float32)
    except (TypeError, ValueError):
        return value


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch: what all samples have in one shape is stacked, the rest is a list.

    Numbers of objects differ from picture to picture; boxes and keypoints are lists of tensors.
    """
    return {name: _together([sample[name] for sample in samples]) for name in samples[0]}


def _together(items: Sequence[Any]) -> Any:
    first = items[0]
    if isinstance(first, dict):
        names = dict.fromkeys(name for item in items for name in item)
        return {name: _together([item.get(name) for item in items]) for name in names}
    if isinstance(first, torch.Tensor):
        alike = all(
            isinstance(item, torch.Tensor) and item.shape == first.shape for item in items
        )
        return default_collate(list(items)) if alike else list(items)
    return list(items)
