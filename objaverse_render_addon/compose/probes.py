"""What can be solved without the sentence: blind probes, which have to fail.

A set in which the largest or the most central object is the target teaches that, and not language.
Each probe says which object it would choose; its accuracy is compared with chance, the mean of one
over the number of those that can be meant. Single-target expressions alone are asked.

Anchors: on RefCOCOg a model that never reads the sentence has the target among its first two in
71.2 % (Cirik et al., *Visual Referring Expression Recognition*, NAACL 2018); word order does not
matter in 83.7 % of its tests (Akula et al., *Words aren't enough*, ACL 2020).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras import draw
from ..errors import SourceNotFound
from .expressions import EXPRESSIONS
from .forms import Clause, Phrase, denote
from .record import FILE, Scene

__all__ = ["Question", "probe", "questions_of", "refgrasp_of", "refgrasp_rule", "scenes_in"]

if TYPE_CHECKING:
    from .relations import Relations

Floats = npt.NDArray[np.float64]
_HELD_OUT: Final = 0.2
"""Share of the scenes that the trained probe is tested on."""
_STEPS: Final = 300


@dataclass(frozen=True)
class Question:
    """One single-target expression, without its sentence.

    Attributes:
        scene: Its number; scenes are what is held out.
        target: Place among the candidates.
        features: (K, F) of each candidate: area, offset from the middle, nearness, rank of its
            category's count, visible share, place to the right and down.
        same_noun: Candidates that the noun is true of, as places.
        words: (K, 5) of each candidate, what the sentence's words say of it in any order: nouns and
            colours that are true of it, and where it lies on the way that words lean to: to the
            side, near or far, large or small.
        relation: Whether the sentence says how the target is to another.
    """

    scene: int
    target: int
    features: Floats
    same_noun: tuple[int, ...]
    words: Floats | None = None
    relation: bool = False


def scenes_in(folder: str | Path) -> list[Path]:
    """Scenes with sentences in a folder, or the folder itself; by name.

    Raises:
        SourceNotFound: There are none.
    """
    folder = Path(folder)
    found = sorted(path.parent for path in folder.glob(f"*/{EXPRESSIONS}"))
    found = found or ([folder] if (folder / EXPRESSIONS).is_file() else [])
    if not found:
        raise SourceNotFound(
            f"{folder} has no scenes with {EXPRESSIONS}.",
            hint="objaverse-render compose --out DIR writes them, with --layout folder.",
        )
    return found


def questions_of(folders: Iterable[str | Path]) -> list[Question]:
    """The questions of finished scenes, each a folder.

    Raises:
        WrongFormat, RenderError: One is no composed scene.
    """
    from ..dataset.reader import AssetReader
    from .facts import facts_of
    from .relations import Relations

    found = []
    for number, folder in enumerate(map(Path, folders)):
        scene = Scene.read(folder / FILE)
        said = json.loads((folder / EXPRESSIONS).read_text(encoding="utf-8"))["expressions"]
        with AssetReader(folder) as asset:
            for view in range(len(scene.views)):
                single = [one for one in said if one["view"] == view and one["kind"] == "single"]
                if not single:
                    continue
                rel = Relations(facts_of(scene, view, asset))
                facts = rel.facts
                places = np.flatnonzero(rel.targets)
                ids = [facts.objects[place].id for place in places]
                kinds = Counter(facts.objects[place].category for place in places)
                features = np.array([
                    [np.log(facts.looks[p].visible_pixels),
                     -float(np.hypot(*(facts.center[p] - 0.5))), -facts.depth[p],
                     kinds[facts.objects[p].category], facts.looks[p].visible_fraction,
                     facts.center[p, 0], facts.center[p, 1]] for p in places
                ])  # fmt: skip
                for one in single:
                    if one["targets"][0] not in ids or len(ids) < 2:
                        continue
                    form = Phrase.from_list(one["form"])
                    true = rel.noun(form.noun)[places] >= 1
                    found.append(Question(
                        number, ids.index(one["targets"][0]), features,
                        tuple(np.flatnonzero(true).tolist()), _words(rel, form, places),
                        form.clause is not None and bool(form.clause.refs),
                    ))  # fmt: skip
    return found


_LEANS: Final = {
    "left": (0, -1), "right": (0, 1), "front": (1, -1), "behind": (1, 1), "rear": (1, 1),
    "leftmost": (0, -1), "rightmost": (0, 1), "nearest": (1, -1), "farthest": (1, 1),
    "taller": (2, 1), "tallest": (2, 1), "bigger": (2, 1), "largest": (2, 1),
    "shorter": (2, -1), "shortest": (2, -1), "smaller": (2, -1), "smallest": (2, -1),
}  # fmt: skip
"""Axis (to the side, away, size) and direction of words."""


def _words(rel: Relations, form: Phrase, places: npt.NDArray[np.intp]) -> Floats:
    """(K, 5), see :class:`Question`; nothing of who is meant and who is mentioned."""
    facts = rel.facts
    said, leans = np.zeros((len(places), 2)), np.zeros(3)
    waiting = [form]
    while waiting:
        phrase = waiting.pop()
        said[:, 0] += rel.noun(phrase.noun)[places] >= 1
        if phrase.color is not None:
            said[:, 1] += rel.color(phrase.color)[places] >= 1
        if phrase.clause is not None:
            waiting += phrase.clause.refs
            for word in phrase.clause.word.split("_"):
                axis, sign = _LEANS.get(word, (0, 0))
                leans[axis] += sign
    lies = np.stack([facts.center[places, 0], facts.distance[places],
                     np.log(np.maximum(facts.sizes[places], 1e-9))], axis=1)  # fmt: skip
    spread = np.maximum(lies.std(axis=0), 1e-9)
    return np.concatenate([said, leans * (lies - lies.mean(axis=0)) / spread], axis=1)


def probe(questions: Sequence[Question], seed: int = 0) -> dict[str, float]:
    """Accuracy of each probe, and of chance.

    Args:
        seed: Of which scenes the trained probe is tested on, and of guesses.

    Returns:
        Probe to share in 0..1; empty where there are no questions. ``trained`` and
        ``shuffled_words``, which has the words too, but not their order, are asked of the held out
        scenes alone, and ``trained_chance`` is chance there; ``tested`` is how many they are.
        ``shuffled_relations`` are those of them that mention another thing, ``related`` how many.
    """
    if not questions:
        return {}
    named = {"largest": 0, "central": 1, "nearest": 2, "most_frequent": 3, "least_hidden": 4}
    found = {"chance": float(np.mean([1 / len(one.features) for one in questions]))}
    for name, column in named.items():
        right = [_hit(one.features[:, column], one.target) for one in questions]
        found[name] = float(np.mean(right))
    # Who reads the noun and nothing else guesses among those it is true of.
    found["category_word"] = float(np.mean(
        [1 / max(len(one.same_noun), 1) for one in questions]
    ))  # fmt: skip
    scenes = sorted({one.scene for one in questions})
    held = {s for s in scenes if float(draw(seed, str(s), "probe", 0, 1)[0]) < _HELD_OUT}
    held = held or {scenes[-1]}
    train = [one for one in questions if one.scene not in held]
    test = [one for one in questions if one.scene in held]
    if train and test:
        found["trained"] = _accuracy([one.features for one in train], train,
                                     [one.features for one in test], test)  # fmt: skip
        found["tested"] = len(test)
        found["trained_chance"] = float(np.mean([1 / len(one.features) for one in test]))
        if all(one.words is not None for one in questions):
            found["shuffled_words"] = _accuracy(_with_words(train), train,
                                                _with_words(test), test)  # fmt: skip
            related = [one for one in test if one.relation]
            if related:
                found["shuffled_relations"] = _accuracy(_with_words(train), train,
                                                        _with_words(related), related)  # fmt: skip
                found["related"] = len(related)
                found["related_chance"] = float(np.mean([1 / len(one.features) for one in related]))
    return {name: round(value, 4) for name, value in found.items()}


def _with_words(questions: Sequence[Question]) -> list[Floats]:
    return [np.concatenate([one.features, np.asarray(one.words)], axis=1) for one in questions]


def _accuracy(
    known: list[Floats], train: Sequence[Question], asked: list[Floats], test: Sequence[Question]
) -> float:
    """Of a model trained on the first, on the second."""
    weights, mean, scale = _train(known, [one.target for one in train])
    right = [_hit(((features - mean) / scale) @ weights, one.target)
             for features, one in zip(asked, test, strict=True)]  # fmt: skip
    return float(np.mean(right))


def _hit(values: Floats, target: int) -> float:
    """1 where the largest is the target; a tie is shared."""
    best = np.flatnonzero(values >= np.max(values) - 1e-12)
    return 1 / len(best) if target in best else 0.0


def _train(known: list[Floats], targets: list[int]) -> tuple[Floats, Floats, Floats]:
    """Weights of a conditional logit (McFadden 1974): softmax over each picture's candidates."""
    every = np.concatenate(known)
    mean, scale = every.mean(axis=0), np.maximum(every.std(axis=0), 1e-9)
    sets = [((one - mean) / scale, target) for one, target in zip(known, targets, strict=True)]
    weights = np.zeros(every.shape[1])
    for _ in range(_STEPS):
        slope = 0.01 * weights
        for features, target in sets:
            value = features @ weights
            share = np.exp(value - np.max(value))
            share /= share.sum()
            slope += (share @ features - features[target]) / len(sets)
        weights -= 0.5 * slope
    return weights, mean, scale


_NEIGHBORS: Final = {
    "front": (1, 0), "behind": (-1, 0), "left": (0, -1), "right": (0, 1), "front_left": (1, -1),
    "front_right": (1, 1), "rear_left": (-1, -1), "rear_right": (-1, 1),
}  # fmt: skip
"""Rows and columns of a grid; row 0 is farthest, column 0 leftmost."""
_ENDS: Final = {"nearest": (0, 1), "farthest": (0, -1), "leftmost": (1, -1), "rightmost": (1, 1)}


def refgrasp_of(folders: Iterable[str | Path]) -> Counter[str]:
    """:func:`refgrasp_rule` over every view of the scenes with a grid, and how many ``scenes``."""
    from ..dataset.reader import AssetReader
    from .facts import facts_of
    from .relations import Relations

    found: Counter[str] = Counter()
    for folder in map(Path, folders):
        scene = Scene.read(folder / FILE)
        if scene.layout != "grid":
            continue
        found["scenes"] += 1
        with AssetReader(folder) as asset:
            for view in range(len(scene.views)):
                found += refgrasp_rule(scene, Relations(facts_of(scene, view, asset)))
    return found


def refgrasp_rule(scene: Scene, rel: Any) -> Counter[str]:
    """What RefGrasp's rule, which looks at the planned grid alone, would say of a scene's view.

    "Left of" is the neighbouring cell, "leftmost" whoever is alone in the outermost column.

    Args:
        rel: The view's :class:`~.relations.Relations`.

    Returns:
        ``true``, ``false`` and ``doubtful`` in the picture, and each with its group:
        ``direction/false``.
    """
    found: Counter[str] = Counter()
    place = {obj.id: i for i, obj in enumerate(rel.facts.objects)}
    cells = {obj.id: obj.grid for obj in scene.objects if obj.grid is not None}

    def count(group: str, margin: float) -> None:
        word = "true" if margin >= 1 else "false" if margin <= -1 else "doubtful"
        found[word] += 1
        found[f"{group}/{word}"] += 1

    for one, (row, column) in cells.items():
        for other, there in cells.items():
            for word, (down, right) in _NEIGHBORS.items():
                if there == (row - down, column - right) and {one, other} <= set(place):
                    group = "diagonal" if "_" in word else "direction"
                    count(group, float(rel.pair(word)[place[one], place[other]]))
    for word, (axis, sign) in _ENDS.items():
        if not cells:
            break
        end = max(sign * cell[axis] for cell in cells.values())
        alone = [one for one, cell in cells.items() if sign * cell[axis] == end]
        if len(alone) == 1 and alone[0] in place:
            said = denote(rel, Phrase(clause=Clause("extreme", word)))
            count("extreme", float(said.margin[place[alone[0]]]) if said else 0.0)
    return found
