"""Poses that others wrote: ``transforms.json``, NeRF-synthetic, COLMAP.

What Blender's cameras cannot do (lens distortion, skew) is refused by name, never left out.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import struct
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import CameraFileError
from ..job.fingerprint import pose_files
from ..words import how_many
from .camera import Camera, Floats, View
from .rotations import quaternion_matrix

__all__ = ["keyed_views", "transforms_json", "views_from_file"]

_DISTORTION: Final = re.compile(r"[kps]\d|omega|distortion_params")
# Of models that COLMAP has; all but the first four are zero without distortion.
_PARAMETERS: Final = {
    "SIMPLE_PINHOLE": "f cx cy",
    "PINHOLE": "fx fy cx cy",
    "SIMPLE_RADIAL": "f cx cy k1",
    "RADIAL": "f cx cy k1 k2",
    "OPENCV": "fx fy cx cy k1 k2 p1 p2",
    "FULL_OPENCV": "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6",
    "OPENCV_FISHEYE": "fx fy cx cy k1 k2 k3 k4",
}
# Of models without perspective; without distortion OpenCV's fisheye is the equidistant one.
_PROJECTIONS: Final = {
    "OPENCV_FISHEYE": "fisheye", "EQUIRECTANGULAR": "panorama", "ORTHOPHOTO": "orthographic",
}  # fmt: skip
# COLMAP's numbers of its models in binary files, and how many parameters each has: those of
# src/colmap/sensor/models.h. All have to be known to find the next camera.
_MODELS: Final = {
    0: ("SIMPLE_PINHOLE", 3), 1: ("PINHOLE", 4), 2: ("SIMPLE_RADIAL", 4), 3: ("RADIAL", 5),
    4: ("OPENCV", 8), 5: ("OPENCV_FISHEYE", 8), 6: ("FULL_OPENCV", 12), 7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4), 9: ("RADIAL_FISHEYE", 5), 10: ("THIN_PRISM_FISHEYE", 12),
}  # fmt: skip
_LARGEST: Final = 1 << 28
"""Bytes of a file of poses."""


def views_from_file(path: str, size: tuple[int, int], count: int | None = None) -> list[View]:
    """The cameras of a file or folder of poses.

    * ``transforms.json`` (nerfstudio, instant-ngp) and ``transforms_train.json`` (NeRF-synthetic),
      or TOML with the same keys: ``frames`` with a ``transform_matrix`` each (4x4 or 3x4, camera
      to world, OpenGL axes), and ``fl_x``, ``fl_y``, ``cx``, ``cy``, ``w``, ``h`` (pixels) or
      ``camera_angle_x``, ``camera_angle_y`` (radians), at the top or per frame. The order is the
      file's; of a folder with several files first train, then val, then test.
    * A folder with COLMAP's sparse model, ordered by the names of its images.

    Intrinsics for another resolution of the same shape are scaled to this one.

    Args:
        size: Width and height to render.
        count: Take the first so many.

    Raises:
        CameraFileError: Missing, broken, with lens distortion, without intrinsics, or of another
            shape than ``size``.
    """
    files = pose_files(path)
    colmap = len(files) == 2 and files[0].stem == "cameras" and files[0].suffix != ".json"
    cameras = _colmap(files, size) if colmap else _transforms(files, size)
    views: list[View] = []
    try:
        for index, camera in enumerate(cameras):
            if index == count:
                return views
            views.append(View(index, camera))
    except CameraFileError:
        raise
    except (OSError, UnicodeDecodeError, ValueError, struct.error, IndexError) as error:
        raise CameraFileError(f"Camera file {path} cannot be read: {error}.") from error
    if not views:
        raise CameraFileError(f"Camera file {path} has no frames.")
    if count is not None and count > len(views):
        raise CameraFileError(
            f"Camera file {path} has {how_many(len(views), 'frame')}; views asked for: {count}."
        )
    return views


def keyed_views(
    path: str, size: tuple[int, int], times: Iterable[int], count: int | None = None
) -> dict[int, list[View]]:
    """The cameras of a file of poses that says at which frame each stands: they move in between.

    Of a ``transforms.json`` (or TOML) whose frames have a number ``frame``, as the user counts,
    and, where there are several cameras, a number ``view``. Between two keyframes the position
    and the lens go straight, and the rotation takes the shortest way at an even speed; before the
    first and after the last the camera stands.

    Args:
        times: Frames that are wanted.
        count: Take the first so many views.

    Returns:
        Frame to views; nothing where the file names no frames.

    Raises:
        CameraFileError: As :func:`views_from_file`; or only some of the poses have a frame, or two
            of a view have the same.
    """
    files = pose_files(path)
    if any(file.suffix.lower() not in (".json", ".toml") for file in files):
        return {}
    keys: dict[int, dict[float, Camera]] = {}
    places = list(_places(files))
    if all(frame is None for frame, _ in places):
        return {}
    for index, ((frame, view), camera) in enumerate(
        zip(places, _transforms(files, size), strict=True)
    ):
        known = keys.setdefault(view, {})
        if frame is None or frame in known:
            what = "has no frame" if frame is None else f"has frame {frame:g} of view {view} again"
            raise CameraFileError(
                f"Camera file {path}, frame {index} {what}.",
                hint="Give each pose a number frame, and each camera's a number view.",
            )
        known[frame] = camera
    if count is not None and count > len(keys):
        raise CameraFileError(
            f"Camera file {path} has {how_many(len(keys), 'view')}; views asked for: {count}."
        )
    chosen = sorted(keys)[:count]
    return {
        time: [View(index, _between(keys[view], time)) for index, view in enumerate(chosen)]
        for time in times
    }


def _places(files: list[Path]) -> Iterator[tuple[float | None, int]]:
    """Frame and view of each pose, as the files say them."""
    for path in files:
        for index, frame in enumerate(_frames(path)[1]):
            time, view = frame.get("frame"), frame.get("view", 0)
            with _naming(f"{path}, frame {index}"):
                if isinstance(time, bool) or not isinstance(time, int | float | None):
                    raise ValueError(f"frame {time!r} is no number")
                if type(view) is not int:
                    raise ValueError(f"view {view!r} is no whole number")
            yield None if time is None else float(time), view


def _between(keys: dict[float, Camera], time: float) -> Camera:
    """A moving camera at a time."""
    before = max((key for key in keys if key <= time), default=min(keys))
    after = min((key for key in keys if key >= time), default=max(keys))
    first, last = keys[before], keys[after]
    if first is last:
        return first
    part = (time - before) / (after - before)
    pose = np.eye(4)
    pose[:3, 3] = first.camera_to_world[:3, 3] * (1 - part) + last.camera_to_world[:3, 3] * part
    start = first.camera_to_world[:3, :3]
    pose[:3, :3] = start @ _turned(start.T @ last.camera_to_world[:3, :3], part)
    intrinsics = first.intrinsics * (1 - part) + last.intrinsics * part
    if first.projection != last.projection:
        raise CameraFileError(
            f"A moving camera is {first.projection} at first and {last.projection} later.",
            hint="Give all its frames one camera_model.",
        )
    return dataclasses.replace(first, intrinsics=intrinsics, camera_to_world=pose)


def _turned(rotation: Floats, part: float) -> Floats:
    """A part of a rotation (3, 3), about its own axis (Rodrigues' formula)."""
    angle = math.acos(max(-1.0, min(1.0, (float(np.trace(rotation)) - 1) / 2)))
    if angle < 1e-12:
        return np.eye(3)
    # Of half a turn the difference of the off-diagonal is zero; the axis is in the sum.
    symmetric = (rotation + rotation.T) / 2 - math.cos(angle) * np.eye(3)
    axis = symmetric[:, int(np.argmax(np.diag(symmetric)))]
    axis = axis / np.linalg.norm(axis)
    twist = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0],
                      rotation[1, 0] - rotation[0, 1]])  # fmt: skip
    if float(axis @ twist) < 0:
        axis = -axis
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = part * angle
    return np.asarray(
        np.eye(3) + math.sin(turn) * cross + (1 - math.cos(turn)) * (cross @ cross)
    )


def transforms_json(
    cameras: Sequence[Camera],
    names: Sequence[str],
    keys: Sequence[tuple[int, int | None]] = (),
) -> bytes:
    """A file of poses, as :func:`views_from_file` reads it: ``transforms.json`` of nerfstudio.

    Args:
        names: Of the cameras; what their pictures are called in the file.
        keys: View and frame of each, where they move: as :func:`keyed_views` reads it.
    """
    places: list[dict[str, Any]] = [{"view": view, "frame": time} for view, time in keys]
    frames = [
        {
            "file_path": name,
            "camera_model": _MODEL_OF[camera.projection],
            "w": camera.width,
            "h": camera.height,
            "fl_x": float(camera.intrinsics[0, 0]) * _focal_unit(camera.projection),
            "fl_y": float(camera.intrinsics[1, 1]) * _focal_unit(camera.projection),
            "cx": float(camera.intrinsics[0, 2]),
            "cy": float(camera.intrinsics[1, 2]),
            "transform_matrix": camera.camera_to_world.tolist(),
            **place,
        }
        for camera, name, place in zip(cameras, names, places or [{}] * len(names), strict=True)
    ]
    return json.dumps({"frames": frames}, indent=1).encode()


_MODEL_OF: Final = {"perspective": "PINHOLE"} | {
    projection: model for model, projection in _PROJECTIONS.items()
}


def _focal_unit(projection: str) -> float:
    """Focal lengths of panoramas are in such files per half a turn, not per radian."""
    return math.pi if projection == "panorama" else 1.0


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST} bytes")
    return data


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """What is not understood is an error that says where it stands."""
    try:
        yield
    except KeyError as error:
        raise CameraFileError(f"Camera file {where} has no {error}.") from error
    except _Shape as error:
        raise CameraFileError(f"Camera file {where}: {error}.", hint=error.hint) from error
    except (TypeError, ValueError, ArithmeticError) as error:
        raise CameraFileError(f"Camera file {where}: {error}.") from error


class _Shape(ValueError):
    """The pictures are of another shape than those to be rendered."""

    hint = ""


# --- transforms.json ------------------------------------------------------------------------


def _frames(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The whole of a file, and its frames."""
    try:
        text = _read(path).decode("utf-8")
        toml = path.suffix.lower() == ".toml"
        data = tomllib.loads(text) if toml else json.loads(text)
    except OSError as error:
        raise CameraFileError(
            f"Camera file {path} cannot be read: {error.strerror or error}.",
            hint="Give a file or folder of poses, see docs/cameras.md.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise CameraFileError(f"Camera file {path} cannot be read: {error}.") from error
    frames = data.get("frames") if isinstance(data, dict) else None
    if not isinstance(frames, list) or not frames:
        raise CameraFileError(f"Camera file {path} has no frames.")
    for index, frame in enumerate(frames):
        if not isinstance(frame, dict):
            raise CameraFileError(f"Camera file {path}, frame {index}: it is no table.")
    return data, frames


def _transforms(files: list[Path], size: tuple[int, int]) -> Iterator[Camera]:
    for path in files:
        data, frames = _frames(path)
        for index, frame in enumerate(frames):
            with _naming(f"{path}, frame {index}"):
                camera = _camera_from_frame({**data, **frame}, size)
            yield camera


def _camera_from_frame(frame: dict[str, Any], size: tuple[int, int]) -> Camera:
    for name, value in frame.items():
        if _DISTORTION.fullmatch(name) and (any(value) if isinstance(value, list) else value):
            raise ValueError(f"lens distortion ({name}) cannot be rendered; undistort it first")
    model = str(frame.get("camera_model", "PINHOLE"))
    if frame.get("is_fisheye"):
        model = "OPENCV_FISHEYE"
    if model not in (*_PARAMETERS, *_PROJECTIONS):
        raise ValueError(f"the camera model {model} is none that can be rendered")
    matrix = np.array(frame["transform_matrix"], dtype=np.float64)
    if matrix.shape == (3, 4):
        matrix = np.vstack([matrix, [0.0, 0.0, 0.0, 1.0]])
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError("transform_matrix is not a finite 4x4 matrix")
    if np.abs(matrix[3] - [0.0, 0.0, 0.0, 1.0]).max() > 1e-6:
        raise ValueError("transform_matrix does not end with the row 0 0 0 1; is it transposed?")
    rotation = matrix[:3, :3]
    if np.abs(rotation.T @ rotation - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise ValueError("transform_matrix is not a rotation and a translation")
    width, height = float(frame.get("w", size[0])), float(frame.get("h", size[1]))
    if "fl_x" in frame:
        fx = float(frame["fl_x"])
        fy = float(frame.get("fl_y", fx))
    elif "camera_angle_x" in frame:
        fx = fy = _focal(frame, "camera_angle_x", width)
        if "camera_angle_y" in frame:
            fy = _focal(frame, "camera_angle_y", height)
    else:
        raise ValueError("neither camera_angle_x nor fl_x says what the lens is")
    cx, cy = float(frame.get("cx", width / 2)), float(frame.get("cy", height / 2))
    projection = _PROJECTIONS.get(model, "perspective")
    if projection != "perspective" and "fl_x" not in frame:
        raise ValueError(f"fl_x does not say what the lens of the {model} is")
    unit = _focal_unit(projection)
    lens = fx / unit, fy / unit, cx, cy
    return _scaled(lens, (width, height), size, matrix, projection)


def _focal(frame: dict[str, Any], name: str, pixels: float) -> float:
    angle = float(frame[name])
    if not 0 < angle < math.pi:
        raise ValueError(f"{name} {angle:g} is no angle in radians")
    return 0.5 * pixels / math.tan(0.5 * angle)


def _scaled(
    lens: tuple[float, float, float, float],
    said: tuple[float, float],
    size: tuple[int, int],
    camera_to_world: Floats,
    projection: str,
) -> Camera:
    """A camera with fx, fy, cx, cy of pictures of one size, scaled to another."""
    sx, sy = size[0] / said[0], size[1] / said[1]
    if not (sx > 0 and sy > 0):
        raise ValueError(f"{said[0]:g}x{said[1]:g} is no size of a picture")
    # A hundredth is what rounding to whole pixels makes of a small picture.
    if not abs(sx / sy - 1) < 0.01:
        error = _Shape(
            f"its pictures are {said[0]:g}x{said[1]:g}, which {size[0]}x{size[1]} would squash"
        )
        error.hint = f"Render with --resolution {said[0]:g}x{said[1]:g}, or of the same shape."
        raise error
    fx, fy, cx, cy = lens[0] * sx, lens[1] * sy, lens[2] * sx, lens[3] * sy
    if not (fx > 0 and fy > 0 and np.isfinite([fx, fy, cx, cy]).all()):
        raise ValueError("the focal length is not positive, or the principal point no number")
    intrinsics = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64)
    return Camera(*size, intrinsics, camera_to_world, projection)


# --- COLMAP ---------------------------------------------------------------------------------
# Format: https://colmap.github.io/format.html


@dataclass(frozen=True, slots=True)
class _Lens:
    """One of a model's cameras."""

    model: str
    size: tuple[int, int]
    parameters: tuple[float, ...]

    def numbers(self) -> tuple[float, float, float, float]:
        """Fx, fy, cx, cy."""
        names = _PARAMETERS.get(self.model)
        if names is None:
            raise ValueError(f"the camera model {self.model} is none that can be rendered")
        named = dict(zip(names.split(), self.parameters, strict=True))
        for name, value in named.items():
            if _DISTORTION.fullmatch(name) and value:
                raise ValueError(f"lens distortion ({name}) cannot be rendered; undistort it first")
        focal = named.get("f", 0.0)
        return named.get("fx", focal), named.get("fy", focal), named["cx"], named["cy"]


@dataclass(frozen=True, slots=True)
class _Pose:
    """One of a model's images: world to camera, OpenCV axes."""

    name: str
    camera: int
    quaternion: tuple[float, ...]
    translation: tuple[float, ...]

    def camera_to_world(self) -> Floats:
        """4x4, OpenGL axes."""
        w, x, y, z = self.quaternion
        length = math.sqrt(w * w + x * x + y * y + z * z)
        if not (abs(length - 1) < 1e-2 and np.isfinite(self.translation).all()):
            raise ValueError("its pose is no unit quaternion and translation")
        w, x, y, z = (value / length for value in (w, x, y, z))
        rotation = quaternion_matrix(x, y, z, w)
        matrix = np.eye(4)
        matrix[:3, :3] = rotation.T * [1.0, -1.0, -1.0]
        matrix[:3, 3] = -rotation.T @ np.array(self.translation)
        return matrix


def _colmap(files: list[Path], size: tuple[int, int]) -> Iterator[Camera]:
    cameras, images = (_read(file) for file in files)
    binary = files[0].suffix == ".bin"
    lenses = dict(_binary_lenses(cameras) if binary else _text_lenses(cameras.decode()))
    poses = list(_binary_poses(images) if binary else _text_poses(images.decode()))
    for pose in sorted(poses, key=lambda pose: pose.name):
        with _naming(f"{files[1]}, image {pose.name!r}"):
            if pose.camera not in lenses:
                raise ValueError(f"there is no camera {pose.camera}")
            lens = lenses[pose.camera]
            projection = _PROJECTIONS.get(lens.model, "perspective")
            camera = _scaled(
                lens.numbers(), lens.size, size, pose.camera_to_world(), projection
            )
        yield camera


def _text_lenses(text: str) -> Iterator[tuple[int, _Lens]]:
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            number, model, width, height, *parameters = line.split()
            yield int(number), _Lens(
                model, (int(width), int(height)), tuple(map(float, parameters))
            )


def _text_poses(text: str) -> Iterator[_Pose]:
    lines = iter(text.splitlines())
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        _, *numbers, camera, name = line.split(maxsplit=9)
        pose = tuple(map(float, numbers))
        yield _Pose(name.strip(), int(camera), pose[:4], pose[4:])
        next(lines, None)  # Its points, often an empty line.


def _binary_lenses(data: bytes) -> Iterator[tuple[int, _Lens]]:
    (count,) = struct.unpack_from("<Q", data)
    at = 8
    for _ in range(count):
        number, kind, width, height = struct.unpack_from("<iiQQ", data, at)
        if kind not in _MODELS:
            raise ValueError(f"there is no camera model {kind}")
        model, parameters = _MODELS[kind]
        at += 24
        yield number, _Lens(model, (width, height), struct.unpack_from(f"<{parameters}d", data, at))
        at += 8 * parameters


def _binary_poses(data: bytes) -> Iterator[_Pose]:
    (count,) = struct.unpack_from("<Q", data)
    at = 8
    for _ in range(count):
        _, *pose, camera = struct.unpack_from("<i7di", data, at)
        at += 64
        end = data.index(b"\0", at)
        name = data[at:end].decode("utf-8")
        (points,) = struct.unpack_from("<Q", data, end + 1)
        at = end + 9 + 24 * points
        if at > len(data):
            raise ValueError("it breaks off")
        yield _Pose(name, camera, tuple(pose[:4]), tuple(pose[4:]))
