from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gallery_data import HARM, add_asset, doubtful, hostile, job_of
from PIL import Image
from stored import LAYOUTS, store

from objaverse_render_addon.batch.queue.ledger import Ledger
from objaverse_render_addon.batch.queue.rows import AssetOutcome, QueueEntry
from objaverse_render_addon.cli import main
from objaverse_render_addon.dataset import coloring
from objaverse_render_addon.dataset.gallery import build, build_gallery, failures, open_gallery
from objaverse_render_addon.dataset.gallery.asset import CARD_SIZE
from objaverse_render_addon.dataset.gallery.card import card_of
from objaverse_render_addon.dataset.gallery.pictures import Sheets
from objaverse_render_addon.dataset.gallery.script import plain, script
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.errors import InvalidJob, OutputExists, SourceNotFound

PAGE = Path(build.__file__).parent / "page"


def data_in(path: Path) -> Any:
    """What a script hands to the page."""
    text = path.read_bytes().decode("ascii")
    found = re.fullmatch(r'gallery\.receive\("([\w-]+)","([\w-]+)",(".*")\);\n', text, re.DOTALL)
    assert found, text[:80]
    return json.loads(json.loads(found[3]))


def cards_in(page: Path) -> dict[str, dict[str, Any]]:
    catalogue = data_in(page.parent / "catalogue.js")
    cards = [c for name in catalogue["chunks"] for c in data_in(page.parent / f"index/{name}.js")]
    assert len(cards) == catalogue["total"]
    return {card["i"]: card for card in cards}


def folder_of(page: Path, card: dict[str, Any]) -> Path:
    return page.parent / "assets" / card["k"][:2] / card["k"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dataset")
    add_asset(out, "clean")
    add_asset(out, "doubtful", change=doubtful, views=4)
    return out


@pytest.fixture
def dataset(tmp_path: Path, original: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "data"))


# --- What is made ---------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_asset_has_its_card_pictures_and_record(tmp_path: Path, layout: str):
    asset = add_asset(tmp_path / "original", "doubtful", change=doubtful)
    store([asset], tmp_path / "data", layout)
    gallery = build_gallery(tmp_path / "data")
    assert gallery.page == tmp_path / "data" / "gallery" / "index.html"
    assert (gallery.assets, gallery.made, gallery.failed) == (1, 1, 0)
    (card,) = cards_in(gallery.page).values()
    assert card["n"] == "Doubtful thing"
    assert (card["l"], card["c"], card["t"]) == ("by", ["furniture"], ["wood", "old"])
    assert (card["d"], card["w"], card["r"]) == (["object_in_frame"], [], "")
    folder = folder_of(gallery.page, card)
    seen = data_in(folder / "detail.js")
    assert [p["name"] for p in seen["passes"]] == list(job_of().pixels.passes)
    assert len(seen["views"]) == 6
    for pass_ in seen["passes"]:
        assert all((folder / name).is_file() for name in pass_["files"])
    with Image.open(folder / "card.webp") as image:
        assert image.size == (CARD_SIZE, CARD_SIZE)
    with Image.open(folder / "turn.webp") as image:
        assert image.size == (card["turn"] * CARD_SIZE, CARD_SIZE)


def test_a_dataset_behind_a_url_has_its_page_here(dataset: Path, tmp_path: Path):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(dataset), "/gallery-test", recursive=True)
    try:
        with pytest.raises(InvalidJob, match="no local folder"):
            build_gallery("memory://gallery-test")
        gallery = build_gallery("memory://gallery-test", tmp_path / "page")
        assert (gallery.made, gallery.failed) == (2, 0)
        assert build_gallery("memory://gallery-test", tmp_path / "page").made == 0
    finally:
        memory.rm("/gallery-test", recursive=True)


def test_a_tile_of_depth_has_exactly_the_colours_of_its_numbers(dataset: Path):
    page = build_gallery(dataset).page
    card = cards_in(page)["clean"]
    seen = data_in(folder_of(page, card) / "detail.js")
    depth = next(p for p in seen["passes"] if p["name"] == "depth")
    (width, height), columns = seen["tile"], depth["columns"]
    with Image.open(folder_of(page, card) / depth["files"][0]) as image:
        sheet = np.asarray(image.convert("RGBA"))
    with AssetReader(dataset / "clean") as reader:
        everything = [reader.read(i) for i in range(len(reader.views))]
    values = np.concatenate([a["depth"][a["mask"] == 1] for a in everything])
    assert depth["span"] == pytest.approx([values.min(), values.max()], rel=1e-5)
    for index, arrays in enumerate(everything):
        top, left = index // columns * height, index % columns * width
        tile = sheet[top : top + height, left : left + width]
        mask = arrays["mask"] == 1
        expected = coloring.colored("depth", arrays["depth"], mask, tuple(depth["span"]))
        assert np.abs(tile[mask].astype(int) - expected[mask]).max() <= 1
        assert (tile[..., 3] == mask * 255).all()
        assert seen["views"][index]["coverage"] == pytest.approx(mask.mean(), rel=1e-4)


def test_the_cloud_lies_on_the_object(dataset: Path):
    page = build_gallery(dataset).page
    seen = data_in(folder_of(page, cards_in(page)["clean"]) / "detail.js")
    cloud = seen["cloud"]
    steps = np.frombuffer(base64.b64decode(cloud["points"]), "<u2").reshape(-1, 3)
    points = np.array(cloud["low"]) + steps / 65535 * np.array(cloud["size"])
    assert len(points) > 1000
    assert len(base64.b64decode(cloud["colors"])) == 3 * len(points)
    low, high = np.array(seen["box"])
    assert (points > low - 1e-3).all()
    assert (points < high + 1e-3).all()


def test_views_are_numbered_through_all_sheets():
    sheets = Sheets("rgb", (1000, 500), 70, exact=True)
    assert (sheets.columns, sheets.per_sheet) == (4, 32)
    for number in range(70):
        sheets.add(np.full((500, 1000, 4), number, np.uint8))
    assert list(sheets.files) == ["rgb-0.webp", "rgb-1.webp", "rgb-2.webp"]
    with Image.open(io.BytesIO(sheets.files["rgb-2.webp"])) as last:
        pixels = np.asarray(last.convert("RGBA"))
    assert pixels.shape[:2] == (1000, 4000)
    assert pixels[250, 500, 3] == 64
    assert pixels[750, 1500, 3] == 69


def test_a_gallery_of_a_limit_has_no_more(dataset: Path, tmp_path: Path):
    gallery = build_gallery(dataset, tmp_path / "page", limit=1)
    assert list(cards_in(gallery.page)) == ["clean"]


def test_without_pillow_the_pictures_are_png(dataset: Path, monkeypatch: pytest.MonkeyPatch):
    """As inside Blender, which has no imaging library."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    gallery = build_gallery(dataset)
    assert (gallery.made, gallery.failed) == (2, 0)
    card = cards_in(gallery.page)["clean"]
    assert card["p"] == "png"
    monkeypatch.undo()
    with Image.open(folder_of(gallery.page, card) / "card.png") as image:
        assert image.size == (CARD_SIZE, CARD_SIZE)
        assert np.asarray(image)[..., 3].max() == 255


# --- Made again -----------------------------------------------------------------------------


def test_what_did_not_change_is_not_made_again(dataset: Path):
    first = build_gallery(dataset)
    before = {p: p.stat().st_mtime_ns for p in first.page.parent.rglob("*") if p.is_file()}
    second = build_gallery(dataset)
    assert (first.made, second.made, second.removed) == (2, 0, 0)
    after = {p: p.stat().st_mtime_ns for p in first.page.parent.rglob("*") if p.is_file()}
    changed = {path.name for path in before if before[path] != after.get(path)}
    assert changed <= {"catalogue.js", ".objaverse-gallery"}


def test_only_the_asset_that_changed_is_made_again(dataset: Path):
    build_gallery(dataset)
    path = dataset / "clean" / "metadata.json"
    record = json.loads(path.read_text())
    record["metadata"] = {"name": "Another name"}
    path.write_text(json.dumps(record))
    gallery = build_gallery(dataset)
    assert gallery.made == 1
    assert cards_in(gallery.page)["clean"]["n"] == "Another name"


def test_an_asset_that_is_gone_leaves_nothing(dataset: Path):
    page = build_gallery(dataset).page
    folder = folder_of(page, cards_in(page)["doubtful"])
    assert folder.is_dir()
    shutil.rmtree(dataset / "doubtful")
    gallery = build_gallery(dataset)
    assert (gallery.removed, gallery.made) == (1, 0)
    assert list(cards_in(page)) == ["clean"]
    assert not folder.exists()
    assert len(list((page.parent / "index").iterdir())) == 1


def test_another_size_makes_everything_again(dataset: Path):
    build_gallery(dataset)
    gallery = build_gallery(dataset, size=32)
    assert gallery.made == 2
    seen = data_in(folder_of(gallery.page, cards_in(gallery.page)["clean"]) / "detail.js")
    assert seen["tile"] == [32, 28]


def test_a_stopped_run_goes_on_where_it_was(dataset: Path):
    for number in range(4):
        shutil.copytree(dataset / "clean", dataset / f"copy-{number}")

    def stop(done: int, *_: Any) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_gallery(dataset, jobs=1, on_asset=stop)
    assert not (dataset / "gallery" / "catalogue.js").exists()
    gallery = build_gallery(dataset, jobs=1)
    assert gallery.assets == 6
    assert gallery.made <= 3


def test_a_folder_that_is_no_gallery_is_left_alone(dataset: Path, tmp_path: Path):
    precious = tmp_path / "precious" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("years of work")
    with pytest.raises(OutputExists, match="precious"):
        build_gallery(dataset, precious.parent)
    assert list(precious.parent.iterdir()) == [precious]


def test_the_gallery_is_no_asset_of_its_dataset(dataset: Path):
    build_gallery(dataset)
    assert build_gallery(dataset).assets == 2


def test_few_tasks_are_begun_before_their_turn():
    begun, lock = [], threading.Lock()

    def work(item: int) -> int:
        with lock:
            begun.append(item)
        return item

    taken = []
    with ThreadPoolExecutor(2) as pool:
        for item in build._in_order(pool, ((work, n) for n in range(40)), 4):
            time.sleep(0.001)
            taken.append(item)
            assert len(begun) <= len(taken) + 4
    assert taken == list(range(40))


# --- What fails -----------------------------------------------------------------------------


def test_a_broken_asset_is_a_failure_with_its_reason(dataset: Path):
    (dataset / "doubtful" / "002_depth.npy").write_bytes(b"\x93NUMPY")
    gallery = build_gallery(dataset)
    assert (gallery.assets, gallery.failed) == (2, 1)
    card = cards_in(gallery.page)["doubtful"]
    assert card["r"] == "truncated-file"
    failure = data_in(folder_of(gallery.page, card) / "failure.js")
    assert "002_depth.npy" in failure["message"]
    assert failure["hint"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: record.pop("normalization"),
        lambda record: record.update(views=[]),
        lambda record: record.update(views=[{}]),
        lambda record: record["views"][0].update(intrinsics=[[0, 0, 0]] * 3),
        lambda record: record["views"][0].update(camera_to_world=[["x"] * 4] * 4),
        lambda record: record["views"][0].update(width=10**9),
        lambda record: record["render_settings"].update(modalities=["rgb", "../../etc/passwd"]),
        lambda record: record["views"][0].update(image="../../../etc/passwd"),
    ],
)
def test_metadata_that_lie_end_their_asset_alone(dataset: Path, spoil: Any):
    path = dataset / "doubtful" / "metadata.json"
    record = json.loads(path.read_text())
    spoil(record)
    path.write_text(json.dumps(record))
    gallery = build_gallery(dataset)
    assert gallery.assets == 2
    assert cards_in(gallery.page)["clean"]["r"] == ""


LOST = {
    "asset_id": "lost", "source": "/models/lost.fbx", "reason": "worker-crashed",
    "message": "Blender died.", "hint": "Report it.", "log": "line 1\nline 2",
}  # fmt: skip


def record_failures(folder: Path, *lost: dict[str, str]) -> None:
    """In a ledger, as a run does."""
    with Ledger(folder / ".state" / "ledger.sqlite") as ledger:
        request = ledger.add("request", [QueueEntry(f["source"], f["asset_id"]) for f in lost])
        for row, failure in zip(ledger.claim(request, len(lost)), lost, strict=True):
            said = {key: failure[key] for key in ("reason", "message", "hint", "log")}
            ledger.finish(AssetOutcome(row.id, "failed", **said))


def test_recorded_failures_have_cards(dataset: Path):
    again = {**LOST, "asset_id": "clean", "source": "clean.glb", "reason": "timeout"}
    record_failures(dataset, LOST, again)
    gallery = build_gallery(dataset)
    cards = cards_in(gallery.page)
    assert (gallery.assets, gallery.failed) == (3, 2)
    assert (cards["lost"]["r"], cards["lost"]["y"]) == ("worker-crashed", "fbx")
    assert data_in(folder_of(gallery.page, cards["lost"]) / "failure.js") == LOST
    # What was finished before keeps its pictures, and says that the last attempt failed.
    assert cards["clean"]["r"] == "timeout"
    assert (folder_of(gallery.page, cards["clean"]) / "card.webp").is_file()
    assert build_gallery(dataset).made == 0


def test_a_dataset_of_failures_alone_is_a_gallery(tmp_path: Path):
    with pytest.raises(SourceNotFound):
        build_gallery(tmp_path)
    record_failures(tmp_path, LOST)
    assert build_gallery(tmp_path).assets == 1


def test_without_a_record_there_are_no_failures(tmp_path: Path):
    assert failures(tmp_path) == []


@pytest.mark.parametrize("size", [0, -1, 5000])
def test_a_senseless_size_is_refused(dataset: Path, size: int):
    with pytest.raises(InvalidJob, match=str(size)):
        build_gallery(dataset, size=size)


# --- Data of strangers ----------------------------------------------------------------------


def test_a_script_is_inert_text_whatever_is_in_it():
    data = {"__proto__": [1], "a": "</script><!--\u2028\u2029\ud800 ' \" \\ & `${x}` \0", "ü": None}
    text = script("detail", "key", data)
    assert not set(b"<>&'") & set(text)
    assert text.isascii()
    found = re.fullmatch(rb'gallery\.receive\("detail","key",(".*")\);\n', text)
    assert found
    assert json.loads(json.loads(found[1])) == data


@pytest.mark.parametrize("word", ['a"', "a b", "ä", "a/b", "</script>"])
def test_a_script_is_named_by_plain_words_only(word: str):
    with pytest.raises(ValueError, match="plain word"):
        script("detail", word, {})


def test_what_json_and_javascript_cannot_hold_becomes_text():
    deep: Any = []
    for _ in range(50):
        deep = [deep]
    found = plain({"n": float("nan"), "i": float("inf"), "big": 10**400, "deep": deep, "o": {1, 2}})
    assert (found["n"], found["i"]) == ("nan", "inf")
    assert found["big"].startswith("0x")
    text = json.dumps(found, allow_nan=False)
    assert len(text) < 2000


def test_huge_metadata_are_cut():
    found = plain(
        {"list": list(range(10**6)), "text": "x" * 10**6, "dict": {i: i for i in range(9999)}}
    )
    assert len(json.dumps(found)) < 200_000
    assert found["list"][-1] == "… 998000 more"


def test_an_asset_that_means_harm_is_shown_as_text(tmp_path: Path):
    add_asset(tmp_path, "harm", change=hostile)
    gallery = build_gallery(tmp_path)
    assert gallery.failed == 0
    card = cards_in(gallery.page)["harm"]
    assert card["n"].startswith(HARM)
    for path in gallery.page.parent.rglob("*.js"):
        if path.parent != gallery.page.parent:
            assert not set(b"<>&") & set(path.read_bytes()), path


def test_ids_that_look_like_paths_stay_in_the_gallery(dataset: Path, tmp_path: Path):
    shutil.copytree(dataset / "clean", dataset / "x..%2f..%2f <b>")
    page = build_gallery(dataset, tmp_path / "page").page
    folders = [p.name for p in (page.parent / "assets").glob("*/*")]
    assert all(re.fullmatch("[0-9a-f]{20}", name) for name in folders)
    assert len(folders) == 3


def test_two_assets_of_one_id_both_have_a_card(dataset: Path):
    add_asset(dataset, "clean", layout="zip")
    assert build_gallery(dataset).assets == 3


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, [None], {"a": 1}, [[["x"]]], True])
def test_a_card_is_made_of_any_metadata(value: Any):
    keys = ("metadata", "checks", "seconds", "views", "license", "warnings", "file_name",
            "faces_rendered", "file_size", "file_type")  # fmt: skip
    nested = {"metadata": {"categories": value, "tags": value, "name": value}}
    for metadata in (dict.fromkeys(keys, value), nested):
        card = json.loads(json.dumps(card_of("x", metadata), allow_nan=False))
        # The page takes each key for what it is in every other card.
        assert card.keys() == card_of("x", {}).keys()
        assert card["i"] == "x" and card["n"]
        assert all(isinstance(card[key], str) for key in "inlyr")
        assert all(isinstance(text, str) for key in "wdct" for text in card[key])
        assert all(isinstance(card[key], int | float) for key in "vfbs")


# --- The page -------------------------------------------------------------------------------


def test_the_page_asks_nobody_for_anything():
    for path in PAGE.iterdir():
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        text = text.replace("^https?:", "")
        assert not re.search(r"https?://|//cdn|@import|\bfetch\(|XMLHttpRequest|WebSocket", text), (
            path
        )


def test_the_page_makes_no_markup_out_of_text():
    dangerous = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
    )
    for path in PAGE.glob("*.js"):
        assert not re.search(dangerous, path.read_text("utf-8")), path
    html = (PAGE / "index.html").read_text("utf-8")
    assert "default-src 'none'" in html
    assert "unsafe" not in html
    assert not re.search(r"\son\w+=|<script>|style=", html)


def test_every_script_of_the_page_is_there_and_loaded():
    html = (PAGE / "index.html").read_text("utf-8")
    named = set(re.findall(r'(?:src|href)="([\w.-]+\.\w+)"', html))
    assert named | {"index.html"} == {path.name for path in PAGE.iterdir()}


# --- Commands -------------------------------------------------------------------------------


def test_the_command_makes_the_page_and_says_where(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    target = tmp_path / "page"
    command = ["gallery", str(dataset), "-o", str(target), "--size", "64", "--jobs", "1"]
    assert main(command) == 0
    assert f"{target / 'index.html'}: 2 assets (2 made, 0 unchanged" in capsys.readouterr().out
    assert main(command) == 0
    assert "(0 made, 2 unchanged" in capsys.readouterr().out


def test_the_command_refuses_nonsense_by_name(dataset: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["gallery", str(dataset), "--size", "100000"]) == InvalidJob.exit_code
    assert "100000" in capsys.readouterr().err
    assert main(["gallery", str(dataset / "nothing")]) == SourceNotFound.exit_code


def test_opening_shows_the_page_in_the_browser(dataset: Path, tmp_path: Path):
    told = tmp_path / "told"
    browser = tmp_path / "browser.sh"
    browser.write_text(f'#!/bin/sh\necho "$1" > {told}\n')
    browser.chmod(0o755)
    before = os.environ.get("BROWSER")
    os.environ["BROWSER"] = f"{browser} %s"
    try:
        import webbrowser

        webbrowser._tryorder = None  # Read anew.
        page = open_gallery(dataset)
    finally:
        webbrowser._tryorder = None
        if before is None:
            del os.environ["BROWSER"]
        else:
            os.environ["BROWSER"] = before
    for _ in range(50):
        if told.is_file() and told.read_text():
            break
        time.sleep(0.1)
    assert told.read_text().strip() == page.resolve().as_uri()
