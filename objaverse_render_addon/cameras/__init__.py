"""From where to look: camera patterns, poses, intrinsics. numpy only.

Conventions, everywhere in this package:

* World: right-handed, Z up, as Blender. The asset is centred on the origin after normalisation.
* ``camera_to_world``: 4x4, maps camera coordinates to world coordinates, with OpenGL and
  Blender camera axes: +X right, +Y up, the camera looks along -Z.
* ``intrinsics``: 3x3 ``[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]`` in pixels. The image's origin is
  its top left corner, v grows downwards, the first pixel's centre is (0.5, 0.5). What fx and fy
  are, the camera's projection says (:data:`PROJECTIONS`).
* Azimuth is counted from +X towards +Y, elevation from the XY plane towards +Z, in degrees.
"""

from __future__ import annotations

from .camera import Camera, Rig, View, blender_lens, look_at_pose
from .files import keyed_views
from .placing import box_corners, look_at, perspective, random_directions, random_rotations
from .projection import PROJECTIONS, Projection, intrinsics_of
from .sampling import FRAME_MARGIN, draw, fitting_radius, sample_views

__all__ = [
    "FRAME_MARGIN",
    "PROJECTIONS",
    "Camera",
    "Projection",
    "Rig",
    "View",
    "blender_lens",
    "box_corners",
    "draw",
    "fitting_radius",
    "intrinsics_of",
    "keyed_views",
    "look_at",
    "look_at_pose",
    "perspective",
    "random_directions",
    "random_rotations",
    "sample_views",
]
