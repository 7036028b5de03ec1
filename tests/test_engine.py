"""The batch engine with lanes that render nothing: what dies, fails or fills up loses nothing."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from batch_lanes import (
    LAYOUTS,
    ROOT,
    PlanLane,
    assets_of,
    fails,
    files_of,
    in_process,
    leftovers,
    make_job,
    make_sources,
    rendered_in,
    run,
    stopping_lane,
)
from helpers import wait_until

from objaverse_render_addon.batch.lanes.local import LaneBroken
from objaverse_render_addon.batch.queue.ledger import Ledger
from objaverse_render_addon.batch.queue.merge import merge
from objaverse_render_addon.errors import (
    DeviceUnavailable,
    DiskFull,
    DuplicateAsset,
    ImportFailed,
    Interrupted,
    LedgerDamaged,
    NoGeometry,
    OutOfMemory,
    OutputBusy,
    OutputExists,
    WorkerCrashed,
    WorkerStartFailed,
    WorkerTimeout,
)
from objaverse_render_addon.job import job_fields


def ledger_of(out: Path, name: str = "ledger.sqlite") -> Ledger:
    return Ledger(out / ".state" / name, read_only=True)


def states(out: Path) -> dict[str, int]:
    with ledger_of(out) as ledger:
        return {name: count for name, count in ledger.counts().items() if count}


def counts(report: Any) -> dict[str, int]:
    return {name: report.counts[name] for name in ("done", "skipped", "failed")}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return make_sources(tmp_path_factory.mktemp("sources"), 200)


@pytest.fixture(scope="module")
def undisturbed(sources: list[str], tmp_path_factory: pytest.TempPathFactory):
    """What a run that nothing happens to makes of the first sources."""
    known: dict[tuple[str, int], dict[str, str]] = {}

    def files(layout: str, count: int) -> dict[str, str]:
        if (layout, count) not in known:
            out = tmp_path_factory.mktemp("undisturbed")
            report = run(sources[:count], out, job=make_job(layout), shard_assets=8)
            assert report.counts["done"] == count
            assert leftovers(out) == []
            known[layout, count] = files_of(out)
        return known[layout, count]

    return files


# --- Workers that die -----------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_workers_that_die_at_random_cost_nothing(layout, sources, undisturbed, tmp_path: Path):
    """Every asset takes its worker down with a chance of a half, at most once."""
    dice, died, guard = random.Random(7), set[str](), threading.Lock()

    def strike(task, _) -> None:
        with guard:
            unlucky = dice.random() < 0.5 and task.asset_id not in died
            died.update([task.asset_id] * unlucky)
        if unlucky:
            kind = dice.choice([WorkerCrashed, WorkerTimeout, OutOfMemory])
            raise kind(f"{task.source}: dead", log="last words")

    rendered: list[str] = []
    made = [PlanLane(rendered, strike) for _ in range(5)]
    report = run(sources, tmp_path, *made, job=make_job(layout), shard_assets=8)
    assert counts(report) == {"done": 200, "skipped": 0, "failed": 0}
    assert 60 < len(died) < 140
    assert sorted(rendered) == sorted({Path(source).stem for source in sources})
    assert files_of(tmp_path) == undisturbed(layout, 200)
    assert leftovers(tmp_path) == []
    assert states(tmp_path) == {"done": 200}
    assert all(lane.closed for lane in made)


def test_a_failed_asset_is_known_by_the_content_of_its_file(sources, tmp_path: Path):
    def act(task, _) -> None:
        if task.asset_id == "a0001":
            raise WorkerCrashed(f"{task.source}: dead")
        if task.asset_id == "a0002":
            raise NoGeometry(f"{task.source}: empty")

    broken = tmp_path / "a0009.glb"
    broken.write_bytes(b"no glTF at all")
    missing = tmp_path / "missing.obj"
    run([*sources[:3], broken, missing], tmp_path / "out", PlanLane(None, act))
    with ledger_of(tmp_path / "out") as ledger:
        known = {row["source"]: row["sha256"] for row in ledger.assets(("failed", "given up"))}
    assert known == {
        **{
            str(name): hashlib.sha256(Path(name).read_bytes()).hexdigest()
            for name in (*sources[1:3], broken)
        },
        str(missing): None,
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_is_no_asset_and_keeps_nobody_waiting(sources, tmp_path: Path):
    os.mkfifo(pipe := tmp_path / "pipe.glb")
    odd = [str(pipe), "/dev/zero", "a\0b.glb", str(tmp_path / ("long" * 100 + ".glb"))]
    report = run([*odd, *sources[:2]], tmp_path / "out")
    assert counts(report) == {"done": 2, "skipped": 0, "failed": len(odd)}


def test_an_asset_that_kills_its_workers_is_given_up_and_tried_again_when_asked(
    sources, tmp_path: Path
):
    where: list[tuple[str, int]] = []

    def plan(number: int):
        def act(task, _) -> None:
            if task.asset_id == "a0003":
                where.append((task.asset_id, number))
                raise WorkerCrashed(f"{task.source}: dead", log="last words", hint="Look.")
            time.sleep(0.01)

        return act

    made = [PlanLane(None, plan(number)) for number in range(2)]
    report = run(sources[:20], tmp_path, *made)
    assert counts(report) == {"done": 19, "skipped": 0, "failed": 1}
    assert sorted(where) == [("a0003", 0), ("a0003", 1)], "the second time elsewhere"
    assert report.exit_code == WorkerCrashed.exit_code
    with ledger_of(tmp_path) as ledger:
        (row,) = ledger.assets(("given up",))
        assert (row["attempts"], row["reason"], row["log"]) == (2, "worker-crashed", "last words")
    # It is not tried again by itself, but told again, with its log.
    lane = PlanLane()
    report = run(sources[:20], tmp_path, lane)
    assert lane.rendered == []
    assert counts(report) == {"done": 0, "skipped": 19, "failed": 1}
    (failed,) = report.failed
    assert isinstance(failed.error, WorkerCrashed)
    assert failed.error.log == "last words"
    assert "--retry worker-crashed" in failed.error.hint
    assert [result.asset_id for result in report.results] == [f"a{n:04d}" for n in range(20)]
    assert run(sources[:20], tmp_path, lane, retry=["timeout"]).counts["failed"] == 1
    assert run(sources[:20], tmp_path, lane, retry=["worker-crashed"]).counts["done"] == 1
    assert lane.rendered == ["a0003"]
    assert states(tmp_path) == {"done": 20}


def test_failures_of_assets_are_tried_once_and_told_with_their_kind(sources, tmp_path: Path):
    tried: Counter[str] = Counter()

    def act(task, attempt: int) -> None:
        tried[task.asset_id] += 1
        fails(ImportFailed("no", hint="h", log="l"), "a0001", "a0005")(task, attempt)
        if task.asset_id == "a0002":
            raise RuntimeError("a mistake of ours")

    report = run(sources[:8], tmp_path, PlanLane(None, act), PlanLane(None, act))
    assert counts(report) == {"done": 5, "skipped": 0, "failed": 3}
    assert set(tried.values()) == {1}
    assert report.exit_code == 3
    by_id = {result.asset_id: result.error for result in report.failed}
    assert by_id["a0001"] is not None
    assert "RuntimeError: a mistake" in str(by_id["a0002"])
    with ledger_of(tmp_path) as ledger:
        assert ledger.failures_by("reason") == {"import-failed": 2, "unexpected-error": 1}
        assert ledger.failures_by("file_type") == {"obj": 3}
    assert run(sources[:8], tmp_path, PlanLane(), retry="all").counts["done"] == 3


def test_lanes_that_never_start_end_the_run_and_touch_no_asset(sources, tmp_path: Path):
    def broken(*_: object) -> None:
        raise LaneBroken(WorkerStartFailed("Blender does not start.", hint="doctor"))

    with pytest.raises(WorkerStartFailed, match="does not start"):
        run(sources[:20], tmp_path, *(PlanLane(None, broken) for _ in range(3)))
    assert states(tmp_path) == {"waiting": 20}
    assert run(sources[:20], tmp_path).counts["done"] == 20


def test_a_broken_lane_among_good_ones_is_left_out(sources, tmp_path: Path):
    tried, told = [0], []

    def broken(*_: object) -> None:
        tried[0] += 1
        raise LaneBroken(DeviceUnavailable("gpu 1 is gone."))

    def slow(*_: object) -> None:
        time.sleep(0.01)

    report = run(
        sources[:30], tmp_path, PlanLane(None, broken), PlanLane(None, slow), on_event=told.append
    )
    assert report.counts["done"] == 30
    assert tried == [1]
    assert [event.text for event in told if event.kind == "notice"] == [
        "plan 0 is out of use: gpu 1 is gone."
    ]
    with ledger_of(tmp_path) as ledger:
        assert {row["attempts"] for row in ledger.assets()} == {1}


def test_a_lane_that_worked_may_break_and_come_back(sources, tmp_path: Path):
    count = [0]

    def flaky(*_: object) -> None:
        count[0] += 1
        if count[0] in (3, 4, 10):
            raise LaneBroken(WorkerStartFailed("not now"))

    assert run(sources[:20], tmp_path, PlanLane(None, flaky)).counts["done"] == 20


# --- The parent dies ------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_run_that_is_killed_again_and_again_ends_as_if_nothing_was(
    layout, sources, undisturbed, tmp_path: Path
):
    dice = random.Random(LAYOUTS.index(layout))
    out, log, kills = tmp_path / "out", tmp_path / "log", 0
    while True:
        process = in_process(
            sources[:60], out, log, layout=layout, seconds=0.04,
            options={"shard_assets": 8},
        )  # fmt: skip
        assert process.stdout is not None
        if kills < 6:
            process.stdout.readline()
            time.sleep(dice.uniform(0.0, 0.35))
            process.kill()
            kills += process.wait() == -signal.SIGKILL
            process.communicate()
            continue
        said, complaints = process.communicate(timeout=60)
        assert process.returncode == 0, said + complaints
        break
    assert files_of(out) == undisturbed(layout, 60)
    assert leftovers(out) == []
    assert states(out) == {"done": 60}
    again = Counter(rendered_in(log))
    assert set(again.values()) == {1}, "nothing that was finished is rendered again"


POINTS = [
    ("Ledger.finish", 3, "before"), ("Ledger.finish", 9, "after"), ("Ledger.flush", 4, "after"),
    ("Ledger.adopt", 1, "before"), ("Ledger.adopt", 2, "after"),
    ("Shards._write", 2, "before"), ("Shards._write", 2, "after"), ("Shards.pack", 1, "after"),
    ("Store.write", 2, "before"), ("Store.write", 1, "after"),
    ("Store.put", 1, "before"), ("Store.put", 2, "after"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "count", "when"), POINTS)
def test_a_run_that_is_killed_while_it_packs_loses_nothing(
    method, count, when, sources, undisturbed, tmp_path: Path
):
    """Also between the shard's last name and what the ledger says of it."""
    out, log = tmp_path / "out", tmp_path / "log"
    options = {"shard_assets": 8}
    first = in_process(
        sources[:24], out, log, layout="webdataset", die=(method, count, when), options=options
    )
    first.communicate(timeout=60)
    assert first.returncode == -signal.SIGKILL
    lane = PlanLane(rendered_in(log))
    report = run(sources[:24], out, lane, job=make_job("webdataset"), **options)
    assert report.ok
    assert set(Counter(lane.rendered).values()) == {1}
    assert files_of(out) == undisturbed("webdataset", 24)
    assert leftovers(out) == []
    assert states(out) == {"done": 24}


# --- Stopping -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]
)
@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_stops_the_run_and_what_is_in_hand_may_end(
    number, times, sources, tmp_path: Path
):
    out, log = tmp_path / "out", tmp_path / "log"
    seconds = 0.3 if times == 1 else 300.0
    process = in_process(sources[:30], out, log, seconds=seconds)
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "start\n"
            time.sleep(0.2)
            for _ in range(times):
                process.send_signal(number)
                time.sleep(0.1)
            said, complaints = process.communicate(timeout=60)
        finally:
            # One that did not stop would be found by another test, as what is still open.
            process.kill()
    assert process.returncode == Interrupted.exit_code, said + complaints
    assert "Traceback" not in complaints
    done = rendered_in(log)
    assert len(done) >= 3 if times == 1 else not done
    assert len(files_of(out)) == len(done)
    assert states(out) == {
        name: count for name, count in (("waiting", 30 - len(done)), ("done", len(done))) if count
    }
    with ledger_of(out) as ledger:
        assert {row["attempts"] for row in ledger.assets(("waiting",))} == {0}
        last = ledger.last_run()
        assert last is not None
        assert last.ended == "interrupted"


def test_a_run_in_a_thread_stops_at_once_when_it_is_cancelled(sources, tmp_path: Path):
    cancel, errors = threading.Event(), []
    made = [PlanLane() for _ in range(3)]
    for lane in made:
        lane._act = lambda task, _, lane=lane: lane.sleep(0.1)

    def work() -> None:
        try:
            run(sources[:60], tmp_path, *made, cancel=cancel)
        except Interrupted as error:
            errors.append(error)

    before = set(threading.enumerate())
    thread = threading.Thread(target=work)
    thread.start()
    assert wait_until(lambda: len(files_of(tmp_path)) > 3)
    cancel.set()
    thread.join(60)
    assert not thread.is_alive()
    assert len(errors) == 1
    assert all(lane.closed for lane in made)
    assert wait_until(lambda: set(threading.enumerate()) <= before), "no thread is left"
    assert run(sources[:60], tmp_path).ok
    assert states(tmp_path) == {"done": 60}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_who_stops_a_run_after_its_last_asset_has_stopped_nothing(
    sources, tmp_path: Path, layout: str
):
    cancel, ended = threading.Event(), []

    def result(one: Any) -> None:
        ended.append(one)
        if len(ended) == 3:
            cancel.set()

    report = run(
        sources[:3], tmp_path, PlanLane(), job=make_job(layout), cancel=cancel, on_result=result
    )
    assert report.ok and report.counts["done"] == 3
    assert states(tmp_path) == {"done": 3}
    with ledger_of(tmp_path) as ledger:
        last = ledger.last_run()
        assert last is not None
        assert last.ended == "finished"


def test_who_stops_a_run_is_told_what_waits_for_its_shard(sources, tmp_path: Path):
    cancel, lane = threading.Event(), PlanLane()

    def act(task: Any, _: int) -> None:
        if task.asset_id == "a0005":
            cancel.set()
            lane.sleep(10)

    lane._act = act
    options = {"job": make_job("webdataset"), "shard_assets": 4}
    with pytest.raises(Interrupted, match=r"4 assets; rendered and kept .*: 1\."):
        run(sources[:8], tmp_path, lane, cancel=cancel, **options)
    lane = PlanLane()
    assert run(sources[:8], tmp_path, lane, **options).ok
    assert sorted(lane.rendered) == ["a0005", "a0006", "a0007"]


def test_signals_work_as_before_when_the_run_is_over(sources, tmp_path: Path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run(sources[:2], tmp_path)
    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def test_lanes_that_do_not_close_are_not_waited_for_for_ever(
    sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from objaverse_render_addon.batch import engine

    monkeypatch.setattr(engine, "_CLOSING", 1.0)

    class Stuck(PlanLane):
        def close(self) -> None:
            self.released.wait(300)

    Stuck.released = threading.Event()
    since = time.monotonic()
    report = run(sources[:6], tmp_path, *(Stuck() for _ in range(4)))
    Stuck.released.set()
    assert report.counts["done"] == 6
    assert time.monotonic() - since < 120


def test_what_a_listener_raises_ends_the_run_in_order(sources, tmp_path: Path):
    class Mine(Exception):
        pass

    def listener(_: Any) -> None:
        raise Mine

    made = PlanLane()
    with pytest.raises(Mine):
        run(sources[:9], tmp_path, made, on_event=listener)
    assert made.closed
    assert run(sources[:9], tmp_path).ok
    assert states(tmp_path) == {"done": 9}


# --- Disks and servers ----------------------------------------------------------------------


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


needs_mount = pytest.mark.skipif(
    not can_mount(), reason="may not mount a small file system (needs root and unshare)"
)


def small_disk(folder: Path, size: str, then: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    script = f'mount -t tmpfs -o size={size} none "{folder}"; {then}'
    return ["unshare", "-m", "sh", "-c", script, "sh"]


@needs_mount
@pytest.mark.parametrize("layout", ["zip", "webdataset"])
def test_a_full_disk_that_is_freed_holds_the_run_up_and_costs_nothing(
    layout, sources, undisturbed, tmp_path: Path
):
    """Something else fills the disk; the run waits, tells, and goes on when it is gone."""
    out, saved = tmp_path / "out", tmp_path / "saved"
    script = (
        f'("$@"; echo $? > "{tmp_path}/code") & '
        f'while ! grep -q "^start" "{tmp_path}/said" 2>/dev/null; do sleep 0.02; done; '
        f'head -c 9000000 /dev/zero > "{out}/.filler" 2>/dev/null; '
        f'sleep 4; rm "{out}/.filler"; wait; cp -a "{out}" "{saved}"'
    )
    with (tmp_path / "said").open("w") as said:
        process = in_process(
            sources[:24], out, tmp_path / "log", layout=layout, seconds=0.05,
            prefix=["sh", "-c", 'exec "$@" > "$0"', str(tmp_path / "said"),
                    *small_disk(out, "1800k", script)],
            options={"shard_assets": 8, "min_free": 200_000, "patience": 30},
        )  # fmt: skip
        said.flush()
        _, complaints = process.communicate(timeout=60)
    text = (tmp_path / "said").read_text()
    assert (tmp_path / "code").read_text() == "0\n", text + complaints
    assert "Waiting up to 30 s" in text
    assert "Storage is there again" in text
    assert files_of(saved) == undisturbed(layout, 24)
    assert states(saved) == {"done": 24}
    assert set(Counter(rendered_in(tmp_path / "log")).values()) == {1}


@needs_mount
def test_a_disk_that_stays_full_ends_the_run_and_the_next_one_goes_on(sources, tmp_path: Path):
    out = tmp_path / "out"
    script = (
        f'head -c 1500000 /dev/zero > "{out}/.filler"; '
        f'"$@"; echo "code $?"; rm "{out}/.filler"; "$@"; echo "code $?"'
    )
    process = in_process(
        sources[:12], out, tmp_path / "log", prefix=small_disk(out, "1800k", script),
        options={"min_free": 400_000, "patience": 1.5},
    )  # fmt: skip
    said, complaints = process.communicate(timeout=60)
    codes = [line for line in said.splitlines() if line.startswith("code")]
    assert codes == [f"code {DiskFull.exit_code}", "code 0"], said + complaints
    assert "error disk-full" in said
    assert "result failed" not in said
    assert rendered_in(tmp_path / "log") == [] or len(rendered_in(tmp_path / "log")) == 12
    assert '"done": 12' in said


def test_a_quota_ends_the_run_and_not_all_of_its_assets(sources, tmp_path: Path):
    """The disk has room, but nothing can be written any more."""

    def act(task: Any, _: int) -> None:
        if task.asset_id >= "a0005":
            raise DiskFull(f"{task.asset_id}.zip: Disk quota exceeded.")

    # Of a run that renders these, too, one may end late, between failures.
    assert run(sources[:5], tmp_path).ok
    with pytest.raises(DiskFull, match="quota"):
        run(sources[:60], tmp_path, PlanLane(act=act), PlanLane(act=act))
    found = states(tmp_path)
    assert found["done"] == 5
    assert 7 <= found["failed"] <= 9
    assert found["waiting"] >= 46
    assert run(sources[:60], tmp_path).ok
    assert states(tmp_path) == {"done": 60}


def test_an_asset_that_has_no_room_is_that_asset_alone(sources, tmp_path: Path):
    # Every other one, so that a lane that is slow to tell does not make it look like a quota.
    act = fails(DiskFull("no room"), *(f"a{n:04d}" for n in range(1, 40, 2)))
    report = run(sources[:40], tmp_path, PlanLane(act=act), PlanLane(act=act))
    assert counts(report) == {"done": 20, "skipped": 0, "failed": 20}


@needs_mount
def test_the_full_disk_of_the_ledger_holds_the_run_up_too(sources, tmp_path: Path):
    out, state = tmp_path / "out", tmp_path / "state"
    script = (
        f'("$@"; echo $? > "{tmp_path}/code") & '
        f'while ! grep -q "^result" "{tmp_path}/said" 2>/dev/null; do sleep 0.02; done; '
        f'head -c 9000000 /dev/zero > "{state}/filler" 2>/dev/null; '
        f'sleep 3; rm "{state}/filler"; wait; cp -a "{state}" "{tmp_path}/saved"'
    )
    process = in_process(
        sources, out, tmp_path / "log", seconds=0.05,
        prefix=["sh", "-c", 'exec "$@" > "$0"', str(tmp_path / "said"),
                *small_disk(state, "1500k", script)],
        options={"state": str(state), "patience": 30},
    )  # fmt: skip
    _, complaints = process.communicate(timeout=60)
    text = (tmp_path / "said").read_text()
    assert (tmp_path / "code").read_text() == "0\n", text + complaints
    assert "ledger" in text
    assert len(files_of(out)) == 200
    with Ledger(tmp_path / "saved" / "ledger.sqlite") as ledger:
        assert ledger.counts()["done"] == 200
    assert set(Counter(rendered_in(tmp_path / "log")).values()) == {1}


@needs_mount
def test_a_run_that_begins_on_a_full_disk_is_in_the_ledger_when_there_is_room(tmp_path: Path):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from objaverse_render_addon.batch.queue.ledger import Ledger\n"
        "folder, waits = Path(sys.argv[1]), []\n"
        "def patience(error, waited):\n"
        "    waits.append(error.reason)\n"
        "    if len(waits) == 2: filler.unlink()\n"
        "    return True\n"
        "with Ledger(folder / 'ledger.sqlite') as ledger:\n"
        "    filler, ledger.patience = folder / 'filler', patience\n"
        "    with filler.open('wb', buffering=0) as file:\n"
        "        try:\n"
        "            while True: file.write(bytes(4096))\n"
        "        except OSError: pass\n"
        "    print(ledger.start_run(4), waits, ledger.last_run().workers)\n"
    )
    done = subprocess.run(
        [*small_disk(tmp_path / "small", "600k", 'exec "$@"'), sys.executable, "-c", script,
         str(tmp_path / "small")],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "1 ['disk-full', 'disk-full'] 4\n", done.stderr


@needs_mount
def test_a_ledger_that_cannot_be_written_at_all_ends_the_run_by_name(sources, tmp_path: Path):
    out, state = tmp_path / "out", tmp_path / "state"
    script = (
        f'("$@"; echo "code $?") & sleep 1; '
        f'head -c 9000000 /dev/zero > "{state}/filler" 2>/dev/null; wait; rm "{state}/filler"; '
        '"$@"; echo "code $?"'
    )
    process = in_process(
        sources, out, tmp_path / "log", seconds=0.05, prefix=small_disk(state, "1500k", script),
        options={"state": str(state), "patience": 1},
    )  # fmt: skip
    said, complaints = process.communicate(timeout=60)
    codes = [line for line in said.splitlines() if line.startswith("code")]
    assert codes == [f"code {DiskFull.exit_code}", "code 0"], said + complaints
    assert "Traceback" not in complaints
    assert len(files_of(out)) == 200
    assert set(Counter(rendered_in(tmp_path / "log")).values()) == {1}


# --- The ledger is lost, or damaged ---------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_lost_ledger_is_made_again_from_what_is_there(
    layout, sources, undisturbed, tmp_path: Path
):
    options = {"job": make_job(layout), "shard_assets": 8}
    run(sources[:24], tmp_path, **options)
    shutil.rmtree(tmp_path / ".state")
    lane = PlanLane()
    report = run(sources[:30], tmp_path, lane, **options)
    assert report.ok
    assert sorted(lane.rendered) == [f"a{n:04d}" for n in range(24, 30)]
    assert {result.asset_id for result in report.results} == {f"a{n:04d}" for n in range(30)}
    found = files_of(tmp_path)
    assert {name: found[name] for name in undisturbed(layout, 24)} == undisturbed(layout, 24)
    assert sorted(name for name, _ in assets_of(tmp_path)) == [f"a{n:04d}" for n in range(30)]
    assert states(tmp_path) == {"done": 30}


@pytest.mark.parametrize("layout", ["zip", "tar", "folder"])
def test_a_lost_ledger_knows_again_what_the_finished_files_tell(layout, sources, tmp_path: Path):
    def rows() -> list[dict[str, Any]]:
        facts = ("source", "sha256", "file_type", "device", "views", "bytes", "seconds", "stages")
        with ledger_of(tmp_path) as ledger:
            return [{name: row[name] for name in facts} for row in ledger.assets(("done",))]

    run(sources[:3], tmp_path, job=make_job(layout))
    before = rows()
    assert all(None not in row.values() for row in before)
    shutil.rmtree(tmp_path / ".state")
    report = run(sources[:3], tmp_path, job=make_job(layout))
    assert [result.views for result in report.results] == [1, 1, 1]
    assert sorted(rows(), key=str) == sorted(before, key=str)


def test_what_waited_for_its_shard_is_told_with_its_views_and_seconds(sources, tmp_path: Path):
    def act(task: Any, _: int) -> None:
        if task.asset_id == "a0003":
            raise LaneBroken(WorkerStartFailed("Blender did not start."))

    options = {"job": make_job("webdataset"), "shard_assets": 4}
    with pytest.raises(WorkerStartFailed):
        run(sources[:4], tmp_path, PlanLane(act=act), **options)
    lane = PlanLane()
    report = run(sources[:4], tmp_path, lane, **options)
    assert lane.rendered == ["a0003"]
    assert [(result.status, result.views) for result in report.results] == [("done", 1)] * 4
    assert all(result.seconds["total"] > 0 for result in report.results)


def test_shards_of_another_job_are_not_taken_for_these(sources, tmp_path: Path):
    run(sources[:9], tmp_path, job=make_job("webdataset"))
    shutil.rmtree(tmp_path / ".state")
    with pytest.raises(OutputExists, match="seed: 0 -> 5"):
        run(sources[:9], tmp_path, job=make_job("webdataset", seed=5))


@pytest.mark.parametrize("harm", ["garbage", "half", "newer", "hole"])
def test_a_damaged_ledger_is_named_and_can_be_moved_away(harm, sources, tmp_path: Path):
    run(sources[:40], tmp_path)
    path = tmp_path / ".state" / "ledger.sqlite"
    content = path.read_bytes()
    if harm == "newer":
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 2")
        db.close()
    else:
        path.write_bytes(
            {
                "garbage": b"\0\1\2" * 9999,
                "half": content[: len(content) // 2],
                "hole": content[:4096] + bytes(len(content) - 4096),
            }[harm]
        )
    lane = PlanLane()
    with pytest.raises(LedgerDamaged, match=r"ledger\.sqlite"):
        run(sources[:60], tmp_path, lane)
    path.rename(path.with_suffix(".away"))
    assert run(sources[:60], tmp_path, lane).ok
    assert sorted(lane.rendered) == [f"a{n:04d}" for n in range(40, 60)]


def test_clocks_that_jump_change_nothing(
    sources, undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Years forth and back, at every look at the clock."""
    dice = random.Random(3)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: dice.uniform(-1e9, 4e9))
        lane = PlanLane(None, fails(WorkerCrashed("dead"), "a0002", times=1))
        report = run(sources[:24], tmp_path, lane)
        assert report.counts["done"] == 24
        path = tmp_path / ".state" / "ledger.sqlite"
        for year in (0.0, 4e9):
            with sqlite3.connect(path) as db:
                db.execute("UPDATE assets SET updated = ?", (year,))
                db.execute("UPDATE runs SET seen = ?, started = ?", (year, year))
            db.close()
            lane = PlanLane()
            assert run(sources[:24], tmp_path, lane).counts["skipped"] == 24
            assert lane.rendered == []
    assert files_of(tmp_path) == undisturbed("zip", 24)


# --- Several runs ---------------------------------------------------------------------------


def test_the_second_run_on_a_folder_is_refused_and_the_first_goes_on(sources, tmp_path: Path):
    out = tmp_path / "out"
    # Longer than starting the second one takes, however busy the machine: it is killed.
    first = in_process(sources[:30], out, tmp_path / "log", seconds=60)
    assert first.stdout is not None
    assert first.stdout.readline() == "start\n"
    with pytest.raises(OutputBusy, match=f"process {first.pid} on"):
        run(sources[:30], out)
    second = in_process(sources[:30], out, tmp_path / "log")
    said, _ = second.communicate(timeout=60)
    assert second.returncode == OutputBusy.exit_code
    assert f"process {first.pid}" in said
    assert first.poll() is None
    first.kill()
    first.communicate()
    assert run(sources[:30], out).ok
    assert states(out) == {"done": 30}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parts_of_a_list_at_once_make_what_one_run_makes(
    layout, sources, undisturbed, tmp_path: Path
):
    out = tmp_path / "out"
    parts = [
        in_process(
            sources[:60], out, tmp_path / "log", layout=layout, seconds=0.02,
            options={"shard": [part, 2], "shard_assets": 8},
        )
        for part in range(2)
    ]  # fmt: skip
    for process in parts:
        said, complaints = process.communicate(timeout=60)
        assert process.returncode == 0, said + complaints
    assert sorted(rendered_in(tmp_path / "log")) == [f"a{n:04d}" for n in range(60)]
    if layout == "webdataset":
        whole = tmp_path / "whole"
        run(sources[:60], whole, job=make_job(layout))
        assert list(assets_of(out)) == list(assets_of(whole))
    else:
        assert files_of(out) == undisturbed(layout, 60)
    ledgers = sorted((out / ".state").glob("ledger-*.sqlite"))
    assert merge(ledgers, out / ".state" / "ledger.sqlite", str(out)) == (60, [])
    assert states(out) == {"done": 60}
    # One run over the whole list finds nothing to do.
    lane = PlanLane()
    assert run(sources[:60], out, lane, job=make_job(layout)).counts["skipped"] == 60
    assert lane.rendered == []


# --- Lists ----------------------------------------------------------------------------------


def test_two_sources_of_one_name_and_one_source_twice(sources, tmp_path: Path):
    other = make_sources(tmp_path / "other", 2)[1]
    lane = PlanLane()
    report = run([sources[0], sources[1], sources[0], other], tmp_path / "out", lane)
    assert counts(report) == {"done": 3, "skipped": 0, "failed": 0}
    folder = Path(sources[1]).parent.name
    assert set(lane.rendered) == {"a0000", f"{folder}-a0001", "other-a0001"}
    # They have the same content, and so the same name by content.
    report = run([sources[1], other], tmp_path / "by-content", ids="sha256")
    assert counts(report) == {"done": 1, "skipped": 0, "failed": 1}
    assert isinstance(report.failed[0].error, DuplicateAsset)
    assert report.failed[0].source == other


def test_by_content_a_source_that_changes_is_another_asset(tmp_path: Path):
    (source,) = make_sources(tmp_path / "src", 1)
    out = tmp_path / "out"
    (first,) = run([source], out, ids="sha256").results
    assert len(first.asset_id) == 64
    Path(source).write_text("v 0 0 1\n")
    lane = PlanLane()
    (second,) = run([source], out, lane, ids="sha256").results
    assert second.status == "done"
    assert lane.rendered == [second.asset_id] != [first.asset_id]
    assert len(files_of(out)) == 2


def test_by_name_a_source_that_changes_is_told(tmp_path: Path):
    given = make_sources(tmp_path / "src", 3)
    out = tmp_path / "out"
    run(given, out)
    before = files_of(out)
    Path(given[1]).write_text("v 0 0 1\n")
    report = run(given, out)
    assert counts(report) == {"done": 0, "skipped": 2, "failed": 1}
    assert isinstance(report.failed[0].error, OutputExists)
    assert "file_size" in report.failed[0].error.message
    assert files_of(out) == before
    assert run(given, out, overwrite=True).counts["done"] == 3
    assert run(given, out).counts["skipped"] == 3


def test_a_source_that_changes_and_keeps_its_size_is_told(tmp_path: Path):
    given = make_sources(tmp_path / "src", 3)
    out = tmp_path / "out"
    run(given, out)
    before = files_of(out)
    changed = Path(given[1])
    changed.write_text(changed.read_text()[::-1])
    for lost in (False, True):
        if lost:
            shutil.rmtree(out / ".state")
        report = run(given, out)
        assert counts(report) == {"done": 0, "skipped": 2, "failed": 1}
        assert "sha256" in report.failed[0].error.message
    assert files_of(out) == before
    # One that was only touched is the same.
    assert run(given, out, overwrite=True).counts["done"] == 3
    os.utime(given[0])
    assert run(given, out).counts["skipped"] == 3


def test_wishes_of_a_list_reach_the_asset(tmp_path: Path):
    make_sources(tmp_path, 3)
    listed = tmp_path / "list.txt"
    listed.write_text("a0000.obj --seed 7 --id seven\na0001.obj\na0002.obj --license by\n")
    out = tmp_path / "out"
    assert run([str(listed)], out).counts["done"] == 3
    found = dict(assets_of(out))
    assert found["seven"]["seed"] == 7
    assert found["a0001"]["seed"] == 0
    assert run([str(listed)], out).counts["skipped"] == 3
    # Other wishes for what is finished are told, not dropped.
    listed.write_text("a0000.obj --seed 8 --id seven\na0001.obj\na0002.obj\n")
    report = run([str(listed)], out)
    assert counts(report) == {"done": 0, "skipped": 2, "failed": 1}
    assert isinstance(report.failed[0].error, OutputExists)


def test_a_list_that_grows_and_shrinks(sources, tmp_path: Path):
    rendered: list[str] = []
    for count, done in ((5, 5), (12, 7), (3, 0), (12, 0)):
        report = run(sources[:count], tmp_path, PlanLane(rendered))
        assert counts(report) == {"done": done, "skipped": count - done, "failed": 0}
    assert len(rendered) == len(set(rendered)) == 12


def test_shards_do_not_wait_for_assets_of_other_lists(sources, tmp_path: Path):
    job = make_job("webdataset")

    def stop(*_: object) -> None:
        raise LaneBroken(WorkerStartFailed("no"))

    with pytest.raises(WorkerStartFailed):
        run(sources[:16], tmp_path, PlanLane(None, stop), job=job, shard_assets=4)

    def wait(*_: object) -> None:
        """The last one is held until a block is packed: that waits for no other's."""
        if len(lane.rendered) == 7:
            assert wait_until(lambda: any(tmp_path.glob("*.tar"))), "no block was packed"

    lane = PlanLane(None, wait)
    assert run(sources[:16:2], tmp_path, lane, job=job, shard_assets=4).ok
    assert len(list(tmp_path.glob("*.tar"))) == 4
    assert run(sources[:16], tmp_path, job=job, shard_assets=4).ok
    assert states(tmp_path) == {"done": 16}
    assert len(list(assets_of(tmp_path))) == 16


def test_a_block_that_is_too_big_becomes_several_shards(sources, tmp_path: Path):
    run(sources[:8], tmp_path, job=make_job("webdataset"), shard_assets=4, shard_bytes=8000)
    names = sorted(path.name for path in tmp_path.glob("*.tar"))
    assert len(names) > 2
    assert {"shard-000000.tar", "shard-000000-001.tar", "shard-000001.tar"} <= set(names)
    assert len(list(assets_of(tmp_path))) == 8


# --- Jobs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_changed_job_is_refused_with_the_difference(layout, sources, tmp_path: Path):
    run(sources[:3], tmp_path, job=make_job(layout))
    before = files_of(tmp_path)
    with pytest.raises(OutputExists, match="seed: 0 -> 5") as caught:
        run(sources[:3], tmp_path, job=make_job(layout, seed=5))
    assert "--overwrite" in caught.value.hint
    assert files_of(tmp_path) == before
    assert run(sources[:3], tmp_path, job=make_job(layout)).counts["skipped"] == 3


def test_fields_that_came_later_are_no_difference():
    job = make_job()
    record = job.resolved().to_dict()
    young = [path for path, field in job_fields().items() if field.setting.younger]
    assert young
    for path in young:
        section, _, name = path.rpartition(".")
        del (record[section] if section else record)[name]
    assert job.changes_since(record) == []
    other = job.with_values({"seed": 5, "time.frames": "all"})
    assert other.changes_since(record) == ["seed: 0 -> 5", "time.frames: None -> all"]


def test_a_part_by_another_job_is_refused_with_the_difference(sources, tmp_path: Path):
    other = make_job(**{"cameras.views": 2})
    run(sources[:12], tmp_path, shard=(0, 2))
    for shard in ((1, 2), None):
        with pytest.raises(OutputExists, match=r"cameras\.views: 1 -> 2"):
            run(sources[:12], tmp_path, shard=shard, job=other)
    before = len(files_of(tmp_path))
    assert run(sources[:12], tmp_path, shard=(1, 2)).ok
    assert len(files_of(tmp_path)) == 12 > before
    # Part by part replaced, each goes on without being asked again.
    for overwrite in (True, False):
        for index in range(2):
            assert run(
                sources[:12], tmp_path, shard=(index, 2), job=other, overwrite=overwrite
            ).ok


def test_an_overwrite_that_is_interrupted_goes_on(sources, tmp_path: Path):
    run(sources[:20], tmp_path)
    new, cancel = make_job(seed=5), threading.Event()
    lane = stopping_lane(8, cancel)
    with pytest.raises(Interrupted):
        run(sources[:20], tmp_path, lane, job=new, overwrite=True, cancel=cancel)
    assert len(lane.rendered) == 8
    # The same without --overwrite goes on with the rest.
    second = PlanLane()
    assert run(sources[:20], tmp_path, second, job=new).ok
    assert sorted(lane.rendered + second.rendered) == [f"a{n:04d}" for n in range(20)]
    assert {metadata["seed"] for _, metadata in assets_of(tmp_path)} == {5}
    assert len(files_of(tmp_path)) == 20


def test_what_waits_for_its_shard_is_rendered_again_by_another_job(sources, tmp_path: Path):
    out, log = tmp_path / "out", tmp_path / "log"
    first = in_process(
        sources[:6], out, log, layout="webdataset", die=("Shards.pack", 1, "before"),
        options={"shard_assets": 8},
    )  # fmt: skip
    first.communicate(timeout=30)
    assert len(rendered_in(log)) == 6
    lane = PlanLane()
    assert run(sources[:6], out, lane, job=make_job("webdataset", seed=5)).counts["done"] == 6
    assert len(lane.rendered) == 6
    assert {metadata["seed"] for _, metadata in assets_of(out)} == {5}
    assert leftovers(out) == []


def test_a_finished_file_that_vanished_is_rendered_again(sources, tmp_path: Path):
    run(sources[:9], tmp_path)
    (tmp_path / "a0004.zip").unlink()
    (tmp_path / "a0005.zip").unlink()
    lane = PlanLane(None, fails(WorkerCrashed("dead"), "a0005", times=1))
    assert counts(run(sources[:9], tmp_path, lane)) == {"done": 2, "skipped": 7, "failed": 0}
    assert sorted(lane.rendered) == ["a0004", "a0005"]


# --- Scale ----------------------------------------------------------------------------------


def test_what_a_report_keeps_is_bounded_and_its_numbers_are_not(
    sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from objaverse_render_addon.batch import results
    from objaverse_render_addon.batch import run as module
    from objaverse_render_addon.batch.queue import earlier

    for room in (earlier, results, module):
        monkeypatch.setattr(room, "KEPT_RESULTS", 10)
    act = fails(ImportFailed("no"), "a0090")
    report = run(sources[:100], tmp_path, PlanLane(None, act))
    assert counts(report) == {"done": 99, "skipped": 0, "failed": 1}
    assert report.exit_code == ImportFailed.exit_code
    assert len(report.results) == len(report.results[:10])
    told: list[str] = []
    report = run(sources[:100], tmp_path, on_result=lambda result: told.append(result.status))
    assert counts(report) == {"done": 0, "skipped": 99, "failed": 1}
    assert report.exit_code == ImportFailed.exit_code, "the failure is told, wherever it is"
    assert Counter(told) == {"failed": 1, "skipped": 9}


def test_two_hundred_assets_take_no_time_that_is_not_theirs(sources, tmp_path: Path):
    since = time.perf_counter()
    run(sources, tmp_path, PlanLane(), PlanLane())
    # 5 ms on an idle machine; 50 are allowed.
    assert (time.perf_counter() - since) / 200 < 0.05
