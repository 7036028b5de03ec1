"""An asset measured from what renders of it, and brought to its normal size and place."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import bpy
import numpy as np
import numpy.typing as npt
from mathutils import Matrix

from ..cameras.bounding import bounding_sphere, outermost
from ..errors import DegenerateGeometry, InvalidGeometry, NoGeometry, NormalizationFailed
from ..frame import Bounds
from ..job import HALF_EXTENT

__all__ = [
    "Measurement",
    "Normalization",
    "bounds_of",
    "measure",
    "normalize",
    "normalizing_transform",
]

Points = npt.NDArray[np.float64]

NORMALIZER: Final = "Objaverse Normalization"
"""Name of the empty that carries scale and translation."""

_SURFACES: Final = {"MESH", "CURVE", "SURFACE", "FONT", "META"}
_MANY_POINTS: Final = 100_000


@dataclass(frozen=True)
class Measurement:
    """The evaluated, visible faces.

    Attributes:
        points: (N, 3) whose hull is the object's to within 0.2 % of its radius, world space.
        box_min: (3,) exact.
        box_max: (3,) exact.
        faces: Number of faces, instances counted each.
        exact: False where something else renders (hair, points, volumes).
    """

    points: Points
    box_min: Points
    box_max: Points
    faces: int
    exact: bool

    @property
    def center(self) -> Points:
        """(3,) of the bounding box."""
        return (self.box_min + self.box_max) / 2

    @property
    def longest_edge(self) -> float:
        """Of the bounding box."""
        return float(np.max(self.box_max - self.box_min))


def measure(only: set[Any] | None = None) -> Measurement:
    """Measure what renders from its own vertices, never from box corners.

    Only vertices of faces count, only of objects that the camera can see, with all modifiers,
    shape keys, armatures and instances as they render.

    Args:
        only: Objects that count, with what they instance; all of the scene otherwise.

    Raises:
        NoGeometry: There is no such face.
        InvalidGeometry: A vertex is not a finite number.
    """
    depsgraph = bpy.context.evaluated_depsgraph_get()
    depsgraph.update()
    parts: list[Points] = []
    lows, highs, faces, exact = [], [], 0, True
    cache: dict[tuple[int, int], tuple[npt.NDArray[np.float32], int]] = {}
    for instance in depsgraph.object_instances:
        obj = instance.object
        if not instance.show_self or not obj.visible_camera or obj.is_holdout:
            continue
        if only is not None and (instance.parent or obj).original not in only:
            continue
        if obj.type not in _SURFACES:
            exact = exact and obj.type not in ("CURVES", "POINTCLOUD", "VOLUME")
            continue
        exact = exact and not any(
            system.settings.type == "HAIR" and system.settings.render_type == "PATH"
            for system in obj.particle_systems
        )
        key = (obj.as_pointer(), obj.data.as_pointer())
        if key not in cache:
            cache[key] = _face_vertices(obj)
        local, count = cache[key]
        if not count:
            continue
        matrix = np.array(instance.matrix_world, dtype=np.float64)
        # An axis lies along memory, which is several times as fast as a point does.
        world = (matrix[:3, :3] @ local.T.astype(np.float64) + matrix[:3, 3:]).T
        if not np.isfinite(world).all():
            raise InvalidGeometry(
                f"The object {obj.name!r} has vertices that are not finite numbers.",
                hint="Repair the mesh; there is nothing to render at such places.",
            )
        lows.append(world.min(axis=0))
        highs.append(world.max(axis=0))
        faces += count
        parts.append(_few(world))
    if not faces:
        raise NoGeometry(
            "Nothing in the file has a face that renders.",
            hint="It may hold only points, curves, hidden or empty objects.",
        )
    points = _few(np.concatenate(parts))
    return Measurement(points, np.min(lows, axis=0), np.max(highs, axis=0), faces, exact)


def _face_vertices(obj: Any) -> tuple[npt.NDArray[np.float32], int]:
    mesh = obj.to_mesh()
    if mesh is None:
        return np.empty((0, 3), np.float32), 0
    try:
        if not mesh.polygons:
            return np.empty((0, 3), np.float32), 0
        # The attributes are copied as they lie in memory, fifty times as fast as by the elements.
        positions = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
        mesh.attributes["position"].data.foreach_get("vector", positions)
        corners = np.empty(len(mesh.loops), dtype=np.int32)
        mesh.attributes[".corner_vert"].data.foreach_get("value", corners)
        used = np.zeros(len(mesh.vertices), dtype=bool)
        used[corners] = True
        return positions.reshape(-1, 3)[used], len(mesh.polygons)
    finally:
        obj.to_mesh_clear()


def _few(points: Points) -> Points:
    """The points themselves, or of many the outermost."""
    return points if len(points) <= _MANY_POINTS else outermost(points)


@dataclass(frozen=True)
class Normalization:
    """``normalised = scale * original + translation``, and what came of it.

    Attributes:
        bounds: Of the normalised asset.
        points: (N, 3) of the normalised asset, as :attr:`Measurement.points`.
        handle: The parent that moves it; none where it stands as it is.
    """

    method: str
    scale: float
    translation: tuple[float, float, float]
    before: Measurement
    bounds: Bounds
    points: Points
    warnings: list[str] = field(default_factory=list)
    handle: Any = None


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
    elif method != "none":
        scale = 2 * HALF_EXTENT[method] / edge
    translation = -scale * center if method != "none" else np.zeros(3)
    return scale, translation, warnings


def normalize(collection: Any, method: str, only: set[Any] | None = None) -> Normalization:
    """Scale and centre an asset through one parent, and measure that it worked.

    Nothing is applied to meshes, and all roots move together.

    Args:
        collection: What the parent is put into.
        only: Objects that are moved; all of the collection, and all that renders, otherwise.

    Raises:
        DegenerateGeometry: No extent, or numbers beyond 32-bit floats.
        NormalizationFailed: A constraint or a driver holds something back.
    """
    before = measure(only)
    scale, translation, warnings = normalizing_transform(before, method)
    size = max(float(np.abs([before.box_min, before.box_max]).max()), before.longest_edge)
    handle = None
    if method != "none":
        objects = list(collection.objects) if only is None else only
        handle = _move(collection, objects, scale, translation)
        after = measure(only)
        expected = np.array([before.box_min, before.box_max]) * scale + translation
        error = float(np.abs(np.array([after.box_min, after.box_max]) - expected).max())
        if error > max(1e-3, 1e-6 * size * scale):
            raise NormalizationFailed(
                f"After normalisation the asset is {error:.3g} units off its box.",
                hint="A constraint or driver holds something in place; apply it in Blender, or "
                "use --normalize none.",
            )
    else:
        after = before
    return Normalization(
        method, scale, tuple(translation.tolist()), before, bounds_of(after), after.points,
        warnings, handle,
    )  # fmt: skip


def bounds_of(measured: Measurement) -> Bounds:
    """Box and sphere of what was measured."""
    center, radius = bounding_sphere(measured.points)
    # The points are the hull to 0.2 %; the sphere has to hold the rest too.
    slack = 1.002 if len(measured.points) < measured.faces else 1.0
    return Bounds(
        tuple(measured.box_min.tolist()),
        tuple(measured.box_max.tolist()),
        tuple(center.tolist()),
        radius * slack,
        measured.exact,
    )


def _move(collection: Any, objects: Iterable[Any], scale: float, translation: Points) -> Any:
    parent = bpy.data.objects.new(NORMALIZER, None)
    collection.objects.link(parent)
    parent.location = translation.tolist()
    parent.scale = (scale, scale, scale)
    roots = set()
    for obj in objects:
        while obj.parent is not None:
            obj = obj.parent
        roots.add(obj)
    for root in roots - {parent}:
        root.parent = parent
        root.matrix_parent_inverse = Matrix.Identity(4)
    bpy.context.view_layer.update()
    return parent
