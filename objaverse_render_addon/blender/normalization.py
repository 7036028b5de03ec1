"""An asset measured from what renders of it, and brought to its normal size and place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import bpy
import numpy as np
import numpy.typing as npt
from mathutils import Matrix
from mathutils.kdtree import KDTree

from ..cameras.bounding import bounding_sphere
from ..errors import DegenerateGeometry, NormalizationFailed
from ..frame import Bounds
from ..job import HALF_EXTENT
from .measuring import Measurement, bounds_of, measure

__all__ = ["UPRIGHT", "Normalization", "normalize", "normalizing_transform", "turn_of"]

Points = npt.NDArray[np.float64]

NORMALIZER: Final = "Objaverse Normalization"
"""Name of the empty that carries scale and translation."""
_NEAREST: Final = 8

@dataclass(frozen=True)
class Normalization:
    """``normalised = scale * rotation @ original + translation``, and what came of it.

    Attributes:
        rotation: (3, 3), axes to axes.
        bounds: Of the normalised asset.
        points: (N, 3) of the normalised asset, as :attr:`Measurement.points`.
        handle: The empty that moves it; none where it stands as it is.
        parts: What the empty instances, where it cannot be its parent.
    """

    method: str
    scale: float
    translation: tuple[float, float, float]
    before: Measurement
    bounds: Bounds
    points: Points
    warnings: list[str] = field(default_factory=list)
    handle: Any = None
    parts: Any = None
    rotation: Points = field(default_factory=lambda: np.eye(3))

    @property
    def center(self) -> Points:
        """(3,) of the box as it was, after the turn."""
        return np.asarray(self.rotation @ self.before.center)


UPRIGHT: Final = np.eye(3)
"""The turn of an asset that stays as it was imported."""


def turn_of(up: str, front: str) -> Points:
    """(3, 3) rotation that brings an axis upwards, to +Z, and another to the front, to -Y.

    Args:
        up, front: ``X``, ``-Z`` …; not along each other.
    """
    upwards, ahead = (_axis(name) for name in (up, front))
    rows = np.stack([np.cross(upwards, ahead), -ahead, upwards])
    return np.asarray(rows)


def _axis(name: str) -> Points:
    return np.asarray(np.eye(3)["XYZ".index(name[-1])] * (-1.0 if name[0] == "-" else 1.0))


def normalizing_transform(before: Measurement, method: str) -> tuple[float, Points, list[str]]:
    """Scale and translation (3,) that normalise a measured asset, and warnings.

    Raises:
        DegenerateGeometry: No extent, or numbers beyond 32-bit floats.
    """
    edge = before.longest_edge
    size = max(float(np.abs([before.box_min, before.box_max]).max()), edge)
    if edge <= 0 or not math.isfinite(edge):
        raise DegenerateGeometry(
            "All faces of the asset lie in one point.", hint="There is nothing to see."
        )
    if not 1e-15 < edge < 1e15:
        raise DegenerateGeometry(
            f"The asset's longest edge is {edge:.3g} units, beyond what 32-bit floats can render.",
            hint="Scale it in the program that it comes from.",
        )
    warnings = []
    if size / edge > 1e5:
        warnings.append(
            f"coarse-coordinates: the asset is {edge:.3g} wide and {size:.3g} from its origin; "
            "its 32-bit coordinates are coarse."
        )
    center, scale = before.center, 1.0
    if method == "sphere":
        center, radius = bounding_sphere(before.points)
        scale = 1.0 / radius
    elif method == "diagonal":
        scale = 2 * HALF_EXTENT[method] / float(np.linalg.norm(before.box_max - before.box_min))
    elif method != "none":
        scale = 2 * HALF_EXTENT[method] / edge
    translation = -scale * center if method != "none" else np.zeros(3)
    return scale, translation, warnings


def normalize(
    collection: Any,
    method: str,
    only: set[Any] | None = None,
    evaluate: Callable[[set[Any] | None], Measurement] = measure,
    *,
    may_instance: bool = False,
    rotation: Points = UPRIGHT,
    whole: Measurement | None = None,
) -> Normalization:
    """Scale and centre an asset as a whole, and measure that every part of it went along.

    Nothing is applied to meshes. All roots get one parent. Some things do not follow a parent, or
    follow it twice: what is visible and instanced too, what a constraint or driver holds, nodes
    that look at the world. Those assets become one instance of all that they are, untouched.

    Args:
        collection: What the empty is put into.
        only: Objects that are moved; all of the collection, and all that renders, otherwise.
        evaluate: Measures those of some objects, or all of the scene.
        rotation: (3, 3) that turns it before, as of :func:`turn_of`.
        may_instance: Whether the objects may be taken out of the collection for an instance.
        whole: What is normalised, where that is more than the objects show now: all times.

    Raises:
        DegenerateGeometry: No extent, or numbers beyond 32-bit floats.
        NormalizationFailed: A constraint or a driver holds something back.
    """
    before = evaluate(only)
    whole = whole or before
    scale, translation, warnings = normalizing_transform(whole, method)
    # What turns axes to axes turns a box to a box.
    translation = rotation @ translation
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = scale * rotation, translation
    if before.unclear:
        warnings.append(
            f"unclear-displacement: {', '.join(before.unclear[:5])} displace a surface by what is "
            "computed; it may reach beyond its bounds."
        )
    handle, parts, after = None, None, before
    if method != "none" or not np.array_equal(rotation, UPRIGHT):
        objects = list(collection.objects) if only is None else list(only)
        handle = _new_handle(collection, matrix)
        undo = _adopt(handle, objects)
        after = evaluate(only)
        if may_instance and _deviation(before, after, matrix) > _slack(before, scale):
            undo()
            parts = _instance(collection, handle)
            after = evaluate(None if only is None else {handle})
        error = _deviation(before, after, matrix)
        if error > _slack(before, scale):
            raise NormalizationFailed(
                f"After normalisation a part of the asset is {error:.3g} units off its place.",
                hint="A constraint or driver holds something in place; apply it in Blender, or "
                "use --normalize none.",
            )
    if whole is not before:
        after = whole.moved(matrix)
    return Normalization(
        method, scale, tuple(translation.tolist()), whole, bounds_of(after), after.points,
        warnings, handle, parts, rotation,
    )  # fmt: skip


def _slack(before: Measurement, scale: float) -> float:
    size = max(float(np.abs([before.box_min, before.box_max]).max()), before.longest_edge)
    return max(1e-3, 1e-6 * size * scale)


def _deviation(before: Measurement, after: Measurement, matrix: Points) -> float:
    """How far anything, or the box of all, is from where it should be."""
    if len(before.places) != len(after.places):
        return math.inf
    was, now = (np.array([one.box_min, one.box_max]) for one in (before, after))
    moved = was @ matrix[:3, :3].T + matrix[:3, 3]
    whole = float(np.abs(now - [moved.min(axis=0), moved.max(axis=0)]).max())
    wanted, found = before.corners @ matrix[:3, :3].T + matrix[:3, 3], after.corners
    each = float(np.abs(found - wanted).max())
    scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
    # An instance of all lists its parts in another order than the parts themselves.
    return max(whole, each if each <= _slack(before, scale) else _unmatched(wanted, found))


def _unmatched(wanted: Points, found: Points) -> float:
    """The farthest that any box (n, 8, 3) is from the nearest of the other boxes."""
    tree = KDTree(len(wanted))
    for index, center in enumerate(wanted.mean(axis=1)):
        tree.insert(center, index)
    tree.balance()
    worst = 0.0
    for box in found:
        near = [index for _, index, _ in tree.find_n(box.mean(axis=0), _NEAREST)]
        worst = max(worst, float(np.abs(wanted[near] - box).max(axis=(1, 2)).min()))
    return worst


def _new_handle(collection: Any, matrix: Points) -> Any:
    handle = bpy.data.objects.new(NORMALIZER, None)
    collection.objects.link(handle)
    handle.matrix_basis = Matrix(matrix.tolist())
    return handle


def _adopt(handle: Any, objects: Iterable[Any]) -> Callable[[], None]:
    """Make it the parent of all roots; the result takes that back."""
    roots = {}
    for obj in objects:
        while obj.parent is not None:
            obj = obj.parent
        roots[obj] = obj.matrix_parent_inverse.copy()
    for root in roots:
        root.parent = handle
        root.matrix_parent_inverse = Matrix.Identity(4)
    bpy.context.view_layer.update()

    def undo() -> None:
        for root, inverse in roots.items():
            root.parent = None
            root.matrix_parent_inverse = inverse

    return undo


def _instance(collection: Any, handle: Any) -> Any:
    """Let it instance the collection's objects, which leave the collection."""
    parts = bpy.data.collections.new(f"{collection.name} parts")
    for obj in list(collection.objects):
        if obj != handle:
            parts.objects.link(obj)
            collection.objects.unlink(obj)
    handle.instance_type, handle.instance_collection = "COLLECTION", parts
    return parts
