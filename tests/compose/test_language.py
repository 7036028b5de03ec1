"""What is said of composed scenes is true in their pictures, and a second reader agrees."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import made
import numpy as np
import pytest

from objaverse_render_addon.compose import expressions
from objaverse_render_addon.compose.choose import Quotas
from objaverse_render_addon.compose.facts import facts_of
from objaverse_render_addon.compose.forms import Clause, Phrase, denote
from objaverse_render_addon.compose.places import floor_of, margin_of
from objaverse_render_addon.compose.reader import read_unit
from objaverse_render_addon.compose.reader.english import Unreadable, lexicon, parse
from objaverse_render_addon.compose.record import Scene
from objaverse_render_addon.compose.relations import Relations
from objaverse_render_addon.compose.words import Luck, realise
from objaverse_render_addon.dataset.reader import AssetReader

FRONT = made.camera_at()


def relations(folder, view=0):
    with AssetReader(folder) as asset:
        return Relations(facts_of(Scene.read(folder / "scene.json"), view, asset))


def proved(folder):
    with AssetReader(folder) as asset:
        return read_unit(asset)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Eight scenes of two views with their sentences."""
    root = tmp_path_factory.mktemp("scenes")
    for seed in range(8):
        cameras = [made.camera_at(40 * seed, 40), made.camera_at(40 * seed + 130, 30)]
        made.write(root / f"s{seed}", made.scattered(seed), cameras, seed=seed, index=seed)
        expressions.write(root / f"s{seed}")
    return root


def said(folder):
    return json.loads((folder / "expressions.json").read_text())["expressions"]


def test_the_second_reader_proves_every_sentence(scenes):
    counts = Counter()
    for folder in sorted(scenes.iterdir()):
        verdict = proved(folder)
        assert verdict.problems == []
        counts += verdict.proved
    assert counts["single"] > 150 and counts["multi"] > 20 and counts["none"] > 10
    types = {one["type"] for folder in scenes.iterdir() for one in said(folder)}
    assert len(types) >= 10


def test_margins_have_no_mass_in_the_dead_zone(scenes):
    every = [one["margin"] for folder in scenes.iterdir() for one in said(folder)]
    assert min(every) >= 1
    assert max(every) <= 10


def test_clauses_of_minimal_sentences_are_needed(scenes):
    minimal = [one for f in scenes.iterdir() for one in said(f) if one["minimal"]]
    assert len(minimal) > 50
    some = [one for one in minimal if one["needed"]]
    assert all(all(one["needed"].values()) for one in some)


def test_spans_cut_out_what_is_named(scenes):
    for folder in scenes.iterdir():
        for one in said(folder):
            for text in one["texts"]:
                begin, end = text["spans"]["head"][0]
                head = text["text"][begin:end]
                assert head.split()[0].lower() in ("the", "all")
                for begin, end in text["spans"]["references"]:
                    assert text["text"][begin:end].split()[0] in ("the", "all")


def test_the_same_whatever_else_was_done(scenes, tmp_path):
    for name in ("s3", "s1"):
        shutil.copytree(scenes / name, tmp_path / name)
        before = (tmp_path / name / "expressions.json").read_bytes()
        (tmp_path / name / "expressions.json").unlink()
        expressions.write(tmp_path / name)
        assert (tmp_path / name / "expressions.json").read_bytes() == before


# The mistakes that make such data wrong without a word, one by one.


def test_what_moved_after_it_was_described_is_found(tmp_path):
    """1 and 10: a sentence of the plan, a pose of before."""
    placed = made.scattered(0)
    made.write(tmp_path / "a", placed, [FRONT], seed=0)
    expressions.write(tmp_path / "a")
    assert proved(tmp_path / "a").problems == []
    made.write(tmp_path / "b", placed, [FRONT], seed=0, moved={0: (0.06, 0.0)})
    shutil.copy(tmp_path / "a" / "expressions.json", tmp_path / "b")
    assert any("not where its pose says" in one for one in proved(tmp_path / "b").problems)


def test_a_wrong_target_is_found(scenes, tmp_path):
    shutil.copytree(scenes / "s0", tmp_path / "s0")
    path = tmp_path / "s0" / "expressions.json"
    data = json.loads(path.read_text())
    one = next(one for one in data["expressions"] if one["kind"] == "single")
    one["targets"] = [one["targets"][0] % 9 + 1]
    path.write_text(json.dumps(data))
    assert any(one["id"] in problem for problem in proved(tmp_path / "s0").problems)


def test_a_swapped_word_is_found(scenes, tmp_path):
    """Left for right in every sentence: what names a side means another, or nothing."""
    swap = {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost"}
    tried = found = 0
    for folder in sorted(scenes.iterdir())[:6]:
        there = tmp_path / folder.name
        shutil.copytree(folder, there)
        path = there / "expressions.json"
        data = json.loads(path.read_text())
        changed = []
        for one in data["expressions"]:
            if one["kind"] != "single" or one["type"] not in ("direction", "extreme"):
                continue
            for text in one["texts"][:1]:
                new = " ".join(swap.get(word, word) for word in text["text"].split())
                if new != text["text"]:
                    changed.append({**one, "texts": [{**text, "text": new}]})
        data["expressions"] = changed
        path.write_text(json.dumps(data))
        tried += len(changed)
        found += len(proved(there).problems)
    assert tried > 10
    assert found >= 0.95 * tried


def test_left_is_the_viewer_s(tmp_path):
    """2: from the opposite side, left and front are right and behind."""
    placed = [made.Placed("ball", "red", -0.2, 0.0), made.Placed("cube", "blue", 0.2, 0.0),
              made.Placed("can", "green", -0.2, 0.25)]  # fmt: skip
    made.write(tmp_path / "a", placed, [FRONT, made.camera_at(180)])
    here, there = relations(tmp_path / "a", 0), relations(tmp_path / "a", 1)
    for one, other in (("left", "right"), ("front", "behind"), ("front_left", "rear_right")):
        assert np.array_equal(here.pair(one) >= 1, there.pair(other) >= 1)
        # Perspective may make a false one doubtful, but never a true one.
        assert (here.pair(one) * there.pair(other) >= 0).all()
    assert here.pair("left")[0, 1] >= 1 and here.pair("front")[0, 2] >= 1


def test_nearly_equal_is_neither(tmp_path):
    """3: no relation without a dead zone."""
    placed = [made.Placed("ball", "red", 0.0, -0.2), made.Placed("cube", "blue", 0.001, 0.1)]
    made.write(tmp_path / "a", placed, [FRONT])
    rel = relations(tmp_path / "a")
    # One is behind the other, so it is not beside it; but the first on the left is nobody.
    assert not (rel.pair("left") >= 1).any() and not (rel.pair("right") >= 1).any()
    for word in ("leftmost", "rightmost"):
        found = denote(rel, Phrase("thing", None, Clause("extreme", word)))
        assert found is None or not found.sure


def test_where_a_spoon_is_does_not_go_by_its_handle_alone(tmp_path):
    """3: where most of it is says another thing than where it begins and ends."""
    placed = [made.Placed("spoon", "red", 0.0, 0.2),
              made.Placed("spoon", "blue", 0.08, 0.0, yaw=180)]  # fmt: skip
    made.write(tmp_path / "a", placed, [FRONT])
    rel = relations(tmp_path / "a")
    by = [one[1, 0] - one[0, 0] for one in (rel.facts.edges, rel.facts.center, rel.facts.median)]
    assert by[0] > 0.03 and by[1] > 0 and by[2] < 0
    assert not rel.leads("rightmost")[1, 0] and not rel.leads("leftmost")[1, 0]


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (0.06, 0.3), (0.9, 1.0)])
def test_a_hardly_seen_twin_keeps_a_thing_from_being_the_only_one(tmp_path, low, high):
    """4: who is hidden is not there; who shows a little may be meant."""
    for step in range(30):
        placed = [made.Placed("crate", "blue", 0.0, -0.2, scale=1.2),
                  made.Placed("ball", "red", 0.01 * step, -0.02, scale=0.5),
                  made.Placed("ball", "red", -0.3, 0.2)]  # fmt: skip
        made.write(tmp_path / f"{step}", placed, [made.camera_at(elevation=16)])
        rel = relations(tmp_path / f"{step}")
        if low <= rel.facts.looks[1].visible_fraction <= high:
            break
    else:
        pytest.fail("it is never hidden as much")
    found = denote(rel, Phrase("ball"))
    assert found.is_one if high == 0 else not found.is_one


def test_a_mug_may_be_called_a_cup(tmp_path):
    """5: a word that is true of one, and may be of another, is not used."""
    placed = [made.Placed("mug", "red", -0.2, 0.0), made.Placed("can", "blue", 0.2, 0.0)]
    scene = made.write(tmp_path / "a", placed, [FRONT])
    data = scene.to_dict()
    data["objects"][1]["name"] = data["objects"][1]["category"] = "cup"
    Scene.from_dict(data).write(tmp_path / "a" / "scene.json")
    rel = relations(tmp_path / "a")
    for word in ("cup", "mug"):
        assert not denote(rel, Phrase(word)).sure
    assert denote(rel, Phrase("mug", "red")).is_one


def test_a_colour_is_what_is_seen(tmp_path):
    """6: a white box under blue light is no white box, and no blue one."""
    placed = [made.Placed("cube", "white", -0.2, 0.0),
              made.Placed("ball", "red", 0.2, 0.0, scale=1.6)]  # fmt: skip
    made.write(tmp_path / "a", placed, [FRONT], tint=(0.35, 0.5, 1.0))
    rel = relations(tmp_path / "a")
    assert rel.color_of[0] is None
    assert not denote(rel, Phrase("thing", "white")).sure
    made.write(tmp_path / "b", placed, [FRONT])
    assert relations(tmp_path / "b").color_of == ["white", "red"]
    # What shows little has no colour for sure, and may have any.
    placed[1] = made.Placed("ball", "red", 0.2, 0.0, scale=0.6)
    made.write(tmp_path / "c", placed, [FRONT])
    rel = relations(tmp_path / "c")
    assert 0 < rel.facts.looks[1].visible_pixels < 100
    assert rel.color_of == ["white", None]
    assert not denote(rel, Phrase("thing", "blue")).sure


def test_ids_over_255_and_of_what_is_not_seen(tmp_path):
    """11: ids stay what they are, whoever is seen."""
    placed = [made.Placed("cube", "red", -0.4 + 0.04 * (i % 20), -0.4 + 0.05 * (i // 20),
                          scale=0.3) for i in range(260)]  # fmt: skip
    made.write(tmp_path / "a", placed, [made.camera_at(elevation=60)])
    rel = relations(tmp_path / "a")
    assert len(rel.facts) == 260
    places = rel.facts.ground
    assert places[259, 0] > places[240, 0] and rel.facts.seen[259, 0] > rel.facts.seen[240, 0]


def test_targets_are_not_the_first_or_the_largest(scenes):
    """14: draws among all that can be meant."""
    ranks = []
    for folder in scenes.iterdir():
        scene = Scene.read(folder / "scene.json")
        for one in said(folder):
            if one["kind"] != "single":
                continue
            looks = scene.views[one["view"]].objects
            order = sorted(looks, key=lambda look: -look.visible_pixels)
            place = [look.id for look in order].index(one["targets"][0])
            ranks.append(place / len(order))
    assert 0.3 < np.mean(ranks) < 0.6


@pytest.mark.parametrize("sentence", [
    "the mug", "all the red mugs", "the two mugs that are not red", "the second can from the left",
    "Could you please hand me the leftmost grey ball?", "Pick up the can for me.",
    "the ball between the red box and the leftmost mug", "Where are all the boxes?",
    "the partly hidden mug", "the mug that has a different color than the ball",
    "the piece of fruit on top of the book", "the ball closest to the crate",
])  # fmt: skip
def test_sentences_that_can_be_read(sentence):
    assert parse(sentence, lexicon(["mug", "can", "ball", "box", "book", "crate"]))


@pytest.mark.parametrize("sentence", [
    "mug", "the", "the mug the ball", "the grorp", "the mug left of", "", "the mug red",
    "the mug in front of the ball left of the can left of",
])  # fmt: skip
def test_sentences_that_cannot_be_read(sentence):
    with pytest.raises(Unreadable):
        parse(sentence, lexicon(["mug", "can", "ball"]))


def test_every_word_of_the_writer_is_known_to_the_reader():
    ball = Phrase("ball", "red")
    words = lexicon(["ball", "mug"])
    from objaverse_render_addon.compose.choose import CORNERS, EXTREMES, RELATIONS

    forms = [Phrase("mug", None, Clause("relation", word, (ball,))) for word in RELATIONS]
    forms += [Phrase("mug", "grey", Clause("extreme", word)) for word in EXTREMES]
    forms += [Phrase("mug", None, Clause("corner", word)) for word in CORNERS]
    forms += [Phrase("mug", None, Clause("ordinal", "left", n=n)) for n in (1, 2, 3, 4)]
    postures = ("upright", "lying", "upside_down")
    forms += [Phrase("mug", None, Clause("posture", word)) for word in postures]
    forms += [Phrase("mug", None, Clause("hidden")), Phrase("mug", "red", negated=True)]
    forms += [Phrase("mug", None, Clause("between", "", (ball, Phrase("thing", "blue"))))]
    forms += [Phrase("mug", "red", Clause("closest", "", (ball,)), negated=True)]
    for form in forms:
        for number in (1, 0, 2):
            kind = form.clause.kind if form.clause else ""
            if number != 1 and kind in ("extreme", "ordinal", "closest"):
                continue
            many = Phrase(form.noun, form.color, form.clause, form.negated, number)
            for turn in range(24):
                luck = Luck(np.random.Generator(np.random.Philox(turn)).random(24).tolist())
                for style in ("phrase", "request"):
                    parse(realise(many, "en", style, luck).text, words)


@pytest.mark.parametrize(("name", "one", "many"), [
    ("bow_(decorative_ribbons)", "the red bow", "all the red bows"),
    ("coffee_maker", "the red coffee maker", "all the red coffee makers"),
    ("can_opener", "the red can opener", "all the red can openers"),
    ("hand_towel", "the red hand towel", "all the red hand towels"),
    ("butter_knife", "the red butter knife", "all the red butter knives"),
    ("cherry", "the red cherry", "all the red cherries"),
    ("wineglass", "the red wineglass", "all the red wineglasses"),
    ("scissors", "the red scissors", "all the red scissors"),
    ("mouse_(computer_equipment)", "the red mouse", "all the red mice"),
    ("snowman", "the red snowman", "all the red snowmen"),
    ("cherry_tomato", "the red cherry tomato", "all the red cherry tomatoes"),
])  # fmt: skip
def test_names_outside_the_table(name, one, many):
    from objaverse_render_addon.compose.nouns import key_of

    words = lexicon([key_of(name)])
    for number, wanted in ((1, one), (0, many)):
        form = Phrase(key_of(name), "red", number=number)
        said = set()
        for turn in range(30):
            luck = Luck(np.random.Generator(np.random.Philox(turn)).random(24).tolist())
            text = realise(form, "en", "phrase", luck).text
            said.add(text)
            (noun,) = [t for t in parse(text, words).children if getattr(t, "type", "") == "NOUN"]
            assert noun == key_of(name)
        assert wanted in said


def test_forms_survive_being_written():
    form = Phrase("mug", "red", Clause("between", "", (Phrase("ball"), Phrase("can"))), number=2)
    assert Phrase.from_list(json.loads(json.dumps(form.to_list()))) == form


def test_how_many_are_drawn(tmp_path):
    made.write(tmp_path / "a", made.scattered(2), [FRONT])
    data = expressions.write(tmp_path / "a", Quotas(per_view=3))
    assert 1 <= len([one for one in data["expressions"] if not one["id"].endswith("-no")]) <= 3


def test_swapped_pairs_mean_two_things(scenes):
    pairs = 0
    for folder in scenes.iterdir():
        ids = {one["id"]: one for one in said(folder)}
        for one in ids.values():
            if one["id"].endswith("-sw"):
                other = ids[one["pair"]]
                assert one["edit"] in ("relation", "order") and one["kind"] == "single"
                assert one["form"] != other["form"] and one["targets"] != other["targets"]
                pairs += 1
    assert pairs > 5


def test_warm_light_takes_the_word_for_yellow(tmp_path):
    """6: what some would call orange as it is lit is neither yellow nor orange."""
    placed = [made.Placed("cube", "yellow", -0.2, 0.0),
              made.Placed("ball", "blue", 0.2, 0.0, scale=1.6)]  # fmt: skip
    made.write(tmp_path / "a", placed, [FRONT], tint=(1.0, 0.82, 0.6))
    rel = relations(tmp_path / "a")
    assert rel.color_of[0] is None
    for word in ("yellow", "orange"):
        assert not denote(rel, Phrase("thing", word)).sure
    made.write(tmp_path / "b", placed, [FRONT])
    assert relations(tmp_path / "b").color_of == ["yellow", "blue"]


# Free space.


def free_in(folder):
    return json.loads((folder / "expressions.json").read_text())["places"]


def test_free_space_is_where_the_words_say(tmp_path):
    placed = [made.Placed("ball", "red", 0.0, 0.0), made.Placed("cube", "blue", 0.25, 0.0)]
    made.write(tmp_path / "a", placed, [FRONT])
    with AssetReader(tmp_path / "a") as asset:
        scene = Scene.read(tmp_path / "a" / "scene.json")
        rel = Relations(facts_of(scene, 0, asset))
        arrays = asset.read(0, ("depth", "instance_index"))
        floor = floor_of(rel, asset.view(0).camera, arrays["depth"], arrays["instance_index"])
    left = margin_of(rel, floor, Clause("relation", "left"), (0,))
    # The camera stands at -Y: its right is +X.
    x, y = floor.at.T
    near = np.hypot(x, y) < 0.2
    assert (left[(np.abs(y) < 0.05 * -x) & (x < -0.1) & near] >= 1).all()
    assert (left[x > 0.02] <= 0).all() and (left[np.abs(y) > 6 * np.abs(x)] <= -1).any()
    away = np.min([np.hypot(x - p.x, y - p.y) for p in placed], axis=0)
    assert (floor.free[away < 0.03] <= -1).all() and (floor.free[away > 0.09] >= -1).all()
    between = margin_of(rel, floor, Clause("between"), (0, 1))
    assert (between[(np.abs(x - 0.125) < 0.01) & (np.abs(y) < 0.005)] >= 1).all()
    assert (between[x < 0] <= 0).all()


def test_every_free_pixel_is_proved_and_a_wrong_one_is_found(scenes, tmp_path):
    proved_ = sum((proved(folder).proved["place"] for folder in scenes.iterdir()), 0)
    assert proved_ == sum(len(one["texts"]) for f in scenes.iterdir() for one in free_in(f)) > 20
    folder = next(f for f in sorted(scenes.iterdir()) if len(free_in(f)) > 2)
    for change in ("mask", "word", "thing"):
        there = tmp_path / change
        shutil.copytree(folder, there)
        data = json.loads((there / "expressions.json").read_text())
        data["expressions"] = []
        one = data["places"][0]
        if change == "mask":
            first = one["mask"]["counts"]
            first[0], first[-1] = first[0] - 8 * one["mask"]["size"][0], first[-1] + 8 * 120
        elif change == "thing":
            one["references"] = [99]
        else:
            swap = {"left": "right", "right": "left", "front": "behind", "behind": "front"}
            one["texts"][0]["text"] = " ".join(
                swap.get(word, word) for word in one["texts"][0]["text"].split()
            ) + ("" if one["type"] == "direction" else " of the thing")
        (there / "expressions.json").write_text(json.dumps(data))
        assert any(one["id"] in problem for problem in proved(there).problems), change


def test_what_may_be_called_a_table_leaves_the_support_unnamed(scenes):
    for folder in scenes.iterdir():
        for one in free_in(folder):
            noun = one["form"][1]
            for text in one["texts"]:
                assert ("on the table" in text["text"]) == (noun == "space:table")
