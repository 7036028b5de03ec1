"""Zero123 and Objaverse-XL: a picture and a world-to-camera matrix per view."""

from __future__ import annotations

import io
import json
import re
import uuid
import zipfile
from typing import Any

import numpy as np

from .base import Format, Options, Record, safe_key
from .lens import demand_centered, demand_square_pictures, tell_lost_lens
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["ObjaverseXl", "Zero123"]

FOV = 49.1
"""Degrees, of a 35 mm lens on a 32 mm sensor, which all their renders have."""
VIEWS = 12
_LOST = "the lens is not stored, only poses"


def _npy(scene: Scene, view: int) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, scene.camera(view).world_to_camera[:3], allow_pickle=False)
    return buffer.getvalue()


class Zero123(Format):
    """``<key>/NNN.png`` (RGBA) and ``<key>/NNN.npy``, ``valid_paths.json``.

    The array is (3, 4) float64, world to camera with Blender's (OpenGL's) camera axes. The trainer
    counts views from 0, reads the first ``total_view`` (12) and takes the last hundredth of the
    list for validation.
    """

    name = "zero123"
    about = "Zero123: NNN.png and NNN.npy (3x4 world to camera) per view, valid_paths.json"
    trains = (
        "python main.py -t --base configs/sd-objaverse-finetune-c_concat-256.yaml --gpus 0, "
        "data.params.root_dir={target} data.params.total_view={views}"
    )
    holds = ("rgb",)
    half_edge = 0.5

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        demand_square_pictures(scene)
        demand_centered(scene)
        tell_lost_lens(scene, FOV, _LOST)
        if len(scene) != VIEWS:
            scene.note(
                "differs",
                f"trainers read {VIEWS} views unless data.params.total_view says another number, "
                "which every scene has to have",
                len(scene),
            )
        for view in scene.counted():
            out.add(f"{scene.key}/{view:03d}.png", scene.rgba_png(view))
            out.add(f"{scene.key}/{view:03d}.npy", _npy(scene, view))
        return {}

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """``valid_paths.json``: the splits train and val, val at the end."""
        keys = {split: [r.key for r in records if r.split == split] for split in ("train", "val")}
        target.write_json("valid_paths.json", keys["train"] + keys["val"])
        target.write_json(
            "test_paths.json", [record.key for record in records if record.split == "test"]
        )


class ObjaverseXl(Format):
    """``renders/<uid>.zip`` with ``<uid>/NNN.png``, ``<uid>/NNN.npy`` and ``<uid>/metadata.json``.

    As the Objaverse-XL rendering script leaves it; ``uid`` is uuid5 of the file's identifier.
    """

    name = "objaverse-xl"
    about = "Objaverse-XL's rendering script: renders/<uuid>.zip with NNN.png, NNN.npy"
    holds = ("rgb",)
    half_edge = 0.5

    def key(self, asset_id: str, metadata: dict[str, Any]) -> str:
        """The name that the scripts save an object under."""
        found = str(metadata.get("save_uid", ""))
        if re.fullmatch(r"[0-9a-f\-]{36}", found):
            return found
        source = metadata.get("file_identifier")
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, source)) if source else safe_key(asset_id)

    def places(self, key: str, split: str) -> tuple[str, ...]:  # noqa: ARG002
        """See :class:`.Format`."""
        return (f"renders/{key}.zip",)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        demand_centered(scene)
        tell_lost_lens(scene, FOV, _LOST)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:

            def add(name: str, data: bytes) -> None:
                # A fixed date: the same data make the same archive.
                info = zipfile.ZipInfo(f"{scene.key}/{name}", (1980, 1, 1, 0, 0, 0))
                archive.writestr(info, data)

            for view in scene.counted():
                add(f"{view:03d}.png", scene.rgba_png(view))
                add(f"{view:03d}.npy", _npy(scene, view))
            metadata = {name: value for name, value in scene.metadata.items() if name in _KEYS}
            add("metadata.json", json.dumps(metadata, sort_keys=True, indent=2).encode())
        out.add(f"renders/{scene.key}.zip", buffer.getvalue())
        return {}


_KEYS = {
    "animation_count", "armature_count", "edge_count", "file_identifier", "file_size",
    "lamp_count", "linked_files", "material_count", "mesh_count", "metadata", "missing_textures",
    "object_count", "poly_count", "random_color", "save_uid", "scene_size", "sha256",
    "shape_key_count", "vert_count",
}  # fmt: skip
"""Of the metadata, what the script's own ``metadata.json`` has."""
