"""gRefCOCO: expressions that mean one, several or no object.

Format: ``grefer.py`` of https://github.com/henghuiding/gRefCOCO, which takes JSON beside pickles;
``instances.json`` is COCO's. No pickle is written.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from .base import SPLITS, Options, Record
from .composed import ComposedFormat, categories_of, pictures_of
from .target import Target

__all__ = ["GRefCoco"]

FOLDER = "grefcoco"
_WORD = re.compile(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff][\w'-]*")
"""Chinese has no spaces between words; its characters are tokens."""


class GRefCoco(ComposedFormat):
    """``images/train2014/<key>/NNN.png``, ``grefcoco/grefs(unc).json``, ``…/instances.json``."""

    name: ClassVar[str] = "grefcoco"
    about: ClassVar[str] = "gRefCOCO: sentences of one, several and no targets, in JSON"
    pictures: ClassVar[str] = "images/train2014"

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """Both lists; numbers follow the scenes' keys."""
        categories = categories_of(records)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        refs: list[dict[str, Any]] = []
        sentences = 0
        for split in SPLITS:
            for picture in pictures_of(records, split):
                image = len(images) + 1
                images.append({"id": image, "file_name": picture["file"],
                               "width": picture["width"], "height": picture["height"]})  # fmt: skip
                numbers = {}
                for one in picture["objects"]:
                    numbers[one["id"]] = len(annotations) + 1
                    annotations.append({
                        "id": len(annotations) + 1, "image_id": image, "iscrowd": 0,
                        "category_id": categories[one["category"]], "bbox": one["bbox"],
                        "area": one["area"], "segmentation": [one["polygon"]],
                    })  # fmt: skip
                kinds = {one["id"]: categories[one["category"]] for one in picture["objects"]}
                for one in picture["expressions"]:
                    said = [_sentence(text["text"], sentences + place)
                            for place, text in enumerate(one["texts"])]  # fmt: skip
                    sentences += len(said)
                    chosen = one["targets"]
                    refs.append({
                        "ref_id": len(refs), "image_id": image, "file_name": picture["file"],
                        "split": split, "no_target": not chosen,
                        "ann_id": [numbers[one] for one in chosen] or [-1],
                        "category_id": [kinds[one] for one in chosen] or [-1],
                        "sent_ids": [one["sent_id"] for one in said], "sentences": said,
                    })  # fmt: skip
        target.write_json(f"{FOLDER}/grefs(unc).json", refs)
        target.write_json(f"{FOLDER}/instances.json", {
            "images": images, "annotations": annotations,
            "categories": [{"id": number, "name": name} for name, number in categories.items()],
        })  # fmt: skip


def _sentence(text: str, number: int) -> dict[str, Any]:
    plain = text.rstrip(".?!。？！").lower()
    return {"tokens": _WORD.findall(plain), "raw": text, "sent": plain, "sent_id": number}
