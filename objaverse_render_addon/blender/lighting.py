"""Light, and nothing else that shines."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import bpy

from ..cameras import draw
from ..errors import InvalidJob
from ..job import RenderJob

__all__ = ["add_image", "light_scene", "new_world", "rescale_lights"]

# Name, rotation in degrees, the energies that one is drawn from (objaverse-xl blender_script.py).
XL_SUNS: Final = (
    ("key", (45.0, 0.0, -45.0), (3.0, 4.0, 5.0)),
    ("fill", (45.0, 0.0, 135.0), (2.0, 3.0, 4.0)),
    ("rim", (-45.0, 0.0, -225.0), (3.0, 4.0, 5.0)),
    ("bottom", (180.0, 0.0, 0.0), (1.0, 2.0, 3.0)),
)
# Linear grey of the world in Blender's startup file, which those scripts rendered in.
XL_WORLD: Final = 0.05087608844041824


def light_scene(
    scene: bpy.types.Scene, job: RenderJob, asset_id: str, source_world: Any
) -> dict[str, Any]:
    """Light the scene as the job says.

    Args:
        source_world: The file's own world, for ``keep``.

    Returns:
        What was set, for the metadata, with every random draw.
    """
    rules = job.lighting
    record: dict[str, Any] = {"mode": rules.mode, "strength": rules.strength}
    if rules.mode == "keep":
        scene.world = source_world
        record["world"] = source_world.name if source_world else None
        instanced = {obj.instance_collection for obj in scene.objects} - {None}
        seen = {*scene.objects}.union(*(item.all_objects for item in instanced))
        record["lights"] = sorted(obj.name for obj in seen if obj.type == "LIGHT")
        return record
    if rules.mode == "xl":
        scene.world = new_world((XL_WORLD,) * 3, 1.0)
        record["suns"] = _add_suns(scene, job.seed, asset_id)
        record["world"] = XL_WORLD
    elif rules.mode == "hdri":
        assert rules.hdri
        scene.world = new_world((1.0, 1.0, 1.0), rules.strength)
        add_image(scene.world, Path(rules.hdri))
        record["hdri"] = rules.hdri
    else:
        scene.world = new_world((1.0, 1.0, 1.0), rules.strength)
        # A uniform world needs no importance map, which takes time to build.
        scene.world.cycles.sampling_method = "NONE"
    return record


def new_world(color: tuple[float, ...], strength: float) -> bpy.types.World:
    """A world of one colour (linear)."""
    world = bpy.data.worlds.new("Objaverse World")
    if world.node_tree is None:
        world.use_nodes = True
    background = next(node for node in world.node_tree.nodes if node.type == "BACKGROUND")
    background.inputs["Color"].default_value = (*color, 1.0)
    background.inputs["Strength"].default_value = strength
    return world


def add_image(world: bpy.types.World, path: Path) -> None:
    """Let a world of :func:`new_world` shine as an equirectangular image does.

    Raises:
        InvalidJob: It cannot be read.
    """
    try:
        image = bpy.data.images.load(str(path.resolve()))
        broken = image.size[0] == 0
    except RuntimeError:
        broken = True
    if broken:
        raise InvalidJob(f"The HDRI {path} cannot be read.", hint="Give an .hdr or .exr image.")
    tree = world.node_tree
    node = tree.nodes.new("ShaderNodeTexEnvironment")
    node.image = image
    background = next(node for node in tree.nodes if node.type == "BACKGROUND")
    tree.links.new(node.outputs["Color"], background.inputs["Color"])


def _add_suns(scene: bpy.types.Scene, seed: int, asset_id: str) -> dict[str, float]:
    energies = {}
    numbers = draw(seed, asset_id, "xl-suns", 0, len(XL_SUNS))
    for (name, rotation, choices), number in zip(XL_SUNS, numbers, strict=True):
        energy = choices[int(number * len(choices))]
        light = bpy.data.lights.new(f"Objaverse {name}", "SUN")
        light.energy = energy
        light.use_shadow = False
        if hasattr(light.cycles, "cast_shadow"):
            light.cycles.cast_shadow = False
        light.specular_factor = 1.0
        sun = bpy.data.objects.new(light.name, light)
        sun.rotation_euler = [math.radians(angle) for angle in rotation]
        scene.collection.objects.link(sun)
        energies[name] = energy
    return energies


def rescale_lights(objects: Iterable[Any], scale: float) -> None:
    """Keep the look of kept lights when the scene around them is scaled.

    Distances shrink with the scene, and irradiance grows with their inverse square.
    """
    for light in {obj.data for obj in objects}:
        if light.type != "SUN":
            light.energy *= scale * scale
            light.shadow_soft_size *= scale
