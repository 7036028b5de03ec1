"""Frames into a data set's asset: files as they come, metadata at the end, whole or not at all."""

from __future__ import annotations

import functools
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .. import __version__
from ..frame import Frame, FrameSink
from ..job import RenderJob
from ..passspec import Pass
from .blocks import Blocks
from .layout import METADATA, color_files, geometry_files, new_writer, size_of
from .metadata import asset_record, source_record, view_record
from .shape_files import ShapeFiles

__all__ = ["DatasetWriter"]


class DatasetWriter(FrameSink):
    """A sink that writes one asset.

    Args:
        out: Folder that the finished asset goes to.
        path: The 3D file, for its checksum.
        source: What the user calls it.
        known: What is known of the source.
        job: As it was asked for, resolved.
        scratch: Folder for temporary images.
        facts: Gives, at the end, what the metadata say of scene and engine, by the names of
            :func:`.metadata.asset_record`.
        started: When the work on the asset began, by :func:`time.perf_counter`.
        blocks: Where the frames of a long animation are kept until all are there.
        shape: What files of its surface are made of; none where none are wanted.
        described: Record of the source, where it was made before: ``path`` is not read then.

    Attributes:
        doubts: Check to number of views that it was in doubt of.
        final: Where the asset stands, once it is closed.
        source: Record of the source, once it is closed.
        seconds: Per stage of the work, once it is closed.
    """

    def __init__(
        self,
        out: Path,
        asset_id: str,
        job: RenderJob,
        *,
        path: Path,
        source: str,
        known: Mapping[str, Any],
        scratch: Path,
        facts: Callable[[], dict[str, Any]],
        started: float,
        blocks: Blocks | None = None,
        shape: ShapeFiles | None = None,
        described: dict[str, Any] | None = None,
    ) -> None:
        self._started, self._shape = started, shape
        self._asset_id, self._job, self._scratch = asset_id, job, scratch
        self._facts = facts
        self._files = new_writer(out, asset_id, job.files.layout)
        # Reading a large file once more for its checksum takes longer than a view.
        self._reader = ThreadPoolExecutor(1, "checksum")
        self._described = self._reader.submit(
            (lambda: described) if described is not None
            else functools.partial(source_record, path, source, known)
        )  # fmt: skip
        self._blocks = blocks
        self._views: list[dict[str, Any]] = list(blocks.views) if blocks is not None else []
        self._specs: list[Pass] = []
        self._write_seconds = 0.0
        self.doubts: Counter[str] = Counter()
        for view in self._views:
            self._count_doubts(view)
        self.final: Path | None = None
        self.source: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}

    def geometry(self, frame: Frame) -> None:
        """See :class:`objaverse_render_addon.frame.FrameSink`."""
        since = time.perf_counter()
        for name, data in geometry_files(frame, self._job, self._scratch):
            self._keep(name, data)
        self._write_seconds += time.perf_counter() - since

    def _keep(self, name: str, data: bytes) -> None:
        (self._files if self._blocks is None else self._blocks).add(name, data)

    def _count_doubts(self, view: Mapping[str, Any]) -> None:
        checks = view["checks"].items()
        self.doubts.update(name for name, (status, _) in checks if status == "doubt")

    def frame(self, frame: Frame) -> None:
        """See :class:`objaverse_render_addon.frame.FrameSink`."""
        since = time.perf_counter()
        for name, data in color_files(frame, self._job, self._scratch):
            self._keep(name, data)
        if self._shape is not None and frame.key.time == self._first(frame):
            # At other times the asset has moved on.
            self._shape.look(frame)
        record = view_record(frame, self._job, len(self._views))
        self._views.append(record)
        self._count_doubts(record)
        if self._blocks is not None:
            self._blocks.frame(record)
        self._specs = [frame.spec(name) for name in self._job.pixels.passes]
        self._write_seconds += time.perf_counter() - since

    def _first(self, frame: Frame) -> int | None:
        """Time of the asset's first view."""
        return self._views[0].get("time") if self._views else frame.key.time

    def close(self) -> None:
        """Write the metadata and put the asset under its final name.

        Raises:
            OutputNotWritable, DiskFull: It cannot be written; nothing is left of it.
        """
        for name, data in self._blocks.files() if self._blocks is not None else ():
            self._files.add(name, data)
        facts = self._facts()
        for name, data in facts.pop("files", {}).items():
            self._files.add(name, data)
        if self._shape is not None:
            since = time.perf_counter()
            for name, data in self._shape.files():
                self._files.add(name, data)
            facts["seconds"]["geometry_files"] = (
                facts["seconds"].get("geometry_files", 0.0) + time.perf_counter() - since
            )
            facts["geometry"] = self._shape.record()
        self.source = self._described.result()
        self._reader.shutdown()
        self.seconds = {**facts.pop("seconds"), "write": self._write_seconds}
        self.seconds["total"] = time.perf_counter() - self._started
        record = asset_record(
            asset_id=self._asset_id,
            source=self.source,
            job=self._job,
            passes=self._specs,
            views=self._views,
            seconds=self.seconds,
            version=__version__,
            **facts,
        )
        text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False)
        self._files.add(METADATA, text.encode())
        self.final = self._files.commit()
        if self._blocks is not None:
            self._blocks.remove()

    def abort(self) -> None:
        """See :class:`objaverse_render_addon.frame.FrameSink`; blocks of frames stay."""
        self._files.abort()
        self._reader.shutdown(wait=False, cancel_futures=True)

    @property
    def size(self) -> int:
        """Bytes of the finished asset."""
        return size_of(self.final) if self.final is not None else 0
