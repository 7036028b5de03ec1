"""What formats of pictures with sentences have in common: several objects, each with its mask."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import numpy as np

from ...errors import FormatCannotHold
from .base import Format, Record
from .masks import box_of, one_outline
from .scene import Scene
from .target import SceneFiles

__all__ = ["ComposedFormat", "pictures_of"]

SCENE, EXPRESSIONS = "scene.json", "expressions.json"
_NAMED = {"en": "English", "de": "German", "zh": "Chinese"}


class ComposedFormat(Format):
    """A format of composed scenes: pictures per scene, lists over all.

    Attributes:
        pictures: Folder of the pictures in the target.
    """

    needs: ClassVar[tuple[str, ...]] = ("rgb", "instance_index")
    holds: ClassVar[tuple[str, ...]] = ("rgb", "instance_index", "mask")
    pictures: ClassVar[str] = "images"

    def places(self, key: str, split: str) -> tuple[str, ...]:  # noqa: ARG002
        """The scene's folder among the pictures."""
        return (f"{self.pictures}/{key}",)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """The pictures; objects and sentences are kept for the lists.

        Raises:
            FormatCannotHold: It is no composed scene.
        """
        found = _pictures(scene)
        for view, picture in enumerate(found):
            picture["file"] = f"{scene.key}/{scene.numbers[view]:03d}.png"
            out.add(f"{self.pictures}/{picture['file']}", scene.rgb_png(view))
            self.also(scene, view, picture, out)
        return {"pictures": found, "scene": scene.key}

    def also(self, scene: Scene, view: int, picture: dict[str, Any], out: SceneFiles) -> None:
        """More files of a view, in the scene's places."""


def _pictures(scene: Scene) -> list[dict[str, Any]]:
    names = scene.reader.names()
    if SCENE not in names or EXPRESSIONS not in names:
        raise FormatCannotHold(
            f"{scene.asset_id} is no composed scene: it has no {EXPRESSIONS}.",
            hint="objaverse-render compose makes scenes with sentences; coco and yolo hold others.",
        )
    said = json.loads(scene.reader.bytes_of(SCENE))
    told_of = json.loads(scene.reader.bytes_of(EXPRESSIONS))
    sentences, free = told_of["expressions"], told_of.get("places", [])
    table = {one["id"]: one for one in said["objects"]}
    places = {looks["view"]: number for number, looks in enumerate(said["views"])}
    found = []
    dropped = silent = 0
    language = scene.options.language
    spoken = sorted({text["language"] for one in sentences for text in one["texts"]})
    if sentences and language not in spoken:
        raise FormatCannotHold(
            f"{scene.asset_id} has sentences in {', '.join(spoken)}, and none in {language}.",
            hint=f"Make the set with compose --languages en,{language}, or export another.",
        )
    for view, number in enumerate(scene.numbers):
        ids = scene.array(view, "instance_index")
        objects = [_object(table[one], ids == one) for one in sorted(table) if (ids == one).any()]
        told = []
        for one in sentences:
            if one["view"] != places.get(number):
                continue
            texts = [text for text in one["texts"] if text["language"] == language]
            dropped += len(one["texts"]) - len(texts)
            if not texts:
                silent += 1
                continue
            told.append({key: one[key] for key in ("id", "kind", "type", "targets", "references",
                                                   "margin")}
                        | {"texts": texts})  # fmt: skip
        spots = []
        for one in free:
            texts = [text for text in one["texts"] if text["language"] == language]
            if one["view"] == places.get(number) and texts:
                kept = ("id", "type", "mask", "points", "references")
                spots.append({**{key: one[key] for key in kept}, "texts": texts})
        height, width = ids.shape
        found.append({"width": width, "height": height, "view": number, "objects": objects,
                      "expressions": told, "places": spots})  # fmt: skip
    name = _NAMED[language]
    scene.note("dropped", f"sentences in other languages than {name} (sentences)", dropped)
    scene.note("dropped", f"what cannot be said in {name} (expressions)", silent)
    return found


def _object(one: dict[str, Any], mask: Any) -> dict[str, Any]:
    outline, bridged = one_outline(np.asarray(mask))
    return {
        "id": one["id"], "name": one["name"], "category": one["category"], "bbox": box_of(mask),
        "area": int(mask.sum()), "bridged": bridged,
        "polygon": [number for corner in outline for number in corner],
    }  # fmt: skip


def pictures_of(records: list[Record], split: str) -> list[dict[str, Any]]:
    """The pictures of a split, with the scene that each is of; scenes by key."""
    return [
        {**picture, "scene": record.data["scene"]}
        for record in records if record.split == split for picture in record.data["pictures"]
    ]  # fmt: skip


def corners(box: list[int]) -> list[int]:
    """``x0, y0, x1, y1``, half-open, of COCO's box."""
    x, y, width, height = box
    return [x, y, x + width, y + height]


def categories_of(records: list[Record]) -> dict[str, int]:
    """Category to number, from 1, by name."""
    names = {one["category"] for record in records for picture in record.data["pictures"]
             for one in picture["objects"]}  # fmt: skip
    return {name: number for number, name in enumerate(sorted(names), 1)}
