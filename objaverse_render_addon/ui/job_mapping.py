"""Between the panel's properties and the job: :func:`to_job` and :func:`from_job` are the only way.

So panel, job file and command line cannot drift apart.
"""

from __future__ import annotations

from typing import Any, Final

import bpy

from ..errors import InvalidJob, RenderError
from ..job import PATTERNS, RenderJob, job_fields
from .derived import OF_JOB
from .properties import OBJAVERSE_PG_settings

__all__ = ["FIELDS", "JOB_PROPERTIES", "from_job", "to_job"]

_SETTINGS: Final = {path: job_fields()[path] for path in OF_JOB}

_SWITCHED: Final = (
    "asset.frame", "asset.front", "cameras.ortho", "cameras.stereo", "lighting.per_view",
)  # fmt: skip
# Property to field of the job, where a value means the same in both. What is a range, a pair or
# behind a switch is dealt with one by one below.
FIELDS: Final = {
    field.setting.name: path
    for path, field in _SETTINGS.items()
    if not field.setting.form and path not in _SWITCHED
}
_LISTS: Final = [path for path, field in _SETTINGS.items() if field.setting.form == "names"]
_PATHS: Final = {field.setting.name: path for path, field in _SETTINGS.items()}

# Where things come from and go to, and what the viewport shows.
_BESIDE: Final = {
    "source", "asset", "output_dir", "overwrite", "sources", "ids", "current_view",
}  # fmt: skip
JOB_PROPERTIES: Final = tuple(
    name for name in OBJAVERSE_PG_settings.__annotations__ if name not in _BESIDE
)
"""Names of the properties that decide the job."""


def _job_values(settings: OBJAVERSE_PG_settings) -> dict[str, Any]:
    """Job fields by dotted path."""
    values: dict[str, Any] = {path: getattr(settings, name) for name, path in FIELDS.items()}
    given = PATTERNS[settings.pattern].given
    if given:
        # Poses and lenses are the file's.
        values["cameras.framing"] = None
        values["cameras.views"] = settings.file_views or None
        if settings.pattern == "file":
            values["cameras.file"] = bpy.path.abspath(settings.camera_file)
        else:
            values["cameras.scene_cameras"] = settings.scene_cameras.strip() or None
    else:
        values["cameras.radius"] = _tidy(settings.radius)
        values["cameras.elevation"] = _tidy(settings.elevation)
        values["cameras.fov"] = _tidy(settings.fov)
        if settings.projection == "orthographic":
            values["cameras.ortho"] = _round(settings.ortho)
        if settings.use_stereo:
            values["cameras.stereo"] = _round(settings.stereo)
        if settings.pattern == "cube-faces":
            values["cameras.views"] = None
            values["cameras.elevation"] = None
            values["cameras.only_northern_hemisphere"] = False
        if PATTERNS[settings.pattern].numbered:
            values["cameras.views"] = None
            values["cameras.only_northern_hemisphere"] = False
        if settings.framing == "resample" and not PATTERNS[settings.pattern].drawn:
            values["cameras.framing"] = "fit"
    for path in FIELDS.values():
        if _SETTINGS[path].kind is float:
            values[path] = _round(values[path])
    values["cameras.shift"] = _tidy(settings.shift)
    if given:
        values["cameras.shift"], values["cameras.pixel_aspect"] = (0.0, 0.0), 1.0
        values["cameras.only_northern_hemisphere"] = False
        values["cameras.projection"], values["cameras.test_views"] = "perspective", 0
    values["asset.front"] = settings.front if settings.use_front else None
    values["time.frames"] = settings.frames.strip() or None
    values["time.action"] = settings.action.strip() or None
    if not settings.frames.strip():
        # Slow motion and the like are of frames.
        values |= {path: _SETTINGS[path].default for path in _OF_FRAMES}
    moving = bool(values["time.frames"])
    values["asset.frame"] = settings.frame if settings.use_frame and not moving else None
    if moving and settings.views_per_frame == "one" and not given:
        # A place for every frame; the file says how many there are.
        values["cameras.views"] = None
    hdri = settings.lighting == "hdri"
    values["lighting.hdri"] = bpy.path.abspath(settings.hdri) if hdri else None
    several = hdri and settings.hdri_per_view > 1
    values["lighting.per_view"] = settings.hdri_per_view if several else None
    of_file = settings.lighting == "file"
    values["lighting.lights"] = bpy.path.abspath(settings.lights) if of_file else None
    values["lighting.groups"] = of_file and settings.light_groups
    table = settings.classes == "table"
    values["pixels.class_table"] = bpy.path.abspath(settings.class_table) if table else None
    background = _tidy(settings.background) if settings.use_background else None
    values["lighting.background"] = background
    values["pixels.resolution"] = [settings.resolution_x, settings.resolution_y]
    for path in _LISTS:
        said = _SETTINGS[path].setting
        chosen = getattr(settings, said.name)
        values[path] = [name for name in said.among if name in chosen]
    return values


_OF_FRAMES: Final = ("time.scale", "time.views_per_frame", "time.motion_blur")


def _round(value: float) -> float:
    # Blender keeps 32-bit floats; a user who typed 0.7 means 0.7.
    return float(f"{value:.7g}")


def _tidy(values: Any) -> list[float]:
    return [_round(value) for value in values]


_known_job: tuple[tuple[Any, ...], RenderJob | RenderError] | None = None


def _state_key(settings: OBJAVERSE_PG_settings, preferences: Any) -> tuple[Any, ...]:
    """Everything that decides the job, in a fraction of the time that making it takes."""
    values = [_plain(getattr(settings, name)) for name in JOB_PROPERTIES]
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
    values |= {"ortho": cameras.ortho, "stereo": cameras.stereo, "front": job.asset.front}
    if PATTERNS[cameras.pattern].given:
        values |= {"views": None, "file_views": cameras.views or 0}
    else:
        values |= {name: getattr(cameras, name) for name in ("radius", "elevation", "fov")}
    values = {name: value for name, value in values.items() if value is not None}
    values |= {
        "shift": cameras.shift,
        "camera_file": cameras.file or "",
        "scene_cameras": cameras.scene_cameras or "",
        "frames": job.time.frames or "",
        "action": job.time.action or "",
        "use_frame": job.asset.frame is not None,
        "use_front": job.asset.front is not None,
        "use_stereo": cameras.stereo is not None,
        "hdri": job.lighting.hdri or "",
        "hdri_per_view": job.lighting.per_view or 1,
        "lights": job.lighting.lights or "",
        "class_table": job.pixels.class_table or "",
        "use_background": job.lighting.background is not None,
        "resolution_x": job.pixels.resolution[0],
        "resolution_y": job.pixels.resolution[1],
        **{
            field.setting.name: set(data[path.split(".")[0]][path.split(".")[1]])
            for path, field in ((path, _SETTINGS[path]) for path in _LISTS)
        },
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
