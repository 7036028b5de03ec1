"""Kubric: a folder of numbered pictures per camera, and what they mean in ``metadata.json``.

The layout of the files that Kubric's own scripts write
(https://github.com/google-research/kubric).
"""

from __future__ import annotations

import io
import math
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...errors import MissingDependency
from ..images import encode_png
from .base import Format
from .lens import demand_one_size, shared_fov_x
from .scene import Scene
from .target import SceneFiles
from .tum import quaternion_of

__all__ = ["Kubric"]

_SENSOR = 36.0
"""Millimetres: the width of the sensor that the focal length is told for."""


class Kubric(Format):
    """``<key>/rgba_NNNNN.png``, ``depth_NNNNN.tiff``, ``normal_NNNNN.png``,
    ``segmentation_NNNNN.png``, ``metadata.json``; below ``<key>/NNN`` for each of several cameras.

    Depth is the distance along the ray, float32, 1e10 where nothing is. Normals are camera axes
    (+X right, +Y up, +Z towards the camera), 16 bits for -1..1.
    """

    name: ClassVar[str] = "kubric"
    about: ClassVar[str] = "Kubric-like folders: rgba, depth, normal, segmentation, metadata.json"
    holds: ClassVar[tuple[str, ...]] = (
        "rgb", "depth", "distance", "normal", "mask", "object_index",
    )  # fmt: skip
    modules: ClassVar[tuple[str, ...]] = ("PIL",)
    has_time: ClassVar[bool] = True

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        width, height = demand_one_size(scene)
        for folder, views in scene.sequences.items():
            angle = shared_fov_x(scene, views)
            focal = 0.5 * _SENSOR / math.tan(0.5 * angle)
            home = scene.key + folder
            poses = [scene.camera(view).camera_to_world for view in views]
            for number, view in enumerate(views):
                for name, data in self._images(scene, view).items():
                    stem, _, ending = name.partition(".")
                    out.add(f"{home}/{stem}_{number:05d}.{ending}", data)
            turns = [quaternion_of(pose[:3, :3]) for pose in poses]
            out.add_json(
                f"{home}/metadata.json",
                {
                    "metadata": {
                        "num_frames": len(views),
                        "resolution": [width, height],
                        "frame_rate": scene.metadata["time"]["frame_rate"] if scene.times else None,
                        "frames": [scene.keys[view].time for view in views],
                    },
                    "camera": {
                        "focal_length": focal,
                        "sensor_width": _SENSOR,
                        "field_of_view": angle,
                        "positions": [pose[:3, 3].tolist() for pose in poses],
                        "quaternions": [[w, x, y, z] for x, y, z, w in turns],
                    },
                    "instances": [
                        {"segmentation_id": int(index), "asset_id": scene.asset_id, "name": name}
                        for index, name in self._names(scene).items()
                    ],
                },
            )
        if scene.has("normal"):
            scene.note("quantised", "normals have 16 bits for -1..1 (scenes)", worst=1 / 65535)
        return {}

    def _names(self, scene: Scene) -> dict[str, str]:
        if scene.has("object_index"):
            return dict(scene.metadata.get("object_names") or {})
        return {"1": scene.asset_id} if scene.has_mask else {}

    def _images(self, scene: Scene, view: int) -> dict[str, bytes]:
        found = {"rgba.png": scene.rgba_png(view)}
        if scene.has("distance") or scene.has("depth"):
            if scene.has("distance"):
                distance = scene.array(view, "distance").astype(np.float64) * scene.scale
            else:
                distance = scene.depth(view) * scene.camera(view).stretch()
            far = np.where(scene.mask(view), distance, 1e10)
            found["depth.tiff"] = _tiff(far.astype(np.float32))
        if scene.has("normal"):
            local = scene.world_normal(view) @ scene.camera(view).camera_to_world[:3, :3]
            found["normal.png"] = encode_png(np.round((local * 0.5 + 0.5) * 65535).astype("u2"))
        if scene.has("object_index"):
            found["segmentation.png"] = encode_png(scene.array(view, "object_index").astype("u2"))
        elif scene.has_mask:
            found["segmentation.png"] = encode_png(scene.mask(view).astype(np.uint8))
        return found


def _tiff(data: npt.NDArray[np.float32]) -> bytes:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependency(
            "TIFF needs Pillow.", hint="python -m pip install pillow"
        ) from error
    buffer = io.BytesIO()
    Image.fromarray(data).save(buffer, "TIFF")
    return buffer.getvalue()
