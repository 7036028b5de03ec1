"""Pixels on disk: EXR, 8-bit PNG.

This module runs inside Blender's own Python too, which has numpy but no imaging library; PNG is
therefore encoded here, in the few lines that it takes. Reading PNG happens outside Blender and is
Pillow's work.
"""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import MissingDependency, RenderFailed
from . import exr

__all__ = [
    "check_png",
    "composite",
    "cycles_seconds",
    "encode_png",
    "encode_srgb8",
    "half_floats",
    "over",
    "read_exr",
    "read_foreign_exr",
    "read_png",
    "srgb_curve",
    "write_exr",
]

PNG_LEVEL = 4


def read_exr(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Every channel of every part of an EXR file, by its full name (``"normal.X"``).

    For what Blender and this package write; :func:`read_foreign_exr` reads the rest.

    Returns:
        Name to (H, W) arrays in the file's own dtype.

    Raises:
        RenderFailed: The file is not there, is not whole, or of a kind that others write.
    """
    if not path.is_file():
        raise RenderFailed(f"Blender wrote no image at {path}.")
    try:
        channels = exr.read(path)
    except (exr.BrokenExr, exr.Unsupported, OSError) as error:
        raise RenderFailed(f"{path} is not a whole EXR image: {error}.") from error
    if not channels:
        raise RenderFailed(f"{path} is not a whole EXR image: its pixels cannot be read.")
    return channels


def read_foreign_exr(path: Path, parts: Sequence[exr.Part]) -> dict[str, npt.NDArray[Any]]:
    """The same of a file that is tiled or compressed as others do it, by the OpenEXR package.

    Args:
        parts: Its headers (:func:`exr.read_headers`), whose sizes the caller believes. Pixels that
            are lists of samples and channels of lower resolution are not for this function.

    Raises:
        exr.BrokenExr: It is not whole.
        MissingDependency: The package is not here, or must not be used here.
    """
    package = _openexr()
    try:
        file = package.File(str(path), separate_channels=True)
        found = [
            {name: channel.pixels for name, channel in part.channels.items()}
            for part in file.parts
        ]
    except (RuntimeError, ValueError, TypeError) as error:
        raise exr.BrokenExr(str(error)) from error
    # Of a part whose pixels it cannot read the package warns, and leaves it out.
    if len(found) != len(parts):
        raise exr.BrokenExr(f"{len(found)} of {len(parts)} parts can be read")
    channels: dict[str, npt.NDArray[Any]] = {}
    for part, planes in zip(parts, found, strict=True):
        for name, dtype in part.channels.items():
            plane = planes.get(name)
            if plane is None or plane.shape != part.size or plane.dtype != dtype:
                raise exr.BrokenExr(f"the channel {part.full(name)} cannot be read")
            channels[part.full(name)] = plane
    return channels


def cycles_seconds(path: Path) -> float:
    """Seconds of sampling and denoising that Cycles wrote into a render's header.

    Returns:
        To a hundredth, rounded down; 0 where another engine rendered.
    """
    for name, value in exr.read_headers(path)[0].notes.items():
        if name.startswith("cycles.") and name.endswith(".render_time"):
            seconds = 0.0
            for part in value.split(":"):
                seconds = seconds * 60 + float(part)
            return seconds
    return 0.0


def write_exr(path: Path, channels: dict[str, npt.NDArray[Any]], notes: dict[str, str]) -> None:
    """Write float32 and uint32 channels losslessly (ZIP), with ``notes`` in the header.

    Args:
        channels: Name to plane, (H, W), all of one size.
    """
    exr.write(path, channels, notes)


def srgb_curve(linear: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Linear light in 0..1, any shape, encoded as sRGB (IEC 61966-2-1) in 0..1."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def over(
    color: npt.NDArray[Any], alpha: npt.NDArray[np.floating[Any]], background: Any
) -> npt.NDArray[np.floating[Any]]:
    """Straight colour over a background, mixed in display space as the usual loaders do it.

    Args:
        color: Any shape and range.
        alpha: 0..1, of a shape that fits.
        background: In the colour's range, of a shape that fits.
    """
    return np.asarray(color * alpha + background * (1.0 - alpha))


def composite(pixels: npt.NDArray[np.uint8], background: Any) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 of (H, W, 4) with straight alpha over a background.

    Args:
        background: sRGB in 0..1: one colour (3,), or a picture (H, W, 3) or (H, W, 1).
    """
    alpha = pixels[..., 3:].astype(np.float32) / 255.0
    mixed = over(pixels[..., :3], alpha, np.asarray(background, dtype=np.float32) * 255.0)
    return (mixed + 0.5).astype(np.uint8)


def encode_srgb8(linear: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """8-bit sRGB with straight alpha from premultiplied linear light.

    The transfer function of IEC 61966-2-1, which is what Blender's Standard view transform
    applies; alpha is divided out before it, as Blender does for PNG.

    Args:
        linear: (H, W, 4) float32, scene-referred Rec. 709 primaries.

    Returns:
        (H, W, 4) uint8; colour is 0 where alpha is 0.
    """
    pixels = np.zeros(linear.shape, dtype=np.uint8)
    # Most of a picture is empty.
    seen = linear[..., 3] > 0
    some = linear[seen]
    alpha = np.minimum(some[:, 3:], 1.0)
    with np.errstate(invalid="ignore", over="ignore"):
        color = some[:, :3] / alpha
    color = np.clip(np.nan_to_num(color, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
    straight = np.concatenate([srgb_curve(color), alpha], axis=1)
    bytes_ = (straight * 255.0 + 0.5).astype(np.uint8)
    # Dividing by an alpha that rounds to 0 makes colour out of rounding errors.
    bytes_[bytes_[:, 3] == 0] = 0
    pixels[seen] = bytes_
    return pixels


def half_floats(linear: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Each number as the nearest of 16 bits; those beyond the largest become that, 65504.

    Args:
        linear: Any shape. What is no number becomes 0, as :func:`encode_srgb8` makes it black.
    """
    largest = float(np.finfo(np.float16).max)
    return np.clip(np.nan_to_num(linear, nan=0.0), -largest, largest).astype(np.float16)


def encode_png(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> bytes:
    """PNG bytes (W3C PNG, third edition).

    Args:
        pixels: (H, W, 3) or (H, W, 4) uint8 colour, tagged as sRGB; or (H, W) uint8 or uint16
            data, a grey image without a tag.
    """
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype == np.uint16:
        pixels = pixels.astype(">u2", order="C").view(np.uint8)
    # Filter 2 (up): each byte minus the one above it. Cheap in numpy and close to the best.
    flat = pixels.reshape(height, -1)
    depth = 8 * flat.shape[1] // (width * channels)
    rows = np.empty((height, 1 + flat.shape[1]), dtype=np.uint8)
    rows[:, 0] = 2
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
    color_type = {1: 0, 3: 2, 4: 6}[channels]

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(data, zlib.crc32(kind))
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)),
            *([chunk(b"sRGB", b"\0")] if channels > 1 else []),
            chunk(b"IDAT", zlib.compress(rows.tobytes(), PNG_LEVEL)),
            chunk(b"IEND", b""),
        ]
    )


def check_png(data: bytes) -> tuple[int, int, int]:
    """Width, height and channels of an 8-bit RGB or RGBA file, whose checksums are right.

    So that a picture can be handed on without being decoded (W3C PNG, third edition, 5.3).

    Raises:
        ValueError: It is no such file, or not whole.
    """
    _check_chunks(data)
    width, height, depth, kind = struct.unpack_from(">IIBB", data, 16)
    if depth != 8 or kind not in (2, 6):
        raise ValueError(f"bit depth {depth} and colour type {kind} are not 8-bit RGB or RGBA")
    return width, height, 4 if kind == 6 else 3


def _check_chunks(data: bytes) -> None:
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < 33:
        raise ValueError("it is no PNG file")
    place, name = 8, b""
    while name != b"IEND":
        size, name = struct.unpack_from(">I4s", data.ljust(place + 8, b"\0"), place)
        end = place + 12 + size
        if end > len(data):
            raise ValueError("it ends too early")
        checksum = int.from_bytes(data[end - 4 : end], "big")
        if zlib.crc32(memoryview(data)[place + 4 : end - 4]) != checksum:
            raise ValueError("a checksum is wrong")
        place = end


def read_png(data: bytes) -> npt.NDArray[np.uint8]:
    """(H, W, C) uint8 of a PNG file's bytes.

    Raises:
        ValueError: It is no such file, or not whole.
        MissingDependency: Pillow is not there, and :func:`encode_png` did not write it.
    """
    try:
        from PIL import Image
    except ImportError:  # Inside Blender.
        return _read_own_png(data)

    # Pillow does not look at the checksums of pixels.
    _check_chunks(data)
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def _read_own_png(data: bytes) -> npt.NDArray[np.uint8]:
    """What :func:`encode_png` wrote: 8 bits, one of its filters in all rows, no interlacing."""
    width, height, channels = check_png(data)
    packed, place = b"", 8
    while place < len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        if name == b"IDAT":
            packed += data[place + 8 : place + 8 + size]
        place += 12 + size
    length = height * (1 + width * channels)
    plain = zlib.decompressobj().decompress(packed, length)
    if len(plain) != length:
        raise ValueError("it holds less than its header says")
    rows = np.frombuffer(plain, np.uint8).reshape(height, -1)
    if data[28] or not (rows[:, 0] == 2).all():
        raise MissingDependency(
            "Reading PNG files that another program wrote needs Pillow, which Blender does not "
            "have.",
            hint="Use the pip package: pip install objaverse-render-addon",
        )
    # Sums of bytes wrap around, as the filter's do.
    flat = np.add.accumulate(rows[:, 1:], axis=0, dtype=np.uint8)
    return flat.reshape(height, width, channels)


def _openexr() -> Any:
    hint = "Read it outside Blender, with the pip package: pip install objaverse-render-addon"
    blender = sys.modules.get("bpy")
    if blender is not None and blender.app.binary_path:
        # Blender's own OpenEXR would get some of its calls; see :mod:`exr`.
        raise MissingDependency(
            "EXR files that other programs wrote are not read inside Blender.", hint=hint
        )
    try:
        import OpenEXR
    except ImportError as error:
        raise MissingDependency(
            f"EXR files that other programs wrote need the OpenEXR package: {error}.", hint=hint
        ) from error
    return OpenEXR
