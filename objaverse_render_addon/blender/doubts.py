"""What of a file may not look as its author sees it, though nothing is wrong with the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import bpy

from .measuring import displaces
from .surface_numbers import can_deform

if TYPE_CHECKING:
    from .asset import Contents

__all__ = ["of_contents", "of_motion"]

_FEW: Final = 5
_NO_FACES: Final = ("CURVES", "POINTCLOUD", "VOLUME")
_STROKES: Final = ("GREASEPENCIL", "GPENCIL")
_SIMULATED: Final = ("CLOTH", "SOFT_BODY")
_BLOCKS: Final = (
    "objects", "meshes", "curves", "hair_curves", "pointclouds", "volumes", "metaballs",
    "armatures", "lattices", "lights", "particles", "materials", "worlds", "node_groups",
)  # fmt: skip


def of_contents(contents: Contents) -> list[str]:
    """``name: sentence`` of each kind of doubt."""
    found = []
    blocked = sorted(set(_blocked_drivers(contents)))
    if blocked:
        found.append(
            f"blocked-drivers: {_list(blocked)} are Python expressions, which do not run; what "
            "they drive may have another value."
        )
    unbaked = sorted({obj.name for obj in contents["objects"] if _unbaked(obj)})
    if unbaked:
        found.append(
            f"unbaked-simulation: {_list(unbaked)} are simulated, and the file holds no bake; they "
            "look as Blender has them without."
        )
    strokes = sorted(obj.name for obj in contents["objects"] if obj.type in _STROKES)
    if strokes:
        found.append(f"strokes-left-out: {_list(strokes)} are grease pencil, which has no depth.")
    halves = sorted(image.name for image in contents["images"] if _is_cut_off(image))
    if halves:
        found.append(f"truncated-textures: {_list(halves)} end early.")
    return found


def of_motion(contents: Contents) -> list[str]:
    """``name: sentence`` of what is not followed exactly from one frame to another."""
    found = []
    loose = sorted(obj.name for obj in contents["objects"] if _has_no_faces(obj))
    if loose:
        found.append(
            f"motion-as-if-rigid: hair, curves, points and volumes of {_list(loose)} are followed "
            "as their objects go; how they bend is in no flow."
        )
    raised = sorted(obj.name for obj in contents["objects"] if can_deform(obj) and displaces(obj))
    if raised:
        found.append(
            f"motion-below-displacement: {_list(raised)} change their shape, and their materials "
            "raise the surface; flow is that of the faces below."
        )
    return found


def _has_no_faces(obj: Any) -> bool:
    return obj.type in _NO_FACES or any(
        system.settings.type == "HAIR" and system.settings.render_type == "PATH"
        for system in obj.particle_systems
    )


def _list(names: list[str]) -> str:
    return ", ".join(names[:_FEW]) + (" …" if len(names) > _FEW else "")


def _blocked_drivers(contents: Contents) -> Iterator[str]:
    for kind in _BLOCKS:
        for block in contents[kind]:
            for part in (block, _tree(block), getattr(block, "shape_keys", None)):
                animation = getattr(part, "animation_data", None)
                for curve in animation.drivers if animation else ():
                    driver = curve.driver
                    if driver.type == "SCRIPTED" and not driver.is_simple_expression:
                        yield f"{block.name} {curve.data_path}"


def _tree(block: Any) -> Any:
    return getattr(block, "node_tree", None)


def _unbaked(obj: Any) -> bool:
    for modifier in obj.modifiers:
        if not modifier.show_render:
            continue
        if modifier.type in _SIMULATED and not modifier.point_cache.is_baked:
            return True
        if modifier.type == "NODES" and _simulates(modifier.node_group):
            return not any(bake.bake_mode for bake in getattr(modifier, "bakes", ()))
    return any(
        system.settings.type == "EMITTER" and not system.point_cache.is_baked
        for system in obj.particle_systems
    )


def _simulates(group: Any) -> bool:
    return group is not None and any(node.type == "SIMULATION_INPUT" for node in group.nodes)


# --- Pictures that end early ----------------------------------------------------------------


def _is_cut_off(image: Any) -> bool:
    """Whether a JPEG or PNG lacks its end, of which decoders make what they can."""
    if image.packed_file is not None:
        data = bytes(image.packed_file.data)
    elif image.source == "FILE" and image.filepath:
        path = Path(bpy.path.abspath(image.filepath_from_user(), library=image.library))
        if path.suffix.lower() not in (".jpg", ".jpeg", ".png") or not path.is_file():
            return False
        data = path.read_bytes()
    else:
        return False
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"IEND" not in data[-4096:]
    return data.startswith(b"\xff\xd8\xff") and _jpeg_ends_early(data)


def _jpeg_ends_early(data: bytes) -> bool:
    at = 2
    # A thumbnail among the segments before the picture has an end of its own.
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != b"\xda":
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return b"\xff\xd9" not in data[at:]
