"""Meshes that were imported once, and come back after Blender was emptied.

What is emptied before every scene would have to be imported for each anew. So what an importer made
is written into a .blend file of this process, in its folder for temporary files, and appended from
there, the first time too: whatever was drawn before, a scene is made of the same.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import bpy

from ..errors import ImportFailed

__all__ = ["kept"]

_MOST: Final = 256 << 20
"""Bytes of all files; those that were asked for longest ago go first."""
_KINDS: Final = (
    "objects", "meshes", "materials", "images", "textures", "node_groups", "collections", "actions",
    "armatures", "cameras", "lights", "shape_keys", "texts",
)  # fmt: skip

_folder: tempfile.TemporaryDirectory[str] | None = None
_sizes: dict[str, int] = {}
"""Bytes of each file, the one that was asked for last at the end."""


def kept(key: str, imported: Callable[[], list[Any]]) -> list[Any]:
    """Meshes, imported where that was not done before in this process.

    Args:
        key: Of what they are made of, for a file's name; another content has another.
        imported: Makes them, and nothing else that is to stay.

    Returns:
        As many as it makes, in its order. Meshes, materials and images go by ``key``.

    Raises:
        ImportFailed: They cannot be written, or read again.
        RenderError: Of ``imported``.
    """
    global _folder
    if _folder is None:
        _folder = tempfile.TemporaryDirectory(
            prefix="objaverse-kept-", ignore_cleanup_errors=True
        )
    path = Path(_folder.name) / f"{key}.blend"
    if _sizes.pop(key, None) is None or not path.is_file():
        _write(key, path, imported)
    meshes = _read(key, path)
    _sizes[key] = path.stat().st_size
    while sum(_sizes.values()) > _MOST:
        oldest = next(iter(_sizes))
        del _sizes[oldest]
        with contextlib.suppress(OSError):
            path.with_name(f"{oldest}.blend").unlink()
    return meshes


def _write(key: str, path: Path, imported: Callable[[], list[Any]]) -> None:
    before = {kind: {*getattr(bpy.data, kind)} for kind in _KINDS}
    meshes = imported()
    for number, mesh in enumerate(meshes):
        mesh.name = f"{key}-{number:03d}"
    # Names say what is numbered first, and what a name is depends on what was there before.
    materials = dict.fromkeys(one for mesh in meshes for one in mesh.materials if one is not None)
    for number, material in enumerate(materials):
        material.name = f"{key}-{number:03d}"
    images = [one for one in bpy.data.images if one not in before["images"]]
    for number, image in enumerate(images):
        image.name = f"{key}-{number:03d}"
    try:
        bpy.data.libraries.write(str(path), {*meshes}, path_remap="NONE", compress=False)
    except (RuntimeError, OSError) as error:
        raise ImportFailed(f"{path} cannot be written: {error}") from error
    for kind, had in before.items():
        # What holds others comes first.
        bpy.data.batch_remove([one for one in getattr(bpy.data, kind) if one not in had])


def _read(key: str, path: Path) -> list[Any]:
    libraries = {*bpy.data.libraries}
    try:
        with bpy.data.libraries.load(str(path), link=False) as (there, wanted):
            names = sorted(there.meshes)
            wanted.meshes = names
    except OSError as error:
        raise ImportFailed(f"{path}: {error}") from error
    meshes = list(wanted.meshes)
    if not meshes or any(mesh is None for mesh in meshes):
        raise ImportFailed(f"{path}: the meshes {', '.join(names) or key} cannot be read again.")
    # They are this file's own now.
    bpy.data.batch_remove([one for one in bpy.data.libraries if one not in libraries])
    return meshes
