from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import write_asset
from stored import LAYOUTS, store

torch = pytest.importorskip("torch", reason="PyTorch is not here; `make test-torch` has it")
from torch.utils.data import DataLoader  # noqa: E402

from objaverse_render_addon.cameras import (  # noqa: E402
    PROJECTIONS,
    Camera,
    Rig,
    intrinsics_of,
    look_at_pose,
)
from objaverse_render_addon.dataset.reader import Dataset  # noqa: E402
from objaverse_render_addon.dataset.torch import (  # noqa: E402
    MultiView,
    MultiViewStream,
    RankSampler,
    rays,
)
from objaverse_render_addon.errors import InvalidJob, RenderError  # noqa: E402
from objaverse_render_addon.job import STILL_PASSES, CameraRules, Files, Pixels, RenderJob  # noqa: E402

IDS = [f"a{index:02d}" for index in range(11)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    job = RenderJob(
        cameras=CameraRules(pattern="gs-lrm", views=6),
        pixels=Pixels(resolution=(20, 16), passes=STILL_PASSES), files=Files(layout="folder"),
    )
    out = tmp_path_factory.mktemp("folders")
    return [write_asset(out, job, name) for name in IDS]


@pytest.fixture(scope="module", params=LAYOUTS)
def stored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, folders: list[Path]
) -> Path:
    out = tmp_path_factory.mktemp("stored")
    if request.param.startswith("shard"):
        for number, start in enumerate(range(0, len(folders), 4)):
            store(folders[start : start + 4], out / "x", request.param)
            for file in (out / "x").iterdir():
                file.rename(out / file.name.replace("000000", f"{number:06d}"))
        (out / "x").rmdir()
    else:
        store(folders, out, request.param)
    return out


@pytest.fixture(scope="module")
def zips(tmp_path_factory: pytest.TempPathFactory, folders: list[Path]) -> Dataset:
    out = tmp_path_factory.mktemp("zips")
    store(folders, out, "zip")
    return Dataset.open(out)


def chosen(sample: dict[str, Any]) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    places = (tuple(sample[part]["index"].tolist()) for part in ("input", "target"))
    return sample["id"], *places  # type: ignore[return-value]


# --- Samples --------------------------------------------------------------------------------


def test_a_sample_has_the_stored_arrays_and_cameras(stored: Path):
    data = MultiView(stored, inputs=3, targets=2, passes=STILL_PASSES, background=None)
    assert len(data) == len(IDS)
    sample = data[4]
    with data.data[4].open() as reader:
        assert sample["id"] == reader.id
        for part, count in (("input", 3), ("target", 2)):
            views = sample[part]
            assert views["index"].shape == (count,)
            for row, place in enumerate(views["index"].tolist()):
                camera, arrays = reader.view(place).camera, reader.read(place)
                for name, matrix in (
                    ("intrinsics", camera.intrinsics),
                    ("camera_to_world", camera.camera_to_world),
                    ("world_to_camera", camera.world_to_camera_opencv),
                ):
                    assert np.allclose(views[name][row], matrix, atol=1e-6)
                    assert views[name].dtype == torch.float32
                for name, array in arrays.items():
                    array = array[..., None] if array.ndim == 2 else array
                    scale = 255 if name == "rgb" else 1
                    found = views[name][row].numpy().transpose(1, 2, 0) * scale
                    assert np.allclose(found, array, atol=1e-4), name


def test_colour_is_laid_over_the_background(zips: Dataset):
    data = MultiView(zips, inputs=1, targets=0, background=(0.2, 0.4, 0.6))
    views = data[0]["input"]
    empty = views["alpha"][0, 0] == 0
    assert 0 < empty.float().mean() < 1
    assert views["rgb"].shape == (1, 3, 16, 20)
    for channel, value in enumerate((0.2, 0.4, 0.6)):
        assert torch.allclose(views["rgb"][0, channel][empty], torch.tensor(value))
    assert "target" not in data[0]


def test_batches_are_stacked(zips: Dataset):
    loader = DataLoader(MultiView(zips, inputs=2, targets=1, passes=("rgb", "depth")), batch_size=4)
    batch = next(iter(loader))
    assert batch["input"]["rgb"].shape == (4, 2, 3, 16, 20)
    assert batch["target"]["depth"].shape == (4, 1, 1, 16, 20)
    assert batch["id"] == IDS[:4]


def test_rays_meet_the_surface(zips: Dataset):
    data = MultiView(zips, inputs=4, targets=0, passes=("position", "distance", "mask"))
    views = data[0]["input"]
    origins, directions = rays(views["intrinsics"], views["camera_to_world"], 16, 20)
    assert origins.shape == directions.shape == (4, 16, 20, 3)
    points = origins + views["distance"][:, 0, ..., None] * directions
    seen = views["mask"][:, 0] == 1
    position = views["position"].permute(0, 2, 3, 1)
    assert seen.any()
    assert torch.allclose(points[seen], position[seen], atol=1e-4)


def test_rays_are_those_of_the_reader(zips: Dataset):
    with zips[0].open() as reader:
        camera = reader.view(2).camera
    theirs = camera.world_rays()
    ours = rays(torch.tensor(camera.intrinsics), torch.tensor(camera.camera_to_world), 16, 20)
    for one, other in zip(ours, theirs, strict=True):
        assert np.allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_rays_of_every_lens_are_those_of_its_camera(projection: str):
    opening = 2.0 if projection == "orthographic" else 120.0
    shift = (0.0, 0.0) if projection == "panorama" else (0.1, -0.2)
    k = intrinsics_of(projection, opening, (20, 16), 1.0, shift)
    camera = Camera(20, 16, k, look_at_pose(30, 20, 2, Rig()), projection)
    ours = rays(torch.tensor(k), torch.tensor(camera.camera_to_world), 16, 20, projection)
    for one, other in zip(ours, camera.world_rays(), strict=True):
        assert np.allclose(one, other, atol=1e-12)


def test_held_out_views_are_no_training_samples(tmp_path: Path):
    job = RenderJob(
        cameras=CameraRules(pattern="ring", views=4, test_views=3),
        pixels=Pixels(resolution=(16, 16)),
    )
    write_asset(tmp_path / "data", job)
    chosen = {}
    for split, count in (("train", 4), ("test", 3), (None, 7)):
        data = MultiView(tmp_path / "data", inputs=count, targets=0, split=split)
        chosen[split] = set(data[0]["input"]["index"].tolist())
        assert set(data[0]["input"]["projection"].tolist()) == {0}
    assert chosen == {"train": {0, 1, 2, 3}, "test": {4, 5, 6}, None: set(range(7))}
    with pytest.raises(InvalidJob, match="4 views"):
        MultiView(tmp_path / "data", inputs=5, targets=0)[0]


def test_too_few_views_are_named(zips: Dataset):
    with pytest.raises(InvalidJob, match="6 views"):
        MultiView(zips, inputs=6, targets=1)[0]
    for wrong in ({"inputs": 0, "targets": 0}, {"inputs": -1}, {"repeats": 0}):
        with pytest.raises(InvalidJob):
            MultiView(zips, **wrong)


# --- What chance decides --------------------------------------------------------------------


def test_views_are_chosen_by_seed_epoch_and_asset_alone(zips: Dataset):
    def all_of(seed: int, epoch: int) -> list[Any]:
        data = MultiView(zips, inputs=2, targets=2, seed=seed)
        data.set_epoch(epoch)
        return [chosen(data[index]) for index in range(len(data))]

    assert all_of(0, 0) == all_of(0, 0)
    assert all_of(0, 0) != all_of(0, 1) != all_of(1, 1)
    # Other assets beside it change nothing.
    alone = MultiView(zips[5:6], inputs=2, targets=2)
    assert chosen(alone[0]) == all_of(0, 0)[5]
    for _, inputs, targets in all_of(0, 0):
        assert len({*inputs, *targets}) == 4


def test_repeats_of_an_asset_have_other_views(zips: Dataset):
    data = MultiView(zips, inputs=2, targets=1, repeats=5)
    assert len(data) == 5 * len(IDS)
    first = [chosen(data[index]) for index in range(5)]
    assert {asset for asset, *_ in first} == {IDS[0]}
    assert len(set(first)) > 2


def test_every_view_gets_its_turn(zips: Dataset):
    data = MultiView(zips[:1], inputs=1, targets=1, repeats=600)
    counts = Counter(data._choose(zips[0], list(range(6)), repeat)[0] for repeat in range(600))
    assert set(counts) == set(range(6))
    assert max(counts.values()) < 150 and min(counts.values()) > 60


# --- Workers and ranks ----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(("workers", "shuffle"), [(0, 0), (0, 3), (1, 1000), (3, 0), (3, 1000)])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_every_asset_comes_once_whatever_workers_and_ranks(
    zips: Dataset, workers: int, world: int, shuffle: int
):
    seen: list[Any] = []
    for rank in range(world):
        samples = MultiView(zips, inputs=1, targets=1)
        stream = MultiViewStream(samples, shuffle=shuffle, rank=rank, world_size=world)
        loader = DataLoader(stream, batch_size=None, num_workers=workers)
        mine = [chosen(sample) for sample in loader]
        assert len(mine) == len(stream)
        seen += mine
    alone = MultiView(zips, inputs=1, targets=1)
    assert sorted(seen) == [chosen(alone[index]) for index in range(len(alone))]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_every_layout_streams_through_real_workers(stored: Path, context: str):
    stream = MultiViewStream(MultiView(stored, inputs=2, targets=1))
    loader = DataLoader(stream, batch_size=2, num_workers=2, multiprocessing_context=context)
    assert sorted(name for batch in loader for name in batch["id"]) == IDS


def test_an_epoch_reaches_workers_that_live_on(zips: Dataset):
    samples = MultiView(zips, inputs=2, targets=2)
    loader = DataLoader(
        MultiViewStream(samples), batch_size=None, num_workers=2, persistent_workers=True
    )
    epochs = []
    for epoch in (0, 1, 0):
        loader.dataset.set_epoch(epoch)
        epochs.append([chosen(sample) for sample in loader])
    assert epochs[0] == epochs[2]
    assert sorted(epochs[0]) != sorted(epochs[1])
    assert [asset for asset, *_ in epochs[0]] != [asset for asset, *_ in epochs[1]]


def test_the_order_is_another_each_epoch_and_the_same_for_the_same_seed(zips: Dataset):
    def order(epoch: int, seed: int = 0) -> list[str]:
        stream = MultiViewStream(MultiView(zips, inputs=1, targets=0, seed=seed))
        stream.set_epoch(epoch)
        return [sample["id"] for sample in stream]

    assert order(0) == order(0) != order(1)
    assert order(0) != order(0, seed=1)
    assert order(0) != IDS


def test_a_small_window_keeps_a_shards_assets_together(tmp_path: Path, folders: list[Path]):
    store(folders[:5], tmp_path / "x", "shard")
    for file in (tmp_path / "x").iterdir():
        file.rename(tmp_path / file.name.replace("000000", "000007"))
    store(folders[5:], tmp_path, "shard")
    stream = MultiViewStream(MultiView(tmp_path, inputs=1, targets=0), shuffle=1)
    orders = set()
    for epoch in range(8):
        stream.set_epoch(epoch)
        order = [sample["id"] for sample in stream]
        assert order in (IDS, IDS[5:] + IDS[:5])
        orders.add(tuple(order))
    assert len(orders) == 2


@pytest.mark.parametrize("uneven", ["keep", "drop", "repeat"])
@pytest.mark.parametrize("world", [1, 2, 3, 4, 20])
def test_ranks_get_what_they_were_promised(zips: Dataset, uneven: Any, world: int):
    data = MultiView(zips, inputs=1, targets=0)
    shares = []
    for rank in range(world):
        sampler = RankSampler(data, rank=rank, world_size=world, uneven=uneven)
        share = list(sampler)
        assert len(share) == len(sampler)
        stream = MultiViewStream(data, rank=rank, world_size=world, uneven=uneven)
        assert len(list(stream)) == len(stream) == len(share)
        shares.append(share)
    counts = Counter(index for share in shares for index in share)
    sizes = {len(share) for share in shares}
    if uneven == "keep":
        assert counts == dict.fromkeys(range(len(IDS)), 1)
        assert max(sizes) - min(sizes) <= 1
    elif uneven == "drop":
        assert sizes == {len(IDS) // world}
        assert set(counts.values()) <= {1}
    else:
        assert sizes == {-(-len(IDS) // world)}
        assert set(counts) == set(range(len(IDS)))
        assert max(counts.values()) <= -(-world // len(IDS)) + 1


def test_a_sampler_and_a_loader_give_each_rank_its_samples(zips: Dataset):
    seen: list[str] = []
    for rank in range(2):
        data = MultiView(zips, inputs=1, targets=0)
        sampler = RankSampler(data, rank=rank, world_size=2)
        loader = DataLoader(data, batch_size=3, sampler=sampler, num_workers=2)
        seen += [name for batch in loader for name in batch["id"]]
    assert sorted(seen) == IDS
    assert seen != IDS


RANK = """
import sys, torch.distributed as dist
from objaverse_render_addon.dataset.torch import MultiView, MultiViewStream
dist.init_process_group("gloo")
stream = MultiViewStream(MultiView(sys.argv[1], inputs=1, targets=0))
print(stream.rank, stream.world_size, *[sample["id"] for sample in stream])
dist.destroy_process_group()
"""


def test_a_process_group_says_who_reads_what(zips: Dataset, tmp_path: Path):
    where = str(Path(zips[0].location).parent)
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script), where],
            env=os.environ
            | {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
               "MASTER_PORT": "29517"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    lines = [rank.communicate(timeout=120)[0].split() for rank in ranks]
    assert [line[:2] for line in lines] == [["0", "2"], ["1", "2"]]
    assert sorted(lines[0][2:] + lines[1][2:]) == IDS


def test_a_damaged_asset_stops_the_stream_or_is_skipped_aloud(
    tmp_path: Path, folders: list[Path]
):
    store(folders[:3], tmp_path, "zip")
    (tmp_path / "a01.zip").write_bytes(b"no archive")
    samples = MultiView(tmp_path, inputs=1, targets=0)
    with pytest.raises(RenderError, match=r"a01\.zip"):
        list(MultiViewStream(samples))
    with pytest.warns(RuntimeWarning, match=r"a01\.zip"):
        rest = [sample["id"] for sample in MultiViewStream(samples, skip_damaged=True)]
    assert sorted(rest) == ["a00", "a02"]


def test_a_dataset_can_be_sent_to_another_process(zips: Dataset):
    data = pickle.loads(pickle.dumps(MultiView(zips, inputs=2, targets=1)))
    assert chosen(data[3]) == chosen(MultiView(zips, inputs=2, targets=1)[3])


# --- Documentation and example --------------------------------------------------------------

ROOT = Path(__file__).parent.parent


def test_the_page_about_pytorch_tells_the_truth(
    tmp_path: Path, zips: Dataset, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "data").symlink_to(Path(zips[0].location).parent)
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "pytorch.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(block, names)
    assert names["images"].shape[1:] == (4, 3, 16, 20)
    assert names["poses"].shape[1:] == (4, 4, 4)
    assert names["wanted"].shape[1:] == (2, 3, 16, 20)
    assert sorted(name for batch in names["loader"] for name in batch["id"]) == IDS


def test_the_example_learns_views_that_it_never_saw(tmp_path: Path):
    job = RenderJob(
        cameras=CameraRules(pattern="fibonacci", views=24),
        pixels=Pixels(resolution=(40, 40), passes=("rgb", "depth", "mask")),
    )
    write_asset(tmp_path, job)
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "train_novel_view.py"), str(tmp_path),
         "--out", str(tmp_path / "a.png"), "--steps", "150", "--grid", "32"],
        # Threads that wait for each other are slow where others want the processor too.
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    before, after = map(float, re.findall(r"([\d.]+) dB", done.stdout))
    assert after > before + 4, done.stdout
    from PIL import Image

    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (3 * 40, 4 * 40)
