"""Fields of 3D Gaussians."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...cameras import Camera
from ...splats.field import Field
from ...splats.pictures import Painter, passes_of
from ..levels import Level
from . import Backend, Drawn

__all__ = ["FieldBackend"]


class FieldBackend(Backend):
    """Draws a field; see :class:`.Backend`.

    Drafts of a large one show its most important Gaussians alone.
    """

    passes: tuple[str, ...] = ("rgb", "depth", "mask")
    workers = 2

    def __init__(self, field: Field) -> None:
        self.field = field
        self._paint = Painter(field)
        self.drafts = self._paint.drafts

    def render(
        self,
        camera: Camera,
        level: Level,
        should_stop: Callable[[], bool],
        scene: Mapping[str, Any],
    ) -> Drawn | None:
        """See :class:`.Backend`."""
        del scene
        pixels = self._paint(camera, should_stop, draft=level.samples == 0)
        return None if pixels is None else Drawn(passes_of(pixels))

    def close(self) -> None:
        """See :class:`.Backend`."""
