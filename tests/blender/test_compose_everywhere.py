"""Composed scenes on every Python and Blender that stands beside this one are the same."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("rapier3d")

ROOT = Path(__file__).parents[2]
BESIDE = [
    python
    for python in sorted(Path(sys.prefix).parent.glob(".venv*/bin/python"))
    if python.parent.parent != Path(sys.prefix)
]
_VERSIONS = """
import json
from importlib.metadata import version
print(json.dumps([version("bpy"), version("mujoco"), version("rapier3d")]))
"""
_MAKE = """
import sys
from pathlib import Path
from objaverse_render_addon.compose.make import scene_file
from objaverse_render_addon.compose.rules import Rules
rules = Rules(seed=21, images=1)
for index in range(3):
    scene_file(rules, index, Path(sys.argv[1]))
"""
_RENDER = """
import sys
from objaverse_render_addon.batch.compose import job_for
from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.run import render
job = job_for({
    "pixels.resolution": (96, 96),
    "pixels.passes": ("depth", "normal", "mask", "instance_index", "semantic_index", "albedo"),
})
options = RunOptions.of(workers=1, sandbox="off", timeout=300)
report = render([sys.argv[1]], job, sys.argv[2], options)
assert report.ok, report.results[0].error
"""


def run(python, code, *arguments):
    done = subprocess.run(
        [python, "-c", code, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def versions_of(python):
    done = subprocess.run([python, "-c", _VERSIONS], capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else None


@pytest.fixture(scope="module")
def others():
    """Pythons with Blender and the same engines, one of each version."""
    mine = versions_of(sys.executable)
    found = {}
    for python in BESIDE:
        said = versions_of(python)
        if said is not None and said[1:3] == mine[1:3] and said[0] != mine[0]:
            found.setdefault(said[0], python)
    if not found:
        pytest.skip("no other environment with Blender and the same engines stands beside this one")
    return found


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    run(sys.executable, _MAKE, folder)
    return folder


@pytest.mark.long
def test_scenes_settle_to_the_same_bytes(others, scenes, tmp_path):
    for version, python in others.items():
        folder = tmp_path / version
        folder.mkdir()
        run(python, _MAKE, folder)
        for path in scenes.glob("*.scene"):
            assert (folder / path.name).read_bytes() == path.read_bytes(), (version, path.name)


@pytest.mark.long
def test_the_file_alone_makes_the_same_geometry(others, scenes, tmp_path):
    path = scenes / "scene-000001.scene"
    run(sys.executable, _RENDER, path, tmp_path / "here")
    mine = tmp_path / "here" / path.stem
    for version, python in others.items():
        run(python, _RENDER, path, tmp_path / version)
        theirs = tmp_path / version / path.stem
        ids, other = (np.load(one / "000_instance_index.npy") for one in (mine, theirs))
        # Rounding of single precision decides a pixel on an edge.
        assert (ids != other).sum() <= 2, version
        same = ids == other
        for name, most in (("depth", 1e-4), ("normal", 1e-2)):
            one, two = (np.load(unit / f"000_{name}.npy") for unit in (mine, theirs))
            error = np.abs(one - two)[same]
            assert np.quantile(error, 0.999) < most, (version, name)
