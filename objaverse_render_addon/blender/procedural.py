"""Materials of supports and rooms from shader nodes alone: no image, any number of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import bpy

__all__ = ["material_of", "plain"]

Color = tuple[float, float, float]

_WOODS: Final = (
    ((0.52, 0.34, 0.19), (0.36, 0.21, 0.11)), ((0.64, 0.48, 0.31), (0.50, 0.34, 0.20)),
    ((0.33, 0.19, 0.11), (0.19, 0.10, 0.06)), ((0.73, 0.60, 0.44), (0.61, 0.47, 0.32)),
)  # fmt: skip
_STONES: Final = (
    ((0.78, 0.77, 0.75), (0.52, 0.51, 0.50)), ((0.30, 0.31, 0.33), (0.52, 0.52, 0.52)),
    ((0.70, 0.66, 0.60), (0.50, 0.43, 0.36)),
)  # fmt: skip
_CLOTHS: Final = (
    (0.66, 0.63, 0.57), (0.38, 0.45, 0.52), (0.55, 0.42, 0.38), (0.45, 0.50, 0.42),
)  # fmt: skip
_PAINTS: Final = (
    (0.72, 0.72, 0.70), (0.62, 0.66, 0.68), (0.70, 0.66, 0.60), (0.60, 0.65, 0.58),
    (0.66, 0.60, 0.62),
)  # fmt: skip


def _linear(rgb: Sequence[float]) -> tuple[float, float, float, float]:
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in rgb
    )
    return red, green, blue, 1.0


def _new(name: str) -> tuple[Any, Any, Any]:
    material = bpy.data.materials.new(name)
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    return material, tree, shader


def plain(name: str, rgb: Sequence[float], roughness: float, metallic: float) -> Any:
    """One colour.

    Args:
        rgb: sRGB.
    """
    material, _, shader = _new(name)
    shader.inputs["Base Color"].default_value = _linear(rgb)
    shader.inputs["Roughness"].default_value = roughness
    shader.inputs["Metallic"].default_value = metallic
    return material


def material_of(name: str, kind: str, numbers: Mapping[str, Any]) -> Any:
    """A generator's material.

    Args:
        kind: One of :data:`..compose.support.MATERIALS`.
        numbers: As :func:`..compose.light.surfaces_of` draws them.
    """
    material, tree, shader = _new(name)
    if kind == "paint":
        place = int(numbers["tone"] * len(_PAINTS))
        shader.inputs["Base Color"].default_value = _linear(_PAINTS[place])
        shader.inputs["Roughness"].default_value = 0.85 if numbers["calm"] else 0.45
        return material
    _GENERATORS[kind](tree, shader, numbers)
    return material


def _coordinates(tree: Any, numbers: Mapping[str, Any], stretch: Color = (1, 1, 1)) -> Any:
    place, mapping = tree.nodes.new("ShaderNodeTexCoord"), tree.nodes.new("ShaderNodeMapping")
    mapping.inputs["Location"].default_value = numbers["offset"]
    mapping.inputs["Rotation"].default_value[2] = math.radians(numbers["turn"])
    mapping.inputs["Scale"].default_value = [numbers["scale"] * one for one in stretch]
    tree.links.new(place.outputs["Object"], mapping.inputs["Vector"])
    return mapping.outputs["Vector"]


def _ramp(
    tree: Any, factor: Any, colors: Sequence[Sequence[float]], places: Sequence[float]
) -> Any:
    node = tree.nodes.new("ShaderNodeValToRGB")
    elements = node.color_ramp.elements
    while len(elements) < len(colors):
        elements.new(0.5)
    for element, color, place in zip(elements, colors, places, strict=True):
        element.position, element.color = place, _linear(color)
    tree.links.new(factor, node.inputs["Fac"])
    return node.outputs["Color"]


def _noise(
    tree: Any, where: Any, scale: float, detail: float = 3.0, distortion: float = 0.0
) -> Any:
    node = tree.nodes.new("ShaderNodeTexNoise")
    node.inputs["Scale"].default_value = scale
    node.inputs["Detail"].default_value = detail
    node.inputs["Distortion"].default_value = distortion
    tree.links.new(where, node.inputs["Vector"])
    return node.outputs[0]


def _wood(tree: Any, shader: Any, numbers: Mapping[str, Any]) -> None:
    light, dark = _WOODS[int(numbers["tone"] * len(_WOODS))]
    where = _coordinates(tree, numbers, (0.35, 4.0, 4.0))
    grain = tree.nodes.new("ShaderNodeTexWave")
    grain.bands_direction = "Y"
    grain.inputs["Scale"].default_value = 1.1
    grain.inputs["Distortion"].default_value = 7.0
    grain.inputs["Detail"].default_value = 4.0
    grain.inputs["Detail Scale"].default_value = 1.6
    tree.links.new(where, grain.inputs["Vector"])
    middle = tuple((a + b) / 2 for a, b in zip(light, dark, strict=True))
    color = _ramp(tree, grain.outputs["Fac"], (light, middle, light), (0.1, 0.62, 0.95))
    fine = _noise(tree, _coordinates(tree, numbers, (2.0, 60.0, 60.0)), 3.0, 4.0)
    mix = tree.nodes.new("ShaderNodeMix")
    mix.data_type, mix.blend_type = "RGBA", "MULTIPLY"
    mix.inputs[0].default_value = 0.35
    tree.links.new(color, mix.inputs[6])
    tree.links.new(_ramp(tree, fine, ((0.62, 0.6, 0.58), (1, 1, 1)), (0.3, 0.62)), mix.inputs[7])
    tree.links.new(mix.outputs[2], shader.inputs["Base Color"])
    shader.inputs["Roughness"].default_value = 0.42


def _marble(tree: Any, shader: Any, numbers: Mapping[str, Any]) -> None:
    light, dark = _STONES[int(numbers["tone"] * len(_STONES))]
    veins = _noise(tree, _coordinates(tree, numbers), 3.2, 8.0, 1.6)
    color = _ramp(tree, veins, (light, light, dark, light), (0.0, 0.47, 0.515, 0.56))
    tree.links.new(color, shader.inputs["Base Color"])
    shader.inputs["Roughness"].default_value = 0.22


def _terrazzo(tree: Any, shader: Any, numbers: Mapping[str, Any]) -> None:
    light, dark = _STONES[int(numbers["tone"] * len(_STONES))]
    cells = tree.nodes.new("ShaderNodeTexVoronoi")
    cells.inputs["Scale"].default_value = 46.0
    tree.links.new(_coordinates(tree, numbers), cells.inputs["Vector"])
    inside = tree.nodes.new("ShaderNodeMath")
    inside.operation = "LESS_THAN"
    inside.inputs[1].default_value = 0.33
    tree.links.new(cells.outputs["Distance"], inside.inputs[0])
    split = tree.nodes.new("ShaderNodeSeparateColor")
    tree.links.new(cells.outputs["Color"], split.inputs["Color"])
    warm = (0.62, 0.50, 0.42)
    chips = _ramp(tree, split.outputs[0], (dark, warm, (0.86, 0.85, 0.82)), (0.2, 0.55, 0.9))
    mix = tree.nodes.new("ShaderNodeMix")
    mix.data_type = "RGBA"
    tree.links.new(inside.outputs[0], mix.inputs[0])
    mix.inputs[6].default_value = _linear(light)
    tree.links.new(chips, mix.inputs[7])
    tree.links.new(mix.outputs[2], shader.inputs["Base Color"])
    shader.inputs["Roughness"].default_value = 0.3


def _cloth(tree: Any, shader: Any, numbers: Mapping[str, Any]) -> None:
    base = _CLOTHS[int(numbers["tone"] * len(_CLOTHS))]
    where = _coordinates(tree, numbers)
    waves = []
    for direction in ("X", "Y"):
        wave = tree.nodes.new("ShaderNodeTexWave")
        wave.bands_direction = direction
        wave.inputs["Scale"].default_value = 55.0
        wave.inputs["Distortion"].default_value = 1.2
        tree.links.new(where, wave.inputs["Vector"])
        waves.append(wave.outputs["Fac"])
    both = tree.nodes.new("ShaderNodeMath")
    both.operation = "MULTIPLY"
    for wave, socket in zip(waves, both.inputs, strict=False):
        tree.links.new(wave, socket)
    dark = tuple(0.8 * value for value in base)
    tree.links.new(_ramp(tree, both.outputs[0], (dark, base), (0.1, 0.7)),
                   shader.inputs["Base Color"])  # fmt: skip
    shader.inputs["Roughness"].default_value = 0.9


def _concrete(tree: Any, shader: Any, numbers: Mapping[str, Any]) -> None:
    tone = 0.42 + 0.22 * numbers["tone"]
    where = _coordinates(tree, numbers)
    stains = _noise(tree, where, 5.0, 9.0, 0.4)
    colors = [(tone * one, tone * one, tone * one * 0.98) for one in (0.84, 1.0, 1.08)]
    tree.links.new(_ramp(tree, stains, colors, (0.3, 0.52, 0.75)), shader.inputs["Base Color"])
    shader.inputs["Roughness"].default_value = 0.75


_GENERATORS: Final = {
    "wood": _wood, "marble": _marble, "terrazzo": _terrazzo, "cloth": _cloth,
    "concrete": _concrete,
}  # fmt: skip
