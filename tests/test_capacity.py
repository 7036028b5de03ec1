from __future__ import annotations

import os
from pathlib import Path

import pytest

from objaverse_render_addon import machine as this_machine
from objaverse_render_addon.batch.lanes import capacity
from objaverse_render_addon.batch.lanes.capacity import Gpu, parse_gpus, places
from objaverse_render_addon.errors import DeviceUnavailable, InvalidJob
from objaverse_render_addon.job import RenderJob

GIB = 1 << 30


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    def make(cores: int = 8, memory: int = 64 * GIB, gpus: tuple[int, ...] = ()) -> None:
        found = [
            Gpu(index, "GPU", f"00000000:{index + 1:02X}:00.0", free)
            for index, free in enumerate(gpus)
        ]
        monkeypatch.setattr(capacity, "cores", lambda: cores)
        monkeypatch.setattr(capacity, "memory", lambda: memory)
        monkeypatch.setattr(capacity, "gpus", lambda: found)

    return make


def job(device: str = "auto", size: int = 512) -> RenderJob:
    return RenderJob().with_values({"engine.device": device, "pixels.resolution": [size, size]})


# Lines as nvidia-smi prints them with --format=csv,noheader,nounits.
H200 = "0, NVIDIA H200, 00000000:18:00.0, 143154\n1, NVIDIA H200, 00000000:2A:00.0, 12\n"
SPARK = "0, NVIDIA GB10, 0000000F:01:00.0, [N/A]\n"
ODD = (
    '0, "Tesla, the old one", 00000000:00:1E.0, 15109\n\n'
    "2, GRID, 00000000:3B:00.0, [Not Supported]\n"
)


def test_what_nvidia_smi_prints_is_understood(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(capacity, "memory", lambda: 119 * GIB)
    assert parse_gpus(H200) == [
        Gpu(0, "NVIDIA H200", "00000000:18:00.0", 143154 << 20),
        Gpu(1, "NVIDIA H200", "00000000:2A:00.0", 12 << 20),
    ]
    # Where a GPU shares the CPU's memory, it has that.
    assert parse_gpus(SPARK) == [Gpu(0, "NVIDIA GB10", "0000000F:01:00.0", 119 * GIB)]
    assert [(gpu.index, gpu.name) for gpu in parse_gpus(ODD)] == [
        (0, "Tesla, the old one"), (2, "GRID"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["", "\n", "No devices were found\n", "NVIDIA-SMI has failed because it couldn't …\n",
     "x, y, z, 1\n", "0, NVIDIA H200\n"],
)  # fmt: skip
def test_complaints_of_nvidia_smi_are_no_gpus(text: str):
    assert parse_gpus(text) == []


@pytest.mark.parametrize(
    ("output", "code", "count"),
    [(H200, 0, 2), ("", 9, 0), ("Failed to initialize NVML\n", 18, 0)],
)
def test_gpus_are_asked_of_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, code: int, count: int
):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{output}END\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert len(capacity.gpus()) == count
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert capacity.gpus() == []


@pytest.mark.parametrize(
    ("quota", "limit", "cores", "memory"),
    [
        ("150000 100000", "2147483648", 1, 2 * GIB),
        ("50000 100000", "max", 1, None),
        ("max 100000", "max", None, None),
    ],
)
def test_a_container_has_what_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota, limit, cores, memory
):
    (tmp_path / "cpu.max").write_text(quota)
    (tmp_path / "memory.max").write_text(limit)
    there_cores, there_memory = this_machine._machine_cores(), this_machine._machine_memory()
    monkeypatch.setattr(this_machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(this_machine, "_OWN_CGROUP", tmp_path / "cgroup")
    assert this_machine.cores() == min(there_cores, cores or there_cores)
    assert this_machine.memory() == min(there_memory, memory or there_memory)


def test_the_limits_of_every_group_above_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Slurm and systemd set them on a group below the root, or one of its parents."""
    job = tmp_path / "system.slice" / "job_7"
    (job / "step_0").mkdir(parents=True)
    (job / "memory.max").write_text(str(GIB))
    (job / "step_0" / "memory.max").write_text("max")
    (job / "step_0" / "cpu.max").write_text("100000 100000")
    (tmp_path / "cgroup").write_text("0::/system.slice/job_7/step_0\n")
    monkeypatch.setattr(this_machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(this_machine, "_OWN_CGROUP", tmp_path / "cgroup")
    assert this_machine.cores() == 1
    assert this_machine.memory() == GIB


def test_this_machine_has_something():
    assert this_machine.cores() >= 1
    assert this_machine.memory() > 1 << 28


# --- Places ---------------------------------------------------------------------------------


def test_a_worker_per_core_shares_them(machine):
    machine(cores=8)
    found = places(job())
    assert [place.name for place in found] == [f"cpu {n}" for n in range(1, 9)]
    assert {place.threads for place in found} == {1}
    assert {place.threads for place in places(job(), workers=3)} == {2}
    assert [place.threads for place in places(job(), workers=16)] == [1] * 16


def test_memory_and_resolution_bound_the_workers(machine):
    machine(cores=64, memory=16 * GIB)
    small, large = len(places(job(size=256))), len(places(job(size=4096)))
    assert small == 15
    assert 1 <= large < 3
    machine(cores=64, memory=1 << 20)
    assert len(places(job())) == 1
    machine(cores=4, memory=0)
    assert len(places(job())) == 4


def test_there_are_no_more_workers_than_assets(machine):
    machine(cores=8)
    found = places(job(), assets=3)
    assert len(found) == 3
    assert {place.threads for place in found} == {2}
    assert len(places(job(), workers=5, assets=3)) == 5, "a number that is given counts"


def test_gpus_are_balanced_and_bound(machine):
    machine(cores=32, gpus=(80 * GIB, 80 * GIB))
    found = places(job("optix"))
    assert [place.name for place in found] == ["gpu 0", "gpu 1"] * 3
    assert found[1].environment == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1",
    }  # fmt: skip
    assert found[1].bus_id == "00000000:02:00.0"
    assert {place.threads for place in found} == {5}
    assert [place.name for place in places(job(), workers=3)] == ["gpu 0", "gpu 1", "gpu 0"]


@pytest.mark.parametrize(
    ("cores", "memory", "gpus", "count"),
    [
        (32, 256, (80,), 3),
        (32, 256, (8, 80), 4),
        (32, 256, (2, 2), 2),
        (2, 256, (80,), 2),
        (1, 256, (80, 80, 80, 80), 4),
        (32, 4, (80, 80), 2),
        (32, 0, (80,), 3),
    ],
)
def test_a_gpu_carries_as_many_workers_as_fit(machine, cores, memory, gpus, count):
    machine(cores, memory * GIB, tuple(free * GIB for free in gpus))
    assert len(places(job("cuda"))) == count


def test_gpus_are_chosen_by_number(machine):
    machine(cores=8, gpus=(80 * GIB,) * 4)
    found = places(job(), wanted_gpus=[3, 1, 3], workers=2)
    assert [place.environment["CUDA_VISIBLE_DEVICES"] for place in found] == ["3", "1"]
    with pytest.raises(DeviceUnavailable, match="no GPU 7, 9; this machine has 0, 1, 2, 3"):
        places(job(), wanted_gpus=[0, 7, 9])
    machine(gpus=())
    with pytest.raises(DeviceUnavailable, match="has none") as caught:
        places(job("cpu"), wanted_gpus=[0])
    assert "--gpus" in caught.value.hint


def test_the_cpu_is_used_where_it_is_asked_for(machine):
    machine(cores=4, gpus=(80 * GIB,))
    assert {place.bus_id for place in places(job("cpu"))} == {""}


@pytest.mark.parametrize("device", ["hip", "metal", "oneapi"])
def test_gpus_that_nobody_can_tell_apart_get_one_worker(machine, device: str):
    machine()
    assert [place.name for place in places(job(device))] == ["gpu"]
    assert len(places(job(device), workers=2)) == 2


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers_are_refused(workers: int):
    with pytest.raises(InvalidJob, match="--workers"):
        places(job(), workers=workers)
