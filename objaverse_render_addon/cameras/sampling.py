"""The views of an asset: patterns sampled, moved back or drawn again until the object fits.

Random numbers are counter-based: a view's camera depends on the seed, the asset's id and the
view's index alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import CameraFileError
from ..job import PATTERNS, CameraRules, RenderJob
from .camera import Camera, Floats, Rig, View, intrinsics_from_fov, look_at_pose
from .files import views_from_file

__all__ = ["draw", "fitting_radius", "sample_views"]

GOLDEN_ANGLE: Final = math.pi * (3.0 - math.sqrt(5.0))
FRAME_MARGIN: Final = 0.02
"""Share of the half image that ``fit`` and ``resample`` leave free at each side."""
RESAMPLE_ATTEMPTS: Final = 64


def draw(seed: int, asset_id: str, stream: str, index: int, count: int, attempt: int = 0) -> Floats:
    """Uniform numbers in [0, 1) that depend on the arguments alone.

    Philox 4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11), keyed by
    the seed, the asset and the stream's name; the index is in the counter. Only the raw 64-bit
    output is used, which numpy guarantees never to change.

    Returns:
        (count,) float64.
    """
    digest = hashlib.sha256(f"{seed}\0{asset_id}\0{stream}".encode()).digest()
    key = int.from_bytes(digest[:16], "little")
    counter = (index << 128) | (attempt << 64)
    raw = np.random.Philox(key=key, counter=counter).random_raw(count)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def fitting_radius(
    points: npt.NDArray[Any], azimuth: float, elevation: float, intrinsics: Floats,
    size: tuple[int, int], rig: Rig,
) -> float:
    """Smallest distance at which all points are in frame, with :data:`FRAME_MARGIN` to spare.

    A point with offsets x to the right, y up and h towards the camera is in frame when
    ``|x| fx / (r - h)`` is within the half image, which is linear in r: for each of the four
    sides it is the reach of the points in one direction.

    Args:
        points: World positions, (N, 3), in scene units.
        azimuth, elevation: Degrees, as of :func:`look_at_pose`.
        intrinsics: 3x3, in pixels.
        size: Width and height of the image, in pixels.

    Returns:
        From the rig's centre, in scene units.
    """
    pose = look_at_pose(azimuth, elevation, 0.0, rig)
    (fx, _, cx), (_, fy, cy), _ = intrinsics.tolist()
    keep = 1.0 - FRAME_MARGIN
    sides = np.array(
        [
            [fx / (keep * (size[0] - cx)), 0.0, 1.0],
            [-fx / (keep * cx), 0.0, 1.0],
            [0.0, -fy / (keep * (size[1] - cy)), 1.0],
            [0.0, fy / (keep * cy), 1.0],
        ]
    )
    directions = sides @ pose[:3, :3].T
    reach = (directions @ np.asarray(points, dtype=np.float64).T).max(axis=1)
    return float(np.max(reach - directions @ pose[:3, 3]))


def _between(bounds: tuple[float, float], share: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * share


def _elevation(bounds: tuple[float, float], share: float) -> float:
    """Elevation in degrees; equal shares are equal areas of the sphere (Archimedes)."""
    if bounds[0] == bounds[1]:
        return bounds[0]
    low, high = (math.sin(math.radians(bound)) for bound in bounds)
    return math.degrees(math.asin(min(1.0, max(-1.0, low + (high - low) * share))))


def _radical_inverse(index: int) -> float:
    """Van der Corput sequence in base 2."""
    value, digit = 0.0, 0.5
    while index:
        value += digit * (index & 1)
        index >>= 1
        digit /= 2
    return value


@dataclass(frozen=True, slots=True)
class _Sample:
    azimuth: float
    elevation: float
    radius: float
    fov: float


def _drawn(rules: CameraRules, numbers: Floats) -> _Sample:
    assert rules.elevation and rules.radius and rules.fov
    return _Sample(
        azimuth=360.0 * float(numbers[0]),
        elevation=_elevation(rules.elevation, float(numbers[1])),
        radius=_between(rules.radius, float(numbers[2])),
        fov=_between(rules.fov, float(numbers[3])),
    )


def _zero123plus(rules: CameraRules, index: int, share: float) -> tuple[float, float]:
    """The view that the others are told from, and six at set angles, as of Zero123++ v1.2."""
    assert rules.elevation
    if index == 0:
        return 0.0, _between(rules.elevation, share)
    return 60.0 * index - 30.0, 20.0 if index % 2 else -10.0


def _g_objaverse(rules: CameraRules, index: int, offset: Floats) -> tuple[float, float]:
    """Two rings, each at an elevation drawn once per asset; 24 and 39 repeat where one began."""
    assert rules.elevation
    if index in (25, 26):
        return 270.0, 90.0 if index == 25 else -90.0
    if index < 25:
        turn, elevation = index / 24, _between(rules.elevation, float(offset[0]))
    else:
        turn, elevation = (index - 27) / 12, _between((-5.0, 5.0), float(offset[1]))
    return (270.0 + 360.0 * turn) % 360.0, elevation


def _placed(
    rules: CameraRules, index: int, offset: Floats, numbers: Floats
) -> tuple[float, float]:
    """Azimuth and elevation of a pattern by rule, degrees.

    Args:
        offset: Numbers that all views of the asset share.
        numbers: Of this view.
    """
    assert rules.elevation and rules.views
    count = rules.views
    # -90 degrees is Blender's front view.
    ring = (270.0 + 360.0 * index / count) % 360.0
    if rules.pattern == "ring":
        return ring, rules.elevation[0]
    if rules.pattern == "syncdreamer-input":
        return ring, _between(rules.elevation, float(numbers[1]))
    if rules.pattern == "zero123plus":
        return _zero123plus(rules, index, float(numbers[1]))
    if rules.pattern == "g-objaverse":
        return _g_objaverse(rules, index, offset)
    if rules.pattern == "fibonacci":
        azimuth = math.degrees(index * GOLDEN_ANGLE) % 360.0
        return azimuth, _elevation(rules.elevation, (index + 0.5) / count)
    if rules.pattern == "hammersley":
        u = (index + float(offset[0])) / count
        # The remap of TRELLIS's sphere_hammersley_sequence: a quarter of it looks from below.
        u = 2 * u if u < 0.25 else 2 / 3 * u + 1 / 3
        azimuth = 360.0 * (_radical_inverse(index) + float(offset[1]))
        return azimuth % 360.0, _elevation(rules.elevation, u)
    if rules.pattern == "cube-faces":
        return ((0.0, 0.0), (180.0, 0.0), (90.0, 0.0), (270.0, 0.0), (270.0, 90.0), (270.0, -90.0))[
            index
        ]
    share = index / max(1, count - 1)
    azimuth = (270.0 + 360.0 * rules.turns * index / count) % 360.0
    return azimuth, _between(rules.elevation, share)


def sample_views(
    job: RenderJob,
    asset_id: str,
    points: npt.NDArray[Any] | None = None,
    rig: Rig | None = None,
    frames: int = 1,
) -> list[View]:
    """The job's cameras for one asset.

    Args:
        points: (N, 3) points whose hull is the object's, in scene units. Needed where the
            framing is ``fit`` or ``resample``.
        rig: Centre and unit; the origin and 1 unless the asset is not normalised.
        frames: Number of frames, each of which has a view of its own where the job says neither
            how many views there are nor that all see every frame.

    Raises:
        CameraFileError: The pattern is ``file`` and the file is not usable.
    """
    job = job.resolved()
    rules, size = job.cameras, job.pixels.resolution
    rig = rig or Rig()
    if rules.pattern == "file":
        assert rules.file
        return views_from_file(rules.file, size, rules.views)
    if rules.pattern == "scene":
        raise CameraFileError(
            "The cameras of a file are known as soon as it is opened to be rendered.",
            hint="In the window, Use Scene Cameras takes those of the scene that is open.",
        )
    if rules.views is None:
        pattern = PATTERNS[rules.pattern]
        fixed = pattern.numbered or rules.pattern == "cube-faces"
        job = job.with_values({"cameras.views": pattern.views if fixed else frames})
        rules = job.cameras
    assert rules.views and rules.fov
    if rules.framing != "allow" and points is None:
        raise ValueError(f"framing {rules.framing} needs the object's points")
    offset = draw(job.seed, asset_id, "hammersley", 0, 2)

    def intrinsics(fov: float) -> Floats:
        return intrinsics_from_fov(fov, *size, rules.pixel_aspect, rules.shift)

    def needed(sample: _Sample) -> float:
        k = intrinsics(sample.fov)
        return fitting_radius(points, sample.azimuth, sample.elevation, k, size, rig)  # type: ignore[arg-type]

    views = []
    for index in range(rules.views):
        pose: dict[str, float] = {}
        sample = _sample(job, asset_id, index, offset)
        if rules.framing == "resample":
            again = partial(_sample, job, asset_id, index, offset)
            attempt, sample = _first_that_fits(again, needed, rig)
            if attempt:
                pose["attempt"] = attempt
        radius = sample.radius * rig.unit
        if rules.framing == "fit":
            radius = max(radius, needed(sample))
            if radius > sample.radius * rig.unit:
                pose["moved_from_radius"] = sample.radius * rig.unit
        matrix = look_at_pose(sample.azimuth, sample.elevation, radius, rig)
        pose |= {
            "radius": radius,
            "azimuth_degrees": sample.azimuth,
            "elevation_degrees": sample.elevation,
            "fov_degrees": sample.fov,
        }
        views.append(View(index, Camera(*size, intrinsics(sample.fov), matrix), pose))
    return views


def _sample(
    job: RenderJob, asset_id: str, index: int, offset: Floats, attempt: int = 0
) -> _Sample:
    rules = job.cameras
    numbers = draw(job.seed, asset_id, "camera", index, 4, attempt)
    if PATTERNS[rules.pattern].drawn:
        return _drawn(rules, numbers)
    assert rules.radius and rules.fov
    azimuth, elevation = _placed(rules, index, offset, numbers)
    return _Sample(
        azimuth,
        elevation,
        _between(rules.radius, float(numbers[2])),
        _between(rules.fov, float(numbers[3])),
    )


def _first_that_fits(
    sample: Callable[[int], _Sample], needed: Callable[[_Sample], float], rig: Rig
) -> tuple[int, _Sample]:
    """The first attempt whose whole object is in frame, else the one that lacks least."""
    best: tuple[float, int, _Sample] | None = None
    for attempt in range(RESAMPLE_ATTEMPTS):
        candidate = sample(attempt)
        lack = needed(candidate) / (candidate.radius * rig.unit)
        if lack <= 1.0:
            return attempt, candidate
        if best is None or lack < best[0]:
            best = (lack, attempt, candidate)
    assert best is not None
    return best[1], best[2]
