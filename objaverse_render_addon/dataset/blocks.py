"""Blocks of frames of a long animation: what a killed run need not render again.

While an asset is not whole, its frames lie in ``.parts/<asset>.blocks``, some of them to a file
that appears whole or not at all: ``00000.tar`` holds their files and ``views.json``, their entries
of ``views``. ``stamp`` says what they were made of; blocks of anything else are removed. A finished
asset takes them in and they are gone.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ..errors import from_os_error
from ..files import write_whole
from .layout import PARTS, TAR_END, tar_header, tar_padding

__all__ = ["FRAMES", "Blocks"]

FRAMES: Final = 32
"""Of a block, if they are of no more than :data:`_BYTES` and to the end of a time."""
_BYTES: Final = 64 << 20
_VIEWS: Final = "views.json"


class Blocks:
    """The blocks of one asset.

    Args:
        out: Folder that the finished asset goes to.
        stamp: What decides the frames; blocks with another stamp are removed.
        total: Frames of the asset. Blocks of all of them were left by a run that was killed at the
            very end; the last is rendered again.

    Attributes:
        views: Entries of ``views`` of the frames that are there, in order.

    Raises:
        OutputNotWritable, DiskFull: Naming the folder.
    """

    def __init__(self, out: Path, asset_id: str, stamp: str, total: int) -> None:
        self._folder = out / PARTS / f"{asset_id}.blocks"
        self.views: list[dict[str, Any]] = []
        self._count = 0
        self._files: list[tuple[str, bytes]] = []
        self._new: list[dict[str, Any]] = []
        self._bytes = 0
        try:
            self._take_up(stamp, total)
        except OSError as error:
            raise from_os_error(error, f"{self._folder}") from error

    def _take_up(self, stamp: str, total: int) -> None:
        mark = self._folder / "stamp"
        if not (mark.is_file() and mark.read_text(encoding="utf-8") == stamp):
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            write_whole(mark, stamp.encode())
            return
        for part in self._folder.glob(".*.part*"):
            part.unlink(missing_ok=True)
        while (path := self._path(self._count)).is_file():
            with tarfile.open(path) as block:
                file = block.extractfile(_VIEWS)
                views = json.loads(file.read()) if file is not None else []
            if len(self.views) + len(views) >= total:
                return
            self.views += views
            self._count += 1

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05d}.tar"

    def add(self, name: str, data: bytes) -> None:
        """Keep a file of a frame."""
        self._files.append((name, data))
        self._bytes += len(data)

    def frame(self, view: dict[str, Any]) -> None:
        """A frame is complete."""
        if self._new and self._new[-1].get("time") != view.get("time") and (
            len(self._new) >= FRAMES or self._bytes > _BYTES
        ):
            self._flush(ahead=view)
        self._new.append(view)

    def _flush(self, ahead: dict[str, Any] | None = None) -> None:
        """Write what there is, without the files of a frame that belongs to the next block."""
        later: set[str] = {value for value in (ahead or {}).values() if isinstance(value, str)}
        files = [(name, data) for name, data in self._files if name not in later]
        self._files = [(name, data) for name, data in self._files if name in later]
        text = json.dumps(self._new).encode()
        data = io.BytesIO()
        for name, content in (*files, (_VIEWS, text)):
            data.write(tar_header(name, len(content)))
            data.write(content)
            data.write(tar_padding(len(content)))
        data.write(TAR_END)
        write_whole(self._path(self._count), data.getvalue())
        self._count += 1
        self._new, self._bytes = [], sum(len(content) for _, content in self._files)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Names and contents of all frames' files, in order."""
        for number in range(self._count):
            with tarfile.open(self._path(number)) as block:
                for member in block:
                    file = block.extractfile(member)
                    if file is not None and member.name != _VIEWS:
                        yield member.name, file.read()
        yield from self._files

    def remove(self) -> None:
        """Take them away: the asset is whole."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._folder.parent.rmdir()
