"""Where a scene is seen from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .draws import Draws
from .rules import Rules

__all__ = ["cameras_of"]

Floats = npt.NDArray[np.float64]

FILLED: Final = (0.80, 0.94)
"""Share of the frame's half that the outermost point reaches."""
_NEAREST: Final = 0.35


def cameras_of(rules: Rules, points: Floats, draws: Draws) -> list[dict[str, Any]]:
    """Cameras from which all of some points are in the frame.

    Args:
        points: (N, 3) of all objects.

    Returns:
        ``pose`` (4, 4) world from camera, OpenGL axes, and ``fov_deg`` of the longer side, each.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    found = []
    for _ in range(rules.images):
        spread = rules.azimuth if rules.cameras == "box" else 180.0
        # The front is -Y.
        azimuth = math.radians(-90 + draws.uniform(-spread, spread))
        elevation = math.radians(draws.uniform(*rules.elevation))
        fov = draws.uniform(*rules.fov)
        roll = math.radians(draws.uniform(-rules.roll, rules.roll))
        filled = draws.uniform(*FILLED)
        aside = draws.uniform(-0.02, 0.02), draws.uniform(-0.02, 0.02), 0.0
        target = middle + np.array(aside)
        away = np.array([
            math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
        ])  # fmt: skip
        axes = _axes(away, roll)
        near, far = _NEAREST, 6.0
        for _ in range(40):
            distance = (near + far) / 2
            if _fits(points, target + distance * away, axes, fov, rules.aspect, filled):
                far = distance
            else:
                near = distance
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = axes, target + far * away
        found.append({"pose": pose.tolist(), "fov_deg": fov})
    return found


def _axes(away: Floats, roll: float) -> Floats:
    """(3, 3) columns right, up, backwards of a camera that looks along ``-away``."""
    right = np.cross((0.0, 0.0, 1.0), away)
    right /= np.linalg.norm(right)
    up = np.cross(away, right)
    turned = math.cos(roll) * right + math.sin(roll) * up
    return np.column_stack([turned, np.cross(away, turned), away])


def _fits(
    points: Floats, position: Floats, axes: Floats, fov: float, aspect: float, filled: float
) -> bool:
    seen = (points - position) @ axes
    depth = -seen[:, 2]
    if (depth < 0.15).any():
        return False
    wide = math.tan(math.radians(fov) / 2) * filled
    limits: Sequence[float] = (wide, wide / aspect) if aspect >= 1 else (wide * aspect, wide)
    return bool(
        (np.abs(seen[:, 0]) <= limits[0] * depth).all()
        and (np.abs(seen[:, 1]) <= limits[1] * depth).all()
    )
