"""Fields drawn by gsplat, where it and CUDA are.

Whether it draws what we mean is tried on a small field first: where its picture is another than
:mod:`.drawing`'s, or there is none, the processor draws.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import numpy as np

from ..cameras import Camera, Rig, intrinsics_of, look_at_pose
from .drawing import BLUR, NEAR, Pixels, Prepared, check_lens, draw
from .field import Field

__all__ = ["OnGpu", "on_gpu"]

_log = logging.getLogger(__name__)
_NEAR_ENOUGH: Final = 0.02
"""Colour; gsplat lets an alpha come nearer to 1."""


class OnGpu:
    """A field in a GPU's memory.

    Raises:
        ImportError: torch or gsplat is not installed.
    """

    def __init__(self, field: Field) -> None:
        import torch
        from gsplat import rasterization

        self._torch, self._rasterize, self._degree = torch, rasterization, field.degree
        wanted = (field.means, field.rotations, field.scales, field.opacities, field.harmonics)
        self._arrays = [self._moved(array) for array in wanted]

    def _moved(self, array: Any) -> Any:
        return self._torch.as_tensor(np.ascontiguousarray(array, np.float32), device="cuda")

    def draw(self, camera: Camera) -> Pixels:
        """As :func:`.drawing.draw`."""
        check_lens(camera)
        means, rotations, scales, opacities, harmonics = self._arrays
        with self._torch.no_grad():
            colors, alphas, _ = self._rasterize(
                means, rotations, scales, opacities, harmonics,
                self._moved(camera.world_to_camera_opencv[None]),
                self._moved(camera.intrinsics[None]), camera.width, camera.height,
                near_plane=NEAR, eps2d=BLUR, sh_degree=self._degree, render_mode="RGB+ED",
            )  # fmt: skip
        picture = colors[0].cpu().numpy()
        alpha = alphas[0, ..., 0].cpu().numpy()
        return Pixels(picture[..., :3], alpha, np.where(alpha > 0, picture[..., 3], 0))


def on_gpu(field: Field) -> OnGpu | None:
    """A field that a GPU draws; ``None`` where none does, or not as it should."""
    try:
        import torch

        if not torch.cuda.is_available():
            return None
        off = _difference()
        if off <= _NEAR_ENOUGH:
            return OnGpu(field)
        _log.warning("gsplat draws another picture (%.3f off): the processor draws.", off)
    except ImportError as error:
        if error.name == "gsplat":
            _log.warning(
                "There is CUDA, and no gsplat to draw with: the processor draws. pip install gsplat"
            )
    except Exception as error:  # Its kernels are compiled at first use, by whatever is there.
        _log.warning("gsplat does not draw (%s): the processor draws.", error)
    return None


def _difference() -> float:
    """Between gsplat's picture of a small field and ours, at most."""
    rng = np.random.default_rng(0)
    quaternions = rng.normal(size=(64, 4))
    field = Field(
        rng.uniform(-0.4, 0.4, (64, 3)).astype(np.float32),
        rng.uniform(0.02, 0.1, (64, 3)).astype(np.float32),
        (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).astype(np.float32),
        rng.uniform(0.1, 0.9, 64).astype(np.float32),
        (rng.normal(size=(64, 16, 3)) * 0.3).astype(np.float32),
    )
    lens = intrinsics_of("perspective", 50.0, (96, 64))
    camera = Camera(96, 64, lens, look_at_pose(30, 20, 1.6, Rig()))
    theirs = OnGpu(field).draw(camera)
    ours = draw(Prepared(field), camera)
    assert ours is not None
    return float(max(
        np.abs(ours.color - theirs.color).max(), np.abs(ours.alpha - theirs.alpha).max(),
        np.abs(ours.depth - theirs.depth)[ours.alpha > 0.1].max(),
    ))  # fmt: skip
