"""Messages as text, and arrays beside them, over real streams."""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from objaverse_render_addon.job import RenderJob
from objaverse_render_addon.worker.channel import (
    Received,
    Sender,
    arrays_of,
    described,
    read_messages,
    store_arrays,
)
from objaverse_render_addon.worker.protocol import (
    PROTOCOL,
    REQUESTS,
    Act,
    Acted,
    Alive,
    Attach,
    Buffer,
    Call,
    Cancel,
    Change,
    Changed,
    Close,
    Closed,
    Describe,
    Described,
    Done,
    Environments,
    Failed,
    FilePart,
    FrameDone,
    FrameReady,
    Hello,
    Inspect,
    Message,
    More,
    Open,
    Opened,
    Play,
    Put,
    Quit,
    Refine,
    Render,
    RenderAsset,
    Rendered,
    Set,
    Slots,
    Stage,
    Step,
    Stepped,
    Unknown,
    decode,
    encode,
    ends,
)

MESSAGES: list[Message] = [
    RenderAsset(
        source="stühle/a b.glb",
        path="/in/a b.glb",
        asset_id="a_b",
        job=RenderJob().to_dict(),
        out="/out",
        provenance={"license": None, "tags": ["chair", 3]},
    ),
    Open("a.glb", "/in/a.glb", "a", RenderJob().to_dict(), threads=2),
    Change(3, [{"edit": "show", "name": "a", "visible": False}], 7, {"engine.samples": 4}),
    Refine(3, {"index": 0, "width": 4, "height": 4}, samples=2),
    Inspect(3),
    Call(3, "mine.step", {"force": 1.5}, 8),
    Play("mine:Scene", {"friction": 0.5}, [Buffer("reward", "<f8", [4], "ring", 64)], 2, 2, 500),
    Act(1, {"index": 0, "width": 4, "height": 4}),
    Act(0),
    Act(1),
    Environments("mine:Scene", {"friction": 0.5}, 4, size=[64, 48]),
    Step([1, 1, 2, 0], [-1, -1, 7, -1], {"": [0.5, 1, 0, 0]}),
    Stepped({"2": {"goal": [1.0, 2.0]}}, [1], [Buffer("reward", "<f8", [4])]),
    Acted({"2": {"goal": [1.0, 2.0]}}),
    Acted(),
    Attach(3, "ticket"),
    More(4, 2),
    Put("a b.blend", "AAEC", first=True),
    FilePart("a/000.png", [Buffer("data", "|u1", [3])], first=True),
    Changed(3, 7, [{}], ["one"], {"object_names": {"1": "a"}}),
    Set(3, {"engine.samples": 4}),
    Render(3, [0, 2], inline=True, slots=Slots(0, 8192, 4), state=7),
    Close(3),
    Describe(),
    Cancel(4),
    Quit(),
    Hello(PROTOCOL, "0.1.0", "5.2.3", "3.13.0", 4711, REQUESTS),
    Alive(),
    Stage("a_b", "import"),
    FrameDone("a_b", 3, 32),
    Done("a_b", "/out/a_b.zip", 32, ["one\nwarning"], {"object_in_frame": 2}, {"total": 1.5}),
    Failed("a_b", "no-geometry", "line 1\nline 2 …", "Look at it.", "log\n"),
    Opened(3, 32, ["one"], {"poly_count": 6}),
    FrameReady(2, {"index": 2}, [Buffer("depth", "<f4", [2, 3], "/dev/shm/x/arrays-1", 64)]),
    Rendered(2),
    Closed(3),
    Described({"devices": {"CPU": ["a"]}, "numpy": None}),
]
each_message = pytest.mark.parametrize("message", MESSAGES, ids=lambda item: item.kind)


def test_the_list_above_has_every_kind_of_message():
    assert {type(message) for message in MESSAGES} == set(Message.__args__)


@each_message
def test_a_message_is_one_line_and_comes_back_as_it_was(message: Message):
    line = encode(message, 17)
    assert "\n" not in line
    assert decode(line) == (17, message)
    assert decode(line + "\n") == (17, message)


@each_message
def test_a_field_of_a_newer_peer_is_dropped(message: Message):
    data = {**json.loads(encode(message, 1)), "from_the_future": [1, 2]}
    assert decode(json.dumps(data)) == (1, message)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "Blender 5.2.3 (hash 0123456789ab)",
        "Fra:1 Mem:12.3M | Rendering",
        "[]",
        "null",
        "{}",
        '{"id"',
        '{"id": 1, "kind": "done"',
        '{"id": 1, "kind": "quit"} and more',
        '{"id": null, "kind": "quit"}',
        '{"id": [1], "kind": "quit"}',
        ' {"id": 1, "kind": "quit"}',
        '{"id": ' + "[" * 100_000,
    ],
)
def test_what_is_no_message_is_none(line: str):
    assert decode(line) is None


@pytest.mark.parametrize(
    "line",
    [
        '{"id": 8}',
        '{"id": 8, "kind": null}',
        '{"id": 8, "kind": {}}',
        '{"id": 8, "kind": "fly"}',
        '{"id": 8, "kind": "stage"}',
        '{"id": 8, "kind": "frame-ready", "index": 1, "view": {}, "buffers": [{"name": "depth"}]}',
    ],
)
def test_a_message_that_cannot_be_understood_keeps_its_request(line: str):
    """So that whoever asked hears of it, and does not wait for his deadline."""
    found = decode(line)
    assert found is not None
    assert found[0] == 8
    assert isinstance(found[1], Unknown)
    assert found[1].why


def test_a_path_that_is_no_unicode_survives():
    message = Stage("a\udcff", "import")
    encode(message, 1).encode("ascii")
    assert decode(encode(message, 1)) == (1, message)


def test_one_answer_ends_each_request():
    last = {type(message).__name__ for message in MESSAGES if ends(message)}
    assert last == {
        "Done", "Failed", "Opened", "Changed", "Rendered", "Closed", "Acted", "Stepped",
        "Described",
    }  # fmt: skip


ARRAYS = {
    "rgb": np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4),
    "depth": np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)[:, ::-1],
    "object_index": np.array([[1, 2, 65535]], np.uint16),
    "big": np.array([1.5, -2.0], ">f4"),
    "nothing": np.zeros((0, 3), np.float32),
}


def ready(buffers: list[Buffer]) -> FrameReady:
    return FrameReady(0, {}, buffers)


def test_arrays_follow_their_message_through_a_pipe_among_other_lines():
    read, write = os.pipe()
    with os.fdopen(read, "rb") as incoming, os.fdopen(write, "wb") as outgoing:
        sender = Sender(outgoing)
        payloads = [
            np.ascontiguousarray(array, buffer.dtype).data.cast("B") if array.size else b""
            for buffer, array in zip(described(ARRAYS), ARRAYS.values(), strict=True)
        ]

        def talk() -> None:
            outgoing.write(b"Blender 5.2\n\xff\xfe\n")
            for number in (5, 6):
                sender.send(ready(described(ARRAYS)), number, payloads)
            sender.send(Rendered(2), 6)
            outgoing.close()

        thread = threading.Thread(target=talk)
        thread.start()
        received = list(read_messages(incoming))
        thread.join()
    assert [one.request for one in received] == [5, 6, 6]
    for one in received[:2]:
        found = arrays_of(one)
        assert list(found) == list(ARRAYS)
        for name, array in ARRAYS.items():
            assert np.array_equal(found[name], array)
            assert found[name].dtype == array.dtype.newbyteorder("<")


def test_arrays_in_a_file_are_mapped_and_the_file_is_gone(tmp_path: Path):
    path = tmp_path / "arrays"
    buffers = store_arrays(ARRAYS, path)
    assert all(buffer.offset % 64 == 0 for buffer in buffers)
    found = arrays_of(Received(1, ready(buffers)))
    assert not path.exists()
    for name, array in ARRAYS.items():
        assert np.array_equal(found[name], array)
    found["rgb"][:] = 0  # Whoever reads may write, into what is his alone.
    with pytest.raises(OSError, match="arrays"):
        arrays_of(Received(1, ready(buffers)))


def test_a_file_that_is_too_short_is_no_array(tmp_path: Path):
    path = tmp_path / "arrays"
    buffers = store_arrays(ARRAYS, path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises((ValueError, TypeError)):
        arrays_of(Received(1, ready(buffers)))


def test_a_stream_that_is_cut_off_ends_there():
    stream = io.BytesIO()
    sender = Sender(stream)
    sender.send(Stage("a", "import"), 1)
    data = np.ones((4, 4), np.float32)
    sender.send(ready(described({"depth": data})), 1, [data.data.cast("B")])
    whole = stream.getvalue()
    for missing in (1, 40, 64, 70):
        kinds = [one.message.kind for one in read_messages(io.BytesIO(whole[:-missing]))]
        assert kinds == ["stage"]
    lying = whole.replace((64).to_bytes(8, "little"), (1 << 60).to_bytes(8, "little"))
    assert [one.message.kind for one in read_messages(io.BytesIO(lying))] == ["stage"]


def test_what_a_step_says_is_the_json_that_any_other_message_is():
    for message, fields in (
        (Act(0), {"turn": 0, "shot": None}), (Act(1), {"turn": 1, "shot": None}),
        (Acted(), {"told": {}}),
    ):  # fmt: skip
        line = encode(message, 17)
        assert line == json.dumps({"id": 17, "kind": message.kind, **fields})
        for other in ("-1", "1.0", '"1"', "true", "\u0663", "007", "9" * 5000, ""):
            odd = line.replace("17", other, 1)
            # The space at the end is all that has it read as any other.
            assert decode(odd) == decode(odd + " "), odd[:99]
    first, second = decode(encode(Acted(), 1)), decode(encode(Acted(), 2))
    assert first and second and isinstance(first[1], Acted) and isinstance(second[1], Acted)
    assert first[1].told is not second[1].told
