"""Frames in memory without a name, between two real processes."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from objaverse_render_addon.errors import OutOfMemory, WorkerCrashed
from objaverse_render_addon.worker.channel import Received, arrays_of
from objaverse_render_addon.worker.memory import available_bytes
from objaverse_render_addon.worker.protocol import FrameReady, Slots
from objaverse_render_addon.worker.ring import Ring, RingWriter, room_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="descriptors are handed down")

ARRAYS = {
    "rgb": np.arange(7 * 5 * 4, dtype=np.uint8).reshape(7, 5, 4),
    "depth": np.linspace(0, 9, 35, dtype=np.float32).reshape(7, 5)[:, ::-1],
}


def never() -> bool:
    return False


def taken(ring: Ring, put: tuple) -> dict[str, np.ndarray]:
    buffers, slot, generation = put
    message = FrameReady(0, {}, buffers, slot=slot, generation=generation)
    return arrays_of(Received(1, message), ring.take(slot, generation))


def test_arrays_are_shown_where_they_were_written() -> None:
    ring = Ring()
    writer = RingWriter(ring.descriptor)
    slots = ring.fit(room_for([array.nbytes for array in ARRAYS.values()]), 2)
    found = taken(ring, writer.write(ARRAYS, slots, never))
    for name, array in ARRAYS.items():
        assert np.array_equal(found[name], array)
        assert found[name].ctypes.data % 64 == 0
        assert not found[name].flags.owndata
    assert ring.free == 1
    depth = found["depth"]
    del found
    gc.collect()
    assert ring.free == 1, "an array looks at it still"
    again = taken(ring, writer.write({"depth": ARRAYS["depth"] + 1}, slots, never))
    assert np.array_equal(depth, ARRAYS["depth"]), "a slot that is looked at was written to"
    assert writer.write(ARRAYS, slots, lambda: True) is None, "there is none free"
    del depth, again
    assert ring.free == 2
    assert writer.write({"big": np.zeros(1 << 20)}, slots, never) is None


def test_what_is_not_whole_is_not_taken() -> None:
    ring = Ring()
    writer = RingWriter(ring.descriptor)
    slots = ring.fit(room_for([1000]), 2)
    _, slot, generation = writer.write(ARRAYS, slots, never) or pytest.fail("it is free")
    for wrong in ((slot, generation + 1), (slot + 1, generation), (slot + slots.room, generation)):
        with pytest.raises(WorkerCrashed):
            ring.take(*wrong)
    # The writer died in the middle of this one.
    ring._map[slot : slot + 8] = (1).to_bytes(8, "little")
    with pytest.raises(WorkerCrashed):
        ring.take(slot, generation)
    assert ring.fit(room_for([1000]), 2) == slots
    assert writer.write(ARRAYS, slots, never)[1] == slot, "it is free again"


def test_frames_that_are_kept_stay_when_the_slots_grow_and_shrink() -> None:
    ring = Ring()
    writer = RingWriter(ring.descriptor)
    kept = [taken(ring, writer.write(ARRAYS, ring.fit(room_for([1000]), 2), never))]
    for size in (50_000, 900, 400_000):
        slots = ring.fit(room_for([size]), 3)
        assert slots.room >= room_for([size])
        large = {"depth": np.full(size // 4, size, np.float32)}
        kept.append(taken(ring, writer.write(large, slots, never)))
    assert np.array_equal(kept[0]["depth"], ARRAYS["depth"])
    assert [int(one["depth"][0]) for one in kept[1:]] == [50_000, 900, 400_000]
    kept.clear()
    gc.collect()
    before = os.fstat(ring.descriptor).st_size
    ring.fit(room_for([1000]), 2)
    assert os.fstat(ring.descriptor).st_size < before / 10, "memory is given back"


def test_memory_that_is_not_there_is_an_error_with_a_name() -> None:
    if available_bytes() < 0:
        pytest.skip("the system does not say how much there is")
    ring = Ring()
    with pytest.raises(OutOfMemory, match="frames on their way"):
        ring.fit(1 << 45, 4)
    assert ring.fit(room_for([10]), 1).count == 1


def test_a_process_that_is_killed_leaves_no_name_and_no_torn_frame() -> None:
    ring = Ring()
    slots = ring.fit(room_for([1 << 20]), 4)
    code = (
        "import sys, numpy as np\n"
        "from objaverse_render_addon.worker.ring import RingWriter\n"
        "from objaverse_render_addon.worker.protocol import Slots\n"
        f"writer, slots = RingWriter({ring.descriptor}), Slots({slots.start}, {slots.room}, 4)\n"
        "number = 0\n"
        "while True:\n"
        "    number += 1\n"
        "    data = {'a': np.full(1 << 18, number, np.float32)}\n"
        "    found = writer.write(data, slots, lambda: False)\n"
        "    sys.stdout.write(f'{found[1]} {found[2]} {number}\\n'); sys.stdout.flush()\n"
    )
    before = set(Path("/dev/shm").iterdir()) if Path("/dev/shm").is_dir() else set()
    rng = np.random.default_rng(3)
    for _ in range(8):
        ring.fit(room_for([1 << 20]), 4)
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
            pass_fds=(ring.descriptor,),
        )  # fmt: skip
        for _ in range(int(rng.integers(1, 12))):
            slot, generation, number = map(int, process.stdout.readline().split())
            shown = np.asarray(ring.take(slot, generation))[: 1 << 20].view(np.float32)
            assert (shown == number).all()
            del shown
        process.kill()
        process.wait()
        process.stdout.close()
    if before:
        new = set(Path("/dev/shm").iterdir()) - before
        ours = {path for path in new if "objaverse" in path.name}
        assert not [path for path in ours if str(os.getpid()) in path.name]
    assert ring.free == 4
    assert Slots(0, 10, 3).offsets() == range(0, 30, 10)
