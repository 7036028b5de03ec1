"""Readers and decoders of files that Blender's importers do not take, without Blender."""

from __future__ import annotations

import ctypes
import importlib.util
import io
import itertools
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objaverse_render_addon.assets import repair
from objaverse_render_addon.assets.repair import meshopt, ply
from objaverse_render_addon.assets.repair.fbx import read_facts
from objaverse_render_addon.assets.repair.model import Model, beside
from objaverse_render_addon.assets.repair.polygon import triangulate
from objaverse_render_addon.assets.repair.stl import FACETS, triangle_count
from objaverse_render_addon.errors import ImportFailed, RenderError

RNG = np.random.default_rng(0)

# --- meshopt ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def library() -> Any:
    """meshoptimizer itself, where a wheel of Blender brings it."""
    spec = importlib.util.find_spec("bpy")
    folder = Path(spec.origin).parent / "lib" if spec and spec.origin else Path("nowhere")
    found = [*folder.glob("libmeshoptimizer.*"), *folder.glob("meshoptimizer.dll")]
    if not found:
        pytest.skip("no meshoptimizer to compare with in this Blender's wheel")
    loaded = ctypes.CDLL(str(found[0]))
    for name in dir_of("encodeVertexBuffer", "encodeIndexBuffer", "encodeIndexSequence"):
        getattr(loaded, name).restype = ctypes.c_size_t
    return loaded


def dir_of(*names: str) -> list[str]:
    return [f"meshopt_{name}{end}" for name in names for end in ("", "Bound")] + [
        "meshopt_encodeVertexBufferLevel"
    ]


def pointer(array: Any) -> Any:
    return array.ctypes.data_as(ctypes.c_void_p)


def sizes(*values: int) -> list[Any]:
    return [ctypes.c_size_t(value) for value in values]


def encode_vertices(library: Any, values: Any, version: int, level: int) -> bytes:
    count, stride = values.shape
    bound = library.meshopt_encodeVertexBufferBound(*sizes(count, stride))
    out = (ctypes.c_ubyte * bound)()
    used = library.meshopt_encodeVertexBufferLevel(
        out, *sizes(bound), pointer(values), *sizes(count, stride), ctypes.c_int(level),
        ctypes.c_int(version),
    )  # fmt: skip
    return bytes(out[:used])


@pytest.mark.parametrize("version", [0, 1])
def test_attributes_are_decoded_as_meshoptimizer_encodes_them(library: Any, version: int) -> None:
    smooth = np.cumsum(RNG.integers(-3, 4, (3000, 64)), axis=0)
    for stride in (4, 12, 16, 256):
        for count in (1, 16, 17, 256, 3000):
            for values in (
                RNG.integers(0, 256, (count, stride), dtype=np.uint8),
                smooth[:count, : stride // 4].astype("<f4").view(np.uint8),
                smooth[:count, : stride // 4].astype("<i4").view(np.uint8),
            ):
                exact = np.ascontiguousarray(values)
                for level in (0, 3):
                    data = encode_vertices(library, exact, version, level)
                    found = meshopt.decode(data, count, stride, "ATTRIBUTES", "NONE")
                    assert found == exact.tobytes(), (stride, count, level)


def turned(triangles: Any) -> Any:
    """Each triangle from its least vertex on: the codec may turn them."""
    three = triangles.reshape(-1, 3)
    first = three.argmin(axis=1)
    rows = np.arange(len(three))
    return np.stack([three[rows, (first + k) % 3] for k in range(3)], axis=1)


def test_indices_are_decoded_as_meshoptimizer_encodes_them(library: Any) -> None:
    grid = np.arange(50 * 50).reshape(50, 50)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]
    ordered = np.stack([a, b, c, c, b, d], axis=-1).reshape(-1, 3)
    for triangles in (ordered, RNG.permutation(ordered), RNG.integers(0, 100_000, (3000, 3))):
        indices = np.ascontiguousarray(triangles.ravel(), np.uint32)
        for name, mode in (("Buffer", "TRIANGLES"), ("Sequence", "INDICES")):
            bound = getattr(library, f"meshopt_encodeIndex{name}Bound")(
                *sizes(len(indices), int(indices.max()) + 1)
            )
            out = (ctypes.c_ubyte * bound)()
            used = getattr(library, f"meshopt_encodeIndex{name}")(
                out, *sizes(bound), pointer(indices), *sizes(len(indices))
            )
            data = meshopt.decode(bytes(out[:used]), len(indices), 4, mode, "NONE")
            found = np.frombuffer(data, np.uint32)
            same = turned(found) == turned(indices) if name == "Buffer" else found == indices
            assert same.all()


def test_filters_are_those_of_meshoptimizer(library: Any) -> None:
    count = 2000
    for name, function, stride, kind in (
        ("OCTAHEDRAL", "Oct", 4, "i1"), ("OCTAHEDRAL", "Oct", 8, "<i2"),
        ("QUATERNION", "Quat", 8, "<i2"), ("EXPONENTIAL", "Exp", 12, "<f4"),
        ("COLOR", "Color", 4, "u1"), ("COLOR", "Color", 8, "<u2"),
    ):  # fmt: skip
        if name == "OCTAHEDRAL":
            one = 127 if stride == 4 else 8191
            packed = RNG.integers(-one // 2, one // 2 + 1, (count, 4))
            packed[:, 2] = one
            values = packed.astype("i1" if stride == 4 else "<i2")
        elif name == "QUATERNION":
            packed = RNG.integers(-1200, 1200, (count, 4))
            packed[:, 3] = 2044 | RNG.integers(0, 4, count)
            values = packed.astype("<i2")
        elif name == "EXPONENTIAL":
            mantissas = RNG.integers(-(1 << 23), 1 << 23, (count, 3)) & 0xFFFFFF
            values = (RNG.integers(-20, 20, (count, 3)) << 24 | mantissas).astype("<i4")
        else:
            colors = np.ascontiguousarray(RNG.random((count, 4)), np.float32)
            values = np.zeros((count, stride), np.uint8)
            library.meshopt_encodeFilterColor(
                pointer(values), *sizes(count, stride), ctypes.c_int(2 * stride - 2),
                pointer(colors),
            )  # fmt: skip
        raw = np.ascontiguousarray(values).view(np.uint8).reshape(count, stride)
        theirs = raw.copy()
        getattr(library, f"meshopt_decodeFilter{function}")(pointer(theirs), *sizes(count, stride))
        data = meshopt.decode(encode_vertices(library, raw, 0, 0), count, stride, "ATTRIBUTES",
                              name)  # fmt: skip
        ours = np.frombuffer(data, kind).astype(np.float64)
        difference = np.abs(ours - theirs.view(kind).ravel())
        # The specification leaves the last bit to whoever rounds.
        assert difference.max() <= (0 if name == "EXPONENTIAL" else 1), (name, stride)
        assert (difference > 0).mean() < 0.01


# --- Draco -----------------------------------------------------------------------------------


def test_draco_gives_accessors_their_numbers(tmp_path: Path) -> None:
    DracoPy = pytest.importorskip("DracoPy")  # noqa: N806
    count = 30
    points = RNG.random((count, 3)).astype(np.float32)
    faces = np.arange(count, dtype=np.uint32).reshape(-1, 3)
    uv = RNG.random((count, 2))
    colors = RNG.integers(0, 256, (count, 3), dtype=np.uint8)
    packed = DracoPy.encode(points, faces, tex_coord=uv, colors=colors, quantization_bits=24,
                            preserve_order=True)  # fmt: skip
    mesh = DracoPy.decode(packed)
    numbers = {item["attribute_type"]: item["unique_id"] for item in mesh.attributes}
    attributes = {"POSITION": 0, "COLOR_0": 1, "TEXCOORD_0": 2}
    draco = {"bufferView": 0, "attributes": {
        "POSITION": numbers[0], "COLOR_0": numbers[2], "TEXCOORD_0": numbers[3]}}  # fmt: skip
    name = "KHR_draco_mesh_compression"
    document = {
        "asset": {"version": "2.0"}, "extensionsUsed": [name], "extensionsRequired": [name],
        "meshes": [{"primitives": [
            {"attributes": attributes, "indices": 3, "extensions": {name: draco}}]}],
        "accessors": [
            {"componentType": 5126, "count": count, "type": "VEC3"},
            {"componentType": 5121, "count": count, "type": "VEC3", "normalized": True},
            {"componentType": 5126, "count": count, "type": "VEC2"},
            {"componentType": 5123, "count": count, "type": "SCALAR"},
        ],
        "bufferViews": [{"buffer": 0, "byteLength": len(packed)}],
        "buffers": [{"uri": "a.bin", "byteLength": len(packed)}],
    }  # fmt: skip
    (tmp_path / "a.bin").write_bytes(packed)
    (tmp_path / "a.gltf").write_text(json.dumps(document))
    copies = tmp_path / "copies"
    copies.mkdir()
    found = repair.prepare(tmp_path / "a.gltf", "gltf", copies, [])
    assert found == copies / "a.glb"
    data = (copies / "a.glb").read_bytes()
    length = struct.unpack_from("<I", data, 12)[0]
    written = json.loads(data[20 : 20 + length])
    chunk = data[28 + length :]

    def read(index: int, kind: str, width: int) -> Any:
        accessor = written["accessors"][index]
        view = written["bufferViews"][accessor["bufferView"]]
        stride = view.get("byteStride", np.dtype(kind).itemsize * width)
        rows = [np.frombuffer(chunk, kind, width, view["byteOffset"] + row * stride)
                for row in range(accessor["count"])]  # fmt: skip
        return np.stack(rows)

    indices = read(3, "<u2", 1)[:, 0]
    # Draco may number vertices anew; each corner of each face is what it was.
    assert np.allclose(read(0, "<f4", 3)[indices], points, atol=1e-5)
    assert np.allclose(read(2, "<f4", 2)[indices], uv, atol=1e-3)
    assert np.array_equal(read(1, "u1", 3)[indices], colors)
    assert "extensionsRequired" not in written or written["extensionsRequired"] == []


# --- Polygons ---------------------------------------------------------------------------------


def star(count: int, radii: Any, center: tuple[float, float] = (0, 0)) -> Any:
    angles = 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None] + center


def area(points: Any) -> float:
    x, y = points[:, 0], points[:, 1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 20), st.integers(0, 2), st.booleans())
def test_triangles_of_a_polygon_have_its_area_and_turn_as_it_does(
    seed: int, count: int, holes: int, reverse: bool
) -> None:
    rng = np.random.default_rng(seed)
    outline = star(count, rng.uniform(4, 8, count) if count > 4 else np.full(count, 8.0))
    inner = [
        star(5, rng.uniform(0.2, 0.6, 5), center) for center in [(-1, 0), (0.8, 0.3)][:holes]
    ]
    inner = [hole if index else hole[::-1] for index, hole in enumerate(inner)]
    if reverse:
        outline = outline[::-1]
    flat = np.concatenate([outline, *inner])
    # Anywhere in space.
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    points = np.concatenate([flat, np.zeros((len(flat), 1))], axis=1) @ axes.T + rng.normal(size=3)
    starts = np.cumsum([len(outline), *[len(hole) for hole in inner]]).tolist()
    rings = [range(a, b) for a, b in itertools.pairwise(starts)]
    found = triangulate(points, range(len(outline)), rings)
    areas = np.array([area(flat[list(three)]) for three in found])
    expected = area(outline)
    assert (np.sign(areas) == np.sign(expected)).all()
    wanted = abs(expected) - sum(abs(area(hole)) for hole in inner)
    assert np.abs(areas).sum() == pytest.approx(wanted, rel=1e-9)


# --- PLY --------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000), st.sampled_from(["ascii", "<", ">"]), st.booleans(),
    st.sampled_from(["u1", "i4", "u2"]),
)  # fmt: skip
def test_a_ply_is_read_as_plyfile_reads_it(
    tmp_path_factory: pytest.TempPathFactory, seed: int, order: str, ragged: bool, kind: str
) -> None:
    plyfile = pytest.importorskip("plyfile")
    rng = np.random.default_rng(seed)
    vertices = np.zeros(12, [("x", "f8"), ("y", "f4"), ("z", "f4"), ("r", "u2"), ("g", "u2"),
                             ("b", "u2")])  # fmt: skip
    for name in vertices.dtype.names:
        vertices[name] = rng.integers(0, 1000, 12)
    faces = np.empty(5, [("flags", "i2"), ("vertex_indices", object)])
    faces["flags"] = rng.integers(0, 9, 5)
    faces["vertex_indices"] = [
        rng.integers(0, 12, rng.integers(3, 6) if ragged else 3).astype("i4") for _ in range(5)
    ]
    extra = np.zeros(3, [("weight", "f8")])
    elements = [
        plyfile.PlyElement.describe(extra, "material"),
        plyfile.PlyElement.describe(vertices, "vertex"),
        plyfile.PlyElement.describe(faces, "face", len_types={"vertex_indices": kind}),
    ]
    path = tmp_path_factory.mktemp("ply") / "a.ply"
    plyfile.PlyData(elements, text=order == "ascii", byte_order=order.strip("asci") or "<").write(
        path
    )
    model = ply.prepare(path, path.parent, [])
    assert isinstance(model, Model)
    (part,) = model.parts
    theirs = plyfile.PlyData.read(path)
    assert part.mesh.sizes.tolist() == [len(row) for row in theirs["face"]["vertex_indices"]]
    assert part.mesh.corners.tolist() == np.concatenate(theirs["face"]["vertex_indices"]).tolist()
    for axis, name in enumerate("xyz"):
        assert np.array_equal(part.mesh.vertices[:, axis], theirs["vertex"][name].astype("f4"))
    assert part.mesh.colors is not None
    red = theirs["vertex"]["r"][part.mesh.corners] / 65535
    assert np.allclose(part.mesh.colors[:, 0], red)


# --- Whatever bytes there are -----------------------------------------------------------------


def binary_stl() -> bytes:
    facets = np.zeros(4, FACETS)
    facets["corners"] = RNG.random((4, 3, 3))
    facets["color"] = 0x8000 | 31
    return b"COLOR=abcd".ljust(80, b"\0") + struct.pack("<I", 4) + facets.tobytes()


def text_ply() -> bytes:
    return (
        b"ply\nformat ascii 1.0\ncomment TextureFile a.png\nelement vertex 3\n"
        b"property float x\nproperty float y\nproperty float z\n"
        b"property uchar r\nproperty uchar g\nproperty uchar b\n"
        b"element face 1\nproperty list uchar int vertex_indices\nproperty list uchar float "
        b"texcoord\nend_header\n0 0 0 1 2 3\n1 0 0 1 2 3\n0 1 0 1 2 3\n3 0 1 2 6 0 0 1 0 1 1\n"
    )


def binary_ply() -> bytes:
    head = text_ply().partition(b"0 0 0")[0].replace(b"ascii", b"binary_little_endian")
    rows = b"".join(struct.pack("<3f3B", *row, 1, 2, 3) for row in np.eye(3))
    face = struct.pack("<B3iB6f", 3, 0, 1, 2, 6, 0, 0, 1, 0, 1, 1)
    return head + rows + face


def glb_file() -> bytes:
    document = {
        "asset": {"version": "2.0"}, "extensionsUsed": ["EXT_meshopt_compression", "ACME_x"],
        "scenes": [{"nodes": [0]}, {"nodes": [1]}],
        "nodes": [{"mesh": 0, "children": [1], "extensions": {
            "KHR_node_visibility": {"visible": False}}}, {"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "extensions": {
            "KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}}]}],
        "accessors": [{"componentType": 5126, "count": 3, "type": "VEC3"}],
        "textures": [{"extensions": {"KHR_texture_basisu": {"source": 0}}}],
        "images": [{"bufferView": 0, "mimeType": "image/ktx2"}],
        "buffers": [{"byteLength": 48}],
        "bufferViews": [{"buffer": 0, "byteLength": 48, "extensions": {"EXT_meshopt_compression": {
            "buffer": 0, "byteLength": 48, "byteStride": 12, "count": 3, "mode": "ATTRIBUTES"}}}],
        "animations": [{"channels": [{"target": {"node": 0, "path": "weights"}}]}],
    }  # fmt: skip
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text
    body += struct.pack("<I4s", 48, b"BIN\0") + b"\xa0" + bytes(47)
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body + b"tail"


DAE = (
    b'<COLLADA><asset><up_axis>X_UP</up_axis></asset><library_geometries><geometry id="g"><mesh>'
    b'<source id="p"><float_array id="a">0 0 0 1 0 0 0 1 0 1 1 0</float_array><technique_common>'
    b'<accessor source="#a" count="4" stride="3"/></technique_common></source><vertices id="v">'
    b'<input semantic="POSITION" source="#p"/></vertices><polylist material="m"><input '
    b'semantic="VERTEX" source="#v" offset="0"/><input semantic="COLOR" source="#p" offset="0"/>'
    b"<vcount>4 3</vcount><p>0 1 3 2 0 1 2</p></polylist><polygons><input semantic=\"VERTEX\" "
    b'source="#v" offset="0"/><ph><p>0 1 3 2</p><h>0 1 2</h></ph></polygons></mesh></geometry>'
    b'</library_geometries><library_controllers><controller id="c"><skin source="#g"><joints>'
    b'<input semantic="JOINT" source="#j"/></joints><vertex_weights/></skin></controller>'
    b'</library_controllers><library_visual_scenes><visual_scene id="s"><node id="n"><rotate>0 0 '
    b'1 9</rotate><lookat>0 0 1 0 0 0 0 1 0</lookat><instance_controller url="#c"/>'
    b'<instance_geometry url="#g"/></node></visual_scene></library_visual_scenes></COLLADA>'
)
OBJ = b"\xef\xbb\xbfmtllib a.mtl\nv 1,5 0,5 0 255 0 0\nv 1 0 0 9 9 9\nv 0 1 0 1 1 1\nf 1 2 3\n"
WHOLE: dict[str, list[Callable[[], bytes]]] = {
    "stl": [binary_stl, lambda: b"SOLID\nFACET NORMAL 0 0 1\nENDSOLID\n"],
    "ply": [text_ply, binary_ply],
    "glb": [glb_file],
    "obj": [lambda: OBJ],
    "dae": [lambda: DAE],
}


@pytest.mark.parametrize("offset", ["-1", "x", "", "99999999"])
def test_faces_of_a_collada_file_are_not_lost_without_a_word(tmp_path: Path, offset: str) -> None:
    path = tmp_path / "a.dae"
    assert DAE.count(b'offset="0"') >= 1
    path.write_bytes(DAE.replace(b'offset="0"', f'offset="{offset}"'.encode()))
    with pytest.raises(ImportFailed, match=r"a\.dae.* is no number"):
        repair.prepare(path, "dae", tmp_path, [])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([(kind, i) for kind, files in WHOLE.items() for i in range(len(files))]),
       st.data())  # fmt: skip
def test_damaged_files_are_failures_by_name_or_the_importers_business(
    tmp_path_factory: pytest.TempPathFactory, which: tuple[str, int], data: st.DataObject
) -> None:
    kind, index = which
    content = bytearray(WHOLE[kind][index]())
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        change = data.draw(st.binary(min_size=0, max_size=4) | st.sampled_from(
            [b"-1", b"99999999", b"nan", b"#", b"<", b'"', b"1e99"]))  # fmt: skip
        content[at : at + data.draw(st.integers(0, 4))] = change
    folder = tmp_path_factory.mktemp("whole")
    path = folder / f"a.{kind}"
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    copies = folder / "copies"
    copies.mkdir()
    warnings: list[str] = []
    try:
        found = repair.prepare(path, kind, copies, warnings)
    except RenderError as error:
        assert "\n" not in error.message
        return
    assert isinstance(found, Model) or found.is_file()
    assert all(text.partition(": ")[2].endswith(".") for text in warnings)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_whatever_is_in_an_fbx_its_facts_are_names_and_shares(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("fbx") / "a.fbx"
    for head in (b"", b"Kaydara FBX Binary  \0\x1a\0\xe8\x1c\0\0"):
        path.write_bytes(head + content)
        facts = read_facts(path)
        assert all(isinstance(name, str) for name in facts.hidden | facts.unsure)
        assert all(0 <= value <= 1 for value in facts.opacities.values())


def test_numbers_that_only_look_like_a_count_make_no_stl() -> None:
    assert triangle_count(binary_stl() + b"tail", len(binary_stl()) + 4) == 4
    noise = bytes(80) + struct.pack("<I", 3) + RNG.integers(0, 256, 1000, dtype=np.uint8).tobytes()
    assert triangle_count(noise, len(noise)) is None
    assert triangle_count(binary_stl()[:-1], len(binary_stl()) - 1) is None
    assert triangle_count(io.BytesIO(b"solid").read(), 5) is None


def test_files_are_looked_for_below_the_folder_only(tmp_path: Path) -> None:
    inside = tmp_path / "asset"
    (inside / "textures").mkdir(parents=True)
    for place in (inside / "a.png", inside / "textures" / "b.png", tmp_path / "secret.png"):
        place.touch()
    assert beside(inside, "a.png") == inside / "a.png"
    assert beside(inside, "textures\\b.png") == inside / "textures" / "b.png"
    assert beside(inside, "C:\\Users\\me\\a.png") == inside / "a.png"
    assert beside(inside, "/elsewhere/a.png") == inside / "a.png"
    for reference in ("../secret.png", str(tmp_path / "secret.png"), "textures/../../secret.png"):
        assert beside(inside, reference) == inside / "secret.png"
    assert beside(inside, "..").parent == inside
