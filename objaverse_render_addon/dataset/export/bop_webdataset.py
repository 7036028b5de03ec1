"""BOP as WebDataset, as the large training sets of the benchmark are handed out.

Format: ``bop_toolkit_lib/dataset/bop_webdataset.py`` of the toolkit. A scene is a shard.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from ...files import replacing
from .base import Options, Record
from .bop import Bop, entry_of, numbers_of, scene_files
from .target import Target
from .webdataset import END_OF_TAR, tar_member

__all__ = ["BopWebDataset"]


class BopWebDataset(Bop):
    """``train_pbr_web/shard-NNNNNN.tar``, keys ``SSSSSS_IIIIII``; the rest as :class:`.Bop`."""

    name: ClassVar[str] = "bop-webdataset"
    about: ClassVar[str] = "BOP as WebDataset shards: MegaPose and its successors"

    def place_of(self, split: str, scene: int) -> str:
        """The scene's shard."""
        return f"{split}_pbr_web/shard-{scene:06d}.tar"

    def settle(self, part: Path, final: Path, record: Record, entry: dict[str, Any]) -> None:
        """Write a scene's shard; its size is kept with its numbers."""
        said = scene_files(part, record, entry["obj_id"])
        scene = int(final.stem.split("-")[1])
        with replacing(final) as written, written.open("wb") as file:
            for image in said["scene_camera"]:
                file.write(_sample(part, said, scene, int(image)))
            file.write(END_OF_TAR)
            entry.setdefault("bytes", {})[str(scene)] = file.tell()

    def is_whole(self, target: Target, record: Record) -> bool:
        """Whether the asset is in its shards, or waits for them."""
        if target.has_files(record):
            return True
        entry = entry_of(target, record.asset_id) or {"scenes": [None]}
        try:
            return all(
                (target.folder / self.place_of(record.split, scene)).stat().st_size
                == entry["bytes"][str(scene)]
                for scene in entry["scenes"]
            )
        except (KeyError, OSError, TypeError, ValueError):
            return False

    def finish(self, target: Target, records: list[Record], options: Options) -> None:
        """Shards of what waits, and ``key_to_shard.json`` per split."""
        super().finish(target, records, options)
        numbers = numbers_of(target)
        keys: dict[str, dict[str, int]] = {}
        for record in records:
            listed = keys.setdefault(record.split, {})
            scenes = numbers[record.asset_id]["scenes"]
            for scene, count in zip(scenes, record.data["parts"], strict=True):
                listed.update({f"{scene:06d}_{image:06d}": scene for image in range(count)})
        for split, listed in keys.items():
            target.write_json(f"{split}_pbr_web/key_to_shard.json", listed)


def _sample(part: Path, said: dict[str, Any], scene: int, image: int) -> bytes:
    place = str(image)
    annotation = [a for a in said["scene_gt_coco"]["annotations"] if a["image_id"] == image]
    size = [said["scene_gt_coco"]["images"][image][name] for name in ("height", "width")]
    empty = {"counts": [size[0] * size[1]], "size": size}
    mask = json.dumps({"0": annotation[0]["segmentation"] if annotation else empty}).encode()
    members = {
        "camera.json": json.dumps(said["scene_camera"][place]).encode(),
        "depth.png": (part / f"depth/{image:06d}.png").read_bytes(),
        "gt.json": json.dumps(said["scene_gt"][place]).encode(),
        "gt_info.json": json.dumps(said["scene_gt_info"][place]).encode(),
        "mask.json": mask,
        "mask_visib.json": mask,
        "rgb.png": (part / f"rgb/{image:06d}.png").read_bytes(),
    }
    key = f"{scene:06d}_{image:06d}"
    return b"".join(tar_member(f"{key}.{end}", data) for end, data in members.items())
