"""A camera and its projection, both ways."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import CameraFileError
from .projection import PROJECTIONS, Floats, Projection, intrinsics_of

__all__ = ["SENSOR", "Camera", "Floats", "Rig", "View", "blender_lens", "look_at_pose"]

SENSOR: Final = 36.0
"""Width of a fisheye's sensor in Blender, millimetres; any would do."""
SomePixels = tuple[npt.NDArray[Any], ...]
"""Rows (N,) and columns (N,) of some pixels, as :func:`numpy.nonzero` gives those of a mask."""

_FLIP = np.array([1.0, -1.0, -1.0, 1.0])  # OpenGL's camera axes to OpenCV's, and back


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera: pose, lens and size.

    Attributes:
        width: Pixels.
        height: Pixels.
        intrinsics: (3, 3) float64, ``[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]``; pixels, and what fx
            and fy are, the projection says.
        camera_to_world: (4, 4) float64, OpenGL axes, scene units.
        projection: One of :data:`.projection.PROJECTIONS`.
    """

    width: int
    height: int
    intrinsics: Floats
    camera_to_world: Floats
    projection: str = "perspective"

    @property
    def lens(self) -> Projection:
        """The kind of lens."""
        return PROJECTIONS[self.projection]

    @property
    def _numbers(self) -> tuple[float, float, float, float]:
        (fx, _, cx), (_, fy, cy), _ = self.intrinsics.tolist()
        return fx, fy, cx, cy

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
        """Full horizontal and vertical angle in degrees; 0 where all rays are parallel."""
        fx, fy, cx, cy = self._numbers
        if self.lens.parallel:
            return 0.0, 0.0
        if self.lens.radial:
            return math.degrees(self.width / fx), math.degrees(self.height / fy)
        horizontal = math.atan2(cx, fx) + math.atan2(self.width - cx, fx)
        vertical = math.atan2(cy, fy) + math.atan2(self.height - cy, fy)
        return math.degrees(horizontal), math.degrees(vertical)

    def project(self, points: npt.NDArray[Any]) -> tuple[Floats, Floats]:
        """Pixel coordinates (N, 2) and depth (N,) of world points (N, 3).

        Depth is what the pass is: planar, and along the ray where the lens is radial.
        """
        rotation, position = self.camera_to_world[:3, :3], self.camera_to_world[:3, 3]
        # An axis lies along memory, which is several times as fast as a point does.
        x, y, z = rotation.T @ (np.asarray(points, dtype=np.float64) - position).T
        u, v, depth = self.lens.to_pixels(self._numbers, x, y, z)
        return np.stack([u, v]).T, depth

    def way(self, start: npt.NDArray[Any], end: npt.NDArray[Any]) -> Floats:
        """From some image positions (N, 2) to others, pixels; in a panorama the shorter way around.

        What leads across its seam ends outside of the picture, a width beside where it is.
        """
        found: Floats = np.subtract(end, start, dtype=np.float64)
        if self.lens.wraps:
            found[..., 0] -= self.width * np.rint(found[..., 0] / self.width)
        return found

    def frames(self, points: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """(N,) which world points (N, 3) lie in the picture and before the camera, seen or not."""
        uv, depth = self.project(points)
        u, v = uv.T
        with np.errstate(invalid="ignore"):
            return np.asarray(
                (depth > 0) & (u >= 0) & (u < self.width) & (v >= 0) & (v < self.height)
            )

    def box_of(self, points: npt.NDArray[Any]) -> tuple[float, float, float, float] | None:
        """``[u_min, v_min, u_max, v_max]`` of world points (N, 3), in pixels, wherever that is.

        Of the corners of a 3D box it is the 2D box around that.

        Returns:
            ``None`` where there are none, where one is not before the camera, and of lenses that
            bend straight edges: there, points whose hull is a thing do not bound its picture.
        """
        if self.lens.radial or not len(points):
            return None
        uv, depth = self.project(points)
        if not (depth > 1e-6).all():
            return None
        low, high = uv.min(axis=0).tolist(), uv.max(axis=0).tolist()
        return low[0], low[1], high[0], high[1]

    def _centers(self, at: SomePixels | None) -> tuple[Floats, Floats]:
        """U and v of all pixels' centres, as a column and a row; (N,) each of some."""
        if at is not None:
            return at[1] + np.float64(0.5), at[0] + np.float64(0.5)
        column, row = (np.arange(count, dtype=np.float64) for count in (self.width, self.height))
        return column[None, :] + 0.5, row[:, None] + 0.5

    def rays(self, at: SomePixels | None = None) -> Floats:
        """Directions through the pixel centres in camera axes, scaled to depth 1.

        Args:
            at: Rows (N,) and columns (N,) of some pixels.

        Returns:
            (H, W, 3) float64; (N, 3) of some pixels.
        """
        return self.lens.ray(self._numbers, *self._centers(at))

    def local_points(self, depth: npt.NDArray[Any], at: SomePixels | None = None) -> Floats:
        """Points that pixels show, in camera axes; see :meth:`unproject`."""
        chosen = np.asarray(depth if at is None else depth[at], dtype=np.float64)
        local = self.rays(at) * chosen[..., None]
        if self.lens.parallel:
            fx, fy, cx, cy = self._numbers
            u, v = self._centers(at)
            local[..., 0], local[..., 1] = (u - cx) / fx, (cy - v) / fy
        return local

    def unproject(self, depth: npt.NDArray[Any], at: SomePixels | None = None) -> Floats:
        """World points that pixels show.

        Args:
            depth: As the pass, (H, W) scene units.
            at: Rows (N,) and columns (N,) of some pixels.

        Returns:
            (H, W, 3) float64, scene units; (N, 3) of some pixels.
        """
        local = self.local_points(depth, at)
        return np.asarray(local @ self.camera_to_world[:3, :3].T + self.camera_to_world[:3, 3])

    def stretch(self) -> Floats:
        """(H, W) float64: distance along the ray through a pixel's centre over depth."""
        return np.asarray(np.linalg.norm(self.rays(), axis=-1))

    def world_rays(self) -> tuple[Floats, Floats]:
        """Rays through the pixel centres in world axes.

        Returns:
            Origins (H, W, 3) in scene units, and directions (H, W, 3) of unit length. A point at
            ``distance`` (the pass) along a ray is ``origin + distance * direction``.
        """
        directions = self.rays() @ self.camera_to_world[:3, :3].T
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        if self.lens.parallel:
            return self.unproject(np.zeros((self.height, self.width))), directions
        return np.broadcast_to(self.camera_to_world[:3, 3], directions.shape), directions

    def towards(self, points: npt.NDArray[Any]) -> Floats:
        """(N, 3) unit vectors from world points (N, 3) along their rays, to where they are seen."""
        if self.lens.parallel:
            return np.broadcast_to(self.camera_to_world[:3, 2], points.shape)
        away = self.camera_to_world[:3, 3] - points
        return np.asarray(away / np.linalg.norm(away, axis=-1, keepdims=True))

    def pixel_area(self, depth: npt.NDArray[Any], at: SomePixels | None = None) -> Floats:
        """What a pixel covers at a depth, square scene units, seen straight on.

        Args:
            depth: (N,) of points near the principal point, or of the pixels ``at``.
        """
        fx, fy, _, _ = self._numbers
        far = np.ones(depth.shape) if self.lens.parallel else np.asarray(depth, dtype=np.float64)
        share = 1.0 if at is None else self.lens.share(self._numbers, *self._centers(at))
        return np.asarray(share * far**2 / (fx * fy))

    def pixel_width(self, depth: npt.NDArray[Any]) -> Floats:
        """How wide a pixel is at a depth (N,), scene units."""
        return np.asarray((0 * depth + 1 if self.lens.parallel else depth) / self._numbers[0])

    def starts(self, points: npt.NDArray[Any]) -> Floats:
        """(N, 3) where the rays that show some world points (N, 3) begin."""
        if not self.lens.parallel:
            return np.broadcast_to(self.camera_to_world[:3, 3], points.shape)
        back = self.camera_to_world[:3, 2]
        depth = (self.camera_to_world[:3, 3] - points) @ back
        return np.asarray(points + depth[:, None] * back)


@dataclass(frozen=True, slots=True)
class Rig:
    """Where the cameras of an asset stand around: patterns work in its units."""

    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    unit: float = 1.0


@dataclass(frozen=True, slots=True)
class View:
    """One view: its number, its camera and how it came about.

    Attributes:
        pose: ``radius``, ``azimuth_degrees``, ``elevation_degrees`` and ``fov_degrees`` (across the
            shorter side) or ``ortho_scale`` as sampled; ``attempt`` where the view was drawn
            again, ``moved_from_radius`` where it was moved back, ``widened_from_scale`` where it
            shows more. Empty for poses from a file.
        split: ``train`` or ``test``, where views are held out; empty where none are.
        eye: ``left`` or ``right`` of a pair, whose views follow one another; empty of others.
        clip: Nearest and farthest distance that it shows, scene units; ``None`` where that is all
            that there is.
    """

    index: int
    camera: Camera
    pose: dict[str, float] = field(default_factory=dict)
    split: str = ""
    eye: str = ""
    clip: tuple[float, float] | None = None


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


def blender_lens(camera: Camera) -> tuple[dict[str, Any], dict[str, float]]:
    """Blender's settings for a camera's lens, with the sensor fitted horizontally.

    Shifts of perspective and orthographic lenses are in image widths, of a fisheye in widths and
    heights; positive moves the picture's centre right and up. The formulas follow
    ``BKE_camera_params_compute_viewplane`` and Cycles' ``camera_projection.h``; a fisheye is
    Blender's lens polynomial with its linear term alone, for the equidistant one is squeezed to
    the shape of the picture.

    Returns:
        Properties of the camera, in the order to set them, and of the render.

    Raises:
        CameraFileError: There are no such cameras in Blender.
    """
    (fx, skew, cx), (_, fy, cy), _ = camera.intrinsics.tolist()
    if skew != 0:
        raise CameraFileError("Blender's cameras know no skew.")
    width, height = camera.width, camera.height
    aspect = fx / fy
    right, up = 0.5 - cx / width, cy / height - 0.5
    if camera.projection == "panorama":
        whole = intrinsics_of("panorama", 0.0, (width, height))
        if not np.allclose(camera.intrinsics, whole, rtol=1e-6):
            raise CameraFileError("A panorama is all around, with its middle in the middle.")
        lens: dict[str, Any] = {
            "type": "PANO", "panorama_type": "EQUIRECTANGULAR", "shift_x": 0.0, "shift_y": 0.0,
            "longitude_min": -math.pi, "longitude_max": math.pi,
            "latitude_min": -math.pi / 2, "latitude_max": math.pi / 2,
        }  # fmt: skip
        return lens, {"pixel_aspect_x": 1.0, "pixel_aspect_y": 1.0}
    if camera.projection == "fisheye":
        lens = {
            "type": "PANO", "panorama_type": "FISHEYE_LENS_POLYNOMIAL",
            "shift_x": right, "shift_y": up, "sensor_width": SENSOR,
            # Nothing is further from the axis than what is behind.
            "fisheye_fov": 2 * math.pi, "fisheye_polynomial_k0": 0.0,
            "fisheye_polynomial_k1": -width / (SENSOR * fx), "fisheye_polynomial_k2": 0.0,
            "fisheye_polynomial_k3": 0.0, "fisheye_polynomial_k4": 0.0,
        }  # fmt: skip
    else:
        shift = {"shift_x": right, "shift_y": up * height * aspect / width}
        if camera.projection == "orthographic":
            lens = {"type": "ORTHO", "ortho_scale": width / fx, **shift}
        else:
            lens = {"type": "PERSP", "angle": 2 * math.atan2(0.5 * width, fx), **shift}
    return lens, {
        "pixel_aspect_x": 1.0 if aspect >= 1 else 1.0 / aspect,
        "pixel_aspect_y": aspect if aspect >= 1 else 1.0,
    }
