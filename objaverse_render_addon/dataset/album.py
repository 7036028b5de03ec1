"""A finished asset's pictures in small, for a window: where each view stood, and what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..cameras import View
from ..passspec import PASSES
from .coloring import Pixels, shrink
from .reader import AssetReader, AssetRef
from .sheet import picture_of

__all__ = ["Album", "cell_for", "open_album", "picture", "small_pictures"]

_CROPS: Final = "object_in_frame"


@dataclass(frozen=True, slots=True)
class Album:
    """What a finished asset says of its views.

    Attributes:
        views: Each numbered by its place in the asset, from 0.
        passes: That are stored, and that this version knows.
        doubts: Place of a view to the checks that raised a doubt about it.
        cropped: Places of the views that cut the object off.
        box: (2, 3), the lower and the upper corner of the normalised object.
        normalized: The way: as :attr:`objaverse_render_addon.job.AssetRules.normalize`.
    """

    asset: AssetRef
    views: list[View]
    passes: list[str]
    doubts: dict[int, list[str]]
    cropped: frozenset[int]
    box: Any
    normalized: str


def open_album(where: str | Path) -> Album:
    """Read an asset's metadata.

    Raises:
        SourceNotFound, TruncatedFile, UnsafeData: As
            :class:`~objaverse_render_addon.dataset.reader.AssetReader`.
    """
    with AssetReader(where) as reader:
        count = len(reader)
        views = [replace(reader.view(place), index=place) for place in range(count)]
        doubts = {}
        for place, record in enumerate(reader.views):
            checks = record.get("checks")
            found = checks.items() if isinstance(checks, dict) else ()
            names = [name for name, said in found if list(said)[:1] == ["doubt"]]
            if names:
                doubts[place] = names
        bounds = reader.bounds
        asset = reader.metadata.get("job", {}).get("asset", {})
        return Album(
            reader.ref, views, [name for name in reader.passes if name in PASSES], doubts,
            frozenset(place for place, names in doubts.items() if _CROPS in names),
            np.array([bounds.box_min, bounds.box_max]), str(asset.get("normalize", "none")),
        )  # fmt: skip


def cell_for(count: int) -> int:
    """Longer side in pixels of the small pictures of so many views."""
    return 128 if count <= 64 else 64 if count <= 400 else 32


def small_pictures(album: Album, names: list[str], size: int) -> Iterator[tuple[int, str, Pixels]]:
    """Place, pass and (H, W, 3) uint8 of every view's passes, at most ``size`` wide and high.

    Args:
        names: Of passes; a view's are read together, for they may lie in one file.
    """
    if not names:
        return
    with AssetReader(album.asset) as reader:
        for place in range(len(album.views)):
            # A mask tells where the object is in the others.
            wanted = {*names, *({"mask"} & {*album.passes})}
            arrays = reader.read(place, sorted(wanted))
            for name in names:
                yield place, name, shrink(picture_of(name, arrays), size, name)


def picture(album: Album, place: int, name: str) -> Pixels:
    """A view's pass as (H, W, 3) uint8 for people to look at."""
    with AssetReader(album.asset) as reader:
        arrays = reader.read(place, sorted({name, *({"mask"} & {*album.passes})}))
    return picture_of(name, arrays)
