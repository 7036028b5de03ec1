"""The mesh that was rendered: as it was stored, or its source where that proves to be it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...files import file_sha256
from .scene import Scene

__all__ = ["Mesh", "NotTheMesh", "normals_of", "ply_text", "rendered_mesh", "source_file",
           "source_mesh"]  # fmt: skip

Array = npt.NDArray[Any]

# How Blender's importers turn a format's axes into its own (Z up).
_Y_UP: Final = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_AXES: Final = {
    "glb": _Y_UP, "gltf": _Y_UP, "obj": _Y_UP, "stl": np.eye(3), "ply": np.eye(3),
}  # fmt: skip
_MOST_FACES: Final = 2_000_000
_VIEWS: Final = 8
"""That a mesh is compared with."""


class NotTheMesh(Exception):
    """There is no mesh of this asset; the words say why, without naming it."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """Triangles in exported units and the exported world.

    Attributes:
        vertices: (N, 3) float64.
        normals: (N, 3) float64, weighted by the angles of the faces around.
        faces: (M, 3) int64.
    """

    vertices: Array
    normals: Array
    faces: Array


def rendered_mesh(scene: Scene) -> Mesh:
    """The mesh that was stored beside the pictures, or the one of the source.

    Raises:
        NotTheMesh: Neither is there.
    """
    shape = scene.reader.geometry
    if shape is None or "mesh.ply" not in shape.names:
        return source_mesh(scene)
    stored = shape.mesh()
    vertices, faces = stored.vertices.astype(np.float64), stored.faces.astype(np.int64)
    return Mesh(scene.scale * (vertices - scene.center), normals_of(vertices, faces), faces)


def source_mesh(scene: Scene) -> Mesh:
    """Read the asset's source with trimesh, normalise it as the renderer did, and compare.

    The file has to be byte for byte the one that was rendered. Its mesh has to fill the box that
    was measured, and no part of it may stand where the views see past it: modifiers, poses and
    hidden parts are not in the mesh that a library reads.

    Raises:
        NotTheMesh: It is not at hand, or is not what was rendered.
    """
    try:
        import trimesh
    except ImportError:
        raise NotTheMesh("trimesh is not installed") from None
    if not scene.has("depth"):
        raise NotTheMesh("no depth is stored, so nothing shows that a mesh is the one")
    if scene.metadata.get("file_type") not in _AXES:
        raise NotTheMesh(f"meshes are read from {', '.join(_AXES)} files only")
    path = source_file(scene)
    try:
        loaded = trimesh.load_scene(str(path), file_type=scene.metadata["file_type"], process=False)
        mesh = loaded.to_mesh()
        vertices = np.asarray(mesh.vertices, np.float64)
        faces = np.asarray(mesh.faces, np.int64)
    except Exception:  # A foreign file in a library's hands: whatever it raises, there is no mesh.
        raise NotTheMesh("trimesh cannot read the source") from None
    if not len(faces) or len(faces) > _MOST_FACES:
        raise NotTheMesh(f"the source has no faces, or more than {_MOST_FACES}")
    turn = _AXES[scene.metadata["file_type"]]
    said = scene.metadata["normalization"]
    turn = np.array(said.get("rotation", np.eye(3))) @ turn
    vertices = said["scale"] * (vertices @ turn.T) + np.array(said["translation"])
    _compare(scene, vertices)
    return Mesh(scene.scale * (vertices - scene.center), normals_of(vertices, faces), faces)


def normals_of(vertices: Array, faces: Array) -> Array:
    """Unit normals of the vertices (N, 3); 0 where no face with an area is around.

    Weighted by the angles (Thürmer and Wüthrich, "Computing vertex normals from polygonal
    facets", 1998).
    """
    corners = vertices[faces]
    sides = np.roll(corners, -1, axis=1) - corners
    flat = _unit(np.cross(sides[:, 0], sides[:, 1]))
    ways = _unit(sides)
    between = -np.einsum("fci,fci->fc", ways, np.roll(ways, 1, axis=1))
    weights = flat[:, None] * np.arccos(np.clip(between, -1, 1))[..., None]
    sums = [
        np.bincount(faces.ravel(), weights[..., axis].ravel(), len(vertices)) for axis in range(3)
    ]
    return _unit(np.stack(sums, axis=1))


def _unit(vectors: Array) -> Array:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1.0))


def source_file(scene: Scene) -> Path:
    """The file that was rendered.

    Raises:
        NotTheMesh: It does not lie where it was rendered from, or is another one by now.
    """
    path = Path(str(scene.metadata.get("file_identifier")))
    try:
        found = file_sha256(path)
    except (OSError, ValueError):
        raise NotTheMesh("the source is not at hand") from None
    if found != scene.metadata.get("sha256"):
        raise NotTheMesh("the source is another file now")
    return path


def _compare(scene: Scene, vertices: Array) -> None:
    bounds = scene.reader.bounds
    box = np.array([bounds.box_min, bounds.box_max])
    slack = 1e-3 * float(np.ptp(box, axis=0).max())
    if not np.isfinite(vertices).all():
        raise NotTheMesh("the source's mesh is not finite")
    if np.abs(np.array([vertices.min(axis=0), vertices.max(axis=0)]) - box).max() > slack:
        raise NotTheMesh("the source's mesh does not fill the box that was rendered")
    exported = scene.scale * (vertices - scene.center)
    wrong = total = 0
    for view in range(0, len(scene), -(-len(scene) // _VIEWS)):
        camera = scene.camera(view)
        uv, depth = camera.project(exported)
        with np.errstate(invalid="ignore"):
            inside = ((uv >= 0) & (uv < [camera.width, camera.height])).all(axis=1) & (depth > 0)
        columns, rows = uv[inside].astype(np.int64).T
        seen = np.pad(np.where(scene.mask(view), scene.depth(view), -np.inf), 1,
                      constant_values=-np.inf)  # fmt: skip
        around = [seen[rows + down, columns + along] for down in range(3) for along in range(3)]
        # On an outline some neighbours see past the object; what is beside all of them is wrong.
        beside = np.max(around, axis=0) == -np.inf
        before = depth[inside] < np.min(around, axis=0) - 0.02 * bounds.radius * scene.scale
        wrong += int((beside | before).sum())
        total += int(inside.sum())
    if wrong > 0.02 * total:
        raise NotTheMesh("the source's mesh is not where the views show the object")


def ply_text(mesh: Mesh, scale: float) -> bytes:
    """ASCII PLY with normals; lengths are multiplied by ``scale``."""
    lines = [
        "ply",
        "format ascii 1.0",
        f"element vertex {len(mesh.vertices)}",
        *(f"property float {name}" for name in ("x", "y", "z", "nx", "ny", "nz")),
        f"element face {len(mesh.faces)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    rows = np.concatenate([mesh.vertices * scale, mesh.normals], axis=1)
    lines += [" ".join(f"{number:.7g}" for number in row) for row in rows.tolist()]
    lines += [f"3 {first} {second} {third}" for first, second, third in mesh.faces.tolist()]
    return "\n".join([*lines, ""]).encode("ascii")
