"""A whole run, process start and import included, against a plain RGB-only script."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from objaverse_render_addon import RenderJob, render

HERE = Path(__file__).resolve().parent


def sample(folder: Path) -> Path:
    """The project's own textured asset."""
    path = folder / "sample.glb"
    subprocess.run(
        [sys.executable, str(HERE.parent / "examples" / "make_sample.py"), str(path)],
        check=True, capture_output=True,
    )  # fmt: skip
    return path


def run_plain(source: Path, out: Path, views: int, size: int, samples: int) -> float:
    """Seconds of the plain script, whole process."""
    out.mkdir()
    since = time.perf_counter()
    subprocess.run(
        [sys.executable, str(HERE / "plain_script.py"), str(source), str(out), str(views),
         str(size), str(samples)],
        check=True, capture_output=True,
    )  # fmt: skip
    return time.perf_counter() - since


def run_ours(source: Path, out: Path, job: RenderJob) -> tuple[float, dict[str, float]]:
    """Seconds of a whole run in this process and its worker, and the worker's stages."""
    since = time.perf_counter()
    report = render([source], job, out)
    total = time.perf_counter() - since
    assert report.ok, report.failed
    return total, report.results[0].seconds


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", type=Path, help="a .glb; default: the sample")
    parser.add_argument("--views", type=int, default=32)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = options.source or sample(folder)
        protocols = {
            # The plain script's own cameras, object size and field of view.
            "same cameras (objaverse-xl)": {"pattern": "objaverse-xl"},
            "default cameras (gs-lrm)": {"pattern": "gs-lrm"},
        }
        for samples in (16, 64):
            plain = min(
                run_plain(
                    source, folder / f"plain{samples}{i}", options.views, options.size, samples
                )
                for i in range(options.rounds)
            )
            print(f"\n{samples} samples, denoised, {options.views} views, {options.size}²")
            each = plain / options.views
            print(f"  plain script, RGB only        {plain:7.2f} s   {each:.3f} s/view")
            for title, cameras in protocols.items():
                job = RenderJob.from_dict(
                    {
                        "cameras": {**cameras, "views": options.views},
                        "engine": {"samples": samples},
                        "pixels": {"resolution": options.size},
                    }
                )
                runs = [
                    run_ours(source, folder / f"ours{samples}{title[:4]}{i}", job)
                    for i in range(options.rounds)
                ]
                total, stages = min(runs)
                print(
                    f"  {title:30s}{total:7.2f} s   {total / options.views:.3f} s/view"
                    f"   ratio {total / plain:.2f}"
                )
                start = total - stages["total"]
                # Denoising is no path tracing; Cycles' own clock cuts off hundredths.
                bare = job.with_values({"engine.denoise": False})
                _, stages_bare = run_ours(source, folder / f"bare{samples}{title[:4]}", bare)
                tracing = stages_bare["cycles"] + 0.005 * options.views
                print(
                    f"    start {start:.2f}, import {stages['import']:.2f}, prepare "
                    f"{stages['prepare']:.2f}, geometry {stages['geometry']:.2f}, colour "
                    f"{stages['color']:.2f}, writing beside {stages['write']:.2f}"
                )
                print(f"    not path tracing: {1 - tracing / total:.0%} of the wall time")


if __name__ == "__main__":
    main()
