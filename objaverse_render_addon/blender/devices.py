"""Which processor renders: what there is, what was asked for, and what was used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import bpy

from ..errors import DeviceUnavailable

__all__ = ["Device", "available_devices", "gpu_ids", "select_device"]

# Best first.
GPU_KINDS: Final = ("OPTIX", "CUDA", "HIP", "ONEAPI", "METAL")


@dataclass(frozen=True, slots=True)
class Device:
    """The processor that Cycles was told to use.

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
        preferences.compute_device_type = kind
        for device in preferences.get_devices_for_type(kind):
            device.use = device.type == kind
        return Device(kind, tuple(found[kind]))
    preferences.compute_device_type = "NONE"
    return Device("CPU", tuple(found["CPU"]))
