"""WebDataset shards, read by the library itself and by tarfile."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exporting import emptied, exported, notes, seen_points, stored
from PIL import Image

from objaverse_render_addon.dataset.export import Options, export
from objaverse_render_addon.dataset.export import webdataset as module
from objaverse_render_addon.errors import OutputNotWritable
from objaverse_render_addon.job import STILL_PASSES

ALL = (1.0, 0.0, 0.0)


def samples(*shards: Path) -> dict[str, dict[str, bytes]]:
    """Key to extension to bytes, in order; neighbours with one key are one sample."""
    found: dict[str, dict[str, bytes]] = {}
    last = None
    for shard in shards:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                key, _, extension = member.name.partition(".")
                # A sample whose files are apart would be two.
                assert key == last or key not in found
                last = key
                assert extension not in found.setdefault(key, {})
                found[key][extension] = archive.extractfile(member).read()
    return found


def shards(out: Path, split: str = "train") -> list[Path]:
    return sorted(out.glob(f"{split}-*.tar"))


def rendered_again(folder: Path, name: str, views: int) -> None:
    shutil.rmtree(folder / name)
    stored(folder, name, views=views)


def test_everything_that_is_stored_comes_back(tmp_path: Path):
    readers = {name: stored(tmp_path / "data", name) for name in ("lamp", "chair")}
    out, _ = exported(tmp_path, "webdataset", split=ALL)
    found = samples(*shards(out))
    assert list(found) == [f"{name}-{view:03d}" for name in ("chair", "lamp") for view in range(4)]
    for key, files in found.items():
        name, _, number = key.rpartition("-")
        reader, view = readers[name], int(number)
        assert sorted(files) == ["json", "mask.png", "npz", "png"]
        arrays = reader.read(view)
        assert files["png"] == reader.bytes_of(f"{view:03d}.png")
        with Image.open(io.BytesIO(files["mask.png"])) as image:
            assert np.array_equal(np.asarray(image), arrays["mask"] * 255)
        packed = np.load(io.BytesIO(files["npz"]))
        assert sorted(packed) == sorted(set(STILL_PASSES) - {"rgb", "mask"})
        for pass_name in packed:
            assert packed[pass_name].dtype == arrays[pass_name].dtype
            assert (packed[pass_name] == arrays[pass_name]).all()
        said = json.loads(files["json"])
        assert (said["asset_id"], said["view"], said["normal_space"]) == (name, view, "camera")


def test_surface_points_project_to_the_pixels_that_show_them(tmp_path: Path):
    reader = stored(tmp_path / "data", cameras={"shift": (0.1, -0.1), "pixel_aspect": 0.8})
    out, _ = exported(tmp_path, "webdataset", split=ALL)
    for view, files in enumerate(samples(*shards(out)).values()):
        said = json.loads(files["json"])
        points, centres = seen_points(reader, view)
        k = np.array(said["intrinsics"])
        matrix = np.array(said["world_to_camera_opencv"])
        local = points @ matrix[:3, :3].T + matrix[:3, 3]
        uv = (local @ k.T)[:, :2] / local[:, 2:]
        assert np.abs(uv - centres).max() < 2e-3
        pose = np.array(said["camera_to_world"])
        local = (points - pose[:3, 3]) @ pose[:3, :3] * [1, -1, -1]
        assert np.abs((local @ k.T)[:, :2] / local[:, 2:] - centres).max() < 2e-3


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_library_decodes_it_without_a_decoder_of_ours(tmp_path: Path):
    wds = pytest.importorskip("webdataset", reason="webdataset is not installed")
    readers = {name: stored(tmp_path / "data", name, change=emptied(1)) for name in "ab"}
    out, report = exported(tmp_path, "webdataset", split=ALL)
    loaded = wds.WebDataset([str(path) for path in shards(out)], shardshuffle=False)
    found = list(loaded.decode("rgba8"))
    assert [sample["__key__"] for sample in found] == [f"{n}-{v:03d}" for n in "ab"
                                                       for v in range(4)]  # fmt: skip
    for sample in found:
        name, _, number = sample["__key__"].partition("-")
        arrays = readers[name].read(int(number))
        assert np.array_equal(sample["png"], arrays["rgb"])
        assert (sample["npz"]["depth"] == arrays["depth"]).all()
        assert sample["json"]["intrinsics"][2] == [0, 0, 1]
    # The trap that is told: without alpha, what is not object is black by accident.
    (blind, *_) = wds.WebDataset(str(shards(out)[0]), shardshuffle=False).decode("pilrgb")
    assert blind["png"].mode == "RGB"
    assert "pilrgb" in notes(report, "dropped")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_more_workers_than_shards_are_refused_and_the_report_says_how_many_there_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wds = pytest.importorskip("webdataset", reason="webdataset is not installed")
    monkeypatch.setattr(module, "LARGEST_SHARD", 150_000)
    for name in "abc":
        stored(tmp_path / "data", name, views=5)
    out, report = exported(tmp_path, "webdataset", split=ALL)
    (most,) = [n["amount"] for n in report.notes if "loading workers" in n["text"]]
    urls = [str(path) for path in shards(out)]
    assert most == len(urls) >= 3

    def loaded(workers: int) -> list[str]:
        keys = []
        for worker in range(workers):
            monkeypatch.setenv("WORKER", str(worker))
            monkeypatch.setenv("NUM_WORKERS", str(workers))
            keys += [sample["__key__"] for sample in wds.WebDataset(urls, shardshuffle=False)]
        return sorted(keys)

    assert loaded(most) == [f"{name}-{view:03d}" for name in "abc" for view in range(5)]
    with pytest.raises(ValueError, match="fewer shards than workers"):
        loaded(most + 1)


def test_a_shard_is_not_larger_than_its_bound_and_holds_views_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "LARGEST_SHARD", 150_000)
    for name in "abc":
        stored(tmp_path / "data", name, views=5)
    out, _ = exported(tmp_path, "webdataset", split=ALL)
    paths = shards(out)
    assert len(paths) > 3
    assert [path.name for path in paths] == [f"train-{n:06d}.tar" for n in range(len(paths))]
    assert max(path.stat().st_size for path in paths) <= 150_000 + 1024
    assert list(samples(*paths)) == [f"{name}-{view:03d}" for name in "abc" for view in range(5)]
    listed = json.loads((out / "shards.json").read_text())
    assert listed["samples"] == {"train": 15, "val": 0, "test": 0}
    assert [shard["samples"] for shard in listed["shards"].values()] == [
        len(samples(path)) for path in paths
    ]
    _, report = exported(tmp_path, "webdataset", split=ALL)
    assert [outcome.status for outcome in report.outcomes] == ["skipped"] * 3
    assert shards(out) == paths


def test_assets_that_come_later_join_and_those_rendered_again_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "LARGEST_SHARD", 200_000)
    data = tmp_path / "data"
    for name in "bd":
        stored(data, name)
    exported(tmp_path, "webdataset", split=ALL)
    for name in "ac":
        stored(data, name)
    out, report = exported(tmp_path, "webdataset", split=ALL)
    assert [o.status for o in report.outcomes] == ["done", "skipped", "done", "skipped"]
    assert sorted(samples(*shards(out))) == [f"{n}-{v:03d}" for n in "abcd" for v in range(4)]
    rendered_again(data, "b", 2)
    out, report = exported(tmp_path, "webdataset", split=ALL)
    assert [o.status for o in report.outcomes] == ["skipped", "done", "skipped", "skipped"]
    keys = sorted(samples(*shards(out)))
    assert keys == [f"{n}-{v:03d}" for n in "abcd" for v in range(2 if n == "b" else 4)]
    assert not list(out.glob(".*part*"))


def test_a_run_that_stopped_before_its_end_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "LARGEST_SHARD", 100_000)
    for name in "abc":
        stored(tmp_path / "data", name)
    exported(tmp_path, "webdataset", split=ALL)
    rendered_again(tmp_path / "data", "b", 3)
    real = module._write_shard
    calls: list[Path] = []

    def stop(path: Path, group: Any) -> Any:
        calls.append(path)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return real(path, group)

    monkeypatch.setattr(module, "_write_shard", stop)
    with pytest.raises(KeyboardInterrupt):
        exported(tmp_path, "webdataset", split=ALL)
    monkeypatch.setattr(module, "_write_shard", real)
    out, report = exported(tmp_path, "webdataset", split=ALL)
    assert [outcome.status for outcome in report.outcomes] == ["skipped"] * 3
    listed = json.loads((out / "shards.json").read_text())["shards"]
    assert sorted(listed) == [path.name for path in shards(out)]
    keys = sorted(samples(*shards(out)))
    assert keys == [f"{n}-{v:03d}" for n in "abc" for v in range(3 if n == "b" else 4)]


def test_a_lost_or_cut_shard_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LARGEST_SHARD", 100_000)
    for name in "abc":
        stored(tmp_path / "data", name)
    out, _ = exported(tmp_path, "webdataset", split=ALL)
    first, *_, last = shards(out)
    first.unlink()
    last.write_bytes(last.read_bytes()[:-2000])
    _, report = exported(tmp_path, "webdataset", split=ALL)
    assert [outcome.status for outcome in report.outcomes] == ["done", "skipped", "done"]
    assert sorted(samples(*shards(out))) == [f"{n}-{v:03d}" for n in "abc" for v in range(4)]


def test_a_broken_list_of_shards_is_no_reason_to_guess(tmp_path: Path):
    stored(tmp_path / "data")
    out, _ = exported(tmp_path, "webdataset", split=ALL)
    whole = shards(out)[0].read_bytes()
    (out / "shards.json").write_text('{"shards": {"train-000000.tar": [1]}}')
    for _ in range(2):
        with pytest.raises(OutputNotWritable, match=r"shards\.json"):
            export(tmp_path / "data", out, "webdataset", Options(split=ALL))
        # Neither broken nor gone: shards that nobody knows of are not thrown away.
        assert shards(out)[0].read_bytes() == whole
        (out / "shards.json").unlink(missing_ok=True)


def test_splits_are_shards_of_their_own(tmp_path: Path):
    for number in range(12):
        stored(tmp_path / "data", f"t{number}", views=1, resolution=(16, 16))
    out, report = exported(tmp_path, "webdataset", split=(0.4, 0.3, 0.3))
    for split, count in report.splits.items():
        assert len(samples(*shards(out, split))) == count
    assert sum(report.splits.values()) == 12


def test_a_strange_id_makes_a_key_without_dots(tmp_path: Path):
    stored(tmp_path / "data", "a.b c [1].v2", views=1)
    out, report = exported(tmp_path, "webdataset", split=ALL)
    ((key, files),) = samples(*shards(out)).items()
    assert sorted(files) == ["json", "mask.png", "npz", "png"]
    assert not set(key) & set(". []/")
    assert json.loads(files["json"])["asset_id"] == "a.b c [1].v2"
    assert "another name" in notes(report, "renamed")


def test_the_same_data_make_the_same_shards(tmp_path: Path):
    stored(tmp_path / "data")
    contents = []
    for name in ("one", "two"):
        export(tmp_path / "data", tmp_path / name, "webdataset", Options(split=ALL))
        contents.append((tmp_path / name / "train-000000.tar").read_bytes())
    assert contents[0] == contents[1]
