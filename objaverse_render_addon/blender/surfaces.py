"""Surfaces that are there or not, and what those that are write into the material passes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import bpy

from ..passspec import MATERIAL_PASSES, layers_for
from . import compat, surface_normals, surface_numbers
from .edits import Edits
from .shader_sockets import Value, clamped, feed
from .shader_values import Kind, ShaderValues, surface_input

__all__ = ["Surfaces"]


@dataclass(frozen=True)
class _Clip:
    """A material that is transparent somewhere."""

    tree: Any
    surface: Any
    solid: Value


class Surfaces:
    """Decides what is a surface, and lets the materials write what they are made of.

    With one sample a half-transparent surface is hit or missed by chance, which would sprinkle
    mask, depth and normal with noise, and Cycles adds up what all surfaces on a ray's way to the
    first opaque one write into an AOV. So, within ``with``, while geometry is rendered, a surface
    whose opacity reaches the threshold is opaque, whatever makes it transparent; what does not
    reach it is not there, and writes 0.

    The Diffuse Color pass of Cycles is not the albedo: it is black for metals and scaled for
    dielectrics. The values here are read where the shader reads them; where shaders are mixed,
    the values are mixed by the same factor, and transparent parts count for nothing. They are cut
    to 0..1.

    Args:
        threshold: Opacity from which a surface is object, 0..1.
        passes: The wanted ones.

    Attributes:
        unclear: Names of materials whose shader could not be followed; they write their viewport
            colour.
        unclear_opacity: Names of those whose opacity could not be read.
        out_of_range: Names of those that have constants outside of 0..1.
        of_the_view: Names of those that are there from one side and not from another.
        see_through: Names of those that are not there everywhere, or not from everywhere.
        converted: Names of those whose specular-glossiness was converted.
        bumped: Names of those whose displacement turns the geometric normals too.
        constants: Pass to all values (r, g, b) that its materials write, where all are constant.
    """

    def __init__(self, threshold: float, passes: Iterable[str] = ()) -> None:
        self.threshold = threshold
        wanted = set(passes)
        self._passes: list[Any] = [name for name in MATERIAL_PASSES if name in wanted]
        self._normals = surface_normals.LAYER in wanted
        written = {layer.output for layer in layers_for(wanted) if not layer.flag}
        self._numbers = not written.isdisjoint(surface_numbers.LAYERS)
        self.unclear: list[str] = []
        self.unclear_opacity: list[str] = []
        self.out_of_range: list[str] = []
        self.of_the_view: list[str] = []
        self.see_through: list[str] = []
        self.converted: list[str] = []
        self.bumped: list[str] = []
        self.constants: dict[str, set[tuple[float, ...]]] = {name: set() for name in self._passes}
        self._clips: list[_Clip] = []
        self._clear: list[tuple[Any, Any]] = []
        self._edits = Edits()

    def add(self, edits: Edits, materials: Iterable[Any]) -> None:
        """Take up the materials of an asset.

        Args:
            edits: What takes back the nodes that they get for as long as this holds.
        """
        values = ShaderValues(edits)
        for material in materials:
            surface = surface_input(material)
            if material.node_tree is None or (surface is None and material.is_grease_pencil):
                continue
            values.of_the_view = values.unclear = values.converted = False
            tree = material.node_tree
            opacity = values.of(tree, surface, "opacity") if surface else 1.0
            solid = self._solid(edits, tree, opacity)
            if solid != 1.0 or opacity != 1.0:
                self._clips.append(_Clip(tree, surface, solid))
                self._note(self.see_through, material, True)
            self._note(self.of_the_view, material, values.of_the_view)
            self._note(self.unclear_opacity, material, values.unclear)
            if surface is None or surface.is_linked or not _has_volume(tree):
                for name in self._passes:
                    self._write(edits, material, values, surface, name, solid)
                if self._numbers:
                    surface_numbers.write(edits, tree, solid)
                if self._normals:
                    surface_normals.write(edits, tree, solid)
                    self._note(self.bumped, material, surface_normals.is_bumped(material))
            self._note(self.converted, material, values.converted)
        self._clear += values.clear

    @staticmethod
    def _note(names: list[str], material: Any, holds: bool) -> None:
        if holds and material.name not in names:
            names.append(material.name)

    def _solid(self, edits: Edits, tree: Any, opacity: Value) -> Value:
        """1 where the opacity reaches the threshold, else 0."""
        if isinstance(opacity, float):
            return float(opacity >= self.threshold)
        # alpha >= t is not (alpha < t); Math nodes know only < and >.
        below = edits.new_node(tree, "ShaderNodeMath")
        below.operation = "LESS_THAN"
        tree.links.new(opacity, below.inputs[0])
        below.inputs[1].default_value = self.threshold
        flip = edits.new_node(tree, "ShaderNodeMath")
        flip.operation = "SUBTRACT"
        flip.inputs[0].default_value = 1.0
        tree.links.new(below.outputs[0], flip.inputs[1])
        return flip.outputs[0]

    def _write(
        self, edits: Edits, material: Any, values: ShaderValues, surface: Any, name: Kind,
        solid: Value,
    ) -> None:  # fmt: skip
        tree = material.node_tree
        value = values.of(tree, surface, name) if surface else None
        if value is None:
            if solid != 0.0:
                self._note(self.unclear, material, True)
            color = tuple(material.diffuse_color)[:3]
            value = color if name == "albedo" else (material.roughness, material.metallic, 0.0)
        if isinstance(value, float):
            value = (value,) * 3
        constant = not isinstance(value, bpy.types.NodeSocket)
        if constant:
            cut = clamped(value)
            self._note(self.out_of_range, material, cut != value)
            value = cut
        if not constant:
            self.constants.pop(name, None)
        elif name in self.constants and solid != 0.0:
            self.constants[name].add(value)
        if constant and isinstance(solid, float):
            value = value if solid else (0.0, 0.0, 0.0)
        else:
            mix = edits.new_node(tree, "ShaderNodeMix")
            mix.data_type, mix.clamp_result = "RGBA", True
            feed(tree, solid, mix.inputs[0])
            feed(tree, (0.0, 0.0, 0.0), mix.inputs[6])
            feed(tree, value, mix.inputs[7])
            value = mix.outputs[2]
        aov = edits.added(tree, compat.new_aov_output(tree, name))
        feed(tree, value, aov.inputs["Color"])

    @property
    def needed(self) -> bool:
        """Whether any material is transparent somewhere."""
        return bool(self._clips)

    def __enter__(self) -> Surfaces:
        self.apply()
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def apply(self) -> None:
        """Make materials what geometry needs."""
        edits = self._edits
        for tree, part in self._clear:
            _make_opaque(edits, tree, part)
        for clip in self._clips:
            tree = clip.tree
            if clip.solid == 1.0:
                continue
            nothing = edits.new_node(tree, "ShaderNodeBsdfTransparent")
            if clip.solid == 0.0:
                edits.link(tree, nothing.outputs[0], clip.surface)
                continue
            before = clip.surface.links[0].from_socket
            mix = edits.new_node(tree, "ShaderNodeMixShader")
            feed(tree, clip.solid, mix.inputs[0])
            tree.links.new(nothing.outputs[0], mix.inputs[1])
            tree.links.new(before, mix.inputs[2])
            edits.link(tree, mix.outputs[0], clip.surface)

    def restore(self) -> None:
        """Undo :meth:`apply`."""
        self._edits.undo()


def _make_opaque(edits: Edits, tree: Any, part: Any) -> None:
    """Cut off a Transparent node, or set an Alpha socket to 1."""
    if isinstance(part, bpy.types.NodeSocket):
        for link in list(part.links):
            edits.unlink(tree, link)
        edits.set(part, "default_value", 1.0)
        return
    for link in list(part.outputs[0].links):
        edits.unlink(tree, link)


def _has_volume(tree: Any) -> bool:
    output = tree.get_output_node("CYCLES")
    return bool(output and output.inputs["Volume"].is_linked)
