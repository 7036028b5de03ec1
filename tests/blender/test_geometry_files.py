"""The files of the surface are what the pictures show: each pixel's ray meets the triangles."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.run import render
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.dataset.verify import verify_asset
from objaverse_render_addon.errors import CheckFailed, FormatCannotHold

from . import scenes
from .test_normalization import rigged

JOB = {
    "cameras.pattern": "fibonacci", "cameras.views": 3, "pixels.resolution": [48, 48],
    "pixels.passes": ["rgb", "depth", "mask", "object_index"], "files.layout": "folder",
    "files.geometry_files": ["mesh", "points", "voxels"], "files.geometry_points": 2_000,
}  # fmt: skip


def cast(corners: Any, origins: Any, rays: Any) -> Any:
    """Distances to the nearest of triangles (M, 3, 3) along rays (N, 3), and which it is.

    Möller and Trumbore, "Fast, minimum storage ray-triangle intersection", 1997.
    """
    nearest, which = np.full(len(rays), np.inf), np.full(len(rays), -1)
    for index, (a, b, c) in enumerate(corners):
        across = np.cross(rays, c - a)
        det = across @ (b - a)
        with np.errstate(divide="ignore", invalid="ignore"):
            u = across @ (origins - a) / det
            turned = np.cross(origins - a, b - a)
            v = rays @ turned / det
            t = (turned @ (c - a)) / det
            hit = (u >= -1e-6) & (v >= -1e-6) & (u + v <= 1 + 1e-6) & (t > 0) & (t < nearest)
        nearest[hit], which[hit] = t[hit], index
    return nearest, which


def agrees(reader: AssetReader) -> None:
    """Depth, mask and object numbers are those of the stored triangles, pixel by pixel."""
    shape = reader.geometry
    assert shape is not None
    mesh = shape.mesh()
    for view in range(len(reader)):
        camera = reader.view(view).camera
        arrays = reader.read(view)
        rays = camera.world_rays()[1].reshape(-1, 3)
        forward = -camera.camera_to_world[:3, 2]
        distance, which = cast(mesh.corners, camera.camera_to_world[:3, 3], rays)
        depth = np.where(np.isfinite(distance), distance * (rays @ forward), 0).reshape(48, 48)
        inner = scenes.interior(depth > 0) & scenes.interior(arrays["mask"] > 0)
        assert inner.sum() > 30
        edge = (depth > 0) != (arrays["mask"] > 0)
        assert edge.mean() < 0.02
        step = np.abs(depth - arrays["depth"])[inner]
        # Rays may pass on another side of an edge by a rounding.
        assert np.quantile(step, 0.99) < 1e-4
        numbers = mesh.part[which].reshape(48, 48)
        assert (numbers == arrays["object_index"])[inner].mean() > 0.99


def glb_corners(data: bytes) -> Any:
    """(M, 3, 3) of all triangles of a GLB file, in its own axes."""
    length = struct.unpack_from("<I", data, 12)[0]
    document = json.loads(data[20 : 20 + length])
    binary = data[28 + length :]

    def accessor(index: int) -> Any:
        said = document["accessors"][index]
        view = document["bufferViews"][said["bufferView"]]
        kind = {5123: "<u2", 5125: "<u4", 5126: "<f4", 5121: "u1"}[said["componentType"]]
        width = {"SCALAR": 1, "VEC3": 3}[said["type"]]
        start = view.get("byteOffset", 0) + said.get("byteOffset", 0)
        return np.frombuffer(binary, kind, said["count"] * width, start).reshape(-1, width)

    found = []
    for node in document["nodes"]:
        matrix = scenes.moved(*node.get("translation", (0, 0, 0)))
        x, y, z, w = node.get("rotation", (0, 0, 0, 1))
        turn = np.eye(4)
        turn[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
        matrix = matrix @ turn @ scenes.scaled(*node.get("scale", (1, 1, 1)))
        for primitive in document["meshes"][node["mesh"]]["primitives"]:
            points = accessor(primitive["attributes"]["POSITION"]).astype(np.float64)
            points = points @ matrix[:3, :3].T + matrix[:3, 3]
            found.append(points[accessor(primitive["indices"])[:, 0]].reshape(-1, 3, 3))
    return np.concatenate(found)


def same_triangles(glb: bytes, reader: AssetReader) -> None:
    """The GLB file has the triangles of ``mesh.ply``, with Y up."""
    theirs = glb_corners(glb)
    theirs = np.stack([theirs[..., 0], -theirs[..., 2], theirs[..., 1]], axis=-1)
    ours = reader.geometry.mesh().corners  # type: ignore[union-attr]
    assert theirs.shape == ours.shape
    centers = [np.round(some.mean(axis=1), 4) for some in (theirs, ours)]
    first, second = (some[np.lexsort(some.T)] for some in centers)
    assert np.abs(first - second).max() < 2e-4


def modified(_: Any) -> None:
    cube = scenes.add_cube(material=scenes.principled("Red", **{"Base Color": (1, 0, 0, 1)}))
    modifier = cube.modifiers.new("Smooth", "SUBSURF")
    # What the viewport shows is another mesh.
    modifier.levels, modifier.render_levels = 0, 1
    mirror = scenes.add_cube(0.5, (0.4, 0.9, 0.2), name="Mirrored")
    mirror.modifiers.new("Copy", "MIRROR").use_axis = (False, True, False)


def instanced(source: Any) -> None:
    import bpy

    collection = bpy.data.collections.new("Parts")
    collection.objects.link(
        scenes.add_mesh(
            scenes.CUBE_VERTICES * (1, 0.6, 0.3) + (0.2, 0, 0), scenes.CUBE_FACES,
            link=False, name="Part",
        )
    )
    source.collection.children.link(collection)
    source.view_layers[0].layer_collection.children["Parts"].exclude = True
    for number, place in enumerate([
        scenes.moved(0, 0, 1) @ scenes.rotation(0, 0, 30),
        # A mirror image, and one that is sheared, which no node of glTF can be.
        scenes.moved(0, 1, 0) @ scenes.scaled(-1, 1, 1),
        scenes.moved(1.5, 0, 0) @ scenes.scaled(1, 2, 1) @ scenes.rotation(0, 0, 45),
    ]):  # fmt: skip
        from mathutils import Matrix

        holder = bpy.data.objects.new(f"Holder {number}", None)
        source.collection.objects.link(holder)
        empty = bpy.data.objects.new(f"Instance {number}", None)
        empty.instance_type, empty.instance_collection = "COLLECTION", collection
        source.collection.objects.link(empty)
        if number == 2:
            holder.scale = (1, 2, 1)
            empty.parent = holder
            empty.location, empty.rotation_euler = (1.5, 0, 0), (0, 0, 0.8)
        else:
            empty.matrix_world = Matrix(place.tolist())


@pytest.mark.core
@pytest.mark.parametrize("fill", [modified, instanced])
def test_modified_and_instanced_assets(tmp_path: Path, fill: Callable[[Any], None]) -> None:
    with scenes.new_blend(tmp_path / "asset.blend") as source:
        fill(source)
    check(tmp_path / "asset.blend", tmp_path / "out")


@pytest.mark.core
@pytest.mark.parametrize("frame", [1, 11])
def test_a_skinned_asset_is_posed_as_it_is_seen(tmp_path: Path, frame: int) -> None:
    check(rigged(tmp_path / "asset.glb"), tmp_path / "out", **{"asset.frame": frame})


@pytest.mark.core
def test_of_a_moving_asset_the_files_are_held_against_their_own_frame(tmp_path: Path) -> None:
    source = rigged(tmp_path / "asset.glb")
    with written(source, tmp_path / "out", **{"time.frames": "1:11:5"}) as reader:
        shape = reader.geometry
        assert shape is not None
        checked = {
            record["time"]
            for record in reader.views
            if any(name.startswith("mesh_") for name in record["checks"])
        }
        assert checked == {shape.record["frame"]}
        assert {record["time"] for record in reader.views} == {1, 6, 11}
    verdict = verify_asset(tmp_path / "out/asset")
    assert verdict.failed == []
    assert [name for name in verdict.doubts if name.startswith(("mesh", "points", "vox"))] == []


def written(source: Path, out: Path, **values: Any) -> AssetReader:
    """The asset as a worker writes it, in this process."""
    from objaverse_render_addon.blender import pipeline
    from objaverse_render_addon.dataset.writer import DatasetWriter

    job = scenes.make_job(JOB | values).resolved()
    session = scenes.open_scene(source, job)
    writer = DatasetWriter(
        out, "asset", job, path=source, source=str(source), known={},
        scratch=session.renderer.scratch, facts=session.facts, started=0.0, shape=session.shape,
    )  # fmt: skip
    pipeline.deliver(session.renderer, session.shots(), writer, useful=True)
    writer.close()
    return AssetReader(out / "asset")


def check(source: Path, out: Path, **values: Any) -> None:
    with written(source, out, **values) as reader:
        agrees(reader)
        assert reader.geometry is not None
        same_triangles(reader.geometry.glb(), reader)
        names = {name for name in reader.views[0]["checks"] if name.startswith("mesh_")}
        assert names == {"mesh_box", "mesh_missing", "mesh_extra"}
    verdict = verify_asset(out / "asset")
    assert verdict.failed == []
    assert [name for name in verdict.doubts if name.startswith(("mesh", "points", "vox"))] == []


@pytest.mark.core
def test_faces_look_outwards_in_mirror_images_too(tmp_path: Path) -> None:
    with scenes.new_blend(tmp_path / "asset.blend"):
        scenes.add_cube(name="One")
        scenes.add_cube(name="Two", matrix=scenes.moved(2) @ scenes.scaled(1, 1, -1))
    with written(tmp_path / "asset.blend", tmp_path / "out") as reader:
        mesh = reader.geometry.mesh()  # type: ignore[union-attr]
        for part in (1, 2):
            corners = mesh.corners[mesh.part == part]
            outward = corners.mean(axis=1) - corners.mean(axis=(0, 1))
            normals = mesh.normals[mesh.part == part]
            assert (np.einsum("ij,ij->i", outward, normals) > 0).all()
        assert mesh.parts == {1: "One", 2: "Two"}


@pytest.mark.core
def test_the_glb_has_materials_and_textures(tmp_path: Path) -> None:
    import bpy

    with scenes.new_blend(tmp_path / "asset.blend"):
        image = bpy.data.images.new("Checks", 4, 4)
        image.pixels.foreach_set(np.linspace(0, 1, 64).astype(np.float32))
        image.pack()
        material, tree, _ = scenes.new_material("Painted")
        texture = tree.nodes.new("ShaderNodeTexImage")
        texture.image = image
        principled = tree.nodes.new("ShaderNodeBsdfPrincipled")
        tree.links.new(texture.outputs["Color"], principled.inputs["Base Color"])
        principled.inputs["Roughness"].default_value = 0.25
        output = next(node for node in tree.nodes if node.type == "OUTPUT_MATERIAL")
        tree.links.new(principled.outputs[0], output.inputs["Surface"])
        cube = scenes.add_cube(material=material)
        cube.data.uv_layers.new(name="UVMap")
    with written(
        tmp_path / "asset.blend", tmp_path / "out", **{"pixels.passes": ["rgb", "albedo", "depth"]}
    ) as reader:
        data = reader.geometry.glb()  # type: ignore[union-attr]
        assert reader.geometry.record["materials"] == ["Painted"]  # type: ignore[union-attr]
    document = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])
    (painted,) = document["materials"]
    assert painted["name"] == "Painted"
    assert painted["pbrMetallicRoughness"]["roughnessFactor"] == pytest.approx(0.25)
    assert "baseColorTexture" in painted["pbrMetallicRoughness"]
    assert document["images"][0]["mimeType"] == "image/png"
    assert "TEXCOORD_0" in document["meshes"][0]["primitives"][0]["attributes"]


@pytest.mark.core
def test_what_is_no_face_is_named_and_alone_is_an_error(tmp_path: Path) -> None:
    import bpy

    def hair(source: Any) -> None:
        curves = bpy.data.hair_curves.new("Hair")
        curves.add_curves([4])
        curves.position_data.foreach_set("vector", np.linspace(-1, 1, 12).astype(np.float32))
        source.collection.objects.link(bpy.data.objects.new("Hair", curves))

    with scenes.new_blend(tmp_path / "both.blend") as source:
        scenes.add_cube()
        hair(source)
    session = scenes.open_scene(tmp_path / "both.blend", scenes.make_job(JOB))
    assert [text for text in session.warnings if text.startswith("not-in-mesh: hair")]
    with scenes.new_blend(tmp_path / "hair.blend") as source:
        hair(source)
    with pytest.raises(FormatCannotHold, match="hair"):
        scenes.open_scene(tmp_path / "hair.blend", scenes.make_job(JOB))


def test_a_mesh_that_is_not_what_is_rendered_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from objaverse_render_addon.blender import realizing

    whole = realizing._arrays

    def half(mesh: Any, materials: Any) -> Any:
        points, faces, material = whole(mesh, materials)
        return points, faces[:6], material[:6]

    monkeypatch.setattr(realizing, "_arrays", half)
    source = scenes.write_glb(tmp_path / "asset.glb", scenes.CUBE_VERTICES, scenes.CUBE_FACES)
    with pytest.raises(CheckFailed, match="mesh_extra"):
        written(source, tmp_path / "out")


def test_a_run_writes_them_in_its_workers(tmp_path: Path) -> None:
    source = scenes.write_glb(tmp_path / "asset.glb", scenes.CUBE_VERTICES, scenes.CUBE_FACES)
    pytest.importorskip("point_cloud_utils")
    job = scenes.make_job(JOB | {
        "files.layout": "webdataset", "files.geometry_files": ["mesh", "points", "voxels", "sdf"],
    })  # fmt: skip
    (result,) = render([source], job, tmp_path / "out", RunOptions.of(timeout=240)).results
    assert result.error is None
    (shard,) = (tmp_path / "out").glob("*.tar")
    verdict = verify_asset(shard)
    assert (verdict.failed, verdict.doubts) == ([], {})
    with AssetReader(shard) as reader:
        assert len(reader.geometry.names) == 6  # type: ignore[union-attr]
        assert reader.metadata["seconds"]["geometry_files"] > 0
