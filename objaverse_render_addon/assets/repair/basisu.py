"""KTX2 textures of Basis Universal (glTF's ``KHR_texture_basisu``), as PNG."""

from __future__ import annotations

import importlib.util
import struct
import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["INSTALL", "can_decode", "decoded"]

INSTALL: Final = "python -m pip install opengl-basisu"
_MOST: Final = 16384
"""Pixels along an edge, beyond which it is no texture but an attack on the memory."""


def can_decode() -> bool:
    """Whether the decoder is installed."""
    return importlib.util.find_spec("opengl_basisu") is not None


def decoded(data: bytes) -> bytes | None:
    """A PNG of a KTX2 file's largest level; ``None`` where it is damaged or nothing of the kind."""
    import opengl_basisu

    try:
        texture = opengl_basisu.open(data)
        if not (0 < texture.width <= _MOST and 0 < texture.height <= _MOST):
            return None
        pixels = texture.transcode("rgba8").data
    except (ValueError, IndexError, MemoryError):
        return None
    return _png(np.asarray(pixels, np.uint8).reshape(texture.height, texture.width, 4))


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Pixels (H, W, 4), packed fast: it is read once (W3C, *Portable Network Graphics*)."""
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + 4 * width), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows.tobytes(), 1)),
        (b"IEND", b""),
    )
    png = b"\x89PNG\r\n\x1a\n"
    for kind, body in parts:
        png += struct.pack(">I", len(body)) + kind + body
        png += struct.pack(">I", zlib.crc32(kind + body))
    return png
