"""Boxes that move in ways with a closed form, made by code."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from . import scenes

BOX = (np.array([-0.5, -0.4, -0.3]), np.array([0.5, 0.4, 0.3]))
LENGTH = 9
"""Frames 1 to 9; everything moves evenly."""


def share(moment: float) -> float:
    return (moment - 1) / (LENGTH - 1)


def placed(kind: str, moment: float) -> Any:
    """(4, 4) where the box of a kind is at a moment."""
    if kind == "rotating":
        return scenes.rotation(z=90 * share(moment))
    return scenes.moved(2 * share(moment), 0.5 * share(moment), 0)


def _keys(block: Any, path: str, first: Any, last: Any) -> None:
    from objaverse_render_addon.blender import compat

    for frame, value in ((1, first), (LENGTH, last)):
        holder, _, name = path.rpartition(".")
        setattr(block.path_resolve(holder) if holder else block, name, value)
        block.keyframe_insert(path, frame=frame)
    for curve in compat._curves(block.animation_data.action):
        for point in curve.keyframe_points:
            point.interpolation = "LINEAR"


def _corners() -> Any:
    low, high = BOX
    corners = [[(low, high)[i][0], (low, high)[j][1], (low, high)[k][2]]
               for i in (0, 1) for j in (0, 1) for k in (0, 1)]  # fmt: skip
    return np.array(corners)


def add_box(kind: str) -> Any:
    """A box that is ``translating``, ``rotating``, ``skinned``, ``morphed`` or ``still``."""
    import bpy

    box = scenes.add_mesh(_corners(), scenes.CUBE_FACES, name="Box")
    if kind == "translating":
        _keys(box, "location", (0, 0, 0), (2, 0.5, 0))
    elif kind == "rotating":
        _keys(box, "rotation_euler", (0, 0, 0), (0, 0, math.radians(90)))
    elif kind == "morphed":
        box.shape_key_add(name="Basis")
        key = box.shape_key_add(name="Moved")
        for point in key.data:
            point.co = (point.co[0] + 2, point.co[1] + 0.5, point.co[2])
        _keys(box.data.shape_keys, 'key_blocks["Moved"].value', 0.0, 1.0)
    elif kind == "driven":
        curve = box.driver_add("location", 0)
        curve.driver.expression = f"2 * (frame - 1) / {LENGTH - 1}"
        curve = box.driver_add("location", 1)
        curve.driver.expression = f"0.5 * (frame - 1) / {LENGTH - 1}"
    elif kind == "skinned":
        data = bpy.data.armatures.new("Rig")
        rig = bpy.data.objects.new("Rig", data)
        bpy.context.scene.collection.objects.link(rig)
        bpy.context.view_layer.objects.active = rig
        bpy.ops.object.mode_set(mode="EDIT")
        bone = data.edit_bones.new("Bone")
        # Along Z, with no roll, its axes are the world's but for their order.
        bone.head, bone.tail = (0, 0, 0), (0, 0, 1)
        bpy.ops.object.mode_set(mode="OBJECT")
        box.vertex_groups.new(name="Bone").add(range(8), 1.0, "REPLACE")
        box.modifiers.new("Rig", "ARMATURE").object = rig
        box.parent = rig
        turn = np.array(data.bones["Bone"].matrix_local)[:3, :3]
        _keys(rig, 'pose.bones["Bone"].location', (0, 0, 0), tuple(turn.T @ [2, 0.5, 0]))
    return box


def write(path: Path, kind: str, also: Callable[[Any], None] = lambda _: None) -> Path:
    """A file with a box, in the format of its name."""
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    scene = bpy.context.scene
    # Importers count in 24 frames a second.
    scene.frame_start, scene.frame_end, scene.render.fps = 1, LENGTH, 24
    add_box(kind)
    also(scene)
    name = str(path)
    if path.suffix == ".blend":
        bpy.ops.wm.save_as_mainfile(filepath=name, check_existing=False)
    elif path.suffix == ".glb":
        # At one second is frame 24: shifted, the animation begins at frame 0.
        bpy.ops.export_scene.gltf(
            filepath=name, export_format="GLB", export_negative_frame="CROP"
        )
    elif path.suffix == ".fbx":
        with warnings.catch_warnings():
            # The exporter sets the shape of arrays, which NumPy will not have for long.
            warnings.simplefilter("ignore", DeprecationWarning)
            bpy.ops.export_scene.fbx(filepath=name, bake_anim_simplify_factor=0)
    elif path.suffix == ".usdc":
        bpy.ops.wm.usd_export(filepath=name, export_animation=True)
    elif path.suffix == ".abc":
        bpy.ops.wm.alembic_export(filepath=name, start=1, end=LENGTH)
    elif path.suffix == ".dae":
        bpy.ops.wm.collada_export(filepath=name)
    return path
