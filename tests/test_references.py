"""What an asset refers to, and which of it is its own."""

from __future__ import annotations

import gzip
import json
import os
import random
import struct
import zipfile
from pathlib import Path

import pytest

from objaverse_render_addon.assets.formats import inspect_file
from objaverse_render_addon.assets.reach import Reach
from objaverse_render_addon.assets.references import look, usd
from objaverse_render_addon.errors import RenderError, UnsafeData, WrongFormat


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An asset's folder, with something of everything in it and around it."""
    own = tmp_path / "own"
    for path in ("own/textures/a.png", "own/my tex.png", "own/.ssh/key", "other/secret.png",
                 "own/tex.1001.png", "own/tex.1002.png"):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"content")
    (own / "out.png").symlink_to(tmp_path / "other" / "secret.png")
    (own / "out").symlink_to(tmp_path / "other")
    (own / "near.png").symlink_to(own / "my tex.png")
    os.mkfifo(own / "pipe")
    with (own / "huge.bin").open("wb") as file:
        file.truncate((8 << 30) + 1)
    return own


def test_the_rule(folder: Path) -> None:
    reach = Reach.of(folder / "asset.obj")

    def ask(reference: str, base: Path = folder) -> str:
        part = reach.resolve(reference, base)
        return part.refused or (part.path.name if part.path else "not there")

    for reference, expected in {
        "my tex.png": "my tex.png", "./textures/a.png": "a.png", r"textures\a.png": "a.png",
        "textures/../my tex.png": "my tex.png", "near.png": "my tex.png",
        str(folder / "my tex.png"): "my tex.png", "../own/my tex.png": "my tex.png",
        "none.png": "not there", r"C:\Users\somebody\a.png": "not there", "textures": "is no",
        "../other/secret.png": "lies outside", r"..\other\secret.png": "lies outside",
        "/etc/passwd": "lies outside", "/proc/self/environ": "lies outside",
        "/dev/zero": "lies outside", "textures/../../other/secret.png": "lies outside",
        "/nothing/is/here": "lies outside", "..": "lies outside",
        "out.png": "leads outside", "out/secret.png": "leads outside",
        "out/../own/my tex.png": "", "pipe": "is no", "huge.bin": "is larger",
        ".ssh/key": "is hidden", r"\\server\share\a.png": "is on another",
        "//server/share/a.png": "is on another", "http://host/a.png": "is an address",
        "file:///etc/passwd": "is an address", "FILE:/etc/passwd": "is an address",
        "a\0b": "is no path", "x" * 5000: "is no path",
    }.items():  # fmt: skip
        assert ask(reference).startswith(expected), (reference, ask(reference))
    assert ask("../my tex.png", folder / "textures") == "my tex.png"
    assert ask("a.png", folder / "textures") == "a.png"
    # Its owner may widen it, and a link that leads there leads to what is allowed.
    reach = Reach.of(folder / "asset.obj", [folder.parent / "other"])
    for reference in ("../other/secret.png", str(folder.parent / "other/secret.png"), "out.png"):
        assert ask(reference) == "secret.png", reference
    assert ask("../own") == "is no regular file"
    assert reach.tiles("tex.<UDIM>.png", folder) == ["tex.1001.png", "tex.1002.png"]
    assert reach.tiles("../../tex.<UDIM>.png", folder) == ["../../tex.<UDIM>.png"]
    assert reach.tiles("tex.png", folder) is None


def test_nothing_is_asked_about_what_lies_outside(folder: Path, monkeypatch) -> None:
    asked = []
    real = os.lstat

    def lstat(path, *args, **kwargs):
        asked.append(os.fspath(path))
        return real(path, *args, **kwargs)

    reach = Reach.of(folder / "asset.obj")
    monkeypatch.setattr(os, "lstat", lstat)
    for reference in ("/etc/passwd", "../other/secret.png", "//server/share", "http://x/y"):
        assert reach.resolve(reference, folder).refused
    assert asked == []


def layer(folder: Path, text: str) -> tuple[dict[str, str], str]:
    path = folder / "layer.usda"
    path.write_text(f"#usda 1.0\n{text}")
    found = look(path, "usda", Reach.of(path))
    return found.missing, found.copies.get(path, b"").decode()


def test_text_layers(folder: Path) -> None:
    (folder / "part.usda").write_text('#usda 1.0\ndef "X" (references = @/outside/deep.usd@) {}')
    (folder / "m.mtlx").write_text('<materialx><input value="../other/secret.png"/></materialx>')
    for text, expected in {
        "asset a = @./textures/a.png@": [],
        "asset a = @tex.<UDIM>.png@": [],
        'string a = "mail me@home or you@/home/x"': [],
        "rel a = </World/A>": [],
        "asset a = @/outside/a.png@": ["/outside/a.png"],
        "asset a = @@@/outside/a@b.png@@@": ["/outside/a@b.png"],
        'doc = "one @ sign"\nasset a = @../other/secret.png@': ["../other/secret.png"],
        "asset[] a = [@textures/a.png@, @/outside/b.png@]": ["/outside/b.png"],
        "/* \" */ asset a = @/outside/c.png@ /* \" */": ["/outside/c.png"],
        "references = @part.usda@": ["/outside/deep.usd"],
        "references = @m.mtlx@": ["../other/secret.png"],
        "references = @gone.usda@": ["gone.usda"],
        "references = @out.png@": ["out.png"],
        "payload = @`\"${X}/a.usd\"`@": ["`\"${X}/a.usd\"`"],
        'string templateAssetPath = "/outside/clip.###.usd"': ["templateAssetPath"],
        "asset a = @/outside/p.usdz[a.usda]@": ["/outside/p.usdz"],
    }.items():  # fmt: skip
        missing, copy = layer(folder, text)
        assert list(missing) == expected, text
        for reference in missing:
            assert f"@{reference}" not in copy


def crate(tokens: list[bytes], version: tuple[int, int, int] = (0, 8, 0)) -> bytes:
    """A USD crate that has nothing but a table of words."""
    table = b"".join(token + b"\0" for token in tokens)
    packed = usd._lz4_stored(table)
    section = struct.pack("<QQQ", len(tokens), len(table), len(packed)) + packed
    if version < (0, 4, 0):
        section = struct.pack("<QQ", len(tokens), len(table)) + table
    contents = struct.pack("<Q16sqq", 1, b"TOKENS", 88, len(section))
    head = b"PXR-USDC" + bytes([*version, 0, 0, 0, 0, 0]) + struct.pack("<q", 88 + len(section))
    return head.ljust(88, b"\0") + section + contents


@pytest.mark.parametrize("version", [(0, 0, 1), (0, 8, 0)])
def test_crates(folder: Path, version: tuple[int, int, int]) -> None:
    path = folder / "layer.usdc"
    words = [b"World", b"inputs:file", b"xformOp:translate", b"a longer text, of a document: x/y.",
             b"textures/a.png", b"/World/Looks", b"pipe", b"x" * 70_000]  # fmt: skip
    bad = [b"/outside/a.png", b"../other/secret.png", b"templateAssetPath", b"out.png", b"out"]
    path.write_bytes(crate([*words, *bad], version))
    found = look(path, "usdc", Reach.of(path))
    assert {*found.missing} == {*(word.decode() for word in bad), "pipe"}
    path.write_bytes(found.copies[path])
    assert look(path, "usdc", Reach.of(path)).copies == {}
    words.remove(b"pipe")
    path.write_bytes(crate(words[:-2], version))
    assert look(path, "usdc", Reach.of(path)).missing == {}


def test_lz4_as_others_write_it() -> None:
    # Literals, a match that overlaps itself, and the last literals; from the format's description.
    block = bytes([0x1F]) + b"a" + struct.pack("<H", 1) + bytes([5]) + bytes([0x50]) + b"bcdef"
    assert usd._lz4(memoryview(block), 1000) == b"a" * (1 + 4 + 15 + 5) + b"bcdef"
    for size in (0, 1, 14, 15, 16, 269, 270, 271, 70_000):
        data = random.Random(size).randbytes(size)
        assert usd._fast_decompress(usd._lz4_stored(data), size) == data


def test_packages_in_packages(folder: Path) -> None:
    inner = folder / "inner.usdz"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.usda", "#usda 1.0\nasset a = @/outside/a.png@")
    path = folder / "outer.usdz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("root.usda", "#usda 1.0\nreferences = @inner.usdz@\nasset a = @b/c.png@")
        archive.writestr("inner.usdz", inner.read_bytes())
        archive.writestr("b/c.png", b"x")
    found = look(path, "usdz", Reach.of(path))
    assert list(found.missing) == ["/outside/a.png"]
    room = found.room(path, folder / "room")
    assert room.name == "root.usda" and (room.parent / "b" / "c.png").read_bytes() == b"x"
    with zipfile.ZipFile(room.parent / "inner.usdz") as archive:
        assert b"outside" not in archive.read("a.usda")


def test_strides_beyond_the_format_are_refused(folder: Path) -> None:
    path = folder / "a.gltf"
    for stride in (-12, 1 << 40, "12", 1.5):
        path.write_text(json.dumps({"bufferViews": [{"byteStride": stride}]}))
        with pytest.raises(UnsafeData, match="byteStride"):
            look(path, "gltf", Reach.of(path))
    path.write_text(json.dumps({"bufferViews": [{"byteStride": 12}, {}]}))
    assert look(path, "gltf", Reach.of(path)).copies == {}
    path.write_text("[" * 100_000)
    with pytest.raises(WrongFormat):
        look(path, "gltf", Reach.of(path))


def test_whatever_is_in_a_file_only_named_errors_come_out(folder: Path) -> None:
    draw = random.Random(1)
    seeds = {
        "gltf": b'{"buffers": [{"uri": "../x"}], "images": [{"uri": "a.png"}, 3]}',
        "obj": b"mtllib my.mtl\nv 0 0 0\n", "usda": b"#usda 1.0\nasset a = @../x@",
        "usdc": crate([b"World", b"../x.png"]),
        "fbx": b"Kaydara FBX Binary  \0\x1a\0FileNameS" + struct.pack("<I", 8) + b"/a/b.png",
        "dae": b"<COLLADA><init_from>a.png</init_from></COLLADA>",
        "blend": b"BLENDER-v402LI\0\0\x08\0\0\0" + bytes(16) + b"DNA1SDNANAME" + bytes(40),
    }  # fmt: skip
    (folder / "my.mtl").write_text("map_Kd -o 1 ../x.png\n")
    for kind, seed in seeds.items():
        for _ in range(150):
            data = bytearray(seed)
            for _ in range(draw.randint(1, 6)):
                data[draw.randrange(len(data))] = draw.randrange(256)
            path = folder / f"mutant.{kind}"
            path.write_bytes(data[: draw.randint(1, len(data))] if draw.random() < 0.3 else data)
            try:
                found = look(path, kind, Reach.of(path))
            except RenderError:
                continue
            for content in found.copies.values():
                assert isinstance(content, bytes)


def test_damage_in_compression_and_archives_is_named(folder: Path) -> None:
    blend = folder / "damaged.blend"
    packed = bytearray(gzip.compress(b"BLENDER-v402" + bytes(range(256)) * 40))
    packed[20:60] = b"\xff" * 40
    blend.write_bytes(packed)
    package = folder / "damaged.usdz"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("root.usda", b"#usda 1.0\n")
    data = bytearray(package.read_bytes())
    # The directory is said to begin later than it does: the first file begins before the archive.
    (start,) = struct.unpack_from("<I", data, len(data) - 6)
    struct.pack_into("<I", data, len(data) - 6, start + 10)
    package.write_bytes(data)
    for path in (blend, package):
        with pytest.raises(WrongFormat, match=path.name):
            look(path, path.suffix[1:], Reach.of(path))
    # Of another kind: a directory that cannot be read, and no layer comes first.
    data = bytearray(package.read_bytes().replace(b"root.usda", b"root.jpeg"))
    data[data.rfind(b"PK\1\2") + 6] = 99
    package.write_bytes(data)
    with pytest.raises(WrongFormat, match=package.name):
        inspect_file(package)


@pytest.mark.parametrize("name", ["out.png", "pipe.png", "huge.bin"])
def test_what_lies_beside_and_is_not_the_assets_is_not_there_in_its_copy(
    folder: Path, name: str
) -> None:
    """The name stays the same, so only the place can change."""
    if name == "pipe.png":
        os.mkfifo(folder / name)
    path = folder / "a.obj"
    path.write_text("mtllib a.mtl\nv 0 0 0\n")
    (folder / "a.mtl").write_text(f"newmtl m\nmap_Kd {name}\n")
    found = look(path, "obj", Reach.of(path))
    assert list(found.missing) == [name]
    copy = found.room(path, folder.parent / "room")
    assert copy != path and (copy.parent / "a.mtl").is_file()
    assert not os.path.lexists(copy.parent / name)
    # A package looks for what it lacks beside it.
    package = folder / "a.usdz"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("root.usda", f"#usda 1.0\ndef Shader \"T\" {{ asset file = @{name}@ }}")
    found = look(package, "usdz", Reach.of(package))
    assert list(found.missing) == [name]
    assert b"@" + name.encode() not in found.copies[folder / "a" / "root.usda"]
