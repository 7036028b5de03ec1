"""What a composed set says of itself: how much of it can be solved without the sentence."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..errors import OutputExists
from ..files import write_whole
from ..words import how_many
from .expressions import EXPRESSIONS
from .probes import probe, questions_of, refgrasp_of, scenes_in
from .record import FILE, Scene

__all__ = ["CARD", "MOST", "measured", "table", "write_card"]

CARD: Final = "README.md"
MOST: Final = 0.05
"""Above chance, from which a probe has found something."""
_MARK: Final = "<!-- Made by objaverse-render compose and probe; made again at any time. -->"
_ABOUT: Final = {
    "largest": "the largest", "central": "the most central", "nearest": "the nearest",
    "most_frequent": "of the most frequent category", "least_hidden": "the least hidden",
    "trained": "a model of these, trained on other scenes",
}  # fmt: skip
_READ: Final = {
    "category_word": "the noun alone",
    "shuffled_words": "all words in any order, a trained model",
    "shuffled_relations": "the same, where another thing is mentioned",
}
_HELD: Final = {
    "trained": ("trained_chance", "tested"), "shuffled_words": ("trained_chance", "tested"),
    "shuffled_relations": ("related_chance", "related"),
}  # fmt: skip
"""Of probes that are asked of a part: chance there, and how many there are."""


def measured(folder: str | Path) -> dict[str, Any]:
    """What can be solved blind in a set.

    Returns:
        ``scenes``, ``questions`` (single-target sentences of two candidates and more), ``probes``
        (as of :func:`.probes.probe`) and ``refgrasp`` (as of :func:`.probes.refgrasp_of`; empty
        where no scene is a grid).

    Raises:
        SourceNotFound: There are no scenes with sentences.
        WrongFormat, RenderError: One cannot be read.
    """
    scenes = scenes_in(folder)
    questions = questions_of(scenes)
    return {
        "scenes": len(scenes), "questions": len(questions), "probes": probe(questions),
        "refgrasp": dict(sorted(refgrasp_of(scenes).items())),
    }  # fmt: skip


def table(found: Mapping[str, Any]) -> list[tuple[str, str, float, float, bool]]:
    """Rows of :func:`measured`'s probes: name, what it is, accuracy, chance, whether too good.

    Too good is more than :data:`MOST` above chance by two standard errors. Those that read words
    never are: they may be right.
    """
    probes = found["probes"]
    rows = []
    for name, about in (*_ABOUT.items(), *_READ.items()):
        if name in probes:
            there, count = _HELD.get(name, ("chance", ""))
            chance = probes[there]
            number = probes[count] if count else found["questions"]
            most = chance + MOST + 2 * math.sqrt(chance * (1 - chance) / number)
            rows.append((name, about, probes[name], chance, name in _ABOUT and probes[name] > most))
    return rows


def write_card(folder: str | Path) -> tuple[Path, dict[str, Any]]:
    """Write :data:`CARD` into a set's folder; returns its path and what it says.

    Raises:
        OutputExists: There is another file of this name.
        SourceNotFound, RenderError: As :func:`measured`.
    """
    path = Path(folder) / CARD
    if path.exists() and _MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise OutputExists(f"{path} is there and was written by others.", hint="Rename it.")
    found = measured(folder)
    write_whole(path, _card(scenes_in(folder), found).encode())
    return path, found


def _card(scenes: Sequence[Path], found: Mapping[str, Any]) -> str:
    kinds: Counter[str] = Counter()
    types: Counter[str] = Counter()
    layouts: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    views = objects = 0
    for folder in scenes:
        scene = Scene.read(folder / FILE)
        layouts[scene.layout] += 1
        views += len(scene.views)
        objects += len(scene.objects)
        said = json.loads((folder / EXPRESSIONS).read_text(encoding="utf-8"))["expressions"]
        kinds.update(one["kind"] for one in said)
        types.update(one["type"] for one in said)
        languages.update(text["language"] for one in said for text in one["texts"])

    def counted(counts: Counter[str]) -> str:
        return ", ".join(f"{name} {count}" for name, count in counts.most_common())

    lines = [
        "# Composed scenes", "", _MARK, "",
        f"{how_many(len(scenes), 'scene')}, {how_many(views, 'view')}, "
        f"{how_many(objects, 'object')}, {how_many(kinds.total(), 'expression')}.", "",
        "| | |", "| --- | --- |", f"| layouts | {counted(layouts)} |",
        f"| targets | {counted(kinds)} |", f"| types | {counted(types)} |",
        f"| sentences | {counted(languages)} |", "",
        "## What can be solved without the sentence", "",
        *_probes(found),
    ]  # fmt: skip
    grid = found["refgrasp"]
    if grid:
        claims = grid.get("true", 0) + grid.get("false", 0) + grid.get("doubtful", 0)
        lines += [
            "", "## The planned grid, held against the picture", "",
            f"{how_many(grid['scenes'], 'scene')} with a grid: of {claims} claims that its cells "
            f"alone would make, {_share(grid, 'true', claims)} are true in the picture, "
            f"{_share(grid, 'false', claims)} false, {_share(grid, 'doubtful', claims)} doubtful. "
            "None of these was used.",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _probes(found: Mapping[str, Any]) -> list[str]:
    rows = table(found)
    if not rows:
        return ["There are no sentences that mean one of several."]
    lines = [
        f"Of {how_many(found['questions'], 'sentence')} that mean one of several objects. "
        f"What is {100 * MOST:.0f} points above chance by two standard errors is marked: the set "
        "then teaches something else than language. Those that read words may be better.", "",
        "| chosen | right | chance | |", "| --- | --- | --- | --- |",
    ]  # fmt: skip
    for _, about, right, chance, bad in rows:
        lines.append(f"| {about} | {right:.1%} | {chance:.1%} | {'too good' if bad else ''} |")
    return lines


def _share(grid: Mapping[str, int], word: str, claims: int) -> str:
    return f"{grid.get(word, 0) / max(claims, 1):.1%}"
