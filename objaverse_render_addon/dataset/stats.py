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
from .guards import believing
from .histogram import Histogram
from .parallel import mapped
from .reader import AssetReader, AssetRef
from .sheet import spread

__all__ = ["ABOUT", "AZIMUTHS", "ELEVATIONS", "Statistics", "gather", "summary_of", "unreadable"]

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
}  # fmt: skip
"""Histogram to its title and unit."""


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
    }


@dataclass(slots=True)
class Statistics:
    """Counts of a dataset, or of one asset.

    Attributes:
        views_read: Views whose pixels were read, for the depth.
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


def _pixels(found: Statistics, reader: AssetReader, views: int) -> None:
    if views < 1 or "depth" not in reader.passes:
        return
    for index in spread(len(reader), views):
        depth = reader.read(index, ["depth"])["depth"]
        found.histograms["depth"].add(depth[depth != 0])
        found.views_read += 1


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
