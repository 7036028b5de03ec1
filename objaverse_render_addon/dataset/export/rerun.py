"""Rerun recordings: an asset's views, depth and masks in the Rerun viewer.

Format: https://rerun.io/docs/reference/types/archetypes
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .base import Format
from .lens import pinhole
from .scene import Scene
from .target import SceneFiles

__all__ = ["Rerun"]


class Rerun(Format):
    """``<key>.rrd``: ``world/views/NNN`` with pose, pinhole, picture, depth and mask."""

    name: ClassVar[str] = "rerun"
    about: ClassVar[str] = "Rerun: one .rrd per asset to look at (needs rerun-sdk)"
    trains: ClassVar[str] = "rerun {target}/{key}.rrd"
    holds: ClassVar[tuple[str, ...]] = ("rgb", "depth", "mask")
    modules: ClassVar[tuple[str, ...]] = ("rerun",)
    extra: ClassVar[str] = "rerun"

    def places(self, key: str, split: str) -> tuple[str, ...]:  # noqa: ARG002
        """See :class:`.Format`."""
        return (f"{key}.rrd",)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        import rerun as rr

        with tempfile.TemporaryDirectory(prefix="objaverse-rerun-") as folder:
            path = Path(folder) / "scene.rrd"
            recording = rr.RecordingStream("objaverse_render_addon", recording_id=scene.key)
            recording.save(str(path))
            recording.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
            for view, number in enumerate(scene.numbers):
                camera, entity = scene.camera(view), f"world/views/{number:03d}"
                fx, fy, cx, cy = pinhole(camera)
                pose = camera.camera_to_world_opencv
                recording.log(
                    entity, rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]),
                    static=True,
                )  # fmt: skip
                recording.log(
                    entity,
                    rr.Pinhole(
                        image_from_camera=[[fx, 0, cx], [0, fy, cy], [0, 0, 1]],
                        resolution=[camera.width, camera.height],
                        camera_xyz=rr.ViewCoordinates.RDF,
                        image_plane_distance=0.3,
                    ),
                    static=True,
                )
                picture = rr.EncodedImage(contents=scene.png(view), media_type="image/png")
                recording.log(f"{entity}/rgb", picture, static=True)
                if scene.has("depth"):
                    depth = rr.DepthImage(scene.depth(view), meter=1.0)
                    recording.log(f"{entity}/depth", depth, static=True)
                if scene.has_mask:
                    mask = rr.SegmentationImage(scene.mask(view).astype(np.uint8))
                    recording.log(f"{entity}/mask", mask, static=True)
            shape = scene.reader.geometry
            if shape is not None and "points.ply" in shape.names:
                found = shape.points()
                recording.log(
                    "world/points", rr.Points3D(found.points, colors=found.colors), static=True
                )
            recording.disconnect()
            out.add(f"{scene.key}.rrd", path.read_bytes())
        return {}
