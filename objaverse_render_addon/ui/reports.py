"""Failures in the words of Blender's window.

Messages and ways out are written once, with the command line's flags and the job's fields. Here the
panel's names take their place; a way out that only the command line has is left away.
"""

from __future__ import annotations

import functools
import re
from typing import Final

import bpy

from ..cli.flags import JOB_FLAGS
from ..errors import RenderError
from . import choices

__all__ = ["WAYS_OUT", "fail", "in_panel_words"]

# Whole phrases that need more than other names.
WAYS_OUT: Final = {
    "Allow overwriting (--overwrite) to replace it":
        "Tick Overwrite under Output to replace it",
    "Leave out --offline, or fetch it first; in Blender: Preferences, System, Allow Online Access":
        "Tick Allow Online Access in Preferences, System",
    "Leave out --offline; in Blender: Preferences, System, Allow Online Access":
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
    "Give --camera-file PATH":
        "Choose a Camera File under Cameras",
    "Use --ids sha256":
        "Choose Names: Content Hash under Batch",
}  # fmt: skip

# Fields of the job as the panel calls them.
_LABELS: Final = {
    "seed": "Seed",
    "asset.normalize": "Normalize",
    "asset.frame": "Frame",
    "asset.missing_textures": "No Texture",
    "asset.uncolored": "No Color",
    "lighting.mode": "Light",
    "lighting.hdri": "HDRI",
    "lighting.strength": "Strength",
    "lighting.background": "Background",
    "cameras.pattern": "Pattern",
    "cameras.views": "Views",
    "cameras.radius": "Radius",
    "cameras.elevation": "Elevation",
    "cameras.fov": "FOV",
    "cameras.framing": "Framing",
    "cameras.only_northern_hemisphere": "Upper Half Only",
    "cameras.turns": "Turns",
    "cameras.file": "Camera File",
    "cameras.pixel_aspect": "Pixel Aspect",
    "cameras.shift": "Shift",
    "engine.engine": "Engine",
    "engine.samples": "Samples",
    "engine.denoise": "Denoise",
    "engine.device": "Device",
    "engine.threads": "Threads",
    "engine.alpha_threshold": "Alpha Threshold",
    "output.resolution": "Resolution",
    "output.passes": "Passes",
    "output.normal_space": "Normal Space",
    "output.geometry": "Geometry Files",
    "output.layout": "Layout",
}
# A field that is not part of a path or of a longer name.
_FIELD: Final = re.compile(r"(?<![\w./\\-])[a-z]+\.[a-z_]+(?![\w/\\]|\.\w)")
_FLAG: Final = re.compile(r"(?<![\w-])(--[a-z][a-z-]*)(?:[ =]([a-z][a-z-]*|[A-Z]{3,}\b))?")
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


def _name(found: re.Match[str]) -> str:
    return _LABELS.get(found[0], found[0])


@functools.cache
def _fields() -> dict[str, str]:
    return {flag: path for group in JOB_FLAGS.values() for flag, path, _ in group}


def _put(found: re.Match[str]) -> str:
    """``--framing fit`` as ``Framing: Fit``, ``--radius LOW`` as ``Radius``."""
    flag, value = found[1], found[2]
    path = _fields().get(flag)
    if path is None:
        return found[0]
    if value is None or value.isupper():
        return _LABELS[path]
    titles = {name: title for name, title, _ in choices.items(path)} if choices.has(path) else {}
    return f"{_LABELS[path]}: {titles[value]}" if value in titles else f"{_LABELS[path]} {value}"
