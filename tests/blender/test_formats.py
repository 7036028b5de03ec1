"""Every format, from the file to the finished archive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.run import render
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.dataset.verify import verify_asset

from . import scenes

SAMPLES = "objaverse-xl-test-files"
# Not the PLY file: its own vertices end a unit short of the other files'.
SAME_SCENE = ["abc", "blend", "dae", "fbx", "glb", "obj", "stl"]


@pytest.mark.core
def test_every_sample_renders_and_verifies(assets: Path, tmp_path: Path) -> None:
    files = sorted(
        path
        for path in assets.rglob("*")
        if "wild" not in path.parts
        and path.suffix in (".abc", ".blend", ".dae", ".fbx", ".glb", ".gltf", ".obj", ".ply",
                           ".stl", ".usd", ".usda", ".usdz")
    )  # fmt: skip
    assert len(files) >= 14
    shouting = scenes.write_glb(tmp_path / "SHOUTING.GLB")
    job = scenes.make_job({"cameras.views": 3, "pixels.resolution": [48, 48]})
    report = render(
        [*files, shouting],
        job,
        tmp_path / "out",
        RunOptions.of(ids="sha256", timeout=120),
    )
    problems = {Path(r.source).name: str(r.error) for r in report.failed}
    assert problems == {}
    assert report.exit_code == 0
    for result in report.results:
        assert result.path is not None
        verdict = verify_asset(result.path)
        assert verdict.failed == [], result.source
        assert verdict.views == 3
        with AssetReader(result.path) as reader:
            assert reader.metadata["file_type"] == Path(result.source).suffix[1:].lower()
            assert any(reader.read(i)["mask"].any() for i in range(3))
    assert [path.name for path in (tmp_path / "out").glob(".*")] == [".state"]


@pytest.mark.core
def test_one_scene_is_the_same_in_every_format(assets: Path) -> None:
    """Boxes and pictures: an importer that lays its scene on its side shows here."""
    values = {
        "cameras.pattern": "ring", "cameras.views": 2, "asset.normalize": "cube",
        "pixels.resolution": [96, 96],
    }  # fmt: skip
    boxes, masks = {}, {}
    for kind in [*SAME_SCENE, "gltf"]:
        name = "example-linked.gltf" if kind == "gltf" else f"example.{kind}"
        scene = scenes.open_scene(assets / SAMPLES / name, scenes.make_job(values))
        boxes[kind] = scenes.bounds_of(scene)
        masks[kind] = [frame.passes["mask"] for frame in scenes.frames_of(scene)]
    for kind, box in boxes.items():
        assert np.abs(box - boxes["glb"]).max() < 1e-3, kind
        for mine, theirs in zip(masks[kind], masks["glb"], strict=True):
            assert (mine != theirs).mean() < 0.01, kind


def test_names_that_shout_and_folders_with_spaces_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "my assets (new) – ü"
    folder.mkdir()
    for path in (
        scenes.write_glb(folder / "A Cube.GLB"),
        scenes.write_ply(folder / "cube.PLY", scenes.CUBE_VERTICES, scenes.CUBE_FACES),
        scenes.write_stl(folder / "cube.Stl", scenes.CUBE_VERTICES, scenes.CUBE_FACES),
        scenes.write_obj(folder / "cube.OBJ", scenes.CUBE_VERTICES, scenes.CUBE_FACES),
    ):
        values = {**scenes.ring(tmp_path), "asset.normalize": "cube"}
        (frame,) = scenes.shoot(path, values)
        depth = scenes.cast_box(frame.camera, [-1] * 3, [1] * 3)[0]
        inside = scenes.interior(np.isfinite(depth))
        assert np.quantile(np.abs(frame.passes["depth"] / depth - 1)[inside], 0.98) < 1e-5


@pytest.mark.core
def test_what_is_written_is_what_was_rendered(tmp_path: Path) -> None:
    """End to end through the worker: files, metadata, reader."""
    source = tmp_path / "cube.blend"
    with scenes.new_blend(source):
        scenes.add_cube(material=scenes.emission((0.5, 0.2, 0.05)))
    cameras = scenes.ring(tmp_path, 48, count=2)
    values = {
        **cameras, "asset.normalize": "cube",
        "pixels.passes": ["rgb", "depth", "normal", "mask", "albedo", "position", "object_index",
                          "distance", "roughness_metallic"],
    }  # fmt: skip
    here = scenes.shoot(source, values)
    for layout, geometry, background in (
        ("zip", "npy", None), ("folder", "exr", None), ("folder", "npy", [1.0, 1.0, 1.0]),
    ):  # fmt: skip
        out = tmp_path / f"{layout}-{geometry}-{background is None}"
        job = scenes.make_job(
            {**values, "files.layout": layout, "files.geometry": geometry,
             "lighting.background": background}
        )  # fmt: skip
        events: list[Any] = []
        (result,) = render([source], job, out, on_event=events.append).results
        assert result.status == "done", result.error
        assert result.path == out / ("cube.zip" if layout == "zip" else "cube")
        kinds = [event.kind for event in events]
        assert kinds[-1] == "done"
        assert kinds.count("frame-done") == 2
        assert verify_asset(result.path).failed == []
        with AssetReader(result.path) as reader:
            for index, frame in enumerate(here):
                written = reader.read(index)
                for name, data in frame.passes.items():
                    if name == "rgb" and background is not None:
                        corner, middle = written[name][0, 0], written[name][24, 24]
                        assert (corner == 255).all()
                        assert tuple(middle) == (188, 124, 63)
                        continue
                    assert written[name].dtype == data.dtype
                    assert np.array_equal(written[name], data), (layout, name)
                view = reader.view(index)
                assert np.array_equal(view.camera.camera_to_world, frame.camera.camera_to_world)
                assert np.array_equal(view.camera.intrinsics, frame.camera.intrinsics)
            record = reader.metadata
            assert record["frame"] == 1
            assert record["poly_count"] == 6
            assert record["vert_count"] == 8
            assert np.allclose(record["scene_size"]["bbox_max"], 0.5)
            assert record["job_fingerprint"] == job.fingerprint()
            assert json.dumps(record, allow_nan=False)


@pytest.mark.core
def test_the_same_run_makes_the_same_archive(tmp_path: Path) -> None:
    source = scenes.write_glb(tmp_path / "cube.glb")
    job = scenes.make_job({"cameras.views": 3})
    contents = []
    for name in ("first", "second"):
        (result,) = render([source], job, tmp_path / name).results
        assert result.path is not None
        with AssetReader(result.path) as reader:
            files = [reader.read(index) for index in range(3)]
            contents.append((files, reader.views))
    (files, views), (again, views_again) = contents
    assert views == views_again
    for one, other in zip(files, again, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)
