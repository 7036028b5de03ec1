"""An asset's pictures for the page: sheets of small tiles, one file for many views."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np

from ..coloring import Pixels
from ..images import encode_png

__all__ = ["Sheets", "encode"]

# Sides that every browser decodes, also on a phone.
_SIDE: Final = 4096
_TILES: Final = 64


def encode(pixels: Pixels, *, exact: bool) -> tuple[bytes, str]:
    """A picture's bytes and the suffix of its file: WebP, or PNG where Pillow is missing.

    Args:
        pixels: (H, W, 4) uint8 sRGB, straight alpha.
        exact: Without loss, for colours that stand for numbers.
    """
    try:
        from PIL import Image
    except ImportError:  # Inside Blender.
        return encode_png(pixels), "png"
    image = Image.fromarray(pixels)
    if bool((pixels[..., 3] == 255).all()):
        image = image.convert("RGB")
    buffer = io.BytesIO()
    if exact:
        image.save(buffer, "WEBP", lossless=True, quality=50, method=2)
    else:
        image.save(buffer, "WEBP", quality=86, alpha_quality=90, method=4)
    return buffer.getvalue(), "webp"


class Sheets:
    """Tiles of one size, collected into sheets of at most so many; each is encoded when full.

    Attributes:
        columns: Tiles in a row of a sheet.
        per_sheet: Tiles of a full sheet.
        files: Name to content, as far as encoded.
    """

    def __init__(self, name: str, tile: tuple[int, int], total: int, *, exact: bool) -> None:
        self._name, self._exact, self._total = name, exact, total
        self._width, self._height = tile
        self.columns, self.per_sheet = self.grid(tile, total)
        self.files: dict[str, bytes] = {}
        self._count = 0
        self._sheet: Pixels | None = None

    @staticmethod
    def grid(tile: tuple[int, int], total: int) -> tuple[int, int]:
        """Columns of a sheet, and tiles on it."""
        width, height = tile
        most = max(1, min(_TILES, (_SIDE // width) * (_SIDE // height), total))
        columns = min(max(1, _SIDE // width), max(1, round(np.sqrt(most * height / width))))
        return columns, most

    def add(self, tile: Pixels) -> None:
        """Add the next view's tile, (H, W, 4); one of another size is cut or padded."""
        place = self._count % self.per_sheet
        if self._sheet is None:
            count = min(self.per_sheet, self._total - self._count)
            rows = -(-count // self.columns)
            columns = min(self.columns, count)
            self._sheet = np.zeros((rows * self._height, columns * self._width, 4), np.uint8)
        top = place // self.columns * self._height
        left = place % self.columns * self._width
        height, width = min(tile.shape[0], self._height), min(tile.shape[1], self._width)
        self._sheet[top : top + height, left : left + width] = tile[:height, :width]
        self._count += 1
        if place == self.per_sheet - 1 or self._count == self._total:
            data, suffix = encode(self._sheet, exact=self._exact)
            self.files[f"{self._name}-{len(self.files)}.{suffix}"] = data
            self._sheet = None

    @property
    def record(self) -> dict[str, Any]:
        """What the page has to know to find a tile."""
        return {"files": list(self.files), "columns": self.columns, "tiles": self.per_sheet}
