"""What things are called: which words are true of a thing, and of which nobody can be sure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .margins import SURE
from .record import SceneObject

__all__ = ["ANYTHING", "NOUNS", "Noun", "called", "concepts", "key_of"]

ANYTHING: Final = "thing"


@dataclass(frozen=True, slots=True)
class Noun:
    """A word in three languages.

    Attributes:
        en: Singular words in English, the usual one first; plurals follow ``plural``.
        de: Article letter (m, f, n), singular, plural (nominative), dative plural; lower than that
            nothing changes but by the rules of :mod:`.words.german`.
        zh: Classifier and word.
        of: Names of what it is true of beside its own; a hypernym has many.
        maybe: Names of what some call so.
        stands: Whether it has an upright and a lying posture that people tell apart.
    """

    en: tuple[str, ...]
    de: tuple[str, str, str] = ("", "", "")
    zh: tuple[str, str] = ("", "")
    of: tuple[str, ...] = ()
    maybe: tuple[str, ...] = ()
    stands: bool = False


NOUNS: Final[dict[str, Noun]] = {
    "mug": Noun(("mug",), ("m", "Becher", "Becher"), ("个", "马克杯"), maybe=("cup",)),
    "cup": Noun(("cup",), ("f", "Tasse", "Tassen"), ("个", "杯子"), maybe=("mug",)),
    "bowl": Noun(("bowl",), ("f", "Schüssel", "Schüsseln"), ("个", "碗"), maybe=("pan", "plate")),
    "plate": Noun(("plate",), ("m", "Teller", "Teller"), ("个", "盘子"),
                  maybe=("tray", "bowl", "pan")),
    "bottle": Noun(("bottle",), ("f", "Flasche", "Flaschen"), ("个", "瓶子"),
                   maybe=("vase", "jar"), stands=True),
    "can": Noun(("can",), ("f", "Dose", "Dosen"), ("个", "罐头"), maybe=("jar", "candle"),
                stands=True),
    "box": Noun(("box",), ("m", "Kasten", "Kästen"), ("个", "盒子"), of=("crate",),
                maybe=("carton", "cube", "book", "basket")),
    "book": Noun(("book",), ("n", "Buch", "Bücher"), ("本", "书"), maybe=("box",)),
    "ball": Noun(("ball",), ("m", "Ball", "Bälle"), ("个", "球"), maybe=("apple",)),
    "spoon": Noun(("spoon",), ("m", "Löffel", "Löffel"), ("个", "勺子")),
    "basket": Noun(("basket",), ("m", "Korb", "Körbe"), ("个", "篮子"),
                   maybe=("crate", "bucket")),
    "tray": Noun(("tray",), ("n", "Tablett", "Tabletts"), ("个", "托盘"),
                 maybe=("plate", "crate")),
    "crate": Noun(("crate",), ("f", "Kiste", "Kisten"), ("个", "箱子"),
                  maybe=("box", "basket", "tray", "carton")),
    "lamp": Noun(("lamp",), ("f", "Lampe", "Lampen"), ("个", "台灯"), maybe=("flashlight",),
                 stands=True),
    "vase": Noun(("vase",), ("f", "Vase", "Vasen"), ("个", "花瓶"), maybe=("bottle", "jar"),
                 stands=True),
    "banana": Noun(("banana",), ("f", "Banane", "Bananen"), ("个", "香蕉")),
    "apple": Noun(("apple",), ("m", "Apfel", "Äpfel"), ("个", "苹果"), maybe=("ball",)),
    "jar": Noun(("jar",), ("n", "Glas", "Gläser"), ("个", "罐子"),
                maybe=("can", "bottle", "vase"), stands=True),
    "pan": Noun(("pan",), ("f", "Pfanne", "Pfannen"), ("个", "平底锅"), maybe=("bowl", "plate")),
    "bucket": Noun(("bucket",), ("m", "Eimer", "Eimer"), ("个", "桶"), maybe=("basket",)),
    "candle": Noun(("candle",), ("f", "Kerze", "Kerzen"), ("个", "蜡烛"), maybe=("can",),
                   stands=True),
    "ring": Noun(("ring",), ("m", "Ring", "Ringe"), ("个", "圆环")),
    "carton": Noun(("carton",), ("m", "Karton", "Kartons"), ("个", "纸盒"),
                   maybe=("box", "crate"), stands=True),
    "hammer": Noun(("hammer",), ("m", "Hammer", "Hämmer"), ("个", "锤子")),
    "flashlight": Noun(("flashlight", "torch"), ("f", "Taschenlampe", "Taschenlampen"),
                       ("个", "手电筒"), maybe=("lamp",)),
    "cone": Noun(("cone",), ("m", "Kegel", "Kegel"), ("个", "圆锥"), maybe=("pyramid",)),
    "pyramid": Noun(("pyramid",), ("f", "Pyramide", "Pyramiden"), ("个", "金字塔"),
                    maybe=("cone",)),
    "cube": Noun(("cube",), ("m", "Würfel", "Würfel"), ("个", "立方体"), maybe=("box",)),
    "fruit": Noun(("piece of fruit",), ("n", "Stück Obst", "Stücke Obst"), ("个", "水果"),
                  of=("banana", "apple")),
    "tool": Noun(("tool",), ("n", "Werkzeug", "Werkzeuge"), ("个", "工具"),
                 of=("hammer", "flashlight"), maybe=("spoon", "pan", "lamp")),
    "toy": Noun(("toy",), ("n", "Spielzeug", "Spielzeuge"), ("个", "玩具"),
                of=("ring", "cone", "pyramid", "cube"), maybe=("ball",)),
    ANYTHING: Noun(("object", "thing"), ("m", "Gegenstand", "Gegenstände"), ("个", "物体")),
}
"""Concept to its words. German is the usual word of the shape; each has one, so that it parses
back."""


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
    mine, theirs = set(concept.split()), set(name.split()) | set(category.split())
    # A coffee mug may be called a mug, though nobody says so.
    return 0.0 if mine & theirs else -SURE


def stands(objects: tuple[SceneObject, ...]) -> Any:
    """(N,) whether each has postures that people tell apart."""
    names = [key_of(obj.name) for obj in objects]
    return np.array([name in NOUNS and NOUNS[name].stands for name in names], bool)
