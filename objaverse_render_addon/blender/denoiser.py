"""OpenImageDenoise as Cycles calls it, for a picture that was rendered in tiles.

Cycles denoises a render at its end, in one step that nobody can stop. Blender's library is in
memory, though, and is called here as Cycles calls it (``intern/cycles/integrator/
denoiser_oidn.cpp`` of Blender's sources): same filter, same guides, same settings, so that the bits
are the same. It asks now and then whether to go on; where it misses the answer, as Blender 4.2's
does now and then, what nobody wants any more is thrown away at its end. Whether the bits are indeed
the same is found out on a small picture before anything depends on it
(:func:`.refining.Refining.splits`).
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import Interrupted, RenderFailed

__all__ = ["Denoiser", "exposure_of_sums", "loaded"]

Array = npt.NDArray[np.float32]

_CPU: Final = 1  # OIDN_DEVICE_TYPE_CPU
_FLOAT3: Final = 3  # OIDN_FORMAT_FLOAT3
_FAST: Final = 4  # OIDN_QUALITY_FAST
_CANCELLED: Final = 6  # OIDN_ERROR_CANCELLED
_NAMES: Final = {
    "linux": ("libOpenImageDenoise.so.2",),
    "darwin": ("@rpath/libOpenImageDenoise.2.dylib", "@rpath/libOpenImageDenoise.dylib"),
    "win32": ("OpenImageDenoise.dll",),
}
_Monitor = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_double)


def loaded() -> Any:
    """Blender's own OpenImageDenoise 2; ``None`` where it has none, or another keeps it inside."""
    # Another copy of it may be another version, so that only what is in memory counts.
    mode = getattr(os, "RTLD_NOLOAD", 0) | getattr(os, "RTLD_NOW", 0)
    for name in _NAMES.get(sys.platform, ()):
        try:
            library = ctypes.CDLL(name, mode=mode)
            return _typed(library)
        except (OSError, AttributeError):
            continue
    return None


def exposure_of_sums(samples: int) -> tuple[float, float] | None:
    """With which exposure Cycles gives away a sum of samples, and what that is to be multiplied by.

    It multiplies with the exposure and the inverse of the samples; where the product is a power of
    two, nothing is rounded. ``None`` where there is none, as of 141 samples.
    """
    power = 2.0 ** int(np.ceil(np.log2(samples)))
    inverse = np.float32(1) / np.float32(samples)
    near = np.float32(samples / power)
    for exposure in (near, np.nextafter(near, np.float32(2)), np.nextafter(near, np.float32(0))):
        if np.float32(inverse * exposure) == np.float32(1 / power):
            return float(exposure), power
    return None


class Denoiser:
    """A device of the library, kept from picture to picture.

    Args:
        library: Of :func:`loaded`.

    Raises:
        RenderFailed: The library refuses.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        self._device = library.oidnNewDevice(_CPU)
        library.oidnSetDeviceBool(self._device, b"setAffinity", False)
        library.oidnCommitDevice(self._device)
        self._check()

    def __call__(
        self, color: Array, albedo: Array, normal: Array, samples: int,
        canceled: Callable[[], bool] = lambda: False,
    ) -> Array:  # fmt: skip
        """The picture without its noise.

        Args:
            color: (H, W, 3) linear, premultiplied, the sum of all samples: that is what Cycles has
                denoised, and a mean would come out a little otherwise. Of the whole of what it
                renders at once, for a pixel depends on all around it.
            albedo: (H, W, 3), the mean, as Cycles stores it.
            normal: (H, W, 3), the mean, the camera's axes.
            samples: How many.
            canceled: Asked before, now and then, and after.

        Raises:
            Interrupted: It was cancelled; there is no picture then, however far it was.
            RenderFailed: The library refuses.
        """
        if canceled():
            raise Interrupted("Cancelled.")
        library, (height, width, _) = self._library, color.shape
        images = {b"color": color, b"albedo": albedo, b"normal": normal, b"output": color}
        held = {
            # Cycles has rows from bottom to top.
            name: np.array(image[::-1], dtype=np.float32, order="C")
            for name, image in images.items()
        }
        ask = _Monitor(lambda _, __: not canceled())
        rt = library.oidnNewFilter(self._device, b"RT")
        try:
            for name, image in held.items():
                library.oidnSetSharedFilterImage(
                    rt, name, image.ctypes.data, _FLOAT3, width, height, 0, 0, 0
                )
            library.oidnSetFilterBool(rt, b"hdr", True)
            library.oidnSetFilterBool(rt, b"srgb", False)
            library.oidnSetFilterInt(rt, b"quality", _FAST)
            library.oidnSetFilterProgressMonitorFunction(rt, ask, None)
            library.oidnCommitFilter(rt)
            library.oidnExecuteFilter(rt)
            self._check()
        finally:
            library.oidnReleaseFilter(rt)
        # Version 2.3.0, which Blender 4.2 has, now and then ends well though it was told to stop.
        if canceled():
            raise Interrupted("Cancelled.")
        return held[b"output"][::-1] * (np.float32(1) / np.float32(samples))

    def _check(self) -> None:
        message = ctypes.c_char_p()
        code = self._library.oidnGetDeviceError(self._device, ctypes.byref(message))
        if code == _CANCELLED:
            raise Interrupted("Cancelled.")
        if code:
            said = (message.value or b"").decode(errors="replace")
            raise RenderFailed(f"OpenImageDenoise refuses: {said or code}.")


def _typed(library: Any) -> Any:
    """Its functions with their types."""
    pointer, size, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    functions: dict[str, tuple[Any, list[Any]]] = {
        "oidnNewDevice": (pointer, [ctypes.c_int]),
        "oidnSetDeviceBool": (None, [pointer, text, ctypes.c_bool]),
        "oidnCommitDevice": (None, [pointer]),
        "oidnGetDeviceError": (ctypes.c_int, [pointer, ctypes.POINTER(text)]),
        "oidnNewFilter": (pointer, [pointer, text]),
        "oidnSetSharedFilterImage": (
            None, [pointer, text, pointer, ctypes.c_int, size, size, size, size, size]
        ),
        "oidnSetFilterBool": (None, [pointer, text, ctypes.c_bool]),
        "oidnSetFilterInt": (None, [pointer, text, ctypes.c_int]),
        "oidnSetFilterProgressMonitorFunction": (None, [pointer, _Monitor, pointer]),
        "oidnCommitFilter": (None, [pointer]),
        "oidnExecuteFilter": (None, [pointer]),
        "oidnReleaseFilter": (None, [pointer]),
    }  # fmt: skip
    for name, (result, arguments) in functions.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
