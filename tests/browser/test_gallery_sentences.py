"""A composed scene in the gallery: its masks, what is said of it, and which objects it means."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.dataset.export.masks import mask_of
from objaverse_render_addon.dataset.gallery import build_gallery
from objaverse_render_addon.dataset.reader import AssetReader

from .conftest import Page

sys.path.append(str(Path(__file__).parents[1] / "compose"))

import made


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from objaverse_render_addon.compose import expressions

    out = tmp_path_factory.mktemp("scenes")
    cameras = [made.camera_at(20, 35), made.camera_at(140, 30)]
    made.write(out / "scene-000000", made.scattered(3, 8), cameras, seed=3)
    expressions.write(out / "scene-000000")
    build_gallery(out, jobs=1)
    return out


def said(scenes: Path, view: int) -> list[dict[str, Any]]:
    record = json.loads((scenes / "scene-000000/expressions.json").read_text())
    return [one for one in record["expressions"] if one["view"] == view]


def places(scenes: Path) -> list[dict[str, Any]]:
    path = scenes / "scene-000000" / "expressions.json"
    return json.loads(path.read_text(encoding="utf-8"))["places"]


def filled(page: Page, selector: str, width: int, height: int) -> np.ndarray:
    """The pixels whose middle the browser says is inside a path."""
    code = """(function (selector, width, height) {
      const path = document.querySelector(selector);
      const found = [];
      for (let y = 0; y < height; y++) for (let x = 0; x < width; x++)
        found.push(path.isPointInFill(new DOMPoint(x + 0.5, y + 0.5)));
      return found;
    })(...arguments)"""
    inside = page.js(code, selector, width, height)
    return np.array(inside).reshape(height, width)


def test_masks_are_the_pictures_and_sentences_light_whom_they_mean(page: Page, scenes: Path):
    from selenium.webdriver import ActionChains

    page.size(1280, 1400)
    page.open(scenes / "gallery/index.html", "#asset=scene-000000&view=1&pass=rgb")
    page.wait("document.querySelectorAll('.said .one').length > 3")
    stored = said(scenes, 1)
    texts = page.js("[...document.querySelectorAll('.said .text')].map(t => t.textContent)")
    free = [one for one in places(scenes) if one["view"] == 1]
    assert free and texts == [one["texts"][0]["text"] for one in [*stored, *free]]

    # What lies over the picture is the mask, to the pixel.
    with AssetReader(scenes / "scene-000000") as asset:
        ids = asset.read(1, ("instance_index",))["instance_index"]
    shown = set(page.js("[...document.querySelectorAll('.outlines g:not(.place)')]"
                        ".map(g => +g.dataset.id)"))
    assert shown == set(np.unique(ids).tolist()) - {0, made.TABLE}
    for one in sorted(shown)[:3]:
        mask = filled(page, f".outlines g[data-id='{one}'] path", ids.shape[1], ids.shape[0])
        assert np.array_equal(mask, ids == one)
    canvas, overlay = page.js(
        "['.stage > canvas', '.stage > .outlines'].map((s) => {"
        " const r = document.querySelector(s).getBoundingClientRect();"
        " return [r.x, r.y, r.width, r.height]; })"
    )
    assert np.allclose(canvas, overlay, atol=0.5)

    # Under the mouse: exactly the targets, and what is mentioned.
    lit = "[...document.querySelectorAll('.outlines g.{}')].map(g => +g.dataset.id).sort()"
    mentions = next(one for one in stored if one["references"] and one["kind"] == "single")
    nothing = next((one for one in stored if one["kind"] == "none"), None)
    for one in filter(None, (mentions, nothing)):
        button = page.find(f".said .one[data-id='{one['id']}']")
        page.run("arguments[0].scrollIntoView({block: 'nearest'})", button)
        ActionChains(page.driver).move_to_element(button).perform()
        page.wait("document.querySelector('.outlines.lit')")
        assert page.js(lit.format("target")) == sorted(one["targets"])
        assert page.js(lit.format("reference")) == sorted(one["references"])
        margin = page.js("arguments[0].querySelector('.margin').textContent", button)
        assert float(margin.split()[1]) == pytest.approx(one["margin"], abs=0.006)
        spans = page.js(
            "[...arguments[0].querySelectorAll('.span-references')].map(s => s.textContent)", button
        )
        first = one["texts"][0]
        marks = first["spans"]["references"]
        told = [c for at, c in enumerate(first["text"]) if any(a <= at < b for a, b in marks)]
        assert "".join(spans) == "".join(told)
    ActionChains(page.driver).move_to_element(page.find("#detail-name")).perform()
    page.wait("!document.querySelector('.outlines.lit')")

    # Free space: its pixels, its points in them, and what is mentioned.
    one = free[0]
    button = page.find(f".said .space[data-id='{one['id']}']")
    page.run("arguments[0].scrollIntoView({block: 'nearest'})", button)
    ActionChains(page.driver).move_to_element(button).perform()
    page.wait("document.querySelector('.outlines .place.target')")
    mask = filled(page, ".outlines .place.target path", ids.shape[1], ids.shape[0])
    assert np.array_equal(mask, mask_of(one["mask"]))
    spots = page.js("[...document.querySelectorAll('.place.target circle')].map("
                    "c => [+c.getAttribute('cx') - 0.5, +c.getAttribute('cy') - 0.5])")
    assert spots == [[x, y] for x, y, _ in one["points"]]
    assert page.js(lit.format("reference")) == sorted(one["references"])
    ActionChains(page.driver).move_to_element(page.find("#detail-name")).perform()

    # A click keeps it lit; another view lets go of it.
    page.find(f".said .one[data-id='{mentions['id']}']").click()
    ActionChains(page.driver).move_to_element(page.find("#detail-name")).perform()
    assert page.js(lit.format("target")) == sorted(mentions["targets"])
    page.keys("\ue012")
    page.wait("document.querySelector('.said .one').dataset.id.startsWith('v0')")
    assert not page.js("document.querySelector('.outlines.lit')")
    page.keys("o", "o")
    assert page.js("getComputedStyle(document.querySelector('.outlines')).display") == "none"


def test_the_graph_has_every_relation_that_is_sure_or_in_doubt(page: Page, scenes: Path):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.ui import Select

    from objaverse_render_addon.compose.facts import facts_of
    from objaverse_render_addon.compose.record import Scene
    from objaverse_render_addon.compose.relations import Relations

    page.open(scenes / "gallery/index.html", "#asset=scene-000000&view=1&pass=rgb")
    page.wait("document.querySelectorAll('.related .node').length > 3")
    scene = Scene.read(scenes / "scene-000000/scene.json")
    with AssetReader(scenes / "scene-000000") as asset:
        found = Relations(facts_of(scene, 1, asset))
    there = np.flatnonzero(found.there)
    Select(page.find(".related select")).select_by_value("left")
    lines = page.js(
        "[...document.querySelectorAll('.related line')].map(l => "
        "[+l.dataset.from, +l.dataset.to, l.classList.contains('sure')])"
    )
    margin = found.pair("left")
    told = [
        [scene.objects[a].id, scene.objects[b].id, bool(margin[a, b] >= 1)]
        for a in there for b in there if a != b and margin[a, b] > -1
    ]  # fmt: skip
    assert sorted(lines) == sorted(told) and any(sure for _, _, sure in told)
    # From above, the viewer in front: what is sure to be left of something is drawn there.
    at = dict(page.js(
        "[...document.querySelectorAll('.related .node')].map(n => [+n.dataset.id,"
        " +n.querySelector('circle').getAttribute('cx')])"
    ))  # fmt: skip
    assert all(at[a] < at[b] for a, b, sure in told if sure)
    # Under the mouse its own arrows stay, and the picture shows it.
    one = next(a for a, _, sure in told if sure)
    node = page.find(f".related .node[data-id='{one}'] circle")
    page.run("arguments[0].scrollIntoView({block: 'center'})", node)
    ActionChains(page.driver).move_to_element(node).perform()
    page.wait("document.querySelector('.outlines.lit')")
    kept = page.js(
        "[...document.querySelectorAll('.related line:not(.away)')].map(l => "
        "[+l.dataset.from, +l.dataset.to])"
    )
    assert sorted(kept) == sorted([a, b] for a, b, _ in told if one in (a, b))
    # A sentence lights its nodes.
    mentions = next(s for s in said(scenes, 1) if s["references"] and s["kind"] == "single")
    button = page.find(f".said .one[data-id='{mentions['id']}']")
    page.run("arguments[0].scrollIntoView({block: 'center'})", button)
    ActionChains(page.driver).move_to_element(button).perform()
    lit = "[...document.querySelectorAll('.related .node.{}')].map(n => +n.dataset.id).sort()"
    page.wait("document.querySelector('.related .node.target')")
    assert page.js(lit.format("target")) == sorted(mentions["targets"])
    assert page.js(lit.format("reference")) == sorted(mentions["references"])


def test_doubts_of_objects_are_said(page: Page, scenes: Path):
    page.open(scenes / "gallery/index.html", "#asset=scene-000000&view=0&pass=rgb")
    page.wait("document.querySelectorAll('.things .thing').length")
    looks = json.loads((scenes / "scene-000000/scene.json").read_text())["views"][0]["objects"]
    doubts = {
        int(i): text
        for i, text in page.js(
            "[...document.querySelectorAll('.things .thing')].map(b => [b.dataset.id,"
            " [...b.querySelectorAll('.doubt')].map(d => d.textContent).join('; ')])"
        )
    }
    assert set(doubts) == {look["id"] for look in looks}
    for look in looks:
        assert (look["visible_fraction"] < 0.4) == ("hidden" in doubts[look["id"]])
    meant = {one for two in said(scenes, 0) for one in two["targets"]}
    assert not any("never meant" in doubts[one] or "nothing" in doubts[one] for one in meant)


def test_a_page_of_other_sentences_is_made_again(scenes: Path, tmp_path: Path):
    import os

    assert build_gallery(scenes, tmp_path / "page", jobs=1).made == 1
    assert build_gallery(scenes, tmp_path / "page", jobs=1).made == 0
    path = scenes / "scene-000000/expressions.json"
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))
    assert build_gallery(scenes, tmp_path / "page", jobs=1).made == 1


def test_another_language_is_chosen(page: Page, scenes: Path, tmp_path: Path):
    import shutil

    from selenium.webdriver.support.ui import Select

    shutil.copytree(scenes / "scene-000000", tmp_path / "data/scene-000000")
    path = tmp_path / "data/scene-000000/expressions.json"
    record = json.loads(path.read_text())
    for one in record["expressions"]:
        # A letter beyond 16 bits: spans count it once.
        text = "\U00020bb7 " + one["id"]
        spans = {"target": [[0, 1]], "head": [], "references": []}
        one["texts"] = [one["texts"][0] | {"language": "en"}]
        one["texts"].append({"language": "zh", "style": "phrase", "text": text, "spans": spans})
    path.write_text(json.dumps(record))
    page.open(build_gallery(tmp_path / "data", jobs=1).page, "#asset=scene-000000&view=0&pass=rgb")
    page.wait("document.querySelector('.said select')")
    Select(page.find(".said select")).select_by_value("zh")
    wanted = ["\U00020bb7 " + one["id"] for one in record["expressions"] if one["view"] == 0]
    found = "[...document.querySelectorAll('.said .text')].map(t => t.textContent)"
    assert page.js(found) == wanted
    assert page.text(".said .span-target") == "\U00020bb7"
    assert page.js("document.querySelector('.said .text').lang") == "zh"
