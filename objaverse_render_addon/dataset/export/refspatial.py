"""Points for what sentences mean, as RefSpatial has them: objects, and free space.

Format: https://huggingface.co/datasets/BAAI/RefSpatial-Bench for the scenes of the split test, one
row a sentence with the mask that a point has to lie in (``location`` objects, ``placement`` free
space); ``train.json`` and ``val.json`` are conversations whose answers are points. All points are
shares of the picture's width and height, from its upper left corner, at pixels' centres.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from ..images import encode_png
from .base import SPLITS, Options, Record
from .composed import ComposedFormat, pictures_of
from .masks import mask_of, run_lengths
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["RefSpatial"]

SUFFIX: Final = {
    "en": "Answer with a list of points such as [(0.25, 0.5)]: across and down, each from 0 to 1.",
    "de": "Antworte mit einer Liste von Punkten wie [(0.25, 0.5)]: nach rechts und nach unten, "
          "jeweils von 0 bis 1.",
    "zh": "请用点的列表回答, 例如 [(0.25, 0.5)]: 先横后竖, 取值从 0 到 1。",
}  # fmt: skip
POINT: Final = {"en": "Point to {}.", "de": "Zeige auf Folgendes: {}.", "zh": "指出{}。"}
"""What is asked, by the sentence's language."""
TASKS: Final = ("location", "placement")
_DIGITS: Final = 4


class RefSpatial(ComposedFormat):
    """``images/<key>/NNN.png``, ``train.json``, ``val.json``, ``data/<task>-….parquet``."""

    name: ClassVar[str] = "refspatial"
    about: ClassVar[str] = "RefSpatial: points for objects and free space (needs pyarrow)"
    modules: ClassVar[tuple[str, ...]] = ("pyarrow",)
    extra: ClassVar[str] = "huggingface"

    def also(self, scene: Scene, view: int, picture: dict[str, Any], out: SceneFiles) -> None:  # noqa: ARG002
        """Masks of all that is meant, as run lengths, and a point far inside each."""
        ids = scene.array(view, "instance_index")
        meant = sorted({one for told in picture["expressions"] for one in told["targets"]})
        picture["runs"] = {str(one): run_lengths(ids == one) for one in meant}
        picture["inside"] = {str(one): innermost(ids == one) for one in meant}

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """Conversations of the splits train and val, tables of the split test."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        for split in SPLITS[:2]:
            lines = [_conversation(number, picture, one) for number, (picture, one) in enumerate(
                (picture, one) for picture in pictures_of(records, split)
                for one in _questions(picture)
            )]  # fmt: skip
            target.write(f"{split}.json", (
                json.dumps(lines, indent=1, ensure_ascii=False) + "\n").encode())  # fmt: skip
        for task in TASKS:
            rows: list[dict[str, Any]] = []
            for picture in pictures_of(records, SPLITS[2]):
                data = (target.folder / self.pictures / picture["file"]).read_bytes()
                rows += [_row(len(rows) + place, picture, data, one) for place, one in enumerate(
                    one for one in _questions(picture) if one["task"] == task)]  # fmt: skip
            path = f"data/{task}-00000-of-00001.parquet"
            if rows:
                buffer = io.BytesIO()
                pq.write_table(pa.Table.from_pylist(rows, _schema()), buffer)
                target.write(path, buffer.getvalue())
            else:
                (target.folder / path).unlink(missing_ok=True)


def innermost(mask: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Column and row of a pixel that is as far from the mask's edge as any."""
    left = mask
    while True:
        wide = np.pad(left, 1)
        smaller = (left & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:])
        if not smaller.any():
            row, column = np.argwhere(left)[0].tolist()
            return column, row
        left = smaller


def _questions(picture: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What is asked of a picture: sentences, points, masks, and how much is mentioned."""
    for one in picture["expressions"]:
        names = [str(target) for target in one["targets"]]
        for text in one["texts"] if names else ():
            if text["style"] == "phrase":
                yield {"task": TASKS[0], "text": text, "step": max(1, len(one["references"])),
                       "points": [picture["inside"][name] for name in names],
                       "masks": [picture["runs"][name] for name in names]}  # fmt: skip
    for one in picture["places"]:
        for text in one["texts"]:
            if text["style"] == "phrase":
                yield {"task": TASKS[1], "text": text, "step": max(1, len(one["references"])),
                       "points": [point[:2] for point in one["points"]],
                       "masks": [one["mask"]]}  # fmt: skip


def _share(picture: dict[str, Any], point: Any) -> tuple[float, float]:
    column, row = point
    return (round((column + 0.5) / picture["width"], _DIGITS),
            round((row + 0.5) / picture["height"], _DIGITS))  # fmt: skip


def _prompt(one: dict[str, Any]) -> str:
    return POINT[one["text"]["language"]].format(one["text"]["text"])


def _suffix(one: dict[str, Any]) -> str:
    return SUFFIX[one["text"]["language"]]


def _conversation(number: int, picture: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
    points = ", ".join(f"({x}, {y})" for x, y in (_share(picture, p) for p in one["points"]))
    return {
        "id": number, "image": f"images/{picture['file']}",
        "conversations": [
            {"from": "human", "value": f"<image>\n{_prompt(one)} {_suffix(one)}"},
            {"from": "gpt", "value": f"[{points}]"},
        ],
    }  # fmt: skip


def _row(
    number: int, picture: dict[str, Any], data: bytes, one: dict[str, Any]
) -> dict[str, Any]:
    mask = np.any([mask_of(runs) for runs in one["masks"]], axis=0)
    begin, end = one["text"]["spans"]["target"][0]
    name = picture["file"].replace("/", "_")
    return {
        "id": number, "image": {"bytes": data, "path": name},
        "mask": {"bytes": encode_png(mask.astype(np.uint8) * 255), "path": name},
        "object": one["text"]["text"][begin:end], "prompt": _prompt(one), "suffix": _suffix(one),
        "step": one["step"],
    }  # fmt: skip


def _schema() -> Any:
    import pyarrow as pa

    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kinds = {"id": pa.int64(), "image": picture, "mask": picture, "object": pa.string(),
             "prompt": pa.string(), "suffix": pa.string(), "step": pa.int64()}  # fmt: skip
    features = {
        name: {"_type": "Image"} if kind == picture else {
            "dtype": "int64" if kind == pa.int64() else "string", "_type": "Value"}
        for name, kind in kinds.items()
    }  # fmt: skip
    info = json.dumps({"info": {"features": features}})
    return pa.schema(list(kinds.items()), metadata={"huggingface": info})
