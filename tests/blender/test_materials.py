"""Transparency, material passes, and textures that are not there."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.cameras import draw
from objaverse_render_addon.errors import EmptyPictures, MissingTextures

from . import scenes

SQUARE = [(-1, 0, -1), (1, 0, -1), (1, 0, 1), (-1, 0, 1)]


def front(tmp_path: Path, size: int = 64) -> dict[str, Any]:
    """Straight at the XZ plane; a [-1, 1] square covers the middle half."""
    pose = scenes.look_at((0, -4, 0))
    focal = {"fl_x": size * 1.01, "fl_y": size * 1.01}
    lens = {**scenes.lens(45, (size, size)), **focal}
    return scenes.camera_file(tmp_path / "front.json", [pose], lens)


def add_square(material: Any, y: float = 0.0) -> Any:
    """With UVs that put an image's left bottom corner at the square's."""
    obj = scenes.add_mesh(SQUARE, [(0, 1, 2, 3)], material=material, matrix=scenes.moved(y=y))
    uv = obj.data.uv_layers.new(name="UV")
    for item, value in zip(uv.data, ((0, 0), (1, 0), (1, 1), (0, 1)), strict=True):
        item.uv = value
    return obj


def mixed(first: Any, second: Any, factor: float, name: str = "Mix") -> Any:
    """Mix Shader of two node types, each with its inputs."""
    material, tree, output = scenes.new_material(name)
    mix = tree.nodes.new("ShaderNodeMixShader")
    mix.inputs[0].default_value = factor
    for (kind, inputs), socket in zip((first, second), mix.inputs[1:3], strict=True):
        node = tree.nodes.new(kind)
        for key, value in inputs.items():
            node.inputs[key].default_value = value
        tree.links.new(node.outputs[0], socket)
    tree.links.new(mix.outputs[0], output.inputs["Surface"])
    return material


CLEAR = ("ShaderNodeBsdfTransparent", {})
RED = ("ShaderNodeEmission", {"Color": (1, 0, 0, 1)})


@pytest.mark.core
@pytest.mark.parametrize("opacity", [0.3, 0.7])
@pytest.mark.parametrize(
    "how", ["alpha", "alpha-linked", "clear-first", "clear-second", "factor-linked"]
)
def test_a_transparent_surface_is_object_or_not_by_the_threshold_never_by_chance(
    how: str, opacity: float, tmp_path: Path
) -> None:
    path = tmp_path / "glass.blend"
    with scenes.new_blend(path):
        if how.startswith("alpha"):
            material = scenes.principled(Alpha=opacity)
            if how == "alpha-linked":
                tree = material.node_tree
                value = tree.nodes.new("ShaderNodeValue")
                value.outputs[0].default_value = opacity
                shader = next(n for n in tree.nodes if n.type == "BSDF_PRINCIPLED")
                tree.links.new(value.outputs[0], shader.inputs["Alpha"])
        elif how == "clear-second":
            material = mixed(RED, CLEAR, 1 - opacity)
        else:
            material = mixed(CLEAR, RED, opacity)
            if how == "factor-linked":
                tree = material.node_tree
                value = tree.nodes.new("ShaderNodeValue")
                value.outputs[0].default_value = opacity
                mix = next(n for n in tree.nodes if n.type == "MIX_SHADER")
                tree.links.new(value.outputs[0], mix.inputs[0])
        add_square(material)
        # Behind it, seen through it where it is no object.
        scenes.add_cube(0.5, (0, 1, 0))
    for threshold in (0.5, 0.2, 0.9):
        values = {**front(tmp_path), "asset.normalize": "none", "engine.samples": 64}
        job = scenes.make_job({**values, "engine.alpha_threshold": threshold})
        scene = scenes.open_scene(path, job)
        assert scene.warnings == []
        (frame,) = scenes.frames_of(scene)
        depth = frame.passes["depth"]
        square = np.isfinite(scenes.cast_quad(frame.camera, (-1, 0, -1), (2, 0, 0), (0, 0, 2))[0])
        behind = scenes.cast_box(frame.camera, [-0.25, 0.75, -0.25], [0.25, 1.25, 0.25])[0]
        cube = np.isfinite(behind)
        assert 500 < square.sum() < 4000
        if opacity >= threshold:
            assert np.array_equal(frame.passes["mask"] == 1, square)
            assert np.abs(depth[square] - 4).max() < 1e-5
        else:
            assert np.array_equal(frame.passes["mask"] == 1, cube)
            assert np.abs(depth[cube] - 4.75).max() < 1e-5
        # Colour keeps the real transparency.
        rim = scenes.interior(square & ~scenes.interior(cube, 0), 2) & ~cube
        alpha = frame.passes["rgb"][rim & scenes.interior(~cube, 2)][:, 3].mean() / 255
        assert abs(alpha - opacity) < 0.04


@pytest.mark.core
def test_a_cut_out_texture_cuts_the_mask_along_its_texels(tmp_path: Path) -> None:
    import bpy

    path = tmp_path / "leaf.blend"
    alpha = np.zeros((4, 4), dtype=np.float32)
    alpha[0, 0], alpha[1, 2], alpha[3, :2] = 1.0, 0.8, 0.6
    alpha[2, 1], alpha[2, 3] = 0.4, 0.1
    with scenes.new_blend(path):
        image = bpy.data.images.new("Leaf", 4, 4, alpha=True)
        pixels = np.ones((4, 4, 4), dtype=np.float32)
        pixels[..., 3] = alpha
        image.pixels.foreach_set(pixels.reshape(-1))
        image.pack()
        material = scenes.principled()
        tree = material.node_tree
        texture = tree.nodes.new("ShaderNodeTexImage")
        texture.image, texture.interpolation = image, "Closest"
        shader = next(n for n in tree.nodes if n.type == "BSDF_PRINCIPLED")
        tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
        tree.links.new(texture.outputs["Alpha"], shader.inputs["Alpha"])
        add_square(material)
    (frame,) = scenes.shoot(path, {**front(tmp_path, 96), "asset.normalize": "none"})
    depth, _ = scenes.cast_quad(frame.camera, (-1, 0, -1), (2, 0, 0), (0, 0, 2))
    square = np.isfinite(depth)
    points = frame.camera.unproject(np.where(square, depth, 1.0))
    texel = np.clip(((points[..., [0, 2]] + 1) * 2).astype(int), 0, 3)
    expected = square & (alpha[texel[..., 1], texel[..., 0]] >= 0.5)
    between = np.abs(((points[..., [0, 2]] + 1) * 2) % 1 - 0.5).max(axis=-1) > 0.49
    assert ((frame.passes["mask"] == 1) != expected)[~between].sum() == 0
    assert expected.sum() > 300


@pytest.mark.core
def test_an_object_that_is_all_transparent_gives_no_pictures(tmp_path: Path) -> None:
    path = tmp_path / "ghost.blend"
    with scenes.new_blend(path):
        scenes.add_cube(material=scenes.principled(Alpha=0.0))
    with pytest.raises(EmptyPictures):
        scenes.shoot(path, scenes.ring(tmp_path))


# --- Material passes ------------------------------------------------------------------------


@pytest.mark.core
def test_albedo_roughness_and_metallic_are_what_the_material_says(tmp_path: Path) -> None:
    import bpy

    gold, plastic, other = (0.9, 0.6, 0.2), (0.1, 0.3, 0.8), (0.7, 0.1, 0.1)

    def glossy_mix() -> Any:
        return mixed(
            ("ShaderNodeBsdfDiffuse", {"Color": (*plastic, 1)}),
            (
                "ShaderNodeBsdfPrincipled",
                {"Base Color": (*other, 1), "Roughness": 0.2, "Metallic": 1},
            ),
            0.25,
        )

    def added() -> Any:
        material, tree, output = scenes.new_material("Added")
        add = tree.nodes.new("ShaderNodeAddShader")
        first = tree.nodes.new("ShaderNodeBsdfDiffuse")
        first.inputs["Color"].default_value = (*plastic, 1)
        second = tree.nodes.new("ShaderNodeEmission")
        tree.links.new(first.outputs[0], add.inputs[0])
        tree.links.new(second.outputs[0], add.inputs[1])
        tree.links.new(add.outputs[0], output.inputs["Surface"])
        return material

    def textured() -> Any:
        image = bpy.data.images.new("Texel", 1, 1)
        image.pixels[:] = (188 / 255, 124 / 255, 64 / 255, 1)
        image.pack()
        material = scenes.principled(Roughness=0.35)
        tree = material.node_tree
        texture = tree.nodes.new("ShaderNodeTexImage")
        texture.image = image
        shader = next(n for n in tree.nodes if n.type == "BSDF_PRINCIPLED")
        tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
        return material

    cases: dict[str, tuple[Any, Any, Any]] = {
        "metal": (
            lambda: scenes.principled(Base_Color=(*gold, 1), Metallic=1.0, Roughness=0.15),
            gold, (0.15, 1.0),
        ),
        "plastic": (
            lambda: scenes.principled(Base_Color=(*plastic, 1), Metallic=0.0, Roughness=0.6),
            plastic, (0.6, 0.0),
        ),
        "texture": (textured, (0.5, 0.2, 0.05), (0.35, 0.0)),
        "mix": (
            glossy_mix,
            tuple(0.75 * a + 0.25 * b for a, b in zip(plastic, other, strict=True)),
            (0.75 * 1.0 + 0.25 * 0.2, 0.25),
        ),
        "sum": (added, plastic, (1.0, 0.0)),
        "half clear": (
            lambda: mixed(CLEAR, ("ShaderNodeBsdfDiffuse", {"Color": (*other, 1)}), 0.8),
            other, (1.0, 0.0),
        ),
        "light": (lambda: scenes.emission(gold), gold, (1.0, 0.0)),
    }  # fmt: skip
    path = tmp_path / "materials.blend"
    with scenes.new_blend(path):
        for index, (name, (build, *_)) in enumerate(cases.items()):
            material = build()
            material.name = name
            scenes.add_cube(0.8, (index - len(cases) / 2, 0, 0), name=name, material=material)
    pose = scenes.look_at((-0.5, -9, 0), (-0.5, 0, 0))
    cameras = scenes.camera_file(tmp_path / "front.json", [pose], scenes.lens(50, (256, 48)))
    passes = ["rgb", "albedo", "roughness_metallic", "object_index", "mask"]
    job = scenes.make_job({**cameras, "asset.normalize": "none", "pixels.passes": passes})
    scene = scenes.open_scene(path, job)
    assert scene.warnings == []
    (frame,) = scenes.frames_of(scene)
    number = {name: index for index, name in scene.asset.object_names.items()}
    for name, (_, albedo, rough_metal) in cases.items():
        seen = frame.passes["object_index"] == number[name]
        assert seen.sum() > 100, name
        assert np.abs(frame.passes["albedo"][seen] - albedo).max() < 4e-3, name
        if name != "texture":
            assert np.abs(frame.passes["albedo"][seen] - albedo).max() < 1e-5, name
        assert np.abs(frame.passes["roughness_metallic"][seen] - rough_metal).max() < 1e-5, name
    assert (frame.passes["albedo"][frame.passes["mask"] == 0] == 0).all()


@pytest.mark.core
def test_a_shader_that_cannot_be_followed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "strange.blend"
    with scenes.new_blend(path):
        material, tree, output = scenes.new_material("Strange")
        node = tree.nodes.new("ShaderNodeBsdfPrincipled")
        convert = tree.nodes.new("ShaderNodeShaderToRGB")
        tree.links.new(node.outputs[0], convert.inputs[0])
        tree.links.new(convert.outputs[0], output.inputs["Surface"])
        material.diffuse_color = (0.2, 0.4, 0.6, 1)
        scenes.add_cube(material=material)
    values = {**scenes.ring(tmp_path), "pixels.passes": ["albedo", "mask"]}
    scene = scenes.open_scene(path, scenes.make_job(values))
    assert any(item.startswith("unclear-materials: Strange") for item in scene.warnings)


@pytest.mark.core
def test_object_numbers_tell_objects_apart(tmp_path: Path) -> None:
    path = tmp_path / "three.blend"
    centers = {"left": -2.0, "middle": 0.0, "right": 2.0}
    with scenes.new_blend(path):
        for name, x in centers.items():
            scenes.add_cube(center=(x, 0, 0), name=name)
    pose = scenes.look_at((0, -8, 0))
    cameras = scenes.camera_file(tmp_path / "front.json", [pose], scenes.lens(50, (96, 48)))
    passes = ["object_index", "mask"]
    job = scenes.make_job({**cameras, "asset.normalize": "none", "pixels.passes": passes})
    scene = scenes.open_scene(path, job)
    (frame,) = scenes.frames_of(scene)
    for number, name in scene.asset.object_names.items():
        x = centers[name]
        seen = scenes.cast_box(frame.camera, (x - 0.5, -0.5, -0.5), (x + 0.5, 0.5, 0.5))[0]
        wrong = (frame.passes["object_index"] == number) != np.isfinite(seen)
        assert wrong.sum() <= 1
    ids = np.unique(frame.passes["object_index"])
    assert set(ids.tolist()) == {0, *scene.asset.object_names}


# --- Missing textures and missing colours ---------------------------------------------------


def gltf_without_its_image(path: Path) -> Path:
    document, buffer = scenes.glb_document(scenes.CUBE_VERTICES, scenes.CUBE_FACES)
    document["buffers"][0]["uri"] = (
        "data:application/octet-stream;base64," + base64.b64encode(buffer).decode()
    )
    document["images"] = [{"uri": "gone/wood.png"}]
    document["textures"] = [{"source": 0}]
    document["materials"] = [
        {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "metallicFactor": 0}}
    ]
    document["meshes"][0]["primitives"][0]["material"] = 0
    path.write_text(json.dumps(document))
    return path


def obj_without_its_image(path: Path) -> Path:
    path.with_suffix(".mtl").write_text("newmtl wood\nKd 1 1 1\nmap_Kd gone/wood.png\n")
    head = f"mtllib {path.stem}.mtl\nusemtl wood"
    return scenes.write_obj(path, scenes.CUBE_VERTICES, scenes.CUBE_FACES, head)


def blend_without_its_image(path: Path) -> Path:
    import bpy

    picture = path.parent / "wood.png"
    with scenes.new_blend(path):
        image = bpy.data.images.new("wood", 4, 4)
        image.filepath_raw, image.file_format = str(picture), "PNG"
        image.save()
        bpy.data.images.remove(image)
        material = scenes.principled()
        tree = material.node_tree
        texture = tree.nodes.new("ShaderNodeTexImage")
        texture.image = bpy.data.images.load(str(picture))
        shader = next(n for n in tree.nodes if n.type == "BSDF_PRINCIPLED")
        tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
        tree.links.new(texture.outputs["Alpha"], shader.inputs["Alpha"])
        scenes.add_cube(material=material)
    picture.unlink()
    return path


@pytest.mark.core
@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("wood.gltf", gltf_without_its_image),
        ("wood.obj", obj_without_its_image),
        ("wood.blend", blend_without_its_image),
    ],
)
def test_a_missing_texture_is_replaced_and_named(name: str, build: Any, tmp_path: Path) -> None:
    path = build(tmp_path / name)
    values = {**scenes.ring(tmp_path), "pixels.passes": ["rgb", "albedo", "mask"]}

    def shot(**changes: Any) -> tuple[Any, Any]:
        scene = scenes.open_scene(path, scenes.make_job({**values, **changes}), "chair")
        (frame,) = scenes.frames_of(scene)
        return scene, frame.passes["albedo"][frame.passes["mask"] == 1]

    scene, albedo = shot()
    missing = scene.asset.record["missing_textures"]
    assert missing["count"] == 1
    assert "wood" in missing["files"][0].lower()
    assert np.abs(albedo - 0.5).max() < 1e-6
    assert any(item.startswith("missing-textures") for item in scene.warnings)

    scene, albedo = shot(**{"asset.missing_textures": "random", "seed": 3})
    color = draw(3, "chair", "missing-texture", 0, 3)
    assert np.abs(albedo - color).max() < 1e-6
    (recorded,) = scene.asset.record["missing_textures"]["file_path_to_color"].values()
    assert np.allclose(recorded, color)

    with pytest.raises(MissingTextures, match=r"(?i)wood"):
        shot(**{"asset.missing_textures": "fail"})


@pytest.mark.core
def test_a_mesh_without_colours_gets_grey_or_a_seeded_colour(tmp_path: Path) -> None:
    for write, name in ((scenes.write_stl, "plain.stl"), (scenes.write_ply, "plain.ply")):
        path = write(tmp_path / name, scenes.CUBE_VERTICES, scenes.CUBE_FACES)
        values = {**scenes.ring(tmp_path), "pixels.passes": ["rgb", "albedo", "mask"]}
        for policy, color in (
            ("neutral", (0.5, 0.5, 0.5)),
            ("random", tuple(draw(5, "chair", "random-color", 0, 3))),
        ):
            job = scenes.make_job({**values, "asset.uncolored": policy, "seed": 5})
            scene = scenes.open_scene(path, job, "chair")
            (frame,) = scenes.frames_of(scene)
            albedo = frame.passes["albedo"][frame.passes["mask"] == 1]
            assert np.abs(albedo - color).max() < 1e-6
            recorded = scene.asset.record["random_color"]
            assert recorded is None if policy == "neutral" else np.allclose(recorded[:3], color)


@pytest.mark.core
def test_vertex_colours_of_a_ply_file_are_shown(tmp_path: Path) -> None:
    colors = [(188, 124, 64)] * 8
    path = scenes.write_ply(
        tmp_path / "colored.ply", scenes.CUBE_VERTICES, scenes.CUBE_FACES, colors
    )
    values = {**scenes.ring(tmp_path), "pixels.passes": ["rgb", "albedo", "mask"]}
    (frame,) = scenes.shoot(path, {**values, "asset.uncolored": "random"})
    albedo = frame.passes["albedo"][frame.passes["mask"] == 1]
    assert np.abs(albedo - (0.5, 0.2, 0.05)).max() < 3e-3


@pytest.mark.core
@pytest.mark.parametrize(
    ("mode", "cutoff", "opacity", "is_object"),
    [
        ("MASK", 0.3, 0.4, True),
        ("MASK", 0.6, 0.55, False),
        ("BLEND", None, 0.4, False),
        ("BLEND", None, 0.6, True),
        ("OPAQUE", None, 0.2, True),
    ],
)
def test_the_alpha_modes_of_gltf_mean_what_they_say(
    mode: str, cutoff: float | None, opacity: float, is_object: bool, tmp_path: Path
) -> None:
    def change(document: dict[str, Any]) -> None:
        factors = {"baseColorFactor": [1, 1, 1, opacity], "metallicFactor": 0}
        material: dict[str, Any] = {"alphaMode": mode, "pbrMetallicRoughness": factors}
        if cutoff is not None:
            material["alphaCutoff"] = cutoff
        document["materials"] = [material]
        document["meshes"][0]["primitives"][0]["material"] = 0

    path = scenes.write_glb(tmp_path / "mode.glb", change=change)
    values = {**scenes.ring(tmp_path), "engine.samples": 8, "asset.normalize": "cube"}
    if not is_object:
        with pytest.raises(EmptyPictures):
            scenes.shoot(path, values)
        return
    (frame,) = scenes.shoot(path, values)
    expected = np.isfinite(scenes.cast_box(frame.camera, [-1] * 3, [1] * 3)[0])
    assert ((frame.passes["mask"] == 1) != expected).sum() <= 2
    middle = frame.passes["rgb"][scenes.interior(expected, 2)][:, 3].mean() / 255
    # The cube's far side shows its back, which glTF culls.
    assert middle == 1.0 if mode != "BLEND" else abs(middle - opacity) < 0.08


# --- Normals --------------------------------------------------------------------------------

TILT = np.array([0.3, -0.2, 0.0])
TILT[2] = np.sqrt(1 - (TILT**2).sum())


def normal_mapped(name: str = "Mapped", **inputs: Any) -> Any:
    """A Principled whose normal map says TILT everywhere: along u, along v, outwards."""
    material = scenes.principled(name, **inputs)
    tree = material.node_tree
    color, mapped = tree.nodes.new("ShaderNodeRGB"), tree.nodes.new("ShaderNodeNormalMap")
    color.outputs[0].default_value = (*(TILT * 0.5 + 0.5), 1.0)
    tree.links.new(color.outputs[0], mapped.inputs["Color"])
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    tree.links.new(mapped.outputs[0], shader.inputs["Normal"])
    return material


NORMALS = ["mask", "depth", "normal", "normal_geometric"]


@pytest.mark.core
@pytest.mark.parametrize("space", ["camera", "world"])
def test_normals_have_the_normal_map_and_geometric_ones_have_not(
    tmp_path: Path, space: str
) -> None:
    path = tmp_path / "mapped.blend"
    with scenes.new_blend(path):
        add_square(normal_mapped())
    values = {**front(tmp_path), "asset.normalize": "none", "pixels.passes": NORMALS}
    (frame,) = scenes.shoot(path, {**values, "pixels.normal_space": space})
    inside = scenes.interior(frame.passes["mask"] == 1)
    assert inside.sum() > 500
    # The square looks at the camera, along -Y; its u runs along X, its v along Z.
    world = {"normal": (TILT[0], -TILT[2], TILT[1]), "normal_geometric": (0, -1, 0)}
    for name, expected in world.items():
        found = frame.passes[name]
        if space == "camera":
            found = found @ frame.camera.camera_to_world[:3, :3].T.astype(np.float32)
        assert found.dtype == np.float32
        assert np.abs(found[inside] - expected).max() < 1e-4, name
        assert (frame.passes[name][frame.passes["mask"] == 0] == 0).all()
        assert frame.spec(name).space == space
    assert scenes.failed_checks(frame) == []


@pytest.mark.core
@pytest.mark.parametrize("smooth", [False, True])
def test_geometric_normals_are_flat_or_smooth_as_the_mesh_is(tmp_path: Path, smooth: bool) -> None:
    path = tmp_path / "ball.blend"
    with scenes.new_blend(path):
        ball = scenes.add_sphere(1.0, segments=12, material=normal_mapped())
        ball.data.shade_smooth() if smooth else ball.data.shade_flat()
        ball.data.uv_layers.new(name="UV")
    plain = tmp_path / "plain.blend"
    with scenes.new_blend(plain):
        ball = scenes.add_sphere(1.0, segments=12, material=scenes.principled())
        ball.data.shade_smooth() if smooth else ball.data.shade_flat()
    values = {**scenes.ring(tmp_path), "asset.normalize": "none", "pixels.passes": NORMALS}
    (mapped,), (frame,) = scenes.shoot(path, values), scenes.shoot(plain, values)
    seen = frame.passes["mask"] == 1
    # Without a map both are the same, but where Cycles bends what shines at a slant; and the map
    # changes one of them alone.
    off = np.abs(frame.passes["normal"] - frame.passes["normal_geometric"]).max(axis=-1)
    slanted = frame.passes["normal_geometric"][..., 2] < (0.5 if smooth else 0)
    assert off[~slanted].max() < 1e-5
    ours = mapped.passes["normal_geometric"]
    assert np.abs(ours - frame.passes["normal_geometric"]).max() < 1e-5
    assert np.abs(mapped.passes["normal"] - ours)[seen].max() > 0.2
    if smooth:
        # As its corners lie, so does a ball's surface look; a face is up to 15 degrees off.
        rays, eye = frame.camera.rays(), frame.camera.camera_to_world
        points = (rays * frame.passes["depth"][..., None])[seen] @ eye[:3, :3].T + eye[:3, 3]
        assert scenes.angles(ours[seen] @ eye[:3, :3].T, points).max() < 3
    directions = {tuple(vector) for vector in np.round(ours[seen], 3).tolist()}
    assert len(directions) > 500 if smooth else len(directions) < 100


@pytest.mark.core
@pytest.mark.parametrize("how", ["alpha", "alpha-linked", "mixed"])
def test_what_is_clipped_away_has_no_part_in_geometric_normals(tmp_path: Path, how: str) -> None:
    path = tmp_path / "pane.blend"
    with scenes.new_blend(path):
        add_square(normal_mapped(), y=0.0)
        clear = mixed(CLEAR, RED, 0.3) if how == "mixed" else None
        pane = clear or scenes.principled("Pane", Alpha=0.3)
        if how == "alpha-linked":
            value = pane.node_tree.nodes.new("ShaderNodeValue")
            value.outputs[0].default_value = 0.3
            shader = next(n for n in pane.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
            pane.node_tree.links.new(value.outputs[0], shader.inputs["Alpha"])
        # Tilted, so that its normal is another one.
        corners = [(-1, -1, -1), (1, -1, -1), (1, -0.4, 1), (-1, -0.4, 1)]
        scenes.add_mesh(corners, [(0, 1, 2, 3)], material=pane)
    values = {**front(tmp_path), "asset.normalize": "none", "pixels.passes": NORMALS}
    values["pixels.normal_space"] = "world"
    slope = np.array([0, -2, 0.6]) / np.hypot(2, 0.6)
    for threshold, expected in ((0.5, (0, -1, 0)), (0.2, slope)):
        (frame,) = scenes.shoot(path, {**values, "engine.alpha_threshold": threshold})
        inside = scenes.interior(frame.passes["mask"] == 1, 3)
        found = frame.passes["normal_geometric"]
        assert np.abs(found[inside] - expected).max() < 1e-4, threshold


def test_bump_through_displacement_is_told(tmp_path: Path) -> None:
    path = tmp_path / "bumped.blend"
    with scenes.new_blend(path):
        material = scenes.principled("Bumped")
        tree = material.node_tree
        wave, height = tree.nodes.new("ShaderNodeTexWave"), tree.nodes.new("ShaderNodeDisplacement")
        tree.links.new(wave.outputs[0], height.inputs["Height"])
        output = tree.get_output_node("CYCLES")
        tree.links.new(height.outputs[0], output.inputs["Displacement"])
        material.displacement_method = "BUMP"
        add_square(material)
    values = {**front(tmp_path), "asset.normalize": "none"}
    for passes, told in ((NORMALS, True), (["mask", "normal"], False)):
        scene = scenes.open_scene(path, scenes.make_job({**values, "pixels.passes": passes}))
        assert any("bumped-normals: Bumped" in text for text in scene.warnings) == told
