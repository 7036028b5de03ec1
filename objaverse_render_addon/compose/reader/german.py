"""German sentences to meanings; articles and endings have to agree with what they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from .english import Unreadable, given

__all__ = ["is_head", "lexicon", "parse"]

_HEADS: Final = ("der", "die", "das", "den", "dem", "alle")
"""What a head begins with."""
_GRAMMAR: Final = """
start: other* np other*
?other: FRAME | _BE
np: det adjective* NOUN tail?
det: THE -> one
   | THE NUMBER -> many
   | ALL -> every
adjective: SUPER -> super
         | ORDINAL -> ordinal
         | COLOR -> color
         | NOT COLOR -> no_color
         | HIDDEN -> hidden
tail: SIDE -> side
    | CORNER -> corner
    | THAT CORNER _BE -> corner
    | THAT SUPERTAIL _BE -> super
    | THAT POSTURE -> posture
    | THAT HIDDEN _BE -> hidden
    | THAT NOT COLOR _BE -> no_color
    | PREP np -> relation
    | THAT PREP np _BE -> relation
    | THAT COMPARED np _BE -> relation
    | THAT COLORED np _HAVE -> relation
    | THAT np _CLOSEST _BE -> closest
    | BETWEEN np AND np -> between
    | THAT BETWEEN np AND np _BE -> between
%declare FRAME _BE THE NUMBER ALL SUPER ORDINAL COLOR NOT HIDDEN SIDE SUPERTAIL CORNER POSTURE
%declare PREP COMPARED BETWEEN AND THAT _HAVE COLORED _CLOSEST NOUN
"""
_THINGS: Final = {
    "mug": "becher m becher", "cup": "tasse f tassen", "bowl": "schüssel f schüsseln",
    "plate": "teller m teller", "bottle": "flasche f flaschen", "can": "dose f dosen",
    "box": "kasten m kästen", "book": "buch n bücher", "ball": "ball m bälle",
    "spoon": "löffel m löffel", "basket": "korb m körbe", "tray": "tablett n tabletts",
    "crate": "kiste f kisten", "lamp": "lampe f lampen", "vase": "vase f vasen",
    "banana": "banane f bananen", "apple": "apfel m äpfel",
    "jar": "einmachglas n einmachgläser", "pan": "pfanne f pfannen", "bucket": "eimer m eimer",
    "candle": "kerze f kerzen", "ring": "ring m ringe",
    "carton": "getränkekarton m getränkekartons", "hammer": "hammer m hämmer",
    "flashlight": "taschenlampe f taschenlampen", "cone": "kegel m kegel",
    "pyramid": "pyramide f pyramiden", "cube": "würfel m würfel",
    "piece of fruit": "frucht f früchte", "tool": "werkzeug n werkzeuge",
    "toy": "spielzeug n spielzeuge",
}  # fmt: skip
_ANY: Final = ("gegenstand m gegenstände", "objekt n objekte", "ding n dinge")
_COLORS: Final = {
    "schwarz": "black", "weiß": "white", "grau": "gray", "rot": "red", "orangefarben": "orange",
    "gelb": "yellow", "grün": "green", "blau": "blue", "violett": "purple",
    "rosafarben": "pink", "braun": "brown",
}  # fmt: skip
_DEFINITE: Final = {
    "der": ("m1", "f3"), "den": ("m4", "p3"), "dem": ("m3", "n3"), "die": ("f1", "f4", "p1", "p4"),
    "das": ("n1", "n4"),
}  # fmt: skip
"""Article to gender (``p``: plural) and case (1 nominative, 3 dative, 4 accusative)."""
_PRONOUNS: Final = {"der": "m", "die": "fp", "das": "n"}
_ENDS_IN_E: Final = ("m1", "f1", "n1", "f4", "n4")
"""Where an adjective behind an article ends in -e; everywhere else in -en."""


def _declined(stem: str) -> tuple[str, str, str]:
    return stem, f"{stem}e", f"{stem}en"


def _fixed() -> Iterator[tuple[str, str, str]]:
    """Words, what they are, and what they mean."""
    for word in (
        "bitte", "nimm", "greif", "hol", "gib", "bring", "reich", "zeig", "mir", "kannst",
        "könntest", "würdest", "du", "ich", "möchte", "brauche", "will", "dass", "heb", "wo",
        "befindet sich", "befinden sich", "nehmen", "greifen", "holen", "bringen", "geben",
        "nimmst", "greifst", "holst", "bringst", "gibst", "such", "finde",
    ):  # fmt: skip
        yield word, "FRAME", ""
    for word in ("ist", "sind"):
        yield word, "_BE", ""
    for word in ("hat", "haben"):
        yield word, "_HAVE", ""
    for word in _DEFINITE:
        yield word, "THE", ""
    yield from (("alle", "ALL", ""), ("und", "AND", ""), ("nicht", "NOT", ""))
    for count, words in enumerate((("zwei", "beiden"), ("drei",), ("vier",), ("fünf",),
                                   ("sechs",)), 2):  # fmt: skip
        for word in words:
            yield word, "NUMBER", str(count)
    for stems, kind in (
        ({"erst": "1", "zweit": "2", "dritt": "3", "viert": "4"}, "ORDINAL"), (_COLORS, "COLOR"),
        ({"teilweise verdeckt": ""}, "HIDDEN"),
        ({"höchst": "tall", "niedrigst": "short", "insgesamt größt": "large",
          "insgesamt kleinst": "small", "vorderst": "near", "hinterst": "far"}, "SUPER"),
    ):  # fmt: skip
        for stem, meaning in stems.items():
            for word in _declined(stem):
                yield word, kind, meaning
    for side, word in (("left", "links"), ("right", "rechts")):
        yield f"von {word}", "SIDE", side
        yield f"am weitesten {word}", "SUPERTAIL", side
        yield f"{word} von", "PREP", side
        for end, where, beyond in (("front", "vor", "vorne"), ("rear", "hinter", "hinten")):
            yield f"{word} {where}", "PREP", f"{end} {side}"
            yield f"schräg {word} {where}", "PREP", f"{end} {side}"
            yield f"{beyond} {word}", "CORNER", f"{end} {side}"
            edge = "vorderen" if end == "front" else "hinteren"
            stem = "linken" if side == "left" else "rechten"
            yield f"in der {edge} {stem} ecke", "CORNER", f"{end} {side}"
    yield "der kamera am nächsten", "SUPERTAIL", "near"
    yield "am weitesten von der kamera entfernt", "SUPERTAIL", "far"
    for word, meaning in (
        ("vor", "front"), ("hinter", "rear"), ("neben", "beside"), ("auf", "on"), ("in", "in"),
        ("unter", "under"),
    ):  # fmt: skip
        yield word, "PREP", meaning
    for word, meaning in (
        ("höher als", "taller"), ("niedriger als", "shorter"),
        ("insgesamt größer als", "bigger"), ("insgesamt kleiner als", "smaller"),
    ):  # fmt: skip
        yield word, "COMPARED", meaning
    yield "dieselbe farbe wie", "COLORED", "same color"
    yield "eine andere farbe als", "COLORED", "other color"
    for word in ("zwischen", "in der mitte zwischen"):
        yield word, "BETWEEN", ""
    yield "am nächsten", "_CLOSEST", ""
    for stands in ("steht", "stehen"):
        yield f"aufrecht {stands}", "POSTURE", "upright"
        yield f"auf dem kopf {stands}", "POSTURE", "upside down"
    for lies in ("liegt", "liegen"):
        yield f"auf der seite {lies}", "POSTURE", "lying"


def _nouns() -> Iterator[tuple[str, str, str]]:
    """Word, its places in the paradigm (gender and case), and what it means."""
    things = [*_THINGS.items(), *(("anything", one) for one in _ANY)]
    for space in ("freie fläche", "leere fläche", "freie stelle"):
        for where, support in (
            ("", "space"), (" auf dem tisch", "table"), (" auf dem tablett", "tray"),
            (" auf dem regal", "shelf"), (" in dem kasten", "box"),
        ):  # fmt: skip
            for case in "14":
                yield space + where, f"f{case}", f"free {support}"
    for meaning, said in things:
        one, gender, many = said.split()
        for case in "134":
            yield one, f"{gender}{case}", meaning
            dative = case == "3" and not many.endswith(("n", "s"))
            yield (f"{many}n" if dative else many), f"p{case}", meaning


def lexicon(_names: Iterable[str]) -> dict[tuple[str, ...], tuple[str, str]]:
    """Words to (kind, meaning); names that are not in the table have no German word."""
    found = {tuple(words.split()): (kind, meaning) for words, kind, meaning in _fixed()}
    for word, _, meaning in _nouns():
        found[tuple(word.split())] = ("NOUN", meaning)
    return found


def parse(sentence: str, words: dict[tuple[str, ...], tuple[str, str]]) -> Any:
    """The tree of a sentence's noun phrase.

    Raises:
        Unreadable: It has a word that is not known, no reading, more than one, or an article,
            ending or pronoun of another gender, number or case.
        MissingDependency: Lark is not installed.
    """
    said = re.findall(r"\w+|,", sentence.lower())
    longest = max(map(len, words))
    tokens: list[tuple[str, str, str]] = []
    at = 0
    while at < len(said):
        if said[at] == ",":
            # A relative clause begins with one; the others end one, or are the frame's.
            if said[at + 1 : at + 2] and said[at + 1] in _PRONOUNS:
                tokens.append(("THAT", "", said[at + 1]))
                at += 1
            at += 1
            continue
        for length in range(min(longest, len(said) - at), 0, -1):
            group = tuple(said[at : at + length])
            if group in words:
                kind, meaning = words[group]
                if kind == "PREP" and group == ("auf",) and at + 1 == len(said):
                    kind = "FRAME"  # "Heb … auf."
                tokens.append((kind, meaning, " ".join(group)))
                at += length
                break
        else:
            raise Unreadable(f"no word {said[at]!r}")
    from lark.exceptions import LarkError

    try:
        tree = given(_GRAMMAR).parse([(kind, meaning) for kind, meaning, _ in tokens])
    except LarkError as error:
        raise Unreadable(str(error).splitlines()[0]) from error
    phrase = next(part for part in tree.children if getattr(part, "data", "") == "np")
    frame = {word for kind, _, word in tokens if kind == "FRAME"}
    asked = "wo" in frame or not frame
    _Agreement([word for _, _, word in tokens]).phrase(phrase, "1" if asked else "4")
    return phrase


class _Agreement:
    """Whether forms fit each other.

    Args:
        words: What was said, by the place of each token.
    """

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def phrase(self, tree: Any, case: str) -> tuple[str, bool]:
        """Check a noun phrase in a case; its gender, and whether it ends in a relative clause.

        Raises:
            Unreadable: Something does not agree.
        """
        noun = next(part for part in tree.children if getattr(part, "type", "") == "NOUN")
        word = self._word(noun)
        fit = {place for form, place, _ in _nouns() if form == word and place[1] == case}
        for part in tree.children:
            name = getattr(part, "data", "")
            if name in ("one", "many"):
                fit &= set(_DEFINITE[self._word(part.children[0])])
            if name in ("many", "every"):
                fit = {place for place in fit if place[0] == "p"}
            if name == "one":
                fit = {place for place in fit if place[0] != "p"}
            if part is noun:
                break
            if name not in ("one", "many", "every"):
                last = self._word(part.children[-1])
                fit = {place for place in fit
                       if last.endswith("e" if place in _ENDS_IN_E else "en")
                       and last not in _COLORS}  # fmt: skip
        genders = {place[0] for place in fit}
        if len(genders) != 1:
            raise Unreadable(f"the forms around {word!r} do not agree")
        gender = genders.pop()
        tail = tree.children[-1]
        if tail is noun or not hasattr(tail, "data"):
            return gender, False
        return gender, self._tail(tail, gender, word)

    def _word(self, token: Any) -> str:
        return self.words[int(token.start_pos)]

    def _tail(self, tail: Any, gender: str, word: str) -> bool:
        pronoun = next((self._word(p) for p in tail.children
                        if getattr(p, "type", "") == "THAT"), "")  # fmt: skip
        if pronoun and gender not in _PRONOUNS[pronoun]:
            raise Unreadable(f"{pronoun!r} does not stand for {word!r}")
        nominative = any(getattr(p, "type", "") in ("COMPARED", "COLORED") for p in tail.children)
        for part in tail.children:
            if getattr(part, "data", "") != "np":
                continue
            _, trails = self.phrase(part, "1" if nominative else "3")
            if trails and not pronoun:
                raise Unreadable("it does not say to whom a relative clause belongs")
        return bool(pronoun)


def is_head(part: str) -> bool:
    """Whether a part of a sentence begins as a noun phrase does."""
    words = part.lower().split()
    return bool(words) and words[0] in _HEADS
