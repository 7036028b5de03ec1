"""Scratch folders that are full, taken away or left behind, and workers that lost their way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import wait_until

from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.run import render
from objaverse_render_addon.dataset.verify import verify_asset
from objaverse_render_addon.worker.protocol import Failed, Open, Opened
from objaverse_render_addon.worker.supervisor import Place, Supervisor

from . import scenes
from .test_faults import ROOT, can_mount, command, cubes, is_alive, next_line, start, workers_of

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="finds the worker through Linux's /proc"
)
QUICK = {"cameras.views": 1, "pixels.resolution": [16, 16], "engine.samples": 1,
         "engine.denoise": False, "pixels.passes": ["rgb", "depth"]}  # fmt: skip


def reapers_of(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            command_line = (entry / "cmdline").read_bytes()
        except (OSError, IndexError):
            continue
        if parent == pid and b"reaper.py" in command_line and is_alive(int(entry.name)):
            found.append(int(entry.name))
    return found


def test_images_cut_by_a_full_scratch_folder_are_a_full_disk_and_tried_again(
    tmp_path: Path,
) -> None:
    if not can_mount():
        pytest.skip("may not mount a small file system (needs root and unshare)")
    sources, out, small = cubes(tmp_path, "first", "second"), tmp_path / "out", tmp_path / "small"
    small.mkdir()
    values = {
        "cameras.views": 3, "pixels.resolution": [400, 400], "engine.engine": "workbench",
        "pixels.passes": ["rgb", "depth", "normal", "position", "albedo", "mask"],
    }  # fmt: skip
    full = command(sources, out, values, "--scratch", str(small), "--patience", "3")
    # Cycles' passes need no files. A picture is some 2 MB: Blender cuts it, and says nothing.
    script = f'mount -t tmpfs -o size=1m none "{small}"; exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *full],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    failed = [line["reason"] for line in lines if line["kind"] == "result" and line["reason"]]
    assert failed, "it was not full"
    assert set(failed) == {"disk-full"}, done.stdout
    roomy = command(sources, out, values, "--scratch", str(tmp_path / "roomy"))
    done = subprocess.run(roomy, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert sorted(path.name for path in out.glob("[!.]*")) == ["first.zip", "second.zip"]
    assert all(verify_asset(path).ok for path in out.glob("[!.]*"))


def test_scratch_folders_that_are_taken_away_cost_no_asset(tmp_path: Path) -> None:
    scratch, taken = tmp_path / "scratch", list[str]()
    sources = cubes(tmp_path, *(f"cube-{index}" for index in range(24)))

    def take(event: Any) -> None:
        if event.kind == "done" and event.asset_id in ("cube-5", "cube-12"):
            for folder in scratch.glob("objaverse-render-*[!k]"):
                if folder.is_dir() and not taken.count(folder.name):
                    taken.append(folder.name)
                    shutil.rmtree(folder, ignore_errors=True)

    options = RunOptions.of(scratch=scratch, workers=2)
    report = render(sources, scenes.make_job(QUICK), tmp_path / "out", options, on_event=take)
    assert len(taken) >= 2
    assert [result.error for result in report.results if result.error] == []
    assert len(list((tmp_path / "out").glob("*.zip"))) == 24


def test_a_worker_whose_failures_nobody_can_explain_is_replaced(tmp_path: Path) -> None:
    path = scenes.write_glb(tmp_path / "cube.glb")
    job = scenes.make_job(QUICK).to_dict()
    good = Open(str(path), str(path), "cube", job)
    # A folder that is no text: nothing in the worker expects it.
    bad = Open(str(path), str(path), "cube", job, folders=[3])  # type: ignore[list-item]
    supervisor = Supervisor(Place(), scratch=tmp_path / "scratch", sandbox="off")
    try:
        pids = []
        for request in (good, bad, bad, good, bad, bad, bad, good):
            pids.append(supervisor.start().pid)
            answer = supervisor.ask(request, 60).message
            if request is good:
                assert isinstance(answer, Opened)
            else:
                assert isinstance(answer, Failed) and answer.reason == "unexpected-error"
        # Two in a row are the assets'; after the third the worker is another one.
        assert len(set(pids[:7])) == 1 and pids[7] != pids[0]
    finally:
        supervisor.close()


@pytest.mark.core
def test_what_was_killed_all_at_once_is_swept_by_the_next_run(tmp_path: Path) -> None:
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    values = {"cameras.views": 60, "engine.samples": 16}
    arguments = command(cubes(tmp_path, "first"), out, values, "--scratch", str(scratch))
    process = start(arguments)
    next_line(process, "frame-done")
    everybody = [process.pid, *workers_of(process.pid), *reapers_of(process.pid)]
    assert len(everybody) == 3
    for pid in (*everybody, *everybody):
        # Stopped first: none of them sees another one die.
        os.kill(pid, signal.SIGSTOP if is_alive(pid) else 0)
    for pid in everybody:
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    assert wait_until(lambda: not any(map(is_alive, everybody)))
    assert list(scratch.iterdir()) != []
    arguments = command(cubes(tmp_path, "last"), out, {"cameras.views": 1}, "--overwrite",
                        "--scratch", str(scratch))  # fmt: skip
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(scratch.iterdir()) == []


def test_a_node_of_a_cluster_that_was_killed_leaves_a_folder_that_the_next_one_removes(
    tmp_path: Path,
) -> None:
    from objaverse_render_addon.worker.guardian import ScratchFolder

    scratch = tmp_path / "scratch"
    node = (
        "import sys, time; from pathlib import Path\n"
        "from objaverse_render_addon.batch.lanes.ray import NodeSettings, make_node_lane\n"
        "from objaverse_render_addon.batch.options import Workers\n"
        "lane = make_node_lane(NodeSettings(sys.argv[1], 'zip', Workers(scratch=sys.argv[2])))\n"
        "print('there', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", node, str(tmp_path / "out"), str(scratch)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "there\n"
    assert len([path for path in scratch.iterdir() if path.is_dir()]) == 1
    # While it lives, nobody takes it.
    ScratchFolder(scratch).remove()
    assert len([path for path in scratch.iterdir() if path.is_dir()]) == 1
    process.kill()
    process.communicate()
    ScratchFolder(scratch).remove()
    assert list(scratch.iterdir()) == []


def test_a_reaper_that_was_killed_is_replaced_and_does_what_the_first_would_have(
    tmp_path: Path,
) -> None:
    scratch = tmp_path / "scratch"
    arguments = command(
        cubes(tmp_path, "first", "second"), tmp_path / "out",
        {"cameras.views": 12, "engine.samples": 16},
        "--scratch", str(scratch), "--recycle", "1",
    )  # fmt: skip
    process = start(arguments)
    next_line(process, "frame-done", asset_id="first")
    (reaper,) = reapers_of(process.pid)
    os.kill(reaper, signal.SIGKILL)
    next_line(process, "frame-done", asset_id="second")
    (another,) = reapers_of(process.pid)
    assert another != reaper
    # A worker that stands still does not hear that its parent is gone.
    (worker,) = workers_of(process.pid)
    os.kill(worker, signal.SIGSTOP)
    process.kill()
    process.communicate()
    assert wait_until(lambda: not is_alive(worker))
    assert wait_until(lambda: list(scratch.iterdir()) == [])
