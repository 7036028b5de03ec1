"""An environment that runs, in a browser: from any side, while something else steps it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from ...cameras import Camera
from ..backends import Backend, Drawn
from ..levels import Given, Level
from ..page import Pane, Viewer
from ..queue import RenderQueue
from .rows import EnvironmentRows

__all__ = ["EnvironmentBackend", "watch"]

_SOON: Final = 0.02


class EnvironmentBackend(Backend):
    """Draws an environment in the state that it is in.

    What a picture shows is said by its scene: ``row``, which of many; ``state``, what it is at
    least in.
    """

    passes: tuple[str, ...] = ("rgb", "depth")

    def __init__(self, crew: EnvironmentRows) -> None:
        self._crew = crew

    def render(
        self,
        camera: Camera,
        level: Level,
        should_stop: Callable[[], bool],
        scene: Mapping[str, Any],
    ) -> Drawn | None:
        """See :class:`..backends.Backend`."""
        del level
        if should_stop():
            return None
        rgb, depth = self._crew.seen(int(scene.get("row", 0)), camera)
        alpha = np.full((*depth.shape, 1), 255, np.uint8)
        return Drawn({"rgb": np.concatenate([rgb, alpha], axis=2), "depth": depth})

    def close(self) -> None:
        """The environment is somebody else's."""


class _Following(RenderQueue):
    """Asks again from where somebody looks, whenever the environment is in another state."""

    def __init__(self, crew: EnvironmentRows, row: int) -> None:
        self._crew, self._row = crew, row
        self._camera: Camera | None = None
        self._over = threading.Event()
        super().__init__(EnvironmentBackend(crew), Given([Level(*crew.size)]))
        threading.Thread(target=self._follow, name="environment-view", daemon=True).start()

    def update_camera(self, camera: Camera, scene: Mapping[str, Any] | None = None) -> int:
        """See :class:`..queue.RenderQueue`."""
        self._camera = camera
        now = {"row": self._row, "state": int(self._crew.arrays["state"][self._row])}
        return super().update_camera(camera, {**now, **(scene or {})})

    def _follow(self) -> None:
        shown = -1
        while not self._over.wait(_SOON):
            state, camera = int(self._crew.arrays["state"][self._row]), self._camera
            if camera is not None and state != shown:
                shown = state
                self.update_camera(camera)

    def close(self) -> None:
        """See :class:`..queue.RenderQueue`."""
        self._over.set()
        super().close()


def watch(environment: Any, *, row: int = 0, port: int = 0) -> Viewer:
    """A page that shows an environment while it runs; close it, or use it in ``with``.

    Pictures take their turn between steps, which wait for them meanwhile.

    Args:
        environment: Of this package, maybe wrapped; an episode has begun.
        row: Which of many.
        port: See :class:`..page.Viewer`; its ``address`` is what a browser opens.

    Raises:
        MissingDependency: websockets is not installed.
    """
    crew: EnvironmentRows = environment.unwrapped.crew
    camera = crew.camera()
    eye, back = camera.camera_to_world[:3, 3], camera.camera_to_world[:3, 2]
    # What the camera looks at is taken to be where it passes the origin nearest.
    away = max(float(eye @ back), 1e-3)
    center = (eye - away * back).tolist()
    pane = Pane(
        crew.name.partition(":")[2], _Following(crew, row), EnvironmentBackend.passes, (camera,),
        (center[0], center[1], center[2]), 0.4 * away, ("the scene's",),
    )  # fmt: skip
    return Viewer([pane], port)
