"""Rotations as matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["quaternion_matrix", "uniform_rotation"]


def quaternion_matrix(x: Any, y: Any, z: Any, w: Any) -> npt.NDArray[np.float64]:
    """Of a unit quaternion w + xi + yj + zk, or of many.

    Args:
        x, y, z, w: Numbers, or (N,) each.

    Returns:
        (3, 3) or (N, 3, 3) float64, for columns.
    """
    entries = np.stack(
        [
            1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
            2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
            2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
        ], axis=-1,
    )  # fmt: skip
    return np.asarray(entries.reshape(*entries.shape[:-1], 3, 3), dtype=np.float64)


def uniform_rotation(first: float, second: float, third: float) -> npt.NDArray[np.float64]:
    """(3, 3) of three numbers in [0, 1): uniform among all rotations where they are.

    Shoemake, "Uniform random rotations", Graphics Gems III, 1992.
    """
    second, third = 2 * math.pi * second, 2 * math.pi * third
    far, near = math.sqrt(1 - first), math.sqrt(first)
    return quaternion_matrix(
        far * math.sin(second), far * math.cos(second),
        near * math.sin(third), near * math.cos(third),
    )  # fmt: skip
