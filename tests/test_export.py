"""What all exports share: choosing, resuming, refusing, telling."""

from __future__ import annotations

import copy
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import write_asset
from export_data import NAMES, content, job_of, rewrite, statuses, three

from objaverse_render_addon.dataset.export import (
    FORMATS,
    Options,
    export,
    export_asset,
    finish_export,
)
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.errors import (
    CheckFailed,
    DuplicateAsset,
    InvalidJob,
    MissingDependency,
    OutputExists,
    OutputNotWritable,
    TruncatedFile,
    UnsafeData,
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three(tmp_path_factory.mktemp("original"))


@pytest.fixture
def data(tmp_path: Path, original: Path) -> Path:
    """Three assets, for the test to spoil."""
    return Path(shutil.copytree(original, tmp_path / "data"))


# --- Going on -------------------------------------------------------------------------------


def test_a_second_run_skips_what_is_whole_and_says_the_same(tmp_path: Path, data: Path):
    first = export(data, tmp_path / "out", "nerfstudio")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    second = export(data, tmp_path / "out", "nerfstudio")
    assert statuses(first) == dict.fromkeys(NAMES, "done")
    assert statuses(second) == dict.fromkeys(NAMES, "skipped")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    assert (first.scenes, first.views, first.notes) == (second.scenes, second.views, second.notes)


@pytest.mark.parametrize("spoil", ["missing", "shorter"])
def test_a_scene_that_lost_a_file_is_written_again(tmp_path: Path, data: Path, spoil: str):
    export(data, tmp_path / "out", "gs-lrm")
    before = content(tmp_path / "out")
    picture = tmp_path / "out/lamp/images/cam_002.png"
    if spoil == "missing":
        picture.unlink()
    else:
        picture.write_bytes(picture.read_bytes()[:-1])
    report = export(data, tmp_path / "out", "gs-lrm")
    assert statuses(report) == {"chair": "skipped", "lamp": "done", "table": "skipped"}
    assert content(tmp_path / "out") == before


def test_lists_grow_and_lose_nothing(tmp_path: Path, data: Path):
    later = tmp_path / "later"
    later.mkdir()
    (data / "lamp.zip").rename(later / "lamp.zip")
    options = Options(split=(1, 0, 0))
    export(data, tmp_path / "out", "gs-lrm", options)
    report = export(later, tmp_path / "out", "gs-lrm", options)
    lines = (tmp_path / "out/train.txt").read_text().splitlines()
    assert [Path(line).name for line in lines] == sorted(NAMES)
    assert (report.scenes, report.views, len(report.outcomes)) == (3, 12, 1)
    export(later, tmp_path / "once", "gs-lrm", options)
    assert len((tmp_path / "once/train.txt").read_text().splitlines()) == 1


DIES = """
import os, sys
from objaverse_render_addon.dataset.export import export
from objaverse_render_addon.dataset.export import target
when, data, out = sys.argv[1:]
commit, count = target.SceneFiles.commit, [0]
def dying(files):
    count[0] += 1
    if count[0] < 2:
        return commit(files)
    if when == "after":
        commit(files)
    if when == "between":
        files._places = files._places[:1]
        commit(files)
    os._exit(9)
target.SceneFiles.commit = dying
export(data, out, "lvsm")
"""


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_a_killed_run_leaves_whole_scenes_and_can_go_on(tmp_path: Path, data: Path, when: str):
    export(data, tmp_path / "out", "lvsm")
    expected = content(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    command = [sys.executable, "-c", DIES, when, str(data), str(tmp_path / "out")]
    assert subprocess.run(command, check=False).returncode == 9
    assert not list((tmp_path / "out").rglob("full_list.txt"))
    report = export(data, tmp_path / "out", "lvsm")
    assert statuses(report) == {"chair": "skipped", "lamp": "done", "table": "done"}
    assert content(tmp_path / "out") == expected
    assert not list((tmp_path / "out/.export/parts").iterdir())


def test_an_asset_that_was_rendered_again_is_exported_again(tmp_path: Path, data: Path):
    export(data, tmp_path / "out", "nerfstudio")
    (data / "chair.zip").unlink()
    write_asset(data, job_of(views=2), "chair")
    report = export(data, tmp_path / "out", "nerfstudio")
    assert statuses(report) == {"chair": "done", "lamp": "skipped", "table": "skipped"}
    assert len(list((tmp_path / "out/chair/images").iterdir())) == 2
    assert report.views == 10


def test_overwrite_writes_again_what_is_whole(tmp_path: Path, data: Path):
    export(data, tmp_path / "out", "zero123")
    before = content(tmp_path / "out")
    report = export(data, tmp_path / "out", "zero123", overwrite=True)
    assert statuses(report) == dict.fromkeys(NAMES, "done")
    assert content(tmp_path / "out") == before


def test_other_options_or_another_format_want_another_folder(tmp_path: Path, data: Path):
    export(data, tmp_path / "out", "lvsm")
    with pytest.raises(OutputExists, match="seed 0 → 1"):
        export(data, tmp_path / "out", "lvsm", Options(seed=1))
    with pytest.raises(OutputExists, match="format lvsm → gs-lrm"):
        export(data, tmp_path / "out", "gs-lrm")


def test_a_moved_target_gets_its_absolute_paths_anew(tmp_path: Path, data: Path):
    export(data, tmp_path / "out", "lvsm", Options(split=(1, 0, 0)))
    (tmp_path / "out").rename(tmp_path / "moved")
    export(data, tmp_path / "moved", "lvsm", Options(split=(1, 0, 0)))
    for line in (tmp_path / "moved/train/full_list.txt").read_text().splitlines():
        for frame in json.loads(Path(line).read_text())["frames"]:
            assert Path(frame["image_path"]).is_relative_to(tmp_path / "moved")


def test_several_jobs_make_the_same_files_as_one(tmp_path: Path, data: Path):
    export(data, tmp_path / "one", "nerfstudio")
    report = export(data, tmp_path / "four", "nerfstudio", jobs=4)
    assert statuses(report) == dict.fromkeys(NAMES, "done")
    expected, found = content(tmp_path / "one"), content(tmp_path / "four")
    assert {k: v for k, v in found.items() if k != "export.json"} == {
        k: v for k, v in expected.items() if k != "export.json"
    }


def test_one_asset_at_a_time_makes_the_same_as_all_at_once(tmp_path: Path, data: Path):
    export(data, tmp_path / "all", "openlrm")
    for name in NAMES:
        with AssetReader(data / f"{name}.zip") as reader:
            assert export_asset(reader, tmp_path / "each", "openlrm").status == "done"
            assert export_asset(reader, tmp_path / "each", "openlrm").status == "skipped"
    report = finish_export(tmp_path / "each", "openlrm")
    assert report.scenes == 3
    assert content(tmp_path / "each") == {
        name: data.replace(b"/all", b"/each") for name, data in content(tmp_path / "all").items()
    }


@pytest.mark.parametrize("layout", ["folder", "tar", "webdataset"])
def test_every_layout_exports_to_the_same_files(tmp_path: Path, data: Path, layout: str):
    for name in NAMES:
        write_asset(tmp_path / layout, job_of(layout=layout), name)
    export(data, tmp_path / "expected", "zero123")
    export(tmp_path / layout, tmp_path / "found", "zero123")
    expected, found = content(tmp_path / "expected"), content(tmp_path / "found")
    assert len(expected) == 3 * 4 * 2 + 3
    changed = {name for name in expected | found if expected.get(name) != found.get(name)}
    assert changed <= {"export.json"}


def test_a_dataset_behind_an_address_is_exported(tmp_path: Path, data: Path):
    pytest.importorskip("fsspec")
    report = export(f"file://{data}", tmp_path / "out", "lvsm")
    assert statuses(report) == dict.fromkeys(NAMES, "done")


# --- Choosing -------------------------------------------------------------------------------


def test_chosen_views_keep_their_numbers_or_are_counted_anew_out_loud(tmp_path: Path, data: Path):
    options = Options(views=(1, 3))
    kept = export(data, tmp_path / "kept", "nerfstudio", options)
    names = {path.name for path in (tmp_path / "kept/chair/images").iterdir()}
    assert names == {"001.png", "003.png"}
    assert not any(note["kind"] == "renamed" for note in kept.notes)
    anew = export(data, tmp_path / "anew", "zero123", options)
    (note,) = [note for note in anew.notes if note["kind"] == "renamed"]
    assert (note["amount"], note["scenes"], note["examples"]) == (6, 3, list(NAMES))
    names = {path.name for path in (tmp_path / "anew/chair").iterdir()}
    assert names == {"000.png", "000.npy", "001.png", "001.npy"}
    with AssetReader(data / "chair.zip") as reader:
        pose = reader.view(3).camera.world_to_camera[:3]
    assert np.allclose(np.load(tmp_path / "anew/chair/001.npy")[:, :3], pose[:, :3])


def test_a_view_that_no_asset_has_is_refused_by_name(tmp_path: Path, data: Path):
    report = export(data, tmp_path / "out", "lvsm", Options(views=(0, 4)))
    assert {type(outcome.error) for outcome in report.failed} == {InvalidJob}
    assert "has 4 views, view 4 is asked for" in str(report.failed[0].error)


@pytest.mark.parametrize(
    "values",
    [{"split": (0.5, 0.5, 0.5)}, {"split": (1.5, -0.5, 0)}, {"background": (2, 0, 0)},
     {"views": ()}, {"views": (-1,)}],
)  # fmt: skip
def test_impossible_options_are_refused(values: dict[str, Any]):
    with pytest.raises(InvalidJob):
        Options(**values)


def test_the_split_depends_on_seed_and_id_alone_and_keeps_its_shares():
    options = Options(split=(0.7, 0.2, 0.1), seed=3)
    splits = [options.split_of(f"asset{number}") for number in range(5000)]
    shares = [splits.count(name) / 5000 for name in ("train", "val", "test")]
    assert np.abs(np.subtract(shares, options.split)).max() < 0.02
    assert splits == [options.split_of(f"asset{number}") for number in range(5000)]
    other = [Options(split=options.split, seed=4).split_of(f"asset{n}") for n in range(5000)]
    assert 0.3 < np.mean([a == b for a, b in zip(splits, other, strict=True)]) < 0.7


@pytest.mark.parametrize("count", [1, 2, 3, 10, 32])
def test_views_are_split_without_loss(count: int):
    parts = Options().split_views("chair", count)
    assert sorted(parts["train"] + parts["val"] + parts["test"]) == list(range(count))
    assert parts["train"]
    assert all(parts.values()) == (count >= 3)


# --- Odd and hostile ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../up", "a b", "stuhl.grün", ".hidden", "x" * 300, "a\nb", "…"])
def test_odd_ids_become_safe_names(name: str):
    key = FORMATS["nerfstudio"].key(name, {})
    assert key.replace("-", "_").isidentifier() or key[0].isdigit()
    assert len(key) < 130
    assert key != FORMATS["nerfstudio"].key(f"{name}!", {})


def test_an_asset_with_an_odd_name_is_exported_and_told(tmp_path: Path, data: Path):
    (data / "chair.zip").rename(data / "ein Stuhl (2).zip")
    report = export(data, tmp_path / "out", "nerfstudio")
    assert report.failed == []
    assert [note["examples"] for note in report.notes if note["kind"] == "renamed"] == [
        ["ein Stuhl (2)"]
    ]
    key = json.loads((tmp_path / "out/export.json").read_text())["assets"]["ein Stuhl (2)"]["key"]
    assert (tmp_path / "out" / key / "transforms.json").is_file()


def test_two_assets_of_one_name_are_refused(tmp_path: Path, data: Path):
    write_asset(data, job_of(layout="folder"), "chair")
    report = export(data, tmp_path / "out", "nerfstudio")
    assert [type(outcome.error) for outcome in report.failed] == [DuplicateAsset]
    other = tmp_path / "other"
    write_asset(other, job_of(), "lamp", change=lambda _, record: record.update(sha256="1" * 64))
    report = export(other, tmp_path / "out", "nerfstudio")
    assert [type(outcome.error) for outcome in report.failed] == [DuplicateAsset]


def test_two_assets_of_one_file_are_refused_where_the_file_names_them(tmp_path: Path, data: Path):
    report = export(data, tmp_path / "out", "trellis")
    assert [type(outcome.error) for outcome in report.failed] == [DuplicateAsset] * 2


def test_one_view_and_no_foreground_are_exported(tmp_path: Path):
    def emptied(frames: Any, _: Any) -> None:
        for frame in frames:
            for data in frame.passes.values():
                data[...] = 0

    one = write_asset(tmp_path / "one", job_of(views=1), "one")
    none = write_asset(tmp_path / "none", job_of(views=2), "none", change=emptied)
    for name in sorted(FORMATS):
        if any(importlib.util.find_spec(module) is None for module in FORMATS[name].modules):
            continue
        for asset in (one, none):
            report = export(asset, tmp_path / f"{asset.stem}-{name}", name)
            assert [str(outcome.error) for outcome in report.failed] == [], name
            assert report.scenes == 1


def test_a_thousand_views_are_exported_in_order(tmp_path: Path):
    asset = write_asset(tmp_path / "data", job_of(), "many")

    def many(record: dict[str, Any]) -> None:
        views = [copy.deepcopy(record["views"][index % 4]) for index in range(1002)]
        for index, view in enumerate(views):
            view["index"] = index
            view["camera_to_world"][2][3] = index / 1000
        record["views"] = views

    rewrite(asset, many)
    export(asset, tmp_path / "out", "gs-lrm")
    frames = json.loads((tmp_path / "out/many/opencv_cameras.json").read_text())["frames"]
    assert [frame["file_path"] for frame in frames][::1001] == [
        "images/cam_000.png",
        "images/cam_1001.png",
    ]
    heights = [np.linalg.inv(np.array(frame["w2c"]))[2, 3] for frame in frames]
    assert np.allclose(heights, np.arange(1002) / 1000)
    assert len(list((tmp_path / "out/many/images").iterdir())) == 1002


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda r: r["views"][1].update(index=0), CheckFailed),
        (lambda r: r["views"][1].update(index="../../x"), CheckFailed),
        (lambda r: r["views"][1].update(index=10**9), CheckFailed),
        (lambda r: r["views"][1].update(width=47), CheckFailed),
        (lambda r: r["views"][1].update(image="../000.png"), UnsafeData),
        (lambda r: r["views"][1].update(depth="001_normal.npy"), CheckFailed),
        (lambda r: r["views"][1]["camera_to_world"][0].__setitem__(3, float("nan")), CheckFailed),
        (lambda r: r["views"][1].pop("intrinsics"), TruncatedFile),
        (lambda r: r.pop("render_settings"), TruncatedFile),
        (lambda r: r.update(views=[]), CheckFailed),
    ],
)
def test_metadata_that_lie_fail_that_asset_alone(
    tmp_path: Path, data: Path, change: Any, error: type
):
    rewrite(data / "lamp.zip", change)
    report = export(data, tmp_path / "out", "nerfstudio")
    assert {o.asset: type(o.error) for o in report.failed} == {"lamp": error}
    assert not (tmp_path / "out/lamp").exists()
    assert not list((tmp_path / "out/.export/parts").iterdir())
    assert report.scenes == 2


def damaged_png(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(
    "spoil", [damaged_png, lambda data: data[:-30], lambda data: b"<html>", lambda data: data[:9]]
)
@pytest.mark.parametrize("to", ["nerfstudio", "lvsm", "zero123"])
def test_a_damaged_picture_is_not_handed_on(tmp_path: Path, spoil: Any, to: str):
    asset = write_asset(tmp_path / "data", job_of(layout="folder"), "lamp")
    picture = asset / "002.png"
    picture.write_bytes(spoil(picture.read_bytes()))
    report = export(asset, tmp_path / "out", to)
    assert [type(outcome.error) for outcome in report.failed] == [TruncatedFile]
    assert "002.png" in str(report.failed[0].error)


def test_a_truncated_archive_fails_that_asset_alone(tmp_path: Path, data: Path):
    whole = (data / "lamp.zip").read_bytes()
    (data / "lamp.zip").write_bytes(whole[: len(whole) // 2])
    report = export(data, tmp_path / "out", "nerfstudio")
    assert {o.asset: type(o.error) for o in report.failed} == {"lamp": TruncatedFile}
    assert report.scenes == 2


def test_a_target_that_is_a_file_is_refused(tmp_path: Path, data: Path):
    (tmp_path / "out").write_text("here first")
    with pytest.raises(OutputNotWritable, match="out"):
        export(data, tmp_path / "out", "nerfstudio")
    assert (tmp_path / "out").read_text() == "here first"


def test_an_unknown_format_names_the_known(tmp_path: Path, data: Path):
    with pytest.raises(InvalidJob, match=r"Formats: .*nerfstudio"):
        export(data, tmp_path / "out", "nerfstudoi")


@pytest.mark.skipif("torch" in sys.modules, reason="torch is here")
def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(FORMATS["depthsplat"], "modules", ("no_such_package",))
    with pytest.raises(MissingDependency, match=r"objaverse-render-addon\[torch\]"):
        export(data, tmp_path / "out", "depthsplat")
    assert not (tmp_path / "out").exists()
