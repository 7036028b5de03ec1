"""What objects stand on: boxes that collide, and the area that they may stand in.

The top of what they stand on is at Z = 0, its middle at the origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .draws import Draws
from .record import STAGED, Support

__all__ = ["MATERIALS", "Block", "Ground", "drawn_support", "ground_of"]

MATERIALS: Final = ("wood", "marble", "terrazzo", "cloth", "concrete", "paint")
TABLE_HEIGHT: Final = 0.74


@dataclass(frozen=True)
class Block:
    """A box along the axes that collides.

    Attributes:
        middle, half: Metres.
    """

    middle: tuple[float, float, float]
    half: tuple[float, float, float]


@dataclass(frozen=True)
class Ground:
    """A support, as it collides.

    Attributes:
        blocks: The first is what objects stand on.
        half: Of the area in which their middles may be, along X and Y.
        round: Whether the area is an ellipse.
        whole: Whether objects may not reach out of it at all: what stands around begins there.
    """

    blocks: tuple[Block, ...]
    half: tuple[float, float]
    round: bool
    whole: bool = False


def drawn_support(kind: str, draws: Draws) -> Support:
    """One of its kind."""
    material = draws.choice(MATERIALS)
    if kind == "table":
        if draws.unit() < 0.35:
            wide = draws.uniform(0.86, 1.1)
            return Support(kind, (wide, wide, 0.035), material, "round")
        return Support(
            kind, (draws.uniform(0.95, 1.35), draws.uniform(0.7, 0.9), 0.04), material
        )
    if kind == "tray":
        size = draws.uniform(0.68, 0.8), draws.uniform(0.5, 0.6), 0.03
        return Support(kind, size, draws.choice(("wood", "paint")))
    if kind == "shelf":
        return Support(kind, (draws.uniform(0.9, 1.1), 0.5, 0.03), draws.choice(("wood", "paint")))
    size = draws.uniform(0.62, 0.74), draws.uniform(0.5, 0.58), 0.09
    return Support(kind, size, draws.choice(("wood", "paint")))


RIM: Final = 0.012
"""Thickness of the walls of trays and boxes."""


def ground_of(support: Support) -> Ground:
    """How a support collides."""
    x, y, z = support.size_m
    slab = Block((0.0, 0.0, -0.1), (x / 2, y / 2, 0.1))
    if support.kind == STAGED:
        return Ground((slab,), (x / 2, y / 2), False, whole=True)
    if support.kind == "table":
        inset = 0.06
        return Ground((slab,), (x / 2 - inset, y / 2 - inset), support.shape == "round")
    if support.kind == "shelf":
        back = Block((0.0, y / 2 - RIM / 2, 0.25), (x / 2, RIM / 2, 0.25))
        return Ground((slab, back), (x / 2 - 0.05, y / 2 - 0.05), False)
    walls = [
        Block((side * (x / 2 - RIM / 2), 0.0, z / 2), (RIM / 2, y / 2, z / 2)) for side in (-1, 1)
    ] + [
        Block((0.0, side * (y / 2 - RIM / 2), z / 2), (x / 2 - RIM, RIM / 2, z / 2))
        for side in (-1, 1)
    ]
    return Ground((slab, *walls), (x / 2 - RIM - 0.01, y / 2 - RIM - 0.01), False)


def inside(ground: Ground, x: float, y: float, margin: float = 0.0) -> bool:
    """Whether a point is in the area, ``margin`` from its edge."""
    a, b = ground.half[0] - margin, ground.half[1] - margin
    if a <= 0 or b <= 0:
        return False
    if ground.round:
        return (x / a) ** 2 + (y / b) ** 2 <= 1
    return abs(x) <= a and abs(y) <= b
