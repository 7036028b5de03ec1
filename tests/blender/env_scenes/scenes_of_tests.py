"""Environments that tests have: importable by name, as a user's are."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from objaverse_render_addon.live.env import Box, Discrete, EnvironmentScene, Picture


class Counter(EnvironmentScene):
    """Counts; what it shows is known for each step."""

    observation_space = {"count": Box(0, 1000, (2,), "int64"), "start": Box(0, 1, (1,), "float64")}
    action_space = {"by": Discrete(4), "push": Box(-1, 1, (3,))}
    state = "python"
    fps = 50.0

    def __init__(self, end: int = 10) -> None:
        self.end = end

    def reset(self, rng):
        self.count, self.start = 0, rng.random()
        return self._seen()

    def step(self, action):
        if action["push"][0] == 1:
            raise ValueError("pushed too hard")
        if action["push"][1] == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if action["push"][2] == 1:
            time.sleep(30)
        self.count += action["by"]
        return self._seen(), action["by"] / 2, self.count >= self.end, {"count": self.count}

    def _seen(self):
        return {"count": [self.count, 2 * self.count], "start": [self.start]}


class Cubes(EnvironmentScene):
    """A cube that goes towards the camera by one unit each step; seen from above."""

    observation_space = {
        "rgb": Picture(32, 24), "depth": Picture(32, 24, "depth"), "top": Box(-9, 9, ()),
    }
    action_space = Discrete(2)
    state = "python"
    picture = (40, 30)

    def build(self, stage):
        self.cube = stage.box("cube", (2, 2, 2), color=(1, 0, 0))
        stage.background = (0, 0, 1)
        stage.camera((0, 0, 10), fov=40)

    def reset(self, rng):
        self.height = 0.0
        return {"top": self.height + 1}

    def step(self, action):
        self.height += action
        return {"top": self.height + 1}, 0.0, False, {}

    def pose(self, stage):
        stage.place(self.cube, (0, 0, self.height))


class Falling(EnvironmentScene):
    """A ball that falls, and nothing else: z = z0 - g t^2 / 2."""

    observation_space = Box(-1000, 1000, (3,), "float64")
    action_space = Discrete(1)
    fps = 60.0

    def build(self, stage):
        self.stage = stage
        self.ball = stage.ball("ball", 0.1)
        stage.rigid(self.ball, shape="SPHERE")
        self.ball.rigid_body.linear_damping = 0
        self.ball.rigid_body.use_deactivation = False

    def reset(self, rng):
        self.z = rng.uniform(5, 6)
        self.stage.place(self.ball, (1, 2, self.z))
        self.stage.rewind()
        return self.stage.pose_of(self.ball)[:3, 3]

    def step(self, action):
        self.stage.advance()
        at = self.stage.pose_of(self.ball)[:3, 3]
        return at, float(self.z - at[2]), False, {"z": self.z}


class Shares(Counter):
    """Would have one list for all."""

    def build(self, stage):
        self.seen = []


class Wrong(Counter):
    """Shows what it must not."""

    observation_space = Box(0, 1, (2,))

    what = "nan"

    def reset(self, rng):
        made = {"nan": [np.nan, 0], "shape": [0, 0, 0], "beyond": [0, 2], "none": None}
        found, follows = made[self.what], [*made, "nan"]
        self.what = follows[follows.index(self.what) + 1]
        return found
