"""Where a scene is seen from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras.files import views_from_file
from ..errors import CameraFileError
from .clearing import blocked
from .draws import Draws
from .physics.body import distances, near
from .rules import Rules

__all__ = ["CLIP", "ROOM", "cameras_of", "nearest_to", "poses_of"]

Floats = npt.NDArray[np.float64]

FILLED: Final = (0.80, 0.94)
"""Share of the frame's half that the outermost point reaches."""
ROOM: Final = (3.2, -0.74, 1.86)
"""Metres: from the middle to each wall, the floor's height and the walls' upper edge."""
CLIP: Final = 0.02
"""Metres before a camera from which it sees."""
_NEAREST: Final = 0.35
_FREE: Final = 0.1
"""Metres that a camera of a file keeps from walls and objects."""
_SHELF: Final = 60.0
"""Degrees to either side from which a shelf is seen into."""
_TIMES: Final = 4
_TIMES_AROUND: Final = 16
"""Draws for each camera that is wanted; more where something stands around."""
_HIDDEN: Final = 0.2
"""Share of the looks at middles and tops of objects that a stage may hide."""


def poses_of(path: str, size: tuple[int, int]) -> tuple[dict[str, Any], ...]:
    """The cameras of a file or folder of poses, as rules have them.

    Args:
        path: As ``render`` reads it (:func:`.cameras.files.views_from_file`); world axes are the
            scene's: metres, +Z up, the middle of what objects stand on at the origin.
        size: Width and height of the pictures.

    Returns:
        ``pose`` (4, 4) world from camera, OpenGL axes, ``fov_deg`` of the longer side, and
        ``shift``, how far the principal point is right of and below the middle, in longer sides.

    Raises:
        CameraFileError: It cannot be read, or has a camera that composed scenes cannot have.
    """
    found = []
    longer = max(size)
    for view in views_from_file(path, size):
        camera, where = view.camera, f"Camera file {path}, camera {view.index}"
        (fx, _, cx), (_, fy, cy) = camera.intrinsics[0], camera.intrinsics[1]
        if camera.projection != "perspective" or abs(fx / fy - 1) > 1e-3:
            raise CameraFileError(
                f"{where}: composed scenes are seen by perspective cameras of square pixels.",
                hint="render takes the others.",
            )
        x, y, z = camera.camera_to_world[:3, 3].tolist()
        wall, floor, top = ROOM
        if max(abs(x), abs(y)) > wall - _FREE or not floor + _FREE < z < top + wall:
            raise CameraFileError(
                f"{where} stands at ({x:.2f}, {y:.2f}, {z:.2f}), which is not in the room: "
                f"{wall:g} m to each wall, from {floor:g} m up.",
                hint="Metres, +Z up, the origin in the middle of what objects stand on.",
            )
        found.append({
            "pose": camera.camera_to_world.tolist(),
            "fov_deg": math.degrees(2 * math.atan(longer / (2 * fx))),
            "shift": [(cx - size[0] / 2) / longer, (cy - size[1] / 2) / longer],
        })  # fmt: skip
    return tuple(found)


def cameras_of(
    rules: Rules, objects: Sequence[Floats], support: str, draws: Draws,
    around: Floats | None = None,
) -> list[dict[str, Any]]:
    """Cameras of a scene.

    Those that are drawn have all of the objects in the frame; those of a file stand where they
    stand, and are taken where they see the middle of an object and are in none.

    Args:
        objects: (N, 3) corners of each one's hull, scene axes.
        support: Kind of what they stand on.
        around: (M, 3, 3) triangles of a user's stage: what stands before a camera, or too near.

    Returns:
        As :func:`poses_of`, without ``shift`` where there is none; nothing where not as many can
        be found as are wanted.
    """
    if rules.cameras == "file":
        good = [
            one for one in draws.shuffled(rules.poses)
            if _usable(one, objects, rules.aspect) and _seen(np.array(one["pose"]), objects, around)
        ]
        return [dict(one) for one in good[: rules.images]] if len(good) >= rules.images else []
    points = np.concatenate(objects)
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    found: list[dict[str, Any]] = []
    for _ in range((_TIMES if around is None else _TIMES_AROUND) * rules.images):
        if len(found) == rules.images:
            break
        spread = rules.azimuth if rules.cameras == "box" else 180.0
        if support == "shelf":
            spread = min(spread, _SHELF)
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
        within = np.abs(pose[:2, 3]).max() < ROOM[0] - _FREE and far < 5.9
        if within and _seen(pose, objects, around):
            found.append({"pose": pose.tolist(), "fov_deg": fov})
    return found if len(found) == rules.images else []


def _seen(pose: Floats, objects: Sequence[Floats], around: Floats | None) -> bool:
    """Whether a camera keeps away from a stage, which hides no object from it altogether."""
    if around is None:
        return True
    place = pose[:3, 3]
    if distances(place[None], near(around, place[None], _FREE))[0] < _FREE:
        return False
    ends = np.concatenate([
        np.stack([(one.min(axis=0) + one.max(axis=0)) / 2, one[np.argmax(one[:, 2])]])
        for one in objects
    ])  # fmt: skip
    hidden = blocked(np.tile(place, (len(ends), 1)), ends, around).reshape(-1, 2)
    return not hidden.all(axis=1).any() and float(hidden.mean()) <= _HIDDEN


def nearest_to(pose: Floats, objects: Sequence[Floats]) -> float:
    """How far a camera is from the nearest of some objects' boxes, metres; 0 within one.

    Args:
        objects: (N, 3) corners of each, scene axes.
    """
    place = pose[:3, 3]
    ways = [
        np.linalg.norm(np.maximum(np.maximum(one.min(axis=0) - place, place - one.max(axis=0)), 0))
        for one in objects
    ]
    return float(min(ways))


def _usable(camera: Mapping[str, Any], objects: Sequence[Floats], aspect: float) -> bool:
    """Whether it is in no object, nor too near, and sees the middle of one."""
    pose = np.array(camera["pose"])
    if nearest_to(pose, objects) < _FREE:
        return False
    middles = np.array([(one.min(axis=0) + one.max(axis=0)) / 2 for one in objects])
    seen = (middles - pose[:3, 3]) @ pose[:3, :3]
    depth = -seen[:, 2]
    wide = 2 * math.tan(math.radians(camera["fov_deg"]) / 2)
    right, down = camera["shift"]
    across, along = (1.0, 1 / aspect) if aspect >= 1 else (aspect, 1.0)
    ahead = depth > 2 * CLIP
    x = seen[:, 0] / np.where(ahead, depth, 1) / wide + right
    y = -seen[:, 1] / np.where(ahead, depth, 1) / wide + down
    return bool((ahead & (np.abs(x) < across / 2) & (np.abs(y) < along / 2)).any())


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
