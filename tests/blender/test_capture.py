"""Cycles' passes taken without a file, against the files that Blender writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.passspec import STILL_PASSES

from . import scenes

# Odd sizes, so that borders begin anywhere; enough views that they do.
VALUES = {
    "cameras.pattern": "fibonacci", "cameras.views": 12, "pixels.resolution": [83, 61],
    "pixels.passes": list(STILL_PASSES), "engine.samples": 3, "lighting.mode": "xl",
}  # fmt: skip


@pytest.mark.core
@pytest.mark.parametrize("denoise", [False, True])
def test_arrays_equal_those_of_files_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, denoise: bool
) -> None:
    from objaverse_render_addon.blender import capture

    path = scenes.write_glb(tmp_path / "box.glb")
    values = {**VALUES, "engine.denoise": denoise, "engine.threads": 1}
    taken = scenes.shoot(path, values)
    monkeypatch.setattr(capture, "usable", lambda _: False)
    written = scenes.shoot(path, values)
    assert len(taken) == len(written) == 12
    for one, other in zip(taken, written, strict=True):
        assert one.passes.keys() == other.passes.keys() == set(STILL_PASSES)
        for name, array in one.passes.items():
            assert array.tobytes() == other.passes[name].tobytes(), (one.view.index, name)
        assert one.checks == other.checks
        assert one.passes["mask"].any()


def test_what_is_larger_than_a_tile_is_written_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from objaverse_render_addon.blender import capture

    session = scenes.open_scene(scenes.write_glb(tmp_path / "box.glb"), scenes.make_job(VALUES))
    scene = session.stage.scene
    session.stage.set_up_color()
    assert capture.usable(scene)
    scene.cycles.tile_size = 64
    assert not capture.usable(scene)
    monkeypatch.setattr(capture, "take", lambda *_: pytest.fail("it is not whole"))
    frame = session.renderer.render(session.shots([0])[0])
    assert frame.passes["mask"].any()
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.cycles.tile_size = 2048
    assert not capture.usable(scene)


@pytest.mark.core
def test_samples_and_seed_alone_change_the_picture(tmp_path: Path) -> None:
    """Persistent data keep Cycles' own settings, unless Blender hears that something changed."""
    session = scenes.open_scene(
        scenes.write_glb(tmp_path / "box.glb"),
        scenes.make_job({**VALUES, "pixels.passes": ["rgb_linear"], "engine.samples": 1}),
    )
    shot = session.shots([0])[0]

    def picture(**values: Any) -> Any:
        session.set({name.replace("_", ".", 1): value for name, value in values.items()})
        return session.renderer.render(shot).passes["rgb_linear"].astype("float32")

    noisy, smooth, again = picture(engine_samples=1), picture(engine_samples=64), None
    assert np.abs(noisy - smooth).mean() > 1e-3
    again = picture(engine_samples=1)
    assert np.array_equal(noisy, again)
    scene = session.stage.scene
    seeds = []
    for seed in (1, 2):
        scene.cycles.seed = seed
        from objaverse_render_addon.blender import capture

        seeds.append(capture.take(scene, [capture.COMBINED])["R"].copy())
    assert not np.array_equal(*seeds)


def test_cycles_is_left_as_it_was(tmp_path: Path) -> None:
    from objaverse_render_addon.blender import capture, compat

    before = compat.cycles_engine().render
    session = scenes.open_scene(scenes.write_glb(tmp_path / "box.glb"), scenes.make_job(VALUES))
    session.renderer.render(session.shots([1])[0])
    assert compat.cycles_engine().render is before
    session.stage.scene.camera = None
    with pytest.raises(Exception, match="camera"):
        capture.take(session.stage.scene, [capture.COMBINED])
    assert compat.cycles_engine().render is before
