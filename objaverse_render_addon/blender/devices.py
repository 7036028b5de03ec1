"""Which processor renders: what there is, what was asked for, and what was used."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import bpy

from ..errors import DeviceUnavailable, OutOfMemory, RenderError, RenderFailed, WorkerCrashed
from .compat import set_checked

__all__ = [
    "Device",
    "available_devices",
    "gpu_beside",
    "gpu_ids",
    "render_failure",
    "select_device",
    "used_device",
]

_OF_A_GPU: Final = re.compile(
    r"\b(?:GPU|CUDA\w*|OptiX|OPTIX\w*|HIP\w*|oneAPI|SYCL|Metal)\b|\b(?:cu|hip|optix)[A-Z]\w+"
)
"""In the words of Cycles, whose errors have no numbers: names of programs, and of their calls."""
# Best first.
GPU_KINDS: Final = ("OPTIX", "CUDA", "HIP", "ONEAPI", "METAL")


@dataclass(frozen=True, slots=True)
class Device:
    """A processor that Cycles renders on.

    Attributes:
        kind: ``CPU`` or one of :data:`GPU_KINDS`.
    """

    kind: str
    names: tuple[str, ...]


def _preferences() -> Any:
    return bpy.context.preferences.addons["cycles"].preferences


def available_devices() -> dict[str, list[str]]:
    """Kind to names of what this Blender can render on; ``CPU`` is always there."""
    preferences = _preferences()
    found: dict[str, list[str]] = {"CPU": []}
    for kind in ("NONE", *GPU_KINDS):
        try:
            devices = preferences.get_devices_for_type(kind)
        except (ValueError, TypeError):
            continue  # Not built into this Blender.
        for device in devices or ():
            if device.type == "CPU":
                found["CPU"] = sorted({*found["CPU"], device.name})
            elif device.type == kind:
                found.setdefault(kind, []).append(device.name)
    return found


def gpu_ids() -> list[str]:
    """Cycles' own names of the GPUs that this process sees; NVIDIA's hold the PCI address."""
    found = set()
    for kind in GPU_KINDS:
        try:
            devices = _preferences().get_devices_for_type(kind)
        except (ValueError, TypeError):
            continue
        found |= {device.id for device in devices or () if device.type == kind}
    return sorted(found)


def gpu_beside(devices: Path = Path("/dev")) -> str:
    """A GPU that this machine shows this process and that Cycles may not be able to use.

    Args:
        devices: Folder of the device files.

    Returns:
        What gives it away; empty where there is none, where it was hidden on purpose, or where the
        system (macOS, Windows) has no such sign.
    """
    hidden = {"", "-1", "NoDevFiles"}
    signs = ("CUDA_VISIBLE_DEVICES", "nvidia[0-9]*"), ("HIP_VISIBLE_DEVICES", "kfd")
    for variable, pattern in signs:
        found = sorted(devices.glob(pattern)) if devices.is_dir() else []
        if found and os.environ.get(variable, "all") not in hidden:
            return str(found[0])
    return ""


def used_device(scene: Any) -> Device:
    """What Cycles renders a scene on, as scene and preferences are now, whatever was wished.

    Cycles says it nowhere in what it writes. It chooses by these when a render begins, and takes
    the CPU where none of the kind is switched on (``blender_device_info`` in its sources).
    """
    found = _preferences()
    kind = str(found.compute_device_type)
    if scene.cycles.device == "GPU" and kind != "NONE":
        names = tuple(device.name for device in found.devices if device.use and device.type == kind)
        if names:
            return Device(kind, names)
    return Device("CPU", tuple(available_devices()["CPU"]))


def select_device(wanted: str) -> Device:
    """Make Cycles use a device; what was asked for and is not there is an error.

    Args:
        wanted: ``auto`` (the best GPU, else the CPU), ``cpu``, or a GPU kind in lower case.

    Raises:
        DeviceUnavailable: With what there is instead.
    """
    found = available_devices()
    preferences = _preferences()
    kinds = [kind for kind in GPU_KINDS if kind in found] if wanted == "auto" else [wanted.upper()]
    for kind in kinds:
        if kind == "CPU":
            break
        if kind not in found:
            there = ", ".join(
                f"{kind.lower()} ({'; '.join(names)})" if names else kind.lower()
                for kind, names in found.items()
            )
            raise DeviceUnavailable(
                f"The device {wanted} was asked for, but this Blender has: {there}.",
                hint="Use --device auto or one of these.",
            )
        set_checked(preferences, compute_device_type=kind)
        for device in preferences.get_devices_for_type(kind):
            set_checked(device, use=device.type == kind)
        return Device(kind, tuple(found[kind]))
    set_checked(preferences, compute_device_type="NONE")
    return Device("CPU", tuple(found["CPU"]))


def render_failure(error: RuntimeError, what: str = "render") -> RenderError:
    """What a render that Blender ended with an error failed of.

    A GPU that is lost, or whose context is broken, renders nothing more for the process that had
    it: that is this process's end, and no fault of what was rendered.
    """
    said = str(error).strip().removeprefix("Error: ").rstrip(".")
    if not _OF_A_GPU.search(said):
        return RenderFailed(f"Blender could not {what}: {said}.")
    if re.search("out of .*memory", said, re.IGNORECASE):
        return OutOfMemory(
            f"The GPU has no memory left: {said}.",
            hint="Render smaller pictures or with fewer workers, or choose --device cpu.",
        )
    return WorkerCrashed(
        f"The GPU failed: {said}.", hint="See what objaverse-render doctor says of it."
    )
