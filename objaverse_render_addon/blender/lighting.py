"""Light, and nothing else that shines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import bpy
import numpy as np

from ..cameras import draw
from ..errors import InvalidJob
from ..job import RenderJob
from ..lights import Light
from . import pictures

__all__ = [
    "LightRig", "add_image", "image_world", "light_scene", "new_world", "rescale_lights",
    "sky_image",
]  # fmt: skip

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
    elif rules.mode == "file" or (rules.hdri and Path(rules.hdri).is_dir()):
        # Each view brings its own.
        record["of_views"] = rules.lights or rules.hdri
    elif rules.mode == "hdri":
        assert rules.hdri
        scene.world = new_world((1.0, 1.0, 1.0), rules.strength)
        add_image(scene.world, sky_image(Path(rules.hdri)))
        record["hdri"] = rules.hdri
    else:
        scene.world = new_world((1.0, 1.0, 1.0), rules.strength)
        # A uniform world needs no importance map, which takes time to build.
        scene.world.cycles.sampling_method = "NONE"
    return record


class LightRig:
    """The lights that views bring with them: switched on one by one, or all at once as groups.

    Args:
        layer: The view layer that renders, which gets a light group for each.
    """

    def __init__(self, scene: bpy.types.Scene, layer: Any) -> None:
        self._scene, self._layer = scene, layer
        self._dark = new_world((0.0, 0.0, 0.0), 0.0)
        self._white = new_world((1.0, 1.0, 1.0), 1.0)
        for world in (self._dark, self._white):
            world.cycles.sampling_method = "NONE"
        self._skies: dict[str, bpy.types.World] = {}
        self._suns: list[Any] = []

    def shine(self, lights: Sequence[Light], groups: Sequence[str] = ()) -> None:
        """Let these lights shine, and no others.

        Args:
            groups: Light group of each, where they are told apart.
        """
        for name in groups:
            if name not in self._layer.lightgroups:
                self._layer.lightgroups.add(name=name)
        named = groups or [""] * len(lights)
        world = self._dark
        suns = [(light, name) for light, name in zip(lights, named, strict=True)
                if not light.is_world]  # fmt: skip
        for light, name in zip(lights, named, strict=True):
            if light.is_world:
                world = self._world(light)
                world.lightgroup = name
        self._scene.world = world
        while len(self._suns) < len(suns):
            data = bpy.data.lights.new("Objaverse sun", "SUN")
            sun = bpy.data.objects.new(data.name, data)
            self._scene.collection.objects.link(sun)
            self._suns.append(sun)
        for number, sun in enumerate(self._suns):
            sun.hide_render = number >= len(suns)
            if number < len(suns):
                light, sun.lightgroup = suns[number]
                _set_sun(sun, light)

    def _world(self, light: Light) -> bpy.types.World:
        if light.kind == "white":
            world = self._white
        else:
            assert light.hdri
            world = self._skies.pop(light.hdri, None) or self._new_sky(light.hdri)
            # The one used last is the last to go.
            self._skies[light.hdri] = world
            _turn(world, light.rotation)
        background = next(node for node in world.node_tree.nodes if node.type == "BACKGROUND")
        background.inputs["Strength"].default_value = light.strength
        tint = background.inputs["Color"]
        if light.kind == "white":
            tint.default_value = (*light.color, 1.0)
        else:
            gain = next(node for node in world.node_tree.nodes if node.type == "VECT_MATH")
            gain.inputs[1].default_value = light.color
        return world

    def _new_sky(self, path: str) -> bpy.types.World:
        while len(self._skies) >= _MOST_SKIES:
            old = self._skies.pop(next(iter(self._skies)))
            images = [node.image for node in old.node_tree.nodes if node.type == "TEX_ENVIRONMENT"]
            bpy.data.worlds.remove(old)
            for image in images:
                bpy.data.images.remove(image)
        world = _turnable(Path(path))
        nodes, links = world.node_tree.nodes, world.node_tree.links
        image = next(node for node in nodes if node.type == "TEX_ENVIRONMENT")
        background = next(node for node in nodes if node.type == "BACKGROUND")
        gain = nodes.new("ShaderNodeVectorMath")
        gain.operation = "MULTIPLY"
        links.new(image.outputs["Color"], gain.inputs[0])
        links.new(gain.outputs["Vector"], background.inputs["Color"])
        return world


_MOST_SKIES: Final = 8
"""Images for light that are kept in memory."""


def _turnable(path: Path) -> bpy.types.World:
    """A world of an image that can be turned."""
    world = new_world((1.0, 1.0, 1.0), 1.0)
    add_image(world, sky_image(path))
    nodes, links = world.node_tree.nodes, world.node_tree.links
    image = next(node for node in nodes if node.type == "TEX_ENVIRONMENT")
    turn, place = nodes.new("ShaderNodeMapping"), nodes.new("ShaderNodeTexCoord")
    links.new(place.outputs["Generated"], turn.inputs["Vector"])
    links.new(turn.outputs["Vector"], image.inputs["Vector"])
    return world


def _turn(world: bpy.types.World, degrees: float) -> None:
    turn = next(node for node in world.node_tree.nodes if node.type == "MAPPING")
    # What is looked up for a direction turns the other way.
    turn.inputs["Rotation"].default_value[2] = -math.radians(degrees)


def image_world(path: Path, turn: float) -> bpy.types.World:
    """A world of an equirectangular image, as bright as an even sky of radiance 1.

    That is: on the surface that it lights most, of those that face up or 45 degrees to a side.

    Args:
        turn: Degrees about +Z, counter-clockwise seen from above.

    Raises:
        InvalidJob: It cannot be read, or is black.
    """
    world = _turnable(path)
    _turn(world, turn)
    nodes = world.node_tree.nodes
    image = next(node for node in nodes if node.type == "TEX_ENVIRONMENT").image
    bright = brightest(image)
    if not 0 < bright < math.inf:
        raise InvalidJob(
            f"The HDRI {path} lights nothing: {bright:g}.", hint="Give an image that shines."
        )
    background = next(node for node in nodes if node.type == "BACKGROUND")
    background.inputs["Strength"].default_value = 1 / bright
    return world


def brightest(image: Any) -> float:
    """Irradiance over pi by an equirectangular image, on what faces up or 45 degrees to a side.

    Of those nine surfaces it is the most; luminance of Rec. 709.
    """
    width, height = image.size
    pixels = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(height, width, image.channels)
    # In rows from below; the middle is +X, azimuth grows to the left.
    luminance = pixels[..., :3].astype(np.float64) @ (0.2126, 0.7152, 0.0722)
    elevation = ((np.arange(height) + 0.5) / height - 0.5) * np.pi
    azimuth = (0.5 - (np.arange(width) + 0.5) / width) * 2 * np.pi
    level, upright = np.cos(elevation)[:, None], np.sin(elevation)[:, None]
    solid = luminance * level * (np.pi / height) * (2 * np.pi / width)
    most = float((solid * np.maximum(upright, 0)).sum())
    for side in range(8):
        aside = level * np.cos(azimuth - side * np.pi / 4)[None, :]
        # Below the horizon is the floor.
        facing = np.maximum((aside + upright) * math.sqrt(0.5), 0) * (upright > 0)
        most = max(most, float((solid * facing).sum()))
    return most / math.pi


def _set_sun(sun: Any, light: Light) -> None:
    sun.data.energy, sun.data.angle = light.strength, math.radians(light.angle)
    sun.data.color = light.color
    azimuth, elevation = math.radians(light.azimuth), math.radians(light.elevation)
    # A sun shines along its -Z: upright over the pole, then tilted and turned.
    sun.rotation_euler = (0.0, math.pi / 2 - elevation, azimuth)


def new_world(color: tuple[float, ...], strength: float) -> bpy.types.World:
    """A world of one colour (linear)."""
    world = bpy.data.worlds.new("Objaverse World")
    if world.node_tree is None:
        world.use_nodes = True
    background = next(node for node in world.node_tree.nodes if node.type == "BACKGROUND")
    background.inputs["Color"].default_value = (*color, 1.0)
    background.inputs["Strength"].default_value = strength
    return world


def sky_image(path: Path) -> bpy.types.Image:
    """An equirectangular image.

    Raises:
        InvalidJob: It cannot be read.
    """
    image = pictures.load(path)
    if image is None:
        raise InvalidJob(f"The HDRI {path} cannot be read.", hint="Give an .hdr or .exr image.")
    return image


def add_image(world: bpy.types.World, image: bpy.types.Image) -> None:
    """Let a world of :func:`new_world` shine as an equirectangular image does."""
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
