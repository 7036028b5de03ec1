"""Simulations: they belong to the scene that they came with, and are played or stopped there."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import bpy

from . import compat

__all__ = ["play", "simulate"]


def simulate(source: Any, objects: Sequence[Any], last: float) -> list[str]:
    """Simulate what the file holds no bake of, so that it is at each frame what it is after all
    those before, whichever are rendered.

    Args:
        source: The scene.
        objects: That came with the file.
        last: The last moment that is wanted, in the file's frames.

    Returns:
        Names of the objects.
    """
    bpy.context.window.scene = source
    end = math.ceil(last) + 1
    names = set[str]()
    world = source.rigidbody_world
    if world is not None and world.enabled and world.collection is not None:
        cache = world.point_cache
        if _unknown(cache, last):
            names |= {obj.name for obj in _falling(world)}
            # The operators that bake are not made for it; it is enough to have been there.
            for frame in range(cache.frame_start, min(cache.frame_end, end) + 1):
                source.frame_set(frame)
    for name, cache in _caches(objects):
        if _unknown(cache, last):
            # Nothing is written beside the file.
            cache.use_disk_cache = False
            cache.frame_end = min(cache.frame_end, end)
            with (
                bpy.context.temp_override(scene=source, point_cache=cache),
                contextlib.suppress(RuntimeError),
            ):
                bpy.ops.ptcache.bake(bake=True)
            if cache.is_baked:
                names.add(name)
    return sorted(names)


def _unknown(cache: Any, last: float) -> bool:
    """Whether it is still to be found out what a cache holds."""
    return not (cache.is_baked or cache.use_external or last <= cache.frame_start)


def _caches(objects: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for obj in objects:
        if obj.library is not None:
            continue
        for modifier in obj.modifiers:
            if modifier.type in ("CLOTH", "SOFT_BODY"):
                yield obj.name, modifier.point_cache
        for system in obj.particle_systems:
            if system.settings.type == "EMITTER":
                yield obj.name, system.point_cache


def _falling(world: Any) -> list[Any]:
    return [
        obj
        for obj in world.collection.all_objects
        if obj.rigid_body is not None and obj.rigid_body.type == "ACTIVE"
    ]


def play(source: Any, moments: Sequence[float]) -> Sequence[float] | None:
    """Let rigid bodies go where their own scene has them, with a key at each of some moments.

    Args:
        source: The scene, with the cache of its rigid body world if that was baked.
        moments: In the file's frames; at one alone they stand.

    Returns:
        The moments at which they are right; ``None`` where there are no bodies.
    """
    world = source.rigidbody_world
    if world is None or not world.enabled or world.collection is None:
        return None
    falling = _falling(world)
    if not falling:
        world.enabled = False
        return None
    if any(obj.library is not None for obj in falling):
        # What is linked takes no keys.
        moments = moments[:1]
    bpy.context.window.scene = source
    places = []
    for moment in moments:
        source.frame_set(math.floor(moment), subframe=moment - math.floor(moment))
        graph = bpy.context.evaluated_depsgraph_get()
        places.append([obj.evaluated_get(graph).matrix_world.copy() for obj in falling])
    world.enabled = False
    if len(moments) == 1:
        for obj, place in zip(falling, places[0], strict=True):
            obj.matrix_world = place
        return moments
    for obj in falling:
        obj.rotation_mode = "QUATERNION"
    for moment, those in zip(moments, places, strict=True):
        # Their parents may move.
        source.frame_set(math.floor(moment), subframe=moment - math.floor(moment))
        for obj, place in zip(falling, those, strict=True):
            before = obj.rotation_quaternion.copy()
            obj.matrix_world = place
            turn = obj.rotation_quaternion.copy()
            turn.make_compatible(before)
            obj.rotation_quaternion = turn
            for path in ("location", "rotation_quaternion", "scale"):
                obj.keyframe_insert(path, frame=moment)
    for obj in falling:
        data = obj.animation_data
        for curve in compat.curves_of(data.action, compat.slot_of(data)):
            for point in curve.keyframe_points:
                point.interpolation = "LINEAR"
    return moments
