"""EXR files of a dataset that other programs wrote: tiled, of several parts, packed otherwise."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from analytic import write_asset
from jobs import written

from objaverse_render_addon.dataset import exr
from objaverse_render_addon.dataset.images import read_exr, read_foreign_exr
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.dataset.verify import verify_asset
from objaverse_render_addon.errors import (
    MissingDependency,
    RenderFailed,
    TruncatedFile,
    UnsafeData,
    UnsupportedFormat,
)
from objaverse_render_addon.job import CameraRules, RenderJob

Planes = dict[str, np.ndarray]
PASSES = ("rgb", "depth", "normal", "mask", "object_index")
LOSSLESS = ["NO", "RLE", "ZIPS", "ZIP", "PIZ"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = written(passes=PASSES, geometry="exr", layout="folder", resolution=(40, 32))
    job = RenderJob(cameras=CameraRules(pattern="ring", views=2), **output)
    return write_asset(tmp_path_factory.mktemp("original"), job)


@pytest.fixture
def asset(tmp_path: Path, original: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / original.name))


@pytest.fixture
def planes(asset: Path) -> Planes:
    return exr.read(asset / "000.exr")


def tiles(width: int, height: int) -> Any:
    found = OpenEXR.TileDescription()
    found.xSize, found.ySize = width, height
    return found


def header(compression: str, tiled: bool) -> dict[str, Any]:
    made = {"compression": getattr(OpenEXR, f"{compression}_COMPRESSION")}
    if tiled:
        return {**made, "type": OpenEXR.tiledimage, "tiles": tiles(16, 8)}
    return {**made, "type": OpenEXR.scanlineimage}


def write(path: Path, planes: Planes, compression: str = "PIZ", tiled: bool = True) -> None:
    OpenEXR.File(header(compression, tiled), dict(planes)).write(str(path))


def write_parts(path: Path, parts: dict[str, Planes]) -> None:
    """Scanline and tiled parts in turn, of different compressions."""
    made = [
        OpenEXR.Part(header(("PIZ", "ZIP", "RLE")[at % 3], bool(at % 2)), dict(planes), name)
        for at, (name, planes) in enumerate(parts.items())
    ]
    OpenEXR.File(made).write(str(path))


def read(asset: Path) -> dict[str, np.ndarray]:
    with AssetReader(asset) as reader:
        return reader.read(0)


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, data in expected.items():
        assert found[name].dtype == data.dtype, name
        assert found[name].tobytes() == data.tobytes(), name


@pytest.mark.parametrize("tiled", [False, True], ids=["lines", "tiles"])
@pytest.mark.parametrize("compression", LOSSLESS)
def test_other_kinds_give_the_same_arrays(
    asset: Path, planes: Planes, compression: str, tiled: bool
) -> None:
    expected = read(asset)
    write(asset / "000.exr", planes, compression, tiled)
    (part,) = exr.read_headers(asset / "000.exr")
    ours = not tiled and compression in ("NO", "ZIPS", "ZIP")
    assert bool(part.foreign) == (not ours), "it is read by the OpenEXR package"
    same(read(asset), expected)
    assert verify_asset(asset).ok


def test_what_loses_a_little_is_read_as_it_is(asset: Path, planes: Planes) -> None:
    expected = read(asset)
    for compression in ("DWAA", "DWAB"):
        # These take channels named Y for brightness, and others for numbers.
        write(asset / "000.exr", planes, compression)
        found = read(asset)
        assert 0 < np.abs(found["normal"][..., 1] - expected["normal"][..., 1]).max() < 0.1
        assert found["depth"].tobytes() == expected["depth"].tobytes()
        assert np.array_equal(found["object_index"], expected["object_index"])
    write(asset / "000.exr", planes, "PXR24", tiled=False)
    found = read(asset)
    # 24 of 32 bits of a float, whole numbers in full.
    np.testing.assert_allclose(found["depth"], expected["depth"], rtol=2**-15)
    assert found["depth"].tobytes() != expected["depth"].tobytes()
    assert np.array_equal(found["object_index"], expected["object_index"])
    halves = {n: d.astype(np.float16) if d.dtype.kind == "f" else d for n, d in planes.items()}
    write(asset / "000.exr", halves, "PIZ")
    assert read(asset)["depth"].dtype == np.float32
    np.testing.assert_allclose(read(asset)["depth"], expected["depth"], rtol=2**-10)


@pytest.mark.parametrize("layered", [False, True], ids=["Z", "depth.Z"])
def test_a_part_is_a_layer(asset: Path, planes: Planes, layered: bool) -> None:
    expected = read(asset)
    parts: dict[str, Planes] = {}
    for name, data in planes.items():
        layer, letter = name.split(".")
        parts.setdefault(layer, {})[name if layered else letter] = data
    write_parts(asset / "000.exr", parts)
    assert {part.kind for part in exr.read_headers(asset / "000.exr")} == {
        "scanlineimage", "tiledimage",
    }  # fmt: skip
    same(read(asset), expected)


def test_two_parts_with_the_same_channel_are_not_mixed_up(asset: Path, planes: Planes) -> None:
    write_parts(asset / "000.exr", {"left": planes, "right": planes})
    with pytest.raises(TruncatedFile, match="two parts have a channel"):
        read(asset)


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "among others"])
def test_deep_pixels_are_refused_by_name(asset: Path, planes: Planes, alone: bool) -> None:
    lists = np.empty((32, 40), object)
    for at in range(lists.size):
        lists.flat[at] = np.full(at % 3 + 1, 2, np.float32)
    deep = OpenEXR.Part(
        {"compression": OpenEXR.ZIPS_COMPRESSION, "type": OpenEXR.deepscanline},
        {"Z": lists}, "deep",
    )  # fmt: skip
    flat = OpenEXR.Part(header("ZIP", False), dict(planes), "flat")
    OpenEXR.File([deep] if alone else [flat, deep]).write(str(asset / "000.exr"))
    with pytest.raises(UnsupportedFormat, match=r"000\.exr has deep pixels"):
        read(asset)
    assert any("deep pixels" in line for line in verify_asset(asset).failed)


def test_channels_of_lower_resolution_are_refused_by_name(asset: Path, planes: Planes) -> None:
    path = asset / "000.exr"
    write(path, planes, "NO", tiled=False)
    # Sampling of the first channel, behind its name, type and linearity.
    data = bytearray(path.read_bytes())
    at = data.index(b"chlist\0") + 11
    at = data.index(b"\0", at) + 1 + 8
    assert struct.unpack_from("<ii", data, at) == (1, 1)
    struct.pack_into("<ii", data, at, 2, 2)
    path.write_bytes(data)
    with pytest.raises(UnsupportedFormat, match="lower resolution"):
        read(asset)


@pytest.mark.parametrize("kind", ["piz", "tiles", "parts"])
def test_what_breaks_off_is_named_wherever_it_does(
    asset: Path, planes: Planes, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = asset / "000.exr"
    if kind == "parts":
        write_parts(path, {"a": {"depth.Z": planes["depth.Z"]}, "b": {"mask.V": planes["mask.V"]}})
    else:
        write(path, planes, "PIZ" if kind == "piz" else "ZIP", tiled=kind == "tiles")
    whole = path.read_bytes()
    lengths = [*range(0, len(whole), max(1, len(whole) // 40)), len(whole) - 1]
    for length in lengths:
        path.write_bytes(whole[:length])
        with pytest.raises(TruncatedFile, match=r"000\.exr is not a whole EXR"):
            read(asset)
    capfd.readouterr()  # The package warns, too.


def test_sizes_are_believed_before_the_package_sees_the_file(
    asset: Path, planes: Planes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = asset / "000.exr"
    write(path, planes)
    whole = path.read_bytes()
    monkeypatch.setattr(OpenEXR, "File", None)
    window, tile = struct.pack("<4i", 0, 0, 39, 31), struct.pack("<II", 16, 8)
    assert (whole.count(window), whole.count(tile)) == (2, 1)
    for old, new in (
        (window, struct.pack("<4i", 0, 0, 1 << 30, 1 << 20)),
        (window, struct.pack("<4i", 0, 0, 40, 31)),
        (tile, struct.pack("<II", 2**31 - 1, 2**31 - 1)),
    ):
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(UnsafeData, match="pixels"):
            read(asset)


def test_many_channels_in_many_parts_are_too_many(asset: Path) -> None:
    plane = {"Z": np.zeros((32, 40), np.float32)}
    write_parts(asset / "000.exr", {f"part{n}": plane for n in range(65)})
    with pytest.raises(UnsafeData, match="65 channels"):
        read(asset)


def test_values_that_a_pass_cannot_have_are_no_values(asset: Path, planes: Planes) -> None:
    for name, value in (("object_index.V", 1 << 16), ("mask.V", 0.5), ("mask.V", np.nan)):
        dtype = np.uint32 if isinstance(value, int) else np.float32
        changed = {**planes, name: np.full((32, 40), value, dtype)}
        write(asset / "000.exr", changed)
        with pytest.raises(TruncatedFile, match="has values that no"):
            read(asset)


def test_blenders_own_reader_leaves_them_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    write(path, {"depth.Z": np.ones((9, 9), np.float32)})
    with pytest.raises(RenderFailed, match=r"a\.exr.*tiledimage"):
        read_exr(path)


def test_without_the_package_the_way_out_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.exr"
    write(path, {"depth.Z": np.ones((9, 9), np.float32)})
    parts = exr.read_headers(path)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "OpenEXR", None)
        with pytest.raises(MissingDependency, match=r"need the OpenEXR package.*pip install"):
            read_foreign_exr(path, parts)
    # Inside an installed Blender it is not even looked for.
    blender = types.ModuleType("bpy")
    blender.app = types.SimpleNamespace(binary_path="/usr/bin/blender")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bpy", blender)
    with pytest.raises(MissingDependency, match="not read inside Blender"):
        read_foreign_exr(path, parts)


def test_reading_what_blender_writes_does_not_load_the_package(asset: Path) -> None:
    code = (
        "import sys\n"
        "from objaverse_render_addon.dataset.reader import AssetReader\n"
        f"with AssetReader({str(asset)!r}) as reader: reader.read(0)\n"
        "print('OpenEXR' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent.parent, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "False"
