"""What is a surface, and what it is made of: every kind of transparency, of missing material,
of glTF's other materials, and faces seen from behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.errors import EmptyPictures

from . import scenes

WALL, PANE = (0.8, 0.1, 0.05), (0.1, 0.2, 0.9)
PASSES = ["rgb", "depth", "mask", "albedo", "roughness_metallic", "object_index"]


def straight(tmp_path: Path, width: float, size: tuple[int, int], far: float = 40.0) -> Any:
    """The job's fields for a camera that looks along +Y from far away, and sees that width."""
    fov = 2 * np.degrees(np.arctan(width / 2 / far))
    pose = scenes.look_at((0, -far, 0))
    cameras = scenes.camera_file(tmp_path / "front.json", [pose], scenes.lens(fov, size))
    return {**cameras, "asset.normalize": "none", "pixels.passes": PASSES}


def square(x: float, y: float, material: Any, name: str = "Square", half: float = 0.45) -> Any:
    """Upright, in front of the camera."""
    corners = [(x - half, y, -half), (x + half, y, -half), (x + half, y, half), (x - half, y, half)]
    return scenes.add_mesh(corners, [(0, 1, 2, 3)], name=name, material=material)


def seen_at(frame: Any, name: str, x: float) -> Any:
    """Values of a pass at the pixel of the point (x, 0, 0)."""
    ((u, v),), _ = frame.camera.project(np.array([[x, 0.0, 0.0]]))
    return frame.passes[name][int(v), int(u)]


# --- Transparency ---------------------------------------------------------------------------


def shader(tree: Any, kind: str, **inputs: Any) -> Any:
    node = tree.nodes.new(kind)
    for key, value in inputs.items():
        node.inputs[key.replace("_", " ")].default_value = value
    return node


def group_of(name: str, ways: list[tuple[str, str, str]]) -> tuple[Any, Any, Any]:
    import bpy

    group = bpy.data.node_groups.new(name, "ShaderNodeTree")
    for way, kind, socket in ways:
        group.interface.new_socket(socket, in_out=way, socket_type=f"NodeSocket{kind}")
    return group, group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")


def principled(tree: Any, alpha: float = 1.0) -> Any:
    return shader(
        tree, "ShaderNodeBsdfPrincipled", Base_Color=(*PANE, 1), Roughness=0.3, Alpha=alpha
    )


def mixed(tree: Any, factor: Any, first: Any, second: Any) -> Any:
    mix = tree.nodes.new("ShaderNodeMixShader")
    if isinstance(factor, float):
        mix.inputs[0].default_value = factor
    else:
        tree.links.new(factor, mix.inputs[0])
    tree.links.new(first, mix.inputs[1])
    tree.links.new(second, mix.inputs[2])
    return mix.outputs[0]


def clear(tree: Any) -> Any:
    return tree.nodes.new("ShaderNodeBsdfTransparent").outputs[0]


def alpha(tree: Any, opacity: float) -> Any:
    return principled(tree, opacity).outputs[0]


def alpha_linked(tree: Any, opacity: float) -> Any:
    value, node = tree.nodes.new("ShaderNodeValue"), principled(tree)
    value.outputs[0].default_value = opacity
    tree.links.new(value.outputs[0], node.inputs["Alpha"])
    return node.outputs[0]


def mix(tree: Any, opacity: float) -> Any:
    return mixed(tree, opacity, clear(tree), principled(tree).outputs[0])


def mix_of_alpha(tree: Any, opacity: float) -> Any:
    """Neither reaches the threshold alone, or both do."""
    return mixed(tree, opacity**0.5, clear(tree), principled(tree, opacity**0.5).outputs[0])


def mix_of_mixes(tree: Any, opacity: float) -> Any:
    both = (mixed(tree, opacity, clear(tree), principled(tree).outputs[0]) for _ in range(2))
    return mixed(tree, 0.25, *both)


def tinted(tree: Any, opacity: float) -> Any:
    """A sum whose transparent part has a colour: what it does not let through is opaque."""
    add = tree.nodes.new("ShaderNodeAddShader")
    node = shader(tree, "ShaderNodeBsdfTransparent", Color=(*(1 - opacity,) * 3, 1))
    tree.links.new(node.outputs[0], add.inputs[0])
    tree.links.new(principled(tree).outputs[0], add.inputs[1])
    return add.outputs[0]


def through_group(tree: Any, opacity: float) -> Any:
    """Its alpha comes into a group from outside."""
    ways = [("INPUT", "Float", "Opacity"), ("OUTPUT", "Shader", "Shader")]
    group, start, end = group_of("Through", ways)
    node = principled(group)
    group.links.new(start.outputs[0], node.inputs["Alpha"])
    group.links.new(node.outputs[0], end.inputs[0])
    outer = tree.nodes.new("ShaderNodeGroup")
    outer.node_tree = group
    outer.inputs[0].default_value = opacity
    return outer.outputs[0]


def fading_group(tree: Any, opacity: float) -> Any:
    """A group that makes the shader that it is given transparent."""
    ways = [("INPUT", "Shader", "Shader"), ("OUTPUT", "Shader", "Shader")]
    group, start, end = group_of("Fading", ways)
    group.links.new(mixed(group, opacity, clear(group), start.outputs[0]), end.inputs[0])
    outer = tree.nodes.new("ShaderNodeGroup")
    outer.node_tree = group
    tree.links.new(principled(tree).outputs[0], outer.inputs[0])
    return outer.outputs[0]


def by_angle(tree: Any, opacity: float) -> Any:
    """Layer Weight says 0 where the camera looks straight at a face."""
    weight, add = tree.nodes.new("ShaderNodeLayerWeight"), tree.nodes.new("ShaderNodeMath")
    add.operation = "ADD"
    add.inputs[1].default_value = opacity
    tree.links.new(weight.outputs["Facing"], add.inputs[0])
    return mixed(tree, add.outputs[0], clear(tree), principled(tree).outputs[0])


def for_the_camera(tree: Any, opacity: float) -> Any:
    """Camera rays see one side of a mix, whatever other rays see."""
    path = tree.nodes.new("ShaderNodeLightPath").outputs["Is Camera Ray"]
    sides = clear(tree), principled(tree).outputs[0]
    return mixed(tree, path, *(sides if opacity > 0.5 else sides[::-1]))


KINDS = [
    alpha, alpha_linked, mix, mix_of_alpha, mix_of_mixes, tinted, through_group, fading_group,
    by_angle, for_the_camera,
]  # fmt: skip


@pytest.mark.core
@pytest.mark.parametrize(("opacity", "layers"), [(0.2, 40), (0.7, 3)])
def test_material_passes_are_those_of_the_nearest_surface_that_counts(
    opacity: float, layers: int, tmp_path: Path
) -> None:
    """More layers than Blender's own limit, of each kind of transparency, before a wall."""
    path, places = tmp_path / "panes.blend", np.arange(len(KINDS)) - (len(KINDS) - 1) / 2
    with scenes.new_blend(path):
        for kind, x in zip(KINDS, places, strict=True):
            material, tree, output = scenes.new_material(kind.__name__)
            tree.links.new(kind(tree, opacity), output.inputs["Surface"])
            for layer in range(layers):
                square(float(x), -0.05 * layer, material, kind.__name__)
        half = len(KINDS) / 2
        wall = scenes.principled(Base_Color=(*WALL, 1), Roughness=0.6, Metallic=1.0)
        square(0, 0.5, wall, "Wall", half)
    job = scenes.make_job(straight(tmp_path, len(KINDS), (160, 160)))
    scene = scenes.open_scene(path, job)
    assert scene.warnings == []
    assert scene.asset.record["materials"]["view_dependent"] == ["by_angle"]
    (frame,) = scenes.frames_of(scene)
    assert scenes.failed_checks(frame) == []
    assert {check.name: check.status for check in frame.checks}["materials_written"] == "ok"
    counts = opacity > 0.5
    for kind, x in zip(KINDS, places, strict=True):
        albedo, rough_metal = (PANE, (0.3, 0)) if counts else (WALL, (0.6, 1))
        name = kind.__name__
        assert seen_at(frame, "albedo", x) == pytest.approx(albedo, abs=1e-6), name
        assert seen_at(frame, "roughness_metallic", x) == pytest.approx(rough_metal, abs=1e-6), name
        depth = 40 - 0.05 * (layers - 1) if counts else 40.5
        assert seen_at(frame, "depth", x) == pytest.approx(depth, abs=1e-4), name
    # All that is not a pane is the wall, which is a little further than the picture's edge.
    assert (frame.passes["mask"][2:-2, 2:-2] == 1).all()
    beside = frame.passes["albedo"][2:60, 2:-2].reshape(-1, 3)
    assert np.abs(beside - WALL).max() < 1e-6
    # The edits are gone with the geometry: colour has the file's own shaders.
    tree = next(item for item in scene.asset.materials if item.name == "alpha").node_tree
    assert {node.type for node in tree.nodes} & {"BSDF_TRANSPARENT", "MIX_SHADER"} == set()


@pytest.mark.core
def test_glass_is_a_surface_and_values_beyond_their_range_are_cut_and_named(
    tmp_path: Path,
) -> None:
    path = tmp_path / "glass.blend"
    with scenes.new_blend(path):
        material, tree, output = scenes.new_material("Glass")
        node = shader(tree, "ShaderNodeBsdfGlass", Color=(0.2, 0.9, 0.4, 1), Roughness=0.1)
        tree.links.new(node.outputs[0], output.inputs["Surface"])
        square(-0.5, 0, material)
        square(0.5, 0, scenes.emission((3.0, 0.5, -1.0), "Sun"))
        square(0, 1, scenes.principled(Base_Color=(*WALL, 1)), half=1)
    scene = scenes.open_scene(path, scenes.make_job(straight(tmp_path, 2, (64, 64))))
    (frame,) = scenes.frames_of(scene)
    assert scene.warnings == ["materials-out-of-range: Sun"]
    assert seen_at(frame, "albedo", -0.5) == pytest.approx((0.2, 0.9, 0.4))
    assert seen_at(frame, "roughness_metallic", -0.5) == pytest.approx((0.1, 0))
    assert seen_at(frame, "albedo", 0.5) == pytest.approx((1, 0.5, 0))
    assert seen_at(frame, "depth", -0.5) == pytest.approx(40, abs=1e-4)


@pytest.mark.core
def test_a_surface_that_writes_nothing_is_a_doubt(tmp_path: Path) -> None:
    path = tmp_path / "two.blend"
    with scenes.new_blend(path):
        square(-0.5, 0, scenes.principled("Good", Base_Color=(*WALL, 1)))
        square(0.5, 0, scenes.principled("Silent", Base_Color=(*WALL, 1)))
    scene = scenes.open_scene(path, scenes.make_job(straight(tmp_path, 2, (64, 64))))
    tree = next(item for item in scene.asset.materials if item.name == "Silent").node_tree
    for node in [node for node in tree.nodes if node.type == "OUTPUT_AOV"]:
        tree.nodes.remove(node)
    scene.asset.pass_edits._undo.clear()
    (frame,) = scenes.frames_of(scene)
    found = {check.name: (check.status, check.value) for check in frame.checks}
    assert found["materials_written"] == ("doubt", pytest.approx(0.5, abs=0.02))
    assert found["materials_as_said"] == ("failed", pytest.approx(0.5, abs=0.02))


# --- No material ----------------------------------------------------------------------------


@pytest.mark.core
def test_what_has_no_material_is_grey_or_has_its_vertex_colours(tmp_path: Path) -> None:
    import bpy

    grey, paint = (0.5, 0.5, 0.5), (0.25, 0.5, 0.75)

    def painted(obj: Any) -> Any:
        layer = obj.data.color_attributes.new("Paint", "FLOAT_COLOR", "POINT")
        layer.data.foreach_set("color", [*paint, 1.0] * len(obj.data.vertices))
        return obj

    def instanced(obj: Any, x: float) -> None:
        collection = bpy.data.collections.new(obj.name)
        collection.objects.link(obj)
        empty = bpy.data.objects.new(f"{obj.name} here", None)
        empty.instance_type, empty.instance_collection = "COLLECTION", collection
        empty.location.x = x
        bpy.context.scene.collection.objects.link(empty)

    def generated(obj: Any, material: Any) -> None:
        """A cube of geometry nodes beside a cube that has a material, or without any."""
        group = bpy.data.node_groups.new("Make", "GeometryNodeTree")
        for way in ("INPUT", "OUTPUT"):
            group.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
        end, join = group.nodes.new("NodeGroupOutput"), group.nodes.new("GeometryNodeJoinGeometry")
        for z, given in ((0.25, material), (-0.25, None)):
            cube = group.nodes.new("GeometryNodeMeshCube")
            cube.inputs["Size"].default_value = (0.8, 0.8, 0.5)
            move = group.nodes.new("GeometryNodeTransform")
            move.inputs["Translation"].default_value = (0, 0, z)
            group.links.new(cube.outputs[0], move.inputs[0])
            last = move
            if given is not None:
                last = group.nodes.new("GeometryNodeSetMaterial")
                last.inputs["Material"].default_value = given
                group.links.new(move.outputs[0], last.inputs[0])
            group.links.new(last.outputs[0], join.inputs[0])
        group.links.new(join.outputs[0], end.inputs[0])
        obj.modifiers.new("Make", "NODES").node_group = group

    path = tmp_path / "bare.blend"
    with scenes.new_blend(path):
        red = scenes.principled("Red", Base_Color=(*WALL, 1))
        # Half of the faces in an empty slot.
        half = scenes.add_cube(0.8, (-4, 0, 0), name="Half", material=red)
        half.data.materials.append(None)
        half.data.polygons.foreach_set("material_index", [1, 1, 1, 1, 1, 1])
        scenes.add_cube(0.8, (-3, 0, 0), name="Bare")
        painted(scenes.add_cube(0.8, (-2, 0, 0), name="Painted"))
        instanced(scenes.add_cube(0.8, name="Inner", link=False), -1)
        instanced(painted(scenes.add_cube(0.8, name="Inner painted", link=False)), 0)
        generated(scenes.add_cube(0.8, name="Made", matrix=scenes.moved(1)), red)
        generated(scenes.add_cube(0.8, name="Made alone", matrix=scenes.moved(2)), None)
        flat = bpy.data.materials.new("Flat")
        if flat.node_tree is None:
            flat.diffuse_color = (0.3, 0.6, 0.9, 1)
        else:
            next(n for n in flat.node_tree.nodes if n.type == "BSDF_PRINCIPLED").inputs[
                "Base Color"
            ].default_value = (0.3, 0.6, 0.9, 1)
        scenes.add_cube(0.8, (3, 0, 0), name="Flat", material=flat)
    scene = scenes.open_scene(path, scenes.make_job(straight(tmp_path, 9, (180, 40))))
    assert scene.warnings == []
    record = scene.asset.record["materials"]
    assert record["neutral"] == ["Bare", "Half", "Inner", "Made", "Made alone"]
    assert record["vertex_colors"] == ["Inner painted", "Painted"]
    (frame,) = scenes.frames_of(scene)
    expected = [grey, grey, paint, grey, paint, None, grey, (0.3, 0.6, 0.9)]
    for x, color in zip(range(-4, 4), expected, strict=True):
        if color is not None:
            assert seen_at(frame, "albedo", x) == pytest.approx(color, abs=1e-6), x
    ((u, upper), (_, lower)), _ = frame.camera.project(np.array([[1, 0, 0.3], [1, 0, -0.3]]))
    assert frame.passes["albedo"][int(upper), int(u)] == pytest.approx(WALL, abs=1e-6)
    assert frame.passes["albedo"][int(lower), int(u)] == pytest.approx(grey, abs=1e-6)
    assert {check.name: check.status for check in frame.checks}["materials_written"] == "ok"


@pytest.mark.core
def test_shadow_catchers_and_holdouts_are_no_objects(tmp_path: Path) -> None:
    import bpy

    path = tmp_path / "studio.blend"
    with scenes.new_blend(path):
        scenes.add_cube(1.0, material=scenes.principled(Base_Color=(*WALL, 1)))
        floor = scenes.add_cube(20.0, (0, 0, -10.6), name="Floor")
        floor.is_shadow_catcher = True
        hole = scenes.add_cube(0.5, (0, -3, 0), name="Hole")
        hole.is_holdout = True
        inner = scenes.add_cube(5.0, name="Instanced", link=False)
        inner.is_shadow_catcher = True
        collection = bpy.data.collections.new("Catcher")
        collection.objects.link(inner)
        empty = bpy.data.objects.new("Here", None)
        empty.instance_type, empty.instance_collection = "COLLECTION", collection
        bpy.context.scene.collection.objects.link(empty)
    values = {**scenes.ring(tmp_path), "asset.normalize": "cube", "pixels.passes": PASSES}
    scene = scenes.open_scene(path, scenes.make_job(values))
    assert np.abs(scenes.bounds_of(scene) - [[-1] * 3, [1] * 3]).max() < 1e-6
    (frame,) = scenes.frames_of(scene)
    cube = np.isfinite(scenes.cast_box(frame.camera, [-1] * 3, [1] * 3)[0])
    assert ((frame.passes["mask"] == 1) != cube).sum() <= 2
    assert (frame.passes["rgb"][scenes.interior(~cube, 2)] == 0).all()
    assert scenes.failed_checks(frame) == []


# --- glTF's own -----------------------------------------------------------------------------


def khronos(diffuse: Any, specular: Any) -> tuple[Any, float]:
    """Base colour and metallic, by Khronos' convert-between-workflows.js."""
    diffuse, specular = np.asarray(diffuse), np.asarray(specular)
    weights = np.array([0.299, 0.587, 0.114])
    lit, shine = (float(np.sqrt(weights @ color**2)) for color in (diffuse, specular))
    rest = 1 - specular.max()
    metallic = 0.0
    if shine >= 0.04:
        b = lit * rest / 0.96 + shine - 0.08
        metallic = (-b + np.sqrt(max(b * b - 0.16 * (0.04 - shine), 0))) / 0.08
        metallic = min(max(metallic, 0.0), 1.0)
    first = diffuse * rest / 0.96 / max(1 - metallic, 1e-6)
    second = (specular - 0.04 * (1 - metallic)) / max(metallic, 1e-6)
    return np.clip(first + (second - first) * metallic**2, 0, 1), metallic


def three_cubes(path: Path, materials: list[dict[str, Any]], used: str = "") -> Path:
    """Side by side, 2 apart, each of its material."""

    def change(document: dict[str, Any]) -> None:
        primitive = document["meshes"][0]["primitives"][0]
        document["materials"] = materials
        document["meshes"] = [
            {"primitives": [{**primitive, "material": index}]} for index in range(len(materials))
        ]
        document["nodes"] = [
            {"mesh": index, "translation": [2 * index - 2, 0, 0]} for index in range(3)
        ]
        document["scenes"] = [{"nodes": [0, 1, 2]}]
        if used:
            document["extensionsUsed"] = [used]

    return scenes.write_glb(path, change=change)


@pytest.mark.core
def test_specular_glossiness_is_converted_as_khronos_does(tmp_path: Path) -> None:
    name = "KHR_materials_pbrSpecularGlossiness"
    given = [
        ((0.0, 0.0, 0.0), (1.0, 0.77, 0.34), 0.9),
        ((1.0, 0.0, 0.0), (0.04, 0.04, 0.04), 0.4),
        ((0.3, 0.2, 0.1), (0.3, 0.35, 0.4), 0.25),
    ]
    materials = [
        {
            "extensions": {
                name: {
                    "diffuseFactor": [*diffuse, 1],
                    "specularFactor": list(specular),
                    "glossinessFactor": glossiness,
                }
            }
        }
        for diffuse, specular, glossiness in given
    ]
    path = three_cubes(tmp_path / "old.glb", materials, name)
    scene = scenes.open_scene(path, scenes.make_job(straight(tmp_path, 6, (120, 40))))
    (frame,) = scenes.frames_of(scene)
    assert len(scene.asset.record["materials"]["specular_glossiness"]) == 3
    for x, (diffuse, specular, glossiness) in zip((-2, 0, 2), given, strict=True):
        base, metallic = khronos(diffuse, specular)
        assert seen_at(frame, "albedo", x) == pytest.approx(base, abs=2e-5)
        found = seen_at(frame, "roughness_metallic", x)
        assert found == pytest.approx((1 - glossiness, metallic), abs=2e-5)
    assert khronos(*given[0][:2])[0] == pytest.approx((1, 0.77, 0.34))
    assert khronos(*given[0][:2])[1] == pytest.approx(1)


def flipped() -> list[tuple[int, ...]]:
    return [face[::-1] for face in scenes.CUBE_FACES]


@pytest.mark.core
def test_back_faces_of_single_sided_gltf_materials_are_not_there(tmp_path: Path) -> None:
    """A cube that looks inwards around a cube, as a toon outline does; planes from behind."""
    vertices = np.concatenate([scenes.CUBE_VERTICES * 2, scenes.CUBE_VERTICES])
    faces = [*scenes.CUBE_FACES, *(tuple(i + 8 for i in face) for face in scenes.CUBE_FACES)]
    count = 12 * 3

    def outline(document: dict[str, Any]) -> None:
        """The first cube's triangles turned, of a material of their own."""
        whole = document["accessors"][1]
        document["accessors"] += [
            {**whole, "count": count},
            {**whole, "count": count, "byteOffset": 4 * count},
        ]
        attributes = document["meshes"][0]["primitives"][0]["attributes"]
        document["materials"] = [
            {"pbrMetallicRoughness": {"baseColorFactor": [*color, 1], "metallicFactor": 0}}
            for color in ((0, 0, 0), (1, 1, 1))
        ]
        document["meshes"][0]["primitives"] = [
            {"attributes": attributes, "indices": 3 + index, "material": index}
            for index in range(2)
        ]

    path = scenes.write_glb(
        tmp_path / "toon.glb", vertices, [*flipped(), *faces[6:]], change=outline
    )
    values = {**scenes.ring(tmp_path), "asset.normalize": "none", "pixels.passes": PASSES}
    scene = scenes.open_scene(path, scenes.make_job({**values, "engine.samples": 16}))
    (frame,) = scenes.frames_of(scene)
    inner = np.isfinite(scenes.cast_box(frame.camera, [-0.5] * 3, [0.5] * 3)[0])
    outer = np.isfinite(scenes.cast_box(frame.camera, [-1] * 3, [1] * 3)[0])
    assert ((frame.passes["mask"] == 1) != outer).sum() <= 2
    white = scenes.interior(inner)
    assert np.abs(frame.passes["albedo"][white] - 1).max() < 1e-6
    assert frame.passes["albedo"][scenes.interior(outer & ~inner)].max() == 0
    # The outline shades nothing.
    assert frame.passes["rgb"][white][:, :3].min() > 100
    assert scenes.failed_checks(frame) == []
    (name,) = scene.asset.record["materials"]["single_sided"]
    assert scene.asset.record["materials"]["view_dependent"] == [name]

    # A plane has a back, which a double-sided one shows; a closed body shows none.
    turned = [(3, 2, 1, 0)]
    plane = [(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)]
    for double_sided in (False, True):
        for index, seen in ((0, turned), (1, [turned[0][::-1]])):

            def change(document: dict[str, Any], double: bool = double_sided) -> None:
                document["materials"] = [{"doubleSided": double}]
                document["meshes"][0]["primitives"][0]["material"] = 0

            # glTF's Z is Blender's -Y: the camera looks at the plane's +Z side.
            path = scenes.write_glb(tmp_path / f"plane{index}.glb", plane, seen, change)
            job = scenes.make_job(straight(tmp_path, 4, (48, 48)))
            scene = scenes.open_scene(path, job)
            assert scene.asset.record["materials"]["single_sided"] == (
                [] if double_sided else ["Material_0"]
            )
            if index == 0 and not double_sided:
                with pytest.raises(EmptyPictures):
                    scenes.frames_of(scene)
            else:
                (frame,) = scenes.frames_of(scene)
                assert frame.passes["mask"].sum() == 24 * 24
                inside = scenes.interior(frame.passes["mask"])
                assert (frame.passes["rgb"][inside][:, 3] == 255).all()
    path = scenes.write_glb(tmp_path / "body.glb", change=lambda d: d.update(materials=[{}]))
    scene = scenes.open_scene(path, scenes.make_job(values))
    assert scene.asset.record["materials"]["single_sided"] == []


@pytest.mark.core
def test_of_a_closed_body_the_same_is_seen_whether_its_back_faces_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why its materials are left as they are; a lid that is missing changes that."""
    from objaverse_render_addon.blender import backfaces

    def body(faces: list[tuple[int, ...]]) -> Path:
        return scenes.write_glb(
            tmp_path / "body.glb", faces=faces, change=lambda d: d.update(materials=[{}])
        )

    values = {**scenes.ring(tmp_path, count=2), "engine.samples": 4, "pixels.passes": PASSES}
    shown = scenes.shoot(body(scenes.CUBE_FACES), values)
    with monkeypatch.context() as patch:
        patch.setattr(backfaces, "_inward_slots", lambda _, slots: (np.zeros(slots, bool), False))
        culled = scenes.shoot(body(scenes.CUBE_FACES), values)
    for one, other in zip(shown, culled, strict=True):
        for name, data in one.passes.items():
            if name == "rgb":
                assert np.abs(data.astype(int) - other.passes[name]).max() <= 2
            else:
                np.testing.assert_array_equal(data, other.passes[name])
    opened = scenes.open_scene(body(scenes.CUBE_FACES[:5]), scenes.make_job(values))
    assert opened.asset.record["materials"]["single_sided"] == ["Objaverse Neutral"]
    # It shades from both sides, in Cycles and in EEVEE.
    (material,) = opened.asset.materials
    assert not material.use_transparent_shadow
    assert not material.use_backface_culling_shadow


@pytest.mark.core
def test_engines_agree_on_back_faces(tmp_path: Path) -> None:
    path = tmp_path / "game.blend"
    with scenes.new_blend(path):
        material = scenes.principled("Game")
        material.use_backface_culling = True
        scenes.add_cube(material=material)
    values = {**scenes.ring(tmp_path), "engine.engine": "eevee"}
    scene = scenes.open_scene(path, scenes.make_job(values))
    (material,) = scene.asset.materials
    assert scene.warnings == ["back-faces-shown: Game"]
    assert not material.use_backface_culling
    scene.set({"engine.engine": "workbench"})
    assert not scene.stage.scene.display.shading.show_backface_culling
    scene.set({"engine.engine": "cycles"})
    assert scene.warnings == []
    assert material.use_backface_culling
    path = three_cubes(tmp_path / "sides.glb", [{}, {}, {}])
    scene = scenes.open_scene(path, scenes.make_job({**values, "engine.engine": "workbench"}))
    assert scene.warnings == []
    assert scene.stage.scene.display.shading.show_backface_culling
    path = three_cubes(tmp_path / "both.glb", [{}, {"doubleSided": True}, {}])
    scene = scenes.open_scene(path, scenes.make_job({**values, "engine.engine": "workbench"}))
    assert [item.split(":")[0] for item in scene.warnings] == ["back-faces-differ"]
    assert not scene.stage.scene.display.shading.show_backface_culling
