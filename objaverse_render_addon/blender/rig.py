"""Skeletons of an asset at every frame, and how its meshes hang on them, as ``rig.npz``."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .asset import Asset
from .stage import Stage

__all__ = ["FILE", "rig_of"]

FILE = "rig.npz"
Floats = npt.NDArray[np.float64]


class _Skeleton:
    """An armature: its object is the first joint, which holds what hangs on no bone."""

    def __init__(self, armature: Any, first: int) -> None:
        self.armature = armature
        self.bones = list(armature.data.bones)
        self.first = first
        place = {bone.name: first + number for number, bone in enumerate(self.bones, 1)}
        self.place = place
        self.names = [armature.name, *(f"{armature.name}/{bone.name}" for bone in self.bones)]
        self.parents = [-1] + [
            place[bone.parent.name] if bone.parent is not None else first for bone in self.bones
        ]
        self.local_rest = np.array(
            [np.eye(4), *(np.array(bone.matrix_local) for bone in self.bones)], np.float64
        )

    def local_pose(self, graph: Any) -> tuple[Floats, Floats]:
        """(4, 4) of the object in the world, and (J, 4, 4) of its joints in the object."""
        evaluated = self.armature.evaluated_get(graph)
        joints = [np.eye(4)] + [
            np.array(evaluated.pose.bones[bone.name].matrix) for bone in self.bones
        ]
        return np.array(evaluated.matrix_world, np.float64), np.array(joints, np.float64)


def rig_of(stage: Stage, asset: Asset, frames: Sequence[int]) -> bytes | None:
    """The file's content; ``None`` where there is no armature.

    Holds ``names`` (J,), ``parents`` (J,) int32 (-1 has none), ``rest`` (J, 4, 4) and ``pose``
    (T, J, 4, 4) float32, joint to world in scene units, ``frames`` (T,); and of each skinned mesh
    ``mesh_NN_name``, ``mesh_NN_vertices`` (V, 3) float32 in the world at rest,
    ``mesh_NN_triangles`` (F, 3) int32, ``mesh_NN_joints`` (V, K) int32 and ``mesh_NN_weights``
    (V, K) float32, which sum to one, before shape keys and other modifiers. A vertex is, at frame
    t, at the sum of ``weight * pose[t, joint] @ inv(rest[joint]) @ vertex``.
    """
    skeletons: list[_Skeleton] = []
    count = 0
    for obj in sorted(asset.contents["objects"], key=lambda item: item.name_full):
        if obj.type == "ARMATURE":
            skeletons.append(_Skeleton(obj, count))
            count += len(skeletons[-1].names)
    if not skeletons:
        return None
    shown, poses = stage.frame, []
    instance = asset.normalization.handle if asset.normalization.parts is not None else None
    above = np.array(instance.matrix_world, np.float64) if instance is not None else np.eye(4)
    objects: list[Floats] = []
    for frame in frames:
        if frame != stage.frame:
            stage.set_time(frame)
        found = stage.see(lambda graph: [each.local_pose(graph) for each in skeletons])
        poses.append(np.concatenate([above @ place @ joints for place, joints in found]))
        if not objects:
            objects = [above @ place for place, _ in found]
    if shown != stage.frame:
        stage.set_time(shown)
    rest = np.concatenate(
        [place @ each.local_rest for place, each in zip(objects, skeletons, strict=True)]
    )
    data: dict[str, Any] = {
        "names": np.array([name for each in skeletons for name in each.names]),
        "parents": np.array([n for each in skeletons for n in each.parents], np.int32),
        "rest": rest.astype(np.float32),
        "pose": np.array(poses).astype(np.float32),
        "frames": np.array(list(frames), np.int32),
    }
    number = 0
    for obj in sorted(asset.contents["objects"], key=lambda item: item.name_full):
        for each, place in zip(skeletons, objects, strict=True):
            if obj.type == "MESH" and _hangs_on(obj, each.armature):
                for name, value in _skin(obj, each, place).items():
                    data[f"mesh_{number:02d}_{name}"] = value
                number += 1
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **data)
    return buffer.getvalue()


def _hangs_on(obj: Any, armature: Any) -> bool:
    return any(
        modifier.type == "ARMATURE" and modifier.object == armature for modifier in obj.modifiers
    )


def _skin(obj: Any, skeleton: _Skeleton, place: Floats) -> dict[str, Any]:
    mesh = obj.data
    count = len(mesh.vertices)
    points = np.empty(count * 3, np.float32)
    mesh.vertices.foreach_get("co", points)
    # In the armature's axes, where a parented mesh stays.
    bind = np.array((skeleton.armature.matrix_world.inverted_safe() @ obj.matrix_world), np.float64)
    local = points.reshape(-1, 3) @ bind[:3, :3].T + bind[:3, 3]
    joint_of = {
        group.index: skeleton.place[group.name]
        for group in obj.vertex_groups
        if group.name in skeleton.place
        and skeleton.armature.data.bones[group.name].use_deform
    }
    held = [
        [(joint_of[item.group], item.weight) for item in vertex.groups
         if item.group in joint_of and item.weight > 0]
        for vertex in mesh.vertices
    ]  # fmt: skip
    most = max(1, max((len(some) for some in held), default=1))
    joints = np.full((count, most), skeleton.first, np.int32)
    weights = np.zeros((count, most))
    for index, some in enumerate(held):
        for column, (joint, weight) in enumerate(some):
            joints[index, column], weights[index, column] = joint, weight
    total = weights.sum(axis=1, keepdims=True)
    loose = total[:, 0] <= 0
    weights[loose, 0] = 1.0
    weights[~loose] /= total[~loose]
    triangles = np.empty(len(mesh.loop_triangles) * 3, np.int32)
    mesh.loop_triangles.foreach_get("vertices", triangles)
    return {
        "name": np.array(obj.name),
        "vertices": (local @ place[:3, :3].T + place[:3, 3]).astype(np.float32),
        "triangles": triangles.reshape(-1, 3),
        "joints": joints,
        "weights": weights.astype(np.float32),
    }
