"""What is measured, what is moved, and what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.errors import NoGeometry

from . import scenes


def opened(path: Path, tmp_path: Path, method: str = "cube", **values: Any) -> Any:
    return scenes.open_scene(
        path, scenes.make_job({**scenes.ring(tmp_path), "asset.normalize": method, **values})
    )


def depth_of(scene: Any) -> tuple[Any, Any]:
    (frame,) = scenes.frames_of(scene)
    assert scenes.failed_checks(frame) == []
    return frame.passes["depth"], frame.camera


def assert_depth(depth: Any, expected: Any) -> None:
    """Equal in every pixel that is not on an edge."""
    hit = np.isfinite(expected)
    inside, outside = scenes.interior(hit), scenes.interior(~hit)
    assert hit.sum() > 30
    assert (depth[inside] > 0).all()
    assert (depth[outside] == 0).all()
    # Edges between faces and behind silhouettes move by the filter's width.
    error = np.abs(depth[inside] / expected[inside] - 1)
    assert np.quantile(error, 0.98) < 2e-4


@pytest.mark.core
@pytest.mark.parametrize(
    ("method", "low", "high"),
    [("cube", -1.0, 1.0), ("unit-cube", -0.5, 0.5), ("none", -0.5, 10.5)],
)
def test_two_cubes_far_apart_are_normalised_together(
    method: str, low: float, high: float, tmp_path: Path
) -> None:
    path = tmp_path / "pair.blend"
    with scenes.new_blend(path):
        scenes.add_cube(matrix=scenes.moved())
        scenes.add_cube(matrix=scenes.moved(10))
    cameras = scenes.ring(tmp_path, 256, distance=3.5)
    scene = opened(path, tmp_path, method, **cameras)
    box = scenes.bounds_of(scene)
    assert np.allclose(box[:, 0], (low, high), atol=1e-6)
    assert np.allclose(box[1] - box[0], (high - low) * np.array([1, 1 / 11, 1 / 11]), atol=1e-6)
    if method == "none":
        assert scene.asset.normalization.scale == 1.0
        return
    assert np.allclose(box.mean(axis=0), 0, atol=1e-6)
    depth, camera = depth_of(scene)
    edge = (high - low) / 11
    parts = [
        scenes.cast_box(camera, [start, -edge / 2, -edge / 2], [start + edge, edge / 2, edge / 2])
        for start in (low, high - edge)
    ]
    assert_depth(depth, np.fmin(parts[0][0], parts[1][0]))


@pytest.mark.core
def test_a_cube_off_its_origin_is_centred(tmp_path: Path) -> None:
    path = tmp_path / "off.blend"
    with scenes.new_blend(path):
        scenes.add_cube(0.3, (70, -5, 12), matrix=scenes.moved(1, 2, 3))
    scene = opened(path, tmp_path)
    assert np.allclose(scenes.bounds_of(scene), [[-1] * 3, [1] * 3], atol=1e-4)
    record = scene.asset.normalization
    moved = record.scale * np.array([71, -3, 15]) + record.translation
    assert np.allclose(moved, 0, atol=1e-4)
    depth, camera = depth_of(scene)
    assert_depth(depth, scenes.cast_box(camera, [-1] * 3, [1] * 3)[0])


@pytest.mark.core
def test_a_turned_sphere_is_measured_by_its_surface_not_by_its_boxs_corners(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sphere.blend"
    with scenes.new_blend(path):
        scenes.add_sphere(3.0, segments=96, matrix=scenes.rotation(40, 30, 20))
    for method, radius in (("cube", 1.0), ("unit-cube", 0.5), ("sphere", 1.0)):
        scene = opened(path, tmp_path, method)
        assert abs(scene.asset.normalization.scale - radius / 3) < 2e-3 * radius
        assert abs(scene.asset.normalization.bounds.radius - radius) < 3e-3
    depth, camera = depth_of(scene)
    expected, _ = scenes.cast_sphere(camera, (0, 0, 0), 1.0)
    inside = scenes.interior(np.isfinite(expected), 3)
    assert np.abs(depth - expected)[inside].max() < 5e-3


@pytest.mark.core
def test_a_long_box_fills_the_unit_sphere(tmp_path: Path) -> None:
    path = tmp_path / "long.blend"
    with scenes.new_blend(path):
        scenes.add_cube(matrix=scenes.moved(5, 5, 5) @ scenes.scaled(6, 3, 2))
    scene = opened(path, tmp_path, "sphere")
    # The diagonal of 6 x 3 x 2 is 7.
    assert abs(scene.asset.normalization.scale - 2 / 7) < 2e-3 * 2 / 7
    box = scenes.bounds_of(scene)
    assert np.linalg.norm(box, axis=1).max() <= 1 + 1e-6
    assert np.linalg.norm(box, axis=1).min() > 0.997


@pytest.mark.core
def test_nested_parents_with_turns_and_uneven_scales_move_as_one(tmp_path: Path) -> None:
    import bpy
    from mathutils import Matrix

    path = tmp_path / "nested.blend"
    outer = scenes.moved(3, -2, 1) @ scenes.rotation(20, 40, -30) @ scenes.scaled(2, 1, 0.5)
    inner = scenes.moved(1, 1, 0) @ scenes.rotation(0, 0, 45) @ scenes.scaled(1, 3, 1)
    leaf = scenes.rotation(10, 20, 30)
    with scenes.new_blend(path) as source:
        above = bpy.data.objects.new("Above", None)
        source.collection.objects.link(above)
        above.matrix_basis = Matrix(outer.tolist())
        between = scenes.add_cube(0.2, name="Between", parent=above, matrix=inner)
        scenes.add_cube(name="Leaf", parent=between, matrix=leaf)
    scene = opened(path, tmp_path)

    def corners(placed: Any, size: float) -> Any:
        return scenes.CUBE_VERTICES * size @ placed[:3, :3].T + placed[:3, 3]

    all_corners = np.concatenate(
        [corners(outer @ inner, 0.2), corners(outer @ inner @ leaf, 1.0)]
    )
    low, high = all_corners.min(axis=0), all_corners.max(axis=0)
    scale = 2 / (high - low).max()
    assert abs(scene.asset.normalization.scale / scale - 1) < 1e-5
    middle = (low + high) / 2
    assert np.allclose(
        scenes.bounds_of(scene), [(low - middle) * scale, (high - middle) * scale], atol=1e-5
    )
    depth, camera = depth_of(scene)
    normalised = scenes.scaled(scale, scale, scale) @ scenes.moved(*-middle)
    parts = [
        scenes.cast_box(camera, [-size / 2] * 3, [size / 2] * 3, normalised @ placed)[0]
        for placed, size in ((outer @ inner, 0.2), (outer @ inner @ leaf, 1.0))
    ]
    assert_depth(depth, np.fmin(*parts))


# --- Time -----------------------------------------------------------------------------------


def animated(path: Path, frame: int) -> Path:
    """A cube beside a still one; it is 1 wide at frame 1, and 3 away at frame 21."""
    with scenes.new_blend(path) as source:
        scenes.add_cube(name="Still")
        mover = scenes.add_cube(0.5, name="Mover")
        for time, x in ((1, 1.0), (21, 3.0)):
            mover.location.x = x
            mover.keyframe_insert("location", index=0, frame=time)
        source.frame_start, source.frame_end = 1, 21
        source.frame_set(frame)
    return path


@pytest.mark.core
def test_all_views_show_the_same_moment(tmp_path: Path) -> None:
    path = animated(tmp_path / "moving.blend", 21)
    pose = scenes.look_at((2, -7, 2), (1.5, 0, 0))
    other = scenes.look_at((2, 7, 3), (1.5, 0, 0))
    cameras = scenes.camera_file(
        tmp_path / "same.json", [pose, other, pose, pose], scenes.lens(60, (96, 64))
    )
    seen = {}
    for frame in (None, 1, 21):
        job = scenes.make_job({**cameras, "asset.normalize": "none", "asset.frame": frame})
        scene = scenes.open_scene(path, job)
        assert scene.asset.record["frame"] == (frame or 21)
        views = scenes.frames_of(scene)
        assert {view.time for view in views} == {frame or 21}
        assert not any(view.timed for view in views)
        for again in views[2:]:
            assert np.array_equal(views[0].passes["depth"], again.passes["depth"])
        still = scenes.cast_box(views[0].camera, [-0.5] * 3, [0.5] * 3)[0]
        x = 1.0 if frame == 1 else 3.0
        mover = scenes.cast_box(views[0].camera, [x - 0.25, -0.25, -0.25], [x + 0.25, 0.25, 0.25])
        assert_depth(views[0].passes["depth"], np.fmin(still, mover[0]))
        seen[frame] = views[0].passes["depth"]
    assert np.array_equal(seen[None], seen[21])
    assert not np.array_equal(seen[1], seen[21])


def test_shots_at_several_times_are_frames_of_their_own(tmp_path: Path) -> None:
    from objaverse_render_addon.blender import pipeline
    from objaverse_render_addon.frame import FrameKey, Shot

    path = animated(tmp_path / "moving.blend", 21)
    poses = [scenes.look_at(eye, (1.5, 0, 0)) for eye in ((2, -7, 2), (2, 7, 3))]
    cameras = scenes.camera_file(tmp_path / "two.json", poses, scenes.lens(60, (96, 64)))
    session = scenes.open_scene(path, scenes.make_job({**cameras, "asset.normalize": "none"}))
    shots = [Shot(view, time) for view in session.views for time in (1, 21)]
    frames = list(pipeline.frames(session.renderer, shots))
    assert [frame.key for frame in frames] == [FrameKey(v, t) for v in (0, 1) for t in (1, 21)]
    for frame in frames:
        still = scenes.cast_box(frame.camera, [-0.5] * 3, [0.5] * 3)[0]
        x = 1.0 if frame.time == 1 else 3.0
        mover = scenes.cast_box(frame.camera, [x - 0.25, -0.25, -0.25], [x + 0.25, 0.25, 0.25])
        assert_depth(frame.passes["depth"], np.fmin(still, mover[0]))
        assert scenes.failed_checks(frame) == []
        # Colour is of the same time as the geometry.
        off = frame.passes["mask"] != (frame.passes["rgb"][..., 3] > 127)
        assert off.mean() < 0.02
    assert len({frame.noise_seed for frame in frames}) == 4


def rigged(path: Path) -> Path:
    """A box whose upper half follows a bone that moves up by 1 until frame 11; huge bone shapes."""
    import bpy

    with scenes.new_export(path, export_animations=True, export_frame_range=False) as source:
        levels = [-0.5, 0.0, 0.5]
        vertices = [(x, y, z) for z in levels for x, y in
                    ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))]  # fmt: skip
        faces = [(3, 2, 1, 0), (8, 9, 10, 11)]
        for level in (0, 4):
            faces += [
                (level + i, level + (i + 1) % 4, level + 4 + (i + 1) % 4, level + 4 + i)
                for i in range(4)
            ]
        skin = scenes.add_mesh(vertices, faces, name="Skin")
        data = bpy.data.armatures.new("Rig")
        rig = bpy.data.objects.new("Rig", data)
        source.collection.objects.link(rig)
        bpy.context.view_layer.objects.active = rig
        bpy.ops.object.mode_set(mode="EDIT")
        for name, start in (("low", -0.5), ("high", 0.0)):
            bone = data.edit_bones.new(name)
            bone.head, bone.tail = (0, 0, start), (0, 0, start + 0.5)
        bpy.ops.object.mode_set(mode="OBJECT")
        for name, indices in (("low", range(4)), ("high", range(4, 12))):
            skin.vertex_groups.new(name=name).add(list(indices), 1.0, "REPLACE")
        skin.modifiers.new("Armature", "ARMATURE").object = rig
        skin.parent = rig
        bone = rig.pose.bones["high"]
        for time, y in ((1, 0.0), (11, 1.0)):
            bone.location.y = y
            bone.keyframe_insert("location", frame=time)
        source.frame_start, source.frame_end = 1, 11
        source.frame_set(1)
    return path


@pytest.mark.core
def test_a_rigged_file_is_posed_at_the_frame_and_bone_shapes_do_not_count(tmp_path: Path) -> None:
    path = rigged(tmp_path / "rigged.glb")
    for frame, top in ((1, 0.5), (11, 1.5)):
        scene = opened(path, tmp_path, "none", **{"asset.frame": frame})
        assert np.allclose(
            scenes.bounds_of(scene), [[-0.5] * 3, [0.5, 0.5, top]], atol=2e-3
        ), frame
        depth, camera = depth_of(scene)
        assert_depth(depth, scenes.cast_box(camera, [-0.5] * 3, [0.5, 0.5, top])[0])


# --- What counts as the asset ---------------------------------------------------------------


@pytest.mark.core
def test_what_does_not_render_does_not_count(tmp_path: Path) -> None:
    import bpy

    path = tmp_path / "hidden.blend"
    with scenes.new_blend(path) as source:
        scenes.add_cube()
        scenes.add_cube(50.0, name="No render").hide_render = True
        # Hidden in the viewport only: it renders, and so it counts.
        scenes.add_cube(0.5, name="Viewport", matrix=scenes.moved(1.75)).hide_viewport = True
        eye = scenes.add_cube(0.5, name="Eye", matrix=scenes.moved(-1.75))
        eye.hide_set(True)
        for name, change in (("hidden", "hide_render"), ("excluded", "exclude")):
            collection = bpy.data.collections.new(name)
            source.collection.children.link(collection)
            inner = bpy.data.collections.new(f"in {name}")
            collection.children.link(inner)
            inner.objects.link(scenes.add_cube(40.0, name=name, link=False))
            if change == "exclude":
                layer = source.view_layers[0].layer_collection.children[name]
                layer.exclude = True
            else:
                collection.hide_render = True
        for name, prop in (("camera ray", "visible_camera"), ("holdout", "is_holdout")):
            setattr(scenes.add_cube(30.0, name=name), prop, prop == "is_holdout")
        # Loose points and edges, and a mesh with nothing in it.
        scenes.add_mesh([*scenes.CUBE_VERTICES * 0.1, (90, 0, 0)], scenes.CUBE_FACES)
        scenes.add_mesh([], [], name="Empty", matrix=scenes.moved(100))
        scenes.add_mesh([(0, 0, 0), (0, 0, 80)], [], name="Points")
        # Another scene of the same file.
        scenes_new = bpy.data.scenes.new("Other")
        scenes_new.collection.objects.link(scenes.add_cube(60.0, name="Other", link=False))
    scene = opened(path, tmp_path, "none")
    assert np.allclose(scenes.bounds_of(scene), [[-2, -0.5, -0.5], [2, 0.5, 0.5]], atol=1e-5)
    depth, camera = depth_of(scene)
    parts = [
        scenes.cast_box(camera, [x - s, -s, -s], [x + s, s, s])[0]
        for x, s in ((0, 0.5), (1.75, 0.25), (-1.75, 0.25))
    ]
    assert_depth(depth, np.fmin(np.fmin(*parts[:2]), parts[2]))


@pytest.mark.core
def test_collection_instances_are_placed_and_their_originals_are_not(tmp_path: Path) -> None:
    import bpy

    path = tmp_path / "instances.blend"
    with scenes.new_blend(path) as source:
        collection = bpy.data.collections.new("Parts")
        collection.objects.link(scenes.add_cube(link=False, name="Part"))
        source.collection.children.link(collection)
        source.view_layers[0].layer_collection.children["Parts"].exclude = True
        for x in (0, 4):
            empty = bpy.data.objects.new(f"Instance {x}", None)
            empty.instance_type, empty.instance_collection = "COLLECTION", collection
            empty.location.z = x
            source.collection.objects.link(empty)
    scene = opened(path, tmp_path, "none")
    assert np.allclose(scenes.bounds_of(scene), [[-0.5] * 3, [0.5, 0.5, 4.5]], atol=1e-6)
    scene = opened(path, tmp_path, "cube")
    assert np.allclose(scenes.bounds_of(scene)[:, 2], [-1, 1], atol=1e-6)
    depth, camera = depth_of(scene)
    parts = [
        scenes.cast_box(camera, [-0.2, -0.2, z], [0.2, 0.2, z + 0.4])[0] for z in (-1.0, 0.6)
    ]
    assert_depth(depth, np.fmin(*parts))


@pytest.mark.core
def test_curves_text_metaballs_and_modifiers_count_as_they_render(tmp_path: Path) -> None:
    import bpy

    def curve(source: Any) -> None:
        data = bpy.data.curves.new("Curve", "CURVE")
        data.dimensions = "3D"
        line = data.splines.new("POLY")
        line.points.add(1)
        line.points[0].co, line.points[1].co = (0, 0, 0, 1), (0, 0, 3, 1)
        data.bevel_depth = 0.5
        data.bevel_resolution = 8
        source.collection.objects.link(bpy.data.objects.new("Curve", data))

    def text(source: Any) -> None:
        data = bpy.data.curves.new("Text", "FONT")
        data.body, data.extrude = "HI", 0.1
        source.collection.objects.link(bpy.data.objects.new("Text", data))

    def metaball(source: Any) -> None:
        data = bpy.data.metaballs.new("Ball")
        data.elements.new().radius = 2.0
        data.resolution, data.render_resolution = 1.0, 0.1
        source.collection.objects.link(bpy.data.objects.new("Ball", data))

    def array(_: Any) -> None:
        obj = scenes.add_cube()
        modifier = obj.modifiers.new("Array", "ARRAY")
        modifier.count = 4

    def array_in_the_viewport_only(_: Any) -> None:
        obj = scenes.add_cube()
        modifier = obj.modifiers.new("Array", "ARRAY")
        modifier.count, modifier.show_render = 4, False

    def array_in_renders_only(_: Any) -> None:
        obj = scenes.add_cube()
        modifier = obj.modifiers.new("Array", "ARRAY")
        modifier.count, modifier.show_viewport = 4, False

    def subdivided(_: Any) -> None:
        obj = scenes.add_cube(2.0)
        modifier = obj.modifiers.new("Subdivision", "SUBSURF")
        modifier.levels, modifier.render_levels = 0, 3

    def shape_key(_: Any) -> None:
        obj = scenes.add_cube()
        obj.shape_key_add(name="Basis")
        key = obj.shape_key_add(name="Tall")
        for index in (1, 3, 5, 7):
            key.data[index].co.z = 2.5
        key.value = 0.5

    # Half the extent along x, y, z; None where it is not known to the last digit.
    expected: dict[Any, tuple[float | None, ...]] = {
        curve: (0.5, 0.5, 1.5),
        text: (None, None, 0.1),
        metaball: (None, None, None),
        array: (2.0, 0.5, 0.5),
        array_in_the_viewport_only: (0.5, 0.5, 0.5),
        array_in_renders_only: (2.0, 0.5, 0.5),
        subdivided: (None, None, None),
        shape_key: (0.5, 0.5, 1.0),
    }
    for build, half in expected.items():
        path = tmp_path / f"{build.__name__}.blend"
        with scenes.new_blend(path) as source:
            build(source)
        scene = opened(path, tmp_path, "none")
        box = scenes.bounds_of(scene)
        for axis, value in enumerate(half):
            if value is not None:
                extent = (box[1] - box[0])[axis] / 2
                assert abs(extent - value) < 0.02 * value, (build.__name__, axis, extent)
        if build is subdivided:
            # The limit surface of a cube is much rounder than the cube.
            assert 0.5 < box[1][0] < 0.9
        # What renders is what was measured: the pictures fill the box and stay inside.
        scene = opened(path, tmp_path, "cube", **{"pixels.resolution": [128, 128]})
        (frame,) = scenes.frames_of(scene)
        checks = {check.name: check for check in frame.checks}
        assert checks["mask_in_projected_box"].status == "ok", build.__name__
        assert checks["mask_fills_projected_box"].value < 2.5, build.__name__


@pytest.mark.core
def test_cameras_and_lights_of_the_file_are_left_out(tmp_path: Path) -> None:
    import bpy

    path = tmp_path / "studio.blend"
    with scenes.new_blend(path) as source:
        scenes.add_cube(material=scenes.principled(Base_Color=(0.5, 0.5, 0.5, 1)))
        camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
        camera.location, camera.data.lens = (30, 0, 0), 20
        source.collection.objects.link(camera)
        source.camera = camera
        lamp = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "POINT"))
        lamp.location, lamp.data.energy = (3, -5, 4), 1e6
        source.collection.objects.link(lamp)
        world = bpy.data.worlds.new("World")
        source.world = world
    job = {**scenes.ring(tmp_path), "engine.samples": 8, "pixels.passes": ["rgb", "mask"]}
    (white,) = scenes.shoot(path, job)
    mean = white.passes["rgb"][white.passes["mask"] == 1].mean(axis=0)
    # Half grey under white light; the lamp would burn it out.
    assert 150 < mean[0] < 195
    scene = scenes.open_scene(path, scenes.make_job({**job, "lighting.mode": "keep"}))
    assert scene.stage.record["lighting"]["lights"] == ["Lamp"]
    (kept,) = scenes.frames_of(scene)
    assert kept.passes["rgb"][kept.passes["mask"] == 1].max() == 255
    assert [obj.type for obj in scene.stage.scene.objects if obj.type == "CAMERA"] == ["CAMERA"]
    assert np.allclose(
        kept.camera.camera_to_world, white.camera.camera_to_world
    ), "the file's camera took over"
    assert scene.asset.record["lamp_count"] == 1


def test_kept_lights_light_a_normalised_asset_as_they_lit_the_original(tmp_path: Path) -> None:
    import bpy

    path = tmp_path / "lit.blend"
    with scenes.new_blend(path) as source:
        scenes.add_cube(8.0, material=scenes.principled(Base_Color=(0.5, 0.5, 0.5, 1)))
        lamp = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "POINT"))
        lamp.location, lamp.data.energy = (12, -20, 16), 4e4
        lamp.data.shadow_soft_size = 1.0
        source.collection.objects.link(lamp)
    pictures = []
    for method, factor in (("none", 4.0), ("cube", 1.0)):
        pose = scenes.look_at((2.5 * factor, -4 * factor, 2 * factor))
        cameras = scenes.camera_file(tmp_path / "lit.json", [pose], scenes.lens(45, (64, 64)))
        values = {"asset.normalize": method, "lighting.mode": "keep", "engine.samples": 32}
        (frame,) = scenes.shoot(path, {**cameras, **values, "pixels.passes": ["rgb"]})
        pictures.append(frame.passes["rgb"].astype(int))
    assert pictures[0].max() > 60
    assert np.abs(pictures[0] - pictures[1]).mean() < 1.0


def test_a_file_with_nothing_to_see_has_no_geometry(tmp_path: Path) -> None:
    path = tmp_path / "nothing.blend"
    with scenes.new_blend(path):
        scenes.add_mesh([(0, 0, 0), (0, 0, 80)], [], name="Points")
        scenes.add_cube(name="Hidden").hide_render = True
    with pytest.raises(NoGeometry):
        opened(path, tmp_path)




# --- Scripts --------------------------------------------------------------------------------


@pytest.mark.core
def test_python_in_a_blend_file_never_runs(tmp_path: Path) -> None:
    import bpy

    path = tmp_path / "scripted.blend"
    by_text, by_driver = tmp_path / "text-ran", tmp_path / "driver-ran"
    with scenes.new_blend(path):
        cube = scenes.add_cube()
        text = bpy.data.texts.new("startup.py")
        text.write(f"open({str(by_text)!r}, 'w').close()")
        text.use_module = True
        driver = cube.driver_add("location", 0).driver
        driver.type = "SCRIPTED"
        driver.expression = f"__import__('pathlib').Path({str(by_driver)!r}).touch() or 0"
    # The file works: with scripts allowed it does what it says.
    preferences = bpy.context.preferences.filepaths
    try:
        preferences.use_scripts_auto_execute = True
        bpy.ops.wm.open_mainfile(filepath=str(path), use_scripts=True)
        bpy.context.view_layer.update()
        assert by_text.exists()
        by_text.unlink()
        assert by_driver.exists()
        by_driver.unlink()
    finally:
        preferences.use_scripts_auto_execute = False
    preferences.use_scripts_auto_execute = True  # As a careless user's settings have it.
    scene = opened(path, tmp_path)
    depth, camera = depth_of(scene)
    assert_depth(depth, scenes.cast_box(camera, [-1] * 3, [1] * 3)[0])
    assert not by_text.exists()
    assert not by_driver.exists()
