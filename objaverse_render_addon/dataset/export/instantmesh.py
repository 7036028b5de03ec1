"""InstantMesh: RGBA, normals and depth in 8 bits, one angle of view."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..images import encode_png
from .base import SPLITS, Format, Options, Record
from .lens import demand_square_pictures, shared_fov_x
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["InstantMesh"]

FOLDER = "rendering_random_32views"
VIEWS = 32
FOV = 50.0
RANGE = 6.0
"""Scene units that 255 stands for: the loader's ``depth_scale``."""


class InstantMesh(Format):
    """``rendering_random_32views/<key>/NNN.png``, ``NNN_normal.png``, ``NNN_depth.png``.

    ``cameras.npz`` has ``cam_poses``, (V, 3, 4) float64, world to camera with OpenGL axes. Normals
    are world space, Z up, (n + 1) / 2 in RGBA over black; depth is planar and grey, 255 is 6.0
    scene units. ``filtered_obj_name.json`` lists the scenes of the split train.
    """

    name = "instantmesh"
    about = "InstantMesh: NNN.png, 8-bit normals and depth, cameras.npz; object in [-1, 1]"
    trains = (
        "python train.py --base configs/instant-nerf-large-train.yaml --gpus 0, --num_nodes 1"
        "  # in it: train root_dir {target}, validation root_dir the valid_samples of an export "
        "to zero123plus"
    )
    needs = ("rgb", "depth", "normal")
    holds = ("rgb", "depth", "normal", "mask")
    half_edge = 1.0

    def places(self, key: str, split: str) -> tuple[str, ...]:  # noqa: ARG002
        """See :class:`.Format`."""
        return (f"{FOLDER}/{key}",)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        demand_square_pictures(scene)
        fov = math.degrees(shared_fov_x(scene))
        if abs(fov - FOV) > 1e-3:
            scene.note("differs", f"trainers take a field of view of {FOV:g}° for granted; "
                       "params.fov has to say the other one; worst is it in degrees",
                       len(scene), round(fov, 6))  # fmt: skip
        if len(scene) != VIEWS:
            scene.note("differs", f"trainers read {VIEWS} views (params.total_view_n)", len(scene))
        folder, poses = f"{FOLDER}/{scene.key}", []
        for view in scene.counted():
            out.add(f"{folder}/{view:03d}.png", scene.rgba_png(view))
            out.add(f"{folder}/{view:03d}_normal.png", encode_png(_normals(scene, view)))
            out.add(f"{folder}/{view:03d}_depth.png", encode_png(_depth(scene, view)))
            poses.append(scene.camera(view).world_to_camera[:3])
        buffer = io.BytesIO()
        np.savez(buffer, cam_poses=np.stack(poses))
        out.add(f"{folder}/cameras.npz", buffer.getvalue())
        return {}

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """``filtered_obj_name.json`` for train, ``filtered_obj_name_val.json`` and ``_test``."""
        for split in SPLITS:
            keys = [record.key for record in records if record.split == split]
            ending = "" if split == "train" else f"_{split}"
            target.write_json(f"filtered_obj_name{ending}.json", {"good_objs": keys})


def _depth(scene: Scene, view: int) -> npt.NDArray[np.uint8]:
    depth, mask = scene.depth(view).astype(np.float64), scene.mask(view)
    beyond = mask & (depth > RANGE)
    if beyond.any():
        scene.note("clipped", f"depth beyond {RANGE:g} is written as {RANGE:g} (pixels); worst is "
                   "by how much, in scene units", int(beyond.sum()),
                   float(np.max((depth - RANGE)[beyond])))  # fmt: skip
    held = mask & ~beyond
    levels = np.where(mask, np.rint(np.clip(depth / RANGE, 0, 1) * 255), 0).astype(np.uint8)
    if held.any():
        error = np.max(np.abs(levels * (RANGE / 255) - depth)[held])
        scene.note("quantised", f"depth has 8 bits, steps of {RANGE / 255:.4f} (pixels); worst is "
                   "in scene units", int(held.sum()), float(error))  # fmt: skip
    return levels


def _normals(scene: Scene, view: int) -> npt.NDArray[np.uint8]:
    normal, mask = scene.world_normal(view).astype(np.float64), scene.mask(view)
    levels = np.zeros((*mask.shape, 4), np.uint8)
    levels[mask, :3] = np.rint((np.clip(normal[mask], -1, 1) + 1) / 2 * 255)
    levels[mask, 3] = 255
    if mask.any():
        read = levels[mask, :3] / 255 * 2 - 1
        read /= np.linalg.norm(read, axis=1, keepdims=True)
        cosine = np.clip(np.einsum("ij,ij->i", read, normal[mask]), -1, 1)
        scene.note("quantised", "normals have 8 bits (pixels); worst is in degrees",
                   int(mask.sum()), math.degrees(math.acos(float(np.min(cosine)))))  # fmt: skip
    return levels
