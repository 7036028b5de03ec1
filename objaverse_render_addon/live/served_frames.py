"""Frames that a server renders for a client, as many at a time as that can take."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cameras import Camera
from ..dataset.metadata import view_record
from ..errors import Interrupted, InvalidEdit, UnknownRequest
from ..job import RenderJob
from ..worker.channel import described
from ..worker.protocol import FrameReady, Render, Rendered
from ..worker.shots import decode_shot
from .admission import Admission
from .clients import Client, Limits, Turn
from .host import RenderOptions

if TYPE_CHECKING:
    from .pool import Pool

__all__ = ["serve_frames"]


def serve_frames(
    pool: Pool,
    admission: Admission,
    client: Client,
    message: Render,
    number: int,
    turn: Turn,
    limits: Limits,
) -> Rendered:
    """Render shots of a scene that the client may see, and send them as it takes them.

    Raises:
        RenderError: A shot, or an option, is none, or more than one client gets; and as
            :meth:`.pool.Pool.render_scene`.
    """
    scene, job = message.session, pool.opened(message.session).job
    shots = _shots(admission, message, job, limits)
    options = replace(_options(message, limits, pool.workers), begun=turn.ended_by)
    until = time.monotonic() + limits.answer
    frames = pool.render_scene(scene, shots, options)
    count = 0
    try:
        for frame in frames:
            turn.spend(min(until, time.monotonic() + limits.idle))
            if client.gone:
                raise Interrupted("The client is gone.")
            arrays = frame.arrays(frame.passes)
            buffers = described(arrays)
            ready = FrameReady(
                frame.position, view_record(frame, job), buffers, frame.state, frame.lane,
            )  # fmt: skip
            payloads = [
                np.ascontiguousarray(array, dtype=buffer.dtype).data.cast("B")
                for buffer, array in zip(buffers, arrays.values(), strict=True)
            ]
            client.send(ready, number, payloads)
            count += 1
    finally:
        frames.close()  # type: ignore[attr-defined]
    return Rendered(count)


def _shots(
    admission: Admission, message: Render, job: RenderJob, limits: Limits
) -> list[tuple[Camera, int | None]] | None:
    """Cameras and times; ``None`` for the job's own views."""
    if message.shots is None and message.views is None:
        admission.pixels(*job.pixels.resolution, job)
        return None
    if not isinstance(message.shots, list) or not 0 < len(message.shots) <= limits.shots:
        raise InvalidEdit(f"A request has 1 to {limits.shots:,} shots.")
    shots: list[tuple[Camera, int | None]] = []
    for data in message.shots:
        if not isinstance(data, dict):
            raise InvalidEdit("A shot is a table.")
        shot = decode_shot(data)
        admission.pixels(shot.view.camera.width, shot.view.camera.height, job)
        shots.append((shot.view.camera, shot.time))
    return shots


def _options(message: Render, limits: Limits, workers: int) -> RenderOptions:
    given: dict[str, Any] = message.options if isinstance(message.options, dict) else {}
    if message.lane not in ("exact", "raster"):
        raise UnknownRequest(f"There is no lane {message.lane!r}.", hint="exact or raster.")

    def number(name: str, default: float, most: float) -> float:
        value = given.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise InvalidEdit(f"{name} is no number: {value!r}.")
        return min(float(value), most)

    most = limits.answer
    at_least = given.get("at_least")
    if at_least is not None and type(at_least) is not int:
        raise InvalidEdit(f"at_least is no number of a state: {at_least!r}.")
    return RenderOptions(
        "raster" if message.lane == "raster" else "exact",
        int(number("workers", 0, workers)),
        number("timeout", 600.0, most), number("deadline", most, most), at_least,
    )  # fmt: skip
