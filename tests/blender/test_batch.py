"""The batch engine with real workers: what dies, hangs or eats memory among others at work."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import wait_until

from objaverse_render_addon.batch.lanes.local import LocalLane
from objaverse_render_addon.batch.options import RunOptions, Workers
from objaverse_render_addon.batch.queue.ledger import Ledger
from objaverse_render_addon.batch.run import render
from objaverse_render_addon.dataset.verify import verify_asset
from objaverse_render_addon.errors import Interrupted, OutOfMemory, WorkerTimeout
from objaverse_render_addon.worker.supervisor import Place

from . import scenes
from .test_faults import (
    command,
    group_exists,
    is_alive,
    next_line,
    start,
    workers_of,
)

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="finds the workers through Linux's /proc"
)

COUNT = 40
TINY: dict[str, Any] = {
    "cameras.views": 1, "pixels.resolution": [16, 16], "pixels.passes": ["depth", "mask"],
}  # fmt: skip


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "scratch"
    yield folder
    assert not folder.exists() or list(folder.iterdir()) == []
    assert workers_of(os.getpid()) == []


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Boxes, each of a shape of its own."""
    folder, boxes = tmp_path_factory.mktemp("sources"), scenes.CUBE_VERTICES
    return [
        scenes.write_glb(folder / f"b{n:02d}.glb", boxes * (1, 1 + n / COUNT, 2), scenes.CUBE_FACES)
        for n in range(COUNT)
    ]


@pytest.fixture(scope="module")
def undisturbed(sources: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("undisturbed")
    report = render(sources, scenes.make_job(TINY), out, RunOptions.of(workers=1))
    assert report.counts["done"] == COUNT
    return contents(out)


def contents(out: Path) -> dict[str, dict[str, Any]]:
    """Every file of every finished asset; times are the only thing that may differ."""
    found = {}
    for path in sorted(out.glob("[!.]*")):
        with zipfile.ZipFile(path) as archive:
            files: dict[str, Any] = {name: archive.read(name) for name in archive.namelist()}
        metadata = json.loads(files.pop(f"{path.stem}/metadata.json"))
        metadata.pop("seconds")
        found[path.name] = {**files, "metadata": metadata}
    return found


def states(out: Path) -> dict[str, int]:
    with Ledger(out / ".state" / "ledger.sqlite", read_only=True) as ledger:
        return {name: count for name, count in ledger.counts().items() if count}


def test_workers_that_are_killed_at_random_cost_nothing(
    sources: list[Path], undisturbed: dict[str, Any], tmp_path: Path, scratch: Path
) -> None:
    """The first while it starts, the others while they import, render or write."""
    dice, over, killed = random.Random(11), threading.Event(), list[int]()
    made = [LocalLane(Place(f"cpu {n}", {}, 1), Workers(scratch=scratch)) for n in range(2)]

    def strike() -> None:
        assert wait_until(lambda: workers_of(os.getpid()))
        killed.append(workers_of(os.getpid())[0])
        os.kill(killed[0], signal.SIGKILL)
        while len(killed) < 9 and not over.wait(dice.uniform(0.05, 0.4)):
            workers = [lane._supervisor._worker for lane in made]
            there = [worker.pid for worker in workers if worker is not None]
            if there:
                killed.append(dice.choice(there))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=strike)
    thread.start()
    job = scenes.make_job(TINY)
    try:
        report = render(
            sources, job, tmp_path / "out", lanes=lambda _: [(f"{n}", made[n]) for n in range(2)]
        )
    finally:
        over.set()
        thread.join()
    assert len(set(killed)) >= 3
    assert {error.reason for result in report.failed if (error := result.error)} <= {
        "worker-crashed"
    }
    # Who was hit twice was given up; asked again, it is rendered.
    report = render(
        sources,
        job,
        tmp_path / "out",
        RunOptions.of(workers=2, scratch=scratch, retry=["worker-crashed"]),
    )
    assert report.ok
    assert states(tmp_path / "out") == {"done": COUNT}
    assert contents(tmp_path / "out") == undisturbed
    assert all(verify_asset(path).ok for path in (tmp_path / "out").glob("[!.]*"))


def test_a_run_that_is_killed_goes_on_and_splitting_changes_no_pixel(
    sources: list[Path], undisturbed: dict[str, Any], tmp_path: Path, scratch: Path
) -> None:
    """Two parts at once on one folder; each is killed once in the middle."""
    out = tmp_path / "out"
    commands = [
        command(sources, out, TINY, "--scratch", str(scratch), "--shard", f"{part}/2")
        for part in range(2)
    ]
    for arguments in commands:
        process = start(arguments)
        for _ in range(3):
            next_line(process, "result", status="done")
        there = workers_of(process.pid)
        process.kill()
        process.communicate()
        assert wait_until(lambda there=there: not any(map(is_alive, there)))
    rendered = len(contents(out))
    assert rendered >= 6
    processes = [start(arguments) for arguments in commands]
    told = []
    for process in processes:
        said, complaints = process.communicate(timeout=100)
        assert process.returncode == 0, complaints
        told += [json.loads(line) for line in said.splitlines()]
    results = [line["status"] for line in told if line["kind"] == "result"]
    assert sorted(results) == ["done"] * (COUNT - rendered) + ["skipped"] * rendered
    assert contents(out) == undisturbed


def test_others_go_on_while_one_worker_hangs_and_one_eats_memory(
    sources: list[Path], undisturbed: dict[str, Any], tmp_path: Path, scratch: Path
) -> None:
    with scenes.new_blend(tmp_path / "huge.blend"):
        ball = scenes.add_sphere(segments=128)
        for axis, count in ((0, 40), (1, 25)):
            modifier = ball.modifiers.new("Array", "ARRAY")
            modifier.count = count
            modifier.relative_offset_displace = [float(i == axis) for i in range(3)]
    stopped: list[int] = []

    def freeze(event: Any) -> None:
        if event.kind == "frame-done" and event.asset_id >= "b08" and not stopped:
            # Whichever it is: it will not answer any more.
            with contextlib.suppress(IndexError, ProcessLookupError):
                stopped.extend(workers_of(os.getpid())[:1])
                os.kill(stopped[0], signal.SIGSTOP)

    given = [*sources[:4], tmp_path / "huge.blend", *sources[4:16]]
    out = tmp_path / "out"
    report = render(
        given,
        scenes.make_job(TINY),
        out,
        RunOptions.of(workers=2, scratch=scratch, timeout=8, max_memory=900 << 20),
        on_event=freeze,
    )  # fmt: skip
    (failed,) = report.failed
    assert isinstance(failed.error, OutOfMemory | WorkerTimeout)
    assert "huge.blend" in failed.error.message
    assert "--" in failed.error.hint
    assert len(stopped) == 1
    assert not is_alive(stopped[0])
    assert states(out) == {"done": 16, "given up": 1}
    assert contents(out) == {name: undisturbed[name] for name in contents(out)}
    with Ledger(out / ".state" / "ledger.sqlite", read_only=True) as ledger:
        (row,) = ledger.assets(("given up",))
        assert row["attempts"] == 2
        assert sum(row["attempts"] > 1 for row in ledger.assets(("done",))) <= 1


@pytest.mark.parametrize("times", [1, 2])
def test_a_stopped_run_leaves_no_process_of_several(
    times: int, sources: list[Path], tmp_path: Path, scratch: Path
) -> None:
    out = tmp_path / "out"
    process = start(
        [*command(sources, out, {**TINY, "cameras.views": 20}, "--scratch", str(scratch)),
         "--workers", "2"]
    )  # fmt: skip
    next_line(process, "result", status="done")
    there = workers_of(process.pid)
    assert len(there) == 2
    process.send_signal(signal.SIGINT)
    if times == 2:
        next_line(process, "notice")
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == Interrupted.exit_code
    assert not any(map(is_alive, there))
    assert wait_until(lambda: not any(map(group_exists, there)))
    assert all(verify_asset(path).ok for path in out.glob("[!.]*"))
    assert not list(out.glob(".*part*"))
    assert set(states(out)) == {"done", "waiting"}


def test_a_run_that_is_stopped_while_blender_starts_stops_at_once(
    sources: list[Path], tmp_path: Path, scratch: Path
) -> None:
    process = start(command(sources, tmp_path / "out", TINY, "--scratch", str(scratch)))
    assert wait_until(lambda: workers_of(process.pid))
    # Now it never starts: who waits for it, waits for ever.
    for worker in workers_of(process.pid):
        os.kill(worker, signal.SIGSTOP)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    process.communicate(timeout=60)
    assert process.returncode == Interrupted.exit_code
    assert states(tmp_path / "out") == {"waiting": COUNT}


@pytest.mark.parametrize("frozen", [False, True])
def test_a_killed_run_leaves_no_process_and_no_folder(
    frozen: bool, sources: list[Path], tmp_path: Path, scratch: Path
) -> None:
    """Also where a worker is past hearing of it."""
    process = start(
        [*command(sources, tmp_path / "out", TINY, "--scratch", str(scratch)), "--workers", "2"]
    )
    next_line(process, "result", status="done")
    there = workers_of(process.pid)
    if frozen:
        os.kill(there[0], signal.SIGSTOP)
    process.kill()
    process.communicate()
    assert wait_until(lambda: not any(map(is_alive, there)), 20)
    assert wait_until(lambda: list(scratch.iterdir()) == [], 5)


def test_workers_are_replaced_after_their_share(
    sources: list[Path], tmp_path: Path, scratch: Path
) -> None:
    seen: list[int] = []

    def look(event: Any) -> None:
        if event.kind == "frame-done":
            seen.extend(workers_of(os.getpid()))

    report = render(
        sources[:5],
        scenes.make_job(TINY),
        tmp_path / "out",
        RunOptions.of(workers=1, recycle=2, scratch=scratch),
        on_event=look,
    )  # fmt: skip
    assert report.counts["done"] == 5
    assert len(set(seen)) == 3


