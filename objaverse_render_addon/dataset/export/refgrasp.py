"""RefGrasp's own files, and polygon-transformer's, which read its polygons.

A table of boxes (``rec.tsv``), one of polygons (``res.tsv``), and ``expressions.json``. Depth is a
16-bit PNG of millimetres and not of half-precision bits, masks are 16-bit ids with 0 for the
background and not 255; the page of the format says so.
"""

from __future__ import annotations

import base64
from typing import Any, ClassVar

import numpy as np

from ..images import encode_png
from .base import SPLITS, Options, Record
from .composed import ComposedFormat, corners, pictures_of
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["PolygonTransformer", "RefGrasp"]

POINTS = 400
"""Corners of an interpolated outline, at most."""


class RefGrasp(ComposedFormat):
    """``rgb/<key>/NNN.png``, ``mask/…``, ``depth/…``, ``rec.tsv``, ``res.tsv`` and per split."""

    name: ClassVar[str] = "refgrasp"
    about: ClassVar[str] = "RefGrasp: rec.tsv, res.tsv, expressions.json, depth and masks"
    pictures: ClassVar[str] = "rgb"
    needs: ClassVar[tuple[str, ...]] = ("rgb", "instance_index", "depth")
    holds: ClassVar[tuple[str, ...]] = ("rgb", "instance_index", "mask", "depth")

    def places(self, key: str, split: str) -> tuple[str, ...]:  # noqa: ARG002
        """See :class:`.Format`."""
        return f"rgb/{key}", f"mask/{key}", f"depth/{key}"

    def also(self, scene: Scene, view: int, picture: dict[str, Any], out: SceneFiles) -> None:
        """Mask and depth."""
        ids = scene.array(view, "instance_index")
        known = [one["id"] for one in picture["objects"]]
        out.add(f"mask/{picture['file']}",
                encode_png(np.where(np.isin(ids, known), ids, 0).astype(np.uint16)))  # fmt: skip
        depth = np.rint(scene.depth(view).astype(np.float64) * 1000)
        beyond = int((depth > 65535).sum())
        scene.note("clipped", "depth beyond 65.5 m has no place in 16 bits (pixels)", beyond)
        scene.note("quantised", "depth is whole millimetres; worst in mm", worst=0.5)
        out.add(f"depth/{picture['file']}", encode_png(np.clip(depth, 0, 65535).astype(np.uint16)))

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """The tables."""
        boxes: list[str] = []
        scenes: list[dict[str, Any]] = []
        index = image = 0
        for split in SPLITS:
            rows = []
            for picture in pictures_of(records, split):
                objects = {one["id"]: one for one in picture["objects"]}
                told = []
                for one in picture["expressions"]:
                    # There is no place for several targets or none.
                    if len(one["targets"]) != 1:
                        continue
                    chosen = objects[one["targets"][0]]
                    box = ",".join(map(str, corners(chosen["bbox"])))
                    for text in one["texts"]:
                        path, words = f"rgb/{picture['file']}", text["text"]
                        boxes.append(f"{index}\t{words}\t{box}\t{path}")
                        outline = ordered(chosen["polygon"])
                        rows.append("\t".join((
                            str(index), path, box, words, said(outline), said(dense(outline)),
                        )))  # fmt: skip
                        told.append({"obj": {"id": chosen["name"], "scene_id": chosen["id"]},
                                     "expression": words})  # fmt: skip
                        index += 1
                scenes.append({"img_idxs": [image], "expressions": told})
                image += 1
            target.write(f"{split}.tsv", "".join(f"{row}\n" for row in rows).encode())
        every = [(target.folder / f"{split}.tsv").read_bytes() for split in SPLITS]
        target.write("res.tsv", b"".join(every))
        target.write("rec.tsv", "".join(f"{row}\n" for row in boxes).encode())
        target.write_json("expressions.json", scenes)


class PolygonTransformer(ComposedFormat):
    """``<split>.tsv`` of eight columns, with pictures and masks inside as Base64."""

    name: ClassVar[str] = "polygon-transformer"
    about: ClassVar[str] = "polygon-transformer: TSV of sentences, boxes and outlines"

    def also(self, scene: Scene, view: int, picture: dict[str, Any], out: SceneFiles) -> None:
        """Masks of the targets, for the table."""
        ids = scene.array(view, "instance_index")
        chosen = {one for told in picture["expressions"] for one in told["targets"]}
        for one in sorted(chosen):
            name = picture["file"].replace(".png", f"_{one}.png")
            mask = (ids == one).astype(np.uint8) * 255
            out.add(f"{self.pictures}/{name}", encode_png(mask))

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """The tables."""
        image = 0
        for split in SPLITS:
            rows = []
            for picture in pictures_of(records, split):
                image += 1
                objects = {one["id"]: one for one in picture["objects"]}
                base = target.folder / self.pictures
                shown = _base64((base / picture["file"]).read_bytes())
                for one in picture["expressions"]:
                    if len(one["targets"]) != 1:
                        continue
                    chosen = objects[one["targets"][0]]
                    name = picture["file"].replace(".png", f"_{chosen['id']}.png")
                    mask = _base64((base / name).read_bytes())
                    outline = ordered(chosen["polygon"])
                    for number, text in enumerate(one["texts"]):
                        rows.append("\t".join((
                            f"{image}-{one['id']}_{number}", str(image), text["text"],
                            ",".join(map(str, corners(chosen["bbox"]))), said(outline), shown,
                            mask, said(dense(outline)),
                        )))  # fmt: skip
            target.write(f"{split}.tsv", "".join(f"{row}\n" for row in rows).encode())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def ordered(polygon: list[int]) -> list[tuple[float, float]]:
    """An outline's corners, clockwise in the picture, from the one nearest to its origin."""
    points = list(zip(polygon[::2], polygon[1::2], strict=True))
    following = [*points[1:], points[0]]
    area = sum(x * v - u * y for (x, y), (u, v) in zip(points, following, strict=True))
    if area < 0:
        points = points[::-1]
    first = min(range(len(points)), key=lambda i: (points[i][0] ** 2 + points[i][1] ** 2, i))
    return [(float(x), float(y)) for x, y in points[first:] + points[:first]]


def dense(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Evenly along an outline, about two pixels apart, the corners not kept."""
    closed = np.array([*points, points[0]], np.float64)
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    count = int(np.clip(along[-1] // 2, 3, POINTS))
    at = np.linspace(0, along[-1], count, endpoint=False)
    return [(float(x), float(y)) for x, y in zip(
        np.interp(at, along, closed[:, 0]), np.interp(at, along, closed[:, 1]), strict=True
    )]  # fmt: skip


def said(points: list[tuple[float, float]]) -> str:
    """As the tables have it: an outline, and a space after it, without which it would be lost."""
    return ",".join(f"{round(x, 2):g},{round(y, 2):g}" for x, y in points) + " "
