"""Contact sheets: one picture that shows an asset's views and passes side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import InvalidJob, SourceNotFound
from ..files import write_whole
from ..frame import mask_of
from ..passspec import PASSES
from . import letters
from .coloring import Pixels, colored, shrink
from .guards import believing
from .images import composite, encode_png
from .reader import AssetReader

__all__ = ["CELL", "ROWS", "compose", "contact_sheet", "picture_of", "shrink", "spread"]

_GAP: Final = 4
_LABEL: Final = 12
_BACKGROUND: Final = 24
_INK: Final = 220

CELL: Final = 160
ROWS: Final = 8
"""Views of a sheet, unless told otherwise."""


def contact_sheet(
    asset: Path | str, target: Path, *, views: int | None = ROWS, size: int = CELL
) -> tuple[int, int]:
    """Write a PNG with a row per view and a column per pass.

    Args:
        asset: A finished asset, zip or folder.
        views: At most this many, evenly spread; ``None`` for all.
        size: Longer side of a cell in pixels.

    Returns:
        Width and height of the sheet.

    Raises:
        InvalidJob: No such number of views, or no such size.
        SourceNotFound: There is no finished asset.
    """
    if views is not None and views < 1:
        raise InvalidJob(f"--views is {views}.", hint="Give a number above 0.")
    if not 16 <= size <= 4096:
        raise InvalidJob(f"Cells of {size} pixels.", hint="16 to 4096 make sense.")
    with believing(asset), AssetReader(asset) as reader:
        total = len(reader.views)
        if not total:
            raise SourceNotFound(f"{asset} has no views.")
        names = reader.passes
        rows, places = [], spread(total, views)
        for index in places:
            arrays = reader.read(index)
            rows.append([shrink(picture_of(name, arrays), size, name) for name in names])
    sheet = compose(rows, names, places)
    write_whole(target, encode_png(sheet))
    return sheet.shape[1], sheet.shape[0]


def spread(total: int, count: int | None) -> list[int]:
    """At most ``count`` of ``total`` indices, evenly spread, first and last included."""
    if count is None or count >= total:
        return list(range(total))
    return [round(i * (total - 1) / max(1, count - 1)) for i in range(count)]


def compose(rows: list[list[Pixels]], names: Sequence[str], views: Sequence[int]) -> Pixels:
    """One picture of equal cells with a gap around each.

    Args:
        rows: Of cells, (H, W, 3), uint8 sRGB; a row may have fewer of them than the first.
        names: Of the columns; they stand above them.
        views: The rows' numbers; they stand in their first cells.

    Returns:
        (height, width, 3), uint8 sRGB.
    """
    height, width = rows[0][0].shape[:2]
    size = _GAP + len(rows) * (height + _GAP), _GAP + len(rows[0]) * (width + _GAP)
    sheet = np.full((_LABEL + size[0], size[1], 3), _BACKGROUND, np.uint8)
    for column, name in enumerate(names):
        letters.write(sheet, name, (_GAP + column * (width + _GAP), 3), _INK, width)
    for row, (cells, view) in enumerate(zip(rows, views, strict=True)):
        top = _LABEL + _GAP + row * (height + _GAP)
        for column, cell in enumerate(cells):
            left = _GAP + column * (width + _GAP)
            sheet[top : top + height, left : left + width] = cell
        number = str(view)
        room = min(width, letters.width_of(number) + 4)
        sheet[top : top + letters.HEIGHT + 4, _GAP : _GAP + room] = _BACKGROUND
        letters.write(sheet, number, (_GAP + 2, top + 2), _INK, width)
    return sheet


def picture_of(name: str, arrays: dict[str, npt.NDArray[Any]]) -> Pixels:
    """A pass as (H, W, 3) uint8 for people to look at, on a background."""
    data = arrays[name]
    if PASSES[name].is_picture:
        if not PASSES[name].is_png:
            data = colored(name, data, np.ones(data.shape[:2], bool))
        return _over_checker(data) if data.shape[-1] == 4 else data
    mask = mask_of(arrays)
    pixels = colored(name, data, np.ones(data.shape[:2], bool) if mask is None else mask)
    shown: Pixels = np.where(pixels[..., 3:] > 0, pixels[..., :3], np.uint8(40))
    return shown


def _over_checker(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    rows, columns = np.indices((height, width)) // max(4, height // 32)
    return composite(pixels, np.where((rows + columns) % 2, 190, 220)[..., None] / 255)
