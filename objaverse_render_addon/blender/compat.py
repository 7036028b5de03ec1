"""Every difference between Blender 4.2 and 5.2 that this project meets, one function each.

Differences are found by capability (RNA properties, operators), not by version number.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import bpy

from ..errors import RenderFailed, UnsupportedFormat

__all__ = [
    "animated_paths",
    "call_operator",
    "compositor_tree",
    "curves_of",
    "cycles_engine",
    "denoises_on_cpu",
    "engine_id",
    "file_output_path",
    "find_operator",
    "fits",
    "for_now",
    "has_denoiser",
    "has_nodes",
    "leave_extensions_alone",
    "make_file_output",
    "new_aov_output",
    "old_pass_name",
    "pass_socket",
    "play_action",
    "relative_path_options",
    "remove_compositor_tree",
    "sample_range",
    "set_checked",
    "set_compositing",
    "set_file_output",
    "set_image_format",
    "slot_of",
    "slots_of",
    "usd_opacity_thresholds",
]


def set_checked(owner: Any, **values: Any) -> None:
    """Set properties and read them back: a name or a value that Blender ignores is an error.

    Old versions accept unknown attributes on add-on property groups in silence, and some
    setters clamp; both spoil data without a word.
    """
    for name, value in values.items():
        if name not in owner.bl_rna.properties:
            raise RenderFailed(f"Blender {bpy.app.version_string}: {owner} has no {name}.")
        try:
            setattr(owner, name, value)
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise RenderFailed(
                f"Blender {bpy.app.version_string} does not take {value!r} for {name}: {error}."
            ) from error
        got = getattr(owner, name)
        if isinstance(value, float):
            same = abs(got - value) <= 1e-5 * max(1.0, abs(value))
        else:
            same = got == value
        if not same:
            raise RenderFailed(
                f"Blender {bpy.app.version_string} made {name} {got!r} instead of {value!r}."
            )


def animated_paths(block: Any) -> set[str]:
    """Data paths of a datablock that curves, strips or drivers change."""
    animation = block.animation_data
    if animation is None:
        return set()
    actions = [animation.action]
    actions += [strip.action for track in animation.nla_tracks for strip in track.strips]
    curves = [curve for action in actions if action for curve in _curves(action)]
    return {curve.data_path for curve in (*curves, *animation.drivers)}


def _curves(action: Any) -> list[Any]:
    """Of all of an action's slots; which slot is whose does not matter where names do."""
    if not hasattr(action, "layers"):
        return list(action.fcurves)
    return [
        curve
        for layer in action.layers
        for strip in layer.strips
        for bag in strip.channelbags
        for curve in bag.fcurves
    ]


def slots_of(action: Any) -> list[Any]:
    """Its slots, one for each datablock that it animates; before Blender 4.4 none, once."""
    return list(action.slots) if hasattr(action, "slots") else [None]


def slot_of(user: Any) -> Any:
    """Which slot of its action a datablock's animation data, or a strip, plays."""
    return getattr(user, "action_slot", None)


def curves_of(action: Any, slot: Any) -> list[Any]:
    """The curves of one of an action's slots."""
    if slot is None:
        return _curves(action)
    return [
        curve
        for layer in action.layers
        for strip in layer.strips
        for bag in strip.channelbags
        if bag.slot_handle == slot.handle
        for curve in bag.fcurves
    ]


def fits(action: Any, slot: Any, owner: Any) -> bool:
    """Whether a slot of an action was made for datablocks of the owner's type."""
    if slot is None:
        return bool(action.id_root in (owner.id_type, "UNSPECIFIED"))
    named = slot.target_id_type in (owner.id_type, "UNSPECIFIED")
    ours = slot.name_display == owner.name
    others = any(other.name_display == owner.name for other in action.slots)
    return bool(named and (ours or not others))


def play_action(data: Any, action: Any, slot: Any) -> None:
    """Give a datablock's animation data an action to play, or none."""
    data.action = action
    if action is not None and slot is not None:
        data.action_slot = slot


def engine_id(name: str) -> str:
    """Identifier of ``cycles``, ``eevee`` or ``workbench``."""
    if name != "eevee":
        return {"cycles": "CYCLES", "workbench": "BLENDER_WORKBENCH"}[name]
    # The property's own items are the built-in engines; add-ons' come on top.
    enum = bpy.types.RenderSettings.bl_rna.properties["engine"].enum_items
    known = {item.identifier for item in enum}
    return "BLENDER_EEVEE_NEXT" if "BLENDER_EEVEE_NEXT" in known else "BLENDER_EEVEE"


def find_operator(*paths: str) -> Any:
    """The first of these operators (``"wm.obj_import"``) that this Blender has.

    Raises:
        UnsupportedFormat: It has none of them.
    """
    for path in paths:
        module, name = path.split(".")
        operator = getattr(getattr(bpy.ops, module), name)
        try:
            operator.get_rna_type()
        except KeyError:
            continue
        return operator
    raise UnsupportedFormat(
        f"This Blender, {bpy.app.version_string}, has no importer for {_format_of(paths[0])}.",
        hint="It was built without, or the importer's add-on is disabled.",
    )


def _format_of(path: str) -> str:
    """``usd`` of ``wm.usd_import``, ``fbx`` of ``import_scene.fbx``."""
    module, name = path.split(".")
    return name.removesuffix("_import") if module == "wm" else name


def call_operator(operator: Any, **arguments: Any) -> set[str]:
    """Call an operator with those of the arguments that its version knows."""
    known = operator.get_rna_type().properties
    result: set[str] = operator(
        **{name: value for name, value in arguments.items() if name in known}
    )
    return result


def gltf_decoders() -> set[str]:
    """Extensions of glTF whose compression this Blender decodes; pip's lacks the libraries."""
    found = set()
    with contextlib.suppress(ImportError, AttributeError, TypeError):
        from io_scene_gltf2.io.com.library import dll_path

        for library, variable, extensions in (
            ("bf_intern_draco_bridge", "Draco", {"KHR_draco_mesh_compression"}),
            (
                "bf_intern_meshopt_bridge",
                "MeshOptimizer",
                {"EXT_meshopt_compression", "KHR_meshopt_compression"},
            ),
        ):
            if (path := dll_path(library, variable)) is not None and path.is_file():
                found |= extensions
        return found
    with contextlib.suppress(ImportError, AttributeError, TypeError):
        from io_scene_gltf2.io.com import gltf2_io_draco_compression_extension as draco

        if draco.dll_exists(quiet=True):
            found.add("KHR_draco_mesh_compression")
    return found


def usd_opacity_thresholds(path: Path) -> dict[str, float] | None:
    """``opacityThreshold`` of each material of a USD file, by its prim's name.

    Returns:
        ``None`` where this Blender's Python has no USD, as 4.2's, or the file no stage.
    """
    if not hasattr(bpy.utils, "expose_bundled_modules"):
        return None
    bpy.utils.expose_bundled_modules()
    try:
        from pxr import Tf, Usd, UsdShade
    except ImportError:
        return None
    found = {}
    try:
        # Its prims are gone with it.
        stage = Usd.Stage.Open(str(path))
        for prim in stage.TraverseAll():
            if not prim.IsA(UsdShade.Material):
                continue
            source = UsdShade.Material(prim).ComputeSurfaceSource()[0]
            threshold = source.GetInput("opacityThreshold") if source else None
            value = threshold.Get() if threshold else None
            if value is not None:
                found[prim.GetName()] = float(value)
    except (Tf.ErrorException, ValueError, TypeError):
        return None
    return found


def has_denoiser(cycles: Any) -> bool:
    """Whether this build of Blender has OpenImageDenoise; distributions leave it out."""
    try:
        cycles.denoiser = "OPENIMAGEDENOISE"
    except TypeError:
        return False
    return bool(cycles.denoiser == "OPENIMAGEDENOISE")


def denoises_on_cpu(cycles: Any) -> bool:
    """Whether the CPU would take a picture's noise; a GPU gives other bits."""
    return not (getattr(cycles, "denoising_use_gpu", False) and cycles.device == "GPU")


def compositor_tree(scene: bpy.types.Scene) -> Any:
    """The scene's compositor node tree, made if there is none."""
    if hasattr(scene, "compositing_node_group"):
        if scene.compositing_node_group is None:
            scene.compositing_node_group = bpy.data.node_groups.new(
                "Objaverse Passes", "CompositorNodeTree"
            )
        return scene.compositing_node_group
    fresh = scene.node_tree is None
    if fresh:
        scene.use_nodes = True
        # Blender fills a new tree with a Composite node that nobody asked for.
        scene.node_tree.nodes.clear()
    return scene.node_tree


def remove_compositor_tree(scene: bpy.types.Scene) -> None:
    """Take away the tree that :func:`compositor_tree` made, unless somebody put nodes into it."""
    if hasattr(scene, "compositing_node_group"):
        tree = scene.compositing_node_group
        if tree is None or len(tree.nodes):
            return
        scene.compositing_node_group = None
        # An editor that shows it is a user of it, too.
        if all(other.compositing_node_group != tree for other in bpy.data.scenes):
            bpy.data.node_groups.remove(tree)
    elif scene.node_tree is not None:
        scene.node_tree.nodes.clear()


def set_compositing(scene: bpy.types.Scene, active: bool) -> None:
    """Let renders run the compositor, or not."""
    if not hasattr(scene, "compositing_node_group") and scene.use_nodes != active:
        scene.use_nodes = active
    scene.render.use_compositing = active


def uses_nodes(scene: bpy.types.Scene) -> bool:
    """Whether the compositor's nodes are switched on (always, since 5.0)."""
    return True if hasattr(scene, "compositing_node_group") else bool(scene.use_nodes)


def set_image_format(settings: Any, *, multilayer: bool, half: bool = False) -> None:
    """Uncompressed 32-bit EXR: one image, or one part with many layers.

    Args:
        half: Colours, and nothing else, are 16-bit floats.

    Switching the media type resets the bit depth behind one's back, so everything is set in
    this order and read back.
    """
    known = settings.bl_rna.properties
    if "media_type" in known:
        set_checked(settings, media_type="MULTI_LAYER_IMAGE" if multilayer else "IMAGE")
    set_checked(settings, file_format="OPEN_EXR_MULTILAYER" if multilayer else "OPEN_EXR")
    if not multilayer:
        set_checked(settings, color_mode="RGBA")
    set_checked(settings, color_depth="16" if half else "32", exr_codec="NONE")
    if "use_exr_interleave" in known:
        set_checked(settings, use_exr_interleave=True)


def make_file_output(tree: Any, layers: Sequence[tuple[str, str]]) -> Any:
    """A File Output node that writes all layers into one multilayer EXR.

    Args:
        layers: Name and socket type (``FLOAT``, ``VECTOR``, ``RGBA``) of each.
    """
    node = tree.nodes.new("CompositorNodeOutputFile")
    set_image_format(node.format, multilayer=True)
    if hasattr(node, "file_output_items"):
        node.file_output_items.clear()
        for name, kind in layers:
            node.file_output_items.new(kind, name)
        if hasattr(node, "use_file_extension"):
            node.use_file_extension = True
    else:
        node.layer_slots.clear()
        for name, _ in layers:
            node.layer_slots.new(name)
    return node


def show_settings(scene: bpy.types.Scene) -> None:
    """Have the next render see what Cycles' own settings are now, as samples and seed.

    Blender does not notice that they changed, so that what persistent data keeps would be rendered
    with the old ones. To set any property of its own helps, even to what it is; to tag the scene
    does, too, and has Cycles look through all of it: 4 % of a run's processor time.
    """
    scene.render.use_border = scene.render.use_border


def set_file_output(node: Any, folder: Path, stem: str) -> None:
    """Where a node of :func:`make_file_output` writes."""
    if hasattr(node, "file_output_items"):
        node.directory, node.file_name = str(folder), stem
    else:
        node.base_path = str(folder / stem)


def file_output_path(node: Any, scene: bpy.types.Scene) -> Path:
    """The file that such a node writes when the scene is rendered at its current frame."""
    if hasattr(node, "file_output_items"):
        return Path(node.directory) / f"{node.file_name}.exr"
    return Path(f"{node.base_path}{scene.frame_current:04d}.exr")


def pass_socket(node: Any, name: str) -> Any:
    """Output of a Render Layers node, by the name it has had since 5.0."""
    return node.outputs.get(name) or node.outputs[old_pass_name(name)]


def old_pass_name(name: str) -> str:
    """What a pass was called before 5.0."""
    return {"Object Index": "IndexOB", "Material Index": "IndexMA"}.get(name, name)


def cycles_engine() -> Any:
    """Cycles' class of a render engine; ``None`` where it is built in otherwise."""
    try:
        from cycles import CyclesRender
    except ImportError:
        return None
    return CyclesRender if hasattr(CyclesRender, "render") else None


def new_aov_output(tree: Any, name: str) -> Any:
    """A shader node that writes into the view layer's AOV of this name."""
    node = tree.nodes.new("ShaderNodeOutputAOV")
    if "aov_name" in node.bl_rna.properties:
        node.aov_name = name
    else:
        node.name = name
    return node


def has_nodes(material: Any) -> bool:
    """Whether a material's nodes count (always, since 5.0), and not its viewport colour alone."""
    if getattr(type(material).bl_rna.properties["use_nodes"], "is_deprecated", False):
        return True
    return bool(material.use_nodes)


def relative_path_options() -> set[str]:
    """Options of a path property where ``//`` is understood; newer Blenders want to be told."""
    told = "is_path_supports_blend_relative" in bpy.types.Property.bl_rna.properties
    return {"PATH_SUPPORTS_BLEND_RELATIVE"} if told else set()


def leave_extensions_alone() -> None:
    """Keep this process from changing the user's installed extensions.

    Factory settings enable none of them, and a Blender that loads those settings then removes
    every extension's wheels from the user's folder, under the feet of the Blender that runs there.
    """
    import addon_utils

    if hasattr(addon_utils, "extensions_refresh"):
        addon_utils.extensions_refresh = lambda *_, **__: None


def viewport_encodes() -> bool:
    """Whether the viewport raises what is drawn into it to 1 / 2.2, in place of sRGB's curve.

    Since 5.0 it stays as it is, and ``draw_texture_2d`` can be told which of both a texture is.
    """
    return bool(bpy.app.version < (5, 0, 0))


def sample_range(cycles: Any, first: int, count: int, total: int) -> dict[str, Any]:
    """Settings by which Cycles renders some of a picture's samples, undenoised.

    The mean of all of them is the picture that has all at once. Blender has subsets since 4.4;
    before, an offset alone, and there only one of its patterns goes on where it was left.
    """
    subset = hasattr(cycles, "use_sample_subset")
    values: dict[str, Any] = {
        "use_denoising": False, "sample_offset": first, "use_adaptive_sampling": False,
    }  # fmt: skip
    if subset:
        values |= {"use_sample_subset": True, "sample_subset_length": count, "samples": total}
    else:
        values |= {"samples": count, "sampling_pattern": "TABULATED_SOBOL"}
    return values


def in_memory() -> dict[str, Any]:
    """Settings by which Cycles keeps a large picture in memory, not in tiles in a file."""
    return {"use_auto_tile": False}


@contextlib.contextmanager
def for_now(owner: Any, values: dict[str, Any]) -> Iterator[None]:
    """Within it some properties have other values."""
    before = {name: getattr(owner, name) for name in values}
    try:
        set_checked(owner, **values)
        yield
    finally:
        set_checked(owner, **before)
