"""Whether points of a surface are seen at another time: by the depth there, or by rays."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras import Camera
from .moment import Elsewhen

__all__ = ["HIDDEN", "OUTSIDE", "SEEN", "UNKNOWN", "visibility"]

SEEN, HIDDEN, OUTSIDE, UNKNOWN = 0, 1, 2, 3

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
_EXACT: Final = 1e-5
"""Relative error of a depth."""


def visibility(
    points: Floats, uv: Floats, depth: Floats, then: Elsewhen | None
) -> npt.NDArray[np.uint8]:
    """Of each point: 0 it is seen, 1 something is before it, 2 out of the picture, 3 not known.

    Where the four pixels around a point show one smooth surface at its depth it is seen, and where
    all around it show things far before it, it is hidden. What is left, along outlines and folds,
    is decided by a ray from the camera.

    Args:
        points: (M, 3) where they are then, world; nan where that is not known.
        uv: (M, 2) pixels there; nan behind the camera.
        depth: (M,) planar, there.
        then: The view at the other time, with its depth.
    """
    found = np.full(len(points), UNKNOWN, np.uint8)
    if then is None or then.depth is None:
        return found
    known = np.isfinite(points).all(axis=1)
    width, height = then.camera.width, then.camera.height
    with np.errstate(invalid="ignore"):
        inside = (
            known & (depth > 0) & (uv[:, 0] >= 0) & (uv[:, 0] < width) & (uv[:, 1] >= 0)
            & (uv[:, 1] < height)
        )  # fmt: skip
    found[known & ~inside] = OUTSIDE
    at = np.flatnonzero(inside)
    seen, hidden, unsure, before = _by_depth(then.depth(), uv[at], depth[at], then)
    found[at[seen]], found[at[hidden]] = SEEN, HIDDEN
    left = at[unsure]
    if len(left):
        blocked = _by_rays(points[left], depth[left], before[unsure], then)
        found[left] = np.where(blocked, HIDDEN, SEEN)
    return found


def _by_depth(
    depths: Array, uv: Floats, depth: Floats, then: Elsewhen
) -> tuple[npt.NDArray[np.bool_], ...]:
    """Which points are seen, which are hidden, which are neither for certain, and before which
    one of the four pixels around shows something.
    """
    height, width = depths.shape
    padded = np.full((height + 4, width + 4), np.nan)
    padded[2:-2, 2:-2] = np.where(depths > 0, depths, np.inf)
    around = _Around(padded, uv)
    footprint, parallel = _footprint(then.camera, depth), then.camera.lens.parallel
    with np.errstate(invalid="ignore", divide="ignore"):
        four = np.stack([around.at(x, y) for y in (0, 1) for x in (0, 1)])
        across, down = around.part
        # Across a plane's picture the inverse of depth is linear; of parallel rays depth itself.
        known = four if parallel else 1.0 / four
        upper, lower = ((1 - across) * a + across * b for a, b in (known[:2], known[2:]))
        here = upper * (1 - down) + lower * down
        here = here if parallel else 1.0 / here
        nearest, farthest = four.min(axis=0), four.max(axis=0)
        near = np.abs(here - depth) <= 0.02 * (farthest - nearest) + _EXACT * depth
        seen = near & (farthest - nearest < 3 * footprint)
        before = (four < depth - 2 * footprint).any(axis=0)
        hidden = np.zeros(len(depth), bool)
        left = np.flatnonzero(~seen)
        if len(left):
            around = _Around(padded, uv[left])
            sixteen = np.stack([around.at(x, y) for y in range(-1, 3) for x in range(-1, 3)])
            farthest, nearest = np.nanmax(sixteen, axis=0), np.nanmin(sixteen, axis=0)
            behind = depth[left] - farthest
            hidden[left] = (behind > 4 * footprint[left]) & (farthest - nearest < behind)
    return seen, hidden, ~(seen | hidden), before


class _Around:
    """The pixels around points, in a picture with two more on every side.

    Attributes:
        part: (M,) each, how far a point is from the centre of the pixel at 0, 0 to that at 1, 1.
    """

    def __init__(self, padded: Floats, uv: Floats) -> None:
        self._flat, self._wide = padded.ravel(), padded.shape[1]
        u, v = uv[:, 0] - 0.5, uv[:, 1] - 0.5
        column, row = np.floor(u), np.floor(v)
        self.part = u - column, v - row
        self._place = ((row + 2) * self._wide + column + 2).astype(np.int64)

    def at(self, x: int, y: int) -> Floats:
        """(M,)"""
        return np.asarray(self._flat[self._place + (y * self._wide + x)])


def _by_rays(
    points: Floats, depth: Floats, before: npt.NDArray[np.bool_], then: Elsewhen
) -> npt.NDArray[np.bool_]:
    """Whether something is between the camera and each point.

    Of what can be seen through, it counts only where the picture shows something before the point.
    """
    things, camera = then.things, then.camera
    starts = camera.starts(points)
    ways = points - starts
    squares = np.maximum(np.einsum("ni,ni->n", ways, ways), 1e-30)
    blocked = np.zeros(len(points), bool)
    # A ray ends a little before its point, which is on a surface itself.
    ends = starts + ways * (1 - (2 * _EXACT + 0.02 * _footprint(camera, depth) / depth))[:, None]
    for row in np.flatnonzero(things.shapes >= 0):
        mesh, matrix = things.meshes[things.shapes[row]], things.matrices[row]
        left = np.flatnonzero(~blocked if mesh.solid else ~blocked & before)
        some = left[_meets(mesh.ball, matrix, starts[left], ways[left], squares[left])]
        if not len(some) or np.linalg.det(matrix[:3, :3]) == 0:
            continue
        inverse = np.linalg.inv(matrix)
        linear, shift = inverse[:3, :3].T, inverse[:3, 3]
        blocked[some] = mesh.blocks(starts[some] @ linear + shift, ends[some] @ linear + shift)
    return blocked


def _meets(
    ball: tuple[Floats, float], matrix: Floats, starts: Floats, ways: Floats, squares: Floats
) -> npt.NDArray[np.bool_]:
    """Which rays come near a mesh's ball."""
    center = matrix[:3, :3] @ ball[0] + matrix[:3, 3]
    radius = ball[1] * float(np.linalg.norm(matrix[:3, :3], 2)) * (1 + 1e-4)
    to = center - starts
    share = np.clip(np.einsum("ni,ni->n", ways, to) / squares, 0, 1)
    away = ways * share[:, None] - to
    return np.asarray(np.einsum("ni,ni->n", away, away) <= radius**2)


def _footprint(camera: Camera, depth: Floats) -> Floats:
    """(M,) how wide a pixel is at a depth, at most; scene units."""
    least = min(camera.intrinsics[0, 0], camera.intrinsics[1, 1])
    return np.asarray((np.ones_like(depth) if camera.lens.parallel else depth) / least)
