"""COCO instances, in the folders that trainers on COCO expect.

Format: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from ...cameras import PROJECTIONS
from .base import SPLITS, Format, Options, Record
from .masks import box_of, polygons, run_lengths
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["Coco"]

FOLDER: Final = "{split}2017"
"""Trainers on COCO have the year in their paths."""
SUPER: Final = "object"


class Coco(Format):
    """``train2017/<key>/NNN.png``, ``annotations/instances_train2017.json``; so val and test."""

    name: ClassVar[str] = "coco"
    about: ClassVar[str] = "COCO instances: boxes, polygons and run lengths"
    trains: ClassVar[str] = (
        "python references/detection/train.py --dataset coco --data-path {target} "
        "--model maskrcnn_resnet50_fpn"
    )
    # Each picture stands for itself.
    has_time: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("rgb", "mask")
    projections: ClassVar[tuple[str, ...]] = tuple(PROJECTIONS)
    holds: ClassVar[tuple[str, ...]] = ("rgb", "mask")

    def places(self, key: str, split: str) -> tuple[str, ...]:
        """The asset's folder among the split's pictures."""
        return (f"{FOLDER.format(split=split)}/{key}",)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """The pictures; what is on them is kept for the lists."""
        images = []
        for view, number in enumerate(scene.numbers):
            name = f"{scene.key}/{number:03d}.png"
            camera = scene.camera(view)
            out.add(f"{FOLDER.format(split=scene.split)}/{name}", scene.rgb_png(view))
            mask = scene.mask(view)
            image: dict[str, Any] = {
                "file_name": name, "width": camera.width, "height": camera.height,
            }  # fmt: skip
            images.append({"image": image, "annotation": _annotation(scene, mask)})
        license = scene.metadata.get("license")
        return {
            "images": images,
            "category": _category(scene),
            "license": license if isinstance(license, str) and license else "unknown",
        }

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """``annotations/instances_<split>2017.json``; numbers follow the assets' keys."""
        categories = sorted({record.data["category"] for record in records})
        licenses = sorted({record.data["license"] for record in records})
        for split in SPLITS:
            chosen = [record for record in records if record.split == split]
            content = _instances(chosen, categories, licenses)
            target.write_json(f"annotations/instances_{FOLDER.format(split=split)}.json", content)


def _annotation(scene: Scene, mask: Any) -> dict[str, Any] | None:
    box = box_of(mask)
    if box is None:
        scene.note("dropped", "views without any pixel of the object have no annotation; "
                   "counted in views")  # fmt: skip
        return None
    outline: Any = polygons(mask)
    if outline is None:
        scene.note("differs", "masks with holes are run lengths with iscrowd 0, since polygons "
                   "cannot have holes; counted in views")  # fmt: skip
        outline = run_lengths(mask)
    return {"segmentation": outline, "bbox": box, "area": int(mask.sum()), "iscrowd": 0}


def _category(scene: Scene) -> str:
    known = scene.metadata.get("metadata") or {}
    for name in ("lvis", "category", "categories"):
        value = known.get(name)
        if isinstance(value, list) and value:
            value = value[0].get("name") if isinstance(value[0], dict) else value[0]
        if isinstance(value, str) and value:
            return value
    scene.note("differs", "the catalogue names no category; the asset is one of its own")
    return scene.asset_id


def _instances(
    records: list[Record], categories: list[str], licenses: list[str]
) -> dict[str, Any]:
    category_ids = {name: number for number, name in enumerate(categories, 1)}
    license_ids = {name: number for number, name in enumerate(licenses, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for record in records:
        for item in record.data["images"]:
            image_id = len(images) + 1
            license = license_ids[record.data["license"]]
            images.append({"id": image_id, **item["image"], "license": license})
            if item["annotation"] is not None:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": category_ids[record.data["category"]],
                        **item["annotation"],
                    }
                )
    return {
        "info": {"description": "Rendered 3D assets, one instance per picture", "version": "1"},
        "licenses": [{"id": number, "name": name, "url": ""} for name, number in
                     license_ids.items()],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name, "supercategory": SUPER} for name, number in
                       category_ids.items()],
    }  # fmt: skip
