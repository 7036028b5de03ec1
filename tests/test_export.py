"""What all exports share: choosing, resuming, refusing, telling."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import write_asset
from export_data import NAMES, content, job_of, statuses, three

from objaverse_render_addon.dataset.export import Options, export, export_asset, finish_export
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.errors import InvalidJob, OutputExists, OutputNotWritable


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
when, last, data, out = sys.argv[1:]
commit, count = target.SceneFiles.commit, [0]
def dying(files):
    count[0] += 1
    if count[0] < int(last):
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
    command = [sys.executable, "-c", DIES, when, "2", str(data), str(tmp_path / "out")]
    assert subprocess.run(command, check=False).returncode == 9
    assert not list((tmp_path / "out").rglob("full_list.txt"))
    report = export(data, tmp_path / "out", "lvsm")
    assert statuses(report) == {"chair": "skipped", "lamp": "done", "table": "done"}
    assert content(tmp_path / "out") == expected
    assert not list((tmp_path / "out/.export/parts").iterdir())


def test_no_list_names_a_scene_whose_replacement_was_cut_short(tmp_path: Path, data: Path):
    out = tmp_path / "out"
    export(data, out, "lvsm")
    (data / "lamp.zip").unlink()
    write_asset(data, job_of(views=2), "lamp")
    command = [sys.executable, "-c", DIES, "between", "1", str(data), str(out)]
    assert subprocess.run(command, check=False).returncode == 9
    report = export(data / "chair.zip", out, "lvsm")
    assert report.scenes == 2
    assert "lamp" not in "".join(path.read_text() for path in out.rglob("full_list.txt"))
    assert export(data, out, "lvsm").scenes == 3


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_run_stops_and_can_go_on(tmp_path: Path, data: Path, jobs: int):
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(data, tmp_path / "out", "zero123", jobs=jobs, on_outcome=stop)
    assert not list((tmp_path / "out/.export/parts").iterdir())
    report = export(data, tmp_path / "out", "zero123")
    assert "skipped" in statuses(report).values()
    assert report.scenes == 3


FILLS = """
import resource, sys
from objaverse_render_addon.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
sys.exit(main(["export", sys.argv[1], "--to", "nerfstudio", "--out", sys.argv[2], "--views", "1"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits of file size")
def test_a_disk_that_takes_no_more_is_named_and_leaves_no_half(tmp_path: Path, data: Path):
    command = [sys.executable, "-c", FILLS, str(data), str(tmp_path / "out")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == OutputNotWritable.exit_code, done.stderr
    assert "failed [output-not-writable]" in done.stderr
    assert "chair/depths/000.npy" in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".export", "export.json"}
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


def test_an_export_from_before_an_option_goes_on_with_its_default(tmp_path: Path, data: Path):
    export(data, tmp_path / "out", "lvsm")
    path = tmp_path / "out/.export/header.json"
    header = json.loads(path.read_text())
    for younger in ("alpha", "aesthetic_score"):
        del header["options"][younger]
    path.write_text(json.dumps(header))
    assert statuses(export(data, tmp_path / "out", "lvsm")) == dict.fromkeys(NAMES, "skipped")
    with pytest.raises(OutputExists, match="aesthetic_score None → 6"):
        export(data, tmp_path / "out", "lvsm", Options(aesthetic_score=6.0))


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
     {"views": ()}, {"views": (-1,)}, {"aesthetic_score": float("nan")}],
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
