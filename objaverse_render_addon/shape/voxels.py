"""Which cells of a grid the surface passes through, as TRELLIS lays them.

``dataset_toolkits/voxelize.py`` of TRELLIS takes 64³ cells over the unit cube and Open3D's
``create_from_triangle_mesh_within_bounds``: a cell counts where a triangle meets it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["RESOLUTION", "occupied"]

Array = npt.NDArray[Any]

RESOLUTION: Final = 64
_AT_ONCE: Final = 1 << 18
"""Pairs of a triangle and a cell that are looked at together."""


def occupied(corners: Array, low: Array, edge: float, resolution: int = RESOLUTION) -> Array:
    """Cells that triangles meet.

    Args:
        corners: (M, 3, 3) of triangles.
        low: (3,) the grid's corner of the smallest coordinates.
        edge: Of the whole grid. What is beyond it counts for its outermost cells.

    Returns:
        (N, 3) uint8 indices along x, y, z, in that order; resolutions up to 256.
    """
    cell = edge / resolution
    # As TRELLIS clips its vertices into the cube.
    scaled = np.clip((corners - low) / cell, 1e-6 * resolution, resolution * (1 - 1e-6))
    first = np.floor(scaled.min(axis=1)).astype(np.int64)
    last = np.floor(scaled.max(axis=1)).astype(np.int64)
    filled = np.zeros((resolution,) * 3, dtype=bool)
    spans = last - first + 1
    counts = spans.prod(axis=1)
    inside = counts == 1
    filled[tuple(first[inside].T)] = True
    rest = np.nonzero(~inside)[0]
    total = np.cumsum(counts[rest])
    start = 0
    while start < len(rest):
        before = int(total[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(total, before + _AT_ONCE)))
        some = rest[start:stop]
        triangle = np.repeat(some, counts[some])
        within = np.arange(len(triangle)) - np.repeat(
            np.cumsum(counts[some]) - counts[some], counts[some]
        )
        span = spans[triangle]
        place = np.stack(
            [
                within // (span[:, 1] * span[:, 2]),
                within // span[:, 2] % span[:, 1],
                within % span[:, 2],
            ],
            axis=1,
        )
        cells = first[triangle] + place
        new = ~filled[tuple(cells.T)]
        cells, triangle = cells[new], triangle[new]
        met = _meet(scaled[triangle] - (cells[:, None] + 0.5))
        filled[tuple(cells[met].T)] = True
        start = stop
    return np.argwhere(filled).astype(np.uint8)


def _meet(corners: Array) -> Array:
    """(N,) whether triangles (N, 3, 3) meet the cell of edge 1 around the origin.

    Separating axes: Akenine-Möller, "Fast 3D triangle-box overlap testing", 2001. The box of the
    triangle meets the cell already.
    """
    sides = np.roll(corners, -1, axis=1) - corners
    normal = np.cross(sides[:, 0], sides[:, 1])
    met = np.abs(np.einsum("ij,ij->i", normal, corners[:, 0])) <= np.abs(normal).sum(axis=1) / 2
    for axis in range(3):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        for side in range(3):
            # The cross product of the axis with the side.
            u, v = -sides[:, side, two, None], sides[:, side, one, None]
            along = u * corners[:, :, one] + v * corners[:, :, two]
            reach = (np.abs(u) + np.abs(v))[:, 0] / 2
            met &= (along.min(axis=1) <= reach) & (along.max(axis=1) >= -reach)
    return np.asarray(met)
