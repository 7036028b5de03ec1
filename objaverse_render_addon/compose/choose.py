"""Which expressions a view gets: all that are unique, and a draw from them.

All forms up to a depth are looked at with a bit per object: who is meant for sure, and who may be.
Draws are counted (:func:`..cameras.sampling.draw`): they depend on the seed, the scene, the view
and the sentence's number alone, so that no split of the work changes any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from ..cameras import draw
from .colors import TERMS
from .forms import Clause, Denotation, Phrase, denote, member, row
from .nouns import ANYTHING, NOUNS, concepts
from .relations import CORNERS, DIRECTIONS, EXTREMES, RELATIONS, Relations

__all__ = ["QUOTAS", "Expression", "Quotas", "expressions_of"]

_OPPOSITE: Final = {
    "left": "right", "front": "behind", "front_left": "rear_right", "front_right": "rear_left",
    "taller": "shorter", "bigger": "smaller", "on": "under", "same_color": "other_color",
    "leftmost": "rightmost", "nearest": "farthest",
}  # fmt: skip
OPPOSITE: Final = _OPPOSITE | {there: here for here, there in _OPPOSITE.items()}


Entry = tuple[Phrase, tuple[int, ...], tuple[int, ...]]
"""A phrase, the places of whom it means, and of what it mentions."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many expressions of which kinds are drawn.

    Attributes:
        per_view: Expressions of a view, where there are as many.
        types: Weight of each type among single targets.
        kinds: Shares of ``single``, ``multi`` and ``none``.
        minimal: Share of single ones in which every part is needed, where there are such.
        twins: Share of single ones whose noun is true of others too, where there are such.
        places: Free places of a view, where there are as many; see :mod:`.places`.
        swaps: Share of single ones with a relation or an extreme to which its opposite is added,
            where that means another one.
    """

    per_view: int = 9
    types: Mapping[str, float] = field(default_factory=lambda: dict(QUOTAS))
    kinds: tuple[float, float, float] = (0.7, 0.15, 0.15)
    minimal: float = 0.7
    twins: float = 0.95
    places: int = 2
    swaps: float = 0.6


QUOTAS: Final[Mapping[str, float]] = {
    "attribute": 1.5, "negation": 0.7, "extreme": 2.0, "closest": 1.0, "ordinal": 1.5,
    "corner": 1.0, "direction": 3.0, "next_to": 1.0, "containment": 1.5, "size": 1.0,
    "color_of": 1.0, "between": 1.5, "posture": 0.7, "hidden": 0.7, "nested": 2.0,
}  # fmt: skip


@dataclass(frozen=True)
class Expression:
    """One expression of one view.

    Attributes:
        id: Of the view's, ``v0-03``.
        kind: ``single``, ``multi`` or ``none``.
        type: One of :data:`QUOTAS`; of no-target ones that of what was edited.
        targets, references: Ids.
        margin: The smallest of all claims, 1 and more.
        needed: Part to whether the expression is unique only with it.
        same_noun, candidates: How many the noun is true of; how many could be meant.
        edit, pair: Of no-target ones and of those that mean another one since a word was turned
            round: what was changed, and in which expression.
    """

    id: str
    view: int
    kind: str
    type: str
    form: Phrase
    targets: tuple[int, ...]
    references: tuple[int, ...]
    margin: float
    needed: Mapping[str, bool]
    same_noun: int
    candidates: int
    edit: str = ""
    pair: str = ""

    @property
    def minimal(self) -> bool:
        """Whether every part is needed."""
        return all(self.needed.values())


def type_of(phrase: Phrase) -> str:
    """The type that a phrase counts as."""
    clause = phrase.clause
    if clause is None:
        return "negation" if phrase.negated else "attribute"
    if any(ref.clause for ref in clause.refs):
        return "nested"
    if clause.kind != "relation":
        return clause.kind
    if clause.word in DIRECTIONS:
        return "direction"
    if clause.word in ("on", "in", "under"):
        return "containment"
    if clause.word in ("same_color", "other_color"):
        return "color_of"
    return "next_to" if clause.word == "next_to" else "size"


class View:
    """All forms of a view."""

    def __init__(self, rel: Relations) -> None:
        self.rel = rel
        nouns = [*concepts(rel.facts.objects), ANYTHING]
        colors = rel.colors
        heads = [Phrase(noun) for noun in nouns]
        heads += [Phrase(noun, color) for noun in nouns for color in colors]
        heads += [Phrase(noun, color, negated=True) for noun in nouns for color in colors]
        self.heads = [head for head in heads if (member(rel, head) >= 1).any()]
        self.members = np.array([member(rel, head) for head in self.heads])
        self.references = self._references()

    def _bare(self) -> Iterator[Phrase]:
        """Phrases that mention nothing else."""
        for head, members in zip(self.heads, self.members, strict=True):
            if head.noun != ANYTHING or head.color:
                yield head
            if head.negated:
                continue
            if int((self.rel.settle(members) >= 1).sum()) >= 2:
                for word in EXTREMES:
                    yield self._with(head, Clause("extreme", word))
                if head.noun != ANYTHING:
                    most = int((members >= 1).sum())
                    if (row(self.rel, self.rel.settle(members), 1, "left") >= 1).any():
                        for n in range(1, min(most, 4) + 1):
                            yield self._with(head, Clause("ordinal", "left", n=n))
                            yield self._with(head, Clause("ordinal", "right", n=n))
            for word in CORNERS:
                yield self._with(head, Clause("corner", word))
            for word in ("upright", "lying", "upside_down"):
                yield self._with(head, Clause("posture", word))
            yield self._with(head, Clause("hidden"))

    @staticmethod
    def _with(head: Phrase, clause: Clause) -> Phrase:
        return Phrase(head.noun, head.color, clause, head.negated, head.number)

    def _references(self) -> dict[int, list[Phrase]]:
        """Place to how a thing can be mentioned, without what is above it."""
        found: dict[int, list[Phrase]] = {}
        for phrase in self._bare():
            simple = phrase.clause is None or phrase.clause.kind in ("extreme", "corner")
            if not simple or phrase.negated:
                continue
            said = denote(self.rel, phrase, self.rel.references)
            if said and said.is_one:
                found.setdefault(said.targets[0], []).append(phrase)
        return found

    def _rows(self) -> tuple[list[tuple[str, str, tuple[int, ...]]], Any]:
        """Clauses that do not depend on the noun, and their margins (C, N)."""
        names: list[tuple[str, str, tuple[int, ...]]] = []
        rows = []
        places = sorted(self.references)
        for word in RELATIONS:
            pair = self.rel.pair(word)
            for r in places:
                names.append(("relation", word, (r,)))
                rows.append(pair[:, r])
        for i, a in enumerate(places):
            for b in places[i + 1 :]:
                names.append(("between", "", (a, b)))
                rows.append(self.rel.between(a, b))
        return names, np.array(rows).reshape(len(rows), len(self.rel.facts))

    def all(self, number: int) -> list[Entry]:
        """Phrases of a number (1, or 0 for "all"), whom they mean, and the places they mention.

        What is mentioned is left open: a reference is the phrase of its noun alone.
        """
        found: list[Entry] = []
        for phrase in self._bare():
            plural = phrase.clause is None or phrase.clause.kind in ("posture", "hidden")
            if number == 0 and not plural:
                continue
            said = denote(self.rel, Phrase(
                phrase.noun, phrase.color, phrase.clause, phrase.negated, number))  # fmt: skip
            if said and said.sure and self._fits(number, len(said.targets)):
                found.append((phrase, said.targets, ()))
        found += self._related(number)
        if number == 1:
            found += self._closest()
        return found

    @staticmethod
    def _fits(number: int, count: int) -> bool:
        return count == 1 if number == 1 else count >= 2

    def _related(self, number: int) -> list[Entry]:
        names, rows = self._rows()
        if not len(rows):
            return []
        margins = self.rel.settle(np.minimum(self.members[:, None], rows[None]))
        sure, maybe = margins >= 1, margins > -1
        counts = sure.sum(axis=-1)
        right = counts == 1 if number == 1 else counts >= 2
        right &= (sure == maybe).all(axis=-1)
        found = []
        for h, c in zip(*np.nonzero(right), strict=True):
            kind, word, places = names[c]
            refs = tuple(Phrase(self.rel.facts.objects[r].name) for r in places)
            phrase = self._with(self.heads[h], Clause(kind, word, refs))
            found.append((phrase, tuple(np.flatnonzero(sure[h, c]).tolist()), places))
        return found

    def _closest(self) -> list[Entry]:
        found: list[Entry] = []
        for head in self.heads:
            for r, phrases in sorted(self.references.items()):
                phrase = self._with(head, Clause("closest", "", (phrases[0],)))
                said = denote(self.rel, phrase)
                if said and said.is_one:
                    found.append((phrase, said.targets, (r,)))
        return found


def expressions_of(
    rel: Relations, seed: int, scene: str, quotas: Quotas | None = None
) -> list[Expression]:
    """The expressions of a view, drawn.

    Args:
        scene: The scene's name, for the draws.
    """
    quotas = quotas or Quotas()
    view = View(rel)
    eligible = np.flatnonzero(rel.targets).tolist()
    if not eligible:
        return []
    singles, multis = view.all(1), view.all(0)
    by_target: dict[int, dict[str, list[Any]]] = {place: {} for place in eligible}
    for entry in singles:
        kinds = by_target[entry[1][0]]
        kinds.setdefault(type_of(entry[0]), []).append(entry)
        if entry[2]:
            kinds.setdefault("nested", []).append(entry)
    found: list[Expression] = []
    said: set[Phrase] = set()
    number = rel.facts.view
    for slot in range(quotas.per_view):
        for attempt in range(6):
            u = draw(seed, scene, f"expression-{number}", slot, 12, attempt).tolist()
            kind = ("single" if u[0] < quotas.kinds[0] else
                    "multi" if u[0] < quotas.kinds[0] + quotas.kinds[1] else "none")  # fmt: skip
            drawn = (_multi(view, multis, u) if kind == "multi"
                     else _single(view, by_target[eligible[int(u[1] * len(eligible))]], quotas, u))
            if drawn is None:
                continue
            name = f"v{number}-{slot:02d}"
            made = _expression(view, drawn, name, kind if kind != "none" else "single")
            if made is None or made.form in said:
                continue
            if kind == "none":
                negative = _negative(view, made, f"{name}-no", u)
                if negative is None or negative.form in said:
                    continue
                said.add(negative.form)
                found.append(negative)
            said.add(made.form)
            found.append(made)
            if kind == "single" and u[11] < quotas.swaps:
                swapped = _swapped(view, made, f"{name}-sw")
                if swapped is not None and swapped.form not in said:
                    said.add(swapped.form)
                    found.append(swapped)
            break
    return found


def _pick(entries: list[Any], u: float) -> Any:
    return entries[min(int(u * len(entries)), len(entries) - 1)]


def _single(view: View, kinds: dict[str, list[Any]], quotas: Quotas, u: list[float]) -> Any:
    names = [name for name in quotas.types if kinds.get(name)]
    if not names:
        return None
    weights = np.cumsum([quotas.types[name] for name in names])
    chosen = names[int(np.searchsorted(weights, u[2] * weights[-1], side="right"))]
    entries = kinds[chosen]
    for wanted, share, luck in (
        (lambda e: e[0].negated == (chosen == "negation"), 0.9, u[6]),
        (lambda e: chosen == "nested" or all(_plain(view, r) for r in e[2]), 1.0, 0.0),
        (lambda e: _same_noun(view, e[0]) >= 2, quotas.twins, u[3]),
        (lambda e: e[0].noun != ANYTHING, 0.85, u[7]),
        (lambda e: _needed(view, e)[1], quotas.minimal, u[4]),
    ):
        some = [entry for entry in entries if wanted(entry)]
        others = [entry for entry in entries if not wanted(entry)]
        entries = (some or others) if luck < share else (others or some)
    phrase, targets, places = _pick(entries, u[5])
    return _mention(view, phrase, targets, places, chosen == "nested", u)


def _plain(view: View, place: int) -> list[Phrase]:
    """Ways to mention a thing by its noun and colour."""
    return [phrase for phrase in view.references[place] if phrase.clause is None]


def _multi(view: View, entries: list[Any], u: list[float]) -> Any:
    most = int(view.rel.targets.sum())
    # Of everything nobody says which.
    fit = [entry for entry in entries if len(entry[1]) < most or entry[0].noun != ANYTHING]
    if not fit:
        return None
    groups: dict[str, list[Any]] = {}
    for entry in fit:
        groups.setdefault(type_of(entry[0]), []).append(entry)
    names = sorted(groups)
    phrase, targets, places = _pick(groups[_pick(names, u[2])], u[5])
    counted = len(targets) if u[6] < 0.5 and len(targets) <= 6 else 0
    made = _mention(view, phrase, targets, places, False, u)
    return made and Phrase(made.noun, made.color, made.clause, made.negated, counted)


def _mention(
    view: View, phrase: Phrase, targets: tuple[int, ...], places: tuple[int, ...], nested: bool,
    u: list[float],
) -> Phrase | None:  # fmt: skip
    """The phrase with words for what it mentions."""
    if not places:
        return phrase
    refs = []
    for place, luck in zip(places, u[7:9], strict=False):
        options = _plain(view, place) or view.references[place]
        if nested:
            options = _nested(view, place, targets) or []
        if not options:
            return None
        refs.append(_pick(options, luck))
    assert phrase.clause is not None
    clause = Clause(phrase.clause.kind, phrase.clause.word, tuple(refs), phrase.clause.n)
    return Phrase(phrase.noun, phrase.color, clause, phrase.negated, phrase.number)


def _nested(view: View, place: int, targets: tuple[int, ...]) -> list[Phrase]:
    """Ways to mention a thing by another one, which is no target."""
    rel, found = view.rel, []
    heads = [head for head in view.heads if not head.negated and head.color is None]
    for head in heads:
        members = member(rel, head)
        if members[place] < 1 or int((members >= 1).sum()) < 2:
            continue
        for other, phrases in sorted(view.references.items()):
            if other in targets or other == place:
                continue
            for word in (*DIRECTIONS, "next_to", "on", "in"):
                phrase = view._with(head, Clause("relation", word, (phrases[0],)))
                if rel.pair(word)[place, other] < 1:
                    continue
                said = denote(rel, phrase, rel.references)
                if said and said.is_one and said.targets == (place,):
                    found.append(phrase)
    return found


def _same_noun(view: View, phrase: Phrase) -> int:
    return int((view.rel.settle(view.rel.noun(phrase.noun)) >= 1).sum())


def _needed(view: View, entry: Any) -> tuple[dict[str, bool], bool]:
    """Part to whether it is needed, and whether all are."""
    phrase, targets, _ = entry
    shorter: dict[str, Phrase] = {}
    if phrase.color is not None:
        shorter["color"] = Phrase(phrase.noun, None, phrase.clause, number=phrase.number)
    if phrase.clause is not None:
        shorter["clause"] = Phrase(
            phrase.noun, phrase.color, None, phrase.negated, phrase.number
        )
    needed = {}
    for part, less in shorter.items():
        margin = member(view.rel, less)
        if part == "color":
            # What the clause rules out is ruled out without a colour too.
            said = denote(view.rel, less)
            same = said is not None and said.sure and said.targets == tuple(targets)
        else:
            settled = view.rel.settle(margin)
            same = tuple(np.flatnonzero(settled > -1).tolist()) == tuple(targets)
        needed[part] = not same
    return needed, all(needed.values())


def _expression(view: View, phrase: Phrase, name: str, kind: str) -> Expression | None:
    rel = view.rel
    said = denote(rel, phrase)
    if said is None or not said.sure or not said.targets:
        return None
    if set(said.targets) & set(said.references):
        # "The mug left of the ball that is right of the mug" goes round in a circle.
        return None
    needed, _ = _needed(view, (phrase, said.targets, ()))
    return Expression(
        name, rel.facts.view, kind, type_of(phrase), phrase, _ids(view, said.targets),
        _ids(view, said.references), round(said.least, 4), needed, _same_noun(view, phrase),
        int(rel.targets.sum()),
    )  # fmt: skip


def _ids(view: View, places: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(view.rel.facts.objects[place].id for place in places)


def _edits(view: View, phrase: Phrase) -> Iterator[tuple[str, Phrase]]:
    """Phrases that differ in one thing."""
    clause = phrase.clause
    if phrase.color is not None and not phrase.negated:
        for term in TERMS:
            if term != phrase.color:
                yield "color", Phrase(phrase.noun, term, clause, number=phrase.number)
    there = concepts(view.rel.facts.objects)
    # What is nowhere in the scene is easily told, unless there is nothing else to tell.
    others = there if clause or phrase.color else [*NOUNS, *there]
    for noun in sorted({*others} - {phrase.noun, ANYTHING}):
        changed = Phrase(noun, phrase.color, clause, phrase.negated, phrase.number)
        yield "category", changed
    if clause is None:
        return
    if clause.word in OPPOSITE and clause.kind == "relation":
        other = Clause(clause.kind, OPPOSITE[clause.word], clause.refs, clause.n)
        yield "relation", view._with(phrase, other)
    if clause.kind == "relation" and clause.refs[0].clause is None:
        ref = clause.refs[0]
        back = Phrase(phrase.noun, phrase.color)
        yield "order", Phrase(ref.noun, ref.color, Clause("relation", clause.word, (back,)))


def _swaps(phrase: Phrase) -> Iterator[tuple[str, Phrase]]:
    """The same with one word turned round, or with the two things exchanged."""
    clause = phrase.clause
    if clause is None or phrase.negated:
        return
    word = OPPOSITE.get(clause.word)
    if clause.kind == "ordinal":
        word = "right" if clause.word == "left" else "left"
    if word is not None:
        turned = Clause(clause.kind, word, clause.refs, clause.n)
        yield "relation", Phrase(phrase.noun, phrase.color, turned, number=phrase.number)
    if clause.kind == "relation" and clause.refs[0].clause is None:
        ref = clause.refs[0]
        back = Clause(clause.kind, clause.word, (Phrase(phrase.noun, phrase.color),))
        yield "order", Phrase(ref.noun, ref.color, back)


def _swapped(view: View, positive: Expression, name: str) -> Expression | None:
    """An expression that is one swap away, and true of exactly one other thing."""
    for edit, phrase in _swaps(positive.form):
        made = _expression(view, phrase, name, "single")
        if made is not None and len(made.targets) == 1 and made.targets != positive.targets:
            return replace(made, edit=edit, pair=positive.id)
    return None


def _negative(
    view: View, positive: Expression, name: str, u: list[float]
) -> Expression | None:
    """An expression that is one edit away, and true of nothing."""
    groups: dict[str, list[Phrase]] = {}
    for edit, phrase in _edits(view, positive.form):
        groups.setdefault(edit, []).append(phrase)
    names = sorted(groups)
    # Each kind of edit as likely; within one, from a drawn place on.
    for turn in range(len(names)):
        edit = names[(int(u[9] * len(names)) + turn) % len(names)]
        options = groups[edit]
        first = int(u[10] * len(options))
        for step in range(min(len(options), 12)):
            phrase = options[(first + step) % len(options)]
            said: Denotation | None = denote(view.rel, phrase)
            if said is None or not said.sure or said.targets:
                continue
            return Expression(
                name, positive.view, "none", positive.type, phrase, (),
                _ids(view, said.references), round(said.least, 4), {},
                _same_noun(view, phrase), positive.candidates, edit, positive.id,
            )  # fmt: skip
    return None
