"""COLLADA 1.4 and 1.5: geometry, scene and materials.

Blender 5 does not read it; the importers before leave out textures that are not where the file has
them, and hide what ``RGB_ZERO`` says to be opaque. Written against what exporters write: whatever a
picture does not need may be malformed. Specification:
https://www.khronos.org/files/collada_spec_1_4.pdf
"""

from __future__ import annotations

from pathlib import Path

from ....errors import ImportFailed
from ...text import clean
from ..model import Model
from .document import Document
from .scene import Scene

__all__ = ["is_animated", "read"]


def is_animated(path: Path) -> bool:
    """Whether anything in a file moves, which :func:`read` leaves out and Blender 4 does not."""
    try:
        return Document(path, []).animated
    except ImportFailed:
        return False


def read(path: Path, warnings: list[str]) -> Model:
    """What a COLLADA file shows.

    Raises:
        ImportFailed: It is no XML, or its geometry contradicts itself.
    """
    document = Document(path, warnings)
    try:
        return Scene(document).model()
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, RecursionError) as error:
        raise ImportFailed(
            f"{path}: its geometry or its scene contradicts itself: {clean(str(error))}.",
            hint="Export it again.",
        ) from error
