"""What to render: one description behind every door.

A :class:`RenderJob` holds everything that a render is told, with every default in this one
place. The command line fills it, the panel edits it, the worker receives it, the metadata
records it, and it goes round trip through TOML and JSON. Values that depend on the camera
pattern stay ``None`` until :meth:`RenderJob.resolved` fills them in.

The room stands on ``errors`` alone; ``cameras`` and everything else stand on it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import tomllib
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidJob
from ..passspec import DEFAULT_PASSES, MOVING, PASS_NAMES, STILL_PASSES
from .convert import check, check_fields, read, to_toml
from .earlier import EARLIER_SECTIONS, current_form
from .fingerprint import differences, fingerprint_of
from .patterns import HALF_EXTENT, PATTERNS, WHOLE_SPHERE, PatternDefaults
from .recipes import RECIPES, Recipe, recipe_named
from .rules import AssetRules, CameraRules, EngineSettings, Files, Lighting, Pixels, TimeRules
from .settings import JobField, Setting, fields_of, section, setting

__all__ = [
    "DEFAULT_PASSES",
    "EARLIER_SECTIONS",
    "HALF_EXTENT",
    "PASS_NAMES",
    "PATTERNS",
    "RECIPES",
    "STILL_PASSES",
    "WHOLE_SPHERE",
    "AssetRules",
    "CameraRules",
    "EngineSettings",
    "Files",
    "JobField",
    "Lighting",
    "PatternDefaults",
    "Pixels",
    "Recipe",
    "RenderJob",
    "Setting",
    "TimeRules",
    "current_form",
    "differences",
    "job_fields",
    "recipe_named",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderJob:
    """Everything that a render is told. Immutable; see the parts for what each field means.

    Raises:
        InvalidJob: From the constructors, naming the field and the way out.
    """

    seed: int = setting(
        0, "start of every random draw; the same seed, the same data", low=0, high=2**63 - 1
    )
    asset: AssetRules = section(AssetRules, "what goes in")
    time: TimeRules = section(TimeRules, "time")
    lighting: Lighting = section(Lighting, "light")
    cameras: CameraRules = section(CameraRules, "cameras")
    engine: EngineSettings = section(EngineSettings, "engine")
    pixels: Pixels = section(Pixels, "pictures")
    files: Files = section(Files, "files")

    def __post_init__(self) -> None:
        check_fields(self, "")
        check(
            self.time.frames is None or self.asset.frame is None,
            f"asset.frame {self.asset.frame} is one still, but time.frames {self.time.frames} are "
            "asked for.",
            "Give --frame or --frames.",
        )
        moving = [name for name in self.pixels.passes if name in MOVING]
        check(
            not moving or self.time.frames is not None,
            f"pixels.passes has {', '.join(moving)}, but there are no frames between which "
            "something moves.",
            "Add --frames all.",
        )
        if self.engine.engine == "workbench":
            check(
                self.lighting.mode != "hdri",
                "engine.engine workbench knows no image lighting.",
                "Use --engine cycles or eevee.",
            )
        if self.lighting.groups:
            check(
                self.engine.engine == "cycles" and "rgb_linear" in self.pixels.passes,
                "lighting.groups are Cycles' and add up in linear light alone.",
                "Use --engine cycles, and --passes with rgb_linear.",
            )
        check(
            self.engine.engine != "workbench" or self.lighting.mode != "file",
            "engine.engine workbench knows no lights of a file.",
            "Use --engine cycles or eevee.",
        )
        check(
            "sensor_depth" not in self.pixels.passes or self.cameras.projection == "perspective",
            f"pixels.passes has sensor_depth, but no depth camera has the {self.cameras.projection}"
            " lens.",
            "Leave one of them away.",
        )
        check(
            self.cameras.projection in ("perspective", "orthographic")
            or self.engine.engine == "cycles",
            f"engine.engine {self.engine.engine} knows no {self.cameras.projection}.",
            "Use --engine cycles.",
        )

    def resolved(self) -> RenderJob:
        """The same job with the defaults of its camera pattern and layout filled in."""
        cameras, asset, files = self.cameras, self.asset, self.files
        compressed = files.layout in ("tar", "webdataset")
        defaults = PATTERNS[cameras.pattern]
        normalize = asset.normalize or defaults.normalize
        unit = HALF_EXTENT[normalize] / HALF_EXTENT[defaults.normalize]
        low, high = cameras.elevation or defaults.elevation
        if cameras.only_northern_hemisphere:
            low = max(low, 0.0)
        # A camera that moves along has a place for every frame, and the file says how many.
        views = None if self.time.views_per_frame == "one" else (defaults.views or None)
        radius = cameras.radius or (defaults.radius[0] * unit, defaults.radius[1] * unit)
        ortho = cameras.ortho
        if ortho is None and cameras.projection == "orthographic":
            ortho = WHOLE_SPHERE * HALF_EXTENT[normalize]
        return dataclasses.replace(
            self,
            asset=dataclasses.replace(asset, normalize=normalize),
            cameras=dataclasses.replace(
                cameras,
                views=cameras.views if cameras.views is not None else views,
                radius=radius,
                elevation=(low, high),
                fov=cameras.fov or defaults.fov,
                framing=cameras.framing or defaults.framing,
                ortho=ortho,
            ),
            files=dataclasses.replace(
                files, geometry=files.geometry or ("npz" if compressed else "npy")
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data: nested dicts, lists and scalars; ``None`` where nothing is set."""
        return typing.cast(dict[str, Any], json.loads(json.dumps(dataclasses.asdict(self))))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RenderJob:
        """Read :meth:`to_dict`'s form back; missing fields take their defaults.

        What an earlier version wrote is understood too, see :func:`current_form`.

        Raises:
            InvalidJob: An unknown field or a value of the wrong kind, by name.
        """
        return read(cls, current_form(data), "")

    def fingerprint(self) -> str:
        """SHA-256 of what decides the pictures: equal for two jobs that render the same data.

        Device and threads are left out; they change how fast, not what. Files that the job names
        count by their content.
        """
        data = self.resolved().to_dict()
        return fingerprint_of(data, _young(data))

    def changes_since(self, old: dict[str, Any]) -> list[str]:
        """How this job differs from a recorded one, lines ``field: old -> new``.

        Fields that came after the record was written count where they are set. Empty where all
        that differs is the content of files that the job names.
        """
        data, old = self.resolved().to_dict(), current_form(old)
        known = dict(old)
        for path in _young(data):
            section, _, name = path.rpartition(".")
            part = known.get(section, {}) if section else known
            if isinstance(part, dict) and name not in part:
                value = (data[section] if section else data)[name]
                known |= {section: {**part, name: value}} if section else {name: value}
        return differences(known, data)

    def to_toml(self) -> str:
        """The job as a TOML document that :meth:`load` reads back."""
        return to_toml(self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> RenderJob:
        """Read a job from a ``.toml`` or ``.json`` file.

        Raises:
            InvalidJob: The file is missing, broken, or says something impossible.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise InvalidJob(
                f"Job file {path}: {error.strerror}.",
                hint="objaverse-render render --print-job prints one.",
            ) from error
        except UnicodeDecodeError as error:
            raise InvalidJob(f"Job file {path} is no text: {error}.") from error
        try:
            data = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidJob(f"Job file {path} cannot be read: {error}.") from error
        if not isinstance(data, dict):
            raise InvalidJob(f"Job file {path} holds no table.")
        try:
            return cls.from_dict(data)
        except InvalidJob as error:
            raise InvalidJob(f"Job file {path}: {error.message}", hint=error.hint) from error

    def with_values(self, values: dict[str, Any]) -> RenderJob:
        """A copy with some fields replaced, named by dotted path: ``{"engine.samples": 16}``."""
        data = self.to_dict()
        for path, value in values.items():
            *above, name = path.split(".")
            target = data
            for part in above:
                target = target.setdefault(part, {})
            target[name] = value
        return self.from_dict(data)


@functools.cache
def job_fields() -> dict[str, JobField]:
    """Every setting of a job by its dotted path, with what all doors say of it."""
    return fields_of(RenderJob)


def _young(data: dict[str, Any]) -> list[str]:
    """Paths of fields that came later and are as if they had not come."""
    young = (path for path, field in job_fields().items() if field.setting.younger)
    return [path for path in young if _at_default(data, path)]


def _at_default(data: dict[str, Any], path: str) -> bool:
    section, _, name = path.rpartition(".")
    default = job_fields()[path].default
    value = (data[section] if section else data)[name]
    return bool(value == (list(default) if isinstance(default, tuple) else default))
