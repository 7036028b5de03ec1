"""What a dataset looks like as a whole: poses, lenses, coverage, depth, sizes, doubts, failures.

Assets are read one after the other and forgotten; what is kept are histograms and counts, whose
size does not grow with the dataset.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np

from ..errors import RenderError
from ..frame import mask_of
from ..motion.visibility import HIDDEN, UNKNOWN
from ..passspec import MARKERS
from .guards import believing
from .histogram import Histogram
from .parallel import mapped
from .reader import AssetReader, AssetRef
from .sheet import spread

__all__ = [
    "ABOUT", "AZIMUTHS", "ELEVATIONS", "OF_MOTION", "Statistics", "gather", "summary_of",
    "unreadable",
]  # fmt: skip

AZIMUTHS: Final = 36
ELEVATIONS: Final = 18
"""The sphere's cells: 10 degrees of azimuth, and bands of equal area (of equal sine)."""

_MOST_NAMES: Final = 200
_LONGEST_NAME: Final = 120
_MOST_EXAMPLES: Final = 50

ABOUT: Final = {
    "elevation_degrees": ("Elevation", "degrees, of the camera seen from the object's centre"),
    "distance": ("Distance", "scene units, from the camera to the object's centre"),
    "fov_degrees": ("Field of view", "degrees, across the shorter side"),
    "coverage": ("Coverage", "share of the picture that is object"),
    "box_share": ("Size in the picture", "longer side of the object's box, as a share of the "
                  "picture's shorter side"),
    "depth": ("Depth", "scene units along the viewing axis, of the object's pixels in the views "
              "that were read"),
    "views_per_asset": ("Views per asset", "views"),
    "faces": ("Faces rendered", "faces per asset"),
    "extent": ("Size of the source", "longest edge of the asset before normalisation, its units"),
    "file_size": ("Source file", "bytes per asset"),
    "seconds": ("Render time", "seconds per asset"),
    "frames_per_asset": ("Frames per asset", "frames, of the animated assets"),
    "motion": ("Motion", "the farthest that a vertex moves, as a share of the longest edge of the "
               "whole animation's box"),
    "flow": ("Flow", "pixels to the next frame, of the object's pixels that move, in the views "
             "that were read"),
    "moving": ("Moving", "share of the object's pixels that move by more than half a pixel to the "
               "next frame"),
    "occluded": ("Occluded", "share of the object's pixels that the next frame hides"),
}  # fmt: skip
"""Histogram to its title and unit."""
OF_MOTION: Final = ("frames_per_asset", "motion", "flow", "moving", "occluded")
"""Those that stills have nothing of."""
_READ: Final[tuple[str, ...]] = ("depth", "flow_forward", "occlusion_forward")
"""Passes whose pixels are read."""
_MOVES: Final = 0.5
"""Pixels of flow from which a pixel is said to move."""
_STILL: Final = 1e-5
"""Motion below which an animation is one of nothing, as whoever rendered it says it."""


def _histograms() -> dict[str, Histogram]:
    return {
        "elevation_degrees": Histogram(5.0),
        "distance": Histogram(0.025, log=True),
        "fov_degrees": Histogram(2.0),
        "coverage": Histogram(0.02),
        "box_share": Histogram(0.04),
        "depth": Histogram(0.02, log=True),
        "views_per_asset": Histogram(1.0),
        "faces": Histogram(0.125, log=True),
        "extent": Histogram(0.125, log=True),
        "file_size": Histogram(0.125, log=True),
        "seconds": Histogram(0.1, log=True),
        "frames_per_asset": Histogram(1.0),
        "motion": Histogram(0.02),
        "flow": Histogram(0.05, log=True),
        "moving": Histogram(0.02),
        "occluded": Histogram(0.02),
    }


@dataclass(slots=True)
class Statistics:
    """Counts of a dataset, or of one asset.

    Attributes:
        views_read: Views whose pixels were read, for the depth.
        animated: Assets that were rendered at several frames.
        still: Those of them in which nothing moves.
        frames: Of all animated ones.
        unreadable: Reason to how many assets cannot be read.
        failed: Reason to how many assets were never rendered, as a run's records tell.
        examples: A few of the unreadable: what, and what is wrong.
        sphere: (ELEVATIONS, AZIMUTHS) counts of cameras, from the lowest band up and from +X
            towards +Y.
        checks: Check to outcome to how many views.
        warnings: Name to how many assets.
        kinds: Field of the metadata to value to how many assets.
        stages: Stage of rendering to seconds, of all assets together.
    """

    assets: int = 0
    views: int = 0
    views_read: int = 0
    animated: int = 0
    still: int = 0
    frames: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, str]] = field(default_factory=list)
    sphere: np.ndarray[Any, Any] = field(
        default_factory=lambda: np.zeros((ELEVATIONS, AZIMUTHS), np.int64)
    )
    checks: dict[str, Counter[str]] = field(default_factory=dict)
    warnings: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, Counter[str]] = field(default_factory=dict)
    stages: Counter[str] = field(default_factory=Counter)
    histograms: dict[str, Histogram] = field(default_factory=_histograms)

    def merge(self, other: Statistics) -> None:
        """Count in what another counted."""
        self.assets += other.assets
        self.views += other.views
        self.views_read += other.views_read
        self.animated += other.animated
        self.still += other.still
        self.frames += other.frames
        self.sphere += other.sphere
        self.examples = (self.examples + other.examples)[:_MOST_EXAMPLES]
        for mine, theirs in (
            (self.unreadable, other.unreadable),
            (self.failed, other.failed),
            (self.warnings, other.warnings),
            (self.stages, other.stages),
            *((_entry(self.checks, name), counts) for name, counts in other.checks.items()),
            *((_entry(self.kinds, name), counts) for name, counts in other.kinds.items()),
        ):
            for name, count in theirs.items():
                mine[_known(mine, name)] += count
        for name, histogram in other.histograms.items():
            self.histograms[name].merge(histogram)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; documented in docs/stats.md."""
        return {
            "version": 1,
            "assets": self.assets,
            "views": self.views,
            "views_read": self.views_read,
            "animated": self.animated,
            "still": self.still,
            "frames": self.frames,
            "unreadable": _sorted(self.unreadable),
            "examples": [{"asset": asset, "error": error} for asset, error in self.examples],
            "failed": _sorted(self.failed),
            "sphere": self.sphere.tolist(),
            "checks": {name: dict(sorted(counts.items())) for name, counts in
                       sorted(self.checks.items())},
            "warnings": _sorted(self.warnings),
            "kinds": {name: _sorted(counts) for name, counts in sorted(self.kinds.items())},
            "stage_seconds": {name: round(value, 3) for name, value in
                              _sorted(self.stages).items()},
            "histograms": {name: found.to_dict() for name, found in self.histograms.items()},
        }  # fmt: skip


def gather(assets: Iterable[AssetRef], views: int = 4, jobs: int = 1) -> Iterator[Statistics]:
    """The statistics of each asset, in order, for :meth:`Statistics.merge`.

    Args:
        views: Of each asset, read the pixels of at most so many, evenly spread; 0 reads the
            metadata alone.
        jobs: Processes.

    Raises:
        WorkerCrashed: One of the processes died.
    """
    return mapped(partial(summary_of, views=views), assets, jobs)


def summary_of(asset: AssetRef, views: int = 4) -> Statistics:
    """The statistics of one asset; one that cannot be read is counted as that."""
    found = Statistics(assets=1)
    try:
        with believing(asset), asset.open() as reader:
            _metadata(found, reader.metadata)
            _cameras(found, reader)
            _time(found, reader)
            _pixels(found, reader, views)
    except RenderError as error:
        return unreadable(str(asset), error)
    return found


def unreadable(where: str, error: RenderError) -> Statistics:
    """The statistics of an asset, or a shard, that cannot be read."""
    found = Statistics(assets=1)
    found.unreadable[error.reason] += 1
    found.examples.append((where, error.message))
    return found


def _metadata(found: Statistics, record: Mapping[str, Any]) -> None:
    settings = _table(record.get("render_settings"))
    resolution = settings.get("resolution")
    if isinstance(resolution, list):
        resolution = "×".join(str(side) for side in resolution[:2])
    files = _table(_table(record.get("geometry")).get("files"))
    generator, normalization = _table(record.get("generator")), _table(record.get("normalization"))
    for name, value in (
        ("camera pattern", settings.get("camera_distribution")),
        ("engine", settings.get("engine")),
        ("device", settings.get("device")),
        ("Blender", settings.get("blender_version")),
        ("resolution", resolution),
        ("file type", record.get("file_type")),
        ("licence", record.get("license")),
        ("normalisation", normalization.get("method")),
        ("lighting", _table(record.get("lighting")).get("mode")),
        ("generator", generator.get("version")),
        ("geometry files", ", ".join(sorted(files)) or "none"),
    ):
        found.kinds[name] = Counter([_text("unknown" if value is None else value)])
    names = {_text(str(entry).partition(":")[0]) for entry in _list(record.get("warnings"))}
    found.warnings.update(names)
    for stage, value in _table(record.get("seconds")).items():
        if (seconds := _number(value)) is None:
            continue
        if stage == "total":
            found.histograms["seconds"].add(seconds)
        else:
            found.stages[_text(stage)] += seconds  # type: ignore[assignment]
    scene = _table(record.get("scene_size"))
    low, high = (_vector(scene.get(name)) for name in ("bbox_min", "bbox_max"))
    extent = None if low is None or high is None else float((high - low).max())
    sizes = ("faces", record.get("faces_rendered")), ("file_size", record.get("file_size"))
    for name, value in (*sizes, ("extent", extent)):
        if (number := _number(value)) is not None:
            found.histograms[name].add(number)


def _cameras(found: Statistics, reader: AssetReader) -> None:
    center = np.array(_vector(reader.bounds.center))
    found.views = len(reader)
    found.histograms["views_per_asset"].add(found.views)
    for index, record in enumerate(reader.views):
        camera = reader.view(index).camera
        away = camera.camera_to_world[:3, 3] - center
        distance = float(np.linalg.norm(away))
        found.histograms["distance"].add(distance)
        found.histograms["fov_degrees"].add(min(camera.fov))
        if math.isfinite(distance) and distance > 0:
            sine = min(1.0, max(-1.0, float(away[2]) / distance))
            found.histograms["elevation_degrees"].add(math.degrees(math.asin(sine)))
            azimuth = math.atan2(away[1], away[0]) / math.tau % 1.0
            row = min(ELEVATIONS - 1, int((sine + 1) / 2 * ELEVATIONS))
            found.sphere[row, int(azimuth * AZIMUTHS) % AZIMUTHS] += 1
        for name, outcome in _table(record.get("checks")).items():
            status, value = (*_list(outcome), None, None)[:2]
            found.checks.setdefault(_text(name), Counter())[_text(status)] += 1
            # The check that the mask is not empty rests on the number of its pixels.
            if name == "mask_not_empty" and (pixels := _number(value)) is not None:
                found.histograms["coverage"].add(pixels / (camera.width * camera.height))
        box = _vector(record.get("object_box_px"), 4)
        if box is not None:
            longest = max(box[2] - box[0], box[3] - box[1])
            found.histograms["box_share"].add(longest / min(camera.width, camera.height))


def _time(found: Statistics, reader: AssetReader) -> None:
    frames = len(reader.times)
    if frames < 2:
        return
    found.animated, found.frames = 1, frames
    found.histograms["frames_per_asset"].add(frames)
    motion = _number(_table(reader.metadata.get("time")).get("motion"))
    if motion is not None:
        found.histograms["motion"].add(motion)
        found.still = int(motion < _STILL)


def _pixels(found: Statistics, reader: AssetReader, views: int) -> None:
    wanted = [name for name in _READ if name in reader.passes]
    if views < 1 or not wanted:
        return
    if wanted[-1] != "depth":
        # It is to be known which zeros are an object's.
        wanted += [name for name in MARKERS if name in reader.passes][:1]
    for index in spread(len(reader), views):
        arrays = reader.read(index, list(dict.fromkeys(wanted)))
        if "depth" in arrays:
            found.histograms["depth"].add(arrays["depth"][arrays["depth"] != 0])
        _motion(found, arrays)
        found.views_read += 1


def _motion(found: Statistics, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    shown = mask_of(arrays, exact=True)
    if shown is None:
        return
    flow, codes = (arrays[name][shown] if name in arrays else None for name in _READ[1:])
    if flow is not None:
        lengths = np.linalg.norm(flow.astype(np.float64), axis=-1)
        # In a clip's last frame, and of what cannot be followed, it is not known.
        lengths = lengths[np.isfinite(lengths)]
        found.histograms["flow"].add(lengths[lengths > 0])
        if len(lengths):
            found.histograms["moving"].add(float(np.mean(lengths > _MOVES)))
    if codes is not None and (known := codes != UNKNOWN).any():
        found.histograms["occluded"].add(float(np.mean(codes[known] == HIDDEN)))


def _known(counts: Mapping[str, Any], name: str) -> str:
    """The name to count under: what comes from files may have any number of names."""
    return name if name in counts or len(counts) < _MOST_NAMES else "(others)"


def _entry(table: dict[str, Counter[str]], name: str) -> Counter[str]:
    return table.setdefault(_known(table, name), Counter())


def _sorted(counts: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return str(value)[:_LONGEST_NAME]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _vector(value: Any, length: int = 3) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    numbers = [_number(item) for item in value] if isinstance(value, list | tuple) else []
    if len(numbers) != length or None in numbers:
        return None
    return np.array(numbers, dtype=np.float64)
