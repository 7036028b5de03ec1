"""Files of simple formats as people have them: read right, or what is left out is said.

Each input is made here; what is right follows from arithmetic, or another reader says it.
"""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.errors import (
    ImportFailed,
    MissingTextures,
    NoGeometry,
    RenderError,
    UnsupportedExtension,
    UnsupportedFormat,
    WrongFormat,
)

from . import scenes

CUBE, FACES = scenes.CUBE_VERTICES, scenes.CUBE_FACES
BOX = CUBE * (3, 1, 2)
SRGB, LINEAR = (188, 124, 64), (0.5029, 0.2016, 0.0513)
"""An 8-bit colour and, by IEC 61966-2-1, what it is in linear light."""
RED, GREEN = (1, 0, 0), (0, 1, 0)


class Look:
    """What comes of a file: its view, its colours, its box, its warnings."""

    def __init__(self, path: Path, folder: Path, **values: Any) -> None:
        job = scenes.make_job({
            **scenes.ring(folder, 32), "pixels.passes": ["rgb", "depth", "mask", "albedo"],
            "asset.normalize": "cube", **values,
        })  # fmt: skip
        self.session = scenes.open_scene(path, job)
        (self.frame,) = scenes.frames_of(self.session)
        self.warnings: list[str] = self.session.warnings
        self.mask = self.frame.passes["mask"] == 1
        self.albedo = self.frame.passes["albedo"][self.mask]

    @property
    def size(self) -> Any:
        record = self.session.asset.record["scene_size"]
        return np.subtract(record["bbox_max"], record["bbox_min"])

    @property
    def faces(self) -> int:
        return int(self.session.asset.record["faces_rendered"])

    def colors(self) -> set[tuple[float, ...]]:
        return {tuple(row) for row in self.albedo.round(2).tolist()}

    def assert_color(self, color: Any, tolerance: float = 0.004) -> None:
        assert np.abs(self.albedo - np.array(color)).max() < tolerance, self.colors()

    def said(self, name: str) -> bool:
        return any(text.startswith(f"{name}: ") for text in self.warnings)


def failure(path: Path, folder: Path, **values: Any) -> RenderError:
    with pytest.raises(RenderError) as caught:
        Look(path, folder, **values)
    return caught.value


def picture(path: Path, pixels: Any) -> Path:
    from PIL import Image

    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    return path


def flat(color: Any = SRGB) -> Any:
    return np.tile(np.array(color, np.uint8), (8, 8, 1))


# --- OBJ --------------------------------------------------------------------------------------


def obj_text(vertices: Any = BOX, head: str = "", colors: Any = None, number: Any = repr) -> str:
    rows = np.asarray(vertices, float).tolist()
    tails = [""] * len(rows) if colors is None else [
        " " + " ".join(map(str, color)) for color in colors
    ]  # fmt: skip
    lines = [f"v {' '.join(map(number, row))}{tail}" for row, tail in zip(rows, tails, strict=True)]
    lines += ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1"]
    lines += ["f " + " ".join(f"{i + 1}/{k + 1}" for k, i in enumerate(face)) for face in FACES]
    return head + "\n".join(lines) + "\n"


@pytest.mark.core
def test_an_obj_is_read_whatever_an_editor_made_of_it(tmp_path: Path) -> None:
    plain = obj_text()
    variants = {
        "plain": plain.encode(),
        "mark": b"\xef\xbb\xbf" + plain.encode(),
        "wide": plain.encode("utf-16"),
        "old": plain.replace("\n", "\r").encode(),
        "comments": plain.replace("\nvt", " # info\nvt", 1).replace("\nv ", " # nan\nv ").encode(),
        "comma": obj_text(number=lambda value: f"{value:.3f}".replace(".", ",")).encode(),
    }
    right: Look | None = None
    for name, data in variants.items():
        path = tmp_path / f"{name}.obj"
        path.write_bytes(data)
        look = Look(path, tmp_path)
        assert np.allclose(look.size, (3, 2, 1)), name
        assert look.said("repaired") == (name == "comma")
        right = right or look
        for key, values in right.frame.passes.items():
            assert np.array_equal(values, look.frame.passes[key]), (name, key)
        assert [obj.name for obj in look.session.asset.rendered] == [name]
    doubtful = tmp_path / "doubtful.obj"
    doubtful.write_text(plain.replace("v -1.5 -0.5 -1.0", "v -1,5,0 -0.5 -1.0"))
    error = failure(doubtful, tmp_path)
    assert isinstance(error, WrongFormat)
    assert "two ways" in error.message


@pytest.mark.core
def test_colors_of_obj_vertices_are_used_or_said_to_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "grey.mtl").write_text("newmtl m\nKd 0.8 0.8 0.8\n")
    (tmp_path / "red.mtl").write_text("newmtl m\nKd 1 0 0\n")
    small = [[f"{value / 255:.6f}" for value in SRGB]] * 8
    for name, head, colors in (
        ("alone", "", small),
        ("grey", "mtllib grey.mtl\nusemtl m\n", small),
        ("large", "mtllib grey.mtl\nusemtl m\n", [SRGB] * 8),
        ("large alone", "", [SRGB] * 8),
    ):
        path = tmp_path / f"{name}.obj"
        path.write_text(obj_text(head=head, colors=colors))
        look = Look(path, tmp_path)
        look.assert_color(LINEAR)
        assert look.said("repaired") == name.startswith("large")
        assert not look.said("not-imported")
    path = tmp_path / "red.obj"
    path.write_text(obj_text(head="mtllib red.mtl\nusemtl m\n", colors=small))
    look = Look(path, tmp_path)
    look.assert_color(RED)
    assert look.said("not-imported")
    path.write_text(obj_text(head="mtllib red.mtl\nusemtl m\n", colors=[(1, 1, 1)] * 8))
    assert Look(path, tmp_path).warnings == []


@pytest.mark.core
def test_an_opacity_map_without_alpha_cuts_away_what_is_black(tmp_path: Path) -> None:
    half = np.zeros((8, 8, 3), np.uint8)
    half[:, :4] = 255
    picture(tmp_path / "rgb.png", half)
    picture(tmp_path / "grey.png", half[:, :, 0])
    rgba = np.dstack([flat(), half[:, :, 0]])
    picture(tmp_path / "rgba.png", rgba)
    picture(tmp_path / "tex.png", flat())
    quad = "v -1 0 -1\nv 1 0 -1\nv 1 0 1\nv -1 0 1\n" + "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
    quad += "usemtl m\nf 1/1 2/2 3/3 4/4\n"
    masks = []
    for color, opacity in (
        ("tex.png", "rgb.png"), ("tex.png", "grey.png"), ("rgba.png", "rgba.png"),
    ):  # fmt: skip
        (tmp_path / "cut.mtl").write_text(f"newmtl m\nmap_Kd {color}\nmap_d {opacity}\n")
        (tmp_path / "cut.obj").write_text("mtllib cut.mtl\n" + quad)
        look = Look(tmp_path / "cut.obj", tmp_path)
        look.assert_color(LINEAR)
        masks.append(look.mask)
    (tmp_path / "whole.obj").write_text(quad)
    whole = Look(tmp_path / "whole.obj", tmp_path).mask
    for mask in masks:
        assert np.array_equal(mask, masks[0])
        assert 0.4 < mask.sum() / whole.sum() < 0.6


# --- PLY --------------------------------------------------------------------------------------


def ply_text(
    vertex: list[str], rows: Any, face: list[str] | None = None, faces: Any = (), head: str = ""
) -> str:
    lines = ["ply", "format ascii 1.0", *([head] if head else [])]
    lines += [f"element vertex {len(rows)}", *(f"property {item}" for item in vertex)]
    if face is not None:
        lines += [f"element face {len(faces)}", *(f"property {item}" for item in face)]
    lines += ["end_header", *(" ".join(map(str, row)) for row in [*rows, *faces])]
    return "\n".join(lines) + "\n"


XYZ = ["float x", "float y", "float z"]
LIST = "list uchar int vertex_indices"
PLY_FACES = [(len(face), *face) for face in FACES]


@pytest.mark.core
def test_ply_colors_are_read_by_whichever_name_they_have(tmp_path: Path) -> None:
    def colored(kind: str, names: str, values: Any) -> str:
        rows = [(*row, *values) for row in BOX.tolist()]
        return ply_text([*XYZ, *(f"{kind} {name}" for name in names.split())], rows, [LIST],
                        PLY_FACES)  # fmt: skip

    wide = [round(value / 255 * 65535) for value in SRGB]
    for name, text in {
        "usual": colored("uchar", "red green blue", SRGB),
        "float": colored("float", "red green blue", [value / 255 for value in SRGB]),
        "diffuse": colored("uchar", "diffuse_red diffuse_green diffuse_blue", SRGB),
        "short": colored("uchar", "r g b", SRGB),
        "wide": colored("ushort", "red green blue", wide),
        "clear": colored("uchar", "red green blue alpha", (*SRGB, 0)),
        "faces": ply_text(
            XYZ, BOX.tolist(), [LIST, *(f"uchar {name}" for name in ("red", "green", "blue"))],
            [(*face, *SRGB) for face in PLY_FACES],
        ),
    }.items():  # fmt: skip
        path = tmp_path / f"{name}.ply"
        path.write_text(text)
        look = Look(path, tmp_path)
        look.assert_color(LINEAR)
        assert np.allclose(look.size, (3, 1, 2)), name
        assert look.warnings == []
    two = [(*face, *(RED if index % 2 else GREEN)) for index, face in enumerate(PLY_FACES)]
    path = tmp_path / "two.ply"
    path.write_text(ply_text(XYZ, BOX.tolist(), [LIST, "float red", "float green", "float blue"],
                             two))  # fmt: skip
    assert Look(path, tmp_path).colors() == {RED, GREEN}


@pytest.mark.core
def test_a_texture_that_a_ply_names_is_used(tmp_path: Path) -> None:
    # Left half of the texture red, right half green; u goes from 0 to 1 over each face.
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4, 0] = pixels[:, 4:, 1] = 255
    picture(tmp_path / "my tex.png", pixels)
    square = [(-1, 0, -1), (1, 0, -1), (1, 0, 1), (-1, 0, 1)]
    corners = [(0, 0), (1, 0), (1, 1), (0, 1)]
    flatter = [value for corner in corners for value in corner]
    for name, text in {
        "wedge": ply_text(
            XYZ, square, [LIST, "list uchar float texcoord"], [(4, 0, 1, 2, 3, 8, *flatter)],
            "comment TextureFile my tex.png",
        ),
        "vertex": ply_text(
            [*XYZ, "float s", "float t"],
            [(*row, *uv) for row, uv in zip(square, corners, strict=True)], [LIST],
            [(4, 0, 1, 2, 3)], "comment TextureFile my tex.png",
        ),
    }.items():  # fmt: skip
        path = tmp_path / f"{name}.ply"
        path.write_text(text)
        look = Look(path, tmp_path)
        camera = look.frame.camera
        depth = look.frame.passes["depth"]
        origin, rays = scenes.world_rays(camera)
        x = (origin + rays * depth[..., None])[..., 0]
        # The texture is filtered over its texels in the middle and at the ends.
        sure = look.mask & (np.abs(np.abs(x) - 0.5) < 0.3)
        albedo = look.frame.passes["albedo"]
        assert np.allclose(albedo[sure & (x < 0)], RED, atol=0.01), name
        assert np.allclose(albedo[sure & (x > 0)], GREEN, atol=0.01), name
    lost = tmp_path / "lost.ply"
    lost.write_text(text.replace("my tex", "C:\\somewhere\\gone"))
    assert Look(lost, tmp_path).said("missing-textures")
    error = failure(lost, tmp_path, **{"asset.missing_textures": "fail"})
    assert isinstance(error, MissingTextures)
    assert "gone.png" in error.message


@pytest.mark.core
def test_ply_headers_and_elements_that_others_read(tmp_path: Path) -> None:
    plain = ply_text(XYZ, BOX.tolist(), [LIST], PLY_FACES)
    strips = ply_text(
        XYZ, [(0, 0, 0), (3, 0, 0), (0, 2, 0), (3, 2, 0), (0, 4, 0)],
        ["list int int vertex_indices"], [(6, 0, 1, 2, 3, 4, -1)],
    ).replace("element face", "element tristrips")  # fmt: skip
    for name, text, faces in (
        ("blanks", plain.replace("\n", " \n"), 6),
        ("leading", plain.replace("end_header\n", "end_header\n  "), 6),
        ("tabs", plain.replace("property float", "property\tfloat"), 6),
        ("lines", plain.replace("\n", "\r\n"), 6),
        ("old", plain.replace("\n", "\r"), 6),
        ("strips", strips, 3),
    ):
        path = tmp_path / f"{name}.ply"
        path.write_bytes(text.encode())
        look = Look(path, tmp_path)
        assert look.faces == faces, name
        assert np.allclose(np.sort(look.size), (0, 3, 4) if name == "strips" else (1, 2, 3)), name
    (tmp_path / "out.ply").write_text(strips.replace(" 4 -1", " 9 -1"))
    assert isinstance(failure(tmp_path / "out.ply", tmp_path), ImportFailed)


@pytest.mark.core
def test_points_are_drawn_as_balls_and_said_to_be(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(4000, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    path = scenes.write_ply(tmp_path / "cloud.ply", ball, [], [SRGB] * len(ball))
    look = Look(path, tmp_path)
    assert look.said("points-as-balls")
    assert "4,000 points" in " ".join(look.warnings)
    look.assert_color(LINEAR)
    # Dense enough to hide its other side, and no larger than its balls make it.
    depth = scenes.cast_sphere(look.frame.camera, (0, 0, 0), 1.0)[0]
    sphere = np.isfinite(depth)
    assert (look.mask & ~sphere).sum() < 0.1 * sphere.sum()
    assert (look.mask & sphere).sum() > 0.6 * sphere.sum()
    radius = float(look.warnings[0].partition("radius ")[2].split()[0].rstrip("."))
    assert np.allclose(look.size, 2 + 2 * radius, atol=0.01)
    both = look.mask & sphere
    near = np.abs(look.frame.passes["depth"][both] - depth[both]) < 0.1
    assert near.mean() > 0.6
    one = scenes.write_ply(tmp_path / "one.ply", [(1, 2, 3)], [])
    assert np.allclose(Look(one, tmp_path).size, 2)


@pytest.mark.core
def test_gaussian_splats_show_their_place_and_color(tmp_path: Path) -> None:
    rows = []
    for x in (-1.0, 1.0):
        for index in range(50):
            y = index / 50
            # Y_0^0 = 0.2820948: red is 0.5 + 0.2820948 * 1.7724539 = 1.
            f_dc = [1.7724539, -1.7724539, -1.7724539]
            rows.append((x, y, 0, *f_dc, 4.0 if x < 0 else -9.0))
    names = [*XYZ, *(f"float {name}" for name in ("f_dc_0", "f_dc_1", "f_dc_2", "opacity"))]
    path = tmp_path / "splats.ply"
    path.write_text(ply_text(names, rows))
    look = Look(path, tmp_path)
    assert "Gaussian splats" in " ".join(look.warnings)
    look.assert_color(RED)
    # The transparent half is not there.
    assert look.size[0] < 0.5 < look.size[1]
    hidden = tmp_path / "hidden.ply"
    hidden.write_text(ply_text(names, rows[50:]))
    assert isinstance(failure(hidden, tmp_path), NoGeometry)


# --- STL --------------------------------------------------------------------------------------


def stl(color: Callable[[int], int] = lambda _: 0, head: bytes = b"", count: int = -1) -> bytes:
    parts = scenes.triangles(FACES)
    body = b""
    for index, part in enumerate(parts):
        body += bytes(12) + BOX[list(part)].astype("<f4").tobytes()
        body += struct.pack("<H", color(index))
    return head.ljust(80, b"\0") + struct.pack("<I", len(parts) if count < 0 else count) + body


@pytest.mark.core
def test_an_stl_is_read_whatever_its_length_and_case(tmp_path: Path) -> None:
    lines = ["solid Box"]
    for part in scenes.triangles(FACES):
        corners = ["vertex " + " ".join(f"{value:.3E}" for value in BOX[i]) for i in part]
        lines += ["facet normal 0 0 0", "outer loop", *corners, "endloop", "endfacet"]
    text = "\n".join([*lines, "endsolid Box\n"])
    for name, data, said in (
        ("whole", stl(), False),
        ("tail", stl() + b"made by a program that signs its work", True),
        ("uncounted", stl(count=0), True),
        ("text", text.encode(), False),
        ("capitals", text.upper().encode(), False),
        ("lines", text.replace("\n", "\r\n").encode(), False),
        ("old", text.replace("\n", "\r").encode(), False),
        ("tabs", text.replace("vertex ", "\tvertex\t").encode(), False),
    ):
        path = tmp_path / f"{name}.stl"
        path.write_bytes(data)
        look = Look(path, tmp_path)
        assert look.faces == 12, name
        assert np.allclose(look.size, (3, 1, 2)), name
        assert look.said("repaired") == said, name


@pytest.mark.core
def test_colors_of_stl_triangles_are_used(tmp_path: Path) -> None:
    red, green = 31, 31 << 5
    magics = b"COLOR=" + bytes([0, 255, 0, 255])
    for name, data in {
        # Blue in the upper bits; what has bit 15 set has the header's color.
        "magics": stl(lambda index: red if index < 6 else 0x8000, magics),
        # Red in the upper bits, of those with bit 15.
        "viscam": stl(lambda index: 0x8000 | (31 << 10 if index < 6 else green)),
    }.items():
        path = tmp_path / f"{name}.stl"
        path.write_bytes(data)
        look = Look(path, tmp_path)
        assert look.colors() == {RED, GREEN}, name
        assert look.faces == 12
        assert np.allclose(look.size, (3, 1, 2))


# --- COLLADA ----------------------------------------------------------------------------------

# Blender before 5 has an importer of its own.
own_reader = pytest.mark.skipif("not has_own_reader()")


def has_own_reader() -> bool:
    from objaverse_render_addon.blender.importers import readable_formats

    return readable_formats()["dae"] == "own reader"


def dae_source(name: str, values: Any, stride: int) -> str:
    numbers = np.asarray(values, float).ravel()
    text = " ".join(f"{value:g}" for value in numbers)
    params = "".join(f'<param name="{axis}" type="float"/>' for axis in "XYZW"[:stride])
    return (
        f'<source id="{name}"><float_array id="{name}-a" count="{len(numbers)}">{text}'
        f'</float_array><technique_common><accessor source="#{name}-a" '
        f'count="{len(numbers) // stride}" stride="{stride}">{params}</accessor>'
        "</technique_common></source>"
    )


def dae_geometry(
    name: str, vertices: Any, faces: Any, *, extra: str = "", inputs: str = "", primitive: str = ""
) -> str:
    counts = " ".join(str(len(face)) for face in faces)
    indices = " ".join(str(index) for face in faces for index in face)
    primitive = primitive or (
        f'<polylist count="{len(faces)}" material="m"><input semantic="VERTEX" '
        f'source="#{name}-v" offset="0"/>{inputs}<vcount>{counts}</vcount><p>{indices}</p>'
        "</polylist>"
    )
    return (
        f'<geometry id="{name}"><mesh>{dae_source(f"{name}-p", vertices, 3)}{extra}'
        f'<vertices id="{name}-v"><input semantic="POSITION" source="#{name}-p"/></vertices>'
        f"{primitive}</mesh></geometry>"
    )


def dae_bound(material: str = "m") -> str:
    return (
        '<bind_material><technique_common><instance_material symbol="m" '
        f'target="#{material}"/></technique_common></bind_material>'
    )


def dae(
    geometries: str,
    nodes: str,
    *,
    shading: str = "<diffuse><color>1 0 0 1</color></diffuse>",
    images: str = "",
    rest: str = "",
    axis: str = "Z_UP",
) -> str:
    params = "".join(
        f'<newparam sid="s{i}"><surface type="2D"><init_from>i{i}</init_from></surface></newparam>'
        f'<newparam sid="t{i}"><sampler2D><source>s{i}</source></sampler2D></newparam>'
        for i in range(images.count("<image "))
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<COLLADA '
        'xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1"><asset><unit '
        f'name="meter" meter="1"/><up_axis>{axis}</up_axis></asset><library_images>{images}'
        '</library_images><library_effects><effect id="e"><profile_COMMON>'
        f'{params}<technique sid="common"><lambert>{shading}</lambert></technique>'
        '</profile_COMMON></effect></library_effects><library_materials><material id="m" '
        'name="m"><instance_effect url="#e"/></material></library_materials>'
        f"<library_geometries>{geometries}</library_geometries>{rest}<library_visual_scenes>"
        f'<visual_scene id="S">{nodes}</visual_scene></library_visual_scenes><scene>'
        '<instance_visual_scene url="#S"/></scene></COLLADA>\n'
    )


def dae_node(geometry: str = "g", inside: str = "", bound: bool = True) -> str:
    material = dae_bound() if bound else ""
    return (
        f'<node id="n-{geometry}">{inside}<instance_geometry url="#{geometry}">{material}'
        "</instance_geometry></node>"
    )


@pytest.mark.core
@own_reader
def test_polygons_of_collada_keep_their_area(tmp_path: Path) -> None:
    plus = [(1, 0), (2, 0), (2, 1), (3, 1), (3, 2), (2, 2), (2, 3), (1, 3), (1, 2), (0, 2), (0, 1),
            (1, 1)]  # fmt: skip
    ell = [(1, 1), (1, 2), (0, 2), (0, 0), (2, 0), (2, 1)]
    frame = [(0, 0), (3, 0), (3, 3), (0, 3), (1, 1), (1, 2), (2, 2), (2, 1)]
    hole = (
        '<polygons count="1" material="m"><input semantic="VERTEX" source="#g-v" offset="0"/>'
        "<ph><p>0 1 2 3</p><h>4 5 6 7</h></ph></polygons>"
    )
    for points, primitive, area in ((plus, "", 5), (ell, "", 3), (frame, hole, 8)):
        vertices = [(x, 0, z) for x, z in points]
        geometry = dae_geometry("g", vertices, [range(len(points))], primitive=primitive)
        path = tmp_path / "flat.dae"
        path.write_text(dae(geometry, dae_node()))
        look = Look(path, tmp_path, **{"pixels.resolution": [128, 128]})
        mesh = look.session.asset.rendered[0].data
        assert sum(polygon.area for polygon in mesh.polygons) == pytest.approx(area)
        whole = [(x, 0, z) for x in (0, 3) for z in (0, 3)]
        extent = max(x for x, _ in points)
        # Each pixel's point on the plane, in the file's coordinates.
        origin, rays = scenes.world_rays(look.frame.camera)
        point = (origin + rays * (-origin[1] / rays[..., 1])[..., None]) * extent / 2 + extent / 2
        x, z = point[..., 0], point[..., 2]
        inside = np.zeros(x.shape, bool)
        for index, (x0, z0) in enumerate(points[:4] if primitive else points):
            ring = points[:4] if primitive else points
            x1, z1 = ring[(index + 1) % len(ring)]
            if z0 != z1:
                inside ^= ((z0 > z) != (z1 > z)) & (x < x0 + (z - z0) * (x1 - x0) / (z1 - z0))
        if primitive:
            inside &= ~((np.abs(x - 1.5) < 0.5) & (np.abs(z - 1.5) < 0.5))
        assert whole
        assert (inside != look.mask).sum() < 0.02 * inside.sum(), area


@pytest.mark.core
@own_reader
def test_a_skinned_mesh_stands_where_its_joints_are(tmp_path: Path) -> None:
    """Bound at the origin; the joint has moved by (4, 0, 0) since and turned by 90° about Z."""
    skin = (
        '<library_controllers><controller id="c"><skin source="#s"><bind_shape_matrix>2 0 0 0 '
        '0 2 0 0 0 0 2 0 0 0 0 1</bind_shape_matrix><source id="c-j"><Name_array id="c-j-a" '
        'count="1">j</Name_array></source>'
        f"{dae_source('c-i', np.eye(4), 16)}"
        f"{dae_source('c-w', [1], 1)}<joints><input semantic=\"JOINT\" source=\"#c-j\"/><input "
        'semantic="INV_BIND_MATRIX" source="#c-i"/></joints><vertex_weights count="8"><input '
        'semantic="JOINT" source="#c-j" offset="0"/><input semantic="WEIGHT" source="#c-w" '
        f'offset="1"/><vcount>{"1 " * 8}</vcount><v>{"0 0 " * 8}</v></vertex_weights></skin>'
        "</controller></library_controllers>"
    )
    nodes = (
        '<node id="a"><translate>4 0 0</translate><node id="b" sid="j" type="JOINT"><rotate>0 0 1 '
        '90</rotate></node></node><node id="k"><translate>9 9 9</translate><instance_controller '
        f'url="#c"><skeleton>#a</skeleton>{dae_bound()}</instance_controller></node>'
    )
    stick = CUBE * (0.5, 2, 1)
    path = tmp_path / "skin.dae"
    rigid = dae_geometry("g", CUBE, FACES)
    path.write_text(dae(dae_geometry("s", stick, FACES) + rigid, nodes + dae_node(), rest=skin))
    look = Look(path, tmp_path)
    record = look.session.asset.record["scene_size"]
    # Twice as large by its bind shape, 1 x 4 x 2, and then turned: 4 x 1 x 2 about (4, 0, 0).
    assert np.allclose(record["bbox_max"], (6, 0.5, 1), atol=1e-5)
    assert np.allclose(record["bbox_min"], (-0.5, -0.5, -1), atol=1e-5)
    assert look.faces == 12
    look.assert_color(RED)
    path.write_text(dae(dae_geometry("s", stick, FACES), nodes, rest=skin))
    assert np.allclose(Look(path, tmp_path).size, (4, 1, 2), atol=1e-5)


@pytest.mark.core
def test_textures_of_collada_are_found_or_counted(tmp_path: Path) -> None:
    picture(tmp_path / "my tex.png", flat())
    uv = dae_source("g-t", [(0, 0), (1, 0), (1, 1)], 2)
    faces = scenes.triangles(FACES)
    indices = " ".join(f"{index} {corner}" for face in faces for corner, index in enumerate(face))
    primitive = (
        f'<triangles count="{len(faces)}" material="m"><input semantic="VERTEX" source="#g-v" '
        'offset="0"/><input semantic="TEXCOORD" source="#g-t" offset="1" set="0"/>'
        f"<p>{indices}</p></triangles>"
    )
    geometry = dae_geometry("g", CUBE, faces, extra=uv, primitive=primitive)
    shading = '<diffuse><texture texture="t0" texcoord="UVMap"/></diffuse>'
    path = tmp_path / "textured.dae"

    def write(reference: str) -> Path:
        image = f'<image id="i0"><init_from>{reference}</init_from></image>'
        path.write_text(dae(geometry, dae_node(), shading=shading, images=image))
        return path

    for reference in (
        "my tex.png", "my%20tex.png", "./my%20tex.png", "file:///C:/Users/me/my%20tex.png",
        "C:\\Users\\me\\my tex.png", "../textures/my tex.png",
    ):  # fmt: skip
        look = Look(write(reference), tmp_path)
        look.assert_color(LINEAR)
        assert not look.said("missing-textures"), reference
    look = Look(write("gone.png"), tmp_path)
    look.assert_color((0.5, 0.5, 0.5))
    assert look.said("missing-textures")
    error = failure(write("gone.png"), tmp_path, **{"asset.missing_textures": "fail"})
    assert isinstance(error, MissingTextures)


@pytest.mark.core
def test_transparency_of_collada_is_its_specifications(tmp_path: Path) -> None:
    geometry = dae_geometry("g", CUBE, FACES)
    other = dae_geometry("h", CUBE * 0.2 + (0, 0, 0.9), FACES)
    nodes = dae_node() + dae_node("h", bound=False)
    path = tmp_path / "glass.dae"

    def alpha(transparent: str, transparency: str = "") -> float:
        shading = f"<diffuse><color>1 0 0 1</color></diffuse>{transparent}{transparency}"
        path.write_text(dae(geometry + other, nodes, shading=shading))
        session = scenes.open_scene(path, scenes.make_job(scenes.ring(tmp_path, 16)))
        materials = [item for item in session.asset.materials if item.name == "m"]
        shader = next(n for n in materials[0].node_tree.nodes if n.type == "BSDF_PRINCIPLED")
        return float(shader.inputs["Alpha"].default_value)

    def color(mode: str, values: str) -> str:
        return f'<transparent opaque="{mode}"><color>{values}</color></transparent>'

    share = "<transparency><float>{}</float></transparency>".format
    white, black = "1 1 1 1", "0 0 0 1"
    assert alpha(color("A_ONE", white), share(0.2)) == pytest.approx(0.2)
    assert alpha(color("A_ONE", "1 1 1 0"), share(1)) == 0
    assert alpha(color("RGB_ZERO", black), share(1)) == 1
    assert alpha(color("RGB_ZERO", "0 0 0 0")) == 1
    assert alpha(color("RGB_ZERO", "1 1 1 1"), share(0.7)) == pytest.approx(0.3)
    assert alpha(color("A_ZERO", "0 0 0 0.4")) == pytest.approx(0.6)
    assert alpha(color("RGB_ONE", "0 1 0 1")) == pytest.approx(0.71516)
    assert alpha("", share(0)) == 1
    assert alpha("") == 1


@pytest.mark.core
@own_reader
def test_vertex_colors_of_collada_are_used(tmp_path: Path) -> None:
    values = [[value / 255 for value in SRGB]] * 8
    extra = dae_source("g-c", values, 3)
    inputs = '<input semantic="COLOR" source="#g-c" offset="0" set="0"/>'
    geometry = dae_geometry("g", CUBE, FACES, extra=extra, inputs=inputs)
    path = tmp_path / "colored.dae"
    for shading, bound, color, said in (
        ("", False, LINEAR, False),
        ("<diffuse><color>1 1 1 1</color></diffuse>", True, LINEAR, False),
        ("<diffuse><color>1 0 0 1</color></diffuse>", True, RED, True),
    ):
        path.write_text(dae(geometry, dae_node(bound=bound), shading=shading))
        if not bound:
            path.write_text(path.read_text().replace(' material="m"', ""))
        look = Look(path, tmp_path)
        look.assert_color(color, 0.01)
        assert look.said("not-imported") == said


@pytest.mark.core
@own_reader
def test_sloppy_collada_documents_are_read(tmp_path: Path) -> None:
    box = dae_geometry("g", BOX, FACES)
    good = dae(box, dae_node())
    light = '<library_lights><light id="l"><technique_common><spot/></technique_common></light>'
    camera = '<node><instance_camera url="#nowhere"/></node>'
    path = tmp_path / "sloppy.dae"
    for text, size in (
        (good, (3, 1, 2)),
        (good.replace("Z_UP", " y_up\n"), (3, 2, 1)),
        (good.replace("Z_UP", "X_UP"), (1, 2, 3)),
        (good.replace("<up_axis>Z_UP</up_axis>", ""), (3, 2, 1)),
        (good.replace("<library_geometries>", light + "</library_lights><library_geometries>"),
         (3, 1, 2)),
        (good.replace("</visual_scene>", camera + "</visual_scene>"), (3, 1, 2)),
        (good.replace("<color>1 0 0 1</color>", "<color>red</color>"), (3, 1, 2)),
        (good.replace('<effect id="e">', '<effect id="x"/><effect id="e">'), (3, 1, 2)),
        (good.replace("#S", "#nowhere"), (3, 1, 2)),
        (good.replace('xmlns="http://www.collada.org/2005/11/COLLADASchema" ', ""), (3, 1, 2)),
    ):  # fmt: skip
        path.write_text(text)
        look = Look(path, tmp_path)
        assert np.allclose(look.size, size, atol=1e-5), text[:300]
        assert look.faces == 6
    path.write_text(dae("", "<node/>"))
    assert isinstance(failure(path, tmp_path), NoGeometry)
    path.write_text(dae(dae_geometry("g", BOX, [(0, 1, 99)]), dae_node()))
    assert isinstance(failure(path, tmp_path), ImportFailed)
    path.write_text(dae(box, '<node id="n"><instance_node url="#n"/></node>'))
    assert isinstance(failure(path, tmp_path), ImportFailed)


@pytest.mark.core
@own_reader
# pycollada has not followed numpy 2.5 yet.
@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")
def test_collada_stands_as_trimesh_has_it(tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("collada")
    steps = (
        "<translate>1 2 3</translate><rotate>0 0.6 0.8 40</rotate><scale>1 2 0.5</scale>"
        "<matrix>0 -1 0 1 1 0 0 0 0 0 1 0 0 0 0 1</matrix>"
    )
    inner = f'<node id="in">{steps}<instance_geometry url="#g"/></node>'
    nodes = f'<node id="out"><rotate>1 0 0 25</rotate>{inner}</node>'
    path = tmp_path / "tree.dae"
    path.write_text(dae(dae_geometry("g", BOX, scenes.triangles(FACES)), nodes))
    record = Look(path, tmp_path).session.asset.record["scene_size"]
    theirs = trimesh.load_scene(path).bounds
    assert np.allclose([record["bbox_min"], record["bbox_max"]], theirs, atol=1e-5)


# --- glTF -------------------------------------------------------------------------------------


def glb(path: Path, document: dict[str, Any], chunk: bytes) -> Path:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunk += bytes(-len(chunk) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text
    body += struct.pack("<I4s", len(chunk), b"BIN\0") + chunk
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body)
    return path


def same_picture(first: Look, second: Look) -> None:
    for key, values in first.frame.passes.items():
        assert np.array_equal(values, second.frame.passes[key]), key


@pytest.mark.core
def test_a_glb_with_bytes_behind_it_is_read(tmp_path: Path) -> None:
    path = scenes.write_glb(tmp_path / "cube.glb")
    right = Look(path, tmp_path)
    path.write_bytes(path.read_bytes() + bytes(4))
    look = Look(path, tmp_path)
    assert look.said("repaired")
    same_picture(right, look)


@pytest.mark.core
def test_draco_is_decoded_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DracoPy = pytest.importorskip("DracoPy")  # noqa: N806
    document, chunk = scenes.glb_document(CUBE, FACES)
    right = Look(glb(tmp_path / "plain.glb", document, chunk), tmp_path)
    faces = np.array(scenes.triangles(FACES), np.uint32)
    packed = DracoPy.encode(CUBE.astype(np.float32), faces, quantization_bits=20,
                            preserve_order=True)  # fmt: skip
    (primitive,) = document["meshes"][0]["primitives"]
    primitive["attributes"] = {"POSITION": 0}
    primitive["extensions"] = {
        "KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}
    }
    for accessor in document["accessors"]:
        del accessor["bufferView"]
    document["bufferViews"] = [{"buffer": 0, "byteLength": len(packed)}]
    document["buffers"] = [{"byteLength": len(packed)}]
    document["extensionsUsed"] = ["KHR_draco_mesh_compression"]
    document["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    path = glb(tmp_path / "draco.glb", document, packed)
    look = Look(path, tmp_path)
    assert look.faces == 12
    assert np.allclose(look.size, right.size, atol=1e-5)
    assert (look.mask != right.mask).sum() <= 2
    from objaverse_render_addon.blender import compat

    if "KHR_draco_mesh_compression" not in compat.gltf_decoders():
        monkeypatch.setitem(__import__("sys").modules, "DracoPy", None)
        error = failure(path, tmp_path)
        assert isinstance(error, UnsupportedExtension)
        assert "pip install DracoPy" in error.hint
        assert "\n" not in str(error)


@pytest.mark.core
def test_meshopt_is_decoded(tmp_path: Path) -> None:
    """Encoded here by the least that the format allows: whole bytes, one triangle after another."""
    document, chunk = scenes.glb_document(CUBE, FACES)
    right = Look(glb(tmp_path / "plain.glb", document, chunk), tmp_path)
    positions = CUBE.astype("<f4").view(np.uint8).reshape(8, 12)
    # Version 0: each byte's differences, zigzag, in groups of 16 with 8 bits each.
    deltas = np.diff(positions, axis=0, prepend=positions[:1]).astype(np.int8).astype(np.int16)
    zigzag = ((deltas << 1) ^ (deltas >> 7)).astype(np.uint8)
    packed = b"\xa0"
    for column in zigzag.T:
        packed += b"\x03" + column.tobytes().ljust(16, b"\0")
    packed += bytes(32 - 12) + positions[0].tobytes()
    indices = np.array(scenes.triangles(FACES), np.int64).ravel()
    steps, last = b"", 0
    for index in indices:
        step = int(index) - last
        steps += bytes([((step << 1) ^ (step >> 31)) & 0x7F])
        last = int(index)
    # Each triangle: 0xff, and three explicit indices (0xf, 0xff) as differences.
    packed_indices = b"\xe1" + b"\xff" * 12
    for triangle in range(12):
        packed_indices += b"\xff" + steps[3 * triangle : 3 * triangle + 3]
    packed_indices += bytes(16)
    name = "EXT_meshopt_compression"
    data = packed + bytes(-len(packed) % 4)
    views = document["bufferViews"]
    views[0]["extensions"] = {name: {
        "buffer": 0, "byteOffset": 0, "byteLength": len(packed), "byteStride": 12, "count": 8,
        "mode": "ATTRIBUTES",
    }}  # fmt: skip
    views[1]["extensions"] = {name: {
        "buffer": 0, "byteOffset": len(data), "byteLength": len(packed_indices), "byteStride": 4,
        "count": 36, "mode": "TRIANGLES",
    }}  # fmt: skip
    uv = chunk[views[2]["byteOffset"] :]
    data += packed_indices
    views[2]["byteOffset"] = len(data)
    data += uv
    views[0].update(buffer=1, byteOffset=0)
    views[1].update(buffer=1, byteOffset=96)
    document["buffers"] = [
        {"byteLength": len(data)}, {"byteLength": 240, "extensions": {name: {"fallback": True}}},
    ]  # fmt: skip
    document["extensionsUsed"] = document["extensionsRequired"] = [name]
    look = Look(glb(tmp_path / "packed.glb", document, data), tmp_path)
    assert np.allclose(look.size, right.size)
    same_picture(right, look)


@pytest.mark.core
def test_extensions_that_are_not_known_are_named(tmp_path: Path) -> None:
    document, chunk = scenes.glb_document(CUBE, FACES)
    document["extensionsUsed"] = ["ACME_fur", "KHR_xmp_json_ld"]
    look = Look(glb(tmp_path / "used.glb", document, chunk), tmp_path)
    assert [text for text in look.warnings if "ACME_fur" in text and "xmp" not in text]
    document["extensionsRequired"] = ["ACME_fur"]
    error = failure(glb(tmp_path / "required.glb", document, chunk), tmp_path)
    assert isinstance(error, UnsupportedExtension)
    assert "ACME_fur" in error.message
    document["extensionsUsed"] = document["extensionsRequired"] = ["KHR_xmp_json_ld"]
    assert Look(glb(tmp_path / "harmless.glb", document, chunk), tmp_path).faces == 12
    old = {"asset": {"version": "1.0"}, "meshes": {"m": {"primitives": []}}}
    (tmp_path / "old.gltf").write_text(json.dumps(old))
    error = failure(tmp_path / "old.gltf", tmp_path)
    assert isinstance(error, UnsupportedFormat)
    assert "glTF 1.0" in error.message


# 8 x 8 pixels of SRGB, from the encoder of Basis Universal 2.10: as ETC1S, to a step of its
# quantisation, and as UASTC.
ETC1S = (
    "q0tUWCAyMLsNChoKAAAAAAEAAAAIAAAACAAAAAAAAAAAAAAAAQAAAAEAAAABAAAAaAAAACwAAACUAAAAJAAA"
    "ALgAAAAAAAAAgwAAAAAAAAA7AQAAAAAAAAEAAAAAAAAAAAAAAAAAAAAsAAAAAAAAAAIAKACjAQIAAwMAAAgA"
    "AAAAAAAAAAA/AAAAAAAAAAAA/////x8AAABLVFh3cml0ZXIAQmFzaXMgVW5pdmVyc2FsIDIuMTAAAAEAAQAr"
    "AAAABQAAACsAAAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAAABwAQAAAAAAADiA5gSAAAAAACCmhdsBAATAAAA"
    "AAAAiABgAgAAAAAAAEEG/P///wcUwEQAAAAAAAASIQCYAAAAAAAAQAgBEwEAAAAAAEgbAWACQAAAAAAAEQgA"
    "AA=="
)
UASTC = (
    "q0tUWCAyMLsNChoKAAAAAAEAAAAIAAAACAAAAAAAAAAAAAAAAQAAAAEAAAAAAAAAaAAAACwAAACUAAAALAAA"
    "AAAAAAAAAAAAAAAAAAAAAADAAAAAAAAAAEAAAAAAAAAAQAAAAAAAAAAsAAAAAAAAAAIAKACmAQIAAwMAABAA"
    "AAAAAAAAAAB/AAAAAAAAAAAA/////x8AAABLVFh3cml0ZXIAQmFzaXMgVW5pdmVyc2FsIDIuMTAAAAQAAAB/"
    "fwAAl5cP6D+27gAAAAAAAAAAAJeXD+g/tu4AAAAAAAAAAACXlw/oP7buAAAAAAAAAAAAl5cP6D+27gAAAAAA"
    "AAAAAA=="
)


@pytest.mark.core
def test_ktx2_is_decoded_or_missing(tmp_path: Path) -> None:
    document, chunk = scenes.glb_document(CUBE, FACES)
    document["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    document["meshes"][0]["primitives"][0]["material"] = 0
    document["extensionsUsed"] = document["extensionsRequired"] = ["KHR_texture_basisu"]
    data = base64.b64decode(UASTC)
    (tmp_path / "bark.ktx2").write_bytes(data)
    for image, there in (
        ({"uri": f"data:image/ktx2;base64,{ETC1S}"}, True),
        ({"uri": f"data:image/ktx2;base64,{UASTC}"}, True),
        ({"uri": "bark.ktx2"}, True),
        ({"uri": "gone.ktx2"}, False),
        ({"uri": f"data:image/ktx2;base64,{ETC1S[:200]}", "name": "bark"}, False),
    ):
        document["images"] = [{**image, "mimeType": "image/ktx2"}]
        document["textures"] = [{"extensions": {"KHR_texture_basisu": {"source": 0}}}]
        look = Look(glb(tmp_path / "basis.glb", document, chunk), tmp_path)
        look.assert_color(LINEAR if there else (0.5, 0.5, 0.5), 0.006)
        assert look.said("missing-textures") != there


@pytest.mark.core
def test_ktx2_is_named_or_its_other_picture_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from objaverse_render_addon.assets.repair import basisu as decoder

    monkeypatch.setattr(decoder, "can_decode", lambda: False)
    document, chunk = scenes.glb_document(CUBE, FACES)
    picture(tmp_path / "tex.png", flat())
    document["images"] = [{"uri": "data:image/ktx2;base64,q0tUWCAyMLs=", "name": "bark"},
                          {"uri": "tex.png"}]  # fmt: skip
    document["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    document["meshes"][0]["primitives"][0]["material"] = 0
    basisu = {"KHR_texture_basisu": {"source": 0}}
    document["textures"] = [{"extensions": basisu, "source": 1}]
    document["extensionsUsed"] = document["extensionsRequired"] = ["KHR_texture_basisu"]
    look = Look(glb(tmp_path / "both.glb", document, chunk), tmp_path)
    look.assert_color(LINEAR)
    document["textures"] = [{"extensions": basisu}]
    error = failure(glb(tmp_path / "alone.glb", document, chunk), tmp_path)
    assert isinstance(error, UnsupportedExtension)
    document["textures"] = [{"extensions": basisu}]
    del document["extensionsRequired"]
    look = Look(glb(tmp_path / "optional.glb", document, chunk), tmp_path)
    assert look.said("missing-textures")
    assert "bark" in " ".join(look.warnings)
    look.assert_color((0.5, 0.5, 0.5))


@pytest.mark.core
def test_one_scene_shows_and_nothing_that_is_hidden(tmp_path: Path) -> None:
    document, chunk = scenes.glb_document(CUBE, FACES)
    document["nodes"] = [
        {"mesh": 0, "scale": [4, 4, 4], "children": [2]}, {"mesh": 0}, {"mesh": 0,
                                                                        "translation": [9, 0, 0]},
    ]  # fmt: skip
    document["scenes"] = [{"nodes": [0]}, {"nodes": [1]}]
    del document["scene"]
    look = Look(glb(tmp_path / "first.glb", document, chunk), tmp_path)
    # The first where none is the default: 4 wide, and its child, 4 times (9 ± 0.5) away.
    assert np.allclose(look.size, (40, 4, 4), atol=1e-4)
    assert look.faces == 24
    document["scene"] = 1
    look = Look(glb(tmp_path / "second.glb", document, chunk), tmp_path)
    assert np.allclose(look.size, 1)
    document["scene"] = 0
    document["scenes"] = [{"nodes": [0, 1]}]
    document["nodes"][0]["extensions"] = {"KHR_node_visibility": {"visible": False}}
    document["extensionsUsed"] = document["extensionsRequired"] = ["KHR_node_visibility"]
    look = Look(glb(tmp_path / "hidden.glb", document, chunk), tmp_path)
    # What is below a hidden node is hidden too.
    assert np.allclose(look.size, 1)
    assert look.faces == 12
    document["nodes"][0]["extensions"]["KHR_node_visibility"]["visible"] = True
    look = Look(glb(tmp_path / "shown.glb", document, chunk), tmp_path)
    assert look.faces == 36


# --- FBX and USD -----------------------------------------------------------------------------


Node = tuple[str, list[Any], list[Any]]


def fbx(shown: int = 1, group: int = 1) -> list[Node]:
    """A small box, and a large one below a group."""

    def mesh(number: int, size: float) -> Node:
        corners = [(*face[:-1], -face[-1] - 1) for face in FACES]
        return ("Geometry", [number, "|Geometry", "Mesh"], [
            ("Vertices", [np.array((CUBE * size).ravel(), "<f8")], []),
            ("PolygonVertexIndex", [np.array(corners, "<i4").ravel()], []),
        ])  # fmt: skip

    def model(number: int, name: str, kind: str, visible: int) -> Node:
        visibility = ("P", ["Visibility", "Visibility", "", "A", float(visible)], [])
        return ("Model", [number, f"{name}|Model", kind], [
            ("Version", [232], []), ("Properties70", [], [visibility]),
        ])  # fmt: skip

    links = [(11, 0), (20, 0), (12, 20), (1, 11), (2, 12)]
    return [
        ("FBXHeaderExtension", [], [("FBXVersion", [7400], [])]),
        ("GlobalSettings", [], [("Version", [1000], []), ("Properties70", [], [])]),
        ("Objects", [], [
            mesh(1, 1), mesh(2, 5), model(11, "Small", "Mesh", 1),
            model(12, "Large", "Mesh", shown), model(20, "Group", "Null", group),
        ]),
        ("Connections", [], [("C", ["OO", *link], []) for link in links]),
    ]  # fmt: skip


def fbx_text(nodes: list[Node]) -> str:
    text = ""
    for name, values, inside in nodes:
        words = []
        for value in values:
            if isinstance(value, np.ndarray):
                numbers = ",".join(f"{item:g}" for item in value)
                words.append(f"*{len(value)} {{\na: {numbers}\n}}")
            elif isinstance(value, str):
                words.append('"{1}::{0}"'.format(*value.split("|")) if "|" in value else
                             f'"{value}"')  # fmt: skip
            else:
                words.append(f"{value:g}")
        text += f"{name}: {', '.join(words)}" + (f" {{\n{fbx_text(inside)}}}" if inside else "")
        text += "\n"
    return text


def fbx_binary(nodes: list[Node], at: int = 27, version: int = 7400) -> bytes:
    """https://code.blender.org/2013/08/fbx-binary-file-format-specification/."""
    head = struct.Struct("<QQQB" if version >= 7500 else "<IIIB")
    data = b""
    for name, values, inside in nodes:
        body = b""
        for value in values:
            if isinstance(value, np.ndarray):
                raw = value.tobytes()
                body += value.dtype.char.encode() + struct.pack("<III", len(value), 0, len(raw))
                body += raw
            elif isinstance(value, bytes):
                body += b"R" + struct.pack("<I", len(value)) + value
            elif isinstance(value, str):
                raw = value.replace("|", "\0\1").encode()
                body += b"S" + struct.pack("<I", len(raw)) + raw
            elif isinstance(value, float):
                body += b"D" + struct.pack("<d", value)
            elif len(values) == 1:
                body += b"I" + struct.pack("<i", value)
            else:
                body += b"L" + struct.pack("<q", value)
        start = at + len(data) + head.size + len(name)
        below = fbx_binary(inside, start + len(body), version) if inside else b""
        end = start + len(body) + len(below)
        data += head.pack(end, len(values), len(body), len(name)) + name.encode() + body + below
    data += bytes(head.size)
    if at > 27:
        return data
    return b"Kaydara FBX Binary  \0\x1a\0" + struct.pack("<I", version) + data


@pytest.mark.core
def test_what_an_fbx_hides_is_hidden(tmp_path: Path) -> None:
    from objaverse_render_addon.assets.repair.fbx import Facts, read_facts

    path = tmp_path / "hidden.fbx"
    for changes, hidden in (
        ({}, set()), ({"shown": 0}, {"Large"}), ({"group": 0}, {"Group", "Large"}),
    ):  # fmt: skip
        nodes = fbx(**changes)
        path.write_text("; FBX 7.4.0 project file\n" + fbx_text(nodes))
        assert read_facts(path) == Facts(hidden)
        path.write_bytes(fbx_binary(nodes, version=7500))
        assert read_facts(path) == Facts(hidden)
        path.write_bytes(fbx_binary(nodes))
        assert read_facts(path) == Facts(hidden)
        look = Look(path, tmp_path)
        assert look.faces == (6 if hidden else 12)
        assert np.allclose(look.size / look.size.max(), 1, atol=1e-5)
    nodes[-1][2].append(("C", ["OP", 30, 20, "Visibility"], []))
    path.write_bytes(fbx_binary(nodes))
    look = Look(path, tmp_path)
    assert look.said("not-imported")
    assert look.faces == 12


def glass_fbx(texture: dict[str, Any] | None = None, **said: Any) -> list[Node]:
    """A red box, and a green one whose material says something of its transparency, beside it.

    Args:
        texture: Of the red one's colour: ``RelativeFilename``, ``FileName``, ``Content``.
    """
    nodes = fbx()

    def said_as(name: str, *values: float) -> Node:
        kind = "Color" if len(values) > 1 else "Number"
        return ("P", [name, kind, "", "A", *map(float, values)], [])

    def material(number: int, name: str, color: Any, *more: Node) -> Node:
        return ("Material", [number, f"{name}|Material", ""], [
            ("ShadingModel", ["phong"], []),
            ("Properties70", [], [said_as("DiffuseColor", *color), *more]),
        ])  # fmt: skip

    green = [said_as(name, *np.atleast_1d(value).tolist()) for name, value in said.items()]
    objects, links = nodes[2][2], nodes[3][2]
    objects += [material(41, "Red", RED), material(42, "Green", GREEN, *green)]
    links += [("C", ["OO", 41, 11], []), ("C", ["OO", 42, 12], [])]
    for model, x in zip(objects[2:4], (-4.0, 4.0), strict=True):
        place = ("P", ["Lcl Translation", "Lcl Translation", "", "A", x, 0.0, 0.0], [])
        model[2][1][2].append(place)
    if texture is not None:
        objects[0][2].append(("LayerElementUV", [0], [
            ("Name", ["UVMap"], []), ("MappingInformationType", ["ByVertice"], []),
            ("ReferenceInformationType", ["Direct"], []),
            ("UV", [np.tile([0.5, 0.5], len(CUBE)).astype("<f8")], []),
        ]))  # fmt: skip
        objects[0][2].append(("Layer", [0], [("LayerElement", [], [
            ("Type", ["LayerElementUV"], []), ("TypedIndex", [0], []),
        ])]))  # fmt: skip
        names = [(key, [value], []) for key, value in texture.items() if key != "Content"]
        objects.append(("Texture", [51, "Picture|Texture", ""], [("Type", ["T"], []), *names]))
        content = [("Content", [texture["Content"]], [])] if "Content" in texture else []
        objects.append(("Video", [52, "Picture|Video", "Clip"], [*names, *content]))
        links += [("C", ["OP", 51, 41, "DiffuseColor"], []), ("C", ["OO", 52, 51], [])]
    return nodes


@pytest.mark.core
def test_opacity_of_an_fbx_is_its_properties(tmp_path: Path) -> None:
    """By what Maya, 3ds Max, Blender and assimp write for the same."""
    from objaverse_render_addon.assets.repair.fbx import read_facts

    white, black, path = (1, 1, 1), (0, 0, 0), tmp_path / "glass.fbx"
    for said, opacity in (
        ({}, None),
        ({"TransparencyFactor": 1, "TransparentColor": black}, 1.0),
        ({"TransparencyFactor": 1}, 1.0),
        ({"TransparencyFactor": 1, "TransparentColor": white}, 0.0),
        ({"TransparencyFactor": 0, "TransparentColor": white, "Opacity": 1}, 1.0),
        ({"TransparencyFactor": 1, "TransparentColor": white, "Opacity": 0}, 0.0),
        ({"Opacity": 0.2}, 0.2),
        ({"TransparencyFactor": 0.8, "TransparentColor": GREEN, "Opacity": 0.2}, 0.2),
        ({"TransparencyFactor": 0.25, "TransparentColor": white}, 0.75),
        ({"TransparencyFactor": 0.25}, 0.75),
    ):
        nodes = glass_fbx(**said)
        path.write_text("; FBX 7.4.0 project file\n" + fbx_text(nodes))
        found = [read_facts(path)]
        path.write_bytes(fbx_binary(nodes))
        found.append(read_facts(path))
        expected = {} if opacity is None else {"Green": pytest.approx(opacity)}
        assert [facts.opacities for facts in found] == [expected] * 2, said
        look = Look(path, tmp_path)
        if opacity is None or opacity >= 0.5:
            assert look.colors() == {RED, GREEN}, said
        else:
            assert look.colors() == {RED}, said
        assert look.said("clear-materials") == (opacity == 0), said
        alpha = look.frame.passes["rgb"][..., 3]
        seen = alpha[(look.frame.passes["mask"] == 0) & (alpha > 0)]
        if opacity == 0.2:
            # Once or twice through it: up to 1 - 0.8².
            assert 0.19 < np.median(seen) / 255 < 0.37


@pytest.mark.core
def test_textures_of_an_fbx_are_found_or_counted(tmp_path: Path) -> None:
    from PIL import Image

    picture(tmp_path / "there.png", flat())
    beside = tmp_path / "textures"
    beside.mkdir()
    picture(beside / "below.png", flat())
    data = io.BytesIO()
    Image.fromarray(np.asarray(flat(), np.uint8)).save(data, "PNG")
    path = tmp_path / "model" / "box.fbx"
    path.parent.mkdir()
    picture(path.parent / "near.png", flat())
    gone = {"FileName": "C:\\art\\gone.png", "RelativeFilename": "gone.png"}
    for texture, there in (
        ({"FileName": "C:\\art\\near.png", "RelativeFilename": "..\\art\\near.png"}, True),
        ({"FileName": "C:\\art\\near.png", "RelativeFilename": "near.png"}, True),
        ({**gone, "Content": data.getvalue()}, True),
        (gone, False),
        ({**gone, "Content": b"no picture at all"}, False),
        ({"FileName": "near.psd", "RelativeFilename": "near.psd"}, False),
    ):  # fmt: skip
        path.write_bytes(fbx_binary(glass_fbx(texture)))
        look = Look(path, tmp_path)
        expected = LINEAR if there else (0.5, 0.5, 0.5)
        red = look.albedo[look.albedo[:, 1] < 0.9]
        assert np.abs(red - expected).max() < 0.004, (texture, look.colors())
        assert look.said("missing-textures") != there, texture
        assert look.session.asset.record["missing_textures"]["count"] == (0 if there else 1)


def usd_text(materials: dict[str, str], bare: str = "") -> str:
    """Boxes in rows of three, each of its material; one without a material last."""
    points = ", ".join(str(tuple(row)) for row in CUBE.tolist())
    indices = ", ".join(str(i) for face in FACES for i in face)

    def box(number: int, head: str, more: str) -> str:
        return f'''
            def Mesh "Box{number}" {head} {{
                int[] faceVertexCounts = [4, 4, 4, 4, 4, 4]
                int[] faceVertexIndices = [{indices}]
                point3f[] points = [{points}]
                texCoord2f[] primvars:st = [(0.5, 0.5)] (interpolation = "constant")
                uniform token subdivisionScheme = "none"
                {more}
                double3 xformOp:translate = ({2 * (number % 3)}, 0, {2 * (number // 3)})
                uniform token[] xformOpOrder = ["xformOp:translate"]
            }}'''

    text = ""
    for number, (name, said) in enumerate(materials.items()):
        binding = '(prepend apiSchemas = ["MaterialBindingAPI"])'
        text += box(number, binding, f"rel material:binding = </World/{name}>")
        text += f'''
            def Material "{name}" {{
                token outputs:surface.connect = </World/{name}/Shader.outputs:surface>
                def Shader "Shader" {{
                    uniform token info:id = "UsdPreviewSurface"
                    color3f inputs:diffuseColor = ({(number + 1) / 10}, 0, 0)
                    {said.replace("PICTURE", f"</World/{name}/Picture.outputs:r>")}
                    token outputs:surface
                }}
                def Shader "Picture" {{
                    uniform token info:id = "UsdUVTexture"
                    asset inputs:file = @grey.png@
                    token inputs:sourceColorSpace = "raw"
                    float outputs:r
                }}
            }}'''
    if bare:
        text += box(len(materials), "", bare)
    return f'#usda 1.0\n(defaultPrim = "World"\nupAxis = "Z")\ndef Xform "World" {{{text}\n}}\n'


@pytest.mark.core
def test_opacity_of_usd_is_presence_from_its_threshold_on(tmp_path: Path) -> None:
    """UsdPreviewSurface: cut off below ``opacityThreshold``, opaque from it on; else a share."""
    import bpy

    picture(tmp_path / "grey.png", flat((102, 102, 102)))  # 0.4
    path = tmp_path / "glass.usda"
    path.write_text(usd_text({
        "Opaque": "",
        "Thin": "float inputs:opacity = 0.2",
        "Half": "float inputs:opacity = 0.6",
        "Cut": "float inputs:opacity = 0.6\nfloat inputs:opacityThreshold = 0.7",
        "Kept": "float inputs:opacity = 0.4\nfloat inputs:opacityThreshold = 0.3",
        "Picture": "float inputs:opacity.connect = PICTURE",
        "PictureKept": "float inputs:opacity.connect = PICTURE\n"
                       "float inputs:opacityThreshold = 0.3",
        "PictureCut": "float inputs:opacity.connect = PICTURE\n"
                      "float inputs:opacityThreshold = 0.7",
    }, "color3f[] primvars:displayColor = [(0, 0.9, 0)]\n"
       "float[] primvars:displayOpacity = [0.2]"))  # fmt: skip
    look = Look(path, tmp_path)
    seen = {round(float(color[0]), 1) for color in look.albedo}
    if hasattr(bpy.utils, "expose_bundled_modules"):
        assert seen == {0.1, 0.3, 0.5, 0.7}
        assert not look.said("not-imported")
    else:
        # 4.2 has no USD in its Python, and its importer does not read the threshold.
        assert seen == {0.1, 0.3, 0.4}
        assert look.said("not-imported")
    assert look.albedo[:, 1].max() < 0.01
    path.write_text(usd_text({}, 'color3f[] primvars:displayColor = [(0, 0.9, 0)]\n'
                             "float[] primvars:displayOpacity = [0.8]"))  # fmt: skip
    Look(path, tmp_path).assert_color((0, 0.9, 0))


@pytest.mark.core
def test_a_package_whose_first_file_is_a_picture_is_read(tmp_path: Path) -> None:
    picture(tmp_path / "tex.png", flat())
    layer = (
        '#usda 1.0\n(\n    defaultPrim = "Quad"\n    upAxis = "Z"\n)\n\ndef Mesh "Quad"\n{\n'
        "    point3f[] points = [(-1, 0, -1), (1, 0, -1), (1, 0, 1), (-1, 0, 1)]\n"
        "    int[] faceVertexCounts = [4]\n    int[] faceVertexIndices = [0, 1, 2, 3]\n}\n"
    )
    looks = []
    for order in (("scene.usda", "tex.png"), ("tex.png", "scene.usda")):
        path = tmp_path / f"{order[0]}.usdz"
        with zipfile.ZipFile(path, "w") as archive:
            for name in order:
                data = layer.encode() if name.endswith("usda") else (tmp_path / name).read_bytes()
                archive.writestr(name, data)
        looks.append(Look(path, tmp_path))
    assert [look.said("repaired") for look in looks] == [False, True]
    same_picture(*looks)


@pytest.mark.core
def test_no_traceback_is_anybodys_message() -> None:
    from objaverse_render_addon.blender.importers import _failure

    text = (
        "Error: Python: Traceback (most recent call last):\n  File \"x.py\", line 3, in execute\n"
        "    return self.import_gltf2(context)\nKeyError: 'bufferView'\n\nLocation: y.py:90\n"
    )
    error = _failure(Path("a.glb"), text)
    assert error.message == "a.glb: the importer stumbled over it: KeyError: 'bufferView'"
    assert "Open the file" not in error.hint
    unknown = _failure(Path("a.glb"), "Error: Extension ACME_x is not available on this addon")
    assert isinstance(unknown, UnsupportedExtension)
    for text in (
        "Error: Loading \"a.blend\" failed: Failed to read blend file 'a.blend', not a blend file",
        "Error: ASCII FBX files are not supported 'a.fbx'",
    ):
        error = _failure(Path("a"), text)
        assert isinstance(error, UnsupportedFormat)
        assert error.hint.startswith("Use ")


def test_a_big_endian_blend_is_named(tmp_path: Path) -> None:
    import bpy

    if bpy.app.version < (5, 0):
        pytest.skip("this Blender reads it")
    names = b"SDNANAME" + bytes(4)
    head = b"DNA1" + struct.pack(">I8xII", len(names), 0, 1)
    path = tmp_path / "old.blend"
    path.write_bytes(b"BLENDER-V249" + head + names + b"ENDB" + bytes(20))
    error = failure(path, tmp_path)
    assert isinstance(error, UnsupportedFormat)
    assert "big-endian" in error.message


@pytest.mark.core
def test_what_a_newer_blender_saved_is_a_doubt(tmp_path: Path) -> None:
    import bpy

    path = tmp_path / "newer.blend"
    with scenes.new_blend(path):
        scenes.add_cube()
    assert not Look(path, tmp_path).said("newer-blend")
    major, minor = bpy.app.version[:2]
    # The head's format changed with 5.0.
    head = "BLENDER17-01v{:04}" if major >= 5 else "BLENDER-v{:03}"
    data = path.read_bytes()
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        zstandard = pytest.importorskip("zstandard")
        source = io.BytesIO(data)
        reader = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
        data = reader.read()
    mine = head.format(100 * major + minor).encode()
    assert data.startswith(mine)
    path.write_bytes(head.format(100 * major + minor + 1).encode() + data[len(mine) :])
    look = Look(path, tmp_path)
    assert look.said("newer-blend")
    assert look.faces == 6
