"""Skins and morphs of a COLLADA document, as they stand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..model import IDENTITY, Floats
from .document import Document, Element, Matrix, link, numbers
from .geometry import Geometries

__all__ = ["Controllers", "Deformed", "turned"]


@dataclass
class Deformed:
    """A geometry, and where a controller puts its vertices.

    Attributes:
        positions: (V, 3).
        turns: (V, 3, 3) that turned each vertex; ``None`` where nothing did.
        placed: Whether they are in the scene's coordinates.
    """

    geometry: str
    positions: Matrix
    turns: Matrix | None = None
    placed: bool = False


class Controllers:
    """All of a document's.

    Args:
        worlds: (4, 4) of each node, by its element's ``id()``; of all before the first skin.
    """

    def __init__(
        self, document: Document, geometries: Geometries, worlds: dict[int, Matrix]
    ) -> None:
        self._document, self._geometries, self._worlds = document, geometries, worlds

    def deform(self, name: str, instance: Element, depth: int = 0) -> Deformed | None:
        """Where a controller, or a geometry, has its vertices; ``None`` where it is incomplete."""
        element = self._document.ids.get(name)
        if element is None or depth > 8:
            return None
        if element.tag == "geometry":
            primitives = self._geometries.primitives(name)
            return Deformed(name, primitives[0].positions) if primitives else None
        skin, morph = element.find("skin"), element.find("morph")
        if skin is not None:
            base = self.deform(link(skin, "source"), instance, depth + 1)
            return base and self._skin(skin, instance, base)
        if morph is not None:
            base = self.deform(link(morph, "source"), instance, depth + 1)
            return base and self._morph(morph, instance, base, depth)
        return None

    def _morph(
        self,
        morph: Element,
        instance: Element,
        base: Deformed,
        depth: int,
    ) -> Deformed:
        inputs = {item.get("semantic"): link(item, "source") for item in morph.iter("input")}
        targets = self._document.names(inputs.get("MORPH_TARGET", ""))
        weights = self._document.source(inputs.get("MORPH_WEIGHT", ""))
        if weights is None or len(weights) != len(targets):
            return base
        relative = morph.get("method", "NORMALIZED") == "RELATIVE"
        shape = base.positions.copy()
        for target, weight in zip(targets, weights[:, 0], strict=True):
            other = self.deform(target, instance, depth + 1) if weight else None
            if other is not None and other.positions.shape == shape.shape:
                shape += weight * (other.positions - (0 if relative else base.positions))
        return Deformed(base.geometry, shape, base.turns, base.placed)

    def _skin(
        self, skin: Element, instance: Element, base: Deformed
    ) -> Deformed:
        shape = numbers(skin.find("bind_shape_matrix"))
        bind = shape.reshape(4, 4) if shape.size == 16 else IDENTITY
        moved = base.positions @ bind[:3, :3].T + bind[:3, 3]
        still = np.broadcast_to(bind[:3, :3], (len(moved), 3, 3))
        standing = Deformed(base.geometry, moved, still)
        joints = skin.find("joints")
        weights = skin.find("vertex_weights")
        if joints is None or weights is None:
            return standing
        inputs = {item.get("semantic"): link(item, "source") for item in joints.iter("input")}
        names = self._document.names(inputs.get("JOINT", ""))
        inverse = self._document.source(inputs.get("INV_BIND_MATRIX", ""))
        nodes = [self._joint(name, instance) for name in names]
        if inverse is None or len(inverse) != len(names) or inverse.shape[1] != 16:
            return standing
        if not nodes or any(node is None for node in nodes):
            self._document.say("not-imported: the pose of a skin whose joints are not in the file.")
            return standing
        moves = np.stack([
            self._worlds.get(id(node), IDENTITY) @ matrix.reshape(4, 4)
            for node, matrix in zip(nodes, inverse, strict=True)
        ])  # fmt: skip
        found = {item.get("semantic"): item for item in weights.findall("input")}
        if "JOINT" not in found or "WEIGHT" not in found:
            return standing
        values = self._document.source(link(found["WEIGHT"], "source"))
        counts = numbers(weights.find("vcount")).astype(np.int64)
        width = 1 + max(int(item.get("offset", "0")) for item in found.values())
        table = numbers(weights.find("v")).astype(np.int64)
        if values is None or len(counts) != len(moved) or len(table) != counts.sum() * width:
            return standing
        table = table.reshape(-1, width)
        which = table[:, int(found["JOINT"].get("offset", "0"))]
        share = values[table[:, int(found["WEIGHT"].get("offset", "0"))], 0]
        vertex = np.repeat(np.arange(len(counts)), counts)
        # -1 is the bind shape itself.
        every = np.concatenate([moves, IDENTITY[None]])
        points = np.concatenate([moved, np.ones((len(moved), 1))], axis=1)
        parts = np.einsum("nij,nj->ni", every[which], points[vertex])[:, :3] * share[:, None]
        result = np.zeros_like(moved)
        np.add.at(result, vertex, parts)
        total = np.zeros(len(moved))
        np.add.at(total, vertex, share)
        weighted = total > 1e-9
        result[weighted] /= total[weighted, None]
        result[~weighted] = moved[~weighted]
        turns = np.zeros((len(moved), 3, 3))
        np.add.at(turns, vertex, every[which, :3, :3] * share[:, None, None])
        turns[~weighted] = np.eye(3)
        return Deformed(base.geometry, result, turns @ bind[:3, :3], True)

    def _joint(self, name: str, instance: Element) -> Element | None:
        """A joint by its sid below the skeletons, else by its id or name anywhere."""
        roots = [self._document.ids.get(link(item) or (item.text or "").strip().rpartition("#")[2])
                 for item in instance.findall("skeleton")]  # fmt: skip
        for root in [*(root for root in roots if root is not None), self._document.root]:
            for key in ("sid", "id", "name"):
                for node in root.iter("node"):
                    if node.get(key) == name and id(node) in self._worlds:
                        return node
        return None


def turned(normals: Floats, turns: Matrix) -> Floats:
    """Normals (L, 3) after linear maps (L, 3, 3), by the cofactors: they need no inverse."""
    a, b, c = turns[:, :, 0], turns[:, :, 1], turns[:, :, 2]
    cofactors = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=2)
    found = np.einsum("nij,nj->ni", cofactors, normals)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    unit: Floats = (found / np.where(length > 0, length, 1)).astype(np.float32)
    return unit
