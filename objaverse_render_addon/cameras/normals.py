"""Normals of the surface that a camera sees, from its points alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .camera import Camera

__all__ = ["normals_of"]

Array = npt.NDArray[Any]


def normals_of(
    points: Array, valid: npt.NDArray[np.bool_], camera: Camera
) -> npt.NDArray[np.float32]:
    """Normals of the surface that world points (H, W, 3) lie on, in world axes.

    Of both neighbours along an axis the one nearer in depth counts, so that edges of objects are
    not rounded off; a pixel without any looks at the camera.

    Returns:
        (H, W, 3) float32, unit length towards the camera where ``valid``, 0 elsewhere.
    """
    position = camera.camera_to_world[:3, 3]
    across, down = (_step(points, valid, axis) for axis in (1, 0))
    normal = np.cross(down, across)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    towards = position - points
    alone = length[..., 0] < 1e-20
    normal[alone] = towards[alone]
    length[alone] = np.linalg.norm(towards[alone], axis=-1, keepdims=True)
    normal /= np.maximum(length, 1e-30)
    behind = np.einsum("ijk,ijk->ij", normal, towards) < 0
    normal[behind] *= -1
    return np.where(valid[..., None], normal, 0).astype(np.float32)


def _step(points: Array, valid: npt.NDArray[np.bool_], axis: int) -> Array:
    """From each point to its neighbour along an axis, by the shorter of both ways."""
    steps = np.diff(points, axis=axis)
    ends = [slice(None)] * 2, [slice(None)] * 2
    ends[0][axis], ends[1][axis] = slice(None, -1), slice(1, None)
    first, second = tuple(ends[0]), tuple(ends[1])
    usable = valid[first] & valid[second]
    size = np.where(usable, np.einsum("ijk,ijk->ij", steps, steps), np.inf)
    ahead = np.full(valid.shape, np.inf)
    back = np.full(valid.shape, np.inf)
    ahead[first], back[second] = size, size
    found = np.zeros(points.shape)
    forward, backward = np.zeros(points.shape), np.zeros(points.shape)
    forward[first], backward[second] = steps, steps
    take = (ahead <= back) & np.isfinite(ahead)
    found[take] = forward[take]
    take = (back < ahead) & np.isfinite(back)
    found[take] = backward[take]
    return found
