"""The scene's camera in the place of a view, and everything back again."""

from __future__ import annotations

import math
from typing import Any, Final

import bpy

from ...blender import user_scene
from ...cameras import blender_lens
from .. import properties
from ..widgets import areas, overlapped, redraw
from . import preview

__all__ = [
    "caption", "follow", "is_looking", "look", "looks", "register", "step", "stop", "unregister",
]  # fmt: skip

LOOK_CAMERA = "Objaverse Look"
_LOOK_RECORD = "objaverse_look"
_DELAY = 0.02  # seconds
_GLANCE = 0.3  # seconds

_OF_CAMERA_VIEW: Final = ("view_camera_zoom", "view_camera_offset")
_MARGIN: Final = 0.94

# How each viewport stood before it looked through a view.
_eyes: dict[int, dict[str, Any]] = {}
_during_save: dict[str, Any] | None = None


def is_looking(scene: bpy.types.Scene) -> bool:
    """Whether the scene's camera is a view's."""
    return _LOOK_RECORD in scene


def looks(context: bpy.types.Context) -> bool:
    """Whether the viewport that this is about looks through a view."""
    eye = context.region_data
    return eye is not None and eye.view_perspective == "CAMERA" and is_looking(context.scene)


def caption(context: bpy.types.Context) -> list[str]:
    """Which view it is."""
    state = preview.rig(context)
    if state is None:
        return []
    view = min(context.scene.objaverse.current_view, len(state.views) - 1)
    cropped = ", crops the object" if view in state.cropped else ""
    return [f"View {view} ({view + 1} of {len(state.views)}){cropped}"]


def step(context: bpy.types.Context, by: int) -> None:
    """Go to another view, round at the ends."""
    state = preview.rig(context, may_measure=True)
    if state is not None:
        settings = context.scene.objaverse
        settings.current_view = (settings.current_view + by) % len(state.views)


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
    _place(scene, state)
    for area in _viewports(context):
        eye = area.spaces.active.region_3d
        if area.as_pointer() not in _eyes:
            # Blender turns the viewport's own rotation with the camera.
            _eyes[area.as_pointer()] = {
                "view_location": eye.view_location.copy(),
                "view_rotation": eye.view_rotation.copy(),
                "view_distance": eye.view_distance,
                "view_perspective": eye.view_perspective,
                "view_camera_zoom": eye.view_camera_zoom,
                "view_camera_offset": list(eye.view_camera_offset),
            }
        eye.view_perspective = "CAMERA"
        _frame(context, area)
    if not bpy.app.background and not bpy.app.timers.is_registered(_left):
        bpy.app.timers.register(_left, first_interval=_GLANCE)


def _frame(context: bpy.types.Context, area: bpy.types.Area) -> None:
    """Move the picture's frame to where nothing lies over it.

    Of a camera whose sensor fits horizontally the frame is ``f`` of the region's width wide, with
    ``f = (sqrt(2) + zoom / 50)^2 / 4``, and moved by twice the offset, measured in frames:
    ``BKE_camera_params_from_view3d`` in Blender's source.
    """
    eye, render = area.spaces.active.region_3d, context.scene.render
    region = next(region for region in area.regions if region.type == "WINDOW")
    left, right = overlapped(context, area)
    shape = render.resolution_y * render.pixel_aspect_y
    shape /= render.resolution_x * render.pixel_aspect_x
    free = max(32, region.width - left - right)
    share = _MARGIN * min(free, region.height / shape) / max(1, region.width)
    eye.view_camera_zoom = min(600.0, max(-30.0, 50 * (2 * math.sqrt(share) - math.sqrt(2))))
    aside = (right - left) / (4 * share * max(1, region.width))
    eye.view_camera_offset = min(1.0, max(-1.0, aside)), 0.0


def _left() -> float | None:
    """Timer: whoever turned the viewport away, by numpad 0 or by orbiting, has left the view."""
    context = bpy.context
    if context.scene is None or not is_looking(context.scene):
        return None
    eyes = [area.spaces.active.region_3d for area in areas("VIEW_3D")]
    if any(eye.view_perspective == "CAMERA" for eye in eyes):
        return _GLANCE
    stop(context)
    redraw()
    return None


def _place(scene: bpy.types.Scene, state: preview.RigState) -> None:
    """Make the scene's camera the current view."""
    render = scene.render
    camera = bpy.data.objects.get(LOOK_CAMERA)
    if camera is None:
        lens_data = bpy.data.cameras.get(LOOK_CAMERA) or bpy.data.cameras.new(LOOK_CAMERA)
        camera = bpy.data.objects.new(LOOK_CAMERA, lens_data)
    if camera.name not in scene.collection.objects:
        scene.collection.objects.link(camera)
    view = state.views[min(scene.objaverse.current_view, len(state.views) - 1)]
    user_scene.place_camera(camera, view.camera, state.to_world)
    _, pixels = blender_lens(view.camera)
    render.resolution_x, render.resolution_y = view.camera.width, view.camera.height
    render.resolution_percentage = 100
    for name, value in pixels.items():
        setattr(render, name, value)
    scene.camera = camera


def _follow(context: bpy.types.Context) -> None:
    """A setting was changed: what is looked through is the view that the panel now means."""
    if context.scene is None or not is_looking(context.scene):
        return
    if bpy.app.background:
        follow()
    elif not bpy.app.timers.is_registered(follow):
        # One choice may change many settings.
        bpy.app.timers.register(follow, first_interval=_DELAY)


def follow() -> None:
    """Look through the view that the panel now means, where one is looked through."""
    context = bpy.context
    if context.scene is not None and is_looking(context.scene):
        state = preview.rig(context, may_measure=True)
        if state is not None:
            _place(context.scene, state)


def _handlers() -> list[tuple[Any, Any]]:
    known = bpy.app.handlers
    return [
        (known.save_pre, _before_save),
        (known.save_post, _after_save),
        (known.save_post_fail, _after_save),
        (known.load_post, _after_load),
    ]


def register() -> None:
    """Follow the panel, and keep out of the user's files."""
    properties.on_change.append(_follow)
    for handlers, handler in _handlers():
        handlers.append(handler)


def unregister() -> None:
    """Stop following."""
    for handlers, handler in _handlers():
        handlers.remove(handler)
    properties.on_change.remove(_follow)
    for timer in (follow, _left):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)


def _put_back(scene: bpy.types.Scene) -> dict[str, Any]:
    """Give the scene its own camera and resolution again; what was recorded of them."""
    render = scene.render
    record: dict[str, Any] = scene[_LOOK_RECORD].to_dict()
    del scene[_LOOK_RECORD]
    render.resolution_x, render.resolution_y, render.resolution_percentage = record["size"]
    render.pixel_aspect_x, render.pixel_aspect_y = record["aspect"]
    scene.camera = record.get("camera")
    for blocks in (bpy.data.objects, bpy.data.cameras):
        if LOOK_CAMERA in blocks:
            blocks.remove(blocks[LOOK_CAMERA])
    return record


@bpy.app.handlers.persistent
def _before_save(*_: Any) -> None:
    """A file is the user's: nothing of a look goes into it."""
    global _during_save
    scene = bpy.context.scene
    _during_save = _put_back(scene) if scene is not None and is_looking(scene) else None


@bpy.app.handlers.persistent
def _after_save(*_: Any) -> None:
    global _during_save
    record, _during_save = _during_save, None
    if record is None:
        return
    state = preview.rig(bpy.context, may_measure=True)
    if state is None:
        stop(bpy.context)
        return
    bpy.context.scene[_LOOK_RECORD] = record
    _place(bpy.context.scene, state)


@bpy.app.handlers.persistent
def _after_load(*_: Any) -> None:
    """A file that Blender saved by itself may have a look in it."""
    _eyes.clear()
    for scene in bpy.data.scenes:
        if is_looking(scene):
            _put_back(scene)


def stop(context: bpy.types.Context) -> None:
    """Put camera, resolution and viewports back as they were."""
    if not is_looking(context.scene):
        return
    _put_back(context.scene)
    for area in _viewports(context):
        eye = area.spaces.active.region_3d
        before = _eyes.get(area.as_pointer(), {"view_perspective": "PERSP"})
        if eye.view_perspective != "CAMERA":
            # Whoever turned it away stays where they are now.
            before = {name: before[name] for name in _OF_CAMERA_VIEW if name in before}
        for name, value in before.items():
            setattr(eye, name, value)
    _eyes.clear()


def _viewports(context: bpy.types.Context) -> list[Any]:
    """The viewport that was clicked in, else all of them."""
    if context.area is not None and context.area.type == "VIEW_3D":
        return [context.area]
    return [a for a in context.screen.areas if a.type == "VIEW_3D"] if context.screen else []
