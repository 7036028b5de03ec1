"""The example that trains a field on what was rendered, as a user runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from analytic import write_asset
from gallery_data import job_of

from objaverse_render_addon.splats.field import read_field

pytest.importorskip("torch", reason="NOT TESTED: torch is not installed")

ROOT = Path(__file__).parents[2]


def trained(data: Path, field: Path, *arguments: str) -> float:
    """Run the example; the decibels that it tells of the views it held out."""
    found = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "train_splats.py"), str(data), "-o", str(field),
         *arguments],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    told = re.search(r": ([\d.]+) dB on (\d+) held-out views", found.stdout)
    assert told, found.stdout
    return float(told[1])


def test_a_few_steps_are_better_than_none(tmp_path: Path) -> None:
    write_asset(tmp_path / "data", job_of(views=10, size=(32, 28)), "thing")
    field = tmp_path / "thing.ply"
    sizes = "--gaussians", "150"
    before = trained(tmp_path / "data", field, *sizes, "--steps", "0")
    after = trained(tmp_path / "data", field, *sizes, "--steps", "40")
    assert after > before + 1
    read = read_field(field)
    assert len(read) > 50 and np.isfinite(read.means).all()


@pytest.mark.long
def test_forty_views_are_learnt_in_a_minute(tmp_path: Path) -> None:
    pytest.importorskip("bpy", reason="NOT TESTED: bpy is not installed")
    rocket = tmp_path / "rocket.glb"
    subprocess.run([sys.executable, ROOT / "examples/make_sample.py", rocket], check=True)
    subprocess.run(
        [sys.executable, "-m", "objaverse_render_addon.cli", "render", str(rocket), "--out",
         str(tmp_path / "data"), "--views", "40", "--cameras", "fibonacci", "--resolution", "64"],
        check=True,
    )  # fmt: skip
    assert trained(tmp_path / "data", tmp_path / "rocket.ply") >= 25
