"""Which files an asset refers to, format by format, and copies of it that refer to no others.

Importers open whatever a file names. So a file is looked at first: :func:`look` finds its
references and asks :class:`..reach.Reach` about each. Where one is refused, the importer gets a
copy of the file in which that reference leads to nothing (:meth:`Look.room`).
"""

from __future__ import annotations

from pathlib import Path

from ..reach import Reach
from . import blend, dae, fbx, gltf, obj, usd
from .look import Look

__all__ = ["Look", "look"]

_SCANS = {
    "glb": gltf.scan, "gltf": gltf.scan, "obj": obj.scan, "fbx": fbx.scan, "dae": dae.scan,
    "usd": usd.scan, "usda": usd.scan, "usdc": usd.scan, "usdz": usd.scan_package,
    "blend": blend.scan,
}  # fmt: skip
"""STL, PLY and Alembic refer to nothing; Blender's PLY importer skips ``comment TextureFile``."""


def look(path: Path, kind: str, reach: Reach) -> Look:
    """What a file, and the files that it reads, refer to.

    Args:
        path: Absolute, with links resolved.
        kind: Format, as :func:`..formats.inspect_file` found it.

    Raises:
        WrongFormat: It cannot be told what the file refers to.
        UnsafeData: It has what could lead anywhere (entities of XML).
        MissingDependency: The reader of its compression is not installed.
    """
    found = Look(reach)
    scan = _SCANS.get(kind)
    if scan is not None:
        scan(path, found)
        found.settle()
    return found
