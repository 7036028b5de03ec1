"""USDZ: packages whose first file is not the scene, which is how USD finds it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

__all__ = ["prepare"]

_SCENES: Final = (".usd", ".usda", ".usdc")
_ALIGNMENT: Final = 64
"""Bytes, of each file's data: https://openusd.org/release/spec_usdz.html."""


def prepare(path: Path, folder: Path, warnings: list[str]) -> Path:
    """The package, or a copy in which the first scene is the first file."""
    if not zipfile.is_zipfile(path):
        # It was taken out of the package, for what the package refers to.
        return path
    with zipfile.ZipFile(path) as archive:
        items = [item for item in archive.infolist() if not item.is_dir()]
        scene = next((item for item in items if item.filename.lower().endswith(_SCENES)), None)
        if scene is None or (scene is items[0] and scene.compress_type == zipfile.ZIP_STORED):
            return path
        warnings.append("repaired: the scene was not the first file of the package, uncompressed.")
        target = folder / path.name
        with zipfile.ZipFile(target, "w") as copy:
            for item in [scene, *(other for other in items if other is not scene)]:
                entry = zipfile.ZipInfo(item.filename)
                size = copy.start_dir + 30 + len(entry.filename.encode())
                # An extra field of any kind fills up; its head has four bytes.
                entry.extra = _padding(-(size + 4) % _ALIGNMENT)
                copy.writestr(entry, archive.read(item), zipfile.ZIP_STORED)
    return target


def _padding(size: int) -> bytes:
    return (0x1986).to_bytes(2, "little") + size.to_bytes(2, "little") + bytes(size)
