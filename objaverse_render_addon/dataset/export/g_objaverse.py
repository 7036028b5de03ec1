"""G-buffer Objaverse, which RichDreamer trains on, and from which DiffSplat and VideoMV start.

``_nd.exr`` holds the world normal in the axes of the engine that the original was rendered with,
(-x, z, -y) of Blender's, and planar depth as alpha. ``_mr.png`` holds metallic, then roughness.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from .. import exr
from ..images import encode_png, encode_srgb8
from .base import SPLITS, Format, Options, Record
from .lens import demand_square_pictures, fov_x, tell_lost_lens, viewpoints
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["GObjaverse"]

TRAINED_FOV: Final = math.degrees(2 * math.atan(512 / 1422.222))
"""Loaders take a focal length of 1422.222 pixels at a width of 1024 for granted."""
TRAINED_VIEWS: Final = 40
GROUP: Final = "0"
"""The originals are in numbered groups; here all are in one."""


class GObjaverse(Format):
    """``0/<key>/campos_512_v4/NNNNN/NNNNN.{png,json}`` and more."""

    name: ClassVar[str] = "g-objaverse"
    about: ClassVar[str] = "G-buffer Objaverse: albedo, material, normal and depth per view"
    needs: ClassVar[tuple[str, ...]] = ("rgb", "depth", "normal")
    holds: ClassVar[tuple[str, ...]] = ("rgb", "depth", "normal", "albedo", "roughness_metallic")
    half_edge: ClassVar[float | None] = 0.5

    def places(self, key: str, split: str) -> tuple[str, ...]:  # noqa: ARG002
        """The asset's folder in the group."""
        return (f"{GROUP}/{key}",)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """One folder per view; views are numbered without gaps."""
        demand_square_pictures(scene)
        tell_lost_lens(scene, TRAINED_FOV, "most loaders take one field of view for granted and "
                       "do not read x_fov")  # fmt: skip
        missing = TRAINED_VIEWS - len(scene)
        scene.note("dropped", f"loaders choose among views 0 to {TRAINED_VIEWS - 1}, of which some "
                   "are missing", amount=max(0, missing))  # fmt: skip
        scene.note("dropped", f"loaders choose among views 0 to {TRAINED_VIEWS - 1}, the others "
                   "are not read", amount=max(0, -missing))  # fmt: skip
        _tell_rig(scene)
        scene.note("dropped", "_hdr.exr is not written: colour is stored in 8 bits")
        for view in range(len(scene)):
            self._view(scene, out, view)
        return {}

    def _view(self, scene: Scene, out: SceneFiles, view: int) -> None:
        stem = f"{GROUP}/{scene.key}/campos_512_v4/{view:05d}/{view:05d}"
        camera = scene.camera(view)
        pose = camera.camera_to_world_opencv
        mask = scene.mask(view)
        half = self.half_edge
        out.add(f"{stem}.png", scene.rgba_png(view))
        out.add_json(
            f"{stem}.json",
            {
                "x": pose[:3, 0].tolist(),
                "y": pose[:3, 1].tolist(),
                "z": pose[:3, 2].tolist(),
                "origin": pose[:3, 3].tolist(),
                "x_fov": fov_x(camera),
                "y_fov": 2 * math.atan(0.5 * camera.height / float(camera.intrinsics[1, 1])),
                "max_depth": float(np.max(scene.depth(view))),
                "bbox": [[-half, -half, -half], [half, half, half]] if half else None,
            },
        )
        normal = scene.world_normal(view)
        channels = {
            "R": -normal[..., 0],
            "G": normal[..., 2],
            "B": -normal[..., 1],
            "A": scene.depth(view),
        }
        out.add(f"{stem}_nd.exr", _exr(channels))
        if scene.has("albedo"):
            albedo = scene.array(view, "albedo")
            over = int((albedo[mask] > 1).any(axis=-1).sum())
            scene.note("clipped", "albedo above 1 in _albedo.png; counted in pixels", over)
            scene.note("quantised", "albedo is 8-bit sRGB; worst is the step's half in sRGB",
                       worst=0.5 / 255)  # fmt: skip
            linear = np.concatenate([albedo, mask[..., None]], axis=-1).astype(np.float32)
            out.add(f"{stem}_albedo.png", encode_png(encode_srgb8(linear)[..., :3].copy()))
        if scene.has("roughness_metallic"):
            both = scene.array(view, "roughness_metallic")
            over = int(((both[mask] < 0) | (both[mask] > 1)).any(axis=-1).sum())
            scene.note("clipped", "roughness and metallic outside 0..1; counted in pixels", over)
            scene.note("quantised", "roughness and metallic have 8 bits; worst is the step's half",
                       worst=0.5 / 255)  # fmt: skip
            pixels = np.zeros((*mask.shape, 4), np.uint8)
            pixels[..., :2] = np.rint(np.clip(both[..., ::-1], 0, 1) * 255)
            out.add(f"{stem}_mr.png", encode_png(pixels))

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """``gobjaverse_<split>.json``: the lists of ``group/id`` that loaders iterate over."""
        for split in SPLITS:
            paths = [f"{GROUP}/{record.key}" for record in records if record.split == split]
            target.write_json(f"gobjaverse_{split}.json", paths)


def _tell_rig(scene: Scene) -> None:
    """Note views whose number means another direction to loaders.

    0 to 23 are a turn, 15° from one to the next, and 27 to 38 another one with 30°, each at one
    elevation; 25 is the top, 26 the bottom. DiffSplat's even views and VideoMV's turn rest on it.
    """
    azimuth, elevation, _ = viewpoints(scene).T
    wrong: npt.NDArray[np.float64] = np.zeros(len(scene))
    for first, last, step in ((0, 24, 15.0), (27, 39, 30.0)):
        views = slice(first, min(last, len(scene)))
        if len(azimuth[views]):
            turn = step * np.arange(len(azimuth[views]))
            off = np.abs((azimuth[views] - azimuth[first] - turn + 180) % 360 - 180)
            wrong[views] = np.maximum(off, np.abs(elevation[views] - elevation[first]))
    for view, height in ((25, 90.0), (26, -90.0)):
        if view < len(scene):
            wrong[view] = abs(elevation[view] - height)
    scene.note(
        "differs",
        "loaders know the views by their numbers: 0 to 23 once around, 25 the top, 26 the bottom, "
        "27 to 38 once around; render with --cameras g-objaverse (views); worst is in degrees",
        int((wrong > 0.1).sum()),
        round(float(np.max(wrong)), 6),
    )


def _exr(channels: dict[str, Any]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="objaverse-export-") as folder:
        path = Path(folder) / "view.exr"
        exr.write(path, {name: np.asarray(c, np.float32) for name, c in channels.items()}, {})
        return path.read_bytes()
