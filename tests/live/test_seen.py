"""What was seen of an epoch."""

from __future__ import annotations

import json

import numpy as np
import pytest

from objaverse_render_addon.errors import InvalidJob
from objaverse_render_addon.live.seen import Seen


def test_what_was_seen_is_counted_and_comes_back_from_json() -> None:
    rng = np.random.default_rng(1)
    seen, truth = Seen(20_000, 3), np.zeros((20_000, 3), np.bool_)
    for unit, view in zip(rng.integers(20_000, size=900), rng.integers(3, size=900), strict=True):
        seen.add(int(unit), int(view))
        truth[unit, view] = True
    seen.add(19_999, 2)
    truth[19_999, 2] = True
    again = Seen.from_dict(json.loads(json.dumps(seen.to_dict())))
    for one in (seen, again):
        assert len(one) == truth.sum()
        for units in (range(20_000), range(3, 20_000, 7), range(4100, 4103), range(9000, 9000)):
            assert one.among(units) == truth[units.start : units.stop : units.step].sum()
        assert all(one.has(unit, 1) == truth[unit, 1] for unit in range(0, 20_000, 11))
        assert [u for u in range(20_000) if one.whole(u)] == np.flatnonzero(truth.all(1)).tolist()
    other = Seen(20_000, 3)
    other.add(0, 0)
    again.update(other)
    assert again.has(0, 0)
    assert not seen.has(0, 0) or truth[0, 0]


def test_an_epoch_without_end_takes_no_room() -> None:
    seen = Seen(10**15, 2)
    seen.add(10**15 - 1, 1)
    assert Seen.from_dict(seen.to_dict()).has(10**15 - 1, 1)
    assert len(json.dumps(seen.to_dict())) < 300


def test_units_of_different_sizes_are_counted_each_by_its_own() -> None:
    rng = np.random.default_rng(2)
    sizes = rng.integers(1, 9, size=9000)
    seen, truth = Seen(9000, 0), [set[int]() for _ in sizes]
    for unit in rng.integers(9000, size=9000):
        view = int(rng.integers(sizes[unit]))
        seen.add(int(unit), view, int(sizes[unit]))
        truth[unit].add(view)
    again = Seen.from_dict(json.loads(json.dumps(seen.to_dict())))
    other = Seen(9000, 0)
    other.update(seen)
    for one in (seen, again, other):
        assert len(one) == sum(map(len, truth))
        whole = [unit for unit, those in enumerate(truth) if len(those) == sizes[unit]]
        assert [unit for unit in range(9000) if one.whole(unit)] == whole
        assert all(
            one.has(unit, view) == (view in truth[unit])
            for unit in range(0, 9000, 7) for view in range(9)
        )
        assert one.among(range(5, 9000, 3)) == sum(map(len, truth[5::3]))
    unit = next(unit for unit, those in enumerate(truth) if those)
    with pytest.raises(InvalidJob, match="had"):
        seen.add(unit, 0, int(sizes[unit]) + 1)
    with pytest.raises(InvalidJob, match="none of"):
        seen.add(0, 0)
    longer = Seen(9000, 0)
    longer.add(unit, 0, int(sizes[unit]) + 1)
    with pytest.raises(InvalidJob, match="other numbers"):
        seen.update(longer)
    data = seen.to_dict()
    block = data["sizes"].pop("1")
    for wrong in (data, {**data, "sizes": {**data["sizes"], "1": block[:40]}}):
        with pytest.raises(InvalidJob):
            Seen.from_dict(wrong)


def test_what_says_nothing_of_it_is_refused() -> None:
    seen = Seen(10, 2)
    for unit, view in ((10, 0), (-1, 0), (0, 2)):
        with pytest.raises(InvalidJob, match="is none of"):
            seen.add(unit, view)
    with pytest.raises(InvalidJob, match="11 units"):
        seen.update(Seen(11, 2))
    seen.add(3, 1)
    data = seen.to_dict()
    for wrong in (
        {}, {**data, "units": "many"}, {**data, "seen": []}, {**data, "seen": {"0": "AAAA"}},
        {**data, "seen": {"7": data["seen"]["0"]}}, {**data, "views": 3},
    ):  # fmt: skip
        with pytest.raises(InvalidJob):
            Seen.from_dict(wrong)
