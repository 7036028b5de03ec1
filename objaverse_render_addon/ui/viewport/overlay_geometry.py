"""The camera rig as lines, and which camera a click meant. Plain numpy: no GPU, no window.

Everything goes into one list of line segments, so that the number of draw calls does not grow with
the number of views.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...cameras import Camera, View, box_corners

__all__ = [
    "ALARM",
    "BOX_EDGES",
    "CALM",
    "CURRENT",
    "DEPTH",
    "DOUBT",
    "RigLines",
    "depth_planes",
    "frustum_corners",
    "is_cropped",
    "number_places",
    "pick",
    "picture_planes",
    "plane_names",
    "rig_lines",
]

Floats32 = npt.NDArray[np.float32]
Color = tuple[float, float, float, float]

CALM: Final[Color] = (0.36, 0.68, 1.0, 0.75)
CURRENT: Final[Color] = (1.0, 0.82, 0.2, 1.0)
ALARM: Final[Color] = (1.0, 0.3, 0.22, 0.95)
DOUBT: Final[Color] = (1.0, 0.55, 0.1, 0.95)
BOX: Final[Color] = (0.7, 0.7, 0.7, 0.6)
DEPTH: Final[Color] = (1.0, 0.82, 0.2, 0.5)

# Corners of the picture in image coordinates (0..1, v downwards), going round.
_CORNERS: Final = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)
# Of a frustum's tip (0) and corners (1 to 4): the picture and the four sides.
_FACES: Final = ([1, 2, 3, 4], [0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1])
# Of the corners that box_corners gives: those whose numbers differ in one bit.
BOX_EDGES: Final = np.array(
    [(0, 1), (0, 2), (0, 4), (1, 3), (1, 5), (2, 3), (2, 6), (3, 7), (4, 5), (4, 6), (5, 7), (6, 7)]
)


# Of a frustum's segments, its picture's edges.
_PICTURE: Final = slice(4, 8)


@dataclass(frozen=True, slots=True)
class RigLines:
    """Line segments, two vertices each.

    Attributes:
        positions: (2 M, 3) float32, world space of the viewport.
        colors: (2 M, 4) float32 RGBA.
    """

    positions: Floats32
    colors: Floats32


@dataclass(frozen=True, slots=True)
class _Lenses:
    """Cameras as arrays: a thousand of them are drawn again at every change of a setting.

    Attributes:
        size: (N, 2) pixels.
        focal: (N, 2) pixels.
        center: (N, 2) principal points, pixels.
        poses: (N, 4, 4) camera to world.
        parallel: (N, 1, 1) whether its rays are. A lens that sees all around has no frustum; 90
            degrees across its longer side stand for it.
    """

    size: npt.NDArray[np.float64]
    focal: npt.NDArray[np.float64]
    center: npt.NDArray[np.float64]
    poses: npt.NDArray[np.float64]
    parallel: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, cameras: Sequence[Camera]) -> _Lenses:
        k = np.array([camera.intrinsics for camera in cameras])
        size = np.array([(camera.width, camera.height) for camera in cameras], dtype=np.float64)
        radial = np.array([camera.lens.radial for camera in cameras])[:, None]
        return cls(
            size,
            np.where(radial, size.max(axis=1, keepdims=True) / 2, k[:, [0, 1], [0, 1]]),
            np.where(radial, size / 2, k[:, :2, 2]),
            np.array([camera.camera_to_world for camera in cameras]),
            np.array([camera.lens.parallel for camera in cameras])[:, None, None],
        )

    def on_pictures(
        self,
        uv: npt.NDArray[np.float64],
        depth: float,
        owner: npt.NDArray[np.intp] | slice = slice(None),
    ) -> npt.NDArray[np.float64]:
        """World points (N, M, 3) of image positions given as shares of width and height.

        Args:
            uv: (M, 2) for every camera, or (N, M, 2).
            owner: Which camera each of N is; all of them in order otherwise.
        """
        size, focal, center = (
            item[owner][:, None] for item in (self.size, self.focal, self.center)
        )
        xy = (uv * size - center) / focal * (1.0, -1.0)
        wide = np.where(self.parallel[owner], xy, xy * depth)
        local = np.concatenate([wide, np.full_like(xy[..., :1], -depth)], axis=-1)
        poses = self.poses[owner]
        return np.asarray(local @ poses[:, :3, :3].swapaxes(1, 2) + poses[:, None, :3, 3])


def frustum_corners(camera: Camera, depth: float) -> npt.NDArray[np.float64]:
    """The picture's four corners (4, 3) in world space at a planar depth."""
    return np.asarray(_Lenses.of([camera]).on_pictures(_CORNERS, depth)[0])


def picture_planes(
    views: Sequence[View],
    places: Sequence[int],
    *,
    to_world: npt.NDArray[Any] | None = None,
    size: float | None = None,
) -> Floats32:
    """Where the frusta of some views carry their pictures: two triangles each.

    Args:
        places: Of the views that have one, in ``views``.

    Returns:
        (N, 6, 3) in the viewport's world: upper left, upper right, lower right; upper left, lower
        right, lower left.
    """
    lenses = _Lenses.of([views[place].camera for place in places])
    corners = lenses.on_pictures(_CORNERS, _picture_depth(views) if size is None else size)
    if to_world is not None:
        corners = corners @ to_world[:3, :3].T + to_world[:3, 3]
    return corners[:, [0, 1, 2, 0, 2, 3]].astype(np.float32)


def depth_planes(
    camera: Camera, points: npt.NDArray[Any]
) -> list[tuple[str, float, npt.NDArray[np.float64]]]:
    """Name, planar depth and corners (4, 3) of a picture's planes at the nearest and the farthest
    of some points (N, 3); none behind the camera, nor of a lens whose depth is no plane's.
    """
    if camera.lens.radial or not len(points):
        return []
    _, depth = camera.project(points)
    ends = {"nearest": float(np.min(depth)), "farthest": float(np.max(depth))}
    return [(name, end, frustum_corners(camera, end)) for name, end in ends.items() if end > 0]


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
    doubtful: Iterable[int] = (),
    current: int = 0,
    to_world: npt.NDArray[Any] | None = None,
    size: float | None = None,
) -> RigLines:
    """Frusta, the normalised box, and the current view's near and far planes.

    Args:
        half_extent: Of the normalised box; 0 draws none.
        points: (N, 3) of the object, normalised; give near and far of the current view.
        cropped: Indices of views that cut the object off.
        doubtful: Indices of views that something else is wrong with, perhaps.
        to_world: (4, 4) from normalised coordinates to the viewport's world; identity for an
            object that is normalised already.
        size: Depth at which the frusta's pictures are drawn.
    """
    segments: list[npt.NDArray[np.float64]] = []
    shades: list[npt.NDArray[np.float64]] = []

    def add(lines: npt.NDArray[np.float64], color: Any) -> None:
        segments.append(lines.reshape(-1, 3))
        shades.append(np.broadcast_to(color, (len(segments[-1]), 4)))

    if views:
        size = _picture_depth(views) if size is None else size
        lenses = _Lenses.of([view.camera for view in views])
        shades_of = dict.fromkeys(doubtful, DOUBT) | dict.fromkeys(cropped, ALARM)
        colors = np.array([shades_of.get(view.index, CALM) for view in views])
        frusta = _frusta(lenses, size)
        colors = np.repeat(colors[:, None], frusta.shape[1], axis=1)
        for place in (place for place, view in enumerate(views) if view.index == current):
            wrong = colors[place, _PICTURE].copy()
            colors[place] = CURRENT
            if current in shades_of:
                # It stays to be seen, on the picture's edges.
                colors[place, _PICTURE] = wrong
        add(frusta, np.repeat(colors.reshape(-1, 4), 2, axis=0))
    if half_extent:
        add(box_corners([-half_extent] * 3, [half_extent] * 3)[BOX_EDGES], BOX)
    chosen = next((view for view in views if view.index == current), None)
    if chosen is not None and points is not None:
        for _, _, corners in depth_planes(chosen.camera, points):
            add(np.stack([corners, np.roll(corners, -1, axis=0)], axis=1), DEPTH)
    if not segments:
        return RigLines(np.empty((0, 3), np.float32), np.empty((0, 4), np.float32))
    positions = np.concatenate(segments)
    if to_world is not None:
        positions = positions @ to_world[:3, :3].T + to_world[:3, 3]
    return RigLines(positions.astype(np.float32), np.concatenate(shades).astype(np.float32))


def _picture_depth(views: Sequence[View]) -> float:
    """A size at which neighbouring frusta hardly overlap."""
    if not views:
        return 1.0
    positions = np.array([view.camera.camera_to_world[:3, 3] for view in views])
    reach = float(np.linalg.norm(positions - positions.mean(axis=0), axis=1).mean())
    return max(reach, 1e-6) * float(np.clip(0.9 / np.sqrt(len(views)), 0.03, 0.22))


def _frusta(lenses: _Lenses, size: float) -> npt.NDArray[np.float64]:
    """Segments (N, 10, 2, 3): the sides, :data:`_PICTURE`, and what says where up is."""
    corners = lenses.on_pictures(_CORNERS, size)
    # One point, but where rays are parallel.
    apex = lenses.on_pictures(_CORNERS, 0.0)
    sides = np.stack([apex, corners], axis=2)
    picture = np.stack([corners, np.roll(corners, -1, axis=1)], axis=2)
    # A small roof says which way is up, as on Blender's own cameras.
    roof = lenses.on_pictures(np.array([[0.35, -0.06], [0.5, -0.22], [0.65, -0.06]]), size)
    return np.concatenate([sides, picture, roof[:, [[0, 1], [1, 2]]]], axis=1)


def number_places(
    views: Sequence[View],
    matrix: npt.NDArray[Any],
    region: tuple[int, int],
    *,
    first: Sequence[int] = (),
    room: tuple[float, float],
    to_world: npt.NDArray[Any] | None = None,
    size: float | None = None,
) -> list[tuple[int, float, float]]:
    """Where the views' numbers are written: in the middle of each picture's upper edge.

    Args:
        matrix, region: As of :func:`pick`.
        first: Indices of views that get theirs in any case.
        room: Width and height in pixels that one takes; where two would meet, the nearer one has
            it.

    Returns:
        Index, x and y in pixels from the region's lower left corner.
    """
    if not views:
        return []
    lenses = _Lenses.of([view.camera for view in views])
    depth = _picture_depth(views) if size is None else size
    points = lenses.on_pictures(np.array([[0.5, 0.0]]), depth)[:, 0]
    if to_world is not None:
        points = points @ to_world[:3, :3].T + to_world[:3, 3]
    clip = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ np.asarray(matrix).T
    with np.errstate(divide="ignore", invalid="ignore"):
        screen = (clip[:, :2] / clip[:, 3:] * 0.5 + 0.5) * np.array(region)
        distance = clip[:, 2] / clip[:, 3]
    seen = (clip[:, 3] > 0) & (screen >= 0).all(axis=1) & (screen <= np.array(region)).all(axis=1)
    wanted = set(first)
    order = [place for place in np.argsort(distance).tolist() if seen[place]]
    order.sort(key=lambda place: views[place].index not in wanted)
    taken: set[tuple[int, int]] = set()
    found = []
    for place in order:
        x, y = float(screen[place, 0]), float(screen[place, 1])
        # Half a room in each direction is within the neighbours of a cell of its size.
        cell = int(x // room[0]), int(y // room[1])
        around = {(cell[0] + i, cell[1] + j) for i in (-1, 0, 1) for j in (-1, 0, 1)}
        if views[place].index in wanted or not taken & around:
            taken.add(cell)
            found.append((views[place].index, x, y))
    return found


def plane_names(
    camera: Camera,
    points: npt.NDArray[Any],
    matrix: npt.NDArray[Any],
    region: tuple[int, int],
    *,
    to_world: npt.NDArray[Any],
) -> list[tuple[str, float, float]]:
    """What is written at the upper left corners of :func:`depth_planes`.

    Args:
        matrix, region: As of :func:`pick`.
        to_world: (4, 4) from normalised coordinates to the viewport's world.

    Returns:
        Text, x and y in pixels from the region's lower left corner.
    """
    found = []
    for name, depth, corners in depth_planes(camera, points):
        at = np.asarray(matrix) @ [*(to_world[:3, :3] @ corners[0] + to_world[:3, 3]), 1.0]
        if at[3] > 0:
            x, y = (at[:2] / at[3] * 0.5 + 0.5) * np.array(region)
            found.append((f"{name} {depth:.3g}", float(x), float(y)))
    return found


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
    lenses = _Lenses.of([view.camera for view in views])
    corners = lenses.on_pictures(_CORNERS, size)
    shapes = np.concatenate([lenses.poses[:, None, :3, 3], corners], axis=1)
    if to_world is not None:
        shapes = shapes @ to_world[:3, :3].T + to_world[:3, 3]
    clip = np.concatenate([shapes, np.ones((*shapes.shape[:2], 1))], axis=2) @ np.asarray(matrix).T
    w = clip[..., 3:]
    with np.errstate(divide="ignore", invalid="ignore"):
        screen = (clip[..., :2] / w * 0.5 + 0.5) * np.array(region) - mouse
        # Unlike w, which an orthographic view has none of, this grows with distance in any view.
        distance = (clip[..., 2:3] / w).mean(axis=(1, 2))
    hit = np.linalg.norm(screen[:, 0], axis=1) <= reach
    for face in _FACES:
        hit |= _holds_origin(screen[:, face])
    hit &= (w > 0).all(axis=(1, 2))
    if not hit.any():
        return None
    return views[int(np.argmin(np.where(hit, distance, np.inf)))].index


def _holds_origin(polygons: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which of convex polygons (N, K, 2) hold the origin."""
    edges = np.roll(polygons, -1, axis=1) - polygons
    cross = edges[..., 1] * polygons[..., 0] - edges[..., 0] * polygons[..., 1]
    return np.asarray((cross > 0).all(axis=1) | (cross < 0).all(axis=1))
