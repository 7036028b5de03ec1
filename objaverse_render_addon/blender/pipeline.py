"""Many shots, fast: geometry first, and reading, checking and writing beside the next render.

Blender releases Python's lock while it renders. What comes out is what :meth:`.Renderer.render`
gives for each shot alone.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, Final

from ..errors import CheckFailed, Interrupted
from ..frame import Check, Frame, FrameSink, Shot
from ..usefulness import Usefulness
from .renderer import Renderer

__all__ = ["deliver", "frames"]

_GEOMETRY_BUDGET: Final = 256 << 20
_BACKLOG: Final = 8

_OnGeometry = Callable[[Frame, "Future[list[Check]]"], None]


def frames(
    renderer: Renderer, shots: Sequence[Shot], *, useful: bool = False
) -> Iterator[Frame]:
    """Complete, checked frames of shots, in order.

    Args:
        useful: Whether pictures that show nothing at all of the object are an error.

    Raises:
        EmptyPictures, ClippedPictures: The pictures would be useless.
        RenderFailed: Blender refused a setting or wrote nothing.
    """
    with closing(_overlapped(renderer, shots, lambda *_: None, useful)) as found:
        for frame, completed in found:
            completed.result()
            yield frame


def deliver(
    renderer: Renderer,
    shots: Sequence[Shot],
    sink: FrameSink,
    *,
    useful: bool = False,
    canceled: Callable[[], bool] = lambda: False,
    earlier: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Render shots and give their frames to a sink, in order, beside the next render.

    Args:
        sink: Called from one thread; closed and aborted by the caller.
        useful: As :func:`frames`.
        canceled: Asked before each shot whether to end.
        earlier: Entries of ``views`` of frames of the same asset that are there already, for
            whether its pictures are of use.

    Raises:
        CheckFailed: A frame's data contradict themselves; it goes nowhere.
        Interrupted: It was cancelled.
        RenderError: What :func:`frames` or the sink raises.
    """
    pending: deque[Future[Any]] = deque()

    with ThreadPoolExecutor(1, "write") as writer:

        def geometry(frame: Frame, checked: Future[list[Check]]) -> None:
            if canceled():
                raise Interrupted("Cancelled.")
            pending.append(writer.submit(_give_geometry, sink, frame, checked))

        try:
            with closing(_overlapped(renderer, shots, geometry, useful, earlier)) as found:
                for frame, completed in found:
                    pending.append(writer.submit(_give_frame, sink, frame, completed))
                    while pending and (pending[0].done() or len(pending) > _BACKLOG):
                        pending.popleft().result()
            while pending:
                pending.popleft().result()
        except BaseException:
            for future in pending:
                future.cancel()
            raise


def _give_geometry(sink: FrameSink, frame: Frame, checked: Future[list[Check]]) -> None:
    checked.result()
    sink.geometry(frame)


def _give_frame(sink: FrameSink, frame: Frame, completed: Future[None]) -> None:
    completed.result()
    for check in frame.checks:
        if check.status == "failed":
            hint = "The data contradict themselves; please report this asset."
            if check.name.startswith("witness_"):
                hint = (
                    "What was rendered is not what the file has: a part was lost, or came twice. "
                    "--witness off renders it as it came in; please report this asset."
                )
            raise CheckFailed(
                f"{frame.key} failed the check {check.name} ({check.value:g}).",
                hint=hint,
            )
    sink.frame(frame)


def _overlapped(
    renderer: Renderer,
    shots: Sequence[Shot],
    on_geometry: _OnGeometry,
    useful: bool,
    earlier: Sequence[Mapping[str, Any]] = (),
) -> Generator[tuple[Frame, Future[None]]]:
    """Frames before they are complete, and what ends when they are.

    Geometry comes first for a batch of shots, since it costs little and tells early that there is
    nothing to see; then colour, shot by shot.

    Args:
        on_geometry: Called with each frame before its colour is rendered, and what ends when its
            geometry is complete, so that it can be written meanwhile.
    """
    try:
        yield from _in_batches(renderer, shots, on_geometry, useful, earlier)
    finally:
        # What was rendered for shots that did not come; the next may have other cameras.
        renderer.tidy()


def _in_batches(
    renderer: Renderer,
    shots: Sequence[Shot],
    on_geometry: _OnGeometry,
    useful: bool,
    earlier: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[Frame, Future[None]]]:
    most = max(1, _GEOMETRY_BUDGET // renderer.shot_bytes)
    recent: list[Frame] = []
    stage = renderer.stage
    usable = Usefulness(renderer.key, stage.job, own_cameras=stage.cameras is not None)
    for record in earlier:
        usable.add_record(record)
    done = 0
    with ThreadPoolExecutor(1, "decode") as decoder:
        for batch in _batches(shots, most):
            done += len(batch)
            if recent and recent[0].time != batch[0].time:
                recent = []
            begun, decoded = [], []
            for frame, rendered in renderer.geometry(batch):
                begun.append(frame)
                decoded.append(decoder.submit(renderer.read_geometry, frame, rendered))
            for frame in begun:
                checked = decoder.submit(renderer.check_geometry, frame, list(recent))
                on_geometry(frame, checked)
                picture = renderer.color(frame)
                completed = decoder.submit(renderer.read_color, frame, picture, checked)
                if frame is begun[0]:
                    # The last of the geometry was read while its colour was rendered.
                    for future in decoded:
                        usable.add(future.result())
                    if useful and done == len(shots):
                        stage.warnings += usable.verdict()
                yield frame, completed
                # The first view and the one before are the witnesses for the next.
                recent[1:] = [frame]


def _batches(shots: Sequence[Shot], most: int) -> Iterator[list[Shot]]:
    """Shots of one time each, since to go to another time costs as much as a render."""
    for _, together in itertools.groupby(shots, lambda shot: shot.time):
        rest = list(together)
        while rest:
            yield rest[:most]
            del rest[:most]
