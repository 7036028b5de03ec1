"""Blind probes: what they find where there is something, and that there is nothing in ours."""

from __future__ import annotations

import made
import numpy as np
import pytest

from objaverse_render_addon.compose import expressions
from objaverse_render_addon.compose.facts import facts_of
from objaverse_render_addon.compose.probes import Question, probe, questions_of, refgrasp_rule
from objaverse_render_addon.compose.record import Scene
from objaverse_render_addon.compose.relations import Relations
from objaverse_render_addon.dataset.reader import AssetReader


def made_up(chosen):
    rng = np.random.Generator(np.random.Philox(1))
    questions = []
    for number in range(400):
        features = rng.normal(size=(8, 7))
        questions.append(Question(number, chosen(features, rng), features, (0, 1)))
    return questions


def test_a_set_that_always_means_the_largest_is_found_out():
    found = probe(made_up(lambda features, rng: int(features[:, 0].argmax())))
    assert found["largest"] == 1 and found["trained"] > 0.9 and found["chance"] == 0.125


def test_a_set_that_means_anything_is_not():
    found = probe(made_up(lambda features, rng: int(rng.integers(8))))
    for name in ("largest", "central", "nearest", "trained"):
        assert found[name] < 0.125 + 0.08
    assert found["category_word"] == 0.5


def test_no_questions_have_no_answer():
    assert probe([]) == {}


@pytest.mark.long
def test_ours_cannot_be_solved_blind(tmp_path):
    """Goal: the best probe at most 5 points above chance."""
    for seed in range(60):
        cameras = [made.camera_at(37 * seed + a, e) for a, e in ((0, 40), (130, 30), (220, 50))]
        made.write(tmp_path / f"s{seed}", made.scattered(seed, 10), cameras, seed=seed, index=seed)
        expressions.write(tmp_path / f"s{seed}")
    found = probe(questions_of(sorted(tmp_path.iterdir())))
    for name in ("largest", "central", "nearest", "most_frequent", "least_hidden"):
        assert found[name] <= found["chance"] + 0.05, found
    assert found["trained"] <= found["trained_chance"] + 0.05, found
    assert found["category_word"] <= 0.5, found


def test_refgrasps_rule_is_wrong_where_the_plan_is(tmp_path):
    """Two neighbours of the plan that a collision turned round."""
    placed = [made.Placed("ball", "red", 0.2, 0.0), made.Placed("cube", "blue", -0.2, 0.0)]
    scene = made.write(tmp_path / "a", placed, [made.camera_at()])
    data = scene.to_dict()
    data["objects"][0]["grid"], data["objects"][1]["grid"] = [0, 0], [0, 1]
    Scene.from_dict(data).write(tmp_path / "a/scene.json")
    with AssetReader(tmp_path / "a") as asset:
        scene = Scene.read(tmp_path / "a/scene.json")
        found = refgrasp_rule(scene, Relations(facts_of(scene, 0, asset)))
    assert found["direction/false"] == 2 and found["direction/true"] == 0
    assert found["extreme/false"] == 2
