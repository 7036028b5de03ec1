"""TUM RGB-D: pictures with timestamps and a trajectory, for SLAM and its evaluation.

Format: https://cvg.cit.tum.de/data/datasets/rgbd-dataset/file_formats
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from ..images import encode_png
from .base import Format
from .lens import demand_one_size, shared_lens
from .scene import Scene
from .target import SceneFiles

__all__ = ["Tum", "quaternion_of"]

FACTOR: Final = 5000
"""Of depth in its pictures: 5000 is one unit."""
_MOST: Final = 65535 / FACTOR


class Tum(Format):
    """``<key>/rgb/SECONDS.png``, ``depth/SECONDS.png``, ``rgb.txt``, ``depth.txt``,
    ``groundtruth.txt`` and ``calibration.txt``; below ``<key>/NNN`` for each of several cameras.
    """

    name: ClassVar[str] = "tum"
    about: ClassVar[str] = "TUM RGB-D: pictures, depth and a trajectory with timestamps"
    holds: ClassVar[tuple[str, ...]] = ("rgb", "depth")
    has_time: ClassVar[bool] = True

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        demand_one_size(scene)
        if not scene.times:
            scene.note("differs", "nothing moves: timestamps count the views, a second for each")
        for folder, views in scene.sequences.items():
            home = scene.key + folder
            fx, fy, cx, cy = shared_lens(scene, views)
            lists: dict[str, list[str]] = {"rgb": [], "depth": [], "groundtruth": []}
            for view in views:
                stamp = f"{scene.seconds(view):.6f}"
                lists["rgb"].append(f"{stamp} rgb/{stamp}.png")
                out.add(f"{home}/rgb/{stamp}.png", scene.rgb_png(view))
                if scene.has("depth"):
                    lists["depth"].append(f"{stamp} depth/{stamp}.png")
                    out.add(f"{home}/depth/{stamp}.png", self._depth(scene, view))
                pose = scene.camera(view).camera_to_world_opencv
                numbers = [*pose[:3, 3].tolist(), *quaternion_of(pose[:3, :3])]
                lists["groundtruth"].append(" ".join([stamp, *(f"{x:.9g}" for x in numbers)]))
            heads = {
                "rgb": "timestamp filename", "depth": "timestamp filename",
                "groundtruth": "timestamp tx ty tz qx qy qz qw, camera to world, +Z forward",
            }  # fmt: skip
            for name, lines in lists.items():
                if lines:
                    text = "\n".join([f"# {heads[name]}", *lines, ""])
                    out.add(f"{home}/{name}.txt", text.encode())
            # Its tools count pixels from the centre of the first one.
            lens = f"# fx fy cx cy\n{fx:.9g} {fy:.9g} {cx - 0.5:.9g} {cy - 0.5:.9g}\n"
            out.add(f"{home}/calibration.txt", lens.encode())
        scene.note("differs", "cx and cy of calibration.txt count pixels from the centre of the "
                   "first one, half a pixel less than stored")  # fmt: skip
        return {}

    def _depth(self, scene: Scene, view: int) -> bytes:
        depth = scene.depth(view).astype(np.float64)
        over = int((depth > _MOST).sum())
        scene.note("clipped", f"depth beyond {_MOST:g} units is 0, unknown (pixels)", over)
        steps = np.where(depth > _MOST, 0, np.round(depth * FACTOR))
        scene.note("quantised", f"depth in steps of 1/{FACTOR} units (views)", worst=0.5 / FACTOR)
        return encode_png(steps.astype(np.uint16))


def quaternion_of(rotation: npt.NDArray[Any]) -> list[float]:
    """x, y, z, w of unit length, w not negative, of a rotation (3, 3)."""
    # The largest eigenvector of a symmetric matrix; no case distinctions (Bar-Itzhack, 2000).
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation.tolist()
    matrix = np.array(
        [
            [xx - yy - zz, yx + xy, zx + xz, zy - yz],
            [yx + xy, yy - xx - zz, zy + yz, xz - zx],
            [zx + xz, zy + yz, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    vector = np.linalg.eigh(matrix / 3)[1][:, -1]
    found: list[float] = (vector if vector[3] >= 0 else -vector).tolist()
    return found
