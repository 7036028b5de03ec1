"""All operators, what they do is in ``operators_*``: read settings, call a function, report.

``invoke`` is modal and never blocks the window, ``execute`` blocks and raises; both drive the
same run. In background Blender always executes.
"""

from __future__ import annotations

from typing import Any

import bpy

from . import (
    operators_asset,
    operators_cameras,
    operators_gallery,
    operators_job,
    operators_render,
    running,
)

__all__ = ["register", "unregister"]

_CLASSES = (
    *operators_asset.CLASSES,
    *operators_cameras.CLASSES,
    *operators_render.CLASSES,
    *operators_gallery.CLASSES,
    *operators_job.CLASSES,
)


@bpy.app.handlers.persistent
def _on_load(*_: Any) -> None:
    """Another file is being opened: what is going on belongs to the old one."""
    operators_asset.end_fetch(bpy.context)
    running.end(bpy.context)


def register() -> None:
    """Register the classes."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.app.handlers.load_pre.append(_on_load)


def unregister() -> None:
    """Stop what runs and leave nothing behind."""
    operators_asset.end_fetch(bpy.context)
    running.end(bpy.context)
    running.discard_last()
    bpy.app.handlers.load_pre.remove(_on_load)
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
