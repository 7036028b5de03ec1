"""NeRF-synthetic ("Blender") and 3D Gaussian Splatting: one angle of view, splits of views."""

from __future__ import annotations

from typing import Any

from ..point_cloud import write_ply
from .base import Format
from .lens import demand_one_size, shared_fov_x
from .scene import Scene
from .surface import GEOMETRY, surface_of
from .target import SceneFiles

__all__ = ["NerfSynthetic"]


class NerfSynthetic(Format):
    """``<key>/transforms_{train,val,test}.json``, ``<key>/{train,val,test}/r_N.png``.

    ``camera_angle_x`` is the horizontal angle in radians, shared by all frames; ``file_path`` has
    no extension; ``transform_matrix`` is camera to world with OpenGL axes. ``points3d.ply`` holds
    points of the surface, where geometry is stored. Of animations each frame has a ``time`` from 0
    to 1, as D-NeRF has it.
    """

    name = "nerf-synthetic"
    about = "NeRF-synthetic, 3D Gaussian Splatting: transforms_{train,val,test}.json, points3d.ply"
    trains = "python train.py -s {target}/{key} --eval --white_background"
    holds = ("rgb", *GEOMETRY, "mask", "normal")
    has_time = True

    def holds_out(self, split: str) -> bool:  # noqa: ARG002
        """See :class:`.Format`: splits are of views."""
        return True

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        angle = shared_fov_x(scene)
        demand_one_size(scene)
        split = scene.split_views()
        written: dict[int, str] = {}
        for part, views in split.items():
            if not views:
                scene.note("differs", f"no view is in the split {part}: its list is empty")
            frames = []
            for view in views:
                path = written.setdefault(view, f"{part}/r_{scene.numbers[view]}")
                if path.startswith(f"{part}/"):
                    out.add(f"{scene.key}/{path}.png", scene.rgba_png(view))
                pose = scene.camera(view).camera_to_world.tolist()
                frames.append({"file_path": f"./{path}", "transform_matrix": pose})
                if scene.times:
                    frames[-1]["time"] = scene.when(view)
            content = {"camera_angle_x": angle, "frames": frames}
            out.add_json(f"{scene.key}/transforms_{part}.json", content)
        if any(scene.has(name) for name in GEOMETRY):
            cloud = surface_of(scene)
            if len(cloud):
                out.add(f"{scene.key}/points3d.ply", write_ply(cloud))
                scene.note("dropped", "geometry is held at the points of points3d.ply only")
        else:
            scene.note("dropped", "no geometry is stored, so there is no points3d.ply; "
                       "3D Gaussian Splatting starts from random points")  # fmt: skip
        return {}
