"""Finished assets of a dataset: what their views saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np

from ...cameras import Camera
from ...dataset.point_cloud import PointCloud, Sighting, sample
from ...dataset.reader import AssetReader
from ...errors import MissingPass
from ...splats.field import Field, Floats32
from ..levels import Level
from . import Backend, Drawn
from .field import FieldBackend

__all__ = ["StoredBackend", "field_of_points"]

_COUNT: Final = 150_000
_SURFACES: Final = ("depth", "distance", "position")
_CELLS: Final = 160
"""Along the object's longest edge; at most one point is kept in each."""


class StoredBackend(Backend):
    """Shows a finished asset: from its own cameras the stored passes, to the last bit; from
    anywhere else the points that its views saw, as small discs.

    Args:
        asset: Closed with the backend.

    Attributes:
        cameras: Of the views.

    Raises:
        MissingPass: Nothing is stored that says where the surface is.
    """

    def __init__(self, asset: AssetReader) -> None:
        self._asset = asset
        stored = asset.passes
        if not set(_SURFACES) & set(stored):
            raise MissingPass(
                f"{asset.ref} has no depth, so that there is nothing to look at from elsewhere.",
                hint="Render it with --passes rgb,depth.",
            )
        self.cameras = [asset.view(index).camera for index in range(len(asset))]
        self._places = {_key(camera): index for index, camera in enumerate(self.cameras)}
        bounds = asset.bounds
        longest = float(np.max(np.subtract(bounds.box_max, bounds.box_min)))
        voxel = longest / _CELLS if longest > 0 else None
        cloud = sample(self._sightings(), count=_COUNT, voxel=voxel)
        # As far apart as the cells, or as the pixels that they come from.
        pixel = [
            float(np.linalg.norm(camera.camera_to_world[:3, 3] - bounds.center))
            / camera.intrinsics[0, 0]
            for camera in self.cameras
        ]
        spacing = max(voxel or 0.0, float(np.median(pixel)))
        self._points = FieldBackend(field_of_points(cloud, spacing))
        self.drafts = self._points.drafts
        first = [name for name in ("rgb", "depth", "mask") if name in (*stored, "rgb", "depth")]
        self.passes = tuple(dict.fromkeys([*first, *stored]))

    def _sightings(self) -> Iterator[Sighting]:
        useful = {"rgb", "depth", "distance", "position", "mask", "normal"}
        names = [name for name in self._asset.passes if name in useful]
        space = self._asset.metadata.get("passes", {}).get("normal", {}).get("space", "camera")
        for index, camera in enumerate(self.cameras):
            yield Sighting(index, camera, self._asset.read(index, names), str(space))

    def render(
        self,
        camera: Camera,
        level: Level,
        should_stop: Callable[[], bool],
        scene: Mapping[str, Any],
    ) -> Drawn | None:
        """See :class:`.Backend`."""
        place = self._places.get(_key(camera))
        if place is None:
            return self._points.render(camera, level, should_stop, scene)
        passes = self._asset.read(place)
        if "rgb" in passes and passes["rgb"].shape[-1] == 3:
            alpha = np.full((*passes["rgb"].shape[:2], 1), 255, np.uint8)
            passes["rgb"] = np.concatenate([passes["rgb"], alpha], axis=-1)
        others = [name for name in ("rgb", "depth") if name not in passes]
        if others:
            drawn = self._points.render(camera, level, should_stop, scene)
            if drawn is None:
                return None
            passes = {**passes, **{name: drawn.passes[name] for name in others}}
        return None if should_stop() else Drawn(passes)

    def close(self) -> None:
        """See :class:`.Backend`."""
        self._asset.close()


def _key(camera: Camera) -> tuple[Any, ...]:
    lens, pose = camera.intrinsics.round(6), camera.camera_to_world.round(9) + 0.0
    return camera.projection, camera.width, camera.height, lens.tobytes(), pose.tobytes()


def field_of_points(cloud: PointCloud, spacing: float) -> Field:
    """Points as discs that touch, facing along their normals; as balls without.

    Args:
        spacing: Between points, scene units.
    """
    count = len(cloud)
    harmonics: Floats32 = np.zeros((count, 1, 3), np.float32)
    harmonics[:, 0] = (cloud.colors / 255 - 0.5) / 0.28209479177387814
    scales: Floats32 = np.full((count, 3), 0.55 * spacing, np.float32)
    normals = cloud.normals.astype(np.float64)
    facing = np.linalg.norm(normals, axis=1) > 0.5
    scales[facing, 2] *= np.float32(0.2)
    # The quaternion that turns +Z to the normal; half a turn about X where it is -Z.
    rotations = np.zeros((count, 4))
    rotations[:, 0] = 1 + normals[:, 2]
    rotations[:, 1], rotations[:, 2] = -normals[:, 1], normals[:, 0]
    rotations[rotations[:, 0] < 1e-6] = [0, 1, 0, 0]
    rotations[~facing] = [1, 0, 0, 0]
    rotations /= np.linalg.norm(rotations, axis=1, keepdims=True)
    return Field(
        cloud.points.astype(np.float32), scales, rotations.astype(np.float32),
        np.full(count, 0.97, np.float32), harmonics,
    )  # fmt: skip
