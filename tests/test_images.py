from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from objaverse_render_addon.dataset.images import (
    check_png,
    encode_png,
    encode_srgb8,
    half_floats,
    read_exr,
    read_png,
    write_exr,
)
from objaverse_render_addon.errors import MissingDependency, RenderFailed


def linear(*pixels: tuple[float, float, float, float]) -> np.ndarray:
    return np.array([pixels], dtype=np.float32)


# --- Colour ---------------------------------------------------------------------------------


def test_a_known_colour_is_what_blenders_standard_transform_makes_of_it():
    # Measured with save_render of Blender 4.2 and 5.2, dither on and off.
    assert encode_srgb8(linear((0.5, 0.2, 0.05, 1)))[0, 0].tolist() == [188, 124, 63, 255]


def test_black_white_and_beyond():
    pixels = encode_srgb8(linear((0, 0, 0, 1), (1, 1, 1, 1), (7, -1, 0.001, 1)))[0]
    assert pixels.tolist() == [[0, 0, 0, 255], [255, 255, 255, 255], [255, 0, 3, 255]]


def test_the_transfer_function_is_that_of_the_standard():
    values = np.linspace(0, 1, 256, dtype=np.float32)
    image = np.stack([values, values, values, np.ones_like(values)], axis=-1)[None]
    encoded = encode_srgb8(image)[0, :, 0] / 255
    decoded = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    assert np.abs(decoded - values).max() < 0.0045
    assert (np.diff(encoded) >= 0).all()


def test_colour_is_straight_where_alpha_is_partial():
    opaque = encode_srgb8(linear((0.5, 0.2, 0.05, 1)))[0, 0]
    half = encode_srgb8(linear((0.25, 0.1, 0.025, 0.5)))[0, 0]
    assert half[:3].tolist() == opaque[:3].tolist()
    assert half[3] == 128


def test_nothing_is_transparent_black():
    pixels = encode_srgb8(linear((0, 0, 0, 0), (0.5, 0.5, 0.5, 0), (0.5, 0.5, 0.5, -1)))
    assert not pixels.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_number_becomes_a_number_and_spoils_only_its_own_channel(bad: float):
    pixels = encode_srgb8(linear((bad, 0.2, 0.05, 1), (0.5, 0.2, 0.05, bad), (0.5, 0.2, 0.05, 1)))
    assert pixels[0, 0].tolist() == [255 if bad == np.inf else 0, 124, 63, 255]
    assert pixels[0, 1, 3] == (255 if bad == np.inf else 0)
    assert pixels[0, 2].tolist() == [188, 124, 63, 255]


# --- PNG ------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (5, 3), (37, 64), (64, 37)])
def test_pillow_reads_back_exactly_what_was_encoded(channels: int, size: tuple[int, int]):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, channels), dtype=np.uint8)
    data = encode_png(pixels)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == ("RGB" if channels == 3 else "RGBA")
        image.load()
        assert np.array_equal(np.asarray(image), pixels)
    assert np.array_equal(read_png(data), pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (37, 64)])
def test_grey_data_come_back_exactly_and_are_not_called_colour(dtype: type, size: tuple[int, int]):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, size, dtype=dtype)
    for given in (pixels, pixels[::-1, ::-1], np.asfortranarray(pixels)):
        data = encode_png(given)
        assert b"sRGB" not in data[:60]
        with Image.open(io.BytesIO(data)) as image:
            assert image.mode == ("L" if dtype is np.uint8 else "I;16")
            assert np.array_equal(np.asarray(image), given)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_whole_png_is_known_without_decoding_and_no_flipped_bit_passes(channels: int):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, channels), dtype=np.uint8)
    data = encode_png(pixels)
    assert check_png(data) == (3, 5, channels)
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 4
        for read in (check_png, read_png):
            with pytest.raises(ValueError, match=r"it |wrong|bit depth|no PNG"):
                read(bytes(broken))
    for length in range(len(data)):
        with pytest.raises(ValueError, match=r"it |wrong|bit depth|no PNG"):
            check_png(data[:length])


def test_a_view_of_an_array_is_encoded_like_its_copy():
    pixels = np.random.default_rng(1).integers(0, 256, (20, 20, 4), dtype=np.uint8)
    view = pixels[::-2, 3::2, :3]
    assert encode_png(view) == encode_png(view.copy())


def test_png_chunks_are_whole_and_say_srgb():
    data = encode_png(np.zeros((2, 3, 3), np.uint8))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    position, kinds = 8, []
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        body = data[position + 4 : position + 8 + length]
        assert struct.unpack_from(">I", data, position + 8 + length)[0] == zlib.crc32(body)
        kinds.append(body[:4])
        position += 12 + length
    assert kinds == [b"IHDR", b"sRGB", b"IDAT", b"IEND"]


# --- EXR ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (33, 16), (64, 64)])
def test_exr_keeps_every_bit(tmp_path: Path, size: tuple[int, int]):
    random = np.random.default_rng(2)
    floats = random.normal(size=size).astype(np.float32) * np.float32(1e10)
    floats.flat[0] = np.finfo(np.float32).tiny
    whole = random.integers(0, 2**32, size, dtype=np.uint32)
    whole.flat[-1] = 2**32 - 1
    channels = {"depth.Z": floats, "mask.V": whole, "normal.X": floats[::-1, ::-1]}
    path = tmp_path / "a.exr"
    write_exr(path, channels, {"comments": "made by a test"})
    found = read_exr(path)
    assert set(found) == set(channels)
    for name, data in channels.items():
        assert found[name].dtype == data.dtype
        assert np.array_equal(found[name], data), name


def test_a_missing_exr_is_named(tmp_path: Path):
    with pytest.raises(RenderFailed, match=r"missing\.exr"):
        read_exr(tmp_path / "missing.exr")


@pytest.mark.parametrize("keep", [0.0, 0.05, 0.6])
def test_an_exr_that_breaks_off_is_named(tmp_path: Path, keep: float):
    path = tmp_path / "a.exr"
    data = np.random.default_rng(3).random((64, 64)).astype(np.float32)
    write_exr(path, {"depth.Z": data}, {})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(RenderFailed, match=r"a\.exr is not a whole EXR"):
        read_exr(path)


# --- Without Pillow, as inside Blender ------------------------------------------------------


@pytest.mark.parametrize("channels", [3, 4])
def test_our_own_png_is_read_without_pillow(monkeypatch: pytest.MonkeyPatch, channels: int):
    monkeypatch.setitem(sys.modules, "PIL", None)
    pixels = np.random.default_rng(1).integers(0, 256, (37, 53, channels), dtype=np.uint8)
    assert (read_png(encode_png(pixels)) == pixels).all()


def test_another_programs_png_needs_pillow_and_says_so(monkeypatch: pytest.MonkeyPatch):
    buffer = io.BytesIO()
    ramp = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    Image.fromarray(ramp).save(buffer, "PNG")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependency, match="Pillow"):
        read_png(buffer.getvalue())


def test_a_short_png_is_refused_without_pillow(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    data = encode_png(np.zeros((8, 8, 4), np.uint8))
    small = data[:16] + struct.pack(">II", 8, 9999) + data[24:29]
    small += struct.pack(">I", zlib.crc32(small[12:29])) + data[33:]
    with pytest.raises(ValueError, match="less than its header"):
        read_png(small)


def test_half_floats_are_the_nearest_and_never_infinite():
    light = np.array([0.1, 1 + 2**-11, 65519, 65520, 1e9, np.inf, -np.inf, np.nan, 6e-8, -3])
    found = half_floats(light.astype(np.float32))
    assert found.dtype == np.float16
    largest = 65504
    assert found[3:8].tolist() == [largest, largest, largest, -largest, 0]
    finite = np.array([0, 1, 2, 8, 9])
    assert (found[finite] == light[finite].astype(np.float32).astype(np.float16)).all()
