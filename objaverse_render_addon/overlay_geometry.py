"""The camera rig as lines, and which camera a click meant. Plain numpy: no GPU, no window.

Everything goes into one list of line segments, the index numbers too (as seven-segment
digits on each frustum's picture plane), so that the number of draw calls does not grow with
the number of views.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .cameras import Camera, View

__all__ = [
    "ALARM",
    "CALM",
    "CURRENT",
    "RigLines",
    "frustum_corners",
    "is_cropped",
    "pick",
    "rig_lines",
]

Array = npt.NDArray[np.float32]
Color = tuple[float, float, float, float]

CALM: Final[Color] = (0.36, 0.68, 1.0, 0.75)
CURRENT: Final[Color] = (1.0, 0.82, 0.2, 1.0)
ALARM: Final[Color] = (1.0, 0.3, 0.22, 0.95)
BOX: Final[Color] = (0.7, 0.7, 0.7, 0.6)
DEPTH: Final[Color] = (1.0, 0.82, 0.2, 0.5)

# Corners of the picture in image coordinates (0..1, v downwards), going round.
_CORNERS: Final = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)
# Seven segments of a digit in a 1 x 2 box, v downwards: a, b, c, d, e, f, g.
_SEGMENTS: Final = np.array(
    [
        [[0, 0], [1, 0]], [[1, 0], [1, 1]], [[1, 1], [1, 2]], [[0, 2], [1, 2]],
        [[0, 1], [0, 2]], [[0, 0], [0, 1]], [[0, 1], [1, 1]],
    ],
    dtype=np.float64,
)  # fmt: skip
_DIGITS: Final = (
    "abcdef",
    "bc",
    "abdeg",
    "abcdg",
    "bcfg",
    "acdfg",
    "acdefg",
    "abc",
    "abcdefg",
    "abcdfg",
)
_BOX_EDGES: Final = np.array(
    [(0, 1), (0, 2), (0, 4), (1, 3), (1, 5), (2, 3), (2, 6), (3, 7), (4, 5), (4, 6), (5, 7), (6, 7)]
)


@dataclass(frozen=True, slots=True)
class RigLines:
    """Line segments, two vertices each.

    Attributes:
        positions: (2 M, 3) float32, world space of the viewport.
        colors: (2 M, 4) float32 RGBA.
    """

    positions: Array
    colors: Array


def frustum_corners(camera: Camera, depth: float) -> npt.NDArray[np.float64]:
    """The picture's four corners (4, 3) in world space at a planar depth."""
    return _on_picture(camera, _CORNERS, depth)


def _on_picture(
    camera: Camera, uv: npt.NDArray[np.float64], depth: float
) -> npt.NDArray[np.float64]:
    """World points (…, 3) of image positions (…, 2) given as shares of width and height."""
    k = camera.intrinsics
    x = (uv[..., 0] * camera.width - k[0, 2]) / k[0, 0]
    y = -(uv[..., 1] * camera.height - k[1, 2]) / k[1, 1]
    local = np.stack([x, y, -np.ones_like(x)], axis=-1) * depth
    pose = camera.camera_to_world
    return np.asarray(local @ pose[:3, :3].T + pose[:3, 3])


def is_cropped(camera: Camera, points: npt.NDArray[Any]) -> bool:
    """Whether some of the points (N, 3) fall outside the picture or behind the camera."""
    uv, depth = camera.project(points)
    inside = (depth > 0) & (uv >= 0).all(axis=1)
    inside &= (uv[:, 0] <= camera.width) & (uv[:, 1] <= camera.height)
    return not bool(inside.all())


def rig_lines(
    views: Sequence[View],
    *,
    half_extent: float,
    points: npt.NDArray[Any] | None = None,
    cropped: Iterable[int] = (),
    current: int = 0,
    to_world: npt.NDArray[Any] | None = None,
    size: float | None = None,
) -> RigLines:
    """Frusta, numbers, the normalised box, and the current view's near and far planes.

    Args:
        half_extent: Of the normalised box; 0 draws none.
        points: (N, 3) of the object, normalised; give near and far of the current view.
        cropped: Indices of views that cut the object off.
        to_world: (4, 4) from normalised coordinates to the viewport's world; identity for an
            object that is normalised already.
        size: Depth at which the frusta's pictures are drawn.
    """
    cropped = set(cropped)
    segments: list[npt.NDArray[np.float64]] = []
    colors: list[Color] = []
    counts: list[int] = []

    def add(lines: npt.NDArray[np.float64], color: Color) -> None:
        segments.append(lines.reshape(-1, 3))
        colors.append(color)
        counts.append(len(segments[-1]))

    if size is None:
        size = _picture_depth(views)
    for view in views:
        color = ALARM if view.index in cropped else CALM
        if view.index == current:
            color = CURRENT
        add(_frustum(view.camera, size), color)
        add(_number(view.camera, view.index, size), color)
    if half_extent:
        signs = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)]) * 2.0 - 1.0
        add((signs * half_extent)[_BOX_EDGES], BOX)
    chosen = next((view for view in views if view.index == current), None)
    if chosen is not None and points is not None and len(points):
        _, depth = chosen.camera.project(points)
        for distance in (float(np.min(depth)), float(np.max(depth))):
            if distance > 0:
                corners = frustum_corners(chosen.camera, distance)
                add(np.stack([corners, np.roll(corners, -1, axis=0)], axis=1), DEPTH)
    if not segments:
        return RigLines(np.empty((0, 3), np.float32), np.empty((0, 4), np.float32))
    positions = np.concatenate(segments)
    if to_world is not None:
        positions = positions @ to_world[:3, :3].T + to_world[:3, 3]
    shades = np.repeat(np.array(colors, dtype=np.float32), counts, axis=0)
    return RigLines(positions.astype(np.float32), shades)


def _picture_depth(views: Sequence[View]) -> float:
    """A size at which neighbouring frusta hardly overlap."""
    if not views:
        return 1.0
    positions = np.array([view.camera.camera_to_world[:3, 3] for view in views])
    reach = float(np.linalg.norm(positions - positions.mean(axis=0), axis=1).mean())
    return max(reach, 1e-6) * float(np.clip(0.9 / np.sqrt(len(views)), 0.03, 0.22))


def _frustum(camera: Camera, size: float) -> npt.NDArray[np.float64]:
    corners = frustum_corners(camera, size)
    apex = np.broadcast_to(camera.camera_to_world[:3, 3], (4, 3))
    sides = np.stack([apex, corners], axis=1)
    picture = np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)
    # A small roof says which way is up, as on Blender's own cameras.
    roof = _on_picture(camera, np.array([[0.35, -0.06], [0.5, -0.22], [0.65, -0.06]]), size)
    return np.concatenate([sides, picture, np.stack([roof[[0, 1]], roof[[1, 2]]])])


def _number(camera: Camera, number: int, size: float) -> npt.NDArray[np.float64]:
    digits = str(number)
    aspect = camera.width / camera.height
    height = 0.3
    width = height / 2 / aspect
    strokes = []
    for place, digit in enumerate(digits):
        left = 0.08 + place * width * 1.5
        lines = _SEGMENTS[["abcdefg".index(letter) for letter in _DIGITS[int(digit)]]]
        strokes.append(lines * [width, height / 2] + [left, 0.08])
    return _on_picture(camera, np.concatenate(strokes), size)


def pick(
    views: Sequence[View],
    matrix: npt.NDArray[Any],
    region: tuple[int, int],
    mouse: tuple[float, float],
    *,
    to_world: npt.NDArray[Any] | None = None,
    size: float | None = None,
    reach: float = 14.0,
) -> int | None:
    """The view whose drawn frustum is under the mouse, the nearest first.

    Args:
        matrix: (4, 4) from world to clip space (the viewport's perspective matrix).
        region: Width and height of the viewport in pixels.
        mouse: Pixels from the region's lower left corner.
        reach: How far beside a frustum's tip a click still counts, pixels.

    Returns:
        The view's index, or ``None``.
    """
    if not views:
        return None
    if size is None:
        size = _picture_depth(views)
    shapes = np.stack(
        [
            np.concatenate(
                [view.camera.camera_to_world[None, :3, 3], frustum_corners(view.camera, size)]
            )
            for view in views
        ]
    )
    if to_world is not None:
        shapes = shapes @ to_world[:3, :3].T + to_world[:3, 3]
    clip = np.concatenate([shapes, np.ones((*shapes.shape[:2], 1))], axis=2) @ np.asarray(matrix).T
    w = clip[..., 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        screen = (clip[..., :2] / w[..., None] * 0.5 + 0.5) * np.array(region)
    best: tuple[float, int] | None = None
    for view, corners, depths in zip(views, screen, w, strict=True):
        if not (depths > 0).all():
            continue
        near_tip = float(np.hypot(*(corners[0] - mouse))) <= reach
        if near_tip or _inside(corners[1:], mouse):
            distance = float(depths.mean())
            if best is None or distance < best[0]:
                best = distance, view.index
    return None if best is None else best[1]


def _inside(polygon: npt.NDArray[np.float64], point: tuple[float, float]) -> bool:
    """Whether a convex polygon holds a point."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    to_point = np.array(point) - polygon
    cross = edges[:, 0] * to_point[:, 1] - edges[:, 1] * to_point[:, 0]
    return bool((cross >= 0).all() or (cross <= 0).all())
