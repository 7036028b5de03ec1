"""German: genders, cases, weak endings, and relative clauses that say to whom they belong."""

from __future__ import annotations

from typing import Final

from ..forms import Clause, Phrase
from ..nouns import ANYTHING, SPACES
from .text import Luck, Text

__all__ = ["sentence"]

_NOUNS: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    "mug": (("m", "Becher", "Becher"),), "cup": (("f", "Tasse", "Tassen"),),
    "bowl": (("f", "Schüssel", "Schüsseln"),), "plate": (("m", "Teller", "Teller"),),
    "bottle": (("f", "Flasche", "Flaschen"),), "can": (("f", "Dose", "Dosen"),),
    "box": (("m", "Kasten", "Kästen"),), "book": (("n", "Buch", "Bücher"),),
    "ball": (("m", "Ball", "Bälle"),), "spoon": (("m", "Löffel", "Löffel"),),
    "basket": (("m", "Korb", "Körbe"),), "tray": (("n", "Tablett", "Tabletts"),),
    "crate": (("f", "Kiste", "Kisten"),), "lamp": (("f", "Lampe", "Lampen"),),
    "vase": (("f", "Vase", "Vasen"),), "banana": (("f", "Banane", "Bananen"),),
    "apple": (("m", "Apfel", "Äpfel"),), "jar": (("n", "Einmachglas", "Einmachgläser"),),
    "pan": (("f", "Pfanne", "Pfannen"),), "bucket": (("m", "Eimer", "Eimer"),),
    "candle": (("f", "Kerze", "Kerzen"),), "ring": (("m", "Ring", "Ringe"),),
    "carton": (("m", "Getränkekarton", "Getränkekartons"),),
    "hammer": (("m", "Hammer", "Hämmer"),),
    "flashlight": (("f", "Taschenlampe", "Taschenlampen"),),
    "cone": (("m", "Kegel", "Kegel"),), "pyramid": (("f", "Pyramide", "Pyramiden"),),
    "cube": (("m", "Würfel", "Würfel"),), "fruit": (("f", "Frucht", "Früchte"),),
    "tool": (("n", "Werkzeug", "Werkzeuge"),), "toy": (("n", "Spielzeug", "Spielzeuge"),),
    ANYTHING: (("m", "Gegenstand", "Gegenstände"), ("n", "Objekt", "Objekte"),
               ("n", "Ding", "Dinge")),
}  # fmt: skip
"""Concept to gender, singular and plural; what is not here has no German word."""
_SPACES: Final = ("freie Fläche", "leere Fläche", "freie Stelle")
_SUPPORTS: Final = {
    "": "", "table": " auf dem Tisch", "tray": " auf dem Tablett", "shelf": " auf dem Regal",
    "box": " in dem Kasten",
}  # fmt: skip
_COLORS: Final = {
    "black": "schwarz", "white": "weiß", "grey": "grau", "red": "rot", "orange": "orangefarben",
    "yellow": "gelb", "green": "grün", "blue": "blau", "purple": "violett",
    "pink": "rosafarben", "brown": "braun",
}  # fmt: skip
"""None that takes no ending ("lila", "rosa")."""
_ARTICLES: Final = {
    "nom": {"m": "der", "f": "die", "n": "das", "pl": "die"},
    "acc": {"m": "den", "f": "die", "n": "das", "pl": "die"},
    "dat": {"m": "dem", "f": "der", "n": "dem", "pl": "den"},
}
_NUMBERS: Final = (("",), ("",), ("zwei", "beiden"), ("drei",), ("vier",), ("fünf",), ("sechs",))
_ORDINALS: Final = ("", "erst", "zweit", "dritt", "viert")
_ADJECTIVES: Final = {
    "tallest": "höchst", "shortest": "niedrigst", "largest": "insgesamt größt",
    "smallest": "insgesamt kleinst",
    "nearest": "vorderst", "farthest": "hinterst",
}  # fmt: skip
"""Of sizes alone people would take "größt" for tallest as well."""
_MOST: Final = {
    "leftmost": "am weitesten links", "rightmost": "am weitesten rechts",
    "nearest": "der Kamera am nächsten", "farthest": "am weitesten von der Kamera entfernt",
}  # fmt: skip
_PREPOSITIONS: Final = {
    "left": ("links von",), "right": ("rechts von",), "front": ("vor",), "behind": ("hinter",),
    "front_left": ("links vor", "schräg links vor"),
    "front_right": ("rechts vor", "schräg rechts vor"),
    "rear_left": ("links hinter", "schräg links hinter"),
    "rear_right": ("rechts hinter", "schräg rechts hinter"),
    "next_to": ("neben",), "on": ("auf",), "in": ("in",), "under": ("unter",),
}  # fmt: skip
"""With the dative."""
_COMPARED: Final = {
    "taller": "höher als", "shorter": "niedriger als", "bigger": "insgesamt größer als",
    "smaller": "insgesamt kleiner als",
}  # fmt: skip
_CORNERS: Final = {
    "front_left": ("in der vorderen linken Ecke", "vorne links"),
    "front_right": ("in der vorderen rechten Ecke", "vorne rechts"),
    "rear_left": ("in der hinteren linken Ecke", "hinten links"),
    "rear_right": ("in der hinteren rechten Ecke", "hinten rechts"),
}  # fmt: skip
_POSTURES: Final = {
    "upright": ("aufrecht", "steht", "stehen"), "lying": ("auf der Seite", "liegt", "liegen"),
    "upside_down": ("auf dem Kopf", "steht", "stehen"),
}  # fmt: skip


class _Writer(Text):
    """A text in which a relative clause that ended gets its comma from what follows."""

    due: bool = False

    def add(self, *words: str) -> None:
        for word in words:
            if word and self.due:
                self.due = False
                if word[0] not in ".?!,":
                    super().add(",")
            super().add(word)

    def relative(self, pronoun: str) -> None:
        """Begins a relative clause."""
        self.due = False
        self.add(",", pronoun)


def sentence(phrase: Phrase, style: str, luck: Luck) -> Text | None:
    """See :func:`..words.realise`."""
    if not _has_words(phrase):
        return None
    text = _Writer()
    if style == "phrase":
        _phrase(text, phrase, luck, "nom", "target")
        return text
    many = phrase.number != 1
    infinitive = luck.pick(("nehmen", "greifen", "holen", "bringen", "geben"))
    me = "mir" if infinitive in ("bringen", "geben") else ""
    case = "acc"
    please = luck.pick(("", "bitte"))
    if phrase.noun in SPACES:
        verb, me = luck.pick((("zeig", "mir"), ("such", ""), ("finde", ""), ("wo ist", "")))
        asked = verb == "wo ist"
        text.add(verb, me, "" if asked else please)
        _phrase(text, phrase, luck, "nom" if asked else "acc", "target")
        text.add("?" if asked else ".")
        return text.capital()
    frame = luck.pick(range(8))
    before, after = {
        0: ((luck.pick(("nimm", "greif", "hol")), please), (".",)),
        1: ((luck.pick(("gib", "bring", "reich", "hol", "zeig")), "mir", please), (".",)),
        2: ((luck.pick(("kannst", "könntest", "würdest")), "du", me, please),
            (infinitive, "?")),
        3: ((luck.pick(("ich möchte", "ich brauche", "ich will")),), (".",)),
        4: (("ich möchte, dass du", me), (
            {"nehmen": "nimmst", "greifen": "greifst", "holen": "holst", "bringen": "bringst",
             "geben": "gibst"}[infinitive], ".")),
        5: (("heb", please), ("auf", ".")),
        6: (("wo", "sind" if many else "ist"), ("?",)),
        7: (("wo", "befinden sich" if many else "befindet sich"), ("?",)),
    }[frame]  # fmt: skip
    if frame in (6, 7):
        case = "nom"
    text.add(*before)
    _phrase(text, phrase, luck, case, "target")
    text.add(*after)
    return text.capital()


def _has_words(phrase: Phrase) -> bool:
    refs = phrase.clause.refs if phrase.clause else ()
    return (phrase.noun in _NOUNS or phrase.noun in SPACES) and all(map(_has_words, refs))


def _noun(phrase: Phrase, luck: Luck) -> tuple[str, str, str]:
    """Gender, singular and plural."""
    if phrase.noun in SPACES:
        return "f", luck.pick(_SPACES) + _SUPPORTS[SPACES[phrase.noun]], ""
    return luck.pick(_NOUNS[phrase.noun])


def _phrase(text: _Writer, phrase: Phrase, luck: Luck, case: str, role: str) -> None:
    begin, clause, many = text.mark(), phrase.clause, phrase.number != 1
    gender, one, several = _noun(phrase, luck)
    gender = "pl" if many else gender
    # After an article, adjectives end in -e in the singular but where the article tells the case.
    ending = "en" if many or case == "dat" or (case == "acc" and gender == "m") else "e"
    if phrase.number == 0:
        text.add("allen" if case == "dat" else "alle")
    else:
        text.add(_ARTICLES[case][gender])
        if many:
            text.add(luck.pick(_NUMBERS[phrase.number]))
    after: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    be = "sind" if many else "ist"
    if clause is not None and not clause.refs:
        before, after, related = _around(clause, many, ending, luck)
        text.add(before)
    if phrase.color is not None:
        color = _COLORS[phrase.color]
        if not phrase.negated:
            text.add(color + ending)
        elif clause is not None:
            text.add("nicht", color + ending)
        else:
            related = ("nicht", color, be)
    noun = several if many else one
    # The dative plural ends in -n, unless it is one in -s.
    text.add(noun + "n" if many and case == "dat" and noun[-1] not in "ns" else noun)
    if role == "target":
        text.close("head", begin)
    if after and (role == "target" or not related):
        text.add(*after)
    elif related:
        text.relative(_ARTICLES["nom"][gender])
        text.add(*related)
        text.due = True
    if clause is not None and clause.refs:
        _mentioned(text, clause, gender, luck, role)
    text.close("target" if role == "target" else "references", begin)


def _around(
    clause: Clause, many: bool, ending: str, luck: Luck
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """What stands before the colour, after the noun, or else in a relative clause."""
    be = "sind" if many else "ist"
    if clause.kind == "extreme":
        most = _MOST.get(clause.word, "")
        if clause.word in _ADJECTIVES and (not most or luck.pick((True, False))):
            return _ADJECTIVES[clause.word] + ending, (), ()
        return "", (), (most, be)
    if clause.kind == "ordinal":
        side = "links" if clause.word == "left" else "rechts"
        return _ORDINALS[clause.n] + ending, ("von", side), ()
    if clause.kind == "corner":
        corner = luck.pick(_CORNERS[clause.word])
        return "", luck.pick(((corner,), ())), (corner, be)
    if clause.kind == "posture":
        how, stands, stand = _POSTURES[clause.word]
        return "", (), (how, stand if many else stands)
    if luck.pick((True, False)):
        return f"teilweise verdeckt{ending}", (), ()
    return "", (), ("teilweise verdeckt", be)


def _mentioned(text: _Writer, clause: Clause, gender: str, luck: Luck, role: str) -> None:
    many = gender == "pl"
    word, pronoun, case = clause.word, _ARTICLES["nom"][gender], "dat"
    before, after, bare = "", "sind" if many else "ist", False
    if clause.kind == "relation" and word in ("same_color", "other_color"):
        same = word == "same_color"
        before, case = "dieselbe Farbe wie" if same else "eine andere Farbe als", "nom"
        after = "haben" if many else "hat"
    elif clause.kind == "relation" and word in _COMPARED:
        before, case = _COMPARED[word], "nom"
    elif clause.kind == "closest":
        after = f"am nächsten {after}"
    else:
        middle: tuple[str, ...] = ("zwischen", "in der Mitte zwischen")
        options = _PREPOSITIONS[word] if clause.kind == "relation" else middle
        before, bare = luck.pick(options), True
    # "The mug left of the bowl that …": in a clause of its own, verb last, nothing hangs loose.
    bare = bare and role == "target" and not any(ref.clause for ref in clause.refs)
    bare = bare and luck.pick((True, False))
    if not bare:
        text.relative(pronoun)
    text.add(before)
    for place, ref in enumerate(clause.refs):
        if place:
            text.add("und")
        _phrase(text, ref, luck, case, "reference")
    if not bare:
        text.add(after)
        text.due = True
