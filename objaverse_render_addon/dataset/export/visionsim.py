"""visionsim: ``transforms.json`` with its keys, and its folders of frames, depths, normals, flows
and segmentations, one EXR each.

Its layout, with what was wrong in it put right: intrinsics hold off the square and with a shifted
principal point, all four components of flow are there and in image axes, and the names of what
segmentations number are written (``segmentation_ids``).
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from ..images import write_exr
from .base import Format
from .lens import demand_one_size, shared_lens
from .scene import Scene
from .target import SceneFiles

__all__ = ["Visionsim"]

FAR: Final = 1e10
"""What its depth says where nothing is."""
_SENSOR: Final = 36.0


class Visionsim(Format):
    """``<key>/transforms.json``, ``frames/frame_NNNNNN.png``, ``depths/depth_NNNNNN.exr`` and so
    on, ``info.json``; below ``<key>/NNN`` for each of several cameras.

    Depth is planar. Normals are camera axes (+X right, +Y up, +Z towards the camera). Flow has R, G
    forward and B, A backward, pixels, x to the right and y down, nan where it is not known.
    Segmentation has the object's number.
    """

    name: ClassVar[str] = "visionsim"
    about: ClassVar[str] = "visionsim's transforms.json and folders, for what reads its datasets"
    holds: ClassVar[tuple[str, ...]] = (
        "rgb", "depth", "normal", "mask", "object_index", "flow_forward", "flow_backward",
    )  # fmt: skip
    has_time: ClassVar[bool] = True

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        demand_one_size(scene)
        for folder, views in scene.sequences.items():
            shared_lens(scene, views)
            home = scene.key + folder
            frames = []
            for number, view in enumerate(views):
                frame: dict[str, Any] = {"file_path": f"frames/frame_{number:06d}.png"}
                out.add(f"{home}/{frame['file_path']}", scene.png(view))
                for kind, planes in self._planes(scene, view).items():
                    path = f"{kind}s/{kind}_{number:06d}.exr"
                    frame[f"{kind}_file_path"] = path
                    out.add(f"{home}/{path}", _exr(planes))
                frame["transform_matrix"] = scene.camera(view).camera_to_world.tolist()
                if scene.keys[view].time is not None:
                    frame["frame"] = scene.keys[view].time
                frames.append(frame)
            head = self._lens(scene, views[0])
            if scene.has("object_index"):
                head["segmentation_ids"] = scene.metadata.get("object_names") or {}
            out.add_json(f"{home}/transforms.json", {**head, "frames": frames})
            out.add_json(f"{home}/info.json", self._info(scene, views))
        return {}

    def _lens(self, scene: Scene, view: int) -> dict[str, Any]:
        camera = scene.camera(view)
        (fx, _, cx), (_, fy, cy), _ = camera.intrinsics.tolist()
        width, height = camera.width, camera.height
        angle_x, angle_y = 2 * math.atan(width / 2 / fx), 2 * math.atan(height / 2 / fy)
        channels = scene.picture(view).shape[2]
        return {
            "type": "PERSP",
            "angle": max(angle_x, angle_y),
            "angle_x": angle_x,
            "angle_y": angle_y,
            "camera_angle_x": angle_x,
            "lens": fx * _SENSOR / width,
            "lens_unit": "MILLIMETERS",
            "sensor_fit": "HORIZONTAL",
            "sensor_width": _SENSOR,
            "sensor_height": _SENSOR * height * fx / (width * fy),
            "shift_x": 0.5 - cx / width,
            "shift_y": (cy - height / 2) * fx / (fy * width),
            "c": channels,
            "w": width,
            "h": height,
            "fl_x": fx,
            "fl_y": fy,
            "cx": cx,
            "cy": cy,
            "intrinsics": camera.intrinsics.tolist(),
        }

    def _planes(self, scene: Scene, view: int) -> dict[str, dict[str, npt.NDArray[Any]]]:
        found: dict[str, dict[str, npt.NDArray[Any]]] = {}
        if scene.has("depth"):
            depth = np.where(scene.mask(view), scene.depth(view), np.float32(FAR))
            found["depth"] = {"V": depth.astype(np.float32)}
        if scene.has("normal"):
            local = scene.world_normal(view) @ scene.camera(view).camera_to_world[:3, :3]
            found["normal"] = _colors(local, "RGB")
        flows = [name for name in ("flow_forward", "flow_backward") if scene.has(name)]
        if flows:
            height, width = scene.camera(view).height, scene.camera(view).width
            none = np.full((height, width, 2), np.nan, np.float32)
            both = [scene.array(view, name) if name in flows else none
                    for name in ("flow_forward", "flow_backward")]  # fmt: skip
            found["flow"] = _colors(np.concatenate(both, axis=-1), "RGBA")
        if scene.has("object_index"):
            found["segmentation"] = {"V": scene.array(view, "object_index").astype(np.float32)}
        elif scene.has_mask:
            found["segmentation"] = {"V": scene.mask(view).astype(np.float32)}
        return found

    def _info(self, scene: Scene, views: list[int]) -> dict[str, Any]:
        places = np.array([scene.camera(view).camera_to_world[:3, 3] for view in views])
        way = float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())
        seconds = scene.seconds(views[-1]) - scene.seconds(views[0])
        rate = scene.metadata["time"]["frame_rate"] if scene.times else None
        return {
            "frame_rate": rate,
            "distance_traveled": way,
            "average_velocity": way / seconds if seconds > 0 else 0.0,
            "elapsed_time": seconds,
        }


def _colors(data: npt.NDArray[Any], names: str) -> dict[str, npt.NDArray[Any]]:
    return {name: data[..., index].astype(np.float32) for index, name in enumerate(names)}


def _exr(planes: dict[str, npt.NDArray[Any]]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="objaverse-exr-") as folder:
        path = Path(folder) / "image.exr"
        write_exr(path, planes, {"comments": "See transforms.json"})
        return path.read_bytes()
