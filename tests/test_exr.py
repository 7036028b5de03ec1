"""Our EXR files against the OpenEXR package: each reads what the other wrote."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import OpenEXR
import pytest

from objaverse_render_addon.dataset import exr

SIZES = [(1, 1), (5, 7), (16, 33), (17, 3), (64, 40)]


def planes(size: tuple[int, int]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(sum(size))
    smooth = np.linspace(-1, 1, size[0] * size[1]).reshape(size)
    return {
        "Depth.Z": (random.normal(size=size) * 1e10).astype(np.float32),
        "A": smooth.astype(np.float32),
        "half.R": smooth.astype(np.float16),
        "Index.V": random.integers(0, 2**32, size, dtype=np.uint32),
        "flat": np.zeros(size, np.float32),
    }


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, data in expected.items():
        assert found[name].dtype == data.dtype, name
        assert found[name].tobytes() == data.tobytes(), name


@pytest.mark.parametrize("size", SIZES)
def test_openexr_reads_what_we_write(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "a.exr"
    long = "an.attribute.whose.name.is.longer.than.31.letters"
    exr.write(path, planes(size), {"comments": "größer", long: "x"})
    file = OpenEXR.File(str(path), separate_channels=True)
    same({name: channel.pixels for name, channel in file.channels().items()}, planes(size))
    assert file.header()[long] == "x"
    assert file.header()["compression"] == OpenEXR.ZIP_COMPRESSION
    same(exr.read(path), planes(size))
    assert exr.read_headers(path)[0].notes["comments"] == "größer"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("change", ["none", "swapped", "row", "outside"])
def test_lines_in_any_order_are_put_right(
    tmp_path: Path, size: tuple[int, int], change: str
) -> None:
    path = tmp_path / "a.exr"
    header = {"compression": OpenEXR.NO_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, planes(size)).write(str(path))
    data = bytearray(path.read_bytes())
    _, table, _ = exr._headers(bytes(data))
    height = size[0]
    first, last = (
        struct.unpack_from("<Q", data, table + 8 * at)[0] for at in (0, height - 1)
    )
    if change == "swapped":
        # The first line lies where the last did, and says so, in the table or not.
        block = (last - first) // max(1, height - 1) if height > 1 else 0
        data[first : first + block], data[last : last + block] = (
            data[last : last + block], data[first : first + block],
        )  # fmt: skip
    elif change == "row":
        struct.pack_into("<i", data, last, height)
    elif change == "outside":
        struct.pack_into("<Q", data, table + 8 * (height - 1), len(data) - 4)
    path.write_bytes(data)
    if change in ("none", "swapped"):
        same(exr.read(path), planes(size))
    else:
        with pytest.raises(exr.BrokenExr):
            exr.read(path)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["NO", "ZIPS", "ZIP"])
def test_we_read_what_openexr_writes(tmp_path: Path, size: tuple[int, int], name: str) -> None:
    path = tmp_path / "a.exr"
    kind = getattr(OpenEXR, f"{name}_COMPRESSION")
    header = {"compression": kind, "type": OpenEXR.scanlineimage, "comments": "hello"}
    OpenEXR.File(header, planes(size)).write(str(path))
    same(exr.read(path), planes(size))
    assert exr.read_headers(path)[0].notes["comments"] == "hello"


def test_every_part_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    parts = [
        OpenEXR.Part(
            {"compression": OpenEXR.NO_COMPRESSION, "type": OpenEXR.scanlineimage},
            {f"{name}.Z": np.full((9, 4), value, np.float32)},
            name,
        )
        for value, name in enumerate(("first", "second"))
    ]
    OpenEXR.File(parts).write(str(path))
    found = exr.read(path)
    assert {name: data.max() for name, data in found.items()} == {"first.Z": 0, "second.Z": 1}


def test_other_compressions_are_left_to_others(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    header = {"compression": OpenEXR.PIZ_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, planes((8, 8))).write(str(path))
    with pytest.raises(exr.Unsupported):
        exr.read(path)


def test_what_is_not_whole_is_broken(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.exr", tmp_path / "a.exr"
    exr.write(whole, planes((40, 9)), {})
    content = whole.read_bytes()
    for length in range(0, len(content), 37):
        path.write_bytes(content[:length])
        with pytest.raises(exr.BrokenExr):
            exr.read(path)


def test_a_block_that_unpacks_to_more_than_its_lines_is_refused_early(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    exr.write(path, {"A": np.zeros((16, 512), np.float32)}, {})
    data = path.read_bytes()
    bomb = zlib.compress(bytes(1 << 28), 9)
    # The only block stands at the end: its first row, its size, its content.
    packed = next(n for n in range(8, len(data)) if data[-n - 4 : -n] == struct.pack("<i", n))
    head = data[: -packed - 4]
    path.write_bytes(head + struct.pack("<i", len(bomb)) + bomb)
    tracemalloc.start()
    with pytest.raises(exr.BrokenExr, match="another size"):
        exr.read(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 24


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["NO", "ZIP"])
def test_numbers_beyond_reason_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.exr"
    kind = getattr(OpenEXR, f"{name}_COMPRESSION")
    OpenEXR.File({"compression": kind, "type": OpenEXR.scanlineimage}, planes((64, 40))).write(
        str(path)
    )
    good = path.read_bytes()
    _, table, _ = exr._headers(good)
    window = good.index(b"dataWindow\0box2i\0") + 21
    for offset in (2**64 - 1, 2**63, 2**63 - 1, 0):
        data = bytearray(good)
        struct.pack_into("<Q", data, table, offset)
        path.write_bytes(data)
        with pytest.raises(exr.BrokenExr):
            exr.read(path)
    for right, bottom in ((2**31 - 1, 63), (39, 2**31 - 1), (2**20, 2**20)):
        data = bytearray(good)
        struct.pack_into("<4i", data, window, 0, 0, right, bottom)
        path.write_bytes(data)
        with pytest.raises(exr.BrokenExr):
            exr.read(path)


def test_what_is_read_can_be_written_to(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    for size in ((1, 9), (9, 9)):
        header = {"compression": OpenEXR.NO_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, {"V": np.ones(size, np.float32)}).write(str(path))
        exr.read(path)["V"][:] = 2
