"""The panel's labels in the language that Blender speaks."""

from __future__ import annotations

from typing import Final

import bpy

from . import preferences
from .dictionary import DICTIONARY

__all__ = ["register", "unregister"]

# Blender asks for a language with and without its country, by the version.
_ALSO: Final = {"de": ("de_DE",)}


def register() -> None:
    """Tell Blender."""
    known = dict(DICTIONARY)
    for name, others in _ALSO.items():
        known |= dict.fromkeys(others, DICTIONARY[name])
    bpy.app.translations.register(preferences.ADDON, known)


def unregister() -> None:
    """Forget."""
    bpy.app.translations.unregister(preferences.ADDON)
