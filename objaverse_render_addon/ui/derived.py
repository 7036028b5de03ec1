"""Blender's properties for the settings of a job, as their fields describe them."""

from __future__ import annotations

import math
from typing import Any, Final

from bpy.props import (
    BoolProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    StringProperty,
)

from ..blender.compat import relative_path_options
from ..job import JobField, RenderJob, job_fields
from .choices import flags, items

__all__ = ["OF_JOB", "OF_MACHINE", "RELATIVE", "properties_of", "property_of"]

RELATIVE: Final = relative_path_options()

OF_MACHINE: Final = ("engine.device", "engine.threads")
"""Fields that are in the preferences, for they belong to the machine."""
OF_JOB: Final = tuple(path for path in job_fields() if path not in OF_MACHINE)
"""Fields that are on the scene."""

_JUST_ABOVE: Final = 1e-4
"""Beyond a limit that is too small itself: Blender's limits are all within."""


def property_of(path: str, **own: Any) -> Any:
    """The property of one field; of pictures' sizes see :func:`properties_of`.

    Args:
        own: What only the panel knows, for Blender: ``update``, or ``default`` where the job has
            nothing set.
    """
    field = job_fields()[path]
    said, kind, default = field.setting, field.kind, _shown_first(path)
    words: dict[str, Any] = {"name": said.label, "description": _sentence(said.about)} | own
    # What plays the timeline must not change a render's settings.
    words["options"] = set()
    if default is not None and default != "":
        words = {"default": default} | words
    if said.form == "names":
        words |= {"default": set(default), "options": {"ENUM_FLAG"}}
        return EnumProperty(items=flags(path), **words)
    if field.choices:
        return EnumProperty(items=items(path), **words)
    if said.form == "path":
        return StringProperty(subtype="FILE_PATH", **words | {"options": RELATIVE})
    if kind is str:
        return StringProperty(**words)
    if kind is bool:
        return BoolProperty(**words)
    words = _limits(field) | words
    if kind is int:
        return IntProperty(**words)
    if said.form == "color":
        return FloatVectorProperty(size=3, subtype="COLOR_GAMMA", **words)
    if said.unit == "degrees":
        words["precision"] = 1
    if said.form in ("range", "pair"):
        return FloatVectorProperty(size=2, **words)
    if said.unit == "share":
        words["subtype"] = "FACTOR"
    return FloatProperty(**words)


def properties_of(path: str, **own: Any) -> dict[str, Any]:
    """The properties of one field by name: one, or two of a size."""
    field = job_fields()[path]
    said = field.setting
    if said.form != "size":
        return {said.name: property_of(path, **own)}
    return {
        f"{said.name}_{axis}": IntProperty(
            name=f"{said.label} {axis.upper()}", default=default, subtype="PIXEL",
            description=f"{side} in pixels", options=set(), **_limits(field), **own,
        )
        for axis, side, default in zip("xy", ("Width", "Height"), field.default, strict=True)
    }  # fmt: skip


def _shown_first(path: str) -> Any:
    """What the panel starts with: the default job, with its pattern's own ranges."""
    section, _, name = path.rpartition(".")
    job = RenderJob().resolved()
    return getattr(getattr(job, section) if section else job, name)


def _limits(field: JobField) -> dict[str, Any]:
    said, limits = field.setting, {}
    if said.low is not None:
        limits["min"] = said.low + (_JUST_ABOVE if said.open_low else 0)
    if said.high is not None:
        limits["max"] = said.high
    if said.usual is not None:
        limits["soft_max"] = said.usual
    if field.kind is int or said.form == "size":
        # Blender's have 32 bits.
        return {name: max(-(2**31), min(2**31 - 1, int(value))) for name, value in limits.items()}
    return {name: float(value) for name, value in limits.items() if math.isfinite(value)}


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"
