"""Passes through the compositor leave a user's own scene as it was."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from objaverse_render_addon.dataset.images import read_exr

from . import scenes

EVERYTHING = [
    "rgb", "depth", "normal", "mask", "albedo", "roughness_metallic", "position", "object_index",
    "distance",
]  # fmt: skip


def settings(owner: Any) -> dict[str, Any]:
    """Every plain setting of a Blender struct."""
    found = {}
    for prop in owner.bl_rna.properties:
        if prop.type not in ("BOOLEAN", "INT", "FLOAT", "STRING", "ENUM") or prop.is_readonly:
            continue
        with warnings.catch_warnings():
            # Reading what Blender 6 will not have any more is a warning in Blender 5.
            warnings.simplefilter("ignore", DeprecationWarning)
            value = getattr(owner, prop.identifier)
        found[prop.identifier] = tuple(value) if getattr(prop, "is_array", False) else value
    return found


def tree_of(scene: Any) -> Any:
    grouped = hasattr(scene, "compositing_node_group")
    return scene.compositing_node_group if grouped else scene.node_tree


def snapshot(scene: Any) -> dict[str, Any]:
    import bpy

    layer = scene.view_layers[0]
    tree = tree_of(scene)
    nodes = list(tree.nodes) if tree else []
    return {
        "render": settings(scene.render),
        "image settings": settings(scene.render.image_settings),
        "cycles": settings(scene.cycles),
        "scene": settings(scene),
        "layer": settings(layer),
        "aovs": [(aov.name, aov.type) for aov in layer.aovs],
        "nodes": [(node.bl_idname, settings(node)) for node in nodes],
        "defaults": [
            [getattr(socket, "default_value", None).__repr__() for socket in node.inputs]
            for node in nodes
        ],
        "links": sorted(
            (link.from_node.name, link.from_socket.name, link.to_node.name, link.to_socket.name)
            for link in (tree.links if tree else ())
        ),
        "custom": sorted(scene.keys()),
        "groups": sorted(group.name for group in bpy.data.node_groups),
        "scenes": sorted(item.name for item in bpy.data.scenes),
    }


def users_scene(with_tree: bool) -> Any:
    """A scene as somebody works on it, with passes and compositing of their own."""
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    scene = bpy.context.scene
    scenes.add_cube(2.0, material=scenes.principled(Base_Color=(0.9, 0.1, 0.1, 1)))
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location = (0, 0, 6)
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 1
    scene.render.resolution_x = scene.render.resolution_y = 32
    layer = scene.view_layers[0]
    layer.use_pass_normal, layer.use_pass_mist, layer.use_pass_z = True, True, False
    if not with_tree:
        return scene
    layer.aovs.add().name = "albedo"
    layer.aovs.add().name = "mine"
    scene.render.use_compositing = False
    if hasattr(scene, "compositing_node_group"):
        tree = bpy.data.node_groups.new("My compositing", "CompositorNodeTree")
        scene.compositing_node_group = tree
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        output = tree.nodes.new("NodeGroupOutput")
    else:
        scene.use_nodes = True
        tree = scene.node_tree
        tree.nodes.clear()
        output = tree.nodes.new("CompositorNodeComposite")
    source = tree.nodes.new("CompositorNodeRLayers")
    source.location = (-400, 120)
    invert = tree.nodes.new("CompositorNodeInvert")
    factor = next(socket for socket in invert.inputs if socket.type == "VALUE")
    factor.default_value = 0.75
    invert.mute, invert.label = True, "keep me"
    tree.links.new(source.outputs["Image"], invert.inputs["Color"])
    tree.links.new(invert.outputs[0], output.inputs[0])
    return scene


@pytest.mark.core
@pytest.mark.parametrize("with_tree", [True, False])
def test_a_users_scene_is_as_it_was_after_each_round(with_tree: bool, tmp_path: Path) -> None:
    import bpy

    from objaverse_render_addon.blender.compat import file_output_path
    from objaverse_render_addon.blender.passes import restore_passes, setup_passes

    scene = users_scene(with_tree)
    before = snapshot(scene)
    for number in range(2):
        output = setup_passes(scene, scene.view_layers[0], EVERYTHING, tmp_path, f"round{number}-")
        path = file_output_path(output, scene)
        bpy.ops.render.render()
        channels = read_exr(path)
        assert {"depth.V", "normal.X", "position.Z", "albedo.R", "object_index.V"} <= {*channels}
        assert channels["depth.V"][16, 16] == pytest.approx(5.0, abs=1e-5)
        if not with_tree and hasattr(scene, "compositing_node_group"):
            # An editor that shows it is a user as well; in background there is none.
            scene.compositing_node_group.use_fake_user = True
        assert restore_passes(scene, scene.view_layers[0])
        after = snapshot(scene)
        for name, value in before.items():
            assert after[name] == value, (number, name)
    assert not restore_passes(scene), "there is nothing left to undo"


@pytest.mark.core
def test_nodes_that_were_put_beside_ours_stay(tmp_path: Path) -> None:
    import bpy

    from objaverse_render_addon.blender.passes import restore_passes, setup_passes

    scene = users_scene(False)
    if not hasattr(scene, "compositing_node_group"):
        pytest.skip("before Blender 5 a scene has nodes of its own")
    setup_passes(scene, scene.view_layers[0], EVERYTHING, tmp_path)
    scene.compositing_node_group.nodes.new("CompositorNodeInvert").label = "theirs"
    restore_passes(scene)
    assert [node.label for node in scene.compositing_node_group.nodes] == ["theirs"]
    bpy.data.node_groups.remove(scene.compositing_node_group)


@pytest.mark.core
def test_setting_up_twice_and_saving_in_between_can_still_be_undone(tmp_path: Path) -> None:
    import bpy

    from objaverse_render_addon.blender.passes import restore_passes, setup_passes

    scene = users_scene(True)
    before = snapshot(scene)
    setup_passes(scene, scene.view_layers[0], ["depth", "position"], tmp_path)
    setup_passes(scene, scene.view_layers[0], EVERYTHING, tmp_path)
    path = tmp_path / "mine.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.open_mainfile(filepath=str(path))
    scene = bpy.context.scene
    assert restore_passes(scene)
    after = snapshot(scene)
    for name, value in before.items():
        assert after[name] == value, name
