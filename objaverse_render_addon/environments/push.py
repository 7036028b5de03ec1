"""A ball that a paddle pushes over a table, by Blender's rigid bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .scene import EnvironmentScene
from .spaces import Box

if TYPE_CHECKING:
    from ..blender.playing import PlayStage

__all__ = ["PushBall"]

_RADIUS: Final = 0.1
_SIDE: Final = 1.0
_SPEED: Final = 0.04
"""Of the paddle, metres a step."""
_NEAR: Final = 0.15


class PushBall(EnvironmentScene):
    """Push a ball to a mark with a paddle.

    Actions are (2,) float32 in -1 to 1: how far the paddle moves along X and Y, in 0.04 m. Observed
    are (6,) float32 metres: where paddle, ball and mark are. The reward is how much nearer the ball
    came to the mark, and 1 for having brought it within 0.15 m, which ends the episode; so does a
    ball that falls off the table.
    """

    observation_space = Box(-10.0, 10.0, (6,))
    action_space = Box(-1.0, 1.0, (2,))
    max_episode_steps = 150
    fps = 24.0

    def build(self, stage: PlayStage) -> None:
        """See :class:`.scene.EnvironmentScene`."""
        self.stage = stage
        table = stage.box("table", (2.4, 2.4, 0.2), at=(0, 0, -0.1), color=(0.35, 0.3, 0.25))
        self.ball = stage.ball("ball", _RADIUS, color=(0.8, 0.25, 0.1))
        self.paddle = stage.box("paddle", (0.3, 0.3, 0.2), color=(0.1, 0.25, 0.6))
        self.mark = stage.box("mark", (0.3, 0.3, 0.01), color=(0.1, 0.6, 0.2))
        stage.rigid(table, moves=False, shape="BOX", friction=0.8)
        stage.rigid(self.ball, mass=0.2, shape="SPHERE", friction=0.8)
        # Rolling costs it some of its speed, so that it comes to rest.
        self.ball.rigid_body.linear_damping = self.ball.rigid_body.angular_damping = 0.4
        stage.rigid(self.paddle, driven=True, shape="BOX", friction=0.2)
        stage.camera((0, -2.2, 2.4), target=(0, 0, 0), fov=55)

    def reset(self, rng: np.random.Generator) -> Any:
        """See :class:`.scene.EnvironmentScene`."""
        ball = rng.uniform(-0.4, 0.4, 2)
        away = rng.uniform(-np.pi, np.pi)
        mark = np.clip(ball + 0.6 * np.array([np.cos(away), np.sin(away)]), -_SIDE, _SIDE)
        paddle = np.clip(ball - 0.4 * (mark - ball) / np.linalg.norm(mark - ball), -_SIDE, _SIDE)
        self.goal = mark
        self.stage.place(self.ball, (*ball, _RADIUS))
        self.stage.place(self.paddle, (*paddle, 0.1))
        self.stage.place(self.mark, (*mark, 0.006))
        self.at = paddle
        self.stage.rewind()
        self.distance = self._distance()
        return self._observed()

    def step(self, action: Any) -> tuple[Any, float, bool, Mapping[str, Any]]:
        """See :class:`.scene.EnvironmentScene`."""
        self.at = np.clip(self.at + _SPEED * np.asarray(action, dtype=float), -_SIDE, _SIDE)
        self.stage.place(self.paddle, (*self.at, 0.1))
        self.stage.advance()
        before, self.distance = self.distance, self._distance()
        there = self.distance < _NEAR
        fallen = bool(self._ball()[2] < 0)
        reward = before - self.distance + float(there)
        return self._observed(), reward, there or fallen, {"distance": self.distance}

    def _ball(self) -> Any:
        return self.stage.pose_of(self.ball)[:3, 3]

    def _distance(self) -> float:
        return float(np.linalg.norm(self._ball()[:2] - self.goal))

    def _observed(self) -> Any:
        return np.clip(np.concatenate([self.at, self._ball()[:2], self.goal]), -10, 10)
