"""What ``status`` says of ledgers, to people, machines and the older scripts."""

from __future__ import annotations

import csv
import json
import re
import shutil
import threading
import time
from pathlib import Path

import pytest
from batch_lanes import PlanLane, fails, make_job, make_sources, run, stopping_lane

from objaverse_render_addon import cli
from objaverse_render_addon.batch.lock import Lock
from objaverse_render_addon.batch.queue.ledger import Ledger
from objaverse_render_addon.batch.queue.rows import AssetOutcome, QueueEntry
from objaverse_render_addon.batch.status import export_csv, failures, ledgers, read_status
from objaverse_render_addon.cli.progress import JsonProgress, TerminalProgress
from objaverse_render_addon.errors import (
    ImportFailed,
    Interrupted,
    LedgerDamaged,
    OutputBusy,
    SourceNotFound,
    WorkerCrashed,
    reasons,
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Ten assets: five done, three of two kinds failed, one given up, one waiting."""
    out = tmp_path / "out"
    with Ledger(out / ".state" / "ledger.sqlite") as ledger:
        request = ledger.add("x", [QueueEntry(f"m/a{n}.{'glb' if n % 2 else 'obj'}", f"a{n}")
                                   for n in range(10)])  # fmt: skip
        rows = ledger.claim(request, 9)
        for row in rows[:5]:
            ledger.finish(
                AssetOutcome(row.id, "done", 1, path=f"{row.asset_id}.zip", sha256="ab" * 32)
            )
        for row, reason in zip(rows[5:8], ["timeout", "no-geometry", "timeout"], strict=True):
            ledger.finish(
                AssetOutcome(row.id, "failed", 1, reason, f"{row.source}: why, \"so\"", "a way out",
                        "last\nwords", file_type=row.source[-3:])
            )  # fmt: skip
        ledger.finish(AssetOutcome(rows[8].id, "given up", 2, "worker-crashed", "dead"))
    return out


def begin_run(out: Path, **values: object) -> None:
    with Ledger(out / ".state" / "ledger.sqlite") as ledger:
        ledger.beat(ledger.start_run(4), 100.0, 40, 10, **values)


def test_the_numbers_are_those_of_the_ledger(out: Path):
    status = read_status(ledgers(out))
    assert (status.total, status.ended, status.yielded) == (10, 9, 5 / 9)
    assert status.counts["waiting"] == 1
    assert status.reasons == {"timeout": 2, "no-geometry": 1, "worker-crashed": 1}
    assert status.file_types == {"glb": 2, "obj": 1, "?": 1}
    assert (status.rate, status.seconds_left, status.runs) == (0.0, None, [])


def test_the_rate_is_that_of_runs_at_work(out: Path):
    begin_run(out)
    status = read_status(ledgers(out))
    assert status.rate == 0.5
    assert status.seconds_left == 2.0
    begin_run(out, ended="finished")
    assert read_status(ledgers(out)).seconds_left is None


@pytest.mark.parametrize(
    ("values", "then", "words"),
    [
        ({}, 0.0, "4 workers, 40 done and 10 failed in 1 min 40 s"),
        ({"note": "the disk is full"}, 0.0, "waiting: the disk is full"),
        ({"ended": "interrupted"}, 0.0, "the last run was interrupted"),
        ({}, 100.0, "the last run was killed"),
        ({}, -1e6, "the last run was killed"),
    ],
)
def test_people_are_told_what_goes_on(out, capsys, monkeypatch, values, then, words):
    begin_run(out, **values)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + then)
    assert cli.main(["status", str(out)]) == 0
    text = capsys.readouterr().out
    assert words in text
    assert "10 assets: 1 waiting, 5 done, 3 failed, 1 given up" in text
    assert "90.0% ended, 55.6% of these are done" in text
    assert "2  timeout" in text


def test_people_are_told_how_each_part_of_a_list_ended(out: Path, capsys):
    ledger = out / ".state" / "ledger.sqlite"
    parts = [ledger.with_name(f"ledger-{index:04d}-of-0003.sqlite") for index in range(3)]
    begin_run(out, ended="finished")
    for part in parts[:2]:
        shutil.copy(ledger, part)
    begin_run(out)
    ledger.rename(parts[2])

    def told() -> str:
        assert cli.main(["status", str(out)]) == 0
        return capsys.readouterr().out

    assert "of the others 2 finished" in told()
    with Ledger(parts[2]) as writer:
        last = writer.last_run()
        assert last is not None
        writer.beat(last.id, 1.0, 1, 1, ended="interrupted")
    assert "nobody is at work; of the parts 2 finished, 1 was interrupted" in told()
    shutil.copy(parts[2], ledger.with_name("ledger-0001-of-0002.sqlite"))
    assert "split in different ways (2, 3 parts)" in told()


def test_machines_are_told_the_same(out: Path, capsys):
    assert cli.main(["status", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["counts"]["done"] == 5
    assert (facts["total"], facts["ended"], facts["yield"]) == (10, 9, 5 / 9)


def test_failed_assets_are_listed_with_cause_and_way_out(out: Path, capsys):
    assert [row["asset_id"] for row in failures(ledgers(out), ["timeout"])] == ["a5", "a7"]
    arguments = ["status", str(out), "--failed", "--reason", "timeout", "--log"]
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[:4] == [
        'm/a5.glb [timeout] m/a5.glb: why, "so"', "  → a way out", "    last", "    words",
    ]  # fmt: skip
    assert cli.main(["status", str(out), "--failed", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["reason"] for row in rows] == [
        "timeout", "no-geometry", "timeout", "worker-crashed",
    ]  # fmt: skip


def test_the_lists_of_the_older_scripts_are_written(out: Path, tmp_path: Path):
    written = export_csv(ledgers(out), tmp_path / "logs")
    assert [(path.name, count) for path, count in written] == [
        ("handle-found-object-successful.csv", 5), ("handle-found-object-failed.csv", 4),
    ]  # fmt: skip
    with written[0][0].open(newline="") as file:
        rows = list(csv.reader(file))
    assert [row[1:] for row in rows[:2]] == [["m/a0.obj", "ab" * 32], ["m/a1.glb", "ab" * 32]]
    assert all(float(row[0]) > 1e9 for row in rows)
    with written[1][0].open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][1:] == ["m/a5.glb", "", "timeout", 'm/a5.glb: why, "so"']
    assert not list((tmp_path / "logs").glob(".*"))


def test_what_is_to_be_tried_again_waits_for_the_next_run(tmp_path: Path, capsys):
    sources, out = make_sources(tmp_path / "src", 6), tmp_path / "out"

    def act(task, attempt: int) -> None:
        fails(WorkerCrashed("dead"), "a0001")(task, attempt)
        fails(ImportFailed("no"), "a0002")(task, attempt)

    assert run(sources, out, PlanLane(None, act)).counts["failed"] == 2
    assert cli.main(["status", str(out), "--retry", "worker-crashed"]) == 0
    assert "waiting for the next run: 1 asset" in capsys.readouterr().out
    lane = PlanLane()
    assert run(sources, out, lane).counts["failed"] == 1
    assert lane.rendered == ["a0001"]
    assert cli.main(["status", str(out), "--retry", "all"]) == 0
    assert run(sources, out).ok


def test_why_nothing_is_tried_again_is_said(tmp_path: Path, capsys):
    names = tmp_path / "names.txt"
    names.write_text("".join(f"{path} --id same\n" for path in make_sources(tmp_path / "a", 2)))
    sources, out = [str(names)], tmp_path / "out"
    assert run(sources, out).counts["failed"] == 1
    for reason, words in (
        ("duplicate-asset", "1 duplicate cannot be tried again"),
        ("timeout", "what failed: duplicate-asset 1"),
    ):
        assert cli.main(["status", str(out), "--retry", reason]) == 0
        said = capsys.readouterr()
        assert "waiting for the next run: 0 assets" in said.out
        assert words in said.err
        assert ("another --id" in said.err) == (reason == "duplicate-asset")


@pytest.mark.parametrize(
    "arguments", [["status", "--retry"], ["status", "--failed", "--reason"], ["render", "--retry"]]
)
def test_a_reason_that_does_not_exist_is_refused_with_those_like_it(arguments, out: Path, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments, "worker-timeout", str(out)])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "there is no reason 'worker-timeout'" in said and "timeout" in said.split("are ")[1]
    assert all(name in said for name in reasons())


def test_nothing_is_put_back_under_a_run_at_work(out: Path, capsys):
    lock = Lock(out / ".state", str(out))
    try:
        assert cli.main(["status", str(out), "--retry", "all"]) == OutputBusy.exit_code
        assert cli.main(["status", str(out)]) == 0, "looking is allowed"
    finally:
        lock.release()
    assert "is being rendered into by process" in capsys.readouterr().err


def test_where_there_is_no_ledger_that_is_said(tmp_path: Path, capsys):
    with pytest.raises(SourceNotFound, match="no ledger"):
        ledgers(tmp_path)
    assert cli.main(["status", str(tmp_path)]) == SourceNotFound.exit_code
    (tmp_path / ".state").mkdir()
    (tmp_path / ".state" / "ledger.sqlite").write_bytes(b"what?" * 1000)
    assert cli.main(["status", str(tmp_path)]) == LedgerDamaged.exit_code
    assert "Traceback" not in capsys.readouterr().err


# --- While it runs --------------------------------------------------------------------------


def test_machines_can_follow_a_run(tmp_path: Path, capsys):
    sources, out = make_sources(tmp_path / "src", 5), tmp_path / "out"
    run(sources[:2], out)
    progress = JsonProgress()
    with progress:
        report = run(
            sources, out, PlanLane(None, fails(ImportFailed("no"), "a0003")),
            on_event=progress.event, on_result=progress.result, on_start=progress.start,
        )  # fmt: skip
    progress.summary(report)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["kind"] == "start"
    assert (lines[0]["waiting"], lines[0]["done"]) == (3, 2)
    results = [line for line in lines if line["kind"] == "result"]
    assert sorted((line["asset_id"], line["status"], line["reason"]) for line in results) == [
        ("a0000", "skipped", None), ("a0001", "skipped", None), ("a0002", "done", None),
        ("a0003", "failed", "import-failed"), ("a0004", "done", None),
    ]  # fmt: skip
    assert lines[-1] == {"kind": "summary", "done": 2, "skipped": 2, "failed": 1}


@pytest.mark.parametrize(("count", "quiet"), [(1, False), (3, False), (3, True)])
def test_a_pipe_is_told_now_and_then_how_things_stand(
    count: int, quiet: bool, tmp_path: Path, monkeypatch, capsys
):
    from objaverse_render_addon.cli import progress as module

    monkeypatch.setattr(module, "_SILENCE", 0.1)
    sources = make_sources(tmp_path / "src", count)
    lane = PlanLane(None, lambda task, _: lane.sleep(0.5 if "a0000" in task.asset_id else 0))
    progress = TerminalProgress(quiet)
    with progress:
        run(
            sources, tmp_path / "out", lane,
            on_event=progress.event, on_result=progress.result, on_start=progress.start,
        )  # fmt: skip
    said = capsys.readouterr().err.splitlines()
    assert not progress._thread.is_alive()
    if quiet:
        assert said == []
        return
    counts = "" if count == 1 else r"\d of 3 assets, 0 failed, 0\.0 views/s; "
    assert any(re.fullmatch(rf"\d+ s: {counts}a000\d: render", line) for line in said)


def test_an_asset_in_a_shard_is_told_by_its_own_name(tmp_path: Path, capsys):
    sources, out = make_sources(tmp_path / "src", 2), tmp_path / "out"
    job = make_job("webdataset")
    for word in ("done   ", "skipped"):
        progress = TerminalProgress(quiet=False)
        run(sources, out, job=job, on_result=progress.result, on_start=progress.start)
        said = capsys.readouterr().out
        for asset in ("a0000", "a0001"):
            assert re.search(rf"^{word} \S+shard-000000\.tar/{asset}\b", said, re.MULTILINE)


def test_what_is_rendered_and_waits_for_its_shard_is_told(tmp_path: Path, capsys):
    sources, out = make_sources(tmp_path / "src", 6), tmp_path / "out"
    cancel = threading.Event()
    lane = stopping_lane(3, cancel)
    with pytest.raises(Interrupted):
        run(sources, out, lane, job=make_job("webdataset"), cancel=cancel)
    assert read_status(ledgers(out)).staged == 3
    assert cli.main(["status", str(out)]) == 0
    assert "3 assets rendered, but not yet where they belong" in capsys.readouterr().out
    run(sources, out, job=make_job("webdataset"))
    assert read_status(ledgers(out)).staged == 0


def test_who_leaves_all_out_is_not_told_that_nothing_was_named(tmp_path: Path, capsys):
    sources, out = make_sources(tmp_path / "src", 2), tmp_path / "out"
    TerminalProgress(quiet=False).summary(run(sources, out, licenses="by"))
    assert "that this run was asked for" in capsys.readouterr().out


def test_people_see_a_bar_that_ends_where_the_list_does(tmp_path: Path, monkeypatch, capsys):
    from objaverse_render_addon.cli import progress as module

    class Bar:
        def __init__(self, total: int) -> None:
            self.total, self.n = total, 0

        def update(self) -> None:
            self.n += 1

        def set_postfix_str(self, text: str) -> None:
            self.text = text

        def clear(self) -> None: ...
        def refresh(self) -> None: ...
        def close(self) -> None: ...

    bars: list[Bar] = []
    monkeypatch.setattr(module, "new_bar", lambda total, **_: bars.append(Bar(total)) or bars[-1])
    sources, out = make_sources(tmp_path / "src", 9), tmp_path / "out"
    run(sources[:3], out, PlanLane(None, fails(ImportFailed("no"), "a0001")))
    progress = TerminalProgress(quiet=False)
    progress._shown = True
    with progress:
        report = run(
            sources, out, PlanLane(None, fails(ImportFailed("no"), "a0005")),
            on_event=progress.event, on_result=progress.result, on_start=progress.start,
        )  # fmt: skip
    progress.summary(report)
    (bar,) = bars
    assert (bar.total, bar.n) == (6, 6), "what was done before, or failed, is not counted"
    said = capsys.readouterr()
    assert said.out.count("done ") == 5
    assert said.out.count("skipped") == 2 + 1
    assert said.err.count("failed [import-failed]") == 2
    assert said.out.splitlines()[-1] == "5 done, 2 skipped, 2 failed"
