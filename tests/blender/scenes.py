"""Scenes made by code, cameras to look at them with, and what those should see.

``bpy`` is imported inside the functions: this module is read before it is known whether there
is one.
"""

from __future__ import annotations

import json
import math
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from objaverse_render_addon.cameras import Camera
from objaverse_render_addon.frame import Frame
from objaverse_render_addon.job import RenderJob

CUBE_VERTICES = np.array(
    [(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], dtype=np.float64
)
CUBE_FACES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]

# --- Jobs and renders -----------------------------------------------------------------------

QUICK: dict[str, Any] = {
    "pixels.resolution": [64, 64],
    "engine.samples": 1,
    "engine.denoise": False,
    "engine.device": "cpu",
}


def make_job(values: dict[str, Any] | None = None) -> RenderJob:
    """A job that renders fast, with some of its fields set by dotted path."""
    return RenderJob().with_values({**QUICK, **(values or {})})


def open_scene(path: Path, job: RenderJob, asset_id: str = "asset") -> Any:
    """A session, whose temporary images go to a folder of its own."""
    from objaverse_render_addon.blender.session import Session

    return Session(path, asset_id, job, Path(tempfile.mkdtemp(prefix="objaverse-test-")))


def frames_of(session: Any) -> list[Frame]:
    """Every view, through the pipeline, as a whole dataset has it."""
    from objaverse_render_addon.blender import pipeline

    frames = list(pipeline.frames(session.renderer, session.shots(), useful=True))
    scratch = session.renderer.scratch
    assert list(scratch.iterdir()) == [], "temporary images are left over"
    return frames


def shoot(path: Path, values: dict[str, Any] | None = None) -> list[Frame]:
    """Every view of a file, in this process."""
    return frames_of(open_scene(path, make_job(values)))


def write_asset(path: Path, out: Path, values: dict[str, Any] | None = None) -> Path:
    """A file as a finished asset, by what the worker does, in this process."""
    from objaverse_render_addon.worker import handlers
    from objaverse_render_addon.worker.protocol import Done, RenderAsset

    class Turn:
        number = 1

        def send(self, *_: Any) -> None:
            pass

        def canceled(self) -> bool:
            return False

    worker = handlers.Worker(Path(tempfile.mkdtemp(prefix="objaverse-test-")))
    request = RenderAsset(
        path.name, str(path), path.stem, make_job(values).to_dict(), str(out)
    )
    try:
        done = handlers.render_asset(worker, request, Turn())
    finally:
        worker.abort()
    assert isinstance(done, Done)
    return Path(done.path)


def failed_checks(frame: Frame) -> list[str]:
    return [check.name for check in frame.checks if check.status == "failed"]


# --- Cameras --------------------------------------------------------------------------------


def look_at(eye: Sequence[float], target: Sequence[float] = (0, 0, 0), roll: float = 0.0) -> Any:
    """camera_to_world, OpenGL axes, upright but for ``roll`` degrees."""
    position = np.array(eye, dtype=np.float64)
    back = position - np.array(target, dtype=np.float64)
    back /= np.linalg.norm(back)
    up = np.array([0.0, 0.0, 1.0]) if abs(back[2]) < 0.999 else np.array([0.0, 1.0, 0.0])
    right = np.cross(up, back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
    turn, angle = np.eye(4), math.radians(roll)
    turn[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    pose = pose @ turn
    pose[:3, 3] = position
    return pose


def lens(fov: float, size: tuple[int, int], **changes: float) -> dict[str, float]:
    """Pinhole intrinsics as a transforms.json has them; ``fov`` is across the width."""
    focal = 0.5 * size[0] / math.tan(math.radians(fov) / 2)
    values = {"fl_x": focal, "fl_y": focal, "cx": size[0] / 2, "cy": size[1] / 2}
    return {**values, "w": size[0], "h": size[1], **changes}


def camera_file(path: Path, poses: Sequence[Any], intrinsics: dict[str, float]) -> dict[str, Any]:
    """Write poses (JSON or TOML, by the name); the job's fields that take them up."""
    frames = [np.asarray(pose).tolist() for pose in poses]
    if path.suffix == ".toml":
        lines = [f"{name} = {value!r}" for name, value in intrinsics.items()]
        for frame in frames:
            lines += ["[[frames]]", f"transform_matrix = {frame!r}"]
        path.write_text("\n".join(lines))
    else:
        data = {**intrinsics, "frames": [{"transform_matrix": frame} for frame in frames]}
        path.write_text(json.dumps(data))
    return {
        "cameras.pattern": "file",
        "cameras.file": str(path),
        "pixels.resolution": [int(intrinsics["w"]), int(intrinsics["h"])],
    }


def ring(tmp_path: Path, size: int = 64, count: int = 1, distance: float = 5.0) -> dict[str, Any]:
    """The job's fields for cameras around the origin that see a [-1, 1] cube whole."""
    poses = [
        look_at((distance * math.cos(a), distance * math.sin(a), 0.4 * distance))
        for a in (2 * math.pi * i / count - math.pi / 3 for i in range(count))
    ]
    return camera_file(tmp_path / "ring.json", poses, lens(45, (size, size)))


def world_rays(camera: Camera) -> tuple[Any, Any]:
    """Camera position (3,) and directions (H, W, 3), scaled so that depth is their factor."""
    pose = camera.camera_to_world
    return pose[:3, 3], camera.rays() @ pose[:3, :3].T


# --- Ray casting ----------------------------------------------------------------------------
# Each returns planar depth (H, W), nan where nothing is hit, and the surface normal (H, W, 3).


def cast_box(camera: Camera, low: Any, high: Any, placed: Any = None) -> tuple[Any, Any]:
    """An axis-aligned box, after ``placed`` (4, 4) moved it."""
    placed = np.eye(4) if placed is None else placed
    origin, rays = world_rays(camera)
    inverse = np.linalg.inv(placed)
    origin, rays = inverse[:3, :3] @ origin + inverse[:3, 3], rays @ inverse[:3, :3].T
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (np.asarray(low) - origin) / rays, (np.asarray(high) - origin) / rays
    near, far = np.fmin(first, second), np.fmax(first, second)
    axis = near.argmax(axis=-1)
    depth = near.max(axis=-1)
    hit = (depth <= far.min(axis=-1)) & (depth > 0)
    normal = np.zeros_like(rays)
    np.put_along_axis(
        normal, axis[..., None], -np.sign(np.take_along_axis(rays, axis[..., None], -1)), -1
    )
    normal = normal @ inverse[:3, :3]
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    return np.where(hit, depth, np.nan), normal


def cast_sphere(camera: Camera, center: Any, radius: float) -> tuple[Any, Any]:
    origin, rays = world_rays(camera)
    offset = origin - np.asarray(center, dtype=np.float64)
    a = (rays * rays).sum(axis=-1)
    b = rays @ offset
    c = offset @ offset - radius * radius
    root = b * b - a * c
    with np.errstate(invalid="ignore"):
        depth = (-b - np.sqrt(root)) / a
    normal = (offset + rays * depth[..., None]) / radius
    return depth, normal


def cast_quad(camera: Camera, corner: Any, edge_u: Any, edge_v: Any) -> tuple[Any, Any]:
    """The parallelogram ``corner + s * edge_u + t * edge_v`` with s, t in 0..1."""
    origin, rays = world_rays(camera)
    corner, u, v = (np.asarray(item, dtype=np.float64) for item in (corner, edge_u, edge_v))
    normal = np.cross(u, v)
    normal /= np.linalg.norm(normal)
    depth = ((corner - origin) @ normal) / (rays @ normal)
    offset = origin + rays * depth[..., None] - corner
    gram = np.linalg.inv(np.array([[u @ u, u @ v], [u @ v, v @ v]]))
    st = np.stack([offset @ u, offset @ v], axis=-1) @ gram
    hit = ((st >= 0) & (st <= 1)).all(axis=-1) & (depth > 0)
    facing = np.where((rays @ normal)[..., None] > 0, -normal, normal)
    return np.where(hit, depth, np.nan), facing


def interior(mask: Any, margin: int = 1) -> Any:
    """Pixels whose whole neighbourhood is of the mask too, the picture's border included."""
    padded = np.pad(np.asarray(mask, dtype=bool), margin, mode="edge")
    height, width = mask.shape
    inside = np.ones((height, width), dtype=bool)
    for dy in range(2 * margin + 1):
        for dx in range(2 * margin + 1):
            inside &= padded[dy : dy + height, dx : dx + width]
    return inside


def angles(first: Any, second: Any) -> Any:
    """Angle in degrees between two fields of unit vectors."""
    cross = np.linalg.norm(np.cross(first, second), axis=-1)
    return np.degrees(np.arctan2(cross, (first * second).sum(axis=-1)))


# --- Scenes through bpy ---------------------------------------------------------------------


@contextmanager
def new_blend(path: Path) -> Iterator[Any]:
    """An empty scene to fill; what is in it at the end is saved as ``path``."""
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    yield bpy.context.scene
    bpy.ops.wm.save_as_mainfile(filepath=str(path), check_existing=False)


@contextmanager
def new_export(path: Path, **options: Any) -> Iterator[Any]:
    """The same, exported as glTF."""
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    yield bpy.context.scene
    bpy.ops.export_scene.gltf(filepath=str(path), export_format="GLB", **options)


def add_mesh(
    vertices: Any,
    faces: Sequence[Sequence[int]],
    *,
    name: str = "Mesh",
    material: Any = None,
    smooth: bool = False,
    matrix: Any = None,
    parent: Any = None,
    link: bool = True,
) -> Any:
    import bpy
    from mathutils import Matrix

    data = bpy.data.meshes.new(name)
    data.from_pydata([tuple(map(float, vertex)) for vertex in vertices], [], list(faces))
    data.polygons.foreach_set("use_smooth", [smooth] * len(data.polygons))
    data.update()
    obj = bpy.data.objects.new(name, data)
    if material is not None:
        data.materials.append(material)
    if link:
        bpy.context.scene.collection.objects.link(obj)
    if parent is not None:
        obj.parent = parent
    if matrix is not None:
        obj.matrix_basis = Matrix(np.asarray(matrix, dtype=float).tolist())
    return obj


def add_cube(size: float = 1.0, center: Any = (0, 0, 0), **options: Any) -> Any:
    return add_mesh(CUBE_VERTICES * size + np.asarray(center), CUBE_FACES, **options)


def sphere_mesh(segments: int = 64, radius: float = 1.0) -> tuple[Any, list[tuple[int, ...]]]:
    """Latitudes and longitudes; twice as many segments around as from pole to pole."""
    rings = segments // 2
    theta = np.pi * np.arange(1, rings) / rings
    phi = 2 * np.pi * np.arange(segments) / segments
    body = np.stack(
        [
            np.outer(np.sin(theta), np.cos(phi)),
            np.outer(np.sin(theta), np.sin(phi)),
            np.repeat(np.cos(theta)[:, None], segments, axis=1),
        ],
        axis=-1,
    ).reshape(-1, 3)
    vertices = np.concatenate([[[0, 0, 1]], body, [[0, 0, -1]]]) * radius
    last, faces = len(vertices) - 1, []
    for i in range(segments):
        j = (i + 1) % segments
        faces.append((0, 1 + i, 1 + j))
        faces.append((last, last - segments + j, last - segments + i))
        for ring_index in range(rings - 2):
            base = 1 + ring_index * segments
            faces.append((base + i, base + segments + i, base + segments + j, base + j))
    return vertices, faces


def add_sphere(
    radius: float = 1.0, center: Any = (0, 0, 0), segments: int = 64, **options: Any
) -> Any:
    vertices, faces = sphere_mesh(segments, radius)
    return add_mesh(vertices + np.asarray(center), faces, **{"smooth": True, **options})


def rotation(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Any:
    """(4, 4): about X, then Y, then Z, in degrees."""
    matrix = np.eye(4)
    for angle, (a, b) in zip((x, y, z), ((1, 2), (2, 0), (0, 1)), strict=True):
        turn = np.eye(4)
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        turn[[a, a, b, b], [a, b, a, b]] = [c, -s, s, c]
        matrix = turn @ matrix
    return matrix


def moved(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Any:
    matrix = np.eye(4)
    matrix[:3, 3] = (x, y, z)
    return matrix


def scaled(x: float, y: float, z: float) -> Any:
    return np.diag([x, y, z, 1.0])


def new_material(name: str = "Material") -> tuple[Any, Any, Any]:
    """A material, its node tree without a shader in it, and its output node."""
    import bpy

    material = bpy.data.materials.new(name)
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    return material, tree, tree.nodes.new("ShaderNodeOutputMaterial")


def emission(color: Sequence[float], name: str = "Emission") -> Any:
    material, tree, output = new_material(name)
    node = tree.nodes.new("ShaderNodeEmission")
    node.inputs["Color"].default_value = (*color, 1.0)
    tree.links.new(node.outputs[0], output.inputs["Surface"])
    return material


def principled(name: str = "Principled", **inputs: Any) -> Any:
    """Inputs by name, with ``_`` for a space: ``Base_Color=(1, 0, 0, 1)``."""
    material, tree, output = new_material(name)
    node = tree.nodes.new("ShaderNodeBsdfPrincipled")
    for key, value in inputs.items():
        node.inputs[key.replace("_", " ")].default_value = value
    tree.links.new(node.outputs[0], output.inputs["Surface"])
    return material


def bounds_of(scene: Any) -> Any:
    """(2, 3) box of the normalised asset."""
    bounds = scene.asset.normalization.bounds
    return np.array([bounds.box_min, bounds.box_max])


# --- Files written by hand ------------------------------------------------------------------


def triangles(faces: Sequence[Sequence[int]]) -> list[tuple[int, int, int]]:
    return [
        (face[0], face[i], face[i + 1]) for face in faces for i in range(1, len(face) - 1)
    ]


def write_obj(path: Path, vertices: Any, faces: Sequence[Sequence[int]], head: str = "") -> Path:
    lines = [head] if head else []
    lines += [f"v {x!r} {y!r} {z!r}" for x, y, z in np.asarray(vertices, dtype=float).tolist()]
    lines += ["vt 0 0", "vt 1 0", "vt 0 1"]
    lines += ["f " + " ".join(f"{i + 1}/{k % 3 + 1}" for k, i in enumerate(f)) for f in faces]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_ply(
    path: Path, vertices: Any, faces: Sequence[Sequence[int]], colors: Any = None
) -> Path:
    """Binary, with 8-bit vertex colours where some are given."""
    vertices = np.asarray(vertices, dtype=np.float32)
    rgb = ["property uchar red", "property uchar green", "property uchar blue"]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(vertices)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(rgb if colors is not None else []),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    body = bytearray()
    for index, vertex in enumerate(vertices):
        body += vertex.astype("<f4").tobytes()
        if colors is not None:
            body += bytes(colors[index])
    for face in faces:
        body += struct.pack(f"<B{len(face)}i", len(face), *face)
    path.write_bytes("\n".join(header).encode() + b"\n" + body)
    return path


def write_stl(path: Path, vertices: Any, faces: Sequence[Sequence[int]]) -> Path:
    """Binary."""
    vertices, parts = np.asarray(vertices, dtype=np.float32), triangles(faces)
    body = bytearray(b"made by hand".ljust(80, b"\0") + struct.pack("<I", len(parts)))
    for part in parts:
        body += bytes(12) + vertices[list(part)].astype("<f4").tobytes() + bytes(2)
    path.write_bytes(body)
    return path


def glb_document(vertices: Any, faces: Sequence[Sequence[int]]) -> tuple[dict[str, Any], bytes]:
    """A glTF document of one mesh, and its buffer; glTF is Y up."""
    positions = np.asarray(vertices, dtype="<f4")
    indices = np.array(triangles(faces), dtype="<u4").reshape(-1)
    uv = np.zeros((len(positions), 2), dtype="<f4")
    parts = [positions.tobytes(), indices.tobytes(), uv.tobytes()]
    views, offset = [], 0
    for part in parts:
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": len(part)})
        offset += len(part)
    finite = np.where(np.isfinite(positions), positions, 0)
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "Thing"}],
        "meshes": [
            {"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 2}, "indices": 1}]}
        ],
        "buffers": [{"byteLength": offset}],
        "bufferViews": views,
        "accessors": [
            {
                "bufferView": 0, "componentType": 5126, "count": len(positions), "type": "VEC3",
                "min": finite.min(axis=0).tolist(), "max": finite.max(axis=0).tolist(),
            },
            {"bufferView": 1, "componentType": 5125, "count": len(indices), "type": "SCALAR"},
            {"bufferView": 2, "componentType": 5126, "count": len(uv), "type": "VEC2"},
        ],
    }  # fmt: skip
    return document, b"".join(parts)


def write_glb(
    path: Path,
    vertices: Any = CUBE_VERTICES,
    faces: Sequence[Sequence[int]] = CUBE_FACES,
    change: Callable[[dict[str, Any]], None] = lambda document: None,
) -> Path:
    document, buffer = glb_document(vertices, faces)
    change(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    buffer += bytes(-len(buffer) % 4)
    total = 12 + 8 + len(text) + 8 + len(buffer)
    path.write_bytes(
        b"glTF" + struct.pack("<II", 2, total)
        + struct.pack("<I", len(text)) + b"JSON" + text
        + struct.pack("<I", len(buffer)) + b"BIN\0" + buffer
    )  # fmt: skip
    return path
