"""A surface held against views: is it where they show it, and nothing else?"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras.bounding import outermost
from ..frame import Bounds, Check, Frame, mask_of
from .surface import NotRead, Surface

__all__ = ["SURFACE_CHECKS", "HeldSurface"]

Array = npt.NDArray[Any]

SURFACE_CHECKS: Final = ("box", "missing", "extra")
"""What the names of its checks end with."""

_LOOKED_FOR: Final = 1_000
"""Points of the file that are looked for in a view: shares to within a percent or two."""
_FILLING: Final = 20_000
"""Points that fill the cells, and the cells around each: six for each cell that a simple surface
goes through, and one where a folded one goes through six times as many."""
_VERTICES: Final = 30_000
_CELLS: Final = 24
"""Along the longest edge of the object."""
_FEW: Final = 32
_THICK: Final = 4
"""Pixels that an object has to be thick in a picture, front and back together, on average."""


class HeldSurface:
    """A surface in normalised units, as points and as cells of space.

    Args:
        surface: In the units of where it is from.
        scale: From there to normalised units, or (3, 3) with a turn.
        translation: (3,) of the same.
        seed: Of the choice of points.
    """

    def __init__(
        self, surface: Surface, scale: float | Array, translation: Array, seed: int
    ) -> None:
        linear = scale * np.eye(3) if isinstance(scale, float) else scale
        corners = surface.corners @ linear.T + translation
        self.faces, self.triangles = surface.faces, len(corners)
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        areas = np.linalg.norm(normals, axis=1)
        random = np.random.default_rng(seed)
        vertices = corners.reshape(-1, 3)
        if len(vertices) > _VERTICES:
            # Of a dense mesh some vertices will do, with those that stick out.
            some = random.integers(len(vertices), size=_VERTICES)
            vertices = np.concatenate([vertices[some], outermost(vertices, 6)])
        # A seventh digit is far below a pixel.
        self.hull = outermost(vertices.astype(np.float32), 128).astype(np.float64)
        total = float(areas.sum())
        if not total > 0:
            raise NotRead("no area")
        # One in each equal share of the surface: as even as it gets, and no search per point.
        shares = np.cumsum(areas)
        shares /= shares[-1]
        at = (np.arange(_FILLING) + random.random(_FILLING)) / _FILLING
        chosen = np.searchsorted(shares, at)
        first, second = np.sqrt(random.random(_FILLING)), random.random(_FILLING)
        a, b, c = (corners[chosen, corner] for corner in range(3))
        points = a + (b - a) * first[:, None] + (c - b) * (first * second)[:, None]
        looked_for = slice(None, None, _FILLING // _LOOKED_FOR)
        self.points, few = points[looked_for], chosen[looked_for]
        self.may_vanish, self.one_sided = surface.may_vanish[few], surface.one_sided[few]
        self.normals = normals[few] / areas[few, None]
        # Each point stands for as much of the surface.
        self.area = total / 2 / _LOOKED_FOR
        self._low: Array = self.hull.min(axis=0)
        self._edge = max(float(np.max(self.hull.max(axis=0) - self._low)) / _CELLS, 1e-12)
        filled: Array = np.zeros((_CELLS + 5,) * 3, dtype=bool)
        filled[tuple(self._cell(np.concatenate([points, vertices])).T)] = True
        for axis in range(3):
            filled = filled | np.roll(filled, 1, axis) | np.roll(filled, -1, axis)
        self._filled = filled

    def _cell(self, points: Array) -> Array:
        # Two more on each side: what is beyond falls into the outermost, which stays empty.
        cells = np.floor((points - self._low) / self._edge) + 2
        return np.asarray(np.clip(np.nan_to_num(cells), 0, _CELLS + 4), dtype=np.int64)

    def near(self, points: Array) -> Array:
        """(N,) whether the file has something within a cell or two of points (N, 3)."""
        return np.asarray(self._filled[tuple(self._cell(points).T)])

    def checks(self, frame: Frame, bounds: Bounds, name: str) -> list[Check]:
        """Hold a view against the surface.

        - ``<name>_box``: pixels between the boxes of the projected surface and of what was
          rendered.
        - ``<name>_missing``: share of the surface that nothing is drawn for, and nothing before
          it, anywhere near.
        - ``<name>_extra``: share of the seen surface that has nothing of this one near.
        """
        depth = frame.passes.get("depth")
        mask = mask_of(frame.passes, exact=True)
        if depth is None or mask is None:
            return []
        found: list[Check] = []
        uv, z = frame.camera.project(self.hull)
        if frame.object_box is None or not (z > 1e-6).all():
            size = float(max(mask.shape))
        else:
            box = np.array([*uv.min(axis=0), *uv.max(axis=0)])
            size = float(max(box[2] - box[0], box[3] - box[1]))
            gap = float(np.abs(box - np.array(frame.object_box)).max())
            found.append(
                _graded(f"{name}_box", gap, gap > 2 + 0.02 * size,
                        bounds.exact and gap > 3 + 0.2 * size)
            )  # fmt: skip
        share = _missing(self, frame, np.where(mask, depth, np.inf), size, bounds)
        if share is not None:
            found.append(
                _graded(f"{name}_missing", share, share > 0.02, bounds.exact and share > 0.2)
            )
        if mask.any():
            at = np.nonzero(mask)
            step = max(1, len(at[0]) // 2_000) | 1
            points = frame.camera.unproject(depth, (at[0][::step], at[1][::step]))
            extra = float(np.mean(~self.near(points)))
            found.append(
                _graded(f"{name}_extra", extra, extra > 0.02, bounds.exact and extra > 0.2)
            )
        return found


def _missing(
    held: HeldSurface, frame: Frame, depth: Array, size: float, bounds: Bounds
) -> float | None:
    """Share of points that should be seen and that nothing is drawn at or before.

    Args:
        depth: (H, W) infinite where nothing is.
        size: Of the object, pixels.

    Returns:
        ``None`` where too little is in frame and sure to be drawn.
    """
    camera = frame.camera
    uv, z = camera.project(held.points)
    slope = np.einsum("ij,ij->i", camera.towards(held.points), held.normals)
    with np.errstate(invalid="ignore"):
        expected = (
            (z > 1e-6)
            & (uv[:, 0] >= 0) & (uv[:, 1] >= 0)
            & (uv[:, 0] < camera.width) & (uv[:, 1] < camera.height)
            & ~held.may_vanish
            & ((slope > 0) | ~held.one_sided)
        )  # fmt: skip
    if expected.sum() < _FEW:
        return None
    # What is seen edge-on may lie between the pixels' centres: a point counts by what it covers.
    pixels = held.area * np.abs(slope[expected]) / camera.pixel_area(z[expected])
    if pixels.sum() < _THICK * size:
        return None
    # Wires thinner than a pixel are drawn here and there only, so a neighbourhood counts.
    block = max(2, round(0.02 * size))
    height, width = depth.shape
    rows, columns = -(-height // block), -(-width // block)
    padded = np.full((rows * block, columns * block), np.inf, dtype=np.float64)
    padded[:height, :width] = depth
    nearest = np.full((rows + 2, columns + 2), np.inf)
    nearest[1:-1, 1:-1] = padded.reshape(rows, block, columns, block).min(axis=(1, 3))
    column, row = (uv[expected] // block).astype(np.int64).T
    around = np.min(
        [nearest[row + down, column + right] for down in range(3) for right in range(3)], axis=0
    )
    lost = around > z[expected] + 0.02 * bounds.radius
    return float(pixels[lost].sum() / pixels.sum())


def _graded(name: str, value: float, doubt: bool, failed: bool) -> Check:
    return Check(name, "failed" if failed else "doubt" if doubt else "ok", round(value, 6))
