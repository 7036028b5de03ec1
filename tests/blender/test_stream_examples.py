"""The examples that blendtorch's became, as a user runs them, but for how long."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


def run(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *arguments], capture_output=True, text=True,
        timeout=900, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.long
def test_a_detector_learns_from_a_stream_and_shows_its_boxes(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "boxes.png"
    said = run("detect_boxes.py", "--out", str(path), "--pictures", "320")
    hits, total = map(int, re.findall(r"(\d+) of (\d+) boxes", said)[0])
    assert 0 <= hits <= total and total > 100
    # The true boxes' green, whatever was found.
    shown = pixels(path)
    assert (np.abs(shown - (0, 255, 0)).max(axis=2) == 0).sum() > 1000


@pytest.mark.long
def test_a_density_is_optimised_towards_that_of_the_pictures(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "density.png"
    said = run("density_optimisation.py", "--out", str(path), "--steps", "40", "--batch", "12")
    off = [float(number) for number in re.findall(r"off by (\S+) and (\S+);", said)[0]]
    # They begin 0.9 off each, and some of the way is made by then.
    assert max(off) < 0.9 and min(off) < 0.75
    assert np.ptp(pixels(path)) > 200


@pytest.mark.long
def test_a_pole_is_balanced_for_longer_the_longer_it_learns(tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    said = run("control.py", str(tmp_path), "--steps", "20000")
    told = [float(number) for number in re.findall(r"episodes took (\d+) steps each", said)]
    assert len(told) >= 5 and told[-1] > 2 * told[0]
    assert np.ptp(pixels(tmp_path / "curve.png")) > 100
    with Image.open(tmp_path / "pole.gif") as film:
        assert getattr(film, "n_frames", 1) > 1
