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

from . import compat

__all__ = ["is_set_up", "restore_passes", "set_output", "setup_passes"]

_RECORD: Final = "objaverse_passes"
_MARK: Final = "objaverse_pass_node"
# Blender 4.5's first compositor nodes come with this image.
_VIEWER: Final = "Viewer Node"

# Pass name to layers in the EXR: (layer, socket type, Render Layers output, view layer flag).
_LAYERS: Final[dict[str, tuple[str, str, str, str]]] = {
    "depth": ("depth", "FLOAT", "Depth", "use_pass_z"),
    "normal": ("normal", "VECTOR", "Normal", "use_pass_normal"),
    "position": ("position", "VECTOR", "Position", "use_pass_position"),
    "object_index": ("object_index", "FLOAT", "Object Index", "use_pass_object_index"),
    "albedo": ("albedo", "RGBA", "albedo", ""),
    "roughness_metallic": ("roughness_metallic", "RGBA", "roughness_metallic", ""),
}
AOVS: Final = ("albedo", "roughness_metallic")


def setup_passes(
    scene: bpy.types.Scene,
    view_layer: bpy.types.ViewLayer,
    wanted: Iterable[str],
    folder: Path,
    stem: str = "geometry",
) -> Any:
    """Make renders of ``scene`` write their geometry into ``folder/stem*.exr``.

    Depth and normal are always written. Channels are named ``depth.V``, ``normal.X`` … as
    :func:`objaverse_render_addon.frame.assemble` reads them: depth is planar Z in scene units,
    1e10 where nothing is; normals are in world axes. The materials' AOV outputs for ``albedo``
    and ``roughness_metallic`` are :mod:`objaverse_render_addon.blender.materials`' work.

    Returns:
        The File Output node, for :func:`set_output`.
    """
    if _RECORD in scene:
        restore_passes(scene, view_layer)
    names = ["depth", "normal", *(name for name in _LAYERS if name in set(wanted))]
    layers = {name: _LAYERS[name] for name in names}
    grouped = hasattr(scene, "compositing_node_group")
    had_tree = (scene.compositing_node_group if grouped else scene.node_tree) is not None
    flags = [flag for *_, flag in layers.values() if flag]
    added_aovs = [name for name in AOVS if name in layers and name not in view_layer.aovs]
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
    output = compat.make_file_output(tree, [(layer, kind) for layer, kind, *_ in layers.values()])
    for node in (source, output):
        node[_MARK] = True
    for layer, _, socket, _ in layers.values():
        tree.links.new(compat.pass_socket(source, socket), output.inputs[layer])
    set_output(output, folder, stem)
    return output


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
