"""Contact sheets: one picture that shows an asset's views and passes side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import MissingDependency, SourceNotFound
from .reader import AssetReader

__all__ = ["contact_sheet"]

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
    try:
        from PIL import Image, ImageDraw
    except ImportError as error:
        raise MissingDependency(
            "Contact sheets need Pillow.", hint="python -m pip install pillow"
        ) from error
    with AssetReader(asset) as reader:
        total = len(reader.views)
        if not total:
            raise SourceNotFound(f"{asset} has no views.")
        count = total if views is None else min(views, total)
        chosen = [round(i * (total - 1) / max(1, count - 1)) for i in range(count)]
        names = reader.passes
        width, height = reader.metadata["render_settings"]["resolution"]
        factor = size / max(width, height)
        cell = max(1, round(width * factor)), max(1, round(height * factor))
        sheet = Image.new(
            "RGB",
            (
                _GAP + len(names) * (cell[0] + _GAP),
                _LABEL + _GAP + count * (cell[1] + _GAP),
            ),
            (_BACKGROUND,) * 3,
        )
        pen = ImageDraw.Draw(sheet)
        for column, name in enumerate(names):
            pen.text((_GAP + column * (cell[0] + _GAP) + 2, 2), name, fill=(220, 220, 220))
        for row, index in enumerate(chosen):
            arrays = reader.read(index)
            for column, name in enumerate(names):
                picture = Image.fromarray(picture_of(name, arrays))
                smooth = Image.Resampling.LANCZOS if name == "rgb" else Image.Resampling.NEAREST
                place = (
                    _GAP + column * (cell[0] + _GAP),
                    _LABEL + _GAP + row * (cell[1] + _GAP),
                )
                sheet.paste(picture.resize(cell, smooth), place)
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target)
    return sheet.size


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
    pixels = (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)
    pixels[~mask] = 40
    return pixels


def _over_checker(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    rows, columns = np.indices((height, width)) // max(4, height // 32)
    board = np.where((rows + columns) % 2, 190.0, 220.0)[..., None]
    alpha = pixels[..., 3:] / 255.0
    return (pixels[..., :3] * alpha + board * (1 - alpha) + 0.5).astype(np.uint8)
