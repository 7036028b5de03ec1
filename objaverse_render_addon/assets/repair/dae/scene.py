"""What a COLLADA document shows, and where."""

from __future__ import annotations

from typing import Final

import numpy as np

from ....errors import ImportFailed
from ..model import IDENTITY, Material, Mesh, Model, Part
from .controllers import Controllers, Deformed, turned
from .document import Document, Element, Matrix, link, numbers
from .geometry import Geometries, Primitive, joined
from .materials import Materials

__all__ = ["Scene"]

_TURNS: Final = {
    "Z_UP": IDENTITY,
    "Y_UP": np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float64),
    "X_UP": np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], np.float64),
}
_DEEPEST: Final = 200
_MOST_PARTS: Final = 100_000


class Scene:
    """The scene of a document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._geometries = Geometries(document)
        self._materials = Materials(document)
        self._worlds: dict[int, Matrix] = {}
        self._controllers = Controllers(document, self._geometries, self._worlds)
        self._meshes: dict[object, Mesh] = {}
        self._model = Model("COLLADA reader")

    def model(self) -> Model:
        """All that it shows."""
        root = self._document.root
        if self._document.animated:
            self._document.say("not-imported: animations of a COLLADA file.")
        axis = (root.findtext("asset/up_axis") or "Y_UP").strip().upper()
        self._up = _TURNS.get(axis, _TURNS["Y_UP"])
        scene = self._document.ids.get(link(root.find("scene/instance_visual_scene")))
        if scene is None:
            scene = root.find("library_visual_scenes/visual_scene")
        if scene is not None:
            nodes = scene.findall("node")
            # Skins need to know where all joints are.
            for node in nodes:
                self._place(node, IDENTITY, 0)
            for node in nodes:
                self._show(node, IDENTITY, 0)
        else:
            for geometry in root.iter("geometry"):
                self._add(geometry.get("id", ""), None, IDENTITY, geometry.get("name", ""), None)
        return self._model

    def _place(self, node: Element, parent: Matrix, depth: int) -> None:
        world = parent @ _transform(node)
        self._worlds[id(node)] = world
        for child in node.findall("node") if depth < _DEEPEST else ():
            self._place(child, world, depth + 1)

    def _show(self, node: Element, parent: Matrix, depth: int) -> None:
        if depth > _DEEPEST or len(self._model.parts) > _MOST_PARTS:
            raise ImportFailed(f"{self._document.path}: its nodes contain one another.")
        world = parent @ _transform(node)
        name = node.get("name") or node.get("id") or ""
        for child in node:
            if child.tag == "instance_geometry":
                self._add(link(child), child, world, name, None)
            elif child.tag == "instance_controller":
                self._add_controlled(child, world, name)
            elif child.tag == "instance_node":
                target = self._document.ids.get(link(child))
                if target is not None:
                    self._show(target, world, depth + 1)
            elif child.tag == "node":
                self._show(child, world, depth + 1)

    def _add(
        self,
        geometry: str,
        instance: Element | None,
        world: Matrix,
        name: str,
        moved: Deformed | None,
    ) -> None:
        bound = {}
        for item in instance.iter("instance_material") if instance is not None else ():
            bound[item.get("symbol", "")] = link(item, "target")
        key = (geometry, tuple(sorted(bound.items())))
        mesh = self._meshes.get(key) if moved is None else None
        if mesh is None:
            primitives = self._geometries.primitives(geometry)
            mesh = self._mesh(geometry, primitives, bound, moved) if primitives else None
            if mesh is None:
                return
            if moved is None:
                self._meshes[key] = mesh
        self._model.parts.append(Part(name or mesh.name, mesh, self._up @ world))

    def _add_controlled(
        self, instance: Element, world: Matrix, name: str
    ) -> None:
        found = self._controllers.deform(link(instance), instance)
        if found is None:
            self._document.say(
                f"not-imported: the controller {link(instance)!r}, which is incomplete."
            )
            return
        place = IDENTITY if found.placed else world
        self._add(found.geometry, instance, place, name, found)

    def _mesh(
        self,
        name: str,
        primitives: list[Primitive],
        bound: dict[str, str],
        moved: Deformed | None,
    ) -> Mesh | None:
        corners = np.concatenate([item.corners for item in primitives])
        sizes = np.concatenate([item.sizes for item in primitives])
        if not len(sizes):
            return None
        element = self._document.ids[name]
        positions = primitives[0].positions if moved is None else moved.positions
        normals = joined(primitives, ("NORMAL",), 3, None)
        if normals is not None and moved is not None and moved.turns is not None:
            normals = turned(normals, moved.turns[corners])
        mesh = Mesh(
            element.get("name") or name,
            positions.astype(np.float32),
            corners.astype(np.int32),
            sizes.astype(np.int32),
            uvs=joined(primitives, ("TEXCOORD", "UV"), 2, 0.0),
            normals=normals,
            colors=joined(primitives, ("COLOR",), 4, 1.0),
        )
        if mesh.colors is not None:
            mesh.colors = np.clip(mesh.colors, 0, 1)
        slots = []
        for item in primitives:
            target = bound.get(item.symbol, item.symbol)
            material = self._materials.of(target, item)
            slots.append(material)
        if any(material is not None for material in slots):
            plain = Material("Objaverse Neutral", (0.5, 0.5, 0.5))
            known = list({id(one or plain): one or plain for one in slots}.values())
            mesh.materials = known
            order = {id(one): index for index, one in enumerate(known)}
            each = [order[id(one or plain)] for one in slots]
            mesh.slots = np.repeat(each, [len(item.sizes) for item in primitives]).astype(np.int32)
        return mesh


def _transform(node: Element) -> Matrix:
    """(4, 4) of a node's transformations, the first outermost."""
    result = IDENTITY
    for child in node:
        values = numbers(child) if child.tag in _STEPS else np.empty(0)
        if len(values) == _STEPS.get(child.tag, -1):
            result = result @ _step(child.tag, values)
    return result


_STEPS: Final = {"matrix": 16, "translate": 3, "rotate": 4, "scale": 3, "lookat": 9}


def _step(kind: str, values: Matrix) -> Matrix:
    if kind == "matrix":
        return values.reshape(4, 4)
    step = np.eye(4)
    if kind == "translate":
        step[:3, 3] = values
    elif kind == "scale":
        step[:3, :3] = np.diag(values)
    elif kind == "rotate":
        length = float(np.linalg.norm(values[:3]))
        if length > 0:
            x, y, z = values[:3] / length
            cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
            angle = np.radians(values[3])
            # Rodrigues' formula.
            step[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    else:
        eye, target, up = values.reshape(3, 3)
        back = eye - target
        back = back / (np.linalg.norm(back) or 1)
        right = np.cross(up, back)
        right = right / (np.linalg.norm(right) or 1)
        step[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
        step[:3, 3] = eye
    return step
