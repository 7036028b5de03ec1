"""Scenes whose pictures are known by formula: what a perfect renderer would have written."""

from __future__ import annotations

import dataclasses
import itertools
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from objaverse_render_addon.cameras import (
    Camera,
    Rig,
    View,
    intrinsics_of,
    look_at_pose,
    sample_views,
)
from objaverse_render_addon.checks import check_frame
from objaverse_render_addon.dataset import metadata
from objaverse_render_addon.dataset.layout import METADATA, color_files, geometry_files, new_writer
from objaverse_render_addon.dataset.shape_files import ShapeFiles
from objaverse_render_addon.frame import Bounds, Frame, assemble
from objaverse_render_addon.job import RenderJob
from objaverse_render_addon.motion import Elsewhen, Moment, Things
from objaverse_render_addon.passspec import PASS_NAMES, STILL_PASSES
from objaverse_render_addon.shape import Mesh

NOTHING = 1e10
"""What Cycles writes as the depth of a pixel that shows nothing."""


@dataclass(frozen=True)
class Sphere:
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = 1.0

    @property
    def bounds(self) -> Bounds:
        low = tuple(c - self.radius for c in self.center)
        high = tuple(c + self.radius for c in self.center)
        return Bounds(low, high, self.center, self.radius)

    @property
    def points(self) -> np.ndarray:
        index = np.arange(4000) + 0.5
        z, azimuth = 1 - index / 2000, index * 2.399963229728653
        ring = np.sqrt(1 - z**2)
        unit = np.stack([ring * np.cos(azimuth), ring * np.sin(azimuth), z], axis=1)
        return np.array(self.center) + self.radius * unit

    def hit(self, origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        offset = origin - np.array(self.center)
        a = np.einsum("...i,...i", rays, rays)
        b = np.einsum("...i,...i", rays, offset)
        under = b**2 - a * (np.einsum("...i,...i", offset, offset) - self.radius**2)
        t = np.where(under >= 0, (-b - np.sqrt(np.maximum(under, 0))) / a, np.inf)
        points = offset + rays * np.where(np.isfinite(t), t, 0.0)[..., None]
        return t, points / self.radius


@dataclass(frozen=True)
class Box:
    low: tuple[float, float, float] = (-1.0, -0.6, -0.4)
    high: tuple[float, float, float] = (1.0, 0.6, 0.4)

    @property
    def bounds(self) -> Bounds:
        low, high = np.array(self.low), np.array(self.high)
        center = tuple(((low + high) / 2).tolist())
        return Bounds(self.low, self.high, center, float(np.linalg.norm(high - low) / 2))

    @property
    def points(self) -> np.ndarray:
        return np.array([[x, y, z] for x in self._side(0) for y in self._side(1)
                         for z in self._side(2)])  # fmt: skip

    def _side(self, axis: int) -> tuple[float, float]:
        return self.low[axis], self.high[axis]

    def hit(self, origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(divide="ignore", invalid="ignore"):
            one = (np.array(self.low) - origin) / rays
            other = (np.array(self.high) - origin) / rays
        enter = np.nanmin([one, other], axis=0)
        leave = np.nanmax([one, other], axis=0)
        axis = enter.argmax(axis=-1)
        t = enter.max(axis=-1)
        t = np.where((t <= leave.min(axis=-1)) & (t > 0), t, np.inf)
        normals = np.zeros_like(rays)
        sign = -np.sign(np.take_along_axis(rays, axis[..., None], axis=-1))
        np.put_along_axis(normals, axis[..., None], sign, axis=-1)
        return t, normals


@dataclass(frozen=True)
class Union:
    """Several convex shapes; the nearest is seen."""

    parts: tuple[Sphere | Box, ...]

    @property
    def bounds(self) -> Bounds:
        low = np.min([part.bounds.box_min for part in self.parts], axis=0)
        high = np.max([part.bounds.box_max for part in self.parts], axis=0)
        center = (low + high) / 2
        radius = float(np.linalg.norm(self.points - center, axis=1).max()) * 1.002
        return Bounds(tuple(low.tolist()), tuple(high.tolist()), tuple(center.tolist()), radius)

    @property
    def points(self) -> np.ndarray:
        return np.concatenate([part.points for part in self.parts])

    def hit(self, origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hits = [part.hit(origin, rays) for part in self.parts]
        nearest = np.argmin([t for t, _ in hits], axis=0)
        t = np.choose(nearest, [t for t, _ in hits])
        normals = np.choose(nearest[..., None], [normals for _, normals in hits])
        return t, normals


Shape = Sphere | Box | Union

LOPSIDED = Union((Box((-1.0, -0.5, -0.6), (0.2, 0.5, 0.0)), Sphere((0.6, 0.1, 0.2), 0.4)))
"""Looks different from everywhere, also upside down."""


def camera_at(
    azimuth: float = 300.0,
    elevation: float = 25.0,
    radius: float = 4.0,
    fov: float = 45.0,
    size: tuple[int, int] = (96, 96),
    pixel_aspect: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Camera:
    k = intrinsics_of("perspective", fov, size, pixel_aspect, shift)
    return Camera(*size, k, look_at_pose(azimuth, elevation, radius, Rig()))


THINGS = Things(
    np.array([3], np.uint32), np.array([7]), np.zeros((1, 3), np.float32),
    np.full(1, np.nan, np.float32), np.eye(4)[None], np.full(1, -1),
)  # fmt: skip
"""Object 7, which is instance 3 and of class 5."""
MOMENT = Moment(np.array([0] * 7 + [5], np.uint16), THINGS)
IDS = {
    "object_index": {"7": {"name": "thing", "class": "thing", "asset": "asset"}},
    "instance_index": {"3": {"name": "thing", "object_index": 7, "asset": "asset"}},
    "material_index": {"2": {"name": "paint", "asset": "asset"}},
    "semantic_index": {"5": {"name": "thing"}},
}


def channels_of(shape: Shape, camera: Camera) -> dict[str, np.ndarray]:
    """What Blender's multilayer EXR of this scene would hold."""
    rays = camera.rays() @ camera.camera_to_world[:3, :3].T
    # Parallel rays each begin in a place of their own.
    origin = camera.world_rays()[0]
    t, normals = shape.hit(origin, rays)
    seen = np.isfinite(t)
    position = origin + rays * np.where(seen, t, 0.0)[..., None]
    normals, position = normals * seen[..., None], position * seen[..., None]
    planes = {
        "depth.V": np.where(seen, t, NOTHING),
        "object_index.V": seen * 7.0,
        "material_index.V": seen * 2.0,
        "uv.X": position[..., 0],
        "uv.Y": position[..., 1],
        **{f"instance_place.{letter}": 0.0 * seen for letter in "RGB"},
        **{f"surface_number.{letter}": 0.0 * seen for letter in "RG"},
        **{f"normal.{letter}": normals[..., i] for i, letter in enumerate("XYZ")},
        **{f"position.{letter}": position[..., i] for i, letter in enumerate("XYZ")},
        **{
            f"albedo.{letter}": np.full(seen.shape, 0.25 * (i + 1))
            for i, letter in enumerate("RGB")
        },
        **{f"normal_geometric.{letter}": normals[..., i] for i, letter in enumerate("RGB")},
        **{f"roughness_metallic.{letter}": np.full(seen.shape, 0.5) for letter in "RGB"},
    }
    return {name: data.astype(np.float32) for name, data in planes.items()}


def box_of(shape: Shape, camera: Camera) -> tuple[float, float, float, float]:
    uv, _ = camera.project(shape.points)
    (left, top), (right, bottom) = uv.min(axis=0).tolist(), uv.max(axis=0).tolist()
    return left, top, right, bottom


def picture_of(passes: dict[str, np.ndarray]) -> np.ndarray:
    """An opaque colour picture, shaded by the normal, with some stripes."""
    mask = passes["mask"]
    rgb = np.zeros((*mask.shape, 4), np.uint8)
    stripes = np.arange(mask.shape[1])[:, None] % 16
    rgb[..., :3] = np.where(mask[..., None] == 1, 120 + 110 * passes["normal"] + stripes, 0)
    rgb[..., 3] = mask * 255
    return rgb


def light_of(picture: np.ndarray) -> np.ndarray:
    """The light that an 8-bit sRGB picture with straight alpha stands for, premultiplied."""
    encoded = picture / 255.0
    light = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    light[..., 3] = encoded[..., 3]
    light[..., :3] *= light[..., 3:]
    return light.astype(np.float16)


def frame_of(
    shape: Shape,
    camera: Camera,
    wanted: tuple[str, ...] = STILL_PASSES,
    normal_space: str = "camera",
    view: View | None = None,
    moment: Moment = MOMENT,
) -> Frame:
    """A view as a perfect renderer would hand it to the checks."""
    passes = assemble(channels_of(shape, camera), camera, wanted, normal_space, moment)
    if "rgb" in wanted:
        passes["rgb"] = picture_of(passes)
    if "rgb_linear" in wanted:
        passes["rgb_linear"] = light_of(picture_of(passes))
    # In the order of the registry, as everywhere.
    passes = {name: passes[name] for name in PASS_NAMES if name in passes}
    box = None if camera.lens.radial else box_of(shape, camera)
    frame = Frame(view or View(0, camera), passes=passes, object_box=box)
    frame.normal_space = normal_space
    return frame


def frames_of(
    shape: Shape,
    job: RenderJob,
    asset_id: str = "asset",
    times: tuple[int | None, ...] = (None,),
) -> list[Frame]:
    """All frames of a job; between times nothing moves, so that flow is 0 where it is known."""
    job = job.resolved()
    views = sample_views(job, asset_id, shape.points)
    wanted, space = job.pixels.passes, job.pixels.normal_space
    frames = []
    for view, (place, time) in itertools.product(views, enumerate(times)):
        moment = _moment(shape, view, place, times)
        frame = frame_of(shape, view.camera, wanted, space, view, moment)
        frame.time, frame.timed = time or 0, time is not None
        if job.pixels.tracks:
            frame.tracks = tracks_of(shape, view.camera, job.pixels.tracks)
        frames.append(frame)
    return frames


def _moment(shape: Shape, view: View, place: int, times: tuple[int | None, ...]) -> Moment:
    if len(times) == 1:
        return MOMENT

    def depth() -> np.ndarray:
        return frame_of(shape, view.camera, ("depth",)).passes["depth"]

    beside = Elsewhen(view.camera, THINGS, depth)
    return dataclasses.replace(
        MOMENT,
        previous=beside if place > 0 else None,
        next=beside if place < len(times) - 1 else None,
    )


def tracks_of(shape: Shape, camera: Camera, count: int) -> np.ndarray:
    """(count, 6) as :attr:`.Frame.tracks`: points of the surface, which stay where they are."""
    surface = shape.points
    points = surface[np.linspace(0, len(surface) - 1, count).astype(int)]
    uv, away = camera.project(points)
    eye = camera.camera_to_world[:3, 3]
    first, _ = shape.hit(eye, points - eye)
    inside = ((uv >= 0) & (uv < (camera.width, camera.height))).all(axis=1) & (away > 0)
    return np.column_stack([uv, points, inside & (first > 1 - 1e-6)]).astype(np.float32)


def outcome(checks: list[Any]) -> dict[str, str]:
    """Names of the checks that are not ok, with their status."""
    return {check.name: check.status for check in checks if check.status != "ok"}


_TEXT = b'{"asset": {"version": "2.0"}, "scene": 0, "scenes": [{}]}'
_TEXT += b" " * (-len(_TEXT) % 4)
_EMPTY_GLB = struct.pack("<4sIIII", b"glTF", 2, 20 + len(_TEXT), len(_TEXT), 0x4E4F534A) + _TEXT
TIME = {
    "frame_rate": 24.0, "scale": 1.0, "frames": [1, 9], "actions": [], "motion": 0.5,
    "clips": [{"action": None, "first": 1, "last": 9, "start": 1.0}],
}  # fmt: skip


def mesh_of(shape: Shape) -> Mesh:
    """Its triangles, as the renderer writes them."""
    if isinstance(shape, Union):
        parts = [mesh_of(part) for part in shape.parts]
        first = np.cumsum([0, *(len(part.vertices) for part in parts)])
        faces = [part.faces + start for part, start in zip(parts, first, strict=False)]
        numbers = np.repeat(np.arange(1, len(parts) + 1), [len(some) for some in faces])
        vertices = np.concatenate([part.vertices for part in parts])
        return _plain_mesh(vertices, np.concatenate(faces), numbers)
    if isinstance(shape, Sphere):
        import trimesh

        ball = trimesh.creation.icosphere(subdivisions=4, radius=shape.radius)
        places = ball.vertices + np.array(shape.center)
        return _plain_mesh(places, ball.faces, np.ones(len(ball.faces)))
    corners = np.array(list(itertools.product((0, 1), repeat=3)))
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))], np.int32)
    vertices = np.array(shape.low) + corners * np.subtract(shape.high, shape.low)
    return _plain_mesh(vertices, faces, np.ones(12))


def _plain_mesh(vertices: Any, faces: Any, part: Any) -> Mesh:
    nothing = np.zeros(len(faces), bool)
    names = {int(number): f"part {number:g}" for number in np.unique(part)}
    return Mesh(
        np.asarray(vertices, np.float32), np.asarray(faces, np.int32), np.asarray(part, np.int32),
        np.zeros(len(faces), np.int32), nothing, nothing, names, ("plain",),
    )  # fmt: skip


def write_asset(
    out: Path,
    job: RenderJob,
    asset_id: str = "asset",
    shape: Shape = LOPSIDED,
    change: Callable[[list[Frame], dict[str, Any]], None] | None = None,
    times: tuple[int | None, ...] = (None,),
) -> Path:
    """A finished asset, as the worker writes one; ``change`` may spoil it before."""
    job = job.resolved()
    frames = frames_of(shape, job, asset_id, times)
    for index, frame in enumerate(frames):
        frame.checks = check_frame(frame, shape.bounds, frames[:index])
    scratch = out / "scratch"
    scratch.mkdir(parents=True)
    record = metadata.asset_record(
        asset_id=asset_id,
        source={"file_identifier": "a.glb", "file_size": 3, "sha256": "0" * 64},
        scene={"time": TIME} if None not in times else {},
        normalization={"method": job.asset.normalize, "scale": 1.0, "translation": [0, 0, 0]},
        bounds=shape.bounds,
        job=job,
        engine={"engine": "numpy"},
        passes=[frame.spec(name) for name in job.pixels.passes],
        object_names={7: "thing"},
        ids={name: named for name, named in IDS.items() if name in job.pixels.passes},
        views=[metadata.view_record(frame, job, index) for index, frame in enumerate(frames)],
        seconds={"total": 1.0},
        warnings=[],
        version="0",
    )
    files: list[tuple[str, bytes]] = []
    if job.files.geometry_files:
        made = ShapeFiles(asset_id, mesh_of(shape), _EMPTY_GLB, job, shape.bounds)
        for frame in frames:
            made.look(frame)
        files = list(made.files())
        record["geometry"] = made.record()
    if job.pixels.tracks:
        record["tracks"] = {"count": job.pixels.tracks, "objects": ["thing"] * job.pixels.tracks}
    if change is not None:
        change(frames, record)
    writer = new_writer(out, asset_id, job.files.layout)
    for name, data in files:
        writer.add(name, data)
    for frame in frames:
        for name, data in color_files(frame, job, scratch):
            writer.add(name, data)
        for name, data in geometry_files(frame, job, scratch):
            writer.add(name, data)
    writer.add(METADATA, json.dumps(record).encode())
    scratch.rmdir()
    return writer.commit()
