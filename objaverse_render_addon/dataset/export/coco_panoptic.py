"""COCO instances and panoptic segmentation of pictures with many objects.

Format: https://cocodataset.org/#format-data. A segment's id is its colour, R + 256 G + 256² B,
which here is the object's id in the scene.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..images import encode_png
from .base import SPLITS, Options, Record
from .composed import ComposedFormat, categories_of, pictures_of
from .masks import box_of, run_lengths
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["CocoPanoptic"]

STUFF = "stuff"


class CocoPanoptic(ComposedFormat):
    """``images/<key>/NNN.png``, ``panoptic/<key>/NNN.png``, ``annotations/….json``."""

    name: ClassVar[str] = "coco-panoptic"
    about: ClassVar[str] = "COCO instances and panoptic of composed scenes"

    def places(self, key: str, split: str) -> tuple[str, ...]:  # noqa: ARG002
        """See :class:`.Format`."""
        return f"images/{key}", f"panoptic/{key}"

    def also(self, scene: Scene, view: int, picture: dict[str, Any], out: SceneFiles) -> None:
        """The picture of ids; what is no object is one segment of stuff. Masks as run lengths."""
        ids = scene.array(view, "instance_index").astype(np.int64)
        known = [one["id"] for one in picture["objects"]]
        picture["runs"] = [run_lengths(ids == one) for one in known]
        stuff = (ids != 0) & ~np.isin(ids, known)
        number = int(np.max(ids)) + 1
        ids = np.where(stuff, number, ids)
        if number >= 1 << 24:
            ids = np.where(stuff, (1 << 24) - 1, ids)
            number = (1 << 24) - 1
        if stuff.any():
            picture["stuff"] = {"id": number, "bbox": box_of(stuff), "area": int(stuff.sum())}
        colors = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1)
        out.add(f"panoptic/{picture['file']}", encode_png(colors.astype(np.uint8)))

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """Three lists for each split: instances by outlines and by run lengths, and panoptic."""
        numbers = categories_of(records)
        stuff = len(numbers) + 1
        kinds = [{"id": n, "name": name, "supercategory": "object", "isthing": 1}
                 for name, n in numbers.items()]  # fmt: skip
        for split in SPLITS:
            images: list[dict[str, Any]] = []
            instances: list[dict[str, Any]] = []
            runs: list[dict[str, Any]] = []
            panoptic: list[dict[str, Any]] = []
            for number, picture in enumerate(pictures_of(records, split), 1):
                images.append({"id": number, "file_name": picture["file"],
                               "width": picture["width"], "height": picture["height"]})  # fmt: skip
                segments = []
                for one, run in zip(picture["objects"], picture["runs"], strict=True):
                    shared = {"category_id": numbers[one["category"]], "area": one["area"],
                              "bbox": one["bbox"], "iscrowd": 0}  # fmt: skip
                    segments.append({"id": one["id"], **shared})
                    instances.append({"id": len(instances) + 1, "image_id": number,
                                      "segmentation": [one["polygon"]], **shared})  # fmt: skip
                    runs.append({**instances[-1], "segmentation": run})
                if "stuff" in picture:
                    segments.append({**picture["stuff"], "category_id": stuff, "iscrowd": 0})
                panoptic.append({"image_id": number, "file_name": picture["file"],
                                 "segments_info": segments})  # fmt: skip
            beside = {"id": stuff, "name": STUFF, "supercategory": STUFF, "isthing": 0}
            target.write_json(f"annotations/instances_{split}.json", {
                "images": images, "annotations": instances, "categories": kinds})  # fmt: skip
            target.write_json(f"annotations/instances_rle_{split}.json", {
                "images": images, "annotations": runs, "categories": kinds})  # fmt: skip
            target.write_json(f"annotations/panoptic_{split}.json", {
                "images": images, "annotations": panoptic,
                "categories": [*kinds, beside]})  # fmt: skip
