"""Polygons of a COLLADA document."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from ....errors import ImportFailed
from ..model import Floats
from ..polygon import triangulate
from .document import Document, Element, Indices, Matrix, link, numbers

__all__ = ["Geometries", "Primitive", "joined"]

_PRIMITIVES: Final = ("triangles", "polylist", "polygons", "tristrips", "trifans")


@dataclass
class Primitive:
    """A run of polygons of one material.

    Attributes:
        positions: (V, 3).
        corners: (L,) into the positions.
        sizes: (F,) corners of each polygon.
        data: What corners have, (L, k), by its semantic.
    """

    symbol: str
    positions: Matrix
    corners: Indices
    sizes: Indices
    data: dict[str, Floats] = field(default_factory=dict)


class Geometries:
    """All of a document's, each read once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._known: dict[str, list[Primitive]] = {}

    def primitives(self, name: str) -> list[Primitive]:
        """Runs of polygons of a geometry, by its id."""
        if name not in self._known:
            element = self._document.ids.get(name)
            mesh = element.find("mesh") if element is not None else None
            self._known[name] = list(self._read_mesh(mesh)) if mesh is not None else []
        return self._known[name]

    def _read_mesh(self, mesh: Element) -> Iterator[Primitive]:
        vertices = mesh.find("vertices")
        shared = vertices.findall("input") if vertices is not None else []
        sources: dict[str, Matrix] = {}
        for item in mesh.iter("input"):
            values = self._document.source(link(item, "source"))
            if values is not None:
                sources[link(item, "source")] = values
        place = next(
            (link(item, "source") for item in shared if item.get("semantic") == "POSITION"), ""
        )
        positions = sources.get(place)
        if positions is None or positions.shape[1] < 3:
            return
        positions = positions[:, :3]
        for element in mesh:
            if element.tag in _PRIMITIVES:
                primitive = self._read_primitive(element, shared, sources, positions)
                if primitive is not None:
                    yield primitive

    def _read_primitive(
        self,
        element: Element,
        shared: list[Element],
        sources: dict[str, Matrix],
        positions: Matrix,
    ) -> Primitive | None:
        inputs = element.findall("input")
        said = [item.get("offset", "0") for item in inputs]
        if not all(text.strip().isdecimal() and len(text) < 5 for text in said):
            # To leave these faces out would be a part lost without a word.
            raise ImportFailed(f"{self._document.path}: an offset of <{element.tag}> is no number.")
        offsets = [int(text) for text in said]
        width = max(offsets, default=0) + 1
        vertex = next(
            (at for item, at in zip(inputs, offsets, strict=True)
             if item.get("semantic") in ("VERTEX", "POSITION")), None,
        )  # fmt: skip
        if vertex is None:
            return None
        rows, sizes = self._rows(element, width, vertex, positions)
        if not len(rows):
            return None
        primitive = Primitive(element.get("material", ""), positions, rows[:, vertex], sizes)
        wanted = [(item, at) for item, at in zip(inputs, offsets, strict=True)]
        wanted += [(item, vertex) for item in shared]
        best: dict[str, tuple[int, str, int]] = {}
        for item, at in wanted:
            kind = item.get("semantic", "")
            number = int(item.get("set", "0")) if item.get("set", "0").isdigit() else 0
            if kind in ("TEXCOORD", "UV", "NORMAL", "COLOR") and (
                kind not in best or number < best[kind][0]
            ):
                best[kind] = number, link(item, "source"), at
        self._check(rows[:, vertex], len(positions))
        for kind, (_, name, at) in best.items():
            values = sources.get(name)
            # What is not there is not needed; what does not fit is not what was meant.
            if values is not None and np.max(rows[:, at]) < len(values):
                primitive.data[kind] = values[rows[:, at]].astype(np.float32)
        return primitive

    def _check(self, indices: Indices, count: int) -> None:
        if np.min(indices) < 0 or np.max(indices) >= count:
            raise ImportFailed(
                f"{self._document.path}: a face has a vertex that is not in the file."
            )

    def _rows(
        self, element: Element, width: int, vertex: int, positions: Matrix
    ) -> tuple[Indices, Indices]:
        """Indices of each corner (L, width), and corners of each polygon."""

        def table(item: Element | None) -> Indices:
            values = numbers(item).astype(np.int64)
            return values[: len(values) // width * width].reshape(-1, width)

        if element.tag == "triangles":
            rows = np.concatenate([table(item) for item in element.findall("p")] or [table(None)])
            rows = rows[: len(rows) // 3 * 3]
            return rows, np.full(len(rows) // 3, 3, np.int64)
        if element.tag == "polylist":
            rows = table(element.find("p"))
            sizes = numbers(element.find("vcount")).astype(np.int64)
            if sizes.sum() > len(rows) or (sizes < 0).any():
                raise ImportFailed(f"{self._document.path}: a list of polygons is cut off.")
            rows = rows[: sizes.sum()]
            kept = sizes > 2
            return rows[np.repeat(kept, sizes)], sizes[kept]
        runs: list[Indices] = []
        for item in element:
            if item.tag == "p" and element.tag == "polygons":
                runs.append(table(item))
            elif item.tag == "p":
                runs += _triangles_of(table(item), fan=element.tag == "trifans")
            elif item.tag == "ph":
                outline = table(item.find("p"))
                holes = [table(hole) for hole in item.findall("h")]
                runs += self._cut(outline, holes, vertex, positions)
        runs = [run for run in runs if len(run) > 2]
        sizes = np.array([len(run) for run in runs], np.int64)
        return (np.concatenate(runs) if runs else table(None)), sizes

    def _cut(
        self, outline: Indices, holes: list[Indices], vertex: int, positions: Matrix
    ) -> list[Indices]:
        """A polygon with holes as triangles."""
        rows = np.concatenate([outline, *holes])
        if not len(outline):
            return []
        self._check(rows[:, vertex], len(positions))
        points = positions[rows[:, vertex]]
        starts = np.cumsum([len(outline), *[len(hole) for hole in holes]])
        inner = [range(a, b) for a, b in itertools.pairwise(starts.tolist())]
        return [rows[list(three)] for three in triangulate(points, range(len(outline)), inner)]


def _triangles_of(rows: Indices, *, fan: bool) -> list[Indices]:
    found = []
    for index in range(len(rows) - 2):
        if fan:
            found.append(rows[[0, index + 1, index + 2]])
        else:
            order = [index, index + 1, index + 2] if index % 2 == 0 else [
                index + 1, index, index + 2
            ]
            found.append(rows[order])
    return found


def joined(
    primitives: list[Primitive], kinds: tuple[str, ...], width: int, filler: float | None
) -> Floats | None:
    """(L, width) of all primitives; ``None`` where none has it, or one lacks it and must not."""
    parts: list[Floats] = []
    some = False
    for item in primitives:
        found = next((item.data[kind] for kind in kinds if kind in item.data), None)
        if found is None or found.shape[1] < min(width, 3 if width == 4 else width):
            if filler is None:
                return None
            parts.append(np.full((len(item.corners), width), filler, np.float32))
            continue
        some = True
        if found.shape[1] < width:
            ones = np.ones((len(found), width - found.shape[1]), np.float32)
            found = np.concatenate([found, ones], axis=1)
        parts.append(found[:, :width])
    return np.concatenate(parts) if some else None
