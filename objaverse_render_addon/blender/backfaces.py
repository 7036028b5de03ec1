"""Faces seen from behind: not there where the file says so, and the same in every engine.

glTF 2.0, 3.9.3 (Double Sided): back faces of a material that is not double-sided are culled.
Cycles has no such thing; EEVEE culls by the material, Workbench for the whole scene.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .asset import Asset
from .edits import Edits
from .shader_values import ShaderValues, surface_input

__all__ = ["CULLED_FORMATS", "cull_back_faces", "match_engine"]

CULLED_FORMATS: Final = frozenset({"glb", "gltf"})
"""Formats where a single-sided material means that its back faces are not there."""

_FLAT: Final = 1e-9
"""Share of a closed part's volume, counted without signs, below which it holds none."""
_MOST: Final = 0.5
_ROUNDING: Final = 1e-6
"""Of the mesh's size: vertices that are nearer to each other are the same."""

Ints = npt.NDArray[np.int64]


@dataclass
class _Use:
    """Where a material's faces look.

    Attributes:
        seen: Whether a back face may be seen from outside.
        inward: Whether some of its faces bound a volume that they look into.
    """

    seen: bool = False
    inward: bool = False


def cull_back_faces(edits: Edits, objects: Iterable[Any]) -> list[Any]:
    """Make back faces of single-sided materials transparent.

    Of a closed, opaque mesh that looks outwards no camera sees a back face; its materials stay as
    they are, since transparency costs time. An opaque material goes on shading from both sides;
    but a closed mesh that looks inwards (a toon outline, a room seen from outside) lets the light
    in, as it lets the camera look in.

    Args:
        objects: Of a glTF file.

    Returns:
        The materials that were changed.
    """
    uses: dict[Any, _Use] = {}
    opacity: dict[Any, bool] = {None: True}
    shapes: dict[tuple[Any, int], tuple[npt.NDArray[np.bool_], bool]] = {}
    for obj in objects:
        if obj.type != "MESH" or not len(obj.data.polygons):
            continue
        materials = [slot.material for slot in obj.material_slots]
        single = [item is not None and item.use_backface_culling for item in materials]
        if not any(single):
            continue
        shape = obj.data, len(materials)
        if shape not in shapes:
            shapes[shape] = _inward_slots(*shape)
        inward, closed = shapes[shape]
        for material in {*materials} - {*opacity} if closed else ():
            opacity[material] = _is_opaque(material)
        hidden = closed and all(opacity[material] for material in materials)
        for index, material in enumerate(materials):
            if single[index]:
                use = uses.setdefault(material, _Use())
                use.inward |= inward[index]
                use.seen |= inward[index] or not hidden
    culled = [material for material, use in uses.items() if use.seen]
    for material in culled:
        if material not in opacity:
            opacity[material] = _is_opaque(material)
        _cull(edits, material, uses[material].inward, opacity[material])
    return culled


def _is_opaque(material: Any) -> bool:
    surface = surface_input(material)
    if surface is None:
        return True
    trial = Edits()
    opacity = ShaderValues(trial).of(material.node_tree, surface, "opacity")
    same = isinstance(opacity, float) and opacity == 1.0
    trial.undo()
    return same


def _cull(edits: Edits, material: Any, inward: bool, opaque: bool) -> None:
    surface = surface_input(material)
    if surface is None or not surface.is_linked:
        return
    tree, before = material.node_tree, surface.links[0].from_socket
    geometry = edits.new_node(tree, "ShaderNodeNewGeometry")
    share = geometry.outputs["Backfacing"]
    if inward:
        path = edits.new_node(tree, "ShaderNodeLightPath")
        other = edits.new_node(tree, "ShaderNodeMath")
        other.operation = "SUBTRACT"
        other.inputs[0].default_value = 1.0
        tree.links.new(path.outputs["Is Camera Ray"], other.inputs[1])
        either = edits.new_node(tree, "ShaderNodeMath")
        either.operation = "MAXIMUM"
        tree.links.new(share, either.inputs[0])
        tree.links.new(other.outputs[0], either.inputs[1])
        share = either.outputs[0]
    nothing = edits.new_node(tree, "ShaderNodeBsdfTransparent")
    mix = edits.new_node(tree, "ShaderNodeMixShader")
    tree.links.new(share, mix.inputs[0])
    tree.links.new(before, mix.inputs[1])
    tree.links.new(nothing.outputs[0], mix.inputs[2])
    edits.link(tree, mix.outputs[0], surface)
    if inward or not opaque:
        edits.set(material, "use_backface_culling_shadow", True)
    else:
        # glTF says nothing of shadows. As in EEVEE and three.js an opaque sheet has one whichever
        # side the light is on, which Cycles finds without asking the material.
        edits.set(material, "use_transparent_shadow", False)


def match_engine(engine: str, scene: Any, assets: Iterable[Asset]) -> list[str]:
    """Make the engine of the colour show those back faces that are in the geometry.

    Args:
        engine: ``cycles``, ``eevee`` or ``workbench``.

    Returns:
        Warnings, ``name: sentence`` each.
    """
    words = []
    if engine == "eevee":
        for asset in assets:
            if asset.kind in CULLED_FORMATS:
                continue
            culled = [item for item in asset.materials if item.use_backface_culling]
            for material in culled:
                asset.pass_edits.set(material, "use_backface_culling", False)
            if culled:
                names = ", ".join(material.name for material in culled[:5])
                words.append(f"back-faces-shown: {names}")
    elif engine == "workbench":
        culls = {
            material.use_backface_culling and asset.kind in CULLED_FORMATS
            for asset in assets
            for material in asset.materials
        }
        scene.display.shading.show_backface_culling = culls == {True}
        if len(culls) > 1:
            words.append("back-faces-differ: Workbench shows them of all materials here.")
    return words


def _inward_slots(mesh: Any, slots: int) -> tuple[npt.NDArray[np.bool_], bool]:
    """Which material slots (slots,) have faces of a closed part that looks inwards.

    And whether all of the mesh is closed: whether each edge is run through as often one way as the
    other, by place and not by index, since glTF repeats vertices along seams.
    """
    inward = np.zeros(slots, dtype=bool)
    mesh.calc_loop_triangles()
    corners = np.empty(len(mesh.loop_triangles) * 3, dtype=np.int32)
    mesh.loop_triangles.foreach_get("vertices", corners)
    positions = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    mesh.attributes["position"].data.foreach_get("vector", positions)
    points = positions.reshape(-1, 3) + np.float32(0.0)
    triangles = corners.reshape(-1, 3)
    places = _same_place(points)[triangles]
    first, second = places.reshape(-1), places[:, [1, 2, 0]].reshape(-1)
    count = np.int64(len(points))
    there, back = first * count + second, second * count + first
    there.sort()
    back.sort()
    closed = bool(np.array_equal(there, back))
    part = _parts(first, second, len(points))[places[:, 0]]
    volume = _volumes(points, triangles, part)
    total = np.bincount(part, volume, minlength=len(points))[part]
    size = np.bincount(part, np.abs(volume), minlength=len(points))[part]
    # Two sheets back to back are closed too, and each hides the other's back by chance.
    closed = closed and bool((np.abs(total) > _FLAT * size).all())
    # What is open has no inside, but most of it may look at its middle.
    looks_in = total < -(_FLAT if closed else _MOST) * size
    if looks_in.any():
        index = np.empty(len(triangles), dtype=np.int32)
        mesh.loop_triangles.foreach_get("material_index", index)
        inward[np.unique(np.clip(index[looks_in], 0, slots - 1))] = True
    return inward, closed


def _same_place(points: npt.NDArray[np.float32]) -> Ints:
    """(N,) the same number for vertices at the same place, but for rounding."""
    extent: npt.NDArray[np.float32] = points.max(axis=0) - points.min(axis=0)
    step = max(1e-30, *extent.tolist()) * _ROUNDING
    cells = np.rint(points.astype(np.float64) / step).astype(np.int64).view(np.uint64)
    mixed = cells[:, 0] * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= cells[:, 1] * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= mixed >> np.uint64(29)
    mixed += cells[:, 2] * np.uint64(0x165667B19E3779F9)
    number: Ints = np.unique(mixed, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return number


def _parts(first: Ints, second: Ints, count: int) -> Ints:
    """(count,) the smallest vertex that each vertex is connected with by edges."""
    label = np.arange(count)
    while True:
        low = np.minimum(label[first], label[second])
        new = label.copy()
        np.minimum.at(new, label[first], low)
        np.minimum.at(new, label[second], low)
        while not np.array_equal(new, new[new]):
            new = new[new]
        if np.array_equal(new, label):
            return label
        label = new


def _volumes(
    points: npt.NDArray[np.float32], triangles: npt.NDArray[np.int32], part: Ints
) -> npt.NDArray[np.float64]:
    """(T,) six times the signed volume between each triangle and the middle of its part (T,)."""
    corners = points.astype(np.float64)[triangles]
    number = np.maximum(np.bincount(part, minlength=len(points)), 1)
    sums = corners.sum(axis=1)
    middle = np.stack(
        [np.bincount(part, sums[:, axis], len(points)) / (3 * number) for axis in range(3)], axis=1
    )
    corners -= middle[part][:, None]
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (corners[:, i].T for i in range(3))
    # Written out: np.cross takes four times as long.
    volume: npt.NDArray[np.float64] = (
        ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
    )
    return volume
