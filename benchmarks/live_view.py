"""How soon is a first picture, how many come under a flood of updates, how soon does superseded
work end, what does progression cost?

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
        gaps: list[float] = []
        ends: list[float] = []
        for number in range(40):
            until = time.perf_counter() + rng.uniform(0, seconds)
            asked_at: list[float] = []

            def stop(until: float = until, asked_at: list[float] = asked_at) -> bool:
                asked_at.append(time.perf_counter())
                return asked_at[-1] > until

            since = time.perf_counter()
            if number < 2:  # The first times it learns what pieces take.
                until = np.inf
            for level in levels:
                seen = (lambda: False) if number < 2 else stop
                if backend.render(camera_at(number * 3), level, seen, {}) is None:
                    ends.append(time.perf_counter() - until)
                    break
            else:
                seconds = time.perf_counter() - since
            gaps += np.diff(asked_at).tolist()
        took, late = 1e3 * np.array(gaps), 1e3 * np.array(ends)
        print(f"{'denoised' if denoise else 'as traced'}: pieces of {np.median(took):.0f} ms, 95 % "
              f"below {np.quantile(took, 0.95):.0f}, the longest {took.max():.0f}; superseded "
              f"work ends after {np.median(late):.0f} ms, {late.max():.0f} at most")  # fmt: skip
        backend.close()


def progression(path: Path, job: RenderJob) -> None:
    """What levels cost above one render of all samples."""
    def drawn(backend: SceneBackend, steps: list[int], number: int) -> float:
        since = time.perf_counter()
        for samples in steps:
            backend.render(camera_at(number), Level(*SIZE, samples), lambda: False, {})
        return time.perf_counter() - since

    def at_once(backend: SceneBackend, number: int) -> float:
        shot = encode_shot(0, camera_at(number))
        with backend._lent() as worker:
            since = time.perf_counter()
            worker.whole(shot, None, SAMPLES)
        return time.perf_counter() - since

    for denoise in (False, True):
        chosen = job.with_values({"engine.denoise": denoise})
        exact, sums = SceneBackend(path, chosen), SceneBackend(path, chosen, exact=False)
        ladder, sum_ladder = (
            [level.samples for level in Adaptive().levels(
                camera_at(0), SAMPLES, anew=backend.anew
            ) if (level.width, level.height) == SIZE and level.samples]
            for backend in (exact, sums)
        )  # fmt: skip
        took: dict[str, list[float]] = {"exact": [], "sums": [], "tiles": [], "whole": []}
        for number in range(70, 76):  # Neighbours of one another, and none of them seen before.
            took["exact"].append(drawn(exact, ladder, number))
            took["sums"].append(drawn(sums, sum_ladder, number))
            exact._all[0]._forget()  # The same view, from its beginning.
            took["tiles"].append(drawn(exact, [SAMPLES], number))
            took["whole"].append(at_once(exact, number))
        for backend in (exact, sums):
            backend.close()
        least = {name: min(times[1:]) for name, times in took.items()}
        print(f"{SAMPLES} samples{', denoised' * denoise}, {1e3 * least['whole']:.0f} ms at once; "
              f"in tiles {least['tiles'] / least['whole']:.2f} of that, in levels {ladder} "
              f"{least['exact'] / least['whole']:.2f}, as a sum "
              f"{least['sums'] / least['whole']:.2f}")  # fmt: skip


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
