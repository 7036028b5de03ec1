"""Meshes, points and materials that were read without an importer, put into Blender."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import bpy
import numpy as np
import numpy.typing as npt
from mathutils import Matrix

from ..assets.repair.model import Cloud, Material, Mesh, Model, linear
from ..errors import InvalidGeometry

__all__ = ["build"]

_COLORS: Final = "Color"
_MOST_BALLS: Final = 250_000
_PROBES: Final = 64
_NEIGHBORS: Final = 4
_NEIGHBOR_SHARE: Final = 0.7
"""Radius of a point's ball over the usual distance of its fourth neighbour.

On a grid, 0.71 of the spacing closes it; of points at random on a surface, discs of this radius
cover 84 %.
"""
# An octahedron, as triangles seen from outside.
_CORNERS: Final = np.array(
    [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)], np.float32
)
_SIDES: Final = np.array(
    [(0, 2, 4), (2, 1, 4), (1, 3, 4), (3, 0, 4), (2, 0, 5), (1, 2, 5), (3, 1, 5), (0, 3, 5)],
    np.int32,
)


def build(path: Path, model: Model) -> list[str]:
    """Put a model into the open scene.

    Args:
        path: The file that it came from.

    Returns:
        Warnings, ``name: sentence`` each.

    Raises:
        InvalidGeometry: A vertex is not a finite number.
    """
    warnings: list[str] = []
    meshes: dict[int, Any] = {}
    materials: dict[int, Any] = {}
    collection = bpy.context.scene.collection
    for part in model.parts:
        if id(part.mesh) not in meshes:
            meshes[id(part.mesh)] = _mesh(path, part.mesh, materials)
        obj = bpy.data.objects.new(part.name, meshes[id(part.mesh)])
        obj.matrix_world = Matrix(part.matrix.tolist())
        collection.objects.link(obj)
    for cloud in model.clouds:
        mesh, warning = _balls(cloud)
        warnings.append(warning)
        obj = bpy.data.objects.new(cloud.name, _mesh(path, mesh, materials))
        collection.objects.link(obj)
    return warnings


def _mesh(path: Path, source: Mesh, materials: dict[int, Any]) -> Any:
    if not np.isfinite(source.vertices).all():
        raise InvalidGeometry(
            f"{path} has vertices that are not finite numbers.",
            hint="Repair the mesh; there is nothing to render at such places.",
        )
    mesh = bpy.data.meshes.new(source.name)
    mesh.vertices.add(len(source.vertices))
    mesh.vertices.foreach_set("co", source.vertices.astype(np.float32).ravel())
    mesh.loops.add(len(source.corners))
    mesh.loops.foreach_set("vertex_index", source.corners)
    mesh.polygons.add(len(source.sizes))
    starts = np.concatenate([[0], np.cumsum(source.sizes)[:-1]]).astype(np.int32)
    mesh.polygons.foreach_set("loop_start", starts[: len(source.sizes)])
    if source.uvs is not None:
        layer = mesh.uv_layers.new(name="UVMap")
        layer.data.foreach_set("uv", source.uvs.astype(np.float32).ravel())
    if source.colors is not None:
        colors = mesh.color_attributes.new(name=_COLORS, type="FLOAT_COLOR", domain="CORNER")
        values = np.array(source.colors, np.float32)
        values[:, :3] = linear(values[:, :3])
        colors.data.foreach_set("color", values.ravel())
    for material in source.materials:
        if id(material) not in materials:
            materials[id(material)] = _material(material)
        mesh.materials.append(materials[id(material)])
    if source.slots is not None:
        mesh.polygons.foreach_set("material_index", source.slots)
    mesh.update(calc_edges=True)
    if source.normals is not None:
        smooth = np.ones(len(source.sizes), dtype=bool)
        mesh.polygons.foreach_set("use_smooth", smooth)
    # It drops what is no polygon, such as one that has a vertex twice.
    mesh.validate(clean_customdata=False)
    if source.normals is not None and len(mesh.loops) == len(source.corners):
        mesh.normals_split_custom_set(source.normals.tolist())
    return mesh


# --- Materials --------------------------------------------------------------------------------


def _material(source: Material) -> Any:
    material = bpy.data.materials.new(source.name)
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    inputs = shader.inputs
    inputs["Base Color"].default_value = (*source.color, 1.0)
    inputs["Roughness"].default_value = source.roughness
    inputs["Alpha"].default_value = source.alpha
    material.diffuse_color = (*source.color, source.alpha)
    base = None
    if source.texture is not None:
        base = _image_node(tree, source.texture)
        tree.links.new(base.outputs["Color"], inputs["Base Color"])
    elif source.vertex_colors:
        node = tree.nodes.new("ShaderNodeVertexColor")
        node.layer_name = _COLORS
        tree.links.new(node.outputs["Color"], inputs["Base Color"])
    if any(source.emission) or source.emission_texture is not None:
        inputs["Emission Color"].default_value = (*source.emission, 1.0)
        inputs["Emission Strength"].default_value = 1.0
        if source.emission_texture is not None:
            node = _image_node(tree, source.emission_texture)
            tree.links.new(node.outputs["Color"], inputs["Emission Color"])
    if source.clear and source.clear_texture is not None:
        node = base if source.clear == "alpha" and source.clear_texture == source.texture else None
        node = node or _image_node(tree, source.clear_texture, data=True)
        output = node.outputs["Alpha" if source.clear == "alpha" else "Color"]
        if source.clear_inverted:
            invert = tree.nodes.new("ShaderNodeMath")
            invert.operation = "SUBTRACT"
            invert.inputs[0].default_value = 1.0
            tree.links.new(output, invert.inputs[1])
            output = invert.outputs[0]
        if source.alpha < 1.0:
            scale = tree.nodes.new("ShaderNodeMath")
            scale.operation = "MULTIPLY"
            scale.inputs[1].default_value = source.alpha
            tree.links.new(output, scale.inputs[0])
            output = scale.outputs[0]
        tree.links.new(output, inputs["Alpha"])
    return material


def _image_node(tree: Any, path: Path, *, data: bool = False) -> Any:
    node = tree.nodes.new("ShaderNodeTexImage")
    if path.is_file():
        node.image = bpy.data.images.load(str(path), check_existing=not data)
    else:
        # It is found, named and replaced with all other textures that are missing.
        node.image = bpy.data.images.new(path.name, 1, 1)
        node.image.source = "FILE"
        node.image.filepath = str(path)
    if data:
        node.image.colorspace_settings.name = "Non-Color"
    return node


# --- Points -----------------------------------------------------------------------------------


def _balls(cloud: Cloud) -> tuple[Mesh, str]:
    """An octahedron for each point, and what to say of it."""
    positions, colors = cloud.positions, cloud.colors
    said = ""
    if len(positions) > _MOST_BALLS:
        said = f" {_MOST_BALLS:,} of them, chosen at random, are drawn."
        chosen = np.random.default_rng(0).choice(len(positions), _MOST_BALLS, replace=False)
        chosen.sort()
        positions = positions[chosen]
        colors = None if colors is None else colors[chosen]
    radius = _radius(positions)
    vertices = positions[:, None, :] + _CORNERS[None] * np.float32(radius)
    count = len(positions)
    corners = _SIDES[None] + len(_CORNERS) * np.arange(count, dtype=np.int32)[:, None, None]
    mesh = Mesh(
        cloud.name,
        vertices.reshape(-1, 3).astype(np.float32),
        corners.reshape(-1),
        np.full(count * len(_SIDES), 3, np.int32),
        colors=None if colors is None else np.repeat(colors, _SIDES.size, axis=0),
    )
    return mesh, (
        f"points-as-balls: the file has no faces, but {cloud.what} drawn as octahedra of radius "
        f"{radius:.3g}.{said}"
    )


def _radius(positions: npt.NDArray[np.float32]) -> float:
    """Most of the usual distance between neighbours, which closes most of a dense surface."""
    extent = float(np.max(np.ptp(positions, axis=0)))
    if len(positions) < 2 or not extent > 0:
        return 1.0
    points = positions.astype(np.float64)
    every = max(1, len(points) // _PROBES)
    nearest = []
    for probe in points[::every]:
        distance = ((points - probe) ** 2).sum(axis=1)
        distance = distance[distance > 0]
        if len(distance):
            place = min(_NEIGHBORS, len(distance)) - 1
            nearest.append(float(np.sqrt(np.partition(distance, place)[place])))
    usual = float(np.median(nearest)) if nearest else extent
    return float(np.clip(_NEIGHBOR_SHARE * usual, 1e-4 * extent, 0.05 * extent))
