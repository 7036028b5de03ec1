"""Camera patterns, and what each means when the user says nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from .choices import Framing, Normalization

__all__ = ["HALF_EXTENT", "PATTERNS", "WHOLE_SPHERE", "PatternDefaults"]

HALF_EXTENT: Final[dict[str, float]] = {
    "cube": 1.0, "unit-cube": 0.5, "sphere": 1.0, "none": 1.0, "diagonal": 0.5,
}  # fmt: skip
"""Half the longest edge (for ``sphere`` the radius, for ``diagonal`` half the box's diagonal) of
the asset after normalisation. With
``none`` the rig itself is scaled, so that a radius counts in half longest edges there too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternDefaults:
    """What a camera pattern means when the user says nothing else.

    ``radius`` is in scene units for the pattern's own ``normalize``; it is scaled when the job
    normalises differently. Angles are in degrees.
    """

    views: int
    radius: tuple[float, float]
    elevation: tuple[float, float]
    fov: tuple[float, float]
    normalize: Normalization
    framing: Framing
    drawn: bool
    about: str
    numbered: bool = False
    """Trainers know the views by their numbers: there are no more of them than ``views``."""
    given: bool = False
    """Poses and lenses come with a file, and are taken as they are."""


# 2 atan(16 / 35): a 35 mm lens on a 32 mm sensor, as the Objaverse scripts set it. Rounded, so
# that the panel, whose numbers have 32 bits, means the same.
_OBJAVERSE_FOV = round(math.degrees(2 * math.atan(16 / 35)), 4)
# The distance from which the sphere around a full [-1, 1] cube fills a 45 degree view.
_WHOLE_CUBE = (4.53, 4.53)
WHOLE_SPHERE: Final = 3.54
"""What an orthographic lens takes in for the sphere around a full [-1, 1] cube, with a margin."""

PATTERNS: Final[dict[str, PatternDefaults]] = {
    "gs-lrm": PatternDefaults(
        views=32,
        radius=(1.5, 2.8),
        elevation=(-45.0, 45.0),
        fov=(35.0, 70.0),
        normalize="cube",
        framing="fit",
        drawn=True,
        about="every view draws its own direction, distance and field of view",
    ),
    "objaverse-xl": PatternDefaults(
        views=12,
        radius=(1.5, 2.2),
        elevation=(-90.0, 90.0),
        fov=(_OBJAVERSE_FOV, _OBJAVERSE_FOV),
        normalize="unit-cube",
        framing="allow",
        drawn=True,
        about="random directions and distances of the Objaverse-XL scripts",
    ),
    "zero123": PatternDefaults(
        views=12,
        radius=(1.5, 2.2),
        elevation=(-90.0, 90.0),
        fov=(_OBJAVERSE_FOV, _OBJAVERSE_FOV),
        normalize="unit-cube",
        framing="allow",
        drawn=True,
        about="random directions and distances as Zero123 was trained on",
    ),
    "ring": PatternDefaults(
        views=12,
        radius=_WHOLE_CUBE,
        elevation=(20.0, 20.0),
        fov=(45.0, 45.0),
        normalize="cube",
        framing="fit",
        drawn=False,
        about="evenly spaced on one circle, the front first",
    ),
    "fibonacci": PatternDefaults(
        views=32,
        radius=_WHOLE_CUBE,
        elevation=(-90.0, 90.0),
        fov=(45.0, 45.0),
        normalize="cube",
        framing="fit",
        drawn=False,
        about="evenly spread over the sphere by the golden angle",
    ),
    "hammersley": PatternDefaults(
        views=150,
        radius=(2.0, 2.0),
        elevation=(-90.0, 90.0),
        fov=(40.0, 40.0),
        normalize="unit-cube",
        framing="allow",
        drawn=False,
        about="low-discrepancy points with a drawn offset, as TRELLIS",
    ),
    "cube-faces": PatternDefaults(
        views=6,
        radius=_WHOLE_CUBE,
        elevation=(-90.0, 90.0),
        fov=(45.0, 45.0),
        normalize="cube",
        framing="fit",
        drawn=False,
        about="along the six axes: +X, -X, +Y, -Y, +Z, -Z",
    ),
    "orbit": PatternDefaults(
        views=48,
        radius=_WHOLE_CUBE,
        elevation=(-30.0, 60.0),
        fov=(45.0, 45.0),
        normalize="cube",
        framing="fit",
        drawn=False,
        about="a spiral that climbs while it turns",
    ),
    "syncdreamer-input": PatternDefaults(
        views=16,
        radius=(1.5, 1.5),
        elevation=(-10.0, 40.0),
        fov=(_OBJAVERSE_FOV, _OBJAVERSE_FOV),
        normalize="unit-cube",
        framing="allow",
        drawn=False,
        about="the ring's azimuths, each at an elevation of its own, as SyncDreamer's input",
    ),
    "zero123plus": PatternDefaults(
        views=7,
        radius=(4.0, 4.0),
        elevation=(-20.0, 45.0),
        fov=(30.0, 30.0),
        normalize="cube",
        framing="allow",
        drawn=False,
        about="one view along -X at a drawn elevation, then the six of Zero123++",
        numbered=True,
    ),
    "g-objaverse": PatternDefaults(
        views=40,
        radius=(2.6, 2.6),
        elevation=(5.0, 30.0),
        # 2 atan(512 / 1422.222)
        fov=(39.5978, 39.5978),
        normalize="unit-cube",
        framing="allow",
        drawn=False,
        about="the rig of G-buffer Objaverse: two rings, the top and the bottom",
        numbered=True,
    ),
    "six-around": PatternDefaults(
        views=6,
        radius=(1.8, 1.8),
        elevation=(0.0, 0.0),
        fov=(40.0, 40.0),
        normalize="unit-cube",
        framing="allow",
        drawn=False,
        about="front, front right, right, back, left and front left at one height",
        numbered=True,
    ),
    "file": PatternDefaults(
        views=0,
        radius=(0.0, 0.0),
        elevation=(-90.0, 90.0),
        fov=(0.0, 0.0),
        normalize="cube",
        framing="allow",
        drawn=False,
        about="poses from a transforms.json or a TOML file",
        given=True,
    ),
    "scene": PatternDefaults(
        views=0,
        radius=(0.0, 0.0),
        elevation=(-90.0, 90.0),
        fov=(0.0, 0.0),
        normalize="none",
        framing="allow",
        drawn=False,
        about="the cameras of the file itself, as they move",
        given=True,
    ),
}
