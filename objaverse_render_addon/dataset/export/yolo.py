"""YOLO's segmentation data: a text file of outlines beside each picture.

Format: https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final

from .base import SPLITS, Format, Options, Record
from .masks import one_outline
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["Yolo"]

_CLASS: Final = 0
"""All objects are of one: numbers of many would change with every new asset."""


class Yolo(Format):
    """``images/<split>/<key>/NNN.png``, ``labels/<split>/<key>/NNN.txt``, ``data.yaml``.

    A line is the number of a class and the outline, x and y as shares of width and height.
    """

    name: ClassVar[str] = "yolo"
    about: ClassVar[str] = "YOLO segmentation (Ultralytics): outlines as text, data.yaml"
    trains: ClassVar[str] = "yolo segment train data={target}/data.yaml model=yolo11n-seg.pt"
    needs: ClassVar[tuple[str, ...]] = ("rgb", "mask")
    holds: ClassVar[tuple[str, ...]] = ("rgb", "mask")
    background: ClassVar[tuple[float, float, float]] = (0.0, 0.0, 0.0)

    def places(self, key: str, split: str) -> tuple[str, ...]:
        """See :class:`.Format`."""
        return f"images/{split}/{key}", f"labels/{split}/{key}"

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """Pictures and outlines."""
        for view, number in enumerate(scene.numbers):
            name = f"{scene.split}/{scene.key}/{number:03d}"
            out.add(f"images/{name}.png", scene.rgb_png(view))
            mask = scene.mask(view)
            outline, bridged = one_outline(mask)
            height, width = mask.shape
            scene.note("differs", "parts and holes hang together by bridges without width, since "
                       "an object is one outline (views)", int(bridged))  # fmt: skip
            scene.note("dropped", "views without any pixel of the object have an empty label "
                       "(views)", int(not outline))  # fmt: skip
            words = [f"{x / width:.6f} {y / height:.6f}" for x, y in outline]
            text = f"{_CLASS} {' '.join(words)}\n" if outline else ""
            out.add(f"labels/{name}.txt", text.encode())
        return {}

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """``data.yaml``."""
        there = [split for split in SPLITS if any(record.split == split for record in records)]
        lines = [f"path: {json.dumps(str(target.folder))}"]
        # Trainers refuse a file without val.
        for split in ("train", "val", "test"):
            shown = split if split in there else there[0] if there and split != "test" else ""
            if shown:
                lines.append(f"{split}: images/{shown}")
        lines += ["names:", '  0: "object"', ""]
        target.write("data.yaml", "\n".join(lines).encode())
