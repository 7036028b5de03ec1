"""The views of an asset: patterns sampled, moved back or drawn again until the object fits.

Random numbers are counter-based: a view's camera depends on the seed, the asset's id and the
view's index alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import CameraFileError
from ..job import PATTERNS, CameraRules, RenderJob
from .camera import Camera, Floats, Rig, View, look_at_pose
from .files import views_from_file
from .projection import intrinsics_of

__all__ = ["draw", "fitting_radius", "fitting_scale", "sample_views"]

GOLDEN_ANGLE: Final = math.pi * (3.0 - math.sqrt(5.0))
FRAME_MARGIN: Final = 0.02
"""Share of the half image that ``fit`` and ``resample`` leave free at each side."""
RESAMPLE_ATTEMPTS: Final = 64
_BETWEEN: Final = (3.0 - math.sqrt(5.0)) / 2
"""Share of a step by which held-out views stand off the pattern's own places: by the golden
section, so that they never fall on one that any other number of views has."""
_SIX_AROUND: Final = (0.0, 45.0, 90.0, 180.0, 270.0, 315.0)
"""Degrees from the front, counter-clockwise: Wonder3D's, Era3D's and MV-Adapter's six views."""


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
    size: tuple[int, int], rig: Rig, projection: str = "perspective",
) -> float:
    """Smallest distance at which all points are in frame, with :data:`FRAME_MARGIN` to spare.

    A point with offsets x to the right, y up and h towards the camera is in frame of a perspective
    lens when ``|x| fx / (r - h)`` is within the half image, which is linear in r: for each of the
    four sides it is the reach of the points in one direction. In a fisheye's it is at the angle
    ``atan2(|x, y|, r - h)``, and keeps its direction from the middle. Parallel rays see the same
    from everywhere in front of the points.

    Args:
        points: World positions, (N, 3), in scene units.
        azimuth, elevation: Degrees, as of :func:`look_at_pose`.
        intrinsics: 3x3, in pixels.
        size: Width and height of the image, in pixels.

    Returns:
        From the rig's centre, in scene units; 0 for a panorama.
    """
    pose = look_at_pose(azimuth, elevation, 0.0, rig)
    points = np.asarray(points, dtype=np.float64)
    if projection == "panorama":
        return 0.0
    if projection == "orthographic":
        along = np.asarray((points - pose[:3, 3]) @ pose[:3, 2])
        return float(np.max(along) + FRAME_MARGIN * np.ptp(along))
    if projection == "fisheye":
        return _fisheye_radius(points, pose, intrinsics, size)
    directions = _sides(intrinsics, size) @ pose[:3, :3].T
    reach = np.max(directions @ points.T, axis=1)
    return float(np.max(reach - directions @ pose[:3, 3]))


def _sides(intrinsics: Floats, size: tuple[int, int]) -> Floats:
    """(4, 3): right, left, bottom and top, each how far a point reaches there."""
    (fx, _, cx), (_, fy, cy), _ = intrinsics.tolist()
    keep = 1.0 - FRAME_MARGIN
    return np.array(
        [
            [fx / (keep * (size[0] - cx)), 0.0, 1.0],
            [-fx / (keep * cx), 0.0, 1.0],
            [0.0, -fy / (keep * (size[1] - cy)), 1.0],
            [0.0, fy / (keep * cy), 1.0],
        ]
    )


def _fisheye_radius(
    points: Floats, pose: Floats, intrinsics: Floats, size: tuple[int, int]
) -> float:
    x, y, h = ((points - pose[:3, 3]) @ pose[:3, :3]).T
    aside = np.hypot(x, y)
    # Of the picture's half sides, in angles, the share that a point's direction leaves free.
    with np.errstate(divide="ignore", invalid="ignore"):
        directions = np.stack([x / aside, y / aside, np.zeros_like(x)], axis=1)
    towards = np.nan_to_num(directions) @ _sides(intrinsics, size).T
    widest = 1.0 / np.maximum(towards.max(axis=1), 1e-9)
    with np.errstate(divide="ignore"):
        back = np.where(widest < math.pi, aside / np.tan(widest), -np.inf)
    along = np.where(aside > 0, h + back, 0.0)
    return max(0.0, float(along.max(initial=0.0)))


def fitting_scale(
    points: npt.NDArray[Any], azimuth: float, elevation: float, intrinsics: Floats,
    size: tuple[int, int], rig: Rig,
) -> float:
    """By what factor an orthographic lens has to take in more, so that all points are in frame.

    Args:
        intrinsics: 3x3, pixels per scene unit.
    """
    pose = look_at_pose(azimuth, elevation, 0.0, rig)
    local = (np.asarray(points, dtype=np.float64) - pose[:3, 3]) @ pose[:3, :3]
    local[:, 2] = 0.0
    return float(np.max(local @ _sides(intrinsics, size).T))


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
    """Opening is what the lens takes in across the shorter side, as of :func:`intrinsics_of`."""

    azimuth: float
    elevation: float
    radius: float
    opening: float


def _drawn(rules: CameraRules, numbers: Floats) -> _Sample:
    assert rules.elevation and rules.radius
    return _Sample(
        azimuth=360.0 * float(numbers[0]),
        elevation=_elevation(rules.elevation, float(numbers[1])),
        radius=_between(rules.radius, float(numbers[2])),
        opening=_opening(rules, float(numbers[3])),
    )


def _opening(rules: CameraRules, share: float) -> float:
    if rules.projection == "orthographic":
        assert rules.ortho is not None
        return rules.ortho
    assert rules.fov
    return _between(rules.fov, share)


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
    rules: CameraRules, index: int, offset: Floats, numbers: Floats, between: float
) -> tuple[float, float]:
    """Azimuth and elevation of a pattern by rule, degrees.

    Args:
        offset: Numbers that all views of the asset share.
        numbers: Of this view.
        between: By what share of a step the views of ring, fibonacci and orbit stand further on.
    """
    assert rules.elevation and rules.views
    count = rules.views
    place = index + between
    # -90 degrees is Blender's front view.
    ring = (270.0 + 360.0 * place / count) % 360.0
    if rules.pattern == "ring":
        return ring, _between(rules.elevation, float(numbers[1]))
    if rules.pattern == "six-around":
        return (270.0 + _SIX_AROUND[index]) % 360.0, rules.elevation[0]
    if rules.pattern == "syncdreamer-input":
        return ring, _between(rules.elevation, float(numbers[1]))
    if rules.pattern == "zero123plus":
        return _zero123plus(rules, index, float(numbers[1]))
    if rules.pattern == "g-objaverse":
        return _g_objaverse(rules, index, offset)
    if rules.pattern == "fibonacci":
        azimuth = math.degrees(place * GOLDEN_ANGLE) % 360.0
        return azimuth, _elevation(rules.elevation, ((place + 0.5) / count) % 1.0)
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
    share = place / max(1.0, count - 1 + 2 * between)
    azimuth = (270.0 + 360.0 * rules.turns * place / count) % 360.0
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
    if rules.framing != "allow" and points is None:
        raise ValueError(f"framing {rules.framing} needs the object's points")
    views = list(_sampled(job, asset_id, points, rig, _Draw("camera")))
    if rules.test_views:
        views = [dataclasses.replace(view, split="train") for view in views]
        held_out = _sampled(_of_tests(job), asset_id, points, rig, _Draw("test-camera", _BETWEEN))
        for view in held_out:
            views.append(dataclasses.replace(view, index=len(views), split="test"))
    return views if rules.stereo is None else list(_pairs(views, rules.stereo * rig.unit))


@dataclass(frozen=True, slots=True)
class _Draw:
    """Where a set of views gets its numbers from, and how far it stands between others'."""

    stream: str
    between: float = 0.0


def _of_tests(job: RenderJob) -> RenderJob:
    """The same lens, light and distances around the object, along another path."""
    rules = job.cameras
    pattern = "objaverse-xl" if rules.test_cameras == "random" else rules.test_cameras
    assert rules.elevation
    elevation = rules.elevation
    if pattern == "ring":
        elevation = (sum(elevation) / 2,) * 2
    drawn = PATTERNS[pattern].drawn
    framing = "fit" if rules.framing == "resample" and not drawn else rules.framing
    changed = dataclasses.replace(
        rules, pattern=pattern, views=rules.test_views, elevation=elevation, framing=framing,
        test_views=0,
    )  # fmt: skip
    return dataclasses.replace(job, cameras=changed)


def _pairs(views: list[View], baseline: float) -> Iterator[View]:
    """Two for each: half the baseline to its left, and as much to its right."""
    for number, view in enumerate(views):
        for side, eye in enumerate(("left", "right")):
            pose = view.camera.camera_to_world.copy()
            pose[:3, 3] += (side - 0.5) * baseline * pose[:3, 0]
            camera = dataclasses.replace(view.camera, camera_to_world=pose)
            yield dataclasses.replace(view, index=2 * number + side, camera=camera, eye=eye)


def _sampled(
    job: RenderJob, asset_id: str, points: npt.NDArray[Any] | None, rig: Rig, draws: _Draw
) -> Iterator[View]:
    rules, size = job.cameras, job.pixels.resolution
    assert rules.views
    offset = draw(job.seed, asset_id, "hammersley", 0, 2)
    parallel = rules.projection == "orthographic"
    unit = rig.unit if parallel else 1.0

    def intrinsics(opening: float) -> Floats:
        return intrinsics_of(
            rules.projection, opening * unit, size, rules.pixel_aspect, rules.shift
        )

    def needed(sample: _Sample) -> float:
        assert points is not None
        around = points
        if rules.stereo is not None:
            aside = look_at_pose(sample.azimuth, sample.elevation, 0.0, rig)[:3, 0]
            aside = aside * rules.stereo * rig.unit / 2
            around = np.concatenate([points - aside, points + aside])
        k = intrinsics(sample.opening)
        place = around, sample.azimuth, sample.elevation, k, size, rig
        return fitting_radius(*place, rules.projection)

    def wider(sample: _Sample) -> float:
        """By what factor an orthographic lens has to take in more."""
        if not parallel:
            return 0.0
        k = intrinsics(sample.opening)
        return fitting_scale(points, sample.azimuth, sample.elevation, k, size, rig)  # type: ignore[arg-type]

    def lack(sample: _Sample) -> float:
        return max(needed(sample) / (sample.radius * rig.unit), wider(sample))

    for index in range(rules.views):
        pose: dict[str, float] = {}
        again = partial(_sample, job, asset_id, index, offset, draws)
        sample = again(0)
        if rules.framing == "resample":
            attempt, sample = _first_that_fits(again, lack)
            if attempt:
                pose["attempt"] = attempt
        radius, opening = sample.radius * rig.unit, sample.opening
        if rules.framing == "fit":
            radius = max(radius, needed(sample))
            if radius > sample.radius * rig.unit:
                pose["moved_from_radius"] = sample.radius * rig.unit
            if (factor := wider(sample)) > 1.0:
                pose["widened_from_scale"] = opening * unit
                opening *= factor
        matrix = look_at_pose(sample.azimuth, sample.elevation, radius, rig)
        pose |= {
            "radius": radius,
            "azimuth_degrees": sample.azimuth,
            "elevation_degrees": sample.elevation,
        }
        if parallel:
            pose["ortho_scale"] = opening * unit
        elif rules.projection != "panorama":
            pose["fov_degrees"] = opening
        yield View(index, Camera(*size, intrinsics(opening), matrix, rules.projection), pose)


def _sample(
    job: RenderJob, asset_id: str, index: int, offset: Floats, draws: _Draw, attempt: int
) -> _Sample:
    rules = job.cameras
    numbers = draw(job.seed, asset_id, draws.stream, index, 4, attempt)
    if PATTERNS[rules.pattern].drawn:
        return _drawn(rules, numbers)
    assert rules.radius
    azimuth, elevation = _placed(rules, index, offset, numbers, draws.between)
    return _Sample(
        azimuth,
        elevation,
        _between(rules.radius, float(numbers[2])),
        _opening(rules, float(numbers[3])),
    )


def _first_that_fits(
    sample: Callable[[int], _Sample], lack: Callable[[_Sample], float]
) -> tuple[int, _Sample]:
    """The first attempt whose whole object is in frame, else the one that lacks least."""
    best: tuple[float, int, _Sample] | None = None
    for attempt in range(RESAMPLE_ATTEMPTS):
        candidate = sample(attempt)
        lacking = lack(candidate)
        if lacking <= 1.0:
            return attempt, candidate
        if best is None or lacking < best[0]:
            best = (lacking, attempt, candidate)
    assert best is not None
    return best[1], best[2]
