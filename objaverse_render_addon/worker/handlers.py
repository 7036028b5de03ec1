"""What a worker does with each request."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..dataset import metadata
from ..dataset.blocks import FRAMES, Blocks
from ..dataset.previews import Previews
from ..dataset.writer import DatasetWriter
from ..errors import UnknownRequest
from ..files import file_sha256
from ..frame import Frame, FrameSink, Tee
from ..job import RenderJob
from .channel import described, store_arrays
from .confine import STANDS
from .protocol import (
    Answer,
    Close,
    Closed,
    Describe,
    Described,
    Done,
    FrameDone,
    FrameReady,
    Open,
    Opened,
    Render,
    RenderAsset,
    Rendered,
    Set,
    Stage,
)

if TYPE_CHECKING:
    from ..blender.session import Session

__all__ = ["HANDLERS", "Turn", "Worker", "blenders_folder"]


class Turn(Protocol):
    """One request's turn: its id, whom to answer, and whether it is still wanted."""

    number: int

    def send(self, answer: Answer, payloads: Sequence[memoryview] = ()) -> None:
        """Send an answer before the last, with the bytes of its inline buffers."""

    def canceled(self) -> bool:
        """Whether it is to end before its next render."""


class Worker:
    """What stays from request to request: the scene that is open, and the sinks in use.

    Args:
        scratch: Folder for temporary images and for arrays on their way.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.session: Session | None = None
        self.session_id = 0
        self._sinks: list[FrameSink] = []
        self._sent = 0

    def using(self, sink: FrameSink) -> FrameSink:
        """A sink that is aborted when its request ends without closing it, or the process does."""
        self._sinks.append(sink)
        return sink

    def close(self, sink: FrameSink) -> None:
        """It got everything."""
        sink.close()
        self._sinks.remove(sink)

    def abort(self) -> None:
        """What is not closed leaves nothing behind; from any thread."""
        for sink in self._sinks:
            sink.abort()
        self._sinks = []

    def opened(self, number: int) -> Session:
        """The session of this name.

        Raises:
            UnknownRequest: It is not open, or not any more.
        """
        if self.session is None or self.session_id != number:
            raise UnknownRequest(
                f"The scene {number} is not open.", hint="Open it first; a worker holds one."
            )
        return self.session

    def next_file(self) -> Path:
        """For arrays that go out."""
        self._sent += 1
        return self.scratch / f"arrays-{self._sent}"


def render_asset(worker: Worker, request: RenderAsset, turn: Turn) -> Answer:
    """Open, render every view into a data set, close."""
    from ..blender import pipeline

    started = time.perf_counter()
    job = RenderJob.from_dict(request.job).resolved()
    try:
        session = _open(worker, request, turn)

        def facts() -> dict[str, Any]:
            files = session.files()
            found = {**session.facts(), "files": files}
            found["engine"]["sandbox"] = os.environ.get(STANDS, "")
            return found

        shots = session.shots()
        total = len(shots)
        blocks = None
        if job.time.frames is not None and total > FRAMES:
            made_of = (session.made_of, job.fingerprint(), file_sha256(Path(request.path)), total)
            blocks = Blocks(Path(request.out), request.asset_id, repr(made_of), total)
        earlier = blocks.views if blocks is not None else []
        # However the work was split up, the same data are the same files: the job as asked for.
        writer = DatasetWriter(
            Path(request.out), request.asset_id, job,
            path=Path(request.path), source=request.source, known=request.provenance,
            scratch=worker.scratch, facts=facts, started=started, blocks=blocks,
        )  # fmt: skip
        worker.using(writer)
        sinks: list[FrameSink] = [writer]
        previews = None
        if request.previews:
            previews = Previews(Path(request.previews), request.asset_id, job, total)
            sinks.append(previews)
        sinks.append(_Told(request.asset_id, len(earlier), total, previews, turn))
        turn.send(Stage(request.asset_id, "render"))
        pipeline.deliver(
            session.renderer, shots[len(earlier) :], Tee(*sinks), useful=True,
            canceled=turn.canceled, earlier=earlier,
        )  # fmt: skip
        worker.close(writer)
        if previews is not None:
            previews.close()
        return Done(
            request.asset_id,
            str(writer.final),
            total,
            session.warnings,
            dict(writer.doubts),
            writer.seconds,
            previews.sheet if previews is not None else "",
            writer.source,
            session.device,
            writer.size,
        )
    finally:
        _close(worker)


class _Told(FrameSink):
    """A sink that says what was done with a frame."""

    def __init__(
        self, asset_id: str, given: int, total: int, previews: Previews | None, turn: Turn
    ) -> None:
        self._asset_id, self._total, self._previews, self._turn = asset_id, total, previews, turn
        self._given = given

    def frame(self, _: Frame) -> None:
        """See :class:`objaverse_render_addon.frame.FrameSink`."""
        newest = self._previews.newest if self._previews is not None else ""
        self._turn.send(FrameDone(self._asset_id, self._given, self._total, newest))
        self._given += 1


def open_scene(worker: Worker, request: Open, turn: Turn) -> Answer:
    """Hold a scene open for what comes."""
    try:
        session = _open(worker, request, turn)
    except BaseException:
        _close(worker)
        raise
    return _opened(session, turn.number)


def set_values(worker: Worker, request: Set, _: Turn) -> Answer:
    """Change the job of the open scene."""
    session = worker.opened(request.session)
    session.set(request.values)
    return _opened(session, request.session)


def render(worker: Worker, request: Render, turn: Turn) -> Answer:
    """Render views of the open scene and send their arrays."""
    from ..blender import pipeline

    session = worker.opened(request.session)
    shots = session.shots(request.views)
    pipeline.deliver(
        session.renderer, shots, _Sent(worker, session.job, request.inline, turn),
        canceled=turn.canceled,
    )  # fmt: skip
    return Rendered(len(shots))


class _Sent(FrameSink):
    """A sink that sends frames to whoever asked."""

    def __init__(self, worker: Worker, job: RenderJob, inline: bool, turn: Turn) -> None:
        self._worker, self._job, self._inline, self._turn = worker, job, inline, turn

    def frame(self, frame: Frame) -> None:
        """See :class:`objaverse_render_addon.frame.FrameSink`."""
        arrays = {name: frame.passes[name] for name in self._job.pixels.passes}
        record = metadata.view_record(frame, self._job)
        payloads: Sequence[memoryview] = ()
        if self._inline:
            import numpy as np

            buffers = described(arrays)
            payloads = [
                np.ascontiguousarray(array, dtype=buffer.dtype).data.cast("B")
                for buffer, array in zip(buffers, arrays.values(), strict=True)
            ]
        else:
            buffers = store_arrays(arrays, self._worker.next_file())
        self._turn.send(FrameReady(frame.view.index, record, buffers), payloads)


def close(worker: Worker, request: Close, _: Turn) -> Answer:
    """Forget the open scene."""
    worker.opened(request.session)
    _close(worker)
    return Closed(request.session)


def describe(_: Worker, __: Describe, ___: Turn) -> Answer:
    """What this Blender is and has."""
    import bpy
    import numpy

    from ..blender import devices, importers

    return Described(
        {
            "blender": bpy.app.version_string,
            "build": bpy.app.build_hash.decode(errors="replace"),
            "binary": bpy.app.binary_path or "pip bpy",
            "python": platform.python_version(),
            "numpy": numpy.__version__,
            "devices": devices.available_devices(),
            "gpu_ids": devices.gpu_ids(),
            "formats": importers.readable_formats(),
        }
    )


HANDLERS: Final[dict[type, Callable[[Worker, Any, Turn], Answer]]] = {
    RenderAsset: render_asset,
    Open: open_scene,
    Set: set_values,
    Render: render,
    Close: close,
    Describe: describe,
}


def _open(worker: Worker, request: RenderAsset | Open, turn: Turn) -> Session:
    from ..blender.session import Session

    _close(worker)
    job = RenderJob.from_dict(request.job).resolved()
    if not job.engine.threads and request.threads:
        job = job.with_values({"engine.threads": request.threads})
    worker.session = Session(
        Path(request.path), request.asset_id, job, worker.scratch,
        lambda name: turn.send(Stage(request.asset_id, name)), request.folders,
    )  # fmt: skip
    worker.session_id = turn.number
    return worker.session


def _opened(session: Session, number: int) -> Opened:
    facts = session.facts()
    return Opened(number, len(session.views), session.warnings, facts["scene"])


def _close(worker: Worker) -> None:
    """Blender itself is emptied by whoever opens the next scene."""
    worker.session = None
    # The USD importer leaves textures there, under names that the next asset may have too.
    for folder in blenders_folder():
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            Path(folder).mkdir(mode=0o700, exist_ok=True)


def blenders_folder() -> list[str]:
    """Blender's own folder for temporary files; none where it has to use one of everybody."""
    import bpy

    folder = Path(bpy.app.tempdir)
    return [str(folder)] if folder.name.startswith("blender_") and folder.is_dir() else []
