from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from pathlib import Path

import pytest

from objaverse_render_addon.assets.formats import EXTENSIONS, inspect_file
from objaverse_render_addon.errors import (
    EmptyFile,
    RenderError,
    SourceNotFound,
    TruncatedFile,
    UnsupportedFormat,
    WrongFormat,
)

SHARED = Path(__file__).parents[2] / "shared" / "assets"


def glb(length: int | None = None) -> bytes:
    text = json.dumps({"asset": {"version": "2.0"}}).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text)
    header = struct.pack("<4sII", b"glTF", 2, total if length is None else length)
    return header + struct.pack("<I4s", len(text), b"JSON") + text


def binary_stl(triangles: int = 3, header: bytes = b"made by a test") -> bytes:
    return header.ljust(80, b"\0") + struct.pack("<I", triangles) + bytes(50 * triangles)


def zip_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"PXR-USDC" + bytes(100))
    return buffer.getvalue()


ASCII_STL = b"solid cube\n facet normal 0 0 1\n  outer loop\n  endloop\n endfacet\nendsolid cube\n"
GLTF = json.dumps({"asset": {"version": "2.0"}, "meshes": []}).encode()
DAE = b'<?xml version="1.0"?>\n<COLLADA version="1.4.1">\n<asset/>\n</COLLADA>\n'
OBJ = b"# a comment\n\n# another\nmtllib a.mtl\no thing\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
PLY = b"ply\nformat ascii 1.0\nelement vertex 0\nend_header\n"
USDA = b"#usda 1.0\n(\n)\n"
USDC = b"PXR-USDC" + bytes(80)
HTML = b"\n <!DOCTYPE html>\n<html><body>404</body></html>\n"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
JPEG = b"\xff\xd8\xff\xe0" + bytes(64)

GOOD = [
    ("glb", glb()),
    ("gltf", GLTF),
    ("gltf", b"\xef\xbb\xbf" + GLTF),
    ("gltf", b'{"extras": "' + b"x" * 5000 + b'", "asset": {"version": "2.0"}}'),
    ("obj", OBJ),
    ("obj", b"# " + b"c" * 79 + b"\n" + b"# nothing but comments at first\n" * 400 + OBJ),
    ("obj", b"v 0 0 0"),
    ("fbx", b"Kaydara FBX Binary  \x00\x1a\x00" + bytes(40)),
    ("fbx", b"; FBX 7.4.0 project file\n"),
    ("stl", binary_stl()),
    ("stl", binary_stl(0)),
    ("stl", binary_stl(2, b"solid but binary")),
    ("stl", binary_stl(90, b"solid facet")),
    ("stl", ASCII_STL),
    ("stl", ASCII_STL.upper()),
    ("ply", PLY),
    ("ply", PLY.replace(b"\n", b"\r\n")),
    ("abc", b"Ogawa" + bytes(20)),
    ("abc", b"\x89HDF\r\n\x1a\n" + bytes(20)),
    ("usda", USDA),
    ("usdc", USDC),
    ("usdz", zip_of("scene.usdc")),
    ("usdz", zip_of("folder/Scene.USDA")),
    ("usd", USDA),
    ("usd", USDC),
    ("usd", zip_of("scene.usd")),
    ("blend", b"BLENDER-v402" + bytes(20)),
    ("blend", b"\x28\xb5\x2f\xfd" + bytes(20)),
    ("blend", gzip.compress(b"BLENDER-v293")),
    ("dae", DAE),
    ("dae", b"<?xml version='1.0'?>\n<!--" + b"c" * 3000 + b"-->\n" + DAE[22:] + b"\n" * 200),
]


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_there_is_a_good_file_of_every_extension():
    assert {extension for extension, _ in GOOD} == set(EXTENSIONS)


@pytest.mark.parametrize(("extension", "content"), GOOD, ids=lambda item: str(item)[:14])
def test_a_file_is_what_its_name_says_in_any_case(tmp_path: Path, extension: str, content: bytes):
    assert inspect_file(put(tmp_path, f"a b.v1.{extension}", content)) == extension
    assert inspect_file(put(tmp_path, f"UPPER.{extension.upper()}", content)) == extension


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_an_empty_file_is_named(tmp_path: Path, extension: str):
    with pytest.raises(EmptyFile, match=r"a.* is empty"):
        inspect_file(put(tmp_path, f"a.{extension}", b""))


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(SourceNotFound, match=r"missing\.glb does not exist"):
        inspect_file(tmp_path / "missing.glb")


def test_a_folder_is_no_asset(tmp_path: Path):
    (tmp_path / "a.glb").mkdir()
    with pytest.raises(SourceNotFound, match=r"a\.glb is a folder"):
        inspect_file(tmp_path / "a.glb")


def test_a_name_that_no_system_takes_is_not_found(tmp_path: Path):
    with pytest.raises(SourceNotFound):
        inspect_file(tmp_path / ("x" * 5000 + ".glb"))
    with pytest.raises(SourceNotFound):
        inspect_file(tmp_path / "a\0.glb")


@pytest.mark.parametrize("name", ["a.3ds", "a.glb.part", "a", ".glb", "a.zip", "a."])
def test_an_unknown_extension_is_named_with_the_known_ones(tmp_path: Path, name: str):
    with pytest.raises(UnsupportedFormat) as caught:
        inspect_file(put(tmp_path, name, glb()))
    assert "glb" in caught.value.hint


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize(
    ("content", "what"),
    [(HTML, "HTML page"), (LFS, "Git LFS pointer"), (PNG, "PNG image"), (JPEG, "JPEG image"),
     (zip_of("readme.txt"), "zip archive")],
    ids=["html", "lfs", "png", "jpeg", "zip"],
)  # fmt: skip
def test_what_is_no_3d_file_is_called_what_it_is(
    tmp_path: Path, extension: str, content: bytes, what: str
):
    with pytest.raises(WrongFormat) as caught:
        inspect_file(put(tmp_path, f"a.{extension}", content))
    assert what in caught.value.message


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("a.gltf", glb(), ".glb"),
        ("a.glb", GLTF, ".gltf"),
        ("a.obj", PLY, ".ply"),
        ("a.fbx", OBJ, ".obj"),
        ("a.ply", binary_stl(), ".stl"),
        ("a.usda", USDC, ".usdc"),
        ("a.usdc", USDA, ".usda"),
        ("a.usdz", USDC, ".usdc"),
        ("a.abc", b"BLENDER-v402", ".blend"),
        ("a.stl", DAE, ".dae"),
    ],
)
def test_another_format_is_told_apart_with_the_right_name(
    tmp_path: Path, name: str, content: bytes, hint: str
):
    with pytest.raises(WrongFormat) as caught:
        inspect_file(put(tmp_path, name, content))
    assert caught.value.hint == f"Rename it to {hint}."


@pytest.mark.parametrize("extension", sorted({*EXTENSIONS} - {"obj"}))
def test_noise_is_no_3d_file(tmp_path: Path, extension: str):
    noise = bytes(range(1, 256)) * 8
    with pytest.raises(RenderError) as caught:
        inspect_file(put(tmp_path, f"a.{extension}", noise))
    assert isinstance(caught.value, WrongFormat)


CUT = [
    ("a.glb", glb()[:-1]),
    ("a.glb", glb()[:11]),
    ("a.glb", glb(length=1 << 31)),
    ("a.stl", binary_stl(100)[:-1]),
    ("a.stl", binary_stl(100)[:200]),
    ("a.stl", binary_stl(100, b"solid but binary")[:3000]),
    ("a.stl", ASCII_STL[: ASCII_STL.index(b"endfacet")]),
    ("a.gltf", GLTF[:-1]),
    ("a.gltf", (b'{"asset": {}, "extras": "' + b"x" * 9000 + b'"}')[:5000]),
    ("a.dae", DAE[: DAE.index(b"</COLLADA>") + 4]),
    ("a.usdz", zip_of("scene.usdc")[:-30]),
    ("a.usd", zip_of("scene.usdc")[:-30]),
    ("a.usdc", USDC[:40]),
]


@pytest.mark.parametrize(("name", "content"), CUT, ids=lambda item: str(item)[:12])
def test_a_file_that_breaks_off_is_named(tmp_path: Path, name: str, content: bytes):
    with pytest.raises(TruncatedFile) as caught:
        inspect_file(put(tmp_path, name, content))
    assert str(tmp_path / name) in caught.value.message
    assert str(len(content)) in caught.value.message


def test_a_gltf_that_is_no_text_is_of_the_wrong_format(tmp_path: Path):
    with pytest.raises(WrongFormat, match="UTF-8"):
        inspect_file(put(tmp_path, "a.gltf", GLTF[:-1] + b', "extras": "\xff\xfe"}'))


def test_a_link_is_followed(tmp_path: Path):
    put(tmp_path, "content", glb())
    (tmp_path / "link.glb").symlink_to(tmp_path / "content")
    assert inspect_file(tmp_path / "link.glb") == "glb"
    (tmp_path / "dangling.glb").symlink_to(tmp_path / "nowhere")
    with pytest.raises(SourceNotFound):
        inspect_file(tmp_path / "dangling.glb")


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the sample files are not at {SHARED}")
def test_real_files_of_every_kind_are_recognised():
    files = [path for path in SHARED.rglob("[!.]*.*") if path.suffix[1:] in EXTENSIONS]
    assert len(files) > 10
    assert [path for path in files if inspect_file(path) != path.suffix[1:]] == []


def test_a_ply_header_that_blender_dies_of_is_named(tmp_path: Path):
    for old, new in (
        (b"vertex 0", b"vertex 4294967295"), (b"vertex 0", b"vertex -1"),
        (b"vertex 0", b"vertex many"), (b"format ascii", b"fmriat ascii"),
        (b"ascii 1.0", b"binarylkttle 1.0"), (b"end_header", b"x" * 70_000),
        (b"format", b"property float x\nformat"),
    ):  # fmt: skip
        assert old in PLY
        with pytest.raises((WrongFormat, TruncatedFile), match=r"a\.ply has a header"):
            inspect_file(put(tmp_path, "a.ply", PLY.replace(old, new)))
