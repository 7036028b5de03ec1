"""Surfaces drawn a second time, without Blender, for their depth."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ..cameras import Camera
from .covering import covered

__all__ = ["about", "nearest", "slack_of"]

Floats = npt.NDArray[np.float64]

_CLOSE: Final = 0.0005
"""Metres that depth may differ, and be before or behind, at a distance of one metre."""


def slack_of(depth: Floats) -> Floats:
    """What a stored depth may differ by from one that is drawn."""
    return np.asarray(_CLOSE * np.maximum(depth, 1.0))


def about(mine: Floats, depth: Floats, slack: Floats) -> npt.NDArray[np.bool_]:
    """Whether depths agree, or are between those of the pixels beside: on edges and slopes."""
    low, high = mine.copy(), mine.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            other = np.roll(mine, step, axis=axis)
            good = np.isfinite(other)
            low[good] = np.minimum(low[good], other[good])
            high[good] = np.maximum(high[good], other[good])
    return (depth >= low - slack) & (depth <= high + slack)


def nearest(camera: Camera, points: Floats, triangles: npt.NDArray[np.int64]) -> Floats:
    """Depth of a surface, drawn at pixels' centres.

    Args:
        camera: Of perspective.
        points: (N, 3) world.

    Returns:
        (H, W) metres along the camera's axis; infinite where the surface is not. 1/z is linear in
        the picture, so that it is interpolated by screen barycentrics.
    """
    height, width = camera.height, camera.width
    flat = np.full(height * width, -np.inf)
    uv, depth = camera.project(points)
    front = (depth[triangles] > 1e-3).all(axis=1)
    inverse = 1 / depth[triangles[front]]
    for which, x, y, areas in covered(uv[triangles[front]], width, height):
        whole = areas.sum(axis=0)
        sound = np.abs(whole) > 1e-12
        share = areas[:, sound] / whole[sound]
        value = (share * inverse[which[sound]].T).sum(axis=0)
        np.maximum.at(flat, y[sound] * width + x[sound], value)
    with np.errstate(divide="ignore"):
        return np.where(flat > 0, 1 / flat, np.inf).reshape(height, width)
