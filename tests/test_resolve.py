"""Every kind of source becomes a file on this machine, and goes again where it is told to."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import glb_shell as glb
from objaverse_server import Server, files_in, page, serving, sha256, slowly, status

from objaverse_render_addon.assets.resolve import Resolver
from objaverse_render_addon.assets.sources import Source, classify
from objaverse_render_addon.errors import (
    ChecksumMismatch,
    DownloadFailed,
    OnlineAccessDenied,
    SourceNotFound,
    UnsafeData,
    WrongFormat,
)

UID, OTHER = "0" * 32, "ab" * 16
ROOT = Path(__file__).resolve().parent.parent


pytestmark = pytest.mark.usefixtures("in_a_hurry_and_alone")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def resolver(server: Server, tmp_path: Path) -> Iterator[Resolver]:
    with Resolver(tmp_path / "cache", server.endpoint) as made:
        yield made


# --- Paths ------------------------------------------------------------------------------------


def test_a_path_is_itself_and_never_removed(server, tmp_path):
    mine = tmp_path / "chair.glb"
    mine.write_bytes(glb())
    with Resolver(tmp_path / "cache", server.endpoint, keep=False) as resolver:
        fetched = resolver.fetch(str(mine))
        assert fetched.path == mine.resolve()
        resolver.release(fetched)
    assert mine.is_file()
    assert not (tmp_path / "cache").exists()


def test_a_path_whose_content_is_not_what_the_list_says_is_named(resolver, tmp_path):
    mine = tmp_path / "chair.glb"
    mine.write_bytes(glb())
    right = Source(str(mine), "path", known={"sha256": sha256(glb())})
    assert resolver.fetch(right).path == mine.resolve()
    with pytest.raises(ChecksumMismatch, match=r"chair\.glb"):
        resolver.fetch(Source(str(mine), "path", known={"sha256": "0" * 64}))


# --- Addresses --------------------------------------------------------------------------------


def test_an_address_is_fetched_once_and_keeps_its_name(server, resolver, tmp_path):
    server.files["/models/Office%20chair.GLB?v=2"] = glb()
    url = f"{server.endpoint}/models/Office%20chair.GLB?v=2"
    first, second = resolver.fetch(url), resolver.fetch(url)
    assert first.path == second.path
    assert first.path.name == "Office_chair.glb"
    assert first.path.read_bytes() == glb()
    assert first.path.is_relative_to(tmp_path / "cache" / "urls")
    assert first.provenance == {"file_identifier": url}
    assert len(server.asked) == 1
    assert Source(url, "url").name == "Office_chair"


def test_an_address_without_an_extension_gets_that_of_its_content(server, resolver):
    server.files["/download/12345"] = glb()
    assert resolver.fetch(f"{server.endpoint}/download/12345").path.name == "12345.glb"


@pytest.mark.parametrize(
    "path", ["/..%2f..%2f..%2fetc%2fpasswd.glb", "/a/..%5c..%5cevil.glb", "/%2e%2e/x.glb",
             "/" + "n" * 200 + ".glb", "/%00.glb", "/.hidden.glb", "/CON.glb/"],
)  # fmt: skip
def test_a_name_from_the_network_leads_nowhere_else(server, resolver, tmp_path, path: str):
    server.anything = glb()
    fetched = resolver.fetch(f"{server.endpoint}/models{path}")
    assert fetched.path.is_relative_to(tmp_path / "cache" / "urls" / "127_0_0_1")
    assert len(fetched.path.relative_to(tmp_path / "cache").parts) == 4
    assert len(fetched.path.name) < 100


def test_what_only_the_user_may_know_is_not_recorded(server, resolver):
    server.files["/x.glb?X-Amz-Signature=abc&id=3"] = glb()
    port = server.server_address[1]
    url = f"http://me:pass@127.0.0.1:{port}/x.glb?X-Amz-Signature=abc&id=3"
    fetched = resolver.fetch(url)
    assert fetched.provenance["file_identifier"] == f"http://127.0.0.1:{port}/x.glb?id=3"
    with pytest.raises(DownloadFailed) as caught:
        resolver.fetch(f"http://me:pass@127.0.0.1:{port}/y.glb?token=abc")
    assert "pass" not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_an_error_page_instead_of_a_model_is_named_and_does_not_stay(server, resolver, tmp_path):
    server.files["/x.glb"] = glb()
    server.orders["/x.glb"] = [page]
    with pytest.raises(WrongFormat, match=r"x\.glb.*HTML"):
        resolver.fetch(f"{server.endpoint}/x.glb")
    assert files_in(tmp_path / "cache") == []
    assert resolver.fetch(f"{server.endpoint}/x.glb").path.read_bytes() == glb()


@pytest.mark.parametrize(
    ("text", "name"),
    [("http://[::1/x.glb", "asset"), ("http://", "asset"), ("https:///x.glb", "x")],
)
def test_an_address_that_is_none_is_one_failed_asset(resolver, text: str, name: str):
    assert Source(text, classify(text)).name == name
    with pytest.raises((DownloadFailed, SourceNotFound)):
        resolver.fetch(text)


def test_a_list_s_sum_is_checked_and_what_does_not_fit_does_not_stay(server, resolver, tmp_path):
    server.files["/x.glb"] = glb()
    url = f"{server.endpoint}/x.glb"
    with pytest.raises(ChecksumMismatch):
        resolver.fetch(Source(url, "url", known={"sha256": "1" * 64}))
    assert files_in(tmp_path / "cache") == []
    known = {"sha256": sha256(glb()), "license": "by"}
    assert resolver.fetch(Source(url, "url", known=known)).provenance["license"] == "by"


def test_the_token_is_the_hubs_alone(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    with serving() as elsewhere, Resolver(tmp_path, server.endpoint) as resolver:
        elsewhere.files["/x.glb"] = glb()
        server.files["/x.glb"] = glb()
        resolver.fetch(f"{elsewhere.endpoint}/x.glb")
        resolver.fetch(f"{server.endpoint}/x.glb")
        assert "Authorization" not in elsewhere.asked[0][1]
        assert server.asked[0][1]["Authorization"] == "Bearer secret"


def test_offline_nothing_is_asked_and_what_is_here_is_found(server, resolver, tmp_path):
    server.files["/x.glb"] = glb()
    url = f"{server.endpoint}/x.glb"
    with Resolver(tmp_path / "cache", server.endpoint, online=False) as offline:
        for source in (url, UID, f"s3://bucket/{UID}.glb",
                       f"https://github.com/a/b/blob/{'c' * 40}/x.glb",
                       "https://www.thingiverse.com/thing:1/files?fileId=2",
                       "https://3d-api.si.edu/x.glb"):  # fmt: skip
            with pytest.raises(OnlineAccessDenied):
                offline.fetch(source)
        assert server.asked == []
        resolver.fetch(url)
        assert offline.fetch(url).path.is_file()
    assert len(server.asked) == 1


# --- What a file cannot do without ------------------------------------------------------------


def gltf(*buffers: str, images: tuple[str, ...] = ()) -> bytes:
    return json.dumps(
        {
            "asset": {"version": "2.0"},
            "buffers": [{"uri": uri} for uri in buffers],
            "images": [{"uri": uri} for uri in images],
        }
    ).encode()


def test_a_gltf_comes_with_its_buffers_and_textures(server, resolver):
    server.files.update(
        {
            "/a/scene.gltf": gltf(
                "my%20buffer.bin", "data:;base64,AAAA",
                images=("tex/red.png", "gone.png", "https://elsewhere.example/x.png"),
            ),
            "/a/my%20buffer.bin": b"1234", "/a/tex/red.png": b"png",
        }
    )  # fmt: skip
    path = resolver.fetch(f"{server.endpoint}/a/scene.gltf").path
    assert files_in(path.parent) == ["my buffer.bin", "scene.gltf", "tex/red.png"]
    assert (path.parent / "my buffer.bin").read_bytes() == b"1234"
    assert [n for n, _ in server.asked if "elsewhere" in n] == []


def test_an_obj_comes_with_its_materials_and_their_textures(server, resolver):
    server.files.update(
        {
            "/a/x.obj": b"# made\nmtllib mats/x.mtl\nv 0 0 0\nf 1 1 1\n",
            "/a/mats/x.mtl": b"newmtl a\nmap_Kd red wood.png\nbump -bm 0.5 bump.png\n"
            b"map_Ks C:\\Users\\me\\x.png\nmap_d ../../y.png\n",
            "/a/mats/red%20wood.png": b"png", "/a/mats/bump.png": b"png",
        }
    )  # fmt: skip
    path = resolver.fetch(f"{server.endpoint}/a/x.obj").path
    assert files_in(path.parent) == ["mats/bump.png", "mats/red wood.png", "mats/x.mtl", "x.obj"]


def test_without_its_buffer_a_gltf_does_not_stay(server, resolver, tmp_path):
    server.files["/a/scene.gltf"] = gltf("gone.bin")
    with pytest.raises(DownloadFailed, match=r"gone\.bin"):
        resolver.fetch(f"{server.endpoint}/a/scene.gltf")
    assert files_in(tmp_path / "cache") == []


@pytest.mark.parametrize("uri", ["../../../evil.bin", "/etc/evil.bin", "..%2f..%2fevil.bin"])
def test_a_gltf_that_names_files_elsewhere_is_refused(server, resolver, tmp_path, uri: str):
    server.anything = b"evil"
    server.files["/a/scene.gltf"] = gltf(uri)
    with pytest.raises(UnsafeData, match="evil"):
        resolver.fetch(f"{server.endpoint}/a/scene.gltf")
    assert not list(tmp_path.rglob("evil.bin"))


def test_what_is_not_kept_goes_with_all_that_belongs_to_it(server, tmp_path):
    server.files.update({"/a/scene.gltf": gltf("b.bin"), "/a/b.bin": b"1234"})
    with Resolver(tmp_path, server.endpoint, keep=False) as resolver:
        fetched = resolver.fetch(f"{server.endpoint}/a/scene.gltf")
        assert (fetched.path.parent / "b.bin").is_file()
        resolver.release(fetched)
        assert files_in(tmp_path) == [p for p in files_in(tmp_path) if p.endswith(".lock")]


# --- What goes again --------------------------------------------------------------------------


def test_what_is_not_kept_goes_when_nobody_needs_it_any_more(server, tmp_path):
    server.files["/x.glb"] = glb()
    server.add(UID, glb(kind=9))
    url = f"{server.endpoint}/x.glb"
    with Resolver(tmp_path, server.endpoint, keep=False) as resolver:
        one, two, uid = resolver.fetch(url), resolver.fetch(url), resolver.fetch(UID)
        assert one.temporary
        assert one.path == two.path
        assert uid.path.stem == UID
        resolver.release(one)
        assert two.path.is_file()
        resolver.release(two)
        assert not two.path.exists()
        assert uid.path.is_file()
        assert resolver.fetch(url).path.read_bytes() == glb()
    assert files_in(tmp_path) == ["hf-objaverse-v1/object-paths.json.gz"]


def test_what_was_in_the_cache_before_is_used_and_stays(server, tmp_path):
    server.files["/x.glb"] = glb()
    server.add(UID, glb(kind=9))
    url = f"{server.endpoint}/x.glb"
    with Resolver(tmp_path, server.endpoint) as keeping:
        kept = [keeping.fetch(url).path, keeping.fetch(UID).path]
    asked = len(server.asked)
    with Resolver(tmp_path, server.endpoint, keep=False) as resolver:
        for source, path in zip((url, UID), kept, strict=True):
            fetched = resolver.fetch(source)
            assert fetched.path == path
            resolver.release(fetched)
    assert all(path.is_file() for path in kept)
    assert len(server.asked) == asked


def test_what_a_killed_run_left_is_removed_by_the_next_and_the_living_one_s_stays(server, tmp_path):
    server.files.update({"/x.glb": glb(), "/y.glb": glb()})
    code = (
        "import os, sys; from objaverse_render_addon.assets.resolve import Resolver\n"
        "r = Resolver(sys.argv[1], sys.argv[2], keep=False)\n"
        "print(r.fetch(sys.argv[2] + '/x.glb').path, flush=True); os._exit(9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), server.endpoint],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    left = Path(done.stdout.strip())
    assert left.is_file()
    with Resolver(tmp_path, server.endpoint, keep=False) as living:
        here = living.fetch(f"{server.endpoint}/y.glb")
        assert not left.exists()
        with Resolver(tmp_path, server.endpoint, keep=False) as other:
            other.fetch(f"{server.endpoint}/x.glb")
            assert here.path.is_file()
    assert files_in(tmp_path) == []


# --- Many at once -----------------------------------------------------------------------------


def test_two_processes_do_the_work_once(server, tmp_path):
    name = server.add(UID, glb(600_000))
    server.orders[name] = [slowly(20_000, 0.03)]
    code = (
        "import sys; from objaverse_render_addon.assets.resolve import Resolver\n"
        "with Resolver(sys.argv[1], sys.argv[2]) as r: print(r.fetch(sys.argv[3]).path)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), server.endpoint, UID]
    both = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    paths = {process.communicate(timeout=30)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert paths == {str(tmp_path / "hf-objaverse-v1" / name)}
    assert Path(paths.pop()).read_bytes() == glb(600_000)
    assert len(server.ranges(name)) == 1
    assert len(server.ranges("object-paths.json.gz")) == 1
    assert files_in(tmp_path / "hf-objaverse-v1") == [name, "object-paths.json.gz"]


def test_a_killed_process_leaves_its_part_to_the_next(server, tmp_path):
    name = server.add(UID, glb(2_000_000))
    server.orders[name] = [slowly(50_000, 0.05)]
    code = (
        "import sys; from objaverse_render_addon.assets.resolve import Resolver\n"
        "with Resolver(sys.argv[1], sys.argv[2]) as r: r.fetch(sys.argv[3])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), server.endpoint, UID], cwd=ROOT
    )
    part = tmp_path / "hf-objaverse-v1" / "glbs" / "000-023" / f".{UID}.glb.part"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (part.is_file() and part.stat().st_size > 300_000):
        time.sleep(0.02)
    process.kill()
    process.wait()
    left = part.stat().st_size
    with Resolver(tmp_path, server.endpoint) as resolver:
        assert resolver.fetch(UID).path.read_bytes() == glb(2_000_000)
    assert server.ranges(name)[1:] == [f"bytes={left}-"]
    assert files_in(tmp_path / "hf-objaverse-v1") == [name, "object-paths.json.gz"]


@pytest.mark.parametrize("per_host", [1, 3])
def test_a_server_gets_no_more_connections_than_it_may(server, tmp_path, per_host: int):
    now, most, guard = 0, 0, threading.Lock()

    def counted(handler, body):
        nonlocal now, most
        with guard:
            now, most = now + 1, max(most, now + 1)
        time.sleep(0.05)
        handler.start(200, len(body))
        with guard:
            now -= 1
        handler.wfile.write(body)

    for number in range(9):
        server.files[f"/{number}.glb"] = glb(2000)
        server.orders[f"/{number}.glb"] = [counted]
    with Resolver(tmp_path, server.endpoint, per_host=per_host) as resolver:
        threads = [
            threading.Thread(target=resolver.fetch, args=(f"{server.endpoint}/{n}.glb",))
            for n in range(9)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert most == per_host
    assert len(files_in(tmp_path / "urls")) == 9


def test_a_server_that_asks_one_to_wait_is_left_alone_by_all(server, tmp_path):
    times: dict[str, float] = {}

    def noted(handler, body):
        times[handler.path] = time.monotonic()
        handler.start(200, len(body))
        handler.wfile.write(body)

    for name in ("/a.glb", "/b.glb"):
        server.files[name] = glb(2000)
    server.orders["/a.glb"] = [status(429, Retry_After="1")]
    server.orders["/b.glb"] = [noted]
    with Resolver(tmp_path, server.endpoint) as resolver:
        start = time.monotonic()
        one = threading.Thread(target=resolver.fetch, args=(f"{server.endpoint}/a.glb",))
        one.start()
        while not server.asked:
            time.sleep(0.005)
        time.sleep(0.1)
        resolver.fetch(f"{server.endpoint}/b.glb")
        one.join(20)
    assert times["/b.glb"] - start > 0.9
