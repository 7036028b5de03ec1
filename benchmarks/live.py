"""Open scenes: what transport, capture, the raster lane and keeping the scene open are worth.

Each figure stands beside its peer's, measured in the same run: frames by memory without a name
beside pickle over ZeroMQ, passes without a file beside a multilayer EXR, a moved pose beside the
file imported again. Frames over CURVE are of a server that renders nothing meanwhile; the view over
it is of one that draws. Prints milliseconds or microseconds and ratios. Linux; pip's bpy and pyzmq.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from objaverse_render_addon import live
from objaverse_render_addon.live.frames import LiveFrame
from objaverse_render_addon.live.server import Server
from objaverse_render_addon.stage_edits import AddMesh
from objaverse_render_addon.worker.channel import Received, arrays_of
from objaverse_render_addon.worker.memory import processor_seconds
from objaverse_render_addon.worker.protocol import FrameReady
from objaverse_render_addon.worker.ring import Ring, RingWriter, room_for

FRAMES = 2000
SHAPE = (480, 640, 4)


def produce_ring(descriptor: int, slots: Any, pipe: Any) -> None:
    writer, frame = RingWriter(descriptor), np.zeros(SHAPE, np.uint8)
    since = time.process_time()
    for _ in range(FRAMES):
        pipe.send(writer.write({"rgb": frame}, slots, lambda: False))
    pipe.send((time.process_time() - since) / FRAMES)


def by_ring() -> tuple[float, float]:
    """CPU µs of producer and consumer per frame."""
    ring = Ring()
    slots = ring.fit(room_for([int(np.prod(SHAPE))]), 4)
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    process = context.Process(target=produce_ring, args=(ring.descriptor, slots, theirs))
    process.start()
    since, total = time.process_time(), 0
    for _ in range(FRAMES):
        buffers, slot, generation = ours.recv()
        message = FrameReady(0, {}, buffers, slot=slot, generation=generation)
        total += int(arrays_of(Received(1, message), ring.take(slot, generation))["rgb"][0, 0, 0])
    took = (time.process_time() - since) / FRAMES
    produced = ours.recv()
    process.join()
    return 1e6 * produced, 1e6 * took


def produce_pickles(port: int, pipe: Any) -> None:
    import zmq

    push = zmq.Context().socket(zmq.PUSH)
    push.connect(f"tcp://127.0.0.1:{port}")
    frame = np.zeros(SHAPE, np.uint8)
    since = time.process_time()
    for _ in range(FRAMES):
        push.send(pickle.dumps({"image": frame}, protocol=5))
    pipe.send((time.process_time() - since) / FRAMES)
    push.close()


def by_pickles() -> tuple[float, float]:
    """The same over ZeroMQ."""
    import zmq

    pull = zmq.Context().socket(zmq.PULL)
    port = pull.bind_to_random_port("tcp://127.0.0.1")
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=produce_pickles, args=(port, theirs)
    )
    process.start()
    total, took = 0, 0.0
    for number in range(FRAMES):
        if number == 1:
            since = time.process_time()
        total += int(pickle.loads(pull.recv())["image"][0, 0, 0])
    took = (time.process_time() - since) / (FRAMES - 1)
    produced = ours.recv()
    process.join()
    pull.close()
    return 1e6 * produced, 1e6 * took


def timed(task: Any, count: int) -> float:
    """Median milliseconds."""
    found = []
    for _ in range(count):
        since = time.perf_counter()
        task()
        found.append(time.perf_counter() - since)
    return 1e3 * statistics.median(found)


def sphere(segments: int) -> tuple[Any, list[list[int]]]:
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, segments, endpoint=False),
                       np.linspace(0.05, np.pi - 0.05, segments))  # fmt: skip
    points = np.stack([np.sin(v) * np.cos(u), np.sin(v) * np.sin(u), np.cos(v)], -1)
    faces = [
        [row * segments + column, (row + 1) * segments + column,
         (row + 1) * segments + (column + 1) % segments, row * segments + (column + 1) % segments]
        for row in range(segments - 1) for column in range(segments)
    ]  # fmt: skip
    return points.reshape(-1, 3), faces


def write_obj(path: Path, segments: int) -> Path:
    points, faces = sphere(segments)
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points]
    lines += ["f " + " ".join(str(at + 1) for at in face) for face in faces]
    path.write_text("\n".join(lines))
    return path


def scenes(folder: Path) -> None:
    quick: dict[str, Any] = {"samples": 1, "denoise": False, "device": "cpu"}
    file = write_obj(folder / "ball.obj", 330)
    with live.start(1, device="cpu") as pool:
        with pool.open(**quick, resolution=(640, 480),
                       passes=("rgb", "depth", "object_index")) as session:  # fmt: skip
            points, faces = sphere(24)
            rng = np.random.default_rng(0)
            edits = []
            for number in range(200):
                matrix = np.eye(4) * 0.1
                matrix[:, 3] = *rng.uniform(-2, 2, 3), 1
                edits.append(AddMesh(name=f"ball{number}", vertices=points.tolist(), faces=faces,
                                     matrix=matrix.tolist()))  # fmt: skip
            session.change(*edits, timeout=600)
            session.look_at((5, -4, 3))
            session.frame(lane="raster")
            drawn = timed(lambda: session.frame(lane="raster"), 15)
            exact = timed(lambda: session.frame(), 7)
            shots = live.orbit(32, radius=7, size=(640, 480))
            many = timed(lambda: list(session.render(shots, lane="raster")), 3) / len(shots)
            (pid,) = pool.pids
            since = processor_seconds(pid) or 0.0
            for _ in session.render(shots, lane="raster"):
                pass
            spent = 1e3 * ((processor_seconds(pid) or 0.0) - since) / len(shots)
            print(f"RGB, depth, ids of 200 objects, 640x480: raster lane {drawn:.0f} ms "
                  f"({1e3 / drawn:.1f} sets/s), {many:.0f} ms of many in one request "
                  f"({spent:.0f} ms of processor time), exact {exact:.0f} ms")  # fmt: skip
        with pool.open(file, **quick, resolution=(256, 256), passes=("rgb", "depth")) as session:
            session.frame()
            matrix, step = np.eye(4), iter(range(10**6))

            def moved() -> None:
                matrix[0, 3] = next(step) * 1e-3
                session.place("ball", matrix)
                session.frame()

            still, pose = timed(lambda: session.frame(), 9), timed(moved, 9)
            calls = [timed(lambda: session.show("ball"), 1) for _ in range(2000)]

        def again() -> None:
            with pool.open(file, **quick, resolution=(256, 256), passes=("rgb", "depth")) as one:
                one.frame()

        loaded = timed(again, 3)
        size = file.stat().st_size / 2**20
        print(f"a moved pose of a {size:.1f} MB file, 256x256: {pose:.0f} ms "
              f"({pose - still:+.1f} ms beside the same pose), imported again {loaded:.0f} ms: "
              f"{loaded / pose:.1f} times")  # fmt: skip
        calls.sort()
        print(f"a change there and back: p50 {1e3 * calls[1000]:.0f} µs, "
              f"p99 {1e3 * calls[1980]:.0f} µs")  # fmt: skip


def captured(folder: Path) -> None:
    """Cycles' passes without a file beside those with one, in this process."""
    from objaverse_render_addon.blender import capture
    from objaverse_render_addon.blender.session import Session
    from objaverse_render_addon.job import RenderJob

    file = write_obj(folder / "small.obj", 40)
    job = RenderJob().with_values({
        "pixels.resolution": [640, 480], "engine.samples": 1, "engine.denoise": False,
        "engine.device": "cpu", "pixels.passes": ["rgb", "depth", "normal", "mask", "position",
                                                   "object_index"],
    })  # fmt: skip
    session = Session(file, "small", job, folder)
    shot = session.shots([0])[0]
    usable, reading = capture.usable, capture._read
    taken, written, read = [], [], [0.0]

    def timed_reading(*arguments: Any, **options: Any) -> None:
        since = time.thread_time()
        reading(*arguments, **options)
        read[-1] += 1e3 * (time.thread_time() - since)

    capture._read = timed_reading
    for _ in range(7):
        read.append(0.0)
        taken.append(timed(lambda: session.renderer.render(shot), 1))
        capture.usable = lambda _: False
        written.append(timed(lambda: session.renderer.render(shot), 1))
        capture.usable = usable
    one, other = statistics.median(taken), statistics.median(written)
    capture._read = reading
    print(f"six passes and RGB, 640x480, 1 sample: without files {one:.0f} ms, with {other:.0f} ms:"
          f" {other / one:.2f} times; to take them out of two renders "
          f"{statistics.median(read[2:]):.1f} ms")  # fmt: skip


CURVE_CLIENT = """
import sys, time
from objaverse_render_addon import live
with live.connect(sys.argv[1], sys.argv[2]) as client:
    session = client.open(None, resolution=(640, 480), passes=("rgb",))
    for count in (100, 1000):
        since, done = time.perf_counter(), 0
        for frame in session.render(live.orbit(count, size=(640, 480))):
            done += int(frame["rgb"].shape == (480, 640, 4))
        took = time.perf_counter() - since
    print(done / took)
"""


def by_curve(folder: Path) -> float:
    """Raw frames a second out of a server, encrypted, to a client in a process of its own."""
    options: dict[str, Any] = {"resolution": (640, 480), "passes": ("rgb",), "samples": 1}
    with live.start(1, device="cpu") as pool, Server(
        pool, ["curve://127.0.0.1:0"], roots=[folder], keys=folder / "keys",
        private=folder / "own.sock",
    ) as server:  # fmt: skip
        with pool.open(write_obj(folder / "seen.obj", 20), **options) as session:
            frame = session.frame(lane="raster").copy()

        def again(_scene: int, shots: Any, _options: Any) -> Iterator[LiveFrame]:
            for position in range(len(shots)):
                yield dataclasses.replace(frame, position=position)

        pool.render_scene = again  # type: ignore[method-assign]
        address, key = next(one[1:] for one in server.keys if one[1].startswith("curve"))
        found = subprocess.run(
            [sys.executable, "-c", CURVE_CLIENT, address, key],
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    return float(found.stdout)


VIEW_CLIENT = """
import statistics, sys, time
from pathlib import Path
from objaverse_render_addon.cameras import Camera, Rig, intrinsics_of, look_at_pose
from objaverse_render_addon.job import RenderJob
from objaverse_render_addon.live.backends.served import ServedBackend
from objaverse_render_addon.live.levels import Adaptive, Given, Level
from objaverse_render_addon.live.page.pictures import as_jpeg, pixels_of
from objaverse_render_addon.live.queue import Picture, RenderQueue

SIZE, SECONDS, UPDATES = (640, 480), 5.0, 125
lens = intrinsics_of("perspective", 45.0, SIZE)

def camera(number):
    return Camera(*SIZE, lens, look_at_pose(number * 0.7 % 360, 20.0, 2.5, Rig()))

job = RenderJob().with_values({
    "pixels.resolution": [*SIZE], "pixels.passes": ["rgb", "depth"], "engine.samples": 16,
    "engine.denoise": False, "engine.device": "cpu",
})
for name, plan in (("as the viewer has it", Adaptive()), ("full size", Given([Level(*SIZE, 0)]))):
    seen, sizes = [], []

    def came(picture):
        if isinstance(picture, Picture) and picture.update > 1:
            data = as_jpeg(pixels_of(picture, "rgb"))
            seen.append((time.perf_counter() - picture.asked, len(data)))
            sizes.append((picture.camera.width, picture.camera.height))

    backend = ServedBackend(Path(sys.argv[3]), job, address=sys.argv[1], key=sys.argv[2])
    with RenderQueue(backend, plan) as queue:
        queue.update_camera(camera(0))
        queue.wait(300, last=True)
        watcher = queue.watch(callback=came)
        begun, number = time.perf_counter(), 0
        while (now := time.perf_counter() - begun) < SECONDS:
            if now * UPDATES >= number:
                number += 1
                queue.update_camera(camera(number))
            else:
                time.sleep(1e-3)
        watcher.close()
    late = sorted(age for age, _ in seen)
    print(f"JPEG view over CURVE, {name}: {len(seen) / SECONDS:.0f} pictures a second of mostly "
          f"{'x'.join(map(str, statistics.mode(sizes)))}, {1e3 * late[len(late) // 2]:.0f} ms "
          f"after their camera, 95 % within {1e3 * late[len(late) * 95 // 100]:.0f} ms; "
          f"{statistics.mean(size for _, size in seen) / 1024:.0f} KiB each")
"""


def view_by_curve(folder: Path) -> str:
    """Pictures of a moving camera, drawn by a server, as JPEG where they are looked at.

    The client is a process of its own; it gets truth as it is, encrypted, and makes the JPEG for
    its page. A picture's age is from the camera that it shows to the last byte.
    """
    with live.start(1, device="cpu") as pool, Server(
        pool, ["curve://127.0.0.1:0"], roots=[folder], keys=folder / "keys",
        private=folder / "own.sock",
    ) as server:  # fmt: skip
        address, key = next(one[1:] for one in server.keys if one[1].startswith("curve"))
        file = write_obj(folder / "viewed.obj", 100)
        return subprocess.run(
            [sys.executable, "-c", VIEW_CLIENT, address, key, str(file)],
            stdout=subprocess.PIPE, text=True, check=True,
        ).stdout.strip()  # fmt: skip


def main() -> None:
    rounds = [(by_ring(), by_pickles()) for _ in range(3)]
    ring = [statistics.median(one[0][side] for one in rounds) for side in (0, 1)]
    pickles = [statistics.median(one[1][side] for one in rounds) for side in (0, 1)]
    print(f"a frame of 1.2 MB, CPU µs of producer and consumer: ring {ring[0]:.0f} and "
          f"{ring[1]:.0f}, pickle over ZeroMQ {pickles[0]:.0f} and {pickles[1]:.0f}: "
          f"{sum(pickles) / sum(ring):.1f} times")  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        print(f"raw frames of 1.2 MB over CURVE: {by_curve(Path(name)):.0f} a second")
        print(view_by_curve(Path(name)))
        scenes(Path(name))
        captured(Path(name))


if __name__ == "__main__":
    main()
