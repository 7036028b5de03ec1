"""Which objects a scene has, on what, in which layout: drawn by quota over the whole set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from .draws import Draws, dealt
from .layouts import Start, place
from .objects import KINDS
from .objects.library import Foreign, Library
from .record import Support
from .rules import Rules
from .support import Ground, drawn_support, ground_of
from .things import Thing, foreign, parametric

__all__ = ["Drawn", "drawn", "key_of"]

SCALES: Final = (0.88, 0.95, 1.02, 1.10, 1.18)
INSIDE: Final = (0.6, 0.7, 0.8)
"""Of what is to lie in others."""
_KINDS_A_SCENE: Final = 6
_IN_A_ROW: Final = 4
_ATTEMPTS: Final = 8
"""Draws of the same kinds, before others come first."""
_OTHERWISE: Final = 0.75
"""Share of the things that get a colour which no other of their kind has yet."""
_WIDE: Final = ("basket", "crate", "bowl", "bucket")
_BLOCKS: Final = ("cube",)
_LITTLE: Final = 0.09
"""Metres, up to which others' objects are dropped into vessels."""
_SHARES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the range of sizes that an object of unknown size is drawn from."""
_SMALL: Final = ("ball", "cube", "apple", "candle", "ring", "flashlight", "pyramid", "can")


def key_of(index: int) -> str:
    """What draws of a scene go by, and its name."""
    return f"scene-{index:06d}"


@dataclass(frozen=True)
class Drawn:
    """A scene before it settles."""

    layout: str
    support: Support
    ground: Ground
    starts: tuple[Start, ...]


def drawn(
    rules: Rules, index: int, attempt: int, library: Library | None = None,
    support: Support | None = None,
) -> Drawn:  # fmt: skip
    """A scene, the same for the same arguments; another for another attempt.

    Args:
        library: Others' objects to draw from, too.
        support: What they stand on, where that is not drawn.
    """
    seed, key = rules.seed, f"{key_of(index)}/{attempt}"
    (layout,) = dealt(seed, "layout", rules.layouts, index, 1)
    (kind,) = dealt(seed, "support", rules.supports, index, 1)
    if layout == "heap" and kind == "shelf":
        # What is heaped up between two boards meets the upper one.
        others = [one for one in rules.supports if one != "shelf"]
        kind = Draws(seed, key_of(index), "open support").choice(others) if others else kind
    support = support or drawn_support(kind, Draws(seed, key, "support"))
    library = library.part(rules.split) if library is not None else None
    things = _things(rules, index, layout, Draws(seed, key, "objects"), library, attempt)
    ground = ground_of(support)
    starts = place(layout, things, ground, rules, Draws(seed, key, "place"))
    return Drawn(layout, support, ground, tuple(starts))


def _things(
    rules: Rules, index: int, layout: str, draws: Draws, library: Library | None, attempt: int
) -> list[Thing]:
    """Things of a few kinds in a few colours, so that many share one or the other."""
    count = draws.whole(*rules.objects)
    known = {name: KINDS[name] for name in rules.kinds}
    theirs = library.objects if library is not None else ()
    cards = tuple(dict.fromkeys((*rules.kinds, *(library.names if library is not None else ()))))
    names = dealt(rules.seed, "kinds", cards, index * _KINDS_A_SCENE, _KINDS_A_SCENE)
    # Some kinds seldom lie still together; others of the scene's get their turn.
    turn = attempt // _ATTEMPTS % max(1, len(names))
    names = [*names[turn:], *names[:turn]]
    if layout == "stack":
        flat: list[str] = [
            name for name, kind in known.items() if kind.flat_top and kind.rim is None
        ]
        flat += _named(theirs, lambda one: one.flat_top and one.rim is None)
        small = [name for name in _BLOCKS if name in known]
        names = [*draws.shuffled(flat)[:2], *small, *names[:2]]
    if layout == "container":
        wide: list[str] = [name for name in _WIDE if name in known]
        wide += _named(theirs, lambda one: one.rim is not None)
        little: list[str] = [name for name in _SMALL if name in known]
        little += _named(theirs, lambda one: one.rim is None and one.longest_m[0] <= _LITTLE)
        # What goes into others comes more often than what it goes into.
        around, within = draws.shuffled(wide)[:2], draws.shuffled(little)[:2]
        names = [*around[:1], *within, *around[1:], *names[:2]]
    names = list(dict.fromkeys(names))[: max(2, count // 2)]
    # Every kind comes twice where there is room: a noun alone tells nobody which is meant.
    chosen = list(names)
    if layout == "row":
        chosen += names[:1] * max(0, min(count - len(names), _IN_A_ROW - 1))
    chosen += draws.shuffled(names[1:] if layout in ("row", "container") else names)
    while len(chosen) < count:
        chosen.append(draws.choice(names[:3]) if layout != "row" else names[0])
    ours = [name for name in names if name in known]
    palette = draws.shuffled(sorted({color for name in ours for color in KINDS[name].colors}))[:5]
    things = []
    painted: dict[str, set[str]] = {}
    for name in chosen[:count]:
        others = library.called(name) if library is not None else []
        if others and (name not in known or draws.unit() < 0.5):
            assert library is not None
            one = draws.choice(others)
            share = 0.0 if layout == "container" and one.rim is None else draws.choice(_SHARES)
            low, high = one.longest_m
            things.append(foreign(one, low + share * (high - low), library.folder))
            continue
        kind = KINDS[name]
        scales = INSIDE if layout == "container" and name in _SMALL else SCALES
        colors = [color for color in palette if color in kind.colors] or list(kind.colors)
        taken = painted.setdefault(name, set())
        if draws.unit() < _OTHERWISE:
            colors = [color for color in (*colors, *kind.colors) if color not in taken] or colors
        color = draws.choice(colors)
        taken.add(color)
        things.append(
            parametric(name, draws.whole(0, len(kind.shapes) - 1), draws.choice(scales), color)
        )
    return things


def _named(theirs: Sequence[Foreign], wanted: Callable[[Foreign], bool]) -> list[str]:
    return sorted({one.name for one in theirs if wanted(one)})
