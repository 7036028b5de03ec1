"""Steps a second of environments: one and eight, with and without pictures, beside Gymnasium's.

All in one run, in turn, and the median of the rounds, with the processor's time of all processes
for each step, which other programs disturb less; ratios of that are what to look at. Gymnasium's
are its own cart and pole in this process and in its processes (`AsyncVectorEnv`, common memory, no
copies), without any Blender; ours are in Blender. Linux; pip's bpy and gymnasium.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from objaverse_render_addon.live.env import (
    Box,
    Discrete,
    EnvironmentScene,
    VectorEnvironment,
    register_all,
)

ROUNDS = 3
SECONDS = 1.5
SHAPE = (480, 640, 3)


class Empty(EnvironmentScene):
    """Nothing happens; a whole picture is shown."""

    observation_space = Box(0, 255, SHAPE, "uint8")
    action_space = Discrete(2)
    state = "python"

    def reset(self, rng: np.random.Generator) -> Any:
        """See :class:`EnvironmentScene`."""
        del rng
        self.shown = np.zeros(SHAPE, np.uint8)
        return self.shown

    def step(self, action: Any) -> Any:
        """See :class:`EnvironmentScene`."""
        del action
        return self.shown, 0.0, False, {}


class PlainEmpty(gymnasium.Env[Any, Any]):
    """The same, as Gymnasium has it."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 255, SHAPE, np.uint8)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.shown = np.zeros(SHAPE, np.uint8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """See Gymnasium."""
        del seed, options
        return self.shown, {}

    def step(self, action: Any) -> Any:
        """See Gymnasium."""
        del action
        return self.shown, 0.0, False, False, {}


def processor_seconds(env: Any) -> float:
    """That this process and those of an environment took so far."""
    plain = env.unwrapped
    pids = plain.crew.pids if hasattr(plain, "crew") else [
        process.pid for process in getattr(plain, "processes", ())
    ]  # fmt: skip
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def rate_of_one(env: Any) -> float:
    """Steps a second."""
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(2, size=4096)
    since, count = time.perf_counter(), 0
    while time.perf_counter() - since < SECONDS:
        _, _, ended, cut, _ = env.step(int(actions[count % 4096]))
        count += 1
        if ended or cut:
            env.reset()
    return count / (time.perf_counter() - since)


def rate_of_many(env: Any) -> float:
    """Steps of all environments, a second."""
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(2, size=(4096, env.num_envs))
    since, count = time.perf_counter(), 0
    while time.perf_counter() - since < SECONDS:
        env.step(actions[count % 4096])
        count += 1
    return count * env.num_envs / (time.perf_counter() - since)


def main() -> None:
    register_all()
    made: dict[str, tuple[Any, Callable[[Any], float]]] = {
        "one, Gymnasium's in this process": (gymnasium.make("CartPole-v1"), rate_of_one),
        "one": (gymnasium.make("objaverse_render/CartPole-v0"), rate_of_one),
        "one, rigid bodies": (
            VectorEnvironment("objaverse_render_addon.environments.push:PushBall"), _push
        ),
        "one, 84x42 pictures": (
            gymnasium.make("objaverse_render/CartPolePictures-v0"), rate_of_one
        ),
        "8, Gymnasium's processes": (
            gymnasium.vector.AsyncVectorEnv(
                [lambda: gymnasium.make("CartPole-v1")] * 8, copy=False
            ),
            rate_of_many,
        ),
    }  # fmt: skip
    for workers in (1, 2):
        made[f"8 in {workers} process{'es' * (workers > 1)}"] = (
            gymnasium.make_vec(
                "objaverse_render/CartPole-v0", 8, workers=workers, copy=False
            ),
            rate_of_many,
        )
        made[f"8 in {workers} process{'es' * (workers > 1)}, 84x42 pictures"] = (
            gymnasium.make_vec(
                "objaverse_render/CartPolePictures-v0", 8, workers=workers, copy=False
            ),
            rate_of_many,
        )
    for count in (2, 8):
        made[f"{count} empty of 640x480, Gymnasium's processes"] = (
            gymnasium.vector.AsyncVectorEnv([PlainEmpty] * count, copy=False), rate_of_many
        )
        made[f"{count} empty of 640x480"] = (
            VectorEnvironment("environments:Empty", count, copy=False), rate_of_many
        )
    made["8 empty of 640x480 in 2 processes"] = (
        VectorEnvironment("environments:Empty", 8, workers=2, copy=False), rate_of_many
    )
    rates: dict[str, list[float]] = {name: [] for name in made}
    costs: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(ROUNDS):
        for name, (env, rate) in made.items():
            before, since = processor_seconds(env), time.perf_counter()
            found = rate(env)
            steps = found * (time.perf_counter() - since)
            rates[name].append(found)
            costs[name].append(1e6 * (processor_seconds(env) - before) / steps)
    cost = {name: statistics.median(found) for name, found in costs.items()}
    for name, (env, _) in made.items():
        speed = statistics.median(rates[name])
        print(f"{name:44} {speed:10,.0f} steps/s {cost[name]:8,.0f} µs of processor a step")
        env.close()
    print()
    for ours, theirs in (
        ("one", "one, Gymnasium's in this process"),
        ("8 in 1 process", "8, Gymnasium's processes"),
        ("8 in 2 processes", "8, Gymnasium's processes"),
        ("8 in 1 process, 84x42 pictures", "one, 84x42 pictures"),
        ("8 in 2 processes, 84x42 pictures", "one, 84x42 pictures"),
        ("2 empty of 640x480", "2 empty of 640x480, Gymnasium's processes"),
        ("8 empty of 640x480", "8 empty of 640x480, Gymnasium's processes"),
        ("8 empty of 640x480 in 2 processes", "8 empty of 640x480, Gymnasium's processes"),
    ):
        print(f"{ours}: {cost[theirs] / cost[ours]:.2f} times as many steps a second of processor "
              f"as {theirs}")  # fmt: skip


def _push(env: Any) -> float:
    env.reset(seed=0)
    action, count, since = np.zeros((1, 2), np.float32), 0, time.perf_counter()
    while time.perf_counter() - since < SECONDS:
        env.step(action)
        count += 1
    return count / (time.perf_counter() - since)


if __name__ == "__main__":
    main()
