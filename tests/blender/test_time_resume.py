"""A long animation goes on where a killed run left it, and is the same as if never killed."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from objaverse_render_addon.dataset import blocks

from . import moving, scenes

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    "--frames=all", "--time-scale=12", "--views=2", "--cameras=ring", "--resolution=32",
    "--samples=1", "--no-denoise", "--device=cpu", "--quiet", "--passes=rgb,depth,mask",
]  # fmt: skip
FRAMES = 2 * (8 * 12 + 1)


def content(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Digest of each file by name, and the metadata without what tells of the clock."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(files.pop(next(name for name in files if name.endswith(".json"))))
    del metadata["seconds"]
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}, metadata


def render(path: Path, out: Path, *flags: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "objaverse_render_addon.cli", "render", str(path)]
    return subprocess.Popen(
        [*command, f"--out={out}", *FLAGS, *flags], cwd=ROOT, start_new_session=True
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A file, and what it is when nothing gets in the way."""
    folder = tmp_path_factory.mktemp("whole")
    path = moving.write(folder / "box.blend", "skinned")
    assert render(path, folder / "out").wait(200) == 0
    return path, folder / "out" / "box.zip"


@pytest.mark.skipif(os.name != "posix", reason="kills a group of processes")
def test_a_killed_run_goes_on_where_it_was(whole: tuple[Path, Path], tmp_path: Path):
    path, finished = whole
    run = render(path, tmp_path)
    parts = tmp_path / ".parts" / "box.blocks"
    until = time.monotonic() + 100
    while len(list(parts.glob("*.tar"))) < 2 and time.monotonic() < until:
        assert run.poll() is None, "it ended before it was killed"
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    kept = {file.name: file.stat().st_mtime_ns for file in parts.glob("*.tar")}
    assert 2 <= len(kept) < FRAMES / blocks.FRAMES
    assert not (tmp_path / "box.zip").exists()
    assert render(path, tmp_path).wait(200) == 0
    names, metadata = content(tmp_path / "box.zip")
    assert (names, metadata) == content(finished)
    assert len(metadata["views"]) == FRAMES
    assert not (tmp_path / ".parts").exists()


def test_blocks_of_another_job_are_not_used(tmp_path: Path):
    first = blocks.Blocks(tmp_path, "box", "of one job", 100)
    first.add("000_0001.png", b"picture")
    first.frame({"time": 1, "image": "000_0001.png"})
    first._flush()
    again = blocks.Blocks(tmp_path, "box", "of one job", 100)
    assert again.views == [{"time": 1, "image": "000_0001.png"}]
    assert list(again.files()) == [("000_0001.png", b"picture")]
    # All frames are there: the last block is rendered again, for there is more to say of it.
    assert blocks.Blocks(tmp_path, "box", "of one job", 1).views == []
    assert blocks.Blocks(tmp_path, "box", "of another", 100).views == []
    assert not list((tmp_path / ".parts/box.blocks").glob("*.tar"))


def test_a_block_holds_whole_times(tmp_path: Path):
    kept = blocks.Blocks(tmp_path, "a", "s", 1000)
    for time_ in range(50):
        for view in range(3):
            name = f"{view:03d}_{time_:04d}.png"
            kept.add(name, name.encode())
            kept.frame({"view": view, "time": time_, "image": name})
    found = blocks.Blocks(tmp_path, "a", "s", 1000)
    assert len(found.views) % 3 == 0
    assert 0 < len(found.views) < 150
    assert [view["image"] for view in found.views] == [name for name, _ in found.files()]
    assert [name for name, _ in kept.files()] == [
        f"{view:03d}_{time_:04d}.png" for time_ in range(50) for view in range(3)
    ]


def test_frames_render_the_same_after_others(tmp_path: Path):
    path = moving.write(tmp_path / "box.blend", "rotating")
    job = scenes.make_job({"time.frames": "1:4", "cameras.pattern": "ring", "cameras.views": 1})
    session = scenes.open_scene(path, job)
    from objaverse_render_addon.blender import pipeline

    shots = session.shots()
    row = list(pipeline.frames(session.renderer, shots))
    last = list(pipeline.frames(session.renderer, shots[2:]))
    for before, after in zip(row[2:], last, strict=True):
        for name, data in before.passes.items():
            assert (data == after.passes[name]).all(), name
        assert before.checks == after.checks


@pytest.mark.long
def test_memory_and_pace_stay_over_two_thousand_frames(tmp_path: Path):
    import resource

    from objaverse_render_addon.blender import pipeline

    def used() -> int:
        pages = Path("/proc/self/statm")
        if not pages.is_file():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(pages.read_text().split()[1]) * resource.getpagesize() >> 10

    path = moving.write(tmp_path / "box.blend", "skinned")
    job = scenes.make_job({
        "time.frames": "all", "time.scale": 250, "cameras.pattern": "ring", "cameras.views": 1,
        "pixels.resolution": [32, 32],
    })  # fmt: skip
    session = scenes.open_scene(path, job)
    shots = session.shots()
    assert len(shots) == 2001
    marks = []
    for number, _ in enumerate(pipeline.frames(session.renderer, shots)):
        if number % 250 == 0:
            marks.append((time.monotonic(), used()))
    # The first quarter warms caches up.
    assert marks[-1][1] - marks[2][1] < 30_000, [kilobytes for _, kilobytes in marks]
    paces = [later - sooner for (sooner, _), (later, _) in itertools.pairwise(marks)]
    assert sorted(paces[-3:])[1] < 2 * sorted(paces[1:4])[1], paces
