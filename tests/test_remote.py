"""Addresses that fsspec knows: fetched, checked and continued as others are."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from helpers import glb_shell as glb

from objaverse_render_addon.assets import protocols, remote
from objaverse_render_addon.assets import transfer as limits
from objaverse_render_addon.assets.resolve import Resolver
from objaverse_render_addon.batch.output.store import open_store
from objaverse_render_addon.dataset import open as open_dataset
from objaverse_render_addon.errors import (
    DownloadFailed,
    Interrupted,
    MissingDependency,
    ProtocolNotAllowed,
    SourceNotFound,
    WrongFormat,
)

fsspec = pytest.importorskip("fsspec", reason="the extra remote is not installed")


class Bucket(fsspec.AbstractFileSystem):
    """A store elsewhere, with ETags, that breaks off when it is told to."""

    protocol = "bucket"
    files: ClassVar[dict[str, bytes]] = {}
    break_after: ClassVar[list[int]] = []
    sought: ClassVar[list[int]] = []

    def info(self, path, **_):
        path = self._strip_protocol(path)
        if any(name.startswith(f"{path}/") for name in self.files):
            return {"name": path, "type": "directory", "size": 0}
        if path not in self.files:
            raise FileNotFoundError(path)
        data = self.files[path]
        digest = hashlib.md5(data).hexdigest()
        return {"name": path, "type": "file", "size": len(data), "ETag": digest}

    def open(self, path, *_, **__):
        limit = self.break_after.pop(0) if self.break_after else 1 << 60
        sought = self.sought

        class File(io.BytesIO):
            def seek(self, position, whence=0):
                sought.append(position)
                return super().seek(position, whence)

            def read(self, count=-1):
                if self.tell() >= limit:
                    raise ConnectionResetError("gone")
                return super().read(count)

        return File(self.files[self._strip_protocol(path)])


@pytest.fixture(autouse=True)
def files(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    monkeypatch.setattr(limits, "BACKOFF", 0.001)
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    monkeypatch.setattr(protocols, "PROTOCOLS", protocols.PROTOCOLS | {"bucket"})
    yield Bucket.files
    for kept in (Bucket.files, Bucket.break_after, Bucket.sought):
        kept.clear()
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def resolver(tmp_path: Path) -> Iterator[Resolver]:
    with Resolver(tmp_path / "cache") as made:
        yield made


def test_a_file_in_a_store_is_fetched_once(files, resolver):
    files["models/chair.glb"] = glb(200_000)
    seen: list[tuple[int, int]] = []
    fetched = resolver.fetch("bucket://models/chair.glb", lambda *n: seen.append(n))
    assert fetched.path.name == "chair.glb"
    assert fetched.path.read_bytes() == glb(200_000)
    assert fetched.provenance == {"file_identifier": "bucket://models/chair.glb"}
    assert seen[-1] == (200_000, 200_000)
    files.clear()
    assert resolver.fetch("bucket://models/chair.glb").path == fetched.path


def test_what_broke_off_is_continued(files, resolver):
    files["models/chair.glb"] = glb(200_000)
    Bucket.break_after.append(100_000)
    assert resolver.fetch("bucket://models/chair.glb").path.read_bytes() == glb(200_000)
    assert len(Bucket.sought) == 1
    assert 90_000 < Bucket.sought[0] <= 140_000


def test_what_changed_in_the_meantime_is_not_continued(files, resolver, monkeypatch):
    files["models/chair.glb"] = glb(200_000)
    Bucket.break_after.append(100_000)
    other = glb(200_000)[:-5] + b"other"
    monkeypatch.setattr(limits, "pause", lambda *_: files.update({"models/chair.glb": other}))
    assert resolver.fetch("bucket://models/chair.glb").path.read_bytes() == other
    assert Bucket.sought == []


def test_what_is_on_this_machine_anyway_is_not_kept_twice(tmp_path, resolver):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("models/chair.glb", glb(200_000))
    url = f"zip://models/chair.glb::{tmp_path / 'a.zip'}"
    fetched = resolver.fetch(url)
    assert fetched.path.read_bytes() == glb(200_000)
    assert fetched.temporary
    resolver.release(fetched)
    assert not fetched.path.exists()
    fsspec.filesystem("memory").pipe("/chair.glb", glb(200_000))
    assert resolver.fetch("memory://chair.glb").path.read_bytes() == glb(200_000)


def test_local_chains_work_offline(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("chair.glb", glb(200_000))
    with Resolver(tmp_path / "cache", online=False) as offline:
        assert offline.fetch(f"zip://chair.glb::{tmp_path / 'a.zip'}").path.is_file()


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("bucket://models/none.glb", SourceNotFound), ("bucket://models", SourceNotFound),
        ("nonsense://x/y.glb", ProtocolNotAllowed), ("bucket://models/page.glb", WrongFormat),
        ("bucket://models/broken.glb", DownloadFailed),
    ],
)  # fmt: skip
def test_what_cannot_be_fetched_is_named(files, resolver, tmp_path, url: str, error):
    files["models/page.glb"] = b"<html></html>"
    files["models/broken.glb"] = glb(200_000)
    if "broken" in url:
        Bucket.break_after.extend([0] * 9)
    with pytest.raises(error) as caught:
        resolver.fetch(url)
    assert url in str(caught.value)
    assert not list(tmp_path.rglob("*.glb"))


def test_cancelling_answers_while_the_store_does_not(resolver, monkeypatch):
    answer, cancel = threading.Event(), threading.Event()
    monkeypatch.setattr(Bucket, "info", lambda *_, **__: answer.wait(120))
    threading.Timer(0.2, cancel.set).start()
    start = time.monotonic()
    with pytest.raises(Interrupted):
        resolver.fetch("bucket://models/chair.glb", None, cancel)
    assert time.monotonic() - start < 60
    answer.set()


def test_a_missing_package_is_named(resolver, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingDependency, match="s3fs"):
        resolver.fetch("s3://bucket/chair.glb")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingDependency, match=r"pip install .*\[remote\]"):
        resolver.fetch("bucket://models/chair.glb")


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("memory://a", True), ("zip://a::/tmp/b.zip", True), ("zip://a::file:///b.zip", True),
        ("s3://a/b", False), ("zip://a::s3://b/c.zip", False), ("simplecache::s3://a/b", False),
    ],
)  # fmt: skip
def test_what_never_leaves_this_machine_is_known(url: str, local: bool):
    assert remote.is_local(url) == local


@pytest.mark.parametrize(
    "url",
    [
        "reference://x.glb::file://{folder}/ref.json",
        "simplecache::reference://x.glb::{folder}/ref.json",
        "zip://x.glb::reference://a.zip::file://{folder}/ref.json",
        "zip://x.glb::reference",
        "jupyter://x.glb", "git://x.glb", "generic://x.glb", "REFERENCE://x.glb",
    ],
)  # fmt: skip
def test_what_may_do_more_than_fetch_is_refused_by_name(resolver, tmp_path, url: str):
    touched = tmp_path / "touched"
    template = "{{ cycler.__init__.__globals__.os.popen('touch " + str(touched) + "').read() }}"
    (tmp_path / "ref.json").write_text(
        json.dumps(
            {
                "version": 1,
                "templates": {"t": template},
                "gen": [{"key": "{{t()}}x.glb", "url": "file:///none", "dimensions": {}}],
                "refs": {},
            }
        )
    )
    url = url.format(folder=tmp_path)
    with pytest.raises(ProtocolNotAllowed, match="://"):
        resolver.fetch(url)
    with pytest.raises(ProtocolNotAllowed):
        open_dataset(url)
    with pytest.raises(ProtocolNotAllowed):
        open_store(url, "zip")
    assert not touched.exists()


def test_a_version_that_executes_references_is_refused_by_name(resolver, monkeypatch):
    monkeypatch.setattr(fsspec, "__version__", "2026.3.0")
    with pytest.raises(MissingDependency, match=r"2026\.6 or newer"):
        resolver.fetch("bucket://models/none.glb")
