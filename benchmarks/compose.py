"""Composed scenes stage by stage, pictures an hour, and whether the last scene is as fast.

Stages run one after the other here, each alone on the machine; in a run the next scene settles
while this one renders, which is what the second table measures.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from endurance import resident

from objaverse_render_addon.batch.compose import compose, job_for
from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.compose import expressions
from objaverse_render_addon.compose.drawn import drawn
from objaverse_render_addon.compose.facts import facts_of
from objaverse_render_addon.compose.make import scene_file
from objaverse_render_addon.compose.margins import Margins
from objaverse_render_addon.compose.physics.accept import refusal
from objaverse_render_addon.compose.physics.settle import settle
from objaverse_render_addon.compose.proving import problems_of
from objaverse_render_addon.compose.reader import read_unit
from objaverse_render_addon.compose.record import FILE, Scene
from objaverse_render_addon.compose.rules import Rules
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.dataset.verify import verify_asset
from objaverse_render_addon.errors import InvalidGeometry
from objaverse_render_addon.worker.process import WorkerProcess
from objaverse_render_addon.worker.protocol import Done, Failed, RenderAsset

PASSES = ("rgb", "depth", "normal", "mask", "instance_index", "semantic_index", "albedo")


def processor_seconds(pid: int) -> float:
    """Of all threads of a process; Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Watch:
    """Seconds by stage, on the wall and of processors: those do not mind what else runs.

    Args:
        worker: Whose processor seconds count beside this process's.
    """

    def __init__(self, worker: WorkerProcess) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._worker = worker

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Count what is done within it."""
        since, used = time.perf_counter(), self._used()
        yield
        self.seconds[name][0] += time.perf_counter() - since
        self.seconds[name][1] += self._used() - used

    def _used(self) -> float:
        return time.process_time() + processor_seconds(self._worker.pid)


def scene_by_stage(
    watch: Watch, worker: WorkerProcess, rules: Rules, index: int, folder: Path,
    options: argparse.Namespace,
) -> None:  # fmt: skip
    """Make one scene, render it, say what is true of it, verify it."""
    for attempt in range(rules.tries):
        with watch.of("draw"):
            one = drawn(rules, index, attempt)
        with watch.of("settle"):
            settled = settle(one.starts, one.ground)
        with watch.of("accept"):
            why = refusal(one.starts, settled, one.ground)
        REFUSED[why or "taken"] += 1
        if not why:
            break
    path = scene_file(rules, index, folder)
    job = job_for({
        "pixels.resolution": [options.size, options.size], "engine.samples": options.samples,
        "pixels.passes": PASSES,
    })  # fmt: skip
    with watch.of("render, all of it"):
        worker.send(RenderAsset(
            source=str(path), path=str(path), asset_id=path.stem, job=job.to_dict(),
            out=str(folder / "out"),
        ))  # fmt: skip
        while not isinstance(answer := worker.receive(600).message, Done | Failed):
            pass
    assert isinstance(answer, Done), answer
    for name, seconds in answer.seconds.items():
        watch.seconds[f"  {name}"][0] += seconds
    unit = Path(answer.path)
    with watch.of("facts"), AssetReader(unit) as asset:
        for view in range(rules.images):
            facts_of(Scene.read(unit / FILE), view, asset, Margins())
    with watch.of("sentences, facts with them"):
        said = expressions.write(unit)
    SENTENCES.append(len(said["expressions"]))
    with AssetReader(unit) as asset:
        with watch.of("verify: pictures and physics"):
            assert problems_of(asset) == []
        with watch.of("verify: second reader"):
            assert read_unit(asset).problems == []
    with watch.of("verify, all of it"):
        assert verify_asset(unit).ok
    shutil.rmtree(unit)


REFUSED: Counter[str] = Counter()
SENTENCES: list[int] = []


def by_stage(rules: Rules, options: argparse.Namespace, folder: Path) -> None:
    """Print seconds a picture of each stage."""
    worker = WorkerProcess(sandbox="off")
    watch = Watch(worker)
    try:
        # The first one has imports and caches to fill.
        last = options.start + options.scenes
        scene_by_stage(Watch(worker), worker, rules, last, folder, options)
        REFUSED.clear()
        SENTENCES.clear()
        for index in range(options.start, options.start + options.scenes):
            scene_by_stage(watch, worker, rules, index, folder, options)
    finally:
        worker.close()
    pictures = options.scenes * rules.images
    print(f"\nscenes {options.start} … {options.start + options.scenes - 1}, "
          f"{rules.images} views of {options.size}², {options.samples} samples")  # fmt: skip
    print(f"  {'a picture':30s}{'ms':>8s}{'CPU ms':>10s}")
    for name, (wall, used) in watch.seconds.items():
        said = f"{1000 * used / pictures:10.0f}" if used else ""
        print(f"  {name:30s}{1000 * wall / pictures:8.0f}{said}")
    print(f"  {sum(SENTENCES) / pictures:.1f} sentences a picture; draws: "
          f"{dict(REFUSED.most_common())}")  # fmt: skip


def whole_run(rules: Rules, options: argparse.Namespace, folder: Path) -> None:
    """Print pictures an hour of a run as it is, and what of it was path tracing."""
    values = {
        "pixels.resolution": (options.size, options.size), "engine.samples": options.samples,
        "pixels.passes": PASSES,
    }  # fmt: skip
    since = time.perf_counter()
    ended: list[float] = []
    report = compose(
        rules, options.scenes, folder / "run", values, RunOptions.of(workers=options.workers),
        first=options.start, on_result=lambda _: ended.append(time.perf_counter()),
    )  # fmt: skip
    total = time.perf_counter() - since
    assert report.ok, report.failed
    pictures = options.scenes * rules.images
    tracing = sum(one.seconds["cycles"] + 0.005 * rules.images for one in report.results)
    steady = (pictures - rules.images) / (ended[-1] - ended[0]) if len(ended) > 1 else 0.0
    print(f"\na whole run, {options.workers or 'as many as fit'} workers: {total:.1f} s, "
          f"{3600 * pictures / total:.0f} pictures an hour with its start, "
          f"{3600 * steady:.0f} after the first scene")  # fmt: skip
    print(f"  Cycles' own clock: {tracing:.1f} s, {1 - tracing / total:.0%} of the wall is not "
          "path tracing (of several workers their seconds add up)")  # fmt: skip


def endurance(rules: Rules, options: argparse.Namespace, folder: Path) -> None:
    """Print processor seconds and memory of one worker after more and more scenes."""
    worker = WorkerProcess(sandbox="off")
    job = job_for({"pixels.resolution": [64, 64], "engine.samples": 1, "pixels.passes": PASSES})
    part: list[float] = []
    first = 0.0
    try:
        for place in range(options.endurance):
            try:
                path = scene_file(rules, options.start + place, folder)
            except InvalidGeometry as error:
                print(error)
                continue
            used = processor_seconds(worker.pid)
            worker.send(RenderAsset(
                source=str(path), path=str(path), asset_id=path.stem, job=job.to_dict(),
                out=str(folder / "out"),
            ))  # fmt: skip
            while not isinstance(answer := worker.receive(600).message, Done | Failed):
                pass
            assert isinstance(answer, Done), answer
            shutil.rmtree(answer.path)
            path.unlink()
            part.append(processor_seconds(worker.pid) - used)
            if len(part) == max(5, options.endurance // 10):
                median = statistics.median(part)
                first = first or median
                print(f"scenes to {place + 1:4d}: ratio to the first ones {median / first:.2f}, "
                      f"worker {resident(worker.pid):.0f} MiB, this process "
                      f"{resident(os.getpid()):.0f} MiB", flush=True)  # fmt: skip
                part = []
    finally:
        worker.close()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=6)
    parser.add_argument("--start", type=int, default=0, help="number of the first")
    parser.add_argument("--views", type=int, default=5)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--endurance", type=int, default=0, metavar="N",
                        help="only: so many scenes in one worker, small")  # fmt: skip
    options = parser.parse_args()
    rules = Rules(seed=1, images=options.views if not options.endurance else 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.endurance:
            endurance(rules, options, folder)
            return
        by_stage(rules, options, folder)
        whole_run(rules, options, folder)


if __name__ == "__main__":
    main()
