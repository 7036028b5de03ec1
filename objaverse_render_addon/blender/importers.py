"""Bring a 3D file into an empty Blender, whatever its format."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import bpy

from ..assets.finite import check_finite
from ..errors import ImportFailed, MissingDependency, UnsupportedFormat
from . import compat

__all__ = [
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


def import_file(path: Path, kind: str, *, keep_lights: bool = False) -> str:
    """Import ``path`` into the empty scene; a .blend file is opened instead.

    Args:
        kind: Format, as :func:`objaverse_render_addon.assets.formats.inspect_file` found it.

    Returns:
        What did the work: the operator's name, or a library's.

    Raises:
        ImportFailed: With the importer's own words.
        InvalidGeometry: A vertex is not a number, and the importer would hide that.
    """
    check_finite(path, kind)
    try:
        return _import(path, kind, keep_lights)
    except RuntimeError as error:
        # Operators report their failure by raising RuntimeError("Error: ...").
        said = str(error).strip().removeprefix("Error: ")
        # Of an importer that is written in Python, its own error; the rest is for the log.
        trace = said.splitlines() if "Traceback (most recent call last)" in said else []
        own = [line for line in trace if line[:1].strip() and not line.startswith("Location:")]
        raise ImportFailed(
            f"{path}: {own[-1] if own else said}",
            hint="Open the file in Blender to see what is wrong with it.",
            log=said if own else "",
        ) from error


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


def _import(path: Path, kind: str, keep_lights: bool) -> str:
    name = str(path)
    if kind == "blend":
        operator = bpy.ops.wm.open_mainfile
        compat.call_operator(operator, filepath=name, load_ui=False, use_scripts=False)
        forbid_scripts()
        return "wm.open_mainfile"
    if kind == "dae":
        try:
            operator = compat.find_operator("wm.collada_import")
        except UnsupportedFormat:
            return _import_collada(path)
        result = compat.call_operator(operator, filepath=name)
    else:
        paths, arguments = _OPERATORS[kind]
        operator = compat.find_operator(*paths)
        if kind.startswith("usd"):
            arguments = {**arguments, "import_lights": keep_lights}
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
        "import_cameras": False,
        # Stand-ins and guides are not what the file's author renders.
        "import_proxy": False,
        "import_guide": False,
        "import_render": True,
        "set_frame_range": False,
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
    "abc": (("wm.alembic_import",), {"as_background_job": False, "validate_meshes": True}),
    "usd": _USD,
    "usda": _USD,
    "usdc": _USD,
    "usdz": _USD,
}


def readable_formats() -> dict[str, str]:
    """Format to what reads it here; an empty string where nothing does."""
    found = {"blend": "wm.open_mainfile"}
    for kind, (paths, _) in {**_OPERATORS, "dae": (("wm.collada_import",), {})}.items():
        try:
            found[kind] = str(compat.find_operator(*paths).idname_py())
        except UnsupportedFormat:
            found[kind] = ""
    if not found["dae"] and all(map(importlib.util.find_spec, ("trimesh", "collada"))):
        found["dae"] = "trimesh"
    return found


def _import_collada(path: Path) -> str:
    """COLLADA where Blender has no importer: trimesh reads it, glTF carries it over."""
    try:
        import collada  # noqa: F401  (trimesh's reader for it)
        import trimesh
    except ImportError as error:
        raise MissingDependency(
            f"{path}: Blender {bpy.app.version_string} cannot read COLLADA files.",
            hint="Install the reader: python -m pip install trimesh pycollada",
        ) from error
    import collada as pycollada

    try:
        scene = trimesh.load_scene(str(path), file_type="dae")
        up_axis = str(pycollada.Collada(str(path)).assetInfo.upaxis)
    except Exception as error:
        raise ImportFailed(f"{path}: {error}") from error
    # glTF is Y up by definition, and its importer turns Y up into Blender's Z up.
    turns = {
        "Z_UP": [[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]],
        "X_UP": [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
    }
    if up_axis in turns:
        scene.apply_transform(turns[up_axis])
    with tempfile.TemporaryDirectory(prefix="objaverse-collada-") as folder:
        converted = Path(folder) / "converted.glb"
        converted.write_bytes(scene.export(file_type="glb"))
        operator = compat.find_operator("import_scene.gltf")
        compat.call_operator(operator, filepath=str(converted), **_GLTF[1])
    return f"trimesh {trimesh.__version__}"
