"""Whether a settled scene is what it says: from poses and true meshes, and by a second engine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..layouts import Start
from ..support import Ground, inside
from .body import depth_inside, distances, mass_of, near
from .pieces import engine
from .settle import FRICTION, Settled

__all__ = ["refusal"]

Floats = npt.NDArray[np.float64]

OVERLAP: Final = 0.0005
HOVER: Final = 0.001
"""Metres between what holds and what is held, that nobody sees."""
MOVED: Final = (0.005, 3.0, 8.0)
"""Metres, and degrees of tilt and of any turn, in one second of the second engine."""
_BELOW: Final = 0.05
_DEEP: Final = 0.005
"""Metres: far too deep."""
_SECOND: Final = 1.0
_THIN: Final = 0.003
_STEP: Final = 1 / 240
_LOOKS: Final = 4
"""Times within the second at which nothing may have moved."""


def refusal(
    starts: Sequence[Start], settled: Settled, ground: Ground, *, second: bool = True
) -> str:
    """Why a scene is not taken; nothing where it is.

    Args:
        second: Whether the second engine is asked, too.

    Raises:
        MissingDependency: The second engine is not installed.
    """
    if settled.reason:
        return settled.reason
    poses = settled.poses
    for start, pose in zip(starts, poses, strict=True):
        middle = pose[:3, :3] @ (0, 0, start.thing.height / 2) + pose[:3, 3]
        if middle[2] < -_BELOW or not inside(ground, float(middle[0]), float(middle[1])):
            return "an object left the support"
    surfaces = [_Surface(start, pose) for start, pose in zip(starts, poses, strict=True)]
    # What costs least comes first: most draws are refused.
    if any(_in_ground(one, ground) for one in surfaces):
        return "an object is in the support"
    if ground.whole and any(_reaches_out(one, ground) for one in surfaces):
        return "an object reaches into what stands around"
    held = _held(settled, surfaces, ground)
    if held:
        return held
    for place, one in enumerate(surfaces):
        if any(_overlap(one, other) for other in surfaces[:place]):
            return "objects overlap"
    return _second(starts, poses, ground) if second else ""


class _Surface:
    """A thing's surface where it lies."""

    def __init__(self, start: Start, pose: Floats) -> None:
        self._thing, self._turn, self._way = start.thing, pose[:3, :3].T, pose[:3, 3]
        self.vertices: Floats = start.thing.solid.vertices @ self._turn + self._way
        self.low: Floats = self.vertices.min(axis=0)
        self.high: Floats = self.vertices.max(axis=0)

    @cached_property
    def points(self) -> Floats:
        """(N, 3) that are held against others' surfaces."""
        return np.asarray(self._thing.samples @ self._turn + self._way)

    @cached_property
    def corners(self) -> Floats:
        """(M, 3, 3) of its triangles."""
        return np.asarray(self.vertices[self._thing.solid.triangles])


def _in_ground(one: _Surface, ground: Ground) -> bool:
    if one.low[2] < -OVERLAP:
        return True
    for block in ground.blocks[1:]:
        middle, half = np.array(block.middle), np.array(block.half)
        if (one.low > middle + half).any() or (one.high < middle - half).any():
            continue
        if (half - np.abs(one.points - middle)).min(axis=1).max() > OVERLAP:
            return True
    return False


def _reaches_out(one: _Surface, ground: Ground) -> bool:
    side = np.array(ground.half)
    return bool((one.low[:2] < -side).any() or (one.high[:2] > side).any())


def _overlap(one: _Surface, other: _Surface) -> bool:
    if (one.low > other.high).any() or (other.low > one.high).any():
        return False
    return any(
        depth_inside(a.points, b.corners, _DEEP) > OVERLAP for a, b in ((one, other), (other, one))
    )


def _held(settled: Settled, surfaces: Sequence[_Surface], ground: Ground) -> str:
    """Why something is not held up by what touches it."""
    reached = {0}
    while True:
        more = {
            place + 1 for place, contacts in enumerate(settled.contacts)
            if any(one.id in reached and one.share > 0 for one in contacts)
        } - reached  # fmt: skip
        if not more:
            break
        reached |= more
    if len(reached) <= len(surfaces):
        return "an object is held by nothing"
    for place, contacts in enumerate(settled.contacts):
        for one in contacts:
            if one.share < 0.05:
                continue
            if one.id == 0:
                gap = min(_to_block(surfaces[place].vertices, block.middle, block.half)
                          for block in ground.blocks)  # fmt: skip
                if gap > HOVER:
                    # It may lie with an edge on one of a block.
                    gap = min(_to_block(surfaces[place].points, block.middle, block.half)
                              for block in ground.blocks)  # fmt: skip
            else:
                pair = min(place + 1, one.id), max(place + 1, one.id)
                if pair not in settled.touching:
                    return "an object hovers"
                places = settled.touching[pair]
                mine, theirs = (
                    distances(places, near(surfaces[number].corners, places, HOVER))
                    for number in (place, one.id - 1)
                )
                gap = float(np.min(mine + theirs))
            if gap > HOVER:
                return "an object hovers"
    return ""


def _to_block(points: Floats, middle: Sequence[float], half: Sequence[float]) -> float:
    outside = np.maximum(np.abs(points - middle) - half, 0)
    return float(np.min(np.linalg.norm(outside, axis=1)))


def _thinned(hull: Floats) -> Floats:
    """Corners of a solid, the outermost first, none nearer to another than :data:`_THIN`.

    On the many small faces of a rounded edge Rapier's solids creep, up to 2 cm in a second.
    """
    kept: list[Floats] = []
    for point in hull[np.argsort(-np.linalg.norm(hull - hull.mean(axis=0), axis=1), kind="stable")]:
        if not kept or np.linalg.norm(np.array(kept) - point, axis=1).min() > _THIN:
            kept.append(point)
    return np.array(kept)


def _isometry(rapier: Any, pose: Floats) -> Any:
    """Rapier's own, from a matrix; its rotation by the axis times the angle."""
    turn = pose[:3, :3]
    angle = float(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    if angle > np.pi - 1e-4:
        # Of nearly half a turn the axis is in the symmetric part alone.
        values, vectors = np.linalg.eigh((turn + turn.T) / 2)
        axis = vectors[:, int(np.argmax(values))]
    else:
        axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0],
                         turn[1, 0] - turn[0, 1]]) / max(2 * np.sin(angle), 1e-12)  # fmt: skip
    turned = rapier.Rotation3.from_scaled_axis((angle * axis).tolist())
    return rapier.Isometry3(pose[:3, 3].tolist(), turned)


def _mass(rapier: Any, start: Start) -> Any:
    """Of the true mesh, as the first engine has it."""
    mass, center, inertia = mass_of(start.thing.solid, start.thing.density)
    moments, axes = np.linalg.eigh(inertia)
    if np.linalg.det(axes) < 0:
        axes[:, 0] *= -1
    turn = np.eye(4)
    turn[:3, :3] = axes
    return rapier.MassProperties(
        center.tolist(), mass, moments.tolist(), _isometry(rapier, turn).rotation
    )


def _second(starts: Sequence[Start], poses: Floats, ground: Ground) -> str:
    """Why Rapier does not leave things where they are."""
    rapier = engine("rapier3d")
    world = rapier.PhysicsWorld(gravity=(0.0, 0.0, -9.81))
    world.integration_parameters.dt = _STEP
    # Of the size of things here, not of a man: it decides how far they may sink in.
    world.integration_parameters.length_unit = 0.01
    # With it small compounds creep and never sleep.
    world.integration_parameters.contact_clustering = False
    for block in ground.blocks:
        world.add_collider(
            rapier.Collider.cuboid(*block.half).translation(block.middle)
            .friction(FRICTION[0])
        )  # fmt: skip
    handles = []
    for start, pose in zip(starts, poses, strict=True):
        body = rapier.RigidBody.dynamic().position(_isometry(rapier, pose))
        # Pieces are thicker than the walls that they stand for, and so are their masses.
        body = body.additional_mass_properties(_mass(rapier, start))
        handle = world.add_body(body)
        handles.append(handle)
        pieces = start.thing.pieces
        if pieces.ball is not None:
            shapes = [rapier.Collider.ball(pieces.ball[1]).translation(pieces.ball[0])]
        else:
            hulls = pieces.hulls if len(pieces.hulls) > 1 else (_thinned(pieces.hulls[0]),)
            shapes = [rapier.Collider.convex_hull(hull.astype(np.float32)) for hull in hulls]
        for shape in shapes:
            world.add_collider(
                shape.density(0.0).friction(FRICTION[0]), handle
            )
    # Most of what moves has done so long before the second is over.
    for _ in range(_LOOKS):
        for _ in range(round(_SECOND / _STEP / _LOOKS)):
            world.step()
        if _has_moved(rapier, world, handles, starts, poses):
            return "the second engine moves it"
    return ""


def _has_moved(
    rapier: Any, world: Any, handles: Sequence[Any], starts: Sequence[Start], poses: Floats
) -> bool:
    for handle, start, pose in zip(handles, starts, poses, strict=True):
        now = world.rigid_bodies[handle].position
        there = np.array([now.translation.x, now.translation.y, now.translation.z])
        moved = float(np.linalg.norm(there - pose[:3, 3]))
        turn = _isometry(rapier, pose).inverse() * now
        # A turn about the vertical, of what is round most of all, changes nothing that is said.
        before = pose[2, :3]
        up = turn.rotation.transform_vector(before.tolist())
        tilt = np.degrees(np.arccos(np.clip(np.dot([up.x, up.y, up.z], before), -1, 1)))
        spin = np.degrees(abs(turn.rotation.angle))
        if start.thing.pieces.ball is not None:
            tilt = spin = 0.0
        # What is round about a lying axis turns in place: here is no friction of rolling.
        allowed = MOVED[2] if start.thing.rolls else MOVED[1]
        if moved > MOVED[0] or tilt > allowed or spin > MOVED[2]:
            return True
    return False
