"""Ids of objects, instances, materials and classes, and texture coordinates, at pixel centres."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.cameras import Camera

from . import scenes

pytestmark = pytest.mark.core

PASSES = [
    "mask", "position", "object_index", "instance_index", "material_index", "semantic_index", "uv",
]  # fmt: skip
SIZE = 0.6


def nearest(camera: Camera, places: list[Any]) -> Any:
    """(H, W) which of some cubes is seen, from 0; -1 where none is. And where that is certain."""
    half = np.full(3, SIZE / 2)
    depths = [scenes.cast_box(camera, -half, half, place)[0] for place in places]
    filled = np.where(np.isnan(depths), np.inf, depths)
    seen = np.where(np.isfinite(filled).any(axis=0), filled.argmin(axis=0), -1)
    sure = np.all([scenes.interior(seen == n) | (seen != n) for n in np.unique(seen)], axis=0)
    return seen, sure


def compared(frame: Any, places: list[Any], name: str = "instance_index") -> dict[int, int]:
    """Number of the place to the id that its pixels have; every one is certain."""
    seen, sure = nearest(frame.camera, places)
    found = {}
    for number in range(len(places)):
        mine = (seen == number) & sure
        ids = np.unique(frame.passes[name][mine])
        if mine.any():
            assert len(ids) == 1 and ids[0] > 0, (number, ids)
            found[number] = int(ids[0])
    assert not frame.passes[name][(seen == -1) & sure].any()
    return found


def opened(path: Path, folder: Path, **values: Any) -> tuple[Any, list[Any]]:
    poses = [scenes.look_at((1.5, -4, 7), (0, 0, 0)), scenes.look_at((-5, 3, 4))]
    cameras = scenes.camera_file(folder / "cameras.json", poses, scenes.lens(50, (120, 90)))
    session = scenes.open_scene(
        path,
        scenes.make_job({"asset.normalize": "none", "pixels.passes": PASSES, **cameras, **values}),
    )
    return session, scenes.frames_of(session)


def grid(count: int) -> list[Any]:
    return [scenes.moved(x - 1.5, y - 1.5, 0.1 * x) @ scenes.rotation(10 * x, 5 * y, 20 * y)
            for y in range(count) for x in range(count)]  # fmt: skip


def test_instances_of_a_collection_have_ids_of_their_own(tmp_path: Path) -> None:
    import bpy
    from mathutils import Matrix

    places = grid(4)
    with scenes.new_blend(tmp_path / "chairs.blend") as scene:
        chairs = bpy.data.collections.new("chairs")
        cube = scenes.add_cube(SIZE, name="chair", link=False)
        chairs.objects.link(cube)
        for number, place in enumerate(places):
            empty = bpy.data.objects.new(f"Place {number:02d}", None)
            empty.instance_type, empty.instance_collection = "COLLECTION", chairs
            empty.matrix_basis = Matrix(place.tolist())
            scene.collection.objects.link(empty)
    session, frames = opened(tmp_path / "chairs.blend", tmp_path)
    named = session.facts()["ids"]["instance_index"]
    assert len(named) == 16
    found: dict[int, int] = {}
    for frame in frames:
        ids = compared(frame, places)
        # The same from every side.
        assert all(found.setdefault(number, ids[number]) == ids[number] for number in ids)
        assert set(np.unique(frame.passes["object_index"])) == {0, 1}
        assert set(np.unique(frame.passes["semantic_index"])) == {0, 1}
    assert len(found) == len(set(found.values())) == 16
    for number, index in found.items():
        said = named[str(index)]
        assert (said["name"], said["class"]) == ("chair", "chair")
        assert said["instancer"] == f"Place {number:02d}"


def scattered(obj: Any, cube: Any) -> None:
    """Geometry nodes that put a cube on each of an object's vertices."""
    import bpy

    group = bpy.data.node_groups.new("Scatter", "GeometryNodeTree")
    for way in ("INPUT", "OUTPUT"):
        group.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    before, after = group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")
    info, put = group.nodes.new("GeometryNodeObjectInfo"), None
    put = group.nodes.new("GeometryNodeInstanceOnPoints")
    info.inputs["Object"].default_value = cube
    info.inputs["As Instance"].default_value = True
    group.links.new(before.outputs[0], put.inputs["Points"])
    group.links.new(info.outputs["Geometry"], put.inputs["Instance"])
    group.links.new(put.outputs[0], after.inputs[0])
    obj.modifiers.new("Scatter", "NODES").node_group = group


def turned(frame: int) -> Any:
    return scenes.rotation(z=6.0 * (frame - 1)) @ scenes.moved(0.05 * frame, 0, 0)


def test_instances_of_geometry_nodes_have_ids_of_their_own_and_move(tmp_path: Path) -> None:
    from mathutils import Matrix

    points = np.array([(x - 1.5, y - 1.5, 0.2 * x) for y in range(4) for x in range(4)])
    with scenes.new_blend(tmp_path / "scatter.blend"):
        cube = scenes.add_cube(SIZE, name="stone")
        cube.hide_render = True
        floor = scenes.add_mesh(points, [(0, 1, 5, 4)], name="floor")
        floor.rotation_mode = "QUATERNION"
        for frame in range(1, 6):
            floor.matrix_basis = Matrix(turned(frame).tolist())
            for path in ("location", "rotation_quaternion"):
                floor.keyframe_insert(path, frame=frame)
        scattered(floor, cube)
    passes = [*PASSES, "flow_forward", "occlusion_forward"]
    session, frames = opened(
        tmp_path / "scatter.blend", tmp_path,
        **{"time.frames": "1:5:2", "pixels.passes": passes},
    )  # fmt: skip
    named = session.facts()["ids"]["instance_index"]
    found: dict[int, int] = {}
    for frame in frames:
        places = [turned(frame.time) @ scenes.moved(*point) for point in points]
        ids = compared(frame, places)
        assert all(found.setdefault(number, ids[number]) == ids[number] for number in ids)
        if frame.next is None:
            continue
        step = turned(frame.next.time) @ np.linalg.inv(turned(frame.time))
        seen = frame.passes["mask"] == 1
        here = frame.passes["position"][seen].astype(np.float64)
        then = here @ step[:3, :3].T + step[:3, 3]
        expected = frame.camera.project(then)[0] - frame.camera.project(here)[0]
        assert np.abs(frame.passes["flow_forward"][seen] - expected).max() < 1e-3
    assert len(found) == len(set(found.values())) == 16
    assert {named[str(index)]["instancer"] for index in found.values()} == {"floor"}


def test_particles_have_ids_of_their_own(tmp_path: Path) -> None:
    with scenes.new_blend(tmp_path / "particles.blend") as scene:
        cube = scenes.add_cube(0.3, name="crumb")
        cube.location = (0, 0, -50)
        side = [(x * 1.5, y * 1.5, 0) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        plane = scenes.add_mesh(side, [(0, 1, 4, 3), (1, 2, 5, 4), (3, 4, 7, 6), (4, 5, 8, 7)])
        plane.modifiers.new("Crumbs", "PARTICLE_SYSTEM")
        system = plane.particle_systems[0].settings
        system.type, system.count, system.render_type = "HAIR", 9, "OBJECT"
        system.instance_object, system.particle_size, system.emit_from = cube, 1.0, "VERT"
        system.use_advanced_hair = True
        scene.frame_set(1)
        plane.show_instancer_for_render = False
    session, (frame, _) = opened(tmp_path / "particles.blend", tmp_path)
    ids = np.unique(frame.passes["instance_index"][frame.passes["mask"] == 1])
    named = session.facts()["ids"]["instance_index"]
    crumbs = [index for index in ids if named.get(str(index), {}).get("instancer")]
    assert len(crumbs) >= 5
    # One place each: what has one id is no larger than one.
    for index in crumbs:
        points = frame.passes["position"][frame.passes["instance_index"] == index]
        # Hair is four units long, and so large is what stands for it; they stand 1.5 apart.
        assert np.ptp(points, axis=0).max() < 1.25


CLASSES = {
    "name": ({}, {"chair": "chair", "chair.001": "chair", "lamp": "lamp"}),
    "collection": ({"pixels.classes": "collection"},
                   {"chair": "seats", "chair.001": "seats", "lamp": "lights"}),
    "property": ({"pixels.classes": "property"}, {"chair": "7", "chair.001": "7", "lamp": None}),
    "own-property": ({"pixels.classes": "property", "pixels.class_property": "kind"},
                     {"chair": None, "chair.001": None, "lamp": "glow"}),
    "table": ({"pixels.classes": "table", "pixels.class_table": "{folder}/classes.csv"},
              {"chair": "furniture", "chair.001": "furniture", "lamp": "light"}),
}  # fmt: skip
ID_OF = {"7": 7, "furniture": 20, "light": 1}


@pytest.mark.parametrize("source", CLASSES)
def test_classes_come_from_names_collections_properties_and_tables(
    source: str, tmp_path: Path
) -> None:
    import bpy

    with scenes.new_blend(tmp_path / "room.blend") as scene:
        for number, name in enumerate(("chair", "chair.001", "lamp")):
            cube = scenes.add_cube(SIZE, name=name, link=False)
            cube.location.x = number - 1
            where = "lights" if name == "lamp" else "seats"
            collection = bpy.data.collections.get(where) or bpy.data.collections.new(where)
            if collection.name not in scene.collection.children:
                scene.collection.children.link(collection)
            collection.objects.link(cube)
            if name == "lamp":
                cube["kind"] = "glow"
            else:
                cube["category_id"] = 7
    (tmp_path / "classes.csv").write_text("pattern,class,id\nchair*,furniture,20\n*,light,\n")
    values, expected = CLASSES[source]
    filled = {path: text.format(folder=tmp_path) for path, text in values.items()}
    session, (frame, _) = opened(tmp_path / "room.blend", tmp_path, **filled)
    facts = session.facts()["ids"]
    names = {int(index): what["name"] for index, what in facts["semantic_index"].items()}
    seen = set()
    for index, what in facts["object_index"].items():
        mine = frame.passes["object_index"] == int(index)
        (number,) = np.unique(frame.passes["semantic_index"][mine])
        wanted = expected[what["name"]]
        assert names.get(int(number)) == wanted
        assert what.get("class") == wanted
        assert wanted not in ID_OF or number == ID_OF[wanted]
        seen.add(what["name"])
    assert seen == set(expected)


def test_materials_and_texture_coordinates_are_those_of_the_very_point(tmp_path: Path) -> None:
    red, blue = "red", "blue"
    with scenes.new_blend(tmp_path / "quads.blend"):
        corners = [(-2, -2, 0), (0, -2, 0), (2, -2, 0), (2, 2, 0), (0, 2, 0), (-2, 2, 0)]
        plane = scenes.add_mesh(corners, [(0, 1, 4, 5), (1, 2, 3, 4)], name="plane")
        for name in (red, blue):
            plane.data.materials.append(scenes.emission((1, 0, 0), name))
        plane.data.polygons[1].material_index = 1
        layer = plane.data.uv_layers.new()
        for loop, corner in zip(layer.data, plane.data.loops, strict=True):
            x, y, _ = corners[corner.vertex_index]
            # Beyond 0..1, where textures repeat.
            loop.uv = (1.5 * x, 0.25 * y - 1)
    session, frames = opened(tmp_path / "quads.blend", tmp_path)
    named = {what["name"]: int(index)
             for index, what in session.facts()["ids"]["material_index"].items()}  # fmt: skip
    assert set(named) == {red, blue}
    for frame in frames:
        seen = frame.passes["mask"] == 1
        x, y, _ = frame.passes["position"][seen].T
        sure = np.abs(x) > 1e-4
        expected = np.where(x < 0, named[red], named[blue])
        assert np.array_equal(frame.passes["material_index"][seen][sure], expected[sure])
        uv = np.stack([1.5 * x, 0.25 * y - 1], axis=1)
        assert np.abs(frame.passes["uv"][seen] - uv).max() < 1e-5
        assert not frame.passes["uv"][~seen].any()
