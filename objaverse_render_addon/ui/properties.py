"""The panel's state: one PropertyGroup on the scene, which is a RenderJob in another shape.

``FIELDS`` says which property is which field of the job; :func:`to_job` and :func:`from_job`
are the only way between the two, so that panel, job file and command line cannot drift apart.
"""

from __future__ import annotations

from typing import Any, Final

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ..blender.compat import relative_path_options
from ..errors import InvalidJob, RenderError
from ..job import PATTERNS, RenderJob
from ..passspec import DEFAULT_PASSES, PASS_NAMES, PASSES

__all__ = ["FIELDS", "from_job", "register", "to_job", "unregister"]

Items = list[tuple[str, str, str]]

_RELATIVE: Final = relative_path_options()

# Property to job field. Ranges are two properties, passes a set of flags; see _ODD.
FIELDS: Final[dict[str, str]] = {
    "seed": "seed",
    "normalize": "asset.normalize",
    "missing_textures": "asset.missing_textures",
    "missing_parts": "asset.missing_parts",
    "uncolored": "asset.uncolored",
    "lighting": "lighting.mode",
    "light_strength": "lighting.strength",
    "pattern": "cameras.pattern",
    "views": "cameras.views",
    "framing": "cameras.framing",
    "only_northern_hemisphere": "cameras.only_northern_hemisphere",
    "turns": "cameras.turns",
    "pixel_aspect": "cameras.pixel_aspect",
    "engine": "engine.engine",
    "samples": "engine.samples",
    "denoise": "engine.denoise",
    "alpha_threshold": "engine.alpha_threshold",
    "normal_space": "output.normal_space",
    "geometry": "output.geometry",
    "layout": "output.layout",
}

_PATHS: Final = {
    **FIELDS,
    "frame": "asset.frame",
    "background": "lighting.background",
    "radius": "cameras.radius",
    "elevation": "cameras.elevation",
    "fov": "cameras.fov",
    "shift": "cameras.shift",
}

_NORMALIZE: Final[Items] = [
    ("cube", "Cube", "The longest edge fills [-1, 1]³, centred on the origin"),
    ("unit-cube", "Unit Cube", "The longest edge fills [-0.5, 0.5]³, centred on the origin"),
    ("sphere", "Sphere", "The bounding sphere has radius 1 and its centre in the origin"),
    ("none", "None", "The asset stays as it is; the cameras move around it instead"),
]
_PATTERN_NAMES: Final = {
    "gs-lrm": "GS-LRM",
    "objaverse-xl": "Objaverse-XL",
    "zero123": "Zero123",
    "ring": "Ring",
    "fibonacci": "Fibonacci Sphere",
    "hammersley": "Hammersley (TRELLIS)",
    "cube-faces": "Cube Faces",
    "orbit": "Orbit",
    "syncdreamer-input": "SyncDreamer Input",
    "zero123plus": "Zero123++",
    "g-objaverse": "G-Objaverse",
    "file": "From File",
}
_PATTERNS: Final[Items] = [
    (name, _PATTERN_NAMES[name], f"{item.about[0].upper()}{item.about[1:]}")
    for name, item in PATTERNS.items()
]
_PASSES: Final[Items] = [(spec.name, spec.label, spec.tip) for spec in PASSES.values()]


def _take_pattern_defaults(self: OBJAVERSE_PG_settings, _: bpy.types.Context) -> None:
    """A new pattern starts with its own ranges, as it does on the command line."""
    if self.pattern == "file":
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


def _keep_current_view(self: OBJAVERSE_PG_settings, _: bpy.types.Context) -> None:
    """A view that is no longer there cannot be the current one."""
    self.current_view = min(self.current_view, self.views - 1)


class OBJAVERSE_PG_settings(bpy.types.PropertyGroup):
    """Everything that a render is told; stored with the scene."""

    # The asset.
    source: StringProperty(
        name="Asset",
        description="A 3D file, or the identifier of an Objaverse asset",
        subtype="FILE_PATH",
        options=_RELATIVE,
    )
    asset: PointerProperty(
        type=bpy.types.Collection,
        name="Asset",
        description="The collection whose objects are normalised, previewed and rendered",
    )
    normalize: EnumProperty(
        name="Normalize",
        items=_NORMALIZE,
        default="cube",
        description="Box or sphere that the asset fills before it is rendered",
    )
    use_frame: BoolProperty(
        name="Set Frame",
        description="Show the asset at a frame of its animation instead of the one it was saved at",
    )
    frame: IntProperty(
        name="Frame", default=1, description="Animation frame that all views show"
    )
    missing_textures: EnumProperty(
        name="Missing Textures",
        items=[
            ("neutral", "Neutral Grey", "A neutral grey, with a warning in the record"),
            ("random", "Random Colors", "A seeded random colour for each, as Objaverse-XL does"),
            ("fail", "Refuse", "An asset with missing textures fails"),
        ],
        description="What stands in for a texture that is not there",
    )
    missing_parts: EnumProperty(
        name="Missing Parts",
        items=[
            ("doubt", "Go Without", "Rendered without them, with a warning in the record"),
            ("fail", "Refuse", "An asset with missing parts fails"),
        ],
        description="What becomes of an asset that needs files which are not in its folder",
    )
    uncolored: EnumProperty(
        name="Uncolored Files",
        items=[
            ("neutral", "Neutral Grey", "A neutral grey material"),
            ("random", "Random Color", "A seeded random colour, as Objaverse-XL does"),
        ],
        description="Material of STL and PLY files without colours",
    )
    # Cameras.
    pattern: EnumProperty(
        name="Pattern",
        items=_PATTERNS,
        default="gs-lrm",
        description="From where the views are taken",
        update=_take_pattern_defaults,
    )
    views: IntProperty(
        name="Views",
        default=32,
        min=1,
        max=100_000,
        soft_max=256,
        description="Number of views",
        update=_keep_current_view,
    )
    radius: FloatVectorProperty(
        name="Radius",
        size=2,
        default=(1.5, 2.8),
        min=0.0001,
        soft_max=10.0,
        description="Smallest and largest distance from the asset's centre",
    )
    elevation: FloatVectorProperty(
        name="Elevation",
        size=2,
        default=(-45.0, 45.0),
        precision=1,
        min=-90.0,
        max=90.0,
        description="Lowest and highest angle above the horizon, in degrees",
    )
    fov: FloatVectorProperty(
        name="Field of View",
        size=2,
        default=(35.0, 70.0),
        precision=1,
        min=0.5,
        max=170.0,
        description="Smallest and largest angle across the picture's shorter side, in degrees",
    )
    framing: EnumProperty(
        name="Framing",
        items=[
            ("fit", "Fit", "Move a camera back until the whole object is in frame"),
            ("allow", "Allow Cropping", "Keep the camera, even where it crops the object"),
            ("resample", "Draw Again", "Draw a view again until the whole object is in frame"),
        ],
        default="fit",
        description="What happens when the object would leave the frame",
    )
    only_northern_hemisphere: BoolProperty(
        name="Only Northern Hemisphere", description="No view from below the horizon"
    )
    turns: FloatProperty(name="Turns", default=3.0, description="Rounds of the spiral")
    camera_file: StringProperty(
        name="Camera File",
        description="A transforms.json or TOML file of poses",
        subtype="FILE_PATH",
        options=_RELATIVE,
    )
    file_views: IntProperty(
        name="Views",
        min=0,
        max=100_000,
        description="How many of the file's poses are taken, from the first; 0 takes all",
    )
    pixel_aspect: FloatProperty(
        name="Pixel Aspect",
        default=1.0,
        min=0.05,
        max=20.0,
        description="Height of a pixel over its width",
    )
    shift: FloatVectorProperty(
        name="Shift",
        size=2,
        min=-2.0,
        max=2.0,
        description="Shift of the principal point as a share of the picture's width and height",
    )
    seed: IntProperty(
        name="Seed", min=0, description="Start of every random draw; the same seed, the same data"
    )
    # Passes.
    passes: EnumProperty(
        name="Passes",
        items=[(*item, 1 << index) for index, item in enumerate(_PASSES)],
        options={"ENUM_FLAG"},
        default=set(DEFAULT_PASSES),
        description="What is written for each view",
    )
    normal_space: EnumProperty(
        name="Normal Space",
        items=[
            ("camera", "Camera", "+X right, +Y up, +Z towards the camera"),
            ("world", "World", "The world's axes"),
        ],
        description="Axes of the normal pass",
    )
    geometry: EnumProperty(
        name="Geometry Files",
        items=[
            ("npy", "NumPy Arrays", "One .npy file per pass and view"),
            ("npz", "Compressed Arrays", "One .npz file per pass and view, for Tar and Folder"),
            ("exr", "Multilayer EXR", "One lossless 32-bit EXR per view with all passes"),
        ],
        description="File format of depth, normal, mask and the other geometry passes",
    )
    alpha_threshold: FloatProperty(
        name="Alpha Threshold",
        default=0.5,
        min=0.001,
        max=1.0,
        subtype="FACTOR",
        description="Opacity from which a surface is object in mask, depth and normal",
    )
    # Light.
    lighting: EnumProperty(
        name="Lighting",
        items=[
            ("white", "Uniform White", "White light from everywhere, the same for every asset"),
            ("xl", "Objaverse-XL Suns", "The four seeded suns of the Objaverse-XL scripts"),
            ("hdri", "HDRI", "Light from an equirectangular image"),
            ("keep", "Keep", "The asset's own lights and world"),
        ],
        description="What lights the asset",
    )
    hdri: StringProperty(
        name="HDRI",
        description="Equirectangular .hdr or .exr image",
        subtype="FILE_PATH",
        options=_RELATIVE,
    )
    light_strength: FloatProperty(
        name="Strength",
        default=1.0,
        min=0.0,
        soft_max=5.0,
        description="Factor on the world's light",
    )
    use_background: BoolProperty(
        name="Background", description="Fill the background with a colour instead of transparency"
    )
    background: FloatVectorProperty(
        name="Background Color",
        size=3,
        subtype="COLOR_GAMMA",
        default=(1.0, 1.0, 1.0),
        min=0.0,
        max=1.0,
        description="Background colour (sRGB)",
    )
    # Output.
    output_dir: StringProperty(
        name="Output Folder",
        description="Folder that finished assets go to; // is relative to the saved file",
        subtype="DIR_PATH",
        options=_RELATIVE,
        default="//renders",
    )
    layout: EnumProperty(
        name="Layout",
        items=[
            ("zip", "Archive", "One .zip per asset"),
            ("tar", "Tar", "One .tar per asset, without compression"),
            ("folder", "Folder", "One folder per asset"),
            ("webdataset", "WebDataset", "Archives of many assets each, for streaming"),
        ],
        description="How an asset's files are kept together",
    )
    overwrite: BoolProperty(
        name="Overwrite", description="Render what is finished in the output folder already again"
    )
    resolution_x: IntProperty(
        name="Resolution X",
        default=512,
        min=4,
        max=16384,
        subtype="PIXEL",
        description="Width in pixels",
    )
    resolution_y: IntProperty(
        name="Resolution Y",
        default=512,
        min=4,
        max=16384,
        subtype="PIXEL",
        description="Height in pixels",
    )
    engine: EnumProperty(
        name="Engine",
        items=[
            ("cycles", "Cycles", "Path tracing; also computes all geometry passes"),
            ("eevee", "EEVEE", "Fast, needs a GPU; geometry still comes from Cycles"),
            ("workbench", "Workbench", "Flat and instant, needs a GPU"),
        ],
        description="Engine for RGB",
    )
    samples: IntProperty(
        name="Samples", default=64, min=1, max=65536, description="Samples per pixel of RGB"
    )
    denoise: BoolProperty(
        name="Denoise", default=True, description="Denoise RGB with OpenImageDenoise"
    )
    # The batch list and the preview.
    sources: StringProperty(
        name="Sources",
        description="A 3D file, a folder of them, or a text file with a path per line",
        subtype="FILE_PATH",
        options=_RELATIVE,
    )
    current_view: IntProperty(
        name="View", min=0, description="The view that is highlighted and looked through"
    )


def _job_values(settings: OBJAVERSE_PG_settings) -> dict[str, Any]:
    """Job fields by dotted path."""
    values: dict[str, Any] = {path: getattr(settings, name) for name, path in FIELDS.items()}
    names = [name for name in PASS_NAMES if name in settings.passes]
    if settings.pattern == "file":
        # Poses and lenses are the file's.
        values["cameras.framing"] = None
        values["cameras.views"] = settings.file_views or None
        values["cameras.file"] = bpy.path.abspath(settings.camera_file)
    else:
        low, high = settings.elevation
        if settings.pattern == "ring":
            high = low
        values["cameras.radius"] = _tidy(settings.radius)
        values["cameras.elevation"] = _tidy((low, high))
        values["cameras.fov"] = _tidy(settings.fov)
        if settings.pattern == "cube-faces":
            values["cameras.views"] = None
            values["cameras.elevation"] = None
            values["cameras.only_northern_hemisphere"] = False
        if PATTERNS[settings.pattern].numbered:
            values["cameras.views"] = None
            values["cameras.only_northern_hemisphere"] = False
        if settings.framing == "resample" and not PATTERNS[settings.pattern].drawn:
            values["cameras.framing"] = "fit"
    for path in ("lighting.strength", "cameras.turns", "cameras.pixel_aspect"):
        values[path] = _round(values[path])
    values["engine.alpha_threshold"] = _round(values["engine.alpha_threshold"])
    values["cameras.shift"] = _tidy(settings.shift)
    if settings.pattern == "file":
        values["cameras.shift"], values["cameras.pixel_aspect"] = (0.0, 0.0), 1.0
        values["cameras.only_northern_hemisphere"] = False
    values["asset.frame"] = settings.frame if settings.use_frame else None
    hdri = settings.lighting == "hdri"
    values["lighting.hdri"] = bpy.path.abspath(settings.hdri) if hdri else None
    background = _tidy(settings.background) if settings.use_background else None
    values["lighting.background"] = background
    values["output.resolution"] = [settings.resolution_x, settings.resolution_y]
    values["output.passes"] = names
    return values


def _round(value: float) -> float:
    # Blender keeps 32-bit floats; a user who typed 0.7 means 0.7.
    return float(f"{value:.7g}")


def _tidy(values: Any) -> list[float]:
    return [_round(value) for value in values]


# What becomes part of the job.
_NAMES: Final = tuple(
    set(OBJAVERSE_PG_settings.__annotations__)
    - {"source", "asset", "output_dir", "overwrite", "sources", "current_view"}
)
_known_job: tuple[tuple[Any, ...], RenderJob | RenderError] | None = None


def _state_key(settings: OBJAVERSE_PG_settings, preferences: Any) -> tuple[Any, ...]:
    """Everything that decides the job, in a fraction of the time that making it takes."""
    values = [_plain(getattr(settings, name)) for name in _NAMES]
    if preferences is not None:
        values += [preferences.device, preferences.threads]
    # "//" means another folder in another file.
    return (bpy.data.filepath, *values)


def _plain(value: Any) -> Any:
    if isinstance(value, str | int | float):
        return value
    return frozenset(value) if isinstance(value, set) else tuple(value)


def to_job(settings: OBJAVERSE_PG_settings, preferences: Any = None) -> RenderJob:
    """The job that the panel shows; asked at every redraw, it is made when something changed.

    Args:
        preferences: The add-on's preferences, which hold what belongs to the machine.

    Raises:
        InvalidJob: The settings contradict each other, with the way out.
    """
    global _known_job
    key = _state_key(settings, preferences)
    if _known_job is None or _known_job[0] != key:
        try:
            _known_job = key, _make_job(settings, preferences)
        except RenderError as error:
            _known_job = key, error
    job = _known_job[1]
    if isinstance(job, RenderError):
        # Each time it is raised, an exception's traceback grows.
        raise job.with_traceback(None)
    return job


def _make_job(settings: OBJAVERSE_PG_settings, preferences: Any) -> RenderJob:
    job = RenderJob().with_values(_job_values(settings))
    if preferences is not None:
        job = job.with_values(
            {"engine.device": preferences.device, "engine.threads": preferences.threads}
        )
    return job


def from_job(settings: OBJAVERSE_PG_settings, job: RenderJob) -> None:
    """Show a job in the panel. Device and threads are the machine's and stay as they are.

    Raises:
        InvalidJob: A number is beyond what the panel can hold; it shows what it did before.
    """
    job = job.resolved()
    data, cameras = job.to_dict(), job.cameras
    values: dict[str, Any] = {}
    for name, path in FIELDS.items():
        section, _, field = path.rpartition(".")
        values[name] = data[section][field] if section else data[field]
    values |= {"frame": job.asset.frame, "background": job.lighting.background}
    if cameras.pattern == "file":
        values |= {"views": None, "file_views": cameras.views or 0}
    else:
        values |= {name: getattr(cameras, name) for name in ("radius", "elevation", "fov")}
    values = {name: value for name, value in values.items() if value is not None}
    values |= {
        "shift": cameras.shift,
        "camera_file": cameras.file or "",
        "use_frame": job.asset.frame is not None,
        "hdri": job.lighting.hdri or "",
        "use_background": job.lighting.background is not None,
        "resolution_x": job.output.resolution[0],
        "resolution_y": job.output.resolution[1],
        "passes": set(job.output.passes),
    }
    for name, value in values.items():
        _check_fits(settings, name, value)
    # Choosing a pattern fills in its own ranges.
    settings.pattern = cameras.pattern
    for name, value in values.items():
        setattr(settings, name, value)


def _check_fits(settings: OBJAVERSE_PG_settings, name: str, value: Any) -> None:
    prop = settings.bl_rna.properties[name]
    if prop.type not in ("INT", "FLOAT"):
        return
    low, high = prop.hard_min, prop.hard_max
    for number in value if isinstance(value, list | tuple) else (value,):
        # The limits have 32 bits themselves.
        if not low - 1e-6 * abs(low) <= number <= high + 1e-6 * abs(high):
            raise InvalidJob(
                f"{_PATHS.get(name, name)} {number:g} is outside the panel's {low:g}..{high:g}.",
                hint="Render this job with the command line.",
            )


class OBJAVERSE_PG_batch_item(bpy.types.PropertyGroup):
    """One asset of the batch list."""

    source: StringProperty()
    asset_id: StringProperty()
    state: StringProperty(default="waiting")
    detail: StringProperty()
    result: StringProperty()
    sheet: StringProperty()
    factor: FloatProperty(min=0.0, max=1.0)


def _redraw(_: Any, context: bpy.types.Context) -> None:
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("VIEW_3D", "IMAGE_EDITOR"):
                area.tag_redraw()


class OBJAVERSE_PG_state(bpy.types.PropertyGroup):
    """What is going on; on the window manager, never saved."""

    running: StringProperty(description="What is running: asset, batch, or nothing")
    progress: FloatProperty(
        min=0.0, max=1.0, update=_redraw, description="Share of the run that is done"
    )
    status: StringProperty(update=_redraw, description="What is going on")
    fetching: StringProperty(
        update=_redraw, description="How far the asset is fetched; empty where none is"
    )
    fetched: FloatProperty(
        min=0.0, max=1.0, update=_redraw, description="Share of the asset that is fetched"
    )
    summary: StringProperty(description="What came in with the last import")
    license: StringProperty(description="License and author of the last import")
    warnings: StringProperty(description="Warnings of the last import")
    notes: StringProperty(description="Warnings of the last render")
    failure: StringProperty(description="Why the last render failed")
    preview: BoolProperty(
        update=_redraw, description="Whether the viewport shows the cameras of all views"
    )
    items: CollectionProperty(type=OBJAVERSE_PG_batch_item)
    active: IntProperty()


_CLASSES: Final = (OBJAVERSE_PG_settings, OBJAVERSE_PG_batch_item, OBJAVERSE_PG_state)


def register() -> None:
    """Register the classes and hang them on scene and window manager."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.objaverse = PointerProperty(type=OBJAVERSE_PG_settings)
    bpy.types.WindowManager.objaverse = PointerProperty(type=OBJAVERSE_PG_state)


def unregister() -> None:
    """Leave nothing behind."""
    del bpy.types.WindowManager.objaverse
    del bpy.types.Scene.objaverse
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
