"""GS-LRM, Long-LRM and LVSM: OpenCV cameras with intrinsics per frame, and lists of scenes."""

from __future__ import annotations

from typing import Any

from ...cameras import Camera
from .base import SPLITS, Format, Options, Record
from .lens import demand_one_size, pinhole
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["GsLrm", "LongLrm", "Lvsm"]

LVSM_GAP = 25
"""Least distance between the outer views that LVSM's configurations draw, in frames."""
LONG_LRM_INPUTS = 32
"""Input frames of Long-LRM's configurations; with targets beside them it evaluates on 40."""


class GsLrm(Format):
    """``<key>/opencv_cameras.json``, ``<key>/images/cam_NNN.png`` (RGBA), ``<split>.txt``.

    ``w2c`` is world to camera (4x4) with OpenCV axes; ``fx fy cx cy`` are in pixels. The lists
    hold the folders of the scenes, as absolute paths, which every run writes anew.
    """

    name = "gs-lrm"
    about = "FaceLift (GS-LRM): opencv_cameras.json per asset, RGBA, lists of folders"
    holds = ("rgb",)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        frames = []
        for view in scene.counted():
            camera, path = scene.camera(view), f"images/cam_{view:03d}.png"
            out.add(f"{scene.key}/{path}", scene.rgba_png(view))
            frames.append(_frame(camera, path))
        out.add_json(f"{scene.key}/opencv_cameras.json", {"frames": frames})
        return {}

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """The lists ``train.txt``, ``val.txt`` and ``test.txt``."""
        for split in SPLITS:
            lines = [str(target.folder / r.key) for r in records if r.split == split]
            target.write(f"{split}.txt", "".join(f"{line}\n" for line in lines).encode())


def _frame(camera: Camera, path: str) -> dict[str, Any]:
    fx, fy, cx, cy = pinhole(camera)
    return {
        "w": camera.width, "h": camera.height, "fx": fx, "fy": fy, "cx": cx, "cy": cy,
        "w2c": camera.world_to_camera_opencv.tolist(),
        "file_path": path,
    }  # fmt: skip


class LongLrm(Format):
    """``<key>/opencv_cameras.json`` with ``scene_name``, ``<key>/images/NNN.png`` (RGB), lists.

    Frames are as :class:`GsLrm` writes them. ``<split>.txt`` has the path of a scene's JSON file
    per line, relative to the list.
    """

    name = "long-lrm"
    about = "Long-LRM: opencv_cameras.json per asset, RGB, lists of those files"
    trains = (
        "torchrun --nproc_per_node 1 --nnodes 1 main.py --config configs/objaverse.yaml "
        "--default-config configs/7m1t_tm.yaml  # in it: data.data_path {target}/train.txt, "
        "data_eval.data_path {target}/val.txt"
    )
    holds = ("rgb",)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        demand_one_size(scene)
        if len(scene) < LONG_LRM_INPUTS:
            scene.note(
                "differs",
                f"with fewer than {LONG_LRM_INPUTS} views a scene gives Long-LRM no sample, and it "
                f"looks for another one without end (views); render with --cameras orbit --views "
                f"{LONG_LRM_INPUTS + 8}, or lower data.num_input_frames",
                len(scene),
            )
        frames = []
        for view, number in enumerate(scene.numbers):
            path = f"images/{number:03d}.png"
            out.add(f"{scene.key}/{path}", scene.rgb_png(view))
            frames.append(_frame(scene.camera(view), path))
        content = {"scene_name": scene.key, "frames": frames}
        out.add_json(f"{scene.key}/opencv_cameras.json", content)
        return {}

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """The lists ``train.txt``, ``val.txt`` and ``test.txt``."""
        for split in SPLITS:
            lines = [f"{r.key}/opencv_cameras.json\n" for r in records if r.split == split]
            target.write(f"{split}.txt", "".join(lines).encode())


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
        if len(scene) < LVSM_GAP + 2:
            scene.note(
                "differs",
                f"with fewer than {LVSM_GAP + 2} views a scene gives LVSM no sample, and a list of "
                "such scenes ends in a RecursionError (views); render with --cameras orbit "
                "--views 48, or set training.view_selector.min_frame_dist two below the views",
                len(scene),
            )
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
