from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from objaverse_render_addon import locks
from objaverse_render_addon.batch import lock as lock_module
from objaverse_render_addon.batch.lock import Lock
from objaverse_render_addon.batch.queue.ledger import Ledger, ledger_of_run
from objaverse_render_addon.batch.queue.ledger_file import COLUMNS
from objaverse_render_addon.batch.queue.rows import FINISHED, STATES, AssetOutcome, QueueEntry
from objaverse_render_addon.errors import LedgerDamaged, OutputBusy

ROOT = Path(__file__).parent.parent


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def entries(count: int, start: int = 0) -> list[QueueEntry]:
    return [QueueEntry(f"/models/a{n}.glb", f"a{n}") for n in range(start, start + count)]


def states(ledger: Ledger, request: int | None = None) -> dict[str, int]:
    return {name: count for name, count in ledger.counts(request).items() if count}


# --- Taking in ------------------------------------------------------------------------------


def test_assets_are_claimed_once_each_in_their_order(ledger: Ledger):
    request = ledger.add("list", entries(5))
    assert [row.asset_id for row in ledger.claim(request, 2)] == ["a0", "a1"]
    assert [row.asset_id for row in ledger.claim(request, 9)] == ["a2", "a3", "a4"]
    assert ledger.claim(request, 9) == []
    assert states(ledger) == {"downloading": 5}


def test_a_list_that_was_taken_in_is_known_again(ledger: Ledger):
    request = ledger.add("list", entries(3))
    assert ledger.request("list") == request
    assert ledger.request("another") is None
    other = ledger.add("another", entries(2, start=2))
    assert ledger.request("list") is None, "an asset of it belongs to the newer one now"
    assert states(ledger, other) == {"waiting": 2}
    again = ledger.add("list", entries(3))
    assert states(ledger, again) == {"waiting": 3}
    assert again not in (request, other)


def test_what_is_done_stays_done_when_it_is_asked_for_again(ledger: Ledger):
    request = ledger.add("list", entries(2))
    (row, _) = ledger.claim(request, 2)
    ledger.finish(AssetOutcome(row.id, "done", 1, path="a0.zip", source_bytes=7))
    request = ledger.add("longer list", entries(4))
    assert states(ledger, request) == {"done": 1, "downloading": 1, "waiting": 2}
    (done,) = ledger.assets(("done",), request=request)
    assert [done[name] for name in ("id", "source", "path", "source_bytes", "bytes")] == [
        row.id, "/models/a0.glb", "a0.zip", 7, None,
    ]  # fmt: skip


@pytest.mark.parametrize("second", ["chair", "CHAIR"])
def test_two_sources_that_were_given_one_name_are_told(ledger: Ledger, second: str):
    both = [
        QueueEntry("x/chair.glb", "chair", None, "given"),
        QueueEntry("y/x.glb", second, None, "given"),
    ]
    request = ledger.add("list", [*both, *entries(1)])
    assert states(ledger, request) == {"waiting": 2, "failed": 1}
    (failed,) = ledger.assets(("failed",))
    assert (failed["source"], failed["reason"]) == ("y/x.glb", "duplicate-asset")
    assert "x/chair.glb" in failed["message"]
    assert failed["file_type"] == "glb"
    # Asked again it is told again, once.
    request = ledger.add("other", both)
    assert states(ledger, request) == {"waiting": 1, "failed": 1}


def test_another_source_or_other_wishes_of_a_name_make_it_wait(ledger: Ledger):
    request = ledger.add(
        "list", [QueueEntry("a.glb", "a"), QueueEntry("b.glb", "b"), QueueEntry("c.glb", "c")]
    )
    for row in ledger.claim(request, 3):
        ledger.finish(AssetOutcome(row.id, "done", 1))
    request = ledger.add(
        "new", [QueueEntry("else/a.glb", "a"), QueueEntry("b.glb", "b", {"job": {"seed": 1}}),
                QueueEntry("c.glb", "c")]
    )  # fmt: skip
    assert [(row.source, row.options) for row in ledger.claim(request, 9)] == [
        ("else/a.glb", None), ("b.glb", {"job": {"seed": 1}}),
    ]  # fmt: skip
    assert states(ledger) == {"downloading": 2, "done": 1}


def test_overwriting_makes_everything_wait_until_it_is_done_again(ledger: Ledger):
    request = ledger.add("list", entries(2))
    for row in ledger.claim(request, 2):
        ledger.finish(AssetOutcome(row.id, "done", 1))
    request = ledger.add("list", entries(2), replace=True)
    (first, second) = ledger.claim(request, 2)
    assert first.replace
    assert second.replace
    ledger.finish(AssetOutcome(first.id, "done", 1))
    ledger.requeue(second)
    # Known again, so that an interrupted overwrite goes on with the rest.
    assert ledger.request("list") == request
    assert [(row.id, row.replace) for row in ledger.claim(request, 2)] == [(second.id, True)]
    found = ledger.find("a0")
    assert found is not None
    assert not found.replace


def test_a_list_that_cannot_be_read_to_its_end_changes_nothing(ledger: Ledger):
    ledger.add("list", entries(2))

    def broken():
        yield from entries(30_000, start=1)
        raise ValueError("line 30001")

    with pytest.raises(ValueError, match="line 30001"):
        ledger.add("broken", broken())
    assert states(ledger) == {"waiting": 2}
    assert ledger.request("list") is not None


ODD = ["'; DROP TABLE assets; --", 'a"b', "ä ö\n", "%_", "\u202e", "x" * 5000, "NULL", "0", "😀"]


def test_names_are_data(ledger: Ledger):
    request = ledger.add("'", [QueueEntry(name, f"{n} {name}") for n, name in enumerate(ODD)])
    rows = ledger.claim(request, 99)
    assert [row.source for row in rows] == ODD
    for row in rows:
        ledger.finish(
            AssetOutcome(row.id, "failed", 1, row.source, row.source, row.source, row.source)
        )
    assert [row["message"] for row in ledger.assets()] == ODD
    assert [row["source"] for row in ledger.assets(reasons=ODD[:2])] == ODD[:2]
    assert ledger.failures_by("reason") == dict.fromkeys(sorted(ODD), 1)
    assert ledger.retry([ODD[0]]) == 1
    assert states(ledger) == {"waiting": 1, "failed": len(ODD) - 1}


# --- Trying, failing, dying -----------------------------------------------------------------


def test_what_is_held_for_another_attempt_is_claimed_by_nobody(ledger: Ledger):
    request = ledger.add("list", entries(2))
    (row,) = ledger.claim(request, 1)
    row.attempts = 1
    ledger.defer(row)
    assert [other.asset_id for other in ledger.claim(request, 9)] == ["a1"]
    ledger.requeue(row)
    assert [(r.asset_id, r.attempts) for r in ledger.claim(request, 9)] == [("a0", 1)]


def test_a_run_that_died_loses_nothing_and_blames_nobody_at_once(tmp_path: Path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        request = ledger.add("list", entries(6))
        rows = ledger.claim(request, 5)
        ledger.mark([row.id for row in rows[:2]], "rendering")
        ledger.mark([rows[2].id], "packing")
        ledger.finish(
            AssetOutcome(rows[3].id, "done", 1), AssetOutcome(rows[4].id, "failed", 1, "x", "y")
        )
    with Ledger(path) as ledger:
        assert ledger.reset_in_hand() == 3
        assert states(ledger) == {"waiting": 4, "done": 1, "failed": 1}
        assert [row.asset_id for row in ledger.claim(request, 9)] == ["a0", "a1", "a2", "a5"]


def test_an_asset_that_runs_die_over_comes_last_and_is_given_up_in_the_end(ledger: Ledger):
    request = ledger.add("list", entries(3))
    orders = []
    for _ in range(6):
        rows = ledger.claim(request, 9)
        orders.append([row.asset_id for row in rows])
        ledger.mark([row.id for row in rows if row.asset_id == "a0"], "rendering")
        ledger.reset_in_hand()
    assert orders[:3] == [["a0", "a1", "a2"], ["a0", "a1", "a2"], ["a1", "a2", "a0"]]
    assert orders[-1] == ["a1", "a2"]
    (given_up,) = ledger.assets(("given up",))
    assert (given_up["asset_id"], given_up["reason"]) == ("a0", "worker-crashed")
    assert ledger.retry(["worker-crashed"]) == 1
    assert [row.asset_id for row in ledger.claim(request, 9)] == ["a0", "a1", "a2"]


def test_runs_that_were_stopped_blame_nobody(ledger: Ledger):
    request = ledger.add("list", entries(2))
    for _ in range(9):
        ledger.mark([row.id for row in ledger.claim(request, 9)], "rendering")
        ledger.reset_in_hand(died=False)
    assert [row.asset_id for row in ledger.claim(request, 9)] == ["a0", "a1"]


def test_failures_are_tried_again_by_kind(ledger: Ledger):
    request = ledger.add("list", entries(4))
    rows = ledger.claim(request, 4)
    for row, reason in zip(rows, ["timeout", "worker-crashed", "timeout"], strict=False):
        ledger.finish(AssetOutcome(row.id, "given up", 2, reason, "why", log="the last words"))
    ledger.finish(AssetOutcome(rows[3].id, "done", 1))
    assert ledger.failures_by("reason") == {"timeout": 2, "worker-crashed": 1}
    assert ledger.retry(["timeout"], request + 1) == 0
    assert ledger.retry(["timeout"]) == 2
    assert {row.attempts for row in ledger.claim(request, 9)} == {0}
    assert ledger.retry() == 1
    assert states(ledger) == {"downloading": 2, "waiting": 1, "done": 1}


def test_a_shard_that_is_there_or_gone_decides_what_is_done(ledger: Ledger):
    request = ledger.add("list", entries(3))
    ledger.claim(request, 1)
    ledger.adopt("shard-000000.tar", ["a0", "a1", "unknown"])
    assert states(ledger) == {"done": 2, "waiting": 1}
    assert ledger.shards() == {"shard-000000.tar"}
    ledger.forget_shard("shard-000000.tar")
    assert states(ledger) == {"waiting": 3}
    assert ledger.shards() == set()


def test_clocks_that_jump_change_nothing_but_what_is_shown(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    request = ledger.add("list", entries(4))
    for now in (2e10, 0.0, -5.0, 1e9):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        (row,) = ledger.claim(request, 1)
        ledger.beat(ledger.start_run(1), 1.0, 1, 0)
        ledger.finish(AssetOutcome(row.id, "done", 1))
    assert states(ledger) == {"done": 4}
    last = ledger.last_run()
    assert last is not None
    assert last.started == 1e9


class Machine(RuleBasedStateMachine):
    """Any order of what a run does, with deaths in between, against a model of a few lines."""

    @initialize(count=st.integers(1, 6))
    def begin(self, count: int) -> None:
        self.folder = Path(sys.modules[__name__].__dict__["FOLDER"]) / f"{time.monotonic_ns()}"
        self.path = self.folder / "ledger.sqlite"
        self.ledger = Ledger(self.path)
        self.request = self.ledger.add("list", entries(count))
        self.model = dict.fromkeys(range(1, count + 1), "waiting")
        self.rows = {}

    @rule(count=st.integers(1, 3))
    def claim(self, count: int) -> None:
        rows = self.ledger.claim(self.request, count)
        waiting = [n for n, state in self.model.items() if state == "waiting"]
        assert len(rows) == min(count, len(waiting))
        for row in rows:
            assert self.model[row.id] == "waiting"
            self.model[row.id] = "downloading"
            self.rows[row.id] = row

    @rule(pick=st.randoms(use_true_random=False), to=st.sampled_from(
        ["rendering", "hold", "put back", "packing", "done", "failed", "given up"]
    ))  # fmt: skip
    def go_on(self, pick, to: str) -> None:
        held = [n for n, state in self.model.items() if state not in ("waiting", *FINISHED)]
        if not held:
            return
        row = self.rows[pick.choice(held)]
        if to == "hold":
            self.ledger.defer(row)
            self.model[row.id] = "downloading"
        elif to == "put back":
            self.ledger.requeue(row)
            self.model[row.id] = "waiting"
        elif to == "rendering":
            self.ledger.mark([row.id], to)
            self.model[row.id] = to
        else:
            self.ledger.finish(AssetOutcome(row.id, to, 1))
            self.model[row.id] = to

    @rule(saved=st.booleans())
    def die(self, saved: bool) -> None:
        if saved:
            self.ledger.flush()
        copy = self.folder / "copy.sqlite"
        for suffix in ("", "-wal"):
            if Path(f"{self.path}{suffix}").exists():
                shutil.copy(f"{self.path}{suffix}", f"{copy}{suffix}")
        self.ledger._db.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
            if Path(f"{copy}{suffix}").exists():
                Path(f"{copy}{suffix}").rename(f"{self.path}{suffix}")
        self.ledger = Ledger(self.path)
        self.ledger.reset_in_hand()
        found = {row["id"]: row["state"] for row in self.ledger.assets()}
        assert found.keys() == self.model.keys()
        if saved:
            for n, state in self.model.items():
                assert found[n] == state or state not in FINISHED
        assert set(found.values()) <= {"waiting", *FINISHED}
        self.model = found

    @invariant()
    def every_asset_is_in_one_right_state(self) -> None:
        if hasattr(self, "ledger"):
            assert {row["id"]: row["state"] for row in self.ledger.assets()} == self.model

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            shutil.rmtree(self.folder)


@pytest.fixture
def folder_of_machines(tmp_path: Path):
    sys.modules[__name__].__dict__["FOLDER"] = tmp_path


@pytest.mark.usefixtures("folder_of_machines")
class TestMachine(Machine.TestCase):
    settings = settings(
        max_examples=40, stateful_step_count=20, deadline=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


# --- The file -------------------------------------------------------------------------------


def test_thousands_of_assets_are_claimed_and_completed_in_no_time(tmp_path: Path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        request = ledger.add("list", entries(10_000))
        since = time.perf_counter()
        while rows := ledger.claim(request, 8):
            for row in rows:
                ledger.mark([row.id], "rendering")
                ledger.finish(AssetOutcome(row.id, "done", 1, path="x.zip", stages={"render": 1.0}))
        # 10,000 a second and more on an idle machine.
        assert time.perf_counter() - since < 20
        assert states(ledger) == {"done": 10_000}


def test_others_read_while_one_process_writes(tmp_path: Path):
    path = tmp_path / "ledger.sqlite"
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from objaverse_render_addon.batch.queue.ledger import Ledger\n"
        "from objaverse_render_addon.batch.queue.rows import AssetOutcome, QueueEntry\n"
        "with Ledger(Path(sys.argv[1])) as ledger:\n"
        "    request = ledger.add('x', (QueueEntry(f'/{n}', f'a{n}') for n in range(2000)))\n"
        "    print('ready', flush=True)\n"
        "    while rows := ledger.claim(request, 3):\n"
        "        ledger.finish(*(AssetOutcome(row.id, 'done', 1) for row in rows))\n"
        "        ledger.flush()\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    seen = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        while writer.poll() is None:
            with Ledger(path, read_only=True) as ledger:
                counts = ledger.counts()
                assert sum(counts.values()) == 2000
                seen.append(counts["done"])
    assert writer.returncode == 0
    assert seen == sorted(seen)
    assert len(set(seen)) > 1
    with Ledger(path, read_only=True) as ledger:
        assert states(ledger) == {"done": 2000}
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            ledger.retry()


def test_what_a_killed_process_left_behind_is_taken_up(tmp_path: Path):
    path = tmp_path / "ledger.sqlite"
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from objaverse_render_addon.batch.queue.ledger import Ledger\n"
        "from objaverse_render_addon.batch.queue.rows import AssetOutcome, QueueEntry\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "request = ledger.add('x', (QueueEntry(f'/{n}', f'a{n}') for n in range(9)))\n"
        "rows = ledger.claim(request, 4)\n"
        "ledger.finish(*(AssetOutcome(row.id, 'done', 1) for row in rows[:2]))\n"
        "ledger.flush()\n"
        "ledger.finish(AssetOutcome(rows[2].id, 'done', 1))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -9
    assert Path(f"{path}-wal").stat().st_size
    with Ledger(path, read_only=True) as ledger:
        assert states(ledger) == {"waiting": 5, "downloading": 2, "done": 2}
    with Ledger(path) as ledger:
        ledger.reset_in_hand()
        assert states(ledger) == {"waiting": 7, "done": 2}


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
@pytest.mark.parametrize("read_only", [False, True])
def test_what_is_no_ledger_is_named(tmp_path: Path, content: bytes, read_only: bool):
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(content)
    with pytest.raises(LedgerDamaged, match=r"ledger\.sqlite"):
        Ledger(path, read_only=read_only)
    assert path.read_bytes() == content


def test_a_ledger_of_another_version_or_program_is_refused(tmp_path: Path):
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(LedgerDamaged, match="version 9"):
        Ledger(path)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE notes (text)")
    db.close()
    with pytest.raises(LedgerDamaged, match="version 0"):
        Ledger(other)


def test_an_empty_file_becomes_a_ledger(tmp_path: Path):
    path = tmp_path / "ledger.sqlite"
    path.touch()
    with Ledger(path) as ledger:
        assert ledger.add("list", entries(1))


def test_every_column_of_the_table_is_known():
    assert {"id", "asset_id", "state", "reason", "updated", "lost"} <= set(COLUMNS)
    assert set(FINISHED) < set(STATES)


# --- Who may write --------------------------------------------------------------------------


def held(folder: Path, *shard: int) -> Lock:
    return Lock(folder, "data", (shard[0], shard[1]) if shard else None)


def test_one_run_at_a_time_has_a_folder(tmp_path: Path):
    first = held(tmp_path)
    with pytest.raises(OutputBusy, match=r"data .* process") as caught:
        held(tmp_path)
    assert caught.value.hint
    with pytest.raises(OutputBusy):
        held(tmp_path, 0, 2)
    first.release()
    held(tmp_path).release()


def test_parts_of_one_list_share_a_folder(tmp_path: Path):
    first, second = held(tmp_path, 0, 2), held(tmp_path, 1, 2)
    for wrong in [(0, 2), (), (0, 3), (2, 3)]:
        with pytest.raises(OutputBusy):
            held(tmp_path, *wrong)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "lock", "lock-0000-of-0002", "lock-0001-of-0002",
    ]  # fmt: skip
    first.release()
    held(tmp_path, 0, 2).release()
    second.release()
    held(tmp_path, 2, 3).release()
    held(tmp_path).release()


def test_who_was_refused_is_not_told_to_others_as_who_is_at_work(tmp_path: Path):
    first = held(tmp_path, 0, 2)
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from objaverse_render_addon.batch.lock import Lock\n"
        "Lock(Path(sys.argv[1]), 'data', (0, 2))\n"
    )
    refused = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert f"by process {os.getpid()} on" in refused.stderr
    with pytest.raises(OutputBusy, match="by runs over parts of a list"):
        held(tmp_path)
    first.release()


def test_a_lock_that_is_removed_leaves_no_file_that_others_hold(tmp_path: Path):
    first, second = held(tmp_path, 0, 2), held(tmp_path, 1, 2)
    first.release(remove=True)
    assert {path.name for path in tmp_path.iterdir()} == {"lock", "lock-0001-of-0002"}
    second.release(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_removed_while_it_was_taken_is_taken_anew(tmp_path: Path, monkeypatch):
    hold, calls = locks.hold, []

    def late(descriptor: int, *, alone: bool = True) -> bool:
        if not calls:
            (tmp_path / "lock").unlink()
        calls.append(descriptor)
        return hold(descriptor, alone=alone)

    monkeypatch.setattr(locks, "hold", late)
    first = held(tmp_path)
    with pytest.raises(OutputBusy):
        held(tmp_path)
    first.release()


def test_a_part_waits_for_the_moment_in_which_another_ends(tmp_path: Path, monkeypatch):
    other = held(tmp_path)
    pause = lock_module.time.sleep

    def end(seconds: float) -> None:
        other.release(remove=True)
        pause(seconds)

    monkeypatch.setattr(lock_module.time, "sleep", end)
    held(tmp_path, 0, 2).release()


def test_a_killed_process_holds_nothing(tmp_path: Path):
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from objaverse_render_addon.batch.lock import Lock\n"
        "lock = Lock(Path(sys.argv[1]), 'data')\n"
        "print('held', flush=True); time.sleep(60)\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(OutputBusy, match=f"process {other.pid} on"):
        held(tmp_path)
    other.kill()
    other.communicate()
    held(tmp_path).release()


def test_a_reader_leaves_no_file_and_changes_none(tmp_path: Path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.add("list", entries(3))
    before = path.read_bytes()
    for _ in range(2):
        with Ledger(path, read_only=True) as reader:
            assert states(reader) == {"waiting": 3}
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.put("key", "value")
        assert [one.name for one in tmp_path.iterdir()] == ["ledger.sqlite"]
    assert path.read_bytes() == before


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder below none that only its owner may look into."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def write_protected(folder: Path) -> Iterator[None]:
    """Nobody who is not root may write there, and we are not root."""
    folder.chmod(0o555)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="folders are protected otherwise there")
def test_where_nobody_may_write_a_ledger_can_be_read(open_folder: Path):
    path = open_folder / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.add("list", entries(3))
        # While a run is at work …
        with write_protected(open_folder), Ledger(path, read_only=True) as reader:
            assert states(reader) == {"waiting": 3}
        ledger.mark([1], "done")
    # … and when it is over.
    with write_protected(open_folder), Ledger(path, read_only=True) as reader:
        assert states(reader) == {"waiting": 2, "done": 1}


def test_a_ledger_that_somebody_reads_is_not_taken_away(tmp_path: Path):
    path = tmp_path / "ledger.sqlite"
    with ledger_of_run(tmp_path, "data"):
        reader = Ledger(path, read_only=True)
    assert path.is_file()
    with ledger_of_run(tmp_path, "data") as ledger:
        ledger.add("list", entries(3))
        reader.close()
        assert path.with_name("ledger.sqlite-wal").is_file()
    with Ledger(path, read_only=True) as found:
        assert found.counts()["waiting"] == 3
    path.unlink()
    with ledger_of_run(tmp_path, "data"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_is_whole_from_its_first_moment(tmp_path: Path):
    paths, wrong = [tmp_path / f"{number}.sqlite" for number in range(40)], []
    made = threading.Event()

    def read() -> None:
        for path in paths:
            while not path.exists() and not made.is_set():
                pass
            try:
                Ledger(path, read_only=True).close()
            except LedgerDamaged as error:
                wrong.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for path in paths:
        Ledger(path).close()
    made.set()
    thread.join()
    assert not wrong


def test_a_reader_is_not_held_up_by_a_writer(tmp_path: Path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        request = ledger.add("list", entries(3))
        ledger.claim(request, 1)
        counted = []

        def read() -> None:
            with Ledger(path, read_only=True) as other:
                counted.append(states(other))

        thread = threading.Thread(target=read)
        thread.start()
        thread.join(5)
        assert counted == [{"waiting": 3}], "what is not written yet is not seen, nor waited for"
