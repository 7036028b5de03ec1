"""Failures in the words of Blender's window.

Messages and ways out are written once, with the command line's flags and the job's fields. Here the
panel's names take their place; a way out that only the command line has is left away.
"""

from __future__ import annotations

import functools
import re
from typing import Final

import bpy

from ..errors import RenderError
from ..job import job_fields
from . import choices

__all__ = ["WAYS_OUT", "fail", "in_panel_words", "line_in_panel_words"]

# Whole phrases that need more than other names.
WAYS_OUT: Final = {
    "Allow overwriting (--overwrite) to replace it":
        "Tick Overwrite under Output to replace it",
    "of your own files, --allow-outside DIR widens it":
        "of your own files, open them in Blender, where they may lie anywhere",
    "Leave out --offline, or fetch it first; in Blender: Preferences, System, Allow Online Access":
        "Tick Allow Online Access in Preferences, System",
    "Allow more with --max-memory":
        "Raise the Memory Limit in the extension's preferences",
    "Allow more with --timeout":
        "Raise the Timeout in the extension's preferences",
    "choose another --download-dir":
        "choose another Download Folder in the extension's preferences",
    "Give the folder or URL that --out named":
        "Choose the Output Folder that assets were rendered to",
    "Give the folder that --out named":
        "Choose the Output Folder that assets were rendered to",
    "Give --hdri PATH":
        "Choose an HDRI under Lighting",
    "pip install 'objaverse-render-addon[compose]'":
        "Install the packages mujoco, rapier3d and numpy there, or name another Physics Python in "
        "the extension's preferences",
    "Give --camera-file PATH":
        "Choose a Camera File under Cameras",
}  # fmt: skip

# Fields that the panel calls otherwise than their property, where there is little room.
_SHORT: Final = {
    "asset.missing_textures": "No Texture",
    "asset.missing_parts": "No Part",
    "asset.uncolored": "No Color",
    "lighting.mode": "Light",
    "lighting.background": "Background",
    "cameras.fov": "FOV",
    "cameras.only_northern_hemisphere": "Upper Half Only",
}
# A field that is not part of a path or of a longer name.
_FIELD: Final = re.compile(r"(?<![\w./\\-])[a-z]+\.[a-z_]+(?![\w/\\]|\.\w)")
_FLAG: Final = re.compile(r"(?<![\w-])(--[a-z][a-z-]*)(?:[ =]([a-z][a-z-]*|[A-Z]{3,}\b))?")
# One flag and its value before another one, and what is put in brackets about one.
_BESIDE: Final = re.compile(r"(?<![\w-])(--[a-z][a-z-]*(?: [^\s;,()-][^\s;,()]*)?)(?= --)")
_ASIDE: Final = re.compile(r" \([^()]*--[a-z][^()]*\)")
_FOREIGN: Final = re.compile(r"(?<!\w)--[a-z]|objaverse-render|\bray (start|status)\b")


def fail(operator: bpy.types.Operator, error: RenderError) -> set[str]:
    """Report a failure with its way out; from a script this raises."""
    operator.report({"ERROR"}, in_panel_words(error))
    return {"CANCELLED"}


def in_panel_words(error: RenderError) -> str:
    """What went wrong, and the way out by the names that the panel has."""
    hint = error.hint
    for words, panel in WAYS_OUT.items():
        hint = hint.replace(words, panel)
    sentences = re.split(r"(?<=[.;:]) ", _FLAG.sub(_put, hint))
    kept = [sentence for sentence in sentences if not _FOREIGN.search(sentence)]
    if kept and kept[-1].endswith((";", ":")):
        kept[-1] = f"{kept[-1][:-1]}."
    return _FIELD.sub(_name, " ".join([error.message, *kept])).strip()


def line_in_panel_words(line: str) -> str:
    """A line of a report by the names that the panel has, without what is about other flags."""
    line = _FLAG.sub(_put, _BESIDE.sub(r"\1,", line))
    first, *others = _ASIDE.sub("", line).split("; ")
    line = "; ".join([first, *(clause for clause in others if not _FOREIGN.search(clause))])
    return _FIELD.sub(_name, line)


def _label(path: str) -> str:
    return _SHORT.get(path) or job_fields()[path].setting.label


def _name(found: re.Match[str]) -> str:
    return _label(found[0]) if found[0] in job_fields() else found[0]


@functools.cache
def _fields() -> dict[str, str]:
    return {field.setting.flag: path for path, field in job_fields().items()}


def _put(found: re.Match[str]) -> str:
    """``--framing fit`` as ``Framing: Fit``, ``--radius LOW`` as ``Radius``."""
    flag, value = found[1], found[2]
    path = _fields().get(flag)
    if path is None:
        return found[0]
    if value is None or value.isupper():
        return _label(path)
    titles = {name: title for name, title, _ in choices.items(path)} if choices.has(path) else {}
    return f"{_label(path)}: {titles[value]}" if value in titles else f"{_label(path)} {value}"
