"""What the panel asks about composed scenes: rules of a set and a job of pictures, in one group."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import bpy
from bpy.props import (
    BoolProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    IntVectorProperty,
    PointerProperty,
    StringProperty,
)

from ...compose.objects import KINDS
from ...compose.record import LAYOUTS
from ...compose.rules import SUPPORT_CHOICES, Rules
from ...compose.words import LANGUAGES
from ...errors import InvalidJob
from ..derived import RELATIVE

__all__ = [
    "carry", "kind_property", "output_of", "own_of", "register", "rules_of", "unregister",
    "values_of",
]  # fmt: skip

PASSES: Final = ("rgb", "depth", "normal", "mask", "instance_index", "semantic_index", "albedo")
"""Of a scene's pictures, all that its sentences and their proof read, as on the command line."""

_LAYOUT_TEXTS: Final = {
    "grid": ("Grid", "In rows and columns"),
    "heap": ("Heap", "Dropped onto each other"),
    "row": ("Row", "Some of one kind in a line"),
    "stack": ("Stack", "Some on top of others"),
    "container": ("Container", "Some dropped into others"),
    "scatter": ("Scatter", "Anywhere, apart from each other"),
}
_SUPPORT_TEXTS: Final = {
    "table": ("Table", "A table, rectangular or round"),
    "tray": ("Tray", "A tray on a table"),
    "shelf": ("Shelf", "A board of a shelf, seen from the front"),
    "box": ("Box", "A box, open above, on a table"),
}
_LANGUAGE_TEXTS: Final = {
    "en": ("English", "English sentences"),
    "de": ("German", "German sentences"),
    "zh": ("Chinese", "Chinese sentences"),
}
_CAMERA_TEXTS: Final = {
    "box": ("In Front", "In front of the support, to either side by the azimuth"),
    "ring": ("All Around", "From anywhere around the support"),
}
_OURS: Final = Rules()
_MOST: Final = 2**31 - 1


def _items(
    names: Iterable[str], texts: Mapping[str, tuple[str, str]]
) -> list[tuple[str, str, str, int]]:
    """A place in the list is a bit in the .blend file: new names go to the end."""
    return [
        (name, *texts.get(name, (name.title(), f"What the rules call {name}")), 1 << place)
        for place, name in enumerate(names)
    ]


# None of it can be animated: what plays the timeline must not change what is drawn.
_Bool: Final = partial(BoolProperty, options=set())
_Int: Final = partial(IntProperty, options=set())
_Ints: Final = partial(IntVectorProperty, options=set(), size=2)
_Float: Final = partial(FloatProperty, options=set())
_Floats: Final = partial(FloatVectorProperty, options=set(), size=2)
_Flags: Final = partial(EnumProperty, options={"ENUM_FLAG"})


def kind_property(kind: str) -> str:
    """The switch of a kind of object."""
    return re.sub(r"\W", "_", kind)


def _switch(kind: str) -> Any:
    return _Bool(name=kind.title(), default=True, description=f"Draw from this kind: {kind}")


class OBJAVERSE_PG_compose_kinds(bpy.types.PropertyGroup):
    """Which kinds of objects are drawn from."""


# There may be more of them than an enumeration has bits.
OBJAVERSE_PG_compose_kinds.__annotations__ = {
    kind_property(kind): f"_switch({kind!r})" for kind in KINDS
}


class OBJAVERSE_PG_compose(bpy.types.PropertyGroup):
    """What decides composed scenes, and their pictures; stored with the scene."""

    seed: _Int(
        name="Seed", min=0, max=_MOST, description="Scenes of the same seed are the same"
    )
    index: _Int(
        name="Scene", min=0, max=999_999,
        description="Which scene of the set is made in the window; written ones count from 0",
    )
    objects: _Ints(
        name="Objects", min=1, max=40, default=_OURS.objects,
        description="Least and most objects in a scene",
    )
    layouts: _Flags(
        name="Layouts", items=_items(LAYOUTS, _LAYOUT_TEXTS), default={*LAYOUTS},
        description="Where objects are placed before they settle; each as often as any other",
    )
    supports: _Flags(
        name="Supports", items=_items(SUPPORT_CHOICES, _SUPPORT_TEXTS), default={*SUPPORT_CHOICES},
        description="What objects stand on; each as often as any other",
    )
    rows: _Int(name="Rows", min=1, max=8, default=_OURS.rows, description="Of the layout Grid")
    columns: _Int(
        name="Columns", min=1, max=8, default=_OURS.columns,
        description="Of the layout Grid, from left to right",
    )
    kinds: PointerProperty(type=OBJAVERSE_PG_compose_kinds)
    own: StringProperty(
        name="Own Objects", subtype="FILE_PATH", options=RELATIVE,
        description="A folder of your 3D files, or a list of them (CSV with path, name and size), "
        "to draw from beside the kinds; empty draws from the kinds alone",
    )
    images: _Int(
        name="Views", min=1, max=1000, soft_max=24, default=_OURS.images,
        description="Pictures of each scene",
    )
    cameras: EnumProperty(
        name="Cameras", items=_items(_CAMERA_TEXTS, _CAMERA_TEXTS), default=_OURS.cameras,
        options=set(),
        description="Where a scene is seen from",
    )
    azimuth: _Float(
        name="Azimuth", min=0.0, max=180.0, default=_OURS.azimuth,
        description="Most degrees to either side of the front",
    )
    elevation: _Floats(
        name="Elevation", min=5.0, max=89.0, default=_OURS.elevation,
        description="Least and most degrees above the support",
    )
    fov: _Floats(
        name="FOV", min=10.0, max=100.0, default=_OURS.fov,
        description="Least and most degrees across the picture's longer side",
    )
    roll: _Float(
        name="Roll", min=0.0, max=45.0, default=_OURS.roll,
        description="Most degrees about the line of sight, either way",
    )
    resolution_x: _Int(
        name="Resolution X", min=16, max=8192, default=256, subtype="PIXEL",
        description="Width of a scene's pictures",
    )
    resolution_y: _Int(
        name="Resolution Y", min=16, max=8192, default=256, subtype="PIXEL",
        description="Height of a scene's pictures",
    )
    samples: _Int(
        name="Samples", min=1, max=65536, soft_max=256, default=16,
        description="Of a scene's colour pictures, which are denoised",
    )
    languages: _Flags(
        name="Languages", items=_items(LANGUAGES, _LANGUAGE_TEXTS), default={"en"},
        description="Languages of the sentences",
    )
    scenes: _Int(
        name="Scenes", min=1, max=1_000_000, soft_max=1000, default=10,
        description="How many are written, from scene 0 on",
    )
    output_dir: StringProperty(
        name="Scenes Folder", subtype="DIR_PATH", options=RELATIVE, default="//scenes",
        description="Folder that written scenes go to; // is relative to the saved file",
    )
    overwrite: _Bool(
        name="Overwrite", description="Make scenes that are finished in the folder again"
    )


def rules_of(settings: Any) -> Rules:
    """The rules that the panel says.

    Raises:
        InvalidJob: There can be no scene of them.
    """
    chosen = tuple(kind for kind in KINDS if getattr(settings.kinds, kind_property(kind)))
    if not chosen and not own_of(settings):
        raise InvalidJob(
            "No kind of object is chosen.", hint="Choose some under Kinds, or name Own Objects."
        )
    for name, what in (("layouts", "layout"), ("supports", "support"), ("languages", "language")):
        if not getattr(settings, name):
            raise InvalidJob(f"No {what} is chosen.")
    return Rules(
        seed=settings.seed, objects=(settings.objects[0], settings.objects[1]),
        layouts=_in_order(LAYOUTS, settings.layouts),
        supports=_in_order(SUPPORT_CHOICES, settings.supports),
        rows=settings.rows, columns=settings.columns, images=settings.images,
        cameras=settings.cameras, azimuth=_short(settings.azimuth),
        elevation=(_short(settings.elevation[0]), _short(settings.elevation[1])),
        fov=(_short(settings.fov[0]), _short(settings.fov[1])), roll=_short(settings.roll),
        aspect=settings.resolution_x / settings.resolution_y, kinds=chosen,
        languages=languages_of(settings),
    )  # fmt: skip


def own_of(settings: Any) -> str:
    """Folder or list of the user's own objects, absolute; empty where there is none.

    Raises:
        InvalidJob: It is relative to a file that was never saved.
    """
    path: str = settings.own.strip()
    if path.startswith("//") and not bpy.data.filepath:
        raise InvalidJob(
            f"Own Objects, {path}, is relative to this file, which was never saved.",
            hint="Save the file, or name the whole path.",
        )
    return str(Path(bpy.path.abspath(path)).expanduser()) if path else ""


def languages_of(settings: Any) -> tuple[str, ...]:
    """The chosen languages, in their order."""
    return _in_order(LANGUAGES, settings.languages)


def _in_order(names: Iterable[str], chosen: set[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in chosen)


def _short(number: float) -> float:
    """As it was typed: Blender keeps single precision."""
    return float(f"{number:.6g}")


def values_of(settings: Any) -> dict[str, Any]:
    """Fields of the pictures' job."""
    return {
        "pixels.resolution": (settings.resolution_x, settings.resolution_y),
        "pixels.passes": PASSES, "engine.samples": settings.samples, "seed": settings.seed,
    }  # fmt: skip


def output_of(settings: Any) -> Path:
    """The folder for scenes, absolute."""
    folder: str = settings.output_dir
    if folder.startswith("//") and not bpy.data.filepath:
        # Relative to a file that was never saved: beside the user's other things.
        return Path.home() / folder.removeprefix("//")
    return Path(bpy.path.abspath(folder))


def carry(settings: Any, to: Any) -> None:
    """Give one scene's settings to another."""
    for prop in settings.bl_rna.properties:
        name = prop.identifier
        if name in ("rna_type", "name"):
            continue
        if prop.type == "POINTER":
            carry(getattr(settings, name), getattr(to, name))
        else:
            setattr(to, name, getattr(settings, name))


_CLASSES: Final = (OBJAVERSE_PG_compose_kinds, OBJAVERSE_PG_compose)


def register() -> None:
    """Hang the settings on every scene."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.objaverse_compose = PointerProperty(type=OBJAVERSE_PG_compose)


def unregister() -> None:
    """Leave nothing behind."""
    del bpy.types.Scene.objaverse_compose
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
