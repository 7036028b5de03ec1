"""English."""

from __future__ import annotations

from typing import Final

from ..forms import Clause, Phrase
from ..nouns import ANYTHING, NOUNS, SPACES
from .text import Luck, Text

__all__ = ["plural", "sentence"]

_NUMBERS: Final = ("", "one", "two", "three", "four", "five", "six")
_ORDINALS: Final = ("", "first", "second", "third", "fourth")
_ADJECTIVES: Final = {
    "leftmost": ("leftmost",), "rightmost": ("rightmost",), "tallest": ("tallest",),
    "shortest": ("shortest",), "largest": ("largest", "biggest"),
    "smallest": ("smallest", "tiniest", "littlest"),
    "nearest": ("nearest", "frontmost", "closest", "foremost"),
    "farthest": ("farthest", "rearmost", "furthest", "hindmost", "most distant"),
}  # fmt: skip
_AFTER: Final = {
    "nearest": ("nearest to the camera", "closest to the camera"),
    "farthest": ("farthest from the camera", "furthest away from the camera"),
    "leftmost": ("farthest to the left", "furthest to the left", "at the far left"),
    "rightmost": ("farthest to the right", "furthest to the right", "at the far right"),
}  # fmt: skip
_PREPOSITIONS: Final = {
    "left": ("left of", "to the left of", "on the left of", "on the left side of"),
    "right": ("right of", "to the right of", "on the right of", "on the right side of"),
    "front": ("in front of", "ahead of"), "behind": ("behind", "at the back of", "in back of"),
    "front_left": ("in front and to the left of", "front left of", "to the front left of"),
    "front_right": ("in front and to the right of", "front right of", "to the front right of"),
    "rear_left": ("behind and to the left of", "rear left of", "to the rear left of"),
    "rear_right": ("behind and to the right of", "rear right of", "to the rear right of"),
    "next_to": ("next to", "beside", "by", "alongside", "adjacent to"),
    "on": ("on", "on top of", "upon", "atop", "resting on"), "in": ("in", "inside", "within"),
    "under": ("under", "underneath", "beneath"), "taller": ("taller than",),
    "shorter": ("shorter than",), "bigger": ("bigger than", "larger than"),
    "smaller": ("smaller than",),
}  # fmt: skip
_CORNERS: Final = {
    "front_left": ("in the front left corner", "at the front left"),
    "front_right": ("in the front right corner", "at the front right"),
    "rear_left": ("in the rear left corner", "at the back left"),
    "rear_right": ("in the rear right corner", "at the back right"),
}  # fmt: skip
_POSTURES: Final = {
    "upright": ("standing upright", "upright", "standing up"),
    "lying": ("lying on its side", "lying down", "tipped over", "toppled", "resting on its side"),
    "upside_down": ("upside down", "inverted", "flipped over"),
}  # fmt: skip
_COLORS: Final = {"grey": ("gray", "grey")}
_HIDDEN: Final = ("partly hidden", "partially hidden", "partly occluded", "partially obscured",
                  "partly concealed")  # fmt: skip
_ACTIONS: Final = ("grab", "pick up", "take", "get", "hold", "grasp", "bring", "fetch", "lift",
                   "reach for", "retrieve", "collect", "pass", "seize")  # fmt: skip
_LOOKS: Final = ("locate", "identify", "find", "spot", "look at", "select", "choose", "touch",
                 "point at", "mark", "detect", "notice", "track", "inspect")  # fmt: skip
_MANNERS: Final = ("", "", "", "carefully", "gently", "slowly", "quickly", "now", "thanks")
_IRREGULAR: Final = {
    "mouse": "mice", "goose": "geese", "tooth": "teeth", "person": "people",
    "child": "children", "tomato": "tomatoes", "potato": "potatoes",
    "fish": "fish", "sheep": "sheep", "deer": "deer", "scissors": "scissors", "pliers": "pliers",
    "tongs": "tongs", "tweezers": "tweezers", "glasses": "glasses", "sunglasses": "sunglasses",
    "goggles": "goggles", "headphones": "headphones", "binoculars": "binoculars",
    "trousers": "trousers", "pants": "pants", "jeans": "jeans", "shorts": "shorts",
}  # fmt: skip
_ANY: Final = ("object", "thing", "item")
_SPACES: Final = ("free space", "empty space", "free area", "empty area")
_SUPPORTS: Final = {
    "": "", "table": " on the table", "tray": " on the tray", "shelf": " on the shelf",
    "box": " in the box",
}  # fmt: skip


def plural(word: str) -> str:
    """Of an English noun, by the rules; the exceptions first."""
    before, space, last = word.rpartition(" ")
    if last in _IRREGULAR:
        return before + space + _IRREGULAR[last]
    if " of " in word:
        head, rest = word.split(" of ", 1)
        return f"{plural(head)} of {rest}"
    if last.endswith("man") and last not in ("human", "caiman", "talisman"):
        return f"{word[:-2]}en"
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    for ending in ("knife", "shelf", "loaf", "leaf"):
        if word.endswith(ending):
            return f"{word.removesuffix('fe').removesuffix('f')}ves"
    return f"{word}s"


def sentence(phrase: Phrase, style: str, luck: Luck) -> Text | None:
    """See :func:`..words.realise`."""
    text = Text()
    if style == "phrase":
        _phrase(text, phrase, luck, "target")
        return text
    many = phrase.number != 1
    please = luck.pick(("", "", "please", "kindly", "just"))
    if phrase.noun in SPACES:
        verb, end = luck.pick((("point to", "."), ("show me", "."), ("find", "."),
                               ("where is", "?")))  # fmt: skip
        text.add(please if end == "." else "", verb)
        _phrase(text, phrase, luck, "target")
        text.add(end)
        return text.capital()
    action, me = luck.pick(_ACTIONS), luck.pick(("", "for me"))
    look, manner = luck.pick(_LOOKS), luck.pick(_MANNERS)
    frame = luck.pick(range(16))
    before, after = {
        0: ((please, action), (me or manner, ".")),
        1: ((please, luck.pick(("get", "grab", "hand")), "me"), (".",)),
        2: ((luck.pick(("can", "could", "would", "will")), "you", please, action), (me, "?")),
        3: ((luck.pick(("can", "could", "would", "will")), "you", please,
             luck.pick(("get", "grab")), "me"), ("?",)),
        4: ((luck.pick(("I want to", "I would like to", "I'd like to")), action), (".",)),
        5: ((luck.pick(("where", "which")), "are" if many else "is"), ("?",)),
        6: ((luck.pick(("I want", "I need", "I'd like")),), (".",)),
        7: ((luck.pick(("I want you to", "I need you to")), action), (me, ".")),
        8: ((luck.pick(("I'd like you to", "I would like you to")), "get me"), (".",)),
        9: ((please, look), (manner, ".")),
        10: ((luck.pick(("do you see", "may I borrow", "did anyone move", "who left")),), ("?",)),
        11: ((luck.pick(("I'm looking for", "we need", "let's use", "start with", "now go for")),),
             (".",)),
        12: ((luck.pick(("tell me where", "explain where", "show us where")),),
             ("are" if many else "is", ".")),
        13: ((luck.pick(("help me", "try to", "remember to", "try and")), look), (".",)),
        14: ((luck.pick(("can", "could")), "you", luck.pick(("see", "reach", "describe", look))),
             ("?",)),
        15: ((luck.pick(("move", "remove", "clean", "give me", "examine", "check", "keep",
                         "return", "watch over")),), (manner, ".")),
    }[frame]  # fmt: skip
    text.add(*before)
    _phrase(text, phrase, luck, "target")
    text.add(*after)
    return text.capital()


def _phrase(text: Text, phrase: Phrase, luck: Luck, role: str) -> None:
    begin, clause = text.mark(), phrase.clause
    text.add(*_determiner(phrase, luck))
    before, after = _around(clause, phrase.number != 1, luck)
    if before:
        text.add(before)
    if phrase.color is not None:
        color = luck.pick(_COLORS.get(phrase.color, (phrase.color,)))
        if not phrase.negated:
            text.add(color)
        elif clause is not None:
            text.add(f"non-{color}")
    text.add(_noun(phrase, luck))
    if role == "target":
        text.close("head", begin)
    if phrase.negated and clause is None:
        be = "are" if phrase.number != 1 else "is"
        that = luck.pick(("that", "which"))
        text.add(*luck.pick((
            (that, be, "not"), (that, f"{be}n't"), ("of a color other than",),
            ("of any color but",),
        )), color)  # fmt: skip
    text.add(*after)
    if clause is not None:
        _mentioned(text, clause, phrase.number != 1, luck, role)
    text.close("target" if role == "target" else "references", begin)


def _determiner(phrase: Phrase, luck: Luck) -> tuple[str, ...]:
    if phrase.number == 1:
        return ("the",)
    if phrase.number == 0:
        return luck.pick((("all", "the"), ("all",)))
    return ("the", _NUMBERS[phrase.number])


def _noun(phrase: Phrase, luck: Luck) -> str:
    if phrase.noun in SPACES:
        return luck.pick(_SPACES) + _SUPPORTS[SPACES[phrase.noun]]
    words = _ANY if phrase.noun == ANYTHING else (
        NOUNS[phrase.noun].en if phrase.noun in NOUNS else (phrase.noun,)
    )  # fmt: skip
    word = luck.pick(words)
    return plural(word) if phrase.number != 1 else word


def _around(clause: Clause | None, many: bool, luck: Luck) -> tuple[str, tuple[str, ...]]:
    """What stands before the colour and after the noun, of clauses that mention nothing."""
    if clause is None or clause.refs:
        return "", ()
    that = luck.pick((("that", "are" if many else "is"), ("which", "are" if many else "is")))
    if clause.kind == "extreme":
        if clause.word in _AFTER and luck.pick((True, False)):
            return "", (luck.pick(_AFTER[clause.word]),)
        return luck.pick(_ADJECTIVES[clause.word]), ()
    if clause.kind == "ordinal":
        return _ORDINALS[clause.n], (luck.pick(("from", "counting from")), "the", clause.word)
    if clause.kind == "corner":
        corner = luck.pick(_CORNERS[clause.word])
        return "", luck.pick(((corner,), (*that, corner)))
    if clause.kind == "posture":
        posture = luck.pick(_POSTURES[clause.word])
        return "", (*that, posture.replace("its side", "their sides") if many else posture)
    hidden = luck.pick(_HIDDEN)
    return (hidden, ()) if luck.pick((True, False)) else ("", (*that, hidden))


def _mentioned(text: Text, clause: Clause, many: bool, luck: Luck, role: str) -> None:
    if not clause.refs:
        return
    be = "are" if many else "is"
    # A phrase within a phrase says where it hangs.
    joins: list[tuple[str, ...]] = [("that", be), ("which", be)]
    if role == "target" and all(ref.clause is None for ref in clause.refs):
        joins.append(())
    if clause.kind == "relation" and clause.word in ("same_color", "other_color"):
        same = clause.word == "same_color"
        which = "the same color as" if same else luck.pick(("a different color than",
                                                            "another color than"))  # fmt: skip
        text.add(*luck.pick((
            (luck.pick(("that", "which")), "have" if many else "has", which), (f"of {which}",),
        )))  # fmt: skip
    elif clause.kind == "relation":
        text.add(*luck.pick(joins), luck.pick(_PREPOSITIONS[clause.word]))
    elif clause.kind == "closest":
        text.add(luck.pick(("closest to", "nearest to", "nearest of all to")))
    else:
        text.add(*luck.pick(joins), luck.pick(("between", "in the middle of", "in between",
                                          "flanked by")))  # fmt: skip
    for place, ref in enumerate(clause.refs):
        if place:
            text.add("and")
        _phrase(text, ref, luck, "reference")
