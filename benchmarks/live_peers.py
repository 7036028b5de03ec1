"""Open scenes beside their peers: a re-import loop, rpyc's round trips, and visionsim.

Each peer is measured in turns with ours, so that the ratio is of one load. Without arguments, the
re-import loop alone; other peers are not installed here: say a Python that has them. ::

    python -m venv peers && peers/bin/pip install rpyc
    python benchmarks/live_peers.py --rpyc peers/bin/python

visionsim 0.1 runs on pip's bpy 4.2 to 4.5 (Python 3.11), with its packages beside it; the program
``blender`` that it starts is made here. ::

    pip install --target peer --no-deps visionsim==0.1.0a2 rpyc plumbum ephemeral-port-reserve
    PYTHONPATH=peer python benchmarks/live_peers.py --visionsim PYTHON_OF_BPY_4_5
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from live import write_obj  # type: ignore[attr-defined]

from objaverse_render_addon import live

ROUNDS = 5

RPYC = """
import json, sys, threading, time
import rpyc
from rpyc.utils.server import ThreadedServer

class Peer(rpyc.Service):
    def exposed_show(self, name):
        return 1

server = ThreadedServer(Peer, hostname="127.0.0.1", port=0)
threading.Thread(target=server.start, daemon=True).start()
if len(sys.argv) > 1:
    print(server.port, flush=True)
    sys.stdin.read()
"""
RPYC_CLIENT = """
import json, sys, time
import rpyc
peer = rpyc.connect("127.0.0.1", int(sys.argv[1]))
for line in sys.stdin:
    took = []
    for _ in range(int(line)):
        since = time.perf_counter()
        peer.root.show("ball")
        took.append(time.perf_counter() - since)
    print(json.dumps(took), flush=True)
"""
BLENDER = """#!{python}
import runpy, sys
import bpy  # addon_utils and others can be imported only then.
runpy.run_path(sys.argv[sys.argv.index("--python") + 1], run_name="__main__")
"""
SCENE = """
import sys
import bpy
scene = bpy.context.scene
scene.render.engine = "CYCLES"
scene.cycles.samples, scene.cycles.use_denoising = 1, False
scene.frame_start, scene.frame_end = 1, 1000
cube = bpy.data.objects["Cube"]
cube.keyframe_insert("location", frame=1)
cube.location.x = 1
cube.keyframe_insert("location", frame=1000)
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[1])
"""
VISIONSIM = """
import json, sys, time
from visionsim.simulate.blender import BlenderClient
program, scene, out = sys.argv[1:4]
frames = iter(range(1, 10**6))
with BlenderClient.spawn(executable=program) as client:
    client.initialize(scene, out)
    client.set_resolution(256, 256)
    client.include_depths(debug=False)
    client.include_segmentations(debug=False)
    for line in sys.stdin:
        what, count = line.split()
        took = []
        for _ in range(int(count)):
            since = time.perf_counter()
            if what == "frame":
                client.render_frame(next(frames), allow_skips=False)
            else:
                client.set_current_frame(1)
            took.append(time.perf_counter() - since)
        print(json.dumps(took), flush=True)
"""
QUICK: dict[str, Any] = {"samples": 1, "denoise": False, "device": "cpu"}


@contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def asked(process: subprocess.Popen[str], line: object) -> Any:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise SystemExit(f"{process.args} ended with {process.wait()}")
    return json.loads(answer)


def in_turns(ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[float, float, float]:
    """Medians of both, and the median of the rounds' ratios."""
    pairs = [(ours(), theirs()) for _ in range(ROUNDS)]
    one, other = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    return one, other, statistics.median(b / a for a, b in pairs)


def reimport(folder: Path) -> None:
    """A pose: the open scene changed, or the file imported anew as drake-blender does."""
    file = write_obj(folder / "ball.obj", 330)
    job: dict[str, Any] = {**QUICK, "resolution": (256, 256), "passes": ("rgb", "depth")}
    with live.start(2, device="cpu") as pool, pool.open(file, **job) as session:
        session.frame()
        matrix = np.eye(4)

        def moved() -> float:
            matrix[0, 3] += 1e-3
            since = time.perf_counter()
            session.place("ball", matrix)
            session.frame()
            return time.perf_counter() - since

        def again() -> float:
            since = time.perf_counter()
            with pool.open(file, **job) as other:
                other.place("ball", matrix)
                other.frame()
            return time.perf_counter() - since

        one, other, ratio = in_turns(moved, again)
    print(f"a moved pose of a {file.stat().st_size / 2**20:.1f} MB file: open {1e3 * one:.0f} ms, "
          f"imported again {1e3 * other:.0f} ms: {ratio:.1f} times")  # fmt: skip


def round_trips(python: str, folder: Path) -> None:
    """A trivial call there and back."""
    file = write_obj(folder / "small.obj", 20)
    with (
        live.start(1, device="cpu") as pool,
        pool.open(file, **QUICK, resolution=(32, 32)) as session,
        running([python, "-c", RPYC, "serve"]) as server,
    ):
        session.frame()
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        with running([python, "-c", RPYC_CLIENT, port]) as client:

            def ours() -> float:
                took = []
                for _ in range(400):
                    since = time.perf_counter()
                    session.show("small")
                    took.append(time.perf_counter() - since)
                return statistics.median(took)

            one, other, ratio = in_turns(
                ours, lambda: statistics.median(asked(client, 400))
            )  # fmt: skip
    print(f"a change of the scene there and back {1e6 * one:.0f} µs, "
          f"an empty call of rpyc {1e6 * other:.0f} µs: {ratio:.1f} times")  # fmt: skip


def visionsim(python: str, folder: Path) -> None:
    """Its own client, server and passes beside ours, on one scene."""
    program, scene, out = folder / "blender", folder / "scene.blend", folder / "out"
    program.write_text(BLENDER.format(python=python))
    program.chmod(0o755)
    subprocess.run([python, "-c", SCENE, str(scene)], check=True, stdout=subprocess.DEVNULL)
    job: dict[str, Any] = {**QUICK, "resolution": (256, 256),
                           "passes": ("rgb", "depth", "object_index")}  # fmt: skip
    frames = iter(range(1, 10**6))
    command = [python, "-c", VISIONSIM, str(program), str(scene), str(out)]
    with (
        live.start(1, device="cpu") as pool,
        pool.open(scene, whole=True, **job) as session,
        running(command, stderr=subprocess.DEVNULL) as client,
    ):

        def median(task: Callable[[], object], count: int) -> float:
            took = []
            for _ in range(count):
                since = time.perf_counter()
                task()
                took.append(time.perf_counter() - since)
            return statistics.median(took)

        def timed() -> object:
            return session.frame(time=next(frames))

        timed()
        asked(client, "frame 2")
        one, other, ratio = in_turns(
            lambda: median(timed, 8), lambda: statistics.median(asked(client, "frame 8"))
        )
        print(f"RGB, depth and ids of a frame, 256x256, 1 sample: {1e3 * one:.0f} ms, "
              f"visionsim {1e3 * other:.0f} ms: {ratio:.1f} times")  # fmt: skip
        one, other, ratio = in_turns(
            lambda: median(lambda: session.set_time(1), 200),
            lambda: statistics.median(asked(client, "call 200")),
        )
        print(f"time set there and back {1e6 * one:.0f} µs, visionsim {1e6 * other:.0f} µs: "
              f"{ratio:.1f} times")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpyc", help="a Python with rpyc")
    parser.add_argument("--visionsim", help="a Python with bpy 4.2 to 4.5, and visionsim")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.visionsim:
            visionsim(chosen.visionsim, folder)
            return
        reimport(folder)
        if chosen.rpyc:
            round_trips(chosen.rpyc, folder)


if __name__ == "__main__":
    main()
