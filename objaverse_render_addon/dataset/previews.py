"""Frames as pictures, while they are rendered: a PNG of each view, and a contact sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..frame import Frame, FrameSink
from ..job import RenderJob
from . import sheet
from .images import encode_png
from .layout import color_file

__all__ = ["Previews"]


class Previews(FrameSink):
    """A sink for people's eyes.

    Args:
        folder: Where the pictures go.
        total: Number of frames that will come.

    Attributes:
        newest: Path of the last view's PNG; empty where colour is not rendered.
        sheet: Path of the contact sheet, once it is closed.
    """

    def __init__(self, folder: Path, asset_id: str, job: RenderJob, total: int) -> None:
        self._folder, self._asset_id, self._job = folder, asset_id, job
        self._shown = set(sheet.spread(total, sheet.ROWS))
        self._given = 0
        self._rows: list[list[Any]] = []
        self._numbers: list[int] = []
        self._columns: list[str] = []
        self.newest = ""
        self.sheet = ""

    def frame(self, frame: Frame) -> None:
        """See :class:`objaverse_render_addon.frame.FrameSink`."""
        passes = self._job.pixels.passes
        if "rgb" in passes:
            name, data = color_file(frame, self._job.lighting.background)
            target = self._folder / f"{self._asset_id}-{name}"
            target.write_bytes(data)
            self.newest = str(target)
        self._given += 1
        if self._given - 1 in self._shown:
            names = [name for name in passes if name in frame.passes]
            self._columns = self._columns or names
            self._numbers.append(self._given - 1)
            self._rows.append(
                [
                    sheet.shrink(sheet.picture_of(name, frame.passes), sheet.CELL, name)
                    for name in names
                ]
            )

    def close(self) -> None:
        """Write the contact sheet."""
        if self._rows:
            target = self._folder / f"{self._asset_id}.sheet.png"
            target.write_bytes(encode_png(sheet.compose(self._rows, self._columns, self._numbers)))
            self.sheet = str(target)

