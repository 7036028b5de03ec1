"""A short, seeded part of ``make fuzz``."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.run import Fuzzer

from objaverse_render_addon.errors import WrongFormat

from . import scenes

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="bounds memory and time as Linux does"
)


@pytest.mark.core
def test_damaged_files_end_by_name(tmp_path: Path) -> None:
    fuzzer = Fuzzer(tmp_path, seed=27)
    try:
        tally = fuzzer.run("inspector", 300)
        assert tally.found == {}
        assert tally.ends["done"] > 50 and len(tally.ends) > 3
        rendered = fuzzer.run("worker", 16)
        # What Blender's own importers die of has the name of that, and costs nothing else.
        assert {why.split()[0] for why in rendered.found} <= {"worker-crashed"}
        assert rendered.ends["done"] > 0 and sum(rendered.ends.values()) == 16
        # A case is the same whenever it is made.
        cases = [fuzzer.case(11, tmp_path / name).read_bytes() for name in ("first", "again")]
        assert cases[0] == cases[1]
        # What is found is seen.
        assert fuzzer.judge("inspector", tmp_path / "never.glb")[0] == "source-not-found"
    finally:
        fuzzer.close()


@pytest.mark.core
def test_damaged_alembic_archives_are_named_before_blender_dies_of_them(tmp_path: Path) -> None:
    """Its reader ends the process for most of them."""
    fuzzer = Fuzzer(tmp_path, seed=27)
    try:
        fuzzer.seeds = [tmp_path / "corpus" / "mesh-abc"]
        tally = fuzzer.run("inspector", 300)
        assert tally.found == {}
        assert tally.ends["wrong-format"] > tally.ends["done"] > 10
        assert fuzzer.run("worker", 12).found == {}
    finally:
        fuzzer.close()


@pytest.mark.core
def test_whole_alembic_archives_are_whole(tmp_path: Path) -> None:
    """With all that Blender writes: motion, shapes, hair, curves, instances, colors, texts."""
    import bpy

    from objaverse_render_addon.assets.check_alembic import check_alembic
    from objaverse_render_addon.blender.compat import call_operator

    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    scene = bpy.context.scene
    scene.frame_end = 6
    moving = scenes.add_cube(name="moving")
    moving.modifiers.new("Subdivision", "SUBSURF")
    moving.shape_key_add()
    shape = moving.shape_key_add()
    shape.data[0].co.x += 1
    for frame, value in ((1, 0.0), (5, 1.0)):
        shape.value = moving.location.x = value
        shape.keyframe_insert("value", frame=frame)
        moving.keyframe_insert("location", frame=frame)
    colored = scenes.add_cube(name="colored")
    colored.data.color_attributes.new("Color", "FLOAT_COLOR", "POINT")
    colored.data.uv_layers.new()
    colored["text"], colored["number"] = "words", 3.5
    bpy.context.view_layer.objects.active = colored
    bpy.ops.object.particle_system_add()
    colored.particle_systems[0].settings.type = "HAIR"
    bpy.ops.curve.primitive_bezier_circle_add()
    inner = bpy.data.collections.new("Inner")
    inner.objects.link(moving)
    empty = bpy.data.objects.new("Instances", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", inner
    scene.collection.objects.link(empty)
    for number, options in enumerate(
        ({}, {"flatten": True}, {"subdiv_schema": True, "face_sets": True, "gsamples": 2})
    ):
        path = tmp_path / f"{number}.abc"
        call_operator(bpy.ops.wm.alembic_export, filepath=str(path), start=1, end=6, **options)
        check_alembic(path, path.name)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(WrongFormat, match="is damaged: "):
            check_alembic(path, path.name)


def test_what_is_wrong_is_found_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fuzzer that finds nothing may be blind."""
    from fuzz import run

    good = tmp_path / "corpus" / "plain-ply"
    good.mkdir(parents=True)
    (good / "plain.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 0\nend_header\n")
    fuzzer = Fuzzer(tmp_path)

    def raising(*_: object, **__: object) -> str:
        raise ZeroDivisionError

    def hanging(*_: object, **__: object) -> str:
        while True:
            pass

    def greedy(*_: object, **__: object) -> str:
        return str(bytearray(4 << 30))

    monkeypatch.setitem(run.SECONDS, "inspector", 0.5)
    for broken, found in ((raising, "ZeroDivisionError"), (hanging, "hang"), (greedy, "Memory")):
        monkeypatch.setattr(run, "inspect_file", broken)
        (why,) = fuzzer.run("inspector", 1).found
        assert why.startswith(found)
    assert len(list((tmp_path / "found").iterdir())) == 3
