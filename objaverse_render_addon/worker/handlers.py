"""What a worker does with each request."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..assets.formats import SCENE
from ..dataset import metadata
from ..dataset.blocks import FRAMES, Blocks
from ..dataset.images import composite
from ..dataset.writer import DatasetWriter
from ..errors import AccessRefused, Interrupted, InvalidEdit, StaleFrame, UnknownRequest
from ..files import file_sha256
from ..frame import Frame, FrameSink, Tee
from ..job import RenderJob
from ..stage_edits import Place, SetLight, SetTime, Show
from .channel import described, store_arrays
from .confine import STANDS
from .protocol import (
    MODULES,
    NO_STATE,
    Act,
    Acted,
    Answer,
    Call,
    Change,
    Changed,
    Close,
    Closed,
    Describe,
    Described,
    Done,
    FrameDone,
    FrameReady,
    Inspect,
    Open,
    Opened,
    Play,
    Refine,
    Render,
    RenderAsset,
    Rendered,
    Set,
    Stage,
)
from .ring import DESCRIPTOR, RingWriter
from .rows import mapped
from .shots import decode_shot, encode_shot

if TYPE_CHECKING:
    from ..blender.playing import Player
    from ..blender.session import Session
    from ..dataset.previews import Previews

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
        self.player: Player | None = None
        self.ring = RingWriter(int(os.environ[DESCRIPTOR])) if DESCRIPTOR in os.environ else None
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

    def opened(self, number: int, *, goes_on: bool = False) -> Session:
        """The session of this name.

        Args:
            goes_on: Whether this is for another piece of a picture; else the stage becomes what it
                is without one.

        Raises:
            UnknownRequest: It is not open, or not any more.
        """
        if self.session is None or self.session_id != number:
            raise UnknownRequest(
                f"The scene {number} is not open.", hint="Open it first; a worker holds one."
            )
        if not goes_on:
            self.session.stage.anew()
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
        composed = None
        if session.asset is not None and session.asset.kind == SCENE:
            from ..compose.record import Scene
            from ..compose.seen import SceneSink

            composed = SceneSink(Scene.read(request.path), Path(request.path).parent)

        def facts() -> dict[str, Any]:
            files = session.files()
            if composed is not None:
                files |= composed.files()
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
            shape=session.shape,
        )  # fmt: skip
        worker.using(writer)
        sinks: list[FrameSink] = [writer] if composed is None else [composed, writer]
        previews = None
        if request.previews:
            from ..dataset.previews import Previews

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
        found = session.editor.apply(request.edits)
        session.state = request.state
    except BaseException:
        _close(worker)
        raise
    return replace(_opened(session, turn.number), found=found)


def set_values(worker: Worker, request: Set, _: Turn) -> Answer:
    """Change the job of the open scene."""
    session = worker.opened(request.session)
    session.set(request.values)
    return _opened(session, request.session)


def change(worker: Worker, request: Change, _: Turn) -> Answer:
    """Change what is on the stage."""
    session = worker.opened(request.session)
    # Until all is done, in none that has a number.
    before, session.state = session.state, NO_STATE
    try:
        if request.values:
            session.set(request.values)
        found = session.editor.apply(request.edits)
    except InvalidEdit:
        if len(request.edits) == 1 and not request.values:
            session.state = before  # It was refused, and nothing was done.
        raise
    session.state = request.state
    light = not request.values and all(edit.get("edit") in _LIGHT for edit in request.edits)
    if light and not session.renumbered:
        return Changed(request.session, request.state, found)
    return Changed(
        request.session, request.state, found, session.warnings, _facts(session)
    )


_LIGHT: Final = frozenset((Place.edit, Show.edit, SetLight.edit, SetTime.edit))
"""Edits that change no facts; they come by the hundred a second."""


def render(worker: Worker, request: Render, turn: Turn) -> Answer:
    """Render views of the open scene and send their arrays."""
    from ..blender import pipeline

    session = worker.opened(request.session)
    if request.state is not None and request.state != session.state:
        raise StaleFrame(
            f"The scene is in state {session.state}, and {request.state} was asked for."
        )
    if request.shots is not None:
        shots = session.followed([decode_shot(shot) for shot in request.shots])
    else:
        shots = session.shots(request.views)
    sink = _Sent(worker, session, request, turn)
    if request.lane == "raster":
        session.raster.deliver(shots, sink, turn.canceled)
    elif request.lane == "exact":
        pipeline.deliver(session.renderer, shots, sink, canceled=turn.canceled)
    else:
        raise UnknownRequest(f"There is no lane {request.lane!r}.", hint="exact or raster.")
    return Rendered(len(shots))


def refine(worker: Worker, request: Refine, turn: Turn) -> Answer:
    """Bring the picture of a shot so far, and send it."""
    session = worker.opened(request.session, goes_on=True)
    shot = decode_shot(request.shot)
    if request.samples == 0:
        frame = session.refining.draft(shot)
    elif session.piecewise.reach(
        shot, request.samples, turn.canceled, lambda: turn.send(Stage(session.asset_id, "samples")),
        exact=request.exact,
    ):
        frame = session.refining.frame()
    else:
        return Rendered(0)
    arrays = {
        name: frame.passes[name] for name in session.job.pixels.passes if name in frame.passes
    }
    lane = session.lane_record("exact" if request.samples else "raster")
    record = metadata.view_record(frame, session.job)
    ready = FrameReady(frame.view.index, record, [], session.state, lane)
    _send_arrays(worker, turn, ready, arrays, inline=request.inline)
    return Rendered(1)


def _send_arrays(
    worker: Worker, turn: Turn, ready: FrameReady, arrays: dict[str, Any], *, inline: bool
) -> None:
    """Send a frame, its arrays behind it or in a file in memory."""
    payloads: Sequence[memoryview] = ()
    if inline:
        import numpy as np

        buffers = described(arrays)
        payloads = [
            np.ascontiguousarray(array, dtype=buffer.dtype).data.cast("B")
            for buffer, array in zip(buffers, arrays.values(), strict=True)
        ]
    else:
        buffers = store_arrays(arrays, worker.next_file())
    turn.send(replace(ready, buffers=buffers), payloads)


class _Sent(FrameSink):
    """A sink that sends frames to whoever asked."""

    def __init__(self, worker: Worker, session: Session, request: Render, turn: Turn) -> None:
        self._worker, self._session, self._turn = worker, session, turn
        self._job, self._request, self._state = session.job, request, session.state

    def frame(self, frame: Frame) -> None:
        """See :class:`objaverse_render_addon.frame.FrameSink`."""
        arrays = frame.arrays(self._job.pixels.passes)
        background = self._job.lighting.background
        if background is not None and self._request.shots is None:
            # The job's own views are what a data set of it holds.
            for name in arrays:
                if name.partition("@")[0] == "rgb":
                    arrays[name] = composite(arrays[name], background)
        ready = FrameReady(
            frame.view.index, metadata.view_record(frame, self._job), [], self._state,
            self._session.lane_record(self._request.lane),
        )  # fmt: skip
        slots, ring = self._request.slots, self._worker.ring
        if slots is not None and ring is not None:
            put = ring.write(arrays, slots, self._turn.canceled)
            if put is not None:
                buffers, slot, generation = put
                ready = replace(ready, buffers=buffers, slot=slot, generation=generation)
                self._turn.send(ready)
                return
            if self._turn.canceled():
                raise Interrupted("Cancelled.")
        _send_arrays(self._worker, self._turn, ready, arrays, inline=self._request.inline)


def inspect(worker: Worker, request: Inspect, _: Turn) -> Answer:
    """What is on the stage."""
    session = worker.opened(request.session)
    if request.called is not None:
        return Described(_told(session, request.called))
    if request.points is not None:
        from ..blender.placing import placed

        return Described(_plain(placed(session, request.points, request.time)))
    return Described(_plain(session.editor.inspect()))


def _told(session: Session, called: str) -> dict[str, Any]:
    """What a data set's metadata say of the asset beside its views."""
    facts = _plain(session.facts())
    facts["engine"]["sandbox"] = os.environ.get(STANDS, "")
    return {
        "facts": facts,
        "source": session.source(called),
        "fingerprint": session.job.fingerprint(),
        "made_of": session.made_of,
        "kind": session.asset.kind if session.asset is not None else "",
    }


def call(worker: Worker, request: Call, __: Turn) -> Answer:
    """Call a function of a module that was allowed when this process was started."""
    session = worker.opened(request.session)
    module, _, name = request.function.rpartition(".")
    function = _allowed(module, name, request.function)
    session.state = NO_STATE
    result = function(session, **request.arguments)
    session.changed(geometry=True, appeared=True, unknown=True)
    session.state = request.state
    return Described({"result": _plain(result)})


def _allowed(module: str, name: str, called: str) -> Any:
    """Something callable of a module that was allowed when this process was started.

    Raises:
        AccessRefused: It was not.
    """
    allowed = [one for one in os.environ.get(MODULES, "").split(",") if one]
    if module not in allowed or not name.isidentifier() or name.startswith("_"):
        raise AccessRefused(
            f"{called} may not be called here.",
            hint=f"Allowed are functions of {', '.join(allowed)}." if allowed else
            "No module is allowed; whoever starts the workers can allow some by name.",
        )  # fmt: skip
    found = getattr(importlib.import_module(module), name, None)
    if not callable(found):
        raise UnknownRequest(f"{module} has no function {name}.")
    return found


def play(worker: Worker, request: Play, _: Turn) -> Answer:
    """Have environments in the place of a scene."""
    from ..blender.playing import Player, described_class

    module, _colon, name = request.scene.partition(":")
    kind = _allowed(module, name, request.scene)
    facts = described_class(kind)
    if request.buffers:
        _close(worker)
        worker.player = None
        arrays = mapped(int(os.environ[DESCRIPTOR]), request.buffers)
        worker.player = Player(
            kind, request.options, arrays, worker.scratch, first=request.first,
            count=request.count, limit=request.limit, same_step=request.same_step,
            real_time=request.real_time, size=request.size,
        )
        facts["camera"] = encode_shot(0, worker.player.camera)
    return Described(facts)


def act(worker: Worker, request: Act, _: Turn) -> Answer:
    """Let environments go on."""
    if worker.player is None:
        raise UnknownRequest("There are no environments here.", hint="Play some first.")
    camera = None if request.shot is None else decode_shot(request.shot).view.camera
    told = worker.player.act(request.turn, camera)
    return Acted({str(row): _plain(facts) for row, facts in told.items()} if told else {})


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
    Refine: refine,
    Change: change,
    Inspect: inspect,
    Call: call,
    Play: play,
    Act: act,
    Close: close,
    Describe: describe,
}


def _open(worker: Worker, request: RenderAsset | Open, turn: Turn) -> Session:
    from ..blender.session import Session

    _close(worker)
    worker.player = None
    job = RenderJob.from_dict(request.job).resolved()
    if not job.engine.threads and request.threads:
        job = job.with_values({"engine.threads": request.threads})
    worker.session = Session(
        Path(request.path) if request.path else None, request.asset_id, job, worker.scratch,
        lambda name: turn.send(Stage(request.asset_id, name)), request.folders,
    )  # fmt: skip
    worker.session_id = turn.number
    return worker.session


def _facts(session: Session) -> dict[str, Any]:
    """What whoever has a scene open is told of it: what metadata say, and how much there is."""
    return {**_plain(session.facts()), "frames": session.count}


def _opened(session: Session, number: int) -> Opened:
    facts = _facts(session)
    return Opened(number, len(session.views), session.warnings, facts["scene"], facts)


def _plain(data: Any) -> Any:
    """Ready for JSON."""
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return _plain(dataclasses.asdict(data))
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(one) for one in data]
    return data.tolist() if hasattr(data, "tolist") else data


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
