"""All operators, what they do is in :mod:`.ui.operators`: read settings, call a function, report.

``invoke`` is modal and never blocks the window, ``execute`` blocks and raises; both drive the
same run. In background Blender always executes.
"""

from __future__ import annotations

from typing import Any

import bpy

from .ui import run_state
from .ui.operators import asset, cameras, gallery, job, render

__all__ = ["register", "unregister"]

_CLASSES = (
    *asset.CLASSES,
    *cameras.CLASSES,
    *render.CLASSES,
    *gallery.CLASSES,
    *job.CLASSES,
)


@bpy.app.handlers.persistent
def _on_load(*_: Any) -> None:
    """Another file is being opened: what is going on belongs to the old one."""
    asset.end_fetch(bpy.context)
    run_state.end(bpy.context)


def register() -> None:
    """Register the classes."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.app.handlers.load_pre.append(_on_load)


def unregister() -> None:
    """Stop what runs and leave nothing behind."""
    asset.end_fetch(bpy.context)
    run_state.end(bpy.context)
    run_state.discard_last()
    bpy.app.handlers.load_pre.remove(_on_load)
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
