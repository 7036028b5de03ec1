"""Odd and hostile datasets: an export fails by name, or tells what it changed."""

from __future__ import annotations

import copy
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import write_asset
from export_data import job_of, rewrite, three
from jobs import written

from objaverse_render_addon.dataset.export import FORMATS, export
from objaverse_render_addon.dataset.export.bop_scenes import BopScenes
from objaverse_render_addon.dataset.export.composed import ComposedFormat
from objaverse_render_addon.errors import (
    CheckFailed,
    DuplicateAsset,
    InvalidJob,
    MissingDependency,
    OutputNotWritable,
    TruncatedFile,
    UnsafeData,
)
from objaverse_render_addon.job import CameraRules, RenderJob, TimeRules
from objaverse_render_addon.passspec import DEFAULT_PASSES, MOVING


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three(tmp_path_factory.mktemp("original"))


@pytest.fixture
def data(tmp_path: Path, original: Path) -> Path:
    """Three assets, for the test to spoil."""
    return Path(shutil.copytree(original, tmp_path / "data"))


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

    def written_as(kind: str, times: Any = (None,), **rules: Any) -> tuple[Path, ...]:
        def job(views: int) -> RenderJob:
            moves = times != (None,)
            passes = (*DEFAULT_PASSES, *MOVING) if moves else DEFAULT_PASSES
            return RenderJob(
                cameras=CameraRules(pattern="ring", views=views, **rules),
                time=TimeRules(frames="all") if moves else TimeRules(),
                **written(resolution=(48, 48), layout="zip", tracks=16, passes=passes),
            )

        return (
            write_asset(tmp_path / f"{kind}-one", job(1), "one", times=times),
            write_asset(tmp_path / f"{kind}-none", job(2), "none", change=emptied, times=times),
        )

    still = written_as("still")
    flat = written_as("flat", projection="orthographic")
    moving = written_as("moving", times=(1, 5))
    for name, form in sorted(FORMATS.items()):
        if any(importlib.util.find_spec(module) is None for module in form.modules):
            continue
        if isinstance(form, (ComposedFormat, BopScenes)):
            continue  # Of scenes with sentences, which these are not.
        assets = still if "perspective" in form.projections else flat
        # What stands still has no flow.
        needs_flow = "flow_forward" in form.needs
        for asset in (() if needs_flow else assets) + (moving if form.has_time else ()):
            report = export(asset, tmp_path / f"{asset.parent.stem}-{name}", name)
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
        (lambda r: r["views"][1]["camera_to_world"][0].__setitem__(3, float("nan")), TruncatedFile),
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


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_not_handed_on(tmp_path: Path, value: float):
    def spoil(frames: Any, _: Any) -> None:
        frames[1].passes["depth"][3, 3] = value

    asset = write_asset(tmp_path / "data", job_of(), "lamp", change=spoil)
    report = export(asset, tmp_path / "out", "nerfstudio")
    assert [type(outcome.error) for outcome in report.failed] == [CheckFailed]
    assert "depth of view 1 is not finite" in str(report.failed[0].error)


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
