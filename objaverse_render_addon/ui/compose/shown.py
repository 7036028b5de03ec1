"""The composed scene in the window: a Blender scene of its own, of real objects.

What it is made of is kept in it as text, so that it is known again after the file was saved and
opened, and after undo. The user's own scene stays as it is.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import bpy
import numpy as np
import numpy.typing as npt

from ...blender.composing import build_scene
from ...cameras import View, box_corners
from ...cameras.camera import Camera
from ...compose.make import bring_objects
from ...compose.record import Scene, SceneObject
from ...errors import RenderError
from ...job import RenderJob
from ...words import how_many
from ..viewport.preview import RigState
from .settings import carry

__all__ = ["Composed", "close", "composed", "facts", "moved", "objects_of", "reach", "show"]

Floats = npt.NDArray[np.float64]

_TEXT: Final = "objaverse_composed"
_SIZE: Final = "objaverse_composed_size"
_PART: Final = "objaverse_composed_part"
_OBJECTS: Final = "objaverse_composed_objects"
_HOME: Final = "objaverse_composed_from"
_NAME: Final = "Composed Scene"
_COLLECTIONS: Final = ("Composed Objects", "Composed Room", "Composed Cameras", "Composed Lights")
_DATA: Final = (
    "objects", "meshes", "materials", "cameras", "lights", "worlds", "collections", "node_groups",
)  # fmt: skip
_ID: Final = re.compile(r"object-(\d{3})-")
"""As :func:`~objaverse_render_addon.blender.composing.object_name` has it."""
_STAGE: Final = re.compile(r"stage-\d-([a-z]+)")
_MOVED: Final = 1e-4
"""Metres, and parts of a turn's matrix, from which an object counts as moved."""


@dataclass(frozen=True)
class Composed:
    """A composed scene, as it came to rest.

    Attributes:
        key: Of what it is made of; another scene has another.
        rig: Its cameras, for the viewport.
        boxes: Object to its corners (8, 3), object axes.
        objects: Folder with the surfaces of others' objects, where it has any.
    """

    key: str
    record: Scene
    rig: RigState
    boxes: dict[int, Floats]
    objects: Path | None = None

    @property
    def name(self) -> str:
        """As its folder is called where it is written."""
        return f"scene-{self.record.index:06d}"

    def object(self, number: int) -> SceneObject:
        """One of its objects, by its id."""
        return self.record.objects[number - 1]


_known: tuple[tuple[str, str], Composed] | None = None


def composed(context: bpy.types.Context) -> Composed | None:
    """The one that the window's scene is; ``None`` where it is another."""
    global _known
    scene = context.scene
    text = scene.get(_TEXT) if scene is not None else None
    if not text:
        return None
    objects = str(scene.get(_OBJECTS, ""))
    if _known is None or _known[0] != (text, objects):
        try:
            record = Scene.from_dict(json.loads(text), scene.name)
        except (RenderError, ValueError):
            return None
        size = tuple(scene.get(_SIZE, (256, 256)))
        _known = (text, objects), _of(record, size, Path(objects) if objects else None)
    return _known[1]


def _of(record: Scene, size: tuple[int, int], objects: Path | None) -> Composed:
    key = hashlib.sha256(json.dumps(record.to_dict(), sort_keys=True).encode()).hexdigest()[:16]
    views = []
    for place, one in enumerate(record.recipe["cameras"]):
        focal = max(size) / 2 / np.tan(np.radians(one["fov_deg"]) / 2)
        lens = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]])
        views.append(View(place, Camera(*size, lens, np.array(one["pose"]))))
    boxes, everything = {}, []
    for obj in record.objects:
        hull, pose = np.array(obj.vertices_hull), np.array(obj.pose)
        low, high = hull.min(axis=0), hull.max(axis=0)
        boxes[obj.id] = box_corners(low, high)
        everything.append(hull @ pose[:3, :3].T + pose[:3, 3])
    rig = RigState(
        RenderJob(), views, np.concatenate(everything), frozenset(), np.eye(4), 0.0
    )
    return Composed(key, record, rig, boxes, objects)


def show(
    context: bpy.types.Context, record: Scene, size: tuple[int, int], objects: Path | None = None
) -> Composed:
    """Put a scene into the window, in place of the one that was composed before.

    Args:
        record: Without views.
        size: Of its pictures, width and height.
        objects: Folder with the surfaces of others' objects, where it has any.

    Raises:
        RenderError: It cannot be built.
    """
    here = context.scene
    target = next((scene for scene in bpy.data.scenes if scene.get(_TEXT)), None)
    if target is None:
        target = bpy.data.scenes.new(_NAME)
        target[_HOME] = here.name
        target.objaverse.output_dir = here.objaverse.output_dir
    else:
        _empty(target)
    if target != here:
        carry(here.objaverse_compose, target.objaverse_compose)
    text = json.dumps(record.to_dict(), sort_keys=True)
    before = {name: {*getattr(bpy.data, name)} for name in _DATA}
    with tempfile.TemporaryDirectory(prefix="objaverse-scene-") as folder:
        path = Path(folder) / "composed.scene"
        if objects is not None:
            bring_objects(record, objects, path.parent)
        record.write(path)
        with context.temp_override(scene=target, view_layer=target.view_layers[0]):
            build_scene(path)
    _sort(target, [obj for obj in target.collection.objects if obj not in before["objects"]])
    for name, had in before.items():
        for one in [one for one in getattr(bpy.data, name) if one not in had]:
            one[_PART] = True
    _dress(target, record)
    target[_TEXT], target[_SIZE] = text, size
    target[_OBJECTS] = str(objects or "")
    target.render.resolution_x, target.render.resolution_y = size
    target.render.resolution_percentage = 100
    target.view_settings.view_transform = "Standard"
    target.camera = next(obj for obj in target.objects if obj.type == "CAMERA")
    if context.window is not None:
        context.window.scene = target
    return _of(record, size, objects)


def _sort(target: bpy.types.Scene, built: list[Any]) -> None:
    """Into collections, and the walls out of sight: who looks from outside sees nothing else."""
    homes = [bpy.data.collections.new(name) for name in _COLLECTIONS]
    for home in homes:
        target.collection.children.link(home)
    for obj in built:
        stage = _STAGE.match(obj.name)
        kind = {"CAMERA": 2, "LIGHT": 3}.get(obj.type, 1 if stage else 0)
        homes[kind].objects.link(obj)
        target.collection.objects.unlink(obj)
        if stage and stage[1] == "walls":
            obj.hide_viewport = True


def _dress(target: bpy.types.Scene, record: Scene) -> None:
    """Colours for the viewport's solid shading too."""
    bodies = _bodies(target, record)
    for obj, made in zip(record.objects, record.recipe["objects"], strict=True):
        # What is not made here has its own colours.
        slots = made.get("slots", ())
        for material, slot in zip(bodies[obj.id].data.materials, slots, strict=False):
            material.diffuse_color = (*(value**2.2 for value in slot["rgb"]), 1.0)
    for one in target.objects:
        if one.type == "CAMERA":
            # The rig shows where it is, and larger it would hide the table.
            one.data.display_size = 0.05


def _bodies(target: bpy.types.Scene, record: Scene) -> dict[int, Any]:
    """Blender's objects by the ids in their names."""
    bodies: dict[int, Any] = {}
    for one in target.objects:
        found = _ID.match(one.name)
        if one.get(_PART) and found and 1 <= int(found[1]) <= len(record.objects):
            bodies.setdefault(int(found[1]), one)
    return bodies


def objects_of(context: bpy.types.Context, found: Composed) -> dict[int, Any]:
    """Blender's objects by id; those that the user removed are not there."""
    return _bodies(context.scene, found.record)


def moved(context: bpy.types.Context, found: Composed) -> list[str]:
    """Names of objects that do not stand where they came to rest, or are gone."""
    bodies = objects_of(context, found)
    names = []
    for obj in found.record.objects:
        body = bodies.get(obj.id)
        if body is None or not np.allclose(np.array(body.matrix_world), obj.pose, atol=_MOVED):
            names.append(obj.name)
    return names


def reach(found: Composed) -> Floats:
    """Points (N, 3) of the scene to look at: the objects, and half the way to their cameras."""
    points = found.rig.points
    cameras = np.array([view.camera.camera_to_world[:3, 3] for view in found.rig.views])
    return np.concatenate([points, (cameras + points.mean(axis=0)) / 2])


def facts(found: Composed) -> str:
    """What it is, in a line."""
    record = found.record
    tries = record.recipe["attempt"]
    said = f"{found.name}: {how_many(len(record.objects), 'object')}, {record.layout}"
    said += f", {record.support.kind} of {record.support.material}"
    return f"{said}; {how_many(tries, 'draw')} refused before it" if tries else said


def _empty(target: bpy.types.Scene) -> None:
    """Take out what was built, and leave what the user added."""
    for name in _DATA:
        held = getattr(bpy.data, name)
        for one in [one for one in held if one.get(_PART)]:
            held.remove(one)
    target.world = None


def close(context: bpy.types.Context) -> None:
    """Remove the scene that was composed, and go back to the one that was there before."""
    target = context.scene
    if not target.get(_TEXT):
        return
    others = [scene for scene in bpy.data.scenes if scene != target]
    if not others:
        others = [bpy.data.scenes.new("Scene")]
    home = next((scene for scene in others if scene.name == target.get(_HOME)), others[0])
    carry(target.objaverse_compose, home.objaverse_compose)
    for window in context.window_manager.windows:
        if window.scene == target:
            window.scene = home
    _empty(target)
    if not len(target.objects):
        bpy.data.scenes.remove(target)
        return
    # The user's own things are in it.
    for key in (_TEXT, _SIZE, _OBJECTS):
        if key in target:
            del target[key]
