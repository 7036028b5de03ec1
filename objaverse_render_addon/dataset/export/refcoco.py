"""Referring expressions as lmms-eval reads RefCOCO: Parquet, one row per object and picture.

Format: https://huggingface.co/datasets/lmms-lab/RefCOCO and ``utils_rec.py`` of lmms-eval. Boxes
are COCO's: x, y, width, height.
"""

from __future__ import annotations

import io
import json
from typing import Any, ClassVar, Final

from .base import SPLITS, Options, Record
from .composed import ComposedFormat, pictures_of
from .target import Target

__all__ = ["RefCoco"]

QUESTION: Final = "Please provide a short description for the object in the box."
_PICTURE: Final = {"_type": "Image"}


class RefCoco(ComposedFormat):
    """``images/<key>/NNN.png``, ``data/<split>-00000-of-00001.parquet``."""

    name: ClassVar[str] = "refcoco"
    about: ClassVar[str] = "RefCOCO as lmms-eval reads it: Parquet (needs pyarrow)"
    modules: ClassVar[tuple[str, ...]] = ("pyarrow",)
    extra: ClassVar[str] = "huggingface"

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """A file for each split that has rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        for split in SPLITS:
            rows: list[dict[str, Any]] = []
            for picture in pictures_of(records, split):
                data = (target.folder / self.pictures / picture["file"]).read_bytes()
                rows += _rows(picture, data, split, len(rows))
            if not rows:
                continue
            buffer = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(rows, _schema()), buffer)
            target.write(f"data/{split}-00000-of-00001.parquet", buffer.getvalue())


def _rows(
    picture: dict[str, Any], data: bytes, split: str, first: int
) -> list[dict[str, Any]]:
    said: dict[int, list[str]] = {}
    for one in picture["expressions"]:
        if len(one["targets"]) == 1:
            said.setdefault(one["targets"][0], []).extend(
                text["text"] for text in one["texts"] if text["style"] == "phrase"
            )
    rows: list[dict[str, Any]] = []
    for chosen in picture["objects"]:
        if chosen["id"] not in said:
            continue
        rows.append({
            "question_id": f"{split}-{first + len(rows)}",
            "image": {"bytes": data, "path": picture["file"]}, "question": QUESTION,
            "answer": list(dict.fromkeys(said[chosen["id"]])),
            "segmentation": [float(number) for number in chosen["polygon"]],
            "bbox": [float(number) for number in chosen["bbox"]], "iscrowd": 0,
            "file_name": picture["file"],
        })  # fmt: skip
    return rows


def _schema() -> Any:
    import pyarrow as pa

    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    text, numbers = {"dtype": "string", "_type": "Value"}, {"dtype": "float32", "_type": "Value"}
    many = {"feature": numbers, "_type": "Sequence"}
    features = {
        "question_id": text, "image": _PICTURE, "question": text,
        "answer": {"feature": text, "_type": "Sequence"}, "segmentation": many, "bbox": many,
        "iscrowd": {"dtype": "int64", "_type": "Value"}, "file_name": text,
    }  # fmt: skip
    kinds = {
        "question_id": pa.string(), "image": picture, "question": pa.string(),
        "answer": pa.list_(pa.string()), "segmentation": pa.list_(pa.float32()),
        "bbox": pa.list_(pa.float32()), "iscrowd": pa.int64(), "file_name": pa.string(),
    }  # fmt: skip
    info = json.dumps({"info": {"features": features}})
    return pa.schema(list(kinds.items()), metadata={"huggingface": info})
