"""The kinds of objects, a few variants of each: shape, what it is made of, and its colours.

An object's origin is the middle of its foot, and it stands along +Z. Lengths are metres.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from .mesh import Mesh, Part, circle, fillet, loft, moved, rectangle, tube

__all__ = ["KINDS", "PAINTS", "Kind", "Look", "Slot"]

PAINTS: Final = {
    "red": (0.78, 0.07, 0.06), "orange": (0.90, 0.40, 0.03), "yellow": (0.90, 0.74, 0.06),
    "green": (0.10, 0.50, 0.16), "blue": (0.07, 0.22, 0.70), "purple": (0.43, 0.13, 0.56),
    "pink": (0.89, 0.46, 0.60), "brown": (0.36, 0.19, 0.09), "black": (0.045, 0.045, 0.05),
    "grey": (0.47, 0.47, 0.48), "white": (0.86, 0.86, 0.85),
}  # fmt: skip
"""sRGB of paints that nobody would call by another of the eleven basic terms."""
_BRIGHT: Final = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
_ALL: Final = (*_BRIGHT, "black", "grey", "brown")
_STEEL: Final = (0.62, 0.63, 0.65)
_DARK: Final = (0.06, 0.06, 0.065)


@dataclass(frozen=True)
class Slot:
    """What a part of an object is made of.

    Attributes:
        material: A word.
        rgb: sRGB; ``None`` where it has the object's drawn colour.
        roughness: Of Blender's Principled BSDF, 0 to 1; so is ``metallic``.
    """

    material: str
    rgb: tuple[float, float, float] | None = None
    roughness: float = 0.4
    metallic: float = 0.0


@dataclass(frozen=True)
class Look:
    """One object's colour, by name, and its slots."""

    color: str
    slots: tuple[Slot, ...]


@dataclass(frozen=True)
class Kind:
    """One kind of object.

    Attributes:
        shapes: Make its variants.
        slots: Materials; the first has the object's colour.
        colors: That it comes in.
        rim: Height of its opening over its height; none where it holds nothing.
        density: Of its material, kg/m³.
        rolls: Whether it can, so that nothing is stacked on it.
        flat_top: Whether things can stand on it.
    """

    name: str
    shapes: tuple[Callable[[], Mesh], ...]
    slots: tuple[Slot, ...]
    colors: tuple[str, ...]
    category: str = ""
    rim: float | None = None
    density: float = 700.0
    rolls: bool = False
    flat_top: bool = False
    made: dict[int, Mesh] = field(default_factory=dict, compare=False, repr=False)

    def mesh(self, variant: int) -> Mesh:
        """The surface of a variant; made once."""
        if variant not in self.made:
            made = self.shapes[variant]()
            points = made.vertices
            low, high = points.min(axis=0), points.max(axis=0)
            shift = np.array([-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]])
            self.made[variant] = Mesh(tuple(moved(part, shift) for part in made.parts))
        return self.made[variant]


# --- Shapes ---------------------------------------------------------------------------------------

_Line = Sequence[tuple[float, float]]


def _turned(
    line: _Line, *, soft: float = 0.002, slot: int = 0, count: int = 48, vessel: bool = False
) -> Part:
    """What a lathe makes of a line of radius and height that begins and ends near the axis."""
    return loft([circle(max(r, 1e-4), z, count) for r, z in fillet(line, soft)], slot=slot,
                vessel=vessel)  # fmt: skip


def _boxed(
    x: float, y: float, line: _Line, corner: float, *, soft: float = 0.002, slot: int = 0,
    vessel: bool = False,
) -> Part:
    """The same with rectangles: the line has what is cut off at each side, and the height."""
    rings = []
    for inset, z in fillet(line, soft):
        wide, deep = max(x - 2 * inset, 1e-4), max(y - 2 * inset, 1e-4)
        rings.append(rectangle(wide, deep, max(corner - inset, 0.0003), z))
    return loft(rings, slot=slot, vessel=vessel)


def _vessel(
    radius: float, height: float, wall: float, *, foot: float = 1.0, belly: float = 0.0,
    floor: float | None = None,
) -> Part:
    """A cup: ``foot`` is the foot's radius over the rim's, ``belly`` what bulges between them."""
    floor = wall if floor is None else floor
    outer = []
    for step in np.linspace(0, 1, 7):
        r = radius * (foot + (1 - foot) * step + belly * math.sin(math.pi * step))
        outer.append((float(r), float(step * height)))
    inner = [(r - wall, z) for r, z in outer if z > floor * 1.6]
    bottom = inner[0][0] if inner else radius - wall
    line = [(0.0002, 0.0), *outer, *reversed(inner), (bottom * 0.92, floor), (0.0002, floor)]
    return _turned(line, soft=min(wall * 0.45, 0.003), vessel=True)


def _mug(radius: float, height: float, foot: float) -> Mesh:
    wall = 0.0042
    body = _vessel(radius, height, wall, foot=foot, floor=0.006)
    angles = np.linspace(-1.32, 1.32, 15)
    mean = radius * (1 + foot) / 2
    reach, tall = 0.034, height * 0.30
    path = [
        (mean - wall * 0.55 + reach * math.cos(a) - reach * math.cos(1.32),
         0.0, height * 0.52 + tall * math.sin(a)) for a in angles
    ]  # fmt: skip
    return Mesh((body, tube(path, 0.0052, count=14)))


def _bowl(radius: float, height: float) -> Mesh:
    wall, line = 0.0045, []
    foot = 0.42 * radius
    for step in np.linspace(0, 1, 9):
        line.append((foot + (radius - foot) * math.sin(step * math.pi / 2) ** 0.85,
                     0.004 + (height - 0.004) * (1 - math.cos(step * math.pi / 2))))  # fmt: skip
    inner = [(r - wall, z + wall * (1 - z / height)) for r, z in line]
    profile = [(0.0002, 0.0), (foot * 0.96, 0.0), *line, *reversed(inner), (0.0002, 0.004 + wall)]
    return Mesh((_turned(profile, soft=0.0012, vessel=True),))


def _plate(radius: float, height: float) -> Mesh:
    return Mesh((_turned([
        (0.0002, 0.0), (radius * 0.58, 0.0), (radius * 0.66, 0.004), (radius, height - 0.003),
        (radius, height), (radius * 0.965, height), (radius * 0.66, 0.0085), (0.0002, 0.0065),
    ], soft=0.003),))  # fmt: skip


def _bottle(radius: float, height: float, neck: float) -> Mesh:
    body, shoulder, wall = 0.58 * height, 0.74 * height, 0.0028
    top = height - 0.022
    outer = [(radius, 0.0), (radius, body), (neck + 0.004, shoulder), (neck, top)]
    inner = [(neck - wall, top), (neck - wall, shoulder), (radius - wall, body),
             (radius - wall, 0.005)]  # fmt: skip
    glass = _turned([(0.0002, 0.0), *outer, *inner, (0.0002, 0.005)], soft=0.006)
    cap = _turned([(0.0002, top - 0.012), (neck + 0.0025, top - 0.012),
                   (neck + 0.0025, height), (0.0002, height)], soft=0.0015, slot=1)  # fmt: skip
    # The label is a band around the bottle: what a lathe leaves of it is closed at its inside.
    label = loft([circle(r, z, 48) for r, z in (
        (radius - 0.0012, 0.18 * height), (radius + 0.0006, 0.18 * height),
        (radius + 0.0006, 0.46 * height), (radius - 0.0012, 0.46 * height))],
        slot=2, closed=True)  # fmt: skip
    return Mesh((glass, cap, label))


def _can(radius: float, height: float) -> Mesh:
    return Mesh((
        _turned([(0.0002, 0.003), (radius - 0.004, 0.003), (radius - 0.002, 0.0), (radius, 0.004),
                 (radius, height - 0.004), (radius - 0.002, height),
                 (radius - 0.004, height - 0.003),
                 (0.0002, height - 0.003)], soft=0.001),
    ))  # fmt: skip


def _solid(x: float, y: float, z: float, edge: float) -> Mesh:
    return Mesh((_boxed(x, y, [(0.4 * min(x, y), 0.0), (0.0, 0.0), (0.0, z),
                               (0.4 * min(x, y), z)], edge, soft=edge),))  # fmt: skip


def _open_box(x: float, y: float, z: float, wall: float, corner: float, lean: float) -> Part:
    half = 0.42 * min(x, y)
    return _boxed(x, y, [
        (half, 0.0), (lean, 0.0), (0.0, z), (wall, z), (lean + wall, wall), (half, wall),
    ], corner, soft=min(0.4 * wall, 0.002), vessel=True)  # fmt: skip


def _book(x: float, y: float, z: float) -> Mesh:
    cover = 0.0028
    paper = _boxed(x - 0.006, y - 0.010, [(0.02, cover * 0.6), (0.0, cover * 0.6),
                                          (0.0, z - cover * 0.6), (0.02, z - cover * 0.6)],
                   0.001, soft=0.0004, slot=1)  # fmt: skip
    board = [(0.02, 0.0), (0.0, 0.0), (0.0, cover), (0.02, cover)]
    below = _boxed(x, y, board, 0.002, soft=0.0006)
    above = moved(below, (0.0, 0.0, z - cover))
    spine = moved(_boxed(0.004, y, [(0.001, 0.0), (0.0, 0.0), (0.0, z), (0.001, z)], 0.0015,
                         soft=0.0008), (-x / 2 + 0.002, 0.0, 0.0))  # fmt: skip
    return Mesh((below, above, spine, paper))


def _ball(radius: float) -> Mesh:
    angles = np.linspace(-math.pi / 2 + 0.03, math.pi / 2 - 0.03, 31)
    return Mesh((loft([circle(radius * math.cos(a), radius * math.sin(a), 64) for a in angles]),))


def _spoon(length: float) -> Mesh:
    bowl = 0.30 * length
    dish = []
    for step in np.linspace(0, 1, 8):
        wide = max(math.sin(step * math.pi / 2), 0.02)
        dish.append((wide, -0.011 * (1 - step**2)))
    inner = [(wide * 0.94, z + 0.0016) for wide, z in dish]
    rings = []
    for wide, z in [*dish, *reversed(inner)]:
        ring = circle(1.0, 0.0, 36) * (bowl / 2 * wide, 0.019 * wide, 1.0)
        rings.append(ring + np.array([0.0, 0.0, z]))
    handle = [(bowl / 2 - 0.004 + share * (length - bowl), 0.0, 0.010 * math.sin(share * 2.6))
              for share in np.linspace(0, 1, 14)]  # fmt: skip
    radii = [0.0026 + 0.0022 * share for share in np.linspace(0, 1, 14)]
    return Mesh((loft(rings), tube(handle, radii, flat=0.42, count=14)))


def _basket(x: float, y: float, z: float) -> Mesh:
    body = _open_box(x, y, z, 0.005, 0.035, 0.012)
    ring = rectangle(x - 0.004, y - 0.004, 0.034, z, 5)
    rim = tube(ring, 0.0062, count=10, closed=True)
    middle = rectangle(x - 0.014, y - 0.014, 0.034, z * 0.5, 5)
    return Mesh((body, rim, tube(middle, 0.0055, count=10, closed=True)))


def _lamp(height: float, shade: float) -> Mesh:
    base = _turned([(0.0002, 0.0), (0.052, 0.0), (0.052, 0.010), (0.012, 0.018), (0.0002, 0.019)],
                   soft=0.004, slot=1)  # fmt: skip
    stem = tube([(0.0, 0.0, z) for z in np.linspace(0.014, height * 0.82, 6)], 0.0055, slot=1)
    low, high = height * 0.52, height
    # A hood: open below, closed above.
    line = [(shade - 0.0035, low), (shade, low), (shade * 0.62, high), (0.0002, high)]
    inside = [(0.0002, high - 0.0035), (shade * 0.62 - 0.0035, high - 0.0035)]
    cone = loft([circle(r, z, 48) for r, z in [*line, *inside]], closed=True)
    return Mesh((cone, base, stem))


def _vase(radius: float, height: float, neck: float) -> Mesh:
    wall, outer = 0.004, []
    for step in np.linspace(0, 1, 13):
        bulge = math.sin(math.pi * min(step * 1.18, 1.0)) ** 0.9
        r = neck + (radius - neck) * bulge + (0.35 * neck * max(step - 0.82, 0) / 0.18)
        outer.append((max(r, 0.6 * neck) if step else 0.62 * radius, float(step * height)))
    inner = [(r - wall, z) for r, z in outer if z > 0.01]
    line = [(0.0002, 0.0), *outer, *reversed(inner), (0.5 * radius, 0.007), (0.0002, 0.007)]
    return Mesh((_turned(line, soft=0.0016),))


def _banana(length: float) -> Mesh:
    bend = 0.62 * length
    angles = np.linspace(-0.86, 0.86, 23)
    path = [(bend * math.sin(a), bend * (1 - math.cos(a)), 0.0) for a in angles]
    share = np.linspace(0, 1, 23)
    thick = 0.0175 * np.clip(np.sin(math.pi * np.clip(share * 0.93 + 0.035, 0, 1)), 0.2, 1) ** 0.5
    thick[-3:] = [0.0075, 0.0048, 0.0044]
    return Mesh((tube(path, thick, count=10),))


def _apple(radius: float) -> Mesh:
    line = []
    for step in np.linspace(0.04, 1, 22):
        angle = math.pi * step
        r = radius * (1 - 0.55 * math.cos(angle)) ** 0.0 * math.sin(angle) ** 0.78
        z = -radius * 0.9 * math.cos(angle)
        z += -0.30 * radius * math.exp(-((r / (0.35 * radius)) ** 2)) * (1 if step > 0.5 else -0.75)
        line.append((max(r, 0.0003), z))
    fruit = loft([circle(r, z, 48) for r, z in line])
    top = line[-1][1]
    stem = tube([(0.0, 0.0, top - 0.004), (0.001, 0.0, top + 0.008), (0.004, 0.0, top + 0.020)],
                0.0016, slot=1, count=8)  # fmt: skip
    return Mesh((fruit, stem))


def _jar(radius: float, height: float) -> Mesh:
    lid = 0.16 * height
    body = _turned([(0.0002, 0.0), (radius, 0.0), (radius, height - lid * 1.3),
                    (radius * 0.86, height - lid * 0.9), (0.0002, height - lid * 0.9)],
                   soft=0.008)  # fmt: skip
    cap = _turned([(0.0002, height - lid), (radius * 0.93, height - lid), (radius * 0.93, height),
                   (0.0002, height)], soft=0.002, slot=1)  # fmt: skip
    return Mesh((body, cap))


def _pan(radius: float, height: float) -> Mesh:
    wall = 0.0036
    dish = _turned([(0.0002, 0.0), (radius * 0.86, 0.0), (radius, height), (radius - wall, height),
                    (radius * 0.86 - wall, wall * 1.1), (0.0002, wall * 1.1)], soft=0.0014,
                   vessel=True)  # fmt: skip
    start = radius - 0.004
    path = [(start + share * 1.25 * radius, 0.0, height * (0.70 + 0.45 * share))
            for share in np.linspace(0, 1, 8)]  # fmt: skip
    return Mesh((dish, tube(path, 0.0092, flat=0.55, count=14, slot=1)))


def _candle(radius: float, height: float) -> Mesh:
    body = _turned([(0.0002, 0.0), (radius, 0.0), (radius, height), (0.0002, height - 0.002)],
                   soft=0.004)  # fmt: skip
    wick = tube([(0.0, 0.0, height - 0.004), (0.0, 0.0, height + 0.004),
                 (0.0014, 0.0, height + 0.010)], 0.0011, slot=1, count=8)  # fmt: skip
    return Mesh((body, wick))


def _ring(radius: float, thick: float) -> Mesh:
    path = circle(radius, thick, 56)
    return Mesh((tube(path, thick, count=24, closed=True),))


def _carton(x: float, height: float) -> Mesh:
    body = 0.72 * height
    rings = [rectangle(x * scale, x * scale, 0.002, z, 2)
             for scale, z in ((0.96, 0.0), (1.0, 0.001), (1.0, body))]  # fmt: skip
    roof = rectangle(x, x, 0.002, body, 2) * (1.0, 0.04, 0.0) + (0.0, 0.0, height * 0.92)
    ridge = rectangle(x, x, 0.002, body, 2) * (1.0, 0.04, 0.0) + (0.0, 0.0, height)
    cap = _turned([(0.0002, 0.0), (0.011, 0.0), (0.011, 0.013), (0.0002, 0.013)], soft=0.001,
                  slot=1, count=32)  # fmt: skip
    slope = math.atan2(0.92 * height - body, 0.48 * x)
    turn = np.array([[1.0, 0, 0], [0, math.cos(slope), -math.sin(slope)],
                     [0, math.sin(slope), math.cos(slope)]])  # fmt: skip
    cap = moved(cap, (0.0, -0.25 * x, (body + 0.92 * height) / 2 - 0.003), turn=turn)
    return Mesh((loft([*rings, roof, ridge]), cap))


def _hammer(length: float) -> Mesh:
    handle = tube([(x, 0.0, 0.0) for x in np.linspace(0, length * 0.93, 8)],
                  [0.0105, 0.0125, 0.0128, 0.0118, 0.0105, 0.0098, 0.0098, 0.0098],
                  flat=0.8, count=18)  # fmt: skip
    head = tube([(length * 0.9, y, 0.0) for y in (-0.048, -0.044, -0.024, -0.020, 0.030, 0.046)],
                [0.0118, 0.0130, 0.0130, 0.0105, 0.0125, 0.0045], slot=1, count=20)  # fmt: skip
    return Mesh((handle, head))


def _torch(length: float) -> Mesh:
    line = [(0.0, 0.0135), (0.03, 0.0150), (0.60 * length, 0.0150), (0.74 * length, 0.0225),
            (length, 0.0235)]  # fmt: skip
    body = tube([(x, 0.0, 0.0) for x, _ in line], [r for _, r in line], count=36)
    lens = tube([(length - 0.002, 0.0, 0.0), (length + 0.0015, 0.0, 0.0)], 0.0195, slot=1, count=36)
    return Mesh((body, lens))


def _cone(radius: float, height: float) -> Mesh:
    base = _solid(2.3 * radius, 2.3 * radius, 0.008, 0.003).parts[0]
    body = _turned([(0.0002, 0.004), (radius, 0.004), (radius * 0.20, height), (0.0002, height)],
                   soft=0.004)  # fmt: skip
    low, high = 0.48, 0.70

    def at(share: float) -> float:
        return radius * (1 - 0.8 * share) + 0.0006

    band = loft([circle(at(low) - 0.002, low * height), circle(at(low), low * height),
                 circle(at(high), high * height), circle(at(high) - 0.002, high * height)],
                slot=1, closed=True)  # fmt: skip
    return Mesh((body, base, band))


def _bucket(radius: float, height: float) -> Mesh:
    body = _vessel(radius, height, 0.0034, foot=0.74)
    angles = np.linspace(0.06, math.pi - 0.06, 25)
    path = [((radius + 0.001) * math.cos(a), -0.55 * radius * math.sin(a),
             height - 0.008 + 0.82 * radius * math.sin(a)) for a in angles]  # fmt: skip
    return Mesh((body, tube(path, 0.0024, slot=1, count=10)))


def _pyramid(x: float, height: float) -> Mesh:
    return Mesh((loft([rectangle(x, x, 0.003, 0.0, 2), rectangle(x, x, 0.003, 0.002, 2),
                       rectangle(0.006, 0.006, 0.002, height, 2)]),))  # fmt: skip


_CERAMIC: Final = Slot("ceramic", roughness=0.16)
_PLASTIC: Final = Slot("plastic", roughness=0.32)
_PAINTED: Final = Slot("metal", roughness=0.28)
_STEELY: Final = Slot("steel", _STEEL, 0.25, 1.0)
_PAPER: Final = Slot("paper", roughness=0.75)
_RUBBER: Final = Slot("rubber", _DARK, 0.6)

KINDS: Final = {kind.name: kind for kind in (
    Kind("mug", (lambda: _mug(0.041, 0.095, 0.97), lambda: _mug(0.044, 0.086, 0.78),
                 lambda: _mug(0.038, 0.108, 0.92)), (_CERAMIC,), _ALL, rim=1.0, density=2200),
    Kind("bowl", (lambda: _bowl(0.078, 0.062), lambda: _bowl(0.066, 0.070)), (_CERAMIC,), _ALL,
         rim=1.0, density=2200),
    Kind("plate", (lambda: _plate(0.105, 0.018), lambda: _plate(0.088, 0.015)), (_CERAMIC,),
         _ALL, density=2200, flat_top=True),
    Kind("bottle", (lambda: _bottle(0.036, 0.225, 0.0135), lambda: _bottle(0.033, 0.19, 0.015)),
         (_PLASTIC, Slot("plastic", (0.85, 0.85, 0.84)), Slot("paper", (0.86, 0.84, 0.78), 0.7)),
         ("green", "blue", "brown", "red", "purple", "orange"), density=1100),
    Kind("can", (lambda: _can(0.033, 0.115), lambda: _can(0.042, 0.105)), (_PAINTED,), _ALL,
         density=900, flat_top=True),
    Kind("box", (lambda: _solid(0.12, 0.085, 0.075, 0.003),
                 lambda: _solid(0.075, 0.05, 0.135, 0.003),
                 lambda: _solid(0.15, 0.10, 0.045, 0.003)), (_PAPER,), _ALL, density=350,
         flat_top=True),
    Kind("book", (lambda: _book(0.135, 0.19, 0.028), lambda: _book(0.12, 0.17, 0.042)),
         (Slot("paper", roughness=0.5), Slot("paper", (0.88, 0.85, 0.77), 0.85)), _ALL,
         density=800, flat_top=True),
    Kind("ball", (lambda: _ball(0.035), lambda: _ball(0.047)),
         (Slot("rubber", roughness=0.35),), _ALL, density=350, rolls=True),
    Kind("spoon", (lambda: _spoon(0.165), lambda: _spoon(0.19)),
         (Slot("plastic", roughness=0.3),), _BRIGHT, category="cutlery", density=1400),
    Kind("basket", (lambda: _basket(0.21, 0.16, 0.085), lambda: _basket(0.18, 0.18, 0.10)),
         (Slot("wicker", roughness=0.7),), ("brown", "white", "green", "blue", "pink"), rim=1.0,
         density=700),
    Kind("tray", (lambda: Mesh((_open_box(0.26, 0.19, 0.028, 0.006, 0.025, 0.008),)),),
         (Slot("plastic", roughness=0.4),), _ALL, rim=1.0, density=900, flat_top=True),
    Kind("crate", (lambda: Mesh((_open_box(0.18, 0.14, 0.09, 0.006, 0.004, 0.0),)),
                   lambda: Mesh((_open_box(0.15, 0.15, 0.075, 0.006, 0.004, 0.0),))),
         (Slot("plastic", roughness=0.4),), _ALL, category="box", rim=1.0, density=900),
    Kind("lamp", (lambda: _lamp(0.25, 0.072), lambda: _lamp(0.21, 0.062)),
         (Slot("fabric", roughness=0.8), Slot("steel", _STEEL, 0.3, 1.0)),
         ("red", "white", "yellow", "green", "blue", "pink"), density=2600),
    Kind("vase", (lambda: _vase(0.05, 0.17, 0.021), lambda: _vase(0.045, 0.14, 0.026)),
         (_CERAMIC,), _ALL, density=2200),
    Kind("banana", (lambda: _banana(0.17), lambda: _banana(0.19)),
         (Slot("fruit", roughness=0.5),), ("yellow", "green"), category="fruit", density=950),
    Kind("apple", (lambda: _apple(0.038), lambda: _apple(0.042)),
         (Slot("fruit", roughness=0.3), Slot("wood", (0.22, 0.14, 0.07), 0.8)),
         ("red", "green", "yellow"), category="fruit", density=850, rolls=True),
    Kind("jar", (lambda: _jar(0.036, 0.10), lambda: _jar(0.042, 0.125)),
         (_CERAMIC, Slot("wood", (0.52, 0.36, 0.20), 0.55)), _BRIGHT, density=1500,
         flat_top=True),
    Kind("pan", (lambda: _pan(0.085, 0.038), lambda: _pan(0.07, 0.034)),
         (_PAINTED, _RUBBER), ("red", "blue", "black", "green", "orange"), rim=None, density=3500),
    Kind("bucket", (lambda: _bucket(0.068, 0.115), lambda: _bucket(0.06, 0.105)),
         (_PLASTIC, _STEELY), _BRIGHT, rim=0.6, density=950),
    Kind("candle", (lambda: _candle(0.032, 0.10), lambda: _candle(0.038, 0.075)),
         (Slot("wax", roughness=0.45), Slot("cotton", (0.13, 0.12, 0.11), 0.9)), _BRIGHT,
         density=900),
    Kind("ring", (lambda: _ring(0.042, 0.015), lambda: _ring(0.05, 0.013)),
         (_PLASTIC,), _BRIGHT, category="toy", density=900),
    Kind("carton", (lambda: _carton(0.07, 0.195), lambda: _carton(0.062, 0.16)),
         (Slot("paper", roughness=0.45), Slot("plastic", (0.86, 0.86, 0.85))),
         ("blue", "green", "red", "yellow", "orange", "purple"), density=500),
    Kind("hammer", (lambda: _hammer(0.25), lambda: _hammer(0.22)),
         (Slot("rubber", roughness=0.55), Slot("steel", (0.40, 0.41, 0.43), 0.35, 1.0)),
         ("red", "yellow", "orange", "blue", "green"), category="tool", density=2500),
    Kind("flashlight", (lambda: _torch(0.15), lambda: _torch(0.13)),
         (Slot("metal", roughness=0.3), Slot("glass", (0.82, 0.84, 0.86), 0.1)),
         ("black", "red", "blue", "yellow", "green"), category="tool", density=1500, rolls=True),
    Kind("cone", (lambda: _cone(0.045, 0.16), lambda: _cone(0.04, 0.12)),
         (_PLASTIC, Slot("plastic", (0.88, 0.88, 0.87))),
         ("orange", "red", "yellow", "green", "blue"), category="toy", density=800),
    Kind("pyramid", (lambda: _pyramid(0.085, 0.085), lambda: _pyramid(0.07, 0.10)),
         (Slot("wood", roughness=0.45),), _ALL, category="toy", density=650),
    Kind("cube", (lambda: _solid(0.055, 0.055, 0.055, 0.004),
                  lambda: _solid(0.07, 0.07, 0.07, 0.004)),
         (Slot("wood", roughness=0.45),), _ALL, category="toy", density=650, flat_top=True),
)}  # fmt: skip
