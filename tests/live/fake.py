"""A backend that draws numbers instead of things, in pieces of a time that is said."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from objaverse_render_addon.cameras import Camera, intrinsics_of, look_at_pose
from objaverse_render_addon.cameras.camera import Rig
from objaverse_render_addon.live.backends import Backend, Drawn
from objaverse_render_addon.live.levels import Level


def camera_of(number: float, width: int = 64, height: int = 48) -> Camera:
    """One camera for each number."""
    pose = look_at_pose(number * 7.3 % 360, 20.0, 2.0 + number % 1000 * 1e-3, Rig())
    return Camera(
        width, height, intrinsics_of("perspective", 50.0, (width, height)), pose
    )


class FakeBackend(Backend):
    """Its picture tells the camera's position and the level.

    Args:
        pieces: Of a level of so many pixels.
        piece: What one takes; by default it sleeps a millisecond.
    """

    passes = ("rgb", "depth", "mask")

    def __init__(
        self,
        piece: Callable[[], None] = lambda: time.sleep(0.001),
        pieces: Callable[[Level], int] = lambda level: 2 + level.width // 16 + level.samples,
        samples: int = 4,
        workers: int = 4,
    ) -> None:
        self._samples, self.workers = samples, workers
        self._piece, self._pieces = piece, pieces
        self.began: list[Level] = []
        self.stopped = 0
        self.closed = 0

    def samples(self, scene: Mapping[str, Any]) -> int:
        del scene
        return self._samples

    def render(
        self,
        camera: Camera,
        level: Level,
        should_stop: Callable[[], bool],
        scene: Mapping[str, Any],
    ) -> Drawn | None:
        self.began.append(level)
        if "fault" in scene:
            raise ValueError(scene["fault"])
        for _ in range(self._pieces(level)):
            self._piece()
            if should_stop():
                self.stopped += 1
                return None
        position = camera.camera_to_world[:3, 3].astype(np.float32)
        depth = np.full((camera.height, camera.width), np.linalg.norm(position), np.float32)
        rgb = np.full((*depth.shape, 4), 255, np.uint8)
        rgb[..., 0] = level.samples
        mask = np.ones(depth.shape, np.uint8)
        return Drawn({"rgb": rgb, "depth": depth, "mask": mask}, level.samples)

    def close(self) -> None:
        self.closed += 1
