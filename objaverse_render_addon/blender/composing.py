"""A composed scene's file, put into an empty Blender: objects at rest, support, room, light."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import bpy
import numpy as np
import numpy.typing as npt
from mathutils import Matrix, Vector

from ..compose.objects import Mesh, Part
from ..compose.objects.library import FOLDER, GLB
from ..compose.objects.mesh import circle, loft, moved, rectangle
from ..compose.record import STAGED, SURROUNDINGS, Scene, Support
from ..compose.skies import place_beside
from ..compose.stages import FOLDER as STAGE_FOLDER
from ..compose.stages import SURFACE, UserStage
from ..compose.support import RIM, TABLE_HEIGHT
from ..compose.things import asset_of, thing_of
from ..compose.viewing import CLIP, ROOM
from ..errors import ImportFailed, SourceNotFound
from ..files import file_sha256
from . import compat
from .kept import kept
from .lighting import image_world, new_world
from .procedural import material_of, plain

__all__ = ["build_scene", "object_name"]

Floats = npt.NDArray[np.float64]

_SHARP: Final = math.radians(38)
_BEYOND: Final = 0.5
"""Metres from a user's stage to the walls around it."""
_BELOW: Final = 0.002
"""Metres from a user's stage to the floor under it."""


def object_name(number: int, name: str) -> str:
    """Blender's name of an object; sorted by them, ids come in order."""
    return f"object-{number:03d}-{name}"


def build_scene(path: Path) -> None:
    """Build a scene's file in the scene that is open.

    Raises:
        WrongFormat: It is none.
        SourceNotFound, ImportFailed: The file of an object of somebody else's is not beside it, or
            cannot be read.
    """
    scene = Scene.read(path)
    recipe = scene.recipe
    known: dict[str, Any] = {}
    for obj, made in zip(scene.objects, recipe["objects"], strict=True):
        if asset := asset_of(made):
            if asset not in known:
                known[asset] = _imported(path.parent / FOLDER / asset / GLB)
            _stand(object_name(obj.id, obj.name), known[asset], made, obj.pose)
            continue
        slots = [
            plain(f"{obj.name}-{place}", slot["rgb"], slot["roughness"], slot["metallic"])
            for place, slot in enumerate(made["slots"])
        ]
        _add(object_name(obj.id, obj.name), thing_of(made), slots, obj.pose)
    surfaces = recipe["surfaces"]
    names = {part.name: f"stage-{place}-{part.name}" for place, part in enumerate(scene.stage, 1)}
    if scene.support.kind == STAGED:
        stage = UserStage.of(recipe["stage"])
        _stand_in(stage, stage.picture(path.parent), names)
        beyond = max(ROOM[0], stage.reach_m + _BEYOND)
        floor, walls = _room(stage.floor_m - _BELOW, beyond, beyond)
    else:
        support, under = _support(scene.support)
        _add(names["table"], Mesh((*support, *under)),
             [material_of("support", scene.support.material, surfaces["support"]),
              material_of("under", surfaces["under"]["kind"], surfaces["under"])])  # fmt: skip
        floor, walls = _room(-TABLE_HEIGHT, ROOM[0], ROOM[2])
    _add(names["floor"], floor,
         [material_of("floor", surfaces["floor"]["kind"], surfaces["floor"])])  # fmt: skip
    _add(names["walls"], walls, [material_of("walls", "paint", surfaces["walls"])])
    sky = recipe["light"].get("environment")
    if sky is None:
        world = new_world(tuple(recipe["light"]["sky_color"]), 1.0)
        world.cycles.sampling_method = "NONE"
        _light(recipe["light"], world)
    else:
        _light(recipe["light"], image_world(place_beside(path, sky), sky["turn_deg"]))
    if sky is not None or scene.support.kind == STAGED:
        _let_through(bpy.data.objects[names["walls"]])
    for place, camera in enumerate(recipe["cameras"]):
        data = bpy.data.cameras.new(f"camera-{place:03d}")
        data.sensor_fit = "AUTO"
        data.angle = math.radians(camera["fov_deg"])
        data.clip_start, data.clip_end = CLIP, 30.0
        right, down = camera.get("shift", (0.0, 0.0))
        data.shift_x, data.shift_y = -right, down
        obj = bpy.data.objects.new(data.name, data)
        obj.matrix_world = Matrix(camera["pose"])
        bpy.context.scene.collection.objects.link(obj)


def _imported(path: Path) -> Any:
    """The mesh of an object of somebody else's, all of it in one."""
    (mesh,) = kept(_digest(path), lambda: [_joined(_meshes(path)).data])
    return mesh


def _digest(path: Path) -> str:
    """Of a glTF file's content.

    Raises:
        SourceNotFound: It is not there.
    """
    if not path.is_file() or path.is_symlink():
        raise SourceNotFound(
            f"{path} is not there, of which a part of the scene is made.",
            hint=f"The folders {FOLDER} and {STAGE_FOLDER} belong beside the scene's file.",
        )
    return file_sha256(path)[:32]


def _meshes(path: Path) -> list[Any]:
    """The meshes of a glTF file, where they stand, each with a mesh of its own.

    Raises:
        ImportFailed: It cannot be read, or has none.
    """
    before = set(bpy.data.objects)
    try:
        compat.call_operator(
            compat.find_operator("import_scene.gltf"), filepath=str(path), loglevel=40,
            import_select_created_objects=False,
        )  # fmt: skip
    except RuntimeError as error:
        raise ImportFailed(f"{path}: {str(error).strip()}") from error
    new = [obj for obj in bpy.data.objects if obj not in before]
    meshes = sorted((obj for obj in new if obj.type == "MESH"), key=lambda obj: obj.name_full)
    if not meshes:
        raise ImportFailed(f"{path}: there is no mesh in it.")
    bpy.context.view_layer.update()
    for obj in meshes:
        # A mesh that several show is joined once for each.
        obj.data = obj.data.copy()
        obj.data.transform(obj.matrix_world)
        obj.parent = None
        obj.matrix_world = Matrix.Identity(4)
    bpy.data.batch_remove([obj for obj in new if obj.type != "MESH"])
    return meshes


def _joined(meshes: list[Any]) -> Any:
    """One object of several."""
    if len(meshes) > 1:
        with bpy.context.temp_override(
            object=meshes[0], active_object=meshes[0], selected_objects=meshes,
            selected_editable_objects=meshes,
        ):  # fmt: skip
            bpy.ops.object.join()
    for material in meshes[0].data.materials:
        if material is not None:
            # What is solid has no other side to look at; through a hole one sees the inside.
            material.use_backface_culling = False
    return meshes[0]


def _stand(name: str, mesh: Any, made: dict[str, Any], pose: Any) -> None:
    """One more of an imported mesh, in its size and at its place."""
    data = mesh.copy()
    data.name = name
    data.transform(Matrix.Translation([-value for value in made["foot"]]))
    data.transform(Matrix.Scale(made["scale"], 4))
    obj = bpy.data.objects.new(name, data)
    obj.matrix_world = Matrix(pose)
    bpy.context.scene.collection.objects.link(obj)


def _add(name: str, mesh: Mesh, materials: list[Any], pose: Any = None) -> None:
    data = bpy.data.meshes.new(name)
    points, triangles = mesh.vertices.astype(np.float32), mesh.triangles.astype(np.int32)
    data.vertices.add(len(points))
    data.vertices.foreach_set("co", points.ravel())
    data.loops.add(3 * len(triangles))
    data.loops.foreach_set("vertex_index", triangles.ravel())
    data.polygons.add(len(triangles))
    data.polygons.foreach_set("loop_start", np.arange(0, 3 * len(triangles), 3, dtype=np.int32))
    data.polygons.foreach_set("material_index", mesh.slots.astype(np.int32))
    for material in materials:
        data.materials.append(material)
    data.update(calc_edges=True)
    data.validate()
    data.shade_smooth()
    data.set_sharp_from_angle(angle=_SHARP)
    obj = bpy.data.objects.new(name, data)
    if pose is not None:
        obj.matrix_world = Matrix(pose)
    bpy.context.scene.collection.objects.link(obj)


# --- Support and room -----------------------------------------------------------------------------


def _slab(x: float, y: float, low: float, high: float, corner: float, slot: int = 0) -> Part:
    edge = min(0.004, (high - low) / 3)
    rings = [
        rectangle(x - 2 * inset, y - 2 * inset, max(corner - inset, 1e-4), z)
        for inset, z in ((edge, low), (0.0, low + edge), (0.0, high - edge),
                         (0.3 * edge, high - 0.3 * edge), (edge, high))
    ]  # fmt: skip
    return loft(rings, slot=slot)


def _disc(radius: float, low: float, high: float) -> Part:
    edge = 0.006
    return loft([
        circle(r, z, 96) for r, z in ((radius - edge, low), (radius, low + edge),
                                      (radius, high - edge),
                                      (radius - 0.3 * edge, high - 0.3 * edge),
                                      (radius - edge, high))
    ])  # fmt: skip


def _table(x: float, y: float, top: float, thick: float, slot: int, round_: bool) -> list[Part]:
    low = top - thick
    slab = _disc(x / 2, low, top) if round_ else _slab(x, y, low, top, 0.02)
    inset = 0.27 * x if round_ else 0.06
    reach = (x / 2 - inset, (x if round_ else y) / 2 - inset)
    legs = [
        moved(_slab(0.05, 0.05, -TABLE_HEIGHT, low, 0.008, slot),
              (right * reach[0], up * reach[1], 0.0))
        for right in (-1, 1) for up in (-1, 1)
    ]  # fmt: skip
    return [moved(slab, slot=slot), *legs]


def _support(support: Support) -> tuple[list[Part], list[Part]]:
    """What objects stand on, and what that stands on; the second in another material."""
    x, y, z = support.size_m
    if support.kind == "table":
        return _table(x, y, 0.0, z, 0, support.shape == "round"), []
    if support.kind == "shelf":
        sides = [
            moved(_slab(0.02, y, -TABLE_HEIGHT, 0.5, 0.002), (side * (x / 2 + 0.01), 0.0, 0.0))
            for side in (-1, 1)
        ]
        back = moved(_slab(x, RIM, -TABLE_HEIGHT, 0.5, 0.002), (0.0, y / 2 - RIM / 2, 0.0))
        return [_slab(x, y, -z, 0.0, 0.002), back, *sides], []
    floor = 0.012
    half = 0.4 * min(x, y)
    line = [(half, -floor), (0.003, -floor), (0.0, -floor + 0.003), (0.0, z - 0.002),
            (0.002, z), (RIM - 0.002, z), (RIM, z - 0.002), (RIM, 0.0), (half, 0.0)]  # fmt: skip
    body = loft([
        rectangle(x - 2 * inset, y - 2 * inset, max(0.004 - inset, 1e-3), high)
        for inset, high in line
    ])  # fmt: skip
    return [body], _table(1.5, 1.0, -floor, 0.04, 1, False)


def _stand_in(stage: UserStage, path: Path, names: dict[str, str]) -> None:
    """A user's stage: what things stand on, and all the rest as one."""

    def imported() -> list[Any]:
        mine: list[Any] = []
        others: list[Any] = []
        for obj in _meshes(path):
            obj.data.transform(Matrix(stage.pose))
            number = obj.name.removeprefix("part-").partition("-")[0]
            (mine if number == str(stage.part) else others).append(obj)
        if not mine or bool(others) != (SURROUNDINGS in names):
            raise ImportFailed(f"{path}: its objects are not those of {stage.source}.")
        return [_joined(some).data for some in (mine, others) if some]

    meshes = kept(f"{_digest(path)}-{stage.digest()[:16]}", imported)
    for name, mesh in zip((SURFACE, SURROUNDINGS), meshes, strict=False):
        obj = bpy.data.objects.new(names[name], mesh)
        bpy.context.scene.collection.objects.link(obj)
        if name == SURROUNDINGS:
            # Light is computed for what stands free: a ceiling would leave it dark.
            _let_through(obj)


def _room(floor: float, a: float, top: float) -> tuple[Mesh, Mesh]:
    def sheet(corners: list[tuple[float, float, float]]) -> Part:
        return Part(np.array(corners), np.array([[0, 1, 2], [0, 2, 3]]))

    ground = sheet([(-a, -a, floor), (a, -a, floor), (a, a, floor), (-a, a, floor)])
    walls = (
        sheet([(-a, a, floor), (a, a, floor), (a, a, top), (-a, a, top)]),
        sheet([(a, -a, floor), (-a, -a, floor), (-a, -a, top), (a, -a, top)]),
        sheet([(a, a, floor), (a, -a, floor), (a, -a, top), (a, a, top)]),
        sheet([(-a, -a, floor), (-a, a, floor), (-a, a, top), (-a, -a, top)]),
    )
    return Mesh((ground,)), Mesh(walls)


def _let_through(walls: Any) -> None:
    """Walls that nothing but the camera sees: what is beyond shines through."""
    for ray in ("diffuse", "glossy", "transmission", "volume_scatter", "shadow"):
        setattr(walls, f"visible_{ray}", False)


def _light(light: dict[str, Any], world: Any) -> None:
    background = next(node for node in world.node_tree.nodes if node.type == "BACKGROUND")
    background.inputs["Strength"].default_value *= light["sky"]
    bpy.context.scene.world = world
    for place, lamp in enumerate(light["lamps"]):
        data = bpy.data.lights.new(f"lamp-{place}", "AREA")
        data.shape, data.size = "DISK", lamp["size"]
        data.energy, data.color = lamp["power"], lamp["color"]
        obj = bpy.data.objects.new(data.name, data)
        obj.location = lamp["position"]
        obj.rotation_euler = Vector(lamp["position"]).to_track_quat("Z", "Y").to_euler()
        # What shines is out of the picture, and no thing of the room.
        obj.visible_camera = False
        bpy.context.scene.collection.objects.link(obj)
