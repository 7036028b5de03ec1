"""nerfstudio and instant-ngp: a ``transforms.json`` per scene, with intrinsics per frame."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from ...cameras import Camera
from ..images import encode_png
from ..point_cloud import write_ply
from .base import Format
from .lens import lens_numbers, shared_projection
from .scene import Scene
from .surface import GEOMETRY, surface_of
from .target import SceneFiles

__all__ = ["Nerfstudio"]


_MODELS: Final = {
    "perspective": "PINHOLE", "orthographic": "ORTHOPHOTO", "panorama": "EQUIRECTANGULAR",
    "fisheye": "OPENCV_FISHEYE",
}  # fmt: skip
"""As the parser calls them; its fisheye without distortion is the equidistant one."""


def _lens(camera: Camera) -> tuple[float, float, float, float]:
    fx, fy, cx, cy = lens_numbers(camera)
    if camera.projection == "panorama":
        # The parser's azimuth is pi times u - cx over fx, its elevation pi times cy - v over fy.
        return math.pi * fx, math.pi * fy, cx, cy
    return fx, fy, cx, cy


class Nerfstudio(Format):
    """``<key>/transforms.json``, ``images/NNN.png``, ``depths/NNN.npy``, ``masks/NNN.png``.

    ``points3d.ply`` holds points of the surface, where geometry is stored: splatfacto starts there.

    ``transform_matrix`` is camera to world with OpenGL axes, ``file_path`` has its extension.
    The parser multiplies depth by 0.001, that of ``.npy`` files too, so depth is stored in
    thousandths of a scene unit (float32, planar or along the ray as the pass, 0 is unknown).
    ``time`` of an animation goes from 0 at the first frame to 1 at the last.
    """

    name = "nerfstudio"
    about = "nerfstudio, instant-ngp: transforms.json per asset, any camera, depth"
    trains = (
        "ns-train nerfacto --data {target}/{key} nerfstudio-data --orientation-method none "
        "--center-method none --auto-scale-poses False"
    )
    holds = ("rgb", "depth", "mask")
    projections = tuple(_MODELS)
    has_time = True

    def holds_out(self, split: str) -> bool:  # noqa: ARG002
        """See :class:`.Format`: splits are of views."""
        return True

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        frames, names = [], {}
        masks = scene.options.masks
        for view, number in enumerate(scene.numbers):
            camera = scene.camera(view)
            fx, fy, cx, cy = _lens(camera)
            frame: dict[str, Any] = {
                "file_path": f"images/{number:03d}.png",
                "transform_matrix": camera.camera_to_world.tolist(),
                "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": camera.width, "h": camera.height,
            }  # fmt: skip
            if scene.times:
                frame["time"] = scene.when(view)
            out.add(f"{scene.key}/{frame['file_path']}", scene.png(view))
            if scene.has("depth"):
                frame["depth_file_path"] = f"depths/{number:03d}.npy"
                depth = scene.depth(view) * np.float32(1000)
                out.add_npy(f"{scene.key}/{frame['depth_file_path']}", depth)
            if masks:
                frame["mask_path"] = f"masks/{number:03d}.png"
                mask = scene.mask(view).astype(np.uint8) * 255
                out.add(f"{scene.key}/{frame['mask_path']}", encode_png(mask))
            frames.append(frame)
            names[view] = frame["file_path"]
        if scene.has("depth"):
            scene.note("rescaled", "depth is in thousandths of a scene unit, which the parser "
                       "turns back by its default depth_unit_scale_factor of 0.001")  # fmt: skip
        if not masks and scene.has("mask"):
            scene.note("dropped", "masks are not written (--masks writes them): training would "
                       "ignore all pixels beside the object, alpha tells them apart")  # fmt: skip
        split = scene.split_views()
        transforms: dict[str, Any] = {
            "camera_model": _MODELS[shared_projection(scene)],
            "orientation_override": "none",
            "frames": frames,
        }
        if all(split.values()):
            for part, views in split.items():
                transforms[f"{part}_filenames"] = [names[view] for view in views]
        else:
            scene.note("dropped", "too few views for three splits; the parser splits by itself")
        if any(scene.has(name) for name in GEOMETRY):
            cloud = surface_of(scene)
            if len(cloud):
                out.add(f"{scene.key}/points3d.ply", write_ply(cloud))
                transforms["ply_file_path"] = "points3d.ply"
        out.add_json(f"{scene.key}/transforms.json", transforms)
        return {}
