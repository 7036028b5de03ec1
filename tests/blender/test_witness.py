"""The witness against real imports: what is lost, hidden or doubled on the way is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.run import render
from objaverse_render_addon.dataset.reader import AssetReader

from . import scenes

LOPSIDED = np.concatenate(
    [scenes.CUBE_VERTICES * (2, 1, 0.6), scenes.CUBE_VERTICES * 0.7 + (1.2, 0.1, 0.9)]
)
FACES = [*scenes.CUBE_FACES, *(tuple(i + 8 for i in face) for face in scenes.CUBE_FACES)]
WRITERS: dict[str, Callable[..., Path]] = {
    "glb": scenes.write_glb, "obj": scenes.write_obj, "ply": scenes.write_ply,
    "stl": scenes.write_stl,
}  # fmt: skip
QUICK = {
    "cameras.pattern": "fibonacci", "cameras.views": 4, "pixels.passes": ["depth", "mask"],
}  # fmt: skip


def found(session: Any) -> dict[str, list[str]]:
    """Check of the witness to its outcomes in all views."""
    renderer, outcomes = session.renderer, {}
    for frame, path in renderer.geometry(session.shots()):
        renderer.read_geometry(frame, path)
        for check in renderer.check_geometry(frame, []):
            if check.name.startswith("witness"):
                outcomes.setdefault(check.name, []).append(check.status)
    return outcomes


@pytest.mark.core
@pytest.mark.parametrize("kind", WRITERS)
def test_a_good_file_raises_no_doubt(tmp_path: Path, kind: str) -> None:
    source = WRITERS[kind](tmp_path / f"good.{kind}", LOPSIDED, FACES)
    session = scenes.open_scene(source, scenes.make_job(QUICK))
    right = ["ok"] * 4
    assert found(session) == {
        "witness_box": right, "witness_missing": right, "witness_extra": right,
    }  # fmt: skip
    record = session.facts()["scene"]["witness"]
    assert record["read"]
    assert record["faces_dropped"] == 0
    assert session.warnings == []
    assert record["triangles"] == 24
    if kind == "obj":
        assert record["faces"] == 12


def lose_a_part(mesh: Any) -> None:
    import bmesh

    work = bmesh.new()
    work.from_mesh(mesh)
    bmesh.ops.delete(work, geom=list(work.verts)[8:], context="VERTS")
    work.to_mesh(mesh)


def turn(mesh: Any) -> None:
    from mathutils import Matrix

    mesh.transform(Matrix(scenes.rotation(90).tolist()))


@pytest.mark.core
@pytest.mark.parametrize("fault", [lose_a_part, turn])
def test_what_an_importer_does_to_a_file_is_found(
    tmp_path: Path, fault: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from objaverse_render_addon.blender import arrival
    from objaverse_render_addon.blender.normalization import normalize

    source = scenes.write_glb(tmp_path / "thing.glb", LOPSIDED, FACES)

    def spoilt(collection: Any, *rest: Any, **options: Any) -> Any:
        for obj in collection.objects:
            if obj.type == "MESH":
                fault(obj.data)
        return normalize(collection, *rest, **options)

    monkeypatch.setattr(arrival, "normalize", spoilt)
    outcomes = found(scenes.open_scene(source, scenes.make_job(QUICK)))
    assert any("failed" in some for some in outcomes.values()), outcomes


@pytest.mark.core
def test_a_copy_that_was_normalized_twice_is_found(tmp_path: Path) -> None:
    import bpy
    from mathutils import Matrix

    source = scenes.write_glb(tmp_path / "thing.glb", LOPSIDED, FACES)
    session = scenes.open_scene(source, scenes.make_job(QUICK))
    (mesh,) = [obj for obj in session.asset.rendered if obj.type == "MESH"]
    copy = bpy.data.objects.new("Again", mesh.data)
    place = scenes.moved(0.2, 0.9, 0.8) @ scenes.scaled(0.5, 0.5, 0.5)
    copy.matrix_world = Matrix(place.tolist())
    session.asset.collection.objects.link(copy)
    # So that the bounds are measured, those of both, as when the importer had brought it in.
    session.asset.frame = -1
    session.stage.edited()
    outcomes = found(session)
    assert "failed" in outcomes["witness_extra"]
    assert "failed" in outcomes["witness_box"]


def hide(document: dict[str, Any]) -> None:
    document["nodes"] = [
        {"mesh": 0}, {"mesh": 0, "translation": [0, 3, 0], "extensions": {"KHR_node_visibility": {
            "visible": False}}},
    ]  # fmt: skip
    document["scenes"] = [{"nodes": [0, 1]}]
    document["extensionsUsed"] = ["KHR_node_visibility"]


def two_scenes(document: dict[str, Any]) -> None:
    document["nodes"] = [{"mesh": 0}, {"mesh": 0, "translation": [0.4, 1.5, 0], "scale": [1, 2, 1]}]
    document["scenes"] = [{"nodes": [0]}, {"nodes": [1]}]
    del document["scene"]


@pytest.mark.core
@pytest.mark.parametrize("change", [hide, two_scenes])
def test_what_a_file_does_not_show_is_shown_by_nobody_without_a_word(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    # Whether an importer heeds it is its own affair; that a picture is wrong is not.
    source = scenes.write_glb(tmp_path / "hidden.glb", LOPSIDED, FACES, change)
    session = scenes.open_scene(source, scenes.make_job(QUICK))
    outcomes = found(session)
    right = session.asset.record["faces_rendered"] == 24
    assert right == all(set(some) == {"ok"} for some in outcomes.values()), outcomes
    assert right or any("failed" in some for some in outcomes.values())


@pytest.mark.core
def test_a_run_ends_in_check_failed_and_off_renders_it(tmp_path: Path) -> None:
    source = scenes.write_glb(tmp_path / "hidden.glb", LOPSIDED, FACES, hide)
    job = scenes.make_job({**QUICK, "files.layout": "folder"})
    (result,) = render([source], job, tmp_path / "out", RunOptions.of(timeout=240)).results
    if result.error is not None:
        assert result.error.reason == "check-failed"
        assert "witness_" in result.error.message
        assert "--witness off" in result.error.hint
    else:
        with AssetReader(tmp_path / "out/hidden") as reader:
            assert reader.metadata["faces_rendered"] == 24
    off = job.with_values({"asset.witness": "off"})
    assert off.fingerprint() == job.fingerprint()
    (result,) = render([source], off, tmp_path / "off", RunOptions.of(timeout=240)).results
    assert result.error is None
    with AssetReader(tmp_path / "off/hidden") as reader:
        assert reader.metadata["witness"] == {"read": False, "reason": "off"}
        assert not any(name.startswith("witness") for name in reader.metadata["checks"])


@pytest.mark.core
def test_faces_that_blender_leaves_out_are_counted(tmp_path: Path) -> None:
    faces = [*FACES, FACES[0], (1, 1, 2), (3, 4, 4)]
    source = scenes.write_stl(tmp_path / "worn.stl", LOPSIDED, faces)
    session = scenes.open_scene(source, scenes.make_job(QUICK))
    assert session.facts()["scene"]["witness"]["faces_dropped"] == 4
    (warning,) = session.warnings
    assert warning.startswith("dropped-faces: Blender left out 4 faces")
