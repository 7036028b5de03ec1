"""Steps a second of environments: one and eight, with and without pictures, beside Gymnasium's.

All in one run, in turn, with the time and the processor's time of all processes for each step. The
ratios are of one round each, ours right after Gymnasium's, and their median; that of the
processor's time is what other programs disturb less. Gymnasium's are its own cart and pole in this
process and in its processes (`AsyncVectorEnv`, common memory, no copies), without any Blender; ours
are in Blender. Of an empty simulation all that is measured is what lies between. Linux; pip's bpy
and gymnasium.

    python benchmarks/environments.py             # all
    python benchmarks/environments.py --empty     # empty simulations, small and 640x480, alone
"""

from __future__ import annotations

import argparse
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

ROUNDS = 11
SECONDS = 0.3
SHAPE = (480, 640, 3)
SMALL = (4,)


class Empty(EnvironmentScene):
    """Nothing happens; a whole picture is shown."""

    observation_space = Box(0, 255, SHAPE, "uint8")
    action_space = Discrete(2)
    state = "python"

    def reset(self, rng: np.random.Generator) -> Any:
        """See :class:`EnvironmentScene`."""
        del rng
        space = self.observation_space
        self.shown = np.zeros(space.shape, space.dtype)
        return self.shown

    def step(self, action: Any) -> Any:
        """See :class:`EnvironmentScene`."""
        del action
        return self.shown, 0.0, False, {}


class SmallEmpty(Empty):
    """Nothing happens; four numbers are shown."""

    observation_space = Box(-1, 1, SMALL, "float32")


class PlainEmpty(gymnasium.Env[Any, Any]):
    """The same, as Gymnasium has it."""

    space = gymnasium.spaces.Box(0, 255, SHAPE, np.uint8)

    def __init__(self) -> None:
        self.observation_space = self.space
        self.action_space = gymnasium.spaces.Discrete(2)
        self.shown = np.zeros(self.space.shape, self.space.dtype)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """See Gymnasium."""
        del seed, options
        return self.shown, {}

    def step(self, action: Any) -> Any:
        """See Gymnasium."""
        del action
        return self.shown, 0.0, False, False, {}


class PlainSmallEmpty(PlainEmpty):
    """The same, as Gymnasium has it."""

    space = gymnasium.spaces.Box(-1, 1, SMALL, np.float32)


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


Made = dict[str, tuple[Any, Callable[[Any], float]]]


def with_a_cart() -> Made:
    """Our cart and pole, and Gymnasium's."""
    made: Made = {
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
        for name, more in (("CartPole-v0", ""), ("CartPolePictures-v0", ", 84x42 pictures")):
            made[f"8 in {workers} process{'es' * (workers > 1)}{more}"] = (
                gymnasium.make_vec(
                    f"objaverse_render/{name}", 8, workers=workers, copy=False
                ),
                rate_of_many,
            )
    return made


def empty_ones() -> Made:
    """Where nothing is simulated: theirs, and right after them ours in one process and two."""
    made: Made = {}
    for what, theirs, ours in (
        ("small", PlainSmallEmpty, "SmallEmpty"), ("640x480", PlainEmpty, "Empty")
    ):  # fmt: skip
        for count in (2, 8):
            made[f"{count} empty, {what}, Gymnasium's processes"] = (
                gymnasium.vector.AsyncVectorEnv([theirs] * count, copy=False), rate_of_many
            )
            for workers in (1, 2):
                made[f"{count} empty, {what}, in {workers} process{'es' * (workers > 1)}"] = (
                    VectorEnvironment(f"environments:{ours}", count, workers=workers, copy=False),
                    rate_of_many,
                )
    return made


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--empty", action="store_true", help="empty simulations alone")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    register_all()
    made = empty_ones() if options.empty else {**with_a_cart(), **empty_ones()}
    rates: dict[str, list[float]] = {name: [] for name in made}
    costs: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(options.rounds):
        for name, (env, rate) in made.items():
            before, since = processor_seconds(env), time.perf_counter()
            found = rate(env)
            steps = found * (time.perf_counter() - since)
            rates[name].append(found)
            costs[name].append(1e6 * (processor_seconds(env) - before) / steps)
    for name, (env, _) in made.items():
        speed, cost = statistics.median(rates[name]), statistics.median(costs[name])
        print(f"{name:44} {speed:10,.0f} steps/s {cost:8,.0f} µs of processor a step")
        env.close()
    print("\ntimes as many steps a second, and a second of processor:")
    for ours, theirs in _pairs(list(made)):
        fast = statistics.median(map(_over, rates[ours], rates[theirs]))
        cheap = statistics.median(map(_over, costs[theirs], costs[ours]))
        print(f"{fast:6.2f} {cheap:6.2f}   {ours}, to {theirs}")


def _over(one: float, other: float) -> float:
    return one / other


def _pairs(names: list[str]) -> list[tuple[str, str]]:
    """Ours and what it is held against."""
    pairs = [
        ("one", "one, Gymnasium's in this process"),
        ("8 in 1 process", "8, Gymnasium's processes"),
        ("8 in 2 processes", "8, Gymnasium's processes"),
        ("8 in 1 process, 84x42 pictures", "one, 84x42 pictures"),
        ("8 in 2 processes, 84x42 pictures", "one, 84x42 pictures"),
    ]
    for name in names:
        if "empty" in name and " in " in name:
            pairs.append((name, f"{name.partition(' in ')[0].rstrip(',')}, Gymnasium's processes"))
    return [pair for pair in pairs if pair[0] in names]


def _push(env: Any) -> float:
    env.reset(seed=0)
    action, count, since = np.zeros((1, 2), np.float32), 0, time.perf_counter()
    while time.perf_counter() - since < SECONDS:
        env.step(action)
        count += 1
    return count / (time.perf_counter() - since)


if __name__ == "__main__":
    main()
