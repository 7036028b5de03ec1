"""Bodies under affine maps that are known at each frame, made by code, and cameras around them.

Every body is a box under an affine map that is known at each frame, also those that a shape key or
an armature moves, so that where a point goes, and what hides it, can be worked out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from objaverse_render_addon.cameras import Camera, View
from objaverse_render_addon.frame import Frame, Shot, linked

from . import scenes

LAST = 13
PASSES = [
    "mask", "position", "object_index", "instance_index", "flow_forward", "flow_backward",
    "occlusion_forward", "occlusion_backward", "scene_flow",
]  # fmt: skip


@dataclass(frozen=True)
class Body:
    """A box (which may be flat) under a map that is known at each frame."""

    name: str
    low: Any
    high: Any
    at: Any

    def blocks(self, eye: Any, points: Any, frame: int) -> Any:
        """Whether it is between an eye (or eyes) and each point, but for a hair before that."""
        inverse = np.linalg.inv(self.at(frame))
        start = eye @ inverse[:3, :3].T + inverse[:3, 3]
        way = points @ inverse[:3, :3].T + inverse[:3, 3] - start
        with np.errstate(divide="ignore", invalid="ignore"):
            one, other = (self.low - start) / way, (self.high - start) / way
        near, far = np.fmin(one, other).max(axis=1), np.fmax(one, other).min(axis=1)
        return (near <= far + 1e-12) & (near > 0) & (near < 1 - 1e-4)


def cube_at(frame: int) -> Any:
    t = frame - 1
    size = scenes.scaled(1 + 0.03 * t, 1.0, 1 - 0.02 * t)
    turned = scenes.rotation(4.0 * t, -3.0 * t, 7.0 * t)
    return scenes.moved(-0.8 + 0.12 * t, 0.2 - 0.05 * t, 0.3 + 0.02 * t) @ turned @ size


SHEAR = np.array([[0.3, 0.5, 0, 0.4], [-0.2, 0.4, 0, -0.3], [0.2, 0.1, 0, 0.15], [0, 0, 0, 0]])
SHEET = scenes.moved(0.3, -1.2, -0.5)


def sheet_at(frame: int) -> Any:
    return SHEET @ (np.eye(4) + (frame - 1) / (LAST - 1) * SHEAR)


PIVOT = scenes.moved(1.2, 0.9, -0.2)


def plate_at(frame: int) -> Any:
    """Half of one bone that stays, half of one that turns about its head."""
    turn = scenes.rotation(z=5.0 * (frame - 1))
    return PIVOT @ (0.5 * np.eye(4) + 0.5 * turn)


def still(_: int) -> Any:
    return np.eye(4)


BODIES = [
    Body("Cube", np.full(3, -0.5), np.full(3, 0.5), cube_at),
    Body("Ground", np.array([-4, -4, -1.2]), np.array([4, 4, -1.2]), still),
    Body("Plate", np.array([-0.9, -0.3, 0.0]), np.array([0.9, 0.3, 0.25]), plate_at),
    Body("Sheet", np.array([-1, -1, 0]), np.array([1, 1, 0]), sheet_at),
]


def key_matrix(obj: Any, at: Any) -> None:
    from mathutils import Matrix

    obj.rotation_mode = "QUATERNION"
    for frame in range(1, LAST + 1):
        obj.matrix_basis = Matrix(at(frame).tolist())
        for path in ("location", "rotation_quaternion", "scale"):
            obj.keyframe_insert(path, frame=frame)


def grid(low: Any, high: Any, steps: int) -> tuple[Any, list[tuple[int, ...]]]:
    """A box's sides (or the one of a flat box) in quads."""
    if low[2] == high[2]:
        side = np.linspace(0, 1, steps + 1)
        points = [[low[0] + u * (high[0] - low[0]), low[1] + v * (high[1] - low[1]), low[2]]
                  for v in side for u in side]  # fmt: skip
        row = steps + 1
        faces = [(y * row + x, y * row + x + 1, (y + 1) * row + x + 1, (y + 1) * row + x)
                 for y in range(steps) for x in range(steps)]  # fmt: skip
        return np.array(points), faces
    return scenes.CUBE_VERTICES * (high - low) + (high + low) / 2, list(scenes.CUBE_FACES)


def write_bodies(path: Path) -> Path:
    """All of them, as a .blend file."""
    import bpy

    cube, ground, plate, sheet = BODIES
    with scenes.new_blend(path) as scene:
        key_matrix(scenes.add_mesh(*grid(cube.low, cube.high, 1), name="Cube"), cube_at)
        scenes.add_mesh(*grid(ground.low, ground.high, 1), name="Ground")
        points, faces = grid(sheet.low, sheet.high, 6)
        flat = scenes.add_mesh(points, faces, name="Sheet", matrix=SHEET)
        flat.shape_key_add(name="Basis")
        key = flat.shape_key_add(name="Sheared")
        for item, point in zip(key.data, points, strict=True):
            item.co = point + SHEAR[:3, :3] @ point + SHEAR[:3, 3]
        for frame in range(1, LAST + 1):
            key.value = (frame - 1) / (LAST - 1)
            key.keyframe_insert("value", frame=frame)
        skinned = scenes.add_mesh(*grid(plate.low, plate.high, 1), name="Plate", matrix=PIVOT)
        rig = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
        scene.collection.objects.link(rig)
        rig.matrix_basis = skinned.matrix_basis.copy()
        bpy.context.view_layer.objects.active = rig
        bpy.ops.object.mode_set(mode="EDIT")
        for name in ("Stays", "Turns"):
            bone = rig.data.edit_bones.new(name)
            bone.head, bone.tail = (0, 0, 0), (0, 0, 1)
        bpy.ops.object.mode_set(mode="OBJECT")
        skinned.modifiers.new("Armature", "ARMATURE").object = rig
        for name in ("Stays", "Turns"):
            skinned.vertex_groups.new(name=name).add(range(8), 0.5, "REPLACE")
        bone = rig.pose.bones["Turns"]
        bone.rotation_mode = "XYZ"
        for frame in range(1, LAST + 1):
            # The bone points up, so that it turns about its own Y.
            bone.rotation_euler = (0, math.radians(5.0 * (frame - 1)), 0)
            bone.keyframe_insert("rotation_euler", frame=frame)
    return path


def orbiting(frame: int) -> Any:
    angle = math.radians(-100 + 2.5 * frame)
    return scenes.look_at((6 * math.cos(angle), 6 * math.sin(angle), 4 + 0.1 * frame), (0.2, 0, 0))


def standing(_: int) -> Any:
    return scenes.look_at((0.8, -5.5, 4.5), (0.2, 0, 0), roll=10)


def shots_of(session: Any, pose: Any, lens: dict[str, float]) -> list[Shot]:
    """One view through all frames, along a path of which the job itself knows nothing."""
    stage = session.stage
    size = int(lens["w"]), int(lens["h"])
    k = np.array([[lens["fl_x"], 0, lens["cx"]], [0, lens["fl_y"], lens["cy"]], [0, 0, 1]])
    return linked(
        [Shot(View(0, Camera(*size, k, pose(frame))), frame) for frame in stage.timeline.frames],
        stage.timeline,
    )


@contextmanager
def opened(
    path: Path, lens: dict[str, float], frames: str, pose: Any, **values: Any
) -> Iterator[tuple[Any, list[Frame]]]:
    from objaverse_render_addon.blender import pipeline

    cameras = scenes.camera_file(path.parent / "cameras.json", [pose(1)], lens)
    values = {"asset.normalize": "none", "pixels.passes": PASSES, "time.frames": frames,
              **cameras, **values}  # fmt: skip
    session = scenes.open_scene(path, scenes.make_job(values))
    shots = shots_of(session, pose, lens)
    yield session, list(pipeline.frames(session.renderer, shots))
    assert list(session.renderer.scratch.iterdir()) == []


def where(bodies: list[Body], frame: Frame, names: dict[int, str], time: int) -> Any:
    """(M, 3) where the points that a frame's pixels show are at another time."""
    seen = frame.passes["mask"] == 1
    points = frame.passes["position"][seen].astype(np.float64)
    objects = frame.passes["object_index"][seen]
    then = np.full(points.shape, np.nan)
    for body in bodies:
        mine = np.isin(objects, [number for number, name in names.items() if name == body.name])
        step = body.at(time) @ np.linalg.inv(body.at(frame.time))
        then[mine] = points[mine] @ step[:3, :3].T + step[:3, 3]
    assert np.isfinite(then).all()
    return points, then
