"""Shards: what is in them, what they are called, and what is left when something goes wrong."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from batch_lanes import make_job, write_asset

from objaverse_render_addon.batch.output.packing import Shards, Waiting, assets_in, indexed_shards
from objaverse_render_addon.batch.output.store import Store, open_store
from objaverse_render_addon.batch.queue.ledger import Ledger
from objaverse_render_addon.batch.queue.rows import AssetOutcome, QueueEntry
from objaverse_render_addon.dataset.reader import AssetReader, Dataset
from objaverse_render_addon.errors import OutputNotWritable, TruncatedFile
from objaverse_render_addon.worker.protocol import RenderAsset


class Bench:
    """An output with staged assets and a ledger of them."""

    def __init__(self, folder: Path, count: int = 10) -> None:
        self.out = folder / "out"
        self.source = folder / "a.obj"
        self.source.write_text("v 0 0 0\n")
        self.store = open_store(self.out, "webdataset")
        self.store.check()
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.request = self.ledger.add(
            "x", [QueueEntry(f"/{n}", self.name(n)) for n in range(count)]
        )

    @staticmethod
    def name(number: int) -> str:
        return f"asset-{number:03d}"

    def shards(self, **options: int) -> Shards:
        return Shards(self.store, self.ledger, self.request, **{"block": 4, **options})

    def stage(self, row: int) -> Waiting:
        job = make_job("webdataset").to_dict()
        name = self.name(row - 1)
        write_asset(RenderAsset("a", str(self.source), name, job, str(self.store.staging)))
        return Waiting(row, name)

    def shelve(self, shards: Shards, row: int) -> list[int]:
        self.ledger.finish(AssetOutcome(row, "packing", 1))
        return [one.id for one in shards.ended(row, self.name(row - 1))]

    def names(self) -> list[str]:
        return sorted(path.name for path in self.out.iterdir() if not path.name.startswith("."))


@pytest.fixture
def bench(tmp_path: Path):
    made = Bench(tmp_path)
    yield made
    made.ledger.close()


def test_a_block_is_packed_when_its_last_asset_ended(bench: Bench):
    shards = bench.shards()
    assert [bench.shelve(shards, row) for row in (2, 5, 1, 4)] == [[], [], [], []]
    assert bench.shelve(shards, 3) == [2, 1, 4, 3]
    assert [[one.id for one in rest] for rest in shards.rest()] == [[5]]
    assert shards.rest() == []


def test_failed_assets_count_and_are_not_packed(bench: Bench):
    shards = bench.shards()
    bench.ledger.finish(AssetOutcome(1, "failed", 1))
    assert shards.ended(1) == []
    assert [bench.shelve(shards, row) for row in (2, 3)] == [[], []]
    bench.ledger.finish(AssetOutcome(4, "given up", 2))
    assert [one.id for one in shards.ended(4)] == [2, 3]
    for row in (5, 6, 7, 8):
        bench.ledger.finish(AssetOutcome(row, "failed", 1))
        assert shards.ended(row) == []
    assert shards.rest() == []


def test_what_ended_in_an_earlier_run_is_not_waited_for(bench: Bench):
    bench.ledger.finish(AssetOutcome(1, "done", 1), AssetOutcome(3, "failed", 1))
    shards = bench.shards()
    assert bench.shelve(shards, 2) == []
    assert bench.shelve(shards, 4) == [2, 4]


def test_assets_that_nobody_asked_for_now_are_not_waited_for(bench: Bench):
    bench.request = bench.ledger.add(
        "y", [QueueEntry("/2", bench.name(2)), QueueEntry("/0", bench.name(0))]
    )
    shards = bench.shards()
    assert bench.shelve(shards, 1) == []
    assert bench.shelve(shards, 3) == [1, 3]


def test_the_order_of_a_shard_does_not_depend_on_who_was_faster(bench: Bench, tmp_path: Path):
    packed: dict[str, list[Waiting]] = {}
    waiting = [bench.stage(row) for row in (3, 1, 4, 2)]
    bench.shards().pack(waiting, packed)
    first = (bench.out / "shard-000000.tar").read_bytes()
    (tmp_path / "other").mkdir()
    other = Bench(tmp_path / "other")
    other.shards().pack([other.stage(row) for row in (2, 4, 3, 1)], {})
    other.ledger.close()
    assert (other.out / "shard-000000.tar").read_bytes() == first
    assert [one.id for one in packed["shard-000000.tar"]] == [1, 2, 3, 4]
    assert list(bench.store.staging.glob("[!.]*")) == []


def test_an_index_says_where_every_file_of_a_shard_is(bench: Bench):
    bench.shards().pack([bench.stage(row) for row in (1, 2)], {})
    shard = bench.out / "shard-000000.tar"
    index = json.loads(shard.with_name("shard-000000.index.json").read_text())
    data = shard.read_bytes()
    with tarfile.open(shard) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
    assert list(members) == [
        f"asset-00{n}.{name}" for n in (0, 1) for name in ("000.png", "metadata.json")
    ]
    for asset, files in index["assets"].items():
        for name, (offset, size) in files.items():
            assert data[offset : offset + size] == members[f"{asset}.{name}"]
    assert indexed_shards(bench.store) == {"shard-000000.tar"}
    assert assets_in(bench.store, "shard-000000.tar") == ["asset-000", "asset-001"]
    for ref in Dataset.open(bench.out):
        with AssetReader(ref) as reader:
            assert reader.metadata["id"] == ref.id


def test_a_shard_is_split_where_it_grows_too_big(bench: Bench):
    packed: dict[str, list[Waiting]] = {}
    waiting = [bench.stage(row) for row in (1, 2, 3)]
    size = (bench.store.staging / "asset-000.tar").stat().st_size
    bench.shards(max_bytes=2 * size).pack(waiting, packed)
    assert {name: [one.id for one in inside] for name, inside in packed.items()} == {
        "shard-000000.tar": [1, 2], "shard-000000-001.tar": [3],
    }  # fmt: skip
    # One that is too big on its own has a shard of its own.
    bench.shards(max_bytes=1).pack([bench.stage(5), bench.stage(6)], packed)
    assert len(packed) == 4


class Failing:
    """A store that fails when it is told to: before or after it did what it was asked for."""

    def __init__(self, store: Store, plan: list[str]) -> None:
        self._store, self._plan = store, list(plan)

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def put(self, local: Path, name: str) -> None:
        step = self._plan.pop(0) if self._plan else "ok"
        if step == "before":
            raise OutputNotWritable("not now")
        self._store.put(local, name)
        if step == "after":
            raise OutputNotWritable("said no, and did it")


@pytest.mark.parametrize(
    "plan",
    [["before"], ["after"], ["ok", "before"], ["ok", "after", "before"]],
)  # fmt: skip
def test_a_store_that_fails_in_between_gets_nothing_twice(bench: Bench, plan: list[str]):
    waiting = [bench.stage(row) for row in (1, 2, 3, 4)]
    size = (bench.store.staging / "asset-000.tar").stat().st_size
    bench.store = Failing(bench.store, plan)
    shards, packed, tries = bench.shards(max_bytes=2 * size), {}, 0
    while True:
        tries += 1
        try:
            shards.pack(waiting, packed)
        except OutputNotWritable:
            continue
        break
    assert tries == sum(step != "ok" for step in plan) + 1
    assert bench.names() == [
        "shard-000000-001.index.json", "shard-000000-001.tar",
        "shard-000000.index.json", "shard-000000.tar",
    ]  # fmt: skip
    assert sorted(one.id for inside in packed.values() for one in inside) == [1, 2, 3, 4]
    assert sorted(Dataset.open(bench.out).ids) == [bench.name(n) for n in range(4)]


def test_a_later_shard_of_a_block_has_a_name_of_its_own(bench: Bench):
    names = {1: "shard-000000.tar", 2: "shard-000000-001.tar", 5: "shard-000001.tar"}
    for row, name in names.items():
        packed: dict[str, list[Waiting]] = {}
        bench.shards().pack([bench.stage(row)], packed)
        assert list(packed) == [name]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1}', '{"assets": 3}'])
def test_a_damaged_index_is_named(bench: Bench, content: str):
    bench.shards().pack([bench.stage(1)], {})
    (bench.out / "shard-000000.index.json").write_text(content)
    with pytest.raises(TruncatedFile, match=r"shard-000000\.index\.json"):
        assets_in(bench.store, "shard-000000.tar")


def test_an_index_without_its_shard_is_no_shard(bench: Bench):
    bench.shards().pack([bench.stage(1)], {})
    (bench.out / "shard-000000.tar").unlink()
    (bench.out / "lonely.tar").touch()
    assert indexed_shards(bench.store) == set()
