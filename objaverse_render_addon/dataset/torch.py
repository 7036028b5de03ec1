"""Finished assets as training samples for PyTorch (the extra ``torch``).

A sample is one asset with ``inputs`` views to see and ``targets`` views to predict, all different.
Which ones is decided by seed, epoch and the asset's id alone: not by workers, ranks or order.

::

    data = MultiView("data", inputs=4, targets=2)
    for epoch in range(10):
        data.set_epoch(epoch)
        for batch in DataLoader(data, batch_size=8, shuffle=True, num_workers=8):
            batch["input"]["rgb"]               # (8, 4, 3, H, W)

:class:`MultiViewStream` is the same for an ordinary ``DataLoader`` over shards, split between the
workers and ranks by itself.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ..cameras import PROJECTIONS, draw
from ..errors import InvalidJob, MissingDependency, RenderError
from ..passspec import PASSES
from .images import over
from .reader import AssetReader, AssetRef, Dataset

try:
    import torch
    from torch.utils.data import Dataset as MapStyle
    from torch.utils.data import IterableDataset as Streamed
    from torch.utils.data import Sampler, get_worker_info
except ImportError:
    if not TYPE_CHECKING:
        torch, MapStyle, Streamed, Sampler = None, object, object, object

__all__ = ["MultiView", "MultiViewStream", "RankSampler", "rays"]

Uneven = Literal["keep", "drop", "repeat"]
Sample = dict[str, Any]
_LENSES = tuple(PROJECTIONS)


class MultiView(MapStyle):  # type: ignore[misc]
    """Assets as samples, to be looked up by number: a map-style dataset.

    A sample is a dictionary, which ``DataLoader`` stacks as it is where all assets have views of
    one size:

    * ``id``: the asset's, ``str``.
    * ``input`` and ``target``: the chosen views, k of them each, as a dictionary of tensors

      * ``index``: (k,) int64, places among the asset's views.
      * ``light``: (k,) int64, where one is asked for: its place among the view's lights.
      * ``time``: (k,) int64, the animation frames that they show; 0 of what stands still.
      * ``seconds``: (k,) float32, when that is as it plays; 0 of what stands still.
      * ``intrinsics``: (k, 3, 3) float32, pixels; the first pixel's centre is (0.5, 0.5).
      * ``projection``: (k,) int64, the lens' place in :data:`.cameras.PROJECTIONS`; 0 is
        perspective. What the intrinsics' fx and fy are, that says.
      * ``camera_to_world``: (k, 4, 4) float32, OpenGL camera axes (+Y up, looking along -Z).
      * ``world_to_camera``: (k, 4, 4) float32, OpenCV camera axes (+Y down, looking along +Z).
      * ``rgb``: (k, 3, H, W) float32, sRGB in 0…1, over ``background``; (k, 4, H, W) with
        straight alpha where that is ``None``.
      * ``alpha``: (k, 1, H, W) float32 in 0…1, with ``rgb`` that had any.
      * every other pass by its name: (k, C, H, W), float32 with the units of the metadata;
        ``object_index`` is int64.

    Args:
        data: A :class:`.reader.Dataset`, or the path or URL of one.
        inputs: Views of ``input``; 0 leaves it out.
        targets: Views of ``target``; 0 leaves it out.
        passes: What to read.
        background: sRGB colour in 0…1 that ``rgb`` is laid over, or ``None``.
        light: Of views with several: the place of the one whose pictures are read, ``drawn`` for
            one per view by the seed, or ``None`` for the view's own pictures.
        split: Of views, where some are held out for tests: ``train`` or ``test``; ``None`` takes
            all. Where none are, all are ``train``.
        repeats: Samples of each asset in an epoch, each with other views.
        same_time: Of animations, take all views of a sample at one time, which is drawn; else they
            are drawn among all times.
        seed: Of every choice.

    Raises:
        MissingDependency: PyTorch is not installed.
        InvalidJob: No view is asked for.
    """

    def __init__(
        self,
        data: Dataset | str | os.PathLike[str],
        *,
        inputs: int = 4,
        targets: int = 1,
        passes: Sequence[str] = ("rgb",),
        background: tuple[float, float, float] | None = (1.0, 1.0, 1.0),
        repeats: int = 1,
        seed: int = 0,
        split: Literal["train", "test"] | None = "train",
        light: int | Literal["drawn"] | None = None,
        same_time: bool = True,
    ) -> None:
        if torch is None:
            raise MissingDependency(
                "Training samples need PyTorch.",
                hint="python -m pip install 'objaverse-render-addon[torch]'",
            )
        if min(inputs, targets) < 0 or inputs + targets < 1 or repeats < 1:
            raise InvalidJob(
                f"{inputs} inputs, {targets} targets and {repeats} repeats are no sample."
            )
        self.data = data if isinstance(data, Dataset) else Dataset.open(data)
        self.inputs, self.targets = inputs, targets
        self.passes, self.background = tuple(passes), background
        self.repeats, self.seed, self.same_time = repeats, seed, same_time
        self.split = split
        self.light = light
        # Shared, so that workers that live on between epochs hear of the next one.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """Which epoch's choices are made."""
        return int(self._epoch.item())

    def set_epoch(self, epoch: int) -> None:
        """Make other choices; to be called before each epoch, also with workers that live on."""
        self._epoch[0] = epoch

    def __len__(self) -> int:
        return len(self.data) * self.repeats

    def __getitem__(self, index: int) -> Sample:
        """A sample.

        Raises:
            IndexError: There is none of this number.
            InvalidJob: The asset has fewer views than are asked for.
            RenderError: The asset cannot be read.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        asset, repeat = divmod(index % len(self), self.repeats)
        return self.sample(self.data[asset], repeat)

    def sample(self, asset: AssetRef, repeat: int = 0) -> Sample:
        """The sample of an asset in the present epoch."""
        with asset.open() as reader:
            chosen = self._choose(asset, self._places(reader, repeat), repeat)
            found: Sample = {"id": asset.id}
            for name, places in (
                ("input", chosen[: self.inputs]), ("target", chosen[self.inputs :])
            ):  # fmt: skip
                if places:
                    found[name] = self._views(reader, places)
            return found

    def _places(self, reader: AssetReader, repeat: int) -> list[int]:
        """What a sample's views are drawn from: those of the split, at one time."""
        places = [
            place
            for place, record in enumerate(reader.views)
            if self.split in (None, record.get("split") or "train")
        ]
        times = reader.times
        if not self.same_time or len(times) < 2:
            return places
        number = draw(self.seed, reader.id, "time", self.epoch, 1, repeat)[0]
        time = times[int(number * len(times))]
        return [place for place in places if reader.key(place).time == time]

    def _choose(self, asset: AssetRef, places: list[int], repeat: int) -> list[int]:
        wanted, views = self.inputs + self.targets, len(places)
        if views < wanted:
            raise InvalidJob(
                f"{asset} has {views} views; {self.inputs} inputs and {self.targets} targets are "
                "asked for.",
                hint="Ask for fewer, or filter the dataset; of animations, same_time=False takes "
                "views of several times.",
            )
        numbers = draw(self.seed, asset.id, "views", self.epoch, views, repeat)
        return [places[place] for place in np.argsort(numbers, kind="stable")[:wanted]]

    def _views(self, reader: AssetReader, places: Sequence[int]) -> dict[str, torch.Tensor]:
        cameras = [reader.view(place).camera for place in places]
        stacks: dict[str, list[npt.NDArray[Any]]] = {}
        lights: list[int | None] = []
        for place in places:
            lights.append(self._light(reader, place))
            for name, data in reader.read(place, self.passes, light=lights[-1]).items():
                for key, planes in self._planes(name, data):
                    stacks.setdefault(key, []).append(planes)
        views = {
            "index": np.array(places, dtype=np.int64),
            **({} if None in lights else {"light": np.array(lights)}),
            "time": np.array([reader.key(place).time or 0 for place in places], dtype=np.int64),
            "seconds": np.array([reader.seconds(place) for place in places]),
            "intrinsics": np.stack([camera.intrinsics for camera in cameras]),
            "projection": np.array([_LENSES.index(camera.projection) for camera in cameras]),
            "camera_to_world": np.stack([camera.camera_to_world for camera in cameras]),
            "world_to_camera": np.stack([camera.world_to_camera_opencv for camera in cameras]),
        } | {name: np.stack(arrays) for name, arrays in stacks.items()}
        return {
            name: torch.from_numpy(
                data.astype(np.int64 if data.dtype.kind in "iu" else np.float32)
            )
            for name, data in views.items()
        }

    def _light(self, reader: AssetReader, place: int) -> int | None:
        """Whose pictures of a view are read."""
        count = len(reader.lights(place))
        if self.light != "drawn" or not count:
            return None if self.light == "drawn" else self.light
        return int(draw(self.seed, reader.id, "light", self.epoch, place + 1)[place] * count)

    def _planes(
        self, name: str, data: npt.NDArray[Any]
    ) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        spec = PASSES[name]
        if spec.values == "ids":
            yield name, data[None].astype(np.int64)
            return
        planes = data[None] if data.ndim == 2 else np.moveaxis(data, -1, 0)
        planes = planes.astype(np.float32)
        if not spec.is_png:
            yield name, planes
            return
        planes /= 255.0
        if len(planes) == 4:
            alpha = planes[3:]
            yield "alpha", alpha
            if self.background is not None:
                color = np.asarray(self.background, np.float32)[:, None, None]
                planes = over(planes[:3], alpha, color)
        yield name, planes


class RankSampler(Sampler):  # type: ignore[misc]
    """Numbers for a map-style dataset: each rank its own, in an order that the epoch decides.

    Unlike ``torch.utils.data.DistributedSampler`` it repeats nothing unless asked to.

    Args:
        dataset: What ``DataLoader`` reads; its ``epoch`` decides the order where it has one.
        shuffle: Whether the order is drawn.
        seed: Of the order.
        rank: Of this process; by default that of ``torch.distributed``, or 0.
        world_size: Number of ranks.
        uneven: What happens where the samples cannot be divided evenly. ``keep``: some ranks have
            one more. ``drop``: those are left out. ``repeat``: the others get one a second time.
            Training with gradients averaged over ranks needs one of the last two.
    """

    def __init__(
        self,
        dataset: MultiView,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        uneven: Uneven = "keep",
    ) -> None:
        self.dataset, self.shuffle, self.seed = dataset, shuffle, seed
        self.rank, self.world_size = _place(rank, world_size)
        self.uneven: Uneven = uneven

    def __len__(self) -> int:
        return _share(len(self.dataset), self.rank, self.world_size, self.uneven)

    def __iter__(self) -> Iterator[int]:
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = _order(self.seed, "sampler", self.dataset.epoch, len(order))
        yield from _mine(order, self.rank, self.world_size, self.uneven).tolist()


class MultiViewStream(Streamed):  # type: ignore[misc]
    """Assets as samples, one after the other: an iterable dataset.

    Splits itself between ranks and ``DataLoader`` workers: every asset comes once an epoch,
    whatever their numbers. Shards are read in a drawn order, and assets in a window of
    ``shuffle``, so that what is read lies close together.

    Args:
        samples: What a sample is.
        shuffle: Assets in the window; 0 keeps the dataset's order.
        rank: Of this process; by default that of ``torch.distributed``, or 0.
        world_size: Number of ranks.
        uneven: As for :class:`RankSampler`.
        skip_damaged: Warn of an asset that cannot be read and go on, instead of raising.
    """

    def __init__(
        self,
        samples: MultiView,
        *,
        shuffle: int = 1000,
        rank: int | None = None,
        world_size: int | None = None,
        uneven: Uneven = "keep",
        skip_damaged: bool = False,
    ) -> None:
        super().__init__()
        self.samples, self.shuffle = samples, shuffle
        self.rank, self.world_size = _place(rank, world_size)
        self.uneven: Uneven = uneven
        self.skip_damaged = skip_damaged

    def set_epoch(self, epoch: int) -> None:
        """As :meth:`MultiView.set_epoch`."""
        self.samples.set_epoch(epoch)

    def __len__(self) -> int:
        """Samples of this rank in an epoch, of all its workers together."""
        return _share(len(self.samples), self.rank, self.world_size, self.uneven)

    def __iter__(self) -> Iterator[Sample]:
        mine = _mine(self._order(), self.rank, self.world_size, self.uneven)
        worker = get_worker_info()
        if worker is not None:
            mine = mine[worker.id :: worker.num_workers]
        for index in mine.tolist():
            try:
                yield self.samples[index]
            except RenderError as error:
                if not self.skip_damaged:
                    raise
                warnings.warn(f"skipped: {error}", RuntimeWarning, stacklevel=2)

    def _order(self) -> npt.NDArray[np.int64]:
        """All ranks' samples: shards in a drawn order, their assets within a window."""
        total, seed, epoch = len(self.samples), self.samples.seed, self.samples.epoch
        if not self.shuffle:
            return np.arange(total)
        places: dict[str, int] = {}
        shard = [places.setdefault(asset.location, len(places)) for asset in self.samples.data]
        rank_of = np.argsort(_order(seed, "shards", epoch, len(places)))
        key = np.repeat(rank_of[np.array(shard, dtype=np.int64)], self.samples.repeats)
        # Each sample is put back by a drawn part of the window, which mixes neighbours.
        late = draw(seed, "", "window", epoch, total) * self.shuffle
        return np.argsort(np.argsort(np.argsort(key, kind="stable")) + late, kind="stable")


def _order(seed: int, stream: str, epoch: int, count: int) -> npt.NDArray[np.int64]:
    return np.argsort(draw(seed, "", stream, epoch, count), kind="stable")


def _place(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if (rank is None) != (world_size is None):
        raise InvalidJob("rank and world_size belong together.")
    if rank is None or world_size is None:
        group = torch.distributed
        if not (group.is_available() and group.is_initialized()):
            return 0, 1
        return group.get_rank(), group.get_world_size()
    if not 0 <= rank < world_size:
        raise InvalidJob(f"There is no rank {rank} among {world_size}.")
    return rank, world_size


def _share(total: int, rank: int, world_size: int, uneven: Uneven) -> int:
    if uneven == "drop":
        return total // world_size
    if uneven == "repeat":
        return -(-total // world_size)
    return len(range(rank, total, world_size))


def _mine(
    order: npt.NDArray[np.int64], rank: int, world_size: int, uneven: Uneven
) -> npt.NDArray[np.int64]:
    count = _share(len(order), rank, world_size, uneven)
    return np.resize(order, max(len(order), count * world_size))[rank::world_size][:count]


def rays(
    intrinsics: torch.Tensor,
    camera_to_world: torch.Tensor,
    height: int,
    width: int,
    projection: str = "perspective",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rays through the pixel centres in world axes, on the tensors' device.

    Args:
        intrinsics: (..., 3, 3), pixels.
        camera_to_world: (..., 4, 4), OpenGL camera axes.
        projection: The lens of all of them, one of :data:`.cameras.PROJECTIONS`.

    Returns:
        Origins (..., H, W, 3) in scene units, directions (..., H, W, 3) of unit length.

    Raises:
        InvalidJob: There is no such lens.
    """
    options = {"dtype": intrinsics.dtype, "device": intrinsics.device}
    v, u = torch.meshgrid(
        torch.arange(height, **options) + 0.5, torch.arange(width, **options) + 0.5, indexing="ij"
    )
    (fx, _, cx), (_, fy, cy) = (intrinsics[..., i, :, None, None].unbind(-3) for i in (0, 1))
    x, y = (u - cx) / fx, (cy - v) / fy
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    start = torch.stack([zero, zero, zero], dim=-1)
    if projection == "orthographic":
        start = torch.stack([x, y, zero], dim=-1)
        local = torch.stack([zero, zero, -one], dim=-1)
    elif projection == "panorama":
        local = torch.stack([y.cos() * x.sin(), y.sin(), -y.cos() * x.cos()], dim=-1)
    elif projection == "fisheye":
        angle = torch.hypot(x, y)
        stretch = torch.sinc(angle / torch.pi)
        local = torch.stack([stretch * x, stretch * y, -angle.cos()], dim=-1)
    elif projection == "perspective":
        local = torch.stack([x, y, -one], dim=-1)
    else:
        raise InvalidJob(f"There is no projection {projection!r}.")
    pose = camera_to_world[..., None, None, :3, :]
    rotation = pose[..., :3]
    directions = (rotation @ local[..., None])[..., 0]
    directions = directions / directions.norm(dim=-1, keepdim=True)
    return (rotation @ start[..., None])[..., 0] + pose[..., 3], directions
