"""A pole on a cart, to be kept upright: Barto, Sutton and Anderson, 1983."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from .scene import EnvironmentScene
from .spaces import Box, Discrete, Picture, Spaces

if TYPE_CHECKING:
    from ..blender.playing import PlayStage

__all__ = ["CartPole", "CartPolePictures"]

_GRAVITY: Final = 9.8
_CART, _POLE = 1.0, 0.1
"""Masses, kg."""
_HALF: Final = 0.5
"""Half the pole's length, metres."""
_FORCE: Final = 10.0
_SECONDS: Final = 0.02
_FAR: Final = 2.4
_STEEP: Final = math.radians(12)


class CartPole(EnvironmentScene):
    """Push a cart to the left (0) or right (1) so that the pole on it does not fall.

    Observed are (4,) float32: the cart's place, metres, its speed, m/s, the pole's angle from
    upright, radians, positive to the right, and that one's speed. Each step is worth 1; the episode
    ends beyond 2.4 m or 12 degrees. The equations of motion are those of the paper (page 846),
    without friction, in steps of Euler's of 1/50 s.
    """

    observation_space: ClassVar[Spaces] = Box(
        [-2 * _FAR, -math.inf, -2 * _STEEP, -math.inf],
        [2 * _FAR, math.inf, 2 * _STEEP, math.inf],
    )
    action_space = Discrete(2)
    state = "python"
    max_episode_steps = 500
    fps = 1 / _SECONDS
    picture = (320, 160)

    def build(self, stage: PlayStage) -> None:
        """See :class:`.scene.EnvironmentScene`."""
        stage.box("rail", (5.4, 0.05, 0.05), at=(0, 0.2, 0), color=(0.25, 0.25, 0.28))
        self.cart = stage.box("cart", (0.5, 0.3, 0.3), color=(0.1, 0.25, 0.6))
        self.pole = stage.box("pole", (0.07, 0.07, 2 * _HALF), color=(0.8, 0.4, 0.1))
        stage.camera((0, -5, 1.2), target=(0, 0, 0.45), fov=32)

    def reset(self, rng: np.random.Generator) -> Any:
        """See :class:`.scene.EnvironmentScene`."""
        self.place, self.speed, self.angle, self.turning = rng.uniform(-0.05, 0.05, 4).tolist()
        return self._observed()

    def step(self, action: Any) -> tuple[Any, float, bool, Mapping[str, Any]]:
        """See :class:`.scene.EnvironmentScene`."""
        force = _FORCE if action == 1 else -_FORCE
        sine, cosine = math.sin(self.angle), math.cos(self.angle)
        mass = _CART + _POLE
        pushed = (force + _POLE * _HALF * self.turning**2 * sine) / mass
        turned = (_GRAVITY * sine - cosine * pushed) / (
            _HALF * (4 / 3 - _POLE * cosine**2 / mass)
        )
        moved = pushed - _POLE * _HALF * turned * cosine / mass
        self.place += _SECONDS * self.speed
        self.speed += _SECONDS * moved
        self.angle += _SECONDS * self.turning
        self.turning += _SECONDS * turned
        fallen = abs(self.place) > _FAR or abs(self.angle) > _STEEP
        return self._observed(), 1.0, fallen, {}

    def _observed(self) -> tuple[float, float, float, float]:
        return self.place, self.speed, self.angle, self.turning

    def pose(self, stage: PlayStage) -> None:
        """See :class:`.scene.EnvironmentScene`."""
        stage.place(self.cart, (self.place, 0, 0))
        top = (self.place + _HALF * math.sin(self.angle), -0.2, _HALF * math.cos(self.angle))
        stage.place(self.pole, top, (0, self.angle, 0))


class CartPolePictures(CartPole):
    """The same, of which only a picture is seen, (42, 84, 3)."""

    observation_space = Picture(84, 42)

    def reset(self, rng: np.random.Generator) -> None:
        """See :class:`.scene.EnvironmentScene`."""
        super().reset(rng)

    def step(self, action: Any) -> tuple[None, float, bool, Mapping[str, Any]]:
        """See :class:`.scene.EnvironmentScene`."""
        _, reward, fallen, told = super().step(action)
        return None, reward, fallen, told
