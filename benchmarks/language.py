"""How the sentences of composed scenes do: agreement of the second reader, what can be solved
blind, how much of each sentence is needed, and how many ways there are to say things, beside
RefGrasp's frames on the same scenes.

    python benchmarks/language.py SCENES          # scenes of compose
    python benchmarks/language.py SCENES --again  # sentences made anew, in 3 languages
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np

from objaverse_render_addon.compose import expressions
from objaverse_render_addon.compose.card import measured, table
from objaverse_render_addon.compose.facts import facts_of
from objaverse_render_addon.compose.probes import scenes_in
from objaverse_render_addon.compose.reader import read_unit
from objaverse_render_addon.compose.record import Scene
from objaverse_render_addon.compose.relations import DIRECTIONS, Relations
from objaverse_render_addon.compose.words import LANGUAGES
from objaverse_render_addon.dataset.reader import AssetReader

_ACTIONS = ("grab", "pick up", "take", "get", "hold", "grasp")
_SIDES = {
    "front": ("in front of", "in the front of", "ahead of"),
    "behind": ("behind", "in the back of", "at the back of"),
    "left": ("on the left of", "to the left of", "left of"),
    "right": ("on the right of", "to the right of", "right of"),
}
_MOST = {
    "nearest": ("at the front", "the frontmost", "closest"),
    "farthest": ("at the back", "rearmost"),
    "leftmost": ("leftmost", "on the far left"), "rightmost": ("rightmost", "on the far right"),
}  # fmt: skip


def refgrasp_sentences(rel: Relations, count: int, rng: np.random.Generator) -> list[str]:
    """As its grammar makes them: a noun phrase with one relation, in one of seven frames."""
    objects = rel.facts.objects
    places = np.flatnonzero(rel.there)

    def pick(options):
        return options[int(rng.integers(len(options)))]

    def named(i: int) -> str:
        color = objects[i].color.name if objects[i].color and rng.random() < 0.5 else ""
        return " ".join(filter(None, ("the", color, pick((objects[i].name, objects[i].category)))))

    found: list[str] = []
    for _ in range(count):
        i, j = rng.choice(places, 2, replace=len(places) < 2)
        words = [word for word in DIRECTIONS if rel.pair(word)[i, j] >= 1]
        clause = pick(("that is", "which is", ""))
        if words and rng.random() < 0.6:
            word = pick(words)
            if "_" in word:
                end, side = word.split("_")
                where = pick((
                    f"{'in front of' if end == 'front' else 'behind'} and to the {side} of",
                    f"{end} {side} of", f"to the {side} {end} of", f"to the {end} {side} of"))
            else:
                where = pick(_SIDES[word])
            clause = f"{clause} {where} {named(j)}"
        elif rng.random() < 0.5:
            clause = f"{clause} {pick(_MOST[pick(list(_MOST))])}"
        elif rng.random() < 0.3:
            clause = f"{pick(('that', 'which'))} has the same color as {named(j)}"
        else:
            clause = f"{clause} {pick(('near', 'close to', 'next to', 'beside', 'by'))} {named(j)}"
        thing = f"{named(i)} {clause}"
        action, me = pick(_ACTIONS), pick(("", "for me"))
        found.append(pick((
            f"{action} {thing} {me}", f"{pick(('grab', 'get'))} me {thing}",
            f"{pick(('can', 'could', 'would', 'will'))} you {action} {thing} {me}",
            f"{pick(('can', 'could', 'would', 'will'))} you get me {thing}",
            f"{pick(('I want to', 'I would like to'))} {action} {thing}",
            f"{pick(('where is', 'what is', 'which is'))} {thing}",
            f"{pick(('I want', 'I need'))} {thing}",
        )))  # fmt: skip
    return found


def variety(sentences: list[str], names: set[str]) -> dict[str, float]:
    """Words over tokens, pairs of words over pairs, and sentences without what they name."""
    rows = [re.findall(r"[a-z'-]+", one.lower()) for one in sentences]
    tokens = [word for row in rows for word in row]
    pairs = [pair for row in rows for pair in itertools.pairwise(row)]
    frames = {" ".join("_" if word in names or word.rstrip("es") in names else word
                       for word in row) for row in rows}  # fmt: skip
    return {
        "sentences": len(rows), "length": len(tokens) / len(rows), "words": len(set(tokens)),
        "type/token": len(set(tokens)) / len(tokens), "pairs/pair": len(set(pairs)) / len(pairs),
        "frames/sentence": len(frames) / len(rows),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    proved: Counter[str] = Counter()
    types: Counter[str] = Counter()
    wrong: list[str] = []
    clauses: list[bool] = []
    minimal: list[bool] = []
    ours: list[str] = []
    theirs: list[str] = []
    names: set[str] = set()
    rng = np.random.Generator(np.random.Philox(0))
    views = 0
    for folder in scenes_in(options.scenes):
        if options.again:
            expressions.write(folder, languages=tuple(LANGUAGES))
        said = json.loads((folder / "expressions.json").read_text())
        scene = Scene.read(folder / "scene.json")
        with AssetReader(folder) as asset:
            verdict = read_unit(asset)
            rels = [Relations(facts_of(scene, view, asset)) for view in range(len(scene.views))]
        views += len(rels)
        proved += verdict.proved
        wrong += [f"{folder.name}: {one}" for one in verdict.problems]
        for one in said["expressions"]:
            types[one["type"]] += 1
            if one["kind"] == "single":
                minimal.append(one["minimal"])
                clauses += one["needed"].values()
        mine = [text["text"] for one in said["expressions"] for text in one["texts"]
                if text["language"] == "en" and text["style"] == "request"]  # fmt: skip
        ours += mine
        for view, rel in enumerate(rels):
            count = sum(one["view"] == view for one in said["expressions"])
            theirs += refgrasp_sentences(rel, count, rng)
        for obj in scene.objects:
            names |= {obj.name, obj.category} | ({obj.color.name} if obj.color else set())
    print(f"{views} views, sentences proved: {dict(proved)}, wrong: {len(wrong)}")
    print("\n".join(wrong[:10]))
    print(f"types: {dict(types.most_common())}")
    print(f"of single targets: {np.mean(minimal):.1%} minimal, {np.mean(clauses):.1%} of all "
          "colours and clauses are needed")  # fmt: skip
    least = min(len(ours), len(theirs))
    for name, some in (("here", ours), ("RefGrasp's frames", theirs)):
        print(name, {key: round(value, 4) for key, value in variety(some[:least], names).items()})
    found = measured(options.scenes)
    print(f"{found['questions']} questions")
    for name, about, share, chance, good in table(found):
        print(f"{name:16s} {share:6.1%} chance {chance:6.1%} {'TOO GOOD' if good else ''} {about}")
    print(found["refgrasp"])


if __name__ == "__main__":
    main()
