"""LGM (kiui): RGBA and a text file with sixteen numbers per view."""

from __future__ import annotations

import math
from typing import Any

from .base import SPLITS, Format, Note, Options, Record
from .lens import demand_square_pictures, shared_fov_x, tell_distances
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["Lgm"]

FOV = 49.1
VIEWS = 100
DISTANCE = 1.5
BATCH = 8
"""``batch_size`` of LGM's options: so many names at a list's end are kept for validation."""


class Lgm(Format):
    """``<key>/rgb/NNN.png`` (RGBA), ``<key>/pose/NNN.txt``, ``train.txt``, ``val.txt``.

    A pose is one line of 16 numbers, row by row: camera to world, Blender's world (Z up), OpenCV
    camera axes. 1.5 is the distance that the trainer turns into its own radius, for an object in
    [-0.5, 0.5].
    """

    name = "lgm"
    about = "LGM: rgb/NNN.png, pose/NNN.txt (OpenCV camera to world) per asset"
    holds = ("rgb",)
    half_edge = 0.5

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        demand_square_pictures(scene)
        fov = math.degrees(shared_fov_x(scene))
        if abs(fov - FOV) > 0.05:
            scene.note("differs", f"trainers take a field of view of {FOV:g}° for granted; --fovy "
                       "has to say the other one; worst is it in degrees",
                       len(scene), round(fov, 6))  # fmt: skip
        if len(scene) != VIEWS:
            scene.note("differs", f"the provider draws from {VIEWS} views, input views from "
                       "numbers 36 to 72; adapt it", len(scene))  # fmt: skip
        tell_distances(
            scene,
            DISTANCE,
            "the object stands off its centre by the difference of the first one",
            "--normalize unit-cube --cameras fibonacci --views 100 --fov 49.1 --radius 1.5 "
            "--framing allow",
        )
        for view in scene.counted():
            out.add(f"{scene.key}/rgb/{view:03d}.png", scene.rgba_png(view))
            numbers = scene.camera(view).camera_to_world_opencv.ravel().tolist()
            text = " ".join(map(repr, numbers))
            out.add(f"{scene.key}/pose/{view:03d}.txt", f"{text}\n".encode())
        return {}

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """A list of scenes per split."""
        for split in SPLITS:
            lines = [f"{record.key}\n" for record in records if record.split == split]
            target.write(f"{split}.txt", "".join(lines).encode())

    def tells(self, target: Target, records: list[Record], options: Options) -> list[Note]:
        """See :class:`.Format`; also where the provider's own split leaves nothing."""
        told = super().tells(target, records, options)
        train = sum(record.split == "train" for record in records)
        if 0 < train <= BATCH:
            told.append(Note(
                "differs",
                f"the provider keeps the last {BATCH} names (batch_size) of its list for "
                "validation, and train.txt has no more: remove its split of self.items, or "
                "lower batch_size (scenes)", train,
            ))  # fmt: skip
        return told
