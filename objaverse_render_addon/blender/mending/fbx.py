"""FBX: what is hidden, and what can be seen through."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import bpy

from ...assets.repair.fbx import read_facts
from .before import Before, principled

__all__ = ["mend"]

_Fact = TypeVar("_Fact")


def mend(path: Path, before: Before) -> list[str]:
    """See :func:`objaverse_render_addon.blender.mending.mend`."""
    facts = read_facts(path)
    for obj in before.new("objects"):
        if _of(obj, dict.fromkeys(facts.hidden, True)):
            obj.hide_render = True
    for image in before.new("images"):
        _look_beside(image, path.parent)
    warnings = _see_through(before.new("materials"), facts.opacities)
    if facts.unsure:
        warnings.append(f"not-imported: the animated visibility of {_listed(facts.unsure)}.")
    return warnings


def _look_beside(image: Any, folder: Path) -> None:
    """A picture that is not where its author had it is looked for by its name, as others do."""
    if image.packed_file is not None or not image.filepath or Path(image.filepath).is_file():
        return
    beside = folder / image.filepath.replace("\\", "/").rpartition("/")[2]
    if beside.is_file():
        # 5.0 never reads again what it once failed to read.
        found = bpy.data.images.load(str(beside))
        found.colorspace_settings.name = image.colorspace_settings.name
        image.user_remap(found)
        bpy.data.images.remove(image)


def _of(block: Any, facts: dict[str, _Fact]) -> _Fact | None:
    """What the file says of a datablock: Blender counts names that are there already."""
    found = facts.get(block.name)
    return facts.get(block.name.rpartition(".")[0]) if found is None else found


def _see_through(materials: Iterable[Any], opacities: dict[str, float]) -> list[str]:
    """Opacities as the file has them, where no picture is one."""
    changed, clear = [], []
    for material in materials:
        shader, opacity = principled(material), _of(material, opacities)
        if shader is None or opacity is None or shader.inputs["Alpha"].is_linked:
            continue
        socket = shader.inputs["Alpha"]
        if abs(socket.default_value - opacity) > 1e-4:
            socket.default_value = opacity
            changed.append(material.name)
        if opacity == 0:
            clear.append(material.name)
    words = []
    if changed:
        words.append(f"repaired: the opacity of {_listed(changed)} is the file's.")
    if clear:
        words.append(f"clear-materials: nothing is seen of {_listed(clear)}, as the file has it.")
    return words


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names)[:5])
