"""What importers leave undone in what they brought in; one module per format."""

from __future__ import annotations

from pathlib import Path

from . import fbx, obj, usd
from .before import Before

__all__ = ["Before", "mend"]


def mend(path: Path, kind: str, before: Before) -> list[str]:
    """Complete what an importer made of a file.

    Args:
        path: The file, for what the importer did not ask it.

    Returns:
        Warnings, ``name: sentence`` each.
    """
    if kind == "obj":
        return obj.mend(before)
    if kind == "fbx":
        return fbx.mend(path, before)
    if kind.startswith("usd"):
        return usd.mend(path, before)
    return []
