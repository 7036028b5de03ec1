"""One ledger of many: what parts of a list say together, and when they contradict each other."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pytest
from batch_lanes import PlanLane, fails, make_job, make_sources, run

from objaverse_render_addon import cli
from objaverse_render_addon.batch.lock import Lock
from objaverse_render_addon.batch.queue import merge as batch_merge
from objaverse_render_addon.batch.queue.ledger import Ledger
from objaverse_render_addon.batch.queue.merge import merge
from objaverse_render_addon.batch.queue.rows import AssetOutcome, QueueEntry
from objaverse_render_addon.batch.status import ledgers, read_status
from objaverse_render_addon.errors import (
    ImportFailed,
    LedgerDamaged,
    OutputBusy,
    OutputExists,
    SourceNotFound,
)


def part(folder: Path, index: int, total: int, job: str = "job", **states: str) -> Path:
    path = folder / f"ledger-{index:04d}-of-{total:04d}.sqlite"
    with Ledger(path) as ledger:
        known = {row["asset_id"]: row["id"] for row in ledger.assets()}
        if not known:
            ledger.put("fingerprint", job)
            ledger.add("x", [QueueEntry(f"/{name}", name) for name in states])
            known = {row["asset_id"]: row["id"] for row in ledger.assets()}
        for name, state in states.items():
            if state != "waiting":
                reason = None if state == "done" else "timeout"
                ledger.finish(AssetOutcome(known[name], state, 1, reason, path=f"{name}.zip"))
        ledger.beat(ledger.start_run(1), random.random(), 1, 0, ended="finished")
    return path


def rows(path: Path) -> dict[str, str]:
    with Ledger(path, read_only=True) as ledger:
        return {row["asset_id"]: row["state"] for row in ledger.assets()}


def test_parts_are_put_together_and_missing_ones_told(tmp_path: Path, capsys):
    part(tmp_path, 0, 3, a="done", b="failed")
    part(tmp_path, 2, 3, c="waiting")
    target = tmp_path / "ledger.sqlite"
    arguments = ["merge", "data", "--state", str(tmp_path)]
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out
    assert "3 assets of 2 parts" in said
    assert "not rendered yet: 1 asset;" in said
    assert "missing: 1" in said
    assert (read_status([target]).parts, read_status([target]).missing) == ((2, 3), [1])
    assert cli.main(["status", "data", "--state", str(tmp_path)]) == 0
    assert "ledgers of 2 of 3 parts, still without 1\n" in capsys.readouterr().out
    assert rows(target) == {"a": "done", "b": "failed", "c": "waiting"}
    assert cli.main(arguments) == 0
    assert rows(target) == {"a": "done", "b": "failed", "c": "waiting"}
    assert len(read_status([target]).runs) == 1
    with Ledger(target, read_only=True) as ledger:
        assert len(list(ledger.runs())) == 2


def test_parts_that_come_later_are_missing_no_more(tmp_path: Path):
    first, second = part(tmp_path, 0, 2, a="done"), part(tmp_path, 1, 2, b="done")
    target = tmp_path / "ledger.sqlite"
    assert merge([first], target, "data") == (1, [1])
    assert merge([second], target, "data") == (2, [])
    status = read_status([target])
    assert (status.parts, status.missing) == ((1, 1), [])


def test_a_ledger_of_the_whole_list_lacks_no_part(tmp_path: Path):
    target = tmp_path / "ledger.sqlite"
    with Ledger(target) as ledger:
        ledger.add("all", [QueueEntry("/a", "a"), QueueEntry("/b", "b")])
    assert merge([part(tmp_path, 0, 2, a="done")], target, "data") == (2, [1])
    assert read_status([target]).missing == []


@pytest.mark.parametrize("when", [0, 1])
def test_a_merge_that_breaks_off_forgets_no_part(tmp_path: Path, monkeypatch, when: int):
    target = tmp_path / "ledger.sqlite"
    paths = [part(tmp_path, 0, 3, a="done"), part(tmp_path, 1, 3, b="done")]
    add, added = batch_merge._add, list[Path]()

    def interrupted(whole: Path, one: Path) -> None:
        if len(added) == when:
            raise KeyboardInterrupt
        add(whole, one)
        added.append(one)

    monkeypatch.setattr(batch_merge, "_add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        merge(paths, target, "data")
    monkeypatch.undo()
    assert read_status([target]).missing == [0, 1, 2][when:]
    assert merge(paths[1:], target, "data")[0] == when + 1
    assert merge(paths, target, "data") == (2, [2])
    assert read_status([target]).missing == [2]


def test_the_whole_list_lacks_nothing_when_it_was_asked_for(tmp_path: Path):
    sources, out = make_sources(tmp_path / "sources", 6), tmp_path / "out"
    run(sources, out, shard=(0, 2))
    parts = sorted((out / ".state").glob("ledger-*-of-*.sqlite"))
    merge(parts, out / ".state" / "ledger.sqlite", "data")
    assert read_status(ledgers(out)).missing == [1]
    run(sources, out)
    status = read_status(ledgers(out))
    assert (status.missing, status.counts["done"]) == ([], 6)


def test_two_ledgers_of_one_part_are_both_merged(tmp_path: Path):
    paths = []
    for folder, names in (("one", {"a": "done"}), ("two", {"b": "done"})):
        (tmp_path / folder).mkdir()
        paths.append(part(tmp_path / folder, 0, 1, **names))
    assert merge(paths, tmp_path / "ledger.sqlite", "data") == (2, [])


@pytest.mark.parametrize("jump", [-1e8, 0.0, 1e8])
def test_what_a_part_did_since_counts_whatever_its_clock_says(
    tmp_path: Path, monkeypatch, jump: float
):
    target = tmp_path / "ledger.sqlite"
    path = part(tmp_path, 0, 1, a="done", b="failed", c="waiting", d="waiting")
    merge([path], target, "data")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    part(tmp_path, 0, 1, b="done", c="failed")
    merge([path], target, "data")
    assert rows(target) == {"a": "done", "b": "done", "c": "failed", "d": "waiting"}


def test_what_is_done_in_the_whole_stays_done(tmp_path: Path):
    target = tmp_path / "ledger.sqlite"
    path = part(tmp_path, 0, 1, a="failed", b="waiting")
    merge([path], target, "data")
    with Ledger(target) as ledger:
        row = ledger.find("a")
        assert row is not None
        ledger.finish(AssetOutcome(row.id, "done", 1))
    merge([path], target, "data")
    assert rows(target) == {"a": "done", "b": "waiting"}


def test_status_reads_the_parts_until_they_are_merged(tmp_path: Path):
    state, target = tmp_path / ".state", tmp_path / ".state" / "ledger.sqlite"
    state.mkdir()
    paths = [part(state, 0, 2, a="done"), part(state, 1, 2, b="waiting")]
    assert ledgers(tmp_path) == paths
    assert read_status(paths).total == 2
    assert read_status(paths[:1]).parts == (1, 2)
    merge(paths, target, "data")
    assert ledgers(tmp_path) == [target]
    part(state, 1, 2, b="done")
    assert ledgers(tmp_path) == paths
    assert read_status(paths).counts["done"] == 2
    merge(paths, target, "data")
    assert ledgers(tmp_path) == [target]


def test_parts_that_do_not_fit_are_refused(tmp_path: Path):
    target = tmp_path / "ledger.sqlite"
    first = part(tmp_path, 0, 2, a="done")
    with pytest.raises(OutputExists, match="2, 3 parts"):
        merge([first, part(tmp_path, 0, 3, b="done")], target, "data")
    with pytest.raises(OutputExists, match="different jobs"):
        merge([first, part(tmp_path, 1, 2, job="other", c="done")], target, "data")
    with pytest.raises(SourceNotFound):
        merge([], target, "data")
    with pytest.raises(LedgerDamaged, match=r"other\.sqlite is not named"):
        merge([tmp_path / "other.sqlite"], target, "data")
    broken = tmp_path / "ledger-0001-of-0002.sqlite"
    broken.write_bytes(b"no" * 3000)
    with pytest.raises(LedgerDamaged, match="0001-of-0002"):
        merge([first, broken], target, "data")
    assert not target.exists() or rows(target) == {}


def test_a_whole_of_another_job_is_refused(tmp_path: Path):
    target = tmp_path / "ledger.sqlite"
    merge([part(tmp_path, 0, 1, a="done")], target, "data")
    (tmp_path / "ledger-0000-of-0001.sqlite").unlink()
    with pytest.raises(OutputExists, match="different jobs"):
        merge([part(tmp_path, 0, 1, job="other", b="done")], target, "data")


def test_a_part_that_never_began_has_no_say(tmp_path: Path):
    empty = tmp_path / "ledger-0001-of-0002.sqlite"
    Ledger(empty).close()
    assert merge([part(tmp_path, 0, 2, a="done"), empty], tmp_path / "ledger.sqlite", "x") == (
        1, [],
    )  # fmt: skip


def test_nothing_is_merged_under_a_run_at_work(tmp_path: Path):
    paths = [part(tmp_path, 0, 2, a="done"), part(tmp_path, 1, 2, b="done")]
    lock = Lock(tmp_path, "data", (1, 2))
    with pytest.raises(OutputBusy):
        merge(paths, tmp_path / "ledger.sqlite", "data")
    lock.release()
    assert merge(paths, tmp_path / "ledger.sqlite", "data") == (2, [])


def test_after_merging_a_run_over_a_part_of_the_list_is_that_part_alone(tmp_path: Path):
    sources, out = make_sources(tmp_path / "src", 20), tmp_path / "out"
    failing = fails(ImportFailed("no"), "a0004", "a0005", "a0011")
    for index in range(2):
        run(sources, out, PlanLane(None, failing), shard=(index, 2))
    target = out / ".state" / "ledger.sqlite"
    assert merge(ledgers(out), target, "data") == (20, [])
    report = run(sources[:6], out, retry="all")
    assert {name: report.counts[name] for name in ("done", "skipped", "failed")} == {
        "done": 2, "skipped": 4, "failed": 0,
    }  # fmt: skip
    assert rows(target)["a0011"] == "failed"
    assert run(sources, out, retry="all").counts["done"] == 1


def test_shards_of_all_parts_are_known_after_merging(tmp_path: Path):
    sources, out, job = make_sources(tmp_path / "src", 20), tmp_path / "out", make_job("webdataset")
    for index in range(2):
        run(sources, out, job=job, shard=(index, 2), shard_assets=4)
    target = out / ".state" / "ledger.sqlite"
    merge(ledgers(out), target, "data")
    with Ledger(target) as ledger:
        assert ledger.shards() == {path.name for path in out.glob("*.tar")}
    lane = PlanLane()
    assert run(sources, out, lane, job=job).counts["skipped"] == 20
    assert lane.rendered == []


@pytest.mark.skipif(sys.platform == "win32", reason="no such rights")
def test_what_is_made_of_a_private_ledger_is_private(tmp_path: Path):
    sources = [f"https://host/{name}.glb?token=SECRET" for name in "abcd"]
    for part in range(2):
        run(sources, tmp_path / "out", shard=(part, 2))
    folder = tmp_path / "out" / ".state"
    merge(sorted(folder.glob("ledger-*-of-*.sqlite")), folder / "ledger.sqlite", "out")
    assert (folder / "ledger.sqlite").stat().st_mode & 0o077 == 0
