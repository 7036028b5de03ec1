"""Grounding for language models that see, as ms-swift reads it.

Format: https://swift.readthedocs.io, "Custom dataset", grounding. Boxes are pixels of the picture
(``bbox_type`` ``real``); ms-swift scales them to what each model expects.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final

from .base import SPLITS, Options, Record
from .composed import ComposedFormat, corners, pictures_of
from .target import Target

__all__ = ["MsSwift"]


class MsSwift(ComposedFormat):
    """``images/<key>/NNN.png``, ``<split>.jsonl``."""

    name: ClassVar[str] = "ms-swift"
    about: ClassVar[str] = "ms-swift JSON lines: a question and its boxes, for any VLM"

    def finish(self, target: Target, records: list[Record], options: Options) -> None:
        """A file for each split, a line for each sentence that has a target."""
        for split in SPLITS:
            lines = [
                json.dumps(line, ensure_ascii=False)
                for picture in pictures_of(records, split)
                for line in _lines(picture, options.language)
            ]  # fmt: skip
            target.write(f"{split}.jsonl", "".join(f"{line}\n" for line in lines).encode())


ASKED: Final = {
    "en": "Find <ref-object>.", "de": "Zeige dies: <ref-object>.", "zh": "找到<ref-object>。",
}  # fmt: skip


def _lines(picture: dict[str, Any], language: str) -> list[dict[str, Any]]:
    boxes = {one["id"]: corners(one["bbox"]) for one in picture["objects"]}
    found = []
    for one in picture["expressions"]:
        # A sentence of nothing has no box to ask for.
        for text in one["texts"] if one["targets"] else ():
            if text["style"] != "phrase":
                continue
            answer = "".join("<bbox>" for _ in one["targets"])
            found.append({
                "messages": [
                    {"role": "user", "content": f"<image>{ASKED[language]}"},
                    {"role": "assistant", "content": answer},
                ],
                "images": [f"images/{picture['file']}"],
                "objects": {"ref": [text["text"]], "bbox": [boxes[i] for i in one["targets"]],
                            "bbox_type": "real"},
            })  # fmt: skip
    return found
