"""The same seed gives the same cameras, to the last bit, in every Blender.

``golden_cameras.json`` is what Blender 5.2 wrote; make it again, after a change that is meant
to move cameras, with ``python -m tests.blender.test_same_cameras`` from the repository's root.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from objaverse_render_addon.dataset.metadata import view_record
from objaverse_render_addon.job import PATTERNS

from . import scenes

GOLDEN = Path(__file__).with_name("golden_cameras.json")

JOBS: dict[str, dict[str, Any]] = {
    **{name: {"cameras.pattern": name} for name in PATTERNS if not PATTERNS[name].given},
    "resampled": {"cameras.pattern": "gs-lrm", "cameras.framing": "resample", "seed": 11},
    "portrait": {"pixels.resolution": [24, 40], "cameras.pixel_aspect": 1.25},
    "shifted": {"pixels.resolution": [40, 24], "cameras.shift": [0.1, -0.07], "seed": 2**40 + 7},
    "sphere": {"asset.normalize": "sphere", "cameras.pattern": "fibonacci"},
    "as it is": {"asset.normalize": "none", "cameras.pattern": "gs-lrm"},
}


def cameras(folder: Path, name: str) -> list[dict[str, Any]]:
    corners = scenes.CUBE_VERTICES * (3, 2, 1) + (7, -4, 2.5)
    path = scenes.write_ply(folder / "box.ply", corners, scenes.CUBE_FACES)
    values = {"pixels.resolution": [32, 32], "pixels.passes": ["depth"], **JOBS[name]}
    if values.get("cameras.pattern") != "cube-faces":
        values["cameras.views"] = 4
    job = scenes.make_job(values)
    records = [view_record(frame, job) for frame in scenes.frames_of(scenes.open_scene(path, job))]
    return [{key: record[key] for key in ("camera_to_world", "intrinsics")} for record in records]


@pytest.mark.core
@pytest.mark.parametrize("name", JOBS)
def test_cameras_are_the_same_in_every_blender(name: str, tmp_path: Path) -> None:
    golden = json.loads(GOLDEN.read_text())[name]
    assert json.dumps(cameras(tmp_path, name)) == json.dumps(golden)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        everything = {name: cameras(Path(made), name) for name in JOBS}
    GOLDEN.write_text(json.dumps(everything, indent=1) + "\n")
