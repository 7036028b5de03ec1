"""Files that Blender's importers refuse, or read only in part, made fit for them.

Well-formed files go to the importer as they are. Others go as a repaired copy, or as a
:class:`.model.Model` that is read here. What was changed or left out is said in a warning.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from . import dae, gltf, obj, ply, stl, usdz
from .model import Model

__all__ = ["prepare"]


def prepare(
    path: Path,
    kind: str,
    folder: Path,
    warnings: list[str],
    native: Collection[str] = (),
) -> Path | Model:
    """What to import instead of a file: itself, a copy, or what was read of it.

    Args:
        kind: Its format, as :func:`..formats.inspect_file` found it.
        folder: For copies; empty, and there as long as the importer runs.
        warnings: Is given what was changed or left out, ``name: sentence`` each.
        native: What this Blender needs no help with: ``dae``, and glTF extensions.

    Raises:
        RenderError: What nobody can read in it, by name.
    """
    if kind in ("glb", "gltf"):
        return gltf.prepare(path, folder, warnings, native)
    if kind == "obj":
        return obj.prepare(path, folder, warnings)
    if kind == "ply":
        return ply.prepare(path, folder, warnings)
    if kind == "stl":
        return stl.prepare(path, folder, warnings)
    if kind == "usdz":
        return usdz.prepare(path, folder, warnings)
    if kind == "dae" and not ("dae" in native and dae.is_animated(path)):
        return dae.read(path, warnings)
    return path
