"""How large what renders is, from what it is made of: faces, hair, curves, points, volumes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import bpy
import numpy as np
import numpy.typing as npt

from ..cameras import box_corners
from ..cameras.bounding import bounding_sphere, outermost
from ..errors import InvalidGeometry, NoGeometry
from ..frame import Bounds

__all__ = ["MANY_POINTS", "Measurement", "bounds_of", "displaces", "measure", "together"]

Points = npt.NDArray[np.float64]
_Local = npt.NDArray[np.float32]

_SURFACES: Final = {"MESH", "CURVE", "SURFACE", "FONT", "META"}
_STRANDS: Final = {"CURVES", "POINTCLOUD"}
MANY_POINTS: Final = 100_000
_MOST_HAIRS: Final = 20_000
"""Of a particle system that are looked at: Blender gives their points one by one."""
_RADIUS: Final = 0.01
"""Of a curve or point that has none of its own."""
_NO_POINTS: Final[_Local] = np.empty((0, 3), np.float32)


@dataclass(frozen=True)
class Measurement:
    """What the camera can see, evaluated.

    Attributes:
        points: (N, 3) whose hull is the object's to within 0.2 % of its radius, world space.
        box_min: (3,) exact.
        box_max: (3,) exact.
        faces: Number of faces, instances counted each.
        exact: False where something else renders (hair, points, volumes, displaced surfaces).
        places: (instances, 4, 4) where each thing stands.
        boxes: (instances, 2, 3) of each, in its own coordinates.
        unclear: Materials that displace a surface no one knows how far.
    """

    points: Points
    box_min: Points
    box_max: Points
    faces: int
    exact: bool
    places: Points
    boxes: Points
    unclear: tuple[str, ...] = ()

    @property
    def center(self) -> Points:
        """(3,) of the bounding box."""
        return (self.box_min + self.box_max) / 2

    @property
    def longest_edge(self) -> float:
        """Of the bounding box."""
        return float(np.max(self.box_max - self.box_min))

    @property
    def corners(self) -> Points:
        """(instances, 8, 3) of each thing's own box, world space."""
        return box_corners(self.boxes[:, 0], self.boxes[:, 1], self.places)


    def farthest_from(self, other: Measurement) -> float:
        """How far any point is from where it is in another measurement of the same things."""
        boxes = float(
            max(np.abs(self.box_min - other.box_min).max(),
                np.abs(self.box_max - other.box_max).max())
        )  # fmt: skip
        if len(self.points) != len(other.points):
            return max(boxes, self.longest_edge)
        return max(boxes, float(np.abs(self.points - other.points).max()))

    def moved(self, matrix: Points) -> Measurement:
        """The same of what is moved, scaled and turned from axes to axes; ``places`` stay.

        Args:
            matrix: (4, 4).
        """
        points = self.points @ matrix[:3, :3].T + matrix[:3, 3]
        ends = np.array([self.box_min, self.box_max]) @ matrix[:3, :3].T + matrix[:3, 3]
        return dataclasses.replace(
            self, points=points, box_min=ends.min(axis=0), box_max=ends.max(axis=0)
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """One thing, in its own coordinates."""

    points: _Local
    faces: int
    exact: bool
    unclear: frozenset[str] = frozenset()


def measure(only: Iterable[Any] | None = None, depsgraph: Any = None) -> Measurement:
    """Measure what the camera can see from its own points, never from box corners.

    Of surfaces only vertices of faces count, with all modifiers, shape keys, armatures and
    instances.

    Args:
        only: Objects that count, with what they instance; all of the scene otherwise.
        depsgraph: Evaluated; what the viewport shows otherwise.

    Raises:
        NoGeometry: There is nothing.
        InvalidGeometry: A vertex is not a finite number.
    """
    if depsgraph is None:
        depsgraph = bpy.context.evaluated_depsgraph_get()
        depsgraph.update()
    wanted = None if only is None else set(only)
    clouds: list[Points] = []
    lows, highs, places, boxes = [], [], [], []
    faces, exact, unclear = 0, True, set[str]()
    cache: dict[tuple[int, int, bool, bool], _Part] = {}
    for instance in depsgraph.object_instances:
        obj = instance.object
        shown, hairy = instance.show_self, instance.show_particles
        if not (shown or hairy) or not obj.visible_camera or obj.is_holdout:
            continue
        if wanted is not None and (instance.parent or obj).original not in wanted:
            continue
        data = obj.data
        key = (obj.original.as_pointer(), data.as_pointer() if data else 0, shown, hairy)
        if key not in cache:
            cache[key] = _part(obj, shown, hairy)
        part = cache[key]
        exact = exact and part.exact
        unclear |= part.unclear
        if not len(part.points):
            continue
        matrix = np.array(instance.matrix_world, dtype=np.float64)
        # An axis lies along memory, which is several times as fast as a point does.
        world = (matrix[:3, :3] @ part.points.T.astype(np.float64) + matrix[:3, 3:]).T
        if not np.isfinite(world).all():
            raise InvalidGeometry(
                f"The object {obj.name!r} has vertices that are not finite numbers.",
                hint="Repair the mesh; there is nothing to render at such places.",
            )
        lows.append(world.min(axis=0))
        highs.append(world.max(axis=0))
        places.append(matrix)
        boxes.append((part.points.min(axis=0), part.points.max(axis=0)))
        faces += part.faces
        clouds.append(_few(world))
    if not clouds:
        raise NoGeometry(
            "The asset has no face that renders.",
            hint="It may hold only edges, hidden or empty objects.",
        )
    points = _few(np.concatenate(clouds))
    return Measurement(
        points, np.min(lows, axis=0), np.max(highs, axis=0), faces, exact,
        np.array(places), np.array(boxes, dtype=np.float64), tuple(sorted(unclear)),
    )  # fmt: skip


def together(measured: Iterable[Measurement]) -> Measurement:
    """What holds all of several measurements of the same things, at several times.

    Raises:
        NoGeometry: There is nothing at any time.
    """
    whole: Measurement | None = None
    for other in measured:
        if whole is None:
            whole = other
            continue
        whole = Measurement(
            _few(np.concatenate([whole.points, other.points])),
            np.minimum(whole.box_min, other.box_min), np.maximum(whole.box_max, other.box_max),
            max(whole.faces, other.faces), whole.exact and other.exact,
            whole.places, whole.boxes, tuple(sorted({*whole.unclear, *other.unclear})),
        )  # fmt: skip
    if whole is None:
        raise NoGeometry(
            "At no frame has anything in the file a face that renders.",
            hint="It may hold only edges, hidden or empty objects.",
        )
    return whole


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


def _few(points: Points) -> Points:
    """The points themselves, or of many the outermost."""
    return points if len(points) <= MANY_POINTS else outermost(points)


def _part(obj: Any, shown: bool, hairy: bool) -> _Part:
    points, faces, exact, unclear = _NO_POINTS, 0, True, set[str]()
    if not shown:
        pass
    elif obj.type in _SURFACES:
        amounts = _displacements(obj, unclear)
        points, faces = _face_vertices(obj, sorted(amounts))
        exact = amounts == {0.0} and not unclear
    elif obj.type in _STRANDS:
        points, exact = _thick_points(obj.data), False
    elif obj.type == "VOLUME":
        points, exact = np.array(obj.bound_box, dtype=np.float32), False
    for system in obj.particle_systems if hairy else ():
        if system.settings.type == "HAIR" and system.settings.render_type == "PATH":
            exact = False
            points = np.concatenate([points, _hair(obj, system)])
    return _Part(points, faces, exact, frozenset(unclear))


def _face_vertices(obj: Any, amounts: list[float]) -> tuple[_Local, int]:
    """Vertices of faces, pushed along their normals by each of the amounts."""
    mesh = obj.to_mesh()
    if mesh is None:
        return _NO_POINTS, 0
    try:
        if not mesh.polygons:
            return _NO_POINTS, 0
        # The attributes are copied as they lie in memory, fifty times as fast as by the elements.
        positions = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
        mesh.attributes["position"].data.foreach_get("vector", positions)
        corners = np.empty(len(mesh.loops), dtype=np.int32)
        mesh.attributes[".corner_vert"].data.foreach_get("value", corners)
        used = np.zeros(len(mesh.vertices), dtype=bool)
        used[corners] = True
        points = positions.reshape(-1, 3)[used]
        if amounts != [0.0]:
            normals = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
            mesh.vertex_normals.foreach_get("vector", normals)
            normals = normals.reshape(-1, 3)[used]
            points = np.concatenate([points + np.float32(x) * normals for x in amounts])
        return points, len(mesh.polygons)
    finally:
        obj.to_mesh_clear()


def displaces(obj: Any) -> bool:
    """Whether an object's materials push its surface out."""
    unclear = set[str]()
    return _displacements(obj, unclear) != {0.0} or bool(unclear)


def _displacements(obj: Any, unclear: set[str]) -> set[float]:
    """How far materials push an object's surface out, at the least and at the most.

    A height that is computed is taken to be 0 to 1, as textures are.

    Args:
        unclear: Takes in the names of materials that cannot be followed.
    """
    amounts = set[float]()
    for slot in obj.material_slots:
        material = slot.material
        tree = material.node_tree if material else None
        output = tree.get_output_node("CYCLES") if tree else None
        bumpy = output is None or material.displacement_method == "BUMP"
        socket = None if bumpy or output is None else output.inputs["Displacement"]
        if socket is None or not socket.is_linked:
            amounts.add(0.0)
            continue
        node = socket.links[0].from_node
        height, middle, scale = (node.inputs.get(x) for x in ("Height", "Midlevel", "Scale"))
        # In world space the amount does not follow the asset's size.
        followed = node.type == "DISPLACEMENT" and node.space == "OBJECT"
        if not followed or middle.is_linked or scale.is_linked:
            unclear.add(material.name)
            amounts.add(0.0)
            continue
        heights = (0.0, 1.0) if height.is_linked else (height.default_value,)
        amounts |= {(x - middle.default_value) * scale.default_value for x in heights}
    return amounts or {0.0}


def _thick_points(data: Any) -> _Local:
    """Both ends of the box around each point of curves or of a point cloud."""
    count = len(data.points)
    positions = np.empty(count * 3, dtype=np.float32)
    radii = np.full(count, _RADIUS, dtype=np.float32)
    if count:
        data.attributes["position"].data.foreach_get("vector", positions)
        thickness = data.attributes.get("radius")
        if thickness is not None and thickness.domain == "POINT":
            thickness.data.foreach_get("value", radii)
    points = positions.reshape(-1, 3)
    return np.concatenate([points - radii[:, None], points + radii[:, None]])


def _hair(obj: Any, system: Any) -> _Local:
    """Points along the paths of a particle system, in its object's coordinates."""
    total = len(system.particles) + len(system.child_particles)
    stride = max(1, total // _MOST_HAIRS)
    steps = 2**system.settings.render_step + 1
    points = [
        system.co_hair(obj, particle_no=number, step=step)
        for number in range(0, total, stride)
        for step in range(steps)
    ]
    world = np.array(points, dtype=np.float64).reshape(-1, 3)
    # Steps that a path does not have are reported as the origin.
    world = world[world.any(axis=1)]
    inverse = np.linalg.inv(np.array(obj.matrix_world, dtype=np.float64))
    local: _Local = (world @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.float32)
    return local
