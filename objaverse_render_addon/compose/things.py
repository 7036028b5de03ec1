"""Objects to draw from: shape, size, name, colour and licence of each, before it is placed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import WrongFormat
from .objects import KINDS, Mesh, Slot
from .objects.kinds import PAINTS
from .objects.library import Foreign, base_of, solid_of
from .physics.body import samples
from .physics.pieces import Pieces, pieces_of
from .record import Color

__all__ = ["Thing", "asset_of", "foreign", "parametric", "thing_of"]

_LICENSE: Final = "CC0-1.0"
_DENSITY: Final = 700.0
"""Of what nobody knows the material of, kg/m³."""


@dataclass(frozen=True, eq=False)
class Thing:
    """One object, before it is placed.

    Attributes:
        base: As it is seen: +Z up, the foot's middle at the origin.
        scale: That makes it metres.
        made: What the picture's side makes it of; ready for JSON.
        rim: Height of its opening over its height; none where it holds nothing.
        flat_top: Whether things can stand on it.
        closed: As it is weighed and decomposed, where that is not :attr:`base`.
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
    density: float = _DENSITY
    rim: float | None = None
    rolls: bool = False
    flat_top: bool = False
    closed: Mesh | None = None

    @cached_property
    def mesh(self) -> Mesh:
        """Object axes, metres."""
        return self.base.scaled(self.scale)

    @cached_property
    def solid(self) -> Mesh:
        """The same, closed."""
        return self.mesh if self.closed is None else self.closed.scaled(self.scale)

    @cached_property
    def pieces(self) -> Pieces:
        """Object axes, metres."""
        return pieces_of(self.closed or self.base).scaled(self.scale)

    @cached_property
    def samples(self) -> np.typing.NDArray[np.float64]:
        """(N, 3) points on its surface that are held against others', object axes, metres."""
        return samples(self.solid)

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


def foreign(one: Foreign, longest_m: float, folder: Path) -> Thing:
    """An object of somebody else's.

    Args:
        longest_m: Its longest edge.
        folder: Where its surface is, below ``objects``.

    Raises:
        SourceNotFound, TruncatedFile: Its surface is not there, or another one.
    """
    place = folder, one.asset, one.sha256, one.foot
    scale = longest_m / one.longest
    return Thing(
        one.name, one.category, one.source, one.license, one.size_from, base_of(*place), scale,
        Color(one.color[0], one.color[1]) if one.color else None, (),
        {"asset": one.asset, "sha256": one.sha256, "scale": scale, "foot": list(one.foot),
         "color_from": one.color_from},
        rim=one.rim, rolls=one.rolls, flat_top=one.flat_top, closed=solid_of(*place),
    )  # fmt: skip


def asset_of(made: dict[str, Any]) -> str:
    """The folder that an object of somebody else's is in; empty of those that are made here.

    Raises:
        WrongFormat: It is no name of a folder.
    """
    name = made.get("asset", "")
    if name and not re.fullmatch(r"[\w-]{1,120}", str(name)):
        raise WrongFormat(f"{str(name)[:150]!r} is no name of an object's folder.")
    return str(name)


def thing_of(made: dict[str, Any], folder: Path | None = None) -> Mesh:
    """The mesh of what :attr:`Thing.made` describes.

    Args:
        folder: Where the surfaces of others' objects are, below ``objects``.

    Raises:
        SourceNotFound, TruncatedFile, WrongFormat: Such a surface is not there, or another one.
    """
    asset = asset_of(made)
    if not asset:
        return KINDS[made["kind"]].mesh(made["variant"]).scaled(made["scale"])
    if folder is None:
        raise WrongFormat(f"Nothing says where the surface of {asset} is.")
    x, y, z = made["foot"]
    return base_of(folder, asset, made["sha256"], (x, y, z)).scaled(made["scale"])


def _words(slots: tuple[Slot, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(slot.material for slot in slots))
