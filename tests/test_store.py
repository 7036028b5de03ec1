"""Outputs on file systems of fsspec's: what arrives, what fails, what is found again."""

from __future__ import annotations

import errno
import random
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from batch_lanes import LAYOUTS, PlanLane, assets_of, files_of, make_job, make_sources, run
from fsspec.implementations.memory import MemoryFileSystem

from objaverse_render_addon.assets.protocols import PROTOCOLS
from objaverse_render_addon.batch.output.store import no_empty_folders, open_store, state_folder
from objaverse_render_addon.batch.queue.ledger import Ledger
from objaverse_render_addon.errors import (
    DiskFull,
    Interrupted,
    MissingDependency,
    OutputExists,
    OutputNotWritable,
    ProtocolNotAllowed,
)

SUFFIXES = {"zip": ".zip", "tar": ".tar", "folder": "", "webdataset": ".tar"}


def _shaken(name: str):
    def method(self, *arguments, **options):
        fails = self._shake(name)
        result = getattr(MemoryFileSystem, name)(self, *arguments, **options)
        if fails:
            raise self.error
        return result

    return method


class ShakyFileSystem(MemoryFileSystem):
    """Memory that fails on order.

    Attributes:
        down: Every call fails.
        chance: Share of the calls that fail, by ``dice``.
        late: Of these, the share that fail after they did what they were asked for.
    """

    protocol = "shaky"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    down = False
    chance = late = 0.0
    dice = random.Random(1)
    failed: ClassVar[Counter[str]] = Counter()
    error: Exception = ConnectionError("the server hung up")
    guard = threading.Lock()

    def _shake(self, name: str) -> bool:
        with self.guard:
            fails = self.down or self.dice.random() < self.chance
            self.failed[name] += fails
            if fails and self.dice.random() >= self.late:
                raise self.error
            return fails

    info, ls, put_file, mv, rm_file, rm = map(
        _shaken, ("info", "ls", "put_file", "mv", "rm_file", "rm")
    )
    cat_file, makedirs, exists = map(_shaken, ("cat_file", "makedirs", "exists"))


fsspec.register_implementation("shaky", ShakyFileSystem)
PROTOCOLS.add("shaky")


@pytest.fixture
def shaky(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(ShakyFileSystem, "store", {})
    monkeypatch.setattr(ShakyFileSystem, "pseudo_dirs", [""])
    monkeypatch.setattr(ShakyFileSystem, "dice", random.Random(1))
    monkeypatch.setattr(ShakyFileSystem, "failed", Counter())
    for name in ("down", "chance", "late", "error"):
        monkeypatch.setattr(ShakyFileSystem, name, getattr(ShakyFileSystem, name))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    return ShakyFileSystem


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    base = f"memory://{uuid.uuid4().hex}/data"
    yield base
    fsspec.filesystem("memory").rm(base.removeprefix("memory://").partition("/")[0], recursive=True)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return make_sources(tmp_path_factory.mktemp("sources"), 30)


def remote_files(url: str) -> dict[str, bytes]:
    files, base = fsspec.core.url_to_fs(url)
    return {
        path.removeprefix(base).lstrip("/"): MemoryFileSystem.cat_file(files, path)
        for path in files.store
        if path.startswith(base) and "/." not in path.removeprefix(base)
    }


def local_files(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in files_of(out)}


def counts(report) -> tuple[int, int, int]:
    return report.counts["done"], report.counts["skipped"], report.counts["failed"]


def staged(url: str) -> list[Path]:
    folder = state_folder(url) / "staging"
    return sorted(folder.rglob("*")) if folder.exists() else []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_remote_output_is_what_a_local_one_is(layout, sources, memory, tmp_path: Path):
    options = {"job": make_job(layout), "shard_assets": 8}
    assert counts(run(sources, memory, **options)) == (30, 0, 0)
    run(sources, tmp_path / "out", **options)
    assert remote_files(memory) == local_files(tmp_path / "out")
    assert staged(memory) == []
    assert len(list(assets_of(memory))) == 30
    lane = PlanLane()
    report = run(sources, memory, lane, **options)
    assert counts(report) == (0, 30, 0)
    assert lane.rendered == []
    assert str(report.results[0].path).startswith("memory://")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_there_is_found_without_a_ledger(layout, sources, memory, tmp_path: Path):
    options = {"job": make_job(layout), "shard_assets": 8}
    run(sources[:16], memory, **options)
    (tmp_path / "home").rename(tmp_path / "lost")
    lane = PlanLane()
    assert sum(counts(run(sources, memory, lane, **options))) == 30
    assert sorted(lane.rendered) == [f"a{n:04d}" for n in range(16, 30)]
    assert len(list(assets_of(memory))) == 30
    assert staged(memory) == []


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("late", [0.0, 0.5])
def test_a_server_that_fails_now_and_then_costs_nothing(
    layout, late, sources, shaky, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Half of its failures come after it has done what it was asked for."""
    from objaverse_render_addon.batch import engine
    from objaverse_render_addon.batch.output import storage

    monkeypatch.setattr(storage, "_FIRST_WAIT", 0.02)
    monkeypatch.setattr(engine, "_LOOK", 0.05)
    options = {"job": make_job(layout), "shard_assets": 8}
    lane = PlanLane(None, lambda *_: setattr(shaky, "chance", 0.03))
    shaky.late = late
    report = run(sources, "shaky://bucket/data", lane, PlanLane(lane.rendered), **options)
    assert counts(report) == (30, 0, 0)
    assert sum(shaky.failed.values()) > 3
    assert len(lane.rendered) == 30
    shaky.chance = 0.0
    run(sources, tmp_path / "out", **options)
    assert remote_files("shaky://bucket/data") == local_files(tmp_path / "out")
    assert staged("shaky://bucket/data") == []


@pytest.mark.parametrize("layout", ["zip", "webdataset"])
def test_a_server_that_is_away_for_a_while_holds_the_run_up(layout, sources, shaky):
    options = {"job": make_job(layout), "shard_assets": 4, "patience": 30}
    told: list[str] = []

    def go_down(task, _) -> None:
        if task.asset_id == "a0009" and not sum(shaky.failed.values()):
            shaky.down = True
            threading.Timer(3.0, lambda: setattr(shaky, "down", False)).start()

    lane = PlanLane(None, go_down)

    def listen(event) -> None:
        if event.kind == "notice":
            told.append(event.text)

    report = run(sources, "shaky://bucket/data", lane, on_event=listen, **options)
    assert counts(report) == (30, 0, 0)
    assert sorted(lane.rendered) == [f"a{n:04d}" for n in range(30)]
    assert any("the server hung up" in text and "Waiting up to 30 s" in text for text in told)
    assert told[-1] == "Storage is there again; going on."
    assert len(told) <= 4, "it is not told again and again"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_server_that_stays_away_ends_the_run_and_nothing_is_rendered_twice(
    layout, sources, shaky
):
    options = {"job": make_job(layout), "shard_assets": 4, "patience": 0.5}

    def go_down(task, _) -> None:
        shaky.down |= task.asset_id == "a0009"

    first, second = PlanLane(None, go_down), PlanLane()
    since = time.monotonic()
    with pytest.raises(OutputNotWritable, match="the server hung up"):
        run(sources, "shaky://bucket/data", first, **options)
    assert time.monotonic() - since < 120
    with Ledger(state_folder("shaky://bucket/data") / "ledger.sqlite") as ledger:
        states = ledger.counts()
        assert states["failed"] == states["given up"] == 0
        assert states["done"] + states["waiting"] == 30
        last = ledger.last_run()
        assert last is not None
        assert last.ended == "failed"
    shaky.down = False
    assert sum(counts(run(sources, "shaky://bucket/data", second, **options))) == 30
    assert sorted(first.rendered + second.rendered) == [f"a{n:04d}" for n in range(30)]
    assert len(list(assets_of("shaky://bucket/data"))) == 30
    assert staged("shaky://bucket/data") == []


def test_what_a_server_did_not_take_leaves_nothing_here(shaky):
    store = open_store("shaky://bucket/data", "zip")
    store.write("x", b"1")
    shaky.down = True
    for action in (store.check, lambda: store.write("y", b"")):
        with pytest.raises(OutputNotWritable):
            action()
    assert staged("shaky://bucket/data") == []


def test_a_server_that_is_away_does_not_hold_up_who_wants_to_stop(sources, shaky):
    cancel = threading.Event()

    def go_down(task, _) -> None:
        if task.asset_id == "a0005":
            shaky.down = True
            threading.Timer(1.0, cancel.set).start()

    since = time.monotonic()
    with pytest.raises(Interrupted):
        run(sources, "shaky://bucket/data", PlanLane(None, go_down), cancel=cancel)
    # And not the ten minutes of patience.
    assert time.monotonic() - since < 120


@pytest.mark.parametrize(
    ("error", "wrong"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), DiskFull),
        (RuntimeError("QuotaExceeded: over quota"), DiskFull),
        (PermissionError(errno.EACCES, "Permission denied"), OutputNotWritable),
        (ConnectionError("reset"), OutputNotWritable),
        (KeyError("whatever a library raises"), OutputNotWritable),
    ],
)
def test_whatever_a_file_system_raises_has_a_name(shaky, sources, error, wrong):
    shaky.down, shaky.error = True, error
    store = open_store("shaky://bucket/data", "zip")
    for action in (store.check, store.names, lambda: store.exists("x"),
                   lambda: store.write("x", b"")):  # fmt: skip
        with pytest.raises(wrong, match="shaky://bucket/data"):
            action()
    with pytest.raises(wrong):
        run(sources, "shaky://bucket/data")


def test_a_finished_folder_that_is_replaced_leaves_nothing_of_the_old(memory, tmp_path: Path):
    store = open_store(memory, "folder")
    for names in (["000.png", "001.png", "metadata.json"], ["000.png", "metadata.json"]):
        local = tmp_path / "asset"
        local.mkdir()
        for name in names:
            (local / name).write_text(f"{names}")
        store.put(local, "asset")
        assert not local.exists()
        assert sorted(remote_files(memory)) == [f"asset/{name}" for name in names]


def test_another_job_is_told_at_a_remote_output_too(sources, memory, tmp_path: Path):
    run(sources[:3], memory)
    with pytest.raises(OutputExists, match="seed: 0 -> 4"):
        run(sources[:3], memory, job=make_job(seed=4))
    (tmp_path / "home").rename(tmp_path / "lost")
    report = run(sources[:3], memory, job=make_job(seed=4))
    assert counts(report) == (0, 0, 3)
    assert all(isinstance(result.error, OutputExists) for result in report.results)
    assert counts(run(sources[:3], memory, job=make_job(seed=4), overwrite=True)) == (3, 0, 0)
    assert {metadata["seed"] for _, metadata in assets_of(memory)} == {4}


@pytest.mark.parametrize("url", ["nonsense://x/y", "s3://bucket/x"])
def test_urls_that_nobody_can_open_are_named(url: str):
    if url.startswith("s3"):
        pytest.importorskip("fsspec")
        if __import__("importlib.util").util.find_spec("s3fs"):
            pytest.skip("s3fs is here")
    with pytest.raises((ProtocolNotAllowed, MissingDependency), match=url.partition("/x")[0][:9]):
        open_store(url, "zip")


def test_a_run_that_finds_its_empty_folder_taken_away_goes_on(tmp_path: Path):
    out, state = tmp_path / "out", tmp_path / "state"
    store = open_store(out, "zip", state)
    with no_empty_folders(out):
        store.check()
    assert not out.exists()
    assert store.names() == []
    (tmp_path / "a.zip").write_bytes(b"whole")
    store.put(tmp_path / "a.zip", "a.zip")
    assert store.names() == ["a.zip"]


def test_every_remote_output_has_a_state_of_its_own(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    urls = ["s3://b/a", "s3://b/a_", "s3://b/a/b", "gs://b/a", "s3://b/" + "x" * 300]
    folders = {state_folder(url) for url in urls}
    assert len(folders) == len(urls)
    assert state_folder("s3://b/a/") == state_folder("s3://b/a")
    assert all(folder.is_relative_to(tmp_path) for folder in folders)
    assert state_folder(tmp_path / "out") == tmp_path / "out" / ".state"
