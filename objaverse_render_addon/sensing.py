"""What depth cameras measure: noise and holes over a clean depth, seeded, never in its place.

Each model is a function of the clean depth, the camera and a seed, so that whoever has those has
the measurement again, and the truth with it. One scene unit counts as a metre. Nothing here knows
what surfaces are made of: glass and black velvet are measured like everything else.

* ``stereo``: active stereo of two eyes side by side. Disparity ``f b / z`` is noisy by a share of a
  pixel over the matching window, so that depth is by ``z² σ / (f b)``; there are holes where the
  second eye does not see the surface, beyond its picture, and where the surface is so steep that
  neighbours land in one place (a disparity gradient of 1: Burt and Julesz, "A disparity gradient
  limit for binocular fusion", Science 1980).
* ``kinect-azure``: time of flight. Range is noisy by 0.5 mm and 1 mm for each metre beyond half a
  metre (after Tölgyessy et al., "Evaluation of the Azure Kinect", Sensors 21(2), 2021), edges mix
  what is before and behind them, and there are holes where depth jumps by much, or where what comes
  back is weaker than from a surface that faces the camera at the end of its range: light falls
  with the square of the distance and with the cosine.
* ``structured-light``: a pattern from a projector beside the camera. Noise along the axis and
  across it after Nguyen, Izadi and Lovell, "Modeling Kinect Sensor Noise for Improved 3D
  Reconstruction and Tracking", 3DIMPVT 2012, in steps of an eighth of a pixel of its own
  disparity, whatever the picture's size; holes in the projector's shadow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from .cameras import Camera, draw
from .errors import InvalidJob

if TYPE_CHECKING:
    from .frame import FrameKey
    from .job import RenderJob

__all__ = ["SENSORS", "SENSOR_MODELS", "Sensing", "sensing_of", "sensor_record"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

STREAM: Final = "sensor-depth"
SENSORS: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType({
    "stereo": {
        "near_m": 0.2, "far_m": 10.0, "baseline_m": 0.050, "noise_px": 0.08, "window_px": 5.0,
        "step_px": 1 / 32, "lateral_px": 0.5, "steepest": 1.0,
    },
    "kinect-azure": {
        "near_m": 0.25, "far_m": 3.86, "noise_m": 0.0005, "noise_per_m": 0.001,
        "noise_from_m": 0.5, "lateral_px": 0.25, "jump_m": 0.8,
    },
    "structured-light": {
        "near_m": 0.4, "far_m": 5.0, "baseline_m": 0.075, "step_px": 1 / 8,
        "step_focal_px": 585.0, "noise_m": 0.0012,
        "noise_per_m2": 0.0019, "noise_from_m": 0.4, "grazing": 0.0001, "lateral_px": 0.8,
        "lateral_grazing_px": 0.035, "steepest_degrees": 80.0,
    },
})  # fmt: skip
"""Every number of each model, by its name."""
_SHADOW: Final = 1.0
"""Pixels of disparity between two surfaces from which one hides the other from the second eye."""


@dataclass(frozen=True, slots=True)
class Sensing:
    """One measurement that is to be simulated.

    Attributes:
        sensor: One of :data:`SENSORS`.
        seed: Of the job.
        key: The asset's id.
        stream: Of random numbers, of this time alone.
        view: Number of the view.
    """

    sensor: str
    seed: int
    key: str
    stream: str
    view: int

    def measured(self, depth: Array, camera: Camera) -> Array:
        """What the sensor says.

        Args:
            depth: (H, W) planar, scene units, 0 where nothing is.
            camera: Of perspective; the sensor's own, at its place and with its lens.

        Returns:
            (H, W) float32, planar, scene units, 0 where nothing is or nothing was measured.

        Raises:
            InvalidJob: The camera has another lens.
        """
        if camera.projection != "perspective":
            raise InvalidJob(
                f"No depth camera has the lens of view {self.view}: {camera.projection}.",
                hint="Leave sensor_depth away, or take perspective cameras.",
            )
        clean = depth.astype(np.float64)
        noise = _Noise(self, clean.shape)
        made = SENSOR_MODELS[self.sensor](clean, camera, noise, SENSORS[self.sensor])
        limits = SENSORS[self.sensor]
        good = (clean > 0) & np.isfinite(made)
        good &= (made >= limits["near_m"]) & (made <= limits["far_m"])
        return np.where(good, made, 0.0).astype(np.float32)


def sensing_of(job: RenderJob, asset_id: str, key: FrameKey) -> Sensing | None:
    """The measurement of one of a job's frames; none where it has none."""
    if "sensor_depth" not in job.pixels.passes:
        return None
    return Sensing(job.pixels.sensor, job.seed, asset_id, key.stream(STREAM), key.view)


def sensor_record(job: RenderJob) -> dict[str, Any] | None:
    """What the metadata say of a job's depth camera."""
    if "sensor_depth" not in job.pixels.passes:
        return None
    return {"model": job.pixels.sensor, "stream": STREAM, **SENSORS[job.pixels.sensor]}


class _Noise:
    """Normal numbers of a measurement, a picture of them at a time."""

    def __init__(self, of: Sensing, shape: tuple[int, ...]) -> None:
        self._of, self._shape, self._drawn = of, shape, 0

    def picture(self) -> Floats:
        """(H, W) of variance 1, by Box and Muller."""
        count = math.prod(self._shape)
        one = self._of
        uniform = draw(one.seed, one.key, one.stream, one.view, 2 * count, self._drawn)
        self._drawn += 1
        length = np.sqrt(-2 * np.log1p(-uniform[:count]))
        return (length * np.cos(2 * np.pi * uniform[count:])).reshape(self._shape)

    def smooth(self, width: float) -> Floats:
        """The same, alike over windows of so many pixels, and still of variance 1."""
        found, half = self.picture(), int(width) // 2
        kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / max(width / 4, 1e-6)) ** 2)
        kernel /= math.sqrt(float((kernel**2).sum()))
        for axis in (0, 1):
            found = sum(
                weight * np.roll(found, step, axis=axis)
                for weight, step in zip(kernel, range(-half, half + 1), strict=True)
            )
        return found

    def beside(self, sigma: float | Floats) -> tuple[Floats, Floats]:
        """Rows and columns (H, W), each pixel's own and some pixels aside, within the picture."""
        rows, columns = np.indices(self._shape).astype(np.float64)
        height, width = self._shape
        rows = np.clip(rows + sigma * self.picture(), 0, height - 1)
        return rows, np.clip(columns + sigma * self.picture(), 0, width - 1)


def _stereo(depth: Floats, camera: Camera, noise: _Noise, model: Mapping[str, float]) -> Floats:
    scale = float(camera.intrinsics[0, 0]) * model["baseline_m"]
    disparity = _over(scale, depth)
    seen = ~_hidden(disparity, within=True)
    seen &= _smaller_step(disparity, 1) < model["steepest"]
    rows, columns = (np.rint(place).astype(int) for place in noise.beside(model["lateral_px"]))
    measured = disparity[rows, columns] + model["noise_px"] * noise.smooth(model["window_px"])
    measured = np.rint(measured / model["step_px"]) * model["step_px"]
    return np.where(seen & (disparity[rows, columns] > 0), _over(scale, measured), np.nan)


def _time_of_flight(
    depth: Floats, camera: Camera, noise: _Noise, model: Mapping[str, float]
) -> Floats:
    stretch = camera.stretch()
    distance = depth * stretch
    mixed = _between(distance, *noise.beside(model["lateral_px"]))
    beyond = np.maximum(mixed - model["noise_from_m"], 0.0)
    measured = mixed + (model["noise_m"] + model["noise_per_m"] * beyond) * noise.picture()
    strength = _facing(depth, camera) / np.maximum(distance, 1e-9) ** 2
    seen = (strength >= model["far_m"] ** -2) & (_spread(depth) <= model["jump_m"])
    return np.where(seen, measured / stretch, np.nan)


def _structured_light(
    depth: Floats, camera: Camera, noise: _Noise, model: Mapping[str, float]
) -> Floats:
    scale = float(camera.intrinsics[0, 0]) * model["baseline_m"]
    angle = np.arccos(np.clip(_facing(depth, camera), 0.0, 1.0))
    steepest = math.radians(model["steepest_degrees"])
    seen = ~_hidden(_over(scale, depth), within=False) & (angle <= steepest)
    slant = np.minimum(angle, steepest)
    slant /= math.pi / 2 - slant
    sideways = model["lateral_px"] + model["lateral_grazing_px"] * slant
    rows, columns = (np.rint(place).astype(int) for place in noise.beside(sideways))
    there = depth[rows, columns]
    z = np.where(there > 0, there, 1.0)
    sigma = model["noise_m"] + model["noise_per_m2"] * (z - model["noise_from_m"]) ** 2
    sigma = sigma + model["grazing"] / np.sqrt(z) * slant**2
    # The sensor's own steps, whatever the picture's size; what was measured had them in it already.
    steps = model["step_focal_px"] * model["baseline_m"] / model["step_px"]
    rest = np.sqrt(np.maximum(sigma**2 - (z**2 / steps) ** 2 / 12, 0.0))
    measured = np.rint(_over(steps, z + rest * noise.picture()))
    return np.where(seen & (there > 0), _over(steps, measured), np.nan)


Model = Callable[[Floats, Camera, _Noise, Mapping[str, float]], Floats]
SENSOR_MODELS: Final[Mapping[str, Model]] = MappingProxyType({
    "stereo": _stereo, "kinect-azure": _time_of_flight, "structured-light": _structured_light,
})  # fmt: skip


def _over(scale: float, values: Floats) -> Floats:
    """Depth of a disparity, or the other way round; 0 where there is none."""
    return np.where(values > 0, scale / np.where(values > 0, values, 1.0), 0.0)


def _hidden(disparity: Floats, *, within: bool) -> Mask:
    """Where a second eye, beside the first to its right, does not see the surface.

    Args:
        disparity: (H, W) pixels to the left by which that eye sees the surface; 0 where none is.
        within: Whether its picture ends where the first one's does.
    """
    height, width = disparity.shape
    there = disparity > 0
    columns = np.arange(width) - disparity
    # A surface that widens there is one all the same: halfway to the next pixel, too.
    whole = there[:, 1:] & there[:, :-1] & (np.abs(np.diff(disparity, axis=1)) < _SHADOW)
    halves = (columns[:, 1:] + columns[:, :-1]) / 2
    lines = np.arange(height)[:, None] * width
    nearest = np.zeros(height * width)
    for place, value, some in (
        (columns, disparity, there),
        (halves, np.minimum(disparity[:, 1:], disparity[:, :-1]), whole),
    ):
        landed = np.rint(place).astype(int)
        some = some & (landed >= 0) & (landed < width)
        np.maximum.at(nearest, (lines + landed)[some], value[some])
    landed = np.rint(columns).astype(int)
    outside = (landed < 0) | (landed >= width)
    at = np.clip(landed, 0, width - 1)
    hidden = nearest.reshape(height, width)[np.arange(height)[:, None], at] > disparity + _SHADOW
    return np.asarray(np.where(outside, within, hidden))


def _neighbours(values: Floats, axis: int) -> tuple[Floats, Floats]:
    """Of an (H, W) array the steps to the next and from the one before; the edge has one."""
    steps = np.diff(values, axis=axis)
    first, last = (1, 0), (0, 1)
    pads = [(0, 0), (0, 0)]
    pads[axis] = last
    after = np.pad(steps, pads, mode="edge")
    pads[axis] = first
    return after, np.pad(steps, pads, mode="edge")


def _smaller_step(values: Floats, axis: int) -> Floats:
    """The smaller of both steps, signless: a surface's slope, which its edge does not change."""
    after, before = _neighbours(values, axis)
    return np.minimum(np.abs(after), np.abs(before))


def _facing(depth: Floats, camera: Camera) -> Floats:
    """(H, W) cosine between the surface and the ray to it; 1 faces the camera."""
    points = camera.local_points(depth).reshape(*depth.shape, 3)
    tangents = []
    for axis in (0, 1):
        steps = [_neighbours(points[..., one], axis) for one in range(3)]
        after, before = (np.stack([step[side] for step in steps], axis=-1) for side in (0, 1))
        smaller = np.abs(after[..., 2]) <= np.abs(before[..., 2])
        tangents.append(np.where(smaller[..., None], after, before))
    normal = np.cross(tangents[0], tangents[1])
    length = np.linalg.norm(normal, axis=-1) * np.linalg.norm(points, axis=-1)
    along = np.abs((normal * points).sum(axis=-1))
    return np.where(length > 0, along / np.where(length > 0, length, 1.0), 1.0)


def _between(values: Floats, rows: Floats, columns: Floats) -> Floats:
    """Bilinear, among pixels where something is; nan where there is nothing."""
    total, weights = np.zeros_like(values), np.zeros_like(values)
    height, width = values.shape
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    for down in (0, 1):
        for right in (0, 1):
            row, column = np.minimum(top + down, height - 1), np.minimum(left + right, width - 1)
            share = (1 - np.abs(rows - top - down)) * (1 - np.abs(columns - left - right))
            share = np.where(values[row, column] > 0, share, 0.0)
            total += share * values[row, column]
            weights += share
    return np.where(weights > 1e-9, total / np.where(weights > 1e-9, weights, 1.0), np.nan)


def _spread(depth: Floats) -> Floats:
    """(H, W) difference of the farthest and the nearest surface among 3 × 3 pixels."""
    low, high = np.where(depth > 0, depth, np.inf), np.where(depth > 0, depth, -np.inf)
    for axis in (0, 1):
        pads = [(0, 0), (0, 0)]
        pads[axis] = (1, 1)
        for which, take in ((0, np.minimum), (1, np.maximum)):
            values = (low, high)[which]
            padded = np.pad(values, pads, mode="edge")
            size = values.shape[axis]
            parts = [padded.take(np.arange(start, start + size), axis=axis) for start in range(3)]
            made = take(take(parts[0], parts[1]), parts[2])
            low, high = (made, high) if which == 0 else (low, made)
    return np.where(depth > 0, high - low, 0.0)
