"""SyncDreamer: sixteen pictures and a pickle of cameras."""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np

from .base import Format, Options, Record
from .lens import demand_square_pictures, fov_x, shared_lens, tell_distances, viewpoints
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["SyncDreamer"]

VIEWS = 16
FOV = 49.13
"""Degrees; the trainer's own cameras have a focal length of 280 pixels at 256."""
DISTANCE = 1.5
TARGET = ("--cameras ring --views 16 --elevation 30 --normalize unit-cube --fov 49.134 "
          "--radius 1.5 --framing allow")  # fmt: skip
INPUT = "--cameras syncdreamer-input"


class SyncDreamer(Format):
    """``<key>/NNN.png`` (RGBA), ``<key>/meta.pkl``, ``uid_set.pkl``.

    ``meta.pkl`` is the list ``[K, azimuths, elevations, distances, cam_poses]``: (3, 3) float32 in
    pixels; (N,) float32 in radians, radians and scene units; (N, 3, 4) float64, world to camera
    with OpenCV axes.
    """

    name = "syncdreamer"
    about = "SyncDreamer: NNN.png and meta.pkl per asset, uid_set.pkl; object in [-0.5, 0.5]"
    trains = (
        "python train_syncdreamer.py -b configs/syncdreamer-train.yaml --gpus 0,"
        "  # in it: target_dir {target}, uid_set_pkl {target}/uid_set.pkl, input_dir another export"
    )
    holds = ("rgb",)
    half_edge = 0.5

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        demand_square_pictures(scene)
        fx, fy, cx, cy = shared_lens(scene)
        if len(scene) != VIEWS:
            scene.note("differs", f"the trainer reads the views 0 to {VIEWS - 1}", len(scene))
        _tell_rig(scene)
        for view in scene.counted():
            out.add(f"{scene.key}/{view:03d}.png", scene.rgba_png(view))
        centers = np.stack([camera.camera_to_world[:3, 3] for camera in scene.cameras])
        distances = np.linalg.norm(centers, axis=1)
        scene.note("quantised", "K, azimuths, elevations and distances are float32")
        content = [
            np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float32),
            np.arctan2(centers[:, 1], centers[:, 0]).astype(np.float32),
            np.arcsin(np.clip(centers[:, 2] / distances, -1, 1)).astype(np.float32),
            distances.astype(np.float32),
            np.stack([camera.world_to_camera_opencv[:3] for camera in scene.cameras]),
        ]
        out.add(f"{scene.key}/meta.pkl", _pickled(content))
        return {}

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """``uid_set.pkl``: a list of the keys of the split train; ``uid_set_val.pkl`` …"""
        for split in ("train", "val", "test"):
            name = "uid_set.pkl" if split == "train" else f"uid_set_{split}.pkl"
            keys = [record.key for record in records if record.split == split]
            target.write(name, _pickled(keys))


def _tell_rig(scene: Scene) -> None:
    """Note where these can be neither the trainer's targets nor its input."""
    tell_distances(
        scene, DISTANCE, "the views do not fit its volume", f"{TARGET} (targets) or {INPUT} (input)"
    )
    away = max(abs(math.degrees(fov_x(camera)) - FOV) for camera in scene.cameras)
    if away > 0.1:
        scene.note("differs", f"the trainer takes a field of view of {FOV:g}° for granted; render "
                   "with --fov 49.134 (views); worst is the difference",
                   len(scene), round(away, 6))  # fmt: skip
    azimuth, elevation, _ = viewpoints(scene).T
    step = 360.0 / VIEWS
    off = (azimuth - azimuth[0] - step * np.arange(len(scene)) + 180) % 360 - 180
    scene.note(
        "differs",
        f"input i and target i have to share their azimuth, {step:g}° from one view to the next; "
        f"render targets with {TARGET}, input with {INPUT} (views); worst is in degrees",
        int((np.abs(off) > 0.01).sum()),
        round(float(np.abs(off).max()), 6),
    )
    low = np.minimum(elevation + 10, 0)
    high = np.maximum(elevation - 40, 0)
    outside = np.abs(low + high)
    scene.note(
        "differs",
        "the trainer's targets stand at an elevation of 30°, its input from -10 to 40°; render "
        f"targets with {TARGET}, input with {INPUT} (views); worst is in degrees",
        int((outside > 0.01).sum()),
        round(float(outside.max()), 6),
    )


class _Pickler(pickle.Pickler):
    """Arrays as calls of ``numpy.array``: numpy 2 pickles them with names that 1.x lacks."""

    def reducer_override(self, item: Any) -> Any:
        if isinstance(item, np.ndarray):
            return np.array, (item.tolist(), item.dtype.name)
        return NotImplemented


def _pickled(content: Any) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=4).dump(content)
    return buffer.getvalue()
