"""What renders at a time, and where its surface is at another: ids, flow, occlusion, tracks.

Plain arithmetic over what :mod:`objaverse_render_addon.blender.things` takes out of Blender.
"""

from __future__ import annotations

from .moment import Elsewhen, Moment
from .surface import SurfacePoints, displacements
from .things import Things, ThingsMesh
from .tracks import Tracks
from .visibility import visibility

__all__ = [
    "Elsewhen", "Moment", "SurfacePoints", "Things", "ThingsMesh", "Tracks", "displacements",
    "visibility",
]  # fmt: skip
