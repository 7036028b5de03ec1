"""PLY: points, textures, and the colours and headers that Blender does not read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...errors import ImportFailed, NoGeometry, TruncatedFile
from .model import Cloud, Floats, Material, Mesh, Model, Part, beside

__all__ = ["TYPES", "Header", "prepare", "read_header"]

TYPES: Final = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_END: Final = re.compile(rb"(?:^|[\r\n])[ \t]*end_header[ \t]*(?:\r\n|\n|\r)")
_FACES: Final = ("vertex_indices", "vertex_index")
_COLORS: Final = (
    ("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"),
)  # fmt: skip
_UVS: Final = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"))
_SPLAT: Final = ("f_dc_0", "f_dc_1", "f_dc_2", "opacity")
_SH0: Final = 0.28209479177387814
"""Y_0^0 of the real spherical harmonics: colour = 0.5 + Y_0^0 f_dc (Kerbl et al. 2023)."""
_FAINT: Final = 0.1


@dataclass(frozen=True)
class Property:
    """One of an element's.

    Attributes:
        kind: NumPy's name of its type, without byte order.
        count: That of a list's length; empty where it is no list.
    """

    name: str
    kind: str
    count: str = ""


@dataclass
class Element:
    """Rows of equal properties."""

    name: str
    count: int
    properties: list[Property]

    @property
    def names(self) -> set[str]:
        """Of its properties."""
        return {item.name for item in self.properties}


@dataclass
class Header:
    """What a PLY file says of itself.

    Attributes:
        order: ``ascii``, or NumPy's mark of the byte order.
        plain: Whether it is written as Blender's importer wants it.
        start: Where the data begin.
    """

    order: str
    elements: list[Element]
    textures: list[str]
    plain: bool
    start: int

    def element(self, name: str) -> Element | None:
        """The element of a name."""
        return next((item for item in self.elements if item.name == name), None)


def read_header(data: bytes) -> Header | None:
    """The header, however it is spaced; ``None`` where there is none that can be understood."""
    end = _END.search(data, 0, 1 << 20)
    if end is None:
        return None
    text = data[: end.end()]
    lines = text.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    plain = all(line == line.strip() and "  " not in line for line in lines[:-1])
    order, elements, textures = "", list[Element](), list[str]()
    try:
        for words in (line.split() for line in lines):
            if words[:1] == ["format"]:
                order = {
                    "ascii": "ascii", "binary_little_endian": "<", "binary_big_endian": ">",
                }[words[1]]  # fmt: skip
            elif words[:1] == ["comment"] and words[1:2] == ["TextureFile"]:
                textures.append(" ".join(words[2:]))
            elif words[:1] == ["element"]:
                elements.append(Element(words[1], int(words[2]), []))
            elif words[:2] == ["property", "list"]:
                item = Property(words[4], TYPES[words[3]], TYPES[words[2]])
                elements[-1].properties.append(item)
            elif words[:1] == ["property"]:
                elements[-1].properties.append(Property(words[2], TYPES[words[1]]))
    except (KeyError, IndexError, ValueError):
        return None
    if not order or any(item.count < 0 for item in elements):
        return None
    return Header(order, elements, textures, plain, end.end())


def prepare(path: Path, folder: Path, warnings: list[str]) -> Path | Model:  # noqa: ARG001
    """The file, where Blender reads all of it; else what is in it."""
    data = path.read_bytes()
    header = read_header(data)
    vertex = header.element("vertex") if header else None
    if header is None or vertex is None or _blender_reads(data, header, vertex):
        return path
    tables = _Tables(path, data, header)
    points = tables.columns(vertex, ("x", "y", "z"))
    if points is None:
        return path
    positions = points.astype(np.float32)
    colors = _colors(tables, vertex)
    polygons = _polygons(tables, header)
    model = Model("PLY")
    if polygons is None:
        model.clouds.append(_cloud(path, tables, vertex, positions, colors))
        return model
    corners, sizes = polygons
    if corners.size and not 0 <= np.min(corners) <= np.max(corners) < len(positions):
        raise ImportFailed(f"{path}: a face has a vertex that is not in the file.")
    face = header.element("face")
    mesh = Mesh(path.stem, positions, corners.astype(np.int32), sizes.astype(np.int32))
    of_faces = _colors(tables, face) if face else None
    if colors is not None:
        mesh.colors = colors[corners]
    elif of_faces is not None:
        mesh.colors = np.repeat(of_faces, sizes, axis=0)
    _add_texture(path, tables, header, mesh, warnings)
    model.parts.append(Part(path.stem, mesh))
    return model


def _blender_reads(data: bytes, header: Header, vertex: Element) -> bool:
    face = header.element("face")
    if not face or not face.count or not header.plain:
        return False
    if header.textures or header.element("tristrips"):
        return False
    if header.order == "ascii" and _odd_lines(data, header):
        return False
    known = {item.name: item.kind for item in vertex.properties}
    colored = {"red", "green", "blue"} <= known.keys()
    if colored and known["red"] not in ("u1", "f4"):
        return False
    if not colored and any(set(names) <= known.keys() for names in _COLORS):
        return False
    return colored or not any(set(names) <= face.names for names in _COLORS)


def _odd_lines(data: bytes, header: Header) -> bool:
    sample = data[header.start : header.start + 65536]
    return re.search(rb"(?m)^[ \t]+\S|\S[ \t]+\r?$|\t|\r(?!\n)", sample) is not None


class _Tables:
    """The data of a file, element by element."""

    def __init__(self, path: Path, data: bytes, header: Header) -> None:
        self._path = path
        self._rows: dict[str, Any] = {}
        try:
            if header.order == "ascii":
                self._read_text(data, header)
            else:
                self._read_binary(data, header)
        except (IndexError, ValueError) as error:
            raise TruncatedFile(
                f"{path} ends, or turns into something else, before its header says so: {error}.",
                hint="Fetch it again.",
            ) from error

    def columns(self, element: Element, names: tuple[str, ...]) -> npt.NDArray[Any] | None:
        """(rows, names) of properties that are no lists; ``None`` where one is not there."""
        known = {item.name: item for item in element.properties}
        if any(name not in known or known[name].count for name in names):
            return None
        rows = self._rows[element.name]
        return np.stack([rows[name] for name in names], axis=1)

    def lists(self, element: Element, name: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Values of all rows' lists, one after the other, and how many each has."""
        values, sizes = self._rows[element.name][name]
        return values, sizes

    def _read_text(self, data: bytes, header: Header) -> None:
        words = data[header.start :].split()
        at = 0
        for element in header.elements:
            if not any(item.count for item in element.properties):
                width = len(element.properties)
                end = at + width * element.count
                if end > len(words):
                    raise IndexError(f"{element.name} rows are missing")
                table = np.array(words[at:end], dtype=np.float64).reshape(element.count, width)
                self._rows[element.name] = {
                    item.name: table[:, index] for index, item in enumerate(element.properties)
                }
                at = end
                continue
            rows: dict[str, list[Any]] = {item.name: [] for item in element.properties}
            for _ in range(element.count):
                for item in element.properties:
                    if not item.count:
                        rows[item.name].append(float(words[at]))
                        at += 1
                        continue
                    size = int(words[at])
                    if size < 0 or at + 1 + size > len(words):
                        raise IndexError(f"{element.name} rows are missing")
                    rows[item.name].append(words[at + 1 : at + 1 + size])
                    at += 1 + size
            self._rows[element.name] = {
                item.name: _joined(rows[item.name], item) if item.count else
                np.array(rows[item.name])
                for item in element.properties
            }  # fmt: skip

    def _read_binary(self, data: bytes, header: Header) -> None:
        at = header.start
        for element in header.elements:
            lists = [item for item in element.properties if item.count]
            sizes = self._first_sizes(data, at, header.order, element)
            dtype = np.dtype([
                field
                for item in element.properties
                for field in self._fields(item, header.order, sizes)
            ])  # fmt: skip
            if element.count * dtype.itemsize <= len(data) - at:
                table = np.frombuffer(data, dtype, element.count, at)
                if all((table[f"{item.name} size"] == sizes[item.name]).all() for item in lists):
                    self._rows[element.name] = {
                        item.name: (
                            table[item.name].reshape(-1),
                            np.full(element.count, sizes[item.name], np.int64),
                        ) if item.count else table[item.name]
                        for item in element.properties
                    }  # fmt: skip
                    at += element.count * dtype.itemsize
                    continue
            elif not lists:
                raise IndexError(f"{element.name} rows are missing")
            at = self._read_ragged(data, at, header.order, element)

    @staticmethod
    def _fields(item: Property, order: str, sizes: dict[str, int]) -> list[Any]:
        if not item.count:
            return [(item.name, order + item.kind)]
        shape = (sizes[item.name],)
        return [(f"{item.name} size", order + item.count), (item.name, order + item.kind, shape)]

    @staticmethod
    def _first_sizes(data: bytes, at: int, order: str, element: Element) -> dict[str, int]:
        sizes = {}
        for item in element.properties if element.count else ():
            if item.count:
                sizes[item.name] = int(np.frombuffer(data, order + item.count, 1, at)[0])
                at += np.dtype(item.count).itemsize
            at += np.dtype(item.kind).itemsize * sizes.get(item.name, 1)
        return {item.name: max(0, sizes.get(item.name, 0)) for item in element.properties}

    def _read_ragged(self, data: bytes, at: int, order: str, element: Element) -> int:
        rows: dict[str, list[Any]] = {item.name: [] for item in element.properties}
        kinds = [
            (item.name, np.dtype(order + item.kind), np.dtype(order + item.count) if item.count
             else None)
            for item in element.properties
        ]  # fmt: skip
        for _ in range(element.count):
            for name, kind, counter in kinds:
                size = 1
                if counter is not None:
                    size = int(np.frombuffer(data, counter, 1, at)[0])
                    at += counter.itemsize
                rows[name].append(np.frombuffer(data, kind, size, at))
                at += kind.itemsize * size
        self._rows[element.name] = {
            item.name: _joined(rows[item.name], item) if item.count else
            np.array([row[0] for row in rows[item.name]])
            for item in element.properties
        }  # fmt: skip
        return at


def _joined(rows: list[Any], item: Property) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    sizes = np.array([len(row) for row in rows], np.int64)
    if not rows:
        return np.empty(0, item.kind), sizes
    parts = [np.asarray(row, np.float64) for row in rows]
    return np.concatenate(parts).astype(item.kind), sizes


def _colors(tables: _Tables, element: Element) -> Floats | None:
    kinds = {item.name: item.kind for item in element.properties}
    for names in _COLORS:
        found = tables.columns(element, names)
        if found is not None:
            kind = np.dtype(kinds[names[0]])
            most = 1.0 if kind.kind == "f" else float(np.iinfo(kind).max)
            values = np.clip(found.astype(np.float32) / most, 0, 1)
            # Scanners write an alpha of 0 for what is there.
            return np.concatenate([values, np.ones((len(values), 1))], axis=1).astype(np.float32)
    return None


def _polygons(
    tables: _Tables, header: Header
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """Vertices of all corners and corners of each polygon; ``None`` where there are no faces."""
    face = header.element("face")
    if face and face.count:
        name = next((name for name in _FACES if name in face.names), "")
        if name:
            corners, sizes = tables.lists(face, name)
            return corners.astype(np.int64), sizes
    strips = header.element("tristrips")
    name = next((name for name in _FACES if strips and name in strips.names), "")
    if strips is None or not name:
        return None
    values = tables.lists(strips, name)[0].astype(np.int64)
    triangles = []
    # Strips end with -1; every other triangle is turned around.
    for strip in np.split(values, np.flatnonzero(values < 0)):
        strip = strip[strip >= 0]
        if len(strip) > 2:
            three = np.stack([strip[:-2], strip[1:-1], strip[2:]], axis=1)
            three[1::2] = three[1::2, ::-1]
            triangles.append(three)
    if not triangles:
        return None
    found = np.concatenate(triangles)
    a, b, c = found.T
    found = found[(a != b) & (b != c) & (c != a)]
    return found.reshape(-1), np.full(len(found), 3, np.int64)


def _add_texture(
    path: Path, tables: _Tables, header: Header, mesh: Mesh, warnings: list[str]
) -> None:
    if not header.textures:
        return
    face, vertex = header.element("face"), header.element("vertex")
    assert vertex is not None
    uvs: npt.NDArray[Any] | None = None
    if face and "texcoord" in face.names:
        values, sizes = tables.lists(face, "texcoord")
        if (sizes == 2 * mesh.sizes).all():
            uvs = values.reshape(-1, 2)
    for names in _UVS:
        of_vertices = tables.columns(vertex, names) if uvs is None else None
        if of_vertices is not None:
            uvs = of_vertices[mesh.corners]
    if uvs is None:
        warnings.append(
            f"not-imported: the texture {header.textures[0]!r}, for which the file has no texture "
            "coordinates."
        )
        return
    mesh.uvs = uvs.astype(np.float32)
    mesh.materials = [
        Material(f"{path.stem} {index}", texture=beside(path.parent, name))
        for index, name in enumerate(header.textures)
    ]
    numbers = tables.columns(face, ("texnumber",)) if face else None
    if numbers is not None:
        mesh.slots = np.clip(numbers[:, 0], 0, len(header.textures) - 1).astype(np.int32)
    if mesh.colors is not None:
        # MeshLab shows one or the other; the texture has more to say.
        mesh.colors = None
        warnings.append("not-imported: the colors beside the texture.")


def _cloud(
    path: Path,
    tables: _Tables,
    vertex: Element,
    positions: Floats,
    colors: Floats | None,
) -> Cloud:
    what = "points"
    finite = np.isfinite(positions).all(axis=1)
    splats = tables.columns(vertex, _SPLAT)
    if splats is not None:
        what = "Gaussian splats, without their shape and view dependence,"
        values = np.clip(0.5 + _SH0 * splats[:, :3].astype(np.float32), 0, 1)
        colors = np.concatenate([values, np.ones((len(values), 1))], axis=1).astype(np.float32)
        # 1 / (1 + exp(-x)) > faint, without an exponential that overflows.
        finite &= splats[:, 3] > np.log(_FAINT / (1 - _FAINT))
    if not finite.any():
        raise NoGeometry(f"{path} has neither a face nor a point that can be seen.")
    positions = positions[finite]
    colors = None if colors is None else colors[finite]
    return Cloud(path.stem, positions, colors, f"{len(finite):,} {what}")
