"""The sidebar's panels, in the order in which they are registered."""

from __future__ import annotations

from .ui import panels, search

__all__ = ["register", "unregister"]


def register() -> None:
    """Register the panels."""
    panels.register()
    search.register()


def unregister() -> None:
    """Take them away."""
    search.unregister()
    panels.unregister()
