"""An asset in the user's own scene: import beside what is there, normalise, camera objects.

The engine renders in an empty Blender of its own; this is for looking before rendering.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import bpy
import numpy as np
import numpy.typing as npt
from mathutils import Matrix, Vector

from ..assets.embedded_license import license_line
from ..assets.formats import inspect_file
from ..cameras import Camera, View, blender_lens
from ..dataset.metadata import source_record
from ..errors import NoGeometry
from ..words import how_many
from . import importers
from .camera import read_lens
from .materials import missing_textures
from .normalization import NORMALIZER, Normalization, normalize
from .reach import Gate

__all__ = [
    "Imported",
    "add_camera_objects",
    "asset_objects",
    "camera_of_object",
    "corners",
    "facts",
    "import_into_scene",
    "is_normalized",
    "normalize_asset",
    "place_camera",
    "save_asset",
    "undo_normalization",
]

CAMERAS: Final = "Objaverse Cameras"
_RECORD: Final = "objaverse_source"
_FACTS: Final = "objaverse_facts"


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import brought in."""

    collection: Any
    summary: str
    warnings: list[str] = field(default_factory=list)


def import_into_scene(
    scene: bpy.types.Scene, path: Path, *, keep_lights: bool, catalogue: str | Path | None = None
) -> Imported:
    """Import a file into a new collection of the scene; nothing else of the scene changes.

    Args:
        catalogue: Folder of the index that knows licences, for :func:`facts`.

    Raises:
        RenderError: As the engine's own import; nothing is left behind.
    """
    kind = inspect_file(path, whole=True)
    before, blocks = set(bpy.data.objects), set(bpy.data.user_map())
    collections = set(bpy.data.collections)
    selected = [obj for obj in scene.objects if obj.select_get()]
    active = bpy.context.view_layer.objects.active

    def select_as_before() -> None:
        for obj in scene.objects:
            # Some importers leave selected what they brought.
            obj.select_set(obj in selected)
        bpy.context.view_layer.objects.active = active

    try:
        gate = Gate(path, kind, (), "doubt")
        said: list[str] = []
        with gate as file:
            if kind == "blend":
                importers.append_blend(file, scene)
            else:
                said = importers.import_file(file, kind, keep_lights=keep_lights).warnings
        objects = [obj for obj in bpy.data.objects if obj not in before]
        for obj in objects:
            if obj.type == "CAMERA" or (obj.type == "LIGHT" and not keep_lights):
                bpy.data.objects.remove(obj)
        objects = [obj for obj in bpy.data.objects if obj not in before]
        if not any(obj.type not in ("EMPTY", "ARMATURE", "LIGHT") for obj in objects):
            raise NoGeometry(f"{path}: nothing in the file has a face that renders.")
    except Exception:
        bpy.data.batch_remove(set(bpy.data.user_map()) - blocks)
        select_as_before()
        raise
    _remove_unused(blocks)
    home = bpy.data.collections.new(path.stem)
    scene.collection.children.link(home)
    for obj in objects:
        if obj.name not in home.objects:
            home.objects.link(obj)
        for other in obj.users_collection:
            if other == scene.collection or other in collections:
                other.objects.unlink(obj)
    home[_RECORD] = source_record(path, str(path))
    select_as_before()
    meshes = [obj for obj in objects if obj.type == "MESH"]
    faces = sum(len(obj.data.polygons) for obj in meshes)
    size = path.stat().st_size / 2**20
    count = how_many(len(meshes), "mesh", "meshes")
    summary = f"{count}, {faces:,} face{'s' * (faces != 1)}, {size:.1f} MiB ({kind})"
    missing = missing_textures(_materials(objects), bpy.data.node_groups)
    warnings = [*gate.warnings, *said, *(f"missing texture: {name}" for name in sorted(missing))]
    home[_FACTS] = {
        "summary": summary,
        "license": license_line(path, catalogue),
        "warnings": "\n".join(warnings),
    }
    return Imported(home, summary, warnings)


def _remove_unused(before: set[Any]) -> None:
    """Remove what came in and nothing uses, as the lenses of cameras that are gone."""
    while unused := {
        block for block in set(bpy.data.user_map()) - before if not block.users
    }:
        bpy.data.batch_remove(unused)
    # What was appended is local; Blender keeps the file's name all the same.
    for library in [item for item in bpy.data.libraries if item not in before]:
        if not any(True for _ in library.users_id):
            bpy.data.libraries.remove(library)


def _materials(objects: list[Any]) -> list[Any]:
    found = {slot.material for obj in objects for slot in obj.material_slots if slot.material}
    return sorted(found, key=lambda item: item.name)


def asset_objects(collection: Any) -> set[Any]:
    """The objects of an asset's collection."""
    return set(collection.all_objects) if collection is not None else set()


def corners(collection: Any) -> npt.NDArray[np.float64]:
    """Corners (N, 3) of the objects' boxes, in the scene's world; quick, not exact."""
    points = [
        obj.matrix_world @ Vector(corner)
        for obj in asset_objects(collection)
        if obj.type not in ("EMPTY", "LIGHT")
        for corner in obj.bound_box
    ]
    return np.array(points, dtype=np.float64).reshape(-1, 3)


def provenance(collection: Any) -> dict[str, Any]:
    """What is known of the file that an asset came from; empty for the user's own objects."""
    record = collection.get(_RECORD)
    if record is None:
        return {}
    return {
        key: value.to_dict() if hasattr(value, "to_dict") else value
        for key, value in record.items()
    }


def facts(collection: Any) -> dict[str, str]:
    """What an import found out, for people: ``summary``, ``license``, ``warnings``, one a line.

    It stays with the collection, in the file too. Empty for the user's own objects.
    """
    found = collection.get(_FACTS)
    if not hasattr(found, "to_dict"):
        return {}
    return {name: str(found.get(name, "")) for name in ("summary", "license", "warnings")}


def _normalizer(collection: Any) -> Any:
    return next((obj for obj in collection.objects if obj.name.startswith(NORMALIZER)), None)


def is_normalized(collection: Any) -> bool:
    """Whether :func:`normalize_asset` moved this asset."""
    return _normalizer(collection) is not None


def undo_normalization(collection: Any) -> bool:
    """Put the asset back to its own size and place."""
    parent = _normalizer(collection)
    if parent is None:
        return False
    for child in list(parent.children):
        child.parent = None
    bpy.data.objects.remove(parent)
    bpy.context.view_layer.update()
    return True


def normalize_asset(collection: Any, method: str) -> Normalization:
    """Scale and centre the asset where it stands, as the engine does before it renders.

    Cameras and lights that the user put beside their objects stay where they are.

    Raises:
        RenderError: As :func:`objaverse_render_addon.blender.normalization.normalize`.
    """
    undo_normalization(collection)
    beside = {"CAMERA"} if is_imported(collection) else {"CAMERA", "LIGHT"}
    moved = {obj for obj in asset_objects(collection) if obj.type not in beside}
    # The parent belongs to the asset, so that deleting the asset deletes it.
    return normalize(collection, method, moved)


def is_imported(collection: Any) -> bool:
    """Whether :func:`import_into_scene` made it; the user's own collections are not."""
    return _RECORD in collection


def save_asset(collection: Any, path: Path, played: bpy.types.Scene) -> None:
    """Write the asset alone, with all that it uses, into a .blend file for a worker.

    Args:
        played: The scene whose time it has.
    """
    active = bpy.context.view_layer.objects.active
    sculpted = active in asset_objects(collection) and active.mode == "SCULPT"
    if sculpted:
        # What is sculpted on several resolutions is not in the mesh yet, and another scene's
        # evaluation would take away what Blender sculpts on: the next stroke would be its end.
        bpy.ops.object.mode_set(mode="OBJECT")
    scene = bpy.data.scenes.new("Objaverse Asset")
    try:
        scene.frame_start, scene.frame_end = played.frame_start, played.frame_end
        scene.frame_current = played.frame_current
        scene.render.fps, scene.render.fps_base = played.render.fps, played.render.fps_base
        for obj in asset_objects(collection):
            if obj.mode == "EDIT":
                # What is seen there is not in the mesh yet.
                obj.update_from_editmode()
            scene.collection.objects.link(obj)
        # Blender 5.2 crashes when it writes a scene whose view layer was never synchronised.
        scene.view_layers[0].update()
        bpy.data.libraries.write(str(path), {scene}, path_remap="ABSOLUTE", compress=False)
    finally:
        bpy.data.scenes.remove(scene)
        if sculpted:
            bpy.ops.object.mode_set(mode="SCULPT")


def place_camera(obj: Any, camera: Camera, to_world: npt.NDArray[np.float64]) -> None:
    """Give a camera object a view's pose and lens.

    Args:
        to_world: (4, 4) similarity from normalised coordinates to the scene's world.
    """
    lens, _ = blender_lens(camera)
    data = obj.data
    scale = float(np.cbrt(np.linalg.det(to_world[:3, :3])))
    data.sensor_fit, data.lens_unit = "HORIZONTAL", "FOV"
    for name, value in lens.items():
        setattr(data, name, value * scale if name == "ortho_scale" else value)
    pose = camera.camera_to_world.copy()
    pose[:3, 3] = to_world[:3, :3] @ pose[:3, 3] + to_world[:3, 3]
    pose[:3, :3] = to_world[:3, :3] / scale @ pose[:3, :3]
    distance = float(np.linalg.norm(camera.camera_to_world[:3, 3]))
    data.clip_start = max(1e-6, 1e-3 * scale)
    data.clip_end = (distance + 4.0) * 4.0 * scale
    data.display_size = 0.15 * scale
    obj.matrix_world = Matrix(pose.tolist())


def camera_of_object(
    obj: Any,
    render: Any,
    depsgraph: Any,
    to_world: npt.NDArray[np.float64],
) -> Camera:
    """The camera that an object is for its scene's own renders, around the normalised asset.

    Args:
        obj: A camera object.
        render: The scene's render settings, which decide what a lens shows.
        to_world: (4, 4) similarity from normalised coordinates to the scene's world.

    Raises:
        CameraFileError: Its lens is of another kind than views have.
    """
    share = render.resolution_percentage / 100
    width, height = int(render.resolution_x * share), int(render.resolution_y * share)
    projection, intrinsics = read_lens(
        obj, depsgraph, (width, height), (render.pixel_aspect_x, render.pixel_aspect_y)
    )
    if projection == "orthographic":
        # Pixels per unit of the scene, so far.
        intrinsics[[0, 1], [0, 1]] *= float(np.cbrt(np.linalg.det(to_world[:3, :3])))
    place, turn, _ = obj.evaluated_get(depsgraph).matrix_world.decompose()
    pose = np.eye(4)
    inverse = np.linalg.inv(to_world)[:3, :3]
    pose[:3, :3] = inverse / np.cbrt(np.linalg.det(inverse)) @ np.array(turn.to_matrix())
    pose[:3, 3] = np.linalg.solve(to_world, [*place, 1.0])[:3]
    return Camera(width, height, intrinsics, pose, projection)


def add_camera_objects(
    scene: bpy.types.Scene, views: list[View], to_world: npt.NDArray[np.float64]
) -> Any:
    """Real camera objects for the views, in a collection of their own; an older one goes.

    Returns:
        The collection.
    """
    old = bpy.data.collections.get(CAMERAS)
    if old is not None:
        for obj in list(old.objects):
            data = obj.data
            bpy.data.objects.remove(obj)
            bpy.data.cameras.remove(data)
        bpy.data.collections.remove(old)
    home = bpy.data.collections.new(CAMERAS)
    scene.collection.children.link(home)
    for view in views:
        data = bpy.data.cameras.new(f"View {view.index:03d}")
        obj = bpy.data.objects.new(data.name, data)
        home.objects.link(obj)
        place_camera(obj, view.camera, to_world)
    return home
