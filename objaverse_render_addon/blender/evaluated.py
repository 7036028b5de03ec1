"""The scene as a render sees it, which is not what the viewport shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import bpy

from ..errors import RenderFailed
from . import compat

__all__ = ["Look", "Onlooker"]

Look = Callable[[Callable[[Any], Any]], Any]
"""Gives a task the evaluated dependency graph of what renders, and what the task makes of it.
The task must not change anything."""
_T = TypeVar("_T")
_look: Callable[[Any, Any], None] | None = None


class _Engine(bpy.types.RenderEngine):
    """Draws nothing: Blender shows what it would render to render engines alone."""

    bl_idname = "OBJAVERSE_LOOK"
    bl_label = "Objaverse Look"

    def update(self, _: Any, depsgraph: Any) -> None:
        if _look is not None:
            _look(self, depsgraph)

    def render(self, depsgraph: Any) -> None:
        pass


class Onlooker:
    """Looks at what renders: render levels, render visibility and "Is Viewport" off.

    It has a scene of its own, so that what another engine keeps between renders stays.

    Args:
        name: Of its scene.
    """

    def __init__(self, name: str = "Objaverse Look") -> None:
        if not _Engine.is_registered:
            bpy.utils.register_class(_Engine)
        self.scene = scene = bpy.data.scenes.new(name)
        scene.camera = bpy.data.objects.new(scene.name, bpy.data.cameras.new(scene.name))
        compat.set_checked(
            scene.render,
            engine=_Engine.bl_idname, resolution_x=8, resolution_y=8, use_compositing=False,
            use_sequencer=False, use_simplify=False, use_persistent_data=False,
        )  # fmt: skip

    def look(self, moment: float, task: Callable[[Any], _T], *, elsewhen: bool = False) -> _T:
        """What ``task`` makes of the evaluated dependency graph at a moment of its time.

        Args:
            elsewhen: Whether that is another than what was given to Blender last: a new graph
                leaves what is animated as it found it.

        Raises:
            RenderFailed: Blender did not come to show the scene.
            Exception: What the task raises.
        """
        global _look
        results: list[_T] = []
        failures: list[Exception] = []

        whole = math.floor(moment)

        def look(engine: Any, depsgraph: Any) -> None:
            try:
                if elsewhen:
                    engine.frame_set(whole, moment - whole)
                results.append(task(depsgraph))
            except Exception as error:
                failures.append(error)

        self.scene.frame_current, self.scene.frame_subframe = whole, moment - whole
        _look = look
        try:
            bpy.ops.render.render(scene=self.scene.name)
        except RuntimeError as error:
            raise RenderFailed(f"Blender could not evaluate: {str(error).strip()}.") from error
        finally:
            _look = None
        if failures:
            raise failures[0]
        if not results:
            raise RenderFailed("Blender evaluated nothing.")
        return results[0]
