"""Names, files and disks that are not as they should be: one asset fails, the rest goes on."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from batch_lanes import LAYOUTS, PlanLane, files_of, in_process, make_job, make_sources, run
from objaverse_server import serving, slowly
from test_engine import needs_mount, small_disk

from objaverse_render_addon.assets.sources import Source, safe_name
from objaverse_render_addon.assets.text import NAME_BYTES, short_name
from objaverse_render_addon.batch import engine
from objaverse_render_addon.batch.queue.ledger import Ledger
from objaverse_render_addon.dataset.layout import new_writer
from objaverse_render_addon.errors import Interrupted, InvalidJob, OutputNotWritable

_BYTES_AS_NAMES = pytest.mark.skipif(
    sys.platform in ("win32", "darwin"), reason="names there are Unicode"
)


def failed(report: Any) -> dict[str, str]:
    """Reason of every asset that failed, by its source."""
    return {
        result.source: result.error.reason
        for result in report.results
        if result.error is not None
    }


@_BYTES_AS_NAMES
@pytest.mark.parametrize("ids", ["name", "sha256"])
def test_a_name_that_is_no_utf8_is_one_failed_asset(tmp_path: Path, ids: Any):
    (good,) = make_sources(tmp_path / "in", 1)
    bad = os.fsencode(tmp_path / "in") + b"/caf\xe9.obj"
    with open(bad, "wb") as file:  # noqa: PTH123 (a name of bytes)
        file.write(Path(good).read_bytes() + b"# another\n")
    out = tmp_path / "out"
    report = run([tmp_path / "in"], out, ids=ids)
    assert failed(report) == {f"{tmp_path / 'in'}/caf\\xe9.obj": "source-not-found"}
    assert report.counts["done"] == 1
    (result,) = (one for one in report.results if one.error)
    assert "not UTF-8" in result.error.message and "Rename" in result.error.hint
    with Ledger(out / ".state" / "ledger.sqlite", read_only=True) as ledger:
        assert [row["source"] for row in ledger.assets(("failed",))] == [result.source]
    # It may be renamed, and then it is another one.
    os.rename(bad, tmp_path / "in" / "cafe.obj")  # noqa: PTH104
    assert run([tmp_path / "in"], out, ids=ids).counts["failed"] == 0
    assert len(files_of(out)) == 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_are_short_enough_for_every_file_made_of_them(tmp_path: Path, layout: str):
    stems = ["椅" * 83, "椅" * 82 + "子", "é" * 120, "x" * 240]
    folder = tmp_path / "in"
    folder.mkdir()
    (content,) = make_sources(tmp_path, 1)
    for stem in stems:
        (folder / f"{stem}.obj").write_bytes(Path(content).read_bytes())
    started = time.monotonic()
    report = run([folder], tmp_path / "out", job=make_job(layout), patience=60)
    assert report.counts["done"] == len(stems) and report.counts["failed"] == 0
    assert time.monotonic() - started < 30
    names = [result.asset_id for result in report.results]
    assert len(set(names)) == len(stems)
    assert all(len(name.encode()) <= NAME_BYTES for name in names)
    # What fits is called as it is.
    assert safe_name("x" * 240) == "x" * 120 and short_name("é" * 100) == "é" * 100


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_name_that_the_disk_refuses_is_that_asset_s_failure(tmp_path: Path, layout: str):
    sources = make_sources(tmp_path / "in", 12)
    long = [Source(path, "path", f"{'椅' * 100}{n}") for n, path in enumerate(sources[:10])]
    started = time.monotonic()
    report = run([*long, *sources[10:]], tmp_path / "out", job=make_job(layout), patience=60)
    assert time.monotonic() - started < 30
    assert set(failed(report).values()) == {"invalid-job"}
    assert (report.counts["done"], report.counts["failed"]) == (2, 10)
    with pytest.raises(InvalidJob, match="shorter name"):
        new_writer(tmp_path, "x" * 300, layout)


@pytest.mark.skipif(sys.platform == "win32", reason="what is open cannot be moved there")
@pytest.mark.parametrize("how", ["moved", "removed", "state removed", "at the end"])
def test_an_output_that_goes_away_ends_the_run_by_name(tmp_path: Path, how: str):
    out, count = tmp_path / "out", 60
    sources = make_sources(tmp_path / "in", count)
    last = count - 1 if how == "at the end" else 20

    def act(*_: object) -> None:
        if len(lane.rendered) == last:
            if how == "moved":
                out.rename(tmp_path / "elsewhere")
            else:
                shutil.rmtree(out / ".state" if how.startswith("state") else out)
        if len(lane.rendered) >= last and how != "at the end":
            lane.sleep(0.3)

    lane = PlanLane(None, act)
    with pytest.raises(OutputNotWritable, match=r"ledger\.sqlite was moved or removed") as caught:
        run(sources, out, lane, patience=60)
    assert caught.value.exit_code == 40 and "--out" in caught.value.hint
    if how == "at the end":
        return
    assert len(lane.rendered) < count
    if how == "moved":
        # What was finished is known where it went, and is gone on with there.
        there = tmp_path / "elsewhere"
        before = set(files_of(there))
        assert len(before) == last
        again = PlanLane()
        assert run(sources, there, again).ok
        assert len(files_of(there)) == count and len(again.rendered) <= count - last


@needs_mount
@pytest.mark.parametrize(("layout", "min_free"), [("zip", None), ("zip", 0), ("webdataset", None)])
def test_a_disk_without_room_for_the_next_asset_is_waited_for(
    tmp_path: Path, layout: str, min_free: int | None
):
    """Assets larger than what has to stay free: what fills the disk is removed at once."""
    sources, out = make_sources(tmp_path / "in", 12), tmp_path / "out"
    script = (
        f'head -c 3500000 /dev/zero > "{out}/.filler"; '
        f'("$@"; echo "code $?") & sleep 4; ls "{out}"/.state/*.sqlite >&2; '
        f'rm "{out}/.filler"; wait; ls "{out}" | grep -c zip'
    )
    process = in_process(
        sources, out, tmp_path / "log", padding=400_000, lanes=2, layout=layout, seconds=0.05,
        look=0.1, prefix=small_disk(out, "12m" if layout == "webdataset" else "7m", script),
        options={"min_free": min_free, "patience": 90, "shard_assets": 2},
    )  # fmt: skip
    said, complaints = process.communicate(timeout=150)
    assert "code 0" in said, said + complaints
    assert "result failed" not in said
    assert '"done": 12' in said


def test_servers_that_trickle_hold_no_file_of_this_machine_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine, "_SLOW", 0.3)
    sources = make_sources(tmp_path / "in", 30)
    cancel = threading.Event()
    ended: list[str] = []

    def result(one: Any) -> None:
        ended.append(one.source)
        if len(ended) == len(sources):
            cancel.set()  # The slow ones would take minutes.

    with serving() as server:
        slow = []
        for number in range(20):
            name = f"/{number}.glb"
            server.files[name] = b"glTF" + bytes(100_000)
            server.orders[name] = [slowly(1, 0.05)] * 9
            slow.append(f"{server.endpoint}{name}")
        started = time.monotonic()
        with pytest.raises(Interrupted):
            run(
                [*slow, *sources], tmp_path / "out", PlanLane(), online=True, cancel=cancel,
                on_result=result, download_dir=tmp_path / "cache",
            )  # fmt: skip
        took = time.monotonic() - started
    assert sorted(ended) == sources
    assert took < 20
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _downloads():
        time.sleep(0.05)
    assert not _downloads()


def _downloads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "download"]
