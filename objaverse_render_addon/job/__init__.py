"""What to render: one description behind every door.

A :class:`RenderJob` holds everything that a render is told, with every default in this one
place. The command line fills it, the panel edits it, the worker receives it, the metadata
records it, and it goes round trip through TOML and JSON. Values that depend on the camera
pattern stay ``None`` until :meth:`RenderJob.resolved` fills them in.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import hashlib
import json
import math
import tomllib
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from ..errors import InvalidJob
from ..passspec import DEFAULT_PASSES, PASS_NAMES

__all__ = [
    "DEFAULT_PASSES",
    "PASS_NAMES",
    "PATTERNS",
    "AssetRules",
    "CameraRules",
    "EngineSettings",
    "Lighting",
    "Output",
    "PatternDefaults",
    "RenderJob",
]

Normalization = Literal["cube", "unit-cube", "sphere", "none"]
MissingPartPolicy = Literal["doubt", "fail"]
MissingTexturePolicy = Literal["neutral", "random", "fail"]
UncoloredPolicy = Literal["neutral", "random"]
LightingMode = Literal["white", "xl", "hdri", "keep"]
Pattern = Literal[
    "gs-lrm",
    "objaverse-xl",
    "zero123",
    "ring",
    "fibonacci",
    "hammersley",
    "cube-faces",
    "orbit",
    "syncdreamer-input",
    "zero123plus",
    "g-objaverse",
    "file",
]
Framing = Literal["allow", "fit", "resample"]
NormalSpace = Literal["camera", "world"]
GeometryFormat = Literal["npy", "npz", "exr"]
Layout = Literal["zip", "tar", "folder", "webdataset"]
EngineName = Literal["cycles", "eevee", "workbench"]
DeviceName = Literal["auto", "cpu", "cuda", "optix", "hip", "oneapi", "metal"]

HALF_EXTENT: Final[dict[str, float]] = {"cube": 1.0, "unit-cube": 0.5, "sphere": 1.0, "none": 1.0}
"""Half the longest edge (for ``sphere`` the radius) of the asset after normalisation. With
``none`` the rig itself is scaled, so that a radius counts in half longest edges there too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternDefaults:
    """What a camera pattern means when the user says nothing else.

    ``radius`` is in scene units for the pattern's own ``normalize``; it is scaled when the job
    normalises differently. Angles are in degrees.
    """

    views: int
    radius: tuple[float, float]
    elevation: tuple[float, float]
    fov: tuple[float, float]
    normalize: Normalization
    framing: Framing
    drawn: bool
    about: str
    numbered: bool = False
    """Trainers know the views by their numbers: there are no more of them than ``views``."""


# 2 atan(16 / 35): a 35 mm lens on a 32 mm sensor, as the Objaverse scripts set it. Rounded, so
# that the panel, whose numbers have 32 bits, means the same.
_OBJAVERSE_FOV = round(math.degrees(2 * math.atan(16 / 35)), 4)
# The distance from which the sphere around a full [-1, 1] cube fills a 45 degree view.
_WHOLE_CUBE = (4.53, 4.53)

PATTERNS: Final[dict[str, PatternDefaults]] = {
    "gs-lrm": PatternDefaults(
        views=32,
        radius=(1.5, 2.8),
        elevation=(-45.0, 45.0),
        fov=(35.0, 70.0),
        normalize="cube",
        framing="fit",
        drawn=True,
        about="every view draws its own direction, distance and field of view",
    ),
    "objaverse-xl": PatternDefaults(
        views=12,
        radius=(1.5, 2.2),
        elevation=(-90.0, 90.0),
        fov=(_OBJAVERSE_FOV, _OBJAVERSE_FOV),
        normalize="unit-cube",
        framing="allow",
        drawn=True,
        about="random directions and distances of the Objaverse-XL scripts",
    ),
    "zero123": PatternDefaults(
        views=12,
        radius=(1.5, 2.2),
        elevation=(-90.0, 90.0),
        fov=(_OBJAVERSE_FOV, _OBJAVERSE_FOV),
        normalize="unit-cube",
        framing="allow",
        drawn=True,
        about="random directions and distances as Zero123 was trained on",
    ),
    "ring": PatternDefaults(
        views=12,
        radius=_WHOLE_CUBE,
        elevation=(20.0, 20.0),
        fov=(45.0, 45.0),
        normalize="cube",
        framing="fit",
        drawn=False,
        about="evenly spaced on one circle, the front first",
    ),
    "fibonacci": PatternDefaults(
        views=32,
        radius=_WHOLE_CUBE,
        elevation=(-90.0, 90.0),
        fov=(45.0, 45.0),
        normalize="cube",
        framing="fit",
        drawn=False,
        about="evenly spread over the sphere by the golden angle",
    ),
    "hammersley": PatternDefaults(
        views=150,
        radius=(2.0, 2.0),
        elevation=(-90.0, 90.0),
        fov=(40.0, 40.0),
        normalize="unit-cube",
        framing="allow",
        drawn=False,
        about="low-discrepancy points with a drawn offset, as TRELLIS",
    ),
    "cube-faces": PatternDefaults(
        views=6,
        radius=_WHOLE_CUBE,
        elevation=(-90.0, 90.0),
        fov=(45.0, 45.0),
        normalize="cube",
        framing="fit",
        drawn=False,
        about="along the six axes: +X, -X, +Y, -Y, +Z, -Z",
    ),
    "orbit": PatternDefaults(
        views=48,
        radius=_WHOLE_CUBE,
        elevation=(-30.0, 60.0),
        fov=(45.0, 45.0),
        normalize="cube",
        framing="fit",
        drawn=False,
        about="a spiral that climbs while it turns",
    ),
    "syncdreamer-input": PatternDefaults(
        views=16,
        radius=(1.5, 1.5),
        elevation=(-10.0, 40.0),
        fov=(_OBJAVERSE_FOV, _OBJAVERSE_FOV),
        normalize="unit-cube",
        framing="allow",
        drawn=False,
        about="the ring's azimuths, each at an elevation of its own, as SyncDreamer's input",
    ),
    "zero123plus": PatternDefaults(
        views=7,
        radius=(4.0, 4.0),
        elevation=(-20.0, 45.0),
        fov=(30.0, 30.0),
        normalize="cube",
        framing="allow",
        drawn=False,
        about="one view along -X at a drawn elevation, then the six of Zero123++",
        numbered=True,
    ),
    "g-objaverse": PatternDefaults(
        views=40,
        radius=(2.6, 2.6),
        elevation=(5.0, 30.0),
        # 2 atan(512 / 1422.222)
        fov=(39.5978, 39.5978),
        normalize="unit-cube",
        framing="allow",
        drawn=False,
        about="the rig of G-buffer Objaverse: two rings, the top and the bottom",
        numbered=True,
    ),
    "file": PatternDefaults(
        views=0,
        radius=(0.0, 0.0),
        elevation=(-90.0, 90.0),
        fov=(0.0, 0.0),
        normalize="cube",
        framing="allow",
        drawn=False,
        about="poses from a transforms.json or a TOML file",
    ),
}

_Number = int | float


# Field name to its type; slow to find out.
_kinds: Callable[[Any], dict[str, Any]] = functools.cache(typing.get_type_hints)


def _check_kinds(section: object, where: str) -> None:
    """Give every field its declared kind (a list becomes a tuple), or name the one that cannot."""
    for name, kind in _kinds(type(section)).items():
        object.__setattr__(section, name, _convert(kind, getattr(section, name), where + name))


def _check(condition: bool, message: str, hint: str = "") -> None:
    if not condition:
        raise InvalidJob(message, hint=hint)


def _check_range(
    name: str, value: tuple[float, float] | None, low: float, high: float, *, open_low: bool = False
) -> None:
    if value is None:
        return
    first, last = value
    _check(
        math.isfinite(first) and math.isfinite(last) and first <= last,
        f"{name} {first:g}..{last:g} is not a range.",
        "Give the smaller number first.",
    )
    inside = (low < first if open_low else low <= first) and last <= high
    _check(inside, f"{name} {first:g}..{last:g} is outside {low:g}..{high:g}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRules:
    """How an asset is brought into the scene.

    Attributes:
        normalize: Box or sphere that the asset fills, centred on the origin. ``None`` takes the
            camera pattern's own.
        frame: The one animation frame that all views show; ``None`` takes the frame that the
            file was saved at.
        missing_textures: What stands in for a texture that is not there.
        missing_parts: What becomes of an asset that refers to files which are not its own, or not
            there: it is rendered without them, with a warning, or it fails.
        uncolored: Material of an STL or PLY file without colours.
    """

    normalize: Normalization | None = None
    frame: int | None = None
    missing_textures: MissingTexturePolicy = "neutral"
    missing_parts: MissingPartPolicy = "doubt"
    uncolored: UncoloredPolicy = "neutral"

    def __post_init__(self) -> None:
        _check_kinds(self, "asset.")
        _check(
            self.frame is None or abs(self.frame) <= 1_048_574,
            f"asset.frame {self.frame} is outside Blender's range.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lighting:
    """Light and background.

    Attributes:
        mode: ``white`` uniform white from everywhere; ``xl`` the four seeded suns of the
            Objaverse-XL scripts; ``hdri`` an equirectangular image; ``keep`` the file's own.
        hdri: Path of the image for ``hdri``.
        strength: Factor on the world's radiance (``white``, ``hdri``).
        background: ``None`` for a transparent background, else sRGB in 0..1.
    """

    mode: LightingMode = "white"
    hdri: str | None = None
    strength: float = 1.0
    background: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        _check_kinds(self, "lighting.")
        if self.mode == "hdri":
            _check(
                bool(self.hdri),
                "lighting.hdri has no image, but the lighting is hdri.",
                "Give --hdri PATH.",
            )
        else:
            _check(
                self.hdri is None,
                f"lighting.hdri is given, but the lighting is {self.mode}.",
                "Use --lighting hdri.",
            )
        _check(
            math.isfinite(self.strength) and self.strength >= 0,
            f"lighting.strength {self.strength} is not a number of zero or more.",
        )
        if self.background is not None:
            _check(
                all(0 <= channel <= 1 for channel in self.background),
                f"lighting.background {self.background} has a channel outside 0..1.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraRules:
    """From where the views are taken.

    Attributes:
        pattern: One of :data:`PATTERNS`.
        views: Number of views.
        radius: Distance from the rig's centre, scene units (see :data:`HALF_EXTENT` for
            ``none``).
        elevation: Degrees above the XY plane.
        fov: Field of view across the shorter side of the image, degrees.
        framing: What happens when the object would leave the frame: ``allow`` it, ``fit`` by
            moving the camera back, or ``resample`` the view (drawn patterns only).
        only_northern_hemisphere: No view from below.
        turns: Rounds of the ``orbit`` pattern.
        file: Poses for the ``file`` pattern.
        pixel_aspect: Height of a pixel over its width.
        shift: Shift of the principal point as a share of the image's width and height; positive
            moves the object right and down.
    """

    pattern: Pattern = "gs-lrm"
    views: int | None = None
    radius: tuple[float, float] | None = None
    elevation: tuple[float, float] | None = None
    fov: tuple[float, float] | None = None
    framing: Framing | None = None
    only_northern_hemisphere: bool = False
    turns: float = 3.0
    file: str | None = None
    pixel_aspect: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        _check_kinds(self, "cameras.")
        _check(
            self.views is None or 1 <= self.views <= 100_000,
            f"cameras.views {self.views} is not between 1 and 100000.",
        )
        _check_range("cameras.radius", self.radius, 0, 1e6, open_low=self.pattern != "file")
        _check_range("cameras.elevation", self.elevation, -90, 90)
        _check_range("cameras.fov", self.fov, 0 if self.pattern == "file" else 0.5, 170)
        _check(
            math.isfinite(self.turns) and self.turns != 0,
            f"cameras.turns {self.turns} makes no orbit.",
        )
        _check(
            0.05 <= self.pixel_aspect <= 20,
            f"cameras.pixel_aspect {self.pixel_aspect} is not in 0.05..20.",
        )
        _check(
            all(abs(share) <= 2 for share in self.shift),
            f"cameras.shift {self.shift} is beyond two image sizes.",
        )
        if self.pattern == "file":
            self._check_file()
        else:
            _check(
                self.file is None,
                f"cameras.file is given, but the pattern is {self.pattern}.",
                "Use --cameras file.",
            )
        if self.pattern == "cube-faces":
            _check(
                self.views in (None, 6), "cameras.views of cube-faces is six.",
                "Leave --views away.",
            )
            _check(
                self.elevation in (None, PATTERNS["cube-faces"].elevation),
                "cameras.elevation is given, but cube-faces looks along the axes.",
            )
            _check(
                not self.only_northern_hemisphere,
                "cameras.only_northern_hemisphere is set, but cube-faces looks from below too.",
                "Use ring or fibonacci for the northern hemisphere.",
            )
        defaults = PATTERNS[self.pattern]
        if defaults.numbered:
            _check(
                (self.views or 1) <= defaults.views,
                f"cameras.views {self.views} is more than the {defaults.views} of {self.pattern}.",
                "Leave --views away.",
            )
            _check(
                not self.only_northern_hemisphere,
                f"cameras.only_northern_hemisphere is set, but {self.pattern} looks from below.",
                "Use ring or fibonacci for the northern hemisphere.",
            )
        if self.pattern == "ring" and self.elevation is not None:
            _check(
                self.elevation[0] == self.elevation[1],
                "cameras.elevation of a ring is one number, not a range.",
                "Use orbit to climb, or give one number.",
            )
        framing = self.framing or PATTERNS[self.pattern].framing
        if framing == "resample":
            _check(
                PATTERNS[self.pattern].drawn,
                f"cameras.framing resample: the pattern {self.pattern} draws nothing, so nothing "
                "can be drawn again.",
                "Use --framing fit.",
            )
        if framing != "allow":
            _check(
                all(abs(share) < 0.5 for share in self.shift),
                f"cameras.shift {self.shift} puts the principal point outside the picture, where "
                f"no distance brings the object into frame (framing {framing}).",
                "Use --framing allow.",
            )
        if self.only_northern_hemisphere and self.elevation is not None:
            _check(
                self.elevation[1] >= 0,
                "cameras.elevation below the horizon leaves nothing of the northern hemisphere.",
            )

    def _check_file(self) -> None:
        _check(
            bool(self.file), "cameras.file has no path, but the pattern is file.",
            "Give --camera-file PATH.",
        )
        _check(
            self.framing in (None, "allow"),
            f"cameras.framing {self.framing}: poses from a file are taken as they are.",
        )
        # What a resolved job holds is no wish of the user's.
        unused = {
            "radius": PATTERNS["file"].radius,
            "elevation": PATTERNS["file"].elevation,
            "fov": PATTERNS["file"].fov,
            "only_northern_hemisphere": False,
            "pixel_aspect": 1.0,
            "shift": (0.0, 0.0),
        }
        for name, default in unused.items():
            _check(
                getattr(self, name) in (None, default),
                f"cameras.{name} is given, but the file of poses decides it.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How pictures are computed. Depth, normal, mask and the other geometry always come from
    Cycles at pixel centres; ``engine``, ``samples`` and ``denoise`` are about RGB.

    Attributes:
        samples: Samples per pixel of RGB.
        threads: CPU threads; 0 takes all.
        alpha_threshold: A surface at least this opaque is object in mask, depth and normal.
    """

    engine: EngineName = "cycles"
    samples: int = 64
    denoise: bool = True
    device: DeviceName = "auto"
    threads: int = 0
    alpha_threshold: float = 0.5

    def __post_init__(self) -> None:
        _check_kinds(self, "engine.")
        _check(
            1 <= self.samples <= 65536, f"engine.samples {self.samples} is not in 1..65536."
        )
        _check(0 <= self.threads <= 1024, f"engine.threads {self.threads} is not in 0..1024.")
        _check(
            0 < self.alpha_threshold <= 1,
            f"engine.alpha_threshold {self.alpha_threshold} is not above 0 and up to 1.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What is written.

    Attributes:
        resolution: Width and height in pixels.
        passes: Names from :data:`PASS_NAMES`.
        normal_space: Axes of the normal pass.
        geometry: ``npy`` one array per pass and view, ``npz`` the same compressed (archives of
            the layout ``zip`` are compressed anyway), ``exr`` one multilayer file per view.
            ``None`` takes ``npz`` for ``tar`` and ``webdataset``, otherwise ``npy``.
        layout: ``zip`` or ``tar`` one archive per asset, ``folder`` one folder per asset,
            ``webdataset`` archives of many assets each.
    """

    resolution: tuple[int, int] = (512, 512)
    passes: tuple[str, ...] = DEFAULT_PASSES
    normal_space: NormalSpace = "camera"
    geometry: GeometryFormat | None = None
    layout: Layout = "zip"

    def __post_init__(self) -> None:
        _check_kinds(self, "output.")
        width, height = self.resolution
        _check(
            4 <= width <= 16384 and 4 <= height <= 16384,
            f"output.resolution {width}x{height} is not between 4 and 16384 pixels a side.",
        )
        _check(
            bool(self.passes), "output.passes is empty.", f"Choose from {', '.join(PASS_NAMES)}."
        )
        for name in self.passes:
            if name not in PASS_NAMES:
                raise InvalidJob(
                    f"output.passes cannot have {name!r}.", hint=_suggest(name, PASS_NAMES)
                )
        _check(len(set(self.passes)) == len(self.passes), "output.passes has one of them twice.")
        # A set in all but its type: another order is no other job.
        ordered = tuple(name for name in PASS_NAMES if name in self.passes)
        object.__setattr__(self, "passes", ordered)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderJob:
    """Everything that a render is told. Immutable; see the parts for what each field means.

    Raises:
        InvalidJob: From the constructors, naming the field and the way out.
    """

    seed: int = 0
    asset: AssetRules = field(default_factory=AssetRules)
    lighting: Lighting = field(default_factory=Lighting)
    cameras: CameraRules = field(default_factory=CameraRules)
    engine: EngineSettings = field(default_factory=EngineSettings)
    output: Output = field(default_factory=Output)

    def __post_init__(self) -> None:
        _check_kinds(self, "")
        _check(0 <= self.seed < 2**63, f"seed {self.seed} is not in 0..2^63-1.")
        if self.engine.engine == "workbench":
            _check(
                self.lighting.mode != "hdri",
                "engine.engine workbench knows no image lighting.",
                "Use --engine cycles or eevee.",
            )

    def resolved(self) -> RenderJob:
        """The same job with the defaults of its camera pattern and layout filled in."""
        cameras, asset, output = self.cameras, self.asset, self.output
        compressed = output.layout in ("tar", "webdataset")
        defaults = PATTERNS[cameras.pattern]
        normalize = asset.normalize or defaults.normalize
        unit = HALF_EXTENT[normalize] / HALF_EXTENT[defaults.normalize]
        low, high = cameras.elevation or defaults.elevation
        if cameras.only_northern_hemisphere:
            low = max(low, 0.0)
        radius = cameras.radius or (defaults.radius[0] * unit, defaults.radius[1] * unit)
        return dataclasses.replace(
            self,
            asset=dataclasses.replace(asset, normalize=normalize),
            cameras=dataclasses.replace(
                cameras,
                views=cameras.views if cameras.views is not None else (defaults.views or None),
                radius=radius,
                elevation=(low, high),
                fov=cameras.fov or defaults.fov,
                framing=cameras.framing or defaults.framing,
            ),
            output=dataclasses.replace(
                output, geometry=output.geometry or ("npz" if compressed else "npy")
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data: nested dicts, lists and scalars; ``None`` where nothing is set."""
        return typing.cast(dict[str, Any], json.loads(json.dumps(dataclasses.asdict(self))))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RenderJob:
        """Read :meth:`to_dict`'s form back; missing fields take their defaults.

        Raises:
            InvalidJob: An unknown field or a value of the wrong kind, by name.
        """
        return _read(cls, data, "")

    def fingerprint(self) -> str:
        """SHA-256 of what decides the pictures: equal for two jobs that render the same data.

        Device and threads are left out; they change how fast, not what. Files that the job names
        count by their content.
        """
        data = self.resolved().to_dict()
        for key in ("device", "threads"):
            del data["engine"][key]
        if data["asset"]["missing_parts"] == "doubt":
            # Younger than data that are the same without it.
            del data["asset"]["missing_parts"]
        for section, key in (("lighting", "hdri"), ("cameras", "file")):
            if data[section][key] is not None:
                data[section][key] = _content(data[section][key])
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    def check_files(self) -> None:
        """See whether the files that the job names can be used, before any asset needs them.

        Raises:
            InvalidJob: The image for light cannot be read.
            CameraFileError: The poses cannot be read or understood, or are too few.
        """
        if self.lighting.hdri is not None:
            problem = _unreadable(Path(self.lighting.hdri))
            _check(
                not problem,
                f"The HDRI {self.lighting.hdri} cannot be read: {problem}.",
                "Give an .hdr or .exr image.",
            )
        if self.cameras.file is not None:
            from ..cameras.files import views_from_file

            views_from_file(self.cameras.file, self.output.resolution, self.cameras.views)

    def to_toml(self) -> str:
        """The job as a TOML document that :meth:`load` reads back."""
        data = self.to_dict()
        lines = [f"{key} = {_toml(value)}" for key, value in data.items() if _is_plain(value)]
        for section, values in data.items():
            if not isinstance(values, dict):
                continue
            lines += ["", f"[{section}]"]
            given = {key: value for key, value in values.items() if value is not None}
            lines += [f"{key} = {_toml(value)}" for key, value in given.items()]
        return "\n".join(lines) + "\n"

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
            *sections, name = path.split(".")
            target = data
            for section in sections:
                target = target.setdefault(section, {})
            target[name] = value
        return self.from_dict(data)


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Lines ``field: old -> new`` for every value in which two job dictionaries differ."""
    lines: list[str] = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {before} -> {after}")
    return lines


def _is_plain(value: object) -> bool:
    return value is not None and not isinstance(value, dict)


def _toml(value: object) -> str:
    # Scalars and arrays of them are written the same way in JSON and in TOML.
    # The one exception is DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _content(path: str) -> str:
    """SHA-256 of a file, or of the poses in a folder."""
    digest = hashlib.sha256()
    try:
        if Path(path).is_dir():
            from ..cameras.files import pose_files

            for file in pose_files(path):
                digest.update(f"{file.relative_to(path)}\0".encode() + file.read_bytes())
            return digest.hexdigest()
        if not Path(path).is_file():
            # A device or a pipe may never end.
            return path
        with Path(path).open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except (OSError, InvalidJob):
        return path


_IMAGES: Final = (
    b"#?RADIANCE", b"#?RGBE", b"v/1\x01", b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM",
    b"RIFF", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51",
)  # fmt: skip
"""How images begin that Blender reads."""


def _unreadable(path: Path) -> str:
    """Why nothing can be read from a file; empty if something can."""
    try:
        if path.exists() and not path.is_file():
            # A device or a pipe may never end.
            return "it is no regular file"
        with path.open("rb") as file:
            head = file.read(64)
        if not head:
            return "it is empty"
        known = head.startswith(_IMAGES) or path.suffix.lower() in (".tga", ".cin", ".dpx")
        return "" if known else "it is no image"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)


def _suggest(word: str, known: typing.Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(word, known, 1)
    return f"Did you mean {close[0]!r}?" if close else f"Choose from {', '.join(known)}."


_T = TypeVar("_T")


def _read(cls: type[_T], data: object, where: str) -> _T:
    if not isinstance(data, dict):
        raise InvalidJob(f"{where.rstrip('.') or 'The job'} should be a table.")
    hints = _kinds(cls)
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in hints:
            raise InvalidJob(f"There is no job field {where}{key}.", hint=_suggest(key, hints))
        kind = hints[key]
        if dataclasses.is_dataclass(kind):
            value = _read(typing.cast(type[Any], kind), value, f"{where}{key}.")
        values[key] = value
    return cls(**values)


def _convert(kind: Any, value: object, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(arg for arg in args if arg is not type(None)), value, where)
    if origin is Literal:
        if value in args:
            return value
        raise InvalidJob(
            f"{where} cannot be {value!r}.", hint=_suggest(str(value), [str(arg) for arg in args])
        )
    if origin is tuple:
        if args[-1] is Ellipsis:
            if not isinstance(value, list | tuple):
                raise InvalidJob(f"{where} should be a list, not {value!r}.")
            return tuple(_convert(args[0], item, where) for item in value)
        # One number stands for the range from it to itself.
        if isinstance(value, _Number) and not isinstance(value, bool) and len(args) == 2:
            value = [value, value]
        if not isinstance(value, list | tuple) or len(value) != len(args):
            raise InvalidJob(f"{where} should be {len(args)} numbers, not {value!r}.")
        return tuple(_convert(arg, item, where) for arg, item in zip(args, value, strict=True))
    if kind is float and isinstance(value, _Number) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise InvalidJob(f"{where} should be a {kind.__name__}, not {value!r}.")
