"""A search beside the caller: what it finds, tells and fetches, and that it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import made_up_annotations as made_up
import pytest
from objaverse_server import Server, serving, slowly, status

from objaverse_render_addon.assets.annotations import SHARDS
from objaverse_render_addon.assets.browser import Browser
from objaverse_render_addon.assets.catalogue import Query
from objaverse_render_addon.errors import DownloadFailed, InvalidJob, OnlineAccessDenied

JPEG = b"\xff\xd8\xff\xe0" + b"0" * 500


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as started:
        yield started


@pytest.fixture
def browser(server: Server, tmp_path: Path) -> Iterator[Browser]:
    """Of a cache with 300 objects, whose pictures the server has."""
    records = list(made_up.many(300))
    for record in records:
        name = f"pictures/{record['uid']}.jpeg"
        server.files[name] = JPEG
        url = f"{server.endpoint}/datasets/allenai/objaverse/resolve/main/{name}"
        record["thumbnails"] = {"images": [{"url": url, "width": 256}]}
    made_up.write(tmp_path, records, {"chair": [records[0]["uid"]]})
    found = Browser({"download_dir": str(tmp_path), "endpoint": server.endpoint, "online": True})
    yield found
    found.close()


def searched(browser: Browser, **words: Any) -> list[str]:
    browser.search(Query(**words))
    browser.wait()
    return [entry.uid for entry in browser.entries]


def pictures(browser: Browser) -> dict[str, Path]:
    """All that come until nothing goes on any more."""
    found: dict[str, Path] = {}
    deadline = time.monotonic() + 20
    while browser.busy and time.monotonic() < deadline:
        found.update(browser.poll())
        time.sleep(0.01)
    return {**found, **dict(browser.poll())}


def test_a_search_finds_and_counts(browser: Browser):
    assert browser.total is None
    found = searched(browser, text="chair", limit=5)
    assert len(found) == 5
    assert browser.total is not None and browser.total > 5
    assert (browser.error, browser.status, browser.notice) == (None, "", "")
    assert browser.categories == ["chair"]
    assert browser.is_open


def test_pictures_come_once_and_from_the_cache_later(browser: Browser, server: Server):
    found = searched(browser, text="chair", limit=20)
    came = pictures(browser)
    assert set(came) == set(found)
    assert {path.read_bytes() for path in came.values()} == {JPEG}
    asked = len(server.asked)
    assert asked == len(found)
    assert set(searched(browser, text="chair", limit=20)) == set(pictures(browser))
    assert len(server.asked) == asked


def test_a_picture_that_cannot_be_had_is_left_out(browser: Browser, server: Server):
    found = searched(browser, text="lamp", limit=4)
    pictures(browser)
    for path in browser._thumbnails.folder.glob("*.jpg"):
        path.unlink()
    server.orders[f"pictures/{found[0]}.jpeg"] = [status(404)]
    searched(browser, text="lamp", limit=4)
    assert set(pictures(browser)) == set(found[1:])


@pytest.mark.usefixtures("browser")
def test_without_the_network_none_is_asked_for(server: Server, tmp_path: Path):
    offline = Browser({"download_dir": str(tmp_path), "online": False})
    assert searched(offline, text="chair")
    assert pictures(offline) == {}
    offline.close()
    assert server.asked == []


def test_an_error_is_told_and_forgotten_with_the_next_search(browser: Browser):
    assert searched(browser, lvis=("no such thing",)) == []
    assert isinstance(browser.error, InvalidJob)
    assert searched(browser, text="chair")
    assert browser.error is None


def test_the_last_of_many_searches_wins(browser: Browser):
    expected = searched(browser, text="sword", limit=7)
    for text in ("chair", "lamp", "dragon", "car", "house") * 5:
        browser.search(Query(text))
    browser.search(Query("sword", limit=7))
    while browser.searching:
        time.sleep(0.005)
    assert [entry.uid for entry in browser.entries] == expected


def test_no_annotations_and_no_network_is_an_error(tmp_path: Path):
    browser = Browser({"download_dir": str(tmp_path), "online": False})
    assert searched(browser) == []
    assert isinstance(browser.error, OnlineAccessDenied)
    browser.close()


def test_a_server_without_annotations_is_an_error(server: Server, tmp_path: Path):
    browser = Browser({"download_dir": str(tmp_path), "endpoint": server.endpoint})
    assert searched(browser) == []
    assert isinstance(browser.error, DownloadFailed)
    browser.close()


def test_the_making_of_the_index_is_told_and_can_be_stopped(server: Server, tmp_path: Path):
    for name, content in made_up.shards(made_up.many(160)).items():
        server.files[name] = made_up.packed(content)
    server.files["lvis-annotations.json.gz"] = made_up.packed({})
    server.orders[SHARDS[40]] = [slowly(10, 0.3)] * 5
    browser = Browser({"download_dir": str(tmp_path), "endpoint": server.endpoint})
    browser.search(Query("chair"))
    deadline = time.monotonic() + 20
    while browser.share < 0.1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert browser.status.startswith("Reading annotations: ")
    since = time.monotonic()
    browser.cancel()
    browser.wait()
    assert time.monotonic() - since < 60
    assert (browser.status, browser.error, browser.entries) == ("", None, [])
    # What was fetched stays, and the next search goes on from there.
    assert (tmp_path / "hf-objaverse-v1" / SHARDS[5]).is_file()
    server.orders.clear()
    assert searched(browser, text="chair") and browser.total
    browser.close()


def test_closing_ends_every_thread(browser: Browser, server: Server):
    for name in list(server.files):
        server.orders[name] = [slowly(10, 0.2)]
    browser.search(Query("chair"))
    time.sleep(0.3)
    browser.close()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        names = [thread.name for thread in threading.enumerate()]
        if not any(name.startswith("objaverse-") for name in names):
            return
        time.sleep(0.05)
    raise AssertionError(names)
