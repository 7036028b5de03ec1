"""A camera and its projection, both ways."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CameraFileError

__all__ = ["Camera", "Floats", "Rig", "View", "blender_lens", "intrinsics_from_fov", "look_at_pose"]

Floats = npt.NDArray[np.float64]
SomePixels = tuple[npt.NDArray[Any], ...]
"""Rows (N,) and columns (N,) of some pixels, as :func:`numpy.nonzero` gives those of a mask."""

_FLIP = np.array([1.0, -1.0, -1.0, 1.0])  # OpenGL's camera axes to OpenCV's, and back


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera.

    Attributes:
        width: Pixels.
        height: Pixels.
        intrinsics: (3, 3) float64, pixels.
        camera_to_world: (4, 4) float64, OpenGL axes, scene units.
    """

    width: int
    height: int
    intrinsics: Floats
    camera_to_world: Floats

    @property
    def world_to_camera(self) -> Floats:
        """(4, 4) float64, OpenGL axes."""
        rotation = self.camera_to_world[:3, :3]
        matrix = np.eye(4)
        matrix[:3, :3] = rotation.T
        matrix[:3, 3] = -rotation.T @ self.camera_to_world[:3, 3]
        return matrix

    @property
    def camera_to_world_opencv(self) -> Floats:
        """(4, 4) float64 with OpenCV's and COLMAP's camera axes: +Y down, looking along +Z."""
        return np.asarray(self.camera_to_world * _FLIP)

    @property
    def world_to_camera_opencv(self) -> Floats:
        """(4, 4) float64 with OpenCV's and COLMAP's camera axes: +Y down, looking along +Z."""
        return np.asarray(self.world_to_camera * _FLIP[:, None])

    @property
    def fov(self) -> tuple[float, float]:
        """Full horizontal and vertical angle in degrees."""
        (fx, _, cx), (_, fy, cy), _ = self.intrinsics.tolist()
        horizontal = math.atan2(cx, fx) + math.atan2(self.width - cx, fx)
        vertical = math.atan2(cy, fy) + math.atan2(self.height - cy, fy)
        return math.degrees(horizontal), math.degrees(vertical)

    def project(self, points: npt.NDArray[Any]) -> tuple[Floats, Floats]:
        """Pixel coordinates (N, 2) and planar depth (N,) of world points (N, 3)."""
        rotation, position = self.camera_to_world[:3, :3], self.camera_to_world[:3, 3]
        # An axis lies along memory, which is several times as fast as a point does.
        x, y, z = rotation.T @ (np.asarray(points, dtype=np.float64) - position).T
        depth = -z
        with np.errstate(divide="ignore", invalid="ignore"):
            u = self.intrinsics[0, 0] * x / depth + self.intrinsics[0, 2]
            v = -self.intrinsics[1, 1] * y / depth + self.intrinsics[1, 2]
        return np.stack([u, v]).T, depth

    def rays(self, at: SomePixels | None = None) -> Floats:
        """Directions through the pixel centres in camera axes, scaled to depth 1.

        Args:
            at: Rows (N,) and columns (N,) of some pixels.

        Returns:
            (H, W, 3) float64; (N, 3) of some pixels.
        """
        if at is not None:
            (fx, _, cx), (_, fy, cy), _ = self.intrinsics.tolist()
            some = np.full((len(at[0]), 3), -1.0)
            some[:, 0] = (at[1] + 0.5 - cx) / fx
            some[:, 1] = (cy - at[0] - 0.5) / fy
            return some
        u = (np.arange(self.width) + 0.5 - self.intrinsics[0, 2]) / self.intrinsics[0, 0]
        v = (np.arange(self.height) + 0.5 - self.intrinsics[1, 2]) / self.intrinsics[1, 1]
        rays = np.empty((self.height, self.width, 3))
        rays[..., 0] = u[None, :]
        rays[..., 1] = -v[:, None]
        rays[..., 2] = -1.0
        return rays

    def stretch(self) -> Floats:
        """(H, W) float64: distance along the ray through a pixel's centre over planar depth."""
        return np.asarray(np.linalg.norm(self.rays(), axis=-1))

    def world_rays(self) -> tuple[Floats, Floats]:
        """Rays through the pixel centres in world axes.

        Returns:
            Origins (H, W, 3) in scene units, and directions (H, W, 3) of unit length. A point at
            ``distance`` (the pass) along a ray is ``origin + distance * direction``.
        """
        directions = self.rays() @ self.camera_to_world[:3, :3].T
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        return np.broadcast_to(self.camera_to_world[:3, 3], directions.shape), directions

    def unproject(self, depth: npt.NDArray[Any], at: SomePixels | None = None) -> Floats:
        """World points that pixels show.

        Args:
            depth: Planar, (H, W) scene units.
            at: Rows (N,) and columns (N,) of some pixels.

        Returns:
            (H, W, 3) float64, scene units; (N, 3) of some pixels.
        """
        chosen = depth if at is None else depth[at]
        local = self.rays(at) * np.asarray(chosen, dtype=np.float64)[..., None]
        return local @ self.camera_to_world[:3, :3].T + self.camera_to_world[:3, 3]


@dataclass(frozen=True, slots=True)
class Rig:
    """Where the cameras of an asset stand around: patterns work in its units."""

    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    unit: float = 1.0


@dataclass(frozen=True, slots=True)
class View:
    """One view: its number, its camera and how it came about.

    Attributes:
        pose: ``radius``, ``azimuth_degrees``, ``elevation_degrees``, ``fov_degrees`` (across the
            shorter side) as sampled; ``attempt`` where the view was drawn again,
            ``moved_from_radius`` where it was moved back. Empty for poses from a file.
        clip: Nearest and farthest distance that it shows, scene units; ``None`` where that is all
            that there is.
    """

    index: int
    camera: Camera
    pose: dict[str, float] = field(default_factory=dict)
    clip: tuple[float, float] | None = None


def intrinsics_from_fov(
    fov: float, width: int, height: int, pixel_aspect: float, shift: tuple[float, float]
) -> Floats:
    """K from the field of view across the shorter side of the image.

    Args:
        fov: Degrees.
        pixel_aspect: Height of a pixel over its width.
        shift: Of the principal point, as a share of width and height.

    Returns:
        3x3, float64, in pixels; the origin is the upper left corner of the upper left pixel.
    """
    shorter = min(width, height * pixel_aspect)
    fx = 0.5 * shorter / math.tan(math.radians(fov) / 2)
    return np.array(
        [
            [fx, 0.0, width * (0.5 + shift[0])],
            [0.0, fx / pixel_aspect, height * (0.5 + shift[1])],
            [0.0, 0.0, 1.0],
        ]
    )


def look_at_pose(azimuth: float, elevation: float, radius: float, rig: Rig) -> Floats:
    """``camera_to_world`` of a camera on the sphere, upright, looking at the rig's centre.

    The axes come from the angles, not from a cross product with "up", so that the poles are no
    exception.

    Args:
        azimuth: Degrees, counter-clockwise seen from above; 0 is on +X.
        elevation: Degrees above the XY plane.
        radius: Distance from the rig's centre, in scene units.

    Returns:
        4x4, float64, rigid; the camera looks along its -Z and +Y is up in the image.
    """
    a, e = math.radians(azimuth), math.radians(elevation)
    away = (math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e))
    right = (-math.sin(a), math.cos(a), 0.0)
    up = (-math.sin(e) * math.cos(a), -math.sin(e) * math.sin(a), math.cos(e))
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = right, up, away
    matrix[:3, 3] = [c + radius * x for c, x in zip(rig.center, away, strict=True)]
    return matrix


def blender_lens(camera: Camera) -> dict[str, float]:
    """Blender's camera settings for these intrinsics, with the sensor fitted horizontally.

    Returns:
        ``angle`` (radians, of an unshifted image's width), ``shift_x``, ``shift_y`` (in image
        widths, positive moves the picture's centre right and up) and the render's
        ``pixel_aspect_x``, ``pixel_aspect_y``. The formulas follow
        ``BKE_camera_params_compute_viewplane`` of Blender's source.
    """
    (fx, skew, cx), (_, fy, cy), _ = camera.intrinsics.tolist()
    if skew != 0:
        raise CameraFileError("Blender's cameras know no skew.")
    aspect = fx / fy
    width, height = camera.width, camera.height
    return {
        "angle": 2 * math.atan2(0.5 * width, fx),
        "shift_x": 0.5 - cx / width,
        "shift_y": (cy - 0.5 * height) * aspect / width,
        "pixel_aspect_x": 1.0 if aspect >= 1 else 1.0 / aspect,
        "pixel_aspect_y": aspect if aspect >= 1 else 1.0,
    }
