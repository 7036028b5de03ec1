"""Contact sheets: one picture that shows an asset's views and passes side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import SourceNotFound
from .images import encode_png
from .reader import AssetReader

__all__ = ["compose", "contact_sheet", "picture_of", "shrink", "spread"]

Pixels = npt.NDArray[np.uint8]

_GAP: Final = 4
_LABEL: Final = 14
_BACKGROUND: Final = 24
# Perceptual ramp from near (bright) to far (dark), sampled from matplotlib's "viridis" (CC0).
_RAMP: Final = np.array(
    [
        (253, 231, 37), (180, 222, 44), (109, 205, 89), (53, 183, 121), (31, 158, 137),
        (38, 130, 142), (49, 104, 142), (62, 73, 137), (72, 40, 120), (68, 1, 84),
    ],
    dtype=np.float64,
)  # fmt: skip


def contact_sheet(
    asset: Path, target: Path, *, views: int | None = 8, size: int = 160
) -> tuple[int, int]:
    """Write a PNG with a row per view and a column per pass.

    Args:
        asset: A finished asset, zip or folder.
        views: At most this many, evenly spread; ``None`` for all.
        size: Longer side of a cell in pixels.

    Returns:
        Width and height of the sheet.

    Raises:
        SourceNotFound: There is no finished asset.
    """
    with AssetReader(asset) as reader:
        total = len(reader.views)
        if not total:
            raise SourceNotFound(f"{asset} has no views.")
        names = reader.passes
        rows = []
        for index in spread(total, views):
            arrays = reader.read(index)
            rows.append([shrink(picture_of(name, arrays), size, name) for name in names])
    sheet = _label(compose(rows), names, rows[0][0].shape[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(encode_png(sheet))
    return sheet.shape[1], sheet.shape[0]


def spread(total: int, count: int | None) -> list[int]:
    """At most ``count`` of ``total`` indices, evenly spread, first and last included."""
    if count is None or count >= total:
        return list(range(total))
    return [round(i * (total - 1) / max(1, count - 1)) for i in range(count)]


def shrink(pixels: Pixels, size: int, name: str) -> Pixels:
    """A picture whose longer side is ``size``: colour averaged, everything else picked."""
    height, width = pixels.shape[:2]
    factor = size / max(width, height)
    rows, columns = max(1, round(height * factor)), max(1, round(width * factor))
    y = ((np.arange(rows) + 0.5) * height / rows).astype(int)
    x = ((np.arange(columns) + 0.5) * width / columns).astype(int)
    if name != "rgb" or factor >= 1:
        picked: Pixels = pixels[y][:, x]
        return picked
    # Box average through a summed-area table.
    table = np.zeros((height + 1, width + 1, 3))
    table[1:, 1:] = pixels.astype(np.float64).cumsum(axis=0).cumsum(axis=1)
    y0, x0 = (np.arange(rows) * height) // rows, (np.arange(columns) * width) // columns
    y1, x1 = np.append(y0[1:], height), np.append(x0[1:], width)
    total = table[y1][:, x1] - table[y0][:, x1] - table[y1][:, x0] + table[y0][:, x0]
    area = (y1 - y0)[:, None] * (x1 - x0)[None, :]
    averaged: Pixels = (total / area[..., None] + 0.5).astype(np.uint8)
    return averaged


def compose(rows: list[list[Pixels]]) -> Pixels:
    """One picture of equal cells with a gap around each."""
    height, width = rows[0][0].shape[:2]
    sheet = np.full(
        (_GAP + len(rows) * (height + _GAP), _GAP + len(rows[0]) * (width + _GAP), 3),
        _BACKGROUND,
        np.uint8,
    )
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            top, left = _GAP + row * (height + _GAP), _GAP + column * (width + _GAP)
            sheet[top : top + height, left : left + width] = cell
    return sheet


def _label(sheet: Pixels, names: list[str], cell: int) -> Pixels:
    """The sheet with the passes' names above its columns."""
    from PIL import Image, ImageDraw

    banner = Image.new("RGB", (sheet.shape[1], _LABEL), (_BACKGROUND,) * 3)
    pen = ImageDraw.Draw(banner)
    for column, name in enumerate(names):
        pen.text((_GAP + column * (cell + _GAP) + 2, 1), name, fill=(220, 220, 220))
    return np.concatenate([np.asarray(banner), sheet])


def picture_of(name: str, arrays: dict[str, npt.NDArray[Any]]) -> Pixels:
    """A pass as (H, W, 3) uint8 for people to look at."""
    data = arrays[name]
    mask = arrays["mask"] == 1 if "mask" in arrays else np.ones(data.shape[:2], bool)
    if name == "rgb":
        return _over_checker(data) if data.shape[-1] == 4 else data
    if name == "mask":
        return np.repeat((data * 255).astype(np.uint8)[..., None], 3, axis=2)
    if name in ("depth", "distance"):
        return _blank(_ramp(data, mask), mask)
    if name == "normal":
        return _blank(data * 0.5 + 0.5, mask)
    if name == "albedo":
        linear = np.clip(data, 0, 1)
        encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
        return _blank(encoded, mask)
    if name == "roughness_metallic":
        return _blank(np.concatenate([np.zeros_like(data[..., :1]), data], axis=2), mask)
    if name == "position":
        low, high = data[mask].min(axis=0, initial=0), data[mask].max(axis=0, initial=0)
        return _blank((data - low) / np.maximum(high - low, 1e-9), mask)
    # Neighbouring ids get unlike colours.
    hues = (data[..., None] * np.array([0.37, 0.61, 0.83])) % 1.0
    return _blank(0.25 + 0.7 * hues, mask)


def _ramp(data: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    if not mask.any():
        return np.zeros((*data.shape, 3))
    low, high = float(data[mask].min()), float(data[mask].max())
    share = np.clip((data - low) / max(high - low, 1e-9), 0, 1) * (len(_RAMP) - 1)
    below = np.minimum(share.astype(int), len(_RAMP) - 2)
    rest = (share - below)[..., None]
    mixed: npt.NDArray[np.float64] = _RAMP[below] * (1 - rest) + _RAMP[below + 1] * rest
    return mixed / 255.0


def _blank(values: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> Pixels:
    pixels: Pixels = (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)
    pixels[~mask] = 40
    return pixels


def _over_checker(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    rows, columns = np.indices((height, width)) // max(4, height // 32)
    board = np.where((rows + columns) % 2, 190.0, 220.0)[..., None]
    alpha = pixels[..., 3:] / 255.0
    return (pixels[..., :3] * alpha + board * (1 - alpha) + 0.5).astype(np.uint8)
