"""The sidebar's panels, in the order in which they are registered."""

from __future__ import annotations

from typing import Final

import bpy

from .ui import panels
from .ui.compose import panel as compose
from .ui.search import panel as search

__all__ = ["register", "unregister"]

_CLASSES: Final = (*panels.CLASSES, *search.CLASSES, *compose.CLASSES)

register, unregister = bpy.utils.register_classes_factory(_CLASSES)
