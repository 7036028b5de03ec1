"""The panel's settings: one PropertyGroup on the scene, which is a RenderJob in another shape.

Which property is which field of the job, and the way between the two: :mod:`.job_mapping`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import bpy
from bpy.props import (
    BoolProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ..blender.compat import relative_path_options
from ..job import RenderJob
from .choices import flags, items

__all__ = ["on_change", "register", "unregister"]

_RELATIVE: Final = relative_path_options()


on_change: Final[list[Callable[[bpy.types.Context], None]]] = []
"""Called when a setting was changed by hand, by a script, or by another setting."""


def _changed(_: OBJAVERSE_PG_settings, context: bpy.types.Context) -> None:
    for listener in on_change:
        listener(context)


def _take_pattern_defaults(self: OBJAVERSE_PG_settings, context: bpy.types.Context) -> None:
    """A new pattern starts with its own ranges, as it does on the command line."""
    if self.pattern == "file":
        _changed(self, context)
        return
    job = RenderJob.from_dict(
        {"cameras": {"pattern": self.pattern}, "asset": {"normalize": self.normalize}}
    ).resolved()
    cameras = job.cameras
    self.views = cameras.views or 1
    self.radius = cameras.radius
    self.elevation = cameras.elevation
    self.fov = cameras.fov
    self.framing = cameras.framing


def _keep_current_view(self: OBJAVERSE_PG_settings, context: bpy.types.Context) -> None:
    """A view that is no longer there cannot be the current one."""
    self.current_view = min(self.current_view, self.views - 1)
    _changed(self, context)


# None of it can be animated: what plays the timeline must not change a render's settings.
_SETTING: Final[dict[str, Any]] = {"options": set(), "update": _changed}
_Bool: Final = partial(BoolProperty, **_SETTING)
_Enum: Final = partial(EnumProperty, **_SETTING)
_Float: Final = partial(FloatProperty, **_SETTING)
_FloatVector: Final = partial(FloatVectorProperty, **_SETTING)
_Int: Final = partial(IntProperty, **_SETTING)
_Pointer: Final = partial(PointerProperty, **_SETTING)
_String: Final = partial(StringProperty, **_SETTING)


class OBJAVERSE_PG_settings(bpy.types.PropertyGroup):
    """Everything that a render is told; stored with the scene."""

    # The asset.
    source: _String(
        name="Asset",
        description="A 3D file, or the identifier of an Objaverse asset",
        subtype="FILE_PATH",
        options=_RELATIVE,
    )
    asset: _Pointer(
        type=bpy.types.Collection,
        name="Asset",
        description="The collection whose objects are normalised, previewed and rendered",
    )
    normalize: _Enum(
        name="Normalize",
        items=items("asset.normalize"),
        default="cube",
        description="Box or sphere that the asset fills before it is rendered",
    )
    use_frame: _Bool(
        name="Set Frame",
        description="Show the asset at a frame of its animation instead of the one it was saved at",
    )
    frame: _Int(
        name="Frame", default=1, description="Animation frame that all views show"
    )
    missing_textures: _Enum(
        name="Missing Textures",
        items=items("asset.missing_textures"),
        description="What stands in for a texture that is not there",
    )
    uncolored: _Enum(
        name="Uncolored Files",
        items=items("asset.uncolored"),
        description="Material of STL and PLY files without colours",
    )
    # Cameras.
    pattern: _Enum(
        name="Pattern",
        items=items("cameras.pattern"),
        default="gs-lrm",
        description="From where the views are taken",
        update=_take_pattern_defaults,
    )
    views: _Int(
        name="Views",
        default=32,
        min=1,
        max=100_000,
        soft_max=256,
        description="Number of views",
        update=_keep_current_view,
    )
    radius: _FloatVector(
        name="Radius",
        size=2,
        default=(1.5, 2.8),
        min=0.0001,
        soft_max=10.0,
        description="Smallest and largest distance from the asset's centre",
    )
    elevation: _FloatVector(
        name="Elevation",
        size=2,
        default=(-45.0, 45.0),
        precision=1,
        min=-90.0,
        max=90.0,
        description="Lowest and highest angle above the horizon, in degrees",
    )
    fov: _FloatVector(
        name="Field of View",
        size=2,
        default=(35.0, 70.0),
        precision=1,
        min=0.5,
        max=170.0,
        description="Smallest and largest angle across the picture's shorter side, in degrees",
    )
    framing: _Enum(
        name="Framing",
        items=items("cameras.framing"),
        default="fit",
        description="What happens when the object would leave the frame",
    )
    only_northern_hemisphere: _Bool(
        name="Only Northern Hemisphere", description="No view from below the horizon"
    )
    turns: _Float(name="Turns", default=3.0, description="Rounds of the spiral")
    camera_file: _String(
        name="Camera File",
        description="A transforms.json or TOML file of poses",
        subtype="FILE_PATH",
        options=_RELATIVE,
    )
    file_views: _Int(
        name="Views",
        min=0,
        max=100_000,
        description="How many of the file's poses are taken, from the first; 0 takes all",
    )
    pixel_aspect: _Float(
        name="Pixel Aspect",
        default=1.0,
        min=0.05,
        max=20.0,
        description="Height of a pixel over its width",
    )
    shift: _FloatVector(
        name="Shift",
        size=2,
        min=-2.0,
        max=2.0,
        description="Shift of the principal point as a share of the picture's width and height",
    )
    seed: _Int(
        name="Seed", min=0, description="Start of every random draw; the same seed, the same data"
    )
    # Passes.
    passes: _Enum(
        name="Passes",
        items=flags("output.passes"),
        options={"ENUM_FLAG"},
        default={"rgb", "depth", "normal", "mask"},
        description="What is written for each view",
    )
    normal_space: _Enum(
        name="Normal Space",
        items=items("output.normal_space"),
        description="Axes of the normal pass",
    )
    geometry: _Enum(
        name="Geometry Files",
        items=items("output.geometry"),
        description="File format of depth, normal, mask and the other geometry passes",
    )
    alpha_threshold: _Float(
        name="Alpha Threshold",
        default=0.5,
        min=0.001,
        max=1.0,
        subtype="FACTOR",
        description="Opacity from which a surface is object in mask, depth and normal",
    )
    # Light.
    lighting: _Enum(
        name="Lighting",
        items=items("lighting.mode"),
        description="What lights the asset",
    )
    hdri: _String(
        name="HDRI",
        description="Equirectangular .hdr or .exr image",
        subtype="FILE_PATH",
        options=_RELATIVE,
    )
    light_strength: _Float(
        name="Strength",
        default=1.0,
        min=0.0,
        soft_max=5.0,
        description="Factor on the world's light",
    )
    use_background: _Bool(
        name="Background", description="Fill the background with a colour instead of transparency"
    )
    background: _FloatVector(
        name="Background Color",
        size=3,
        subtype="COLOR_GAMMA",
        default=(1.0, 1.0, 1.0),
        min=0.0,
        max=1.0,
        description="Background colour (sRGB)",
    )
    # Output.
    output_dir: _String(
        name="Output Folder",
        description="Folder that finished assets go to; // is relative to the saved file",
        subtype="DIR_PATH",
        options=_RELATIVE,
        default="//renders",
    )
    layout: _Enum(
        name="Layout",
        items=items("output.layout"),
        description="How an asset's files are kept together",
    )
    overwrite: _Bool(
        name="Overwrite", description="Render what is finished in the output folder already again"
    )
    resolution_x: _Int(
        name="Resolution X",
        default=512,
        min=4,
        max=16384,
        subtype="PIXEL",
        description="Width in pixels",
    )
    resolution_y: _Int(
        name="Resolution Y",
        default=512,
        min=4,
        max=16384,
        subtype="PIXEL",
        description="Height in pixels",
    )
    engine: _Enum(
        name="Engine",
        items=items("engine.engine"),
        description="Engine for RGB",
    )
    samples: _Int(
        name="Samples", default=64, min=1, max=65536, description="Samples per pixel of RGB"
    )
    denoise: _Bool(
        name="Denoise", default=True, description="Denoise RGB with OpenImageDenoise"
    )
    # The batch list and the preview.
    sources: _String(
        name="Sources",
        description="A 3D file, a folder of them, or a text file with a path per line",
        subtype="FILE_PATH",
        options=_RELATIVE,
    )
    ids: _Enum(
        name="Names",
        items=items("ids"),
        description="What the assets of a batch are called in the output folder",
    )
    current_view: _Int(
        name="View", min=0, description="The view that is highlighted and looked through"
    )


def register() -> None:
    """Hang the settings on every scene."""
    bpy.utils.register_class(OBJAVERSE_PG_settings)
    bpy.types.Scene.objaverse = PointerProperty(type=OBJAVERSE_PG_settings)


def unregister() -> None:
    """Leave nothing behind."""
    del bpy.types.Scene.objaverse
    bpy.utils.unregister_class(OBJAVERSE_PG_settings)
