"""Bring a 3D file into an empty Blender, whatever its format."""

from __future__ import annotations

import importlib.util
import re
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import bpy

from ..assets import repair
from ..assets.check_finite import check_finite
from ..assets.formats import SCENE
from ..assets.repair.basisu import can_decode
from ..assets.repair.gltf import DRACO, MESHOPT
from ..assets.repair.model import Model
from ..assets.text import clean
from ..errors import ImportFailed, UnsupportedExtension, UnsupportedFormat
from . import compat, mending
from .building import build
from .composing import build_scene

__all__ = [
    "Import",
    "append_blend",
    "append_scene",
    "empty_blender",
    "forbid_scripts",
    "import_file",
    "readable_formats",
]


def empty_blender() -> None:
    """Forget everything that is open, and never run a file's scripts from here on."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    forbid_scripts()


def forbid_scripts() -> None:
    """Switch off automatic execution of scripts and Python drivers in .blend files."""
    paths = bpy.context.preferences.filepaths
    compat.set_checked(paths, use_scripts_auto_execute=False)


class Import(NamedTuple):
    """How a file came in.

    Attributes:
        importer: The operator's name, or our own reader's.
        warnings: What was repaired or left out, ``name: sentence`` each.
    """

    importer: str
    warnings: list[str]


def import_file(
    path: Path, kind: str, *, keep_lights: bool = False, keep_cameras: bool = False
) -> Import:
    """Import ``path`` into the empty scene; a .blend file is opened instead.

    Args:
        kind: Format, as :func:`objaverse_render_addon.assets.formats.inspect_file` found it.

    Raises:
        ImportFailed: With the importer's own words.
        InvalidGeometry: A vertex is not a number, and the importer would hide that.
        RenderError: What is known beforehand that nobody can read in it, by name.
    """
    warnings: list[str] = []
    if kind == SCENE:
        build_scene(path)
        return Import("own reader", warnings)
    with tempfile.TemporaryDirectory(prefix="objaverse-import-") as folder:
        prepared = repair.prepare(path, kind, Path(folder), warnings, _needs_no_help())
        if isinstance(prepared, Model):
            warnings += build(path, prepared)
            return Import(prepared.reader, warnings)
        if prepared.suffix != path.suffix:
            kind = prepared.suffix[1:]
        check_finite(prepared, kind, path)
        before = mending.Before()
        try:
            importer = _import(prepared, kind, keep_lights, keep_cameras)
        except RuntimeError as error:
            # Operators report their failure by raising RuntimeError("Error: ...").
            said = str(error).replace(str(prepared), str(path))
            raise _failure(path, said) from error
        if kind == "blend" and bpy.data.version[:2] > bpy.app.version[:2]:
            theirs = ".".join(map(str, bpy.data.version[:2]))
            warnings.append(
                f"newer-blend: saved by Blender {theirs}; what {bpy.app.version_string} does not "
                "know of it is left out."
            )
        warnings += mending.mend(prepared, kind, before)
    return Import(importer, warnings)


_EXTENSION: Final = re.compile(r"Extension (\S+) is not available")
_NO_DECODER: Final = re.compile(r"(draco|meshopt)\w*[ _](?:bridge|decoder)", re.IGNORECASE)


def _failure(path: Path, text: str) -> ImportFailed | UnsupportedFormat:
    """What an importer said, without the traceback that it may have said it in."""
    lines = [line for line in text.strip().removeprefix("Error: ").splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Location: ")] or ["no reason given"]
    traceback = any(line.startswith(("Traceback", "Python: Traceback")) for line in lines)
    cause = clean(lines[-1] if traceback else " ".join(lines), 300)
    unknown = _EXTENSION.search(cause)
    if unknown:
        return UnsupportedExtension(
            f"{path} needs the glTF extension {unknown[1]}, which this Blender does not read.",
            hint="Use a newer Blender, or export it without.",
        )
    if _NO_DECODER.search(cause):
        return UnsupportedExtension(
            f"{path} is compressed, and this Blender has no decoder for it: {cause}",
            hint="python -m pip install DracoPy, or export it without compression.",
        )
    if "Big Endian" in cause:
        return UnsupportedFormat(
            f"{path} was written on a big-endian computer, which Blender 5 does not read.",
            hint="Save it again with Blender 4.5 or older.",
        )
    if "ASCII FBX" in cause:
        return UnsupportedFormat(
            f"{path} is an FBX file of text, which Blender {bpy.app.version_string} does not read.",
            hint="Use Blender 4.5 or newer, or export it as binary FBX.",
        )
    if "not a blend file" in cause:
        # That it begins as one was seen before.
        return UnsupportedFormat(
            f"{path} was saved by a newer Blender than {bpy.app.version_string}, which cannot "
            "read it.",
            hint="Use that Blender, or a newer one.",
        )
    if traceback:
        return ImportFailed(
            f"{path}: the importer stumbled over it: {cause}",
            hint="The file may be damaged, or use what this Blender's importer does not know.",
            log=text,
        )
    return ImportFailed(f"{path}: {cause}")


def _needs_no_help() -> set[str]:
    found = compat.gltf_decoders()
    try:
        compat.find_operator("wm.collada_import")
    except UnsupportedFormat:
        return found
    return {*found, "dae"}


def append_blend(path: Path, scene: bpy.types.Scene) -> None:
    """Append what a .blend file's scenes hold to the scene that is open.

    Raises:
        ImportFailed: Blender cannot read the file.
    """
    try:
        with bpy.data.libraries.load(str(path), link=False) as (source, target):
            target.objects = list(source.objects)
    except OSError as error:
        raise ImportFailed(f"{path}: {error}") from error
    for obj in target.objects:
        if obj is not None:
            scene.collection.objects.link(obj)


def append_scene(path: Path) -> Any:
    """Append a .blend file's scene, the first by name, beside what is open.

    Raises:
        ImportFailed: Blender cannot read the file, or there is no scene in it.
    """
    try:
        with bpy.data.libraries.load(str(path), link=False) as (source, target):
            target.scenes = sorted(source.scenes)[:1]
    except OSError as error:
        raise ImportFailed(f"{path}: {error}") from error
    if not target.scenes or target.scenes[0] is None:
        raise ImportFailed(f"{path}: there is no scene in it.")
    return target.scenes[0]


def _import(path: Path, kind: str, keep_lights: bool, keep_cameras: bool) -> str:
    name = str(path)
    if kind == "blend":
        operator = bpy.ops.wm.open_mainfile
        compat.call_operator(operator, filepath=name, load_ui=False, use_scripts=False)
        forbid_scripts()
        return "wm.open_mainfile"
    paths, arguments = _OPERATORS[kind]
    operator = compat.find_operator(*paths)
    if kind.startswith("usd"):
        arguments = {
            **arguments, "import_lights": keep_lights, "import_cameras": keep_cameras,
        }  # fmt: skip
    result = compat.call_operator(operator, filepath=name, **arguments)
    if "FINISHED" not in result:
        raise ImportFailed(f"{path}: the importer gave up without saying why.")
    return str(operator.idname_py())


_GLTF = (
    ("import_scene.gltf",),
    # Bone shapes are meshes that only Blender's interface needs.
    {"disable_bone_shape": True, "import_select_created_objects": False, "loglevel": 40},
)
_USD = (
    ("wm.usd_import",),
    {
        # Stand-ins and guides are not what the file's author renders.
        "import_proxy": False,
        "import_guide": False,
        "import_render": True,
        "set_frame_range": True,
    },
)
_OPERATORS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "glb": _GLTF,
    "gltf": _GLTF,
    # The C++ importer reads ASCII files too and is many times faster; 4.2 lacks it.
    "fbx": (("wm.fbx_import", "import_scene.fbx"), {"ignore_leaf_bones": True}),
    "obj": (("wm.obj_import",), {"validate_meshes": True}),
    "stl": (("wm.stl_import",), {"use_mesh_validate": True}),
    "ply": (("wm.ply_import",), {"import_colors": "SRGB"}),
    "dae": (("wm.collada_import",), {}),
    "abc": (("wm.alembic_import",), {"as_background_job": False, "validate_meshes": True}),
    "usd": _USD,
    "usda": _USD,
    "usdc": _USD,
    "usdz": _USD,
}


def readable_formats() -> dict[str, str]:
    """Format, or its compression, to what reads it here; an empty string where nothing does."""
    found = {"blend": "wm.open_mainfile"}
    for kind, (paths, _) in _OPERATORS.items():
        try:
            found[kind] = str(compat.find_operator(*paths).idname_py())
        except UnsupportedFormat:
            found[kind] = ""
    found["dae"] = "own reader"
    decoders = compat.gltf_decoders()
    draco = "DracoPy" if importlib.util.find_spec("DracoPy") else ""
    found["glb, Draco"] = found["glb"] if DRACO in decoders else draco
    found["glb, KTX2"] = "opengl-basisu" if can_decode() else ""
    found["glb, meshopt"] = found["glb"] if decoders.issuperset(MESHOPT) else "own reader"
    return found
