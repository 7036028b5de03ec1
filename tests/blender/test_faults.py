"""What dies, hangs or fills up fails by name, the next asset goes on, and nothing is left over."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import wait_until

from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.results import Report
from objaverse_render_addon.batch.run import render
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.dataset.verify import verify_asset
from objaverse_render_addon.errors import (
    DiskFull,
    Interrupted,
    OutOfMemory,
    OutputExists,
    OutputNotWritable,
    WorkerCrashed,
    WorkerTimeout,
)

from . import scenes

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="finds the worker through Linux's /proc"
)


def workers_of(pid: int) -> list[int]:
    """Worker processes that a process started."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            command = (entry / "cmdline").read_bytes()
        except (OSError, IndexError):
            continue
        if parent == pid and b"objaverse_render_addon.worker" in command:
            found.append(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def group_exists(pid: int) -> bool:
    """Whether anything is left of a process group; its dead count until somebody buries them."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # Blender makes a folder for this process when it is imported, which is no worker's.
    importlib.import_module("bpy")
    folder, everybodys = tmp_path / "scratch", tmp_path / "everybodys"
    everybodys.mkdir()
    monkeypatch.setenv("TMPDIR", str(everybodys))
    yield folder
    # Whatever happened, no temporary file stays and no worker of ours runs.
    assert not folder.exists() or list(folder.iterdir()) == []
    assert list(everybodys.iterdir()) == []
    assert workers_of(os.getpid()) == []


def cubes(folder: Path, *names: str) -> list[Path]:
    return [scenes.write_glb(folder / f"{name}.glb") for name in names]


def small_and_big(tmp_path: Path) -> tuple[list[Path], dict[str, Any]]:
    """A ball that fills the picture between two that are a few pixels of it."""
    paths = []
    for name, radius in (("first", 0.01), ("big", 1.0), ("last", 0.01)):
        path = tmp_path / f"{name}.ply"
        paths.append(scenes.write_ply(path, *scenes.sphere_mesh(24, radius)))
    cameras = scenes.camera_file(
        tmp_path / "cameras.json", [scenes.look_at((0, -3, 0))] * 3, scenes.lens(45, (384, 384))
    )
    return paths, {**cameras, "asset.normalize": "none"}


def command(sources: list[Path], out: Path, values: dict[str, Any], *more: str) -> list[str]:
    job = out.parent / "job.json"
    job.write_text(json.dumps(scenes.make_job(values).to_dict()))
    return [
        sys.executable, "-m", "objaverse_render_addon.cli", "render", *map(str, sources),
        "--out", str(out), "--job", str(job), "--json", "--workers", "1", *more,
    ]  # fmt: skip


def start(arguments: list[str], **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    "how", [pytest.param(signal.SIGKILL, marks=pytest.mark.core), signal.SIGSEGV]
)
def test_a_worker_that_dies_costs_its_asset_only(
    how: signal.Signals, tmp_path: Path, scratch: Path
) -> None:
    def strike(event: Any) -> None:
        if event.kind == "frame-done" and event.asset_id == "second" and event.index >= 1:
            for pid in workers_of(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, how)

    # So many that whoever strikes is not late, though the machine is busy.
    job = scenes.make_job({"cameras.views": 120, "pixels.resolution": [48, 48]})
    out = tmp_path / "out"
    sources = cubes(tmp_path, "first", "second", "third")
    report = render(sources, job, out, RunOptions.of(scratch=scratch, workers=1), on_event=strike)
    assert [result.status for result in report.results] == ["done", "failed", "done"]
    error = report.results[1].error
    assert isinstance(error, WorkerCrashed)
    assert how.name in str(error)
    assert "second.glb" in error.message
    assert report.exit_code == WorkerCrashed.exit_code
    assert sorted(path.name for path in out.glob("[!.]*")) == ["first.zip", "third.zip"]
    # It had two chances, and is not tried again and again.
    assert [result.status for result in render(sources, job, out).results][1] == "failed"
    again = render(sources, job, out, RunOptions.of(scratch=scratch, retry=["worker-crashed"]))
    assert [result.status for result in again.results] == ["skipped", "done", "skipped"]
    assert all(verify_asset(path).ok for path in out.glob("[!.]*"))


@pytest.mark.parametrize("layout", [pytest.param("zip", marks=pytest.mark.core), "folder"])
def test_an_asset_that_takes_too_long_is_ended(
    layout: str, tmp_path: Path, scratch: Path
) -> None:
    sources, values = small_and_big(tmp_path)
    # On one core: what else is tested meanwhile has the others.
    changed = {"engine.samples": 10_000, "engine.threads": 1, "files.layout": layout}
    job = scenes.make_job({**values, **changed})
    out = tmp_path / "out"
    options = RunOptions.of(timeout=6, scratch=scratch, workers=1)
    report = render(sources, job, out, options)
    assert [result.status for result in report.results] == ["done", "failed", "done"]
    error = report.results[1].error
    assert isinstance(error, WorkerTimeout)
    assert "big.ply" in error.message
    assert "6 seconds" in error.message
    assert sorted(path.stem for path in out.glob("[!.]*")) == ["first", "last"]


def test_a_worker_that_does_nothing_any_more_is_ended(tmp_path: Path, scratch: Path) -> None:
    def freeze(event: Any) -> None:
        if event.kind == "frame-done" and event.asset_id == "first":
            os.kill(workers_of(os.getpid())[0], signal.SIGSTOP)

    job = scenes.make_job({"cameras.views": 30})
    out = tmp_path / "out"
    report = render(
        cubes(tmp_path, "first", "second"),
        job,
        out,
        RunOptions.of(timeout=5, scratch=scratch, workers=1),
        on_event=freeze,
    )  # fmt: skip
    assert isinstance(report.results[0].error, WorkerTimeout)
    assert report.results[1].status == "done"
    assert [path.name for path in out.glob("[!.]*")] == ["second.zip"]


@pytest.mark.core
def test_an_asset_that_needs_too_much_memory_is_ended(tmp_path: Path, scratch: Path) -> None:
    sources = cubes(tmp_path, "first", "last")
    with scenes.new_blend(tmp_path / "huge.blend"):
        ball = scenes.add_sphere(segments=128)
        for axis, count in ((0, 40), (1, 25)):
            modifier = ball.modifiers.new("Array", "ARRAY")
            modifier.count = count
            modifier.relative_offset_displace = [float(i == axis) for i in range(3)]
    sources.insert(1, tmp_path / "huge.blend")
    out = tmp_path / "out"
    job = scenes.make_job({"cameras.views": 2})
    report = render(
        sources,
        job,
        out,
        RunOptions.of(max_memory=900 << 20, scratch=scratch, workers=1),
    )
    assert [result.status for result in report.results] == ["done", "failed", "done"]
    error = report.results[1].error
    assert isinstance(error, OutOfMemory)
    assert "huge.blend" in error.message
    assert sorted(path.name for path in out.glob("[!.]*")) == ["first.zip", "last.zip"]


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = "mount -t tmpfs none /mnt"
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", probe], capture_output=True, check=False
    ).returncode == 0


@pytest.mark.parametrize("layout", ["zip", "folder"])
def test_a_disk_that_has_no_room_ends_the_run_and_loses_nothing(
    layout: str, tmp_path: Path, scratch: Path
) -> None:
    if not can_mount():
        pytest.skip("may not mount a small file system (needs root and unshare)")
    sources, values = small_and_big(tmp_path)
    small = tmp_path / "small"
    small.mkdir()
    job = {**values, "files.layout": layout}
    more = ["--state", str(tmp_path / "state"), "--min-free", "0", "--patience", "2"]
    arguments = command(sources, small, job, "--scratch", str(scratch), *more)
    # Arrays take the same room whatever is in them, so that of folders not even one fits;
    # archives of a few pixels do.
    size = "3600k" if layout == "folder" else "150k"
    script = (
        f'mount -t tmpfs -o size={size} none "{small}"; "$@"; echo "code $?"; '
        f'ls -A "{small}" >&2; mount -o remount,size=64m "{small}"; '
        f'"$@" > "{tmp_path}/second"; echo "code $?"; ls -A "{small}" >&2'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    codes = [line for line in done.stdout.splitlines() if line.startswith("code")]
    assert codes == [f"code {DiskFull.exit_code}", "code 0"], done.stdout + done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    ended = {Path(item["source"]).stem: item["reason"] for item in results if "reason" in item}
    assert ended == (
        {"first": None, "big": "disk-full", "last": None} if layout == "zip" else {}
    ), done.stdout  # fmt: skip
    left = [Path(line).stem for line in done.stderr.splitlines()]
    there = [name for name, reason in ended.items() if reason is None]
    assert [name for name in left if name in ("first", "big", "last")] == [
        *there, "big", "first", "last",
    ]  # fmt: skip


def test_a_full_scratch_folder_is_named(tmp_path: Path) -> None:
    if not can_mount():
        pytest.skip("may not mount a small file system (needs root and unshare)")
    sources, values = small_and_big(tmp_path)
    small, out = tmp_path / "small", tmp_path / "out"
    small.mkdir()
    # Cycles' passes need no files.
    arguments = command(
        sources[1:2], out, values, "--scratch", str(small), "--engine", "workbench"
    )
    script = (
        f'mount -t tmpfs -o size=600k none "{small}"; "$@"; code=$?; '
        f'ls -A "{small}" >&2; exit $code'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert '"disk-full"' in done.stdout, done.stdout
    assert done.returncode == DiskFull.exit_code
    assert "objaverse-render" not in done.stderr
    assert list(out.glob("[!.]*")) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, scratch: Path) -> None:
    (source,) = cubes(tmp_path, "cube")
    job = scenes.make_job({"cameras.views": 1})
    file = tmp_path / "file"
    file.touch()
    for out in (file, file / "below"):
        with pytest.raises(OutputNotWritable, match="file"):
            render([source], job, out, RunOptions.of(scratch=scratch))


def test_a_folder_that_belongs_to_somebody_else_is_named(tmp_path: Path) -> None:
    (source,) = cubes(tmp_path, "cube")
    out = tmp_path / "out"
    out.mkdir(mode=0o555)
    arguments = command([source], out, {"cameras.views": 1})
    if os.geteuid() == 0:
        # Root may write anywhere, but for where nobody may.
        if not can_mount():
            pytest.skip("may not mount a folder read-only")
        script = f'mount --bind "{out}" "{out}"; mount -o remount,ro,bind "{out}"; exec "$@"'
        arguments = ["unshare", "-m", "sh", "-c", script, "sh", *arguments]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == OutputNotWritable.exit_code, done.stderr
    assert str(out) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_vanishes_is_told_and_the_next_run_has_everything(
    tmp_path: Path, scratch: Path
) -> None:
    out = tmp_path / "out"
    removed: list[str] = []

    def remove(event: Any) -> None:
        if event.kind == "frame-done" and event.index == 2 and not removed:
            removed.append(event.asset_id)
            # All at once: a worker that goes on to write must not keep it there.
            out.rename(gone := tmp_path / "gone")
            shutil.rmtree(gone, ignore_errors=True)

    job = scenes.make_job({"cameras.views": 30})
    for layout in ("zip", "folder"):
        changed = job.with_values({"files.layout": layout})
        removed.clear()

        def go() -> Report:
            return render(
                cubes(tmp_path, "first", "second"), changed, out,  # noqa: B023
                RunOptions.of(scratch=scratch, workers=1), on_event=remove,
            )  # fmt: skip

        with pytest.raises(OutputNotWritable, match="was moved or removed"):
            go()
        assert removed
        assert go().ok
        assert sorted(path.stem for path in out.glob("[!.]*")) == ["first", "second"]
        assert all(verify_asset(path).ok for path in out.glob("[!.]*"))
        shutil.rmtree(out)


def next_line(process: subprocess.Popen[str], *kinds: str, **wanted: Any) -> dict[str, Any]:
    assert process.stdout is not None
    for line in process.stdout:
        data: dict[str, Any] = json.loads(line)
        if data["kind"] in kinds and wanted.items() <= data.items():
            return data
    raise AssertionError(f"no {kinds}: {process.stderr.read() if process.stderr else ''}")


@pytest.mark.parametrize("times", [pytest.param(1, marks=pytest.mark.core), 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_whole_assets_or_nothing(
    number: signal.Signals, times: int, tmp_path: Path, scratch: Path
) -> None:
    sources, out = cubes(tmp_path, "first", "second", "third"), tmp_path / "out"
    arguments = command(
        sources, out, {"cameras.views": 24, "engine.samples": 16}, "--scratch", str(scratch)
    )
    process = start(arguments)
    next_line(process, "result", status="done")
    next_line(process, "frame-done")
    (worker,) = workers_of(process.pid)
    process.send_signal(number)
    if times == 2:
        next_line(process, "notice")
        process.send_signal(number)
    _, complaints = process.communicate(timeout=20)
    assert process.returncode == Interrupted.exit_code
    assert "Traceback" not in complaints
    assert not is_alive(worker)
    # Once, and the asset in hand may end; twice, and it is dropped.
    names = sorted(path.name for path in out.glob("[!.]*"))
    assert len(names) == (2 if times == 1 else 1)
    assert all(verify_asset(out / name).ok for name in names)
    assert not list(out.glob(".*part*"))
    process = start(arguments)
    assert next_line(process, "result")["status"] == "skipped"
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert sorted(path.stem for path in out.glob("[!.]*")) == ["first", "second", "third"]


@pytest.mark.parametrize("layout", [pytest.param("zip", marks=pytest.mark.core), "folder"])
def test_a_worker_ends_with_the_process_that_started_it(
    layout: str, tmp_path: Path, scratch: Path
) -> None:
    sources, out = cubes(tmp_path, "first"), tmp_path / "out"
    values = {
        "cameras.views": 100, "engine.samples": 64, "pixels.resolution": [128, 128],
        "files.layout": layout,
    }  # fmt: skip
    process = start(command(sources, out, values, "--scratch", str(scratch)))
    next_line(process, "frame-done", asset_id="first")
    (worker,) = workers_of(process.pid)
    assert len(list(out.glob(".parts/first.*"))) == 1
    process.kill()
    process.communicate()
    assert wait_until(lambda: not is_alive(worker))
    assert list(out.glob("[!.]*")) == []
    assert wait_until(lambda: list(scratch.iterdir()) == [])


def test_a_part_that_a_power_cut_left_is_cleaned_up(tmp_path: Path, scratch: Path) -> None:
    (source,) = cubes(tmp_path, "cube")
    out = tmp_path / "out"
    parts = out / ".parts"
    (parts / "cube.99999").mkdir(parents=True)
    (parts / "cube.99999" / "000.png").touch()
    (parts / "cube.99998.zip").touch()
    (out / "cube.zip").write_bytes(b"PK\x03\x04 half an archive")
    report = render(
        [source],
        scenes.make_job({"cameras.views": 1}),
        out,
        RunOptions.of(scratch=scratch),
    )
    assert report.results[0].status == "done"
    assert [path.name for path in out.glob("[!.]*")] == ["cube.zip"]
    assert not parts.exists()
    assert verify_asset(out / "cube.zip").ok


@pytest.mark.parametrize("layout", ["zip", "folder"])
def test_another_job_does_not_touch_what_is_there(
    layout: str, tmp_path: Path, scratch: Path
) -> None:
    (source,) = cubes(tmp_path, "cube")
    out = tmp_path / "out"
    first = scenes.make_job({"cameras.views": 2, "files.layout": layout})
    other = first.with_values({"engine.samples": 3, "seed": 9})
    (done,) = render([source], first, out, RunOptions.of(scratch=scratch)).results
    for ledger in ("there", "lost"):
        if ledger == "lost":
            shutil.rmtree(out / ".state")
            (refused,) = render([source], other, out, RunOptions.of(scratch=scratch)).results
            error = refused.error
            assert isinstance(error, OutputExists)
        else:
            with pytest.raises(OutputExists) as caught:
                render([source], other, out, RunOptions.of(scratch=scratch))
            error = caught.value
        assert "engine.samples: 1 -> 3" in error.message
        assert "seed: 0 -> 9" in error.message
    assert done.path is not None
    with AssetReader(done.path) as reader:
        assert reader.metadata["seed"] == 0
    again = RunOptions.of(overwrite=True, scratch=scratch)
    (replaced,) = render([source], other, out, again).results
    assert replaced.status == "done"
    with AssetReader(done.path) as reader:
        assert reader.metadata["seed"] == 9
    assert [path.name for path in out.glob("[!.]*")] == [done.path.name]
    # Another file under the same name is not the same asset either.
    scenes.write_glb(source, scenes.CUBE_VERTICES * (1, 2, 3), scenes.CUBE_FACES + [(0, 1, 2)])
    (changed,) = render([source], other, out, RunOptions.of(scratch=scratch)).results
    assert isinstance(changed.error, OutputExists)
    assert "file_size" in changed.error.message


@pytest.mark.core
def test_a_worker_never_loads_openexr(tmp_path: Path, scratch: Path) -> None:
    """Beside the one that Blender is linked with, a second may end the process."""
    spec = importlib.util.find_spec("OpenEXR")
    assert spec is not None
    assert spec.origin is not None

    def maps(pid: int) -> str:
        return Path(f"/proc/{pid}/maps").read_text()

    # What is looked for is seen where it is.
    loaded = subprocess.run(
        [sys.executable, "-c", "import OpenEXR; print(open('/proc/self/maps').read())"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert spec.origin in loaded
    seen = []

    def look(event: Any) -> None:
        if event.kind == "frame-done":
            seen.extend(maps(pid) for pid in workers_of(os.getpid()))

    job = scenes.make_job({"cameras.views": 3, "files.geometry": "exr"})
    options = RunOptions.of(scratch=scratch)
    report = render(cubes(tmp_path, "cube"), job, tmp_path / "out", options, on_event=look)
    assert not report.failed
    assert seen
    assert "bpy" in seen[-1]
    assert [text for text in seen if spec.origin in text] == []
