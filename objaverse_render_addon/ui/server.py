"""Renders on a server instead of this machine, where the preferences name one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

from ..batch.background import BackgroundRun
from ..job import RenderJob
from ..live.asset_lane import server_lanes
from ..live.backends.served import ServedBackend
from . import preferences

__all__ = ["backend", "packed", "use"]


def _wanted(context: bpy.types.Context) -> tuple[str, str] | None:
    """Address and key; ``None`` where renders are this machine's."""
    own: Any = preferences.get(context)
    address = own.server.strip() if own is not None else ""
    return (address, own.server_key.strip()) if address else None


def use(context: bpy.types.Context, run: BackgroundRun) -> None:
    """Let a run, which has its options, render on the server."""
    wanted = _wanted(context)
    if wanted is not None:
        timeout = run.options.get("timeout", 300.0)
        run.lanes = server_lanes(*wanted, timeout=timeout, previews=run.previews)
        run.status = "Reaching the server"


def backend(context: bpy.types.Context) -> Any:
    """Makes what the live view draws with, of a path, a job and a name, in any thread; ``None``
    where that is this machine.
    """
    wanted = _wanted(context)
    if wanted is None:
        return None
    address, key = wanted

    def made(path: Path, job: RenderJob, name: str) -> ServedBackend:
        return ServedBackend(path, job, address=address, key=key, asset_id=name)

    return made


@contextlib.contextmanager
def packed(context: bpy.types.Context) -> Iterator[None]:
    """Within, images are in the file that is saved, where a server gets it; as before behind it."""
    images = []
    if _wanted(context) is not None:
        for image in bpy.data.images:
            outside = image.source in {"FILE", "TILED"} and not image.packed_files
            if outside and image.users and image.filepath and not image.is_dirty:
                # One that is missing stays so, and the worker says it.
                with contextlib.suppress(RuntimeError):
                    image.pack()
                    images.append(image)
    try:
        yield
    finally:
        for image in images:
            if image.packed_files:
                image.unpack(method="REMOVE")
