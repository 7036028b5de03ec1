"""COLMAP's sparse model, text and binary, with the surface itself as its points.

Format: https://colmap.github.io/format.html. World to camera, OpenCV axes; the first pixel's
centre is (0.5, 0.5), as here; quaternions are (w, x, y, z).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from ...cameras import Camera
from ..images import encode_png
from ..point_cloud import PointCloud, write_ply
from .base import Format
from .lens import SAME, pinhole
from .scene import Scene
from .surface import shows_surface, surface_of
from .target import SceneFiles

__all__ = ["Colmap", "quaternion"]

Array = npt.NDArray[Any]

POINTS: Final = 20_000
"""As many as a reconstruction of an object has; each brings a track through all views."""
PINHOLE: Final = 1
"""COLMAP's number of the model with fx, fy, cx, cy."""
_SEEN: Final = np.dtype([("x", "<f8"), ("y", "<f8"), ("point", "<i8")])
_TRACK: Final = np.dtype([("image", "<u4"), ("index", "<u4")])


@dataclass(frozen=True, slots=True)
class _Image:
    """One of the model's images.

    Attributes:
        seen: Of ``_SEEN``, the points that it shows.
    """

    number: int
    rotation: tuple[float, ...]
    translation: tuple[float, ...]
    camera: int
    name: str
    seen: Array


class Colmap(Format):
    """One folder per asset: ``images``, ``masks``, ``sparse/0``."""

    name: ClassVar[str] = "colmap"
    about: ClassVar[str] = "COLMAP sparse model with exact poses and surface points: gsplat, 3DGS"
    trains: ClassVar[str] = (
        "python examples/simple_trainer.py default --data-dir {target}/{key} --data-factor 1 "
        "--no-normalize-world-space"
    )
    background: ClassVar[tuple[float, float, float]] = (0.0, 0.0, 0.0)
    may_keep_alpha: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("rgb",)
    holds: ClassVar[tuple[str, ...]] = ("rgb", "mask", "depth", "position", "distance", "normal")

    def holds_out(self, split: str) -> bool:  # noqa: ARG002
        """See :class:`.Format`: splits are of views."""
        return True

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """Pictures, masks, and the model in both encodings."""
        digits = max(3, len(str(max(scene.numbers))))
        names = [f"{number:0{digits}d}.png" for number in scene.numbers]
        for view, name in enumerate(names):
            picture = scene.rgba_png(view) if scene.options.alpha else scene.rgb_png(view)
            out.add(f"{scene.key}/images/{name}", picture)
            if scene.has_mask or shows_surface(scene):
                mask = encode_png(scene.mask(view).astype(np.uint8) * 255)
                out.add(f"{scene.key}/masks/{name}", mask)
        self._split(scene, out, names)
        if scene.options.alpha:
            scene.note("differs", "pictures have straight alpha: gsplat drops it, and then what is "
                       "beside the object has no colour that means anything")  # fmt: skip
        cloud = surface_of(scene, POINTS)
        if len(cloud):
            scene.note("dropped", "depth and normals are held at the points of the cloud only, "
                       "which come from the views for validation and test too")  # fmt: skip
        cameras, owners = _distinct(scene.cameras)
        shifted = [_is_shifted(lens) for lens in cameras]
        scene.note("dropped", "3D Gaussian Splatting takes the principal point to be in the middle "
                   "(gsplat and nerfstudio read it); counted in views",
                   amount=sum(shifted[owner] for owner in owners))  # fmt: skip
        seen = [_seen(scene, view, cloud) for view in range(len(scene))]
        images = [
            _Image(view + 1, *_pose(scene.camera(view)), owners[view] + 1, names[view], seen[view])
            for view in range(len(scene))
        ]
        tracks = _tracks(images, len(cloud))
        folder = f"{scene.key}/sparse/0"
        out.add(f"{folder}/cameras.bin", _cameras_binary(cameras))
        out.add(f"{folder}/images.bin", _images_binary(images))
        out.add(f"{folder}/points3D.bin", _points_binary(cloud, tracks))
        out.add(f"{folder}/cameras.txt", _cameras_text(cameras))
        out.add(f"{folder}/images.txt", _images_text(images))
        out.add(f"{folder}/points3D.txt", _points_text(cloud, tracks))
        # 3D Gaussian Splatting makes this file from the others, and loses the normals in it.
        out.add(f"{folder}/points3D.ply", write_ply(cloud))
        return {}

    def _split(self, scene: Scene, out: SceneFiles, names: list[str]) -> None:
        """The lists that nerfstudio's parser looks for."""
        split = scene.split_views()
        if not all(split.values()):
            scene.note("differs", "too few views or shares of 0 for three splits: there are no "
                       "lists of them, and trainers split by themselves")  # fmt: skip
            return
        for part, views in split.items():
            lines = "".join(f"{names[view]}\n" for view in views)
            out.add(f"{scene.key}/{part}_list.txt", lines.encode())
        if set(split["val"]) == set(split["test"]):
            # What 3D Gaussian Splatting reads where no number says every how many.
            lines = "".join(f"{names[view]}\n" for view in split["test"])
            out.add(f"{scene.key}/sparse/0/test.txt", lines.encode())
            scene.note("differs", "views that are held out are named in test.txt and in the lists "
                       "that nerfstudio reads; gsplat and 3D Gaussian Splatting hold out every "
                       "eighth view whatever these say (views)", len(split["test"]))  # fmt: skip


def quaternion(rotation: Array) -> tuple[float, float, float, float]:
    """(w, x, y, z) of a rotation matrix (3, 3), w not negative.

    The eigenvector method of Bar-Itzhack, "New method for extracting the quaternion from a
    rotation matrix" (2000), which has no special cases.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = np.asarray(rotation, np.float64).tolist()
    symmetric = np.array(
        [
            [xx - yy - zz, yx + xy, zx + xz, zy - yz],
            [yx + xy, yy - xx - zz, zy + yz, xz - zx],
            [zx + xz, zy + yz, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    _, vectors = np.linalg.eigh(symmetric / 3.0)
    x, y, z, w = vectors[:, -1].tolist()
    return (w, x, y, z) if w >= 0 else (-w, -x, -y, -z)


def _pose(camera: Camera) -> tuple[tuple[float, ...], tuple[float, ...]]:
    matrix = camera.world_to_camera_opencv
    return quaternion(matrix[:3, :3]), tuple(matrix[:3, 3].tolist())


Lens = tuple[int, int, float, float, float, float]


def _distinct(cameras: list[Camera]) -> tuple[list[Lens], list[int]]:
    """Each lens once, and which of them every view has.

    Lenses within :data:`.lens.SAME` are one: what a renderer reads back has float32's noise.
    """
    lenses: list[Lens] = []
    owners = []
    for camera in cameras:
        lens = (camera.width, camera.height, *pinhole(camera))
        slack = [SAME * max(lens[:2])] * len(lens)
        same = [
            number
            for number, other in enumerate(lenses)
            if all(abs(a - b) <= most for a, b, most in zip(lens, other, slack, strict=True))
        ]
        owners.append(same[0] if same else len(lenses))
        if not same:
            lenses.append(lens)
    return lenses, owners


def _is_shifted(lens: Lens) -> bool:
    width, height, _, _, cx, cy = lens
    return max(abs(cx - width / 2), abs(cy - height / 2)) > SAME * max(width, height)


def _seen(scene: Scene, view: int, cloud: PointCloud) -> Array:
    """The points that a view shows, where it shows them.

    A point is seen where the depth of the pixel that it falls on is its own, give or take what a
    slope changes within one pixel.
    """
    camera = scene.camera(view)
    if not len(cloud):
        return np.zeros(0, _SEEN)
    uv, depth = camera.project(cloud.points)
    with np.errstate(invalid="ignore"):
        inside = ((uv >= 0) & (uv < [camera.width, camera.height])).all(axis=1) & (depth > 0)
    found = np.flatnonzero(inside)
    columns, rows = uv[found].astype(np.int64).T
    mask = scene.mask(view)
    surface = scene.depth(view) if scene.has("depth") else _planar(scene, view)
    facing = np.einsum("ij,ij->i", cloud.normals[found], camera.towards(cloud.points[found]))
    # Without normals any slope is possible; 0.3 is 73 degrees.
    facing = np.where(cloud.normals[found].any(axis=1), facing, 0.3)
    slack = camera.pixel_width(depth[found]) / np.clip(facing, 0.1, 1.0)
    near = np.abs(surface[rows, columns] - depth[found]) <= slack
    shown = mask[rows, columns] & near & (facing > 0)
    found = found[shown | (cloud.views[found] == view)]
    seen = np.zeros(len(found), _SEEN)
    seen["x"], seen["y"] = uv[found].T
    seen["point"] = found + 1
    return seen


def _planar(scene: Scene, view: int) -> Array:
    camera = scene.camera(view)
    if scene.has("position"):
        away = scene.position(view) - camera.camera_to_world[:3, 3]
        return np.asarray(-away @ camera.camera_to_world[:3, 2])
    return np.asarray(scene.array(view, "distance") * scene.scale / camera.stretch())


def _tracks(images: list[_Image], count: int) -> list[Array]:
    """Per point, the images that show it and its place in their lists."""
    flat = np.concatenate([image.seen["point"] - 1 for image in images])
    entries = np.zeros(len(flat), _TRACK)
    entries["image"] = np.concatenate([np.full(len(i.seen), i.number) for i in images])
    entries["index"] = np.concatenate([np.arange(len(i.seen)) for i in images])
    order = np.argsort(flat, kind="stable")
    ends = np.cumsum(np.bincount(flat, minlength=count))
    return np.split(entries[order], ends[:-1]) if count else []


def _cameras_binary(cameras: list[Lens]) -> bytes:
    head = struct.pack("<Q", len(cameras))
    return head + b"".join(
        struct.pack("<IiQQ4d", number, PINHOLE, *lens) for number, lens in enumerate(cameras, 1)
    )


def _images_binary(images: list[_Image]) -> bytes:
    parts = [struct.pack("<Q", len(images))]
    for image in images:
        parts += [
            struct.pack("<I7dI", image.number, *image.rotation, *image.translation, image.camera),
            image.name.encode() + b"\0",
            struct.pack("<Q", len(image.seen)),
            image.seen.tobytes(),
        ]
    return b"".join(parts)


def _points_binary(cloud: PointCloud, tracks: list[Array]) -> bytes:
    parts = [struct.pack("<Q", len(cloud))]
    rows = zip(cloud.points.tolist(), cloud.colors.tolist(), tracks, strict=True)
    for number, (point, color, track) in enumerate(rows, 1):
        # The error is of the reprojection, and there is none.
        parts += [struct.pack("<Q3d3BdQ", number, *point, *color, 0.0, len(track)), track.tobytes()]
    return b"".join(parts)


def _lines(title: str, rows: list[str]) -> bytes:
    return "\n".join([f"# {title}", *rows, ""]).encode()


def _cameras_text(cameras: list[Lens]) -> bytes:
    rows = [
        f"{number} PINHOLE {' '.join(map(repr, lens))}" for number, lens in enumerate(cameras, 1)
    ]
    return _lines("CAMERA_ID MODEL WIDTH HEIGHT FX FY CX CY", rows)


def _images_text(images: list[_Image]) -> bytes:
    rows = []
    for image in images:
        numbers = " ".join(map(repr, (*image.rotation, *image.translation)))
        rows.append(f"{image.number} {numbers} {image.camera} {image.name}")
        rows.append(" ".join(f"{x!r} {y!r} {point}" for x, y, point in image.seen.tolist()))
    return _lines("IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then X Y POINT3D_ID …", rows)


def _points_text(cloud: PointCloud, tracks: list[Array]) -> bytes:
    rows = []
    for number, point in enumerate(cloud.points.tolist()):
        color = " ".join(map(str, cloud.colors[number].tolist()))
        track = " ".join(f"{image} {index}" for image, index in tracks[number].tolist())
        rows.append(f"{number + 1} {' '.join(map(repr, point))} {color} 0.0 {track}")
    return _lines("POINT3D_ID X Y Z R G B ERROR (IMAGE_ID POINT2D_IDX) …", rows)
