"""Make a sample asset: a toy rocket as GLB, from numpy and the standard library alone.

    python examples/make_sample.py rocket.glb

It has what a renderer has to get right: an image texture, a metal, a rough and a glossy part,
round faces with smooth normals beside flat ones, shared meshes under moved, turned and scaled
nodes; it is neither centred nor of unit size. The same code makes the same bytes.

Lengths are in the rocket's own units, heights along +Y as glTF has it; colours are sRGB.
"""

from __future__ import annotations

import json
import math
import struct
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

CREAM, TEAL, ORANGE, NAVY = (
    (0.97, 0.94, 0.87),
    (0.06, 0.42, 0.48),
    (0.96, 0.56, 0.13),
    (0.1, 0.14, 0.26),
)
RED, BRASS, GREY = (0.78, 0.09, 0.07), (0.97, 0.78, 0.42), (0.62, 0.6, 0.57)
HULL = np.array([[0.58, 0.0], [1.32, 1.05], [1.02, 2.75], [0.0, 4.05]])
"""Bézier points (radius, height) of the hull, nose included."""
NOSE_FROM = 0.72
"""Where on that curve the nose begins."""
TEXTURE = 1024, 512
PORTHOLES = ((0.43, 0.36), (0.62, 0.19))
"""Place on the hull's curve and radius of each, on the front."""


@dataclass(frozen=True)
class Mesh:
    """Triangles: (N, 3) positions and normals, (N, 2) texture coordinates, (M,) indices."""

    positions: Array
    normals: Array
    uv: Array
    indices: npt.NDArray[np.int64]


# --- Shapes ---------------------------------------------------------------------------------


def bezier(points: npt.ArrayLike, t: npt.ArrayLike) -> Array:
    """(N, D) points of a cubic Bézier curve at (N,) parameters."""
    p = np.asarray(points, dtype=np.float64)
    t = np.asarray(t, dtype=np.float64)[:, None]
    s = 1 - t
    return s**3 * p[0] + 3 * s * s * t * p[1] + 3 * s * t * t * p[2] + t**3 * p[3]


def arc_length(curve: Array) -> Array:
    """(N,) length along an (N, 2) polyline."""
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def lathe(profile: Array, segments: int = 64) -> Mesh:
    """A (radius, height) curve turned around the axis, smooth along and around.

    The outside is on the right of the curve's direction when it climbs; ``v`` follows its length.
    """
    tangent = np.gradient(profile, axis=0)
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    length = arc_length(profile)
    u = np.linspace(0.0, 1.0, segments + 1)
    turn = np.stack([np.cos(2 * np.pi * u), np.sin(2 * np.pi * u)], axis=1)

    def turned(curve: Array) -> Array:
        ring = np.empty((len(curve), segments + 1, 3))
        ring[..., 0] = curve[:, :1] * turn[:, 0]
        ring[..., 1] = curve[:, 1:]
        ring[..., 2] = -curve[:, :1] * turn[:, 1]
        return ring.reshape(-1, 3)

    v = 1.0 - length / length[-1]
    uv = np.stack(np.broadcast_arrays(u[None, :], v[:, None]), axis=-1).reshape(-1, 2)
    first = (np.arange(len(profile) - 1)[:, None] * (segments + 1) + np.arange(segments)).ravel()
    above = first + segments + 1
    faces = np.stack([first, first + 1, above + 1, first, above + 1, above], axis=1)
    return Mesh(turned(profile), turned(normal), uv, faces.ravel())


def torus(radius: float, thickness: float) -> Mesh:
    """A ring around the axis."""
    angle = np.linspace(-np.pi, np.pi, 17)
    circle = np.stack([radius + thickness * np.cos(angle), thickness * np.sin(angle)], axis=1)
    return lathe(circle, 64)


def dome(radius: float, height: float) -> Mesh:
    """A flat-bottomed cap over the axis."""
    angle = np.linspace(0, np.pi / 2, 13)
    return lathe(np.stack([radius * np.cos(angle), height * np.sin(angle)], axis=1), 32)


def ball(radius: float) -> Mesh:
    """A sphere around the origin."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 17)
    return lathe(radius * np.stack([np.cos(angle), np.sin(angle)], axis=1), 32)


def joined(*meshes: Mesh) -> Mesh:
    """Several as one."""
    starts = np.cumsum([0, *(len(mesh.positions) for mesh in meshes)])
    return Mesh(
        np.concatenate([mesh.positions for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.uv for mesh in meshes]),
        np.concatenate([mesh.indices + s for mesh, s in zip(meshes, starts, strict=False)]),
    )


def flat(triangles: Array) -> Mesh:
    """(N, 3, 3) triangles with one normal each."""
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    points = triangles.reshape(-1, 3)
    return Mesh(
        points, np.repeat(normal, 3, axis=0), np.zeros((len(points), 2)), np.arange(len(points))
    )


def fin(thickness: float = 0.17, steps: int = 18) -> Mesh:
    """A flat fin in the XY plane, from the hull on the axis' +X side down to its foot."""
    t = np.linspace(0, 1, steps + 1)
    outer = bezier([[0.9, 1.75], [1.55, 1.45], [1.95, 0.45], [1.86, -0.85]], t)
    inner = bezier([[0.6, 0.25], [1.12, 0.2], [1.4, -0.3], [1.5, -0.85]], t)
    triangles: list[Array] = []

    def quad(a: Array, b: Array, c: Array, d: Array) -> None:
        triangles.extend([np.stack([a, b, c]), np.stack([a, c, d])])

    def at(point: Array, side: float) -> Array:
        return np.array([point[0], point[1], side * thickness / 2])

    for i in range(steps):
        o0, o1, i0, i1 = outer[i], outer[i + 1], inner[i], inner[i + 1]
        quad(at(i0, 1), at(i1, 1), at(o1, 1), at(o0, 1))
        quad(at(o0, -1), at(o1, -1), at(i1, -1), at(i0, -1))
        quad(at(o0, 1), at(o1, 1), at(o1, -1), at(o0, -1))
        quad(at(i0, -1), at(i1, -1), at(i1, 1), at(i0, 1))
    quad(at(inner[-1], 1), at(inner[-1], -1), at(outer[-1], -1), at(outer[-1], 1))
    return flat(np.stack(triangles))


# --- The hull's texture ---------------------------------------------------------------------


def paint_hull() -> npt.NDArray[np.uint8]:
    """(H, W, 3) sRGB: bands, a checkerboard, stars and rivets, painted in real lengths.

    Every texel knows how far it is along the hull and around it, so that nothing is distorted.
    """
    width, height = (2 * side for side in TEXTURE)
    profile = bezier(HULL, np.linspace(0, NOSE_FROM, 256))
    length = arc_length(profile)
    up = (1 - (np.arange(height) + 0.5) / height) * length[-1]
    radius = np.interp(up, length, profile[:, 0])
    turn = (np.arange(width) + 0.5) / width
    up, radius = up[:, None], radius[:, None]
    pixels = np.empty((height, width, 3))
    pixels[:] = CREAM

    def around(center: float) -> Array:
        return ((turn[None, :] - center + 0.5) % 1.0 - 0.5) * 2 * np.pi * radius

    def paint(where: npt.NDArray[np.bool_], color: tuple[float, float, float]) -> None:
        pixels[np.broadcast_to(where, (height, width))] = color

    def band(low: float, high: float) -> npt.NDArray[np.bool_]:
        return (up >= low) & (up < high)

    square = np.floor(turn[None, :] * 28).astype(int) + np.floor((up - 0.12) / 0.17).astype(int)
    paint(band(0.0, 0.12), TEAL)
    paint(band(0.12, 0.46) & (square % 2 == 0), TEAL)
    paint(band(0.46, 0.56), TEAL)
    paint(band(0.62, 0.70), ORANGE)
    paint(band(length[-1] - 0.36, length[-1]), TEAL)
    paint(band(length[-1] - 0.48, length[-1] - 0.42), ORANGE)
    for height_ in (0.78, length[-1] - 0.56):
        local = (turn[None, :] * 40 % 1.0 - 0.5) / 40 * 2 * np.pi * radius
        paint(np.hypot(local, up - height_) < 0.022, GREY)
    for center in (0.75 - 1 / 3, 0.75 + 1 / 3):
        x, y = around(center), up - 1.62
        paint(_star(x, y, 0.47), TEAL)
        paint(_star(x, y, 0.38), ORANGE)
    for center, y in ((0.64, 1.9), (0.86, 1.9), (0.64, 1.3), (0.86, 1.3)):
        paint(np.hypot(around(center), up - y) < 0.05, ORANGE)
    small = pixels.reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))
    result: npt.NDArray[np.uint8] = (small * 255 + 0.5).astype(np.uint8)
    return result


def _star(x: Array, y: Array, size: float) -> npt.NDArray[np.bool_]:
    """Inside a five-pointed star that stands on two points."""
    angle = (np.arctan2(x, y) + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5
    along, aside = np.hypot(x, y) * np.cos(angle), np.abs(np.hypot(x, y) * np.sin(angle))
    inner = 0.45 * size
    corner = inner * math.cos(math.pi / 5), inner * math.sin(math.pi / 5)
    inside: npt.NDArray[np.bool_] = aside * (size - corner[0]) < (size - along) * corner[1]
    return inside


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """(H, W, 3) uint8 as PNG."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + width * 3), dtype=np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    image = zlib.compress(rows.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*part) for part in ((b"IHDR", header), (b"IDAT", image), (b"IEND", b""))
    )


# --- glTF -----------------------------------------------------------------------------------


class Document:
    """A glTF document in the making, with its one binary buffer."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.json: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "examples/make_sample.py"},
            "scene": 0,
            "scenes": [{"name": "Rocket", "nodes": []}],
            "nodes": [], "meshes": [], "materials": [], "accessors": [], "bufferViews": [],
        }  # fmt: skip

    def _add(self, kind: str, item: dict[str, Any]) -> int:
        self.json.setdefault(kind, []).append(item)
        return len(self.json[kind]) - 1

    def _view(self, data: bytes, **extra: int) -> int:
        self._data += b"\0" * (-len(self._data) % 4)
        view = {"buffer": 0, "byteOffset": len(self._data), "byteLength": len(data), **extra}
        self._data += data
        return self._add("bufferViews", view)

    def _accessor(self, data: Array, kind: str, *, bounds: bool = False) -> int:
        # Rounded, so that the last digits of another processor's sine make no other file.
        values = (np.round(data, 5) + 0.0).astype("<f4")
        item = {
            "bufferView": self._view(values.tobytes(), target=34962),
            "componentType": 5126,
            "count": len(values),
            "type": kind,
        }
        if bounds:
            item |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        return self._add("accessors", item)

    def texture(self, image: bytes) -> int:
        """Add an embedded PNG."""
        source = self._add(
            "images", {"name": "hull", "mimeType": "image/png", "bufferView": self._view(image)}
        )
        sampler = self._add(
            "samplers", {"magFilter": 9729, "minFilter": 9987, "wrapS": 10497, "wrapT": 33071}
        )
        return self._add("textures", {"source": source, "sampler": sampler})

    def material(
        self,
        name: str,
        color: tuple[float, float, float],
        roughness: float,
        metallic: float = 0.0,
        texture: int | None = None,
    ) -> int:
        """Add a material; ``color`` is sRGB, glTF wants it linear."""
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
        surface: dict[str, Any] = {
            "baseColorFactor": [*(round(c, 5) for c in linear), 1.0],
            "metallicFactor": metallic,
            "roughnessFactor": roughness,
        }
        if texture is not None:
            surface["baseColorTexture"] = {"index": texture}
        return self._add("materials", {"name": name, "pbrMetallicRoughness": surface})

    def mesh(self, name: str, mesh: Mesh, material: int) -> int:
        """Add a mesh of one material."""
        length = np.linalg.norm(mesh.normals, axis=1, keepdims=True)
        attributes = {
            "POSITION": self._accessor(mesh.positions, "VEC3", bounds=True),
            "NORMAL": self._accessor(mesh.normals / length, "VEC3"),
            "TEXCOORD_0": self._accessor(mesh.uv, "VEC2"),
        }
        data = mesh.indices.astype("<u4").tobytes()
        item = {
            "bufferView": self._view(data, target=34963),
            "componentType": 5125,
            "type": "SCALAR",
        }
        indices = self._add("accessors", {**item, "count": len(mesh.indices)})
        part = {"attributes": attributes, "indices": indices, "material": material}
        return self._add("meshes", {"name": name, "primitives": [part]})

    def node(self, name: str, **values: Any) -> int:
        """Add a node: ``mesh``, ``children``, ``translation``, ``rotation``, ``scale``."""
        return self._add("nodes", {"name": name, **values})

    def glb(self) -> bytes:
        """The whole as one binary file."""
        self._data += b"\0" * (-len(self._data) % 4)
        self.json["buffers"] = [{"byteLength": len(self._data)}]
        text = json.dumps(self.json, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + len(self._data)
        return (
            struct.pack("<4sII", b"glTF", 2, total)
            + struct.pack("<I4s", len(text), b"JSON") + text
            + struct.pack("<I4s", len(self._data), b"BIN\0") + bytes(self._data)
        )  # fmt: skip


def quaternion(axis: tuple[float, float, float], degrees: float) -> list[float]:
    """A turn as glTF writes it: x, y, z, w."""
    half = math.radians(degrees) / 2
    return [round(c * math.sin(half), 6) for c in axis] + [round(math.cos(half), 6)]


def rocket() -> bytes:
    """The sample asset."""
    gltf = Document()
    painted = gltf.material("hull", (1, 1, 1), 0.45, texture=gltf.texture(png(paint_hull())))
    red = gltf.material("red", RED, 0.9)
    brass = gltf.material("brass", BRASS, 0.25, metallic=1.0)
    glass = gltf.material("glass", NAVY, 0.08)
    dark = gltf.material("dark", (0.22, 0.22, 0.24), 0.7)
    parts = []

    def part(name: str, mesh: Mesh, material: int, **values: Any) -> None:
        parts.append(gltf.node(name, mesh=gltf.mesh(name, mesh, material), **values))

    def on_curve(t: float) -> Array:
        point: Array = bezier(HULL, [t])[0]
        return point

    part("hull", lathe(bezier(HULL, np.linspace(0, NOSE_FROM, 37)), 96), painted)
    part("nose", lathe(bezier(HULL, np.linspace(NOSE_FROM, 0.985, 19)), 96), red)
    collar, tip = on_curve(NOSE_FROM), on_curve(0.985)
    part("collar", torus(collar[0], 0.06), brass, translation=[0, round(collar[1], 5), 0])
    part("tip", ball(0.11), brass, translation=[0, round(tip[1] + 0.05, 5), 0])
    part("floor", lathe(np.array([[1e-4, 0.0], [0.3, 0.0], [HULL[0, 0], 0.0]])), dark)
    bell = bezier([[0.3, 0.02], [0.3, -0.2], [0.46, -0.25], [0.52, -0.55]], np.linspace(1, 0, 17))
    inside = np.concatenate([(bell - [0.05, 0.0])[:-3], [[1e-4, -0.1]]])
    lip = bezier(
        [bell[0] - [0.05, 0], bell[0] + [-0.05, -0.04], bell[0] - [0, 0.04], bell[0]],
        np.linspace(0, 1, 9),
    )
    part("nozzle", joined(lathe(bell), lathe(inside[::-1]), lathe(lip)), brass)
    for number, (t, radius) in enumerate(PORTHOLES, 1):
        before, place, after = on_curve(t - 0.01), on_curve(t), on_curve(t + 0.01)
        slope = math.degrees(math.atan2(before[0] - after[0], after[1] - before[1]))
        # On the front, glTF's +Z; the axis of ring and dome turned to the hull's normal there.
        placed = {
            "translation": [0, round(place[1], 5), round(place[0] - 0.02, 5)],
            "rotation": quaternion((1, 0, 0), 90 - slope),
        }
        part(f"rim {number}", torus(radius, 0.062 if radius > 0.3 else 0.045), brass, **placed)
        part(f"window {number}", dome(radius, 0.14 * radius / 0.3), glass, **placed)
    blade = gltf.mesh("fin", fin(), red)
    foot = gltf.mesh("foot", joined(ball(0.2)), brass)
    for number in range(3):
        # One fin at the back, so that the portholes look out between the other two.
        turn = quaternion((0, 1, 0), 90 + 120 * number)
        pad = gltf.node(
            f"foot {number}", mesh=foot, translation=[1.68, -0.85, 0], scale=[1, 0.6, 1]
        )
        parts.append(gltf.node(f"fin {number}", mesh=blade, rotation=turn, children=[pad]))
    root = gltf.node(
        "rocket", children=parts, translation=[12.0, 3.5, -7.0], scale=[0.37, 0.37, 0.37],
    )  # fmt: skip
    gltf.json["scenes"][0]["nodes"] = [root]
    return gltf.glb()


def main(arguments: list[str]) -> int:
    """Write the rocket to the path that is given."""
    if len(arguments) != 1:
        print("usage: python make_sample.py TARGET.glb", file=sys.stderr)
        return 2
    target = Path(arguments[0])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(rocket())
    print(f"{target} ({target.stat().st_size / 1000:.0f} kB)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
