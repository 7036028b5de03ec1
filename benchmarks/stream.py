"""Streams: images a second into an iterable and a DataLoader, and what a frame costs on its way.

The cube of blendtorch's benchmark, 640 x 480, with colour alone, drawn at live rates and by Cycles
with one sample. On its way a frame is written into memory without a name, told of, and made a
tensor; what both sides take for that is measured without Blender. Linux; pip's bpy, and PyTorch
where it is here.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from objaverse_render_addon import live
from objaverse_render_addon.cameras import View
from objaverse_render_addon.dataset.metadata import view_record
from objaverse_render_addon.frame import Frame
from objaverse_render_addon.job import RenderJob
from objaverse_render_addon.live.frames import frame_of
from objaverse_render_addon.live.randomize import Pose
from objaverse_render_addon.live.recorder import Recorder
from objaverse_render_addon.live.samples import sample_of
from objaverse_render_addon.worker.channel import Received, arrays_of
from objaverse_render_addon.worker.protocol import FrameReady, decode, encode
from objaverse_render_addon.worker.ring import Ring, RingWriter, room_for

FRAMES = 2000
SIZE = (640, 480)
SHAPE = (480, 640, 4)
CORNERS = [[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
FACES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
HAS_TORCH = importlib.util.find_spec("torch") is not None


class Cube(live.Source):
    """A cube that is turned anew for each picture."""

    settings: ClassVar[dict[str, Any]] = {
        "resolution": SIZE, "samples": 1, "denoise": False, "device": "cpu", "passes": ("rgb",),
    }  # fmt: skip

    def __init__(self, lane: Any) -> None:
        self.lane = lane

    def setup(self, session: live.Session) -> None:
        """The cube."""
        session.add_mesh("cube", CORNERS, FACES)

    def shots(self, session: live.Session, item: live.Item) -> Any:
        """It, turned."""
        session.change(*Pose("cube").edits(item))
        return [live.look_at((5, -5, 4), size=SIZE)]


def rate(samples: Iterable[Any], warm: int) -> float:
    """Samples a second, without the first few."""
    count, since = 0, 0.0
    for count, _ in enumerate(samples, 1):
        if count == warm:
            since = time.perf_counter()
    return (count - warm) / (time.perf_counter() - since)


def produce(descriptor: int, slots: Any, line: str, pipe: Any) -> None:
    """Write frames and tell of them, as a worker does."""
    writer, frame = RingWriter(descriptor), np.zeros(SHAPE, np.uint8)
    record = json.loads(line)
    since = time.process_time()
    for _ in range(FRAMES):
        put = writer.write({"rgb": frame}, slots, lambda: False)
        assert put is not None
        buffers, slot, generation = put
        ready = FrameReady(0, record, buffers, slot=slot, generation=generation)
        pipe.send_bytes(encode(ready, 1).encode())
    pipe.send_bytes(str((time.process_time() - since) / FRAMES).encode())


def transport() -> tuple[float, float, float]:
    """CPU µs of producer and consumer a frame, and the share of frames that were no copies."""
    if HAS_TORCH:
        from objaverse_render_addon.live.torch import tensors_of
    job = RenderJob().with_values({"pixels.passes": ["rgb"]})
    camera = live.look_at((5, -5, 4), size=SIZE)
    line = json.dumps(view_record(Frame(View(0, camera)), job))
    ring = Ring()
    slots = ring.fit(room_for([int(np.prod(SHAPE))]), 4)
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    process = context.Process(target=produce, args=(ring.descriptor, slots, line, theirs))
    process.start()
    known = {"index": 0, "view": 0, "epoch": 0, "seed": 0, "state": 0, "values": {}}
    shown, total, since = 0, 0, time.process_time()
    for _ in range(FRAMES):
        request, message = decode(ours.recv_bytes().decode())  # type: ignore[misc]
        assert isinstance(message, FrameReady)
        arrays = arrays_of(
            Received(request, message), ring.take(message.slot, message.generation)
        )
        sample = sample_of(
            frame_of(message.view, arrays, job, state=0, lane={}, object_names={}, time=None), known
        )
        total += int(sample["rgb"][0, 0, 0])
        shown += not sample["rgb"].flags.owndata
        if HAS_TORCH:
            tensors = tensors_of(sample)
            shown -= tensors["rgb"].data_ptr() != sample["rgb"].__array_interface__["data"][0]
            del tensors
        del arrays, sample
    took = (time.process_time() - since) / FRAMES
    produced = float(ours.recv_bytes())
    process.join()
    ring.close()
    return 1e6 * produced, 1e6 * took, shown / FRAMES


def recorded() -> float:
    """CPU µs that one frame's record takes."""
    sample = live.Sample({"rgb": np.zeros(SHAPE, np.uint8)}, {"index": 0})
    with tempfile.TemporaryDirectory() as folder, Recorder(folder) as recorder:
        since = time.process_time()
        for _ in range(300):
            recorder.write(sample)
        return 1e6 * (time.process_time() - since) / 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blenders", type=int, default=2)
    parser.add_argument("--count", type=int, default=160)
    arguments = parser.parse_args()
    rounds = [transport() for _ in range(3)]
    producer, consumer, shown = (statistics.median(side) for side in zip(*rounds, strict=True))
    to = "tensor" if HAS_TORCH else "array (PyTorch is not here)"
    print(f"a frame of 1.2 MB to a {to}: {producer:.0f} µs CPU of the producer, {consumer:.0f} of "
          f"the consumer; {100 * shown:.0f} % without a copy")  # fmt: skip
    print(f"a frame of 1.2 MB recorded: {recorded():.0f} µs CPU")
    options: dict[str, Any] = {
        "blenders": arguments.blenders, "start_options": {"device": "cpu"}
    }  # fmt: skip
    for lane in ("raster", "exact"):
        with live.stream(Cube(lane), arguments.count, **options) as stream:
            print(f"{lane}: {rate(stream, 20):.1f} images/s, {arguments.blenders} Blenders")
        if HAS_TORCH:
            from torch.utils.data import DataLoader

            from objaverse_render_addon.live.torch import StreamDataset

            data = StreamDataset(Cube(lane), arguments.count, **options)
            batches = rate(DataLoader(data, batch_size=8, num_workers=1), 3)
            print(f"{lane}: {8 * batches:.1f} images/s in batches of a DataLoader's worker")


if __name__ == "__main__":
    main()
