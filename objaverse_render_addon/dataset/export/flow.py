"""Optical flow as benchmarks keep it: ``.flo`` (Middlebury, Sintel), KITTI's PNG, ``.flo5``.

Formats: https://vision.middlebury.edu/flow/code/flow-code/README.txt,
https://www.cvlibs.net/datasets/kitti/eval_flow.php (its development kit),
https://spring-benchmark.org/faq
"""

from __future__ import annotations

import io
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from ..images import encode_png
from .base import Format
from .scene import Scene
from .target import SceneFiles

__all__ = ["KittiFlow", "Sintel", "Spring"]

Array = npt.NDArray[Any]
_MAGIC: Final = 202021.25
_UNKNOWN: Final = 1e10
"""Above 1e9 Middlebury's files say that flow is not known."""
_STEPS: Final = 64
_ZERO: Final = 1 << 15
DIRECTIONS: Final = ("forward", "backward")


class _Flow(Format):
    """``<key>/frames/NNNNN.png`` and a folder for each direction; below ``<key>/NNN`` for each of
    several cameras. A file of a folder is of the picture of its number.
    """

    holds: ClassVar[tuple[str, ...]] = (
        "rgb", "flow_forward", "flow_backward", "occlusion_forward", "occlusion_backward",
    )  # fmt: skip
    needs: ClassVar[tuple[str, ...]] = ("rgb", "flow_forward")
    has_time: ClassVar[bool] = True
    ending: ClassVar[str]

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        nowhere = 0
        for folder, views in scene.sequences.items():
            home = scene.key + folder
            for number, view in enumerate(views):
                out.add(f"{home}/frames/{number:05d}.png", scene.rgb_png(view))
                for way in DIRECTIONS:
                    if not scene.has(f"flow_{way}"):
                        continue
                    flow = scene.array(view, f"flow_{way}")
                    # Nothing is known of the background, which is stored as 0.
                    known = np.isfinite(flow).all(axis=-1) & (
                        scene.mask(view) if scene.has_mask else (flow != 0).any(axis=-1)
                    )
                    if not known.any():
                        # There is no frame that it could lead to.
                        nowhere += 1
                        continue
                    data = self.encoded(scene, flow, known)
                    out.add(f"{home}/flow_{way}/{number:05d}.{self.ending}", data)
                    if scene.has(f"occlusion_{way}"):
                        hidden = scene.array(view, f"occlusion_{way}") > 0
                        picture = encode_png(hidden.astype(np.uint8) * 255)
                        out.add(f"{home}/occlusion_{way}/{number:05d}.png", picture)
        if nowhere:
            scene.note("dropped", "a clip's last frame has no flow forward, its first none "
                       "backward: there is no file (files)", nowhere)  # fmt: skip
        return {}

    def encoded(self, scene: Scene, flow: Array, known: Array) -> bytes:
        """The file of a flow (H, W, 2), right and down, that is known somewhere."""
        raise NotImplementedError


class Sintel(_Flow):
    """Float32, right and down, row by row; what is not known is 1e10."""

    name: ClassVar[str] = "sintel"
    about: ClassVar[str] = "pictures and flow as .flo (Middlebury, Sintel), occlusion as PNG"
    ending: ClassVar[str] = "flo"

    def encoded(self, scene: Scene, flow: Array, known: Array) -> bytes:  # noqa: ARG002
        """See :class:`_Flow`."""
        height, width = known.shape
        data = np.where(known[..., None], flow, _UNKNOWN).astype("<f4")
        size = np.array([width, height], "<i4").tobytes()
        return np.array(_MAGIC, "<f4").tobytes() + size + data.tobytes()


class KittiFlow(_Flow):
    """16 bits: red right and green down in 1/64 pixel from 32768, blue 1 where it is known."""

    name: ClassVar[str] = "kitti-flow"
    about: ClassVar[str] = "pictures and flow as KITTI's 16-bit PNG, in steps of 1/64 pixel"
    ending: ClassVar[str] = "png"

    def encoded(self, scene: Scene, flow: Array, known: Array) -> bytes:
        """See :class:`_Flow`."""
        steps = np.round(np.where(known[..., None], flow, 0).astype(np.float64) * _STEPS) + _ZERO
        beyond = ((steps < 0) | (steps > 65535)).any(axis=-1)
        scene.note("clipped", "flow of 512 pixels and more is not known (pixels)",
                   int(beyond.sum()))  # fmt: skip
        scene.note("quantised", "flow in steps of 1/64 pixel (files)", worst=0.5 / _STEPS)
        valid = known & ~beyond
        data = np.dstack([np.where(valid[..., None], steps, 0), valid]).astype(np.uint16)
        return encode_png(data)


class Spring(_Flow):
    """HDF5 with ``flow``, float32 (H, W, 2), gzip; nan where it is not known."""

    name: ClassVar[str] = "spring"
    about: ClassVar[str] = "pictures and flow as Spring's .flo5 (HDF5)"
    ending: ClassVar[str] = "flo5"
    modules: ClassVar[tuple[str, ...]] = ("h5py",)
    extra: ClassVar[str] = "hdf5"

    def encoded(self, scene: Scene, flow: Array, known: Array) -> bytes:
        """See :class:`_Flow`."""
        import h5py

        scene.note("differs", "flow has the pictures' size; Spring's own has twice that (files)")
        data = np.where(known[..., None], flow, np.nan).astype(np.float32)
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file.create_dataset("flow", data=data, compression="gzip", compression_opts=5)
        return buffer.getvalue()
