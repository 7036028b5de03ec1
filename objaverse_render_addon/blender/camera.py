"""A camera of :mod:`objaverse_render_addon.cameras` as a Blender camera, and back."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
import numpy.typing as npt
from mathutils import Matrix

from ..cameras import Camera, blender_lens
from ..errors import CameraFileError, RenderFailed
from .compat import set_checked

__all__ = ["apply_camera", "new_camera", "read_camera", "read_lens", "set_camera"]


def new_camera(scene: bpy.types.Scene) -> Any:
    """A camera object in the scene, made its active one."""
    data = bpy.data.cameras.new("Objaverse Camera")
    camera = bpy.data.objects.new("Objaverse Camera", data)
    camera.rotation_mode = "QUATERNION"
    scene.collection.objects.link(camera)
    scene.camera = camera
    data.sensor_fit = "HORIZONTAL"
    data.lens_unit = "FOV"
    data.dof.use_dof = False
    return camera


def apply_camera(
    scene: bpy.types.Scene, obj: Any, camera: Camera, near: float, far: float
) -> Camera:
    """Set a camera (:func:`set_camera`), and read back what Blender made of it.

    Returns:
        The camera as Blender renders it (32-bit floats).

    Raises:
        RenderFailed: It is off by more than a thousandth of a pixel.
    """
    set_camera(scene, obj, camera, near, far)
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


def set_camera(
    scene: bpy.types.Scene, obj: Any, camera: Camera, near: float, far: float
) -> None:
    """Set pose, lens, resolution and clipping."""
    lens, pixels = blender_lens(camera)
    render = scene.render
    set_checked(
        render,
        resolution_x=camera.width,
        resolution_y=camera.height,
        resolution_percentage=100,
        **pixels,
    )
    set_checked(obj.data, **lens, clip_start=near, clip_end=far)
    obj.matrix_world = Matrix(camera.camera_to_world.tolist())


def read_camera(scene: bpy.types.Scene, obj: Any) -> Camera:
    """Intrinsics and pose of a camera object, from the evaluated scene."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    depsgraph.update()
    render = scene.render
    size = render.resolution_x, render.resolution_y
    aspect = render.pixel_aspect_x, render.pixel_aspect_y
    evaluated = obj.evaluated_get(depsgraph)
    projection, intrinsics = read_lens(evaluated, depsgraph, size, aspect)
    pose = np.array(evaluated.matrix_world.normalized(), dtype=np.float64)
    return Camera(*size, intrinsics, pose, projection)


def read_lens(
    obj: Any, depsgraph: Any, size: tuple[int, int], aspect: tuple[float, float]
) -> tuple[str, npt.NDArray[np.float64]]:
    """Projection and intrinsics of a camera object.

    Those of perspective and orthographic lenses come from the projection matrix that Blender
    renders with, which knows about sensor fit, shift and pixel aspect.

    Args:
        size: Width and height, pixels.
        aspect: Blender's pixel aspect, x and y.

    Raises:
        CameraFileError: It is a lens of another kind.
    """
    data, (width, height) = obj.data, size
    if data.type == "PANO":
        return _read_panorama(data, size, aspect)
    matrix = np.array(
        obj.calc_matrix_camera(
            depsgraph, x=width, y=height, scale_x=aspect[0], scale_y=aspect[1]
        ),
        dtype=np.float64,
    )  # fmt: skip
    parallel = data.type == "ORTHO"
    # From clip space to pixels from the upper left corner; w is -z, or 1 where rays are parallel.
    right, up = (matrix[0, 3], matrix[1, 3]) if parallel else (-matrix[0, 2], -matrix[1, 2])
    intrinsics = np.array(
        [
            [matrix[0, 0] * width / 2, 0.0, width / 2 * (1 + right)],
            [0.0, matrix[1, 1] * height / 2, height / 2 * (1 - up)],
            [0.0, 0.0, 1.0],
        ]
    )
    return "orthographic" if parallel else "perspective", intrinsics


def _read_panorama(
    data: Any, size: tuple[int, int], aspect: tuple[float, float]
) -> tuple[str, npt.NDArray[np.float64]]:
    width, height = size
    center = width * (0.5 - data.shift_x), height * (0.5 + data.shift_y)
    if data.panorama_type == "EQUIRECTANGULAR":
        name = "panorama"
        focal = (
            width / (data.longitude_max - data.longitude_min),
            height / (data.latitude_max - data.latitude_min),
        )
    elif data.panorama_type == "FISHEYE_LENS_POLYNOMIAL" and not any(
        getattr(data, f"fisheye_polynomial_k{power}") for power in (0, 2, 3, 4)
    ):
        name = "fisheye"
        fx = -width / (data.sensor_width * data.fisheye_polynomial_k1)
        focal = fx, fx * aspect[0] / aspect[1]
    else:
        raise CameraFileError(
            f"The panorama of the camera {data.name} is {data.panorama_type.lower()}.",
            hint="Whole equirectangular ones have the intrinsics of a view.",
        )
    return name, np.array(
        [[focal[0], 0.0, center[0]], [0.0, focal[1], center[1]], [0.0, 0.0, 1.0]]
    )
