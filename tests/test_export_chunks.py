"""Scenes packed into chunks: filled, replaced, never lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from analytic import write_asset
from export_data import NAMES, job_of, statuses, three

from objaverse_render_addon.dataset.export import FORMATS, Options, export
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.errors import OutputExists, TruncatedFile
from objaverse_render_addon.job import CameraRules, Pixels, RenderJob


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three(tmp_path_factory.mktemp("original"))


@pytest.fixture
def data(tmp_path: Path, original: Path) -> Path:
    """Three assets, for the test to spoil."""
    return Path(shutil.copytree(original, tmp_path / "data"))


def chunks_of(out: Path) -> dict[str, list[str]]:
    torch = pytest.importorskip("torch")
    found = {}
    for path in sorted((out / "train").glob("*.torch")):
        found[path.name] = [scene["key"] for scene in torch.load(path, weights_only=True)]
    index = json.loads((out / "train/index.json").read_text())
    assert index == {key: name for name, keys in found.items() for key in keys}
    return found


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of these scenes fill a chunk."""
    pytest.importorskip("torch")
    monkeypatch.setattr(FORMATS["depthsplat"], "chunk_bytes", 140_000)


@pytest.mark.usefixtures("small_chunks")
def test_chunks_are_filled_by_later_runs_and_never_overwritten(tmp_path: Path, data: Path):
    out, options = tmp_path / "out", Options(split=(1, 0, 0))
    for name in NAMES:
        export(data / f"{name}.zip", out, "depthsplat", options)
    assert chunks_of(out) == {"000000.torch": ["chair", "lamp"], "000001.torch": ["table"]}
    report = export(data, out, "depthsplat", options)
    assert statuses(report) == dict.fromkeys(NAMES, "skipped")
    export(data, tmp_path / "once", "depthsplat", options)
    assert chunks_of(tmp_path / "once") == chunks_of(out)
    assert not list((out / ".export/pending").iterdir())


@pytest.mark.usefixtures("small_chunks")
def test_a_scene_that_was_rendered_again_leaves_its_old_chunk(tmp_path: Path, data: Path):
    torch = pytest.importorskip("torch")
    out, options = tmp_path / "out", Options(split=(1, 0, 0))
    export(data, out, "depthsplat", options)
    (data / "chair.zip").unlink()
    write_asset(data, job_of(views=2), "chair")
    report = export(data, out, "depthsplat", options)
    assert statuses(report) == {"chair": "done", "lamp": "skipped", "table": "skipped"}
    found = chunks_of(out)
    assert sorted(key for keys in found.values() for key in keys) == sorted(NAMES)
    (name,) = [name for name, keys in found.items() if "chair" in keys]
    scenes = {s["key"]: s for s in torch.load(out / "train" / name, weights_only=True)}
    assert scenes["chair"]["cameras"].shape == (2, 18)


@pytest.mark.usefixtures("small_chunks")
def test_a_lost_chunk_is_noticed(tmp_path: Path, data: Path):
    out, options = tmp_path / "out", Options(split=(1, 0, 0))
    export(data, out, "depthsplat", options)
    (out / "train/000001.torch").unlink()
    report = export(data, out, "depthsplat", options)
    assert statuses(report) == {"chair": "skipped", "lamp": "skipped", "table": "done"}
    assert sorted(sum(chunks_of(out).values(), [])) == sorted(NAMES)  # noqa: RUF017


@pytest.mark.usefixtures("small_chunks")
def test_a_damaged_chunk_is_named_and_removing_it_helps(tmp_path: Path, data: Path):
    out, options = tmp_path / "out", Options(split=(1, 0, 0))
    export(data, out, "depthsplat", options)
    chunk = out / "train/000000.torch"
    chunk.write_bytes(chunk.read_bytes()[:5000])
    (data / "chair.zip").unlink()
    write_asset(data, job_of(views=2), "chair")
    with pytest.raises(TruncatedFile, match=r"000000\.torch"):
        export(data, out, "depthsplat", options)
    chunk.unlink()
    export(data, out, "depthsplat", options)
    assert sorted(key for keys in chunks_of(out).values() for key in keys) == sorted(NAMES)


PACKS_HALF = """
import os, sys
from objaverse_render_addon.dataset.export import FORMATS, Options, depthsplat, export
data, out, last = sys.argv[1:]
FORMATS["depthsplat"].chunk_bytes = 140_000
written, count = depthsplat._write_chunks, [0]
def dying(target, chunks):
    count[0] += 1
    if count[0] == int(last) + 1:
        os._exit(9)
    written(target, chunks)
depthsplat._write_chunks = dying
export(data, out, "depthsplat", Options(split=(1, 0, 0)))
"""


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("last", ["1", "2"])
def test_a_run_killed_while_it_packs_loses_nothing_and_doubles_nothing(
    tmp_path: Path, data: Path, last: str
):
    out, options = tmp_path / "out", Options(split=(1, 0, 0))
    export(data / "chair.zip", out, "depthsplat", options)
    command = [sys.executable, "-c", PACKS_HALF, str(data), str(out), last]
    assert subprocess.run(command, check=False).returncode == 9
    report = export(data, out, "depthsplat", options)
    assert statuses(report) == dict.fromkeys(NAMES, "skipped")
    found = chunks_of(out)
    assert sorted(key for keys in found.values() for key in keys) == sorted(NAMES)


@pytest.mark.usefixtures("small_chunks")
def test_chunks_whose_list_is_lost_are_not_overwritten(tmp_path: Path, data: Path):
    out = tmp_path / "out"
    export(data, out, "depthsplat", Options(split=(1, 0, 0)))
    before = {path.name: path.read_bytes() for path in (out / "train").iterdir()}
    shutil.rmtree(out / ".export")
    with pytest.raises(OutputExists, match="what is in them is not known"):
        export(data / "lamp.zip", out, "depthsplat", Options(split=(1, 0, 0)))
    assert before == {path.name: path.read_bytes() for path in (out / "train").iterdir()}


@pytest.mark.usefixtures("small_chunks")
def test_a_chunk_that_was_never_written_down_goes(tmp_path: Path, data: Path):
    out, options = tmp_path / "out", Options(split=(1, 0, 0))
    export(data / "chair.zip", out, "depthsplat", options)
    shutil.copy(out / "train/000000.torch", out / "train/000001.torch")
    export(data, out, "depthsplat", options)
    found = chunks_of(out)
    assert sorted(key for keys in found.values() for key in keys) == sorted(NAMES)


def test_what_is_far_is_background_and_counted(tmp_path: Path):
    torch = pytest.importorskip("torch")
    rules = CameraRules(pattern="ring", views=2, radius=50.0, fov=4.0)
    job = RenderJob(cameras=rules, pixels=Pixels(resolution=(48, 48), passes=("rgb", "depth")))
    asset = write_asset(tmp_path / "data", job, "far")
    report = export(asset, tmp_path / "out", "depthsplat", Options(split=(1, 0, 0)))
    with AssetReader(asset) as reader:
        depth = np.stack([reader.read(view)["depth"] for view in range(2)])
    (note,) = [note for note in report.notes if note["kind"] == "clipped"]
    assert note["amount"] == (depth >= 50).sum() > 0
    (scene,) = torch.load(tmp_path / "out/train/000000.torch", weights_only=True)
    held = (depth > 0) & (depth < 50)
    assert held.any()
    assert np.array_equal(scene["depths"].numpy(), np.where(held, depth, np.float32(-1)))
