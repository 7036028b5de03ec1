"""English sentences to meanings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final

from ...errors import MissingDependency

__all__ = ["Unreadable", "given", "is_head", "lexicon", "parse"]

_HEADS: Final = ("the", "all")
"""What a head begins with."""

_GRAMMAR: Final = """
start: other* np other*
?other: FRAME | BE
np: det adjective* NOUN tail?
det: THE -> one
   | THE NUMBER -> many
   | ALL THE? -> every
adjective: SUPER -> super
         | ORDINAL -> ordinal
         | COLOR -> color
         | NOT COLOR -> no_color
         | HIDDEN -> hidden
tail: SIDE -> side
    | SUPERTAIL -> super
    | that? CORNER -> corner
    | that POSTURE -> posture
    | that HIDDEN -> hidden
    | that NOT COLOR -> no_color
    | THAT ISNT COLOR -> no_color
    | BUT COLOR -> no_color
    | that? PREP np -> relation
    | that? BETWEEN np AND np -> between
    | THAT HAVE COLORED np -> relation
    | CLOSEST np -> closest
that: THAT BE
%declare FRAME BE THE NUMBER ALL SUPER ORDINAL COLOR NOT HIDDEN SIDE SUPERTAIL CORNER POSTURE
%declare PREP BETWEEN AND THAT HAVE COLORED CLOSEST NOUN ISNT BUT
"""

_HYPERNYMS: Final = {
    "tool": ("hammer", "flashlight"), "toy": ("ring", "cone", "pyramid", "cube"),
    "piece of fruit": ("banana", "apple"), "box": ("crate",),
}  # fmt: skip
_MAYBE: Final = {
    "mug": ("cup",), "cup": ("mug",), "bowl": ("pan", "plate"), "plate": ("tray", "bowl", "pan"),
    "bottle": ("vase", "jar"), "can": ("jar", "candle"), "candle": ("can",),
    "box": ("carton", "cube", "book", "basket"), "book": ("box",), "ball": ("apple",),
    "basket": ("crate", "bucket"), "tray": ("plate", "crate"), "apple": ("ball",),
    "crate": ("box", "basket", "tray", "carton"), "lamp": ("flashlight",),
    "flashlight": ("lamp",), "vase": ("bottle", "jar"), "jar": ("can", "bottle", "vase"),
    "pan": ("bowl", "plate"), "bucket": ("basket",), "carton": ("box", "crate"),
    "cone": ("pyramid",), "pyramid": ("cone",), "cube": ("box",),
    "tool": ("spoon", "pan", "lamp"), "toy": ("ball",),
}  # fmt: skip
_SYNONYMS: Final = {"torch": "flashlight", "fruit": "piece of fruit"}
_ANY: Final = ("object", "thing", "item")
_COLORS: Final = ("black", "white", "gray", "red", "orange", "yellow", "green", "blue", "purple",
                  "pink", "brown")  # fmt: skip


class Unreadable(Exception):
    """A sentence has no reading."""


def _fixed() -> Iterator[tuple[str, str, str]]:
    """Words, what they are, and what they mean."""
    for word in (
        "please", "can", "could", "would", "will", "you", "me", "for", "i", "want", "to", "need",
        "like", "i'd", "where", "which", "get", "grab", "hand", "pick", "up", "take", "hold",
        "grasp", "bring", "point", "show", "find", "fetch", "lift", "reach", "retrieve",
        "collect", "pass", "seize", "locate", "identify", "spot", "look", "at", "select",
        "choose", "touch", "mark", "detect", "notice", "track", "inspect", "carefully", "gently",
        "slowly", "quickly", "now", "thanks", "kindly", "just", "do", "see", "may", "borrow",
        "did", "anyone", "move", "who", "i'm", "looking", "we", "let's", "use", "start", "with",
        "go", "tell", "explain", "us", "help", "try", "remember", "describe", "remove", "clean",
        "give", "examine", "check", "keep", "return",
    ):  # fmt: skip
        yield word, "FRAME", ""
    for word in ("who left", "watch over", "try and"):
        yield word, "FRAME", ""
    for word in ("isn't", "aren't"):
        yield word, "ISNT", ""
    for word in ("of a color other than", "of any color but"):
        yield word, "BUT", ""
    for word in ("is", "are"):
        yield word, "BE", ""
    yield from (("the", "THE", ""), ("all", "ALL", ""), ("and", "AND", ""), ("not", "NOT", ""))
    yield from (("non", "NOT", ""), ("that", "THAT", ""))
    yield from (("has", "HAVE", ""), ("have", "HAVE", ""))
    for count, word in enumerate(("two", "three", "four", "five", "six"), 2):
        yield word, "NUMBER", str(count)
    for count, word in enumerate(("first", "second", "third", "fourth"), 1):
        yield word, "ORDINAL", str(count)
    for word in _COLORS:
        yield word, "COLOR", word
    yield "grey", "COLOR", "gray"
    for how in ("partly", "partially"):
        for what in ("hidden", "occluded", "obscured", "concealed"):
            yield f"{how} {what}", "HIDDEN", ""
    for word, meaning in (
        ("leftmost", "left"), ("rightmost", "right"), ("tallest", "tall"), ("shortest", "short"),
        ("largest", "large"), ("biggest", "large"), ("smallest", "small"), ("nearest", "near"),
        ("frontmost", "near"), ("farthest", "far"), ("rearmost", "far"), ("closest", "near"),
        ("foremost", "near"), ("furthest", "far"), ("hindmost", "far"), ("most distant", "far"),
        ("tiniest", "small"), ("littlest", "small"),
    ):  # fmt: skip
        yield word, "SUPER", meaning
    for word, meaning in (
        ("nearest to the camera", "near"), ("closest to the camera", "near"),
        ("farthest from the camera", "far"), ("furthest away from the camera", "far"),
        *((f"{far} to the {side}", side) for far in ("farthest", "furthest")
          for side in ("left", "right")),
        ("at the far left", "left"), ("at the far right", "right"),
    ):  # fmt: skip
        yield word, "SUPERTAIL", meaning
    for side in ("left", "right"):
        yield f"from the {side}", "SIDE", side
        yield f"counting from the {side}", "SIDE", side
        yield f"on the {side} side of", "PREP", side
        for before in ("", "to the ", "on the "):
            yield f"{before}{side} of", "PREP", side
        for end, words in (("front", ("in front",)), ("rear", ("behind",))):
            yield f"{words[0]} and to the {side} of", "PREP", f"{end} {side}"
            yield f"{end} {side} of", "PREP", f"{end} {side}"
            yield f"to the {end} {side} of", "PREP", f"{end} {side}"
            yield f"in the {end} {side} corner", "CORNER", f"{end} {side}"
        yield f"at the front {side}", "CORNER", f"front {side}"
        yield f"at the back {side}", "CORNER", f"rear {side}"
    for word, meaning in (
        ("in front of", "front"), ("ahead of", "front"), ("behind", "rear"),
        ("at the back of", "rear"), ("in back of", "rear"), ("next to", "beside"),
        ("beside", "beside"), ("by", "beside"), ("alongside", "beside"), ("adjacent to", "beside"),
        ("on", "on"), ("on top of", "on"), ("upon", "on"), ("atop", "on"), ("resting on", "on"),
        ("in", "in"), ("inside", "in"), ("within", "in"), ("under", "under"),
        ("underneath", "under"), ("beneath", "under"), ("taller than", "taller"),
        ("shorter than", "shorter"), ("bigger than", "bigger"), ("larger than", "bigger"),
        ("smaller than", "smaller"),
    ):  # fmt: skip
        yield word, "PREP", meaning
    for word, meaning in (
        ("the same color as", "same color"), ("a different color than", "other color"),
        ("another color than", "other color"),
    ):  # fmt: skip
        yield word, "COLORED", meaning
        yield f"of {word}", "PREP", meaning
    for word in ("between", "in the middle of", "in between", "flanked by"):
        yield word, "BETWEEN", ""
    for word in ("closest to", "nearest to", "nearest of all to"):
        yield word, "CLOSEST", ""
    for word in ("free space", "empty space", "free area", "empty area"):
        yield word, "NOUN", "free space"
        for where, support in (("on", "table"), ("on", "tray"), ("on", "shelf"), ("in", "box")):
            yield f"{word} {where} the {support}", "NOUN", f"free {support}"
    for word, meaning in (
        ("standing upright", "upright"), ("upright", "upright"), ("standing up", "upright"),
        ("upside down", "upside down"), ("inverted", "upside down"),
        ("flipped over", "upside down"), ("tipped over", "lying"), ("toppled", "lying"),
        ("resting on its side", "lying"), ("resting on their sides", "lying"),
        ("lying on its side", "lying"), ("lying on their sides", "lying"), ("lying down", "lying"),
    ):  # fmt: skip
        yield word, "POSTURE", meaning


_CHANGED: Final = (
    ("mouse", "mice"), ("goose", "geese"), ("tooth", "teeth"), ("person", "people"),
    ("man", "men"), ("child", "children"),
)  # fmt: skip


def _plurals(word: str) -> Iterator[str]:
    for one, many in _CHANGED:
        if word.endswith(one):
            yield word.removesuffix(one) + many
    head, of, rest = word.partition(" of ")
    yield from (f"{head}s{of}{rest}", f"{head}es{of}{rest}")
    if head.endswith("y"):
        yield f"{head[:-1]}ies{of}{rest}"
    if head.endswith(("f", "fe")):
        yield f"{head.removesuffix('e')[:-1]}ves{of}{rest}"


def lexicon(names: Iterable[str]) -> dict[tuple[str, ...], tuple[str, str]]:
    """Words to (kind, meaning); the words of what is in a scene among them."""
    found = {tuple(words.split()): (kind, meaning) for words, kind, meaning in _fixed()}
    nouns = {*names, *_HYPERNYMS, *_MAYBE, *_ANY, *_SYNONYMS, *(
        name for some in (*_HYPERNYMS.values(), *_MAYBE.values()) for name in some
    ), "spoon", "ring", "hammer", "banana"}  # fmt: skip
    for noun in sorted(nouns):
        meaning = "anything" if noun in _ANY else _SYNONYMS.get(noun, noun)
        for word in (noun, *_plurals(noun)):
            found.setdefault(tuple(word.split()), ("NOUN", meaning))
    return found


def true_of(noun: str, name: str, category: str) -> int:
    """Whether a noun's meaning is true of a thing: 1, 0 where people differ, -1."""
    if noun == "anything" or noun in (name, category) or name in _HYPERNYMS.get(noun, ()):
        return 1
    if name in _MAYBE.get(noun, ()) or category in _MAYBE.get(noun, ()):
        return 0
    shared = set(noun.split()) & (set(name.split()) | set(category.split()))
    return 0 if shared else -1


def of_many(noun: str) -> bool:
    """Whether a noun is true of things of many kinds, known or not."""
    return noun == "anything" or (noun in _HYPERNYMS and noun != "box")


@cache
def given(grammar: str) -> Any:
    """A parser of (kind, meaning) pairs; where each stood is its token's ``start_pos``.

    Raises:
        MissingDependency: Lark is not installed.
    """
    try:
        import lark
    except ImportError as error:
        raise MissingDependency(
            "Reading the sentences of composed scenes needs lark.",
            hint='Run: python -m pip install "objaverse-render-addon[compose]"',
        ) from error

    class Given(lark.lexer.Lexer):  # type: ignore[misc]
        """Takes what was cut into words already."""

        def __init__(self, conf: Any) -> None:
            pass

        def lex(self, data: Any) -> Iterator[Any]:
            for place, (kind, meaning) in enumerate(data):
                yield lark.Token(kind, meaning, start_pos=place)

    return lark.Lark(grammar, parser="lalr", lexer=Given)


def parse(sentence: str, words: dict[tuple[str, ...], tuple[str, str]]) -> Any:
    """The tree of a sentence's noun phrase.

    Raises:
        Unreadable: It has a word that is not known, or no reading.
        MissingDependency: Lark is not installed.
    """
    parser = given(_GRAMMAR)
    from lark.exceptions import LarkError

    # Longer groups of words first: "nearest to the camera" is no "nearest".
    nouns = _request_nouns(words)
    said = re.findall(r"[\w']+", sentence.lower())
    longest = max(map(len, words))
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(said):
        for length in range(min(longest, len(said) - at), 0, -1):
            group = tuple(said[at : at + length])
            if group in words:
                kind, meaning = words[group]
                begun = any(earlier in ("THE", "ALL") for earlier, _ in tokens)
                # A can is a thing where something is named, and a request before.
                named = begun and kind == "FRAME" and len(group) == 1 and group[0] in nouns
                tokens.append(("NOUN", nouns[group[0]]) if named else (kind, meaning))
                at += length
                break
        else:
            raise Unreadable(f"no word {said[at]!r}")
    # "Which is" asks at the beginning and tells within.
    first = next((i for i, (kind, _) in enumerate(tokens) if kind in ("THE", "ALL")), 0)
    tokens = [
        ("THAT", "") if i > first and group == ("FRAME", "") and i + 1 < len(tokens)
        and tokens[i + 1][0] in ("BE", "HAVE", "ISNT") else group
        for i, group in enumerate(tokens)
    ]  # fmt: skip
    try:
        return _phrase_of(parser.parse(tokens))
    except LarkError as error:
        raise Unreadable(str(error).splitlines()[0]) from error


def _request_nouns(words: dict[tuple[str, ...], tuple[str, str]]) -> dict[str, str]:
    """Words of requests that are things too, and what they mean there."""
    meanings = {meaning for kind, meaning in words.values() if kind == "NOUN"}
    said = {group[0] for group, (kind, _) in words.items() if kind == "FRAME" and len(group) == 1}
    things = {noun for noun in (*_MAYBE, *meanings) if noun in said}
    return {noun: noun for noun in things}


def _phrase_of(tree: Any) -> Any:
    return next(part for part in tree.children if getattr(part, "data", "") == "np")


def is_head(part: str) -> bool:
    """Whether a part of a sentence begins as a noun phrase does."""
    words = part.lower().split()
    return bool(words) and words[0] in _HEADS
