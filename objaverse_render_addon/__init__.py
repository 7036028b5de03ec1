"""Render 3D assets into verified multi-view datasets; also an extension for Blender.

The public Python API is :class:`RenderJob`, :func:`render` with its :class:`RunOptions` and what
they return, and :func:`handlers` for ``objaverse.xl``; it needs no
Blender in this process. ``register`` and ``unregister`` are Blender's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch.handlers import handlers
    from .batch.options import RunOptions
    from .batch.run import AssetResult, Report, render
    from .errors import RenderError
    from .job import RenderJob

__version__ = "0.1.0"
__all__ = ["AssetResult", "RenderError", "RenderJob", "Report", "RunOptions", "handlers", "render"]

_HOME = {
    "AssetResult": "batch.run",
    "RenderError": "errors",
    "RenderJob": "job",
    "RunOptions": "batch.options",
    "Report": "batch.run",
    "handlers": "batch.handlers",
    "render": "batch.run",
}


def __getattr__(name: str) -> Any:
    # Blender reads this file at every start: nothing is imported before it is asked for.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOME[name]}", __name__), name)


_FACE = (
    "ui.languages",
    "ui.properties",
    "ui.run_state",
    "ui.search.state",
    "ui.preferences",
    "ui.viewport.preview",
    "ui.viewport.look_through",
    "ui.viewport.results",
    "ui.viewport.live_view",
    "ui.compose.settings",
    "ui.compose.sentences",
    "ui.viewport.overlay",
    "ui.compose.labels",
    "ui.operators.dataset",
    "operators",
    "panels",
    "ui.background",
    "ui.commands",
    "ui.places",
    "ui.manual",
)


def register() -> None:
    """Blender: enable the add-on."""
    from importlib import import_module

    for name in _FACE:
        import_module(f".{name}", __name__).register()


def unregister() -> None:
    """Blender: disable the add-on, and leave nothing behind."""
    from importlib import import_module

    for name in reversed(_FACE):
        import_module(f".{name}", __name__).unregister()
