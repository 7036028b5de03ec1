"""A queue's picture as a file that a browser shows."""

from __future__ import annotations

import io
from typing import Final

from ...dataset.coloring import colored
from ...dataset.images import composite, encode_png
from ...frame import mask_of
from ..queue import Picture

__all__ = ["BEHIND", "as_jpeg", "as_png", "pixels_of"]

BEHIND: Final = (43, 49, 61)
"""sRGB bytes of what is behind a picture; the page has the same."""
_QUALITY: Final = 80


def pixels_of(picture: Picture, name: str) -> object:
    """(H, W, 4) uint8 with straight alpha, of one of its passes."""
    passes = picture.drawn.passes
    data = passes[name]
    if name == "rgb":
        return data
    there = mask_of(passes)
    return colored(name, data, data != 0 if there is None else there)


def as_jpeg(pixels: object) -> bytes:
    """With some loss, in a millisecond."""
    from PIL import Image

    flat = composite(pixels, [value / 255 for value in BEHIND])  # type: ignore[arg-type]
    buffer = io.BytesIO()
    Image.fromarray(flat).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def as_png(pixels: object) -> bytes:
    """Without loss, alpha and all."""
    return encode_png(pixels)  # type: ignore[arg-type]
