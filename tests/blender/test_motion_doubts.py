"""What is not followed exactly, or stands for less than it seems to, is said by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.errors import StillAnimation

from . import moving, scenes

MOTION = ["depth", "mask", "flow_forward", "occlusion_forward"]


def doubts_of(path: Path, **values: Any) -> tuple[Any, set[str]]:
    given = {name.replace("__", "."): value for name, value in values.items()}
    session = scenes.open_scene(
        path,
        scenes.make_job({"cameras.views": 1, "cameras.pattern": "ring", "time.frames": "1:3",
                         "pixels.passes": MOTION, **given}),
    )  # fmt: skip
    return session, {text.partition(":")[0] for text in session.warnings}


def test_all_frames_of_what_has_no_animation(tmp_path: Path) -> None:
    path = moving.write(tmp_path / "still.blend", "still")
    session, said = doubts_of(path, time__frames="all")
    assert {"still-animation", "motion-leads-nowhere"} <= said
    (frame,) = scenes.frames_of(session)
    assert np.isnan(frame.passes["flow_forward"][frame.passes["mask"] == 1]).all()
    # Without flow only the first is to be said.
    _, said = doubts_of(path, time__frames="all", pixels__passes=["depth"])
    assert "still-animation" in said and "motion-leads-nowhere" not in said
    with pytest.raises(StillAnimation, match="is animated; it has one frame"):
        doubts_of(path, time__frames="all", time__still="fail")


def test_cameras_of_a_file_do_not_make_it_move(tmp_path: Path) -> None:
    def camera(scene: Any) -> None:
        import bpy

        for number in (1, 2):
            eye = bpy.data.objects.new(f"Eye{number}", bpy.data.cameras.new("Eye"))
            eye.location = (0.1 * number, 0, 6)
            scene.collection.objects.link(eye)
            marker = scene.timeline_markers.new(f"Cut{number}", frame=number)
            marker.camera = eye
        scene.render.use_multiview = True

    path = moving.write(tmp_path / "eyes.blend", "still", camera)
    session, said = doubts_of(path, cameras__pattern="scene", cameras__views=None)
    assert {"still-animation", "cameras-switch", "one-eye"} <= said
    # Each camera is a view at all frames, whichever the markers would choose.
    assert [frame.key.view for frame in scenes.frames_of(session)] == [0, 1] * 3


def test_hair_and_raised_surfaces_under_flow(tmp_path: Path) -> None:
    def furry(_: Any) -> None:
        import bpy

        box = bpy.data.objects["Box"]
        box.modifiers.new("Fur", "PARTICLE_SYSTEM")
        fur = box.particle_systems[0].settings
        fur.type, fur.count, fur.hair_length = "HAIR", 20, 0.3

    def raised(_: Any) -> None:
        import bpy

        material, tree, output = scenes.new_material("Raised")
        node = tree.nodes.new("ShaderNodeDisplacement")
        node.inputs["Height"].default_value = 0.8
        tree.links.new(node.outputs[0], output.inputs["Displacement"])
        material.displacement_method = "DISPLACEMENT"
        bpy.data.objects["Box"].data.materials.append(material)

    path = moving.write(tmp_path / "fur.blend", "translating", furry)
    assert "motion-as-if-rigid" in doubts_of(path)[1]
    assert "motion-as-if-rigid" not in doubts_of(path, pixels__passes=["depth"])[1]
    path = moving.write(tmp_path / "raised.blend", "morphed", raised)
    assert "motion-below-displacement" in doubts_of(path)[1]
    # What keeps its shape goes along with its matrix, however far it is raised.
    path = moving.write(tmp_path / "rigid.blend", "translating", raised)
    assert "motion-below-displacement" not in doubts_of(path)[1]


def test_files_of_the_surface_show_one_frame(tmp_path: Path) -> None:
    path = moving.write(tmp_path / "walk.blend", "skinned")
    _, said = doubts_of(path, files__geometry_files=["points"])
    assert "one-frame-of-surface" in said
    path = moving.write(tmp_path / "still.blend", "still")
    _, said = doubts_of(path, files__geometry_files=["points"])
    assert "one-frame-of-surface" not in said
