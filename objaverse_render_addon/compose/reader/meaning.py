"""What a parsed sentence means in a view: everything that it is true of."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np

from .english import Unreadable, of_many, true_of
from .sight import Answers, Sight

__all__ = ["Meaning"]

_SINGLE: Final = "exactly one"


class Meaning:
    """The truth of sentences in one view.

    Args:
        around: Whether there is more to be seen than the objects and what they stand on.

    Attributes:
        names: Of the objects, in the table's order: name and category.
    """

    def __init__(self, sight: Sight, around: bool = False) -> None:
        self.sight, self.around = sight, around
        self.names = [(_plain(one["name"]), _plain(one["category"])) for one in sight.table]

    def of(self, phrase: Any) -> tuple[Answers, int]:
        """Answers for each object, and how many are said to be (0 is all there are).

        Raises:
            Unreadable: What it mentions is not exactly there.
        """
        count, found = 1, np.ones(len(self.sight), np.int8)
        later: list[tuple[str, Any]] = []
        for part in phrase.children:
            name = getattr(part, "data", "")
            if name == "one":
                count = 1
            elif name == "many":
                count = int(part.children[-1])
            elif name == "every":
                count = 0
            elif name == "tail":
                later += [(one.data, one.children) for one in [part]]
            elif not name:
                found = np.minimum(found, [true_of(str(part), *both) for both in self.names])
                if self.around and of_many(str(part)):
                    found = np.minimum(found, 0)
            else:
                later.append((name, part.children))
        # The leftmost red mug leads the red mugs, so colours come before what leads.
        for name, parts in sorted(later, key=lambda one: _ORDER.get(one[0], 1)):
            found = self._narrow(found, name, [p for p in parts if _tells(p)], later)
        return found.astype(np.int8), count

    def _narrow(self, found: Any, name: str, parts: list[Any], later: Any) -> Any:
        sight = self.sight
        if name == "color":
            return np.minimum(found, sight.colored(str(parts[0])))
        if name == "no_color":
            return np.minimum(found, -sight.colored(str(parts[-1])))
        if name == "hidden":
            return np.minimum(found, sight.covered())
        if name == "corner":
            return np.minimum(found, sight.cornered(str(parts[0])))
        if name == "posture":
            return np.minimum(found, sight.postured(str(parts[0])))
        if name == "super":
            return self._leader(sight.meant(found), str(parts[0]))
        if name == "ordinal":
            return self._row(sight.meant(found), int(parts[0]), _side(later))
        if name == "side":
            return found
        refs = [self.one(part) for part in parts if getattr(part, "data", "") == "np"]
        if name == "relation":
            return np.minimum(found, self._related(_word(parts), refs[0]))
        if name == "closest":
            return self._closest(sight.meant(found), refs[0])
        return np.minimum(found, sight.between(*refs))

    def place(self, phrase: Any) -> tuple[str, str, list[int]]:
        """Which support is named (none: ``space``), the relation, and the places it mentions.

        Raises:
            Unreadable: It is not about free space, or what it mentions is not exactly there.
        """
        (noun,) = [str(one) for one in phrase.children if getattr(one, "type", "") == "NOUN"]
        if not noun.startswith("free "):
            raise Unreadable("it is not about free space")
        support = noun.removeprefix("free ")
        if support != "space" and any(true_of(support, *both) >= 0 for both in self.names):
            raise Unreadable(f"a thing may be called {support}, too")
        found = []
        for part in phrase.children:
            if getattr(part, "data", "") in ("relation", "between"):
                inside = [one for one in part.children if _tells(one)]
                refs = [self.one(one) for one in inside if getattr(one, "data", "") == "np"]
                word = _word(inside) if part.data == "relation" else "between"
                found.append((support, word, refs))
        if len(found) != 1:
            raise Unreadable("it does not say where once")
        return found[0]

    def one(self, phrase: Any) -> int:
        """Place of the one thing that a phrase means.

        Raises:
            Unreadable: There is not exactly one.
        """
        found, count = self.of(phrase)
        found = np.where(self.sight.present, found, -1)
        places = np.flatnonzero(found > 0)
        if count != 1 or len(places) != 1 or (found == 0).any():
            raise Unreadable(f"what it mentions is not {_SINGLE}")
        return int(places[0])

    def _related(self, word: str, r: int) -> Any:
        sight = self.sight
        if word == "same color":
            return sight.same_color(r)
        if word == "other color":
            return np.where(np.arange(len(sight)) == r, -1, -sight.same_color(r))
        if word == "beside":
            return sight.beside(r)
        if word == "on":
            return sight.carried(r)
        if word == "under":
            return sight.carries(r)
        if word == "in":
            return sight.held(r)
        if word in ("taller", "bigger"):
            return sight.taller(r) if word == "taller" else sight.bigger(r)
        if word in ("shorter", "smaller"):
            found = sight.taller(r) if word == "shorter" else sight.bigger(r)
            return np.where(np.arange(len(sight)) == r, -1, -found)
        return sight.direction(word, r)

    def _leader(self, found: Any, word: str) -> Any:
        values, lead, ratio = self.sight.ahead(word)
        scaled = np.log(values) / np.log(lead) if ratio else values / lead
        return _first(found, scaled)

    def _closest(self, found: Any, r: int) -> Any:
        found = np.array(found)
        found[r] = -1
        lead = self.sight.limits["lead_gap"]
        gaps = np.log(np.maximum(self.sight.gaps(r), 0.002)) / np.log(1 + lead)
        return _first(found, -gaps)

    def _row(self, found: Any, n: int, side: str) -> Any:
        places = np.flatnonzero(found > 0)
        if (found == 0).any() or len(places) < 3:
            raise Unreadable("there is no row of three")
        columns = np.array(self.sight.columns)[places]
        order = places[np.argsort(columns)]
        if np.diff(np.sort(columns)).min() < self.sight.limits["lead_side"] / 2:
            raise Unreadable("the row has no order in the picture")
        chosen = order[n - 1] if side == "left" else order[-n]
        answers = np.full(len(found), -1)
        answers[chosen] = 1
        return answers


_ORDER: Final = {"color": 0, "no_color": 0}


def _tells(part: Any) -> bool:
    return getattr(part, "data", "") != "that" and getattr(part, "type", "") not in (
        "THAT", "HAVE", "BETWEEN", "AND", "CLOSEST", "NOT",
    )  # fmt: skip


def _word(parts: list[Any]) -> str:
    """The relation, before what it mentions or behind it."""
    return next(str(part) for part in parts if not hasattr(part, "data"))


def _side(later: list[tuple[str, Any]]) -> str:
    sides = [str(parts[0]) for name, parts in later if name == "side"]
    if len(sides) != 1:
        raise Unreadable("an ordinal has no side that it counts from")
    return sides[0]


def _first(found: Any, values: Any) -> Any:
    """Who leads a set by half of what is asked for (1), who is led by as much."""
    answers = np.array(found)
    inside = np.flatnonzero(found > 0)
    for i in np.flatnonzero(found > -1):
        for j in np.flatnonzero(found > -1):
            if i == j:
                continue
            lead = values[i] - values[j]
            if not lead >= 0.5:
                answers[i] = min(answers[i], -1 if lead <= -0.5 and j in inside else 0)
    return answers


def _plain(name: str) -> str:
    return " ".join(re.sub(r"\(.*?\)|[\W_]", " ", name.lower()).split())
