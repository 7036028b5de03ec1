"""Blender held open: scenes that are changed and looked at while they stay where they are.

:func:`start` starts workers on this machine, :func:`connect` reaches those of a server
(``objaverse-render serve``). Both give something that opens scenes (:class:`.session.Session`).
:class:`.queue.RenderQueue` gives pictures while a camera moves, of scenes, finished assets and
trained fields; :mod:`.page` shows them in a browser. No Blender is needed in this process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .composed import ComposedSource
    from .frames import LiveFrame
    from .pool import Pool
    from .queue import RenderQueue
    from .recorder import record
    from .recording import Recording
    from .remote import Connection, connect
    from .samples import Sample
    from .session import Session
    from .shots import look_at, orbit, perspective
    from .sources import Item, JobSource, Source
    from .starting import start
    from .streaming import Stream, stream
    from .truths import Truths

__all__ = [
    "ComposedSource", "Connection", "Item", "JobSource", "LiveFrame", "Pool", "Recording",
    "RenderQueue", "Sample", "Session", "Source", "Stream", "Truths", "connect", "look_at", "orbit",
    "perspective", "record", "start", "stream",
]  # fmt: skip

_HOME = {
    "ComposedSource": "composed", "Connection": "remote", "Item": "sources", "JobSource": "sources",
    "LiveFrame": "frames", "Pool": "pool", "Recording": "recording", "RenderQueue": "queue",
    "Sample": "samples", "Session": "session", "Source": "sources", "Stream": "streaming",
    "Truths": "truths", "connect": "remote", "look_at": "shots", "orbit": "shots",
    "perspective": "shots", "record": "recorder", "start": "starting", "stream": "streaming",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    # Whoever shows pictures alone needs no workers, and the other way round.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOME[name]}", __name__), name)
