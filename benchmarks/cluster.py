"""Many Ray actors on one machine, each with a renderer that only sleeps: what does driving cost?

Prints the share of the ideal: with N actors that sleep S seconds per asset, N / S assets a second.
Needs Ray (pip install "objaverse-render-addon[ray]").
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from objaverse_render_addon import RenderJob, render
from objaverse_render_addon.batch.lanes.local import Lane
from objaverse_render_addon.batch.lanes.ray import RayLane, connect
from objaverse_render_addon.dataset.layout import METADATA, new_writer
from objaverse_render_addon.worker.protocol import Done, RenderAsset


class Sleeper:
    """A lane that sleeps and writes next to nothing; it begins when all its like are there.

    Args:
        settings: Seconds to sleep, folder to meet in, number of lanes.
    """

    def __init__(self, settings: tuple[float, str, int]) -> None:
        self._seconds, folder, self._count = settings
        self._meeting = Path(folder)
        self._met = False

    def render(self, task: RenderAsset, tell: Any) -> Done:  # noqa: ARG002, D102
        if not self._met:
            (self._meeting / f"{os.getpid()}").touch()
            while len(list(self._meeting.iterdir())) < self._count:
                time.sleep(0.2)
            self._met = True
        else:
            time.sleep(self._seconds)
        writer = new_writer(Path(task.out), task.asset_id, "zip")
        writer.add(METADATA, b"{}")
        path = writer.commit()
        return Done(task.asset_id, str(path), 1, [], {}, {"total": self._seconds})

    def stop(self) -> None:  # noqa: D102
        pass

    def close(self) -> None:  # noqa: D102
        pass


def main() -> None:
    """Print the share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actors", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=4.0, help="that an asset sleeps")
    parser.add_argument("--rounds", type=int, default=5, help="assets per actor")
    options = parser.parse_args()
    ray = connect(None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        meeting = folder / "meeting"
        meeting.mkdir()
        settings = options.seconds, str(meeting), options.actors
        resources = {"num_cpus": 0, "max_restarts": 0}
        lanes: list[tuple[str, Lane]] = [
            (f"ray {number}", RayLane(Sleeper, settings, resources))
            for number in range(options.actors)
        ]
        count = options.actors * (options.rounds + 1)
        for number in range(count):
            (folder / f"a{number:05d}.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
        ended: list[float] = []
        since = time.perf_counter()
        render(
            sorted(folder.glob("*.obj")),
            RenderJob(),
            folder / "out",
            lanes=lambda _: lanes,
            on_result=lambda _: ended.append(time.perf_counter() - since),
        )
        # The actors' own start is not what is measured: the clock runs from the moment that the
        # first of them learns that all are there.
        warm = ended[0]
        assets = count - options.actors
        ideal = assets / options.actors * options.seconds
        took = ended[-1] - warm
        print(f"{options.actors} actors started in {warm:.1f} s")
        print(f"{assets} assets of {options.seconds} s: {took:.1f} s, ideally {ideal:.1f} s")
        print(f"share of the ideal: {ideal / took:.3f}")
    ray.shutdown()


if __name__ == "__main__":
    main()
