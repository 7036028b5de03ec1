"""Messages read by whoever waits for them: in pieces, cut off, and while a request is in hand."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import pytest

from objaverse_render_addon.worker.channel import Sender, arrays_of, described
from objaverse_render_addon.worker.inbox import Inbox
from objaverse_render_addon.worker.inlet import Inlet, inlet_of
from objaverse_render_addon.worker.protocol import Cancel, Close, FrameReady, Rendered, Stage


@pytest.fixture
def pipe() -> Iterator[tuple[Inlet, IO[bytes]]]:
    read, write = os.pipe()
    outgoing = os.fdopen(write, "wb", buffering=0)
    inlet = inlet_of(os.fdopen(read, "rb"))
    yield inlet, outgoing
    outgoing.close()
    inlet.close()


def written() -> tuple[bytes, dict[str, Any]]:
    stream, arrays = io.BytesIO(), {"depth": np.arange(50_000, dtype=np.float32).reshape(200, 250),
                                    "mask": np.zeros((0, 4), np.uint8)}  # fmt: skip
    sender = Sender(stream)
    sender.send(Stage("a", "import"), 3)
    stream.write(b"Blender 5.2\n\xff\xfe\n")
    frame = FrameReady(0, {}, described(arrays))
    sender.send(frame, 3, [array.tobytes() for array in arrays.values()])
    sender.send(Rendered(1), 3)
    return stream.getvalue(), arrays


@pytest.mark.parametrize("size", [1 << 20, 4099, 60])
def test_messages_come_whole_whatever_pieces_they_arrive_in(
    pipe: tuple[Inlet, IO[bytes]], size: int
) -> None:
    inlet, outgoing = pipe
    data, arrays = written()
    start = data[: 5 * size] if size < 100 else b""

    def talk() -> None:
        for at in range(0, len(start), size):
            outgoing.write(start[at : at + size])
            time.sleep(1e-3)
        for at in range(len(start), len(data), max(size, 3001)):
            outgoing.write(data[at : at + max(size, 3001)])
        outgoing.close()

    thread = threading.Thread(target=talk)
    thread.start()
    received = []
    while (one := inlet.next(5)) is not None:
        received.append(one)
    thread.join()
    assert [one.message.kind for one in received] == ["stage", "frame-ready", "rendered"]
    found = arrays_of(received[1])
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())
    assert inlet.next(0) is None


def test_what_came_too_late_is_kept_and_what_was_cut_off_never_comes(
    pipe: tuple[Inlet, IO[bytes]],
) -> None:
    inlet, outgoing = pipe
    data, _ = written()
    with pytest.raises(TimeoutError):
        inlet.next(0)
    outgoing.write(data[:30])
    with pytest.raises(TimeoutError):
        inlet.next(0.01)
    outgoing.write(data[30:2000])
    first = inlet.next(1)
    assert first is not None and first.message == Stage("a", "import")
    with pytest.raises(TimeoutError):
        inlet.next(0.01)
    outgoing.close()
    assert inlet.next(1) is None and inlet.next(None) is None


def test_what_may_have_been_lost_ends_the_conversation(pipe: tuple[Inlet, IO[bytes]]) -> None:
    """Ctrl-C between reading and keeping: the next bytes would be taken for something else."""
    inlet, outgoing = pipe
    reads = os.read

    def interrupted(*arguments: int) -> bytes:
        reads(*arguments)
        raise KeyboardInterrupt

    outgoing.write(b"x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            inlet.next(1)
    outgoing.write(written()[0][:200])
    assert inlet.next(1) is None


@dataclass
class Worker:
    inbox: Inbox
    sender: Sender
    stream: IO[bytes]
    beats: list[float] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def worker(pipe: tuple[Inlet, IO[bytes]]) -> Worker:
    inlet, outgoing = pipe
    beats: list[float] = []
    left = threading.Event()

    def leave() -> None:
        left.set()
        threading.Event().wait(60)  # It does not return.

    inbox = Inbox(inlet, lambda: beats.append(time.monotonic()), leave)
    return Worker(inbox, Sender(outgoing), outgoing, beats, left)


def test_a_request_in_hand_is_cancelled_at_once_and_later(worker: Worker) -> None:
    worker.inbox.done(0)
    worker.sender.send(Close(1), 1)
    assert worker.inbox.next().request == 1
    assert not worker.inbox.is_canceled(1)
    worker.sender.send(Cancel(1))
    assert worker.inbox.is_canceled(1)
    worker.inbox.done(1)
    for number in (2, 3):
        worker.sender.send(Close(1), number)
        assert worker.inbox.next().request == number
        assert not worker.inbox.is_canceled(number)
        time.sleep(0.1)  # Now the other thread listens.
        worker.sender.send(Cancel(number))
        time.sleep(0.1)
        assert worker.inbox.is_canceled(number)
        worker.inbox.done(number)
    assert worker.beats


def test_requests_are_answered_in_turn_whichever_thread_reads_them(worker: Worker) -> None:
    worker.inbox.done(0)
    for number in range(1, 41):
        worker.sender.send(Close(number), number)
        worker.sender.send(Close(number), number + 1000)
        assert worker.inbox.next().request == number
        if number % 10 == 0:
            time.sleep(0.08)
        worker.inbox.done(number)
        assert worker.inbox.next().request == number + 1000
        worker.inbox.done(number)


@pytest.mark.parametrize("in_hand", [False, True])
def test_a_worker_leaves_when_nobody_listens_any_more(worker: Worker, in_hand: bool) -> None:
    if not in_hand:
        worker.inbox.done(0)
        threading.Thread(target=worker.inbox.next, daemon=True).start()
    worker.stream.close()
    assert worker.left.wait(5)
