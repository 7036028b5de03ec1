"""GS-LRM and LVSM: OpenCV cameras with intrinsics per frame, and lists of scenes."""

from __future__ import annotations

from typing import Any

from .base import SPLITS, Format, Options, Record
from .lens import pinhole
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["GsLrm", "Lvsm"]


class GsLrm(Format):
    """``<key>/opencv_cameras.json``, ``<key>/images/cam_NNN.png`` (RGBA), ``<split>.txt``.

    ``w2c`` is world to camera (4x4) with OpenCV axes; ``fx fy cx cy`` are in pixels. The lists
    hold the folders of the scenes, as absolute paths, which every run writes anew.
    """

    name = "gs-lrm"
    about = "GS-LRM, FaceLift: opencv_cameras.json per asset, RGBA, lists of folders"
    holds = ("rgb",)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        frames = []
        for view in scene.counted():
            camera, path = scene.camera(view), f"images/cam_{view:03d}.png"
            out.add(f"{scene.key}/{path}", scene.rgba_png(view))
            fx, fy, cx, cy = pinhole(camera)
            frames.append(
                {
                    "w": camera.width, "h": camera.height,
                    "fx": fx, "fy": fy, "cx": cx, "cy": cy,
                    "w2c": camera.world_to_camera_opencv.tolist(),
                    "file_path": path,
                }
            )  # fmt: skip
        out.add_json(f"{scene.key}/opencv_cameras.json", {"frames": frames})
        return {}

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """The lists ``train.txt``, ``val.txt`` and ``test.txt``."""
        for split in SPLITS:
            lines = [str(target.folder / r.key) for r in records if r.split == split]
            target.write(f"{split}.txt", "".join(f"{line}\n" for line in lines).encode())


class Lvsm(Format):
    """``<split>/metadata/<key>.json``, ``<split>/images/<key>/NNN.png`` (RGB), ``full_list.txt``.

    Frames have ``image_path``, ``fxfycxcy`` (pixels) and ``w2c`` (4x4, OpenCV axes). LVSM opens
    the paths as they are, so they are absolute; in a target that was moved, the next run writes
    the scenes anew.
    """

    name = "lvsm"
    about = "LVSM: a JSON file per scene with absolute paths, RGB, full_list.txt per split"
    trains = (
        "torchrun --nproc_per_node 1 train.py --config configs/LVSM_scene_decoder_only.yaml "
        "training.dataset_path = {target}/train/full_list.txt"
    )
    holds = ("rgb",)

    def places(self, key: str, split: str) -> tuple[str, ...]:
        """See :class:`.Format`."""
        return f"{split}/images/{key}", f"{split}/metadata/{key}.json"

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        frames = []
        for view, number in enumerate(scene.numbers):
            camera = scene.camera(view)
            path = f"{scene.split}/images/{scene.key}/{number:03d}.png"
            out.add(path, scene.rgb_png(view))
            frames.append(
                {
                    "image_path": str(out.folder / path),
                    "fxfycxcy": list(pinhole(camera)),
                    "w2c": camera.world_to_camera_opencv.tolist(),
                }
            )
        content = {"scene_name": scene.key, "frames": frames}
        out.add_json(f"{scene.split}/metadata/{scene.key}.json", content)
        return {"folder": str(out.folder)}

    def is_whole(self, target: Target, record: Record) -> bool:
        """See :class:`.Format`; the paths have to lead to where the files are."""
        return record.data["folder"] == str(target.folder) and target.has_files(record)

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """``full_list.txt`` per split: the paths of its scenes' JSON files."""
        for split in SPLITS:
            folder = target.folder / split / "metadata"
            lines = [str(folder / f"{r.key}.json") for r in records if r.split == split]
            target.write(f"{split}/full_list.txt", "".join(f"{line}\n" for line in lines).encode())
