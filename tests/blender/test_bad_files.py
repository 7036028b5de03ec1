"""Bad files end by name, one by one, and the rest of the list goes on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.run import Report, render
from objaverse_render_addon.errors import (
    ClippedPictures,
    DegenerateGeometry,
    EmptyFile,
    EmptyPictures,
    ImportFailed,
    InvalidGeometry,
    NoGeometry,
    RenderError,
    SourceNotFound,
    TruncatedFile,
    UnsupportedFormat,
    WrongFormat,
)

from . import scenes


def cut(source: Path, target: Path, share: float = 0.5) -> Path:
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def failures(report: Report) -> dict[str, RenderError | None]:
    return {Path(result.source).name: result.error for result in report.results}


@pytest.mark.core
def test_each_bad_file_has_its_name_and_the_good_ones_are_rendered(tmp_path: Path) -> None:
    cube, faces = scenes.CUBE_VERTICES, scenes.CUBE_FACES
    whole = tmp_path / "whole"
    whole.mkdir()
    glb = scenes.write_glb(whole / "whole.glb")
    ply = scenes.write_ply(whole / "whole.ply", *scenes.sphere_mesh(32))
    stl = scenes.write_stl(whole / "whole.stl", *scenes.sphere_mesh(32))
    with scenes.new_blend(whole / "whole.blend"):
        scenes.add_sphere()
    with scenes.new_blend(tmp_path / "ghost.blend"):
        scenes.add_cube(material=scenes.principled(Alpha=0.0))
    with scenes.new_blend(tmp_path / "points.blend"):
        scenes.add_mesh(cube, [], name="Points")
    nowhere = cube.copy()
    nowhere[3, 1] = np.nan
    endless = cube.copy()
    endless[2, 2] = np.inf
    (tmp_path / "empty.glb").touch()
    (tmp_path / "text.glb").write_text("this is no model\n")
    (tmp_path / "page.obj").write_text("<!DOCTYPE html><html>404</html>")
    (tmp_path / "picture.ply").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    shutil.copy(glb, tmp_path / "in disguise.fbx")
    (tmp_path / "notes.doc").write_text("hello")
    (tmp_path / "vertices.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    scenes.write_ply(tmp_path / "nothing.ply", [], [])
    scenes.write_glb(tmp_path / "nan glb.glb", nowhere)
    scenes.write_ply(tmp_path / "nan ply.ply", nowhere, faces)
    scenes.write_ply(tmp_path / "inf ply.ply", endless, faces)
    scenes.write_obj(tmp_path / "nan obj.obj", nowhere, faces)
    scenes.write_stl(tmp_path / "nan stl.stl", nowhere, faces)
    with scenes.new_blend(tmp_path / "nan blend.blend"):
        scenes.add_mesh(nowhere, faces)
    scenes.write_ply(tmp_path / "dot.ply", cube * 0 + 3, faces)
    cut(glb, tmp_path / "cut glb.glb")
    cut(ply, tmp_path / "cut ply.ply")
    cut(stl, tmp_path / "cut stl.stl")
    cut(whole / "whole.blend", tmp_path / "cut blend.blend")
    (tmp_path / "bad face.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n")
    # What the file promises -> what may come of it.
    expected: dict[str, tuple[type[RenderError], ...]] = {
        "missing.glb": (SourceNotFound,),
        "empty.glb": (EmptyFile,),
        "text.glb": (WrongFormat,),
        "page.obj": (WrongFormat,),
        "picture.ply": (WrongFormat,),
        "in disguise.fbx": (WrongFormat,),
        "notes.doc": (UnsupportedFormat,),
        "cut glb.glb": (TruncatedFile,),
        "cut stl.stl": (TruncatedFile,),
        "cut ply.ply": (TruncatedFile, ImportFailed),
        "cut blend.blend": (TruncatedFile, ImportFailed),
        "vertices.obj": (NoGeometry,),
        "nothing.ply": (NoGeometry,),
        "points.blend": (NoGeometry,),
        "bad face.obj": (NoGeometry, ImportFailed),
        "nan glb.glb": (InvalidGeometry,),
        "nan ply.ply": (InvalidGeometry,),
        "inf ply.ply": (InvalidGeometry,),
        "nan obj.obj": (InvalidGeometry,),
        "nan stl.stl": (InvalidGeometry,),
        "nan blend.blend": (InvalidGeometry,),
        "dot.ply": (DegenerateGeometry,),
        "ghost.blend": (EmptyPictures,),
    }
    sources: list[Path] = []
    for index, name in enumerate(expected):
        sources.append(tmp_path / name)
        if index % 7 == 6:
            shutil.copy(glb, tmp_path / f"good {index}.glb")
            sources.append(tmp_path / f"good {index}.glb")
    job = scenes.make_job({"cameras.views": 2, "pixels.resolution": [24, 24]})
    out = tmp_path / "out"
    results: list[Any] = []
    report = render(sources, job, out, RunOptions.of(timeout=60), on_result=results.append)
    found = failures(report)
    for name, classes in expected.items():
        error = found[name]
        assert isinstance(error, classes), (name, type(error), str(error))
        assert Path(name).stem.split()[0] in error.message, error.message
    good = [result for result in report.results if result.status == "done"]
    assert len(good) == 3
    assert all(result.path and result.path.exists() for result in good)
    assert report.exit_code == 3
    assert sorted(result.source for result in results) == sorted(map(str, sources))
    assert [result.source for result in report.results] == [str(source) for source in sources]
    assert {path.suffix for path in out.glob("[!.]*")} == {".zip"}


@pytest.mark.core
def test_the_exit_code_is_that_of_the_one_kind_of_failure(tmp_path: Path) -> None:
    job = scenes.make_job({"cameras.views": 1, "pixels.resolution": [16, 16]})
    empty = [scenes.write_ply(tmp_path / f"{i}.ply", [], []) for i in range(2)]
    report = render(empty, job, tmp_path / "out")
    assert report.exit_code == NoGeometry.exit_code


@pytest.mark.core
def test_pictures_that_all_cut_the_object_off_are_refused(tmp_path: Path) -> None:
    source = scenes.write_glb(tmp_path / "cube.glb")
    away = scenes.camera_file(
        tmp_path / "away.json", [scenes.look_at((5, 0, 0), (9, 0, 0))], scenes.lens(40, (16, 16))
    )
    close = scenes.camera_file(
        tmp_path / "close.json", [scenes.look_at((1.6, 0, 0))], scenes.lens(20, (16, 16))
    )
    for cameras, error in ((away, EmptyPictures), (close, ClippedPictures)):
        (result,) = render([source], scenes.make_job(cameras), tmp_path / "out").results
        assert isinstance(result.error, error), result.error
        assert not any((tmp_path / "out").glob("[!.]*"))


@pytest.mark.core
@pytest.mark.parametrize("size", [1e-9, 1e-4, 1e4, 1e9])
def test_tiny_and_huge_objects_render_as_the_unit_one_does(size: float, tmp_path: Path) -> None:
    values = {**scenes.ring(tmp_path), "asset.normalize": "cube"}
    turned = scenes.CUBE_VERTICES @ scenes.rotation(20, 30, 40)[:3, :3].T
    writers = {"ply": scenes.write_ply, "stl": scenes.write_stl, "obj": scenes.write_obj}
    for kind, write in writers.items():
        unit = write(tmp_path / f"unit.{kind}", turned, scenes.CUBE_FACES)
        path = write(tmp_path / f"scaled.{kind}", turned * size, scenes.CUBE_FACES)
        (expected,) = scenes.shoot(unit, values)
        (frame,) = scenes.shoot(path, values)
        depth, truth = frame.passes["depth"], expected.passes["depth"]
        both = scenes.interior(expected.passes["mask"])
        assert both.sum() > 100
        assert ((depth > 0) != (truth > 0)).sum() < 5, kind
        error = np.abs(depth[both] / truth[both] - 1)
        assert np.quantile(error, 0.98) < 1e-3, kind


@pytest.mark.core
def test_a_flat_plane_renders(tmp_path: Path) -> None:
    path = scenes.write_ply(
        tmp_path / "flat.ply", [(0, 0, 0), (4, 0, 0), (4, 2, 0), (0, 2, 0)], [(0, 1, 2, 3)]
    )
    scene = scenes.open_scene(
        path, scenes.make_job({**scenes.ring(tmp_path), "asset.normalize": "cube"})
    )
    assert np.allclose(scenes.bounds_of(scene), [[-1, -0.5, 0], [1, 0.5, 0]], atol=1e-6)
    (frame,) = scenes.frames_of(scene)
    depth = scenes.cast_quad(frame.camera, (-1, -0.5, 0), (2, 0, 0), (0, 1, 0))[0]
    assert ((frame.passes["mask"] == 1) != np.isfinite(depth)).sum() <= 2
    assert scenes.failed_checks(frame) == []


def test_coordinates_far_from_the_origin_are_said_to_be_coarse(tmp_path: Path) -> None:
    path = scenes.write_ply(
        tmp_path / "far.ply", scenes.CUBE_VERTICES + (3e6, 0, 0), scenes.CUBE_FACES
    )
    scene = scenes.open_scene(path, scenes.make_job(scenes.ring(tmp_path)))
    assert any(item.startswith("coarse-coordinates") for item in scene.warnings)


@pytest.mark.core
def test_half_of_a_file_never_passes_for_the_whole(assets: Path, tmp_path: Path) -> None:
    sources = []
    for kind in ("abc", "blend", "dae", "fbx", "glb", "ply", "stl"):
        source = assets / "objaverse-xl-test-files" / f"example.{kind}"
        for percent in (30, 60, 95):
            sources.append(cut(source, tmp_path / f"{kind} {percent}.{kind}", percent / 100))
    for name in ("RoughnessTest.usdz", "UtahTeapot.usd"):
        source = assets / "usd" / name
        sources.append(cut(source, tmp_path / name))
    job = scenes.make_job({"cameras.views": 1, "pixels.resolution": [24, 24]})
    report = render(sources, job, tmp_path / "out", RunOptions.of(timeout=60))
    assert [Path(result.source).name for result in report.results if not result.error] == []
    named = (TruncatedFile, ImportFailed, WrongFormat, NoGeometry, InvalidGeometry)
    for result in report.results:
        assert isinstance(result.error, named), (result.source, result.error)
