"""COLLADA 1.4 and 1.5: geometry, scene and materials, for a Blender that does not read it.

Written against what exporters write: whatever a picture does not need may be malformed.
Specification: https://www.khronos.org/files/collada_spec_1_4.pdf
"""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from ...errors import ImportFailed
from ..text import clean
from .model import IDENTITY, Floats, Material, Mesh, Model, Part, beside
from .polygon import triangulate

__all__ = ["is_misread", "read"]

Matrix = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_TURNS: Final = {
    "Z_UP": IDENTITY,
    "Y_UP": np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float64),
    "X_UP": np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], np.float64),
}
_LUMINANCE: Final = np.array([0.212671, 0.715160, 0.072169])
"""The specification's, of linear Rec. 709."""
_PLAIN: Final = re.compile(r"[\w./-]+", re.ASCII)
_DEEPEST: Final = 200
_MOST_PARTS: Final = 100_000
_PRIMITIVES: Final = ("triangles", "polylist", "polygons", "tristrips", "trifans")


def is_misread(path: Path) -> bool:
    """Whether the importer of Blender 4 gets something wrong that :func:`read` gets right.

    It hides what ``RGB_ZERO`` says to be opaque, and leaves out textures that are not where the
    file has them. It knows animations, though, which are left to it.
    """
    try:
        root = _parsed(path)
    except ImportFailed:
        return False
    if any(True for _ in root.iter("channel")):
        return False
    if any(item.tag in ("transparent", "transparency") for item in root.iter()):
        return True
    images = [item for image in root.iter("image") for item in image.iter("init_from")]
    names = [(item.text or item.findtext("ref") or "").strip() for item in images]
    return any(
        name and not (_PLAIN.fullmatch(name) and (path.parent / name).is_file()) for name in names
    )


def _parsed(path: Path) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise ImportFailed(f"{path} is no XML that can be read: {error}.") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
    return root


def read(path: Path, warnings: list[str]) -> Model:
    """What a COLLADA file shows.

    Raises:
        ImportFailed: It is no XML, or its geometry contradicts itself.
    """
    root = _parsed(path)
    try:
        return _Reader(path, root, warnings).model()
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, RecursionError) as error:
        raise ImportFailed(
            f"{path}: its geometry or its scene contradicts itself: {clean(str(error))}.",
            hint="Export it again.",
        ) from error


def _words(element: ElementTree.Element | None) -> list[str]:
    return (element.text or "").split() if element is not None else []


def _numbers(element: ElementTree.Element | None) -> Matrix:
    try:
        return np.array(_words(element), dtype=np.float64)
    except ValueError:
        return np.empty(0)


def _link(element: ElementTree.Element | None, key: str = "url") -> str:
    return element.get(key, "").rpartition("#")[2] if element is not None else ""


@dataclass
class _Primitive:
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


@dataclass
class _Deformed:
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


class _Reader:
    def __init__(self, path: Path, root: ElementTree.Element, warnings: list[str]) -> None:
        self._path = path
        self._root = root
        self._warnings = warnings
        self._ids = {item.get("id", ""): item for item in root.iter() if item.get("id")}
        self._geometries: dict[str, list[_Primitive]] = {}
        self._materials: dict[tuple[str, bool], Material] = {}
        self._meshes: dict[Any, Mesh] = {}
        self._worlds: dict[int, Matrix] = {}
        self._said: set[str] = set()
        self._model = Model("COLLADA reader")

    def model(self) -> Model:
        if any(True for _ in self._root.iter("channel")):
            self._say("not-imported: animations of a COLLADA file.")
        axis = (self._root.findtext("asset/up_axis") or "Y_UP").strip().upper()
        self._up = _TURNS.get(axis, _TURNS["Y_UP"])
        scene = self._ids.get(_link(self._root.find("scene/instance_visual_scene")))
        if scene is None:
            scene = self._root.find("library_visual_scenes/visual_scene")
        if scene is not None:
            nodes = scene.findall("node")
            # Skins need to know where all joints are.
            for node in nodes:
                self._place(node, IDENTITY, 0)
            for node in nodes:
                self._show(node, IDENTITY, 0)
        else:
            for geometry in self._root.iter("geometry"):
                self._add(geometry.get("id", ""), None, IDENTITY, geometry.get("name", ""), None)
        return self._model

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._warnings.append(text)

    # --- The scene ------------------------------------------------------------------------

    def _place(self, node: ElementTree.Element, parent: Matrix, depth: int) -> None:
        world = parent @ _transform(node)
        self._worlds[id(node)] = world
        for child in node.findall("node") if depth < _DEEPEST else ():
            self._place(child, world, depth + 1)

    def _show(self, node: ElementTree.Element, parent: Matrix, depth: int) -> None:
        if depth > _DEEPEST or len(self._model.parts) > _MOST_PARTS:
            raise ImportFailed(f"{self._path}: its nodes contain one another.")
        world = parent @ _transform(node)
        name = node.get("name") or node.get("id") or ""
        for child in node:
            if child.tag == "instance_geometry":
                self._add(_link(child), child, world, name, None)
            elif child.tag == "instance_controller":
                self._add_controlled(child, world, name)
            elif child.tag == "instance_node":
                target = self._ids.get(_link(child))
                if target is not None:
                    self._show(target, world, depth + 1)
            elif child.tag == "node":
                self._show(child, world, depth + 1)

    def _add(
        self,
        geometry: str,
        instance: ElementTree.Element | None,
        world: Matrix,
        name: str,
        moved: _Deformed | None,
    ) -> None:
        bound = {}
        for item in instance.iter("instance_material") if instance is not None else ():
            bound[item.get("symbol", "")] = _link(item, "target")
        key = (geometry, tuple(sorted(bound.items())))
        mesh = self._meshes.get(key) if moved is None else None
        if mesh is None:
            primitives = self._primitives(geometry)
            mesh = self._mesh(geometry, primitives, bound, moved) if primitives else None
            if mesh is None:
                return
            if moved is None:
                self._meshes[key] = mesh
        self._model.parts.append(Part(name or mesh.name, mesh, self._up @ world))

    # --- Controllers ----------------------------------------------------------------------

    def _add_controlled(
        self, instance: ElementTree.Element, world: Matrix, name: str
    ) -> None:
        found = self._deform(_link(instance), instance, 0)
        if found is None:
            self._say(f"not-imported: the controller {_link(instance)!r}, which is incomplete.")
            return
        place = IDENTITY if found.placed else world
        self._add(found.geometry, instance, place, name, found)

    def _deform(self, name: str, instance: ElementTree.Element, depth: int) -> _Deformed | None:
        element = self._ids.get(name)
        if element is None or depth > 8:
            return None
        if element.tag == "geometry":
            primitives = self._primitives(name)
            return _Deformed(name, primitives[0].positions) if primitives else None
        skin, morph = element.find("skin"), element.find("morph")
        if skin is not None:
            base = self._deform(_link(skin, "source"), instance, depth + 1)
            return base and self._skin(skin, instance, base)
        if morph is not None:
            base = self._deform(_link(morph, "source"), instance, depth + 1)
            return base and self._morph(morph, instance, base, depth)
        return None

    def _morph(
        self,
        morph: ElementTree.Element,
        instance: ElementTree.Element,
        base: _Deformed,
        depth: int,
    ) -> _Deformed:
        inputs = {item.get("semantic"): _link(item, "source") for item in morph.iter("input")}
        targets = self._names(inputs.get("MORPH_TARGET", ""))
        weights = self._source(inputs.get("MORPH_WEIGHT", ""))
        if weights is None or len(weights) != len(targets):
            return base
        relative = morph.get("method", "NORMALIZED") == "RELATIVE"
        shape = base.positions.copy()
        for target, weight in zip(targets, weights[:, 0], strict=True):
            other = self._deform(target, instance, depth + 1) if weight else None
            if other is not None and other.positions.shape == shape.shape:
                shape += weight * (other.positions - (0 if relative else base.positions))
        return _Deformed(base.geometry, shape, base.turns, base.placed)

    def _skin(
        self, skin: ElementTree.Element, instance: ElementTree.Element, base: _Deformed
    ) -> _Deformed:
        shape = _numbers(skin.find("bind_shape_matrix"))
        bind = shape.reshape(4, 4) if shape.size == 16 else IDENTITY
        moved = base.positions @ bind[:3, :3].T + bind[:3, 3]
        still = np.broadcast_to(bind[:3, :3], (len(moved), 3, 3))
        standing = _Deformed(base.geometry, moved, still)
        joints = skin.find("joints")
        weights = skin.find("vertex_weights")
        if joints is None or weights is None:
            return standing
        inputs = {item.get("semantic"): _link(item, "source") for item in joints.iter("input")}
        names = self._names(inputs.get("JOINT", ""))
        inverse = self._source(inputs.get("INV_BIND_MATRIX", ""))
        nodes = [self._joint(name, instance) for name in names]
        if inverse is None or len(inverse) != len(names) or inverse.shape[1] != 16:
            return standing
        if not nodes or any(node is None for node in nodes):
            self._say("not-imported: the pose of a skin whose joints are not in the file.")
            return standing
        moves = np.stack([
            self._worlds.get(id(node), IDENTITY) @ matrix.reshape(4, 4)
            for node, matrix in zip(nodes, inverse, strict=True)
        ])  # fmt: skip
        found = {item.get("semantic"): item for item in weights.findall("input")}
        if "JOINT" not in found or "WEIGHT" not in found:
            return standing
        values = self._source(_link(found["WEIGHT"], "source"))
        counts = _numbers(weights.find("vcount")).astype(np.int64)
        width = 1 + max(int(item.get("offset", "0")) for item in found.values())
        table = _numbers(weights.find("v")).astype(np.int64)
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
        return _Deformed(base.geometry, result, turns @ bind[:3, :3], True)

    def _joint(self, name: str, instance: ElementTree.Element) -> ElementTree.Element | None:
        """A joint by its sid below the skeletons, else by its id or name anywhere."""
        roots = [self._ids.get(_link(item) or (item.text or "").strip().rpartition("#")[2])
                 for item in instance.findall("skeleton")]  # fmt: skip
        for root in [*(root for root in roots if root is not None), self._root]:
            for key in ("sid", "id", "name"):
                for node in root.iter("node"):
                    if node.get(key) == name and id(node) in self._worlds:
                        return node
        return None

    # --- Geometry -------------------------------------------------------------------------

    def _names(self, source: str) -> list[str]:
        element = self._ids.get(source)
        for kind in ("Name_array", "IDREF_array", "SIDREF_array"):
            array = element.find(kind) if element is not None else None
            if array is not None:
                return _words(array)
        return []

    def _source(self, name: str) -> Matrix | None:
        """(count, stride) of a source of numbers."""
        element = self._ids.get(name)
        if element is None:
            return None
        accessor = element.find("technique_common/accessor")
        array = self._ids.get(_link(accessor, "source")) if accessor is not None else None
        if array is None:
            array = element.find("float_array")
        values = _numbers(array)
        stride = offset = 0
        if accessor is not None:
            try:
                stride = int(accessor.get("stride", "1"))
                offset = int(accessor.get("offset", "0"))
            except ValueError:
                stride = 0
        if stride < 1:
            stride = max(1, len(accessor.findall("param")) if accessor is not None else 3)
        count = max(0, len(values) - offset) // stride
        return values[offset : offset + count * stride].reshape(count, stride)

    def _primitives(self, name: str) -> list[_Primitive]:
        if name not in self._geometries:
            element = self._ids.get(name)
            mesh = element.find("mesh") if element is not None else None
            self._geometries[name] = list(self._read_mesh(mesh)) if mesh is not None else []
        return self._geometries[name]

    def _read_mesh(self, mesh: ElementTree.Element) -> Iterator[_Primitive]:
        vertices = mesh.find("vertices")
        shared = vertices.findall("input") if vertices is not None else []
        sources: dict[str, Matrix] = {}
        for item in mesh.iter("input"):
            values = self._source(_link(item, "source"))
            if values is not None:
                sources[_link(item, "source")] = values
        place = next(
            (_link(item, "source") for item in shared if item.get("semantic") == "POSITION"), ""
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
        element: ElementTree.Element,
        shared: list[ElementTree.Element],
        sources: dict[str, Matrix],
        positions: Matrix,
    ) -> _Primitive | None:
        inputs = element.findall("input")
        said = [item.get("offset", "0") for item in inputs]
        if not all(text.strip().isdecimal() and len(text) < 5 for text in said):
            # To leave these faces out would be a part lost without a word.
            raise ImportFailed(f"{self._path}: an offset of <{element.tag}> is no number.")
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
        primitive = _Primitive(element.get("material", ""), positions, rows[:, vertex], sizes)
        wanted = [(item, at) for item, at in zip(inputs, offsets, strict=True)]
        wanted += [(item, vertex) for item in shared]
        best: dict[str, tuple[int, str, int]] = {}
        for item, at in wanted:
            kind = item.get("semantic", "")
            number = int(item.get("set", "0")) if item.get("set", "0").isdigit() else 0
            if kind in ("TEXCOORD", "UV", "NORMAL", "COLOR") and (
                kind not in best or number < best[kind][0]
            ):
                best[kind] = number, _link(item, "source"), at
        self._check(rows[:, vertex], len(positions))
        for kind, (_, name, at) in best.items():
            values = sources.get(name)
            # What is not there is not needed; what does not fit is not what was meant.
            if values is not None and np.max(rows[:, at]) < len(values):
                primitive.data[kind] = values[rows[:, at]].astype(np.float32)
        return primitive

    def _check(self, indices: Indices, count: int) -> None:
        if np.min(indices) < 0 or np.max(indices) >= count:
            raise ImportFailed(f"{self._path}: a face has a vertex that is not in the file.")

    def _rows(
        self, element: ElementTree.Element, width: int, vertex: int, positions: Matrix
    ) -> tuple[Indices, Indices]:
        """Indices of each corner (L, width), and corners of each polygon."""

        def table(item: ElementTree.Element | None) -> Indices:
            values = _numbers(item).astype(np.int64)
            return values[: len(values) // width * width].reshape(-1, width)

        if element.tag == "triangles":
            rows = np.concatenate([table(item) for item in element.findall("p")] or [table(None)])
            rows = rows[: len(rows) // 3 * 3]
            return rows, np.full(len(rows) // 3, 3, np.int64)
        if element.tag == "polylist":
            rows = table(element.find("p"))
            sizes = _numbers(element.find("vcount")).astype(np.int64)
            if sizes.sum() > len(rows) or (sizes < 0).any():
                raise ImportFailed(f"{self._path}: a list of polygons is cut off.")
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

    def _mesh(
        self,
        name: str,
        primitives: list[_Primitive],
        bound: dict[str, str],
        moved: _Deformed | None,
    ) -> Mesh | None:
        corners = np.concatenate([item.corners for item in primitives])
        sizes = np.concatenate([item.sizes for item in primitives])
        if not len(sizes):
            return None
        element = self._ids[name]
        positions = primitives[0].positions if moved is None else moved.positions
        normals = _joined(primitives, ("NORMAL",), 3, None)
        if normals is not None and moved is not None and moved.turns is not None:
            normals = _turned(normals, moved.turns[corners])
        mesh = Mesh(
            element.get("name") or name,
            positions.astype(np.float32),
            corners.astype(np.int32),
            sizes.astype(np.int32),
            uvs=_joined(primitives, ("TEXCOORD", "UV"), 2, 0.0),
            normals=normals,
            colors=_joined(primitives, ("COLOR",), 4, 1.0),
        )
        if mesh.colors is not None:
            mesh.colors = np.clip(mesh.colors, 0, 1)
        slots = []
        for item in primitives:
            target = bound.get(item.symbol, item.symbol)
            material = self._material(target, item)
            slots.append(material)
        if any(material is not None for material in slots):
            plain = Material("Objaverse Neutral", (0.5, 0.5, 0.5))
            known = list({id(one or plain): one or plain for one in slots}.values())
            mesh.materials = known
            order = {id(one): index for index, one in enumerate(known)}
            each = [order[id(one or plain)] for one in slots]
            mesh.slots = np.repeat(each, [len(item.sizes) for item in primitives]).astype(np.int32)
        return mesh

    # --- Materials ------------------------------------------------------------------------

    def _material(self, name: str, primitive: _Primitive) -> Material | None:
        colors = primitive.data.get("COLOR")
        colored = colors is not None and bool((colors[:, :3] < 1).any())
        element = self._ids.get(name)
        if element is None:
            # A document may name the material itself, and not bind it.
            element = next(
                (item for item in self._root.iter("material") if item.get("name") == name and name),
                None,
            )
        if element is None:
            return Material("Vertex Colors", vertex_colors=True) if colored else None
        key = (element.get("id", name), colored)
        if key not in self._materials:
            material = self._read_material(element)
            if colored:
                neutral = max(material.color) - min(material.color) < 1e-3
                material.vertex_colors = neutral and material.texture is None
            self._materials[key] = material
        material = self._materials[key]
        if colored and not material.vertex_colors:
            self._say(
                f"not-imported: vertex colors beside the material {material.name!r}, which has "
                "a color of its own."
            )
        return material

    def _read_material(self, element: ElementTree.Element) -> Material:
        name = element.get("name") or element.get("id") or "Material"
        material = Material(name, roughness=1.0)
        effect = self._ids.get(_link(element.find("instance_effect")))
        if effect is None:
            return material
        shading = next(
            (item for item in effect.iter() if item.tag in ("phong", "blinn", "lambert",
                                                            "constant")), None,
        )  # fmt: skip
        if shading is None:
            return material
        diffuse = "emission" if shading.tag == "constant" else "diffuse"
        color, texture = self._color(shading.find(diffuse), effect)
        if color is not None:
            material.color = color[0], color[1], color[2]
        material.texture = texture
        color, texture = self._color(shading.find("emission"), effect)
        if color is not None:
            material.emission = color[0], color[1], color[2]
        material.emission_texture = texture
        shininess = _float(shading.find("shininess"))
        if shininess is not None and shading.tag in ("phong", "blinn"):
            # Of the exponent, as trimesh has it (Karis, *Specular BRDF Reference*).
            material.roughness = float((2 / (max(shininess, 0) + 2)) ** 0.5)
        self._add_transparency(material, shading, effect)
        return material

    def _add_transparency(
        self, material: Material, shading: ElementTree.Element, effect: ElementTree.Element
    ) -> None:
        transparent = shading.find("transparent")
        share = _float(shading.find("transparency"))
        if transparent is None:
            # Alone it is opacity; 0 is what exporters write who mean that there is none.
            material.alpha = float(np.clip(share, 0, 1)) if share else 1.0
            return
        factor = 1.0 if share is None else share
        mode = transparent.get("opaque", "A_ONE")
        color, texture = self._color(transparent, effect)
        inverted = mode.endswith("ZERO")
        if texture is not None:
            material.clear = "alpha" if mode.startswith("A") else "luminance"
            material.clear_texture = texture
            material.clear_inverted = inverted
            material.alpha = 1.0 if inverted else float(np.clip(factor, 0, 1))
            return
        if color is None:
            return
        rgb = np.array(color[:3])
        value = color[3] if mode.startswith("A") else float(rgb @ _LUMINANCE)
        value *= factor
        material.alpha = float(np.clip(1 - value if inverted else value, 0, 1))

    def _color(
        self, element: ElementTree.Element | None, effect: ElementTree.Element
    ) -> tuple[list[float] | None, Path | None]:
        if element is None:
            return None, None
        texture = element.find("texture")
        if texture is not None:
            return None, self._image(texture.get("texture", ""), effect)
        color = _numbers(element.find("color")).tolist()
        return ([*color, 1.0][:4] if len(color) >= 3 else None), None

    def _image(self, name: str, effect: ElementTree.Element) -> Path:
        """The file of a texture: by its sampler and surface, or by the image's own name."""
        params = {item.get("sid"): item for item in effect.iter("newparam")}
        for _ in range(4):
            param = params.get(name)
            if param is None:
                break
            source = param.find("sampler2D/source")
            if source is None:
                source = param.find("surface/init_from")
            image = param.find("sampler2D/instance_image")
            name = _link(image) if image is not None else (
                (source.text or "").strip() if source is not None else ""
            )
        image = self._ids.get(name.rpartition("#")[2])
        place = None
        if image is not None and image.tag == "image":
            place = image.find("init_from")
            if place is not None and place.find("ref") is not None:
                place = place.find("ref")
        text = (place.text or "").strip() if place is not None else name
        return _file(self._path.parent, text or "missing")


def _file(folder: Path, text: str) -> Path:
    # References are URIs, but exporters write paths, and paths with some of it quoted.
    if text.lower().startswith("file:"):
        text = text[5:].lstrip("/") if text[5:8] == "///" and text[9:10] == ":" else text[5:]
    plain = beside(folder, text)
    return plain if plain.is_file() else beside(folder, unquote(text))


def _float(element: ElementTree.Element | None) -> float | None:
    values = _numbers(element.find("float")) if element is not None else np.empty(0)
    return float(values[0]) if len(values) else None


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


def _joined(
    primitives: list[_Primitive], kinds: tuple[str, ...], width: int, filler: float | None
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


def _turned(normals: Floats, turns: Matrix) -> Floats:
    """Normals (L, 3) after linear maps (L, 3, 3), by the cofactors: they need no inverse."""
    a, b, c = turns[:, :, 0], turns[:, :, 1], turns[:, :, 2]
    cofactors = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=2)
    found = np.einsum("nij,nj->ni", cofactors, normals)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    unit: Floats = (found / np.where(length > 0, length, 1)).astype(np.float32)
    return unit


def _transform(node: ElementTree.Element) -> Matrix:
    """(4, 4) of a node's transformations, the first outermost."""
    result = IDENTITY
    for child in node:
        values = _numbers(child) if child.tag in _STEPS else np.empty(0)
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
