"""What a composed set says of itself: how much of it can be solved without the sentence."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import OutputExists
from ..files import write_whole
from ..words import how_many
from .expressions import EXPRESSIONS
from .probes import probe, questions_of, refgrasp_of, scenes_in
from .record import FILE, Scene
from .things import asset_of

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


class _Counts:
    """What is in a set."""

    def __init__(self, scenes: Sequence[Path]) -> None:
        self.kinds: Counter[str] = Counter()
        self.types: Counter[str] = Counter()
        self.layouts: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.names: Counter[str] = Counter()
        self.licenses: Counter[str] = Counter()
        self.foreign: dict[str, tuple[str, int]] = {}
        self.splits: Counter[str] = Counter()
        self.words: Counter[str] = Counter()
        self.alike: list[int] = []
        self.pixels: list[int] = []
        self.views = self.objects = self.mentions = self.phrases = 0
        for folder in scenes:
            self._scene(Scene.read(folder / FILE))
            self._said(json.loads((folder / EXPRESSIONS).read_text(encoding="utf-8")))

    def _scene(self, scene: Scene) -> None:
        self.layouts[scene.layout] += 1
        self.splits[scene.recipe.get("split", "")] += 1
        self.views += len(scene.views)
        self.objects += len(scene.objects)
        made_of = scene.recipe.get("objects") or [{}] * len(scene.objects)
        for obj, made in zip(scene.objects, made_of, strict=True):
            self.names[obj.name] += 1
            self.licenses[obj.license] += 1
            if asset_of(made):
                self.foreign[obj.source] = obj.license, self.foreign.get(obj.source, ("", 0))[1] + 1
        stage = scene.recipe.get("stage")
        if stage is not None:
            there = self.foreign.get(stage["source"], ("", 0))[1]
            self.foreign[stage["source"]] = stage["license"], there + 1
        self.pixels += [one.visible_pixels for view in scene.views for one in view.objects
                        if one.visible_pixels]  # fmt: skip

    def _said(self, data: Mapping[str, Any]) -> None:
        for one in data["expressions"]:
            self.kinds[one["kind"]] += 1
            self.types[one["type"]] += 1
            self.alike += [one["same_noun"]] if one["kind"] == "single" else []
            self.mentions += bool(one["references"])
            for text in one["texts"]:
                self.languages[text["language"]] += 1
                if text["language"] == "en":
                    self.phrases += 1
                    self.words.update(re.findall(r"[a-z'-]+", text["text"].lower()))


def _card(scenes: Sequence[Path], found: Mapping[str, Any]) -> str:
    sums = _Counts(scenes)

    def counted(counts: Counter[str]) -> str:
        return ", ".join(f"{name} {count}" for name, count in counts.most_common())

    total = max(sums.kinds.total(), 1)
    split = next(iter(sums.splits)) if len(sums.splits) == 1 else ""
    lines = [
        "# Composed scenes", "", _MARK, "",
        f"{how_many(len(scenes), 'scene')}{f' of the split {split}' if split else ''}, "
        f"{how_many(sums.views, 'view')}, {how_many(sums.objects, 'object')}, "
        f"{how_many(sums.kinds.total(), 'expression')}.", "",
        "| | |", "| --- | --- |", f"| layouts | {counted(sums.layouts)} |",
        f"| objects | {counted(sums.names)} |", f"| licences | {counted(sums.licenses)} |",
        f"| targets | {counted(sums.kinds)} |", f"| types | {counted(sums.types)} |",
        f"| mention another thing | {sums.mentions / total:.0%} |",
        f"| sentences | {counted(sums.languages)} |",
    ]  # fmt: skip
    if sums.phrases:
        lines.append(
            f"| words | {sums.words.total() / sums.phrases:.1f} a sentence in English, "
            f"{len(sums.words)} different ones |"
        )
    if sums.alike:
        lines.append(f"| things that the noun is true of | {np.mean(sums.alike):.2f} on average |")
    if sums.pixels:
        low, middle, high = np.percentile(sums.pixels, (5, 50, 95))
        lines.append(f"| pixels of an object | {low:.0f} to {high:.0f}, half below {middle:.0f} |")
    lines += ["", *_whose(sums), "## What can be solved without the sentence", "", *_probes(found)]
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


def _whose(sums: _Counts) -> list[str]:
    """What of others is shown, and under which licence."""
    if not sums.foreign:
        return []
    lines = [
        "## Whose objects", "",
        "All but these are the project's own, CC0. Authors of objects are named in CREDITS.md.", "",
        "| source | licence | scenes and places |", "| --- | --- | --- |",
    ]  # fmt: skip
    for source, (license, count) in sorted(sums.foreign.items()):
        lines.append(f"| {source.replace('|', ' ')} | {license} | {count} |")
    return [*lines, ""]


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
