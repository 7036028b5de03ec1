"""Starts a pool of workers on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ..batch.lanes import capacity
from ..errors import DeviceUnavailable, InvalidJob
from ..job import RenderJob
from ..worker.supervisor import Place
from ..worker.wall import Sandbox
from .pool import Pool
from .vram import VramLimit
from .worker_lane import WorkerLane

__all__ = ["start"]


def start(
    workers: int | Literal["auto"] = "auto",
    *,
    gpus: Sequence[int] | None = None,
    device: str = "auto",
    blender: str | Path | None = None,
    scratch: str | Path | None = None,
    max_memory: int = 0,
    max_vram: int = 0,
    sandbox: Sandbox = "auto",
    modules: Sequence[str] = (),
    folders: Sequence[str | Path] = (),
    standby: bool = False,
) -> Pool:
    """Workers on this machine; they start when they are needed.

    Args:
        workers: Their number, or ``auto``: by cores, memory and what GPUs have free.
        gpus: NVIDIA GPUs to use, as ``nvidia-smi`` counts; all otherwise.
        device: What renders: ``auto``, ``cpu``, or a kind of GPU.
        blender: Program of an installed Blender; pip's ``bpy`` otherwise.
        scratch: Where workers have their folders.
        max_memory: Bytes that a worker may take; 0 for no limit.
        max_vram: Bytes of a GPU's memory that a worker may take; 0 for no limit.
        sandbox: Whether workers are shut in (docs/security.md).
        modules: Names of modules whose functions may be called beside a scene
            (:meth:`.session.Session.call`).
        folders: Where files will lie that are opened or added, as far as that is known: a worker
            that is shut in is replaced when one lies elsewhere.
        standby: Whether one worker more waits as soon as a scene was opened, for each GPU one: it
            takes the place of one that had to be ended, as in the middle of a long render that was
            cancelled. It takes the memory of an empty Blender.

    Raises:
        DeviceUnavailable: A GPU was asked for that is not there, or a limit that cannot hold.
        InvalidJob: Some number is none of workers.
    """
    job = RenderJob().with_values({"engine.device": device})
    places = capacity.places(
        job, workers=None if workers == "auto" else workers, wanted_gpus=gpus
    )
    if max_vram:
        # Only so many fit into what the GPUs have free.
        free = {gpu.bus_id: gpu.free for gpu in capacity.gpus()}
        fitting: list[Any] = []
        for place in places:
            beside = sum(one.bus_id == place.bus_id for one in fitting)
            if not place.bus_id or free.get(place.bus_id, 0) >= (beside + 1) * max_vram:
                fitting.append(place)
        if not fitting:
            raise InvalidJob(
                f"No GPU has {max_vram / 2**20:,.0f} MiB free.", hint="Lower --max-vram."
            )
        places = fitting
        if device != "cpu" and not any(place.bus_id for place in places):
            raise DeviceUnavailable(
                "Nobody here says how much memory of a GPU a worker takes, so that no limit holds.",
                hint="--max-vram needs NVIDIA's driver; leave it out, or render on the CPU "
                "(--device cpu).",
            )
    look = VramLimit(max_vram) if max_vram else lambda _: None

    def lane(place: Place) -> WorkerLane:
        return WorkerLane(
            place, blender=None if blender is None else Path(blender),
            scratch=None if scratch is None else Path(scratch), max_memory=max_memory,
            sandbox=sandbox, modules=modules, folders=[Path(one).absolute() for one in folders],
            look=look,
        )  # fmt: skip

    waiting = {place.bus_id: place for place in places} if standby else {}
    return Pool(
        [lane(place) for place in places],
        standby=[lane(replace(one, name=f"{one.name}, waiting")) for one in waiting.values()],
    )
