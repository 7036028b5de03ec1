"""How soon is a first picture, how many come under a flood of updates, how long are pieces, what
does progression cost?

python benchmarks/live_view.py [FILE.glb] [FIELD.ply]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from objaverse_render_addon.cameras import Camera, Rig, intrinsics_of, look_at_pose
from objaverse_render_addon.job import RenderJob
from objaverse_render_addon.live.backends import Backend
from objaverse_render_addon.live.backends.field import FieldBackend
from objaverse_render_addon.live.backends.scene import SceneBackend
from objaverse_render_addon.live.levels import Adaptive, Level
from objaverse_render_addon.live.queue import Picture, RenderQueue
from objaverse_render_addon.splats.field import Field, read_field

SIZE = (640, 480)
SAMPLES = 32


def camera_at(number: float) -> Camera:
    lens = intrinsics_of("perspective", 45.0, SIZE)
    return Camera(*SIZE, lens, look_at_pose(number % 360, 20.0, 2.0, Rig()))


def random_field(count: int = 100_000) -> Field:
    rng = np.random.default_rng(0)
    turns = rng.normal(size=(count, 4))
    return Field(
        rng.uniform(-0.5, 0.5, (count, 3)).astype(np.float32),
        np.full((count, 3), 0.6 / count**0.5, np.float32),
        (turns / np.linalg.norm(turns, axis=1, keepdims=True)).astype(np.float32),
        rng.uniform(0.1, 1, count).astype(np.float32),
        rng.normal(size=(count, 16, 3)).astype(np.float32) * np.float32(0.2),
    )


def flood(name: str, backend: Backend) -> None:
    with RenderQueue(backend, Adaptive()) as queue:
        queue.update_camera(camera_at(0))
        queue.wait(300, last=True)
        first = []
        for number in range(1, 8):
            since = time.perf_counter()
            update = queue.update_camera(camera_at(number * 11))
            queue.wait(60, at_least=update)
            first.append(time.perf_counter() - since)
        print(f"{name}: first picture {1e3 * statistics.median(first):.0f} ms")
        for rate in (125, 500, 1000):
            seen: list[Picture] = []
            watcher = queue.watch(callback=seen.append)  # type: ignore[arg-type]
            seen.clear()
            start, number = time.perf_counter(), 0
            while (now := time.perf_counter()) < start + 2:
                if now - start >= number / rate:
                    number += 1
                    queue.update_camera(camera_at(number * 0.7))
                else:
                    time.sleep(2e-4)
            places = [(picture.update, picture.index) for picture in seen]
            back = sum(b <= a for a, b in pairwise(places))
            size = f"{seen[-1].camera.width}x{seen[-1].camera.height}" if seen else "none"
            print(f"  {rate} updates/s: {len(seen) / 2:.0f} pictures/s of {size}, {back} go back")
            watcher.close()


def cold(path: Path, job: RenderJob) -> SceneBackend:
    """A scene that is opened, and its first picture."""
    since = time.perf_counter()
    backend = SceneBackend(path, job)
    opened = time.perf_counter() - since
    camera = camera_at(0)
    backend.render(camera, Level(*SIZE, 0), lambda: False, {})
    print(f"{path.name}: first picture {time.perf_counter() - since:.1f} s after its file was "
          f"named, {opened:.1f} of which opened it")  # fmt: skip
    return backend


def pieces(path: Path, job: RenderJob) -> None:
    """How long whoever moves may have to wait."""
    backend = SceneBackend(path, job)
    for number in (20, 40):  # The first time it learns what pieces take.
        for samples in (1, SAMPLES - 1, SAMPLES):
            asked: list[float] = []

            def stop(asked: list[float] = asked) -> bool:
                asked.append(time.perf_counter())
                return False

            camera = camera_at(number)
            backend.render(camera, Level(*SIZE, samples), stop, {})
            took = 1e3 * np.diff([*asked, time.perf_counter()])[1:]
            if number == 40:
                longest = took[1:].max(initial=0)
                print(f"{samples} samples: {len(took)} pieces, first {took[0]:.0f} ms, median "
                      f"{np.median(took):.0f}, longest other {longest:.0f}")  # fmt: skip
    backend.close()


def progression(path: Path, job: RenderJob) -> None:
    def drawn(backend: SceneBackend, steps: list[int], number: int) -> float:
        since = time.perf_counter()
        for samples in steps:
            backend.render(camera_at(number), Level(*SIZE, samples), lambda: False, {})
        return time.perf_counter() - since

    steps = [1, 2, 4, 8, 16, SAMPLES]
    exact, sums = SceneBackend(path, job), SceneBackend(path, job, exact=False)
    whole = SceneBackend(path, job.with_values({"engine.denoise": True}))
    took: dict[str, list[float]] = {"exact": [], "sums": [], "tiles": [], "whole": []}
    for number in range(70, 74):  # Neighbours of one another, and none of them seen before.
        took["exact"].append(drawn(exact, steps, number))
        took["sums"].append(drawn(sums, steps, number))
        took["tiles"].append(drawn(exact, [SAMPLES], number + 100))
        took["whole"].append(drawn(whole, [SAMPLES], number))
    for backend in (exact, sums, whole):
        backend.close()
    least = {name: min(times[1:]) for name, times in took.items()}
    once = least["tiles"]
    added, progressive = least["sums"], least["exact"]
    print(f"{SAMPLES} samples in one render, denoised: {least['whole'] / once:.2f} of tiles")
    print(f"{SAMPLES} samples in levels, over at once: {added / once:.2f} as a sum, "
          f"{progressive / once:.2f} with the last rendered anew")  # fmt: skip


def main() -> None:
    given = [Path(argument) for argument in sys.argv[1:]]
    fields = [path for path in given if path.suffix == ".ply"]
    for field in [read_field(one) for one in fields] or map(random_field, (100_000, 500_000)):
        flood(f"{len(field):,} Gaussians", FieldBackend(field))
    with tempfile.TemporaryDirectory() as folder:
        scenes = [path for path in given if path.suffix != ".ply"]
        path = scenes[0] if scenes else sample_in(Path(folder))
        job = RenderJob().with_values({
            "pixels.passes": ["rgb", "depth"], "engine.samples": SAMPLES, "engine.device": "cpu",
            "engine.denoise": False,
        })  # fmt: skip
        flood(path.name, cold(path, job))
        pieces(path, job)
        progression(path, job)


def sample_in(folder: Path) -> Path:
    import subprocess

    maker = Path(__file__).parent.parent / "examples" / "make_sample.py"
    subprocess.run([sys.executable, str(maker), str(folder / "rocket.glb")], check=True)
    return folder / "rocket.glb"


if __name__ == "__main__":
    main()
