"""MDETR's referring expressions: a COCO picture per sentence, with what each word stands for.

Format: ``datasets/refexp.py`` of https://github.com/ashkamath/mdetr.
"""

from __future__ import annotations

from typing import Any, ClassVar

from .base import SPLITS, Options, Record
from .composed import ComposedFormat, categories_of, pictures_of
from .target import Target

__all__ = ["Mdetr"]

DATASET = "refcoco"
"""By this name MDETR chooses how it evaluates."""


class Mdetr(ComposedFormat):
    """``images/<key>/NNN.png``, ``finetune_refcoco_<split>.json``."""

    name: ClassVar[str] = "mdetr"
    about: ClassVar[str] = "MDETR: COCO with captions and the characters that name a target"

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """A list for each split."""
        categories = categories_of(records)
        for split in SPLITS:
            images: list[dict[str, Any]] = []
            annotations: list[dict[str, Any]] = []
            for number, picture in enumerate(pictures_of(records, split), 1):
                objects = {one["id"]: one for one in picture["objects"]}
                for one in picture["expressions"]:
                    for text in one["texts"]:
                        image = len(images) + 1
                        images.append({
                            "file_name": picture["file"], "height": picture["height"],
                            "width": picture["width"], "id": image, "original_id": number,
                            "caption": text["text"], "dataset_name": DATASET,
                            "tokens_negative": [[0, len(text["text"])]],
                        })  # fmt: skip
                        for chosen in map(objects.__getitem__, one["targets"]):
                            annotations.append({
                                "area": chosen["area"], "iscrowd": 0, "image_id": image,
                                "category_id": categories[chosen["category"]],
                                "id": len(annotations) + 1, "bbox": chosen["bbox"],
                                "original_id": chosen["id"],
                                "tokens_positive": text["spans"]["head"], "empty": False,
                            })  # fmt: skip
            target.write_json(f"finetune_{DATASET}_{split}.json", {
                "images": images, "annotations": annotations,
                "categories": [{"id": n, "name": name} for name, n in categories.items()],
            })  # fmt: skip
