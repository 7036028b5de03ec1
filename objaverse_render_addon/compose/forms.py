"""What a sentence says, before there are words: a small typed language, and its truth.

A form is a :class:`Phrase`; its truth for each object of a view is a margin (:mod:`.margins`): true
from 1, false to -1, else doubtful. "And" is the smallest margin, "not" the opposite, which are
Kleene's strong three values where one only asks for true, false and doubtful. An expression denotes
its targets when each is true, and everything else that can be seen is false.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .margins import SURE
from .nouns import ANYTHING
from .relations import Relations

__all__ = ["KINDS", "Clause", "Denotation", "Phrase", "denote", "evaluate", "member"]

Floats = npt.NDArray[np.float64]
KINDS: Final = ("relation", "between", "extreme", "closest", "ordinal", "corner", "posture",
                "hidden")  # fmt: skip


@dataclass(frozen=True)
class Clause:
    """What is said beside noun and colour.

    Attributes:
        kind: One of :data:`KINDS`.
        word: The relation, the extreme, the corner, the posture; of ordinals ``left`` or
            ``right``, from where it is counted.
        refs: What is mentioned: one, or for ``between`` two, or one of number 2.
        n: Of ordinals, from 1.
    """

    kind: str
    word: str = ""
    refs: tuple[Phrase, ...] = ()
    n: int = 0


@dataclass(frozen=True)
class Phrase:
    """A noun phrase.

    Attributes:
        noun: A concept of :mod:`.nouns`.
        color: A colour term.
        negated: The thing is *not* of this colour.
        number: 1 is "the", 0 is "all", more is as many.
    """

    noun: str = ANYTHING
    color: str | None = None
    clause: Clause | None = None
    negated: bool = False
    number: int = 1

    def to_list(self) -> list[Any]:
        """For JSON: number, noun, colour, negated, clause."""
        clause = self.clause
        said = clause and [clause.kind, clause.word, clause.n, [r.to_list() for r in clause.refs]]
        return [self.number, self.noun, self.color, self.negated, said]

    @classmethod
    def from_list(cls, data: list[Any]) -> Phrase:
        """The inverse of :meth:`to_list`."""
        number, noun, color, negated, said = data
        clause = None
        if said:
            refs = tuple(map(cls.from_list, said[3]))
            clause = Clause(said[0], said[1], refs, said[2])
        return cls(noun, color, clause, negated, number)

    @property
    def depth(self) -> int:
        """1 of a phrase that mentions nothing else."""
        refs = self.clause.refs if self.clause else ()
        return 1 + max((ref.depth for ref in refs), default=0)


@dataclass(frozen=True)
class Denotation:
    """Whom a form means in a view.

    Attributes:
        margin: (N,) of each object.
        targets: Places of those it is true of.
        sure: Nobody is doubtful, and all that is mentioned is unique.
        least: The smallest margin of everything that is claimed; below 1 where it is not sure.
        references: Places of what is mentioned.
    """

    margin: Floats
    targets: tuple[int, ...]
    sure: bool
    least: float
    references: tuple[int, ...] = ()

    @property
    def is_one(self) -> bool:
        """Whether it means exactly one."""
        return self.sure and len(self.targets) == 1


def member(rel: Relations, phrase: Phrase) -> Floats:
    """(N,) margins of noun and colour alone."""
    margin = rel.noun(phrase.noun)
    if phrase.color is None:
        return margin
    color = rel.no_color(phrase.color) if phrase.negated else rel.color(phrase.color)
    return np.asarray(np.minimum(margin, color))


def lead(members: Floats, leads: Floats) -> Floats:
    """(N,) margins of being the one in a set that leads all others of it.

    Args:
        members: (N,) margins of being in the set.
        leads: (N, N) of the first before the second.
    """
    others = np.where(members[None] >= 1, leads, np.maximum(leads, 0.0))
    others = np.where(members[None] <= -1, SURE, others)
    np.fill_diagonal(others, SURE)
    return np.asarray(np.minimum(members, np.min(others, axis=1)))


def row(rel: Relations, members: Floats, n: int, side: str) -> Floats:
    """(N,) margins of being the n-th of a row of three and more, counted from a side."""
    nobody = np.zeros(len(members))
    inside = np.flatnonzero(members >= 1)
    if (np.abs(members) < 1).any() or len(inside) < 3:
        return nobody
    facts, m = rel.facts, rel.margins
    order = inside[np.argsort(facts.center[inside, 0], kind="stable")]
    steps = np.array([rel.shift[b, a] for a, b in itertools.pairwise(order)])
    least = float(np.min(steps)) / m.lead_side
    for at in (facts.ground[order], facts.seen[order]):
        spread = at - at.mean(axis=0)
        along = np.linalg.svd(spread, full_matrices=False)[2][0]
        place = spread @ along
        place = place if place[-1] >= place[0] else -place
        gaps = np.diff(place)
        bend = np.abs(spread @ [-along[1], along[0]]).max()
        mean = float(gaps.mean())
        if mean <= 0 or gaps.min() <= 0:
            return nobody
        size = float(facts.sizes[order].mean())
        least = min(least, m.row_bend * mean / max(float(bend), 1e-6),
                    float(gaps.min()) / (m.row_space * size))  # fmt: skip
    if least < 1 or n > len(order):
        return nobody if least < 1 else np.full(len(members), -SURE)
    margin = np.where(members >= 1, -min(least, SURE), -SURE)
    margin[order[n - 1] if side == "left" else order[-n]] = min(least, SURE)
    return margin


def evaluate(rel: Relations, phrase: Phrase) -> tuple[Floats, float, tuple[int, ...]] | None:
    """Margins of a phrase, before what is hardly seen is put aside.

    Returns:
        Margins (N,), the least of what is mentioned, and its places; ``None`` where something that
        is mentioned is not exactly there.
    """
    members, clause = member(rel, phrase), phrase.clause
    if clause is None:
        return members, SURE, ()
    least, places = SURE, []
    for ref in clause.refs:
        found = denote(rel, ref, rel.references)
        count = 2 if clause.kind == "between" and len(clause.refs) == 1 else 1
        if found is None or not found.sure or len(found.targets) != count:
            return None
        least = min(least, found.least)
        places += [*found.targets]
        if ref.clause:
            places += [place for place in found.references if place not in places]
    kind, word = clause.kind, clause.word
    if kind == "relation":
        margin = rel.pair(word)[:, places[0]]
    elif kind == "between":
        if places[0] == places[1]:
            return None
        margin = rel.between(places[0], places[1])
    elif kind == "corner":
        margin = rel.corner(word)
    elif kind == "posture":
        margin = rel.posture(word)
    elif kind == "hidden":
        margin = rel.hidden
    else:
        members = rel.settle(members)
        if kind == "extreme":
            margin = lead(members, rel.leads(word))
        elif kind == "closest":
            members = members.copy()
            members[places[0]] = -SURE
            margin = lead(members, rel.closest(places[0]))
        else:
            margin = row(rel, members, clause.n, word)
        if int((members >= 1).sum()) < 2:
            # Of one thing nobody says that it is the leftmost.
            return None
    return np.minimum(members, margin), least, tuple(places)


def denote(
    rel: Relations, phrase: Phrase, sure: npt.NDArray[np.bool_] | None = None
) -> Denotation | None:
    """Whom a phrase means; ``None`` where what it mentions is not exactly there.

    Args:
        sure: (N,) who can be meant; a view's targets by default.
    """
    found = evaluate(rel, phrase)
    if found is None:
        return None
    margin, least, places = found
    settled = rel.settle(margin, sure)
    targets = tuple(np.flatnonzero(settled >= 1).tolist())
    least = min(least, float(np.abs(settled).min(initial=SURE)))
    right = phrase.number == 0 or len(targets) == phrase.number or not targets
    return Denotation(settled, targets, least >= 1 and right, least, places)
