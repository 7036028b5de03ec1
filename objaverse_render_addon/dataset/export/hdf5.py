"""HDF5 as BlenderProc writes it: one file per view, keys that ``blenderproc vis hdf5`` knows."""

from __future__ import annotations

import io
import json
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from ...passspec import PASS_NAMES
from .base import Format
from .lens import pinhole
from .scene import Scene
from .target import SceneFiles

__all__ = ["Hdf5"]

Array = npt.NDArray[Any]

OWN_KEYS: Final = ("rgb", "depth", "distance", "normal", "mask", "object_index")
"""Passes that BlenderProc has a key and a meaning of its own for; others stand under their name."""
FAR: Final = 1e10
"""What this layout's depth says where nothing is."""


class Hdf5(Format):
    """``<key>/0.hdf5``, ``<key>/1.hdf5`` …"""

    name: ClassVar[str] = "hdf5"
    about: ClassVar[str] = "one HDF5 file per view, in the layout of BlenderProc (needs h5py)"
    needs: ClassVar[tuple[str, ...]] = ("rgb",)
    holds: ClassVar[tuple[str, ...]] = PASS_NAMES
    has_time: ClassVar[bool] = True
    modules: ClassVar[tuple[str, ...]] = ("h5py",)
    extra: ClassVar[str] = "hdf5"

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """Every view with everything that is stored."""
        import h5py

        for view, number in enumerate(scene.numbers):
            buffer = io.BytesIO()
            with h5py.File(buffer, "w") as file:
                for key, data in self._images(scene, view).items():
                    file.create_dataset(key, data=data, compression="gzip", compression_opts=4)
                for key, record in self._records(scene, view).items():
                    file.create_dataset(key, data=np.bytes_(json.dumps(record)))
            out.add(f"{scene.key}/{number}.hdf5", buffer.getvalue())
        if scene.has("depth") or scene.has("distance"):
            scene.note("differs", f"depth and distance are {FAR:g} where nothing is, not 0")
        if scene.has("normal"):
            scene.note("rescaled", "normals are in camera axes and halved into 0..1; 0.5, 0.5, 0.5 "
                       "where nothing is")  # fmt: skip
        scene.note("differs", "cam_K counts pixels from the centre of the first one, so the "
                   "principal point is half a pixel less than stored")  # fmt: skip
        return {}

    def _images(self, scene: Scene, view: int) -> dict[str, Array]:
        images: dict[str, Array] = {"colors": scene.picture(view)}
        known = scene.has_mask
        if scene.has("depth"):
            images["depth"] = self._far(scene, view, scene.depth(view))
        if scene.has("distance"):
            images["distance"] = self._far(scene, view, scene.array(view, "distance"))
        if scene.has("normal"):
            rotation = scene.camera(view).camera_to_world[:3, :3]
            local = scene.world_normal(view).astype(np.float64) @ rotation
            images["normals"] = (local * 0.5 + 0.5).astype(np.float32)
        if known:
            images["category_id_segmaps"] = scene.mask(view).astype(np.uint8)
        if scene.has("object_index"):
            images["instance_segmaps"] = scene.array(view, "object_index")
        elif known:
            images["instance_segmaps"] = scene.mask(view).astype(np.uint16)
        for name in PASS_NAMES:
            if name not in OWN_KEYS and scene.has(name):
                images[name] = scene.array(view, name)
        return images

    def _far(self, scene: Scene, view: int, depth: Array) -> Array:
        return np.where(scene.mask(view), depth, np.float32(FAR)).astype(np.float32)

    def _records(self, scene: Scene, view: int) -> dict[str, Any]:
        camera = scene.camera(view)
        fx, fy, cx, cy = pinhole(camera)
        matrix = camera.world_to_camera_opencv
        names: dict[str, str] = scene.metadata.get("object_names") or {}
        if not scene.has("object_index"):
            names = {"1": scene.asset_id}
        objects = [{"idx": int(index), "name": str(name), "category_id": 1}
                   for index, name in names.items()]  # fmt: skip
        time = scene.keys[view].time
        moment = {} if time is None else {
            "time": {"frame": time, "seconds": scene.seconds(view), "view": scene.keys[view].view}
        }  # fmt: skip
        return {
            **moment,
            "camera_pose": {
                "cam_K": [fx, 0.0, cx - 0.5, 0.0, fy, cy - 0.5, 0.0, 0.0, 1.0],
                "cam_R_w2c": matrix[:3, :3].flatten().tolist(),
                "cam_t_w2c": matrix[:3, 3].tolist(),
            },
            "instance_attribute_maps": [
                {"idx": 0, "name": "background", "category_id": 0},
                *objects,
            ],
        }
