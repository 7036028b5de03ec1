"""OpenLRM: RGBA, poses and one lens per asset."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import SPLITS, Format, Options, Record
from .lens import demand_one_size, shared_lens, viewpoints
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["OpenLrm"]

VIEWS = 32
FOCAL = 0.75
"""Focal length in widths of the picture (67.38°) that the released models stand for."""
NEAREST, FARTHEST = 1.9, 2.6
"""Distances of its own renders."""


class OpenLrm(Format):
    """``<key>/rgba/NNN.png``, ``<key>/pose/NNN.npy``, ``<key>/intrinsics.npy``, lists of ids.

    A pose is (3, 4) float64, camera to world with OpenGL axes; ``intrinsics.npy`` is (3, 2)
    float64 ``[[fx, fy], [cx, cy], [W, H]]`` in pixels. The object fills [-1, 1].
    """

    name = "openlrm"
    about = "OpenLRM: rgba/, pose/, intrinsics.npy per asset; object in [-1, 1]"
    trains = (
        "accelerate launch -m openlrm.launch train.lrm --config configs/train-sample.yaml"
        "  # in it: root_dirs [{target}], meta_path {target}/train_uids.json, val_uids.json"
    )
    holds = ("rgb",)
    half_edge = 1.0

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        width, height = demand_one_size(scene)
        fx, fy, cx, cy = shared_lens(scene)
        if len(scene) != VIEWS:
            scene.note("differs", f"trainers take {VIEWS} views for granted (num_all_views)",
                       len(scene))  # fmt: skip
        if abs(fx / width - FOCAL) > 1e-3:
            scene.note("differs", "the released models, and inference with them, stand for a field "
                       "of view of 67.38°; render with --fov 67.38 to go on from them (views); "
                       "worst is the difference of the focal length in widths",
                       len(scene), round(abs(fx / width - FOCAL), 6))  # fmt: skip
        distance = viewpoints(scene)[:, 2]
        outside = np.maximum(NEAREST - distance, distance - FARTHEST)
        scene.note("differs", f"the released models stand for distances from {NEAREST:g} to "
                   f"{FARTHEST:g}; render with --radius {NEAREST:g}:{FARTHEST:g} --framing allow "
                   "to go on from them (views); worst is by how much",
                   int((outside > 1e-3).sum()), round(float(outside.max()), 6))  # fmt: skip
        for view in scene.counted():
            out.add(f"{scene.key}/rgba/{view:03d}.png", scene.rgba_png(view))
            pose = scene.camera(view).camera_to_world[:3]
            out.add_npy(f"{scene.key}/pose/{view:03d}.npy", pose)
        intrinsics = np.array([[fx, fy], [cx, cy], [width, height]], np.float64)
        out.add_npy(f"{scene.key}/intrinsics.npy", intrinsics)
        return {}

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """``train_uids.json``, ``val_uids.json``, ``test_uids.json``."""
        for split in SPLITS:
            keys = [record.key for record in records if record.split == split]
            target.write_json(f"{split}_uids.json", keys)
