"""Rigid bodies: their world belongs to the scene that they came with, and stays there."""

from __future__ import annotations

from typing import Any

import bpy

__all__ = ["rest"]


def rest(source: Any, frame: int) -> bool:
    """Let rigid bodies stand where their own scene has them at an animation frame.

    Args:
        source: The scene, with the cache of its rigid body world if that was baked.

    Returns:
        Whether there are any.
    """
    world = source.rigidbody_world
    if world is None or not world.enabled or world.collection is None:
        return False
    falling = [
        obj
        for obj in world.collection.all_objects
        if obj.rigid_body is not None and obj.rigid_body.type == "ACTIVE"
    ]
    bpy.context.window.scene = source
    source.frame_set(frame)
    graph = bpy.context.evaluated_depsgraph_get()
    places = [obj.evaluated_get(graph).matrix_world.copy() for obj in falling]
    world.enabled = False
    for obj, place in zip(falling, places, strict=True):
        obj.matrix_world = place
    return bool(falling)
