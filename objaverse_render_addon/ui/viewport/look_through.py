"""The scene's camera in the place of a view, and everything back again."""

from __future__ import annotations

from typing import Any

import bpy

from ...blender import user_scene
from . import preview

__all__ = ["look", "stop"]

LOOK_CAMERA = "Objaverse Look"
_LOOK_RECORD = "objaverse_look"

# Where each viewport stood before it looked through a view.
_eyes: dict[int, tuple[str, Any]] = {}


def look(context: bpy.types.Context, state: preview.RigState) -> None:
    """Look through the current view, in the shape of its picture."""
    scene, render = context.scene, context.scene.render
    if _LOOK_RECORD not in scene:
        scene[_LOOK_RECORD] = {
            # The camera itself, for it may get another name.
            **({"camera": scene.camera} if scene.camera else {}),
            "size": [render.resolution_x, render.resolution_y, render.resolution_percentage],
            "aspect": [render.pixel_aspect_x, render.pixel_aspect_y],
        }
    camera = bpy.data.objects.get(LOOK_CAMERA)
    if camera is None:
        lens_data = bpy.data.cameras.get(LOOK_CAMERA) or bpy.data.cameras.new(LOOK_CAMERA)
        camera = bpy.data.objects.new(LOOK_CAMERA, lens_data)
    if camera.name not in scene.collection.objects:
        scene.collection.objects.link(camera)
    view = state.views[scene.objaverse.current_view]
    user_scene.place_camera(camera, view.camera, state.to_world)
    lens = user_scene.blender_lens(view.camera)
    render.resolution_x, render.resolution_y = view.camera.width, view.camera.height
    render.resolution_percentage = 100
    render.pixel_aspect_x, render.pixel_aspect_y = lens["pixel_aspect_x"], lens["pixel_aspect_y"]
    scene.camera = camera
    for area in _viewports(context):
        eye = area.spaces.active.region_3d
        if eye.view_perspective != "CAMERA":
            # Blender turns the viewport's own rotation with the camera.
            where = eye.view_location.copy(), eye.view_rotation.copy(), eye.view_distance
            _eyes[area.as_pointer()] = eye.view_perspective, where
            eye.view_perspective = "CAMERA"


def stop(context: bpy.types.Context) -> None:
    """Put camera, resolution and viewports back as they were."""
    scene, render = context.scene, context.scene.render
    if _LOOK_RECORD not in scene:
        return
    record = scene[_LOOK_RECORD].to_dict()
    del scene[_LOOK_RECORD]
    render.resolution_x, render.resolution_y, render.resolution_percentage = record["size"]
    render.pixel_aspect_x, render.pixel_aspect_y = record["aspect"]
    scene.camera = record.get("camera")
    for blocks in (bpy.data.objects, bpy.data.cameras):
        if LOOK_CAMERA in blocks:
            blocks.remove(blocks[LOOK_CAMERA])
    for area in _viewports(context):
        eye = area.spaces.active.region_3d
        if eye.view_perspective == "CAMERA":
            eye.view_perspective, where = _eyes.get(area.as_pointer(), ("PERSP", None))
            if where is not None:
                eye.view_location, eye.view_rotation, eye.view_distance = where
    _eyes.clear()


def _viewports(context: bpy.types.Context) -> list[Any]:
    """The viewport that was clicked in, else all of them."""
    if context.area is not None and context.area.type == "VIEW_3D":
        return [context.area]
    return [a for a in context.screen.areas if a.type == "VIEW_3D"] if context.screen else []
