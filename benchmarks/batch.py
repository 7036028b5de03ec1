"""A list of small assets: is the machine busy, and what does keeping workers save?

Renders the same assets by the batch engine and by one process each (the same engine in a new
process, importing Blender each time), and prints ratios. Linux only.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from throughput import sample

from objaverse_render_addon import RenderJob, render
from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.results import AssetResult
from objaverse_render_addon.machine import cores

# What Cycles does, and reading the file; the rest is ours.
PARTS = ("import", "geometry", "color")


def cpu_seconds() -> float:
    """Of this process and all its children that ended."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def run_pool(sources: list[Path], out: Path, job: RenderJob, workers: int | None) -> list[float]:
    """Render them all; prints what came of it and returns the moments that assets ended at."""
    ended: list[float] = []
    overheads: list[float] = []

    def note(result: AssetResult) -> None:
        assert result.status == "done", result
        ended.append(time.perf_counter() - since)
        seconds = result.seconds
        overheads.append(seconds["total"] - sum(seconds.get(name, 0.0) for name in PARTS))

    before, since = cpu_seconds(), time.perf_counter()
    render(sources, job, out, RunOptions.of(workers=workers), on_result=note)
    wall = time.perf_counter() - since
    busy = (cpu_seconds() - before) / (wall * cores())
    print(f"  engine              {wall:8.2f} s   {len(sources) / wall:.2f} assets/s")
    print(f"  CPUs busy           {busy:8.0%}     from start to end, {cores()} cores")
    print(f"  overhead per asset  {statistics.median(overheads) * 1000:8.0f} ms  (median; total")
    print("                                less import, geometry and colour)")
    return ended


def run_alone(sources: list[Path], out: Path, job: Path) -> float:
    """Seconds per asset of a process each, one after the other, with all threads."""
    since = time.perf_counter()
    for source in sources:
        subprocess.run(
            [sys.executable, "-m", "objaverse_render_addon.cli", "render", str(source),
             "--out", str(out / source.stem), "--job", str(job), "--quiet"],
            check=True,
        )  # fmt: skip
    return (time.perf_counter() - since) / len(sources)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=64)
    parser.add_argument("--alone", type=int, default=8, help="assets rendered by a process each")
    parser.add_argument("--views", type=int, default=12)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--workers", type=int)
    parser.add_argument(
        "--among", type=int, default=0,
        help="files that finished assets have left in the folder before",
    )  # fmt: skip
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = sample(folder)
        sources = [folder / f"asset{index:04d}.glb" for index in range(options.assets)]
        for source in sources:
            # Files of their own, as of a real list, without their bytes.
            os.link(first, source)
        job = RenderJob.from_dict(
            {
                "cameras": {"views": options.views},
                "engine": {"samples": options.samples, "denoise": options.samples > 1},
                "pixels": {"resolution": options.size},
            }
        )
        description = folder / "job.toml"
        description.write_text(job.to_toml())
        print(
            f"{options.assets} assets, {options.views} views, {options.size}², "
            f"{options.samples} samples, {', '.join(job.pixels.passes)}"
        )
        (folder / "pool").mkdir()
        for index in range(options.among):
            (folder / "pool" / f"{index:032x}.zip").touch()
        os.sync()  # They were finished long ago.
        ended = run_pool(sources, folder / "pool", job, options.workers)
        each = (ended[-1]) / len(ended)
        # The second and the last: the first pays for Blender's start.
        quarter = max(1, len(ended) // 4)
        early = (ended[quarter] - ended[1]) / (quarter - 1)
        late = (ended[-1] - ended[-quarter]) / (quarter - 1)
        print(f"  last quarter        {late / early:8.2f}     of the time per asset of the first")
        shutil.rmtree(folder / "pool")
        alone = run_alone(sources[: options.alone], folder / "alone", description)
        print(f"  a process each      {alone:8.2f} s   per asset")
        print(f"  throughput          {alone / each:8.2f}     times that of a process each")


if __name__ == "__main__":
    main()
