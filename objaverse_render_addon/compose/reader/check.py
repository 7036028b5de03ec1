"""A composed scene's unit, proved."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from . import chinese, english, german
from .english import Unreadable
from .ground import Ground, mask_of
from .meaning import Meaning
from .sight import Sight

if TYPE_CHECKING:
    from ...dataset.reader import AssetReader

__all__ = ["Verdict", "read_unit"]

SCENE: Final = "scene.json"
EXPRESSIONS: Final = "expressions.json"
PARSERS: Final[dict[str, Any]] = {"en": english, "de": german, "zh": chinese}
"""Languages that the reader knows; what is said in others is not proved, and counted."""


@dataclass
class Verdict:
    """What the reader found in one scene.

    Attributes:
        proved: Sentences that mean exactly the stated targets, by kind of expression.
        unproved: Sentences in languages that it cannot read.
        problems: Sentences about what is wrong.
    """

    proved: Counter[str] = field(default_factory=Counter)
    unproved: int = 0
    problems: list[str] = field(default_factory=list)


def read_unit(asset: AssetReader) -> Verdict:
    """Read all sentences of a scene's unit.

    Raises:
        RenderError: A file is not there, or not readable.
        MissingDependency: Lark is not installed.
    """
    verdict = Verdict()
    scene = json.loads(asset.bytes_of(SCENE))
    said = json.loads(asset.bytes_of(EXPRESSIONS))
    names = {part for one in scene["objects"] for part in (one["name"], one["category"])}
    from .meaning import _plain

    plain = sorted(map(_plain, names))
    words = {language: parser.lexicon(plain) for language, parser in PARSERS.items()}
    around = any(part["name"] == "surroundings" for part in scene["stage"])
    per_view: dict[int, list[dict[str, Any]]] = {}
    for one in said["expressions"]:
        per_view.setdefault(one["view"], []).append(one)
    for number, looks in enumerate(scene["views"]):
        arrays, lens = _seen(asset, looks)
        sight = Sight(scene["objects"], looks["objects"], arrays, *lens, said["margins"])
        verdict.problems += [f"view {number}: {problem}" for problem in sight.problems]
        meaning = Meaning(sight, around)
        for one in per_view.get(number, []):
            for text in one["texts"]:
                if text["language"] not in PARSERS:
                    verdict.unproved += 1
                    continue
                problem = _problem(meaning, one, text, words)
                if problem:
                    verdict.problems.append(f"{one['id']}: {text['text']!r}: {problem}")
                else:
                    verdict.proved[one["kind"]] += 1
        for one in said.get("places", []):
            if one["view"] != number:
                continue
            mask = mask_of(one["mask"])
            ground = Ground(meaning.sight, scene, arrays, *lens, mask)
            for text in one["texts"]:
                if text["language"] not in PARSERS:
                    verdict.unproved += 1
                    continue
                problem = _misplaced(meaning, ground, scene, one, mask, text, words)
                if problem:
                    verdict.problems.append(f"{one['id']}: {text['text']!r}: {problem}")
                else:
                    verdict.proved["place"] += 1
    return verdict


def _seen(
    asset: AssetReader, looks: dict[str, Any]
) -> tuple[dict[str, Any], tuple[Any, Any]]:
    """A view's arrays, and its camera: intrinsics, camera to world."""
    record = asset.views[looks["view"]]
    wanted = ["rgb", "depth", "instance_index"]
    wanted += ["albedo"] if "albedo" in asset.passes else []
    lens = (np.array(record["intrinsics"], np.float64),
            np.array(record["camera_to_world"], np.float64))  # fmt: skip
    return asset.read(looks["view"], wanted), lens


def _misplaced(
    meaning: Meaning, ground: Ground, scene: dict[str, Any], one: dict[str, Any],
    mask: npt.NDArray[np.bool_], text: dict[str, Any], words: Any,
) -> str:  # fmt: skip
    """Why a sentence about free space is not proved; nothing where it is."""
    parser, language = PARSERS[text["language"]], text["language"]
    try:
        support, word, refs = meaning.place(parser.parse(text["text"], words[language]))
    except Unreadable as error:
        return str(error)
    if support not in ("space", scene["support"]["kind"]):
        return f"the support is no {support}"
    ids = [meaning.sight.ids[place] for place in refs]
    if sorted(ids) != sorted(one["references"]):
        return f"it mentions {ids}, stated are {one['references']}"
    where = ground.between(*refs) if word == "between" else ground.related(word, *refs)
    wrong = int((np.minimum(ground.empty(), where) < 1).sum())
    if wrong or not mask.any():
        return f"{wrong} of {int(mask.sum())} pixels are not there, or not free"
    outside = [point for point in one["points"] if not mask[point[1], point[0]]]
    if outside or not one["points"]:
        return f"its points {outside} are not in its mask"
    begin, end = text["spans"]["head"][0]
    if not parser.is_head(text["text"][begin:end]):
        return f"its head is said to be {text['text'][begin:end]!r}"
    return ""


def _problem(
    meaning: Meaning, one: dict[str, Any], text: dict[str, Any], words: Any
) -> str:
    """Why a sentence is not proved; nothing where it is."""
    parser, language = PARSERS[text["language"]], text["language"]
    try:
        tree = parser.parse(text["text"], words[language])
        answers, count = meaning.of(tree)
    except Unreadable as error:
        return str(error)
    answers = meaning.sight.meant(answers)
    ids = meaning.sight.ids
    found = [ids[place] for place in np.flatnonzero(answers > 0)]
    unsure = [ids[place] for place in np.flatnonzero(answers == 0)]
    if unsure:
        return f"objects {unsure} may be meant too"
    if sorted(found) != sorted(one["targets"]):
        return f"it means {found}, stated are {one['targets']}"
    if count > 1 and found and len(found) != count:
        return f"it says {count}, there are {len(found)}"
    begin, end = text["spans"]["head"][0]
    if not parser.is_head(text["text"][begin:end]):
        return f"its head is said to be {text['text'][begin:end]!r}"
    return ""
