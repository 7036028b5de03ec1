"""Wonder3D, Era3D and MV-Adapter: six orthographic pictures and normals, each named by its side."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ..images import encode_png
from .base import Format, Options, Record, safe_key
from .lens import demand_centered, demand_square_pictures, viewpoints
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["Wonder3D"]

SIDES: Final = {
    "front": 0.0, "front_right": 45.0, "right": 90.0, "back": 180.0, "left": 270.0,
    "front_left": 315.0,
}  # fmt: skip
"""Name to degrees from the front, counter-clockwise seen from above."""
_RENDER: Final = "--recipe wonder3d"


class Wonder3D(Format):
    """``<key[:3]>/<key>/rgb_000_<side>.png`` (RGBA), ``normals_…`` and ``mask_…``, lists of keys.

    Normals are in the axes of their own camera (+X right, +Y up, +Z towards it), halved into 0..255
    as RGB with the mask as alpha. Poses are not stored: the trainer has its own, which differ from
    one another as these do. ``train.json`` and ``val.json`` are lists of keys.
    """

    name = "wonder3d"
    about = "Wonder3D, Era3D, MV-Adapter: six orthographic sides, rgb, normals and masks as PNG"
    trains = (
        "accelerate launch train_mvdiffusion_image.py --config "
        "configs/train/stage1-mix-6views-lvis.yaml  # in it: root_dir {target}, object_list "
        "{target}/train.json, suffix png"
    )
    needs = ("rgb", "normal")
    holds = ("rgb", "normal", "mask")
    projections = ("orthographic",)

    def places(self, key: str, split: str) -> tuple[str, ...]:  # noqa: ARG002
        """See :class:`.Format`."""
        return (f"{key[:3]}/{key}",)

    def key(self, asset_id: str, metadata: dict[str, Any]) -> str:  # noqa: ARG002
        """See :class:`.Format`; the first three letters are a folder of their own."""
        return safe_key(asset_id)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        demand_square_pictures(scene)
        demand_centered(scene)
        if len(scene) != len(SIDES):
            scene.note("differs", f"the trainer reads six views; render with {_RENDER}", len(scene))
        _tell_rig(scene)
        for view, side in zip(range(len(scene)), SIDES, strict=False):
            stem = f"{scene.key[:3]}/{scene.key}"
            alpha = scene.mask(view).astype(np.uint8) * 255
            out.add(f"{stem}/rgb_000_{side}.png", scene.rgba_png(view))
            rotation = scene.camera(view).camera_to_world[:3, :3]
            local = scene.world_normal(view).astype(np.float64) @ rotation
            halved = np.round((local * 0.5 + 0.5) * 255)
            pixels = np.dstack([halved, alpha]).astype(np.uint8)
            out.add(f"{stem}/normals_000_{side}.png", encode_png(pixels))
            out.add(f"{stem}/mask_000_{side}.png", encode_png(alpha))
        scene.note("quantised", "normals have 8 bits; worst is of one component",
                   len(scene), 1 / 255)  # fmt: skip
        return {}

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """The lists of keys; the trainer takes the last 64 of its list for validation."""
        for split in ("train", "val", "test"):
            keys = [record.key for record in records if record.split == split]
            target.write_json(f"{split}.json", keys)


def _tell_rig(scene: Scene) -> None:
    azimuth, elevation, _ = viewpoints(scene).T
    wanted = np.array(list(SIDES.values()))[: len(azimuth)]
    turned = azimuth[: len(wanted)] - azimuth[0]
    off = np.abs((turned - wanted + 180) % 360 - 180)
    off = np.maximum(off, np.abs(elevation[: len(wanted)]))
    scene.note(
        "differs",
        "the trainer takes views at the front and at 45°, 90°, 180°, 270° and 315° from it, all at "
        f"the horizon; render with {_RENDER} (views); worst is in degrees",
        int((off > 0.01).sum()), round(float(off.max()), 6),
    )  # fmt: skip
    low, high = np.array(scene.reader.bounds.box_min), np.array(scene.reader.bounds.box_max)
    share = [
        float(np.linalg.norm(high - low)) * camera.intrinsics[0, 0] / camera.width
        for camera in scene.cameras
    ]
    away = np.abs(np.array(share) * 1.35 - 1)
    scene.note(
        "differs",
        "Wonder3D's pictures are 1.35 times as wide as the diagonal of the object's box; render "
        f"with {_RENDER} (views); worst is the share by which these differ",
        int((away > 0.01).sum()), round(float(away.max()), 6),
    )  # fmt: skip
