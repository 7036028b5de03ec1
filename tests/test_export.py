"""What all exports share: choosing, resuming, refusing, telling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from analytic import write_asset

from objaverse_render_addon.cli import main
from objaverse_render_addon.dataset.export import Options, export
from objaverse_render_addon.job import CameraRules, Output, RenderJob


def job_of(views: int = 4, pattern: str = "ring", **output: Any) -> RenderJob:
    chosen = {"resolution": (48, 48), "layout": "zip"} | output
    return RenderJob(
        cameras=CameraRules(pattern=pattern, views=views), output=Output(**chosen)
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three assets."""
    for name in ("chair", "lamp", "table"):
        write_asset(tmp_path / "data", job_of(), name)
    return tmp_path / "data"


def test_a_second_run_skips_what_is_whole_and_says_the_same(tmp_path: Path, data: Path):
    first = export(data, tmp_path / "out", "nerfstudio")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    second = export(data, tmp_path / "out", "nerfstudio")
    assert [outcome.status for outcome in first.outcomes] == ["done"] * 3
    assert [outcome.status for outcome in second.outcomes] == ["skipped"] * 3
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    assert (first.scenes, first.views, first.notes) == (second.scenes, second.views, second.notes)


def test_the_command_exports_and_lists(tmp_path: Path, data: Path, capsys: Any):
    assert main(["export", "--to", "help"]) == 0
    assert "nerfstudio" in capsys.readouterr().out
    assert main(["export", str(data), "--to", "nerfstudio", "--out", str(tmp_path / "o")]) == 0
    said = capsys.readouterr().out
    assert "3 scenes, 12 views (3 done)" in said
    assert "rescaled: depth" in said
    report = json.loads((tmp_path / "o/export.json").read_text())
    assert report["scenes"] == 3
    assert report["options"] == Options().to_dict()
