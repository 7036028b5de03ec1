"""An asset's surface itself, beside its pictures: triangles, points, voxels, signed distances.

All of it is made of the triangles that Blender renders, in the normalised world of the pictures,
and is held against the pictures before it is written. The room stands on ``cameras`` and
``errors``.
"""

from __future__ import annotations

from .mesh import Mesh
from .points import SurfacePoints

__all__ = ["Mesh", "SurfacePoints"]
