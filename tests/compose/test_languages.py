"""Sentences in other languages: exact ones, and what a reader that shares nothing makes of them."""

from __future__ import annotations

import json
from collections import Counter

import made
import numpy as np
import pytest

from objaverse_render_addon.compose import expressions
from objaverse_render_addon.compose.choose import CORNERS, EXTREMES, RELATIONS
from objaverse_render_addon.compose.colors import TERMS
from objaverse_render_addon.compose.forms import Clause, Phrase
from objaverse_render_addon.compose.nouns import ANYTHING, NOUNS
from objaverse_render_addon.compose.objects import KINDS
from objaverse_render_addon.compose.reader import chinese, german, read_unit
from objaverse_render_addon.compose.reader.check import PARSERS
from objaverse_render_addon.compose.reader.english import Unreadable
from objaverse_render_addon.compose.rules import Rules
from objaverse_render_addon.compose.words import LANGUAGES, STYLES, Luck, realise
from objaverse_render_addon.compose.words.text import Text
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.errors import InvalidJob

OTHERS = tuple(language for language in LANGUAGES if language != "en")
BALL, BOX = Phrase("ball", "red"), Phrase("box")
BEHIND = Phrase("bowl", None, Clause("relation", "behind", (BALL,)))


def luck(seed: int) -> Luck:
    return Luck(np.random.Generator(np.random.Philox(seed)).random(24).tolist())


def wordings(form: Phrase, language: str, style: str = "phrase", turns: int = 60) -> set[str]:
    return {realise(form, language, style, luck(turn)).text for turn in range(turns)}


def said_by(tree) -> Phrase:
    """A parsed tree as the form it says."""
    number, noun, color, negated, clause, n, side = 1, "", None, False, None, 0, ""
    names = {"left": "leftmost", "right": "rightmost", "near": "nearest", "far": "farthest",
             "tall": "tallest", "short": "shortest", "large": "largest",
             "small": "smallest"}  # fmt: skip
    words = {"rear": "behind", "beside": "next_to"}
    for part in tree.children:
        kind = getattr(part, "data", "")
        inner = [p for p in getattr(part, "children", ()) if getattr(p, "data", "") != "that"]
        refs = tuple(said_by(p) for p in inner if getattr(p, "data", "") == "np")
        told = [str(p) for p in inner if getattr(p, "type", "") in (
            "NUMBER", "COLOR", "SUPER", "SUPERTAIL", "ORDINAL", "SIDE", "CORNER", "POSTURE",
            "PREP", "COMPARED", "COLORED")]  # fmt: skip
        if not kind:
            noun = {"anything": ANYTHING, "piece of fruit": "fruit"}.get(str(part), str(part))
        elif kind in ("one", "every", "many"):
            number = {"one": 1, "every": 0}.get(kind) if kind != "many" else int(told[0])
        elif kind in ("color", "no_color"):
            color, negated = told[0].replace("gray", "grey"), kind == "no_color"
        elif kind == "super":
            clause = Clause("extreme", names[told[0]])
        elif kind in ("ordinal", "side"):
            n = int(told[0]) if kind == "ordinal" else n
            side = told[0] if kind == "side" else side
            clause = Clause("ordinal", side, n=n)
        elif kind in ("relation", "corner", "posture"):
            word = words.get(told[0], told[0].replace(" ", "_"))
            clause = Clause(kind, word, refs)
        else:
            clause = Clause(kind, "", refs)
    return Phrase(noun, color, clause, negated, number)


def every_form() -> list[Phrase]:
    """Each kind of clause with each word, with nouns of every gender, and what is mentioned
    plain, at an end, in a corner, and nested."""
    refs = (BALL, Phrase("box", None, Clause("extreme", "leftmost")), Phrase(ANYTHING, "blue"),
            Phrase("tray", None, Clause("corner", "rear_right")), BEHIND,
            Phrase("book", "grey", Clause("extreme", "nearest")))  # fmt: skip
    clauses: list[Clause | None] = [None, Clause("hidden")]
    clauses += [Clause("extreme", word) for word in EXTREMES]
    clauses += [Clause("corner", word) for word in CORNERS]
    clauses += [Clause("ordinal", side, n=n) for side in ("left", "right") for n in (1, 2, 3, 4)]
    clauses += [Clause("posture", word) for word in ("upright", "lying", "upside_down")]
    clauses += [Clause("relation", word, (ref,)) for word in RELATIONS for ref in refs]
    clauses += [Clause("closest", "", (ref,)) for ref in refs]
    clauses += [Clause("between", "", (one, two)) for one in refs for two in refs if one != two]
    heads = (("mug", None, False), ("bowl", "red", False), ("book", "blue", True),
             (ANYTHING, "grey", False))  # fmt: skip
    found = []
    for clause in clauses:
        for noun, color, negated in heads:
            found.append(Phrase(noun, color, clause, negated))
            if clause is None or clause.kind not in ("extreme", "ordinal", "closest"):
                found += [Phrase(noun, color, clause, negated, n) for n in (0, 2, 3)]
    found += [Phrase(noun, color, number=n)
              for noun in NOUNS for color in (None, *TERMS) for n in (0, 1, 2)]  # fmt: skip
    return found


FORMS = every_form()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_form_is_said_and_read_back_as_the_same_form(language):
    parser = PARSERS[language]
    words = parser.lexicon(sorted(KINDS))
    for place, form in enumerate(FORMS):
        text = realise(form, language, STYLES[place % 2], luck(place))
        assert said_by(parser.parse(text.text, words)) == form, text.text
        spans_are_right(text, form, parser, words)


def spans_are_right(text: Text, form: Phrase, parser, words) -> None:
    """Each span alone reads as the part of the form that it stands for."""
    def cut(span):
        return text.text[span[0] : span[1]]

    (target,), (head,) = text.spans["target"], text.spans["head"]
    assert target[0] <= head[0] and head[1] <= target[1]
    assert all(head[1] <= b or e <= head[0] for b, e in text.spans["references"])
    clause = form.clause
    nested = [ref.clause.refs[0] for ref in clause.refs
              if ref.clause and ref.clause.refs] if clause else []  # fmt: skip
    mentioned = [*(clause.refs if clause else ()), *nested]
    assert len(text.spans["references"]) == len(mentioned)
    read = [_read(cut(span), parser, words) for span in text.spans["references"]]
    assert Counter(read) == Counter(mentioned)
    assert _read(cut(target), parser, words) == form
    for span in (target, head, *text.spans["references"]):
        assert cut(span) == cut(span).strip(" ,.?，。？的")
        assert cut(span)


def _read(part: str, parser, words) -> Phrase:
    """A part of a sentence, in whatever case it stands there."""
    frames = ("{}",) if parser is not german else (
        "{}", "Nimm {}.", "der Ring, der neben {}, ist")  # fmt: skip
    for frame in frames:
        try:
            found = said_by(parser.parse(frame.format(part), words))
        except Unreadable:
            continue
        return found.clause.refs[0] if "Ring, der neben" in frame else found
    pytest.fail(f"{part!r} is no phrase")


@pytest.mark.parametrize("language", OTHERS)
def test_every_kind_of_object_has_a_word(language):
    for concept in {*KINDS, *NOUNS}:
        assert realise(Phrase(concept), language, "phrase", luck(0)), concept


@pytest.mark.parametrize("language", OTHERS)
def test_no_word_stands_for_two_things(language):
    owner: dict[str, str] = {}
    for concept in NOUNS:
        for number in (0, 1):
            for text in wordings(Phrase(concept, None, number=number), language, turns=20):
                assert owner.setdefault(text, concept) == concept


@pytest.mark.parametrize("language", OTHERS)
def test_what_has_no_word_is_left_out_and_counted(language, tmp_path):
    assert realise(Phrase("gazebo"), language, "phrase", luck(0)) is None
    assert realise(Phrase("mug", None, Clause("relation", "left", (Phrase("gazebo"),))),
                   language, "request", luck(0)) is None  # fmt: skip
    scene = made.write(tmp_path / "a", made.scattered(1), [made.camera_at()], seed=1)
    data = scene.to_dict()
    for one in data["objects"]:
        if one["name"] == data["objects"][0]["name"]:
            one["name"] = one["category"] = "gazebo_(roofed)"
    (tmp_path / "a" / "scene.json").write_text(json.dumps(data))
    made_of = expressions.write(tmp_path / "a", languages=("en", language))
    counts = Counter(t["language"] for one in made_of["expressions"] for t in one["texts"])
    assert made_of["unsaid"]["en"] == 0 and made_of["unsaid"][language] > 0
    assert counts["en"] - counts[language] == len(STYLES) * made_of["unsaid"][language]
    assert any("gazebo" in t["text"] for one in made_of["expressions"] for t in one["texts"])
    with AssetReader(tmp_path / "a") as asset:
        assert read_unit(asset).problems == []


def test_the_second_reader_proves_every_language(tmp_path):
    proved: Counter[str] = Counter()
    for seed in range(20, 24):
        folder = tmp_path / f"s{seed}"
        cameras = [made.camera_at(50 * seed, 40), made.camera_at(50 * seed + 130, 32)]
        made.write(folder, made.scattered(seed), cameras, seed=seed, index=seed)
        data = expressions.write(folder, languages=tuple(LANGUAGES))
        with AssetReader(folder) as asset:
            verdict = read_unit(asset)
        assert verdict.problems == [] and verdict.unproved == 0
        texts = sum(len(one["texts"]) for one in data["expressions"] + data["places"])
        assert sum(verdict.proved.values()) == texts
        assert set(data["unsaid"].values()) == {0}
        proved += verdict.proved
    assert proved["single"] > 40 * len(LANGUAGES) and proved["none"] > 3 * len(LANGUAGES)


def test_english_stays_alone_unless_asked(tmp_path):
    made.write(tmp_path / "a", made.scattered(3), [made.camera_at()], seed=3)
    data = expressions.write(tmp_path / "a")
    assert {t["language"] for one in data["expressions"] for t in one["texts"]} == {"en"}


def test_languages_are_a_rule_of_the_set():
    rules = Rules(languages=("en", "de"))
    assert Rules.from_dict(json.loads(json.dumps(rules.to_dict()))) == rules
    older = {name: value for name, value in Rules().to_dict().items() if name != "languages"}
    assert Rules.from_dict(older) == Rules() and Rules().languages == ("en",)
    with pytest.raises(InvalidJob, match=r"languages are of en, de.*, not xx"):
        Rules(languages=("en", "xx"))


@pytest.mark.parametrize(("form", "sentences"), [
    (Phrase("mug", "red"), {"der rote Becher"}),
    (Phrase("bowl", "grey", number=0), {"alle grauen Schüsseln"}),
    (Phrase("tray", "white", number=2), {"die zwei weißen Tabletts", "die beiden weißen Tabletts"}),
    (Phrase("mug", "red", negated=True), {"der Becher, der nicht rot ist"}),
    (Phrase("mug", "red", negated=True, number=3), {"die drei Becher, die nicht rot sind"}),
    (Phrase("can", "red", Clause("extreme", "leftmost")),
     {"die rote Dose, die am weitesten links ist"}),
    (Phrase("book", None, Clause("extreme", "nearest")),
     {"das vorderste Buch", "das Buch, das der Kamera am nächsten ist"}),
    (Phrase("vase", None, Clause("extreme", "tallest")), {"die höchste Vase"}),
    (Phrase("vase", None, Clause("extreme", "largest")), {"die insgesamt größte Vase"}),
    (Phrase("can", "pink", Clause("ordinal", "left", n=2)),
     {"die zweite rosafarbene Dose von links"}),
    (Phrase("apple", None, Clause("corner", "rear_left")),
     {"der Apfel in der hinteren linken Ecke", "der Apfel hinten links",
      "der Apfel, der in der hinteren linken Ecke ist", "der Apfel, der hinten links ist"}),
    (Phrase("cube", None, Clause("relation", "front_left", (Phrase("crate"),))),
     {"der Würfel links vor der Kiste", "der Würfel schräg links vor der Kiste",
      "der Würfel, der links vor der Kiste ist", "der Würfel, der schräg links vor der Kiste ist"}),
    (Phrase("ball", None, Clause("relation", "in", (Phrase("basket"),))),
     {"der Ball in dem Korb", "der Ball, der in dem Korb ist"}),
    (Phrase("bottle", None, Clause("relation", "taller", (Phrase("jar"),))),
     {"die Flasche, die höher als das Einmachglas ist"}),
    (Phrase("ball", None, Clause("relation", "same_color", (Phrase("cube"),)), number=0),
     {"alle Bälle, die dieselbe Farbe wie der Würfel haben"}),
    (Phrase("ball", None, Clause("relation", "other_color", (Phrase("lamp"),))),
     {"der Ball, der eine andere Farbe als die Lampe hat"}),
    (Phrase("tool", None, Clause("closest", "", (BALL,))),
     {"das Werkzeug, das dem roten Ball am nächsten ist"}),
    (Phrase("ring", None, Clause("between", "", (Phrase("spoon"), Phrase("pan", "black")))),
     {"der Ring zwischen dem Löffel und der schwarzen Pfanne",
      "der Ring in der Mitte zwischen dem Löffel und der schwarzen Pfanne",
      "der Ring, der zwischen dem Löffel und der schwarzen Pfanne ist",
      "der Ring, der in der Mitte zwischen dem Löffel und der schwarzen Pfanne ist"}),
    (Phrase("bottle", None, Clause("posture", "lying"), number=2),
     {"die zwei Flaschen, die auf der Seite liegen",
      "die beiden Flaschen, die auf der Seite liegen"}),
    (Phrase("bottle", None, Clause("posture", "upside_down")),
     {"die Flasche, die auf dem Kopf steht"}),
    (Phrase("mug", None, Clause("hidden")),
     {"der teilweise verdeckte Becher", "der Becher, der teilweise verdeckt ist"}),
    (Phrase("mug", "red", Clause("relation", "left", (BEHIND,)), negated=True),
     {"der nicht rote Becher, der links von der Schüssel, die hinter dem roten Ball ist, ist"}),
])  # fmt: skip
def test_german_phrases(form, sentences):
    assert wordings(form, "de") == sentences


def test_german_requests_take_their_case_and_commas():
    form = Phrase("mug", "red", Clause("relation", "taller", (Phrase("cup"),)))
    found = wordings(form, "de", "request", 400)
    assert "Nimm bitte den roten Becher, der höher als die Tasse ist." in found
    assert "Kannst du mir den roten Becher, der höher als die Tasse ist, geben?" in found
    assert "Ich möchte, dass du den roten Becher, der höher als die Tasse ist, holst." in found
    assert "Heb den roten Becher, der höher als die Tasse ist, auf." in found
    assert "Wo ist der rote Becher, der höher als die Tasse ist?" in found
    assert not any(",," in one or " ," in one or ",." in one for one in found)
    many = wordings(Phrase("ball", number=2), "de", "request", 400)
    assert "Wo befinden sich die beiden Bälle?" in many
    assert "Gib mir bitte die zwei Bälle." in many


@pytest.mark.parametrize("sentence", [
    "die rote Becher", "der roten Becher", "das Becher", "der rot Becher", "Nimm der Becher.",
    "der Becher, die nicht rot ist", "der Ball in der Korb", "alle Ball", "die Becher",
    "der Becher links von dem Eimer, der hinter dem Ball ist", "Becher", "",
    "der Becher links von", "der Grorp", "der Ball zwischen dem Korb", "den zwei Bälle",
])  # fmt: skip
def test_german_that_is_wrong_or_says_two_things_is_not_read(sentence):
    with pytest.raises(Unreadable):
        german.parse(sentence, german.lexicon(()))


@pytest.mark.parametrize(("form", "sentences"), [
    (Phrase("bowl", "red", number=1),
     {f"{that}红色{of}碗" for that in ("", "那个", "那只") for of in ("", "的")}),
    (Phrase("book", "grey", number=2), {"那两本灰色书", "那两本灰色的书"}),
    (Phrase("lamp", None, number=0), {"所有台灯", "全部台灯"}),
    (Phrase("hammer", "red", negated=True),
     {"不是红色的那把锤子", "非红色锤子", "非红色的锤子", "那把非红色锤子", "那把非红色的锤子"}),
    (Phrase("book", None, Clause("extreme", "tallest")),
     {"最高的书", "最高的那本书", "最高那本书"}),
    (Phrase("banana", None, Clause("ordinal", "left", n=2)),
     {"从左数第二根香蕉", "从左边数第二根香蕉", "左起第二根香蕉"}),
    (Phrase("cube", None, Clause("relation", "taller", (Phrase("ball", "red"),)), number=3),
     {"比红色球高的那三个立方体"}),
    (Phrase("ball", None, Clause("relation", "same_color", (Phrase("cube"),)), number=0),
     {f"{one}立方体颜色{same}的{every}球" for one in "跟与" for same in ("相同", "一样")
      for every in ("所有", "全部")}),
    (Phrase("ring", None, Clause("closest", "", (BEHIND,)), number=1),
     {f"离红色球{end}那{one}碗最近的{that}圆环" for end in ("后面", "后方") for one in "个只"
      for that in ("", "那个")}),
    (Phrase("cone", None, Clause("between", "", (Phrase("spoon"), Phrase("pan", "black"))),
            number=2),
     {f"位于勺子和黑色平底锅{mid}的那两个圆锥" for mid in ("之间", "中间")}),
    (Phrase("bottle", None, Clause("posture", "upside_down"), number=2),
     {f"{how}的那两{one}瓶子" for how in ("倒扣着", "倒立着") for one in "个只"}),
])  # fmt: skip
def test_chinese_phrases(form, sentences):
    assert wordings(form, "zh", turns=200) == sentences


def test_chinese_opens_a_clause_before_what_has_a_clause_itself():
    """"位于红色球后面那个碗左边的苹果": without its first word it might be the ball's apple."""
    form = Phrase("apple", None, Clause("relation", "left", (BEHIND,)))
    assert all(one.startswith("位于红色球") for one in wordings(form, "zh", turns=200))
    requests = wordings(Phrase("ball", "red"), "zh", "request", 400)
    assert {"请把那个红色的球拿给我。", "你能把红色球递给我吗？", "红色的球在哪里？"} <= requests


@pytest.mark.parametrize("sentence", [
    "那本碗", "第二个从左数碗", "那碗", "那两本球", "碗左边", "红色的碗左边的球", "从左数第二本碗",
    "位于碗左边球", "", "的碗", "位于碗之间的球", "沙发", "那个碗左边的球", "把", "碗球",
])  # fmt: skip
def test_chinese_that_is_wrong_or_says_two_things_is_not_read(sentence):
    with pytest.raises(Unreadable):
        chinese.parse(sentence, chinese.lexicon(()))
