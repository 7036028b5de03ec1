"""Devices, and the engines that need a graphics context."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.queue.ledger import Ledger
from objaverse_render_addon.batch.run import render
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.errors import DeviceUnavailable, RenderFailed

from . import scenes

ROOT = Path(__file__).parents[2]


@pytest.mark.core
def test_a_device_that_is_not_there_is_an_error_and_never_the_cpu(tmp_path: Path) -> None:
    from objaverse_render_addon.blender.devices import available_devices, select_device

    found = available_devices()
    assert found["CPU"] is not None
    absent = next(kind for kind in ("CUDA", "HIP", "METAL") if kind not in found)
    source = scenes.write_glb(tmp_path / "cube.glb")
    job = scenes.make_job({"engine.device": absent.lower(), "cameras.views": 1})
    # It would fail every asset there is, so it ends the run and blames none.
    with pytest.raises(DeviceUnavailable) as caught:
        render([source], job, tmp_path / "out")
    assert absent.lower() in caught.value.message
    assert "cpu" in caught.value.message
    with Ledger(tmp_path / "out/.state/ledger.sqlite", read_only=True) as ledger:
        assert ledger.counts()["waiting"] == 1
    assert select_device("cpu").kind == "CPU"
    expected = next((kind for kind in ("OPTIX", "CUDA", "HIP") if kind in found), "CPU")
    if sys.platform == "linux":
        assert select_device("auto").kind == expected
    select_device("cpu")


@pytest.mark.core
def test_what_blender_ignores_or_clamps_is_an_error(tmp_path: Path) -> None:
    import bpy

    from objaverse_render_addon.blender.compat import set_checked

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    set_checked(scene.cycles, filter_width=0.7, samples=3, seed=2**31 - 1)
    for owner, name, value in (
        # A name that once was, accepted in silence by old versions; and clamped values.
        (scene.cycles, "filter_type", "BOX"),
        (scene.cycles, "samples", 0),
        (scene.cycles, "filter_width", 99.0),
        (scene.cycles, "seed", -1),
        (scene.cycles, "seed", 2**40),
        (scene.cycles, "device", "CUDA"),
        (scene.render, "border_min_x", 1.5),
        (scene.render, "threads", 5000),
        (scene.eevee, "taa_render_samples", -3),
    ):
        with pytest.raises(RenderFailed, match=name):
            set_checked(owner, **{name: value})
    # All of a job that Blender could not take is one too, and no picture of something else.
    session = scenes.open_scene(
        scenes.write_glb(tmp_path / "cube.glb"), scenes.make_job(scenes.ring(tmp_path))
    )
    object.__setattr__(session.job.engine, "samples", 0)
    with pytest.raises(RenderFailed, match="samples"):
        scenes.frames_of(session)


@pytest.mark.core
def test_the_device_that_is_recorded_is_the_one_that_renders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from objaverse_render_addon.blender import devices, stage

    source = scenes.write_glb(tmp_path / "cube.glb")
    session = scenes.open_scene(source, scenes.make_job(scenes.ring(tmp_path)))
    assert session.warnings == []
    # Told to take a GPU, with none switched on: Cycles takes the CPU without a word.
    session.stage.device = devices.Device("OPTIX", ("Some GPU",))
    session.stage.scene.cycles.device = "GPU"
    scenes.frames_of(session)
    assert session.facts()["engine"]["device"] == "CPU"
    assert "Some GPU" not in session.device
    (warning,) = session.warnings
    assert warning.startswith("other-device: Cycles was to render on OPTIX")
    # What there is beside it, though Blender cannot use it.
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices.gpu_beside(tmp_path) == ""
    (tmp_path / "nvidia0").touch()
    assert devices.gpu_beside(tmp_path) == str(tmp_path / "nvidia0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.gpu_beside(tmp_path) == ""
    monkeypatch.setattr(stage, "gpu_beside", lambda: "/dev/nvidia0")
    monkeypatch.setattr(stage, "select_device", lambda _: devices.select_device("cpu"))
    for wanted, told in (("cpu", 0), ("auto", 1)):
        job = scenes.make_job({**scenes.ring(tmp_path), "engine.device": wanted})
        warnings = scenes.open_scene(source, job).warnings
        assert [text.split(":")[0] for text in warnings] == ["cpu-beside-gpu"] * told


@pytest.mark.core
def test_the_metadata_say_what_rendered(tmp_path: Path) -> None:
    import bpy

    source = scenes.write_glb(tmp_path / "cube.glb")
    job = scenes.make_job({"engine.samples": 3, "cameras.views": 1, "engine.threads": 1})
    (result,) = render([source], job, tmp_path / "out").results
    assert result.path is not None
    with AssetReader(result.path) as reader:
        said = reader.metadata["render_settings"]
    assert said["engine"] == "cycles"
    assert said["samples"] == 3
    assert said["device"] == "CPU"
    assert said["denoised"] is False
    assert said["blender_version"] == bpy.app.version_string
    assert said["view_transform"] == "Standard"


@pytest.mark.parametrize("engine", ["workbench", "eevee"])
def test_another_engine_renders_the_colour_and_cycles_the_geometry(
    engine: str, tmp_path: Path
) -> None:
    source = scenes.write_glb(tmp_path / "cube.glb")
    values = {**scenes.ring(tmp_path, 16), "engine.engine": engine, "asset.normalize": "cube"}
    out = tmp_path / "out"
    report = render([source], scenes.make_job(values), out, RunOptions.of(timeout=120))
    (result,) = report.results
    if result.error is not None:
        words = f"{result.error} {result.error.log}".lower()
        # Without a graphics context Blender ends the process (EEVEE), or says that it has none.
        context = result.error.reason in ("worker-crashed", "timeout", "render-failed")
        assert context, result.error
        reason = f"{engine} has no graphics context here: {words.strip()[-300:]}"
        pytest.skip(reason)
    assert result.path is not None
    with AssetReader(result.path) as reader:
        arrays = reader.read(0)
        assert reader.metadata["render_settings"]["engine"] == engine
    inside = scenes.interior(arrays["mask"])
    assert inside.sum() > 10
    # Workbench adds up its samples in half floats.
    assert (arrays["rgb"][inside][:, 3] >= 254).all()
    assert (arrays["rgb"][scenes.interior(arrays["mask"] == 0, 2)] == 0).all()
    view = scenes.shoot(source, {**values, "engine.engine": "cycles"})[0]
    assert np.array_equal(arrays["depth"], view.passes["depth"])


@pytest.mark.core
def test_importing_the_package_starts_no_blender() -> None:
    code = (
        "import sys, objaverse_render_addon.batch.run, objaverse_render_addon.cli; "
        "sys.exit('bpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
