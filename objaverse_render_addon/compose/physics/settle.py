"""Let things fall until they rest, in MuJoCo."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..layouts import Start
from ..record import Contact
from ..support import Ground
from .body import mass_of
from .pieces import engine

__all__ = ["Settled", "settle", "touching_of"]

Floats = npt.NDArray[np.float64]

STEP: Final = 0.003
LONGEST: Final = 6.0
"""Seconds of simulation."""
REST: Final = (0.005, 0.05)
"""Metres and radians a second, below which a thing is said to rest, …"""
STILL: Final = 0.25
"""… for so many seconds."""
FAST: Final = 8.0
"""Metres a second that nothing reaches that only falls."""
FRICTION: Final = (0.7, 0.01, 0.002)
_MEMORY: Final = 1 << 28
"""Bytes for contacts; what is not used is not taken."""


@dataclass(frozen=True)
class Settled:
    """How things came to rest.

    Attributes:
        poses: (N, 4, 4) world from object.
        contacts: Of each.
        touching: (N, 3) where two of them touch, world metres; by their ids, the lower first.
        reason: Why they did not; empty where they did.
        seconds: Of simulation.
    """

    poses: Floats
    contacts: tuple[tuple[Contact, ...], ...]
    touching: Mapping[tuple[int, int], Floats] = field(default_factory=dict)
    reason: str = ""
    seconds: float = 0.0


def settle(starts: Sequence[Start], ground: Ground) -> Settled:
    """Let things fall.

    Raises:
        MissingDependency: MuJoCo is not installed.
    """
    mujoco = engine("mujoco")
    model = _model(mujoco, starts, ground)
    data = mujoco.MjData(model)
    still, fastest = 0.0, 0.0
    reason = f"not at rest after {LONGEST:g} s"
    while data.time < LONGEST:
        try:
            mujoco.mj_step(model, data)
        except mujoco.FatalError:
            # Of a heap of vessels of hundreds of pieces.
            reason = "too many contacts"
            break
        speeds = np.abs(data.qvel.reshape(-1, 6))
        fastest = max(fastest, float(speeds[:, :3].max()))
        if not np.isfinite(fastest) or fastest > FAST:
            reason = "an object was thrown"
            break
        quiet = speeds[:, :3].max() < REST[0] and speeds[:, 3:].max() < REST[1]
        still = still + STEP if quiet else 0.0
        if still >= STILL:
            reason = ""
            break
    poses = []
    for place in range(len(starts)):
        pose = np.eye(4)
        rotation = np.empty(9)
        quaternion = data.qpos[7 * place + 3 : 7 * place + 7]
        mujoco.mju_quat2Mat(rotation, quaternion / np.linalg.norm(quaternion))
        pose[:3, :3] = rotation.reshape(3, 3)
        pose[:3, 3] = data.qpos[7 * place : 7 * place + 3]
        poses.append(pose)
    contacts, touching = _contacts(mujoco, model, data, len(starts))
    return Settled(np.array(poses), contacts, touching, reason, float(data.time))


def touching_of(starts: Sequence[Start], ground: Ground) -> dict[tuple[int, int], Floats]:
    """Where things touch that are where they start; as :attr:`Settled.touching`.

    Raises:
        MissingDependency: MuJoCo is not installed.
    """
    mujoco = engine("mujoco")
    model = _model(mujoco, starts, ground)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return _contacts(mujoco, model, data, len(starts))[1]


def _model(mujoco: Any, starts: Sequence[Start], ground: Ground) -> Any:
    spec = mujoco.MjSpec()
    spec.memory = _MEMORY
    spec.option.timestep = STEP
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    common = {"condim": 6, "friction": list(FRICTION), "solref": [0.01, 1.0]}
    for block in ground.blocks:
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX, size=list(block.half), pos=list(block.middle), **common
        )
    meshes: dict[tuple[int, int], str] = {}
    for place, start in enumerate(starts):
        pose, thing = start.pose, start.thing
        quaternion = np.empty(4)
        mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(pose[:3, :3]).ravel())
        body = spec.worldbody.add_body(pos=pose[:3, 3].tolist(), quat=quaternion.tolist())
        body.add_freejoint()
        mass, center, inertia = mass_of(thing.solid, thing.density)
        body.explicitinertial = 1
        body.mass, body.ipos = mass, center.tolist()
        body.fullinertia = [
            inertia[0, 0], inertia[1, 1], inertia[2, 2], inertia[0, 1], inertia[0, 2],
            inertia[1, 2],
        ]  # fmt: skip
        pieces = thing.pieces
        if pieces.ball is not None:
            middle, radius = pieces.ball
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[radius, 0, 0],
                          pos=list(middle), **common)  # fmt: skip
            continue
        for number, hull in enumerate(pieces.hulls):
            key = place, number
            name = meshes.setdefault(key, f"piece-{place}-{number}")
            mesh = spec.add_mesh(name=name)
            mesh.uservert = hull.ravel().tolist()
            mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, mass=0.0, **common)
    return spec.compile()


def _contacts(mujoco: Any, model: Any, data: Any, count: int) -> tuple[
    tuple[tuple[Contact, ...], ...], dict[tuple[int, int], Floats]
]:  # fmt: skip
    """Who holds whom, by the forces at rest."""
    forces: list[dict[int, Floats]] = [{} for _ in range(count)]
    places: dict[tuple[int, int], list[Floats]] = {}
    for number in range(data.ncon):
        contact = data.contact[number]
        force = np.zeros(6)
        mujoco.mj_contactForce(model, data, number, force)
        frame = np.array(contact.frame).reshape(3, 3)
        world = frame.T @ force[:3]
        first, second = (int(model.geom_bodyid[geom]) for geom in contact.geom)
        places.setdefault((min(first, second), max(first, second)), []).append(
            np.array(contact.pos)
        )
        # MuJoCo's is what the first does to the second; bodies count from 1, the world is 0.
        for here, other, felt in ((second, first, world), (first, second, -world)):
            if here:
                known = forces[here - 1].get(other, np.zeros(3))
                forces[here - 1][other] = known + felt
    found = []
    for of_one in forces:
        total = math.fsum(max(float(felt[2]), 0.0) for felt in of_one.values()) or 1.0
        contacts = []
        for other, felt in sorted(of_one.items()):
            size = float(np.linalg.norm(felt))
            if size < 1e-5:
                continue
            x, y, z = (round(value, 4) for value in (felt / size).tolist())
            contacts.append(
                Contact(other, (x, y, z), round(max(float(felt[2]), 0.0) / total, 4))
            )
        found.append(tuple(contacts))
    return tuple(found), {pair: np.array(some) for pair, some in places.items()}
