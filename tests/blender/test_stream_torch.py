"""Streams as PyTorch's datasets: workers, ranks, processes that are forked and spawned."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamed

torch = pytest.importorskip("torch", reason="PyTorch is not here; `make test-torch` has it")
from torch.utils.data import DataLoader  # noqa: E402

from objaverse_render_addon.errors import InvalidJob  # noqa: E402
from objaverse_render_addon.live.recorder import record  # noqa: E402
from objaverse_render_addon.live.recording import Recording  # noqa: E402
from objaverse_render_addon.live.torch import (  # noqa: E402
    RecordedDataset,
    StreamDataset,
    collate,
)

CPU = {"device": "cpu"}


def made(count: int, **options: Any) -> Any:
    return StreamDataset(streamed.Box(), count, seed=3, start_options=CPU, **options)


def test_tensors_lie_where_blender_wrote_them() -> None:
    seen: list[int] = []

    def look(_: Any, frame: Any) -> None:
        assert not frame.passes["rgb"].flags.owndata
        seen.append(frame.passes["rgb"].__array_interface__["data"][0])

    data = made(2, blenders=1, change=look)
    try:
        for number, sample in enumerate(data):
            assert sample["rgb"].data_ptr() == seen[number]
            assert sample["rgb"].shape[1:] == (48, 64)
            assert sample["rgb"].dtype == torch.uint8
            assert sample["depth"].shape == (1, 48, 64)
            assert sample["intrinsics"].shape == (3, 3)
    finally:
        data.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_share_a_stream_and_hear_what_it_is_told(method: str) -> None:
    data = made(7, blenders=2)
    loader = DataLoader(
        data, batch_size=2, num_workers=2, collate_fn=collate, multiprocessing_context=method,
        persistent_workers=True, prefetch_factor=2,
    )  # fmt: skip
    first = list(loader)
    keys = Counter(int(index) for batch in first for index in batch["index"])
    assert keys == Counter(range(7))
    assert all(batch["rgb"].shape[1:] == first[0]["rgb"].shape[1:] for batch in first)
    told = data.source.update(x=0.5)
    data.set_epoch(1)
    second = list(loader)
    assert sum(len(batch["index"]) for batch in second) == 7
    for batch in second:
        assert set(batch["state"].tolist()) == {told}
        assert torch.equal(batch["values"]["x"], torch.full((len(batch["index"]),), 0.5))
    # Its workers end with their Blenders.
    del loader


def test_ranks_and_workers_see_every_sample_once_and_the_same() -> None:
    alone = {int(s["index"]): s["depth"].clone() for s in made(5, blenders=1)}
    seen: Counter[int] = Counter()
    for rank in range(2):
        data = made(5, blenders=1, rank=rank, world_size=2)
        batches = list(DataLoader(data, batch_size=None, num_workers=rank))
        assert len(batches) == len(data)
        for sample in batches:
            seen[int(sample["index"])] += 1
            assert torch.equal(sample["depth"], alone[int(sample["index"])])
        data.close()
    assert seen == Counter(range(5))
    assert [len(made(5, rank=r, world_size=2, uneven="drop")) for r in range(2)] == [2, 2]


def test_a_killed_blender_of_a_worker_costs_nothing() -> None:
    data = made(8, blenders=1, change=_suicide)
    seen = list(DataLoader(data, batch_size=None, num_workers=1))
    assert [int(sample["index"]) for sample in seen] == list(range(8))
    assert [int(s["values"]["killed"]) for s in seen if "killed" in s["values"]] == [1]


def _suicide(sample: Any, _: Any) -> None:
    """Kill the Blender that rendered a sample, from within its loader's worker."""
    if sample.record["index"] == 3:
        from objaverse_render_addon.worker.memory import resident_bytes

        blenders = [pid for pid in _children(os.getpid()) if resident_bytes(pid) > 100 << 20]
        for pid in blenders:
            os.kill(pid, signal.SIGKILL)
        sample.record["values"]["killed"] = len(blenders)


def _children(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rsplit(")", 1)[1].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


def test_epochs_are_drawn_anew_and_again() -> None:
    data = made(2, blenders=1)
    drawn = []
    for epoch in (0, 1, 0):
        data.set_epoch(epoch)
        drawn.append([float(sample["values"]["x"]) for sample in data])
    data.close()
    assert drawn[0] == drawn[2]
    assert not np.allclose(drawn[0], drawn[1])


def test_what_was_recorded_is_given_again_without_blender(tmp_path: Path) -> None:
    data = made(5, blenders=2, record=tmp_path)
    live = {int(s["index"]): s for s in DataLoader(data, batch_size=None, num_workers=2)}
    recording = Recording(tmp_path, shuffle=True)
    assert len(recording.files) == 2
    again = StreamDataset(recording)
    assert len(again) == 5
    orders = []
    for epoch in range(2):
        again.set_epoch(epoch)
        seen = list(DataLoader(again, batch_size=None, num_workers=2))
        orders.append([int(sample["index"]) for sample in seen])
        assert sorted(orders[-1]) == list(range(5))
        for sample in seen:
            first = live[int(sample["index"])]
            assert set(sample) == set(first)
            for name in ("rgb", "depth", "object_index", "camera_to_world", "state"):
                assert torch.equal(sample[name], first[name])
    assert orders[0] != orders[1]
    looked_up = RecordedDataset(tmp_path)
    assert len(list(DataLoader(looked_up, batch_size=2, shuffle=True, collate_fn=collate))) == 3
    shares = [StreamDataset(recording, rank=r, world_size=2, uneven="drop") for r in range(2)]
    assert [len(share) for share in shares] == [len(list(share)) for share in shares] == [2, 2]
    # A recording that others began, of which three are there.
    begun = tmp_path / "begun"
    assert len(list(record(recording[1:4], begun))) == 3
    there = {one.record["index"] for one in recording[1:4]}
    rest = made(5, blenders=1, record=begun, resume=True)
    assert len(rest) == 2
    given = {int(s["index"]) for s in DataLoader(rest, batch_size=None, num_workers=1)}
    assert given == set(live) - there
    assert sorted(sample.key for sample in Recording(begun)) == [(0, at, 0) for at in range(5)]
    with pytest.raises(InvalidJob, match='record="folder"'):
        made(5, resume=True)


def test_what_was_seen_is_not_given_again_whoever_goes_on() -> None:
    data = StreamDataset(streamed.Numbered(), 7, seed=3, blenders=1, start_options=CPU)
    data.set_epoch(2)
    loader = DataLoader(data, batch_size=3, num_workers=2, collate_fn=collate)
    seen = []
    for number, batch in enumerate(loader):
        data.note_seen(batch)
        seen += zip(batch["index"].tolist(), batch["view"].tolist(), strict=True)
        if number == 2:
            break
    del loader
    state = json.loads(json.dumps(data.state_dict()))
    assert len(seen) == 9
    # Without workers what is given is noted; another seed, or another size, is another stream.
    again = StreamDataset(streamed.Numbered(), 7, seed=3, blenders=1, start_options=CPU)
    again.load_state_dict(state)
    assert len(again) == 5
    rest = []
    for sample in again:
        rest.append((int(sample["index"]), int(sample["view"])))
        assert int(sample["epoch"]) == 2
        if len(rest) == 2:
            break
    third = StreamDataset(
        streamed.Numbered(), 7, seed=3, blenders=1, rank=0, world_size=1, start_options=CPU
    )
    third.load_state_dict(state, again.state_dict())
    rest += [(int(s["index"]), int(s["view"])) for s in DataLoader(third, batch_size=None)]
    assert len(third) == 3
    assert sorted(seen + rest) == [(unit, view) for unit in range(7) for view in range(2)]
    third.set_epoch(3)
    assert len(third) == 14
    for one in (data, again, third):
        one.close()
    for wrong in (made(7), StreamDataset(streamed.Numbered(), 8, seed=3)):
        with pytest.raises(InvalidJob):
            wrong.load_state_dict(state)
    with pytest.raises(InvalidJob, match="epoch 1"):
        third.note_seen({"epoch": 1, "index": 0, "view": 0})
    with pytest.raises(InvalidJob, match="index"):
        third.note_seen({"epoch": 3})


def test_a_dataset_without_end_is_refused() -> None:
    with pytest.raises(InvalidJob, match="number of units"):
        StreamDataset(streamed.Box())
