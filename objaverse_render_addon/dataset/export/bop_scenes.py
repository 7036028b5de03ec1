"""BOP scenes of several objects: who is where, how much of each is seen, and by what it is hidden.

Format: https://github.com/thodan/bop_toolkit/blob/master/docs/bop_datasets_format.md; counts, boxes
and the visible share as its ``scripts/calc_gt_info.py`` defines them, up to one frame beyond each
border. It finds who is visible by a tolerance of depth; here the stored ids say it exactly.

A model is one shape in one size and colour, so that several scenes share models. As in :mod:`.bop`,
scenes wait in a private place until :meth:`BopScenes.finish` gives them and their models numbers.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from ...errors import FormatCannotHold, OutputNotWritable
from ..images import encode_png
from .base import SPLITS, Format, Options, Record
from .bop import MILLIMETRES, camera_of, depth_scale, diameter_of, replace_place
from .lens import demand_one_size
from .masks import box_of, mask_of, run_lengths
from .mesh import Mesh, normals_of, ply_text
from .scene import Scene
from .target import PRIVATE, SceneFiles, Target

if TYPE_CHECKING:
    from ...compose.record import Scene as Composed

__all__ = ["BopScenes"]

Array = npt.NDArray[Any]

FILE: Final = "scene.json"
STAGE: Final = f"{PRIVATE}/bop-scenes"
NUMBERS: Final = "objects.json"
"""Which model and which scene has which number; kept, so that numbers never change."""
TARGETS: Final = 0.1
"""Visible share from which an object is to be found in the split test, as in the benchmark."""
NOTHING: Final = [-1, -1, -1, -1]


class BopScenes(Format):
    """``train_pbr/NNNNNN`` with pictures, masks and JSON, ``models/``, ``camera.json``."""

    name: ClassVar[str] = "bop-scenes"
    about: ClassVar[str] = "BOP scenes of several objects, from composed scenes: 6D poses, masks"
    needs: ClassVar[tuple[str, ...]] = ("rgb", "depth", "instance_index")
    holds: ClassVar[tuple[str, ...]] = ("rgb", "depth", "mask", "instance_index")

    def places(self, key: str, split: str) -> tuple[str, ...]:  # noqa: ARG002
        """Where a scene waits for its number."""
        return (f"{STAGE}/{key}",)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """Pictures and masks, and what the JSON files will say of them.

        Raises:
            FormatCannotHold: It is no composed scene, or its views have several sizes.
        """
        from ...compose.record import Scene as Composed

        if FILE not in scene.reader.names():
            raise FormatCannotHold(
                f"{scene.asset_id} is no composed scene: it has no {FILE}.",
                hint="--to bop takes assets of one object.",
            )
        composed = Composed.from_dict(json.loads(scene.reader.bytes_of(FILE)), scene.asset_id)
        width, height = demand_one_size(scene)
        meshes = _meshes(composed)
        models = [_model_of(obj, mesh) for obj, mesh in zip(composed.objects, meshes, strict=True)]
        for digest, model in {one["digest"]: one for one in models}.items():
            ply = model.pop("ply")
            if ply is not None:
                out.add(f"{STAGE}/{scene.key}/models/{digest}.ply", ply)
        scale = depth_scale(MILLIMETRES * max(
            float(np.max(scene.depth(view))) for view in range(len(scene))))  # fmt: skip
        images = [
            self._image(scene, composed, view, scale, meshes, out) for view in range(len(scene))
        ]
        scene.note("differs", "a scene unit is 1000 mm, the unit of this format")
        scene.note("differs", "visible masks are exact, and not found by a tolerance of depth")
        scene.note("differs", "cam_K counts pixels from the centre of the first one, so the "
                   "principal point is half a pixel less than stored")  # fmt: skip
        scene.note("quantised", "depth has 16 bits, of depth_scale millimetres each; worst is half "
                   "of that in mm", worst=scale / 2)  # fmt: skip
        scene.note("dropped", "the meshes in models/ have no colours and no textures")
        scene.note("dropped", "models/ has the size of what was read from a file, and no .ply "
                   "(objects)", sum(mesh is None for mesh in meshes))  # fmt: skip
        known = {one["digest"]: {k: v for k, v in one.items() if k != "ply"} for one in models}
        return {
            "images": images, "size": [width, height], "depth_scale": scale, "models": known,
            "objects": [one["digest"] for one in models],
        }  # fmt: skip

    def _image(
        self, scene: Scene, composed: Composed, view: int, scale: float,
        meshes: list[Any], out: SceneFiles,
    ) -> dict[str, Any]:  # fmt: skip
        folder = f"{STAGE}/{scene.key}/scene"
        depth = scene.depth(view)
        steps = np.rint(depth.astype(np.float64) * MILLIMETRES / scale).astype(np.uint16)
        out.add(f"{folder}/rgb/{view:06d}.png", scene.rgb_png(view))
        out.add(f"{folder}/depth/{view:06d}.png", encode_png(steps))
        ids = scene.array(view, "instance_index")
        (seen,) = [one for one in composed.views if one.view == scene.numbers[view]]
        looks = {one.id: one for one in seen.objects}
        camera = scene.camera(view)
        poses, infos, runs = [], [], []
        for place, (obj, mesh) in enumerate(zip(composed.objects, meshes, strict=True)):
            look, visible = looks[obj.id], np.asarray(ids == obj.id)
            whole = mask_of(look.amodal_rle) if look.amodal_rle else np.zeros_like(visible)
            name = f"{view:06d}_{place:06d}.png"
            out.add(f"{folder}/mask/{name}", encode_png(whole.astype(np.uint8) * 255))
            out.add(f"{folder}/mask_visib/{name}", encode_png(visible.astype(np.uint8) * 255))
            pose = camera.world_to_camera_opencv @ np.array(obj.pose)
            poses.append({"cam_R_m2c": pose[:3, :3].flatten().tolist(),
                          "cam_t_m2c": (pose[:3, 3] * MILLIMETRES).tolist()})  # fmt: skip
            beyond = look.inside_frame_fraction < 1 and mesh is not None
            box = _box_beyond(camera, mesh, np.array(obj.pose)) if beyond else None
            infos.append(_info(look, whole, visible, steps, box))
            runs.append(run_lengths(visible))
        return {"camera": camera_of(scene, view, scale), "poses": poses, "infos": infos,
                "runs": runs}  # fmt: skip

    def is_whole(self, target: Target, record: Record) -> bool:
        """Whether the scene has its number and its files, or waits for it."""
        if target.has_files(record):
            return True
        try:
            numbers = _numbers_of(target)
            place = target.folder / _place_of(record.split, numbers["scenes"][record.key])
            models = target.folder / "models"
            for path, size in record.files.items():
                kind, _, name = path.removeprefix(f"{STAGE}/{record.key}/").partition("/")
                model = kind == "models" and numbers["models"][Path(name).stem]["obj_id"]
                final = models / _model_file(model) if model else place / name
                if final.stat().st_size != size:
                    return False
        except (KeyError, OSError, OutputNotWritable):
            return False
        return True

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """Move new scenes and models to their numbers; write what concerns all of them."""
        numbers = _numbers_of(target)
        models, scenes = numbers["models"], numbers["scenes"]
        for record in records:
            scenes.setdefault(record.key, max(scenes.values(), default=-1) + 1)
            for digest, model in record.data["models"].items():
                known = max((one["obj_id"] for one in models.values()), default=0)
                models.setdefault(digest, {**model, "obj_id": known + 1})
        target.write_json(NUMBERS, numbers)
        for record in records:
            stage = target.folder / STAGE / record.key
            place = target.folder / _place_of(record.split, scenes[record.key])
            for path in sorted((stage / "models").glob("*.ply")):
                replace_place(path, target.folder / "models" / _model_file(
                    models[path.stem]["obj_id"]))  # fmt: skip
            if (stage / "scene").is_dir():
                for name, content in _files_of(record, models).items():
                    target.write_json(f"{STAGE}/{record.key}/scene/{name}.json", content)
                replace_place(stage / "scene", place)
            shutil.rmtree(stage, ignore_errors=True)
        infos = {str(one["obj_id"]): one["info"] for one in models.values()}
        target.write_json("models/models_info.json", dict(sorted(infos.items(), key=_number)))
        target.write_json("test_targets_bop19.json", [
            one for record in records if record.split == SPLITS[2]
            for one in _targets(record, scenes[record.key], models)
        ])  # fmt: skip
        if records:
            first = records[0].data
            fx, _, cx, _, fy, cy, *_ = first["images"][0]["camera"]["cam_K"]
            width, height = first["size"]
            scale = max(record.data["depth_scale"] for record in records)
            target.write_json("camera.json", {"cx": cx, "cy": cy, "depth_scale": scale, "fx": fx,
                                              "fy": fy, "height": height,
                                              "width": width})  # fmt: skip


def _meshes(composed: Composed) -> list[Any]:
    """Of the objects, in their own axes; ``None`` of what the scene's recipe does not make."""
    from ...compose.objects import KINDS
    from ...compose.things import thing_of

    return [thing_of(made) if made.get("kind") in KINDS else None
            for made in composed.recipe.get("objects", [{}] * len(composed.objects))]  # fmt: skip


def _model_of(obj: Any, mesh: Any) -> dict[str, Any]:
    """One object's model: its digest, what it is, ``models_info``, and its PLY."""
    points = mesh.vertices if mesh is not None else np.array(obj.vertices_hull)
    color = obj.color.name if obj.color is not None else ""
    said = [obj.source, obj.name, color, np.round(points, 6).tolist()]
    low, high = points.min(axis=0) * MILLIMETRES, points.max(axis=0) * MILLIMETRES
    info = {
        "diameter": diameter_of(points) * MILLIMETRES,
        **{f"min_{axis}": float(low[i]) for i, axis in enumerate("xyz")},
        **{f"size_{axis}": float(high[i] - low[i]) for i, axis in enumerate("xyz")},
    }
    ply = None
    if mesh is not None:
        vertices, faces = mesh.vertices, mesh.triangles
        ply = ply_text(Mesh(vertices, normals_of(vertices, faces), faces), MILLIMETRES)
    return {"digest": hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16],
            "name": obj.name, "category": obj.category, "source": obj.source, "color": color,
            "license": obj.license, "info": info, "ply": ply}  # fmt: skip


def _info(
    look: Any, whole: Array, visible: Array, depth: Array, beyond: list[int] | None
) -> dict[str, Any]:
    """As the toolkit defines it: a box's width is last minus first."""
    box, seen = box_of(whole), box_of(visible)
    inner = [box[0], box[1], box[2] - 1, box[3] - 1] if box else None
    return {
        "bbox_obj": (beyond or inner or NOTHING) if seen else NOTHING,
        "bbox_visib": [seen[0], seen[1], seen[2] - 1, seen[3] - 1] if seen else NOTHING,
        "px_count_all": look.amodal_pixels,
        "px_count_valid": int((depth[whole] > 0).sum()),
        "px_count_visib": int(visible.sum()),
        "visib_fract": int(visible.sum()) / look.amodal_pixels if look.amodal_pixels else 0.0,
    }


def _box_beyond(camera: Any, mesh: Any, pose: Array) -> list[int] | None:
    """Box of a silhouette, within the frame and up to one frame beyond."""
    from ...compose.seen import canvas_of

    points = mesh.vertices @ pose[:3, :3].T + pose[:3, 3]
    canvas, left, top = canvas_of(camera, points, mesh.triangles)
    box = box_of(canvas)
    return [box[0] - left, box[1] - top, box[2] - 1, box[3] - 1] if box else None


def _files_of(record: Record, models: dict[str, Any]) -> dict[str, Any]:
    """What a scene's JSON files say, by their names without the ending."""
    images = record.data["images"]
    numbers = [models[digest]["obj_id"] for digest in record.data["objects"]]
    width, height = record.data["size"]
    annotations: list[dict[str, Any]] = []
    for place, image in enumerate(images):
        for number, info, run in zip(numbers, image["infos"], image["runs"], strict=True):
            if info["px_count_visib"]:
                x, y, w, h = info["bbox_visib"]
                annotations.append({
                    "id": len(annotations) + 1, "image_id": place, "category_id": number,
                    "iscrowd": 0, "area": info["px_count_visib"], "bbox": [x, y, w + 1, h + 1],
                    "segmentation": run, "width": width, "height": height, "ignore": False,
                })  # fmt: skip
    coco = {
        "info": {"description": record.asset_id, "version": "1"}, "licenses": [],
        "categories": [{"id": number, "name": str(number), "supercategory": "bop"}
                       for number in sorted(set(numbers))],
        "images": [{"id": place, "file_name": f"rgb/{place:06d}.png", "width": width,
                    "height": height} for place in range(len(images))],
        "annotations": annotations,
    }  # fmt: skip
    return {
        "scene_camera": {str(place): image["camera"] for place, image in enumerate(images)},
        "scene_gt": {str(place): [{**pose, "obj_id": number} for pose, number in
                                  zip(image["poses"], numbers, strict=True)]
                     for place, image in enumerate(images)},
        "scene_gt_info": {str(place): image["infos"] for place, image in enumerate(images)},
        "scene_gt_coco": coco,
    }  # fmt: skip


def _targets(record: Record, scene: int, models: dict[str, Any]) -> list[dict[str, int]]:
    """What is to be found: each model of each picture, and how often."""
    found = []
    numbers = [models[digest]["obj_id"] for digest in record.data["objects"]]
    for place, image in enumerate(record.data["images"]):
        seen = [number for number, info in zip(numbers, image["infos"], strict=True)
                if info["visib_fract"] >= TARGETS]  # fmt: skip
        found += [{"im_id": place, "inst_count": seen.count(number), "obj_id": number,
                   "scene_id": scene} for number in sorted(set(seen))]  # fmt: skip
    return found


def _numbers_of(target: Target) -> dict[str, Any]:
    path = target.folder / NUMBERS
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        if not any(target.folder.glob("*_pbr*")):
            return {"models": {}, "scenes": {}}
        cause: Exception = error
    except (OSError, ValueError, TypeError) as error:
        cause = error
    raise OutputNotWritable(
        f"{path} cannot be read: {cause}.",
        hint="Without it no model is known by its number; export into another folder.",
    ) from cause


def _place_of(split: str, scene: int) -> str:
    return f"{split}_pbr/{scene:06d}"


def _model_file(number: int) -> str:
    return f"obj_{number:06d}.ply"


def _number(item: tuple[str, Any]) -> int:
    return int(item[0])
