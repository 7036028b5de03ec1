"""A camera of :mod:`objaverse_render_addon.cameras` as a Blender camera, and back."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..cameras import Camera, blender_lens
from ..errors import RenderFailed
from .compat import set_checked

__all__ = ["apply_camera", "new_camera", "pinhole_of", "read_camera"]


def new_camera(scene: bpy.types.Scene) -> Any:
    """A camera object in the scene, made its active one."""
    data = bpy.data.cameras.new("Objaverse Camera")
    camera = bpy.data.objects.new("Objaverse Camera", data)
    camera.rotation_mode = "QUATERNION"
    scene.collection.objects.link(camera)
    scene.camera = camera
    data.type = "PERSP"
    data.sensor_fit = "HORIZONTAL"
    data.lens_unit = "FOV"
    data.dof.use_dof = False
    return camera


def apply_camera(
    scene: bpy.types.Scene, obj: Any, camera: Camera, near: float, far: float
) -> Camera:
    """Set pose, lens, resolution and clipping, and read back what Blender made of them.

    Returns:
        The camera as Blender renders it (32-bit floats).

    Raises:
        RenderFailed: It is off by more than a thousandth of a pixel.
    """
    lens = blender_lens(camera)
    render = scene.render
    set_checked(
        render,
        resolution_x=camera.width,
        resolution_y=camera.height,
        resolution_percentage=100,
        pixel_aspect_x=lens["pixel_aspect_x"],
        pixel_aspect_y=lens["pixel_aspect_y"],
    )
    set_checked(
        obj.data,
        angle=lens["angle"],
        shift_x=lens["shift_x"],
        shift_y=lens["shift_y"],
        clip_start=near,
        clip_end=far,
    )
    obj.matrix_world = Matrix(camera.camera_to_world.tolist())
    seen = read_camera(scene, obj)
    lens_error = float(np.abs(seen.intrinsics - camera.intrinsics).max())
    pose_error = float(np.abs(seen.camera_to_world - camera.camera_to_world).max())
    reach = max(1.0, float(np.abs(camera.camera_to_world[:3, 3]).max()))
    if lens_error > 1e-3 * max(1.0, camera.width / 512) or pose_error > 2e-6 * reach:
        raise RenderFailed(
            f"Blender's camera is {lens_error:.2g} pixels and {pose_error:.2g} units off the "
            "requested one."
        )
    return seen


def read_camera(scene: bpy.types.Scene, obj: Any) -> Camera:
    """Intrinsics and pose of a camera object, from the evaluated scene.

    The intrinsics come from the projection matrix that Blender renders with, which knows about
    sensor fit, shift and pixel aspect.
    """
    depsgraph = bpy.context.evaluated_depsgraph_get()
    depsgraph.update()
    render = scene.render
    return pinhole_of(
        obj.evaluated_get(depsgraph), depsgraph, render.resolution_x, render.resolution_y,
        render.pixel_aspect_x, render.pixel_aspect_y,
    )  # fmt: skip


def pinhole_of(
    evaluated: Any, depsgraph: Any, width: int, height: int, scale_x: float, scale_y: float
) -> Camera:
    """Intrinsics and pose of an evaluated camera object, in pictures of a size.

    Args:
        scale_x, scale_y: Blender's pixel aspect.
    """
    projection = np.array(
        evaluated.calc_matrix_camera(
            depsgraph, x=width, y=height, scale_x=scale_x, scale_y=scale_y
        ),
        dtype=np.float64,
    )
    intrinsics = np.array(
        [
            [projection[0, 0] * width / 2, 0.0, width / 2 * (1 - projection[0, 2])],
            [0.0, projection[1, 1] * height / 2, height / 2 * (1 + projection[1, 2])],
            [0.0, 0.0, 1.0],
        ]
    )
    pose = np.array(evaluated.matrix_world.normalized(), dtype=np.float64)
    return Camera(width, height, intrinsics, pose)
