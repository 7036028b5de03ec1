"""BOP, the benchmark for 6D object pose, scene by scene.

Format: https://github.com/thodan/bop_toolkit/blob/master/docs/bop_datasets_format.md. Lengths are
in millimetres, cameras are OpenCV's, and pixels are counted from the centre of the first one, as
the toolkit does where it turns depth into distance.

Scenes and objects have numbers there, which depend on what else is in the dataset. So
:meth:`Bop.write` leaves an asset in a private place, and :meth:`Bop.finish` gives it its numbers.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from ...errors import CheckFailed, OutputNotWritable, from_os_error
from ..images import encode_png
from .base import Format, Options, Record
from .lens import demand_one_size, pinhole
from .masks import box_of, run_lengths
from .mesh import NotTheMesh, ply_text, rendered_mesh
from .scene import Scene
from .surface import surface_of
from .target import PRIVATE, SceneFiles, Target

__all__ = [
    "Bop", "camera_of", "depth_scale", "diameter_of", "entry_of", "numbers_of", "replace_place",
    "scene_files",
]  # fmt: skip

Array = npt.NDArray[Any]

STAGE: Final = f"{PRIVATE}/bop"
NUMBERS: Final = "objects.json"
"""Which asset is which object and scene; kept, so that numbers never change."""
MODEL: Final = "model.ply"
MOST_IMAGES: Final = 1000
"""Per scene, as in the datasets of the benchmark."""
MILLIMETRES: Final = 1000.0
"""Of a scene unit."""
LARGEST: Final = 65535
DIAMETER_POINTS: Final = 10_000


class Bop(Format):
    """``train_pbr/NNNNNN`` with pictures and JSON, ``models/models_info.json``, ``camera.json``."""

    name: ClassVar[str] = "bop"
    about: ClassVar[str] = "BOP scenes: poses, depth and masks for 6D object pose"
    needs: ClassVar[tuple[str, ...]] = ("rgb", "depth", "mask")
    holds: ClassVar[tuple[str, ...]] = ("rgb", "depth", "mask")

    def places(self, key: str, split: str) -> tuple[str, ...]:  # noqa: ARG002
        """Where the asset waits for its numbers."""
        return (f"{STAGE}/{key}",)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """Pictures in parts of at most 1000, and what the JSON files will say of them."""
        width, height = demand_one_size(scene)
        boxes = {record["index"]: record.get("object_box_px") for record in scene.reader.views}
        depths = [(float(np.min(z)), float(np.max(z))) for z in map(scene.depth, range(len(scene)))]
        if min(depths)[0] < 0:
            raise CheckFailed(f"{scene.asset_id}: its depth is negative somewhere.")
        scale = depth_scale(max(deepest for _, deepest in depths) * MILLIMETRES)
        images: list[dict[str, Any]] = []
        for view, number in enumerate(scene.numbers):
            part, place = divmod(view, MOST_IMAGES)
            folder = f"{STAGE}/{scene.key}/{part}"
            mask = scene.mask(view)
            shown = encode_png(mask.astype(np.uint8) * 255)
            steps = np.rint(scene.depth(view).astype(np.float64) * MILLIMETRES / scale)
            steps = np.where(mask, steps, 0).astype(np.uint16)
            out.add(f"{folder}/rgb/{place:06d}.png", scene.rgb_png(view))
            out.add(f"{folder}/depth/{place:06d}.png", encode_png(steps))
            out.add(f"{folder}/mask/{place:06d}_000000.png", shown)
            out.add(f"{folder}/mask_visib/{place:06d}_000000.png", shown)
            images.append(
                {
                    "camera": camera_of(scene, view, scale),
                    "info": _info(scene, mask, steps, boxes[number]),
                    "mask": run_lengths(mask),
                    "box": box_of(mask),
                }
            )
        scene.note("differs", "a scene unit is 1000 mm, the unit of this format")
        scene.note("differs", "cam_K counts pixels from the centre of the first one, so the "
                   "principal point is half a pixel less than stored")  # fmt: skip
        scene.note("quantised", "depth has 16 bits, of depth_scale millimetres each; worst is half "
                   "of that in mm", worst=scale / 2)  # fmt: skip
        return {
            "images": images,
            "parts": [len(images[at:][:MOST_IMAGES]) for at in range(0, len(images), MOST_IMAGES)],
            "size": [width, height],
            "depth_scale": scale,
            "model": _model(scene, out),
        }

    def is_whole(self, target: Target, record: Record) -> bool:
        """Whether the asset is in its scenes, or waits for them."""
        if target.has_files(record):
            return True
        entry = entry_of(target, record.asset_id)
        if entry is None:
            return False
        try:
            return all(
                (target.folder / self._final(path, record, entry)).stat().st_size == size
                for path, size in record.files.items()
            )
        except (IndexError, OSError):
            return False

    def _final(self, path: str, record: Record, entry: dict[str, Any]) -> str:
        part, _, rest = path.removeprefix(f"{STAGE}/{record.key}/").partition("/")
        if part == MODEL:
            return _model_file(entry)
        return f"{self.place_of(record.split, entry['scenes'][int(part)])}/{rest}"

    def place_of(self, split: str, scene: int) -> str:
        """Where a scene stands in the target."""
        return f"{split}_pbr/{scene:06d}"

    def settle(self, part: Path, final: Path, record: Record, entry: dict[str, Any]) -> None:
        """Make a scene of a part that waits."""
        for name, content in scene_files(part, record, entry["obj_id"]).items():
            _write_json(part / f"{name}.json", content)
        replace_place(part, final)

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """Move new assets into their scenes; write what concerns all of them."""
        numbers = numbers_of(target)
        gone = [
            self.place_of(record.split, scene)
            for record in records
            for scene in _count(numbers, record)
        ]
        target.write_json(NUMBERS, numbers)
        for path in gone:
            shutil.rmtree(target.folder / path, ignore_errors=True)
            (target.folder / path).unlink(missing_ok=True)
        for record in records:
            entry = numbers[record.asset_id]
            stage = target.folder / STAGE / record.key
            for part, scene in _parts(stage, entry):
                self.settle(part, target.folder / self.place_of(record.split, scene), record, entry)
            if stage.is_dir():
                (target.folder / _model_file(entry)).unlink(missing_ok=True)
            if (stage / MODEL).is_file():
                replace_place(stage / MODEL, target.folder / _model_file(entry))
            shutil.rmtree(stage, ignore_errors=True)
        target.write_json(NUMBERS, numbers)
        models = {str(numbers[r.asset_id]["obj_id"]): r.data["model"] for r in records}
        target.write_json("models/models_info.json", dict(sorted(models.items(), key=_as_number)))
        if records:
            first = records[0].data
            fx, _, cx, _, fy, cy, *_ = first["images"][0]["camera"]["cam_K"]
            width, height = first["size"]
            scale = max(record.data["depth_scale"] for record in records)
            target.write_json(
                "camera.json",
                {"cx": cx, "cy": cy, "depth_scale": scale, "fx": fx, "fy": fy,
                 "height": height, "width": width},
            )  # fmt: skip


def depth_scale(deepest: float) -> float:
    """Millimetres of one step of 16-bit depth: the finest of 1, 2, 5, 10 … that holds it.

    Args:
        deepest: Millimetres.
    """
    least = max(deepest / LARGEST, 1e-6)
    power = 10.0 ** math.floor(math.log10(least))
    # One more than needed: what rounding makes of the quotient is no matter then.
    steps = (1, 2, 5, 10, 20)
    return float(next(f"{step * power:.6g}" for step in steps if step * power >= least))


def camera_of(scene: Scene, view: int, scale: float) -> dict[str, Any]:
    """A view's entry in ``scene_camera.json``."""
    camera = scene.camera(view)
    fx, fy, cx, cy = pinhole(camera)
    matrix = camera.world_to_camera_opencv
    return {
        "cam_K": [fx, 0.0, cx - 0.5, 0.0, fy, cy - 0.5, 0.0, 0.0, 1.0],
        "cam_R_w2c": matrix[:3, :3].flatten().tolist(),
        "cam_t_w2c": (matrix[:3, 3] * MILLIMETRES).tolist(),
        "depth_scale": scale,
    }


def _info(scene: Scene, mask: Array, depth: Array, projected: Any) -> dict[str, Any]:
    """As the toolkit's ``calc_gt_info.py`` defines it: a box's width is last minus first."""
    count = int(mask.sum())
    box = box_of(mask)
    if box is None:
        scene.note("dropped", "views without any pixel of the object have no visible part; "
                   "counted in views")  # fmt: skip
        nothing = [-1, -1, -1, -1]
        return {"bbox_obj": nothing, "bbox_visib": nothing, "px_count_all": 0,
                "px_count_valid": 0, "px_count_visib": 0, "visib_fract": 0.0}  # fmt: skip
    visible = [box[0], box[1], box[2] - 1, box[3] - 1]
    whole = visible
    edge = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
    if edge:
        scene.note("dropped", "where the object leaves the picture, px_count_all and visib_fract "
                   "do not count what is outside; counted in views")  # fmt: skip
        if projected is not None:
            left, top, right, bottom = projected
            first = min(math.floor(left), box[0]), min(math.floor(top), box[1])
            last = (max(math.ceil(right) - 1, box[0] + box[2] - 1),
                    max(math.ceil(bottom) - 1, box[1] + box[3] - 1))  # fmt: skip
            whole = [*first, last[0] - first[0], last[1] - first[1]]
    return {
        "bbox_obj": whole,
        "bbox_visib": visible,
        "px_count_all": count,
        "px_count_valid": int((depth[mask] > 0).sum()),
        "px_count_visib": count,
        "visib_fract": 1.0,
    }


def _model(scene: Scene, out: SceneFiles) -> dict[str, float]:
    """Size and diameter, as in ``models_info.json``; and the mesh, where there is one."""
    try:
        mesh = rendered_mesh(scene)
    except NotTheMesh as reason:
        scene.note("dropped", f"models/ has the object's size and no .ply: {reason}")
        scene.note("differs", "the diameter is of the points that the views see")
        points = surface_of(scene, DIAMETER_POINTS).points.astype(np.float64)
    else:
        points = mesh.vertices[np.unique(mesh.faces)]
        out.add(f"{STAGE}/{scene.key}/{MODEL}", ply_text(mesh, MILLIMETRES))
        scene.note("dropped", "the mesh in models/ has no colours and no textures")
    low = np.array(scene.reader.bounds.box_min) * MILLIMETRES
    high = np.array(scene.reader.bounds.box_max) * MILLIMETRES
    return {
        "diameter": diameter_of(points) * MILLIMETRES,
        **{f"min_{axis}": float(low[i]) for i, axis in enumerate("xyz")},
        **{f"size_{axis}": float(high[i] - low[i]) for i, axis in enumerate("xyz")},
    }


def diameter_of(points: Array) -> float:
    """Largest distance between two of the points (N, 3)."""
    if len(points) < 2:
        return 0.0
    # Both ends of the diameter are far out in the direction between them; a fine set of
    # directions leaves few points to compare each with each.
    index = np.arange(500) + 0.5
    z, azimuth = 1 - index / 250, index * math.pi * (3 - math.sqrt(5))
    ring = np.sqrt(1 - z**2)
    directions = np.stack([ring * np.cos(azimuth), ring * np.sin(azimuth), z], axis=1)
    far = points[np.unique([(points @ direction).argmax() for direction in directions])]
    between = np.linalg.norm(far[:, None] - far[None], axis=-1)
    return float(between.max())


# --- Numbers --------------------------------------------------------------------------------


def numbers_of(target: Target) -> dict[str, Any]:
    """Asset to object and scenes.

    Raises:
        OutputNotWritable: They are lost, while there are scenes.
    """
    path = target.folder / NUMBERS
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        if not any(target.folder.glob("*_pbr*")):
            return {}
        cause: Exception = error
    except (OSError, ValueError, TypeError) as error:
        cause = error
    raise OutputNotWritable(
        f"{path} cannot be read: {cause}.",
        hint="Without it no scene is known by its asset; export into another folder.",
    ) from cause


def entry_of(target: Target, asset_id: str) -> dict[str, Any] | None:
    """An asset's numbers; the file is parsed once for a whole run."""
    try:
        found = (target.folder / NUMBERS).stat()
    except OSError:
        return None
    return _parsed(target, (found.st_mtime_ns, found.st_size)).get(asset_id)


@lru_cache(maxsize=2)
def _parsed(target: Target, stamp: object) -> dict[str, Any]:  # noqa: ARG001
    return numbers_of(target)


def _count(numbers: dict[str, Any], record: Record) -> list[int]:
    """Give an asset numbers, where it has none or has other parts than before.

    Returns:
        The scenes that it no longer has.
    """
    parts = len(record.data["parts"])
    entry = numbers.get(record.asset_id)
    if entry is None:
        known = [entry["obj_id"] for entry in numbers.values()]
        entry = {"obj_id": max(known, default=0) + 1, "scenes": []}
    taken = [scene for entry in numbers.values() for scene in entry["scenes"]]
    following = max(taken, default=-1) + 1
    missing = parts - len(entry["scenes"])
    scenes = [*entry["scenes"], *range(following, following + max(0, missing))]
    numbers[record.asset_id] = {**entry, "scenes": scenes[:parts], "split": record.split}
    return list(scenes[parts:])


def _model_file(entry: dict[str, Any]) -> str:
    return f"models/obj_{entry['obj_id']:06d}.ply"


def _parts(stage: Path, entry: dict[str, Any]) -> Iterator[tuple[Path, int]]:
    for part, scene in enumerate(entry["scenes"]):
        if (stage / str(part)).is_dir():
            yield stage / str(part), scene


def scene_files(part: Path, record: Record, obj_id: int) -> dict[str, Any]:
    """What a scene's JSON files say, by their names without the ending."""
    number, counts = int(part.name), record.data["parts"]
    first = sum(counts[:number])
    images = record.data["images"][first : first + counts[number]]
    width, height = record.data["size"]
    pose = [
        [{"obj_id": obj_id, "cam_R_m2c": i["camera"]["cam_R_w2c"],
          "cam_t_m2c": i["camera"]["cam_t_w2c"]}] for i in images
    ]  # fmt: skip
    coco: dict[str, Any] = {
        "info": {"description": record.asset_id, "version": "1"},
        "licenses": [],
        "categories": [{"id": obj_id, "name": str(obj_id), "supercategory": "bop"}],
        "images": [
            {"id": place, "file_name": f"rgb/{place:06d}.png", "width": width, "height": height}
            for place in range(len(images))
        ],
        "annotations": [
            {
                "id": number, "image_id": place, "category_id": obj_id, "iscrowd": 0,
                "area": image["info"]["px_count_visib"], "bbox": image["box"],
                "segmentation": image["mask"], "width": width, "height": height, "ignore": False,
            }
            for number, (place, image) in enumerate(
                ((place, image) for place, image in enumerate(images) if image["box"]), 1
            )
        ],
    }  # fmt: skip
    return {
        "scene_camera": {str(place): image["camera"] for place, image in enumerate(images)},
        "scene_gt": {str(place): value for place, value in enumerate(pose)},
        "scene_gt_info": {str(place): [image["info"]] for place, image in enumerate(images)},
        "scene_gt_coco": coco,
    }


def _write_json(path: Path, content: Any) -> None:
    try:
        path.write_text(json.dumps(content) + "\n", encoding="utf-8")
    except OSError as error:
        raise from_os_error(error, str(path)) from error


def replace_place(part: Path, final: Path) -> None:
    """Give a part its final place; what stood there waits beside the part until that is removed."""
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():
            old = part.with_name(f"{part.name}.old")
            final.rename(old)
        part.rename(final)
    except OSError as error:
        raise from_os_error(error, str(final)) from error


def _as_number(item: tuple[str, Any]) -> int:
    return int(item[0])
