"""What an environment is: its scene and its spaces. No Gymnasium here, and no Blender.

:mod:`..live.env` makes them run.
"""

from __future__ import annotations

from .scene import EnvironmentScene
from .spaces import Box, Discrete, Picture, Space, Spaces

__all__ = ["Box", "Discrete", "EnvironmentScene", "Picture", "Space", "Spaces"]
