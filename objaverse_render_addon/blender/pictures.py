"""Images that are read from files while a scene is open."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import bpy

__all__ = ["Pictures", "load"]

_KEPT: Final = 16
"""Images that are kept in memory though nothing shows them now."""


def load(path: Path) -> bpy.types.Image | None:
    """An image, read; ``None`` where it cannot be."""
    try:
        image = bpy.data.images.load(str(path.resolve()))
    except RuntimeError:
        return None
    if image.size[0] == 0:
        bpy.data.images.remove(image)
        return None
    return image


class Pictures:
    """Images that changes of a scene name, each read once while it stays the same file."""

    def __init__(self) -> None:
        self._there: dict[tuple[Any, ...], bpy.types.Image] = {}
        """By file, its time and size, and how its numbers are read; the one used last at the end.
        """

    def get(self, path: Path, *, data: bool) -> bpy.types.Image | None:
        """An image; ``None`` where it cannot be read.

        Args:
            data: Whether its numbers are what they are, not colours.
        """
        try:
            facts = path.stat()
        except OSError:
            return None
        key = str(path.resolve()), facts.st_mtime_ns, facts.st_size, data
        image = self._there.pop(key, None) or load(path)
        if image is None:
            return None
        if data:
            image.colorspace_settings.name = "Non-Color"
        self._there[key] = image
        self._forget()
        return image

    def _forget(self) -> None:
        """Let those go that nothing shows, and that were not wanted for the longest time."""
        unused = [key for key, image in self._there.items() if not image.users][:-1]
        for key in unused[: max(0, len(self._there) - _KEPT)]:
            bpy.data.images.remove(self._there.pop(key))
