"""Objects come whole or not at all, from a server that does everything that servers do."""

from __future__ import annotations

import contextlib
import gzip
import json
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from helpers import glb_shell as glb
from objaverse_server import (
    Server,
    another_range,
    breaking_off,
    endless,
    ignoring_if_range,
    ignoring_range,
    page,
    resetting,
    sent_on,
    serving,
    silent,
    slowly,
    spoiled,
    stalling,
    status,
    without_length,
    wrong_length,
    zipped,
)

from objaverse_render_addon.assets import transfer as downloads
from objaverse_render_addon.assets.download import download, new_session
from objaverse_render_addon.assets.objaverse import ObjaverseCache, as_uid
from objaverse_render_addon.batch.background import Fetch
from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.errors import (
    ChecksumMismatch,
    DiskFull,
    DownloadFailed,
    Interrupted,
    OnlineAccessDenied,
    OutputNotWritable,
    RenderError,
    SourceNotFound,
    TruncatedFile,
    WrongFormat,
)

UID, OTHER, THIRD = "0" * 32, "ab" * 16, "c1" * 16
INDEX = "object-paths.json.gz"


pytestmark = pytest.mark.usefixtures("in_a_hurry_and_alone")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def cache(server: Server, tmp_path: Path) -> ObjaverseCache:
    return ObjaverseCache(tmp_path / "cache", server.endpoint)


def files_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# --- As the objaverse package -----------------------------------------------------------------


def test_an_object_lies_where_the_objaverse_package_puts_it(server, cache, tmp_path):
    server.add(UID, glb())
    path = cache.fetch(UID)
    assert path == tmp_path / "cache" / "hf-objaverse-v1" / "glbs" / "000-023" / f"{UID}.glb"
    assert path.read_bytes() == glb()
    assert files_in(cache.folder) == [f"glbs/000-023/{UID}.glb", INDEX]
    assert json.loads(gzip.decompress((cache.folder / INDEX).read_bytes())) == server.paths


def test_what_the_objaverse_package_fetched_is_found_and_left_alone(server, tmp_path):
    server.add(UID, glb())
    theirs = tmp_path / "hf-objaverse-v1" / "glbs" / "000-005" / f"{UID}.glb"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"glTF by somebody else")
    before = theirs.stat().st_mtime_ns
    for online in (True, False):
        cache = ObjaverseCache(tmp_path, server.endpoint, online=online)
        assert cache.fetch(UID) == theirs
    assert theirs.read_bytes() == b"glTF by somebody else"
    assert theirs.stat().st_mtime_ns == before
    assert server.asked == []


def test_the_default_folder_and_server_are_the_packages(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    cache = ObjaverseCache()
    assert cache.folder == tmp_path / ".objaverse" / "hf-objaverse-v1"
    assert cache._base == "https://huggingface.co/datasets/allenai/objaverse/resolve/main"
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert ObjaverseCache()._base.startswith("https://mirror.example/datasets/")
    assert ObjaverseCache(endpoint="http://here")._base.startswith("http://here/datasets/")


def test_the_list_of_paths_is_fetched_once(server, cache, tmp_path):
    for uid in (UID, OTHER):
        server.add(uid, glb())
        cache._paths = None
    cache.fetch(UID)
    cache.fetch(OTHER)
    again = ObjaverseCache(tmp_path / "cache", server.endpoint)
    again.fetch(OTHER)
    assert len(server.ranges(INDEX)) == 1


@pytest.mark.parametrize(
    ("source", "uid"),
    [
        (UID, UID), (f" {OTHER.upper()} ", OTHER), (f"https://sketchfab.com/3d-models/{UID}", UID),
        (f"https://www.sketchfab.com/3d-models/a-chair_2-{OTHER}/", OTHER),
        (f"http://sketchfab.com/models/{UID}", UID),
    ],
)  # fmt: skip
def test_an_identifier_may_be_given_in_several_ways(source: str, uid: str):
    assert as_uid(source) == uid


@pytest.mark.parametrize(
    "source",
    ["", "chair.glb", UID[:-1], UID + "0", f"{UID}.glb", f"folder/{UID}", "g" * 32,
     f"https://example.com/3d-models/{UID}", f"https://sketchfab.com/3d-models/{UID}/../x"],
)  # fmt: skip
def test_anything_else_is_no_identifier(source: str):
    assert as_uid(source) is None


# --- What goes wrong, and right again ---------------------------------------------------------


def test_what_broke_off_is_continued_where_it_stopped(server, cache):
    name = server.add(UID, glb(1_000_000))
    server.orders[name] = [resetting(300_000), resetting(250_000)]
    assert cache.fetch(UID).read_bytes() == glb(1_000_000)
    first, *rest = server.ranges(name)
    starts = [int(value.removeprefix("bytes=").removesuffix("-")) for value in rest]
    assert first == ""
    assert len(starts) == 2
    # A whole chunk may be lost in the reset, nothing more.
    assert 250_000 < starts[0] <= 300_000
    assert starts[0] + 200_000 < starts[1] <= 550_000


def test_the_next_run_goes_on_where_this_one_gave_up(server, cache, tmp_path):
    name = server.add(UID, glb(400_000))
    server.orders[name] = [breaking_off(200_000), *[status(503)] * 9]
    with pytest.raises(DownloadFailed, match="503"):
        cache.fetch(UID)
    assert not (cache.folder / name).exists()
    server.orders[name] = []
    assert ObjaverseCache(tmp_path / "cache", server.endpoint).fetch(UID).read_bytes() == glb(
        400_000
    )
    last = int(server.ranges(name)[-1].removeprefix("bytes=").removesuffix("-"))
    assert 150_000 < last <= 200_000
    assert files_in(cache.folder / "glbs") == [f"000-023/{UID}.glb"]


@pytest.mark.parametrize("again", [ignoring_range, another_range, without_length])
def test_a_server_without_ranges_gives_the_whole_file_again(server, cache, again):
    name = server.add(UID, glb())
    server.orders[name] = [breaking_off(50_000), again]
    assert cache.fetch(UID).read_bytes() == glb()


def test_a_rest_that_does_not_fit_the_file_is_thrown_away(server, cache):
    name = server.add(UID, glb(1000))
    rest = (cache.folder / name).with_name(f".{UID}.glb.part")
    rest.parent.mkdir(parents=True)
    rest.write_bytes(b"x" * 5000)
    assert cache.fetch(UID).read_bytes() == glb(1000)
    assert not rest.exists()


@pytest.mark.parametrize(
    "orders",
    [
        [status(500)], [status(502), status(503)], [status(429, Retry_After="0")],
        [status(429, Retry_After="soon")], [breaking_off(0)], [resetting(0), resetting(10)],
        [status(302, Location="/elsewhere"), ],
    ],
)  # fmt: skip
def test_what_passes_is_tried_again(server, cache, orders):
    name = server.add(UID, glb())
    server.files["/elsewhere"] = glb()
    server.orders[name] = list(orders)
    assert cache.fetch(UID).read_bytes() == glb()


def test_a_server_that_asks_to_wait_is_waited_for(server, cache):
    name = server.add(UID, glb())
    server.orders[name] = [status(429, Retry_After="1")]
    start = time.monotonic()
    cache.fetch(UID)
    assert time.monotonic() - start >= 1


def test_a_server_that_asks_for_an_hour_is_not(server, cache, monkeypatch):
    monkeypatch.setattr(downloads, "LONGEST_WAIT", 0.01)
    name = server.add(UID, glb())
    server.orders[name] = [status(429, Retry_After="3600")] * 9
    with pytest.raises(DownloadFailed, match=r"429.*slow down"):
        cache.fetch(UID)
    assert len(server.ranges(name)) == downloads.RETRIES + 1


@pytest.mark.parametrize(("code", "hint"), [(404, "identifier"), (403, "HF_TOKEN"), (410, "mirro")])
def test_what_does_not_pass_is_said_at_once(server, cache, code: int, hint: str):
    name = server.add(UID, glb())
    server.orders[name] = [status(code)] * 9
    with pytest.raises(DownloadFailed, match=f"{UID}.*{code}.*{hint}"):
        cache.fetch(UID)
    assert len(server.ranges(name)) == 1
    assert files_in(cache.folder / "glbs") == []


def test_a_server_that_is_not_there_is_named(tmp_path):
    with serving() as gone:
        endpoint = gone.endpoint
    with pytest.raises(DownloadFailed, match=r"127\.0\.0\.1.*refused"):
        ObjaverseCache(tmp_path, endpoint).fetch(UID)


@pytest.mark.parametrize("endpoint", ["localhost:8000", "ftp://mirror", "http://", "nonsense"])
def test_an_address_that_is_none_is_said_at_once(tmp_path, endpoint: str, monkeypatch):
    monkeypatch.setattr(downloads, "BACKOFF", 60.0)
    with pytest.raises(DownloadFailed, match="address"):
        ObjaverseCache(tmp_path, endpoint).fetch(UID)


# --- What must not stay -----------------------------------------------------------------------


def test_an_error_page_does_not_stay_as_an_object(server, cache):
    name = server.add(UID, glb())
    server.orders[name] = [page]
    with pytest.raises(WrongFormat, match=f"{UID}.*HTML"):
        cache.fetch(UID)
    assert files_in(cache.folder / "glbs") == []
    assert cache.fetch(UID).read_bytes() == glb()


def test_half_an_object_does_not_stay(server, cache):
    server.add(UID, glb()[:5000])
    with pytest.raises(TruncatedFile):
        cache.fetch(UID)
    assert files_in(cache.folder / "glbs") == []


def test_an_object_beyond_all_measure_is_refused(server, tmp_path):
    server.files["/big"] = glb()
    for answer in (ignoring_range, without_length):
        server.orders["/big"] = [answer]
        target = tmp_path / "x.glb"
        with pytest.raises(DownloadFailed, match="bytes"):
            download(new_session(), f"{server.endpoint}/big", target, max_bytes=50_000)
        assert not target.exists()


@pytest.mark.parametrize(
    "where",
    [
        "../../../../etc/passwd", f"glbs/../../{UID}.glb", f"/tmp/{UID}.glb", f"glbs/..\\{UID}.glb",
        f"glbs/000-000/{OTHER}.glb", f"https://example.com/glbs/x/{UID}.glb", 7, [UID], "",
    ],
)  # fmt: skip
def test_a_path_that_leaves_the_folder_is_refused(server, cache, tmp_path, where):
    server.list(UID, where)
    with pytest.raises(DownloadFailed, match="strange path"):
        cache.fetch(UID)
    assert files_in(tmp_path) == [f"cache/hf-objaverse-v1/{INDEX}"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:20] + bytes(8) + data[28:],
        lambda data: data[:-6] + bytes(6),
        lambda _: b"",
        lambda _: b"<html>",
        lambda _: gzip.compress(b"[1, 2]"),
        lambda _: gzip.compress(b"{"),
        lambda _: gzip.compress(b"\xff\xfe"),
    ],
)
def test_a_damaged_list_of_paths_is_fetched_again(server, cache, spoil):
    for number in range(50):
        server.list(f"{number:032x}", "glbs/x")
    server.add(UID, glb())
    (cache.folder).mkdir(parents=True)
    (cache.folder / INDEX).write_bytes(spoil(server.files[INDEX]))
    assert cache.fetch(UID).is_file()
    assert (cache.folder / INDEX).read_bytes() == server.files[INDEX]


def test_a_list_that_is_damaged_at_the_server_is_an_error_and_does_not_stay(server, cache):
    server.add(UID, glb())
    server.files[INDEX] = server.files[INDEX][:-10]
    with pytest.raises(DownloadFailed, match=r"object-paths.*damaged"):
        cache.fetch(UID)
    assert files_in(cache.folder) == []


def test_a_damaged_list_stays_where_there_is_no_network(tmp_path):
    folder = tmp_path / "hf-objaverse-v1"
    folder.mkdir()
    (folder / INDEX).write_bytes(b"half")
    with pytest.raises(OnlineAccessDenied):
        ObjaverseCache(tmp_path, online=False).fetch(UID)
    assert (folder / INDEX).read_bytes() == b"half"


def test_an_identifier_that_objaverse_does_not_have_is_named(server, cache):
    server.add(OTHER, glb())
    with pytest.raises(SourceNotFound, match=UID):
        cache.fetch(UID)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_folder_that_cannot_be_written_is_named(server, tmp_path):
    server.add(UID, glb())
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputNotWritable, match="file"):
        ObjaverseCache(tmp_path / "file", server.endpoint).fetch(UID)


# --- Offline, cancelling, two at a time -------------------------------------------------------


def test_without_the_network_nothing_is_asked_and_the_way_out_is_said(server, tmp_path):
    for uid in (UID, OTHER):
        server.add(uid, glb())
    offline = ObjaverseCache(tmp_path, server.endpoint, online=False)
    with pytest.raises(OnlineAccessDenied, match="Allow Online Access"):
        offline.fetch(UID)
    ObjaverseCache(tmp_path, server.endpoint).fetch(UID)
    asked = len(server.asked)
    assert offline.fetch(UID).read_bytes() == glb()
    with pytest.raises(OnlineAccessDenied):
        offline.fetch(OTHER)
    assert len(server.asked) == asked


def test_cancelling_stops_a_slow_download_soon(server, cache):
    name = server.add(UID, glb(2_000_000))
    server.orders[name] = [slowly(8192, 0.2)]
    cancel, seen = threading.Event(), []
    cache._object_paths(None, None)

    def progress(have: int, total: int) -> None:
        seen.append((have, total))
        cancel.set()

    start = time.monotonic()
    with pytest.raises(Interrupted):
        cache.fetch(UID, progress, cancel)
    # All of it takes fifty.
    assert time.monotonic() - start < 20
    assert seen[0][1] == 2_000_000
    assert not (cache.folder / name).exists()
    # What came is not lost.
    assert cache.fetch(UID).read_bytes() == glb(2_000_000)
    assert server.ranges(name)[-1] == f"bytes={seen[-1][0]}-"


def test_cancelling_ends_the_wait_for_another_try(server, cache):
    name = server.add(UID, glb())
    server.orders[name] = [status(429, Retry_After="50")]
    cancel = threading.Event()
    threading.Timer(0.3, cancel.set).start()
    start = time.monotonic()
    with pytest.raises(Interrupted):
        cache.fetch(UID, None, cancel)
    assert time.monotonic() - start < 5


def test_progress_never_runs_backwards_and_ends_at_the_whole(server, cache):
    name = server.add(UID, glb(300_000))
    server.orders[name] = [breaking_off(100_000)]
    seen = []
    cache._object_paths(None, None)
    cache.fetch(UID, lambda have, total: seen.append((have, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (300_000, 300_000)


def test_two_at_a_time_do_not_write_into_one_file(server, tmp_path):
    body = glb(600_000)
    name = server.add(UID, body)
    server.orders[name] = [slowly(20_000, 0.01), slowly(30_000, 0.01)]
    results: list[bytes | RenderError] = []

    def fetch() -> None:
        try:
            results.append(ObjaverseCache(tmp_path, server.endpoint).fetch(UID).read_bytes())
        except RenderError as error:
            results.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join(20)
    assert results == [body, body]
    assert files_in(tmp_path / "hf-objaverse-v1") == [f"glbs/000-023/{UID}.glb", INDEX]


def test_the_token_is_sent_but_not_to_where_a_redirect_leads(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    name = server.add(UID, glb())
    with serving() as elsewhere:
        elsewhere.files["/store"] = glb()
        server.orders[name] = [status(302, Location=f"{elsewhere.endpoint}/store")]
        # Another host by name, as Hugging Face's stores are.
        port = server.server_address[1]
        ObjaverseCache(tmp_path, f"http://localhost:{port}").fetch(UID)
        assert server.asked[-1][1]["Authorization"] == "Bearer secret"
        assert "Authorization" not in elsewhere.asked[-1][1]


# --- Nothing is spliced -----------------------------------------------------------------------


def test_a_file_that_changed_before_it_was_continued_comes_whole(server, cache):
    server.etag_digits = 20
    name = server.add(UID, glb(400_000))

    def changing(handler, body):
        breaking_off(200_000)(handler, body)
        server.files[name] = glb(400_000, 11)

    server.orders[name] = [changing]
    assert cache.fetch(UID).read_bytes() == glb(400_000, 11)
    assert len(server.ranges(name)) == 2
    assert server.ranges(name)[1].startswith("bytes=")


def test_the_rest_of_another_file_is_not_taken_even_if_the_server_sends_it(server, cache):
    # No sum is published that would tell afterwards.
    server.etag_digits = 20
    name = server.add(UID, glb(400_000))

    def changing(handler, body):
        breaking_off(200_000)(handler, body)
        server.files[name] = glb(400_000, 11)

    server.orders[name] = [changing, ignoring_if_range]
    assert cache.fetch(UID).read_bytes() == glb(400_000, 11)
    assert [bool(r) for r in server.ranges(name)] == [False, True, False]


def test_without_a_proof_nothing_is_continued(server, cache):
    server.etags = False
    name = server.add(UID, glb(400_000))
    server.orders[name] = [breaking_off(200_000)]
    assert cache.fetch(UID).read_bytes() == glb(400_000)
    assert server.ranges(name) == ["", ""]


def test_a_file_that_was_complete_before_its_process_died_is_not_fetched_again(
    server, cache, monkeypatch
):
    name = server.add(UID, glb(400_000))
    monkeypatch.setattr(downloads.os, "fsync", _die)
    with pytest.raises(KeyboardInterrupt):
        cache.fetch(UID)
    monkeypatch.undo()
    assert cache.fetch(UID).read_bytes() == glb(400_000)
    assert len(server.ranges(name)) == 1


def _die(_: int) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("answer", [zipped, wrong_length(100), wrong_length(-100)])
def test_lengths_that_are_not_true_end_in_the_true_file(server, cache, answer):
    name = server.add(UID, glb(400_000))
    server.orders[name] = [answer]
    assert cache.fetch(UID).read_bytes() == glb(400_000)


# --- What is published is checked -------------------------------------------------------------


def test_what_was_spoiled_on_the_way_is_fetched_again(server, cache):
    name = server.add(UID, glb())
    server.orders[name] = [spoiled]
    assert cache.fetch(UID).read_bytes() == glb()
    assert server.ranges(name) == ["", ""]


def test_what_is_spoiled_at_the_server_is_named_and_does_not_stay(server, cache):
    name = server.add(UID, glb())
    server.orders[name] = [spoiled] * 9
    with pytest.raises(ChecksumMismatch, match=UID):
        cache.fetch(UID)
    assert files_in(cache.folder / "glbs") == []
    assert len(server.ranges(name)) == 2


@pytest.mark.parametrize("right", [True, False])
def test_a_store_is_held_to_what_the_hub_said_of_it(server, tmp_path, right: bool):
    name = server.add(UID, glb())
    with serving() as store:
        store.files["/blob"] = glb() if right else glb(kind=13)
        server.orders[name] = [sent_on(f"{store.endpoint}/blob", linked=glb())] * 9
        cache = ObjaverseCache(tmp_path, server.endpoint)
        if right:
            assert cache.fetch(UID).read_bytes() == glb()
        else:
            with pytest.raises(ChecksumMismatch):
                cache.fetch(UID)


def test_an_etag_of_somebody_else_is_no_checksum(server, tmp_path):
    with serving() as elsewhere:
        elsewhere.files["/x"] = glb()
        elsewhere.orders["/x"] = [spoiled]
        target = tmp_path / "x.glb"
        download(new_session(server.endpoint), f"{elsewhere.endpoint}/x", target)
        assert target.read_bytes().endswith(b"0123456789")


def test_a_sum_that_the_caller_knows_is_checked(server, tmp_path):
    server.etags = False
    server.files["/x"] = glb()
    target = tmp_path / "x.glb"
    with pytest.raises(ChecksumMismatch):
        download(new_session(), f"{server.endpoint}/x", target, sha256="0" * 64)
    assert files_in(tmp_path) == []


# --- Time and room ----------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [stalling(100_000), stalling(0), silent])
def test_a_stalled_connection_is_noticed_and_the_file_comes_all_the_same(
    server, cache, monkeypatch, answer
):
    monkeypatch.setattr(downloads, "STALLED", 0.5)
    name = server.add(UID, glb(400_000))
    server.orders[name] = [answer]
    start = time.monotonic()
    assert cache.fetch(UID).read_bytes() == glb(400_000)
    assert time.monotonic() - start < 5
    assert len(server.ranges(name)) == 2


@pytest.mark.parametrize("answer", [stalling(100_000), silent])
def test_cancelling_a_stalled_download_does_not_wait_for_it(server, cache, monkeypatch, answer):
    monkeypatch.setattr(downloads, "STALLED", 300.0)
    name = server.add(UID, glb(400_000))
    server.orders[name] = [answer]
    cancel = threading.Event()
    threading.Timer(0.5, cancel.set).start()
    start = time.monotonic()
    with pytest.raises(Interrupted):
        cache.fetch(UID, None, cancel)
    assert time.monotonic() - start < 60


def test_cancelling_answers_while_another_process_has_the_lock(server, cache):
    from objaverse_render_addon.locks import locked

    name = server.add(UID, glb())
    target = cache.folder / name
    target.parent.mkdir(parents=True)
    cancel = threading.Event()
    threading.Timer(0.3, cancel.set).start()
    with locked(target.with_name(f".{target.name}.lock")), pytest.raises(Interrupted):
        cache.fetch(UID, None, cancel)


def test_an_endless_file_ends_at_the_limit(server, tmp_path):
    server.files["/x"] = b"x"
    server.orders["/x"] = [endless]
    with pytest.raises(DownloadFailed, match="more than 1000000 bytes"):
        download(new_session(), f"{server.endpoint}/x", tmp_path / "x", max_bytes=1_000_000)


@pytest.mark.parametrize("limit", ["room", "size"])
def test_an_endless_file_of_no_said_size_neither_fills_the_disk_nor_stays(
    server, tmp_path, monkeypatch, limit
):
    server.files["/x.glb"] = b"x"
    server.orders["/x.glb"] = [endless]
    monkeypatch.setattr(downloads, "_LOOKED_AFTER", 1 << 20)
    if limit == "room":
        monkeypatch.setattr(downloads, "RESERVE", 1 << 60)
    else:
        monkeypatch.setattr(downloads, "MAX_UNSAID", 3 << 20)
    seen = 0

    def progress(have: int, _: int) -> None:
        nonlocal seen
        seen = max(seen, have)

    kind = DiskFull if limit == "room" else DownloadFailed
    with pytest.raises(kind):
        download(
            new_session(), f"{server.endpoint}/x.glb", tmp_path / "x.glb", on_progress=progress
        )
    assert (1 << 20) - downloads.CHUNK <= seen <= 4 << 20
    assert files_in(tmp_path) == []


def test_what_broke_off_and_cannot_be_continued_does_not_stay(server, tmp_path):
    # Neither an ETag nor a date says what it is.
    server.files["/x"] = b"x"
    server.orders["/x"] = [endless_then_cut] * 9
    with pytest.raises(DownloadFailed):
        download(new_session(), f"{server.endpoint}/x", tmp_path / "x")
    assert files_in(tmp_path) == []


def endless_then_cut(handler, _):
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    handler.wfile.write(bytes(500_000))


def test_a_server_that_trickles_is_left_and_no_thread_waits_for_it(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "STALLED", 0.4)
    session = new_session()
    for number in range(4):
        server.files[f"/{number}"] = glb(400_000)
        server.orders[f"/{number}"] = [slowly(1, 0.02)] * 9
    attempts = []
    for number in range(4):
        start = time.monotonic()
        with pytest.raises(DownloadFailed, match="next to nothing came"):
            download(session, f"{server.endpoint}/{number}", tmp_path / "x")
        attempts.append(len(server.ranges(f"/{number}")))
        assert time.monotonic() - start < 10
    # After five stalls it is asked once for each file.
    assert attempts == [5, 1, 1, 1]
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _readers():
        time.sleep(0.05)
    assert not _readers()
    # One file that comes, and it is worth more again.
    server.files["/fast"] = glb(1000)
    download(session, f"{server.endpoint}/fast", tmp_path / "fast")
    with pytest.raises(DownloadFailed):
        server.orders["/0"] = [slowly(1, 0.02)] * 9
        download(session, f"{server.endpoint}/0", tmp_path / "x")
    assert len(server.ranges("/0")) == 10


@pytest.mark.parametrize("line", [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\nX-Slow: "])
def test_headers_that_trickle_hold_no_thread(server, tmp_path, monkeypatch, line: bytes):
    """Each byte comes in time for the socket, and the last never."""
    monkeypatch.setattr(downloads, "STALLED", 0.4)
    answered = threading.Event()

    def trickling(handler, _):
        handler.close_connection = True
        with contextlib.suppress(OSError):
            for byte in line + b"x" * 60_000:
                handler.wfile.write(bytes([byte]))
                time.sleep(0.01)
        answered.set()

    server.files["/x"] = glb()
    server.orders["/x"] = [trickling] * 9
    start = time.monotonic()
    with pytest.raises(DownloadFailed, match="next to nothing came"):
        download(new_session(), f"{server.endpoint}/x", tmp_path / "x")
    deadline = start + 20
    while time.monotonic() < deadline and (_readers() or not answered.is_set()):
        time.sleep(0.05)
    # The server, too, has been hung up on.
    assert not _readers() and answered.is_set()
    server.orders["/x"] = []
    assert download(new_session(), f"{server.endpoint}/x", tmp_path / "x").read_bytes() == glb()


def _readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "download"]


def test_a_file_that_comes_too_slowly_to_ever_end_is_left(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "STALLED", 0.5)
    monkeypatch.setattr(downloads, "SLOWEST", 1 << 20)
    server.files["/x"] = glb(4_000_000)
    server.orders["/x"] = [slowly(downloads.CHUNK, 0.1)] * 9
    with pytest.raises(DownloadFailed, match=r"only \d+ bytes came in"):
        download(new_session(), f"{server.endpoint}/x", tmp_path / "x")


def test_a_disk_without_room_is_named_before_anything_is_written(server, cache, monkeypatch):
    server.add(UID, glb())
    monkeypatch.setattr(downloads, "RESERVE", 1 << 60)
    with pytest.raises(DiskFull, match=f"{INDEX}.*are free.*--download-dir"):
        cache.fetch(UID)
    assert files_in(cache.folder) == []


def test_what_broke_off_is_said_in_words(server, tmp_path):
    server.files["/x"] = b"x"

    def cut(handler, _):
        handler.close_connection = True
        handler.start(200, None, Transfer_Encoding="chunked")
        handler.wfile.write(b"ffff\r\nabc")

    server.orders["/x"] = [cut] * 9
    with pytest.raises(DownloadFailed) as caught:
        download(new_session(), f"{server.endpoint}/x", tmp_path / "x")
    assert "Connection broken" in caught.value.message
    assert "('" not in caught.value.message and "IncompleteRead(" in caught.value.message


def test_a_date_to_come_back_at_is_kept(server, cache):
    name = server.add(UID, glb())
    server.orders[name] = [status(503, Retry_After=formatdate(time.time() + 2.5, usegmt=True))]
    start = time.monotonic()
    cache.fetch(UID)
    assert 1 <= time.monotonic() - start < 5


def test_a_long_file_may_break_off_often_as_long_as_it_gets_on(server, cache):
    name = server.add(UID, glb(20_000_000))
    server.orders[name] = [resetting(2_000_000)] * 9
    assert cache.fetch(UID).read_bytes() == glb(20_000_000)
    assert len(server.ranges(name)) == 10


# --- The doors --------------------------------------------------------------------------------


def test_the_panel_fetches_beside_the_window(server, tmp_path):
    name = server.add(UID, glb(500_000))
    server.orders[name] = [slowly(50_000, 0.01)]
    options = {"download_dir": str(tmp_path), "endpoint": server.endpoint, "online": True}
    fetch = Fetch(f"https://sketchfab.com/3d-models/thing-{UID}", options)
    fetch.start()
    fetch.join(20)
    assert fetch.error is None
    assert fetch.path.read_bytes() == glb(500_000)
    assert fetch.share == 1.0
    assert fetch.status == "Fetching: 0.5 of 0.5 MiB"


def test_the_panel_names_what_it_cannot_fetch(server, tmp_path):
    server.add(OTHER, glb())
    fetch = Fetch(UID, {"download_dir": str(tmp_path), "endpoint": server.endpoint})
    fetch.run()
    assert isinstance(fetch.error, SourceNotFound)
    fetch = Fetch(UID, {"download_dir": str(tmp_path / "empty"), "online": False})
    fetch.run()
    assert isinstance(fetch.error, OnlineAccessDenied)


def test_one_bad_address_is_one_named_failure_and_nothing_is_rendered_twice(server, tmp_path):
    """Without Blender: what cannot be fetched never reaches a worker."""
    from objaverse_render_addon.batch.run import render
    from objaverse_render_addon.job import RenderJob

    for uid in (UID, OTHER, THIRD):
        server.add(uid, glb())
    server.orders[f"glbs/000-023/{UID}.glb"] = [status(404)]
    server.orders[f"glbs/000-023/{OTHER}.glb"] = [page]
    server.list(THIRD, "../x.glb")
    report = render(
        [UID, OTHER, THIRD, "d" * 32],
        RenderJob(),
        tmp_path / "out",
        RunOptions.of(download_dir=tmp_path, endpoint=server.endpoint),
    )  # fmt: skip
    assert [result.asset_id for result in report.results] == [UID, OTHER, THIRD, "d" * 32]
    assert [type(result.error) for result in report.results] == [
        DownloadFailed, WrongFormat, DownloadFailed, SourceNotFound,
    ]  # fmt: skip
    assert [p.name for p in (tmp_path / "out").iterdir() if not p.name.startswith(".")] == []
    offline = render(
        [UID],
        RenderJob(),
        tmp_path / "out",
        RunOptions.of(download_dir=tmp_path, online=False),
    )
    assert isinstance(offline.results[0].error, OnlineAccessDenied)
    assert offline.exit_code == OnlineAccessDenied.exit_code
