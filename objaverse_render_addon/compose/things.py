"""Objects to draw from: shape, size, name, colour and licence of each, before it is placed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from .objects import KINDS, Mesh, Slot
from .objects.kinds import PAINTS
from .physics.pieces import Pieces, pieces_of
from .record import Color

__all__ = ["Thing", "parametric", "thing_of"]

_LICENSE: Final = "CC0-1.0"


@dataclass(frozen=True, eq=False)
class Thing:
    """One object, before it is placed.

    Attributes:
        base: As it is decomposed: +Z up, the foot's middle at the origin.
        scale: That makes it metres.
        made: What the picture's side makes it of; ready for JSON.
        rim: Height of its opening over its height; none where it holds nothing.
        flat_top: Whether things can stand on it.
    """

    name: str
    category: str
    source: str
    license: str
    size_from: str
    base: Mesh
    scale: float
    color: Color | None
    materials: tuple[str, ...]
    made: dict[str, Any]
    density: float = 700.0
    rim: float | None = None
    rolls: bool = False
    flat_top: bool = False

    @cached_property
    def mesh(self) -> Mesh:
        """Object axes, metres."""
        return self.base.scaled(self.scale)

    @cached_property
    def pieces(self) -> Pieces:
        """Object axes, metres."""
        return pieces_of(self.base).scaled(self.scale)

    @property
    def radius(self) -> float:
        """Of the circle around its foot's middle that holds it, seen from above."""
        points = self.mesh.vertices
        return float(np.max(np.linalg.norm(points[:, :2], axis=1)))

    @property
    def reach(self) -> float:
        """Of the sphere around its box' middle that holds it."""
        points = self.mesh.vertices
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        return float(np.max(np.linalg.norm(points - middle, axis=1)))

    @property
    def height(self) -> float:
        """Metres."""
        return float(self.mesh.size[2])


def parametric(name: str, variant: int, scale: float, color: str) -> Thing:
    """An object that the project makes itself."""
    kind = KINDS[name]
    rgb = PAINTS[color]
    slots = []
    for slot in kind.slots:
        slots.append({
            "material": slot.material, "rgb": list(rgb if slot.rgb is None else slot.rgb),
            "roughness": slot.roughness, "metallic": slot.metallic,
        })  # fmt: skip
    return Thing(
        kind.name, kind.category or kind.name, f"parametric:{kind.name}", _LICENSE, "parametric",
        kind.mesh(variant), scale, Color(color, rgb), _words(kind.slots),
        {"kind": name, "variant": variant, "scale": scale, "slots": slots},
        kind.density, kind.rim, kind.rolls, kind.flat_top,
    )  # fmt: skip


def thing_of(made: dict[str, Any]) -> Mesh:
    """The mesh of what :attr:`Thing.made` describes."""
    return KINDS[made["kind"]].mesh(made["variant"]).scaled(made["scale"])


def _words(slots: tuple[Slot, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(slot.material for slot in slots))
