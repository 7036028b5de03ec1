"""The panel's settings: one PropertyGroup on the scene, which is a RenderJob in another shape.

Which property is which field of the job, and the way between the two: :mod:`.job_mapping`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, PointerProperty, StringProperty

from ..job import HALF_EXTENT, PATTERNS, WHOLE_SPHERE, RenderJob
from .choices import items
from .derived import OF_JOB, RELATIVE, properties_of

__all__ = ["on_change", "register", "unregister"]


on_change: Final[list[Callable[[bpy.types.Context], None]]] = []
"""Called when a setting was changed by hand, by a script, or by another setting."""


def _changed(_: OBJAVERSE_PG_settings, context: bpy.types.Context) -> None:
    for listener in on_change:
        listener(context)


def _take_pattern_defaults(self: OBJAVERSE_PG_settings, context: bpy.types.Context) -> None:
    """A new pattern starts with its own ranges, as it does on the command line."""
    if PATTERNS[self.pattern].given:
        _changed(self, context)
        return
    job = RenderJob.from_dict(
        {"cameras": {"pattern": self.pattern}, "asset": {"normalize": self.normalize}}
    ).resolved()
    cameras = job.cameras
    own = {name: _plain(getattr(cameras, name)) for name in _OF_PATTERN}
    own["views"] = own["views"] or 1
    for name, value in own.items():
        if _is_a_default(name, _plain(getattr(self, name))):
            setattr(self, name, value)


_OF_PATTERN: Final = ("views", "radius", "elevation", "fov", "framing")


def _plain(value: Any) -> Any:
    """Numbers as Blender keeps them, with six digits."""
    if isinstance(value, str | int | None):
        return value
    return tuple(float(f"{number:.6g}") for number in value)


@functools.cache
def _defaults(name: str) -> frozenset[Any]:
    """What the patterns have of their own."""
    found = set()
    for pattern in PATTERNS:
        for normalize in HALF_EXTENT:
            if not PATTERNS[pattern].given:
                fields = {"cameras": {"pattern": pattern}, "asset": {"normalize": normalize}}
                value = getattr(RenderJob.from_dict(fields).resolved().cameras, name)
                found.add(_plain(value) or 1)
    return frozenset(found)


def _is_a_default(name: str, value: Any) -> bool:
    """Whether nobody set it by hand: what somebody did, another pattern leaves alone."""
    return value in _defaults(name)


_ends: dict[tuple[int, str], tuple[float, float]] = {}


def _keep_order(name: str) -> Callable[[OBJAVERSE_PG_settings, bpy.types.Context], None]:
    """A lower end that is raised above the upper one takes it along, and the other way round."""

    def update(self: OBJAVERSE_PG_settings, context: bpy.types.Context) -> None:
        low, high = getattr(self, name)
        key = self.as_pointer(), name
        if low > high:
            both = high if _ends.get(key, (0.0, 0.0))[0] == low else low
            # Which comes here again.
            setattr(self, name, (both, both))
            return
        _ends[key] = low, high
        _changed(self, context)

    return update


def _keep_current_view(self: OBJAVERSE_PG_settings, context: bpy.types.Context) -> None:
    """A view that is no longer there cannot be the current one."""
    eyes = 2 if self.use_stereo else 1
    self.current_view = min(self.current_view, eyes * (self.views + self.test_views) - 1)
    _changed(self, context)


def _can_be_asset(_: OBJAVERSE_PG_settings, collection: bpy.types.Collection) -> bool:
    """Whether a collection has something to see: cameras and lights alone are no asset."""
    return any(obj.type in _SEEN or obj.instance_collection for obj in collection.all_objects)


_SEEN: Final = {
    "MESH", "CURVE", "CURVES", "SURFACE", "META", "FONT", "VOLUME", "POINTCLOUD", "ARMATURE",
}  # fmt: skip

# None of it can be animated: what plays the timeline must not change a render's settings.
_SETTING: Final[dict[str, Any]] = {"options": set(), "update": _changed}
_Bool: Final = partial(BoolProperty, **_SETTING)
_Enum: Final = partial(EnumProperty, **_SETTING)
_Int: Final = partial(IntProperty, **_SETTING)
_Pointer: Final = partial(PointerProperty, **_SETTING)
_String: Final = partial(StringProperty, **_SETTING)


class OBJAVERSE_PG_settings(bpy.types.PropertyGroup):
    """Everything that a render is told; stored with the scene."""

    source: _String(
        name="Asset",
        description="A 3D file, or the identifier of an Objaverse asset",
        subtype="FILE_PATH",
        options=RELATIVE,
    )
    asset: _Pointer(
        type=bpy.types.Collection,
        name="Asset",
        poll=_can_be_asset,
        description="The collection whose objects are normalised, previewed and rendered",
    )
    use_frame: _Bool(
        name="Set Frame",
        description="Show the asset at a frame of its animation instead of the one it was saved at",
    )
    file_views: _Int(
        name="Views",
        min=0,
        max=100_000,
        description="How many of the file's poses are taken, from the first; 0 takes all",
    )
    use_background: _Bool(
        name="Background", description="Fill the background with a colour instead of transparency"
    )
    use_front: _Bool(
        name="Set Front",
        description="Turn an axis of the asset to the front, other than goes with what is up",
    )
    use_stereo: _Bool(
        name="Stereo Pair",
        description="Two cameras side by side for each view, the left one first",
    )
    output_dir: _String(
        name="Output Folder",
        description="Folder that finished assets go to; // is relative to the saved file",
        subtype="DIR_PATH",
        options=RELATIVE,
        default="//renders",
    )
    overwrite: _Bool(
        name="Overwrite", description="Render what is finished in the output folder already again"
    )
    sources: _String(
        name="Sources",
        description="3D files, folders of them, or text files with a path per line, separated by "
        "semicolons",
    )
    ids: _Enum(
        name="Names",
        items=items("ids"),
        description="What the assets of a batch are called in the output folder",
    )
    current_view: _Int(
        name="View", min=0, description="The view that is highlighted and looked through"
    )


# What is the job's, its fields describe. Here is what only the panel knows.
_OWN: Final[dict[str, dict[str, Any]]] = {
    "asset.frame": {"default": 1},
    "asset.front": {"default": "-Y"},
    "lighting.per_view": {"default": 1},
    "lighting.background": {"default": (1.0, 1.0, 1.0)},
    "cameras.pattern": {"update": _take_pattern_defaults},
    "cameras.views": {"update": _keep_current_view},
    "cameras.test_views": {"update": _keep_current_view},
    "cameras.radius": {"update": _keep_order("radius")},
    "cameras.elevation": {"update": _keep_order("elevation")},
    "cameras.fov": {"update": _keep_order("fov")},
    "cameras.ortho": {"default": WHOLE_SPHERE},
    "cameras.stereo": {"default": 0.1},
}


def _of_job(path: str) -> dict[str, Any]:
    return properties_of(path, **{"update": _changed, **_OWN.get(path, {})})


# Texts, as all annotations here are: Blender makes the properties anew at each registration. Ones
# with an `update` that are registered twice end Blender 4.2 with a crash when it quits.
OBJAVERSE_PG_settings.__annotations__ |= {
    name: f"_of_job({path!r})[{name!r}]" for path in OF_JOB for name in _of_job(path)
}


@bpy.app.handlers.persistent
def _on_load(*_: Any) -> None:
    """What replaces finished data is asked for anew: who saved the file may not be who opens it."""
    for scene in bpy.data.scenes:
        if scene.objaverse.overwrite:
            scene.objaverse.overwrite = False


def register() -> None:
    """Hang the settings on every scene."""
    bpy.utils.register_class(OBJAVERSE_PG_settings)
    bpy.types.Scene.objaverse = PointerProperty(type=OBJAVERSE_PG_settings)
    bpy.app.handlers.load_post.append(_on_load)


def unregister() -> None:
    """Leave nothing behind."""
    bpy.app.handlers.load_post.remove(_on_load)
    del bpy.types.Scene.objaverse
    bpy.utils.unregister_class(OBJAVERSE_PG_settings)
