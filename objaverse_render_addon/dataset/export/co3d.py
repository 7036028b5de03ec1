"""CO3D's folders, in the two forms that DUSt3R's and VGGT's loaders read.

DUSt3R and MASt3R: ``dust3r/datasets/co3d.py``; VGGT: ``training/data/datasets/co3d.py``. They have
the same names for depth, and write it in different ways.
"""

from __future__ import annotations

import gzip
import io
import json
from typing import Any, ClassVar, Final

import numpy as np

from ..images import encode_png
from .base import Format, Options, Record
from .lens import pinhole
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["Dust3r", "Vggt"]

CATEGORY: Final = "toyplane"
"""One of CO3D's: VGGT's loader looks for no others."""
TURN: Final = 100
"""Frames of one turn that DUSt3R's pairs are drawn from."""
FEWEST: Final = 24
"""Frames of a sequence that VGGT's loader takes."""
_QUALITY: Final = 95


class _Co3d(Format):
    needs = ("rgb", "depth")
    holds = ("rgb", "depth", "mask")
    masks: ClassVar[str]

    def places(self, key: str, split: str) -> tuple[str, ...]:  # noqa: ARG002
        """See :class:`.Format`."""
        return (f"{CATEGORY}/{key}",)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        from PIL import Image

        folder = f"{CATEGORY}/{scene.key}"
        frames = []
        for view in scene.counted():
            name = f"frame{view:06d}"
            buffer = io.BytesIO()
            Image.fromarray(scene.rgb(view)).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
            out.add(f"{folder}/images/{name}.jpg", buffer.getvalue())
            mask = scene.mask(view).astype(np.uint8) * 255
            out.add(f"{folder}/{self.masks}/{name}.png", encode_png(mask))
            camera = scene.camera(view)
            fx, fy, cx, cy = pinhole(camera)
            # The first pixel's centre is the origin there.
            lens = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])
            depth = scene.depth(view)
            data = self.view(out, f"{folder}/images/{name}.npz", depth, lens, camera)
            out.add(f"{folder}/depths/{name}.jpg.geometric.png", data)
            frames.append({
                "filepath": f"{folder}/images/{name}.jpg",
                "extri": camera.world_to_camera_opencv[:3].tolist(),
                "intri": lens.tolist(),
            })  # fmt: skip
        scene.note("quantised", f"pictures are JPEG of quality {_QUALITY} (views)", len(scene))
        scene.note("differs", "cx and cy count from the centre of the first pixel, half a pixel "
                   "less than stored", 0)  # fmt: skip
        return {"frames": frames if isinstance(self, Vggt) else []}

    def view(self, out: SceneFiles, path: str, depth: Any, lens: Any, camera: Any) -> bytes:
        """The depth's PNG; what else a view has is written."""
        raise NotImplementedError


class Dust3r(_Co3d):
    """``<category>/<key>/{images,depths,masks}``, ``selected_seqs_{train,test}.json``.

    Depth is 16 bits of each picture's own ``maximum_depth``, in the ``.npz`` beside the picture
    with ``camera_pose`` (camera to world, OpenCV axes) and ``camera_intrinsics``, float32.
    """

    name = "dust3r"
    about = "DUSt3R, MASt3R: CO3D as their loader reads it, depth with a maximum per view"
    trains = (
        'python train.py --train_dataset "Co3d(split=\'train\', ROOT=\'{target}\', '
        'mask_bg=True, resolution=224)" --test_dataset "Co3d(split=\'test\', ROOT=\'{target}\', '
        'resolution=224, seed=777)"'
    )
    masks = "masks"

    def view(self, out: SceneFiles, path: str, depth: Any, lens: Any, camera: Any) -> bytes:
        """See :class:`_Co3d`."""
        farthest = np.float32(max(float(depth.max()), 1e-6))
        buffer = io.BytesIO()
        np.savez(
            buffer,
            camera_pose=camera.camera_to_world_opencv.astype(np.float32),
            camera_intrinsics=lens.astype(np.float32),
            maximum_depth=farthest,
        )
        out.add(path, buffer.getvalue())
        return encode_png(np.rint(depth / farthest * 65535).astype(np.uint16))

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        if len(scene) != TURN:
            scene.note(
                "differs",
                f"the loader draws its pairs among {TURN} frames of one turn, and what is beyond "
                f"the last is the last; render with --cameras ring --views {TURN} (views)",
                len(scene),
            )
        scene.note("quantised", "depth has 16 bits of each view's largest (views)", len(scene))
        return super().write(scene, out)

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """The lists; the loader knows no split val, whose scenes are in test."""
        for split, parts in (("train", ("train",)), ("test", ("val", "test"))):
            chosen = {
                record.key: list(range(record.views)) for record in records if record.split in parts
            }
            target.write_json(f"selected_seqs_{split}.json", {CATEGORY: chosen})


class Vggt(_Co3d):
    """``<category>/<key>/{images,depths,depth_masks}``, ``annotations/<category>_<split>.jgz``.

    Depth is a half float's 16 bits in a PNG. A frame of the annotations has ``filepath``,
    ``extri`` (world to camera 3x4, OpenCV axes) and ``intri``.
    """

    name = "vggt"
    about = "VGGT: CO3D as its training reads it, depth as half floats, annotations as .jgz"
    trains = (
        "python launch.py --config default  "
        "# with CO3D_DIR {target} and CO3D_ANNOTATION_DIR {target}/annotations"
    )
    masks = "depth_masks"

    def view(self, out: SceneFiles, path: str, depth: Any, lens: Any, camera: Any) -> bytes:  # noqa: ARG002
        """See :class:`_Co3d`."""
        return encode_png(np.ascontiguousarray(depth.astype(np.float16)).view(np.uint16))

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        if len(scene) < FEWEST:
            scene.note(
                "differs",
                f"the loader leaves out sequences of fewer than {FEWEST} frames; render with "
                f"--cameras ring --views {TURN} (views)",
                len(scene),
            )
        scene.note("quantised", "depth is half floats, 11 bits (views)", len(scene))
        return super().write(scene, out)

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """The annotations; the loader knows no split val, whose scenes are in test."""
        for split, parts in (("train", ("train",)), ("test", ("val", "test"))):
            chosen = {
                record.key: record.data["frames"] for record in records if record.split in parts
            }
            # A fixed date: the same scenes, the same bytes.
            data = gzip.compress(json.dumps(chosen).encode(), mtime=0)
            target.write(f"annotations/{CATEGORY}_{split}.jgz", data)
