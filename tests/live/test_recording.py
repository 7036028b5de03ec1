"""Recorded samples: written behind each other, readable whatever became of the writer."""

from __future__ import annotations

import errno
import os
import pickle
import random
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import write_asset

from objaverse_render_addon.dataset.reader import Dataset
from objaverse_render_addon.errors import (
    InvalidJob,
    SourceNotFound,
    TruncatedFile,
    UnsupportedFormat,
)
from objaverse_render_addon.job import RenderJob
from objaverse_render_addon.live.convert import from_dataset, from_webdataset, to_webdataset
from objaverse_render_addon.live.recorder import Recorder, record
from objaverse_render_addon.live.recording import Recording
from objaverse_render_addon.live.samples import Sample

JOB = RenderJob().with_values(
    {"pixels.resolution": [24, 16], "pixels.passes": ["rgb", "depth", "mask"], "cameras.views": 3}
)


def sample(index: int, size: int = 8) -> Sample:
    numbers = np.random.default_rng(index)
    arrays = {
        "rgb": numbers.integers(0, 256, (size, size + 1, 4), dtype=np.uint8),
        "depth": numbers.random((size, size + 1), dtype=np.float32),
        "object_index": numbers.integers(0, 9, (size, size + 1), dtype=np.uint16),
        "boxes": np.zeros((index % 3, 4), np.float32),
    }
    return Sample(arrays, {"index": index, "view": 0, "epoch": 0, "values": {"é": [index, 0.1]}})


def same(first: Sample, second: Sample) -> bool:
    return first.record == second.record and all(
        first[name].dtype == second[name].dtype and np.array_equal(first[name], second[name])
        for name in first.arrays.keys() | second.arrays.keys()
    )


def kept(folder: Path, count: int, **options: Any) -> Path:
    with Recorder(folder, **options) as recorder:
        for index in range(count):
            recorder.write(sample(index))
    return folder


def test_what_is_read_is_what_was_written_in_any_order(tmp_path: Path) -> None:
    data = Recording(kept(tmp_path, 9, shard_bytes=3000))
    assert len(data.files) > 2
    assert len(data) == 9
    assert not data.cut
    for index in (7, 0, -1, 3):
        assert same(data[index], sample(index % 9))
    assert all(same(one, sample(at)) for at, one in enumerate(data))
    with pytest.raises(IndexError):
        data[9]
    copy = pickle.loads(pickle.dumps(data))
    assert same(copy[4], sample(4))


def test_pages_are_those_of_the_file_and_writing_to_them_changes_nothing(tmp_path: Path) -> None:
    data = Recording(kept(tmp_path, 2))
    one = data[1]
    assert all(not array.flags.owndata for array in one.arrays.values())
    assert all(array.__array_interface__["data"][0] % 64 == 0 for array in one.arrays.values())
    one["rgb"][:] = 0
    assert same(Recording(tmp_path)[1], sample(1))


def test_orders_are_drawn_and_parts_are_all(tmp_path: Path) -> None:
    kept(tmp_path, 11)
    for shuffle in (False, True):
        parts = [Recording(tmp_path, part=(k, 3), shuffle=shuffle, seed=4) for k in range(3)]
        seen = [int(one.record["index"]) for part in parts for one in part]
        assert sorted(seen) == list(range(11))
    data = Recording(tmp_path, shuffle=True)
    first, second = ([one.record["index"] for one in data] for _ in range(2))
    assert first != second
    data.epoch = 0
    assert first == [one.record["index"] for one in data]


def test_a_file_that_breaks_off_anywhere_is_read_to_its_last_whole_record(tmp_path: Path) -> None:
    whole = next(kept(tmp_path / "whole", 4).glob("*.rec")).read_bytes()
    ends = [place for place in range(len(whole)) if whole[place : place + 4] in (b"RECD", b"INDX")]
    path = tmp_path / "cut.rec"
    for length in [*range(1, 200), *range(200, len(whole), 97), *ends, len(whole) - 1]:
        path.write_bytes(whole[:length])
        data = Recording(path)
        there = sum(end <= length for end in ends[1:])
        assert len(data) == there, length
        assert data.cut == [path]
        assert all(same(data[at], sample(at)) for at in range(there))


def test_damage_is_never_given_as_data(tmp_path: Path) -> None:
    whole = next(kept(tmp_path / "whole", 3).glob("*.rec")).read_bytes()
    path, dice, found = tmp_path / "bad.rec", random.Random(2), 0
    for _ in range(300):
        bad = bytearray(whole)
        bad[dice.randrange(len(bad))] ^= 1 << dice.randrange(8)
        path.write_bytes(bad)
        try:
            data = Recording(path)
            for at in range(len(data)):
                assert same(data[at], sample(at))
        except (TruncatedFile, UnsupportedFormat) as error:
            assert str(path) in str(error)
            found += 1
    assert found > 200


def test_a_full_disk_ends_the_recording_and_not_the_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, parts: Any) -> int:
        if os.fstat(file).st_size > 2500:
            os.write(file, b"RECD a part of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(file, b"".join(parts))

    monkeypatch.setattr(os, "writev", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        given = list(record(map(sample, range(6)), tmp_path))
    assert len(given) == 6
    data = Recording(tmp_path)
    assert 0 < len(data) < 6
    assert all(same(data[at], sample(at)) for at in range(len(data)))


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="nowhere"):
        Recording(tmp_path / "nowhere")
    (tmp_path / "x.rec").write_bytes(b"something else, longer than a head")
    with pytest.raises(UnsupportedFormat, match=r"x\.rec"):
        Recording(tmp_path)
    with Recorder(tmp_path / "of") as recorder:
        with pytest.raises(InvalidJob, match="dtype"):
            recorder.write(Sample({"rgb": np.array(["a"])}))
        with pytest.raises(InvalidJob, match="JSON"):
            recorder.write(Sample({}, {"values": float("nan")}))


def test_webdataset_and_back_is_the_same(tmp_path: Path) -> None:
    data = Recording(kept(tmp_path / "kept", 7))
    shards = to_webdataset(data, tmp_path / "shards", shard_bytes=10_000)
    assert len(shards) > 1
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == [
        path.name for path in shards
    ]
    again = list(from_webdataset(tmp_path / "shards"))
    assert len(again) == 7
    assert all(same(first, second) for first, second in zip(data, again, strict=True))
    with tarfile.open(shards[0]) as archive:
        names = archive.getnames()
    assert names[0] == "0000-00000000-000.json"
    assert "0000-00000000-000.rgb.npy" in names
    cut = shards[0].read_bytes()[:3000]
    shards[0].write_bytes(cut)
    with pytest.raises(TruncatedFile, match=r"000000\.tar"):
        list(from_webdataset(shards[0]))


def test_a_data_set_of_the_project_is_recorded_as_it_is(tmp_path: Path) -> None:
    write_asset(tmp_path / "data", JOB)
    with Recorder(tmp_path / "kept") as recorder:
        for one in from_dataset(tmp_path / "data"):
            recorder.write(one)
    data = Recording(tmp_path / "kept")
    (asset,) = Dataset.open(tmp_path / "data")
    with asset.open() as reader:
        assert len(data) == len(reader)
        for place, one in enumerate(data):
            stored = reader.read(place)
            assert set(stored) == set(one.arrays)
            for name, array in stored.items():
                assert np.array_equal(array, one[name], equal_nan=array.dtype.kind == "f")
            camera = reader.view(place).camera
            assert np.array_equal(one.camera.camera_to_world, camera.camera_to_world)
            assert one.values == {"asset": asset.id, "view": reader.key(place).view}


WRITER = """
import sys
sys.path[:0] = [{tests!r}]
from live.test_recording import sample
from objaverse_render_addon.live.recorder import Recorder
with Recorder(sys.argv[1], shard_bytes=300_000) as recorder:
    for index in range(10**9):
        recorder.write(sample(index, 64))
        print(index, flush=True)
"""


def killed(folder: Path, after: float) -> int:
    """Have somebody record, and kill it; the last that it said was written."""
    code = WRITER.format(tests=str(Path(__file__).parents[1]))
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    said = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    return int(said[-1]) if said else 0


def check_kills(tmp_path: Path, kills: int) -> None:
    dice = random.Random(5)
    for kill in range(kills):
        folder = tmp_path / f"{kill}"
        said = killed(folder, dice.uniform(0, 0.05))
        data = Recording(folder)
        assert len(data) >= said
        assert len(data) - said <= 2
        assert all(same(one, sample(at, 64)) for at, one in enumerate(data))


def test_three_kills_lose_nothing_that_was_written(tmp_path: Path) -> None:
    check_kills(tmp_path, 3)


@pytest.mark.long
def test_a_hundred_kills_lose_nothing_that_was_written(tmp_path: Path) -> None:
    check_kills(tmp_path, 100)
