"""Where things start, before they fall: free of overlap, a hair above what they come to rest on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ..cameras.rotations import uniform_rotation
from .draws import Draws
from .rules import Rules
from .support import Ground, inside
from .things import Thing

__all__ = ["Start", "place"]

Floats = npt.NDArray[np.float64]

GAP: Final = 0.012
"""Metres between circles around things."""
HOVER: Final = 0.002
_DARTS: Final = 60
_WIDE: Final = (0.40, 0.32)
"""Metres from the middle, beyond which things would look lost."""


@dataclass(frozen=True, eq=False)
class Start:
    """A thing where it starts.

    Attributes:
        pose: (4, 4) world from object.
        grid: Its row and column, in a grid.
    """

    thing: Thing
    pose: Floats
    grid: tuple[int, int] | None = None


def _upright(x: float, y: float, z: float, yaw: float) -> Floats:
    pose = np.eye(4)
    pose[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
    pose[:3, 3] = x, y, z
    return pose


def _any_turn(draws: Draws) -> Floats:
    return uniform_rotation(draws.unit(), draws.unit(), draws.unit())


class _Floor:
    """Circles that are taken."""

    def __init__(self, ground: Ground, draws: Draws) -> None:
        self.ground, self.draws = ground, draws
        self.taken: list[tuple[float, float, float]] = []
        self.starts: list[Start] = []

    def free(self, x: float, y: float, radius: float) -> bool:
        return inside(self.ground, x, y, radius) and all(
            math.hypot(x - a, y - b) >= radius + r + GAP for a, b, r in self.taken
        )

    def stand(
        self, thing: Thing, x: float, y: float, grid: tuple[int, int] | None = None
    ) -> None:
        self.taken.append((x, y, thing.radius))
        yaw = self.draws.uniform(0, 2 * math.pi)
        self.starts.append(Start(thing, _upright(x, y, HOVER, yaw), grid))

    def throw(self, thing: Thing, spread: float = 1.0) -> bool:
        """Stand a thing somewhere; whether there was room."""
        a, b = min(self.ground.half[0], _WIDE[0]), min(self.ground.half[1], _WIDE[1])
        for _ in range(_DARTS):
            x = self.draws.uniform(-a, a) * spread
            y = self.draws.uniform(-b, b) * spread
            if self.free(x, y, thing.radius):
                self.stand(thing, x, y)
                return True
        return False


def place(layout: str, things: list[Thing], ground: Ground, rules: Rules, draws: Draws) -> list[
    Start
]:  # fmt: skip
    """Starts of as many of the things as there is room for, in the order of their drawing."""
    floor = _Floor(ground, draws)
    _LAYOUTS[layout](floor, list(things), rules)
    return floor.starts


def _scatter(floor: _Floor, things: list[Thing], _: Rules) -> None:
    for thing in things:
        floor.throw(thing, 0.9)


def _grid(floor: _Floor, things: list[Thing], rules: Rules) -> None:
    """Row 0 is farthest, column 0 leftmost, seen from -Y."""
    rows, columns = rules.rows, rules.columns
    a, b = floor.ground.half
    if floor.ground.round:
        a, b = 0.76 * a, 0.76 * b
    wide, deep = 2 * min(a, 0.42) / columns, 2 * min(b, 0.36) / rows
    cells = [(row, column) for row in range(rows) for column in range(columns)]
    cells = floor.draws.shuffled(cells)
    left = list(things)
    for row, column in cells:
        if not left:
            return
        for thing in left[:3]:
            x = (column + 0.5 - columns / 2) * wide + floor.draws.uniform(-0.12, 0.12) * wide
            y = (rows / 2 - row - 0.5) * deep + floor.draws.uniform(-0.12, 0.12) * deep
            if floor.free(x, y, thing.radius):
                floor.stand(thing, x, y, (row, column))
                left.remove(thing)
                break


def _row(floor: _Floor, things: list[Thing], rules: Rules) -> None:
    """Things of one kind in a line; the others anywhere."""
    names = [thing.name for thing in things]
    name = max(names, key=names.count)
    line = [thing for thing in things if thing.name == name][:5]
    turn = floor.draws.uniform(-0.3, 0.3)
    step = max(2 * max(thing.radius for thing in line) + floor.draws.uniform(0.02, 0.05), 0.07)
    y = floor.draws.uniform(-0.12, 0.08)
    for place, thing in enumerate(line):
        along = (place - (len(line) - 1) / 2) * step
        x, depth = along * math.cos(turn), y + along * math.sin(turn)
        if floor.free(x, depth, thing.radius):
            floor.stand(thing, x, depth)
    _scatter(floor, [thing for thing in things if thing not in line], rules)


def _stack(floor: _Floor, things: list[Thing], rules: Rules) -> None:
    """Small things on large flat ones, up to three high; the others anywhere."""
    flat = sorted((thing for thing in things if thing.flat_top and thing.rim is None),
                  key=lambda thing: -thing.radius)  # fmt: skip
    left = list(things)
    for below in flat[:2]:
        if below not in left or not floor.throw(below, 0.7):
            continue
        left.remove(below)
        top, height = below, below.height
        x, y, _ = floor.taken[-1]
        for _ in range(floor.draws.whole(1, 2)):
            room = float(np.min(top.mesh.size[:2])) / 2
            fits = [one for one in left if not one.rolls and one.radius < room * 1.12]
            if not fits:
                break
            above = floor.draws.choice(fits)
            left.remove(above)
            yaw = floor.draws.uniform(0, 2 * math.pi)
            floor.starts.append(Start(above, _upright(x, y, height + HOVER, yaw)))
            height += above.height + HOVER
            if not above.flat_top:
                break
            top = above
    _scatter(floor, left, rules)


def _container(floor: _Floor, things: list[Thing], rules: Rules) -> None:
    """Things dropped into others; the rest anywhere."""
    left = list(things)
    holds = sorted((thing for thing in things if thing.rim is not None),
                   key=lambda thing: -thing.radius)  # fmt: skip
    for around in holds[:2]:
        if around not in left or not floor.throw(around, 0.75):
            continue
        left.remove(around)
        x, y, _ = floor.taken[-1]
        opening = float(np.min(around.mesh.size[:2])) / 2 - 0.012
        height = around.height
        inside_it = 0
        for thing in list(left):
            if inside_it == 2 or thing.rim is not None or thing.reach > 0.85 * opening:
                continue
            left.remove(thing)
            inside_it += 1
            pose = np.eye(4)
            pose[:3, :3] = _any_turn(floor.draws)
            points = thing.mesh.vertices @ pose[:3, :3].T
            middle = (points.min(axis=0) + points.max(axis=0)) / 2
            pose[:3, 3] = np.array([x, y, height + thing.reach + 0.005]) - middle
            height += 2 * thing.reach + 0.005
            floor.starts.append(Start(thing, pose))
    _scatter(floor, left, rules)


def _heap(floor: _Floor, things: list[Thing], rules: Rules) -> None:
    """Things dropped one over the other, turned anyhow; some stand around them."""
    count = min(6, max(2, (2 * len(things)) // 3))
    height = 0.0
    for thing in things[:count]:
        turn = _any_turn(floor.draws)
        points = thing.mesh.vertices @ turn.T
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        pose = np.eye(4)
        pose[:3, :3] = turn
        x, y = floor.draws.uniform(-0.09, 0.09), floor.draws.uniform(-0.07, 0.07)
        pose[:3, 3] = np.array([x, y, height + thing.reach + 0.004]) - middle
        height += 2 * thing.reach + 0.004
        floor.starts.append(Start(thing, pose))
    floor.taken.append((0.0, 0.0, 0.16))
    _scatter(floor, things[count:], rules)


_LAYOUTS: Final = {
    "grid": _grid, "scatter": _scatter, "row": _row, "stack": _stack, "container": _container,
    "heap": _heap,
}  # fmt: skip
