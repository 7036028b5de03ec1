"""From where to look: camera patterns, poses, intrinsics. numpy only.

Conventions, everywhere in this package:

* World: right-handed, Z up, as Blender. The asset is centred on the origin after normalisation.
* ``camera_to_world``: 4x4, maps camera coordinates to world coordinates, with OpenGL and
  Blender camera axes: +X right, +Y up, the camera looks along -Z.
* ``intrinsics``: 3x3 ``[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]`` in pixels. The image's origin is
  its top left corner, v grows downwards, the first pixel's centre is (0.5, 0.5).
* Azimuth is counted from +X towards +Y, elevation from the XY plane towards +Z, in degrees.

Random numbers are counter-based: a view's camera depends on the seed, the asset's id and the
view's index alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CameraFileError
from ..job import PATTERNS, CameraRules, RenderJob

__all__ = ["Camera", "Rig", "View", "blender_lens", "draw", "fitting_radius", "sample_views"]

Array = npt.NDArray[np.float64]
Pixels = tuple[npt.NDArray[Any], ...]
"""Rows (N,) and columns (N,) of some pixels, as :func:`numpy.nonzero` gives those of a mask."""

GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))
FRAME_MARGIN = 0.02
"""Share of the half image that ``fit`` and ``resample`` leave free at each side."""
RESAMPLE_ATTEMPTS = 64
_FLIP = np.array([1.0, -1.0, -1.0, 1.0])  # OpenGL's camera axes to OpenCV's, and back


def draw(seed: int, asset_id: str, stream: str, index: int, count: int, attempt: int = 0) -> Array:
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


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera.

    Attributes:
        width: Pixels.
        height: Pixels.
        intrinsics: (3, 3) float64, pixels.
        camera_to_world: (4, 4) float64, OpenGL axes, scene units.
    """

    width: int
    height: int
    intrinsics: Array
    camera_to_world: Array

    @property
    def world_to_camera(self) -> Array:
        """(4, 4) float64, OpenGL axes."""
        rotation = self.camera_to_world[:3, :3]
        matrix = np.eye(4)
        matrix[:3, :3] = rotation.T
        matrix[:3, 3] = -rotation.T @ self.camera_to_world[:3, 3]
        return matrix

    @property
    def camera_to_world_opencv(self) -> Array:
        """(4, 4) float64 with OpenCV's and COLMAP's camera axes: +Y down, looking along +Z."""
        return np.asarray(self.camera_to_world * _FLIP)

    @property
    def world_to_camera_opencv(self) -> Array:
        """(4, 4) float64 with OpenCV's and COLMAP's camera axes: +Y down, looking along +Z."""
        return np.asarray(self.world_to_camera * _FLIP[:, None])

    @property
    def fov(self) -> tuple[float, float]:
        """Full horizontal and vertical angle in degrees."""
        (fx, _, cx), (_, fy, cy), _ = self.intrinsics.tolist()
        horizontal = math.atan2(cx, fx) + math.atan2(self.width - cx, fx)
        vertical = math.atan2(cy, fy) + math.atan2(self.height - cy, fy)
        return math.degrees(horizontal), math.degrees(vertical)

    def project(self, points: npt.NDArray[Any]) -> tuple[Array, Array]:
        """Pixel coordinates (N, 2) and planar depth (N,) of world points (N, 3)."""
        rotation, position = self.camera_to_world[:3, :3], self.camera_to_world[:3, 3]
        # An axis lies along memory, which is several times as fast as a point does.
        x, y, z = rotation.T @ (np.asarray(points, dtype=np.float64) - position).T
        depth = -z
        with np.errstate(divide="ignore", invalid="ignore"):
            u = self.intrinsics[0, 0] * x / depth + self.intrinsics[0, 2]
            v = -self.intrinsics[1, 1] * y / depth + self.intrinsics[1, 2]
        return np.stack([u, v]).T, depth

    def rays(self, at: Pixels | None = None) -> Array:
        """Directions through the pixel centres in camera axes, scaled to depth 1.

        Args:
            at: Rows (N,) and columns (N,) of some pixels.

        Returns:
            (H, W, 3) float64; (N, 3) of some pixels.
        """
        if at is not None:
            (fx, _, cx), (_, fy, cy), _ = self.intrinsics.tolist()
            some = np.full((len(at[0]), 3), -1.0)
            some[:, 0] = (at[1] + 0.5 - cx) / fx
            some[:, 1] = (cy - at[0] - 0.5) / fy
            return some
        u = (np.arange(self.width) + 0.5 - self.intrinsics[0, 2]) / self.intrinsics[0, 0]
        v = (np.arange(self.height) + 0.5 - self.intrinsics[1, 2]) / self.intrinsics[1, 1]
        rays = np.empty((self.height, self.width, 3))
        rays[..., 0] = u[None, :]
        rays[..., 1] = -v[:, None]
        rays[..., 2] = -1.0
        return rays

    def stretch(self) -> Array:
        """(H, W) float64: distance along the ray through a pixel's centre over planar depth."""
        return np.asarray(np.linalg.norm(self.rays(), axis=-1))

    def world_rays(self) -> tuple[Array, Array]:
        """Rays through the pixel centres in world axes.

        Returns:
            Origins (H, W, 3) in scene units, and directions (H, W, 3) of unit length. A point at
            ``distance`` (the pass) along a ray is ``origin + distance * direction``.
        """
        directions = self.rays() @ self.camera_to_world[:3, :3].T
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        return np.broadcast_to(self.camera_to_world[:3, 3], directions.shape), directions

    def unproject(self, depth: npt.NDArray[Any], at: Pixels | None = None) -> Array:
        """World points that pixels show.

        Args:
            depth: Planar, (H, W) scene units.
            at: Rows (N,) and columns (N,) of some pixels.

        Returns:
            (H, W, 3) float64, scene units; (N, 3) of some pixels.
        """
        chosen = depth if at is None else depth[at]
        local = self.rays(at) * np.asarray(chosen, dtype=np.float64)[..., None]
        return local @ self.camera_to_world[:3, :3].T + self.camera_to_world[:3, 3]


@dataclass(frozen=True, slots=True)
class Rig:
    """Where the cameras of an asset stand around: patterns work in its units."""

    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    unit: float = 1.0


@dataclass(frozen=True, slots=True)
class View:
    """One view: its number, its camera and how it came about.

    Attributes:
        pose: ``radius``, ``azimuth_degrees``, ``elevation_degrees``, ``fov_degrees`` (across the
            shorter side) as sampled; ``attempt`` where the view was drawn again,
            ``moved_from_radius`` where it was moved back. Empty for poses from a file.
    """

    index: int
    camera: Camera
    pose: dict[str, float] = field(default_factory=dict)


def intrinsics_from_fov(
    fov: float, width: int, height: int, pixel_aspect: float, shift: tuple[float, float]
) -> Array:
    """K from the field of view across the shorter side of the image.

    Args:
        fov: Degrees.
        pixel_aspect: Height of a pixel over its width.
        shift: Of the principal point, as a share of width and height.
    """
    shorter = min(width, height * pixel_aspect)
    fx = 0.5 * shorter / math.tan(math.radians(fov) / 2)
    return np.array(
        [
            [fx, 0.0, width * (0.5 + shift[0])],
            [0.0, fx / pixel_aspect, height * (0.5 + shift[1])],
            [0.0, 0.0, 1.0],
        ]
    )


def look_at_pose(azimuth: float, elevation: float, radius: float, rig: Rig) -> Array:
    """``camera_to_world`` of a camera on the sphere, upright, looking at the rig's centre.

    The axes come from the angles, not from a cross product with "up", so that the poles are no
    exception.

    Args:
        azimuth: Degrees.
        elevation: Degrees.
    """
    a, e = math.radians(azimuth), math.radians(elevation)
    away = (math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e))
    right = (-math.sin(a), math.cos(a), 0.0)
    up = (-math.sin(e) * math.cos(a), -math.sin(e) * math.sin(a), math.cos(e))
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = right, up, away
    matrix[:3, 3] = [c + radius * x for c, x in zip(rig.center, away, strict=True)]
    return matrix


def blender_lens(camera: Camera) -> dict[str, float]:
    """Blender's camera settings for these intrinsics, with the sensor fitted horizontally.

    Returns:
        ``angle`` (radians, of an unshifted image's width), ``shift_x``, ``shift_y`` (in image
        widths, positive moves the picture's centre right and up) and the render's
        ``pixel_aspect_x``, ``pixel_aspect_y``. The formulas follow
        ``BKE_camera_params_compute_viewplane`` of Blender's source.
    """
    (fx, skew, cx), (_, fy, cy), _ = camera.intrinsics.tolist()
    if skew != 0:
        raise CameraFileError("Blender's cameras know no skew.")
    aspect = fx / fy
    width, height = camera.width, camera.height
    return {
        "angle": 2 * math.atan2(0.5 * width, fx),
        "shift_x": 0.5 - cx / width,
        "shift_y": (cy - 0.5 * height) * aspect / width,
        "pixel_aspect_x": 1.0 if aspect >= 1 else 1.0 / aspect,
        "pixel_aspect_y": aspect if aspect >= 1 else 1.0,
    }


def fitting_radius(
    points: npt.NDArray[Any], azimuth: float, elevation: float, intrinsics: Array,
    size: tuple[int, int], rig: Rig,
) -> float:
    """Smallest distance at which all points are in frame, with :data:`FRAME_MARGIN` to spare.

    A point with offsets x to the right, y up and h towards the camera is in frame when
    ``|x| fx / (r - h)`` is within the half image, which is linear in r: for each of the four
    sides it is the reach of the points in one direction.
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


def _drawn(rules: CameraRules, numbers: Array) -> _Sample:
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


def _g_objaverse(rules: CameraRules, index: int, offset: Array) -> tuple[float, float]:
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
    rules: CameraRules, index: int, offset: Array, numbers: Array
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
    job: RenderJob, asset_id: str, points: npt.NDArray[Any] | None = None, rig: Rig | None = None
) -> list[View]:
    """The job's cameras for one asset.

    Args:
        points: (N, 3) points whose hull is the object's, in scene units. Needed where the
            framing is ``fit`` or ``resample``.
        rig: Centre and unit; the origin and 1 unless the asset is not normalised.

    Raises:
        CameraFileError: The pattern is ``file`` and the file is not usable.
    """
    job = job.resolved()
    rules, size = job.cameras, job.output.resolution
    rig = rig or Rig()
    if rules.pattern == "file":
        assert rules.file
        from .files import views_from_file

        return views_from_file(rules.file, size, rules.views)
    assert rules.views and rules.fov
    if rules.framing != "allow" and points is None:
        raise ValueError(f"framing {rules.framing} needs the object's points")
    offset = draw(job.seed, asset_id, "hammersley", 0, 2)

    def intrinsics(fov: float) -> Array:
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
    job: RenderJob, asset_id: str, index: int, offset: Array, attempt: int = 0
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
