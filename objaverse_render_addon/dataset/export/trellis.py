"""TRELLIS: renders named by the asset's SHA-256, with the angle of view per frame."""

from __future__ import annotations

import csv
import io
import math
import re
from typing import Any, ClassVar

import numpy as np

from ...errors import CheckFailed
from ...shape import ply, voxels
from ..images import encode_png
from .base import Format, Options, Record
from .lens import demand_centered, demand_square_pictures, fov_x, viewpoints
from .mesh import Mesh, NotTheMesh, ply_text, rendered_mesh, source_file
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["Trellis", "TrellisCond"]

REACH = math.sqrt(3) / 2
"""From the centre of the unit cube to its corner."""
AROUND = 50.0
"""Degrees that 24 views of TRELLIS always reach beyond, upwards and downwards."""
MESH = "mesh.ply"
_FLAGS = ("rendered", "voxelized", "cond_rendered")
_COLUMNS = ("sha256", "file_identifier", "local_path", "aesthetic_score", "captions", "rendered",
            "voxelized", "num_voxels", "cond_rendered")  # fmt: skip


class _Renders(Format):
    half_edge = 0.5
    folder: ClassVar[str]
    flag: ClassVar[str]

    def key(self, asset_id: str, metadata: dict[str, Any]) -> str:
        """The SHA-256 of the source file.

        Raises:
            CheckFailed: It is not in the metadata.
        """
        digest = str(metadata.get("sha256"))
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise CheckFailed(f"{asset_id}: its metadata have no SHA-256, which names its folder.")
        return digest

    def places(self, key: str, split: str) -> tuple[str, ...]:  # noqa: ARG002
        """See :class:`.Format`."""
        return (f"{self.folder}/{key}",)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        demand_centered(scene)
        demand_square_pictures(scene)
        folder, frames = f"{self.folder}/{scene.key}", []
        for view in scene.counted():
            camera = scene.camera(view)
            frame: dict[str, Any] = {
                "file_path": f"{view:03d}.png",
                "camera_angle_x": fov_x(camera),
                "transform_matrix": camera.camera_to_world.tolist(),
            }
            out.add(f"{folder}/{frame['file_path']}", scene.rgba_png(view))
            if "depth" in self.holds and scene.has("depth"):
                radius = float(np.linalg.norm(camera.camera_to_world[:3, 3]))
                frame["depth"] = {"min": radius - REACH, "max": radius + REACH}
                data = _depth_png(scene, view, radius)
                out.add(f"{folder}/{view:03d}_depth.png", data)
            frames.append(frame)
        record = scene.metadata["normalization"]
        offset = (np.array(record["translation"], np.float64) - scene.center) * scene.scale
        if not np.array_equal(record.get("rotation", np.eye(3)), np.eye(3)):
            scene.note("dropped", "the asset was turned (--up, --front): scale and offset are "
                       "right for its turned axes only")  # fmt: skip
        transforms = {
            "aabb": [[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]],
            "scale": float(record["scale"]) * scene.scale,
            "offset": offset.tolist(),
            "frames": frames,
        }
        out.add_json(f"{folder}/transforms.json", transforms)
        return {
            "file_identifier": str(scene.metadata.get("file_identifier", "")),
            "local_path": _local_path(scene),
        }

    def finish(self, target: Target, records: list[Record], options: Options) -> None:
        """``metadata.csv`` with a row per asset of the split train, ``metadata_val.csv`` …"""
        for split in ("train", "val", "test"):
            text = io.StringIO()
            rows = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
            rows.writeheader()
            for record in records:
                if record.split != split:
                    continue
                flags = {name: name == self.flag for name in _FLAGS}
                score = {"aesthetic_score": options.aesthetic_score}
                row = {"sha256": record.key, "num_voxels": 0, **score, **flags, **record.data}
                rows.writerow(row)
            name = "metadata.csv" if split == "train" else f"metadata_{split}.csv"
            target.write(name, text.getvalue().encode())


def _local_path(scene: Scene) -> str:
    """Where the toolkit finds the asset; its steps skip assets that have none.

    The source, where it is still at hand; otherwise the place of the mesh, which is all that the
    steps after rendering ask for.
    """
    try:
        return str(source_file(scene).absolute())
    except NotTheMesh:
        return f"renders/{scene.key}/{MESH}"


class Trellis(_Renders):
    """``renders/<sha256>/NNN.png`` and ``transforms.json``, ``metadata.csv``, ``mesh.ply``.

    A frame has ``file_path`` with its extension, ``camera_angle_x`` in radians and
    ``transform_matrix``, camera to world with OpenGL axes; the object fills [-0.5, 0.5]. Depth is
    16 bits between ``depth.min`` and ``depth.max``, which are the camera's distance from the
    centre -/+ half the cube's diagonal; 65535 is where nothing is. ``mesh.ply`` is the source's
    mesh in the same place, where that is at hand (:mod:`.mesh`), and ``voxels/<sha256>.ply`` the
    centres of the cells that it meets, as ``voxelize.py`` writes them.
    """

    name = "trellis"
    about = "TRELLIS: renders/<sha256>, transforms.json, metadata.csv; object in [-0.5, 0.5]"
    trains = "\n".join(
        [
            "python dataset_toolkits/voxelize.py ObjaverseXL --output_dir {target}",
            "python dataset_toolkits/build_metadata.py ObjaverseXL --output_dir {target}",
            "python dataset_toolkits/extract_feature.py --output_dir {target}",
            "python dataset_toolkits/build_metadata.py ObjaverseXL --output_dir {target}",
            "python train.py --config configs/vae/slat_vae_enc_dec_gs_swin8_B_64l8_fp16.json "
            "--output_dir outputs --data_dir {target}",
        ]
    )
    holds = ("rgb", "depth", "mask")
    folder = "renders"
    flag = "rendered"

    def places(self, key: str, split: str) -> tuple[str, ...]:
        """See :class:`.Format`."""
        return (*super().places(key, split), f"voxels/{key}.ply")

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        data = super().write(scene, out)
        if scene.options.aesthetic_score is None:
            scene.note(
                "differs",
                "aesthetic_score is not known, and the trainers leave out assets without one, "
                "whatever min_aesthetic_score is; --aesthetic-score 6 fills the column",
            )
        try:
            mesh = rendered_mesh(scene)
        except NotTheMesh as reason:
            scene.note(
                "dropped",
                f"mesh.ply is not written, and voxelize.py needs it: {reason}; "
                "--geometry-files mesh stores it with the pictures",
            )
        else:
            out.add(f"{self.folder}/{scene.key}/{MESH}", ply_text(mesh, 1.0))
            cells = _voxels(mesh)
            out.add(f"voxels/{scene.key}.ply", ply.write(cells))
            data |= {"voxelized": True, "num_voxels": len(cells["x"])}
        return data


class TrellisCond(_Renders):
    """``renders_cond/<sha256>/NNN.png`` and ``transforms.json``: the pictures to condition on."""

    name = "trellis-cond"
    about = "TRELLIS: renders_cond/<sha256>, the pictures that image models are conditioned on"
    holds = ("rgb",)
    folder = "renders_cond"
    flag = "cond_rendered"

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        elevation = viewpoints(scene)[:, 1]
        missing = min(elevation.max(), -elevation.min())
        scene.note(
            "differs",
            f"models are conditioned on views from all around, and here none is {AROUND:g}° above "
            "or below the horizon; render with --cameras hammersley --views 24 --fov 10:70 "
            "--radius 0.1 --framing fit (views); worst is how far they reach",
            len(scene) if missing < AROUND else 0,
            round(float(missing), 6),
        )
        return super().write(scene, out)


def _voxels(mesh: Mesh) -> dict[str, Any]:
    """Centres of the cells of 64³ in the unit cube that triangles meet: ``x y z`` float32."""
    cells = voxels.occupied(mesh.vertices[mesh.faces], np.full(3, -0.5), 1.0)
    centers = ((cells + 0.5) / voxels.RESOLUTION - 0.5).astype(np.float32)
    return dict(zip("xyz", centers.T, strict=True))


def _depth_png(scene: Scene, view: int, radius: float) -> bytes:
    depth, mask = scene.depth(view).astype(np.float64), scene.mask(view)
    share = (depth - (radius - REACH)) / (2 * REACH)
    outside = mask & ((share < 0) | (share > 1))
    scene.note("clipped", "depth beyond the unit cube's corners is clipped to them (pixels)",
               int(outside.sum()))  # fmt: skip
    levels = np.where(mask, np.rint(np.clip(share, 0, 1) * 65535), 65535).astype(np.uint16)
    scene.note("quantised", "depth has 16 bits over the cube's diagonal, half a step is 1.3e-05 "
               "of the cube's edge (pixels)", int((mask & ~outside).sum()))  # fmt: skip
    return encode_png(levels)
