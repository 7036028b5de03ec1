"""How soon is a first picture, how many come under a flood of updates, how soon does superseded
work end, what does progression cost?

python benchmarks/live_view.py [FILE.glb] [FIELD.ply]
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from objaverse_render_addon.cameras import Camera, Rig, intrinsics_of, look_at_pose
from objaverse_render_addon.job import RenderJob
from objaverse_render_addon.live.backends import Backend
from objaverse_render_addon.live.backends.field import FieldBackend
from objaverse_render_addon.live.backends.scene import SceneBackend
from objaverse_render_addon.live.levels import Adaptive, Level, at_level
from objaverse_render_addon.live.queue import Picture, RenderQueue
from objaverse_render_addon.splats.field import Field, read_field
from objaverse_render_addon.worker.shots import encode_shot

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
            watcher.close()
            places = [(picture.update, picture.index) for picture in seen]
            back = sum(b <= a for a, b in pairwise(places))
            queue.wait(60, last=True)
            # What one of them takes where nobody asks for another.
            camera = seen[-1].camera
            level = Level(camera.width, camera.height, seen[-1].samples)
            alone = []
            for turn in range(15):
                turned = at_level(camera_at(turn * 0.7), level)
                since = time.perf_counter()
                backend.render(turned, level, lambda: False, {})
                alone.append(time.perf_counter() - since)
            share = len(seen) / 2 * statistics.median(alone)
            print(f"  {rate} updates/s: {len(seen) / 2:.0f} pictures/s of {camera.width}x"
                  f"{camera.height}, {share:.2f} in the time of one, {back} go back")  # fmt: skip


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


def superseded(path: Path, job: RenderJob) -> None:
    """How long work goes on that nobody wants any more."""
    for denoise in (False, True):
        backend = SceneBackend(path, job.with_values({"engine.denoise": denoise}))
        rng = np.random.default_rng(7)
        levels = [Level(*SIZE, samples) for samples in (1, 4, SAMPLES)]
        seconds = 1.0
        ends: list[float] = []
        for number in range(100):
            known = number >= 2  # The first times it learns what pieces take.
            since = time.perf_counter()
            until = since + rng.uniform(0, seconds) if known else np.inf

            def stop(until: float = until) -> bool:
                return time.perf_counter() > until

            for level in levels:
                if backend.render(camera_at(number * 3), level, stop, {}) is None:
                    ends.append(time.perf_counter() - until)
                    break
            else:
                seconds = time.perf_counter() - since
        late = 1e3 * np.array(ends)
        print(f"{'denoised' if denoise else 'as traced'}: superseded work ends after "
              f"{np.median(late):.0f} ms, 95 % within {np.quantile(late, 0.95):.0f}, "
              f"{late.max():.0f} at most, of {len(late)}")  # fmt: skip
        backend.close()


def spent(process: int) -> float:
    """Seconds of processors that a process took, all its threads; 0 where the system says not."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def progression(path: Path, job: RenderJob) -> None:
    """What levels cost above one render of all samples."""
    def timed(backend: SceneBackend, draw: Callable[[], object]) -> tuple[float, float]:
        process = backend._all[0]._supervisor.pid
        before, since = spent(process), time.perf_counter()
        draw()
        return time.perf_counter() - since, spent(process) - before

    def in_levels(backend: SceneBackend, steps: list[int], number: float) -> None:
        for samples in steps:
            backend.render(camera_at(number), Level(*SIZE, samples), lambda: False, {})

    def at_once(backend: SceneBackend, number: int) -> None:
        with backend._lent() as worker:
            worker.whole(encode_shot(0, camera_at(number)), None, SAMPLES)

    for denoise in (False, True):
        chosen = job.with_values({"engine.denoise": denoise})
        exact, sums = SceneBackend(path, chosen), SceneBackend(path, chosen, exact=False)
        ladder, sum_ladder = (
            [level.samples for level in Adaptive().levels(
                camera_at(0), SAMPLES, anew=backend.anew
            ) if (level.width, level.height) == SIZE and level.samples]
            for backend in (exact, sums)
        )  # fmt: skip
        took: dict[str, list[tuple[float, float]]] = {}
        for number in range(70, 80):  # Neighbours of one another, and none of them seen before.
            for name, backend, draw in (
                ("levels", exact, partial(in_levels, exact, ladder, number)),
                ("sum", sums, partial(in_levels, sums, sum_ladder, number)),
                # All but the same view, from its beginning.
                ("last", exact, partial(in_levels, exact, [SAMPLES], number + 0.01)),
                ("once", exact, partial(at_once, exact, number)),
            ):
                took.setdefault(name, []).append(timed(backend, draw))
        for backend in (exact, sums):
            backend.close()
        least = {name: np.min(times[1:], axis=0) for name, times in took.items()}
        mean = {name: np.mean(times[1:], axis=0) for name, times in took.items()}
        print(f"{SAMPLES} samples{', denoised' * denoise}, {1e3 * least['once'][0]:.0f} ms at once")
        for name, said in (
            ("last", "its last level alone"), ("levels", f"levels {ladder}"),
            ("sum", f"as a sum, levels {sum_ladder}"),
        ):
            time_, processor = least[name][0] / least["once"][0], 0.0
            if mean["once"][1]:
                processor = mean[name][1] / mean["once"][1]
            print(f"  {said}: {time_:.2f} of that, {processor:.2f} of its processors' time")


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
        superseded(path, job)
        progression(path, job)


def sample_in(folder: Path) -> Path:
    import subprocess

    maker = Path(__file__).parent.parent / "examples" / "make_sample.py"
    subprocess.run([sys.executable, str(maker), str(folder / "rocket.glb")], check=True)
    return folder / "rocket.glb"


if __name__ == "__main__":
    main()
