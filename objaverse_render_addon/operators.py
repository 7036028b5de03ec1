"""All operators; what they do is in :mod:`.ui.operators`: read settings, call a function, report.

``invoke`` never blocks the window, ``execute`` blocks and raises; both drive the same job. In
background Blender always executes.
"""

from __future__ import annotations

from typing import Final

import bpy

from .ui.compose import operators as compose
from .ui.operators import asset, cameras, dataset, gallery, job, output, render, results, sources
from .ui.search import operators as search

__all__ = ["register", "unregister"]

_CLASSES: Final = (
    *asset.CLASSES,
    *cameras.CLASSES,
    *render.CLASSES,
    *output.CLASSES,
    *sources.CLASSES,
    *results.CLASSES,
    *gallery.CLASSES,
    *dataset.CLASSES,
    *job.CLASSES,
    *search.CLASSES,
    *compose.CLASSES,
)

register, unregister = bpy.utils.register_classes_factory(_CLASSES)
