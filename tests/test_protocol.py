from __future__ import annotations

import json

import pytest

from objaverse_render_addon.job import RenderJob
from objaverse_render_addon.worker.protocol import (
    PROTOCOL,
    Describe,
    Described,
    Done,
    Failed,
    FrameDone,
    Message,
    Notice,
    Quit,
    Ready,
    RenderAsset,
    Stage,
    decode,
    encode,
)

MESSAGES: list[Message] = [
    RenderAsset(
        source="stühle/a b.glb",
        asset_id="a_b",
        job=RenderJob().to_dict(),
        out="/out",
        scratch="/dev/shm/x",
        provenance={"path": "/in/a b.glb", "license": None, "tags": ["chair", 3]},
        max_memory=1 << 40,
    ),
    Describe(),
    Quit(),
    Ready("5.2.3", "3.13.0", 4711),
    Stage("a_b", "import"),
    FrameDone("a_b", 3, 32),
    Done("a_b", "/out/a_b.zip", 32, ["one\nwarning"], {"object_in_frame": 2}, {"total": 1.5}),
    Failed("a_b", "no-geometry", "line 1\nline 2 …", "Look at it.", "log\n"),
    Notice("Waiting for the disk."),
    Described({"devices": {"CPU": ["a"]}, "OpenEXR": None}),
]
each_message = pytest.mark.parametrize("message", MESSAGES, ids=lambda item: item.kind)


def test_the_list_above_has_every_kind_of_message():
    assert {type(message) for message in MESSAGES} == set(Message.__args__)


@each_message
def test_a_message_is_one_line_and_comes_back_as_it_was(message: Message):
    line = encode(message)
    assert "\n" not in line
    assert decode(line) == message
    assert decode(line + "\n") == message


@each_message
def test_a_field_of_a_newer_peer_is_dropped(message: Message):
    data = {**json.loads(encode(message)), "from_the_future": [1, 2]}
    assert decode(json.dumps(data)) == message


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
        '{"kind": "done"}',
        '{"kind"',
        '{"kind": "done"',
        '{"kind": "done"} and more',
        '{"kind": "no-such-kind"}',
        '{"kind": null}',
        '{"kind": []}',
        '{"kind": {}}',
        '{"kind": "done", "asset_id": "a"}',
        '{"kind": "stage"}',
        ' {"kind": "quit"}',
    ],
)
def test_what_is_no_message_is_none(line: str):
    assert decode(line) is None


def test_a_path_that_is_no_unicode_survives():
    message = Stage("a\udcff", "import")
    encode(message).encode("ascii")
    assert decode(encode(message)) == message


def test_the_greeting_says_which_protocol_is_spoken():
    ready = decode('{"kind": "ready", "blender": "5", "python": "3", "pid": 1}')
    assert isinstance(ready, Ready)
    assert ready.protocol == PROTOCOL
