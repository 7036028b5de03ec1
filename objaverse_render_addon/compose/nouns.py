"""What things are called: which words are true of a thing, and of which nobody can be sure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .margins import SURE
from .objects import KINDS
from .objects.categories import mixed_up
from .record import SUPPORTS, SceneObject

__all__ = ["ANYTHING", "NOUNS", "SPACE", "SPACES", "Noun", "called", "concepts", "key_of",
           "of_anything", "stands"]  # fmt: skip

ANYTHING: Final = "thing"
SPACE: Final = "space"
"""Free space, wherever; see :data:`SPACES`."""
SPACES: Final = {SPACE: "", **{f"space:{kind}": kind for kind in SUPPORTS}}
"""Nouns of free space to the support that they name."""


@dataclass(frozen=True, slots=True)
class Noun:
    """A concept's words.

    Attributes:
        en: Singular words in English, the usual one first.
        of: Names of what it is true of beside its own; a hypernym has many.
        maybe: Names of what some call so.
        stands: Whether it has an upright and a lying posture that people tell apart.
    """

    en: tuple[str, ...]
    of: tuple[str, ...] = ()
    maybe: tuple[str, ...] = ()
    stands: bool = False


NOUNS: Final[dict[str, Noun]] = {
    "mug": Noun(("mug",), maybe=("cup",)),
    "cup": Noun(("cup",), maybe=("mug",)),
    "bowl": Noun(("bowl",), maybe=("pan", "plate")),
    "plate": Noun(("plate",),
                  maybe=("tray", "bowl", "pan")),
    "bottle": Noun(("bottle",),
                   maybe=("vase", "jar"), stands=True),
    "can": Noun(("can",), maybe=("jar", "candle"),
                stands=True),
    "box": Noun(("box",), of=("crate",),
                maybe=("carton", "cube", "book", "basket")),
    "book": Noun(("book",), maybe=("box",)),
    "ball": Noun(("ball",), maybe=("apple",)),
    "spoon": Noun(("spoon",)),
    "basket": Noun(("basket",),
                   maybe=("crate", "bucket")),
    "tray": Noun(("tray",),
                 maybe=("plate", "crate")),
    "crate": Noun(("crate",),
                  maybe=("box", "basket", "tray", "carton")),
    "lamp": Noun(("lamp",), maybe=("flashlight",),
                 stands=True),
    "vase": Noun(("vase",), maybe=("bottle", "jar"),
                 stands=True),
    "banana": Noun(("banana",)),
    "apple": Noun(("apple",), maybe=("ball",)),
    "jar": Noun(("jar",),
                maybe=("can", "bottle", "vase"), stands=True),
    "pan": Noun(("pan",), maybe=("bowl", "plate")),
    "bucket": Noun(("bucket",), maybe=("basket",)),
    "candle": Noun(("candle",), maybe=("can",),
                   stands=True),
    "ring": Noun(("ring",)),
    "carton": Noun(("carton",),
                   maybe=("box", "crate"), stands=True),
    "hammer": Noun(("hammer",)),
    "flashlight": Noun(("flashlight", "torch"), maybe=("lamp",)),
    "cone": Noun(("cone",), maybe=("pyramid",)),
    "pyramid": Noun(("pyramid",),
                    maybe=("cone",)),
    "cube": Noun(("cube",), maybe=("box",)),
    "fruit": Noun(("piece of fruit",),
                  of=("banana", "apple")),
    "tool": Noun(("tool",),
                 of=("hammer", "flashlight"), maybe=("spoon", "pan", "lamp")),
    "toy": Noun(("toy",),
                of=("ring", "cone", "pyramid", "cube"), maybe=("ball",)),
    ANYTHING: Noun(("object", "thing")),
}
"""Concept to its words."""


def key_of(name: str) -> str:
    """A name as a concept: LVIS's ``bow_(decorative_ribbons)`` is ``bow``."""
    return " ".join(re.sub(r"\(.*?\)|[^\w\s]|_", " ", name.lower()).split()) or ANYTHING


def concepts(objects: tuple[SceneObject, ...]) -> list[str]:
    """What the things of a scene may be called, without :data:`ANYTHING`, in order."""
    own = {key_of(obj.name) for obj in objects} | {key_of(obj.category) for obj in objects}
    above = {
        name for name, noun in NOUNS.items()
        if any(key_of(obj.name) in noun.of for obj in objects)
    }  # fmt: skip
    # An English word that is nobody's in the table has a plural by rule; see words.english.
    return sorted((own | above) - {ANYTHING, "cutlery", "object", "objects"})


def called(concept: str, objects: tuple[SceneObject, ...]) -> npt.NDArray[np.float64]:
    """(N,) margins of a word being true of each thing; 0 where people do not agree."""
    if concept == ANYTHING:
        return np.full(len(objects), SURE)
    noun = NOUNS.get(concept, Noun((concept,)))
    return np.array([_called(concept, noun, obj) for obj in objects])


def _called(concept: str, noun: Noun, obj: SceneObject) -> float:
    name, category = key_of(obj.name), key_of(obj.category)
    if concept in (name, category) or name in noun.of:
        return SURE
    if name in noun.maybe or category in noun.maybe:
        return 0.0
    # Of kinds that are all in the table above, it says who is mixed up with whom.
    if not {concept, name} <= NOUNS.keys() and (
        mixed_up(concept, name) or mixed_up(concept, category)
    ):
        return 0.0
    mine, theirs = set(concept.split()), set(name.split()) | set(category.split())
    # A coffee mug may be called a mug, though nobody says so.
    return 0.0 if mine & theirs else -SURE


def of_anything(concept: str) -> bool:
    """Whether a word is true of things of many kinds, so that what nobody named may be meant."""
    return concept == ANYTHING or (concept in NOUNS and concept not in KINDS)


def stands(objects: tuple[SceneObject, ...]) -> Any:
    """(N,) whether each has postures that people tell apart."""
    names = [key_of(obj.name) for obj in objects]
    return np.array([name in NOUNS and NOUNS[name].stands for name in names], bool)
