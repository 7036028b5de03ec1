"""How many workers a machine carries, and what each of them renders on."""

from __future__ import annotations

import contextlib
import csv
import io
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ...errors import DeviceUnavailable, InvalidJob
from ...job import RenderJob
from ...machine import cores, memory
from ...worker.supervisor import Place

__all__ = ["Gpu", "gpus", "places"]

_WORKER_MEMORY: Final = 1 << 30
"""Bytes for Blender, its libraries and an asset of ordinary size."""
_PIXEL_MEMORY: Final = 600
"""Bytes per pixel of all passes of the views in hand, with their copies."""
_GPU_WORKER_MEMORY: Final = 3 << 30
PER_GPU: Final = 3
"""One worker imports and one writes while one renders; more only wait for each other."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """An NVIDIA GPU.

    Attributes:
        index: As ``nvidia-smi`` counts, in the order of PCI addresses.
        free: Bytes of its memory that nobody uses.
    """

    index: int
    name: str
    bus_id: str
    free: int


def gpus() -> list[Gpu]:
    """The NVIDIA GPUs of this machine; of other makers none is told apart."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = "--query-gpu=index,name,pci.bus_id,memory.free"
    try:
        done = subprocess.run(
            [program, query, "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_gpus(done.stdout)


def parse_gpus(text: str) -> list[Gpu]:
    """What ``nvidia-smi`` printed, as CSV without header or units."""
    found = []
    for row in csv.reader(io.StringIO(text), skipinitialspace=True):
        # Memory may be "[N/A]": shared with the CPU.
        with contextlib.suppress(ValueError, IndexError):
            free = int(row[3]) << 20 if row[3].isdecimal() else memory()
            found.append(Gpu(int(row[0]), row[1], row[2], free))
    return found


def places(
    job: RenderJob,
    *,
    workers: int | None = None,
    wanted_gpus: Sequence[int] | None = None,
    assets: int | None = None,
) -> list[Place]:
    """Where to render: one place per worker.

    Args:
        workers: Their number; ``None`` chooses by cores, memory, GPU memory and resolution.
        wanted_gpus: Indices of the GPUs to use; ``None`` takes all that the job's device means.
        assets: So many are to be rendered: more workers have nothing to do.

    Raises:
        DeviceUnavailable: A GPU was asked for that is not there.
        InvalidJob: ``workers`` is no number of workers.
    """
    if workers is not None and workers < 1:
        raise InvalidJob("--workers has to be at least 1, or auto.")
    device = job.engine.device
    used: list[Gpu] = []
    if device in ("auto", "cuda", "optix") or wanted_gpus is not None:
        there = gpus()
        if wanted_gpus is None:
            used = there
        else:
            by_index = {gpu.index: gpu for gpu in there}
            missing = [str(index) for index in wanted_gpus if index not in by_index]
            if missing:
                raise DeviceUnavailable(
                    f"There is no GPU {', '.join(missing)}; this machine has "
                    f"{', '.join(map(str, by_index)) or 'none'}.",
                    hint="nvidia-smi lists them."
                    if by_index
                    else "Leave --gpus out to render on what there is.",
                )
            used = [by_index[index] for index in dict.fromkeys(wanted_gpus)]
    if used:
        return _on_gpus(used, workers, assets)
    if device in ("auto", "cpu"):
        return _on_cpu(job, workers, assets)
    # Blender itself finds these; nobody here can tell them apart.
    return [Place("gpu")] * (workers or 1)


def _on_gpus(used: list[Gpu], workers: int | None, assets: int | None) -> list[Place]:
    if workers is None:
        per_gpu = min(min(gpu.free for gpu in used) // _GPU_WORKER_MEMORY, PER_GPU)
        workers = min(max(1, per_gpu) * len(used), max(len(used), cores()))
        if memory():
            workers = min(workers, max(1, memory() // (2 * _WORKER_MEMORY)))
        workers = min(workers, assets or workers)
    threads = max(1, cores() // workers)
    return [
        Place(
            f"gpu {gpu.index}",
            {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(gpu.index)},
            threads,
            gpu.bus_id,
        )
        for gpu in (used[number % len(used)] for number in range(workers))
    ]


def _on_cpu(job: RenderJob, workers: int | None, assets: int | None) -> list[Place]:
    count = cores()
    if workers is None:
        width, height = job.pixels.resolution
        need = _WORKER_MEMORY + _PIXEL_MEMORY * width * height
        # A worker per core: import, checks and packing know one core only.
        workers = min(count, max(1, memory() // need)) if memory() else count
        workers = min(workers, assets or workers)
    threads = max(1, count // workers)
    return [Place(f"cpu {number + 1}", {}, threads) for number in range(workers)]
