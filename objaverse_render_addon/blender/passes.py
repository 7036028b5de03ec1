"""Depth, normal and the rest through the compositor, on Blender 4.2 to 5.2, and back.

One Render Layers node feeds one File Output node, which writes one multilayer 32-bit EXR per
render: depth and normal can never come from two files that do not belong together. The user's
own nodes stay untouched; :func:`restore_passes` removes what :func:`setup_passes` added and puts
the settings back, also after the file was saved and opened again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import bpy

from ..passspec import PASS_NAMES, layers_for
from . import compat

__all__ = ["SCENE_PASSES", "is_set_up", "restore_passes", "set_output", "setup_passes"]

_RECORD: Final = "objaverse_passes"
_MARK: Final = "objaverse_pass_node"
# Blender 4.5's first compositor nodes come with this image.
_VIEWER: Final = "Viewer Node"
SCENE_PASSES: Final = frozenset(
    layer.name for layer in layers_for(PASS_NAMES) if layer.flag and layer.name in PASS_NAMES
)
"""Passes that :func:`setup_passes` alone fills; AOVs are black until materials write into them."""


def setup_passes(
    scene: bpy.types.Scene,
    view_layer: bpy.types.ViewLayer,
    wanted: Iterable[str],
    folder: Path,
    stem: str = "geometry",
) -> Any:
    """Make renders of ``scene`` write their geometry into ``folder/stem*.exr``.

    Written is what :data:`objaverse_render_addon.passspec.PASSES` says that the wanted passes are
    made from; depth and normal always. Channels are named ``depth.V``, ``normal.X`` … as
    :func:`objaverse_render_addon.frame.assemble` reads them: depth is planar Z in scene units,
    1e10 where nothing is; normals are in world axes. The materials' AOV outputs are
    :mod:`objaverse_render_addon.blender.materials`' work.

    Returns:
        The File Output node, for :func:`set_output`.
    """
    if _RECORD in scene:
        restore_passes(scene, view_layer)
    layers = layers_for(wanted)
    grouped = hasattr(scene, "compositing_node_group")
    had_tree = (scene.compositing_node_group if grouped else scene.node_tree) is not None
    flags = [layer.flag for layer in layers if layer.flag]
    aovs = [layer.output for layer in layers if not layer.flag]
    added_aovs = [name for name in aovs if name not in view_layer.aovs]
    scene[_RECORD] = json.dumps(
        {
            "view_layer": view_layer.name,
            "had_tree": had_tree,
            "use_nodes": compat.uses_nodes(scene),
            "use_compositing": scene.render.use_compositing,
            "flags": {flag: getattr(view_layer, flag) for flag in flags},
            "aovs": added_aovs,
            "had_viewer": _VIEWER in bpy.data.images,
            "device": getattr(scene.render, "compositor_device", None),
        }
    )
    for flag in flags:
        compat.set_checked(view_layer, **{flag: True})
    for name in added_aovs:
        aov = view_layer.aovs.add()
        aov.name, aov.type = name, "COLOR"
    compat.set_compositing(scene, True)
    if hasattr(scene.render, "compositor_device"):
        # Where there is no GPU the 5.2 default fails, and copying pixels needs none.
        scene.render.compositor_device = "CPU"
    tree = compat.compositor_tree(scene)
    source = tree.nodes.new("CompositorNodeRLayers")
    source.scene, source.layer = scene, view_layer.name
    output = compat.make_file_output(tree, [(layer.name, layer.socket) for layer in layers])
    _beside(tree, source, output)
    for node in (source, output):
        node[_MARK] = True
    for layer in layers:
        tree.links.new(compat.pass_socket(source, layer.output), output.inputs[layer.name])
    set_output(output, folder, stem)
    return output


def _beside(tree: Any, source: Any, output: Any) -> None:
    """Put both side by side below what is there, and say what they are."""
    others = [node for node in tree.nodes if node not in (source, output)]
    left = min((node.location[0] for node in others), default=0.0)
    # Nodes grow downwards; those of passes are tall.
    low = min((node.location[1] - max(100.0, node.height) for node in others), default=200.0)
    source.location, output.location = (left, low - 200.0), (left + 400.0, low - 200.0)
    source.label, output.label = "Objaverse Passes", "Objaverse Passes to EXR"


def is_set_up(scene: bpy.types.Scene) -> bool:
    """Whether :func:`setup_passes` was called and not undone."""
    return _RECORD in scene


def set_output(node: Any, folder: Path, stem: str) -> None:
    """Where the next render's file goes."""
    compat.set_file_output(node, folder, stem)


def restore_passes(scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer | None = None) -> bool:
    """Undo :func:`setup_passes`.

    Returns:
        Whether there was something to undo.
    """
    if _RECORD not in scene:
        return False
    record = json.loads(scene[_RECORD])
    layer = view_layer or scene.view_layers.get(record["view_layer"])
    tree = compat.compositor_tree(scene)
    for node in [node for node in tree.nodes if _MARK in node]:
        tree.nodes.remove(node)
    if not record["had_tree"]:
        compat.remove_compositor_tree(scene)
        if not record["had_viewer"] and _VIEWER in bpy.data.images:
            bpy.data.images.remove(bpy.data.images[_VIEWER])
    if layer is not None:
        for flag, value in record["flags"].items():
            setattr(layer, flag, value)
        for name in record["aovs"]:
            if name in layer.aovs:
                layer.aovs.remove(layer.aovs[name])
    compat.set_compositing(scene, record["use_nodes"])
    scene.render.use_compositing = record["use_compositing"]
    if record["device"] is not None:
        scene.render.compositor_device = record["device"]
    del scene[_RECORD]
    return True
